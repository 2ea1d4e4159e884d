//! One connection as bytes: what came in and was not used yet, what waits to go out, with deadlines. Knows no protocol.
//!
//! Fails with: [`WireFault`].

use crate::tls::{Tls, TlsFacts, TlsFault};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;

/// Octets read at once.
const READ: usize = 16 * 1024;
/// Octets decoded at once, however well they were compressed.
const DECODED: usize = 64 * 1024;
/// Octets kept allocated for an idle connection in either direction.
const KEEP: usize = 1024;
/// A handshake takes no longer.
pub const HANDSHAKE_WAIT: Duration = Duration::from_secs(30);

/// Why a connection is over.
#[derive(Debug, thiserror::Error)]
pub enum WireFault {
    /// The peer closed it.
    #[error("connection closed by peer")]
    Closed,
    /// Nothing came, or nothing could be sent, for too long.
    #[error("timed out")]
    Timeout,
    /// The network.
    #[error("io error")]
    Io(#[from] io::Error),
    /// Plain text was waiting when TLS was to start: somebody may have injected it (RFC 3207 §6, RFC 9051 §11).
    #[error("bytes before the TLS handshake")]
    Injected,
    /// The handshake.
    #[error("TLS")]
    Tls(#[from] TlsFault),
}

/// The first octet of a handshake record. RFC 8446 §5.1.
const HANDSHAKE_RECORD: u8 = 22;

enum Io {
    Tcp(TcpStream),
    Tls(Box<TlsStream<Ahead>>),
    Unix(UnixStream),
    /// While one becomes another.
    Gone,
}

/// How octets travel where a protocol compresses them.
pub trait Coding: Send + Sync {
    /// Undoes it for some octets from the peer, writing at most about `room` octets. Says how many it took; an error is
    /// the end of the connection.
    fn decode(&mut self, octets: &[u8], out: &mut Vec<u8>, room: usize) -> io::Result<usize>;
    /// Does it for octets that the peer is to read at once.
    fn encode(&mut self, octets: &[u8], out: &mut Vec<u8>) -> io::Result<()>;
}

struct Coded {
    coding: Box<dyn Coding>,
    /// As it came, not decoded yet.
    raw: Vec<u8>,
    /// The coding may hold more than it could write.
    full: bool,
}

impl Coded {
    /// Decodes some of what is there. Says how much came out.
    fn decode(&mut self, into: &mut Vec<u8>) -> io::Result<usize> {
        if self.raw.is_empty() && !self.full {
            return Ok(0);
        }
        let before = into.len();
        let took = self.coding.decode(&self.raw, into, DECODED)?;
        self.raw.drain(..took.min(self.raw.len()));
        let came = into.len() - before;
        self.full = came >= DECODED;
        Ok(came)
    }
}

/// A connection.
pub struct Wire {
    io: Io,
    input: Vec<u8>,
    used: usize,
    output: Vec<u8>,
    tls: Option<TlsFacts>,
    coded: Option<Box<Coded>>,
    slow: Duration,
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Wire({} in, {} out, tls {})",
            self.input.len() - self.used,
            self.output.len(),
            self.tls.is_some()
        )
    }
}

impl From<TcpStream> for Wire {
    fn from(stream: TcpStream) -> Self {
        Self::new(Io::Tcp(stream))
    }
}

impl From<UnixStream> for Wire {
    fn from(stream: UnixStream) -> Self {
        Self::new(Io::Unix(stream))
    }
}

impl Wire {
    fn new(io: Io) -> Self {
        Self {
            io,
            input: Vec::new(),
            used: 0,
            output: Vec::new(),
            tls: None,
            coded: None,
            slow: Duration::ZERO,
        }
    }

    /// What came in and was not used yet.
    #[must_use]
    pub fn buffered(&self) -> &[u8] {
        &self.input[self.used..]
    }

    /// The first `n` buffered bytes are used up.
    pub fn consume(&mut self, n: usize) {
        self.used = (self.used + n).min(self.input.len());
        if self.used == self.input.len() {
            self.input.clear();
            self.used = 0;
        }
    }

    /// From now on each read waits this long first, and replies leave an octet at a time, with as much time between them:
    /// somebody tried our patience (row SR-30). Zero: at full speed again.
    pub fn slow_down(&mut self, pause: Duration) {
        self.slow = pause;
    }

    /// Reads some more behind what is buffered. The caller bounds what it lets pile up.
    pub async fn fill(&mut self, wait: Duration) -> Result<usize, WireFault> {
        if self.used > 0 {
            self.input.drain(..self.used);
            self.used = 0;
        }
        if !self.slow.is_zero() {
            tokio::time::sleep(self.slow).await;
        }
        let reading = async {
            let Some(coded) = &mut self.coded else { return self.io.read_some(&mut self.input).await };
            loop {
                match coded.decode(&mut self.input)? {
                    // What came gave nothing yet.
                    0 => {}
                    came => return Ok(came),
                }
                if self.io.read_some(&mut coded.raw).await? == 0 {
                    return Ok(0);
                }
            }
        };
        match tokio::time::timeout(wait, reading).await {
            Ok(Ok(0)) => Err(WireFault::Closed),
            Ok(Ok(n)) => Ok(n),
            Ok(Err(error)) if is_end(&error) => Err(WireFault::Closed),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(WireFault::Timeout),
        }
    }

    /// Where replies are written to; they leave at [`Self::flush`].
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Sends what waits.
    pub async fn flush(&mut self, wait: Duration) -> Result<(), WireFault> {
        if self.output.is_empty() {
            return Ok(());
        }
        let (slow, begun) = (self.slow, tokio::time::Instant::now());
        let sending = async {
            let mut coded = Vec::new();
            let mut rest = match &mut self.coded {
                None => &self.output[..],
                Some(coding) => {
                    coding.coding.encode(&self.output, &mut coded)?;
                    &coded[..]
                }
            };
            // The rest goes in one piece while there is still time for it.
            while !slow.is_zero()
                && let Some((octet, after)) = rest.split_first()
                && begun.elapsed() + slow * 2 < wait
            {
                self.io.write_all(&[*octet]).await?;
                self.io.flush().await?;
                rest = after;
                if !rest.is_empty() {
                    tokio::time::sleep(slow).await;
                }
            }
            self.io.write_all(rest).await?;
            self.io.flush().await
        };
        let outcome = tokio::time::timeout(wait, sending).await;
        self.output.clear();
        match outcome {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) if is_end(&error) => Err(WireFault::Closed),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(WireFault::Timeout),
        }
    }

    /// Gives memory back before a long wait.
    pub fn rest(&mut self) {
        if self.input.is_empty() {
            self.input = Vec::new();
        }
        if self.output.capacity() > KEEP {
            self.output = Vec::new();
        }
    }

    /// From here on octets are coded both ways: what came in and was not used yet is coded already. What waits to go
    /// out is not, and must be sent before.
    pub fn start_coding(&mut self, coding: Box<dyn Coding>) {
        let raw = self.input.split_off(self.used.min(self.input.len()));
        self.input = Vec::new();
        self.used = 0;
        self.coded = Some(Box::new(Coded { coding, raw, full: false }));
    }

    /// Octets are as they are again: what came in and was not decoded is not coded.
    pub fn stop_coding(&mut self) {
        if let Some(coded) = self.coded.take() {
            self.input.extend_from_slice(&coded.raw);
        }
    }

    /// Whether octets are coded.
    #[must_use]
    pub fn is_coded(&self) -> bool {
        self.coded.is_some()
    }

    /// What is known of the TLS layer, if there is one.
    #[must_use]
    pub fn tls(&self) -> Option<&TlsFacts> {
        self.tls.as_ref()
    }

    /// Starts TLS. Buffered plaintext ends the connection: it was not protected, and must not be read as if it were.
    /// A handshake that a client in a hurry sent along is the handshake (row SR-04): what others put into it spoils it.
    pub async fn start_tls(&mut self, tls: &Tls) -> Result<(), WireFault> {
        if self.buffered().first().is_some_and(|first| *first != HANDSHAKE_RECORD) {
            return Err(WireFault::Injected);
        }
        let mut came = std::mem::take(&mut self.input);
        came.drain(..std::mem::take(&mut self.used));
        match std::mem::replace(&mut self.io, Io::Gone) {
            Io::Tcp(stream) => {
                let stream = Ahead { came, stream };
                let (stream, facts) = tokio::time::timeout(HANDSHAKE_WAIT, tls.accept(stream))
                    .await
                    .map_err(|_| WireFault::Timeout)??;
                self.io = Io::Tls(Box::new(stream));
                self.tls = Some(facts);
                Ok(())
            }
            other => {
                self.io = other;
                Err(io::Error::from(io::ErrorKind::Unsupported).into())
            }
        }
    }

    /// Says goodbye: sends what waits, ends TLS and the connection. Failing is no matter, nobody listens any more.
    pub async fn close(&mut self, wait: Duration) {
        let _ = self.flush(wait).await;
        let _ = tokio::time::timeout(wait, self.io.shutdown()).await;
    }
}

fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind as K;
    matches!(
        error.kind(),
        K::UnexpectedEof | K::ConnectionReset | K::BrokenPipe | K::ConnectionAborted | K::NotConnected
    )
}

impl Io {
    /// Waits without a buffer; takes one only when there is something, so that an idle connection holds none.
    async fn read_some(&mut self, into: &mut Vec<u8>) -> io::Result<usize> {
        match self {
            Io::Tcp(stream) => loop {
                stream.readable().await?;
                into.reserve(READ);
                match stream.try_read_buf(into) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => into.shrink_to(KEEP),
                    other => return other,
                }
            },
            Io::Unix(stream) => loop {
                stream.readable().await?;
                into.reserve(READ);
                match stream.try_read_buf(into) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => into.shrink_to(KEEP),
                    other => return other,
                }
            },
            Io::Tls(stream) => {
                // One byte on the stack until a record is there: rustls holds the rest.
                let mut first = [0];
                if stream.read(&mut first).await? == 0 {
                    return Ok(0);
                }
                into.reserve(READ);
                into.push(first[0]);
                let mut more = 1;
                // The rest of what is decrypted already; never waits.
                loop {
                    let space = into.capacity() - into.len();
                    if space == 0 {
                        return Ok(more);
                    }
                    let start = into.len();
                    into.resize(start + space, 0);
                    let mut buffer = ReadBuf::new(&mut into[start..]);
                    let polled = std::future::poll_fn(|cx| {
                        Poll::Ready(match Pin::new(&mut *stream).poll_read(cx, &mut buffer) {
                            Poll::Ready(outcome) => Some(outcome),
                            Poll::Pending => None,
                        })
                    })
                    .await;
                    let filled = buffer.filled().len();
                    into.truncate(start + filled);
                    more += filled;
                    match polled {
                        Some(Ok(())) if filled > 0 => {}
                        // An end or an error shows itself at the next read.
                        _ => return Ok(more),
                    }
                }
            }
            Io::Gone => Ok(0),
        }
    }
}

/// A connection of which some was read already.
struct Ahead {
    came: Vec<u8>,
    stream: TcpStream,
}

impl AsyncRead for Ahead {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.came.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let now = self.came.len().min(buf.remaining());
        buf.put_slice(&self.came[..now]);
        match now < self.came.len() {
            true => drop(self.came.drain(..now)),
            false => self.came = Vec::new(),
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Ahead {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Io::Tcp(s) => Pin::new(s).poll_read(cx, buf),
            Io::Tls(s) => Pin::new(s).poll_read(cx, buf),
            Io::Unix(s) => Pin::new(s).poll_read(cx, buf),
            Io::Gone => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Io::Tcp(s) => Pin::new(s).poll_write(cx, buf),
            Io::Tls(s) => Pin::new(s).poll_write(cx, buf),
            Io::Unix(s) => Pin::new(s).poll_write(cx, buf),
            Io::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Io::Tcp(s) => Pin::new(s).poll_flush(cx),
            Io::Tls(s) => Pin::new(s).poll_flush(cx),
            Io::Unix(s) => Pin::new(s).poll_flush(cx),
            Io::Gone => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Io::Tcp(s) => Pin::new(s).poll_shutdown(cx),
            Io::Tls(s) => Pin::new(s).poll_shutdown(cx),
            Io::Unix(s) => Pin::new(s).poll_shutdown(cx),
            Io::Gone => Poll::Ready(Ok(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    async fn pair() -> (Wire, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Wire::from(ours), theirs)
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_connection_is_slow_both_ways_and_still_whole() {
        // Row SR-30.
        let (mut wire, mut peer) = pair().await;
        let second = Duration::from_secs(1);
        wire.slow_down(second);
        peer.write_all(b"QUIT\r\n").await.unwrap();
        let begun = Instant::now();
        wire.fill(second * 30).await.unwrap();
        assert!(begun.elapsed() >= second);
        let begun = Instant::now();
        wire.output().extend_from_slice(b"221 bye\r\n");
        wire.flush(second * 30).await.unwrap();
        assert!((second * 8..second * 10).contains(&begun.elapsed()), "{:?}", begun.elapsed());
        // What does not fit the time goes at its end, in one piece.
        let begun = Instant::now();
        wire.output().extend_from_slice(&[b'x'; 500]);
        wire.flush(second * 30).await.unwrap();
        assert!((second * 27..second * 30).contains(&begun.elapsed()), "{:?}", begun.elapsed());
        let mut got = Vec::new();
        wire.close(second).await;
        peer.read_to_end(&mut got).await.unwrap();
        assert_eq!(got.len(), 509);
        let (mut wire, _peer) = pair().await;
        wire.slow_down(second);
        wire.slow_down(Duration::ZERO);
        let begun = Instant::now();
        wire.output().extend_from_slice(b"at once");
        wire.flush(second).await.unwrap();
        assert!(begun.elapsed() < second);
    }
}
