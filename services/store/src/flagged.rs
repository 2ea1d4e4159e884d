//! Which messages have a flag: from memory where the mailbox is there, so that a search for flags moves no records.

use crate::hot::Hot;
use crate::keys;
use crate::limits::FLAGGED_RANGES;
use crate::store::{Session, Store};
use crate::writer::visit_messages;
use libmox_store::{Fault, FlaggedSet};
use libmox_types::{Flag, Uid, UidSet};

/// Ascending uids put together as ranges.
#[derive(Default)]
pub struct Ranges {
    set: UidSet,
    run: Option<(Uid, Uid)>,
}

impl Ranges {
    /// The next one.
    pub fn push(&mut self, uid: Uid) {
        match &mut self.run {
            Some((_, last)) if last.0 + 1 == uid.0 => *last = uid,
            run => {
                if let Some((first, last)) = run.replace((uid, uid)) {
                    self.set.insert_range(first, last);
                }
            }
        }
    }

    /// All of them.
    pub fn finish(mut self) -> UidSet {
        if let Some((first, last)) = self.run {
            self.set.insert_range(first, last);
        }
        self.set
    }
}

impl Hot {
    fn flagged(&self, flag: Flag) -> UidSet {
        let mut ranges = Ranges::default();
        self.each_flags(|uid, flags| {
            if flags.has(flag) {
                ranges.push(uid);
            }
        });
        ranges.finish()
    }
}

impl Store {
    /// See [`FlaggedSet`].
    pub fn flagged_set(&self, session: &Session, request: &FlaggedSet) -> Result<Option<UidSet>, Fault> {
        let FlaggedSet { mailbox, flag, .. } = *request;
        if self.engine.get(&keys::mailbox(session.account, mailbox))?.is_none() {
            return Err(Fault::NoMailbox);
        }
        let live = self.accounts.live(session.account);
        let set = match live.hot.with(mailbox, |hot| hot.flagged(flag)) {
            Some(set) => set,
            None => {
                let mut ranges = Ranges::default();
                visit_messages(&self.engine, session.account, mailbox, &UidSet::all(), |uid, message| {
                    if message.flags.has(flag) {
                        ranges.push(uid);
                    }
                    Ok(())
                })?;
                ranges.finish()
            }
        };
        let fits = set.ranges().len() <= FLAGGED_RANGES;
        Ok(fits.then_some(set))
    }
}
