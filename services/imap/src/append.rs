//! APPEND: messages stream into the store's staging place, all of them or none become mail.
//!
//! Law: RFC 9051 §6.3.12, RFC 3502, RFC 4315; rows TR-05 (line ends), TR-06 (no header), IM-26.
//!
//! | while | held | lost by |
//! |---|---|---|
//! | octets come | up to [`INLINE_OCTETS`] here, the rest in a staged file | fault, refusal, end of connection |
//! | the store answers | nothing here | unknown: the client looks |

use crate::connection::{Connection, Done};
use crate::error::Failure;
use crate::events;
use crate::watch::OwnFlags;
use libmox_imap::Tag;
use libmox_imap::command::{AppendMessage, Sync};
use libmox_imap::response::{Code, continuation};
use libmox_message::Parser;
use libmox_service::clock;
use libmox_store::{
    Append, Body, BodyId, Facts, INLINE_OCTETS, MailboxStatus, Quota, SessionId, Stage, Store, Unstage,
};
use libmox_types::{ByteCount, MailboxName, Timestamp, UidSet};
use std::fs::File;
use std::io::Write;
use std::sync::Arc;

/// Octets collected before they are written to a staged file.
const CHUNK: usize = 256 * 1024;

/// An APPEND under way.
pub struct Appending {
    mailbox: MailboxName,
    done: Vec<libmox_store::AppendMessage>,
    current: Option<Current>,
}

struct Current {
    head: AppendMessage,
    parser: Parser,
    after_cr: bool,
    /// Not yet written, or all of it.
    held: Vec<u8>,
    size: u64,
    staged: Option<(BodyId, Arc<File>)>,
}

impl Current {
    fn new(head: AppendMessage) -> Self {
        Self { head, parser: Parser::new(), after_cr: false, held: Vec::new(), size: 0, staged: None }
    }

    /// Takes octets with CRLF for every line end, whatever the client sent.
    fn take(&mut self, octets: &[u8]) {
        let start = self.held.len();
        let mut rest = octets;
        while let Some(at) = rest.iter().position(|&b| b == b'\n') {
            let line = &rest[..at];
            let cr = if line.is_empty() { self.after_cr } else { line.ends_with(b"\r") };
            self.held.extend_from_slice(line);
            self.held.extend_from_slice(if cr { b"\n" } else { b"\r\n" });
            self.after_cr = false;
            rest = &rest[at + 1..];
        }
        self.held.extend_from_slice(rest);
        self.after_cr =
            if rest.is_empty() { self.after_cr && octets.is_empty() } else { rest.ends_with(b"\r") };
        self.size += (self.held.len() - start) as u64;
        self.parser.feed(&self.held[start..]);
    }

    async fn spill(&mut self, store: &Store) -> Result<(), Failure> {
        if self.staged.is_none() {
            let (body, descriptors) = store.ask_with(Stage, Vec::new()).await?;
            let descriptor = descriptors.into_iter().next().ok_or_else(unwritable)?;
            self.staged = Some((body, Arc::new(File::from(descriptor))));
        }
        let Some((_, file)) = &self.staged else { return Ok(()) };
        let (file, octets) = (Arc::clone(file), std::mem::take(&mut self.held));
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
}

fn unwritable() -> Failure {
    Failure::no(Code::Unavailable, "message cannot be kept now")
}

impl Appending {
    /// Octets of the current message.
    pub async fn octets(&mut self, octets: &[u8], store: &Store) -> Result<(), Failure> {
        let Some(current) = &mut self.current else { return Ok(()) };
        current.take(octets);
        let limit = if current.staged.is_some() { CHUNK } else { INLINE_OCTETS };
        if current.held.len() > limit { Box::pin(current.spill(store)).await } else { Ok(()) }
    }

    async fn message_end(&mut self, store: &Store, now: Timestamp) -> Result<(), Failure> {
        let Some(mut current) = self.current.take() else { return Ok(()) };
        if current.staged.is_some()
            && !current.held.is_empty()
            && let Err(failure) = current.spill(store).await
        {
            self.current = Some(current);
            return Err(failure);
        }
        let facts = current.parser.finish();
        let body = match current.staged {
            Some((body, _)) => Body::Staged { body, size: ByteCount(current.size) },
            None => Body::Inline(current.held),
        };
        self.done.push(libmox_store::AppendMessage {
            body,
            // Row ST-03: all of it is body, the header before it is empty.
            prefix: if facts.no_header { b"\r\n".to_vec() } else { Vec::new() },
            facts: Facts::from(&facts),
            flags: current.head.flags.flags,
            keywords: current.head.flags.keywords,
            received: current.head.date.unwrap_or(now),
        });
        Ok(())
    }

    /// Nothing will come of it.
    pub async fn forget(self, store: &Store) {
        let staged = self.done.into_iter().filter_map(|message| match message.body {
            Body::Staged { body, .. } => Some(body),
            Body::Inline(_) => None,
        });
        let current = self.current.and_then(|current| current.staged).map(|(body, _)| body);
        for body in staged.chain(current) {
            // If it cannot be given back the connection to the store is gone, and it with it.
            let _ = store.ask(Unstage(body)).await;
        }
    }
}

impl Connection {
    /// A message is announced: decides whether it may come.
    pub(crate) async fn append_message(
        &mut self,
        tag: Tag,
        mailbox: Option<MailboxName>,
        message: AppendMessage,
    ) -> Result<(), Failure> {
        if let Some(mailbox) = mailbox {
            if !self.session.on_append(tag, self.wire.output()) {
                self.reader.refuse();
                return Ok(());
            }
            self.appending = Some(Box::new(Appending { mailbox, done: Vec::new(), current: None }));
        }
        let checked = match &self.appending {
            Some(appending) => check(&self.shared.store, self.session_id()?, appending, message.size).await,
            None => Err(Failure::Bad("no message expected")),
        };
        if let Err(failure) = checked {
            self.reader.refuse();
            self.forget_append().await;
            return self.finish(Err(failure)).await;
        }
        if let Some(appending) = &mut self.appending {
            let sync = message.sync;
            appending.current = Some(Current::new(message));
            if sync == Sync::Synchronising {
                continuation(self.wire.output(), "send the message");
            }
        }
        self.reader.accept();
        Ok(())
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
        let Appending { mailbox, done, .. } = *appending;
        let session = self.session_id()?;
        let outcome = self.shared.store.ask(Append { session, mailbox, messages: done }).await;
        let outcome = match outcome.map_err(|error| Failure::from(error).try_create()) {
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

/// What can be known before the octets come. The store checks all of it again with the change itself.
async fn check(store: &Store, session: SessionId, appending: &Appending, size: u64) -> Result<(), Failure> {
    if appending.done.is_empty() {
        let name = appending.mailbox.clone();
        let status = store.ask(MailboxStatus { session, name }).await;
        status.map_err(|error| Failure::from(error).try_create())?;
    }
    let quota = store.ask(Quota { session }).await?;
    let waiting: u64 = appending.done.iter().map(|message| size_of(&message.body)).sum();
    if quota.limit.is_some_and(|limit| quota.used.0.saturating_add(waiting).saturating_add(size) > limit.0) {
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
                };
                let mut current = Current::new(head);
                sent.as_bytes().chunks(cut).for_each(|piece| current.take(piece));
                assert_eq!(String::from_utf8_lossy(&current.held), want, "{sent:?} in pieces of {cut}");
                assert_eq!(current.size, want.len() as u64);
            }
        }
    }
}
