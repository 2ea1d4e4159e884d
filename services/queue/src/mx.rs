//! Which hosts take mail for a domain.
//!
//! Law: RFC 5321 §5.1, RFC 7505 (null MX). Bogus DNSSEC is a temporary failure.
//! Does not know: connections.

use crate::limits::HOSTS;
use hickory_resolver::TokioResolver;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{RData, RecordType};
use libmox_smtp::client::Failure;
use libmox_types::Domain;

/// Names of hosts in the order to try.
pub async fn hosts(resolver: &TokioResolver, domain: &Domain) -> Result<Vec<String>, Failure> {
    let name = format!("{}.", domain.ascii());
    match resolver.lookup(name.as_str(), RecordType::MX).await {
        Ok(lookup) => {
            let mut found: Vec<(u16, String)> = lookup
                .answers()
                .iter()
                .filter_map(|record| match &record.data {
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
            if found.is_empty() {
                Ok(vec![name])
            } else {
                Ok(found.into_iter().map(|(_, host)| host).collect())
            }
        }
        Err(NetError::Dns(DnsError::NoRecordsFound(none)))
            if none.response_code == ResponseCode::NXDomain =>
        {
            Err(Failure::local(true, "5.1.2", &format!("domain {domain} does not exist")))
        }
        // RFC 5321 §5.1: no MX, so the domain itself is the host.
        Err(NetError::Dns(DnsError::NoRecordsFound(_))) => Ok(vec![name]),
        Err(error) => Err(Failure::local(false, "4.4.3", &format!("MX of {domain}: {error}"))),
    }
}
