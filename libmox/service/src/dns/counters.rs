//! Who looked what up, how often, with what outcome and how long it took, since the process began. Row MA-02.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

macro_rules! words {
    ($(#[$outer:meta])* $visibility:vis enum $name:ident { $($(#[$inner:meta])* $variant:ident => $word:literal,)* }) => {
        $(#[$outer])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        $visibility enum $name { $($(#[$inner])* $variant,)* }

        impl $name {
            const WORDS: &[&str] = &[$($word),*];
        }
    };
}

words! {
    /// The part of a service that asks.
    pub enum Asker {
        /// RFC 7208.
        Spf => "spf",
        /// RFC 6376.
        Dkim => "dkim",
        /// RFC 7489.
        Dmarc => "dmarc",
        /// RFC 8617.
        Arc => "arc",
        /// RFC 8601 §2.7.3.
        Iprev => "iprev",
        /// RFC 5782.
        DnsList => "dnsbl",
        /// Whether a sender's domain takes mail, and an EHLO name has an address.
        Sender => "sender",
        /// Where mail goes.
        Queue => "queue",
        /// What a person wants to know of a domain.
        Check => "check",
    }
}

words! {
    /// What came of it.
    pub(super) enum Outcome {
        Found => "found",
        NoRecords => "no-records",
        NoName => "no-name",
        Failed => "failed",
        Bogus => "bogus",
    }
}

const CELLS: usize = Asker::WORDS.len() * Outcome::WORDS.len();

static LOOKUPS: [AtomicU64; CELLS] = [const { AtomicU64::new(0) }; CELLS];
static MICROSECONDS: [AtomicU64; Asker::WORDS.len()] = [const { AtomicU64::new(0) }; Asker::WORDS.len()];

pub(super) fn count(asker: Asker, outcome: Outcome, took: Duration) {
    let asker = asker as usize;
    LOOKUPS[asker * Outcome::WORDS.len() + outcome as usize].fetch_add(1, Ordering::Relaxed);
    let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    MICROSECONDS[asker].fetch_add(took, Ordering::Relaxed);
}

/// All of them, those at zero too (TR-27), as `mox_dns_lookups_total{package="spf",result="found"}`.
#[must_use]
pub fn counters() -> Vec<(String, u64)> {
    let mut all = Vec::with_capacity(CELLS + Asker::WORDS.len());
    for (at, package) in Asker::WORDS.iter().enumerate() {
        for (result, word) in Outcome::WORDS.iter().enumerate() {
            let count = LOOKUPS[at * Outcome::WORDS.len() + result].load(Ordering::Relaxed);
            all.push((format!("mox_dns_lookups_total{{package=\"{package}\",result=\"{word}\"}}"), count));
        }
        let took = MICROSECONDS[at].load(Ordering::Relaxed);
        all.push((format!("mox_dns_lookup_microseconds_total{{package=\"{package}\"}}"), took));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lookups_are_counted_by_who_asks() {
        let of = |name: &str| counters().into_iter().find(|(have, _)| have == name).unwrap().1;
        let found = "mox_dns_lookups_total{package=\"check\",result=\"found\"}";
        let took = "mox_dns_lookup_microseconds_total{package=\"check\"}";
        let before = (of(found), of(took));
        count(Asker::Check, Outcome::Found, Duration::from_millis(2));
        assert_eq!((of(found), of(took)), (before.0 + 1, before.1 + 2_000));
        assert_eq!(counters().len(), 9 * 6);
    }
}
