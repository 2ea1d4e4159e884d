//! Message files: `accounts/<owner>/msg/<id / 8192>/<id>`, written once and never changed. Owner 0 is the queue.
//!
//! | state of a file | made by | a power cut leaves |
//! |---|---|---|
//! | staged: open, in the staging folder or without any name | a service that receives mail | nothing, or a stray that the next start removes |
//! | sealed: its content is synced | `Staged::seal` | the same |
//! | named `staging/<position>-<n>`, folder synced | the committer, before the journal record | the file |
//! | in its place | the committer, after the record | the file, or the record that makes it again |
//! | erased in the record | the committer | the file, removed again by replay |
//! | gone | the checkpoint, after a sync that covers every link made before | nothing |
//!
//! The last rule matters for copies: a copy is one more link, and the original may only go when that link is on
//! disk.
//! Does not know: what is in a message. Fails with: `io::Error`.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};

use super::change::{FileOp, Source};
use super::limits::FILES_PER_DIRECTORY;

/// A message file by its owner and number. Numbers of an owner are never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileName {
    /// Account number; 0 for the queue.
    pub owner: u64,
    /// Number of the file among its owner's.
    pub id: u64,
}

/// The folder of message files.
pub struct Files {
    root: PathBuf,
    staging: PathBuf,
    counter: AtomicU64,
    /// Whether one call syncs a whole file system. FUSE ignores it, for one.
    whole_sync: bool,
    /// Somebody else's files, to look at only.
    frozen: bool,
    ledger: Mutex<Ledger>,
}

/// What the next checkpoint has to do, each with the journal position of its change.
#[derive(Default)]
struct Ledger {
    created: Vec<(u64, FileName)>,
    erased: Vec<(u64, FileOp)>,
    staged: Vec<(u64, String)>,
    /// Directories that names were removed from since the last sync.
    thinned: HashSet<PathBuf>,
    /// While a backup runs: files made since it began, with the positions of their changes.
    new: Option<HashMap<FileName, u64>>,
}

/// A file being received.
pub struct Staged {
    file: File,
    path: Option<PathBuf>,
}

/// A file whose content is on stable storage and which nobody writes any more.
#[derive(Clone)]
pub struct Sealed {
    staged: Arc<Staged>,
    size: u64,
}

impl Staged {
    /// The open file, for writing.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Syncs the content. Blocks.
    pub fn seal(self: Arc<Self>) -> io::Result<Sealed> {
        self.file.sync_data()?;
        let size = self.file.metadata()?.len();
        Ok(Sealed { staged: self, size })
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = fs::remove_file(path);
        }
    }
}

impl Sealed {
    /// Bytes in the file.
    pub fn size(&self) -> u64 {
        self.size
    }
}

impl Files {
    /// Opens the folders below `root`, making them when they are missing.
    pub fn open(root: &Path) -> io::Result<Self> {
        let staging = root.join("staging");
        fs::create_dir_all(&staging)?;
        fs::create_dir_all(root.join("accounts"))?;
        let kind = rustix::fs::statfs(root)?.f_type;
        Ok(Self {
            root: root.to_owned(),
            staging,
            counter: AtomicU64::new(0),
            whole_sync: kind as u64 & 0xffff_ffff != FUSE_MAGIC,
            frozen: false,
            ledger: Mutex::default(),
        })
    }

    /// Looks at files below `root` and never changes any.
    pub(super) fn frozen(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            staging: root.join("staging"),
            counter: AtomicU64::new(0),
            whole_sync: true,
            frozen: true,
            ledger: Mutex::default(),
        }
    }

    /// Where a file lives.
    pub fn path(&self, name: FileName) -> PathBuf {
        self.root.join(Self::relative(name))
    }

    /// The same below the root.
    pub(super) fn relative(name: FileName) -> PathBuf {
        let mut path = match name.owner {
            0 => PathBuf::from("queue"),
            owner => PathBuf::from("accounts").join(owner.to_string()),
        };
        path.push("msg");
        path.push((name.id / FILES_PER_DIRECTORY).to_string());
        path.push(name.id.to_string());
        path
    }

    /// Everybody who may have files.
    pub fn owners(&self) -> io::Result<Vec<u64>> {
        let mut owners = vec![0];
        for entry in fs::read_dir(self.root.join("accounts"))? {
            owners.extend(entry?.file_name().to_str().and_then(|name| name.parse::<u64>().ok()));
        }
        owners.sort_unstable();
        Ok(owners)
    }

    /// From now on files that are made are remembered, for [`Files::list_at`].
    pub(super) fn record_new(&self) {
        self.ledger.lock().unwrap_or_else(std::sync::PoisonError::into_inner).new = Some(HashMap::new());
    }

    /// Ends [`Files::record_new`].
    pub(super) fn forget_new(&self) {
        self.ledger.lock().unwrap_or_else(std::sync::PoisonError::into_inner).new = None;
    }

    /// Where everything of an owner lives.
    pub fn owner_folder(&self, owner: u64) -> PathBuf {
        self.owner_path(owner)
    }

    fn owner_path(&self, owner: u64) -> PathBuf {
        if owner == 0 { self.root.join("queue") } else { self.root.join("accounts").join(owner.to_string()) }
    }

    /// Opens a file for reading.
    pub fn read(&self, name: FileName) -> io::Result<File> {
        File::open(self.path(name))
    }

    /// A new file to receive into.
    pub fn stage(&self) -> io::Result<Staged> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        match rustix::fs::openat(CWD, &self.staging, flags, Mode::from_raw_mode(0o640)) {
            Ok(fd) => return Ok(Staged { file: fd.into(), path: None }),
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR | rustix::io::Errno::INVAL) => {}
            Err(error) => return Err(error.into()),
        }
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        let path = self.staging.join(format!("t{}-{number}", std::process::id()));
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        Ok(Staged { file, path: Some(path) })
    }

    /// Gives sealed files their lasting names in the staging folder. The caller syncs the folder after the last.
    pub(super) fn name_staged(&self, source: &mut Source, name: String) -> io::Result<()> {
        let Source::Sealed(sealed) = source else { return Ok(()) };
        let path = self.staging.join(&name);
        // A group that failed may have left this name.
        if let Err(error) = fs::remove_file(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        match &sealed.staged.path {
            Some(old) => fs::hard_link(old, &path)?,
            None => link_open_file(&sealed.staged.file, &path)?,
        }
        *source = Source::Staged(name);
        Ok(())
    }

    /// Makes the names given by [`Files::name_staged`] last.
    pub(super) fn sync_staging(&self) -> io::Result<()> {
        File::open(&self.staging)?.sync_all()
    }

    /// Carries out the file part of a committed change. `replaying`: any of it may have happened before.
    /// Files whose source is gone are added to `missing`; that is right when a later change erases them.
    pub(super) fn apply(
        &self,
        position: u64,
        sources: &[Source],
        ops: &[FileOp],
        replaying: bool,
        missing: &mut HashSet<FileName>,
    ) -> io::Result<()> {
        self.remember_new(position, ops);
        let mut first: Vec<Option<FileName>> = vec![None; sources.len()];
        let mut created = Vec::new();
        let mut erased = Vec::new();
        for op in ops {
            match op {
                FileOp::Create { .. } if self.frozen => {}
                FileOp::Create { name, source } => {
                    let at = *source as usize;
                    let Some(from) = sources.get(at) else { continue };
                    if self.create(*name, from, first[at], replaying)? {
                        first[at].get_or_insert(*name);
                        created.push((position, *name));
                    } else {
                        missing.insert(*name);
                    }
                }
                FileOp::Erase(name) => {
                    missing.remove(name);
                    erased.push((position, op.clone()));
                }
                FileOp::EraseOwner(owner) => {
                    missing.retain(|name| name.owner != *owner);
                    erased.push((position, op.clone()));
                }
            }
        }
        let mut ledger = self.ledger.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !self.whole_sync {
            ledger.created.append(&mut created);
        }
        ledger.erased.append(&mut erased);
        for source in sources {
            if let Source::Staged(name) = source {
                ledger.staged.push((position, name.clone()));
            }
        }
        Ok(())
    }

    /// Before they are made: a list taken meanwhile must know them.
    fn remember_new(&self, position: u64, ops: &[FileOp]) {
        let mut ledger = self.ledger.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(new) = &mut ledger.new {
            new.extend(ops.iter().filter_map(|op| match op {
                FileOp::Create { name, .. } => Some((*name, position)),
                _ => None,
            }));
        }
    }

    /// Returns whether the file is there now.
    fn create(
        &self,
        name: FileName,
        source: &Source,
        twin: Option<FileName>,
        replaying: bool,
    ) -> io::Result<bool> {
        let path = self.path(name);
        match source {
            Source::Inline(bytes) => {
                if replaying {
                    if holds(&path, bytes)? {
                        return Ok(true);
                    }
                    remove_if_there(&path)?;
                }
                match twin {
                    Some(twin) => link(&self.path(twin), &path),
                    None => self.write_new(&path, bytes),
                }
            }
            Source::Staged(staged) => link(&self.staging.join(staged), &path),
            Source::Existing(original) => link(&self.path(*original), &path),
            Source::Sealed(_) => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    fn write_new(&self, path: &Path, bytes: &[u8]) -> io::Result<bool> {
        let attempt = || -> io::Result<()> {
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true);
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o640);
            options.open(path)?.write_all(bytes)
        };
        in_directory(path, attempt)?;
        Ok(true)
    }

    /// The first half of a checkpoint: everything created at or before `upto` is on stable storage on return.
    /// Blocks for as long as the disk needs.
    pub(super) fn sync(&self, upto: u64) -> io::Result<()> {
        if self.frozen {
            return Ok(());
        }
        if self.whole_sync {
            return Ok(rustix::fs::syncfs(File::open(&self.root)?)?);
        }
        let (names, mut directories): (Vec<FileName>, HashSet<PathBuf>) = {
            let ledger = self.ledger.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let names = ledger.created.iter().filter(|(at, _)| *at <= upto).map(|(_, name)| *name);
            (names.collect(), ledger.thinned.clone())
        };
        let thinned = directories.clone();
        for name in names {
            let path = self.path(name);
            match File::open(&path) {
                Ok(file) => file.sync_all()?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            let mut directory = path.parent();
            while let Some(path) = directory {
                if !path.starts_with(&self.root) || !directories.insert(path.to_owned()) {
                    break;
                }
                directory = path.parent();
            }
        }
        for directory in directories {
            match File::open(&directory) {
                Ok(directory) => directory.sync_all()?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        let mut ledger = self.ledger.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        ledger.created.retain(|(at, _)| *at > upto);
        // Only the keeper's thread removes and syncs, so nothing was added to these meanwhile.
        ledger.thinned.retain(|directory| !thinned.contains(directory));
        Ok(())
    }

    /// The second half: removes what changes at or before `upto` erased, and staging names no longer needed.
    pub(super) fn sweep(&self, upto: u64) -> io::Result<()> {
        if self.frozen {
            return Ok(());
        }
        let (erased, staged) = {
            let ledger = self.ledger.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            (due(&ledger.erased, upto), due(&ledger.staged, upto))
        };
        self.remove(&erased, &staged)?;
        // Only now: `list` must not see a file that is neither erased nor wanted.
        let mut ledger = self.ledger.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        ledger.erased.retain(|(at, _)| *at > upto);
        ledger.staged.retain(|(at, _)| *at > upto);
        if !self.whole_sync {
            ledger.thinned.extend(erased.iter().filter_map(|(_, op)| {
                let path = match op {
                    FileOp::Erase(name) => self.path(*name),
                    FileOp::EraseOwner(owner) => self.owner_path(*owner),
                    FileOp::Create { .. } => return None,
                };
                path.parent().map(Path::to_owned)
            }));
        }
        Ok(())
    }

    fn remove(&self, erased: &[(u64, FileOp)], staged: &[(u64, String)]) -> io::Result<()> {
        for (_, op) in erased {
            match op {
                FileOp::Erase(name) => remove_if_there(&self.path(*name))?,
                FileOp::EraseOwner(owner) => match fs::remove_dir_all(self.owner_path(*owner)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                },
                FileOp::Create { .. } => {}
            }
        }
        for (_, name) in staged {
            remove_if_there(&self.staging.join(name))?;
        }
        Ok(())
    }

    /// Removes leftovers of a process that died while receiving; keeps what replay still refers to.
    pub(super) fn clear_staging(&self) -> io::Result<usize> {
        let kept: HashSet<String> = {
            let ledger = self.ledger.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            ledger.staged.iter().map(|(_, name)| name.clone()).collect()
        };
        let mut removed = 0;
        if self.frozen {
            return Ok(0);
        }
        for entry in fs::read_dir(&self.staging)? {
            let entry = entry?;
            if !entry.file_name().to_str().is_some_and(|name| kept.contains(name)) {
                fs::remove_file(entry.path())?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Numbers of all files an owner has on disk, leaving out those whose erasure is already committed.
    pub fn list(&self, owner: u64) -> io::Result<Vec<u64>> {
        self.list_at(owner, u64::MAX)
    }

    /// The same as it was at a position, as far back as [`Files::record_new`] and the last sweep.
    pub(super) fn list_at(&self, owner: u64, position: u64) -> io::Result<Vec<u64>> {
        let (mut erased, mut all) = (HashSet::new(), false);
        {
            let ledger = self.ledger.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            for (_, op) in ledger.erased.iter().filter(|(at, _)| *at <= position) {
                match op {
                    FileOp::Erase(name) if name.owner == owner => {
                        erased.insert(name.id);
                    }
                    FileOp::EraseOwner(gone) if *gone == owner => all = true,
                    _ => {}
                }
            }
        }
        if all {
            return Ok(Vec::new());
        }
        let mut ids = Vec::new();
        let folders = match fs::read_dir(self.owner_path(owner).join("msg")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(ids),
            folders => folders?,
        };
        for folder in folders {
            for entry in fs::read_dir(folder?.path())? {
                let name = entry?.file_name();
                match name.to_str().and_then(|name| name.parse().ok()) {
                    Some(id) if erased.contains(&id) => {}
                    Some(id) => ids.push(id),
                    None => return Err(io::Error::other(format!("stray file {name:?}"))),
                }
            }
        }
        // Only now: a file that was found was remembered before it was made.
        let ledger = self.ledger.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(new) = &ledger.new {
            ids.retain(|id| new.get(&FileName { owner, id: *id }).is_none_or(|at| *at <= position));
        }
        ids.sort_unstable();
        Ok(ids)
    }

    /// Free bytes on the file system, as far as this process may use them.
    pub fn free_bytes(&self) -> io::Result<u64> {
        let info = rustix::fs::statvfs(&self.root)?;
        Ok(info.f_bavail.saturating_mul(info.f_frsize))
    }
}

const FUSE_MAGIC: u64 = 0x6573_5546;

fn due<T: Clone>(entries: &[(u64, T)], upto: u64) -> Vec<(u64, T)> {
    entries.iter().filter(|(at, _)| *at <= upto).cloned().collect()
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Runs `attempt`, once more after making the directory when that was missing.
fn in_directory(path: &Path, attempt: impl Fn() -> io::Result<()>) -> io::Result<()> {
    match attempt() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(directory) = path.parent() {
                fs::create_dir_all(directory)?;
            }
            attempt()
        }
        other => other,
    }
}

/// Links `from` to `to`. A `to` that is there already is the same file: names are never used twice, and content
/// that is linked was synced before. Returns whether `to` is there now.
fn link(from: &Path, to: &Path) -> io::Result<bool> {
    match in_directory(to, || fs::hard_link(from, to)) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => to.try_exists(),
        Err(error) => Err(error),
    }
}

fn link_open_file(file: &File, path: &Path) -> io::Result<()> {
    let open = format!("/proc/self/fd/{}", file.as_raw_fd());
    rustix::fs::linkat(CWD, open, CWD, path, AtFlags::SYMLINK_FOLLOW)
        // Without /proc: allowed for one's own files since Linux 6.10.
        .or_else(|_| rustix::fs::linkat(file, "", CWD, path, AtFlags::EMPTY_PATH))?;
    Ok(())
}

/// Whether the file is there with exactly this content.
fn holds(path: &Path, want: &[u8]) -> io::Result<bool> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        file => file?,
    };
    if file.metadata()?.len() != want.len() as u64 {
        return Ok(false);
    }
    let mut have = Vec::with_capacity(want.len());
    file.read_to_end(&mut have)?;
    Ok(have == want)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(id: u64) -> FileName {
        FileName { owner: 3, id }
    }

    fn create(id: u64, source: u32) -> FileOp {
        FileOp::Create { name: name(id), source }
    }

    #[test]
    fn paths_hold_8192_files_each() {
        let dir = tempfile::tempdir().expect("tempdir");
        let files = Files::open(dir.path()).expect("open");
        assert_eq!(files.path(name(8191)), dir.path().join("accounts/3/msg/0/8191"));
        assert_eq!(files.path(name(8192)), dir.path().join("accounts/3/msg/1/8192"));
        assert_eq!(files.path(FileName { owner: 0, id: 5 }), dir.path().join("queue/msg/0/5"));
    }

    #[test]
    fn staged_files_reach_several_places_and_leave_staging() {
        let dir = tempfile::tempdir().expect("tempdir");
        let files = Files::open(dir.path()).expect("open");
        let staged = files.stage().expect("stage");
        staged.file().write_all(b"large").expect("write");
        let mut source = Source::Sealed(Arc::new(staged).seal().expect("seal"));
        files.name_staged(&mut source, "10-0".into()).expect("name");
        files.sync_staging().expect("sync");
        let mut missing = HashSet::new();
        let ops = [create(1, 0), create(2, 0)];
        for replaying in [false, true] {
            files.apply(10, std::slice::from_ref(&source), &ops, replaying, &mut missing).expect("apply");
        }
        assert_eq!(fs::read(files.path(name(2))).expect("read"), b"large");
        files.sync(10).expect("sync");
        files.sweep(10).expect("sweep");
        assert_eq!(fs::read_dir(dir.path().join("staging")).expect("list").count(), 0);
        assert_eq!(files.list(3).expect("list"), [1, 2]);
        assert!(missing.is_empty());
    }

    #[test]
    fn replay_mends_torn_small_files() {
        let dir = tempfile::tempdir().expect("tempdir");
        let files = Files::open(dir.path()).expect("open");
        let sources = [Source::Inline(Arc::from(&b"body"[..]))];
        let ops = [create(1, 0), create(2, 0)];
        let mut missing = HashSet::new();
        files.apply(1, &sources, &ops, false, &mut missing).expect("apply");
        for torn in [&b""[..], b"bo", b"XXXX", b"longer than that"] {
            fs::write(files.path(name(1)), torn).expect("write");
            let _ = fs::remove_file(files.path(name(2)));
            files.apply(1, &sources, &ops, true, &mut missing).expect("apply");
            for id in [1, 2] {
                assert_eq!(fs::read(files.path(name(id))).expect("read"), b"body");
            }
        }
    }

    #[test]
    fn erased_files_stay_until_the_sweep_and_missing_ones_are_told() {
        let dir = tempfile::tempdir().expect("tempdir");
        let files = Files::open(dir.path()).expect("open");
        let mut missing = HashSet::new();
        let sources = [Source::Inline(Arc::from(&b"x"[..])), Source::Existing(name(1))];
        files.apply(1, &sources, &[create(1, 0)], false, &mut missing).expect("apply");
        files.apply(2, &[], &[FileOp::Erase(name(1))], false, &mut missing).expect("apply");
        files.apply(3, &sources, &[create(2, 1)], false, &mut missing).expect("apply");
        assert_eq!(files.list(3).expect("list"), [2], "committed erasures do not count");
        files.sweep(1).expect("sweep");
        assert!(files.path(name(1)).exists());
        files.sweep(2).expect("sweep");
        assert!(!files.path(name(1)).exists() && files.path(name(2)).exists());
        fs::remove_file(files.path(name(2))).expect("remove");
        files.apply(3, &sources, &[create(2, 1)], true, &mut missing).expect("apply");
        assert_eq!(missing.len(), 1);
        files.apply(4, &[], &[FileOp::EraseOwner(3)], true, &mut missing).expect("apply");
        assert!(missing.is_empty());
        files.sweep(4).expect("sweep");
        assert!(files.list(3).expect("list").is_empty());
    }

    #[test]
    fn leftovers_in_staging_go_at_start() {
        let dir = tempfile::tempdir().expect("tempdir");
        let files = Files::open(dir.path()).expect("open");
        fs::write(dir.path().join("staging/t1-1"), b"x").expect("write");
        assert_eq!(files.clear_staging().expect("clear"), 1);
    }
}
