//! Making records anew in the background, account by account (rows ST-35, ST-36).
//!
//! What is to be done, and how far it is, stands in the account's record ([`Progress`]) and moves on in the change
//! that does the work: whatever ends the process, the next one goes on from there. A step touches a few hundred
//! messages under the account's lock; between two steps everybody else has the account. What arrives meanwhile is
//! written as it should be and passed over.

use crate::accounts;
use crate::keys;
use crate::limits::UPGRADE_STEP;
use crate::records::{Progress, Read, Stage};
use crate::store::Store;
use crate::writer::Writer;
use libmox_store::Fault;
use libmox_types::{AccountId, MsgId};
use std::ops::{Bound, ControlFlow};
use std::sync::{Arc, Weak};

impl Stage {
    fn next(self) -> Option<Self> {
        match self {
            Self::Ties | Self::Clear => Some(Self::Threads),
            Self::Forget => Some(Self::Learn),
            Self::Threads | Self::Learn => None,
        }
    }
}

/// Upgrades all accounts that need it, one after the other, as long as there is a store.
pub async fn in_background(store: Weak<Store>) {
    let Some(mut accounts) = store.upgrade().map(|store| store.account_ids()) else { return };
    accounts.sort_unstable();
    for account in accounts {
        let mut steps = 0u64;
        loop {
            let Some(store) = store.upgrade() else { return };
            match store.upgrade_step(account).await {
                Ok(true) => steps += 1,
                Ok(false) | Err(Fault::NoAccount) => break,
                Err(fault) => {
                    tracing::warn!(account = account.0, %fault, "upgrade of an account stopped, goes on at the next start");
                    break;
                }
            }
            drop(store);
            tokio::task::yield_now().await;
        }
        if steps > 0 {
            tracing::info!(account = account.0, steps, "account upgraded");
        }
    }
}

impl Store {
    fn account_ids(&self) -> Vec<AccountId> {
        self.directory().ids.values().copied().collect()
    }

    /// One step for one account; `false`: there was nothing left to do.
    pub async fn upgrade_step(&self, account: AccountId) -> Result<bool, Fault> {
        let record = accounts::exists(&self.engine, account)?.ok_or(Fault::NoAccount)?;
        if record.upgrade.is_none() {
            return Ok(false);
        }
        let live = self.accounts.live(account);
        let mut tx = self.engine.begin().await?;
        let lock = live.lock.lock().await;
        let mut writer = Writer::open(&mut tx, account)?;
        let Some(progress) = writer.account.upgrade else { return Ok(false) };
        let (ids, whole) = step_of(&writer, progress.after)?;
        for id in &ids {
            match (progress.stage, writer.message(*id)?) {
                (_, None) => {}
                (Stage::Ties, Some((place, message))) => writer.make_ties(place, &message)?,
                (Stage::Clear, Some((place, message))) => writer.leave_thread(place, message)?,
                (Stage::Threads, Some(_)) => writer.assign_thread(*id, &mut Vec::new())?,
                (Stage::Forget | Stage::Learn, Some((place, mut message))) => {
                    let before = message.trained;
                    writer.train(&mut message)?;
                    if message.trained != before {
                        writer.put_message(place.mailbox, place.uid, &message);
                    }
                }
            }
        }
        if whole && progress.stage == Stage::Forget {
            writer.wipe_words()?;
        }
        writer.account.upgrade = match ids.last() {
            Some(last) if !whole => Some(Progress { after: *last, ..progress }),
            _ => progress.stage.next().map(|stage| Progress { stage, after: MsgId(0) }),
        };
        let more = writer.account.upgrade.is_some();
        let happened = writer.finish_unseen();
        accounts::publish(&mut tx, &live, None, happened);
        let ticket = tx.submit()?;
        drop(lock);
        ticket.committed().await?;
        Ok(more)
    }

    /// Finds all threads of an account anew, and waits for it.
    pub async fn threads_reassign(self: &Arc<Self>, name: &str) -> Result<u64, Fault> {
        let account: AccountId = self.engine.record(&keys::account_name(name))?.ok_or(Fault::NoAccount)?;
        self.begin(account, Stage::Clear).await?;
        while self.upgrade_step(account).await? {}
        self.stored_messages(account)
    }

    /// Messages of an account, as its mailboxes count them.
    pub fn stored_messages(&self, account: AccountId) -> Result<u64, Fault> {
        let mut messages = 0;
        self.engine.records(&keys::mailboxes(account), |_, mailbox: crate::records::MailboxRecord| {
            messages += u64::from(mailbox.counts.total) + u64::from(mailbox.counts.deleted);
            Ok(())
        })?;
        Ok(messages)
    }

    /// Row JK-04: learns all messages of an account anew, and waits for it.
    pub async fn retrain(&self, name: &str) -> Result<(), Fault> {
        let account = self.retrain_begin(name).await?;
        while self.upgrade_step(account).await? {}
        Ok(())
    }

    pub(crate) async fn retrain_begin(&self, name: &str) -> Result<AccountId, Fault> {
        let account = self.engine.record(&keys::account_name(name))?.ok_or(Fault::NoAccount)?;
        self.begin(account, Stage::Forget).await?;
        Ok(account)
    }

    /// Notes what is to be done, after what is under way.
    async fn begin(&self, account: AccountId, stage: Stage) -> Result<(), Fault> {
        let is_words = |stage| matches!(stage, Stage::Forget | Stage::Learn);
        let other = |progress: Progress| {
            // Ties that are still being made lead to threads, too.
            is_words(progress.stage) != is_words(stage) || progress.stage == Stage::Ties
        };
        while accounts::exists(&self.engine, account)?.and_then(|record| record.upgrade).is_some_and(other)
            && self.upgrade_step(account).await?
        {}
        let live = self.accounts.live(account);
        let mut tx = self.engine.begin().await?;
        let lock = live.lock.lock().await;
        let mut writer = Writer::open(&mut tx, account)?;
        writer.account.upgrade = Some(Progress { stage, after: MsgId(0) });
        writer.finish_unseen();
        let ticket = tx.submit()?;
        drop(lock);
        ticket.committed().await?;
        Ok(())
    }
}

/// The next messages by id, and whether they are the last.
pub(crate) fn step_of(writer: &Writer<'_>, after: MsgId) -> Result<(Vec<MsgId>, bool), Fault> {
    let from = keys::place(writer.id, after);
    let end = keys::behind(&keys::places(writer.id)).unwrap_or_default();
    let mut ids = Vec::new();
    let range = (Bound::Excluded(from.as_slice()), Bound::Excluded(end.as_slice()));
    writer.tx.visit(range, |key, _| {
        ids.extend(keys::last_id(key).map(MsgId));
        if ids.len() < UPGRADE_STEP { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    let whole = ids.len() < UPGRADE_STEP;
    Ok((ids, whole))
}
