//! The DNS records a domain should have.
//!
//! Rows CL-19, CL-20. Law: RFC 7208, 6376 §3.6.1, 7489, 7672 §3.1.1 (TLSA 3 1 1), 8460, 6186.

use libmox_keys::{DkimAlgorithm, DkimKey};
use libmox_types::Domain;

/// Octets of one string of a TXT record. RFC 1035 §3.3.
const TXT_STRING: usize = 255;

/// Lines for a zone file, without class, with the host's own first.
pub fn records(domain: &Domain, hostname: &Domain, keys: &[DkimKey], host_keys: &[Vec<u8>]) -> Vec<String> {
    let (domain, host) = (domain.ascii(), hostname.ascii());
    let mut lines = vec![format!("; the host {host}: its A and AAAA records are yours to add")];
    for spki in host_keys {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, spki);
        let hex: String = digest.as_ref().iter().map(|b| format!("{b:02x}")).collect();
        lines.push(format!(
            "; DANE: only useful while the zone is signed with DNSSEC\n_25._tcp.{host}. TLSA 3 1 1 {hex}"
        ));
    }
    lines.push(format!("{host}. TXT \"v=spf1 a -all\""));
    lines.push(format!("; the domain {domain}\n{domain}. MX 10 {host}."));
    for key in keys.iter().filter(|key| key.signs) {
        let kind = match key.algorithm {
            DkimAlgorithm::Rsa2048 => "",
            DkimAlgorithm::Ed25519 => "k=ed25519;",
        };
        let text = format!("v=DKIM1;h=sha256;{kind}p={}", key.public);
        lines.push(format!("{}._domainkey.{}. TXT {}", key.selector, key.domain.ascii(), strings(&text)));
    }
    lines.push(format!("{domain}. TXT \"v=spf1 mx ~all\""));
    lines.push(format!("_dmarc.{domain}. TXT \"v=DMARC1;p=reject;rua=mailto:postmaster@{domain}!10m\""));
    lines.push(format!("_submissions._tcp.{domain}. SRV 0 1 465 {host}."));
    lines.push(format!("_imaps._tcp.{domain}. SRV 0 1 993 {host}."));
    for service in ["_submission", "_imap", "_pop3", "_pop3s"] {
        // RFC 6186 §3.4: said to be absent, so that clients do not look for plain text ports.
        lines.push(format!("{service}._tcp.{domain}. SRV 0 0 0 ."));
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
        };
        let text = records(&domain, &host, &[key], &[b"spki".to_vec()]).join("\n");
        assert!(text.contains("\nxn--bcher-kva.example. MX 10 mail.example.org.\n"), "{text}");
        assert!(text.contains("_25._tcp.mail.example.org. TLSA 3 1 1 "));
        let long = text.lines().find(|l| l.starts_with("2026a._domainkey")).unwrap();
        assert_eq!(long.matches('"').count(), 4);
        // Row CL-19: no class.
        assert!(!text.contains(" IN "));
    }
}
