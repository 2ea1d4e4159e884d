//! Waits and counts of deliveries.

use std::time::Duration;

/// One attempt to connect. Row QU-24.
pub const DIAL: Duration = Duration::from_secs(30);
/// A reply to a command. RFC 5321 §4.5.3.2: five minutes for most.
pub const REPLY: Duration = Duration::from_secs(300);
/// A block of data being sent. RFC 5321 §4.5.3.2.5.
pub const BLOCK: Duration = Duration::from_secs(180);
/// The reply to the end of data. RFC 5321 §4.5.3.2.6.
pub const END_OF_DATA: Duration = Duration::from_secs(600);
/// A delivery with all its hosts. Row QU-24.
pub const DELIVERY: Duration = Duration::from_secs(30 * 60);
/// MX hosts tried in one attempt.
pub const HOSTS: usize = 20;
/// Addresses tried in one attempt.
pub const ADDRESSES: usize = 20;
/// Entries taken from the store at once.
pub const BATCH: u32 = 500;
/// The process stays while something is due within this; later ones are the timer's.
pub const LINGER: i64 = 15 * 60;
/// A store that cannot be reached is asked again after this.
pub const STORE_AWAY: Duration = Duration::from_secs(2);
/// A delay report is sent after this many attempts. Row QU-18.
pub const DELAY_REPORT: u32 = 5;
/// Octets of a report that is signed: ours are far smaller.
pub const SIGNED_OCTETS: u64 = 1 << 20;
/// Connections to other servers until our own addresses are looked up in block lists again. Row MA-23.
pub const MONITOR_CONNECTIONS: u64 = 100;
/// But not before so many seconds.
pub const MONITOR_PAUSE: i64 = 5 * 60;
/// And after so many in any case.
pub const MONITOR_AGE: i64 = 3 * 3600;
/// How often it is seen whether it is time.
pub const MONITOR_TICK: Duration = Duration::from_secs(60);
/// How long what was found is known, in seconds.
pub const MONITOR_KEPT: i64 = 7 * 86_400;
/// Lists asked.
pub const MONITOR_ZONES: usize = 20;
/// Addresses of ours.
pub const MONITOR_IPS: usize = 20;
/// Characters of what a list says.
pub const MONITOR_TEXT: usize = 300;
/// Octets of the original header in a report.
pub const REPORT_HEADER: usize = 64 * 1024;
