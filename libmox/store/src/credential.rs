//! Other ways to sign in than the password of the account: role `admin`.

use libmox_types::{Address, Timestamp};
use serde::{Deserialize, Serialize};

/// Public keys of TLS client certificates. Reply: [`TlsKey`]s by fingerprint.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TlsKeyList {
    /// Of this account; none: of all.
    pub account: Option<String>,
}

/// A key that signs in (rows AU-05, AU-07). Names, dates and authorities of certificates do not matter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsKey {
    /// base64url of the SHA-256 of the key (SubjectPublicKeyInfo), without padding.
    pub fingerprint: String,
    /// Account name.
    pub account: String,
    /// The address it signs in as.
    pub login: Address,
    /// "rsa-2048", "ecdsa-p256", "ed25519", ...
    pub kind: String,
    /// For people.
    pub name: String,
    /// IMAP clients with this key do not understand PREAUTH.
    pub no_imap_preauth: bool,
    /// When it was added.
    pub created: Timestamp,
}

/// Adds a key, or changes name and PREAUTH of one that the account has. [`crate::Fault::Exists`] where another account
/// has it. Account, login and creation of `key` are the store's to fill in: `login` says whose it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TlsKeyAdd {
    /// The key; its `account` is not looked at.
    pub key: TlsKey,
}

/// Removes a key; sessions it opened end. Reply: whether it was there.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TlsKeyRemove {
    /// Which.
    pub fingerprint: String,
}

/// What an app password is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scopes {
    /// Reading mail.
    pub imap: bool,
    /// Sending mail.
    pub submission: bool,
}

/// A password for one program: made by the store, good for some protocols, for some time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppPassword {
    /// For people, unique in the account.
    pub name: String,
    /// What for.
    pub scopes: Scopes,
    /// When it was made.
    pub created: Timestamp,
    /// From then on it is wrong.
    pub expires: Option<Timestamp>,
}

/// Makes an app password. Reply: the password; it is not shown again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AppPasswordAdd {
    /// Account name, never an address.
    pub account: String,
    /// Not used yet in the account, 1 to 100 characters.
    pub name: String,
    /// At least one.
    pub scopes: Scopes,
    /// In the future.
    pub expires: Option<Timestamp>,
}

/// Reply to [`AppPasswordAdd`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadePassword(pub String);

impl std::fmt::Debug for MadePassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MadePassword")
    }
}

/// App passwords of an account. Reply: [`AppPassword`]s by name.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AppPasswordList {
    /// Account name.
    pub account: String,
}

/// Removes one; sessions it opened end. Reply: whether it was there.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AppPasswordRemove {
    /// Account name.
    pub account: String,
    /// Its name.
    pub name: String,
}
