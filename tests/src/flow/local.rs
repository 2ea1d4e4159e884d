//! Mail that needs no other machine: from programs, to people who live here, with no DNS at all.

use super::{arrived, message};
use mox_testkit::{Spec, binaries};
use std::io::Write;
use std::process::{Command, Stdio};

/// A system that is no test instance and whose name servers are dead.
fn alone() -> Spec {
    Spec::new()
        .set("localserve=false")
        .set("hostname=mail.home.test")
        .set("dns.servers=[\"127.0.0.1:9\"]")
        .set("dns.timeout=100ms")
        .account("you@example.test:another secret")
}

#[test]
fn mail_of_programs_and_people_here_needs_no_dns() {
    let instance = alone().start();
    // As cron does it.
    for to in ["root", "backup", "you"] {
        let mut sendmail = Command::new(binaries().join("mox-sendmail"))
            .args(["-FCronDaemon", "-i", "-odi", "-oem", "-oi", "-t", "-f", "root"])
            .env("MOX_RUNTIME_DIR", instance.ready["run"].as_str().unwrap())
            .env("LOGNAME", "root")
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let text = format!("From: root (Cron Daemon)\nTo: {to}\nSubject: cron-{to}\n\nIt ran.\n");
        sendmail.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        assert!(sendmail.wait().unwrap().success(), "{to}");
    }
    // The postmaster, who gets root's and that of users without an account.
    let cron = arrived(&instance, 0, "cron-root");
    for part in [
        "Return-Path: <root@mail.home.test>\r\n",
        "Delivered-To: root@mail.home.test\r\n",
        "Message-ID: <",
        "\r\n\r\nIt ran.\r\n",
    ] {
        assert!(cron.contains(part), "no {part:?} in:\n{cron}");
    }
    arrived(&instance, 0, "cron-backup");
    arrived(&instance, 1, "cron-you");

    let (me, _) = instance.account(0);
    let (you, _) = instance.account(1);
    let mut submission = instance.submission(0).unwrap();
    let reply = submission.send(&me, &you, &message(&me, &you, "between")).unwrap();
    assert_eq!(reply.code, 250, "{reply:?}");
    arrived(&instance, 1, "between");
    // What is for elsewhere waits for a DNS that answers.
    let reply = submission.send(&me, "x@far.test", &message(&me, "x@far.test", "far")).unwrap();
    assert_eq!(reply.code, 250, "{reply:?}");
    let queue = instance.json(&["queue", "list"]);
    assert_eq!(queue.as_array().unwrap().len(), 1, "{queue}");
    instance.check();
}

#[test]
fn a_test_instance_keeps_everything_and_fails_as_asked() {
    let instance = Spec::new().start();
    let (me, _) = instance.account(0);
    let mut submission = instance.submission(0).unwrap();
    let mut send =
        |to: &str, subject: &str| submission.send(&me, to, &message(&me, to, subject)).unwrap().code;
    assert_eq!(send("friend@elsewhere.test", "kept"), 250);
    arrived(&instance, 0, "kept");
    assert_eq!(send("friend-permerror@elsewhere.test", "failed"), 250);
    let report = arrived(&instance, 0, "mail delivery failed");
    assert!(report.contains("friend-permerror@elsewhere.test"), "{report}");
    assert_eq!(send("rcptto452@elsewhere.test", "refused"), 452);
    assert_eq!(send("friend451@elsewhere.test", "later"), 250);
    let mut smtp = instance.smtp().unwrap();
    for (from, to, want) in [
        ("a@far.test", "x-temperror@localhost", 451),
        ("a@far.test", "x554@localhost", 554),
        ("mailfrom421@far.test", "x@localhost", 421),
        ("a@far.test", "rcpttopermerror@localhost", 550),
        ("a-permerror@far.test", "x@localhost", 250),
    ] {
        let reply = smtp.send(from, to, &message(from, to, "direct")).unwrap();
        assert_eq!(reply.code, want, "{from} to {to}: {reply:?}");
        smtp.command("RSET").unwrap();
    }
    instance.check();
}

#[test]
fn a_message_travels_between_two_systems() {
    let there = Spec::new().start();
    let target = format!("queue.local-target={}", there.address("smtp"));
    let here = Spec::new().set(&target).account("you@example.test:another secret").start();
    let (me, _) = here.account(1);
    let mut submission = here.submission(1).unwrap();
    let reply = submission.send(&me, "mox@localhost", &message(&me, "mox@localhost", "travels")).unwrap();
    assert_eq!(reply.code, 250, "{reply:?}");
    let came = arrived(&there, 0, "travels");
    assert!(came.contains("DKIM-Signature: ") || came.contains("Received: from localhost"), "{came}");
    // The other system knows no such domain.
    let text = message(&me, "nobody@elsewhere.test", "lost");
    assert_eq!(submission.send(&me, "nobody@elsewhere.test", &text).unwrap().code, 250);
    let report = arrived(&here, 1, "mail delivery failed");
    for part in [
        "Content-Type: multipart/report",
        "Return-Path: <>",
        "Action: failed",
        "Diagnostic-Code: smtp; 550",
        "nobody@elsewhere.test",
        "Subject: lost",
    ] {
        assert!(report.contains(part), "no {part:?} in:\n{report}");
    }
    assert_eq!(here.json(&["queue", "list"]).as_array().unwrap().len(), 0);
    there.check();
    here.check();
}

#[test]
fn a_stranger_writes_to_people_and_to_nobody_at_once() {
    // Row SR-35: who is there has it, the sender is told about the rest. Here the sender lives in the same system.
    let instance = alone().start();
    let (me, _) = instance.account(0);
    let mut smtp = instance.smtp().unwrap();
    for (line, code) in [
        (format!("MAIL FROM:<{me}>"), 250),
        ("RCPT TO:<you@example.test>".into(), 250),
        ("RCPT TO:<nobody@example.test>".into(), 250),
        (format!("RCPT TO:<{me}>"), 250),
        ("DATA".into(), 354),
    ] {
        assert_eq!(smtp.command(&line).unwrap().code, code, "{line}");
    }
    smtp.line.send(message(&me, "you@example.test", "several").as_bytes()).unwrap();
    assert_eq!(smtp.command(".").unwrap().code, 250);
    arrived(&instance, 1, "several");
    arrived(&instance, 0, "several");
    let report = arrived(&instance, 0, "mail delivery failed");
    assert!(report.contains("nobody@example.test") && report.contains("Status: 5.1.1"), "{report}");
    assert_eq!(instance.json(&["queue", "list"]).as_array().unwrap().len(), 0);
    instance.check();
}
