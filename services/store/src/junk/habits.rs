//! What an account's configuration says about junk, where its messages are changed.

use crate::records::MailboxRecord;
use libmox_service::config::{AutomaticJunkFlags, JunkFilterConfig};
use libmox_types::{Flag, Flags, SpecialUse};

/// Which runs of words are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grams {
    pub one: bool,
    pub two: bool,
    pub three: bool,
}

/// See the module header.
#[derive(Debug, Clone)]
pub struct Habits {
    pub grams: Grams,
    /// Whether words are kept of what comes in. Who switches the filter on later has them made with `mox reparse`.
    pub words: bool,
    /// Row JK-02.
    pub automatic: Option<AutomaticJunkFlags>,
}

impl Default for Habits {
    fn default() -> Self {
        Self { grams: Grams { one: true, two: false, three: false }, words: true, automatic: None }
    }
}

impl From<&JunkFilterConfig> for Grams {
    fn from(config: &JunkFilterConfig) -> Self {
        Self { one: config.one_gram, two: config.two_grams, three: config.three_grams }
    }
}

impl Habits {
    pub fn new(filter: &JunkFilterConfig, automatic: Option<AutomaticJunkFlags>) -> Self {
        Self { grams: filter.into(), words: filter.enabled, automatic }
    }

    /// The flags of a message that came into a mailbox. Row JK-02: the role of the mailbox first, then its name.
    pub fn flags_in(&self, mailbox: &MailboxRecord, flags: Flags) -> Flags {
        let junk = flags.with(Flag::Junk).without(Flag::NotJunk);
        let not_junk = flags.with(Flag::NotJunk).without(Flag::Junk);
        let neutral = flags.without(Flag::Junk).without(Flag::NotJunk);
        if mailbox.special_use.has(SpecialUse::Junk) {
            return junk;
        }
        let Some(automatic) = &self.automatic else { return flags };
        let name = mailbox.name.as_str().to_lowercase();
        let fits = |pattern: &Option<libmox_service::config::Pattern>| {
            pattern.as_ref().is_some_and(|pattern| pattern.matches(&name))
        };
        if fits(&automatic.junk) {
            return junk;
        }
        if fits(&automatic.neutral) {
            return neutral;
        }
        if fits(&automatic.not_junk) {
            return not_junk;
        }
        // The one that is not set takes the rest.
        match (&automatic.junk, &automatic.neutral, &automatic.not_junk) {
            (None, Some(_), Some(_)) => junk,
            (Some(_), None, Some(_)) => neutral,
            (Some(_), Some(_), None) => not_junk,
            _ => flags,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libmox_service::config::Pattern;
    use libmox_store::Counts;
    use libmox_types::{MailboxId, MailboxName, ModSeq, SpecialUses, Uid, UidValidity};

    fn mailbox(name: &str, uses: SpecialUses) -> MailboxRecord {
        MailboxRecord {
            id: MailboxId(1),
            name: MailboxName::parse(name).unwrap(),
            uid_validity: UidValidity(1),
            uid_next: Uid(1),
            mod_seq: ModSeq(1),
            create_seq: ModSeq(1),
            special_use: uses,
            keywords: vec![],
            counts: Counts::default(),
        }
    }

    fn word(flags: Flags) -> &'static str {
        match (flags.has(Flag::Junk), flags.has(Flag::NotJunk)) {
            (true, false) => "junk",
            (false, true) => "not",
            (false, false) => "neutral",
            (true, true) => "both",
        }
    }

    /// Rows JK-02 and DF-05, with the patterns that new accounts get.
    #[test]
    fn names_decide_in_order() {
        let habits = Habits { automatic: Some(AutomaticJunkFlags::default()), ..Habits::default() };
        for (name, want) in [
            ("Junk", "junk"),
            ("Spam/old", "junk"),
            ("Inbox", "neutral"),
            ("Introbox", "neutral"),
            ("Neutral stuff", "neutral"),
            ("postmaster", "neutral"),
            ("DMARC", "neutral"),
            ("tlsrpt", "neutral"),
            ("Rejects", "neutral"),
            ("Archive", "not"),
            ("Lists/rust", "not"),
        ] {
            for before in [Flags::NONE, Flags::NONE.with(Flag::Junk), Flags::NONE.with(Flag::NotJunk)] {
                assert_eq!(
                    word(habits.flags_in(&mailbox(name, SpecialUses::NONE), before)),
                    want,
                    "{name} {before:?}"
                );
            }
        }
        let role = SpecialUses::NONE.with(SpecialUse::Junk);
        assert_eq!(word(habits.flags_in(&mailbox("Archive", role), Flags::NONE)), "junk");
        assert_eq!(word(Habits::default().flags_in(&mailbox("Abfall", role), Flags::NONE)), "junk");
        let before = Flags::NONE.with(Flag::Junk);
        assert_eq!(Habits::default().flags_in(&mailbox("Archive", SpecialUses::NONE), before), before);
    }

    #[test]
    fn the_pattern_that_is_missing_takes_the_rest() {
        let some = |text: &str| Some(Pattern::parse(text).unwrap());
        for (junk, neutral, not_junk, want) in [
            (some("^x"), some("^y"), None, "not"),
            (some("^x"), None, some("^y"), "neutral"),
            (None, some("^x"), some("^y"), "junk"),
            (some("^x"), None, None, "neutral"),
            (some("^x"), some("^y"), some("^z"), "neutral"),
        ] {
            let habits = Habits {
                automatic: Some(AutomaticJunkFlags { junk, neutral, not_junk }),
                ..Habits::default()
            };
            assert_eq!(word(habits.flags_in(&mailbox("other", SpecialUses::NONE), Flags::NONE)), want);
        }
    }
}
