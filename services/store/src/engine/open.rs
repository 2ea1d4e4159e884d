//! Opening the folder: which index to trust, what to replay, what to rebuild.
//!
//! | the last time it | the index | replay from |
//! |---|---|---|
//! | was closed properly | is used | its own position, which is the journal's end |
//! | was killed, same boot | is used: what it wrote is in the kernel | its position or the last checkpoint but one, whichever is earlier |
//! | was open at a power cut or an unknown boot | is thrown away: sled's log may be torn anywhere | the newest snapshot |
//! | was open, and now will not open | is moved aside | the newest snapshot |
//!
//! A rebuild loses nothing: journal from before a snapshot is dropped only once the snapshot is on disk.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use super::files::{FileName, Files};
use super::index::{Batch, Index, IndexError};
use super::journal::{self, Journal, JournalError};
use super::limits::{LOCK_PAUSE, LOCK_WAIT, Options};
use super::snapshot::{self, Snapshot, SnapshotError};
use super::state::State;

/// Why a store does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("{0} is in use by another store")]
    InUse(PathBuf),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The snapshot that a rebuild needs.
    #[error("the index has to be rebuilt")]
    Snapshot(#[from] SnapshotError),
    /// A fresh index fails.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The file system.
    #[error("{path}")]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl OpenError {
    /// Whether the disk is in the way: then trying again may help, and nothing is known to be damaged.
    pub fn is_about_the_disk(&self) -> bool {
        matches!(
            self,
            Self::Io { .. }
                | Self::Index(_)
                | Self::Journal(JournalError::Io { .. })
                | Self::Snapshot(SnapshotError::Io { .. } | SnapshotError::Index(_))
        )
    }
}

/// Why the index was built anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rebuilt {
    /// There was none.
    New,
    /// The machine went down while it was open.
    PowerCut,
    /// sled would not open it, or it had lost its position.
    Unreadable,
}

/// What opening found and did.
#[derive(Debug, Default)]
pub struct Report {
    /// The index was built anew.
    pub rebuilt: Option<Rebuilt>,
    /// Where an unreadable index was moved.
    pub moved_aside: Option<PathBuf>,
    /// Changes replayed from the journal.
    pub replayed: u64,
    /// A group that was never acknowledged was cut off.
    pub torn: bool,
    /// Leftovers removed from the staging folder.
    pub strays: usize,
    /// Files that should be there and could not be made again.
    pub missing: Vec<FileName>,
    /// How long the index took to open, and all of it.
    pub took: [std::time::Duration; 2],
}

/// Everything needed to go on.
pub(super) struct Opened {
    pub lock: File,
    pub index: Index,
    pub files: Files,
    pub journal: Journal,
    pub state: State,
    pub snapshot: Option<Snapshot>,
    pub report: Report,
}

/// Replayed changes are applied to the index in batches of about this weight.
const REPLAY_BYTES: usize = 1 << 20;

pub(super) fn open(options: &Options) -> Result<Opened, OpenError> {
    let (index_dir, journal_dir) = (options.dir.join("index"), options.dir.join("journal"));
    for dir in [&options.dir, &index_dir, &journal_dir] {
        fs::create_dir_all(dir).map_err(fault(dir))?;
    }
    let lock = lock(&options.dir)?;
    // A folder that a power cut takes away takes along whatever was synced in it.
    let above = options.dir.parent().filter(|above| !above.as_os_str().is_empty());
    let files = match &options.look_only {
        Some(root) => Files::frozen(root),
        None => Files::open(&options.dir).map_err(fault(&options.dir))?,
    };
    for dir in [Some(options.dir.as_path()), above].into_iter().flatten() {
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(fault(dir))?;
    }
    let begun = std::time::Instant::now();
    journal::tidy(&journal_dir);
    let before = State::read(&index_dir).map_err(fault(&index_dir))?;
    let snapshot = snapshot::newest(&index_dir).map_err(fault(&index_dir))?;
    let mut report = Report::default();

    let (index, mut state, from) = match kept(options, &index_dir, before.as_ref(), &mut report)? {
        Some((index, state, position)) => {
            let from = position.min(state.files);
            (index, state, from)
        }
        None => {
            let generation = before.as_ref().map_or(1, |state| state.generation + 1);
            let dir = index_dir.join(generation.to_string());
            remove_folder(&dir)?;
            let index = Index::open(&dir, options.cache_bytes)?;
            let start = match &snapshot {
                Some(snapshot) => {
                    snapshot::load(snapshot, &index)?;
                    snapshot.start
                }
                None => 0,
            };
            (index, State { generation, boot: options.boot.clone(), clean: false, files: start }, start)
        }
    };
    let reached = index.position().unwrap_or(0);
    report.took[0] = begun.elapsed();

    let mut missing = HashSet::new();
    let mut batch = Batch::default();
    let (mut weight, mut unflushed, mut before) = (0, 0, from);
    let tail = journal::replay(&journal_dir, from, |end, change| {
        report.replayed += 1;
        files
            .apply(end, &change.sources, &change.files, true, &mut missing)
            .map_err(|source| JournalError::Io { path: options.dir.join("accounts"), source })?;
        weight += change.weight();
        if !change.patches.is_empty() {
            // They change what is there: all before them has to be.
            weight = 0;
            index.apply(&std::mem::take(&mut batch), before).map_err(into_journal(&index_dir))?;
            for patch in &change.patches {
                index.patch(patch).map_err(into_journal(&index_dir))?;
            }
        }
        before = end;
        for (key, value) in &change.index {
            batch.set(key, value.as_ref());
        }
        if weight >= REPLAY_BYTES {
            weight = 0;
            index.apply(&std::mem::take(&mut batch), end).map_err(into_journal(&index_dir))?;
            unflushed += REPLAY_BYTES;
            if unflushed >= snapshot::FLUSH_BYTES {
                unflushed = 0;
                index.flush().map_err(into_journal(&index_dir))?;
            }
        }
        Ok(())
    })?;
    if tail.end < reached {
        return Err(JournalError::Short { end: tail.end, needed: reached }.into());
    }
    index.apply(&batch, tail.end)?;
    // A kill must not lose what the state is about to vouch for.
    index.flush()?;
    report.torn = tail.torn;
    report.missing = missing.into_iter().collect();
    report.missing.sort_unstable();
    report.strays = files.clear_staging().map_err(fault(&options.dir))?;
    state.clean = false;
    state.boot.clone_from(&options.boot);
    state.write(&index_dir).map_err(fault(&index_dir))?;
    remove_other_generations(&index_dir, state.generation)?;
    if tail.segment.is_none() {
        // A new store: worth a moment once.
        journal::prepare_spare(&journal_dir, options.segment_bytes).map_err(fault(&journal_dir))?;
    }
    report.took[1] = begun.elapsed();
    let journal = Journal::resume(&journal_dir, &tail, options.segment_bytes, options.medium.clone())?;
    Ok(Opened { lock, index, files, journal, state, snapshot, report })
}

/// The index that is there, if it may be used. Says in the state that it is open before touching it.
fn kept(
    options: &Options,
    index_dir: &Path,
    before: Option<&State>,
    report: &mut Report,
) -> Result<Option<(Index, State, u64)>, OpenError> {
    let Some(before) = before else {
        report.rebuilt = Some(Rebuilt::New);
        return Ok(None);
    };
    let same_boot = before.boot.is_some() && before.boot == options.boot;
    if !before.clean && !same_boot {
        report.rebuilt = Some(Rebuilt::PowerCut);
        return Ok(None);
    }
    let dir = index_dir.join(before.generation.to_string());
    let mut state = before.clone();
    state.clean = false;
    state.boot.clone_from(&options.boot);
    state.write(index_dir).map_err(fault(index_dir))?;
    let opened = patiently(
        || Index::open(&dir, options.cache_bytes),
        |opened| opened.as_ref().is_err_and(IndexError::is_locked),
    );
    let opened = opened.map(|index| (index.position(), index));
    match opened {
        // A closed index is exactly at the end; sled may also come up with less than it was given.
        Ok((Some(position), index)) if !before.clean || position == before.files => {
            Ok(Some((index, state, position)))
        }
        Err(error) if error.is_locked() => Err(OpenError::InUse(dir)),
        Ok(_) | Err(_) => {
            report.rebuilt = Some(Rebuilt::Unreadable);
            if dir.exists() {
                let aside = index_dir.join(format!("{}.unreadable", before.generation));
                remove_folder(&aside)?;
                fs::rename(&dir, &aside).map_err(fault(&dir))?;
                report.moved_aside = Some(aside);
            }
            Ok(None)
        }
    }
}

/// Tries again for a moment: whoever is just ending, or has forked and not executed yet, still holds a lock.
fn patiently<T>(attempt: impl Fn() -> T, is_locked: impl Fn(&T) -> bool) -> T {
    let until = std::time::Instant::now() + LOCK_WAIT;
    loop {
        let outcome = attempt();
        if !is_locked(&outcome) || std::time::Instant::now() >= until {
            return outcome;
        }
        std::thread::sleep(LOCK_PAUSE);
    }
}

fn lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join("lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(fault(&path))?;
    let taken = patiently(
        || rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive),
        |taken| *taken == Err(rustix::io::Errno::WOULDBLOCK),
    );
    match taken {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(OpenError::InUse(dir.to_owned())),
        Err(error) => Err(OpenError::Io { path, source: error.into() }),
    }
}

fn remove_folder(dir: &Path) -> Result<(), OpenError> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(fault(dir)(error)),
        _ => Ok(()),
    }
}

fn remove_other_generations(index_dir: &Path, keep: u64) -> Result<(), OpenError> {
    for entry in fs::read_dir(index_dir).map_err(fault(index_dir))? {
        let entry = entry.map_err(fault(index_dir))?;
        let generation: Option<u64> = entry.file_name().to_str().and_then(|name| name.parse().ok());
        if generation.is_some_and(|generation| generation != keep) {
            remove_folder(&entry.path())?;
        }
    }
    Ok(())
}

fn fault(path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.to_owned();
    move |source| OpenError::Io { path, source }
}

/// Replay reports one kind of error; an index that fails under it is an I/O error there.
fn into_journal(path: &Path) -> impl FnOnce(IndexError) -> JournalError {
    let path = path.to_owned();
    move |error| JournalError::Io { path, source: io::Error::other(error) }
}
