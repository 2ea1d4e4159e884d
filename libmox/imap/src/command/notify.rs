//! What NOTIFY asks to be told of.
//!
//! Law: RFC 5465 §3.1, §5 and §6; row IM-37.

use super::{FetchItem, MailboxFilter};

/// Kinds of events, as a set.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Events(u8);

/// One kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum EventKind {
    /// A message came.
    MessageNew = 1,
    /// A message went.
    MessageExpunge = 1 << 1,
    /// Flags changed.
    FlagChange = 1 << 2,
    /// A mailbox was made, removed or renamed.
    MailboxName = 1 << 3,
    /// A name was subscribed or not any more.
    SubscriptionChange = 1 << 4,
    /// An annotation of a mailbox changed.
    MailboxMetadataChange = 1 << 5,
    /// An annotation of the server changed.
    ServerMetadataChange = 1 << 6,
}

impl EventKind {
    /// All of them with their spelling on the wire.
    pub const ALL: [(EventKind, &'static str); 7] = [
        (EventKind::MessageNew, "MessageNew"),
        (EventKind::MessageExpunge, "MessageExpunge"),
        (EventKind::FlagChange, "FlagChange"),
        (EventKind::MailboxName, "MailboxName"),
        (EventKind::SubscriptionChange, "SubscriptionChange"),
        (EventKind::MailboxMetadataChange, "MailboxMetadataChange"),
        (EventKind::ServerMetadataChange, "ServerMetadataChange"),
    ];

    /// Whether it is about messages.
    #[must_use]
    pub fn is_of_messages(self) -> bool {
        matches!(self, Self::MessageNew | Self::MessageExpunge | Self::FlagChange)
    }
}

impl Events {
    /// With this one.
    #[must_use]
    pub fn with(self, kind: EventKind) -> Self {
        Self(self.0 | kind as u8)
    }

    /// In either.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether it is among them.
    #[must_use]
    pub fn has(self, kind: EventKind) -> bool {
        self.0 & kind as u8 != 0
    }

    /// Whether any is about messages.
    #[must_use]
    pub fn of_messages(self) -> bool {
        EventKind::ALL.iter().any(|(kind, _)| kind.is_of_messages() && self.has(*kind))
    }
}

/// NOTIFY SET.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Notify {
    /// Tell the present state of each mailbox first.
    pub status: bool,
    /// What is to be told of which mailboxes; several may name one.
    pub groups: Vec<(MailboxFilter, Events)>,
    /// What is to be told of the open mailbox; none for nothing.
    pub selected: Option<SelectedEvents>,
}

/// What is to be told of the open mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelectedEvents {
    /// At once, between commands too.
    pub at_once: bool,
    /// Which kinds.
    pub events: Events,
    /// What is said of each new message.
    pub new: Vec<FetchItem>,
}

impl Notify {
    /// What is to be told of a mailbox that is not open.
    #[must_use]
    pub fn wanted(&self, name: &str, subscribed: bool) -> Events {
        let takes = |(filter, _): &&(MailboxFilter, Events)| filter.takes(name, subscribed);
        self.groups.iter().filter(takes).fold(Events::default(), |all, (_, events)| all.union(*events))
    }

    /// Whether changes of the server's annotations are to be told, whatever mailboxes stand beside it.
    #[must_use]
    pub fn wants_server_metadata(&self) -> bool {
        self.groups.iter().any(|(_, events)| events.has(EventKind::ServerMetadataChange))
    }
}
