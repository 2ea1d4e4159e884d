//! Sets of messages as a client names them, and what they mean in a mailbox.
//!
//! Law: RFC 9051 §9 `sequence-set`; RFC 5182 §2.1 for `$`.
//! Does not know: which messages there are; that comes in as an argument.

use libmox_types::{Uid, UidSet};

/// One end of a range: a number, or the last message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeqNumber {
    /// A number, never 0.
    Number(u32),
    /// `*`
    Last,
}

/// What a command acts on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SeqSet {
    /// `$`: the saved result of a search.
    Saved,
    /// Ranges, each either way round, in the order written.
    Ranges(Vec<(SeqNumber, SeqNumber)>),
}

/// Names a sequence number the mailbox does not have. RFC 9051 §9 `seq-number`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfRange;

impl SeqSet {
    /// The uids named, where the last message has this uid (0: none). Row TM-12: `10:*` reaches back.
    ///
    /// `None` for `$`.
    #[must_use]
    pub fn uids(&self, last: Uid) -> Option<UidSet> {
        let Self::Ranges(ranges) = self else { return None };
        Some(collect(ranges, |number| match number {
            SeqNumber::Number(number) => Some(number),
            SeqNumber::Last => Some(last.0),
        }))
    }

    /// The sequence numbers named among this many messages, ascending. `None` for `$`.
    ///
    /// A number beyond the last message is a fault, but `*` never is: an empty mailbox is no mistake of
    /// the client, which may not have been told of it in time.
    pub fn numbers(&self, exists: u32) -> Option<Result<UidSet, OutOfRange>> {
        let Self::Ranges(ranges) = self else { return None };
        let strict = ranges.iter().all(|range| match range {
            (SeqNumber::Number(a), SeqNumber::Number(b)) => *a <= exists && *b <= exists,
            _ => true,
        });
        Some(if strict { Ok(self.numbers_within(exists).unwrap_or_default()) } else { Err(OutOfRange) })
    }

    /// The same without complaint: what is beyond the last message is simply not there. `None` for `$`.
    #[must_use]
    pub fn numbers_within(&self, exists: u32) -> Option<UidSet> {
        let Self::Ranges(ranges) = self else { return None };
        let mut set = UidSet::new();
        for &(a, b) in ranges {
            let place = |number| match number {
                SeqNumber::Number(number) => number,
                SeqNumber::Last => exists,
            };
            let (a, b) = (place(a), place(b));
            let (low, high) = (a.min(b), a.max(b).min(exists));
            if exists > 0 && low <= high {
                set.insert_range(Uid(low), Uid(high));
            }
        }
        Some(set)
    }
}

fn collect(ranges: &[(SeqNumber, SeqNumber)], place: impl Fn(SeqNumber) -> Option<u32>) -> UidSet {
    let mut set = UidSet::new();
    for &(a, b) in ranges {
        if let (Some(a), Some(b)) = (place(a), place(b))
            && a.max(b) > 0
        {
            set.insert_range(Uid(a.max(1)), Uid(b.max(1)));
        }
    }
    set
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::parse_seq_set;

    #[track_caller]
    fn means(text: &str, exists: u32, want: Option<&str>) {
        let set = parse_seq_set(text.as_bytes()).unwrap();
        let got = set.numbers(exists).unwrap().ok().map(|set| set.to_string());
        assert_eq!(got.as_deref(), want, "{text:?} of {exists}");
    }

    #[test]
    fn numbers_are_those_of_the_mailbox() {
        means("2,4:7,9,12:*", 15, Some("2,4:7,9,12:15")); // RFC 9051 §9
        means("*:4,5:7", 10, Some("4:10")); // RFC 9051 §9
        means("10:*", 5, Some("5")); // TM-12
        means("*:10", 5, Some("5"));
        means("7:3", 9, Some("3:7"));
        means("1:*", 0, Some(""));
        means("*", 0, Some(""));
        means("3", 2, None);
        means("1:3", 2, None);
        means("1", 0, None);
        means("4294967295:*", 3, Some("3"));
    }

    #[test]
    fn uids_reach_the_last_one() {
        for (text, last, want) in [
            ("10:*", 5, "5:10"),
            ("*", 7, "7"),
            ("3291:*", 100, "100:3291"),
            ("1:*", 0, "1"),
            ("*", 0, ""),
            ("4,2", 9, "2,4"),
            ("1:4294967295", 9, "1:4294967295"),
        ] {
            let set = parse_seq_set(text.as_bytes()).unwrap().uids(Uid(last)).unwrap();
            assert_eq!(set.to_string(), want, "{text:?} {last}");
        }
    }
}
