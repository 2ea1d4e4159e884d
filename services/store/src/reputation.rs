//! What earlier mail says of a sender, by what people of the account thought of it (rows JK-08 to JK-10, JK-12).
//!
//! Asked in this order; the first step that knows anything decides. Each is a walk over a few keys, however much mail
//! there is. "Good" and "junk" are opinions on messages delivered to the same mailbox.
//!
//! | step | how old | looks at | good | junk |
//! |---|---|---|---|---|
//! | unproven From, proven history | 3 years | 2 messages | | all: surely; else perhaps |
//! | From address | 3 years | 2 messages | any: surely | all: surely |
//! | written to it | 3 years | | surely (proven From only) | |
//! | domain of From | 2 years | 20 messages | more than 80 %: surely | none good: surely from 3 people on, else perhaps |
//! | written to the domain | 3 years | | perhaps (proven From only) | |
//! | organisational domain, written to it | | as the two above | | |
//! | DKIM domains, MAIL FROM, proven EHLO | half a year | 50 messages each | below 10 %: surely, if none is bad | above 90 %: perhaps, surely from two on |
//! | networks, narrow to wide | a quarter | 50 messages, at least 2, 5, 10 | above 80 %: perhaps | above 80 %: perhaps |

use crate::keys;
use crate::records::{Read, WroteRecord};
use crate::signals::{Class, Opinion, Signal, of_from, opinions, organisation};
use libmox_store::Fault;
use libmox_types::{AccountId, Address, MailboxId, Timestamp};
use std::collections::HashSet;

const DAY: i64 = 24 * 3600;
/// Ages and counts of row JK-08.
const ADDRESS: (i64, usize) = (3 * 365 * DAY, 2);
const WROTE: i64 = 3 * 365 * DAY;
const DOMAIN: (i64, usize) = (2 * 365 * DAY, 20);
const VERIFIED: (i64, usize) = (183 * DAY, 50);
const NETWORK: (i64, usize) = (91 * DAY, 50);
/// Messages from a network before it says anything, narrow to wide.
const NETWORK_LEAST: [usize; 3] = [2, 5, 10];
/// People of a domain who must all be bad for the domain to be.
const PEOPLE: usize = 3;

/// The step that decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    Address,
    WroteAddress,
    Domain,
    WroteDomain,
    Organisation,
    WroteOrganisation,
    Verified,
    Network1,
    Network2,
    Network3,
    Nothing,
}

impl Step {
    /// For headers and the journal.
    pub fn word(self) -> &'static str {
        match self {
            Self::Address => "from-address",
            Self::WroteAddress => "wrote-to-address",
            Self::Domain => "from-domain",
            Self::WroteDomain => "wrote-to-domain",
            Self::Organisation => "from-organisation",
            Self::WroteOrganisation => "wrote-to-organisation",
            Self::Verified => "dkim-spf",
            Self::Network1 => "network-1",
            Self::Network2 => "network-2",
            Self::Network3 => "network-3",
            Self::Nothing => "nothing-known",
        }
    }

    /// Whether the sender itself is known, not just the way its mail came.
    pub fn knows_sender(self) -> bool {
        self < Self::Verified
    }
}

/// What is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reputation {
    /// None: nothing, or good and bad alike.
    pub junk: Option<bool>,
    /// It decides by itself.
    pub sure: bool,
    pub step: Step,
    /// What each step that was asked found, for people.
    pub found: Vec<(String, String)>,
}

/// What is asked about.
pub struct Sender<'a> {
    pub account: AccountId,
    /// The mailbox the message is for; none if it does not exist yet.
    pub original: Option<MailboxId>,
    pub now: Timestamp,
    pub from: Option<&'a Address>,
    /// Whether From is who it says.
    pub proven: bool,
    /// All of the message.
    pub signals: &'a [Signal],
}

struct Looking<'a, R> {
    read: &'a R,
    sender: &'a Sender<'a>,
    found: Vec<(String, String)>,
}

/// See the module header.
pub fn reputation(read: &impl Read, sender: &Sender<'_>) -> Result<Reputation, Fault> {
    let mut looking = Looking { read, sender, found: Vec::new() };
    let (step, junk, sure) = looking.decide()?;
    Ok(Reputation { junk, sure, step, found: looking.found })
}

/// How many of them were junk.
fn junk_among(opinions: &[Opinion]) -> usize {
    opinions.iter().filter(|opinion| opinion.junk).count()
}

/// Whether `part` of `whole` is more than so many hundredths.
fn above(part: usize, whole: usize, percent: usize) -> bool {
    part * 100 > whole * percent
}

type Outcome = Option<(Step, Option<bool>, bool)>;

impl<R: Read> Looking<'_, R> {
    fn decide(&mut self) -> Result<(Step, Option<bool>, bool), Fault> {
        if let Some(from) = self.sender.from {
            let [address, domain, organisation] = of_from(from, self.sender.proven);
            if let Some(outcome) = self.address(from, address)? {
                return Ok(outcome);
            }
            if let Some(outcome) = self.domain(from, domain, Step::Domain, Step::WroteDomain)? {
                return Ok(outcome);
            }
            if let Some(outcome) =
                self.domain(from, organisation, Step::Organisation, Step::WroteOrganisation)?
            {
                return Ok(outcome);
            }
        }
        if let Some(outcome) = self.verified()? {
            return Ok(outcome);
        }
        Ok(self.networks()?.unwrap_or((Step::Nothing, None, false)))
    }

    fn heard(
        &mut self,
        what: &str,
        signal: Signal,
        (age, most): (i64, usize),
    ) -> Result<Vec<Opinion>, Fault> {
        let Some(original) = self.sender.original else { return Ok(Vec::new()) };
        let since = self.sender.now.plus(-age);
        let heard = opinions(self.read, self.sender.account, signal, original, since, most)?;
        if !heard.is_empty() {
            let text = format!("{} messages, {} of them junk", heard.len(), junk_among(&heard));
            self.found.push((what.to_owned(), text));
        }
        Ok(heard)
    }

    fn wrote(&mut self, what: &str, key: &[u8]) -> Result<bool, Fault> {
        let wrote: Option<WroteRecord> = self.read.record(key)?;
        let since = self.sender.now.plus(-WROTE);
        let Some(wrote) = wrote.filter(|wrote| wrote.last >= since) else { return Ok(false) };
        self.found.push((what.to_owned(), format!("written to, last at {}", wrote.last.0)));
        Ok(true)
    }

    fn address(&mut self, from: &Address, own: Signal) -> Result<Outcome, Fault> {
        if !self.sender.proven {
            // Row JK-09: whoever proves who they are as a rule did not this time.
            let [proven, ..] = of_from(from, true);
            let heard = self.heard("address, proven", proven, ADDRESS)?;
            if !heard.is_empty() {
                return Ok(Some((Step::Address, Some(true), junk_among(&heard) == heard.len())));
            }
        }
        let heard = self.heard("address", own, ADDRESS)?;
        if !heard.is_empty() {
            let junk = junk_among(&heard) == heard.len();
            return Ok(Some((Step::Address, Some(junk), true)));
        }
        let key = keys::wrote(self.sender.account, from);
        let wrote = self.sender.proven && self.wrote("address", &key)?;
        Ok(wrote.then_some((Step::WroteAddress, Some(false), true)))
    }

    fn domain(&mut self, from: &Address, signal: Signal, step: Step, wrote: Step) -> Result<Outcome, Fault> {
        let itself = step == Step::Domain;
        let what = if itself { "domain" } else { "organisation" };
        let heard = self.heard(what, signal, DOMAIN)?;
        if !heard.is_empty() {
            let junk = junk_among(&heard);
            if above(heard.len() - junk, heard.len(), 80) {
                return Ok(Some((step, Some(false), true)));
            }
            if junk == heard.len() {
                let people: HashSet<_> = heard.iter().map(|opinion| opinion.local).collect();
                return Ok(Some((step, Some(true), people.len() >= PEOPLE)));
            }
            // A new person of a domain of good and bad people.
            return Ok(Some((step, None, false)));
        }
        if !self.sender.proven {
            return Ok(None);
        }
        let key = match itself {
            true => keys::wrote_domain(self.sender.account, &from.domain),
            false => keys::wrote_organisation(self.sender.account, &organisation(&from.domain)),
        };
        let written = self.wrote(what, &key)?;
        Ok(written.then_some((wrote, Some(false), false)))
    }

    fn verified(&mut self) -> Result<Outcome, Fault> {
        let (mut good, mut bad, mut any) = (0, 0, false);
        let signals = self.sender.signals;
        for signal in signals {
            let what = match signal.class {
                Class::Dkim => "DKIM domain",
                Class::MailFrom => "MAIL FROM domain",
                Class::Ehlo => "EHLO name",
                _ => continue,
            };
            let heard = self.heard(what, *signal, VERIFIED)?;
            if heard.is_empty() {
                continue;
            }
            any = true;
            let junk = junk_among(&heard);
            good += usize::from(junk * 10 < heard.len());
            bad += usize::from(above(junk, heard.len(), 90));
        }
        Ok(match (any, good, bad) {
            (false, ..) => None,
            (true, 1.., 0) => Some((Step::Verified, Some(false), true)),
            (true, 0, 1..) => Some((Step::Verified, Some(true), bad > 1)),
            _ => Some((Step::Verified, None, false)),
        })
    }

    fn networks(&mut self) -> Result<Outcome, Fault> {
        let steps = [Step::Network1, Step::Network2, Step::Network3];
        for (at, class) in [Class::Network1, Class::Network2, Class::Network3].into_iter().enumerate() {
            let Some(signal) = self.sender.signals.iter().find(|signal| signal.class == class) else {
                continue;
            };
            let heard = self.heard(steps[at].word(), *signal, NETWORK)?;
            if heard.len() < NETWORK_LEAST[at] {
                continue;
            }
            let junk = junk_among(&heard);
            let verdict = if above(junk, heard.len(), 80) {
                Some(true)
            } else if above(heard.len() - junk, heard.len(), 80) {
                Some(false)
            } else {
                None
            };
            return Ok(Some((steps[at], verdict, false)));
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{ReadError, Value};
    use crate::records::encode;
    use crate::signals::{Origin, asked_of, signals_of};
    use libmox_store::Verdict;
    use libmox_types::ReversePath;
    use std::collections::BTreeMap;
    use std::ops::{Bound, ControlFlow};

    const NOW: Timestamp = Timestamp(1_800_000_000);
    const JANE: AccountId = AccountId(1);
    const INBOX: MailboxId = MailboxId(1);

    /// Keys in memory.
    #[derive(Default)]
    struct Keys(BTreeMap<Vec<u8>, Value>, u64);

    impl Read for Keys {
        fn get(&self, key: &[u8]) -> Result<Option<Value>, ReadError> {
            Ok(self.0.get(key).cloned())
        }
        fn visit(
            &self,
            range: (Bound<&[u8]>, Bound<&[u8]>),
            mut visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
        ) -> Result<(), ReadError> {
            for (key, value) in self.0.range::<[u8], _>(range) {
                if visit(key, value).is_break() {
                    break;
                }
            }
            Ok(())
        }
    }

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    /// A message as it came.
    #[derive(Clone)]
    struct Mail {
        from: &'static str,
        proven: bool,
        dkim: &'static [&'static str],
        ip: &'static str,
        forward: bool,
        mail_from: &'static str,
        helo: &'static str,
        spf: &'static str,
    }

    const MAIL: Mail = Mail {
        from: "x@sub.far.example",
        proven: true,
        dkim: &[],
        ip: "192.0.2.9",
        forward: false,
        mail_from: "",
        helo: "",
        spf: "none",
    };

    type Signals = fn(Option<&Address>, bool, Option<&Origin<'_>>) -> Vec<Signal>;

    impl Mail {
        fn signals(&self, of: Signals) -> Vec<Signal> {
            let dkim = self.dkim.iter().map(ToString::to_string).collect();
            let verdict = Verdict { dkim, spf: self.spf.into(), ..Verdict::default() };
            let mail_from = match self.mail_from {
                "" => ReversePath::Null,
                from => ReversePath::Address(address(from)),
            };
            let remote_ip = self.ip.parse().unwrap();
            let origin = Origin { mail_from: &mail_from, helo: self.helo, remote_ip, verdict: &verdict };
            of(Some(&address(self.from)), self.proven, (!self.forward).then_some(&origin))
        }
    }

    impl Keys {
        /// Mail that somebody judged, so many days ago.
        fn judged(mut self, mail: &Mail, count: usize, junk: bool, days: i64) -> Self {
            for _ in 0..count {
                self.1 += 1;
                for signal in mail.signals(signals_of) {
                    let at = NOW.plus(-days * DAY);
                    let id = libmox_types::MsgId(self.1);
                    let key = keys::signal(JANE, signal.class as u8, &signal.hash, INBOX, at, id);
                    let mut value = vec![u8::from(junk)];
                    value.extend_from_slice(&signal.local);
                    self.0.insert(key, Value::from(value));
                }
            }
            self
        }

        fn wrote(mut self, key: Vec<u8>, days: i64) -> Self {
            let last = NOW.plus(-days * DAY);
            self.0.insert(key, Value::from(encode(&WroteRecord { first: last, last })));
            self
        }

        #[track_caller]
        fn says(&self, mail: &Mail, step: Step, junk: Option<bool>, sure: bool) {
            let from = address(mail.from);
            let signals = mail.signals(asked_of);
            let sender = Sender {
                account: JANE,
                original: Some(INBOX),
                now: NOW,
                from: Some(&from),
                proven: mail.proven,
                signals: &signals,
            };
            let got = reputation(self, &sender).unwrap();
            assert_eq!((got.step, got.junk, got.sure), (step, junk, sure), "{:?}", got.found);
        }
    }

    fn keys() -> Keys {
        Keys::default()
    }

    #[test]
    fn step_1_address() {
        keys().says(&MAIL, Step::Nothing, None, false);
        keys().judged(&MAIL, 1, false, 1).says(&MAIL, Step::Address, Some(false), true);
        keys().judged(&MAIL, 2, true, 1).says(&MAIL, Step::Address, Some(true), true);
        // The newest two count: one of them good is good.
        let mixed = keys().judged(&MAIL, 5, true, 9).judged(&MAIL, 1, false, 5).judged(&MAIL, 1, true, 1);
        mixed.says(&MAIL, Step::Address, Some(false), true);
        keys().judged(&MAIL, 5, false, 9).judged(&MAIL, 2, true, 1).says(
            &MAIL,
            Step::Address,
            Some(true),
            true,
        );
        // More than three years ago, or delivered elsewhere.
        keys().judged(&MAIL, 5, true, 3 * 365 + 1).says(&MAIL, Step::Nothing, None, false);
        let from = address(MAIL.from);
        let known = keys().judged(&MAIL, 5, true, 1);
        for original in [None, Some(MailboxId(9))] {
            let sender = Sender {
                account: JANE,
                original,
                now: NOW,
                from: Some(&from),
                proven: true,
                signals: &MAIL.signals(asked_of),
            };
            assert_eq!(reputation(&known, &sender).unwrap().step, Step::Nothing);
        }
        // Row JK-13.
        let sender = Sender {
            account: AccountId(2),
            original: Some(INBOX),
            now: NOW,
            from: Some(&from),
            proven: true,
            signals: &MAIL.signals(asked_of),
        };
        assert_eq!(reputation(&known, &sender).unwrap().step, Step::Nothing);
    }

    /// Row JK-09.
    #[test]
    fn step_1_proven_and_unproven_are_two() {
        let unproven = Mail { proven: false, ..MAIL };
        keys().judged(&MAIL, 1, false, 1).says(&unproven, Step::Address, Some(true), false);
        keys().judged(&MAIL, 2, true, 1).says(&unproven, Step::Address, Some(true), true);
        keys().judged(&unproven, 2, false, 1).says(&unproven, Step::Address, Some(false), true);
        let elsewhere = Mail { ip: "203.0.113.1", ..unproven };
        keys().judged(&elsewhere, 2, true, 1).says(&MAIL, Step::Nothing, None, false);
    }

    #[test]
    fn step_2_written_to() {
        let key = || keys::wrote(JANE, &address("X@sub.far.example"));
        keys().wrote(key(), 1).says(&MAIL, Step::WroteAddress, Some(false), true);
        keys().wrote(key(), 4 * 365).says(&MAIL, Step::Nothing, None, false);
        keys().wrote(key(), 1).says(&Mail { proven: false, ..MAIL }, Step::Nothing, None, false);
        // What people thought of its mail comes first.
        keys().wrote(key(), 1).judged(&MAIL, 2, true, 1).says(&MAIL, Step::Address, Some(true), true);
    }

    #[test]
    fn step_3_domain() {
        let of = |from| Mail { from, ip: "203.0.113.1", ..MAIL };
        let (a, b, c) = (of("a@sub.far.example"), of("b@sub.far.example"), of("c@sub.far.example"));
        keys().judged(&a, 9, false, 1).judged(&b, 2, true, 2).says(&MAIL, Step::Domain, Some(false), true);
        keys().judged(&a, 8, false, 1).judged(&b, 2, true, 2).says(&MAIL, Step::Domain, None, false);
        keys().judged(&a, 9, true, 1).judged(&b, 9, true, 1).says(&MAIL, Step::Domain, Some(true), false);
        let three = keys().judged(&a, 1, true, 1).judged(&b, 1, true, 1).judged(&c, 1, true, 1);
        three.says(&MAIL, Step::Domain, Some(true), true);
        keys().judged(&a, 9, true, 2 * 365 + 1).says(&MAIL, Step::Nothing, None, false);
        // Only the newest twenty.
        keys().judged(&a, 20, false, 1).judged(&b, 50, true, 2).says(&MAIL, Step::Domain, Some(false), true);
    }

    #[test]
    fn step_4_written_to_the_domain() {
        let key = || keys::wrote_domain(JANE, &address("x@sub.far.example").domain);
        keys().wrote(key(), 1).says(&MAIL, Step::WroteDomain, Some(false), false);
        keys().wrote(key(), 1).says(&Mail { proven: false, ..MAIL }, Step::Nothing, None, false);
    }

    #[test]
    fn step_5_and_6_organisation() {
        let other = Mail { from: "a@other.far.example", ip: "203.0.113.1", ..MAIL };
        keys().judged(&other, 1, false, 1).says(&MAIL, Step::Organisation, Some(false), true);
        keys().judged(&other, 3, true, 1).says(&MAIL, Step::Organisation, Some(true), false);
        let key = keys::wrote_organisation(JANE, &address("x@far.example").domain);
        keys().wrote(key, 1).says(&MAIL, Step::WroteOrganisation, Some(false), false);
    }

    #[test]
    fn step_7_dkim_and_spf() {
        let of = |dkim| Mail { from: "a@elsewhere.example", ip: "203.0.113.1", dkim, ..MAIL };
        let mail = Mail { dkim: &["esp.example", "more.example"], ..MAIL };
        let (esp, more) = (of(&["esp.example"]), of(&["more.example"]));
        keys().judged(&esp, 10, false, 1).says(&mail, Step::Verified, Some(false), true);
        keys().judged(&esp, 9, false, 1).judged(&esp, 1, true, 1).says(&mail, Step::Verified, None, false);
        keys().judged(&esp, 10, true, 1).says(&mail, Step::Verified, Some(true), false);
        keys().judged(&esp, 10, true, 1).judged(&more, 1, true, 1).says(
            &mail,
            Step::Verified,
            Some(true),
            true,
        );
        keys().judged(&esp, 10, true, 1).judged(&more, 1, false, 1).says(&mail, Step::Verified, None, false);
        keys().judged(&esp, 10, true, 184).says(&mail, Step::Nothing, None, false);
    }

    #[test]
    fn step_7_mail_from_and_ehlo() {
        let of = |mail: Mail| Mail { from: "a@elsewhere.example", ip: "203.0.113.1", ..mail };
        let sent = Mail { mail_from: "b@esp.example", helo: "out.esp.example", ..MAIL };
        let passed = Mail { spf: "pass", ..sent };
        let known = || keys().judged(&of(passed.clone()), 10, false, 1);
        known().says(&passed, Step::Verified, Some(false), true);
        known().judged(&of(passed.clone()), 1, true, 2).says(&passed, Step::Verified, Some(false), true);
        known().judged(&of(passed.clone()), 2, true, 2).says(&passed, Step::Verified, None, false);
        // Only the newest fifty.
        known().judged(&of(passed.clone()), 40, false, 1).judged(&of(passed.clone()), 50, true, 2).says(
            &passed,
            Step::Verified,
            Some(false),
            true,
        );
        // Whoever says the names without being them is nobody.
        for spf in ["none", "neutral", "softfail", "fail", "temperror"] {
            known().says(&Mail { spf, ..sent.clone() }, Step::Nothing, None, false);
        }
        // SPF is about the EHLO name where there is no sender.
        let bounce = Mail { mail_from: "", ..passed.clone() };
        known().says(&bounce, Step::Verified, Some(false), true);
        known().says(&Mail { spf: "none", ..bounce }, Step::Nothing, None, false);
        let other = Mail { mail_from: "b@stranger.example", ..passed };
        known().says(&other, Step::Nothing, None, false);
    }

    /// The whole row in order: with something to say at every step the first decides, and each decides once those before
    /// it know nothing.
    #[test]
    fn steps_are_asked_in_order() {
        let other = |from, ip| Mail { from, ip, ..MAIL };
        let mail = Mail { dkim: &["esp.example"], ..MAIL };
        let signed = Mail { dkim: &["esp.example"], ..other("a@elsewhere.example", "203.0.113.1") };
        let from = address(mail.from);
        let steps: [(Step, &dyn Fn(Keys) -> Keys); 10] = [
            (Step::Address, &|keys| keys.judged(&other(mail.from, "203.0.113.1"), 2, false, 1)),
            (Step::WroteAddress, &|keys| keys.wrote(keys::wrote(JANE, &from), 1)),
            (Step::Domain, &|keys| keys.judged(&other("y@sub.far.example", "203.0.113.1"), 9, true, 1)),
            (Step::WroteDomain, &|keys| keys.wrote(keys::wrote_domain(JANE, &from.domain), 1)),
            (Step::Organisation, &|keys| keys.judged(&other("z@far.example", "203.0.113.1"), 9, true, 1)),
            (Step::WroteOrganisation, &|keys| {
                keys.wrote(keys::wrote_organisation(JANE, &organisation(&from.domain)), 1)
            }),
            (Step::Verified, &|keys| keys.judged(&signed, 5, false, 1)),
            (Step::Network1, &|keys| keys.judged(&other("a@else.example", "192.0.2.9"), 2, true, 1)),
            (Step::Network2, &|keys| keys.judged(&other("a@else.example", "192.0.2.10"), 5, true, 1)),
            (Step::Network3, &|keys| keys.judged(&other("a@else.example", "192.0.3.200"), 10, true, 1)),
        ];
        for first in 0..steps.len() {
            let known = steps[first..].iter().fold(keys(), |keys, (_, add)| add(keys));
            let signals = mail.signals(asked_of);
            let sender = Sender {
                account: JANE,
                original: Some(INBOX),
                now: NOW,
                from: Some(&from),
                proven: true,
                signals: &signals,
            };
            assert_eq!(reputation(&known, &sender).unwrap().step, steps[first].0);
        }
    }

    #[test]
    fn step_8_networks() {
        let of = |ip| Mail { from: "a@elsewhere.example", ip, ..MAIL };
        for (ip, least, step) in [
            ("192.0.2.9", 2, Step::Network1),
            ("192.0.2.10", 5, Step::Network2),
            ("192.0.3.200", 10, Step::Network3),
        ] {
            keys().judged(&of(ip), least, true, 1).says(&MAIL, step, Some(true), false);
            keys().judged(&of(ip), least, false, 1).says(&MAIL, step, Some(false), false);
            keys().judged(&of(ip), least - 1, true, 1).says(&MAIL, Step::Nothing, None, false);
            keys().judged(&of(ip), least, true, 92).says(&MAIL, Step::Nothing, None, false);
        }
        let both = keys().judged(&of("192.0.2.9"), 2, true, 1).judged(&of("192.0.2.9"), 2, false, 1);
        both.says(&MAIL, Step::Network1, None, false);
        // Row JK-12: of a forwarded message the way it came says nothing.
        let forward = Mail { forward: true, dkim: &["esp.example"], ..MAIL };
        keys().judged(&of("192.0.2.9"), 2, true, 1).says(&forward, Step::Nothing, None, false);
    }

    /// The same cost for much history as for none: no step looks at more keys than it says.
    #[test]
    fn much_history_is_not_read() {
        struct Counting<'a>(&'a Keys, std::cell::Cell<usize>);
        impl Read for Counting<'_> {
            fn get(&self, key: &[u8]) -> Result<Option<Value>, ReadError> {
                self.1.set(self.1.get() + 1);
                self.0.get(key)
            }
            fn visit(
                &self,
                range: (Bound<&[u8]>, Bound<&[u8]>),
                mut visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
            ) -> Result<(), ReadError> {
                self.0.visit(range, |key, value| {
                    self.1.set(self.1.get() + 1);
                    visit(key, value)
                })
            }
        }
        let dkim: &[&str] = &["esp.example"];
        let history = keys().judged(&Mail { from: "a@else.example", dkim, ..MAIL }, 5_000, true, 1);
        let mail = Mail { dkim, ..MAIL };
        let from = address(mail.from);
        let signals = mail.signals(asked_of);
        let sender = Sender {
            account: JANE,
            original: Some(INBOX),
            now: NOW,
            from: Some(&from),
            proven: true,
            signals: &signals,
        };
        let counting = Counting(&history, std::cell::Cell::new(0));
        reputation(&counting, &sender).unwrap();
        assert!(counting.1.get() < 250, "{}", counting.1.get());
    }
}
