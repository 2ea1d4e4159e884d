//! LIST and LSUB.
//!
//! Law: RFC 9051 §6.3.9, RFC 5258 §6, RFC 5819, RFC 6154; RFC 3501 §6.3.9.

use super::lex::Cursor;
use super::{Fault, Parsed, metadata, status_items, syntax};
use crate::command::{Command, List};
use crate::limits;

pub(super) fn list(c: &mut Cursor<'_>) -> Parsed<Command> {
    c.space()?;
    let mut list = List::default();
    if c.peek() == Some(b'(') {
        list.extended = true;
        c.list(|c| {
            match c.keyword()?.as_str() {
                "SUBSCRIBED" => list.subscribed = true,
                "REMOTE" => list.remote = true,
                "SPECIAL-USE" => list.special_use = true,
                "RECURSIVEMATCH" => list.recursive_match = true,
                _ => return syntax("unknown selection option"),
            }
            Ok(())
        })?;
        // RFC 5258 §3: RECURSIVEMATCH goes with an option that selects.
        if list.recursive_match && !(list.subscribed || list.special_use) {
            return syntax("RECURSIVEMATCH needs another selection option");
        }
        c.space()?;
    }
    list.reference = c.reference()?;
    c.space()?;
    if c.peek() == Some(b'(') {
        list.extended = true;
        list.patterns = c.list(Cursor::pattern)?;
        if list.patterns.is_empty() {
            return syntax("pattern expected");
        }
        if list.patterns.len() > limits::PATTERNS {
            return Err(Fault::TooBig("too many patterns"));
        }
    } else {
        list.patterns.push(c.pattern()?);
    }
    if !c.at_end() {
        list.extended = true;
        if !c.word(" RETURN ") {
            return syntax("RETURN expected");
        }
        c.list(|c| {
            match c.keyword()?.as_str() {
                "SUBSCRIBED" => list.return_subscribed = true,
                "CHILDREN" => list.return_children = true,
                "SPECIAL-USE" => list.return_special_use = true,
                "STATUS" => {
                    c.space()?;
                    list.return_status = Some(status_items(c)?);
                }
                // RFC 9590 §4.
                "METADATA" => {
                    c.space()?;
                    list.return_metadata = Some(metadata::entries(c)?);
                }
                _ => return syntax("unknown return option"),
            }
            Ok(())
        })?;
    }
    Ok(Command::List(list))
}

pub(super) fn lsub(c: &mut Cursor<'_>) -> Parsed<Command> {
    c.space()?;
    let reference = c.reference()?;
    c.space()?;
    Ok(Command::Lsub { reference, pattern: c.pattern()? })
}
