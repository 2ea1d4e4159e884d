//! APPEND and REPLACE: messages stream into the store's staging place, all of them or none become mail.
//!
//! Law: RFC 9051 §6.3.12, RFC 3502, RFC 4315, RFC 4469, RFC 8508; rows TR-05 (line ends), TR-06 (no header), IM-26.
//!
//! | while | held | lost by |
//! |---|---|---|
//! | octets come | up to [`INLINE_OCTETS`] here, the rest in a staged file | fault, refusal, end of connection |
//! | more messages come | the only one here; of several a list, [`CHUNK`] of it here, the rest staged | the same |
//! | the store answers | nothing here | unknown: the client looks |

use crate::connection::{Connection, Done};
use crate::error::Failure;
use crate::events;
use crate::urls::Octets;
use crate::watch::OwnFlags;
use libmox_imap::Tag;
use libmox_imap::command::{AppendMessage, AppendTo, Sync};
use libmox_imap::response::{self, Code, Status, continuation};
use libmox_message::Parser;
use libmox_service::clock;
use libmox_store::{
    Append, AppendListed, Body, BodyId, Facts, INLINE_OCTETS, Item, LISTED_OCTETS, MailboxStatus,
    MessageList, Placed, Quota, Replace, Request, SessionId, Stage, Store, StoreError, Unstage, Want,
};
use libmox_types::{ByteCount, MailboxName, Timestamp, Uid, UidSet};
use std::fs::File;
use std::io::Write;
use std::sync::Arc;

/// Octets collected before they are written to a staged file.
const CHUNK: usize = 256 * 1024;

/// An APPEND under way.
pub struct Appending {
    mailbox: MailboxName,
    /// The message of the open mailbox that goes, and its octets.
    replaces: Option<(Uid, u64)>,
    done: Messages,
    current: Option<Current>,
    /// Octets that URLs brought.
    catenated: u64,
}

/// The messages that are here.
#[derive(Default)]
struct Messages {
    /// The first, until there is a second.
    only: Option<libmox_store::AppendMessage>,
    /// Of several, each as the store reads it from a list. Together they may be more than one request holds.
    list: Spool,
    /// Their staged bodies.
    bodies: Vec<BodyId>,
    /// Octets of all of them.
    octets: u64,
}

impl Messages {
    fn is_empty(&self) -> bool {
        self.only.is_none() && self.list.size() == 0
    }

    async fn add(&mut self, message: libmox_store::AppendMessage, store: &Store) -> Result<(), Failure> {
        self.octets += size_of(&message.body);
        if let Body::Staged { body, .. } = message.body {
            self.bodies.push(body);
        }
        if self.is_empty() {
            self.only = Some(message);
            return Ok(());
        }
        for message in self.only.take().iter().chain([&message]) {
            message.list_in(&mut self.list.held);
        }
        if self.list.size() > LISTED_OCTETS {
            return Err(Failure::no(Code::TooBig, "messages too large together"));
        }
        if self.list.held.len() > CHUNK { Box::pin(self.list.spill(store)).await } else { Ok(()) }
    }

    /// They become mail.
    async fn append(
        mut self,
        session: SessionId,
        mailbox: MailboxName,
        store: &Store,
    ) -> Result<Placed, Failure> {
        let outcome = match self.only.take() {
            Some(message) => store.ask(Append { session, mailbox, messages: vec![message] }).await,
            None => match std::mem::take(&mut self.list).end(store).await {
                Ok(list) => store.ask(AppendListed { session, mailbox, list }).await,
                Err(failure) => {
                    self.forget(store).await;
                    return Err(failure);
                }
            },
        };
        self.unless_kept(outcome, store).await
    }

    /// What was staged for them is used up by the request, unless it failed.
    async fn unless_kept(
        self,
        outcome: Result<Placed, StoreError>,
        store: &Store,
    ) -> Result<Placed, Failure> {
        if outcome.is_err() {
            self.forget(store).await;
        }
        outcome.map_err(|error| Failure::from(error).try_create())
    }

    async fn forget(self, store: &Store) {
        let list = self.list.staged.map(|(body, _)| body);
        for body in self.bodies.into_iter().chain(list) {
            // If it cannot be given back the connection to the store is gone, and it with it.
            let _ = store.ask(Unstage(body)).await;
        }
    }
}

/// Octets of which only the last are held, once there are many.
#[derive(Default)]
struct Spool {
    /// Not yet written, or all of it.
    held: Vec<u8>,
    written: u64,
    staged: Option<(BodyId, Arc<File>)>,
}

impl Spool {
    fn size(&self) -> u64 {
        self.written + self.held.len() as u64
    }

    async fn spill(&mut self, store: &Store) -> Result<(), Failure> {
        if self.staged.is_none() {
            let (body, descriptors) = store.ask_with(Stage, Vec::new()).await?;
            let descriptor = descriptors.into_iter().next().ok_or_else(unwritable)?;
            self.staged = Some((body, Arc::new(File::from(descriptor))));
        }
        let Some((_, file)) = &self.staged else { return Ok(()) };
        let (file, octets) = (Arc::clone(file), std::mem::take(&mut self.held));
        self.written += octets.len() as u64;
        let written = tokio::task::spawn_blocking(move || (&*file).write_all(&octets)).await;
        match written {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                events::trouble("a staged message cannot be written", &error.to_string());
                Err(unwritable())
            }
            Err(_) => Err(unwritable()),
        }
    }

    /// As a request takes it: what is small rides in it.
    async fn end(mut self, store: &Store) -> Result<Body, Failure> {
        let small = self.staged.is_none() && self.held.len() <= INLINE_OCTETS;
        let spilled = if small || self.held.is_empty() { Ok(()) } else { self.spill(store).await };
        let size = ByteCount(self.size());
        match (self.staged, spilled) {
            (None, Ok(())) => Ok(Body::Inline(self.held)),
            (Some((body, _)), Ok(())) => Ok(Body::Staged { body, size }),
            (None, Err(failure)) => Err(failure),
            (Some((body, _)), Err(failure)) => {
                let _ = store.ask(Unstage(body)).await;
                Err(failure)
            }
        }
    }
}

struct Current {
    head: AppendMessage,
    parser: Parser,
    after_cr: bool,
    spool: Spool,
}

impl Current {
    fn new(head: AppendMessage) -> Self {
        Self { head, parser: Parser::new(), after_cr: false, spool: Spool::default() }
    }

    /// Takes octets with CRLF for every line end, whatever the client sent.
    fn take(&mut self, octets: &[u8]) {
        let held = &mut self.spool.held;
        let start = held.len();
        let mut rest = octets;
        while let Some(at) = rest.iter().position(|&b| b == b'\n') {
            let line = &rest[..at];
            let cr = if line.is_empty() { self.after_cr } else { line.ends_with(b"\r") };
            held.extend_from_slice(line);
            held.extend_from_slice(if cr { b"\n" } else { b"\r\n" });
            self.after_cr = false;
            rest = &rest[at + 1..];
        }
        held.extend_from_slice(rest);
        self.after_cr =
            if rest.is_empty() { self.after_cr && octets.is_empty() } else { rest.ends_with(b"\r") };
        self.parser.feed(&held[start..]);
    }
}

fn unwritable() -> Failure {
    Failure::no(Code::Unavailable, "message cannot be kept now")
}

impl Appending {
    /// Octets of the current message.
    pub async fn octets(&mut self, octets: &[u8], store: &Store) -> Result<(), Failure> {
        let Some(current) = &mut self.current else { return Ok(()) };
        current.take(octets);
        let limit = if current.spool.staged.is_some() { CHUNK } else { INLINE_OCTETS };
        if current.spool.held.len() > limit { Box::pin(current.spool.spill(store)).await } else { Ok(()) }
    }

    async fn message_end(&mut self, store: &Store, now: Timestamp) -> Result<(), Failure> {
        let Some(current) = self.current.take() else { return Ok(()) };
        let facts = current.parser.finish();
        let message = libmox_store::AppendMessage {
            body: current.spool.end(store).await?,
            // Row ST-03: all of it is body, the header before it is empty.
            prefix: if facts.no_header { b"\r\n".to_vec() } else { Vec::new() },
            facts: Facts::from(&facts),
            flags: current.head.flags.flags,
            keywords: current.head.flags.keywords,
            received: current.head.date.unwrap_or(now),
        };
        self.done.add(message, store).await
    }

    /// Nothing will come of it.
    pub async fn forget(self, store: &Store) {
        if let Some((body, _)) = self.current.and_then(|current| current.spool.staged) {
            // As of the others.
            let _ = store.ask(Unstage(body)).await;
        }
        self.done.forget(store).await;
    }
}

impl Connection {
    /// A message is announced: decides whether it may come.
    pub(crate) async fn append_message(
        &mut self,
        tag: Tag,
        to: Option<AppendTo>,
        message: AppendMessage,
    ) -> Result<(), Failure> {
        if let Some(to) = to {
            let Some(replaces) = self.session.on_append(tag, &to, self.wire.output()) else {
                self.reader.refuse();
                return Ok(());
            };
            let replaces = match replaces {
                None => None,
                Some(uid) => match self.size_of_message(uid).await {
                    Ok(size) => Some((uid, size)),
                    Err(failure) => {
                        self.reader.refuse();
                        return self.finish(Err(failure)).await;
                    }
                },
            };
            let mailbox = to.mailbox;
            let fresh =
                Appending { mailbox, replaces, done: Messages::default(), current: None, catenated: 0 };
            self.appending = Some(Box::new(fresh));
        }
        let checked = match &self.appending {
            // RFC 3502 §6.3.11: it is how a client calls an APPEND off.
            Some(_) if message.size == 0 && !message.catenate => Err(Failure::No(None, "no message".into())),
            Some(appending) => check(&self.shared.store, self.session_id()?, appending, message.size).await,
            None => Err(Failure::Bad("no message expected")),
        };
        if let Err(failure) = checked {
            return self.append_refused(failure).await;
        }
        if let Some(appending) = &mut self.appending {
            let waits = message.sync == Sync::Synchronising && !message.catenate;
            appending.current = Some(Current::new(message));
            if waits {
                continuation(self.wire.output(), "send the message");
            }
        }
        self.reader.accept();
        Ok(())
    }

    /// Octets of a piece are announced. RFC 4469.
    pub(crate) async fn append_text(&mut self, size: u64, sync: Sync) -> Result<(), Failure> {
        match self.room_for(size).await {
            Ok(()) => {
                if sync == Sync::Synchronising {
                    continuation(self.wire.output(), "send the text");
                }
                self.reader.accept();
                Ok(())
            }
            Err(failure) => self.append_refused(failure).await,
        }
    }

    /// A piece is here already. RFC 4469.
    pub(crate) async fn append_url(&mut self, url: &str) -> Result<(), Failure> {
        match self.take_url(url).await {
            Ok(()) => Ok(()),
            Err(failure) => self.append_refused(failure).await,
        }
    }

    async fn take_url(&mut self, url: &str) -> Result<(), Failure> {
        let (content, octets) = self.piece_at(url).await?;
        self.room_for(octets.size()).await?;
        let Self { appending, shared, .. } = self;
        let Some(appending) = appending else { return Ok(()) };
        appending.catenated += octets.size();
        // One line of a client must not cost us more than a message does.
        if appending.catenated > shared.context.config().imap.max_message_size {
            return Err(Failure::no(Code::TooBig, "too much to put together"));
        }
        match octets {
            Octets::Held(octets) => appending.octets(&octets, &shared.store).await,
            Octets::At(mut range) => {
                let mut piece = Vec::new();
                loop {
                    piece.clear();
                    match content.read(range.clone(), &mut piece).await? {
                        0 => return Ok(()),
                        read => range.start += read,
                    }
                    appending.octets(&piece, &shared.store).await?;
                }
            }
        }
    }

    /// Whether so many octets more may become part of the message.
    async fn room_for(&self, size: u64) -> Result<(), Failure> {
        let Some(appending) = &self.appending else { return Err(Failure::Bad("no message expected")) };
        let whole = appending.current.as_ref().map_or(0, |current| current.spool.size()).saturating_add(size);
        if whole > self.shared.context.config().imap.max_message_size {
            return Err(Failure::no(Code::TooBig, "message too large"));
        }
        check(&self.shared.store, self.session_id()?, appending, whole).await
    }

    async fn append_refused(&mut self, failure: Failure) -> Result<(), Failure> {
        self.reader.refuse();
        self.forget_append().await;
        self.finish(Err(failure)).await
    }

    async fn forget_append(&mut self) {
        if let Some(appending) = self.appending.take() {
            appending.forget(&self.shared.store).await;
        }
    }

    /// Its octets cannot be kept.
    pub(crate) async fn append_failed(&mut self, failure: Failure) -> Result<bool, Failure> {
        self.reader.abandon();
        self.forget_append().await;
        self.finish(Err(failure)).await?;
        self.flush().await?;
        Ok(false)
    }

    /// The message is here.
    pub(crate) async fn append_message_end(&mut self) -> Result<(), Failure> {
        let outcome = match &mut self.appending {
            Some(appending) => appending.message_end(&self.shared.store, clock::now()).await,
            None => Ok(()),
        };
        match outcome {
            Ok(()) => Ok(()),
            Err(failure) => self.append_failed(failure).await.map(drop),
        }
    }

    /// All messages are here: they become mail.
    pub(crate) async fn append_end(&mut self) -> Result<(), Failure> {
        let Some(appending) = self.appending.take() else { return Ok(()) };
        let Appending { mailbox, replaces, done, .. } = *appending;
        if done.is_empty() {
            return self.finish(Err(Failure::Bad("no message came"))).await;
        }
        if let Some((uid, _)) = replaces {
            return self.replace(uid, mailbox, done).await;
        }
        let outcome = match done.append(self.session_id()?, mailbox, &self.shared.store).await {
            Ok(placed) => {
                self.see_change(placed.change, OwnFlags::Tell).await?;
                let uids: UidSet = placed.to.into_iter().collect();
                Ok(Done::with(Code::AppendUid(placed.uid_validity, uids)))
            }
            Err(failure) => Err(failure),
        };
        self.finish(outcome).await
    }
}

impl Connection {
    async fn replace(&mut self, uid: Uid, to: MailboxName, mut done: Messages) -> Result<(), Failure> {
        let Some(message) = done.only.take() else {
            return self.finish(Err(Failure::Bad("one message only"))).await;
        };
        let verb = Replace { session: self.session_id()?, mailbox: self.mailbox_id()?, uid, to, message };
        let outcome = self.shared.store.ask(verb).await;
        let outcome = match done.unless_kept(outcome, &self.shared.store).await {
            Ok(placed) => {
                self.see_change(placed.change, OwnFlags::Tell).await?;
                // RFC 8508 §3.3: before the EXPUNGE that comes with it.
                let code = Code::AppendUid(placed.uid_validity, placed.to.into_iter().collect());
                response::untagged(self.wire.output(), Status::Ok, Some(&code), "replacement kept");
                Ok(match self.session.mailbox() {
                    Some(selected) if self.session.enabled().qresync => {
                        Done::with(Code::HighestModSeq(selected.mod_seq))
                    }
                    _ => Done::OK,
                })
            }
            Err(failure) => Err(failure),
        };
        self.finish(outcome).await
    }

    /// Octets of a message of the open mailbox.
    async fn size_of_message(&self, uid: Uid) -> Result<u64, Failure> {
        let list = MessageList {
            session: self.session_id()?,
            mailbox: self.mailbox_id()?,
            uids: [uid].into_iter().collect(),
            changed_since: None,
            want: Want::default(),
        };
        let mut items = self.shared.store.stream(Request::MessageList(list)).await?;
        let mut size = None;
        while let Some(item) = items.next().await {
            if let Item::Messages(records) = item? {
                size = size.or(records.first().map(|record| record.size.0));
            }
        }
        size.ok_or(Failure::no(Code::ExpungeIssued, "message is gone"))
    }
}

/// What can be known before the octets come. The store checks all of it again with the change itself.
async fn check(store: &Store, session: SessionId, appending: &Appending, size: u64) -> Result<(), Failure> {
    if appending.done.is_empty() {
        let name = appending.mailbox.clone();
        let status = store.ask(MailboxStatus { session, name }).await;
        status.map_err(|error| Failure::from(error).try_create())?;
    }
    let quota = store.ask(Quota { session }).await?;
    let waiting = appending.done.octets;
    let used = quota.used.0.saturating_sub(appending.replaces.map_or(0, |(_, octets)| octets));
    if quota.limit.is_some_and(|limit| used.saturating_add(waiting).saturating_add(size) > limit.0) {
        return Err(Failure::no(Code::OverQuota, "quota exceeded"));
    }
    Ok(())
}

fn size_of(body: &Body) -> u64 {
    match body {
        Body::Inline(octets) => octets.len() as u64,
        Body::Staged { size, .. } => size.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libmox_imap::command::FlagList;

    #[test]
    fn line_ends_are_crlf_whatever_came() {
        // TR-05
        for (sent, want) in [
            ("a\nb\r\nc", "a\r\nb\r\nc"),
            ("\n\n", "\r\n\r\n"),
            ("\r\n", "\r\n"),
            ("a\rb\r\r\n", "a\rb\r\r\n"),
            ("", ""),
        ] {
            for cut in 1..=sent.len().max(1) {
                let head = AppendMessage {
                    flags: FlagList::default(),
                    date: None,
                    size: 0,
                    sync: Sync::Synchronising,
                    utf8: false,
                    catenate: false,
                };
                let mut current = Current::new(head);
                sent.as_bytes().chunks(cut).for_each(|piece| current.take(piece));
                assert_eq!(String::from_utf8_lossy(&current.spool.held), want, "{sent:?} in pieces of {cut}");
                assert_eq!(current.spool.size(), want.len() as u64);
            }
        }
    }
}
