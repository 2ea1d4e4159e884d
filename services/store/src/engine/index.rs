//! The index over journal and message files: ordered keys in sled. Only this module and `blocks.rs` name sled.
//!
//! sled 0.34.7 is used the way it holds up: one tree, one batch per group from one thread, no transactions,
//! no `flush_async` (deadlocks), no `len` (scans), values bounded. Its `flush` does not survive a power cut by
//! itself, and segments it reuses may tear older state, so the index is only ever a cache of snapshot + journal:
//! see `open.rs` for when it is trusted.
//!
//! Entries are kept in blocks, see `block.rs`; for sled a block is one value.
//!
//! What is added waits in [`Recent`] first and is handed to sled by a thread of its own, in batches: it keeps sled's
//! rule of one writer, and the committer does not wait for it unless it falls far behind. Readers see both as one.
//!
//! Fails with: `IndexError`. A sled panic while opening becomes an error too.

use std::fs::File;
use std::ops::{Bound, ControlFlow, Deref};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread::JoinHandle;

use super::blocks::{Blocks, Changes};
use super::limits::{HELD_BACK_BYTES, HELD_BACK_KEYS, HELD_BACK_MOST};
use super::recent::{Entries, Recent, merged};
use super::snapshot::FLUSH_BYTES;

/// A value as the index holds it; cheap to clone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Value(sled::IVec);

impl Deref for Value {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

/// The index failed; nothing below says more than its text.
#[derive(Debug, thiserror::Error)]
#[error("index: {0}")]
pub struct IndexError(String);

impl IndexError {
    pub(super) fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Somebody else has it open: nothing is wrong with it.
    pub(super) fn is_locked(&self) -> bool {
        self.0.contains("could not acquire lock")
    }
}

impl From<sled::Error> for IndexError {
    fn from(error: sled::Error) -> Self {
        Self(error.to_string())
    }
}

/// Our own record beside the blocks: a [`Reached`].
const REACHED: &[u8] = b"\0reached";

/// What sled has.
#[derive(Clone, Copy, Default)]
struct Reached {
    /// The journal position up to which it has the changes.
    position: Option<u64>,
    /// Bytes of all blocks.
    content: u64,
}

impl Reached {
    fn read(db: &sled::Db) -> Result<Self, IndexError> {
        let Some(bytes) = db.get(REACHED)? else { return Ok(Self::default()) };
        let numbers = bytes
            .split_at_checked(8)
            .and_then(|(position, content)| Some((position.try_into().ok()?, content.try_into().ok()?)));
        let (position, content) =
            numbers.ok_or_else(|| IndexError::new("the position has a wrong length"))?;
        Ok(Self { position: Some(u64::from_be_bytes(position)), content: u64::from_be_bytes(content) })
    }

    fn write(self, writes: &mut sled::Batch) {
        if let Some(position) = self.position {
            writes.insert(REACHED, [position.to_be_bytes(), self.content.to_be_bytes()].concat());
        }
    }
}

/// What is done with each entry of a visit: key and value.
pub type Visitor<'v> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'v;

/// An open index.
pub struct Index {
    shared: Arc<Shared>,
    log: File,
    writer: Option<JoinHandle<()>>,
}

struct Shared {
    blocks: Blocks,
    recent: RwLock<Recent>,
    /// Held by whoever hands on what waits; the error that ended it.
    handing_on: Mutex<Option<String>>,
    reached: Mutex<Reached>,
    wish: Mutex<Wish>,
    wished: Condvar,
}

#[derive(Default)]
struct Wish {
    due: bool,
    closing: bool,
}

/// Puts (`Some`) and deletes (`None`) applied at once.
#[derive(Default)]
pub struct Batch(Entries);

impl Batch {
    /// Adds one; what was said of that key before does not count.
    pub fn set(&mut self, key: &[u8], value: Option<&Value>) {
        self.0.insert(key.to_vec(), value.cloned());
    }
}

impl Index {
    /// Opens or makes the index in `dir`.
    pub fn open(dir: &Path, cache_bytes: u64) -> Result<Self, IndexError> {
        let config = sled::Config::new().path(dir).cache_capacity(cache_bytes).flush_every_ms(None);
        // Recovery of a damaged file runs into assertions inside sled; they must not take the process along.
        let db = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| config.open()))
            .map_err(|_| IndexError("sled panicked while opening".into()))??;
        let other = |error: std::io::Error| IndexError(error.to_string());
        let log = File::open(dir.join("db")).map_err(other)?;
        let shared = Arc::new(Shared {
            reached: Mutex::new(Reached::read(&db)?),
            blocks: Blocks::new(db),
            recent: RwLock::default(),
            handing_on: Mutex::default(),
            wish: Mutex::default(),
            wished: Condvar::new(),
        });
        let hander = shared.clone();
        let writer = std::thread::Builder::new()
            .name("index".into())
            .spawn(move || hander.hand_on_when_due())
            .map_err(other)?;
        Ok(Self { shared, log, writer: Some(writer) })
    }

    /// The journal position up to which sled has the changes; `None` in an index without any.
    pub fn position(&self) -> Option<u64> {
        self.shared.reached().position
    }

    /// Bytes of all entries in sled, as they are kept.
    pub fn content(&self) -> u64 {
        self.shared.reached().content
    }

    /// Makes a new index with the same entries. Nobody may change this one meanwhile.
    pub fn copy_to(&self, dir: &Path) -> Result<(), IndexError> {
        self.shared.hand_on()?;
        let copy = Self::open(dir, COPY_CACHE_BYTES)?;
        let position = self.position().unwrap_or(0);
        let mut unflushed = 0;
        self.in_steps(
            COPY_BYTES,
            |batch: &mut Batch, key, value| batch.set(key, Some(&Value::from(value))),
            |batch, bytes| {
                copy.apply(&batch, position)?;
                unflushed += bytes;
                if unflushed >= FLUSH_BYTES {
                    unflushed = 0;
                    copy.flush()?;
                }
                Ok::<_, IndexError>(())
            },
        )?;
        // Of an empty index, too, the copy knows how far it reaches.
        copy.apply(&Batch::default(), position)?;
        copy.sync()
    }

    /// Visits all keys in order and in steps: what a step gathers from entries of about so many bytes is handed on with
    /// their number before the next one. No iterator lives longer than a step, so changes are never held up for long.
    pub fn in_steps<T: Default, E: From<IndexError>>(
        &self,
        step_bytes: usize,
        gather: impl Fn(&mut T, &[u8], &[u8]),
        mut hand_on: impl FnMut(T, usize) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut from: Option<Vec<u8>> = None;
        loop {
            let lower = from.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let (mut gathered, mut bytes, mut last) = (T::default(), 0, None);
            self.visit((lower, Bound::Unbounded), |key, value| {
                gather(&mut gathered, key, value);
                // With what says how long they are.
                bytes += key.len() + value.len() + 4;
                if bytes >= step_bytes {
                    last = Some(key.to_vec());
                    return ControlFlow::Break(());
                }
                ControlFlow::Continue(())
            })?;
            if bytes > 0 {
                hand_on(gathered, bytes)?;
            }
            match last {
                Some(last) => from = Some(last),
                None => return Ok(()),
            }
        }
    }

    /// Reads one key.
    pub fn get(&self, key: &[u8]) -> Result<Option<Value>, IndexError> {
        // What is not waiting any more is in sled by now, so in this order nothing is missed.
        if let Some(recent) = self.shared.recent().get(key) {
            return Ok(recent);
        }
        self.shared.blocks.get(key)
    }

    /// Visits keys in order until `visit` breaks. Not a snapshot: changes applied meanwhile may be seen.
    pub fn visit(
        &self,
        range: (Bound<&[u8]>, Bound<&[u8]>),
        mut visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), IndexError> {
        self.visit_each(range, &mut visit)
    }

    /// One for all visitors: the merging is not compiled again for each.
    pub(super) fn visit_each(
        &self,
        range: (Bound<&[u8]>, Bound<&[u8]>),
        visit: &mut Visitor<'_>,
    ) -> Result<(), IndexError> {
        if !is_proper(range) {
            return Ok(());
        }
        let over = self.shared.recent().range(range);
        merged(over, |visit| self.shared.blocks.visit(range, visit), visit)
    }

    /// Makes changes visible, and the position they bring the index to. sled gets them later; when it failed before,
    /// that is said now.
    pub fn add(
        &self,
        entries: impl IntoIterator<Item = (Vec<u8>, Option<Value>)>,
        position: u64,
    ) -> Result<(), IndexError> {
        let (keys, bytes) = {
            let mut recent = self.shared.recent_mut();
            recent.add(entries, position);
            recent.size()
        };
        if keys >= HELD_BACK_KEYS || bytes >= HELD_BACK_BYTES {
            self.shared.wish().due = true;
            self.shared.wished.notify_one();
        }
        if keys >= HELD_BACK_KEYS * HELD_BACK_MOST || bytes >= HELD_BACK_BYTES * HELD_BACK_MOST {
            return self.shared.hand_on();
        }
        match self.shared.handing_on.try_lock() {
            Ok(failed) => failed.clone().map_or(Ok(()), |error| Err(IndexError(error))),
            // Somebody is at it.
            Err(_) => Ok(()),
        }
    }

    /// Hands a batch and the position it brings the index to straight to sled, all at once. For building an index,
    /// before anything was added.
    pub fn apply(&self, batch: &Batch, position: u64) -> Result<(), IndexError> {
        self.shared.apply(&batch.0, position)
    }

    /// Hands everything applied to the kernel: survives a kill, not a power cut.
    pub fn flush(&self) -> Result<(), IndexError> {
        self.shared.hand_on()?;
        self.shared.blocks.db.flush()?;
        Ok(())
    }

    /// Puts everything applied on stable storage.
    pub fn sync(&self) -> Result<(), IndexError> {
        self.flush()?;
        self.log.sync_all().map_err(|error| IndexError(error.to_string()))
    }

    /// Bytes of the index on disk.
    pub fn size(&self) -> Result<u64, IndexError> {
        Ok(self.shared.blocks.db.size_on_disk()?)
    }
}

impl Drop for Index {
    /// What waits is left to the next start, as a kill would.
    fn drop(&mut self) {
        self.shared.wish().closing = true;
        self.shared.wished.notify_one();
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

// Nothing that holds these locks leaves something half done when it panics.
impl Shared {
    fn recent(&self) -> RwLockReadGuard<'_, Recent> {
        self.recent.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn recent_mut(&self) -> RwLockWriteGuard<'_, Recent> {
        self.recent.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn reached(&self) -> MutexGuard<'_, Reached> {
        self.reached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wish(&self) -> MutexGuard<'_, Wish> {
        self.wish.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hand_on_when_due(&self) {
        loop {
            let mut wish = self.wish();
            while !wish.due && !wish.closing {
                wish = self.wished.wait(wish).unwrap_or_else(PoisonError::into_inner);
            }
            if wish.closing {
                return;
            }
            wish.due = false;
            drop(wish);
            // Whoever adds next is told; sled refuses everything from now on.
            let _ = self.hand_on();
        }
    }

    /// Brings what waits into sled.
    fn hand_on(&self) -> Result<(), IndexError> {
        let mut failed = self.handing_on.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = &*failed {
            return Err(IndexError(error.clone()));
        }
        let (entries, position) = self.recent_mut().freeze();
        if entries.is_empty() && position == 0 {
            return Ok(());
        }
        self.apply(&entries, position).inspect_err(|error| *failed = Some(error.0.clone()))?;
        self.recent_mut().thaw();
        Ok(())
    }

    /// In steps, as readers wait for each; a kill between two of them is made good by the replay, which begins at the
    /// position that the last step writes.
    fn apply(&self, entries: &Entries, position: u64) -> Result<(), IndexError> {
        let mut changes = Changes::new(&self.blocks, entries);
        loop {
            let mut step = changes.step(STEP)?;
            let mut reached = *self.reached();
            reached.content = reached.content.saturating_add(step.added).saturating_sub(step.removed);
            if step.is_last {
                reached.position = Some(position);
            }
            reached.write(&mut step.writes);
            self.blocks.write(step.writes)?;
            *self.reached() = reached;
            tidy_up_after(step.count);
            if step.is_last {
                return Ok(());
            }
        }
    }
}

/// Blocks in one step of handing on: sled holds its one lock while it writes them.
const STEP: usize = 128;

/// What a copy reads at once, and what it may keep in memory.
const COPY_BYTES: usize = 1 << 18;
/// See [`COPY_BYTES`].
const COPY_CACHE_BYTES: u64 = 8 << 20;

/// Every write leaves an old copy of its page behind. They are freed in small steps, one now and then as sled's data is
/// looked at; but a batch looks once and leaves thousands. Unless the steps are taken here, building an index of 100 MB
/// takes 8 GB.
fn tidy_up_after(writes: usize) {
    for _ in 0..2 + writes / WRITES_A_STEP {
        crossbeam_epoch::pin().flush();
    }
}

/// A step frees about 500 copies; a write leaves one, sometimes three.
const WRITES_A_STEP: usize = 100;

/// sled panics on a range whose start lies behind its end.
fn is_proper((from, to): (Bound<&[u8]>, Bound<&[u8]>)) -> bool {
    match (from, to) {
        (Bound::Included(a), Bound::Included(b)) => a <= b,
        (Bound::Included(a) | Bound::Excluded(a), Bound::Included(b) | Bound::Excluded(b)) => a < b,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_position_with_its_batch() {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join("i");
        {
            let index = Index::open(&path, 1 << 20).expect("open");
            assert_eq!(index.position(), None);
            let mut batch = Batch::default();
            batch.set(b"k", Some(&Value::from(b"v".to_vec())));
            batch.set(b"l", Some(&Value::from(b"v".to_vec())));
            batch.set(b"l", None);
            index.apply(&batch, 77).expect("apply");
            index.sync().expect("sync");
        }
        let index = Index::open(&path, 1 << 20).expect("reopen");
        assert_eq!(index.position(), Some(77));
        assert_eq!(index.get(b"k").expect("read").as_deref(), Some(&b"v"[..]));
        let mut seen = Vec::new();
        index
            .visit((Bound::Unbounded, Bound::Unbounded), |key, _| {
                seen.push(key.to_vec());
                ControlFlow::Continue(())
            })
            .expect("visit");
        assert_eq!(seen, [b"k".to_vec()], "own records stay hidden");
    }

    /// What waits is seen over what is in sled, before and after it is handed on.
    #[test]
    fn what_waits_is_seen_as_one_with_the_rest() {
        let dir = tempfile::tempdir().expect("tempdir");
        let index = Index::open(dir.path(), 1 << 20).expect("open");
        let value = |text: &str| Some(Value::from(text.as_bytes()));
        let mut batch = Batch::default();
        for key in ["a", "c", "e", "g"] {
            batch.set(key.as_bytes(), value("old").as_ref());
        }
        index.apply(&batch, 1).expect("apply");
        let changes =
            [("b", value("new")), ("c", value("new")), ("e", None), ("x", None), ("z", value("new"))];
        index.add(changes.map(|(key, value)| (key.as_bytes().to_vec(), value)), 2).expect("add");
        let expected = "a=old b=new c=new g=old z=new";
        let text = |key: &[u8], value: &[u8]| {
            format!("{}={}", String::from_utf8_lossy(key), String::from_utf8_lossy(value))
        };
        for round in 0..2 {
            let (mut there, mut two) = (Vec::new(), Vec::new());
            let all = (Bound::Unbounded, Bound::Unbounded);
            index
                .visit(all, |key, value| {
                    there.push(text(key, value));
                    ControlFlow::Continue(())
                })
                .expect("visit");
            index
                .visit((Bound::Excluded(b"a"), Bound::Unbounded), |key, value| {
                    two.push(text(key, value));
                    if two.len() == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                })
                .expect("visit");
            assert_eq!(there.join(" "), expected, "{round}");
            assert_eq!(two, ["b=new", "c=new"], "{round}");
            assert_eq!(index.get(b"e").expect("get"), None, "{round}");
            assert_eq!(index.get(b"b").expect("get").as_deref(), Some(&b"new"[..]), "{round}");
            assert_eq!(index.position(), Some(1 + round), "the position goes with the writes");
            index.flush().expect("flush");
        }
    }

    /// Enough of it goes on by itself; what is read meanwhile is there all the time.
    #[test]
    fn what_is_held_back_goes_on_when_there_is_enough() {
        let dir = tempfile::tempdir().expect("tempdir");
        let index = Index::open(dir.path(), 1 << 20).expect("open");
        let keys = u64::try_from(HELD_BACK_KEYS).expect("number");
        for number in 1..=keys * 3 {
            let key = number.to_be_bytes().to_vec();
            index
                .add([(b"k".iter().copied().chain(key).collect(), Some(Value::from(&b"v"[..])))], number)
                .expect("add");
            let looked = [&b"k"[..], &(number / 2 + 1).to_be_bytes()].concat();
            assert!(index.get(&looked).expect("get").is_some(), "{number}");
        }
        let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while index.position().unwrap_or(0) < keys {
            assert!(std::time::Instant::now() < until, "nothing was handed on");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    #[test]
    fn a_copy_is_equal_and_smaller_and_knows_how_much_it_holds() {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join("i");
        let key = |number: u32| [&b"k"[..], &number.to_be_bytes()].concat();
        {
            let index = Index::open(&path, 1 << 20).expect("open");
            for round in 0..20 {
                let mut batch = Batch::default();
                for number in 0..3000 {
                    batch.set(&key(number), Some(&Value::from(vec![round; 100])));
                }
                for number in (0..3000).filter(|number| number % 3 == 0) {
                    batch.set(&key(number), None);
                }
                index.apply(&batch, 7 + u64::from(round)).expect("apply");
            }
            index.flush().expect("flush");
        }
        let index = Index::open(&path, 1 << 20).expect("reopen");
        assert!((2000 * 103..2000 * 108).contains(&index.content()), "{}", index.content());
        index.copy_to(&dir.path().join("j")).expect("copy");
        let copy = Index::open(&dir.path().join("j"), 1 << 20).expect("open the copy");
        assert_eq!(copy.position(), Some(26));
        assert!(copy.content().abs_diff(index.content()) < 2000, "{}", copy.content());
        assert!(copy.size().expect("size") < index.size().expect("size") / 2);
        for number in 0..3000 {
            let expected = (number % 3 != 0).then(|| vec![19; 100]);
            assert_eq!(copy.get(&key(number)).expect("get").map(|value| value.to_vec()), expected);
        }
    }

    /// Blocks are divided and emptied under readers; what is there all the time is seen each time, once and in order.
    #[test]
    fn readers_miss_nothing_while_blocks_are_divided() {
        let dir = tempfile::tempdir().expect("tempdir");
        let index = Index::open(dir.path(), 8 << 20).expect("open");
        let key = |number: u32| number.to_be_bytes();
        let stays = |number: u32| number.is_multiple_of(40);
        let mut batch = Batch::default();
        for number in (0..40_000).filter(|number| stays(*number)) {
            batch.set(&key(number), Some(&Value::from(vec![1; 60])));
        }
        index.apply(&batch, 1).expect("apply");
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut reads = 0;
                    while !done.load(std::sync::atomic::Ordering::SeqCst) {
                        let mut seen = Vec::new();
                        let visited = index.visit((Bound::Unbounded, Bound::Unbounded), |key, _| {
                            seen.push(u32::from_be_bytes(key.try_into().expect("four octets")));
                            ControlFlow::Continue(())
                        });
                        visited.expect("visit");
                        assert!(seen.is_sorted_by(|a, b| a < b), "in order and once");
                        assert_eq!(seen.into_iter().filter(|number| stays(*number)).count(), 1000, "{reads}");
                        reads += 1;
                    }
                });
            }
            for round in 0..30u32 {
                for goes in [false, true] {
                    let mut batch = Batch::default();
                    for number in (0..40_000).filter(|number| !stays(*number) && number % 11 == round % 11) {
                        batch.set(&key(number), (!goes).then(|| Value::from(vec![2; 200])).as_ref());
                    }
                    index.apply(&batch, u64::from(round) + 2).expect("apply");
                }
            }
            done.store(true, std::sync::atomic::Ordering::SeqCst);
        });
    }

    #[test]
    fn a_second_open_is_an_error() {
        let dir = tempfile::tempdir().expect("tempdir");
        let _first = Index::open(dir.path(), 1 << 20).expect("open");
        assert!(Index::open(dir.path(), 1 << 20).err().is_some_and(|error| error.is_locked()));
    }

    #[test]
    fn an_empty_range_is_not_a_panic() {
        let dir = tempfile::tempdir().expect("tempdir");
        let index = Index::open(dir.path(), 1 << 20).expect("open");
        let none = |_: &[u8], _: &[u8]| ControlFlow::Continue(());
        index.visit((Bound::Included(b"b"), Bound::Excluded(b"a")), none).expect("visit");
        index.visit((Bound::Excluded(b"a"), Bound::Excluded(b"a")), none).expect("visit");
    }
}
