//! Identifiers, counts and points in time, each its own type so that none is taken for another.
//!
//! Law: RFC 9051 §2.3.1.1 (uid, uidvalidity), RFC 7162 §3.1 (modseq is 63 bits).
//! Fails with: [`IdFault`].

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Text that is not the identifier it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid identifier")]
pub struct IdFault;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { self.0.fmt(f) }
        }

        impl FromStr for $name {
            type Err = IdFault;
            fn from_str(text: &str) -> Result<Self, IdFault> { text.parse().map(Self).map_err(|_| IdFault) }
        }
    };
}

id! {
    /// An account for as long as it exists; never used again after removal, so old files cannot resurface.
    AccountId(u32)
}
id! {
    /// A mailbox within its account; never used again.
    MailboxId(u32)
}
id! {
    /// A message within its account. Stable across moves.
    MsgId(u64)
}
id! {
    /// RFC 9051 §2.3.1.1: unique within a mailbox and uidvalidity, strictly ascending.
    Uid(u32)
}
id! {
    /// RFC 9051 §2.3.1.1: drawn from a counter of the account that only rises.
    UidValidity(u32)
}
id! {
    /// RFC 7162 §3.1: raised for each change of the account.
    ModSeq(u64)
}
id! {
    /// One recipient of one message waiting to be delivered elsewhere.
    QueueId(u64)
}
id! {
    /// A number of bytes.
    ByteCount(u64)
}

/// Seconds since 1970-01-01 00:00 UTC. The reader of the clock is elsewhere.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// That many seconds later.
    #[must_use]
    pub fn plus(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds))
    }
}

/// One connection or one act of the system, named the same in every process and every journal line.
///
/// 64 random bits chosen by whoever accepted the connection; written as 16 hexadecimal digits.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cid(pub u64);

impl fmt::Display for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for Cid {
    type Err = IdFault;
    fn from_str(text: &str) -> Result<Self, IdFault> {
        if text.len() != 16 {
            return Err(IdFault);
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| IdFault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cid_reads_back_what_it_wrote() {
        let cid = Cid(0x0123_4567_89ab_cdef);
        assert_eq!(cid.to_string(), "0123456789abcdef");
        assert_eq!(cid.to_string().parse(), Ok(cid));
        assert_eq!("123".parse::<Cid>(), Err(IdFault));
    }
}
