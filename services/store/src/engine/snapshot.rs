//! A snapshot: the whole index in one portable file, from which it can be rebuilt together with the journal.
//!
//! Written while changes go on, so it is fuzzy: it holds every change up to its start position and some of those
//! after it. Replaying the journal from the start position makes it exact, since changes are blind. Journal
//! older than the newest snapshot is not needed.
//!
//! File: magic, start position, blocks (length, CRC-32, entries), a block of length zero with the entry count.
//! Fails with: `SnapshotError`.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use super::change::{Input, put_bytes};
use super::index::{Batch, Index, IndexError, Value};

const MAGIC: &[u8; 8] = b"MOXSNAP1";
/// Entries are gathered up to this size; a reader allocates no more than twice that for a block.
const BLOCK_BYTES: usize = 1 << 18;

/// Written to an index that is being built before it is flushed: sled keeps all that is not in memory.
pub const FLUSH_BYTES: usize = 8 << 20;

/// Why a snapshot cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The file system.
    #[error("snapshot {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Not a snapshot, cut short, or changed since it was written.
    #[error("snapshot {0} is damaged")]
    Damaged(PathBuf),
    /// The index it is read from or written to.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// A snapshot on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The file.
    pub path: PathBuf,
    /// Journal position from which replay makes it exact.
    pub start: u64,
    /// Bytes of the file.
    pub size: u64,
}

/// The newest snapshot of a folder.
pub fn newest(dir: &Path) -> io::Result<Option<Snapshot>> {
    let mut newest: Option<Snapshot> = None;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let hex = name.to_str().and_then(|name| name.strip_prefix("snapshot-"));
        let Some(start) = hex.and_then(|hex| u64::from_str_radix(hex, 16).ok()) else { continue };
        if newest.as_ref().is_none_or(|newest| newest.start < start) {
            newest = Some(Snapshot { path: entry.path(), start, size: entry.metadata()?.len() });
        }
    }
    Ok(newest)
}

/// Writes a snapshot under its temporary name and syncs it. `start` must have been reached before the call.
pub fn write(dir: &Path, index: &Index, start: u64) -> Result<PathBuf, SnapshotError> {
    let path = dir.join("snapshot.new");
    let fault = |source| SnapshotError::Io { path: path.clone(), source };
    let mut out = BufWriter::with_capacity(BLOCK_BYTES, File::create(&path).map_err(fault)?);
    out.write_all(MAGIC).and_then(|()| out.write_all(&start.to_le_bytes())).map_err(fault)?;
    let mut count = 0u64;
    index.in_steps(
        BLOCK_BYTES,
        |(entries, block): &mut (u64, Vec<u8>), key, value| {
            put_bytes(block, key);
            put_bytes(block, value);
            *entries += 1;
        },
        |(entries, block), _| {
            count += entries;
            write_block(&mut out, &block).map_err(fault)
        },
    )?;
    let finish = || -> io::Result<()> {
        out.write_all(&0u32.to_le_bytes())?;
        out.write_all(&crc32fast::hash(&count.to_le_bytes()).to_le_bytes())?;
        out.write_all(&count.to_le_bytes())?;
        out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
    };
    finish().map_err(fault)?;
    Ok(path)
}

fn write_block(out: &mut impl Write, block: &[u8]) -> io::Result<()> {
    out.write_all(&u32::try_from(block.len()).map_err(io::Error::other)?.to_le_bytes())?;
    out.write_all(&crc32fast::hash(block).to_le_bytes())?;
    out.write_all(block)
}

/// Gives a finished snapshot its name and removes older ones.
pub fn publish(dir: &Path, finished: &Path, start: u64) -> io::Result<Snapshot> {
    let path = dir.join(format!("snapshot-{start:016x}"));
    fs::rename(finished, &path)?;
    File::open(dir)?.sync_all()?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let is_snapshot = entry.file_name().to_str().is_some_and(|name| name.starts_with("snapshot-"));
        if is_snapshot && entry.path() != path {
            fs::remove_file(entry.path())?;
        }
    }
    let size = fs::metadata(&path)?.len();
    Ok(Snapshot { path, start, size })
}

/// Puts all entries of a snapshot into an empty index. Returns their number.
pub fn load(snapshot: &Snapshot, index: &Index) -> Result<u64, SnapshotError> {
    let mut unflushed = 0;
    read(&snapshot.path, snapshot.start, |entries| {
        let mut batch = Batch::default();
        for (key, value) in entries {
            unflushed += key.len() + value.len();
            batch.set(key, Some(&Value::from(*value)));
        }
        index.apply(&batch, snapshot.start)?;
        if unflushed >= FLUSH_BYTES {
            unflushed = 0;
            index.flush()?;
        }
        Ok(())
    })
}

/// Hands the entries of a snapshot to `visit`, in blocks, checking all checksums.
pub fn read(
    path: &Path,
    start: u64,
    mut visit: impl FnMut(&[(&[u8], &[u8])]) -> Result<(), SnapshotError>,
) -> Result<u64, SnapshotError> {
    let damaged = || SnapshotError::Damaged(path.to_owned());
    let fault = |source: io::Error| match source.kind() {
        io::ErrorKind::UnexpectedEof => damaged(),
        _ => SnapshotError::Io { path: path.to_owned(), source },
    };
    let mut input = BufReader::with_capacity(BLOCK_BYTES, File::open(path).map_err(fault)?);
    let mut magic = [0u8; 8];
    input.read_exact(&mut magic).map_err(fault)?;
    let mut named = [0u8; 8];
    input.read_exact(&mut named).map_err(fault)?;
    if magic != *MAGIC || u64::from_le_bytes(named) != start {
        return Err(damaged());
    }
    let mut count = 0u64;
    let mut block = Vec::new();
    loop {
        let mut head = [0u8; 8];
        input.read_exact(&mut head).map_err(fault)?;
        let [a, b, c, d, e, f, g, h] = head;
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        let checksum = u32::from_le_bytes([e, f, g, h]);
        if length == 0 {
            let mut total = [0u8; 8];
            input.read_exact(&mut total).map_err(fault)?;
            let right = crc32fast::hash(&total) == checksum && u64::from_le_bytes(total) == count;
            return if right { Ok(count) } else { Err(damaged()) };
        }
        if length > 2 * BLOCK_BYTES {
            return Err(damaged());
        }
        block.resize(length, 0);
        input.read_exact(&mut block).map_err(fault)?;
        if crc32fast::hash(&block) != checksum {
            return Err(damaged());
        }
        let mut entries = Vec::new();
        let mut rest = Input(&block);
        while !rest.0.is_empty() {
            let key = rest.bytes().map_err(|_| damaged())?;
            let value = rest.bytes().map_err(|_| damaged())?;
            entries.push((key, value));
        }
        count += entries.len() as u64;
        visit(&entries)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ops::{Bound, ControlFlow};

    fn filled(dir: &Path, entries: u32) -> Index {
        let index = Index::open(&dir.join("a"), 8 << 20).expect("open");
        for chunk in (0..entries).collect::<Vec<_>>().chunks(500) {
            let mut batch = Batch::default();
            for number in chunk {
                batch.set(&[b"k", &number.to_be_bytes()[..]].concat(), Some(&Value::from(vec![1u8; 100])));
            }
            index.apply(&batch, u64::from(chunk[0]) + 1).expect("apply");
        }
        index
    }

    #[test]
    fn a_rebuilt_index_is_equal() {
        let dir = tempfile::tempdir().expect("tempdir");
        let index = filled(dir.path(), 10_000);
        let finished = write(dir.path(), &index, 42).expect("write");
        let snapshot = publish(dir.path(), &finished, 42).expect("publish");
        assert_eq!(newest(dir.path()).expect("find"), Some(snapshot.clone()));
        let copy = Index::open(&dir.path().join("b"), 8 << 20).expect("open");
        assert_eq!(load(&snapshot, &copy).expect("load"), 10_000);
        assert_eq!(copy.position(), Some(42));
        let all = |index: &Index| {
            let mut all = Vec::new();
            index
                .visit((Bound::Unbounded, Bound::Unbounded), |key, value| {
                    all.push((key.to_vec(), value.to_vec()));
                    ControlFlow::Continue(())
                })
                .expect("visit");
            all
        };
        assert_eq!(all(&index), all(&copy));
    }

    #[test]
    fn damage_anywhere_is_noticed() {
        let dir = tempfile::tempdir().expect("tempdir");
        let index = filled(dir.path(), 30);
        let path = write(dir.path(), &index, 7).expect("write");
        let whole = fs::read(&path).expect("read");
        let test = |bytes: &[u8], what: &str| {
            fs::write(&path, bytes).expect("write");
            assert!(matches!(read(&path, 7, |_| Ok(())), Err(SnapshotError::Damaged(_))), "{what}");
        };
        for at in 0..whole.len() {
            let mut bad = whole.clone();
            bad[at] ^= 4;
            test(&bad, &format!("changed at {at}"));
            test(&whole[..at], &format!("cut at {at}"));
        }
    }
}
