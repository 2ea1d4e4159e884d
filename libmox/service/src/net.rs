//! Accepting connections: counted, limited, each keeping the service busy.

use crate::life::{Busy, Life};
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// Silence on a connection before its peer is asked whether it is there. Row IM-02.
const KEEP_ALIVE: Duration = Duration::from_secs(5 * 60);

/// How many connections a service takes.
#[derive(Debug)]
pub struct Gate {
    most: usize,
    most_per_class: usize,
    state: Mutex<GateState>,
}

#[derive(Debug, Default)]
struct GateState {
    open: usize,
    by_class: HashMap<IpAddr, usize>,
}

/// A place inside the gate; given back when dropped.
#[derive(Debug)]
pub struct Ticket {
    gate: Arc<Gate>,
    class: IpAddr,
}

/// Why there was no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// Everybody together.
    All,
    /// The client's own address class.
    Class,
}

impl Gate {
    /// At most `most` connections, of them `most_per_class` from one IPv4 address or IPv6 /64.
    #[must_use]
    pub fn new(most: usize, most_per_class: usize) -> Arc<Self> {
        Arc::new(Self { most, most_per_class, state: Mutex::default() })
    }

    fn enter(self: &Arc<Self>, ip: IpAddr) -> Result<Ticket, Full> {
        let class = ip_class(ip);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.open >= self.most {
            return Err(Full::All);
        }
        let count = state.by_class.entry(class).or_default();
        if *count >= self.most_per_class {
            return Err(Full::Class);
        }
        *count += 1;
        state.open += 1;
        Ok(Ticket { gate: Arc::clone(self), class })
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.gate.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.open -= 1;
        if let Some(count) = state.by_class.get_mut(&self.class) {
            *count -= 1;
            if *count == 0 {
                state.by_class.remove(&self.class);
            }
        }
    }
}

/// One IPv4 address, or the /64 of an IPv6 one: what one party is assumed to hold.
#[must_use]
pub fn ip_class(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from(u128::from(ip) & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

/// A connection just accepted.
#[derive(Debug)]
pub struct Accepted {
    /// The socket.
    pub stream: TcpStream,
    /// The client, with IPv4 written as IPv4.
    pub remote: SocketAddr,
    /// Our side.
    pub local: SocketAddr,
    /// A place, or why there is none: the protocol says so in its own words and closes.
    pub ticket: Result<Ticket, Full>,
    /// Keeps the service alive.
    pub busy: Busy,
}

/// Accepts until the service stops; each connection in a task of its own.
pub async fn accept_tcp<F, Fut>(listener: TcpListener, gate: Arc<Gate>, life: Life, handle: F)
where
    F: Fn(Accepted) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    loop {
        let accepted = tokio::select! {
            () = life.stopping() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted.and_then(|(stream, remote)| Ok((stream.local_addr()?, stream, remote))) {
            Ok((local, stream, remote)) => {
                let _ = stream.set_nodelay(true);
                // A peer that is gone without a word is noticed. What cannot be set is not needed.
                let _ = rustix::net::sockopt::set_socket_keepalive(&stream, true);
                let _ = rustix::net::sockopt::set_tcp_keepidle(&stream, KEEP_ALIVE);
                let remote = SocketAddr::new(remote.ip().to_canonical(), remote.port());
                let ticket = gate.enter(remote.ip());
                tokio::spawn(handle(Accepted { stream, remote, local, ticket, busy: life.busy() }));
            }
            Err(error) => pause(&error).await,
        }
    }
}

/// The same for a path.
pub async fn accept_unix<F, Fut>(listener: UnixListener, life: Life, handle: F)
where
    F: Fn(UnixStream, Busy) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    loop {
        let accepted = tokio::select! {
            () = life.stopping() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => drop(tokio::spawn(handle(stream, life.busy()))),
            Err(error) => pause(&error).await,
        }
    }
}

/// Out of descriptors and the like pass; a connection that is gone already is nobody's loss.
async fn pause(error: &io::Error) {
    if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
        return;
    }
    tracing::warn!(%error, "cannot accept a connection");
    tokio::time::sleep(Duration::from_millis(50)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gate_counts_all_and_each() {
        let gate = Gate::new(3, 2);
        let (a, b): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "::ffff:192.0.2.1".parse().unwrap());
        let first = gate.enter(a).unwrap();
        let _second = gate.enter(b).unwrap();
        assert_eq!(gate.enter(a).err(), Some(Full::Class));
        let _third = gate.enter("2001:db8::1".parse().unwrap()).unwrap();
        assert_eq!(gate.enter("2001:db8::2".parse().unwrap()).err(), Some(Full::All));
        drop(first);
        assert!(gate.enter("2001:db8::2".parse().unwrap()).is_ok());
        assert_eq!(ip_class("2001:db8::1".parse().unwrap()), ip_class("2001:db8::ffff".parse().unwrap()));
    }
}
