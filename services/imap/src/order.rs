//! SORT, THREAD and ESEARCH: what was found, put in order, grouped, or looked for in several mailboxes.
//!
//! Law: RFC 5256, RFC 5957, RFC 7377; rows IM-36, IM-50, TR-34.

use crate::connection::{Connection, Done};
use crate::error::Failure;
use libmox_imap::command::{By, MailboxFilter, SearchKey, SearchReturn, SortKey, Threading};
use libmox_imap::response::Code;
use libmox_imap::sort::{Ranked, needs_envelope};
use libmox_imap::thread::{Threaded, Threads};
use libmox_message::envelope_in;
use libmox_store::{Item, Mailbox, MessageList, ReferenceList, Request, Want};
use libmox_types::{MailboxId, ModSeq, Uid, UidSet};

impl Connection {
    pub(crate) async fn sort(
        &mut self,
        by: By,
        returns: Option<SearchReturn>,
        order: &[SortKey],
        key: &SearchKey,
    ) -> Result<Done, Failure> {
        let mailbox = self.mailbox_id()?;
        let key = &self.with_filters(key.clone()).await?;
        let Some(selected) = self.session.mailbox() else { return Ok(Done::OK) };
        let (found, mut mod_seqs) = self.find(mailbox, selected.view.present(), key).await?;
        let sorted = self.in_order(found, order).await?;
        if let (Some(mod_seqs), Some(returns)) = (&mut mod_seqs, returns)
            && (returns.min || returns.max)
            && let (Some(first), Some(last)) = (sorted.first(), sorted.last())
        {
            // RFC 7162 §3.1.10: those of the messages that are named.
            let (first, last) =
                (self.mod_seq_of(mailbox, *first).await?, self.mod_seq_of(mailbox, *last).await?);
            mod_seqs.put_in_order(first, last);
        }
        self.session.sorted(by, returns, &sorted, mod_seqs, self.wire.output());
        if returns.is_some_and(|returns| returns.update) {
            let (key, order) = (key.clone(), Some(order.to_vec()));
            self.session.keep_context(by, key, order, sorted, self.wire.output());
        }
        Ok(Done::OK)
    }

    /// Tells how results that are kept up to date changed with these messages. RFC 5267 §4.3.
    pub(crate) async fn update_contexts(&mut self, touched: &UidSet) -> Result<(), Failure> {
        let mailbox = self.mailbox_id()?;
        let contexts =
            self.session.mailbox().map(|selected| selected.contexts().to_vec()).unwrap_or_default();
        for (at, context) in contexts.iter().enumerate() {
            let Some(selected) = self.session.mailbox() else { return Ok(()) };
            let among = touched.intersection(&selected.view.present());
            if among.is_empty() {
                return Ok(());
            }
            let (now, _) = self.find(mailbox, among.clone(), &context.key).await?;
            let before = context.result();
            let mut left = among.intersection(&before);
            left.subtract(&now);
            let mut came = now;
            came.subtract(&before);
            let order = match &context.order {
                Some(order) if !came.is_empty() => {
                    let mut all = before;
                    all.subtract(&left);
                    all.extend(&came);
                    Some(self.in_order(all, order).await?)
                }
                _ => None,
            };
            let Self { session, wire, .. } = self;
            if let Some(selected) = session.mailbox_mut() {
                selected.take_from_context(at, &left, wire.output());
                // What went while it was put in order is not in it.
                if let Some(order) = &order {
                    let there: UidSet = order.iter().copied().collect();
                    came = came.intersection(&there);
                }
                selected.add_to_context(at, &came, order, wire.output());
            }
        }
        Ok(())
    }

    async fn mod_seq_of(&self, mailbox: MailboxId, uid: Uid) -> Result<ModSeq, Failure> {
        let (session, uids) = (self.session_id()?, [uid].into_iter().collect());
        let list = MessageList { session, mailbox, uids, changed_since: None, want: Want::default() };
        let mut items = self.shared.store.stream(Request::MessageList(list)).await?;
        // Of one that went this moment nothing is known.
        let mut mod_seq = ModSeq::default();
        while let Some(item) = items.next().await {
            if let Item::Messages(records) = item? {
                mod_seq = records.first().map_or(mod_seq, |record| record.mod_seq);
            }
        }
        Ok(mod_seq)
    }

    /// Messages of the open mailbox in an order.
    async fn in_order(&self, uids: UidSet, order: &[SortKey]) -> Result<Vec<Uid>, Failure> {
        if uids.is_empty() {
            return Ok(Vec::new());
        }
        let (session, mailbox) = (self.session_id()?, self.mailbox_id()?);
        let want = Want { structure: needs_envelope(order), preview: false };
        let list = MessageList { session, mailbox, uids, changed_since: None, want };
        let mut items = self.shared.store.stream(Request::MessageList(list)).await?;
        let mut ranked = Vec::new();
        while let Some(item) = items.next().await {
            let Item::Messages(records) = item? else { continue };
            for record in &records {
                let envelope = if want.structure { envelope_in(&record.structure) } else { None };
                ranked.push(Ranked::new(record.uid, record.received, record.size.0, envelope, order));
            }
        }
        ranked.sort_by(|a, b| a.compare(b, order));
        Ok(ranked.into_iter().map(|ranked| ranked.uid).collect())
    }

    pub(crate) async fn thread(&mut self, by: By, how: Threading, key: &SearchKey) -> Result<Done, Failure> {
        let (session, mailbox) = (self.session_id()?, self.mailbox_id()?);
        let key = &self.with_filters(key.clone()).await?;
        let Some(selected) = self.session.mailbox() else { return Ok(Done::OK) };
        let (uids, _) = self.find(mailbox, selected.view.present(), key).await?;
        let mut messages = Vec::new();
        if !uids.is_empty() {
            let list = ReferenceList { session, mailbox, uids };
            let mut items = self.shared.store.stream(Request::ReferenceList(list)).await?;
            while let Some(item) = items.next().await {
                let Item::References(some) = item? else { continue };
                messages.extend(some.into_iter().map(|message| Threaded {
                    uid: message.uid,
                    sent: message.sent,
                    base_subject: message.base_subject,
                    answer: message.answer,
                    message_id: Some(message.message_id).filter(|id| !id.is_empty()),
                    references: message.references,
                }));
            }
        }
        let threads = match how {
            Threading::OrderedSubject => Threads::by_subject(messages),
            Threading::References => Threads::by_references(&messages),
        };
        self.session.threaded(by, &threads, self.wire.output());
        Ok(Done::OK)
    }

    pub(crate) async fn esearch(
        &mut self,
        sources: &[MailboxFilter],
        returns: SearchReturn,
        key: &SearchKey,
        elsewhere: &SearchKey,
    ) -> Result<Done, Failure> {
        let (key, elsewhere) =
            (&self.with_filters(key.clone()).await?, &self.with_filters(elsewhere.clone()).await?);
        let all = libmox_store::mailboxes(&self.shared.store, self.session_id()?).await?.mailboxes;
        let open = self.session.mailbox().map(|selected| selected.id);
        let here = sources.contains(&MailboxFilter::Selected);
        let mut kept = false;
        for mailbox in &all {
            let is_open = open == Some(mailbox.id);
            let named = sources.iter().any(|source| source.takes(mailbox.name.as_str(), mailbox.subscribed));
            if !(named || here && is_open) {
                continue;
            }
            match self.search_one(mailbox, is_open, returns, if is_open { key } else { elsewhere }).await {
                // Gone this moment.
                Err(Failure::No(Some(Code::NonExistent), _)) => {}
                other => other?,
            }
            kept |= is_open;
            self.pump().await?;
        }
        if returns.update && !kept {
            self.session.keeps_no_context(self.wire.output());
        }
        Ok(Done::OK)
    }

    async fn search_one(
        &mut self,
        mailbox: &Mailbox,
        is_open: bool,
        returns: SearchReturn,
        key: &SearchKey,
    ) -> Result<(), Failure> {
        let uids = match self.session.mailbox() {
            Some(selected) if is_open => selected.view.present(),
            _ => self.uids_in(mailbox).await?,
        };
        // A set of uids means those of each mailbox; numbers mean nothing outside the open one.
        let last = uids.last().unwrap_or_default();
        let key = if is_open { key.clone() } else { key.clone().resolve_uids(last) };
        let (found, mod_seqs) = self.find(mailbox.id, uids, &key).await?;
        if is_open {
            self.session.keep_found(returns, &found);
        }
        let out = self.wire.output();
        self.session.found_in(&mailbox.name, mailbox.uid_validity, returns, &found, mod_seqs, out);
        if is_open && returns.update {
            self.session.keep_context(By::Uid, key, None, found.iter().collect(), self.wire.output());
        }
        Ok(())
    }

    async fn uids_in(&self, mailbox: &Mailbox) -> Result<UidSet, Failure> {
        let list = MessageList {
            session: self.session_id()?,
            mailbox: mailbox.id,
            uids: UidSet::all(),
            changed_since: None,
            want: Want::default(),
        };
        let mut items = self.shared.store.stream(Request::MessageList(list)).await?;
        let mut uids = UidSet::new();
        while let Some(item) = items.next().await {
            if let Item::Messages(records) = item? {
                records.iter().for_each(|record| uids.insert(record.uid));
            }
        }
        Ok(uids)
    }
}
