//! What a client that comes back missed: removals and changed flags.
//!
//! Law: RFC 7162 §3.2.5 and §3.2.6; rows IM-25, TM-11.

use crate::connection::Connection;
use crate::error::Failure;
use libmox_imap::Removed;
use libmox_imap::command::Resync;
use libmox_imap::response::{self, Code, Earlier, Status};
use libmox_store::{Item, Mailbox, MessageList, Request, VanishedSince, Want};
use libmox_types::{ModSeq, UidSet};

impl Connection {
    async fn removed(&self, since: ModSeq) -> Result<Removed, Failure> {
        let verb = VanishedSince { session: self.session_id()?, mailbox: self.mailbox_id()?, since };
        let vanished = self.shared.store.ask(verb).await?;
        Ok(Removed { uids: vanished.uids, complete: vanished.complete })
    }

    /// SELECT with QRESYNC: the mailbox was just opened and told of.
    pub(crate) async fn resync(&mut self, client: &Resync, mailbox: &Mailbox) -> Result<(), Failure> {
        // Another life of the name: what the client remembers says nothing.
        if client.uid_validity != mailbox.uid_validity {
            return Ok(());
        }
        let removed = self.removed(client.mod_seq).await?;
        let Some(selected) = self.session.mailbox() else { return Ok(()) };
        let (missed, confused) = selected.missed(client, &removed, mailbox.uid_next);
        let mut present = selected.view.present();
        if let Some(known) = &client.known {
            present = present.intersection(known);
        }
        let out = self.wire.output();
        if confused {
            let text = "your copy of this mailbox does not fit ours, all removals are sent again";
            response::untagged(out, Status::Ok, Some(&Code::Alert), text);
        }
        response::vanished(out, Earlier::Yes, &missed);
        self.pump().await?;
        self.write_changed_flags(present, client.mod_seq).await
    }

    /// UID FETCH with VANISHED.
    pub(crate) async fn write_vanished(&mut self, named: &UidSet, since: ModSeq) -> Result<(), Failure> {
        let removed = self.removed(since).await?;
        let Some(selected) = self.session.mailbox() else { return Ok(()) };
        let gone = selected.vanished(named, &removed);
        response::vanished(self.wire.output(), Earlier::Yes, &gone);
        self.pump().await
    }

    async fn write_changed_flags(&mut self, uids: UidSet, since: ModSeq) -> Result<(), Failure> {
        if uids.is_empty() {
            return Ok(());
        }
        let (session, mailbox) = (self.session_id()?, self.mailbox_id()?);
        let list = MessageList { session, mailbox, uids, changed_since: Some(since), want: Want::default() };
        let mut items = self.shared.store.stream(Request::MessageList(list)).await?;
        while let Some(item) = items.next().await {
            let Item::Messages(records) = item? else { continue };
            for record in records {
                self.write_flags_of(&record);
            }
            self.pump().await?;
        }
        Ok(())
    }
}
