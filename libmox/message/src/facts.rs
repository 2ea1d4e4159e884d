//! What is known about a message after one pass over it.
//!
//! The store never parses mail: whoever hands a message in hands these in too.

use crate::address::Mailbox;
use crate::structure::Structure;
use libmox_types::Timestamp;
use serde::{Deserialize, Serialize};

/// Everything the store, the policy and the writers of headers need.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Octets.
    pub size: u64,
    /// The tree of parts.
    pub structure: Structure,
    /// For threading: lower case, without `<>`.
    pub message_id: Option<String>,
    /// Like `message_id`.
    pub in_reply_to: Vec<String>,
    /// Like `message_id`, oldest first, bounded.
    pub references: Vec<String>,
    /// Encoded words decoded.
    pub subject: String,
    /// Row ST-34: without `re:` and list tags, lower case.
    pub base_subject: String,
    /// `re:` or another mark of an answer or forward stood there.
    pub subject_is_answer: bool,
    /// Of all From fields.
    pub from: Vec<Mailbox>,
    /// Of all To fields.
    pub to: Vec<Mailbox>,
    /// Of all Cc fields.
    pub cc: Vec<Mailbox>,
    /// Of the Date field, where it can be read.
    pub date: Option<Timestamp>,
    /// There is a Date field.
    pub has_date: bool,
    /// There is a Message-ID field.
    pub has_message_id: bool,
    /// There is a Return-Path field.
    pub has_return_path: bool,
    /// Received fields, for loops (row SR-20).
    pub received: u32,
    /// Auto-Submitted other than `no`. RFC 3834 §5.
    pub auto_submitted: bool,
    /// There is a List-Id field.
    pub list_id: bool,
    /// `TLS-Required: No`, and nothing that contradicts it. RFC 8689 §5.
    pub tls_required_no: bool,
    /// A multipart/report about delivery. RFC 3464.
    pub delivery_report: bool,
    /// The empty line between header and body is there.
    pub has_separator: bool,
    /// Not one header field: all is body. Whoever stores it puts the empty line before it (row ST-03).
    pub no_header: bool,
    /// What is not as it should be.
    pub flaws: Flaws,
    /// Row ST-40.
    pub preview: String,
    /// For the junk filter: words with a space between them, lines for parts and fields (row JK-05).
    pub words: String,
    /// The Content-Type of some part cannot be read (row JK-06).
    pub bad_content_type: bool,
}

/// Properties of the bytes that decide how a message may travel.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flaws {
    /// In the header of any part: it needs SMTPUTF8 (row SR-21).
    pub header_non_ascii: bool,
    /// Octets above 127 in a body: it needs 8BITMIME.
    pub body_8bit: bool,
    /// CR without LF.
    pub bare_cr: bool,
    /// LF without CR.
    pub bare_lf: bool,
    /// NUL anywhere.
    pub nul: bool,
    /// A limit of this crate cut something.
    pub over_limit: bool,
}

impl Facts {
    /// The structure with `prefix` octets of header put before the message. Where [`Self::no_header`] holds,
    /// the prefix must end with an empty line.
    #[must_use]
    pub fn structure_behind_prefix(mut self, prefix: u64) -> Structure {
        self.structure.shift_by_prefix(prefix);
        self.structure
    }
}
