//! What a sender wants to hear of a recipient: NOTIFY and ORCPT.
//!
//! Law: RFC 3461 §4.1, §4.2, §6.3.
//! Does not know: what became of the message.
//! Fails with: nothing; the command's parser has looked at both before.

use crate::command::xtext;

/// Something to hear of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// It arrived. Only who asks for it hears of it.
    Success,
    /// It will not arrive.
    Failure,
    /// It has not arrived yet.
    Delay,
}

/// Whether the sender wants to hear of it: without NOTIFY of failures and delays; NEVER is never.
#[must_use]
pub fn wants(notify: &str, event: Event) -> bool {
    let word = match event {
        Event::Success => "SUCCESS",
        Event::Failure => "FAILURE",
        Event::Delay => "DELAY",
    };
    let usual = notify.is_empty() && event != Event::Success;
    usual || notify.split(',').any(|one| one.eq_ignore_ascii_case(word))
}

/// The address that the sender gave in ORCPT, decoded, for a report: `rfc822;a+b@example.org`.
#[must_use]
pub fn original_recipient(orcpt: &str) -> Option<String> {
    let (kind, text) = orcpt.split_once(';')?;
    Some(format!("{kind};{}", xtext(text)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senders_hear_of_what_they_asked_for() {
        for (notify, success, failure, delay) in [
            ("", false, true, true),
            ("NEVER", false, false, false),
            ("SUCCESS", true, false, false),
            ("SUCCESS,FAILURE", true, true, false),
            ("delay", false, false, true),
        ] {
            let got = [Event::Success, Event::Failure, Event::Delay].map(|event| wants(notify, event));
            assert_eq!(got, [success, failure, delay], "{notify}");
        }
        assert_eq!(original_recipient("rfc822;a+2Bb@x.example").as_deref(), Some("rfc822;a+b@x.example"));
        assert_eq!(original_recipient("rfc822;a+2"), None);
    }
}
