//! Reading and changing an account.

use super::*;
use libmox_store::{
    Append, AppendListed, AppendMessage, ChangeEvents, Copy, CopyAll, Event, Expunge, Fault, FlagsChange,
    FlagsHow, LastChanges, LastChangesOpen, MailboxCreate, MailboxDelete, MailboxRename, MailboxStatus,
    MailboxSubscribe, MessageRecord, Quota, Request, SnapshotMessage, Vanished, VanishedSince, Watch,
    WatchSet,
};
use libmox_types::{Flag, Flags, Keyword, MailboxId, ModSeq, SpecialUse, Uid, UidSet};

struct Watched {
    items: libmox_ipc::Items<libmox_store::StoreContract>,
    snapshot: Vec<SnapshotMessage>,
    last: u64,
}

impl Watched {
    async fn start(client: &Client, session: SessionId, mailbox: Option<&str>) -> Self {
        let request = Request::Watch(Watch { session, mailbox: mailbox.map(name) });
        let mut items = client.stream(request).await.unwrap();
        let mut snapshot = Vec::new();
        loop {
            match items.next().await.unwrap().unwrap() {
                Item::Snapshot(part) => snapshot.extend(part),
                Item::SnapshotEnd(mailbox, last) => {
                    if let Some(mailbox) = mailbox {
                        assert_eq!((mailbox.counts.total + mailbox.counts.deleted) as usize, snapshot.len());
                    }
                    return Self { items, snapshot, last };
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// Everything up to a change.
    async fn upto(&mut self, change: u64) -> Vec<ChangeEvents> {
        let mut all: Vec<ChangeEvents> = Vec::new();
        while self.last < change {
            match self.items.next().await.unwrap().unwrap() {
                Item::Events(events) => {
                    for event in &events {
                        assert_eq!(event.change, self.last + 1, "no gaps");
                        self.last = event.change;
                    }
                    all.extend(events);
                }
                other => panic!("{other:?}"),
            }
        }
        all
    }
}

fn message(body: Body) -> AppendMessage {
    AppendMessage {
        body,
        prefix: Vec::new(),
        facts: facts(),
        flags: Flags::NONE,
        keywords: vec![],
        received: Timestamp(1),
    }
}

fn uids(list: &[u32]) -> UidSet {
    list.iter().map(|uid| Uid(*uid)).collect()
}

async fn id(client: &Client, session: SessionId, mailbox: &str) -> MailboxId {
    client.ask(MailboxStatus { session, name: name(mailbox) }).await.unwrap().id
}

async fn append(client: &Client, session: SessionId, mailbox: &str, count: usize) -> Vec<Uid> {
    let messages = (0..count).map(|n| message(Body::Inline(format!("A: {n}\r\n\r\n").into()))).collect();
    client.ask(Append { session, mailbox: name(mailbox), messages }).await.unwrap().to
}

fn flags(session: SessionId, mailbox: MailboxId, uids: UidSet, how: FlagsHow, flags: &[Flag]) -> FlagsChange {
    FlagsChange {
        session,
        mailbox,
        uids,
        how,
        flags: flags.iter().copied().collect(),
        keywords: vec![],
        unchanged_since: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mailboxes_live_and_die() {
    let world = World::new().await;
    let imap = world.imap();
    let session = world.login(&imap, "jane@example.org").await;
    let names = async || -> Vec<String> {
        let list = libmox_store::mailboxes(&imap, session).await.unwrap();
        list.mailboxes.iter().map(|mailbox| mailbox.name.to_string()).collect()
    };
    assert_eq!(names().await, ["Archive", "Drafts", "Inbox", "Junk", "Sent", "Trash"]);
    let create = |text: &str, uses: &[SpecialUse]| MailboxCreate {
        session,
        name: name(text),
        special_use: uses.to_vec(),
    };
    let first = imap.ask(create("a/b/c", &[SpecialUse::Sent])).await.unwrap().change;
    assert!(first > 0);
    assert_eq!(imap.ask(create("a/b", &[])).await.unwrap_err().fault(), Some(&Fault::Exists));
    let list = libmox_store::mailboxes(&imap, session).await.unwrap().mailboxes;
    let with_sent: Vec<_> =
        list.iter().filter(|m| m.special_use.has(SpecialUse::Sent)).map(|m| m.name.as_str()).collect();
    assert_eq!(with_sent, ["a/b/c"], "a use is one mailbox's");
    assert!(list.iter().all(|mailbox| mailbox.subscribed));

    let delete = |text: &str| MailboxDelete { session, name: name(text) };
    assert_eq!(imap.ask(delete("a")).await.unwrap_err().fault(), Some(&Fault::HasChildren));
    assert!(matches!(imap.ask(delete("Inbox")).await.unwrap_err().fault(), Some(Fault::Cannot(_))));
    append(&imap, session, "a/b/c", 3).await;
    let rename = |from: &str, to: &str| MailboxRename { session, from: name(from), to: name(to) };
    assert!(matches!(imap.ask(rename("a", "a/x")).await.unwrap_err().fault(), Some(Fault::Cannot(_))));
    assert_eq!(imap.ask(rename("a", "Sent")).await.unwrap_err().fault(), Some(&Fault::Exists));
    imap.ask(rename("a", "p/q")).await.unwrap();
    assert!(names().await.contains(&"p/q/b/c".to_owned()));
    assert_eq!(world.list(&imap, session, "p/q/b/c").await.len(), 3);
    append(&imap, session, "Inbox", 2).await;
    imap.ask(rename("Inbox", "old")).await.unwrap();
    assert_eq!(world.list(&imap, session, "old").await.len(), 2);
    assert!(world.list(&imap, session, "Inbox").await.is_empty());
    let validity = imap.ask(MailboxStatus { session, name: name("p/q/b/c") }).await.unwrap().uid_validity;
    imap.ask(delete("p/q/b/c")).await.unwrap();
    imap.ask(create("p/q/b/c", &[])).await.unwrap();
    let again = imap.ask(MailboxStatus { session, name: name("p/q/b/c") }).await.unwrap();
    assert!(again.uid_validity > validity);
    assert_eq!(again.counts.total, 0);
    let subscribe = |text: &str, subscribed| MailboxSubscribe { session, name: name(text), subscribed };
    imap.ask(subscribe("ghost", true)).await.unwrap();
    assert_eq!(imap.ask(subscribe("ghost", true)).await.unwrap().change, 0, "nothing changed");
    assert_eq!(libmox_store::mailboxes(&imap, session).await.unwrap().subscribed_only, [name("ghost")]);
    imap.ask(subscribe("p", false)).await.unwrap();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flags_copies_moves_and_expunges_keep_all_counters() {
    let world = World::new().await;
    let imap = world.imap();
    let session = world.login(&imap, "jane@example.org").await;
    let inbox = id(&imap, session, "Inbox").await;
    assert_eq!(append(&imap, session, "Inbox", 10).await.len(), 10);
    let keyword = |text: &str| Keyword::parse(text).unwrap();
    let mut change = flags(session, inbox, uids(&[1, 2, 3, 99]), FlagsHow::Add, &[Flag::Seen, Flag::Deleted]);
    change.keywords = vec![keyword("b"), keyword("A")];
    imap.ask(change.clone()).await.unwrap();
    assert_eq!(imap.ask(change).await.unwrap().change, 0, "the same again changes nothing");
    imap.ask(flags(session, inbox, uids(&[3]), FlagsHow::Remove, &[Flag::Deleted])).await.unwrap();
    let status = imap.ask(MailboxStatus { session, name: name("Inbox") }).await.unwrap();
    let counts = status.counts;
    assert_eq!((counts.total, counts.deleted, counts.unread, counts.unseen), (8, 2, 7, 7));
    assert_eq!(status.keywords, [keyword("a"), keyword("b")]);

    // RFC 7162 §3.1.3: what changed meanwhile stays.
    let records = world.list(&imap, session, "Inbox").await;
    let mut change = flags(session, inbox, uids(&[3, 4]), FlagsHow::Replace, &[Flag::Flagged]);
    change.unchanged_since = Some(records[3].mod_seq);
    let changed = imap.ask(change).await.unwrap();
    assert_eq!(changed.modified, uids(&[3]));

    let copy =
        |set: &[u32], to: &str, take| Copy { session, mailbox: inbox, uids: uids(set), to: name(to), take };
    let placed = imap.ask(copy(&[3, 4, 77], "Archive", false)).await.unwrap();
    assert_eq!((placed.from, placed.to), (vec![Uid(3), Uid(4)], vec![Uid(1), Uid(2)]));
    let placed = imap.ask(copy(&[5, 6], "Archive", true)).await.unwrap();
    assert_eq!((placed.from, placed.to), (vec![Uid(5), Uid(6)], vec![Uid(3), Uid(4)]));
    let archive = world.list(&imap, session, "Archive").await;
    assert_eq!(archive[2].id, records[4].id, "a moved message keeps its id");
    assert_ne!(archive[0].id, records[2].id, "a copy has its own");
    assert_eq!(archive[1].flags, Flags::NONE.with(Flag::Flagged));
    assert_eq!(imap.ask(copy(&[7], "nowhere", true)).await.unwrap_err().fault(), Some(&Fault::NoMailbox));
    // RFC 9051 §6.4.7: whole or not at all.
    for take in [false, true] {
        let refused = imap.ask(CopyAll(copy(&[7, 77], "Archive", take))).await;
        assert_eq!(refused.unwrap_err().fault(), Some(&Fault::NoMessage));
    }
    assert_eq!(world.list(&imap, session, "Archive").await.len(), 4);
    let placed = imap.ask(CopyAll(copy(&[7], "Sent", false))).await.unwrap();
    assert_eq!((placed.from, placed.to), (vec![Uid(7)], vec![Uid(1)]));

    let gone = imap.ask(Expunge { session, mailbox: inbox, uids: None }).await.unwrap();
    assert_eq!(gone.uids, uids(&[1, 2]));
    let left: Vec<u32> = world.list(&imap, session, "Inbox").await.iter().map(|m| m.uid.0).collect();
    assert_eq!(left, [3, 4, 7, 8, 9, 10]);
    let none = imap.ask(Expunge { session, mailbox: inbox, uids: Some(uids(&[3])) }).await.unwrap();
    assert_eq!((none.change, none.uids), (0, UidSet::new()));

    let used = imap.ask(Quota { session }).await.unwrap().used;
    world.store.sweep(true).await;
    let after = imap.ask(Quota { session }).await.unwrap().used;
    assert!(after < used, "expunged messages count until they are erased");
    // Row TR-01: no uid is given out twice.
    assert_eq!(append(&imap, session, "Inbox", 1).await, [Uid(11)]);
    let changed = MessageList {
        session,
        mailbox: inbox,
        uids: uids(&[3, 4, 7]),
        changed_since: Some(records[9].mod_seq),
        want: Want::default(),
    };
    let mut items = imap.stream(Request::MessageList(changed)).await.unwrap();
    let Item::Messages(part) = items.next().await.unwrap().unwrap() else { panic!() };
    assert_eq!(part.iter().map(|m| m.uid.0).collect::<Vec<_>>(), [3, 4]);
    assert!(items.next().await.is_none());
    world.end().await;
}

/// Row TR-51: all or none.
#[tokio::test(flavor = "multi_thread")]
async fn an_append_that_fails_leaves_nothing() {
    let mut directory = sample();
    directory.settings.quota = Some(250_000);
    let world = World::with(directory).await;
    let imap = world.imap();
    let session = world.login(&imap, "jane@example.org").await;
    let large = body_of(&imap, &vec![b'z'; 200_000]).await;
    let second = body_of(&imap, &vec![b'z'; 100_000]).await;
    let messages = vec![message(Body::Inline(b"x".to_vec())), message(large.clone()), message(second)];
    let refused = imap.ask(Append { session, mailbox: name("Inbox"), messages }).await;
    assert_eq!(refused.unwrap_err().fault(), Some(&Fault::OverQuota));
    let refused =
        imap.ask(Append { session, mailbox: name("none"), messages: vec![message(large.clone())] }).await;
    assert_eq!(refused.unwrap_err().fault(), Some(&Fault::NoMailbox));
    assert!(world.list(&imap, session, "Inbox").await.is_empty());
    assert_eq!(imap.ask(Quota { session }).await.unwrap().used, ByteCount(0));
    world.is_sound().await;
    let placed =
        imap.ask(Append { session, mailbox: name("Inbox"), messages: vec![message(large)] }).await.unwrap();
    assert_eq!(placed.to, [Uid(1)], "the body is still there");
    let copy = Copy { session, mailbox: placed.mailbox, uids: uids(&[1]), to: name("Sent"), take: false };
    assert_eq!(imap.ask(copy).await.unwrap_err().fault(), Some(&Fault::OverQuota));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_is_exact() {
    let world = World::new().await;
    let imap = world.imap();
    let session = world.login(&imap, "jane@example.org").await;
    let other = world.another(Role::Imap);
    let theirs = world.login(&other, "jane@example.org").await;
    append(&imap, session, "Inbox", 5).await;
    // Deliveries run while the watch begins: each message is in the snapshot or in an event, never in both.
    let store = world.client(Role::Smtp);
    let delivering = tokio::spawn(async move {
        for _ in 0..100 {
            store.ask(deliver(&["jane@example.org"], Body::Inline(b"x".to_vec()))).await.unwrap();
        }
    });
    let mut watches = Vec::new();
    for _ in 0..5 {
        watches.push(Watched::start(&imap, session, Some("Inbox")).await);
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    delivering.await.unwrap();
    let inbox = id(&imap, session, "Inbox").await;
    let own = imap.ask(flags(session, inbox, uids(&[1]), FlagsHow::Add, &[Flag::Seen])).await.unwrap().change;
    let foreign =
        other.ask(flags(theirs, inbox, uids(&[2]), FlagsHow::Add, &[Flag::Deleted])).await.unwrap().change;
    let removed = other.ask(Expunge { session: theirs, mailbox: inbox, uids: None }).await.unwrap().change;
    for watched in &mut watches {
        let mut seen: Vec<u32> = watched.snapshot.iter().map(|message| message.uid.0).collect();
        let changes = watched.upto(removed).await;
        for event in changes.iter().flat_map(|change| &change.events) {
            if let Event::MessageAdded { uid, .. } = event {
                seen.push(uid.0);
            }
        }
        assert_eq!(seen, (1..=105).collect::<Vec<_>>());
        let by: Vec<_> =
            changes.iter().filter(|c| [own, foreign].contains(&c.change)).map(|c| c.by).collect();
        assert_eq!(by, [Some(session), Some(theirs)]);
        let last = changes.last().unwrap();
        assert!(matches!(&last.events[0], Event::MessagesRemoved { uids: gone, .. } if *gone == uids(&[2])));
        let Event::Counts { counts, .. } = last.events[1] else { panic!() };
        assert_eq!((counts.total, counts.unseen), (104, 103));
    }
    let large = imap
        .ask(flags(session, inbox, UidSet::all(), FlagsHow::Replace, &[Flag::Answered]))
        .await
        .unwrap()
        .change;
    assert_eq!(watches[0].upto(large).await.last().unwrap().events.len(), 105);
    drop(watches);
    world.end().await;
}

/// What one frame does not hold comes as a list; all or none of it, and the list goes in any case.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_messages_may_be_larger_than_a_frame() {
    let world = World::new().await;
    let imap = world.imap();
    let session = world.login(&imap, "jane@example.org").await;
    let large = body_of(&imap, &vec![b'z'; 100_000]).await;
    let mut list = Vec::new();
    for number in 0..40_u8 {
        message(Body::Inline(vec![number; 60_000])).list_in(&mut list);
    }
    message(large).list_in(&mut list);
    let staged = body_of(&imap, &list).await;
    assert!(list.len() > 2 * libmox_ipc::limits::FRAME_OCTETS);
    let ask = |mailbox: &str, list: Body| AppendListed { session, mailbox: name(mailbox), list };
    let refused = imap.ask(ask("none", staged.clone())).await;
    assert_eq!(refused.unwrap_err().fault(), Some(&Fault::NoMailbox));
    let refused = imap.ask(ask("Inbox", staged)).await;
    assert_eq!(refused.unwrap_err().fault(), Some(&Fault::NoBody), "used up");
    let placed = imap.ask(ask("Inbox", body_of(&imap, &list).await)).await.unwrap();
    assert_eq!(
        placed.to,
        (1..=41).map(Uid).collect::<Vec<_>>(),
        "the staged body of a failed request was left"
    );
    for cut in [&list[..list.len() - 1], &[list.clone(), vec![1]].concat()] {
        let refused = imap.ask(ask("Inbox", body_of(&imap, cut).await)).await.unwrap_err();
        assert!(matches!(refused.fault(), Some(Fault::Invalid(_))), "{refused}");
    }
    let mut list = Vec::new();
    (0..=crate::limits::APPENDED).for_each(|_| message(Body::Inline(b"x".to_vec())).list_in(&mut list));
    let refused = imap.ask(ask("Inbox", Body::Inline(list))).await.unwrap_err();
    assert!(matches!(refused.fault(), Some(Fault::Invalid(_))), "{refused}");
    let refused = imap.ask(ask("Inbox", Body::Inline(Vec::new()))).await.unwrap_err();
    assert!(matches!(refused.fault(), Some(Fault::Invalid(_))), "{refused}");
    world.end().await;
}

/// A list keeps to its window and comes whole, whatever its size.
#[tokio::test(flavor = "multi_thread")]
async fn long_lists_come_in_parts() {
    let world = World::new().await;
    let imap = world.imap();
    let session = world.login(&imap, "jane@example.org").await;
    for _ in 0..13 {
        append(&imap, session, "Archive", 250).await;
    }
    let all = world.list(&imap, session, "Archive").await;
    assert_eq!(all.len(), 3250);
    assert!(all.windows(2).all(|pair| pair[0].uid < pair[1].uid));
    let archive = id(&imap, session, "Archive").await;
    imap.ask(flags(session, archive, UidSet::all(), FlagsHow::Add, &[Flag::Deleted])).await.unwrap();
    let gone = imap.ask(Expunge { session, mailbox: archive, uids: None }).await.unwrap();
    assert_eq!(gone.uids.count(), 3250);
    world.end().await;
}

/// Whatever the order of the ids in a mailbox, however far they lie apart, and whatever the size of a structure.
#[tokio::test(flavor = "multi_thread")]
async fn every_message_has_its_own_structure() {
    let world = World::new().await;
    let imap = world.imap();
    let session = world.login(&imap, "jane@example.org").await;
    let size_of = |n: usize| if n % 5 == 4 { 7_100 + 7_000 * n } else { 10 + n };
    let messages = (0..20).map(|n| {
        let structure = vec![u8::try_from(n).unwrap(); size_of(n)];
        let facts = libmox_store::Facts { structure, ..facts() };
        AppendMessage { facts, ..message(Body::Inline(format!("A: {n}\r\n\r\n").into())) }
    });
    // Together they would be too much for one request.
    for message in messages {
        let messages = vec![message];
        imap.ask(Append { session, mailbox: name("Archive"), messages }).await.unwrap();
    }
    let check = async |mailbox: &str, want: &[u8]| {
        let records = world.list(&imap, session, mailbox).await;
        let got: Vec<u8> = records.iter().map(|record| record.structure[0]).collect();
        assert_eq!(got, want, "{mailbox}");
        for record in records {
            let n = record.structure[0];
            assert!(record.structure == vec![n; size_of(n.into())], "{mailbox} {n}");
        }
    };
    check("Archive", &(0..20).collect::<Vec<_>>()).await;
    let archive = id(&imap, session, "Archive").await;
    let inbox = [19, 0, 4, 9, 10, 11, 2, 8, 3, 18];
    for n in inbox {
        let uids = uids(&[u32::from(n) + 1]);
        let copy = Copy { session, mailbox: archive, uids, to: name("Inbox"), take: true };
        imap.ask(copy).await.unwrap();
    }
    check("Inbox", &inbox).await;
    check("Archive", &[1, 5, 6, 7, 12, 13, 14, 15, 16, 17]).await;
    imap.ask(flags(session, archive, uids(&[7, 18]), FlagsHow::Add, &[Flag::Deleted])).await.unwrap();
    imap.ask(Expunge { session, mailbox: archive, uids: None }).await.unwrap();
    check("Archive", &[1, 5, 7, 12, 13, 14, 15, 16]).await;
    // Of those that are erased while a list is read there is the row alone.
    let jane = crate::tests::rejects::JANE;
    let live = world.store.accounts.live(jane);
    let rows = live.hot.with_mut(archive, |hot| hot.rows_of(Uid(0), Uid(u32::MAX), None, 100)).unwrap();
    imap.ask(flags(session, archive, uids(&[2, 8, 13, 14, 15, 17]), FlagsHow::Add, &[Flag::Deleted]))
        .await
        .unwrap();
    imap.ask(Expunge { session, mailbox: archive, uids: None }).await.unwrap();
    world.store.sweep(true).await;
    let items = world.store.with_structures(jane, &rows).unwrap();
    let [item] = items.as_slice() else { panic!("{}", items.len()) };
    let Item::Messages(records) = postcard::from_bytes(item).unwrap() else { panic!() };
    let got: Vec<_> = records.iter().map(|record| record.structure.first().copied()).collect();
    assert_eq!(got, [None, Some(5), None, None, None, None, Some(15), None]);
    world.end().await;
}

/// Row IM-25: removals are remembered up to a number; who asks from before what is known is told so.
#[tokio::test(flavor = "multi_thread")]
async fn old_removals_are_forgotten() {
    use crate::limits::TOMBSTONES;
    let world = World::new().await;
    let imap = world.imap();
    let session = world.login(&imap, "jane@example.org").await;
    let batch = u32::try_from(TOMBSTONES / 4).unwrap();
    let state = async || imap.ask(MailboxStatus { session, name: name("Inbox") }).await.unwrap();
    let inbox = state().await.id;
    let since = async |mod_seq| {
        imap.ask(VanishedSince { session, mailbox: inbox, since: ModSeq(mod_seq) }).await.unwrap()
    };
    let mut steps = vec![(state().await.mod_seq.0, 0)];
    let mut gone = 0;
    for round in 0..11 {
        let messages = (0..batch).map(|_| message(Body::Inline(b"x".to_vec()))).collect();
        imap.ask(Append { session, mailbox: name("Inbox"), messages }).await.unwrap();
        // Some leave by EXPUNGE, some by MOVE.
        let all: UidSet = (gone + 1..=gone + batch).map(Uid).collect();
        if round % 2 == 0 {
            let set = FlagsChange {
                session,
                mailbox: inbox,
                uids: all.clone(),
                how: FlagsHow::Add,
                flags: Flags::NONE.with(Flag::Deleted),
                keywords: vec![],
                unchanged_since: None,
            };
            imap.ask(set).await.unwrap();
            imap.ask(Expunge { session, mailbox: inbox, uids: None }).await.unwrap();
        } else {
            imap.ask(Copy { session, mailbox: inbox, uids: all, to: name("Archive"), take: true })
                .await
                .unwrap();
        }
        gone += batch;
        let now = state().await;
        steps.push((now.mod_seq.0, gone));
        assert_eq!(since(now.mod_seq.0).await, Vanished { uids: UidSet::new(), complete: true });
        for (mod_seq, before) in &steps {
            let told = since(*mod_seq).await;
            let want: UidSet = (before + 1..=gone).map(Uid).collect();
            if told.complete {
                assert_eq!(told.uids, want, "after {mod_seq}");
            } else {
                assert!(want.count() > TOMBSTONES as u64 / 2 && told.uids.is_empty(), "after {mod_seq}");
            }
        }
        world.is_sound().await;
    }
    assert!(!since(steps[0].0).await.complete);
    // The snapshot as sets is the one of single messages.
    let flags = FlagsChange {
        session,
        mailbox: inbox,
        uids: [1, 2, 4].map(|n| Uid(gone + n)).into_iter().collect(),
        how: FlagsHow::Add,
        flags: Flags::NONE.with(Flag::Seen).with(Flag::Deleted),
        keywords: vec![],
        unchanged_since: None,
    };
    let messages = (0..9).map(|_| message(Body::Inline(b"x".to_vec()))).collect();
    imap.ask(Append { session, mailbox: name("Inbox"), messages }).await.unwrap();
    imap.ask(flags).await.unwrap();
    imap.ask(Expunge { session, mailbox: inbox, uids: Some([Uid(gone + 4)].into_iter().collect()) })
        .await
        .unwrap();
    let single = Watched::start(&imap, session, Some("Inbox")).await.snapshot;
    let watch = WatchSet { session, mailbox: name("Inbox") };
    let mut items = imap.stream(Request::WatchSet(watch)).await.unwrap();
    let Item::SnapshotOpen(mailbox, unseen) = items.next().await.unwrap().unwrap() else { panic!() };
    assert_eq!(mailbox.id, inbox);
    let Item::SnapshotSet(set, None) = items.next().await.unwrap().unwrap() else { panic!() };
    assert_eq!(set.iter().collect::<Vec<_>>(), single.iter().map(|one| one.uid).collect::<Vec<_>>());
    let number = single.iter().position(|one| one.uid == Uid(gone + 3)).unwrap() + 1;
    assert_eq!(unseen as usize, number);
    assert!(matches!(items.next().await, Some(Ok(Item::SnapshotEnd(None, _)))));
    world.end().await;
}

/// Readers see the number of the last change without asking, from the moment that the change is acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_change_is_seen_without_asking() {
    let world = World::new().await;
    let imap = world.imap();
    let session = world.login(&imap, "jane@example.org").await;
    let ((), mut given) = imap.ask_with(LastChangesOpen, Vec::new()).await.unwrap();
    let seen = LastChanges::new(given.pop().unwrap());
    let account = world.store.directory().ids["jane"];
    let watched = Watched::start(&imap, session, Some("Inbox")).await;
    assert_eq!(seen.of(account), Some(watched.last));
    for number in 1..100 {
        append(&imap, session, "Inbox", 1).await;
        assert_eq!(seen.of(account), Some(watched.last + number));
    }
    // Of another account nothing changed.
    assert_eq!(seen.of(world.store.directory().ids["bob"]), Some(0));
    world.end().await;
}

/// In steps, each one change; of many at once it is told which they are.
#[tokio::test(flavor = "multi_thread")]
async fn flags_of_very_many_messages_change_in_steps() {
    let world = World::new().await;
    let imap = world.imap();
    let session = world.login(&imap, "jane@example.org").await;
    for _ in 0..4 {
        append(&imap, session, "Inbox", 80).await;
    }
    let inbox = id(&imap, session, "Inbox").await;
    let changed = imap.ask(flags(session, inbox, uids(&[7]), FlagsHow::Add, &[Flag::Flagged])).await.unwrap();
    let later = world.list(&imap, session, "Inbox").await[6].mod_seq;
    let mut watched = Watched::start(&imap, session, Some("Inbox")).await;
    // What the junk filter learns from is not changed with a patch.
    let mut all = flags(session, inbox, UidSet::all(), FlagsHow::Add, &[Flag::Seen, Flag::NotJunk]);
    all.unchanged_since = Some(ModSeq(later.0 - 1));
    let stored = imap.ask(all).await.unwrap();
    assert_eq!((stored.change, stored.modified), (changed.change + 3, uids(&[7])));
    let events: Vec<Event> =
        watched.upto(stored.change).await.into_iter().flat_map(|change| change.events).collect();
    let many: Vec<u64> = events
        .iter()
        .filter_map(|event| match event {
            Event::ManyFlagsChanged { uids, .. } => Some(uids.count()),
            _ => None,
        })
        .collect();
    let single = events.iter().filter(|event| matches!(event, Event::FlagsChanged { .. })).count();
    assert_eq!((many, single), (vec![149, 150], 20));
    let records = world.list(&imap, session, "Inbox").await;
    assert!(records.iter().all(|record| record.flags.has(Flag::Seen) == (record.uid != Uid(7))));
    world.end().await;
}

/// One change, one event and one record in the journal, and everybody sees it.
#[tokio::test(flavor = "multi_thread")]
async fn flags_of_very_many_messages_change_at_once() {
    let world = World::new().await;
    let imap = world.imap();
    let session = world.login(&imap, "jane@example.org").await;
    for _ in 0..4 {
        append(&imap, session, "Inbox", 80).await;
    }
    let inbox = id(&imap, session, "Inbox").await;
    let changed = imap.ask(flags(session, inbox, uids(&[7]), FlagsHow::Add, &[Flag::Flagged])).await.unwrap();
    let later = world.list(&imap, session, "Inbox").await[6].mod_seq;
    let mut watched = Watched::start(&imap, session, Some("Inbox")).await;
    let before = imap.ask(MailboxStatus { session, name: name("Inbox") }).await.unwrap().counts;
    let mut all = flags(session, inbox, UidSet::all(), FlagsHow::Add, &[Flag::Seen, Flag::Deleted]);
    all.unchanged_since = Some(ModSeq(later.0 - 1));
    let stored = imap.ask(all.clone()).await.unwrap();
    assert_eq!((stored.change, stored.modified), (changed.change + 1, uids(&[7])));
    let events: Vec<Event> =
        watched.upto(stored.change).await.into_iter().flat_map(|change| change.events).collect();
    let many = |event: &Event| matches!(event, Event::ManyFlagsChanged { uids, .. } if uids.count() == 319);
    assert!(many(&events[0]) && matches!(events[1], Event::Counts { .. }) && events.len() == 2, "{events:?}");
    let records = world.list(&imap, session, "Inbox").await;
    let right = |record: &MessageRecord| {
        let other = record.uid != Uid(7);
        record.flags.has(Flag::Seen) == other
            && record.flags.has(Flag::Deleted) == other
            && (record.mod_seq.0 == later.0 + 1) == other
    };
    assert!(records.iter().all(right));
    let counts = imap.ask(MailboxStatus { session, name: name("Inbox") }).await.unwrap().counts;
    assert_eq!((counts.total, counts.deleted, counts.unseen), (1, 319, 1));
    assert_eq!((counts.size, before.unseen), (before.size, 320));
    // Nothing is left to be changed: no new modseq.
    let again = imap.ask(FlagsChange { unchanged_since: None, ..all.clone() }).await.unwrap();
    assert_eq!(again.change, stored.change + 1);
    let again = imap.ask(FlagsChange { unchanged_since: None, ..all }).await.unwrap();
    assert_eq!(again.change, 0);
    world.end().await;
}

/// In the order asked for; what is large, gone or one too many is to be asked for by itself.
#[tokio::test(flavor = "multi_thread")]
async fn messages_are_opened_together() {
    use libmox_store::{INLINE_OCTETS, MessagesOpen, OPENED_TOGETHER};
    let world = World::new().await;
    let imap = world.imap();
    let session = world.login(&imap, "jane@example.org").await;
    let body = async |bytes: Vec<u8>| AppendMessage {
        prefix: b"P: x\r\n".to_vec(),
        ..message(body_of(&imap, &bytes).await)
    };
    let messages = vec![
        body(b"one".to_vec()).await,
        body(vec![b'x'; INLINE_OCTETS + 1]).await,
        body(vec![b'y'; INLINE_OCTETS]).await,
    ];
    imap.ask(Append { session, mailbox: name("Inbox"), messages }).await.unwrap();
    let ids: Vec<_> = world.list(&imap, session, "Inbox").await.iter().map(|record| record.id).collect();
    let open = async |ids: Vec<libmox_types::MsgId>| imap.ask(MessagesOpen { session, ids }).await.unwrap();
    let sizes = |contents: Vec<Option<libmox_store::Content>>| -> Vec<Option<u64>> {
        let size = |content: libmox_store::Content| {
            assert_eq!(content.prefix, b"P: x\r\n");
            assert_eq!(content.inline.unwrap().len() as u64, content.size.0);
            content.size.0
        };
        contents.into_iter().map(|content| content.map(size)).collect()
    };
    let large = INLINE_OCTETS as u64;
    let asked = vec![ids[2], libmox_types::MsgId(99), ids[1], ids[0]];
    assert_eq!(sizes(open(asked).await), [Some(large), None, None, Some(3)]);
    // As many as fit a reply, and each has its place.
    let many = sizes(open(vec![ids[2]; OPENED_TOGETHER + 1]).await);
    assert_eq!(many.len(), OPENED_TOGETHER);
    assert!(many[..4] == [Some(large); 4] && many[20..] == [None; OPENED_TOGETHER - 20], "{many:?}");
    // Not those of others.
    let other = world.login(&imap, "bob@example.org").await;
    let none = imap.ask(MessagesOpen { session: other, ids: vec![ids[0]] }).await.unwrap();
    assert_eq!(none, [None]);
    world.end().await;
}

/// Row ST-12: a session may open what it was not yet allowed to forget.
#[tokio::test(flavor = "multi_thread")]
async fn expunged_messages_can_be_read_until_every_watch_knows() {
    let world = World::new().await;
    let imap = world.imap();
    let session = world.login(&imap, "jane@example.org").await;
    append(&imap, session, "Inbox", 1).await;
    let record = world.list(&imap, session, "Inbox").await.remove(0);
    let watched = Watched::start(&imap, session, Some("Inbox")).await;
    let inbox = id(&imap, session, "Inbox").await;
    imap.ask(flags(session, inbox, uids(&[1]), FlagsHow::Add, &[Flag::Deleted])).await.unwrap();
    imap.ask(Expunge { session, mailbox: inbox, uids: None }).await.unwrap();
    world.store.sweep(false).await;
    let open = libmox_store::MessageOpen { session, id: record.id };
    imap.ask(open.clone()).await.unwrap();
    drop(watched);
    world.store.sweep(true).await;
    assert_eq!(imap.ask(open).await.unwrap_err().fault(), Some(&Fault::NoMessage));
    world.end().await;
}
