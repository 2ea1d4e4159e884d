//! Why the store said no. Ask of each: try again, give up, or our bug.

use serde::{Deserialize, Serialize};

/// A request that had no effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Fault {
    /// The verb is not this role's. The connection ends.
    #[error("verb of another role")]
    Forbidden,
    /// Disk full, I/O error, degraded: a temporary error for everyone (4xx, `NO [UNAVAILABLE]`).
    #[error("store cannot write now: {0}")]
    Unavailable(String),
    /// The session id is not of this connection, or was signed out.
    #[error("no such session")]
    NoSession,
    /// No such account.
    #[error("no such account")]
    NoAccount,
    /// No such mailbox.
    #[error("no such mailbox")]
    NoMailbox,
    /// No such message (expunged, perhaps just now).
    #[error("no such message")]
    NoMessage,
    /// No such address, domain, queue entry or other thing asked for by name.
    #[error("not found")]
    NotFound,
    /// It exists already.
    #[error("exists already")]
    Exists,
    /// It has children and stays.
    #[error("has children")]
    HasChildren,
    /// Inbox, or another thing that cannot be changed so.
    #[error("cannot be changed: {0}")]
    Cannot(String),
    /// The account's quota would be exceeded. SMTP 452 4.2.2, IMAP OVERQUOTA.
    #[error("over quota")]
    OverQuota,
    /// A limit of the system with its name.
    #[error("limit reached: {0}")]
    Limit(String),
    /// The staged body is not there, or not of the size said.
    #[error("no such staged body")]
    NoBody,
    /// The record of the message does not add up: `size != prefix + file`.
    #[error("message size does not add up")]
    BadSize,
    /// The sender may not use this address.
    #[error("address not allowed for this account")]
    NotYours,
    /// A change built on something that changed meanwhile (configuration, modseq).
    #[error("changed meanwhile")]
    Stale,
    /// A value that cannot be (postcard read it, but it breaks the contract). The caller's bug.
    #[error("invalid request: {0}")]
    Invalid(String),
    /// Something in the store is not as it must be; logged there with everything.
    #[error("internal fault in the store")]
    Internal,
    /// Too little disk space for more mail: a temporary error for everyone (row ST-46: SMTP 452 4.3.1).
    #[error("the disk is full")]
    Full,
    /// The domain of the sender is switched off for now: 451 4.3.0 (row SU-14).
    #[error("sender domain temporarily disabled")]
    SenderDisabled,
    /// An envelope sender that was to be unique is not: 554 5.1.7 (row SU-08).
    #[error("envelope sender used before")]
    SenderUsed,
}
