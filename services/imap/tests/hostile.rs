//! Clients that mean no good: each meets a limit, and none of them costs more memory than its limit says.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[allow(dead_code, reason = "each test binary uses its part")]
mod support;

use mox_imap::Waits;
use std::time::Duration;
use support::{PASSWORD, Peer, World, own_memory};
use tokio::io::AsyncWriteExt;

/// Memory that may come and go with a connection that sends or asks for far more than that. Both ends and the store are
/// in this process, beside other tests of this file.
const BOUNDED: u64 = 48 << 20;

/// Sends a text again and again until the server has had enough; how many octets it took.
async fn flood(peer: &mut Peer, piece: &str, most: usize) -> usize {
    let mut sent = 0;
    while sent < most {
        match tokio::time::timeout(Duration::from_secs(2), peer.stream.write_all(piece.as_bytes())).await {
            Ok(Ok(())) => sent += piece.len(),
            Ok(Err(_)) | Err(_) => break,
        }
    }
    sent
}

/// The last line of all that comes, with the server's end of the connection.
async fn last_words(peer: &mut Peer) -> String {
    let all = peer.rest().await.unwrap_or_default();
    all.trim_end().rsplit("\r\n").next().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_commands_have_an_end() {
    // Row TM-13: a stranger whose first words are no IMAP gets none of the patience.
    let world = World::new().await;
    let mut stranger = world.connect().await;
    stranger.send("GET / HTTP/1.1\r\n").await;
    assert_eq!(last_words(&mut stranger).await, "* BYE please try again speaking imap");
    let mut stranger = world.connect().await;
    stranger.command("a CAPABILITY").await;
    for at in 1..10 {
        assert_eq!(stranger.command(&format!("t{at} XYZZY")).await, [format!("t{at} BAD unknown command")]);
    }
    stranger.send("t10 XYZZY\r\nt11 NOOP\r\n").await;
    assert_eq!(last_words(&mut stranger).await, "* BYE too many errors");
    // Who signed in may be a client with a bad day.
    let mut jane = world.signed_in("jane").await;
    for at in 1..100 {
        assert_eq!(jane.command(&format!("t{at} XYZZY")).await, [format!("t{at} BAD unknown command")]);
    }
    assert_eq!(jane.command("good NOOP").await, ["good OK done"]);
    jane.send(&"t XYZZY\r\n".repeat(100)).await;
    assert_eq!(last_words(&mut jane).await, "* BYE too many errors");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_of_literals_are_bounded() {
    // Rows IM-03, TR-03.
    let world = World::new().await;
    let before = own_memory();
    let mut jane = world.signed_in("jane").await;
    let answer = jane.command(&format!("a DELETE {{{}}}", 101 * 1024)).await;
    assert_eq!(answer, ["a BAD [TOOBIG] literal too large"]);
    // Small ones, each asked for: a thousand are taken, then the command is refused, and the next one is heard.
    let answer = jane.command(&format!("b LIST \"\" ({}{{1}}", "{1}\r\nx ".repeat(1_000))).await;
    assert_eq!((answer.len(), &*answer[1_000]), (1_001, "b BAD [TOOBIG] too many literals"));
    let large = |sync: &str| format!("{{{}{sync}}}\r\n{} ", 100 * 1024, "x".repeat(100 * 1024));
    let answer = jane.command(&format!("c LIST \"\" ({}{{{}}}", large("").repeat(10), 100 * 1024)).await;
    assert_eq!((answer.len(), &*answer[10]), (11, "c BAD [TOOBIG] literals too large together"));
    assert_eq!(jane.command("d NOOP").await, ["d OK done"]);
    // Sent unasked they end the connection; also where they never end the command.
    let over = [
        (format!("{{{}+}}\r\n", 101 * 1024), "literal too large"),
        ("{1+}\r\nx ".repeat(1_001), "too many literals"),
        (large("+").repeat(11), "literals too large together"),
    ];
    for (literals, why) in over {
        let mut peer = world.signed_in("jane").await;
        peer.send(&format!("e LIST \"\" ({literals}")).await;
        assert_eq!(peer.response().await, format!("e BAD [TOOBIG] {why}"));
        assert_eq!(peer.response().await, "* BYE [ALERT] literal too large");
    }
    jane.send("e LIST \"\" (").await;
    let sent = flood(&mut jane, &large("+").repeat(4), 64 << 20).await;
    assert!(sent < 16 << 20, "{sent} octets taken");
    // A message that is refused in a REPLACE ends it where more than 1 MiB would come (row IM-27); in an APPEND it does not.
    let mut jane = world.signed_in("jane").await;
    let message = "x".repeat((1 << 20) + 1);
    let refused = format!("f APPEND nowhere {{{0}+}}\r\n{message}", message.len());
    assert_eq!(jane.command(&refused).await, ["f NO [TRYCREATE] no such mailbox"]);
    jane.command("g APPEND INBOX {3+}\r\nx\r\n").await;
    jane.command("h SELECT INBOX").await;
    jane.send(&format!("i REPLACE 1 nowhere {{{}+}}\r\n", message.len())).await;
    assert_eq!(jane.response().await, "i NO [TRYCREATE] no such mailbox");
    assert_eq!(jane.response().await, "* BYE [ALERT] literal too large");
    // A stranger has less room, and is not listened to for long.
    let mut stranger = world.connect().await;
    stranger.command("s NOOP").await;
    let answer = stranger.command("a LOGIN {8193}").await;
    assert_eq!(answer, ["a BAD [TOOBIG] literal too large"]);
    stranger.send("b LOGIN {2000000+}\r\n").await;
    assert_eq!(last_words(&mut stranger).await, "* BYE [ALERT] literal too large");
    let mut stranger = world.connect().await;
    stranger.command("a NOOP").await;
    stranger.send("b APPEND INBOX {2000000+}\r\n").await;
    assert_eq!(stranger.response().await, "b BAD log in first");
    assert_eq!(last_words(&mut stranger).await, "* BYE [ALERT] literal too large");
    let grown = own_memory().saturating_sub(before);
    assert!(grown < BOUNDED, "{grown} octets more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_have_a_length() {
    // Row IM-02: 16 KiB with the line end.
    let world = World::new().await;
    let before = own_memory();
    let mut jane = world.signed_in("jane").await;
    let line = |length: usize| {
        let head = "a SEARCH KEYWORD ";
        format!("{head}{}", "x".repeat(length - head.len() - 2))
    };
    assert_eq!(jane.command("s SELECT INBOX").await.last().unwrap(), "s OK [READ-WRITE] done");
    assert!(!jane.command(&line(16 * 1024)).await[0].contains("TOOBIG"));
    assert_eq!(jane.command(&line(16 * 1024 + 1)).await, ["a BAD [TOOBIG] command line too long"]);
    assert_eq!(jane.command("b NOOP").await, ["b OK done"]);
    // Many of them, each refused.
    let many = format!("{}\r\n", line(40_000)).repeat(20);
    jane.send(&many).await;
    for _ in 0..20 {
        assert_eq!(jane.response().await, "a BAD [TOOBIG] command line too long");
    }
    // One without an end, of a person and of a stranger; also in the middle of IDLE and of a login.
    for begin in ["", "a IDLE\r\n", "a LOGIN ", "a AUTHENTICATE PLAIN\r\n"] {
        let mut peer = match begin {
            "" | "a IDLE\r\n" => world.signed_in("jane").await,
            _ => world.connect().await,
        };
        peer.send(begin).await;
        let sent = flood(&mut peer, &"x".repeat(64 * 1024), 64 << 20).await;
        assert!(sent < 16 << 20, "{begin:?}: {sent} octets taken");
    }
    let grown = own_memory().saturating_sub(before);
    assert!(grown < BOUNDED, "{grown} octets more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_garbage_ends_the_connection() {
    let world = World::new().await;
    let before = own_memory();
    let mut seed = 7_u32;
    let mut garbage = String::new();
    while garbage.len() < 1 << 20 {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        garbage.push_str(
            ["a", " ", "\r\n", "(", "{5+}\r\n", "\"", "\u{0}", "\\", "FETCH 1:* ", "ü"]
                [(seed >> 16) as usize % 10],
        );
    }
    for signed_in in [false, true] {
        let mut peer = if signed_in { world.signed_in("jane").await } else { world.connect().await };
        let sent = flood(&mut peer, &garbage, 64 << 20).await;
        assert!(sent < 32 << 20, "{sent} octets taken");
    }
    // The same, read to its end.
    for signed_in in [false, true] {
        let mut peer = if signed_in { world.signed_in("jane").await } else { world.connect().await };
        let (mut read, mut write) = (Vec::new(), garbage.as_bytes());
        let (mut from, mut to) = peer.stream.split();
        tokio::join!(
            async {
                // The connection may end before all of it is sent, and with a reset.
                let _ = tokio::io::copy(&mut write, &mut to).await;
            },
            async {
                let _ = tokio::io::AsyncReadExt::read_to_end(&mut from, &mut read).await;
            },
        );
        let said = String::from_utf8_lossy(&read);
        assert!(said.contains("* BYE "), "{said}");
        assert!(read.len() < 1 << 20, "{} octets of answers", read.len());
    }
    let grown = own_memory().saturating_sub(before);
    assert!(grown < BOUNDED, "{grown} octets more");
    assert_eq!(world.signed_in("jane").await.command("a NOOP").await, ["a OK done"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_never_drain_are_told_goodbye() {
    // Row IM-02: what is written waits in a bounded buffer, for a bounded time.
    const DEAF: usize = 20;
    let settings = "[service]\nbad-client-delay = \"0s\"\n[imap]\nallow-plaintext-login = true\n";
    let world = World::patient(settings, Waits { write: Duration::from_secs(3), ..Waits::default() }).await;
    let mut jane = world.signed_in("jane").await;
    let message = format!("Subject: large\r\n\r\n{}", format!("{}\r\n", "x".repeat(78)).repeat(100_000));
    jane.command(&format!("a APPEND INBOX {{{}+}}\r\n{message}", message.len())).await;
    let mut deaf = Vec::new();
    for _ in 0..DEAF {
        let mut peer = world.signed_in("jane").await;
        peer.command("a SELECT INBOX").await;
        deaf.push(peer);
    }
    let before = own_memory();
    for peer in &mut deaf {
        // 160 MB each, of which nobody takes an octet.
        peer.send(&"b FETCH 1 BODY.PEEK[]\r\n".repeat(20)).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let grown = own_memory().saturating_sub(before);
    assert!(grown < DEAF as u64 * (1 << 20), "{grown} octets more");
    // Nobody waits for them.
    assert_eq!(jane.command("c NOOP").await, ["c OK done"]);
    tokio::time::sleep(Duration::from_secs(3)).await;
    for peer in &mut deaf {
        let said = peer.rest().await.unwrap_or_default();
        assert!(said.ends_with("* BYE inactive\r\n"), "{} octets", said.len());
        assert!(said.len() < 16 << 20, "{} octets", said.len());
    }
}

/// Row IM-48, AU-15: as on submission, whose words these are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_logins_over_imap_are_served_ever_more_slowly() {
    let settings = "[service]\nbad-client-delay = \"40ms\"\n[imap]\nallow-plaintext-login = true\n";
    let world = World::with(settings).await;
    let mut peer = world.connect().await;
    let mut times = Vec::new();
    for _ in 0..5 {
        let begun = std::time::Instant::now();
        let answer = peer.command("a LOGIN jane@example.org wrong").await;
        assert_eq!(answer, ["a NO [AUTHENTICATIONFAILED] login failed"]);
        times.push(begun.elapsed());
    }
    assert!(times[1] < Duration::from_secs(1) && times[4] > Duration::from_secs(1), "{times:?}");
    // Another connection from there is slow from its greeting on; the right password ends it.
    let begun = std::time::Instant::now();
    let mut peer = world.connect().await;
    assert!(begun.elapsed() > Duration::from_secs(1), "{:?}", begun.elapsed());
    peer.command(&format!("b LOGIN jane@example.org \"{PASSWORD}\"")).await;
    let begun = std::time::Instant::now();
    for _ in 0..5 {
        assert_eq!(peer.command("c NOOP").await, ["c OK done"]);
    }
    assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
}

/// Row IM-48: wrong passwords are counted by address over all connections, here ten a minute.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guessing_over_imap_has_an_end() {
    let world = World::new().await;
    for _ in 0..2 {
        let mut peer = world.connect().await;
        for _ in 0..5 {
            let answer = peer.command("a LOGIN jane@example.org wrong").await;
            assert_eq!(answer, ["a NO [AUTHENTICATIONFAILED] login failed"]);
        }
    }
    // Not even the right one is looked at.
    let mut peer = world.dial().await;
    assert_eq!(peer.response().await, "* BYE [LIMIT] too many failed logins, try again later");
    assert_eq!(peer.response().await, "");
}

/// Row IM-48: so many connections of one address, and so many new ones a minute.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_of_one_address_are_limited() {
    let open = "[service]\nbad-client-delay = \"0s\"\n[imap]\nallow-plaintext-login = true\n";
    let world = World::with(&format!("{open}max-connections-per-ip = 3\n")).await;
    let mut peers = vec![world.connect().await, world.connect().await, world.connect().await];
    let mut one_more = world.dial().await;
    assert_eq!(one_more.response().await, "* BYE [LIMIT] too many connections");
    assert_eq!(one_more.response().await, "");
    let mut last = peers.pop().unwrap();
    last.command("a LOGOUT").await;
    assert_eq!(last.response().await, "");
    world.signed_in("jane").await;
    let world = World::with(&format!("{open}new-connections-per-ip = 3\n")).await;
    for _ in 0..3 {
        drop(world.connect().await);
    }
    assert_eq!(world.dial().await.response().await, "* BYE [LIMIT] too many connections");
}
