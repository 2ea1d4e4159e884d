//! Layouts that earlier programs wrote, and what becomes of them. Never changed, only added to.

use crate::records::{
    Account, Argon2, Cold, Message, Origin, Progress, QueueMessage, QueueRecord, Scram, Secrets, Stage,
    Training,
};
use libmox_store::{Facts, LoginAttempt, LoginResult, Marks, Needs, QueueRecipient, Wishes};
use libmox_types::{
    AccountId, Address, ByteCount, Cid, Flags, Keyword, MailboxId, ModSeq, MsgId, QueueId, ReversePath,
    Timestamp, UidValidity,
};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

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
pub struct LoginAttemptV1 {
    pub first: Timestamp,
    pub last: Timestamp,
    pub count: u64,
    pub login: String,
    pub remote_ip: IpAddr,
    pub protocol: String,
    pub mechanism: String,
    pub tls: String,
    pub user_agent: String,
    pub result: LoginResult,
}

/// Which address of ours it came to was not kept.
pub fn login_attempt(version: u8, body: &[u8]) -> Option<LoginAttempt> {
    if version != 1 {
        return None;
    }
    let old: LoginAttemptV1 = postcard::from_bytes(body).ok()?;
    Some(LoginAttempt {
        first: old.first,
        last: old.last,
        count: old.count,
        login: old.login,
        remote_ip: old.remote_ip,
        protocol: old.protocol,
        mechanism: old.mechanism,
        tls: old.tls,
        user_agent: old.user_agent,
        result: old.result,
        local_ip: None,
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
    pub needs: NeedsV1,
    pub message_id: String,
    pub entries: u32,
}

/// Before there were binary messages.
#[derive(Default, Serialize, Deserialize)]
pub struct NeedsV1 {
    pub smtputf8: bool,
    pub eight_bit: bool,
    pub require_tls: Option<bool>,
}

impl From<NeedsV1> for Needs {
    fn from(old: NeedsV1) -> Self {
        Self { smtputf8: old.smtputf8, eight_bit: old.eight_bit, require_tls: old.require_tls, binary: false }
    }
}

#[derive(Serialize, Deserialize)]
pub struct QueueMessageV2 {
    pub cid: Cid,
    pub account: AccountId,
    pub account_name: String,
    pub mail_from: ReversePath,
    pub header_from: Option<Address>,
    pub queued: Timestamp,
    pub size: ByteCount,
    pub prefix: u32,
    pub needs: NeedsV1,
    pub message_id: String,
    pub entries: u32,
    pub wishes: Wishes,
}

fn queue_message_v2(body: &[u8]) -> Option<QueueMessage> {
    let old: QueueMessageV2 = postcard::from_bytes(body).ok()?;
    Some(QueueMessage {
        cid: old.cid,
        account: old.account,
        account_name: old.account_name,
        mail_from: old.mail_from,
        header_from: old.header_from,
        queued: old.queued,
        size: old.size,
        prefix: old.prefix,
        needs: old.needs.into(),
        message_id: old.message_id,
        entries: old.entries,
        wishes: old.wishes,
    })
}

pub fn queue_message(version: u8, body: &[u8]) -> Option<QueueMessage> {
    match version {
        1 => {}
        2 => return queue_message_v2(body),
        _ => return None,
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
        needs: old.needs.into(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::{Stored, decode};

    fn read<T: Stored>(old: &impl Serialize) -> T {
        let bytes = postcard::to_extend(old, vec![1]).unwrap();
        decode(b"k", &bytes).unwrap()
    }

    #[test]
    fn what_was_queued_and_set_before_is_still_there() {
        let to = QueueRecipient {
            address: "a@x.example".parse().unwrap(),
            notify: "NEVER".into(),
            orcpt: String::new(),
        };
        let old = QueueRecordV1 {
            message: QueueId(3),
            recipient: to.clone(),
            next_attempt: Timestamp(5),
            attempts: 2,
            held: true,
            last: "421".into(),
        };
        let new: QueueRecord = read(&old);
        assert_eq!((new.message, new.recipient, new.attempts, new.mail_from), (QueueId(3), to, 2, None));
        let old = QueueMessageV1 {
            cid: Cid(1),
            account: AccountId(2),
            account_name: "jane".into(),
            mail_from: ReversePath::Null,
            header_from: None,
            queued: Timestamp(7),
            size: ByteCount(8),
            prefix: 4,
            needs: NeedsV1::default(),
            message_id: "m@x".into(),
            entries: 1,
        };
        let new: QueueMessage = read(&old);
        assert_eq!((new.size, new.entries, new.wishes), (ByteCount(8), 1, Wishes::default()));
        let old = QueueMessageV2 {
            cid: Cid(1),
            account: AccountId(2),
            account_name: "jane".into(),
            mail_from: ReversePath::Null,
            header_from: None,
            queued: Timestamp(7),
            size: ByteCount(8),
            prefix: 4,
            needs: NeedsV1 { smtputf8: true, eight_bit: true, require_tls: Some(true) },
            message_id: "m@x".into(),
            entries: 1,
            wishes: Wishes { envelope_id: "e".into(), ..Wishes::default() },
        };
        let bytes = postcard::to_extend(&old, vec![2]).unwrap();
        let new: QueueMessage = decode(b"k", &bytes).unwrap();
        let needs = Needs { smtputf8: true, eight_bit: true, require_tls: Some(true), binary: false };
        assert_eq!((new.needs, new.wishes), (needs, old.wishes));
        let scram = || Scram { iterations: 1, salt: vec![1], stored_key: vec![2], server_key: vec![3] };
        let argon2 = Argon2 { memory_kib: 1, passes: 1, lanes: 1, salt: vec![4], hash: vec![5] };
        let old = SecretsV1 { set: Timestamp(9), argon2, scram_sha1: scram(), scram_sha256: scram() };
        let new: Secrets = read(&old);
        assert!(new.set == Timestamp(9) && new.scram_sha256.salt == [1] && new.cram.is_none());
    }
}
