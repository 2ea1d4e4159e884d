//! List patterns: `*` is anything, `%` anything within one level.
//!
//! Law: RFC 9051 §6.3.9. `INBOX` at the first level matches in any case.
//! Does not know: which mailboxes exist.
//! Cost: for each octet of the name one step per 64 octets of pattern, whatever the pattern is.

use crate::limits;

/// A pattern made ready: one bit per position, moved along the name all at once.
#[derive(Debug)]
pub struct Pattern {
    /// 64-bit words in a set of positions.
    words: usize,
    /// For each octet, the positions whose literal it is.
    literal: Vec<u64>,
    /// Positions of `*`, and those of `*` and `%`.
    star: Vec<u64>,
    wild: Vec<u64>,
    /// The position behind the last token.
    end: usize,
}

impl Pattern {
    /// Takes the decoded pattern, reference already in front. Over-long ones match nothing.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut tokens: Vec<u8> = Vec::with_capacity(text.len().min(limits::PATTERN));
        for byte in text.bytes() {
            match (tokens.last(), byte) {
                // Neighbouring wildcards are as good as their widest.
                (Some(b'*'), b'*' | b'%') | (Some(b'%'), b'%') => {}
                (Some(b'%'), b'*') => {
                    tokens.pop();
                    // `*%*` has already shrunk to `*`, so what is before this is no wildcard.
                    tokens.push(b'*');
                }
                _ => tokens.push(byte),
            }
        }
        // Longer than any name has literals: a NUL is in no name.
        if tokens.len() > limits::PATTERN * 2 {
            tokens = vec![0];
        }
        let words = tokens.len() / 64 + 1;
        let mut this = Self {
            words,
            literal: vec![0; words * 256],
            star: vec![0; words],
            wild: vec![0; words],
            end: tokens.len(),
        };
        for (at, &token) in tokens.iter().enumerate() {
            let (word, bit) = (at / 64, 1_u64 << (at % 64));
            match token {
                b'*' => {
                    this.star[word] |= bit;
                    this.wild[word] |= bit;
                }
                b'%' => this.wild[word] |= bit,
                byte => this.literal[usize::from(byte) * words + word] |= bit,
            }
        }
        this
    }

    /// Whether the whole name matches.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let bytes = name.as_bytes();
        let inbox = name.split('/').next().is_some_and(|first| first.eq_ignore_ascii_case("inbox"));
        let mut active = vec![0_u64; self.words];
        let mut next = vec![0_u64; self.words];
        active[0] = 1;
        self.pass_wildcards(&mut active);
        for (at, &byte) in bytes.iter().enumerate() {
            let keep = if byte == b'/' { &self.star } else { &self.wild };
            let fold = inbox && at < 5;
            let mut carry = 0;
            for word in 0..self.words {
                let mut literal = self.literal[usize::from(byte) * self.words + word];
                if fold {
                    literal |= self.literal[usize::from(byte ^ 0x20) * self.words + word];
                }
                let step = active[word] & literal;
                next[word] = (step << 1) | carry | (active[word] & keep[word]);
                carry = step >> 63;
            }
            std::mem::swap(&mut active, &mut next);
            self.pass_wildcards(&mut active);
            if active.iter().all(|&word| word == 0) {
                return false;
            }
        }
        active[self.end / 64] >> (self.end % 64) & 1 == 1
    }

    /// A wildcard may match nothing. Two never stand side by side, so one step reaches all.
    fn pass_wildcards(&self, active: &mut [u64]) {
        let mut carry = 0;
        for (word, active) in active.iter_mut().enumerate() {
            let pass = *active & self.wild[word];
            *active |= (pass << 1) | carry;
            carry = pass >> 63;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn matches(pattern: &str, yes: &[&str], no: &[&str]) {
        let compiled = Pattern::new(pattern);
        for name in yes {
            assert!(compiled.matches(name), "{pattern:?} takes {name:?}");
        }
        for name in no {
            assert!(!compiled.matches(name), "{pattern:?} refuses {name:?}");
        }
    }

    #[test]
    fn wildcards_know_their_levels() {
        matches("*", &["", "a", "a/b/c"], &[]);
        matches("%", &["a", "Archive"], &["a/b", "/"]);
        matches("%/%", &["a/b"], &["a", "a/b/c"]);
        matches("a*b", &["ab", "a/x/b", "abb"], &["a", "abc"]);
        matches("a%b%", &["ab", "axbx"], &["a/b", "ab/"]);
        matches("%*%%**%", &["a/b", ""], &[]);
        matches("a/%", &["a/b", "a/"], &["a", "a/b/c"]);
        matches("INBOX", &["Inbox", "INBOX", "inbox"], &["Inboxes", "Inbox/a"]);
        matches("inb*", &["Inbox", "Inbox/a", "inboxes"], &["INBOXES"]);
        matches("inbox/A", &["Inbox/A"], &["Inbox/a"]);
        matches("", &[""], &["a"]);
        matches("日%", &["日本語"], &["本"]);
        let long = "x".repeat(130);
        matches(&format!("*{long}%"), &[&format!("a/{long}b")], &[&format!("a/{long}/b"), &long[1..]]);
    }

    #[test]
    fn it_agrees_with_the_plain_definition() {
        fn plain(p: &[u8], n: &[u8]) -> bool {
            match (p.split_first(), n.split_first()) {
                (None, None) => true,
                (Some((b'*', rest)), _) if plain(rest, n) => true,
                (Some((b'*', _)), Some((_, n))) => plain(p, n),
                (Some((b'%', rest)), _) if plain(rest, n) => true,
                (Some((b'%', _)), Some((c, n))) => *c != b'/' && plain(p, n),
                (Some((a, p)), Some((b, n))) => a == b && plain(p, n),
                _ => false,
            }
        }
        let mut seed = 7_u32;
        let mut pick = |alphabet: &[u8], length: u32| -> String {
            (0..length)
                .map(|_| {
                    seed = seed.wrapping_mul(1_103_515_245).wrapping_add(12345);
                    char::from(alphabet[(seed >> 16) as usize % alphabet.len()])
                })
                .collect()
        };
        for round in 0..6_000_u32 {
            let (p, n) = (pick(b"ab/*%", round % 9), pick(b"ab/", round / 9 % 9));
            assert_eq!(Pattern::new(&p).matches(&n), plain(p.as_bytes(), n.as_bytes()), "{p:?} {n:?}");
        }
    }

    #[test]
    fn a_hostile_pattern_costs_no_more() {
        let pattern = Pattern::new(&"*a%a".repeat(500));
        let name = "a".repeat(1000);
        for _ in 0..200 {
            assert!(!pattern.matches(&name) || name.len() >= 1000);
        }
        assert!(!Pattern::new(&"a".repeat(5000)).matches(&name));
    }
}
