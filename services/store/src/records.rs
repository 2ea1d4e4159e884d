//! What stands behind the keys. Each value is a version byte and a `postcard` body; fields are added by a new version,
//! and [`Stored::older`] reads what earlier programs wrote (`older.rs`). Writing always writes the newest.
//!
//! Fails with: [`Corrupt`] for bytes that are not the record they should be.

use crate::engine::{Engine, ReadError, Tx, Value};
use crate::keys::{self, CHUNK, Hash};
use crate::older;
use libmox_store::{
    Counts, Facts, Fault, LoginAttempt, Marks, Needs, QueueRecipient, Retired, Scopes, Suppressed,
    TlsSupport, Verdict, Wishes,
};
use libmox_types::{
    AccountId, Address, ByteCount, Cid, Flag, Flags, Keyword, MailboxId, MailboxName, ModSeq, MsgId, QueueId,
    ReversePath, SpecialUses, Timestamp, Uid, UidValidity,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::ops::{Bound, ControlFlow};

/// Something the index keeps.
pub trait Stored: Serialize + DeserializeOwned {
    /// The layout that is written.
    const VERSION: u8 = 1;

    /// Reads an earlier layout.
    fn older(_version: u8, _body: &[u8]) -> Option<Self> {
        None
    }
}

macro_rules! stored {
    ($($record:ty),* $(,)?) => { $(impl Stored for $record {})* };
}

stored! {
    (), u32, Vec<u8>, AccountId, MailboxId, MsgId, AppRecord, TlsKeyRecord, MailboxRecord, Place, Expunged, Ties, Heard, QueueState, AnnotationRecord, Removals,
    TlsSupport, FlagPatch, WroteRecord, CacheRecord, Retired, Suppressed, Address, u64,
    crate::junk::Filter, crate::decisions::DecisionState, libmox_store::Decided,
    libmox_store::Evaluation, libmox_store::ReportKept, libmox_store::HoldRule,
}

impl Stored for Account {
    const VERSION: u8 = 2;
    fn older(version: u8, body: &[u8]) -> Option<Self> {
        older::account(version, body)
    }
}

impl Stored for LoginAttempt {
    const VERSION: u8 = 2;
    fn older(version: u8, body: &[u8]) -> Option<Self> {
        older::login_attempt(version, body)
    }
}

impl Stored for Secrets {
    const VERSION: u8 = 2;
    fn older(version: u8, body: &[u8]) -> Option<Self> {
        older::secrets(version, body)
    }
}

impl Stored for QueueRecord {
    const VERSION: u8 = 2;
    fn older(version: u8, body: &[u8]) -> Option<Self> {
        older::queue_record(version, body)
    }
}

impl Stored for QueueMessage {
    const VERSION: u8 = 3;
    fn older(version: u8, body: &[u8]) -> Option<Self> {
        older::queue_message(version, body)
    }
}

impl Stored for Message {
    const VERSION: u8 = 2;
    fn older(version: u8, body: &[u8]) -> Option<Self> {
        older::message(version, body)
    }
}

impl Stored for Cold {
    const VERSION: u8 = 3;
    fn older(version: u8, body: &[u8]) -> Option<Self> {
        older::cold(version, body)
    }
}

/// A value in the index is not what it should be; the key says which.
#[derive(Debug, thiserror::Error)]
#[error("record {0} is not readable")]
pub struct Corrupt(pub String);

impl From<Corrupt> for Fault {
    fn from(error: Corrupt) -> Self {
        tracing::error!(%error, "the index holds a record that cannot be read");
        Self::Internal
    }
}

/// The value of a record.
pub fn encode<T: Stored>(record: &T) -> Vec<u8> {
    // Only a map of unknown length or a failing sink could make this fail; there is neither.
    postcard::to_extend(record, vec![T::VERSION]).unwrap_or_default()
}

/// The record of a value.
pub fn decode<T: Stored>(key: &[u8], value: &[u8]) -> Result<T, Corrupt> {
    let corrupt = || Corrupt(key.escape_ascii().to_string());
    match value.split_first() {
        Some((version, body)) if *version == T::VERSION => postcard::from_bytes(body).map_err(|_| corrupt()),
        Some((version, body)) => T::older(*version, body).ok_or_else(corrupt),
        None => Err(corrupt()),
    }
}

/// Reading, applied or as a writer sees it.
pub trait Read {
    /// One key.
    fn get(&self, key: &[u8]) -> Result<Option<Value>, ReadError>;
    /// Keys in order.
    fn visit(
        &self,
        range: (Bound<&[u8]>, Bound<&[u8]>),
        visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), ReadError>;

    /// One record.
    fn record<T: Stored>(&self, key: &[u8]) -> Result<Option<T>, Fault> {
        match self.get(key)? {
            Some(value) => Ok(Some(decode(key, &value)?)),
            None => Ok(None),
        }
    }

    /// Records whose keys begin with `prefix`.
    fn records<T: Stored>(
        &self,
        prefix: &[u8],
        mut each: impl FnMut(&[u8], T) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let mut outcome = Ok(());
        keys::below(prefix, |range| {
            self.visit(range, |key, value| {
                outcome = decode(key, value).map_err(Fault::from).and_then(|record| each(key, record));
                if outcome.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })
        })?;
        outcome
    }

    /// Keys that begin with `prefix`.
    fn keys_below(&self, prefix: &[u8]) -> Result<Vec<Vec<u8>>, Fault> {
        let mut found = Vec::new();
        keys::below(prefix, |range| {
            self.visit(range, |key, _| {
                found.push(key.to_vec());
                ControlFlow::Continue(())
            })
        })?;
        Ok(found)
    }

    /// A blob, put together.
    fn blob(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        // Most are one chunk: to look for more costs several times what it takes to read it.
        match self.get(&[key, &0u16.to_be_bytes()].concat())? {
            Some(chunk) if chunk.len() < CHUNK => return Ok(Some(chunk.to_vec())),
            None => return Ok(None),
            Some(_) => {}
        }
        let mut whole: Option<Vec<u8>> = None;
        keys::below(key, |range| {
            self.visit(range, |_, chunk| {
                whole.get_or_insert_default().extend_from_slice(chunk);
                ControlFlow::Continue(())
            })
        })?;
        Ok(whole)
    }
}

impl Read for Engine {
    fn get(&self, key: &[u8]) -> Result<Option<Value>, ReadError> {
        Engine::get(self, key)
    }
    fn visit(
        &self,
        range: (Bound<&[u8]>, Bound<&[u8]>),
        visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        Engine::visit(self, range, visit)
    }
}

impl Read for Tx {
    fn get(&self, key: &[u8]) -> Result<Option<Value>, ReadError> {
        Tx::get(self, key)
    }
    fn visit(
        &self,
        range: (Bound<&[u8]>, Bound<&[u8]>),
        visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        Tx::visit(self, range, visit)
    }
}

/// Writes a blob in chunks.
pub fn put_blob(tx: &mut Tx, key: &[u8], bytes: &[u8]) {
    for (number, chunk) in bytes.chunks(CHUNK).enumerate() {
        let number = u16::try_from(number).unwrap_or(u16::MAX).to_be_bytes();
        tx.change().put([key, &number].concat(), chunk);
    }
}

/// Deletes a blob.
pub fn delete_blob(tx: &mut Tx, key: &[u8]) -> Result<(), Fault> {
    for key in tx.keys_below(key)? {
        tx.change().delete(key);
    }
    Ok(())
}

/// An account.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Account {
    pub name: String,
    pub created: Timestamp,
    pub mod_seq: ModSeq,
    pub next_mailbox: MailboxId,
    pub next_uid_validity: UidValidity,
    pub next_message: MsgId,
    /// Octets of all messages, those that are expunged and not erased yet too.
    pub used: ByteCount,
    /// Annotations, and the octets of their names and values.
    pub annotations: (u32, u64),
    /// What is being made anew for records of an earlier program, or on request (rows ST-35, ST-36).
    pub upgrade: Option<Progress>,
}

/// How far an upgrade of an account is; each step writes it in the change that does the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    pub stage: Stage,
    /// Messages up to this one are done.
    pub after: MsgId,
}

/// | stage | what it does to each message | the next one |
/// |---|---|---|
/// | `Ties` | makes its ties: Message-ID and base subject | `Threads` |
/// | `Clear` | takes it out of its thread | `Threads` |
/// | `Threads` | finds its parent and thread | none |
/// | `Forget` | its junk filter training is forgotten, and the whole table before the first one | `Learn` |
/// | `Learn` | is learnt as its flags say | none |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    Ties,
    Clear,
    Threads,
    Forget,
    Learn,
}

/// What logins are checked against. Never leaves the store.
#[derive(Clone, Serialize, Deserialize)]
pub struct Secrets {
    pub set: Timestamp,
    pub argon2: Argon2,
    pub scram_sha1: Scram,
    pub scram_sha256: Scram,
    /// States of HMAC-MD5, inner and outer; none for passwords set before there was CRAM-MD5.
    pub cram: Option<[[u32; 4]; 2]>,
}

/// An app password. Its name is in the key; the salts are those of the account's other secrets.
#[derive(Clone, Serialize, Deserialize)]
pub struct AppRecord {
    pub scopes: Scopes,
    pub created: Timestamp,
    pub expires: Option<Timestamp>,
    pub digest: [u8; 32],
    pub scram_sha1: Scram,
    pub scram_sha256: Scram,
    pub cram: [[u32; 4]; 2],
}

/// A key of TLS client certificates. Its fingerprint is in the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsKeyRecord {
    pub login: Address,
    pub kind: String,
    pub name: String,
    pub no_imap_preauth: bool,
    pub created: Timestamp,
}

/// Argon2id of the password.
#[derive(Clone, Serialize, Deserialize)]
pub struct Argon2 {
    pub memory_kib: u32,
    pub passes: u32,
    pub lanes: u32,
    pub salt: Vec<u8>,
    pub hash: Vec<u8>,
}

/// RFC 5802 §3.
#[derive(Clone, Serialize, Deserialize)]
pub struct Scram {
    pub iterations: u32,
    pub salt: Vec<u8>,
    pub stored_key: Vec<u8>,
    pub server_key: Vec<u8>,
}

/// A mailbox. Its id is in the key, whether it is subscribed under another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailboxRecord {
    pub id: MailboxId,
    pub name: MailboxName,
    pub uid_validity: UidValidity,
    pub uid_next: Uid,
    pub mod_seq: ModSeq,
    pub create_seq: ModSeq,
    pub special_use: SpecialUses,
    pub keywords: Vec<Keyword>,
    pub counts: Counts,
}

/// The tombstones of a mailbox. Without a record they were not counted yet, and none is forgotten.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removals {
    /// How many there are.
    pub kept: u32,
    /// Of removals up to here some have none any more.
    pub forgotten: ModSeq,
}

/// The hot part of a message: what lists need. Its mailbox and uid are in the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    pub id: MsgId,
    pub mod_seq: ModSeq,
    pub create_seq: ModSeq,
    pub flags: Flags,
    pub keywords: Vec<Keyword>,
    pub size: ByteCount,
    pub prefix: u32,
    pub received: Timestamp,
    pub saved: Option<Timestamp>,
    /// Shared by all messages of a thread; zero until the message is assigned to one.
    pub thread: MsgId,
    pub marks: Marks,
    /// Where it was delivered; zero if unknown. What a person thought of it counts for mail to that mailbox.
    pub original: MailboxId,
    /// Where the rules would have put it, for a reject or a first message of somebody (row ST-27).
    pub destined: MailboxId,
    pub trained: Training,
}

/// What one change does to the flags of many messages alike: [`Message::patched`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlagPatch {
    /// Of the change.
    pub mod_seq: ModSeq,
    pub add: Flags,
    pub remove: Flags,
}

impl FlagPatch {
    /// The flags after it.
    pub fn flags(self, flags: Flags) -> Flags {
        flags.union(self.add).minus(self.remove)
    }
}

impl Message {
    /// With a patch, unless the message has it or something later already.
    #[must_use]
    pub fn patched(self, patch: FlagPatch) -> Option<Self> {
        (self.mod_seq < patch.mod_seq).then(|| Self {
            flags: patch.flags(self.flags),
            mod_seq: patch.mod_seq,
            ..self
        })
    }
}

/// What a patch in the journal makes of a value. `None`: it stays as it is.
pub fn patched(what: &[u8], value: &[u8]) -> Option<Vec<u8>> {
    let patch = decode::<FlagPatch>(b"", what).ok()?;
    Some(encode(&decode::<Message>(b"", value).ok()?.patched(patch)?))
}

/// What the junk filter has learnt of a message (row JK-03).
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Training {
    #[default]
    None,
    Junk,
    Ham,
}

/// What ties a message to others: its ancestors, and under which keys others find it.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ties {
    /// Nearest first, up to the root; some may be gone.
    pub parents: Vec<MsgId>,
    pub message_id: Option<Hash>,
    pub subject: Option<Hash>,
}

/// An annotation; its value is a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnnotationRecord {
    pub mod_seq: ModSeq,
    pub create_seq: ModSeq,
    pub text: bool,
    pub octets: u32,
}

/// An address the account wrote to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WroteRecord {
    pub first: Timestamp,
    pub last: Timestamp,
}

/// A cached value; the value itself is a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheRecord {
    pub set: Timestamp,
    pub expires: Timestamp,
}

/// An address that mail came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    pub first: Timestamp,
    pub last: Timestamp,
}

/// The rest of a message.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Cold {
    #[serde(with = "serde_bytes")]
    pub prefix: Vec<u8>,
    pub facts: Facts,
    pub origin: Option<Origin>,
}

/// The front of a [`Cold`]: all that lists and whoever reads a message need of it.
#[derive(Debug, PartialEq, Eq)]
pub struct ColdFront<'v> {
    pub prefix: Cow<'v, [u8]>,
    pub structure: Cow<'v, [u8]>,
}

/// The front of a value with a [`Cold`], at a fraction of what all of it costs.
pub fn decode_front<'v>(key: &[u8], value: &'v [u8]) -> Result<ColdFront<'v>, Corrupt> {
    #[derive(Deserialize)]
    struct Front<'a> {
        #[serde(borrow, with = "serde_bytes")]
        prefix: &'a [u8],
        #[serde(borrow, with = "serde_bytes")]
        structure: &'a [u8],
    }
    match value.split_first() {
        Some((version, body)) if *version == Cold::VERSION => {
            let front = postcard::take_from_bytes::<Front<'_>>(body);
            let (front, _) = front.map_err(|_| Corrupt(key.escape_ascii().to_string()))?;
            Ok(ColdFront { prefix: front.prefix.into(), structure: front.structure.into() })
        }
        _ => decode::<Cold>(key, value)
            .map(|cold| ColdFront { prefix: cold.prefix.into(), structure: cold.facts.structure.into() }),
    }
}

/// Where a delivered message came from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Origin {
    pub cid: Cid,
    pub remote_ip: std::net::IpAddr,
    pub helo: String,
    pub mail_from: ReversePath,
    pub recipient: String,
    pub verdict: Verdict,
}

/// Where a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub mailbox: MailboxId,
    pub uid: Uid,
}

/// A removed message whose file is still there for sessions that may ask for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expunged {
    pub size: ByteCount,
    pub prefix: u32,
}

/// Counters of the queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueState {
    pub next: QueueId,
    pub entries: u64,
    pub held: u64,
}

/// One recipient of one message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueRecord {
    pub message: QueueId,
    pub recipient: QueueRecipient,
    pub next_attempt: Timestamp,
    pub attempts: u32,
    pub held: bool,
    pub last: String,
    /// An envelope sender of its own (row SU-08), instead of the message's.
    pub mail_from: Option<Address>,
}

/// What the entries of one message share. Its id is that of its first entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueMessage {
    pub cid: Cid,
    pub account: AccountId,
    pub account_name: String,
    pub mail_from: ReversePath,
    pub header_from: Option<Address>,
    pub queued: Timestamp,
    pub size: ByteCount,
    pub prefix: u32,
    pub needs: Needs,
    pub message_id: String,
    /// Entries left.
    pub entries: u32,
    pub wishes: Wishes,
}

impl QueueRecord {
    /// The envelope sender of this entry.
    pub fn sender(&self, message: &QueueMessage) -> ReversePath {
        self.mail_from.clone().map_or_else(|| message.mail_from.clone(), ReversePath::Address)
    }
}

/// Adds a message to counters, or takes it away.
pub fn count(counts: &mut Counts, message: &Message, add: bool) {
    let step = |number: &mut u32| *number = if add { *number + 1 } else { number.saturating_sub(1) };
    let (seen, deleted) = (message.flags.has(Flag::Seen), message.flags.has(Flag::Deleted));
    step(if deleted { &mut counts.deleted } else { &mut counts.total });
    if !seen {
        step(&mut counts.unseen);
        if !deleted {
            step(&mut counts.unread);
        }
    }
    let size = &mut counts.size.0;
    *size = if add { *size + message.size.0 } else { size.saturating_sub(message.size.0) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_another_version_is_corrupt_not_a_panic() {
        let place = Place { mailbox: MailboxId(1), uid: Uid(2) };
        let bytes = encode(&place);
        assert_eq!(decode::<Place>(b"k", &bytes).unwrap(), place);
        assert!(decode::<Place>(b"k", b"").is_err());
        assert!(decode::<Place>(b"k", &[2, 1, 2]).is_err());
        assert!(decode::<Account>(b"k", &bytes).is_err());
    }

    #[test]
    fn the_front_is_that_of_the_whole() {
        let facts = Facts { structure: vec![7; 300], message_id: "a@b".into(), ..Facts::default() };
        let cold = Cold { prefix: b"Received: x\r\n".to_vec(), facts, origin: None };
        let bytes = encode(&cold);
        let front = ColdFront { prefix: cold.prefix.into(), structure: cold.facts.structure.into() };
        assert_eq!(decode_front(b"k", &bytes).unwrap(), front);
        for cut in 0..300 {
            assert!(decode_front(b"k", &bytes[..cut]).is_err(), "{cut}");
        }
        assert!(decode_front(b"k", &[9, 0, 0]).is_err());
    }

    #[test]
    fn counters_return_to_where_they_were() {
        let message = |flags: Flags| Message {
            id: MsgId(1),
            mod_seq: ModSeq(1),
            create_seq: ModSeq(1),
            flags,
            keywords: vec![],
            size: ByteCount(10),
            prefix: 0,
            received: Timestamp(0),
            saved: None,
            thread: MsgId(1),
            marks: Marks::NONE,
            original: MailboxId(0),
            destined: MailboxId(0),
            trained: Training::None,
        };
        for (flags, want) in [
            (Flags::NONE, (1, 0, 1, 1)),
            (Flags::NONE.with(Flag::Seen), (1, 0, 0, 0)),
            (Flags::NONE.with(Flag::Deleted), (0, 1, 0, 1)),
            (Flags::NONE.with(Flag::Deleted).with(Flag::Seen), (0, 1, 0, 0)),
        ] {
            let mut counts = Counts::default();
            count(&mut counts, &message(flags), true);
            assert_eq!((counts.total, counts.deleted, counts.unread, counts.unseen), want, "{flags:?}");
            count(&mut counts, &message(flags), false);
            assert_eq!(counts, Counts::default());
        }
    }
}
