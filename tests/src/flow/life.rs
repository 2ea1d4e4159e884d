//! Services leave and come back; instances start again, and beside each other.

use super::{ARRIVAL, arrived, message};
use mox_testkit::{Instance, Spec, wait_for};

#[track_caller]
fn deliver(instance: &Instance, account: usize, subject: &str) {
    let (to, _) = instance.account(account);
    let reply =
        instance.smtp().unwrap().send("a@far.test", &to, &message("a@far.test", &to, subject)).unwrap();
    assert_eq!(reply.code, 250, "{reply:?}");
}

#[test]
fn idle_services_leave_and_come_back() {
    let instance = Spec::new().set("service.idle-exit=300ms").set("service.store-idle-exit=600ms").start();
    let (me, _) = instance.account(0);
    for round in 0..3 {
        deliver(&instance, 0, &format!("in{round}"));
        let subject = format!("out{round}");
        let reply = instance.submission(0).unwrap().send(&me, &me, &message(&me, &me, &subject)).unwrap();
        assert_eq!(reply.code, 250, "{reply:?}");
        arrived(&instance, 0, &subject);
        wait_for("everybody to leave", ARRIVAL, || instance.services().is_empty().then_some(()));
    }
    let mut imap = instance.imap(0).unwrap();
    assert_eq!(imap.select("INBOX").unwrap(), 6);
    // Who is connected keeps the service: nobody is thrown out.
    std::thread::sleep(std::time::Duration::from_millis(900));
    assert_eq!(imap.subjects().unwrap().len(), 6);
    instance.check();
}

#[test]
fn a_second_start_keeps_mail_and_accounts() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("data");
    let spec = Spec::new().dir(&dir).account("you@example.test:another secret");
    let first = spec.clone().start();
    deliver(&first, 1, "before");
    first.json(&["account", "add", "third", "third@example.test"]);

    let Err(refused) = spec.clone().try_start() else { panic!("two instances in one folder") };
    assert!(refused.contains("another instance runs in"), "{refused}");
    deliver(&first, 1, "undisturbed");
    assert!(first.stop());

    let second = spec.start();
    assert!(arrived(&second, 1, "before").contains("Text of before."));
    deliver(&second, 1, "after");
    let mut imap = second.imap(1).unwrap();
    assert_eq!(imap.select("INBOX").unwrap(), 3);
    let accounts = second.json(&["account", "list"]);
    let mut names: Vec<&str> =
        accounts.as_array().unwrap().iter().filter_map(|account| account["name"].as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["mox", "third", "you"]);
    second.check();
}

#[test]
fn two_instances_run_side_by_side() {
    let (left, right) = (Spec::new().start(), Spec::new().start());
    assert_ne!(left.address("smtp"), right.address("smtp"));
    deliver(&left, 0, "left");
    deliver(&right, 0, "right");
    for (instance, subject) in [(&left, "left"), (&right, "right")] {
        let mut imap = instance.imap(0).unwrap();
        imap.select("INBOX").unwrap();
        assert_eq!(imap.subjects().unwrap(), [subject]);
    }
}
