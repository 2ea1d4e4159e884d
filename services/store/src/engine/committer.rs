//! The one thread that commits: everything that waits is the next group.
//!
//! | step | when it fails |
//! |---|---|
//! | lasting names for staged files, one sync of their folder | nothing was written: the group fails |
//! | journal: one write, one sync | outcome unknown until the next start: the group fails |
//! | message files, without sync; the index | the group is committed but not visible: kept and tried again before the next one |
//! | what the changes asked for, in commit order; then the answers | cannot |
//!
//! Events go out before the answers, so that a client that saw its change confirmed finds it announced, too.
//! When a group fails, everything that waits behind it fails with it: it may have been computed on top of it.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::change::Source;
use super::journal::Journal;
use super::pending::Waiting;
use super::{CommitError, Inner};

/// Owns the journal; see the module header.
pub(super) struct Committer {
    inner: Arc<Inner>,
    journal: Journal,
    /// In the journal, not yet in the index.
    backlog: Vec<(u64, Waiting)>,
    ends: Vec<u64>,
}

impl Committer {
    pub fn new(inner: Arc<Inner>, journal: Journal) -> Self {
        Self { inner, journal, backlog: Vec::new(), ends: Vec::new() }
    }

    /// Commits until the engine closes and nothing waits any more.
    pub fn run(mut self) {
        while let Some(group) = self.next_group() {
            self.commit(group);
        }
        if !self.backlog.is_empty() {
            let _ = self.apply_backlog();
        }
    }

    fn next_group(&self) -> Option<Vec<Waiting>> {
        let mut queue = self.inner.queue();
        while queue.waiting.is_empty() {
            if queue.closing {
                return None;
            }
            queue = self.inner.wake.wait(queue).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        let mut group = Vec::new();
        let mut bytes = 0;
        while let Some(next) = queue.waiting.front() {
            bytes += next.change.weight();
            let full =
                bytes > self.inner.options.group_bytes || group.len() >= self.inner.options.group_changes;
            if full && !group.is_empty() {
                break;
            }
            group.extend(queue.waiting.pop_front());
        }
        Some(group)
    }

    fn commit(&mut self, mut group: Vec<Waiting>) {
        if let Err(error) = self.apply_backlog() {
            return self.fail(group, &CommitError::Write(error));
        }
        if let Err(error) = self.name_staged(&mut group) {
            return self.fail(group, &write_error("staged file", &error));
        }
        let changes = group.iter().map(|waiting| &waiting.change);
        if let Err(error) = self.journal.append(changes, &mut self.ends) {
            return self.fail(group, &write_error("journal", &error));
        }
        let positions = std::mem::take(&mut self.ends);
        self.backlog = positions.iter().copied().zip(group).collect();
        self.ends = positions;
        match self.apply_backlog() {
            Ok(()) => self.inner.set_commit_health(None),
            Err(error) => {
                self.inner.set_commit_health(Some(error));
                for (_, waiting) in &mut self.backlog {
                    // The change itself stays in the backlog; whoever waits is told now.
                    let (gone, _) = tokio::sync::oneshot::channel();
                    let _ = std::mem::replace(&mut waiting.answer, gone).send(Err(CommitError::Unapplied));
                    waiting._permit = None;
                }
            }
        }
    }

    fn name_staged(&mut self, group: &mut [Waiting]) -> std::io::Result<()> {
        let mut count = 0;
        for source in group.iter_mut().flat_map(|waiting| &mut waiting.change.sources) {
            if matches!(source, Source::Sealed(_)) {
                let name = format!("{:x}-{count}", self.journal.end());
                self.inner.files.name_staged(source, name)?;
                count += 1;
            }
        }
        if count > 0 { self.inner.files.sync_staging() } else { Ok(()) }
    }

    /// Brings what the journal holds into files and index, publishes and answers.
    fn apply_backlog(&mut self) -> Result<(), String> {
        let Some((end, _)) = self.backlog.last() else { return Ok(()) };
        let end = *end;
        // Only after an error may part of it have happened before.
        let again = self.journal.is_suspect() || self.inner.commit_is_degraded();
        let mut missing = HashSet::new();
        for (position, waiting) in &self.backlog {
            let change = &waiting.change;
            self.inner
                .files
                .apply(*position, &change.sources, &change.files, again, &mut missing)
                .map_err(|error| format!("message file: {error}"))?;
        }
        let changes = self.backlog.iter().map(|(position, waiting)| (*position, &waiting.change));
        self.inner.index.add(changes).map_err(|error| {
            // sled refuses everything after its first I/O error.
            self.inner.set_index_failed();
            error.to_string()
        })?;
        if !missing.is_empty() {
            tracing::error!(?missing, "a change was committed whose files could not be made");
        }
        self.inner.applied.store(end, Ordering::Release);
        {
            let mut queue = self.inner.queue();
            for (_, waiting) in &self.backlog {
                queue.pending.remove(waiting.sequence, &waiting.change);
            }
        }
        let last = self.backlog.last().map_or(0, |(_, waiting)| waiting.sequence);
        for (position, mut waiting) in self.backlog.drain(..) {
            for after in waiting.change.after.drain(..) {
                after(position);
            }
            // Whoever asked may have gone away; the change stands.
            let _ = waiting.answer.send(Ok(position));
        }
        self.inner.done.send_if_modified(|done| {
            *done = last.max(*done);
            true
        });
        self.inner.keeper_wake(end);
        Ok(())
    }

    fn fail(&self, group: Vec<Waiting>, error: &CommitError) {
        self.inner.set_commit_health(Some(error.to_string()));
        let behind = {
            let mut queue = self.inner.queue();
            queue.epoch += 1;
            queue.pending.clear();
            for (_, waiting) in &self.backlog {
                queue.pending.add(waiting.sequence, &waiting.change);
            }
            let failed = queue.sequence;
            self.inner.done.send_if_modified(|done| {
                *done = failed.max(*done);
                true
            });
            std::mem::take(&mut queue.waiting)
        };
        for waiting in group {
            let _ = waiting.answer.send(Err(error.clone()));
        }
        for waiting in behind {
            let _ = waiting.answer.send(Err(CommitError::Overtaken));
        }
    }
}

fn write_error(what: &str, error: &std::io::Error) -> CommitError {
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => CommitError::Full,
        _ => CommitError::Write(format!("{what}: {error}")),
    }
}
