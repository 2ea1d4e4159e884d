//! A message in place of another: role `imap`.

use crate::{AppendMessage, SessionId};
use libmox_types::{MailboxId, MailboxName, Uid};
use serde::{Deserialize, Serialize};

/// Adds a message and removes another, both or neither (RFC 8508). Reply: [`crate::Placed`], with the old uid in `from`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Replace {
    /// Whose.
    pub session: SessionId,
    /// Where the old message is.
    pub mailbox: MailboxId,
    /// The old message; [`crate::Fault::NoMessage`] if it is gone.
    pub uid: Uid,
    /// Where the new one goes.
    pub to: MailboxName,
    /// The new one.
    pub message: AppendMessage,
}
