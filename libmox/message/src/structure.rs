//! What a message is made of: a tree of parts with their places in the bytes.
//!
//! Law: RFC 2045, RFC 2046; enough for BODYSTRUCTURE, ENVELOPE and `BODY[section]` of RFC 9051 without reading
//! the message again.
//! Stored by others as opaque bytes: a version byte, then each part in pre-order, postcard, behind its number
//! of children. Fields are added in a new version only; golden bytes are tested.
//! Fails with: [`StructureFault`].

use crate::limits;
use crate::params::{Disposition, Param};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The first byte of the stored form.
const VERSION: u8 = 1;
/// The same of a message that [`Structure::repeats`].
const REPEATS: u8 = 2;

/// The tree of one message. The root is the message itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Structure {
    /// Its header is the message's header, its envelope is always there.
    pub root: Part,
    /// A field that a message has once (RFC 5322 §3.6) and of which the envelope holds the first stands there again.
    pub repeats: bool,
}

/// One body part, or a message within `message/rfc822`.
///
/// The header is `header_start..body_start` with the empty line, the body `body_start..body_end`. The line end
/// before a boundary belongs to the boundary.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Offset of the first header line.
    pub header_start: u64,
    /// Offset behind the empty line.
    pub body_start: u64,
    /// Offset behind the body.
    pub body_end: u64,
    /// Line ends in the body.
    pub lines: u64,
    /// `text`, in lower case.
    pub media_type: String,
    /// `plain`, in lower case.
    pub subtype: String,
    /// Of Content-Type, as on the wire.
    pub params: Vec<Param>,
    /// Content-ID with its brackets.
    pub id: Option<Vec<u8>>,
    /// Content-Description.
    pub description: Option<Vec<u8>>,
    /// Content-Transfer-Encoding, as written.
    pub encoding: Option<Vec<u8>>,
    /// Content-MD5.
    pub md5: Option<Vec<u8>>,
    /// Content-Disposition.
    pub disposition: Option<Disposition>,
    /// Content-Language.
    pub language: Vec<Vec<u8>>,
    /// Content-Location.
    pub location: Option<Vec<u8>>,
    /// Of the root, and of the message within a `message/rfc822` part.
    pub envelope: Option<Box<Envelope>>,
    /// Of a multipart: its parts, at least one. Of `message/rfc822`: the message. Else none.
    #[serde(skip)]
    pub children: Vec<Part>,
}

/// Header fields of a message, unfolded, else as on the wire. Of a repeated address field all, joined by
/// commas; of the others the first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// Date.
    pub date: Option<Vec<u8>>,
    /// Subject.
    pub subject: Option<Vec<u8>>,
    /// From.
    pub from: Option<Vec<u8>>,
    /// Sender.
    pub sender: Option<Vec<u8>>,
    /// Reply-To.
    pub reply_to: Option<Vec<u8>>,
    /// To.
    pub to: Option<Vec<u8>>,
    /// Cc.
    pub cc: Option<Vec<u8>>,
    /// Bcc.
    pub bcc: Option<Vec<u8>>,
    /// In-Reply-To.
    pub in_reply_to: Option<Vec<u8>>,
    /// Message-ID.
    pub message_id: Option<Vec<u8>>,
}

/// An [`Envelope`] that is somebody else's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "as in `Envelope`")]
pub struct EnvelopeView<'a> {
    #[serde(borrow)]
    pub date: Option<&'a [u8]>,
    #[serde(borrow)]
    pub subject: Option<&'a [u8]>,
    #[serde(borrow)]
    pub from: Option<&'a [u8]>,
    #[serde(borrow)]
    pub sender: Option<&'a [u8]>,
    #[serde(borrow)]
    pub reply_to: Option<&'a [u8]>,
    #[serde(borrow)]
    pub to: Option<&'a [u8]>,
    #[serde(borrow)]
    pub cc: Option<&'a [u8]>,
    #[serde(borrow)]
    pub bcc: Option<&'a [u8]>,
    #[serde(borrow)]
    pub in_reply_to: Option<&'a [u8]>,
    #[serde(borrow)]
    pub message_id: Option<&'a [u8]>,
}

impl Envelope {
    /// To look at.
    #[must_use]
    pub fn view(&self) -> EnvelopeView<'_> {
        EnvelopeView {
            date: self.date.as_deref(),
            subject: self.subject.as_deref(),
            from: self.from.as_deref(),
            sender: self.sender.as_deref(),
            reply_to: self.reply_to.as_deref(),
            to: self.to.as_deref(),
            cc: self.cc.as_deref(),
            bcc: self.bcc.as_deref(),
            in_reply_to: self.in_reply_to.as_deref(),
            message_id: self.message_id.as_deref(),
        }
    }
}

/// The envelope in the stored form of a structure, at a fraction of what all of it costs. None where there is none to read.
#[must_use]
pub fn envelope_in(bytes: &[u8]) -> Option<EnvelopeView<'_>> {
    type Params<'a> = Vec<(&'a str, &'a [u8])>;
    /// [`Part`], in its order.
    #[derive(Deserialize)]
    struct Root<'a> {
        _numbers: (u64, u64, u64, u64),
        #[serde(borrow)]
        _kind: (&'a str, &'a str),
        #[serde(borrow)]
        _params: Params<'a>,
        #[serde(borrow)]
        _fields: [Option<&'a [u8]>; 4],
        #[serde(borrow)]
        _disposition: Option<(&'a str, Params<'a>)>,
        #[serde(borrow)]
        _language: Vec<&'a [u8]>,
        #[serde(borrow)]
        _location: Option<&'a [u8]>,
        #[serde(borrow)]
        envelope: Option<EnvelopeView<'a>>,
    }
    let (&version, rest) = bytes.split_first()?;
    if !matches!(version, VERSION | REPEATS) {
        return None;
    }
    let (_, rest) = postcard::take_from_bytes::<u32>(rest).ok()?;
    let (root, _) = postcard::take_from_bytes::<Root<'_>>(rest).ok()?;
    root.envelope
}

/// [`Structure::repeats`] of the stored form.
#[must_use]
pub fn repeats_in(bytes: &[u8]) -> bool {
    bytes.first() == Some(&REPEATS)
}

impl Part {
    /// Whether it is `multipart/*` that was taken apart.
    #[must_use]
    pub fn is_multipart(&self) -> bool {
        self.media_type == "multipart" && !self.children.is_empty()
    }

    /// The message within a `message/rfc822` part.
    #[must_use]
    pub fn message(&self) -> Option<&Part> {
        if self.media_type == "message" { self.children.first() } else { None }
    }

    /// Octets of the body as transferred.
    #[must_use]
    pub fn body_len(&self) -> u64 {
        self.body_end.saturating_sub(self.body_start)
    }

    fn shift(&mut self, by: u64) {
        self.header_start += by;
        self.body_start += by;
        self.body_end += by;
        self.children.iter_mut().for_each(|child| child.shift(by));
    }
}

/// Stored bytes that are not a structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StructureFault {
    /// Written by a newer mox.
    #[error("structure of unknown version {0}")]
    Version(u8),
    /// Damaged.
    #[error("damaged structure")]
    Damaged,
}

impl Structure {
    /// The stored form.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        fn write(part: &Part, mut out: Vec<u8>) -> Vec<u8> {
            let children = u32::try_from(part.children.len()).unwrap_or(u32::MAX);
            // Writing plain data into a growing vector has no way to fail.
            out = postcard::to_extend(&children, out).unwrap_or_default();
            out = postcard::to_extend(part, out).unwrap_or_default();
            part.children.iter().fold(out, |out, child| write(child, out))
        }
        write(&self.root, vec![if self.repeats { REPEATS } else { VERSION }])
    }

    /// Reads the stored form; bounded in depth and parts whoever wrote it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StructureFault> {
        let (&version, mut rest) = bytes.split_first().ok_or(StructureFault::Damaged)?;
        let repeats = match version {
            VERSION => false,
            REPEATS => true,
            other => return Err(StructureFault::Version(other)),
        };
        // Parts that still wait for children.
        let mut open: Vec<(Part, u32)> = Vec::new();
        let mut parts = 0;
        loop {
            parts += 1;
            // A multipart without parts was given one, so there may be more than were counted.
            if parts > 2 * limits::PARTS || open.len() > 2 * limits::NESTING {
                return Err(StructureFault::Damaged);
            }
            let (children, after): (u32, _) =
                postcard::take_from_bytes(rest).map_err(|_| StructureFault::Damaged)?;
            let (part, after): (Part, _) =
                postcard::take_from_bytes(after).map_err(|_| StructureFault::Damaged)?;
            rest = after;
            open.push((part, children));
            while let Some((part, 0)) = open.pop_if(|(_, missing)| *missing == 0) {
                match open.last_mut() {
                    Some((parent, missing)) => {
                        parent.children.push(part);
                        *missing -= 1;
                    }
                    None if rest.is_empty() => return Ok(Self { root: part, repeats }),
                    None => return Err(StructureFault::Damaged),
                }
            }
        }
    }

    /// The same message with `len` octets of header put before it.
    pub fn shift_by_prefix(&mut self, len: u64) {
        self.root.shift(len);
        self.root.header_start = 0;
    }

    /// The envelope of the message.
    #[must_use]
    pub fn envelope(&self) -> &Envelope {
        const NONE: &Envelope = &Envelope {
            date: None,
            subject: None,
            from: None,
            sender: None,
            reply_to: None,
            to: None,
            cc: None,
            bcc: None,
            in_reply_to: None,
            message_id: None,
        };
        self.root.envelope.as_deref().unwrap_or(NONE)
    }

    /// The part an IMAP section number names. RFC 9051 §6.4.5.1: part 1 of a message that is not multipart is
    /// its body; numbers below `message/rfc822` count in the message within.
    #[must_use]
    pub fn part(&self, path: &[u32]) -> Option<&Part> {
        let (&first, rest) = path.split_first()?;
        let mut at = Self::within(&self.root, first)?;
        for &number in rest {
            at = match at.message() {
                Some(message) => Self::within(message, number)?,
                None if at.is_multipart() => Self::child(at, number)?,
                None => return None,
            };
        }
        Some(at)
    }

    fn within(message: &Part, number: u32) -> Option<&Part> {
        if message.is_multipart() {
            return Self::child(message, number);
        }
        (number == 1).then_some(message)
    }

    fn child(part: &Part, number: u32) -> Option<&Part> {
        part.children.get(usize::try_from(number.checked_sub(1)?).ok()?)
    }
}

impl Serialize for Structure {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(&self.to_bytes())
    }
}

impl<'de> Deserialize<'de> for Structure {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl serde::de::Visitor<'_> for Bytes {
            type Value = Structure;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("the bytes of a structure")
            }
            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Structure, E> {
                Structure::from_bytes(bytes).map_err(E::custom)
            }
        }
        from.deserialize_bytes(Bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parser::parse;

    const NESTED: &[u8] = b"Subject: outer\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
        --b\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\nhi\r\n--b\r\n\r\nlast\r\n--b--\r\n";

    #[test]
    fn the_stored_form_is_stable() {
        let small = parse(b"Subject: x\r\n\r\nhi\r\n").structure;
        let golden: &[u8] =
            b"\x01\x00\x00\x0e\x12\x01\x04text\x05plain\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x01\x01x\x00\x00\x00\x00\x00\x00\x00\x00";
        assert_eq!(small.to_bytes(), golden);
        assert_eq!(Structure::from_bytes(golden), Ok(small));
        let twice = parse(b"Subject: x\r\nSubject: y\r\n\r\nhi\r\n").structure;
        let bytes = twice.to_bytes();
        assert_eq!((bytes[0], twice.envelope().subject.as_deref()), (2, Some(&b"x"[..])));
        assert!(repeats_in(&bytes) && !repeats_in(golden));
        assert_eq!(envelope_in(&bytes), Some(twice.envelope().view()));
        assert_eq!(Structure::from_bytes(&bytes), Ok(twice));
    }

    #[test]
    fn any_tree_reads_back_and_damage_is_a_value() {
        let nested = parse(NESTED).structure;
        let bytes = nested.to_bytes();
        assert_eq!(Structure::from_bytes(&bytes).as_ref(), Ok(&nested));
        let wire = postcard::to_allocvec(&nested).unwrap();
        assert_eq!(postcard::from_bytes::<Structure>(&wire).unwrap(), nested);
        for cut in 0..bytes.len() {
            assert!(Structure::from_bytes(&bytes[..cut]).is_err());
        }
        assert_eq!(Structure::from_bytes(&[9]), Err(StructureFault::Version(9)));
        let mut longer = bytes.clone();
        longer.push(0);
        assert_eq!(Structure::from_bytes(&longer), Err(StructureFault::Damaged));
        for at in 1..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 0x55;
            let _ = Structure::from_bytes(&other);
        }
    }

    #[test]
    fn the_envelope_is_read_alone() {
        let rich = b"Subject: outer\r\nFrom: a@x.org\r\nMessage-ID: <1@x>\r\nContent-Language: de, en\r\n\
            Content-Type: text/plain; charset=utf-8; name=x\r\nContent-ID: <i>\r\nContent-Description: d\r\n\
            Content-Transfer-Encoding: 8bit\r\nContent-MD5: m\r\nContent-Location: l\r\n\
            Content-Disposition: attachment; filename=x\r\n\r\nhi\r\n";
        for message in [rich, NESTED] {
            let structure = parse(message).structure;
            let bytes = structure.to_bytes();
            assert_eq!(envelope_in(&bytes), Some(structure.envelope().view()));
            for cut in 0..bytes.len() {
                let _ = envelope_in(&bytes[..cut]);
            }
        }
        assert_eq!(envelope_in(&[9]), None);
        assert_eq!(envelope_in(&[]), None);
    }

    #[test]
    fn depth_in_stored_bytes_is_bounded() {
        let one = postcard::to_allocvec(&Part::default()).unwrap();
        let mut bytes = vec![VERSION];
        for _ in 0..10_000 {
            bytes.push(1);
            bytes.extend_from_slice(&one);
        }
        assert_eq!(Structure::from_bytes(&bytes), Err(StructureFault::Damaged));
    }

    #[test]
    fn sections_name_parts() {
        let nested = parse(NESTED).structure;
        let body = |path: &[u32]| {
            nested.part(path).map(|part| {
                let range =
                    usize::try_from(part.body_start).unwrap()..usize::try_from(part.body_end).unwrap();
                String::from_utf8_lossy(&NESTED[range]).into_owned()
            })
        };
        assert_eq!(body(&[1]).as_deref(), Some("Subject: inner\r\n\r\nhi"));
        assert_eq!(body(&[1, 1]).as_deref(), Some("hi"));
        assert_eq!(body(&[2]).as_deref(), Some("last"));
        for missing in [&[][..], &[0], &[3], &[2, 1], &[1, 2], &[1, 1, 1]] {
            assert_eq!(body(missing), None, "{missing:?}");
        }
        let inner = nested.part(&[1]).and_then(Part::message).unwrap();
        assert_eq!(inner.envelope.as_ref().unwrap().subject.as_deref(), Some(&b"inner"[..]));
    }

    #[test]
    fn a_prefix_moves_everything_but_the_first_header() {
        let mut nested = parse(NESTED).structure;
        let before = nested.clone();
        nested.shift_by_prefix(100);
        assert_eq!((nested.root.header_start, nested.root.body_start), (0, before.root.body_start + 100));
        assert_eq!(nested.root.children[1].body_end, before.root.children[1].body_end + 100);
    }
}
