//! Managing: role `admin`. Accounts, addresses and domains are the configuration's (`domains.toml`); the store follows
//! it at [`Reload`]. Passwords and mail are the store's.

use libmox_types::{AccountId, Address, ByteCount, Timestamp};
use serde::{Deserialize, Serialize};

/// How the store is. Reply: [`StoreStatus`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status;

/// Reply to [`Status`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreStatus {
    /// "running", or "degraded: why".
    pub state: String,
    /// Configuration in force.
    pub generation: u64,
    /// Queue entries.
    pub queued: u64,
    /// Of them, held.
    pub held: u64,
    /// Accounts.
    pub accounts: u32,
    /// Connections by role.
    pub connections: u32,
    /// Sessions signed in.
    pub sessions: u32,
}

/// Reads `domains.toml` again. Reply: [`Reloaded`]; an error keeps the old configuration.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Reload {
    /// The number this configuration gets.
    pub generation: u64,
}

/// Reply to [`Reload`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// In force now.
    pub generation: u64,
    /// Mistakes found; none if it was taken.
    pub mistakes: Vec<String>,
}

/// All accounts. Reply: a list of [`AccountState`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AccountList;

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountState {
    /// Its id.
    pub id: AccountId,
    /// Its name.
    pub name: String,
    /// Where it takes mail.
    pub addresses: Vec<Address>,
    /// Why nobody may sign in, if so.
    pub login_disabled: Option<String>,
    /// Whether a password is set.
    pub has_password: bool,
    /// Octets used.
    pub used: ByteCount,
    /// Allowed.
    pub quota: Option<ByteCount>,
    /// Made when.
    pub created: Timestamp,
}

/// Sets a password by account name (rows AU-20, AU-21). Sessions go on. At least 8 characters.
#[derive(Clone, Serialize, Deserialize)]
pub struct AccountSetPassword {
    /// Account name, never an address.
    pub account: String,
    /// Never logged.
    pub password: String,
}

impl std::fmt::Debug for AccountSetPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccountSetPassword").field("account", &self.account).finish_non_exhaustive()
    }
}

/// Ends the sessions of an account that is no longer configured and erases its mail. Row ST-37.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AccountRemove {
    /// Account name.
    pub account: String,
}

/// Checks all invariants of one account, or of all and the queue. Reply: what is wrong, empty if nothing.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Check {
    /// Only this one.
    pub account: Option<String>,
}

/// Writes everything down and drops old journal segments.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Checkpoint;

/// Finds the threads of all messages of an account anew: at the end of an import, or after a change of the rules.
/// Goes on while the account is used; reply when it is done: how many messages there are.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ThreadsReassign {
    /// Account name.
    pub account: String,
}
