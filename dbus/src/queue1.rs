//! `org.libmox.Queue1` on `org.libmox.Queue1`.

use serde::{Deserialize, Serialize};
use zbus::zvariant::Type;

/// One recipient of one waiting message.
#[derive(Debug, Clone, Serialize, Deserialize, Type, PartialEq, Eq)]
pub struct QueueItem {
    /// Its id.
    pub id: u64,
    /// The same for all recipients of one message.
    pub message: u64,
    /// The connection that brought it.
    pub cid: String,
    /// Whose.
    pub account: String,
    /// Envelope sender, empty for reports.
    pub sender: String,
    /// Recipient.
    pub recipient: String,
    /// Seconds since 1970.
    pub queued: i64,
    /// Seconds since 1970.
    pub next_attempt: i64,
    /// Attempts begun.
    pub attempts: u32,
    /// Not tried while held.
    pub held: bool,
    /// What the last attempt said.
    pub last: String,
    /// Octets.
    pub size: u64,
}

/// A rule by which messages are held as they are queued; an empty text stands for any.
#[derive(Debug, Clone, Serialize, Deserialize, Type, PartialEq, Eq)]
pub struct HoldRuleItem {
    /// Its id.
    pub id: u32,
    /// Account that sends.
    pub account: String,
    /// Domain of the envelope sender.
    pub sender_domain: String,
    /// Domain of the recipient.
    pub recipient_domain: String,
}

/// Client side.
#[zbus::proxy(
    interface = "org.libmox.Queue1",
    default_service = "org.libmox.Queue1",
    default_path = "/org/libmox"
)]
pub trait Queue {
    /// See the interface file.
    fn list(&self, after: u64, most: u32) -> zbus::Result<Vec<QueueItem>>;
    /// See the interface file.
    fn kick(&self, ids: &[u64]) -> zbus::Result<u32>;
    /// See the interface file.
    fn drop(&self, ids: &[u64]) -> zbus::Result<u32>;
    /// See the interface file.
    fn hold(&self, ids: &[u64], held: bool) -> zbus::Result<u32>;
    /// See the interface file.
    fn hold_rules(&self) -> zbus::Result<Vec<HoldRuleItem>>;
    /// See the interface file.
    fn add_hold_rule(
        &self,
        account: &str,
        sender_domain: &str,
        recipient_domain: &str,
    ) -> zbus::Result<(u32, u32)>;
    /// See the interface file.
    fn remove_hold_rule(&self, id: u32) -> zbus::Result<bool>;
}
