//! Mail from strangers: role `smtp` (and recipient checks for `submission`).

use crate::{Body, Facts, ReportSeen};
use libmox_types::{
    Address, ByteCount, Cid, Domain, Host, LocalPart, MailboxName, MsgId, ReversePath, Timestamp,
};
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
    /// An account takes it that has no junk filter: nobody needs [`Facts::words`].
    LocalUnfiltered,
    /// The account wants no mail of other servers to this address: 421 or 550, and words (row SR-27).
    Refused(u16, String),
    /// An account takes it, and reports of others are sent there: have them read (row MA-18).
    Reports,
    /// The same, and others report there that our TLS is broken: without TLS, too (row SR-07).
    TlsReports,
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
    /// What [`Analyze`] said; without it the account's rules that need no header fields decide.
    pub destined: Option<Destined>,
}

/// Where a message goes in an account: made by [`Analyze`], used by [`Deliver`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destined {
    /// The mailbox the rules chose.
    pub mailbox: MailboxName,
    /// It came through a server of the account's own.
    pub forward: bool,
    /// The first message of somebody: it waits in the mailbox for those.
    pub intro: bool,
    /// Refused: it goes to the mailbox for rejects, if it goes anywhere.
    pub reject: Option<Reject>,
    /// For a list of addresses: where it goes for each that was asked about (row SR-12).
    pub members: Vec<Member>,
    /// A report that was read: nobody needs to look at it (row MA-18).
    pub seen: bool,
}

/// One member of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Who.
    pub address: Address,
    /// Where it goes there.
    pub destined: Destined,
}

/// A message that the sender is told was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reject {
    /// For the journal and the person who looks at it.
    pub reason: String,
    /// Whether it may be kept for the account's owner to see.
    pub keep: bool,
    /// SHA-256 of the file: the same content is kept once.
    pub content: [u8; 32],
}

/// What to do with a message, before it is delivered: destination, rules, quota and what is known of the sender in
/// one call. Reply: an [`Analysis`] for each recipient.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Analyze {
    /// The connection.
    pub cid: Cid,
    /// When it was received.
    pub received: Timestamp,
    /// Who sent it.
    pub remote_ip: IpAddr,
    /// MAIL FROM.
    pub mail_from: ReversePath,
    /// Octets of the file.
    pub size: ByteCount,
    /// SHA-256 of the file.
    pub content: [u8; 32],
    /// What was found in it; the structure may be left out.
    pub facts: Facts,
    /// The verdicts.
    pub verdict: Verdict,
    /// Names and values of the header fields in lower case, for rules. At most [`HEADER_OCTETS`]; more are left out.
    pub headers: Vec<(String, String)>,
    /// Why the service would refuse it by itself (DMARC); rules may take it all the same.
    pub refused: Option<String>,
    /// At most 1000.
    pub recipients: Vec<RecipientPath>,
    /// What it said in EHLO.
    pub helo: Option<Host>,
    /// The connection was encrypted.
    pub tls: bool,
    /// A token in the subject that lets a message pass (row JK-11).
    pub pass: Option<String>,
    /// What DNS block lists say of the sender's address, once they were asked.
    pub lists: Lists,
    /// Who says in a good ARC chain that DMARC passed before the message was forwarded (row MA-24).
    pub sealed_by: Option<Domain>,
    /// What it holds, where it is for [`RecipientStatus::Reports`].
    pub report: ReportSeen,
}

/// What DNS block lists say (row MA-22).
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lists {
    /// Nobody asked; see [`Analysis::ask_lists`].
    #[default]
    NotAsked,
    /// None lists it.
    Clear,
    /// This zone does, with what it says about it.
    Listed(String),
}

/// Octets of [`Analyze::headers`].
pub const HEADER_OCTETS: usize = 256 * 1024;

/// What to do for one recipient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Analysis {
    /// What.
    pub decision: Decision,
    /// Why, in one word for programs: see `services/store/src/analyze.rs`.
    pub reason: String,
    /// For [`Deliver`], where the decision is to accept or to reject.
    pub destined: Option<Destined>,
    /// Why, for people.
    pub text: String,
    /// It would be accepted, but nothing is known of the sender: the service may ask DNS block lists and then again.
    pub ask_lists: bool,
    /// The sender is new here: the service lets it wait (row SR-29).
    pub first: bool,
    /// Refused, but not for good: a message with this in its subject would be taken (row JK-11).
    pub pass: Option<String>,
    /// What was looked at and what it said, in order, for `mox why`.
    pub chain: Vec<(String, String)>,
    /// Why a DMARC policy that asks to refuse it is not followed, in a word of RFC 7489 appendix C (row MA-10).
    pub dmarc_override: Option<String>,
    /// What is wrong with it as a report, for a header field (row MA-18).
    pub report_error: Option<String>,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Decision {
    /// Deliver and say 250.
    Accept,
    /// Deliver (it goes to the rejects, if anywhere) and say no.
    Reject,
    /// 550 5.1.1.
    UnknownUser,
    /// 452 4.2.2.
    OverQuota,
    /// 451 4.3.0 or 450 4.2.1.
    Deferred,
    /// 550 5.7.2: only members may write to this list.
    NotMember,
    /// 452 4.2.2: too much from this network (row SR-32). Delivered nowhere, not among the rejects either.
    TooOften,
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
    /// Handed in as a reject: the sender must be told no.
    Refused {
        /// Whether the owner can look at it.
        kept: bool,
    },
    /// Only members may write to this list: 550 5.7.2.
    NotMember,
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

/// [`Deliver`], and if all of it is stored the decision is noted as [`Decided`](crate::Decided) does it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeliverNoting {
    /// The delivery.
    pub deliver: Deliver,
    /// Why it is taken.
    pub decided: crate::Decided,
}

/// Reply to [`DeliverTogether`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Together {
    /// Everyone has it, in the order asked; the report is on its way.
    Stored(Vec<Stored>),
    /// Nobody has it: what stands against each; none where nothing does.
    Nothing(Vec<Option<Delivered>>),
}
