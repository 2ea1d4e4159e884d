//! The data plane: typed calls and streams over one unix stream socket, with descriptors.
//!
//! A frame is a 16-byte header (payload length `u32`, kind `u8`, number of descriptors `u8`, two zero bytes, request id
//! `u64`; all little endian) and a `postcard` payload. Many calls share one connection; a stream has a window of
//! [`limits::WINDOW`] items, so a slow consumer holds up only itself. A frame over its limit, a bad header or a
//! payload that does not decode ends the connection.
//!
//! A service that stops answers what it read and says goodbye: what is still unanswered then was never seen, and the
//! client asks the next process without anybody noticing. After a crash the outcome is unknown; requests that say how
//! ([`Client::repeat`], [`Client::ask_once`]) are repeated then, too.
//!
//! Does not know: what is being said. That is a [`Contract`]: `libmox-store`, `libmox-keys`, `libmox-verify`.
//! Fails with: [`CallError`] towards callers, [`ServeFault`] towards the one who serves.

mod client;
mod contract;
mod frame;
pub mod limits;
mod server;
mod socket;
mod task;
#[cfg(test)]
mod tests;

pub use client::{CallError, Client, Items};
pub use contract::{Contract, Hello, OnceKey, Verb};
pub use frame::{FrameFault, FrameReader, Header, Kind};
pub use server::{Answer, Refusal, ServeFault, Service, StreamOut, Unwanted, serve, serve_until};
pub use task::{boxed, spawn};

#[doc(hidden)]
pub use serde as __serde;
