//! Which hosts take mail for a domain.
//!
//! Law: RFC 5321 §5.1, RFC 7505 (null MX). Bogus DNSSEC is a temporary failure.
//! Does not know: connections.

use crate::limits::HOSTS;
use hickory_resolver::proto::rr::{RData, RecordType};
use libmox_service::dns::{Asker, Dns};
use libmox_smtp::client::Failure;
use libmox_types::Domain;

/// Names of hosts in the order to try.
pub async fn hosts(dns: &Dns, domain: &Domain) -> Result<Vec<String>, Failure> {
    let name = format!("{}.", domain.ascii());
    let answer = dns
        .lookup(Asker::Queue, &name, RecordType::MX)
        .await
        .map_err(|fault| Failure::local(false, "4.4.3", &format!("MX of {domain}: {fault}")))?;
    if !answer.exists {
        return Err(Failure::local(true, "5.1.2", &format!("domain {domain} does not exist")));
    }
    let mut found: Vec<(u16, String)> = answer
        .records
        .iter()
        .filter_map(|data| match data {
            RData::MX(mx) => Some((mx.preference, mx.exchange.to_ascii())),
            _ => None,
        })
        .collect();
    // RFC 7505 §3: a single "." means: no mail, ever.
    if let [(_, only)] = found.as_slice()
        && only == "."
    {
        return Err(Failure::local(true, "5.1.10", &format!("{domain} accepts no mail (null MX)")));
    }
    found.sort();
    found.truncate(HOSTS);
    // RFC 5321 §5.1: no MX, so the domain itself is the host.
    if found.is_empty() { Ok(vec![name]) } else { Ok(found.into_iter().map(|(_, host)| host).collect()) }
}
