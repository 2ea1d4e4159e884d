//! The words every part of mox speaks: addresses, identifiers, flags, sizes.
//!
//! Law: RFC 5321 §4.1.2 and RFC 6531 §3.3 (addresses), RFC 5890 (domain names), RFC 9051 §2.3 (uids, flags).
//! Does not know: sockets, files, clocks, randomness.
//! Fails with: one fault enum per module. No input makes it panic.

mod address;
mod domain;
mod flags;
mod ids;
mod mailbox;
mod uidset;

pub use address::{Address, AddressFault, LocalPart, ReversePath};
pub use domain::{Domain, DomainFault, Host};
pub use flags::{Flag, Flags, Keyword, KeywordFault, SpecialUse, SpecialUses};
pub use ids::{
    AccountId, ByteCount, Cid, IdFault, MailboxId, ModSeq, MsgId, QueueId, Timestamp, Uid, UidValidity,
};
pub use mailbox::{MailboxName, MailboxNameFault};
pub use uidset::UidSet;
