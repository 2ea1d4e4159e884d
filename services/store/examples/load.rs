//! How fast the store is: `load [seconds] [clients] [octets]`, in a folder below `$TMPDIR`.
//!
//! Deliveries over a socket, each answered only once it is on disk; the time from a commit to the event at a
//! watcher; a list of everything that was delivered.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a tool for people: it prints, and it may stop")]

use libmox_store::{
    AccountSetPassword, Body, Deliver, DeliverTo, Delivered, Facts, Item, LoginContext, LoginOutcome,
    LoginPassword, MailboxStatus, MessageList, RecipientPath, Request, Role, Verdict, Want, Watch,
};
use libmox_types::{Address, Cid, Domain, MailboxName, ReversePath, Timestamp, UidSet};
use mox_store::directory::{Configured, Directory, DomainRules, Settings};
use mox_store::engine::Options;
use mox_store::{Store, serve_peer};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

fn argument(at: usize, default: usize) -> usize {
    std::env::args().nth(at).map_or(default, |text| text.parse().unwrap())
}

fn main() {
    let (seconds, clients, octets) = (argument(1, 3), argument(2, 10), argument(3, 4096));
    let dir = std::env::temp_dir().join(format!("mox-load-{}", std::process::id()));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(run(&dir, Duration::from_secs(seconds as u64), clients, octets));
    std::fs::remove_dir_all(dir).unwrap();
}

fn directory(accounts: usize) -> Directory {
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
    let accounts = (0..accounts).map(|n| {
        let addresses = vec![Address::parse(&format!("u{n}@example.org")).unwrap()];
        (format!("u{n}"), Configured { addresses, ..Configured::default() })
    });
    Directory::new(1, settings, BTreeMap::from([(domain, DomainRules::default())]), accounts.collect())
}

fn serve(dir: &Path, store: &Arc<Store>, role: Role) -> PathBuf {
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

fn delivery(to: usize, octets: usize) -> Deliver {
    Deliver {
        cid: Cid(1),
        received: Timestamp(1_800_000_000),
        remote_ip: "192.0.2.1".parse().unwrap(),
        helo: None,
        mail_from: ReversePath::Null,
        body: Body::Inline(vec![b'x'; octets]),
        facts: Facts { structure: vec![7; 200], message_id: "m@x".into(), ..Facts::default() },
        verdict: Verdict::default(),
        recipients: vec![DeliverTo {
            recipient: RecipientPath::Address(Address::parse(&format!("u{to}@example.org")).unwrap()),
            prefix: vec![b'R'; 400],
            destined: None,
        }],
    }
}

async fn run(dir: &Path, length: Duration, clients: usize, octets: usize) {
    std::fs::create_dir_all(dir).unwrap();
    let options = Options::new(dir.join("data"), Some("bench".into()));
    let clock = Arc::new(|| Timestamp(1_800_000_000));
    let store = Store::start(options, directory(clients), clock).await.unwrap();
    let smtp = libmox_store::Store::new(&serve(dir, &store, Role::Smtp), "load");
    let imap = libmox_store::Store::new(&serve(dir, &store, Role::Imap), "load");
    let admin = libmox_store::Store::new(&serve(dir, &store, Role::Admin), "load");

    let begun = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for to in 0..clients {
        let smtp = smtp.clone();
        tasks.spawn(async move {
            let mut times = Vec::new();
            while begun.elapsed() < length {
                let at = Instant::now();
                let stored = smtp.ask(delivery(to, octets)).await.unwrap();
                assert!(matches!(stored[..], [Delivered::Stored(_)]));
                times.push(at.elapsed());
            }
            times
        });
    }
    let mut times: Vec<Duration> = tasks.join_all().await.into_iter().flatten().collect();
    times.sort_unstable();
    let rate = times.len() as f64 / begun.elapsed().as_secs_f64();
    println!(
        "{} deliveries of {octets} octets, {clients} clients: {rate:.0}/s, median {:?}, 99 % {:?}",
        times.len(),
        times[times.len() / 2],
        times[times.len() * 99 / 100]
    );

    let password = "a password".to_owned();
    admin.ask(AccountSetPassword { account: "u0".into(), password: password.clone() }).await.unwrap();
    let context = LoginContext {
        cid: Cid(1),
        remote_ip: "192.0.2.1".parse().unwrap(),
        protocol: "imap".into(),
        mechanism: "PLAIN".into(),
        tls: String::new(),
        user_agent: String::new(),
    };
    let login = LoginPassword { context, username: "u0@example.org".into(), password };
    let LoginOutcome::SignedIn(signed_in) = imap.ask(login).await.unwrap() else { panic!() };
    let session = signed_in.session;

    let mut watch = imap.stream(Request::Watch(Watch { session, mailbox: None })).await.unwrap();
    watch.next().await.unwrap().unwrap();
    let mut late = Vec::new();
    for _ in 0..200 {
        let answered = async {
            smtp.ask(delivery(0, octets)).await.unwrap();
            Instant::now()
        };
        let told = async {
            watch.next().await.unwrap().unwrap();
            Instant::now()
        };
        let (answered, told) = tokio::join!(answered, told);
        late.push(told.saturating_duration_since(answered));
    }
    late.sort_unstable();
    println!("event after the answer to the delivery: median {:?}", late[late.len() / 2]);

    let name = MailboxName::inbox();
    let mailbox = imap.ask(MailboxStatus { session, name }).await.unwrap().id;
    for round in 0..2 {
        let list =
            MessageList { session, mailbox, uids: UidSet::all(), changed_since: None, want: Want::default() };
        let begun = Instant::now();
        let mut items = imap.stream(Request::MessageList(list)).await.unwrap();
        let mut count = 0;
        while let Some(item) = items.next().await {
            if let Item::Messages(part) = item.unwrap() {
                count += part.len();
            }
        }
        println!("list of {count} messages, {round}: {:?}", begun.elapsed());
    }
    let begun = Instant::now();
    let wrong = store.check(None).await.unwrap();
    println!("check: {} findings, {:?}", wrong.len(), begun.elapsed());
}
