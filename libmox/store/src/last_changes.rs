//! The number of each account's last change, to look at without asking: role `imap`.
//!
//! The store writes it into a file before it says that a change is there; who got the descriptor can only read. So a
//! reader that has taken in the change of that number knows that nothing was missed, though nobody was woken.
//!
//! Does not know: what changed. Fails with no number, where the file is empty: then the store has to be asked.

use libmox_types::AccountId;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;

/// Asks for the file. Reply: one descriptor, for [`LastChanges`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LastChangesOpen;

/// Octets of an entry: the number, and its complement.
const ENTRY: usize = 16;
/// A number that is just being written is looked at again this often.
const LOOKS: usize = 100;

/// The file, as readers have it. Good as long as the connection it came on: another store counts anew.
#[derive(Debug)]
pub struct LastChanges(File);

impl LastChanges {
    /// From the descriptor of the reply.
    #[must_use]
    pub fn new(descriptor: OwnedFd) -> Self {
        Self(descriptor.into())
    }

    /// The number of the last change, 0 before the first; none if the store no longer writes it.
    #[must_use]
    pub fn of(&self, account: AccountId) -> Option<u64> {
        (0..LOOKS).find_map(|_| {
            let mut entry = [0; ENTRY];
            self.0.read_exact_at(&mut entry, Self::place(account)).ok()?;
            Self::read(entry)
        })
    }

    /// Where the entry of an account is.
    #[must_use]
    pub fn place(account: AccountId) -> u64 {
        u64::from(account.0) * ENTRY as u64
    }

    /// The entry with a number. Its halves prove each other: reading and writing are not atomic.
    #[must_use]
    pub fn entry(number: u64) -> [u8; ENTRY] {
        (u128::from(!number) << 64 | u128::from(number)).to_le_bytes()
    }

    /// The number of an entry; none if it was half written.
    fn read(entry: [u8; ENTRY]) -> Option<u64> {
        let both = u128::from_le_bytes(entry);
        #[expect(clippy::cast_possible_truncation, reason = "the halves")]
        let (number, complement) = (both as u64, (both >> 64) as u64);
        // Never written: zeros.
        (both == 0 || complement == !number).then_some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_its_number_or_half_written() {
        for number in [0, 1, 255, 256, u64::from(u32::MAX), u64::MAX - 1] {
            assert_eq!(LastChanges::read(LastChanges::entry(number)), Some(number));
        }
        assert_eq!(LastChanges::read([0; ENTRY]), Some(0));
        // 0xff becomes 0x100, an octet at a time.
        let (before, after) = (LastChanges::entry(0xff), LastChanges::entry(0x100));
        for written in 1..ENTRY {
            let mut torn = before;
            torn[..written].copy_from_slice(&after[..written]);
            assert!([None, Some(0xff), Some(0x100)].contains(&LastChanges::read(torn)), "{written}");
        }
    }
}
