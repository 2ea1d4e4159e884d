//! Mailbox names as the store keeps them.
//!
//! Law: RFC 9051 §5.1 and §5.1.1 (INBOX, separator, no wildcards on creation but we allow them: rows ST-19, TR-22).
//! Does not know: modified UTF-7; that is how one protocol spells them.
//! Fails with: [`MailboxNameFault`].

use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use unicode_normalization::is_nfc;

/// Octets in a mailbox name.
pub const MAILBOX_NAME_OCTETS: usize = 1_000;

/// Why a name cannot be a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MailboxNameFault {
    /// Nothing there, or a level of the hierarchy is empty.
    #[error("mailbox name has an empty level")]
    Empty,
    /// `.` or `..` as a level.
    #[error("\".\" and \"..\" are no mailbox names")]
    Dots,
    /// Starts with `#`, which is for namespaces.
    #[error("mailbox name starts with #")]
    Hash,
    /// A control character.
    #[error("control character in mailbox name")]
    Control,
    /// Not in Unicode normalisation form C.
    #[error("mailbox name is not in normalisation form C")]
    NotNfc,
    /// Longer than `MAILBOX_NAME_OCTETS`.
    #[error("mailbox name too long")]
    TooLong,
}

/// A name whose levels are separated by `/`. Any casing of INBOX at the first level is `Inbox`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct MailboxName(Box<str>);

impl MailboxName {
    /// Where mail arrives.
    #[must_use]
    pub fn inbox() -> Self {
        Self("Inbox".into())
    }

    /// Checks and folds a name.
    pub fn parse(text: &str) -> Result<Self, MailboxNameFault> {
        if text.len() > MAILBOX_NAME_OCTETS {
            return Err(MailboxNameFault::TooLong);
        }
        if text.starts_with('#') {
            return Err(MailboxNameFault::Hash);
        }
        if text.chars().any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')) {
            return Err(MailboxNameFault::Control);
        }
        for level in text.split('/') {
            match level {
                "" => return Err(MailboxNameFault::Empty),
                "." | ".." => return Err(MailboxNameFault::Dots),
                _ => {}
            }
        }
        if !is_nfc(text) {
            return Err(MailboxNameFault::NotNfc);
        }
        let first = text.split('/').next().unwrap_or_default();
        if first.eq_ignore_ascii_case("inbox") {
            return Ok(Self(format!("Inbox{}", &text[first.len()..]).into()));
        }
        Ok(Self(text.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The mailbox one level up.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        self.0.rsplit_once('/').map(|(parent, _)| Self(parent.into()))
    }

    /// Whether this lies below `other`.
    #[must_use]
    pub fn is_below(&self, other: &Self) -> bool {
        self.0.strip_prefix(&*other.0).is_some_and(|rest| rest.starts_with('/'))
    }
}

impl fmt::Display for MailboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for MailboxName {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn reads(text: &str, want: Result<&str, MailboxNameFault>) {
        assert_eq!(MailboxName::parse(text).map(|n| n.to_string()), want.map(String::from), "{text:?}");
    }

    #[test]
    fn names_are_checked_and_inbox_is_folded() {
        reads("INBOX", Ok("Inbox"));
        reads("iNbOx/Sub", Ok("Inbox/Sub"));
        reads("inboxes", Ok("inboxes"));
        reads("a&b*c%d#e", Ok("a&b*c%d#e"));
        reads("", Err(MailboxNameFault::Empty));
        reads("/a", Err(MailboxNameFault::Empty));
        reads("a/", Err(MailboxNameFault::Empty));
        reads("a//b", Err(MailboxNameFault::Empty));
        reads("a/../b", Err(MailboxNameFault::Dots));
        reads("#news", Err(MailboxNameFault::Hash));
        reads("a\u{85}", Err(MailboxNameFault::Control));
        reads("a\u{2028}", Err(MailboxNameFault::Control));
        reads("e\u{301}", Err(MailboxNameFault::NotNfc));
        reads(&"a".repeat(1001), Err(MailboxNameFault::TooLong));
    }
}
