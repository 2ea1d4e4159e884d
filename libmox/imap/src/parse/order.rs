//! SORT, THREAD, ESEARCH and windows of results.
//!
//! Law: RFC 5256 §5, RFC 5957 §4, RFC 5267 §7, RFC 7377 §4, RFC 9394 §4; RFC 5465 §8 for the mailboxes.

use super::lex::Cursor;
use super::search::{charset, program, return_options};
use super::{Fault, Parsed, syntax};
use crate::command::{By, Command, MailboxFilter, SearchReturn, SortBy, SortKey, Threading, Window};
use crate::limits;
use libmox_types::MailboxName;

pub(super) fn sort(c: &mut Cursor<'_>, by: By) -> Parsed<Command> {
    c.space()?;
    let mut returns = None;
    if c.word("RETURN (") {
        returns = Some(return_options(c)?);
        c.space()?;
    }
    let order = c.list(|c| {
        let mut reverse = false;
        loop {
            let word = c.keyword()?;
            if word == "REVERSE" {
                reverse = !reverse;
                c.space()?;
                continue;
            }
            return match SortBy::ALL.iter().find(|(_, wire)| *wire == word) {
                Some((by, _)) => Ok(SortKey { by: *by, reverse }),
                None => syntax("unknown sort key"),
            };
        }
    })?;
    if order.is_empty() || order.len() > limits::SORT_KEYS {
        return syntax("sort key expected");
    }
    c.space()?;
    charset(c)?;
    c.space()?;
    Ok(Command::Sort { by, returns, order, key: program(c)? })
}

pub(super) fn thread(c: &mut Cursor<'_>, by: By) -> Parsed<Command> {
    c.space()?;
    let how = match c.keyword()?.as_str() {
        "ORDEREDSUBJECT" => Threading::OrderedSubject,
        "REFERENCES" => Threading::References,
        _ => return syntax("unknown threading algorithm"),
    };
    c.space()?;
    charset(c)?;
    c.space()?;
    Ok(Command::Thread { by, how, key: program(c)? })
}

pub(super) fn esearch(c: &mut Cursor<'_>) -> Parsed<Command> {
    c.space()?;
    let mut sources = vec![MailboxFilter::Selected];
    let mut returns = None;
    if c.word("IN (") {
        sources = vec![filter(c)?];
        while c.take(b' ') {
            // RFC 7377 §4 leaves room for options, of which there are none.
            if c.peek() == Some(b'(') {
                return syntax("unknown search scope option");
            }
            sources.push(filter(c)?);
        }
        c.close()?;
        c.space()?;
        if sources.contains(&MailboxFilter::SelectedDelayed) {
            return syntax("selected-delayed is no source");
        }
    }
    if c.word("RETURN (") {
        returns = Some(return_options(c)?);
        c.space()?;
    }
    if c.word("CHARSET ") {
        charset(c)?;
        c.space()?;
    }
    let returns = returns.unwrap_or(SearchReturn { all: true, ..SearchReturn::default() });
    Ok(Command::Esearch { sources, returns, key: program(c)? })
}

/// RFC 5465 §8 `filter-mailboxes`.
pub(super) fn filter(c: &mut Cursor<'_>) -> Parsed<MailboxFilter> {
    Ok(match c.keyword()?.as_str() {
        "SELECTED" => MailboxFilter::Selected,
        "SELECTED-DELAYED" => MailboxFilter::SelectedDelayed,
        "INBOXES" => MailboxFilter::Inboxes,
        "PERSONAL" => MailboxFilter::Personal,
        "SUBSCRIBED" => MailboxFilter::Subscribed,
        "SUBTREE" => MailboxFilter::Subtree(names(c)?),
        "SUBTREE-ONE" => MailboxFilter::SubtreeOne(names(c)?),
        "MAILBOXES" => MailboxFilter::Mailboxes(names(c)?),
        _ => return syntax("unknown mailbox specifier"),
    })
}

fn names(c: &mut Cursor<'_>) -> Parsed<Vec<MailboxName>> {
    c.space()?;
    if c.peek() != Some(b'(') {
        return Ok(vec![c.mailbox()?]);
    }
    let names = c.list(Cursor::mailbox)?;
    match names.len() {
        0 => syntax("mailbox expected"),
        n if n > limits::PATTERNS => Err(Fault::TooBig("too many mailboxes")),
        _ => Ok(names),
    }
}

/// RFC 9394 §4 `partial-range`: both ends from the start, or both from the end.
pub(super) fn window(c: &mut Cursor<'_>) -> Parsed<Window> {
    let from_end = c.take(b'-');
    let a = c.nz_number()?;
    if !c.take(b':') || c.take(b'-') != from_end {
        return syntax("range expected");
    }
    let b = c.nz_number()?;
    Ok(Window { first: a.min(b), last: a.max(b), from_end })
}

/// RFC 5267 §7 `cancelupdate`: quoted tags.
pub(super) fn tags(c: &mut Cursor<'_>) -> Parsed<Vec<String>> {
    let mut tags = Vec::new();
    while !c.at_end() {
        c.space()?;
        if c.peek() != Some(b'"') {
            return syntax("quoted tag expected");
        }
        tags.push(c.string()?);
    }
    if tags.is_empty() { syntax("quoted tag expected") } else { Ok(tags) }
}
