//! Every service is killed while messages flow. RFC 5321 §6.1: what was answered 250 is there afterwards.

use super::{ARRIVAL, message};
use mox_testkit::{Instance, Spec, wait_for};
use std::collections::BTreeSet;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

const SERVICES: [&str; 8] = [
    "mox-store",
    "mox-keys",
    "mox-verify",
    "mox-smtp",
    "mox-submission",
    "mox-imap",
    "mox-queue",
    "mox-admin",
];
/// Messages that must be answered after each kill, by each way.
const AFTER: usize = 3;

/// What the senders did so far.
#[derive(Default)]
struct Tally {
    kept: [Mutex<BTreeSet<String>>; 2],
    accepted: [AtomicUsize; 2],
    refused: Mutex<Option<String>>,
    stop: AtomicBool,
}

/// One message on a connection of its own; its subject if it was answered 250.
fn one(instance: &Instance, way: usize, subject: &str) -> io::Result<bool> {
    let (me, _) = instance.account(0);
    let text = message(&me, &me, subject);
    let mut smtp =
        if way == 0 { instance.smtp()?.starttls(&instance.tls())? } else { instance.submission(0)? };
    Ok(smtp.send(&me, &me, &text)?.code == 250)
}

fn send_until_told(instance: &Instance, tally: &Tally, way: usize) {
    for number in 0.. {
        if tally.stop.load(Ordering::Relaxed) {
            return;
        }
        let subject = format!("way{way}-{number}");
        match one(instance, way, &subject) {
            Ok(true) => {
                tally.kept[way].lock().unwrap().insert(subject);
                tally.accepted[way].fetch_add(1, Ordering::Relaxed);
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                *tally.refused.lock().unwrap() = Some(subject);
                return;
            }
            // Cut off or told to try again: not ours to keep.
            Ok(false) | Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

#[test]
fn killing_any_service_loses_nothing_acknowledged() {
    let instance = Spec::default()
        .set("dns.servers=[\"127.0.0.1:9\"]")
        .set("dns.timeout=100ms")
        .set("queue.first-retry=200ms")
        .start();
    let tally = Tally::default();
    std::thread::scope(|scope| {
        for way in 0..2 {
            let (instance, tally) = (&instance, &tally);
            scope.spawn(move || send_until_told(instance, tally, way));
        }
        // Told even when an assertion below fails: the scope waits for its threads.
        let _stop = Stop(&tally.stop);
        more_arrive(&tally, "start");
        for service in SERVICES {
            // Those that nobody needs right now are woken.
            let _ = instance.imap(0).and_then(|mut imap| imap.select("INBOX"));
            let _ = instance.mox(&["status"]);
            wait_for(&format!("{service} to run"), ARRIVAL, || instance.kill(service).then_some(()));
            more_arrive(&tally, service);
        }
    });
    assert_eq!(*tally.refused.lock().unwrap(), None, "a connection was refused");
    // What waits for its next attempt is tried now.
    wait_for("an empty queue", ARRIVAL, || {
        let list = instance.json(&["queue", "list"]);
        if list.as_array().is_some_and(Vec::is_empty) {
            return Some(());
        }
        let _ = instance.mox(&["queue", "kick"]);
        None
    });
    let mut imap = instance.imap(0).unwrap();
    imap.select("INBOX").unwrap();
    let there: BTreeSet<String> = imap.subjects().unwrap().into_iter().collect();
    for kept in &tally.kept {
        let kept = kept.lock().unwrap();
        let lost: Vec<&String> = kept.difference(&there).collect();
        assert!(lost.is_empty(), "{} of {} acknowledged are lost: {lost:?}", lost.len(), kept.len());
    }
    instance.check();
}

struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[track_caller]
fn more_arrive(tally: &Tally, after: &str) {
    let count = |way: usize| tally.accepted[way].load(Ordering::Relaxed);
    let before = [count(0), count(1)];
    wait_for(&format!("messages after {after}"), ARRIVAL, || {
        (tally.refused.lock().unwrap().is_some() || (0..2).all(|way| count(way) >= before[way] + AFTER))
            .then_some(())
    });
}

/// Row MP-06, DESIGN §2: who restarts the store, or kills it, is not noticed by who sends.
#[test]
fn a_restarted_store_is_not_noticed_by_who_sends() {
    let instance = Spec::new().set("service.stop-grace=5s").start();
    let (me, _) = instance.account(0);
    let (sent, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for client in 0..4 {
            let (instance, me, sent, stop) = (&instance, &me, &sent, &stop);
            scope.spawn(move || {
                let mut smtp = instance.smtp().unwrap();
                let mut number = 0;
                while !stop.load(Ordering::Relaxed) {
                    number += 1;
                    let mut text = message("a@far.test", me, &format!("c{client}-{number}"));
                    if number % 3 == 0 {
                        // Too large to ride in a request: its staging file belongs to the store that goes.
                        text.push_str(&format!("{}\r\n", "x".repeat(70)).repeat(1_000));
                    }
                    let reply = smtp.send("a@far.test", me, &text).unwrap();
                    assert_eq!(reply.code, 250, "message {number} of {client}: {reply:?}");
                    sent.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for round in 0..6 {
            std::thread::sleep(Duration::from_millis(700));
            if round % 2 == 0 {
                instance.json(&["service", "stop", "store"]);
            } else {
                assert!(instance.kill("mox-store"));
            }
        }
        std::thread::sleep(Duration::from_millis(700));
        stop.store(true, Ordering::Relaxed);
    });
    let mut imap = instance.imap(0).unwrap();
    let there = imap.select("INBOX").unwrap();
    assert_eq!(there, sent.load(Ordering::Relaxed), "each is there once");
    instance.check();
}
