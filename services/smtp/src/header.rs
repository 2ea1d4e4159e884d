//! Header fields as rules of accounts look at them: names and values in lower case, unfolded, words decoded.
//!
//! Law: RFC 5322 §2.2, RFC 2047. Row ST-45. Bounded by [`HEADER_OCTETS`]: what is behind it is not looked at.

use libmox_message::words::decode_words;
use libmox_store::HEADER_OCTETS;

/// The fields at the start of a message.
pub(crate) fn fields(message: &[u8]) -> Vec<(String, String)> {
    let mut fields: Vec<(String, Vec<u8>)> = Vec::new();
    for line in message.split(|&b| b == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match (line.first(), fields.last_mut()) {
            (None, _) => break,
            (Some(b' ' | b'\t'), Some((_, value))) => value.extend_from_slice(line),
            _ => {
                let Some(colon) = line.iter().position(|&b| b == b':') else { break };
                let name = String::from_utf8_lossy(line[..colon].trim_ascii()).to_lowercase();
                fields.push((name, line[colon + 1..].to_vec()));
            }
        }
    }
    let mut left = HEADER_OCTETS;
    fields
        .into_iter()
        .map(|(name, value)| (name, decode_words(&value).trim().to_lowercase()))
        .take_while(|(name, value)| {
            let octets = name.len() + value.len();
            let fits = octets <= left;
            left = left.saturating_sub(octets);
            fits
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(message: &[u8]) -> Vec<(String, String)> {
        fields(message)
    }

    #[test]
    fn fields_are_lower_case_unfolded_and_decoded() {
        let message = b"List-Id: Some\r\n List <L.Example>\r\nSUBJECT: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\nNot: this\r\n";
        let want = [("list-id", "some list <l.example>"), ("subject", "grüße")];
        let want: Vec<_> = want.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        assert_eq!(of(message), want);
    }

    #[test]
    fn what_is_no_header_has_no_fields() {
        assert!(of(b"").is_empty());
        assert!(of(b"\r\nBody: here\r\n").is_empty());
        assert!(of(b"just a line\r\nA: b\r\n").is_empty());
    }

    #[test]
    fn a_huge_header_is_cut() {
        let message = [b"A: ".to_vec(), vec![b'x'; HEADER_OCTETS], b"\r\nB: y\r\n\r\n".to_vec()].concat();
        assert!(of(&message).is_empty());
        let message = b"Field: value\r\n".repeat(HEADER_OCTETS / 5);
        let octets: usize = of(&message).iter().map(|(name, value)| name.len() + value.len()).sum();
        assert!(octets <= HEADER_OCTETS && octets > HEADER_OCTETS - 100);
    }
}
