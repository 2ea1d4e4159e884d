//! Words as numbers.

use super::habits::Grams;
use crate::limits::{WORD_OCTETS, WORDS};
use std::collections::HashMap;

/// FNV-1a of 64 bits, folded. Whoever makes two words meet could as well write the other word.
fn number(parts: &[&str]) -> u32 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for (at, part) in parts.iter().enumerate() {
        let gap = if at > 0 { Some(&b' ') } else { None };
        for byte in gap.into_iter().chain(part.as_bytes()) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    u32::try_from((hash ^ (hash >> 32)) & 0xffff_ffff).unwrap_or(0)
}

fn each<'a>(text: &'a str, grams: Grams, mut take: impl FnMut(u32, &[&'a str])) {
    let mut end = text.len().min(WORD_OCTETS);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    for line in text[..end].split('\n') {
        let mut before: [&str; 2] = ["", ""];
        for word in line.split(' ').filter(|word| !word.is_empty()) {
            if grams.one {
                take(number(&[word]), &[word]);
            }
            if grams.two && !before[1].is_empty() {
                let two = [before[1], word];
                take(number(&two), &two);
            }
            if grams.three && !before[0].is_empty() {
                let three = [before[0], before[1], word];
                take(number(&three), &three);
            }
            before = [before[1], word];
        }
    }
}

/// The different words of a message, ascending; of too many, those that come first.
pub fn words_of(text: &str, grams: Grams) -> Vec<u32> {
    let mut words = Vec::with_capacity(text.len() / 8);
    each(text, grams, |word, _| words.push(word));
    if words.len() > WORDS {
        let mut seen = std::collections::HashSet::with_capacity(WORDS);
        words.retain(|word| seen.len() < WORDS && seen.insert(*word));
    }
    words.sort_unstable();
    words.dedup();
    words
}

/// The texts of some words of a message.
pub fn named(text: &str, grams: Grams, wanted: &[u32]) -> HashMap<u32, String> {
    let mut names = HashMap::new();
    each(text, grams, |word, parts| {
        if wanted.contains(&word) {
            names.entry(word).or_insert_with(|| parts.join(" "));
        }
    });
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Grams = Grams { one: true, two: false, three: false };

    #[test]
    fn words_are_different_and_sorted() {
        let words = words_of("cheap pills cheap\nsubject:offer", ONE);
        assert_eq!(words.len(), 3);
        assert!(words.is_sorted());
        assert_eq!(named("cheap pills", ONE, &words)[&number(&["pills"])], "pills");
    }

    #[test]
    fn pairs_and_threes_stay_in_their_line() {
        let all = Grams { one: true, two: true, three: true };
        // a b c | a b, b c | a b c; d e | d e
        assert_eq!(words_of("aaaa bbbb cccc\ndddd eeee", all).len(), 3 + 2 + 1 + 2 + 1);
        let two = Grams { one: false, two: true, three: false };
        assert_eq!(words_of("aaaa bbbb", two), [number(&["aaaa", "bbbb"])]);
    }

    #[test]
    fn too_many_words_are_cut() {
        let text = (0..WORDS + 500).map(|n| format!("{n}x")).collect::<Vec<_>>().join(" ");
        assert_eq!(words_of(&text, ONE).len(), WORDS);
        let long = "é".repeat(WORD_OCTETS);
        assert_eq!(words_of(&long, ONE).len(), 1);
    }
}
