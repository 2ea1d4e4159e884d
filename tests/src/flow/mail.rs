//! In, out and reading, on every port.

use super::{arrived, message};
use mox_testkit::{Imap, Smtp, Spec};
use std::path::Path;

#[test]
fn the_ready_file_says_everything() {
    let instance = Spec::new().account("you@example.test:another secret").start();
    let ready = &instance.ready;
    for (key, port, tls) in [
        ("smtp", 25, "starttls"),
        ("submission", 587, "starttls"),
        ("submissions", 465, "tls"),
        ("imap", 143, "starttls"),
        ("imaps", 993, "tls"),
    ] {
        assert_eq!(ready[key]["host"], "127.0.0.1", "{key}");
        assert_eq!(ready[key]["tls"], tls, "{key}");
        let base = ready["smtp"]["port"].as_u64().unwrap() - 25;
        assert_eq!(ready[key]["port"].as_u64(), Some(base + port), "{key}");
    }
    assert_eq!(ready["accounts"][0]["login"], "mox@localhost");
    assert_eq!(ready["accounts"][1]["login"], "you@example.test");
    assert_eq!(ready["accounts"][1]["password"], "another secret");
    assert_eq!(ready["accounts"].as_array().unwrap().len(), 2);
    let authority = std::fs::read_to_string(ready["ca"].as_str().unwrap()).unwrap();
    assert!(authority.starts_with("-----BEGIN CERTIFICATE-----"));
    assert!(ready["bus"].as_str().unwrap().starts_with("unix:path="));
    assert_eq!(Path::new(ready["dir"].as_str().unwrap()), instance.dir().canonicalize().unwrap());
    assert!(instance.stop(), "Ctrl-C ends it well");
}

#[test]
fn mail_from_strangers_is_read_over_imap() {
    // With verification, and a DNS that is not there: mail is taken all the same.
    let instance = Spec::default().set("dns.servers=[\"127.0.0.1:9\"]").set("dns.timeout=100ms").start();
    let (login, password) = instance.account(0);
    let mut plain = instance.smtp().unwrap();
    assert!(plain.offered.iter().any(|line| line == "STARTTLS"), "{:?}", plain.offered);
    let reply = plain.send("a@far.test", &login, &message("a@far.test", &login, "clear")).unwrap();
    assert_eq!(reply.code, 250, "{reply:?}");
    let mut tls = instance.smtp().unwrap().starttls(&instance.tls()).unwrap();
    assert!(!tls.offered.iter().any(|line| line == "STARTTLS"), "{:?}", tls.offered);
    let reply = tls.send("", &login, &message("a@far.test", &login, "hidden")).unwrap();
    assert_eq!(reply.code, 250, "{reply:?}");

    // 250 means that it is there, so nobody waits here.
    let mut imaps = Imap::connect_tls(instance.address("imaps"), &instance.tls()).unwrap();
    imaps.sign_in(&login, &password).unwrap();
    assert_eq!(imaps.select("INBOX").unwrap(), 2);
    let clear = &imaps.messages().unwrap()[0];
    for part in [
        "Return-Path: <a@far.test>\r\n",
        "Delivered-To: mox@localhost\r\n",
        "Authentication-Results: ",
        "Received: ",
        "\r\n\r\nText of clear.\r\n.A line with a dot.\r\n",
    ] {
        assert!(clear.contains(part), "no {part:?} in:\n{clear}");
    }

    let mut imap = Imap::connect(instance.address("imap")).unwrap();
    let refused = imap.command(&format!("LOGIN \"{login}\" \"{password}\"")).unwrap();
    assert!(refused.end.starts_with("NO [PRIVACYREQUIRED]"), "no password in the clear: {}", refused.end);
    let mut imap = imap.starttls(&instance.tls()).unwrap();
    imap.sign_in(&login, &password).unwrap();
    assert_eq!(imap.select("INBOX").unwrap(), 2);
    assert_eq!(imap.subjects().unwrap(), ["clear", "hidden"]);
    instance.check();
}

#[test]
fn messages_without_a_header_have_a_right_size() {
    // Row TR-06: all of it is body, or nothing is header; appended and from strangers.
    let instance = Spec::new().start();
    let (me, _) = instance.account(0);
    let texts = ["x", "\r\nx", "\r\n", "no header, no end", "Subject: only header\r\n"];
    let mut imap = instance.imap(0).unwrap();
    for text in texts {
        imap.ok(&format!("APPEND INBOX {{{}+}}\r\n{text}", text.len())).unwrap();
        let mut smtp = instance.smtp().unwrap();
        for (line, code) in [
            ("MAIL FROM:<>".to_owned(), 250),
            (format!("RCPT TO:<{me}>"), 250),
            (format!("BDAT {} LAST\r\n{text}", text.len()), 250),
        ] {
            smtp.line.send(line.as_bytes()).unwrap();
            if !line.starts_with("BDAT") {
                smtp.line.send(b"\r\n").unwrap();
            }
            assert_eq!(smtp.reply().unwrap().code, code, "{line}");
        }
    }
    assert_eq!(imap.select("INBOX").unwrap(), 2 * texts.len());
    let all = imap.ok("FETCH 1:* (RFC822.SIZE BODY.PEEK[])").unwrap();
    for one in &all.untagged {
        let (size, text) = one.split_once("RFC822.SIZE ").unwrap().1.split_once(" BODY[] ").unwrap();
        let text = text.strip_suffix(')').unwrap();
        assert_eq!(text.len().to_string(), size, "{one}");
        assert!(texts.iter().any(|end| text.ends_with(end)), "{one}");
    }
    assert_eq!(all.untagged.len(), 2 * texts.len());
    instance.check();
}

#[test]
fn mail_of_a_person_is_signed_queued_and_delivered() {
    let instance = Spec::new().account("you@example.test:another secret").start();
    // Added while it runs: a domain with keys, and an address there.
    instance.json(&["domain", "add", "signed.test"]);
    instance.json(&["address", "add", "you@signed.test", "you"]);
    let (me, password) = instance.account(0);

    let mut submission = instance.submission(1).unwrap();
    let text = message("you@signed.test", &me, "signed");
    let reply = submission.send("you@signed.test", &me, &text).unwrap();
    assert_eq!(reply.code, 250, "{reply:?}");
    let signed = arrived(&instance, 0, "signed");
    assert!(signed.contains("DKIM-Signature: v=1;"), "{signed}");
    assert!(signed.contains("d=signed.test"), "{signed}");
    // Row MA-05: two keys, the first signs, for three days.
    let tag = |message: &str, name: &str| {
        let field = message.split_once("DKIM-Signature: ").unwrap().1.to_owned();
        let tag = field.split(';').find_map(|tag| tag.trim().strip_prefix(name).map(str::to_owned));
        tag.unwrap_or_else(|| panic!("no {name} in {field}"))
    };
    let seconds = |name: &str| tag(&signed, name).parse::<i64>().unwrap();
    assert_eq!(seconds("x=") - seconds("t="), 72 * 3600);
    let selector = tag(&signed, "s=");
    let year = selector.strip_suffix('a').unwrap();
    // The file says otherwise.
    let path = instance.dir().join("config/domains.toml");
    let file = std::fs::read_to_string(&path).unwrap();
    let changed =
        file.replace(&format!("sign = [\"{selector}\"]"), &format!("sign = [\"{year}b\"]")).replace(
            &format!(".selectors.{year}b]\n"),
            &format!(".selectors.{year}b]\nbody-canonicalization = \"simple\"\n"),
        );
    assert_ne!(file, changed);
    std::fs::write(&path, changed).unwrap();
    instance.json(&["service", "reload", "keys"]);
    let text = message("you@signed.test", &me, "otherwise");
    assert_eq!(submission.send("you@signed.test", &me, &text).unwrap().code, 250);
    let signed = arrived(&instance, 0, "otherwise");
    assert_eq!((tag(&signed, "s="), tag(&signed, "c=")), (format!("{year}b"), "relaxed/simple".into()));

    let mut submissions = Smtp::connect_tls(instance.address("submissions"), &instance.tls()).unwrap();
    assert_eq!(submissions.command("MAIL FROM:<mox@localhost>").unwrap().code, 530, "first the login");
    assert_eq!(submissions.sign_in(&me, &password).unwrap().code, 235);
    let forged =
        submissions.send(&me, "you@example.test", &message("you@signed.test", &me, "forged")).unwrap();
    assert!((500..600).contains(&forged.code), "not the author's address: {forged:?}");
    let reply =
        submissions.send(&me, "you@example.test", &message(&me, "you@example.test", "answer")).unwrap();
    assert_eq!(reply.code, 250, "{reply:?}");
    arrived(&instance, 1, "answer");
    instance.check();
}
