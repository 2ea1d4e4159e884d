//! What ties messages to each other, for whoever groups them: role `imap`.

use crate::SessionId;
use libmox_types::{MailboxId, Timestamp, Uid, UidSet};
use serde::{Deserialize, Serialize};

/// Message-IDs and references of messages, by uid: a stream of [`crate::Item::References`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReferenceList {
    /// Whose.
    pub session: SessionId,
    /// Where.
    pub mailbox: MailboxId,
    /// Which.
    pub uids: UidSet,
}

/// Of one message, as [`crate::Facts`] had them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageReferences {
    /// Which.
    pub uid: Uid,
    /// The Date field, else INTERNALDATE.
    pub sent: Timestamp,
    /// Without brackets, lower case; empty if there is none.
    pub message_id: String,
    /// Ancestors, the nearest last.
    pub references: Vec<String>,
    /// Subject without what marks an answer.
    pub base_subject: String,
    /// Whether something marked it as an answer.
    pub answer: bool,
}
