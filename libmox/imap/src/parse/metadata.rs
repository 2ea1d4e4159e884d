//! METADATA and QUOTA.
//!
//! Law: RFC 5464 §5, RFC 9590 §4, RFC 9208 §7.

use super::lex::Cursor;
use super::{Fault, Parsed, syntax};
use crate::command::{Command, Depth, GetMetadata, MetadataValue};
use crate::limits;
use libmox_types::MailboxName;

/// Options stand before the mailbox in the grammar and behind it in the examples; both are taken.
pub(super) fn get(c: &mut Cursor<'_>) -> Parsed<Command> {
    let mut get = GetMetadata::default();
    c.space()?;
    if c.peek() == Some(b'(') {
        options(c, &mut get)?;
        c.space()?;
    }
    get.mailbox = mailbox_or_server(c)?;
    c.space()?;
    if c.peek() == Some(b'(') && !c.rest().get(1).is_some_and(|b| matches!(b, b'/' | b'"' | b'{')) {
        options(c, &mut get)?;
        c.space()?;
    }
    if c.peek() == Some(b'(') {
        get.entries = entries(c)?;
    } else {
        get.entries.push(entry(c)?);
    }
    Ok(Command::GetMetadata(get))
}

fn options(c: &mut Cursor<'_>, get: &mut GetMetadata) -> Parsed<()> {
    let listed = c.list(|c| {
        match c.keyword()?.as_str() {
            "MAXSIZE" if get.max_size.is_none() => {
                c.space()?;
                get.max_size = Some(c.number64()?);
            }
            "DEPTH" => {
                c.space()?;
                get.depth = match c.keyword()?.as_str() {
                    "0" => Depth::Zero,
                    "1" => Depth::One,
                    "INFINITY" => Depth::Infinity,
                    _ => return syntax("0, 1 or infinity expected"),
                };
            }
            _ => return syntax("unknown option"),
        }
        Ok(())
    })?;
    if listed.is_empty() { syntax("option expected") } else { Ok(()) }
}

/// `(` entries `)`
pub(super) fn entries(c: &mut Cursor<'_>) -> Parsed<Vec<String>> {
    let entries = c.list(entry)?;
    match entries.len() {
        0 => syntax("entry expected"),
        n if n > limits::ENTRIES => Err(Fault::TooBig("too many entries")),
        _ => Ok(entries),
    }
}

fn mailbox_or_server(c: &mut Cursor<'_>) -> Parsed<Option<MailboxName>> {
    if c.word("\"\"") { Ok(None) } else { c.mailbox().map(Some) }
}

/// An entry name in lower case.
fn entry(c: &mut Cursor<'_>) -> Parsed<String> {
    let name = c.astring()?.to_lowercase();
    let sane = ["/private", "/shared"]
        .iter()
        .any(|kind| name.strip_prefix(kind).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
        && !name.ends_with('/')
        && !name.contains("//")
        && !name.contains(|c: char| c.is_control() || c == '*' || c == '%');
    if sane { Ok(name) } else { syntax("bad entry name") }
}

pub(super) fn set(c: &mut Cursor<'_>) -> Parsed<Command> {
    c.space()?;
    let mailbox = mailbox_or_server(c)?;
    c.space()?;
    let entries = c.list(|c| {
        let name = entry(c)?;
        if !name[1..].contains('/') {
            return syntax("bad entry name");
        }
        c.space()?;
        let text = c.peek() != Some(b'~');
        let value = if c.word("NIL") {
            None
        } else {
            Some(MetadataValue { octets: c.string_octets()?.into_owned(), text })
        };
        Ok((name, value))
    })?;
    match entries.len() {
        0 => syntax("entry expected"),
        n if n > limits::ENTRIES => Err(Fault::TooBig("too many entries")),
        _ => Ok(Command::SetMetadata { mailbox, entries }),
    }
}
