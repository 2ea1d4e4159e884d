//! The only reader of the clock and the only source of randomness for identifiers.

use libmox_types::{Cid, Timestamp};
use std::time::SystemTime;

/// Now, in seconds.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the door to the clock")]
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

/// A new connection id: random, so that processes need not agree on a counter (row MP-17).
#[must_use]
pub fn new_cid() -> Cid {
    Cid(random_u64())
}

/// 64 random bits.
#[must_use]
pub fn random_u64() -> u64 {
    let mut bytes = [0; 8];
    // The kernel's generator cannot fail once it is seeded at boot; the crate reports it as an error all the same.
    if aws_lc_rs::rand::fill(&mut bytes).is_err() {
        std::process::abort();
    }
    u64::from_le_bytes(bytes)
}
