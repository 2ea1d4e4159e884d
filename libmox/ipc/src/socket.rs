//! A socket that is told of what can be read, and of room to write only while there is none.
//!
//! Whoever is registered for both is woken each time the other side reads, though it has nothing to write: two or three
//! times for each message.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd};
use std::os::unix::net::UnixStream;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct Socket(AsyncFd<UnixStream>);

impl Socket {
    pub fn new(stream: tokio::net::UnixStream) -> io::Result<Self> {
        registered(stream.into_std()?, Interest::READABLE).map(Self)
    }

    /// Tries, and again whenever there is something to read, until it would not block.
    pub async fn read<T>(&self, mut attempt: impl FnMut(&UnixStream) -> io::Result<T>) -> io::Result<T> {
        self.0.async_io(Interest::READABLE, |stream| attempt(stream)).await
    }

    /// Tries, and again whenever there is room, until it would not block.
    pub async fn write<T>(&self, mut attempt: impl FnMut(&UnixStream) -> io::Result<T>) -> io::Result<T> {
        match attempt(self.0.get_ref()) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            done => return done,
        }
        // A descriptor of its own: the first one's registration stays as it is.
        let stream = self.0.get_ref();
        let room = registered(stream.as_fd().try_clone_to_owned()?, Interest::WRITABLE)?;
        room.async_io(Interest::WRITABLE, |_| attempt(stream)).await
    }

    /// Ends both directions, for the other half and for the peer.
    pub fn shut_down(&self) {
        let _ = self.0.get_ref().shutdown(std::net::Shutdown::Both);
    }
}

#[expect(
    deprecated,
    reason = "the other one is unsafe: both want a descriptor that stays, as it does where it is owned"
)]
fn registered<T: AsRawFd>(owner: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    AsyncFd::with_interest(owner, interest)
}
