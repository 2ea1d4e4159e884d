//! What is known of those that an account writes to: roles `queue`, `submission`, `imap`.

use crate::SessionId;
use libmox_types::{AccountId, Address, Domain, Timestamp};
use serde::{Deserialize, Serialize};

/// What the server of a recipient's domain could do at the last attempt; replaces what was known (row ST-38).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TlsSupportSet {
    /// Whose message it was.
    pub account: AccountId,
    /// The recipient's domain.
    pub domain: Domain,
    /// STARTTLS.
    pub starttls: bool,
    /// REQUIRETLS, RFC 8689.
    pub require_tls: bool,
}

/// What is known of domains. Reply: one [`TlsSupport`] each, where something is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TlsSupportOf {
    /// Whose.
    pub session: SessionId,
    /// At most 1000.
    pub domains: Vec<Domain>,
}

/// See [`TlsSupportSet`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsSupport {
    /// When that was.
    pub seen: Timestamp,
    /// STARTTLS.
    pub starttls: bool,
    /// REQUIRETLS.
    pub require_tls: bool,
}

/// Whether the account wrote to an address: it is in To, Cc or Bcc of a message that came into a mailbox for sent
/// mail (row ST-39). Reply: when first and last.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WroteTo {
    /// Whose.
    pub session: SessionId,
    /// Whom.
    pub address: Address,
}

/// How much an account sent, for its limits. Reply: [`Sent`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SentSince {
    /// Whose.
    pub session: SessionId,
    /// Since when, at most two days ago.
    pub since: Timestamp,
}

/// Reply to [`SentSince`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// Recipients of all messages.
    pub recipients: u32,
    /// Of them, addresses the account had not written to before.
    pub first_time: u32,
}
