//! Hold rules: what is put on hold as it is queued (row QU-10). They are kept where the queue is (row MP-14), so that a
//! message that is queued while a rule is made is held by one of the two.

use libmox_types::{Domain, ReversePath};
use serde::{Deserialize, Serialize};

/// Matches what fits everything it names; one that names nothing matches all and so pauses the queue.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldRule {
    /// Account that sends, by name.
    pub account: Option<String>,
    /// Domain of the envelope sender; reports have none.
    pub sender_domain: Option<Domain>,
    /// Domain of the recipient.
    pub recipient_domain: Option<Domain>,
}

impl HoldRule {
    /// Whether it holds a copy for a recipient at this domain.
    #[must_use]
    pub fn matches(&self, account: &str, sender: &ReversePath, recipient: &Domain) -> bool {
        let sender = sender.address().map(|address| &address.domain);
        self.account.as_ref().is_none_or(|name| name == account)
            && self.sender_domain.as_ref().is_none_or(|domain| Some(domain) == sender)
            && self.recipient_domain.as_ref().is_none_or(|domain| domain == recipient)
    }
}

/// Adds a rule, and holds what waits already and fits. Reply: [`HoldRuleAdded`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HoldRuleAdd(pub HoldRule);

/// What became of a [`HoldRuleAdd`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldRuleAdded {
    /// The rule's.
    pub id: u32,
    /// So many that waited are held now.
    pub held: u32,
}

/// Takes a rule away; what is held stays held. Reply: whether it was there.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct HoldRuleRemove {
    /// Which.
    pub id: u32,
}

/// All rules. Reply: each with its id, ascending; at most 1000.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct HoldRuleList;
