//! Takes away what others say in our name: `Authentication-Results` fields with our own authentication identifier.
//!
//! Whoever reads a field with our name believes that we checked, so nobody but us may bring one. A field of others
//! stays. Works on a stream and holds back at most 4096 octets.
//!
//! Law: RFC 8601 §5, §2.2 (the identifier), §2.5 (internationalised names); RFC 5322 §3.2.2 (comments).
//! Fails with: nothing. A field that hides its identifier behind more octets of comments than that is taken away.

use libmox_types::Domain;

/// Octets of a field that are looked at to find the identifier.
const HELD: usize = 4 * 1024;
const NAME: &[u8] = b"authentication-results";

/// The filter, for one message.
#[derive(Debug)]
pub struct OwnResults {
    own: Domain,
    state: State,
    /// Of a field that may be one, not passed on yet.
    held: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The first octet of a line.
    Start,
    /// A name that may be the one.
    Name,
    /// A value whose identifier is wanted.
    Value,
    /// The first octet of a line after [`State::Value`].
    Folded,
    /// The rest of a line that stays.
    Pass,
    /// The rest of a line that goes.
    Drop,
    /// The first octet of a line after one that goes.
    Dropped,
    /// The header section is over.
    Body,
}

impl OwnResults {
    /// For a server of this name.
    #[must_use]
    pub fn new(own: Domain) -> Self {
        Self { own, state: State::Start, held: Vec::new() }
    }

    /// The header section is over: everything else stays.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Body
    }

    /// The next octets; what stays is appended.
    pub fn feed(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        while let Some(&byte) = bytes.first() {
            match self.state {
                State::Body => return out.extend_from_slice(bytes),
                State::Pass | State::Drop => {
                    let end = memchr::memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1);
                    let (line, rest) = bytes.split_at(end);
                    bytes = rest;
                    let (stays, ended) = (self.state == State::Pass, line.ends_with(b"\n"));
                    if stays {
                        out.extend_from_slice(line);
                    }
                    self.state = match (stays, ended) {
                        (true, true) => State::Start,
                        (false, true) => State::Dropped,
                        _ => self.state,
                    };
                    continue;
                }
                State::Start => match byte {
                    b'\r' | b'\n' => self.state = State::Body,
                    b'a' | b'A' => self.state = State::Name,
                    _ => self.state = State::Pass,
                },
                State::Dropped => match byte {
                    b' ' | b'\t' => self.state = State::Drop,
                    _ => self.state = State::Start,
                },
                State::Folded => match byte {
                    b' ' | b'\t' => self.state = State::Value,
                    _ => {
                        let ours = self.is_ours();
                        self.decide(ours, out);
                        // It is the first octet of another field.
                        self.state = State::Start;
                    }
                },
                State::Name | State::Value => {
                    self.held.push(byte);
                    bytes = &bytes[1..];
                    self.look(out);
                }
            }
        }
    }

    /// No more octets come.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        let ours = matches!(self.state, State::Value | State::Folded) && self.is_ours();
        self.decide(ours, out);
    }

    /// After each octet of a name or value.
    fn look(&mut self, out: &mut Vec<u8>) {
        if self.state == State::Value {
            if self.held.len() >= HELD {
                let ours = self.identifier().is_none_or(|id| self.is_own(&id));
                let line_ended = self.held.ends_with(b"\n");
                self.decide(ours, out);
                self.state = match (ours, line_ended) {
                    (true, true) => State::Dropped,
                    (true, false) => State::Drop,
                    (false, true) => State::Start,
                    (false, false) => State::Pass,
                };
            } else if self.held.ends_with(b"\n") {
                self.state = State::Folded;
            }
            return;
        }
        let (len, last) = (self.held.len(), self.held.last().copied().unwrap_or_default());
        if len <= NAME.len() {
            if self.held.eq_ignore_ascii_case(&NAME[..len]) {
                return;
            }
        } else if last == b':' {
            self.state = State::Value;
            return;
        } else if matches!(last, b' ' | b'\t') && len < HELD {
            // RFC 5322 §4.5.3: spaces before the colon, of old.
            return;
        }
        let line_ended = last == b'\n';
        self.decide(false, out);
        self.state = if line_ended { State::Start } else { State::Pass };
    }

    fn decide(&mut self, ours: bool, out: &mut Vec<u8>) {
        if !ours {
            out.extend_from_slice(&self.held);
        }
        self.held.clear();
    }

    fn is_ours(&self) -> bool {
        self.identifier().is_some_and(|id| self.is_own(&id))
    }

    fn is_own(&self, id: &str) -> bool {
        let id = id.strip_suffix('.').unwrap_or(id);
        id.eq_ignore_ascii_case(self.own.ascii()) || Domain::parse(id).is_ok_and(|domain| domain == self.own)
    }

    /// RFC 8601 §2.2: `authserv-id`, a token or quoted string after comments; none where it does not end here.
    fn identifier(&self) -> Option<String> {
        let colon = self.held.iter().position(|&byte| byte == b':')?;
        let mut rest = self.held[colon + 1..].iter().copied().peekable();
        let mut depth = 0_u32;
        let mut id = Vec::new();
        while let Some(byte) = rest.next() {
            match byte {
                b'(' => depth += 1,
                b')' if depth > 0 => depth -= 1,
                b'\\' if depth > 0 => drop(rest.next()),
                _ if depth > 0 => {}
                b' ' | b'\t' | b'\r' | b'\n' => {}
                b'"' => {
                    loop {
                        match rest.next()? {
                            b'"' => break,
                            b'\\' => id.push(rest.next()?),
                            b'\r' | b'\n' => {}
                            byte => id.push(byte),
                        }
                    }
                    return String::from_utf8(id).ok();
                }
                byte => {
                    id.push(byte);
                    let ends = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b';' | b'(');
                    while let Some(byte) = rest.next_if(|byte| !ends(byte)) {
                        id.push(byte);
                    }
                    return Some(String::from_utf8_lossy(&id).into_owned());
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn leaves(message: &[u8], want: &[u8]) {
        let own = Domain::parse("mx.bücher.example").unwrap();
        for size in [1, 2, 3, 7, 64, message.len().max(1)] {
            let (mut filter, mut out) = (OwnResults::new(own.clone()), Vec::new());
            message.chunks(size).for_each(|piece| filter.feed(piece, &mut out));
            filter.finish(&mut out);
            let (out, want) = (String::from_utf8_lossy(&out), String::from_utf8_lossy(want));
            assert_eq!(out, want, "{size} at a time");
        }
    }

    /// RFC 8601 §5.
    #[test]
    fn nobody_brings_results_in_our_name() {
        for ours in [
            "Authentication-Results: mx.xn--bcher-kva.example; dmarc=pass\r\n",
            "authentication-RESULTS \t: MX.XN--BCHER-KVA.example\r\n",
            "Authentication-Results:\r\n (a (nested) \\) comment)\r\n\tmx.xn--bcher-kva.example 1;\r\n\tspf=pass\r\n",
            "Authentication-Results: \"mx.xn--bcher-kva.example\"; spf=pass\r\n",
            "Authentication-Results: mx.bücher.example; spf=pass\r\n",
            "Authentication-Results: mx.xn--bcher-kva.example.(c); spf=pass\r\n",
        ] {
            leaves(
                format!("A: b\r\n{ours}C: d\r\n\r\n{ours}").as_bytes(),
                format!("A: b\r\nC: d\r\n\r\n{ours}").as_bytes(),
            );
            leaves(format!("{ours}{ours}").as_bytes(), b"");
            leaves(format!("{ours}\r\nbody").as_bytes(), b"\r\nbody");
        }
    }

    #[test]
    fn what_others_say_stays() {
        for theirs in [
            "Authentication-Results: mx.other.example; dmarc=pass\r\n",
            "Authentication-Results: other; x=\"mx.xn--bcher-kva.example\"\r\n",
            "Authentication-Results: (mx.xn--bcher-kva.example) other;\r\n\tspf=pass\r\n",
            "Authentication-Results:\r\n",
            "Authentication-Results-X: mx.xn--bcher-kva.example\r\n",
            "ARC-Authentication-Results: i=1; mx.xn--bcher-kva.example\r\n",
            "Authentication\r\n",
            "X: y\r\n Authentication-Results: mx.xn--bcher-kva.example\r\n",
            "Authentication-Results: mx.xn--bcher-kva.example.org\r\n",
        ] {
            for message in
                [format!("A: b\r\n{theirs}C: d\r\n\r\nbody"), theirs.to_owned(), theirs.trim_end().to_owned()]
            {
                leaves(message.as_bytes(), message.as_bytes());
            }
        }
        leaves(b"", b"");
        leaves(b"A", b"A");
        leaves(b"Authentication-Results", b"Authentication-Results");
    }

    /// No memory for those who hide.
    #[test]
    fn a_field_that_hides_its_identifier_goes() {
        let hidden =
            |id: &str| format!("Authentication-Results: ({}) {id}; spf=pass\r\n", "x".repeat(2 * HELD));
        leaves(format!("{}A: b\r\n\r\n", hidden("other")).as_bytes(), b"A: b\r\n\r\n");
        let long = format!("Authentication-Results: other; {}\r\n\tx\r\nA: b\r\n\r\n", "x".repeat(2 * HELD));
        leaves(long.as_bytes(), long.as_bytes());
        let ours = format!(
            "Authentication-Results: mx.xn--bcher-kva.example; {}\r\n\tx\r\nA: b\r\n",
            "x".repeat(2 * HELD)
        );
        leaves(ours.as_bytes(), b"A: b\r\n");
    }
}
