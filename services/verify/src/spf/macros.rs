//! Macro strings. RFC 7208 §7.

/// A piece of a macro string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    Text(String),
    Macro(Macro),
}

/// `%{...}`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Macro {
    /// Lower case.
    pub letter: char,
    /// The letter was upper case: the value is escaped as in a URL.
    pub escaped: bool,
    /// Parts from the right that are kept.
    pub keep: Option<usize>,
    pub reverse: bool,
    /// What the value is split at.
    pub delimiters: String,
}

/// Which letters are allowed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Where {
    Domain,
    /// The text of an explanation, which knows three more.
    Explanation,
}

/// Reads a macro string; none if it is not one.
pub fn parse(text: &str, place: Where) -> Option<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '%' {
            let good = matches!(c, '!'..='~') || (place == Where::Explanation && c == ' ');
            literal.push(good.then_some(c)?);
            continue;
        }
        match rest.next()? {
            '%' => literal.push('%'),
            '_' => literal.push(' '),
            '-' => literal.push_str("%20"),
            '{' => {
                let (inner, after) = rest.as_str().split_once('}')?;
                if !literal.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut literal)));
                }
                pieces.push(Piece::Macro(one(inner, place)?));
                rest = after.chars();
            }
            _ => return None,
        }
    }
    if !literal.is_empty() {
        pieces.push(Piece::Text(literal));
    }
    Some(pieces)
}

fn one(inner: &str, place: Where) -> Option<Macro> {
    let mut chars = inner.chars();
    let letter = chars.next()?;
    let lower = letter.to_ascii_lowercase();
    let known = "slodiphv".contains(lower) || (place == Where::Explanation && "crt".contains(lower));
    if !known {
        return None;
    }
    let rest = chars.as_str();
    let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let keep = match &rest[..digits] {
        "" => None,
        number => Some(number.parse().ok().filter(|keep| *keep > 0)?),
    };
    let rest = &rest[digits..];
    let (reverse, delimiters) = match rest.strip_prefix(['r', 'R']) {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    if !delimiters.chars().all(|c| ".-+,/_=".contains(c)) {
        return None;
    }
    let delimiters = if delimiters.is_empty() { "." } else { delimiters }.to_owned();
    Some(Macro { letter: lower, escaped: letter.is_ascii_uppercase(), keep, reverse, delimiters })
}

impl Macro {
    /// The value after its transformers.
    pub fn apply(&self, value: &str) -> String {
        let mut parts: Vec<&str> = value.split(|c| self.delimiters.contains(c)).collect();
        if self.reverse {
            parts.reverse();
        }
        if let Some(keep) = self.keep {
            parts.drain(..parts.len().saturating_sub(keep));
        }
        let joined = parts.join(".");
        if !self.escaped {
            return joined;
        }
        let mut out = String::with_capacity(joined.len());
        for byte in joined.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                out.push(char::from(byte));
            } else {
                out.push_str(&format!("%{byte:02X}"));
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7208 §7.4.
    #[test]
    fn the_examples_of_the_law() {
        let of = |text: &str, value: &str| match parse(text, Where::Domain).as_deref() {
            Some([Piece::Macro(one)]) => one.apply(value),
            other => panic!("{text}: {other:?}"),
        };
        for (text, value, want) in [
            ("%{o}", "email.example.com", "email.example.com"),
            ("%{d4}", "email.example.com", "email.example.com"),
            ("%{d2}", "email.example.com", "example.com"),
            ("%{d1}", "email.example.com", "com"),
            ("%{dr}", "email.example.com", "com.example.email"),
            ("%{d2r}", "email.example.com", "example.email"),
            ("%{l-}", "strong-bad", "strong.bad"),
            ("%{lr}", "strong-bad", "strong-bad"),
            ("%{lr-}", "strong-bad", "bad.strong"),
            ("%{l1r-}", "strong-bad", "strong"),
            ("%{S}", "a b@c", "a%20b%40c"),
        ] {
            assert_eq!(of(text, value), want, "{text}");
        }
        for wrong in ["%", "%a", "%{", "%{}", "%{x}", "%{c}", "%{d0}", "%{d:}", "a b", "é"] {
            assert_eq!(parse(wrong, Where::Domain), None, "{wrong}");
        }
        assert!(parse("%{c} and %{t}", Where::Explanation).is_some());
    }
}
