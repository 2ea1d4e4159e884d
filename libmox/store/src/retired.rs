//! What left the queue, and who gets no more mail: roles `queue` and `admin`.

use libmox_types::{AccountId, Address, QueueId, ReversePath, Timestamp};
use serde::{Deserialize, Serialize};

/// What left the queue and is kept for a while (row QU-15), by id. Reply: [`Retired`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RetiredList {
    /// Start behind this one; 0 for the first page.
    pub after: QueueId,
    /// At most this many, and at most 1000.
    pub most: u32,
}

/// An entry that left the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retired {
    /// Its id.
    pub id: QueueId,
    /// Of its message.
    pub message: QueueId,
    /// Whose.
    pub account: AccountId,
    /// Envelope sender.
    pub mail_from: ReversePath,
    /// To whom.
    pub recipient: Address,
    /// Message-ID without brackets.
    pub message_id: String,
    /// When it was queued.
    pub queued: Timestamp,
    /// When it left.
    pub left: Timestamp,
    /// Attempts begun.
    pub attempts: u32,
    /// Delivered, or given up.
    pub delivered: bool,
    /// The last that was said.
    pub last: String,
    /// Until when this is kept.
    pub keep_until: Timestamp,
}

/// Who gets no more mail from an account (row QU-17). Reply: [`Suppressed`]s behind `after`, at most 1000.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SuppressionList {
    /// By name.
    pub account: String,
    /// Base address to start behind; empty for the first page.
    pub after: String,
}

/// Suppresses an address.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SuppressionAdd {
    /// By name.
    pub account: String,
    /// Whom.
    pub address: Address,
    /// Found by the queue, not entered by a person.
    pub automatic: bool,
    /// Why.
    pub reason: String,
}

/// Takes it off the list. Reply: whether it was there.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SuppressionRemove {
    /// By name.
    pub account: String,
    /// Whom.
    pub address: Address,
}

/// An address that gets no more mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suppressed {
    /// Lower case, without what follows "+" or "-", without dots: all addresses alike are meant.
    pub base: String,
    /// As it was given.
    pub address: Address,
    /// Since when.
    pub since: Timestamp,
    /// Found by the queue.
    pub automatic: bool,
    /// Why.
    pub reason: String,
}
