//! The engine: ordered keys and message files, changed atomically and durably. Knows nothing of mail.
//!
//! The truth is the journal (with the last snapshot) and the message files; the index is a cache of it.
//!
//! ```text
//! writer (holds its account's lock)    committer thread                       keeper thread
//! begin ── get/visit ── put ── submit ──► group ── journal + 1 sync ── files   checkpoint, snapshot,
//!          (index + pending)                └─ index ── events ── answers      old segments, final sync
//! ```
//!
//! Readers see what is applied. A writer sees that plus everything in flight (`Tx`), so several changes of one
//! account can be part of one group. The order of `submit` is the order of commit, of events and of replay.
//!
//! If it dies halfway: every change that was answered is there at the next start; one that was not may be.

mod backup;
mod block;
mod blocks;
mod change;
mod committer;
mod files;
mod index;
mod journal;
mod keeper;
pub mod limits;
mod medium;
mod open;
mod pending;
mod recent;
mod snapshot;
mod state;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::{Bound, ControlFlow};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::time::Instant;

pub use backup::{Done, MANIFEST, Progress, Target};
pub use change::{Change, FileOp, Source, put_number};
pub use files::{FileName, Files, Sealed, Staged};
pub use index::{IndexError, Value};
pub use limits::Options;
pub use medium::{Disk, Medium, Unsynced};
pub use open::{OpenError, Rebuilt, Report};

use committer::Committer;
use index::Index;
use keeper::{Keeper, Wish};
use pending::{Queue, Waiting};

/// Why a change was not acknowledged. All but `TooLarge` are temporary.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// Too little free space. Refused before, nothing was written; refused by the disk, the outcome is unknown.
    #[error("the disk is full")]
    Full,
    /// Writing failed; whether the change survives a restart is unknown.
    #[error("{0}")]
    Write(String),
    /// A change that this one was computed on failed.
    #[error("an earlier change failed")]
    Overtaken,
    /// The change is in the journal, but cannot be shown yet.
    #[error("the change is kept but cannot be applied yet")]
    Unapplied,
    /// Beyond a limit of the engine.
    #[error("the change is too large")]
    TooLarge,
    /// The engine is closing.
    #[error("the store is closing")]
    Closed,
    /// The index cannot be read.
    #[error(transparent)]
    Index(#[from] ReadError),
}

/// The index cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ReadError(String);

impl From<IndexError> for ReadError {
    fn from(error: IndexError) -> Self {
        Self(error.to_string())
    }
}

/// How the engine is; `None` everywhere is well.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// Changes are refused because of this.
    pub commit: Option<String>,
    /// Mail is refused because of this; what frees space goes on.
    pub full: Option<String>,
    /// Checkpoints fail because of this; changes go on.
    pub keep: Option<String>,
    /// The index failed and stays so until the store is opened again.
    pub reopen: bool,
}

impl Health {
    /// The worst that is wrong.
    pub fn problem(&self) -> Option<&str> {
        self.commit.as_deref().or(self.full.as_deref()).or(self.keep.as_deref())
    }
}

/// An open store.
pub struct Engine {
    inner: Arc<Inner>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    report: Report,
}

struct Inner {
    options: Options,
    index: Index,
    files: Files,
    queue: Mutex<Queue>,
    wake: Condvar,
    permits: Arc<Semaphore>,
    /// Bytes of mail that may be added before the free space is looked at again, and when it was looked at.
    room: Mutex<(u64, Instant)>,
    /// Journal position up to which readers see everything.
    applied: AtomicU64,
    /// Position at which the keeper was last woken.
    woken: AtomicU64,
    wishes: Sender<Wish>,
    health: watch::Sender<Health>,
    /// Sequence number of the last change that was applied or failed.
    done: watch::Sender<u64>,
    progress: Progress,
    _lock: File,
}

impl Engine {
    /// Opens the store in `options.dir`, replaying and rebuilding what is needed. Blocks.
    pub fn open(options: Options) -> Result<Self, OpenError> {
        let opened = open::open(&options)?;
        let end = opened.journal.end();
        let (wishes, inbox) = channel();
        let inner = Arc::new(Inner {
            options,
            index: opened.index,
            files: opened.files,
            queue: Mutex::default(),
            wake: Condvar::new(),
            permits: Arc::new(Semaphore::new(limits::CHANGES_IN_FLIGHT)),
            room: Mutex::new((0, Instant::now())),
            applied: AtomicU64::new(end),
            woken: AtomicU64::new(end),
            wishes,
            health: watch::Sender::new(Health::default()),
            done: watch::Sender::new(0),
            progress: Progress::default(),
            _lock: opened.lock,
        });
        let committer = Committer::new(inner.clone(), opened.journal);
        let keeper = Keeper {
            inner: inner.clone(),
            last: opened.state.files,
            state: opened.state,
            snapshot: opened.snapshot,
            last_at: Instant::now(),
            spare_at: end,
        };
        let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
            let thread = std::thread::Builder::new().name(name.into()).spawn(work);
            thread.map_err(|source| OpenError::Io { path: inner.options.dir.clone(), source })
        };
        let threads = vec![
            spawn("commit", Box::new(move || committer.run()))?,
            spawn("keep", Box::new(move || keeper.run(&inbox)))?,
        ];
        Ok(Self { inner: inner.clone(), threads: Mutex::new(threads), report: opened.report })
    }

    /// What opening found.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// The message files.
    pub fn files(&self) -> &Files {
        &self.inner.files
    }

    /// Reads an applied key.
    pub fn get(&self, key: &[u8]) -> Result<Option<Value>, ReadError> {
        Ok(self.inner.index.get(key)?)
    }

    /// Visits applied keys in order until `visit` breaks.
    pub fn visit(
        &self,
        range: (Bound<&[u8]>, Bound<&[u8]>),
        visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        Ok(self.inner.index.visit(range, visit)?)
    }

    /// Begins a change. Waits while too many are in flight; take it before the account's lock.
    pub async fn begin(&self) -> Result<Tx, CommitError> {
        let permit = self.inner.permits.clone().acquire_owned().await.map_err(|_| CommitError::Closed)?;
        Ok(self.tx(Some(permit)))
    }

    /// Begins a change without waiting for others: for work that has the store to itself.
    pub fn begin_now(&self) -> Tx {
        self.tx(None)
    }

    fn tx(&self, permit: Option<OwnedSemaphorePermit>) -> Tx {
        let epoch = self.inner.queue().epoch;
        Tx { inner: self.inner.clone(), change: Change::new(), epoch, permit }
    }

    /// Returns when everything submitted before is applied or has failed.
    pub async fn settled(&self) {
        let target = self.inner.queue().sequence;
        let mut done = self.inner.done.subscribe();
        // Fails only when the engine is gone, and with it whatever was to be waited for.
        let _ = done.wait_for(|done| *done >= target).await;
    }

    /// Journal position up to which readers see everything.
    pub fn position(&self) -> u64 {
        self.inner.applied.load(Ordering::Acquire)
    }

    /// How the engine is, now and in future.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.inner.health.subscribe()
    }

    /// Syncs and sweeps the message files now.
    pub async fn checkpoint(&self) -> Result<(), String> {
        self.ask(Wish::Checkpoint).await
    }

    /// Writes a snapshot now and drops the journal before it.
    pub async fn snapshot(&self) -> Result<(), String> {
        self.ask(Wish::Snapshot).await
    }

    /// Copies the folder as it is now; everybody else goes on.
    pub async fn backup(&self, target: Target) -> Result<Done, String> {
        self.ask(|answer| Wish::Backup(target, answer)).await
    }

    /// How far a backup is.
    pub fn backup_progress(&self) -> &Progress {
        &self.inner.progress
    }

    async fn ask<T>(
        &self,
        wish: impl FnOnce(oneshot::Sender<Result<T, String>>) -> Wish,
    ) -> Result<T, String> {
        let (answer, answered) = oneshot::channel();
        let closed = || "the store is closing".to_owned();
        self.inner.wishes.send(wish(answer)).map_err(|_| closed())?;
        answered.await.map_err(|_| closed())?
    }

    /// Commits what waits, syncs everything and marks the folder as closed. Blocks.
    pub fn close(&self) -> Result<(), String> {
        self.stop_committer();
        let (answer, answered) = oneshot::channel();
        let _ = self.inner.wishes.send(Wish::Close(answer));
        let result = answered.blocking_recv().unwrap_or_else(|_| Err("the keeper is gone".into()));
        self.join();
        result
    }

    fn stop_committer(&self) {
        self.inner.permits.close();
        self.inner.queue().closing = true;
        self.inner.wake.notify_all();
        let mut threads = self.threads.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !threads.is_empty() {
            let _ = threads.remove(0).join();
        }
    }

    fn join(&self) {
        let rest: Vec<_> =
            self.threads.lock().unwrap_or_else(std::sync::PoisonError::into_inner).drain(..).collect();
        for thread in rest {
            let _ = thread.join();
        }
    }
}

impl Drop for Engine {
    /// Without [`Engine::close`] the folder is left as a kill leaves it, except that waiting changes are finished.
    fn drop(&mut self) {
        if self.threads.lock().is_ok_and(|threads| threads.is_empty()) {
            return;
        }
        self.stop_committer();
        let _ = self.inner.wishes.send(Wish::Abandon);
        self.join();
    }
}

impl Inner {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing that holds this lock can panic halfway through a change of it.
        self.queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn index_dir(&self) -> PathBuf {
        self.options.dir.join("index")
    }

    fn journal_dir(&self) -> PathBuf {
        self.options.dir.join("journal")
    }

    fn set_commit_health(&self, problem: Option<String>) {
        self.health.send_if_modified(|health| {
            let differs = health.commit != problem;
            health.commit = problem;
            differs
        });
    }

    fn set_index_failed(&self) {
        self.health.send_modify(|health| health.reopen = true);
    }

    fn set_keep_health(&self, problem: Option<String>) {
        self.health.send_if_modified(|health| {
            let differs = health.keep != problem;
            health.keep = problem;
            differs
        });
    }

    /// Says whether mail may be added, by the free space that is left.
    fn look_at_space(&self) -> io::Result<bool> {
        let (free, reserve) = (self.files.free_bytes()?, self.options.reserve_bytes);
        let problem =
            (free < reserve).then(|| format!("the disk is full: {free} bytes free, {reserve} are kept free"));
        let fits = problem.is_none();
        let spare = free.saturating_sub(reserve) / limits::ROOM_SHARE;
        *self.room() = (if fits { spare.min(limits::ROOM_BYTES) } else { 0 }, Instant::now());
        self.health.send_if_modified(|health| {
            let differs = health.full.is_some() != problem.is_some();
            if differs {
                health.full = problem;
            }
            differs
        });
        Ok(fits)
    }

    fn room(&self) -> MutexGuard<'_, (u64, Instant)> {
        self.room.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The same for so many bytes, without looking each time.
    fn has_space_for(&self, bytes: u64) -> io::Result<bool> {
        {
            let mut room = self.room();
            if room.0 >= bytes && room.1.elapsed() < limits::ROOM_FOR {
                room.0 -= bytes;
                return Ok(true);
            }
        }
        self.look_at_space()
    }

    /// After a failure only an attempt shows whether writing works again; it must not wait for somebody's mail.
    fn try_again(&self) {
        let mut queue = self.queue();
        if queue.closing || !queue.waiting.is_empty() {
            return;
        }
        queue.sequence += 1;
        let sequence = queue.sequence;
        let (answer, _) = oneshot::channel();
        queue.waiting.push_back(Waiting { change: Change::new(), sequence, answer, _permit: None });
        drop(queue);
        self.wake.notify_one();
    }

    fn commit_is_degraded(&self) -> bool {
        self.health.borrow().commit.is_some()
    }

    /// Tells the keeper now and then that there is something to do.
    fn keeper_wake(&self, applied: u64) {
        let step = self.options.checkpoint_bytes.min(self.options.segment_bytes / 2);
        if applied - self.woken.load(Ordering::Relaxed) >= step {
            self.woken.store(applied, Ordering::Relaxed);
            let _ = self.wishes.send(Wish::Due);
        }
    }
}

/// A change being computed: reads see applied, pending and its own writes.
pub struct Tx {
    inner: Arc<Inner>,
    change: Change,
    epoch: u64,
    permit: Option<OwnedSemaphorePermit>,
}

/// A submitted change. Dropping it does not take the change back.
pub struct Ticket {
    answer: oneshot::Receiver<Result<u64, CommitError>>,
}

impl Ticket {
    /// The journal position, once the change is on stable storage and visible.
    pub async fn committed(self) -> Result<u64, CommitError> {
        self.answer.await.unwrap_or(Err(CommitError::Closed))
    }

    /// The same, for a thread of its own.
    pub fn committed_blocking(self) -> Result<u64, CommitError> {
        self.answer.blocking_recv().unwrap_or(Err(CommitError::Closed))
    }
}

impl Tx {
    /// What is to be changed.
    pub fn change(&mut self) -> &mut Change {
        &mut self.change
    }

    /// Reads a key as it will be once everything in flight, and this change, is applied.
    pub fn get(&self, key: &[u8]) -> Result<Option<Value>, ReadError> {
        if let Some(own) = self.change.index.get(key) {
            return Ok(own.clone());
        }
        if let Some(pending) = self.inner.queue().pending.get(key) {
            return Ok(pending);
        }
        Ok(self.inner.index.get(key)?)
    }

    /// Visits keys in order, as [`Tx::get`] sees them, until `visit` breaks.
    pub fn visit(
        &self,
        range: (Bound<&[u8]>, Bound<&[u8]>),
        mut visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        self.visit_each(range, &mut visit)
    }

    fn visit_each(
        &self,
        range: (Bound<&[u8]>, Bound<&[u8]>),
        visit: &mut index::Visitor<'_>,
    ) -> Result<(), ReadError> {
        if is_empty(range) {
            return Ok(());
        }
        // Pending first, index second: what is applied in between is then seen twice, never missed.
        let mut over: BTreeMap<Vec<u8>, Option<Value>> = {
            let queue = self.inner.queue();
            queue.pending.range(range).map(|(key, value)| (key.clone(), value.clone())).collect()
        };
        for (key, value) in self.change.index.range::<[u8], _>(range) {
            over.insert(key.clone(), value.clone());
        }
        Ok(recent::merged(over, |each| self.inner.index.visit_each(range, each), visit)?)
    }

    /// Puts the change in line. Its place is fixed when this returns; release the account's lock then.
    pub fn submit(self) -> Result<Ticket, CommitError> {
        if !self.change.within_limits() {
            return Err(CommitError::TooLarge);
        }
        if self.change.grows() {
            let bytes = u64::try_from(self.change.weight()).unwrap_or(u64::MAX);
            let fits =
                self.inner.has_space_for(bytes).map_err(|error| CommitError::Write(error.to_string()))?;
            if !fits {
                return Err(CommitError::Full);
            }
        }
        let (answer, answered) = oneshot::channel();
        let mut queue = self.inner.queue();
        if queue.closing {
            return Err(CommitError::Closed);
        }
        if queue.epoch != self.epoch {
            return Err(CommitError::Overtaken);
        }
        queue.sequence += 1;
        let sequence = queue.sequence;
        queue.pending.add(sequence, &self.change);
        queue.waiting.push_back(Waiting { change: self.change, sequence, answer, _permit: self.permit });
        drop(queue);
        self.inner.wake.notify_one();
        Ok(Ticket { answer: answered })
    }

    /// Submits and waits.
    pub async fn commit(self) -> Result<u64, CommitError> {
        self.submit()?.committed().await
    }
}

fn is_empty((from, to): (Bound<&[u8]>, Bound<&[u8]>)) -> bool {
    match (from, to) {
        (Bound::Included(a), Bound::Included(b)) => a > b,
        (Bound::Included(a) | Bound::Excluded(a), Bound::Included(b) | Bound::Excluded(b)) => a >= b,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
