//! From sockets to the store and out again.

use crate::config;
use crate::directory::Directory;
use crate::engine::Options;
use crate::events;
use crate::store::{Front, Peer, StartError, Store};
use libmox_service::sockets::Listener;
use libmox_service::{Context, clock, paths};
use libmox_store::Role;
use libmox_verify::Verifier;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};

/// How often removed messages are looked at.
const SWEEP: Duration = Duration::from_secs(10);

/// Runs until the service is told to stop, then closes the data folder.
pub(crate) async fn serve(context: Context) -> anyhow::Result<()> {
    let statics = context.config();
    let domains = config_domains()?;
    let mut options = Options::new(paths::state("/var/lib/mox"), boot());
    options.cache_bytes = statics.store.cache;
    serve_folder(context, options, config::directory(1, &statics, &domains)).await
}

/// The same with everything given.
pub(crate) async fn serve_folder(
    context: Context,
    options: Options,
    directory: Directory,
) -> anyhow::Result<()> {
    let mut sockets = context.take_sockets();
    let mut listeners = Vec::new();
    for (role, name) in Role::ALL {
        for listener in sockets.listeners(name)? {
            match listener {
                Listener::Unix(listener) => listeners.push((role, listener)),
                Listener::Tcp(_) => anyhow::bail!("socket {name} is not a unix socket"),
            }
        }
    }
    anyhow::ensure!(!listeners.is_empty(), "no sockets: the store is started by its socket units");
    for name in sockets.left_over() {
        tracing::warn!(name, "a socket that no role has");
    }
    let Some(store) = opened(&context, options, directory).await? else { return Ok(()) };
    let parser = Verifier::new(&paths::socket(libmox_verify::STORE_SOCKET), "mox-store");
    let _ = store.parser.set(parser);
    // Dropped at the end: with it end the connections.
    let open = watch::Sender::new(());
    let (connected, mut connections) = mpsc::channel::<()>(1);
    for (role, listener) in listeners {
        let connected = connected.clone();
        libmox_service::spawn(accept(
            context.clone(),
            store.clone(),
            role,
            listener,
            open.subscribe(),
            connected,
        ));
    }
    drop(connected);
    libmox_service::spawn(tend(store.clone(), open.subscribe()));
    libmox_service::spawn(follow(context.clone(), store.clone(), open.subscribe()));
    context.ready();
    let mut health = store.engine.health();
    tokio::select! {
        () = context.life.stopping() => {}
        Ok(_) = health.wait_for(|health| health.reopen) => {
            context.degraded(Some("the index failed"));
            // Started again, the store replays into an index that works, or says why there is none.
            anyhow::bail!("the index failed: {}", store.engine.health().borrow().commit.as_deref().unwrap_or("-"));
        }
    }
    // Connections read no more, answer what they have read, say goodbye and end: then this returns nothing. Peers ask
    // the next store what this one did not see.
    let at_rest = async { (connections.recv().await, store.at_rest().await) };
    if tokio::time::timeout(AT_HAND, at_rest).await.is_err() {
        tracing::warn!("closing with requests at hand");
    }
    let closing = tokio::task::spawn_blocking(move || store.engine.close());
    closing.await?.map_err(|error| anyhow::anyhow!("closing: {error}"))
}

/// Opens the store. A disk that does not let it is asked again: connections wait in their sockets meanwhile, and
/// everybody can see why. `None`: told to stop before that.
async fn opened(
    context: &Context,
    options: Options,
    directory: Directory,
) -> anyhow::Result<Option<Arc<Store>>> {
    loop {
        let starting = Store::start(options.clone(), directory.clone(), Arc::new(clock::now));
        tokio::pin!(starting);
        let started = tokio::select! {
            started = &mut starting => started,
            () = tokio::time::sleep(PATIENCE) => {
                // The index of a large store takes its time to be built anew; systemd must not end that.
                context.ready();
                context.degraded(Some("still opening: the index is being built anew"));
                starting.await
            }
        };
        let error = match started {
            Ok(store) => {
                if context.life.problem().is_some() {
                    events::well();
                    context.degraded(None);
                }
                return Ok(Some(store));
            }
            Err(StartError::Open(error)) => error,
            Err(error) => return Err(error.into()),
        };
        let why = error.to_string();
        if context.life.problem().as_ref() != Some(&why) {
            events::not_open(&options.dir, &error);
        }
        // To systemd the service has started: it is not to be killed for waiting.
        context.ready();
        context.degraded(Some(&why));
        let _waiting = context.life.busy();
        tokio::select! {
            () = tokio::time::sleep(REOPEN) => {}
            () = context.life.stopping() => return Ok(None),
        }
    }
}

/// How long opening may take before everybody is told; below the start timeout of systemd.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a disk is left alone that did not let the store open.
const REOPEN: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 5 });
/// How long requests may go on once the store is told to stop.
const AT_HAND: Duration = Duration::from_secs(4);

fn config_domains() -> anyhow::Result<Arc<libmox_service::config::Domains>> {
    libmox_service::config::load_domains(&paths::config())
        .map_err(|mistakes| anyhow::anyhow!("configuration: {mistakes}"))
}

/// Names the running kernel: systemd's `%b` from the unit, else what the kernel says where `/proc/sys` can be seen.
fn boot() -> Option<String> {
    let given = std::env::var("MOX_BOOT_ID").ok().filter(|id| !id.is_empty());
    given.or_else(|| {
        std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok().map(|id| id.trim().replace('-', ""))
    })
}

async fn accept(
    context: Context,
    store: Arc<Store>,
    role: Role,
    listener: UnixListener,
    open: watch::Receiver<()>,
    connected: mpsc::Sender<()>,
) {
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let (store, busy, mut open) = (store.clone(), context.life.busy(), open.clone());
                    let (life, connected) = (context.life.clone(), connected.clone());
                    libmox_service::spawn(async move {
                        let stopping = async move { life.stopping().await };
                        tokio::select! {
                            () = serve_peer_until(store, role, stream, stopping) => {}
                            _ = open.changed() => {}
                        }
                        drop((busy, connected));
                    });
                }
                Err(error) => {
                    // Out of descriptors: what is open goes on, the rest waits.
                    tracing::warn!(%error, "cannot accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            () = context.life.stopping() => return,
        }
    }
}

/// One connection of a role, until it ends.
pub async fn serve_peer(store: Arc<Store>, role: Role, stream: UnixStream) {
    serve_peer_until(store, role, stream, std::future::pending()).await;
}

async fn serve_peer_until(
    store: Arc<Store>,
    role: Role,
    stream: UnixStream,
    stopping: impl Future<Output = ()> + Send,
) {
    let peer = Peer::new(store, role);
    let served = libmox_ipc::serve_until(Arc::new(Front), peer, stream, "mox-store", stopping);
    if let Err(fault) = served.await {
        tracing::warn!(?role, %fault, "connection dropped");
    }
}

async fn tend(store: Arc<Store>, mut open: watch::Receiver<()>) {
    let mut tick = tokio::time::interval(SWEEP);
    loop {
        tokio::select! {
            _ = tick.tick() => {
                store.sweep(false).await;
                if let Err(fault) = store.forget_replies().await {
                    tracing::warn!(%fault, "old replies stay for now");
                }
            }
            _ = open.changed() => return,
        }
    }
}

async fn follow(context: Context, store: Arc<Store>, mut open: watch::Receiver<()>) {
    let mut reloads = context.life.reloads();
    let mut health = store.engine.health();
    loop {
        tokio::select! {
            _ = open.changed() => return,
            changed = reloads.changed() => {
                if changed.is_err() {
                    return;
                }
                let next = store.directory().generation + 1;
                match config::reload(&store, next).await {
                    Ok(reloaded) if reloaded.mistakes.is_empty() => {}
                    Ok(reloaded) => tracing::error!(mistakes = ?reloaded.mistakes, "configuration kept as it was"),
                    Err(fault) => tracing::error!(%fault, "configuration kept as it was"),
                }
            }
            changed = health.changed() => {
                if changed.is_err() {
                    return;
                }
                let now = health.borrow_and_update().clone();
                let (why, before) = (now.problem(), context.life.problem());
                match why {
                    Some(why) if before.is_none() => events::degraded(why),
                    Some(why) => tracing::debug!("still degraded: {why}"),
                    None if before.is_some() => events::well(),
                    None => {}
                }
                context.degraded(why);
            }
        }
    }
}
