//! What is committed but not in the index yet, and how it is seen together with what is.
//!
//! A change costs the index one write for each of its keys, and a fixed price for each batch. Most of what a delivery
//! writes is written again by the next one (counts, numbers given out), so batches are held back here until they are
//! worth it. Nothing depends on it: the journal has every change, and what was not handed on is replayed.
//!
//! ```text
//! add ──► active ──(full)──► frozen ──► sled        readers ask in this order
//! ```

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use super::index::{Value, Visitor};

/// The newest value of each key; `None`: it is gone.
pub(super) type Entries = BTreeMap<Vec<u8>, Option<Value>>;

/// See the module header.
#[derive(Default)]
pub(super) struct Recent {
    active: Entries,
    frozen: Arc<Entries>,
    /// Bytes of keys and values in `active`, more or less.
    bytes: usize,
    /// The journal position that `active` reaches.
    position: u64,
}

impl Recent {
    pub fn add(&mut self, entries: impl IntoIterator<Item = (Vec<u8>, Option<Value>)>, position: u64) {
        for (key, value) in entries {
            self.bytes += key.len() + value.as_ref().map_or(0, |value| value.len());
            self.active.insert(key, value);
        }
        self.position = position;
    }

    /// Keys and bytes that wait.
    pub fn size(&self) -> (usize, usize) {
        (self.active.len(), self.bytes)
    }

    /// Moves what waits aside, to be handed on; with the position it reaches. Not while something is aside already.
    pub fn freeze(&mut self) -> (Arc<Entries>, u64) {
        debug_assert!(self.frozen.is_empty(), "what is aside was not handed on");
        self.frozen = Arc::new(std::mem::take(&mut self.active));
        self.bytes = 0;
        (self.frozen.clone(), self.position)
    }

    /// What was moved aside is in the index.
    pub fn thaw(&mut self) {
        self.frozen = Arc::default();
    }

    /// `Some(None)`: the key is gone.
    pub fn get(&self, key: &[u8]) -> Option<Option<Value>> {
        self.active.get(key).or_else(|| self.frozen.get(key)).cloned()
    }

    /// The newest of each key in a range.
    pub fn range(&self, range: (Bound<&[u8]>, Bound<&[u8]>)) -> Entries {
        let copy = |(key, value): (&Vec<u8>, &Option<Value>)| (key.clone(), value.clone());
        let mut found: Entries = self.frozen.range::<[u8], _>(range).map(copy).collect();
        found.extend(self.active.range::<[u8], _>(range).map(copy));
        found
    }
}

/// Visits what `below` visits as it is with `over` laid over it, in order, until `visit` breaks.
pub(super) fn merged<E>(
    over: Entries,
    below: impl FnOnce(&mut Visitor<'_>) -> Result<(), E>,
    visit: &mut Visitor<'_>,
) -> Result<(), E> {
    let mut over = over.into_iter().peekable();
    let mut stopped = false;
    below(&mut |key, value| {
        while let Some((next, ours)) = over.next_if(|(next, _)| next.as_slice() < key) {
            if let Some(ours) = ours
                && visit(&next, &ours).is_break()
            {
                stopped = true;
                return ControlFlow::Break(());
            }
        }
        let flow = match over.next_if(|(next, _)| next.as_slice() == key) {
            Some((_, None)) => ControlFlow::Continue(()),
            Some((next, Some(ours))) => visit(&next, &ours),
            None => visit(key, value),
        };
        stopped = flow.is_break();
        flow
    })?;
    if !stopped {
        for (key, value) in over {
            if let Some(value) = value
                && visit(&key, &value).is_break()
            {
                break;
            }
        }
    }
    Ok(())
}
