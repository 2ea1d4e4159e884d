//! Replies: written by us, read from others.
//!
//! Law: RFC 5321 §4.2, RFC 2034 (enhanced codes), RFC 3463.
//! Fails with: [`ReplyFault`].

use crate::limits;
use std::borrow::Cow;
use std::fmt;

/// A reply to write. The code is ours, so it is valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    code: u16,
    enhanced: &'static str,
    lines: Vec<Cow<'static, str>>,
}

impl Reply {
    /// With an enhanced code, `""` where there is none (RFC 2034 §4: 220, 354, 334, EHLO).
    #[must_use]
    pub fn new(code: u16, enhanced: &'static str, text: impl Into<Cow<'static, str>>) -> Self {
        Self { code, enhanced, lines: vec![text.into()] }
    }

    /// Of several lines.
    #[must_use]
    pub fn lines(code: u16, lines: Vec<Cow<'static, str>>) -> Self {
        Self { code, enhanced: "", lines }
    }

    /// The reply code.
    #[must_use]
    pub fn code(&self) -> u16 {
        self.code
    }

    /// Whether it is a refusal, for now or for good.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.code >= 400
    }

    /// The text, for the journal.
    #[must_use]
    pub fn text(&self) -> String {
        self.lines.join(" ")
    }

    /// The same with the connection's id at the end (row SR-34), so that a remote operator can report it.
    #[must_use]
    pub fn with_id(mut self, id: impl fmt::Display) -> Self {
        if let Some(last) = self.lines.last_mut() {
            *last = format!("{last} ({id})").into();
        }
        self
    }

    /// Appends the wire form. Control characters in texts become spaces.
    pub fn write(&self, out: &mut Vec<u8>) {
        for (at, line) in self.lines.iter().enumerate() {
            let last = at + 1 == self.lines.len();
            out.extend_from_slice(self.code.to_string().as_bytes());
            out.push(if last { b' ' } else { b'-' });
            if !self.enhanced.is_empty() {
                out.extend_from_slice(self.enhanced.as_bytes());
                out.push(b' ');
            }
            out.extend(line.bytes().map(|b| if b.is_ascii_control() { b' ' } else { b }));
            out.extend_from_slice(b"\r\n");
        }
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}{}{}",
            self.code,
            self.enhanced,
            if self.enhanced.is_empty() { "" } else { " " },
            self.text()
        )
    }
}

/// What a server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// 200 to 599.
    pub code: u16,
    /// RFC 3463, where the first line has one.
    pub enhanced: Option<[u16; 3]>,
    /// The lines without their codes.
    pub lines: Vec<String>,
    /// The lines as they came, for a report (row QU-19).
    pub raw: Vec<String>,
}

impl Answer {
    /// 2xx or 3xx.
    #[must_use]
    pub fn is_positive(&self) -> bool {
        self.code < 400
    }

    /// 5xx.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        self.code >= 500
    }

    /// `5.1.1`, made from the code where none was given.
    #[must_use]
    pub fn status(&self) -> String {
        match self.enhanced {
            Some([class, subject, detail]) => format!("{class}.{subject}.{detail}"),
            None => format!("{}.0.0", self.code / 100),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.raw.join(" "))
    }
}

/// Why bytes are not a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReplyFault {
    /// A line without code, or whose code differs from the line before.
    #[error("not an SMTP reply")]
    Malformed,
    /// Too many or too long lines.
    #[error("reply too long")]
    TooLong,
}

/// Reads one reply from the start of `input`: how many bytes it has, and what it says. None: more is needed.
pub fn parse(input: &[u8]) -> Result<Option<(usize, Answer)>, ReplyFault> {
    let mut used = 0;
    let mut answer: Option<Answer> = None;
    loop {
        let rest = &input[used..];
        let Some(end) = memchr::memchr(b'\n', rest) else {
            if rest.len() > limits::REPLY_LINE_OCTETS || input.len() > limits::REPLY_OCTETS {
                return Err(ReplyFault::TooLong);
            }
            return Ok(None);
        };
        used += end + 1;
        if end > limits::REPLY_LINE_OCTETS || used > limits::REPLY_OCTETS {
            return Err(ReplyFault::TooLong);
        }
        let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
        let (code, last, text) = parse_line(line)?;
        let raw = String::from_utf8_lossy(line).into_owned();
        let answer = match &mut answer {
            Some(answer) if answer.code != code => return Err(ReplyFault::Malformed),
            Some(answer) => answer,
            None => answer.insert(Answer {
                code,
                enhanced: enhanced(text, code).map(|(numbers, _)| numbers),
                lines: Vec::new(),
                raw: Vec::new(),
            }),
        };
        let text = enhanced(text, code).map_or(text, |(_, rest)| rest);
        answer.lines.push(String::from_utf8_lossy(text).into_owned());
        answer.raw.push(raw);
        if last {
            let answer = answer.clone();
            return Ok(Some((used, answer)));
        }
    }
}

fn parse_line(line: &[u8]) -> Result<(u16, bool, &[u8]), ReplyFault> {
    let [a @ b'2'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9', rest @ ..] = line else {
        return Err(ReplyFault::Malformed);
    };
    let code = u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0');
    match rest {
        // RFC 5321 §4.2: a bare code without text is to be understood.
        [] => Ok((code, true, b"")),
        [b' ', text @ ..] => Ok((code, true, text)),
        [b'-', text @ ..] => Ok((code, false, text)),
        _ => Err(ReplyFault::Malformed),
    }
}

fn enhanced(text: &[u8], code: u16) -> Option<([u16; 3], &[u8])> {
    let len = memchr::memchr(b' ', text).unwrap_or(text.len());
    let mut numbers = [0; 3];
    let mut parts = text[..len].split(|&b| b == b'.');
    for number in &mut numbers {
        let part = parts.next().filter(|part| (1..=3).contains(&part.len()))?;
        *number = std::str::from_utf8(part).ok()?.parse().ok()?;
    }
    let fits = parts.next().is_none() && numbers[0] == code / 100;
    fits.then(|| (numbers, text[len..].trim_ascii_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_written_whole() {
        let mut out = Vec::new();
        Reply::new(550, "5.1.1", "no\r\nsuch user").with_id(7).write(&mut out);
        Reply::lines(250, vec!["a".into(), "SIZE 1".into()]).write(&mut out);
        assert_eq!(out, b"550 5.1.1 no  such user (7)\r\n250-a\r\n250 SIZE 1\r\n");
    }

    #[track_caller]
    fn reads(input: &[u8], code: u16, status: &str, lines: &[&str], used: usize) {
        for cut in 0..used {
            assert_eq!(parse(&input[..cut]), Ok(None), "cut at {cut}");
        }
        let (got_used, answer) = parse(input).unwrap().unwrap();
        assert_eq!((got_used, answer.code, answer.status().as_str()), (used, code, status));
        assert_eq!(answer.lines, lines);
    }

    #[test]
    fn replies_in_the_wild() {
        reads(b"250 ok\r\n250", 250, "2.0.0", &["ok"], 8);
        reads(b"550-5.1.1 no such\r\n550 5.1.1 user\r\n", 550, "5.1.1", &["no such", "user"], 35);
        reads(b"250\n", 250, "2.0.0", &[""], 4);
        reads(b"451 4.7.100 later\r\n", 451, "4.7.100", &["later"], 19);
        reads(b"550 4.1.1 x\r\n", 550, "5.0.0", &["4.1.1 x"], 13);
        assert_eq!(parse(b"HTTP/1.1 400\r\n"), Err(ReplyFault::Malformed));
        assert_eq!(parse(b"250-a\r\n251 b\r\n"), Err(ReplyFault::Malformed));
        assert_eq!(parse(b"999 x\r\n"), Err(ReplyFault::Malformed));
        assert_eq!(parse(b"25\r\n"), Err(ReplyFault::Malformed));
        assert_eq!(parse(&[b'2'; 5000]), Err(ReplyFault::TooLong));
        assert_eq!(parse(&b"250-x\r\n".repeat(20_000)), Err(ReplyFault::TooLong));
    }
}
