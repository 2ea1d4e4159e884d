//! The data plane of the store: what each role may ask, what comes back, and the client.
//!
//! The store is the only door to mail. Each service has a socket of its own to it; the name of the socket is the
//! [`Role`], and the role decides which verbs exist ([`Role::may`]). A reader gets an account only by finishing a
//! login on its connection: [`SessionId`] is that capability, it ends with the connection.
//!
//! The contract is positional (postcard): requests, replies, faults and events grow at the end only; golden bytes in
//! the tests hold that. Times are seconds since 1970.
//!
//! Does not know: how the store keeps anything, what a message says (facts arrive parsed).
//! Fails with: [`Fault`] inside [`libmox_ipc::CallError`].

mod admin;
mod annotation;
mod attempt;
mod cache;
mod contract;
mod credential;
mod decision;
mod events;
mod facts;
mod fault;
mod feedback;
mod flagged;
mod grant;
mod history;
mod hold;
mod last_changes;
mod login;
mod mailbox;
mod message;
mod operate;
mod outgoing;
mod queue;
mod reader;
mod receive;
mod references;
mod replace;
mod retired;
mod role;
mod rows;
mod url;

pub use admin::*;
pub use annotation::*;
pub use attempt::*;
pub use cache::*;
pub use contract::{Item, Reply, Request, StoreContract};
pub use credential::*;
pub use decision::*;
pub use events::*;
pub use facts::*;
pub use fault::Fault;
pub use feedback::*;
pub use flagged::*;
pub use grant::*;
pub use history::*;
pub use hold::*;
pub use last_changes::*;
pub use login::*;
pub use mailbox::*;
pub use message::*;
pub use operate::*;
pub use outgoing::*;
pub use queue::*;
pub use reader::*;
pub use receive::*;
pub use references::*;
pub use replace::*;
pub use retired::*;
pub use role::Role;
pub use url::*;

/// The client of the store.
pub type Store = libmox_ipc::Client<StoreContract>;
/// Why a call to the store has no reply.
pub type StoreError = libmox_ipc::CallError<Fault>;
