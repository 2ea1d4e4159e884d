//! Commands about mailboxes.

use crate::connection::{Connection, Done};
use crate::error::Failure;
use crate::watch::{Opening, OwnFlags, Watching};
use libmox_imap::command::{Access, List, SelectParams, StatusItems};
use libmox_imap::list::{self, Entry};
use libmox_imap::response::{self, Code, MailboxState, Status};
use libmox_imap::{Opened, View};
use libmox_store::{
    Mailbox, MailboxCreate, MailboxDelete, MailboxRename, MailboxStatus, MailboxSubscribe, Mailboxes,
};
use libmox_types::{MailboxName, SpecialUse, SpecialUses};

impl Connection {
    pub(crate) async fn select(
        &mut self,
        name: MailboxName,
        access: Access,
        params: &SelectParams,
        left: Option<Box<View>>,
    ) -> Result<Done, Failure> {
        let (watching, view) = self.go_to(name, left.unwrap_or_default()).await?;
        let Opening { mailbox, first_unseen } = watching.opened();
        let opened = Opened {
            id: mailbox.id,
            name: mailbox.name.clone(),
            access,
            exists: mailbox.counts.total + mailbox.counts.deleted,
            view,
            uid_validity: mailbox.uid_validity,
            uid_next: mailbox.uid_next,
            mod_seq: mailbox.mod_seq,
            keywords: mailbox.keywords.clone(),
            first_unseen: *first_unseen,
        };
        self.session.selected(opened, self.wire.output());
        let mailbox = params.qresync.is_some().then(|| mailbox.clone());
        self.watching = Some(watching);
        if let (Some(client), Some(mailbox)) = (&params.qresync, mailbox) {
            self.ready().await?;
            self.resync(client, &mailbox).await?;
        }
        Ok(match access {
            Access::ReadWrite => Done::with(Code::ReadWrite),
            Access::ReadOnly => Done::with(Code::ReadOnly),
        })
    }

    /// Watches a mailbox, with what is known of its messages already.
    async fn go_to(&mut self, name: MailboxName, mut left: Box<View>) -> Result<(Watching, View), Failure> {
        let mut before = self.watching.take();
        if let Some(mut watching) = before {
            if self.last_change(&watching).await?.is_some_and(|last| watching.is_at(last)) {
                match watching.go_to(&name, left) {
                    Ok(view) => return Ok((watching, *view)),
                    Err(view) => left = view,
                }
            }
            before = Some(watching);
        }
        let mut next = Watching::open(&self.shared.store, self.session_id()?, name).await?;
        self.parting = before.map(|before| next.succeed(before, left));
        Ok((next, View::default()))
    }

    pub(crate) async fn create(&mut self, name: MailboxName, uses: SpecialUses) -> Result<Done, Failure> {
        let special_use = SpecialUse::ALL.iter().map(|(one, _)| *one).filter(|one| uses.has(*one)).collect();
        let session = self.session_id()?;
        let verb = MailboxCreate { session, name: name.clone(), special_use };
        let changed = self.shared.store.ask(verb).await?;
        self.see_change(changed.change, OwnFlags::Tell).await?;
        // RFC 8474 §4.1. Where it is gone again there is no id to tell.
        let made = self.shared.store.ask(MailboxStatus { session, name }).await;
        Ok(made.map_or(Done::OK, |mailbox| Done::with(Code::MailboxId(mailbox.id))))
    }

    pub(crate) async fn delete(&mut self, name: MailboxName) -> Result<Done, Failure> {
        let session = self.session_id()?;
        let selected = self.session.mailbox().is_some_and(|selected| selected.name == name);
        let changed = self.shared.store.ask(MailboxDelete { session, name }).await?;
        if selected {
            // Its own doing: no reason to hang up.
            self.watching = None;
            self.session.mailbox_gone();
            response::untagged(self.wire.output(), Status::Ok, Some(&Code::Closed), "mailbox deleted");
        } else {
            self.see_change(changed.change, OwnFlags::Tell).await?;
        }
        Ok(Done::OK)
    }

    pub(crate) async fn rename(&mut self, from: MailboxName, to: MailboxName) -> Result<Done, Failure> {
        let session = self.session_id()?;
        let verb = MailboxRename { session, from: from.clone(), to: to.clone() };
        let changed = self.shared.store.ask(verb).await?;
        self.see_change(changed.change, OwnFlags::Tell).await?;
        // TR-23: clients of old do not expect it. Inbox stays what it is.
        if self.session.enabled().rev2 && from != MailboxName::inbox() {
            let all = self.mailboxes().await?;
            let dialect = self.session.dialect();
            list::write_renamed(self.wire.output(), &entries(&all), from.as_str(), to.as_str(), dialect);
        }
        Ok(Done::OK)
    }

    pub(crate) async fn subscribe(&mut self, name: MailboxName, subscribed: bool) -> Result<Done, Failure> {
        let session = self.session_id()?;
        let changed = self.shared.store.ask(MailboxSubscribe { session, name, subscribed }).await?;
        self.see_change(changed.change, OwnFlags::Tell).await?;
        Ok(Done::OK)
    }

    pub(crate) async fn mailboxes(&self) -> Result<Mailboxes, Failure> {
        Ok(libmox_store::mailboxes(&self.shared.store, self.session_id()?).await?)
    }

    pub(crate) async fn list(&mut self, asked: &List) -> Result<Done, Failure> {
        let all = self.mailboxes().await?;
        let entries = entries(&all);
        let dialect = self.session.dialect();
        let limit = self.shared.context.config().imap.max_message_size;
        for line in list::list(asked, &entries) {
            let out = self.wire.output();
            list::write_line(out, "LIST", &line, dialect);
            if let Some(items) = asked.return_status
                && line.exists
                && let Some(mailbox) = all.mailboxes.iter().find(|mailbox| mailbox.name.as_str() == line.name)
            {
                response::status(out, &mailbox.name, items, &state(mailbox, limit), dialect);
            }
            if let (Some(wanted), true, Ok(name)) =
                (&asked.return_metadata, line.exists, MailboxName::parse(line.name))
            {
                self.list_metadata(name, wanted).await?;
            }
            self.pump().await?;
        }
        Ok(Done::OK)
    }

    pub(crate) async fn lsub(&mut self, reference: &str, pattern: &str) -> Result<Done, Failure> {
        let all = self.mailboxes().await?;
        let entries = entries(&all);
        let dialect = self.session.dialect();
        for line in list::lsub(reference, pattern, &entries) {
            list::write_line(self.wire.output(), "LSUB", &line, dialect);
            self.pump().await?;
        }
        Ok(Done::OK)
    }

    pub(crate) async fn status(&mut self, name: MailboxName, items: StatusItems) -> Result<Done, Failure> {
        let session = self.session_id()?;
        let mailbox = self.shared.store.ask(MailboxStatus { session, name }).await?;
        let dialect = self.session.dialect();
        let limit = self.shared.context.config().imap.max_message_size;
        response::status(self.wire.output(), &mailbox.name, items, &state(&mailbox, limit), dialect);
        Ok(Done::OK)
    }
}

pub(crate) fn state(mailbox: &Mailbox, append_limit: u64) -> MailboxState {
    MailboxState {
        id: mailbox.id,
        messages: mailbox.counts.total + mailbox.counts.deleted,
        unseen: mailbox.counts.unseen,
        deleted: mailbox.counts.deleted,
        size: mailbox.counts.size.0,
        uid_next: mailbox.uid_next,
        uid_validity: mailbox.uid_validity,
        mod_seq: mailbox.mod_seq,
        append_limit,
    }
}

pub(crate) fn entries(all: &Mailboxes) -> Vec<Entry<'_>> {
    let mailboxes = all.mailboxes.iter().map(|mailbox| Entry {
        name: mailbox.name.as_str(),
        exists: true,
        subscribed: mailbox.subscribed,
        uses: mailbox.special_use,
    });
    let others = all.subscribed_only.iter().map(|name| Entry {
        name: name.as_str(),
        exists: false,
        subscribed: true,
        uses: SpecialUses::NONE,
    });
    mailboxes.chain(others).collect()
}
