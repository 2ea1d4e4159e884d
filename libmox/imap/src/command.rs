//! What a client can say, once read.
//!
//! Law: RFC 9051 §6 and §9, RFC 3501 §6; RFC 2971 (ID), 5258 and 6154 (LIST, CREATE), 7162 (modseq),
//! 8514 (save date), 8970 (preview), 5032 (WITHIN).
//! Does not know: which command is legal when; that is the session's.

use crate::date::Date;
use crate::seqset::SeqSet;
use libmox_types::{Flag, Flags, Keyword, MailboxName, ModSeq, SpecialUses, Timestamp, UidSet, UidValidity};
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
    /// How many octets follow.
    pub size: u64,
    /// Whether the client waits for us to say go on.
    pub sync: Sync,
    /// RFC 6855 §4: sent as UTF8 (...), its headers may hold UTF-8.
    pub utf8: bool,
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

/// LIST, extended or not. RFC 9051 §6.3.9, RFC 5258.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct List {
    /// Selection: only subscribed ones.
    pub subscribed: bool,
    /// Selection: also those of other servers; we have none.
    pub remote: bool,
    /// Selection: only those with a special use (RFC 6154).
    pub special_use: bool,
    /// Selection: parents of what was selected.
    pub recursive_match: bool,
    /// Put in front of each pattern.
    pub reference: String,
    /// With wildcards.
    pub patterns: Vec<String>,
    /// Whether the syntax of RFC 5258 was used anywhere.
    pub extended: bool,
    /// RETURN (SUBSCRIBED).
    pub return_subscribed: bool,
    /// RETURN (CHILDREN).
    pub return_children: bool,
    /// RETURN (SPECIAL-USE).
    pub return_special_use: bool,
    /// RETURN (STATUS (...)), RFC 5819.
    pub return_status: Option<StatusItems>,
}

/// What STATUS can tell, as a set.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct StatusItems(u16);

/// One thing STATUS can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum StatusItem {
    /// `MESSAGES`
    Messages = 1,
    /// `UIDNEXT`
    UidNext = 1 << 1,
    /// `UIDVALIDITY`
    UidValidity = 1 << 2,
    /// `UNSEEN`
    Unseen = 1 << 3,
    /// `DELETED`
    Deleted = 1 << 4,
    /// `SIZE`, RFC 8438
    Size = 1 << 5,
    /// `RECENT`, RFC 3501
    Recent = 1 << 6,
    /// `HIGHESTMODSEQ`, RFC 7162
    HighestModSeq = 1 << 7,
    /// `APPENDLIMIT`, RFC 7889
    AppendLimit = 1 << 8,
}

impl StatusItem {
    /// All of them with their spelling on the wire.
    pub const ALL: [(StatusItem, &'static str); 9] = [
        (StatusItem::Messages, "MESSAGES"),
        (StatusItem::UidNext, "UIDNEXT"),
        (StatusItem::UidValidity, "UIDVALIDITY"),
        (StatusItem::Unseen, "UNSEEN"),
        (StatusItem::Deleted, "DELETED"),
        (StatusItem::Size, "SIZE"),
        (StatusItem::Recent, "RECENT"),
        (StatusItem::HighestModSeq, "HIGHESTMODSEQ"),
        (StatusItem::AppendLimit, "APPENDLIMIT"),
    ];
}

impl StatusItems {
    /// With this one.
    #[must_use]
    pub fn with(self, item: StatusItem) -> Self {
        Self(self.0 | item as u16)
    }

    /// Whether it is asked for.
    #[must_use]
    pub fn has(self, item: StatusItem) -> bool {
        self.0 & item as u16 != 0
    }
}

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
}

impl SearchReturn {
    /// Whether anything is to be said, and not only remembered.
    #[must_use]
    pub fn says_something(self) -> bool {
        self.min || self.max || self.all || self.count
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

/// RFC 9051 §6.4.5.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchItem {
    /// `ENVELOPE`
    Envelope,
    /// `FLAGS`
    Flags,
    /// `INTERNALDATE`
    InternalDate,
    /// `RFC822.SIZE`
    Size,
    /// `UID`
    Uid,
    /// `BODYSTRUCTURE`
    BodyStructure,
    /// `BODY` alone: the structure without extensions.
    BodyPlain,
    /// `MODSEQ`, RFC 7162
    ModSeq,
    /// `SAVEDATE`, RFC 8514
    SaveDate,
    /// `PREVIEW`, RFC 8970
    Preview,
    /// `EMAILID`, RFC 8474
    EmailId,
    /// `THREADID`, RFC 8474
    ThreadId,
    /// `BODY[...]` and the RFC822 forms.
    Section {
        /// Which octets.
        section: Section,
        /// Under which name they come back.
        name: SectionName,
        /// Whether `\Seen` stays as it is.
        peek: Peek,
        /// Which of those octets.
        partial: Option<Partial>,
    },
    /// `BINARY[...]`: a part with its transfer encoding undone.
    Binary {
        /// Which part; empty is the whole message.
        part: Vec<u32>,
        /// Whether `\Seen` stays as it is.
        peek: Peek,
        /// Which of its octets.
        partial: Option<Partial>,
    },
    /// `BINARY.SIZE[...]`
    BinarySize(Vec<u32>),
}

impl FetchItem {
    /// Whether fetching it sets `\Seen`.
    #[must_use]
    pub fn sets_seen(&self) -> bool {
        matches!(self, Self::Section { peek: Peek::No, .. } | Self::Binary { peek: Peek::No, .. })
    }
}

/// Whether fetching sets `\Seen`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peek {
    /// It does not.
    Yes,
    /// It does.
    No,
}

/// The spelling a section was asked with, which the answer repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SectionName {
    /// `BODY[...]`
    Body,
    /// `RFC822`
    Rfc822,
    /// `RFC822.HEADER`
    Rfc822Header,
    /// `RFC822.TEXT`
    Rfc822Text,
}

/// `<offset.length>`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partial {
    /// Octets to leave out.
    pub offset: u64,
    /// Octets wanted at most.
    pub length: u64,
}

/// RFC 9051 §9 `section-spec`.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Section {
    /// Which part; empty is the message itself.
    pub part: Vec<u32>,
    /// What of it.
    pub text: SectionText,
}

/// RFC 9051 §9 `section-text`.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub enum SectionText {
    /// All of it; of a part its body.
    #[default]
    Whole,
    /// `HEADER`
    Header,
    /// `HEADER.FIELDS`
    Fields(Vec<String>),
    /// `HEADER.FIELDS.NOT`
    FieldsNot(Vec<String>),
    /// `TEXT`
    Text,
    /// `MIME`
    Mime,
}
