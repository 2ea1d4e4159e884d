//! A consistent copy of the folder while the store goes on.
//!
//! | in the copy | what it is |
//! |---|---|
//! | `index/snapshot-<S>` | the index from journal position S on |
//! | `journal/` | what makes it exact up to E, where it is cut |
//! | `accounts/`, `queue/` | every message file that belongs to E |
//! | `backup` | written and synced last: without it the copy is not whole |
//!
//! It is a folder that opens: the index is built from snapshot and journal. Runs in the keeper's thread, so nothing is
//! erased and no segment dropped meanwhile; what is made after E is known and left out. A file that the copy before
//! has already is linked there, one on the same mount is linked here, everything else is copied: message files never
//! change. The folders come as descriptors, because the store itself can reach no folder but its own.
//!
//! Fails with: a sentence. What was written until then stays and is not whole.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};

use super::files::{FileName, Files};
use super::journal;
use super::keeper::Keeper;

/// How long changes in flight may take before a backup gives up.
const BARRIER: Duration = Duration::from_secs(30);
/// The file that says that a copy is whole.
pub const MANIFEST: &str = "backup";

/// Where to, and what is known from before.
pub struct Target {
    /// An empty folder.
    pub into: OwnedFd,
    /// An earlier backup on the same mount.
    pub before: Option<OwnedFd>,
}

/// What was done.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    /// Message files.
    pub files: u64,
    /// Of them, linked instead of copied.
    pub linked: u64,
    /// Octets copied.
    pub copied: u64,
    /// Journal position that the copy is exact for.
    pub position: u64,
}

/// How far it is.
#[derive(Debug, Default)]
pub struct Progress {
    pub(super) done: AtomicU64,
    pub(super) total: AtomicU64,
}

impl Progress {
    /// Message files done, and of how many; zero of zero when no backup runs.
    pub fn read(&self) -> (u64, u64) {
        (self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed))
    }
}

impl Keeper {
    /// See the module header.
    pub(super) fn backup(&mut self, target: &Target) -> Result<Done, String> {
        let inner = self.inner.clone();
        inner.files.record_new();
        let outcome = self.copy(target);
        inner.files.forget_new();
        inner.progress.total.store(0, Ordering::Relaxed);
        inner.progress.done.store(0, Ordering::Relaxed);
        outcome
    }

    fn copy(&mut self, target: &Target) -> Result<Done, String> {
        let into = target.into.as_fd();
        let mut listed = rustix::fs::Dir::read_from(into).map_err(text("the folder"))?;
        let empty =
            listed.all(|entry| entry.is_ok_and(|entry| matches!(entry.file_name().to_bytes(), b"." | b"..")));
        if !empty {
            return Err("the folder is not empty".into());
        }
        self.snapshot()?;
        let snapshot = self.snapshot.clone().ok_or("there is no snapshot")?;
        let end = self.barrier()?;
        let names = self.belonging(end).map_err(text("message files"))?;
        self.inner.progress.total.store(names.len() as u64, Ordering::Relaxed);
        let mut done = Done { position: end, ..Done::default() };
        for folder in ["index", "journal", "accounts"] {
            make_folder(into, Path::new(folder)).map_err(text(folder))?;
        }
        let name = snapshot.path.file_name().ok_or("the snapshot has no name")?;
        let to = Path::new("index").join(name);
        copy_file(&snapshot.path, into, &to, u64::MAX).map_err(text("snapshot"))?;
        for (path, bytes) in self.segments(snapshot.start, end)? {
            let to = Path::new("journal").join(path.file_name().unwrap_or_default());
            copy_file(&path, into, &to, bytes).map_err(text("journal"))?;
        }
        let mut made = HashSet::new();
        for owner in self.inner.files.owners().map_err(text("message files"))? {
            let from = self.inner.files.owner_folder(owner).join("name");
            if owner != 0 && from.exists() {
                let folder = Path::new("accounts").join(owner.to_string());
                make_folder(into, &folder).map_err(text("accounts"))?;
                copy_file(&from, into, &folder.join("name"), u64::MAX).map_err(text("accounts"))?;
            }
        }
        for name in names {
            if self.inner.queue().closing {
                return Err("the store is closing".into());
            }
            self.copy_message(target, name, &mut made, &mut done)?;
            self.inner.progress.done.store(done.files, Ordering::Relaxed);
        }
        rustix::fs::syncfs(into).map_err(text("sync"))?;
        let manifest =
            format!("format 1\nstart {}\nposition {end}\nfiles {}\nend\n", snapshot.start, done.files);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::openat(into, MANIFEST, flags, Mode::from_raw_mode(0o640));
        let mut file = File::from(file.map_err(text(MANIFEST))?);
        file.write_all(manifest.as_bytes()).and_then(|()| file.sync_all()).map_err(text(MANIFEST))?;
        rustix::fs::fsync(into).map_err(text("sync"))?;
        Ok(done)
    }

    /// Everything that was submitted before this call is applied up to the returned position.
    fn barrier(&self) -> Result<u64, String> {
        let target = self.inner.queue().sequence;
        let begun = Instant::now();
        while *self.inner.done.borrow() < target {
            if begun.elapsed() > BARRIER {
                return Err("changes in flight do not end".into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        if let Some(why) = &self.inner.health.borrow().commit {
            return Err(format!("the store is degraded: {why}"));
        }
        Ok(self.inner.applied.load(Ordering::Acquire))
    }

    /// Message files of the state at `end`.
    fn belonging(&self, end: u64) -> io::Result<Vec<FileName>> {
        let mut names = Vec::new();
        for owner in self.inner.files.owners()? {
            for id in self.inner.files.list_at(owner, end)? {
                names.push(FileName { owner, id });
            }
        }
        Ok(names)
    }

    /// Segments from `start` on with the bytes that count of each.
    fn segments(&self, start: u64, end: u64) -> Result<Vec<(PathBuf, u64)>, String> {
        let dir = self.inner.journal_dir();
        let starts = journal::list(&dir).map_err(|error| error.to_string())?;
        let first = starts.iter().rposition(|at| *at <= start).unwrap_or(0);
        Ok(starts
            .iter()
            .enumerate()
            .skip(first)
            .filter(|(at, begin)| *at == first || **begin < end)
            .map(|(_, begin)| {
                (journal::segment_path(&dir, *begin), journal::SEGMENT_HEADER + end.saturating_sub(*begin))
            })
            .collect())
    }

    fn copy_message(
        &self,
        target: &Target,
        name: FileName,
        made: &mut HashSet<PathBuf>,
        done: &mut Done,
    ) -> Result<(), String> {
        let into = target.into.as_fd();
        let (path, to) = (self.inner.files.path(name), Files::relative(name));
        let fault = |error: io::Error| format!("message file {}/{}: {error}", name.owner, name.id);
        let folder = to.parent().map(Path::to_owned).unwrap_or_default();
        if made.insert(folder.clone()) {
            make_folder(into, &folder).map_err(fault)?;
        }
        let size = fs::metadata(&path).map_err(fault)?.len();
        let linked_before = target.before.as_ref().is_some_and(|before| {
            let same = rustix::fs::statat(before, &to, AtFlags::SYMLINK_NOFOLLOW)
                .is_ok_and(|stat| u64::try_from(stat.st_size) == Ok(size));
            same && rustix::fs::linkat(before, &to, into, &to, AtFlags::empty()).is_ok()
        });
        let linked = linked_before || rustix::fs::linkat(CWD, &path, into, &to, AtFlags::empty()).is_ok();
        if linked {
            done.linked += 1;
        } else {
            done.copied += copy_file(&path, into, &to, u64::MAX).map_err(fault)?;
        }
        done.files += 1;
        Ok(())
    }
}

fn text<E: std::fmt::Display>(what: &str) -> impl FnOnce(E) -> String {
    move |error| format!("{what}: {error}")
}

fn make_folder(into: impl AsFd, path: &Path) -> io::Result<()> {
    let mut whole = PathBuf::new();
    for part in path.components() {
        whole.push(part);
        match rustix::fs::mkdirat(&into, &whole, Mode::from_raw_mode(0o750)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Copies at most `most` bytes. Returns how many it were.
fn copy_file(from: &Path, into: impl AsFd, to: &Path, most: u64) -> io::Result<u64> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let mut copy = File::from(rustix::fs::openat(into, to, flags, Mode::from_raw_mode(0o640))?);
    io::copy(&mut io::Read::take(File::open(from)?, most), &mut copy)
}
