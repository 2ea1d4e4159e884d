//! A file system in memory, mounted with FUSE, that can lose power.
//!
//! | what was done | on disk for sure once |
//! |---|---|
//! | bytes written, a file grown or cut | that file was synced |
//! | a name made, removed or replaced | the directory it is in was synced |
//!
//! Until then it waits in the order it came. At the cut each waiting piece is kept, dropped or (bytes) torn at sector
//! bounds, by a seed: any subset, in particular later pieces without earlier ones, names without bytes and bytes
//! without names. Only a rename is whole or not at all. A cut comes after a number of operations given before; from
//! then on every operation fails, so nothing more can be acknowledged.
//!
//! Does not know: owners, times, renames between directories (refused).

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, KernelConfig, LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow,
    WriteFlags,
};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const SECTOR: usize = 512;
const KEEP_LOOKUPS: Duration = Duration::from_secs(3600);
/// What `df` says: nobody is to run out of space here.
const BLOCKS: u64 = 1 << 30;

/// The disk: what is on it stays between mounts.
#[derive(Clone, Default)]
pub struct Disk(Arc<Mutex<Tree>>);

/// A mounted disk; unmounted when dropped.
pub struct Mounted(Option<BackgroundSession>);

/// How a disk lets one down without losing power.
#[derive(Debug, Clone, Copy)]
pub enum Failure {
    Broken,
    ReadOnly,
    Full,
}

/// Numbers from a seed.
pub struct Dice(pub u64);

impl Dice {
    pub fn throw(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 17
    }

    /// True in `percent` of a hundred throws.
    fn holds(&mut self, percent: u64) -> bool {
        self.throw() % 100 < percent
    }
}

struct Tree {
    nodes: BTreeMap<u64, Node>,
    next: u64,
    operations: u64,
    cut_at: u64,
    /// What every change is answered with, and whether reading is, too.
    failing: Option<(Errno, bool)>,
    /// Open directories, as they were when they were opened.
    listings: BTreeMap<u64, Vec<(u64, FileType, OsString)>>,
}

enum Node {
    File(Content),
    Directory(Names),
}

#[derive(Default)]
struct Content {
    now: Vec<u8>,
    kept: Vec<u8>,
    waiting: Vec<Write>,
    links: u32,
}

enum Write {
    Bytes(usize, Vec<u8>),
    Size(usize),
}

#[derive(Default)]
struct Names {
    now: BTreeMap<OsString, u64>,
    kept: BTreeMap<OsString, u64>,
    /// Each is one operation on one or two names.
    waiting: Vec<Vec<(OsString, Option<u64>)>>,
}

impl Default for Tree {
    fn default() -> Self {
        let nodes = BTreeMap::from([(1, Node::Directory(Names::default()))]);
        Self { nodes, next: 2, operations: 0, cut_at: u64::MAX, failing: None, listings: BTreeMap::new() }
    }
}

fn write(bytes: &mut Vec<u8>, at: usize, new: &[u8]) {
    if bytes.len() < at + new.len() {
        bytes.resize(at + new.len(), 0);
    }
    bytes[at..at + new.len()].copy_from_slice(new);
}

impl Content {
    fn write(&mut self, what: Write) {
        what.apply(&mut self.now);
        self.waiting.push(what);
    }

    fn cut(&mut self, dice: &mut Dice, percent: u64) {
        for waiting in std::mem::take(&mut self.waiting) {
            match waiting {
                Write::Bytes(at, bytes) if dice.holds(30) => {
                    // Torn: each sector by itself.
                    let mut from = 0;
                    while from < bytes.len() {
                        let to = bytes.len().min((at + from) / SECTOR * SECTOR + SECTOR - at);
                        if dice.holds(percent) {
                            write(&mut self.kept, at + from, &bytes[from..to]);
                        }
                        from = to;
                    }
                }
                whole if dice.holds(percent) => whole.apply(&mut self.kept),
                _ => {}
            }
        }
        self.now = self.kept.clone();
        self.links = 0;
    }
}

impl Write {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Self::Bytes(at, bytes) => write(to, *at, bytes),
            Self::Size(size) => to.resize(*size, 0),
        }
    }
}

impl Names {
    fn change(&mut self, what: Vec<(OsString, Option<u64>)>) {
        apply_names(&mut self.now, &what);
        self.waiting.push(what);
    }
}

fn apply_names(names: &mut BTreeMap<OsString, u64>, what: &[(OsString, Option<u64>)]) {
    for (name, node) in what {
        match node {
            Some(node) => names.insert(name.clone(), *node),
            None => names.remove(name),
        };
    }
}

impl Disk {
    fn tree(&self) -> MutexGuard<'_, Tree> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Mounts it. Needs /dev/fuse and the right to mount.
    pub fn mount(&self, at: &Path) -> io::Result<Mounted> {
        let mut config = Config::default();
        config.mount_options =
            vec![MountOption::FSName("cutfs".into()), MountOption::NoAtime, MountOption::DefaultPermissions];
        Ok(Mounted(Some(fuser::spawn_mount(Front(self.clone()), at, &config)?)))
    }

    /// Lets the power go after so many more changes and syncs.
    pub fn cut_after(&self, operations: u64) {
        let mut tree = self.tree();
        tree.cut_at = tree.operations + operations;
    }

    /// Refuses changes, and reading too if it is broken, until told otherwise.
    pub fn fail(&self, how: Option<Failure>) {
        self.tree().failing = how.map(|how| match how {
            Failure::Broken => (Errno::EIO, true),
            Failure::ReadOnly => (Errno::EROFS, false),
            Failure::Full => (Errno::ENOSPC, false),
        });
    }

    /// Whether it is gone.
    pub fn is_cut(&self) -> bool {
        let tree = self.tree();
        tree.operations >= tree.cut_at
    }

    /// Decides what the cut left, and gives the power back. Not while mounted.
    pub fn restore(&self, dice: &mut Dice) {
        let mut tree = self.tree();
        // Disks that lose nearly nothing and such that lose all are as likely as any mixture.
        let percent = |dice: &mut Dice| [0, 10, 50, 90, 100][(dice.throw() % 5) as usize];
        let (bytes, names) = (percent(dice), percent(dice));
        for node in tree.nodes.values_mut() {
            match node {
                Node::File(content) => content.cut(dice, bytes),
                Node::Directory(dir) => {
                    for change in std::mem::take(&mut dir.waiting) {
                        if dice.holds(names) {
                            apply_names(&mut dir.kept, &change);
                        }
                    }
                    dir.now = dir.kept.clone();
                }
            }
        }
        let mut reached = BTreeSet::from([1]);
        let mut open = vec![1];
        while let Some(at) = open.pop() {
            let Some(Node::Directory(names)) = tree.nodes.get(&at) else { continue };
            let below: Vec<u64> = names.now.values().copied().collect();
            for node in below {
                if let Some(Node::File(content)) = tree.nodes.get_mut(&node) {
                    content.links += 1;
                }
                if reached.insert(node) {
                    open.push(node);
                }
            }
        }
        tree.nodes.retain(|node, _| reached.contains(node));
        tree.cut_at = u64::MAX;
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Some(session) = self.0.take() {
            let _ = session.umount_and_join();
        }
    }
}

impl Tree {
    fn look(&self) -> Result<(), Errno> {
        match self.failing {
            _ if self.operations >= self.cut_at => Err(Errno::EIO),
            Some((errno, true)) => Err(errno),
            _ => Ok(()),
        }
    }

    /// One step nearer to the cut.
    fn step(&mut self) -> Result<(), Errno> {
        self.look()?;
        if let Some((errno, _)) = self.failing {
            return Err(errno);
        }
        self.operations += 1;
        Ok(())
    }

    fn file(&mut self, node: INodeNo) -> Result<&mut Content, Errno> {
        match self.nodes.get_mut(&node.0) {
            Some(Node::File(content)) => Ok(content),
            _ => Err(Errno::EISDIR),
        }
    }

    fn directory(&mut self, node: INodeNo) -> Result<&mut Names, Errno> {
        match self.nodes.get_mut(&node.0) {
            Some(Node::Directory(names)) => Ok(names),
            _ => Err(Errno::ENOTDIR),
        }
    }

    fn find(&mut self, parent: INodeNo, name: &OsStr) -> Result<u64, Errno> {
        self.directory(parent)?.now.get(name).copied().ok_or(Errno::ENOENT)
    }

    fn attributes(&self, node: u64) -> Result<FileAttr, Errno> {
        let (size, kind, perm, nlink) = match self.nodes.get(&node).ok_or(Errno::ENOENT)? {
            Node::File(content) => (content.now.len() as u64, FileType::RegularFile, 0o640, content.links),
            Node::Directory(_) => (4096, FileType::Directory, 0o750, 2),
        };
        Ok(FileAttr {
            ino: INodeNo(node),
            size,
            blocks: size.div_ceil(512),
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm,
            nlink,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }

    fn make(&mut self, parent: INodeNo, name: &OsStr, new: Node) -> Result<FileAttr, Errno> {
        self.step()?;
        if self.find(parent, name).is_ok() {
            return Err(Errno::EEXIST);
        }
        let node = self.next;
        self.next += 1;
        self.nodes.insert(node, new);
        self.directory(parent)?.change(vec![(name.to_owned(), Some(node))]);
        self.attributes(node)
    }

    fn unlinked(&mut self, node: u64) {
        if let Some(Node::File(content)) = self.nodes.get_mut(&node) {
            content.links = content.links.saturating_sub(1);
        }
    }
}

struct Front(Disk);

macro_rules! answer {
    ($reply:ident, $outcome:expr, $value:ident => $good:expr) => {
        match (|| -> Result<_, Errno> { $outcome })() {
            Ok($value) => $good,
            Err(error) => $reply.error(error),
        }
    };
}

impl Filesystem for Front {
    fn init(&mut self, _req: &Request, _config: &mut KernelConfig) -> io::Result<()> {
        Ok(())
    }

    fn lookup(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let mut tree = self.0.tree();
        answer!(reply, {
            tree.look()?;
            let node = tree.find(parent, name)?;
            tree.attributes(node)
        }, found => reply.entry(&KEEP_LOOKUPS, &found, Generation(0)));
    }

    fn getattr(&self, _req: &Request, node: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        let tree = self.0.tree();
        answer!(reply, {
            tree.look()?;
            tree.attributes(node.0)
        }, found => reply.attr(&Duration::ZERO, &found));
    }

    fn setattr(
        &self,
        _req: &Request,
        node: INodeNo,
        _mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<fuser::BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut tree = self.0.tree();
        answer!(reply, {
            tree.step()?;
            if let Some(size) = size {
                tree.file(node)?.write(Write::Size(usize::try_from(size).map_err(|_| Errno::EFBIG)?));
            }
            tree.attributes(node.0)
        }, changed => reply.attr(&Duration::ZERO, &changed));
    }

    fn mkdir(
        &self,
        _req: &Request,
        parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        reply: ReplyEntry,
    ) {
        let mut tree = self.0.tree();
        match tree.make(parent, name, Node::Directory(Names::default())) {
            Ok(made) => reply.entry(&KEEP_LOOKUPS, &made, Generation(0)),
            Err(error) => reply.error(error),
        }
    }

    fn create(
        &self,
        _req: &Request,
        parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        let mut tree = self.0.tree();
        match tree.make(parent, name, Node::File(Content { links: 1, ..Content::default() })) {
            Ok(made) => {
                let flags = FopenFlags::empty();
                reply.created(&KEEP_LOOKUPS, &made, Generation(0), FileHandle(0), flags);
            }
            Err(error) => reply.error(error),
        }
    }

    fn unlink(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let mut tree = self.0.tree();
        answer!(reply, {
            tree.step()?;
            let node = tree.find(parent, name)?;
            tree.directory(parent)?.change(vec![(name.to_owned(), None)]);
            tree.unlinked(node);
            Ok(())
        }, _done => reply.ok());
    }

    fn rmdir(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let mut tree = self.0.tree();
        answer!(reply, {
            tree.step()?;
            let node = tree.find(parent, name)?;
            if !tree.directory(INodeNo(node))?.now.is_empty() {
                return Err(Errno::ENOTEMPTY);
            }
            tree.directory(parent)?.change(vec![(name.to_owned(), None)]);
            Ok(())
        }, _done => reply.ok());
    }

    fn rename(
        &self,
        _req: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        _flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let mut tree = self.0.tree();
        answer!(reply, {
            tree.step()?;
            if parent != new_parent {
                return Err(Errno::EXDEV);
            }
            let node = tree.find(parent, name)?;
            if let Ok(over) = tree.find(parent, new_name) {
                tree.unlinked(over);
            }
            let both = vec![(name.to_owned(), None), (new_name.to_owned(), Some(node))];
            tree.directory(parent)?.change(both);
            Ok(())
        }, _done => reply.ok());
    }

    fn link(&self, _req: &Request, node: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let mut tree = self.0.tree();
        answer!(reply, {
            tree.step()?;
            if tree.find(parent, name).is_ok() {
                return Err(Errno::EEXIST);
            }
            tree.file(node)?.links += 1;
            tree.directory(parent)?.change(vec![(name.to_owned(), Some(node.0))]);
            tree.attributes(node.0)
        }, made => reply.entry(&KEEP_LOOKUPS, &made, Generation(0)));
    }

    fn read(
        &self,
        _req: &Request,
        node: INodeNo,
        _fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let mut tree = self.0.tree();
        answer!(reply, {
            tree.look()?;
            let bytes = &tree.file(node)?.now;
            let from = bytes.len().min(usize::try_from(offset).unwrap_or(usize::MAX));
            let to = bytes.len().min(from.saturating_add(size as usize));
            Ok(bytes[from..to].to_vec())
        }, bytes => reply.data(&bytes));
    }

    fn write(
        &self,
        _req: &Request,
        node: INodeNo,
        _fh: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut tree = self.0.tree();
        answer!(reply, {
            tree.step()?;
            let at = usize::try_from(offset).map_err(|_| Errno::EFBIG)?;
            tree.file(node)?.write(Write::Bytes(at, data.to_vec()));
            Ok(u32::try_from(data.len()).unwrap_or(u32::MAX))
        }, count => reply.written(count));
    }

    fn fallocate(
        &self,
        _req: &Request,
        node: INodeNo,
        _fh: FileHandle,
        offset: u64,
        length: u64,
        _mode: i32,
        reply: ReplyEmpty,
    ) {
        let mut tree = self.0.tree();
        answer!(reply, {
            tree.step()?;
            let size = usize::try_from(offset + length).map_err(|_| Errno::EFBIG)?;
            let file = tree.file(node)?;
            if file.now.len() < size {
                file.write(Write::Size(size));
            }
            Ok(())
        }, _done => reply.ok());
    }

    fn fsync(&self, _req: &Request, node: INodeNo, _fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        let mut tree = self.0.tree();
        answer!(reply, {
            tree.step()?;
            let file = tree.file(node)?;
            for waiting in std::mem::take(&mut file.waiting) {
                waiting.apply(&mut file.kept);
            }
            Ok(())
        }, _done => reply.ok());
    }

    fn fsyncdir(&self, _req: &Request, node: INodeNo, _fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        let mut tree = self.0.tree();
        answer!(reply, {
            tree.step()?;
            let names = tree.directory(node)?;
            for change in std::mem::take(&mut names.waiting) {
                apply_names(&mut names.kept, &change);
            }
            Ok(())
        }, _done => reply.ok());
    }

    fn opendir(&self, _req: &Request, node: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        let mut tree = self.0.tree();
        answer!(reply, {
            tree.look()?;
            let names = tree.directory(node)?.now.clone();
            let kind = |node: &u64| match tree.nodes.get(node) {
                Some(Node::Directory(_)) => FileType::Directory,
                _ => FileType::RegularFile,
            };
            let listing = names.iter().map(|(name, node)| (*node, kind(node), name.clone())).collect();
            let handle = tree.next;
            tree.next += 1;
            tree.listings.insert(handle, listing);
            Ok(handle)
        }, handle => reply.opened(FileHandle(handle), FopenFlags::empty()));
    }

    fn readdir(
        &self,
        _req: &Request,
        _node: INodeNo,
        handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let tree = self.0.tree();
        if let Err(error) = tree.look() {
            return reply.error(error);
        }
        let skip = usize::try_from(offset).unwrap_or(usize::MAX);
        let listing = tree.listings.get(&handle.0).into_iter().flatten();
        for (at, (node, kind, name)) in listing.enumerate().skip(skip) {
            if reply.add(INodeNo(*node), at as u64 + 1, *kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn releasedir(
        &self,
        _req: &Request,
        _node: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.0.tree().listings.remove(&handle.0);
        reply.ok();
    }

    fn statfs(&self, _req: &Request, _node: INodeNo, reply: ReplyStatfs) {
        reply.statfs(BLOCKS, BLOCKS, BLOCKS, BLOCKS, BLOCKS, 4096, 255, 4096);
    }
}
