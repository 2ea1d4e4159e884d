//! The data plane of `mox-keys`: certificates to show and signatures to ask for. Private keys never travel.
//!
//! Law: RFC 8446 §4.2.3 (signature schemes), RFC 6376 §3.4 and §3.7 (what DKIM signs), RFC 8463 (Ed25519), RFC 8617 §5.1 (seals).
//! Does not know: sockets other than its own, DNS, mail.
//! Fails with: [`KeysFault`] inside [`libmox_ipc::CallError`].

mod arc;
mod contract;
mod dkim;
mod resolver;
#[cfg(test)]
mod testing;

pub use arc::{ArcChain, seal};
pub use contract::*;
pub use dkim::{DkimDigest, sign};
pub use resolver::{RemoteKeys, SigningError};

/// The client of `mox-keys`.
pub type Keys = libmox_ipc::Client<KeysContract>;
/// Why a call has no reply.
pub type KeysError = libmox_ipc::CallError<KeysFault>;
