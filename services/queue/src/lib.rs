//! `mox-queue` delivers what waits in the store to other servers, and tells senders what failed.
//!
//! It keeps no state of its own: the store has the queue, each attempt is recorded there before dialing, each result
//! is one atomic change together with the report it causes. Trusts nobody it dials. Reads queued messages and nothing
//! else; holds no keys, and has `mox-keys` sign the reports it sends. Unit: `mox-queue.service`, started by `mox-queue.socket` and
//! `mox-queue-smtp.socket` (something was queued), by
//! `mox-queue.timer` (something may be due) or by a call on the bus.
//! If it dies halfway: a message may go out twice, it is never lost.

mod bus;
mod deliver;
mod dial;
mod here;
mod limits;
mod monitor;
mod mx;
mod report;
mod schedule;
mod sign;

use libmox_keys::{Keys, KeysRole};
use libmox_service::dns::Dns;
use libmox_service::sockets::Listener;
use libmox_service::{Context, net, paths};
use libmox_store::{Role, Store};
use std::process::ExitCode;
use std::sync::Arc;
use tokio::sync::Notify;

/// Its name and interfaces on the bus.
#[must_use]
pub fn offer() -> libmox_service::bus::Offer {
    bus::offer()
}

/// `FileDescriptorName=` of the sockets that wake it: for mail of people, and for reports of `mox-smtp`.
const SOCKETS: [&str; 2] = ["queue", "queue-smtp"];

/// What all parts share.
pub(crate) struct Shared {
    pub context: Context,
    pub store: Store,
    /// For reports.
    pub keys: Keys,
    pub dns: Dns,
    pub tls: dial::OutgoingTls,
    /// Something may be due.
    pub kick: Notify,
}

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    libmox_service::run(
        "mox-queue",
        offer(),
        |config| config.service.idle_exit,
        |context| Box::pin(serve(context)),
    )
}

/// Delivers until told to stop.
async fn serve(context: Context) -> anyhow::Result<()> {
    let config = context.config();
    let shared = Arc::new(Shared {
        store: store(),
        keys: Keys::new(&paths::socket(KeysRole::Queue.socket()), "mox-queue"),
        dns: Dns::new(&config.dns)?,
        tls: dial::OutgoingTls::new()?,
        kick: Notify::new(),
        context: context.clone(),
    });
    let mut sockets = context.take_sockets();
    let mut listeners = Vec::new();
    for name in SOCKETS {
        listeners.extend(sockets.listeners(name)?);
    }
    for listener in listeners {
        let Listener::Unix(listener) = listener else { anyhow::bail!("a socket that is no unix socket") };
        let shared = Arc::clone(&shared);
        libmox_service::spawn(net::accept_unix(listener, context.life.clone(), move |stream, busy| {
            // The connection itself is the message.
            drop(stream);
            shared.kick.notify_one();
            async move { drop(busy) }
        }));
    }
    context.ready();
    tokio::join!(monitor::run(&shared), schedule::run(Arc::clone(&shared)));
    Ok(())
}

fn store() -> Store {
    Store::new(&paths::socket(Role::Queue.socket()), "mox-queue")
}
