//! The journal: every committed change, in order, in segment files.
//!
//! A *position* counts journal bytes from the birth of the store; a segment's name is the position of its first
//! record. Record: magic, payload length, own position, position where its group began, checksum of the record
//! before it, checksum of itself, payload, padding to eight bytes.
//!
//! | what is found after the last good record at X | what it means |
//! |---|---|
//! | nothing, zeros, records of an earlier use of the file | the end |
//! | a good record whose group began at or before X | rest of a group that was never synced: cut |
//! | a good record whose group began after X, or a segment that begins after X | X was synced: damage, refused |
//!
//! A group is written by one write and one sync before the next is begun, so a record vouches for everything
//! before its group. After a write or sync that failed, the next group goes to a new segment that begins where
//! the failed group began: what that one left behind is ignored. New segments are full-sized and, where it can
//! be had, reuse the blocks of old ones: a sync then has no metadata to write.
//!
//! Assumed of the disk: a write does not change neighbouring bytes that it does not cover.
//! Fails with: `JournalError` when reading, `io::Error` when writing.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::change::{BadChange, Change};
use super::limits::CHANGE_BYTES;
use super::medium::Medium;

const SEGMENT_MAGIC: &[u8; 8] = b"MOXJRNL1";
const RECORD_MAGIC: [u8; 4] = *b"MXR1";
/// Magic, start, checksum of the record before, own checksum, zeros.
pub const SEGMENT_HEADER: u64 = HEADER as u64;
const HEADER: usize = 32;
const RECORD_HEADER: usize = 32;

/// Why a journal cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Synced bytes are unreadable: acknowledged changes may be behind them.
    #[error("journal {segment}: damaged at byte {offset} (position {position}), with good records after it")]
    Damaged {
        /// The file.
        segment: PathBuf,
        /// Where in it.
        offset: u64,
        /// The journal position.
        position: u64,
    },
    /// A segment is missing.
    #[error("journal: positions {from} to {to} are missing")]
    Gap {
        /// First missing position.
        from: u64,
        /// Where the journal goes on.
        to: u64,
    },
    /// The journal ends before a position that is known to have been reached.
    #[error("journal ends at {end}, but {needed} had been reached")]
    Short {
        /// Its end.
        end: u64,
        /// The known position.
        needed: u64,
    },
    /// A record is whole but makes no sense: written by another version, or a bug.
    #[error("journal position {position}")]
    Record {
        /// Its position.
        position: u64,
        /// Why.
        #[source]
        source: BadChange,
    },
    /// The file system.
    #[error("journal {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The writing end.
pub struct Journal {
    dir: PathBuf,
    medium: Arc<dyn Medium>,
    segment_bytes: u64,
    open: Option<Segment>,
    end: u64,
    checksum: u32,
    /// The last write or sync failed: what lies behind `end` is unknown.
    suspect: bool,
    buffer: Vec<u8>,
}

struct Segment {
    file: File,
    start: u64,
    capacity: u64,
}

/// Where replay ended, and with it where writing goes on.
#[derive(Debug, PartialEq, Eq, Clone)]
pub struct Tail {
    /// Position after the last good record.
    pub end: u64,
    /// Checksum of that record.
    pub checksum: u32,
    /// Segment that holds the end.
    pub segment: Option<u64>,
    /// Bytes of a group that was never acknowledged were found and left out.
    pub torn: bool,
}

impl Journal {
    /// Goes on writing at `tail`.
    pub fn resume(
        dir: &Path,
        tail: &Tail,
        segment_bytes: u64,
        medium: Arc<dyn Medium>,
    ) -> Result<Self, JournalError> {
        let open = match tail.segment {
            None => None,
            Some(start) => {
                let path = segment_path(dir, start);
                let file = OpenOptions::new().read(true).write(true).open(&path).map_err(fault(&path))?;
                let length = file.metadata().map_err(fault(&path))?.len();
                Some(Segment { file, start, capacity: length.saturating_sub(SEGMENT_HEADER) })
            }
        };
        Ok(Self {
            dir: dir.to_owned(),
            medium,
            segment_bytes,
            open,
            end: tail.end,
            checksum: tail.checksum,
            suspect: false,
            buffer: Vec::new(),
        })
    }

    /// Position after the last synced record.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Whether the last attempt to write failed.
    pub fn is_suspect(&self) -> bool {
        self.suspect
    }

    /// Writes a group and syncs it once. On success `ends` has the position after each change; on failure the
    /// journal stands where it stood, and whether the group is on disk is unknown until the next success.
    pub fn append<'a>(
        &mut self,
        changes: impl Iterator<Item = &'a Change>,
        ends: &mut Vec<u64>,
    ) -> io::Result<()> {
        let group = self.end;
        let mut checksum = self.checksum;
        self.buffer.clear();
        ends.clear();
        for change in changes {
            let begin = self.buffer.len();
            let position = group + begin as u64;
            self.buffer.resize(begin + RECORD_HEADER, 0);
            change.encode(&mut self.buffer);
            let payload = self.buffer.len() - begin - RECORD_HEADER;
            let length = u32::try_from(payload).map_err(|_| io::ErrorKind::FileTooLarge)?;
            self.buffer.resize(begin + RECORD_HEADER + padded(payload), 0);
            let header = &mut self.buffer[begin..begin + RECORD_HEADER];
            header[..4].copy_from_slice(&RECORD_MAGIC);
            header[4..8].copy_from_slice(&length.to_le_bytes());
            header[8..16].copy_from_slice(&position.to_le_bytes());
            header[16..24].copy_from_slice(&group.to_le_bytes());
            header[24..28].copy_from_slice(&checksum.to_le_bytes());
            checksum = record_checksum(&self.buffer[begin..begin + RECORD_HEADER + payload]);
            self.buffer[begin + 28..begin + 32].copy_from_slice(&checksum.to_le_bytes());
            ends.push(group + self.buffer.len() as u64);
        }
        let result = self.write_group(group);
        if self.buffer.capacity() > 4 * (1 << 20) {
            self.buffer = Vec::new();
        }
        match result {
            Ok(bytes) => {
                self.end = group + bytes;
                self.checksum = checksum;
                self.suspect = false;
                Ok(())
            }
            Err(error) => {
                self.suspect = true;
                Err(error)
            }
        }
    }

    fn write_group(&mut self, group: u64) -> io::Result<u64> {
        let bytes = self.buffer.len() as u64;
        let fits = |segment: &Segment| group - segment.start + bytes <= segment.capacity;
        if self.suspect || !self.open.as_ref().is_some_and(fits) {
            self.open = None;
            let capacity = bytes.max(self.segment_bytes);
            self.open = Some(self.begin_segment(group, capacity)?);
        }
        let Some(segment) = &self.open else { return Err(io::ErrorKind::NotFound.into()) };
        self.medium.write_at(&segment.file, &self.buffer, SEGMENT_HEADER + group - segment.start)?;
        self.medium.sync(&segment.file)?;
        Ok(bytes)
    }

    /// The header is on disk before the segment has its name, so a named segment without one is damage.
    fn begin_segment(&self, start: u64, capacity: u64) -> io::Result<Segment> {
        let fresh = self.dir.join("fresh");
        let reused = capacity == self.segment_bytes
            && (0..SPARES).any(|number| fs::rename(spare(&self.dir, number), &fresh).is_ok());
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(!reused).open(&fresh)?;
        if !reused {
            allocate(&file, SEGMENT_HEADER + capacity)?;
        }
        let mut header = [0u8; HEADER];
        header[..8].copy_from_slice(SEGMENT_MAGIC);
        header[8..16].copy_from_slice(&start.to_le_bytes());
        header[16..20].copy_from_slice(&self.checksum.to_le_bytes());
        let own = crc32fast::hash(&header[..20]);
        header[20..24].copy_from_slice(&own.to_le_bytes());
        self.medium.write_at(&file, &header, 0)?;
        self.medium.sync(&file)?;
        file.sync_all()?;
        fs::rename(&fresh, segment_path(&self.dir, start))?;
        File::open(&self.dir)?.sync_all()?;
        Ok(Segment { file, start, capacity })
    }
}

/// Segments kept ready.
const SPARES: usize = 4;

fn spare(dir: &Path, number: usize) -> PathBuf {
    dir.join(format!("spare-{number}"))
}

fn missing_spare(dir: &Path) -> Option<PathBuf> {
    (0..SPARES).map(|number| spare(dir, number)).find(|path| !path.exists())
}

/// Removes segments that end at or before `bound`, keeping some of them for reuse. Returns how many went.
pub fn drop_segments(dir: &Path, bound: u64, segment_bytes: u64) -> Result<usize, JournalError> {
    let starts = list(dir)?;
    let mut dropped = 0;
    for pair in starts.windows(2) {
        let [start, next] = pair else { continue };
        if *next > bound {
            break;
        }
        let path = segment_path(dir, *start);
        let length = fs::metadata(&path).map_err(fault(&path))?.len();
        let kept = missing_spare(dir).filter(|_| length == SEGMENT_HEADER + segment_bytes);
        if let Some(spare) = kept {
            // The old name must be gone for good before the blocks are written again under another one.
            let half = dir.join("spare.new");
            fs::rename(&path, &half).map_err(fault(&path))?;
            sync_dir(dir)?;
            fs::rename(&half, &spare).map_err(fault(&half))?;
        } else {
            fs::remove_file(&path).map_err(fault(&path))?;
        }
        dropped += 1;
    }
    if dropped > 0 {
        sync_dir(dir)?;
    }
    Ok(dropped)
}

/// Makes sure that a spare segment is there whose blocks are written: syncing records in it moves data only,
/// while blocks that are merely reserved have to be entered in the file system's own journal one by one.
pub fn prepare_spare(dir: &Path, segment_bytes: u64) -> io::Result<()> {
    if (0..SPARES).any(|number| spare(dir, number).exists()) {
        return Ok(());
    }
    let half = dir.join("spare.new");
    let file = File::create(&half)?;
    let zeros = vec![0u8; 1 << 18];
    let mut at = 0;
    let size = SEGMENT_HEADER + segment_bytes;
    while at < size {
        let step = (size - at).min(zeros.len() as u64);
        file.write_all_at(&zeros[..usize::try_from(step).unwrap_or(0)], at)?;
        at += step;
    }
    file.sync_all()?;
    fs::rename(&half, spare(dir, 0))
}

/// Hands every change after position `from` to `visit`, in order, with the position after it.
pub fn replay(
    dir: &Path,
    from: u64,
    mut visit: impl FnMut(u64, Change) -> Result<(), JournalError>,
) -> Result<Tail, JournalError> {
    let starts = list(dir)?;
    let mut tail = Tail { end: from, checksum: 0, segment: None, torn: false };
    let Some(first) = starts.iter().rposition(|start| *start <= from) else {
        return match starts.first() {
            Some(start) => Err(JournalError::Gap { from, to: *start }),
            None => Ok(tail),
        };
    };
    for (at, start) in starts.iter().enumerate().skip(first) {
        let next = starts.get(at + 1).copied();
        let path = segment_path(dir, *start);
        let bytes = fs::read(&path).map_err(fault(&path))?;
        let damaged = |position: u64| JournalError::Damaged {
            segment: path.clone(),
            offset: position - start + SEGMENT_HEADER,
            position,
        };
        let Some(before) = segment_header(&bytes, *start) else {
            return Err(JournalError::Damaged { segment: path, offset: 0, position: *start });
        };
        if tail.segment.is_some() && tail.end != *start {
            return Err(JournalError::Gap { from: tail.end, to: *start });
        }
        if tail.segment.is_some() && before != tail.checksum {
            return Err(damaged(*start));
        }
        tail = Tail { end: *start, checksum: before, segment: Some(*start), torn: false };
        let records = &bytes[HEADER..];
        // What a failed group left behind the start of the next segment does not count.
        while next.is_none_or(|next| tail.end < next) {
            let rest = records.get(usize::try_from(tail.end - start).unwrap_or(usize::MAX)..).unwrap_or(&[]);
            let Some(record) = Record::read(rest, tail.end) else { break };
            if record.before != tail.checksum {
                break;
            }
            let end = tail.end + record.size as u64;
            if end > from {
                let change = Change::decode(record.payload)
                    .map_err(|source| JournalError::Record { position: tail.end, source })?;
                visit(end, change)?;
            }
            tail.end = end;
            tail.checksum = record.checksum;
        }
        match next {
            Some(next) if tail.end == next => {}
            Some(_) => return Err(damaged(tail.end)),
            None => match look_behind(records, *start, tail.end) {
                Behind::Nothing => {}
                Behind::Unsynced => tail.torn = true,
                Behind::Synced => return Err(damaged(tail.end)),
            },
        }
    }
    if tail.end < from {
        return Err(JournalError::Short { end: tail.end, needed: from });
    }
    Ok(tail)
}

/// Removes what an interrupted start of a segment left.
pub fn tidy(dir: &Path) {
    for name in ["fresh", "spare.new"] {
        let _ = fs::remove_file(dir.join(name));
    }
}

/// Positions at which the segments begin, ascending.
pub fn list(dir: &Path) -> Result<Vec<u64>, JournalError> {
    let mut starts = Vec::new();
    for entry in fs::read_dir(dir).map_err(fault(dir))? {
        let name = entry.map_err(fault(dir))?.file_name();
        let start = name.to_str().and_then(|name| name.strip_suffix(".seg"));
        if let Some(start) = start.and_then(|hex| u64::from_str_radix(hex, 16).ok()) {
            starts.push(start);
        }
    }
    starts.sort_unstable();
    Ok(starts)
}

/// Where the segment that begins at `start` lives.
pub fn segment_path(dir: &Path, start: u64) -> PathBuf {
    dir.join(format!("{start:016x}.seg"))
}

enum Behind {
    Nothing,
    Unsynced,
    Synced,
}

/// Decides between a torn group and damage; see the table above.
fn look_behind(records: &[u8], start: u64, end: u64) -> Behind {
    let mut found = Behind::Nothing;
    let mut at = usize::try_from(end - start).unwrap_or(usize::MAX);
    let mut torn_at_end = records.get(at..at.saturating_add(4)).is_some_and(|magic| magic == RECORD_MAGIC)
        && position_of(&records[at..]) == Some(end);
    while let Some(rest) = records.get(at..) {
        if rest.len() < RECORD_HEADER {
            break;
        }
        if rest[..4] == RECORD_MAGIC
            && let Some(record) = Record::read(rest, start + at as u64)
        {
            if record.group > end {
                return Behind::Synced;
            }
            if record.group == end {
                torn_at_end = true;
            }
        }
        at += 8;
    }
    if torn_at_end {
        found = Behind::Unsynced;
    }
    found
}

fn position_of(record: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(record.get(8..16)?.try_into().ok()?))
}

struct Record<'a> {
    group: u64,
    before: u32,
    checksum: u32,
    payload: &'a [u8],
    size: usize,
}

impl<'a> Record<'a> {
    /// The record at `position`, if there is a whole one that claims to be there.
    fn read(bytes: &'a [u8], position: u64) -> Option<Self> {
        let header = bytes.get(..RECORD_HEADER)?;
        let word = |at: usize| Some(u32::from_le_bytes(header.get(at..at + 4)?.try_into().ok()?));
        let long = |at: usize| Some(u64::from_le_bytes(header.get(at..at + 8)?.try_into().ok()?));
        if header[..4] != RECORD_MAGIC || long(8)? != position {
            return None;
        }
        let length = usize::try_from(word(4)?).ok()?;
        // The journal form of a change may be a little larger than its estimate.
        if length > 2 * CHANGE_BYTES {
            return None;
        }
        let size = RECORD_HEADER + padded(length);
        let whole = bytes.get(..size)?;
        let checksum = record_checksum(&whole[..RECORD_HEADER + length]);
        if checksum != word(28)? {
            return None;
        }
        let payload = &whole[RECORD_HEADER..RECORD_HEADER + length];
        Some(Self { group: long(16)?, before: word(24)?, checksum, payload, size })
    }
}

fn record_checksum(record: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&record[..28]);
    hasher.update(&record[RECORD_HEADER..]);
    hasher.finalize()
}

fn segment_header(bytes: &[u8], start: u64) -> Option<u32> {
    let header = bytes.get(..HEADER)?;
    let own = u32::from_le_bytes(header[20..24].try_into().ok()?);
    let named = u64::from_le_bytes(header[8..16].try_into().ok()?);
    if header[..8] != *SEGMENT_MAGIC || own != crc32fast::hash(&header[..20]) || named != start {
        return None;
    }
    Some(u32::from_le_bytes(header[16..20].try_into().ok()?))
}

fn padded(length: usize) -> usize {
    length.div_ceil(8) * 8
}

/// Reserves the blocks, so that a full disk is noticed here and not in the middle of a group.
fn allocate(file: &File, size: u64) -> io::Result<()> {
    use rustix::fs::FallocateFlags;
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, size) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => file.set_len(size),
        Err(error) => Err(error.into()),
    }
}

fn sync_dir(dir: &Path) -> Result<(), JournalError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(fault(dir))
}

fn fault(path: &Path) -> impl FnOnce(io::Error) -> JournalError {
    let path = path.to_owned();
    move |source| JournalError::Io { path, source }
}

#[cfg(test)]
mod tests;
