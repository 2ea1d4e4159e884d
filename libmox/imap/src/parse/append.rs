//! APPEND and REPLACE up to the octets of their messages, which are never held here.
//!
//! Law: RFC 9051 §6.3.12, RFC 3502 (several messages), RFC 8508 (REPLACE), RFC 4466 §2.6 (grammar), RFC 6855 §4 (`UTF8 (~{n}`).

use super::lex::{Cursor, LiteralHeader, literal_header};
use super::{Dialect, Fault, Parsed, syntax, tag};
use crate::command::{AppendMessage, AppendTo, By, FlagList, Tag};
use crate::date::parse_date_time;

/// What a line that ends in the head of a literal turned out to be.
pub(crate) enum AppendHead {
    /// Not an APPEND, or the literal is its mailbox: keep collecting.
    Collect,
    /// The literal is a message.
    Message(AppendTo, AppendMessage),
    /// It never can become an APPEND.
    Fault(Fault),
}

/// Looks at a command collected so far, which ends in the head of a literal.
pub(crate) fn append_head(octets: &[u8], dialect: Dialect) -> (Option<Tag>, AppendHead) {
    let mut c = Cursor::new(octets, dialect);
    let Ok(tag) = tag(&mut c) else { return (None, AppendHead::Collect) };
    let replaces = if c.word("APPEND ") {
        None
    } else if let Some(by) = replace(&mut c) {
        match c.seq_number().and_then(|number| c.space().map(|()| number)) {
            Ok(number) => Some((by, number)),
            Err(fault) => return (Some(tag), AppendHead::Fault(fault)),
        }
    } else {
        return (Some(tag), AppendHead::Collect);
    };
    // The mailbox itself may be the literal that has yet to come.
    if literal_header(c.rest()).is_some_and(|(_, length)| length == c.rest().len()) {
        return (Some(tag), AppendHead::Collect);
    }
    let mailbox = match c.mailbox() {
        Ok(mailbox) => mailbox,
        Err(fault) => return (Some(tag), AppendHead::Fault(fault)),
    };
    let head = match message(&mut c) {
        Ok(message) => AppendHead::Message(AppendTo { mailbox, replaces }, message),
        Err(fault) => AppendHead::Fault(fault),
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

/// What follows a message: nothing, or the head of the next one. The line has no line end unless it ends in
/// the head of a literal.
pub(crate) fn append_continues(line: &[u8], utf8: bool, dialect: Dialect) -> Parsed<Option<AppendMessage>> {
    let mut c = Cursor::new(line, dialect);
    if utf8 {
        c.close()?;
    }
    if c.at_end() { Ok(None) } else { message(&mut c).map(Some) }
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
    let utf8 = c.word("UTF8 (");
    let binary = c.take(b'~');
    if utf8 && !binary {
        return syntax("literal8 expected");
    }
    let Some((LiteralHeader { size, sync }, length)) = literal_header(c.rest()) else {
        return syntax("message literal expected");
    };
    if length != c.rest().len() {
        return syntax("message literal expected");
    }
    Ok(AppendMessage { flags, date, size, sync, utf8 })
}
