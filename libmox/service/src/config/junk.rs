//! What an account says about junk: its filter, and the flags its mailboxes give (rows JK-02, JK-05, JK-06, JK-14).
//!
//! Fails with: mistakes of the file they stand in.

use super::reader::Section;
use super::rules::Pattern;

/// What a new account says about mail from strangers (rows JK-02, JK-11, JK-14) and its password (row AU-19), as lines
/// of its table.
pub const NEW_ACCOUNT: &str = "no-custom-password = true\nrejects-mailbox = \"Rejects\"\nsubject-pass = \"12h\"\n\
                               junk-filter.enabled = true\nautomatic-junk-flags.enabled = true\n";

/// `[accounts.jane.junk-filter]`
#[derive(Debug, Clone, PartialEq)]
pub struct JunkFilterConfig {
    /// Content is judged.
    pub enabled: bool,
    /// Above this probability a message is refused.
    pub threshold: f64,
    /// Single words are counted.
    pub one_gram: bool,
    /// Two in a row.
    pub two_grams: bool,
    /// Three in a row.
    pub three_grams: bool,
    /// No word is surer than this, nor surer than one less this.
    pub max_power: f64,
    /// Words of each side that decide.
    pub top_words: usize,
    /// How far from one half a word must be to count.
    pub ignore_words: f64,
    /// A word seen in so few messages says less.
    pub rare_words: u32,
}

impl Eq for JunkFilterConfig {}

/// Row JK-14.
impl Default for JunkFilterConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            threshold: 0.95,
            one_gram: true,
            two_grams: false,
            three_grams: false,
            max_power: 0.01,
            top_words: 10,
            ignore_words: 0.1,
            rare_words: 2,
        }
    }
}

/// `[accounts.jane.automatic-junk-flags]`, where it is enabled: patterns for names in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AutomaticJunkFlags {
    /// Asked first.
    pub junk: Option<Pattern>,
    /// Asked second.
    pub neutral: Option<Pattern>,
    /// Asked last.
    pub not_junk: Option<Pattern>,
}

/// Row JK-02.
const JUNK: &str = "^(junk|spam)";
const NEUTRAL: &str = "^(inbox|introbox|neutral|postmaster|dmarc|tlsrpt|rejects)";

impl Default for AutomaticJunkFlags {
    fn default() -> Self {
        Self { junk: Pattern::parse(JUNK).ok(), neutral: Pattern::parse(NEUTRAL).ok(), not_junk: None }
    }
}

impl JunkFilterConfig {
    /// Row JK-06: the threshold for one message, up to 0.05 off, so that it cannot be found by trying; but never beyond
    /// what is certain. `draw` is from 0 to 1.
    #[must_use]
    pub fn threshold_at(&self, draw: f64) -> f64 {
        let most = (1.0 - self.threshold).min(0.05);
        self.threshold + (2.0 * draw - 1.0) * most
    }

    pub(super) fn read(s: &mut Section<'_>) -> Self {
        let default = Self::default();
        Self {
            enabled: s.yes_no("enabled", false),
            threshold: s.fraction("threshold", default.threshold, 0.5..=1.0),
            one_gram: s.yes_no("onegrams", true),
            two_grams: s.yes_no("twograms", false),
            three_grams: s.yes_no("threegrams", false),
            max_power: s.fraction("max-power", default.max_power, 0.0001..=0.4),
            top_words: usize::try_from(s.number("top-words", 10, 1..=1_000)).unwrap_or(10),
            ignore_words: s.fraction("ignore-words", default.ignore_words, 0.0..=0.49),
            rare_words: u32::try_from(s.number("rare-words", 2, 0..=9)).unwrap_or(2),
        }
    }
}

impl AutomaticJunkFlags {
    /// None where it is not enabled.
    pub(super) fn read(s: &mut Section<'_>) -> Option<Self> {
        let enabled = s.yes_no("enabled", false);
        let junk = s.text("junk-mailbox-regexp", Pattern::parse);
        let neutral = s.text("neutral-mailbox-regexp", Pattern::parse);
        let not_junk = s.text("not-junk-mailbox-regexp", Pattern::parse);
        if !enabled {
            return None;
        }
        // None of them given: those that fit the names of new accounts.
        let none = junk.is_none() && neutral.is_none() && not_junk.is_none();
        Some(if none { Self::default() } else { Self { junk, neutral, not_junk } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Row JK-06.
    #[test]
    fn thresholds_differ_by_message() {
        for (threshold, lowest, highest) in
            [(0.95, 0.9, 1.0), (0.6, 0.55, 0.65), (0.999, 0.998, 1.0), (1.0, 1.0, 1.0)]
        {
            let config = JunkFilterConfig { threshold, ..JunkFilterConfig::default() };
            for (draw, want) in [(0.0, lowest), (0.5, threshold), (1.0, highest)] {
                let got = config.threshold_at(draw);
                assert!((got - want).abs() < 1e-12, "{threshold} {draw}: {got}");
            }
        }
    }
}
