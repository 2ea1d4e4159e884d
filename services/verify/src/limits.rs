//! What one message may cost.

use std::time::Duration;

/// Messages held in memory at once, KiB.
pub const MEMORY_KIB: usize = 256 * 1024;
/// Larger messages get no signature checks (their DKIM result is `temperror`), only facts.
pub const CHECKED_OCTETS: u64 = 128 << 20;
/// From here on a message is checked by a thread of its own; [`MEMORY_KIB`] has room for so many of them.
pub const APART_OCTETS: u64 = 8 << 20;
/// Octets of a header section, and how many fields are in it: checks keep a place for each, so small ones would cost
/// many times their size. A message with more is refused.
pub const HEADER_OCTETS: usize = 1 << 20;
/// See [`HEADER_OCTETS`].
pub const HEADER_FIELDS: usize = libmox_message::limits::FIELDS;
/// SPF as a whole. Row MA-03.
pub const SPF_WAIT: Duration = Duration::from_secs(60);
/// All DKIM signatures together.
pub const DKIM_WAIT: Duration = Duration::from_secs(60);
/// The DMARC record and its kin.
pub const DMARC_WAIT: Duration = Duration::from_secs(30);
/// Reverse DNS.
pub const IPREV_WAIT: Duration = Duration::from_secs(20);
/// Names of one address that are looked up. RFC 8601 §3 leaves it to us; RFC 7208 §5.5 has ten.
pub const IPREV_NAMES: usize = 10;
/// ARC sets of one message; a longer chain is not looked at. RFC 8617 §5.2.1 allows 50, each with a key to look up.
pub const ARC_SETS: usize = 10;
/// All of a chain.
pub const ARC_WAIT: Duration = Duration::from_secs(30);
/// One question about a sender's domain.
pub const SENDER_WAIT: Duration = Duration::from_secs(15);
/// DNS block lists asked.
pub const LISTS: usize = 20;
/// Characters of what one says.
pub const LIST_TEXT: usize = 300;
/// Signatures looked at; further ones are not.
pub const SIGNATURES: usize = 10;
/// Octets of an attachment that may be a report.
pub const REPORT_PACKED: usize = 16 << 20;
/// Octets of a report.
pub const REPORT_UNPACKED: u64 = 4 << 20;
/// KiB to have free for reading one.
pub const REPORT_KIB: u32 = 128 * 1024;
/// Attachments of one message, and domains of one report, that are looked at.
pub const REPORT_PARTS: usize = 10;
