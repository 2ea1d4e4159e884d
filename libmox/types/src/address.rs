//! Mail addresses and the reverse path.
//!
//! Law: RFC 5321 §4.1.2; RFC 6531 §3.3 for local parts in UTF-8, kept in NFC (RFC 6530 §7.1).
//! Does not know: whether the mailbox exists, or how a domain folds case.
//! Fails with: [`AddressFault`].

use crate::{Domain, DomainFault};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// Octets in a local part. RFC 5321 §4.5.3.1.1.
pub const LOCAL_PART_OCTETS: usize = 64;

/// Why text is not an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressFault {
    /// No `@`, or nothing before it.
    #[error("not an address")]
    NoAt,
    /// A local part that is neither a dot-string nor a quoted string, or too long.
    #[error("not a valid local part")]
    LocalPart,
    /// What stands behind the `@`.
    #[error("bad domain in address")]
    Domain(#[source] DomainFault),
}

/// The part before the `@`, unquoted, in NFC, case as given.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LocalPart(Box<str>);

impl LocalPart {
    /// Takes the unquoted text.
    pub fn new(text: &str) -> Result<Self, AddressFault> {
        if text.is_empty() || text.chars().any(char::is_control) {
            return Err(AddressFault::LocalPart);
        }
        let text: Box<str> = match is_nfc_quick(text.chars()) {
            IsNormalized::Yes => text.into(),
            _ => text.nfc().collect::<String>().into(),
        };
        if text.len() > LOCAL_PART_OCTETS * 2 {
            return Err(AddressFault::LocalPart);
        }
        Ok(Self(text))
    }

    /// Takes the text as the wire has it: a dot-string or a quoted string.
    pub fn parse(text: &str) -> Result<Self, AddressFault> {
        if let Some(quoted) = text.strip_prefix('"') {
            let quoted = quoted.strip_suffix('"').ok_or(AddressFault::LocalPart)?;
            let mut plain = String::with_capacity(quoted.len());
            let mut chars = quoted.chars();
            while let Some(c) = chars.next() {
                match c {
                    '\\' => plain.push(chars.next().ok_or(AddressFault::LocalPart)?),
                    '"' => return Err(AddressFault::LocalPart),
                    c => plain.push(c),
                }
            }
            return Self::new(&plain);
        }
        if !is_dot_string(text) {
            return Err(AddressFault::LocalPart);
        }
        Self::new(text)
    }

    /// The unquoted text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// RFC 5321 §4.1.2 Dot-string, widened by RFC 6531 §3.3.
fn is_dot_string(text: &str) -> bool {
    text.split('.').all(|atom| {
        !atom.is_empty()
            && atom
                .chars()
                .all(|c| !c.is_ascii() || c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c))
    })
}

impl fmt::Display for LocalPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_dot_string(&self.0) {
            return f.write_str(&self.0);
        }
        f.write_str("\"")?;
        for c in self.0.chars() {
            if c == '"' || c == '\\' {
                f.write_str("\\")?;
            }
            write!(f, "{c}")?;
        }
        f.write_str("\"")
    }
}

impl fmt::Debug for LocalPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LocalPart({})", self.0)
    }
}

impl Serialize for LocalPart {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for LocalPart {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

/// `local@domain`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    /// Before the `@`.
    pub local: LocalPart,
    /// Behind it.
    pub domain: Domain,
}

impl Address {
    /// Reads `local@domain`, with the local part quoted or not.
    pub fn parse(text: &str) -> Result<Self, AddressFault> {
        let (local, domain) = text.rsplit_once('@').ok_or(AddressFault::NoAt)?;
        if local.is_empty() {
            return Err(AddressFault::NoAt);
        }
        Ok(Self {
            local: LocalPart::parse(local)?,
            domain: Domain::parse(domain).map_err(AddressFault::Domain)?,
        })
    }

    /// Whether the local part needs SMTPUTF8. The domain never does: it has an ASCII spelling.
    #[must_use]
    pub fn needs_utf8(&self) -> bool {
        !self.local.as_str().is_ascii()
    }

    /// The wire spelling: the domain in ASCII unless the transaction is SMTPUTF8.
    #[must_use]
    pub fn for_wire(&self, smtputf8: bool) -> String {
        let domain = if smtputf8 { self.domain.unicode() } else { self.domain.ascii() };
        format!("{}@{domain}", self.local)
    }
}

impl Address {
    /// For the journal: quoted where it must be, once, with the domain in both spellings (rows I8-01, TR-40).
    #[must_use]
    pub fn for_log(&self) -> String {
        format!("{}@{}", self.local, self.domain.for_log())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local, self.domain)
    }
}

impl FromStr for Address {
    type Err = AddressFault;
    fn from_str(text: &str) -> Result<Self, AddressFault> {
        Self::parse(text)
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// MAIL FROM: an address, or `<>` for mail that must not be answered. RFC 5321 §4.5.5.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ReversePath {
    /// `<>`.
    Null,
    /// Somebody who wants to hear of failures.
    Address(Address),
}

impl ReversePath {
    /// The address, unless it is null.
    #[must_use]
    pub fn address(&self) -> Option<&Address> {
        match self {
            Self::Null => None,
            Self::Address(address) => Some(address),
        }
    }
}

impl ReversePath {
    /// For the journal, as [`Address::for_log`].
    #[must_use]
    pub fn for_log(&self) -> String {
        self.address().map(Address::for_log).unwrap_or_default()
    }
}

impl fmt::Display for ReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => Ok(()),
            Self::Address(address) => address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn round(text: &str, want: Result<&str, AddressFault>) {
        assert_eq!(Address::parse(text).map(|a| a.to_string()), want.map(String::from), "{text:?}");
    }

    #[test]
    fn quoting_is_undone_and_redone() {
        round("a.b+c@Example.org", Ok("a.b+c@example.org"));
        round("\"a\\ b\"@example.org", Ok("\"a b\"@example.org"));
        round("\"simple\"@example.org", Ok("simple@example.org"));
        round("\"q\\\"x\"@example.org", Ok("\"q\\\"x\"@example.org"));
        round("a..b@example.org", Err(AddressFault::LocalPart));
        round("a b@example.org", Err(AddressFault::LocalPart));
        round("\"a\u{0}\"@example.org", Err(AddressFault::LocalPart));
        round("@example.org", Err(AddressFault::NoAt));
        round("nobody", Err(AddressFault::NoAt));
        round("a@", Err(AddressFault::Domain(DomainFault::Empty)));
    }

    #[test]
    fn both_spellings_of_e_acute_are_one_address() {
        // RFC 6530 §7.1
        assert_eq!(Address::parse("e\u{301}@example.org"), Address::parse("\u{e9}@example.org"));
    }

    #[test]
    fn an_over_long_local_part_is_refused() {
        round(&format!("{}@example.org", "a".repeat(129)), Err(AddressFault::LocalPart));
    }
}
