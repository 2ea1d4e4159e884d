//! From the queue into accounts of this store, in one change: neither DNS nor a connection is needed.
//!
//! A message is delivered and out of the queue, or neither. The file is linked, not copied.

use super::{Queue, file};
use crate::accounts::{Live, publish};
use crate::directory::Destination;
use crate::engine::{FileName, Source, Tx};
use crate::keys;
use crate::limits::RECIPIENTS;
use crate::records::{Cold, Origin, QueueMessage, QueueRecord, Read};
use crate::retired::Leaving;
use crate::store::{Store, check_prefix};
use crate::writer::{Arrival, NewMessage, Writer};
use libmox_store::{DeliverInto, DeliveredHere, Fault, Marks, QueueDeliver, RecipientPath, Stored, Verdict};
use libmox_types::{AccountId, Address, Flags, MailboxId, QueueId};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// An entry on its way into an account.
struct Here {
    /// Place in the request.
    at: usize,
    id: QueueId,
    entry: QueueRecord,
}

impl Store {
    /// Where a queued message or a report goes.
    pub(super) fn destination(&self, to: &Address) -> Destination {
        let directory = self.directory();
        match directory.resolve_address(to) {
            // A user of this machine without an account: the postmaster hears of it.
            Destination::Nobody if directory.is_host(&to.domain) => {
                directory.resolve(&RecipientPath::Postmaster)
            }
            other => other,
        }
    }

    /// See [`QueueDeliver`].
    pub async fn queue_deliver(&self, request: QueueDeliver) -> Result<Vec<DeliveredHere>, Fault> {
        if request.entries.is_empty() || request.entries.len() > RECIPIENTS {
            return Err(Fault::Invalid("number of entries".into()));
        }
        for entry in &request.entries {
            check_prefix(&entry.prefix)?;
        }
        let mut results = vec![DeliveredHere::Gone; request.entries.len()];
        let mut shared: Option<(QueueId, QueueMessage)> = None;
        // Locks are always taken in this order, so two deliveries never wait for each other.
        let mut by_account: BTreeMap<AccountId, (String, Vec<Here>)> = BTreeMap::new();
        for (at, asked) in request.entries.iter().enumerate() {
            let Some(entry) = self.engine.record::<QueueRecord>(&keys::queue(asked.id))? else { continue };
            let message = match &shared {
                Some((id, message)) if *id == entry.message => message,
                Some(_) => return Err(Fault::Invalid("entries of two messages".into())),
                None => {
                    let key = keys::queue_message(entry.message);
                    // Gone between two reads.
                    let Some(message) = self.engine.record(&key)? else { continue };
                    &shared.insert((entry.message, message)).1
                }
            };
            let mut destination = self.destination(&entry.recipient.address);
            if destination == Destination::Foreign && request.into == DeliverInto::RecipientOrSender {
                destination = Destination::Account(message.account_name.clone(), message.account);
            }
            match destination {
                Destination::Account(name, account) => {
                    let here = Here { at, id: asked.id, entry };
                    by_account.entry(account).or_insert_with(|| (name, Vec::new())).1.push(here);
                }
                // Rows SR-12, SR-13, for people here who write to a list.
                Destination::List(alias) => {
                    let directory = self.directory();
                    let from = message.header_from.as_ref();
                    if !directory.may_post(&alias, from) {
                        results[at] = DeliveredHere::UnknownUser;
                        continue;
                    }
                    for member in directory.readers(&alias, from) {
                        if let Destination::Account(name, account) = directory.resolve_address(&member) {
                            let here = Here { at, id: asked.id, entry: entry.clone() };
                            by_account.entry(account).or_insert_with(|| (name, Vec::new())).1.push(here);
                        }
                    }
                }
                Destination::Nobody => results[at] = DeliveredHere::UnknownUser,
                Destination::Disabled => results[at] = DeliveredHere::Disabled,
                Destination::Foreign => results[at] = DeliveredHere::Foreign,
            }
        }
        if let (Some((id, message)), false) = (shared, by_account.is_empty()) {
            self.queue_into(&request, id, &message, by_account, &mut results).await?;
        }
        Ok(results)
    }

    async fn queue_into(
        &self,
        request: &QueueDeliver,
        id: QueueId,
        message: &QueueMessage,
        by_account: BTreeMap<AccountId, (String, Vec<Here>)>,
        results: &mut [DeliveredHere],
    ) -> Result<(), Fault> {
        let mut tx = self.engine.begin().await?;
        let lives: Vec<_> = by_account.keys().map(|id| self.accounts.live(*id)).collect();
        let mut locks = Vec::with_capacity(lives.len());
        for live in &lives {
            locks.push(live.lock.lock().await);
        }
        let queue_lock = self.queue_lock.lock().await;
        let queued_prefix = tx.blob(&keys::queue_prefix(id))?.unwrap_or_default();
        let mut done = Vec::new();
        let mut source = None;
        for (live, (name, mut all)) in lives.iter().zip(by_account.into_values()) {
            // Seen with everything in flight: somebody may have dropped it, or held it, or delivered it just now.
            let mut still = Vec::with_capacity(all.len());
            for here in all.drain(..) {
                let now: Option<QueueRecord> = tx.record(&keys::queue(here.id))?;
                still.extend(now.filter(|entry| !entry.held).map(|entry| Here { entry, ..here }));
            }
            let Some(first) = still.first() else { continue };
            let prefix = [&request.entries[first.at].prefix[..], &queued_prefix].concat();
            let result = match self.add_queued(&mut tx, live, &name, request, message, first, prefix) {
                Ok((stored, file_name)) => {
                    let change = tx.change();
                    let at = *source.get_or_insert_with(|| change.source(Source::Existing(file(id))));
                    change.create(file_name, at);
                    DeliveredHere::Stored(stored)
                }
                Err(Fault::OverQuota) => DeliveredHere::OverQuota,
                Err(Fault::NoAccount) => DeliveredHere::UnknownUser,
                Err(fault) => return Err(fault),
            };
            for here in still {
                // Of a list one is enough.
                if matches!(results[here.at], DeliveredHere::Stored(_)) {
                    continue;
                }
                results[here.at] = result;
                if matches!(result, DeliveredHere::Stored(_)) {
                    done.push((here.id, here.entry));
                }
            }
        }
        if done.is_empty() {
            return Ok(());
        }
        let now = self.now();
        let mut queue = Queue::open(&mut tx)?;
        for (id, entry) in &done {
            queue.remove(*id, entry, |message| Leaving {
                now,
                delivered: true,
                last: "delivered here",
                keep: self.keep_retired(&message.account_name),
            })?;
        }
        queue.finish();
        self.announce_queue(&mut tx);
        let ticket = tx.submit()?;
        drop((queue_lock, locks));
        ticket.committed().await?;
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "one caller; a struct would only rename them")]
    fn add_queued(
        &self,
        tx: &mut Tx,
        live: &Arc<Live>,
        name: &str,
        request: &QueueDeliver,
        message: &QueueMessage,
        first: &Here,
        prefix: Vec<u8>,
    ) -> Result<(Stored, FileName), Fault> {
        let body = message.size.0.saturating_sub(u64::from(message.prefix));
        let arrives_in = self.directory().arrives_in(name);
        let account = tx.record::<crate::records::Account>(&keys::account_record(live.id))?;
        let used = account.ok_or(Fault::NoAccount)?.used;
        // Before the change is touched.
        if self.over_quota(name, used, body + prefix.len() as u64) {
            return Err(Fault::OverQuota);
        }
        let mut writer = Writer::open(tx, live.id)?.with_habits(self.directory().habits(name));
        let mailbox = match writer.find(&arrives_in)? {
            Some(mailbox) => mailbox,
            None => writer.create_mailbox(&arrives_in)?,
        };
        let origin = Origin {
            cid: message.cid,
            remote_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            helo: String::new(),
            mail_from: message.mail_from.clone(),
            recipient: first.entry.recipient.address.to_string(),
            verdict: Verdict::default(),
        };
        let new = NewMessage {
            flags: Flags::NONE,
            keywords: Vec::new(),
            received: message.queued,
            saved: self.now(),
            file: body,
            cold: Cold { prefix, facts: request.facts.clone(), origin: Some(origin) },
            arrival: Arrival::Delivered,
            marks: Marks::NONE,
            destined: MailboxId(0),
        };
        let (id, _) = writer.add(mailbox, new)?;
        let file_name = writer.file(id);
        let happened = writer.finish();
        publish(tx, live, None, happened);
        Ok((Stored { id }, file_name))
    }
}
