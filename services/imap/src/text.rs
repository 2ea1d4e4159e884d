//! Words in running text: case is folded, pieces may be cut anywhere.
//!
//! Row TR-53: a term is found in any charset and across any cut, without holding the text.

use encoding_rs::{Decoder, Encoding};
use libmox_message::words::decode_words;
use memchr::memmem::{self, Finder};

/// Octets of a field that are folded on the stack.
const SHORT_FIELD: usize = 256;

/// A term looked for.
#[derive(Debug, Clone)]
pub struct Term(Finder<'static>);

impl Term {
    /// Folds the term.
    pub fn new(text: &str) -> Self {
        Self(Finder::new(fold(text).as_bytes()).into_owned())
    }

    /// Whether every text contains it.
    pub fn is_empty(&self) -> bool {
        self.0.needle().is_empty()
    }

    /// Whether the value of a header field contains it, encoded words decoded.
    pub fn is_in_field(&self, value: &[u8]) -> bool {
        // Most are short and plain: nothing to decode, and no memory to ask for.
        let mut room = [0; SHORT_FIELD];
        match room.get_mut(..value.len()) {
            Some(folded) if value.is_ascii() && memmem::find(value, b"=?").is_none() => {
                folded.copy_from_slice(value);
                folded.make_ascii_lowercase();
                self.is_empty() || self.0.find(folded).is_some()
            }
            _ => self.is_in(&decode_words(value)),
        }
    }

    /// Whether a whole text contains it.
    pub fn is_in(&self, text: &str) -> bool {
        self.is_empty() || self.0.find(fold(text).as_bytes()).is_some()
    }
}

fn fold(text: &str) -> String {
    if text.is_ascii() { text.to_ascii_lowercase() } else { text.to_lowercase() }
}

/// Looks for several terms in octets of one charset as they stream by.
pub struct Scan {
    decoder: Decoder,
    /// Nothing but ASCII came so far, in a charset where it means itself: it need not be decoded.
    plain: bool,
    /// Folded text not yet passed: the end of what was seen, in case a term goes on.
    held: Vec<u8>,
    keep: usize,
}

impl Scan {
    /// Before the first octet of a text; `terms` are those it will be asked for.
    pub fn new<'t>(encoding: &'static Encoding, terms: impl IntoIterator<Item = &'t Term>) -> Self {
        let keep = terms.into_iter().map(|term| term.0.needle().len()).max().unwrap_or(0);
        let plain = encoding.is_ascii_compatible();
        Self { decoder: encoding.new_decoder_without_bom_handling(), plain, held: Vec::new(), keep }
    }

    /// More octets; `found` is called with the index of each term that is there now.
    pub fn feed<'t>(
        &mut self,
        octets: &[u8],
        last: bool,
        terms: impl IntoIterator<Item = (usize, &'t Term)>,
        mut found: impl FnMut(usize),
    ) {
        self.plain = self.plain && octets.is_ascii();
        if self.plain {
            let start = self.held.len();
            self.held.extend_from_slice(octets);
            self.held[start..].make_ascii_lowercase();
        } else {
            let room = self.decoder.max_utf8_buffer_length(octets.len()).unwrap_or(octets.len() * 3 + 16);
            let mut text = String::with_capacity(room);
            // The room is enough for all of it.
            let _ = self.decoder.decode_to_string(octets, &mut text, last);
            self.held.extend_from_slice(fold(&text).as_bytes());
        }
        for (at, term) in terms {
            if term.0.find(&self.held).is_some() {
                found(at);
            }
        }
        // Characters may be cut: in UTF-8 a term is found at the start of one only.
        let cut = self.held.len().saturating_sub(self.keep);
        self.held.drain(..cut);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use encoding_rs::{ISO_8859_2, SHIFT_JIS, UTF_8};

    #[track_caller]
    fn finds(encoding: &'static Encoding, octets: &[u8], term: &str, want: bool) {
        let term = Term::new(term);
        for cut in [1, 2, 3, 1000] {
            let mut scan = Scan::new(encoding, [&term]);
            let mut hit = false;
            for piece in octets.chunks(cut) {
                scan.feed(piece, false, [(0, &term)], |_| hit = true);
            }
            scan.feed(&[], true, [(0, &term)], |_| hit = true);
            assert_eq!(hit, want, "{term:?} in pieces of {cut}");
        }
    }

    #[test]
    fn terms_are_found_in_any_charset_and_across_cuts() {
        finds(UTF_8, "Grüße aus KÖLN".as_bytes(), "köln", true);
        finds(UTF_8, "Grüße aus KÖLN".as_bytes(), "koln", false);
        finds(ISO_8859_2, b"P\xf8\xedli\xb9 \xbelu\xbbou\xe8k\xfd", "žluť", true);
        let (octets, ..) = SHIFT_JIS.encode("こんにちは世界");
        finds(SHIFT_JIS, &octets, "世界", true);
        finds(UTF_8, b"\xff\xfebroken\xc3", "broken", true);
        let mut long = vec![b'x'; 8190];
        long.extend_from_slice(b"Needle");
        long.extend_from_slice(&[b'y'; 9000]);
        finds(UTF_8, &long, "needle", true);
        finds(UTF_8, &long, "needlez", false);
    }

    #[test]
    fn fields_are_read_as_they_are_meant() {
        let long = format!("{} Bestellung", "x".repeat(SHORT_FIELD));
        for (value, term, want) in [
            ("Re: your Order", "ORDER", true),
            ("Re: your Order", "orders", false),
            ("=?utf-8?Q?K=C3=B6ln?= am Rhein", "köln AM", true),
            ("=?utf-8?Q?K=C3=B6ln?=", "utf-8", false),
            ("Köln", "KÖLN", true),
            (&long, "bestell", true),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(Term::new(term).is_in_field(value.as_bytes()), want, "{term} in {value}");
        }
    }

    #[test]
    fn nothing_is_in_everything() {
        assert!(Term::new("").is_in("") && Term::new("A").is_in("xay") && !Term::new("b").is_in("a"));
    }
}
