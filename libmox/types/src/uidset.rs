//! A set of UIDs as ascending, disjoint ranges: 100 000 neighbours cost one entry.
//!
//! Law: RFC 9051 §9 `sequence-set` (without `*`, which only a mailbox can resolve).

use crate::Uid;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Ranges that are worked in one by one; more are merged in a pass.
const FEW: usize = 4;

/// Ascending, disjoint, non-adjacent inclusive ranges.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UidSet(Vec<(u32, u32)>);

impl UidSet {
    /// The set with nothing in it.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Every UID there can be.
    #[must_use]
    pub fn all() -> Self {
        Self(vec![(1, u32::MAX)])
    }

    /// Adds one; cheapest in ascending order.
    pub fn insert(&mut self, uid: Uid) {
        self.insert_range(uid, uid);
    }

    /// Adds an inclusive range, given either way round.
    pub fn insert_range(&mut self, a: Uid, b: Uid) {
        let (low, high) = if a <= b { (a.0, b.0) } else { (b.0, a.0) };
        // The first range that touches or follows the new one.
        let at = self.0.partition_point(|&(_, end)| end.saturating_add(1) < low);
        let mut until = at;
        let (mut new_low, mut new_high) = (low, high);
        while let Some(&(start, end)) = self.0.get(until) {
            if start > high.saturating_add(1) {
                break;
            }
            new_low = new_low.min(start);
            new_high = new_high.max(end);
            until += 1;
        }
        self.0.splice(at..until, [(new_low, new_high)]);
    }

    /// Adds all of another set. Costs the sum of both where it is not simply more at the end.
    pub fn extend(&mut self, other: &Self) {
        let after = other.0.first().is_none_or(|first| self.0.last().is_none_or(|last| first.0 > last.0));
        if after || other.0.len() < FEW {
            other.ranges().for_each(|(low, high)| self.insert_range(low, high));
            return;
        }
        let mut all = [std::mem::take(&mut self.0), other.0.clone()].concat();
        all.sort_unstable();
        all.into_iter().for_each(|(low, high)| self.insert_range(Uid(low), Uid(high)));
    }

    /// Takes out an inclusive range.
    pub fn remove_range(&mut self, low: Uid, high: Uid) {
        if low > high {
            return;
        }
        let at = self.0.partition_point(|&(_, end)| end < low.0);
        let until = self.0.partition_point(|&(start, _)| start <= high.0);
        if at >= until {
            return;
        }
        // What sticks out on either side stays.
        let before = (self.0[at].0 < low.0).then(|| (self.0[at].0, low.0 - 1));
        let after = (self.0[until - 1].1 > high.0).then(|| (high.0 + 1, self.0[until - 1].1));
        self.0.splice(at..until, before.into_iter().chain(after));
    }

    /// Takes out all of another set. Costs the sum of both.
    pub fn subtract(&mut self, other: &Self) {
        if other.0.len() < FEW {
            other.ranges().for_each(|(low, high)| self.remove_range(low, high));
            return;
        }
        let mut left = Vec::with_capacity(self.0.len());
        let mut holes = other.0.iter().peekable();
        'ranges: for &(mut low, high) in &self.0 {
            while let Some(&&(hole_low, hole_high)) = holes.peek() {
                if hole_high < low {
                    holes.next();
                    continue;
                }
                if hole_low > high {
                    break;
                }
                if hole_low > low {
                    left.push((low, hole_low - 1));
                }
                if hole_high >= high {
                    continue 'ranges;
                }
                low = hole_high + 1;
            }
            left.push((low, high));
        }
        self.0 = left;
    }

    /// What is in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let (mut a, mut b) = (self.0.iter().peekable(), other.0.iter().peekable());
        let mut both = Vec::new();
        while let (Some(&&(a_low, a_high)), Some(&&(b_low, b_high))) = (a.peek(), b.peek()) {
            let (low, high) = (a_low.max(b_low), a_high.min(b_high));
            if low <= high {
                both.push((low, high));
            }
            if a_high < b_high {
                a.next()
            } else {
                b.next()
            };
        }
        Self(both)
    }

    /// The highest one in.
    #[must_use]
    pub fn last(&self) -> Option<Uid> {
        self.last_range().map(|(_, high)| high)
    }

    /// The highest range.
    #[must_use]
    pub fn last_range(&self) -> Option<(Uid, Uid)> {
        self.0.last().map(|&(low, high)| (Uid(low), Uid(high)))
    }

    /// Whether it is in.
    #[must_use]
    pub fn contains(&self, uid: Uid) -> bool {
        let at = self.0.partition_point(|&(_, end)| end < uid.0);
        self.0.get(at).is_some_and(|&(start, _)| start <= uid.0)
    }

    /// Whether nothing is in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The inclusive ranges, ascending.
    pub fn ranges(&self) -> impl ExactSizeIterator<Item = (Uid, Uid)> + '_ {
        self.0.iter().map(|&(low, high)| (Uid(low), Uid(high)))
    }

    /// How many are in.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.iter().map(|&(low, high)| u64::from(high - low) + 1).sum()
    }

    /// Each of them, ascending. Ask [`Self::count`] first where the set came from a stranger.
    pub fn iter(&self) -> impl Iterator<Item = Uid> + '_ {
        self.0.iter().flat_map(|&(low, high)| (low..=high).map(Uid))
    }
}

impl FromIterator<Uid> for UidSet {
    fn from_iter<I: IntoIterator<Item = Uid>>(uids: I) -> Self {
        let mut set = Self::new();
        uids.into_iter().for_each(|uid| set.insert(uid));
        set
    }
}

impl fmt::Display for UidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, &(low, high)) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            if low == high {
                write!(f, "{comma}{low}")?;
            } else {
                write!(f, "{comma}{low}:{high}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ranges: &[(u32, u32)]) -> UidSet {
        let mut set = UidSet::new();
        ranges.iter().for_each(|&(a, b)| set.insert_range(Uid(a), Uid(b)));
        set
    }

    #[test]
    fn ranges_merge_in_any_order() {
        for ranges in [
            vec![(1, 3), (4, 5), (9, 7)],
            vec![(7, 9), (1, 1), (2, 5)],
            vec![(5, 5), (1, 4), (8, 8), (7, 7), (9, 9)],
            vec![(1, 5), (2, 3), (7, 9), (8, 8)],
        ] {
            let set = set(&ranges);
            assert_eq!(set.to_string(), "1:5,7:9", "{ranges:?}");
            assert_eq!(set.count(), 8);
            assert!(
                set.contains(Uid(5))
                    && !set.contains(Uid(6))
                    && set.contains(Uid(7))
                    && !set.contains(Uid(10))
            );
        }
        assert_eq!(set(&[(1, u32::MAX), (5, 6)]).to_string(), format!("1:{}", u32::MAX));
        assert_eq!(set(&[(1, 2), (4, 5), (3, 3)]).to_string(), "1:5");
    }

    #[test]
    fn sets_agree_with_plain_ones() {
        let mut seed = 5_u32;
        let mut next = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 16) % 24 + 1
        };
        for _ in 0..3000 {
            let mut sets = [const { UidSet::new() }; 2];
            let mut plain = [[false; 26]; 2];
            for (set, plain) in sets.iter_mut().zip(&mut plain) {
                for _ in 0..next() % 9 {
                    let (a, b) = (next(), next());
                    set.insert_range(Uid(a), Uid(b));
                    (a.min(b)..=a.max(b)).for_each(|n| plain[n as usize] = true);
                }
            }
            let [mut a, b] = sets;
            let listed = |want: &dyn Fn(usize) -> bool| (1..26).filter(|&n| want(n)).collect::<Vec<_>>();
            let got = |set: &UidSet| set.iter().map(|uid| uid.0 as usize).collect::<Vec<_>>();
            assert_eq!(got(&a.intersection(&b)), listed(&|n| plain[0][n] && plain[1][n]));
            let mut union = a.clone();
            union.extend(&b);
            assert_eq!(got(&union), listed(&|n| plain[0][n] || plain[1][n]));
            assert_eq!(union.last().map(|uid| uid.0 as usize), listed(&|n| plain[0][n] || plain[1][n]).pop());
            a.subtract(&b);
            assert_eq!(got(&a), listed(&|n| plain[0][n] && !plain[1][n]));
        }
        let mut all = UidSet::all();
        all.remove_range(Uid(u32::MAX), Uid(u32::MAX));
        all.remove_range(Uid(1), Uid(1));
        assert_eq!(all.to_string(), format!("2:{}", u32::MAX - 1));
    }
}
