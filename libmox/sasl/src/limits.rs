//! What a peer may make us hold and compute.

/// Octets in one base64 line. RFC 4954 §4 asks for 12 288.
pub const LINE_OCTETS: usize = 12_288;
/// PBKDF2 rounds a server may ask of our client. RFC 7677 §4: at least 4096; we do not insist on it.
pub const ITERATIONS: u32 = 1_000_000;
/// Octets in a username or password.
pub(crate) const NAME_OCTETS: usize = 1_000;
