//! SMTP, both sides, as knowledge: bytes to commands, commands to steps, replies to results.
//!
//! Law: RFC 5321; RFC 6409 (submission), 1870 (SIZE), 2034 and 3463 (enhanced codes), 2920 (pipelining),
//! 3030 (CHUNKING, BINARYMIME), 3207 (STARTTLS), 3461 (DSN), 4865 (FUTURERELEASE), 4954 (AUTH), 6152 (8BITMIME), 6531 (SMTPUTF8), 8689 (REQUIRETLS),
//! 9422 (LIMITS).
//! Does not know: sockets, files, clocks, DNS, who has a mailbox. The driver carries out what [`session::Step`]
//! and [`client::Action`] say and brings back what they ask.
//! Fails with: [`command::Fault`], [`reply::ReplyFault`], [`client::Failure`]; no input makes it panic.

pub mod client;
pub mod command;
pub mod data;
pub mod limits;
pub mod notify;
pub mod reply;
pub mod session;
pub mod simulated;

pub use command::{Command, RcptPath};
pub use reply::Reply;
pub use session::{Session, Step};
