//! Which messages have a flag, as a set: role `imap`.

use crate::SessionId;
use libmox_types::{Flag, MailboxId};
use serde::{Deserialize, Serialize};

/// The messages of a mailbox that have a flag. Reply: the set, or none where it is too ragged for a reply.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FlaggedSet {
    /// Whose.
    pub session: SessionId,
    /// Where.
    pub mailbox: MailboxId,
    /// Which flag.
    pub flag: Flag,
}
