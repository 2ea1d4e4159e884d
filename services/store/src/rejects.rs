//! Refused mail that its owner can look at, and first messages (rows ST-26 to ST-30).
//!
//! Whether a message is a reject is its mark, never the name of the mailbox it is in (row TR-12).
//!
//! | a reject | who moves it on | it becomes |
//! |---|---|---|
//! | kept: seen, knows where it was destined | its owner moves or copies it out | an ordinary unseen message, delivered to where it was destined |
//! | | a later delivery with the same Message-ID | removed |
//! | | the next reject, once it is old or there are too many | removed |
//!
//! | a first message | who moves it on | it becomes |
//! |---|---|---|
//! | waiting, knows where it was destined | its owner moves it there | no junk, delivered to there |
//! | | its owner moves it to the mailbox for junk | junk, delivered to where it was destined |

use crate::keys::{self, Hash};
use crate::limits::{BULK, REJECT_AGE, REJECTS, REJECTS_PER_MINUTE};
use crate::records::{Message, Read};
use crate::store::Store;
use crate::writer::Writer;
use libmox_store::{Fault, Mark};
use libmox_types::{AccountId, Flag, MailboxId, MsgId, SpecialUse, Timestamp};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use tokio::time::{Duration, Instant};

impl Writer<'_> {
    /// Lists a message just added as a reject with this content.
    pub fn list_reject(&mut self, id: MsgId, received: Timestamp, content: &[u8; 32]) {
        let account = self.id;
        let change = self.tx.change();
        change.put(keys::reject(account, received, id), content.to_vec());
        change.put(keys::reject_content(account, &front(content), id), vec![]);
    }

    /// A message is no reject any more.
    pub fn unlist_reject(&mut self, message: &Message) -> Result<(), Fault> {
        if !message.marks.has(Mark::Reject) {
            return Ok(());
        }
        let key = keys::reject(self.id, message.received, message.id);
        if let Some(content) = self.tx.get(&key)?
            && let Ok(content) = <[u8; 32]>::try_from(&content[..])
        {
            self.tx.change().delete(keys::reject_content(self.id, &front(&content), message.id));
        }
        self.tx.change().delete(key);
        Ok(())
    }

    /// Whether a reject with this Message-ID or content is kept already.
    pub fn has_reject(&self, message_id: &str, content: &[u8; 32]) -> Result<bool, Fault> {
        if !self.tx.keys_below(&keys::reject_contents(self.id, &front(content)))?.is_empty() {
            return Ok(true);
        }
        Ok(!self.rejects_of(message_id)?.is_empty())
    }

    fn rejects_of(&self, message_id: &str) -> Result<Vec<MsgId>, Fault> {
        let mut rejects = Vec::new();
        // Most accounts have none, and this is asked at each delivery.
        let mut any = false;
        keys::below(&keys::rejects(self.id), |range| {
            self.tx.visit(range, |_, _| {
                any = true;
                ControlFlow::Break(())
            })
        })?;
        if message_id.is_empty() || !any {
            return Ok(rejects);
        }
        let mut ids = Vec::new();
        let prefix = keys::message_ids(self.id, &keys::hash(&[message_id.as_bytes()]));
        keys::below(&prefix, |range| {
            self.tx.visit(range, |key, _| {
                ids.extend(keys::last_id(key).map(MsgId));
                // Of a Message-ID that very many have, these will do.
                if ids.len() < 100 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })
        })?;
        for id in ids {
            if self.message(id)?.is_some_and(|(_, message)| message.marks.has(Mark::Reject)) {
                rejects.push(id);
            }
        }
        Ok(rejects)
    }

    /// A message was delivered after all: what was refused of it goes.
    pub fn drop_rejects_of(&mut self, message_id: &str) -> Result<(), Fault> {
        let ids = self.rejects_of(message_id)?;
        self.remove_ids(&ids)
    }

    /// Room for one more: the old ones go, and the oldest of too many.
    pub fn prune_rejects(&mut self, now: Timestamp) -> Result<(), Fault> {
        let oldest = now.plus(-REJECT_AGE);
        let mut go = Vec::new();
        let mut seen = 0;
        let prefix = keys::rejects(self.id);
        keys::below(&prefix, |range| {
            self.tx.visit(range, |key, _| {
                seen += 1;
                let at = key.get(prefix.len()..prefix.len() + 8).and_then(keys::newest_time);
                if seen >= REJECTS || at.is_none_or(|at| at < oldest) {
                    go.extend(keys::last_id(key).map(MsgId));
                }
                if go.len() < BULK { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })
        })?;
        self.remove_ids(&go)
    }

    fn remove_ids(&mut self, ids: &[MsgId]) -> Result<(), Fault> {
        let mut by_mailbox: BTreeMap<MailboxId, Vec<_>> = BTreeMap::new();
        for id in ids {
            if let Some((place, message)) = self.message(*id)? {
                by_mailbox.entry(place.mailbox).or_default().push((place.uid, message));
            }
        }
        for (mailbox, mut messages) in by_mailbox {
            messages.sort_unstable_by_key(|(uid, _)| *uid);
            self.remove(mailbox, messages)?;
        }
        Ok(())
    }

    /// What a message becomes when its owner puts it, or a copy of it, into another mailbox.
    pub fn settle(&mut self, message: &mut Message, to: MailboxId) -> Result<(), Fault> {
        if message.marks.has(Mark::Reject) {
            message.marks = message.marks.set(Mark::Reject, false);
            message.flags = message.flags.without(Flag::Seen);
            message.original = if message.destined.0 == 0 { to } else { message.destined };
            message.destined = MailboxId(0);
        }
        if message.marks.has(Mark::Intro) {
            let junk = self.mailbox(to)?.special_use.has(SpecialUse::Junk);
            if junk || to == message.destined {
                let (set, clear) =
                    if junk { (Flag::Junk, Flag::NotJunk) } else { (Flag::NotJunk, Flag::Junk) };
                message.flags = message.flags.with(set).without(clear);
                message.original = message.destined;
                message.destined = MailboxId(0);
                message.marks = message.marks.set(Mark::Intro, false);
            }
        }
        Ok(())
    }
}

fn front(content: &[u8; 32]) -> Hash {
    let mut front = Hash::default();
    front.copy_from_slice(&content[..16]);
    front
}

impl Store {
    /// Whether an account may keep one more reject just now (row ST-29: a flood is refused and not stored).
    pub fn may_keep_reject(&self, account: AccountId) -> bool {
        let mut rates = self.reject_rates.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (since, count) = rates.entry(account).or_insert_with(|| (Instant::now(), 0));
        if since.elapsed() >= Duration::from_secs(60) {
            (*since, *count) = (Instant::now(), 0);
        }
        *count += 1;
        *count <= REJECTS_PER_MINUTE
    }
}

/// For the check: the content a reject is listed with.
pub fn content_key(account: AccountId, id: MsgId, content: &[u8]) -> Option<Vec<u8>> {
    let content: [u8; 32] = content.try_into().ok()?;
    Some(keys::reject_content(account, &front(&content), id))
}
