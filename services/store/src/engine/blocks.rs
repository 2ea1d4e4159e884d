//! The blocks in sled: which one a key belongs to, how they are read in order and how they change.
//!
//! Nobody holds on to sled while blocks change under a reader: a step is one batch, and each block is read at once.
//! A block that is divided meanwhile gives its upper half twice, which the reader notices by the order of keys. Blocks
//! are never joined, so nothing moves to where a reader has been already.

use std::ops::Bound;

use super::block::{self, BLOCK_BYTES, Damaged};
use super::index::{IndexError, Value, Visitor};
use super::recent::Entries;

type Range<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// What the keys of blocks begin with.
const BLOCK: u8 = 1;

/// The key under which a block that begins with `first` is stored.
fn place(first: &[u8]) -> Vec<u8> {
    let mut place = Vec::with_capacity(1 + first.len());
    place.push(BLOCK);
    place.extend_from_slice(first);
    place
}

impl From<Damaged> for IndexError {
    fn from(Damaged: Damaged) -> Self {
        Self::new("a block is damaged")
    }
}

type Block = (sled::IVec, sled::IVec);

/// The block that a key belongs to.
fn of(db: &sled::Db, key: &[u8]) -> Result<Option<Block>, IndexError> {
    let (lowest, place) = ([BLOCK], place(key));
    let below: Range<'_> = (Bound::Included(&lowest), Bound::Included(&place));
    Ok(db.range::<&[u8], _>(below).next_back().transpose()?)
}

/// Reads one key.
pub(super) fn get(db: &sled::Db, key: &[u8]) -> Result<Option<Value>, IndexError> {
    match of(db, key)? {
        Some((_, block)) => Ok(block::get(&block, key)?.map(Value::from)),
        None => Ok(None),
    }
}

/// Visits keys in order until `visit` breaks.
pub(super) fn visit(db: &sled::Db, (from, to): Range<'_>, visit: &mut Visitor<'_>) -> Result<(), IndexError> {
    let first = match from {
        Bound::Unbounded => vec![BLOCK],
        Bound::Included(key) | Bound::Excluded(key) => match of(db, key)? {
            Some((place, _)) => place.to_vec(),
            None => place(key),
        },
    };
    let end = match to {
        Bound::Unbounded => vec![BLOCK + 1],
        Bound::Included(key) | Bound::Excluded(key) => place(key),
    };
    let range: Range<'_> = (Bound::Included(&first), Bound::Included(&end));
    // What comes next lies above this.
    let mut after = from.map(<[u8]>::to_vec);
    for found in db.range::<&[u8], _>(range) {
        let (_, bytes) = found?;
        let mut entries = block::Entries::of(&bytes);
        let mut is_behind = true;
        while let Some(value) = entries.next()? {
            let key = entries.key();
            if is_behind {
                is_behind = match &after {
                    Bound::Unbounded => false,
                    Bound::Included(after) => key < after.as_slice(),
                    Bound::Excluded(after) => key <= after.as_slice(),
                };
                if is_behind {
                    continue;
                }
            }
            let is_beyond = match to {
                Bound::Unbounded => false,
                Bound::Included(to) => key > to,
                Bound::Excluded(to) => key >= to,
            };
            if is_beyond || visit(key, value).is_break() {
                return Ok(());
            }
        }
        if !is_behind {
            after = Bound::Excluded(entries.key().to_vec());
        }
    }
    Ok(())
}

/// Visits keys in descending order until `visit` breaks.
pub(super) fn visit_back(
    db: &sled::Db,
    (from, to): Range<'_>,
    visit: &mut Visitor<'_>,
) -> Result<(), IndexError> {
    let end = match to {
        Bound::Unbounded => vec![BLOCK + 1],
        Bound::Included(key) | Bound::Excluded(key) => place(key),
    };
    let range: Range<'_> = (Bound::Included(&[BLOCK]), Bound::Included(&end));
    let mut before = to.map(<[u8]>::to_vec);
    for found in db.range::<&[u8], _>(range).rev() {
        let (_, bytes) = found?;
        let mut entries = block::Entries::of(&bytes);
        let mut there = Vec::new();
        while let Some(value) = entries.next()? {
            let key = entries.key();
            let is_behind = match &before {
                Bound::Unbounded => false,
                Bound::Included(before) => key > before.as_slice(),
                Bound::Excluded(before) => key >= before.as_slice(),
            };
            if is_behind {
                break;
            }
            there.push((key.to_vec(), value));
        }
        for (key, value) in there.iter().rev() {
            let is_beyond = match from {
                Bound::Unbounded => false,
                Bound::Included(from) => key.as_slice() < from,
                Bound::Excluded(from) => key.as_slice() <= from,
            };
            if is_beyond || visit(key, value).is_break() {
                return Ok(());
            }
        }
        if let Some((first, _)) = there.into_iter().next() {
            before = Bound::Excluded(first);
        }
    }
    Ok(())
}

/// Changes on their way into blocks, in the order of their keys.
pub(super) struct Changes<'a> {
    db: &'a sled::Db,
    rest: std::iter::Peekable<std::collections::btree_map::Iter<'a, Vec<u8>, Option<Value>>>,
    /// The block behind the one changed last, and those behind it.
    ahead: Option<(Block, sled::Iter)>,
}

/// What is to be written at once.
pub(super) struct Step {
    pub writes: sled::Batch,
    pub count: usize,
    pub is_last: bool,
    /// Bytes of the blocks that are written.
    pub added: u64,
    /// Bytes of the blocks that they replace.
    pub removed: u64,
}

impl Step {
    fn put(&mut self, at: Vec<u8>, bytes: Vec<u8>) {
        self.added += bytes.len() as u64;
        self.count += 1;
        self.writes.insert(at, bytes);
    }
}

impl<'a> Changes<'a> {
    pub fn new(db: &'a sled::Db, changes: &'a Entries) -> Self {
        Self { db, rest: changes.iter().peekable(), ahead: None }
    }

    /// The next so many blocks. Must be written before the next call.
    pub fn step(&mut self, blocks: usize) -> Result<Step, IndexError> {
        let mut step =
            Step { writes: sled::Batch::default(), count: 0, is_last: false, added: 0, removed: 0 };
        while step.count < blocks {
            let Some(&(key, _)) = self.rest.peek() else { break };
            let (block, end) = self.block_and_end(key)?;
            let within = std::iter::from_fn(|| {
                let is_within = |key: &[u8]| end.as_ref().is_none_or(|end| key < &end[1..]);
                let (key, value) = self.rest.next_if(|(key, _)| is_within(key))?;
                Some((key.as_slice(), value.as_ref()))
            });
            let old = block.as_ref().map_or(&[][..], |(_, bytes)| bytes);
            let mut blocks = block::changed(old, within)?.into_iter();
            if let Some((at, _)) = &block {
                match blocks.next() {
                    Some((_, bytes)) if *bytes == *old => {}
                    Some((_, bytes)) => {
                        step.removed += old.len() as u64;
                        step.put(at.to_vec(), bytes);
                    }
                    None => {
                        step.removed += old.len() as u64;
                        step.count += 1;
                        step.writes.remove(at);
                    }
                }
            }
            for (first, bytes) in blocks {
                step.put(place(&first), bytes);
            }
        }
        step.is_last = self.rest.peek().is_none();
        Ok(step)
    }

    /// The block a key belongs to, and where the next one begins.
    fn block_and_end(&mut self, key: &[u8]) -> Result<(Option<Block>, Option<sled::IVec>), IndexError> {
        let mut block = None;
        let mut behind = None;
        // Often it is the block behind the last one.
        if let Some((ahead, mut iter)) = self.ahead.take()
            && &ahead.0[1..] <= key
        {
            let next = iter.next().transpose()?;
            if next.as_ref().is_none_or(|(next, _)| &next[1..] > key) {
                block = Some(ahead);
                behind = Some((next, iter));
            }
        }
        let (next, iter) = match behind {
            Some(behind) => behind,
            None => {
                block = of(self.db, key)?;
                let from = block.as_ref().map_or_else(|| place(key), |(at, _)| at.to_vec());
                let range: Range<'_> = (Bound::Excluded(&from), Bound::Excluded(&[BLOCK + 1]));
                let mut iter = self.db.range::<&[u8], _>(range);
                (iter.next().transpose()?, iter)
            }
        };
        let end = next.as_ref().map(|(end, _)| end.clone());
        self.ahead = next.map(|next| (next, iter));
        Ok((block, end))
    }
}

/// sled moves pages beyond an eighth of a mebibyte out of its log, into files of their own; it divides them above 16
/// values, and a value is at most a block or a single large entry.
const _: () = assert!(BLOCK_BYTES * 17 < 128 << 10);
