//! Things with an end that services need again after they were idle or restarted: roles `queue` and `admin`.

use libmox_types::Timestamp;
use serde::{Deserialize, Serialize};

/// What a cached value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[repr(u8)]
pub enum CacheKind {
    /// An MTA-STS policy, by domain.
    MtaSts = 1,
    /// A session of a web page, by the hash of its token.
    WebSession = 2,
    /// Whether a DNS block list works, by zone.
    DnsList = 3,
    /// Whether block lists list this machine: one entry.
    OwnAddresses = 4,
}

/// One cached value. Reply: [`Cached`], if there is one that has not ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CacheGet {
    /// What.
    pub kind: CacheKind,
    /// Which.
    pub name: String,
}

/// Puts or removes one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CacheSet {
    /// What.
    pub kind: CacheKind,
    /// Which; at most 500 octets.
    pub name: String,
    /// At most [`CACHE_OCTETS`]; none removes it.
    pub value: Option<serde_bytes::ByteBuf>,
    /// Until when it is good.
    pub expires: Timestamp,
}

/// Names behind `after`, at most 1000. Reply: [`Cached`]s.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CacheList {
    /// What.
    pub kind: CacheKind,
    /// Start behind this one; empty for the first page.
    pub after: String,
    /// At most.
    pub most: u32,
}

/// A cached value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cached {
    /// Which.
    pub name: String,
    /// What was put; empty in a list.
    #[serde(with = "serde_bytes")]
    pub value: Vec<u8>,
    /// When it was put.
    pub set: Timestamp,
    /// Until when it is good.
    pub expires: Timestamp,
}

/// Octets of a cached value: RFC 8461 §3.2 suggests 64 KB for a policy.
pub const CACHE_OCTETS: usize = 64 * 1024;
