//! The junk filter over SMTP and IMAP: what people mark decides what strangers may send.

use super::{arrived, message};
use mox_testkit::{Imap, Instance, Spec};
use std::io::Write;

const ACCOUNT: &str = "
[accounts.you.junk-filter]
enabled = true
";

/// Rows JK-01, JK-06, SR-25, SR-28, TR-11, TR-13, CL-14: refused, looked at, moved out, welcome.
#[test]
fn what_people_mark_decides_about_strangers() {
    let folder = tempfile::tempdir().unwrap();
    let spec = Spec::new().dir(folder.path()).account("you@example.test:another secret");
    assert!(spec.clone().start().stop());
    let path = folder.path().join("config/domains.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text.replace("[accounts.you]\n", "[accounts.you]\nrejects-mailbox = \"Rejects\"\n");
    assert!(text.contains("rejects-mailbox"), "{text}");
    std::fs::write(&path, text).unwrap();
    let config = std::fs::File::options().append(true).open(&path);
    config.unwrap().write_all(ACCOUNT.as_bytes()).unwrap();

    let instance = spec.start();
    let (you, _) = instance.account(1);
    let mut imap = instance.imap(1).unwrap();
    let letter =
        |from: &str, subject: &str, text: &str| format!("{}{text}\r\n", message(from, &you, subject));
    for number in 0..60 {
        let good = letter("friend@far.test", &format!("minutes {number}"), "agenda of the weekly meeting");
        append(&mut imap, "$NotJunk", &good);
        let bad = letter("spam@bad.test", &format!("offer {number}"), "cheap pills without prescription");
        append(&mut imap, "$Junk", &bad);
    }
    instance.check();
    let send = |from: &str, text: &str| instance.smtp().unwrap().send(from, &you, text).unwrap();
    let bad = letter("stranger@new.test", "hello", "cheap pills without prescription");
    let reply = send("stranger@new.test", &bad);
    assert_eq!(reply.code, 451, "{reply:?}");
    let reply =
        send("other@elsewhere.test", &letter("other@elsewhere.test", "plan", "agenda of the meeting"));
    assert_eq!(reply.code, 250, "{reply:?}");
    arrived(&instance, 1, "plan");

    // It can be looked at, and says why it is there.
    assert_eq!(imap.select("Rejects").unwrap(), 1);
    let raw = imap.messages().unwrap().remove(0);
    let raw = raw.replace("\r\n\t", " ");
    assert!(raw.contains("X-Mox-Reason: junk-content; probability 1-"), "{raw}");
    assert!(raw.contains("words for junk: ") && raw.contains("prescription"), "{raw}");
    // The whole chain, also by its connection.
    let why = instance.json(&["why", "hello@client.test"]);
    let text = why.to_string();
    for part in
        ["stranger@new.test", "junk-content", "words for junk", "prescription 0.99", "451", "nothing-known"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    let cid = why[0]["cid"].as_str().unwrap().to_owned();
    let shown = instance.mox(&["why", &cid]).unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("  result: Reject, junk-content: probability 1-"), "{shown}");
    assert!(!instance.mox(&["why", "nobody@nowhere.test"]).unwrap().status.success());
    // Moved out it is unseen, and the next one is welcome.
    imap.ok("UID MOVE 1 INBOX").unwrap();
    let count = imap.select("INBOX").unwrap();
    let flags = imap.ok(&format!("FETCH {count} FLAGS")).unwrap().untagged.join("\n");
    assert!(!flags.contains("\\Seen"), "{flags}");
    imap.ok(&format!("STORE {count} +FLAGS ($NotJunk)")).unwrap();
    let again = letter("stranger@new.test", "hello again", "cheap pills without prescription");
    let reply = send("stranger@new.test", &again);
    assert_eq!(reply.code, 250, "{reply:?}");
    arrived(&instance, 1, "hello again");

    let learnt = instance.json(&["retrain", "you"]);
    let line = learnt["done"][0].as_str().unwrap_or_default().to_owned();
    assert!(line.starts_with("you: 60 messages learnt as junk, 61 as no junk"), "{learnt}");
    instance.check();
}

/// Rows TR-11 to TR-13, as a client sees them: a reject keeps being one when the mailbox for rejects gets another name
/// and two of them exist; taken out with COPY and EXPUNGE, or with MOVE, it is unseen, and its sender is welcome.
#[test]
fn rejects_are_taken_out_by_any_way_and_from_any_of_their_mailboxes() {
    let folder = tempfile::tempdir().unwrap();
    let spec = Spec::new().dir(folder.path()).account("you@example.test:another secret");
    assert!(spec.clone().start().stop());
    let path = folder.path().join("config/domains.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let named = |mailbox: &str| {
        let text =
            text.replace("[accounts.you]\n", &format!("[accounts.you]\nrejects-mailbox = \"{mailbox}\"\n"));
        std::fs::write(&path, text + ACCOUNT).unwrap();
    };
    named("Rejects");
    let instance = spec.clone().start();
    let (you, _) = instance.account(1);
    let letter =
        |from: &str, subject: &str, text: &str| format!("{}{text}\r\n", message(from, &you, subject));
    let mut imap = instance.imap(1).unwrap();
    for number in 0..60 {
        let good = letter("friend@far.test", &format!("minutes {number}"), "agenda of the weekly meeting");
        append(&mut imap, "$NotJunk", &good);
        let bad = letter("spam@bad.test", &format!("offer {number}"), "cheap pills without prescription");
        append(&mut imap, "$Junk", &bad);
    }
    let bad = |instance: &Instance, from: &str, subject: &str| {
        let bad = letter(from, subject, "cheap pills without prescription");
        instance.smtp().unwrap().send(from, &you, &bad).unwrap().code
    };
    assert_eq!(bad(&instance, "one@first.test", "one"), 451);
    assert_eq!(bad(&instance, "two@second.test", "two"), 451);
    assert!(instance.stop());

    named("Refused");
    let instance = spec.start();
    let mut imap = instance.imap(1).unwrap();
    assert_eq!(bad(&instance, "three@third.test", "three"), 451);
    for (mailbox, want) in [("Rejects", 2), ("Refused", 1)] {
        assert_eq!(imap.select(mailbox).unwrap(), want, "{mailbox}");
    }
    for (mailbox, how, from) in [
        ("Rejects", "COPY", "one@first.test"),
        ("Rejects", "MOVE", "two@second.test"),
        ("Refused", "COPY", "three@third.test"),
    ] {
        imap.select(mailbox).unwrap();
        imap.ok("STORE 1 +FLAGS (\\Seen)").unwrap();
        imap.ok(&format!("{how} 1 INBOX")).unwrap();
        if how == "COPY" {
            imap.ok("STORE 1 +FLAGS (\\Deleted)").unwrap();
            imap.ok("EXPUNGE").unwrap();
        }
        let count = imap.select("INBOX").unwrap();
        let got = imap.ok(&format!("FETCH {count} (FLAGS ENVELOPE)")).unwrap().untagged.join("\n");
        assert!(
            !got.contains("\\Seen") && got.contains(from.split_once('@').unwrap().0),
            "{how} {mailbox}: {got}"
        );
        // Out of there is not yet an opinion; the mark is.
        assert_eq!(bad(&instance, from, "again"), 451, "{from}");
        imap.ok(&format!("STORE {count} +FLAGS ($NotJunk)")).unwrap();
        assert_eq!(bad(&instance, from, "once more"), 250, "{from}");
        arrived(&instance, 1, "once more");
        imap.select("INBOX").unwrap();
        imap.ok("STORE * +FLAGS (\\Deleted)").unwrap();
        imap.ok("EXPUNGE").unwrap();
    }
    instance.check();
}

fn append(imap: &mut Imap, flag: &str, text: &str) {
    imap.ok(&format!("APPEND INBOX ({flag}) {{{}+}}\r\n{text}", text.len())).unwrap();
}
