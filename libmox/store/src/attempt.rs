//! What is remembered of logins: role `admin`.

use libmox_types::Timestamp;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Logins of an account, newest first. Reply: [`LoginAttempt`]s.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LoginAttempts {
    /// By name; none for names that nobody has.
    pub account: Option<String>,
    /// Only those before this.
    pub before: Option<Timestamp>,
    /// At most this many, and at most 1000.
    pub most: u32,
}

/// How a login ended, for the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LoginResult {
    /// Signed in.
    SignedIn,
    /// Wrong name or password.
    Denied,
    /// Right, but switched off.
    Disabled,
    /// Too many failures from there.
    Limited,
    /// The account has no secret for the mechanism.
    NoSecret,
    /// The channel binding is not that of this connection, or was hidden from the client: somebody may sit between.
    BadBinding,
    /// Not what the mechanism wants.
    Malformed,
    /// The client gave up.
    Cancelled,
}

/// Logins of one day that are alike in everything but their time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginAttempt {
    /// The first of them.
    pub first: Timestamp,
    /// The last.
    pub last: Timestamp,
    /// How many.
    pub count: u64,
    /// As given, cut where it is very long.
    pub login: String,
    /// The client.
    pub remote_ip: IpAddr,
    /// "imap", "submission".
    pub protocol: String,
    /// "PLAIN", "SCRAM-SHA-256", ...
    pub mechanism: String,
    /// Version and cipher, or empty.
    pub tls: String,
    /// From IMAP ID.
    pub user_agent: String,
    /// How they ended.
    pub result: LoginResult,
    /// The address of ours that they came to, where it is known.
    pub local_ip: Option<IpAddr>,
}
