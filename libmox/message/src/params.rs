//! Structured MIME fields: a value, then parameters.
//!
//! Law: RFC 2045 §5.1, RFC 2183, RFC 2231 (kept as on the wire, decoded when asked).
//! Fails with: nothing; what cannot be read is left out.

use crate::limits;
use crate::words::{charset_named, decode_words, plain_text};
use serde::{Deserialize, Serialize};

/// One parameter as the wire has it, unquoted: `filename*0*`, `utf-8''na%C3%AFve`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Param {
    /// In lower case.
    pub name: String,
    /// Without quotes, escapes undone.
    pub value: Vec<u8>,
}

/// Content-Disposition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disposition {
    /// `inline`, `attachment`, ..., in lower case.
    pub kind: String,
    /// `filename` and others.
    pub params: Vec<Param>,
}

/// The value of a parameter without RFC 2231 in it: `boundary`, `charset`.
#[must_use]
pub fn plain<'a>(params: &'a [Param], name: &str) -> Option<&'a [u8]> {
    params.iter().find(|param| param.name == name).map(|param| &*param.value)
}

/// A parameter as text: RFC 2231 pieces joined and decoded, else encoded words, which many senders use here.
#[must_use]
pub fn decoded(params: &[Param], name: &str) -> Option<String> {
    extended(params, name).or_else(|| plain(params, name).map(decode_words))
}

fn extended(params: &[Param], name: &str) -> Option<String> {
    // (number, percent-coded, value); a lone `name*` is piece 0.
    let mut pieces: Vec<(u32, bool, &[u8])> = params
        .iter()
        .filter_map(|param| {
            let rest = param.name.strip_prefix(name)?.strip_prefix('*')?;
            if rest.is_empty() {
                return Some((0, true, &*param.value));
            }
            let (number, coded) = match rest.strip_suffix('*') {
                Some(number) => (number, true),
                None => (rest, false),
            };
            Some((number.parse().ok()?, coded, &*param.value))
        })
        .collect();
    pieces.sort_by_key(|&(number, ..)| number);
    pieces.dedup_by_key(|&mut (number, ..)| number);
    let &(0, first_coded, first) = pieces.first()? else { return None };
    let mut bytes = Vec::new();
    let mut charset = None;
    for (at, &(number, coded, mut value)) in pieces.iter().enumerate() {
        if usize::try_from(number) != Ok(at) {
            break;
        }
        if at == 0 && first_coded {
            let mut halves = first.splitn(3, |&b| b == b'\'');
            if let (Some(label), Some(_language), Some(text)) = (halves.next(), halves.next(), halves.next())
            {
                charset = charset_named(label);
                value = text;
            }
        }
        if coded { percent_decode(value, &mut bytes) } else { bytes.extend_from_slice(value) }
    }
    Some(match charset {
        Some(encoding) => encoding.decode_without_bom_handling(&bytes).0.into_owned(),
        None => plain_text(&bytes).into_owned(),
    })
}

fn percent_decode(value: &[u8], out: &mut Vec<u8>) {
    let mut rest = value;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == b'%'
            && let [a, b, tail @ ..] = after
            && let (Some(high), Some(low)) = (char::from(*a).to_digit(16), char::from(*b).to_digit(16))
            && let Ok(value) = u8::try_from(high << 4 | low)
        {
            out.push(value);
            rest = tail;
            continue;
        }
        out.push(byte);
    }
}

/// `value; name=value; ...` with comments left out. The value is in lower case.
pub(crate) fn parse(field: &[u8]) -> (String, Vec<Param>) {
    let mut scan = Scan { rest: field };
    let value = scan.until_semicolon();
    let mut params = Vec::new();
    while scan.skip_semicolon() {
        if params.len() >= limits::PARAMS {
            break;
        }
        let name = scan.name();
        if name.is_empty() {
            scan.until_semicolon();
            continue;
        }
        scan.space();
        if !scan.eat(b'=') {
            scan.until_semicolon();
            continue;
        }
        let value = scan.value();
        params.push(Param { name, value });
        // Anything between the value and the next semicolon is noise.
        scan.until_semicolon();
    }
    (value, params)
}

struct Scan<'a> {
    rest: &'a [u8],
}

impl Scan<'_> {
    fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let is = self.peek() == Some(byte);
        if is {
            self.rest = &self.rest[1..];
        }
        is
    }

    /// White space and comments.
    fn space(&mut self) {
        loop {
            self.rest = self.rest.trim_ascii_start();
            if self.peek() != Some(b'(') {
                return;
            }
            self.comment();
        }
    }

    fn comment(&mut self) {
        let mut depth = 0u32;
        while let Some((&byte, after)) = self.rest.split_first() {
            self.rest = after;
            match byte {
                b'\\' => self.rest = after.get(1..).unwrap_or_default(),
                b'(' => depth = depth.saturating_add(1),
                b')' => {
                    depth -= 1;
                    if depth == 0 {
                        return;
                    }
                }
                _ => {}
            }
        }
    }

    /// Everything up to the semicolon or the end, in lower case, without white space and comments.
    fn until_semicolon(&mut self) -> String {
        let mut out = String::new();
        loop {
            self.space();
            match self.peek() {
                None | Some(b';') => return out,
                Some(b'"') => {
                    self.quoted();
                }
                Some(byte) => {
                    if byte.is_ascii_graphic() {
                        out.push(char::from(byte.to_ascii_lowercase()));
                    }
                    self.rest = &self.rest[1..];
                }
            }
        }
    }

    fn skip_semicolon(&mut self) -> bool {
        let mut any = false;
        loop {
            self.space();
            if !self.eat(b';') {
                return any;
            }
            any = true;
        }
    }

    fn name(&mut self) -> String {
        let len = self
            .rest
            .iter()
            .position(|&b| !b.is_ascii_graphic() || b";=()\"<>,".contains(&b))
            .unwrap_or(self.rest.len());
        let name = self.rest[..len].iter().map(|b| char::from(b.to_ascii_lowercase())).collect();
        self.rest = &self.rest[len..];
        name
    }

    fn value(&mut self) -> Vec<u8> {
        self.space();
        if self.peek() == Some(b'"') {
            return self.quoted();
        }
        // Unquoted values with spaces and `/` in them are common; a comment after a space ends them.
        let len = memchr::memchr(b';', self.rest).unwrap_or(self.rest.len());
        let raw = &self.rest[..len];
        let end = memchr::memmem::find(raw, b" (").unwrap_or(len);
        self.rest = &self.rest[len..];
        raw[..end].trim_ascii().to_vec()
    }

    fn quoted(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        self.rest = self.rest.get(1..).unwrap_or_default();
        while let Some((&byte, after)) = self.rest.split_first() {
            self.rest = after;
            match byte {
                b'"' => break,
                b'\\' if !after.is_empty() => {
                    out.push(after[0]);
                    self.rest = &after[1..];
                }
                byte => out.push(byte),
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn reads(field: &str, want: &str, params: &[(&str, &str)]) {
        let (value, got) = parse(field.as_bytes());
        assert_eq!(value, want, "{field}");
        let got: Vec<_> =
            got.iter().map(|p| (p.name.clone(), String::from_utf8_lossy(&p.value).into_owned())).collect();
        let params: Vec<_> = params.iter().map(|(n, v)| ((*n).to_string(), (*v).to_string())).collect();
        assert_eq!(got, params, "{field}");
    }

    #[test]
    fn values_and_parameters() {
        reads("text/plain; charset=us-ascii (Plain text)", "text/plain", &[("charset", "us-ascii")]);
        reads(
            "Text / Plain ; Charset=\"a\\\"b;c\" ; x = y;",
            "text/plain",
            &[("charset", "a\"b;c"), ("x", "y")],
        );
        reads(
            "multipart/mixed;; boundary=a b;junk;=x;n=",
            "multipart/mixed",
            &[("boundary", "a b"), ("n", "")],
        );
        reads("a/b; open=\"never", "a/b", &[("open", "never")]);
        reads("(c (nested) \\) ) a/b", "a/b", &[]);
        reads("", "", &[]);
        reads("((((", "", &[]);
    }

    #[test]
    fn rfc_2231_is_kept_and_decodes() {
        let (_, params) = parse(b"x; title*0*=us-ascii'en'This%20is%20even%20more%20; title*1*=%2A%2A%2Afun%2A%2A%2A%20; title*2=\"isn't it!\"");
        assert_eq!(params[0].name, "title*0*");
        assert_eq!(decoded(&params, "title").as_deref(), Some("This is even more ***fun*** isn't it!"));
        let (_, params) = parse("x; filename*=utf-8''na%C3%AFve%zz; filename=\"naive\"".as_bytes());
        assert_eq!(decoded(&params, "filename").as_deref(), Some("na\u{ef}ve%zz"));
        let (_, params) = parse(b"x; filename=\"=?utf-8?Q?=C3=A9?=\"");
        assert_eq!(decoded(&params, "filename").as_deref(), Some("\u{e9}"));
        let (_, params) = parse(b"x; filename*1=b; filename=a");
        assert_eq!(decoded(&params, "filename").as_deref(), Some("a"));
        assert_eq!(decoded(&params, "nosuch"), None);
    }
}
