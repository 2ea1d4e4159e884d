//! What SORT, THREAD and windows of results ask.
//!
//! Law: RFC 5256 §3, RFC 5957, RFC 9394 §3.

/// One key of SORT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SortKey {
    /// What is compared.
    pub by: SortBy,
    /// The other way round.
    pub reverse: bool,
}

/// RFC 5256 §3, RFC 5957 §3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SortBy {
    /// Internal date.
    Arrival,
    /// The local part of the first Cc address.
    Cc,
    /// The Date field in UTC, or the internal date.
    Date,
    /// The local part of the first From address.
    From,
    /// Octets.
    Size,
    /// The base subject.
    Subject,
    /// The local part of the first To address.
    To,
    /// The name of the first From address, or the address.
    DisplayFrom,
    /// The name of the first To address, or the address.
    DisplayTo,
}

impl SortBy {
    /// All of them with their spelling on the wire.
    pub const ALL: [(SortBy, &'static str); 9] = [
        (SortBy::Arrival, "ARRIVAL"),
        (SortBy::Cc, "CC"),
        (SortBy::Date, "DATE"),
        (SortBy::From, "FROM"),
        (SortBy::Size, "SIZE"),
        (SortBy::Subject, "SUBJECT"),
        (SortBy::To, "TO"),
        (SortBy::DisplayFrom, "DISPLAYFROM"),
        (SortBy::DisplayTo, "DISPLAYTO"),
    ];
}

/// How THREAD groups messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threading {
    /// By base subject and date.
    OrderedSubject,
    /// By References, then by base subject.
    References,
}

/// `PARTIAL`: places in a result, from its start or its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The first place, from 1.
    pub first: u32,
    /// The last one.
    pub last: u32,
    /// Counted from the end.
    pub from_end: bool,
}

impl Window {
    /// The places of it in a result of so many, from 0.
    #[must_use]
    pub fn places(self, count: usize) -> std::ops::Range<usize> {
        let place = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        let (first, last) = (place(self.first) - 1, place(self.last).min(count));
        if first >= last {
            return 0..0;
        }
        if self.from_end { count - last..count - first } else { first..last }
    }
}

impl std::fmt::Display for Window {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = if self.from_end { "-" } else { "" };
        write!(f, "{sign}{}:{sign}{}", self.first, self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_cut_to_what_there_is() {
        for (first, last, from_end, count, want) in [
            (1, 3, false, 10, 0..3),
            (9, 20, false, 10, 8..10),
            (11, 20, false, 10, 0..0),
            (1, 3, true, 10, 7..10),
            (9, 20, true, 10, 0..2),
            (1, 1, true, 0, 0..0),
            (11, 12, true, 10, 0..0),
        ] {
            assert_eq!(Window { first, last, from_end }.places(count), want, "{first} {last} {from_end}");
        }
    }
}
