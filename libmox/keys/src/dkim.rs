//! DKIM signatures over a message that streams by, made with keys that stay in `mox-keys`.
//!
//! Law: RFC 6376 §3.4 (both forms of header and body), §3.5, §5.4; RFC 8301. Only line ends of CRLF are expected.
//! Fields that readers see are also listed once more than they occur, so that nobody adds another (RFC 6376 §8.15);
//! row MA-05: each key may do it its own way.
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
pub(crate) const CLOSED: [&str; 7] = ["from", "to", "cc", "subject", "date", "message-id", "reply-to"];

/// What a signature is made over, gathered piece by piece.
#[derive(Default)]
pub struct DkimDigest {
    header: Vec<u8>,
    /// The body has begun.
    in_body: bool,
    /// Octets of the current header line, to find the empty one.
    line: usize,
    relaxed: Body,
    simple: Body,
    space: bool,
}

/// One of the two forms of the body. RFC 6376 §3.4.3 and §3.4.4: empty lines at its end do not count.
struct Body {
    hash: Context,
    out: Vec<u8>,
    line_ends: u64,
    any: bool,
}

impl Default for Body {
    fn default() -> Self {
        Self { hash: Context::new(&SHA256), out: Vec::new(), line_ends: 0, any: false }
    }
}

impl Body {
    /// Octets within one line.
    fn run(&mut self, octets: &[u8]) {
        self.any = true;
        for _ in 0..std::mem::take(&mut self.line_ends) {
            self.out.extend_from_slice(b"\r\n");
            self.spill();
        }
        self.out.extend_from_slice(octets);
        self.spill();
    }

    fn spill(&mut self) {
        if self.out.len() >= 8 * 1024 {
            self.hash.update(&self.out);
            self.out.clear();
        }
    }

    /// Base64, for `bh=`.
    fn finish(mut self, empty_line: bool) -> String {
        if self.any || empty_line {
            self.out.extend_from_slice(b"\r\n");
        }
        self.hash.update(&self.out);
        STANDARD.encode(self.hash.finish())
    }
}

/// `bh=` in both forms.
pub(crate) struct BodyHashes {
    pub(crate) relaxed: String,
    pub(crate) simple: String,
}

impl std::fmt::Debug for DkimDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DkimDigest({} header octets)", self.header.len())
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

    fn feed_body(&mut self, bytes: &[u8]) {
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let runs = line.split(|byte| matches!(byte, b'\r' | b'\n')).filter(|run| !run.is_empty());
            for run in runs {
                self.simple.run(run);
                // Each but the first comes after white space.
                for (at, word) in run.split(|byte| matches!(byte, b' ' | b'\t')).enumerate() {
                    self.space |= at > 0;
                    if !word.is_empty() {
                        if std::mem::take(&mut self.space) {
                            self.relaxed.run(b" ");
                        }
                        self.relaxed.run(word);
                    }
                }
            }
            if line.ends_with(b"\n") {
                self.space = false;
                self.relaxed.line_ends += 1;
                self.simple.line_ends += 1;
            }
        }
    }

    /// The header, and what the body comes to.
    pub(crate) fn body_hashes(self) -> (Vec<u8>, BodyHashes) {
        // §3.4.3: an empty body is an empty line where it is taken as it is.
        (self.header, BodyHashes { relaxed: self.relaxed.finish(false), simple: self.simple.finish(true) })
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
    let (header, bodies) = digest.body_hashes();
    let mut out = String::new();
    for key in signing {
        let algorithm = match key.algorithm {
            DkimAlgorithm::Rsa2048 => "rsa-sha256",
            DkimAlgorithm::Ed25519 => "ed25519-sha256",
        };
        let how = &key.how;
        let form = |simple| if simple { Form::Simple } else { Form::Relaxed };
        let (header_form, body_form) = (form(how.header_simple), form(how.body_simple));
        let wanted: Vec<&str> = match &how.headers {
            Some(names) => names.iter().map(String::as_str).collect(),
            None => SIGNED.to_vec(),
        };
        let sealed: &[&str] = match how.seal {
            None => &CLOSED,
            Some(true) => &wanted,
            Some(false) => &[],
        };
        let (names, canonical) = header_data(&wanted, sealed, header_form, extra.as_bytes(), &header);
        let mut field = Field::new("DKIM-Signature");
        field
            .word("v=1;")
            .word(&format!("a={algorithm};"))
            .word(&format!("c={}/{};", header_form.word(), body_form.word()))
            .word(&format!("d={};", key.domain.ascii()))
            .word(&format!("s={};", key.selector))
            .word(&format!("t={};", now.0));
        if let Some(seconds) = how.expiration {
            field.word(&format!("x={};", now.plus(i64::from(seconds)).0));
        }
        field.word("h=");
        list_names(&mut field, &names);
        let body_hash = if how.body_simple { &bodies.simple } else { &bodies.relaxed };
        field.word(&format!("bh={body_hash};")).word("b=");
        let field = field_without_end(field);
        out.push_str(&sign_field(keys, &key, header_form, field, canonical).await?);
    }
    Ok(out)
}

/// How a field is written before it is signed. RFC 6376 §3.4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// §3.4.2
    Relaxed,
    /// §3.4.1
    Simple,
}

impl Form {
    fn word(self) -> &'static str {
        match self {
            Self::Relaxed => "relaxed",
            Self::Simple => "simple",
        }
    }

    fn write(self, field: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Relaxed => canonical_field(field, out),
            Self::Simple => {
                out.extend_from_slice(field);
                if !field.ends_with(b"\r\n") {
                    out.extend_from_slice(b"\r\n");
                }
            }
        }
    }
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
    form: Form,
    mut field: String,
    mut data: Vec<u8>,
) -> Result<String, KeysError> {
    form.write(field.as_bytes(), &mut data);
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

/// The names for `h=` and the fields in their form, in that order: the last occurrence of a name comes first. Sealed
/// names stand once more at the end of theirs.
pub(crate) fn header_data<'n>(
    wanted: &[&'n str],
    sealed: &[&str],
    form: Form,
    extra: &[u8],
    header: &[u8],
) -> (Vec<&'n str>, Vec<u8>) {
    let fields: Vec<&[u8]> = split_fields(extra).into_iter().chain(split_fields(header)).collect();
    let (mut names, mut data) = (Vec::new(), Vec::new());
    for &name in wanted {
        let same = |field: &&&[u8]| {
            let colon = field.iter().position(|&b| b == b':').unwrap_or(0);
            field[..colon].trim_ascii_end().eq_ignore_ascii_case(name.as_bytes())
        };
        for field in fields.iter().rev().filter(same) {
            names.push(name);
            form.write(field, &mut data);
        }
        if sealed.contains(&name) {
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
    use crate::DkimHow;
    use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

    fn hash(message: &[u8], size: usize) -> String {
        let mut digest = DkimDigest::default();
        message.chunks(size).for_each(|piece| digest.feed(piece));
        digest.body_hashes().1.relaxed
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
    fn bodies_are_taken_as_they_are() {
        // RFC 6376 §3.4.3 and the edges around it.
        for (body, want) in [
            (" C \r\nD \t E\r\n\r\n\r\n", " C \r\nD \t E\r\n"),
            ("", "\r\n"),
            ("\r\n\r\n", "\r\n"),
            ("\r\n \r\n", "\r\n \r\n"),
            ("a", "a\r\n"),
        ] {
            let message = format!("A: b\r\n\r\n{body}");
            for size in 1..=message.len() {
                let mut digest = DkimDigest::default();
                message.as_bytes().chunks(size).for_each(|piece| digest.feed(piece));
                assert_eq!(digest.body_hashes().1.simple, sha256(want.as_bytes()), "{body:?} by {size}");
            }
        }
    }

    /// Row MA-05.
    #[tokio::test]
    async fn a_key_signs_as_it_is_told() {
        let how = DkimHow {
            header_simple: true,
            body_simple: true,
            headers: Some(vec!["from".into(), "subject".into(), "x-own".into()]),
            seal: Some(true),
            expiration: Some(3 * 24 * 3600),
        };
        let pair = Ed25519KeyPair::generate().unwrap();
        let public = STANDARD.encode(pair.public_key());
        let one = crate::testing::OneKey::Ed25519(pair);
        let (keys, _held) = crate::testing::keys_with(one, how.clone()).await;
        let message =
            b"FROM: a@example.org\r\nSubject:  two  spaces\r\n\tfolded\r\nTo: b@x\r\n\r\nbody \r\n\r\n";
        let mut digest = DkimDigest::default();
        digest.feed(message);
        let domain = Domain::parse("example.org").unwrap();
        let field = sign(&keys, &domain, "", digest, Timestamp(7)).await.unwrap();
        let value: String = field.split_once(':').unwrap().1.split_whitespace().collect();
        let tag = |name: &str| value.split(';').find_map(|t| t.strip_prefix(name)).unwrap().to_string();
        assert_eq!(tag("c="), "simple/simple");
        assert_eq!((tag("t="), tag("x=")), ("7".into(), "259207".into()));
        assert_eq!(tag("h="), "from:from:subject:subject:x-own");
        assert_eq!(tag("bh="), sha256(b"body \r\n"));
        let mut data = b"FROM: a@example.org\r\nSubject:  two  spaces\r\n\tfolded\r\n".to_vec();
        data.extend_from_slice(&field.as_bytes()[..field.rfind("b=").unwrap() + 2]);
        verify(&public, &data, &STANDARD.decode(tag("b=")).unwrap());
    }

    #[test]
    fn headers_are_relaxed_and_closed() {
        let (names, data) = header_data(
            &SIGNED,
            &CLOSED,
            Form::Relaxed,
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
        let (header, bodies) = digest.body_hashes();
        assert_eq!(bodies.relaxed, "2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=");
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
