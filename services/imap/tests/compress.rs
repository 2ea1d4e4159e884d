//! A client that compresses: what it flushed is carried out, what it is told it can read at once.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[allow(dead_code, reason = "each test binary uses its part")]
mod support;

use flate2::FlushCompress;
use support::{Packing, Peer, World};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A connection behind COMPRESS.
struct Packed {
    peer: Peer,
    packing: Packing,
    text: Vec<u8>,
}

impl Packed {
    /// Says COMPRESS and the first command behind it in one go.
    async fn start(mut peer: Peer, first: &str) -> Self {
        let mut packing = Packing::default();
        let mut octets = b"z COMPRESS DEFLATE\r\n".to_vec();
        octets.extend(packing.pack(first.as_bytes(), FlushCompress::Partial));
        peer.stream.write_all(&octets).await.unwrap();
        assert_eq!(peer.response().await, "z OK DEFLATE active");
        let mut text = Vec::new();
        packing.unpack(&std::mem::take(&mut peer.input), &mut text);
        Self { peer, packing, text }
    }

    async fn send(&mut self, text: &[u8], flush: FlushCompress) {
        let octets = self.packing.pack(text, flush);
        self.peer.stream.write_all(&octets).await.unwrap();
    }

    /// Everything up to a line that begins so.
    async fn until(&mut self, tag: &str) -> String {
        loop {
            let text = String::from_utf8_lossy(&self.text).into_owned();
            let at =
                if text.starts_with(tag) { Some(0) } else { text.find(&format!("\n{tag}")).map(|at| at + 1) };
            if let Some(at) = at
                && let Some(end) = text[at..].find('\n')
            {
                self.text.drain(..=at + end);
                return text[..=at + end].to_string();
            }
            let mut octets = Vec::with_capacity(1 << 16);
            let read = tokio::time::timeout(
                std::time::Duration::from_secs(20),
                self.peer.stream.read_buf(&mut octets),
            );
            assert!(read.await.unwrap_or_else(|_| panic!("nothing after {text:?}")).unwrap() > 0);
            self.packing.unpack(&octets, &mut self.text);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compressed_both_ways() {
    let world = World::new().await;
    let mut peer = world.signed_in("jane").await;
    assert_eq!(peer.command("a COMPRESS LZW").await, ["a NO unknown mechanism"]);
    let capabilities = peer.command("b CAPABILITY").await;
    assert!(capabilities[0].contains(" COMPRESS=DEFLATE"), "{capabilities:?}");
    let mut packed = Packed::start(peer, "c NOOP\r\n").await;
    assert_eq!(packed.until("c ").await, "c OK done\r\n");
    packed.send(b"d COMPRESS DEFLATE\r\n", FlushCompress::Sync).await;
    assert_eq!(packed.until("d ").await, "d NO [COMPRESSIONACTIVE] DEFLATE is active already\r\n");
    packed.send(b"e CAPABILITY\r\n", FlushCompress::Full).await;
    assert!(!packed.until("e ").await.contains("COMPRESS="));
    let message =
        format!("Subject: x\r\n\r\n{}", "a line of a message that says the same again\r\n".repeat(50_000));
    packed
        .send(
            format!("f APPEND INBOX {{{}+}}\r\n{message}\r\n", message.len()).as_bytes(),
            FlushCompress::Partial,
        )
        .await;
    assert!(packed.until("f ").await.starts_with("f OK [APPENDUID "));
    packed.send(b"g SELECT INBOX\r\nh FETCH 1 BODY.PEEK[]\r\n", FlushCompress::Partial).await;
    packed.until("g ").await;
    assert!(packed.until("h ").await.contains(&message));
    // IDLE: what happens elsewhere is there at once.
    packed.send(b"i IDLE\r\n", FlushCompress::Partial).await;
    packed.until("+ ").await;
    world.deliver("jane@example.org", "Subject: y\n\ny\n").await;
    assert_eq!(packed.until("* 2 EXISTS").await, "* 2 EXISTS\r\n");
    packed.send(b"DONE\r\n", FlushCompress::Partial).await;
    assert_eq!(packed.until("i ").await, "i OK done\r\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compressed_flood_is_refused_like_any_other() {
    let world = World::new().await;
    let mut packed = Packed::start(world.signed_in("jane").await, "a NOOP\r\n").await;
    packed.until("a ").await;
    // 64 MiB of one line in some 64 KiB.
    let mut octets = Vec::new();
    let piece = vec![b'x'; 1 << 20];
    for _ in 0..64 {
        octets.extend(packed.packing.pack(&piece, FlushCompress::Sync));
    }
    assert!(octets.len() < 1 << 20);
    packed.peer.stream.write_all(&octets).await.unwrap();
    assert!(packed.until("* BYE").await.contains("command line too long"));
    // Octets that are no stream end the connection.
    let mut packed = Packed::start(world.signed_in("jane").await, "a NOOP\r\n").await;
    packed.until("a ").await;
    packed.peer.stream.write_all(&[0xff; 100]).await.unwrap();
    let mut rest = Vec::new();
    packed.peer.stream.read_to_end(&mut rest).await.unwrap();
}
