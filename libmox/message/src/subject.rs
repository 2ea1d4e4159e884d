//! The subject without what replies and lists put around it, and identifiers for threading.
//!
//! Law: RFC 5256 §2.1 in spirit; row ST-34 widens it by the prefixes of other languages.

use crate::limits;

/// Marks of replies and forwards, in the languages seen most.
const PREFIXES: [&str; 22] = [
    "re", "fw", "fwd", "aw", "wg", "sv", "vs", "vb", "antw", "rv", "tr", "res", "enc", "odp", "pd", "ynt",
    "ilt", "r", "i", "ref", "rif", "回复",
];

/// The base subject in lower case with single spaces, and whether anything marked it as an answer.
#[must_use]
pub fn base(subject: &str) -> (String, bool) {
    let mut text = String::with_capacity(subject.len());
    for word in subject.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if !text.is_empty() {
            text.push(' ');
        }
        text.extend(word.chars().flat_map(char::to_lowercase));
    }
    let mut rest = text.as_str();
    let mut answer = false;
    loop {
        let before = rest;
        while let Some(cut) = rest.strip_suffix("(fwd)") {
            rest = cut.trim_end();
            answer = true;
        }
        if let Some(inner) = rest.strip_prefix("[fwd:").and_then(|inner| inner.strip_suffix(']')) {
            rest = inner.trim();
            answer = true;
        }
        if let Some(after) = without_prefix(rest) {
            rest = after;
            answer = true;
        } else if let Some(after) = without_tag(rest) {
            rest = after;
        }
        if rest.len() == before.len() {
            return (rest.to_string(), answer);
        }
    }
}

/// `re:`, `re[2]:`, `re :`.
fn without_prefix(text: &str) -> Option<&str> {
    let colon = text.find([':', '\u{ff1a}'])?;
    let head = text[..colon].trim_end();
    let word = match head.strip_suffix(']').or_else(|| head.strip_suffix(')')) {
        Some(inner) => {
            let open = inner.rfind(['[', '('])?;
            let count = &inner[open + 1..];
            if count.is_empty() || !count.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            inner[..open].trim_end()
        }
        None => head,
    };
    let colon_len = text[colon..].chars().next().map_or(1, char::len_utf8);
    PREFIXES.contains(&word).then(|| text[colon + colon_len..].trim_start())
}

/// `[tag] rest`, unless nothing would be left.
fn without_tag(text: &str) -> Option<&str> {
    let close = text.strip_prefix('[')?.find(']')?;
    let rest = text[close + 2..].trim_start();
    (!rest.is_empty()).then_some(rest)
}

/// The first Message-ID of a field: lower case, without `<>` and white space.
#[must_use]
pub fn message_id(field: &[u8]) -> Option<String> {
    message_ids(field).into_iter().next()
}

/// The Message-IDs of References or In-Reply-To. Of very many, the first and the last ones.
#[must_use]
pub fn message_ids(field: &[u8]) -> Vec<String> {
    let mut ids = Vec::new();
    let mut rest = field;
    while let Some(open) = memchr::memchr(b'<', rest) {
        let after = &rest[open + 1..];
        let Some(close) = memchr::memchr(b'>', after) else { break };
        // `<a <b>`: the last opening one counts.
        let start = memchr::memrchr(b'<', &after[..close]).map_or(0, |at| at + 1);
        push_id(&after[start..close], &mut ids);
        rest = &after[close + 1..];
    }
    if ids.is_empty()
        && let Some(word) = field.split(u8::is_ascii_whitespace).find(|word| word.contains(&b'@'))
    {
        let word = word.strip_prefix(b"<").unwrap_or(word);
        push_id(word.strip_suffix(b">").unwrap_or(word), &mut ids);
    }
    ids
}

fn push_id(raw: &[u8], ids: &mut Vec<String>) {
    if raw.len() > limits::MESSAGE_ID_OCTETS {
        return;
    }
    let id: String = String::from_utf8_lossy(raw)
        .chars()
        .filter(|c| !c.is_whitespace())
        .flat_map(char::to_lowercase)
        .collect();
    if id.is_empty() || ids.contains(&id) {
        return;
    }
    if ids.len() >= limits::REFERENCES {
        // The root and the nearest ancestors are the useful ones.
        ids.remove(1);
    }
    ids.push(id);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_subjects() {
        for (subject, want, answer) in [
            ("Hello  World", "hello world", false),
            ("Re: re: RE : AW: hello", "hello", true),
            ("re[2]: hello", "hello", true),
            ("[list] Re: [list] hello (fwd)", "hello", true),
            ("[Fwd: hello]", "hello", true),
            ("[fwd: [tag] re: hello]", "hello", true),
            ("[tag]", "[tag]", false),
            ("[tag] hello", "hello", false),
            ("Antw: x", "x", true),
            ("Re:", "", true),
            ("note: this", "note: this", false),
            ("", "", false),
            ("[", "[", false),
            ("]:", "]:", false),
            ("回复：你好", "你好", true),
        ] {
            assert_eq!(base(subject), (want.to_string(), answer), "{subject:?}");
        }
    }

    #[test]
    fn message_ids_in_the_wild() {
        assert_eq!(message_id(b" <ABC@Example.org> "), Some("abc@example.org".into()));
        assert_eq!(message_ids(b"<a@b>junk<c@d>\t<a@b>"), ["a@b", "c@d"]);
        assert_eq!(message_ids(b"<open <a @ b>"), ["a@b"]);
        assert_eq!(message_ids(b"bare@id"), ["bare@id"]);
        assert_eq!(message_ids(b"<>"), [""; 0]);
        assert_eq!(message_ids(b"no id here"), [""; 0]);
        let many: String = (0..500).map(|n| format!("<{n}@x>")).collect();
        let ids = message_ids(many.as_bytes());
        assert_eq!((ids.len(), ids[0].as_str(), ids[99].as_str()), (limits::REFERENCES, "0@x", "499@x"));
    }
}
