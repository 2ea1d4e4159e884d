//! The words of the grammar: atoms, strings, numbers, lists.
//!
//! Law: RFC 9051 §4 and §9. The input is a whole command with its literals in place, `{n}CRLF` and octets.
//! RFC 9051 §9 (1) lets nobody send more than one space, nor any inside a bracket; there are clients that do (`ID ( "name"
//! "x" )`), it can mean nothing else, and so it is read.

use super::{Dialect, Fault, Parsed};
use crate::command::FlagList;
use crate::limits;
use crate::seqset::{SeqNumber, SeqSet};
use crate::utf7;
use libmox_types::{Flag, Keyword, MailboxName, ModSeq};

/// A place in a command.
#[derive(Clone)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    pub(crate) dialect: Dialect,
}

pub(crate) fn is_atom_char(byte: u8) -> bool {
    byte > b' ' && byte < 0x7f && !b"(){%*\"\\]".contains(&byte)
}

/// `ASTRING-CHAR`: `]` is fine there.
pub(crate) fn is_astring_char(byte: u8) -> bool {
    is_atom_char(byte) || byte == b']'
}

const fn syntax(text: &'static str) -> Fault {
    Fault::Syntax(text)
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8], dialect: Dialect) -> Self {
        Self { bytes, at: 0, dialect }
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// Nothing is left, but for spaces.
    pub(crate) fn at_end(&self) -> bool {
        self.rest().iter().all(|&b| b == b' ')
    }

    pub(crate) fn end(&self) -> Parsed<()> {
        if self.at_end() { Ok(()) } else { Err(syntax("unexpected text after the command")) }
    }

    pub(crate) fn take(&mut self, byte: u8) -> bool {
        let hit = self.peek() == Some(byte);
        self.at += usize::from(hit);
        hit
    }

    pub(crate) fn space(&mut self) -> Parsed<()> {
        if self.run(|b| b == b' ').is_empty() { Err(syntax("space expected")) } else { Ok(()) }
    }

    pub(crate) fn open(&mut self) -> Parsed<()> {
        if self.take(b'(') { Ok(()) } else { Err(syntax("( expected")) }
    }

    pub(crate) fn close(&mut self) -> Parsed<()> {
        if self.take(b')') { Ok(()) } else { Err(syntax(") expected")) }
    }

    pub(crate) fn run(&mut self, wanted: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = self.rest();
        let length = rest.iter().position(|&b| !wanted(b)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    /// Takes the word if it comes next, in any case.
    pub(crate) fn word(&mut self, word: &str) -> bool {
        let hit =
            self.rest().get(..word.len()).is_some_and(|next| next.eq_ignore_ascii_case(word.as_bytes()));
        self.at += if hit { word.len() } else { 0 };
        hit
    }

    pub(crate) fn atom(&mut self) -> Parsed<&'a str> {
        let atom = self.run(is_atom_char);
        // Atom characters are ASCII, so this never fails.
        match std::str::from_utf8(atom) {
            Ok(text) if !text.is_empty() => Ok(text),
            _ => Err(syntax("atom expected")),
        }
    }

    /// An atom in upper case.
    pub(crate) fn keyword(&mut self) -> Parsed<String> {
        self.atom().map(str::to_ascii_uppercase)
    }

    pub(crate) fn number64(&mut self) -> Parsed<u64> {
        let digits = self.run(|b| b.is_ascii_digit());
        let value = std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok());
        // RFC 9051 §9 number64: 63 bits.
        value.filter(|&n| i64::try_from(n).is_ok()).ok_or(syntax("number expected"))
    }

    pub(crate) fn number(&mut self) -> Parsed<u32> {
        u32::try_from(self.number64()?).map_err(|_| syntax("number too large"))
    }

    pub(crate) fn nz_number(&mut self) -> Parsed<u32> {
        match self.number()? {
            0 => Err(syntax("number must not be 0")),
            n => Ok(n),
        }
    }

    pub(crate) fn mod_seq(&mut self) -> Parsed<ModSeq> {
        self.number64().map(ModSeq)
    }

    /// `(` items with a space between `)`.
    pub(crate) fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Parsed<T>) -> Parsed<Vec<T>> {
        self.open()?;
        let mut items = Vec::new();
        let mut apart = self.space().is_ok();
        loop {
            if self.take(b')') {
                return Ok(items);
            }
            if !items.is_empty() && !apart {
                return Err(syntax("space expected"));
            }
            items.push(item(self)?);
            apart = self.space().is_ok();
        }
    }

    /// The octets of a quoted string or literal.
    pub(crate) fn string_octets(&mut self) -> Parsed<std::borrow::Cow<'a, [u8]>> {
        match self.peek() {
            Some(b'"') => self.quoted(),
            Some(b'{' | b'~') => self.literal().map(Into::into),
            _ => Err(syntax("string expected")),
        }
    }

    fn quoted(&mut self) -> Parsed<std::borrow::Cow<'a, [u8]>> {
        self.at += 1;
        let plain = self.run(|b| !matches!(b, b'"' | b'\\' | b'\r' | b'\n' | 0));
        if self.take(b'"') {
            return Ok(plain.into());
        }
        let mut octets = plain.to_vec();
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(octets.into());
                }
                Some(b'\\') => {
                    self.at += 1;
                    let next = self.peek().filter(|b| matches!(b, b'"' | b'\\'));
                    octets.push(next.ok_or(syntax("bad escape in quoted string"))?);
                    self.at += 1;
                }
                _ => {
                    let more = self.run(|b| !matches!(b, b'"' | b'\\' | b'\r' | b'\n' | 0));
                    if more.is_empty() {
                        return Err(syntax("quoted string does not end"));
                    }
                    octets.extend_from_slice(more);
                }
            }
        }
    }

    fn literal(&mut self) -> Parsed<&'a [u8]> {
        let binary = self.take(b'~');
        let (header, length) = literal_header(self.rest()).ok_or(syntax("bad literal"))?;
        let start = self.at + length;
        let size = usize::try_from(header.size).map_err(|_| syntax("bad literal"))?;
        let octets = start.checked_add(size).and_then(|end| self.bytes.get(start..end));
        let octets = octets.ok_or(syntax("bad literal"))?;
        if !binary && octets.contains(&0) {
            return Err(syntax("NUL in literal"));
        }
        self.at = start + size;
        Ok(octets)
    }

    fn text(octets: std::borrow::Cow<'a, [u8]>) -> Parsed<String> {
        if octets.contains(&0) {
            return Err(syntax("NUL in string"));
        }
        String::from_utf8(octets.into_owned()).map_err(|_| syntax("string is not UTF-8"))
    }

    /// `string`
    pub(crate) fn string(&mut self) -> Parsed<String> {
        Self::text(self.string_octets()?)
    }

    fn astring_octets(&mut self) -> Parsed<std::borrow::Cow<'a, [u8]>> {
        match self.peek() {
            Some(b'"' | b'{') => self.string_octets(),
            _ => match self.run(is_astring_char) {
                [] => Err(syntax("string expected")),
                octets => Ok(octets.into()),
            },
        }
    }

    /// `astring`
    pub(crate) fn astring(&mut self) -> Parsed<String> {
        Self::text(self.astring_octets()?)
    }

    /// `nstring`
    pub(crate) fn nstring(&mut self) -> Parsed<Option<String>> {
        if self.word("NIL") { Ok(None) } else { self.string().map(Some) }
    }

    /// `mailbox`
    pub(crate) fn mailbox(&mut self) -> Parsed<MailboxName> {
        let octets = self.astring_octets()?;
        let name = self.mailbox_text(octets)?;
        MailboxName::parse(&name).map_err(Fault::Mailbox)
    }

    /// The name of a mailbox to make: one separator at the end says that children are planned (RFC 9051
    /// §6.3.4) and is not part of it.
    pub(crate) fn mailbox_to_make(&mut self) -> Parsed<MailboxName> {
        let octets = self.astring_octets()?;
        let name = self.mailbox_text(octets)?;
        MailboxName::parse(name.strip_suffix('/').unwrap_or(&name)).map_err(Fault::Mailbox)
    }

    /// The reference of LIST: as a mailbox, but it may be empty or end in a separator.
    pub(crate) fn reference(&mut self) -> Parsed<String> {
        let octets = self.astring_octets()?;
        self.mailbox_text(octets)
    }

    /// `list-mailbox`
    pub(crate) fn pattern(&mut self) -> Parsed<String> {
        let octets = match self.peek() {
            Some(b'"' | b'{') => self.string_octets()?,
            _ => match self.run(|b| is_astring_char(b) || matches!(b, b'%' | b'*')) {
                [] => return Err(syntax("pattern expected")),
                octets => octets.into(),
            },
        };
        let text = self.mailbox_text(octets)?;
        if text.len() > limits::PATTERN { Err(Fault::TooBig("pattern too long")) } else { Ok(text) }
    }

    fn mailbox_text(&self, octets: std::borrow::Cow<'a, [u8]>) -> Parsed<String> {
        match self.dialect {
            Dialect::Utf8 => Self::text(octets),
            Dialect::Utf7 => utf7::decode(&octets).map_err(|_| Fault::MailboxSpelling),
        }
    }

    /// `sequence-set`, or `$`.
    pub(crate) fn seq_set(&mut self) -> Parsed<SeqSet> {
        if self.take(b'$') {
            return Ok(SeqSet::Saved);
        }
        let mut ranges = Vec::new();
        loop {
            let first = self.seq_number()?;
            let last = if self.take(b':') { self.seq_number()? } else { first };
            ranges.push((first, last));
            if !self.take(b',') {
                return Ok(SeqSet::Ranges(ranges));
            }
        }
    }

    pub(crate) fn seq_number(&mut self) -> Parsed<SeqNumber> {
        if self.take(b'*') { Ok(SeqNumber::Last) } else { self.nz_number().map(SeqNumber::Number) }
    }

    /// One flag of STORE or APPEND into the list. `\Recent` is the server's to set and is a fault.
    pub(crate) fn flag(&mut self, list: &mut FlagList) -> Parsed<()> {
        if self.take(b'\\') {
            let name = self.atom()?;
            let flag = Flag::ALL.iter().find(|(_, wire)| {
                wire.strip_prefix('\\').is_some_and(|wire| wire.eq_ignore_ascii_case(name))
            });
            let (flag, _) = flag.ok_or(syntax("unknown system flag"))?;
            list.flags = list.flags.with(*flag);
            return Ok(());
        }
        let name = self.atom()?;
        if let Some(flag) = Flag::from_wire(name) {
            list.flags = list.flags.with(flag);
        } else {
            let keyword = Keyword::parse(name).map_err(|_| Fault::Keyword)?;
            if !list.keywords.contains(&keyword) {
                list.keywords.push(keyword);
            }
        }
        Ok(())
    }

    /// `flag-list`
    pub(crate) fn flag_list(&mut self) -> Parsed<FlagList> {
        let mut list = FlagList::default();
        self.list(|c| c.flag(&mut list))?;
        Ok(list)
    }
}

/// The head of a literal: `{n}`, `{n+}`, with its line end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LiteralHeader {
    pub(crate) size: u64,
    pub(crate) sync: crate::command::Sync,
}

/// Reads a literal's head at the start of the octets; also says how long the head is.
pub(crate) fn literal_header(bytes: &[u8]) -> Option<(LiteralHeader, usize)> {
    use crate::command::Sync;
    let inner = bytes.strip_prefix(b"{")?;
    let digits = inner.iter().position(|b| !b.is_ascii_digit())?;
    // RFC 9051 §9 number64: 63 bits, 19 digits.
    if digits == 0 || digits > 19 {
        return None;
    }
    let size = inner[..digits].iter().fold(0_u64, |sum, b| sum * 10 + u64::from(b - b'0'));
    let (sync, rest) = match inner[digits..].strip_prefix(b"+") {
        Some(rest) => (Sync::NonSynchronising, rest),
        None => (Sync::Synchronising, &inner[digits..]),
    };
    let rest = rest.strip_prefix(b"}")?;
    let rest = rest.strip_prefix(b"\r").unwrap_or(rest).strip_prefix(b"\n")?;
    (size <= i64::MAX as u64).then_some((LiteralHeader { size, sync }, bytes.len() - rest.len()))
}
