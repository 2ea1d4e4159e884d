//! The queue.

use super::*;
use libmox_store::{
    AttemptResult, Fault, HoldRule, HoldRuleAdd, HoldRuleList, HoldRuleRemove, Needs, Outcome, QueueAdd,
    QueueAttempt, QueueDrop, QueueDue, QueueEntry, QueueHold, QueueKick, QueueList, QueueOpen,
    QueueRecipient, QueueResult, QueueWatch, Report, Status,
};
use libmox_types::QueueId;

pub(super) fn add(session: SessionId, to: &[&str], body: Body) -> QueueAdd {
    QueueAdd {
        session,
        cid: Cid(5),
        mail_from: ReversePath::Address(address("jane@example.org")),
        header_from: Some(address("jane@example.org")),
        recipients: to
            .iter()
            .map(|to| QueueRecipient { address: address(to), notify: String::new(), orcpt: String::new() })
            .collect(),
        prefix: b"Received: x\r\n".to_vec(),
        body,
        facts: facts(),
        needs: Needs::default(),
        release: None,
        wishes: libmox_store::Wishes::default(),
    }
}

async fn due(world: &World, busy: &[&str]) -> (Vec<QueueEntry>, Option<Timestamp>) {
    let busy = busy.iter().map(|text| libmox_types::Domain::parse(text).unwrap()).collect();
    let due = world.client(Role::Queue).ask(QueueDue { now: world.now(), most: 100, busy }).await.unwrap();
    (due.entries, due.next)
}

fn result(id: QueueId, outcome: Outcome) -> AttemptResult {
    AttemptResult { id, outcome, text: "421 later".into(), took_ms: 5 }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_goes_through_its_states() {
    let world = World::new().await;
    let submission = world.client(Role::Submission);
    let queue = world.client(Role::Queue);
    let session = world.login(&submission, "jane@example.org").await;
    let mut hints = queue.stream(libmox_store::Request::QueueWatch(QueueWatch)).await.unwrap();
    let body = body_of(&submission, &vec![b'q'; 70_000]).await;
    let ids =
        submission.ask(add(session, &["a@x.example", "b@y.example", "c@x.example"], body)).await.unwrap();
    assert_eq!(ids.len(), 3);
    assert_eq!(hints.next().await.unwrap().unwrap(), Item::QueueChanged);
    let (entries, next) = due(&world, &["x.example"]).await;
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].recipient.address, address("b@y.example"));
    assert_eq!(entries[0].message, ids[0]);
    assert_eq!(next, Some(world.now()));

    let later = world.now().plus(600);
    let begun =
        queue.ask(QueueAttempt { ids: vec![ids[1], QueueId(99)], next_attempt: later }).await.unwrap();
    assert_eq!(begun, [ids[1]]);
    let (content, descriptors) = queue.ask_with(QueueOpen(ids[1]), vec![]).await.unwrap();
    assert_eq!((content.prefix, content.size.0, descriptors.len()), (b"Received: x\r\n".to_vec(), 70_000, 1));
    let results = vec![result(ids[1], Outcome::Later(later.plus(60)))];
    queue.ask(QueueResult { results, report: None }).await.unwrap();
    let listed = queue.ask(QueueList { after: QueueId(0), most: 10 }).await.unwrap();
    assert_eq!((listed[1].attempts, listed[1].last.as_str()), (1, "421 later"));

    assert_eq!(queue.ask(QueueHold { ids: vec![ids[0]], held: true }).await.unwrap(), 1);
    let (entries, next) = due(&world, &[]).await;
    assert_eq!(entries.iter().map(|e| e.id).collect::<Vec<_>>(), [ids[2]]);
    assert_eq!(next, Some(later.plus(60)));
    let status = world.admin().ask(Status).await.unwrap();
    assert_eq!((status.queued, status.held, status.state.as_str()), (3, 1, "running"));
    let world = world.reopened().await;
    let queue = world.client(Role::Queue);

    assert_eq!(queue.ask(QueueKick { ids: vec![] }).await.unwrap(), 2, "held ones stay");
    assert_eq!(due(&world, &[]).await.0.len(), 2);
    assert_eq!(queue.ask(QueueHold { ids: ids.clone(), held: false }).await.unwrap(), 1);
    queue.ask(QueueResult { results: vec![result(ids[2], Outcome::Delivered)], report: None }).await.unwrap();
    assert_eq!(queue.ask(QueueDrop { ids: vec![ids[0]] }).await.unwrap(), 1);

    // The last one fails; the report reaches the sender's Inbox in the same change, once.
    let report = || Report {
        to: address("jane@example.org"),
        prefix: b"X: y\r\n".to_vec(),
        body: Body::Inline(b"it failed".to_vec()),
        facts: facts(),
    };
    let failed = || QueueResult { results: vec![result(ids[1], Outcome::Failed)], report: Some(report()) };
    queue.ask(failed()).await.unwrap();
    queue.ask(failed()).await.unwrap();
    let imap = world.imap();
    let session = world.login(&imap, "jane@example.org").await;
    assert_eq!(world.list(&imap, session, "Inbox").await.len(), 1);
    assert_eq!(world.admin().ask(Status).await.unwrap().queued, 0);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn senders_use_their_own_addresses() {
    let world = World::new().await;
    let submission = world.client(Role::Submission);
    let session = world.login(&submission, "bob@example.org").await;
    let body = || Body::Inline(b"x".to_vec());
    let refused = submission.ask(add(session, &["a@x.example"], body())).await;
    assert_eq!(refused.unwrap_err().fault(), Some(&Fault::NotYours));
    let mut own = add(session, &["a@x.example"], body());
    own.mail_from = ReversePath::Null;
    own.header_from = Some(address("anything@all.example"));
    submission.ask(own).await.unwrap();
    let none = add(session, &[], body());
    assert!(matches!(submission.ask(none).await.unwrap_err().fault(), Some(Fault::Invalid(_))));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_to_elsewhere_is_queued_without_sender() {
    let world = World::new().await;
    let submission = world.client(Role::Submission);
    let queue = world.client(Role::Queue);
    let session = world.login(&submission, "jane@example.org").await;
    let ids = submission.ask(add(session, &["a@x.example"], Body::Inline(b"x".to_vec()))).await.unwrap();
    let report = Report {
        to: address("someone@far.example"),
        prefix: vec![],
        body: Body::Inline(b"report".to_vec()),
        facts: facts(),
    };
    let results = vec![result(ids[0], Outcome::Failed)];
    queue.ask(QueueResult { results, report: Some(report) }).await.unwrap();
    let (entries, _) = due(&world, &[]).await;
    assert_eq!(entries.len(), 1);
    assert_eq!((&entries[0].mail_from, &entries[0].account_name[..]), (&ReversePath::Null, "jane"));
    world.end().await;
}

/// Rows SU-08, MP-14.
#[tokio::test(flavor = "multi_thread")]
async fn a_sender_made_for_one_message_is_unique_as_long_as_that_is_known() {
    let mut directory = sample();
    let jane = directory.accounts.get_mut("jane").unwrap();
    jane.fromid_logins = vec![address("jane@example.org")];
    jane.keep_retired = 1000;
    let world = World::with(directory).await;
    let (submission, queue) = (world.client(Role::Submission), world.client(Role::Queue));
    let session = world.login(&submission, "jane@example.org").await;
    let to = ["a@x.example", "b@x.example"];
    let ids = submission.ask(add(session, &to, Body::Inline(b"x".to_vec()))).await.unwrap();
    let entries = queue.ask(QueueList { after: QueueId(0), most: 10 }).await.unwrap();
    let senders: Vec<String> = entries.iter().map(|entry| entry.mail_from.to_string()).collect();
    assert!(senders[0] != senders[1] && senders.iter().all(|one| one.contains("jane+")), "{senders:?}");
    let own = |to: &[&str]| QueueAdd {
        mail_from: ReversePath::Address(address("jane+mine@example.org")),
        ..add(session, to, Body::Inline(b"x".to_vec()))
    };
    let fault = async |add| submission.ask(add).await.unwrap_err().fault().cloned();
    assert_eq!(fault(own(&to)).await, Some(Fault::SenderUsed), "for one recipient");
    let own_ids = submission.ask(own(&to[..1])).await.unwrap();
    assert_eq!(fault(own(&to[..1])).await, Some(Fault::SenderUsed), "in the queue");
    queue
        .ask(QueueResult { results: vec![result(own_ids[0], Outcome::Delivered)], report: None })
        .await
        .unwrap();
    let world = world.reopened().await;
    let (submission, queue) = (world.client(Role::Submission), world.client(Role::Queue));
    let session = world.login(&submission, "jane@example.org").await;
    let own = QueueAdd { session, ..own(&to[..1]) };
    let again = submission.ask(own.clone()).await.unwrap_err();
    assert_eq!(again.fault(), Some(&Fault::SenderUsed), "among what left it");
    world.clock.fetch_add(2000, Ordering::Relaxed);
    // Forgotten with the next change of the queue.
    queue.ask(QueueDrop { ids: vec![ids[0]] }).await.unwrap();
    submission.ask(own).await.unwrap();
    // Who signs in otherwise sends as always.
    let other = world.login(&submission, "jane+x@example.org").await;
    let plain = submission.ask(add(other, &to, Body::Inline(b"x".to_vec()))).await.unwrap();
    let entries = queue.ask(QueueList { after: QueueId(0), most: 100 }).await.unwrap();
    let entry = entries.iter().find(|entry| entry.id == plain[0]).unwrap();
    assert_eq!(entry.mail_from, ReversePath::Address(address("jane@example.org")));
    world.end().await;
}

/// Row SU-08: without a separator there is nothing an id could stand behind.
#[tokio::test(flavor = "multi_thread")]
async fn a_domain_without_a_separator_has_no_unique_senders() {
    let mut directory = sample();
    directory.accounts.get_mut("bob").unwrap().fromid_logins = vec![address("Bob@all.example")];
    let world = World::with(directory).await;
    let submission = world.client(Role::Submission);
    let session = world.login(&submission, "Bob@all.example").await;
    let own = ReversePath::Address(address("Bob@all.example"));
    let request = QueueAdd {
        mail_from: own.clone(),
        header_from: Some(address("Bob@all.example")),
        ..add(session, &["a@x.example", "b@x.example"], Body::Inline(b"x".to_vec()))
    };
    submission.ask(request).await.unwrap();
    let entries = world.client(Role::Queue).ask(QueueList { after: QueueId(0), most: 10 }).await.unwrap();
    assert_eq!(entries.len(), 2);
    assert!(entries.iter().all(|entry| entry.mail_from == own), "{entries:?}");
    world.end().await;
}

/// Row SU-04.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_sends_so_much_a_day_and_no_more() {
    let usual = crate::directory::SendingLimits::default();
    assert_eq!((usual.messages, usual.first_time), (1_000, 200));
    let mut directory = sample();
    directory.accounts.get_mut("jane").unwrap().sending =
        crate::directory::SendingLimits { messages: 5, first_time: 3 };
    let world = World::with(directory).await;
    let submission = world.client(Role::Submission);
    let session = world.login(&submission, "jane@example.org").await;
    let send = async |to: &[&str]| {
        let outcome = submission.ask(add(session, to, Body::Inline(b"x".to_vec()))).await;
        outcome.map(|_| ()).map_err(|error| error.fault().unwrap().to_string())
    };
    send(&["a@x.example", "b@x.example"]).await.unwrap();
    let first_time = send(&["c@x.example", "d@x.example"]).await.unwrap_err();
    assert!(first_time.contains("max-first-time-recipients-per-day"), "{first_time}");
    send(&["c@x.example"]).await.unwrap();
    send(&["a@x.example", "b@x.example"]).await.unwrap();
    let all = send(&["a@x.example"]).await.unwrap_err();
    assert!(all.contains("max-outgoing-messages-per-day"), "{all}");
    world.clock.fetch_add(24 * 3600 + 1, Ordering::Relaxed);
    send(&["d@x.example"]).await.unwrap();
    world.end().await;
}

/// Row SU-14.
#[tokio::test(flavor = "multi_thread")]
async fn a_domain_switched_off_sends_nothing_for_now() {
    let mut directory = sample();
    directory.domains.get_mut(&address("jane@example.org").domain).unwrap().disabled = true;
    let world = World::with(directory).await;
    let submission = world.client(Role::Submission);
    let session = world.login(&submission, "jane@example.org").await;
    let ask = libmox_store::CheckSender { session, address: address("jane@example.org") };
    assert_eq!(submission.ask(ask).await.unwrap_err().fault(), Some(&Fault::SenderDisabled));
    let mut null = add(session, &["a@x.example"], Body::Inline(b"x".to_vec()));
    null.mail_from = ReversePath::Null;
    assert_eq!(submission.ask(null).await.unwrap_err().fault(), Some(&Fault::SenderDisabled));
    world.end().await;
}

/// Rows QU-10 and MP-14: a rule holds what waits and what comes, by account, sender and recipient; without it what is
/// held stays so.
#[tokio::test(flavor = "multi_thread")]
async fn hold_rules_hold_what_they_fit() {
    let world = World::new().await;
    let (submission, queue) = (world.client(Role::Submission), world.client(Role::Queue));
    let sender = world.login(&submission, "jane@example.org").await;
    let first = submission
        .ask(add(sender, &["a@x.example", "b@y.example"], Body::Inline(b"x".to_vec())))
        .await
        .unwrap();
    let domain = |text: &str| Some(libmox_types::Domain::parse(text).unwrap());
    let rule = HoldRule { recipient_domain: domain("x.example"), ..HoldRule::default() };
    let added = queue.ask(HoldRuleAdd(rule.clone())).await.unwrap();
    assert_eq!((added.id, added.held), (1, 1));
    let second = submission
        .ask(add(sender, &["c@X.example", "d@z.example"], Body::Inline(b"x".to_vec())))
        .await
        .unwrap();
    let due_ids =
        async |world: &World| due(world, &[]).await.0.iter().map(|entry| entry.id).collect::<Vec<_>>();
    assert_eq!(due_ids(&world).await, [first[1], second[1]]);
    assert_eq!(world.admin().ask(Status).await.unwrap().held, 2);
    // Named together, all has to fit.
    let of = |account: &str, from: &str| HoldRule {
        account: Some(account.into()),
        sender_domain: domain(from),
        ..HoldRule::default()
    };
    assert_eq!(queue.ask(HoldRuleAdd(of("jane", "else.example"))).await.unwrap().held, 0);
    assert_eq!(queue.ask(HoldRuleAdd(of("nobody", "example.org"))).await.unwrap().held, 0);
    assert_eq!(due_ids(&world).await.len(), 2);
    assert_eq!(queue.ask(HoldRuleAdd(of("jane", "example.org"))).await.unwrap().held, 2);
    let world = world.reopened().await;
    let queue = world.client(Role::Queue);
    assert_eq!(due_ids(&world).await, []);
    let rules = queue.ask(HoldRuleList).await.unwrap();
    assert_eq!(rules.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(rules[0].1, rule);
    for id in 1..=4 {
        assert!(queue.ask(HoldRuleRemove { id }).await.unwrap());
        assert!(!queue.ask(HoldRuleRemove { id }).await.unwrap());
    }
    assert_eq!(world.admin().ask(Status).await.unwrap().held, 4, "what is held stays held");
    let submission = world.client(Role::Submission);
    let sender = world.login(&submission, "jane@example.org").await;
    let third = submission.ask(add(sender, &["a@x.example"], Body::Inline(b"x".to_vec()))).await.unwrap();
    assert_eq!(due_ids(&world).await, third);
    // Nothing named fits all: the queue is paused.
    assert_eq!(queue.ask(HoldRuleAdd(HoldRule::default())).await.unwrap().held, 1);
    submission.ask(add(sender, &["e@w.example"], Body::Inline(b"x".to_vec()))).await.unwrap();
    assert_eq!(due_ids(&world).await, []);
    world.end().await;
}
