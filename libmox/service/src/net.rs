//! Accepting connections: counted, limited, each keeping the service busy.

use crate::life::{Busy, Life};
use crate::limiter::{Class, Limiter, WIDER, classes};
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// Silence on a connection before its peer is asked whether it is there. Row IM-02.
const KEEP_ALIVE: Duration = Duration::from_secs(5 * 60);

/// How many connections a service takes, at once and anew in a minute: all together, and of each class of addresses
/// ([`crate::limiter`]; row SR-31).
#[derive(Debug)]
pub struct Gate {
    most: u64,
    most_of_class: u64,
    new_of_class: u64,
    rate: Limiter<1>,
    state: Mutex<GateState>,
}

/// Classes whose new connections are counted at one time.
const CLASSES: usize = 100_000;

#[derive(Debug, Default)]
struct GateState {
    open: u64,
    by_class: HashMap<Class, u64>,
}

/// A place inside the gate; given back when dropped.
#[derive(Debug)]
pub struct Ticket {
    gate: Arc<Gate>,
    ip: IpAddr,
}

/// Why there was no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// Everybody together.
    All,
    /// The client's own address class.
    Class,
    /// Too many new connections of the client's address class within a minute.
    Rate,
}

impl Gate {
    /// At most `most` connections; from one IPv4 address or IPv6 /64 `most_of_class` at once and `new_of_class` new ones
    /// a minute, from wider classes three and nine times as many.
    #[must_use]
    pub fn new(most: u64, most_of_class: u64, new_of_class: u64) -> Arc<Self> {
        let rate = Limiter::new([Duration::from_secs(60)], CLASSES);
        Arc::new(Self { most, most_of_class, new_of_class, rate, state: Mutex::default() })
    }

    fn enter(self: &Arc<Self>, ip: IpAddr) -> Result<Ticket, Full> {
        if !self.rate.take(0, ip, 1, [self.new_of_class]) {
            return Err(Full::Rate);
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.open >= self.most {
            return Err(Full::All);
        }
        for (class, wider) in classes(ip).into_iter().zip(WIDER) {
            let open = state.by_class.get(&class).copied().unwrap_or(0);
            if open >= self.most_of_class.saturating_mul(wider) {
                return Err(Full::Class);
            }
        }
        for class in classes(ip) {
            *state.by_class.entry(class).or_default() += 1;
        }
        state.open += 1;
        Ok(Ticket { gate: Arc::clone(self), ip })
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.gate.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.open -= 1;
        for class in classes(self.ip) {
            if let Some(count) = state.by_class.get_mut(&class) {
                *count -= 1;
                if *count == 0 {
                    state.by_class.remove(&class);
                }
            }
        }
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
        let connection = tokio::select! {
            () = life.stopping() => return,
            connection = listener.accept() => connection,
        };
        match connection.and_then(|(stream, _)| accepted(stream, &gate, life.busy())) {
            Ok(accepted) => drop(crate::spawn(handle(accepted))),
            Err(error) => pause(&error).await,
        }
    }
}

/// A connection, counted at the gate.
pub(crate) fn accepted(stream: TcpStream, gate: &Arc<Gate>, busy: Busy) -> io::Result<Accepted> {
    let (local, remote) = (stream.local_addr()?, stream.peer_addr()?);
    let _ = stream.set_nodelay(true);
    // A peer that is gone without a word is noticed. What cannot be set is not needed.
    let _ = rustix::net::sockopt::set_socket_keepalive(&stream, true);
    let _ = rustix::net::sockopt::set_tcp_keepidle(&stream, KEEP_ALIVE);
    let remote = SocketAddr::new(remote.ip().to_canonical(), remote.port());
    let ticket = gate.enter(remote.ip());
    Ok(Accepted { stream, remote, local, ticket, busy })
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
            Ok((stream, _)) => drop(crate::spawn(handle(stream, life.busy()))),
            Err(error) => pause(&error).await,
        }
    }
}

/// Out of descriptors and the like pass; a connection that is gone already is nobody's loss.
async fn pause(error: &io::Error) {
    if matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::NotConnected
    ) {
        return;
    }
    tracing::warn!(%error, "cannot accept a connection");
    tokio::time::sleep(Duration::from_millis(50)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn the_gate_counts_all_and_each_class() {
        let gate = Gate::new(8, 2, 1000);
        let first = gate.enter(ip("192.0.2.1")).unwrap();
        let _second = gate.enter(ip("::ffff:192.0.2.1")).unwrap();
        assert_eq!(gate.enter(ip("192.0.2.1")).err(), Some(Full::Class));
        // Six of one /26.
        let more: Vec<_> = (2..6).map(|n| gate.enter(ip(&format!("192.0.2.{n}"))).unwrap()).collect();
        assert_eq!(gate.enter(ip("192.0.2.9")).err(), Some(Full::Class));
        let _other = gate.enter(ip("192.0.2.99")).unwrap();
        let _six = gate.enter(ip("2001:db8::1")).unwrap();
        assert_eq!(gate.enter(ip("2001:db8:9::2")).err(), Some(Full::All));
        drop(first);
        assert!(gate.enter(ip("2001:db8::2")).is_ok());
        drop(more);
        assert!(gate.enter(ip("192.0.2.9")).is_ok());
    }

    /// Row IM-02: a peer that is gone without a word is asked after five minutes.
    #[tokio::test]
    async fn peers_that_are_gone_are_noticed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (_peer, connection) =
            tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        let (gate, life) = (Gate::new(1, 1, 1), Life::default());
        let accepted = accepted(connection.unwrap().0, &gate, life.busy()).unwrap();
        assert!(rustix::net::sockopt::socket_keepalive(&accepted.stream).unwrap());
        let idle = rustix::net::sockopt::tcp_keepidle(&accepted.stream).unwrap();
        assert_eq!(idle, Duration::from_secs(300));
    }

    #[tokio::test(start_paused = true)]
    async fn new_connections_are_counted_by_the_minute() {
        let gate = Gate::new(1000, 1000, 3);
        for _ in 0..3 {
            drop(gate.enter(ip("192.0.2.1")).unwrap());
        }
        assert_eq!(gate.enter(ip("192.0.2.1")).err(), Some(Full::Rate));
        assert!(gate.enter(ip("192.0.2.2")).is_ok());
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(gate.enter(ip("192.0.2.1")).is_ok());
    }
}
