//! A set of UIDs as ascending, disjoint ranges: 100 000 neighbours cost one entry.
//!
//! Law: RFC 9051 §9 `sequence-set` (without `*`, which only a mailbox can resolve).

use crate::Uid;
use serde::{Deserialize, Serialize};
use std::fmt;

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
}
