//! The index over journal and message files: ordered keys in sled. The only module that names sled.
//!
//! sled 0.34.7 is used the way it holds up: one tree, one batch per group from one thread, no transactions,
//! no `flush_async` (deadlocks), no `len` (scans), values bounded. Its `flush` does not survive a power cut by
//! itself, and segments it reuses may tear older state, so the index is only ever a cache of snapshot + journal:
//! see `open.rs` for when it is trusted.
//!
//! Fails with: `IndexError`. A sled panic while opening becomes an error too.

use std::fs::File;
use std::ops::{Bound, ControlFlow, Deref};
use std::path::Path;

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

/// Our own records begin with a zero byte; no caller's key does.
const POSITION: &[u8] = b"\0position";

/// An open index.
pub struct Index {
    db: sled::Db,
    log: File,
}

/// Puts and deletes applied at once.
#[derive(Default)]
pub struct Batch {
    writes: sled::Batch,
    count: usize,
}

impl Batch {
    /// Adds a put (`Some`) or a delete (`None`).
    pub fn set(&mut self, key: &[u8], value: Option<&Value>) {
        self.count += 1;
        match value {
            Some(value) => self.writes.insert(key, value.0.clone()),
            None => self.writes.remove(key),
        }
    }
}

impl Index {
    /// Opens or makes the index in `dir`.
    pub fn open(dir: &Path, cache_bytes: u64) -> Result<Self, IndexError> {
        let config = sled::Config::new().path(dir).cache_capacity(cache_bytes).flush_every_ms(None);
        // Recovery of a damaged file runs into assertions inside sled; they must not take the process along.
        let db = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| config.open()))
            .map_err(|_| IndexError("sled panicked while opening".into()))??;
        let log = File::open(dir.join("db")).map_err(|error| IndexError(error.to_string()))?;
        Ok(Self { db, log })
    }

    /// The journal position up to which changes are contained; `None` in an index without any.
    pub fn position(&self) -> Result<Option<u64>, IndexError> {
        match self.db.get(POSITION)? {
            None => Ok(None),
            Some(bytes) => match bytes.as_ref().try_into() {
                Ok(bytes) => Ok(Some(u64::from_be_bytes(bytes))),
                Err(_) => Err(IndexError("position record has a wrong length".into())),
            },
        }
    }

    /// Reads one key.
    pub fn get(&self, key: &[u8]) -> Result<Option<Value>, IndexError> {
        Ok(self.db.get(key)?.map(Value))
    }

    /// Visits keys in order until `visit` breaks. Not a snapshot: changes applied meanwhile may be seen.
    pub fn visit(
        &self,
        range: (Bound<&[u8]>, Bound<&[u8]>),
        mut visit: impl FnMut(&[u8], &Value) -> ControlFlow<()>,
    ) -> Result<(), IndexError> {
        if !is_proper(range) {
            return Ok(());
        }
        for entry in self.db.range::<&[u8], _>(range) {
            let (key, value) = entry?;
            if key.first() == Some(&0) {
                continue;
            }
            if visit(&key, &Value(value)).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Visits keys in descending order until `visit` breaks.
    pub fn visit_back(
        &self,
        range: (Bound<&[u8]>, Bound<&[u8]>),
        mut visit: impl FnMut(&[u8], &Value) -> ControlFlow<()>,
    ) -> Result<(), IndexError> {
        if !is_proper(range) {
            return Ok(());
        }
        for entry in self.db.range::<&[u8], _>(range).rev() {
            let (key, value) = entry?;
            if key.first() == Some(&0) {
                continue;
            }
            if visit(&key, &Value(value)).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Applies a batch and records the position it brings the index to, all at once.
    pub fn apply(&self, mut batch: Batch, position: u64) -> Result<(), IndexError> {
        batch.writes.insert(POSITION, &position.to_be_bytes());
        self.db.apply_batch(batch.writes)?;
        tidy_up_after(batch.count);
        Ok(())
    }

    /// Hands everything applied to the kernel: survives a kill, not a power cut.
    pub fn flush(&self) -> Result<(), IndexError> {
        self.db.flush()?;
        Ok(())
    }

    /// Puts everything applied on stable storage.
    pub fn sync(&self) -> Result<(), IndexError> {
        self.flush()?;
        self.log.sync_all().map_err(|error| IndexError(error.to_string()))
    }

    /// Bytes of the index on disk.
    pub fn size(&self) -> Result<u64, IndexError> {
        Ok(self.db.size_on_disk()?)
    }
}

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
            assert_eq!(index.position().expect("read"), None);
            let mut batch = Batch::default();
            batch.set(b"k", Some(&Value::from(b"v".to_vec())));
            batch.set(b"l", Some(&Value::from(b"v".to_vec())));
            batch.set(b"l", None);
            index.apply(batch, 77).expect("apply");
            index.sync().expect("sync");
        }
        let index = Index::open(&path, 1 << 20).expect("reopen");
        assert_eq!(index.position().expect("read"), Some(77));
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
        let none = |_: &[u8], _: &Value| ControlFlow::Continue(());
        index.visit((Bound::Included(b"b"), Bound::Excluded(b"a")), none).expect("visit");
        index.visit((Bound::Excluded(b"a"), Bound::Excluded(b"a")), none).expect("visit");
        index.visit_back((Bound::Included(b"b"), Bound::Included(b"a")), none).expect("visit");
    }
}
