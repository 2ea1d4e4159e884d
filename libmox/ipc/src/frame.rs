//! Frames: bytes with descriptors in, header and payload out, and the other way round.
//!
//! Descriptors travel with the first byte of their frame; Linux ends a read at them, so they arrive in frame order.

use crate::limits::{FRAME_DESCRIPTORS, FRAME_OCTETS};
use crate::socket::Socket;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Octets of the header.
pub const HEADER_OCTETS: usize = 16;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// The first frame of either side.
    Hello = 0,
    /// A request.
    Call = 1,
    /// The end of a call: `Result<Reply, Fault>`.
    Reply = 2,
    /// One item of a stream.
    Item = 3,
    /// More items may be sent: `u32`.
    Credit = 4,
    /// The caller no longer wants this stream.
    Cancel = 5,
    /// A request that is carried out once, however often it comes: [`crate::OnceKey`], then the request.
    CallOnce = 6,
    /// The other side stops: every request it read is answered, those that are not it never saw.
    Bye = 7,
}

impl Kind {
    fn read(byte: u8) -> Option<Self> {
        [
            Self::Hello,
            Self::Call,
            Self::Reply,
            Self::Item,
            Self::Credit,
            Self::Cancel,
            Self::CallOnce,
            Self::Bye,
        ]
        .into_iter()
        .find(|k| *k as u8 == byte)
    }
}

/// The fixed part of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Octets that follow.
    pub length: usize,
    /// What they are.
    pub kind: Kind,
    /// Descriptors that came along.
    pub descriptors: usize,
    /// Which request this belongs to.
    pub id: u64,
}

/// Why a frame cannot be read. Each of them ends the connection.
#[derive(Debug, thiserror::Error)]
pub enum FrameFault {
    /// Larger than [`FRAME_OCTETS`].
    #[error("frame of {0} octets is over the limit")]
    TooLong(usize),
    /// Unknown kind, too many descriptors, or reserved bytes in use.
    #[error("malformed frame header")]
    Malformed,
    /// The header names more descriptors than came, or they were cut off.
    #[error("descriptors of a frame are missing")]
    Descriptors,
    /// The peer went away in the middle of a frame.
    #[error("connection ended inside a frame")]
    Torn,
    /// The payload is not what its kind and contract say.
    #[error("payload does not decode")]
    Payload(#[source] postcard::Error),
    /// The socket failed.
    #[error("socket failed")]
    Io(#[from] io::Error),
}

impl Header {
    /// Reads the fixed part.
    pub fn read(bytes: &[u8; HEADER_OCTETS]) -> Result<Self, FrameFault> {
        let [l0, l1, l2, l3, kind, descriptors, 0, 0, id @ ..] = *bytes else {
            return Err(FrameFault::Malformed);
        };
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        if length > FRAME_OCTETS {
            return Err(FrameFault::TooLong(length));
        }
        let descriptors = usize::from(descriptors);
        if descriptors > FRAME_DESCRIPTORS {
            return Err(FrameFault::Malformed);
        }
        let kind = Kind::read(kind).ok_or(FrameFault::Malformed)?;
        Ok(Self { length, kind, descriptors, id: u64::from_le_bytes(id) })
    }
}

/// A frame ready to be written.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub bytes: Vec<u8>,
    pub descriptors: Vec<OwnedFd>,
}

impl Outgoing {
    /// Encodes `body`. Too large a body is the caller's bug or a hostile size: an error, never a panic.
    pub fn new<T: Serialize>(
        kind: Kind,
        id: u64,
        body: &T,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Self, FrameFault> {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(&[0; HEADER_OCTETS]);
        let bytes = postcard::to_extend(body, bytes).map_err(FrameFault::Payload)?;
        Self::framed(kind, id, bytes, descriptors)
    }

    /// A body that is encoded already.
    pub fn encoded(kind: Kind, id: u64, body: &[u8]) -> Result<Self, FrameFault> {
        let mut bytes = Vec::with_capacity(HEADER_OCTETS + body.len());
        bytes.extend_from_slice(&[0; HEADER_OCTETS]);
        bytes.extend_from_slice(body);
        Self::framed(kind, id, bytes, Vec::new())
    }

    fn framed(
        kind: Kind,
        id: u64,
        mut bytes: Vec<u8>,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Self, FrameFault> {
        let length = bytes.len() - HEADER_OCTETS;
        let short = u32::try_from(length)
            .ok()
            .filter(|_| length <= FRAME_OCTETS)
            .ok_or(FrameFault::TooLong(length))?;
        if descriptors.len() > FRAME_DESCRIPTORS {
            return Err(FrameFault::Malformed);
        }
        bytes[..4].copy_from_slice(&short.to_le_bytes());
        bytes[4] = kind as u8;
        bytes[5] = u8::try_from(descriptors.len()).map_err(|_| FrameFault::Malformed)?;
        bytes[8..16].copy_from_slice(&id.to_le_bytes());
        Ok(Self { bytes, descriptors })
    }
}

/// Writes frames, those without descriptors together.
pub(crate) async fn write_frames(
    stream: &Socket,
    frames: &mut Vec<Outgoing>,
    joined: &mut Vec<u8>,
) -> io::Result<()> {
    joined.clear();
    for frame in frames.drain(..) {
        if frame.descriptors.is_empty() {
            joined.extend_from_slice(&frame.bytes);
            continue;
        }
        write_all(stream, joined, &[]).await?;
        joined.clear();
        write_all(stream, &frame.bytes, &frame.descriptors).await?;
    }
    write_all(stream, joined, &[]).await
}

async fn write_all(stream: &Socket, mut bytes: &[u8], mut descriptors: &[OwnedFd]) -> io::Result<()> {
    while !bytes.is_empty() {
        let sent = stream
            .write(|stream| {
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FRAME_DESCRIPTORS))];
                let mut ancillary = SendAncillaryBuffer::new(&mut space);
                let borrowed: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
                if !borrowed.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(&borrowed)) {
                    return Err(io::ErrorKind::InvalidInput.into());
                }
                Ok(sendmsg(stream, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL)?)
            })
            .await?;
        descriptors = &[];
        bytes = &bytes[sent..];
    }
    Ok(())
}

/// Octets read from the socket at once.
const CHUNK: usize = 64 * 1024;

/// Cuts the byte stream into frames; holds at most one frame and one chunk.
#[derive(Debug, Default)]
pub struct FrameReader {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    descriptors: VecDeque<OwnedFd>,
}

/// A frame whose payload still lies in the reader's buffer.
#[derive(Debug)]
pub(crate) struct Frame<'a> {
    pub header: Header,
    pub payload: &'a [u8],
    pub descriptors: Vec<OwnedFd>,
}

impl FrameReader {
    /// The next frame; none at a clean end.
    pub(crate) async fn next(&mut self, stream: &Socket) -> Result<Option<Frame<'_>>, FrameFault> {
        let header = loop {
            if let Some(bytes) = self.buffer[self.start..self.end].first_chunk::<HEADER_OCTETS>() {
                let header = Header::read(bytes)?;
                if self.end - self.start >= HEADER_OCTETS + header.length {
                    break header;
                }
                self.room(HEADER_OCTETS + header.length);
            } else {
                self.room(HEADER_OCTETS);
            }
            if !self.fill(stream).await? {
                return if self.start == self.end { Ok(None) } else { Err(FrameFault::Torn) };
            }
        };
        if self.descriptors.len() < header.descriptors {
            return Err(FrameFault::Descriptors);
        }
        let descriptors = self.descriptors.drain(..header.descriptors).collect();
        let from = self.start + HEADER_OCTETS;
        self.start = from + header.length;
        Ok(Some(Frame { header, payload: &self.buffer[from..from + header.length], descriptors }))
    }

    /// Makes place for a frame of `whole` octets at `start` and for something to read.
    fn room(&mut self, whole: usize) {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let want = whole.max(self.end + 1).max(CHUNK);
        if self.buffer.len() < want {
            self.buffer.resize(want, 0);
        } else if self.buffer.len() > 4 * CHUNK && want <= CHUNK {
            // One large frame must not pin its size for the life of the connection.
            self.buffer.truncate(CHUNK);
            self.buffer.shrink_to_fit();
        }
    }

    async fn fill(&mut self, stream: &Socket) -> Result<bool, FrameFault> {
        let (buffer, queue) = (&mut self.buffer[self.end..], &mut self.descriptors);
        let (read, truncated) = stream
            .read(|stream| {
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FRAME_DESCRIPTORS))];
                let mut ancillary = RecvAncillaryBuffer::new(&mut space);
                let got =
                    recvmsg(stream, &mut [IoSliceMut::new(buffer)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
                for message in ancillary.drain() {
                    if let RecvAncillaryMessage::ScmRights(fds) = message {
                        queue.extend(fds);
                    }
                }
                Ok((got.bytes, got.flags.contains(rustix::net::ReturnFlags::CTRUNC)))
            })
            .await?;
        // A frame's descriptors arrive with its first byte, so no more than one frame's may be waiting.
        if truncated || self.descriptors.len() > FRAME_DESCRIPTORS {
            return Err(FrameFault::Descriptors);
        }
        self.end += read;
        Ok(read > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_header_bytes() {
        let frame = Outgoing::new(Kind::Call, 0x0102, &"hi", Vec::new()).unwrap();
        assert_eq!(frame.bytes, [3, 0, 0, 0, 1, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 2, b'h', b'i']);
    }

    #[test]
    fn bad_headers_are_refused() {
        let mut bytes = [0u8; HEADER_OCTETS];
        assert!(Header::read(&bytes).is_ok());
        bytes[4] = 9;
        assert!(matches!(Header::read(&bytes), Err(FrameFault::Malformed)));
        bytes[4] = 0;
        bytes[5] = 5;
        assert!(matches!(Header::read(&bytes), Err(FrameFault::Malformed)));
        bytes[5] = 0;
        bytes[7] = 1;
        assert!(matches!(Header::read(&bytes), Err(FrameFault::Malformed)));
        bytes[7] = 0;
        bytes[3] = 1;
        assert!(matches!(Header::read(&bytes), Err(FrameFault::TooLong(_))));
    }

    #[test]
    fn an_over_long_body_is_an_error() {
        let body = vec![0u8; FRAME_OCTETS + 1];
        assert!(matches!(Outgoing::new(Kind::Call, 1, &body, Vec::new()), Err(FrameFault::TooLong(_))));
    }
}
