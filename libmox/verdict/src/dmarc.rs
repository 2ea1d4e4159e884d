//! The DMARC policy of a domain, and what it says about one message.
//!
//! Law: RFC 7489 §6.3 (tags), §6.6.3 (policy discovery), §3.1 (alignment), §6.6.4 (sampling).

use crate::{RecordFault, ReportUri, URIS, organisation, tags};
use libmox_types::Domain;
use std::fmt;

/// What the domain asks for where a message fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Nothing.
    None,
    /// Suspicion.
    Quarantine,
    /// Refusal.
    Reject,
}

impl Policy {
    /// As in the record.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Quarantine => "quarantine",
            Self::Reject => "reject",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::None, Self::Quarantine, Self::Reject]
            .into_iter()
            .find(|policy| policy.word().eq_ignore_ascii_case(text))
    }
}

/// How close an identity must be to the domain of From. RFC 7489 §3.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alignment {
    /// The same organisation.
    Relaxed,
    /// The same domain.
    Strict,
}

impl Alignment {
    /// Whether an identity is close enough.
    #[must_use]
    pub fn holds(self, from: &Domain, identity: &Domain) -> bool {
        match self {
            Self::Strict => from == identity,
            Self::Relaxed => from == identity || organisation(from) == organisation(identity),
        }
    }

    /// As in the record.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Relaxed => "r",
            Self::Strict => "s",
        }
    }
}

/// A record below `_dmarc`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// `p`
    pub policy: Policy,
    /// `sp`: for domains below, where it differs.
    pub subdomains: Option<Policy>,
    /// `adkim`
    pub dkim: Alignment,
    /// `aspf`
    pub spf: Alignment,
    /// `pct`: the part of failing messages that the policy is for.
    pub percent: u8,
    /// `ri`: seconds between reports.
    pub interval: u32,
    /// `fo`
    pub failure_options: String,
    /// `rua`
    pub aggregate: Vec<ReportUri>,
    /// `ruf`
    pub failures: Vec<ReportUri>,
}

/// RFC 7489 §6.3: `ri` without value.
const INTERVAL: u32 = 86_400;

impl Record {
    /// One with everything as it is by default.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            subdomains: None,
            dkim: Alignment::Relaxed,
            spf: Alignment::Relaxed,
            percent: 100,
            interval: INTERVAL,
            failure_options: "0".into(),
            aggregate: Vec::new(),
            failures: Vec::new(),
        }
    }

    /// A TXT record, its strings put together. RFC 7489 §6.3: what cannot be read behind the version is as if it were
    /// not there; of a tag that comes twice the first counts.
    pub fn parse(text: &str) -> Result<Self, RecordFault> {
        let tags = tags(text, "DMARC1")?;
        let of = |wanted: &str| {
            tags.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| *value)
        };
        let uris = |name| -> Vec<ReportUri> {
            of(name)
                .map(|value| value.split(',').take(URIS).filter_map(ReportUri::parse).collect())
                .unwrap_or_default()
        };
        let alignment = |name| match of(name) {
            Some("s" | "S") => Alignment::Strict,
            _ => Alignment::Relaxed,
        };
        let (policy, subdomains) = (of("p").map(Policy::parse), of("sp").map(Policy::parse));
        let aggregate = uris("rua");
        // RFC 7489 §6.6.3 step 6.
        let (policy, subdomains) = match (policy, subdomains) {
            (Some(Some(policy)), None) => (policy, None),
            (Some(Some(policy)), Some(Some(subdomains))) => (policy, Some(subdomains)),
            _ if !aggregate.is_empty() => (Policy::None, None),
            _ => return Err(RecordFault::Malformed),
        };
        let percent = of("pct").and_then(|text| text.parse().ok()).filter(|percent| *percent <= 100);
        let options = of("fo").filter(|text| {
            !text.is_empty() && text.split(':').all(|one| matches!(one.trim(), "0" | "1" | "d" | "s"))
        });
        Ok(Self {
            policy,
            subdomains,
            dkim: alignment("adkim"),
            spf: alignment("aspf"),
            percent: percent.unwrap_or(100),
            interval: of("ri").and_then(|text| text.parse().ok()).unwrap_or(INTERVAL),
            failure_options: options.map(|text| text.replace([' ', '\t'], "")).unwrap_or_else(|| "0".into()),
            aggregate,
            failures: uris("ruf"),
        })
    }

    /// What it asks for mail from this domain, where the record was found at `at`.
    #[must_use]
    pub fn policy_for(&self, from: &Domain, at: &Domain) -> Policy {
        if from == at { self.policy } else { self.subdomains.unwrap_or(self.policy) }
    }

    /// RFC 7489 §6.6.4: whether the policy is for this one, by a draw from 0 to 99.
    #[must_use]
    pub fn includes(&self, draw: u8) -> bool {
        draw < self.percent
    }
}

/// The record, in the order of RFC 7489 §6.4, without what is the default.
impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v=DMARC1;p={}", self.policy.word())?;
        if let Some(subdomains) = self.subdomains {
            write!(f, ";sp={}", subdomains.word())?;
        }
        let uris = |uris: &[ReportUri]| uris.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        for (name, list) in [("rua", &self.aggregate), ("ruf", &self.failures)] {
            if !list.is_empty() {
                write!(f, ";{name}={}", uris(list))?;
            }
        }
        for (name, alignment) in [("adkim", self.dkim), ("aspf", self.spf)] {
            if alignment != Alignment::Relaxed {
                write!(f, ";{name}={}", alignment.word())?;
            }
        }
        if self.interval != INTERVAL {
            write!(f, ";ri={}", self.interval)?;
        }
        if self.failure_options != "0" {
            write!(f, ";fo={}", self.failure_options)?;
        }
        if self.percent != 100 {
            write!(f, ";pct={}", self.percent)?;
        }
        Ok(())
    }
}

/// RFC 7489 §6.6.3 steps 2 and 5: what the TXT records of one name say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// No DMARC record.
    Nothing,
    /// More than one: none, and nobody else is asked.
    Several,
    /// It cannot be read.
    Malformed,
    /// It.
    One(Box<Record>),
}

/// Which of the TXT records of a name counts.
pub fn choose<'a>(texts: impl IntoIterator<Item = &'a str>) -> Found {
    let ours = texts.into_iter().map(Record::parse).filter(|read| *read != Err(RecordFault::Other));
    let mut ours: Vec<_> = ours.take(2).collect();
    match (ours.pop(), ours.is_empty()) {
        (None, _) => Found::Nothing,
        (Some(_), false) => Found::Several,
        (Some(Ok(record)), true) => Found::One(Box::new(record)),
        (Some(Err(_)), true) => Found::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(text: &str) -> Domain {
        Domain::parse(text).unwrap()
    }

    /// Row MA-21: what is written is what is read.
    #[test]
    fn records_are_read_as_they_are_written() {
        let full = "v=DMARC1;p=reject;sp=quarantine;rua=mailto:a@b.example!10m,mailto:c%2Cd@e.example;\
                    ruf=mailto:f@b.example;adkim=s;aspf=s;ri=3600;fo=1:d;pct=20";
        for text in [full, "v=DMARC1;p=none", "v=DMARC1;p=quarantine;rua=mailto:x@y.example"] {
            assert_eq!(Record::parse(text).unwrap().to_string(), text);
        }
        let spaced =
            Record::parse(" v = DMARC1 ; P = Reject ; aspf = s ; x=y; pct=101; ri=-1; fo=z;").unwrap();
        assert_eq!(spaced, Record { spf: Alignment::Strict, ..Record::new(Policy::Reject) });
    }

    /// RFC 7489 §6.6.3 step 6.
    #[test]
    fn a_record_without_policy_only_wants_reports() {
        for (text, want) in [
            ("v=DMARC1; rua=mailto:a@b.example", Ok(Policy::None)),
            ("v=DMARC1; p=what; rua=mailto:a@b.example", Ok(Policy::None)),
            ("v=DMARC1; p=reject; sp=what; rua=mailto:a@b.example", Ok(Policy::None)),
            ("v=DMARC1; p=reject; sp=what", Err(RecordFault::Malformed)),
            ("v=DMARC1", Err(RecordFault::Malformed)),
            ("v=DMARC1; rua=nobody", Err(RecordFault::Malformed)),
            ("v=DMARC2; p=reject", Err(RecordFault::Other)),
            ("v=dmarc1; p=reject", Err(RecordFault::Other)),
            ("p=reject; v=DMARC1", Err(RecordFault::Other)),
            ("", Err(RecordFault::Other)),
        ] {
            assert_eq!(Record::parse(text).map(|record| record.policy), want, "{text}");
        }
    }

    /// Row MA-08.
    #[test]
    fn several_records_are_none_and_others_do_not_matter() {
        let record = Record::new(Policy::Reject);
        let text = record.to_string();
        for (texts, want) in [
            (vec![], Found::Nothing),
            (vec!["v=spf1 -all"], Found::Nothing),
            (vec!["v=spf1 -all", &text], Found::One(Box::new(record.clone()))),
            (vec![&text, "v=DMARC1"], Found::Several),
            (vec!["v=DMARC1"], Found::Malformed),
        ] {
            assert_eq!(choose(texts.iter().copied()), want, "{texts:?}");
        }
    }

    #[test]
    fn alignment_is_relaxed_or_strict() {
        for (from, identity, relaxed, strict) in [
            ("a.example", "a.example", true, true),
            ("news.a.example", "a.example", true, false),
            ("news.a.example", "mail.a.example", true, false),
            ("a.co.uk", "b.co.uk", false, false),
            ("a.github.io", "b.github.io", true, false),
        ] {
            let (from, identity) = (domain(from), domain(identity));
            assert_eq!(Alignment::Relaxed.holds(&from, &identity), relaxed, "{from} {identity}");
            assert_eq!(Alignment::Strict.holds(&from, &identity), strict, "{from} {identity}");
        }
    }

    /// Row MA-08: a draw of 0 to 99 meets each percentage as often as it says.
    #[test]
    fn sampling_meets_its_percentage() {
        for percent in [0, 1, 50, 99, 100] {
            let record = Record { percent, ..Record::new(Policy::Reject) };
            let met = (0..100).filter(|draw| record.includes(*draw)).count();
            assert_eq!(met, usize::from(percent));
        }
        let record = Record { subdomains: Some(Policy::None), ..Record::new(Policy::Reject) };
        assert_eq!(record.policy_for(&domain("a.example"), &domain("a.example")), Policy::Reject);
        assert_eq!(record.policy_for(&domain("b.a.example"), &domain("a.example")), Policy::None);
    }
}
