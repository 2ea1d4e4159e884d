//! GENURLAUTH, RESETKEY and URLFETCH.
//!
//! Law: RFC 4467 §9. What a URL says is read when it is carried out: an answer repeats it as it came.

use super::lex::Cursor;
use super::{Fault, Parsed};
use crate::command::Command;
use crate::limits;

/// `url-full` or `url-rump`.
pub(super) fn url(c: &mut Cursor<'_>) -> Parsed<String> {
    let url = c.astring()?;
    if url.len() > limits::URL { Err(Fault::TooBig("URL too long")) } else { Ok(url) }
}

fn one_more<T>(all: &[T]) -> Parsed<()> {
    if all.len() == limits::URLS { Err(Fault::TooBig("too many URLs")) } else { Ok(()) }
}

pub(super) fn generate(c: &mut Cursor<'_>) -> Parsed<Command> {
    let mut all = Vec::new();
    loop {
        one_more(&all)?;
        c.space()?;
        let url = url(c)?;
        c.space()?;
        all.push((url, c.keyword()?));
        if c.at_end() {
            return Ok(Command::GenUrlAuth(all));
        }
    }
}

pub(super) fn reset(c: &mut Cursor<'_>) -> Parsed<Command> {
    if c.at_end() {
        return Ok(Command::ResetKey(None));
    }
    c.space()?;
    let mailbox = c.mailbox()?;
    let mut mechanisms = Vec::new();
    while !c.at_end() {
        one_more(&mechanisms)?;
        c.space()?;
        mechanisms.push(c.keyword()?);
    }
    Ok(Command::ResetKey(Some((mailbox, mechanisms))))
}

pub(super) fn urls(c: &mut Cursor<'_>) -> Parsed<Vec<String>> {
    let mut all = Vec::new();
    loop {
        one_more(&all)?;
        c.space()?;
        all.push(url(c)?);
        if c.at_end() {
            return Ok(all);
        }
    }
}
