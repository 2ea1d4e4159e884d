//! DKIM signatures over a message that streams by, made with keys that stay in `mox-keys`.
//!
//! Law: RFC 6376 §3.4.2 and §3.4.4 (relaxed), §3.5, §5.4; RFC 8301. Only line ends of CRLF are expected.
//! Signed fields are also listed once more than they occur, so that nobody adds another (RFC 6376 §8.15).
//! Fails with: [`KeysError`]; a message can go without signature (row SU-06).

use crate::{DkimAlgorithm, DkimKeys, Keys, KeysError, SignDkim};
use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use libmox_message::write::Field;
use libmox_types::{Domain, Timestamp};

/// Octets of a header section that are looked at; fields beyond are not signed.
const HEADER_OCTETS: usize = 256 * 1024;
/// Fields that are signed, RFC 6376 §5.4.1.
const SIGNED: [&str; 20] = [
    "from",
    "to",
    "cc",
    "subject",
    "date",
    "message-id",
    "reply-to",
    "sender",
    "in-reply-to",
    "references",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
    "list-id",
    "list-post",
    "list-help",
    "list-unsubscribe",
    "list-unsubscribe-post",
    "auto-submitted",
    "tls-required",
];
/// Of them, those that may not be added later.
const CLOSED: [&str; 7] = ["from", "to", "cc", "subject", "date", "message-id", "reply-to"];

/// What a signature is made over, gathered piece by piece.
pub struct DkimDigest {
    header: Vec<u8>,
    /// The body has begun.
    in_body: bool,
    /// Octets of the current header line, to find the empty one.
    line: usize,
    body: Context,
    out: Vec<u8>,
    space: bool,
    line_ends: u64,
    any: bool,
}

impl std::fmt::Debug for DkimDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DkimDigest({} header octets)", self.header.len())
    }
}

impl Default for DkimDigest {
    fn default() -> Self {
        Self {
            header: Vec::new(),
            in_body: false,
            line: 0,
            body: Context::new(&SHA256),
            out: Vec::new(),
            space: false,
            line_ends: 0,
            any: false,
        }
    }
}

impl DkimDigest {
    /// The next octets of the message.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while !self.in_body && !bytes.is_empty() {
            let len = bytes.iter().position(|&b| b == b'\n').map_or(bytes.len(), |at| at + 1);
            let (piece, rest) = bytes.split_at(len);
            bytes = rest;
            self.line += piece.iter().filter(|b| !matches!(b, b'\r' | b'\n')).count();
            let room = HEADER_OCTETS.saturating_sub(self.header.len());
            self.header.extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.ends_with(b"\n") {
                self.in_body = self.line == 0;
                self.line = 0;
            }
        }
        self.feed_body(bytes);
    }

    /// RFC 6376 §3.4.4.
    fn feed_body(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            match byte {
                b'\r' => {}
                b'\n' => {
                    self.space = false;
                    self.line_ends += 1;
                }
                b' ' | b'\t' => self.space = true,
                byte => {
                    self.any = true;
                    for _ in 0..std::mem::take(&mut self.line_ends) {
                        self.out.extend_from_slice(b"\r\n");
                        self.spill();
                    }
                    if std::mem::take(&mut self.space) {
                        self.out.push(b' ');
                    }
                    self.out.push(byte);
                    self.spill();
                }
            }
        }
    }

    fn spill(&mut self) {
        if self.out.len() >= 8 * 1024 {
            self.body.update(&self.out);
            self.out.clear();
        }
    }

    fn body_hash(mut self) -> (Vec<u8>, String) {
        if self.any {
            self.out.extend_from_slice(b"\r\n");
        }
        self.body.update(&self.out);
        (self.header, STANDARD.encode(self.body.finish()))
    }
}

/// Signs with every key that signs for the domain: `DKIM-Signature` fields, CRLF lines; none where it has no key.
/// `extra` are header fields put before the message that are signed too.
pub async fn sign(
    keys: &Keys,
    domain: &Domain,
    extra: &str,
    digest: DkimDigest,
    now: Timestamp,
) -> Result<String, KeysError> {
    let signing: Vec<_> =
        keys.ask(DkimKeys { domain: domain.clone() }).await?.into_iter().filter(|key| key.signs).collect();
    if signing.is_empty() {
        return Ok(String::new());
    }
    let (header, body_hash) = digest.body_hash();
    let (names, canonical) = header_data(extra.as_bytes(), &header);
    let mut out = String::new();
    for key in signing {
        let algorithm = match key.algorithm {
            DkimAlgorithm::Rsa2048 => "rsa-sha256",
            DkimAlgorithm::Ed25519 => "ed25519-sha256",
        };
        let mut field = Field::new("DKIM-Signature");
        field
            .word("v=1;")
            .word(&format!("a={algorithm};"))
            .word("c=relaxed/relaxed;")
            .word(&format!("d={};", key.domain.ascii()))
            .word(&format!("s={};", key.selector))
            .word(&format!("t={};", now.0))
            .word("h=");
        for (at, name) in names.iter().enumerate() {
            let end = if at + 1 == names.len() { ";" } else { ":" };
            if at == 0 {
                field.glue(&format!("{name}{end}"))
            } else {
                field.word(&format!("{name}{end}"))
            };
        }
        field.word(&format!("bh={body_hash};")).word("b=");
        let mut data = canonical.clone();
        let own = field_without_end(field);
        canonical_field(own.as_bytes(), &mut data);
        // The field being signed is the last and has no line end (RFC 6376 §3.7).
        data.truncate(data.len() - 2);
        let request = SignDkim { domain: key.domain.clone(), selector: key.selector.clone(), data };
        let signature = STANDARD.encode(keys.ask(request).await?);
        out.push_str(&own);
        for piece in signature.as_bytes().chunks(70) {
            out.push_str("\r\n\t");
            out.extend(piece.iter().map(|&b| char::from(b)));
        }
        out.push_str("\r\n");
    }
    Ok(out)
}

fn field_without_end(field: Field) -> String {
    let mut text = field.finish();
    text.truncate(text.len() - 2);
    text
}

/// The names for `h=` and the canonical fields, in that order: the last occurrence of a name comes first.
fn header_data(extra: &[u8], header: &[u8]) -> (Vec<&'static str>, Vec<u8>) {
    let fields: Vec<&[u8]> = split_fields(extra).into_iter().chain(split_fields(header)).collect();
    let (mut names, mut data) = (Vec::new(), Vec::new());
    for name in SIGNED {
        let same = |field: &&&[u8]| {
            let colon = field.iter().position(|&b| b == b':').unwrap_or(0);
            field[..colon].trim_ascii_end().eq_ignore_ascii_case(name.as_bytes())
        };
        for field in fields.iter().rev().filter(same) {
            names.push(name);
            canonical_field(field, &mut data);
        }
        if CLOSED.contains(&name) {
            names.push(name);
        }
    }
    (names, data)
}

/// Fields with their folded lines.
fn split_fields(header: &[u8]) -> Vec<&[u8]> {
    let mut fields = Vec::new();
    let (mut start, mut at) = (0, 0);
    while at < header.len() {
        let end = header[at..].iter().position(|&b| b == b'\n').map_or(header.len(), |len| at + len + 1);
        if !matches!(header.get(end), Some(b' ' | b'\t')) {
            fields.push(&header[start..end]);
            start = end;
        }
        at = end;
    }
    fields
}

/// RFC 6376 §3.4.2.
fn canonical_field(field: &[u8], out: &mut Vec<u8>) {
    let colon = field.iter().position(|&b| b == b':').unwrap_or(field.len());
    out.extend(field[..colon].trim_ascii_end().iter().map(u8::to_ascii_lowercase));
    out.push(b':');
    let value = field.get(colon + 1..).unwrap_or_default();
    let mut first = true;
    for word in value.split(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n')).filter(|word| !word.is_empty()) {
        if !std::mem::take(&mut first) {
            out.push(b' ');
        }
        out.extend_from_slice(word);
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(message: &[u8], size: usize) -> String {
        let mut digest = DkimDigest::default();
        message.chunks(size).for_each(|piece| digest.feed(piece));
        digest.body_hash().1
    }

    fn sha256(text: &[u8]) -> String {
        STANDARD.encode(aws_lc_rs::digest::digest(&SHA256, text))
    }

    #[test]
    fn bodies_are_relaxed() {
        // RFC 6376 §3.4.5 and the edges around it.
        for (body, want) in [
            (" C \r\nD \t E\r\n\r\n\r\n", " C\r\nD E\r\n"),
            ("", ""),
            ("\r\n\r\n \r\n", ""),
            ("a", "a\r\n"),
            ("\r\na \r\n \r\nb", "\r\na\r\n\r\nb\r\n"),
        ] {
            let message = format!("A: b\r\n\r\n{body}");
            for size in 1..=message.len() {
                assert_eq!(hash(message.as_bytes(), size), sha256(want.as_bytes()), "{body:?} by {size}");
            }
        }
        assert_eq!(hash(b"A: b\r\n", 2), sha256(b""));
        assert_eq!(hash(b"\r\nx\r\n", 1), sha256(b"x\r\n"));
    }

    #[test]
    fn headers_are_relaxed_and_closed() {
        let (names, data) = header_data(
            b"Date: now\r\n",
            b"SUBJect \t: a\r\n\t b  c \r\nFrom: x@y\r\nX-Other: z\r\nto:1\r\nTo:2\r\n\r\n",
        );
        assert_eq!(
            names,
            [
                "from",
                "from",
                "to",
                "to",
                "to",
                "cc",
                "subject",
                "subject",
                "date",
                "date",
                "message-id",
                "reply-to"
            ]
        );
        assert_eq!(
            String::from_utf8(data).unwrap(),
            "from:x@y\r\nto:2\r\nto:1\r\nsubject:a b c\r\ndate:now\r\n"
        );
    }
}
