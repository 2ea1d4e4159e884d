//! DNS questions about a sender: does its domain take mail (row SR-09), does its EHLO name exist (row SR-03), and do
//! DNS block lists know its address (row MA-22).
//!
//! Law: RFC 5321 §5.1, RFC 7505 (null MX), RFC 5782 §2.1 (IPv4), §2.4 (IPv6) and §5 (test addresses).
//! Fails with: nothing; a lookup that fails is an answer.

use crate::limits::{LIST_TEXT, LIST_WAIT, LISTS, SENDER_WAIT};
use crate::report::status;
use hickory_resolver::proto::rr::{RData, RecordType};
use libmox_service::dns::{Answer, Asker, Dns, LookupFault, reverse_labels};
use libmox_types::Domain;
use libmox_verify::{Listed, ListsSaid, Looked, Takes};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;
use tokio::time::timeout;

/// A lookup that does not wait for ever.
pub(crate) async fn look(
    dns: &Dns,
    asker: Asker,
    name: &str,
    kind: RecordType,
    wait: Duration,
) -> Result<Answer, LookupFault> {
    in_time(wait, dns.lookup(asker, name, kind)).await
}

async fn in_time(
    wait: Duration,
    lookup: impl Future<Output = Result<Answer, LookupFault>>,
) -> Result<Answer, LookupFault> {
    let late = || LookupFault::Failed { text: "no answer in time".into(), extended: None };
    timeout(wait, lookup).await.unwrap_or_else(|_| Err(late()))
}

/// Whether a domain takes mail.
pub async fn takes_mail(dns: &Dns, domain: &Domain) -> Looked {
    let name = format!("{}.", domain.ascii());
    let answer = match look(dns, Asker::Sender, &name, RecordType::MX, SENDER_WAIT).await {
        Ok(answer) => answer,
        Err(fault) => return unknown(domain, &fault),
    };
    let hosts: Vec<String> = answer
        .records
        .iter()
        .filter_map(|data| match data {
            RData::MX(mx) => Some(mx.exchange.to_utf8()),
            _ => None,
        })
        .collect();
    let looked = |takes, found: String| {
        let found = format!("{domain} {found}, {}", status(answer.authentic));
        Looked { takes, authentic: answer.authentic, found }
    };
    match &hosts[..] {
        [] => {
            let mut looked = has_name(dns, domain).await;
            looked.authentic &= answer.authentic;
            looked
        }
        // RFC 7505 §3: a single record, preference 0, the root.
        hosts if hosts.iter().all(|host| host == ".") => {
            looked(Takes::NullMx, "takes no mail (null MX)".into())
        }
        [host, ..] => looked(Takes::Mail, format!("has MX {}", host.trim_end_matches('.'))),
    }
}

fn unknown(domain: &Domain, fault: &LookupFault) -> Looked {
    Looked { takes: Takes::Unknown, authentic: false, found: format!("{domain}: {fault}") }
}

/// Whether a name has an address.
pub async fn has_name(dns: &Dns, domain: &Domain) -> Looked {
    let name = format!("{}.", domain.ascii());
    match in_time(SENDER_WAIT, dns.addresses(Asker::Sender, &name)).await {
        Ok(answer) => {
            let (takes, has) = match answer.addresses().next() {
                Some(ip) => (Takes::Mail, format!("has address {ip}")),
                None => (Takes::NoAddress, "has no address".into()),
            };
            let found = format!("{domain} {has}, {}", status(answer.authentic));
            Looked { takes, authentic: answer.authentic, found }
        }
        Err(fault) => unknown(domain, &fault),
    }
}

/// The name of an address below a zone.
fn list_name(ip: IpAddr, zone: &Domain) -> String {
    format!("{}{}.", reverse_labels(ip.to_canonical()), zone.ascii())
}

/// Whether a list lists an address, and whether that is proven.
async fn is_listed(dns: &Dns, ip: IpAddr, zone: &Domain) -> Result<(bool, bool), LookupFault> {
    let answer = look(dns, Asker::DnsList, &list_name(ip, zone), RecordType::A, LIST_WAIT).await?;
    // RFC 5782 §2.1: the answer is within 127.0.0.0/8; anything else is no list any more.
    Ok((answer.addresses().any(|ip| ip.is_loopback()), answer.authentic))
}

/// RFC 5782 §5: a list that works lists 127.0.0.2 and does not list 127.0.0.1.
pub async fn is_healthy(dns: &Dns, zone: &Domain) -> bool {
    let of = |last| IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
    let (listed, not) = tokio::join!(is_listed(dns, of(2), zone), is_listed(dns, of(1), zone));
    listed.is_ok_and(|(listed, _)| listed) && not.is_ok_and(|(listed, _)| !listed)
}

/// The first zone, in the order given, that lists an address. A zone that fails lists nothing.
pub async fn listed(dns: &Dns, ip: IpAddr, zones: &[Domain]) -> ListsSaid {
    let mut said = ListsSaid::default();
    for zone in zones.iter().take(LISTS) {
        let authentic = match is_listed(dns, ip, zone).await {
            Ok((true, authentic)) => authentic,
            Ok((false, authentic)) => {
                said.chain.push(format!("{zone}: not listed, {}", status(authentic)));
                continue;
            }
            Err(fault) => {
                said.chain.push(format!("{zone}: {fault}"));
                continue;
            }
        };
        let text = look(dns, Asker::DnsList, &list_name(ip, zone), RecordType::TXT, LIST_WAIT).await;
        let text = text.ok().and_then(|answer| answer.texts().next()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let text: String = text.chars().filter(|c| !c.is_control()).take(LIST_TEXT).collect();
        let gap = if text.is_empty() { "" } else { ": " };
        said.chain.push(format!("{zone}: listed, {}{gap}{text}", status(authentic)));
        said.listed = Some(Listed { zone: zone.clone(), text, authentic });
        break;
    }
    said
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
