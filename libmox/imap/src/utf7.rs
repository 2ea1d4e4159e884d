//! Mailbox names in modified UTF-7.
//!
//! Law: RFC 3501 §5.1.3, with RFC 2152 for the rules it changes. One name has one spelling only.
//! Does not know: which names are allowed.
//! Fails with: [`Utf7Fault`].

/// Not the one valid spelling of any name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("mailbox name is not valid modified UTF-7")]
pub struct Utf7Fault;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

/// Reads a name. Strict: no name is taken verbatim because it would not decode (row IM-05).
pub fn decode(text: &[u8]) -> Result<String, Utf7Fault> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut just_shifted = false;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'&' {
            if !(0x20..0x7f).contains(&byte) {
                return Err(Utf7Fault);
            }
            out.push(char::from(byte));
            just_shifted = false;
            continue;
        }
        let end = rest.iter().position(|&b| b == b'-').ok_or(Utf7Fault)?;
        let coded = &rest[..end];
        rest = &rest[end + 1..];
        if coded.is_empty() {
            out.push('&');
            just_shifted = false;
            continue;
        }
        // RFC 3501 §5.1.3: no superfluous shift.
        if just_shifted {
            return Err(Utf7Fault);
        }
        just_shifted = true;
        decode_shifted(coded, &mut out)?;
    }
    Ok(out)
}

fn decode_shifted(coded: &[u8], out: &mut String) -> Result<(), Utf7Fault> {
    let (mut bits, mut held) = (0_u32, 0_u32);
    let mut high: Option<u32> = None;
    for &byte in coded {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b',' => 63,
            _ => return Err(Utf7Fault),
        };
        bits = (bits << 6) | u32::from(value);
        held += 6;
        if held < 16 {
            continue;
        }
        held -= 16;
        let unit = bits >> held;
        bits &= (1 << held) - 1;
        let scalar = match (high.take(), unit) {
            (None, 0xD800..=0xDBFF) => {
                high = Some(unit);
                continue;
            }
            (None, unit) => unit,
            (Some(high), 0xDC00..=0xDFFF) => 0x1_0000 + ((high - 0xD800) << 10) + (unit - 0xDC00),
            (Some(_), _) => return Err(Utf7Fault),
        };
        let c = char::from_u32(scalar).ok_or(Utf7Fault)?;
        // Printable ASCII stands for itself.
        if (' '..='~').contains(&c) {
            return Err(Utf7Fault);
        }
        out.push(c);
    }
    // Left over: less than a sextet, all zero.
    if high.is_some() || held >= 6 || bits != 0 { Err(Utf7Fault) } else { Ok(()) }
}

/// Writes a name.
pub fn encode(name: &str, out: &mut Vec<u8>) {
    let mut rest = name;
    while !rest.is_empty() {
        let plain = rest.find(|c: char| !(' '..='~').contains(&c)).unwrap_or(rest.len());
        for byte in rest[..plain].bytes() {
            out.push(byte);
            if byte == b'&' {
                out.push(b'-');
            }
        }
        rest = &rest[plain..];
        let coded = rest.find(|c: char| (' '..='~').contains(&c)).unwrap_or(rest.len());
        if coded > 0 {
            encode_shifted(&rest[..coded], out);
        }
        rest = &rest[coded..];
    }
}

fn encode_shifted(text: &str, out: &mut Vec<u8>) {
    out.push(b'&');
    let (mut bits, mut held) = (0_u32, 0_u32);
    for unit in text.encode_utf16() {
        bits = (bits << 16) | u32::from(unit);
        held += 16;
        while held >= 6 {
            held -= 6;
            out.push(ALPHABET[(bits >> held & 63) as usize]);
        }
        bits &= (1 << held) - 1;
    }
    if held > 0 {
        out.push(ALPHABET[(bits << (6 - held) & 63) as usize]);
    }
    out.push(b'-');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn reads(wire: &str, want: Option<&str>) {
        let got = decode(wire.as_bytes()).ok();
        assert_eq!(got.as_deref(), want, "{wire:?}");
        if let Some(name) = got {
            let mut out = Vec::new();
            encode(&name, &mut out);
            assert_eq!(out, wire.as_bytes(), "{name:?} has one spelling");
        }
    }

    #[test]
    fn a_name_has_one_spelling() {
        reads("", Some(""));
        reads("INBOX", Some("INBOX"));
        reads("~peter/mail/&U,BTFw-/&ZeVnLIqe-", Some("~peter/mail/台北/日本語")); // RFC 3501 §5.1.3
        reads("&Jjo-!", Some("☺!"));
        reads("a&-b", Some("a&b"));
        reads("&-&-", Some("&&"));
        reads("&2D3cig-", Some("💊"));
        reads("&AOQ-&-&AOQ-", Some("ä&ä"));
    }

    #[test]
    fn anything_else_is_a_fault() {
        for wire in [
            "&",
            "a&b",
            "&U,BTFw-&ZeVnLIqe-",
            "&AGEA-",
            "&AGE-",
            "&Jjp-",
            "&Jjo=-",
            "&2D0-",
            "&3co-",
            "&JjoA-",
            "&A-",
            "&/////-",
            "ä",
            "a\u{7f}",
            "a\u{1}",
            "&Jjo",
        ] {
            reads(wire, None);
        }
        reads("a\u{9}b", None);
    }
}
