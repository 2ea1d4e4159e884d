//! A whole conversation over a socket pair, against a service that says yes and a clock that moves when all wait.

use super::*;
use libmox_smtp::command::Manner;
use libmox_smtp::session::{Kind, Settings, TlsOffer};
use libmox_types::{Cid, Domain};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;

/// Takes everything; at RCPT it waits, where told to.
struct Yes {
    asked: Arc<Notify>,
    go: Option<Arc<Notify>>,
}

impl Policy for Yes {
    type Tap = ();

    fn patience(&self) -> Duration {
        Duration::from_secs(1)
    }
    async fn ask_sender(&mut self, _: &ReversePath) -> Answer {
        Answer::Accept
    }
    async fn ask_recipient(&mut self, _: &RcptPath, _: &Session, _: &Transaction) -> Answer {
        self.asked.notify_one();
        if let Some(go) = &self.go {
            go.notified().await;
        }
        Answer::Accept
    }
    fn tap(&mut self) {}
    async fn ask_message(&mut self, _: &Wire, _: &Session, _: &Transaction, _: Taken<()>) -> (Reply, Pace) {
        (Reply::new(250, "2.0.0", "kept"), Pace::Usual)
    }
    async fn ask_login(
        &mut self,
        _: &mut Wire,
        _: Mechanism,
        _: Option<Vec<u8>>,
    ) -> Result<Login, WireFault> {
        Ok(Login::SignedIn)
    }
    fn mechanisms(&mut self, _: &Wire) -> Vec<Mechanism> {
        Vec::new()
    }
}

struct Talk {
    peer: UnixStream,
    asked: Arc<Notify>,
    life: Life,
}

fn start(go: Option<Arc<Notify>>) -> Talk {
    let (ours, peer) = UnixStream::pair().unwrap();
    let settings = Settings {
        kind: Kind::Exchange,
        hostname: Domain::parse("mx.example").unwrap(),
        message_octets: 1 << 20,
        recipients: 10,
        tls: TlsOffer::None,
        requiretls: false,
        dsn: true,
        manner: Manner::Tolerant,
        without_tls: Vec::new(),
        mechanisms: Vec::new(),
        cid: Cid(1),
    };
    let (asked, life) = (Arc::new(Notify::new()), Life::default());
    let (mut policy, here) = (Yes { asked: Arc::clone(&asked), go }, life.clone());
    tokio::spawn(async move {
        let (mut wire, mut session) = (Wire::from(ours), Session::new(settings, false));
        let store = Store::new(std::path::Path::new("/nonexistent/store.sock"), "test");
        converse(&mut wire, &mut session, &mut policy, &store, None, &here, 1 << 20).await;
    });
    Talk { peer, asked, life }
}

impl Talk {
    /// What is said until this line, with it.
    async fn until(&mut self, start: &str) -> String {
        let mut got = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&got).into_owned();
            let last = text.lines().last().unwrap_or_default();
            if text.ends_with('\n') && last.starts_with(start) {
                return text;
            }
            assert!(self.peer.read_buf(&mut got).await.unwrap() > 0, "closed after {text}");
        }
    }

    async fn say(&mut self, octets: &[u8]) {
        self.peer.write_all(octets).await.unwrap();
    }

    async fn last_words(&mut self) -> String {
        let mut octets = Vec::new();
        // What was not read any more makes the end an unfriendly one.
        let _ = self.peer.read_to_end(&mut octets).await;
        String::from_utf8(octets).unwrap()
    }
}

const TRANSACTION: &[u8] = b"EHLO [192.0.2.1]\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n";

/// Row SR-02, RFC 2920 §3.2.
#[tokio::test]
async fn replies_leave_when_no_command_is_buffered() {
    let go = Arc::new(Notify::new());
    let mut talk = start(Some(Arc::clone(&go)));
    talk.until("220 ").await;
    talk.say(TRANSACTION).await;
    talk.asked.notified().await;
    // EHLO and MAIL are answered by now; RCPT was buffered behind them.
    let early = talk.peer.try_read(&mut [0; 100]).map_err(|error| error.kind());
    assert_eq!(early, Err(std::io::ErrorKind::WouldBlock));
    go.notify_one();
    let all = talk.until("250 2.1.5").await;
    assert!(all.contains("250-mx.example\r\n") && all.contains("250 2.1.0"), "{all}");
}

/// Row SR-33: 2048 octets with the end of the line, and no more; what is longer is thrown away to its end.
#[tokio::test]
async fn a_command_has_so_many_octets() {
    let mut talk = start(None);
    talk.until("220 ").await;
    for (octets, code) in [(2_048, "250 2.0.0"), (2_049, "500 5.5.2"), (300_000, "500 5.5.2")] {
        let line = format!("NOOP {}\r\n", "x".repeat(octets - 7));
        assert_eq!(line.len(), octets);
        talk.say(line.as_bytes()).await;
        let said = talk.until(code).await;
        assert_eq!(said.lines().count(), 1, "{octets}: {said}");
    }
}

/// RFC 5321 §4.5.3.2.7.
#[tokio::test(start_paused = true)]
async fn who_says_nothing_is_told_goodbye_after_five_minutes() {
    let mut talk = start(None);
    talk.until("220 ").await;
    let begun = Instant::now();
    assert!(talk.last_words().await.starts_with("421 4.4.2 "));
    assert_eq!(begun.elapsed().as_secs(), 300);
}

/// Row SR-20: thirty seconds of silence, and thirty minutes for all of it, by DATA and by BDAT.
#[tokio::test(start_paused = true)]
async fn a_message_has_thirty_seconds_between_pieces_and_thirty_minutes() {
    for (command, answer) in [("DATA\r\n", "354"), ("BDAT 100000 LAST\r\n", "250 2.1.5")] {
        for (pause, seconds) in [(31, 30..31), (29, 1_800..1_830)] {
            let mut talk = start(None);
            talk.until("220 ").await;
            talk.say(TRANSACTION).await;
            talk.say(command.as_bytes()).await;
            talk.until(answer).await;
            let begun = Instant::now();
            let (mut said, mut says) = talk.peer.into_split();
            tokio::spawn(async move {
                while says.write_all(b"x").await.is_ok() {
                    tokio::time::sleep(Duration::from_secs(pause)).await;
                }
            });
            let mut text = Vec::new();
            // What it did not read any more makes the end an unfriendly one.
            let _ = said.read_to_end(&mut text).await;
            assert!(text.starts_with(b"421 4.4.2 "), "{command} {}", String::from_utf8_lossy(&text));
            let took = begun.elapsed().as_secs();
            assert!(seconds.contains(&took), "{command} {pause}: {took}");
        }
    }
}

/// Row SR-38: also to the next command.
#[tokio::test]
async fn a_stop_is_told_to_who_waits_and_to_who_asks() {
    for asks in [false, true] {
        let mut talk = start(None);
        talk.until("220 ").await;
        if asks {
            talk.say(b"NOOP\r\n").await;
            talk.until("250 ").await;
        }
        talk.life.stop();
        let _ = talk.peer.write_all(b"NOOP\r\n").await;
        assert!(talk.last_words().await.starts_with("421 4.3.2 "));
    }
}
