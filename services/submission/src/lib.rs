//! `mox-submission` takes mail from people who sign in (ports 587 and 465) and from programs of this machine.
//!
//! Trusts: `mox-store` for who may send what, `mox-keys` for signatures, the kernel for the uid of a local program;
//! never the peer. May write: nothing of its own; message bytes into staging files the store opens for it. Unit:
//! `mox-submission.service`, sockets named `submission` (587), `submissions` (465), `submission-local` and
//! `submission-handoff` (connections of port 443 whose clients ask for SMTP, row SU-02).
//! If it dies halfway: the program has no 250 and sends again; a message may go out twice, it is never lost.

mod answers;
mod events;
mod extra;
mod local;
mod login;
mod policy;

use answers::Answers;
use libmox_keys::{Keys, KeysRole, RemoteKeys};
use libmox_reception::{Ended, converse};
use libmox_service::bus::Offer;
use libmox_service::config::Static;
use libmox_service::handoff::accept_handed;
use libmox_service::life::Busy;
use libmox_service::net::{Accepted, Gate, accept_tcp, accept_unix};
use libmox_service::sockets::Listener;
use libmox_service::tls::Tls;
use libmox_service::wire::Wire;
use libmox_service::{Context, clock, paths};
use libmox_smtp::command::Manner;
use libmox_smtp::limits::RECIPIENTS;
use libmox_smtp::session::{Kind, Session, Settings, TlsOffer};
use libmox_store::{Role, Store};
use libmox_types::Cid;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixStream;

/// `FileDescriptorName=` of port 587.
pub const SUBMISSION: &str = "submission";
/// `FileDescriptorName=` of port 465.
pub const SUBMISSIONS: &str = "submissions";
/// `FileDescriptorName=` of the socket for programs of this machine.
pub const LOCAL: &str = "submission-local";
/// `FileDescriptorName=` of the socket for connections that were accepted elsewhere.
pub const HANDOFF: &str = "submission-handoff";

/// The processes this one asks.
#[derive(Debug, Clone)]
pub struct Doors {
    /// `mox-store`
    pub store: Store,
    /// `mox-keys`, for DKIM.
    pub keys: Keys,
    /// `mox-keys`, for TLS.
    pub tls: Tls,
    /// Where `mox-queue` is woken: a connection is the whole message.
    pub queue: PathBuf,
}

impl Doors {
    /// At their usual places.
    #[must_use]
    pub fn usual() -> Self {
        let name = "mox-submission";
        let keys = Keys::new(&paths::socket(KeysRole::Submission.socket()), name);
        Self {
            store: Store::new(&paths::socket(Role::Submission.socket()), name),
            tls: Tls::new(RemoteKeys::new(keys.clone())),
            keys,
            queue: paths::socket("queue"),
        }
    }
}

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    libmox_service::run(
        "mox-submission",
        Offer::named("org.libmox.Submission1"),
        |config| config.service.idle_exit,
        |context| Box::pin(serve(context)),
    )
}

/// Serves until told to stop.
async fn serve(context: Context) -> anyhow::Result<()> {
    let mut doors = Doors::usual();
    doors.tls = doors.tls.asking(context.config().submission.client_certificates).speaking("smtp");
    serve_with(context, doors).await
}

/// The same, asking processes elsewhere.
pub async fn serve_with(context: Context, doors: Doors) -> anyhow::Result<()> {
    let config = context.config();
    let limits = &config.submission;
    let gate =
        Gate::new(limits.max_connections, limits.max_connections_per_ip, limits.new_connections_per_ip);
    let mut sockets = context.take_sockets();
    let mut accepting = tokio::task::JoinSet::new();
    for (name, start) in [(SUBMISSION, Start::Plain), (SUBMISSIONS, Start::Tls)] {
        for listener in sockets.listeners(name)? {
            let Listener::Tcp(listener) = listener else { anyhow::bail!("{name} must be a TCP socket") };
            let (context, doors) = (context.clone(), doors.clone());
            accepting.spawn(libmox_service::boxed(accept_tcp(
                listener,
                Arc::clone(&gate),
                context.life.clone(),
                move |accepted| connection(accepted, start, context.clone(), doors.clone()),
            )));
        }
    }
    for listener in sockets.listeners(HANDOFF)? {
        let Listener::Unix(listener) = listener else { anyhow::bail!("{HANDOFF} must be a unix socket") };
        let (gate, life) = (Arc::clone(&gate), context.life.clone());
        let (context, doors) = (context.clone(), doors.clone());
        accepting.spawn(accept_handed(listener, gate, life, move |accepted| {
            connection(accepted, Start::Tls, context.clone(), doors.clone())
        }));
    }
    for listener in sockets.listeners(LOCAL)? {
        let Listener::Unix(listener) = listener else { anyhow::bail!("{LOCAL} must be a unix socket") };
        let (context, doors) = (context.clone(), doors.clone());
        accepting.spawn(libmox_service::boxed(accept_unix(
            listener,
            context.life.clone(),
            move |stream, busy| local_connection(stream, busy, context.clone(), doors.clone()),
        )));
    }
    anyhow::ensure!(!accepting.is_empty(), "no sockets: start mox-submission through its socket units");
    context.ready();
    let mut reloads = context.life.reloads();
    loop {
        tokio::select! {
            () = context.life.stopping() => return Ok(()),
            changed = reloads.changed() => {
                if changed.is_ok() {
                    doors.tls.forget();
                }
            }
        }
    }
}

/// How a connection begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// Port 587, with STARTTLS.
    Plain,
    /// Port 465, and what is handed on from port 443.
    Tls,
}

/// Time for the one line to somebody we have no place for.
const TURN_AWAY_WAIT: Duration = Duration::from_secs(5);

async fn connection(accepted: Accepted, start: Start, context: Context, doors: Doors) {
    let Accepted { stream, remote, local, ticket, busy } = accepted;
    let cid = clock::new_cid();
    let mut wire = Wire::from(stream);
    events::connected(cid, remote.ip());
    let _ticket = match ticket {
        Ok(ticket) => ticket,
        Err(full) => {
            events::COMMON.turned_away(cid, remote.ip(), full);
            // On port 465 the words would cost a handshake.
            if start == Start::Plain {
                policy::turned_away().with_id(cid).write(wire.output());
            }
            wire.close(TURN_AWAY_WAIT).await;
            return;
        }
    };
    if start == Start::Tls
        && let Err(fault) = wire.start_tls(&doors.tls).await
    {
        events::COMMON.lost(cid, &fault);
        return;
    }
    let config = context.config().at(local.ip());
    let ends = [remote.ip(), local.ip()];
    let mut answers = Answers::new(&doors, Arc::clone(&config), cid, ends, Kind::Submission);
    if let Some(reply) = answers.stand(&mut wire).await {
        reply.with_id(cid).write(wire.output());
        wire.close(TURN_AWAY_WAIT).await;
        return;
    }
    let mut settings = settings(&config, cid, Kind::Submission);
    settings.mechanisms = login::mechanisms(&wire);
    let mut session = Session::new(settings, start == Start::Tls);
    if login::with_key(&mut answers, &wire).await {
        session.on_certificate();
    }
    let octets = config.submission.max_message_size;
    talk(&mut wire, &mut session, &mut answers, &doors, &context, octets, cid).await;
    drop(busy);
}

async fn local_connection(stream: UnixStream, busy: Busy, context: Context, doors: Doors) {
    let cid = clock::new_cid();
    let peer = local::peer(&stream).await;
    let mut wire = Wire::from(stream);
    let config = context.config();
    let ends = [IpAddr::V4(Ipv4Addr::LOCALHOST); 2];
    let mut answers = Answers::new(&doors, Arc::clone(&config), cid, ends, Kind::Local);
    let refusal = match peer {
        Ok((uid, user)) => answers.sign_in_local(uid, user).await.err(),
        Err(fault) => {
            events::unknown_program(cid, &fault);
            Some(policy::unknown_program())
        }
    };
    if let Some(reply) = refusal {
        reply.with_id(cid).write(wire.output());
        wire.close(TURN_AWAY_WAIT).await;
        return;
    }
    let mut session = Session::new(settings(&config, cid, Kind::Local), false);
    let octets = config.submission.max_message_size;
    talk(&mut wire, &mut session, &mut answers, &doors, &context, octets, cid).await;
    drop(busy);
}

async fn talk(
    wire: &mut Wire,
    session: &mut Session,
    answers: &mut Answers,
    doors: &Doors,
    context: &Context,
    octets: u64,
    cid: Cid,
) {
    let ended = converse(wire, session, answers, &doors.store, Some(&doors.tls), &context.life, octets).await;
    answers.sign_out().await;
    match ended {
        Ended::Closed(reply) => events::closed(cid, &reply),
        Ended::Wire(fault) => events::COMMON.lost(cid, &fault),
    }
}

fn settings(config: &Static, cid: Cid, kind: Kind) -> Settings {
    let tls = match kind {
        Kind::Local => TlsOffer::None,
        _ if config.submission.allow_plaintext_login => TlsOffer::Optional,
        _ => TlsOffer::Required,
    };
    Settings {
        kind,
        hostname: config.hostname.clone(),
        message_octets: config.submission.max_message_size,
        recipients: RECIPIENTS.default,
        tls,
        requiretls: kind == Kind::Submission && config.submission.requiretls,
        dsn: true,
        manner: if config.pedantic { Manner::Pedantic } else { Manner::Tolerant },
        without_tls: Vec::new(),
        mechanisms: Vec::new(),
        cid,
    }
}

#[cfg(test)]
mod tests;
