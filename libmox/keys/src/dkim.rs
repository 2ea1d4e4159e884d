//! DKIM signatures over a message that streams by, made with keys that stay in `mox-keys`.
//!
//! Law: RFC 6376 §3.4.2 and §3.4.4 (relaxed), §3.5, §5.4; RFC 8301. Only line ends of CRLF are expected.
//! Signed fields are also listed once more than they occur, so that nobody adds another (RFC 6376 §8.15).
//! Fails with: [`KeysError`]; a message can go without signature (row SU-06).

use crate::{DkimAlgorithm, DkimKey, DkimKeys, Keys, KeysError, SignDkim};
use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use libmox_message::write::Field;
use libmox_types::{Domain, Timestamp};

/// Octets of a header section that are looked at; fields beyond are not signed.
const HEADER_OCTETS: usize = 256 * 1024;
/// Fields that are signed, RFC 6376 §5.4.1.
pub(crate) const SIGNED: [&str; 20] = [
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

    pub(crate) fn body_hash(mut self) -> (Vec<u8>, String) {
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
    let (names, canonical) = header_data(&SIGNED, extra.as_bytes(), &header);
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
        list_names(&mut field, &names);
        field.word(&format!("bh={body_hash};")).word("b=");
        out.push_str(&sign_field(keys, &key, field_without_end(field), canonical.clone()).await?);
    }
    Ok(out)
}

/// `h=`: names between colons.
pub(crate) fn list_names(field: &mut Field, names: &[&str]) {
    for (at, name) in names.iter().enumerate() {
        let end = if at + 1 == names.len() { ";" } else { ":" };
        if at == 0 {
            field.glue(&format!("{name}{end}"))
        } else {
            field.word(&format!("{name}{end}"))
        };
    }
}

/// A field that ends in `b=` with its signature, over canonical data and itself.
pub(crate) async fn sign_field(
    keys: &Keys,
    key: &DkimKey,
    mut field: String,
    mut data: Vec<u8>,
) -> Result<String, KeysError> {
    canonical_field(field.as_bytes(), &mut data);
    // The field being signed is the last and has no line end (RFC 6376 §3.7).
    data.truncate(data.len() - 2);
    let request = SignDkim { domain: key.domain.clone(), selector: key.selector.clone(), data };
    let signature = STANDARD.encode(keys.ask(request).await?);
    for piece in signature.as_bytes().chunks(70) {
        field.push_str("\r\n\t");
        field.extend(piece.iter().map(|&b| char::from(b)));
    }
    field.push_str("\r\n");
    Ok(field)
}

pub(crate) fn field_without_end(field: Field) -> String {
    let mut text = field.finish();
    text.truncate(text.len() - 2);
    text
}

/// The names for `h=` and the canonical fields, in that order: the last occurrence of a name comes first.
pub(crate) fn header_data(
    wanted: &[&'static str],
    extra: &[u8],
    header: &[u8],
) -> (Vec<&'static str>, Vec<u8>) {
    let fields: Vec<&[u8]> = split_fields(extra).into_iter().chain(split_fields(header)).collect();
    let (mut names, mut data) = (Vec::new(), Vec::new());
    for &name in wanted {
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
pub(crate) fn split_fields(header: &[u8]) -> Vec<&[u8]> {
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
pub(crate) fn canonical_field(field: &[u8], out: &mut Vec<u8>) {
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
    use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

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
            &SIGNED,
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

    /// RFC 8463 appendix A: our canonical forms must be those its signature was made over.
    #[test]
    fn the_example_of_rfc_8463() {
        let message = "From: Joe SixPack <joe@football.example.com>\r\nTo: Suzie Q <suzie@shopping.example.net>\r\n\
            Subject: Is dinner ready?\r\nDate: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n\
            Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n\r\n\
            Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n";
        let mut digest = DkimDigest::default();
        digest.feed(message.as_bytes());
        let (header, body_hash) = digest.body_hash();
        assert_eq!(body_hash, "2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=");
        let signature_field = "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n d=football.example.com; i=@football.example.com;\r\n\
            \x20q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n subject : date : message-id : from : subject : date;\r\n\
            \x20bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n b=";
        let mut data = Vec::new();
        for field in split_fields(&header).into_iter().take(5) {
            canonical_field(field, &mut data);
        }
        canonical_field(signature_field.as_bytes(), &mut data);
        data.truncate(data.len() - 2);
        let signature = STANDARD
            .decode(
                "/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11BusFa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==",
            )
            .unwrap();
        verify("11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=", &data, &signature);
    }

    /// RFC 8463 §3: Ed25519 signs the hash of the data.
    #[track_caller]
    fn verify(public: &str, data: &[u8], signature: &[u8]) {
        let key = UnparsedPublicKey::new(&ED25519, STANDARD.decode(public).unwrap());
        key.verify(aws_lc_rs::digest::digest(&SHA256, data).as_ref(), signature).unwrap();
    }

    #[tokio::test]
    async fn what_is_signed_verifies() {
        let pair = Ed25519KeyPair::generate().unwrap();
        let public = STANDARD.encode(pair.public_key());
        let (keys, _held) = crate::testing::keys(crate::testing::OneKey::Ed25519(pair)).await;
        let message =
            b"From: a@example.org\r\nReferences: <1@x>\r\n <2@x>\r\nSubject:  two  spaces \r\n\r\nbody \r\n";
        let mut digest = DkimDigest::default();
        digest.feed(message);
        let domain = Domain::parse("example.org").unwrap();
        let field = sign(&keys, &domain, "Date: now\r\n", digest, Timestamp(7)).await.unwrap();
        assert!(field.lines().all(|line| line.len() <= 78), "{field}");
        // As a verifier reads it: tags, the named fields from the bottom up, its own field without the signature.
        let value: String = field.split_once(':').unwrap().1.split_whitespace().collect();
        let tag = |name: &str| value.split(';').find_map(|t| t.strip_prefix(name)).unwrap().to_string();
        assert_eq!((tag("d="), tag("s="), tag("t=")), ("example.org".into(), "sel".into(), "7".into()));
        let mut left: Vec<&[u8]> = vec![b"Date: now\r\n"];
        left.extend(split_fields(message).into_iter().take(3));
        let mut data = Vec::new();
        for name in tag("h=").split(':') {
            let is_it = |field: &&[u8]| field.to_ascii_lowercase().starts_with(format!("{name}:").as_bytes());
            if let Some(at) = left.iter().rposition(is_it) {
                canonical_field(left.remove(at), &mut data);
            }
        }
        assert!(left.is_empty());
        let own = &field[..field.rfind("b=").unwrap() + 2];
        canonical_field(own.as_bytes(), &mut data);
        data.truncate(data.len() - 2);
        verify(&public, &data, &STANDARD.decode(tag("b=")).unwrap());
        assert_eq!(tag("bh="), sha256(b"body\r\n"));
    }
}
