//! Limits of the store towards its peers.

use std::time::Duration;

/// Events before one watcher; beyond it the watcher has to start again.
pub const WAITING_EVENTS: usize = 10_000;
/// Events in one item of a change stream, so that it fits a frame.
pub const PIECE_EVENTS: usize = 2_000;
/// Records in one item of a list, and their octets.
pub const LIST_RECORDS: usize = 1_000;
/// See [`LIST_RECORDS`].
pub const LIST_OCTETS: usize = 256 << 10;
/// Messages of a snapshot in one item.
pub const SNAPSHOT_MESSAGES: usize = 20_000;
/// Octets of the entries in one reply of the queue.
pub const PAGE_OCTETS: usize = 512 << 10;
/// Octets of a recipient's RFC 3461 parameters, each; RFC 3461 §4.2 allows 500 for an address.
pub const DSN_PARAMETER_OCTETS: usize = 1_000;
/// Octets of a Message-ID that are kept beside a queued message.
pub const MESSAGE_ID_OCTETS: usize = 1_000;
/// Staged bodies of one connection.
pub const STAGED: usize = 256;
/// Staged bodies being synced at one time.
pub const SEALING: usize = 16;
/// How long the reply to a request that must be carried out once is kept. Longer than anybody repeats one.
pub const ONCE_AGE: i64 = 4 * libmox_ipc::limits::REPEAT_FOR.as_secs().cast_signed();
/// Such replies forgotten in one change.
pub const ONCE_FORGOTTEN: usize = 10_000;
/// Recipients of one delivery or submission.
pub const RECIPIENTS: usize = 1_000;
/// Mailboxes of an account.
pub const MAILBOXES: usize = 10_000;
/// Keywords ever used in one mailbox, and of one message. A mailbox record has to stay small.
pub const KEYWORDS: usize = 100;
/// Octets of all keywords of a mailbox together.
pub const KEYWORD_OCTETS: usize = 4 << 10;
/// Messages that one copy, flag change or expunge touches at once: the reply with all uids has to fit a frame.
pub const BULK: usize = 50_000;
/// Sessions of one connection.
pub const SESSIONS: usize = 100_000;
/// SCRAM exchanges begun and not finished, over all connections.
pub const EXCHANGES: usize = 10_000;
/// How long such an exchange is good.
pub const EXCHANGE_AGE: Duration = Duration::from_secs(60);
/// How long a password found right is not computed again.
pub const VERIFIED_AGE: Duration = Duration::from_secs(60);
/// Entries of that memory.
pub const VERIFIED: usize = 10_000;
/// Password computations at one time: each takes memory and a processor.
pub const PASSWORD_CHECKS: usize = 2;
/// Password computations waiting; more are refused for now.
pub const PASSWORD_WAITERS: usize = 256;
/// Address classes whose failed logins are counted at one time.
pub const FAILURE_CLASSES: usize = 100_000;
/// After its removal was told to all sessions, a message can still be opened for this long: a session may be in the
/// middle of a command and not allowed to mention it yet.
pub const EXPUNGED_AGE: Duration = Duration::from_secs(60);
/// Due queue entries looked at in one request.
pub const DUE_LOOKED_AT: usize = 10_000;
