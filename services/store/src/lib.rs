//! `mox-store`: the only door to mail.
//!
//! Trusts its peers with what their role may ask ([`libmox_store::Role`], decided by the socket) and nobody with the
//! disk. Keeps message files, index and journal below one folder, verifiers of passwords, the queue; no keys.
//! May write `/var/lib/mox` and nothing else. Never parses mail: whoever hands a message in hands its facts in, too.
//! Run by `mox-store.service`, one socket unit a role.
//! If it dies halfway, everything acknowledged is there at the next start; what was not acknowledged may be.

mod accounts;
mod analyze;
mod annotations;
mod attempts;
mod caches;
mod check;
mod check_ties;
mod check_words;
mod config;
mod credentials;
mod decisions;
pub mod directory;
mod dispatch;
pub mod engine;
mod events;
mod feedback;
mod flagged;
mod grants;
mod history;
mod hot;
mod hub;
mod junk;
mod keys;
mod last_changes;
mod limits;
mod login;
mod mail;
pub mod offline;
mod older;
mod once;
mod operate;
mod outgoing;
mod pass;
mod queue;
mod rates;
mod receive;
mod records;
mod references;
mod rejects;
mod reparse;
mod replace;
mod reputation;
mod retired;
mod secrets;
mod serve;
mod signals;
mod store;
mod structures;
pub mod testdata;
mod threads;
mod upgrade;
mod urls;
mod writer;

#[cfg(test)]
mod tests;

use libmox_service::bus::Offer;
use serve::serve;
use std::process::ExitCode;

pub use serve::serve_peer;
pub use store::{Clock, StartError, Store};

/// The store process, and with arguments the commands that work on a folder without it.
#[must_use]
pub fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(code) = offline::run(&arguments) {
        return code;
    }
    libmox_service::run(
        "mox-store",
        Offer::named("org.libmox.Store1"),
        |config| config.service.store_idle_exit,
        |context| Box::pin(serve(context)),
    )
}
