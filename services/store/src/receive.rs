//! Mail from strangers: who takes it, and one change that gives it to all of them.

mod together;

use crate::accounts::publish;
use crate::directory::Destination;
use crate::keys;
use crate::limits::RECIPIENTS;
use crate::records::{Cold, Origin, Read};
use crate::store::{Given, Peer, Store, check_prefix};
use crate::writer::{Happened, NewMessage, Writer};
use libmox_ipc::OnceKey;
use libmox_store::{Deliver, Delivered, Fault, RecipientPath, RecipientStatus, Stored};
use libmox_types::{AccountId, Flags, MsgId};
use std::collections::BTreeMap;

fn as_text(recipient: &RecipientPath) -> String {
    match recipient {
        RecipientPath::Address(address) => address.to_string(),
        RecipientPath::Postmaster => "postmaster".into(),
        RecipientPath::Literal(local, ip) => format!("{local}@[{ip}]"),
    }
}

/// Whoever has no result yet is told to come again.
fn all_results(results: &mut [Option<Delivered>]) -> Vec<Delivered> {
    let none = || Delivered::Deferred("no result".into());
    results.iter_mut().map(|result| result.get_or_insert_with(none).clone()).collect()
}

impl Store {
    /// RCPT TO.
    pub fn check_recipient(&self, recipient: &RecipientPath) -> Result<RecipientStatus, Fault> {
        Ok(match self.directory().resolve(recipient) {
            Destination::Nobody => RecipientStatus::UnknownUser,
            Destination::Disabled => RecipientStatus::Disabled,
            Destination::Foreign => RecipientStatus::Foreign,
            Destination::Account(name, id) => {
                let account = crate::accounts::exists(&self.engine, id)?.ok_or(Fault::NoAccount)?;
                match self.over_quota(&name, account.used, 1) {
                    true => RecipientStatus::OverQuota,
                    false => RecipientStatus::Local,
                }
            }
        })
    }

    /// One message to all its recipients, in one change. An account that is meant twice gets it once.
    pub async fn deliver(
        &self,
        peer: &Peer,
        request: Deliver,
        once: Option<OnceKey>,
    ) -> Result<Vec<Delivered>, Fault> {
        // Before the body: after a restart only the reply is there.
        if let Some(reply) = self.replied(once)? {
            return Ok(reply);
        }
        if request.recipients.is_empty() || request.recipients.len() > RECIPIENTS {
            return Err(Fault::Invalid("number of recipients".into()));
        }
        for recipient in &request.recipients {
            check_prefix(&recipient.prefix)?;
        }
        let directory = self.directory();
        let mut results: Vec<Option<Delivered>> = vec![None; request.recipients.len()];
        // Locks are always taken in this order, so two deliveries never wait for each other.
        let mut by_account: BTreeMap<AccountId, (String, Vec<usize>)> = BTreeMap::new();
        for (at, recipient) in request.recipients.iter().enumerate() {
            match directory.resolve(&recipient.recipient) {
                Destination::Account(name, id) => {
                    by_account.entry(id).or_insert_with(|| (name, Vec::new())).1.push(at);
                }
                Destination::Nobody | Destination::Foreign => results[at] = Some(Delivered::UnknownUser),
                Destination::Disabled => results[at] = Some(Delivered::Deferred("domain is disabled".into())),
            }
        }
        if !by_account.is_empty() {
            let given = peer.body(&request.body).await?;
            let reply = self.deliver_to(&request, &given, &by_account, &mut results, once).await?;
            peer.used(&request.body);
            if let Some(reply) = reply {
                return Ok(reply);
            }
        }
        Ok(all_results(&mut results))
    }

    async fn deliver_to(
        &self,
        request: &Deliver,
        given: &Given,
        by_account: &BTreeMap<AccountId, (String, Vec<usize>)>,
        results: &mut [Option<Delivered>],
        once: Option<OnceKey>,
    ) -> Result<Option<Vec<Delivered>>, Fault> {
        let mut tx = self.engine.begin().await?;
        let lives: Vec<_> = by_account.keys().map(|id| self.accounts.live(*id)).collect();
        let mut locks = Vec::with_capacity(lives.len());
        for live in &lives {
            locks.push(live.lock.lock().await);
        }
        if Self::is_under_way(&tx, once)? {
            drop((locks, tx));
            return self.reply_under_way(once).await.map(Some);
        }
        let mut source = None;
        let mut stored = false;
        for (live, (name, places)) in lives.iter().zip(by_account.values()) {
            let result = match self.deliver_one(&mut tx, live.id, name, request, given, places[0]) {
                Ok((id, happened)) => {
                    let change = tx.change();
                    let at = *source.get_or_insert_with(|| change.source(given.source()));
                    change.create(crate::engine::FileName { owner: u64::from(live.id.0), id: id.0 }, at);
                    publish(&mut tx, live, None, happened);
                    stored = true;
                    Delivered::Stored(Stored { id })
                }
                Err(Fault::OverQuota) => Delivered::OverQuota,
                Err(Fault::NoAccount) => Delivered::UnknownUser,
                Err(fault) => return Err(fault),
            };
            for at in places {
                results[*at] = Some(result.clone());
            }
        }
        if stored {
            Self::keep_reply(&mut tx, once, &all_results(results));
            let ticket = tx.submit()?;
            drop(locks);
            ticket.committed().await?;
        }
        Ok(None)
    }

    /// The records of one delivery. Whatever can refuse it does so before the change is touched.
    fn deliver_one(
        &self,
        tx: &mut crate::engine::Tx,
        account: AccountId,
        name: &str,
        request: &Deliver,
        given: &Given,
        recipient: usize,
    ) -> Result<(MsgId, Happened), Fault> {
        let to = &request.recipients[recipient];
        let record = tx.record::<crate::records::Account>(&keys::account_record(account))?;
        let used = record.ok_or(Fault::NoAccount)?.used;
        if self.over_quota(name, used, given.size + to.prefix.len() as u64) {
            return Err(Fault::OverQuota);
        }
        let arrives_in = self.directory().arrives_in(name);
        let mut writer = Writer::open(tx, account)?;
        let mailbox = match writer.find(&arrives_in)? {
            Some(mailbox) => mailbox,
            None => writer.create_mailbox(&arrives_in)?,
        };
        let origin = Origin {
            cid: request.cid,
            remote_ip: request.remote_ip,
            helo: request.helo.as_ref().map(ToString::to_string).unwrap_or_default(),
            mail_from: request.mail_from.clone(),
            recipient: as_text(&to.recipient),
            verdict: request.verdict.clone(),
        };
        let new = NewMessage {
            flags: Flags::NONE,
            keywords: Vec::new(),
            received: request.received,
            saved: self.now(),
            file: given.size,
            cold: Cold { prefix: to.prefix.clone(), facts: request.facts.clone(), origin: Some(origin) },
        };
        let (id, _) = writer.add(mailbox, new)?;
        Ok((id, writer.finish()))
    }
}
