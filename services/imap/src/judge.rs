//! Whether a message satisfies a key: what its record tells, and what only its content can.
//!
//! Law: RFC 9051 §6.4.4; row TR-53. A key is true, false, or not known yet.
//! Does not know: which messages there are, and who asks.

use crate::content::Content;
use crate::error::Failure;
use crate::fetch::Decoding;
use crate::text::{Scan, Term};
use libmox_imap::Date;
use libmox_imap::command::SearchKey;
use libmox_message::transfer::Decoder;
use libmox_message::words::{charset_named, decode_words};
use libmox_message::{EnvelopeView, Part, Structure, params};
use libmox_store::MessageRecord;
use libmox_types::Timestamp;

/// Octets of a header that are searched.
const HEADER: u64 = 1024 * 1024;

/// A term that only the content can answer.
pub struct Wanted {
    place: Place,
    term: Term,
}

enum Place {
    /// A field of the header; an empty term asks for the field alone.
    Field(String),
    Body,
    Text,
}

/// Whether the structure of messages is to come with their records.
pub fn needs_structure(key: &SearchKey) -> bool {
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

/// What a key looks for, ready to be looked for in many messages, in the order [`Facts::judge`] meets it.
#[derive(Default)]
pub struct Terms {
    /// What may have to be looked for in the content.
    pub content: Vec<Wanted>,
    /// In fields of the envelope; none for a field that it does not have.
    fields: Vec<(Option<Field>, Term)>,
}

impl Terms {
    /// All of a key.
    pub fn of(key: &SearchKey) -> Self {
        let mut all = Self::default();
        key.any(&mut |key| {
            let (place, term) = match key {
                SearchKey::Header(name, value) => {
                    all.fields.push((envelope_field(name), Term::new(value)));
                    (Place::Field(name.clone()), value)
                }
                SearchKey::Envelope(field, term) => {
                    all.fields.push((envelope_field(field.name()), Term::new(term)));
                    return false;
                }
                SearchKey::Body(term) => (Place::Body, term),
                SearchKey::Text(term) => (Place::Text, term),
                _ => return false,
            };
            all.content.push(Wanted { place, term: Term::new(term) });
            false
        });
        all
    }
}

impl Terms {
    fn next_field(&self, met: &mut Met) -> Option<&(Option<Field>, Term)> {
        met.fields += 1;
        self.fields.get(met.fields - 1)
    }
}

/// Terms met so far.
#[derive(Default)]
struct Met {
    content: usize,
    fields: usize,
}

/// Takes a field out of an envelope.
type Field = for<'a> fn(EnvelopeView<'a>) -> Option<&'a [u8]>;

/// Fields that the record holds, whole unless the message repeats what it should have once.
fn envelope_field(name: &str) -> Option<Field> {
    Some(match name.to_ascii_lowercase().as_str() {
        "bcc" => |e| e.bcc,
        "cc" => |e| e.cc,
        "from" => |e| e.from,
        "sender" => |e| e.sender,
        "reply-to" => |e| e.reply_to,
        "to" => |e| e.to,
        "subject" => |e| e.subject,
        "date" => |e| e.date,
        "message-id" => |e| e.message_id,
        "in-reply-to" => |e| e.in_reply_to,
        _ => return None,
    })
}

/// What is known of one message.
pub struct Facts<'a> {
    pub record: &'a MessageRecord,
    /// As its record has it.
    pub envelope: Option<EnvelopeView<'a>>,
    /// Whether fields of the envelope stand in the header more than once.
    pub repeats: bool,
    /// Once it is needed to read the content.
    pub structure: Option<Structure>,
    pub now: Timestamp,
    /// For each wanted term whether it is there, once the content was read.
    pub hits: Option<Vec<bool>>,
}

impl Facts<'_> {
    /// Whether the key holds, whose terms these are; none where only the content can tell.
    pub fn judge(&self, key: &SearchKey, terms: &Terms) -> Option<bool> {
        self.judge_on(key, terms, &mut Met::default())
    }

    fn judge_on(&self, key: &SearchKey, terms: &Terms, met: &mut Met) -> Option<bool> {
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
            SearchKey::Envelope(..) => self.field_has(terms.next_field(met)?)?,
            SearchKey::Header(..) | SearchKey::Body(_) | SearchKey::Text(_) => {
                let index = met.content;
                met.content += 1;
                let field = match key {
                    SearchKey::Header(..) => terms.next_field(met),
                    _ => None,
                };
                if let Some(hits) = &self.hits {
                    return Some(hits.get(index).copied().unwrap_or(false));
                }
                // Of a field that stands there again the envelope has the first only.
                let first = self.field_has(field?)?;
                return (first || !self.repeats).then_some(first);
            }
            SearchKey::Not(key) => return self.judge_on(key, terms, met).map(|verdict| !verdict),
            SearchKey::Or(a, b) => {
                let (a, b) = (self.judge_on(a, terms, met), self.judge_on(b, terms, met));
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
                    match self.judge_on(key, terms, met) {
                        Some(true) => {}
                        Some(false) => all = Some(false),
                        None => all = all.and_then(|all| if all { None } else { Some(false) }),
                    }
                }
                return all;
            }
        })
    }

    /// Whether a field of the envelope contains a term, or is there at all where the term is empty; none where it is not
    /// known.
    fn field_has(&self, (field, term): &(Option<Field>, Term)) -> Option<bool> {
        let value = field.as_ref()?(self.envelope()?);
        Some(value.is_some_and(|value| term.is_empty() || term.is_in_field(value)))
    }

    fn saved(&self) -> Date {
        // RFC 8514 §4.3: without a save date the internal date stands in.
        Date::of_time(self.record.saved.unwrap_or(self.record.received))
    }

    fn envelope(&self) -> Option<EnvelopeView<'_>> {
        self.envelope.or_else(|| Some(self.structure.as_ref()?.envelope().view()))
    }

    /// The day the Date field names, whatever its time zone; none if there is no day to read.
    fn sent(&self) -> Option<Option<Date>> {
        Some(self.envelope()?.date.and_then(written_day))
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

/// Streams the content past the terms.
pub async fn look(
    content: &Content,
    structure: Option<&Structure>,
    terms: &[Wanted],
) -> Result<Vec<bool>, Failure> {
    let mut hits = vec![false; terms.len()];
    let Some(structure) = structure else { return Ok(hits) };
    for (hit, wanted) in hits.iter_mut().zip(terms) {
        *hit = wanted.term.is_empty() && !matches!(wanted.place, Place::Field(_));
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

    /// Row TR-48, RFC 8514 §4.3.
    #[test]
    fn without_a_save_date_the_internal_date_counts() {
        let mut record = MessageRecord {
            uid: libmox_types::Uid(1),
            id: libmox_types::MsgId(1),
            mod_seq: libmox_types::ModSeq(0),
            flags: libmox_types::Flags::NONE,
            keywords: Vec::new(),
            size: libmox_types::ByteCount(1),
            received: Timestamp(0),
            saved: None,
            prefix: 0,
            thread: libmox_types::MsgId(0),
            marks: libmox_store::Marks::NONE,
            structure: Vec::new(),
            preview: String::new(),
        };
        let key = SearchKey::SavedOn(Date::parse(b"1-Jan-1970").unwrap());
        for (saved, want) in [(None, true), (Some(Timestamp(0)), true), (Some(Timestamp(86_400)), false)] {
            record.saved = saved;
            let facts = Facts {
                record: &record,
                envelope: None,
                repeats: false,
                structure: None,
                now: Timestamp(0),
                hits: None,
            };
            assert_eq!(facts.judge(&key, &Terms::of(&key)), Some(want), "{saved:?}");
        }
    }

    #[test]
    fn folded_fields_are_one() {
        let got = fields(b"A: b\r\n c\r\nD: e\r\n\r\n");
        assert_eq!(got, [b"A: b c".to_vec(), b"D: e".to_vec()]);
    }
}
