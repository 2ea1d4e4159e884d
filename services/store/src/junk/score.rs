//! What the words of a message say. Row JK-06.

use super::{Count, Filter};
use libmox_service::config::JunkFilterConfig;

/// The outcome.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Score {
    /// That it is junk.
    pub probability: f64,
    /// Whether enough was learnt to say so.
    pub significant: bool,
    /// The words that spoke loudest for no junk, and how.
    pub ham: Vec<(u32, f64)>,
    /// And for junk.
    pub junk: Vec<(u32, f64)>,
}

/// Naive Bayes over the words that say most.
pub fn score(
    config: &JunkFilterConfig,
    filter: &Filter,
    words: &[u32],
    mut count: impl FnMut(u32) -> Option<Count>,
) -> Score {
    let (mut ham, mut junk) = (Vec::new(), Vec::new());
    for word in words {
        let Some(count) = count(*word) else { continue };
        if let Some(weight) = weight(config, filter, count) {
            if weight < 0.5 { ham.push((*word, weight)) } else { junk.push((*word, weight)) }
        }
    }
    let strongest = |all: &mut Vec<(u32, f64)>| {
        let by = |a: &(u32, f64), b: &(u32, f64)| {
            (b.1 - 0.5).abs().total_cmp(&(a.1 - 0.5).abs()).then(a.0.cmp(&b.0))
        };
        if all.len() > config.top_words {
            all.select_nth_unstable_by(config.top_words, by);
            all.truncate(config.top_words);
        }
        all.sort_unstable_by(by);
    };
    strongest(&mut ham);
    strongest(&mut junk);
    let log: f64 = ham.iter().chain(&junk).map(|(_, weight)| (1.0 - weight).ln() - weight.ln()).sum();
    let probability = if ham.is_empty() && junk.is_empty() { 0.5 } else { 1.0 / (1.0 + log.exp()) };
    Score { probability, significant: filter.is_significant(), ham, junk }
}

/// How much a word is one of junk; none where it says nothing.
fn weight(config: &JunkFilterConfig, filter: &Filter, count: Count) -> Option<f64> {
    let share = |part: u32, of: u32| if of == 0 { 0.0 } else { f64::from(part) / f64::from(of) };
    let (junk, ham) = (share(count.junk, filter.junk), share(count.ham, filter.ham));
    if junk + ham == 0.0 {
        return None;
    }
    let mut weight = (junk / (junk + ham)).clamp(config.max_power, 1.0 - config.max_power);
    let seen = count.junk.saturating_add(count.ham);
    if seen <= config.rare_words {
        // A tenth of the way to the middle for each message that it is short of being common.
        weight += f64::from(config.rare_words + 1 - seen) * (0.5 - weight) / 10.0;
    }
    ((weight - 0.5).abs() >= config.ignore_words).then_some(weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILTER: Filter = Filter { junk: 100, ham: 100, words: 0, once: 0, generation: 0 };

    #[test]
    fn weights_of_words() {
        let config = JunkFilterConfig::default();
        for (junk, ham, want) in [
            (100, 0, Some(0.99)),
            (0, 100, Some(0.01)),
            (50, 50, None),
            (55, 45, None),
            (70, 30, Some(0.7)),
            (90, 10, Some(0.9)),
            // Rare: seen twice, one step short of three.
            (2, 0, Some(0.99 - 0.049)),
            (1, 0, Some(0.99 - 2.0 * 0.049)),
            (3, 0, Some(0.99)),
        ] {
            let got = weight(&config, &FILTER, Count { junk, ham });
            let same = match (got, want) {
                (Some(got), Some(want)) => (got - want).abs() < 1e-9,
                (got, want) => got == want,
            };
            assert!(same, "{junk} {ham}: {got:?} {want:?}");
        }
        let none = Filter::default();
        assert_eq!(weight(&config, &none, Count { junk: 1, ham: 1 }), None);
    }

    #[test]
    fn ten_words_of_each_side_decide() {
        let config = JunkFilterConfig::default();
        let of = |word: u32| {
            Some(if word < 100 { Count { junk: 100, ham: 0 } } else { Count { junk: 0, ham: 100 } })
        };
        let words: Vec<u32> = (0..30).chain(100..130).collect();
        let even = score(&config, &FILTER, &words, of);
        assert_eq!((even.ham.len(), even.junk.len()), (10, 10));
        assert!((even.probability - 0.5).abs() < 1e-9);
        assert!(score(&config, &FILTER, &words[..30], of).probability > 0.999_999);
        assert!(score(&config, &FILTER, &words[30..], of).probability < 0.000_001);
        assert_eq!(score(&config, &FILTER, &[], of).probability, 0.5);
    }

    #[test]
    fn fifty_ham_messages_make_it_significant() {
        let config = JunkFilterConfig::default();
        for (ham, want) in [(49, false), (50, true)] {
            let filter = Filter { ham, ..FILTER };
            assert_eq!(score(&config, &filter, &[], |_| None).significant, want);
        }
    }
}
