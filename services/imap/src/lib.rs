//! `mox-imap`: people read their mail.
//!
//! Law: RFC 9051, RFC 3501; what is understood of them lives in `libmox-imap`.
//! Trusts: the store, for accounts and mail; `mox-keys`, for TLS. Nobody on the network.
//! May write: nothing; it changes mail through the store, of accounts that signed in on it.
//! Runs as: `mox-imap.service`, started by `mox-imap.socket` (`imap`), `mox-imaps.socket` (`imaps`) and
//! `mox-imap-handoff.socket` (`imap-handoff`: connections of port 443 whose clients ask for IMAP, row IM-40).
//! If it dies halfway: clients connect again; a command without an answer may have happened or not.

mod append;
mod bus;
mod connection;
mod content;
mod deflate;
mod error;
mod events;
mod fetch;
mod judge;
mod latest;
mod login;
mod mailboxes;
mod messages;
mod metadata;
mod notify;
mod order;
mod resync;
mod search;
mod telling;
mod text;
mod urls;
mod watch;

pub use bus::offer;
pub use deflate::Deflate;

use anyhow::Context as _;
use connection::Connection;
use libmox_imap::limits;
use libmox_keys::{Keys, KeysRole, RemoteKeys};
use libmox_service::handoff::accept_handed;
use libmox_service::net::{Accepted, Gate, accept_tcp};
use libmox_service::sockets::Listener;
use libmox_service::tls::Tls;
use libmox_service::{Context, paths};
use libmox_store::{Role, Store};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// What all connections share.
#[derive(Debug)]
pub struct Shared {
    /// Configuration and life.
    pub context: Context,
    /// Where mail is.
    pub store: Store,
    /// None where there are no keys to show: then neither STARTTLS nor port 993.
    pub tls: Option<Tls>,
    /// How long things may take.
    pub waits: Waits,
    latest: latest::Latest,
}

impl Shared {
    /// Nothing was asked of the store yet.
    #[must_use]
    pub fn new(context: Context, store: Store, tls: Option<Tls>, waits: Waits) -> Self {
        Self { context, store, tls, waits, latest: latest::Latest::default() }
    }
}

/// How long things may take; tests are less patient. Row IM-02.
#[derive(Debug, Clone, Copy)]
pub struct Waits {
    /// Silence before login.
    pub before_login: Duration,
    /// Silence after login.
    pub signed_in: Duration,
    /// For a client to take what it is told.
    pub write: Duration,
    /// Between two words of a long command.
    pub progress: Duration,
}

impl Default for Waits {
    fn default() -> Self {
        Self {
            before_login: limits::WAIT_BEFORE_LOGIN,
            signed_in: limits::WAIT,
            write: limits::WRITE_WAIT,
            progress: limits::PROGRESS,
        }
    }
}

/// `FileDescriptorName=` of the socket for connections that were accepted elsewhere.
const HANDOFF: &str = "imap-handoff";

/// Whether TLS comes before the first line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// Port 143.
    Plain,
    /// Port 993, and what is handed on from port 443.
    Tls,
    /// Neither TLS nor login: an administrator brought the connection.
    SignedIn,
}

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    libmox_service::run(
        "mox-imap",
        offer(),
        |config| config.service.idle_exit,
        |context| Box::pin(serve(context)),
    )
}

/// Serves until told to stop.
async fn serve(context: Context) -> anyhow::Result<()> {
    let store = Store::new(&paths::socket(Role::Imap.socket()), "mox-imap");
    let keys = RemoteKeys::new(Keys::new(&paths::socket(KeysRole::Imap.socket()), "mox-imap"));
    let asks = context.config().imap.client_certificates;
    let tls = Some(Tls::new(keys).asking(asks).speaking("imap"));
    serve_with(Shared::new(context, store, tls, Waits::default())).await
}

/// The same with clients made elsewhere.
pub async fn serve_with(shared: Shared) -> anyhow::Result<()> {
    let shared = Arc::new(shared);
    bus::serves(&shared);
    let mut sockets = shared.context.take_sockets();
    let config = shared.context.config();
    let imap = &config.imap;
    let gate = Gate::new(imap.max_connections, imap.max_connections_per_ip, imap.new_connections_per_ip);
    let mut listening = JoinSet::new();
    for (name, start) in [("imap", Start::Plain), ("imaps", Start::Tls)] {
        for listener in sockets.listeners(name).with_context(|| format!("socket {name}"))? {
            let Listener::Tcp(listener) = listener else {
                anyhow::bail!("socket {name} is no TCP socket");
            };
            let (gate, life) = (Arc::clone(&gate), shared.context.life.clone());
            let shared = Arc::clone(&shared);
            listening.spawn(libmox_service::boxed(accept_tcp(listener, gate, life, move |accepted| {
                handle(Arc::clone(&shared), accepted, start)
            })));
        }
    }
    for listener in sockets.listeners(HANDOFF).with_context(|| format!("socket {HANDOFF}"))? {
        let Listener::Unix(listener) = listener else {
            anyhow::bail!("socket {HANDOFF} is no unix socket");
        };
        let (gate, life) = (Arc::clone(&gate), shared.context.life.clone());
        let shared = Arc::clone(&shared);
        listening.spawn(libmox_service::boxed(accept_handed(listener, gate, life, move |accepted| {
            handle(Arc::clone(&shared), accepted, Start::Tls)
        })));
    }
    if !sockets.is_empty() {
        tracing::warn!(names = ?sockets.left_over(), "sockets of unknown name are not served");
    }
    anyhow::ensure!(!listening.is_empty(), "no socket named imap or imaps was handed over");
    shared.context.ready();
    while listening.join_next().await.is_some() {}
    Ok(())
}

async fn handle(shared: Arc<Shared>, accepted: Accepted, start: Start) {
    let Accepted { stream, remote, local, ticket, busy } = accepted;
    // Apart, as a future would hold it twice.
    let mut connection = Box::new(Connection::new(shared, stream.into(), remote.ip(), start));
    connection.local = Some(local.ip().to_canonical());
    match ticket {
        Ok(ticket) => {
            connection.run().await;
            drop(ticket);
        }
        Err(full) => Box::pin(connection.turn_away(full)).await,
    }
    drop(busy);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows IM-02 and IM-35: other tests are less patient, people get these.
    #[test]
    fn people_get_the_time_that_was_promised() {
        let Waits { before_login, signed_in, write, progress } = Waits::default();
        let seconds = [before_login, signed_in, write, progress].map(|wait| wait.as_secs());
        assert_eq!(seconds, [30, 30 * 60, 5 * 60, 10]);
    }

    #[tokio::test]
    async fn a_waiting_connection_is_small() {
        let config = libmox_service::config::Static::parse("").unwrap();
        let context = Context::new("mox-imap", Arc::new(config), libmox_service::sockets::Sockets::default());
        let store = Store::new(std::path::Path::new("/nowhere"), "test");
        let shared = Arc::new(Shared::new(context, store, None, Waits::default()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut connection =
            Connection::new(shared, stream.into(), "127.0.0.1".parse().unwrap(), Start::Plain);
        let size = std::mem::size_of_val(&connection);
        let run = std::mem::size_of_val(&connection.run());
        let idle = std::mem::size_of_val(&connection.idle());
        assert!(size < 1_024 && run < 1_536 && idle < 2_048, "{size} {run} {idle}");
    }
}
