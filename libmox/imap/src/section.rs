//! Which octets of a message a section names, and under which name they come back.
//!
//! Law: RFC 9051 §6.4.5.1 and §9 `section`, `msg-att-static`.
//! Does not know: the octets; only header fields are looked at, when handed in.

use crate::command::{FetchItem, Partial, Section, SectionName, SectionText};
use crate::parse::Dialect;
use crate::response::{put, string, write_to};
use libmox_message::Structure;
use std::ops::Range;

/// Where a section is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// These octets as they are.
    Octets(Range<u64>),
    /// Some fields of the header that lies there; see [`header_fields`].
    Fields(Range<u64>),
    /// There is no such part.
    Nowhere,
}

/// Finds a section in a message of so many octets.
#[must_use]
pub fn locate(structure: &Structure, section: &Section, size: u64) -> Place {
    let root = &structure.root;
    let part = if section.part.is_empty() {
        // The end of the message is the end of its last octet, whatever the structure was read from.
        match section.text {
            SectionText::Whole => return Place::Octets(0..size),
            SectionText::Text => return Place::Octets(root.body_start.min(size)..size),
            _ => root,
        }
    } else {
        let Some(part) = structure.part(&section.part) else { return Place::Nowhere };
        match section.text {
            SectionText::Whole => return within(part.body_start..part.body_end, size, Place::Octets),
            SectionText::Mime => return within(part.header_start..part.body_start, size, Place::Octets),
            _ => match part.message() {
                Some(message) => message,
                None => return Place::Nowhere,
            },
        }
    };
    let header = part.header_start..part.body_start;
    match section.text {
        SectionText::Header => within(header, size, Place::Octets),
        SectionText::Fields(_) | SectionText::FieldsNot(_) => within(header, size, Place::Fields),
        _ => within(part.body_start..part.body_end, size, Place::Octets),
    }
}

/// A structure that does not fit its message must not reach beyond it.
fn within(range: Range<u64>, size: u64, place: fn(Range<u64>) -> Place) -> Place {
    let end = range.end.min(size);
    place(range.start.min(end)..end)
}

/// The wanted octets of a place.
#[must_use]
pub fn cut(range: Range<u64>, partial: Option<Partial>) -> Range<u64> {
    let Some(partial) = partial else { return range };
    let start = range.start.saturating_add(partial.offset).min(range.end);
    start..start.saturating_add(partial.length).min(range.end)
}

/// The fields of a header that are asked for, with the empty line. RFC 9051 §6.4.5.1.
#[must_use]
pub fn header_fields(header: &[u8], text: &SectionText) -> Vec<u8> {
    let (names, wanted) = match text {
        SectionText::Fields(names) => (names, true),
        SectionText::FieldsNot(names) => (names, false),
        _ => return header.to_vec(),
    };
    let mut out = Vec::new();
    let mut keep = false;
    for line in header.split_inclusive(|&b| b == b'\n') {
        if line.trim_ascii().is_empty() {
            break;
        }
        if !matches!(line[0], b' ' | b'\t') {
            let name = line.split(|&b| b == b':').next().unwrap_or_default().trim_ascii_end();
            keep = names.iter().any(|wanted| wanted.as_bytes().eq_ignore_ascii_case(name)) == wanted;
        }
        if keep {
            out.extend_from_slice(line);
        }
    }
    if !out.is_empty() && !out.ends_with(b"\n") {
        put(&mut out, "\r\n");
    }
    put(&mut out, "\r\n");
    out
}

/// Writes the name an item comes back under, and a space.
pub fn write_name(out: &mut Vec<u8>, item: &FetchItem) {
    match item {
        FetchItem::Section { section, name, partial, .. } => {
            match name {
                SectionName::Rfc822 => put(out, "RFC822"),
                SectionName::Rfc822Header => put(out, "RFC822.HEADER"),
                SectionName::Rfc822Text => put(out, "RFC822.TEXT"),
                SectionName::Body => {
                    put(out, "BODY[");
                    write_section(out, section);
                    put(out, "]");
                }
            }
            write_origin(out, *partial);
        }
        FetchItem::Binary { part, partial, .. } => {
            put(out, "BINARY[");
            write_part(out, part);
            put(out, "]");
            write_origin(out, *partial);
        }
        FetchItem::BinarySize(part) => {
            put(out, "BINARY.SIZE[");
            write_part(out, part);
            put(out, "]");
        }
        FetchItem::Envelope => put(out, "ENVELOPE"),
        FetchItem::Flags => put(out, "FLAGS"),
        FetchItem::InternalDate => put(out, "INTERNALDATE"),
        FetchItem::Size => put(out, "RFC822.SIZE"),
        FetchItem::Uid => put(out, "UID"),
        FetchItem::BodyStructure => put(out, "BODYSTRUCTURE"),
        FetchItem::BodyPlain => put(out, "BODY"),
        FetchItem::ModSeq => put(out, "MODSEQ"),
        FetchItem::SaveDate => put(out, "SAVEDATE"),
        FetchItem::Preview => put(out, "PREVIEW"),
        FetchItem::EmailId => put(out, "EMAILID"),
        FetchItem::ThreadId => put(out, "THREADID"),
    }
    out.push(b' ');
}

fn write_origin(out: &mut Vec<u8>, partial: Option<Partial>) {
    if let Some(partial) = partial {
        write_to(out, format_args!("<{}>", partial.offset));
    }
}

fn write_part(out: &mut Vec<u8>, part: &[u32]) {
    for (at, number) in part.iter().enumerate() {
        write_to(out, format_args!("{}{number}", if at == 0 { "" } else { "." }));
    }
}

fn write_section(out: &mut Vec<u8>, section: &Section) {
    write_part(out, &section.part);
    let (word, names): (&str, &[String]) = match &section.text {
        SectionText::Whole => return,
        SectionText::Header => ("HEADER", &[]),
        SectionText::Text => ("TEXT", &[]),
        SectionText::Mime => ("MIME", &[]),
        SectionText::Fields(names) => ("HEADER.FIELDS", names),
        SectionText::FieldsNot(names) => ("HEADER.FIELDS.NOT", names),
    };
    if !section.part.is_empty() {
        put(out, ".");
    }
    put(out, word);
    for (at, name) in names.iter().enumerate() {
        put(out, if at == 0 { " (" } else { " " });
        let atom = !name.is_empty() && name.bytes().all(crate::parse::is_astring_char);
        // The answer repeats what was asked, so that clients find it by its text; `]` would end it early.
        if atom && !name.contains(']') { put(out, name) } else { string(out, name.as_bytes(), Dialect::Utf7) }
    }
    if !names.is_empty() {
        put(out, ")");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{By, Command};
    use crate::parse::parse;

    const MESSAGE: &str = "Subject: out\r\nX-Long: a\r\n b\r\nTo: x\r\n\
        Content-Type: multipart/mixed; boundary=b\r\n\r\npre\r\n--b\r\n\r\none\r\n--b\r\n\
        Content-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\nhi\r\n\r\n--b--\r\nend\r\n";

    fn item(text: &str) -> FetchItem {
        let (_, command) = parse(format!("a FETCH 1 {text}").as_bytes(), Dialect::Utf7);
        let Ok(Command::Fetch { by: By::Seq, mut items, .. }) = command else {
            panic!("{text}: {command:?}")
        };
        items.remove(0)
    }

    #[track_caller]
    fn gives(asked: &str, named: &str, want: Option<&str>) {
        let structure = libmox_message::parse(MESSAGE.as_bytes()).structure;
        let FetchItem::Section { section, partial, .. } = item(asked) else { panic!("{asked}") };
        let octets = |range: Range<u64>| {
            MESSAGE[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()].to_string()
        };
        let got = match locate(&structure, &section, MESSAGE.len() as u64) {
            Place::Octets(range) => Some(octets(cut(range, partial))),
            Place::Fields(range) => {
                let fields = header_fields(octets(range).as_bytes(), &section.text);
                let range = cut(0..fields.len() as u64, partial);
                let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
                Some(String::from_utf8(fields[range].to_vec()).unwrap())
            }
            Place::Nowhere => None,
        };
        assert_eq!(got.as_deref(), want, "{asked}");
        let mut out = Vec::new();
        write_name(&mut out, &item(asked));
        assert_eq!(String::from_utf8(out).unwrap(), format!("{named} "));
    }

    #[test]
    fn sections_are_found_and_named() {
        gives("BODY[]", "BODY[]", Some(MESSAGE));
        gives("RFC822", "RFC822", Some(MESSAGE));
        gives("BODY.PEEK[]<2.3>", "BODY[]<2>", Some("bje"));
        gives("BODY[]<9999.3>", "BODY[]<9999>", Some(""));
        gives(
            "body[header.fields (x-long NO)]",
            "BODY[HEADER.FIELDS (x-long NO)]",
            Some("X-Long: a\r\n b\r\n\r\n"),
        );
        gives(
            "BODY[HEADER.FIELDS.NOT (content-type \"x-long\" \"a b\")]",
            "BODY[HEADER.FIELDS.NOT (content-type x-long \"a b\")]",
            Some("Subject: out\r\nTo: x\r\n\r\n"),
        );
        gives("BODY[HEADER.FIELDS (TO)]<1.4>", "BODY[HEADER.FIELDS (TO)]<1>", Some("o: x"));
        gives("BODY[HEADER.FIELDS (NONE)]", "BODY[HEADER.FIELDS (NONE)]", Some("\r\n"));
        let (header, text) = MESSAGE.split_at(MESSAGE.find("pre").unwrap());
        gives("BODY[HEADER]", "BODY[HEADER]", Some(header));
        gives("RFC822.HEADER", "RFC822.HEADER", Some(header));
        gives("BODY[TEXT]", "BODY[TEXT]", Some(text));
        gives("BODY[1]", "BODY[1]", Some("one"));
        gives("BODY[1.MIME]", "BODY[1.MIME]", Some("\r\n"));
        gives("BODY[2.MIME]", "BODY[2.MIME]", Some("Content-Type: message/rfc822\r\n\r\n"));
        gives("BODY[2]", "BODY[2]", Some("Subject: in\r\n\r\nhi\r\n"));
        gives("BODY[2.HEADER]", "BODY[2.HEADER]", Some("Subject: in\r\n\r\n"));
        gives("BODY[2.TEXT]", "BODY[2.TEXT]", Some("hi\r\n"));
        gives("BODY[2.1]", "BODY[2.1]", Some("hi\r\n"));
        gives(
            "BODY[2.HEADER.FIELDS (Subject)]",
            "BODY[2.HEADER.FIELDS (Subject)]",
            Some("Subject: in\r\n\r\n"),
        );
        gives("BODY[1.TEXT]", "BODY[1.TEXT]", None);
        gives("BODY[3]", "BODY[3]", None);
    }

    #[test]
    fn a_structure_of_another_message_reaches_no_further() {
        let structure = libmox_message::parse(MESSAGE.as_bytes()).structure;
        for text in ["BODY[]", "BODY[TEXT]", "BODY[2]", "BODY[HEADER]", "BODY[2.MIME]", "BODY[2.TEXT]"] {
            let FetchItem::Section { section, .. } = item(text) else { panic!("{text}") };
            let Place::Octets(range) = locate(&structure, &section, 5) else { panic!("{text}") };
            assert!(range.start <= range.end && range.end <= 5, "{text} {range:?}");
        }
    }
}
