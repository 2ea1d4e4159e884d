//! Octets in, commands out, however the octets were cut.
//!
//! Law: RFC 9051 §2.2.1 and §4.3 (literals), RFC 7888 (non-synchronising ones); row IM-03 for the limits.
//! Does not know: sockets, time. Messages of APPEND pass through without being held.
//! Fails with: [`Event::Fault`], after which the next command can be read, or [`Event::Bye`], after which
//! the connection is to be closed.
//!
//! | state | moves on with |
//! |---|---|
//! | `Line` | a line end: a command, a fault, or the head of a literal |
//! | `Literal` | its octets, then `Line` again |
//! | `Pieces` | what a line of an APPEND said, one after the other, then `Line` |
//! | `Decide` | [`Reader::accept`] or [`Reader::refuse`] |
//! | `Message` | its octets, handed out as they come, then `Line` for what follows |
//! | `Skip` | octets of a literal nobody wants, then `SkipLine` |
//! | `Over` | nothing: the connection is to be closed, as soon as that is asked for, then `Dead` |
//! | `SkipLine` | the rest of a refused command; a non-synchronising literal goes back to `Skip` |

use crate::command::{AppendMessage, AppendTo, Command, Sync, Tag};
use crate::limits;
use crate::parse::{
    AppendHead, Behind, Dialect, Fault, Piece, append_continues, append_head, literal_header, parse,
};
use libmox_types::MailboxName;
use std::collections::VecDeque;

/// What the octets given so far amount to.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// Nothing yet: read more.
    More,
    /// The client waits for a continuation before it sends a literal.
    Continue,
    /// A whole command.
    Command(Tag, Command),
    /// No command. Answer it and read on.
    Fault(Option<Tag>, Fault),
    /// A message of an APPEND or REPLACE is about to come: [`Reader::accept`] or [`Reader::refuse`] it. Where it goes
    /// comes with the first one only.
    Message(Tag, Option<AppendTo>, AppendMessage),
    /// Octets of the accepted message.
    Octets(&'a [u8]),
    /// The next octets of the message are those of this URL; [`Reader::refuse`] if they cannot be had. RFC 4469.
    Url(String),
    /// The next octets of the message are about to come: [`Reader::accept`] or [`Reader::refuse`] them. RFC 4469.
    Text {
        /// How many.
        size: u64,
        /// Whether the client waits for us to say go on.
        sync: Sync,
    },
    /// The accepted message has all its octets.
    MessageEnd,
    /// The APPEND is complete.
    AppendEnd(Tag),
    /// A line asked for with [`Reader::expect_line`], without its end.
    Line(Vec<u8>),
    /// Too much to go on: say so and close.
    Bye(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Line,
    Literal { left: usize },
    Pieces,
    Decide { literal: Option<(u64, Sync)> },
    Message { left: u64 },
    Skip { left: u64 },
    SkipLine,
    Over,
    Dead,
}

/// An APPEND of which some messages have passed.
#[derive(Debug)]
struct Append {
    tag: Tag,
    to: Option<AppendTo>,
    messages: u32,
    replaces: bool,
    behind: Behind,
    /// Of the line read last, those not yet handed out.
    pieces: VecDeque<Piece>,
}

/// Cuts a stream into commands.
#[derive(Debug)]
pub struct Reader {
    /// The command so far: lines and literals, as on the wire.
    held: Vec<u8>,
    /// Where the current line starts in it.
    line_start: usize,
    state: State,
    literals: u32,
    literal_octets: u64,
    skipped: u64,
    append: Option<Append>,
    raw_line: bool,
    dialect: Dialect,
    literal_limit: u64,
    literals_total: u64,
    append_limit: u64,
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

impl Reader {
    /// At the start of a connection, with the limits for strangers.
    #[must_use]
    pub fn new() -> Self {
        Self {
            held: Vec::new(),
            line_start: 0,
            state: State::Line,
            literals: 0,
            literal_octets: 0,
            skipped: 0,
            append: None,
            raw_line: false,
            dialect: Dialect::Utf7,
            literal_limit: limits::LITERAL_BEFORE_LOGIN,
            literals_total: limits::LITERALS_TOTAL_BEFORE_LOGIN,
            append_limit: limits::APPEND_MESSAGE,
        }
    }

    /// The peer has logged in: the wider limits hold from the next command on.
    pub fn signed_in(&mut self) {
        self.literal_limit = limits::LITERAL;
        self.literals_total = limits::LITERALS_TOTAL;
    }

    /// As before the login: RFC 8437.
    pub fn signed_out(&mut self) {
        self.literal_limit = limits::LITERAL_BEFORE_LOGIN;
        self.literals_total = limits::LITERALS_TOTAL_BEFORE_LOGIN;
        self.dialect = Dialect::Utf7;
    }

    /// Octets of one appended message.
    pub fn set_append_limit(&mut self, octets: u64) {
        self.append_limit = octets;
    }

    /// How mailbox names are spelled from the next command on.
    pub fn set_dialect(&mut self, dialect: Dialect) {
        self.dialect = dialect;
    }

    /// The next line is no command: DONE, or an answer to a SASL challenge.
    pub fn expect_line(&mut self) {
        self.raw_line = true;
    }

    /// Whether nothing of a next command has been read.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.held.is_empty() && self.state == State::Line && self.append.is_none()
    }

    /// The message may come. Send a continuation first where it is synchronising.
    pub fn accept(&mut self) {
        if let State::Decide { literal } = self.state {
            self.state = literal.map_or(State::Pieces, |(left, _)| State::Message { left });
        }
    }

    /// The message, and with it the whole APPEND, is not wanted; the tagged answer is the caller's to send.
    /// Octets that come anyway are thrown away.
    pub fn refuse(&mut self) {
        let pieces = self.append.as_ref().map(|append| &append.pieces);
        let replaces = self.replaces();
        let literal = match self.state {
            State::Decide { literal: Some(literal) } => Some(literal),
            State::Decide { literal: None } | State::Pieces => {
                pieces.and_then(VecDeque::back).and_then(Piece::literal)
            }
            _ => return,
        };
        self.forget();
        if let Some((left, Sync::NonSynchronising)) = literal {
            self.state = skipped(left, replaces);
        }
    }

    /// Gives up the APPEND under way after a failure to keep its octets; what is left of it is thrown away.
    pub fn abandon(&mut self) {
        if let State::Message { left } = self.state {
            self.forget();
            self.state = State::Skip { left };
        } else if self.state == State::Pieces {
            self.refuse();
        } else if self.append.is_some() {
            self.forget();
            self.state = State::SkipLine;
        }
    }

    /// Takes octets from the front of the input until there is something to say.
    pub fn read<'a>(&mut self, input: &mut &'a [u8]) -> Event<'a> {
        loop {
            match self.state {
                State::Line => {
                    if let Some(event) = self.read_line(input) {
                        return event;
                    }
                }
                State::Literal { left } => {
                    let (now, rest) = input.split_at(left.min(input.len()));
                    self.held.extend_from_slice(now);
                    *input = rest;
                    let left = left - now.len();
                    if left > 0 {
                        self.state = State::Literal { left };
                        return Event::More;
                    }
                    self.state = State::Line;
                    self.line_start = self.held.len();
                }
                State::Pieces => {
                    if let Some(event) = self.next_piece() {
                        return event;
                    }
                }
                State::Decide { .. } => return Event::More,
                State::Message { left } => {
                    if left == 0 {
                        self.state = State::Line;
                        if self.append.as_ref().is_some_and(|append| append.behind.catenate) {
                            continue;
                        }
                        return Event::MessageEnd;
                    }
                    if input.is_empty() {
                        return Event::More;
                    }
                    let (now, rest) = input.split_at(within(left, input.len()));
                    *input = rest;
                    self.state = State::Message { left: left - now.len() as u64 };
                    return Event::Octets(now);
                }
                State::Skip { left } if left > self.most_skipped() => {
                    self.state = State::Dead;
                    return Event::Bye("literal too large");
                }
                State::Skip { left } => {
                    let (now, rest) = input.split_at(within(left, input.len()));
                    *input = rest;
                    let left = left - now.len() as u64;
                    if left > 0 {
                        self.state = State::Skip { left };
                        return Event::More;
                    }
                    self.state = State::SkipLine;
                }
                State::SkipLine => match self.skip_line(input) {
                    None => {}
                    Some(event) => return event,
                },
                State::Over => {
                    self.state = State::Dead;
                    return Event::Bye("literal too large");
                }
                State::Dead => {
                    *input = &[];
                    return Event::More;
                }
            }
        }
    }

    fn read_line(&mut self, input: &mut &[u8]) -> Option<Event<'static>> {
        // Lines count against the limit, literals against theirs.
        let literals = usize::try_from(self.literal_octets).unwrap_or(usize::MAX);
        let room = limits::LINE.saturating_sub(self.held.len().saturating_sub(literals));
        let end = input.iter().position(|&b| b == b'\n');
        let wanted = end.map_or(input.len(), |at| at + 1);
        let taken = wanted.min(room);
        self.held.extend_from_slice(&input[..taken]);
        *input = &input[taken..];
        if taken < wanted {
            return Some(self.line_too_long());
        }
        if end.is_none() {
            return Some(if self.held.len() - literals.min(self.held.len()) >= limits::LINE {
                self.line_too_long()
            } else {
                Event::More
            });
        }
        if self.raw_line {
            self.raw_line = false;
            let mut line = std::mem::take(&mut self.held);
            line.truncate(trimmed(&line));
            self.forget();
            return Some(Event::Line(line));
        }
        match announced(&self.held[self.line_start..]) {
            Some((size, sync)) => self.on_literal(size, sync),
            None => self.on_whole(),
        }
    }

    fn line_too_long(&mut self) -> Event<'static> {
        let tag = self.held_tag();
        self.forget();
        self.state = State::SkipLine;
        Event::Fault(tag, Fault::TooBig("command line too long"))
    }

    fn held_tag(&self) -> Option<Tag> {
        match &self.append {
            Some(append) => Some(append.tag.clone()),
            None => parse(&self.held, self.dialect).0,
        }
    }

    /// The line ends in the head of a literal.
    fn on_literal(&mut self, size: u64, sync: Sync) -> Option<Event<'static>> {
        match self.append_line(self.held.len()) {
            (tag, AppendHead::Fault(fault)) => return Some(self.fail(tag, fault, size, sync)),
            (Some(tag), AppendHead::Pieces(to, pieces)) => return self.take_pieces(tag, to, pieces),
            // Nothing that could be a command: do not collect literals for it.
            (None, _) => {
                return Some(self.fail(None, Fault::Syntax("a command starts with a tag"), size, sync));
            }
            (Some(_), AppendHead::Collect | AppendHead::Other) => {}
        }
        self.literals += 1;
        let total = self.literal_octets.saturating_add(size);
        let over = if size > self.literal_limit {
            Some("literal too large")
        } else if self.literals > limits::LITERALS {
            Some("too many literals")
        } else if total > self.literals_total {
            Some("literals too large together")
        } else {
            None
        };
        if let Some(text) = over {
            let tag = self.held_tag();
            let event = self.fail(tag, Fault::TooBig(text), size, sync);
            // Row IM-03: what was not to come is on its way, and no good client sends it.
            if sync == Sync::NonSynchronising {
                self.state = State::Over;
            }
            return Some(event);
        }
        self.literal_octets = total;
        // The limit makes it fit.
        self.state = State::Literal { left: usize::try_from(size).unwrap_or(usize::MAX) };
        (sync == Sync::Synchronising).then_some(Event::Continue)
    }

    /// What the line is for an APPEND: a new one, or the one under way.
    fn append_line(&self, end: usize) -> (Option<Tag>, AppendHead) {
        let line = &self.held[..end];
        let Some(append) = &self.append else { return append_head(line, self.dialect) };
        let head = match append_continues(line, append.behind, self.dialect) {
            // Where it goes is known already.
            Ok(Some(pieces)) => {
                AppendHead::Pieces(AppendTo { mailbox: MailboxName::inbox(), replaces: None }, pieces)
            }
            Ok(None) => AppendHead::Collect,
            Err(fault) => AppendHead::Fault(fault),
        };
        (Some(append.tag.clone()), head)
    }

    /// A line of an APPEND is understood.
    fn take_pieces(&mut self, tag: Tag, to: AppendTo, pieces: Vec<Piece>) -> Option<Event<'static>> {
        let literal = pieces.last().and_then(Piece::literal);
        let append = self.append.get_or_insert_with(|| Append {
            tag: tag.clone(),
            messages: 0,
            replaces: to.replaces.is_some(),
            to: Some(to),
            behind: Behind::default(),
            pieces: VecDeque::new(),
        });
        for piece in &pieces {
            append.messages += u32::from(matches!(piece, Piece::Head(_)));
        }
        let most = if append.replaces { 1 } else { limits::APPEND_MESSAGES };
        let too_big = if append.messages > most {
            Some("too many messages")
        } else if literal.is_some_and(|(size, _)| size > self.append_limit) {
            Some("message too large")
        } else {
            None
        };
        append.pieces = pieces.into();
        if let Some(text) = too_big {
            let (size, sync) = literal.unwrap_or((0, Sync::Synchronising));
            return Some(self.fail(Some(tag), Fault::TooBig(text), size, sync));
        }
        self.held = Vec::new();
        self.line_start = 0;
        self.literals = 0;
        self.literal_octets = 0;
        self.state = State::Pieces;
        None
    }

    fn next_piece(&mut self) -> Option<Event<'static>> {
        let Some(append) = &mut self.append else {
            self.state = State::Line;
            return None;
        };
        let piece = append.pieces.pop_front();
        let literal = piece.as_ref().and_then(Piece::literal);
        match piece {
            Some(Piece::Head(message)) => {
                append.behind = Behind { utf8: message.utf8, catenate: message.catenate };
                self.state = State::Decide { literal };
                Some(Event::Message(append.tag.clone(), append.to.take(), message))
            }
            Some(Piece::Text { size, sync, utf8 }) => {
                append.behind.utf8 = utf8;
                self.state = State::Decide { literal };
                Some(Event::Text { size, sync })
            }
            Some(Piece::Url(url)) => Some(Event::Url(url)),
            Some(Piece::MessageEnd) => {
                append.behind = Behind::default();
                Some(Event::MessageEnd)
            }
            Some(Piece::End) => {
                let tag = append.tag.clone();
                self.forget();
                Some(Event::AppendEnd(tag))
            }
            None => {
                self.state = State::Line;
                None
            }
        }
    }

    /// A command is refused at the head of a literal.
    fn fail(&mut self, tag: Option<Tag>, fault: Fault, size: u64, sync: Sync) -> Event<'static> {
        let replaces = self.replaces();
        self.forget();
        match sync {
            // The client sees the tagged answer where it expected a continuation.
            Sync::Synchronising => Event::Fault(tag, fault),
            Sync::NonSynchronising if size > self.most_skipped() => {
                self.state = State::Dead;
                Event::Bye("literal too large")
            }
            Sync::NonSynchronising => {
                self.state = skipped(size, replaces);
                Event::Fault(tag, fault)
            }
        }
    }

    /// Whether the command under way is a REPLACE.
    fn replaces(&self) -> bool {
        let mut words = self.held.split(|&b| b == b' ').skip(1);
        let named =
            |word: Option<&[u8]>, name: &[u8]| word.is_some_and(|word| word.eq_ignore_ascii_case(name));
        match (&self.append, words.next()) {
            (Some(append), _) => append.replaces,
            (None, word) => named(word, b"REPLACE") || named(word, b"UID") && named(words.next(), b"REPLACE"),
        }
    }

    /// Octets of a literal that are read only to be thrown away. Who signed in may be refused a message; a stranger has
    /// nothing so large to say.
    fn most_skipped(&self) -> u64 {
        let stranger = self.literal_limit < limits::LITERAL;
        if stranger { limits::SKIP } else { self.append_limit.max(limits::SKIP) }
    }

    /// The line ends the command.
    fn on_whole(&mut self) -> Option<Event<'static>> {
        let end = trimmed(&self.held);
        let event = match self.append_line(end) {
            (Some(tag), AppendHead::Pieces(to, pieces)) => return self.take_pieces(tag, to, pieces),
            (tag, AppendHead::Fault(fault)) => Event::Fault(tag, fault),
            (tag, AppendHead::Collect) => Event::Fault(tag, Fault::Syntax("bad literal")),
            _ => match parse(&self.held[..end], self.dialect) {
                (Some(tag), Ok(command)) => Event::Command(tag, command),
                (tag, Err(fault)) => Event::Fault(tag, fault),
                (None, Ok(_)) => Event::Fault(None, Fault::Syntax("tag expected")),
            },
        };
        self.forget();
        Some(event)
    }

    /// Between commands nothing is held, so that an idle connection costs nothing.
    fn forget(&mut self) {
        self.held = Vec::new();
        self.line_start = 0;
        self.literals = 0;
        self.literal_octets = 0;
        self.skipped = 0;
        self.append = None;
        self.raw_line = false;
        self.state = State::Line;
    }

    /// The tail of a refused command. Only the last octets are kept, to see a literal announced.
    fn skip_line(&mut self, input: &mut &[u8]) -> Option<Event<'static>> {
        const TAIL: usize = 32;
        let end = input.iter().position(|&b| b == b'\n');
        let taken = end.map_or(input.len(), |at| at + 1);
        self.held.extend_from_slice(&input[taken.saturating_sub(TAIL)..taken]);
        let excess = self.held.len().saturating_sub(TAIL);
        self.held.drain(..excess);
        *input = &input[taken..];
        self.skipped += taken as u64;
        if self.skipped > limits::SKIP {
            self.state = State::Dead;
            return Some(Event::Bye("command line too long"));
        }
        if end.is_none() {
            return Some(Event::More);
        }
        match announced(&self.held) {
            Some((size, Sync::NonSynchronising)) => {
                self.held.clear();
                if size > self.most_skipped() {
                    self.state = State::Dead;
                    return Some(Event::Bye("literal too large"));
                }
                self.skipped += size;
                self.state = State::Skip { left: size };
            }
            _ => self.forget(),
        }
        None
    }
}

fn within(left: u64, available: usize) -> usize {
    usize::try_from(left).map_or(available, |left| left.min(available))
}

/// Octets are on their way that nobody wants. What was announced within the limit of an APPEND is no reason to hang up; in
/// a REPLACE it is (row IM-27).
fn skipped(left: u64, replaces: bool) -> State {
    if replaces && left > limits::SKIP { State::Over } else { State::Skip { left } }
}

/// The length without the line end.
fn trimmed(line: &[u8]) -> usize {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line).len()
}

/// The literal a line ends in the head of.
fn announced(line: &[u8]) -> Option<(u64, Sync)> {
    let end = trimmed(line);
    if end == 0 || line[end - 1] != b'}' {
        return None;
    }
    let start = line[..end].iter().rposition(|&b| b == b'{')?;
    let (header, length) = literal_header(&line[start..])?;
    (length == line.len() - start).then_some((header.size, header.sync))
}

#[cfg(test)]
mod tests;
