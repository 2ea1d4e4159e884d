//! `mox-smtp` takes mail from other servers on port 25 and hands it to the store.
//!
//! Trusts: `mox-store` and `mox-verify` for their answers; never the peer. May write: nothing of its own; message
//! bytes into staging files the store opens for it. Reads no mail that is stored. Unit: `mox-smtp.service`, socket
//! named `smtp`.
//! If it dies halfway: the peer has no 250 and sends again; a message may arrive twice, it is never lost.

mod answers;
mod events;
mod feedback;
mod header;
mod policy;
mod report;

use answers::Answers;
use libmox_keys::{Keys, KeysRole, RemoteKeys};
use libmox_reception::{Ended, converse};
use libmox_service::bus::Offer;
use libmox_service::config::Static;
use libmox_service::net::{Accepted, Gate, accept_tcp};
use libmox_service::sockets::Listener;
use libmox_service::tls::Tls;
use libmox_service::wire::Wire;
use libmox_service::{Context, clock, paths};
use libmox_smtp::command::Manner;
use libmox_smtp::limits::RECIPIENTS;
use libmox_smtp::session::{Kind, Session, Settings, TlsOffer};
use libmox_store::{Role, Store};
use libmox_verify::Verifier;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// `FileDescriptorName=` of the socket.
pub const SOCKET: &str = "smtp";

/// The processes this one asks.
#[derive(Debug, Clone)]
pub struct Doors {
    /// `mox-store`
    pub store: Store,
    /// `mox-verify`; not asked where `smtp.verify` is off.
    pub verifier: Verifier,
    /// `mox-keys`; None: no STARTTLS.
    pub tls: Option<Tls>,
    /// Where `mox-queue` is woken.
    pub queue: PathBuf,
}

impl Doors {
    /// At their usual places.
    #[must_use]
    pub fn usual() -> Self {
        let name = "mox-smtp";
        let keys = Keys::new(&paths::socket(KeysRole::Smtp.socket()), name);
        Self {
            store: Store::new(&paths::socket(Role::Smtp.socket()), name),
            verifier: Verifier::new(&paths::socket(libmox_verify::SOCKET), name),
            tls: Some(Tls::new(RemoteKeys::new(keys))),
            queue: paths::socket("queue-smtp"),
        }
    }
}

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    libmox_service::run(
        "mox-smtp",
        Offer::named("org.libmox.Smtp1"),
        |config| config.service.idle_exit,
        |context| Box::pin(serve(context)),
    )
}

/// Serves until told to stop.
async fn serve(context: Context) -> anyhow::Result<()> {
    serve_with(context, Doors::usual()).await
}

/// The same, asking processes elsewhere.
pub async fn serve_with(context: Context, doors: Doors) -> anyhow::Result<()> {
    let config = context.config();
    let limits = &config.smtp;
    let gate =
        Gate::new(limits.max_connections, limits.max_connections_per_ip, limits.new_connections_per_ip);
    let mut accepting = tokio::task::JoinSet::new();
    for listener in context.take_sockets().listeners(SOCKET)? {
        let Listener::Tcp(listener) = listener else { anyhow::bail!("{SOCKET} must be a TCP socket") };
        let (context, doors) = (context.clone(), doors.clone());
        accepting.spawn(libmox_service::boxed(accept_tcp(
            listener,
            Arc::clone(&gate),
            context.life.clone(),
            move |accepted| connection(accepted, context.clone(), doors.clone()),
        )));
    }
    anyhow::ensure!(
        !accepting.is_empty(),
        "no socket named {SOCKET}: start mox-smtp through its socket unit"
    );
    feedback::preset_counters();
    context.ready();
    let mut reloads = context.life.reloads();
    loop {
        tokio::select! {
            () = context.life.stopping() => return Ok(()),
            changed = reloads.changed() => {
                if changed.is_ok() && let Some(tls) = &doors.tls {
                    tls.forget();
                }
            }
        }
    }
}

/// Time for the one line to somebody we have no place for.
const TURN_AWAY_WAIT: Duration = Duration::from_secs(5);

async fn connection(accepted: Accepted, context: Context, doors: Doors) {
    let Accepted { stream, remote, local, ticket, busy } = accepted;
    let cid = clock::new_cid();
    let mut wire = Wire::from(stream);
    let _ticket = match ticket {
        Ok(ticket) => ticket,
        Err(full) => {
            events::COMMON.turned_away(cid, remote.ip(), full);
            policy::turned_away(full).with_id(cid).write(wire.output());
            wire.close(TURN_AWAY_WAIT).await;
            return;
        }
    };
    let config = context.config().at(local.ip());
    let tls = doors.tls.clone().filter(|_| config.smtp.starttls);
    let tls = tls.map(|tls| tls.resuming(config.smtp.session_tickets));
    let message_octets = config.smtp.max_message_size;
    let mut session = Session::new(settings(&config, cid, tls.is_some()), false);
    events::connected(cid, remote.ip());
    let mut answers = Answers::new(&doors, config, cid, remote.ip());
    let ended = converse(
        &mut wire,
        &mut session,
        &mut answers,
        &doors.store,
        tls.as_ref(),
        &context.life,
        message_octets,
    )
    .await;
    match ended {
        Ended::Closed(reply) => events::closed(cid, &reply),
        Ended::Wire(fault) => events::COMMON.lost(cid, &fault),
    }
    drop(busy);
}

fn settings(config: &Static, cid: libmox_types::Cid, tls: bool) -> Settings {
    Settings {
        kind: Kind::Exchange,
        hostname: config.hostname.clone(),
        message_octets: config.smtp.max_message_size,
        recipients: RECIPIENTS.default,
        tls: match (tls, config.smtp.require_starttls) {
            (false, _) => TlsOffer::None,
            (true, false) => TlsOffer::Optional,
            (true, true) => TlsOffer::Required,
        },
        requiretls: config.smtp.requiretls,
        dsn: true,
        manner: if config.pedantic { Manner::Pedantic } else { Manner::Tolerant },
        without_tls: config.smtp.starttls_exempt.clone(),
        mechanisms: Vec::new(),
        cid,
    }
}

#[cfg(test)]
mod tests;
