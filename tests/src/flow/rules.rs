//! Rules of an account: a stranger's message goes where its owner said.

use super::{arrived, message};
use mox_testkit::Spec;
use std::io::Write;

const RULES: &str = "
[[accounts.you.destinations.\"you@example.test\".rules]]
mailbox = \"Reports/Nightly\"
headers = { \"^x-kind$\" = \"^nightly report$\" }

[[accounts.you.destinations.\"you@example.test\".rules]]
mailbox = \"Friends\"
from = \"^friend@far[.]test$\"
";

#[test]
fn a_strangers_message_goes_where_a_rule_says() {
    let folder = tempfile::tempdir().unwrap();
    let spec = Spec::new().dir(folder.path()).account("you@example.test:another secret");
    assert!(spec.clone().start().stop());
    let rules = std::fs::File::options().append(true).open(folder.path().join("config/domains.toml"));
    rules.unwrap().write_all(RULES.as_bytes()).unwrap();

    let instance = spec.start();
    let (you, _) = instance.account(1);
    let send = |from: &str, text: &str| {
        let reply = instance.smtp().unwrap().send(from, &you, text).unwrap();
        assert_eq!(reply.code, 250, "{reply:?}");
    };
    // Folded, in words, and in another case.
    let report = message("a@far.test", &you, "report");
    send("a@far.test", &format!("X-KIND: =?utf-8?q?Nightly?=\r\n REPORT\r\n{report}"));
    send("friend@far.test", &message("friend@far.test", &you, "hello"));
    // Too large to ride along: it is in a file when the rules look at it.
    let large = format!("X-Kind: nightly report\r\n{report}{}", "A long line.\r\n".repeat(20_000));
    send("a@far.test", &large);
    send("a@far.test", &message("a@far.test", &you, "other"));

    arrived(&instance, 1, "other");
    let mut imap = instance.imap(1).unwrap();
    for (mailbox, count) in [("INBOX", 1), ("Reports/Nightly", 2), ("Friends", 1)] {
        assert_eq!(imap.select(mailbox).unwrap(), count, "{mailbox}");
    }
    instance.check();
}
