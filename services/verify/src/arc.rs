//! Whether the ARC fields of a message are a chain at all, looked at before the library looks at signatures: it passes
//! over fields it cannot read, and over tags that stand twice or not at all.
//!
//! Law: RFC 8617 §4.1 and §5.2 (what a set holds), RFC 6376 §3.2 (lists of tags).
//! Fails with: a word on what is wrong; such a chain failed.

use libmox_types::Domain;

/// What ARC fields there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fields {
    /// None.
    None,
    /// So many sets.
    Sets(usize),
    /// Some, but no chain.
    Broken(&'static str),
}

/// Tags that must be there, by field.
const SEAL: (&[u8], &[&str]) = (b"arc-seal", &["i", "a", "b", "cv", "d", "s"]);
const SIGNATURE: (&[u8], &[&str]) = (b"arc-message-signature", &["i", "a", "b", "bh", "d", "h", "s"]);
const RESULTS: &[u8] = b"arc-authentication-results";

/// Looks at them; of too many only at the first.
pub fn look<'a>(headers: impl Iterator<Item = (&'a [u8], &'a [u8])>, most: usize) -> Fields {
    let mut counts = [0usize; 3];
    for (name, value) in headers {
        let name = name.trim_ascii();
        let kind = [SEAL.0, SIGNATURE.0, RESULTS].iter().position(|kind| name.eq_ignore_ascii_case(kind));
        let Some(kind) = kind else { continue };
        counts[kind] += 1;
        if counts[kind] > most {
            return Fields::Sets(counts[kind]);
        }
        let wanted = match kind {
            0 => SEAL.1,
            1 => SIGNATURE.1,
            _ => continue,
        };
        if let Some(what) = flaw(value, wanted) {
            return Fields::Broken(what);
        }
    }
    match counts {
        [0, 0, 0] => Fields::None,
        [seals, signatures, results] if seals == signatures && seals == results => Fields::Sets(seals),
        // RFC 8617 §5.2 step 3 A: each set has one of each.
        _ => Fields::Broken("a set is not complete"),
    }
}

fn flaw(value: &[u8], wanted: &[&str]) -> Option<&'static str> {
    let Ok(text) = std::str::from_utf8(value) else { return Some("a field is no text") };
    let Some(tags) = tags(text) else { return Some("a field is no list of tags") };
    let of = |name: &str| tags.iter().find(|(tag, _)| *tag == name).map(|(_, value)| *value);
    if wanted.iter().any(|name| of(name).is_none_or(str::is_empty)) {
        return Some("a tag is missing");
    }
    if of("d").is_some_and(|domain| Domain::parse(domain).is_err()) {
        return Some("d= is no domain");
    }
    // RFC 8617 §4.1.2: a seal covers the signature, not the other way round.
    let signed = of("h").unwrap_or_default();
    if signed.split(':').any(|field| field.trim().eq_ignore_ascii_case("arc-seal")) {
        return Some("h= names ARC-Seal");
    }
    None
}

/// RFC 6376 §3.2: names are case-sensitive, and stand once; only the last semicolon may be followed by nothing.
fn tags(text: &str) -> Option<Vec<(&str, &str)>> {
    let text = text.trim();
    let mut tags: Vec<(&str, &str)> = Vec::new();
    for part in text.strip_suffix(';').unwrap_or(text).split(';') {
        let (name, value) = part.split_once('=')?;
        let name = name.trim();
        let starts = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic());
        let alike = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !starts || !alike || tags.len() >= TAGS || tags.iter().any(|(other, _)| *other == name) {
            return None;
        }
        tags.push((name, value.trim()));
    }
    Some(tags)
}

/// Tags of one field: the laws have 14.
const TAGS: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    const SEAL: &str = " i=1; a=rsa-sha256; cv=none; d=a.example; s=s; b=AAAA\r\n\tBBBB;";
    const SIGNED: &str = " i=1; a=rsa-sha256; d=a.example; s=s; h=from:to; bh=AA; b=AA";

    #[track_caller]
    fn finds(fields: &[(&str, &str)], want: Fields) {
        let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        assert_eq!(look(fields, 3), want);
    }

    #[test]
    fn sets_are_whole_and_tags_stand_once() {
        let results = ("ARC-Authentication-Results", " i=1; mx.example; dmarc=pass");
        let (seal, signed) = (("ARC-Seal", SEAL), ("arc-message-signature ", SIGNED));
        finds(&[("Subject", "x")], Fields::None);
        finds(&[seal, signed, results], Fields::Sets(1));
        finds(&[seal, results], Fields::Broken("a set is not complete"));
        finds(&[results], Fields::Broken("a set is not complete"));
        finds(&[seal; 5], Fields::Sets(4));
        for (before, after, want) in [
            ("cv=none;", "", "a tag is missing"),
            ("d=a.example", "d=", "a tag is missing"),
            ("d=a.example", "d=***", "d= is no domain"),
            ("s=s;", "S=s;", "a tag is missing"),
            ("s=s;", "s=s;;", "a field is no list of tags"),
            ("s=s;", "s=s; s=s;", "a field is no list of tags"),
            ("s=s;", "s=s; _=;", "a field is no list of tags"),
            ("s=s;", "s=s; nothing;", "a field is no list of tags"),
        ] {
            let broken = SEAL.replace(before, after);
            finds(&[("ARC-Seal", &broken), signed, results], Fields::Broken(want));
        }
        let signed = SIGNED.replace("h=from", "h=ARC-Seal : from");
        finds(&[seal, ("ARC-Message-Signature", &signed), results], Fields::Broken("h= names ARC-Seal"));
    }
}
