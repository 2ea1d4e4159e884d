//! Passwords that no person chose. Row AU-19.

use crate::clock;

/// Characters of one.
const LENGTH: usize = 12;

/// 12 characters without look-alikes: about 69 bits.
#[must_use]
pub fn made() -> String {
    const LETTERS: &[u8; 54] = b"abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ346789";
    (0..LENGTH)
        .map(|_| {
            let at = usize::try_from(clock::random_u64() % LETTERS.len() as u64).unwrap_or(0);
            char::from(LETTERS[at])
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_long_and_differ() {
        let (one, other) = (made(), made());
        assert_eq!(one.len(), 12);
        assert_ne!(one, other);
    }
}
