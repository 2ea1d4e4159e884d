//! APPEND and REPLACE up to the octets of their messages, which are never held here.
//!
//! Law: RFC 9051 §6.3.12, RFC 3502 (several messages), RFC 8508 (REPLACE), RFC 4466 §2.6 (grammar), RFC 4469 §5
//! (CATENATE), RFC 6855 §4 (`UTF8 (~{n}`).

use super::lex::{Cursor, LiteralHeader, literal_header};
use super::{Dialect, Fault, Parsed, syntax, tag, urlauth};
use crate::command::{AppendMessage, AppendTo, By, FlagList, Sync, Tag};
use crate::date::parse_date_time;
use crate::limits;

/// What a line turned out to be that ends in the head of a literal, or the command.
pub(crate) enum AppendHead {
    /// Not an APPEND.
    Other,
    /// The literal is a mailbox name or a URL: keep collecting.
    Collect,
    /// What it says; the last of it is a literal or the end.
    Pieces(AppendTo, Vec<Piece>),
    /// It never can become an APPEND.
    Fault(Fault),
}

/// One thing an APPEND says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Of a message: its octets follow, or its pieces.
    Head(AppendMessage),
    /// Octets that follow, a piece of a message.
    Text { size: u64, sync: Sync, utf8: bool },
    /// A piece of a message that is here already.
    Url(String),
    /// Of the message that is put together.
    MessageEnd,
    /// Of the command.
    End,
}

impl Piece {
    /// The literal that comes behind it.
    pub(crate) fn literal(&self) -> Option<(u64, Sync)> {
        match self {
            Self::Head(message) if !message.catenate => Some((message.size, message.sync)),
            Self::Text { size, sync, .. } => Some((*size, *sync)),
            _ => None,
        }
    }
}

/// What the last literal was.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Behind {
    /// `UTF8 (` is still open.
    pub(crate) utf8: bool,
    /// `CATENATE (` is still open.
    pub(crate) catenate: bool,
}

/// Why the pieces of a line end.
enum End {
    /// With the command, or with a literal that is part of a message.
    Whole,
    /// With the literal of a URL.
    InUrl,
}

/// Looks at a command collected so far, which ends in the head of a literal, or is whole.
pub(crate) fn append_head(octets: &[u8], dialect: Dialect) -> (Option<Tag>, AppendHead) {
    let mut c = Cursor::new(octets, dialect);
    let Ok(tag) = tag(&mut c) else { return (None, AppendHead::Other) };
    let replaces = if c.word("APPEND ") {
        None
    } else if let Some(by) = replace(&mut c) {
        match c.seq_number().and_then(|number| c.space().map(|()| number)) {
            Ok(number) => Some((by, number)),
            Err(fault) => return (Some(tag), AppendHead::Fault(fault)),
        }
    } else {
        return (Some(tag), AppendHead::Other);
    };
    // The mailbox itself may be the literal that has yet to come.
    if is_literal(&c) {
        return (Some(tag), AppendHead::Collect);
    }
    let mailbox = match c.mailbox() {
        Ok(mailbox) => mailbox,
        Err(fault) => return (Some(tag), AppendHead::Fault(fault)),
    };
    let mut pieces = Vec::new();
    let head = if c.at_end() {
        AppendHead::Fault(Fault::Syntax("message expected"))
    } else {
        match messages(&mut c, &mut pieces) {
            Ok(End::Whole) => AppendHead::Pieces(AppendTo { mailbox, replaces }, pieces),
            Ok(End::InUrl) => AppendHead::Collect,
            Err(fault) => AppendHead::Fault(fault),
        }
    };
    (Some(tag), head)
}

fn replace(c: &mut Cursor<'_>) -> Option<By> {
    if c.word("REPLACE ") {
        Some(By::Seq)
    } else if c.word("UID REPLACE ") {
        Some(By::Uid)
    } else {
        None
    }
}

/// Whether nothing but the head of a literal is left.
fn is_literal(c: &Cursor<'_>) -> bool {
    literal_header(c.rest()).is_some_and(|(_, length)| length == c.rest().len())
}

/// What follows a literal: the rest of its message, the next ones, the end. The line has no line end unless it ends in
/// the head of a literal. None where that is a URL, which is yet to come.
pub(crate) fn append_continues(line: &[u8], behind: Behind, dialect: Dialect) -> Parsed<Option<Vec<Piece>>> {
    let mut c = Cursor::new(line, dialect);
    let mut pieces = Vec::new();
    if behind.utf8 {
        c.close()?;
    }
    let mut end = None;
    if behind.catenate {
        end = parts(&mut c, false, &mut pieces)?;
    }
    let end = match end {
        Some(end) => end,
        None => messages(&mut c, &mut pieces)?,
    };
    Ok(match end {
        End::Whole => Some(pieces),
        End::InUrl => None,
    })
}

fn messages(c: &mut Cursor<'_>, pieces: &mut Vec<Piece>) -> Parsed<End> {
    loop {
        if c.at_end() {
            pieces.push(Piece::End);
            return Ok(End::Whole);
        }
        let head = message(c)?;
        let catenate = head.catenate;
        pieces.push(Piece::Head(head));
        if !catenate {
            return Ok(End::Whole);
        }
        if let Some(end) = parts(c, true, pieces)? {
            return Ok(end);
        }
    }
}

fn message(c: &mut Cursor<'_>) -> Parsed<AppendMessage> {
    c.space()?;
    let mut flags = FlagList::default();
    let mut date = None;
    if c.peek() == Some(b'(') {
        flags = c.flag_list()?;
        c.space()?;
    }
    if c.peek() == Some(b'"') {
        let text = c.string_octets()?;
        date = Some(parse_date_time(&text).ok_or(Fault::Syntax("bad date-time"))?);
        c.space()?;
    }
    if c.word("CATENATE (") {
        let sync = Sync::NonSynchronising;
        return Ok(AppendMessage { flags, date, size: 0, sync, utf8: false, catenate: true });
    }
    let (size, sync, utf8) = octets(c)?;
    Ok(AppendMessage { flags, date, size, sync, utf8, catenate: false })
}

/// The literal of a message, or of a piece of one.
fn octets(c: &mut Cursor<'_>) -> Parsed<(u64, Sync, bool)> {
    let utf8 = c.word("UTF8 (");
    let binary = c.take(b'~');
    if utf8 && !binary {
        return syntax("literal8 expected");
    }
    match literal_header(c.rest()) {
        Some((LiteralHeader { size, sync }, length)) if length == c.rest().len() => Ok((size, sync, utf8)),
        _ => syntax("message literal expected"),
    }
}

/// Pieces of a message up to a literal, or to the bracket that ends it: then none.
fn parts(c: &mut Cursor<'_>, first: bool, pieces: &mut Vec<Piece>) -> Parsed<Option<End>> {
    let mut first = first;
    loop {
        if !first && c.take(b')') {
            pieces.push(Piece::MessageEnd);
            return Ok(None);
        }
        if !first {
            c.space()?;
        }
        first = false;
        if c.word("URL ") {
            if is_literal(c) {
                return Ok(Some(End::InUrl));
            }
            if pieces.len() == limits::URLS {
                return Err(Fault::TooBig("too many URLs"));
            }
            pieces.push(Piece::Url(urlauth::url(c)?));
        } else if c.word("TEXT ")
            || c.rest().get(..6).is_some_and(|next| next.eq_ignore_ascii_case(b"UTF8 ("))
        {
            let (size, sync, utf8) = octets(c)?;
            pieces.push(Piece::Text { size, sync, utf8 });
            return Ok(Some(End::Whole));
        } else {
            return syntax("TEXT or URL expected");
        }
    }
}
