//! Changes that are computed but not yet applied, as the next writer must see them.
//!
//! Several changes of one account may be in flight, each computed on top of the one before. `Pending` holds the
//! newest value of every key they touch until it is in the index. When a group fails, the epoch moves on: all
//! that was built on it is refused, and what was pending is forgotten.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::CommitError;
use super::change::{Change, Patch};
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
    /// In order; to be laid over what is in the index. `keys` have them already.
    patches: Vec<(u64, Arc<Patch>)>,
}

impl Pending {
    /// Adds what a change writes.
    pub fn add(&mut self, sequence: u64, change: &Change) {
        for patch in &change.patches {
            patch.lay_over(&mut self.keys, |(_, value)| value.as_mut(), |(by, _)| *by = sequence);
            self.patches.push((sequence, patch.clone()));
        }
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
        for patch in &change.patches {
            let [low, high] = patch.bounds();
            let of_it = self.keys.range(low..=high).filter(|(_, (by, _))| *by == sequence);
            let gone: Vec<Vec<u8>> = of_it.map(|(key, _)| key.clone()).collect();
            gone.iter().for_each(|key| drop(self.keys.remove(key)));
            self.patches.retain(|(by, _)| *by != sequence);
        }
    }

    /// What is to be laid over the values of the index.
    pub fn patches(&self) -> Vec<Arc<Patch>> {
        self.patches.iter().map(|(_, patch)| patch.clone()).collect()
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
        self.patches.clear();
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.patches.is_empty()
    }
}
