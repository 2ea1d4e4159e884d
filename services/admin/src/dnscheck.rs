//! Whether the DNS has the records a domain should have.
//!
//! Row CL-19. [`look`] asks, [`judge`] compares what one name has with what it should have.
//! Fails with: nothing; a lookup that fails is a state of its record.

use crate::dns::{Data, Record};
use hickory_resolver::proto::rr::{RData, RecordType};
use libmox_service::dns::{Asker, Dns};
use libmox_types::Domain;
use mox_dbus::admin1::DnsCheckItem;
use std::time::Duration;

/// All questions about one domain together: a person waits.
const WAIT: Duration = Duration::from_secs(30);

/// What is published under one name.
#[derive(Debug, PartialEq, Eq)]
pub enum Published {
    /// Records, and whether DNSSEC proves them.
    Records(Vec<Data>, bool),
    /// The name server did not say.
    Failed(String),
}

/// Asks for every record, side by side, and for the host's addresses.
pub async fn look(dns: &Dns, hostname: &Domain, wanted: Vec<Record>) -> Vec<DnsCheckItem> {
    let mut asking = tokio::task::JoinSet::new();
    let host = format!("{}.", hostname.ascii());
    let (own, name) = (dns.clone(), host.clone());
    asking.spawn(libmox_service::boxed(async move { (0, addresses(&own, &name).await) }));
    for (at, record) in wanted.iter().cloned().enumerate() {
        let dns = dns.clone();
        asking.spawn(libmox_service::boxed(async move {
            (at + 1, judge(&record, &published(&dns, &record).await))
        }));
    }
    let mut items: Vec<(usize, DnsCheckItem)> = Vec::with_capacity(wanted.len() + 1);
    let _ = tokio::time::timeout(WAIT, async {
        while let Some(done) = asking.join_next().await {
            items.extend(done.ok());
        }
    })
    .await;
    for (at, record) in wanted.iter().enumerate() {
        if !items.iter().any(|(have, _)| *have == at + 1) {
            items.push((at + 1, judge(record, &Published::Failed("no answer in time".into()))));
        }
    }
    items.sort_by_key(|(at, _)| *at);
    items.into_iter().map(|(_, item)| item).collect()
}

/// The host must have an address; which one is the admin's business.
async fn addresses(dns: &Dns, host: &str) -> DnsCheckItem {
    let item = |state: &str, found| DnsCheckItem {
        name: host.to_owned(),
        kind: "A/AAAA".into(),
        state: state.into(),
        wanted: "an address".into(),
        found,
        secure: false,
    };
    match dns.addresses(Asker::Check, host).await {
        Ok(answer) => {
            let found: Vec<String> = answer.addresses().map(|ip| ip.to_string()).collect();
            let state = if found.is_empty() { "missing" } else { "ok" };
            DnsCheckItem { secure: answer.authentic, ..item(state, found) }
        }
        Err(error) => item("failed", vec![error.to_string()]),
    }
}

async fn published(dns: &Dns, record: &Record) -> Published {
    let kind = match record.data {
        Data::Mx { .. } => RecordType::MX,
        Data::Txt(_) => RecordType::TXT,
        Data::Srv { .. } => RecordType::SRV,
        Data::Tlsa(_) => RecordType::TLSA,
    };
    match dns.lookup(Asker::Check, &record.name, kind).await {
        Ok(answer) => Published::Records(answer.records.iter().filter_map(read).collect(), answer.authentic),
        Err(error) => Published::Failed(error.to_string()),
    }
}

fn read(data: &RData) -> Option<Data> {
    let lower = |name: &hickory_resolver::proto::rr::Name| name.to_ascii().to_lowercase();
    Some(match data {
        RData::MX(mx) => Data::Mx { preference: mx.preference, host: lower(&mx.exchange) },
        RData::TXT(txt) => Data::Txt(String::from_utf8_lossy(&txt.txt_data.concat()).into_owned()),
        RData::SRV(srv) => Data::Srv {
            priority: srv.priority,
            weight: srv.weight,
            port: srv.port,
            target: lower(&srv.target),
        },
        RData::TLSA(tlsa) => {
            let place = (u8::from(tlsa.cert_usage), u8::from(tlsa.selector), u8::from(tlsa.matching));
            if place != (3, 1, 1) {
                return None;
            }
            Data::Tlsa(tlsa.cert_data.iter().map(|b| format!("{b:02x}")).collect())
        }
        _ => return None,
    })
}

/// Whether two records speak of the same thing, so that one of them is a mistake: text for other purposes
/// lives under the same names.
fn same_purpose(wanted: &Data, found: &Data) -> bool {
    match (wanted, found) {
        (Data::Txt(wanted), Data::Txt(found)) => {
            let tag = |text: &str| text.split([';', ' ']).next().unwrap_or_default().to_lowercase();
            tag(wanted) == tag(found)
        }
        _ => true,
    }
}

/// Two texts that differ only in spaces around semicolons say the same. RFC 6376 §3.2, RFC 7489 §6.4.
fn same(wanted: &Data, found: &Data) -> bool {
    let tags =
        |text: &str| text.split(';').map(str::trim).filter(|t| !t.is_empty()).collect::<Vec<_>>().join(";");
    match (wanted, found) {
        (Data::Txt(wanted), Data::Txt(found)) => tags(wanted) == tags(found),
        (Data::Mx { host: wanted, .. }, Data::Mx { host: found, .. }) => wanted == found,
        _ => wanted == found,
    }
}

/// `ok`, `missing`, `different` or `failed`.
pub fn judge(wanted: &Record, published: &Published) -> DnsCheckItem {
    let (state, found, secure) = match published {
        Published::Failed(why) => ("failed", vec![why.clone()], false),
        Published::Records(all, secure) => {
            let found: Vec<&Data> = all.iter().filter(|data| same_purpose(&wanted.data, data)).collect();
            let there = found.iter().any(|data| same(&wanted.data, data));
            // RFC 7208 §4.5, RFC 7489 §6.6.3: two records of a policy are none.
            let doubled = matches!(wanted.data, Data::Txt(_)) && found.len() > 1;
            let state = match (found.is_empty(), there && !doubled) {
                (true, _) => "missing",
                (false, true) => "ok",
                (false, false) => "different",
            };
            (state, found.into_iter().map(ToString::to_string).collect(), *secure)
        }
    };
    DnsCheckItem {
        name: wanted.name.clone(),
        kind: wanted.data.kind().into(),
        state: state.into(),
        wanted: wanted.data.to_string(),
        found,
        secure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn state(wanted: &Data, found: &[Data], want: &str) {
        let record = Record { name: "example.org.".into(), data: wanted.clone() };
        let item = judge(&record, &Published::Records(found.to_vec(), true));
        assert_eq!(item.state, want, "{item:?}");
        assert!(item.secure);
    }

    fn text(text: &str) -> Data {
        Data::Txt(text.into())
    }

    #[test]
    fn records_are_compared_with_what_is_published() {
        let spf = text("v=spf1 mx ~all");
        state(&spf, &[], "missing");
        state(&spf, &[text("verification=123")], "missing");
        state(&spf, &[text("verification=123"), text("v=spf1 mx ~all")], "ok");
        state(&spf, &[text("v=spf1 -all")], "different");
        state(&spf, &[text("v=spf1 mx ~all"), text("v=spf1 -all")], "different");
        let dmarc = text("v=DMARC1;p=reject");
        state(&dmarc, &[text("v=DMARC1; p=reject;")], "ok");
        state(&dmarc, &[text("v=DMARC1; p=none")], "different");
        let mx = |preference, host: &str| Data::Mx { preference, host: host.into() };
        state(&mx(10, "mail.example.org."), &[mx(5, "mail.example.org."), mx(20, "backup.example.")], "ok");
        state(&mx(10, "mail.example.org."), &[mx(10, "other.example.")], "different");
        state(&Data::Tlsa("aa".into()), &[Data::Tlsa("bb".into())], "different");
        let failed = judge(
            &Record { name: "example.org.".into(), data: spf },
            &Published::Failed("server failure".into()),
        );
        assert_eq!((&*failed.state, &*failed.found[0]), ("failed", "server failure"));
    }
}
