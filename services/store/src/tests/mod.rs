//! The store through its real client over real sockets. Every test ends with a check of all invariants.

mod cutfs;
mod decisions;
mod faults;
mod feedback;
mod here;
mod junk;
mod kills;
mod life;
mod lists;
mod load;
mod logins;
mod mail;
mod model;
mod operations;
mod outgoing;
mod power;
mod receiving;
mod rejects;
mod rows;
mod soak;
mod tables;
mod threads;
mod upgrades;

use crate::directory::{Directory, tests::sample};
use crate::engine::Options;
use crate::{Store, serve_peer};
use libmox_store::{
    AccountSetPassword, Body, Deliver, DeliverTo, Delivered, Facts, Item, LoginContext, LoginOutcome,
    LoginPassword, MailboxStatus, MessageList, MessageRecord, RecipientPath, Role, SessionId, Stage,
    Store as Client, Verdict, Want,
};
use libmox_types::{Address, ByteCount, Cid, MailboxName, ReversePath, Timestamp, UidSet};
use std::collections::HashMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio::net::UnixListener;

pub const PASSWORD: &str = "correct horse";

/// A running store and its clients.
pub struct World {
    pub store: Arc<Store>,
    pub clock: Arc<AtomicI64>,
    clients: HashMap<Role, Client>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    dir: Arc<tempfile::TempDir>,
}

pub fn options(dir: &Path) -> Options {
    Options {
        segment_bytes: 1 << 20,
        cache_bytes: 8 << 20,
        reserve_bytes: 0,
        checkpoint_every: Duration::from_millis(200),
        ..Options::new(dir.join("data"), Some("boot".into()))
    }
}

impl World {
    pub async fn new() -> Self {
        Self::with(sample()).await
    }

    pub async fn with(directory: Directory) -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let world = Self::on(dir, directory).await;
        for account in ["jane", "bob"] {
            let password = PASSWORD.to_owned();
            world.admin().ask(AccountSetPassword { account: account.into(), password }).await.unwrap();
        }
        world
    }

    async fn on(dir: Arc<tempfile::TempDir>, directory: Directory) -> Self {
        let clock = Arc::new(AtomicI64::new(1_800_000_000));
        let reader = clock.clone();
        let now = Arc::new(move || Timestamp(reader.load(Ordering::Relaxed)));
        let store = Store::start(options(dir.path()), directory, now).await.unwrap();
        let mut world = Self { store, clock, clients: HashMap::new(), tasks: Vec::new(), dir };
        for (role, name) in Role::ALL {
            let path = world.dir.path().join(name);
            let _ = std::fs::remove_file(&path);
            let listener = UnixListener::bind(&path).unwrap();
            let store = world.store.clone();
            world.tasks.push(tokio::spawn(async move {
                // Connections end with the task that accepts them.
                let mut connections = tokio::task::JoinSet::new();
                while let Ok((stream, _)) = listener.accept().await {
                    connections.spawn(serve_peer(store.clone(), role, stream));
                }
            }));
            world.clients.insert(role, Client::new(&path, "test"));
        }
        world
    }

    pub fn client(&self, role: Role) -> Client {
        self.clients[&role].clone()
    }

    pub fn imap(&self) -> Client {
        self.client(Role::Imap)
    }

    pub fn admin(&self) -> Client {
        self.client(Role::Admin)
    }

    /// Another connection of a role.
    pub fn another(&self, role: Role) -> Client {
        Client::new(&self.dir.path().join(role.socket()), "another")
    }

    pub fn now(&self) -> Timestamp {
        Timestamp(self.clock.load(Ordering::Relaxed))
    }

    #[track_caller]
    pub fn is_sound(&self) -> impl Future<Output = ()> + '_ {
        let at = std::panic::Location::caller();
        async move {
            let wrong = self.store.check(None).await.unwrap();
            assert!(wrong.is_empty(), "{at}: {wrong:#?}");
        }
    }

    /// Checks, closes, opens again, checks again.
    pub async fn reopened(self) -> Self {
        self.is_sound().await;
        let (dir, directory) = (self.dir.clone(), (*self.store.directory()).clone());
        self.close().await;
        let world = Self::on(dir, directory).await;
        world.is_sound().await;
        world
    }

    async fn close(mut self) {
        self.clients.clear();
        for task in self.tasks.drain(..) {
            task.abort();
            let _ = task.await;
        }
        let mut store = self.store;
        store.engine.settled().await;
        tokio::task::spawn_blocking({
            let store = store.clone();
            move || store.engine.close().unwrap()
        })
        .await
        .unwrap();
        // Connections notice the end of their clients one after the other.
        for _ in 0..1000 {
            match Arc::try_unwrap(store) {
                Ok(_) => return,
                Err(still) => store = still,
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        panic!("somebody keeps the store");
    }

    /// Ends a test: everything sound now, and after opening again.
    pub async fn end(self) {
        let world = self.reopened().await;
        world.store.sweep(true).await;
        world.is_sound().await;
        world.close().await;
    }

    pub async fn login(&self, client: &Client, login: &str) -> SessionId {
        match client.ask(password_login(login, PASSWORD)).await.unwrap() {
            LoginOutcome::SignedIn(signed_in) => signed_in.session,
            other => panic!("{other:?}"),
        }
    }

    pub async fn deliver(&self, to: &[&str], body: &[u8]) -> Vec<Delivered> {
        let smtp = self.client(Role::Smtp);
        let deliver = deliver(to, body_of(&smtp, body).await);
        smtp.ask(deliver).await.unwrap()
    }

    pub async fn list(&self, client: &Client, session: SessionId, mailbox: &str) -> Vec<MessageRecord> {
        let mailbox = client.ask(MailboxStatus { session, name: name(mailbox) }).await.unwrap().id;
        // From memory and from the index: the same, but for what is only there.
        let want = Want { structure: true, preview: true };
        let without_preview =
            |record: &MessageRecord| MessageRecord { preview: String::new(), ..record.clone() };
        let bare =
            |record: &MessageRecord| MessageRecord { structure: Vec::new(), ..without_preview(record) };
        let mut whole = self.list_of(client, session, mailbox, want).await;
        loop {
            let plain = self.list_of(client, session, mailbox, Want::default()).await;
            let half = Want { structure: true, preview: false };
            let half = self.list_of(client, session, mailbox, half).await;
            if plain == whole.iter().map(bare).collect::<Vec<_>>()
                && half == whole.iter().map(without_preview).collect::<Vec<_>>()
            {
                return whole;
            }
            // Something in the background may have changed a message in between.
            let again = self.list_of(client, session, mailbox, want).await;
            assert!(again != whole, "memory and index differ");
            whole = again;
        }
    }

    async fn list_of(
        &self,
        client: &Client,
        session: SessionId,
        mailbox: libmox_types::MailboxId,
        want: Want,
    ) -> Vec<MessageRecord> {
        let list = MessageList { session, mailbox, uids: UidSet::all(), changed_since: None, want };
        let mut items = client.stream(libmox_store::Request::MessageList(list)).await.unwrap();
        let mut records = Vec::new();
        while let Some(item) = items.next().await {
            match item.unwrap() {
                Item::Messages(part) => records.extend(part),
                other => panic!("{other:?}"),
            }
        }
        records
    }
}

/// Inline where it is small, staged where it is large.
pub async fn body_of(client: &Client, bytes: &[u8]) -> Body {
    if bytes.len() <= libmox_store::INLINE_OCTETS {
        return Body::Inline(bytes.to_vec());
    }
    let (body, descriptors) = client.ask_with(Stage, vec![]).await.unwrap();
    let mut file = std::fs::File::from(descriptors.into_iter().next().unwrap());
    file.write_all(bytes).unwrap();
    Body::Staged { body, size: ByteCount(bytes.len() as u64) }
}

pub fn deliver(to: &[&str], body: Body) -> Deliver {
    Deliver {
        cid: Cid(7),
        received: Timestamp(1_700_000_000),
        remote_ip: "192.0.2.9".parse().unwrap(),
        helo: None,
        mail_from: ReversePath::Null,
        body,
        facts: facts(),
        verdict: Verdict::default(),
        recipients: to
            .iter()
            .map(|to| DeliverTo {
                recipient: recipient(to),
                prefix: format!("Delivered-To: {to}\r\n").into(),
                destined: None,
            })
            .collect(),
    }
}

pub fn facts() -> Facts {
    Facts {
        structure: vec![5; 300],
        message_id: "m@x.example".into(),
        preview: "Hello".into(),
        ..Facts::default()
    }
}

pub fn recipient(text: &str) -> RecipientPath {
    if text == "postmaster" { RecipientPath::Postmaster } else { RecipientPath::Address(address(text)) }
}

pub fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

pub fn name(text: &str) -> MailboxName {
    MailboxName::parse(text).unwrap()
}

pub fn password_login(login: &str, password: &str) -> LoginPassword {
    LoginPassword { context: context(), username: login.into(), password: password.into() }
}

pub fn context() -> LoginContext {
    LoginContext {
        cid: Cid(1),
        remote_ip: "192.0.2.1".parse().unwrap(),
        protocol: "imap".into(),
        mechanism: "PLAIN".into(),
        tls: String::new(),
        user_agent: String::new(),
    }
}
