//! What a conversation in a file cannot show: large messages, other logins, hostile and silent clients.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[allow(dead_code, reason = "each test binary uses its part")]
mod support;

use libmox_sasl::{ClientBinding, ScramClient, Secret, decode_line, encode_line, scram::Hash};
use libmox_store::{LoginAttempts, LoginResult, Role};
use mox_imap::Waits;
use std::fmt::Write;
use std::time::Duration;
use support::{Dice, PASSWORD, World, own_memory};
use tokio::io::AsyncWriteExt;

/// A message of about so many octets.
fn message(octets: usize) -> String {
    let mut text = String::from("From: a@example.org\r\nSubject: large\r\n\r\n");
    let mut at = 0;
    while text.len() < octets {
        writeln!(text, "line {at} of a message that goes on and on\r").unwrap();
        at += 1;
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_message_comes_back_as_it_was() {
    let world = World::new().await;
    let mut peer = world.signed_in("jane").await;
    let sent = message(20 << 20);
    peer.send(&format!("a APPEND INBOX {{{}}}\r\n", sent.len())).await;
    assert_eq!(peer.response().await, "+ send the message");
    peer.send(&sent).await;
    peer.send("\r\n").await;
    let answer = peer.until("a").await;
    assert!(answer[0].starts_with("a OK [APPENDUID "), "{answer:?}");
    peer.command("b SELECT INBOX").await;
    let got = peer.command("c FETCH 1 (RFC822.SIZE BODY.PEEK[])").await;
    let want = format!("* 1 FETCH (RFC822.SIZE {0} BODY[] {{{0}}}\r\n{sent})", sent.len());
    assert!(got[0] == want, "what came back differs");
    let got = peer.command("d FETCH 1 BODY.PEEK[]<20000000.11>").await;
    assert_eq!(got[0], format!("* 1 FETCH (BODY[]<20000000> {{11}}\r\n{})", &sent[20_000_000..20_000_011]));
    assert_eq!(peer.command("e SEARCH BODY \"line 400000 of\"").await[0], "* SEARCH 1");
    assert_eq!(peer.command("f SEARCH BODY \"line 40000x\"").await[0], "* SEARCH");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scram_signs_in() {
    let world = World::new().await;
    for (password, good) in [(PASSWORD, true), ("wrong", false)] {
        let mut peer = world.connect().await;
        let mut client = ScramClient::new(
            Hash::Sha256,
            "jane@example.org",
            &Secret(password.into()),
            "rOprNGfwEbeRWgbNEkqO".into(),
            ClientBinding::None,
        )
        .unwrap();
        peer.send(&format!("a AUTHENTICATE SCRAM-SHA-256 {}\r\n", encode_line(&client.first()))).await;
        let challenge = peer.response().await;
        let server_first = decode_line(challenge.strip_prefix("+ ").unwrap().as_bytes()).unwrap();
        let client_final = client.on_server_first(&server_first).unwrap();
        peer.send(&format!("{}\r\n", encode_line(&client_final))).await;
        let answer = peer.response().await;
        if good {
            let server_final = decode_line(answer.strip_prefix("+ ").unwrap().as_bytes()).unwrap();
            client.on_server_final(&server_final).unwrap();
            peer.send("\r\n").await;
            assert!(peer.response().await.starts_with("a OK [CAPABILITY "));
        } else {
            assert_eq!(answer, "a NO [AUTHENTICATIONFAILED] login failed");
        }
    }
}

/// Whoever hands in a message is answered before the reader is woken: the reader still does not miss it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_in_the_next_answer() {
    let world = World::new().await;
    let (mut one, mut two) = (world.signed_in("jane").await, world.signed_in("jane").await);
    one.command("a SELECT INBOX").await;
    for n in 1..=200 {
        world.deliver("jane@example.org", "Subject: x\n\ny").await;
        if n % 2 == 0 {
            assert_eq!(one.command("b NOOP").await, [format!("* {n} EXISTS"), "b OK done".into()]);
        } else {
            let opened = one.command("b SELECT INBOX").await;
            assert!(opened.contains(&format!("* {n} EXISTS")), "{opened:?}");
            assert!(opened.contains(&format!("* OK [UIDNEXT {}] predicted next uid", n + 1)), "{opened:?}");
        }
        if n % 5 == 0 {
            // What another session did, and what this one did itself.
            two.command("a SELECT INBOX").await;
            let unseen = n / 5;
            assert_eq!(two.command(&format!("b STORE {unseen} +FLAGS.SILENT (\\Seen)")).await, ["b OK done"]);
            let opened = one.command("c SELECT INBOX").await;
            let first = format!("* OK [UNSEEN {}] first unseen", unseen + 1);
            assert!(opened.contains(&first), "{first} {opened:?}");
            let keyword = format!("one{unseen}");
            one.command(&format!("d STORE 1 FLAGS.SILENT (\\Seen {keyword})")).await;
            let opened = two.command("c EXAMINE INBOX").await;
            assert!(
                opened.iter().any(|line| line.starts_with("* FLAGS ") && line.contains(&keyword)),
                "{opened:?}"
            );
        }
    }
}

/// Opened again with nothing new in it, a mailbox is what it was; and what was open before is let go of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mailbox_opened_again_is_the_same() {
    let world = World::new().await;
    let (mut one, mut two) = (world.signed_in("jane").await, world.signed_in("jane").await);
    for _ in 0..5 {
        world.deliver("jane@example.org", "Subject: x\n\ny").await;
    }
    let opened = one.command("a SELECT INBOX").await;
    let closed = "* OK [CLOSED] previous mailbox closed".to_string();
    for _ in 0..3 {
        let again = one.command("a SELECT INBOX").await;
        assert_eq!((&again[0], &again[1..]), (&closed, opened.as_slice()));
        assert_eq!(one.command("b FETCH 5 UID").await[0], "* 5 FETCH (UID 5)");
    }
    // Another way: what follows obeys it.
    let again = one.command("a EXAMINE INBOX").await;
    assert!(again.last().unwrap().starts_with("a OK [READ-ONLY]"), "{again:?}");
    assert!(one.command("b STORE 1 FLAGS (\\Seen)").await[0].starts_with("b NO"));
    // A saved result was of the mailbox that was open.
    one.command("a SELECT INBOX").await;
    one.command("b SEARCH RETURN (SAVE) 1:3").await;
    one.command("a SELECT INBOX").await;
    assert_eq!(one.command("b UID SEARCH $").await[0], "* SEARCH");
    // What came while it was open is in it, told or not.
    two.command("a SELECT INBOX").await;
    two.command("b STORE 2 +FLAGS.SILENT (\\Deleted)").await;
    two.command("c EXPUNGE").await;
    let again = one.command("a SELECT INBOX").await;
    assert!(again.contains(&"* 4 EXISTS".into()), "{again:?}");
    assert_eq!(one.command("b FETCH 2 UID").await[0], "* 2 FETCH (UID 3)");
    // Another name, and back.
    two.command("d RENAME Sent Gone").await;
    assert!(one.command("a SELECT Sent").await.last().unwrap().starts_with("a NO"));
    assert!(one.command("b FETCH 1 UID").await[0].starts_with("b BAD"));
    assert!(one.command("a SELECT INBOX").await.contains(&"* 4 EXISTS".into()));
}

/// Going from mailbox to mailbox tells the same as opening each anew, whatever happened in between and wherever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mailboxes_visited_again_are_as_if_opened_anew() {
    let world = World::new().await;
    let (mut one, mut two) = (world.signed_in("jane").await, world.signed_in("jane").await);
    let names = ["INBOX", "Sent", "Drafts"];
    let mut dice = Dice(7);
    let mut revisits = 0;
    for round in 0..600 {
        let name = dice.pick(&names);
        // Nothing happens, most of the time.
        match dice.roll(16) {
            0 => world.deliver("jane@example.org", "Subject: x\n\ny").await,
            1 => drop(two.command(&format!("a APPEND {name} (\\Seen) {{14+}}\r\nSubject: x\r\n\r\n")).await),
            2 => drop(two.command("a STORE 1 +FLAGS (\\Deleted later)").await),
            3 => drop(two.command("a EXPUNGE").await),
            4 => drop(one.command("a STORE 1 +FLAGS (\\Seen)").await),
            5 => drop(one.command("a STORE * +FLAGS.SILENT (\\Flagged)").await),
            6 => drop(one.command(&format!("a COPY 1 {name}")).await),
            7 => drop(one.command("a UNSELECT").await),
            8 => drop(one.command("a NOOP").await),
            9 => drop(one.command("a SELECT nowhere").await),
            10 if round % 5 == 0 => {
                // Who has it open is sent away.
                one.command("a SELECT INBOX").await;
                two.command("a SELECT INBOX").await;
                two.command("a DELETE Drafts").await;
                two.command("a CREATE Drafts").await;
            }
            _ => revisits += 1,
        }
        let mut seen = one.command(&format!("b SELECT {name}")).await;
        seen.retain(|line| !line.contains("[CLOSED]"));
        two.command("b UNSELECT").await;
        assert_eq!(seen, two.command(&format!("b SELECT {name}")).await, "round {round}");
        let all = "c UID FETCH 1:* (FLAGS MODSEQ)";
        assert_eq!(one.command(all).await, two.command(all).await, "round {round}");
    }
    assert!(revisits > 150, "{revisits}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_messages_change_at_once() {
    const MESSAGES: usize = 3_000;
    let world = World::new().await;
    let (mut one, mut two) = (world.signed_in("jane").await, world.signed_in("jane").await);
    for round in 0..MESSAGES / 100 {
        let mut command = format!("a{round} APPEND INBOX");
        for _ in 0..100 {
            command.push_str(" {14+}\r\nSubject: x\r\n\r\n");
        }
        let answer = one.command(&command).await;
        assert!(answer[0].contains("OK [APPENDUID"), "{answer:?}");
    }
    one.command("b SELECT INBOX").await;
    two.command("b SELECT INBOX").await;
    let answers = one.command("c STORE 1:* +FLAGS (\\Deleted)").await;
    assert_eq!(answers.len(), MESSAGES + 1, "{:?}", answers.last());
    let answers = two.command("c NOOP").await;
    assert_eq!(answers.len(), MESSAGES + 1, "{:?}", answers.last());
    let answers = one.command("d EXPUNGE").await;
    assert_eq!(answers.len(), MESSAGES + 1, "{:?}", answers.last());
    two.send("d IDLE\r\n").await;
    assert_eq!(two.response().await, "+ idling");
    for left in (1..=MESSAGES).rev() {
        assert_eq!(two.response().await, format!("* {left} EXPUNGE"));
    }
    two.send("DONE\r\n").await;
    assert_eq!(two.response().await, "d OK done");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_that_fails_leaves_nothing() {
    // TR-51
    let world = World::new().await;
    let mut peer = world.signed_in("jane").await;
    let large = message(300_000);
    let size = large.len();
    for (at, end) in ["junk", " {3+}junk", " (\\Bogus) {3+}\r\nabc"].iter().enumerate() {
        let command = format!("a{at} APPEND INBOX {{{size}+}}\r\n{large} {{{size}+}}\r\n{large}{end}");
        let answer = peer.command(&command).await;
        assert!(answer[0].contains(" BAD "), "{answer:?}");
    }
    // Half a message, then nothing.
    let mut other = world.signed_in("jane").await;
    other.send(&format!("a APPEND INBOX {{{size}+}}\r\n{}", &large[..size / 2])).await;
    drop(other);
    let answer = peer.command("b STATUS INBOX (MESSAGES SIZE UIDNEXT)").await;
    assert_eq!(answer[0], "* STATUS INBOX (MESSAGES 0 UIDNEXT 1 SIZE 0)");
}

/// Row IM-26: what many clients send at once is more than one request to the store holds, words and structures included.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_messages_are_appended_at_once() {
    let world = World::new().await;
    let mut peer = world.signed_in("jane").await;
    let text = |number: usize, octets: usize| {
        let words: String =
            (0..octets / 10).map(|word| format!("w{:07}\r\n", word * 7919 + number)).collect();
        format!("Subject: {number}\r\n\r\n{words}")
    };
    let mut last = 0;
    for (count, octets) in [(2, 100), (128, 6_000), (30, 60_000), (3, 70_000), (40, 66_000), (250, 10)] {
        let mut command = String::from("a APPEND INBOX");
        for number in 0..count {
            let message = text(number, octets);
            command.push_str(&format!(" (\\Seen) {{{}+}}\r\n{message}", message.len()));
        }
        let answer = peer.command(&command).await;
        assert_eq!(answer, [format!("a OK [APPENDUID 1 {}:{}] done", last + 1, last + count)]);
        for number in [0, count - 1] {
            let answer = peer
                .command(&format!("b EXAMINE INBOX\r\nc UID FETCH {} BODY.PEEK[]", last + 1 + number))
                .await;
            assert!(answer.last().is_some_and(|line| line.starts_with("b OK")), "{answer:?}");
            let answer = peer.until("c").await.join("\r\n");
            let message = text(number, octets);
            assert!(
                answer.contains(&format!("BODY[] {{{}}}\r\n{message})\r\nc OK", message.len())),
                "{count} {number}"
            );
        }
        last += count;
        peer.command("d UNSELECT").await;
    }
    let answer = peer.command(&format!("e APPEND INBOX{}", " {1+}\r\nx".repeat(251))).await;
    assert_eq!(answer, ["e BAD [TOOBIG] too many messages"]);
    let answer = peer.command("f STATUS INBOX (MESSAGES)").await;
    assert_eq!(answer[0], format!("* STATUS INBOX (MESSAGES {last})"));
}

/// Row IM-43: as deep as the limit allows, in every way there is to walk a search; one more is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_may_be_deep() {
    let world = World::new().await;
    world.deliver("jane@example.org", "Subject: deep\n\nbody\n").await;
    let mut peer = world.signed_in("jane").await;
    peer.command("a SELECT INBOX").await;
    for (nested, plain) in [("OR ", "BODY nowhere "), ("OR ", "UNSEEN "), ("NOT ", ""), ("(", "")] {
        let deep = |times: usize| {
            let end = if nested == "(" {
                ")".repeat(times)
            } else {
                format!(" {}", plain.repeat(times)).trim_end().into()
            };
            format!("{}SUBJECT deep{end}", nested.repeat(times))
        };
        let answer = peer.command(&format!("b SEARCH {}", deep(148))).await;
        assert_eq!(answer, ["* SEARCH 1", "b OK done"], "{nested}{plain}");
        let answer = peer.command(&format!("c SEARCH RETURN (COUNT) {}", deep(148))).await;
        assert!(answer[0].ends_with("COUNT 1"), "{answer:?}");
        let answer = peer.command(&format!("d SORT (SIZE) UTF-8 {}", deep(148))).await;
        assert_eq!(answer, ["* SORT 1", "d OK done"]);
        let answer = peer.command(&format!("e SEARCH {}", deep(150))).await;
        assert_eq!(answer, ["e BAD [TOOBIG] search too complicated"]);
    }
    // A filter counts with what it says.
    for (name, times) in [("half", 70), ("whole", 148)] {
        let nots = "NOT ".repeat(times);
        let entry = format!("/private/filters/values/{name}");
        let answer = peer.command(&format!("e SETMETADATA \"\" ({entry} \"{nots}SUBJECT deep\")")).await;
        assert_eq!(answer, ["e OK done"]);
        let answer = peer.command(&format!("e SEARCH {}FILTER {name}", "NOT ".repeat(70))).await;
        let refused = answer == ["e NO [LIMIT] search too complicated"];
        assert!(refused || answer == ["* SEARCH 1", "e OK done"], "{answer:?}");
        assert_eq!(refused, name == "whole");
    }
    let many = (0..500).map(|number| format!("m{number}")).collect::<Vec<_>>().join(" ");
    let answer = peer.command(&format!("f LIST \"\" ({many} x)")).await;
    assert_eq!(answer, ["f BAD [TOOBIG] too many patterns"]);
    let answer =
        peer.command(&format!("g LIST \"\" (INBOX {}) RETURN (STATUS (MESSAGES))", &many[3..])).await;
    assert_eq!(answer[1..], ["* STATUS INBOX (MESSAGES 1)", "g OK done"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_commands_always_get_an_answer() {
    let world = World::new().await;
    world
        .deliver(
            "jane@example.org",
            "Subject: x\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\ny\n--b--\n",
        )
        .await;
    let words = [
        "FETCH",
        "UID",
        "STORE",
        "SEARCH",
        "COPY",
        "1",
        "1:*",
        "*",
        "(",
        ")",
        "FLAGS",
        "BODY[]",
        "BODY[1]",
        "BINARY[1]",
        "BODYSTRUCTURE",
        "ENVELOPE",
        "\\Seen",
        "+FLAGS",
        "INBOX",
        "LIST",
        "\"\"",
        "%",
        "SELECT",
        "STATUS",
        "UIDNEXT",
        "NOT",
        "OR",
        "TEXT",
        "x",
        "EXPUNGE",
        "NOOP",
        "CLOSE",
        "CREATE",
        "a/b",
        "DELETE",
        "RENAME",
        "RETURN",
        "SAVE",
        "$",
        "ALL",
        "PREVIEW",
        "MODSEQ",
        "UNSELECT",
        "MOVE",
        "CHECK",
        "ENABLE",
        "CONDSTORE",
    ];
    let mut seed = 9_u32;
    let mut next = |bound: usize| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) as usize % bound
    };
    let mut peer = world.signed_in("jane").await;
    peer.command("s SELECT INBOX").await;
    let mut faults = 0;
    for at in 0..2_000 {
        let command: Vec<&str> = (0..=next(6)).map(|_| words[next(words.len())]).collect();
        let answer = peer.command(&format!("t{at} {}", command.join(" "))).await;
        let last = answer.last().unwrap();
        assert!(last.starts_with(&format!("t{at} ")), "{command:?} {answer:?}");
        faults = if last.contains(" BAD ") { faults + 1 } else { 0 };
        if faults > 80 {
            peer.command("n NOOP").await;
            faults = 0;
        }
        if at % 50 == 0 {
            peer.command("s SELECT INBOX").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_holds_up_nobody() {
    let world = World::new().await;
    let mut writer = world.signed_in("jane").await;
    let sent = message(8 << 20);
    writer.command(&format!("a APPEND INBOX {{{}+}}\r\n{sent}", sent.len())).await;
    let mut deaf = world.signed_in("jane").await;
    deaf.command("a SELECT INBOX").await;
    deaf.send(&"b FETCH 1 BODY.PEEK[]\r\n".repeat(20)).await;
    let mut other = world.signed_in("jane").await;
    other.command("a SELECT INBOX").await;
    assert_eq!(other.command("b STORE 1 FLAGS (\\Seen)").await.len(), 2);
    assert_eq!(other.command("c FETCH 1 BODY.PEEK[HEADER]").await.len(), 2);
}

/// Rows IM-31, AU-14, TR-26: said before, in between, late or never, a login is recorded once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_client_says_it_is_goes_into_the_record_of_its_login() {
    let world = World::new().await;
    let id = "ID (\"name\" \"Post\" \"version\" \"7\" \"os\" NIL)";
    let login = format!("LOGIN jane@example.org \"{PASSWORD}\"");
    // Who we are is told in full to those who signed in.
    let whole = concat!("* ID (\"name\" \"mox\" \"version\" \"", env!("CARGO_PKG_VERSION"), "\")");
    let mut before = world.connect().await;
    assert_eq!(before.command(&format!("a {id}")).await, ["* ID (\"name\" \"mox\")", "a OK done"]);
    before.command(&format!("b {login}")).await;
    assert_eq!(before.command("c ID NIL").await, [whole, "c OK done"]);
    let mut between = world.connect().await;
    for command in [&login, "NAMESPACE", "SELECT INBOX", &id.replace("Post", "Poste")] {
        between.command(&format!("a {command}")).await;
    }
    let mut failed = world.connect().await;
    failed.command("a LOGIN jane@example.org wrong").await;
    failed.command(&format!("b {}", id.replace("Post", "Postal"))).await;
    let mut late = world.connect().await;
    late.command(&format!("a {login}")).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    late.command(&format!("b {}", id.replace("Post", "Late"))).await;
    let mut never = world.connect().await;
    never.command(&format!("a {login}")).await;
    drop(never);
    let ask = LoginAttempts { account: Some("jane".into()), before: None, most: 100 };
    let attempts = world.client(Role::Admin).ask(ask).await.unwrap();
    let mut seen: Vec<(&str, u64, bool)> = attempts
        .iter()
        .map(|one| (&*one.user_agent, one.count, one.result == LoginResult::SignedIn))
        .collect();
    seen.sort_unstable();
    assert_eq!(seen, [("", 2, true), ("Post 7", 1, true), ("Postal 7", 1, false), ("Poste 7", 1, true)]);
}

/// Rows AU-02, AU-13, TR-09: a login that comes to nothing before there is a proof is on record, with the name where it
/// was said, and the connection is as good as before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logins_that_come_to_nothing_are_on_record() {
    let world = World::new().await;
    let mut peer = world.connect().await;
    let first = encode_line(b"n,,n=jane@example.org,r=cn");
    // Somebody between; a client that gives up; a nonce that is another; no base64.
    for (tag, message, end) in [
        ("a", Some("c=eSws,NONCE,p=AAAA"), "a NO [AUTHENTICATIONFAILED] "),
        ("b", None, "b BAD "),
        ("c", Some("c=biws,r=other,p=AAAA"), "c NO [AUTHENTICATIONFAILED] "),
    ] {
        peer.send(&format!("{tag} AUTHENTICATE SCRAM-SHA-256 {first}\r\n")).await;
        let challenge = peer.response().await;
        let challenge = decode_line(challenge.strip_prefix("+ ").unwrap().trim_end().as_bytes()).unwrap();
        let nonce = String::from_utf8(challenge).unwrap().split(',').next().unwrap().to_owned();
        let answer = match message {
            Some(message) => encode_line(message.replace("NONCE", &nonce).as_bytes()),
            None => "*".into(),
        };
        peer.send(&format!("{answer}\r\n")).await;
        let said = peer.response().await;
        assert!(said.starts_with(end), "{said}");
    }
    let said = peer.command(&format!("d LOGIN jane@example.org \"{PASSWORD}\"")).await;
    assert!(said.last().unwrap().starts_with("d OK"), "{said:?}");
    let ask = LoginAttempts { account: Some("jane".into()), before: None, most: 100 };
    let attempts = world.client(Role::Admin).ask(ask).await.unwrap();
    for result in
        [LoginResult::BadBinding, LoginResult::Cancelled, LoginResult::Malformed, LoginResult::SignedIn]
    {
        let one = attempts.iter().find(|one| one.result == result).unwrap();
        assert_eq!((one.login.as_str(), one.count), ("jane@example.org", 1), "{one:?}");
        assert_eq!(one.local_ip, Some("127.0.0.1".parse().unwrap()), "{one:?}");
    }
    assert_eq!(attempts.len(), 4, "{attempts:?}");
}

/// Row IM-45: what changes nothing gets no new modseq.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_changes_nothing_leaves_the_modseq() {
    let world = World::new().await;
    let mut peer = world.signed_in("jane").await;
    peer.command("a APPEND INBOX ($Junk) {14+}\r\nSubject: x\r\n\r\n").await;
    peer.command("b SELECT INBOX (CONDSTORE)").await;
    let mod_seq = peer.command("c FETCH 1 MODSEQ").await[0].clone();
    for flags in ["+FLAGS ($Junk)", "-FLAGS (\\Seen work)", "FLAGS.SILENT ($Junk)"] {
        peer.command(&format!("d STORE 1 {flags}")).await;
        assert_eq!(peer.command("e FETCH 1 MODSEQ").await[0], mod_seq, "{flags}");
    }
    peer.command("f STORE 1 FLAGS ($NotJunk)").await;
    assert_ne!(peer.command("g FETCH 1 MODSEQ").await[0], mod_seq);
}

/// Thousands of logins that are begun and never ended: those who mean it get in, and the memory is given back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_half_open_logins_keep_nobody_out() {
    const MANY: usize = 3_000;
    let settings = "[service]\nbad-client-delay = \"0s\"\n[imap]\nallow-plaintext-login = true\n\
        max-connections = 4000\nmax-connections-per-ip = 4000\nnew-connections-per-ip = 100000\n";
    let world =
        World::patient(settings, Waits { before_login: Duration::from_secs(20), ..Waits::default() }).await;
    let begun = [
        "",
        "a",
        "a LOGIN jane@example.org {8000}\r\n",
        "a AUTHENTICATE PLAIN\r\n",
        "a AUTHENTICATE SCRAM-SHA-256 biwsbj1qYW5lQGV4YW1wbGUub3JnLHI9eHh4eHh4eHh4eHh4eHh4eHh4\r\n",
        "a LOGIN jane@example.org {8000+}\r\nxxxxxxxx",
    ];
    let before = own_memory();
    let mut open = Vec::with_capacity(MANY);
    for at in 0..MANY {
        let mut peer = world.connect().await;
        peer.send(begun[at % begun.len()]).await;
        open.push(peer);
    }
    // All of them were heard: those asked something got an answer.
    for (at, peer) in open.iter_mut().enumerate() {
        if matches!(at % begun.len(), 2..=4) {
            assert!(peer.response().await.starts_with('+'), "connection {at}");
        }
    }
    let each = own_memory().saturating_sub(before) / MANY as u64;
    // Both ends are in this process.
    assert!(each < 48 * 1024, "{each} octets for a connection that said little");
    let mut jane = world.signed_in("jane").await;
    assert_eq!(jane.command("a NOOP").await, ["a OK done"]);
    // Their time is up, and not that of the one who signed in.
    for (at, peer) in open.iter_mut().enumerate() {
        let last = peer.rest().await.unwrap_or_default();
        assert!(last.ends_with("* BYE inactive\r\n"), "connection {at}: {last:?}");
    }
    assert_eq!(jane.command("b NOOP").await, ["b OK done"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_tls_there_is_no_login() {
    let world = World::with("").await;
    let mut peer = world.connect().await;
    let capabilities = peer.command("a CAPABILITY").await;
    assert!(capabilities[0].contains(" LOGINDISABLED ") && !capabilities[0].contains("AUTH="));
    // TR-08: there is no certificate to show.
    assert!(!capabilities[0].contains("STARTTLS"));
    assert_eq!(peer.command("b STARTTLS").await, ["b BAD not possible now"]);
    let answer = peer.command("c LOGIN jane@example.org x").await;
    assert_eq!(answer, ["c NO [PRIVACYREQUIRED] TLS required"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopping_server_says_goodbye() {
    let world = World::new().await;
    let mut peer = world.signed_in("jane").await;
    peer.command("a SELECT INBOX").await;
    peer.send("b IDLE\r\n").await;
    assert_eq!(peer.response().await, "+ idling");
    world.context.life.stop();
    assert_eq!(peer.response().await, "* BYE [UNAVAILABLE] server is restarting, please reconnect");
    assert_eq!(peer.response().await, "");
}

const OPEN: &str = "[imap]\nallow-plaintext-login = true\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_has_an_end() {
    // Row IM-02.
    let waits = Waits {
        before_login: Duration::from_millis(200),
        signed_in: Duration::from_millis(1_000),
        ..Waits::default()
    };
    let world = World::patient(OPEN, waits).await;
    let mut stranger = world.connect().await;
    let start = std::time::Instant::now();
    assert_eq!(stranger.response().await, "* BYE inactive");
    assert!(start.elapsed() < Duration::from_millis(900));
    assert_eq!(stranger.response().await, "");
    for command in ["NOOP", "IDLE"] {
        let mut peer = world.signed_in("jane").await;
        peer.send(&format!("a {command}\r\n")).await;
        peer.response().await;
        assert_eq!(peer.response().await, "* BYE inactive");
        assert_eq!(peer.response().await, "");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_takes_nothing_is_dropped() {
    // Row IM-02.
    let waits = Waits { write: Duration::from_millis(300), ..Waits::default() };
    let world = World::patient(OPEN, waits).await;
    let mut peer = world.signed_in("jane").await;
    let sent = message(8 << 20);
    peer.command(&format!("a APPEND INBOX {{{}+}}\r\n{sent}", sent.len())).await;
    peer.command("b SELECT INBOX").await;
    peer.send(&"c FETCH 1 BODY.PEEK[]\r\n".repeat(10)).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut last = String::new();
    while let Some(line) = tokio::time::timeout(Duration::from_secs(10), peer.rest()).await.unwrap() {
        last = line;
    }
    assert!(last.len() < 60 << 20, "not all of it came: {}", last.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_search_says_how_far_it_is() {
    // Row IM-35.
    let world = World::patient(OPEN, Waits { progress: Duration::ZERO, ..Waits::default() }).await;
    let mut peer = world.signed_in("jane").await;
    let one = "{14+}\r\nSubject: x\r\n\r\n";
    peer.command(&format!("a APPEND INBOX {one} {one} {one}")).await;
    peer.command("b SELECT INBOX").await;
    // What the index tells is told at once; what has to be read, one by one.
    let answer = peer.command("c SEARCH SUBJECT x").await;
    assert_eq!(answer, ["* SEARCH 1 2 3", "c OK done"]);
    let answer = peer.command("c SEARCH TEXT x").await;
    let want = [
        "* OK [INPROGRESS (\"c\" 1 3)] still searching",
        "* OK [INPROGRESS (\"c\" 2 3)] still searching",
        "* SEARCH 1 2 3",
        "c OK done",
    ];
    assert_eq!(answer, want);
}

/// Row IM-23: 1000 annotations, and 1000000 octets of them, in all mailboxes together.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_of_annotations_are_named() {
    let world = World::new().await;
    let mut peer = world.signed_in("jane").await;
    for round in 0..4 {
        let entries: Vec<String> = (0..250).map(|n| format!("/private/{round}/{n} \"x\"")).collect();
        let answer = peer.command(&format!("a SETMETADATA \"\" ({})", entries.join(" "))).await;
        assert_eq!(answer, ["a OK done"], "{round}");
    }
    let answer = peer.command("b SETMETADATA INBOX (/private/more \"x\")").await;
    assert_eq!(answer, ["b NO [METADATA TOOMANY] too many annotations"]);
    // One goes, one comes.
    assert_eq!(peer.command("c SETMETADATA \"\" (/private/0/0 NIL)").await, ["c OK done"]);
    assert_eq!(peer.command("d SETMETADATA INBOX (/private/more \"x\")").await, ["d OK done"]);
    let mut peer = world.signed_in("bob").await;
    let large = |size: usize| format!("~{{{size}+}}\r\n{}", "x".repeat(size));
    for n in 0..9 {
        let answer = peer.command(&format!("a SETMETADATA INBOX (/private/{n} {})", large(100_000))).await;
        assert_eq!(answer, ["a OK done"], "{n}");
    }
    let answer = peer.command(&format!("b SETMETADATA \"\" (/private/last {})", large(100_001))).await;
    assert_eq!(answer, ["b NO [METADATA MAXSIZE 1000000] annotations are too large together"]);
    assert_eq!(peer.command("c GETMETADATA \"\" /private/last").await, ["c OK done"]);
    // What is asked for is not larger than the client wants; how large it would be is told. RFC 5464 §4.2.1.
    let answer = peer.command("d GETMETADATA (MAXSIZE 1024) INBOX (/private/0)").await;
    assert_eq!(answer, ["d OK [METADATA LONGENTRIES 100000] done"]);
}

/// Row IM-33: the limit that is announced is the one that holds, up to the largest there is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_message_is_announced() {
    let limited = format!("{OPEN}max-message-size = \"64KiB\"\n");
    for (settings, limit) in [(limited.as_str(), "65536"), (OPEN, "104857600")] {
        let world = World::with(settings).await;
        let mut peer = world.signed_in("jane").await;
        let answer = peer.command("a CAPABILITY").await;
        assert!(answer[0].ends_with(&format!(" APPENDLIMIT={limit}")), "{answer:?}");
        let answer = peer.command("b STATUS INBOX (APPENDLIMIT)").await;
        assert_eq!(answer[0], format!("* STATUS INBOX (APPENDLIMIT {limit})"));
        let answer = peer.command(&format!("c APPEND INBOX {{{}}}", limit.parse::<u64>().unwrap() + 1)).await;
        assert_eq!(answer, ["c BAD [TOOBIG] message too large"]);
        let answer = peer.command(&format!("d APPEND INBOX {{{}}}", i64::MAX)).await;
        assert_eq!(answer, ["d BAD [TOOBIG] message too large"]);
    }
}

/// Row TR-05: the size that is told is that of what is read, whatever line ends came.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sizes_are_those_of_what_is_read() {
    let world = World::new().await;
    let mut peer = world.signed_in("jane").await;
    peer.command("a APPEND INBOX {1+}\r\nx").await;
    peer.command("b SELECT INBOX").await;
    let long = format!("Subject: x\n\n{}", "a line\n".repeat(30_000));
    for sent in ["Subject: x\n\nbody\n", "Subject: x\n\na\nb\r\nc", "x", "Subject: x\n", "\n\n", &long] {
        let literal = format!("{{{}+}}\r\n{sent}", sent.len());
        for command in [
            format!("APPEND INBOX {literal}"),
            format!("REPLACE 1 INBOX {literal}"),
            format!("APPEND INBOX CATENATE (TEXT {literal})"),
        ] {
            let answer = peer.command(&format!("c {command}")).await;
            assert!(answer.last().unwrap().starts_with("c OK"), "{answer:?}");
            let answer = peer.command("d FETCH * (RFC822.SIZE BODY.PEEK[])").await;
            let (size, body) = answer[0].split_once(" BODY[] {").unwrap();
            let (told, body) = body.split_once("}\r\n").unwrap();
            let size = size.rsplit(' ').next().unwrap();
            let read = body.strip_suffix(')').unwrap();
            assert_eq!((size, told), (&*read.len().to_string(), size), "{}", &command[..20]);
            assert!(!read.replace("\r\n", "").contains('\n'), "bare line ends are left");
            assert!(read.ends_with(&sent.replace("\r\n", "\n").replace('\n', "\r\n")), "{read:?}");
        }
    }
    let answer = peer.command("e STATUS INBOX (MESSAGES SIZE)").await;
    let sizes = peer.command("f FETCH 1:* RFC822.SIZE").await;
    let sum: usize = sizes
        .iter()
        .filter_map(|line| line.split("SIZE ").nth(1)?.strip_suffix(')')?.parse::<usize>().ok())
        .sum();
    assert_eq!(answer[0], format!("* STATUS INBOX (MESSAGES {} SIZE {sum})", sizes.len() - 1));
}

/// Row IM-37, RFC 5465 §5.8: who lets too much wait is told so, and nothing more until NOTIFY is said again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_lets_too_many_changes_wait_is_told_nothing_more() {
    let world = World::new().await;
    let (mut one, mut two) = (world.signed_in("jane").await, world.signed_in("jane").await);
    let notify =
        "NOTIFY SET (selected-delayed (MessageNew MessageExpunge FlagChange)) (personal (MailboxName))";
    one.command("a SELECT INBOX").await;
    one.command(&format!("b {notify}")).await;
    let hundred = " {14+}\r\nSubject: x\r\n\r\n".repeat(100);
    for round in 0..11 {
        let answer = two.command(&format!("a{round} APPEND INBOX{hundred}")).await;
        assert!(answer[0].contains("OK [APPENDUID"), "{answer:?}");
        if round == 9 {
            assert_eq!(one.command("c NOOP").await, ["* 1000 EXISTS", "c OK done"]);
        }
    }
    // Two more than it takes: the last ones may come only while the command runs, and are told then.
    for round in 0..12 {
        two.command(&format!("b{round} APPEND INBOX{hundred}")).await;
    }
    assert_eq!(one.command("d NOOP").await, ["* OK [NOTIFICATIONOVERFLOW] too much happened", "d OK done"]);
    two.command("c CREATE elsewhere").await;
    assert_eq!(one.command("e NOOP").await, ["e OK done"]);
    let answer = one.command(&format!("f {notify}")).await;
    assert_eq!(answer, ["* 2300 EXISTS", "f OK done"]);
    two.command("d CREATE again").await;
    assert!(one.response().await.starts_with("* LIST (\\Subscribed "));
}

/// RFC 9051 §5.5: commands said in one go are carried out one after the other, also around IDLE, literals and logins.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_in_one_go_are_answered_in_order() {
    let world = World::new().await;
    let mut peer = world.connect().await;
    let all = format!(
        "a LOGIN jane@example.org \"{PASSWORD}\"\r\n\
         b APPEND INBOX {{14+}}\r\nSubject: x\r\n\r\n\r\n\
         c SELECT INBOX\r\nd IDLE\r\nDONE\r\ne STORE 1 +FLAGS.SILENT (\\Deleted)\r\n\
         f FETCH 1 (FLAGS)\r\ng EXPUNGE\r\nh UID SEARCH ALL\r\n\
         i CREATE {{3+}}\r\nnew\r\nj IDLE\r\ndone\r\nk NONSENSE\r\nl CLOSE\r\nm LOGOUT\r\n"
    );
    // Whole, and octet by octet.
    for pieces in [all.len(), 1] {
        for piece in all.as_bytes().chunks(pieces) {
            peer.stream.write_all(piece).await.unwrap();
        }
        let said = peer.rest().await.unwrap();
        let ends: Vec<&str> = said
            .lines()
            .filter(|line| line.as_bytes().get(1) == Some(&b' ') && !line.starts_with('*'))
            .map(|line| &line[..line.len().min(5)])
            .collect();
        let want = ["a OK ", "b OK ", "c OK ", "+ idl", "d OK ", "e OK ", "f OK ", "g OK ", "h OK ", "i OK "];
        assert_eq!(ends[..10], want, "{said}");
        assert_eq!(ends[10..], ["+ idl", "j OK ", "k BAD", "l OK ", "m OK "], "{said}");
        assert!(
            said.contains("* 1 FETCH (FLAGS (\\Deleted))\r\nf OK") && said.contains("* 1 EXPUNGE\r\ng OK")
        );
        let mut again = world.signed_in("jane").await;
        again.command("x DELETE new").await;
        peer = world.connect().await;
    }
}
