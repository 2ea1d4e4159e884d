//! What left a mailbox, from its tombstones.
//!
//! A tombstone is kept as long as its mailbox. The key begins with the modseq, so that only what is asked for is read.

use crate::keys;
use crate::limits::VANISHED;
use crate::store::{Session, Store};
use libmox_store::{Fault, Vanished, VanishedSince};
use libmox_types::{ModSeq, Uid, UidSet};
use std::ops::{Bound, ControlFlow};

impl Store {
    /// See [`VanishedSince`].
    pub fn vanished_since(&self, session: &Session, request: &VanishedSince) -> Result<Vanished, Fault> {
        let (account, mailbox) = (session.account, request.mailbox);
        if self.engine.get(&keys::mailbox(account, mailbox))?.is_none() {
            return Err(Fault::NoMailbox);
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
