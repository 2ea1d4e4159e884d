//! What was decided about messages from strangers, and why: role `smtp` notes it, role `admin` looks.

use libmox_types::{Cid, ReversePath, Timestamp};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Notes a decision, also about a message that is not kept. Written behind the message's back; the newest
/// [`DECISIONS`] are known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// The connection.
    pub cid: Cid,
    /// When.
    pub at: Timestamp,
    /// Who sent it.
    pub remote_ip: IpAddr,
    /// MAIL FROM.
    pub mail_from: ReversePath,
    /// Message-ID without brackets, lower case; may be empty.
    pub message_id: String,
    /// What the sender was told.
    pub reply: String,
    /// What was looked at and what it said, in order: topic and text.
    pub chain: Vec<(String, String)>,
}

/// What was decided about a connection's messages, or those with a Message-ID; the newest last, at most 100. Reply:
/// [`Decided`]s.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DecisionsOf {
    /// Connection id (16 hexadecimal digits) or Message-ID, with or without brackets.
    pub wanted: String,
}

/// Decisions kept.
pub const DECISIONS: u64 = 10_000;
