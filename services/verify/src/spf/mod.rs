//! SPF: may this address send for this domain?
//!
//! Law: RFC 7208. §4 is [`check_host`]; the record is `record.rs`, its macros `macros.rs`. The published test suite of
//! the law runs against it (`golden.rs`).
//! Bounded (§4.6.4): ten terms that ask the DNS, two of them without an answer, ten MX and ten PTR names.
//! Fails with: nothing. What goes wrong is a result.

mod macros;
pub(crate) mod record;

use hickory_resolver::proto::rr::{Name, RData, RecordType};
use libmox_service::dns::{Answer, Asker, Dns};
use macros::{Piece, Where};
use mail_auth::SpfResult;
use record::{Mechanism, Qualifier, Record};
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// Terms that ask the DNS. §4.6.4.
const LOOKUPS: u32 = 10;
/// Of them without an answer.
const VOIDS: u32 = 2;
/// Names of an MX or PTR answer.
const NAMES: usize = 10;
/// Octets of an explanation. Row MA-03.
const EXPLANATION: usize = 800;

/// Who is asked about.
#[derive(Debug, Clone)]
pub struct Question<'a> {
    pub ip: IpAddr,
    /// EHLO name; may be empty.
    pub helo: &'a str,
    /// Local part of the sender.
    pub local: &'a str,
    /// Its domain, where the record is.
    pub domain: &'a str,
    /// This host.
    pub receiver: &'a str,
    /// Seconds since 1970.
    pub now: i64,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub result: SpfResult,
    /// Of the domain, for a failure.
    pub explanation: Option<String>,
    /// DNSSEC proves all answers it rests on (row MA-01).
    pub authentic: bool,
    /// Which lookup failed.
    pub fault: Option<String>,
}

/// The check of §4.
pub async fn check_host(dns: &Dns, question: &Question<'_>) -> Outcome {
    let question = Question { ip: question.ip.to_canonical(), ..question.clone() };
    let seen = Mutex::new(Seen { authentic: true, fault: None });
    let mut check = Check { dns, question: &question, lookups: 0, voids: 0, explanation: None, seen: &seen };
    let result = match check.domain(question.domain, true).await {
        Ok(result) | Err(result) => result,
    };
    let explanation = check.explanation.filter(|_| result == SpfResult::Fail);
    let seen = seen.into_inner().unwrap_or_else(PoisonError::into_inner);
    Outcome { result, explanation, authentic: seen.authentic, fault: seen.fault }
}

/// Of all lookups together.
struct Seen {
    authentic: bool,
    fault: Option<String>,
}

struct Check<'a> {
    dns: &'a Dns,
    question: &'a Question<'a>,
    lookups: u32,
    voids: u32,
    explanation: Option<String>,
    seen: &'a Mutex<Seen>,
}

/// An early end.
type Step<T> = Result<T, SpfResult>;

/// A name that can be asked about.
fn is_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    !name.is_empty() && name.len() <= 253 && name.split('.').all(|label| (1..=63).contains(&label.len()))
}

fn is_within(ip: IpAddr, network: IpAddr, length: u8) -> bool {
    match (ip, network) {
        (IpAddr::V4(ip), IpAddr::V4(network)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            u32::from(ip) & mask == u32::from(network) & mask
        }
        (IpAddr::V6(ip), IpAddr::V6(network)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            u128::from(ip) & mask == u128::from(network) & mask
        }
        _ => false,
    }
}

impl Check<'_> {
    /// One domain, with everything it includes.
    fn domain<'s>(
        &'s mut self,
        domain: &'s str,
        explains: bool,
    ) -> std::pin::Pin<Box<dyn Future<Output = Step<SpfResult>> + Send + 's>> {
        Box::pin(async move {
            // §4.3
            let plain = domain.strip_suffix('.').unwrap_or(domain);
            if !is_name(domain) || !plain.contains('.') {
                return Ok(SpfResult::None);
            }
            let texts = self.texts(domain).await.map_err(|()| SpfResult::TempError)?;
            let mut records = texts.iter().filter(|text| record::is_record(text));
            let (first, second) = (records.next(), records.next());
            let Some(text) = first else { return Ok(SpfResult::None) };
            if second.is_some() {
                return Err(SpfResult::PermError);
            }
            let record = record::parse(text).ok_or(SpfResult::PermError)?;
            self.record(domain, &record, explains).await
        })
    }

    async fn record(&mut self, domain: &str, record: &Record, explains: bool) -> Step<SpfResult> {
        for (qualifier, mechanism) in &record.directives {
            if self.matches(domain, mechanism).await? {
                let result = match qualifier {
                    Qualifier::Pass => SpfResult::Pass,
                    Qualifier::Fail => SpfResult::Fail,
                    Qualifier::SoftFail => SpfResult::SoftFail,
                    Qualifier::Neutral => SpfResult::Neutral,
                };
                if let (SpfResult::Fail, true, Some(exp)) = (result, explains, &record.exp) {
                    self.explanation = self.explain(domain, exp).await;
                }
                return Ok(result);
            }
        }
        let Some(redirect) = &record.redirect else { return Ok(SpfResult::Neutral) };
        self.count()?;
        let target = self.expand(domain, redirect).await;
        // §6.1
        match self.domain(&target, explains).await? {
            SpfResult::None => Err(SpfResult::PermError),
            result => Ok(result),
        }
    }

    fn count(&mut self) -> Step<()> {
        self.lookups += 1;
        if self.lookups > LOOKUPS { Err(SpfResult::PermError) } else { Ok(()) }
    }

    fn void(&mut self) -> Step<()> {
        self.voids += 1;
        if self.voids > VOIDS { Err(SpfResult::PermError) } else { Ok(()) }
    }

    async fn matches(&mut self, domain: &str, mechanism: &Mechanism) -> Step<bool> {
        let ip = self.question.ip;
        match mechanism {
            Mechanism::All => Ok(true),
            Mechanism::Ip4(network, length) => Ok(is_within(ip, IpAddr::V4(*network), *length)),
            Mechanism::Ip6(network, length) => Ok(is_within(ip, IpAddr::V6(*network), *length)),
            Mechanism::Include(target) => {
                self.count()?;
                let target = self.expand(domain, target).await;
                // §5.2
                match self.domain(&target, false).await? {
                    SpfResult::Pass => Ok(true),
                    SpfResult::None => Err(SpfResult::PermError),
                    _ => Ok(false),
                }
            }
            Mechanism::A(target, four, six) => {
                self.count()?;
                let target = self.target(domain, target.as_ref()).await;
                let found = self.addresses(&target).await.map_err(|()| SpfResult::TempError)?;
                if found.is_empty() {
                    self.void()?;
                }
                Ok(found.iter().any(|one| is_within(ip, *one, if one.is_ipv4() { *four } else { *six })))
            }
            Mechanism::Mx(target, four, six) => {
                self.count()?;
                let target = self.target(domain, target.as_ref()).await;
                let hosts = self.mx(&target).await.map_err(|()| SpfResult::TempError)?;
                if hosts.is_empty() {
                    self.void()?;
                }
                if hosts.len() > NAMES {
                    return Err(SpfResult::PermError);
                }
                for host in hosts {
                    let found = self.addresses(&host).await.map_err(|()| SpfResult::TempError)?;
                    if found.iter().any(|one| is_within(ip, *one, if one.is_ipv4() { *four } else { *six })) {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Mechanism::Ptr(target) => {
                self.count()?;
                let target = self.target(domain, target.as_ref()).await.to_lowercase();
                let names = self.validated().await;
                if names.is_empty() {
                    self.void()?;
                }
                Ok(names.iter().any(|name| is_below(name, &target)))
            }
            Mechanism::Exists(target) => {
                self.count()?;
                let target = self.expand(domain, target).await;
                // §5.7: A, whatever the address of the sender is.
                let found = self.look(&target, RecordType::A).await.map_err(|()| SpfResult::TempError)?;
                if found.records.is_empty() {
                    self.void()?;
                }
                Ok(!found.records.is_empty())
            }
        }
    }

    async fn target(&mut self, domain: &str, target: Option<&Vec<Piece>>) -> String {
        match target {
            None => domain.to_owned(),
            Some(pieces) => self.expand(domain, pieces).await,
        }
    }

    /// A domain with its macros replaced, cut on the left where it is too long (§7.3).
    async fn expand(&mut self, domain: &str, pieces: &[Piece]) -> String {
        let mut text = self.replace(domain, pieces).await;
        if let Some(short) = text.strip_suffix('.') {
            text.truncate(short.len());
        }
        while text.len() > 253 {
            match text.split_once('.') {
                Some((_, rest)) => text = rest.to_owned(),
                None => break,
            }
        }
        text
    }

    async fn replace(&mut self, domain: &str, pieces: &[Piece]) -> String {
        let mut out = String::new();
        for piece in pieces {
            let one = match piece {
                Piece::Text(text) => {
                    out.push_str(text);
                    continue;
                }
                Piece::Macro(one) => one,
            };
            let Question { ip, helo, local, domain: own, receiver, now } = self.question;
            let value = match one.letter {
                's' => format!("{local}@{own}"),
                'l' => (*local).to_owned(),
                'o' => (*own).to_owned(),
                'd' => domain.to_owned(),
                'i' => dotted(*ip),
                'p' => self.name(domain).await,
                'v' => if ip.is_ipv4() { "in-addr" } else { "ip6" }.to_owned(),
                'h' => (*helo).to_owned(),
                'c' => ip.to_string(),
                'r' => (*receiver).to_owned(),
                _ => now.to_string(),
            };
            out.push_str(&one.apply(&value));
        }
        out
    }

    /// §7.3, "p": the domain itself, else one below it, else any.
    async fn name(&mut self, domain: &str) -> String {
        let names = self.validated().await;
        let domain = domain.to_lowercase();
        let chosen = names
            .iter()
            .find(|name| **name == domain)
            .or_else(|| names.iter().find(|name| is_below(name, &domain)))
            .or(names.first());
        chosen.cloned().unwrap_or_else(|| "unknown".into())
    }

    /// The names of the sender's address that lead back to it (§5.5); none where the DNS fails.
    async fn validated(&mut self) -> Vec<String> {
        let ip = self.question.ip;
        let zone = if ip.is_ipv4() { "in-addr.arpa" } else { "ip6.arpa" };
        let reverse: Vec<String> = dotted(ip).split('.').rev().map(str::to_owned).collect();
        let name = format!("{}.{zone}", reverse.join("."));
        let mut names = Vec::new();
        for data in
            self.look(&name, RecordType::PTR).await.unwrap_or_default().records.into_iter().take(NAMES)
        {
            let RData::PTR(ptr) = data else { continue };
            let name = ptr.0.to_ascii().trim_end_matches('.').to_lowercase();
            if self.addresses(&name).await.is_ok_and(|found| found.contains(&ip)) {
                names.push(name);
            }
        }
        names
    }

    /// §6.2: whatever goes wrong, there is none.
    async fn explain(&mut self, domain: &str, exp: &[Piece]) -> Option<String> {
        let target = self.expand(domain, exp).await;
        let texts = self.texts(&target).await.ok()?;
        let [text] = &texts[..] else { return None };
        let text = std::str::from_utf8(text).ok()?;
        let pieces = macros::parse(text, Where::Explanation)?;
        let mut explanation = self.replace(domain, &pieces).await;
        if !explanation.bytes().all(|b| (b' '..0x7f).contains(&b)) {
            return None;
        }
        explanation.truncate(EXPLANATION);
        Some(explanation)
    }

    async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, ()> {
        let kind = if self.question.ip.is_ipv4() { RecordType::A } else { RecordType::AAAA };
        Ok(self.look(name, kind).await?.addresses().collect())
    }

    async fn mx(&self, name: &str) -> Result<Vec<String>, ()> {
        let mut found: Vec<(u16, String)> = self
            .look(name, RecordType::MX)
            .await?
            .records
            .into_iter()
            .filter_map(|data| match data {
                RData::MX(mx) => {
                    // As it is: text would be escaped.
                    let labels = mx.exchange.iter().map(|label| String::from_utf8_lossy(label).into_owned());
                    Some((mx.preference, labels.collect::<Vec<_>>().join(".")))
                }
                _ => None,
            })
            .collect();
        found.sort();
        Ok(found.into_iter().map(|(_, host)| host).collect())
    }

    async fn texts(&self, name: &str) -> Result<Vec<Vec<u8>>, ()> {
        Ok(self.look(name, RecordType::TXT).await?.texts().collect())
    }

    /// Records of one type; an error only where the DNS fails. A name that cannot be asked about does not exist.
    async fn look(&self, name: &str, kind: RecordType) -> Result<Answer, ()> {
        if !is_name(name) || !name.is_ascii() {
            return Ok(Answer::default());
        }
        // Labels may hold anything; text would be read as a host name.
        let Ok(mut own) = Name::from_labels(name.trim_end_matches('.').split('.').map(str::as_bytes)) else {
            return Ok(Answer::default());
        };
        own.set_fqdn(true);
        let answer = self.dns.lookup_name(Asker::Spf, own, kind).await;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match answer {
            Ok(answer) => {
                seen.authentic &= answer.authentic;
                Ok(answer)
            }
            Err(fault) => {
                seen.authentic = false;
                seen.fault = Some(format!("{kind} of {name}: {fault}"));
                Err(())
            }
        }
    }
}

fn is_below(name: &str, domain: &str) -> bool {
    name == domain || name.strip_suffix(domain).is_some_and(|front| front.ends_with('.'))
}

/// §7.3, "i": octets, or nibbles.
fn dotted(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => {
            let mut out = String::with_capacity(64);
            for octet in ip.octets() {
                let dot = if out.is_empty() { "" } else { "." };
                let _ = write!(out, "{dot}{:x}.{:x}", octet >> 4, octet & 15);
            }
            out
        }
    }
}
