//! FETCH: records become lines, contents stream by.

use crate::connection::{Connection, Done};
use crate::content::{Ahead, CHUNK, Content, known_structure};
use crate::error::Failure;
use crate::messages::GONE;
use crate::watch::OwnFlags;
use libmox_imap::command::{FetchItem, Partial, SectionText};
use libmox_imap::response::{self, Code, literal_head, put, write_to};
use libmox_imap::section::{self, Place};
use libmox_imap::structure::{self, Extension};
use libmox_message::{Part, Structure, envelope_in, transfer::Decoder};
use libmox_store::{FlagsChange, FlagsHow, Item, MessageList, MessageRecord, Request, Want};
use libmox_types::{Flag, Flags, ModSeq, UidSet};
use std::ops::Range;

/// Octets of a header that are searched for single fields; what follows is not found in it.
const HEADER: u64 = 1024 * 1024;

impl Connection {
    pub(crate) async fn fetch(
        &mut self,
        uids: UidSet,
        items: &[FetchItem],
        changed_since: Option<ModSeq>,
        sets_seen: bool,
        strict: bool,
    ) -> Result<Done, Failure> {
        let (session, mailbox) = (self.session_id()?, self.mailbox_id()?);
        let mut unseen = UidSet::new();
        let asked = uids.count();
        let (mut told, mut lost) = (0, false);
        if !uids.is_empty() {
            let want = Want {
                structure: items.iter().any(needs_structure),
                preview: items.contains(&FetchItem::Preview),
            };
            let list = MessageList { session, mailbox, uids, changed_since, want };
            let mut stream = self.shared.store.stream(Request::MessageList(list)).await?;
            while let Some(item) = stream.next().await {
                let Item::Messages(records) = item? else { continue };
                let mut ahead = items
                    .iter()
                    .any(needs_content)
                    .then(|| Ahead::new(&self.shared.store, session, &records));
                for record in &records {
                    let opened = match &mut ahead {
                        Some(ahead) => Some(ahead.next().await),
                        None => None,
                    };
                    lost |= !self.fetch_one(record, items, opened).await?;
                    told += 1;
                    if sets_seen && !record.flags.has(Flag::Seen) {
                        unseen.insert(record.uid);
                    }
                    self.pump().await?;
                }
            }
        }
        // Row IM-44: once, after all messages.
        if !unseen.is_empty() {
            let verb = FlagsChange {
                session,
                mailbox,
                uids: unseen,
                how: FlagsHow::Add,
                flags: Flags::NONE.with(Flag::Seen),
                keywords: Vec::new(),
                unchanged_since: None,
            };
            let changed = self.shared.store.ask(verb).await?;
            self.see_change(changed.change, OwnFlags::Tell).await?;
        }
        if lost || (strict && told < asked) {
            Err(Failure::no(Code::ExpungeIssued, GONE))
        } else {
            Ok(Done::OK)
        }
    }

    /// One line. False where the message went away before it could be read.
    async fn fetch_one(
        &mut self,
        record: &MessageRecord,
        items: &[FetchItem],
        opened: Option<Result<Content, Failure>>,
    ) -> Result<bool, Failure> {
        let number = self.session.mailbox().and_then(|selected| selected.view.number(record.uid));
        let Some(number) = number else { return Ok(true) };
        let dialect = self.session.dialect();
        // The envelope alone is had for less.
        let envelope =
            if items.contains(&FetchItem::Envelope) { envelope_in(&record.structure) } else { None };
        let needed =
            |item: &FetchItem| needs_structure(item) && !(envelope.is_some() && *item == FetchItem::Envelope);
        let needs_tree = items.iter().any(needed);
        let mut structure = if needs_tree { known_structure(record) } else { None };
        let parse = structure.is_none() && needs_tree;
        let opened = match opened {
            None if parse => Some(Content::open(&self.shared.store, self.session_id()?, record.id).await),
            opened => opened,
        };
        let content = match opened {
            None => None,
            Some(Ok(content)) => Some(content),
            Some(Err(Failure::No(Some(Code::ExpungeIssued), _))) => return Ok(false),
            Some(Err(failure)) => return Err(failure),
        };
        if parse && let Some(content) = &content {
            structure = Some(content.structure(record).await?);
        }
        // What cannot be said must be known before the line begins.
        if let Some(structure) = &structure
            && items.iter().any(|item| undecodable(structure, item))
        {
            return Err(Failure::no(Code::UnknownCte, "unknown transfer encoding"));
        }
        if items.contains(&FetchItem::Flags)
            && let Some(selected) = self.session.mailbox_mut()
        {
            selected.announce(&record.keywords, self.wire.output());
        }
        let style = self.session.style();
        response::fetch_head(self.wire.output(), style, number, record.uid);
        for (at, item) in items.iter().enumerate() {
            let out = self.wire.output();
            if at > 0 {
                put(out, " ");
            }
            section::write_name(out, item);
            match (item, &structure, &content) {
                (FetchItem::Flags, ..) => response::flag_list(out, record.flags, &record.keywords),
                (FetchItem::InternalDate, ..) => response::date_time(out, record.received),
                (FetchItem::Size, ..) => write_to(out, format_args!("{}", record.size)),
                (FetchItem::Uid, ..) => write_to(out, format_args!("{}", record.uid)),
                (FetchItem::ModSeq, ..) => write_to(out, format_args!("({})", record.mod_seq.0.max(1))),
                (FetchItem::SaveDate, ..) => response::save_date(out, record.saved),
                (FetchItem::Preview, ..) => response::string(out, record.preview.as_bytes(), dialect),
                (FetchItem::EmailId, ..) => write_to(out, format_args!("(M{})", record.id)),
                (FetchItem::ThreadId, ..) if record.thread.0 > 0 => {
                    write_to(out, format_args!("(T{})", record.thread));
                }
                (FetchItem::Envelope, structure, _) => {
                    let envelope = envelope.or_else(|| Some(structure.as_ref()?.envelope().view()));
                    structure::envelope(out, envelope.unwrap_or_default(), dialect);
                }
                (FetchItem::BodyStructure, Some(structure), _) => {
                    structure::body(out, &structure.root, Extension::With, dialect);
                }
                (FetchItem::BodyPlain, Some(structure), _) => {
                    structure::body(out, &structure.root, Extension::Without, dialect);
                }
                (FetchItem::Section { section, partial, .. }, structure, Some(content)) => {
                    let place = match structure {
                        Some(structure) => section::locate(structure, section, content.size()),
                        None => Place::Octets(0..content.size()),
                    };
                    self.write_section(content, place, &section.text, *partial).await?;
                }
                (FetchItem::Binary { part, partial, .. }, structure, Some(content)) => {
                    match binary_part(structure.as_ref(), part, content.size()) {
                        Some((range, decoder)) => {
                            self.write_binary(content, range, &decoder, *partial).await?;
                        }
                        None => put(self.wire.output(), "NIL"),
                    }
                }
                (FetchItem::BinarySize(part), structure, Some(content)) => {
                    let size = match binary_part(structure.as_ref(), part, content.size()) {
                        Some((range, decoder)) => decoded(content, range, decoder).await?.0,
                        None => 0,
                    };
                    write_to(self.wire.output(), format_args!("{size}"));
                }
                _ => put(out, "NIL"),
            }
        }
        put(self.wire.output(), ")\r\n");
        Ok(true)
    }

    async fn write_section(
        &mut self,
        content: &Content,
        place: Place,
        text: &SectionText,
        partial: Option<Partial>,
    ) -> Result<(), Failure> {
        match place {
            Place::Nowhere => put(self.wire.output(), "NIL"),
            Place::Fields(range) => {
                let header = content.read_all(range, HEADER).await?;
                let fields = section::header_fields(&header, text);
                let wanted = section::cut(0..fields.len() as u64, partial);
                let wanted = usize::try_from(wanted.start).unwrap_or(usize::MAX)
                    ..usize::try_from(wanted.end).unwrap_or(usize::MAX);
                let out = self.wire.output();
                literal_head(out, wanted.len() as u64);
                out.extend_from_slice(&fields[wanted]);
            }
            Place::Octets(range) => {
                self.write_octets(content, section::cut(range, partial)).await?;
            }
        }
        Ok(())
    }

    /// A literal of these octets.
    pub(crate) async fn write_octets(
        &mut self,
        content: &Content,
        mut range: Range<u64>,
    ) -> Result<(), Failure> {
        literal_head(self.wire.output(), range.end - range.start);
        while !range.is_empty() {
            let read = content.read(range.clone(), self.wire.output()).await;
            range.start += self.within_literal(read)?;
            self.pump().await?;
        }
        Ok(())
    }

    async fn write_binary(
        &mut self,
        content: &Content,
        range: Range<u64>,
        decoder: &Decoder,
        partial: Option<Partial>,
    ) -> Result<(), Failure> {
        let (size, has_nul) = decoded(content, range.clone(), decoder.clone()).await?;
        let wanted = section::cut(0..size, partial);
        // RFC 3516 §4.2: a literal8 where there is NUL in it.
        if has_nul {
            put(self.wire.output(), "~");
        }
        literal_head(self.wire.output(), wanted.end - wanted.start);
        let mut decoding = Decoding::new(content, range, decoder.clone());
        let mut at = 0;
        while at < wanted.end {
            let piece = decoding.next().await;
            let piece = self.within_literal(piece)?;
            let Some(piece) = piece else { break };
            let (start, end) = (at, at + piece.len() as u64);
            let from = wanted.start.clamp(start, end) - start;
            let to = wanted.end.clamp(start, end) - start;
            let (from, to) =
                (usize::try_from(from).unwrap_or(usize::MAX), usize::try_from(to).unwrap_or(usize::MAX));
            self.wire.output().extend_from_slice(&piece[from..to]);
            at = end;
            self.pump().await?;
        }
        Ok(())
    }

    /// Once octets were promised there is no other way out than to hang up.
    fn within_literal<T>(&self, outcome: Result<T, Failure>) -> Result<T, Failure> {
        outcome.map_err(|failure| match failure {
            Failure::Wire(fault) => Failure::Wire(fault),
            _ => Failure::Wire(libmox_service::wire::WireFault::Closed),
        })
    }
}

fn needs_structure(item: &FetchItem) -> bool {
    match item {
        FetchItem::Envelope | FetchItem::BodyStructure | FetchItem::BodyPlain => true,
        FetchItem::Section { section, .. } => !section.part.is_empty() || section.text != SectionText::Whole,
        FetchItem::Binary { part, .. } | FetchItem::BinarySize(part) => !part.is_empty(),
        _ => false,
    }
}

fn needs_content(item: &FetchItem) -> bool {
    matches!(item, FetchItem::Section { .. } | FetchItem::Binary { .. } | FetchItem::BinarySize(_))
}

fn undecodable(structure: &Structure, item: &FetchItem) -> bool {
    let (FetchItem::Binary { part, .. } | FetchItem::BinarySize(part)) = item else { return false };
    structure.part(part).is_some_and(|part| !Decoder::knows(part.encoding.as_deref()))
}

/// Where a part is and how it is decoded. RFC 3516 §4: without a part number it is the message as it is.
fn binary_part(structure: Option<&Structure>, path: &[u32], size: u64) -> Option<(Range<u64>, Decoder)> {
    if path.is_empty() {
        return Some((0..size, Decoder::Identity));
    }
    let part: &Part = structure?.part(path)?;
    let end = part.body_end.min(size);
    Some((part.body_start.min(end)..end, Decoder::for_encoding(part.encoding.as_deref())))
}

/// Octets of a decoded part, and whether NUL is among them.
async fn decoded(content: &Content, range: Range<u64>, decoder: Decoder) -> Result<(u64, bool), Failure> {
    let mut decoding = Decoding::new(content, range, decoder);
    let (mut size, mut has_nul) = (0, false);
    while let Some(piece) = decoding.next().await? {
        size += piece.len() as u64;
        has_nul |= piece.contains(&0);
    }
    Ok((size, has_nul))
}

/// A part being decoded piece by piece.
pub(crate) struct Decoding<'a> {
    content: &'a Content,
    left: Range<u64>,
    decoder: Decoder,
    raw: Vec<u8>,
    piece: Vec<u8>,
    ended: bool,
}

impl<'a> Decoding<'a> {
    pub(crate) fn new(content: &'a Content, range: Range<u64>, decoder: Decoder) -> Self {
        let left = range.start..range.end.min(content.size());
        Self { content, left, decoder, raw: Vec::new(), piece: Vec::new(), ended: false }
    }

    /// The next decoded octets, none at the end. Never more than what [`CHUNK`] octets decode to.
    pub(crate) async fn next(&mut self) -> Result<Option<&[u8]>, Failure> {
        self.piece.clear();
        while self.piece.is_empty() && !self.ended {
            self.raw.clear();
            let until = self.left.end.min(self.left.start.saturating_add(CHUNK));
            let read = self.content.read(self.left.start..until, &mut self.raw).await?;
            self.left.start += read;
            if read == 0 {
                self.ended = true;
                self.decoder.finish(&mut self.piece);
            } else {
                self.decoder.feed(&self.raw, &mut self.piece);
            }
        }
        Ok((!self.piece.is_empty()).then_some(self.piece.as_slice()))
    }
}
