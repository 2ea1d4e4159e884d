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

/// A name for a request that must be carried out once.
#[must_use]
pub fn once_key() -> libmox_ipc::OnceKey {
    libmox_ipc::OnceKey { at: u64::try_from(now().0).unwrap_or(0), random: random_u64() }
}

/// 64 random bits.
#[must_use]
pub fn random_u64() -> u64 {
    let mut bytes = [0; 8];
    // Straight from the kernel: seeding the generator of the crypto library takes 100 ms of processor time, and a
    // service that was just started for a connection has to greet. So few octets come whole or not at all, and only
    // a kernel without the call refuses.
    if rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()) != Ok(bytes.len()) {
        std::process::abort();
    }
    u64::from_le_bytes(bytes)
}
