//! A list of addresses, made by its command: each member gets a stranger's message once.

use super::{arrived, message};
use mox_testkit::Spec;

/// Rows SR-12, SR-13, SR-15, TR-50.
#[test]
fn a_list_made_by_a_command_reaches_its_members() {
    let instance = Spec::new()
        .account("ann@example.test:a long secret")
        .account("bob@example.test:another secret")
        .start();
    let (ann, _) = instance.account(1);
    let (bob, _) = instance.account(2);
    let team = "team@example.test";
    assert!(!instance.mox(&["alias", "add", team, "x@far.test"]).unwrap().status.success(), "no account's");
    instance.json(&["alias", "add", team, &ann]);
    instance.json(&["alias", "addaddr", team, &bob]);
    assert_eq!(instance.json(&["alias", "print", team])["members"].as_array().unwrap().len(), 2);
    let send = |from: &str, to: &[&str], subject: &str| {
        let mut smtp = instance.smtp().unwrap();
        assert_eq!(smtp.command(&format!("MAIL FROM:<{from}>")).unwrap().code, 250);
        for to in to {
            assert_eq!(smtp.command(&format!("RCPT TO:<{to}>")).unwrap().code, 250);
        }
        assert_eq!(smtp.command("DATA").unwrap().code, 354);
        let text = message(from, to[0], subject);
        smtp.command(&format!("{text}.")).unwrap().code
    };
    assert_eq!(send("x@far.test", &[team, &ann], "both"), 250);
    for account in [1, 2] {
        arrived(&instance, account, "both");
        assert_eq!(instance.imap(account).unwrap().select("INBOX").unwrap(), 1, "one copy");
    }
    // The author gets none.
    assert_eq!(send(&ann, &[team], "from ann"), 250);
    arrived(&instance, 2, "from ann");
    assert_eq!(instance.imap(1).unwrap().select("INBOX").unwrap(), 1);
    // Only members, once it says so.
    instance.json(&["alias", "update", team, "--post-public", "false"]);
    let reply =
        instance.smtp().unwrap().send("x@far.test", team, &message("x@far.test", team, "no")).unwrap();
    assert_eq!(reply.code, 550, "{reply:?}");
    assert_eq!(send(&bob, &[team], "from bob"), 250);
    arrived(&instance, 1, "from bob");
    instance.json(&["alias", "rmaddr", team, &bob]);
    assert_eq!(instance.json(&["alias", "list"])[0]["members"].as_array().unwrap().len(), 1);
    instance.json(&["alias", "rm", team]);
    let reply =
        instance.smtp().unwrap().send("x@far.test", team, &message("x@far.test", team, "gone")).unwrap();
    assert_eq!(reply.code, 550, "{reply:?}");
    instance.check();
}
