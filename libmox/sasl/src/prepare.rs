//! Names and passwords in the one form they are compared in.
//!
//! Law: RFC 8265 §4 (OpaqueString) for passwords (AU-09); RFC 5198 NFC for names (AU-08, TR-49).

use crate::limits::NAME_OCTETS;
use precis_core::profile::PrecisFastInvocation;
use precis_profiles::OpaqueString;
use std::fmt;
use unicode_normalization::{UnicodeNormalization, is_nfc};

/// Text nobody logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// A password as it is stored and compared. None where the profile refuses it: setting must fail then, a login
/// is simply wrong.
#[must_use]
pub fn prepare_password(password: &str) -> Option<Secret> {
    if password.len() > NAME_OCTETS {
        return None;
    }
    OpaqueString::enforce(password).ok().map(|text| Secret(text.into_owned()))
}

/// A login name in NFC. None if empty, too long or with control characters.
#[must_use]
pub fn prepare_username(name: &str) -> Option<String> {
    let fits = !name.is_empty() && name.len() <= NAME_OCTETS && !name.chars().any(char::is_control);
    fits.then(|| name.nfc().collect())
}

/// Whether a SCRAM username is what [`prepare_username`] would make of it: the client signs the name as it sent
/// it, so it cannot be mended.
#[must_use]
pub fn is_normalised(name: &str) -> bool {
    !name.is_empty() && name.len() <= NAME_OCTETS && is_nfc(name) && !name.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_have_one_form() {
        let prepared = |text| prepare_password(text).map(|secret| secret.0);
        assert_eq!(prepared("a\u{a0}b").as_deref(), Some("a b"));
        assert_eq!(prepared("e\u{301}").as_deref(), Some("\u{e9}"));
        assert_eq!(prepared("Pass  Word").as_deref(), Some("Pass  Word"));
        assert_eq!(prepared(""), None);
        assert_eq!(prepared("a\u{7}"), None);
        assert_eq!(prepared(&"a".repeat(2000)), None);
        assert_eq!(format!("{:?}", Secret("x".into())), "Secret");
    }

    #[test]
    fn names_are_in_nfc() {
        assert_eq!(prepare_username("e\u{301}@x").as_deref(), Some("\u{e9}@x"));
        assert!(is_normalised("\u{e9}@x") && !is_normalised("e\u{301}@x") && !is_normalised(""));
        assert_eq!(prepare_username("a\0b"), None);
    }
}
