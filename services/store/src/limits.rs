//! Limits of the store towards its peers.

use std::time::Duration;

/// Events before one watcher; beyond it the watcher has to start again.
pub const WAITING_EVENTS: usize = 10_000;
/// Events in one item of a change stream, so that it fits a frame.
pub const PIECE_EVENTS: usize = 2_000;
/// Records in one item of a list, and their octets.
pub const LIST_RECORDS: usize = 2_000;
/// See [`LIST_RECORDS`].
pub const LIST_OCTETS: usize = 256 << 10;
/// Rows in memory that are looked up further at one time: while they are copied, changes of the account wait.
pub const ROWS_TOGETHER: usize = 500;
/// Octets of the messages that are opened together.
pub const OPENED_OCTETS: usize = 512 << 10;
/// Messages of a snapshot in one item.
pub const SNAPSHOT_MESSAGES: usize = 20_000;
/// Entries of others that are passed on the way to the next structure of a list, before it is looked for anew.
pub const STRUCTURES_PASSED: usize = if cfg!(test) { 2 } else { 8 };
/// A mailbox of so many messages is read before anything is told of it, if it has to be read: that takes less than
/// [`OPENED_AHEAD`].
pub const OPENED_WHOLE: usize = if cfg!(test) { 3 } else { 2_000 };
/// Of a larger one, what was asked for first is told so long before the reading begins.
pub const OPENED_AHEAD: Duration = Duration::from_millis(if cfg!(test) { 0 } else { 2 });
/// Messages at either end of a mailbox that are looked at for the first without `\Seen` before all of them are read.
pub const UNSEEN_LOOKED_AT: usize = if cfg!(test) { 10 } else { 200 };
/// Octets of the entries in one reply of the queue.
pub const PAGE_OCTETS: usize = 512 << 10;
/// Octets of a recipient's RFC 3461 parameters, each; RFC 3461 §4.2 allows 500 for an address.
pub const DSN_PARAMETER_OCTETS: usize = 1_000;
/// Octets of a Message-ID that are kept beside a queued message.
pub const MESSAGE_ID_OCTETS: usize = 1_000;
/// Staged bodies of one connection: those of all sessions that a service has.
pub const STAGED: usize = if cfg!(test) { 256 } else { 4096 };
/// Messages of one append.
pub const APPENDED: usize = 256;
/// Lists of messages that are read at one time: each is all in memory.
pub const LISTS: usize = 2;
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
/// Messages of one change whose flags are told each by itself; of more it is told which they are.
pub const FLAGS_TOLD: usize = 128;
/// Messages whose flags one change of the index changes. Tests do it in more steps.
pub const FLAGS_AT_ONCE: usize = if cfg!(test) { 150 } else { 25_000 };
/// Messages whose flags are changed one by one; with more, one patch changes all of them. Tests patch few.
pub const FLAGS_PATCHED: u64 = if cfg!(test) { 3 } else { FLAGS_TOLD as u64 };
/// Ranges in a set of messages that one reply carries.
pub const FLAGGED_RANGES: usize = 50_000;
/// Removals that a mailbox remembers; with more the oldest half is forgotten. Tests forget sooner.
pub const TOMBSTONES: usize = if cfg!(test) { 200 } else { 20_000 };
/// Removals told from memory; a reader that missed more takes the messages that are there for the truth.
pub const VANISHED: usize = 50_000;
/// Sessions of one connection.
pub const SESSIONS: usize = 100_000;
/// SCRAM exchanges begun and not finished, over all connections.
pub const EXCHANGES: usize = 10_000;
/// How long such an exchange is good.
pub const EXCHANGE_AGE: Duration = Duration::from_secs(60);
/// How long a password found right is not computed again. Row AU-18.
pub const VERIFIED_AGE: Duration = Duration::from_secs(15 * 60);
/// Entries of that memory.
pub const VERIFIED: usize = 10_000;
/// Password computations at one time: each takes memory and a processor.
pub const PASSWORD_CHECKS: usize = 2;
/// Password computations waiting; more are refused for now.
pub const PASSWORD_WAITERS: usize = 256;
/// Address classes whose failed logins are counted at one time, for each window.
pub const FAILURE_CLASSES: usize = 100_000;
/// Failed logins of a day, as a multiple of those of a minute. Row AU-15.
pub const FAILURES_A_DAY: u64 = 5;
/// App passwords of one account: each is tried in an exchange.
pub const APP_PASSWORDS: usize = 100;
/// Keys of TLS client certificates of one account.
pub const TLS_KEYS: usize = 100;
/// Characters of the name of either.
pub const CREDENTIAL_NAME: usize = 100;
/// How long the record of a login waits for what the client calls itself. Row AU-14.
pub const AGENT_WAIT: Duration = Duration::from_secs(1);
/// After its removal was told to all sessions, a message can still be opened for this long: a session may be in the
/// middle of a command and not allowed to mention it yet.
pub const EXPUNGED_AGE: Duration = Duration::from_secs(60);
/// Sizes of messages repaired in one change.
pub const REPAIRED: usize = 20_000;
/// Due queue entries looked at in one request.
pub const DUE_LOOKED_AT: usize = 10_000;
/// Messages with one Message-ID, or with one subject, that are looked at for a parent.
pub const THREAD_CANDIDATES: usize = 10;
/// Ancestors that a message remembers: the nearest, and the root.
pub const THREAD_PARENTS: usize = 200;
/// Messages assigned before the one that builds on them, in one go: hostile references nest as deep as they like.
pub const THREAD_DEPTH: usize = 64;
/// How old a message may be to be found by its subject, in seconds. Row ST-31.
pub const THREAD_SUBJECT_AGE: i64 = 28 * 24 * 3600;
/// Messages of one thread that are muted or listed at once.
pub const THREAD_BULK: usize = 1_000;
/// Messages in one step of an upgrade: everybody else waits that long for the account.
pub const UPGRADE_STEP: usize = 200;
/// Rejects kept in an account. Row ST-29.
pub const REJECTS: usize = 1_000;
/// How long they are kept, in seconds.
pub const REJECT_AGE: i64 = 14 * 24 * 3600;
/// Rejects kept for one account in a minute; more are refused without a trace.
pub const REJECTS_PER_MINUTE: u32 = 60;
/// Classes of addresses, of all accounts, whose deliveries are counted. Row SR-32.
pub const DELIVERY_CLASSES: usize = 100_000;
/// Messages of a day, in those of a minute.
pub const DELIVERY_DAY_MESSAGES: u64 = 20;
/// Octets of a day, in those of a minute.
pub const DELIVERY_DAY_OCTETS: u64 = 3;
/// Logins waiting to be recorded; more are not.
pub const ATTEMPTS_WAITING: usize = 1_000;
/// Records of failed logins of one account, and of names that nobody has. Rows AU-13, TR-54.
pub const ATTEMPTS: u32 = 10_000;
/// How long they are kept, in seconds.
pub const ATTEMPT_AGE: i64 = 30 * 24 * 3600;
/// Characters kept of what a client calls itself.
pub const ATTEMPT_TEXT: usize = 200;
/// Cached values of all kinds.
pub const CACHED: u64 = 100_000;
/// Octets of the name of one.
pub const CACHE_NAME_OCTETS: usize = 500;
/// Of them looked at for ended ones with each that is put.
pub const CACHE_SWEEP: usize = 100;
/// How long it is known what an account sent, in seconds.
pub const SENT_AGE: i64 = 2 * 24 * 3600;
/// Of what is older, forgotten with each message.
pub const SENT_SWEEP: usize = 2_000;
/// Recipients counted for the limits of an account.
pub const SENT_LOOKED_AT: u32 = 100_000;
/// Retired entries forgotten with each change of the queue.
pub const RETIRED_SWEEP: usize = 100;
/// Hold rules of the queue.
pub const HOLD_RULES: usize = 1000;

/// Suppressed addresses of one account.
pub const SUPPRESSED: usize = 10_000;
/// Decisions waiting to be recorded; more are not.
pub const DECISIONS_WAITING: usize = 1_000;
/// Evaluations and reports waiting to be recorded; who brings more waits.
pub const FEEDBACK_WAITING: usize = 1_000;
/// How long evaluations are kept, in seconds. Row MA-14.
pub const EVALUATION_AGE: i64 = 48 * 3600;
/// Of what is too old or too many, forgotten with each change besides as many as came.
pub const FEEDBACK_SWEEP: usize = 1_000;
/// Evaluations and reports shown at once.
pub const EVALUATIONS_FOUND: usize = 500;
pub const REPORTS_FOUND: usize = 50;
/// Octets of the texts of one evaluation: a record stays below 8 KiB.
pub const EVALUATION_OCTETS: usize = 5_000;
/// Decisions shown for one connection or Message-ID.
pub const DECISIONS_FOUND: usize = 100;
/// Characters of one text of a decision.
pub const DECISION_TEXT: usize = 500;
/// Octets of all of them: a record stays below 8 KiB.
pub const DECISION_CHAIN: usize = 5_000;
/// Messages whose list rows are in memory, over all accounts: some 60 octets each.
pub const HOT_ROWS: usize = 500_000;
/// A list of fewer messages is not worth loading a mailbox for. Tests load all of them, to see that they stay right.
pub const HOT_WORTH: u64 = if cfg!(test) { 1 } else { 200 };
/// Different words of a message that the junk filter looks at.
pub const WORDS: usize = 3_000;
/// Octets of the words that a message is handed in with.
pub const WORD_OCTETS: usize = libmox_store::WORD_OCTETS;
/// Messages learnt as no junk before the filter says anything. Row JK-06.
pub const JUNK_SIGNIFICANT: u32 = 50;
/// Words in the bloom filter of an account before it begins anew: 2 million bits.
pub const JUNK_ONCE: u32 = 300_000;
/// Words that take as much memory as one row of a list.
pub const WORDS_OF_A_ROW: usize = 4;
/// Mailboxes read at a time for a list of them.
pub const MAILBOX_PAGE: usize = 500;
