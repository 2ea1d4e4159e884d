//! An account as the first program wrote it, taken over by this one, with and without being killed.

use super::load::{Start, client, spawn};
use super::threads::{Mail, arrives};
use super::*;
use crate::engine::Engine;
use crate::keys;
use crate::older::{AccountV1, ColdV1, FactsV1, MessageV1};
use crate::records::{Account, Cold, Message, Place, Progress, Read};
use libmox_store::{Check, MailboxStatus, ThreadOf};
use libmox_types::{AccountId, MsgId};

const NOW: i64 = 1_800_000_000;
const JANE: AccountId = AccountId(2);

fn old<T: serde::Serialize>(record: &T) -> Vec<u8> {
    postcard::to_extend(record, vec![1]).unwrap()
}

/// Rewrites everything of jane in the layout of format 1, where nothing was known of threads.
async fn make_old(engine: &Engine) {
    let mut tx = engine.begin_now();
    let account: Account = engine.record(&keys::account_record(JANE)).unwrap().unwrap();
    assert_eq!(account.name, "jane");
    let account = AccountV1 {
        name: account.name,
        created: account.created,
        mod_seq: account.mod_seq,
        next_mailbox: account.next_mailbox,
        next_uid_validity: account.next_uid_validity,
        next_message: account.next_message,
        used: account.used,
    };
    tx.change().put(keys::account_record(JANE), old(&account));
    tx.change().put(keys::VERSION, old(&1u32));
    for kind in *b"hMST" {
        for key in engine.keys_below(&keys::of_kind(JANE, kind)).unwrap() {
            tx.change().delete(key);
        }
    }
    let mut places = Vec::new();
    let mut note = |_: &[u8], place: Place| {
        places.push(place);
        Ok(())
    };
    engine.records(&keys::places(JANE), &mut note).unwrap();
    for Place { mailbox, uid } in places {
        let key = keys::message(JANE, mailbox, uid);
        let message: Message = engine.record(&key).unwrap().unwrap();
        let cold_key = keys::cold(JANE, message.id);
        let cold = engine.blob(&cold_key).unwrap().unwrap();
        let Cold { prefix, facts, origin } = crate::records::decode(&cold_key, &cold).unwrap();
        let facts = FactsV1 {
            structure: facts.structure,
            message_id: facts.message_id,
            references: facts.references,
            base_subject: facts.base_subject,
            ..FactsV1::default()
        };
        crate::records::delete_blob(&mut tx, &cold_key).unwrap();
        crate::records::put_blob(&mut tx, &cold_key, &old(&ColdV1 { prefix, facts, origin }));
        let message = MessageV1 {
            id: message.id,
            mod_seq: message.mod_seq,
            create_seq: message.create_seq,
            flags: message.flags,
            keywords: message.keywords,
            size: message.size,
            prefix: message.prefix,
            received: message.received,
            saved: None,
        };
        tx.change().put(key, old(&message));
    }
    tx.commit().await.unwrap();
}

/// `count` messages in conversations of four, the later ones first in every second conversation.
async fn fill(world: &World, count: usize) {
    for talk in 0..count / 4 {
        let mut order = [0, 1, 2, 3];
        if talk % 2 == 1 {
            order.reverse();
        }
        for step in order {
            let (own, parent) = (format!("{talk}.{step}@x"), format!("{talk}.{}@x", step - 1));
            let parents: &[&str] = if step == 0 { &[] } else { &[&parent] };
            arrives(world, NOW, Mail(&own, parents, "talk", step > 0).facts()).await;
        }
    }
}

/// Every message is in the conversation it belongs to.
fn talks(read: &Engine, count: usize) {
    let mut threads: HashMap<MsgId, Vec<u64>> = HashMap::new();
    let keys = read.keys_below(&keys::of_kind(JANE, b'T')).unwrap();
    assert_eq!(keys.len(), count);
    for key in keys {
        let thread = u64::from_be_bytes(key[6..14].try_into().unwrap());
        threads.entry(MsgId(thread)).or_default().push(keys::last_id(&key).unwrap());
    }
    for (thread, members) in threads {
        assert_eq!(members.len(), 4, "thread {thread}: {members:?}");
        assert!(
            members.iter().all(|id| (id - 1) / 4 == (members[0] - 1) / 4),
            "thread {thread}: {members:?}"
        );
    }
}

fn progress(engine: &Engine) -> Option<Progress> {
    engine.record::<Account>(&keys::account_record(JANE)).unwrap().unwrap().upgrade
}

/// Row ST-36; rows TR-48: what an old record does not know is empty, not invented.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_account_is_upgraded_while_it_is_used() {
    let world = World::new().await;
    fill(&world, 840).await;
    make_old(&world.store.engine).await;
    assert!(progress(&world.store.engine).is_some());
    let (dir, directory) = (world.dir.clone(), (*world.store.directory()).clone());
    world.close().await;
    let world = World::on(dir, directory).await;
    // Mail arrives and is read at once.
    let imap = world.imap();
    let session = world.login(&imap, "jane@example.org").await;
    let late = arrives(&world, NOW, Mail("late@x", &["0.3@x"], "talk", true).facts()).await;
    let records = world.list(&imap, session, "Inbox").await;
    assert_eq!(records.len(), 841);
    assert_eq!(records[0].saved, None);
    world.is_sound().await;
    while world.store.upgrade_step(JANE).await.unwrap() {}
    let place = imap.ask(ThreadOf { session, message: late }).await.unwrap();
    // It found its parent if that one had its ties by then; else it stands alone, as row ST-35 has it.
    assert!(place.parents.len() == 4 || place.thread == late, "{place:?}");
    world.is_sound().await;
    let status = imap.ask(MailboxStatus { session, name: name("Inbox") }).await.unwrap();
    assert_eq!(status.counts.total, 841);
    drop(imap);
    world.end().await;
}

/// Killed again and again in the middle, it goes on from where it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_upgrade_goes_on() {
    const COUNT: usize = 4_000;
    let world = World::new().await;
    fill(&world, COUNT).await;
    make_old(&world.store.engine).await;
    let dir = world.dir.clone();
    world.close().await;
    let data = dir.path().join("data");
    let start = Start { sockets: dir.path(), data: &data, boot: 1, unsynced: false };
    let (mut midway, mut done) = (0, false);
    let mut seen = None;
    for round in 0..200u64 {
        let mut child = spawn(&start).await.unwrap();
        tokio::time::sleep(Duration::from_millis(round * 7 % (40 + round))).await;
        child.kill().unwrap();
        child.wait().unwrap();
        let options = Options { boot: Some("1".into()), ..options(dir.path()) };
        let engine = tokio::task::spawn_blocking(move || Engine::open(options).unwrap()).await.unwrap();
        let now = progress(&engine);
        let rank = |progress: Option<Progress>| {
            progress.map_or((3, MsgId(0)), |progress| (progress.stage as u8, progress.after))
        };
        assert!(rank(now) >= rank(seen.unwrap_or(now)), "{seen:?} then {now:?}");
        midway += u32::from(now.is_some_and(|now| now.after.0 > 0) && seen != Some(now));
        (seen, done) = (Some(now), now.is_none());
        if done {
            talks(&engine, COUNT);
        }
        tokio::task::spawn_blocking(move || drop(engine)).await.unwrap();
        if done {
            break;
        }
    }
    assert!(done && midway >= 2, "{midway} kills in the middle");
    let mut child = spawn(&start).await.unwrap();
    let wrong = client(dir.path(), Role::Admin).ask(Check { account: None }).await.unwrap();
    assert!(wrong.is_empty(), "{wrong:#?}");
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Stores that earlier programs made with `mox gentestdata DIR --accounts 2 --messages 40`, the oldest first; each is
/// taken over by this one in one step, whatever came between (row CL-10).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stores_of_earlier_programs_are_taken_over() {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/stores");
    let mut archives: Vec<_> = std::fs::read_dir(kept).unwrap().map(|entry| entry.unwrap().path()).collect();
    archives.sort();
    assert!(archives.len() >= 2, "{archives:?}");
    for archive in archives {
        let dir = tempfile::tempdir().unwrap();
        let unpacked =
            std::process::Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(dir.path()).status();
        assert!(unpacked.unwrap().success(), "{archive:?}");
        for round in 0..2 {
            let directory = crate::testdata::directory(2).unwrap();
            let options = Options { reserve_bytes: 0, ..Options::new(dir.path(), Some("boot".into())) };
            let store = Store::start(options, directory, Arc::new(|| Timestamp(NOW))).await.unwrap();
            assert!(round == 0 || store.engine.report().rebuilt.is_none());
            assert_eq!(
                crate::check::check_alone(&store.engine).unwrap(),
                Vec::<String>::new(),
                "{archive:?}"
            );
            let account = store.directory().ids["test0"];
            while store.upgrade_step(account).await.unwrap() {}
            let mut flagged = 0;
            for mailbox in crate::testdata::mailboxes(&store, account).unwrap() {
                let mut tx = store.engine.begin_now();
                let writer = crate::writer::Writer::open(&mut tx, account).unwrap();
                let messages = writer.messages(mailbox.id, None).unwrap();
                flagged += messages
                    .iter()
                    .filter(|(_, message)| message.flags.has(libmox_types::Flag::Flagged))
                    .count();
            }
            assert_eq!(flagged, 38, "40, and 2 were removed");
            let queue = store.queue_state().unwrap();
            let first = archive.ends_with("1.tgz");
            assert_eq!((queue.entries, queue.held), if first { (0, 0) } else { (4, 2) }, "{archive:?}");
            tokio::task::spawn_blocking(move || store.engine.close().unwrap()).await.unwrap();
        }
        assert_eq!(crate::offline::verify(dir.path()).unwrap(), Vec::<String>::new(), "{archive:?}");
    }
}
