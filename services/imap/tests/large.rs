//! A message as large as may be: it passes through, both ways, and is searched, without ever being held.
//!
//! By itself, as the memory of the process is what is measured: both ends and the store are in it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[allow(dead_code, reason = "each test binary uses its part")]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use support::{Peer, World, own_memory};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Octets of the message, which is the limit unless a setting says otherwise.
const OCTETS: usize = 100 << 20;
const HEAD: &str = "From: a@example.org\r\nSubject: large\r\n\r\n";
const TAIL: &str = "\r\nthe very last line\r\n";
/// Memory that may come and go with it.
const BOUNDED: u64 = 16 << 20;

/// The highest it was since.
struct Peak {
    before: u64,
    highest: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Peak {
    fn start() -> Self {
        let highest = Arc::new(AtomicU64::new(0));
        let seen = highest.clone();
        let task = tokio::spawn(async move {
            loop {
                seen.fetch_max(own_memory(), Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        Self { before: own_memory(), highest, task }
    }

    #[track_caller]
    fn expect_bounded(self, what: &str) {
        self.task.abort();
        let grown = self.highest.load(Ordering::Relaxed).saturating_sub(self.before);
        assert!(grown < BOUNDED, "{what}: {grown} octets more");
    }
}

/// A piece of the message, as long as there is.
fn line() -> Vec<u8> {
    let mut piece = Vec::new();
    while piece.len() < 1 << 16 {
        piece.extend_from_slice(&[b'x'; 998]);
        piece.extend_from_slice(b"\r\n");
    }
    piece
}

async fn append(peer: &mut Peer, tag: &str, octets: usize) -> String {
    peer.send(&format!("{tag} APPEND INBOX {{{octets}}}\r\n")).await;
    assert_eq!(peer.response().await, "+ send the message");
    peer.send(HEAD).await;
    let piece = line();
    let mut left = octets - HEAD.len() - TAIL.len();
    while left > 0 {
        let now = left.min(piece.len());
        peer.stream.write_all(&piece[..now]).await.unwrap();
        left -= now;
    }
    peer.send(&format!("{TAIL}\r\n")).await;
    // It is being written to disk.
    while peer.input.is_empty() {
        tokio::time::timeout(Duration::from_secs(120), peer.stream.read_buf(&mut peer.input))
            .await
            .unwrap()
            .unwrap();
    }
    peer.response().await
}

/// Rows TR-53, IM-44.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_message_of_100_mb_costs_no_more_memory_than_a_small_one() {
    let world = World::new().await;
    let mut peer = world.signed_in("jane").await;
    // What the first message of its kind makes is there afterwards.
    assert!(append(&mut peer, "a", 1 << 20).await.starts_with("a OK [APPENDUID "));
    let peak = Peak::start();
    assert!(append(&mut peer, "b", OCTETS).await.starts_with("b OK [APPENDUID "));
    peak.expect_bounded("APPEND");
    peer.command("c SELECT INBOX").await;
    let peak = Peak::start();
    peer.send("d FETCH 2 BODY.PEEK[]\r\n").await;
    let head = format!("* 2 FETCH (BODY[] {{{OCTETS}}}\r\n");
    let end = ")\r\nd OK done\r\n";
    let (mut read, mut last, mut octets) = (0, Vec::new(), vec![0; 1 << 16]);
    while read < head.len() + OCTETS + end.len() {
        let some = peer.stream.read(&mut octets).await.unwrap();
        assert!(some > 0, "{read} octets came");
        if read == 0 {
            assert!(octets.starts_with(head.as_bytes()));
        }
        read += some;
        last.extend_from_slice(&octets[..some]);
        last.drain(..last.len().saturating_sub(100));
    }
    assert!(last.ends_with(format!("{TAIL}{end}").as_bytes()), "{}", String::from_utf8_lossy(&last));
    peak.expect_bounded("FETCH");
    let peak = Peak::start();
    for (term, found) in [("the VERY last", "* SEARCH 1 2"), ("nowhere in it", "* SEARCH")] {
        peer.send(&format!("e SEARCH BODY \"{term}\"\r\n")).await;
        while peer.input.is_empty() {
            let read = peer.stream.read_buf(&mut peer.input);
            tokio::time::timeout(Duration::from_secs(120), read).await.unwrap().unwrap();
        }
        assert_eq!(peer.until("e").await[0], found);
    }
    peak.expect_bounded("SEARCH");
}
