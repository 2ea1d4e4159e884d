//! What left a mailbox: role `imap`.

use crate::SessionId;
use libmox_types::{MailboxId, ModSeq, UidSet};
use serde::{Deserialize, Serialize};

/// The removals from a mailbox after a modseq. Reply: [`Vanished`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VanishedSince {
    /// Whose.
    pub session: SessionId,
    /// Where.
    pub mailbox: MailboxId,
    /// After this.
    pub since: ModSeq,
}

/// Reply to [`VanishedSince`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vanished {
    /// Which; empty unless `complete`.
    pub uids: UidSet,
    /// Whether the store remembers all of them, and they fit a reply.
    pub complete: bool,
}
