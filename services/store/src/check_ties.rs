//! The invariants between messages: threads, rejects, signals, and the keys that messages are found by.
//!
//! While an account is being upgraded its messages may have no ties and no thread yet; everything else holds always.

use crate::check::Findings;
use crate::engine::Engine;
use crate::keys;
use crate::records::{self, Account, Message, Place, Read, Ties};
use crate::rejects::content_key;
use crate::signals::{judged, keys_of};
use crate::threads::are_ancestors;
use libmox_store::{Fault, Mark};
use libmox_types::{AccountId, MsgId};
use std::collections::{BTreeSet, HashMap};

/// Checks the ties of all messages of an account.
pub fn check(
    read: &Engine,
    name: &str,
    id: AccountId,
    account: &Account,
    places: &HashMap<MsgId, Place>,
    findings: &mut Findings,
) -> Result<(), Fault> {
    let mut all: HashMap<MsgId, (Message, Ties)> = HashMap::new();
    let mut wanted = BTreeSet::new();
    let upgrading = account.upgrade.is_some();
    for (message, place) in places {
        let Some(record) = read.record::<Message>(&keys::message(id, place.mailbox, place.uid))? else {
            continue;
        };
        let Some(ties) = read.record::<Ties>(&keys::ties(id, *message))? else {
            findings.expect(upgrading, || format!("{name}: message {message} has no ties"));
            continue;
        };
        wanted.insert(keys::ties(id, *message));
        wanted.extend(ties.message_id.map(|hash| keys::message_id(id, &hash, *message)));
        wanted.extend(ties.subject.map(|hash| keys::subject(id, &hash, record.received, *message)));
        if record.thread.0 != 0 {
            wanted.insert(keys::thread_member(id, record.thread, *message));
        }
        if record.marks.has(Mark::Reject) {
            let key = keys::reject(id, record.received, *message);
            let content = read.get(&key)?;
            wanted.extend(content.and_then(|content| content_key(id, *message, &content)));
            wanted.insert(key);
        }
        if judged(&record).is_some() && !upgrading {
            let cold_key = keys::cold(id, *message);
            if let Some(blob) = read.blob(&cold_key)? {
                let cold = records::decode(&cold_key, &blob)?;
                wanted.extend(keys_of(id, &record, &cold).into_iter().map(|(key, _)| key));
            }
        }
        let waits = record.marks.has(Mark::Reject) || record.marks.has(Mark::Intro);
        findings.expect(waits == (record.destined.0 != 0), || format!("{name}: message {message} destined"));
        all.insert(*message, (record, ties));
    }
    let mut there = BTreeSet::new();
    // Signals of what was not upgraded yet may be there or not.
    let kinds: &[u8] = if upgrading { b"hMSTrj" } else { b"hMSTrjg" };
    for kind in kinds.iter().copied() {
        there.extend(read.keys_below(&keys::of_kind(id, kind))?);
    }
    let show = |key: &Vec<u8>| key.escape_ascii().to_string();
    for key in wanted.symmetric_difference(&there) {
        let what = if there.contains(key) { "leads nowhere" } else { "is missing" };
        findings.expect(false, || format!("{name}: key {} {what}", show(key)));
    }
    for (message, (record, ties)) in &all {
        let at = || format!("{name}: message {message}");
        findings.expect(upgrading || record.thread.0 != 0, || format!("{}: no thread", at()));
        findings.expect(record.thread < account.next_message, || format!("{}: thread id", at()));
        let distinct: BTreeSet<_> = ties.parents.iter().collect();
        let sane = distinct.len() == ties.parents.len() && !distinct.contains(message);
        findings.expect(sane, || format!("{}: parents {:?}", at(), ties.parents));
        findings
            .expect(ties.parents.is_empty() || record.thread.0 != 0, || format!("{}: parents only", at()));
        let Some(parent) = ties.parents.first() else { continue };
        // A parent may be gone; while threads are found anew it may be on its way out of the thread.
        let Some((parent_record, parent_ties)) = all.get(parent) else { continue };
        let fits = parent_record.thread == record.thread
            && are_ancestors(&ties.parents, *parent, &parent_ties.parents);
        findings.expect(upgrading || fits, || format!("{}: not in the thread of its parent {parent}", at()));
        let muted = record.marks.has(Mark::Muted) == parent_record.marks.has(Mark::Muted);
        findings.expect(upgrading || muted, || format!("{}: mutes other than its parent", at()));
    }
    Ok(())
}
