//! A small stand-in for systemd: binds the sockets of the units, starts a service when one of its sockets gets a
//! connection, its timer is due or the bus asks for it, and starts it again when it fails.
//!
//! Sockets stay bound here for as long as the instance lives, so a service that leaves or dies refuses nobody.

use super::units::{Listen, ServiceUnit};
use command_fds::{CommandFdExt, FdMapping};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncBufReadExt, BufReader, Interest};
use tokio::sync::{mpsc, watch};

/// Where an instance lives.
#[derive(Debug, Clone)]
pub struct Place {
    /// Everything that stays.
    pub dir: PathBuf,
    /// Sockets; short, because their paths are limited to 108 octets.
    pub run: PathBuf,
    /// Programs.
    pub libexec: PathBuf,
    /// Added to each port.
    pub port_base: u16,
    /// Address of the private bus.
    pub bus: String,
    /// `MOX_LOG` of the services.
    pub log: String,
}

/// A service ready to be started.
struct Held {
    unit: ServiceUnit,
    sockets: Vec<(String, OwnedFd)>,
    state: Option<PathBuf>,
}

/// Why the instance cannot start.
#[derive(Debug, thiserror::Error)]
pub enum SupervisorFault {
    /// A port or path.
    #[error("cannot listen on {0}")]
    Bind(String, #[source] std::io::Error),
    /// Port base and port together.
    #[error("port {0} with this --port-base is not a port")]
    Port(u16),
    /// A folder.
    #[error("{0}")]
    Folder(PathBuf, #[source] std::io::Error),
}

/// The running instance.
#[derive(Debug)]
pub struct Supervisor {
    starts: BTreeMap<String, mpsc::Sender<()>>,
    ports: BTreeMap<String, SocketAddr>,
    stop: watch::Sender<bool>,
    tasks: tokio::task::JoinSet<()>,
}

impl Supervisor {
    /// Binds all sockets; from here on connections are accepted by the kernel.
    pub fn start(place: &Place, units: BTreeMap<String, ServiceUnit>) -> Result<Self, SupervisorFault> {
        let stop = watch::Sender::new(false);
        let mut this = Self {
            starts: BTreeMap::new(),
            ports: BTreeMap::new(),
            stop,
            tasks: tokio::task::JoinSet::new(),
        };
        let mut held = Vec::new();
        for (name, unit) in units {
            let mut sockets = Vec::new();
            for socket in &unit.sockets {
                let fd = match &socket.listen {
                    Listen::Port(port) => {
                        let port = place.port_base.checked_add(*port).ok_or(SupervisorFault::Port(*port))?;
                        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
                        this.ports.insert(socket.name.clone(), address);
                        bind_tcp(address, socket.backlog)
                            .map_err(|e| SupervisorFault::Bind(address.to_string(), e))?
                    }
                    Listen::Socket(file) => {
                        let path = place.run.join(file);
                        bind_unix(&path, socket.mode)
                            .map_err(|e| SupervisorFault::Bind(path.display().to_string(), e))?
                    }
                };
                sockets.push((socket.name.clone(), fd));
            }
            let state = unit.state.as_ref().map(|s| place.dir.join("state").join(s));
            if let Some(state) = &state {
                std::fs::create_dir_all(state).map_err(|e| SupervisorFault::Folder(state.clone(), e))?;
                let _ = std::fs::set_permissions(state, std::fs::Permissions::from_mode(0o700));
            }
            held.push((name, Held { unit, sockets, state }));
        }
        for (name, held) in held {
            let (start, wanted) = mpsc::channel(8);
            this.starts.insert(name, start);
            this.tasks.spawn(libmox_service::boxed(keep(place.clone(), held, wanted, this.stop.subscribe())));
        }
        Ok(this)
    }

    /// The address of the socket named so.
    pub fn port(&self, name: &str) -> Option<SocketAddr> {
        self.ports.get(name).copied()
    }

    /// Senders that start a service by name.
    pub fn starters(&self) -> BTreeMap<String, mpsc::Sender<()>> {
        self.starts.clone()
    }

    /// Stops all services and waits for them: front ends first would be nicer, but each finishes its work by itself.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
    }
}

fn bind_tcp(address: SocketAddr, backlog: i32) -> std::io::Result<OwnedFd> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};
    let fd = socket_with(
        AddressFamily::INET,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    sockopt::set_socket_reuseaddr(&fd, true)?;
    sockopt::set_tcp_nodelay(&fd, true)?;
    bind(&fd, &address)?;
    listen(&fd, backlog)?;
    Ok(fd)
}

fn bind_unix(path: &Path, mode: u32) -> std::io::Result<OwnedFd> {
    let _ = std::fs::remove_file(path);
    let listener = std::os::unix::net::UnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    Ok(listener.into())
}

/// One service for the life of the instance.
async fn keep(place: Place, held: Held, mut wanted: mpsc::Receiver<()>, mut stop: watch::Receiver<bool>) {
    let mut failures = 0u32;
    loop {
        tokio::select! {
            () = told(&mut stop) => return,
            () = anything_readable(&held.sockets) => {}
            Some(()) = wanted.recv() => {}
            () = due(held.unit.every) => {}
        }
        // Restart=on-failure: soon at first, slower if it keeps failing.
        while !run_once(&place, &held, &mut stop).await && !*stop.borrow() {
            failures = (failures + 1).min(6);
            let pause = held.unit.restart * (1 << failures);
            tracing::warn!(service = held.unit.name, ?pause, "failed, starting again");
            tokio::select! {
                () = told(&mut stop) => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
        failures = 0;
    }
}

/// Waits for the stop without holding a lock on it.
async fn told(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn due(every: Option<Duration>) {
    match every {
        Some(every) => tokio::time::sleep(every).await,
        None => std::future::pending().await,
    }
}

/// Registers anew each time: readiness is told by its edge, and what waits already must count.
async fn anything_readable(sockets: &[(String, OwnedFd)]) {
    let mut waiting = tokio::task::JoinSet::new();
    for (_, socket) in sockets {
        let Ok(copy) = socket.as_fd().try_clone_to_owned() else { continue };
        waiting.spawn(libmox_service::boxed(async move {
            #[expect(unsafe_code, reason = "tokio asks for the promise that the descriptor stays what it is")]
            // SAFETY: `copy` is an open descriptor that moves into the `AsyncFd` and is owned by it until both go.
            let watched = unsafe { AsyncFd::register_with_interest(copy, Interest::READABLE) };
            if let Ok(watched) = watched {
                let _ = watched.readable().await;
            } else {
                std::future::pending::<()>().await;
            }
        }));
    }
    if waiting.is_empty() {
        std::future::pending::<()>().await;
    }
    waiting.join_next().await;
}

/// Runs a service until it leaves; whether it left well.
async fn run_once(place: &Place, held: &Held, stop: &mut watch::Receiver<bool>) -> bool {
    let mut command = std::process::Command::new(place.libexec.join(&held.unit.program));
    let names: Vec<&str> = held.sockets.iter().map(|(name, _)| name.as_str()).collect();
    command
        .env_clear()
        .envs(std::env::vars_os().filter(|(key, _)| {
            matches!(key.to_str(), Some("PATH" | "HOME" | "USER" | "LANG" | "RUST_BACKTRACE" | "TZ"))
        }))
        .env("LISTEN_FDS", held.sockets.len().to_string())
        .env("LISTEN_FDNAMES", names.join(":"))
        .env("MOX_RUNTIME_DIR", &place.run)
        .env("MOX_CONFIG_DIR", place.dir.join("config"))
        .env("DBUS_SYSTEM_BUS_ADDRESS", &place.bus)
        .env("MOX_LOG", &place.log)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    if let Some(state) = &held.state {
        command.env("STATE_DIRECTORY", state);
    }
    let mut mappings = Vec::new();
    for (at, (_, socket)) in held.sockets.iter().enumerate() {
        let (Ok(parent_fd), Ok(child_fd)) = (socket.as_fd().try_clone_to_owned(), i32::try_from(at + 3))
        else {
            return false;
        };
        mappings.push(FdMapping { parent_fd, child_fd });
    }
    if command.fd_mappings(mappings).is_err() {
        return false;
    }
    let mut child = match tokio::process::Command::from(command).kill_on_drop(true).spawn() {
        Ok(child) => child,
        Err(error) => {
            tracing::error!(service = held.unit.name, %error, "cannot be started");
            return false;
        }
    };
    tracing::debug!(service = held.unit.name, pid = child.id(), "started");
    if let Some(lines) = child.stderr.take() {
        libmox_service::spawn(show(held.unit.name.clone(), lines));
    }
    let status = tokio::select! {
        status = child.wait() => status,
        () = told(stop) => {
            if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            }
            if tokio::time::timeout(Duration::from_secs(15), child.wait()).await.is_err() {
                tracing::warn!(service = held.unit.name, "did not stop, killed");
                let _ = child.kill().await;
            }
            return true;
        }
    };
    tracing::debug!(service = held.unit.name, ?status, "left");
    status.is_ok_and(|status| status.success())
}

/// The service's lines with its name before them.
async fn show(service: String, lines: tokio::process::ChildStderr) {
    let mut lines = BufReader::new(lines).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        // The journal of a foreground instance is its standard error.
        #[expect(clippy::print_stderr, reason = "localserve shows what its services say")]
        {
            eprintln!("{service:<15} {line}");
        }
    }
}
