//! What went wrong, in words for the client.

use crate::events;
use libmox_imap::response::Code;
use libmox_service::wire::WireFault;
use libmox_store::{Fault, StoreError};

/// Why a command was not done.
#[derive(Debug)]
pub enum Failure {
    /// Answered NO; the connection goes on.
    No(Option<Code>, String),
    /// Answered BAD; the connection goes on.
    Bad(&'static str),
    /// The connection cannot go on.
    Bye(Option<Code>, String),
    /// There is no connection any more.
    Wire(WireFault),
}

impl Failure {
    /// NO with a code.
    pub fn no(code: Code, text: &str) -> Self {
        Self::No(Some(code), text.into())
    }

    /// A mailbox to put something in that is not there could be made. RFC 9051 §6.3.12, §6.4.7.
    pub fn try_create(self) -> Self {
        match self {
            Self::No(Some(Code::NonExistent), text) => Self::No(Some(Code::TryCreate), text),
            other => other,
        }
    }
}

impl From<WireFault> for Failure {
    fn from(fault: WireFault) -> Self {
        Self::Wire(fault)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let fault = match error {
            StoreError::Fault(fault) => fault,
            // The session went with the connection to the store. Whether the command happened is unknown, and
            // only a client that connects again finds out.
            StoreError::Lost | StoreError::Unreachable(_) => {
                return Self::Bye(Some(Code::Unavailable), "mail store restarted, please reconnect".into());
            }
            StoreError::Broken => Fault::Internal,
        };
        match fault {
            Fault::NoMailbox => Self::no(Code::NonExistent, "no such mailbox"),
            Fault::NoMessage => Self::no(Code::ExpungeIssued, "message is gone"),
            Fault::Exists => Self::no(Code::AlreadyExists, "exists already"),
            Fault::HasChildren => Self::no(Code::HasChildren, "has children"),
            Fault::Cannot(_) => Self::no(Code::Cannot, "cannot be done"),
            Fault::OverQuota => Self::no(Code::OverQuota, "quota exceeded"),
            Fault::Limit(_) => Self::no(Code::Limit, "limit reached"),
            Fault::Unavailable(_) => Self::no(Code::Unavailable, "try again later"),
            Fault::Full => Self::no(Code::Unavailable, "the server has no disk space left, try again later"),
            Fault::NoSession | Fault::NoAccount => {
                Self::Bye(Some(Code::Unavailable), "session ended, please reconnect".into())
            }
            Fault::NotFound
            | Fault::Stale
            | Fault::NotYours
            | Fault::SenderDisabled
            | Fault::SenderUsed
            | Fault::NoBody
            | Fault::BadSize
            | Fault::Forbidden
            | Fault::Invalid(_)
            | Fault::Internal => {
                events::trouble("the store refused what it should not", &fault.to_string());
                Self::no(Code::ServerBug, "internal error")
            }
        }
    }
}
