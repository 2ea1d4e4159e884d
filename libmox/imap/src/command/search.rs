//! What a search can ask.
//!
//! Law: RFC 9051 §6.4.4, RFC 4731, RFC 5182; RFC 5032, RFC 7162 and RFC 8514 for their keys.

use super::Window;
use crate::date::Date;
use crate::seqset::SeqSet;
use libmox_types::{Flag, Keyword, ModSeq, Uid, UidSet};
use std::collections::{BTreeMap, BTreeSet};

/// RETURN of SEARCH. RFC 9051 §6.4.4, RFC 4731, RFC 5182.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct SearchReturn {
    /// The lowest one.
    pub min: bool,
    /// The highest one.
    pub max: bool,
    /// All of them.
    pub all: bool,
    /// How many.
    pub count: bool,
    /// Remember them as `$`.
    pub save: bool,
    /// Only these places. RFC 9394.
    pub partial: Option<Window>,
    /// Tell when the result changes. RFC 5267.
    pub update: bool,
}

impl SearchReturn {
    /// Whether anything is to be said, and not only remembered.
    #[must_use]
    pub fn says_something(self) -> bool {
        self.min || self.max || self.all || self.count || self.partial.is_some()
    }
}

/// RFC 9051 §6.4.4.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SearchKey {
    /// Every message.
    All,
    /// A flag is set, or is not.
    Flag(Flag, bool),
    /// A keyword is set, or is not.
    Keyword(Keyword, bool),
    /// RFC 3501 `RECENT`: we never call a message recent.
    Recent,
    /// RFC 3501 `NEW`: recent and not seen.
    New,
    /// RFC 3501 `OLD`: not recent.
    Old,
    /// Internal date earlier than the day.
    Before(Date),
    /// Internal date within the day.
    On(Date),
    /// Internal date within or after the day.
    Since(Date),
    /// Date header earlier than the day.
    SentBefore(Date),
    /// Date header within the day.
    SentOn(Date),
    /// Date header within or after the day.
    SentSince(Date),
    /// RFC 8514: saved earlier than the day.
    SavedBefore(Date),
    /// RFC 8514: saved within the day.
    SavedOn(Date),
    /// RFC 8514: saved within or after the day.
    SavedSince(Date),
    /// RFC 8514: the mailbox has save dates.
    SaveDateSupported,
    /// RFC 5032: received more than so many seconds ago.
    Older(u32),
    /// RFC 5032: received within so many seconds.
    Younger(u32),
    /// More octets.
    Larger(u64),
    /// Fewer octets.
    Smaller(u64),
    /// An address or subject field contains.
    Envelope(EnvelopeField, String),
    /// A header field contains; an empty value asks for the field alone.
    Header(String, String),
    /// The body contains.
    Body(String),
    /// Header or body contains.
    Text(String),
    /// These uids.
    Uid(SeqSet),
    /// These sequence numbers.
    Seq(SeqSet),
    /// Uids the session made of a set; never read from the wire.
    Among(UidSet),
    /// RFC 5466: what the annotation of this name says.
    Filter(String),
    /// RFC 8474 §6: the message with this id.
    EmailId(String),
    /// RFC 8474 §6: the messages of the thread with this id.
    ThreadId(String),
    /// RFC 7162 §3.1.5.
    ModSeq(ModSeq),
    /// Not.
    Not(Box<SearchKey>),
    /// Either.
    Or(Box<SearchKey>, Box<SearchKey>),
    /// All of them.
    And(Vec<SearchKey>),
}

impl SearchKey {
    /// The key in a mailbox that is not open, whose highest uid this is: sets of uids become uids, numbers and `$` name
    /// nothing there.
    #[must_use]
    pub fn resolve_uids(self, last: Uid) -> Self {
        match self {
            Self::Uid(set) => Self::Among(set.uids(last).unwrap_or_default()),
            Self::Seq(_) => Self::Among(UidSet::new()),
            Self::Not(key) => Self::Not(Box::new(key.resolve_uids(last))),
            Self::Or(a, b) => Self::Or(Box::new(a.resolve_uids(last)), Box::new(b.resolve_uids(last))),
            Self::And(keys) => Self::And(keys.into_iter().map(|key| key.resolve_uids(last)).collect()),
            key => key,
        }
    }

    /// With filters in the place of their names; one that is not given stays.
    #[must_use]
    pub fn with_filters(self, filters: &BTreeMap<String, SearchKey>) -> Self {
        match self {
            Self::Filter(name) => filters.get(&name).cloned().unwrap_or(Self::Filter(name)),
            Self::Not(key) => Self::Not(Box::new(key.with_filters(filters))),
            Self::Or(a, b) => Self::Or(Box::new(a.with_filters(filters)), Box::new(b.with_filters(filters))),
            Self::And(keys) => Self::And(keys.into_iter().map(|key| key.with_filters(filters)).collect()),
            key => key,
        }
    }

    /// Names of filters in it.
    #[must_use]
    pub fn filters(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        self.any(&mut |key| {
            if let Self::Filter(name) = key {
                names.insert(name.clone());
            }
            false
        });
        names
    }

    /// How many keys are in one another at most.
    #[must_use]
    pub fn depth(&self) -> u32 {
        match self {
            Self::Not(key) => key.depth() + 1,
            Self::Or(a, b) => a.depth().max(b.depth()) + 1,
            Self::And(keys) => keys.iter().map(Self::depth).max().unwrap_or(0) + 1,
            _ => 1,
        }
    }

    /// Whether any key inside satisfies the question.
    pub fn any(&self, question: &mut impl FnMut(&SearchKey) -> bool) -> bool {
        match self {
            Self::Not(key) => key.any(question),
            Self::Or(a, b) => a.any(question) || b.any(question),
            Self::And(keys) => keys.iter().any(|key| key.any(question)),
            key => question(key),
        }
    }
}

/// Header fields with a search key of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnvelopeField {
    /// `BCC`
    Bcc,
    /// `CC`
    Cc,
    /// `FROM`
    From,
    /// `SUBJECT`
    Subject,
    /// `TO`
    To,
}

impl EnvelopeField {
    /// The name of the header field.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bcc => "Bcc",
            Self::Cc => "Cc",
            Self::From => "From",
            Self::Subject => "Subject",
            Self::To => "To",
        }
    }
}
