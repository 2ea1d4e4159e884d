//! The data plane of `mox-verify`: facts of a connection and one message in, verdicts and parsed facts out.
//!
//! Law: RFC 7208 (SPF), 6376 (DKIM), 7489 and 9989 (DMARC), 8617 (ARC), 8601 (how results are written).
//! Does not know: what is done about a verdict.
//! Fails with: [`VerifyFault`] inside [`libmox_ipc::CallError`].

use libmox_ipc::Contract;
use libmox_store::{DmarcSeen, Facts, ReportRead, Verdict};
use libmox_types::{ByteCount, Cid, Domain, Host, ReversePath, Timestamp};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// The client of `mox-verify`.
pub type Verifier = libmox_ipc::Client<VerifyContract>;
/// Why a call has no reply.
pub type VerifyError = libmox_ipc::CallError<VerifyFault>;

/// `FileDescriptorName=` of its socket.
pub const SOCKET: &str = "verify";
/// The same for the store, which has messages parsed again and nothing checked.
pub const STORE_SOCKET: &str = "verify-store";
/// Octets of a message sent inline; larger ones are a read-only descriptor.
pub const INLINE_OCTETS: usize = 64 * 1024;

/// The contract of `mox-verify`.
#[derive(Debug)]
pub struct VerifyContract;

impl Contract for VerifyContract {
    const NAME: &'static str = "mox-verify";
    const VERSION: u32 = 3;
    type Request = Request;
    type Reply = Reply;
    type Item = ();
    type Fault = VerifyFault;
    fn forbidden() -> VerifyFault {
        VerifyFault::Invalid("not a verb".into())
    }
}

/// Why there is no verdict. A check that cannot be made is a verdict ("temperror"), not a fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum VerifyFault {
    /// The message cannot be read.
    #[error("message cannot be read: {0}")]
    Unreadable(String),
    /// A value that cannot be.
    #[error("invalid request: {0}")]
    Invalid(String),
    /// More header than is looked at: what is behind that could be anything, so the message is not to be taken.
    #[error("header section too large")]
    HeaderTooLarge,
}

/// Checks one message. With one descriptor, open for reading, unless `inline`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Verify {
    /// The connection.
    pub cid: Cid,
    /// Now.
    pub now: Timestamp,
    /// Who sent it.
    pub remote_ip: IpAddr,
    /// EHLO.
    pub helo: Option<Host>,
    /// MAIL FROM.
    pub mail_from: ReversePath,
    /// Small messages.
    pub inline: Option<serde_bytes::ByteBuf>,
    /// Octets of the message.
    pub size: ByteCount,
}

/// Checks who may send for the domain of MAIL FROM, before the message is there. Reply: the word of RFC 7208 §2.6.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Spf {
    /// Who sends.
    pub remote_ip: IpAddr,
    /// EHLO.
    pub helo: Option<Host>,
    /// MAIL FROM.
    pub mail_from: ReversePath,
}

/// Parses a stored message anew: the parser may know more than the one that saw it first. With one descriptor, open
/// for reading. Reply: [`Facts`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Parse {
    /// Octets of the file.
    pub size: ByteCount,
}

/// Reads the report of somebody else that a message carries: DMARC (RFC 7489 §7.2) or TLS (RFC 8460 §4), as it is, in
/// gzip or in zip. With one descriptor, open for reading, unless `inline`. Reply: the report, or what is wrong with it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReadReport {
    /// Small messages.
    pub inline: Option<serde_bytes::ByteBuf>,
    /// Octets of the message.
    pub size: ByteCount,
}

/// Whether the domain of a sender takes mail (row SR-09). Reply: [`Looked`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TakesMail(pub Domain);

/// Whether an EHLO name has an address (row SR-03). Reply: [`Looked`]; `Mail` if it has one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HasAddress(pub Domain);

/// Reply to [`TakesMail`] and [`HasAddress`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Looked {
    /// What it comes to.
    pub takes: Takes,
    /// DNSSEC proves it (row MA-01).
    pub authentic: bool,
    /// What was found, or what went wrong, in words for `mox why`.
    pub found: String,
}

/// What the DNS says of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Takes {
    /// MX records, or an address.
    Mail,
    /// RFC 7505: it says that it takes none.
    NullMx,
    /// Neither MX records nor addresses.
    NoAddress,
    /// The DNS fails for now.
    Unknown,
}

/// Whether a DNS block list works: it lists 127.0.0.2 and not 127.0.0.1 (RFC 5782 §5). Reply: yes or no.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ListHealth(pub Domain);

/// Asks DNS block lists about an address, in this order, until one lists it. Reply: [`ListsSaid`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AskLists {
    /// Who sends.
    pub remote_ip: IpAddr,
    /// Zones; at most 20.
    pub zones: Vec<Domain>,
}

/// A DNS block list knows an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Which.
    pub zone: Domain,
    /// What it says; may be empty.
    pub text: String,
    /// DNSSEC proves that it is listed (row MA-01).
    pub authentic: bool,
}

/// Reply to [`AskLists`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListsSaid {
    /// The first that lists the address.
    pub listed: Option<Listed>,
    /// What each said, in words for `mox why`.
    pub chain: Vec<String>,
}

/// Reply to [`Verify`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// For the store.
    pub facts: Facts,
    /// What SMTP decides on.
    pub shape: Shape,
    /// For the store and for policy.
    pub verdict: Verdict,
    /// `Authentication-Results` and `Received-SPF` fields, CRLF lines, with the DNSSEC status of the lookups
    /// (row SR-23); ready for the prefix.
    pub headers: String,
    /// DMARC asks to refuse it and it did not pass.
    pub dmarc_refuses: bool,
    /// Whose word there is that DMARC passed before the message was forwarded: the domain that sealed it last, where
    /// the whole chain is good (RFC 8617). Only looked at where DMARC refuses.
    pub sealed_by: Option<Domain>,
    /// Each lookup and verdict in words, for `mox why`.
    pub chain: Vec<(String, String)>,
    /// Where in [`Self::headers`] the comment on DMARC ends: what the recipient's rules did about it can be said there.
    pub dmarc_note: Option<u32>,
    /// What DMARC found, where the domain has a record.
    pub dmarc: Option<DmarcSeen>,
    /// Who signed it with a key that may sign reports on TLS (RFC 8460 §3).
    pub report_signers: Vec<Domain>,
}

/// What a receiver must know of the bytes of a message.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Some header, of any part, is not ASCII (row SR-21).
    pub utf8_headers: bool,
    /// The body has octets above 127.
    pub eight_bit: bool,
    /// `Received` fields, against loops.
    pub received: u32,
    /// There is an empty line after the header section.
    pub separator: bool,
}

impl From<&libmox_message::Facts> for Shape {
    fn from(found: &libmox_message::Facts) -> Self {
        Self {
            utf8_headers: found.flaws.header_non_ascii,
            eight_bit: found.flaws.body_8bit,
            received: found.received,
            separator: found.has_separator,
        }
    }
}

libmox_ipc::verbs! {
    VerifyContract;
    Verify => Verified,
    Spf => String,
    TakesMail => Looked,
    HasAddress => Looked,
    ListHealth => bool,
    AskLists => ListsSaid,
    Parse => Facts,
    ReadReport => Result<ReportRead, String>,
}

/// Who asks. The name of the socket says it, and decides which verbs exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// `mox-smtp`
    Smtp,
    /// `mox-store`
    Store,
}

impl Caller {
    /// All of them with their sockets.
    pub const ALL: [(Self, &'static str); 2] = [(Self::Smtp, SOCKET), (Self::Store, STORE_SOCKET)];

    /// Whether it may ask this.
    #[must_use]
    pub fn may(self, request: &Request) -> bool {
        matches!(request, Request::Parse(_)) == (self == Self::Store)
    }
}
