//! The two operations the journal's promise rests on, behind a trait so that tests can make them fail.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Writes and syncs journal bytes.
pub trait Medium: Send + Sync {
    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Returns when all earlier writes to `file` are on stable storage.
    fn sync(&self, file: &File) -> io::Result<()>;
}

/// The real thing.
pub struct Disk;

impl Medium for Disk {
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }
}

/// Leaves out the sync. Only for the test that shows that a crash test notices a store which does this.
pub struct Unsynced;

impl Medium for Unsynced {
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }

    fn sync(&self, _file: &File) -> io::Result<()> {
        Ok(())
    }
}
