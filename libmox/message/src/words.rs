//! Encoded words in header fields, and bytes of a named charset as text.
//!
//! Law: RFC 2047, RFC 2231 §5 (language in an encoded word); row TM-10: what is broken stays readable.
//! Fails with: nothing.

use crate::transfer::Base64;
use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};

/// The text of an unstructured field or a phrase: encoded words decoded, raw bytes taken as UTF-8 or else
/// windows-1252.
#[must_use]
pub fn decode_words(raw: &[u8]) -> String {
    let mut out = String::with_capacity(raw.len());
    // Bytes of neighbouring words in one charset: senders split characters between words.
    let mut run: Option<(&'static Encoding, Vec<u8>)> = None;
    let mut rest = raw;
    while !rest.is_empty() {
        if rest.starts_with(b"=?")
            && let Some((word, after)) = read_word(rest)
        {
            match &mut run {
                Some((encoding, bytes)) if *encoding == word.encoding => bytes.extend_from_slice(&word.bytes),
                _ => {
                    flush(&mut run, &mut out);
                    run = Some((word.encoding, word.bytes));
                }
            }
            // White space between two encoded words is not part of the text (RFC 2047 §6.2).
            let gap = after.len() - after.trim_ascii_start().len();
            let next_is_word = after[gap..].starts_with(b"=?") && read_word(&after[gap..]).is_some();
            rest = if next_is_word { &after[gap..] } else { after };
            continue;
        }
        flush(&mut run, &mut out);
        // Up to the next possible word; at least one byte.
        let until = memchr::memmem::find(&rest[1..], b"=?").map_or(rest.len(), |at| at + 1);
        out.push_str(&plain_text(&rest[..until]));
        rest = &rest[until..];
    }
    flush(&mut run, &mut out);
    out
}

fn flush(run: &mut Option<(&'static Encoding, Vec<u8>)>, out: &mut String) {
    if let Some((encoding, bytes)) = run.take() {
        out.push_str(&encoding.decode_without_bom_handling(&bytes).0);
    }
}

struct Word {
    encoding: &'static Encoding,
    bytes: Vec<u8>,
}

/// `=?charset*lang?Q?text?=`; None where it is not one, or in a charset nobody knows.
fn read_word(raw: &[u8]) -> Option<(Word, &[u8])> {
    let inner = raw.strip_prefix(b"=?")?;
    // A word has 75 octets; longer ones are common, endless ones are not looked for.
    let inner = &inner[..inner.len().min(2_000)];
    let charset_end = memchr::memchr(b'?', inner)?;
    let charset = &inner[..charset_end];
    let charset = charset.split(|&b| b == b'*').next().unwrap_or(charset);
    let [coding, b'?', ..] = inner[charset_end + 1..] else { return None };
    let text_start = charset_end + 3;
    let text_len = memchr::memmem::find(&inner[text_start..], b"?=")?;
    let text = &inner[text_start..text_start + text_len];
    if charset.is_empty() || charset.iter().any(u8::is_ascii_whitespace) {
        return None;
    }
    let encoding = charset_named(charset)?;
    let bytes = match coding {
        b'b' | b'B' => {
            let mut out = Vec::new();
            let mut decoder = Base64::default();
            decoder.feed(text, &mut out);
            decoder.finish(&mut out);
            out
        }
        b'q' | b'Q' => decode_q(text),
        _ => return None,
    };
    // `raw` again, because `inner` was cut.
    Some((Word { encoding, bytes }, &raw[2 + text_start + text_len + 2..]))
}

/// RFC 2047 §4.2.
fn decode_q(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'_' => out.push(b' '),
            b'=' => match after {
                [a, b, tail @ ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => {
                    let digit =
                        |d: u8| char::from(d).to_digit(16).and_then(|d| u8::try_from(d).ok()).unwrap_or(0);
                    out.push(digit(*a) << 4 | digit(*b));
                    rest = tail;
                }
                _ => out.push(b'='),
            },
            byte => out.push(byte),
        }
    }
    out
}

/// The charset of a label. US-ASCII is read as UTF-8: that is what mislabelled mail holds.
#[must_use]
pub fn charset_named(label: &[u8]) -> Option<&'static Encoding> {
    let label = label.trim_ascii();
    if label.eq_ignore_ascii_case(b"us-ascii") || label.eq_ignore_ascii_case(b"ascii") {
        return Some(UTF_8);
    }
    Encoding::for_label_no_replacement(label)
}

/// Raw bytes as text: UTF-8 if it is, else windows-1252.
#[must_use]
pub fn plain_text(raw: &[u8]) -> std::borrow::Cow<'_, str> {
    match std::str::from_utf8(raw) {
        Ok(text) => text.into(),
        Err(_) => WINDOWS_1252.decode_without_bom_handling(raw).0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn reads(raw: &[u8], want: &str) {
        assert_eq!(decode_words(raw), want, "{:?}", String::from_utf8_lossy(raw));
    }

    #[test]
    fn the_examples_of_rfc_2047_section_8() {
        reads(b"=?ISO-8859-1?Q?a?=", "a");
        reads(b"=?ISO-8859-1?Q?a?= b", "a b");
        reads(b"=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab");
        reads(b"=?ISO-8859-1?Q?a?=  =?ISO-8859-1?Q?b?=", "ab");
        reads(b"=?ISO-8859-1?Q?a_b?=", "a b");
        reads(b"=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=", "a b");
        reads(b"=?ISO-8859-1?Q?Patrik_F=E4ltstr=F6m?=", "Patrik F\u{e4}ltstr\u{f6}m");
    }

    #[test]
    fn broken_words_stay_readable() {
        // TM-10
        reads(b"=?utf-8?B?ww?= =?utf-8?B?qQ==?=", "\u{e9}");
        reads(b"=?utf-8?q?=C3?= =?utf-8?q?=A9?=", "\u{e9}");
        reads(b"=?utf-8*en?Q?x?=y", "xy");
        reads(b"=?nosuch?Q?x?=", "=?nosuch?Q?x?=");
        reads(b"=?utf-8?X?x?=", "=?utf-8?X?x?=");
        reads(b"=?utf-8?Q?open", "=?utf-8?Q?open");
        reads(b"=?=?=?", "=?=?=?");
        reads(b"caf\xc3\xa9 caf\xe9", "caf\u{c3}\u{a9} caf\u{e9}");
        reads(b"=?utf-8?Q?=zz=4?=", "=zz=4");
    }
}
