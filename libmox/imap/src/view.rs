//! What one client believes the selected mailbox to hold, and what it has yet to be told.
//!
//! Law: RFC 9051 §2.3.1.2 (sequence numbers), §5.2 and §7.5.1 (when EXPUNGE may be said); RFC 2180; row TM-09.
//! Does not know: what the messages say, or where changes come from.
//! Size: eight octets for each run of neighbouring uids, however many messages are in it; what is pending is
//! bounded by [`PENDING_FLAGS`] and by sets of ranges.
//!
//! | a uid is in | the client | moves on when |
//! |---|---|---|
//! | `fresh` | does not know it | told by EXISTS: to `known` |
//! | `known` | has a number for it | removed in the store: also in `gone` |
//! | `known` and `gone` | still has a number for it | told by EXPUNGE or VANISHED: nowhere |

use crate::response::{self, Style};
use libmox_types::{Flags, Keyword, ModSeq, Uid, UidSet};
use std::collections::BTreeMap;

/// Flag changes held with their flags; beyond that only the uids are held, and the store is asked again.
pub const PENDING_FLAGS: usize = 128;
/// EXPUNGE lines written in one go; the output is to be sent before the next.
const EXPUNGES_AT_ONCE: u32 = 4_096;

/// Whether sequence numbers may change now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expunges {
    /// They may, as EXPUNGE.
    Told,
    /// They may, as VANISHED: QRESYNC is enabled.
    Vanished,
    /// They may not: FETCH, STORE or SEARCH by number is running, or nothing is.
    Held,
}

/// How far [`View::tell`] came.
#[derive(Debug, PartialEq, Eq)]
pub enum Told {
    /// Everything that may be said is said.
    All,
    /// There is more: send the output, then call again.
    More,
    /// Everything is said but the flags of these messages, which are to be asked for and said by
    /// [`response::fetch_flags`].
    AskFlags(UidSet),
}

/// A run of uids with the sequence numbers from `number` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    uid: u32,
    number: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct NewFlags {
    flags: Flags,
    keywords: Vec<Keyword>,
    mod_seq: ModSeq,
}

/// The mailbox as told, and the difference to what it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    runs: Vec<Run>,
    count: u32,
    last: u32,
    fresh: UidSet,
    gone: UidSet,
    flags: BTreeMap<Uid, NewFlags>,
    dirty: UidSet,
    /// Told by EXISTS since last asked for.
    told: UidSet,
    /// Came, or changed flags, since last asked for.
    touched: UidSet,
}

impl View {
    /// A view of these messages, all of them told. Uids come in ascending.
    #[must_use]
    pub fn of(uids: impl IntoIterator<Item = Uid>) -> Self {
        let mut view = Self::default();
        uids.into_iter().for_each(|uid| view.push(uid));
        view
    }

    /// Adds a message of the first snapshot. Those not above the last are left out.
    pub fn push(&mut self, uid: Uid) {
        if uid.0 <= self.last {
            return;
        }
        let follows = self.last_uid().0 + 1 == uid.0 && self.count > 0;
        self.count += 1;
        if !follows {
            self.runs.push(Run { uid: uid.0, number: self.count });
        }
        self.last = uid.0;
    }

    /// The same for neighbours.
    pub fn push_range(&mut self, low: Uid, high: Uid) {
        let low = low.0.max(self.last.saturating_add(1));
        if low > high.0 {
            return;
        }
        self.push(Uid(low));
        self.count += high.0 - low;
        self.last = high.0;
    }

    /// How many messages the client knows of.
    #[must_use]
    pub fn exists(&self) -> u32 {
        self.count
    }

    /// The highest uid the client knows of, 0 if none.
    #[must_use]
    pub fn last_uid(&self) -> Uid {
        self.uid(self.count).unwrap_or_default()
    }

    /// Runs, for measuring.
    #[must_use]
    pub fn runs(&self) -> usize {
        self.runs.len()
    }

    fn run_length(&self, at: usize) -> u32 {
        self.runs.get(at + 1).map_or(self.count + 1, |next| next.number) - self.runs[at].number
    }

    /// The number the client has for it.
    #[must_use]
    pub fn number(&self, uid: Uid) -> Option<u32> {
        let at = self.runs.partition_point(|run| run.uid <= uid.0).checked_sub(1)?;
        let offset = uid.0 - self.runs[at].uid;
        (offset < self.run_length(at)).then(|| self.runs[at].number + offset)
    }

    /// The uid behind a number.
    #[must_use]
    pub fn uid(&self, number: u32) -> Option<Uid> {
        if number == 0 || number > self.count {
            return None;
        }
        let at = self.runs.partition_point(|run| run.number <= number).checked_sub(1)?;
        Some(Uid(self.runs[at].uid + (number - self.runs[at].number)))
    }

    /// The uids behind a set of numbers.
    #[must_use]
    pub fn uids_of(&self, numbers: &UidSet) -> UidSet {
        let mut uids = UidSet::new();
        for (low, high) in numbers.ranges() {
            let (mut low, high) = (low.0.max(1), high.0.min(self.count));
            while low <= high {
                let at = self.runs.partition_point(|run| run.number <= low) - 1;
                let run = self.runs[at];
                let end = high.min(run.number + self.run_length(at) - 1);
                uids.insert_range(Uid(run.uid + (low - run.number)), Uid(run.uid + (end - run.number)));
                low = end + 1;
            }
        }
        uids
    }

    /// The numbers the client has for these uids.
    #[must_use]
    pub fn numbers_of(&self, uids: &UidSet) -> UidSet {
        let mut numbers = UidSet::new();
        self.each_run_in(uids, |run, low, high| {
            numbers.insert_range(Uid(run.number + (low - run.uid)), Uid(run.number + (high - run.uid)));
        });
        numbers
    }

    /// Those of the uids the client knows, gone or not.
    #[must_use]
    pub fn known(&self, uids: &UidSet) -> UidSet {
        let mut known = UidSet::new();
        self.each_run_in(uids, |_, low, high| known.insert_range(Uid(low), Uid(high)));
        known
    }

    /// All messages the client knows that are still there.
    #[must_use]
    pub fn present(&self) -> UidSet {
        let mut uids = self.known(&UidSet::all());
        uids.subtract(&self.gone);
        uids
    }

    /// Those of the uids that are gone without the client having been told.
    #[must_use]
    pub fn gone(&self, uids: &UidSet) -> UidSet {
        uids.intersection(&self.gone)
    }

    fn each_run_in(&self, uids: &UidSet, mut each: impl FnMut(Run, u32, u32)) {
        for (low, high) in uids.ranges() {
            let first = self.runs.partition_point(|run| run.uid <= low.0).saturating_sub(1);
            for at in first..self.runs.len() {
                let run = self.runs[at];
                if run.uid > high.0 {
                    break;
                }
                let (from, to) = (low.0.max(run.uid), high.0.min(run.uid + self.run_length(at) - 1));
                if from <= to {
                    each(run, from, to);
                }
            }
        }
    }

    /// A message came into the mailbox.
    pub fn on_added(&mut self, uid: Uid) {
        // A snapshot and the stream behind it may both tell of it.
        if uid.0 > self.last {
            self.fresh.insert(uid);
        }
    }

    /// Messages left the mailbox.
    pub fn on_removed(&mut self, uids: &UidSet) {
        self.fresh.subtract(uids);
        let known = self.known(uids);
        self.dirty.subtract(&known);
        for (low, high) in known.ranges() {
            let changed: Vec<Uid> = self.flags.range(low..=high).map(|(uid, _)| *uid).collect();
            changed.iter().for_each(|uid| drop(self.flags.remove(uid)));
        }
        self.gone.extend(&known);
    }

    /// A message has these flags now.
    pub fn on_flags(&mut self, uid: Uid, flags: Flags, keywords: Vec<Keyword>, mod_seq: ModSeq) {
        // A message the client does not know yet it will ask about itself.
        if self.number(uid).is_none() || self.gone.contains(uid) || self.dirty.contains(uid) {
            return;
        }
        self.touched.insert(uid);
        if self.flags.len() >= PENDING_FLAGS && !self.flags.contains_key(&uid) {
            self.flags.keys().for_each(|uid| self.dirty.insert(*uid));
            self.flags.clear();
            self.dirty.insert(uid);
            return;
        }
        self.flags.insert(uid, NewFlags { flags, keywords, mod_seq });
    }

    /// The same for a change the client made itself and knows the outcome of: it only replaces what is still to
    /// be told, which would be out of date.
    pub fn on_own_flags(&mut self, uid: Uid, flags: Flags, keywords: Vec<Keyword>, mod_seq: ModSeq) {
        self.touched.insert(uid);
        if let Some(pending) = self.flags.get_mut(&uid) {
            *pending = NewFlags { flags, keywords, mod_seq };
        }
    }

    /// The flags of these messages changed, to what is to be asked for.
    pub fn on_many_flags(&mut self, uids: &UidSet) {
        let mut known = self.known(uids);
        known.subtract(&self.gone);
        self.touched.extend(&known);
        self.flags.retain(|uid, _| !known.contains(*uid));
        self.dirty.extend(&known);
    }

    /// The same for changes the client made itself and knows the outcome of: what is still to be told is asked for anew.
    pub fn on_own_many_flags(&mut self, uids: &UidSet) {
        self.touched.extend(&self.known(uids));
        let pending: UidSet = self.flags.keys().copied().filter(|uid| uids.contains(*uid)).collect();
        self.flags.retain(|uid, _| !pending.contains(*uid));
        self.dirty.extend(&pending);
    }

    /// Events were lost: the mailbox holds exactly these messages, with flags to be asked for.
    pub fn on_snapshot(&mut self, uids: &UidSet) {
        let known = self.known(&UidSet::all());
        let mut gone = known.clone();
        gone.subtract(uids);
        self.on_removed(&gone);
        let mut fresh = uids.clone();
        fresh.remove_range(Uid(0), Uid(self.last));
        self.fresh = fresh;
        self.flags.clear();
        self.touched.extend(&known);
        self.dirty = known;
        self.dirty.subtract(&self.gone);
    }

    /// The messages that came or changed flags since this was asked last.
    pub fn take_touched(&mut self) -> UidSet {
        std::mem::take(&mut self.touched)
    }

    /// The messages that EXISTS told of since this was asked last.
    pub fn take_told(&mut self) -> UidSet {
        std::mem::take(&mut self.told)
    }

    /// The client does not want to hear of flags.
    pub fn drop_flags(&mut self) {
        self.flags.clear();
        self.dirty = UidSet::new();
    }

    /// The client has just been told these flags some other way.
    pub fn forget_flags(&mut self, uids: &UidSet) {
        self.flags.retain(|uid, _| !uids.contains(*uid));
        self.dirty.subtract(uids);
    }

    /// The keywords of what is to be told.
    #[must_use]
    pub fn pending_keywords(&self) -> Vec<Keyword> {
        let mut all: Vec<Keyword> =
            self.flags.values().flat_map(|new| new.keywords.iter().cloned()).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Changes that are still to be told.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.fresh.count() + self.gone.count() + self.dirty.count() + self.flags.len() as u64
    }

    /// Whether there is anything to tell, given what may be told.
    #[must_use]
    pub fn has_news(&self, expunges: Expunges) -> bool {
        !self.fresh.is_empty()
            || !self.flags.is_empty()
            || !self.dirty.is_empty()
            || (expunges != Expunges::Held && !self.gone.is_empty())
    }

    /// Writes what the client may be told now: removals, then arrivals, then flags.
    pub fn tell(&mut self, expunges: Expunges, style: Style, out: &mut Vec<u8>) -> Told {
        match expunges {
            Expunges::Held => {}
            Expunges::Vanished => {
                let gone = std::mem::take(&mut self.gone);
                response::vanished(out, response::Earlier::No, &gone);
                self.remove(&gone);
            }
            Expunges::Told => {
                if !self.gone.is_empty() {
                    self.expunge_some(out);
                }
                if !self.gone.is_empty() {
                    return Told::More;
                }
            }
        }
        if !self.fresh.is_empty() {
            let fresh = std::mem::take(&mut self.fresh);
            fresh.iter().for_each(|uid| self.push(uid));
            response::exists(out, self.count);
            self.told.extend(&fresh);
            self.touched.extend(&fresh);
        }
        for (uid, new) in std::mem::take(&mut self.flags) {
            if let Some(number) = self.number(uid) {
                response::fetch_flags(out, style, number, uid, new.flags, &new.keywords, new.mod_seq);
            }
        }
        if self.dirty.is_empty() { Told::All } else { Told::AskFlags(std::mem::take(&mut self.dirty)) }
    }

    /// The highest numbers first: no line changes the number of the next.
    fn expunge_some(&mut self, out: &mut Vec<u8>) {
        let mut now = UidSet::new();
        let mut left = EXPUNGES_AT_ONCE;
        while let (Some((low, high)), true) = (self.gone.last_range(), left > 0) {
            // The last range, or the end of it.
            let low = Uid(low.0.max(high.0.saturating_sub(left - 1)));
            left -= high.0 - low.0 + 1;
            now.insert_range(low, high);
            self.gone.remove_range(low, high);
        }
        let numbers: Vec<(Uid, Uid)> = self.numbers_of(&now).ranges().collect();
        for (low, high) in numbers.into_iter().rev() {
            (low.0..=high.0).rev().for_each(|number| response::expunge(out, number));
        }
        self.remove(&now);
    }

    /// Takes known uids out of the runs.
    fn remove(&mut self, uids: &UidSet) {
        if uids.is_empty() {
            return;
        }
        let mut left = self.known(&UidSet::all());
        left.subtract(uids);
        let (mut runs, mut count) = (Vec::with_capacity(left.ranges().len()), 0);
        for (low, high) in left.ranges() {
            runs.push(Run { uid: low.0, number: count + 1 });
            count += high.0 - low.0 + 1;
        }
        // `last` stays: no uid at or below the highest one told ever comes anew.
        (self.runs, self.count) = (runs, count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(uids: &[u32]) -> UidSet {
        uids.iter().copied().map(Uid).collect()
    }

    fn said(view: &mut View, expunges: Expunges) -> (String, Told) {
        let mut out = Vec::new();
        let told = view.tell(expunges, Style::default(), &mut out);
        (String::from_utf8(out).unwrap(), told)
    }

    #[test]
    fn ranges_are_their_messages() {
        let mut view = View::default();
        for (low, high) in [(3, 5), (6, 9), (9, 9), (12, 12), (11, 14), (20, 21)] {
            view.push_range(Uid(low), Uid(high));
        }
        let single = View::of((3..=9).chain([12, 13, 14, 20, 21]).map(Uid));
        assert_eq!((view.exists(), view.last_uid(), view.runs()), (single.exists(), Uid(21), 3));
        assert_eq!(view.present(), single.present());
        assert!((0..25).all(|uid| view.number(Uid(uid)) == single.number(Uid(uid))));
    }

    #[test]
    fn numbers_and_uids() {
        let view = View::of([3, 4, 5, 9, 20, 21].map(Uid));
        assert_eq!(view.runs(), 3);
        assert_eq!(
            (1..=7).map(|n| view.uid(n).map_or(0, |u| u.0)).collect::<Vec<_>>(),
            [3, 4, 5, 9, 20, 21, 0]
        );
        for (uid, number) in [(2, None), (3, Some(1)), (6, None), (9, Some(4)), (21, Some(6)), (22, None)] {
            assert_eq!(view.number(Uid(uid)), number, "{uid}");
        }
        assert_eq!(view.uids_of(&set(&[2, 3, 4, 6, 9])).to_string(), "4:5,9,21");
        assert_eq!(view.known(&UidSet::all()).to_string(), "3:5,9,20:21");
        assert_eq!(view.numbers_of(&set(&[1, 4, 9, 20])).to_string(), "2,4:5");
        assert_eq!(View::default().last_uid(), Uid(0));
    }

    #[test]
    fn removals_wait_and_arrivals_do_not() {
        // TM-09
        let mut view = View::of([1, 2, 3].map(Uid));
        view.on_removed(&set(&[2]));
        view.on_added(Uid(7));
        assert_eq!(said(&mut view, Expunges::Held), ("* 4 EXISTS\r\n".into(), Told::All));
        assert_eq!(view.number(Uid(3)), Some(3));
        assert_eq!(view.gone(&set(&[1, 2])), set(&[2]));
        assert_eq!(said(&mut view, Expunges::Told), ("* 2 EXPUNGE\r\n".into(), Told::All));
        assert_eq!(view.number(Uid(7)), Some(3));
        view.on_removed(&set(&[3, 7]));
        view.on_added(Uid(8));
        assert_eq!(said(&mut view, Expunges::Vanished).0, "* VANISHED 3,7\r\n* 2 EXISTS\r\n");
        assert_eq!((view.uid(2), view.runs()), (Some(Uid(8)), 2));
        view.on_removed(&set(&[8]));
        assert_eq!(said(&mut view, Expunges::Told).0, "* 2 EXPUNGE\r\n");
        view.on_added(Uid(9));
        assert_eq!(said(&mut view, Expunges::Told).0, "* 2 EXISTS\r\n");
        assert_eq!(view.number(Uid(9)), Some(2));
        // Came and went unseen.
        view.on_added(Uid(10));
        view.on_removed(&set(&[10]));
        assert!(!view.has_news(Expunges::Told));
    }

    #[test]
    fn the_flags_of_many_are_asked_for() {
        let set = |uids: &[u32]| uids.iter().copied().map(Uid).collect::<UidSet>();
        let mut view = View::of([1, 2, 3, 4].map(Uid));
        view.on_removed(&set(&[2]));
        view.on_flags(Uid(1), Flags::NONE, vec![], ModSeq(5));
        view.on_flags(Uid(4), Flags::NONE, vec![], ModSeq(5));
        // Its own change: only what was still to be told is out of date.
        view.on_own_many_flags(&set(&[1, 3]));
        let mut out = Vec::new();
        assert_eq!(view.tell(Expunges::Held, Style::default(), &mut out), Told::AskFlags(set(&[1])));
        assert!(String::from_utf8_lossy(&out).starts_with("* 4 FETCH (UID 4 FLAGS ()"), "{out:?}");
        // That of somebody else: all the client knows that are there.
        view.on_flags(Uid(3), Flags::NONE, vec![], ModSeq(6));
        view.on_many_flags(&set(&[1, 2, 3, 9]));
        out.clear();
        assert_eq!(view.tell(Expunges::Held, Style::default(), &mut out), Told::AskFlags(set(&[1, 3])));
        assert!(out.is_empty());
        assert_eq!(view.take_touched(), set(&[1, 3, 4]));
    }

    #[test]
    fn many_removals_come_in_pieces() {
        let mut view = View::of((1..=10_000).map(Uid));
        let mut gone = UidSet::new();
        gone.insert_range(Uid(1), Uid(9_999));
        view.on_removed(&gone);
        let mut lines = 0;
        loop {
            let (text, told) = said(&mut view, Expunges::Told);
            lines += text.lines().count();
            if told == Told::All {
                break;
            }
            assert!(text.len() < 100_000);
        }
        assert_eq!((lines, view.exists(), view.number(Uid(10_000))), (9_999, 1, Some(1)));
    }

    #[test]
    fn flags_are_told_once_and_bounded() {
        let mut view = View::of((1..=1000).map(Uid));
        view.on_flags(Uid(2), Flags::NONE, vec![], ModSeq(5));
        view.on_flags(Uid(2), Flags::NONE, vec![Keyword::parse("x").unwrap()], ModSeq(6));
        view.on_flags(Uid(5000), Flags::NONE, vec![], ModSeq(6));
        assert_eq!(said(&mut view, Expunges::Held).0, "* 2 FETCH (UID 2 FLAGS (x))\r\n");
        for uid in 1..=1000 {
            view.on_flags(Uid(uid), Flags::NONE, vec![], ModSeq(7));
            assert!(view.flags.len() <= PENDING_FLAGS);
        }
        view.on_removed(&set(&[1, 1000]));
        let mut seen = UidSet::new();
        let mut out = Vec::new();
        if let Told::AskFlags(uids) = view.tell(Expunges::Held, Style::default(), &mut out) {
            seen.extend(&uids);
        }
        assert_eq!(seen.count() + String::from_utf8(out).unwrap().lines().count() as u64, 998);
        view.on_flags(Uid(3), Flags::NONE, vec![], ModSeq(8));
        view.forget_flags(&set(&[3]));
        assert!(!view.has_news(Expunges::Held));
    }

    #[test]
    fn any_interleaving_leaves_both_sides_agreed() {
        let mut seed = 3_u32;
        let mut next = |bound: u32| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 10) % bound
        };
        for _ in 0..300 {
            let mut store: Vec<u32> = (1..=next(12)).filter(|n| n % 3 != 0).collect();
            let mut uid_next = store.last().map_or(1, |last| last + 1);
            // What a client knows that only counts lines.
            let mut client = store.clone();
            let mut view = View::of(store.iter().copied().map(Uid));
            for _ in 0..60 {
                match next(8) {
                    0 | 1 => {
                        uid_next += next(2);
                        store.push(uid_next);
                        view.on_added(Uid(uid_next));
                        uid_next += 1;
                    }
                    2 | 3 if !store.is_empty() => {
                        let mut gone = UidSet::new();
                        for _ in 0..=next(3) {
                            if !store.is_empty() {
                                let at = next(u32::try_from(store.len()).unwrap()) as usize;
                                gone.insert(Uid(store.remove(at)));
                            }
                        }
                        view.on_removed(&gone);
                    }
                    4 => {
                        // The stream broke: a snapshot takes its place.
                        view.on_snapshot(&set(&store));
                    }
                    how => {
                        let expunges = if how > 6 { Expunges::Held } else { Expunges::Told };
                        let mut out = Vec::new();
                        while view.tell(expunges, Style::default(), &mut out) == Told::More {}
                        for line in String::from_utf8(out).unwrap().lines() {
                            let words: Vec<&str> = line.split(' ').collect();
                            let number: usize = words[1].parse().unwrap();
                            match words[2] {
                                "EXPUNGE" => drop(client.remove(number - 1)),
                                "EXISTS" => {
                                    assert!(number >= client.len());
                                    // It asks for the uids of what is new.
                                    for n in client.len() + 1..=number {
                                        client.push(view.uid(u32::try_from(n).unwrap()).unwrap().0);
                                    }
                                }
                                other => panic!("{other}"),
                            }
                        }
                        if expunges == Expunges::Told {
                            assert_eq!(client, store);
                        }
                    }
                }
                for (at, uid) in client.iter().enumerate() {
                    let number = u32::try_from(at + 1).unwrap();
                    assert_eq!((view.uid(number), view.number(Uid(*uid))), (Some(Uid(*uid)), Some(number)));
                }
                assert_eq!(view.exists() as usize, client.len());
            }
        }
    }
}
