//! Where readers see the number of each account's last change without asking: the writing side.
//!
//! Does not know: what changed, or who reads. Without memory for it the store does not start; if it cannot be written any
//! more it is emptied, and readers know that they have to ask.

use libmox_store::LastChanges;
use libmox_types::AccountId;
use rustix::fs::{MemfdFlags, Mode};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::fs::FileExt as _;

/// A file in memory, of one page for each two hundred accounts that change.
#[derive(Debug)]
pub struct Numbers {
    file: File,
    /// What readers get: they cannot write, and as another user they cannot open it anew.
    read_only: OwnedFd,
}

impl Numbers {
    pub fn new() -> io::Result<Self> {
        let file = File::from(rustix::fs::memfd_create("mox-last-changes", MemfdFlags::CLOEXEC)?);
        rustix::fs::fchmod(&file, Mode::RUSR)?;
        // All of it is there, and takes no room until it is written.
        file.set_len(LastChanges::place(AccountId(u32::MAX)))?;
        let read_only = File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))?.into();
        Ok(Self { file, read_only })
    }

    /// For a reader.
    pub fn open(&self) -> io::Result<OwnedFd> {
        self.read_only.as_fd().try_clone_to_owned()
    }

    /// An account's last change has this number. Before it is said of the change that it is there.
    pub fn put(&self, account: AccountId, number: u64) {
        if let Err(error) = self.file.write_all_at(&LastChanges::entry(number), LastChanges::place(account)) {
            tracing::error!(%error, "readers have to ask for the last changes");
            // An old number would be believed.
            let _ = self.file.set_len(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_see_each_number_and_cannot_write() {
        let numbers = Numbers::new().unwrap();
        let seen = LastChanges::new(numbers.open().unwrap());
        assert_eq!(seen.of(AccountId(7)), Some(0));
        numbers.put(AccountId(7), 3);
        numbers.put(AccountId(8), 1 << 40);
        assert_eq!([6, 7, 8].map(|id| seen.of(AccountId(id))), [Some(0), Some(3), Some(1 << 40)]);
        let theirs = File::from(numbers.open().unwrap());
        assert!(theirs.write_at(&[1], 0).is_err() && theirs.set_len(0).is_err());
        // A store that cannot write any more says so by having nothing.
        numbers.file.set_len(0).unwrap();
        assert_eq!(seen.of(AccountId(7)), None);
    }
}
