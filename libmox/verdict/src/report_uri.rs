//! Where reports are wanted: a URI of `rua`, with the size that is taken there.
//!
//! Law: RFC 7489 §6.2 and §6.4, RFC 8460 §3, RFC 6068 §2.

use libmox_types::Address;
use std::fmt;

/// One of them, as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportUri {
    /// The URI, with its escapes.
    pub uri: String,
    /// Octets that are taken there.
    pub most: Option<u64>,
}

impl ReportUri {
    /// For an address.
    #[must_use]
    pub fn mailto(address: &Address, most: Option<u64>) -> Self {
        // RFC 6068 §2; comma, semicolon and exclamation mark have a meaning of their own in a record.
        let safe = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+@".contains(&byte);
        let mut uri = String::from("mailto:");
        for byte in format!("{}@{}", address.local, address.domain.ascii()).bytes() {
            match safe(byte) {
                true => uri.push(char::from(byte)),
                false => uri.push_str(&format!("%{byte:02X}")),
            }
        }
        Self { uri, most }
    }

    /// With or without a size behind an exclamation mark; none where it is no URI.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (uri, most) = match text.trim().rsplit_once('!') {
            Some((uri, size)) => (uri, Some(size_of(size)?)),
            None => (text.trim(), None),
        };
        let (scheme, rest) = uri.split_once(':')?;
        let fine = |c: char| c.is_ascii_graphic() && c != '!' && c != ',' && c != ';';
        let good = !scheme.is_empty()
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
            && !rest.is_empty()
            && rest.chars().all(fine);
        good.then(|| Self { uri: uri.to_owned(), most })
    }

    /// The address of a `mailto` URI.
    #[must_use]
    pub fn address(&self) -> Option<Address> {
        let (scheme, rest) = self.uri.split_once(':')?;
        if !scheme.eq_ignore_ascii_case("mailto") {
            return None;
        }
        // Header fields behind a question mark are not for us.
        let escaped = rest.split('?').next()?;
        let (mut bytes, mut rest) = (Vec::with_capacity(escaped.len()), escaped.bytes());
        while let Some(byte) = rest.next() {
            bytes.push(match byte {
                b'%' => {
                    let mut digit = || char::from(rest.next()?).to_digit(16);
                    u8::try_from(digit()? * 16 + digit()?).ok()?
                }
                other => other,
            });
        }
        Address::parse(std::str::from_utf8(&bytes).ok()?).ok()
    }
}

/// RFC 7489 §6.4 `dmarc-uri`.
fn size_of(text: &str) -> Option<u64> {
    let text = text.trim();
    let (digits, unit) = match text.char_indices().next_back()? {
        (at, letter) if letter.is_ascii_alphabetic() => (&text[..at], letter.to_ascii_lowercase()),
        _ => (text, ' '),
    };
    let shift = match unit {
        ' ' => 0,
        'k' => 10,
        'm' => 20,
        'g' => 30,
        't' => 40,
        _ => return None,
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

impl fmt::Display for ReportUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.uri)?;
        let Some(most) = self.most else { return Ok(()) };
        let unit = [(40, "t"), (30, "g"), (20, "m"), (10, "k"), (0, "")];
        let fits = |(shift, _): &(u32, &str)| most != 0 && most.trailing_zeros() >= *shift;
        let (shift, name) = unit.into_iter().find(fits).unwrap_or((0, ""));
        write!(f, "!{}{name}", most >> shift)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Row MA-21.
    #[test]
    fn addresses_are_escaped_and_found_again() {
        for (address, uri) in [
            ("dmarc-reports@example.org", "mailto:dmarc-reports@example.org"),
            ("a+b@example.org", "mailto:a+b@example.org"),
            ("a!b@example.org", "mailto:a%21b@example.org"),
            ("\"a,b;c\"@example.org", "mailto:%22a%2Cb%3Bc%22@example.org"),
            ("bücher@bücher.example", "mailto:b%C3%BCcher@xn--bcher-kva.example"),
        ] {
            let address = Address::parse(address).unwrap();
            let made = ReportUri::mailto(&address, Some(10 << 20));
            assert_eq!(made.to_string(), format!("{uri}!10m"));
            let read = ReportUri::parse(&made.to_string()).unwrap();
            assert_eq!((read.address(), read.most), (Some(address), Some(10 << 20)), "{uri}");
        }
    }

    #[test]
    fn sizes_and_what_is_no_uri() {
        for (text, want) in [
            ("mailto:a@b!50m", Some(Some(50 << 20))),
            ("mailto:a@b!7", Some(Some(7))),
            ("MAILTO:a@b", Some(None)),
            ("https://reports.example/x", Some(None)),
            ("mailto:a@b!", None),
            ("mailto:a@b!5x", None),
            ("mailto:a@b!99999999999999999999", None),
            ("mailto:a@b!99999999999t", None),
            ("mailto:", None),
            ("a@b", None),
            ("mailto:a b@c", None),
            ("", None),
        ] {
            assert_eq!(ReportUri::parse(text).map(|uri| uri.most), want, "{text}");
        }
        assert_eq!(ReportUri::parse("https://x.example").unwrap().address(), None);
        assert_eq!(ReportUri::parse("mailto:a%4").unwrap().address(), None);
        assert_eq!(ReportUri::parse("mailto:a@b!0").unwrap().to_string(), "mailto:a@b!0");
    }
}
