//! What one peer may make us hold, count and wait for.

use std::ops::RangeInclusive;
use std::time::Duration;

/// A limit that a setting may move within bounds.
#[derive(Debug, Clone)]
pub struct Limit<T> {
    /// Without a setting.
    pub default: T,
    /// What a setting may say.
    pub allowed: RangeInclusive<T>,
}

/// Octets of a command line with its end. RFC 5321 §4.5.3.1.4 has 512, parameters add to it; row SR-33.
pub const COMMAND_OCTETS: usize = 2_048;
/// Octets of a line within AUTH. RFC 4954 §4.
pub const AUTH_OCTETS: usize = libmox_sasl::LINE_OCTETS + 2;
/// Recipients in one transaction. RFC 5321 §4.5.3.1.8: at least 100 must be taken; row SR-18.
pub const RECIPIENTS: Limit<u32> = Limit { default: 1_000, allowed: 100..=50_000 };
/// Octets of a message. Row SR-01.
pub const MESSAGE_OCTETS: Limit<u64> =
    Limit { default: 100 * 1024 * 1024, allowed: 64 * 1024..=10 * 1024 * 1024 * 1024 };
/// Failed transactions without a good one. Row SR-33.
pub const FAILED_TRANSACTIONS: u32 = 10;
/// Commands that made no sense.
pub const BAD_COMMANDS: u32 = 20;
/// Failed logins after which a connection is served slowly. Rows AU-15, SR-30.
pub const SLOW_AFTER: u32 = 3;
/// Logins that failed on one connection.
pub const FAILED_LOGINS: u32 = 10;
/// `Received` fields: more is a loop. RFC 5321 §6.3; row SR-20.
pub const RECEIVED: u32 = 100;
/// A client may think this long. RFC 5321 §4.5.3.2.7 asks for five minutes.
pub const COMMAND_WAIT: Duration = Duration::from_secs(5 * 60);
/// Between pieces of a message; for replies to leave. Row SR-20.
pub const DATA_WAIT: Duration = Duration::from_secs(30);
/// From MAIL to the end of the message. Row SR-20.
pub const TRANSACTION_WAIT: Duration = Duration::from_secs(30 * 60);
/// How long an address of a test instance that asks for silence gets it. Longer than clients wait.
pub const SIMULATED_SILENCE: Duration = Duration::from_secs(3600);
/// Before the answer when nobody named lives here. Row SR-17.
pub const UNKNOWN_USER_DELAY: Duration = Duration::from_secs(5);
/// RFC 4865 §4: as far into the future as a message may be held. Row SU-07.
pub const HOLD_SECONDS: i64 = 60 * 24 * 3600;

/// Octets of one line of a reply we read. RFC 5321 §4.5.3.1.5 has 512; some servers do not.
pub const REPLY_LINE_OCTETS: usize = 4_096;
/// Octets of a whole reply we read.
pub const REPLY_OCTETS: usize = 64 * 1024;
/// Commands sent before replies are read: what socket buffers hold for sure (RFC 2920 §3.1).
pub const FLIGHT: usize = 100;
