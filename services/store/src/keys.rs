//! The key table: everything the index holds. Format 2.
//!
//! Numbers are big endian, so byte order is number order. `a` is the account, 4 bytes; `b` a mailbox, 4 bytes;
//! `m` a message, 8 bytes. A *blob* is a value that may be larger than the index likes: it is cut into chunks under
//! keys that end in a 2-byte chunk number.
//!
//! | key | value |
//! |---|---|
//! | `V` | format version, `u32` |
//! | `S` name | counters and secrets of the system: `accounts`, `queue`, `salt`, `cached`, `decisions`, and `feedback` with a kind of it |
//! | `N` account name | account id |
//! | `A` a `a` | [`crate::records::Account`] |
//! | `A` a `p` | [`crate::records::Secrets`] |
//! | `A` a `P` name | [`crate::records::AppRecord`]: an app password |
//! | `A` a `K` fingerprint | [`crate::records::TlsKeyRecord`]: a key of TLS client certificates |
//! | `A` a `b` b | [`crate::records::MailboxRecord`] |
//! | `A` a `n` mailbox name | mailbox id |
//! | `A` a `s` mailbox name | empty: subscribed |
//! | `A` a `z` b | secret behind the tokens of URLs into the mailbox |
//! | `A` a `m` b uid(4) | [`crate::records::Message`] |
//! | `A` a `i` m | mailbox and uid of the message |
//! | `A` a `x` m chunk(2) | blob: [`crate::records::Cold`] |
//! | `A` a `t` b modseq(8) uid(4) | tombstone: message id |
//! | `A` a `B` b | [`crate::records::Removals`]: how many tombstones there are, and what is forgotten |
//! | `A` a `e` m | [`crate::records::Expunged`]: removed, file and blob not yet erased |
//! | `A` a `h` m | [`crate::records::Ties`]: what ties the message to others |
//! | `A` a `M` hash(16) m | empty: messages by Message-ID |
//! | `A` a `S` hash(16) newest(8) m | empty: messages by base subject, newest first |
//! | `A` a `T` thread(8) m | empty: the messages of a thread |
//! | `A` a `r` newest(8) m | SHA-256 of the file: the rejects, newest first |
//! | `A` a `j` hash(16) m | empty: rejects by content |
//! | `A` a `f` hash(16) | [`crate::records::Heard`]: an address that mail came from |
//! | `A` a `g` class(1) hash(16) b newest(8) m | what was thought of the message: see `signals.rs` |
//! | `A` a `y` | [`crate::junk::Filter`]: totals of the junk filter |
//! | `A` a `w` word(4) | counts of a word: see `junk/mod.rs` |
//! | `A` a `q` block(2) | generation(1) and bits of the bloom filter of words seen once |
//! | `A` a `W` m chunk(2) | blob: the words of a message, 4 bytes each |
//! | `A` a `c` m | which of them were counted, a bit each |
//! | `E` number(8) | [`libmox_store::Decided`]: what was decided about a message, see `decisions.rs` |
//! | `F` hash(16) number(8) | empty: decisions by connection and by Message-ID |
//! | `G` kind(1) number(8) | [`libmox_store::Evaluation`] or [`libmox_store::ReportKept`], see `feedback.rs` |
//! | `R` a | empty: the account is being removed |
//! | `A` a `k` b name | [`crate::records::AnnotationRecord`]; mailbox 0 is the account |
//! | `A` a `v` b name 0 chunk(2) | blob: value of the annotation |
//! | `A` a `d` domain | [`libmox_store::TlsSupport`] of the servers of a domain |
//! | `A` a `o` domain 0 local | [`crate::records::WroteRecord`]: an address the account wrote to |
//! | `A` a `O` `d` or `o` hash(16) | the same for its domain, and for its organisational domain |
//! | `A` a `u` newest(8) id(8) | address of a recipient: what was sent lately |
//! | `A` a `U` base address | [`libmox_store::Suppressed`] |
//! | `A` a `F` address | empty: an envelope sender that was made for one message (row SU-08) |
//! | `H` fingerprint | account with that TLS key |
//! | `L` a newest(8) hash(16) | [`libmox_store::LoginAttempt`]; account 0 is nobody |
//! | `l` a hash(16) | time in the key above |
//! | `K` a | number of `L` of the account that are failures |
//! | `C` kind(1) name | [`crate::records::CacheRecord`] |
//! | `c` kind(1) name 0 chunk(2) | blob: the cached value |
//! | `Y` id(8) | [`libmox_store::Retired`]: left the queue |
//! | `y` until(8) id(8) | empty: it is kept until then |
//! | `Q` id(8) | [`crate::records::QueueRecord`] |
//! | `D` due(8) id(8) | empty: entry `id` is due then (not for held ones) |
//! | `M` id(8) | [`crate::records::QueueMessage`], shared by the entries of one message |
//! | `P` id(8) chunk(2) | blob: prefix of a queued message |
//! | `Z` id(4) | [`libmox_store::HoldRule`]: what is held as it is queued |
//! | `O` at(8) random(8) chunk(2) | blob: reply to a request that must be carried out once |
//!
//! `hash` is the front of a SHA-256; `newest` is a time whose order is turned round.
//!
//! Message files: owner = account id, or 0 for the queue; file number = message id.
//! A change of this table raises `V`; a change of a record raises the record's version, and older ones stay readable.
//! What has to be made anew for old records is made by the upgrade of each account ([`crate::upgrade`]).

use libmox_ipc::OnceKey;
use libmox_types::{
    AccountId, Address, Domain, MailboxId, MailboxName, ModSeq, MsgId, QueueId, Timestamp, Uid,
};
use std::ops::Bound;

/// The version of the table above and of the records.
pub const FORMAT: u32 = 2;

/// The oldest one that is still read.
pub const OLDEST_FORMAT: u32 = 1;

/// The front of a SHA-256.
pub type Hash = [u8; 16];

/// What stands for a text in a key.
pub fn hash(parts: &[&[u8]]) -> Hash {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    parts.iter().for_each(|part| context.update(part));
    let mut front = [0; 16];
    front.copy_from_slice(&context.finish().as_ref()[..16]);
    front
}

/// A time whose later values sort first.
pub fn newest(at: Timestamp) -> [u8; 8] {
    (!(at.0.cast_unsigned() ^ (1 << 63))).to_be_bytes()
}

/// The time of such bytes.
pub fn newest_time(bytes: &[u8]) -> Option<Timestamp> {
    let bytes = u64::from_be_bytes(bytes.try_into().ok()?);
    Some(Timestamp((!bytes ^ (1 << 63)).cast_signed()))
}

/// Bytes of one chunk of a blob.
pub const CHUNK: usize = 7 << 10;

/// Format version.
pub const VERSION: &[u8] = b"V";
/// Next account id.
pub const ACCOUNTS: &[u8] = b"Saccounts";
/// [`crate::records::QueueState`].
pub const QUEUE: &[u8] = b"Squeue";
/// Secret for the salts of users that do not exist.
pub const SALT: &[u8] = b"Ssalt";
/// Number of cached values.
pub const CACHED: &[u8] = b"Scached";

/// [`crate::decisions::DecisionState`].
pub const DECISIONS: &[u8] = b"Sdecisions";

/// A decision.
pub fn decision(number: u64) -> Vec<u8> {
    with(vec![b'E'], &[&number.to_be_bytes()])
}

/// Decisions by name.
pub fn decision_names(name: &Hash) -> Vec<u8> {
    with(vec![b'F'], &[name])
}

/// One of them.
pub fn decision_name(name: &Hash, number: u64) -> Vec<u8> {
    with(vec![b'F'], &[name, &number.to_be_bytes()])
}

/// [`crate::decisions::DecisionState`] of one kind of feedback.
pub fn feedback_state(kind: u8) -> Vec<u8> {
    with(b"Sfeedback".to_vec(), &[&[kind]])
}

/// All feedback of one kind.
pub fn feedbacks(kind: u8) -> Vec<u8> {
    vec![b'G', kind]
}

/// One of it.
pub fn feedback(kind: u8, number: u64) -> Vec<u8> {
    with(feedbacks(kind), &[&number.to_be_bytes()])
}

/// Hold rules.
pub const HOLD_RULES: &[u8] = b"Z";

/// One of them.
pub fn hold_rule(id: u32) -> Vec<u8> {
    with(HOLD_RULES.to_vec(), &[&id.to_be_bytes()])
}

/// Its id.
pub fn hold_rule_id(key: &[u8]) -> u32 {
    key.get(1..).and_then(|id| id.try_into().ok()).map_or(0, u32::from_be_bytes)
}

/// Removals of accounts that are not finished.
pub const REMOVALS: &[u8] = b"R";

/// One of them.
pub fn removal(id: AccountId) -> Vec<u8> {
    with(vec![b'R'], &[&id.0.to_be_bytes()])
}

/// Account by name.
pub fn account_name(name: &str) -> Vec<u8> {
    [b"N", name.as_bytes()].concat()
}

fn account(account: AccountId, kind: u8) -> Vec<u8> {
    let mut key = Vec::with_capacity(24);
    key.push(b'A');
    key.extend_from_slice(&account.0.to_be_bytes());
    key.push(kind);
    key
}

fn with(mut key: Vec<u8>, parts: &[&[u8]]) -> Vec<u8> {
    parts.iter().for_each(|part| key.extend_from_slice(part));
    key
}

/// Everything of an account: what all its keys begin with.
pub fn all_of_account(id: AccountId) -> [Vec<u8>; 4] {
    [b'A', b'L', b'l', b'K'].map(|kind| with(vec![kind], &[&id.0.to_be_bytes()]))
}

/// The account's record.
pub fn account_record(id: AccountId) -> Vec<u8> {
    account(id, b'a')
}

/// Its secrets.
pub fn secrets(id: AccountId) -> Vec<u8> {
    account(id, b'p')
}

/// App passwords.
pub fn app_passwords(id: AccountId) -> Vec<u8> {
    account(id, b'P')
}

/// One of them.
pub fn app_password(id: AccountId, name: &str) -> Vec<u8> {
    with(account(id, b'P'), &[name.as_bytes()])
}

/// Keys of TLS client certificates.
pub fn tls_keys(id: AccountId) -> Vec<u8> {
    account(id, b'K')
}

/// One of them.
pub fn tls_key(id: AccountId, fingerprint: &str) -> Vec<u8> {
    with(account(id, b'K'), &[fingerprint.as_bytes()])
}

/// An envelope sender that was made for one message.
pub fn unique_sender(id: AccountId, sender: &Address) -> Vec<u8> {
    with(account(id, b'F'), &[sender.to_string().as_bytes()])
}

/// Whose a key is.
pub fn tls_key_owner(fingerprint: &str) -> Vec<u8> {
    [b"H", fingerprint.as_bytes()].concat()
}

/// All mailboxes.
pub fn mailboxes(id: AccountId) -> Vec<u8> {
    account(id, b'b')
}

/// One mailbox.
pub fn mailbox(id: AccountId, mailbox: MailboxId) -> Vec<u8> {
    with(account(id, b'b'), &[&mailbox.0.to_be_bytes()])
}

/// Mailbox by name.
pub fn mailbox_name(id: AccountId, name: &MailboxName) -> Vec<u8> {
    with(account(id, b'n'), &[name.as_str().as_bytes()])
}

/// All names.
pub fn mailbox_names(id: AccountId) -> Vec<u8> {
    account(id, b'n')
}

/// One subscription.
pub fn subscription(id: AccountId, name: &MailboxName) -> Vec<u8> {
    with(account(id, b's'), &[name.as_str().as_bytes()])
}

/// All subscriptions.
pub fn subscriptions(id: AccountId) -> Vec<u8> {
    account(id, b's')
}

/// Messages of a mailbox.
pub fn messages(id: AccountId, mailbox: MailboxId) -> Vec<u8> {
    with(account(id, b'm'), &[&mailbox.0.to_be_bytes()])
}

/// One message.
pub fn message(id: AccountId, mailbox: MailboxId, uid: Uid) -> Vec<u8> {
    with(account(id, b'm'), &[&mailbox.0.to_be_bytes(), &uid.0.to_be_bytes()])
}

/// The uid at the end of a message's key.
pub fn message_uid(key: &[u8]) -> Option<Uid> {
    Some(Uid(u32::from_be_bytes(key.get(key.len().checked_sub(4)?..)?.try_into().ok()?)))
}

/// Where a message is.
pub fn place(id: AccountId, message: MsgId) -> Vec<u8> {
    with(account(id, b'i'), &[&message.0.to_be_bytes()])
}

/// All places.
pub fn places(id: AccountId) -> Vec<u8> {
    account(id, b'i')
}

/// The message id at the end of a key.
pub fn last_id(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.get(key.len().checked_sub(8)?..)?.try_into().ok()?))
}

/// Cold part of a message, without the chunk number.
pub fn cold(id: AccountId, message: MsgId) -> Vec<u8> {
    with(account(id, b'x'), &[&message.0.to_be_bytes()])
}

/// The message and the number of the chunk at the end of a key of a cold part.
pub fn cold_part(key: &[u8]) -> Option<(MsgId, u16)> {
    let (id, chunk) = key.get(key.len().checked_sub(10)?..)?.split_first_chunk::<8>()?;
    Some((MsgId(u64::from_be_bytes(*id)), u16::from_be_bytes(chunk.try_into().ok()?)))
}

/// All cold parts.
pub fn colds(id: AccountId) -> Vec<u8> {
    account(id, b'x')
}

/// A tombstone.
pub fn tombstone(id: AccountId, mailbox: MailboxId, mod_seq: ModSeq, uid: Uid) -> Vec<u8> {
    with(account(id, b't'), &[&mailbox.0.to_be_bytes(), &mod_seq.0.to_be_bytes(), &uid.0.to_be_bytes()])
}

/// What is known of the tombstones of a mailbox.
pub fn removals(id: AccountId, mailbox: MailboxId) -> Vec<u8> {
    with(account(id, b'B'), &[&mailbox.0.to_be_bytes()])
}

/// The modseq in the key of a tombstone.
pub fn tombstone_mod_seq(key: &[u8]) -> Option<ModSeq> {
    let at = key.len().checked_sub(12)?;
    Some(ModSeq(u64::from_be_bytes(key[at..at + 8].try_into().ok()?)))
}

/// All tombstones of a mailbox.
pub fn tombstones(id: AccountId, mailbox: MailboxId) -> Vec<u8> {
    with(account(id, b't'), &[&mailbox.0.to_be_bytes()])
}

/// A removed message that is not erased yet.
pub fn expunged(id: AccountId, message: MsgId) -> Vec<u8> {
    with(account(id, b'e'), &[&message.0.to_be_bytes()])
}

/// All of them.
pub fn all_expunged(id: AccountId) -> Vec<u8> {
    account(id, b'e')
}

/// What ties a message to others.
pub fn ties(id: AccountId, message: MsgId) -> Vec<u8> {
    with(account(id, b'h'), &[&message.0.to_be_bytes()])
}

/// Messages with a Message-ID.
pub fn message_ids(id: AccountId, hash: &Hash) -> Vec<u8> {
    with(account(id, b'M'), &[hash])
}

/// One of them.
pub fn message_id(id: AccountId, hash: &Hash, message: MsgId) -> Vec<u8> {
    with(account(id, b'M'), &[hash, &message.0.to_be_bytes()])
}

/// Messages with a base subject, newest first.
pub fn subjects(id: AccountId, hash: &Hash) -> Vec<u8> {
    with(account(id, b'S'), &[hash])
}

/// One of them.
pub fn subject(id: AccountId, hash: &Hash, received: Timestamp, message: MsgId) -> Vec<u8> {
    with(account(id, b'S'), &[hash, &newest(received), &message.0.to_be_bytes()])
}

/// Messages of a thread.
pub fn thread(id: AccountId, thread: MsgId) -> Vec<u8> {
    with(account(id, b'T'), &[&thread.0.to_be_bytes()])
}

/// One of them.
pub fn thread_member(id: AccountId, thread: MsgId, message: MsgId) -> Vec<u8> {
    with(account(id, b'T'), &[&thread.0.to_be_bytes(), &message.0.to_be_bytes()])
}

/// All rejects, newest first.
pub fn rejects(id: AccountId) -> Vec<u8> {
    account(id, b'r')
}

/// One of them.
pub fn reject(id: AccountId, received: Timestamp, message: MsgId) -> Vec<u8> {
    with(account(id, b'r'), &[&newest(received), &message.0.to_be_bytes()])
}

/// Rejects with a content.
pub fn reject_contents(id: AccountId, hash: &Hash) -> Vec<u8> {
    with(account(id, b'j'), &[hash])
}

/// One of them.
pub fn reject_content(id: AccountId, hash: &Hash, message: MsgId) -> Vec<u8> {
    with(account(id, b'j'), &[hash, &message.0.to_be_bytes()])
}

/// An address that mail came from.
pub fn heard(id: AccountId, hash: &Hash) -> Vec<u8> {
    with(account(id, b'f'), &[hash])
}

/// What was thought of messages with a signal, delivered to a mailbox, newest first.
pub fn signals(id: AccountId, class: u8, hash: &Hash, original: MailboxId) -> Vec<u8> {
    with(account(id, b'g'), &[&[class], hash, &original.0.to_be_bytes()])
}

/// One of them.
pub fn signal(
    id: AccountId,
    class: u8,
    hash: &Hash,
    original: MailboxId,
    received: Timestamp,
    message: MsgId,
) -> Vec<u8> {
    with(signals(id, class, hash, original), &[&newest(received), &message.0.to_be_bytes()])
}

/// Totals of the junk filter.
pub fn junk_filter(id: AccountId) -> Vec<u8> {
    account(id, b'y')
}

/// All words of the junk filter.
pub fn junk_words(id: AccountId) -> Vec<u8> {
    account(id, b'w')
}

/// One of them.
pub fn junk_word(id: AccountId, word: u32) -> Vec<u8> {
    with(account(id, b'w'), &[&word.to_be_bytes()])
}

/// The word at the end of such a key.
pub fn last_word(key: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(key.get(key.len().checked_sub(4)?..)?.try_into().ok()?))
}

/// All blocks of the bloom filter.
pub fn junk_blocks(id: AccountId) -> Vec<u8> {
    account(id, b'q')
}

/// One of them.
pub fn junk_block(id: AccountId, block: u16) -> Vec<u8> {
    with(account(id, b'q'), &[&block.to_be_bytes()])
}

/// Words of a message, without the chunk number.
pub fn words(id: AccountId, message: MsgId) -> Vec<u8> {
    with(account(id, b'W'), &[&message.0.to_be_bytes()])
}

/// Of which words of a message were counted.
pub fn counted(id: AccountId, message: MsgId) -> Vec<u8> {
    with(account(id, b'c'), &[&message.0.to_be_bytes()])
}

/// All of them.
pub fn all_counted(id: AccountId) -> Vec<u8> {
    account(id, b'c')
}

/// Secrets behind the tokens of URLs.
pub fn url_keys(id: AccountId) -> Vec<u8> {
    account(id, b'z')
}

/// The one of a mailbox.
pub fn url_key(id: AccountId, mailbox: MailboxId) -> Vec<u8> {
    with(account(id, b'z'), &[&mailbox.0.to_be_bytes()])
}

/// Annotations of a mailbox, or of the account.
pub fn annotations(id: AccountId, mailbox: MailboxId) -> Vec<u8> {
    with(account(id, b'k'), &[&mailbox.0.to_be_bytes()])
}

/// One of them.
pub fn annotation(id: AccountId, mailbox: MailboxId, name: &str) -> Vec<u8> {
    with(annotations(id, mailbox), &[name.as_bytes()])
}

/// Its value, without the chunk number.
pub fn annotation_value(id: AccountId, mailbox: MailboxId, name: &str) -> Vec<u8> {
    with(account(id, b'v'), &[&mailbox.0.to_be_bytes(), name.as_bytes(), &[0]])
}

/// What the servers of a domain can do.
pub fn tls_support(id: AccountId, domain: &Domain) -> Vec<u8> {
    with(account(id, b'd'), &[domain.ascii().as_bytes()])
}

/// An address the account wrote to, whatever its case.
pub fn wrote(id: AccountId, address: &Address) -> Vec<u8> {
    let local = address.local.as_str().to_lowercase();
    with(account(id, b'o'), &[address.domain.ascii().as_bytes(), &[0], local.as_bytes()])
}

/// When the account wrote to a domain.
pub fn wrote_domain(id: AccountId, domain: &Domain) -> Vec<u8> {
    with(account(id, b'O'), &[b"d", &hash(&[domain.ascii().as_bytes()])])
}

/// When it wrote to anybody of an organisation.
pub fn wrote_organisation(id: AccountId, domain: &Domain) -> Vec<u8> {
    with(account(id, b'O'), &[b"o", &hash(&[domain.ascii().as_bytes()])])
}

/// What was sent, newest first.
pub fn sent(id: AccountId) -> Vec<u8> {
    account(id, b'u')
}

/// One recipient.
pub fn sent_to(id: AccountId, at: Timestamp, entry: QueueId) -> Vec<u8> {
    with(account(id, b'u'), &[&newest(at), &entry.0.to_be_bytes()])
}

/// Suppressed addresses.
pub fn suppressions(id: AccountId) -> Vec<u8> {
    account(id, b'U')
}

/// One of them.
pub fn suppression(id: AccountId, base: &str) -> Vec<u8> {
    with(account(id, b'U'), &[base.as_bytes()])
}

/// Logins of an account, newest first.
pub fn attempts(id: AccountId) -> Vec<u8> {
    with(vec![b'L'], &[&id.0.to_be_bytes()])
}

/// Those of one day that are alike.
pub fn attempt(id: AccountId, last: Timestamp, hash: &Hash) -> Vec<u8> {
    with(attempts(id), &[&newest(last), hash])
}

/// Where those that are alike stand.
pub fn attempt_place(id: AccountId, hash: &Hash) -> Vec<u8> {
    with(vec![b'l'], &[&id.0.to_be_bytes(), hash])
}

/// How many there are.
pub fn attempt_count(id: AccountId) -> Vec<u8> {
    with(vec![b'K'], &[&id.0.to_be_bytes()])
}

/// Cached values of a kind.
pub fn caches(kind: u8) -> Vec<u8> {
    vec![b'C', kind]
}

/// One of them.
pub fn cache(kind: u8, name: &str) -> Vec<u8> {
    with(caches(kind), &[name.as_bytes()])
}

/// Its value, without the chunk number.
pub fn cache_value(kind: u8, name: &str) -> Vec<u8> {
    with(vec![b'c', kind], &[name.as_bytes(), &[0]])
}

/// An entry that left the queue.
pub fn retired(id: QueueId) -> Vec<u8> {
    with(vec![b'Y'], &[&id.0.to_be_bytes()])
}

/// Until when it is kept.
pub fn retired_until(at: Timestamp, id: QueueId) -> Vec<u8> {
    with(vec![b'y'], &[&u64::try_from(at.0).unwrap_or(0).to_be_bytes(), &id.0.to_be_bytes()])
}

/// Everything of one kind in an account, for the check.
pub fn of_kind(id: AccountId, kind: u8) -> Vec<u8> {
    account(id, kind)
}

/// Entries of the queue.
pub const QUEUED: &[u8] = b"Q";

/// A queue entry.
pub fn queue(id: QueueId) -> Vec<u8> {
    with(QUEUED.to_vec(), &[&id.0.to_be_bytes()])
}

/// When an entry is due. Times before 1970 sort as 1970.
pub fn due(at: Timestamp, id: QueueId) -> Vec<u8> {
    with(vec![b'D'], &[&u64::try_from(at.0).unwrap_or(0).to_be_bytes(), &id.0.to_be_bytes()])
}

/// The parts of such a key.
pub fn due_parts(key: &[u8]) -> Option<(Timestamp, QueueId)> {
    let at = u64::from_be_bytes(key.get(1..9)?.try_into().ok()?);
    let id = u64::from_be_bytes(key.get(9..17)?.try_into().ok()?);
    Some((Timestamp(i64::try_from(at).unwrap_or(i64::MAX)), QueueId(id)))
}

/// What the entries of a message share.
pub fn queue_message(id: QueueId) -> Vec<u8> {
    with(vec![b'M'], &[&id.0.to_be_bytes()])
}

/// Reply to a request that must be carried out once, without the chunk number. In order of their times, so that old
/// ones are found.
pub fn once(key: OnceKey) -> Vec<u8> {
    with(vec![b'O'], &[&key.at.to_be_bytes(), &key.random.to_be_bytes()])
}

/// Prefix of a queued message, without the chunk number.
pub fn queue_prefix(id: QueueId) -> Vec<u8> {
    with(vec![b'P'], &[&id.0.to_be_bytes()])
}

/// The first key behind all that begin with `prefix`, or none if there is none.
pub fn behind(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return Some(end);
        }
    }
    None
}

/// Calls `with` with the range of keys that begin with `prefix`.
pub fn below<T>(prefix: &[u8], with: impl FnOnce((Bound<&[u8]>, Bound<&[u8]>)) -> T) -> T {
    let end = behind(prefix);
    with((Bound::Included(prefix), end.as_deref().map_or(Bound::Unbounded, Bound::Excluded)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_of_bytes_is_order_of_numbers() {
        let a = AccountId(7);
        assert!(message(a, MailboxId(1), Uid(255)) < message(a, MailboxId(1), Uid(256)));
        assert!(message(a, MailboxId(1), Uid(u32::MAX)) < message(a, MailboxId(2), Uid(1)));
        assert!(due(Timestamp(5), QueueId(9)) < due(Timestamp(6), QueueId(1)));
        assert_eq!(due_parts(&due(Timestamp(5), QueueId(9))), Some((Timestamp(5), QueueId(9))));
        assert_eq!(message_uid(&message(a, MailboxId(1), Uid(256))), Some(Uid(256)));
        assert_eq!(last_id(&place(a, MsgId(3))), Some(3));
        assert_eq!(last_id(b"x"), None);
        let at = |seconds| newest(Timestamp(seconds));
        assert!(at(5) < at(4) && at(0) < at(-1) && at(i64::MAX) < at(i64::MIN), "later ones first");
    }

    #[test]
    fn a_prefix_ends_where_the_next_begins() {
        assert_eq!(behind(b"a"), Some(b"b".to_vec()));
        assert_eq!(behind(&[1, 0xff, 0xff]), Some(vec![2]));
        assert_eq!(behind(&[0xff]), None);
    }
}
