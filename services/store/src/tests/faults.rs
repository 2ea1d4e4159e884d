//! Disks that are full, read-only or broken, files that are gone, two stores on one folder: what clients are told, what
//! the bus shows, and that the store goes on by itself.

use super::cutfs::{Disk, Failure};
use super::power::mounted;
use super::*;
use crate::serve::serve_folder;
use libmox_service::Context;
use libmox_service::config::Static;
use libmox_service::sockets::Sockets;
use libmox_store::{Append, Check, Expunge, Fault, FlagsChange, FlagsHow, MessageOpen, Replace, Status};
use libmox_types::{Flag, Flags, MsgId};
use std::collections::BTreeSet;
use std::os::unix::net::UnixListener as StdListener;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;

/// The service as systemd runs it: started again when it ends with an error, its sockets kept.
struct Service {
    dir: tempfile::TempDir,
    context: Arc<Mutex<Option<Context>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Service {
    fn start(options: Options) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listeners: Vec<(String, StdListener)> = Role::ALL
            .map(|(_, name)| (name.to_owned(), StdListener::bind(dir.path().join(name)).unwrap()))
            .into();
        let context: Arc<Mutex<Option<Context>>> = Arc::default();
        let running = context.clone();
        let task = tokio::spawn(async move {
            let config = Arc::new(Static::parse("hostname = \"mail.example.org\"").unwrap());
            loop {
                let sockets = Sockets::from_parts(
                    listeners
                        .iter()
                        .map(|(name, listener)| (name.clone(), listener.try_clone().unwrap().into())),
                );
                let context = Context::new("mox-store", config.clone(), sockets);
                *running.lock().unwrap() = Some(context.clone());
                match serve_folder(context.clone(), options.clone(), sample()).await {
                    Ok(()) => return,
                    Err(error) => println!("started again: {error:#}"),
                }
                // As the process does before it ends.
                context.life.stop();
                context.life.drained(Duration::from_secs(5)).await;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        Self { dir, context, task }
    }

    fn client(&self, role: Role) -> Client {
        Client::new(&self.dir.path().join(role.socket()), "faults")
    }

    fn context(&self) -> Option<Context> {
        self.context.lock().unwrap().clone()
    }

    /// What the bus shows.
    fn state(&self) -> &'static str {
        self.context().map_or("starting", |context| context.life.state())
    }

    async fn becomes(&self, state: &str) {
        for _ in 0..600 {
            if self.state() == state {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let problem = self.context().and_then(|context| context.life.problem());
        panic!("{} instead of {state}: {problem:?}", self.state());
    }

    async fn set_password(&self) {
        let set = AccountSetPassword { account: "jane".into(), password: PASSWORD.into() };
        self.client(Role::Admin).ask(set).await.unwrap();
    }

    async fn deliver(&self, size: usize) -> Result<MsgId, String> {
        let smtp = self.client(Role::Smtp);
        let delivering = async {
            let body = if size > libmox_store::INLINE_OCTETS {
                let (body, descriptors) =
                    smtp.ask_with(Stage, vec![]).await.map_err(|error| error.to_string())?;
                let mut file = std::fs::File::from(descriptors.into_iter().next().unwrap());
                file.write_all(&vec![b'f'; size]).map_err(|error| error.to_string())?;
                Body::Staged { body, size: ByteCount(size as u64) }
            } else {
                Body::Inline(vec![b'f'; size])
            };
            match smtp.ask(deliver(&["jane@example.org"], body)).await {
                Ok(delivered) => match delivered[..] {
                    [Delivered::Stored(stored)] => Ok(stored.id),
                    ref other => Err(format!("{other:?}")),
                },
                Err(error) => Err(error.fault().map_or_else(|| error.to_string(), ToString::to_string)),
            }
        };
        let waiting = tokio::time::timeout(Duration::from_secs(20), delivering);
        waiting.await.unwrap_or_else(|_| Err("no answer".into()))
    }

    async fn ids(&self) -> BTreeSet<MsgId> {
        let imap = self.client(Role::Imap);
        let session = sign_in(&imap).await;
        records(&imap, session).await.into_iter().map(|record| record.id).collect()
    }

    /// Everything acknowledged is there and all invariants hold.
    async fn holds(&self, acknowledged: &BTreeSet<MsgId>) {
        let there = self.ids().await;
        let lost: Vec<_> = acknowledged.difference(&there).collect();
        assert!(lost.is_empty(), "lost: {lost:?}");
        let wrong = self.client(Role::Admin).ask(Check { account: None }).await.unwrap();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    async fn stop(self) {
        self.context().unwrap().life.stop();
        self.task.await.unwrap();
    }
}

async fn sign_in(imap: &Client) -> SessionId {
    match imap.ask(password_login("jane@example.org", PASSWORD)).await.unwrap() {
        LoginOutcome::SignedIn(signed_in) => signed_in.session,
        other => panic!("{other:?}"),
    }
}

async fn records(imap: &Client, session: SessionId) -> Vec<MessageRecord> {
    let mailbox = imap.ask(MailboxStatus { session, name: MailboxName::inbox() }).await.unwrap().id;
    let want = Want::default();
    let list = MessageList { session, mailbox, uids: UidSet::all(), changed_since: None, want };
    let mut items = imap.stream(libmox_store::Request::MessageList(list)).await.unwrap();
    let mut records = Vec::new();
    while let Some(item) = items.next().await {
        let Item::Messages(part) = item.unwrap() else { panic!() };
        records.extend(part);
    }
    records
}

async fn expunge(imap: &Client, session: SessionId, count: usize) -> BTreeSet<MsgId> {
    let all = records(imap, session).await;
    let mailbox = imap.ask(MailboxStatus { session, name: MailboxName::inbox() }).await.unwrap().id;
    let uids: UidSet = all.iter().take(count).map(|record| record.uid).collect();
    let flags = Flags::NONE.with(Flag::Deleted);
    let change = FlagsChange {
        session,
        mailbox,
        uids: uids.clone(),
        how: FlagsHow::Add,
        flags,
        keywords: vec![],
        unchanged_since: None,
    };
    imap.ask(change).await.unwrap();
    imap.ask(Expunge { session, mailbox, uids: Some(uids) }).await.unwrap();
    all.iter().take(count).map(|record| record.id).collect()
}

/// A small file system of its own.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn mount(at: &Path, size: &str) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let option = format!("size={size}");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &option, "tmpfs"]).arg(at).output();
        match mount {
            Ok(output) if output.status.success() => Some(Self(at.to_owned())),
            other => {
                println!("LEFT OUT: this needs root to mount a small file system: {other:?}");
                None
            }
        }
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_mail_for_now_and_loses_none() {
    let place = tempfile::tempdir().unwrap();
    let disk = place.path().join("disk");
    let Some(_tmpfs) = Tmpfs::mount(&disk, "24m") else { return };
    let ballast = disk.join("ballast");
    std::fs::write(&ballast, vec![1; 4 << 20]).unwrap();
    let reserve_bytes = 2 << 20;
    let options = Options { dir: disk.join("data"), reserve_bytes, ..options(&disk) };
    let service = Service::start(options);
    service.set_password().await;
    let mut acknowledged = BTreeSet::new();
    let refused = loop {
        let size = if acknowledged.len() % 2 == 0 { 200_000 } else { 20_000 };
        match service.deliver(size).await {
            Ok(id) => assert!(acknowledged.insert(id)),
            Err(why) => break why,
        }
    };
    assert_eq!(refused, Fault::Full.to_string());
    assert!(acknowledged.len() > 20, "{}", acknowledged.len());
    service.becomes("degraded").await;
    let status = service.client(Role::Admin).ask(Status).await.unwrap();
    assert!(status.state.starts_with("degraded: the disk is full"), "{}", status.state);
    // Row TR-51: several messages at once, or one in the place of another: nothing of it happens.
    let imap = service.client(Role::Imap);
    let session = sign_in(&imap).await;
    let before = records(&imap, session).await;
    let message = || libmox_store::AppendMessage {
        flags: Flags::NONE,
        keywords: vec![],
        received: libmox_types::Timestamp(1),
        body: Body::Inline(vec![b'x'; 3_000]),
        facts: facts(),
        prefix: vec![],
    };
    let to = MailboxName::inbox();
    let append = Append { session, mailbox: to.clone(), messages: vec![message(), message()] };
    assert_eq!(imap.ask(append).await.unwrap_err().fault(), Some(&Fault::Full));
    let mailbox = imap.ask(MailboxStatus { session, name: to.clone() }).await.unwrap().id;
    let replace = Replace { session, mailbox, uid: before[0].uid, to, message: message() };
    assert_eq!(imap.ask(replace).await.unwrap_err().fault(), Some(&Fault::Full));
    assert_eq!(records(&imap, session).await, before);
    // What frees space goes on.
    let expunged = expunge(&imap, session, 3).await;
    acknowledged.retain(|id| !expunged.contains(id));
    service.holds(&acknowledged).await;
    // Now somebody else takes what was kept free, too.
    let filler = disk.join("filler");
    let mut file = std::fs::File::create(&filler).unwrap();
    while file.write_all(&[2; 4096]).is_ok() {}
    for _ in 0..5 {
        assert!(service.deliver(3000).await.is_err());
    }
    assert_eq!(service.state(), "degraded");
    // Space again: nobody has to do anything else.
    drop(file);
    std::fs::remove_file(&filler).unwrap();
    std::fs::remove_file(&ballast).unwrap();
    service.becomes("running").await;
    acknowledged.insert(service.deliver(30_000).await.unwrap());
    service.holds(&acknowledged).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fails_for_a_while_loses_nothing() {
    for failure in [Failure::Broken, Failure::ReadOnly, Failure::Full] {
        let place = tempfile::tempdir().unwrap();
        let (mount, disk) = (place.path().join("disk"), Disk::default());
        std::fs::create_dir(&mount).unwrap();
        let Some(_mounted) = mounted(&disk, &mount) else { return };
        let service = Service::start(Options { dir: mount.join("data"), ..options(&mount) });
        service.set_password().await;
        let mut acknowledged = BTreeSet::new();
        for round in 0..3 {
            for size in [500, 3000, 100_000, 700] {
                acknowledged.insert(service.deliver(size).await.unwrap());
            }
            disk.fail(Some(failure));
            for size in [500, 100_000, 500] {
                let refused = service.deliver(size).await;
                assert!(refused.is_err(), "{failure:?} {round}: stored on a disk that failed");
            }
            service.becomes("degraded").await;
            disk.fail(None);
            service.becomes("running").await;
            println!("{failure:?} {round}: running again");
            service.holds(&acknowledged).await;
            println!("{failure:?} {round}: holds");
        }
        service.stop().await;
        println!("{failure:?}: stopped");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_store_on_a_folder_waits_for_the_first() {
    let place = tempfile::tempdir().unwrap();
    let first = Service::start(options(place.path()));
    first.set_password().await;
    let second = Service::start(options(place.path()));
    second.becomes("degraded").await;
    let problem = second.context().unwrap().life.problem().unwrap();
    assert!(problem.contains("in use"), "{problem}");
    let id = first.deliver(500).await.unwrap();
    first.stop().await;
    second.becomes("running").await;
    second.holds(&BTreeSet::from([id])).await;
    second.stop().await;
}

#[tokio::test]
async fn a_lost_or_cut_message_file_is_a_temporary_error_of_that_message_only() {
    let world = World::new().await;
    let mut ids = Vec::new();
    for text in [b"one".repeat(100), b"two".repeat(40_000), b"three".repeat(100)] {
        let [Delivered::Stored(stored)] = world.deliver(&["jane@example.org"], &text).await[..] else {
            panic!()
        };
        ids.push(stored.id);
    }
    let imap = world.imap();
    let session = world.login(&imap, "jane@example.org").await;
    let owner = u64::from(world.store.directory().ids["jane"].0);
    let file = |id: MsgId| world.store.engine.files().path(crate::engine::FileName { owner, id: id.0 });
    for id in &ids[..2] {
        let whole = std::fs::read(file(*id)).unwrap();
        let damages: [&dyn Fn(); 2] = [&|| std::fs::remove_file(file(*id)).unwrap(), &|| {
            let half = &whole[..whole.len() / 2];
            std::fs::write(file(*id), half).unwrap();
        }];
        for damage in damages {
            damage();
            let refused = imap.ask_with(MessageOpen { session, id: *id }, vec![]).await.unwrap_err();
            assert!(matches!(refused.fault(), Some(Fault::Unavailable(_))), "{refused}");
            let wrong = world.admin().ask(Check { account: Some("jane".into()) }).await.unwrap();
            assert_eq!(wrong.len(), 1, "{wrong:?}");
            imap.ask_with(MessageOpen { session, id: ids[2] }, vec![]).await.unwrap();
            std::fs::write(file(*id), &whole).unwrap();
            imap.ask_with(MessageOpen { session, id: *id }, vec![]).await.unwrap();
        }
    }
    world.end().await;
}
