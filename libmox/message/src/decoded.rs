//! The text of a part, as it passes by: transfer encoding and charset undone, up to a limit.
//!
//! Law: RFC 2045 §6. For the preview and for words, which look at the same text and keep different things of it.
//! Does not know: what the text says. Fails with: nothing; what cannot be decoded becomes U+FFFD.

use crate::transfer::Decoder;
use crate::words::charset_named;
use encoding_rs::UTF_8;

/// Decodes one text part.
pub(crate) struct Decoded {
    transfer: Decoder,
    charset: encoding_rs::Decoder,
    bytes: Vec<u8>,
    text: String,
    looked_at: usize,
    most: usize,
}

impl Decoded {
    /// `looked_at` of at most `most` octets were looked at before.
    pub(crate) fn new(
        charset: Option<&[u8]>,
        encoding: Option<&[u8]>,
        looked_at: usize,
        most: usize,
    ) -> Self {
        Self {
            transfer: Decoder::for_encoding(encoding),
            charset: charset.and_then(charset_named).unwrap_or(UTF_8).new_decoder(),
            bytes: Vec::new(),
            text: String::new(),
            looked_at,
            most,
        }
    }

    /// The text of a piece of the body.
    pub(crate) fn feed(&mut self, piece: &[u8]) -> &str {
        self.bytes.clear();
        self.transfer.feed(piece, &mut self.bytes);
        self.decode(false)
    }

    /// What was still held.
    pub(crate) fn finish(&mut self) -> &str {
        self.bytes.clear();
        self.transfer.finish(&mut self.bytes);
        self.decode(true)
    }

    /// No more is looked at.
    pub(crate) fn full(&self) -> bool {
        self.looked_at >= self.most
    }

    pub(crate) fn looked_at(&self) -> usize {
        self.looked_at
    }

    fn decode(&mut self, last: bool) -> &str {
        // Cut by what was seen before, so that the pieces' sizes do not matter.
        self.bytes.truncate(self.most - self.looked_at);
        self.looked_at += self.bytes.len();
        self.text.clear();
        let need = self.charset.max_utf8_buffer_length(self.bytes.len()).unwrap_or(0);
        self.text.reserve(need);
        let _ = self.charset.decode_to_string(&self.bytes, &mut self.text, last);
        &self.text
    }
}
