//! From the queue into accounts of this store.

use super::outgoing::add;
use super::*;
use libmox_store::{
    DeliverInto, DeliveredHere, Fault, QueueDeliver, QueueDeliverTo, QueueHold, QueueList, Status,
};
use libmox_types::QueueId;

fn into_accounts(ids: &[QueueId], into: DeliverInto) -> QueueDeliver {
    let entries = ids.iter().map(|id| QueueDeliverTo { id: *id, prefix: b"Delivered-To: x\r\n".to_vec() });
    QueueDeliver { entries: entries.collect(), facts: facts(), into }
}

#[tokio::test(flavor = "multi_thread")]
async fn queued_mail_for_people_here_needs_no_network() {
    let world = World::new().await;
    let (submission, queue, imap) = (world.client(Role::Submission), world.client(Role::Queue), world.imap());
    let session = world.login(&submission, "bob@example.org").await;
    let to = [
        "jane@example.org",
        "root@mail.example.org",
        "cron-job@mail.example.org",
        "nobody@example.org",
        "x@far.example",
        "x@off.example",
        "bob@example.org",
    ];
    // Larger than what rides in a journal record: the file is linked.
    let body = vec![b'q'; 70_000];
    let mut request = add(session, &to, body_of(&submission, &body).await);
    request.mail_from = ReversePath::Address(address("bob@example.org"));
    request.header_from = None;
    let ids = submission.ask(request).await.unwrap();
    queue.ask(QueueHold { ids: vec![ids[6]], held: true }).await.unwrap();
    let deliver = || into_accounts(&ids, DeliverInto::Recipient);
    let results = queue.ask(deliver()).await.unwrap();
    let DeliveredHere::Stored(jane) = results[0] else { panic!("{results:?}") };
    assert_eq!(
        results[1..],
        [
            DeliveredHere::Stored(jane),
            DeliveredHere::Stored(jane),
            DeliveredHere::UnknownUser,
            DeliveredHere::Foreign,
            DeliveredHere::Disabled,
            DeliveredHere::Gone,
        ],
        "root and a user without an account are the postmaster's, who is jane and gets it once; bob's is held"
    );
    assert_eq!(queue.ask(deliver()).await.unwrap()[..3], [DeliveredHere::Gone; 3], "twice is once");
    let left = queue.ask(QueueList { after: QueueId(0), most: 10 }).await.unwrap();
    assert_eq!(left.iter().map(|entry| entry.id).collect::<Vec<_>>(), ids[3..]);
    let session = world.login(&imap, "jane@example.org").await;
    let listed = world.list(&imap, session, "Inbox").await;
    let prefix = b"Delivered-To: x\r\nReceived: x\r\n".len() as u64;
    assert_eq!(listed.iter().map(|m| m.size.0).collect::<Vec<_>>(), [70_000 + prefix]);
    assert_eq!(listed[0].structure, facts().structure);
    let world = world.reopened().await;

    // A test instance keeps what is for others.
    let queue = world.client(Role::Queue);
    let results = queue.ask(into_accounts(&ids[3..], DeliverInto::RecipientOrSender)).await.unwrap();
    assert!(matches!(results[1], DeliveredHere::Stored(_)), "{results:?}");
    queue.ask(QueueHold { ids: vec![ids[6]], held: false }).await.unwrap();
    let results = queue.ask(into_accounts(&ids[6..], DeliverInto::Recipient)).await.unwrap();
    assert!(matches!(results[0], DeliveredHere::Stored(_)), "{results:?}");
    let imap = world.imap();
    let session = world.login(&imap, "bob@example.org").await;
    assert_eq!(world.list(&imap, session, "Inbox").await.len(), 2);
    assert_eq!(world.admin().ask(Status).await.unwrap().queued, 2);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_of_two_messages_are_not_delivered_together() {
    let world = World::new().await;
    let (submission, queue) = (world.client(Role::Submission), world.client(Role::Queue));
    let session = world.login(&submission, "jane@example.org").await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let request = add(session, &["bob@example.org"], Body::Inline(b"x".to_vec()));
        ids.extend(submission.ask(request).await.unwrap());
    }
    for wrong in [&ids[..], &[]] {
        let refused = queue.ask(into_accounts(wrong, DeliverInto::Recipient)).await;
        assert!(matches!(refused.unwrap_err().fault(), Some(Fault::Invalid(_))));
    }
    let nobody = queue.ask(into_accounts(&[QueueId(99)], DeliverInto::Recipient)).await.unwrap();
    assert_eq!(nobody, [DeliveredHere::Gone]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_account_leaves_its_mail_in_the_queue() {
    let mut directory = sample();
    directory.accounts.get_mut("bob").unwrap().quota = Some(100);
    let world = World::with(directory).await;
    let (submission, queue) = (world.client(Role::Submission), world.client(Role::Queue));
    let session = world.login(&submission, "jane@example.org").await;
    let to = ["bob@example.org", "jane@example.org"];
    let ids = submission.ask(add(session, &to, Body::Inline(vec![b'x'; 200]))).await.unwrap();
    let results = queue.ask(into_accounts(&ids, DeliverInto::Recipient)).await.unwrap();
    assert_eq!(results[0], DeliveredHere::OverQuota);
    assert!(matches!(results[1], DeliveredHere::Stored(_)), "{results:?}");
    let left = queue.ask(QueueList { after: QueueId(0), most: 10 }).await.unwrap();
    assert_eq!(left.iter().map(|entry| entry.id).collect::<Vec<_>>(), ids[..1]);
    world.end().await;
}
