//! Threads: who is whose parent, and what children take from their parents.

use super::*;
use libmox_store::{
    ChangeEvents, Copy, Event, Expunge, FlagsChange, FlagsHow, Mark, Request, ThreadChange, ThreadOf,
    ThreadPlace, ThreadsReassign, Watch,
};
use libmox_types::{Flag, Flags, MsgId};

/// A message by its headers: Message-ID, references, base subject, whether it is an answer.
#[derive(Clone, Copy)]
pub struct Mail<'a>(pub &'a str, pub &'a [&'a str], pub &'a str, pub bool);

impl Mail<'_> {
    pub fn facts(self) -> Facts {
        Facts {
            message_id: self.0.into(),
            references: self.1.iter().map(|text| (*text).into()).collect(),
            base_subject: self.2.into(),
            answer: self.3,
            ..Facts::default()
        }
    }
}

pub async fn arrives(world: &World, received: i64, facts: Facts) -> MsgId {
    let mut request = deliver(&["jane@example.org"], Body::Inline(b"x".to_vec()));
    (request.facts, request.received) = (facts, Timestamp(received));
    match world.client(Role::Smtp).ask(request).await.unwrap()[..] {
        [Delivered::Stored(stored)] => stored.id,
        ref other => panic!("{other:?}"),
    }
}

async fn stands(client: &Client, session: SessionId, message: MsgId) -> ThreadPlace {
    client.ask(ThreadOf { session, message }).await.unwrap()
}

const NOW: i64 = 1_800_000_000;
const DAY: i64 = 24 * 3600;

/// Rows ST-31, ST-32, ST-34.
#[tokio::test(flavor = "multi_thread")]
async fn parents_are_found_by_reference_then_by_subject() {
    let world = World::new().await;
    let imap = world.imap();
    let session = world.login(&imap, "jane@example.org").await;
    let root = arrives(&world, NOW, Mail("root@x", &[], "plan", false).facts()).await;
    // Message-ID, references (nearest last), subject, answer, days later; wanted parents, missing link.
    let cases: [(Mail<'_>, i64, Option<&[usize]>, bool); 10] = [
        (Mail("a@x", &["root@x"], "plan", true), 1, Some(&[0]), false),
        (Mail("b@x", &["root@x", "a@x"], "plan", true), 1, Some(&[1, 0]), false),
        // The direct parent is not here: an older ancestor, and the gap is noted.
        (Mail("c@x", &["root@x", "gone@x"], "plan", true), 1, Some(&[0]), true),
        // Another subject is another thread, though it refers to this one.
        (Mail("d@x", &["a@x"], "something else", true), 1, None, true),
        // Headers that lead nowhere are not replaced by the subject.
        (Mail("e@x", &["nowhere@x"], "plan", true), 2, None, true),
        (Mail("f@x", &[], "plan", true), 27, Some(&[5]), true),
        (Mail("g@x", &[], "plan", true), 27 + 29, None, false),
        (Mail("h@x", &[], "plan", false), 2, None, false),
        (Mail("", &["h@x", "h@x"], "plan", true), 3, Some(&[8]), false),
        (Mail("self@x", &["self@x"], "mine", true), 3, None, true),
    ];
    let mut ids = vec![root];
    for (mail, days, _, _) in &cases {
        ids.push(arrives(&world, NOW + days * DAY, mail.facts()).await);
    }
    let records = world.list(&imap, session, "Inbox").await;
    for (at, (mail, _, parents, missing)) in cases.iter().enumerate() {
        let place = stands(&imap, session, ids[at + 1]).await;
        let want: Vec<MsgId> = parents.unwrap_or_default().iter().map(|at| ids[*at]).collect();
        assert_eq!(place.parents, want, "{}", mail.0);
        let root = want.last().copied().unwrap_or(ids[at + 1]);
        assert_eq!(place.thread, root, "{}", mail.0);
        let record = records.iter().find(|record| record.id == ids[at + 1]).unwrap();
        assert_eq!(record.marks.has(Mark::MissingLink), *missing, "{}", mail.0);
        assert_eq!(record.thread, root);
    }
    // A delivery report belongs to its message whatever its subject.
    let report = Facts { report: true, ..Mail("r@x", &["a@x"], "delivery failed", false).facts() };
    let report = arrives(&world, NOW, report).await;
    assert_eq!(stands(&imap, session, report).await.parents, [ids[1], ids[0]]);
    world.end().await;
}

/// Rows ST-14, ST-32: moves and copies keep thread and parents; a removed parent leaves its children where they are.
#[tokio::test(flavor = "multi_thread")]
async fn threads_survive_moves_and_removals() {
    let world = World::new().await;
    let imap = world.imap();
    let session = world.login(&imap, "jane@example.org").await;
    let root = arrives(&world, NOW, Mail("root@x", &[], "plan", false).facts()).await;
    let child = arrives(&world, NOW, Mail("a@x", &["root@x"], "plan", true).facts()).await;
    let inbox = imap.ask(MailboxStatus { session, name: name("Inbox") }).await.unwrap().id;
    let one = |uid: u32| [libmox_types::Uid(uid)].into_iter().collect::<UidSet>();
    let copy = |uid, take| Copy { session, mailbox: inbox, uids: one(uid), to: name("Archive"), take };
    imap.ask(copy(2, false)).await.unwrap();
    imap.ask(copy(2, true)).await.unwrap();
    let archived = world.list(&imap, session, "Archive").await;
    assert_eq!(archived[1].id, child, "a move keeps the id");
    for record in &archived {
        let place = stands(&imap, session, record.id).await;
        assert_eq!((place.thread, place.parents, place.members.len()), (root, vec![root], 3));
    }
    let flags = Flags::NONE.with(Flag::Deleted);
    let how = FlagsHow::Add;
    let delete = FlagsChange {
        session,
        mailbox: inbox,
        uids: one(1),
        how,
        flags,
        keywords: vec![],
        unchanged_since: None,
    };
    imap.ask(delete).await.unwrap();
    imap.ask(Expunge { session, mailbox: inbox, uids: None }).await.unwrap();
    let place = stands(&imap, session, child).await;
    assert_eq!((place.thread, place.parents, place.members.len()), (root, vec![root], 2));
    // What is gone is found by nobody (row TR-34).
    let late = arrives(&world, NOW, Mail("b@x", &["root@x"], "plan", true).facts()).await;
    assert_eq!(stands(&imap, session, late).await.thread, late);
    world.end().await;
}

/// Row ST-33.
#[tokio::test(flavor = "multi_thread")]
async fn what_arrives_in_a_muted_thread_is_seen() {
    let world = World::new().await;
    let imap = world.imap();
    let session = world.login(&imap, "jane@example.org").await;
    let root = arrives(&world, NOW, Mail("root@x", &[], "plan", false).facts()).await;
    arrives(&world, NOW, Mail("a@x", &["root@x"], "plan", true).facts()).await;
    let before = world.list(&imap, session, "Inbox").await;
    let mut watch = imap.stream(Request::Watch(Watch { session, mailbox: None })).await.unwrap();
    assert!(matches!(watch.next().await, Some(Ok(Item::SnapshotEnd(None, _)))));
    let mute = |muted, collapsed| ThreadChange { session, messages: vec![root], muted, collapsed };
    assert!(imap.ask(mute(Some(true), Some(true))).await.unwrap().change > 0);
    let Some(Ok(Item::Events(events))) = watch.next().await else { panic!() };
    let [ChangeEvents { events, .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(events.len(), 2);
    assert!(events.iter().all(|e| matches!(e, Event::ThreadMarks { muted: true, collapsed: true, .. })));
    assert_eq!(imap.ask(mute(Some(true), None)).await.unwrap().change, 0, "nothing new");
    arrives(&world, NOW, Mail("b@x", &["root@x", "a@x"], "plan", true).facts()).await;
    let after = world.list(&imap, session, "Inbox").await;
    assert_eq!(before[1].mod_seq, after[1].mod_seq, "nothing that IMAP can tell");
    assert!(after.iter().all(|record| record.marks.has(Mark::Muted) && record.marks.has(Mark::Collapsed)));
    assert_eq!(after.iter().map(|r| r.flags.has(Flag::Seen)).collect::<Vec<_>>(), [false, false, true]);
    imap.ask(mute(Some(false), None)).await.unwrap();
    arrives(&world, NOW, Mail("c@x", &["b@x"], "plan", true).facts()).await;
    let after = world.list(&imap, session, "Inbox").await;
    assert!(!after[3].flags.has(Flag::Seen) && !after[3].marks.has(Mark::Muted));
    assert!(after[3].marks.has(Mark::Collapsed));
    world.end().await;
}

/// Row ST-35: nobody looks again when a parent arrives late; the end of an import does. Circles are cut.
#[tokio::test(flavor = "multi_thread")]
async fn an_import_ends_with_finding_threads() {
    let world = World::new().await;
    let imap = world.imap();
    let session = world.login(&imap, "jane@example.org").await;
    let mut ids = Vec::new();
    for (own, parent) in [("c@x", "b@x"), ("b@x", "a@x"), ("a@x", "root@x"), ("root@x", ""), ("1@x", "2@x")] {
        let parents: &[&str] = if parent.is_empty() { &[] } else { &[parent] };
        ids.push(arrives(&world, NOW, Mail(own, parents, "plan", true).facts()).await);
    }
    ids.push(arrives(&world, NOW, Mail("2@x", &["1@x"], "plan", true).facts()).await);
    assert_eq!(stands(&imap, session, ids[0]).await.thread, ids[0], "not matched again");
    let reassign = || ThreadsReassign { account: "jane".into() };
    for _ in 0..2 {
        assert_eq!(world.admin().ask(reassign()).await.unwrap(), 6);
        let place = stands(&imap, session, ids[0]).await;
        // The root's subject has an answer's mark, but nothing with that subject is older than it.
        assert_eq!(place.parents.first(), Some(&ids[1]));
        assert!(place.parents.ends_with(&[ids[1], ids[2], ids[3]]) || place.parents.len() > 3, "{place:?}");
        let (one, two) = (stands(&imap, session, ids[4]).await, stands(&imap, session, ids[5]).await);
        assert_eq!(one.thread, two.thread);
        assert!(one.parents.is_empty() != two.parents.is_empty(), "one of the two is the parent");
        world.is_sound().await;
    }
    world.end().await;
}

/// However deep hostile references nest, in whatever order they come.
#[tokio::test(flavor = "multi_thread")]
async fn a_very_deep_thread_is_bounded() {
    let world = World::new().await;
    let imap = world.imap();
    let session = world.login(&imap, "jane@example.org").await;
    let mut last = MsgId(0);
    for number in (0..300).rev() {
        let (own, parent) = (format!("{number}@x"), format!("{}@x", number - 1));
        last = arrives(&world, NOW, Mail(&own, &[&parent], "deep", true).facts()).await;
    }
    world.admin().ask(ThreadsReassign { account: "jane".into() }).await.unwrap();
    world.is_sound().await;
    // In order it is one thread with the root and the nearest ancestors.
    for number in 1..250 {
        let (own, parent) = (format!("o{number}@x"), format!("o{}@x", number - 1));
        last = arrives(&world, NOW, Mail(&own, &[&parent], "order", true).facts()).await;
    }
    let place = stands(&imap, session, last).await;
    assert_eq!(place.parents.len(), crate::limits::THREAD_PARENTS);
    assert_eq!(place.parents.last(), Some(&place.thread));
    world.end().await;
}
