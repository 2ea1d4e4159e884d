//! What the words of a message say: twice, as neither way of asking is enough to refuse somebody's mail.
//!
//! Row JK-06: naive Bayes over the ten words of each side that say most. It takes words to be independent, so what a
//! newsletter and junk both say at the end ("click here", "remove", "receive") convinces it ten times, and what else a
//! letter says is not heard. So all words that say anything are asked as well, with Fisher's method (Robinson, "A
//! statistical approach to the spam problem", Linux Journal 107, 2003): how likely words as one-sided as these are by
//! chance, for junk and for no junk. A word seen in few messages counts by as much as these can prove.

use super::{Count, Filter};
use libmox_service::config::JunkFilterConfig;

/// The outcome.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Score {
    /// That it is junk, by the words that say most.
    pub probability: f64,
    /// And by all of them.
    pub of_all: f64,
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
    let mut all = Fisher::default();
    for word in words {
        let Some(count) = count(*word) else { continue };
        all.hear(config, filter, count);
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
    Score { probability, of_all: all.indicator(), significant: filter.is_significant(), ham, junk }
}

/// The share of junk among messages with a word, as if as many of each kind had been learnt.
fn share(filter: &Filter, count: Count) -> Option<f64> {
    let share = |part: u32, of: u32| if of == 0 { 0.0 } else { f64::from(part) / f64::from(of) };
    let (junk, ham) = (share(count.junk, filter.junk), share(count.ham, filter.ham));
    (junk + ham > 0.0).then(|| junk / (junk + ham))
}

/// How much a word is one of junk; none where it says nothing.
fn weight(config: &JunkFilterConfig, filter: &Filter, count: Count) -> Option<f64> {
    let mut weight = share(filter, count)?.clamp(config.max_power, 1.0 - config.max_power);
    let seen = count.junk.saturating_add(count.ham);
    if seen <= config.rare_words {
        // A tenth of the way to the middle for each message that it is short of being common.
        weight += f64::from(config.rare_words + 1 - seen) * (0.5 - weight) / 10.0;
    }
    ((weight - 0.5).abs() >= config.ignore_words).then_some(weight)
}

/// What is believed of a word before it was seen, in messages. It lies in the middle.
const BELIEF: f64 = 1.0;

/// All words of a message together.
#[derive(Default)]
struct Fisher {
    words: u32,
    /// Sums of logarithms.
    junk: f64,
    ham: f64,
}

impl Fisher {
    fn hear(&mut self, config: &JunkFilterConfig, filter: &Filter, count: Count) {
        let Some(share) = share(filter, count) else { return };
        let seen = f64::from(count.junk.saturating_add(count.ham));
        // Neither 0 nor 1, as something was believed before.
        let weight = (BELIEF * 0.5 + seen * share) / (BELIEF + seen);
        if (weight - 0.5).abs() >= config.ignore_words {
            self.words += 1;
            self.junk += weight.ln();
            self.ham += (1.0 - weight).ln();
        }
    }

    /// 1 for junk, 0 for no junk, the middle where both or neither could be.
    fn indicator(&self) -> f64 {
        let (junk, ham) = (chance(-self.junk, self.words), chance(-self.ham, self.words));
        f64::midpoint(1.0, junk - ham)
    }
}

/// How likely the sum of so many numbers of which minus the logarithm was taken is at least this, were they drawn at
/// random: the upper tail of chi-square for twice the sum and twice as many degrees of freedom.
fn chance(sum: f64, of: u32) -> f64 {
    // e^-sum times the terms sum^i / i!; the exponent is kept aside, as either may be too large for a number.
    let (mut term, mut terms, mut exponent) = (1.0_f64, 0.0_f64, -sum);
    for i in 1..=of {
        terms += term;
        term *= sum / f64::from(i);
        if terms > 1e200 {
            (term, terms, exponent) =
                (term * 1e-200, terms * 1e-200, exponent + 200.0 * std::f64::consts::LN_10);
        }
    }
    if of == 0 { 1.0 } else { (terms.ln() + exponent).exp().min(1.0) }
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

    #[track_caller]
    fn near(got: f64, want: f64) {
        assert!((got - want).abs() < 5e-4, "{got} {want}");
    }

    /// Against tables of the chi-square distribution: x = 2 * sum, 2 * of degrees of freedom.
    #[test]
    fn chances_are_those_of_the_tables() {
        for (x, of, want) in [
            (5.991, 1, 0.05),
            (9.488, 2, 0.05),
            (23.209, 5, 0.01),
            (124.342, 50, 0.05),
            (0.0, 3, 1.0),
            (0.0, 0, 1.0),
        ] {
            near(chance(x / 2.0, of), want);
        }
        // As many words as a message may have, all as sure as can be: no number overflows.
        near(chance(3_000.0 * 12.0, 3_000), 0.0);
        near(chance(3_000.0 * 1e-6, 3_000), 1.0);
        near(chance(3_000.0, 3_000), 0.4976);
    }

    #[test]
    fn all_words_speak_and_not_ten_alone() {
        let config = JunkFilterConfig::default();
        let of = |word: u32| {
            Some(match word {
                // What newsletters and junk say.
                0..10 => Count { junk: 60, ham: 10 },
                // What only good mail says, each a little.
                10..100 => Count { junk: 10, ham: 20 },
                _ => Count { junk: 90, ham: 10 },
            })
        };
        let letter: Vec<u32> = (0..100).collect();
        let judged = score(&config, &FILTER, &letter, of);
        assert!(judged.probability > 0.95 && judged.of_all < 0.3, "{judged:?}");
        let junk: Vec<u32> = (100..130).collect();
        let judged = score(&config, &FILTER, &junk, of);
        assert!(judged.probability > 0.999_999 && judged.of_all > 0.999, "{judged:?}");
        near(score(&config, &FILTER, &[], of).of_all, 0.5);
        // Four words of one earlier message prove little, though they convince who only looks at their shares.
        let judged = score(&config, &FILTER, &[1, 2, 3, 4], |_| Some(Count { junk: 1, ham: 0 }));
        assert!(judged.probability > 0.99 && judged.of_all < 0.9, "{judged:?}");
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
