//! A message, as it streams by, becomes its [`Facts`].
//!
//! Law: RFC 5322 §2 and §4, RFC 2045, RFC 2046 §5.1, RFC 6532; row TM-10: a broken message stays readable.
//! Works on lines; of a body line only its start is held, and only if it may be a boundary. A message of
//! 100 MB needs no more memory than one of 100 KB. The same bytes cut anywhere give the same facts.
//! Does not know: where the bytes come from.
//! Fails with: nothing. Beyond a limit (`limits`) less is known about the message.

use crate::facts::{Facts, Flaws};
use crate::limits;
use crate::params::{self, Disposition};
use crate::preview::Preview;
use crate::structure::{Envelope, Part, Structure};
use crate::tokens::{TextReader, Tokens};
use crate::{date, subject};

/// Takes bytes, gives [`Facts`] at the end.
pub struct Parser {
    /// Octets before the piece that is being read.
    offset: u64,
    line: Line,
    state: State,
    /// The current header field, unfolded.
    field: Vec<u8>,
    fields: usize,
    /// No line of the current header was read yet.
    header_is_new: bool,
    /// The root first; each but the last contains the next.
    open: Vec<Open>,
    parts: usize,
    kept: usize,
    flaws: Flaws,
    root: RootFields,
    preview: Option<Preview>,
    preview_text: String,
    /// Reads the innermost part, if that is text.
    reader: Option<TextReader>,
    /// Words so far, while no part is read, and the octets of text they came from.
    words: (Tokens, usize),
    wants_words: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Header,
    Body,
}

/// The line that is being read.
#[derive(Default)]
struct Line {
    start: u64,
    /// Octets of it seen, without its end.
    len: u64,
    /// The last octet seen was CR.
    after_cr: bool,
    /// Octets of the end of the line before: 0, 1 (LF) or 2 (CRLF).
    end_before: u64,
    /// Line ends before it.
    lines_before: u64,
    /// What is held of it: of a header line all, of a body line that starts with `-` as much as needed.
    held: Vec<u8>,
    holding: bool,
    non_ascii: bool,
    nul: bool,
}

struct Open {
    part: Part,
    kind: Kind,
    lines_before_body: u64,
    in_header: bool,
    header: Header,
}

enum Kind {
    Leaf,
    /// Closed by its last boundary: what follows is the epilogue.
    Multipart {
        boundary: Vec<u8>,
        closed: bool,
    },
    Message,
}

/// Fields of the current header that decide what the part is.
#[derive(Default)]
struct Header {
    content_type: Option<Vec<u8>>,
    in_digest: bool,
    previewing: bool,
    reading: bool,
}

/// Fields that only matter at the top.
#[derive(Default)]
struct RootFields {
    references: Option<Vec<u8>>,
    received: u32,
    auto_submitted: bool,
    list_id: bool,
    return_path: bool,
    return_path_value: Option<Vec<u8>>,
    bad_content_type: bool,
    has_separator: bool,
    /// See [`Structure::repeats`].
    repeats: bool,
    no_header: bool,
    tls_required_no: Option<bool>,
}

impl Default for Parser {
    fn default() -> Self {
        Self::new()
    }
}

/// Reads a message that is all in memory.
#[must_use]
pub fn parse(message: &[u8]) -> Facts {
    let mut parser = Parser::new();
    // A line is decoded as it comes: one that is all of a large message would be there twice.
    message.chunks(limits::PIECE_OCTETS).for_each(|piece| parser.feed(piece));
    parser.finish()
}

impl Parser {
    /// Before the first octet.
    #[must_use]
    pub fn new() -> Self {
        let part = Part { envelope: Some(Box::default()), ..Part::default() };
        Self {
            offset: 0,
            line: Line::default(),
            state: State::Header,
            field: Vec::new(),
            fields: 0,
            header_is_new: true,
            open: vec![Open {
                part,
                kind: Kind::Leaf,
                lines_before_body: 0,
                in_header: true,
                header: Header::default(),
            }],
            parts: 1,
            kept: 0,
            flaws: Flaws::default(),
            root: RootFields::default(),
            preview: None,
            preview_text: String::new(),
            reader: None,
            words: (Tokens::new(), 0),
            wants_words: true,
        }
    }

    /// The same where nobody asks for [`Facts::words`].
    #[must_use]
    pub fn without_words() -> Self {
        Self { wants_words: false, ..Self::new() }
    }

    /// Takes the next piece, of any size.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (piece, ended) = match memchr::memchr(b'\n', bytes) {
                Some(at) => (&bytes[..=at], true),
                None => (bytes, false),
            };
            bytes = &bytes[piece.len()..];
            self.piece(piece, ended);
        }
    }

    fn piece(&mut self, piece: &[u8], ended: bool) {
        self.line.non_ascii |= !piece.is_ascii();
        self.line.nul |= memchr::memchr(0, piece).is_some();
        self.note_line_ends(piece, ended);
        let at_start = self.line.len == 0;
        self.offset += piece.len() as u64;
        self.line.len += piece.len() as u64;
        match self.state {
            State::Header => {
                if ended && at_start {
                    // The whole line is here: no need to hold it.
                    let line = &piece[..piece.len().min(limits::FIELD_OCTETS)];
                    self.whole_line(line, true);
                } else {
                    self.hold(piece, limits::FIELD_OCTETS);
                    if ended {
                        self.held_line(true);
                    }
                }
            }
            State::Body => {
                if at_start && piece.first() == Some(&b'-') && self.expects_boundary() {
                    if ended {
                        self.whole_line(piece, true);
                        self.next_line(ended);
                        return;
                    }
                    self.line.holding = true;
                }
                if self.line.holding {
                    if self.line.held.len() + piece.len() <= limits::DELIMITER_OCTETS {
                        self.line.held.extend_from_slice(piece);
                        if ended {
                            self.held_line(true);
                        }
                    } else {
                        // Too long for a boundary.
                        self.line.holding = false;
                        let held = std::mem::take(&mut self.line.held);
                        self.body(&held);
                        self.body(piece);
                    }
                } else {
                    self.body(piece);
                }
                if ended {
                    self.body_flaws();
                }
            }
        }
        self.next_line(ended);
    }

    fn next_line(&mut self, ended: bool) {
        if ended {
            let end_before = if self.line.after_cr { 2 } else { 1 };
            let mut held = std::mem::take(&mut self.line.held);
            held.clear();
            self.line = Line {
                start: self.offset,
                end_before,
                lines_before: self.line.lines_before + 1,
                held,
                ..Line::default()
            };
        }
    }

    /// Finds CR and LF that do not stand together. Leaves `after_cr` true where the line ends in CRLF.
    fn note_line_ends(&mut self, piece: &[u8], ended: bool) {
        let content = if ended { &piece[..piece.len() - 1] } else { piece };
        if self.line.after_cr && !(content.is_empty() && ended) {
            self.flaws.bare_cr = true;
        }
        if let Some((&last, inner)) = content.split_last() {
            if memchr::memchr(b'\r', inner).is_some() {
                self.flaws.bare_cr = true;
            }
            self.line.after_cr = last == b'\r';
        }
        if ended && !self.line.after_cr {
            self.flaws.bare_lf = true;
        }
    }

    fn hold(&mut self, piece: &[u8], most: usize) {
        let room = most - self.line.held.len();
        self.line.held.extend_from_slice(&piece[..piece.len().min(room)]);
    }

    fn held_line(&mut self, ended: bool) {
        let held = std::mem::take(&mut self.line.held);
        self.whole_line(&held, ended);
        self.line.held = held;
    }

    fn expects_boundary(&self) -> bool {
        self.open.iter().any(|open| matches!(open.kind, Kind::Multipart { closed: false, .. }))
    }

    /// A line of a header, or one of a body that may be a boundary.
    fn whole_line(&mut self, raw: &[u8], ended: bool) {
        let content = raw.strip_suffix(b"\n").unwrap_or(raw);
        let content = content.strip_suffix(b"\r").unwrap_or(content);
        if content.starts_with(b"--")
            && let Some((at, last)) = self.boundary(content)
        {
            self.on_boundary(at, last, ended);
            return;
        }
        match self.state {
            State::Header => self.header_line(content, raw, ended),
            State::Body => {
                self.body(raw);
                self.body_flaws();
            }
        }
    }

    /// Which open multipart a line delimits, innermost first, and whether it is its last.
    fn boundary(&self, line: &[u8]) -> Option<(usize, bool)> {
        let line = &line[2..];
        self.open.iter().enumerate().rev().find_map(|(at, open)| {
            let Kind::Multipart { boundary, closed: false } = &open.kind else { return None };
            let rest = line.strip_prefix(&**boundary)?;
            let blank = |rest: &[u8]| rest.iter().all(|b| matches!(b, b' ' | b'\t'));
            if blank(rest) {
                return Some((at, false));
            }
            rest.strip_prefix(b"--").filter(|rest| blank(rest)).map(|_| (at, true))
        })
    }

    fn on_boundary(&mut self, at: usize, last: bool, ended: bool) {
        if self.state == State::Header {
            self.end_field();
            self.end_header(self.line.start, self.line.lines_before);
        }
        let end = self.line.start - self.line.end_before;
        while self.open.len() > at + 1 {
            self.close(end, 1);
        }
        self.state = State::Body;
        let Open { kind: Kind::Multipart { closed, .. }, part, .. } = &mut self.open[at] else { return };
        // After too many parts the rest of this multipart is one epilogue.
        if last || self.parts >= limits::PARTS {
            *closed = true;
            return;
        }
        let in_digest = part.subtype == "digest";
        let start = self.offset;
        let lines = self.line.lines_before + u64::from(ended);
        self.push(start, lines, in_digest, false);
    }

    fn push(&mut self, start: u64, lines: u64, in_digest: bool, is_message: bool) {
        self.parts += 1;
        self.open.push(Open {
            part: Part {
                header_start: start,
                body_start: start,
                envelope: is_message.then(Box::default),
                ..Part::default()
            },
            kind: Kind::Leaf,
            lines_before_body: lines,
            in_header: true,
            header: Header { in_digest, ..Header::default() },
        });
        self.state = State::Header;
        self.header_is_new = true;
        self.fields = 0;
        self.field.clear();
    }

    /// Closes the innermost part. `cut` is how many line ends of the body belong to what follows.
    fn close(&mut self, end: u64, cut: u64) {
        let Some(mut open) = self.open.pop() else { return };
        if open.in_header {
            self.describe(&mut open);
        }
        let part = &mut open.part;
        // A boundary right below a header: the line end there belongs to that header.
        let floor = part.children.last().map_or(0, |child| child.body_end).max(part.body_start);
        let (end, cut) = if end < floor { (floor, 0) } else { (end, cut) };
        let lines = self.line.lines_before.saturating_sub(cut);
        part.body_end = end;
        part.lines = lines.saturating_sub(open.lines_before_body);
        if open.header.previewing {
            self.end_preview();
        }
        if open.header.reading {
            self.end_words();
        }
        if matches!(open.kind, Kind::Multipart { .. }) && part.children.is_empty() {
            // RFC 2046 §5.1.1: a multipart has at least one part.
            part.children.push(Part {
                header_start: part.body_end,
                body_start: part.body_end,
                body_end: part.body_end,
                media_type: "text".into(),
                subtype: "plain".into(),
                ..Part::default()
            });
        }
        match self.open.last_mut() {
            Some(parent) => parent.part.children.push(open.part),
            // The root is closed by `finish` alone, which takes it from here.
            None => self.open.push(open),
        }
    }

    fn header_line(&mut self, content: &[u8], raw: &[u8], ended: bool) {
        if content.is_empty() && ended {
            self.end_field();
            if self.open.len() == 1 {
                self.root.has_separator = true;
            }
            self.end_header(self.offset, self.line.lines_before + 1);
            return;
        }
        let first = std::mem::take(&mut self.header_is_new);
        let folded = matches!(content.first(), Some(b' ' | b'\t'));
        if folded && !first {
            self.header_flaws();
            if !self.field.is_empty() {
                let room = limits::FIELD_OCTETS.saturating_sub(self.field.len());
                self.flaws.over_limit |= content.len() > room;
                self.field.extend_from_slice(&content[..content.len().min(room)]);
            }
            return;
        }
        self.end_field();
        if field_name(content).is_some() {
            self.header_flaws();
            self.fields += 1;
            if self.fields <= limits::FIELDS {
                self.field.extend_from_slice(content);
            } else {
                self.flaws.over_limit = true;
            }
            return;
        }
        // An mbox "From " line, or garbage between fields, is skipped; without any field this is the body.
        if first && !content.starts_with(b"From ") && !content.starts_with(b">From ") {
            if self.open.len() == 1 {
                self.root.no_header = true;
            }
            self.end_header(self.line.start, self.line.lines_before);
            self.body(raw);
            self.body_flaws();
            return;
        }
        self.header_flaws();
    }

    fn header_flaws(&mut self) {
        self.flaws.header_non_ascii |= std::mem::take(&mut self.line.non_ascii);
        self.flaws.nul |= std::mem::take(&mut self.line.nul);
        self.flaws.over_limit |= self.line.len > limits::FIELD_OCTETS as u64;
    }

    fn body_flaws(&mut self) {
        self.flaws.body_8bit |= self.line.non_ascii;
        self.flaws.nul |= self.line.nul;
    }

    fn keep(&mut self, value: &[u8]) -> Option<Vec<u8>> {
        if self.kept + value.len() > limits::KEPT_OCTETS {
            self.flaws.over_limit = true;
            return None;
        }
        self.kept += value.len();
        Some(value.to_vec())
    }

    fn end_field(&mut self) {
        if self.field.is_empty() {
            return;
        }
        let field = std::mem::take(&mut self.field);
        if let Some(name_len) = field_name(&field) {
            let colon = memchr::memchr(b':', &field).unwrap_or(name_len);
            self.on_field(&field[..name_len], field[colon + 1..].trim_ascii());
        }
        self.field = field;
        self.field.clear();
    }

    fn on_field(&mut self, name: &[u8], value: &[u8]) {
        let mut short = [0; 32];
        let Some(lower) = short.get_mut(..name.len()) else { return };
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        let name: &[u8] = lower;
        if name.starts_with(b"content-") {
            return self.on_content_field(name, value);
        }
        if self.open.len() == 1 {
            match name {
                b"received" => self.root.received = self.root.received.saturating_add(1),
                b"references" if self.root.references.is_none() => self.root.references = self.keep(value),
                b"auto-submitted" => self.root.auto_submitted |= !value.eq_ignore_ascii_case(b"no"),
                b"list-id" => self.root.list_id = true,
                b"return-path" => {
                    self.root.return_path = true;
                    if self.root.return_path_value.is_none() {
                        self.root.return_path_value = self.keep(value);
                    }
                }
                // RFC 8689 §5: several are only good if all say the same.
                b"tls-required" => {
                    let no = value.eq_ignore_ascii_case(b"no");
                    self.root.tls_required_no = Some(no && self.root.tls_required_no != Some(false));
                }
                _ => {}
            }
        }
        let Some(envelope) = self.open.last().and_then(|open| open.part.envelope.as_deref()) else { return };
        let list = match name {
            b"from" | b"sender" | b"reply-to" | b"to" | b"cc" | b"bcc" => true,
            b"date" | b"subject" | b"in-reply-to" | b"message-id" => false,
            _ => return,
        };
        let have = envelope_slot_ref(envelope, name).map_or(0, Vec::len);
        if have > 0 && !list {
            self.root.repeats |= self.open.len() == 1;
            return;
        }
        if have + value.len() > limits::FIELD_OCTETS {
            self.flaws.over_limit = true;
            return;
        }
        let Some(kept) = self.keep(value) else { return };
        let Some(envelope) = self.open.last_mut().and_then(|open| open.part.envelope.as_deref_mut()) else {
            return;
        };
        if let Some(slot) = envelope_slot(envelope, name) {
            match slot {
                Some(old) if list && !old.is_empty() => {
                    old.extend_from_slice(b", ");
                    old.extend_from_slice(&kept);
                }
                Some(_) => {}
                None => *slot = Some(kept),
            }
        }
    }

    fn on_content_field(&mut self, name: &[u8], value: &[u8]) {
        let wanted: &[&[u8]] = &[
            b"content-type",
            b"content-id",
            b"content-description",
            b"content-transfer-encoding",
            b"content-md5",
            b"content-disposition",
            b"content-language",
            b"content-location",
        ];
        if !wanted.contains(&name) {
            return;
        }
        let Some(kept) = self.keep(value) else { return };
        let Some(open) = self.open.last_mut() else { return };
        let part = &mut open.part;
        let slot = match name {
            b"content-type" => &mut open.header.content_type,
            b"content-id" => &mut part.id,
            b"content-description" => &mut part.description,
            b"content-transfer-encoding" => {
                // A comment is no part of the mechanism (RFC 2045 §6.1).
                let end = memchr::memchr2(b'(', b';', &kept).unwrap_or(kept.len());
                part.encoding.get_or_insert_with(|| kept[..end].trim_ascii().to_vec());
                return;
            }
            b"content-md5" => &mut part.md5,
            b"content-location" => &mut part.location,
            b"content-disposition" => {
                if part.disposition.is_none() {
                    let (kind, params) = params::parse(&kept);
                    if !kind.is_empty() {
                        part.disposition = Some(Disposition { kind, params });
                    }
                }
                return;
            }
            _ => {
                if part.language.is_empty() {
                    part.language = kept
                        .split(|&b| b == b',')
                        .map(|tag| tag.trim_ascii().to_vec())
                        .filter(|tag| !tag.is_empty())
                        .take(limits::PARAMS)
                        .collect();
                }
                return;
            }
        };
        if slot.is_none() {
            *slot = Some(kept);
        }
    }

    /// The header of the innermost part ends; its body starts at `at`, after `lines` line ends.
    fn end_header(&mut self, at: u64, lines: u64) {
        self.state = State::Body;
        let Some(mut open) = self.open.pop() else { return };
        open.part.body_start = at;
        open.lines_before_body = lines;
        self.describe(&mut open);
        let depth = self.open.len();
        let inner = self.open.iter().any(|open| matches!(open.kind, Kind::Message));
        let part = &open.part;
        let deeper = depth + 1 < limits::NESTING && self.parts < limits::PARTS;
        let boundary = params::plain(&part.params, "boundary")
            .map(<[u8]>::trim_ascii_end)
            .filter(|boundary| !boundary.is_empty() && boundary.len() + 8 < limits::DELIMITER_OCTETS);
        let mut message = false;
        let text = part.media_type == "text"
            && matches!(part.subtype.as_str(), "plain" | "html")
            && part.disposition.as_ref().is_none_or(|d| d.kind != "attachment");
        if text && self.wants_words && self.words.1 < limits::WORD_INPUT {
            self.end_words();
            let charset = params::plain(&part.params, "charset");
            let (tokens, looked_at) = std::mem::take(&mut self.words);
            let html = part.subtype == "html";
            self.reader = Some(TextReader::new(html, charset, part.encoding.as_deref(), tokens, looked_at));
            open.header.reading = true;
        }
        match (part.media_type.as_str(), part.subtype.as_str(), boundary) {
            ("multipart", _, Some(boundary)) if deeper => {
                open.kind = Kind::Multipart { boundary: boundary.to_vec(), closed: false };
            }
            ("message", "rfc822" | "global", _) if deeper && is_identity(part.encoding.as_deref()) => {
                open.kind = Kind::Message;
                message = true;
            }
            ("multipart" | "message", ..) if !deeper => self.flaws.over_limit = true,
            ("text", kind @ ("plain" | "html"), _)
                if !inner
                    && self.preview.is_none()
                    && self.preview_text.is_empty()
                    && part.disposition.as_ref().is_none_or(|d| d.kind != "attachment") =>
            {
                let charset = params::plain(&part.params, "charset");
                self.preview = Some(Preview::new(kind == "html", charset, part.encoding.as_deref()));
                open.header.previewing = true;
            }
            _ => {}
        }
        self.open.push(open);
        if message {
            self.push(at, lines, false, true);
        }
    }

    /// Content-Type and its default.
    fn describe(&mut self, open: &mut Open) {
        open.in_header = false;
        let part = &mut open.part;
        let parsed = open.header.content_type.take().map(|field| params::parse(&field));
        let readable = |(value, _): &(String, _)| {
            value.split_once('/').is_some_and(|(a, b)| is_token(a) && is_token(b)) || value == "text"
        };
        self.root.bad_content_type |= parsed.as_ref().is_some_and(|parsed| !readable(parsed));
        match parsed.as_ref().and_then(|(value, _)| value.split_once('/')) {
            Some((media_type, subtype)) if is_token(media_type) && is_token(subtype) => {
                part.media_type = media_type.into();
                part.subtype = subtype.into();
            }
            // RFC 2046 §5.1.5.
            None if parsed.is_none() && open.header.in_digest => {
                part.media_type = "message".into();
                part.subtype = "rfc822".into();
            }
            // RFC 2045 §5.2.
            _ => {
                part.media_type = "text".into();
                part.subtype = "plain".into();
            }
        }
        if let Some((_, params)) = parsed {
            part.params = params;
        }
    }

    fn body(&mut self, piece: &[u8]) {
        if let Some(preview) = &mut self.preview
            && self.open.last().is_some_and(|open| open.header.previewing)
            && !preview.feed(piece)
        {
            self.end_preview();
        }
        if let Some(reader) = &mut self.reader
            && self.open.last().is_some_and(|open| open.header.reading)
            && !reader.feed(piece)
        {
            self.end_words();
        }
    }

    fn end_words(&mut self) {
        if let Some(reader) = self.reader.take() {
            self.words = reader.finish();
        }
    }

    fn end_preview(&mut self) {
        if let Some(preview) = self.preview.take() {
            self.preview_text = preview.finish();
        }
    }

    /// After the last octet.
    #[must_use]
    pub fn finish(mut self) -> Facts {
        if self.line.after_cr {
            self.flaws.bare_cr = true;
        }
        if self.line.len > 0 {
            if self.state == State::Header || self.line.holding {
                self.held_line(false);
            } else {
                self.body_flaws();
            }
        }
        if self.state == State::Header {
            self.end_field();
            self.end_header(self.offset, self.line.lines_before);
        }
        while self.open.len() > 1 {
            self.close(self.offset, 0);
        }
        self.close(self.offset, 0);
        let root = self.open.pop().map(|open| open.part).unwrap_or_default();
        let structure = Structure { root, repeats: self.root.repeats };
        let words = match self.wants_words {
            true => field_words(&structure, &self.root, self.words.0),
            false => String::new(),
        };
        facts(structure, &self.root, self.flaws, (self.preview_text, words), self.offset)
    }
}

/// The words of the fields that row JK-05 names, behind those of the text.
fn field_words(structure: &Structure, root: &RootFields, mut tokens: Tokens) -> String {
    let envelope = structure.envelope();
    for (name, value) in [
        ("from", &envelope.from),
        ("to", &envelope.to),
        ("cc", &envelope.cc),
        ("bcc", &envelope.bcc),
        ("reply-to", &envelope.reply_to),
        ("subject", &envelope.subject),
        ("sender", &envelope.sender),
        ("return-path", &root.return_path_value),
    ] {
        if let Some(value) = value {
            let value = &value[..value.len().min(limits::WORD_OCTETS)];
            tokens.field(name, &crate::words::decode_words(value));
        }
    }
    tokens.finish()
}

fn facts(
    structure: Structure,
    root: &RootFields,
    flaws: Flaws,
    (preview, words): (String, String),
    size: u64,
) -> Facts {
    let envelope: &Envelope = structure.envelope();
    let text = envelope.subject.as_deref().map(crate::words::decode_words).unwrap_or_default();
    let (base_subject, subject_is_answer) = subject::base(&text);
    let list = |field: &Option<Vec<u8>>| field.as_deref().map(crate::address::mailboxes).unwrap_or_default();
    let report = params::plain(&structure.root.params, "report-type");
    Facts {
        size,
        message_id: envelope.message_id.as_deref().and_then(subject::message_id),
        in_reply_to: envelope.in_reply_to.as_deref().map(subject::message_ids).unwrap_or_default(),
        references: root.references.as_deref().map(subject::message_ids).unwrap_or_default(),
        subject: text,
        base_subject,
        subject_is_answer,
        from: list(&envelope.from),
        to: list(&envelope.to),
        cc: list(&envelope.cc),
        date: envelope.date.as_deref().and_then(date::parse),
        has_date: envelope.date.is_some(),
        has_message_id: envelope.message_id.is_some(),
        has_return_path: root.return_path,
        received: root.received,
        auto_submitted: root.auto_submitted,
        list_id: root.list_id,
        tls_required_no: root.tls_required_no == Some(true),
        delivery_report: structure.root.media_type == "multipart"
            && structure.root.subtype == "report"
            && report.is_some_and(|kind| kind.eq_ignore_ascii_case(b"delivery-status")),
        has_separator: root.has_separator,
        no_header: root.no_header,
        flaws,
        preview,
        words,
        bad_content_type: root.bad_content_type,
        structure,
    }
}

/// The length of a valid field name before a colon. RFC 5322 §2.2; §4.5.3 allows space before the colon.
fn field_name(line: &[u8]) -> Option<usize> {
    let colon = memchr::memchr(b':', line)?;
    let name = line[..colon].trim_ascii_end();
    (!name.is_empty() && name.iter().all(u8::is_ascii_graphic)).then_some(name.len())
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.len() <= 200 && !text.contains(|c: char| "()<>@,;:\\\"/[]?=".contains(c))
}

fn is_identity(encoding: Option<&[u8]>) -> bool {
    encoding.is_none_or(|encoding| {
        !encoding.eq_ignore_ascii_case(b"base64") && !encoding.eq_ignore_ascii_case(b"quoted-printable")
    })
}

fn envelope_slot<'a>(envelope: &'a mut Envelope, name: &[u8]) -> Option<&'a mut Option<Vec<u8>>> {
    Some(match name {
        b"date" => &mut envelope.date,
        b"subject" => &mut envelope.subject,
        b"from" => &mut envelope.from,
        b"sender" => &mut envelope.sender,
        b"reply-to" => &mut envelope.reply_to,
        b"to" => &mut envelope.to,
        b"cc" => &mut envelope.cc,
        b"bcc" => &mut envelope.bcc,
        b"in-reply-to" => &mut envelope.in_reply_to,
        b"message-id" => &mut envelope.message_id,
        _ => return None,
    })
}

fn envelope_slot_ref<'a>(envelope: &'a Envelope, name: &[u8]) -> Option<&'a Vec<u8>> {
    match name {
        b"date" => envelope.date.as_ref(),
        b"subject" => envelope.subject.as_ref(),
        b"from" => envelope.from.as_ref(),
        b"sender" => envelope.sender.as_ref(),
        b"reply-to" => envelope.reply_to.as_ref(),
        b"to" => envelope.to.as_ref(),
        b"cc" => envelope.cc.as_ref(),
        b"bcc" => envelope.bcc.as_ref(),
        b"in-reply-to" => envelope.in_reply_to.as_ref(),
        b"message-id" => envelope.message_id.as_ref(),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
