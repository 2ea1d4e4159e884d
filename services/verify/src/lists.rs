//! DNS questions about a sender: does its domain take mail (row SR-09), does its EHLO name exist (row SR-03), and do
//! DNS block lists know its address (row MA-22).
//!
//! Law: RFC 5321 §5.1, RFC 7505 (null MX); RFC 5782 is in `libmox_service::dns::lists`.
//! Fails with: nothing; a lookup that fails is an answer.

use crate::limits::{LIST_TEXT, LISTS, SENDER_WAIT};
use crate::report::status;
use hickory_resolver::proto::rr::{RData, RecordType};
use libmox_service::dns::{Answer, Asker, Dns, LookupFault, lists};
use libmox_types::Domain;
use libmox_verify::{Listed, ListsSaid, Looked, Takes};
use std::net::IpAddr;
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

/// The first zone, in the order given, that lists an address. A zone that fails lists nothing.
pub async fn listed(dns: &Dns, ip: IpAddr, zones: &[Domain]) -> ListsSaid {
    let mut said = ListsSaid::default();
    for zone in zones.iter().take(LISTS) {
        let authentic = match lists::is_listed(dns, ip, zone).await {
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
        let text = lists::text(dns, ip, zone, LIST_TEXT).await;
        let gap = if text.is_empty() { "" } else { ": " };
        said.chain.push(format!("{zone}: listed, {}{gap}{text}", status(authentic)));
        said.listed = Some(Listed { zone: zone.clone(), text, authentic });
        break;
    }
    said
}
