//! Changes that are computed but not yet applied, as the next writer must see them.
//!
//! Several changes of one account may be in flight, each computed on top of the one before. `Pending` holds the
//! newest value of every key they touch until it is in the index. When a group fails, the epoch moves on: all
//! that was built on it is refused, and what was pending is forgotten.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::CommitError;
use super::change::Change;
use super::index::Value;

/// The waiting changes and what they would leave behind.
#[derive(Default)]
pub(super) struct Queue {
    pub waiting: VecDeque<Waiting>,
    pub pending: Pending,
    /// Counts failed groups.
    pub epoch: u64,
    pub sequence: u64,
    pub closing: bool,
}

/// A submitted change and whoever waits for it.
pub(super) struct Waiting {
    pub change: Change,
    pub sequence: u64,
    pub answer: oneshot::Sender<Result<u64, CommitError>>,
    /// Released with the answer.
    pub _permit: Option<OwnedSemaphorePermit>,
}

/// The newest unapplied value of each key, with the sequence number of the change it comes from.
#[derive(Default)]
pub(super) struct Pending {
    keys: BTreeMap<Vec<u8>, (u64, Option<Value>)>,
}

impl Pending {
    /// Adds what a change writes.
    pub fn add(&mut self, sequence: u64, change: &Change) {
        for (key, value) in &change.index {
            match self.keys.get_mut(key) {
                Some(entry) => *entry = (sequence, value.clone()),
                None => {
                    self.keys.insert(key.clone(), (sequence, value.clone()));
                }
            }
        }
    }

    /// Forgets what an applied change wrote, where nothing newer has replaced it.
    pub fn remove(&mut self, sequence: u64, change: &Change) {
        for key in change.index.keys() {
            if self.keys.get(key).is_some_and(|(by, _)| *by == sequence) {
                self.keys.remove(key);
            }
        }
    }

    /// `Some(None)`: the key is being deleted.
    pub fn get(&self, key: &[u8]) -> Option<Option<Value>> {
        self.keys.get(key).map(|(_, value)| value.clone())
    }

    /// All pending keys of a range.
    pub fn range(
        &self,
        range: (Bound<&[u8]>, Bound<&[u8]>),
    ) -> impl Iterator<Item = (&Vec<u8>, &Option<Value>)> {
        self.keys.range::<[u8], _>(range).map(|(key, (_, value))| (key, value))
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.keys.clear();
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}
