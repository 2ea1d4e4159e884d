//! The DNS records a domain should have.
//!
//! Rows CL-19, CL-20, MA-19, MA-21. Law: RFC 7208, 6376 §3.6.1, 7489 §6.3 and §7.1, 8460 §3, 7672 §3.1.1 (TLSA 3 1 1), 6186 §3.4 (services that are absent).

use crate::feedback::opt_in_name;
use libmox_keys::{DkimAlgorithm, DkimKey};
use libmox_service::config::DomainConfig;
use libmox_types::Domain;
use libmox_verdict::dmarc::{self, Policy};
use libmox_verdict::{ReportUri, organisation, tlsrpt};
use std::fmt;

/// Octets of one string of a TXT record. RFC 1035 §3.3.
const TXT_STRING: usize = 255;
/// Octets of a report that is taken.
const REPORT_OCTETS: u64 = 10 << 20;

/// One record, without class: zone files inherit it and web forms have no field for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Absolute, in ASCII, with the last dot.
    pub name: String,
    pub data: Data,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    Mx {
        preference: u16,
        host: String,
    },
    Txt(String),
    /// The target is `.` for a service that is not there.
    Srv {
        priority: u16,
        weight: u16,
        port: u16,
        target: String,
    },
    /// Usage 3, selector 1, matching 1: SHA-256 of the public key, in hexadecimal.
    Tlsa(String),
}

impl Data {
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Mx { .. } => "MX",
            Self::Txt(_) => "TXT",
            Self::Srv { .. } => "SRV",
            Self::Tlsa(_) => "TLSA",
        }
    }
}

/// As in a zone file, but text is one string without quotes: for people and for comparing.
impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mx { preference, host } => write!(f, "{preference} {host}"),
            Self::Txt(text) => f.write_str(text),
            Self::Srv { priority, weight, port, target } => {
                write!(f, "{priority} {weight} {port} {target}")
            }
            Self::Tlsa(digest) => write!(f, "3 1 1 {digest}"),
        }
    }
}

/// A line of a zone file.
impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ", self.name, self.data.kind())?;
        match &self.data {
            Data::Txt(text) => f.write_str(&strings(text)),
            other => other.fmt(f),
        }
    }
}

/// Records of the host that takes the mail of all domains.
pub fn of_host(hostname: &Domain, host_keys: &[Vec<u8>]) -> Vec<Record> {
    let host = hostname.ascii();
    let tlsa = host_keys.iter().map(|spki| {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, spki);
        let hex = digest.as_ref().iter().map(|b| format!("{b:02x}")).collect();
        Record { name: format!("_25._tcp.{host}."), data: Data::Tlsa(hex) }
    });
    let spf = Record { name: format!("{host}."), data: Data::Txt("v=spf1 a -all".into()) };
    tlsa.chain([spf]).collect()
}

/// Records of one domain.
pub fn of_domain(about: &Domain, config: &DomainConfig, hostname: &Domain, keys: &[DkimKey]) -> Vec<Record> {
    let domain = about;
    let (domain, host) = (domain.ascii(), format!("{}.", hostname.ascii()));
    let at = |prefix: &str, data| Record { name: format!("{prefix}{domain}."), data };
    let mut records = vec![at("", Data::Mx { preference: 10, host: host.clone() })];
    for key in keys.iter().filter(|key| key.signs) {
        let kind = match key.algorithm {
            DkimAlgorithm::Rsa2048 => "",
            DkimAlgorithm::Ed25519 => "k=ed25519;",
        };
        records.push(Record {
            name: format!("{}._domainkey.{}.", key.selector, key.domain.ascii()),
            data: Data::Txt(format!("v=DKIM1;h=sha256;{kind}p={}", key.public)),
        });
    }
    records.push(at("", Data::Txt("v=spf1 mx ~all".into())));
    // Row MA-21: what is published is what is configured.
    let mut policy = dmarc::Record::new(Policy::Reject);
    if let Some(reports) = &config.dmarc {
        let address = reports.address(about);
        policy.aggregate.push(ReportUri::mailto(&address, Some(REPORT_OCTETS)));
        if organisation(&address.domain) != organisation(about) {
            // RFC 7489 §7.1: others send no reports there unless that domain says so.
            let name = opt_in_name(about, &address.domain);
            records.push(Record { name, data: Data::Txt("v=DMARC1".into()) });
        }
    }
    records.push(at("_dmarc.", Data::Txt(policy.to_string())));
    if let Some(reports) = &config.tlsrpt {
        let record = tlsrpt::Record { aggregate: vec![ReportUri::mailto(&reports.address(about), None)] };
        records.push(at("_smtp._tls.", Data::Txt(record.to_string())));
    }
    for (service, port) in [("_submissions._tcp.", 465), ("_imaps._tcp.", 993)] {
        records.push(at(service, Data::Srv { priority: 0, weight: 1, port, target: host.clone() }));
    }
    for service in ["_submission._tcp.", "_imap._tcp.", "_pop3._tcp.", "_pop3s._tcp."] {
        // RFC 6186 §3.4: said to be absent, so that clients do not look for plain text ports.
        records.push(at(service, Data::Srv { priority: 0, weight: 0, port: 0, target: ".".into() }));
    }
    records
}

/// Lines for a zone file, the host's own first, with remarks.
pub fn zone(
    domain: &Domain,
    config: &DomainConfig,
    hostname: &Domain,
    keys: &[DkimKey],
    host_keys: &[Vec<u8>],
) -> Vec<String> {
    let mut lines = vec![format!("; the host {}: its A and AAAA records are yours to add", hostname.ascii())];
    for record in of_host(hostname, host_keys) {
        if matches!(record.data, Data::Tlsa(_)) {
            lines.push(format!("; DANE: only useful while the zone is signed with DNSSEC\n{record}"));
        } else {
            lines.push(record.to_string());
        }
    }
    lines.push(format!("; the domain {}", domain.ascii()));
    for record in of_domain(domain, config, hostname, keys) {
        let long = matches!(&record.data, Data::Txt(text) if text.len() > TXT_STRING);
        if long {
            lines.push(
                "; one record of several strings, which readers join; web forms may want them as one".into(),
            );
        }
        lines.push(record.to_string());
    }
    lines
}

/// Long text in several quoted strings; readers join them.
fn strings(text: &str) -> String {
    let parts: Vec<&str> = (0..text.len())
        .step_by(TXT_STRING)
        .filter_map(|at| text.get(at..text.len().min(at + TXT_STRING)))
        .collect();
    parts.iter().map(|part| format!("\"{part}\"")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows MA-19, MA-21.
    #[test]
    fn records_ask_for_reports_where_they_are_wanted() {
        let domains = libmox_service::config::Domains::parse(
            "[domains.\"a.example\".dmarc]\naccount = \"j\"\nlocalpart = \"d!x\"\n[domains.\"a.example\".tlsrpt]\n\
             account = \"j\"\n[domains.\"b.example\".dmarc]\naccount = \"j\"\nlocalpart = \"d!x\"\n\
             domain = \"a.example\"\n[accounts.j]\n",
        );
        let domains = domains.map_err(|mistakes| mistakes.lines()).unwrap();
        let host = Domain::parse("mail.a.example").unwrap();
        let of = |name: &str| {
            let domain = Domain::parse(name).unwrap();
            zone(&domain, &domains.domains[&domain], &host, &[], &[]).join("\n")
        };
        let own = of("a.example");
        assert!(
            own.contains("_dmarc.a.example. TXT \"v=DMARC1;p=reject;rua=mailto:d%21x@a.example!10m\""),
            "{own}"
        );
        assert!(
            own.contains("_smtp._tls.a.example. TXT \"v=TLSRPTv1;rua=mailto:tls-reports@a.example\""),
            "{own}"
        );
        assert!(!own.contains("_report._dmarc"));
        let other = of("b.example");
        assert!(other.contains("_dmarc.b.example. TXT \"v=DMARC1;p=reject;rua=mailto:d%21x@a.example!10m\""));
        assert!(other.contains("b.example._report._dmarc.a.example. TXT \"v=DMARC1\""), "{other}");
        assert!(!other.contains("_smtp._tls"));
    }

    #[test]
    fn records_name_host_domain_and_keys() {
        let domain = Domain::parse("bücher.example").unwrap();
        let host = Domain::parse("mail.example.org").unwrap();
        let key = DkimKey {
            domain: domain.clone(),
            selector: "2026a".into(),
            algorithm: DkimAlgorithm::Rsa2048,
            signs: true,
            public: "A".repeat(400),
            how: libmox_keys::DkimHow::default(),
        };
        let config = DomainConfig::default();
        let text = zone(&domain, &config, &host, &[key], &[b"spki".to_vec()]).join("\n");
        assert!(text.contains("\nxn--bcher-kva.example. MX 10 mail.example.org.\n"), "{text}");
        assert!(text.contains("_25._tcp.mail.example.org. TLSA 3 1 1 "));
        assert!(text.contains("_pop3._tcp.xn--bcher-kva.example. SRV 0 0 0 ."));
        let long = text.lines().find(|l| l.starts_with("2026a._domainkey")).unwrap();
        assert_eq!(long.matches('"').count(), 4);
        assert!(text.contains("\n_dmarc.xn--bcher-kva.example. TXT \"v=DMARC1;p=reject\"\n"), "{text}");
        assert!(!text.contains("_smtp._tls"));
        // Row CL-19: no class.
        assert!(!text.contains(" IN "));
    }
}
