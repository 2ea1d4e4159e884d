//! SEARCH: what records know is asked of records; only what they leave open is read.
//!
//! Law: RFC 9051 §6.4.4; row IM-43, TR-53. A key is true, false, or not known yet: only a message whose whole
//! key is not known yet is opened, once, and streamed past all terms together.

use crate::connection::{Connection, Done};
use crate::content::{Ahead, Content, known_structure};
use crate::error::Failure;
use crate::fetch::Decoding;
use crate::text::{Scan, Term};
use libmox_imap::command::{By, EnvelopeField, SearchKey, SearchReturn};
use libmox_imap::response::{self, Code, Status};
use libmox_imap::{Date, FoundModSeqs, Session, limits, parse_search_program};
use libmox_message::transfer::Decoder;
use libmox_message::words::{charset_named, decode_words};
use libmox_message::{Envelope, Part, Structure, params};
use libmox_service::clock;
use libmox_store::{FlaggedSet, Item, MessageList, MessageRecord, Request, Want};
use libmox_types::{Flag, MailboxId, Timestamp, UidSet};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// Octets of a header that are searched.
const HEADER: u64 = 1024 * 1024;

/// Filters within filters.
const FILTER_DEPTH: usize = 5;

/// A term that only the content can answer.
struct Wanted {
    place: Place,
    term: Term,
}

enum Place {
    /// A field of the header; an empty term asks for the field alone.
    Field(String),
    Body,
    Text,
}

impl Connection {
    pub(crate) async fn search(
        &mut self,
        by: By,
        returns: Option<SearchReturn>,
        key: SearchKey,
    ) -> Result<Done, Failure> {
        let mailbox = self.mailbox_id()?;
        let Some(selected) = self.session.mailbox() else { return Ok(Done::OK) };
        let uids = selected.view.present();
        let key = self.with_filters(key).await?;
        let (found, mod_seqs) = self.find(mailbox, uids, &key).await?;
        self.session.found(by, returns, &found, mod_seqs, self.wire.output());
        if returns.is_some_and(|returns| returns.update) {
            let result = found.iter().collect();
            self.session.keep_context(by, key, None, result, self.wire.output());
        }
        Ok(Done::OK)
    }

    /// The key with what its filters say (RFC 5466): annotations of the server, private ones first.
    pub(crate) async fn with_filters(&self, mut key: SearchKey) -> Result<SearchKey, Failure> {
        for _ in 0..FILTER_DEPTH {
            let names = key.filters();
            if names.is_empty() {
                return Ok(key);
            }
            let all = self.annotations(None).await?;
            let mut filters = BTreeMap::new();
            for name in names {
                let entry = |kind: &str| {
                    let entry = format!("/{kind}/filters/values/{name}");
                    all.iter().find(|annotation| annotation.name == entry)
                };
                let Some(found) = entry("private").or_else(|| entry("shared")) else {
                    return Err(Failure::no(Code::UndefinedFilter(name), "no such filter"));
                };
                let Ok(program) = parse_search_program(&found.value) else {
                    return Err(Failure::no(Code::UndefinedFilter(name), "the filter is no search"));
                };
                filters.insert(name, self.session.resolve(program));
            }
            key = key.with_filters(&filters);
            // Filters in filters: as large as one command may be.
            let mut keys = 0;
            key.any(&mut |_| {
                keys += 1;
                keys > limits::SEARCH_KEYS
            });
            if keys > limits::SEARCH_KEYS {
                return Err(Failure::no(Code::Limit, "search too complicated"));
            }
        }
        Err(Failure::no(Code::Limit, "filters nest too deeply"))
    }

    /// The messages among these that satisfy the key, and their modseqs where the key speaks of them.
    pub(crate) async fn find(
        &mut self,
        mailbox: MailboxId,
        mut uids: UidSet,
        key: &SearchKey,
    ) -> Result<(UidSet, Option<FoundModSeqs>), Failure> {
        let session = self.session_id()?;
        narrow(key, &mut uids);
        let mut found = UidSet::new();
        let mut mod_seqs = FoundModSeqs::default();
        let tells_mod_seq = key.any(&mut |key| matches!(key, SearchKey::ModSeq(_)));
        let mut progress = Progress::new(uids.count(), self.shared.waits.progress);
        let sets = if tells_mod_seq { None } else { self.by_flags(mailbox, &uids, key).await? };
        if let Some(sets) = sets {
            found = sets;
        } else if is_sets_only(key) {
            found = uids;
        } else if !uids.is_empty() {
            let terms = wanted(key);
            let want = Want { structure: needs_structure(key), preview: false };
            let list = MessageList { session, mailbox, uids, changed_since: None, want };
            let mut stream = self.shared.store.stream(Request::MessageList(list)).await?;
            let now = clock::now();
            while let Some(item) = stream.next().await {
                let Item::Messages(records) = item? else { continue };
                // First what the records tell, then the contents of the rest.
                let (mut hits, mut open) = (Vec::new(), Vec::new());
                for record in &records {
                    let known = if want.structure { known_structure(record) } else { None };
                    let facts = Facts { record, structure: known, now, hits: None };
                    match facts.judge(key, &mut 0) {
                        Some(true) => hits.push(record),
                        Some(false) => {}
                        None => {
                            open.push(facts);
                            continue;
                        }
                    }
                    self.tell_progress(&mut progress).await?;
                }
                let ids = open.iter().map(|facts| facts.record.id).collect();
                let mut ahead = Ahead::new(&self.shared.store, session, ids);
                for mut facts in open {
                    match ahead.next().await {
                        Ok(content) => {
                            if facts.structure.is_none() {
                                facts.structure = Some(content.structure(facts.record).await?);
                            }
                            facts.hits = Some(look(&content, facts.structure.as_ref(), &terms).await?);
                            if facts.judge(key, &mut 0).unwrap_or(false) {
                                hits.push(facts.record);
                            }
                        }
                        // Gone this moment: it is not found.
                        Err(Failure::No(Some(Code::ExpungeIssued), _)) => {}
                        Err(failure) => return Err(failure),
                    }
                    self.tell_progress(&mut progress).await?;
                }
                // Modseqs are noted in the order of the uids.
                hits.sort_unstable_by_key(|record| record.uid);
                for record in hits {
                    found.insert(record.uid);
                    mod_seqs.note(record.mod_seq);
                }
            }
        }
        Ok((found, tells_mod_seq.then_some(mod_seqs)))
    }
}

impl Connection {
    /// One message more was looked at.
    async fn tell_progress(&mut self, progress: &mut Progress) -> Result<(), Failure> {
        if let Some(code) = progress.step(&self.session) {
            response::untagged(self.wire.output(), Status::Ok, Some(&code), "still searching");
            self.flush().await?;
        }
        Ok(())
    }

    /// The answer of a key that speaks of flags and sets alone; none for another key, or where a set is too ragged.
    async fn by_flags(
        &self,
        mailbox: MailboxId,
        uids: &UidSet,
        key: &SearchKey,
    ) -> Result<Option<UidSet>, Failure> {
        let mut wanted: Vec<Flag> = Vec::new();
        let other = key.any(&mut |key| match key {
            SearchKey::Flag(flag, _) => {
                if !wanted.contains(flag) {
                    wanted.push(*flag);
                }
                false
            }
            SearchKey::All | SearchKey::Among(_) | SearchKey::Old => false,
            _ => true,
        });
        if other || wanted.is_empty() || uids.is_empty() {
            return Ok(None);
        }
        let mut flagged = Vec::with_capacity(wanted.len());
        for flag in wanted {
            let verb = FlaggedSet { session: self.session_id()?, mailbox, flag };
            match self.shared.store.ask(verb).await? {
                Some(set) => flagged.push((flag, set)),
                None => return Ok(None),
            }
        }
        Ok(Some(of_sets(key, uids, &flagged)))
    }
}

/// The messages among `uids` that satisfy a key of flags and sets.
fn of_sets(key: &SearchKey, uids: &UidSet, flagged: &[(Flag, UidSet)]) -> UidSet {
    let without = |set: &UidSet| {
        let mut left = uids.clone();
        left.subtract(set);
        left
    };
    match key {
        SearchKey::Among(set) => uids.intersection(set),
        SearchKey::Flag(flag, set) => {
            let all = flagged.iter().find(|(known, _)| known == flag);
            match (all, set) {
                (Some((_, all)), true) => uids.intersection(all),
                (Some((_, all)), false) => without(all),
                (None, true) => UidSet::new(),
                (None, false) => uids.clone(),
            }
        }
        SearchKey::Not(key) => without(&of_sets(key, uids, flagged)),
        SearchKey::Or(a, b) => {
            let mut either = of_sets(a, uids, flagged);
            either.extend(&of_sets(b, uids, flagged));
            either
        }
        SearchKey::And(keys) => keys.iter().fold(uids.clone(), |left, key| of_sets(key, &left, flagged)),
        // Everything, as nothing else is asked.
        _ => uids.clone(),
    }
}

/// Tells from time to time how far a long command is. RFC 9585, row IM-35.
pub(crate) struct Progress {
    done: u64,
    all: u64,
    every: Duration,
    last: Instant,
}

impl Progress {
    pub(crate) fn new(all: u64, every: Duration) -> Self {
        Self { done: 0, all, every, last: Instant::now() }
    }

    /// One more; what is to be said now, if something is. The goal is never said to be reached.
    pub(crate) fn step(&mut self, session: &Session) -> Option<Code> {
        self.done += 1;
        if self.done >= self.all || self.last.elapsed() < self.every {
            return None;
        }
        self.last = Instant::now();
        Some(Code::InProgress(session.tag(), self.done, self.all))
    }
}

/// Leaves out what no top-level set names.
fn narrow(key: &SearchKey, uids: &mut UidSet) {
    match key {
        SearchKey::Among(set) => *uids = uids.intersection(set),
        SearchKey::And(keys) => keys.iter().for_each(|key| narrow(key, uids)),
        SearchKey::Not(key) => {
            if let SearchKey::Among(set) = &**key {
                uids.subtract(set);
            }
        }
        _ => {}
    }
}

/// Whether [`narrow`] has answered it.
fn is_sets_only(key: &SearchKey) -> bool {
    match key {
        SearchKey::All | SearchKey::Among(_) => true,
        SearchKey::And(keys) => keys.iter().all(is_sets_only),
        SearchKey::Not(key) => matches!(**key, SearchKey::Among(_)),
        _ => false,
    }
}

fn needs_structure(key: &SearchKey) -> bool {
    key.any(&mut |key| {
        matches!(
            key,
            SearchKey::Envelope(..)
                | SearchKey::Header(..)
                | SearchKey::SentBefore(_)
                | SearchKey::SentOn(_)
                | SearchKey::SentSince(_)
                | SearchKey::Body(_)
                | SearchKey::Text(_)
        )
    })
}

/// Terms for the content, in the order [`Facts::judge`] meets them.
fn wanted(key: &SearchKey) -> Vec<Wanted> {
    let mut all = Vec::new();
    key.any(&mut |key| {
        let (place, term) = match key {
            SearchKey::Header(name, value) if envelope_field(name).is_none() => {
                (Place::Field(name.clone()), value)
            }
            SearchKey::Body(term) => (Place::Body, term),
            SearchKey::Text(term) => (Place::Text, term),
            _ => return false,
        };
        all.push(Wanted { place, term: Term::new(term) });
        false
    });
    all
}

/// Takes a field out of an envelope.
type Field = fn(&Envelope) -> Option<&[u8]>;

/// Fields that the record holds whole; of those that a message has once (RFC 5322 §3.6) the first, RFC 9051 §6.4.4
/// departed from for a second one, because to look for it every message would have to be read.
fn envelope_field(name: &str) -> Option<Field> {
    Some(match name.to_ascii_lowercase().as_str() {
        "bcc" => |e| e.bcc.as_deref(),
        "cc" => |e| e.cc.as_deref(),
        "from" => |e| e.from.as_deref(),
        "sender" => |e| e.sender.as_deref(),
        "reply-to" => |e| e.reply_to.as_deref(),
        "to" => |e| e.to.as_deref(),
        "subject" => |e| e.subject.as_deref(),
        "date" => |e| e.date.as_deref(),
        "message-id" => |e| e.message_id.as_deref(),
        "in-reply-to" => |e| e.in_reply_to.as_deref(),
        _ => return None,
    })
}

/// What is known of one message.
struct Facts<'a> {
    record: &'a MessageRecord,
    structure: Option<Structure>,
    now: Timestamp,
    /// For each wanted term whether it is there, once the content was read.
    hits: Option<Vec<bool>>,
}

impl Facts<'_> {
    /// Whether the key holds; none where only the content can tell. `at` counts the terms for the content.
    fn judge(&self, key: &SearchKey, at: &mut usize) -> Option<bool> {
        let record = self.record;
        let received = Date::of_time(record.received);
        Some(match key {
            SearchKey::All | SearchKey::Old | SearchKey::SaveDateSupported => true,
            // Filters were put in before.
            SearchKey::Filter(_)
            | SearchKey::New
            | SearchKey::Recent
            | SearchKey::Seq(_)
            | SearchKey::Uid(_) => false,
            SearchKey::Flag(flag, set) => record.flags.has(*flag) == *set,
            SearchKey::Keyword(keyword, set) => record.keywords.contains(keyword) == *set,
            SearchKey::Before(day) => received < *day,
            SearchKey::On(day) => received == *day,
            SearchKey::Since(day) => received >= *day,
            SearchKey::SavedBefore(day) => self.saved() < *day,
            SearchKey::SavedOn(day) => self.saved() == *day,
            SearchKey::SavedSince(day) => self.saved() >= *day,
            SearchKey::Older(seconds) => record.received <= self.now.plus(-i64::from(*seconds)),
            SearchKey::Younger(seconds) => record.received > self.now.plus(-i64::from(*seconds)),
            SearchKey::Larger(size) => record.size.0 > *size,
            SearchKey::Smaller(size) => record.size.0 < *size,
            SearchKey::Among(uids) => uids.contains(record.uid),
            SearchKey::EmailId(id) => *id == format!("M{}", record.id),
            SearchKey::ThreadId(id) => record.thread.0 > 0 && *id == format!("T{}", record.thread),
            SearchKey::ModSeq(mod_seq) => record.mod_seq >= *mod_seq,
            SearchKey::SentBefore(day) => self.sent()?.is_some_and(|sent| sent < *day),
            SearchKey::SentOn(day) => self.sent()?.is_some_and(|sent| sent == *day),
            SearchKey::SentSince(day) => self.sent()?.is_some_and(|sent| sent >= *day),
            SearchKey::Envelope(EnvelopeField::Subject, term) => {
                contains(self.structure.as_ref()?.envelope().subject.as_deref(), term)
            }
            SearchKey::Envelope(field, term) => {
                let value = envelope_field(field.name())?;
                contains(value(self.structure.as_ref()?.envelope()), term)
            }
            SearchKey::Header(name, term) if envelope_field(name).is_some() => {
                let value = envelope_field(name)?;
                contains(value(self.structure.as_ref()?.envelope()), term)
            }
            SearchKey::Header(..) | SearchKey::Body(_) | SearchKey::Text(_) => {
                let index = *at;
                *at += 1;
                return self.hits.as_ref().map(|hits| hits.get(index).copied().unwrap_or(false));
            }
            SearchKey::Not(key) => return self.judge(key, at).map(|verdict| !verdict),
            SearchKey::Or(a, b) => {
                let (a, b) = (self.judge(a, at), self.judge(b, at));
                return match (a, b) {
                    (Some(true), _) | (_, Some(true)) => Some(true),
                    (Some(false), Some(false)) => Some(false),
                    _ => None,
                };
            }
            SearchKey::And(keys) => {
                let mut all = Some(true);
                // Every key is met, so that the terms keep their order.
                for key in keys {
                    match self.judge(key, at) {
                        Some(true) => {}
                        Some(false) => all = Some(false),
                        None => all = all.and_then(|all| if all { None } else { Some(false) }),
                    }
                }
                return all;
            }
        })
    }

    fn saved(&self) -> Date {
        // RFC 8514 §4.3: without a save date the internal date stands in.
        Date::of_time(self.record.saved.unwrap_or(self.record.received))
    }

    /// The day the Date field names, whatever its time zone; none if there is no day to read.
    fn sent(&self) -> Option<Option<Date>> {
        let envelope = self.structure.as_ref()?.envelope();
        Some(envelope.date.as_deref().and_then(written_day))
    }
}

/// The day in a Date field. RFC 9051 §6.4.4: disregarding time and time zone.
fn written_day(field: &[u8]) -> Option<Date> {
    let words: Vec<&[u8]> = field
        .split(|b| b.is_ascii_whitespace() || matches!(b, b',' | b'-'))
        .filter(|word| !word.is_empty())
        .collect();
    words.windows(3).find_map(|words| {
        let &[day, month, year] = words else { return None };
        let year = match year.len() {
            4 => String::from_utf8_lossy(year).into_owned(),
            // RFC 5322 §4.3.
            2 if year[0] < b'5' => format!("20{}", String::from_utf8_lossy(year)),
            2 => format!("19{}", String::from_utf8_lossy(year)),
            _ => return None,
        };
        let text = format!("{}-{}-{year}", String::from_utf8_lossy(day), String::from_utf8_lossy(month));
        Date::parse(text.as_bytes())
    })
}

/// A field's value contains a term; the field alone where the term is empty.
fn contains(value: Option<&[u8]>, term: &str) -> bool {
    value.is_some_and(|value| term.is_empty() || Term::new(term).is_in(&decode_words(value)))
}

/// Streams the content past the terms.
async fn look(
    content: &Content,
    structure: Option<&Structure>,
    terms: &[Wanted],
) -> Result<Vec<bool>, Failure> {
    let mut hits = vec![false; terms.len()];
    let Some(structure) = structure else { return Ok(hits) };
    for (hit, wanted) in hits.iter_mut().zip(terms) {
        *hit = wanted.term == Term::new("") && !matches!(wanted.place, Place::Field(_));
    }
    look_in_header(content, &structure.root, terms, &mut hits).await?;
    // Parts in order, without recursion: messages nest deeply.
    let mut parts: Vec<&Part> = vec![&structure.root];
    while let Some(part) = parts.pop() {
        // A delivery report is text for people, too, whatever its type.
        if matches!(part.media_type.as_str(), "text" | "message") && part.children.is_empty() {
            look_in_text(content, part, terms, &mut hits).await?;
        }
        if part.message().is_some() {
            for message in &part.children {
                look_in_nested_header(content, message, terms, &mut hits).await?;
            }
        }
        parts.extend(part.children.iter().rev());
        if hits.iter().all(|hit| *hit) {
            break;
        }
    }
    Ok(hits)
}

async fn look_in_header(
    content: &Content,
    part: &Part,
    terms: &[Wanted],
    hits: &mut [bool],
) -> Result<(), Failure> {
    if !terms.iter().any(|wanted| matches!(wanted.place, Place::Field(_) | Place::Text)) {
        return Ok(());
    }
    let header = content.read_all(part.header_start..part.body_start, HEADER).await?;
    for field in fields(&header) {
        let mut halves = field.splitn(2, |&b| b == b':');
        let (name, value) = (halves.next().unwrap_or_default(), halves.next().unwrap_or_default());
        let text = decode_words(value);
        for (hit, wanted) in hits.iter_mut().zip(terms) {
            *hit |= match &wanted.place {
                Place::Field(field) => {
                    field.as_bytes().eq_ignore_ascii_case(name.trim_ascii()) && wanted.term.is_in(&text)
                }
                Place::Text => {
                    wanted.term.is_in(&text) || wanted.term.is_in(&String::from_utf8_lossy(&field))
                }
                Place::Body => false,
            };
        }
    }
    Ok(())
}

/// The header of a message within is part of the body of the message around it.
async fn look_in_nested_header(
    content: &Content,
    part: &Part,
    terms: &[Wanted],
    hits: &mut [bool],
) -> Result<(), Failure> {
    let header = content.read_all(part.header_start..part.body_start, HEADER).await?;
    for field in fields(&header) {
        let text = decode_words(&field);
        for (hit, wanted) in hits.iter_mut().zip(terms) {
            *hit |= !matches!(wanted.place, Place::Field(_)) && wanted.term.is_in(&text);
        }
    }
    Ok(())
}

/// Unfolded header fields.
fn fields(header: &[u8]) -> Vec<Vec<u8>> {
    let mut fields: Vec<Vec<u8>> = Vec::new();
    for line in header.split(|&b| b == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match (line.first(), fields.last_mut()) {
            (None, _) => {}
            (Some(b' ' | b'\t'), Some(field)) => field.extend_from_slice(line),
            _ => fields.push(line.to_vec()),
        }
    }
    fields
}

async fn look_in_text(
    content: &Content,
    part: &Part,
    terms: &[Wanted],
    hits: &mut [bool],
) -> Result<(), Failure> {
    let body: Vec<(usize, &Term)> = terms
        .iter()
        .enumerate()
        .filter(|(at, wanted)| !hits[*at] && !matches!(wanted.place, Place::Field(_)))
        .map(|(at, wanted)| (at, &wanted.term))
        .collect();
    if body.is_empty() {
        return Ok(());
    }
    let charset = params::plain(&part.params, "charset").and_then(charset_named);
    let mut scan = Scan::new(charset.unwrap_or(encoding_rs::UTF_8), body.iter().map(|(_, term)| *term));
    let decoder = Decoder::for_encoding(part.encoding.as_deref());
    let mut decoding = Decoding::new(content, part.body_start..part.body_end, decoder);
    while let Some(piece) = decoding.next().await? {
        scan.feed(piece, false, body.iter().copied(), |at| hits[at] = true);
        if body.iter().all(|(at, _)| hits[*at]) {
            return Ok(());
        }
    }
    scan.feed(&[], true, body.iter().copied(), |at| hits[at] = true);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_answer_what_flags_ask() {
        let set = |uids: &[u32]| uids.iter().copied().map(libmox_types::Uid).collect::<UidSet>();
        let seen = |yes| SearchKey::Flag(Flag::Seen, yes);
        let flagged = [(Flag::Seen, set(&[1, 2, 9])), (Flag::Flagged, set(&[2, 3]))];
        let among = |uids: &[u32]| SearchKey::Among(set(uids));
        let not = |key| SearchKey::Not(Box::new(key));
        for (key, want) in [
            (seen(true), vec![1, 2]),
            (seen(false), vec![3, 4]),
            (not(seen(true)), vec![3, 4]),
            (SearchKey::And(vec![seen(true), SearchKey::Flag(Flag::Flagged, true)]), vec![2]),
            (
                SearchKey::Or(Box::new(among(&[4])), Box::new(SearchKey::Flag(Flag::Flagged, true))),
                vec![2, 3, 4],
            ),
            (SearchKey::And(vec![not(among(&[1])), seen(true), SearchKey::All]), vec![2]),
            (not(SearchKey::And(vec![seen(false), among(&[3, 9])])), vec![1, 2, 4]),
        ] {
            assert_eq!(of_sets(&key, &set(&[1, 2, 3, 4]), &flagged), set(&want), "{key:?}");
        }
    }

    #[test]
    fn the_written_day_counts() {
        for (field, want) in [
            ("Mon, 7 Feb 1994 23:52:25 -0800", Some("7-Feb-1994")),
            ("7 Feb 94 23:52 PST", Some("7-Feb-1994")),
            ("Thu, 01-Jan-2004 00:00:00 GMT", Some("1-Jan-2004")),
            ("yesterday", None),
            ("", None),
        ] {
            let want = want.map(|day| Date::parse(day.as_bytes()).unwrap());
            assert_eq!(written_day(field.as_bytes()), want, "{field}");
        }
    }

    #[test]
    fn folded_fields_are_one() {
        let got = fields(b"A: b\r\n c\r\nD: e\r\n\r\n");
        assert_eq!(got, [b"A: b c".to_vec(), b"D: e".to_vec()]);
    }
}
