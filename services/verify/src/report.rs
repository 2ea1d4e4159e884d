//! Verdicts as header fields: `Authentication-Results` and `Received-SPF`, with the DNSSEC status of each lookup.
//!
//! Law: RFC 8601 §2.2 and §2.7, RFC 7208 §9.1; row SR-23.

use crate::dmarc::Dmarc;
use base64::Engine;
use libmox_types::{Domain, ReversePath};
use libmox_verify::Verify;
use mail_auth::common::crypto::Algorithm;
use mail_auth::dkim::DkimError;
use mail_auth::dkim::Signature;
use mail_auth::{DkimResult, Error, SpfResult};
use std::fmt::Write as _;

/// RFC 8601 §2.7.2.
pub fn spf_word(result: SpfResult) -> &'static str {
    match result {
        SpfResult::Pass => "pass",
        SpfResult::Fail => "fail",
        SpfResult::SoftFail => "softfail",
        SpfResult::Neutral => "neutral",
        SpfResult::TempError => "temperror",
        SpfResult::PermError => "permerror",
        SpfResult::None => "none",
    }
}

/// RFC 8601 §2.7.1.
pub fn dkim_word(result: &DkimResult) -> &'static str {
    match result {
        DkimResult::Pass => "pass",
        // RFC 6376 §6.1.3: a body that was changed is a signature that failed; the library is milder.
        DkimResult::Neutral(Error::Dkim(DkimError::FailedBodyHashMatch)) => "fail",
        DkimResult::Neutral(_) => "neutral",
        DkimResult::Fail(_) => "fail",
        DkimResult::PermError(_) => "permerror",
        DkimResult::TempError(_) => "temperror",
        DkimResult::None => "none",
    }
}

/// RFC 8617 §4.4: a chain is there, good or not.
pub fn arc_word(result: &DkimResult) -> &'static str {
    match result {
        DkimResult::None => "none",
        DkimResult::Pass => "pass",
        DkimResult::TempError(_) => "temperror",
        DkimResult::Neutral(_) | DkimResult::Fail(_) | DkimResult::PermError(_) => "fail",
    }
}

/// Reverse DNS of the client.
pub struct Iprev {
    /// RFC 8601 §2.7.3.
    pub word: &'static str,
    /// DNSSEC proves all of it.
    pub secure: bool,
    /// The name that leads back, or what went wrong.
    pub found: String,
}

/// One signature.
pub struct DkimLine {
    pub word: &'static str,
    pub domain: String,
    pub selector: String,
    algorithm: &'static str,
    start: String,
    secure: bool,
    /// What went wrong, for people.
    pub why: Option<String>,
}

impl DkimLine {
    /// No signature to speak of.
    pub fn bare(word: &'static str) -> Self {
        Self {
            word,
            domain: String::new(),
            selector: String::new(),
            algorithm: "",
            start: String::new(),
            secure: false,
            why: None,
        }
    }

    /// A signature and its result.
    pub fn new(word: &'static str, signature: &Signature, secure: bool) -> Self {
        let start = base64::engine::general_purpose::STANDARD.encode(&signature.b);
        Self {
            word,
            domain: signature.d.to_lowercase(),
            selector: signature.s.clone(),
            algorithm: match signature.a {
                Algorithm::RsaSha1 => "rsa-sha1",
                Algorithm::RsaSha256 => "rsa-sha256",
                Algorithm::Ed25519Sha256 => "ed25519-sha256",
            },
            // RFC 6008 §3: at least eight characters tell signatures apart.
            start: start.chars().take(12).collect(),
            secure,
            why: None,
        }
    }
}

/// What goes into the header.
pub struct Report<'a> {
    pub hostname: &'a Domain,
    pub ask: &'a Verify,
    pub iprev: &'a Iprev,
    pub spf: (&'static str, bool, &'a str),
    /// What the domain says about a failure.
    pub explanation: Option<&'a str>,
    /// Which lookup of SPF failed.
    pub spf_fault: Option<&'a str>,
    pub dkim: &'a [DkimLine],
    pub dmarc: &'a Dmarc,
    pub arc: (&'static str, Option<&'a Domain>),
}

impl Report<'_> {
    /// Both fields, CRLF lines, and where the comment on DMARC ends.
    pub fn write(&self) -> (String, Option<u32>) {
        let mut note = None;
        let mut text = String::with_capacity(512);
        let ip = self.ask.remote_ip;
        let _ = write!(text, "Authentication-Results: {}", self.hostname.ascii());
        let _ = write!(
            text,
            ";\r\n\tiprev={} ({}) policy.iprev={ip}",
            self.iprev.word,
            status(self.iprev.secure)
        );
        let (word, secure, _) = self.spf;
        let _ = match &self.ask.mail_from {
            ReversePath::Address(address) => {
                write!(
                    text,
                    ";\r\n\tspf={word} ({}) smtp.mailfrom={}",
                    status(secure),
                    value(&address.to_string())
                )
            }
            ReversePath::Null => {
                write!(text, ";\r\n\tspf={word} ({}) smtp.helo={}", status(secure), value(&self.helo()))
            }
        };
        for line in self.dkim {
            let _ = write!(text, ";\r\n\tdkim={}", line.word);
            if !line.domain.is_empty() {
                let _ = write!(
                    text,
                    " ({}) header.d={} header.s={}\r\n\t header.a={} header.b={}",
                    status(line.secure),
                    value(&line.domain),
                    value(&line.selector),
                    line.algorithm,
                    value(&line.start)
                );
            }
        }
        let _ = write!(text, ";\r\n\tdmarc={}", self.dmarc.word);
        if let Some(from) = &self.dmarc.from {
            let _ = write!(text, " ({}, p={}", status(self.dmarc.secure), self.dmarc.policy.word());
            if self.dmarc.is_sampled_out() {
                // Row MA-10.
                text.push_str(", override sampled_out");
            }
            note = u32::try_from(text.len()).ok();
            let _ = write!(text, ") header.from={}", value(from.ascii()));
        }
        if self.arc.0 != "none" {
            let _ = write!(text, ";\r\n\tarc={}", self.arc.0);
            if let Some(sealer) = self.arc.1 {
                // RFC 8617 §10.2.
                let _ = write!(text, " (dmarc=pass at {0}) header.d={0}", value(sealer.ascii()));
            }
        }
        text.push_str("\r\n");
        let (word, secure, domain) = self.spf;
        let from = self
            .ask
            .mail_from
            .address()
            .map_or_else(|| format!("postmaster@{}", self.helo()), ToString::to_string);
        let _ = write!(
            text,
            "Received-SPF: {word} ({}; domain {})\r\n\tclient-ip={ip}; envelope-from={}; helo={};\r\n\treceiver={}; identity={}\r\n",
            status(secure),
            comment(domain),
            quoted(&from),
            value(&self.helo()),
            self.hostname.ascii(),
            if self.ask.mail_from == ReversePath::Null { "helo" } else { "mailfrom" }
        );
        (text, note)
    }

    /// The same for people, a line each.
    pub fn chain(&self) -> Vec<(String, String)> {
        let line = |topic: &str, text: String| (topic.to_owned(), text);
        let mut chain = vec![
            line(
                "iprev",
                format!(
                    "{} {} {}, {}",
                    self.iprev.word,
                    self.ask.remote_ip,
                    self.iprev.found,
                    status(self.iprev.secure)
                ),
            ),
            line("SPF", format!("{} {}, {}", self.spf.0, self.spf.2, status(self.spf.1))),
        ];
        chain.extend(self.explanation.map(|text| line("SPF explanation", text.to_owned())));
        chain.extend(self.spf_fault.map(|text| line("SPF", text.to_owned())));
        for one in self.dkim {
            chain.push(match one.domain.is_empty() {
                true => line("DKIM", one.word.to_owned()),
                false => line(
                    "DKIM",
                    format!(
                        "{} {} selector {} {}, {}",
                        one.word,
                        one.domain,
                        one.selector,
                        one.algorithm,
                        status(one.secure)
                    ),
                ),
            });
            chain.extend(one.why.as_ref().map(|why| line("DKIM", why.clone())));
        }
        let from = self.dmarc.from.as_ref().map(ToString::to_string).unwrap_or_default();
        let sampled = if self.dmarc.is_sampled_out() { " for other messages" } else { "" };
        let (word, policy, secure) = (self.dmarc.word, self.dmarc.policy.word(), status(self.dmarc.secure));
        chain.push(line("DMARC", format!("{word} {from} policy {policy}{sampled}, {secure}")));
        chain.extend(self.dmarc.fault.as_ref().map(|fault| line("DMARC", fault.clone())));
        if self.arc.0 != "none" {
            let sealer = self.arc.1.map(|sealer| format!(" sealed by {sealer}")).unwrap_or_default();
            chain.push(line("ARC", format!("{}{sealer}", self.arc.0)));
        }
        chain
    }

    fn helo(&self) -> String {
        self.ask.helo.as_ref().map_or_else(|| "unknown".to_owned(), ToString::to_string)
    }
}

pub(crate) fn status(secure: bool) -> &'static str {
    if secure { "with dnssec" } else { "without dnssec" }
}

/// A token where it is one, else a quoted string.
fn value(text: &str) -> String {
    let token = |c: char| !c.is_ascii() || c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`{|}~@/".contains(c);
    if !text.is_empty() && text.chars().all(token) { text.to_owned() } else { quoted(text) }
}

fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars().filter(|c| !c.is_control()) {
        if c == '"' || c == '\\' {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}

/// Text safe inside a comment.
fn comment(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() && !"()\\".contains(*c)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use libmox_types::{ByteCount, Cid, Host, Timestamp};

    #[test]
    fn hostile_names_stay_inside_their_quotes() {
        assert_eq!(value("a@example.org"), "a@example.org");
        assert_eq!(value("a;b"), "\"a;b\"");
        assert_eq!(value("a\"\r\nb"), "\"a\\\"b\"");
        assert_eq!(comment("a)\\(b"), "ab");
    }

    #[test]
    fn both_fields_are_written() {
        let ask = Verify {
            cid: Cid(1),
            now: Timestamp(0),
            remote_ip: "192.0.2.1".parse().unwrap(),
            helo: Some(Host::parse("mx.example.net").unwrap()),
            mail_from: ReversePath::Address("a@example.net".parse().unwrap()),
            inline: None,
            size: ByteCount(0),
        };
        let hostname = Domain::parse("mail.example.org").unwrap();
        let dkim = [DkimLine {
            word: "pass",
            domain: "example.net".into(),
            selector: "s".into(),
            algorithm: "rsa-sha256",
            start: "abc=".into(),
            secure: true,
            why: None,
        }];
        let mut dmarc = Dmarc::bare("pass", Some(Domain::parse("example.net").unwrap()));
        (dmarc.policy, dmarc.secure) = (libmox_verdict::dmarc::Policy::Reject, true);
        let (text, note) = Report {
            hostname: &hostname,
            ask: &ask,
            iprev: &Iprev { word: "pass", secure: false, found: "mx.example.net".into() },
            spf: ("pass", true, "example.net"),
            explanation: None,
            spf_fault: None,
            dkim: &dkim,
            dmarc: &dmarc,
            arc: ("none", None),
        }
        .write();
        assert!(text[note.unwrap() as usize..].starts_with(") header.from=example.net"));
        assert_eq!(
            text,
            "Authentication-Results: mail.example.org;\r\n\tiprev=pass (without dnssec) policy.iprev=192.0.2.1;\r\n\t\
             spf=pass (with dnssec) smtp.mailfrom=a@example.net;\r\n\tdkim=pass (with dnssec) header.d=example.net \
             header.s=s\r\n\t header.a=rsa-sha256 header.b=\"abc=\";\r\n\tdmarc=pass (with dnssec, p=reject) \
             header.from=example.net\r\nReceived-SPF: pass (with dnssec; domain example.net)\r\n\t\
             client-ip=192.0.2.1; envelope-from=\"a@example.net\"; helo=mx.example.net;\r\n\t\
             receiver=mail.example.org; identity=mailfrom\r\n"
        );
    }
}
