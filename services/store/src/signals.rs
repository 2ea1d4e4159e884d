//! What people thought of mail, found by what it came from (rows JK-08, JK-09, JK-12, JK-13).
//!
//! A message that is marked as junk, or as no junk, is listed under each signal it bears; one with both marks, with
//! none, or kept as a reject is not. A look at a signal is a walk over the newest few keys below
//! (class, hash, mailbox it was delivered to); nothing is counted or scanned.
//!
//! | class | hash of | besides | left out where |
//! |---|---|---|---|
//! | address | From address | | |
//! | domain | domain of From | hash of the local part | |
//! | organisation | its organisational domain | hash of the local part | |
//! | DKIM | each domain whose signature passed | | forwarded |
//! | MAIL FROM | its domain, SPF passed | | forwarded |
//! | EHLO | host name; asked about only where SPF passed for it | | forwarded |
//! | network 1 to 3 | /32 /26 /21, or /64 /48 /32 | | forwarded |
//!
//! The first three exist twice, for a From that is proven ([`is_proven`]) and for one that is not (row JK-09).
//! Kept up by `Writer` with every change of flags and places; `check` recomputes it.

use crate::keys::{self, Hash, hash};
use crate::records::{Cold, Message, Read, encode};
use crate::writer::Writer;
use libmox_store::{Fault, Mark, Verdict};
use libmox_types::{AccountId, Address, Domain, Flag, MailboxId, ReversePath, Timestamp};
use std::net::IpAddr;
use std::ops::{Bound, ControlFlow};

/// What a signal is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Class {
    Address = 1,
    AddressUnproven = 2,
    Domain = 3,
    DomainUnproven = 4,
    Organisation = 5,
    OrganisationUnproven = 6,
    Dkim = 7,
    MailFrom = 8,
    Ehlo = 9,
    Network1 = 10,
    Network2 = 11,
    Network3 = 12,
}

/// DKIM domains of one message that count.
const DKIM_DOMAINS: usize = 10;

/// One signal of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signal {
    pub class: Class,
    pub hash: Hash,
    /// Tells people of one domain apart.
    pub local: Hash,
}

/// What was thought of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opinion {
    pub junk: bool,
    pub received: Timestamp,
    pub local: Hash,
}

/// Junk, no junk, or nothing that counts.
pub fn judged(message: &Message) -> Option<bool> {
    if message.marks.has(Mark::Reject) {
        return None;
    }
    match (message.flags.has(Flag::Junk), message.flags.has(Flag::NotJunk)) {
        (true, false) => Some(true),
        (false, true) => Some(false),
        _ => None,
    }
}

/// Stands for an address, whatever its case.
pub fn of_address(address: &Address) -> Hash {
    hash(&[address.local.as_str().to_lowercase().as_bytes(), b"@", address.domain.ascii().as_bytes()])
}

fn of_domain(domain: &Domain) -> Hash {
    hash(&[domain.ascii().as_bytes()])
}

/// The registrable domain, or the domain itself.
pub fn organisation(domain: &Domain) -> Domain {
    libmox_verdict::suffix::registrable(domain.ascii())
        .and_then(|text| Domain::parse(text).ok())
        .unwrap_or_else(|| domain.clone())
}

/// An address with its last bits taken away, at three widths.
pub fn networks(ip: IpAddr) -> [Hash; 3] {
    match ip.to_canonical() {
        IpAddr::V4(ip) => [32, 26, 21].map(|bits| {
            let masked = u32::from(ip) & (u32::MAX << (32 - bits));
            hash(&[b"4", &masked.to_be_bytes()])
        }),
        IpAddr::V6(ip) => [64, 48, 32].map(|bits| {
            let masked = u128::from(ip) & (u128::MAX << (128 - bits));
            hash(&[b"6", &masked.to_be_bytes()])
        }),
    }
}

/// The signals of From alone.
pub fn of_from(from: &Address, proven: bool) -> [Signal; 3] {
    let local = hash(&[from.local.as_str().to_lowercase().as_bytes()]);
    let of = |yes, no, hash| Signal { class: if proven { yes } else { no }, hash, local };
    [
        of(Class::Address, Class::AddressUnproven, of_address(from)),
        of(Class::Domain, Class::DomainUnproven, of_domain(&from.domain)),
        of(Class::Organisation, Class::OrganisationUnproven, of_domain(&organisation(&from.domain))),
    ]
}

/// Whether From is who it says: DMARC passed, or where the domain has no policy, SPF or DKIM passed for the same
/// organisation.
pub fn is_proven(from: &Address, verdict: &Verdict, mail_from: &ReversePath) -> bool {
    if verdict.dmarc != "none" {
        return verdict.dmarc == "pass";
    }
    let own = organisation(&from.domain);
    let dkim = verdict.dkim.iter().filter_map(|text| Domain::parse(text).ok());
    let spf = mail_from.address().filter(|_| verdict.spf == "pass").map(|address| address.domain.clone());
    dkim.chain(spf).take(DKIM_DOMAINS).any(|domain| organisation(&domain) == own)
}

/// How a message came.
pub struct Origin<'a> {
    pub mail_from: &'a ReversePath,
    pub helo: &'a str,
    pub remote_ip: IpAddr,
    pub verdict: &'a Verdict,
}

/// All signals of a stored message.
pub fn signals(cold: &Cold, forward: bool) -> Vec<Signal> {
    let origin = cold.origin.as_ref().map(|origin| Origin {
        mail_from: &origin.mail_from,
        helo: &origin.helo,
        remote_ip: origin.remote_ip,
        verdict: &origin.verdict,
    });
    let from = cold.facts.from.as_ref();
    let proven = from
        .zip(origin.as_ref())
        .is_some_and(|(from, origin)| is_proven(from, origin.verdict, origin.mail_from));
    signals_of(from, proven, origin.as_ref().filter(|_| !forward))
}

/// All signals of a message; without its origin, those of From.
pub fn signals_of(from: Option<&Address>, proven: bool, origin: Option<&Origin<'_>>) -> Vec<Signal> {
    let mut all = Vec::new();
    all.extend(from.iter().flat_map(|from| of_from(from, proven)));
    let Some(origin) = origin else { return all };
    let mut add = |class, hash| all.push(Signal { class, hash, local: [0; 16] });
    let mut dkim: Vec<Hash> = Vec::new();
    for domain in origin.verdict.dkim.iter().filter_map(|text| Domain::parse(text).ok()).take(DKIM_DOMAINS) {
        let hash = of_domain(&domain);
        if !dkim.contains(&hash) {
            dkim.push(hash);
            add(Class::Dkim, hash);
        }
    }
    if let (ReversePath::Address(from), "pass") = (origin.mail_from, origin.verdict.spf.as_str()) {
        add(Class::MailFrom, of_domain(&from.domain));
    }
    if let Ok(helo) = Domain::parse(origin.helo) {
        add(Class::Ehlo, of_domain(&helo));
    }
    for (class, hash) in
        [Class::Network1, Class::Network2, Class::Network3].into_iter().zip(networks(origin.remote_ip))
    {
        add(class, hash);
    }
    all
}

/// The signals of a message that has just come, to be asked about. Anybody can say the name of somebody else's host: it
/// counts where SPF was about it, which is where there is no sender (RFC 7208 §2.4), and passed.
pub fn asked_of(from: Option<&Address>, proven: bool, origin: Option<&Origin<'_>>) -> Vec<Signal> {
    let mut all = signals_of(from, proven, origin);
    let helo_passed =
        |origin: &Origin<'_>| *origin.mail_from == ReversePath::Null && origin.verdict.spf == "pass";
    if !origin.is_some_and(helo_passed) {
        all.retain(|signal| signal.class != Class::Ehlo);
    }
    all
}

/// The keys a judged message is listed under.
pub fn keys_of(account: AccountId, message: &Message, cold: &Cold) -> Vec<(Vec<u8>, Signal)> {
    let all = signals(cold, message.marks.has(Mark::Forward)).into_iter();
    let key = |signal: &Signal| {
        let (class, original) = (signal.class as u8, message.original);
        keys::signal(account, class, &signal.hash, original, message.received, message.id)
    };
    all.map(|signal| (key(&signal), signal)).collect()
}

impl Writer<'_> {
    /// Lists a message under its signals, if somebody judged it.
    pub fn list_signals(&mut self, message: &Message) -> Result<(), Fault> {
        let Some(junk) = judged(message) else { return Ok(()) };
        let cold = self.cold(message.id)?;
        for (key, signal) in keys_of(self.id, message, &cold) {
            let mut value = vec![u8::from(junk)];
            value.extend_from_slice(&signal.local);
            self.tx.change().put(key, value);
        }
        Ok(())
    }

    /// Takes it out again.
    pub fn unlist_signals(&mut self, message: &Message) -> Result<(), Fault> {
        if judged(message).is_none() {
            return Ok(());
        }
        let cold = self.cold(message.id)?;
        for (key, _) in keys_of(self.id, message, &cold) {
            self.tx.change().delete(key);
        }
        Ok(())
    }

    /// Notes that mail came from an address.
    pub fn note_heard(&mut self, from: &Address, at: Timestamp) -> Result<(), Fault> {
        use crate::records::Heard;
        let key = keys::heard(self.id, &of_address(from));
        let before: Option<Heard> = self.tx.record(&key)?;
        let first = before.map_or(at, |before| before.first);
        self.tx.change().put(key, encode(&Heard { first, last: at }));
        Ok(())
    }
}

/// The newest opinions on a signal since a time, at most `most`.
pub fn opinions(
    read: &impl Read,
    account: AccountId,
    signal: Signal,
    original: MailboxId,
    since: Timestamp,
    most: usize,
) -> Result<Vec<Opinion>, Fault> {
    let prefix = keys::signals(account, signal.class as u8, &signal.hash, original);
    let end = [prefix.as_slice(), &keys::newest(since), &[0xff; 8]].concat();
    let mut found = Vec::new();
    read.visit((Bound::Included(prefix.as_slice()), Bound::Included(end.as_slice())), |key, value| {
        let time = key.get(prefix.len()..prefix.len() + 8).and_then(keys::newest_time);
        let local = value.get(1..17).and_then(|local| local.try_into().ok());
        if let (Some(received), Some(local)) = (time, local) {
            found.push(Opinion { junk: value[0] == 1, received, local });
        }
        if found.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_of_three_widths() {
        let same = |a: &str, b: &str| {
            let (a, b): (IpAddr, IpAddr) = (a.parse().unwrap(), b.parse().unwrap());
            networks(a).iter().zip(networks(b)).filter(|(a, b)| **a == *b).count()
        };
        for (a, b, want) in [
            ("192.0.2.1", "192.0.2.1", 3),
            ("192.0.2.1", "::ffff:192.0.2.1", 3),
            ("192.0.2.1", "192.0.2.62", 2),
            ("192.0.2.1", "192.0.2.65", 1),
            ("192.0.2.1", "192.0.8.1", 0),
            ("2001:db8:1:2::1", "2001:db8:1:2::ffff", 3),
            ("2001:db8:1:2::1", "2001:db8:1:3::1", 2),
            ("2001:db8:1:2::1", "2001:db8:2:2::1", 1),
            ("2001:db8::1", "192.0.2.1", 0),
        ] {
            assert_eq!(same(a, b), want, "{a} {b}");
        }
    }

    #[test]
    fn organisations() {
        for (domain, want) in [
            ("a.b.example.org", "example.org"),
            ("x.example.co.uk", "example.co.uk"),
            ("localhost", "localhost"),
        ] {
            assert_eq!(organisation(&Domain::parse(domain).unwrap()).ascii(), want);
        }
    }
}
