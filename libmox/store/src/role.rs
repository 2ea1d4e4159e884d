//! Who may ask what: one row a role, decided by the socket the connection came in on.

use crate::{CacheGet, CacheKind, CacheSet, Request};
use serde::{Deserialize, Serialize};

/// A service, as the store sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Role {
    /// Hands in mail from strangers; reads nothing.
    Smtp,
    /// Hands in mail of people who signed in.
    Submission,
    /// Reads and changes the accounts that signed in on it.
    Imap,
    /// Takes from the queue and reports back.
    Queue,
    /// Manages accounts and the queue; reads no mail.
    Admin,
}

impl Role {
    /// All of them with the `FileDescriptorName=` of their socket, which is also `<name>.sock` in the runtime folder.
    pub const ALL: [(Role, &'static str); 5] = [
        (Role::Smtp, "store-smtp"),
        (Role::Submission, "store-submission"),
        (Role::Imap, "store-imap"),
        (Role::Queue, "store-queue"),
        (Role::Admin, "store-admin"),
    ];

    /// The name of its socket.
    #[must_use]
    pub fn socket(self) -> &'static str {
        Self::ALL.iter().find(|(role, _)| *role == self).map_or("", |(_, name)| name)
    }

    /// The role whose socket has this name.
    #[must_use]
    pub fn of_socket(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, socket)| *socket == name).map(|(role, _)| *role)
    }

    /// Whether the verb is this role's.
    #[must_use]
    pub fn may(self, request: &Request) -> bool {
        use Request as R;
        match request {
            R::Ping(_) => true,
            R::Stage(_) | R::Unstage(_) => {
                matches!(self, Self::Smtp | Self::Submission | Self::Imap | Self::Queue)
            }
            R::CheckRecipient(_) => matches!(self, Self::Smtp | Self::Submission | Self::Queue),
            R::Deliver(_)
            | R::DeliverNoting(_)
            | R::DeliverTogether(_)
            | R::Analyze(_)
            | R::Decided(_)
            | R::Feedback(_) => self == Self::Smtp,
            // Role admin: for what people do about their own account. It has no verb that reads mail with it.
            R::LoginPassword(_) | R::SignOut(_) => {
                matches!(self, Self::Submission | Self::Imap | Self::Admin)
            }
            R::ScramStart(_)
            | R::ScramFinish(_)
            | R::CramStart(_)
            | R::CramFinish(_)
            | R::LoginKey(_)
            | R::AskStanding(_)
            | R::SignIn(_)
            | R::NoteFailure(_)
            | R::NoteAgent(_) => {
                matches!(self, Self::Submission | Self::Imap)
            }
            R::LoginLocal(_) | R::CheckSender(_) | R::QueueAdd(_) => self == Self::Submission,
            R::MailboxList(_)
            | R::MailboxCreate(_)
            | R::MailboxDelete(_)
            | R::MailboxRename(_)
            | R::MailboxSubscribe(_)
            | R::MailboxStatus(_)
            | R::Watch(_)
            | R::MessageList(_)
            | R::MessageOpen(_)
            | R::FlagsChange(_)
            | R::Append(_)
            | R::Copy(_)
            | R::Expunge(_)
            | R::Quota(_)
            | R::ThreadChange(_)
            | R::ThreadOf(_)
            | R::AnnotationList(_)
            | R::AnnotationSet(_) => self == Self::Imap,
            R::TlsSupportOf(_) | R::WroteTo(_) | R::SentSince(_) => {
                matches!(self, Self::Imap | Self::Submission)
            }
            R::TlsSupportSet(_) => self == Self::Queue,
            R::CacheGet(CacheGet { kind: CacheKind::DnsList, .. })
            | R::CacheSet(CacheSet { kind: CacheKind::DnsList, .. })
                if self == Self::Smtp =>
            {
                true
            }
            R::CacheGet(_)
            | R::CacheSet(_)
            | R::CacheList(_)
            | R::RetiredList(_)
            | R::SuppressionList(_)
            | R::SuppressionAdd(_)
            | R::SuppressionRemove(_) => matches!(self, Self::Queue | Self::Admin),
            R::QueueDue(_)
            | R::QueueAttempt(_)
            | R::QueueOpen(_)
            | R::QueueResult(_)
            | R::QueueWatch(_)
            | R::QueueDeliver(_) => self == Self::Queue,
            R::QueueList(_)
            | R::QueueKick(_)
            | R::QueueDrop(_)
            | R::QueueHold(_)
            | R::HoldRuleAdd(_)
            | R::HoldRuleRemove(_)
            | R::HoldRuleList(_) => {
                matches!(self, Self::Queue | Self::Admin)
            }
            R::Status(_)
            | R::Reload(_)
            | R::AccountList(_)
            | R::AccountSetPassword(_)
            | R::AccountRemove(_)
            | R::Check(_)
            | R::Checkpoint(_)
            | R::ThreadsReassign(_)
            | R::LoginAttempts(_)
            | R::Backup(_)
            | R::BackupProgress(_)
            | R::Repair(_)
            | R::ReaderGrant(_)
            | R::TlsKeyList(_)
            | R::TlsKeyAdd(_)
            | R::TlsKeyRemove(_)
            | R::AppPasswordAdd(_)
            | R::AppPasswordList(_)
            | R::AppPasswordRemove(_)
            | R::SharedAnnotationSet(_)
            | R::SharedAnnotationList(_)
            | R::DecisionsOf(_)
            | R::ReportList(_)
            | R::EvaluationList(_) => self == Self::Admin,
            R::Acknowledge(_)
            | R::VanishedSince(_)
            | R::Replace(_)
            | R::FlaggedSet(_)
            | R::UrlSign(_)
            | R::UrlReset(_)
            | R::UrlOpen(_)
            | R::WatchSet(_)
            | R::MessagesOpen(_)
            | R::CopyAll(_)
            | R::AppendListed(_)
            | R::LastChangesOpen(_)
            | R::ReferenceList(_)
            | R::ReaderConfig(_)
            | R::LoginGrant(_) => self == Self::Imap,
        }
    }
}
