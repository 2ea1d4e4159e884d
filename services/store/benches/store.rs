//! How fast the store is, beside what the same machine does without it; all in one run.
//!
//! | group | what | beside |
//! |---|---|---|
//! | `list` | 100 000 message records over the socket | |
//! | `event` | from a commit to a subscriber: the answer of the change and its event, whichever comes first, to the event | |
//! | `commit` | flag changes of 50 clients, each answered once it is on disk | sled with a flush for each; a file with one `fdatasync` for all that wait |

#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a tool for people: it may stop; criterion makes the functions"
)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use libmox_store::{
    AccountSetPassword, Append, AppendMessage, Body, Facts, FlagsChange, FlagsHow, Item, LoginContext,
    LoginOutcome, LoginPassword, MailboxStatus, MessageList, Request, Role, SessionId, Store as Client, Want,
    Watch,
};
use libmox_types::{Address, Cid, Domain, Flag, Flags, MailboxId, MailboxName, Timestamp, Uid, UidSet};
use mox_store::directory::{Configured, Directory, DomainRules, Settings};
use mox_store::engine::Options;
use mox_store::{Store, serve_peer};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

const CLIENTS: usize = 50;
const MESSAGES: usize = 100_000;
/// Octets of a flag change in the journal, roughly.
const CHANGE: usize = 250;

/// A store with one account, and a client signed in to it.
struct Bench {
    runtime: Runtime,
    _store: Arc<Store>,
    imap: Client,
    session: SessionId,
    mailbox: MailboxId,
    _dir: tempfile::TempDir,
}

fn directory() -> Directory {
    let domain = Domain::parse("example.org").unwrap();
    let settings = Settings {
        hostname: domain.clone(),
        hostnames: Vec::new(),
        postmaster: None,
        postmaster_mailbox: None,
        quota: None,
        login_failures_per_minute: 1000,
        initial: Default::default(),
        deliveries: Default::default(),
    };
    let addresses = vec![Address::parse("u@example.org").unwrap()];
    let accounts = BTreeMap::from([("u".into(), Configured { addresses, ..Configured::default() })]);
    Directory::new(1, settings, BTreeMap::from([(domain, DomainRules::default())]), accounts)
}

fn listen(dir: &Path, store: &Arc<Store>, role: Role) -> PathBuf {
    let path = dir.join(role.socket());
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let store = store.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve_peer(store.clone(), role, stream));
        }
    });
    path
}

impl Bench {
    fn start(messages: usize) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (store, imap, session, mailbox) = runtime.block_on(async {
            let options = Options::new(dir.path().join("data"), Some("bench".into()));
            let now = Arc::new(|| Timestamp(1_800_000_000));
            let store = Store::start(options, directory(), now).await.unwrap();
            let imap = Client::new(&listen(dir.path(), &store, Role::Imap), "bench");
            let admin = Client::new(&listen(dir.path(), &store, Role::Admin), "bench");
            let password = "a password".to_owned();
            admin.ask(AccountSetPassword { account: "u".into(), password: password.clone() }).await.unwrap();
            let context = LoginContext {
                cid: Cid(1),
                remote_ip: "192.0.2.1".parse().unwrap(),
                protocol: "imap".into(),
                mechanism: "PLAIN".into(),
                tls: String::new(),
                user_agent: String::new(),
            };
            let login = LoginPassword { context, username: "u@example.org".into(), password };
            let LoginOutcome::SignedIn(signed_in) = imap.ask(login).await.unwrap() else { panic!() };
            let session = signed_in.session;
            let name = MailboxName::inbox();
            let mailbox = imap.ask(MailboxStatus { session, name: name.clone() }).await.unwrap().id;
            let mut left = messages;
            while left > 0 {
                let some = left.min(250);
                let message = |n: usize| AppendMessage {
                    body: Body::Inline(b"A: b\r\n\r\n".to_vec()),
                    prefix: Vec::new(),
                    facts: Facts {
                        structure: vec![7; 200],
                        message_id: format!("{left}.{n}@x"),
                        base_subject: format!("subject {}", (left + n) % 5000),
                        ..Facts::default()
                    },
                    flags: Flags::NONE,
                    keywords: Vec::new(),
                    received: Timestamp(1_700_000_000),
                };
                let messages = (0..some).map(message).collect();
                imap.ask(Append { session, mailbox: name.clone(), messages }).await.unwrap();
                left -= some;
            }
            (store, imap, session, mailbox)
        });
        Self { runtime, _store: store, imap, session, mailbox, _dir: dir }
    }

    fn flag(&self, uid: u32, set: bool) -> FlagsChange {
        FlagsChange {
            session: self.session,
            mailbox: self.mailbox,
            uids: [Uid(uid)].into_iter().collect(),
            how: if set { FlagsHow::Add } else { FlagsHow::Remove },
            flags: Flags::NONE.with(Flag::Flagged),
            keywords: Vec::new(),
            unchanged_since: None,
        }
    }

    async fn list(&self) -> usize {
        let list = MessageList {
            session: self.session,
            mailbox: self.mailbox,
            uids: UidSet::all(),
            changed_since: None,
            want: Want::default(),
        };
        let mut items = self.imap.stream(Request::MessageList(list)).await.unwrap();
        let mut count = 0;
        while let Some(item) = items.next().await {
            if let Item::Messages(part) = item.unwrap() {
                count += part.len();
            }
        }
        count
    }

    /// Flag changes of all clients at once.
    async fn changes(&self, count: u64) {
        let mut tasks = tokio::task::JoinSet::new();
        for client in 0..CLIENTS as u64 {
            let mine = count / CLIENTS as u64 + u64::from(client < count % CLIENTS as u64);
            let changes: Vec<_> = (0..mine)
                .map(|round| self.flag(u32::try_from(client).unwrap() + 1, round % 2 == 0))
                .collect();
            let imap = self.imap.clone();
            tasks.spawn(async move {
                for change in changes {
                    imap.ask(change).await.unwrap();
                }
            });
        }
        tasks.join_all().await;
    }
}

fn lists(c: &mut Criterion) {
    let bench = Bench::start(MESSAGES);
    assert_eq!(bench.runtime.block_on(bench.list()), MESSAGES);
    let mut group = c.benchmark_group("list");
    group.throughput(Throughput::Elements(MESSAGES as u64));
    group.bench_function("100000 records", |b| b.iter(|| bench.runtime.block_on(bench.list())));
    group.finish();
}

fn events(c: &mut Criterion) {
    let bench = Bench::start(10);
    let watch = Request::Watch(Watch { session: bench.session, mailbox: None });
    let mut watch = bench.runtime.block_on(bench.imap.stream(watch)).unwrap();
    bench.runtime.block_on(watch.next()).unwrap().unwrap();
    let mut round = false;
    c.bench_function("event after the commit", |b| {
        b.iter_custom(|count| {
            let mut total = Duration::ZERO;
            for _ in 0..count {
                round = !round;
                let change = bench.imap.ask(bench.flag(1, round));
                let answered = async {
                    change.await.unwrap();
                    Instant::now()
                };
                let told = async {
                    watch.next().await.unwrap().unwrap();
                    Instant::now()
                };
                let (answered, told) = bench.runtime.block_on(async { tokio::join!(answered, told) });
                total += told.saturating_duration_since(answered.min(told)).max(Duration::from_nanos(1));
            }
            total
        });
    });
}

/// Clients that wait for one thread, which writes what waits, syncs once and answers.
fn bare(dir: &Path, count: u64) -> Duration {
    let (send, inbox) = mpsc::channel::<mpsc::SyncSender<()>>();
    let mut file = std::fs::File::create(dir.join("bare")).unwrap();
    let writer = std::thread::spawn(move || {
        let mut waiting = Vec::new();
        while let Ok(first) = inbox.recv() {
            waiting.push(first);
            waiting.extend(inbox.try_iter());
            file.write_all(&vec![b'x'; CHANGE * waiting.len()]).unwrap();
            file.sync_data().unwrap();
            waiting.drain(..).for_each(|one| one.send(()).unwrap());
        }
    });
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for client in 0..CLIENTS as u64 {
            let send = send.clone();
            scope.spawn(move || {
                let (answer, answered) = mpsc::sync_channel(1);
                for _ in 0..count / CLIENTS as u64 + u64::from(client < count % CLIENTS as u64) {
                    send.send(answer.clone()).unwrap();
                    answered.recv().unwrap();
                }
            });
        }
    });
    let took = begun.elapsed();
    drop(send);
    writer.join().unwrap();
    took
}

/// sled as one would use it: a put and its own flush for each change.
fn sled_alone(dir: &Path, count: u64) -> Duration {
    let db = sled::Config::new().path(dir.join("sled")).flush_every_ms(None).open().unwrap();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for client in 0..CLIENTS as u64 {
            let db = &db;
            scope.spawn(move || {
                for round in 0..count / CLIENTS as u64 + u64::from(client < count % CLIENTS as u64) {
                    // Never what is there already: sled would leave that out.
                    let value = [&round.to_be_bytes()[..], &[b'x'; CHANGE - 8]].concat();
                    db.insert(client.to_be_bytes(), value).unwrap();
                    db.flush().unwrap();
                }
            });
        }
    });
    begun.elapsed()
}

fn commits(c: &mut Criterion) {
    let bench = Bench::start(CLIENTS);
    let mut group = c.benchmark_group("commit");
    group.throughput(Throughput::Elements(1));
    group.bench_function("store", |b| {
        b.iter_custom(|count| {
            let begun = Instant::now();
            bench.runtime.block_on(bench.changes(count));
            begun.elapsed()
        });
    });
    let dir = tempfile::tempdir().unwrap();
    group.bench_function("bare file", |b| b.iter_custom(|count| bare(dir.path(), count)));
    group.bench_function("sled alone", |b| b.iter_custom(|count| sled_alone(dir.path(), count)));
    group.finish();
}

fn settings() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
}

criterion_group! { name = benches; config = settings(); targets = lists, events, commits }
criterion_main!(benches);
