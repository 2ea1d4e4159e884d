//! Why an administrative act failed, and how the bus says it.

use libmox_keys::KeysError;
use libmox_store::{Fault, StoreError};
use zbus::fdo;

/// Why not.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// What was asked for makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// No such account, address or domain.
    #[error("{0} does not exist")]
    NotFound(String),
    /// It is there already.
    #[error("{0} exists already")]
    Exists(String),
    /// Whoever asks has not shown that they may.
    #[error("{0}")]
    Denied(String),
    /// Somebody else changed the file at the same moment. Row CF-02.
    #[error("domains.toml was changed by somebody else at the same moment, nothing was written")]
    Stale,
    /// The file as it would be has mistakes.
    #[error("{0}")]
    Mistakes(String),
    /// A file.
    #[error("{0}")]
    File(String),
    /// The store.
    #[error("store: {0}")]
    Store(String),
    /// The keys.
    #[error("keys: {0}")]
    Keys(String),
}

impl From<StoreError> for AdminError {
    fn from(error: StoreError) -> Self {
        match error.fault() {
            Some(Fault::NoAccount) => Self::NotFound("account".into()),
            Some(Fault::NoMailbox) => Self::NotFound("mailbox".into()),
            Some(Fault::NotFound) => Self::NotFound("address".into()),
            Some(Fault::Exists) => Self::Exists("it".into()),
            Some(Fault::Invalid(what) | Fault::Cannot(what)) => Self::Invalid(what.clone()),
            Some(fault) => Self::Store(fault.to_string()),
            None => Self::Store(error.to_string()),
        }
    }
}

impl From<KeysError> for AdminError {
    fn from(error: KeysError) -> Self {
        Self::Keys(error.fault().map_or_else(|| error.to_string(), ToString::to_string))
    }
}

impl From<AdminError> for fdo::Error {
    fn from(error: AdminError) -> Self {
        match error {
            AdminError::Invalid(_) | AdminError::Mistakes(_) => fdo::Error::InvalidArgs(error.to_string()),
            AdminError::Denied(_) => fdo::Error::AccessDenied(error.to_string()),
            AdminError::NotFound(_) => fdo::Error::UnknownObject(error.to_string()),
            AdminError::Exists(_) => fdo::Error::FileExists(error.to_string()),
            _ => fdo::Error::Failed(error.to_string()),
        }
    }
}
