//! What a client that comes back missed.
//!
//! Law: RFC 7162 §3.2.5 and §3.2.6; rows IM-25, TM-11. A removal that the store no longer remembers is told as if
//! it were new: a client takes a uid it does not have for what it is, nothing.

use super::Selected;
use crate::command::Resync;
use libmox_types::{Uid, UidSet};

/// Removals after a modseq, as the store remembers them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// Which.
    pub uids: UidSet,
    /// Whether these are all of them.
    pub complete: bool,
}

impl Selected {
    /// The uids to tell as VANISHED (EARLIER) to a client that remembers this, and whether it remembers something
    /// that cannot be. `uid_next` is the mailbox's.
    #[must_use]
    pub fn missed(&self, client: &Resync, removed: &Removed, uid_next: Uid) -> (UidSet, bool) {
        let mut above = Uid(0);
        let mut confused = false;
        if let Some((numbers, uids)) = &client.matched {
            for (number, uid) in numbers.iter().zip(uids.iter()) {
                if self.view.uid(number.0) == Some(uid) {
                    // RFC 7162 §3.2.5.2: as many messages below it as the client counts, so it missed no removal there.
                    above = uid;
                } else if removed.complete
                    && uid < uid_next
                    && self.view.number(uid).is_none()
                    && !removed.uids.contains(uid)
                {
                    // Row TM-11: it was gone before the client says it looked last.
                    confused = true;
                }
            }
        }
        let mut missed =
            if removed.complete && !confused { removed.uids.clone() } else { self.never_there(uid_next) };
        if let Some(known) = &client.known {
            missed = missed.intersection(known);
        }
        missed.subtract(&self.view.known(&missed));
        if !confused {
            missed.remove_range(Uid(0), above);
        }
        (missed, confused)
    }

    /// The same for UID FETCH with VANISHED: of these uids. What the client counts among its messages it learns
    /// of by the VANISHED that changes its count.
    #[must_use]
    pub fn vanished(&self, named: &UidSet, removed: &Removed) -> UidSet {
        let all = if removed.complete {
            removed.uids.clone()
        } else {
            self.never_there(Uid(self.view.last_uid().0.saturating_add(1)))
        };
        let mut gone = all.intersection(named);
        gone.subtract(&self.view.known(&gone));
        gone
    }

    /// Everything below `uid_next`; less what is there it is what ever went.
    fn never_there(&self, uid_next: Uid) -> UidSet {
        let mut all = UidSet::new();
        if uid_next.0 > 1 {
            all.insert_range(Uid(1), Uid(uid_next.0 - 1));
        }
        all.subtract(&self.view.present());
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Access, Resync};
    use crate::session::{Offers, Opened, Session};
    use crate::view::View;
    use libmox_types::{Cid, MailboxId, MailboxName, ModSeq, UidValidity};

    fn set(uids: &[u32]) -> UidSet {
        uids.iter().copied().map(Uid).collect()
    }

    fn selected(uids: &[u32]) -> Session {
        let mut session = Session::new(Offers {
            cid: Cid(1),
            starttls: false,
            passwords: true,
            mechanisms: vec![],
            append_limit: 1,
        });
        session.signed_in(vec![]);
        let opened = Opened {
            id: MailboxId(1),
            name: MailboxName::inbox(),
            access: Access::ReadWrite,
            exists: u32::try_from(uids.len()).unwrap(),
            view: View::of(uids.iter().copied().map(Uid)),
            uid_validity: UidValidity(1),
            uid_next: Uid(10),
            mod_seq: ModSeq(9),
            keywords: vec![],
            first_unseen: None,
        };
        session.selected(opened, &mut Vec::new());
        session
    }

    fn client(known: Option<&[u32]>, matched: Option<(&[u32], &[u32])>) -> Resync {
        Resync {
            uid_validity: UidValidity(1),
            mod_seq: ModSeq(5),
            known: known.map(set),
            matched: matched.map(|(numbers, uids)| (set(numbers), set(uids))),
        }
    }

    #[test]
    fn removals_that_are_forgotten_are_told_as_if_new() {
        // Row IM-25: of nine uids 3, 5 and 8 are there.
        let session = selected(&[3, 5, 8]);
        let selected = session.mailbox().unwrap();
        let all = Removed { uids: set(&[4, 9]), complete: true };
        let forgotten = Removed { uids: UidSet::new(), complete: false };
        let missed = |removed: &Removed, client: &Resync| selected.missed(client, removed, Uid(10));
        assert_eq!(missed(&all, &client(None, None)), (set(&[4, 9]), false));
        assert_eq!(missed(&forgotten, &client(None, None)), (set(&[1, 2, 4, 6, 7, 9]), false));
        assert_eq!(missed(&forgotten, &client(Some(&[2, 3, 4]), None)), (set(&[2, 4]), false));
        assert_eq!(missed(&forgotten, &client(None, Some((&[2], &[5])))), (set(&[6, 7, 9]), false));
        // What does not fit is no proof where the store forgot.
        assert!(!missed(&forgotten, &client(None, Some((&[2], &[4])))).1);
        // Row TM-11.
        assert_eq!(missed(&all, &client(None, Some((&[2], &[4])))), (set(&[4, 9]), false));
        assert_eq!(missed(&all, &client(None, Some((&[2], &[2])))), (set(&[1, 2, 4, 6, 7, 9]), true));
        assert_eq!(selected.vanished(&set(&[1, 2, 3, 4]), &all), set(&[4]));
        assert_eq!(selected.vanished(&set(&[1, 2, 3, 4]), &forgotten), set(&[1, 2, 4]));
    }
}
