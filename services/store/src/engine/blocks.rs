//! The blocks in sled: which one a key belongs to, how they are read in order and how they change.
//!
//! Nobody holds on to sled while blocks change under a reader: a step is one batch, and each block is read at once.
//! Of a block that is divided the lower parts appear before the upper one, which stays where it was, and a reader on its
//! way may have some of sled's pages from before and others from after: so after each step it looks anew where it was.
//! Blocks are never joined; what belonged to one that became empty belongs to the next.
//!
//! sled is only ever read forwards: its way backwards brings a constant of a mebibyte into the program.

use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};

use super::block::{self, BLOCK_BYTES, Damaged};
use super::index::{IndexError, Value, Visitor};
use super::recent::Entries;

type Range<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// What the keys of blocks begin with.
const BLOCK: u8 = 1;

/// Where the block of the highest keys is stored.
const TOP: &[u8] = &[BLOCK + 1];

/// The key under which a block is stored that ends before `end`.
fn place(end: &[u8]) -> Vec<u8> {
    let mut place = Vec::with_capacity(1 + end.len());
    place.push(BLOCK);
    place.extend_from_slice(end);
    place
}

/// The inverse; `None`: there is no end.
fn end_of(place: &[u8]) -> Option<&[u8]> {
    place.strip_prefix(&[BLOCK])
}

impl From<Damaged> for IndexError {
    fn from(Damaged: Damaged) -> Self {
        Self::new("a block is damaged")
    }
}

type Block = (sled::IVec, sled::IVec);

/// See the module header.
pub(super) struct Blocks {
    /// Our own record lies beside the blocks.
    pub db: sled::Db,
    /// Steps begun and ended: odd while one is written.
    steps: AtomicU64,
}

impl Blocks {
    pub fn new(db: sled::Db) -> Self {
        Self { db, steps: AtomicU64::new(0) }
    }

    /// Blocks behind the one stored at `place`.
    fn behind(&self, place: &[u8]) -> sled::Iter {
        let above: Range<'_> = (Bound::Excluded(place), Bound::Included(TOP));
        self.db.range::<&[u8], _>(above)
    }

    /// Reads one key.
    pub fn get(&self, key: &[u8]) -> Result<Option<Value>, IndexError> {
        // The first that ends above it.
        match self.behind(&place(key)).next().transpose()? {
            Some((_, block)) => Ok(block::get(&block, key)?.map(Value::from)),
            None => Ok(None),
        }
    }

    /// Visits keys in order until `visit` breaks.
    pub fn visit(&self, (lower, upper): Range<'_>, visit: &mut Visitor<'_>) -> Result<(), IndexError> {
        let first = match lower {
            Bound::Unbounded => vec![BLOCK],
            Bound::Included(key) | Bound::Excluded(key) => place(key),
        };
        let mut reader = Reader { blocks: self, behind: first.into(), way: None };
        // Only the first block has keys below.
        let mut is_below = true;
        while let Some(bytes) = reader.next()? {
            let mut entries = block::Entries::of(&bytes);
            while let Some(value) = entries.next()? {
                let key = entries.key();
                is_below = is_below
                    && match lower {
                        Bound::Unbounded => false,
                        Bound::Included(lower) => key < lower,
                        Bound::Excluded(lower) => key <= lower,
                    };
                if is_below {
                    continue;
                }
                let is_beyond = match upper {
                    Bound::Unbounded => false,
                    Bound::Included(upper) => key > upper,
                    Bound::Excluded(upper) => key >= upper,
                };
                if is_beyond || visit(key, value).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Writes a step at once. One thread at a time.
    pub fn write(&self, writes: sled::Batch) -> Result<(), IndexError> {
        self.steps.fetch_add(1, Ordering::SeqCst);
        let written = self.db.apply_batch(writes);
        self.steps.fetch_add(1, Ordering::SeqCst);
        Ok(written?)
    }
}

/// Somebody on the way through the blocks.
struct Reader<'b> {
    blocks: &'b Blocks,
    /// Where the last one is stored.
    behind: sled::IVec,
    /// What comes then, and after how many steps that was so.
    way: Option<(u64, sled::Iter)>,
}

impl Reader<'_> {
    fn next(&mut self) -> Result<Option<sled::IVec>, IndexError> {
        if &*self.behind == TOP {
            return Ok(None);
        }
        let steps = || self.blocks.steps.load(Ordering::SeqCst);
        // Where no step began since it did, a way leads through one state; its pages stay with it.
        let mut found = match &mut self.way {
            Some((when, way)) => {
                let next = way.next();
                (steps() == *when).then_some(next)
            }
            None => None,
        };
        if found.is_none() {
            // A first look is always at one state: sled takes a batch between two looks or not at all.
            let when = steps();
            let mut way = self.blocks.behind(&self.behind);
            found = Some(way.next());
            self.way = (when % 2 == 0).then_some((when, way));
        }
        let Some((place, bytes)) = found.flatten().transpose()? else { return Ok(None) };
        self.behind = place;
        Ok(Some(bytes))
    }
}

/// Changes on their way into blocks, in the order of their keys.
pub(super) struct Changes<'a> {
    blocks: &'a Blocks,
    rest: std::iter::Peekable<std::collections::btree_map::Iter<'a, Vec<u8>, Option<Value>>>,
    /// What lies behind the block changed last. Steps change only what this has passed.
    ahead: Option<sled::Iter>,
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
    pub fn new(blocks: &'a Blocks, changes: &'a Entries) -> Self {
        Self { blocks, rest: changes.iter().peekable(), ahead: None }
    }

    /// The next so many blocks. Must be written before the next call.
    pub fn step(&mut self, blocks: usize) -> Result<Step, IndexError> {
        let mut step =
            Step { writes: sled::Batch::default(), count: 0, is_last: false, added: 0, removed: 0 };
        while step.count < blocks {
            let Some(&(key, _)) = self.rest.peek() else { break };
            let (at, old) = self.block(key)?.unwrap_or_else(|| (TOP.into(), sled::IVec::default()));
            let end = end_of(&at);
            let within = std::iter::from_fn(|| {
                let (key, value) =
                    self.rest.next_if(|(key, _)| end.is_none_or(|end| key.as_slice() < end))?;
                Some((key.as_slice(), value.as_ref()))
            });
            let parts = block::changed(&old, within)?;
            if parts.iter().map(|(_, bytes)| bytes.as_slice()).eq((!old.is_empty()).then_some(&*old)) {
                continue;
            }
            step.removed += old.len() as u64;
            if parts.is_empty() {
                step.count += 1;
                step.writes.remove(&at);
            }
            // Each but the last ends before the next.
            let ends: Vec<_> = parts.iter().skip(1).map(|(first, _)| place(first)).collect();
            let places = ends.into_iter().chain([at.to_vec()]);
            for ((_, bytes), place) in parts.into_iter().zip(places) {
                step.put(place, bytes);
            }
        }
        step.is_last = self.rest.peek().is_none();
        Ok(step)
    }

    /// The block a key belongs to.
    fn block(&mut self, key: &[u8]) -> Result<Option<Block>, IndexError> {
        // Often it is the one behind the last.
        if let Some(mut ahead) = self.ahead.take()
            && let Some(next) = ahead.next().transpose()?
            && end_of(&next.0).is_none_or(|end| key < end)
        {
            self.ahead = Some(ahead);
            return Ok(Some(next));
        }
        let mut iter = self.blocks.behind(&place(key));
        let block = iter.next().transpose()?;
        self.ahead = Some(iter);
        Ok(block)
    }
}

/// sled moves pages beyond an eighth of a mebibyte out of its log, into files of their own; it divides them above 16
/// values, and a value is at most a block or a single large entry.
const _: () = assert!(BLOCK_BYTES * 17 < 128 << 10);
