//! Message flags, keywords and the special uses of mailboxes.
//!
//! Law: RFC 9051 §2.3.2, RFC 5788 (keywords), RFC 6154 (special use).
//! Fails with: [`KeywordFault`].

use serde::{Deserialize, Serialize};
use std::fmt;

/// A flag with a fixed place in the record; anything else is a [`Keyword`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[repr(u16)]
pub enum Flag {
    /// `\Seen`
    Seen = 1,
    /// `\Answered`
    Answered = 1 << 1,
    /// `\Flagged`
    Flagged = 1 << 2,
    /// `\Deleted`
    Deleted = 1 << 3,
    /// `\Draft`
    Draft = 1 << 4,
    /// `$Forwarded`
    Forwarded = 1 << 5,
    /// `$Junk`
    Junk = 1 << 6,
    /// `$NotJunk`
    NotJunk = 1 << 7,
    /// `$Phishing`
    Phishing = 1 << 8,
    /// `$MDNSent`
    MdnSent = 1 << 9,
}

impl Flag {
    /// All of them with their spelling on the wire.
    pub const ALL: [(Flag, &'static str); 10] = [
        (Flag::Seen, "\\Seen"),
        (Flag::Answered, "\\Answered"),
        (Flag::Flagged, "\\Flagged"),
        (Flag::Deleted, "\\Deleted"),
        (Flag::Draft, "\\Draft"),
        (Flag::Forwarded, "$Forwarded"),
        (Flag::Junk, "$Junk"),
        (Flag::NotJunk, "$NotJunk"),
        (Flag::Phishing, "$Phishing"),
        (Flag::MdnSent, "$MDNSent"),
    ];

    /// The flag spelled so, in any case. `Junk` and `NonJunk` of older clients are keywords of their own.
    #[must_use]
    pub fn from_wire(text: &str) -> Option<Flag> {
        Self::ALL.iter().find(|(_, name)| name.eq_ignore_ascii_case(text)).map(|(flag, _)| *flag)
    }
}

/// A set of [`Flag`]s.
#[derive(Default, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Flags(u16);

impl Flags {
    /// No flag set.
    pub const NONE: Flags = Flags(0);

    /// Whether it is set.
    #[must_use]
    pub fn has(self, flag: Flag) -> bool {
        self.0 & flag as u16 != 0
    }

    /// With this one set.
    #[must_use]
    pub fn with(self, flag: Flag) -> Self {
        Self(self.0 | flag as u16)
    }

    /// With this one cleared.
    #[must_use]
    pub fn without(self, flag: Flag) -> Self {
        Self(self.0 & !(flag as u16))
    }

    /// Set in either.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Set here and not there.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Those set, in wire spelling and fixed order.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Flag::ALL.into_iter().filter(move |(flag, _)| self.has(*flag)).map(|(_, name)| name)
    }
}

impl FromIterator<Flag> for Flags {
    fn from_iter<I: IntoIterator<Item = Flag>>(flags: I) -> Self {
        flags.into_iter().fold(Self::NONE, Self::with)
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

/// Octets in a keyword.
pub const KEYWORD_OCTETS: usize = 128;

/// Text that cannot be a keyword.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid keyword")]
pub struct KeywordFault;

/// A free flag: an atom, folded to lower case (RFC 5788: keywords compare without case).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Keyword(Box<str>);

impl Keyword {
    /// Reads an atom that is not one of the fixed flags.
    pub fn parse(text: &str) -> Result<Self, KeywordFault> {
        let atom = |b: u8| b > b' ' && b < 0x7f && !b"(){%*\"\\]".contains(&b);
        if text.is_empty()
            || text.len() > KEYWORD_OCTETS
            || !text.bytes().all(atom)
            || Flag::from_wire(text).is_some()
        {
            return Err(KeywordFault);
        }
        Ok(Self(text.to_ascii_lowercase().into()))
    }

    /// The folded text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a mailbox is for. RFC 6154 §2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[repr(u8)]
pub enum SpecialUse {
    /// `\Archive`
    Archive = 1,
    /// `\Drafts`
    Drafts = 1 << 1,
    /// `\Junk`
    Junk = 1 << 2,
    /// `\Sent`
    Sent = 1 << 3,
    /// `\Trash`
    Trash = 1 << 4,
    /// `\Important`, RFC 8457
    Important = 1 << 5,
}

impl SpecialUse {
    /// All of them with their spelling on the wire.
    pub const ALL: [(SpecialUse, &'static str); 6] = [
        (SpecialUse::Archive, "\\Archive"),
        (SpecialUse::Drafts, "\\Drafts"),
        (SpecialUse::Junk, "\\Junk"),
        (SpecialUse::Sent, "\\Sent"),
        (SpecialUse::Trash, "\\Trash"),
        (SpecialUse::Important, "\\Important"),
    ];

    /// The use spelled so, in any case.
    #[must_use]
    pub fn from_wire(text: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, name)| name.eq_ignore_ascii_case(text)).map(|(one, _)| *one)
    }
}

/// A set of [`SpecialUse`]s.
#[derive(Default, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SpecialUses(u8);

impl SpecialUses {
    /// None.
    pub const NONE: SpecialUses = SpecialUses(0);

    /// Whether it is set.
    #[must_use]
    pub fn has(self, one: SpecialUse) -> bool {
        self.0 & one as u8 != 0
    }

    /// With this one set.
    #[must_use]
    pub fn with(self, one: SpecialUse) -> Self {
        Self(self.0 | one as u8)
    }

    /// With this one cleared.
    #[must_use]
    pub fn without(self, one: SpecialUse) -> Self {
        Self(self.0 & !(one as u8))
    }

    /// Those set, in wire spelling and fixed order.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        SpecialUse::ALL.into_iter().filter(move |(one, _)| self.has(*one)).map(|(_, name)| name)
    }
}

impl fmt::Debug for SpecialUses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_know_their_names() {
        for (flag, name) in Flag::ALL {
            assert_eq!(Flag::from_wire(&name.to_uppercase()), Some(flag));
        }
        let set: Flags = [Flag::Seen, Flag::Junk].into_iter().collect();
        assert_eq!(set.names().collect::<Vec<_>>(), ["\\Seen", "$Junk"]);
        assert_eq!(set.minus(Flags::NONE.with(Flag::Seen)).names().collect::<Vec<_>>(), ["$Junk"]);
    }

    #[test]
    fn a_keyword_is_an_atom_and_no_flag() {
        assert_eq!(Keyword::parse("$Label1").unwrap().as_str(), "$label1");
        for bad in ["", "a b", "\\Recent", "$junk", "a]", "é", "a\u{7f}"] {
            assert_eq!(Keyword::parse(bad), Err(KeywordFault), "{bad:?}");
        }
    }
}
