//! DMARC: whose policy holds for a message, and whether the message passes.
//!
//! Ours and not the library's, which walks the tree of names as RFC 9989 has it: rows MA-08 and MA-10 want the public
//! suffix list and `pct`.
//!
//! Law: RFC 7489 §6.6.2 and §6.6.3, §3.1, §6.6.4.

use crate::limits::DMARC_WAIT;
use crate::lists::look;
use crate::report::DkimLine;
use hickory_resolver::proto::rr::RecordType;
use libmox_service::dns::{Asker, Dns, LookupFault};
use libmox_store::DmarcSeen;
use libmox_types::Domain;
use libmox_verdict::dmarc::{self, Policy, Record};
use libmox_verdict::organisation;
use tokio::time::timeout;

/// What is known before the policy is looked up.
pub struct Question<'a> {
    /// Of From.
    pub from: &'a Domain,
    /// The domain SPF was about, its scope and result.
    pub spf: (&'a str, &'static str, &'static str),
    /// Signatures, as judged here.
    pub dkim: &'a [DkimLine],
    /// From 0 to 99, for sampling.
    pub draw: u8,
}

/// The result.
pub struct Dmarc {
    /// RFC 7489 §11.2.
    pub word: &'static str,
    /// Of From; none where it has no domain to speak of.
    pub from: Option<Domain>,
    /// What the domain asks for.
    pub policy: Policy,
    /// DNSSEC proves it.
    pub secure: bool,
    /// With the record, where there is one.
    pub seen: Option<DmarcSeen>,
    /// Why nothing is known.
    pub fault: Option<String>,
}

impl Dmarc {
    /// Without a record.
    pub fn bare(word: &'static str, from: Option<Domain>) -> Self {
        Self { word, from, policy: Policy::None, secure: false, seen: None, fault: None }
    }

    /// Whether the message is to be refused. Row MA-09: quarantine is refusal.
    pub fn refuses(&self) -> bool {
        self.word == "fail" && self.policy != Policy::None && !self.is_sampled_out()
    }

    /// The policy is for other messages.
    pub fn is_sampled_out(&self) -> bool {
        self.seen.as_ref().is_some_and(|seen| seen.sampled_out)
    }
}

/// Looks the policy up and judges.
pub async fn judge(dns: &Dns, question: &Question<'_>) -> Dmarc {
    let bare = |word| Dmarc::bare(word, Some(question.from.clone()));
    match timeout(DMARC_WAIT, discover(dns, question.from)).await {
        Ok(Ok(Discovered::Nothing(secure))) => Dmarc { secure, ..bare("none") },
        Ok(Ok(Discovered::Malformed(secure))) => Dmarc { secure, ..bare("permerror") },
        Ok(Ok(Discovered::Record(at, record, secure))) => evaluate(question, &at, &record, secure),
        Ok(Err(fault)) => Dmarc { fault: Some(fault.to_string()), ..bare("temperror") },
        Err(_) => Dmarc { fault: Some("no answer in time".into()), ..bare("temperror") },
    }
}

enum Discovered {
    Nothing(bool),
    Malformed(bool),
    Record(Domain, Box<Record>, bool),
}

/// RFC 7489 §6.6.3. Where nothing was found, its absence has to be proven at both places.
async fn discover(dns: &Dns, from: &Domain) -> Result<Discovered, LookupFault> {
    let mut secure = true;
    let organisation = organisation(from);
    for at in [from, &organisation] {
        let name = format!("_dmarc.{}.", at.ascii());
        let answer = look(dns, Asker::Dmarc, &name, RecordType::TXT, DMARC_WAIT).await?;
        secure &= answer.authentic;
        let texts: Vec<String> =
            answer.texts().map(|text| String::from_utf8_lossy(&text).into_owned()).collect();
        match dmarc::choose(texts.iter().map(String::as_str)) {
            dmarc::Found::One(record) => return Ok(Discovered::Record(at.clone(), record, secure)),
            // More than one is none, and ends the search.
            dmarc::Found::Several => return Ok(Discovered::Nothing(secure)),
            dmarc::Found::Malformed => return Ok(Discovered::Malformed(secure)),
            dmarc::Found::Nothing if *at == organisation => break,
            dmarc::Found::Nothing => {}
        }
    }
    Ok(Discovered::Nothing(secure))
}

fn evaluate(question: &Question<'_>, at: &Domain, record: &Record, secure: bool) -> Dmarc {
    let from = question.from;
    let close = |alignment: dmarc::Alignment, identity: &str| {
        Domain::parse(identity).is_ok_and(|identity| alignment.holds(from, &identity))
    };
    let (spf_domain, scope, spf_word) = question.spf;
    let spf_close = close(record.spf, spf_domain);
    let signed = |word: &str| question.dkim.iter().any(|l| l.word == word && close(record.dkim, &l.domain));
    let (aligned_spf, aligned_dkim) = (spf_close && spf_word == "pass", signed("pass"));
    let word =
        match (aligned_spf || aligned_dkim, spf_close && spf_word == "temperror" || signed("temperror")) {
            (true, _) => "pass",
            // Whether it passes is not known.
            (false, true) => "temperror",
            (false, false) => "fail",
        };
    let policy = record.policy_for(from, at);
    let sampled_out = word == "fail" && policy != Policy::None && !record.includes(question.draw);
    let signature = |line: &DkimLine| (line.domain.clone(), line.selector.clone(), line.word.to_owned());
    let seen = DmarcSeen {
        domain: at.clone(),
        policy: record.policy.word().into(),
        subdomain_policy: record.subdomains.unwrap_or(record.policy).word().into(),
        adkim: record.dkim.word().into(),
        aspf: record.spf.word().into(),
        percent: record.percent,
        failure_options: record.failure_options.clone(),
        interval: record.interval,
        aggregate: record.aggregate.iter().map(ToString::to_string).collect(),
        header_from: from.clone(),
        aligned_spf,
        aligned_dkim,
        sampled_out,
        spf: (spf_domain.to_owned(), scope.to_owned(), spf_word.to_owned()),
        dkim: question.dkim.iter().filter(|line| !line.domain.is_empty()).map(signature).collect(),
    };
    Dmarc { word, from: Some(from.clone()), policy, secure, seen: Some(seen), fault: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(text: &str) -> Domain {
        Domain::parse(text).unwrap()
    }

    fn judged(record: &str, spf: (&str, &'static str), draw: u8) -> Dmarc {
        let from = domain("news.far.example");
        let question = Question { from: &from, spf: (spf.0, "mfrom", spf.1), dkim: &[], draw };
        evaluate(&question, &domain("far.example"), &Record::parse(record).unwrap(), true)
    }

    /// Rows MA-08, MA-10.
    #[test]
    fn a_sampled_out_message_is_not_refused() {
        for (record, draw, refuses, sampled_out) in [
            ("v=DMARC1;p=reject", 99, true, false),
            ("v=DMARC1;p=reject;pct=30", 29, true, false),
            ("v=DMARC1;p=reject;pct=30", 30, false, true),
            ("v=DMARC1;p=quarantine;pct=0", 0, false, true),
            ("v=DMARC1;p=reject;sp=none;pct=0", 0, false, false),
        ] {
            let dmarc = judged(record, ("far.example", "fail"), draw);
            assert_eq!((dmarc.word, dmarc.refuses()), ("fail", refuses), "{record} {draw}");
            assert_eq!(dmarc.is_sampled_out(), sampled_out, "{record} {draw}");
        }
    }

    #[test]
    fn what_is_not_known_does_not_fail() {
        for (spf, want) in [
            (("far.example", "pass"), "pass"),
            (("other.example", "pass"), "fail"),
            (("far.example", "temperror"), "temperror"),
            (("other.example", "temperror"), "fail"),
            (("", "none"), "fail"),
        ] {
            assert_eq!(judged("v=DMARC1;p=reject;pct=0", spf, 50).word, want, "{spf:?}");
        }
    }
}
