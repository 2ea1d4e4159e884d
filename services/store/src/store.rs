//! The store behind its sockets: engine, accounts, configuration, sessions; and how accounts come and go.

use crate::accounts::{Accounts, Live, publish, told};
use crate::directory::Directory;
use crate::engine::{Engine, Options, Sealed, Source, Staged};
use crate::events;
use crate::keys;
use crate::limits::{APPENDED, LISTS, SEALING, SESSIONS, STAGED};
use crate::login::Logins;
use crate::records::{Read, encode};
use crate::writer::Writer;
use libmox_ipc::{Answer, Service};
use libmox_service::config::InitialMailboxes;
use libmox_store::{
    AccountState, AppendMessage, Body, BodyId, Fault, INLINE_OCTETS, LISTED_OCTETS, PREFIX_OCTETS, Reloaded,
    Role, SessionId, StoreContract,
};
use libmox_types::{AccountId, Address, ByteCount, MailboxName, Timestamp};
use std::collections::HashMap;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use tokio::sync::watch;

/// Where time comes from.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// See the module header.
pub struct Store {
    /// For what outlives a request and must not keep the store.
    pub(crate) me: Weak<Self>,
    pub(crate) engine: Engine,
    pub(crate) accounts: Accounts,
    pub(crate) grants: crate::grants::Grants,
    pub(crate) logins: Logins,
    pub(crate) attempts: crate::attempts::Attempts,
    pub(crate) decisions: crate::decisions::Decisions,
    pub(crate) feedback: crate::feedback::Waiting,
    pub(crate) hot: crate::hot::HotUse,
    pub(crate) cache_lock: tokio::sync::Mutex<()>,
    pub(crate) queue_lock: tokio::sync::Mutex<()>,
    /// Counts what makes a look at the queue worthwhile.
    pub(crate) queue_changed: watch::Sender<u64>,
    pub(crate) connections: AtomicU32,
    /// Requests being answered, streams not counted.
    pub(crate) at_hand: watch::Sender<usize>,
    /// Staged bodies being synced at one time: each takes a thread.
    sealing: tokio::sync::Semaphore,
    pub(crate) listing: tokio::sync::Semaphore,
    /// Rejects of an account in the minute that began then.
    pub(crate) reject_rates: Mutex<HashMap<AccountId, (tokio::time::Instant, u32)>>,
    pub(crate) rates: crate::rates::Rates,
    directory: RwLock<Arc<Directory>>,
    reloading: tokio::sync::Mutex<()>,
    sessions: Mutex<HashMap<SessionId, Weak<Session>>>,
    next_session: AtomicU64,
    clock: Clock,
    /// Parses what is stored; the store itself never does.
    pub(crate) parser: std::sync::OnceLock<libmox_verify::Verifier>,
}

/// A person signed in on a connection.
pub struct Session {
    pub(crate) id: SessionId,
    pub(crate) account: AccountId,
    pub(crate) name: String,
    pub(crate) login: Address,
    /// A program on this machine: it may only send, and only as this.
    pub(crate) local: bool,
    /// What it was opened with.
    pub(crate) by: Credential,
    pub(crate) ended: watch::Sender<bool>,
}

/// What a person proved themselves with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// The password of the account, or the uid of a program on this machine.
    Account,
    /// The app password of this name.
    App(String),
    /// The TLS key of this fingerprint.
    Key(String),
}

/// What one connection holds; all of it goes with it.
pub struct Peer {
    pub(crate) role: Role,
    pub(crate) store: Arc<Store>,
    sessions: Mutex<HashMap<SessionId, Arc<Session>>>,
    staged: Mutex<HashMap<BodyId, Arc<Staged>>>,
    next_body: AtomicU64,
}

/// A body ready to become part of a change.
pub struct Given {
    pub(crate) size: u64,
    content: Content,
}

enum Content {
    Inline(Arc<[u8]>),
    Sealed(Sealed),
}

impl Given {
    /// What is at hand.
    pub(crate) fn inline(bytes: Vec<u8>) -> Self {
        Self { size: bytes.len() as u64, content: Content::Inline(bytes.into()) }
    }

    /// For the change.
    pub fn source(&self) -> Source {
        match &self.content {
            Content::Inline(bytes) => Source::Inline(bytes.clone()),
            Content::Sealed(sealed) => Source::Sealed(sealed.clone()),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every critical section here leaves whole values.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a store does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The engine.
    #[error(transparent)]
    Open(#[from] crate::engine::OpenError),
    /// Written by another version.
    #[error("the store has format {0}, this program knows {known}", known = keys::FORMAT)]
    Format(u32),
    /// The first records cannot be written or read.
    #[error("the store cannot be used")]
    Records(#[from] Fault),
    /// There is no memory for it.
    #[error("no file for the numbers of changes")]
    Numbers(#[source] std::io::Error),
}

impl Store {
    /// Opens the data directory and takes the configuration. Blocks while the engine replays.
    pub async fn start(
        options: Options,
        directory: Directory,
        clock: Clock,
    ) -> Result<Arc<Self>, StartError> {
        let engine = tokio::task::spawn_blocking(|| Engine::open(options))
            .await
            .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
        events::opened(engine.report());
        let salt = Self::prepare(&engine).await?;
        let (attempts, inbox) = crate::attempts::Attempts::new();
        let (decisions, to_write) = crate::decisions::Decisions::new();
        let (feedback, feedback_inbox) = crate::feedback::Waiting::new();
        let accounts = Accounts::new().map_err(StartError::Numbers)?;
        let store = Arc::new_cyclic(|me| Self {
            me: me.clone(),
            engine,
            accounts,
            logins: Logins::new(salt),
            grants: crate::grants::Grants::default(),
            attempts,
            decisions,
            feedback,
            hot: crate::hot::HotUse::default(),
            cache_lock: tokio::sync::Mutex::default(),
            queue_lock: tokio::sync::Mutex::default(),
            queue_changed: watch::Sender::new(0),
            connections: AtomicU32::new(0),
            at_hand: watch::Sender::new(0),
            sealing: tokio::sync::Semaphore::new(SEALING),
            listing: tokio::sync::Semaphore::new(LISTS),
            reject_rates: Mutex::default(),
            rates: crate::rates::Rates::default(),
            directory: RwLock::new(Arc::new(directory.clone())),
            reloading: tokio::sync::Mutex::default(),
            sessions: Mutex::default(),
            parser: std::sync::OnceLock::new(),
            // Ids of an earlier run of the store must not fit.
            next_session: AtomicU64::new(libmox_service::clock::random_u64() >> 16),
            clock,
        });
        store.reload(directory).await?;
        store.resume().await?;
        libmox_service::spawn(crate::upgrade::in_background(Arc::downgrade(&store)));
        libmox_service::spawn(crate::attempts::write(Arc::downgrade(&store), inbox));
        libmox_service::spawn(crate::decisions::write(Arc::downgrade(&store), to_write));
        libmox_service::spawn(crate::feedback::write(Arc::downgrade(&store), feedback_inbox));
        Ok(store)
    }

    /// Writes the first records of a new store; checks those of an old one.
    async fn prepare(engine: &Engine) -> Result<Vec<u8>, StartError> {
        let version: Option<u32> = engine.record(keys::VERSION)?;
        match version {
            Some(keys::FORMAT) => {}
            Some(keys::OLDEST_FORMAT..keys::FORMAT) => {
                // Records carry their own versions; what they lack is made by the upgrade of each account.
                let mut tx = engine.begin().await.map_err(Fault::from)?;
                tx.change().put(keys::VERSION, encode(&keys::FORMAT));
                tx.commit().await.map_err(Fault::from)?;
            }
            Some(other) => return Err(StartError::Format(other)),
            None => {
                let salt: Vec<u8> =
                    (0..4).flat_map(|_| libmox_service::clock::random_u64().to_le_bytes()).collect();
                let mut tx = engine.begin().await.map_err(Fault::from)?;
                tx.change().put(keys::VERSION, encode(&keys::FORMAT));
                tx.change().put(keys::SALT, encode(&salt));
                tx.commit().await.map_err(Fault::from)?;
            }
        }
        Ok(engine.record(keys::SALT)?.ok_or(Fault::Internal)?)
    }

    /// Finishes what an earlier run began: removals of accounts, erasing of messages.
    async fn resume(&self) -> Result<(), Fault> {
        for key in self.engine.keys_below(keys::REMOVALS)? {
            let id = key.get(1..5).and_then(|id| id.try_into().ok()).map(u32::from_be_bytes);
            self.remove_rest(AccountId(id.ok_or(Fault::Internal)?)).await?;
        }
        let directory = self.directory();
        for id in directory.ids.values() {
            self.accounts.live(*id).resume(&self.engine)?;
        }
        Ok(())
    }

    /// Returns when no request is being answered.
    pub(crate) async fn at_rest(&self) {
        // The sender lives in `self`.
        let _ = self.at_hand.subscribe().wait_for(|count| *count == 0).await;
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// The configuration in force.
    pub fn directory(&self) -> Arc<Directory> {
        self.directory.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Erases what no session refers to any more. Called now and then.
    pub async fn sweep(&self, all: bool) {
        for live in self.accounts.all() {
            if live.has_expunged()
                && let Err(fault) = live.sweep(&self.engine, all).await
            {
                tracing::warn!(account = live.id.0, %fault, "expunged messages stay for now");
            }
        }
    }

    /// Takes a configuration: new accounts are made, sessions of those that are gone or switched off end.
    pub async fn reload(&self, mut directory: Directory) -> Result<Reloaded, Fault> {
        let _one_at_a_time = self.reloading.lock().await;
        let names: Vec<String> = directory.accounts.keys().cloned().collect();
        for name in names {
            let id = match self.engine.record(&keys::account_name(&name))? {
                Some(id) => id,
                None => self.create_account(&name, &directory.settings.initial).await?,
            };
            directory.ids.insert(name, id);
        }
        for (name, id) in &directory.ids {
            self.note_name(name, *id);
        }
        let generation = directory.generation;
        let directory = Arc::new(directory);
        *self.directory.write().unwrap_or_else(PoisonError::into_inner) = directory.clone();
        for session in self.all_sessions() {
            match directory.ids.get(&session.name) {
                Some(_) if session.local => {}
                None => self.end_session(&session, "the account was removed"),
                Some(_) => {
                    if let Some(why) = directory.login_disabled(&session.name) {
                        self.end_session(&session, why);
                    }
                }
            }
        }
        Ok(Reloaded { generation, mistakes: Vec::new() })
    }

    /// Puts the account's name beside its files, for the day when nothing but files is left.
    fn note_name(&self, name: &str, id: AccountId) {
        let folder = self.engine.files().owner_folder(u64::from(id.0));
        let path = folder.join("name");
        if std::fs::read_to_string(&path).is_ok_and(|noted| noted.trim() == name) {
            return;
        }
        let note = || {
            std::fs::create_dir_all(&folder)?;
            std::fs::write(&path, format!("{name}\n"))
        };
        if let Err(error) = note() {
            tracing::debug!(account = name, %error, "the name is not noted beside the files");
        }
    }

    /// Rows ST-18, ST-20.
    async fn create_account(&self, name: &str, initial: &InitialMailboxes) -> Result<AccountId, Fault> {
        let mut tx = self.engine.begin().await?;
        let id = tx.record(keys::ACCOUNTS)?.unwrap_or(AccountId(1));
        let next = AccountId(id.0.checked_add(1).ok_or(Fault::Limit("accounts".into()))?);
        tx.change().put(keys::ACCOUNTS, encode(&next));
        let now = self.now();
        let mut writer = Writer::create(&mut tx, id, name, now);
        writer.create_mailbox(&MailboxName::inbox())?;
        for mailbox in &initial.regular {
            if writer.find(mailbox)?.is_none() {
                writer.create_mailbox(mailbox)?;
            }
        }
        for (one, mailbox) in &initial.special {
            let mailbox = match writer.find(mailbox)? {
                Some(mailbox) => mailbox,
                None => writer.create_mailbox(mailbox)?,
            };
            let record = writer.change_mailbox(mailbox)?;
            record.special_use = record.special_use.with(*one);
        }
        writer.finish();
        tx.commit().await?;
        tracing::info!(account = name, id = id.0, "account made");
        Ok(id)
    }

    /// Row ST-37: what a removed account leaves must never surface again.
    pub async fn remove_account(&self, name: &str) -> Result<(), Fault> {
        let _one_at_a_time = self.reloading.lock().await;
        if self.directory().accounts.contains_key(name) {
            return Err(Fault::Cannot("the account is still configured".into()));
        }
        let id: AccountId = self.engine.record(&keys::account_name(name))?.ok_or(Fault::NoAccount)?;
        let live = self.accounts.live(id);
        live.hub.end("the account was removed");
        live.hot.clear();
        live.words.put(None);
        let mut tx = self.engine.begin().await?;
        let lock = live.lock.lock().await;
        tx.change().delete(keys::account_name(name));
        tx.change().delete(keys::account_record(id));
        tx.change().delete(keys::secrets(id));
        let prefix = keys::tls_keys(id);
        for key in tx.keys_below(&prefix)? {
            let fingerprint =
                String::from_utf8_lossy(key.get(prefix.len()..).unwrap_or_default()).into_owned();
            tx.change().delete(keys::tls_key_owner(&fingerprint));
        }
        tx.change().put(keys::removal(id), encode(&()));
        let ticket = tx.submit()?;
        drop(lock);
        ticket.committed().await?;
        self.remove_rest(id).await
    }

    /// The account's record is gone, so nobody else writes below its prefix.
    async fn remove_rest(&self, id: AccountId) -> Result<(), Fault> {
        loop {
            let mut some = Vec::new();
            for all in keys::all_of_account(id) {
                keys::below(&all, |range| {
                    self.engine.visit(range, |key, _| {
                        some.push(key.to_vec());
                        if some.len() < 20_000 {
                            std::ops::ControlFlow::Continue(())
                        } else {
                            std::ops::ControlFlow::Break(())
                        }
                    })
                })?;
            }
            let mut tx = self.engine.begin().await?;
            let last = some.is_empty();
            for key in some {
                tx.change().delete(key);
            }
            if last {
                tx.change().delete(keys::removal(id));
                tx.change().erase_owner(u64::from(id.0));
            }
            tx.commit().await?;
            if last {
                return Ok(());
            }
        }
    }

    /// All configured accounts.
    pub fn account_list(&self) -> Result<Vec<AccountState>, Fault> {
        let directory = self.directory();
        let mut all = Vec::new();
        for (name, configured) in &directory.accounts {
            let Some(id) = directory.ids.get(name) else { continue };
            let Some(record) = crate::accounts::exists(&self.engine, *id)? else { continue };
            all.push(AccountState {
                id: *id,
                name: name.clone(),
                addresses: configured.addresses.clone(),
                login_disabled: configured.login_disabled.clone(),
                has_password: self.engine.get(&keys::secrets(*id))?.is_some(),
                used: record.used,
                quota: directory.quota(name).map(ByteCount),
                created: record.created,
            });
        }
        Ok(all)
    }

    /// Opens a session for somebody who proved who they are.
    pub fn open_session(
        &self,
        peer: &Peer,
        account: AccountId,
        name: &str,
        login: Address,
        local: bool,
        by: Credential,
    ) -> Result<Arc<Session>, Fault> {
        let id = SessionId(self.next_session.fetch_add(1, Ordering::Relaxed));
        let session = Arc::new(Session {
            id,
            account,
            name: name.to_owned(),
            login,
            local,
            by,
            ended: watch::Sender::new(false),
        });
        let mut sessions = lock(&peer.sessions);
        if sessions.len() >= SESSIONS {
            return Err(Fault::Limit("sessions".into()));
        }
        sessions.insert(id, session.clone());
        lock(&self.sessions).insert(id, Arc::downgrade(&session));
        Ok(session)
    }

    fn all_sessions(&self) -> Vec<Arc<Session>> {
        lock(&self.sessions).values().filter_map(Weak::upgrade).collect()
    }

    /// Sessions signed in now.
    pub fn session_count(&self) -> u32 {
        u32::try_from(lock(&self.sessions).len()).unwrap_or(u32::MAX)
    }

    /// Ends what was opened with something that was taken away.
    pub(crate) fn end_sessions_of(&self, account: AccountId, by: &Credential) {
        for session in self.all_sessions() {
            if session.account == account && session.by == *by {
                self.end_session(&session, "the credential was removed");
            }
        }
    }

    fn end_session(&self, session: &Session, why: &str) {
        self.accounts.live(session.account).hub.end_one(session.id, why);
        session.ended.send_replace(true);
        lock(&self.sessions).remove(&session.id);
    }

    /// Changes an account on behalf of a session. `compute` sees everything in flight and must not wait.
    pub async fn change<T>(
        &self,
        session: &Session,
        compute: impl FnOnce(&mut Writer<'_>) -> Result<T, Fault> + Send,
    ) -> Result<(T, u64), Fault> {
        self.change_of(session.account, &session.name, Some(session.id), compute).await
    }

    /// The same, in the account of that name, by a session or by the administrator.
    pub async fn change_of<T>(
        &self,
        account: AccountId,
        name: &str,
        by: Option<SessionId>,
        compute: impl FnOnce(&mut Writer<'_>) -> Result<T, Fault> + Send,
    ) -> Result<(T, u64), Fault> {
        let live: Arc<Live> = self.accounts.live(account);
        let mut tx = self.engine.begin().await?;
        let lock = live.lock.lock().await;
        let habits = self.directory().habits(name);
        let mut writer = Writer::open(&mut tx, account)?.with_habits(habits);
        let value = compute(&mut writer)?;
        if writer.is_unchanged() {
            return Ok((value, 0));
        }
        let happened = writer.finish();
        let number = publish(&mut tx, &live, by, happened);
        let ticket = tx.submit()?;
        drop(lock);
        ticket.committed().await?;
        Ok((value, told(&number)))
    }

    /// Whether `more` octets would be too many for an account.
    pub fn over_quota(&self, name: &str, used: ByteCount, more: u64) -> bool {
        self.directory().quota(name).is_some_and(|quota| used.0.saturating_add(more) > quota)
    }
}

impl Peer {
    /// A new connection.
    pub fn new(store: Arc<Store>, role: Role) -> Self {
        store.connections.fetch_add(1, Ordering::Relaxed);
        Self {
            role,
            store,
            sessions: Mutex::default(),
            staged: Mutex::default(),
            // A client that missed the end of its old connection must not name a body of this one.
            next_body: AtomicU64::new(libmox_service::clock::random_u64() >> 16),
        }
    }

    /// A session of this connection.
    pub fn session(&self, id: SessionId) -> Result<Arc<Session>, Fault> {
        let session = lock(&self.sessions).get(&id).cloned().ok_or(Fault::NoSession)?;
        if *session.ended.borrow() { Err(Fault::NoSession) } else { Ok(session) }
    }

    /// Ends a session.
    pub fn sign_out(&self, id: SessionId) -> Result<(), Fault> {
        let session = lock(&self.sessions).remove(&id).ok_or(Fault::NoSession)?;
        session.ended.send_replace(true);
        lock(&self.store.sessions).remove(&id);
        Ok(())
    }

    /// A descriptor to write a body to.
    pub fn stage(&self) -> Result<(BodyId, std::os::fd::OwnedFd), Fault> {
        let mut staged = lock(&self.staged);
        if staged.len() >= STAGED {
            return Err(Fault::Limit("staged bodies".into()));
        }
        let file = self.store.engine.files().stage().map_err(unavailable)?;
        let theirs = file.file().try_clone().map_err(unavailable)?;
        let id = BodyId(self.next_body.fetch_add(1, Ordering::Relaxed));
        staged.insert(id, Arc::new(file));
        Ok((id, theirs.into()))
    }

    /// Gives a body back.
    pub fn unstage(&self, id: BodyId) -> Result<(), Fault> {
        lock(&self.staged).remove(&id).map(drop).ok_or(Fault::NoBody)
    }

    /// Gets a body ready. A small one is read, so that nobody can change it any more; a large one is synced.
    pub async fn body(&self, body: &Body) -> Result<Given, Fault> {
        match body {
            Body::Inline(bytes) if bytes.len() > INLINE_OCTETS => {
                Err(Fault::Invalid("inline body too large".into()))
            }
            Body::Inline(bytes) => {
                Ok(Given { size: bytes.len() as u64, content: Content::Inline(Arc::from(bytes.as_slice())) })
            }
            Body::Staged { body, size } => {
                let staged = lock(&self.staged).get(body).cloned().ok_or(Fault::NoBody)?;
                let size = size.0;
                let _one_of_few = self.store.sealing.acquire().await.map_err(|_| Fault::Internal)?;
                let work = tokio::task::spawn_blocking(move || Self::take_staged(staged, size));
                work.await.map_err(|_| Fault::Internal)?
            }
        }
    }

    fn take_staged(staged: Arc<Staged>, size: u64) -> Result<Given, Fault> {
        if size <= INLINE_OCTETS as u64 {
            return Ok(Given::inline(read_staged(&staged, size)?));
        }
        has_size(&staged, size)?;
        let sealed = staged.seal().map_err(unavailable)?;
        if sealed.size() != size {
            return Err(Fault::NoBody);
        }
        Ok(Given { size, content: Content::Sealed(sealed) })
    }

    /// The body became part of a change.
    pub fn used(&self, body: &Body) {
        if let Body::Staged { body, .. } = body {
            lock(&self.staged).remove(body);
        }
    }
}

/// Messages that are yet to be read: [`libmox_store::AppendListed`].
pub(crate) enum List {
    Inline(Vec<u8>),
    Staged { staged: Arc<Staged>, size: u64 },
}

impl Peer {
    /// Takes a list. What was staged for it is gone with it.
    pub(crate) fn list(&self, list: Body) -> Result<List, Fault> {
        match list {
            Body::Inline(octets) => Ok(List::Inline(octets)),
            Body::Staged { body, size } => {
                let staged = lock(&self.staged).remove(&body).ok_or(Fault::NoBody)?;
                Ok(List::Staged { staged, size: size.0 })
            }
        }
    }
}

impl List {
    pub(crate) async fn messages(self) -> Result<Vec<AppendMessage>, Fault> {
        let read = tokio::task::spawn_blocking(move || {
            let octets = self.octets()?;
            AppendMessage::listed(&octets, APPENDED)
                .ok_or_else(|| Fault::Invalid("not a list of messages".into()))
        });
        read.await.map_err(|_| Fault::Internal)?
    }

    fn octets(self) -> Result<Vec<u8>, Fault> {
        match self {
            Self::Inline(octets) => Ok(octets),
            Self::Staged { size, .. } if size > LISTED_OCTETS => {
                Err(Fault::Limit("octets of a list of messages".into()))
            }
            Self::Staged { staged, size } => read_staged(&staged, size),
        }
    }
}

fn unavailable(error: impl std::fmt::Display) -> Fault {
    Fault::Unavailable(error.to_string())
}

/// That as many octets were staged as was said.
fn has_size(staged: &Staged, size: u64) -> Result<(), Fault> {
    if staged.file().metadata().map_err(unavailable)?.len() == size { Ok(()) } else { Err(Fault::NoBody) }
}

/// All octets of what was staged.
fn read_staged(staged: &Staged, size: u64) -> Result<Vec<u8>, Fault> {
    has_size(staged, size)?;
    let mut octets = vec![0; usize::try_from(size).map_err(|_| Fault::Internal)?];
    staged.file().read_exact_at(&mut octets, 0).map_err(unavailable)?;
    Ok(octets)
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.store.connections.fetch_sub(1, Ordering::Relaxed);
        let mut all = lock(&self.store.sessions);
        for (id, session) in lock(&self.sessions).drain() {
            session.ended.send_replace(true);
            all.remove(&id);
        }
    }
}

/// Limits of what rides in a request.
pub fn check_prefix(prefix: &[u8]) -> Result<(), Fault> {
    if prefix.len() > PREFIX_OCTETS { Err(Fault::Invalid("prefix too large".into())) } else { Ok(()) }
}

/// The store as the server side of its contract.
pub struct Front;

impl Service for Front {
    type Contract = StoreContract;
    type Peer = Peer;

    fn may(&self, peer: &Peer, request: &libmox_store::Request) -> Result<(), libmox_ipc::Refusal> {
        if peer.role.may(request) { Ok(()) } else { Err(libmox_ipc::Refusal(request.name())) }
    }

    fn call(
        self: Arc<Self>,
        peer: Arc<Peer>,
        request: libmox_store::Request,
        descriptors: Vec<std::os::fd::OwnedFd>,
        answer: Answer<StoreContract>,
    ) -> impl Future<Output = ()> + Send {
        crate::dispatch::dispatch(peer, request, descriptors, answer)
    }
}
