//! What the client is told of the open mailbox: while a command runs, in IDLE, and how the change stream is kept up with.
//!
//! Law: RFC 9051 §5.2 and §7, RFC 2177, RFC 5465 §5.2; row TM-09.

use crate::connection::{Connection, Done, Owned, notification, own, stopping};
use crate::error::Failure;
use crate::watch::{OwnFlags, Taken, Watching};
use libmox_imap::response;
use libmox_imap::{Step, Told};
use libmox_store::{MessageList, MessageRecord, Request, Want};
use libmox_types::UidSet;
use tokio::time::Instant;

impl Connection {
    /// Writes the news of the selected mailbox that may be told now.
    pub(crate) async fn tell(&mut self) -> Result<(), Failure> {
        loop {
            match self.session.tell(self.wire.output()) {
                Told::All => break,
                Told::More => self.flush().await?,
                Told::AskFlags(uids) => {
                    self.write_flags(&uids).await?;
                    break;
                }
            }
        }
        let touched = self.session.touched();
        if !touched.is_empty() {
            Box::pin(self.update_contexts(&touched)).await?;
        }
        if let Some((uids, items)) = self.session.new_items() {
            match Box::pin(self.fetch(uids, &items, None, false, false)).await {
                // Gone again, or not to be said so.
                Err(Failure::No(..)) => {}
                other => drop(other?),
            }
        }
        Ok(())
    }

    /// Asks for the flags of these messages and tells them. Says which of them there are.
    pub(crate) async fn write_flags(&mut self, uids: &UidSet) -> Result<UidSet, Failure> {
        let mut there = UidSet::new();
        let Some(mailbox) = self.session.mailbox().map(|selected| selected.id) else { return Ok(there) };
        let list = MessageList {
            session: self.session_id()?,
            mailbox,
            uids: uids.clone(),
            changed_since: None,
            want: Want::default(),
        };
        let mut items = self.shared.store.stream(Request::MessageList(list)).await?;
        while let Some(item) = items.next().await {
            let libmox_store::Item::Messages(records) = item? else { continue };
            for record in records {
                there.insert(record.uid);
                self.write_flags_of(&record);
            }
            self.pump().await?;
        }
        Ok(there)
    }

    /// One line with the flags of a message, if the client counts it.
    pub(crate) fn write_flags_of(&mut self, record: &MessageRecord) {
        let Self { wire, session, .. } = self;
        let style = session.style();
        let Some(selected) = session.mailbox_mut() else { return };
        let Some(number) = selected.view.number(record.uid) else { return };
        let out = wire.output();
        selected.announce(&record.keywords, out);
        response::fetch_flags(out, style, number, record.uid, record.flags, &record.keywords, record.mod_seq);
    }

    /// Takes in changes up to one we made ourselves.
    pub(crate) async fn see_change(&mut self, change: u64, own: OwnFlags) -> Result<(), Failure> {
        let Some(watching) = &mut self.watching else { return Ok(()) };
        if watching.until(change, own, &mut self.session).await? == Taken::Overflow {
            Box::pin(self.watch_anew()).await?;
        }
        Ok(())
    }

    /// Has the messages of the mailbox, if it was opened just now.
    pub(crate) async fn ready(&mut self) -> Result<(), Failure> {
        match &mut self.watching {
            Some(watching) if watching.is_loading() => Box::pin(watching.ready(&mut self.session)).await,
            _ => Ok(()),
        }
    }

    /// Events were lost: a new snapshot takes their place.
    pub(crate) async fn watch_anew(&mut self) -> Result<(), Failure> {
        self.watching = None;
        let session = self.session_id()?;
        let Some(selected) = self.session.mailbox_mut() else { return Ok(()) };
        let mut watching =
            Watching::open(&self.shared.store, session, selected.name.clone()).await.map_err(gone)?;
        if watching.mailbox() != selected.id {
            return Err(Failure::Bye(None, "selected mailbox was deleted".into()));
        }
        selected.view.on_snapshot(&watching.snapshot().await?);
        self.watching = Some(watching);
        Ok(())
    }

    /// NOOP and CHECK: what was committed before they came is told. The store is not asked for it.
    pub(crate) async fn poll(&mut self) -> Result<Done, Failure> {
        let Some(watching) = &self.watching else { return Ok(Done::OK) };
        match self.last_change(watching).await? {
            Some(last) => self.see_change(last, OwnFlags::Tell).await?,
            None => Box::pin(self.watch_anew()).await?,
        }
        Ok(Done::OK)
    }

    /// The number of the last change to what is watched, whether or not it came by; none if nobody can tell.
    pub(crate) async fn last_change(&self, watching: &Watching) -> Result<Option<u64>, Failure> {
        let Some(account) = self.account else { return Ok(None) };
        let numbers = self.shared.latest.numbers(&self.shared.store, watching.epoch()).await?;
        Ok(numbers.of(account.id))
    }

    /// RFC 2177.
    pub(crate) async fn idle(&mut self) -> Result<bool, Failure> {
        self.reader.expect_line();
        let deadline = Instant::now() + self.shared.waits.signed_in;
        loop {
            Box::pin(self.tell()).await?;
            self.flush().await?;
            self.wire.rest();
            let Self { wire, watching, notifying, session, shared, .. } = self;
            let left = deadline.saturating_duration_since(Instant::now());
            let watch = async {
                match watching {
                    Some(watching) => match watching.next(session).await {
                        // What came in the same moment is told in one go.
                        Ok(Taken::All) => watching.drain(session),
                        other => other,
                    },
                    None => std::future::pending().await,
                }
            };
            let buffered = !wire.buffered().is_empty();
            tokio::select! {
                biased;
                filled = async { if buffered { Ok(0) } else { wire.fill(left).await } } => {
                    filled?;
                    let mut input = self.wire.buffered();
                    let before = input.len();
                    let event = own(self.reader.read(&mut input));
                    let line = match event {
                        Owned::LineOf(line) => line,
                        Owned::More => {
                            self.wire.consume(before);
                            continue;
                        }
                        _ => Vec::new(),
                    };
                    let used = before - input.len();
                    self.wire.consume(used);
                    if let Some(watching) = &mut self.watching
                        && watching.drain(&mut self.session)? == Taken::Overflow
                    {
                        Box::pin(self.watch_anew()).await?;
                    }
                    Box::pin(self.tell()).await?;
                    return Ok(self.session.on_done(&line, self.wire.output()) == Step::Close);
                }
                taken = watch => {
                    if taken? == Taken::Overflow {
                        Box::pin(self.watch_anew()).await?;
                    }
                }
                item = notification(notifying) => Box::pin(self.on_notification(item)).await?,
                () = shared.context.life.stopping() => return Err(stopping()),
            }
        }
    }
}

fn gone(failure: Failure) -> Failure {
    match failure {
        Failure::No(..) => Failure::Bye(None, "selected mailbox was deleted".into()),
        other => other,
    }
}
