//! The messages of the mailboxes in use as lists send them, kept in memory: a list of 100 000 is a copy of bytes, not
//! 100 000 reads of the index.
//!
//! A mailbox is loaded under its account's lock with nothing in flight, and from then on changed by each commit, in
//! commit order, before the commit is answered: what a reader may know to be done is in it. A change that fails never
//! gets here. Rows are `postcard` bytes of [`MessageRecord`] without structure and preview, in pages of at most
//! [`PAGE_ROWS`]; beside them stand uid, modseq and flags, which are looked at.
//!
//! Bounded by [`HOT_ROWS`] over all accounts; the mailbox unused for longest goes first, and one that is larger than
//! the bound is read from the index each time.

use crate::engine::put_number;
use crate::limits::HOT_ROWS;
use crate::records::{FlagPatch, Message};
use libmox_store::{Counts, MessageRecord, SnapshotMessage};
use libmox_types::{AccountId, Flag, Flags, MailboxId, ModSeq, MsgId, Uid, UidSet};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Messages of a page at most.
const PAGE_ROWS: usize = 512;

/// One message as it is kept.
pub struct Row {
    flags: Flags,
    mod_seq: ModSeq,
    bytes: Vec<u8>,
}

impl Row {
    pub fn new(uid: Uid, message: &Message) -> Self {
        let record = as_record(uid, message.clone());
        // Only a failing sink could make this fail; a vector does not.
        let bytes = postcard::to_allocvec(&record).unwrap_or_default();
        Self { flags: message.flags, mod_seq: message.mod_seq, bytes }
    }
}

/// A message as a list shows it.
pub fn as_record(uid: Uid, message: Message) -> MessageRecord {
    MessageRecord {
        uid,
        id: message.id,
        mod_seq: message.mod_seq,
        flags: message.flags,
        keywords: message.keywords,
        size: message.size,
        received: message.received,
        saved: message.saved,
        prefix: message.prefix,
        thread: message.thread,
        marks: message.marks,
        structure: Vec::new(),
        preview: String::new(),
    }
}

/// Adds a run that lies behind all others.
fn join(runs: &mut Vec<(Uid, Uid)>, (low, high): (Uid, Uid)) {
    match runs.last_mut() {
        Some((_, last)) if last.0 + 1 == low.0 => *last = high,
        _ => runs.push((low, high)),
    }
}

/// What a change does to the messages of a mailbox.
pub enum Touch {
    /// It is so now.
    Set(MailboxId, Uid, Row),
    /// The flags of these changed alike.
    Flags(MailboxId, Vec<(Uid, Uid)>, FlagPatch),
    /// It is not there any more.
    Gone(MailboxId, Uid),
    /// The mailbox is not there any more.
    MailboxGone(MailboxId),
}

#[derive(Default)]
struct Page {
    uids: Vec<Uid>,
    flags: Vec<Flags>,
    mod_seqs: Vec<ModSeq>,
    /// Where each row ends in `bytes`.
    ends: Vec<u32>,
    bytes: Vec<u8>,
    /// Until the page changes.
    known: Option<Known>,
    /// `bytes` have earlier flags and modseqs.
    stale: bool,
}

/// What a row begins with.
type Head = (Uid, MsgId, ModSeq, Flags);

/// What opening a mailbox tells of a page.
struct Known {
    runs: Vec<(Uid, Uid)>,
    /// The place of the first without `\Seen`.
    unseen: Option<usize>,
}

impl Page {
    /// Where the messages from `low` to `high` begin and end.
    fn within(&self, low: Uid, high: Uid) -> (usize, usize) {
        (self.uids.partition_point(|uid| *uid < low), self.uids.partition_point(|uid| *uid <= high))
    }

    fn start(&self, at: usize) -> usize {
        at.checked_sub(1).map_or(0, |before| self.ends[before] as usize)
    }

    fn row(&self, at: usize) -> &[u8] {
        &self.bytes[self.start(at)..self.ends[at] as usize]
    }

    /// Has the flags and modseqs in the rows, too.
    fn freshen(&mut self) {
        if !std::mem::take(&mut self.stale) {
            return;
        }
        let mut bytes = Vec::with_capacity(self.bytes.len() + self.uids.len() * 2);
        let mut ends = Vec::with_capacity(self.ends.len());
        for at in 0..self.uids.len() {
            let row = self.row(at);
            match postcard::take_from_bytes::<Head>(row) {
                Ok(((uid, id, _, _), rest)) => {
                    let head: Head = (uid, id, self.mod_seqs[at], self.flags[at]);
                    // Only a failing sink could make this fail; a vector does not.
                    bytes = postcard::to_extend(&head, bytes).unwrap_or_default();
                    bytes.extend_from_slice(rest);
                }
                // Not a row of ours.
                Err(_) => bytes.extend_from_slice(row),
            }
            ends.push(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        }
        (self.bytes, self.ends) = (bytes, ends);
    }

    fn known(&mut self) -> &Known {
        let Self { uids, flags, known, .. } = self;
        known.get_or_insert_with(|| {
            let mut runs: Vec<(Uid, Uid)> = Vec::new();
            uids.iter().for_each(|uid| join(&mut runs, (*uid, *uid)));
            Known { runs, unseen: flags.iter().position(|flags| !flags.has(Flag::Seen)) }
        })
    }

    fn splice(&mut self, at: usize, old: usize, new: &[u8]) {
        self.known = None;
        let start = self.start(at);
        if old == new.len() {
            self.bytes[start..start + old].copy_from_slice(new);
            return;
        }
        self.bytes.splice(start..start + old, new.iter().copied());
        for end in &mut self.ends[at..] {
            // A page is far below what fits.
            *end = u32::try_from(*end as usize + new.len() - old).unwrap_or(u32::MAX);
        }
    }

    fn insert(&mut self, at: usize, uid: Uid, row: &Row) {
        let start = u32::try_from(self.start(at)).unwrap_or(u32::MAX);
        self.uids.insert(at, uid);
        self.flags.insert(at, row.flags);
        self.mod_seqs.insert(at, row.mod_seq);
        self.ends.insert(at, start);
        self.splice(at, 0, &row.bytes);
    }

    fn replace(&mut self, at: usize, row: &Row) {
        let old = self.row(at).len();
        self.flags[at] = row.flags;
        self.mod_seqs[at] = row.mod_seq;
        self.splice(at, old, &row.bytes);
    }

    fn remove(&mut self, at: usize) {
        let old = self.row(at).len();
        self.splice(at, old, &[]);
        self.uids.remove(at);
        self.flags.remove(at);
        self.mod_seqs.remove(at);
        self.ends.remove(at);
    }
}

/// The messages of one mailbox.
#[derive(Default)]
pub struct Hot {
    pages: Vec<Page>,
    rows: usize,
}

/// What a patch would do. See [`Hot::planned`].
#[derive(Default)]
pub struct Planned {
    /// Messages that would change.
    pub changed: Vec<(Uid, Uid)>,
    /// Messages that changed after what was named.
    pub modified: Vec<(Uid, Uid)>,
    /// Of those that would change, how many are of each [`kind`] before and after.
    kinds: [(u32, u32); 4],
}

/// What counts of a message depend on.
fn kind(flags: Flags) -> usize {
    usize::from(flags.has(Flag::Seen)) + 2 * usize::from(flags.has(Flag::Deleted))
}

impl Planned {
    /// The counts after it.
    pub fn count(&self, counts: &mut Counts) {
        let step = |number: &mut u32, kinds: &[usize]| {
            for &kind in kinds {
                let (before, after) = self.kinds[kind];
                *number = (*number + after).saturating_sub(before);
            }
        };
        step(&mut counts.total, &[0, 1]);
        step(&mut counts.deleted, &[2, 3]);
        step(&mut counts.unseen, &[0, 2]);
        step(&mut counts.unread, &[0]);
    }
}

/// Part of a list.
pub struct Part {
    /// `Item::Messages`, encoded; none if no record was found.
    pub item: Option<Vec<u8>>,
    /// Where to go on.
    pub next: Option<Uid>,
}

impl Hot {
    /// Messages in it.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The page a uid is in or would be in.
    fn page(&self, uid: Uid) -> usize {
        self.pages
            .partition_point(|page| page.uids.first().is_some_and(|first| *first <= uid))
            .saturating_sub(1)
    }

    /// Adds a message or replaces it.
    pub fn set(&mut self, uid: Uid, row: &Row) {
        let at = self.page(uid);
        let Some(page) = self.pages.get_mut(at) else {
            let mut page = Page::default();
            page.insert(0, uid, row);
            self.pages.push(page);
            self.rows += 1;
            return;
        };
        match page.uids.binary_search(&uid) {
            Ok(place) => page.replace(place, row),
            Err(place) if place < PAGE_ROWS => {
                page.insert(place, uid, row);
                self.rows += 1;
                if page.uids.len() > PAGE_ROWS {
                    self.split(at);
                }
            }
            // Uids grow: the usual place is behind everything.
            Err(_) => {
                let mut next = Page::default();
                next.insert(0, uid, row);
                self.pages.insert(at + 1, next);
                self.rows += 1;
            }
        }
    }

    fn split(&mut self, at: usize) {
        let page = &mut self.pages[at];
        let half = page.uids.len() / 2;
        let start = page.start(half);
        let mut next = Page {
            uids: page.uids.split_off(half),
            flags: page.flags.split_off(half),
            mod_seqs: page.mod_seqs.split_off(half),
            ends: page.ends.split_off(half),
            bytes: page.bytes.split_off(start),
            known: None,
            stale: page.stale,
        };
        page.known = None;
        let start = u32::try_from(start).unwrap_or(u32::MAX);
        next.ends.iter_mut().for_each(|end| *end -= start);
        self.pages.insert(at + 1, next);
    }

    /// Takes a message out.
    pub fn remove(&mut self, uid: Uid) {
        let at = self.page(uid);
        let Some(page) = self.pages.get_mut(at) else { return };
        if let Ok(place) = page.uids.binary_search(&uid) {
            page.remove(place);
            self.rows -= 1;
            if page.uids.is_empty() {
                self.pages.remove(at);
            }
        }
    }

    /// Changes the flags of messages alike.
    pub fn patch(&mut self, runs: &[(Uid, Uid)], patch: FlagPatch) {
        for &(low, high) in runs {
            let from = self.page(low);
            for page in self.pages.iter_mut().skip(from) {
                let (from, to) = page.within(low, high);
                for at in from..to {
                    page.flags[at] = patch.flags(page.flags[at]);
                    page.mod_seqs[at] = patch.mod_seq;
                }
                if from < to {
                    (page.known, page.stale) = (None, true);
                }
                if to < page.uids.len() {
                    break;
                }
            }
        }
    }

    /// What a patch would do to the messages of a set; those changed after `since` it would leave.
    pub fn planned(&self, uids: &UidSet, patch: FlagPatch, since: Option<ModSeq>) -> Planned {
        let mut planned = Planned::default();
        for (low, high) in uids.ranges() {
            for page in self.pages.iter().skip(self.page(low)) {
                let (from, to) = page.within(low, high);
                for at in from..to {
                    if since.is_some_and(|since| page.mod_seqs[at] > since) {
                        join(&mut planned.modified, (page.uids[at], page.uids[at]));
                        continue;
                    }
                    let before = page.flags[at];
                    let after = patch.flags(before);
                    if before != after {
                        join(&mut planned.changed, (page.uids[at], page.uids[at]));
                        planned.kinds[kind(before)].0 += 1;
                        planned.kinds[kind(after)].1 += 1;
                    }
                }
                if to < page.uids.len() {
                    break;
                }
            }
        }
        planned
    }

    /// Whether both hold the same messages.
    pub fn is_like(&mut self, other: &mut Self) -> bool {
        [&mut *self, &mut *other].into_iter().flat_map(|hot| &mut hot.pages).for_each(Page::freshen);
        let rows = |hot: &mut Self| -> Vec<(Uid, Flags, ModSeq, Vec<u8>)> {
            let of = |page: &Page| -> Vec<_> {
                let row =
                    |at: usize| (page.uids[at], page.flags[at], page.mod_seqs[at], page.row(at).to_vec());
                (0..page.uids.len()).map(row).collect()
            };
            hot.pages.iter().flat_map(of).collect()
        };
        self.rows == other.rows && rows(self) == rows(other)
    }

    /// Which there are, as runs, and the number of the first without `\Seen`, 0 if there is none.
    pub fn known(&mut self) -> (Vec<(Uid, Uid)>, u32) {
        let (mut runs, mut unseen, mut before) = (Vec::new(), None, 0);
        for page in &mut self.pages {
            let known = page.known();
            known.runs.iter().for_each(|run| join(&mut runs, *run));
            unseen = unseen.or(known.unseen.map(|at| before + at + 1));
            before += page.uids.len();
        }
        (runs, unseen.map_or(0, |number| u32::try_from(number).unwrap_or(u32::MAX)))
    }

    /// Uid and flags of all of them, ascending.
    pub fn each_flags(&self, mut each: impl FnMut(Uid, Flags)) {
        for page in &self.pages {
            page.uids.iter().zip(&page.flags).for_each(|(uid, flags)| each(*uid, *flags));
        }
    }

    /// All of them, for a snapshot.
    pub fn snapshot(&self) -> Vec<SnapshotMessage> {
        let rows = |page: &Page| -> Vec<SnapshotMessage> {
            let both = page.uids.iter().zip(&page.flags);
            both.map(|(uid, flags)| SnapshotMessage { uid: *uid, flags: *flags }).collect()
        };
        self.pages.iter().flat_map(rows).collect()
    }

    /// At most so many rows of the messages from `low` to `high` that changed after `since`.
    pub fn rows_of(&mut self, low: Uid, high: Uid, since: Option<ModSeq>, most: usize) -> Rows {
        let mut found = Rows { bytes: Vec::new(), ends: Vec::with_capacity(most), next: None };
        let first = self.page(low);
        for page in self.pages.iter_mut().skip(first) {
            let (from, to) = page.within(low, high);
            page.freshen();
            for at in from..to {
                if found.ends.len() >= most {
                    found.next = Some(page.uids[at]);
                    return found;
                }
                if since.is_none_or(|since| page.mod_seqs[at] > since) {
                    found.bytes.extend_from_slice(page.row(at));
                    found.ends.push(found.bytes.len());
                }
            }
            if to < page.uids.len() {
                break;
            }
        }
        found
    }

    /// At most one item's worth of the messages from `low` to `high` that changed after `since`.
    pub fn part(
        &mut self,
        low: Uid,
        high: Uid,
        since: Option<ModSeq>,
        records: usize,
        octets: usize,
    ) -> Part {
        let mut body = Vec::new();
        let mut count = 0;
        let mut last = None;
        let first = self.page(low);
        'pages: for page in self.pages.iter_mut().skip(first) {
            let (from, to) = page.within(low, high);
            page.freshen();
            if since.is_none() && from < to && count + (to - from) <= records {
                body.extend_from_slice(&page.bytes[page.start(from)..page.ends[to - 1] as usize]);
                count += to - from;
                last = Some(page.uids[to - 1]);
            } else {
                for at in from..to {
                    if since.is_none_or(|since| page.mod_seqs[at] > since) {
                        body.extend_from_slice(page.row(at));
                        count += 1;
                    }
                    last = Some(page.uids[at]);
                    if count >= records || body.len() >= octets {
                        break 'pages;
                    }
                }
            }
            if to < page.uids.len() {
                last = None;
                break;
            }
            if count >= records || body.len() >= octets {
                break;
            }
        }
        let full = count >= records || body.len() >= octets;
        let next = last.filter(|last| full && *last < high).map(|last| Uid(last.0 + 1));
        Part { item: (count > 0).then(|| item(count, &body)), next }
    }
}

/// Some rows, to which something is to be added.
pub struct Rows {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// Where to go on.
    pub next: Option<Uid>,
}

impl Rows {
    /// Each of them with its id.
    pub fn each(&self) -> impl Iterator<Item = (MsgId, &[u8])> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).filter_map(|(start, end)| {
            let row = &self.bytes[start..*end];
            let ((_, id), _) = postcard::take_from_bytes::<(Uid, MsgId)>(row).ok()?;
            Some((id, row))
        })
    }
}

/// Adds a row with its structure. The last two fields of a row are empty: the structure and the preview.
pub fn push_with_structure(out: &mut Vec<u8>, row: &[u8], structure: &[u8]) {
    out.extend_from_slice(&row[..row.len().saturating_sub(2)]);
    put_number(out, structure.len() as u64);
    out.extend_from_slice(structure);
    out.push(0);
}

/// `Item::Messages` with rows that are encoded already: the variant, the number of records, the records.
pub fn item(count: usize, rows: &[u8]) -> Vec<u8> {
    let mut item = Vec::with_capacity(rows.len() + 11);
    item.push(0);
    put_number(&mut item, count as u64);
    item.extend_from_slice(rows);
    item
}

/// The mailboxes of one account that are in memory.
#[derive(Default)]
pub struct HotMailboxes(Mutex<HashMap<MailboxId, Hot>>);

impl HotMailboxes {
    fn lock(&self) -> MutexGuard<'_, HashMap<MailboxId, Hot>> {
        // Every critical section here leaves whole values.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was committed. Called in commit order.
    pub fn apply(&self, touched: Vec<Touch>) {
        let mut all = self.lock();
        if all.is_empty() {
            return;
        }
        for touch in touched {
            match touch {
                Touch::Set(mailbox, uid, row) => {
                    if let Some(hot) = all.get_mut(&mailbox) {
                        hot.set(uid, &row);
                    }
                }
                Touch::Flags(mailbox, runs, patch) => {
                    if let Some(hot) = all.get_mut(&mailbox) {
                        hot.patch(&runs, patch);
                    }
                }
                Touch::Gone(mailbox, uid) => {
                    if let Some(hot) = all.get_mut(&mailbox) {
                        hot.remove(uid);
                    }
                }
                Touch::MailboxGone(mailbox) => drop(all.remove(&mailbox)),
            }
        }
    }

    /// Looks at a mailbox, if it is in memory.
    pub fn with<T>(&self, mailbox: MailboxId, look: impl FnOnce(&Hot) -> T) -> Option<T> {
        self.lock().get(&mailbox).map(look)
    }

    /// The same for what is noted beside the rows when it is asked for.
    pub fn with_mut<T>(&self, mailbox: MailboxId, look: impl FnOnce(&mut Hot) -> T) -> Option<T> {
        self.lock().get_mut(&mailbox).map(look)
    }

    pub fn put(&self, mailbox: MailboxId, hot: Hot) {
        self.lock().insert(mailbox, hot);
    }

    pub fn forget(&self, mailbox: MailboxId) {
        self.lock().remove(&mailbox);
    }

    pub fn clear(&self) {
        self.lock().clear();
    }
}

/// When each mailbox in memory was used last, and how large it was then.
#[derive(Default)]
pub struct HotUse(Mutex<Uses>);

#[derive(Default)]
struct Uses {
    tick: u64,
    all: HashMap<(AccountId, MailboxId), (u64, usize)>,
}

impl HotUse {
    /// Notes a use; returns the mailboxes that have to go for it.
    pub fn used(&self, account: AccountId, mailbox: MailboxId, rows: usize) -> Vec<(AccountId, MailboxId)> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Uses { tick, all } = &mut *state;
        *tick += 1;
        all.insert((account, mailbox), (*tick, rows));
        let mut total: usize = all.values().map(|(_, rows)| rows).sum();
        let mut go = Vec::new();
        while total > HOT_ROWS && all.len() > 1 {
            let Some((oldest, rows)) =
                all.iter().min_by_key(|(_, (tick, _))| *tick).map(|(key, (_, r))| (*key, *r))
            else {
                break;
            };
            all.remove(&oldest);
            total -= rows;
            go.push(oldest);
        }
        go
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::Training;
    use libmox_store::{Item, Marks};
    use libmox_types::{ByteCount, Keyword, Timestamp};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn message(number: u32) -> Message {
        Message {
            id: MsgId(u64::from(number)),
            mod_seq: ModSeq(u64::from(number) % 50),
            create_seq: ModSeq(1),
            flags: if number.is_multiple_of(8) { Flags::NONE } else { Flags::NONE.with(Flag::Seen) },
            keywords: (0..number % 3).map(|n| Keyword::parse(&format!("k{n}")).unwrap()).collect(),
            size: ByteCount(u64::from(number) * 1000),
            prefix: 3,
            received: Timestamp(-5),
            saved: None,
            thread: MsgId(1),
            marks: Marks::NONE,
            original: MailboxId(1),
            destined: MailboxId(0),
            trained: Training::None,
        }
    }

    fn counted(model: &BTreeMap<Uid, Message>) -> Counts {
        let mut counts = Counts::default();
        model.values().for_each(|message| crate::records::count(&mut counts, message, true));
        counts
    }

    fn read(item: &[u8]) -> Vec<MessageRecord> {
        match postcard::from_bytes(item).unwrap() {
            Item::Messages(records) => records,
            other => panic!("{other:?}"),
        }
    }

    proptest! {
        /// Whatever comes and goes, a list in parts is what a map of the same messages has.
        #[test]
        fn parts_are_the_list(
            ops in proptest::collection::vec((1..3000u32, any::<u32>(), 0..5u8), 1..2500),
            since in proptest::option::of(0..50u64),
            (low, width) in (1..3000u32, 0..3000u32),
            records in 1..900usize,
        ) {
            let (mut hot, mut model) = (Hot::default(), BTreeMap::new());
            for (uid, number, what) in ops {
                let uid = Uid(uid);
                if what == 3 {
                    hot.known();
                }
                if what == 4 {
                    let (low, high) = (Uid(number % 3000), Uid(number % 3000 + number % 700));
                    let flags = [Flag::Seen, Flag::Deleted, Flag::Flagged][number as usize % 3];
                    let (add, remove) = if number.is_multiple_of(2) {
                        (Flags::NONE.with(flags), Flags::NONE)
                    } else {
                        (Flags::NONE, Flags::NONE.with(flags))
                    };
                    let patch = FlagPatch { mod_seq: ModSeq(50 + u64::from(number % 50)), add, remove };
                    let mut set = UidSet::new();
                    set.insert_range(low, high);
                    let planned = hot.planned(&set, patch, None);
                    hot.patch(&planned.changed, patch);
                    let mut counts = counted(&model);
                    for (_, message) in model.range_mut(low..=high) {
                        let after = patch.flags(message.flags);
                        if after != message.flags {
                            (message.flags, message.mod_seq) = (after, patch.mod_seq);
                        }
                    }
                    planned.count(&mut counts);
                    prop_assert_eq!(counts, counted(&model));
                    continue;
                }
                if what == 0 {
                    hot.remove(uid);
                    model.remove(&uid);
                } else {
                    hot.set(uid, &Row::new(uid, &message(number % 100_000)));
                    model.insert(uid, message(number % 100_000));
                }
            }
            prop_assert_eq!(hot.rows(), model.len());
            let (runs, unseen) = hot.known();
            let uids: Vec<Uid> = runs.iter().flat_map(|(low, high)| (low.0..=high.0).map(Uid)).collect();
            prop_assert_eq!(uids, model.keys().copied().collect::<Vec<_>>());
            prop_assert!(runs.is_sorted_by(|a, b| a.1.0 + 1 < b.0.0), "joined");
            let first = model.values().position(|message| !message.flags.has(Flag::Seen));
            prop_assert_eq!(unseen as usize, first.map_or(0, |at| at + 1));
            prop_assert_eq!(hot.snapshot().iter().map(|m| m.uid).collect::<Vec<_>>(), model.keys().copied().collect::<Vec<_>>());
            let (since, high) = (since.map(ModSeq), Uid(low + width));
            let mut found = Vec::new();
            let mut from = Some(Uid(low));
            while let Some(low) = from {
                let part = hot.part(low, high, since, records, 20_000);
                let part_records = part.item.as_deref().map(read).unwrap_or_default();
                prop_assert!(part_records.len() <= records);
                prop_assert!(part.next.is_none_or(|next| next > low));
                found.extend(part_records);
                from = part.next;
            }
            let want: Vec<MessageRecord> = model
                .range(Uid(low)..=high)
                .filter(|(_, message)| since.is_none_or(|since| message.mod_seq > since))
                .map(|(uid, message)| as_record(*uid, message.clone()))
                .collect();
            prop_assert_eq!(found, want);
        }
    }

    #[test]
    fn the_unused_go_first() {
        let uses = HotUse::default();
        let half = HOT_ROWS / 2;
        let of = |mailbox| (AccountId(1), MailboxId(mailbox));
        assert_eq!(uses.used(AccountId(1), MailboxId(1), half), []);
        assert_eq!(uses.used(AccountId(1), MailboxId(2), half), []);
        assert_eq!(uses.used(AccountId(1), MailboxId(1), half), []);
        assert_eq!(uses.used(AccountId(1), MailboxId(3), 10), [of(2)]);
        assert_eq!(uses.used(AccountId(1), MailboxId(4), HOT_ROWS), [of(1), of(3)]);
    }
}
