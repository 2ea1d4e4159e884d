//! The thread that keeps the folder in order: checkpoints, snapshots, old segments, the final sync.
//!
//! A checkpoint at position C: sync all files created up to C, hand the index to the kernel, remove what was
//! erased up to C, and record the position of the checkpoint *before* it as the one file replay begins at. That
//! way the removals need no sync of their own: until the next checkpoint's sync they are done again if need be.
//!
//! Fails softly: a checkpoint that fails is tried again at the next tick and the journal is kept meanwhile.

use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Inner;
use super::index::IndexError;
use super::journal;
use super::snapshot::{self, Snapshot, SnapshotError};
use super::state::State;

/// What others ask of the keeper.
pub(super) enum Wish {
    /// Enough journal has been written.
    Due,
    /// A checkpoint now.
    Checkpoint(oneshot::Sender<Result<(), String>>),
    /// A snapshot now; the journal before it goes.
    Snapshot(oneshot::Sender<Result<(), String>>),
    /// A copy of everything.
    Backup(super::backup::Target, oneshot::Sender<Result<super::backup::Done, String>>),
    /// The committer has ended: sync everything and say so in the state.
    Close(oneshot::Sender<Result<(), String>>),
    /// End at once, as a kill would.
    Abandon,
}

pub(super) struct Keeper {
    pub inner: Arc<Inner>,
    pub state: State,
    pub snapshot: Option<Snapshot>,
    /// Position of the last checkpoint.
    pub last: u64,
    pub last_at: Instant,
    /// Position at which a spare segment was last seen to.
    pub spare_at: u64,
}

impl Keeper {
    pub fn run(mut self, wishes: &Receiver<Wish>) {
        loop {
            let tick = self.inner.options.checkpoint_every.min(Duration::from_secs(5));
            match wishes.recv_timeout(tick) {
                Ok(Wish::Due) | Err(RecvTimeoutError::Timeout) => {
                    self.look_after_health();
                    let applied = self.inner.applied.load(Ordering::Acquire);
                    self.prepare_spare(applied);
                    let grown = applied - self.last >= self.inner.options.checkpoint_bytes;
                    let old =
                        applied > self.last && self.last_at.elapsed() >= self.inner.options.checkpoint_every;
                    let failed = self.inner.health.borrow().keep.is_some();
                    if grown || old || failed {
                        let result = self.checkpoint().and_then(|()| self.snapshot_if_due());
                        self.inner.set_keep_health(result.err());
                    }
                }
                Ok(Wish::Checkpoint(answer)) => {
                    // Twice: the second one covers the removals of the first.
                    let result = self.checkpoint().and_then(|()| self.checkpoint());
                    let _ = answer.send(result);
                }
                Ok(Wish::Snapshot(answer)) => {
                    let _ = answer.send(self.snapshot());
                }
                Ok(Wish::Backup(target, answer)) => {
                    let _ = answer.send(self.backup(&target));
                }
                Ok(Wish::Close(answer)) => {
                    let _ = answer.send(self.close());
                    return;
                }
                Ok(Wish::Abandon) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// What is over must be seen to be over, even when nobody asks for anything.
    fn look_after_health(&self) {
        if let Err(error) = self.inner.look_at_space() {
            tracing::debug!(%error, "free space is unknown");
        }
        if self.inner.commit_is_degraded() {
            self.inner.try_again();
        }
    }

    fn checkpoint(&mut self) -> Result<(), String> {
        let at = self.inner.applied.load(Ordering::Acquire);
        self.inner.files.sync(at).map_err(named("sync of message files"))?;
        self.inner.index.flush().map_err(|error| self.index_failed(&error))?;
        self.inner.files.sweep(at).map_err(named("erasing message files"))?;
        if self.state.files != self.last {
            self.state.files = self.last;
            self.write_state()?;
        }
        self.last = at;
        self.last_at = Instant::now();
        Ok(())
    }

    fn snapshot_if_due(&mut self) -> Result<(), String> {
        let start = self.snapshot.as_ref().map_or(0, |snapshot| snapshot.start);
        let size = self.snapshot.as_ref().map_or(0, |snapshot| snapshot.size);
        if self.last - start >= self.inner.options.snapshot_bytes.max(size) {
            self.snapshot()?;
        }
        Ok(())
    }

    /// A store that is written to gets its next segment ready; one that only looks up is left alone.
    fn prepare_spare(&mut self, applied: u64) {
        let options = &self.inner.options;
        if applied - self.spare_at < options.segment_bytes / 2 {
            return;
        }
        self.spare_at = applied;
        if let Err(error) = journal::prepare_spare(&self.inner.journal_dir(), options.segment_bytes) {
            // The committer makes one itself, or says why it cannot.
            tracing::debug!(%error, "no spare journal segment");
        }
    }

    /// A snapshot counts only once all files up to its start are synced and swept for good.
    pub(super) fn snapshot(&mut self) -> Result<(), String> {
        let dir = self.inner.index_dir();
        let start = self.inner.applied.load(Ordering::Acquire);
        let finished = snapshot::write(&dir, &self.inner.index, start).map_err(|error| match error {
            SnapshotError::Index(error) => self.index_failed(&error),
            error => error.to_string(),
        })?;
        self.checkpoint()?;
        self.checkpoint()?;
        let snapshot = snapshot::publish(&dir, &finished, start).map_err(named("snapshot"))?;
        self.snapshot = Some(snapshot);
        let bytes = self.inner.options.segment_bytes;
        journal::drop_segments(&self.inner.journal_dir(), start.min(self.state.files), bytes)
            .map_err(|error| error.to_string())?;
        Ok(())
    }

    fn close(&mut self) -> Result<(), String> {
        self.checkpoint()?;
        // Covers the removals, so that nothing needs to be replayed.
        let at = self.inner.applied.load(Ordering::Acquire);
        self.inner.files.sync(at).map_err(named("sync of message files"))?;
        self.inner.index.sync().map_err(|error| self.index_failed(&error))?;
        self.state.files = at;
        self.state.clean = true;
        self.write_state()?;
        if let Err(error) = self.compact() {
            // It is only larger than it need be.
            tracing::warn!(%error, "the index could not be made smaller");
        }
        Ok(())
    }

    /// sled uses the space of old pages again but gives none back. While nobody waits, an index that has grown to
    /// much more than it holds is copied, and the copy takes its place.
    fn compact(&mut self) -> Result<(), String> {
        let (index, folder) = (&self.inner.index, self.inner.index_dir());
        let size = index.size().map_err(|error| error.to_string())?;
        if size <= index.content().saturating_mul(2).saturating_add(self.inner.options.bloat_bytes) {
            return Ok(());
        }
        let old = self.state.generation;
        let (from, to) = (folder.join(old.to_string()), folder.join((old + 1).to_string()));
        if to.exists() {
            fs::remove_dir_all(&to).map_err(named("the remains of an earlier copy"))?;
        }
        if let Err(error) = index.copy_to(&to) {
            let _ = fs::remove_dir_all(&to);
            return Err(error.to_string());
        }
        self.state.generation += 1;
        self.write_state()?;
        tracing::debug!(size, content = index.content(), "the index was copied to make it smaller");
        fs::remove_dir_all(&from).map_err(named("the index that was copied"))
    }

    /// sled refuses everything after its first I/O error, whoever met it.
    fn index_failed(&self, error: &IndexError) -> String {
        self.inner.set_index_failed();
        error.to_string()
    }

    fn write_state(&self) -> Result<(), String> {
        self.state.write(&self.inner.index_dir()).map_err(named("state"))
    }
}

fn named(what: &'static str) -> impl FnOnce(io::Error) -> String {
    move |error| format!("{what}: {error}")
}
