//! NOTIFY: what happens in mailboxes that are not open.
//!
//! Law: RFC 5465; row IM-37. A watch of the account runs beside that of the open mailbox. What the session did itself
//! is not told. What is lost because too much happened is said to be lost.

use crate::connection::{Connection, Done};
use crate::error::Failure;
use crate::mailboxes::{entries, state};
use libmox_imap::command::{EventKind, Events, Notify, StatusItem, StatusItems};
use libmox_imap::response::{self, MailboxState};
use libmox_imap::{list, metadata};
use libmox_store::{ChangeEvents, Counts, Event, Item, Mailboxes, Request, SessionId, StoreContract, Watch};
use libmox_types::{MailboxId, MailboxName, ModSeq, Uid};
use std::collections::{BTreeMap, BTreeSet};

/// The account being watched.
pub(crate) struct Notifying {
    items: libmox_ipc::Items<StoreContract>,
    session: SessionId,
    wanted: Notify,
    all: Mailboxes,
    /// Pieces of a change of which more will come.
    open: Vec<Event>,
}

/// What one change did to a mailbox.
#[derive(Default)]
struct Touched {
    messages: bool,
    flags: bool,
    counts: Option<(Counts, ModSeq, Uid)>,
}

impl Notifying {
    /// What comes next. May be dropped while it waits.
    pub(crate) async fn next(&mut self) -> Option<Result<Item, libmox_store::StoreError>> {
        self.items.next().await
    }

    fn wanted_of(&self, mailbox: MailboxId) -> Option<(&libmox_store::Mailbox, Events)> {
        let mailbox = self.all.mailboxes.iter().find(|known| known.id == mailbox)?;
        Some((mailbox, self.wanted.wanted(mailbox.name.as_str(), mailbox.subscribed)))
    }

    fn wanted_of_name(&self, name: &str) -> Events {
        let there = self.all.mailboxes.iter().find(|known| known.name.as_str() == name);
        let subscribed = there.is_some_and(|known| known.subscribed)
            || self.all.subscribed_only.iter().any(|other| other.as_str() == name);
        self.wanted.wanted(name, subscribed)
    }
}

impl Connection {
    /// NOTIFY SET and NOTIFY NONE.
    pub(crate) async fn notify(&mut self, wanted: Option<Notify>) -> Result<Done, Failure> {
        self.notifying = None;
        let Some(wanted) = wanted else { return Ok(Done::OK) };
        let session = self.session_id()?;
        let watch = Watch { session, mailbox: None };
        let mut items = self.shared.store.stream(Request::Watch(watch)).await?;
        while !matches!(items.next().await.transpose()?, Some(Item::SnapshotEnd(..)) | None) {}
        let all = self.mailboxes().await?;
        if wanted.status {
            let (dialect, limit) =
                (self.session.dialect(), self.shared.context.config().imap.max_message_size);
            let open = self.session.mailbox().map(|selected| selected.id);
            for mailbox in all.mailboxes.iter().filter(|mailbox| open != Some(mailbox.id)) {
                let events = wanted.wanted(mailbox.name.as_str(), mailbox.subscribed);
                if events.of_messages() {
                    let told = self.status_items(events.has(EventKind::FlagChange));
                    let state = state(mailbox, limit);
                    response::status(self.wire.output(), &mailbox.name, told, &state, dialect);
                    self.pump().await?;
                }
            }
        }
        self.notifying = Some(Box::new(Notifying { items, session, wanted, all, open: Vec::new() }));
        self.poll().await
    }

    /// RFC 5465 §5.1 to §5.3: enough to know what to look at.
    fn status_items(&self, flags: bool) -> StatusItems {
        let mut items = StatusItems::default()
            .with(StatusItem::Messages)
            .with(StatusItem::UidNext)
            .with(StatusItem::UidValidity);
        if flags {
            items = items.with(StatusItem::Unseen);
        }
        if self.session.enabled().condstore { items.with(StatusItem::HighestModSeq) } else { items }
    }

    /// Tells what came by already.
    pub(crate) async fn drain_notifications(&mut self) -> Result<(), Failure> {
        while let Some(item) = self.notifying.as_mut().and_then(|notifying| notifying.items.try_next()) {
            self.on_notification(Some(Ok(item))).await?;
        }
        Ok(())
    }

    /// Writes what is to be told of some changes.
    pub(crate) async fn on_notification(
        &mut self,
        item: Option<Result<Item, libmox_store::StoreError>>,
    ) -> Result<(), Failure> {
        let Some(mut notifying) = self.notifying.take() else { return Ok(()) };
        let changes = match item {
            Some(Ok(Item::Events(changes))) => changes,
            Some(Ok(_)) => Vec::new(),
            Some(Err(error)) => return Err(error.into()),
            None => return Err(crate::watch::broken()),
        };
        for ChangeEvents { by, events, last, .. } in changes {
            if events.contains(&Event::Overflow) {
                self.session.notification_overflow(self.wire.output());
                return Ok(());
            }
            let own = by == Some(notifying.session);
            notifying.open.extend(events);
            // A change without end is one of messages: no name waits for its last piece longer than that.
            if last {
                let events = std::mem::take(&mut notifying.open);
                self.on_change(&mut notifying, &events, own).await?;
            }
        }
        self.notifying = Some(notifying);
        Ok(())
    }

    async fn on_change(
        &mut self,
        notifying: &mut Notifying,
        events: &[Event],
        own: bool,
    ) -> Result<(), Failure> {
        if let Some(Event::Ended { why }) = events.last() {
            return Err(Failure::Bye(None, why.clone()));
        }
        let mut touched: BTreeMap<MailboxId, Touched> = BTreeMap::new();
        let mut annotations: BTreeMap<Option<MailboxId>, BTreeSet<&str>> = BTreeMap::new();
        // Names, whether it is a name that changed, and the one before.
        let mut names: BTreeMap<&str, (bool, Option<&str>)> = BTreeMap::new();
        let renamed: BTreeSet<&str> = events
            .iter()
            .filter_map(|event| match event {
                Event::MailboxRenamed { from, .. } => Some(from.as_str()),
                _ => None,
            })
            .collect();
        for event in events {
            match event {
                Event::MessageAdded { mailbox, .. } | Event::MessagesRemoved { mailbox, .. } => {
                    touched.entry(*mailbox).or_default().messages = true;
                }
                Event::FlagsChanged { mailbox, .. } | Event::ManyFlagsChanged { mailbox, .. } => {
                    touched.entry(*mailbox).or_default().flags = true;
                }
                Event::Counts { mailbox, counts, mod_seq, uid_next } => {
                    touched.entry(*mailbox).or_default().counts = Some((*counts, *mod_seq, *uid_next));
                }
                Event::Annotation { mailbox, name, .. } => {
                    annotations.entry(*mailbox).or_default().insert(name);
                }
                Event::MailboxAdded { name, .. } | Event::MailboxRemoved { name, .. } => {
                    names.insert(name.as_str(), (true, None));
                    // RFC 5465 §5.4: its parent has a child more or less.
                    if let Some((parent, _)) = name.as_str().rsplit_once('/') {
                        names.entry(parent).or_insert((true, None));
                    }
                }
                Event::MailboxRenamed { from, to, .. } => {
                    // Children go along without a word.
                    let moved_along =
                        from.as_str().rsplit_once('/').is_some_and(|(parent, _)| renamed.contains(parent));
                    if !moved_along {
                        names.insert(to.as_str(), (true, Some(from.as_str())));
                    }
                }
                Event::Subscription { name, .. } => {
                    names.entry(name.as_str()).or_insert((false, None));
                }
                _ => {}
            }
        }
        let dialect = self.session.dialect();
        if !names.is_empty() {
            notifying.all = self.mailboxes().await?;
        }
        if own {
            return Ok(());
        }
        for (name, (is_name, old)) in names {
            // What a rename did to subscriptions is no change of them.
            if old.is_none() && !is_name && renamed.iter().any(|from| name.starts_with(from)) {
                continue;
            }
            let events = notifying
                .wanted_of_name(name)
                .union(old.map_or(Events::default(), |old| notifying.wanted_of_name(old)));
            let wanted = (is_name && events.has(EventKind::MailboxName))
                || events.has(EventKind::SubscriptionChange) && !is_name;
            if wanted {
                list::write_changed(self.wire.output(), &entries(&notifying.all), name, old, dialect);
                self.pump().await?;
            }
        }
        let open = self.session.mailbox().map(|selected| selected.id);
        for (id, touched) in touched.into_iter().filter(|(id, _)| open != Some(*id)) {
            let Some((mailbox, events)) = notifying.wanted_of(id) else { continue };
            let flags = touched.flags && events.has(EventKind::FlagChange);
            let Some((counts, mod_seq, uid_next)) = touched.counts else { continue };
            if (touched.messages && events.of_messages()) || flags {
                let state = MailboxState {
                    messages: counts.total + counts.deleted,
                    unseen: counts.unseen,
                    deleted: counts.deleted,
                    size: counts.size.0,
                    uid_next,
                    mod_seq,
                    ..state(mailbox, 0)
                };
                let items = self.status_items(events.has(EventKind::FlagChange));
                response::status(self.wire.output(), &mailbox.name, items, &state, dialect);
                self.pump().await?;
            }
        }
        for (of, changed) in annotations {
            let name: Option<&MailboxName> = match of {
                None if notifying.wanted.wants_server_metadata() => None,
                Some(id) => match notifying.wanted_of(id) {
                    Some((mailbox, events)) if events.has(EventKind::MailboxMetadataChange) => {
                        Some(&mailbox.name)
                    }
                    _ => continue,
                },
                None => continue,
            };
            metadata::write_changed(self.wire.output(), name.map(MailboxName::as_str), changed, dialect);
            self.pump().await?;
        }
        Ok(())
    }
}
