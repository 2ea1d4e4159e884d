//! Which mailboxes a client means, without naming each.
//!
//! Law: RFC 5465 §6, RFC 7377 §2.2.

use libmox_types::MailboxName;

/// One specifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MailboxFilter {
    /// The open mailbox.
    Selected,
    /// The same, numbers of messages changing only when a command allows it.
    SelectedDelayed,
    /// Where mail arrives.
    Inboxes,
    /// All of the person's own.
    Personal,
    /// Those subscribed.
    Subscribed,
    /// These and all below them.
    Subtree(Vec<MailboxName>),
    /// These and those right below them.
    SubtreeOne(Vec<MailboxName>),
    /// These.
    Mailboxes(Vec<MailboxName>),
}

impl MailboxFilter {
    /// Whether it takes a mailbox, be it open or not.
    #[must_use]
    pub fn takes(&self, name: &str, subscribed: bool) -> bool {
        match self {
            Self::Selected | Self::SelectedDelayed => false,
            Self::Inboxes => name == "Inbox",
            Self::Personal => true,
            Self::Subscribed => subscribed,
            Self::Subtree(roots) => roots.iter().any(|root| below(name, root).is_some()),
            Self::SubtreeOne(roots) => {
                roots.iter().any(|root| below(name, root).is_some_and(|rest| !rest.contains('/')))
            }
            Self::Mailboxes(names) => names.iter().any(|wanted| wanted.as_str() == name),
        }
    }
}

/// What follows the root and its separator; empty for the root itself.
fn below<'n>(name: &'n str, root: &MailboxName) -> Option<&'n str> {
    let rest = name.strip_prefix(root.as_str())?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
}
