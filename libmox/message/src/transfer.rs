//! Transfer encodings, decoded a piece at a time and written when we compose.
//!
//! Law: RFC 2045 §6.7 (quoted-printable), §6.8 (base64).
//! Does not know: what the bytes mean.
//! Fails with: nothing. What is not valid is passed through or skipped, as §6.7 and §6.8 advise readers.

/// A decoder for one body. The same bytes cut anywhere give the same result.
#[derive(Debug, Clone)]
pub enum Decoder {
    /// 7bit, 8bit, binary, or an encoding we do not know.
    Identity,
    /// base64.
    Base64(Base64),
    /// quoted-printable.
    QuotedPrintable(QuotedPrintable),
}

impl Decoder {
    /// The decoder for a Content-Transfer-Encoding value.
    #[must_use]
    pub fn for_encoding(encoding: Option<&[u8]>) -> Self {
        let encoding = encoding.unwrap_or_default().trim_ascii();
        if encoding.eq_ignore_ascii_case(b"base64") {
            Self::Base64(Base64::default())
        } else if encoding.eq_ignore_ascii_case(b"quoted-printable") {
            Self::QuotedPrintable(QuotedPrintable::default())
        } else {
            Self::Identity
        }
    }

    /// Whether a Content-Transfer-Encoding value is one that can be decoded (RFC 3516 §4.3 UNKNOWN-CTE).
    #[must_use]
    pub fn knows(encoding: Option<&[u8]>) -> bool {
        encoding.is_none_or(|encoding| {
            let encoding = encoding.trim_ascii();
            ["", "7bit", "8bit", "binary", "base64", "quoted-printable"]
                .iter()
                .any(|known| encoding.eq_ignore_ascii_case(known.as_bytes()))
        })
    }

    /// Decodes a piece onto `out`.
    pub fn feed(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Identity => out.extend_from_slice(piece),
            Self::Base64(decoder) => decoder.feed(piece, out),
            Self::QuotedPrintable(decoder) => decoder.feed(piece, out),
        }
    }

    /// What was held back at the end of the body.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        match self {
            Self::Identity => {}
            Self::Base64(decoder) => decoder.finish(out),
            Self::QuotedPrintable(decoder) => decoder.finish(out),
        }
    }
}

/// State between pieces of base64.
#[derive(Debug, Clone, Default)]
pub struct Base64 {
    bits: u32,
    have: u8,
}

const fn sextet(byte: u8) -> u8 {
    match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        b'=' => 64,
        _ => 255,
    }
}

const SEXTETS: [u8; 256] = {
    let mut table = [255; 256];
    let mut at = 0;
    while at < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "bounded by the table")]
        let byte = at as u8;
        table[at] = sextet(byte);
        at += 1;
    }
    table
};

impl Base64 {
    /// Decodes a piece; bytes outside the alphabet are skipped.
    pub fn feed(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        out.reserve(piece.len() / 4 * 3);
        for &byte in piece {
            match SEXTETS[usize::from(byte)] {
                255 => {}
                64 => self.finish(out),
                value => {
                    self.bits = self.bits << 6 | u32::from(value);
                    self.have += 1;
                    if self.have == 4 {
                        let [_, a, b, c] = self.bits.to_be_bytes();
                        out.extend_from_slice(&[a, b, c]);
                        *self = Self::default();
                    }
                }
            }
        }
    }

    /// The bytes of an unfinished group.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        let [_, a, b, _] = (self.bits << (6 * (4 - u32::from(self.have)))).to_be_bytes();
        match self.have {
            2 => out.push(a),
            3 => out.extend_from_slice(&[a, b]),
            _ => {}
        }
        *self = Self::default();
    }
}

/// State between pieces of quoted-printable.
#[derive(Debug, Clone, Default)]
pub struct QuotedPrintable {
    /// White space that is dropped if the line ends here. Bounded by [`HELD`].
    held: Vec<u8>,
    escape: Escape,
}

/// White space held back at most; RFC 2045 §6.7 lines have 76 octets.
const HELD: usize = 998;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Escape {
    #[default]
    None,
    /// `=` seen.
    Equals,
    /// `=` and one hexadecimal digit.
    Digit(u8),
    /// `=` and white space: a soft line break if the line ends.
    Padding,
    /// `=` ... CR.
    Cr,
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

impl QuotedPrintable {
    /// Decodes a piece.
    pub fn feed(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        for &byte in piece {
            self.byte(byte, out);
        }
    }

    fn byte(&mut self, byte: u8, out: &mut Vec<u8>) {
        match std::mem::take(&mut self.escape) {
            Escape::None => self.plain(byte, out),
            Escape::Equals => match byte {
                b'\n' => {}
                b'\r' => self.escape = Escape::Cr,
                b' ' | b'\t' => {
                    self.held.push(byte);
                    self.escape = Escape::Padding;
                }
                _ if hex(byte).is_some() => self.escape = Escape::Digit(byte),
                _ => {
                    out.push(b'=');
                    self.plain(byte, out);
                }
            },
            Escape::Digit(first) => match (hex(first), hex(byte)) {
                (Some(high), Some(low)) => out.push(high << 4 | low),
                _ => {
                    out.extend_from_slice(&[b'=', first]);
                    self.plain(byte, out);
                }
            },
            Escape::Padding => match byte {
                b'\n' => self.held.clear(),
                b'\r' => {
                    self.held.clear();
                    self.escape = Escape::Cr;
                }
                b' ' | b'\t' if self.held.len() < HELD => {
                    self.held.push(byte);
                    self.escape = Escape::Padding;
                }
                _ => {
                    out.push(b'=');
                    self.plain(byte, out);
                }
            },
            Escape::Cr => {
                if byte != b'\n' {
                    self.plain(byte, out);
                }
            }
        }
    }

    fn plain(&mut self, byte: u8, out: &mut Vec<u8>) {
        match byte {
            b' ' | b'\t' if self.held.len() < HELD => self.held.push(byte),
            b'\r' | b'\n' => {
                self.held.clear();
                out.push(byte);
            }
            _ => {
                out.append(&mut self.held);
                if byte == b'=' {
                    self.escape = Escape::Equals;
                } else {
                    out.push(byte);
                }
            }
        }
    }

    /// The end of the body: an unfinished escape is written as it stood.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        match std::mem::take(&mut self.escape) {
            Escape::None | Escape::Equals | Escape::Padding | Escape::Cr => {}
            Escape::Digit(first) => out.extend_from_slice(&[b'=', first]),
        }
        self.held.clear();
    }
}

/// Writes text as quoted-printable. Line ends in `text` stay line ends.
#[must_use]
pub fn encode_quoted_printable(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + text.len() / 8);
    let mut column = 0;
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        if rest.starts_with(b"\r\n") {
            out.extend_from_slice(b"\r\n");
            column = 0;
            rest = &rest[2..];
            continue;
        }
        let at_end = after.is_empty() || after.starts_with(b"\r\n");
        let literal = match byte {
            b'=' => false,
            b' ' | b'\t' => !at_end,
            33..=126 => true,
            _ => false,
        };
        let width = if literal { 1 } else { 3 };
        if column + width > 75 {
            out.extend_from_slice(b"=\r\n");
            column = 0;
        }
        if literal {
            out.push(byte);
        } else {
            out.push(b'=');
            for nibble in [byte >> 4, byte & 15] {
                out.push(b"0123456789ABCDEF"[usize::from(nibble)]);
            }
        }
        column += width;
        rest = after;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn decodes(encoding: &str, text: &[u8], want: &[u8]) {
        for cut in 0..=text.len() {
            let mut decoder = Decoder::for_encoding(Some(encoding.as_bytes()));
            let mut out = Vec::new();
            decoder.feed(&text[..cut], &mut out);
            decoder.feed(&text[cut..], &mut out);
            decoder.finish(&mut out);
            assert_eq!(out, want, "{:?} cut at {cut}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn base64_in_the_wild() {
        decodes("base64", b"aGVsbG8=", b"hello");
        decodes("BASE64 ", b"aGVs\r\nbG8", b"hello");
        decodes("base64", b"aGVsbG8=aGVsbG8=", b"hellohello");
        decodes("base64", b"a!!GVsbG8=", b"hello");
        decodes("base64", b"====", b"");
        decodes("base64", b"a", b"");
    }

    #[test]
    fn quoted_printable_in_the_wild() {
        decodes("quoted-printable", b"a=3Db=20\r\n", b"a=b \r\n");
        decodes("quoted-printable", b"soft=\r\nbreak= \t\r\nx=\ny", b"softbreakxy");
        decodes("quoted-printable", b"trailing  \r\nkept  x", b"trailing\r\nkept  x");
        decodes("quoted-printable", b"=zz =4 =C3=a9=", b"=zz =4 \xc3\xa9");
        decodes("7bit", b"=41", b"=41");
    }

    #[test]
    fn what_is_written_reads_back() {
        let text = "caf\u{e9} = \u{20ac} and a long line that has to be broken somewhere because it is long \r\nend ".repeat(3);
        let coded = encode_quoted_printable(text.as_bytes());
        assert!(coded.split(|&b| b == b'\n').all(|line| line.len() <= 77 && line.is_ascii()));
        decodes("quoted-printable", &coded, text.as_bytes());
    }
}
