//! The junk filter of an account: which words stood in mail that its people marked, and what a new message's words
//! say (rows JK-01 to JK-06, JK-14). Nothing of it is shared between accounts (row JK-13).
//!
//! | key | what |
//! |---|---|
//! | `y` | [`Filter`]: how many messages were learnt |
//! | `w` word(4) | in how many of the junk and the others the word stood |
//! | `q` block(2) | part of a bloom filter of words seen once, which are in no table |
//! | `W` m | the words of a message, so that it can be learnt and unlearnt later |
//! | `c` m | which of them were counted when it was learnt |
//!
//! A word is 4 bytes of a hash. It is counted from its second message on; which words of a message were counted is
//! kept with it, so unlearning takes exactly that away and `check` can add everything up again. A message is learnt in
//! the change that makes it so: a flag, a move, a delivery; it is unlearnt in the change that removes it.
//!
//! | a message | is learnt as |
//! |---|---|
//! | with `$Junk` alone | junk |
//! | with `$NotJunk` alone | no junk |
//! | with both or none | not at all |

mod habits;
mod memory;
mod score;
mod train;
mod words;

pub use habits::Habits;
pub use memory::{Learnt, Table, WordsInMemory};
pub use score::{Score, score};
pub use train::{Trainer, is_counted};
pub use words::{named, words_of};

use crate::records::Training;
use libmox_types::{Flag, Flags};
use serde::{Deserialize, Serialize};

/// Totals of an account's filter.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// Messages learnt as junk.
    pub junk: u32,
    /// And as no junk.
    pub ham: u32,
    /// Words in the table.
    pub words: u32,
    /// Words put into the bloom filter.
    pub once: u32,
    /// Of the bloom filter: blocks of another one are empty.
    pub generation: u8,
}

impl Filter {
    /// Row JK-06.
    pub fn is_significant(&self) -> bool {
        self.ham >= crate::limits::JUNK_SIGNIFICANT
    }
}

/// In how many messages a word stood.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    pub junk: u32,
    pub ham: u32,
}

impl Count {
    pub fn read(value: &[u8]) -> Option<Self> {
        let (junk, ham) = value.split_at_checked(4)?;
        Some(Self {
            junk: u32::from_be_bytes(junk.try_into().ok()?),
            ham: u32::from_be_bytes(ham.try_into().ok()?),
        })
    }

    pub fn write(self) -> Vec<u8> {
        [self.junk.to_be_bytes(), self.ham.to_be_bytes()].concat()
    }

    pub fn is_none(self) -> bool {
        self == Self::default()
    }
}

/// Row JK-01: what the flags say, and nothing else.
pub fn wanted(flags: Flags) -> Training {
    match (flags.has(Flag::Junk), flags.has(Flag::NotJunk)) {
        (true, false) => Training::Junk,
        (false, true) => Training::Ham,
        _ => Training::None,
    }
}

/// The words of stored bytes.
pub fn unpack(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks_exact(4).map(|word| u32::from_be_bytes([word[0], word[1], word[2], word[3]])).collect()
}

/// And back.
pub fn pack(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn training_follows_flags_alone() {
        let (junk, not) = (Flags::NONE.with(Flag::Junk), Flags::NONE.with(Flag::NotJunk));
        for (flags, want) in [
            (Flags::NONE, Training::None),
            (junk, Training::Junk),
            (not, Training::Ham),
            (junk.with(Flag::NotJunk), Training::None),
            (Flags::NONE.with(Flag::Seen), Training::None),
        ] {
            assert_eq!(wanted(flags), want, "{flags:?}");
        }
    }

    #[test]
    fn counts_and_words_are_bytes_and_back() {
        let count = Count { junk: 1, ham: 70_000 };
        assert_eq!(Count::read(&count.write()), Some(count));
        assert_eq!(Count::read(b"short"), None);
        assert_eq!(unpack(&pack(&[1, u32::MAX])), [1, u32::MAX]);
    }
}
