//! What people may ask of the queue when they hand mail in.

use super::{ARRIVAL, arrived, message};
use mox_testkit::{Instance, Smtp, Spec, wait_for};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;
use std::time::Duration;

/// Hands in one message with these parameters; the last reply.
fn submit(smtp: &mut Smtp, from: &str, mail: &str, rcpt: &[&str], text: &str) -> mox_testkit::Reply {
    let reply = smtp.command(&format!("MAIL FROM:<{from}>{mail}")).unwrap();
    if reply.code != 250 {
        return reply;
    }
    for to in rcpt {
        let reply = smtp.command(&format!("RCPT TO:{to}")).unwrap();
        if reply.code != 250 {
            return reply;
        }
    }
    assert_eq!(smtp.command("DATA").unwrap().code, 354);
    smtp.command(&format!("{}\r\n.", text.trim_end())).unwrap()
}

/// A report in the Inbox of an account that has all of these lines.
#[track_caller]
fn report(instance: &Instance, account: usize, lines: &[&str]) -> String {
    wait_for(&format!("a report with {lines:?}"), ARRIVAL, || {
        let mut imap = instance.imap(account).unwrap();
        imap.select("INBOX").unwrap();
        let all = imap.messages().unwrap();
        all.into_iter().find(|message| lines.iter().all(|line| message.contains(line)))
    })
}

#[test]
fn success_is_reported_to_who_asks_for_it() {
    // RFC 3461, row SR-41.
    let instance = Spec::new().account("you@example.test:another secret").start();
    let ((me, _), (you, _)) = (instance.account(0), instance.account(1));
    let mut smtp = instance.submission(0).unwrap();
    assert!(smtp.offered.iter().any(|line| line == "DSN"), "{:?}", smtp.offered);
    let to = format!("<{you}> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;first+2Bname@example.test");
    let reply = submit(&mut smtp, &me, " RET=HDRS ENVID=order+207", &[&to], &message(&me, &you, "told"));
    assert_eq!(reply.code, 250, "{reply:?}");
    arrived(&instance, 1, "told");
    let report_text = report(
        &instance,
        0,
        &[
            "Original-Envelope-Id: order 7",
            "Original-Recipient: rfc822;first+name@example.test",
            &format!("Final-Recipient: rfc822; {you}"),
            "Action: delivered",
            "Status: 2.1.5",
            "Subject: told",
        ],
    );
    assert!(report_text.contains("multipart/report"), "{report_text}");
    // Who does not ask is not told, and NEVER is never.
    let to = format!("<{you}>");
    submit(&mut smtp, &me, "", &[&to], &message(&me, &you, "quiet"));
    arrived(&instance, 1, "quiet");
    let never = "<nobody550@elsewhere.test> NOTIFY=NEVER";
    assert_eq!(
        submit(&mut smtp, &me, "", &[never], &message(&me, "nobody550@elsewhere.test", "never")).code,
        250
    );
    let fails = "<other550@elsewhere.test> NOTIFY=FAILURE";
    let text = message(&me, "other550@elsewhere.test", "fails");
    assert_eq!(submit(&mut smtp, &me, " HOLDFOR=0 RET=FULL", &[fails], &text).code, 250);
    // The request for a release in the future is told too (row SU-07); the whole message comes back (RFC 3461 §4.3).
    let lines = ["Action: failed", "other550@elsewhere.test", "Future-Release-Request: for;0"];
    let failed = report(&instance, 0, &lines);
    assert!(failed.contains("Content-Type: message/rfc822\r\n"), "{failed}");
    assert!(failed.contains("\r\n\r\nText of fails.\r\n"), "{failed}");
    assert!(!report_text.contains("Text of told."), "{report_text}");
    let mut imap = instance.imap(0).unwrap();
    imap.select("INBOX").unwrap();
    let all = imap.messages().unwrap().join("\n");
    assert!(!all.contains("nobody550") && !all.contains("Subject: quiet"), "{all}");
}

/// A server that takes everything and can do nothing besides; what it was told.
fn plain_server() -> (SocketAddr, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let talk = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let (mut said, mut in_data) = (Vec::new(), false);
        stream.write_all(b"220 plain.test\r\n").unwrap();
        for line in lines.map_while(Result::ok) {
            let reply: &[u8] = match (in_data, line.as_str()) {
                (true, ".") => b"250 taken\r\n",
                (true, _) => b"",
                (false, "DATA") => b"354 go\r\n",
                (false, "QUIT") => b"221 bye\r\n",
                (false, _) => b"250 fine\r\n",
            };
            in_data = (in_data && line != ".") || line == "DATA";
            stream.write_all(reply).unwrap();
            said.push(line);
        }
        said
    });
    (address, talk)
}

#[test]
fn who_cannot_be_told_by_the_next_server_is_told_by_us() {
    // RFC 3461 §5.2.2: a server without DSN.
    let (address, talk) = plain_server();
    let instance = Spec::new().set(&format!("queue.local-target=\"{address}\"")).start();
    let me = instance.account(0).0;
    let mut smtp = instance.submission(0).unwrap();
    let text = message(&me, "x@far.test", "handed on");
    assert_eq!(submit(&mut smtp, &me, "", &["<x@far.test> NOTIFY=SUCCESS"], &text).code, 250);
    report(&instance, 0, &["Action: relayed", "Status: 2.0.0", "Diagnostic-Code: smtp; 250"]);
    let said = talk.join().unwrap();
    assert!(said.iter().any(|line| line == "Subject: handed on"), "{said:?}");
    assert!(!said.iter().any(|line| line.contains("NOTIFY")), "{said:?}");
}

#[test]
fn reports_are_signed_by_the_parent_domain() {
    // Row TR-32: the host is mail.signed.test, the keys are those of signed.test.
    let (address, talk) = plain_server();
    let instance = Spec::new()
        .set("localserve=false")
        .set("hostname=mail.signed.test")
        .set(&format!("queue.local-target=\"{address}\""))
        .start();
    // Row TR-18: there is no MTA-STS for it.
    instance.json(&["domain", "add", "signed.test"]);
    let me = instance.account(0).0;
    let mut smtp = instance.smtp().unwrap();
    for (line, code) in [
        ("MAIL FROM:<stranger@far.test>".to_owned(), 250),
        (format!("RCPT TO:<{me}>"), 250),
        ("RCPT TO:<nobody@signed.test>".into(), 250),
        ("DATA".into(), 354),
    ] {
        assert_eq!(smtp.command(&line).unwrap().code, code, "{line}");
    }
    let text = message("stranger@far.test", &me, "to several");
    assert_eq!(smtp.command(&format!("{}\r\n.", text.trim_end())).unwrap().code, 250);
    wait_for("the report", ARRIVAL, || talk.is_finished().then_some(()));
    let said = talk.join().unwrap();
    let header: String =
        said.iter().skip_while(|line| *line != "DATA").skip(1).map(|l| format!("{l}\n")).collect();
    let header = header.split("\n\n").next().unwrap();
    assert!(header.contains("DKIM-Signature: ") && header.contains("d=signed.test"), "{header}");
    assert!(header.contains("\nFrom: ") && header.contains("postmaster@mail.signed.test"), "{header}");
    assert!(!header.contains("Return-Path") && !header.contains("Delivered-To"), "{header}");
}

/// A message whose second part is no text at all, and that part.
fn binary(from: &str, to: &str, subject: &str) -> (String, &'static str) {
    const PART: &str = "\0\u{1}line\nline\rend\0";
    let text = format!(
        "From: <{from}>\r\nTo: <{to}>\r\nSubject: {subject}\r\nMessage-ID: <{subject}@client.test>\r\n\
         Date: Sun, 01 Nov 2026 10:00:00 +0000\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nhi\r\n--b\r\n\
         Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n\r\n{PART}\r\n--b--\r\n"
    );
    (text, PART)
}

fn chunk(smtp: &mut Smtp, from: &str, to: &str, text: &str) -> mox_testkit::Reply {
    assert!(smtp.offered.iter().any(|line| line == "BINARYMIME"), "{:?}", smtp.offered);
    assert_eq!(smtp.command(&format!("MAIL FROM:<{from}> BODY=BINARYMIME")).unwrap().code, 250);
    assert_eq!(smtp.command(&format!("RCPT TO:<{to}>")).unwrap().code, 250);
    smtp.line.send(format!("BDAT {} LAST\r\n{text}", text.len()).as_bytes()).unwrap();
    smtp.reply().unwrap()
}

/// The second part of the only message, as it is.
fn binary_part(instance: &Instance) -> String {
    wait_for("the binary message", ARRIVAL, || {
        let mut imap = instance.imap(0).unwrap();
        (imap.select("INBOX").unwrap() > 0).then(|| {
            let fetched = imap.ok("FETCH 1 BINARY.PEEK[2]").unwrap();
            fetched.untagged.into_iter().find(|line| line.contains(" FETCH ")).unwrap()
        })
    })
}

#[test]
fn binary_messages_stay_as_they_are() {
    // Row SR-40: from strangers, and from people by way of the queue.
    let target = Spec::new().start();
    let instance = Spec::new().set(&format!("queue.local-target=\"{}\"", target.address("smtp"))).start();
    let me = instance.account(0).0;
    let (text, part) = binary("a@far.test", &me, "direct");
    let reply = chunk(&mut instance.smtp().unwrap(), "a@far.test", &me, &text);
    assert_eq!(reply.code, 250, "{reply:?}");
    assert!(binary_part(&instance).contains(part), "{:?}", binary_part(&instance));
    let there = target.account(0).0;
    let (text, part) = binary(&me, &there, "relayed");
    let reply = chunk(&mut instance.submission(0).unwrap(), &me, &there, &text);
    assert_eq!(reply.code, 250, "{reply:?}");
    assert!(binary_part(&target).contains(part), "{:?}", binary_part(&target));
    // What is not announced as binary is refused, as ever.
    let mut smtp = instance.smtp().unwrap();
    smtp.command("MAIL FROM:<a@far.test>").unwrap();
    smtp.command(&format!("RCPT TO:<{me}>")).unwrap();
    smtp.line.send(format!("BDAT {} LAST\r\n{text}", text.len()).as_bytes()).unwrap();
    assert_eq!(smtp.reply().unwrap().code, 500);
    instance.check();
    target.check();
}

#[test]
fn a_server_without_binarymime_gets_no_binary_message() {
    // RFC 3030 §3.
    let (address, talk) = plain_server();
    let instance = Spec::new().set(&format!("queue.local-target=\"{address}\"")).start();
    let me = instance.account(0).0;
    let (text, _) = binary(&me, "x@far.test", "binary");
    assert_eq!(chunk(&mut instance.submission(0).unwrap(), &me, "x@far.test", &text).code, 250);
    report(&instance, 0, &["Action: failed", "Status: 5.6.1", "x@far.test"]);
    let said = talk.join().unwrap();
    assert!(!said.iter().any(|line| line.starts_with("MAIL")), "{said:?}");
}

#[test]
fn a_message_waits_until_it_may_go() {
    // Row SU-07: not before, and not much later.
    let instance = Spec::new().account("you@example.test:another secret").start();
    let ((me, _), (you, _)) = (instance.account(0), instance.account(1));
    let mut smtp = instance.submission(0).unwrap();
    let offered = smtp.offered.iter().find(|line| line.starts_with("FUTURERELEASE 5184000 "));
    assert!(offered.is_some(), "{:?}", smtp.offered);
    let began = std::time::Instant::now();
    let text = message(&me, &you, "patience");
    assert_eq!(submit(&mut smtp, &me, " HOLDFOR=3", &[&format!("<{you}>")], &text).code, 250);
    let queue = instance.json(&["queue", "list"]);
    assert_eq!(queue.as_array().unwrap().len(), 1, "{queue}");
    arrived(&instance, 1, "patience");
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
}

#[test]
fn administrators_hold_by_rule() {
    // Row QU-10: on the command line, and seen in the status.
    let instance = Spec::new().account("you@example.test:another secret").start();
    let ((me, _), (you, _)) = (instance.account(0), instance.account(1));
    instance.json(&["queue", "holdrules", "add", "--recipient-domain", "example.test"]);
    let rules = instance.json(&["queue", "holdrules", "list"]);
    assert_eq!(rules[0]["recipient_domain"], "example.test", "{rules}");
    let mut smtp = instance.submission(0).unwrap();
    assert_eq!(smtp.send(&me, &you, &message(&me, &you, "held back")).unwrap().code, 250);
    let queue = instance.json(&["queue", "list"]);
    assert_eq!((&queue[0]["held"], &queue[0]["attempts"]), (&true.into(), &0.into()), "{queue}");
    assert_eq!(instance.json(&["status"])["held"], 1);
    assert!(!instance.mox(&["queue", "holdrules", "rm", "9"]).unwrap().status.success());
    assert!(
        !instance
            .mox(&["queue", "holdrules", "add", "--sender-domain", "no domain"])
            .unwrap()
            .status
            .success()
    );
    instance.json(&["queue", "holdrules", "rm", "1"]);
    let id = queue[0]["id"].to_string();
    instance.json(&["queue", "unhold", &id]);
    arrived(&instance, 1, "held back");
}

#[test]
fn what_senders_want_is_passed_on() {
    // Row SR-41: port 25 offers DSN, so it is there that the sender is told.
    let target = Spec::new().start();
    let there = target.account(0).0;
    let instance = Spec::new().set(&format!("queue.local-target=\"{}\"", target.address("smtp"))).start();
    let me = instance.account(0).0;
    let mut smtp = instance.submission(0).unwrap();
    let to = format!("<{there}> NOTIFY=SUCCESS ORCPT=rfc822;alias@elsewhere.test");
    assert_eq!(submit(&mut smtp, &me, " ENVID=e17", &[&to], &message(&me, &there, "handed on")).code, 250);
    arrived(&target, 0, "handed on");
    report(
        &target,
        0,
        &[
            "Action: delivered",
            "Original-Envelope-Id: e17",
            "Original-Recipient: rfc822;alias@elsewhere.test",
        ],
    );
    // Rows SR-06, SR-22, SU-10: that TLS was required is passed on and written down; where it is not on, 25 refuses.
    assert_eq!(
        submit(&mut smtp, &me, " REQUIRETLS", &[&format!("<{there}>")], &message(&me, &there, "secret")).code,
        250
    );
    let secret = arrived(&target, 0, "secret").replace("\r\n\t", " ");
    assert_eq!(secret.matches("(requiretls) id").count(), 2, "{secret}");
    assert_eq!(target.smtp().unwrap().command("MAIL FROM:<> REQUIRETLS").unwrap().code, 523);
    let mut imap = instance.imap(0).unwrap();
    assert_eq!(imap.select("INBOX").unwrap(), 0, "told once");
}

#[test]
fn each_copy_may_have_a_sender_of_its_own() {
    // Row SU-08, and rows SU-06, SU-09, SU-10 on the way.
    let instance = Spec::new().account("you@example.test:another secret").start();
    let ((me, _), (you, _)) = (instance.account(0), instance.account(1));
    let path = instance.dir().join("config/domains.toml");
    let mut text: toml_edit::DocumentMut = std::fs::read_to_string(&path).unwrap().parse().unwrap();
    let name = instance.json(&["account", "list"]);
    let name =
        name.as_array().unwrap().iter().find(|one| one["addresses"][0] == *me).unwrap()["name"].clone();
    let name = name.as_str().unwrap();
    let list = toml_edit::Array::from_iter([me.as_str()]);
    text["accounts"][name]["fromid-login-addresses"] = toml_edit::value(list);
    text["accounts"][name]["max-outgoing-messages-per-day"] = toml_edit::value(5);
    std::fs::write(&path, text.to_string()).unwrap();
    // Any change makes the store read the file again.
    instance.json(&["address", "add", "more@example.test", name]);

    let mut smtp = instance.submission(0).unwrap();
    let text = format!("X-Mox-Extra-Order-Id: 7\r\nTLS-Required: No\r\n{}", message(&me, &you, "copy"));
    let recipients = [&*format!("<{you}>"), "<more@example.test>"];
    assert_eq!(submit(&mut smtp, &me, "", &recipients, &text).code, 250);
    let got = arrived(&instance, 1, "copy");
    let (local, domain) = me.split_once('@').unwrap();
    let sender = got.split_once("Return-Path: <").unwrap().1.split_once('>').unwrap().0;
    let id =
        sender.strip_prefix(&format!("{local}+")).and_then(|rest| rest.strip_suffix(&format!("@{domain}")));
    assert!(id.is_some_and(|id| id.len() == 22), "{sender}");
    assert!(got.contains("auth=pass smtp.mailfrom=") && got.contains("X-Mox-Extra-Order-Id: 7"), "{got}");
    let other = arrived(&instance, 0, "copy");
    assert!(!other.contains(sender), "{other}");
    // An id of the client's own: for one recipient.
    let own = format!("{local}+mine@{domain}");
    assert_eq!(submit(&mut smtp, &own, "", &recipients, &message(&me, &you, "own")).code, 554);
    assert_eq!(submit(&mut smtp, &own, "", &recipients[..1], &message(&me, &you, "own")).code, 250);
    assert!(arrived(&instance, 1, "own").contains(&format!("Return-Path: <{own}>")));
    // Row SU-04: three are sent, five is the limit, and who asks too much is told of it.
    let reply = submit(&mut smtp, &me, "", &recipients, &message(&me, &you, "last"));
    assert_eq!(reply.code, 250, "{reply:?}");
    let reply = submit(&mut smtp, &me, "", &recipients[..1], &message(&me, &you, "more"));
    assert!(reply.code == 451 && reply.lines[0].contains("max-outgoing-messages-per-day"), "{reply:?}");
    // Row SU-14.
    instance.json(&["domain", "disable", "example.test"]);
    let mut smtp = instance.submission(1).unwrap();
    let reply = smtp.command(&format!("MAIL FROM:<{you}>")).unwrap();
    assert!(reply.code == 451 && reply.lines[0].starts_with("4.3.0"), "{reply:?}");
    let reply = submit(&mut smtp, "", "", &[&format!("<{me}>")], &message(&you, &me, "off"));
    assert!(reply.code == 451 && reply.lines[0].starts_with("4.3.0"), "{reply:?}");
}
