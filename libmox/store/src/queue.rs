//! Mail on its way out: roles `submission` (adds), `queue` (delivers), `admin` (manages).
//!
//! | state | who moves it on | what a crash leaves |
//! |---|---|---|
//! | waiting (`next_attempt` in the future, or due) | `QueueAttempt` by `mox-queue` | waiting |
//! | attempted (count raised, `next_attempt` set before dialing) | `QueueResult` | waiting for that next attempt; it may go out twice, it is never lost |
//! | held | `QueueHold` by an admin | held |
//! | gone (delivered, failed, dropped) | nobody | gone, with its DSN in the same change |

use crate::{Body, Facts, SessionId};
use libmox_types::{AccountId, Address, ByteCount, Cid, Domain, QueueId, ReversePath, Timestamp};
use serde::{Deserialize, Serialize};

/// Queues a message for all its recipients in one atomic change. Reply: the ids, in recipient order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct QueueAdd {
    /// Who sends.
    pub session: SessionId,
    /// The connection.
    pub cid: Cid,
    /// Envelope sender; an address of the session's account, or null.
    pub mail_from: ReversePath,
    /// From of the message, checked the same way.
    pub header_from: Option<Address>,
    /// At least one, at most 1000.
    pub recipients: Vec<QueueRecipient>,
    /// Received, DKIM-Signature and so on, CRLF lines.
    #[serde(with = "serde_bytes")]
    pub prefix: Vec<u8>,
    /// The message.
    pub body: Body,
    /// What was found in it.
    pub facts: Facts,
    /// What it needs of the next hop.
    pub needs: Needs,
    /// Not before.
    pub release: Option<Timestamp>,
    /// What the sender wishes besides.
    pub wishes: Wishes,
}

/// What a sender may ask for, besides that the message arrives.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wishes {
    /// RFC 3461: `FULL` or `HDRS`, empty if not given.
    pub ret: String,
    /// RFC 3461 ENVID, decoded; empty if not given.
    pub envelope_id: String,
    /// RFC 4865 §9: `for;60` or `until;2030-01-01T00:00:00Z`, empty if not given (row SU-07).
    pub future_release: String,
    /// Of `X-Mox-Extra-` fields: name and value (row SU-09). At most [`EXTRA_OCTETS`].
    pub extra: Vec<(String, String)>,
}

/// Octets of [`Wishes::extra`].
pub const EXTRA_OCTETS: usize = 4 * 1024;

/// One recipient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueRecipient {
    /// Where to.
    pub address: Address,
    /// RFC 3461 parameters as given, empty if none: `NOTIFY`, `ORCPT`.
    pub notify: String,
    /// See `notify`.
    pub orcpt: String,
}

/// What a message needs of the next hop.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needs {
    /// The content or an address is not ASCII where that needs RFC 6531.
    pub smtputf8: bool,
    /// The body has octets above 127.
    pub eight_bit: bool,
    /// RFC 8689.
    pub require_tls: Option<bool>,
    /// It has NUL octets or line ends of half a kind: it goes by BDAT, to a server with BINARYMIME (RFC 3030).
    pub binary: bool,
}

/// What is due by `now`, oldest first, at most `most`. Reply: [`Due`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct QueueDue {
    /// The reader's clock.
    pub now: Timestamp,
    /// At most this many.
    pub most: u32,
    /// Recipient domains under way already: their entries are left out.
    pub busy: Vec<Domain>,
}

/// Reply to [`QueueDue`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Due {
    /// Due now.
    pub entries: Vec<QueueEntry>,
    /// When the next one not in `entries` is due, whatever `busy` says.
    pub next: Option<Timestamp>,
}

/// One recipient of one message, waiting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueEntry {
    /// Its id.
    pub id: QueueId,
    /// The same for all recipients of one message.
    pub message: QueueId,
    /// The connection that brought it.
    pub cid: Cid,
    /// Whose.
    pub account: AccountId,
    /// By name.
    pub account_name: String,
    /// Envelope sender: for this recipient only where it was made unique (row SU-08).
    pub mail_from: ReversePath,
    /// Recipient.
    pub recipient: QueueRecipient,
    /// When it was queued.
    pub queued: Timestamp,
    /// When it is tried next.
    pub next_attempt: Timestamp,
    /// Attempts begun.
    pub attempts: u32,
    /// Not tried while held.
    pub held: bool,
    /// The last thing that happened: code and text.
    pub last: String,
    /// Prefix and file.
    pub size: ByteCount,
    /// What it needs.
    pub needs: Needs,
    /// Message-ID without brackets.
    pub message_id: String,
    /// The sender's account wants no more mail to this address: it fails without an attempt (row QU-17).
    pub suppressed: bool,
    /// What the sender wishes besides.
    pub wishes: Wishes,
}

/// Records the beginning of an attempt, before dialing. Entries that are gone meanwhile are left out of the reply.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct QueueAttempt {
    /// Which.
    pub ids: Vec<QueueId>,
    /// When to try again unless a result comes first.
    pub next_attempt: Timestamp,
}

/// The content. Reply: [`crate::Content`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct QueueOpen(pub QueueId);

/// What became of attempts, in one atomic change with the delivery reports they cause.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct QueueResult {
    /// One for each entry.
    pub results: Vec<AttemptResult>,
    /// A report to the sender, if any: into the Inbox of a local sender, else queued with a null sender.
    pub report: Option<Report>,
}

/// What became of one entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptResult {
    /// Which.
    pub id: QueueId,
    /// What.
    pub outcome: Outcome,
    /// The remote's reply, or our own words.
    pub text: String,
    /// How long it took, milliseconds.
    pub took_ms: u32,
}

/// The end of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The next hop has it.
    Delivered,
    /// Try again at this time.
    Later(Timestamp),
    /// For good.
    Failed,
}

/// A delivery report, composed by `mox-queue`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// To whom.
    pub to: Address,
    /// Delivery headers for a local copy.
    #[serde(with = "serde_bytes")]
    pub prefix: Vec<u8>,
    /// The report.
    pub body: Body,
    /// What is in it.
    pub facts: Facts,
}

/// Tells when something is new or kicked: a stream of [`crate::Item::QueueChanged`] hints, merged while unread.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct QueueWatch;

/// Entries by id, at most 1000 after `after`. Reply: entries.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct QueueList {
    /// Start behind this one; 0 for the first page.
    pub after: QueueId,
    /// At most.
    pub most: u32,
}

/// Makes entries due now; all if none are named. Reply: how many.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct QueueKick {
    /// Which.
    pub ids: Vec<QueueId>,
}

/// Removes entries without a report; none named drops none. Reply: how many.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct QueueDrop {
    /// Which.
    pub ids: Vec<QueueId>,
}

/// Holds or releases entries. Reply: how many.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct QueueHold {
    /// Which.
    pub ids: Vec<QueueId>,
    /// Hold or release.
    pub held: bool,
}

/// Delivers entries of one message to the accounts here that they are for, and takes them out of the queue, in one
/// atomic change. Reply: what became of each, in the order given. Asking again finds them gone.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct QueueDeliver {
    /// At least one, at most 1000, all of one message.
    pub entries: Vec<QueueDeliverTo>,
    /// What was found in the message.
    pub facts: Facts,
    /// Whose account gets it.
    pub into: DeliverInto,
}

/// One entry of a [`QueueDeliver`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct QueueDeliverTo {
    /// Which.
    pub id: QueueId,
    /// Header fields made at delivery, before those the message was queued with.
    #[serde(with = "serde_bytes")]
    pub prefix: Vec<u8>,
}

/// Whose account a queued message goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeliverInto {
    /// The recipient's, where it is one of ours.
    Recipient,
    /// The recipient's, or the sender's where the recipient is elsewhere: nothing leaves a test instance.
    RecipientOrSender,
}

/// What became of one entry of a [`QueueDeliver`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeliveredHere {
    /// On disk, and out of the queue.
    Stored(crate::Stored),
    /// Delivered or dropped before, or on hold.
    Gone,
    /// Not for us to deliver.
    Foreign,
    /// Nobody of that name.
    UnknownUser,
    /// Domain switched off.
    Disabled,
    /// Over quota.
    OverQuota,
}
