//! The fuzz bodies of `tests/fuzz` under `cargo test`: their seeds, changed at random, for a short while each.
//!
//! No coverage leads the way here, so this finds less than `make fuzz`; it finds what a change breaks at once, and it
//! costs no build of its own. Every run takes other numbers; an input that fails is printed as Rust octets, to become
//! a seed and a test.
//! Does not know: what is tried.
//! Fails with: the panic of the body, after the input.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long one target is tried; `MUTATE_MS` overrides it.
const EACH: Duration = Duration::from_millis(1500);
/// Octets of an input.
const LENGTH: usize = 4096;
/// Inputs kept besides the seeds, to change further.
const POOL: usize = 500;

/// What `libfuzzer_sys` calls the body; here a function.
#[macro_export]
macro_rules! fuzz_target {
    (|$data:ident: &[u8]| $body:block) => {
        pub fn target($data: &[u8]) $body
    };
}

/// xorshift64*: good enough to be odd.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap_or(0) % bound.max(1)
    }
}

/// Tries a body on the files of a folder and on what becomes of them. Returns how often.
///
/// # Panics
/// When the body does, or without seeds.
#[allow(clippy::disallowed_methods, reason = "a test tool reads files and the clock")]
pub fn run(seeds: &Path, target: fn(&[u8])) -> u64 {
    let files = std::fs::read_dir(seeds).unwrap_or_else(|error| panic!("{}: {error}", seeds.display()));
    let mut pool: Vec<Vec<u8>> = files.flatten().filter_map(|file| std::fs::read(file.path()).ok()).collect();
    assert!(!pool.is_empty(), "no seeds in {}", seeds.display());
    let given = std::env::var("MUTATE_MS").ok().and_then(|text| text.parse().ok());
    let until = Instant::now() + given.map_or(EACH, Duration::from_millis);
    let mut numbers = Numbers(u64::from(std::process::id()) << 32 | 1 | clock());
    for input in &pool {
        attempt(target, input);
    }
    let (mut tried, first) = (pool.len() as u64, pool.len());
    while Instant::now() < until {
        let mut input = pool[numbers.below(pool.len())].clone();
        for _ in 0..=numbers.below(4) {
            change(&mut input, &pool, &mut numbers);
        }
        input.truncate(LENGTH);
        attempt(target, &input);
        tried += 1;
        // Some are changed again, so that inputs drift away from the seeds.
        if numbers.below(8) == 0 {
            if pool.len() < first + POOL {
                pool.push(input);
            } else {
                let at = first + numbers.below(POOL);
                pool[at] = input;
            }
        }
    }
    tried
}

#[allow(clippy::disallowed_methods, reason = "other numbers each run")]
fn clock() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH);
    since.map_or(1, |since| u64::from(since.subsec_nanos()))
}

fn attempt(target: fn(&[u8]), input: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(input))) {
        #[allow(clippy::print_stderr, reason = "whoever looks at the failed test needs it")]
        {
            eprintln!("input of {} octets: b\"{}\"", input.len(), input.escape_ascii());
        }
        resume_unwind(panic);
    }
}

/// One change: what breaks parsers is what is missing, doubled, cut, or almost right.
fn change(input: &mut Vec<u8>, pool: &[Vec<u8>], numbers: &mut Numbers) {
    const WORDS: [&[u8]; 16] = [
        b"\r\n",
        b"\n",
        b"\r",
        b".",
        b" ",
        b"\"",
        b"\\",
        b"{4}\r\n",
        b"{4294967295}",
        b"(",
        b")",
        b"<",
        b">",
        b"\0",
        b"\xff",
        b"=?utf-8?q?",
    ];
    let at = numbers.below(input.len() + 1);
    let end = at + numbers.below((input.len() - at).min(64) + 1);
    match numbers.below(8) {
        0 => {
            if let Some(octet) = input.get_mut(at) {
                *octet ^= 1 << numbers.below(8);
            }
        }
        1 => {
            if let Some(octet) = input.get_mut(at) {
                *octet = numbers.next().to_le_bytes()[0];
            }
        }
        2 => drop(input.drain(at..end)),
        3 => {
            let again = input[at..end].to_vec();
            input.splice(at..at, again);
        }
        4 => {
            let word = WORDS[numbers.below(WORDS.len())];
            input.splice(at..at, word.iter().copied());
        }
        5 => input.truncate(at),
        6 => {
            let other = &pool[numbers.below(pool.len())];
            let from = numbers.below(other.len() + 1);
            let to = from + numbers.below((other.len() - from).min(256) + 1);
            input.splice(at..end, other[from..to].iter().copied());
        }
        _ => {
            let octets = [0, 1, 0x7f, 0x80, 0xff, b'\r', b'\n', b'9'];
            let octet = octets[numbers.below(octets.len())];
            let count = numbers.below(80);
            input.splice(at..at, std::iter::repeat_n(octet, count));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_breaks_is_found() {
        let folder = std::env::temp_dir().join(format!("mox-mutate-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("seed"), b"a quiet line\r\n").unwrap();
        assert!(run(&folder, |_| {}) > 1_000);
        let broken = catch_unwind(|| run(&folder, |data| assert!(!data.ends_with(b"\r\n\r\n"))));
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(broken.is_err(), "a doubled line end is not found");
    }
}
