//! `X-Mox-Extra-` fields: data of the sender's program that travel with the message through the queue (row SU-09).

use libmox_message::words::decode_words;
use libmox_smtp::Reply;
use libmox_store::EXTRA_OCTETS;

/// Octets of the header that are looked at.
pub(crate) const HEADER_OCTETS: usize = 256 * 1024;

const NAME: &str = "x-mox-extra-";

/// Names, each word with a capital, and values; the fields stay in the message.
pub(crate) fn fields(message: &[u8]) -> Result<Vec<(String, String)>, Reply> {
    let mut found: Vec<(String, Vec<u8>)> = Vec::new();
    // Whether the line before belongs to one of them.
    let mut ours = false;
    for line in message.split(|&b| b == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match line.first() {
            None => break,
            Some(b' ' | b'\t') => {
                if let (true, Some((_, value))) = (ours, found.last_mut()) {
                    value.extend_from_slice(line);
                }
            }
            Some(_) => {
                let Some(colon) = line.iter().position(|&b| b == b':') else { break };
                let name = String::from_utf8_lossy(line[..colon].trim_ascii()).to_ascii_lowercase();
                let key = name.strip_prefix(NAME).filter(|key| !key.is_empty()).map(capitals);
                ours = key.is_some();
                let Some(key) = key else { continue };
                if found.iter().any(|(other, _)| *other == key) {
                    return Err(Reply::new(554, "5.6.0", format!("X-Mox-Extra-{key} is there twice")));
                }
                found.push((key, line[colon + 1..].to_vec()));
            }
        }
    }
    let all: Vec<(String, String)> =
        found.into_iter().map(|(key, value)| (key, decode_words(&value).trim().to_owned())).collect();
    if all.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>() > EXTRA_OCTETS {
        return Err(Reply::new(554, "5.6.0", "too much in X-Mox-Extra fields"));
    }
    Ok(all)
}

fn capitals(key: &str) -> String {
    let words = key.split('-').map(|word| {
        let mut letters = word.chars();
        letters
            .next()
            .map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + letters.as_str())
    });
    words.collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extra_fields_are_read_once_each() {
        let message = b"From: a@b\r\nX-MOX-Extra-order-ID: 12\r\n 34\r\nSubject: x\r\n y\r\nX-Mox-Extra-Name: =?utf-8?q?caf=C3=A9?=\r\n\r\nX-Mox-Extra-Body: no\r\n";
        let want = [("Order-Id", "12 34"), ("Name", "caf\u{e9}")];
        assert_eq!(fields(message).unwrap(), want.map(|(key, value)| (key.to_owned(), value.to_owned())));
        let twice = b"X-Mox-Extra-A: 1\r\nx-mox-extra-a: 2\r\n\r\n";
        assert_eq!(fields(twice).unwrap_err().code(), 554);
        let huge = format!("X-Mox-Extra-A: {}\r\n\r\n", "x".repeat(EXTRA_OCTETS));
        assert_eq!(fields(huge.as_bytes()).unwrap_err().code(), 554);
        assert_eq!(fields(b"X-Mox-Extra-: 1\r\nno header\r\n"), Ok(vec![]));
    }
}
