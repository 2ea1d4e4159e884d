//! What single rows of the specification promise and no other test looks at.

use super::threads::{Mail, arrives};
use super::*;
use crate::engine::FileName;
use crate::keys;
use crate::records::{Account, MailboxRecord, Message, Read, encode};
use libmox_store::{Append, AppendMessage, Copy, Expunge, FlagsChange, FlagsHow, Stored};
use libmox_types::{AccountId, Flag, Flags, Keyword, MailboxId, ModSeq, MsgId, Uid};
use std::os::unix::fs::{MetadataExt, PermissionsExt};

const JANE: AccountId = AccountId(2);
const NOW: i64 = 1_800_000_000;

fn message(keywords: &[&str]) -> AppendMessage {
    AppendMessage {
        body: Body::Inline(b"A: b\r\n\r\n".to_vec()),
        prefix: vec![],
        facts: Facts::default(),
        flags: Flags::NONE,
        keywords: keywords.iter().map(|text| Keyword::parse(text).unwrap()).collect(),
        received: Timestamp(NOW),
    }
}

fn one(uid: u32) -> UidSet {
    [Uid(uid)].into_iter().collect()
}

async fn status(client: &Client, session: SessionId, mailbox: &str) -> libmox_store::Mailbox {
    client.ask(MailboxStatus { session, name: name(mailbox) }).await.unwrap()
}

async fn expunge(client: &Client, session: SessionId, mailbox: MailboxId, uids: UidSet) {
    let (flags, how) = (Flags::NONE.with(Flag::Deleted), FlagsHow::Add);
    let change = FlagsChange {
        session,
        mailbox,
        uids: uids.clone(),
        how,
        flags,
        keywords: vec![],
        unchanged_since: None,
    };
    client.ask(change).await.unwrap();
    client.ask(Expunge { session, mailbox, uids: Some(uids) }).await.unwrap();
}

/// Rows ST-01, ST-04, TR-38: linked for each account, never copied; nothing is left where it was staged.
#[tokio::test(flavor = "multi_thread")]
async fn one_file_for_all_recipients() {
    let world = World::new().await;
    let body = vec![b'x'; 100_000];
    let got = world.deliver(&["jane@example.org", "bob@example.org"], &body).await;
    let [Delivered::Stored(Stored { id: jane }), Delivered::Stored(Stored { id: bob })] = got[..] else {
        panic!("{got:?}")
    };
    let ids = &world.store.directory().ids;
    let paths: Vec<_> = [("jane", jane), ("bob", bob)]
        .map(|(account, id)| FileName { owner: u64::from(ids[account].0), id: id.0 })
        .map(|name| world.store.engine.files().path(name))
        .into();
    let facts: Vec<_> = paths.iter().map(|path| std::fs::metadata(path).unwrap()).collect();
    assert_eq!(facts[0].ino(), facts[1].ino());
    for facts in &facts {
        assert_eq!(facts.permissions().mode() & 0o137, 0, "read by its own user and group");
    }
    assert!(paths[0].ends_with(format!("accounts/{}/msg/0/{jane}", ids["jane"].0)));
    world.store.engine.checkpoint().await.unwrap();
    assert_eq!(std::fs::metadata(&paths[0]).unwrap().nlink(), 2, "staged no more");
    // One recipient whose account is full: the other has it whole.
    let mut directory = (*world.store.directory()).clone();
    directory.accounts.get_mut("bob").unwrap().quota = Some(1);
    world.store.reload(directory).await.unwrap();
    let got = world.deliver(&["jane@example.org", "bob@example.org"], &body).await;
    assert!(matches!(got[..], [Delivered::Stored(_), Delivered::OverQuota]), "{got:?}");
    world.store.engine.checkpoint().await.unwrap();
    let mut left = Vec::new();
    let mut folders = vec![world.dir.path().join("data")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.components().any(|part| part.as_os_str().to_string_lossy().contains("stag")) {
                left.push(path);
            }
        }
    }
    assert!(left.is_empty(), "{left:?}");
    world.end().await;
}

/// Rows ST-06, ST-13, TR-01, TR-35: each kind of damage is a sentence of its own.
#[tokio::test(flavor = "multi_thread")]
async fn check_says_what_is_wrong() {
    let world = World::new().await;
    let first = arrives(&world, NOW, Mail("a@x", &[], "plan", false).facts()).await;
    let second = arrives(&world, NOW, Mail("b@x", &["a@x"], "plan", true).facts()).await;
    world.is_sound().await;
    let engine = &world.store.engine;
    let inbox: MailboxId = engine.record(&keys::mailbox_name(JANE, &name("Inbox"))).unwrap().unwrap();
    let mailbox_key = keys::mailbox(JANE, inbox);
    let mailbox: MailboxRecord = engine.record(&mailbox_key).unwrap().unwrap();
    let account_key = keys::account_record(JANE);
    let account: Account = engine.record(&account_key).unwrap().unwrap();
    let message_key = keys::message(JANE, inbox, Uid(1));
    let message: Message = engine.record(&message_key).unwrap().unwrap();
    let mut counts = mailbox.counts;
    counts.unread += 1;
    let path = engine.files().path(FileName { owner: u64::from(JANE.0), id: second.0 });
    let kept = std::fs::read(&path).unwrap();
    let put = |key: &[u8], value: Vec<u8>| vec![(key.to_vec(), Some(value))];
    type Damage = Vec<(Vec<u8>, Option<Vec<u8>>)>;
    let cases: [(&str, Damage); 9] = [
        ("counts", put(&mailbox_key, encode(&MailboxRecord { counts, ..mailbox.clone() }))),
        (
            "not below uidnext",
            put(&mailbox_key, encode(&MailboxRecord { uid_next: Uid(2), ..mailbox.clone() })),
        ),
        ("modseq", put(&message_key, encode(&Message { mod_seq: ModSeq(0), ..message.clone() }))),
        ("modseq", put(&mailbox_key, encode(&MailboxRecord { mod_seq: ModSeq(1), ..mailbox.clone() }))),
        ("uses", put(&account_key, encode(&Account { used: ByteCount(1), ..account.clone() }))),
        ("id", put(&account_key, encode(&Account { next_message: MsgId(1), ..account.clone() }))),
        (
            "not in the thread of its parent",
            put(&message_key, encode(&Message { thread: second, ..message.clone() })),
        ),
        ("is missing", vec![(keys::thread_member(JANE, first, second), None)]),
        ("leads nowhere", put(&keys::subject(JANE, &[7; 16], Timestamp(1), first), vec![])),
    ];
    for (want, damage) in cases {
        let mut tx = engine.begin_now();
        let mut repair = engine.begin_now();
        for (key, value) in damage {
            match engine.get(&key).unwrap() {
                Some(before) => repair.change().put(key.clone(), before),
                None => repair.change().delete(key.clone()),
            }
            match value {
                Some(value) => tx.change().put(key, value),
                None => tx.change().delete(key),
            }
        }
        tx.commit().await.unwrap();
        let found = world.store.check(Some("jane")).await.unwrap();
        assert!(found.iter().any(|sentence| sentence.contains(want)), "{want}: {found:?}");
        repair.commit().await.unwrap();
        world.is_sound().await;
    }
    for (want, content) in [("should have", Some(&b"other"[..])), ("file 2", None)] {
        match content {
            Some(content) => {
                std::fs::remove_file(&path).unwrap();
                std::fs::write(&path, content).unwrap();
            }
            None => std::fs::remove_file(&path).unwrap(),
        }
        let found = world.store.check(None).await.unwrap();
        assert!(found.iter().any(|sentence| sentence.contains(want)), "{want}: {found:?}");
    }
    std::fs::write(&path, kept).unwrap();
    let stray = engine.files().path(FileName { owner: u64::from(JANE.0), id: 99 });
    std::fs::write(&stray, b"x").unwrap();
    let found = world.store.check(None).await.unwrap();
    assert!(found.iter().any(|sentence| sentence.contains("stray file 99")), "{found:?}");
    std::fs::remove_file(stray).unwrap();
    world.end().await;
}

/// Rows ST-09, ST-11, ST-13, ST-14, TR-01, TR-25, TR-34.
#[tokio::test(flavor = "multi_thread")]
async fn uids_and_modseqs_only_grow() {
    let world = World::new().await;
    let imap = world.imap();
    let session = world.login(&imap, "jane@example.org").await;
    // As an import does it, with keywords, then mail arrives.
    let messages = vec![message(&["a"]), message(&["b", "c"])];
    let placed = imap.ask(Append { session, mailbox: name("Inbox"), messages }).await.unwrap();
    assert_eq!(placed.to, [Uid(1), Uid(2)]);
    arrives(&world, NOW, Mail("a@x", &[], "plan", false).facts()).await;
    let before = status(&imap, session, "Inbox").await;
    assert_eq!(before.uid_next, Uid(4));
    let newest = world.list(&imap, session, "Inbox").await.pop().unwrap();
    assert_eq!(newest.mod_seq, before.mod_seq);
    // The newest goes: neither uid nor modseq comes back, also after a restart.
    expunge(&imap, session, before.id, one(3)).await;
    let after = status(&imap, session, "Inbox").await;
    assert!(after.mod_seq > before.mod_seq && after.uid_next == Uid(4));
    assert_eq!((after.counts.total, after.counts.deleted), (2, 0));
    let moved = world.list(&imap, session, "Inbox").await.remove(0);
    let copy = Copy { session, mailbox: before.id, uids: one(1), to: name("Archive"), take: true };
    imap.ask(copy).await.unwrap();
    let there = world.list(&imap, session, "Archive").await.remove(0);
    assert_eq!(there.id, moved.id, "a move keeps the id");
    assert!(there.mod_seq > after.mod_seq);
    drop(imap);
    let world = world.reopened().await;
    let imap = world.imap();
    let session = world.login(&imap, "jane@example.org").await;
    // Both left a tombstone: modseq, uid, id.
    let mut tombstones = Vec::new();
    let note = |key: &[u8], id: MsgId| {
        let mod_seq = u64::from_be_bytes(key[key.len() - 12..key.len() - 4].try_into().unwrap());
        tombstones.push((ModSeq(mod_seq), keys::message_uid(key).unwrap(), id));
        Ok(())
    };
    world.store.engine.records(&keys::tombstones(JANE, before.id), note).unwrap();
    assert_eq!(tombstones, [(after.mod_seq, Uid(3), newest.id), (there.mod_seq, Uid(1), moved.id)]);
    assert_eq!(world.list(&imap, session, "Inbox").await.len(), 1, "tombstones are in no list");
    arrives(&world, NOW, Mail("b@x", &[], "plan", false).facts()).await;
    let last = world.list(&imap, session, "Inbox").await.pop().unwrap();
    assert!(last.uid == Uid(4) && last.mod_seq > there.mod_seq);
    let create_seq: Vec<ModSeq> = {
        let mut found = Vec::new();
        let each = |_: &[u8], message: Message| {
            found.push(message.create_seq);
            Ok(())
        };
        world.store.engine.records(&keys::messages(JANE, before.id), each).unwrap();
        found
    };
    assert!(create_seq.iter().all(|seq| seq.0 > 0) && create_seq[1] == last.mod_seq);
    drop(imap);
    world.end().await;
}

/// Rows ST-15, ST-16.
#[tokio::test(flavor = "multi_thread")]
async fn keywords_gather_in_their_mailbox() {
    let world = World::new().await;
    let imap = world.imap();
    let session = world.login(&imap, "jane@example.org").await;
    let append =
        |keywords: &[&str]| Append { session, mailbox: name("Inbox"), messages: vec![message(keywords)] };
    imap.ask(append(&["Zeta", "alpha", "ALPHA"])).await.unwrap();
    let inbox = status(&imap, session, "Inbox").await;
    let texts = |keywords: &[Keyword]| keywords.iter().map(|k| k.as_str().to_owned()).collect::<Vec<_>>();
    assert_eq!(texts(&inbox.keywords), ["alpha", "zeta"]);
    assert_eq!(texts(&world.list(&imap, session, "Inbox").await[0].keywords), ["alpha", "zeta"]);
    let all: Flags = Flag::ALL.iter().map(|(flag, _)| *flag).collect();
    let keywords = vec![Keyword::parse("Beta").unwrap()];
    let (uids, how) = (one(1), FlagsHow::Replace);
    let change =
        FlagsChange { session, mailbox: inbox.id, uids, how, flags: all, keywords, unchanged_since: None };
    imap.ask(change).await.unwrap();
    let record = world.list(&imap, session, "Inbox").await.remove(0);
    assert_eq!((record.flags, texts(&record.keywords)), (all, vec!["beta".to_owned()]));
    // What was ever used stays known; a move takes the keywords along.
    assert_eq!(texts(&status(&imap, session, "Inbox").await.keywords), ["alpha", "beta", "zeta"]);
    imap.ask(Copy { session, mailbox: inbox.id, uids: one(1), to: name("Archive"), take: true })
        .await
        .unwrap();
    assert_eq!(texts(&status(&imap, session, "Archive").await.keywords), ["beta"]);
    drop(imap);
    world.end().await;
}

/// Row ST-18: other names, other languages, the older form; Inbox always.
#[tokio::test(flavor = "multi_thread")]
async fn new_accounts_have_the_mailboxes_of_the_configuration() {
    use libmox_service::config::Static;
    for (text, want) in [
        ("", "Archive:Archive Drafts:Drafts Inbox: Junk:Junk Sent:Sent Trash:Trash"),
        (
            "initial-mailboxes.sent = \"Verzonden\"\ninitial-mailboxes.regular = [\"Lists/a\"]",
            "Inbox: Lists: Lists/a: Verzonden:Sent",
        ),
        ("default-mailboxes = [\"Sent\", \"Work\"]", "Inbox: Sent:Sent Work:"),
    ] {
        let statics = Static::parse(&format!("[store]\n{text}\n")).map_err(|m| m.lines()).unwrap();
        let mut directory = sample();
        directory.settings.initial = statics.store.initial_mailboxes;
        let world = World::with(directory).await;
        let imap = world.imap();
        let session = world.login(&imap, "jane@example.org").await;
        let all = libmox_store::mailboxes(&imap, session).await.unwrap().mailboxes;
        let role =
            |uses: libmox_types::SpecialUses| uses.names().next().unwrap_or_default().replace('\\', "");
        let shown: Vec<String> = all.iter().map(|m| format!("{}:{}", m.name, role(m.special_use))).collect();
        assert_eq!(shown.join(" "), want);
        drop(imap);
        world.end().await;
    }
    assert!(Static::parse("[store]\ndefault-mailboxes = []\ninitial-mailboxes.sent = \"S\"\n").is_err());
}
