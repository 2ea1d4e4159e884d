//! What left a mailbox, from its tombstones.
//!
//! A tombstone is kept as long as its mailbox, but not more than [`TOMBSTONES`] of them: then the oldest half goes, and a
//! reader that asks from before what is still known is told so (RFC 7162 §3.2.5.2, row IM-25). The key begins with the
//! modseq, so that only what is asked for is read.

use crate::keys;
use crate::limits::{TOMBSTONES, VANISHED};
use crate::records::{Read, Removals, encode};
use crate::store::{Session, Store};
use crate::writer::Writer;
use libmox_store::{Fault, Vanished, VanishedSince};
use libmox_types::{MailboxId, ModSeq, Uid, UidSet};
use std::ops::{Bound, ControlFlow};

impl Writer<'_> {
    /// So many tombstones more are in a mailbox.
    pub fn note_removals(&mut self, mailbox: MailboxId, more: usize) -> Result<(), Fault> {
        let key = keys::removals(self.id, mailbox);
        let all = keys::tombstones(self.id, mailbox);
        let (mut kept, mut forgotten) = match self.tx.record::<Removals>(&key)? {
            Some(known) => (known.kept as usize + more, known.forgotten),
            // Of a mailbox whose first removal this is, or that an earlier program kept.
            None => (self.tx.keys_below(&all)?.len(), ModSeq(0)),
        };
        if kept > TOMBSTONES {
            // What an earlier program piled up goes step by step.
            let excess = (kept - TOMBSTONES / 2).min(TOMBSTONES + more);
            let mut oldest = Vec::with_capacity(excess);
            keys::below(&all, |range| {
                self.tx.visit(range, |key, _| {
                    oldest.push(key.to_vec());
                    if oldest.len() < excess { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
                })
            })?;
            if let Some(last) = oldest.last().and_then(|key| keys::tombstone_mod_seq(key)) {
                forgotten = last;
            }
            kept -= oldest.len();
            oldest.into_iter().for_each(|key| self.tx.change().delete(key));
        }
        let known = Removals { kept: u32::try_from(kept).unwrap_or(u32::MAX), forgotten };
        self.tx.change().put(key, encode(&known));
        Ok(())
    }
}

impl Store {
    /// See [`VanishedSince`].
    pub fn vanished_since(&self, session: &Session, request: &VanishedSince) -> Result<Vanished, Fault> {
        let (account, mailbox) = (session.account, request.mailbox);
        if self.engine.get(&keys::mailbox(account, mailbox))?.is_none() {
            return Err(Fault::NoMailbox);
        }
        let known: Removals = self.engine.record(&keys::removals(account, mailbox))?.unwrap_or_default();
        if request.since < known.forgotten {
            return Ok(Vanished { uids: UidSet::new(), complete: false });
        }
        let from = keys::tombstone(account, mailbox, ModSeq(request.since.0.saturating_add(1)), Uid(0));
        let end = keys::behind(&keys::tombstones(account, mailbox)).unwrap_or_default();
        let mut found: Vec<Uid> = Vec::new();
        let mut complete = true;
        self.engine.visit(
            (Bound::Included(from.as_slice()), Bound::Excluded(end.as_slice())),
            |key, _| {
                complete = found.len() < VANISHED;
                match keys::message_uid(key) {
                    Some(uid) if complete => {
                        found.push(uid);
                        ControlFlow::Continue(())
                    }
                    _ => ControlFlow::Break(()),
                }
            },
        )?;
        found.sort_unstable();
        let uids = if complete { found.into_iter().collect() } else { UidSet::new() };
        Ok(Vanished { uids, complete })
    }
}
