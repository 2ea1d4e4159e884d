//! Limits and settings of the engine: every bound it enforces has its name and its reason here.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::medium::{Disk, Medium};

/// Bytes of one change in its journal form. A change is held in memory while it waits, so it is bounded;
/// callers that touch more than this do it in steps.
pub const CHANGE_BYTES: usize = 64 << 20;

/// A value in the index. sled moves pages that grow too large into files of their own and becomes slow.
pub const VALUE_BYTES: usize = 8 << 10;

/// A key in the index.
pub const KEY_BYTES: usize = 1 << 10;

/// Bodies up to this size ride in the journal record: one sync then covers message and index.
/// Larger ones are synced by themselves before the record that names them, so they are not written twice.
pub const INLINE_BYTES: u64 = 64 << 10;

/// Changes that may be computed but unanswered at one time, over all accounts.
pub const CHANGES_IN_FLIGHT: usize = 4096;

/// Keys and bytes that are committed and wait for the index before they are handed on, some five hundred deliveries:
/// the more at once, the more of them lie in the same block.
pub const HELD_BACK_KEYS: usize = 8 << 10;
/// See [`HELD_BACK_KEYS`].
pub const HELD_BACK_BYTES: usize = 4 << 20;
/// So many times that may wait while the index is slow; then commits wait for it.
pub const HELD_BACK_MOST: usize = 4;

/// Patches that may wait for the index; with more, commits wait for it.
pub const HELD_BACK_PATCHES: usize = 64;

/// Free space is looked at again after so long,
pub const ROOM_FOR: Duration = Duration::from_millis(200);
/// or when so many bytes of mail came in since,
pub const ROOM_BYTES: u64 = 1 << 20;
/// or this part of what was free beyond the reserve.
pub const ROOM_SHARE: u64 = 16;

/// How long the folder may still be locked by one that is ending before it counts as in use.
pub const LOCK_WAIT: Duration = Duration::from_secs(1);
/// Between two looks at such a lock.
pub const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// Message files in one directory.
pub const FILES_PER_DIRECTORY: u64 = 8192;

/// How an engine is opened.
#[derive(Clone)]
pub struct Options {
    /// The data directory; made when it is missing.
    pub dir: PathBuf,
    /// Names the running kernel. An index that another boot left open is not trusted, because a power cut
    /// may have torn it. `None`: unknown, so only an index that was closed properly is trusted.
    pub boot: Option<String>,
    /// Size of a journal segment. A single larger group gets a segment of its own size.
    pub segment_bytes: u64,
    /// Journal written since the last checkpoint that starts the next one; bounds replay after a kill.
    pub checkpoint_bytes: u64,
    /// Time after which a change is followed by a checkpoint.
    pub checkpoint_every: Duration,
    /// Journal kept before a new snapshot is worth writing; beyond it the size of the last snapshot counts.
    pub snapshot_bytes: u64,
    /// Memory sled may use for pages.
    pub cache_bytes: u64,
    /// An index may take so much more than twice what it holds before it is made smaller when the store closes.
    pub bloat_bytes: u64,
    /// Free space that must remain on the file system after a change that adds mail.
    pub reserve_bytes: u64,
    /// Changes in one group: whoever waits for the first of them waits for all.
    pub group_changes: usize,
    /// Bytes in one group.
    pub group_bytes: usize,
    /// Message files are in this folder instead and only looked at: for checking a folder that is not ours.
    pub look_only: Option<PathBuf>,
    /// Writes and syncs the journal; replaced in tests by one that fails.
    pub medium: Arc<dyn Medium>,
}

impl Options {
    /// The settings a server runs with.
    pub fn new(dir: impl Into<PathBuf>, boot: Option<String>) -> Self {
        Self {
            dir: dir.into(),
            boot,
            segment_bytes: 16 << 20,
            checkpoint_bytes: 32 << 20,
            checkpoint_every: Duration::from_secs(30),
            snapshot_bytes: 64 << 20,
            cache_bytes: 48 << 20,
            bloat_bytes: 32 << 20,
            reserve_bytes: 64 << 20,
            group_changes: 256,
            group_bytes: 8 << 20,
            look_only: None,
            medium: Arc::new(Disk),
        }
    }
}
