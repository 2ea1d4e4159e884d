//! What the session asks of the driver, and what it is told.

use crate::command::{
    Access, By, FetchItem, FlagChange, GetMetadata, List, MailboxFilter, MetadataValue, Notify, SearchKey,
    SearchReturn, Secret, SelectParams, SortKey, StatusItems, Threading,
};
use crate::view::View;
use libmox_types::{Cid, Keyword, MailboxId, MailboxName, ModSeq, SpecialUses, Uid, UidSet, UidValidity};

/// What the session cannot do or know itself. Sets of messages are resolved: always uids the client knows.
#[derive(Debug, PartialEq, Eq)]
pub enum Ask {
    /// Run a SASL exchange, then [`super::Session::signed_in`] or [`super::Session::login_failed`].
    Authenticate {
        /// In upper case, and offered.
        mechanism: String,
        /// The initial response.
        initial: Option<Secret>,
    },
    /// The same with name and password.
    Login {
        /// Who.
        user: String,
        /// Proof.
        password: Secret,
    },
    /// Take note of what the client says it is.
    Id(Vec<(String, Option<String>)>),
    /// Open a mailbox, then [`super::Session::selected`]; the old one is closed already.
    Select {
        /// Which.
        mailbox: MailboxName,
        /// How.
        access: Access,
        /// What stood in brackets.
        params: SelectParams,
        /// What the client knew of the mailbox that it had open until now.
        left: Option<Box<View>>,
    },
    /// Make one.
    Create(MailboxName, SpecialUses),
    /// Remove one.
    Delete(MailboxName),
    /// Give one another name.
    Rename(MailboxName, MailboxName),
    /// Subscribe a name, or no longer.
    Subscribe(MailboxName, bool),
    /// Answer LIST.
    List(List),
    /// Answer LSUB.
    Lsub(String, String),
    /// Answer STATUS.
    Status(MailboxName, StatusItems),
    /// Tell annotations.
    GetMetadata(GetMetadata),
    /// Set annotations of a mailbox, or of the server.
    SetMetadata(Option<MailboxName>, Vec<(String, Option<MetadataValue>)>),
    /// Tell the quota of a root.
    Quota(String),
    /// Tell the root of a mailbox, and its quota.
    QuotaRoot(MailboxName),
    /// Tell what happens until DONE.
    Idle,
    /// Take in what happened (NOOP, CHECK).
    Poll,
    /// Remove what is marked, these only or all.
    Expunge(Option<UidSet>),
    /// Remove what is marked and say nothing of it; the mailbox is closed already.
    CloseExpunge(MailboxId),
    /// Find messages, then [`super::Session::found`].
    Search {
        /// How results are named.
        by: By,
        /// In which form.
        returns: Option<SearchReturn>,
        /// Without `$`, `*` and sequence numbers.
        key: SearchKey,
    },
    /// Find messages and put them in order, then [`super::Session::sorted`].
    ///
    /// [`super::Session::sorted`]: crate::Session::sorted
    Sort {
        /// How results are named.
        by: By,
        /// In which form.
        returns: Option<SearchReturn>,
        /// The first key first.
        order: Vec<SortKey>,
        /// Without `$`, `*` and sequence numbers.
        key: SearchKey,
    },
    /// Find messages and group them, then [`super::Session::threaded`].
    ///
    /// [`super::Session::threaded`]: crate::Session::threaded
    Thread {
        /// How results are named.
        by: By,
        /// How they are grouped.
        how: Threading,
        /// Without `$`, `*` and sequence numbers.
        key: SearchKey,
    },
    /// Find messages in several mailboxes, and tell of each with [`super::Session::found_in`].
    ///
    /// [`super::Session::found_in`]: crate::Session::found_in
    Esearch {
        /// Where.
        sources: Vec<MailboxFilter>,
        /// In which form.
        returns: SearchReturn,
        /// For the open mailbox: without `$`, `*` and sequence numbers.
        key: SearchKey,
        /// For others: as it came.
        elsewhere: SearchKey,
    },
    /// Watch the whole account, or no longer.
    Notify(Option<Notify>),
    /// Give the account back, then [`super::Session::signed_out`].
    ///
    /// [`super::Session::signed_out`]: crate::Session::signed_out
    Unauthenticate,
    /// Authorise URLs; each with its mechanism.
    GenUrlAuth(Vec<(String, String)>),
    /// Make URLs worthless: those of a mailbox, by these mechanisms, or all.
    ResetKey(Option<(MailboxName, Vec<String>)>),
    /// Tell what authorised URLs name.
    UrlFetch(Vec<String>),
    /// Tell of messages.
    Fetch {
        /// Which.
        uids: UidSet,
        /// What.
        items: Vec<FetchItem>,
        /// Only those changed after.
        changed_since: Option<ModSeq>,
        /// Of these uids also the removals since then are told.
        vanished: Option<UidSet>,
        /// Whether `\Seen` is to be set.
        sets_seen: bool,
        /// How the client names messages.
        by: By,
        /// Some named by number are gone.
        missing: bool,
    },
    /// Change flags.
    Store {
        /// Which.
        uids: UidSet,
        /// How.
        change: FlagChange,
        /// Whether the client knows the outcome.
        silent: bool,
        /// Leave those changed after.
        unchanged_since: Option<ModSeq>,
        /// How the client names messages.
        by: By,
        /// Some named by number are gone.
        missing: bool,
    },
    /// Copy or move.
    Copy {
        /// Which.
        uids: UidSet,
        /// Where to.
        to: MailboxName,
        /// Whether they leave the old place.
        take: bool,
        /// How they were named.
        by: By,
        /// Some named by number are gone.
        missing: bool,
    },
}

/// What this connection can do.
#[derive(Debug, Clone)]
pub struct Offers {
    /// Names the connection in the journal; the answer to STARTTLS says it (row IM-04).
    pub cid: Cid,
    /// STARTTLS is possible: there is a certificate and TLS is not yet on.
    pub starttls: bool,
    /// Passwords may be sent: TLS is on, or not asked for.
    pub passwords: bool,
    /// SASL mechanisms, strongest first.
    pub mechanisms: Vec<&'static str>,
    /// Octets of one appended message.
    pub append_limit: u64,
}

/// What SELECT tells of a mailbox.
#[derive(Debug)]
pub struct Opened {
    /// Which.
    pub id: MailboxId,
    /// Its name.
    pub name: MailboxName,
    /// How.
    pub access: Access,
    /// How many messages are in it.
    pub exists: u32,
    /// Which. Empty where that is not known yet: then they come before the next command.
    pub view: View,
    /// Of this life of the name.
    pub uid_validity: UidValidity,
    /// The next message gets this or more.
    pub uid_next: Uid,
    /// Of all changes the highest.
    pub mod_seq: ModSeq,
    /// In use in it.
    pub keywords: Vec<Keyword>,
    /// The number of the first message not seen.
    pub first_unseen: Option<u32>,
}
