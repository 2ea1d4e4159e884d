//! The word table of an account in memory, so that judging a message is a few hundred look-ups in a map.
//!
//! Loaded under the account's lock with nothing in flight, and from then on changed by each commit, in commit order.
//! Counts with the lists in memory against `HOT_ROWS`; a table that is too large is read from the index each time.

use super::{Count, Filter};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// What a change did to the table.
#[derive(Debug, Default)]
pub struct Learnt {
    /// Everything was forgotten.
    pub wiped: bool,
    pub filter: Filter,
    pub words: Vec<(u32, Count)>,
}

/// A table.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Table {
    pub filter: Filter,
    pub words: HashMap<u32, Count>,
}

/// The table of one account, if it is in memory.
#[derive(Default)]
pub struct WordsInMemory(Mutex<Option<Table>>);

impl WordsInMemory {
    /// Looks at it.
    pub fn with<T>(&self, look: impl FnOnce(&Table) -> T) -> Option<T> {
        // Every critical section here leaves whole values.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(look)
    }

    pub fn put(&self, table: Option<Table>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = table;
    }

    /// What was committed. Called in commit order.
    pub fn apply(&self, learnt: Learnt) {
        if let Some(table) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            table.filter = learnt.filter;
            if learnt.wiped {
                table.words.clear();
            }
            for (word, count) in learnt.words {
                if count.is_none() {
                    table.words.remove(&word);
                } else {
                    table.words.insert(word, count);
                }
            }
        }
    }
}
