//! What left the queue, kept for a while (row QU-15), and who gets no more mail (row QU-17).
//!
//! | a retired entry | who moves it on | what a crash leaves |
//! |---|---|---|
//! | kept | the change that takes the entry from the queue makes it | both or neither |
//! | gone | a later change of the queue, once its time has come | kept |

use crate::engine::Tx;
use crate::keys;
use crate::limits::{RETIRED_SWEEP, SUPPRESSED};
use crate::records::{self, QueueMessage, QueueRecord, Read, encode};
use crate::store::Store;
use libmox_store::{Fault, Retired, RetiredList, Suppressed, SuppressionAdd, SuppressionList};
use libmox_types::{AccountId, Address, QueueId, ReversePath, Timestamp};
use std::ops::{Bound, ControlFlow};

const PAGE: usize = 1_000;
/// Octets kept of a reason.
const REASON_OCTETS: usize = 500;

/// How an entry left the queue.
pub struct Leaving<'a> {
    pub now: Timestamp,
    pub delivered: bool,
    pub last: &'a str,
    /// Seconds to keep it.
    pub keep: i64,
}

/// Keeps an entry that leaves the queue.
pub fn retire(tx: &mut Tx, id: QueueId, entry: &QueueRecord, message: &QueueMessage, leaving: &Leaving<'_>) {
    if leaving.keep <= 0 {
        forget_sender(tx, message.account, &entry.sender(message));
        return;
    }
    let keep_until = leaving.now.plus(leaving.keep);
    let retired = Retired {
        id,
        message: entry.message,
        account: message.account,
        mail_from: entry.sender(message),
        recipient: entry.recipient.address.clone(),
        message_id: message.message_id.clone(),
        queued: message.queued,
        left: leaving.now,
        attempts: entry.attempts,
        delivered: leaving.delivered,
        last: crate::queue::cut(leaving.last, crate::queue::LAST_OCTETS),
        keep_until,
    };
    tx.change().put(keys::retired(id), encode(&retired));
    tx.change().put(keys::retired_until(keep_until, id), vec![]);
}

/// A sender that was made for one message is unique as long as the message is known.
fn forget_sender(tx: &mut Tx, account: AccountId, sender: &ReversePath) {
    if let ReversePath::Address(sender) = sender {
        tx.change().delete(keys::unique_sender(account, sender));
    }
}

/// Forgets some whose time has come.
pub fn prune(tx: &mut Tx, now: Timestamp) -> Result<(), Fault> {
    let end = keys::retired_until(now, QueueId(0));
    let mut gone = Vec::new();
    tx.visit((Bound::Included(&b"y"[..]), Bound::Excluded(&end)), |key, _| {
        gone.push(key.to_vec());
        if gone.len() < RETIRED_SWEEP { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    for key in gone {
        if let Some(id) = keys::last_id(&key) {
            let retired: Option<Retired> = tx.record(&keys::retired(QueueId(id)))?;
            if let Some(retired) = retired {
                forget_sender(tx, retired.account, &retired.mail_from);
            }
            tx.change().delete(keys::retired(QueueId(id)));
        }
        tx.change().delete(key);
    }
    Ok(())
}

/// What addresses of one person have in common.
pub fn base_address(address: &Address) -> String {
    let local = address.local.as_str().to_lowercase();
    let cut = local.find(['+', '-']).filter(|at| *at > 0).unwrap_or(local.len());
    let bare: String = local[..cut].chars().filter(|c| *c != '.').collect();
    format!("{bare}@{}", address.domain.ascii())
}

impl Store {
    /// A page of what left the queue.
    pub fn retired_list(&self, request: &RetiredList) -> Result<Vec<Retired>, Fault> {
        self.page(&keys::retired(request.after), b"Y", request.most)
    }

    /// A page of suppressed addresses.
    pub fn suppression_list(&self, request: &SuppressionList) -> Result<Vec<Suppressed>, Fault> {
        let account: AccountId =
            self.engine.record(&keys::account_name(&request.account))?.ok_or(Fault::NoAccount)?;
        let (from, all) = (keys::suppression(account, &request.after), keys::suppressions(account));
        self.page(&from, &all, u32::MAX)
    }

    fn page<T: records::Stored>(&self, after: &[u8], below: &[u8], most: u32) -> Result<Vec<T>, Fault> {
        let end = keys::behind(below).unwrap_or_default();
        let most = (most as usize).min(PAGE);
        let (mut found, mut outcome, mut octets) = (Vec::new(), Ok(()), 0);
        if most == 0 {
            return Ok(found);
        }
        self.engine.visit((Bound::Excluded(after), Bound::Excluded(&end)), |key, value| {
            octets += value.len() * 2;
            match records::decode(key, value) {
                Ok(record) => found.push(record),
                Err(error) => outcome = Err(Fault::from(error)),
            }
            let more = outcome.is_ok() && found.len() < most && octets < crate::limits::PAGE_OCTETS;
            if more { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        outcome.map(|()| found)
    }

    /// Whether an account wants no more mail to an address.
    pub fn is_suppressed(&self, account: AccountId, address: &Address) -> Result<bool, Fault> {
        Ok(self.engine.get(&keys::suppression(account, &base_address(address)))?.is_some())
    }

    /// Adds one; what is there already stays as it is.
    pub async fn suppression_add(&self, request: &SuppressionAdd) -> Result<(), Fault> {
        let base = base_address(&request.address);
        let suppressed = Suppressed {
            base: base.clone(),
            address: request.address.clone(),
            since: self.now(),
            automatic: request.automatic,
            reason: crate::queue::cut(&request.reason, REASON_OCTETS),
        };
        self.suppression_change(&request.account, |tx, account| {
            let key = keys::suppression(account, &base);
            if tx.get(&key)?.is_none() {
                if tx.keys_below(&keys::suppressions(account))?.len() >= SUPPRESSED {
                    return Err(Fault::Limit("suppressed addresses".into()));
                }
                tx.change().put(key, encode(&suppressed));
            }
            Ok(())
        })
        .await
    }

    /// Takes one off; whether it was there.
    pub async fn suppression_remove(&self, name: &str, address: &Address) -> Result<bool, Fault> {
        let base = base_address(address);
        self.suppression_change(name, |tx, account| {
            let key = keys::suppression(account, &base);
            let there = tx.get(&key)?.is_some();
            tx.change().delete(key);
            Ok(there)
        })
        .await
    }

    async fn suppression_change<T>(
        &self,
        name: &str,
        compute: impl FnOnce(&mut Tx, AccountId) -> Result<T, Fault> + Send,
    ) -> Result<T, Fault> {
        let account: AccountId = self.engine.record(&keys::account_name(name))?.ok_or(Fault::NoAccount)?;
        let live = self.accounts.live(account);
        let mut tx = self.engine.begin().await?;
        let lock = live.lock.lock().await;
        tx.get(&keys::account_record(account))?.ok_or(Fault::NoAccount)?;
        let value = compute(&mut tx, account)?;
        let ticket = tx.submit()?;
        drop(lock);
        ticket.committed().await?;
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_addresses() {
        for (address, want) in [
            ("Jane.Doe+x@Example.org", "janedoe@example.org"),
            ("jane-list@example.org", "jane@example.org"),
            ("+odd@example.org", "+odd@example.org"),
            ("x@bücher.example", "x@xn--bcher-kva.example"),
        ] {
            assert_eq!(base_address(&Address::parse(address).unwrap()), want);
        }
    }
}
