//! SEARCH: what records know is asked of records; only what they leave open is read.
//!
//! Law: RFC 9051 §6.4.4; row IM-43, TR-53. A key is true, false, or not known yet: only a message whose whole
//! key is not known yet is opened, once, and streamed past all terms together.

use crate::connection::{Connection, Done};
use crate::content::Ahead;
use crate::error::Failure;
use crate::judge::{Facts, Terms, look, needs_structure};
use libmox_imap::command::{By, SearchKey, SearchReturn};
use libmox_imap::response::{self, Code, Status};
use libmox_imap::{FoundModSeqs, Session, limits, parse_search_program};
use libmox_message::{envelope_in, repeats_in};
use libmox_service::clock;
use libmox_store::{FlaggedSet, Item, MessageList, Request, Want};
use libmox_types::{Flag, MailboxId, UidSet};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// Filters within filters.
const FILTER_DEPTH: usize = 5;

impl Connection {
    pub(crate) async fn search(
        &mut self,
        by: By,
        returns: Option<SearchReturn>,
        key: SearchKey,
    ) -> Result<Done, Failure> {
        let mailbox = self.mailbox_id()?;
        let Some(selected) = self.session.mailbox() else { return Ok(Done::OK) };
        let uids = selected.view.present();
        let key = self.with_filters(key).await?;
        let (found, mod_seqs) = self.find(mailbox, uids, &key).await?;
        self.session.found(by, returns, &found, mod_seqs, self.wire.output());
        if returns.is_some_and(|returns| returns.update) {
            let result = found.iter().collect();
            self.session.keep_context(by, key, None, result, self.wire.output());
        }
        Ok(Done::OK)
    }

    /// The key with what its filters say (RFC 5466): annotations of the server, private ones first.
    pub(crate) async fn with_filters(&self, mut key: SearchKey) -> Result<SearchKey, Failure> {
        for _ in 0..FILTER_DEPTH {
            let names = key.filters();
            if names.is_empty() {
                return Ok(key);
            }
            let all = self.annotations(None).await?;
            let mut filters = BTreeMap::new();
            for name in names {
                let entry = |kind: &str| {
                    let entry = format!("/{kind}/filters/values/{name}");
                    all.iter().find(|annotation| annotation.name == entry)
                };
                let Some(found) = entry("private").or_else(|| entry("shared")) else {
                    return Err(Failure::no(Code::UndefinedFilter(name), "no such filter"));
                };
                let Ok(program) = parse_search_program(&found.value) else {
                    return Err(Failure::no(Code::UndefinedFilter(name), "the filter is no search"));
                };
                filters.insert(name, self.session.resolve(program));
            }
            key = key.with_filters(&filters);
            // Filters in filters: as large and as deep as one command may be.
            let mut keys = 0;
            key.any(&mut |_| {
                keys += 1;
                keys > limits::SEARCH_KEYS
            });
            if keys > limits::SEARCH_KEYS || key.depth() > limits::SEARCH_DEPTH {
                return Err(Failure::no(Code::Limit, "search too complicated"));
            }
        }
        Err(Failure::no(Code::Limit, "filters nest too deeply"))
    }

    /// The messages among these that satisfy the key, and their modseqs where the key speaks of them.
    pub(crate) async fn find(
        &mut self,
        mailbox: MailboxId,
        mut uids: UidSet,
        key: &SearchKey,
    ) -> Result<(UidSet, Option<FoundModSeqs>), Failure> {
        let session = self.session_id()?;
        narrow(key, &mut uids);
        let mut found = UidSet::new();
        let mut mod_seqs = FoundModSeqs::default();
        let tells_mod_seq = key.any(&mut |key| matches!(key, SearchKey::ModSeq(_)));
        let mut progress = Progress::new(uids.count(), self.shared.waits.progress);
        let sets = if tells_mod_seq { None } else { self.by_flags(mailbox, &uids, key).await? };
        if let Some(sets) = sets {
            found = sets;
        } else if is_sets_only(key) {
            found = uids;
        } else if !uids.is_empty() {
            let terms = Terms::of(key);
            let want = Want { structure: needs_structure(key), preview: false };
            let list = MessageList { session, mailbox, uids, changed_since: None, want };
            let mut stream = self.shared.store.stream(Request::MessageList(list)).await?;
            let now = clock::now();
            while let Some(item) = stream.next().await {
                let Item::Messages(records) = item? else { continue };
                // First what the records tell, then the contents of the rest.
                let (mut hits, mut open) = (Vec::new(), Vec::new());
                for record in &records {
                    let envelope = if want.structure { envelope_in(&record.structure) } else { None };
                    let repeats = repeats_in(&record.structure);
                    let facts = Facts { record, envelope, repeats, structure: None, now, hits: None };
                    match facts.judge(key, &terms) {
                        Some(true) => hits.push(record),
                        Some(false) => {}
                        None => open.push(facts),
                    }
                }
                self.tell_progress(&mut progress, records.len() - open.len()).await?;
                let unread = open.iter().map(|facts| facts.record);
                let mut ahead = Ahead::new(&self.shared.store, session, unread);
                for mut facts in open {
                    match ahead.next().await {
                        Ok(content) => {
                            if facts.structure.is_none() {
                                facts.structure = Some(content.structure(facts.record).await?);
                            }
                            facts.hits =
                                Some(look(&content, facts.structure.as_ref(), &terms.content).await?);
                            if facts.judge(key, &terms).unwrap_or(false) {
                                hits.push(facts.record);
                            }
                        }
                        // Gone this moment: it is not found.
                        Err(Failure::No(Some(Code::ExpungeIssued), _)) => {}
                        Err(failure) => return Err(failure),
                    }
                    self.tell_progress(&mut progress, 1).await?;
                }
                // Modseqs are noted in the order of the uids.
                hits.sort_unstable_by_key(|record| record.uid);
                for record in hits {
                    found.insert(record.uid);
                    mod_seqs.note(record.mod_seq);
                }
            }
        }
        Ok((found, tells_mod_seq.then_some(mod_seqs)))
    }
}

impl Connection {
    /// So many messages more were looked at.
    async fn tell_progress(&mut self, progress: &mut Progress, messages: usize) -> Result<(), Failure> {
        if let Some(code) = progress.step(messages, &self.session) {
            response::untagged(self.wire.output(), Status::Ok, Some(&code), "still searching");
            self.flush().await?;
        }
        Ok(())
    }

    /// The answer of a key that speaks of flags and sets alone; none for another key, or where a set is too ragged.
    async fn by_flags(
        &self,
        mailbox: MailboxId,
        uids: &UidSet,
        key: &SearchKey,
    ) -> Result<Option<UidSet>, Failure> {
        let mut wanted: Vec<Flag> = Vec::new();
        let other = key.any(&mut |key| match key {
            SearchKey::Flag(flag, _) => {
                if !wanted.contains(flag) {
                    wanted.push(*flag);
                }
                false
            }
            SearchKey::All | SearchKey::Among(_) | SearchKey::Old => false,
            _ => true,
        });
        if other || wanted.is_empty() || uids.is_empty() {
            return Ok(None);
        }
        let mut flagged = Vec::with_capacity(wanted.len());
        for flag in wanted {
            let verb = FlaggedSet { session: self.session_id()?, mailbox, flag };
            match self.shared.store.ask(verb).await? {
                Some(set) => flagged.push((flag, set)),
                None => return Ok(None),
            }
        }
        Ok(Some(of_sets(key, uids, &flagged)))
    }
}

/// The messages among `uids` that satisfy a key of flags and sets.
fn of_sets(key: &SearchKey, uids: &UidSet, flagged: &[(Flag, UidSet)]) -> UidSet {
    let without = |set: &UidSet| {
        let mut left = uids.clone();
        left.subtract(set);
        left
    };
    match key {
        SearchKey::Among(set) => uids.intersection(set),
        SearchKey::Flag(flag, set) => {
            let all = flagged.iter().find(|(known, _)| known == flag);
            match (all, set) {
                (Some((_, all)), true) => uids.intersection(all),
                (Some((_, all)), false) => without(all),
                (None, true) => UidSet::new(),
                (None, false) => uids.clone(),
            }
        }
        SearchKey::Not(key) => without(&of_sets(key, uids, flagged)),
        SearchKey::Or(a, b) => {
            let mut either = of_sets(a, uids, flagged);
            either.extend(&of_sets(b, uids, flagged));
            either
        }
        SearchKey::And(keys) => keys.iter().fold(uids.clone(), |left, key| of_sets(key, &left, flagged)),
        // Everything, as nothing else is asked.
        _ => uids.clone(),
    }
}

/// Tells from time to time how far a long command is. RFC 9585, row IM-35.
pub(crate) struct Progress {
    done: u64,
    all: u64,
    every: Duration,
    last: Instant,
}

impl Progress {
    pub(crate) fn new(all: u64, every: Duration) -> Self {
        Self { done: 0, all, every, last: Instant::now() }
    }

    /// So many more; what is to be said now, if something is. The goal is never said to be reached.
    pub(crate) fn step(&mut self, more: usize, session: &Session) -> Option<Code> {
        self.done += more as u64;
        if more == 0 || self.done >= self.all || self.last.elapsed() < self.every {
            return None;
        }
        self.last = Instant::now();
        Some(Code::InProgress(session.tag(), self.done, self.all))
    }
}

/// Leaves out what no top-level set names.
fn narrow(key: &SearchKey, uids: &mut UidSet) {
    match key {
        SearchKey::Among(set) => *uids = uids.intersection(set),
        SearchKey::And(keys) => keys.iter().for_each(|key| narrow(key, uids)),
        SearchKey::Not(key) => {
            if let SearchKey::Among(set) = &**key {
                uids.subtract(set);
            }
        }
        _ => {}
    }
}

/// Whether [`narrow`] has answered it.
fn is_sets_only(key: &SearchKey) -> bool {
    match key {
        SearchKey::All | SearchKey::Among(_) => true,
        SearchKey::And(keys) => keys.iter().all(is_sets_only),
        SearchKey::Not(key) => matches!(**key, SearchKey::Among(_)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_answer_what_flags_ask() {
        let set = |uids: &[u32]| uids.iter().copied().map(libmox_types::Uid).collect::<UidSet>();
        let seen = |yes| SearchKey::Flag(Flag::Seen, yes);
        let flagged = [(Flag::Seen, set(&[1, 2, 9])), (Flag::Flagged, set(&[2, 3]))];
        let among = |uids: &[u32]| SearchKey::Among(set(uids));
        let not = |key| SearchKey::Not(Box::new(key));
        for (key, want) in [
            (seen(true), vec![1, 2]),
            (seen(false), vec![3, 4]),
            (not(seen(true)), vec![3, 4]),
            (SearchKey::And(vec![seen(true), SearchKey::Flag(Flag::Flagged, true)]), vec![2]),
            (
                SearchKey::Or(Box::new(among(&[4])), Box::new(SearchKey::Flag(Flag::Flagged, true))),
                vec![2, 3, 4],
            ),
            (SearchKey::And(vec![not(among(&[1])), seen(true), SearchKey::All]), vec![2]),
            (not(SearchKey::And(vec![seen(false), among(&[3, 9])])), vec![1, 2, 4]),
        ] {
            assert_eq!(of_sets(&key, &set(&[1, 2, 3, 4]), &flagged), set(&want), "{key:?}");
        }
    }
}
