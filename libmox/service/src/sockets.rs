//! Listening sockets handed over by systemd, told apart by `FileDescriptorName=`.

use listenfd::ListenFd;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};
use tokio::net::{TcpListener, UnixListener};

/// A listener of either kind.
#[derive(Debug)]
pub enum Listener {
    /// A port.
    Tcp(TcpListener),
    /// A path.
    Unix(UnixListener),
}

/// The sockets a service was started with.
#[derive(Debug, Default)]
pub struct Sockets {
    by_name: BTreeMap<String, Vec<OwnedFd>>,
}

impl Sockets {
    /// Takes them from the environment, which must not have been changed before.
    #[expect(
        unsafe_code,
        reason = "listenfd hands out plain numbers; each is taken once and owned from here on"
    )]
    pub fn take() -> io::Result<Self> {
        let names: Vec<String> =
            std::env::var("LISTEN_FDNAMES").unwrap_or_default().split(':').map(str::to_owned).collect();
        let mut fds = ListenFd::from_env();
        let mut by_name: BTreeMap<String, Vec<OwnedFd>> = BTreeMap::new();
        for index in 0..fds.len() {
            let Some(raw) = fds.take_raw_fd(index)? else { continue };
            // SAFETY: listenfd checked that the number is an open descriptor of ours and hands it out once.
            let fd = unsafe { OwnedFd::from_raw_fd(raw.into_raw_fd()) };
            let _ = rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC);
            by_name.entry(names.get(index).cloned().unwrap_or_default()).or_default().push(fd);
        }
        Ok(Self { by_name })
    }

    /// Made by hand, for tests and for services run without systemd.
    #[must_use]
    pub fn from_parts(parts: impl IntoIterator<Item = (String, OwnedFd)>) -> Self {
        let mut by_name: BTreeMap<String, Vec<OwnedFd>> = BTreeMap::new();
        for (name, fd) in parts {
            by_name.entry(name).or_default().push(fd);
        }
        Self { by_name }
    }

    /// The listeners of this name, possibly none. Call inside the runtime.
    pub fn listeners(&mut self, name: &str) -> io::Result<Vec<Listener>> {
        self.by_name.remove(name).unwrap_or_default().into_iter().map(listener).collect()
    }

    /// Names that nobody took: a unit file and its service do not agree.
    #[must_use]
    pub fn left_over(&self) -> Vec<String> {
        self.by_name.keys().cloned().collect()
    }

    /// Whether there are any.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }
}

fn listener(fd: OwnedFd) -> io::Result<Listener> {
    if rustix::net::sockopt::socket_domain(&fd)? == rustix::net::AddressFamily::UNIX {
        let socket = std::os::unix::net::UnixListener::from(fd);
        socket.set_nonblocking(true)?;
        return UnixListener::from_std(socket).map(Listener::Unix);
    }
    let socket = std::net::TcpListener::from(fd);
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket).map(Listener::Tcp)
}
