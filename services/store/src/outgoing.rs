//! What is known of those an account writes to (rows ST-38, ST-39), and how much it sends.
//!
//! | record | made by | goes |
//! |---|---|---|
//! | written to | a message that comes into a mailbox with the role Sent, by whatever way | with the account |
//! | sent lately | each recipient of a message that is queued | after two days, with later messages |
//! | TLS support | each attempt to deliver | with the account; the next attempt replaces it |

use crate::engine::Tx;
use crate::keys;
use crate::limits::{RECIPIENTS, SENT_AGE, SENT_LOOKED_AT, SENT_SWEEP};
use crate::records::{Message, Read, WroteRecord, encode};
use crate::store::{Session, Store};
use crate::writer::Writer;
use libmox_store::{Fault, Sent, TlsSupport, TlsSupportSet};
use libmox_types::{AccountId, Address, Domain, MailboxId, QueueId, SpecialUse, Timestamp};
use std::collections::HashSet;
use std::ops::{Bound, ControlFlow};

impl Writer<'_> {
    /// A message came into a mailbox: whom it was written to, if it is sent mail. The role decides, never the name
    /// (rows ST-17, TR-43).
    pub fn note_written(&mut self, mailbox: MailboxId, message: &Message) -> Result<(), Fault> {
        if !self.mailbox(mailbox)?.special_use.has(SpecialUse::Sent) {
            return Ok(());
        }
        let at = message.received;
        for address in self.cold(message.id)?.facts.recipients {
            let organisation = crate::signals::organisation(&address.domain);
            for key in [
                keys::wrote(self.id, &address),
                keys::wrote_domain(self.id, &address.domain),
                keys::wrote_organisation(self.id, &organisation),
            ] {
                let before: Option<WroteRecord> = self.tx.record(&key)?;
                let (first, last) = before.map_or((at, at), |b| (b.first.min(at), b.last.max(at)));
                self.tx.change().put(key, encode(&WroteRecord { first, last }));
            }
        }
        Ok(())
    }
}

/// Notes recipients of a message just queued, and forgets those of long ago.
pub fn note_sent(
    tx: &mut Tx,
    account: AccountId,
    now: Timestamp,
    entries: &[(QueueId, Address)],
) -> Result<(), Fault> {
    for (id, address) in entries {
        tx.change().put(keys::sent_to(account, now, *id), encode(address));
    }
    let prefix = keys::sent(account);
    let from = [prefix.as_slice(), &keys::newest(now.plus(-SENT_AGE))].concat();
    let end = keys::behind(&prefix).unwrap_or_default();
    let mut old = Vec::new();
    tx.visit((Bound::Included(&from), Bound::Excluded(&end)), |key, _| {
        old.push(key.to_vec());
        if old.len() < SENT_SWEEP { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    for key in old {
        tx.change().delete(key);
    }
    Ok(())
}

/// When an account wrote to an address first and last.
pub fn wrote(
    read: &impl Read,
    account: AccountId,
    address: &Address,
) -> Result<Option<(Timestamp, Timestamp)>, Fault> {
    let wrote: Option<WroteRecord> = read.record(&keys::wrote(account, address))?;
    Ok(wrote.map(|wrote| (wrote.first, wrote.last)))
}

/// What an account sent since then.
pub struct SentLately {
    /// Recipients of all messages.
    pub recipients: u32,
    /// Each of them once.
    pub addresses: HashSet<Address>,
}

/// Counts what an account sent.
pub fn sent_lately(read: &impl Read, account: AccountId, since: Timestamp) -> Result<SentLately, Fault> {
    let prefix = keys::sent(account);
    let end = [prefix.as_slice(), &keys::newest(since), &[0xff; 8]].concat();
    let mut sent = SentLately { recipients: 0, addresses: HashSet::new() };
    let mut outcome = Ok(());
    read.visit((Bound::Included(&prefix), Bound::Included(&end)), |key, value| {
        sent.recipients += 1;
        match crate::records::decode(key, value) {
            Ok(address) => drop(sent.addresses.insert(address)),
            Err(error) => outcome = Err(Fault::from(error)),
        }
        let more = outcome.is_ok() && sent.recipients < SENT_LOOKED_AT;
        if more { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    outcome.map(|()| sent)
}

impl Store {
    /// What a server could do; replaces what was known.
    pub async fn tls_support_set(&self, request: &TlsSupportSet) -> Result<(), Fault> {
        let live = self.accounts.live(request.account);
        let mut tx = self.engine.begin().await?;
        let lock = live.lock.lock().await;
        tx.get(&keys::account_record(request.account))?.ok_or(Fault::NoAccount)?;
        let support =
            TlsSupport { seen: self.now(), starttls: request.starttls, require_tls: request.require_tls };
        tx.change().put(keys::tls_support(request.account, &request.domain), encode(&support));
        let ticket = tx.submit()?;
        drop(lock);
        ticket.committed().await?;
        Ok(())
    }

    /// What is known of domains.
    pub fn tls_support_of(
        &self,
        session: &Session,
        domains: &[Domain],
    ) -> Result<Vec<Option<TlsSupport>>, Fault> {
        if domains.len() > RECIPIENTS {
            return Err(Fault::Limit("domains at once".into()));
        }
        let known = |domain| self.engine.record(&keys::tls_support(session.account, domain));
        domains.iter().map(known).collect()
    }

    /// When the account wrote to an address first and last.
    pub fn wrote_to(
        &self,
        account: AccountId,
        address: &Address,
    ) -> Result<Option<(Timestamp, Timestamp)>, Fault> {
        wrote(&self.engine, account, address)
    }

    /// How much an account sent.
    pub fn sent_since(&self, account: AccountId, since: Timestamp) -> Result<Sent, Fault> {
        let SentLately { recipients, addresses } = sent_lately(&self.engine, account, since)?;
        let mut first_time = 0;
        for address in &addresses {
            let before = self.wrote_to(account, address)?.is_some_and(|(first, _)| first < since);
            first_time += u32::from(!before);
        }
        Ok(Sent { recipients, first_time })
    }
}
