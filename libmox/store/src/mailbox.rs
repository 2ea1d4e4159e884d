//! Mailboxes: role `imap`.

use crate::SessionId;
use libmox_types::{
    ByteCount, Keyword, MailboxId, MailboxName, ModSeq, SpecialUse, SpecialUses, Uid, UidValidity,
};
use serde::{Deserialize, Serialize};

/// Counters, kept with every change and never counted.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Messages without `\Deleted`.
    pub total: u32,
    /// Messages with `\Deleted`; IMAP counts `total + deleted`.
    pub deleted: u32,
    /// Without `\Seen` and without `\Deleted`.
    pub unread: u32,
    /// Without `\Seen`, `\Deleted` or not.
    pub unseen: u32,
    /// Octets of all of them.
    pub size: ByteCount,
}

/// A mailbox as the store has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mailbox {
    /// Its id.
    pub id: MailboxId,
    /// Its name.
    pub name: MailboxName,
    /// Of this life of the name.
    pub uid_validity: UidValidity,
    /// The next message gets this or more.
    pub uid_next: Uid,
    /// Highest of all changes in it, its messages and annotations.
    pub mod_seq: ModSeq,
    /// When it was made.
    pub create_seq: ModSeq,
    /// What it is for.
    pub special_use: SpecialUses,
    /// Wanted by LSUB.
    pub subscribed: bool,
    /// Every keyword ever used in it, sorted.
    pub keywords: Vec<Keyword>,
    /// Counters.
    pub counts: Counts,
}

/// All mailboxes and subscriptions of the account, by name: a stream of [`crate::Item::Mailboxes`], first all
/// mailboxes, then the subscribed names without one. [`mailboxes`] puts them together.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MailboxList {
    /// Whose.
    pub session: SessionId,
}

/// Asks for all of them.
pub async fn mailboxes(store: &crate::Store, session: SessionId) -> Result<Mailboxes, crate::StoreError> {
    let mut items = store.stream(crate::Request::MailboxList(MailboxList { session })).await?;
    let mut all = Mailboxes::default();
    while let Some(item) = items.next().await {
        if let crate::Item::Mailboxes(part) = item? {
            all.mailboxes.extend(part.mailboxes);
            all.subscribed_only.extend(part.subscribed_only);
        }
    }
    Ok(all)
}

/// A piece of [`MailboxList`], or all of it.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mailboxes {
    /// Sorted by name.
    pub mailboxes: Vec<Mailbox>,
    /// Subscribed names without a mailbox.
    pub subscribed_only: Vec<MailboxName>,
}

/// One mailbox by name, with counts. Reply: [`Mailbox`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MailboxStatus {
    /// Whose.
    pub session: SessionId,
    /// Which.
    pub name: MailboxName,
}

/// Creates it, its missing parents, and subscribes to all of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MailboxCreate {
    /// Whose.
    pub session: SessionId,
    /// Name.
    pub name: MailboxName,
    /// RFC 6154 §3: taken off other mailboxes that have it.
    pub special_use: Vec<SpecialUse>,
}

/// Deletes it with its messages. Not Inbox, not with children.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MailboxDelete {
    /// Whose.
    pub session: SessionId,
    /// Name.
    pub name: MailboxName,
}

/// Renames it with its children; Inbox moves its messages to a new mailbox (row IM-46).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MailboxRename {
    /// Whose.
    pub session: SessionId,
    /// From.
    pub from: MailboxName,
    /// To.
    pub to: MailboxName,
}

/// Subscribes or unsubscribes a name, existing or not.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MailboxSubscribe {
    /// Whose.
    pub session: SessionId,
    /// Name.
    pub name: MailboxName,
    /// Yes or no.
    pub subscribed: bool,
}

/// How full the account is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Quota {
    /// Whose.
    pub session: SessionId,
}

/// Reply to [`Quota`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaState {
    /// Octets in use, expunged but not erased ones too.
    pub used: ByteCount,
    /// Allowed, if there is a limit.
    pub limit: Option<ByteCount>,
}

/// A change was made: its number in the account's change stream (see [`crate::Event`]). A session that watches sees
/// everything up to this number before it reports success.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// Zero if nothing changed.
    pub change: u64,
}
