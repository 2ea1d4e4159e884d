//! Mail from strangers: role `smtp` (and recipient checks for `submission`).

use crate::{Body, Facts};
use libmox_types::{Address, Cid, Host, LocalPart, MsgId, ReversePath, Timestamp};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// May mail be delivered to this address here?
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CheckRecipient {
    /// Without domain only for `postmaster` (RFC 5321 §4.5.1).
    pub recipient: RecipientPath,
}

/// RCPT TO: an address, or bare `postmaster`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RecipientPath {
    /// The usual.
    Address(Address),
    /// `<Postmaster>` without domain.
    Postmaster,
    /// `local@[192.0.2.1]`.
    Literal(LocalPart, IpAddr),
}

/// What the store knows of a recipient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecipientStatus {
    /// An account takes it.
    Local,
    /// Our domain, nobody of that name. SMTP accepts at RCPT and refuses after DATA (row SR-17).
    UnknownUser,
    /// Not one of our domains.
    Foreign,
    /// Our domain, switched off for now: 450 4.2.1.
    Disabled,
    /// The account is over its quota already: 452 4.2.2.
    OverQuota,
}

/// Delivers one message to all its local recipients in one atomic change.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Deliver {
    /// The connection.
    pub cid: Cid,
    /// When it was received.
    pub received: Timestamp,
    /// Who sent it.
    pub remote_ip: IpAddr,
    /// What it said in EHLO.
    pub helo: Option<Host>,
    /// MAIL FROM.
    pub mail_from: ReversePath,
    /// The message.
    pub body: Body,
    /// What was found in it.
    pub facts: Facts,
    /// The verdicts, for reputation later.
    pub verdict: Verdict,
    /// At least one, at most 1000.
    pub recipients: Vec<DeliverTo>,
}

/// One recipient of a [`Deliver`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeliverTo {
    /// As it was given.
    pub recipient: RecipientPath,
    /// Header fields made at delivery, CRLF lines; kept in the record, not in the file.
    #[serde(with = "serde_bytes")]
    pub prefix: Vec<u8>,
}

/// What the checks of the message said, in the words of RFC 8601 ("pass", "fail", "none", ...).
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// SPF of MAIL FROM.
    pub spf: String,
    /// Domains whose DKIM signature passed.
    pub dkim: Vec<String>,
    /// DMARC.
    pub dmarc: String,
    /// Reverse DNS.
    pub iprev: String,
}

/// What became of one recipient, in the order asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Delivered {
    /// On disk. Only now may anyone say 250.
    Stored(Stored),
    /// Nobody of that name: 550 5.1.1.
    UnknownUser,
    /// Over quota: 452 4.2.2.
    OverQuota,
    /// Refused for now, with the reason for the journal: 451 4.3.0.
    Deferred(String),
}

/// Proof that a message is on stable storage; only the store makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// Where, within its account or the queue.
    pub id: MsgId,
}

/// Delivers to all recipients or to none, with a report to the sender about others of the same transaction who cannot
/// have the message, in one atomic change (row SR-35).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeliverTogether {
    /// To whom, and what.
    pub deliver: Deliver,
    /// About the others.
    pub report: Option<crate::Report>,
}

/// Reply to [`DeliverTogether`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Together {
    /// Everyone has it, in the order asked; the report is on its way.
    Stored(Vec<Stored>),
    /// Nobody has it: what stands against each; none where nothing does.
    Nothing(Vec<Option<Delivered>>),
}
