//! The queue.

use super::*;
use libmox_store::{
    AttemptResult, Fault, Needs, Outcome, QueueAdd, QueueAttempt, QueueDrop, QueueDue, QueueEntry, QueueHold,
    QueueKick, QueueList, QueueOpen, QueueRecipient, QueueResult, QueueWatch, Report, Status,
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
