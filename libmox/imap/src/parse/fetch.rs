//! FETCH and its items.
//!
//! Law: RFC 9051 §6.4.5 and §9 `fetch-att`; RFC 3501 (RFC822 forms), 3516, 7162, 8474, 8514, 8970.

use super::lex::Cursor;
use super::{Parsed, syntax};
use crate::command::{By, Command, FetchItem, Partial, Peek, Section, SectionName, SectionText};
use crate::limits;

pub(super) fn fetch(c: &mut Cursor<'_>, by: By) -> Parsed<Command> {
    c.space()?;
    let set = c.seq_set()?;
    c.space()?;
    let mut items = Vec::new();
    if c.peek() == Some(b'(') {
        let listed = c.list(|c| item(c, &mut items))?;
        if listed.is_empty() {
            return syntax("item expected");
        }
    } else if c.word("ALL") {
        items.extend([FetchItem::Flags, FetchItem::InternalDate, FetchItem::Size, FetchItem::Envelope]);
    } else if c.word("FAST") {
        items.extend([FetchItem::Flags, FetchItem::InternalDate, FetchItem::Size]);
    } else if c.word("FULL") {
        items.extend([FetchItem::Flags, FetchItem::InternalDate, FetchItem::Size]);
        items.extend([FetchItem::Envelope, FetchItem::BodyPlain]);
    } else {
        item(c, &mut items)?;
    }
    let (mut changed_since, mut vanished, mut window) = (None, false, None);
    if !c.at_end() {
        c.space()?;
        c.list(|c| {
            match c.keyword()?.as_str() {
                "CHANGEDSINCE" if changed_since.is_none() => {
                    c.space()?;
                    changed_since = Some(c.mod_seq()?);
                }
                "VANISHED" if by == By::Uid => vanished = true,
                "PARTIAL" if by == By::Uid && window.is_none() => {
                    c.space()?;
                    window = Some(super::order::window(c)?);
                }
                _ => return syntax("unknown parameter"),
            }
            Ok(())
        })?;
        // RFC 7162 §3.2.6.
        if vanished && changed_since.is_none() {
            return syntax("VANISHED needs CHANGEDSINCE");
        }
    }
    // RFC 9051 §6.4.9: UID FETCH says the uid, asked or not.
    if by == By::Uid && !items.contains(&FetchItem::Uid) {
        items.insert(0, FetchItem::Uid);
    }
    // RFC 7162 §3.1.4.1.
    if changed_since.is_some() && !items.contains(&FetchItem::ModSeq) {
        items.push(FetchItem::ModSeq);
    }
    Ok(Command::Fetch { by, set, items, changed_since, vanished, window })
}

pub(super) fn item(c: &mut Cursor<'_>, items: &mut Vec<FetchItem>) -> Parsed<()> {
    let name = c.run(|b| b.is_ascii_alphanumeric() || b == b'.').to_ascii_uppercase();
    let whole = |name, text, peek| FetchItem::Section {
        section: Section { part: Vec::new(), text },
        name,
        peek,
        partial: None,
    };
    let item = match name.as_slice() {
        b"ENVELOPE" => FetchItem::Envelope,
        b"FLAGS" => FetchItem::Flags,
        b"INTERNALDATE" => FetchItem::InternalDate,
        b"RFC822.SIZE" => FetchItem::Size,
        b"UID" => FetchItem::Uid,
        b"BODYSTRUCTURE" => FetchItem::BodyStructure,
        b"MODSEQ" => FetchItem::ModSeq,
        b"SAVEDATE" => FetchItem::SaveDate,
        b"EMAILID" => FetchItem::EmailId,
        b"THREADID" => FetchItem::ThreadId,
        b"PREVIEW" => {
            if c.word(" (") {
                // RFC 8970 §3.1: LAZY lets us answer NIL; we have the text at hand or not at all.
                if !c.word("LAZY") {
                    return syntax("unknown preview modifier");
                }
                c.close()?;
            }
            FetchItem::Preview
        }
        b"RFC822" => whole(SectionName::Rfc822, SectionText::Whole, Peek::No),
        b"RFC822.HEADER" => whole(SectionName::Rfc822Header, SectionText::Header, Peek::Yes),
        b"RFC822.TEXT" => whole(SectionName::Rfc822Text, SectionText::Text, Peek::No),
        b"BODY" if c.peek() != Some(b'[') => FetchItem::BodyPlain,
        b"BODY" | b"BODY.PEEK" => {
            let section = section(c)?;
            let peek = if name.len() > 4 { Peek::Yes } else { Peek::No };
            FetchItem::Section { section, name: SectionName::Body, peek, partial: partial(c)? }
        }
        b"BINARY" | b"BINARY.PEEK" => {
            let part = binary_part(c)?;
            let peek = if name.len() > 6 { Peek::Yes } else { Peek::No };
            FetchItem::Binary { part, peek, partial: partial(c)? }
        }
        b"BINARY.SIZE" => FetchItem::BinarySize(binary_part(c)?),
        _ => return syntax("unknown item"),
    };
    if !items.contains(&item) {
        items.push(item);
    }
    Ok(())
}

fn open_section(c: &mut Cursor<'_>) -> Parsed<()> {
    if c.take(b'[') { Ok(()) } else { syntax("[ expected") }
}

fn close_section(c: &mut Cursor<'_>) -> Parsed<()> {
    if c.take(b']') { Ok(()) } else { syntax("] expected") }
}

/// A part number, and whether a dot behind it was taken too.
fn part(c: &mut Cursor<'_>) -> Parsed<(Vec<u32>, bool)> {
    let mut part = Vec::new();
    while c.peek().is_some_and(|b| b.is_ascii_digit()) {
        if part.len() == limits::PART_DEPTH {
            return syntax("part number too deep");
        }
        part.push(c.nz_number()?);
        if !c.take(b'.') {
            return Ok((part, false));
        }
    }
    let dot = !part.is_empty();
    Ok((part, dot))
}

fn binary_part(c: &mut Cursor<'_>) -> Parsed<Vec<u32>> {
    open_section(c)?;
    let (part, dot) = part(c)?;
    if dot {
        return syntax("part number expected");
    }
    close_section(c)?;
    Ok(part)
}

/// `section-spec` without its brackets, as URLs have it.
pub(crate) fn parse_section(text: &[u8]) -> Option<Section> {
    let bracketed = [b"[", text, b"]"].concat();
    let mut c = Cursor::new(&bracketed, super::Dialect::Utf8);
    let section = section(&mut c).ok()?;
    c.at_end().then_some(section)
}

fn section(c: &mut Cursor<'_>) -> Parsed<Section> {
    open_section(c)?;
    let (part, dot) = part(c)?;
    if c.take(b']') {
        return if dot { syntax("section expected") } else { Ok(Section { part, text: SectionText::Whole }) };
    }
    if !part.is_empty() && !dot {
        return syntax("] expected");
    }
    let name = c.run(|b| b.is_ascii_alphabetic() || b == b'.').to_ascii_uppercase();
    let text = match name.as_slice() {
        b"HEADER" => SectionText::Header,
        b"HEADER.FIELDS" => SectionText::Fields(field_names(c)?),
        b"HEADER.FIELDS.NOT" => SectionText::FieldsNot(field_names(c)?),
        b"TEXT" => SectionText::Text,
        b"MIME" if !part.is_empty() => SectionText::Mime,
        _ => return syntax("unknown section"),
    };
    close_section(c)?;
    Ok(Section { part, text })
}

fn field_names(c: &mut Cursor<'_>) -> Parsed<Vec<String>> {
    c.space()?;
    let names = c.list(Cursor::astring)?;
    if names.is_empty() { syntax("header field name expected") } else { Ok(names) }
}

fn partial(c: &mut Cursor<'_>) -> Parsed<Option<Partial>> {
    if !c.take(b'<') {
        return Ok(None);
    }
    let offset = c.number64()?;
    if !c.take(b'.') {
        return syntax(". expected");
    }
    let length = c.number64()?;
    if length == 0 {
        return syntax("number must not be 0");
    }
    if !c.take(b'>') {
        return syntax("> expected");
    }
    Ok(Some(Partial { offset, length }))
}
