//! Messages of an account: role `imap`.

use crate::{Body, Facts, SessionId};
use libmox_types::{
    ByteCount, Flags, Keyword, MailboxId, MailboxName, ModSeq, MsgId, Timestamp, Uid, UidSet, UidValidity,
};
use serde::{Deserialize, Serialize};

/// What the store notes of a message besides its flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u16)]
pub enum Mark {
    /// What arrives in this thread is seen already (row ST-33).
    Muted = 1,
    /// A list shows one line for the thread.
    Collapsed = 1 << 1,
    /// The direct parent is not known, or was found by subject only (row ST-32).
    MissingLink = 1 << 2,
    /// Delivered as a reject, and not yet moved out (row ST-26).
    Reject = 1 << 3,
    /// Forwarded by a server of the account's own: says nothing about that server (row JK-12).
    Forward = 1 << 4,
    /// A delivery report or another automatic message.
    Automatic = 1 << 5,
    /// The first message of somebody, not yet moved to where it belongs (row ST-30).
    Intro = 1 << 6,
}

/// A set of [`Mark`]s.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks(u16);

impl Marks {
    /// No mark.
    pub const NONE: Marks = Marks(0);

    /// Whether it is there.
    #[must_use]
    pub fn has(self, mark: Mark) -> bool {
        self.0 & mark as u16 != 0
    }

    /// With this one there or not.
    #[must_use]
    pub fn set(self, mark: Mark, there: bool) -> Self {
        if there { Self(self.0 | mark as u16) } else { Self(self.0 & !(mark as u16)) }
    }
}

/// Which fields of a record a list carries; the rest are left empty.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Want {
    /// [`MessageRecord::structure`].
    pub structure: bool,
    /// [`MessageRecord::preview`].
    pub preview: bool,
}

/// Messages of a mailbox by UID, ascending: a stream of [`crate::Item::Messages`] in chunks of at most 2000 records
/// (fewer where they are large).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MessageList {
    /// Whose.
    pub session: SessionId,
    /// Where.
    pub mailbox: MailboxId,
    /// Which.
    pub uids: UidSet,
    /// Only those changed after this.
    pub changed_since: Option<ModSeq>,
    /// What of them.
    pub want: Want,
}

/// A message as a reader sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageRecord {
    /// Its uid in its mailbox.
    pub uid: Uid,
    /// Its id.
    pub id: MsgId,
    /// Last change.
    pub mod_seq: ModSeq,
    /// Flags.
    pub flags: Flags,
    /// Keywords, sorted.
    pub keywords: Vec<Keyword>,
    /// Prefix and file together.
    pub size: ByteCount,
    /// INTERNALDATE.
    pub received: Timestamp,
    /// When it came into this mailbox; none for records older than the field.
    pub saved: Option<Timestamp>,
    /// Octets of the prefix. Offsets of `structure` count from the start of the file behind it:
    /// `Structure::shift_by_prefix` makes them count from the start of the message.
    pub prefix: u32,
    /// Its thread; zero while that is not known.
    pub thread: MsgId,
    /// What the store notes of it.
    pub marks: Marks,
    /// `libmox_message::Structure` bytes of the file, if wanted; empty if none are known.
    #[serde(with = "serde_bytes")]
    pub structure: Vec<u8>,
    /// Preview text, if wanted.
    pub preview: String,
}

/// The content of one message. Reply: [`Content`], with one descriptor of the file unless inline.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MessageOpen {
    /// Whose.
    pub session: SessionId,
    /// Which.
    pub id: MsgId,
}

/// The content of several messages. Reply: a [`Content`] for each of at most [`OPENED_TOGETHER`], in this order; none for one
/// that does not ride inline, does not fit beside the others or cannot be had: [`MessageOpen`] says more.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MessagesOpen {
    /// Whose.
    pub session: SessionId,
    /// Which.
    pub ids: Vec<MsgId>,
}

/// Messages of one [`MessagesOpen`].
pub const OPENED_TOGETHER: usize = 64;

/// Where the bytes of a message are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Comes before the file.
    #[serde(with = "serde_bytes")]
    pub prefix: Vec<u8>,
    /// The file, where it is small; else a descriptor came along, open for reading at offset 0.
    pub inline: Option<serde_bytes::ByteBuf>,
    /// Octets of the file.
    pub size: ByteCount,
}

/// How flags change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FlagsHow {
    /// `FLAGS`
    Replace,
    /// `+FLAGS`
    Add,
    /// `-FLAGS`
    Remove,
}

/// STORE, in one atomic change. Reply: [`FlagsChanged`]. The change stream carries the new flags.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FlagsChange {
    /// Whose.
    pub session: SessionId,
    /// Where.
    pub mailbox: MailboxId,
    /// Which; those that are not there are passed over.
    pub uids: UidSet,
    /// How.
    pub how: FlagsHow,
    /// Flags.
    pub flags: Flags,
    /// Keywords.
    pub keywords: Vec<Keyword>,
    /// RFC 7162 §3.1.3: messages changed after this stay as they are.
    pub unchanged_since: Option<ModSeq>,
}

/// Reply to [`FlagsChange`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlagsChanged {
    /// In the change stream; zero if nothing changed.
    pub change: u64,
    /// Those `unchanged_since` kept back.
    pub modified: UidSet,
}

/// Adds messages, all or none. Reply: [`Placed`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Append {
    /// Whose.
    pub session: SessionId,
    /// Where.
    pub mailbox: MailboxName,
    /// At least one.
    pub messages: Vec<AppendMessage>,
}

/// One message of an [`Append`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AppendMessage {
    /// The bytes, CRLF.
    pub body: Body,
    /// A header separator where the message has none (row ST-03); else empty.
    #[serde(with = "serde_bytes")]
    pub prefix: Vec<u8>,
    /// What was found in it.
    pub facts: Facts,
    /// Flags.
    pub flags: Flags,
    /// Keywords.
    pub keywords: Vec<Keyword>,
    /// INTERNALDATE.
    pub received: Timestamp,
}

/// As [`Append`], of messages that one frame may not hold: their facts and small bodies add up. Reply: [`Placed`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AppendListed {
    /// Whose.
    pub session: SessionId,
    /// Where.
    pub mailbox: MailboxName,
    /// The messages, one behind the other as [`AppendMessage::list_in`] writes them. At most [`crate::LISTED_OCTETS`]; a
    /// staged one is used up even where the request fails.
    pub list: Body,
}

impl AppendMessage {
    /// Puts it at the end of a list.
    pub fn list_in(&self, list: &mut Vec<u8>) {
        // Nothing in it can fail to be written.
        list.extend(postcard::to_allocvec(self).unwrap_or_default());
    }

    /// The messages of a list; `None` if it is none, or one of more messages.
    #[must_use]
    pub fn listed(mut list: &[u8], most: usize) -> Option<Vec<Self>> {
        let mut messages = Vec::new();
        while !list.is_empty() {
            let (message, rest) = postcard::take_from_bytes(list).ok()?;
            if messages.len() == most {
                return None;
            }
            messages.push(message);
            list = rest;
        }
        Some(messages)
    }
}

/// Where messages ended up, in the order given, uids ascending.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    /// In the change stream.
    pub change: u64,
    /// The mailbox.
    pub mailbox: MailboxId,
    /// Its uidvalidity.
    pub uid_validity: UidValidity,
    /// Where they came from (copy and move), ascending.
    pub from: Vec<Uid>,
    /// Where they are, one for each.
    pub to: Vec<Uid>,
}

/// Copies or moves, all or none. Reply: [`Placed`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Copy {
    /// Whose.
    pub session: SessionId,
    /// From.
    pub mailbox: MailboxId,
    /// Which; those that are not there are passed over.
    pub uids: UidSet,
    /// To.
    pub to: MailboxName,
    /// Whether they leave the old place: the id stays with the message.
    pub take: bool,
}

/// As `Copy`, but nothing at all ([`crate::Fault::NoMessage`]) where one of them is not there. Reply: [`Placed`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CopyAll(pub Copy);

/// Removes messages marked `\Deleted`. Reply: [`Expunged`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Expunge {
    /// Whose.
    pub session: SessionId,
    /// Where.
    pub mailbox: MailboxId,
    /// Only these; all if none.
    pub uids: Option<UidSet>,
}

/// Reply to [`Expunge`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expunged {
    /// In the change stream; zero if nothing changed.
    pub change: u64,
    /// Which went.
    pub uids: UidSet,
    /// The modseq of the removal.
    pub mod_seq: ModSeq,
}

/// Mutes or collapses the threads of messages, all of their messages. Reply: [`crate::Changed`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ThreadChange {
    /// Whose.
    pub session: SessionId,
    /// At most 1000.
    pub messages: Vec<MsgId>,
    /// What arrives is seen already.
    pub muted: Option<bool>,
    /// One line in lists.
    pub collapsed: Option<bool>,
}

/// Where a message stands in its thread. Reply: [`ThreadPlace`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ThreadOf {
    /// Whose.
    pub session: SessionId,
    /// Which.
    pub message: MsgId,
}

/// Reply to [`ThreadOf`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadPlace {
    /// The thread.
    pub thread: MsgId,
    /// Nearest first, up to the root; some may be gone.
    pub parents: Vec<MsgId>,
    /// Its messages, at most 1000, by id.
    pub members: Vec<MsgId>,
}
