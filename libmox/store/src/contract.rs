//! The list of verbs. It grows at the end only.

use crate::*;
use libmox_ipc::Contract;
use libmox_types::{QueueId, Timestamp, UidSet};
use serde::{Deserialize, Serialize};

/// The store's contract.
#[derive(Debug)]
pub struct StoreContract;

impl Contract for StoreContract {
    const NAME: &'static str = "mox-store";
    const VERSION: u32 = 3;
    type Request = Request;
    type Reply = Reply;
    type Item = Item;
    type Fault = Fault;
    fn forbidden() -> Fault {
        Fault::Forbidden
    }
    fn read_item(bytes: &[u8]) -> Result<Item, postcard::Error> {
        match bytes.split_first() {
            Some((0, records)) => crate::rows::read(records).ok_or(postcard::Error::SerdeDeCustom),
            _ => postcard::from_bytes(bytes),
        }
    }
}

/// What a stream of the store carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Item {
    /// Of [`MessageList`].
    Messages(Vec<MessageRecord>),
    /// Of [`Watch`]: part of the mailbox, ascending.
    Snapshot(Vec<SnapshotMessage>),
    /// Of [`Watch`]: the mailbox itself at that instant (none if none was asked for, or [`Item::SnapshotOpen`] told of
    /// it), and the last change it contains.
    SnapshotEnd(Option<Box<Mailbox>>, u64),
    /// Of [`Watch`]: what happened after.
    Events(Vec<ChangeEvents>),
    /// Of [`QueueWatch`].
    QueueChanged,
    /// Of [`AnnotationList`].
    Annotations(Vec<Annotation>),
    /// Of [`MailboxList`].
    Mailboxes(Mailboxes),
    /// Of [`ReferenceList`].
    References(Vec<MessageReferences>),
    /// Of [`WatchSet`]: part of the mailbox, ascending. The second was used before there was [`Item::SnapshotOpen`].
    SnapshotSet(UidSet, Option<libmox_types::Uid>),
    /// Of [`WatchSet`]: the mailbox at that instant, and the number of the first message without `\\Seen`, 0 if there is
    /// none.
    SnapshotOpen(Box<Mailbox>, u32),
}

libmox_ipc::verbs! {
    StoreContract;
    Ping => (),
    Stage => BodyId,
    Unstage => (),
    CheckRecipient => RecipientStatus,
    Deliver => Vec<Delivered>,
    LoginPassword => LoginOutcome,
    ScramStart => ScramChallenge,
    ScramFinish => LoginOutcome,
    LoginLocal => LoginOutcome,
    SignOut => (),
    CheckSender => bool,
    QueueAdd => Vec<QueueId>,
    MailboxList => (),
    MailboxCreate => Changed,
    MailboxDelete => Changed,
    MailboxRename => Changed,
    MailboxSubscribe => Changed,
    MailboxStatus => Mailbox,
    Watch => (),
    MessageList => (),
    MessageOpen => Content,
    FlagsChange => FlagsChanged,
    Append => Placed,
    Copy => Placed,
    Expunge => Expunged,
    Quota => QuotaState,
    QueueDue => Due,
    QueueAttempt => Vec<QueueId>,
    QueueOpen => Content,
    QueueResult => (),
    QueueWatch => (),
    QueueList => Vec<QueueEntry>,
    QueueKick => u32,
    QueueDrop => u32,
    QueueHold => u32,
    Status => StoreStatus,
    Reload => Reloaded,
    AccountList => Vec<AccountState>,
    AccountSetPassword => (),
    AccountRemove => (),
    Check => Vec<String>,
    Checkpoint => (),
    QueueDeliver => Vec<DeliveredHere>,
    DeliverTogether => Together,
    ThreadChange => Changed,
    ThreadOf => ThreadPlace,
    ThreadsReassign => u64,
    Analyze => Vec<Analysis>,
    AnnotationList => (),
    AnnotationSet => Changed,
    LoginAttempts => Vec<LoginAttempt>,
    CacheGet => Option<Cached>,
    CacheSet => (),
    CacheList => Vec<Cached>,
    TlsSupportSet => (),
    TlsSupportOf => Vec<Option<TlsSupport>>,
    WroteTo => Option<(Timestamp, Timestamp)>,
    SentSince => Sent,
    RetiredList => Vec<Retired>,
    SuppressionList => Vec<Suppressed>,
    SuppressionAdd => (),
    SuppressionRemove => bool,
    Backup => BackedUp,
    BackupProgress => Progress,
    Repair => Vec<String>,
    Acknowledge => (),
    VanishedSince => Vanished,
    Replace => Placed,
    ReferenceList => (),
    CramStart => CramChallenge,
    CramFinish => LoginOutcome,
    LoginKey => KeyLogin,
    AskStanding => Standing,
    NoteAgent => (),
    TlsKeyList => Vec<TlsKey>,
    TlsKeyAdd => TlsKey,
    TlsKeyRemove => bool,
    AppPasswordAdd => MadePassword,
    AppPasswordList => Vec<AppPassword>,
    AppPasswordRemove => bool,
    ReaderConfig => ReaderSettings,
    ReaderGrant => GrantToken,
    LoginGrant => LoginOutcome,
    Decided => (),
    DecisionsOf => Vec<Decided>,
    FlaggedSet => Option<UidSet>,
    DeliverNoting => Vec<Delivered>,
    UrlSign => Vec<serde_bytes::ByteBuf>,
    UrlReset => Changed,
    UrlOpen => UrlContent,
    Feedback => (),
    ReportList => Vec<ReportKept>,
    EvaluationList => Vec<Evaluation>,
    WatchSet => (),
    HoldRuleAdd => HoldRuleAdded,
    HoldRuleRemove => bool,
    HoldRuleList => Vec<(u32, HoldRule)>,
    MessagesOpen => Vec<Option<Content>>,
    CopyAll => Placed,
    SignIn => KeyLogin,
    NoteFailure => (),
    SharedAnnotationSet => Changed,
    SharedAnnotationList => Vec<Annotation>,
    LastChangesOpen => (),
    AppendListed => Placed,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;

    /// Postcard names a variant by its place. These places are for ever.
    #[test]
    fn golden_places_of_verbs() {
        let copy = Copy {
            session: crate::SessionId(1),
            mailbox: libmox_types::MailboxId(1),
            uids: UidSet::new(),
            to: libmox_types::MailboxName::inbox(),
            take: false,
        };
        let listed = AppendListed {
            session: crate::SessionId(1),
            mailbox: libmox_types::MailboxName::inbox(),
            list: crate::Body::Inline(Vec::new()),
        };
        let places = [
            (postcard::to_allocvec(&Request::Ping(Ping)), 0u8),
            (postcard::to_allocvec(&Request::SignOut(SignOut(crate::SessionId(1)))), 9),
            (postcard::to_allocvec(&Request::QueueWatch(QueueWatch)), 30),
            (postcard::to_allocvec(&Request::Checkpoint(Checkpoint)), 41),
            (
                postcard::to_allocvec(&Request::UrlReset(UrlReset {
                    session: crate::SessionId(1),
                    mailbox: None,
                })),
                88,
            ),
            (postcard::to_allocvec(&Request::CopyAll(CopyAll(copy))), 98),
            (postcard::to_allocvec(&Request::AppendListed(listed)), 104),
        ];
        for (bytes, place) in places {
            assert_eq!(bytes.unwrap()[0], place);
        }
        assert_eq!(postcard::to_allocvec(&Fault::Internal).unwrap(), [17]);
        assert_eq!(postcard::to_allocvec(&Item::QueueChanged).unwrap(), [4]);
    }

    #[test]
    fn no_role_but_imap_reads_mail() {
        let open =
            Request::MessageOpen(MessageOpen { session: crate::SessionId(1), id: libmox_types::MsgId(1) });
        for (role, _) in Role::ALL {
            assert_eq!(role.may(&open), role == Role::Imap, "{role:?}");
            assert_eq!(Role::of_socket(role.socket()), Some(role));
        }
    }
}
