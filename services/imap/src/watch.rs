//! The change stream of the selected mailbox.
//!
//! A watch begins with a snapshot, of which the counters come first and are told at once; from then on each change of the
//! account has a number. A command that changed something waits here until its own change has come by, so that what the
//! client is told is in the order of the store. Events of other mailboxes only move the number: as long as it stays, a
//! mailbox that was open before is as it was, and the same stream serves it.

use crate::error::Failure;
use crate::events;
use libmox_imap::response::Code;
use libmox_imap::{Session, View};
use libmox_store::{ChangeEvents, Event, Item, Mailbox, SessionId, Store, StoreContract, WatchSet};
use libmox_types::{MailboxId, MailboxName, UidSet};
use std::time::Duration;

/// A change that was committed comes by within this time, or the stream is broken.
const CHANGE_WAIT: Duration = Duration::from_secs(30);
/// Mailboxes that were open before and are remembered.
const REMEMBERED: usize = 8;
/// Runs of uids in each of them, eight octets each.
const REMEMBERED_RUNS: usize = 100;

/// What becomes of changes to flags that this session made itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnFlags {
    /// The client is told.
    Tell,
    /// The client knows already, or will be told otherwise.
    Known,
}

/// A mailbox being watched.
#[derive(Debug)]
pub struct Watching {
    items: libmox_ipc::Items<StoreContract>,
    session: SessionId,
    /// The last change that came by.
    seen: u64,
    /// Whether the last change has more pieces.
    open: bool,
    /// So many messages the client was told of; which they are is still to come.
    loading: Option<u32>,
    opened: Box<Opening>,
    /// The last change in that, where the client knows exactly that.
    opened_at: Option<u64>,
    /// Mailboxes that were open before, as they were at a change, and what the client knew of them.
    others: Vec<(Box<Opening>, Box<View>)>,
    others_at: u64,
}

/// A mailbox as it was opened.
#[derive(Debug)]
pub struct Opening {
    pub mailbox: Mailbox,
    /// The number of the first message without `\Seen`.
    pub first_unseen: Option<u32>,
}

/// A stream of changes that nobody follows any more. The store is woken when it is dropped.
#[derive(Debug)]
pub struct Parting(#[expect(dead_code, reason = "to be dropped")] libmox_ipc::Items<StoreContract>);

impl Watching {
    /// Begins to watch a mailbox; with it the number of the first message without `\Seen`. Which messages it holds comes
    /// after that: [`Self::ready`] or [`Self::snapshot`].
    pub async fn open(store: &Store, session: SessionId, name: MailboxName) -> Result<Self, Failure> {
        let watch = WatchSet { session, mailbox: name };
        let mut items = store.stream(libmox_store::Request::WatchSet(watch)).await?;
        match items.next().await {
            Some(Ok(Item::SnapshotOpen(mailbox, unseen))) => {
                let exists = mailbox.counts.total + mailbox.counts.deleted;
                Ok(Self {
                    items,
                    session,
                    seen: 0,
                    open: false,
                    loading: Some(exists),
                    opened: Box::new(Opening {
                        mailbox: *mailbox,
                        first_unseen: (unseen > 0).then_some(unseen),
                    }),
                    opened_at: None,
                    others: Vec::new(),
                    others_at: 0,
                })
            }
            Some(Err(error)) => Err(error.into()),
            Some(Ok(_)) | None => Err(broken()),
        }
    }

    /// Whether it is still to come which messages the mailbox held when it was opened.
    pub fn is_loading(&self) -> bool {
        self.loading.is_some()
    }

    /// Has the messages of the mailbox in the session: before anything is said of one of them.
    pub async fn ready(&mut self, session: &mut Session) -> Result<(), Failure> {
        while self.is_loading() {
            self.next(session).await?;
        }
        Ok(())
    }

    /// The messages of the mailbox when it was opened, for a session that has it open already.
    pub async fn snapshot(&mut self) -> Result<UidSet, Failure> {
        let mut all = UidSet::new();
        loop {
            match self.items.next().await {
                Some(Ok(Item::SnapshotSet(uids, _))) => all.extend(&uids),
                Some(Ok(Item::SnapshotEnd(None, seen))) => {
                    (self.seen, self.loading) = (seen, None);
                    return Ok(all);
                }
                Some(Err(error)) => return Err(error.into()),
                Some(Ok(_)) | None => return Err(broken()),
            }
        }
    }

    /// Waits for something to happen and takes it in. May be dropped while it waits.
    pub async fn next(&mut self, session: &mut Session) -> Result<Taken, Failure> {
        match self.items.next().await {
            Some(Ok(item)) => self.take(item, session, OwnFlags::Tell),
            Some(Err(error)) => Err(error.into()),
            None => Err(broken()),
        }
    }

    /// Takes in what has arrived already.
    pub fn drain(&mut self, session: &mut Session) -> Result<Taken, Failure> {
        while let Some(item) = self.items.try_next() {
            if self.take(item, session, OwnFlags::Tell)? == Taken::Overflow {
                return Ok(Taken::Overflow);
            }
        }
        Ok(Taken::All)
    }

    /// Takes in everything up to a change.
    pub async fn until(
        &mut self,
        change: u64,
        own: OwnFlags,
        session: &mut Session,
    ) -> Result<Taken, Failure> {
        let deadline = tokio::time::Instant::now() + CHANGE_WAIT;
        while self.seen < change || (self.seen == change && self.open) {
            match tokio::time::timeout_at(deadline, self.items.next()).await {
                Ok(Some(Ok(item))) => {
                    if self.take(item, session, own)? == Taken::Overflow {
                        return Ok(Taken::Overflow);
                    }
                }
                Ok(Some(Err(error))) => return Err(error.into()),
                Ok(None) | Err(_) => return Err(broken()),
            }
        }
        Ok(Taken::All)
    }

    /// The mailbox when it was opened.
    pub fn opened(&self) -> &Opening {
        &self.opened
    }

    /// Whether everything up to a change came by.
    pub fn is_at(&self, change: u64) -> bool {
        self.seen == change && !self.open && self.loading.is_none()
    }

    /// Goes on with another mailbox of the account, or the same, if it was open before and nothing changed in the account
    /// since; with it what the client knew of it. Takes what the client knows of the one that is open. Only where
    /// nothing is to come: [`Self::is_at`] the last change.
    pub fn go_to(&mut self, name: &MailboxName, view: Box<View>) -> Result<Box<View>, Box<View>> {
        let exact = self.opened_at == Some(self.seen);
        if exact && self.opened.mailbox.name == *name {
            return Ok(view);
        }
        let there = self.others.iter().position(|(other, _)| other.mailbox.name == *name);
        let Some(at) = there.filter(|_| self.others_at == self.seen) else { return Err(view) };
        let (opened, known) = self.others.swap_remove(at);
        let before = std::mem::replace(&mut self.opened, opened);
        if exact {
            self.remember(before, view);
        }
        self.opened_at = Some(self.seen);
        Ok(known)
    }

    /// Takes the place of a watch of another mailbox: remembers that one, and what it remembered.
    pub fn succeed(&mut self, before: Self, view: Box<View>) -> Parting {
        if before.epoch() == self.epoch() {
            self.others_at = before.seen;
            if before.others_at == before.seen {
                self.others = before.others;
            }
            if before.opened_at == Some(before.seen) {
                self.remember(before.opened, view);
            }
        }
        Parting(before.items)
    }

    fn remember(&mut self, opened: Box<Opening>, view: Box<View>) {
        if view.runs() <= REMEMBERED_RUNS {
            if self.others.len() == REMEMBERED {
                self.others.remove(0);
            }
            self.others.push((opened, view));
        }
    }

    /// Which connection to the store it is on.
    pub fn epoch(&self) -> u64 {
        self.items.epoch()
    }

    /// Which mailbox.
    pub fn mailbox(&self) -> MailboxId {
        self.opened.mailbox.id
    }

    fn take(&mut self, item: Item, session: &mut Session, own: OwnFlags) -> Result<Taken, Failure> {
        let changes = match (item, self.loading) {
            (Item::Events(changes), None) => changes,
            (Item::SnapshotSet(uids, _), Some(_)) => {
                if let Some(selected) = session.mailbox_mut() {
                    uids.ranges().for_each(|(low, high)| selected.view.push_range(low, high));
                }
                return Ok(Taken::All);
            }
            (Item::SnapshotEnd(None, seen), Some(exists)) => {
                (self.seen, self.opened_at, self.loading) = (seen, Some(seen), None);
                if session.mailbox().is_some_and(|selected| selected.view.exists() != exists) {
                    events::trouble("a mailbox", "its counters are not those of its messages");
                    return Err(broken());
                }
                return Ok(Taken::All);
            }
            _ => return Err(broken()),
        };
        for ChangeEvents { change, by, events, last } in changes {
            self.seen = self.seen.max(change);
            let own_change = by == Some(self.session);
            self.open = !last;
            for event in events {
                match event {
                    Event::Overflow => return Ok(Taken::Overflow),
                    Event::Ended { why } => return Err(Failure::Bye(None, why)),
                    Event::Annotation { mailbox, name, .. } => {
                        let of_mailbox = mailbox.is_some();
                        if !own_change && mailbox.is_none_or(|mailbox| mailbox == self.mailbox()) {
                            session.on_annotation(of_mailbox, name);
                        }
                    }
                    Event::UrlKey { mailbox } => {
                        if !own_change && mailbox.is_none_or(|mailbox| mailbox == self.mailbox()) {
                            session.on_url_key();
                        }
                    }
                    event => self.apply(event, session, own_change && own == OwnFlags::Known)?,
                }
            }
        }
        Ok(Taken::All)
    }

    fn apply(&mut self, event: Event, session: &mut Session, known: bool) -> Result<(), Failure> {
        let Some(selected) = session.mailbox_mut() else { return Ok(()) };
        match event {
            Event::MessageAdded { mailbox, uid, mod_seq, .. } if mailbox == self.mailbox() => {
                selected.view.on_added(uid);
                selected.mod_seq = selected.mod_seq.max(mod_seq);
            }
            Event::MessagesRemoved { mailbox, uids, mod_seq } if mailbox == self.mailbox() => {
                selected.view.on_removed(&uids);
                selected.mod_seq = selected.mod_seq.max(mod_seq);
            }
            Event::FlagsChanged { mailbox, uid, mod_seq, flags, keywords } if mailbox == self.mailbox() => {
                if known {
                    selected.view.on_own_flags(uid, flags, keywords, mod_seq);
                } else {
                    selected.view.on_flags(uid, flags, keywords, mod_seq);
                }
                selected.mod_seq = selected.mod_seq.max(mod_seq);
            }
            Event::ManyFlagsChanged { mailbox, uids, mod_seq } if mailbox == self.mailbox() => {
                if known {
                    selected.view.on_own_many_flags(&uids);
                } else {
                    selected.view.on_many_flags(&uids);
                }
                selected.mod_seq = selected.mod_seq.max(mod_seq);
            }
            Event::Counts { mailbox, mod_seq, .. } if mailbox == self.mailbox() => {
                selected.mod_seq = selected.mod_seq.max(mod_seq);
            }
            Event::MailboxRenamed { mailbox, to, .. } if mailbox == self.mailbox() => selected.name = to,
            Event::MailboxRemoved { mailbox, .. } if mailbox == self.mailbox() => {
                return Err(Failure::Bye(None, "selected mailbox was deleted".into()));
            }
            _ => {}
        }
        Ok(())
    }
}

/// Whether the stream told everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It did.
    All,
    /// Events were lost: watch anew.
    Overflow,
}

pub(crate) fn broken() -> Failure {
    Failure::Bye(Some(Code::Unavailable), "mail store restarted, please reconnect".into())
}
