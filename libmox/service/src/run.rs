//! From `main` to `serve` and out again.

use crate::config::{self, Static};
use crate::journal::Journal;
use crate::life::{Busy, Life};
use crate::sockets::Sockets;
use crate::{bus, paths};
use sd_notify::NotifyState;
use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::{Arc, RwLock};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// Threads that run tasks.
const WORKERS: usize = 2;
/// Threads for work that blocks; more of it waits. A unit that allows fewer tasks would make the next thread a panic.
const BLOCKING: usize = 32;

/// What a service is given.
#[derive(Debug, Clone)]
pub struct Context {
    /// `mox-smtp`
    pub name: &'static str,
    /// Its life.
    pub life: Life,
    /// Its log level.
    pub journal: Journal,
    config: Arc<RwLock<Arc<Static>>>,
    sockets: Arc<std::sync::Mutex<Sockets>>,
    /// Held until the service can be used: who is still opening is not idle.
    starting: Arc<std::sync::Mutex<Option<Busy>>>,
}

impl Context {
    /// By hand, for tests.
    #[must_use]
    pub fn new(name: &'static str, config: Arc<Static>, sockets: Sockets) -> Self {
        Self {
            name,
            life: Life::default(),
            journal: Journal::none(),
            config: Arc::new(RwLock::new(config)),
            sockets: Arc::new(std::sync::Mutex::new(sockets)),
            starting: Arc::default(),
        }
    }

    /// The configuration in force now.
    #[must_use]
    pub fn config(&self) -> Arc<Static> {
        Arc::clone(&self.config.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// The sockets; the first caller gets them.
    #[must_use]
    pub fn take_sockets(&self) -> Sockets {
        std::mem::take(&mut *self.sockets.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// The service can be used.
    pub fn ready(&self) {
        self.started();
        notify(&[NotifyState::Ready, NotifyState::Status("serving")]);
        tracing::debug!("ready");
    }

    /// Shows on the bus and to systemd why the service does less than it should; `None`: it is well again.
    pub fn degraded(&self, why: Option<&str>) {
        let status = why.map_or_else(|| "serving".to_owned(), |why| format!("degraded: {why}"));
        self.life.set_problem(why.map(str::to_owned));
        notify(&[NotifyState::Status(&status)]);
    }

    fn started(&self) {
        *self.starting.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = None;
    }

    /// Reads `mox.toml` again; a bad one changes nothing.
    pub fn reload(&self) -> Result<(), config::Mistakes> {
        let fresh = config::load_static(&paths::config())?;
        *self.config.write().unwrap_or_else(std::sync::PoisonError::into_inner) = fresh;
        self.life.reloaded();
        Ok(())
    }
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "service manager cannot be told");
    }
}

/// What a service does, until it returns.
pub type Work = fn(Context) -> Pin<Box<dyn Future<Output = anyhow::Result<()>>>>;

/// Runs a service: journal, configuration, sockets, signals, watchdog, idle exit; then `serve` until it returns.
///
/// A service calls this from its library: what is asynchronous is compiled once more for each crate that names it.
pub fn run(name: &'static str, bus: bus::Offer, idle: fn(&Static) -> Duration, serve: Work) -> ExitCode {
    let journal = Journal::start(name);
    let outcome = start(name, journal, bus, idle, serve);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(
                message_id = "5e1f7e0c1d0b4c3c9a1de1a5c0f0a001",
                mox_reason = format!("{error:#}"),
                "{name} cannot run: {error:#}"
            );
            ExitCode::FAILURE
        }
    }
}

fn start(
    name: &'static str,
    journal: Journal,
    bus: bus::Offer,
    idle: fn(&Static) -> Duration,
    serve: Work,
) -> anyhow::Result<()> {
    // Before any thread: the sockets are taken from the environment.
    let sockets = Sockets::take()?;
    let config = config::load_static(&paths::config()).map_err(|m| anyhow::anyhow!("configuration: {m}"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(BLOCKING)
        .enable_all()
        .thread_name(name)
        .build()?;
    runtime.block_on(async {
        let mut context = Context::new(name, config, sockets);
        context.journal = journal;
        context.starting = Arc::new(std::sync::Mutex::new(Some(context.life.busy())));
        crate::spawn(signals(context.clone()));
        crate::spawn(watchdog());
        let life = context.life.clone();
        let idle_time = idle(&context.config());
        crate::spawn(async move { life.leave_when_idle(idle_time).await });
        let on_bus = crate::spawn(bus::keep(context.clone(), bus));
        let outcome = serve(context.clone()).await;
        notify(&[NotifyState::Stopping]);
        context.started();
        context.life.stop();
        let grace = context.config().service.stop_grace;
        if !context.life.drained(grace).await {
            tracing::warn!(left = context.life.at_hand(), "stopping with work at hand");
        }
        // Who asked over the bus gets the answer; a bus that hangs holds nobody up for long.
        let _ = tokio::time::timeout(grace, on_bus).await;
        outcome
    })
}

async fn signals(context: Context) {
    let (Ok(mut term), Ok(mut int), Ok(mut hup)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()), signal(SignalKind::hangup()))
    else {
        tracing::error!("signals cannot be handled");
        return;
    };
    loop {
        tokio::select! {
            _ = term.recv() => break,
            _ = int.recv() => break,
            _ = hup.recv() => {
                notify(&[NotifyState::Reloading]);
                match context.reload() {
                    Ok(()) => tracing::info!("configuration read again"),
                    Err(mistakes) => tracing::error!(mox_reason = %mistakes, "configuration kept as it was: {mistakes}"),
                }
                notify(&[NotifyState::Ready]);
            }
        }
    }
    context.life.stop();
}

/// Tells systemd that the runtime still turns, twice in each watchdog period.
async fn watchdog() {
    let Some(period) = sd_notify::watchdog_enabled() else { return };
    let mut tick = tokio::time::interval(period / 2);
    loop {
        tick.tick().await;
        notify(&[NotifyState::Watchdog]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_allow_as_many_tasks_as_there_are_threads() {
        let units = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../units");
        let mut seen = 0;
        for unit in std::fs::read_dir(units).unwrap().flatten() {
            let Ok(text) = std::fs::read_to_string(unit.path()) else { continue };
            let Some(tasks) = text.lines().find_map(|line| line.strip_prefix("TasksMax=")) else { continue };
            // Besides them: the main thread, and those of libraries and of the store's engine.
            let room = tasks.parse::<usize>().unwrap();
            assert!(room >= WORKERS + BLOCKING + 16, "{}: TasksMax={room}", unit.path().display());
            seen += 1;
        }
        assert!(seen > 5, "{seen} units say TasksMax=");
    }
}
