//! Learning and unlearning messages, within the change that makes it so. Rows JK-03, TR-02, TR-37.

use super::{Count, Filter, Learnt, pack, unpack, wanted, words_of};
use crate::engine::Tx;
use crate::keys;
use crate::limits::JUNK_ONCE;
use crate::records::{self, Message, Read, Stage, Training, encode, put_blob};
use crate::writer::Writer;
use libmox_store::Fault;
use libmox_types::{AccountId, MsgId};
use std::collections::HashMap;

/// Octets of a block of the bloom filter: a line of the processor's cache.
const BLOCK: usize = 64;

/// The table as it will be after a change.
pub struct Trainer {
    pub filter: Filter,
    words: HashMap<u32, Entry>,
    blocks: HashMap<u16, Block>,
}

struct Entry {
    before: Count,
    now: Count,
}

struct Block {
    bits: [u8; BLOCK],
    changed: bool,
}

/// Where a word is in the bloom filter: a block, and three bits of it.
fn bloom_place(word: u32) -> (u16, [u16; 3]) {
    let mixed = u64::from(word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let bits = |from: u32, count: u32| u16::try_from((mixed >> from) & ((1 << count) - 1)).unwrap_or(0);
    (bits(52, 12), [bits(43, 9), bits(34, 9), bits(25, 9)])
}

impl Trainer {
    pub fn open(tx: &Tx, account: AccountId) -> Result<Self, Fault> {
        let filter = tx.record(&keys::junk_filter(account))?.unwrap_or_default();
        Ok(Self { filter, words: HashMap::new(), blocks: HashMap::new() })
    }

    fn entry(&mut self, tx: &Tx, account: AccountId, word: u32) -> Result<&mut Entry, Fault> {
        use std::collections::hash_map::Entry as At;
        Ok(match self.words.entry(word) {
            At::Occupied(at) => at.into_mut(),
            At::Vacant(at) => {
                let value = tx.get(&keys::junk_word(account, word))?;
                let before = value.and_then(|value| Count::read(&value)).unwrap_or_default();
                at.insert(Entry { before, now: before })
            }
        })
    }

    /// Notes a word in the bloom filter; whether it was there before.
    fn seen_before(&mut self, tx: &Tx, account: AccountId, word: u32) -> Result<bool, Fault> {
        let (number, bits) = bloom_place(word);
        if !self.blocks.contains_key(&number) {
            let value = tx.get(&keys::junk_block(account, number))?;
            let bits = value
                .as_deref()
                .and_then(<[u8]>::split_first)
                .filter(|(generation, _)| **generation == self.filter.generation)
                .and_then(|(_, bits)| bits.try_into().ok())
                .unwrap_or([0; BLOCK]);
            self.blocks.insert(number, Block { bits, changed: false });
        }
        let Some(block) = self.blocks.get_mut(&number) else { return Err(Fault::Internal) };
        let mut there = true;
        for bit in bits {
            let (at, mask) = (usize::from(bit / 8), 1 << (bit % 8));
            there &= block.bits[at] & mask != 0;
            block.bits[at] |= mask;
        }
        if !there {
            block.changed = true;
            self.filter.once += 1;
            if self.filter.once > JUNK_ONCE {
                // It would soon say yes to everything: what was seen once long ago is forgotten.
                self.filter.once = 0;
                self.filter.generation = self.filter.generation.wrapping_add(1);
                self.blocks.clear();
            }
        }
        Ok(there)
    }

    /// Learns words; which of them are counted, a bit each.
    fn learn(&mut self, tx: &Tx, account: AccountId, words: &[u32], junk: bool) -> Result<Vec<u8>, Fault> {
        let total = if junk { &mut self.filter.junk } else { &mut self.filter.ham };
        *total = total.saturating_add(1);
        let mut counted = vec![0; words.len().div_ceil(8)];
        for (at, word) in words.iter().enumerate() {
            let known = !self.entry(tx, account, *word)?.now.is_none();
            if known || self.seen_before(tx, account, *word)? {
                let now = &mut self.entry(tx, account, *word)?.now;
                let count = if junk { &mut now.junk } else { &mut now.ham };
                *count = count.saturating_add(1);
                counted[at / 8] |= 1 << (at % 8);
            }
        }
        Ok(counted)
    }

    fn unlearn(
        &mut self,
        tx: &Tx,
        account: AccountId,
        words: &[u32],
        counted: &[u8],
        junk: bool,
    ) -> Result<(), Fault> {
        let total = if junk { &mut self.filter.junk } else { &mut self.filter.ham };
        *total = total.saturating_sub(1);
        for (at, word) in words.iter().enumerate() {
            if is_counted(counted, at) {
                let now = &mut self.entry(tx, account, *word)?.now;
                let count = if junk { &mut now.junk } else { &mut now.ham };
                *count = count.saturating_sub(1);
            }
        }
        Ok(())
    }

    /// Writes what changed.
    pub fn finish(mut self, tx: &mut Tx, account: AccountId) -> Learnt {
        let mut changed = Vec::new();
        for (word, Entry { before, now }) in self.words {
            if before == now {
                continue;
            }
            match (before.is_none(), now.is_none()) {
                (true, false) => self.filter.words = self.filter.words.saturating_add(1),
                (false, true) => self.filter.words = self.filter.words.saturating_sub(1),
                _ => {}
            }
            let key = keys::junk_word(account, word);
            if now.is_none() {
                tx.change().delete(key);
            } else {
                tx.change().put(key, now.write());
            }
            changed.push((word, now));
        }
        for (number, block) in self.blocks {
            if block.changed {
                let mut value = vec![self.filter.generation];
                value.extend_from_slice(&block.bits);
                tx.change().put(keys::junk_block(account, number), value);
            }
        }
        tx.change().put(keys::junk_filter(account), encode(&self.filter));
        Learnt { filter: self.filter, words: changed, wiped: false }
    }
}

/// Whether a word of a message was counted.
pub fn is_counted(counted: &[u8], at: usize) -> bool {
    counted.get(at / 8).is_some_and(|bits| bits & (1 << (at % 8)) != 0)
}

impl Writer<'_> {
    fn trainer(&mut self) -> Result<&mut Trainer, Fault> {
        if self.trainer.is_none() {
            self.trainer = Some(Trainer::open(self.tx, self.id)?);
        }
        self.trainer.as_mut().ok_or(Fault::Internal)
    }

    /// Keeps the words of a message that is added.
    pub fn keep_words(&mut self, id: MsgId, text: &str) {
        let words = words_of(text, self.habits.grams);
        if !words.is_empty() {
            put_blob(self.tx, &keys::words(self.id, id), &pack(&words));
        }
    }

    /// Those of a copy.
    pub fn copy_words(&mut self, from: MsgId, to: MsgId) -> Result<(), Fault> {
        if let Some(words) = self.tx.blob(&keys::words(self.id, from))? {
            put_blob(self.tx, &keys::words(self.id, to), &words);
        }
        Ok(())
    }

    /// Learns a message as its flags say, if it was not already.
    pub fn train(&mut self, message: &mut Message) -> Result<(), Fault> {
        self.train_as(message, wanted(message.flags))
    }

    /// Unlearns a message that goes, and forgets its words.
    pub fn untrain(&mut self, message: &Message) -> Result<(), Fault> {
        self.train_as(&mut message.clone(), Training::None)?;
        records::delete_blob(self.tx, &keys::words(self.id, message.id))
    }

    fn train_as(&mut self, message: &mut Message, want: Training) -> Result<(), Fault> {
        if self.account.upgrade.is_some_and(|progress| progress.stage == Stage::Forget) {
            // Everything is about to be learnt anew: nothing is known of any message.
            if message.trained != Training::None {
                self.tx.change().delete(keys::counted(self.id, message.id));
                message.trained = Training::None;
            }
            return Ok(());
        }
        if message.trained == want {
            return Ok(());
        }
        let words = unpack(&self.tx.blob(&keys::words(self.id, message.id))?.unwrap_or_default());
        let (account, key) = (self.id, keys::counted(self.id, message.id));
        self.trainer()?;
        let Some(trainer) = self.trainer.as_mut() else { return Err(Fault::Internal) };
        if message.trained != Training::None {
            let counted = self.tx.get(&key)?;
            let counted = counted.as_deref().unwrap_or_default();
            trainer.unlearn(self.tx, account, &words, counted, message.trained == Training::Junk)?;
            self.tx.change().delete(key.clone());
        }
        if want != Training::None {
            let counted = trainer.learn(self.tx, account, &words, want == Training::Junk)?;
            self.tx.change().put(key, counted);
        }
        message.trained = want;
        Ok(())
    }

    /// Empties the table. No message of the account is learnt now.
    pub fn wipe_words(&mut self) -> Result<(), Fault> {
        for prefix in [keys::junk_words(self.id), keys::junk_blocks(self.id)] {
            for key in self.tx.keys_below(&prefix)? {
                self.tx.change().delete(key);
            }
        }
        self.tx.change().put(keys::junk_filter(self.id), encode(&Filter::default()));
        self.wiped = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bloom_places_are_within_bounds_and_spread() {
        let mut blocks = std::collections::HashSet::new();
        for word in 0..10_000u32 {
            let (block, bits) = bloom_place(word);
            assert!(block < 4096 && bits.iter().all(|bit| *bit < 512));
            blocks.insert(block);
        }
        assert!(blocks.len() > 3_000, "{}", blocks.len());
    }

    #[test]
    fn counted_bits() {
        assert!(is_counted(&[0b10], 1) && !is_counted(&[0b10], 0) && !is_counted(&[0b10], 8));
    }
}
