//! Backups under load, restoring them, repairs of damaged accounts, and building an index from files alone.

use super::*;
use crate::engine::FileName;
use crate::keys;
use crate::offline;
use crate::records::{Account, MailboxRecord, Message, Read, encode};
use libmox_store::{
    Acknowledge, Backup, BackupProgress, Check, Expunge, Fault, FlagsChange, FlagsHow, MessageOpen, Repair,
    RepairKind, Request, Watch,
};
use libmox_types::{AccountId, Flag, Flags, MailboxId, MsgId, Uid, UidValidity};
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;

fn folder(path: &Path) -> OwnedFd {
    std::fs::create_dir_all(path).unwrap();
    std::fs::File::open(path).unwrap().into()
}

async fn stored(world: &World, to: &str, body: &[u8]) -> MsgId {
    match world.deliver(&[to], body).await[..] {
        [Delivered::Stored(stored)] => stored.id,
        ref other => panic!("{other:?}"),
    }
}

async fn expunge(client: &Client, session: SessionId, mailbox: MailboxId, uids: UidSet) {
    let flags = Flags::NONE.with(Flag::Deleted);
    let (how, keywords) = (FlagsHow::Add, vec![]);
    let change =
        FlagsChange { session, mailbox, uids: uids.clone(), how, flags, keywords, unchanged_since: None };
    client.ask(change).await.unwrap();
    client.ask(Expunge { session, mailbox, uids: Some(uids) }).await.unwrap();
}

/// Every file below a folder with its bytes.
fn contents(root: &Path) -> BTreeMap<std::path::PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                all.insert(path.strip_prefix(root).unwrap().to_owned(), std::fs::read(&path).unwrap());
            }
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_is_whole_and_restores() {
    let world = World::new().await;
    let place = tempfile::tempdir().unwrap();
    let mut before = BTreeSet::new();
    for number in 0..40u8 {
        let size = if number.is_multiple_of(7) { 90_000 } else { 900 };
        before.insert(stored(&world, "jane@example.org", &vec![b'a' + number % 26; size]).await);
    }
    // Mail comes and goes all the time.
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let load = {
        let (smtp, imap, stop) = (world.another(Role::Smtp), world.another(Role::Imap), stop.clone());
        let session = world.login(&imap, "bob@example.org").await;
        tokio::spawn(async move {
            let inbox = imap.ask(MailboxStatus { session, name: MailboxName::inbox() }).await.unwrap().id;
            let mut count = 0u32;
            while !stop.load(Ordering::Relaxed) {
                let size = if count.is_multiple_of(5) { 80_000 } else { 1000 };
                let body = body_of(&smtp, &vec![b'l'; size]).await;
                smtp.ask(deliver(&["bob@example.org", "jane@example.org"], body)).await.unwrap();
                count += 1;
                if count.is_multiple_of(3) {
                    expunge(&imap, session, inbox, [Uid(count - 2)].into_iter().collect()).await;
                }
            }
            count
        })
    };
    let (first, second) = (place.path().join("first"), place.path().join("second"));
    let admin = world.admin();
    for (target, earlier) in [(&first, None), (&second, Some(&first))] {
        tokio::time::sleep(Duration::from_millis(150)).await;
        let given = std::iter::once(folder(target)).chain(earlier.map(|path| folder(path))).collect();
        let (done, _) = admin.ask_with(Backup, given).await.unwrap();
        assert!(done.files >= 40, "{done:?}");
        assert!(earlier.is_none() || done.linked >= 40, "incremental: {done:?}");
        assert_eq!(admin.ask(BackupProgress).await.unwrap().total, 0);
    }
    // A folder with something in it is left alone.
    let again = admin.ask_with(Backup, vec![folder(&first)]).await.unwrap_err();
    assert!(matches!(again.fault(), Some(Fault::Cannot(why)) if why.contains("not empty")), "{again}");
    let untouched = contents(&second);
    for target in [&first, &second] {
        assert_eq!(offline::verify(target).unwrap(), Vec::<String>::new());
    }
    assert!(contents(&second) == untouched, "verifying changes nothing");
    stop.store(true, Ordering::Relaxed);
    assert!(load.await.unwrap() > 5);
    let imap = world.imap();
    let session = world.login(&imap, "jane@example.org").await;
    let here = world.list(&imap, session, "Inbox").await;
    world.end().await;

    let home = Arc::new(tempfile::tempdir().unwrap());
    offline::restore(&second, &home.path().join("data")).unwrap();
    let again = offline::restore(&second, &home.path().join("data")).unwrap_err();
    assert!(again.to_string().contains("not empty"), "{again}");
    let restored = World::on(home, sample()).await;
    let imap = restored.imap();
    // Passwords came along.
    let session = restored.login(&imap, "jane@example.org").await;
    let there = restored.list(&imap, session, "Inbox").await;
    let ids: BTreeSet<MsgId> = there.iter().map(|record| record.id).collect();
    assert!(before.is_subset(&ids));
    for record in &there {
        assert!(here.contains(record), "{record:?}");
        imap.ask_with(MessageOpen { session, id: record.id }, vec![]).await.unwrap();
    }
    restored.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verifydata_notices_what_is_damaged() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    offline::generate(&data, 2, 60).await.unwrap();
    assert_eq!(offline::verify(&data).unwrap(), Vec::<String>::new());
    let some = contents(&data).into_keys().find(|path| path.starts_with("accounts/1/msg")).unwrap();
    let (path, bytes) = (data.join(&some), std::fs::read(data.join(&some)).unwrap());
    std::fs::write(&path, &bytes[1..]).unwrap();
    assert_eq!(offline::verify(&data).unwrap().len(), 1, "cut");
    std::fs::remove_file(&path).unwrap();
    assert_eq!(offline::verify(&data).unwrap().len(), 1, "missing");
    std::fs::write(&path, &bytes).unwrap();
    std::fs::write(data.join("accounts/1/msg/0/8000"), b"stray").unwrap();
    assert_eq!(offline::verify(&data).unwrap().len(), 1, "stray");
    std::fs::remove_file(data.join("accounts/1/msg/0/8000")).unwrap();
    // In use: the store's lock.
    let lock = std::fs::File::options().write(true).open(data.join("lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
    assert!(matches!(offline::verify(&data), Err(offline::OfflineError::InUse(_))));
    drop(lock);
    let segment =
        contents(&data.join("journal")).into_keys().find(|path| path.to_str().unwrap().ends_with(".seg"));
    let segment = data.join("journal").join(segment.unwrap());
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[5000] ^= 0xff;
    std::fs::write(&segment, bytes).unwrap();
    let damaged = offline::verify(&data).unwrap_err();
    assert!(damaged.to_string().contains("damaged"), "{damaged}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_backup_is_not_taken_for_whole() {
    let world = World::new().await;
    stored(&world, "jane@example.org", b"x").await;
    let place = tempfile::tempdir().unwrap();
    world.admin().ask_with(Backup, vec![folder(place.path())]).await.unwrap();
    std::fs::remove_file(place.path().join(crate::engine::MANIFEST)).unwrap();
    assert!(offline::verify(place.path()).unwrap()[0].contains("not whole"));
    let home = tempfile::tempdir().unwrap();
    assert!(offline::restore(place.path(), &home.path().join("data")).is_err());
    let nothing = world.admin().ask_with(Backup, vec![]).await.unwrap_err();
    assert!(matches!(nothing.fault(), Some(Fault::Invalid(_))));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn message_files_alone_make_an_index() {
    let place = Arc::new(tempfile::tempdir().unwrap());
    let data = place.path().join("data");
    let world = World::on(place.clone(), sample()).await;
    let mut bodies = BTreeMap::new();
    for number in 0..25u8 {
        let body = vec![b'a' + number; 100 + usize::from(number) * 4000];
        bodies.insert(stored(&world, "jane@example.org", &body).await, body);
    }
    world.end().await;
    for part in ["index", "journal"] {
        for file in contents(&data.join(part)).keys() {
            std::fs::write(data.join(part).join(file), b"garbage").unwrap();
        }
    }
    let lines = offline::rebuild(&data).await.unwrap();
    assert!(lines[0].starts_with("THE INDEX IS BUILT FROM MESSAGE FILES ALONE"), "{lines:?}");
    assert!(lines.contains(&"jane: 25 messages in Inbox".to_owned()), "{lines:?}");
    let world = World::on(place, sample()).await;
    let set = AccountSetPassword { account: "jane".into(), password: PASSWORD.into() };
    world.admin().ask(set).await.unwrap();
    let imap = world.imap();
    let session = world.login(&imap, "jane@example.org").await;
    for (id, body) in bodies {
        let (content, descriptors) = imap.ask_with(MessageOpen { session, id }, vec![]).await.unwrap();
        let bytes = match (content.inline, descriptors.into_iter().next()) {
            (Some(bytes), _) => bytes.into_vec(),
            (None, Some(descriptor)) => {
                let mut bytes = Vec::new();
                std::io::Read::read_to_end(&mut std::fs::File::from(descriptor), &mut bytes).unwrap();
                bytes
            }
            (None, None) => panic!("no content"),
        };
        assert_eq!(bytes, body);
    }
    stored(&world, "jane@example.org", b"new mail comes").await;
    world.end().await;
}

async fn repair(world: &World, what: RepairKind, dry: bool) -> Vec<String> {
    world.admin().ask(Repair { account: Some("jane".into()), what, dry }).await.unwrap()
}

/// Writes records as no code of ours would.
async fn damage(world: &World, change: impl FnOnce(&mut crate::engine::Change, AccountId)) {
    let id = world.store.directory().ids["jane"];
    let mut tx = world.store.engine.begin_now();
    change(tx.change(), id);
    tx.commit().await.unwrap();
}

async fn wrong(world: &World) -> usize {
    world.admin().ask(Check { account: Some("jane".into()) }).await.unwrap().len()
}

#[tokio::test]
async fn damaged_accounts_are_repaired_and_a_dry_run_changes_nothing() {
    let world = World::new().await;
    let mut ids = Vec::new();
    for number in 0..6 {
        ids.push(stored(&world, "jane@example.org", &vec![b'r'; 100 + number]).await);
    }
    let account = world.store.directory().ids["jane"];
    let engine = &world.store.engine;
    let inbox: MailboxId =
        engine.record(&keys::mailbox_name(account, &MailboxName::inbox())).unwrap().unwrap();
    let mailbox = || engine.record::<MailboxRecord>(&keys::mailbox(account, inbox)).unwrap().unwrap();
    let record = || engine.record::<Account>(&keys::account_record(account)).unwrap().unwrap();

    // fixuidmeta (rows CL-11, TR-01)
    let mut bad = mailbox();
    (bad.uid_next, bad.uid_validity) = (Uid(3), UidValidity(900));
    let mut bad_account = record();
    (bad_account.next_message, bad_account.mod_seq) = (ids[1], libmox_types::ModSeq(1));
    damage(&world, |change, id| {
        change.put(keys::mailbox(id, inbox), encode(&bad));
        change.put(keys::account_record(id), encode(&bad_account));
    })
    .await;
    assert!(wrong(&world).await > 3);
    assert!(!repair(&world, RepairKind::UidMeta, true).await.is_empty());
    assert!(wrong(&world).await > 3, "a dry run");
    assert_eq!(repair(&world, RepairKind::UidMeta, false).await.len(), 4);
    assert_eq!(wrong(&world).await, 0);
    assert!(repair(&world, RepairKind::UidMeta, false).await.is_empty());
    assert_eq!(mailbox().uid_next, Uid(7));
    ids.push(stored(&world, "jane@example.org", b"next").await);

    // fixmsgsize and recalculatemailboxcounts (rows CL-12, TR-52)
    let key = keys::message(account, inbox, Uid(2));
    let mut bad: Message = engine.record(&key).unwrap().unwrap();
    bad.size.0 += 77;
    damage(&world, |change, _| change.put(key.clone(), encode(&bad))).await;
    let file = engine.files().path(FileName { owner: u64::from(account.0), id: ids[3].0 });
    std::fs::write(&file, b"shorter").unwrap();
    assert!(wrong(&world).await >= 2);
    assert_eq!(repair(&world, RepairKind::MessageSizes, true).await.len(), 2);
    assert_eq!(repair(&world, RepairKind::MessageSizes, false).await.len(), 2);
    // The counters had never heard of the wrong size.
    assert_eq!(repair(&world, RepairKind::Counts, true).await.len(), 2);
    assert_eq!(repair(&world, RepairKind::Counts, false).await.len(), 2);
    assert_eq!(wrong(&world).await, 0);
    let mut bad = mailbox();
    (bad.counts.total, bad.counts.unseen) = (3, 99);
    damage(&world, |change, id| change.put(keys::mailbox(id, inbox), encode(&bad))).await;
    assert_eq!(repair(&world, RepairKind::Counts, false).await.len(), 1);
    assert_eq!(wrong(&world).await, 0);

    // bumpuidvalidity and reassignuids (rows CL-12, CL-13): whoever watches has to come again.
    let imap = world.imap();
    let session = world.login(&imap, "jane@example.org").await;
    let mut watch = imap.stream(Request::Watch(Watch { session, mailbox: None })).await.unwrap();
    watch.next().await.unwrap().unwrap();
    expunge(&imap, session, inbox, [Uid(1), Uid(4)].into_iter().collect()).await;
    let before = mailbox().uid_validity;
    assert_eq!(repair(&world, RepairKind::UidValidity, true).await.len(), 6);
    assert_eq!(mailbox().uid_validity, before);
    assert_eq!(repair(&world, RepairKind::UidValidity, false).await.len(), 6);
    let bumped = mailbox().uid_validity;
    assert!(bumped > before);
    let lines = repair(&world, RepairKind::Uids, false).await;
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(mailbox().uid_validity > bumped);
    assert_eq!(mailbox().uid_next, Uid(6));
    let uids: Vec<Uid> = world.list(&imap, session, "Inbox").await.iter().map(|record| record.uid).collect();
    assert_eq!(uids, (1..6).map(Uid).collect::<Vec<_>>());
    assert_eq!(wrong(&world).await, 0);
    assert!(repair(&world, RepairKind::Uids, false).await.is_empty(), "nothing to do a second time");

    // reassignthreads (row CL-13) says how many; how threads are found is in tests/threads.rs.
    for dry in [true, false] {
        assert_eq!(repair(&world, RepairKind::Threads, dry).await, ["jane: threads of 5 messages"]);
    }
    assert_eq!(wrong(&world).await, 0);
    let nobody = Repair { account: Some("nobody".into()), what: RepairKind::Counts, dry: false };
    assert!(matches!(world.admin().ask(nobody).await.unwrap_err().fault(), Some(Fault::NoAccount)));
    world.end().await;
}

#[tokio::test]
async fn a_session_that_acknowledges_lets_files_go_at_once_and_not_before() {
    let world = World::new().await;
    let imap = world.imap();
    let session = world.login(&imap, "jane@example.org").await;
    let id = stored(&world, "jane@example.org", b"to go").await;
    let watch = Watch { session, mailbox: Some(MailboxName::inbox()) };
    let mut events = imap.stream(Request::Watch(watch)).await.unwrap();
    let start = loop {
        match events.next().await.unwrap().unwrap() {
            Item::SnapshotEnd(_, change) => break change,
            Item::Snapshot(_) => {}
            other => panic!("{other:?}"),
        }
    };
    imap.ask(Acknowledge { session, change: start }).await.unwrap();
    let inbox = imap.ask(MailboxStatus { session, name: MailboxName::inbox() }).await.unwrap().id;
    expunge(&imap, session, inbox, [Uid(1)].into_iter().collect()).await;
    let mut last = start;
    while last < start + 2 {
        let Item::Events(changes) = events.next().await.unwrap().unwrap() else { panic!() };
        last = changes.last().unwrap().change;
    }
    let account = world.store.directory().ids["jane"];
    let file = world.store.engine.files().path(FileName { owner: u64::from(account.0), id: id.0 });
    world.store.sweep(false).await;
    imap.ask_with(MessageOpen { session, id }, vec![]).await.expect("not acknowledged yet");
    imap.ask(Acknowledge { session, change: last }).await.unwrap();
    world.store.sweep(false).await;
    let gone = imap.ask_with(MessageOpen { session, id }, vec![]).await.unwrap_err();
    assert!(matches!(gone.fault(), Some(Fault::NoMessage)), "{gone}");
    world.store.engine.checkpoint().await.unwrap();
    assert!(!file.exists());
    world.end().await;
}

/// Parses in this process what the real `mox-verify` parses in its own.
struct Parser;

impl libmox_ipc::Service for Parser {
    type Contract = libmox_verify::VerifyContract;
    type Peer = libmox_verify::Caller;

    fn may(
        &self,
        caller: &libmox_verify::Caller,
        request: &libmox_verify::Request,
    ) -> Result<(), libmox_ipc::Refusal> {
        if caller.may(request) { Ok(()) } else { Err(libmox_ipc::Refusal("verb of another caller")) }
    }

    async fn call(
        self: Arc<Self>,
        _: Arc<libmox_verify::Caller>,
        request: libmox_verify::Request,
        descriptors: Vec<OwnedFd>,
        answer: libmox_ipc::Answer<libmox_verify::VerifyContract>,
    ) {
        let libmox_verify::Request::Parse(ask) = request else { panic!("{request:?}") };
        let mut text = Vec::new();
        std::io::Read::read_to_end(
            &mut std::fs::File::from(descriptors.into_iter().next().unwrap()),
            &mut text,
        )
        .unwrap();
        assert_eq!(text.len() as u64, ask.size.0);
        answer.reply(Ok(libmox_verify::Reply::Parse((&libmox_message::parse(&text)).into()))).await;
    }
}

/// Rows CL-13 and ST-41.
#[tokio::test]
async fn messages_are_parsed_again_by_somebody_else() {
    let world = World::new().await;
    // The deliveries of these tests know nothing of what they hand in.
    let body = b"From: a@far.example\r\nSubject: Re: old words\r\nMessage-ID: <One@far.example>\r\n\r\nsome words\r\n";
    let first = stored(&world, "jane@example.org", body).await;
    stored(&world, "jane@example.org", b"Subject: other\r\n\r\nmore").await;
    let without = repair_fails(&world).await;
    assert!(without.contains("mox-verify is not there"), "{without}");
    let socket = world.dir.path().join("verify");
    let listener = UnixListener::bind(&socket).unwrap();
    let serving = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let caller = libmox_verify::Caller::Store;
            tokio::spawn(libmox_ipc::serve(Arc::new(Parser), caller, stream, "verify"));
        }
    });
    world
        .store
        .parser
        .set(libmox_verify::Verifier::new(&socket, "test"))
        .unwrap_or_else(|_| panic!("set twice"));
    let account = world.store.directory().ids["jane"];
    let facts = || {
        let key = keys::cold(account, first);
        let blob = world.store.engine.blob(&key).unwrap().unwrap();
        crate::records::decode::<crate::records::Cold>(&key, &blob).unwrap().facts
    };
    assert_eq!(repair(&world, RepairKind::Parse, true).await, ["jane: 2 of 2 messages are known better"]);
    // What was never parsed has no structure.
    let key = keys::cold(account, first);
    let blob = world.store.engine.blob(&key).unwrap().unwrap();
    let mut cold: crate::records::Cold = crate::records::decode(&key, &blob).unwrap();
    cold.facts.structure.clear();
    let mut tx = world.store.engine.begin_now();
    crate::records::put_blob(&mut tx, &key, &crate::records::encode(&cold));
    tx.commit().await.unwrap();
    let missing = repair(&world, RepairKind::ParseMissing, true).await;
    assert_eq!(missing, ["jane: 1 of 2 messages are known better"]);
    assert_ne!(facts().message_id, "one@far.example");
    assert_eq!(repair(&world, RepairKind::Parse, false).await, ["jane: 2 of 2 messages are known better"]);
    let now = facts();
    assert_eq!(
        (&*now.message_id, &*now.base_subject, &*now.preview),
        ("one@far.example", "old words", "some words")
    );
    assert!(!now.structure.is_empty() && now.answer && now.from.is_some());
    assert_eq!(wrong(&world).await, 0);
    assert!(repair(&world, RepairKind::Parse, false).await.is_empty(), "nothing to do a second time");
    assert!(repair(&world, RepairKind::ParseMissing, false).await.is_empty(), "something is known of each");
    // A file that is lost is said, the others are done.
    let file = world.store.engine.files().path(FileName { owner: u64::from(account.0), id: first.0 });
    let kept = std::fs::read(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    let lines = repair(&world, RepairKind::Parse, false).await;
    assert!(lines.len() == 1 && lines[0].contains("No such file"), "{lines:?}");
    std::fs::write(&file, kept).unwrap();
    serving.abort();
    world.end().await;
}

async fn repair_fails(world: &World) -> String {
    let ask = Repair { account: Some("jane".into()), what: RepairKind::Parse, dry: false };
    world.admin().ask(ask).await.unwrap_err().to_string()
}
