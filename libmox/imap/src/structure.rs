//! ENVELOPE and BODYSTRUCTURE from what is known of a message.
//!
//! Law: RFC 9051 §7.5.2 and §9 `envelope`, `body`.
//! Does not know: the message; its structure was read when it came in.
//! Fails with: nothing. Recursion is as deep as the message parser lets messages be.

use crate::parse::Dialect;
use crate::response::{nstring, put, string, write_to};
use libmox_message::address::{Entry, parse_list};
use libmox_message::params::Param;
use libmox_message::{Envelope, EnvelopeView, Part};

/// `(date subject from sender reply-to to cc bcc in-reply-to message-id)`
pub fn envelope(out: &mut Vec<u8>, envelope: EnvelopeView<'_>, dialect: Dialect) {
    put(out, "(");
    nstring(out, envelope.date, dialect);
    put(out, " ");
    nstring(out, envelope.subject, dialect);
    put(out, " ");
    let from = address_list(out, envelope.from, dialect);
    // RFC 9051 §7.5.2: an absent or empty Sender or Reply-To is the From.
    for field in [envelope.sender, envelope.reply_to] {
        put(out, " ");
        let start = out.len();
        if address_list(out, field, dialect).is_none() {
            out.truncate(start);
            match from.clone() {
                Some(written) => out.extend_from_within(written),
                None => put(out, "NIL"),
            }
        }
    }
    for field in [envelope.to, envelope.cc, envelope.bcc] {
        put(out, " ");
        address_list(out, field, dialect);
    }
    put(out, " ");
    nstring(out, envelope.in_reply_to, dialect);
    put(out, " ");
    nstring(out, envelope.message_id, dialect);
    put(out, ")");
}

/// Where in the output the list stands, if there is one.
fn address_list(out: &mut Vec<u8>, field: Option<&[u8]>, dialect: Dialect) -> Option<std::ops::Range<usize>> {
    let entries = parse_list(field.unwrap_or_default());
    if entries.is_empty() {
        put(out, "NIL");
        return None;
    }
    let start = out.len();
    put(out, "(");
    for entry in &entries {
        match entry {
            Entry::Mailbox(mailbox) => {
                put(out, "(");
                nstring(out, mailbox.name.as_deref(), dialect);
                put(out, " ");
                nstring(out, mailbox.route.as_deref(), dialect);
                put(out, " ");
                // NIL here would mean a group.
                string(out, &mailbox.local, dialect);
                put(out, " ");
                string(out, &mailbox.host, dialect);
                put(out, ")");
            }
            Entry::GroupStart(name) => {
                put(out, "(NIL NIL ");
                string(out, name, dialect);
                put(out, " NIL)");
            }
            Entry::GroupEnd => put(out, "(NIL NIL NIL NIL)"),
        }
    }
    put(out, ")");
    Some(start..out.len())
}

/// With or without what `BODY` alone leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extension {
    /// `BODYSTRUCTURE`
    With,
    /// `BODY`
    Without,
}

/// `body`
pub fn body(out: &mut Vec<u8>, part: &Part, extension: Extension, dialect: Dialect) {
    put(out, "(");
    if part.is_multipart() {
        part.children.iter().for_each(|child| body(out, child, extension, dialect));
        put(out, " ");
        string(out, part.subtype.as_bytes(), dialect);
        if extension == Extension::With {
            put(out, " ");
            params(out, &part.params, dialect);
            tail(out, part, dialect);
        }
        put(out, ")");
        return;
    }
    let message = part.message();
    // A container that could not be taken apart has no parts to show, and the grammar knows none without.
    let opaque = part.media_type == "multipart"
        || (part.media_type == "message"
            && matches!(&*part.subtype, "rfc822" | "global")
            && message.is_none());
    let (media_type, subtype) =
        if opaque { ("application", "octet-stream") } else { (&*part.media_type, &*part.subtype) };
    string(out, media_type.as_bytes(), dialect);
    put(out, " ");
    string(out, subtype.as_bytes(), dialect);
    put(out, " ");
    params(out, &part.params, dialect);
    put(out, " ");
    nstring(out, part.id.as_deref(), dialect);
    put(out, " ");
    nstring(out, part.description.as_deref(), dialect);
    put(out, " ");
    let encoding = part.encoding.as_deref().unwrap_or_default().trim_ascii();
    string(out, if encoding.is_empty() { b"7bit" } else { encoding }, dialect);
    write_to(out, format_args!(" {}", part.body_len()));
    if let Some(message) = message {
        put(out, " ");
        let view = message.envelope.as_deref().map(Envelope::view).unwrap_or_default();
        envelope(out, view, dialect);
        put(out, " ");
        body(out, message, extension, dialect);
        write_to(out, format_args!(" {}", part.lines));
    } else if media_type == "text" {
        write_to(out, format_args!(" {}", part.lines));
    }
    if extension == Extension::With {
        put(out, " ");
        nstring(out, part.md5.as_deref(), dialect);
        tail(out, part, dialect);
    }
    put(out, ")");
}

/// Disposition, language and location.
fn tail(out: &mut Vec<u8>, part: &Part, dialect: Dialect) {
    put(out, " ");
    match &part.disposition {
        Some(disposition) => {
            put(out, "(");
            string(out, disposition.kind.as_bytes(), dialect);
            put(out, " ");
            params(out, &disposition.params, dialect);
            put(out, ")");
        }
        None => put(out, "NIL"),
    }
    put(out, " ");
    match &*part.language {
        [] => put(out, "NIL"),
        [one] => string(out, one, dialect),
        several => {
            for (at, language) in several.iter().enumerate() {
                put(out, if at == 0 { "(" } else { " " });
                string(out, language, dialect);
            }
            put(out, ")");
        }
    }
    put(out, " ");
    nstring(out, part.location.as_deref(), dialect);
}

fn params(out: &mut Vec<u8>, params: &[Param], dialect: Dialect) {
    if params.is_empty() {
        return put(out, "NIL");
    }
    for (at, param) in params.iter().enumerate() {
        put(out, if at == 0 { "(" } else { " " });
        string(out, param.name.as_bytes(), dialect);
        put(out, " ");
        string(out, &param.value, dialect);
    }
    put(out, ")");
}

#[cfg(test)]
mod tests {
    use super::*;
    use libmox_message::parse;

    fn lines(text: &str) -> Vec<u8> {
        text.replace('\n', "\r\n").into_bytes()
    }

    #[track_caller]
    fn tells(message: &str, want: &str, write: impl FnOnce(&mut Vec<u8>, &Part)) {
        let facts = parse(&lines(message));
        let mut out = Vec::new();
        write(&mut out, &facts.structure.root);
        assert_eq!(String::from_utf8_lossy(&out), want);
    }

    fn full(out: &mut Vec<u8>, part: &Part) {
        body(out, part, Extension::With, Dialect::Utf7);
    }

    fn head(out: &mut Vec<u8>, part: &Part) {
        envelope(out, part.envelope.as_deref().unwrap().view(), Dialect::Utf7);
    }

    #[test]
    fn envelopes() {
        tells(
            "Date: Mon, 7 Feb 1994 21:52:25 -0800\nFrom: Fred Foobar <foobar@blurdybloop.example>\n\
             Subject: \"hi\"\nTo: mooch@owatagu.siam.edu.example\nMessage-Id: <B27397@owatagu>\n\nx\n",
            "(\"Mon, 7 Feb 1994 21:52:25 -0800\" \"\\\"hi\\\"\" \
             ((\"Fred Foobar\" NIL \"foobar\" \"blurdybloop.example\")) \
             ((\"Fred Foobar\" NIL \"foobar\" \"blurdybloop.example\")) \
             ((\"Fred Foobar\" NIL \"foobar\" \"blurdybloop.example\")) \
             ((NIL NIL \"mooch\" \"owatagu.siam.edu.example\")) NIL NIL NIL \"<B27397@owatagu>\")",
            head,
        );
        tells(
            "Sender: s@x.org\nTo: friends: a@x.org, \"B, b\" <b@x.org>;\nCc: nobody\n\n",
            "(NIL NIL NIL ((NIL NIL \"s\" \"x.org\")) NIL ((NIL NIL \"friends\" NIL)\
             (NIL NIL \"a\" \"x.org\")(\"B, b\" NIL \"b\" \"x.org\")(NIL NIL NIL NIL)) \
             ((NIL NIL \"nobody\" \"\")) NIL NIL NIL)",
            head,
        );
        tells("Subject: é\n\n", "(NIL {2}\r\né NIL NIL NIL NIL NIL NIL NIL NIL)", head);
    }

    #[test]
    fn structures() {
        tells("\nhello\n", "(\"text\" \"plain\" NIL NIL NIL \"7bit\" 7 1 NIL NIL NIL NIL)", full);
        let nested = "Content-Type: multipart/mixed; boundary=b\nContent-Language: de, en\n\n--b\n\
            Content-Type: message/rfc822\n\nSubject: in\n\nhi\n--b\nContent-Type: image/png; name=\"a b\"\n\
            Content-Transfer-Encoding: BASE64\nContent-Disposition: attachment; filename=x\nContent-Id: <i>\n\nAAAA\n--b--\n";
        tells(
            nested,
            "((\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 17 (NIL \"in\" NIL NIL NIL NIL NIL NIL NIL NIL) \
             (\"text\" \"plain\" NIL NIL NIL \"7bit\" 2 0 NIL NIL NIL NIL) 2 NIL NIL NIL NIL)\
             (\"image\" \"png\" (\"name\" \"a b\") \"<i>\" NIL \"BASE64\" 4 NIL (\"attachment\" (\"filename\" \"x\")) NIL NIL) \
             \"mixed\" (\"boundary\" \"b\") NIL (\"de\" \"en\") NIL)",
            full,
        );
        tells(
            nested,
            "((\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 17 (NIL \"in\" NIL NIL NIL NIL NIL NIL NIL NIL) \
             (\"text\" \"plain\" NIL NIL NIL \"7bit\" 2 0) 2)\
             (\"image\" \"png\" (\"name\" \"a b\") \"<i>\" NIL \"BASE64\" 4) \"mixed\")",
            |out, part| body(out, part, Extension::Without, Dialect::Utf7),
        );
    }

    #[test]
    fn a_container_without_parts_is_opaque() {
        let part = Part { media_type: "multipart".into(), subtype: "mixed".into(), ..Part::default() };
        let mut out = Vec::new();
        body(&mut out, &part, Extension::Without, Dialect::Utf7);
        assert_eq!(out, b"(\"application\" \"octet-stream\" NIL NIL NIL \"7bit\" 0)");
    }
}
