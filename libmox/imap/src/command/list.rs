//! What LIST and STATUS can be asked.
//!
//! Law: RFC 9051 §6.3.9 and §6.3.11, RFC 5258, RFC 5819, RFC 6154.

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
    /// RETURN (METADATA (...)), RFC 9590.
    pub return_metadata: Option<Vec<String>>,
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
    /// `DELETED-STORAGE`, RFC 9208
    DeletedStorage = 1 << 9,
    /// `MAILBOXID`, RFC 8474
    MailboxId = 1 << 10,
}

impl StatusItem {
    /// All of them with their spelling on the wire.
    pub const ALL: [(StatusItem, &'static str); 11] = [
        (StatusItem::Messages, "MESSAGES"),
        (StatusItem::UidNext, "UIDNEXT"),
        (StatusItem::UidValidity, "UIDVALIDITY"),
        (StatusItem::Unseen, "UNSEEN"),
        (StatusItem::Deleted, "DELETED"),
        (StatusItem::Size, "SIZE"),
        (StatusItem::Recent, "RECENT"),
        (StatusItem::HighestModSeq, "HIGHESTMODSEQ"),
        (StatusItem::AppendLimit, "APPENDLIMIT"),
        (StatusItem::DeletedStorage, "DELETED-STORAGE"),
        (StatusItem::MailboxId, "MAILBOXID"),
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
