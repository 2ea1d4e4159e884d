//! STORE, COPY, MOVE, EXPUNGE and CLOSE.

use crate::connection::{Connection, Done};
use crate::error::Failure;
use crate::watch::OwnFlags;
use libmox_imap::command::{By, FlagChange};
use libmox_imap::response::{self, Code, Status, write_to};
use libmox_store::{Copy, CopyAll, Expunge, FlagsChange, FlagsHow, Item, MessageList, Request, Want};
use libmox_types::{MailboxId, MailboxName, ModSeq, UidSet};

/// A set named messages that are gone. RFC 2180 §4.1.2, RFC 5530.
pub(crate) const GONE: &str = "some messages are gone";

impl Connection {
    pub(crate) fn mailbox_id(&self) -> Result<MailboxId, Failure> {
        // The session asks for messages only while a mailbox is selected.
        self.session.mailbox().map(|selected| selected.id).ok_or(Failure::Bad("select a mailbox first"))
    }

    pub(crate) async fn store(
        &mut self,
        uids: UidSet,
        change: FlagChange,
        silent: bool,
        unchanged_since: Option<ModSeq>,
        by: By,
        mut missing: bool,
    ) -> Result<Done, Failure> {
        let (how, list) = match change {
            FlagChange::Replace(list) => (FlagsHow::Replace, list),
            FlagChange::Add(list) => (FlagsHow::Add, list),
            FlagChange::Remove(list) => (FlagsHow::Remove, list),
        };
        let (session, mailbox) = (self.session_id()?, self.mailbox_id()?);
        let mut modified = UidSet::new();
        if !uids.is_empty() {
            let verb = FlagsChange {
                session,
                mailbox,
                uids: uids.clone(),
                how,
                flags: list.flags,
                keywords: list.keywords,
                unchanged_since,
            };
            let changed = self.shared.store.ask(verb).await?;
            self.see_change(changed.change, OwnFlags::Known).await?;
            modified = changed.modified;
            let mut told = uids;
            told.subtract(&modified);
            let mut gone = told.clone();
            if !silent {
                gone.subtract(&self.write_flags(&told).await?);
                if let Some(selected) = self.session.mailbox_mut() {
                    selected.view.forget_flags(&told);
                }
            } else if self.session.enabled().condstore {
                // RFC 7162 §3.1.3: the modseq is told even where the flags are not.
                gone.subtract(&self.write_mod_seqs(&told).await?);
            } else {
                // RFC 2180 §4.2.3: who does not ask what became of them is not told that they went.
                gone = UidSet::new();
            }
            missing |= self.went_meanwhile(&gone).await? && by == By::Seq;
        }
        if missing {
            return Err(Failure::no(Code::ExpungeIssued, GONE));
        }
        if modified.is_empty() {
            return Ok(Done::OK);
        }
        if by == By::Seq
            && let Some(selected) = self.session.mailbox()
        {
            modified = selected.view.numbers_of(&modified);
        }
        Ok(Done {
            status: Status::Ok,
            code: Some(Code::Modified(modified)),
            text: "some were changed meanwhile",
        })
    }

    /// Whether some messages went that the session took to be there; then it hears of them before it goes on.
    async fn went_meanwhile(&mut self, gone: &UidSet) -> Result<bool, Failure> {
        if !gone.is_empty() {
            self.poll().await?;
        }
        Ok(!gone.is_empty())
    }

    /// Says which of them there are.
    async fn write_mod_seqs(&mut self, uids: &UidSet) -> Result<UidSet, Failure> {
        let list = MessageList {
            session: self.session_id()?,
            mailbox: self.mailbox_id()?,
            uids: uids.clone(),
            changed_since: None,
            want: Want::default(),
        };
        let mut there = UidSet::new();
        let mut items = self.shared.store.stream(Request::MessageList(list)).await?;
        while let Some(item) = items.next().await {
            let Item::Messages(records) = item? else { continue };
            for record in records {
                there.insert(record.uid);
                let number = self.session.mailbox().and_then(|selected| selected.view.number(record.uid));
                if let Some(number) = number {
                    let (uid, mod_seq) = (record.uid, record.mod_seq.0.max(1));
                    let style = self.session.style();
                    response::fetch_head(self.wire.output(), style, number, uid);
                    write_to(self.wire.output(), format_args!("UID {uid} MODSEQ ({mod_seq}))\r\n"));
                }
            }
            self.pump().await?;
        }
        Ok(there)
    }

    pub(crate) async fn copy(
        &mut self,
        uids: UidSet,
        to: MailboxName,
        take: bool,
        by: By,
        missing: bool,
    ) -> Result<Done, Failure> {
        if missing {
            // RFC 2180 §4.4.1: all or none.
            return Err(Failure::no(Code::ExpungeIssued, GONE));
        }
        if uids.is_empty() {
            return Ok(Done { text: "no such messages", ..Done::OK });
        }
        let mut gone = uids.clone();
        let verb = Copy { session: self.session_id()?, mailbox: self.mailbox_id()?, uids, to, take };
        let copied = match by {
            // RFC 9051 §6.4.9: uids of nothing are passed over.
            By::Uid => self.shared.store.ask(verb).await,
            // RFC 9051 §6.4.7: what cannot be done whole leaves the other mailbox as it was.
            By::Seq => self.shared.store.ask(CopyAll(verb)).await,
        };
        let placed = match copied.map_err(|error| Failure::from(error).try_create()) {
            Err(Failure::No(Some(Code::ExpungeIssued), _)) => {
                self.poll().await?;
                return Err(Failure::no(Code::ExpungeIssued, GONE));
            }
            placed => placed?,
        };
        self.see_change(placed.change, OwnFlags::Tell).await?;
        gone.subtract(&placed.from.iter().copied().collect());
        self.went_meanwhile(&gone).await?;
        if placed.to.is_empty() {
            return Ok(Done { text: "no such messages", ..Done::OK });
        }
        let code = Code::CopyUid(
            placed.uid_validity,
            placed.from.into_iter().collect(),
            placed.to.into_iter().collect(),
        );
        if take {
            // RFC 6851 §4.3: before the first EXPUNGE.
            response::untagged(self.wire.output(), Status::Ok, Some(&code), "moved");
            // RFC 6851 §4.4: as after EXPUNGE.
            if self.session.enabled().qresync
                && let Some(selected) = self.session.mailbox()
            {
                return Ok(Done::with(Code::HighestModSeq(selected.mod_seq)));
            }
            return Ok(Done::OK);
        }
        Ok(Done::with(code))
    }

    pub(crate) async fn expunge(&mut self, uids: Option<UidSet>) -> Result<Done, Failure> {
        if uids.as_ref().is_some_and(UidSet::is_empty) {
            return Ok(Done::OK);
        }
        let verb = Expunge { session: self.session_id()?, mailbox: self.mailbox_id()?, uids };
        let expunged = self.shared.store.ask(verb).await?;
        self.see_change(expunged.change, OwnFlags::Tell).await?;
        // RFC 7162 §3.1.2.1: a client that speaks of modseqs learns the one of the removal.
        if expunged.change > 0 && self.session.enabled().condstore {
            return Ok(Done::with(Code::HighestModSeq(expunged.mod_seq)));
        }
        Ok(Done::OK)
    }

    pub(crate) async fn close_expunge(&mut self, mailbox: MailboxId) -> Result<Done, Failure> {
        self.watching = None;
        let verb = Expunge { session: self.session_id()?, mailbox, uids: None };
        match self.shared.store.ask(verb).await.map_err(Failure::from) {
            // Deleted meanwhile: closed all the same.
            Err(Failure::No(Some(Code::NonExistent), _)) | Ok(_) => Ok(Done::OK),
            Err(failure) => Err(failure),
        }
    }
}
