//! The change stream of an account: what happened, numbered, in commit order.

use crate::{Counts, SessionId};
use libmox_types::{
    ByteCount, Flags, Keyword, MailboxId, MailboxName, ModSeq, MsgId, SpecialUses, Timestamp, Uid, UidSet,
};
use serde::{Deserialize, Serialize};

/// Subscribes to the account and, if a mailbox is named, takes a snapshot of it at the same instant: a stream that
/// begins with [`crate::Item::Snapshot`] chunks, then [`crate::Item::SnapshotEnd`], then [`crate::Item::Events`] for
/// ever. The watcher gets its own changes too; they carry its session.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Watch {
    /// Whose.
    pub session: SessionId,
    /// Snapshot of this mailbox first.
    pub mailbox: Option<MailboxName>,
}

/// The same, but the snapshot says which messages there are, as sets: [`crate::Item::SnapshotOpen`], which comes before
/// the messages were looked at, [`crate::Item::SnapshotSet`] chunks, [`crate::Item::SnapshotEnd`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WatchSet {
    /// Whose.
    pub session: SessionId,
    /// Snapshot of this mailbox first.
    pub mailbox: MailboxName,
}

/// One message in a snapshot: as small as it can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotMessage {
    /// Its uid.
    pub uid: Uid,
    /// Its flags.
    pub flags: Flags,
}

/// One or more events of one atomic change. A change with thousands of events comes in pieces of the same number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeEvents {
    /// Ascending without gaps for one account while the store runs; starts anew with the store.
    pub change: u64,
    /// Who did it, if it was a session on this connection.
    pub by: Option<SessionId>,
    /// What happened, in order.
    pub events: Vec<Event>,
    /// Whether this piece is the last of its change.
    pub last: bool,
}

/// What happened. Also says what IMAP cannot: counts, special use, keywords in use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A message is in a mailbox now.
    MessageAdded {
        /// Where.
        mailbox: MailboxId,
        /// Its uid.
        uid: Uid,
        /// Its id.
        id: MsgId,
        /// Its modseq.
        mod_seq: ModSeq,
        /// Its flags.
        flags: Flags,
        /// Its keywords.
        keywords: Vec<Keyword>,
        /// Its size.
        size: ByteCount,
        /// INTERNALDATE.
        received: Timestamp,
    },
    /// Messages left a mailbox.
    MessagesRemoved {
        /// Where.
        mailbox: MailboxId,
        /// Which.
        uids: UidSet,
        /// The modseq of the removal.
        mod_seq: ModSeq,
    },
    /// The flags of a message are these now.
    FlagsChanged {
        /// Where.
        mailbox: MailboxId,
        /// Which.
        uid: Uid,
        /// The new modseq.
        mod_seq: ModSeq,
        /// All flags.
        flags: Flags,
        /// All keywords.
        keywords: Vec<Keyword>,
    },
    /// A mailbox was created.
    MailboxAdded {
        /// Its id.
        mailbox: MailboxId,
        /// Its name.
        name: MailboxName,
    },
    /// A mailbox was deleted.
    MailboxRemoved {
        /// Its id.
        mailbox: MailboxId,
        /// Its name.
        name: MailboxName,
    },
    /// A mailbox has another name.
    MailboxRenamed {
        /// Its id.
        mailbox: MailboxId,
        /// Before.
        from: MailboxName,
        /// Now.
        to: MailboxName,
    },
    /// A subscription was made or given up.
    Subscription {
        /// The name.
        name: MailboxName,
        /// Which of the two.
        subscribed: bool,
    },
    /// A mailbox is for something else now.
    SpecialUse {
        /// Which.
        mailbox: MailboxId,
        /// All its uses.
        uses: SpecialUses,
    },
    /// All keywords in use in a mailbox, after a new one came.
    Keywords {
        /// Which.
        mailbox: MailboxId,
        /// All of them, sorted.
        keywords: Vec<Keyword>,
    },
    /// Counters after this change.
    Counts {
        /// Which.
        mailbox: MailboxId,
        /// All of them.
        counts: Counts,
        /// Highest modseq of the mailbox.
        mod_seq: ModSeq,
        /// The next uid.
        uid_next: Uid,
    },
    /// More than 10 000 events were waiting: what happened is lost to this watcher, it must start again.
    Overflow,
    /// The account was removed or its login switched off: the session is over.
    Ended {
        /// What to tell the person.
        why: String,
    },
    /// The thread of a message is muted, collapsed, or not any more. IMAP has no word for it; the modseq stays.
    ThreadMarks {
        /// Where.
        mailbox: MailboxId,
        /// Which.
        uid: Uid,
        /// What arrives is seen already.
        muted: bool,
        /// One line in lists.
        collapsed: bool,
    },
    /// An annotation was set or removed.
    Annotation {
        /// Of this mailbox; none for one of the account.
        mailbox: Option<MailboxId>,
        /// Entry name.
        name: String,
        /// Whether it is there now.
        there: bool,
        /// Of the mailbox, or of the account.
        mod_seq: ModSeq,
    },
    /// URLs of this mailbox have to be authorised anew; of all where none is named. RFC 4467 §7.
    UrlKey {
        /// Which.
        mailbox: Option<MailboxId>,
    },
    /// The flags of many messages changed: what they are now is to be asked for.
    ManyFlagsChanged {
        /// Where.
        mailbox: MailboxId,
        /// Which.
        uids: UidSet,
        /// The new modseq.
        mod_seq: ModSeq,
    },
}
