//! Operations on what is stored: backup and repairs (role `admin`), and what a session has taken in (role `imap`).

use crate::SessionId;
use serde::{Deserialize, Serialize};

/// Copies everything that is stored into a folder, while mail goes on. One descriptor comes along: the empty folder,
/// which the store's user must be able to write; a second one may name an earlier backup on the same mount, whose files
/// are then linked instead of copied. Replies once the copy is on disk. Reply: [`BackedUp`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Backup;

/// Reply to [`Backup`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackedUp {
    /// Message files in the copy.
    pub files: u64,
    /// Of them, linked.
    pub linked: u64,
    /// Octets of message files that were copied.
    pub copied: u64,
}

/// How far a [`Backup`] is. Reply: [`Progress`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BackupProgress;

/// Reply to [`BackupProgress`]; zero of zero while none runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Message files done.
    pub done: u64,
    /// Of how many.
    pub total: u64,
}

/// Repairs one account, or all. Reply: what was wrong, a sentence each; none if there was nothing to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Repair {
    /// Only this one.
    pub account: Option<String>,
    /// What.
    pub what: RepairKind,
    /// Only say what would be done.
    pub dry: bool,
}

/// What a [`Repair`] does (rows CL-11 to CL-13).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RepairKind {
    /// Next uid above every uid, uidvalidity and ids below their counters.
    UidMeta,
    /// Size of each message = its prefix and its file.
    MessageSizes,
    /// Counters of mailboxes and the account, from the messages.
    Counts,
    /// A new uidvalidity for every mailbox: clients fetch everything again.
    UidValidity,
    /// New uids in the order messages were received, and a new uidvalidity.
    Uids,
    /// Threads of all messages found anew (row ST-35).
    Threads,
    /// The junk filter, learnt anew from all messages (row JK-04).
    Retrain,
    /// What is known of messages, found out anew by `mox-verify` (row ST-41).
    Parse,
    /// The same for messages of which nothing is known yet.
    ParseMissing,
}

impl RepairKind {
    /// All of them with the names people give them.
    pub const ALL: [(Self, &'static str); 9] = [
        (Self::UidMeta, "fixuidmeta"),
        (Self::MessageSizes, "fixmsgsize"),
        (Self::Counts, "recalculatemailboxcounts"),
        (Self::UidValidity, "bumpuidvalidity"),
        (Self::Uids, "reassignuids"),
        (Self::Threads, "reassignthreads"),
        (Self::Retrain, "retrain"),
        (Self::Parse, "reparse"),
        (Self::ParseMissing, "ensureparsed"),
    ];

    /// The one with this name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(kind, _)| *kind)
    }
}

/// The session told its client of all removals up to this change of its streams (row ST-12): it asks for none of the
/// removed messages any more. From the first of these on, nothing is erased before the session says so.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Acknowledge {
    /// Whose.
    pub session: SessionId,
    /// Number of the change.
    pub change: u64,
}
