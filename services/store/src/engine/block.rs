//! A block: neighbouring entries of the index as one value, the form in which sled holds them.
//!
//! sled splits a page as soon as it has 17 entries, however small, and keeps a record of each page in memory; with
//! an entry for each key, a million messages take a million pages. So entries are gathered in blocks of about
//! [`BLOCK_BYTES`]. A block is stored under the key it ends before: the first of the next block when it was divided
//! from that. A key belongs to the first block that ends above it.
//!
//! A block is a sequence of entries in order, each: octets shared with the key before, octets of the rest of the
//! key, octets of the value (LEB128 numbers), the rest of the key, the value.

use super::change::{BadChange, Input, put_number};
use super::index::Value;

/// A block that grows beyond this is divided, unless it is a single entry.
pub(super) const BLOCK_BYTES: usize = 1 << 10;

/// A block that is made, with its first key.
pub(super) type Block = (Vec<u8>, Vec<u8>);

/// A block that is not one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Damaged;

impl From<BadChange> for Damaged {
    fn from(BadChange: BadChange) -> Self {
        Self
    }
}

/// The entries of a block, in order.
pub(super) struct Entries<'a> {
    rest: Input<'a>,
    key: Vec<u8>,
}

impl<'a> Entries<'a> {
    pub fn of(bytes: &'a [u8]) -> Self {
        Self { rest: Input(bytes), key: Vec::with_capacity(64) }
    }

    /// Goes to the next entry. Its key is in [`Entries::key`] until the next call.
    pub fn next(&mut self) -> Result<Option<&'a [u8]>, Damaged> {
        let Some(entry) = Entry::next(&mut self.rest)? else { return Ok(None) };
        if entry.shared > self.key.len() {
            return Err(Damaged);
        }
        self.key.truncate(entry.shared);
        self.key.extend_from_slice(entry.rest);
        Ok(Some(entry.value))
    }

    /// The key of the entry that `next` returned.
    pub fn key(&self) -> &[u8] {
        &self.key
    }
}

/// As it stands in a block.
struct Entry<'a> {
    shared: usize,
    rest: &'a [u8],
    value: &'a [u8],
}

impl<'a> Entry<'a> {
    fn next(input: &mut Input<'a>) -> Result<Option<Self>, Damaged> {
        if input.0.is_empty() {
            return Ok(None);
        }
        let shared = usize::try_from(input.number()?).map_err(|_| Damaged)?;
        let (rest, value) = (input.number()?, input.number()?);
        Ok(Some(Self { shared, rest: input.take(rest)?, value: input.take(value)? }))
    }
}

fn common(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// The value of a key. Keys are not put together for it: what they share with the one before says where they lie.
pub(super) fn get<'a>(bytes: &'a [u8], key: &[u8]) -> Result<Option<&'a [u8]>, Damaged> {
    let mut input = Input(bytes);
    // So much of `key` the entry before has in common with it; that entry is below `key`.
    let mut matched = 0;
    while let Some(entry) = Entry::next(&mut input)? {
        if entry.shared < matched {
            // It leaves the entry before upwards where that still was as `key` is.
            return Ok(None);
        }
        if entry.shared == matched {
            let wanted = &key[matched..];
            let same = common(entry.rest, wanted);
            match (entry.rest.get(same), wanted.get(same)) {
                (None, None) => return Ok(Some(entry.value)),
                (Some(_), None) => return Ok(None),
                (Some(ours), Some(theirs)) if ours > theirs => return Ok(None),
                _ => matched += same,
            }
        }
    }
    Ok(None)
}

/// A block being written.
#[derive(Default)]
struct Piece {
    first: Vec<u8>,
    last: Vec<u8>,
    bytes: Vec<u8>,
}

impl Piece {
    fn push(&mut self, key: &[u8], value: &[u8]) {
        let shared = common(&self.last, key);
        if self.bytes.is_empty() {
            self.first = key.to_vec();
        }
        for number in [shared, key.len() - shared, value.len()] {
            put_number(&mut self.bytes, number as u64);
        }
        self.bytes.extend_from_slice(&key[shared..]);
        self.bytes.extend_from_slice(value);
        self.last.truncate(shared);
        self.last.extend_from_slice(&key[shared..]);
    }
}

/// What becomes of a block by changes in order, all of which belong to it: blocks, each with its first key. None
/// of them is empty; nothing is left if there are none.
pub(super) fn changed<'c>(
    block: &[u8],
    changes: impl Iterator<Item = (&'c [u8], Option<&'c Value>)>,
) -> Result<Vec<Block>, Damaged> {
    let mut merged = Merged::default();
    let mut entries = Entries::of(block);
    let mut old = entries.next()?;
    for (key, value) in changes {
        while let Some(kept) = old {
            match entries.key().cmp(key) {
                std::cmp::Ordering::Less => merged.push(entries.key(), kept),
                std::cmp::Ordering::Equal => {}
                std::cmp::Ordering::Greater => break,
            }
            old = entries.next()?;
        }
        if let Some(value) = value {
            merged.grew_at_the_end = old.is_none();
            merged.push(key, value);
        }
    }
    while let Some(kept) = old {
        merged.push(entries.key(), kept);
        old = entries.next()?;
    }
    Ok(merged.divided())
}

/// Entries on their way into blocks.
#[derive(Default)]
struct Merged {
    whole: Piece,
    grew_at_the_end: bool,
}

impl Merged {
    fn push(&mut self, key: &[u8], value: &[u8]) {
        self.whole.push(key, value);
    }

    /// In full blocks where entries came at the end, as more will follow there; in halves otherwise.
    fn divided(self) -> Vec<Block> {
        let total = self.whole.bytes.len();
        if total == 0 {
            return Vec::new();
        }
        if total <= BLOCK_BYTES {
            return vec![(self.whole.first, self.whole.bytes)];
        }
        let most = if self.grew_at_the_end {
            BLOCK_BYTES
        } else {
            let pieces = (total * 4).div_ceil(BLOCK_BYTES * 3);
            total.div_ceil(pieces)
        };
        let mut blocks = Vec::with_capacity(total / most + 1);
        let mut piece = Piece::default();
        let mut entries = Entries::of(&self.whole.bytes);
        while let Ok(Some(value)) = entries.next() {
            let key = entries.key();
            if !piece.bytes.is_empty() && piece.bytes.len() + key.len() + value.len() > most {
                let full = std::mem::take(&mut piece);
                blocks.push((full.first, full.bytes));
            }
            piece.push(key, value);
        }
        blocks.push((piece.first, piece.bytes));
        blocks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    type Model = BTreeMap<Vec<u8>, Vec<u8>>;

    fn read(blocks: &[Block]) -> Model {
        let mut all = Model::new();
        let mut last = Vec::new();
        for (first, bytes) in blocks {
            let mut entries = Entries::of(bytes);
            let mut is_first = true;
            while let Some(value) = entries.next().expect("whole") {
                assert!(entries.key() > last.as_slice() || all.is_empty(), "in order");
                assert!(!is_first || entries.key() == first, "stored under its first key");
                is_first = false;
                last = entries.key().to_vec();
                all.insert(last.clone(), value.to_vec());
            }
            assert!(!is_first, "no empty block");
        }
        all
    }

    fn pseudorandom(seed: &mut u64, below: u64) -> u64 {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*seed >> 33) % below
    }

    #[test]
    fn changed_blocks_hold_what_a_map_would() {
        let mut seed = 1;
        for round in 0..400 {
            let mut random = |below| pseudorandom(&mut seed, below);
            let mut key =
                || -> Vec<u8> { (0..random(6)).map(|_| u8::try_from(random(3)).unwrap() * 127).collect() };
            let keys: Vec<Vec<u8>> = (0..120).map(|_| key()).collect();
            let mut random = |below| pseudorandom(&mut seed, below);
            let mut model = Model::new();
            let mut piece = Piece::default();
            for key in &keys[..60] {
                model.insert(key.clone(), vec![7; usize::try_from(random(90)).unwrap()]);
            }
            for (key, value) in &model {
                piece.push(key, value);
            }
            let mut changes: BTreeMap<&[u8], Option<Value>> = BTreeMap::new();
            for key in &keys[60..] {
                let gone = random(3) == 0 || round % 7 == 0;
                let size = random(if round % 5 == 0 { 900 } else { 40 });
                changes.insert(key, (!gone).then(|| Value::from(vec![9u8; usize::try_from(size).unwrap()])));
            }
            let blocks = changed(&piece.bytes, changes.iter().map(|(key, value)| (*key, value.as_ref())))
                .expect("whole");
            for (key, value) in &changes {
                match value {
                    Some(value) => model.insert(key.to_vec(), value.to_vec()),
                    None => model.remove(*key),
                };
            }
            assert_eq!(read(&blocks), model);
            for (number, (_, bytes)) in blocks.iter().enumerate() {
                assert!(bytes.len() <= BLOCK_BYTES + 8 || number > 0 || blocks.len() == 1, "{}", bytes.len());
                for key in &keys {
                    let mine = read(&blocks[number..=number]);
                    assert_eq!(
                        get(bytes, key).expect("whole"),
                        mine.get(key).map(Vec::as_slice),
                        "{key:?} in {mine:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn keys_that_come_at_the_end_leave_full_blocks_behind() {
        let mut blocks = vec![(Vec::new(), Vec::new())];
        for number in 0u32..2000 {
            let key = [&b"Ak"[..], &number.to_be_bytes()].concat();
            let (_, last) = blocks.pop().expect("one");
            let value = Value::from(vec![1u8; 60]);
            blocks.extend(changed(&last, [(key.as_slice(), Some(&value))].into_iter()).expect("whole"));
        }
        let bytes: usize = blocks.iter().map(|(_, bytes)| bytes.len()).sum();
        assert!(bytes > (blocks.len() - 1) * BLOCK_BYTES * 9 / 10, "{bytes} in {}", blocks.len());
    }

    #[test]
    fn a_damaged_block_is_said_to_be_one() {
        let mut piece = Piece::default();
        for number in 0u8..40 {
            piece.push(&[1, number / 8, number], &[number; 9]);
        }
        let mut seed = 5;
        for _ in 0..20_000 {
            let mut bytes = piece.bytes.clone();
            for _ in 0..=pseudorandom(&mut seed, 3) {
                let at = usize::try_from(pseudorandom(&mut seed, bytes.len() as u64)).expect("small");
                bytes[at] = u8::try_from(pseudorandom(&mut seed, 256)).expect("small");
            }
            bytes.truncate(usize::try_from(pseudorandom(&mut seed, 600)).expect("small"));
            let _ = get(&bytes, &[1, 3, 27]);
            let mut entries = Entries::of(&bytes);
            while let Ok(Some(_)) = entries.next() {}
            let _ = changed(&bytes, [(&[1u8, 2][..], None)].into_iter());
        }
        assert_eq!(Entries::of(&piece.bytes[..piece.bytes.len() - 1]).key(), b"");
        assert_eq!(get(&[0, 1, 200, 1, 7], &[7]), Err(Damaged));
    }
}
