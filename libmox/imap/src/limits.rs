//! What one peer may cost, by name.
//!
//! The reader enforces sizes and counts, the session enforces states, the driver enforces the waits.

use std::time::Duration;

/// Octets of a command outside its literals, line ends included. RFC 7162 §4 asks for 8192 at least.
pub const LINE: usize = 16 * 1024;
/// Octets of one literal that is no message. Rows IM-03, TR-03.
pub const LITERAL: u64 = 100 * 1024;
/// Literals in one command.
pub const LITERALS: u32 = 1_000;
/// Octets of all literals of one command together.
pub const LITERALS_TOTAL: u64 = 1024 * 1024;
/// Octets of one literal before login: user names and passwords are short.
pub const LITERAL_BEFORE_LOGIN: u64 = 8 * 1024;
/// Octets of all literals of one command before login.
pub const LITERALS_TOTAL_BEFORE_LOGIN: u64 = 16 * 1024;
/// Octets of a refused command that are read and thrown away before the connection is given up.
pub const SKIP: u64 = 1024 * 1024;
/// Octets in a tag.
pub const TAG: usize = 1_000;
/// Nested search keys; the parser and whoever walks the key recurse this deep at most. `imap_tools` asks for any of so many
/// subjects with as many ORs in one another.
pub const SEARCH_DEPTH: u32 = 150;
/// Search keys in one command.
pub const SEARCH_KEYS: u32 = 1_000;
/// Searches of one connection that are kept up to date.
pub const CONTEXTS: usize = 8;
/// Messages in the result of a sort that is kept up to date: it is sorted anew for each that comes.
pub const SORTED_CONTEXT: usize = 5_000;
/// Changes of the open mailbox that wait for a client that wants them later, as NOTIFY says. Row IM-37.
pub const DELAYED_CHANGES: u64 = 1_000;
/// Event groups in one NOTIFY.
pub const EVENT_GROUPS: usize = 100;
/// Keys in one SORT; there are fewer kinds.
pub const SORT_KEYS: usize = 20;
/// Levels in a body part number; no message has more (RFC 9051 sets none, the message parser does).
pub const PART_DEPTH: usize = 100;
/// Octets of a list pattern once decoded.
pub const PATTERN: usize = 1_000;
/// Patterns in one LIST. Horde names each mailbox it wants the status of.
pub const PATTERNS: usize = 500;
/// Pairs of numbers and uids in QRESYNC. RFC 7162 §3.2.5.2 has clients send few.
pub const MATCHED: u64 = 10_000;
/// Entries of METADATA in one command.
pub const ENTRIES: usize = 1_000;
/// Messages in one APPEND. RFC 3502 names no limit; a large one holds a staged file until the last arrived. There are clients
/// that send 128 at once.
pub const APPEND_MESSAGES: u32 = 250;
/// Octets of one appended message unless the service says otherwise.
pub const APPEND_MESSAGE: u64 = 100 * 1024 * 1024;
/// Octets of a URL. RFC 4467 names no limit; a mailbox name and a section are shorter.
pub const URL: usize = 4 * 1024;
/// URLs in one command.
pub const URLS: usize = 100;
/// Pairs in ID. RFC 2971 §3.3.
pub const ID_PAIRS: usize = 30;
/// Octets of a field name in ID. RFC 2971 §3.3.
pub const ID_FIELD: usize = 30;
/// Octets of a value in ID. RFC 2971 §3.3.
pub const ID_VALUE: usize = 1024;
/// Faults in a row before a connection that never logged in is closed.
pub const FAULTS_BEFORE_LOGIN: u32 = 10;
/// Faults in a row before a signed-in connection is closed.
pub const FAULTS: u32 = 100;
/// Failed logins before the connection is closed.
pub const LOGIN_FAILURES: u32 = 10;

/// How long a command runs before its client is told that it still does. RFC 9585.
pub const PROGRESS: Duration = Duration::from_secs(10);
/// Silence allowed before login. Row IM-02.
pub const WAIT_BEFORE_LOGIN: Duration = Duration::from_secs(30);
/// Silence allowed after login. RFC 9051 §5.4: at least 30 minutes.
pub const WAIT: Duration = Duration::from_secs(30 * 60);
/// How long a peer may refuse to take what we write.
pub const WRITE_WAIT: Duration = Duration::from_secs(5 * 60);
/// Failed logins after which a connection is served slowly. Rows AU-15, IM-48.
pub const SLOW_AFTER: u32 = 3;
