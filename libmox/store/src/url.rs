//! URLs that let others read one message (RFC 4467): role `imap`.
//!
//! The store keeps a secret for each mailbox, from which the tokens come, and gives it to nobody. A token covers
//! everything the store decides by, so whoever asks cannot use it for another message, person or time.

use crate::{Content, MessageRecord, SessionId};
use libmox_types::{MailboxName, Timestamp, Uid, UidValidity};
use serde::{Deserialize, Serialize};

/// What a URL says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UrlClaim {
    /// The address its owner signs in with.
    pub owner: String,
    /// Where the message is.
    pub mailbox: MailboxName,
    /// The life of that name, if it says so.
    pub uid_validity: Option<UidValidity>,
    /// Which message.
    pub uid: Uid,
    /// Who may read it.
    pub reader: UrlReader,
    /// Until when.
    pub expire: Option<Timestamp>,
    /// All of it as it was written, up to the mechanism: what part is meant is in here only.
    pub text: String,
}

/// Who may read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum UrlReader {
    /// A submission server, for the person with this name: an account that the configuration says to be one.
    Submission(String),
    /// The person with this address.
    Person(String),
    /// Everybody with an account.
    Anybody,
}

/// Makes tokens. Reply: one for each claim. [`crate::Fault::NotYours`] where the owner is another,
/// [`crate::Fault::NoMailbox`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UrlSign {
    /// Whose.
    pub session: SessionId,
    /// At most [`URLS`].
    pub claims: Vec<UrlClaim>,
}

/// Makes all tokens worthless: of a mailbox, or of the account. Reply: [`crate::Changed`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UrlReset {
    /// Whose.
    pub session: SessionId,
    /// Which.
    pub mailbox: Option<MailboxName>,
}

/// Opens what a URL names, whosever it is. Reply: [`UrlContent`], with a descriptor as for [`crate::MessageOpen`].
/// [`crate::Fault::NotFound`], whatever is wrong.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UrlOpen {
    /// Who asks.
    pub session: SessionId,
    /// What the URL says.
    pub claim: UrlClaim,
    /// What makes it true.
    #[serde(with = "serde_bytes")]
    pub token: Vec<u8>,
}

/// Reply to [`UrlOpen`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UrlContent {
    /// The message, with its structure; flags and keywords are not told.
    pub record: MessageRecord,
    /// Its octets.
    pub content: Content,
}

/// Claims in one request.
pub const URLS: usize = 100;
