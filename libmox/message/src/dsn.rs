//! Reports about delivery, as we write them.
//!
//! Law: RFC 3464, RFC 6522, RFC 6533 (UTF-8), RFC 3461 §6, RFC 5322 for References; rows QU-18 to QU-20,
//! TR-31, TR-33.
//! Does not know: randomness; Message-ID and boundary come in.
//! Fails with: nothing.

use crate::date;
use crate::transfer::encode_quoted_printable;
use crate::write::{Field, encode_words};
use libmox_types::{Address, Domain, Timestamp};

/// What the next hop can take. Row QU-25: both are made, the queue chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// message/delivery-status, all ASCII.
    Ascii,
    /// message/global-delivery-status. RFC 6533.
    Utf8,
}

/// A report about one message and some of its recipients.
#[derive(Debug)]
pub struct Dsn<'a> {
    /// `postmaster@...`.
    pub from: &'a Address,
    /// The sender of the message reported on.
    pub to: &'a Address,
    /// One line, UTF-8.
    pub subject: &'a str,
    /// For people: lines ended by CRLF, UTF-8.
    pub text: &'a str,
    /// Who reports.
    pub reporting_mta: &'a Domain,
    /// The ENVID of the original transaction.
    pub envelope_id: Option<&'a str>,
    /// The peer we had the message from.
    pub received_from: Option<&'a Domain>,
    /// When we had it.
    pub arrival: Timestamp,
    /// RFC 4865 §9: `for;seconds` or `until;date` as it was asked.
    pub future_release: Option<&'a str>,
    /// At least one.
    pub recipients: &'a [Recipient],
    /// With brackets, of the original.
    pub original_message_id: Option<&'a str>,
    /// Of the original.
    pub original: Returned<'a>,
    /// Of the report, with brackets.
    pub message_id: &'a str,
    /// When it is written.
    pub date: Timestamp,
    /// Must not occur in the parts: random.
    pub boundary: &'a str,
}

/// What of the original comes back. RFC 3461 §4.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Returned<'a> {
    /// Its header section, CRLF.
    Header(&'a [u8]),
    /// All of it, as [`can_return`] has it.
    Whole(&'a [u8]),
}

impl<'a> Returned<'a> {
    fn bytes(self) -> &'a [u8] {
        match self {
            Self::Header(bytes) | Self::Whole(bytes) => bytes,
        }
    }
}

/// Octets of a message that comes back whole: reports stay small, and whoever sent more has it.
pub const WHOLE_OCTETS: usize = 40 * 1024;
/// RFC 5322 §2.1.1.
const LINE_OCTETS: usize = 998;

/// Whether a message can stand in a report as it is: a part that holds a message knows no encoding (RFC 2046 §5.2.1).
#[must_use]
pub fn can_return(message: &[u8], eight_bit: bool) -> bool {
    let line = |line: &[u8]| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        line.len() <= LINE_OCTETS && !line.iter().any(|b| matches!(b, 0 | b'\r'))
    };
    let crlf = message.iter().enumerate().all(|(at, b)| *b != b'\n' || at > 0 && message[at - 1] == b'\r');
    message.len() <= WHOLE_OCTETS
        && (eight_bit || message.is_ascii())
        && crlf
        && message.split(|b| *b == b'\n').all(line)
}

/// What became of one recipient.
#[derive(Debug, Clone)]
pub struct Recipient {
    /// The address it went to.
    pub address: Address,
    /// ORCPT: `rfc822;a@b`, decoded.
    pub original: Option<String>,
    /// What became of it.
    pub action: Action,
    /// `5.1.1`.
    pub status: String,
    /// More words about the status, of our own.
    pub status_comment: Option<String>,
    /// Who answered.
    pub remote_mta: Option<String>,
    /// The answer as it came, all lines with their code. None where the fault is our own (TR-31).
    pub remote_reply: Vec<String>,
    /// When it was last tried.
    pub last_attempt: Option<Timestamp>,
}

/// RFC 3464 §2.3.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Given up.
    Failed,
    /// Still trying, until then.
    Delayed(Option<Timestamp>),
    /// Reached the mailbox.
    Delivered,
    /// Handed to one that makes no reports.
    Relayed,
    /// Went to the members of a list.
    Expanded,
}

impl Action {
    fn keyword(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Delayed(_) => "delayed",
            Self::Delivered => "delivered",
            Self::Relayed => "relayed",
            Self::Expanded => "expanded",
        }
    }
}

impl Dsn<'_> {
    /// The whole message, CRLF, without trace fields.
    #[must_use]
    pub fn write(&self, variant: Variant) -> Vec<u8> {
        let utf8 = variant == Variant::Utf8;
        let mut out = Vec::with_capacity(2048 + self.original.bytes().len());
        let mut line = |text: String| out.extend_from_slice(text.as_bytes());
        let mut field = Field::new("From");
        field.word("Mail Delivery System").word(&format!("<{}>", self.from.for_wire(utf8)));
        line(field.finish());
        let mut field = Field::new("To");
        field.word(&format!("<{}>", self.to.for_wire(utf8)));
        line(field.finish());
        let mut field = Field::new("Subject");
        let subject = if utf8 { self.subject.to_string() } else { encode_words(self.subject) };
        line({
            field.words(&subject);
            field.finish()
        });
        line(format!("Date: {}\r\n", date::format(self.date)));
        line(format!("Message-ID: {}\r\n", plain(self.message_id)));
        if let Some(id) = self.original_message_id {
            // In-Reply-To would claim an answer; References is what RFC 3464 readers thread by (QU-20).
            let mut field = Field::new("References");
            field.words(&plain(id));
            line(field.finish());
        }
        line("Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n".into());
        line(format!(
            "Content-Type: multipart/report; report-type=\"{}\";\r\n\tboundary=\"{}\"\r\n\r\n",
            // RFC 6533 §6.1: the type is the same word in both variants.
            "delivery-status",
            self.boundary
        ));
        let boundary = self.boundary;
        self.text_part(&mut out, variant);
        out.extend_from_slice(format!("\r\n--{boundary}\r\n").as_bytes());
        out.extend_from_slice(self.status_part(variant).as_bytes());
        out.extend_from_slice(format!("\r\n--{boundary}\r\n").as_bytes());
        self.original_part(&mut out, variant);
        out.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        out
    }

    fn text_part(&self, out: &mut Vec<u8>, variant: Variant) {
        out.extend_from_slice(format!("--{}\r\n", self.boundary).as_bytes());
        out.extend_from_slice(b"Content-Type: text/plain; charset=utf-8\r\n");
        if self.text.is_ascii() {
            out.extend_from_slice(b"\r\n");
            out.extend_from_slice(self.text.as_bytes());
        } else if variant == Variant::Utf8 {
            out.extend_from_slice(b"Content-Transfer-Encoding: 8bit\r\n\r\n");
            out.extend_from_slice(self.text.as_bytes());
        } else {
            out.extend_from_slice(b"Content-Transfer-Encoding: quoted-printable\r\n\r\n");
            out.extend_from_slice(&encode_quoted_printable(self.text.as_bytes()));
        }
    }

    fn status_part(&self, variant: Variant) -> String {
        let utf8 = variant == Variant::Utf8;
        let mut out = String::from(if utf8 {
            "Content-Type: message/global-delivery-status\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        } else {
            "Content-Type: message/delivery-status\r\n\r\n"
        });
        if let Some(id) = self.envelope_id {
            out.push_str(&one("Original-Envelope-Id", id, utf8));
        }
        out.push_str(&one("Reporting-MTA", &format!("dns; {}", self.reporting_mta.ascii()), utf8));
        if let Some(peer) = self.received_from {
            out.push_str(&one("Received-From-MTA", &format!("dns; {}", peer.ascii()), utf8));
        }
        out.push_str(&one("Arrival-Date", &date::format(self.arrival), utf8));
        if let Some(request) = self.future_release {
            out.push_str(&one("Future-Release-Request", request, utf8));
        }
        for recipient in self.recipients {
            out.push_str("\r\n");
            recipient.write(&mut out, utf8);
        }
        out
    }

    fn original_part(&self, out: &mut Vec<u8>, variant: Variant) {
        let header = match self.original {
            Returned::Header(header) => header,
            Returned::Whole(message) => {
                let header = header_section(message, message.len()).unwrap_or(message);
                // RFC 6533 §4.2
                let kind = if header.is_ascii() { "message/rfc822" } else { "message/global" };
                out.extend_from_slice(format!("Content-Type: {kind}\r\n").as_bytes());
                if !message.is_ascii() {
                    out.extend_from_slice(b"Content-Transfer-Encoding: 8bit\r\n");
                }
                out.extend_from_slice(b"\r\n");
                out.extend_from_slice(message);
                return;
            }
        };
        let header = header.strip_suffix(b"\r\n\r\n").map_or(header, |_| &header[..header.len() - 2]);
        let (kind, coded) = match (header.is_ascii(), variant) {
            (true, _) => ("text/rfc822-headers", false),
            (false, Variant::Utf8) => ("message/global-headers", false),
            // RFC 6533 §5 allows the encoding where the path is not 8 bit clean.
            (false, Variant::Ascii) => ("message/global-headers", true),
        };
        out.extend_from_slice(format!("Content-Type: {kind}\r\n").as_bytes());
        if coded {
            out.extend_from_slice(b"Content-Transfer-Encoding: quoted-printable\r\n\r\n");
            out.extend_from_slice(&encode_quoted_printable(header));
        } else {
            if !header.is_ascii() {
                out.extend_from_slice(b"Content-Transfer-Encoding: 8bit\r\n");
            }
            out.extend_from_slice(b"\r\n");
            out.extend_from_slice(header);
        }
    }
}

impl Recipient {
    fn write(&self, out: &mut String, utf8: bool) {
        if let Some(original) = &self.original {
            out.push_str(&one("Original-Recipient", original, utf8));
        }
        out.push_str(&one("Final-Recipient", &typed_address(&self.address, utf8), utf8));
        out.push_str(&one("Action", self.action.keyword(), utf8));
        let status = match &self.status_comment {
            Some(comment) => format!("{} {}", self.status, crate::write::comment(comment)),
            None => self.status.clone(),
        };
        out.push_str(&one("Status", &status, utf8));
        if let Some(mta) = &self.remote_mta {
            out.push_str(&one("Remote-MTA", &format!("dns; {mta}"), utf8));
        }
        if !self.remote_reply.is_empty() {
            let mut field = Field::new("Diagnostic-Code");
            field.word("smtp;");
            for line in &self.remote_reply {
                field.words(&ascii_unless(line, utf8));
            }
            out.push_str(&field.finish());
        }
        if let Some(time) = self.last_attempt {
            out.push_str(&one("Last-Attempt-Date", &date::format(time), utf8));
        }
        if let Action::Delayed(Some(until)) = self.action {
            out.push_str(&one("Will-Retry-Until", &date::format(until), utf8));
        }
    }
}

/// `rfc822; a@b`, or `utf-8; ...` where the local part needs it. RFC 6533 §3.
fn typed_address(address: &Address, utf8: bool) -> String {
    if !address.needs_utf8() {
        return format!("rfc822; {}", address.for_wire(false));
    }
    let text = address.for_wire(true);
    if utf8 {
        return format!("utf-8; {text}");
    }
    // utf-8-addr-xtext.
    let mut out = String::from("utf-8; ");
    for c in text.chars() {
        if c.is_ascii_graphic() && !matches!(c, '+' | '=' | '\\') {
            out.push(c);
        } else {
            out.push_str(&format!("\\x{{{:02X}}}", u32::from(c)));
        }
    }
    out
}

fn one(name: &str, value: &str, utf8: bool) -> String {
    let mut field = Field::new(name);
    field.words(&ascii_unless(value, utf8));
    field.finish()
}

fn ascii_unless(text: &str, utf8: bool) -> String {
    if utf8 || text.is_ascii() {
        return text.to_string();
    }
    text.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect()
}

fn plain(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ' || !c.is_ascii()).collect()
}

/// The header section at the front of a message, for a report about it; of a very long one the first lines. None
/// while its end may still come.
#[must_use]
pub fn header_section(bytes: &[u8], most: usize) -> Option<&[u8]> {
    if bytes.starts_with(b"\r\n") {
        return Some(&[]);
    }
    let looked_at = &bytes[..bytes.len().min(most)];
    if let Some(at) = looked_at.windows(4).position(|w| w == b"\r\n\r\n") {
        return Some(&bytes[..at + 2]);
    }
    (bytes.len() > most).then(|| {
        let line = looked_at.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        &bytes[..line]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_ends_at_the_empty_line() {
        for (bytes, want) in [
            (&b"A: b\r\n\r\nbody"[..], Some(&b"A: b\r\n"[..])),
            (b"\r\nbody", Some(b"")),
            (b"A: b\r\n", None),
            (b"A: b\r\nB: cccccccccccccccc\r\n", Some(b"A: b\r\n")),
            (b"A: cccccccccccccccccccccccc", Some(b"")),
        ] {
            assert_eq!(header_section(bytes, 20), want, "{bytes:?}");
        }
    }

    use crate::parser::parse;

    fn report(address: &str, header: &[u8], variant: Variant) -> String {
        report_with(address, Returned::Header(header), variant)
    }

    fn report_with(address: &str, original: Returned<'_>, variant: Variant) -> String {
        let (from, to) =
            (Address::parse("postmaster@mx.example").unwrap(), Address::parse("me@s.example").unwrap());
        let dsn = Dsn {
            from: &from,
            to: &to,
            subject: "Mail could not be delivered \u{e9}",
            text: "Sorry, \u{e9}.\r\n",
            reporting_mta: &Domain::parse("mx.example").unwrap(),
            envelope_id: Some("env+id"),
            received_from: None,
            arrival: Timestamp(880_127_706),
            future_release: Some("for;60"),
            recipients: &[Recipient {
                address: Address::parse(address).unwrap(),
                original: Some("rfc822;orig@x.example".into()),
                action: Action::Failed,
                status: "5.1.1".into(),
                status_comment: Some("given (up)".into()),
                remote_mta: Some("mx.x.example".into()),
                remote_reply: vec!["550-5.1.1 no such".into(), "550 5.1.1 user".into()],
                last_attempt: Some(Timestamp(880_127_707)),
            }],
            original_message_id: Some("<orig@s.example>"),
            original,
            message_id: "<dsn@mx.example>",
            date: Timestamp(880_127_708),
            boundary: "=_b",
        };
        String::from_utf8(dsn.write(variant)).unwrap()
    }

    /// RFC 3461 §4.3.
    #[test]
    fn a_message_comes_back_whole() {
        for (message, kind, coding) in [
            ("Subject: x\r\n\r\nbody\r\n", "rfc822", None),
            ("Subject: x\r\n\r\nb\u{f6}dy\r\n", "rfc822", Some("8bit")),
            ("Subject: \u{fc}\r\n\r\nbody\r\n", "global", Some("8bit")),
        ] {
            assert_eq!(can_return(message.as_bytes(), false), coding.is_none(), "{message}");
            assert!(can_return(message.as_bytes(), true));
            let text = report_with("a@x.example", Returned::Whole(message.as_bytes()), Variant::Ascii);
            let coding = coding.map(|c| format!("Content-Transfer-Encoding: {c}\r\n")).unwrap_or_default();
            let want = format!("Content-Type: message/{kind}\r\n{coding}\r\n{message}\r\n--=_b--\r\n");
            assert!(text.ends_with(&want), "{text}");
            let kinds = parse(text.as_bytes()).structure.root.children;
            assert_eq!(kinds.last().unwrap().subtype, kind);
        }
        for wrong in ["A: b\r\n\r\na\0b", "A: b\r\n\r\na\nb", "A: b\r\n\r\na\rb", &"x".repeat(1_000)] {
            assert!(!can_return(wrong.as_bytes(), true), "{wrong:?}");
        }
        assert!(!can_return("x\r\n".repeat(WHOLE_OCTETS).as_bytes(), true));
    }

    #[test]
    fn a_report_reads_back_as_one() {
        let text = report("a@x.example", b"Subject: x\r\n\r\n", Variant::Ascii);
        let facts = parse(text.as_bytes());
        assert!(text.is_ascii() && facts.delivery_report && facts.auto_submitted);
        assert_eq!(facts.flaws, crate::Flaws::default());
        assert_eq!(facts.references, ["orig@s.example"]); // TR-33
        assert_eq!(facts.subject, "Mail could not be delivered \u{e9}");
        assert_eq!(facts.preview, "Sorry, \u{e9}.");
        let kinds: Vec<_> = facts.structure.root.children.iter().map(|p| p.subtype.as_str()).collect();
        assert_eq!(kinds, ["plain", "delivery-status", "rfc822-headers"]);
        // TR-31: the whole answer, with its codes.
        assert!(text.contains("Diagnostic-Code: smtp; 550-5.1.1 no such 550 5.1.1 user\r\n"), "{text}");
        assert!(text.contains("Status: 5.1.1 (given \\(up\\))\r\n"), "{text}");
        assert!(text.contains(
            "\r\n\r\nOriginal-Recipient: rfc822;orig@x.example\r\nFinal-Recipient: rfc822; a@x.example\r\n"
        ));
    }

    #[test]
    fn the_utf8_variant_and_its_ascii_shadow() {
        let header = "Subject: \u{e9}\r\n".as_bytes();
        let utf8 = report("j\u{e9}@x.example", header, Variant::Utf8);
        assert!(utf8.contains("Final-Recipient: utf-8; j\u{e9}@x.example\r\n"));
        assert!(utf8.contains("message/global-delivery-status") && utf8.contains("message/global-headers"));
        let ascii = report("j\u{e9}@x.example", header, Variant::Ascii);
        assert!(ascii.is_ascii() && ascii.contains("Final-Recipient: utf-8; j\\x{E9}@x.example\r\n"));
    }
}
