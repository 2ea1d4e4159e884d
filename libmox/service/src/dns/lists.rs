//! DNS block lists.
//!
//! Law: RFC 5782 §2.1 (IPv4), §2.4 (IPv6) and §5 (test addresses).

use super::{Answer, Asker, Dns, LookupFault, reverse_labels};
use hickory_resolver::proto::rr::RecordType;
use libmox_types::Domain;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;
use tokio::time::timeout;

/// One question to a list.
const WAIT: Duration = Duration::from_secs(10);

/// The name of an address below a zone.
fn name(ip: IpAddr, zone: &Domain) -> String {
    format!("{}{}.", reverse_labels(ip.to_canonical()), zone.ascii())
}

async fn look(dns: &Dns, ip: IpAddr, zone: &Domain, kind: RecordType) -> Result<Answer, LookupFault> {
    let late = || LookupFault::Failed { text: "no answer in time".into(), extended: None };
    let name = name(ip, zone);
    timeout(WAIT, dns.lookup(Asker::DnsList, &name, kind)).await.unwrap_or_else(|_| Err(late()))
}

/// Whether a list lists an address, and whether that is proven.
pub async fn is_listed(dns: &Dns, ip: IpAddr, zone: &Domain) -> Result<(bool, bool), LookupFault> {
    let answer = look(dns, ip, zone, RecordType::A).await?;
    // RFC 5782 §2.1: the answer is within 127.0.0.0/8; anything else is no list any more.
    Ok((answer.addresses().any(|ip| ip.is_loopback()), answer.authentic))
}

/// What a list says about an address that it lists, at most so many characters.
pub async fn text(dns: &Dns, ip: IpAddr, zone: &Domain, most: usize) -> String {
    let text = look(dns, ip, zone, RecordType::TXT).await.ok();
    let text = text.and_then(|answer| answer.texts().next()).unwrap_or_default();
    String::from_utf8_lossy(&text).chars().filter(|c| !c.is_control()).take(most).collect()
}

/// RFC 5782 §5: a list that works lists 127.0.0.2 and does not list 127.0.0.1.
pub async fn is_healthy(dns: &Dns, zone: &Domain) -> bool {
    let of = |last| IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
    let (listed, not) = tokio::join!(is_listed(dns, of(2), zone), is_listed(dns, of(1), zone));
    listed.is_ok_and(|(listed, _)| listed) && not.is_ok_and(|(listed, _)| !listed)
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
            assert_eq!(name(ip.parse().unwrap(), &zone), want);
        }
    }
}
