//! Layouts that earlier programs wrote, and what becomes of them. Never changed, only added to.

use crate::records::{
    Account, Argon2, Cold, Message, Origin, Progress, QueueMessage, QueueRecord, Scram, Secrets, Stage,
    Training,
};
use libmox_store::{Facts, Marks, Needs, QueueRecipient, Wishes};
use libmox_types::{
    AccountId, Address, ByteCount, Cid, Flags, Keyword, MailboxId, ModSeq, MsgId, QueueId, ReversePath,
    Timestamp, UidValidity,
};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
pub struct AccountV1 {
    pub name: String,
    pub created: Timestamp,
    pub mod_seq: ModSeq,
    pub next_mailbox: MailboxId,
    pub next_uid_validity: UidValidity,
    pub next_message: MsgId,
    pub used: ByteCount,
}

/// Its messages have no ties yet: the upgrade begins at the first one.
pub fn account(version: u8, body: &[u8]) -> Option<Account> {
    if version != 1 {
        return None;
    }
    let old: AccountV1 = postcard::from_bytes(body).ok()?;
    Some(Account {
        name: old.name,
        created: old.created,
        mod_seq: old.mod_seq,
        next_mailbox: old.next_mailbox,
        next_uid_validity: old.next_uid_validity,
        next_message: old.next_message,
        used: old.used,
        annotations: (0, 0),
        upgrade: Some(Progress { stage: Stage::Ties, after: MsgId(0) }),
    })
}

#[derive(Serialize, Deserialize)]
pub struct QueueRecordV1 {
    pub message: QueueId,
    pub recipient: QueueRecipient,
    pub next_attempt: Timestamp,
    pub attempts: u32,
    pub held: bool,
    pub last: String,
}

pub fn queue_record(version: u8, body: &[u8]) -> Option<QueueRecord> {
    if version != 1 {
        return None;
    }
    let old: QueueRecordV1 = postcard::from_bytes(body).ok()?;
    Some(QueueRecord {
        message: old.message,
        recipient: old.recipient,
        next_attempt: old.next_attempt,
        attempts: old.attempts,
        held: old.held,
        last: old.last,
        mail_from: None,
    })
}

#[derive(Serialize, Deserialize)]
pub struct QueueMessageV1 {
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
    pub entries: u32,
}

pub fn queue_message(version: u8, body: &[u8]) -> Option<QueueMessage> {
    if version != 1 {
        return None;
    }
    let old: QueueMessageV1 = postcard::from_bytes(body).ok()?;
    Some(QueueMessage {
        cid: old.cid,
        account: old.account,
        account_name: old.account_name,
        mail_from: old.mail_from,
        header_from: old.header_from,
        queued: old.queued,
        size: old.size,
        prefix: old.prefix,
        needs: old.needs,
        message_id: old.message_id,
        entries: old.entries,
        wishes: Wishes::default(),
    })
}

#[derive(Serialize, Deserialize)]
pub struct SecretsV1 {
    pub set: Timestamp,
    pub argon2: Argon2,
    pub scram_sha1: Scram,
    pub scram_sha256: Scram,
}

/// The password is not known, so there is no CRAM-MD5 until it is set anew.
pub fn secrets(version: u8, body: &[u8]) -> Option<Secrets> {
    if version != 1 {
        return None;
    }
    let old: SecretsV1 = postcard::from_bytes(body).ok()?;
    Some(Secrets {
        set: old.set,
        argon2: old.argon2,
        scram_sha1: old.scram_sha1,
        scram_sha256: old.scram_sha256,
        cram: None,
    })
}

#[derive(Serialize, Deserialize)]
pub struct MessageV1 {
    pub id: MsgId,
    pub mod_seq: ModSeq,
    pub create_seq: ModSeq,
    pub flags: Flags,
    pub keywords: Vec<Keyword>,
    pub size: ByteCount,
    pub prefix: u32,
    pub received: Timestamp,
    pub saved: Option<Timestamp>,
}

pub fn message(version: u8, body: &[u8]) -> Option<Message> {
    if version != 1 {
        return None;
    }
    let old: MessageV1 = postcard::from_bytes(body).ok()?;
    Some(Message {
        id: old.id,
        mod_seq: old.mod_seq,
        create_seq: old.create_seq,
        flags: old.flags,
        keywords: old.keywords,
        size: old.size,
        prefix: old.prefix,
        received: old.received,
        saved: old.saved,
        thread: MsgId(0),
        marks: Marks::NONE,
        original: MailboxId(0),
        destined: MailboxId(0),
        trained: Training::None,
    })
}

#[derive(Serialize, Deserialize)]
pub struct ColdV1 {
    #[serde(with = "serde_bytes")]
    pub prefix: Vec<u8>,
    pub facts: FactsV1,
    pub origin: Option<Origin>,
}

#[derive(Default, Serialize, Deserialize)]
pub struct FactsV1 {
    #[serde(with = "serde_bytes")]
    pub structure: Vec<u8>,
    pub message_id: String,
    pub references: Vec<String>,
    pub base_subject: String,
    pub date: Option<Timestamp>,
    pub from: Option<Address>,
    pub preview: String,
    pub automatic: bool,
    pub list: bool,
}

#[derive(Serialize, Deserialize)]
pub struct ColdV2 {
    #[serde(with = "serde_bytes")]
    pub prefix: Vec<u8>,
    pub facts: FactsV2,
    pub origin: Option<Origin>,
}

#[derive(Default, Serialize, Deserialize)]
pub struct FactsV2 {
    #[serde(with = "serde_bytes")]
    pub structure: Vec<u8>,
    pub message_id: String,
    pub references: Vec<String>,
    pub base_subject: String,
    pub date: Option<Timestamp>,
    pub from: Option<Address>,
    pub preview: String,
    pub automatic: bool,
    pub list: bool,
    pub answer: bool,
    pub report: bool,
    pub recipients: Vec<Address>,
}

fn cold_v2(body: &[u8]) -> Option<Cold> {
    let old: ColdV2 = postcard::from_bytes(body).ok()?;
    let facts = Facts {
        structure: old.facts.structure,
        message_id: old.facts.message_id,
        references: old.facts.references,
        base_subject: old.facts.base_subject,
        date: old.facts.date,
        from: old.facts.from,
        preview: old.facts.preview,
        automatic: old.facts.automatic,
        list: old.facts.list,
        answer: old.facts.answer,
        report: old.facts.report,
        recipients: old.facts.recipients,
        ..Facts::default()
    };
    Some(Cold { prefix: old.prefix, facts, origin: old.origin })
}

/// Whether the subject was that of an answer was not kept: such a message is not matched by its subject.
pub fn cold(version: u8, body: &[u8]) -> Option<Cold> {
    match version {
        1 => {}
        2 => return cold_v2(body),
        _ => return None,
    }
    let old: ColdV1 = postcard::from_bytes(body).ok()?;
    let facts = Facts {
        structure: old.facts.structure,
        message_id: old.facts.message_id,
        references: old.facts.references,
        base_subject: old.facts.base_subject,
        date: old.facts.date,
        from: old.facts.from,
        preview: old.facts.preview,
        automatic: old.facts.automatic,
        list: old.facts.list,
        ..Facts::default()
    };
    Some(Cold { prefix: old.prefix, facts, origin: old.origin })
}
