//! What GETMETADATA and SETMETADATA name.
//!
//! Law: RFC 5464 §4.2, §4.3 and §5; rows IM-23, DF-03.

use libmox_types::MailboxName;

/// How far below an entry.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// The entry itself.
    #[default]
    Zero,
    /// And those right below it.
    One,
    /// And everything below it.
    Infinity,
}

/// GETMETADATA.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct GetMetadata {
    /// None for the server.
    pub mailbox: Option<MailboxName>,
    /// Values of more octets are left out.
    pub max_size: Option<u64>,
    /// Also entries below.
    pub depth: Depth,
    /// Lower case.
    pub entries: Vec<String>,
}

impl GetMetadata {
    /// Whether an entry is asked for.
    #[must_use]
    pub fn names(&self, entry: &str) -> bool {
        self.entries.iter().any(|wanted| {
            let Some(rest) = entry.strip_prefix(wanted.as_str()) else { return false };
            match (rest.strip_prefix('/'), self.depth) {
                _ if rest.is_empty() => true,
                (Some(below), Depth::One) => !below.contains('/'),
                (Some(_), Depth::Infinity) => true,
                _ => false,
            }
        })
    }
}

/// A value as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataValue {
    /// Its octets.
    pub octets: Vec<u8>,
    /// Given as a string, not as a literal8.
    pub text: bool,
}
