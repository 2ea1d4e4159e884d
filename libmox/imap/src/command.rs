//! What a client can say, once read.
//!
//! Law: RFC 9051 §6 and §9, RFC 3501 §6; RFC 2971 (ID), 5258 and 6154 (LIST, CREATE), 7162 (modseq),
//! 8514 (save date), 8970 (preview), 5032 (WITHIN).
//! Does not know: which command is legal when; that is the session's.

mod fetch;
mod filter;
mod list;
mod metadata;
mod notify;
mod order;
mod search;

pub use fetch::{FetchItem, Partial, Peek, Section, SectionName, SectionText};
pub use filter::MailboxFilter;
pub use list::{List, StatusItem, StatusItems};
pub use metadata::{Depth, GetMetadata, MetadataValue};
pub use notify::{EventKind, Events, Notify, SelectedEvents};
pub use order::{SortBy, SortKey, Threading, Window};
pub use search::{EnvelopeField, SearchKey, SearchReturn};

use crate::seqset::{SeqNumber, SeqSet};
use libmox_types::{Flags, Keyword, MailboxName, ModSeq, SpecialUses, Timestamp, UidSet, UidValidity};
use std::fmt;

/// What a client puts before a command to recognise its completion.
#[derive(Clone, PartialEq, Eq)]
pub struct Tag(pub(crate) Box<str>);

impl Tag {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tag({})", self.0)
    }
}

/// Whether sequence numbers or uids name the messages, and come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Sequence numbers.
    Seq,
    /// Uids: the command had `UID` in front.
    Uid,
}

/// SELECT or EXAMINE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Changes are possible.
    ReadWrite,
    /// They are not.
    ReadOnly,
}

/// A secret a client sent; never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// One command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// RFC 9051 §6.1.1.
    Capability,
    /// RFC 9051 §6.1.2.
    Noop,
    /// RFC 9051 §6.1.3.
    Logout,
    /// RFC 2971: what the client says it is.
    Id(Vec<(String, Option<String>)>),
    /// RFC 9051 §6.2.1.
    StartTls,
    /// RFC 9051 §6.2.2; the initial response is decoded, `=` is an empty one.
    Authenticate {
        /// The SASL mechanism in upper case.
        mechanism: String,
        /// RFC 4959.
        initial: Option<Secret>,
    },
    /// RFC 9051 §6.2.3.
    Login {
        /// Who.
        user: String,
        /// Proof.
        password: Secret,
    },
    /// RFC 5161: names in upper case.
    Enable(Vec<String>),
    /// RFC 9051 §6.3.2 and §6.3.3.
    Select {
        /// Which one.
        mailbox: MailboxName,
        /// SELECT or EXAMINE.
        access: Access,
        /// What stood in brackets.
        params: SelectParams,
    },
    /// RFC 9051 §6.3.4, RFC 6154 §3.
    Create {
        /// The new name.
        mailbox: MailboxName,
        /// What it is for.
        uses: SpecialUses,
    },
    /// RFC 9051 §6.3.5.
    Delete(MailboxName),
    /// RFC 9051 §6.3.6.
    Rename {
        /// The present name.
        from: MailboxName,
        /// The new one.
        to: MailboxName,
    },
    /// RFC 9051 §6.3.7.
    Subscribe(MailboxName),
    /// RFC 9051 §6.3.8.
    Unsubscribe(MailboxName),
    /// RFC 9051 §6.3.9.
    List(List),
    /// RFC 3501 §6.3.9.
    Lsub {
        /// Put in front of the pattern.
        reference: String,
        /// With wildcards.
        pattern: String,
    },
    /// RFC 9051 §6.3.10.
    Namespace,
    /// RFC 9051 §6.3.11.
    Status {
        /// Which one.
        mailbox: MailboxName,
        /// What about it.
        items: StatusItems,
    },
    /// RFC 2177.
    Idle,
    /// RFC 3501 §6.4.1.
    Check,
    /// RFC 9051 §6.4.1.
    Close,
    /// RFC 9051 §6.4.2.
    Unselect,
    /// RFC 9051 §6.4.3; with a set it is UID EXPUNGE (§6.4.9).
    Expunge(Option<SeqSet>),
    /// RFC 9051 §6.4.4.
    Search {
        /// How results are named.
        by: By,
        /// RETURN; `None` for the untagged SEARCH of old.
        returns: Option<SearchReturn>,
        /// All of it.
        key: SearchKey,
    },
    /// RFC 5256 §3.
    Sort {
        /// How results are named.
        by: By,
        /// RETURN, RFC 5267; `None` for the untagged SORT.
        returns: Option<SearchReturn>,
        /// The first key first.
        order: Vec<SortKey>,
        /// All of it.
        key: SearchKey,
    },
    /// RFC 5256 §3.
    Thread {
        /// How results are named.
        by: By,
        /// How they are grouped.
        how: Threading,
        /// All of it.
        key: SearchKey,
    },
    /// RFC 7377 §2: a search in several mailboxes.
    Esearch {
        /// Where.
        sources: Vec<MailboxFilter>,
        /// RETURN.
        returns: SearchReturn,
        /// All of it.
        key: SearchKey,
    },
    /// RFC 5465; none for NOTIFY NONE.
    Notify(Option<Notify>),
    /// RFC 5267 §4.3.5: tags.
    CancelUpdate(Vec<String>),
    /// RFC 8437.
    Unauthenticate,
    /// RFC 4467 §7: URLs as they came, each with its mechanism in upper case.
    GenUrlAuth(Vec<(String, String)>),
    /// RFC 4467 §7: of one mailbox, or of all; mechanisms in upper case.
    ResetKey(Option<(MailboxName, Vec<String>)>),
    /// RFC 4467 §7: URLs as they came.
    UrlFetch(Vec<String>),
    /// RFC 9051 §6.4.5.
    Fetch {
        /// How the set names messages.
        by: By,
        /// Which.
        set: SeqSet,
        /// What of them.
        items: Vec<FetchItem>,
        /// RFC 7162 §3.1.4.1.
        changed_since: Option<ModSeq>,
        /// RFC 7162 §3.2.6.
        vanished: bool,
        /// RFC 9394 §3.3: only these of them.
        window: Option<Window>,
    },
    /// RFC 9051 §6.4.6.
    Store {
        /// How the set names messages.
        by: By,
        /// Which.
        set: SeqSet,
        /// What to do to them.
        change: FlagChange,
        /// `.SILENT`.
        silent: bool,
        /// RFC 7162 §3.1.3.
        unchanged_since: Option<ModSeq>,
    },
    /// RFC 9051 §6.4.7.
    Copy {
        /// How the set names messages.
        by: By,
        /// Which.
        set: SeqSet,
        /// Where to.
        to: MailboxName,
    },
    /// RFC 5464 §4.2.
    GetMetadata(GetMetadata),
    /// RFC 5464 §4.3.
    SetMetadata {
        /// None for the server.
        mailbox: Option<MailboxName>,
        /// Entries, each with its new value; none removes it.
        entries: Vec<(String, Option<MetadataValue>)>,
    },
    /// RFC 4978: the mechanism in upper case.
    Compress(String),
    /// RFC 9208 §4.1.2: of a quota root.
    GetQuota(String),
    /// RFC 9208 §4.1.3: of a mailbox.
    GetQuotaRoot(MailboxName),
    /// RFC 9051 §6.4.8.
    Move {
        /// How the set names messages.
        by: By,
        /// Which.
        set: SeqSet,
        /// Where to.
        to: MailboxName,
    },
}

/// One message of an APPEND before its octets. RFC 9051 §6.3.12, RFC 3502.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppendMessage {
    /// Set on it.
    pub flags: FlagList,
    /// Its internal date.
    pub date: Option<Timestamp>,
    /// How many octets follow, unless it is put together.
    pub size: u64,
    /// Whether the client waits for us to say go on.
    pub sync: Sync,
    /// RFC 6855 §4: sent as UTF8 (...), its headers may hold UTF-8.
    pub utf8: bool,
    /// RFC 4469: it is put together of pieces that follow.
    pub catenate: bool,
}

/// Where the messages of an APPEND or REPLACE go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppendTo {
    /// The mailbox.
    pub mailbox: MailboxName,
    /// RFC 8508: the message of the open mailbox that goes in return.
    pub replaces: Option<(By, SeqNumber)>,
}

/// Two kinds of literal. RFC 7888.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// `{n}`: the client waits.
    Synchronising,
    /// `{n+}`: the octets follow at once.
    NonSynchronising,
}

/// Flags and keywords as named in STORE and APPEND.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct FlagList {
    /// Those with a fixed place.
    pub flags: Flags,
    /// The free ones, each once.
    pub keywords: Vec<Keyword>,
}

/// RFC 9051 §6.4.6.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FlagChange {
    /// `FLAGS`
    Replace(FlagList),
    /// `+FLAGS`
    Add(FlagList),
    /// `-FLAGS`
    Remove(FlagList),
}

/// What stood in brackets behind the name of SELECT.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct SelectParams {
    /// RFC 7162 §3.1.8.
    pub condstore: bool,
    /// RFC 7162 §3.2.5.
    pub qresync: Option<Resync>,
}

/// What a client remembers of a mailbox. RFC 7162 §3.2.5.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resync {
    /// Of the mailbox it knew.
    pub uid_validity: UidValidity,
    /// The last change it saw.
    pub mod_seq: ModSeq,
    /// The messages it knows; `None` for all there may be.
    pub known: Option<UidSet>,
    /// Sequence numbers and the uids they had, to shorten the answer.
    pub matched: Option<(UidSet, UidSet)>,
}
