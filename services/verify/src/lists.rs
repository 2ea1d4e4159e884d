//! DNS questions about a sender: does its domain take mail (row SR-09), does its EHLO name exist (row SR-03), and do
//! DNS block lists know its address (row MA-22).
//!
//! Law: RFC 5321 §5.1, RFC 7505 (null MX), RFC 5782 §2.1 (IPv4), §2.4 (IPv6) and §5 (test addresses).

use crate::limits::{LIST_TEXT, LIST_WAIT, LISTS, SENDER_WAIT};
use hickory_resolver::TokioResolver;
use hickory_resolver::net::{DnsError, NetError, NoRecords};
use hickory_resolver::proto::rr::{RData, RecordType};
use libmox_types::Domain;
use libmox_verify::{Listed, Takes};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use tokio::time::timeout;

/// What a lookup gave.
pub(crate) enum Found {
    Records(Vec<RData>),
    Nothing,
    Later,
}

/// The records of one kind at a name.
pub(crate) async fn look(resolver: &TokioResolver, name: &str, kind: RecordType) -> Found {
    match timeout(SENDER_WAIT, resolver.lookup(name, kind)).await {
        Ok(Ok(lookup)) => {
            let records = lookup.answers().iter().filter(|r| r.record_type() == kind);
            let records: Vec<RData> = records.map(|record| record.data.clone()).collect();
            if records.is_empty() { Found::Nothing } else { Found::Records(records) }
        }
        Ok(Err(NetError::Dns(DnsError::NoRecordsFound(none)))) if is_answer(&none) => Found::Nothing,
        _ => Found::Later,
    }
}

/// No such name, or no such record there; anything else is a server that failed.
fn is_answer(none: &NoRecords) -> bool {
    use hickory_resolver::proto::op::ResponseCode;
    matches!(none.response_code, ResponseCode::NXDomain | ResponseCode::NoError)
}

async fn has_address(resolver: &TokioResolver, name: &str) -> Found {
    let (four, six) =
        tokio::join!(look(resolver, name, RecordType::A), look(resolver, name, RecordType::AAAA));
    match (four, six) {
        (Found::Records(records), _) | (_, Found::Records(records)) => Found::Records(records),
        (Found::Nothing, Found::Nothing) => Found::Nothing,
        _ => Found::Later,
    }
}

/// Whether a domain takes mail.
pub async fn takes_mail(resolver: &TokioResolver, domain: &Domain) -> Takes {
    let name = format!("{}.", domain.ascii());
    match look(resolver, &name, RecordType::MX).await {
        Found::Records(records) => {
            // RFC 7505 §3: a single record, preference 0, the root.
            let null = |data: &RData| matches!(data, RData::MX(mx) if mx.exchange.is_root());
            if records.iter().all(null) { Takes::NullMx } else { Takes::Mail }
        }
        Found::Nothing => has_name(resolver, domain).await,
        Found::Later => Takes::Unknown,
    }
}

/// Whether a name has an address.
pub async fn has_name(resolver: &TokioResolver, domain: &Domain) -> Takes {
    match has_address(resolver, &format!("{}.", domain.ascii())).await {
        Found::Records(_) => Takes::Mail,
        Found::Nothing => Takes::NoAddress,
        Found::Later => Takes::Unknown,
    }
}

/// The name of an address below a zone.
fn list_name(ip: IpAddr, zone: &Domain) -> String {
    let mut name = String::with_capacity(80);
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            let _ = write!(name, "{d}.{c}.{b}.{a}.");
        }
        IpAddr::V6(ip) => {
            for octet in ip.octets().iter().rev() {
                let _ = write!(name, "{:x}.{:x}.", octet & 15, octet >> 4);
            }
        }
    }
    let _ = write!(name, "{}.", zone.ascii());
    name
}

async fn is_listed(resolver: &TokioResolver, ip: IpAddr, zone: &Domain) -> Option<bool> {
    match timeout(LIST_WAIT, look(resolver, &list_name(ip, zone), RecordType::A)).await {
        Ok(Found::Records(records)) => {
            // RFC 5782 §2.1: the answer is within 127.0.0.0/8; anything else is no list any more.
            let good = |data: &RData| matches!(data, RData::A(a) if a.0.is_loopback());
            Some(records.iter().any(good))
        }
        Ok(Found::Nothing) => Some(false),
        _ => None,
    }
}

/// RFC 5782 §5: a list that works lists 127.0.0.2 and does not list 127.0.0.1.
pub async fn is_healthy(resolver: &TokioResolver, zone: &Domain) -> bool {
    let of = |last| IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
    let (listed, not) = tokio::join!(is_listed(resolver, of(2), zone), is_listed(resolver, of(1), zone));
    listed == Some(true) && not == Some(false)
}

/// The first zone, in the order given, that lists an address. A zone that fails lists nothing.
pub async fn listed(resolver: &TokioResolver, ip: IpAddr, zones: &[Domain]) -> Option<Listed> {
    for zone in zones.iter().take(LISTS) {
        if is_listed(resolver, ip, zone).await != Some(true) {
            continue;
        }
        let text = match timeout(LIST_WAIT, look(resolver, &list_name(ip, zone), RecordType::TXT)).await {
            Ok(Found::Records(records)) => records.into_iter().find_map(|data| match data {
                RData::TXT(txt) => {
                    let bytes: Vec<u8> = txt.txt_data.iter().flat_map(|part| part.iter().copied()).collect();
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    Some(text.chars().filter(|c| !c.is_control()).take(LIST_TEXT).collect::<String>())
                }
                _ => None,
            }),
            _ => None,
        };
        return Some(Listed { zone: zone.clone(), text: text.unwrap_or_default() });
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_below_a_zone() {
        let zone = Domain::parse("dnsbl.example").unwrap();
        for (ip, want) in [
            ("192.0.2.99", "99.2.0.192.dnsbl.example."),
            ("::ffff:192.0.2.99", "99.2.0.192.dnsbl.example."),
            // RFC 5782 §2.4
            (
                "2001:db8:1:2:3:4:567:89ab",
                "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2.dnsbl.example.",
            ),
        ] {
            assert_eq!(list_name(ip.parse().unwrap(), &zone), want);
        }
    }
}
