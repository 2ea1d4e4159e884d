//! Connections that another process accepted: it looks at the first octets without taking them, and hands the socket on.
//!
//! Law: RFC 7301 (which protocol a client of port 443 wants); row IM-40. On the socket of the receiver one connection
//! brings one descriptor, with the octet `T`, and ends. Who may connect is decided by the file's rights.
//! Fails with: `io::Error`; what is no TCP connection is never served.

use crate::life::Life;
use crate::net::{Accepted, Gate, accept_unix, accepted};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketType, recvmsg, sendmsg,
};
use std::future::Future;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixListener, UnixStream};

/// A TCP connection nothing was read from.
const TCP: u8 = b'T';
/// Descriptors there is room for: one more than may come, so that too many are seen.
const ROOM: usize = 2;
/// For the other side to say what it came for.
const WAIT: Duration = Duration::from_secs(10);

/// Hands a connection on. It is the receiver's from here on, whatever becomes of it.
pub async fn hand_on(to: &Path, connection: BorrowedFd<'_>) -> io::Result<()> {
    let stream = UnixStream::connect(to).await?;
    stream
        .async_io(Interest::WRITABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            let descriptors = [connection];
            if !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            sendmsg(&stream, &[IoSlice::new(&[TCP])], &mut ancillary, SendFlags::NOSIGNAL)?;
            Ok(())
        })
        .await
}

/// Serves what is handed on until the service stops, as [`crate::net::accept_tcp`] serves what it accepts itself.
pub async fn accept_handed<F, Fut>(listener: UnixListener, gate: Arc<Gate>, life: Life, handle: F)
where
    F: Fn(Accepted) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    accept_unix(listener, life, move |stream, busy| {
        let (gate, handle) = (Arc::clone(&gate), handle.clone());
        async move {
            let taken = tokio::time::timeout(WAIT, take(&stream)).await;
            match taken.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok(stream) => match accepted(stream, &gate, busy) {
                    Ok(accepted) => handle(accepted).await,
                    // Gone already.
                    Err(error) => tracing::debug!(%error, "a connection handed on"),
                },
                Err(error) => tracing::warn!(%error, "what was handed on cannot be served"),
            }
        }
    })
    .await;
}

/// The one connection that comes by a socket.
async fn take(stream: &UnixStream) -> io::Result<TcpStream> {
    let strange = |what: &'static str| io::Error::new(io::ErrorKind::InvalidData, what);
    let (octet, mut descriptors) = stream
        .async_io(Interest::READABLE, || {
            let mut octet = [0];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(ROOM))];
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let got =
                recvmsg(stream, &mut [IoSliceMut::new(&mut octet)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
            let mut descriptors: Vec<OwnedFd> = Vec::new();
            for message in ancillary.drain() {
                if let RecvAncillaryMessage::ScmRights(some) = message {
                    descriptors.extend(some);
                }
            }
            let whole = got.bytes == 1 && !got.flags.contains(ReturnFlags::CTRUNC);
            Ok((whole.then_some(octet[0]), descriptors))
        })
        .await?;
    let (Some(TCP), Some(descriptor), true) = (octet, descriptors.pop(), descriptors.is_empty()) else {
        return Err(strange("not one TCP connection"));
    };
    let family = rustix::net::sockopt::socket_domain(descriptor.as_fd())?;
    let kind = rustix::net::sockopt::socket_type(descriptor.as_fd())?;
    if !matches!(family, AddressFamily::INET | AddressFamily::INET6) || kind != SocketType::STREAM {
        return Err(strange("not a TCP socket"));
    }
    let stream = std::net::TcpStream::from(descriptor);
    stream.set_nonblocking(true)?;
    TcpStream::from_std(stream)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    /// What is not one TCP connection is dropped; what is comes with the address of its client, unread.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_connection_is_handed_on_unread() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("handoff.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let gate = Gate::new(10, 10, 100);
        let serving =
            tokio::spawn(accept_handed(listener, gate, Life::default(), |mut accepted| async move {
                let mut said = vec![0; 5];
                accepted.stream.read_exact(&mut said).await.unwrap();
                assert!(accepted.ticket.is_ok());
                let text = format!("{} {}", String::from_utf8(said).unwrap(), accepted.remote);
                accepted.stream.write_all(text.as_bytes()).await.unwrap();
            }));
        let front = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connect = async || {
            let mut client = TcpStream::connect(front.local_addr().unwrap()).await.unwrap();
            client.write_all(b"hello").await.unwrap();
            let (held, _) = front.accept().await.unwrap();
            (client, held)
        };
        // A socket of another kind, none, and nothing at all.
        let (mut one, _two) = std::os::unix::net::UnixStream::pair().unwrap();
        hand_on(&path, one.as_fd()).await.unwrap();
        one.write_all(b"x").unwrap();
        UnixStream::connect(&path).await.unwrap().write_all(b"T").await.unwrap();
        drop(UnixStream::connect(&path).await.unwrap());
        let (mut client, held) = connect().await;
        let mut seen = [0; 5];
        held.peek(&mut seen).await.unwrap();
        assert_eq!(&seen, b"hello");
        hand_on(&path, held.as_fd()).await.unwrap();
        drop(held);
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, format!("hello {}", client.local_addr().unwrap()));
        assert!(!serving.is_finished());
        serving.abort();
    }
}
