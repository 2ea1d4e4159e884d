//! What a service found out about a message before it handed it in. The store never parses mail.

use libmox_types::{Address, ByteCount, Timestamp};
use serde::{Deserialize, Serialize};

/// Parsed by `libmox-message` in the service that received the message.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// `libmox_message::Structure` of the file without prefix, as bytes the store does not read. At most [`STRUCTURE_OCTETS`].
    #[serde(with = "serde_bytes")]
    pub structure: Vec<u8>,
    /// Message-ID without brackets, lower case; empty if there is none.
    pub message_id: String,
    /// Message-IDs of References then In-Reply-To, nearest last, normalised likewise. At most [`REFERENCES`].
    pub references: Vec<String>,
    /// Subject without "Re:" and its kin, for threads.
    pub base_subject: String,
    /// The Date field, if it can be read.
    pub date: Option<Timestamp>,
    /// The first address of From.
    pub from: Option<Address>,
    /// Start of the text for people, at most 256 characters.
    pub preview: String,
    /// A delivery report or another automatic message (Auto-Submitted other than "no", multipart/report).
    pub automatic: bool,
    /// A List-Id is there.
    pub list: bool,
    /// A "Re:" or its kin stood before the subject.
    pub answer: bool,
    /// A delivery report: it belongs to the message it is about, whatever its subject.
    pub report: bool,
    /// Addresses of To, Cc and Bcc. At most [`RECIPIENT_ADDRESSES`].
    pub recipients: Vec<Address>,
    /// For the junk filter: words with a space between them, lines for parts and fields. At most [`WORD_OCTETS`].
    pub words: String,
    /// Some Content-Type cannot be read: a sign of junk (row JK-06).
    pub bad_content_type: bool,
}

impl From<&libmox_message::Facts> for Facts {
    fn from(found: &libmox_message::Facts) -> Self {
        let mut structure = found.structure.to_bytes();
        if structure.len() > STRUCTURE_OCTETS {
            structure = Vec::new();
        }
        let mut references: Vec<String> =
            found.references.iter().chain(&found.in_reply_to).cloned().collect();
        // The nearest are last; the oldest of too many go.
        references.drain(..references.len().saturating_sub(REFERENCES));
        let bcc = found.structure.envelope().bcc.as_deref();
        let bcc = bcc.map(libmox_message::address::mailboxes).unwrap_or_default();
        let recipients = found.to.iter().chain(&found.cc).chain(&bcc);
        let recipients = recipients.filter_map(libmox_message::address::Mailbox::address);
        let recipients = recipients.take(RECIPIENT_ADDRESSES).collect();
        Self {
            structure,
            message_id: found.message_id.clone().unwrap_or_default(),
            references,
            base_subject: found.base_subject.clone(),
            date: found.date,
            from: found.from.iter().find_map(libmox_message::address::Mailbox::address),
            preview: found.preview.clone(),
            automatic: found.auto_submitted || found.delivery_report,
            list: found.list_id,
            answer: found.subject_is_answer,
            report: found.delivery_report,
            recipients,
            words: found.words.clone(),
            bad_content_type: found.bad_content_type,
        }
    }
}

/// Octets of [`Facts::structure`]; a larger one is dropped by the producer and parsed again when needed.
pub const STRUCTURE_OCTETS: usize = 128 * 1024;
/// Octets of [`Facts::words`]; what is beyond is not looked at.
pub const WORD_OCTETS: usize = 32 * 1024;
/// Entries of [`Facts::recipients`].
pub const RECIPIENT_ADDRESSES: usize = 200;
/// Entries of [`Facts::references`].
pub const REFERENCES: usize = 100;
/// Octets of a body that rides inline in a request and in the journal; larger ones are staged.
pub const INLINE_OCTETS: usize = 64 * 1024;
/// Octets of the list of an [`crate::AppendListed`].
pub const LISTED_OCTETS: u64 = 32 << 20;
/// Octets of a record's prefix.
pub const PREFIX_OCTETS: usize = 64 * 1024;

/// The bytes of a message as they will lie on disk: CRLF line ends, immutable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    /// At most [`INLINE_OCTETS`].
    Inline(#[serde(with = "serde_bytes")] Vec<u8>),
    /// Written to the descriptor of [`Stage`] before; used up by the request unless it fails.
    Staged {
        /// Which one.
        body: BodyId,
        /// Octets written.
        size: ByteCount,
    },
}

/// A staged body of this connection; gone with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BodyId(pub u64);

/// Asks for a descriptor to write a large body to, on the store's file system. Reply: [`BodyId`] with one descriptor.
/// Limit: 4096 at once a connection.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Stage;

/// Gives a staged body back unused.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Unstage(pub BodyId);

/// Are you there? Proves the connection, nothing else.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ping;
