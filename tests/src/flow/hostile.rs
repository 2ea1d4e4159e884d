//! What strangers should not do, on every port of the whole system: a clear answer, and the next one is served.

use super::message;
use mox_testkit::{Imap, Instance, Line, Smtp, Spec};
use std::time::{Duration, Instant};

const PORTS: [&str; 5] = ["smtp", "submission", "submissions", "imap", "imaps"];
/// Until a connection that makes no sense must be closed or answered.
const PATIENCE: Duration = Duration::from_secs(20);

/// Octets that look like nothing, the same in each run.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(count).collect()
}

/// Says it, says no more, and reads what comes until the end.
fn shout(instance: &Instance, port: &str, octets: &[u8]) -> String {
    let mut line = Line::connect(instance.address(port)).unwrap();
    let start = Instant::now();
    // A server that has heard enough may close while we still talk.
    let _ = line.send(octets).and_then(|()| line.half_close());
    let answer = line.rest().unwrap_or_default();
    assert!(start.elapsed() < PATIENCE, "{port} kept the connection for {:?}", start.elapsed());
    String::from_utf8_lossy(&answer).into_owned()
}

#[track_caller]
fn serves(instance: &Instance) {
    let (me, password) = instance.account(0);
    let reply =
        instance.smtp().unwrap().send("a@far.test", &me, &message("a@far.test", &me, "after")).unwrap();
    assert_eq!(reply.code, 250, "{reply:?}");
    let mut submissions = Smtp::connect_tls(instance.address("submissions"), &instance.tls()).unwrap();
    assert_eq!(submissions.sign_in(&me, &password).unwrap().code, 235);
    instance.submission(0).unwrap();
    let mut imap = Imap::connect(instance.address("imap")).unwrap().starttls(&instance.tls()).unwrap();
    imap.sign_in(&me, &password).unwrap();
    instance.imap(0).unwrap().select("INBOX").unwrap();
}

#[test]
fn garbage_is_answered_and_forgotten() {
    let instance = Spec::new().start();
    for port in PORTS {
        let answer = shout(&instance, port, &noise(3_000));
        match port {
            "smtp" | "submission" => {
                assert!(answer.starts_with("220 ") && answer.contains("\r\n5"), "{answer:?}");
            }
            "imap" => assert!(
                answer.starts_with("* OK") && (answer.contains("BAD") || answer.contains("* BYE")),
                "{answer:?}"
            ),
            _ => {}
        }
    }
    let long = [vec![b'A'; 200_000], b"\r\n".to_vec()].concat();
    for port in ["smtp", "submission"] {
        let answer = shout(&instance, port, &long);
        assert!(answer.contains("\r\n500 ") || answer.contains("\r\n421 "), "{port}: {answer:?}");
    }
    let answer = shout(&instance, "imap", &long);
    assert!(answer.contains("BAD") || answer.contains("BYE"), "{answer:?}");
    for port in ["submissions", "imaps"] {
        // A TLS record that announces more than it holds, and one that is no ClientHello.
        shout(&instance, port, b"\x16\x03\x01\x40\x00short");
        shout(&instance, port, b"\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00");
        shout(&instance, port, b"GET / HTTP/1.0\r\n\r\n");
    }
    serves(&instance);
    let died = instance
        .log_text()
        .lines()
        .filter(|l| l.contains("panicked") || l.contains("failed, starting"))
        .count();
    assert_eq!(died, 0, "a service died");
}

#[test]
fn who_stops_talking_loses_only_what_was_not_acknowledged() {
    let instance = Spec::new().start();
    let (me, _) = instance.account(0);
    // The end comes in the middle of a command, of a message, and right after the last dot.
    shout(&instance, "smtp", b"EHLO a.test\r\nMAIL FROM:<a@fa");
    let transaction =
        format!("EHLO a.test\r\nMAIL FROM:<a@far.test>\r\nRCPT TO:<{me}>\r\nDATA\r\nSubject: x\r\n\r\nhalf");
    let mut line = Line::connect(instance.address("smtp")).unwrap();
    line.send(transaction.as_bytes()).unwrap();
    line.half_close().unwrap();
    let answer = String::from_utf8_lossy(&line.rest().unwrap()).into_owned();
    assert!(!answer.contains("\r\n250 2.0.0 kept"), "{answer:?}");
    shout(&instance, "imap", b"a1 CAPABILITY");
    let mut imap = instance.imap(0).unwrap();
    assert_eq!(imap.select("INBOX").unwrap(), 0, "half a message is no message");

    let mut smtp = instance.smtp().unwrap();
    for line in ["MAIL FROM:<a@far.test>".to_owned(), format!("RCPT TO:<{me}>"), "DATA".into()] {
        assert!(smtp.command(&line).unwrap().code < 400);
    }
    smtp.line.send(b"Subject: whole\r\n\r\nall\r\n.\r\n").unwrap();
    smtp.line.half_close().unwrap();
    let told = smtp.reply().is_ok_and(|reply| reply.code == 250);
    let there = imap.select("INBOX").unwrap();
    assert!(there == 1 || !told, "250 was said, but there are {there} messages");
    serves(&instance);
    instance.check();
}

#[test]
fn wrong_passwords_are_refused_clearly() {
    let instance = Spec::new().start();
    let (me, _) = instance.account(0);
    for (login, password) in [(&*me, "wrong password"), ("nobody@localhost.test", "moxmoxmox"), ("", "")] {
        let mut smtp = Smtp::connect_tls(instance.address("submissions"), &instance.tls()).unwrap();
        let reply = smtp.sign_in(login, password).unwrap();
        assert!([501, 535].contains(&reply.code), "{login}: {reply:?}");
        let mut imap = Imap::connect_tls(instance.address("imaps"), &instance.tls()).unwrap();
        let answer = imap.command(&format!("LOGIN \"{login}\" \"{password}\"")).unwrap();
        assert!(answer.end.starts_with("NO"), "{login}: {}", answer.end);
    }
    // STARTTLS comes before a password.
    let mut clear = Smtp::connect(instance.address("submission")).unwrap();
    assert!(!clear.offered.iter().any(|line| line.starts_with("AUTH")), "{:?}", clear.offered);
    let reply = clear.sign_in(&me, "moxmoxmox").unwrap();
    assert!([530, 538].contains(&reply.code), "{reply:?}");
    let log = instance.log_text();
    assert!(!log.contains("wrong password\"") && !log.contains("moxmoxmox\""), "a password is in the log");
    serves(&instance);
}

#[test]
fn a_client_in_a_hurry_gets_tls_and_an_injected_command_nothing() {
    // Row SR-04, RFC 3207 §6: what waits behind STARTTLS is the handshake or the end.
    let instance = Spec::new().start();
    for (port, command, answer, next, reply) in [
        ("smtp", "STARTTLS", "220 2.0.0 ", "MAIL FROM:<a@far.test>", "503 5.5.1 "),
        ("submission", "STARTTLS", "220 2.0.0 ", "MAIL FROM:<a@far.test>", "503 5.5.1 "),
        ("imap", "a STARTTLS", "a OK", "b NOOP", "b OK"),
    ] {
        let mut line = Line::connect(instance.address(port)).unwrap();
        line.expect_line().unwrap();
        if port != "imap" {
            line.send(b"HELO client.test\r\n").unwrap();
            assert!(line.expect_line().unwrap().starts_with("250 "), "{port}");
        }
        let (said, mut line) = line.command_and_tls(command, &instance.tls()).unwrap();
        assert!(said.starts_with(answer), "{port}: {said}");
        // Nothing from before counts: neither HELO nor what was not answered yet.
        line.send(format!("{next}\r\n").as_bytes()).unwrap();
        let said = line.expect_line().unwrap();
        assert!(said.starts_with(reply), "{port}: {said}");

        let injected = shout(&instance, port, format!("{command}\r\nb NOOP\r\nNOOP\r\n").as_bytes());
        assert_eq!(injected.matches("\r\n").count(), 2, "{port}: {injected}");
    }
    serves(&instance);
}
