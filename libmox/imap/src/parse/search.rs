//! SEARCH and its keys.
//!
//! Law: RFC 9051 §6.4.4, RFC 3501 §6.4.4 (NEW, OLD, RECENT), RFC 5032, 5182, 7162, 8514.

use super::lex::Cursor;
use super::order::window;
use super::{Fault, Parsed, syntax};
use crate::command::{By, Command, EnvelopeField, SearchKey, SearchReturn};
use crate::date::Date;
use crate::limits;
use libmox_types::{Flag, Keyword};

pub(super) fn search(c: &mut Cursor<'_>, by: By) -> Parsed<Command> {
    c.space()?;
    let mut returns = None;
    if c.word("RETURN (") {
        returns = Some(return_options(c)?);
        c.space()?;
    }
    if c.word("CHARSET ") {
        charset(c)?;
        c.space()?;
    }
    Ok(Command::Search { by, returns, key: program(c)? })
}

/// RFC 9051 §6.4.4: US-ASCII and UTF-8 are enough; the strings themselves are checked to be UTF-8.
pub(super) fn charset(c: &mut Cursor<'_>) -> Parsed<()> {
    let charset = c.astring()?;
    if charset.eq_ignore_ascii_case("UTF-8") || charset.eq_ignore_ascii_case("US-ASCII") {
        Ok(())
    } else {
        Err(Fault::BadCharset)
    }
}

/// Keys alone, as a filter holds them.
pub fn parse_search_program(octets: &[u8]) -> Result<SearchKey, Fault> {
    program(&mut Cursor::new(octets, super::Dialect::Utf8))
}

/// Keys up to the end of the command.
pub(super) fn program(c: &mut Cursor<'_>) -> Parsed<SearchKey> {
    let mut count = 0;
    let mut keys = vec![key(c, 0, &mut count)?];
    while !c.at_end() {
        c.space()?;
        keys.push(key(c, 0, &mut count)?);
    }
    Ok(all_of(keys))
}

fn all_of(mut keys: Vec<SearchKey>) -> SearchKey {
    match keys.len() {
        1 => keys.remove(0),
        _ => SearchKey::And(keys),
    }
}

/// The opening bracket is already taken.
pub(super) fn return_options(c: &mut Cursor<'_>) -> Parsed<SearchReturn> {
    let mut returns = SearchReturn::default();
    if c.take(b')') {
        // RFC 4731 §3.1: nothing named means ALL.
        return Ok(SearchReturn { all: true, ..returns });
    }
    loop {
        match c.keyword()?.as_str() {
            "MIN" => returns.min = true,
            "MAX" => returns.max = true,
            "ALL" => returns.all = true,
            "COUNT" => returns.count = true,
            "SAVE" => returns.save = true,
            "UPDATE" => returns.update = true,
            // RFC 5267 §4.2: a hint that more of the same will come.
            "CONTEXT" => {}
            "PARTIAL" => {
                c.space()?;
                if returns.partial.replace(window(c)?).is_some() {
                    return syntax("one PARTIAL only");
                }
            }
            _ => return syntax("unknown return option"),
        }
        if c.take(b')') {
            // RFC 9394 §3.1.
            if returns.all && returns.partial.is_some() {
                return syntax("PARTIAL and ALL do not go together");
            }
            return Ok(returns);
        }
        c.space()?;
    }
}

fn key(c: &mut Cursor<'_>, depth: u32, count: &mut u32) -> Parsed<SearchKey> {
    *count += 1;
    if depth >= limits::SEARCH_DEPTH || *count > limits::SEARCH_KEYS {
        return Err(Fault::TooBig("search too complicated"));
    }
    match c.peek() {
        Some(b'(') => {
            let keys = c.list(|c| key(c, depth + 1, count))?;
            return if keys.is_empty() { syntax("search key expected") } else { Ok(all_of(keys)) };
        }
        Some(b'*' | b'$' | b'0'..=b'9') => return c.seq_set().map(SearchKey::Seq),
        _ => {}
    }
    let key = match c.keyword()?.as_str() {
        "ALL" => SearchKey::All,
        "ANSWERED" => SearchKey::Flag(Flag::Answered, true),
        "UNANSWERED" => SearchKey::Flag(Flag::Answered, false),
        "DELETED" => SearchKey::Flag(Flag::Deleted, true),
        "UNDELETED" => SearchKey::Flag(Flag::Deleted, false),
        "DRAFT" => SearchKey::Flag(Flag::Draft, true),
        "UNDRAFT" => SearchKey::Flag(Flag::Draft, false),
        "FLAGGED" => SearchKey::Flag(Flag::Flagged, true),
        "UNFLAGGED" => SearchKey::Flag(Flag::Flagged, false),
        "SEEN" => SearchKey::Flag(Flag::Seen, true),
        "UNSEEN" => SearchKey::Flag(Flag::Seen, false),
        "KEYWORD" => keyword(c, true)?,
        "UNKEYWORD" => keyword(c, false)?,
        "NEW" => SearchKey::New,
        "OLD" => SearchKey::Old,
        "RECENT" => SearchKey::Recent,
        "BEFORE" => SearchKey::Before(date(c)?),
        "ON" => SearchKey::On(date(c)?),
        "SINCE" => SearchKey::Since(date(c)?),
        "SENTBEFORE" => SearchKey::SentBefore(date(c)?),
        "SENTON" => SearchKey::SentOn(date(c)?),
        "SENTSINCE" => SearchKey::SentSince(date(c)?),
        "SAVEDBEFORE" => SearchKey::SavedBefore(date(c)?),
        "SAVEDON" => SearchKey::SavedOn(date(c)?),
        "SAVEDSINCE" => SearchKey::SavedSince(date(c)?),
        "SAVEDATESUPPORTED" => SearchKey::SaveDateSupported,
        "OLDER" => SearchKey::Older(interval(c)?),
        "YOUNGER" => SearchKey::Younger(interval(c)?),
        "LARGER" => {
            c.space()?;
            SearchKey::Larger(c.number64()?)
        }
        "SMALLER" => {
            c.space()?;
            SearchKey::Smaller(c.number64()?)
        }
        "BCC" => SearchKey::Envelope(EnvelopeField::Bcc, text(c)?),
        "CC" => SearchKey::Envelope(EnvelopeField::Cc, text(c)?),
        "FROM" => SearchKey::Envelope(EnvelopeField::From, text(c)?),
        "SUBJECT" => SearchKey::Envelope(EnvelopeField::Subject, text(c)?),
        "TO" => SearchKey::Envelope(EnvelopeField::To, text(c)?),
        "HEADER" => {
            let name = text(c)?;
            SearchKey::Header(name, text(c)?)
        }
        "BODY" => SearchKey::Body(text(c)?),
        "TEXT" => SearchKey::Text(text(c)?),
        "UID" => {
            c.space()?;
            SearchKey::Uid(c.seq_set()?)
        }
        // RFC 5466 §3.1.
        "FILTER" => {
            c.space()?;
            match c.atom()? {
                name if name.contains('/') || name.contains('%') => return syntax("filter name expected"),
                name => SearchKey::Filter(name.to_lowercase()),
            }
        }
        "EMAILID" => SearchKey::EmailId(object_id(c)?),
        "THREADID" => SearchKey::ThreadId(object_id(c)?),
        "MODSEQ" => {
            c.space()?;
            if c.peek() == Some(b'"') {
                // RFC 7162 §3.1.5: which flag; we keep one modseq a message, as it allows.
                c.string_octets()?;
                c.space()?;
                if !["priv", "shared", "all"].iter().any(|kind| c.word(kind)) {
                    return syntax("priv, shared or all expected");
                }
                c.space()?;
            }
            SearchKey::ModSeq(c.mod_seq()?)
        }
        "NOT" => {
            c.space()?;
            SearchKey::Not(Box::new(self::key(c, depth + 1, count)?))
        }
        "OR" => {
            c.space()?;
            let a = self::key(c, depth + 1, count)?;
            c.space()?;
            SearchKey::Or(Box::new(a), Box::new(self::key(c, depth + 1, count)?))
        }
        _ => return syntax("unknown search key"),
    };
    Ok(key)
}

fn text(c: &mut Cursor<'_>) -> Parsed<String> {
    c.space()?;
    c.astring()
}

/// RFC 8474 §7 `objectid`.
fn object_id(c: &mut Cursor<'_>) -> Parsed<String> {
    c.space()?;
    let id = c.run(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    match String::from_utf8_lossy(id) {
        id if id.is_empty() || id.len() > 255 => syntax("object id expected"),
        id => Ok(id.into_owned()),
    }
}

fn interval(c: &mut Cursor<'_>) -> Parsed<u32> {
    c.space()?;
    c.nz_number()
}

fn keyword(c: &mut Cursor<'_>, set: bool) -> Parsed<SearchKey> {
    c.space()?;
    let name = c.atom()?;
    if let Some(flag) = Flag::from_wire(name) {
        return Ok(SearchKey::Flag(flag, set));
    }
    // A keyword no message can have is on no message.
    Ok(Keyword::parse(name).map_or_else(
        |_| if set { SearchKey::Not(Box::new(SearchKey::All)) } else { SearchKey::All },
        |keyword| SearchKey::Keyword(keyword, set),
    ))
}

fn date(c: &mut Cursor<'_>) -> Parsed<Date> {
    c.space()?;
    let octets = if c.peek() == Some(b'"') {
        c.string_octets()?
    } else {
        c.run(|b| b.is_ascii_alphanumeric() || b == b'-').into()
    };
    Date::parse(&octets).ok_or(Fault::Syntax("bad date"))
}
