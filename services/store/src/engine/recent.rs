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

use super::change::{Change, Patch, with_patches};
use super::index::{Value, Visitor};

/// The newest value of each key; `None`: it is gone.
pub(super) type Entries = BTreeMap<Vec<u8>, Option<Value>>;

/// What was moved aside: entries have the patches already, what is in sled gets them.
#[derive(Default)]
pub(super) struct Frozen {
    pub entries: Entries,
    pub patches: Vec<Arc<Patch>>,
}

/// See the module header.
#[derive(Default)]
pub(super) struct Recent {
    active: Entries,
    /// In order; to be laid over what is below. `active` has them already.
    patches: Vec<Arc<Patch>>,
    frozen: Arc<Frozen>,
    /// Bytes of keys and values in `active`, more or less.
    bytes: usize,
    /// The journal position that `active` reaches.
    position: u64,
}

impl Recent {
    /// What one change leaves, and the position it reaches.
    pub fn add(&mut self, change: &Change, position: u64) {
        for patch in &change.patches {
            patch.lay_over(&mut self.active, Option::as_mut, |_| ());
            self.patches.push(patch.clone());
        }
        for (key, value) in &change.index {
            self.bytes += key.len() + value.as_ref().map_or(0, |value| value.len());
            self.active.insert(key.clone(), value.clone());
        }
        self.position = position;
    }

    /// How much waits.
    pub fn size(&self) -> Size {
        Size { keys: self.active.len(), bytes: self.bytes, patches: self.patches.len() }
    }

    /// Moves what waits aside, to be handed on; with the position it reaches. Not while something is aside already.
    pub fn freeze(&mut self) -> (Arc<Frozen>, u64) {
        debug_assert!(self.frozen.entries.is_empty(), "what is aside was not handed on");
        let (entries, patches) = (std::mem::take(&mut self.active), std::mem::take(&mut self.patches));
        self.frozen = Arc::new(Frozen { entries, patches });
        self.bytes = 0;
        (self.frozen.clone(), self.position)
    }

    /// What was moved aside is in the index.
    pub fn thaw(&mut self) {
        self.frozen = Arc::default();
    }

    /// `Some(None)`: the key is gone.
    pub fn get(&self, key: &[u8]) -> Option<Option<Value>> {
        if let Some(value) = self.active.get(key) {
            return Some(value.clone());
        }
        let mut value = self.frozen.entries.get(key)?.clone();
        if let Some(value) = &mut value {
            with_patches(&self.patches, key, value);
        }
        Some(value)
    }

    /// What is to be laid over the values below.
    pub fn patches(&self) -> Vec<Arc<Patch>> {
        self.frozen.patches.iter().chain(&self.patches).cloned().collect()
    }

    /// The newest of each key in a range.
    pub fn range(&self, range: (Bound<&[u8]>, Bound<&[u8]>)) -> Entries {
        let mut found: Entries = self
            .frozen
            .entries
            .range::<[u8], _>(range)
            .map(|(key, value)| {
                let mut value = value.clone();
                if let Some(value) = &mut value {
                    with_patches(&self.patches, key, value);
                }
                (key.clone(), value)
            })
            .collect();
        found.extend(self.active.range::<[u8], _>(range).map(|(key, value)| (key.clone(), value.clone())));
        found
    }
}

/// See [`Recent::size`].
#[derive(Clone, Copy)]
pub(super) struct Size {
    pub keys: usize,
    pub bytes: usize,
    pub patches: usize,
}

/// A visitor that sees values with patches laid over them.
pub(super) fn patched_visit<E>(
    patches: &[Arc<Patch>],
    below: impl FnOnce(&mut Visitor<'_>) -> Result<(), E>,
    visit: &mut Visitor<'_>,
) -> Result<(), E> {
    if patches.is_empty() {
        return below(visit);
    }
    below(&mut |key, value| {
        if !patches.iter().any(|patch| patch.covers(key)) {
            return visit(key, value);
        }
        let mut value = Value::from(value);
        with_patches(patches, key, &mut value);
        visit(key, &value)
    })
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
