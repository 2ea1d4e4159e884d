//! Annotations of mailboxes and of the account (RFC 5464): role `imap`, those below `/shared/` role `admin` (row DF-03).

use crate::SessionId;
use libmox_types::{MailboxName, ModSeq};
use serde::{Deserialize, Serialize};

/// Annotations of one mailbox, or of the account: a stream of [`crate::Item::Annotations`], by name.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AnnotationList {
    /// Whose.
    pub session: SessionId,
    /// Which mailbox; none for those of the account.
    pub mailbox: Option<MailboxName>,
}

/// One annotation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Annotation {
    /// Entry name, lower case.
    pub name: String,
    /// Whether it was given as a string, not as binary.
    pub text: bool,
    /// Its value.
    #[serde(with = "serde_bytes")]
    pub value: Vec<u8>,
    /// Last change.
    pub mod_seq: ModSeq,
    /// When it was made.
    pub create_seq: ModSeq,
}

/// Sets and removes annotations, all or none; none below `/shared/` ([`crate::Fault::NotYours`]). Reply:
/// [`crate::Changed`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AnnotationSet {
    /// Whose.
    pub session: SessionId,
    /// Which mailbox; none for the account.
    pub mailbox: Option<MailboxName>,
    /// In order.
    pub changes: Vec<AnnotationChange>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnnotationChange {
    /// Entry name, in any case: `/private/...`, or `/shared/...` of [`SharedAnnotationSet`].
    pub name: String,
    /// Whether the value was given as a string.
    pub text: bool,
    /// None removes it.
    pub value: Option<serde_bytes::ByteBuf>,
}

/// Sets or removes an annotation below `/shared/`, which only the administrator does. Reply: [`crate::Changed`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SharedAnnotationSet {
    /// Account name, never an address.
    pub account: String,
    /// Which mailbox; none for the account.
    pub mailbox: Option<MailboxName>,
    /// What becomes of it.
    pub change: AnnotationChange,
}

/// Annotations below `/shared/`. Reply: [`Annotation`]s by name.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SharedAnnotationList {
    /// Account name, never an address.
    pub account: String,
    /// Which mailbox; none for the account.
    pub mailbox: Option<MailboxName>,
}

/// Annotations of an account, its mailboxes' included. Row ST-25.
pub const ANNOTATIONS: u32 = 1_000;
/// Octets of their names and values together. They do not count as mail.
pub const ANNOTATION_OCTETS: u64 = 1_000_000;
/// What the names of those begin with that only the administrator sets.
pub const SHARED_ANNOTATIONS: &str = "/shared";
/// Octets of an entry name.
pub const ANNOTATION_NAME_OCTETS: usize = 256;
