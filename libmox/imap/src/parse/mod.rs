//! From the octets of one whole command to a [`Command`].
//!
//! Law: RFC 9051 §9, RFC 3501 §9, and the extensions named in `command`.
//! Does not know: how the octets came in; [`crate::Reader`] cuts them, with literals in place.
//! Fails with: [`Fault`]. No input makes it panic; nesting is bounded, so the stack is.

mod append;
mod fetch;
mod lex;
mod list;
mod metadata;
mod notify;
mod order;
mod search;
mod urlauth;

pub(crate) use append::{AppendHead, Behind, Piece, append_continues, append_head};
pub(crate) use fetch::parse_section;
pub(crate) use lex::{Cursor, is_astring_char, literal_header};
pub use search::parse_search_program;

use crate::command::{
    Access, By, Command, FlagChange, FlagList, Resync, Secret, SelectParams, StatusItem, StatusItems, Tag,
};
use crate::limits;
use crate::seqset::{SeqNumber, SeqSet};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use libmox_types::{MailboxNameFault, SpecialUse, SpecialUses, Uid, UidSet, UidValidity};

/// How mailbox names are spelled on this connection. Row IM-05.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Modified UTF-7, until the client enables something newer.
    #[default]
    Utf7,
    /// UTF-8 as it is: IMAP4rev2 or UTF8=ACCEPT is enabled.
    Utf8,
}

/// Why octets are no command we carry out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Against the grammar.
    Syntax(&'static str),
    /// No command of that name.
    UnknownCommand,
    /// A mailbox name that is not valid modified UTF-7.
    MailboxSpelling,
    /// A well-spelled name that no mailbox can have.
    Mailbox(MailboxNameFault),
    /// A keyword no message can have.
    Keyword,
    /// A special use we do not know. RFC 6154 §3.
    UseAttr,
    /// A charset we cannot search in.
    BadCharset,
    /// A kind of event we do not tell. RFC 5465 §3.1.
    BadEvent,
    /// A limit, and what was over it.
    TooBig(&'static str),
    /// A message with NUL octets, or literal8 where text belongs.
    UnknownCte,
}

/// What a piece of the parser gives back.
pub(crate) type Parsed<T> = Result<T, Fault>;

const fn syntax<T>(text: &'static str) -> Parsed<T> {
    Err(Fault::Syntax(text))
}

/// Reads one command without its last line end. The tag comes back where there is one, whatever follows.
pub fn parse(octets: &[u8], dialect: Dialect) -> (Option<Tag>, Result<Command, Fault>) {
    let mut c = Cursor::new(octets, dialect);
    let tag = match tag(&mut c) {
        Ok(tag) => tag,
        Err(fault) => return (None, Err(fault)),
    };
    (Some(tag), command(&mut c))
}

/// The tag and the space behind it.
pub(crate) fn tag(c: &mut Cursor<'_>) -> Parsed<Tag> {
    let text = c.run(|b| is_astring_char(b) && b != b'+');
    if text.is_empty() || text.len() > limits::TAG || !c.take(b' ') {
        return syntax("a command starts with a tag and a space");
    }
    // Tag characters are ASCII.
    Ok(Tag(String::from_utf8_lossy(text).into()))
}

fn command(c: &mut Cursor<'_>) -> Parsed<Command> {
    let word = c.keyword()?;
    let command = match word.as_str() {
        "CAPABILITY" => Command::Capability,
        "NOOP" => Command::Noop,
        "LOGOUT" => Command::Logout,
        "ID" => id(c)?,
        "STARTTLS" => Command::StartTls,
        "AUTHENTICATE" => authenticate(c)?,
        "LOGIN" => {
            c.space()?;
            let user = c.astring()?;
            c.space()?;
            Command::Login { user, password: Secret(c.astring()?) }
        }
        "ENABLE" => {
            let mut names = Vec::new();
            loop {
                c.space()?;
                names.push(c.keyword()?);
                if c.at_end() {
                    break Command::Enable(names);
                }
            }
        }
        "SELECT" => select(c, Access::ReadWrite)?,
        "EXAMINE" => select(c, Access::ReadOnly)?,
        "CREATE" => create(c)?,
        "DELETE" => Command::Delete(mailbox(c)?),
        "RENAME" => {
            let from = mailbox(c)?;
            c.space()?;
            Command::Rename { from, to: c.mailbox_to_make()? }
        }
        "SUBSCRIBE" => Command::Subscribe(mailbox(c)?),
        "UNSUBSCRIBE" => Command::Unsubscribe(mailbox(c)?),
        "LIST" => list::list(c)?,
        "LSUB" => list::lsub(c)?,
        "NAMESPACE" => Command::Namespace,
        "STATUS" => {
            let mailbox = mailbox(c)?;
            c.space()?;
            Command::Status { mailbox, items: status_items(c)? }
        }
        "GETMETADATA" => metadata::get(c)?,
        "SETMETADATA" => metadata::set(c)?,
        "COMPRESS" => {
            c.space()?;
            Command::Compress(c.keyword()?)
        }
        "GETQUOTA" => {
            c.space()?;
            Command::GetQuota(c.astring()?)
        }
        "GETQUOTAROOT" => Command::GetQuotaRoot(mailbox(c)?),
        "IDLE" => Command::Idle,
        "CHECK" => Command::Check,
        "CLOSE" => Command::Close,
        "UNSELECT" => Command::Unselect,
        "EXPUNGE" => Command::Expunge(None),
        "UID" => {
            c.space()?;
            match c.keyword()?.as_str() {
                "EXPUNGE" => {
                    c.space()?;
                    Command::Expunge(Some(c.seq_set()?))
                }
                "SEARCH" => search::search(c, By::Uid)?,
                "SORT" => order::sort(c, By::Uid)?,
                "THREAD" => order::thread(c, By::Uid)?,
                "FETCH" => fetch::fetch(c, By::Uid)?,
                "STORE" => store(c, By::Uid)?,
                "COPY" => copy(c, By::Uid)?,
                "MOVE" => move_(c, By::Uid)?,
                _ => return Err(Fault::UnknownCommand),
            }
        }
        "SEARCH" => search::search(c, By::Seq)?,
        "SORT" => order::sort(c, By::Seq)?,
        "THREAD" => order::thread(c, By::Seq)?,
        "NOTIFY" => notify::notify(c)?,
        "ESEARCH" => order::esearch(c)?,
        "CANCELUPDATE" => Command::CancelUpdate(order::tags(c)?),
        "UNAUTHENTICATE" => Command::Unauthenticate,
        "GENURLAUTH" => urlauth::generate(c)?,
        "RESETKEY" => urlauth::reset(c)?,
        "URLFETCH" => Command::UrlFetch(urlauth::urls(c)?),
        "FETCH" => fetch::fetch(c, By::Seq)?,
        "STORE" => store(c, By::Seq)?,
        "COPY" => copy(c, By::Seq)?,
        "MOVE" => move_(c, By::Seq)?,
        _ => return Err(Fault::UnknownCommand),
    };
    c.end()?;
    Ok(command)
}

fn mailbox(c: &mut Cursor<'_>) -> Parsed<libmox_types::MailboxName> {
    c.space()?;
    c.mailbox()
}

/// RFC 2971 §3.1.
fn id(c: &mut Cursor<'_>) -> Parsed<Command> {
    c.space()?;
    if c.word("NIL") {
        return Ok(Command::Id(Vec::new()));
    }
    let mut pairs: Vec<(String, Option<String>)> = Vec::new();
    c.list(|c| {
        if pairs.len() == limits::ID_PAIRS {
            return Err(Fault::TooBig("too many fields"));
        }
        let name = c.string()?;
        c.space()?;
        let value = c.nstring()?;
        if name.len() > limits::ID_FIELD || value.as_ref().is_some_and(|v| v.len() > limits::ID_VALUE) {
            return Err(Fault::TooBig("field too long"));
        }
        if pairs.iter().any(|(known, _)| known.eq_ignore_ascii_case(&name)) {
            return syntax("field given twice");
        }
        pairs.push((name, value));
        Ok(())
    })?;
    Ok(Command::Id(pairs))
}

fn authenticate(c: &mut Cursor<'_>) -> Parsed<Command> {
    c.space()?;
    let mechanism = c.keyword()?;
    if c.at_end() {
        return Ok(Command::Authenticate { mechanism, initial: None });
    }
    c.space()?;
    let coded = c.run(|b| b > b' ' && b < 0x7f);
    Ok(Command::Authenticate { mechanism, initial: Some(sasl_octets(coded, "=")?) })
}

/// One client line of a SASL exchange. `*` cancels: `None`. RFC 9051 §6.2.2.
pub fn parse_sasl_line(line: &[u8]) -> Result<Option<Secret>, Fault> {
    if line == b"*" { Ok(None) } else { sasl_octets(line, "").map(Some) }
}

fn sasl_octets(coded: &[u8], empty: &str) -> Parsed<Secret> {
    if coded == empty.as_bytes() {
        return Ok(Secret(String::new()));
    }
    let octets = STANDARD.decode(coded).map_err(|_| Fault::Syntax("not base64"))?;
    String::from_utf8(octets).map(Secret).map_err(|_| Fault::Syntax("not UTF-8 inside base64"))
}

/// RFC 9051 §6.3.2; RFC 4466 §2.1 for the parameters.
fn select(c: &mut Cursor<'_>, access: Access) -> Parsed<Command> {
    let mailbox = mailbox(c)?;
    let mut params = SelectParams::default();
    if !c.at_end() {
        c.space()?;
        c.list(|c| match c.keyword()?.as_str() {
            "CONDSTORE" => {
                params.condstore = true;
                Ok(())
            }
            "QRESYNC" if params.qresync.is_none() => {
                c.space()?;
                params.qresync = Some(resync(c)?);
                Ok(())
            }
            _ => syntax("unknown parameter"),
        })?;
    }
    Ok(Command::Select { mailbox, access, params })
}

/// RFC 7162 §3.2.5. Sets are of numbers only.
fn resync(c: &mut Cursor<'_>) -> Parsed<Resync> {
    c.open()?;
    let uid_validity = UidValidity(c.nz_number()?);
    c.space()?;
    let mod_seq = c.mod_seq()?;
    let mut resync = Resync { uid_validity, mod_seq, known: None, matched: None };
    if !c.take(b')') {
        c.space()?;
        if c.peek() != Some(b'(') {
            resync.known = Some(plain_set(c)?);
        }
        if resync.known.is_none() || c.take(b' ') {
            c.open()?;
            let numbers = plain_set(c)?;
            c.space()?;
            let uids = plain_set(c)?;
            c.close()?;
            // RFC 7162 §3.2.5.2.
            if numbers.count() != uids.count() {
                return syntax("as many uids as numbers expected");
            }
            if numbers.count() > limits::MATCHED {
                return Err(Fault::TooBig("too many numbers to match"));
            }
            resync.matched = Some((numbers, uids));
        }
        c.close()?;
    }
    Ok(resync)
}

fn plain_set(c: &mut Cursor<'_>) -> Parsed<UidSet> {
    let set = c.seq_set()?;
    let has_star = match &set {
        SeqSet::Saved => true,
        SeqSet::Ranges(ranges) => {
            ranges.iter().any(|(a, b)| matches!(a, SeqNumber::Last) || matches!(b, SeqNumber::Last))
        }
    };
    match set.uids(Uid(0)) {
        Some(uids) if !has_star => Ok(uids),
        _ => syntax("* not allowed here"),
    }
}

/// RFC 9051 §6.3.4, RFC 6154 §3.
fn create(c: &mut Cursor<'_>) -> Parsed<Command> {
    c.space()?;
    let mailbox = c.mailbox_to_make()?;
    let mut uses = SpecialUses::NONE;
    if !c.at_end() {
        c.space()?;
        c.list(|c| {
            if !c.word("USE") {
                return syntax("unknown parameter");
            }
            c.space()?;
            let mut unknown = false;
            c.list(|c| {
                if !c.take(b'\\') {
                    return syntax("special use expected");
                }
                let name = c.atom()?;
                match SpecialUse::from_wire(&format!("\\{name}")) {
                    Some(one) => uses = uses.with(one),
                    None => unknown = true,
                }
                Ok(())
            })?;
            if unknown { Err(Fault::UseAttr) } else { Ok(()) }
        })?;
    }
    Ok(Command::Create { mailbox, uses })
}

pub(crate) fn status_items(c: &mut Cursor<'_>) -> Parsed<StatusItems> {
    let mut items = StatusItems::default();
    let listed = c.list(|c| {
        let name = c.keyword()?;
        match StatusItem::ALL.iter().find(|(_, wire)| *wire == name) {
            Some((item, _)) => items = items.with(*item),
            None => return syntax("unknown status item"),
        }
        Ok(())
    })?;
    if listed.is_empty() { syntax("status item expected") } else { Ok(items) }
}

/// RFC 9051 §6.4.6, RFC 7162 §3.1.3.
fn store(c: &mut Cursor<'_>, by: By) -> Parsed<Command> {
    c.space()?;
    let set = c.seq_set()?;
    c.space()?;
    let mut unchanged_since = None;
    if c.peek() == Some(b'(') {
        c.list(|c| {
            if !c.word("UNCHANGEDSINCE ") || unchanged_since.is_some() {
                return syntax("unknown parameter");
            }
            unchanged_since = Some(c.mod_seq()?);
            Ok(())
        })?;
        c.space()?;
    }
    let sign = match c.peek() {
        Some(sign @ (b'+' | b'-')) => {
            c.take(sign);
            sign
        }
        _ => b'=',
    };
    let silent = match c.keyword()?.as_str() {
        "FLAGS" => false,
        "FLAGS.SILENT" => true,
        _ => return syntax("FLAGS expected"),
    };
    c.space()?;
    let flags = if c.peek() == Some(b'(') {
        c.flag_list()?
    } else {
        let mut flags = FlagList::default();
        loop {
            c.flag(&mut flags)?;
            if c.at_end() {
                break flags;
            }
            c.space()?;
        }
    };
    let change = match sign {
        b'+' => FlagChange::Add(flags),
        b'-' => FlagChange::Remove(flags),
        _ => FlagChange::Replace(flags),
    };
    Ok(Command::Store { by, set, change, silent, unchanged_since })
}

fn copy(c: &mut Cursor<'_>, by: By) -> Parsed<Command> {
    c.space()?;
    let set = c.seq_set()?;
    Ok(Command::Copy { by, set, to: mailbox(c)? })
}

fn move_(c: &mut Cursor<'_>, by: By) -> Parsed<Command> {
    c.space()?;
    let set = c.seq_set()?;
    Ok(Command::Move { by, set, to: mailbox(c)? })
}

/// A lone sequence set, for tests and tools.
pub fn parse_seq_set(text: &[u8]) -> Result<SeqSet, Fault> {
    let mut c = Cursor::new(text, Dialect::Utf8);
    let set = c.seq_set()?;
    c.end()?;
    Ok(set)
}

#[cfg(test)]
mod tests;
