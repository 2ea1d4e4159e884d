//! One atomic change: index puts and deletes, the same change to many values, files to create and erase, and what to do
//! once it is committed.
//!
//! Everything in it is blind and repeatable (a put by key, a file by name), so applying a change twice, or a
//! run of changes again from an earlier point, ends in the same state. Replay depends on that.
//!
//! Does not know: what the keys and files mean.
//! Fails with: `BadChange` when journal bytes that passed their checksum do not decode.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::files::{FileName, Sealed};
use super::index::Value;
use super::limits::{CHANGE_BYTES, KEY_BYTES, VALUE_BYTES};
// The one thing of mail that the engine is told.
use crate::records::patched;

/// Called by the committer after the change is applied, in commit order. Must not block.
pub type After = Box<dyn FnOnce(u64) + Send>;

/// Where the bytes of a created file come from.
pub enum Source {
    /// Rides in the journal record.
    Inline(Arc<[u8]>),
    /// A staged file whose content is on disk but which has no lasting name yet.
    Sealed(Sealed),
    /// A staged file under this name in the staging folder; the form in which it is journalled.
    Staged(String),
    /// Another message file, linked once more.
    Existing(FileName),
}

/// What happens to a message file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileOp {
    /// Make `name` from the change's source number `source`.
    Create {
        /// The new file.
        name: FileName,
        /// Index into the sources of the change.
        source: u32,
    },
    /// Remove one file.
    Erase(FileName),
    /// Remove all files of an owner.
    EraseOwner(u64),
}

/// The same small change to the values of many keys: it is journalled once, seen at once, and brought into the index
/// later.
///
/// What `patched` makes of a value must make nothing of a value that has been patched already, or that was put by a later
/// change: whoever reads looks at what waits first and at the index then, and replay begins at an earlier point.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patch {
    /// What the keys begin with. Four octets follow, a number.
    pub prefix: Vec<u8>,
    /// Which numbers: ranges with both ends, ascending. A key that is not there stays so.
    pub ranges: Vec<(u32, u32)>,
    /// What becomes of the values.
    pub what: Vec<u8>,
}

impl Patch {
    /// Whether a key is one of them.
    pub(super) fn covers(&self, key: &[u8]) -> bool {
        let number = key.strip_prefix(self.prefix.as_slice()).and_then(|number| number.try_into().ok());
        number.is_some_and(|number| {
            let number = u32::from_be_bytes(number);
            let at = self.ranges.partition_point(|(_, high)| *high < number);
            self.ranges.get(at).is_some_and(|(low, _)| *low <= number)
        })
    }

    /// The lowest and the highest key.
    pub(super) fn bounds(&self) -> [Vec<u8>; 2] {
        let key = |number: u32| [self.prefix.as_slice(), &number.to_be_bytes()].concat();
        [
            key(self.ranges.first().map_or(0, |range| range.0)),
            key(self.ranges.last().map_or(0, |range| range.1)),
        ]
    }

    /// What becomes of those values of a map that it covers, handed to `set`.
    pub(super) fn lay_over<'m, V: 'm>(
        &self,
        map: &'m mut BTreeMap<Vec<u8>, V>,
        value: impl Fn(&mut V) -> Option<&mut Value>,
        mut done: impl FnMut(&mut V),
    ) {
        let [low, high] = self.bounds();
        for (key, entry) in map.range_mut(low..=high) {
            if self.covers(key)
                && let Some(before) = value(entry)
                && let Some(after) = patched(&self.what, before)
            {
                *before = after.into();
                done(entry);
            }
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        put_bytes(out, &self.prefix);
        put_number(out, self.ranges.len() as u64);
        let mut last = 0;
        for (low, high) in &self.ranges {
            put_number(out, u64::from(low - last));
            put_number(out, u64::from(high - low));
            last = *high;
        }
        put_bytes(out, &self.what);
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, BadChange> {
        let prefix = input.bytes()?.to_vec();
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        let mut last = 0u32;
        for at in 0..input.number()? {
            let step = |from: u32, by: u64| {
                u32::try_from(by).ok().and_then(|by| from.checked_add(by)).ok_or(BadChange)
            };
            let low = step(last, input.number()?)?;
            let high = step(low, input.number()?)?;
            if at > 0 && low <= last {
                return Err(BadChange);
            }
            last = high;
            ranges.push((low, high));
        }
        Ok(Self { prefix, ranges, what: input.bytes()?.to_vec() })
    }
}

/// A value with patches laid over it, in order.
pub(super) fn with_patches<'p>(
    patches: impl IntoIterator<Item = &'p Arc<Patch>>,
    key: &[u8],
    value: &mut Value,
) {
    for patch in patches {
        if patch.covers(key)
            && let Some(after) = patched(&patch.what, value)
        {
            *value = after.into();
        }
    }
}

/// A change being put together. The later of two operations on one key or file wins.
#[derive(Default)]
pub struct Change {
    pub(super) index: BTreeMap<Vec<u8>, Option<Value>>,
    pub(super) sources: Vec<Source>,
    pub(super) files: Vec<FileOp>,
    /// Before what is put.
    pub(super) patches: Vec<Arc<Patch>>,
    pub(super) after: Vec<After>,
}

/// Journal bytes that are not a change.
#[derive(Debug, thiserror::Error)]
#[error("a journal record does not decode")]
pub struct BadChange;

impl Change {
    /// An empty change.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a key.
    pub fn put(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Value>) {
        self.index.insert(key.into(), Some(value.into()));
    }

    /// Removes a key.
    pub fn delete(&mut self, key: impl Into<Vec<u8>>) {
        self.index.insert(key.into(), None);
    }

    /// Changes many values alike. What this change puts itself is put after that.
    pub fn patch(&mut self, patch: Patch) {
        if !patch.ranges.is_empty() {
            self.patches.push(Arc::new(patch));
        }
    }

    /// Adds a source of file content, for one or several [`Change::create`].
    pub fn source(&mut self, source: Source) -> u32 {
        self.sources.push(source);
        u32::try_from(self.sources.len() - 1).unwrap_or(u32::MAX)
    }

    /// Creates a file.
    pub fn create(&mut self, name: FileName, source: u32) {
        self.files.push(FileOp::Create { name, source });
    }

    /// Erases a file. It goes at the first checkpoint after the commit.
    pub fn erase(&mut self, name: FileName) {
        self.files.push(FileOp::Erase(name));
    }

    /// Erases all files of an owner.
    pub fn erase_owner(&mut self, owner: u64) {
        self.files.push(FileOp::EraseOwner(owner));
    }

    /// Adds something to do once committed.
    pub fn after(&mut self, after: impl FnOnce(u64) + Send + 'static) {
        self.after.push(Box::new(after));
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty() && self.files.is_empty() && self.patches.is_empty()
    }

    /// Whether the change adds mail; such a change is refused earlier on a full disk than one that frees space.
    pub(super) fn grows(&self) -> bool {
        self.files.iter().any(|op| matches!(op, FileOp::Create { .. }))
    }

    /// Roughly the bytes of its journal form.
    pub(super) fn weight(&self) -> usize {
        let index: usize =
            self.index.iter().map(|(k, v)| k.len() + v.as_ref().map_or(0, |v| v.len()) + 8).sum();
        let sources: usize = self
            .sources
            .iter()
            .map(|source| if let Source::Inline(bytes) = source { bytes.len() + 8 } else { 64 })
            .sum();
        let patch = |patch: &Arc<Patch>| patch.prefix.len() + patch.ranges.len() * 10 + patch.what.len() + 8;
        let patches: usize = self.patches.iter().map(patch).sum();
        index + sources + patches + self.files.len() * 24 + 16
    }

    /// Whether every part keeps to its limit.
    pub(super) fn within_limits(&self) -> bool {
        self.weight() <= CHANGE_BYTES
            && self.index.iter().all(|(key, value)| {
                key.len() <= KEY_BYTES && value.as_ref().is_none_or(|v| v.len() <= VALUE_BYTES)
            })
            && self.files.iter().all(|op| match op {
                FileOp::Create { source, .. } => (*source as usize) < self.sources.len(),
                _ => true,
            })
    }

    /// Appends the journal form.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_number(out, self.index.len() as u64);
        for (key, value) in &self.index {
            put_bytes(out, key);
            // Length plus one, so that zero can say "deleted".
            match value {
                None => put_number(out, 0),
                Some(value) => {
                    put_number(out, value.len() as u64 + 1);
                    out.extend_from_slice(value);
                }
            }
        }
        put_number(out, self.sources.len() as u64);
        for source in &self.sources {
            match source {
                Source::Inline(bytes) => {
                    out.push(0);
                    put_bytes(out, bytes);
                }
                Source::Staged(name) => {
                    out.push(1);
                    put_bytes(out, name.as_bytes());
                }
                Source::Existing(name) => {
                    out.push(2);
                    put_number(out, name.owner);
                    put_number(out, name.id);
                }
                // The committer names every sealed file before it encodes; an unnamed one is unusable.
                Source::Sealed(_) => {
                    out.push(1);
                    put_bytes(out, b"");
                }
            }
        }
        put_number(out, (self.files.len() + self.patches.len()) as u64);
        for op in &self.files {
            match op {
                FileOp::Create { name, source } => {
                    out.push(0);
                    put_number(out, name.owner);
                    put_number(out, name.id);
                    put_number(out, u64::from(*source));
                }
                FileOp::Erase(name) => {
                    out.push(1);
                    put_number(out, name.owner);
                    put_number(out, name.id);
                }
                FileOp::EraseOwner(owner) => {
                    out.push(2);
                    put_number(out, *owner);
                }
            }
        }
        for patch in &self.patches {
            out.push(3);
            patch.encode(out);
        }
    }

    /// Reads the journal form.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, BadChange> {
        let mut input = Input(bytes);
        let mut change = Self::default();
        for _ in 0..input.number()? {
            let key = input.bytes()?.to_vec();
            let value = match input.number()? {
                0 => None,
                n => Some(Value::from(input.take(n - 1)?)),
            };
            change.index.insert(key, value);
        }
        for _ in 0..input.number()? {
            let source = match input.byte()? {
                0 => Source::Inline(Arc::from(input.bytes()?)),
                1 => {
                    let name = std::str::from_utf8(input.bytes()?).map_err(|_| BadChange)?;
                    if name.contains('/') || name.starts_with('.') {
                        return Err(BadChange);
                    }
                    Source::Staged(name.to_owned())
                }
                2 => Source::Existing(input.name()?),
                _ => return Err(BadChange),
            };
            change.sources.push(source);
        }
        for _ in 0..input.number()? {
            let op = match input.byte()? {
                0 => {
                    let name = input.name()?;
                    let source = u32::try_from(input.number()?).map_err(|_| BadChange)?;
                    if source as usize >= change.sources.len() {
                        return Err(BadChange);
                    }
                    FileOp::Create { name, source }
                }
                1 => FileOp::Erase(input.name()?),
                2 => FileOp::EraseOwner(input.number()?),
                3 => {
                    change.patches.push(Arc::new(Patch::decode(&mut input)?));
                    continue;
                }
                _ => return Err(BadChange),
            };
            change.files.push(op);
        }
        if input.0.is_empty() { Ok(change) } else { Err(BadChange) }
    }
}

/// LEB128: seven bits a byte, lowest first. As `postcard` writes numbers, too.
pub fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push((number & 0x7f) as u8);
}

pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// The rest of an encoded change.
pub(super) struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    pub(super) fn byte(&mut self) -> Result<u8, BadChange> {
        let (first, rest) = self.0.split_first().ok_or(BadChange)?;
        self.0 = rest;
        Ok(*first)
    }

    pub(super) fn number(&mut self) -> Result<u64, BadChange> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(BadChange)
    }

    pub(super) fn take(&mut self, count: u64) -> Result<&'a [u8], BadChange> {
        let count = usize::try_from(count).map_err(|_| BadChange)?;
        if count > self.0.len() {
            return Err(BadChange);
        }
        let (head, rest) = self.0.split_at(count);
        self.0 = rest;
        Ok(head)
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], BadChange> {
        let count = self.number()?;
        self.take(count)
    }

    fn name(&mut self) -> Result<FileName, BadChange> {
        Ok(FileName { owner: self.number()?, id: self.number()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Change {
        let mut change = Change::new();
        change.put(b"a".to_vec(), b"1".to_vec());
        change.put(b"empty".to_vec(), Vec::new());
        change.delete(b"gone".to_vec());
        let body = change.source(Source::Inline(Arc::from(&b"body"[..])));
        change.create(FileName { owner: 1, id: 300 }, body);
        let copy = change.source(Source::Existing(FileName { owner: 1, id: 300 }));
        change.create(FileName { owner: 2, id: u64::MAX }, copy);
        change.source(Source::Staged("s1".into()));
        change.erase(FileName { owner: 9, id: 8 });
        change.erase_owner(7);
        change.patch(Patch {
            prefix: b"p".to_vec(),
            ranges: vec![(0, 3), (7, 7), (9, u32::MAX)],
            what: b"how".to_vec(),
        });
        change
    }

    #[test]
    fn a_patch_covers_its_numbers() {
        let patch = &sample().patches[0];
        let covered = |key: &[u8]| patch.covers(key);
        for (number, is) in
            [(0, true), (3, true), (4, false), (7, true), (8, false), (9, true), (u32::MAX, true)]
        {
            assert_eq!(covered(&[b"p", &number.to_be_bytes()[..]].concat()), is, "{number}");
        }
        assert!(!covered(b"p") && !covered(b"p\0\0\0") && !covered(b"p\0\0\0\0\0") && !covered(b"q\0\0\0\0"));
    }

    #[test]
    fn reads_what_it_wrote() {
        let mut bytes = Vec::new();
        sample().encode(&mut bytes);
        let back = Change::decode(&bytes).expect("just written");
        let mut again = Vec::new();
        back.encode(&mut again);
        assert_eq!(bytes, again);
        assert_eq!(back.index.get(&b"gone"[..]), Some(&None));
        assert_eq!(back.index.get(&b"empty"[..]).and_then(Clone::clone).map(|v| v.len()), Some(0));
        assert_eq!(back.files, sample().files);
        assert_eq!(back.patches, sample().patches);
    }

    #[test]
    fn cut_or_changed_bytes_never_panic() {
        let mut bytes = Vec::new();
        sample().encode(&mut bytes);
        for cut in 0..bytes.len() {
            assert!(Change::decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut wrong = bytes.clone();
                wrong[at] ^= 1 << bit;
                let _ = Change::decode(&wrong);
            }
        }
    }

    #[test]
    fn limits_are_kept() {
        let mut change = Change::new();
        change.put(vec![0; KEY_BYTES + 1], vec![]);
        assert!(!change.within_limits());
        let mut change = Change::new();
        change.put(vec![0], vec![0; VALUE_BYTES + 1]);
        assert!(!change.within_limits());
        let mut change = Change::new();
        change.create(FileName { owner: 1, id: 1 }, 0);
        assert!(!change.within_limits(), "a source that is not there");
    }
}
