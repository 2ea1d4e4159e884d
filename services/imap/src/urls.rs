//! GENURLAUTH, RESETKEY and URLFETCH, and the pieces that CATENATE takes from messages.
//!
//! Law: RFC 4467 §7, RFC 4469 §3, RFC 5092. Whether a token is right the store decides; what the URL says of the part
//! is cut out here.

use crate::connection::{Connection, Done};
use crate::content::{Content, known_structure};
use crate::error::Failure;
use libmox_imap::command::{Section, SectionText};
use libmox_imap::response::{self, Code, literal_head, put, write_to};
use libmox_imap::section::{self, Place};
use libmox_imap::url::{MessageUrl, UrlAccess};
use libmox_store::{
    Fault, Item, MailboxStatus, MessageList, MessageRecord, Request, StoreError, UrlClaim, UrlOpen,
    UrlReader, UrlReset, UrlSign, Want,
};
use libmox_types::MailboxName;
use std::ops::Range;

/// Octets of a header that are searched for single fields.
const HEADER: u64 = 1024 * 1024;

/// What a URL names of a message.
pub(crate) enum Octets {
    /// These of it.
    At(Range<u64>),
    /// Made of it.
    Held(Vec<u8>),
}

impl Octets {
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::At(range) => range.end - range.start,
            Self::Held(octets) => octets.len() as u64,
        }
    }
}

impl Connection {
    pub(crate) async fn generate_urls(&mut self, urls: &[(String, String)]) -> Result<Done, Failure> {
        let mut claims = Vec::with_capacity(urls.len());
        for (text, mechanism) in urls {
            if mechanism != "INTERNAL" {
                return Err(Failure::Bad("unknown mechanism"));
            }
            let url = MessageUrl::parse(text).ok_or(Failure::Bad("not the URL of a message"))?;
            match &url.grant {
                None => return Err(Failure::Bad("missing access identifier in URL")),
                Some(grant) if grant.token.is_some() => {
                    return Err(Failure::Bad("URL is authorised already"));
                }
                Some(_) => {}
            }
            claims
                .push(self.claim(text, url).ok_or(Failure::Bad("missing or wrong owner or server in URL"))?);
        }
        let verb = UrlSign { session: self.session_id()?, claims };
        let tokens = match self.shared.store.ask(verb).await {
            Err(StoreError::Fault(Fault::NotYours)) => return Err(Failure::Bad("not the owner in URL")),
            Err(StoreError::Fault(Fault::NoMailbox)) => return Err(Failure::Bad("no such mailbox in URL")),
            tokens => tokens?,
        };
        let dialect = self.session.dialect();
        let out = self.wire.output();
        put(out, "* GENURLAUTH");
        for ((text, _), token) in urls.iter().zip(tokens) {
            let mut full = format!("{text}:internal:").into_bytes();
            token.iter().for_each(|byte| write_to(&mut full, format_args!("{byte:02x}")));
            put(out, " ");
            response::string(out, &full, dialect);
        }
        put(out, "\r\n");
        Ok(Done::OK)
    }

    /// What the store is to believe of a URL; none where it does not name its owner and this server.
    fn claim(&self, text: &str, url: MessageUrl) -> Option<UrlClaim> {
        let (server, grant) = (url.server?, url.grant?);
        let host = self.shared.context.config().hostname.to_string();
        if !server.host.eq_ignore_ascii_case(&host) {
            return None;
        }
        Some(UrlClaim {
            owner: server.user?,
            mailbox: url.mailbox?,
            uid_validity: url.uid_validity,
            uid: url.uid,
            reader: match grant.access {
                UrlAccess::Submit(person) => UrlReader::Submission(person),
                UrlAccess::User(person) => UrlReader::Person(person),
                // There is no command without a login that would take it.
                UrlAccess::AuthUser | UrlAccess::Anonymous => UrlReader::Anybody,
            },
            expire: grant.expire,
            text: text.get(..grant.rump)?.to_string(),
        })
    }

    pub(crate) async fn reset_url_key(
        &mut self,
        mailbox: Option<(MailboxName, Vec<String>)>,
    ) -> Result<Done, Failure> {
        let session = self.session_id()?;
        let (mailbox, done) = match mailbox {
            None => (None, Done::OK),
            Some((_, mechanisms)) if mechanisms.iter().any(|name| name != "INTERNAL") => {
                return Err(Failure::No(None, "unknown mechanism".into()));
            }
            Some((mailbox, _)) => (Some(mailbox), Done::with(Code::UrlMech)),
        };
        self.shared.store.ask(UrlReset { session, mailbox }).await?;
        Ok(done)
    }

    pub(crate) async fn fetch_urls(&mut self, urls: &[String]) -> Result<Done, Failure> {
        // One response for each, so that none waits in memory for the others.
        for text in urls {
            let found = self.open_url(text).await?;
            let dialect = self.session.dialect();
            let out = self.wire.output();
            put(out, "* URLFETCH ");
            response::string(out, text.as_bytes(), dialect);
            put(out, " ");
            match found {
                None => put(out, "NIL"),
                // RFC 4467 §8: the URL is good, there only is no such part.
                Some((_, None)) => put(out, "\"\""),
                Some((_, Some(Octets::Held(octets)))) => {
                    literal_head(out, octets.len() as u64);
                    out.extend_from_slice(&octets);
                }
                Some((content, Some(Octets::At(range)))) => self.write_octets(&content, range).await?,
            }
            put(self.wire.output(), "\r\n");
            self.pump().await?;
        }
        Ok(Done::OK)
    }

    /// What an authorised URL names; none if it is wrong in any way.
    async fn open_url(&mut self, text: &str) -> Result<Option<(Content, Option<Octets>)>, Failure> {
        let Some(url) = MessageUrl::parse(text) else { return Ok(None) };
        let (section, partial) = (url.section.clone(), url.partial);
        let token = url.grant.as_ref().and_then(|grant| grant.token.clone());
        let (Some((mechanism, token)), Some(claim)) = (token, self.claim(text, url)) else { return Ok(None) };
        if mechanism != "INTERNAL" {
            return Ok(None);
        }
        let verb = UrlOpen { session: self.session_id()?, claim, token };
        match self.shared.store.ask_with(verb, Vec::new()).await {
            Ok((opened, descriptors)) => {
                let content = Content::of(opened.content, descriptors)?;
                let octets = octets_of(&content, &opened.record, &section, partial).await?;
                Ok(Some((content, octets)))
            }
            Err(StoreError::Fault(Fault::NotFound)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// What a URL in CATENATE names. RFC 4469 §3: only messages of the one who signed in, named from here.
    pub(crate) async fn piece_at(&mut self, text: &str) -> Result<(Content, Octets), Failure> {
        let bad = |why: &str| Failure::no(Code::BadUrl(text.to_string()), why);
        let url = MessageUrl::parse(text).ok_or_else(|| bad("not the URL of a message"))?;
        if url.server.is_some() || url.grant.is_some() {
            return Err(bad("only messages of this session"));
        }
        let session = self.session_id()?;
        let name = match (url.mailbox, self.session.mailbox()) {
            (Some(name), _) => name,
            (None, Some(selected)) => selected.name.clone(),
            (None, None) => return Err(bad("no mailbox is open")),
        };
        let mailbox = match self.shared.store.ask(MailboxStatus { session, name }).await {
            Err(StoreError::Fault(Fault::NoMailbox)) => return Err(bad("no such mailbox")),
            mailbox => mailbox?,
        };
        if url.uid_validity.is_some_and(|validity| validity != mailbox.uid_validity) {
            return Err(bad("uids are others now"));
        }
        let list = MessageList {
            session,
            mailbox: mailbox.id,
            uids: [url.uid].into_iter().collect(),
            changed_since: None,
            want: Want { structure: true, preview: false },
        };
        let mut items = self.shared.store.stream(Request::MessageList(list)).await?;
        let mut record = None;
        while let Some(item) = items.next().await {
            if let Item::Messages(records) = item? {
                record = record.or(records.into_iter().next());
            }
        }
        let record = record.ok_or_else(|| bad("no such message"))?;
        let content = match Content::open(&self.shared.store, session, record.id).await {
            Err(Failure::No(Some(Code::ExpungeIssued), _)) => return Err(bad("no such message")),
            content => content?,
        };
        match octets_of(&content, &record, &url.section, url.partial).await? {
            Some(octets) => Ok((content, octets)),
            None => Err(bad("no such part")),
        }
    }
}

/// A section of a message; none if there is no such part.
async fn octets_of(
    content: &Content,
    record: &MessageRecord,
    section: &Section,
    partial: Option<libmox_imap::command::Partial>,
) -> Result<Option<Octets>, Failure> {
    let place = if section.part.is_empty() && section.text == SectionText::Whole {
        Place::Octets(0..content.size())
    } else {
        let structure = match known_structure(record) {
            Some(structure) => structure,
            None => content.structure(record).await?,
        };
        section::locate(&structure, section, content.size())
    };
    Ok(match place {
        Place::Nowhere => None,
        Place::Octets(range) => Some(Octets::At(section::cut(range, partial))),
        Place::Fields(range) => {
            let mut fields = section::header_fields(&content.read_all(range, HEADER).await?, &section.text);
            let wanted = section::cut(0..fields.len() as u64, partial);
            fields.truncate(usize::try_from(wanted.end).unwrap_or(usize::MAX));
            fields.drain(..usize::try_from(wanted.start).unwrap_or(usize::MAX).min(fields.len()));
            Some(Octets::Held(fields))
        }
    })
}
