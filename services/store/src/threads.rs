//! Threads: which message answers which (rows ST-31 to ST-35).
//!
//! A message that arrives looks for its parent: the nearest of References and In-Reply-To that is here and has the
//! same base subject (a delivery report: whatever its subject); only without both headers, and only with an answer's
//! mark before its subject, the newest message with the same base subject of the four weeks before. It takes thread
//! and ancestors from its parent. Nobody looks for it again when the parent arrives later; [`crate::upgrade`] does.
//!
//! | | direct parent here | an older ancestor, or by subject | ancestors named, none here | none named |
//! |---|---|---|---|---|
//! | thread | the parent's | the ancestor's | its own id | its own id |
//! | `Mark::MissingLink` | no | yes | yes | no |
//!
//! A parent's ancestors never hold the message that looks, so there is no cycle; a message in the middle of being
//! assigned is never a parent.
//!
//! Fails with: `Fault`; then the change is dropped whole.

use crate::keys::{self, Hash};
use crate::limits::{THREAD_BULK, THREAD_CANDIDATES, THREAD_DEPTH, THREAD_PARENTS, THREAD_SUBJECT_AGE};
use crate::records::{Message, Place, Read, Ties, encode};
use crate::store::{Session, Store};
use crate::writer::Writer;
use libmox_store::{Changed, Event, Facts, Fault, Mark, ThreadChange, ThreadPlace};
use libmox_types::{AccountId, MsgId, Timestamp};
use std::collections::BTreeSet;
use std::ops::{Bound, ControlFlow};

/// What other messages find a message by; nothing where the header is not there.
fn hashes(facts: &Facts) -> (Option<Hash>, Option<Hash>) {
    let of = |text: &str| (!text.is_empty()).then(|| keys::hash(&[text.as_bytes()]));
    (of(&facts.message_id), of(&facts.base_subject))
}

/// A message that may be the parent.
struct Candidate {
    message: Message,
    ties: Ties,
}

impl Writer<'_> {
    /// Makes the ties of a message about to be added and finds its thread.
    pub fn tie(&mut self, message: &mut Message, facts: &Facts) -> Result<(), Fault> {
        let (message_id, subject) = hashes(facts);
        let mut ties = Ties { parents: Vec::new(), message_id, subject };
        self.find_thread(message, &mut ties, facts, &mut Vec::new())?;
        self.put_ties(message, &ties);
        Ok(())
    }

    /// A copy stands where the original stands.
    pub fn tie_copy(&mut self, original: MsgId, copy: &Message) -> Result<(), Fault> {
        if let Some(ties) = self.tx.record::<Ties>(&keys::ties(self.id, original))? {
            self.put_ties(copy, &ties);
        }
        Ok(())
    }

    /// Nobody finds the message any more.
    pub fn untie(&mut self, message: &Message) -> Result<(), Fault> {
        let Some(ties) = self.tx.record::<Ties>(&keys::ties(self.id, message.id))? else { return Ok(()) };
        let (account, id) = (self.id, message.id);
        let change = self.tx.change();
        change.delete(keys::ties(account, id));
        if let Some(hash) = &ties.message_id {
            change.delete(keys::message_id(account, hash, id));
        }
        if let Some(hash) = &ties.subject {
            change.delete(keys::subject(account, hash, message.received, id));
        }
        if message.thread.0 != 0 {
            change.delete(keys::thread_member(account, message.thread, id));
        }
        Ok(())
    }

    fn put_ties(&mut self, message: &Message, ties: &Ties) {
        let (account, id) = (self.id, message.id);
        let change = self.tx.change();
        change.put(keys::ties(account, id), encode(ties));
        if let Some(hash) = &ties.message_id {
            change.put(keys::message_id(account, hash, id), vec![]);
        }
        if let Some(hash) = &ties.subject {
            change.put(keys::subject(account, hash, message.received, id), vec![]);
        }
        if message.thread.0 != 0 {
            change.put(keys::thread_member(account, message.thread, id), vec![]);
        }
    }

    /// The ties of a message of which something else is known now; its place in the thread stays.
    pub fn tie_anew(&mut self, message: &Message, facts: &Facts) -> Result<(), Fault> {
        let ties = self.tx.record::<Ties>(&keys::ties(self.id, message.id))?.unwrap_or_default();
        self.untie(message)?;
        let (message_id, subject) = hashes(facts);
        self.put_ties(message, &Ties { parents: ties.parents, message_id, subject });
        Ok(())
    }

    /// Upgrade: the ties of a message that has none.
    pub fn make_ties(&mut self, place: Place, message: &Message) -> Result<(), Fault> {
        if self.tx.get(&keys::ties(self.id, message.id))?.is_none() {
            let (message_id, subject) = hashes(&self.cold(message.id)?.facts);
            self.put_ties(message, &Ties { parents: Vec::new(), message_id, subject });
        }
        self.list_signals(message)?;
        // In today's layout.
        self.put_message(place.mailbox, place.uid, message);
        Ok(())
    }

    /// Takes a message out of its thread, for it to be assigned again.
    pub fn leave_thread(&mut self, place: Place, mut message: Message) -> Result<(), Fault> {
        let Some(ties) = self.tx.record::<Ties>(&keys::ties(self.id, message.id))? else { return Ok(()) };
        if message.thread.0 != 0 {
            self.tx.change().delete(keys::thread_member(self.id, message.thread, message.id));
        }
        message.thread = MsgId(0);
        message.marks = message.marks.set(Mark::MissingLink, false);
        self.put_message(place.mailbox, place.uid, &message);
        self.put_ties(&message, &Ties { parents: Vec::new(), ..ties });
        Ok(())
    }

    /// Finds the thread of a message that is there and has none. Whoever it builds on is assigned first.
    pub fn assign_thread(&mut self, id: MsgId, under_way: &mut Vec<MsgId>) -> Result<(), Fault> {
        let Some((place, mut message)) = self.message(id)? else { return Ok(()) };
        if message.thread.0 != 0 {
            return Ok(());
        }
        let Some(mut ties) = self.tx.record::<Ties>(&keys::ties(self.id, id))? else { return Ok(()) };
        let facts = self.cold(id)?.facts;
        under_way.push(id);
        let found = self.find_thread(&mut message, &mut ties, &facts, under_way);
        under_way.pop();
        found?;
        self.put_message(place.mailbox, place.uid, &message);
        self.put_ties(&message, &ties);
        Ok(())
    }

    fn find_thread(
        &mut self,
        message: &mut Message,
        ties: &mut Ties,
        facts: &Facts,
        under_way: &mut Vec<MsgId>,
    ) -> Result<(), Fault> {
        let mut direct = true;
        let mut found = None;
        for reference in facts.references.iter().rev() {
            if *reference == facts.message_id {
                continue;
            }
            let hash = keys::hash(&[reference.as_bytes()]);
            let ids = self.newest_below(&keys::message_ids(self.id, &hash), None)?;
            let subject = if facts.report { None } else { Some(ties.subject) };
            found = self.candidate(ids, message.id, subject, under_way)?;
            if found.is_some() {
                break;
            }
            direct = false;
        }
        if facts.references.is_empty()
            && facts.answer
            && let Some(hash) = ties.subject
        {
            direct = false;
            let (after, until) = (message.received.plus(-THREAD_SUBJECT_AGE), message.received);
            let ids = self.newest_below(&keys::subjects(self.id, &hash), Some((after, until)))?;
            found = self.candidate(ids, message.id, None, under_way)?;
        }
        let missing = match &found {
            Some(_) => !direct,
            None => !facts.references.is_empty(),
        };
        message.marks = message.marks.set(Mark::MissingLink, missing);
        match found {
            Some(parent) => {
                message.thread = parent.message.thread;
                for mark in [Mark::Muted, Mark::Collapsed] {
                    message.marks = message.marks.set(mark, parent.message.marks.has(mark));
                }
                ties.parents = ancestors(parent.message.id, parent.ties.parents);
            }
            None => {
                message.thread = message.id;
                ties.parents = Vec::new();
            }
        }
        Ok(())
    }

    /// Ids at the end of the keys below `prefix`, a few; with times before them, those between the two.
    fn newest_below(
        &self,
        prefix: &[u8],
        between: Option<(Timestamp, Timestamp)>,
    ) -> Result<Vec<MsgId>, Fault> {
        let mut ids = Vec::new();
        let mut take = |key: &[u8]| {
            ids.extend(keys::last_id(key).map(MsgId));
            if ids.len() < THREAD_CANDIDATES { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        match between {
            None => keys::below(prefix, |range| self.tx.visit(range, |key, _| take(key)))?,
            Some((after, until)) => {
                let from = [prefix, &keys::newest(until)].concat();
                let to = [prefix, &keys::newest(after), &[0xff; 8]].concat();
                let range = (Bound::Included(from.as_slice()), Bound::Included(to.as_slice()));
                self.tx.visit(range, |key, _| take(key))?;
            }
        }
        Ok(ids)
    }

    /// The first of them that may be a parent. `subject`: it must have this one.
    fn candidate(
        &mut self,
        ids: Vec<MsgId>,
        own: MsgId,
        subject: Option<Option<Hash>>,
        under_way: &mut Vec<MsgId>,
    ) -> Result<Option<Candidate>, Fault> {
        for id in ids {
            if id == own || under_way.contains(&id) {
                continue;
            }
            let Some((_, found)) = self.message(id)? else { continue };
            if found.thread.0 == 0 {
                if under_way.len() >= THREAD_DEPTH {
                    continue;
                }
                self.assign_thread(id, under_way)?;
            }
            let Some((_, message)) = self.message(id)? else { continue };
            let Some(ties) = self.tx.record::<Ties>(&keys::ties(self.id, id))? else { continue };
            let fits = subject.is_none_or(|subject| subject == ties.subject);
            if fits && message.thread.0 != 0 && !ties.parents.contains(&own) {
                return Ok(Some(Candidate { message, ties }));
            }
        }
        Ok(None)
    }

    /// Mutes or collapses whole threads. Their messages keep their modseqs: nothing changed that IMAP can tell.
    fn mark_threads(&mut self, request: &ThreadChange) -> Result<(), Fault> {
        let mut threads = BTreeSet::new();
        for id in &request.messages {
            let (_, message) = self.message(*id)?.ok_or(Fault::NoMessage)?;
            threads.insert(message.thread);
        }
        for thread in threads.into_iter().filter(|thread| thread.0 != 0) {
            let members = self.tx.keys_below(&keys::thread(self.id, thread))?;
            if members.len() > THREAD_BULK {
                return Err(Fault::Limit("messages of a thread".into()));
            }
            for id in members.iter().filter_map(|key| keys::last_id(key)) {
                let Some((place, mut message)) = self.message(MsgId(id))? else { continue };
                let before = message.marks;
                for (mark, wish) in [(Mark::Muted, request.muted), (Mark::Collapsed, request.collapsed)] {
                    if let Some(there) = wish {
                        message.marks = message.marks.set(mark, there);
                    }
                }
                if message.marks != before {
                    self.put_message(place.mailbox, place.uid, &message);
                    self.event(Event::ThreadMarks {
                        mailbox: place.mailbox,
                        uid: place.uid,
                        muted: message.marks.has(Mark::Muted),
                        collapsed: message.marks.has(Mark::Collapsed),
                    });
                }
            }
        }
        Ok(())
    }
}

/// A parent and its ancestors; of too many the root and the nearest stay.
fn ancestors(parent: MsgId, above: Vec<MsgId>) -> Vec<MsgId> {
    let mut parents = Vec::with_capacity(above.len() + 1);
    parents.push(parent);
    parents.extend(above);
    if parents.len() > THREAD_PARENTS {
        parents.remove(THREAD_PARENTS - 1);
    }
    parents
}

/// Whether `parents` is what a child of `parent` has.
pub fn are_ancestors(parents: &[MsgId], parent: MsgId, above: &[MsgId]) -> bool {
    parents == ancestors(parent, above.to_vec())
}

impl Store {
    /// Mutes and collapses.
    pub async fn thread_change(&self, session: &Session, request: ThreadChange) -> Result<Changed, Fault> {
        if request.messages.len() > THREAD_BULK {
            return Err(Fault::Limit("messages at once".into()));
        }
        let ((), change) = self.change(session, |writer| writer.mark_threads(&request)).await?;
        Ok(Changed { change })
    }

    /// Where a message stands.
    pub fn thread_of(&self, account: AccountId, id: MsgId) -> Result<ThreadPlace, Fault> {
        let read = &self.engine;
        let place: Place = read.record(&keys::place(account, id))?.ok_or(Fault::NoMessage)?;
        let message: Message =
            read.record(&keys::message(account, place.mailbox, place.uid))?.ok_or(Fault::NoMessage)?;
        let ties: Ties = read.record(&keys::ties(account, id))?.unwrap_or_default();
        let mut members = Vec::new();
        keys::below(&keys::thread(account, message.thread), |range| {
            read.visit(range, |key, _| {
                members.extend(keys::last_id(key).map(MsgId));
                if members.len() < THREAD_BULK { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })
        })?;
        Ok(ThreadPlace { thread: message.thread, parents: ties.parents, members })
    }
}
