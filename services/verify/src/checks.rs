//! Runs the checks of one message side by side.
//!
//! Law: RFC 7208 §4 (check_host), RFC 6376 §6, RFC 7489 §6.6, RFC 8601 §2.7.3 (iprev).

use crate::arc::{self, Fields};
use crate::dkim_keys::DkimKeys;
use crate::dmarc::{self, Dmarc};
use crate::limits::{ARC_SETS, ARC_WAIT, DKIM_WAIT, IPREV_NAMES, IPREV_WAIT, SIGNATURES, SPF_WAIT};
use crate::report::{DkimLine, Iprev, Report, arc_word, dkim_word, spf_word};
use crate::spf;
use hickory_resolver::proto::rr::{RData, RecordType};
use libmox_message::Facts;
use libmox_service::dns::{Asker, Dns, reverse_name};
use libmox_store::Verdict;
use libmox_types::{Domain, Host, ReversePath};
use libmox_verdict::dmarc::Policy;
use libmox_verify::{Verified, Verify};
use mail_auth::common::crypto::Algorithm;
use mail_auth::common::verify::VerifySignature as _;
use mail_auth::{AuthenticatedMessage, DkimResult, MessageAuthenticator, Parameters, SpfOutput, SpfResult};
use std::net::IpAddr;
use tokio::time::timeout;

/// What checks messages.
pub struct Checker {
    dns: Dns,
    /// Computes; it has no question left to ask.
    authenticator: MessageAuthenticator,
    hostname: Domain,
}

impl Checker {
    /// With our own validating resolver.
    pub fn new(dns: Dns, hostname: Domain) -> Self {
        Self { authenticator: MessageAuthenticator(dns.resolver().clone()), dns, hostname }
    }

    /// The resolver behind all checks.
    pub fn dns(&self) -> &Dns {
        &self.dns
    }

    /// All checks. A failed lookup is a verdict; this never fails.
    pub async fn check(&self, ask: &Verify, facts: &Facts, message: Option<&[u8]>) -> Verified {
        let parsed = message.and_then(AuthenticatedMessage::parse);
        let (spf, iprev, dkim, arc) = tokio::join!(
            self.spf(ask.remote_ip, ask.helo.as_ref(), &ask.mail_from),
            self.iprev(ask.remote_ip),
            self.dkim(parsed.as_ref(), message.is_some()),
            self.arc(parsed.as_ref())
        );
        let dmarc = match &parsed {
            Some(parsed) => self.dmarc(ask, parsed, &spf.output, &dkim.lines).await,
            None => Dmarc::bare("none", None),
        };
        let refuses = dmarc.refuses();
        let headers = Report {
            hostname: &self.hostname,
            ask,
            iprev: &iprev,
            spf: (spf_word(spf.output.result()), spf.secure, spf.output.domain()),
            explanation: spf.output.explanation(),
            spf_fault: spf.fault.as_deref(),
            dkim: &dkim.lines,
            dmarc: &dmarc,
            arc: (arc.word, arc.sealed_by.as_ref()),
        };
        let (chain, (headers, dmarc_note)) = (headers.chain(), headers.write());
        Verified {
            facts: facts.into(),
            shape: facts.into(),
            verdict: Verdict {
                spf: spf_word(spf.output.result()).into(),
                dkim: dkim.lines.iter().filter(|l| l.word == "pass").map(|l| l.domain.clone()).collect(),
                dmarc: dmarc.word.into(),
                iprev: iprev.word.into(),
            },
            headers,
            dmarc_refuses: refuses,
            // A rescue, where one is needed.
            sealed_by: arc.sealed_by.filter(|_| refuses),
            chain,
            dmarc_note,
            dmarc: dmarc.seen,
            report_signers: dkim.report_signers,
        }
    }

    /// The results of the first signature and of the chain, wherever DMARC stands.
    #[cfg(test)]
    pub(crate) async fn words(&self, message: &[u8]) -> (String, &'static str) {
        let parsed = AuthenticatedMessage::parse(message);
        let dkim = self.dkim(parsed.as_ref(), true).await.lines.first().map_or("none", |line| line.word);
        (dkim.to_owned(), self.arc(parsed.as_ref()).await.word)
    }

    /// SPF alone, and how the domain explains a failure.
    #[cfg(test)]
    pub(crate) async fn explained(&self, ask: &libmox_verify::Spf) -> (&'static str, Option<String>) {
        let output = self.spf(ask.remote_ip, ask.helo.as_ref(), &ask.mail_from).await.output;
        (spf_word(output.result()), output.explanation().map(str::to_owned))
    }

    /// SPF alone.
    pub async fn sender(&self, ask: &libmox_verify::Spf) -> &'static str {
        spf_word(self.spf(ask.remote_ip, ask.helo.as_ref(), &ask.mail_from).await.output.result())
    }

    async fn spf(&self, ip: IpAddr, helo: Option<&Host>, mail_from: &ReversePath) -> Spf {
        let helo = match helo {
            Some(Host::Name(name)) => name.ascii().to_owned(),
            _ => String::new(),
        };
        let host = self.hostname.ascii();
        let domain = mail_from.address().map_or(helo.clone(), |address| address.domain.ascii().to_owned());
        if domain.is_empty() {
            let output = SpfOutput::new(String::new()).with_result(SpfResult::None);
            return Spf { output, secure: false, fault: None };
        }
        // RFC 7208 §2.4: with a null reverse path the HELO identity is what there is.
        let local = mail_from.address().map_or("postmaster", |address| address.local.as_str());
        let now = libmox_service::clock::now().0;
        let question = spf::Question { ip, helo: &helo, local, domain: &domain, receiver: host, now };
        let output = SpfOutput::new(domain.clone());
        let Ok(outcome) = timeout(SPF_WAIT, spf::check_host(&self.dns, &question)).await else {
            let fault = Some("no answer in time".into());
            return Spf { output: output.with_result(SpfResult::TempError), secure: false, fault };
        };
        let output = match outcome.explanation {
            Some(text) => output.with_result(outcome.result).with_explanation(text),
            None => output.with_result(outcome.result),
        };
        Spf { output, secure: outcome.authentic, fault: outcome.fault }
    }

    async fn iprev(&self, ip: IpAddr) -> Iprev {
        let late = || Iprev { word: "temperror", secure: false, found: "no answer in time".into() };
        timeout(IPREV_WAIT, self.reverse(ip.to_canonical())).await.unwrap_or_else(|_| late())
    }

    /// RFC 8601 §3: names of the address, and whether one of them leads back to it.
    async fn reverse(&self, ip: IpAddr) -> Iprev {
        let failed = |fault: String| Iprev { word: "temperror", secure: false, found: fault };
        let found = match self.dns.lookup(Asker::Iprev, &reverse_name(ip), RecordType::PTR).await {
            Ok(found) => found,
            Err(fault) => return failed(fault.to_string()),
        };
        let (mut secure, mut fault, mut names) = (found.authentic, None, Vec::new());
        let kind = if ip.is_ipv4() { RecordType::A } else { RecordType::AAAA };
        for data in found.records.iter().take(IPREV_NAMES) {
            let RData::PTR(name) = data else { continue };
            let name = name.0.to_ascii();
            match self.dns.lookup(Asker::Iprev, &name, kind).await {
                Ok(back) => {
                    secure &= back.authentic;
                    if back.addresses().any(|own| own == ip) {
                        return Iprev { word: "pass", secure, found: name.trim_end_matches('.').to_owned() };
                    }
                }
                Err(what) => fault = Some(format!("{name} {what}")),
            }
            names.push(name.trim_end_matches('.').to_owned());
        }
        match (names.is_empty(), fault) {
            (_, Some(fault)) => failed(fault),
            // RFC 8601 §2.7.3: no PTR record.
            (true, None) => Iprev { word: "permerror", secure, found: "without name".into() },
            (false, None) => Iprev { word: "fail", secure, found: format!("not of {}", names.join(", ")) },
        }
    }

    async fn dkim(&self, parsed: Option<&AuthenticatedMessage<'_>>, readable: bool) -> Dkim {
        let bare = |word| Dkim { lines: vec![DkimLine::bare(word)], report_signers: Vec::new() };
        let Some(parsed) = parsed else {
            return bare(if readable { "none" } else { "temperror" });
        };
        let names = parsed.dkim_headers.iter().map(|field| field.header.domain_key()).take(SIGNATURES);
        let Ok(keys) = timeout(DKIM_WAIT, DkimKeys::fetch(&self.dns, Asker::Dkim, names)).await else {
            return bare("temperror");
        };
        let mut outputs = self.authenticator.verify_dkim(Parameters::new(parsed).with_txt_cache(&keys)).await;
        outputs.truncate(SIGNATURES);
        let (mut lines, mut report_signers) = (Vec::new(), Vec::new());
        for output in &outputs {
            let Some(signature) = output.signature() else { continue };
            let key = keys.key(&signature.domain_key());
            // What is not good enough for us vouches for nothing.
            let mut word = if is_unwanted(output) { "policy" } else { dkim_word(output.result()) };
            let mut why = match output.result() {
                DkimResult::Pass | DkimResult::None => None,
                DkimResult::Neutral(what)
                | DkimResult::Fail(what)
                | DkimResult::PermError(what)
                | DkimResult::TempError(what) => Some(what.to_string()),
            };
            if word == "pass" {
                let is_for =
                    |service| key.is_some_and(|key| key.texts.iter().any(|text| allows(text, "s", service)));
                let hash = if signature.a == Algorithm::RsaSha1 { "sha1" } else { "sha256" };
                if !key.is_some_and(|key| key.texts.iter().any(|text| allows(text, "h", hash))) {
                    // RFC 6376 §6.1.2, step 6.
                    (word, why) = ("permerror", Some(format!("the key is not for {hash}")));
                } else if is_for("tlsrpt") {
                    report_signers.extend(Domain::parse(&signature.d).ok());
                }
                // RFC 6376 §3.6.1: a key for other services is none for mail.
                if word == "pass" && !is_for("email") {
                    (word, why) = ("permerror", Some("the key is for other services".into()));
                }
            }
            why = key.and_then(|key| key.fault.clone()).or(why);
            let mut line = DkimLine::new(word, signature, key.is_some_and(|key| key.authentic));
            line.why = why;
            lines.push(line);
        }
        if lines.is_empty() {
            lines.push(DkimLine::bare(outputs.first().map_or("none", |o| dkim_word(o.result()))));
        }
        Dkim { lines, report_signers }
    }

    /// RFC 8617 §5.2, and what the last to seal it says of it (§5.1.1).
    async fn arc<'x>(&self, parsed: Option<&'x AuthenticatedMessage<'x>>) -> Arc {
        let Some(parsed) = parsed else { return Arc { word: "none", sealed_by: None } };
        let word = match arc::look(parsed.headers.iter().copied(), ARC_SETS) {
            Fields::None => Some("none"),
            Fields::Sets(sets) if sets > ARC_SETS => Some("policy"),
            Fields::Sets(_) => None,
            Fields::Broken(what) => {
                tracing::debug!(what, "ARC fields that are no chain");
                Some("fail")
            }
        };
        if let Some(word) = word {
            return Arc { word, sealed_by: None };
        }
        let seals = parsed.as_headers.iter().map(|field| field.header.domain_key());
        let names = seals.chain(parsed.ams_headers.iter().map(|field| field.header.domain_key()));
        let fetch = DkimKeys::fetch(&self.dns, Asker::Arc, names.take(2 * ARC_SETS));
        let Ok(keys) = timeout(ARC_WAIT, fetch).await else {
            return Arc { word: "temperror", sealed_by: None };
        };
        let output = self.authenticator.verify_arc(Parameters::new(parsed).with_txt_cache(&keys)).await;
        let word = arc_word(output.result());
        let last = output.sets().last().filter(|_| *output.result() == DkimResult::Pass);
        let sealed_by = last
            .filter(|set| says_dmarc_pass(set.results.value))
            .and_then(|set| Domain::parse(&set.seal.header.d).ok());
        Arc { word, sealed_by }
    }

    async fn dmarc(
        &self,
        ask: &Verify,
        parsed: &AuthenticatedMessage<'_>,
        spf: &SpfOutput,
        dkim: &[DkimLine],
    ) -> Dmarc {
        let domain_of = |from: &String| Domain::parse(from.rsplit_once('@')?.1).ok();
        let mut domains: Vec<Domain> = parsed.from.iter().filter_map(domain_of).collect();
        domains.sort_unstable();
        domains.dedup();
        let several = domains.len() > 1;
        let Some(from) = domains.into_iter().next() else { return Dmarc::bare("none", None) };
        if several {
            // RFC 7489 §6.6.1: nobody can say whose policy holds, so it would be a way around all of them.
            return Dmarc { policy: Policy::Reject, ..Dmarc::bare("fail", Some(from)) };
        }
        let scope = if ask.mail_from == ReversePath::Null { "helo" } else { "mfrom" };
        let draw = u8::try_from(libmox_service::clock::random_u64() % 100).unwrap_or(0);
        let spf = (spf.domain(), scope, spf_word(spf.result()));
        dmarc::judge(&self.dns, &dmarc::Question { from: &from, spf, dkim, draw }).await
    }
}

/// Row MA-04: a signature that lets others add to the body, or that does not cover the subject, proves too little.
fn is_unwanted(output: &mail_auth::DkimOutput<'_>) -> bool {
    *output.result() == DkimResult::Pass
        && output.signature().is_some_and(|signature| {
            signature.l > 0 || !signature.h.iter().any(|name| name.eq_ignore_ascii_case("subject"))
        })
}

/// Whether the list in a tag of a key record has a word; without the tag everything is allowed. RFC 6376 §3.6.1.
fn allows(record: &str, tag: &str, word: &str) -> bool {
    let list = record.split(';').find_map(|one| {
        let (name, value) = one.split_once('=')?;
        (name.trim() == tag).then(|| value.trim().to_owned())
    });
    list.is_none_or(|list| list.split(':').any(|one| one.trim() == word || tag == "s" && one.trim() == "*"))
}

/// Whether an ARC-Authentication-Results field says that DMARC passed. RFC 8601 §2.2.
pub(crate) fn says_dmarc_pass(field: &[u8]) -> bool {
    let text = String::from_utf8_lossy(field).to_lowercase();
    text.split(';').any(|result| {
        let mut words = result.split_ascii_whitespace();
        words.next() == Some("dmarc=pass")
    })
}

struct Arc {
    word: &'static str,
    sealed_by: Option<Domain>,
}

struct Spf {
    output: SpfOutput,
    secure: bool,
    /// Which lookup failed.
    fault: Option<String>,
}

struct Dkim {
    lines: Vec<DkimLine>,
    /// RFC 8460 §3.
    report_signers: Vec<Domain>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealers_word_on_dmarc() {
        for (field, want) in [
            ("i=1; mx.example; spf=pass; dmarc=pass (p=reject) header.from=a.example", true),
            ("i=1; mx.example;\r\n\tDMARC=PASS header.from=a.example", true),
            ("i=1; mx.example; dmarc=fail header.from=a.example", false),
            ("i=1; dmarc=passing", false),
            ("i=1; mx.example; spf=pass reason=\"dmarc=pass\"", false),
            ("", false),
        ] {
            assert_eq!(says_dmarc_pass(field.as_bytes()), want, "{field}");
        }
    }
}
