//! The key table: everything the index holds. Format 1.
//!
//! Numbers are big endian, so byte order is number order. `a` is the account, 4 bytes; `b` a mailbox, 4 bytes;
//! `m` a message, 8 bytes. A *blob* is a value that may be larger than the index likes: it is cut into chunks under
//! keys that end in a 2-byte chunk number.
//!
//! | key | value |
//! |---|---|
//! | `V` | format version, `u32` |
//! | `S` name | counters and secrets of the system: `accounts`, `queue`, `salt` |
//! | `N` account name | account id |
//! | `A` a `a` | [`crate::records::Account`] |
//! | `A` a `p` | [`crate::records::Secrets`] |
//! | `A` a `b` b | [`crate::records::MailboxRecord`] |
//! | `A` a `n` mailbox name | mailbox id |
//! | `A` a `s` mailbox name | empty: subscribed |
//! | `A` a `m` b uid(4) | [`crate::records::Message`] |
//! | `A` a `i` m | mailbox and uid of the message |
//! | `A` a `x` m chunk(2) | blob: [`crate::records::Cold`] |
//! | `A` a `t` b modseq(8) uid(4) | tombstone: message id |
//! | `A` a `e` m | [`crate::records::Expunged`]: removed, file and blob not yet erased |
//! | `R` a | empty: the account is being removed |
//! | `Q` id(8) | [`crate::records::QueueRecord`] |
//! | `D` due(8) id(8) | empty: entry `id` is due then (not for held ones) |
//! | `M` id(8) | [`crate::records::QueueMessage`], shared by the entries of one message |
//! | `P` id(8) chunk(2) | blob: prefix of a queued message |
//! | `O` at(8) random(8) | reply to a request that must be carried out once |
//!
//! Message files: owner = account id, or 0 for the queue; file number = message id.
//! A format change raises `V`; what is older is rewritten when the store opens it.

use libmox_ipc::OnceKey;
use libmox_types::{AccountId, MailboxId, MailboxName, ModSeq, MsgId, QueueId, Timestamp, Uid};
use std::ops::Bound;

/// The version of the table above and of the records.
pub const FORMAT: u32 = 1;

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

/// Everything of an account.
pub fn account_all(id: AccountId) -> Vec<u8> {
    with(vec![b'A'], &[&id.0.to_be_bytes()])
}

/// The account's record.
pub fn account_record(id: AccountId) -> Vec<u8> {
    account(id, b'a')
}

/// Its secrets.
pub fn secrets(id: AccountId) -> Vec<u8> {
    account(id, b'p')
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

/// All cold parts.
pub fn colds(id: AccountId) -> Vec<u8> {
    account(id, b'x')
}

/// A tombstone.
pub fn tombstone(id: AccountId, mailbox: MailboxId, mod_seq: ModSeq, uid: Uid) -> Vec<u8> {
    with(account(id, b't'), &[&mailbox.0.to_be_bytes(), &mod_seq.0.to_be_bytes(), &uid.0.to_be_bytes()])
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

/// A queue entry.
pub fn queue(id: QueueId) -> Vec<u8> {
    with(vec![b'Q'], &[&id.0.to_be_bytes()])
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

/// Reply to a request that must be carried out once. In order of their times, so that old ones are found.
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
    }

    #[test]
    fn a_prefix_ends_where_the_next_begins() {
        assert_eq!(behind(b"a"), Some(b"b".to_vec()));
        assert_eq!(behind(&[1, 0xff, 0xff]), Some(vec![2]));
        assert_eq!(behind(&[0xff]), None);
    }
}
