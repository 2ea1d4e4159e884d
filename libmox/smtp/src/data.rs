//! The message within DATA: dots taken off, dots put on.
//!
//! Law: RFC 5321 §4.5.2 (transparency), §2.3.8 (only CRLF ends a line). Rows SR-19 and TM-01: nothing but
//! CRLF.CRLF ends the data, and a bare CR or LF spoils the message without moving its end.
//! Does not know: what is in the message.
//! Fails with: nothing; [`Decoder::flaws`] tells.

/// Takes the bytes after 354, gives the message. The same bytes cut anywhere give the same result.
#[derive(Debug)]
pub struct Decoder {
    state: State,
    left: u64,
    taken: u64,
    flaws: Flaws,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    LineStart,
    /// A dot at the start of a line: the end, or one to drop.
    Dot,
    DotCr,
    Inside,
    Cr,
    Ended,
}

/// What is wrong with a message that ended.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Flaws {
    /// CR without LF, or LF without CR.
    pub bare_line_end: bool,
    /// More octets than allowed; the rest was dropped.
    pub too_large: bool,
}

impl Decoder {
    /// For a message of at most `most` octets.
    #[must_use]
    pub fn new(most: u64) -> Self {
        Self { state: State::LineStart, left: most, taken: 0, flaws: Flaws::default() }
    }

    /// Takes from `input`, appends to `out`; how much was taken. Less than all only at the end of the data.
    pub fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) -> usize {
        let mut at = 0;
        while at < input.len() && self.state != State::Ended {
            at += self.some(&input[at..], out);
        }
        self.taken += at as u64;
        at
    }

    /// Whether the end was seen.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.state == State::Ended
    }

    /// Octets taken from the wire.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// What is wrong so far.
    #[must_use]
    pub fn flaws(&self) -> Flaws {
        self.flaws
    }

    /// One step: at least one octet, as many as stay in one state.
    fn some(&mut self, input: &[u8], out: &mut Vec<u8>) -> usize {
        let byte = input[0];
        match self.state {
            State::LineStart if byte == b'.' => {
                self.state = State::Dot;
                1
            }
            State::LineStart | State::Inside => self.lines(input, out),
            State::Dot => {
                if byte == b'\r' {
                    self.state = State::DotCr;
                    return 1;
                }
                // The dot was for transparency and goes.
                self.state = State::Inside;
                0
            }
            State::DotCr | State::Cr => {
                if byte == b'\n' {
                    self.state = match self.state {
                        State::DotCr => State::Ended,
                        _ => {
                            self.keep(b"\r\n", out);
                            State::LineStart
                        }
                    };
                    return 1;
                }
                self.flaws.bare_line_end = true;
                self.keep(b"\r", out);
                self.state = State::Inside;
                0
            }
            State::Ended => 0,
        }
    }

    /// Whole lines as long as none starts with a dot: found by two scans for one octet each, copied at once.
    fn lines(&mut self, input: &[u8], out: &mut Vec<u8>) -> usize {
        let mut at = 0;
        loop {
            let rest = &input[at..];
            let cr = memchr::memchr(b'\r', rest);
            let text = &rest[..cr.unwrap_or(rest.len())];
            if memchr::memchr(b'\n', text).is_some() {
                self.flaws.bare_line_end = true;
            }
            let Some(cr) = cr else {
                // A piece that is not empty leaves the start of the line.
                if !rest.is_empty() {
                    self.state = State::Inside;
                }
                self.keep(input, out);
                return input.len();
            };
            match rest.get(cr + 1) {
                Some(b'\n') => {
                    at += cr + 2;
                    self.state = State::LineStart;
                    if matches!(input.get(at), None | Some(b'.')) {
                        self.keep(&input[..at], out);
                        return at;
                    }
                }
                Some(_) => {
                    self.flaws.bare_line_end = true;
                    at += cr + 1;
                    self.state = State::Inside;
                }
                None => {
                    self.keep(&input[..at + cr], out);
                    self.state = State::Cr;
                    return input.len();
                }
            }
        }
    }

    fn keep(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if self.flaws.too_large {
            return;
        }
        let len = bytes.len() as u64;
        if len > self.left {
            self.flaws.too_large = true;
            return;
        }
        self.left -= len;
        out.extend_from_slice(bytes);
    }
}

/// Takes a message, gives the bytes after 354.
#[derive(Debug, Clone, Copy)]
pub struct Encoder {
    line_start: bool,
    after_cr: bool,
}

impl Default for Encoder {
    fn default() -> Self {
        Self { line_start: true, after_cr: false }
    }
}

impl Encoder {
    /// A piece of the message, which has CRLF line ends.
    pub fn feed(&mut self, mut input: &[u8], out: &mut Vec<u8>) {
        out.reserve(input.len() + 8);
        while !input.is_empty() {
            if self.line_start && input[0] == b'.' {
                out.push(b'.');
            }
            let len = memchr::memchr(b'\n', input).map_or(input.len(), |at| at + 1);
            let line = &input[..len];
            out.extend_from_slice(line);
            let ended = line.ends_with(b"\n");
            // Only CRLF begins a line for the other side.
            self.line_start = ended && (line.ends_with(b"\r\n") || (len == 1 && self.after_cr));
            self.after_cr = line.ends_with(b"\r");
            input = &input[len..];
        }
    }

    /// The end of the data, on a line of its own.
    pub fn finish(self, out: &mut Vec<u8>) {
        if !self.line_start {
            out.extend_from_slice(if self.after_cr { b"\n" } else { b"\r\n" });
        }
        out.extend_from_slice(b".\r\n");
    }
}

/// Looks for bare CR and LF in what came by BDAT, where no dots are stuffed: relayed by DATA they would be a danger.
#[derive(Debug, Default)]
pub struct Lines {
    after_cr: bool,
    bare: bool,
}

impl Lines {
    /// The next octets.
    pub fn feed(&mut self, bytes: &[u8]) {
        for at in memchr::memchr2_iter(b'\r', b'\n', bytes) {
            let before = match at {
                0 => self.after_cr,
                at => bytes[at - 1] == b'\r',
            };
            let follows = bytes.get(at + 1).is_none_or(|next| *next == b'\n');
            self.bare |= if bytes[at] == b'\n' { !before } else { !follows };
        }
        if let Some(first) = bytes.first() {
            self.bare |= self.after_cr && *first != b'\n';
            self.after_cr = bytes.last() == Some(&b'\r');
        }
    }

    /// Whether there was one; said at the end.
    #[must_use]
    pub fn is_bare(&self) -> bool {
        self.bare || self.after_cr
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn decodes(wire: &[u8], want: &[u8], rest: usize, bare: bool) {
        let run = |size: usize| {
            let mut decoder = Decoder::new(1000);
            let (mut out, mut used) = (Vec::new(), 0);
            for piece in wire.chunks(size) {
                used += decoder.feed(piece, &mut out);
            }
            (out, used, decoder.ended(), decoder.flaws().bare_line_end)
        };
        for size in 1..=wire.len() {
            let got = run(size);
            assert_eq!(
                got,
                (want.to_vec(), wire.len() - rest, true, bare),
                "{:?} by {size}",
                String::from_utf8_lossy(wire)
            );
        }
    }

    #[test]
    fn dots_and_the_end() {
        decodes(b".\r\n", b"", 0, false);
        decodes(b"a\r\n.\r\nQUIT", b"a\r\n", 4, false);
        decodes(b"..\r\n.a\r\n.\r\n", b".\r\na\r\n", 0, false);
        decodes(b"a\r\n\r\n...\r\nb\r\n.\r\n", b"a\r\n\r\n..\r\nb\r\n", 0, false);
    }

    #[test]
    fn smuggled_ends_do_not_end() {
        // SR-19, TM-01
        decodes(b"a\n.\r\nb\r\n.\r\n", b"a\n.\r\nb\r\n", 0, true);
        decodes(b"a\n.\nb\r\n.\r\n", b"a\n.\nb\r\n", 0, true);
        decodes(b"a\r\n.\nb\r\n.\r\n", b"a\r\n\nb\r\n", 0, true);
        decodes(b"a\r.\r\nb\r\n.\r\n", b"a\r.\r\nb\r\n", 0, true);
        decodes(b"a\r\n.\rb\r\n.\r\n", b"a\r\n\rb\r\n", 0, true);
        decodes(b"a\r\n.\r\r\n.\r\n", b"a\r\n\r\r\n", 0, true);
        decodes(b"\r\r\n.\r\n", b"\r\r\n", 0, true);
        decodes(b"\n.\r\n.\r\n", b"\n.\r\n", 0, true);
    }

    #[test]
    fn the_size_is_bounded_and_the_end_still_found() {
        let mut decoder = Decoder::new(5);
        let mut out = Vec::new();
        let wire = b"abc\r\nmore\r\n.\r\nX";
        assert_eq!(decoder.feed(wire, &mut out), wire.len() - 1);
        assert!(decoder.ended() && decoder.flaws().too_large && out.len() <= 5);
    }

    #[test]
    fn what_is_encoded_decodes() {
        for message in
            [&b""[..], b".", b"..\r\n.", b"a\r\n.\r\nb\r\n", b".\r\n.\r\n", b"\r\n\r\n", b"no end", b"x\r"]
        {
            for size in 1..=message.len().max(1) {
                let mut wire = Vec::new();
                let mut encoder = Encoder::default();
                message.chunks(size).for_each(|piece| encoder.feed(piece, &mut wire));
                encoder.finish(&mut wire);
                let mut out = Vec::new();
                let mut decoder = Decoder::new(1000);
                assert_eq!(decoder.feed(&wire, &mut out), wire.len(), "{wire:?}");
                let mut want = message.to_vec();
                if !want.is_empty() && !want.ends_with(b"\r\n") {
                    want.extend_from_slice(if want.ends_with(b"\r") { b"\n" } else { b"\r\n" });
                }
                assert!(decoder.ended());
                assert_eq!(out, want, "{message:?} by {size}");
            }
        }
    }

    #[test]
    fn bare_line_ends_in_chunks() {
        for (text, want) in [
            ("", false),
            ("a\r\nb\r\n", false),
            ("no end", false),
            ("\n", true),
            ("\r", true),
            ("a\nb", true),
            ("a\rb", true),
            ("a\r\r\n", true),
            ("a\r\n\n", true),
            ("\r\n\r\n", false),
        ] {
            for size in 1..=text.len().max(1) {
                let mut lines = Lines::default();
                text.as_bytes().chunks(size).for_each(|piece| lines.feed(piece));
                assert_eq!(lines.is_bare(), want, "{text:?} by {size}");
            }
        }
    }
}
