//! COMPRESS=DEFLATE: both ways, no more octets at once than asked for.
//!
//! Law: RFC 4978, RFC 1951 for what comes in; rows IM-28, TR-04: whatever a client flushes with, what it sent is there.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use libmox_service::wire::Coding;
use std::io;

/// Octets that the output grows by.
const STEP: usize = 16 * 1024;
/// Text compresses well at once; more effort gains little.
const LEVEL: u32 = 3;

/// One connection's two streams, as COMPRESS begins them.
#[derive(Debug)]
pub struct Deflate {
    incoming: Decompress,
    outgoing: Compress,
    /// The peer's stream is over.
    ended: bool,
}

impl Default for Deflate {
    fn default() -> Self {
        Self {
            incoming: Decompress::new(false),
            outgoing: Compress::new(Compression::new(LEVEL), false),
            ended: false,
        }
    }
}

impl Coding for Deflate {
    fn decode(&mut self, octets: &[u8], out: &mut Vec<u8>, room: usize) -> io::Result<usize> {
        let before = self.incoming.total_in();
        let mut some = Vec::with_capacity(room);
        let status = self.incoming.decompress_vec(octets, &mut some, FlushDecompress::Sync);
        out.extend_from_slice(&some);
        match status {
            // RFC 8437 §2: a client may end its stream behind UNAUTHENTICATE; nothing comes of what follows it.
            Ok(Status::StreamEnd) if self.ended && some.is_empty() => {
                Err(io::ErrorKind::UnexpectedEof.into())
            }
            Ok(status) => {
                self.ended = status == Status::StreamEnd;
                Ok(usize::try_from(self.incoming.total_in() - before).unwrap_or(usize::MAX))
            }
            Err(error) => Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        }
    }

    fn encode(&mut self, octets: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        let start = self.outgoing.total_in();
        loop {
            let done = usize::try_from(self.outgoing.total_in() - start).unwrap_or(usize::MAX);
            let rest = octets.get(done..).unwrap_or_default();
            out.reserve(STEP);
            self.outgoing.compress_vec(rest, out, FlushCompress::Sync).map_err(io::Error::other)?;
            // Room left over: everything is out.
            if out.len() < out.capacity() {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a client sends, each piece flushed so.
    fn sent(pieces: &[&[u8]], flush: FlushCompress) -> Vec<Vec<u8>> {
        let mut client = Compress::new(Compression::default(), false);
        pieces
            .iter()
            .map(|piece| {
                let mut out = Vec::with_capacity(piece.len() + 1000);
                client.compress_vec(piece, &mut out, flush).unwrap();
                out
            })
            .collect()
    }

    #[test]
    fn whatever_was_flushed_is_there() {
        // TR-04
        let commands: Vec<Vec<u8>> =
            (0..300).map(|n| format!("a{n} UID FETCH {n}:* (FLAGS)\r\n").into_bytes()).collect();
        let pieces: Vec<&[u8]> = commands.iter().map(Vec::as_slice).collect();
        for flush in [FlushCompress::Partial, FlushCompress::Sync, FlushCompress::Full] {
            for cut in [1, 7, usize::MAX] {
                let mut server = Deflate::default();
                for (octets, want) in sent(&pieces, flush).iter().zip(&pieces) {
                    let mut got = Vec::new();
                    for piece in octets.chunks(cut.min(octets.len())) {
                        assert_eq!(server.decode(piece, &mut got, 1 << 16).unwrap(), piece.len());
                    }
                    assert_eq!(&got, want, "{flush:?} in pieces of {cut}");
                }
            }
        }
    }

    #[test]
    fn a_bomb_comes_out_in_bounded_pieces() {
        let zeros = vec![b'0'; 10 << 20];
        let octets = sent(&[&zeros], FlushCompress::Sync).concat();
        assert!(octets.len() < 20_000);
        let mut server = Deflate::default();
        let (mut at, mut total) = (0, 0);
        loop {
            let mut got = Vec::new();
            at += server.decode(&octets[at..], &mut got, 1 << 16).unwrap();
            assert!(got.len() <= 1 << 16);
            if got.is_empty() {
                break;
            }
            total += got.len();
        }
        assert_eq!((at, total), (octets.len(), zeros.len()));
        assert!(server.decode(b"\xff\xff\xff\xff", &mut Vec::new(), 100).is_err());
    }

    #[test]
    fn what_is_encoded_reads_back_at_each_flush() {
        let (mut server, mut client) = (Deflate::default(), Deflate::default());
        let mut seed = 1_u32;
        for size in [0, 1, 100, 16_384, 70_000, 300_000] {
            let octets: Vec<u8> = (0..size)
                .map(|_| {
                    seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    seed.to_be_bytes()[0]
                })
                .collect();
            let mut coded = Vec::new();
            server.encode(&octets, &mut coded).unwrap();
            let (mut got, mut at) = (Vec::new(), 0);
            while got.len() < octets.len() {
                at += client.decode(&coded[at..], &mut got, 1 << 16).unwrap();
            }
            assert_eq!(got, octets);
            client.decode(&coded[at..], &mut got, 1 << 16).unwrap();
        }
    }
}
