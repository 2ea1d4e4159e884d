//! Hold rules (rows QU-10, MP-14): asked within the change that queues, made within one that holds what waits.

use super::Queue;
use crate::keys;
use crate::limits::HOLD_RULES;
use crate::records::{QueueMessage, QueueRecord, Read, encode};
use crate::store::Store;
use libmox_store::{Fault, HoldRule, HoldRuleAdded};
use libmox_types::QueueId;
use std::collections::HashMap;

/// All rules, by id.
pub(super) fn rules(read: &impl Read) -> Result<Vec<(u32, HoldRule)>, Fault> {
    let mut rules = Vec::new();
    read.records(keys::HOLD_RULES, |key, rule| {
        rules.push((keys::hold_rule_id(key), rule));
        Ok(())
    })?;
    Ok(rules)
}

/// Whether a rule holds an entry.
pub(super) fn fits(rule: &HoldRule, message: &QueueMessage, entry: &QueueRecord) -> bool {
    rule.matches(&message.account_name, &entry.sender(message), &entry.recipient.address.domain)
}

impl Store {
    /// All rules, by id.
    pub fn hold_rules(&self) -> Result<Vec<(u32, HoldRule)>, Fault> {
        rules(&self.engine)
    }

    /// Adds a rule, and holds what it fits.
    pub async fn hold_rule_add(&self, rule: &HoldRule) -> Result<HoldRuleAdded, Fault> {
        let add = |queue: &mut Queue<'_>| {
            let there = rules(queue.tx)?;
            if there.len() >= HOLD_RULES {
                return Err(Fault::Limit("hold rules".into()));
            }
            let id = there.last().map_or(1, |(id, _)| id.saturating_add(1));
            queue.tx.change().put(keys::hold_rule(id), encode(rule));
            Ok(HoldRuleAdded { id, held: queue.hold_by(rule)? })
        };
        self.queue_change(add).await
    }

    /// Takes a rule away.
    pub async fn hold_rule_remove(&self, id: u32) -> Result<bool, Fault> {
        let remove = |queue: &mut Queue<'_>| {
            let key = keys::hold_rule(id);
            let there = queue.tx.get(&key)?.is_some();
            queue.tx.change().delete(key);
            Ok(there)
        };
        self.queue_change(remove).await
    }
}

impl Queue<'_> {
    /// Holds all entries that a rule fits; how many were not held before.
    fn hold_by(&mut self, rule: &HoldRule) -> Result<u32, Fault> {
        let mut waiting: Vec<(QueueId, QueueRecord)> = Vec::new();
        self.tx.records(keys::QUEUED, |key, entry: QueueRecord| {
            if !entry.held {
                waiting.extend(keys::last_id(key).map(|id| (QueueId(id), entry)));
            }
            Ok(())
        })?;
        let mut messages: HashMap<QueueId, Option<QueueMessage>> = HashMap::new();
        let mut held = 0;
        for (id, before) in waiting {
            let message = match messages.entry(before.message) {
                std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
                std::collections::hash_map::Entry::Vacant(new) => {
                    new.insert(self.tx.record(&keys::queue_message(before.message))?)
                }
            };
            let Some(message) = message else { continue };
            if fits(rule, message, &before) {
                self.replace(id, &before, &QueueRecord { held: true, ..before.clone() });
                held += 1;
            }
        }
        Ok(held)
    }
}
