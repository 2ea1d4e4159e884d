//! Addresses that ask a local test instance to fail, so that a program that sends mail can be tried.
//!
//! Row CL-06: a local part that ends in `temperror`, `permerror`, `timeout` or a code from 400 to 599 fails so for the
//! message; where it also begins with `mailfrom` or `rcptto`, already in that command.
//! Does not know: whether this is a test instance. That is for the caller to ask first.

use crate::Reply;
use libmox_types::LocalPart;

/// A wish to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Simulated {
    /// With this code.
    Refuse(u16),
    /// By saying nothing.
    Silence,
}

/// The wish of an address.
#[must_use]
pub fn simulated(local: &LocalPart) -> Option<Simulated> {
    let text = local.as_str();
    if text.ends_with("temperror") {
        return Some(Simulated::Refuse(451));
    }
    if text.ends_with("permerror") {
        return Some(Simulated::Refuse(550));
    }
    if text.ends_with("timeout") {
        return Some(Simulated::Silence);
    }
    // No local part is cut within a character: a code is ASCII.
    let code = text.get(text.len().checked_sub(3)?..)?;
    let code = code.bytes().all(|b| b.is_ascii_digit()).then(|| code.parse().ok())??;
    (400..600).contains(&code).then_some(Simulated::Refuse(code))
}

/// Whether the sender's address asks for it in MAIL FROM.
#[must_use]
pub fn in_mail(local: &LocalPart) -> bool {
    local.as_str().starts_with("mailfrom")
}

/// Whether the recipient's address asks for it in RCPT TO.
#[must_use]
pub fn in_rcpt(local: &LocalPart) -> bool {
    local.as_str().starts_with("rcptto")
}

/// The refusal with this code.
#[must_use]
pub fn refusal(code: u16) -> Reply {
    let enhanced = if code >= 500 { "5.0.0" } else { "4.0.0" };
    Reply::new(code, enhanced, "failing as the address asks")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_say_how_to_fail() {
        for (text, want) in [
            ("jane", None),
            ("a", None),
            ("jane-temperror", Some(Simulated::Refuse(451))),
            ("permerror", Some(Simulated::Refuse(550))),
            ("jane.timeout", Some(Simulated::Silence)),
            ("jane452", Some(Simulated::Refuse(452))),
            ("599", Some(Simulated::Refuse(599))),
            ("jane399", None),
            ("jane600", None),
            ("jane+55", None),
            ("ü55", None),
        ] {
            assert_eq!(simulated(&LocalPart::new(text).unwrap()), want, "{text}");
        }
        let both = LocalPart::new("rcptto550").unwrap();
        assert!(in_rcpt(&both) && !in_mail(&both));
        assert_eq!(refusal(452).code(), 452);
    }
}
