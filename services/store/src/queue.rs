//! Mail on its way out. The states are told in `libmox_store::QueueAdd`'s module; here is how they are kept.
//!
//! Every change runs under the queue's lock (after the locks of accounts, where both are needed). The key `D` of an
//! entry is there exactly while the entry is not held. The message's record counts its entries; with the last one
//! go prefix and file.

mod here;
mod hold;

use crate::accounts::publish;
use crate::directory::{Destination, SendingLimits};
use crate::engine::{FileName, Tx};
use crate::keys;
use crate::limits::{DSN_PARAMETER_OCTETS, DUE_LOOKED_AT, MESSAGE_ID_OCTETS, PAGE_OCTETS, RECIPIENTS};
use crate::outgoing::note_sent;
use crate::records::{
    self, Cold, QueueMessage, QueueRecord, QueueState, Read, delete_blob, encode, put_blob,
};
use crate::retired::{self, Leaving};
use crate::store::{Given, Peer, Session, Store, check_prefix};
use crate::writer::{Arrival, NewMessage, Writer};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use libmox_ipc::{Answer, OnceKey};
use libmox_store::{
    Content, Due, EXTRA_OCTETS, Fault, Item, Marks, Needs, Outcome, QueueAdd, QueueAttempt, QueueDue,
    QueueEntry, QueueRecipient, QueueResult, Report, StoreContract, Wishes,
};
use libmox_types::{
    AccountId, Address, ByteCount, Cid, Flags, LocalPart, MailboxId, QueueId, ReversePath, Timestamp,
};
use std::collections::HashSet;
use std::ops::{Bound, ControlFlow};
use std::os::fd::OwnedFd;

/// Characters kept of what a server said.
pub const LAST_OCTETS: usize = 2048;
/// Entries in one reply.
const PAGE: usize = 1000;

/// The queue within a change.
struct Queue<'a> {
    tx: &'a mut Tx,
    state: QueueState,
}

/// What all entries of a new message share.
struct NewQueued<'a> {
    cid: Cid,
    account: AccountId,
    account_name: &'a str,
    mail_from: ReversePath,
    header_from: Option<Address>,
    prefix: &'a [u8],
    file: u64,
    needs: Needs,
    message_id: String,
    release: Timestamp,
    wishes: Wishes,
    /// Senders of their own, one for each recipient; or none at all.
    senders: Vec<Address>,
}

fn file(id: QueueId) -> FileName {
    FileName { owner: 0, id: id.0 }
}

impl<'a> Queue<'a> {
    fn open(tx: &'a mut Tx) -> Result<Self, Fault> {
        let state =
            tx.record(keys::QUEUE)?.unwrap_or(QueueState { next: QueueId(1), ..QueueState::default() });
        Ok(Self { tx, state })
    }

    fn finish(self) {
        self.tx.change().put(keys::QUEUE, encode(&self.state));
    }

    fn add(
        &mut self,
        new: &NewQueued<'_>,
        recipients: &[QueueRecipient],
        given: &Given,
        now: Timestamp,
    ) -> Result<Vec<QueueId>, Fault> {
        let message = self.state.next;
        let rules = hold::rules(self.tx)?;
        let prefix = u32::try_from(new.prefix.len()).map_err(|_| Fault::BadSize)?;
        let shared = QueueMessage {
            cid: new.cid,
            account: new.account,
            account_name: new.account_name.to_owned(),
            mail_from: new.mail_from.clone(),
            header_from: new.header_from.clone(),
            queued: now,
            size: ByteCount(new.file + u64::from(prefix)),
            prefix,
            needs: new.needs,
            message_id: cut(&new.message_id, MESSAGE_ID_OCTETS),
            entries: u32::try_from(recipients.len()).unwrap_or(u32::MAX),
            wishes: new.wishes.clone(),
        };
        let mut ids = Vec::with_capacity(recipients.len());
        for (at, recipient) in recipients.iter().enumerate() {
            let id = self.state.next;
            self.state.next = QueueId(id.0 + 1);
            self.state.entries += 1;
            let mut entry = QueueRecord {
                message,
                recipient: recipient.clone(),
                next_attempt: new.release,
                attempts: 0,
                held: false,
                last: String::new(),
                mail_from: new.senders.get(at).cloned(),
            };
            entry.held = rules.iter().any(|(_, rule)| hold::fits(rule, &shared, &entry));
            if let Some(sender) = &entry.mail_from {
                self.tx.change().put(keys::unique_sender(new.account, sender), vec![]);
            }
            self.tx.change().put(keys::queue(id), encode(&entry));
            if entry.held {
                self.state.held += 1;
            } else {
                self.tx.change().put(keys::due(new.release, id), vec![]);
            }
            ids.push(id);
        }
        self.tx.change().put(keys::queue_message(message), encode(&shared));
        put_blob(self.tx, &keys::queue_prefix(message), new.prefix);
        let source = self.tx.change().source(given.source());
        self.tx.change().create(file(message), source);
        Ok(ids)
    }

    fn entry(&self, id: QueueId) -> Result<Option<QueueRecord>, Fault> {
        self.tx.record(&keys::queue(id))
    }

    /// Replaces an entry, keeping its due key and the counters right.
    fn replace(&mut self, id: QueueId, before: &QueueRecord, after: &QueueRecord) {
        if !before.held {
            self.tx.change().delete(keys::due(before.next_attempt, id));
        }
        if !after.held {
            self.tx.change().put(keys::due(after.next_attempt, id), vec![]);
        }
        match (before.held, after.held) {
            (false, true) => self.state.held += 1,
            (true, false) => self.state.held = self.state.held.saturating_sub(1),
            _ => {}
        }
        self.tx.change().put(keys::queue(id), encode(after));
    }

    fn remove(
        &mut self,
        id: QueueId,
        entry: &QueueRecord,
        leaving: impl FnOnce(&QueueMessage) -> Leaving<'a>,
    ) -> Result<(), Fault> {
        self.tx.change().delete(keys::queue(id));
        if entry.held {
            self.state.held = self.state.held.saturating_sub(1);
        } else {
            self.tx.change().delete(keys::due(entry.next_attempt, id));
        }
        self.state.entries = self.state.entries.saturating_sub(1);
        let key = keys::queue_message(entry.message);
        let mut message: QueueMessage = self.tx.record(&key)?.ok_or(Fault::Internal)?;
        retired::retire(self.tx, id, entry, &message, &leaving(&message));
        message.entries = message.entries.saturating_sub(1);
        if message.entries > 0 {
            self.tx.change().put(key, encode(&message));
            return Ok(());
        }
        self.tx.change().delete(key);
        delete_blob(self.tx, &keys::queue_prefix(entry.message))?;
        self.tx.change().erase(file(entry.message));
        Ok(())
    }
}

impl Store {
    /// Whether a session may send with an address, and why not (rows SU-03, SU-14).
    pub fn check_sender(&self, session: &Session, address: &Address) -> Result<(), Fault> {
        if self.directory().domains.get(&address.domain).is_some_and(|domain| domain.disabled) {
            return Err(Fault::SenderDisabled);
        }
        if self.may_send_as(session, address) { Ok(()) } else { Err(Fault::NotYours) }
    }

    /// Row SU-08: who signed in with an address that asks for it sends each copy from an address of its own, so that what
    /// comes back tells what it is about. `true`: the sender brought the id.
    fn senders(&self, session: &Session, request: &QueueAdd) -> Result<(Vec<Address>, bool), Fault> {
        let directory = self.directory();
        let asks = directory
            .accounts
            .get(&session.name)
            .is_some_and(|account| account.fromid_logins.contains(&session.login));
        let Some(sender) = request.mail_from.address().filter(|_| asks) else {
            return Ok((Vec::new(), false));
        };
        let separators = directory.domains.get(&sender.domain).map(|domain| domain.separators.clone());
        let separators = separators.unwrap_or_default();
        let Some(separator) = separators.first() else { return Ok((Vec::new(), false)) };
        let local = sender.local.as_str();
        if separators.iter().any(|separator| local.find(separator.as_str()).is_some_and(|at| at > 0)) {
            if request.recipients.len() != 1 {
                return Err(Fault::SenderUsed);
            }
            return Ok((vec![sender.clone()], true));
        }
        let unique = request.recipients.iter().map(|_| {
            let id = URL_SAFE_NO_PAD.encode(crate::secrets::random(FROM_ID_OCTETS));
            let local = LocalPart::new(&format!("{local}{separator}{id}")).map_err(|_| Fault::Internal)?;
            Ok(Address { local, domain: sender.domain.clone() })
        });
        Ok((unique.collect::<Result<_, Fault>>()?, false))
    }

    /// Whether a session may send with an address.
    pub fn may_send_as(&self, session: &Session, address: &Address) -> bool {
        (session.local && *address == session.login) || self.directory().may_send_as(&session.name, address)
    }

    /// Queues a message for all its recipients.
    pub async fn queue_add(
        &self,
        peer: &Peer,
        session: &Session,
        request: QueueAdd,
        once: Option<OnceKey>,
    ) -> Result<Vec<QueueId>, Fault> {
        if request.recipients.is_empty() || request.recipients.len() > RECIPIENTS {
            return Err(Fault::Invalid("number of recipients".into()));
        }
        check_prefix(&request.prefix)?;
        for recipient in &request.recipients {
            if recipient.notify.len() > DSN_PARAMETER_OCTETS || recipient.orcpt.len() > DSN_PARAMETER_OCTETS {
                return Err(Fault::Invalid("recipient parameters too long".into()));
            }
        }
        for address in [request.mail_from.address(), request.header_from.as_ref()].into_iter().flatten() {
            self.check_sender(session, address)?;
        }
        check_wishes(&request.wishes)?;
        let (senders, brought) = self.senders(session, &request)?;
        let given = peer.body(&request.body).await?;
        let now = self.now();
        let new = NewQueued {
            cid: request.cid,
            account: session.account,
            account_name: &session.name,
            mail_from: request.mail_from,
            header_from: request.header_from,
            prefix: &request.prefix,
            file: given.size,
            needs: request.needs,
            message_id: request.facts.message_id,
            release: request.release.map_or(now, |release| release.max(now)),
            wishes: request.wishes,
            senders,
        };
        let limits = self.directory().accounts.get(&session.name).map(|account| account.sending);
        // What was sent is noted below the account, which must not be on its way out.
        let live = self.accounts.live(session.account);
        let account_lock = live.lock.lock().await;
        let add = |queue: &mut Queue<'_>| {
            if Store::is_under_way(queue.tx, once)? {
                return Ok(None);
            }
            queue.tx.get(&keys::account_record(session.account))?.ok_or(Fault::NoAccount)?;
            // Row SU-08: an id that the sender brought is used once.
            if brought && queue.tx.get(&keys::unique_sender(session.account, &new.senders[0]))?.is_some() {
                return Err(Fault::SenderUsed);
            }
            if let Some(limits) = limits {
                may_send_more(queue.tx, session.account, now, limits, &request.recipients)?;
            }
            let ids = queue.add(&new, &request.recipients, &given, now)?;
            let addresses = request.recipients.iter().map(|recipient| recipient.address.clone());
            let entries: Vec<_> = ids.iter().copied().zip(addresses).collect();
            note_sent(queue.tx, session.account, now, &entries)?;
            Store::keep_reply(queue.tx, once, &ids)?;
            Ok(Some(ids))
        };
        let ids = match self.queue_change_with(add, account_lock).await? {
            Some(ids) => ids,
            None => self.reply_under_way(once).await?,
        };
        peer.used(&request.body);
        Ok(ids)
    }

    /// Queues made-up mail of an account, for `mox gentestdata`.
    pub(crate) async fn queue_made_up(
        &self,
        (account, name, sender): (AccountId, &str, Address),
        recipients: &[QueueRecipient],
        bytes: Vec<u8>,
        now: Timestamp,
    ) -> Result<Vec<QueueId>, Fault> {
        let given = Given::inline(bytes);
        let new = NewQueued {
            cid: Cid(u64::from(account.0)),
            account,
            account_name: name,
            mail_from: ReversePath::Address(sender.clone()),
            header_from: Some(sender),
            prefix: b"",
            file: given.size,
            needs: Needs::default(),
            message_id: String::new(),
            release: now,
            wishes: Wishes::default(),
            senders: Vec::new(),
        };
        self.queue_change(|queue| queue.add(&new, recipients, &given, now)).await
    }

    async fn queue_change<T>(
        &self,
        compute: impl FnOnce(&mut Queue<'_>) -> Result<T, Fault> + Send,
    ) -> Result<T, Fault> {
        self.queue_change_with(compute, ()).await
    }

    /// The same under a lock that was taken before, given back once the change is submitted.
    async fn queue_change_with<T, L: Send>(
        &self,
        compute: impl FnOnce(&mut Queue<'_>) -> Result<T, Fault> + Send,
        held: L,
    ) -> Result<T, Fault> {
        let mut tx = self.engine.begin().await?;
        let lock = self.queue_lock.lock().await;
        retired::prune(&mut tx, self.now())?;
        let mut queue = Queue::open(&mut tx)?;
        let value = compute(&mut queue)?;
        queue.finish();
        self.announce_queue(&mut tx);
        let ticket = tx.submit()?;
        drop((lock, held));
        ticket.committed().await?;
        Ok(value)
    }

    /// How long what an account sent is kept, in seconds: a week where the account is gone.
    fn keep_retired(&self, account: &str) -> i64 {
        const WEEK: i64 = 7 * 24 * 3600;
        self.directory().accounts.get(account).map_or(WEEK, |account| account.keep_retired)
    }

    fn announce_queue(&self, tx: &mut Tx) {
        let changed = self.queue_changed.clone();
        tx.change().after(move |_| changed.send_modify(|count| *count += 1));
    }

    fn queue_entry(&self, id: QueueId, entry: QueueRecord) -> Result<Option<QueueEntry>, Fault> {
        // Gone between two reads.
        let Some(message) = self.engine.record::<QueueMessage>(&keys::queue_message(entry.message))? else {
            return Ok(None);
        };
        let sender = entry.sender(&message);
        Ok(Some(QueueEntry {
            id,
            message: entry.message,
            cid: message.cid,
            account: message.account,
            account_name: message.account_name,
            mail_from: sender,
            queued: message.queued,
            next_attempt: entry.next_attempt,
            attempts: entry.attempts,
            held: entry.held,
            last: entry.last,
            size: message.size,
            needs: message.needs,
            suppressed: self.is_suppressed(message.account, &entry.recipient.address)?,
            recipient: entry.recipient,
            message_id: message.message_id,
            wishes: message.wishes,
        }))
    }

    /// What is due.
    pub fn queue_due(&self, request: &QueueDue) -> Result<Due, Fault> {
        let busy: HashSet<_> = request.busy.iter().collect();
        let most = (request.most as usize).min(PAGE);
        let mut due = Due { entries: Vec::new(), next: None };
        let mut looked_at = Vec::new();
        keys::below(b"D", |range| {
            self.engine.visit(range, |key, _| {
                looked_at.extend(keys::due_parts(key));
                let later = looked_at.last().is_some_and(|(at, _)| *at > request.now);
                let enough = later || looked_at.len() > DUE_LOOKED_AT;
                if enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
        })?;
        let mut octets = 0;
        for (at, id) in looked_at {
            if at <= request.now && due.entries.len() < most && octets < PAGE_OCTETS {
                // Gone between two reads.
                let Some(entry) = self.engine.record::<QueueRecord>(&keys::queue(id))? else { continue };
                if !busy.contains(&entry.recipient.address.domain) {
                    octets += weight(&entry);
                    due.entries.extend(self.queue_entry(id, entry)?);
                    continue;
                }
            }
            due.next.get_or_insert(at);
        }
        Ok(due)
    }

    /// Attempts begin.
    pub async fn queue_attempt(&self, request: QueueAttempt) -> Result<Vec<QueueId>, Fault> {
        let attempt = |queue: &mut Queue<'_>| {
            let mut begun = Vec::new();
            for id in request.ids {
                let Some(before) = queue.entry(id)? else { continue };
                if before.held || begun.contains(&id) {
                    continue;
                }
                let mut after = before.clone();
                after.attempts += 1;
                after.next_attempt = request.next_attempt;
                queue.replace(id, &before, &after);
                begun.push(id);
            }
            Ok(begun)
        };
        self.queue_change(attempt).await
    }

    /// The content of a queued message.
    pub fn queue_open(&self, id: QueueId) -> Result<(Content, Vec<OwnedFd>), Fault> {
        let entry: QueueRecord = self.engine.record(&keys::queue(id))?.ok_or(Fault::NotFound)?;
        let prefix = self.engine.blob(&keys::queue_prefix(entry.message))?.unwrap_or_default();
        self.content(file(entry.message), prefix)
    }

    /// Attempts ended; a report goes out in the same change.
    pub async fn queue_result(&self, peer: &Peer, request: QueueResult) -> Result<(), Fault> {
        let given = match &request.report {
            Some(report) => {
                check_prefix(&report.prefix)?;
                Some((report, peer.body(&report.body).await?))
            }
            None => None,
        };
        let now = self.now();
        let mut tx = self.engine.begin().await?;
        let local = given.as_ref().and_then(|(report, _)| self.report_account(report));
        let live = local.as_ref().map(|(_, id)| self.accounts.live(*id));
        let account_lock = match &live {
            Some(live) => Some(live.lock.lock().await),
            None => None,
        };
        let lock = self.queue_lock.lock().await;
        let mut queue = Queue::open(&mut tx)?;
        let mut sender = None;
        for result in &request.results {
            let Some(before) = queue.entry(result.id)? else { continue };
            if sender.is_none() {
                sender = queue.tx.record::<QueueMessage>(&keys::queue_message(before.message))?;
            }
            match result.outcome {
                Outcome::Delivered | Outcome::Failed => {
                    let delivered = result.outcome == Outcome::Delivered;
                    queue.remove(result.id, &before, |message| Leaving {
                        now,
                        delivered,
                        last: &result.text,
                        keep: self.keep_retired(&message.account_name),
                    })?;
                }
                Outcome::Later(at) => {
                    let mut after = before.clone();
                    after.next_attempt = at;
                    after.last = cut(&result.text, LAST_OCTETS);
                    queue.replace(result.id, &before, &after);
                }
            }
        }
        // A result that is told twice finds no entry the second time, and must not report twice either.
        let report = given.as_ref().filter(|_| sender.is_some() || request.results.is_empty());
        if let (Some((report, given)), None) = (report, &live) {
            self.report_out(&mut queue, report, given, sender.as_ref(), now)?;
        }
        queue.finish();
        if let (Some((report, given)), Some(live), Some((name, id))) = (report, &live, &local) {
            self.report_into(&mut tx, live, name, *id, report, given, now)?;
        }
        self.announce_queue(&mut tx);
        let ticket = tx.submit()?;
        drop((lock, account_lock));
        ticket.committed().await?;
        if let Some(report) = &request.report {
            peer.used(&report.body);
        }
        Ok(())
    }

    /// Queues a report to elsewhere, within a change of the queue.
    fn report_out(
        &self,
        queue: &mut Queue<'_>,
        report: &Report,
        given: &Given,
        about: Option<&QueueMessage>,
        now: Timestamp,
    ) -> Result<(), Fault> {
        if self.directory().resolve_address(&report.to) != Destination::Foreign {
            tracing::warn!(to = %report.to, "delivery report has nobody to go to");
            return Ok(());
        }
        let (account, account_name, cid) = about.map_or((AccountId(0), "", Cid(0)), |message| {
            (message.account, message.account_name.as_str(), message.cid)
        });
        let new = NewQueued {
            cid,
            account,
            account_name,
            mail_from: ReversePath::Null,
            header_from: None,
            // Fields of a local copy have no place in what goes out.
            prefix: &[],
            file: given.size,
            needs: Needs::default(),
            message_id: report.facts.message_id.clone(),
            release: now,
            wishes: Wishes::default(),
            senders: Vec::new(),
        };
        let to = QueueRecipient { address: report.to.clone(), notify: "NEVER".into(), orcpt: String::new() };
        queue.add(&new, &[to], given, now)?;
        Ok(())
    }

    /// Queues a report to elsewhere as part of a change; the caller holds the queue's lock.
    pub(crate) fn report_queued(&self, tx: &mut Tx, report: &Report, given: &Given) -> Result<(), Fault> {
        let mut queue = Queue::open(tx)?;
        self.report_out(&mut queue, report, given, None, self.now())?;
        queue.finish();
        self.announce_queue(tx);
        Ok(())
    }

    /// The account here that a report is for.
    pub(crate) fn report_account(&self, report: &Report) -> Option<(String, AccountId)> {
        match self.destination(&report.to) {
            Destination::Account(name, id) => Some((name, id)),
            _ => None,
        }
    }

    /// No quota for reports: a full account still learns that its mail did not arrive.
    #[expect(clippy::too_many_arguments, reason = "one caller; a struct would only rename them")]
    pub(crate) fn report_into(
        &self,
        tx: &mut Tx,
        live: &std::sync::Arc<crate::accounts::Live>,
        name: &str,
        id: AccountId,
        report: &Report,
        given: &Given,
        now: Timestamp,
    ) -> Result<(), Fault> {
        let mut writer = Writer::open(tx, id)?;
        let arrives_in = self.directory().arrives_in(name);
        let mailbox = match writer.find(&arrives_in)? {
            Some(mailbox) => mailbox,
            None => writer.create_mailbox(&arrives_in)?,
        };
        let new = NewMessage {
            flags: Flags::NONE,
            keywords: Vec::new(),
            received: now,
            saved: now,
            file: given.size,
            cold: Cold { prefix: report.prefix.clone(), facts: report.facts.clone(), origin: None },
            arrival: Arrival::Delivered,
            marks: Marks::NONE,
            destined: MailboxId(0),
        };
        let (message, _) = writer.add(mailbox, new)?;
        let name = writer.file(message);
        let happened = writer.finish();
        let source = tx.change().source(given.source());
        tx.change().create(name, source);
        publish(tx, live, None, happened);
        Ok(())
    }

    /// Entries by id.
    pub fn queue_list(&self, after: QueueId, most: u32) -> Result<Vec<QueueEntry>, Fault> {
        let mut page: Vec<(QueueId, QueueRecord)> = Vec::new();
        let from = keys::queue(after);
        let mut outcome = Ok(());
        let mut octets = 0;
        let end = keys::behind(b"Q").unwrap_or_default();
        let range = (Bound::Excluded(from.as_slice()), Bound::Excluded(end.as_slice()));
        let most = (most as usize).min(PAGE);
        if most == 0 {
            return Ok(Vec::new());
        }
        self.engine.visit(range, |key, value| {
            match (keys::last_id(key), records::decode(key, value)) {
                (Some(id), Ok(entry)) => {
                    octets += weight(&entry);
                    page.push((QueueId(id), entry));
                }
                (_, Err(error)) => outcome = Err(Fault::from(error)),
                (None, _) => {}
            }
            let more = outcome.is_ok() && page.len() < most && octets < PAGE_OCTETS;
            if more { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        outcome?;
        let entries: Result<Vec<_>, Fault> =
            page.into_iter().map(|(id, entry)| self.queue_entry(id, entry)).collect();
        Ok(entries?.into_iter().flatten().collect())
    }

    /// Makes entries due now; all of them if none are named.
    pub async fn queue_kick(&self, ids: Vec<QueueId>) -> Result<u32, Fault> {
        let now = self.now();
        if !ids.is_empty() {
            return self.queue_kick_some(ids, now).await;
        }
        let mut kicked = 0;
        let mut after = QueueId(0);
        loop {
            let ids = self.engine_ids_after(after)?;
            let Some(last) = ids.last() else { return Ok(kicked) };
            after = *last;
            kicked += self.queue_kick_some(ids, now).await?;
        }
    }

    fn engine_ids_after(&self, after: QueueId) -> Result<Vec<QueueId>, Fault> {
        let (from, end) = (keys::queue(after), keys::behind(b"Q").unwrap_or_default());
        let mut ids = Vec::new();
        self.engine.visit(
            (Bound::Excluded(from.as_slice()), Bound::Excluded(end.as_slice())),
            |key, _| {
                ids.extend(keys::last_id(key).map(QueueId));
                if ids.len() < PAGE { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            },
        )?;
        Ok(ids)
    }

    async fn queue_kick_some(&self, ids: Vec<QueueId>, now: Timestamp) -> Result<u32, Fault> {
        let kick = |queue: &mut Queue<'_>| {
            let mut kicked = 0;
            for id in ids {
                let Some(before) = queue.entry(id)? else { continue };
                if before.held {
                    continue;
                }
                let after = QueueRecord { next_attempt: now, ..before.clone() };
                queue.replace(id, &before, &after);
                kicked += 1;
            }
            Ok(kicked)
        };
        self.queue_change(kick).await
    }

    /// Removes entries without a report.
    pub async fn queue_drop(&self, ids: Vec<QueueId>) -> Result<u32, Fault> {
        let now = self.now();
        let drop = |queue: &mut Queue<'_>| {
            let mut dropped = 0;
            for id in ids {
                if let Some(entry) = queue.entry(id)? {
                    queue.remove(id, &entry, |message| Leaving {
                        now,
                        delivered: false,
                        last: "dropped",
                        keep: self.keep_retired(&message.account_name),
                    })?;
                    dropped += 1;
                }
            }
            Ok(dropped)
        };
        self.queue_change(drop).await
    }

    /// Holds or releases entries.
    pub async fn queue_hold(&self, ids: Vec<QueueId>, held: bool) -> Result<u32, Fault> {
        let hold = |queue: &mut Queue<'_>| {
            let mut changed = 0;
            for id in ids {
                let Some(before) = queue.entry(id)? else { continue };
                if before.held != held {
                    let after = QueueRecord { held, ..before.clone() };
                    queue.replace(id, &before, &after);
                    changed += 1;
                }
            }
            Ok(changed)
        };
        self.queue_change(hold).await
    }

    /// Hints, merged while nobody reads them.
    pub async fn queue_watch(&self, answer: Answer<StoreContract>) {
        let mut stream = answer.stream();
        let mut changed = self.queue_changed.subscribe();
        loop {
            tokio::select! {
                outcome = changed.changed() => {
                    if outcome.is_err() || stream.send(&Item::QueueChanged).await.is_err() {
                        return;
                    }
                }
                () = stream.unwanted() => return,
            }
        }
    }

    /// Counters of the queue.
    pub fn queue_state(&self) -> Result<QueueState, Fault> {
        Ok(self.engine.record(keys::QUEUE)?.unwrap_or_default())
    }
}

/// Random octets of an envelope sender made for one message.
const FROM_ID_OCTETS: usize = 16;

/// Limits of what rides beside a message.
fn check_wishes(wishes: &Wishes) -> Result<(), Fault> {
    let extra: usize = wishes.extra.iter().map(|(name, value)| name.len() + value.len()).sum();
    let texts = [&wishes.ret, &wishes.envelope_id, &wishes.future_release];
    if extra > EXTRA_OCTETS || texts.iter().any(|text| text.len() > DSN_PARAMETER_OCTETS) {
        return Err(Fault::Invalid("parameters too long".into()));
    }
    Ok(())
}

/// Row SU-04: recipients of the last 24 hours, and of them those that the account never wrote to before.
fn may_send_more(
    tx: &Tx,
    account: AccountId,
    now: Timestamp,
    limits: SendingLimits,
    recipients: &[QueueRecipient],
) -> Result<(), Fault> {
    let since = now.plus(-24 * 3600);
    let sent = crate::outgoing::sent_lately(tx, account, since)?;
    let all = sent.recipients.saturating_add(u32::try_from(recipients.len()).unwrap_or(u32::MAX));
    if all > limits.messages {
        return Err(Fault::Limit("max-outgoing-messages-per-day of the account".into()));
    }
    let is_new = |address: &Address| -> Result<bool, Fault> {
        let wrote = crate::outgoing::wrote(tx, account, address)?;
        Ok(!sent.addresses.contains(address) && wrote.is_none_or(|(first, _)| first >= since))
    };
    let mut new = HashSet::new();
    for recipient in recipients {
        if is_new(&recipient.address)? {
            new.insert(&recipient.address);
        }
    }
    if new.is_empty() {
        return Ok(());
    }
    let mut first_time = new.len();
    for address in &sent.addresses {
        let before = crate::outgoing::wrote(tx, account, address)?.is_some_and(|(first, _)| first < since);
        first_time += usize::from(!before);
    }
    if first_time > limits.first_time as usize {
        return Err(Fault::Limit("max-first-time-recipients-per-day of the account".into()));
    }
    Ok(())
}

/// Roughly the octets of an entry in a reply: addresses and Message-ID have their limits.
fn weight(entry: &QueueRecord) -> usize {
    1024 + entry.last.len() + entry.recipient.notify.len() + entry.recipient.orcpt.len()
}

/// The front of a text.
pub fn cut(text: &str, most: usize) -> String {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}
