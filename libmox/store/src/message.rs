//! Messages of an account: role `imap`.

use crate::{Body, Facts, SessionId};
use libmox_types::{
    ByteCount, Flags, Keyword, MailboxId, MailboxName, ModSeq, MsgId, Timestamp, Uid, UidSet, UidValidity,
};
use serde::{Deserialize, Serialize};

/// Which fields of a record a list carries; the rest are left empty.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Want {
    /// [`MessageRecord::structure`].
    pub structure: bool,
    /// [`MessageRecord::preview`].
    pub preview: bool,
}

/// Messages of a mailbox by UID, ascending: a stream of [`crate::Item::Messages`] in chunks of at most 1000 records
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
