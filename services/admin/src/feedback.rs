//! Reports about our domains, for people; and whether those to whom reports are sent want them.
//!
//! Rows MA-18, MA-20, TP-13. Law: RFC 7489 §7.1 (verifying external destinations).
//! Fails with: nothing but the words of a lookup.

use crate::error::AdminError;
use hickory_resolver::proto::rr::RecordType;
use libmox_service::dns::{Asker, Dns};
use libmox_store::{Evaluation, ReportKept, ReportKind};
use libmox_types::Domain;
use libmox_verdict::dmarc::{Found, Record, choose};
use libmox_verdict::{RecordFault, ReportUri, organisation};
use mox_dbus::admin1::{EvaluationItem, ReportAddressItem, ReportItem};

/// `dmarc` or `tls`.
pub fn kind(text: &str) -> Result<ReportKind, AdminError> {
    match text {
        "dmarc" => Ok(ReportKind::Dmarc),
        "tls" => Ok(ReportKind::Tls),
        other => Err(AdminError::Invalid(format!("no reports of kind {other}"))),
    }
}

/// A domain, or all if empty.
pub fn some_domain(text: &str) -> Result<Option<Domain>, AdminError> {
    match text {
        "" => Ok(None),
        text => Domain::parse(text).map(Some).map_err(|error| AdminError::Invalid(error.to_string())),
    }
}

pub fn report(kept: ReportKept) -> ReportItem {
    ReportItem {
        at: kept.at.0,
        from: kept.from.map(|from| from.to_string()).unwrap_or_default(),
        organisation: kept.read.organisation,
        contact: kept.read.contact,
        id: kept.read.id,
        domains: kept.read.domains.iter().map(ToString::to_string).collect(),
        begin: kept.read.begin.0,
        end: kept.read.end.0,
        policy: kept.read.policy,
        total: kept.read.total,
        good: kept.read.good,
        rows: kept.read.rows.into_iter().map(|row| (row.source, row.count, row.good, row.text)).collect(),
        left_out: kept.read.left_out,
    }
}

pub fn evaluation(one: Evaluation) -> EvaluationItem {
    EvaluationItem {
        at: one.at.0,
        domain: one.seen.domain.to_string(),
        header_from: one.seen.header_from.to_string(),
        remote_ip: one.remote_ip.to_string(),
        refused: one.refused,
        spf: one.seen.aligned_spf,
        dkim: one.seen.aligned_dkim,
        overrides: one.overrides,
        optional: one.optional,
        addresses: one.seen.aggregate,
    }
}

enum Texts {
    /// What is there, and whether DNSSEC proves it.
    Known(Vec<String>, bool),
    Failed(String),
}

async fn texts(dns: &Dns, name: &str) -> Texts {
    match dns.lookup(Asker::Check, name, RecordType::TXT).await {
        Ok(answer) => {
            let texts = answer.texts().map(|text| String::from_utf8_lossy(&text).into_owned());
            Texts::Known(texts.collect(), answer.authentic)
        }
        Err(error) => Texts::Failed(error.to_string()),
    }
}

/// Row MA-20: every address in the DMARC record of a domain, and whether its own domain wants the reports.
pub async fn check_addresses(dns: &Dns, domain: &Domain) -> Result<Vec<ReportAddressItem>, AdminError> {
    let Some((at, record)) = record_of(dns, domain).await? else {
        return Err(AdminError::NotFound(format!("DMARC record of {domain}")));
    };
    let mut items = Vec::new();
    for uri in record.aggregate.iter().chain(&record.failures) {
        items.push(check_address(dns, &at, uri).await);
    }
    Ok(items)
}

/// RFC 7489 §6.6.3.
async fn record_of(dns: &Dns, domain: &Domain) -> Result<Option<(Domain, Record)>, AdminError> {
    for at in [domain.clone(), organisation(domain)] {
        let known = match texts(dns, &format!("_dmarc.{}.", at.ascii())).await {
            Texts::Known(known, _) => known,
            Texts::Failed(why) => return Err(AdminError::Invalid(format!("cannot look up {at}: {why}"))),
        };
        match choose(known.iter().map(String::as_str)) {
            Found::One(record) => return Ok(Some((at, *record))),
            Found::Nothing => {}
            Found::Several => {
                return Err(AdminError::Invalid(format!("{at} has several DMARC records, which are none")));
            }
            Found::Malformed => {
                return Err(AdminError::Invalid(format!("the DMARC record of {at} cannot be read")));
            }
        }
    }
    Ok(None)
}

async fn check_address(dns: &Dns, domain: &Domain, uri: &ReportUri) -> ReportAddressItem {
    let item = |destination: String, state: &str, found, secure| ReportAddressItem {
        address: uri.to_string(),
        destination,
        state: state.into(),
        found,
        secure,
    };
    let Some(address) = uri.address() else {
        return item(String::new(), "unusable", vec!["only mailto addresses get reports".into()], false);
    };
    let to = address.domain;
    if organisation(&to) == organisation(domain) {
        return item(to.to_string(), "own", Vec::new(), false);
    }
    match texts(dns, &opt_in_name(domain, &to)).await {
        Texts::Failed(why) => item(to.to_string(), "failed", vec![why], false),
        Texts::Known(found, secure) => {
            let state = if found.iter().any(|text| is_opt_in(text)) { "ok" } else { "missing" };
            item(to.to_string(), state, found, secure)
        }
    }
}

/// Where a domain says that it wants reports about another one. RFC 7489 §7.1 step 3.
pub fn opt_in_name(about: &Domain, to: &Domain) -> String {
    format!("{}._report._dmarc.{}.", about.ascii(), to.ascii())
}

/// RFC 7489 §7.1 step 6: the version is enough.
fn is_opt_in(text: &str) -> bool {
    Record::parse(text) != Err(RecordFault::Other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use libmox_testing::FakeDns;

    /// Row MA-20.
    #[tokio::test]
    async fn destinations_of_reports_have_to_want_them() {
        let (dns, server) = FakeDns::start().await.unwrap();
        let record = "v=DMARC1; p=none; rua=mailto:a@mail.a.example!10m,mailto:r@in.example,mailto:r@out.example,\
                      https://x.example/; ruf=mailto:r@down.example";
        dns.add("_dmarc.a.example", &["TXT", record]);
        dns.add("a.example._report._dmarc.in.example", &["TXT", "v=DMARC1;"]);
        dns.add("a.example._report._dmarc.out.example", &["TXT", "v=spf1 -all"]);
        dns.add("a.example._report._dmarc.down.example", &["TIMEOUT"]);
        dns.add("_dmarc.two.example", &["TXT", "v=DMARC1; p=none"]);
        dns.add("_dmarc.two.example", &["TXT", "v=DMARC1; p=reject"]);
        let resolver = Dns::unvalidated(server).unwrap();
        // A name below it has the record of its organisation.
        let domain = Domain::parse("www.a.example").unwrap();
        let items = check_addresses(&resolver, &domain).await.unwrap();
        let got: Vec<(&str, &str)> =
            items.iter().map(|item| (item.destination.as_str(), item.state.as_str())).collect();
        let want = [
            ("mail.a.example", "own"),
            ("in.example", "ok"),
            ("out.example", "missing"),
            ("", "unusable"),
            ("down.example", "failed"),
        ];
        assert_eq!(got, want);
        assert_eq!(items[0].address, "mailto:a@mail.a.example!10m");
        for (name, want) in [("two.example", "several"), ("none.example", "DMARC record of none.example")] {
            let error = check_addresses(&resolver, &Domain::parse(name).unwrap()).await.unwrap_err();
            assert!(error.to_string().contains(want), "{error}");
        }
    }
}
