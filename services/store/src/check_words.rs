//! The invariants of the junk filter: its words equal to a recomputation from the messages that were learnt.

use crate::check::Findings;
use crate::engine::Engine;
use crate::junk::{Count, Filter, is_counted, unpack, wanted};
use crate::keys;
use crate::records::{Account, Message, Place, Read, Stage, Training};
use libmox_store::Fault;
use libmox_types::{AccountId, MsgId};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Checks the filter of an account.
pub fn check(
    read: &Engine,
    name: &str,
    id: AccountId,
    account: &Account,
    places: &HashMap<MsgId, Place>,
    findings: &mut Findings,
) -> Result<(), Fault> {
    let stage = account.upgrade.map(|progress| progress.stage);
    if stage == Some(Stage::Forget) {
        return Ok(());
    }
    let mut want = Filter::default();
    let mut counts: BTreeMap<u32, Count> = BTreeMap::new();
    let mut learnt = BTreeSet::new();
    for (message, place) in places {
        let key = keys::message(id, place.mailbox, place.uid);
        let Some(record) = read.record::<Message>(&key)? else { continue };
        let words = read.blob(&keys::words(id, *message))?;
        let right = record.trained == wanted(record.flags);
        // What came before there was a filter has no words, and is not learnt before it changes.
        findings.expect(right || words.is_none() || stage == Some(Stage::Learn), || {
            format!("{name}: message {message} is learnt as {:?}", record.trained)
        });
        if record.trained == Training::None {
            continue;
        }
        let junk = record.trained == Training::Junk;
        *(if junk { &mut want.junk } else { &mut want.ham }) += 1;
        learnt.insert(keys::counted(id, *message));
        let counted = read.get(&keys::counted(id, *message))?;
        let counted = counted.as_deref().unwrap_or_default();
        for (at, word) in unpack(&words.unwrap_or_default()).into_iter().enumerate() {
            if is_counted(counted, at) {
                let count = counts.entry(word).or_default();
                *(if junk { &mut count.junk } else { &mut count.ham }) += 1;
            }
        }
    }
    let kept: Filter = read.record(&keys::junk_filter(id))?.unwrap_or_default();
    want.words = u32::try_from(counts.len()).unwrap_or(u32::MAX);
    let same = (kept.junk, kept.ham, kept.words) == (want.junk, want.ham, want.words);
    findings.expect(same, || format!("{name}: junk filter {kept:?}, is {want:?}"));
    let mut there = BTreeMap::new();
    for key in read.keys_below(&keys::junk_words(id))? {
        let count = read.get(&key)?.and_then(|value| Count::read(&value)).unwrap_or_default();
        there.insert(keys::last_word(&key).unwrap_or(0), count);
    }
    findings.expect(there == counts, || {
        let differ = counts.iter().filter(|(word, count)| there.get(word) != Some(count)).count();
        format!("{name}: {} junk words, {} recomputed, {differ} of them differ", there.len(), counts.len())
    });
    let marks: BTreeSet<Vec<u8>> = read.keys_below(&keys::all_counted(id))?.into_iter().collect();
    findings.expect(marks == learnt, || format!("{name}: messages learnt and what was counted differ"));
    for key in read.keys_below(&keys::of_kind(id, b'W'))? {
        let message = keys::last_id(&key[..key.len().saturating_sub(2)]).map(MsgId);
        let known = message.is_some_and(|message| places.contains_key(&message));
        findings.expect(known, || format!("{name}: words of a message that is gone: {message:?}"));
    }
    Ok(())
}
