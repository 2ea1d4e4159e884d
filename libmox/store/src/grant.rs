//! Reading somebody's mail without a login: an administrator who may is given a token by role `admin`, and only who
//! brings it to role `imap` gets the account. So `mox-imap` still opens nothing by itself.

use crate::LoginContext;
use serde::{Deserialize, Serialize};

/// A token for the account of an address, or of this name, whether its login is switched off or not. Good once, and for
/// [`GRANT_SECONDS`]. Reply: [`GrantToken`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReaderGrant {
    /// Address or name of the account.
    pub account: String,
}

/// Reply to [`ReaderGrant`]; never shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantToken(pub String);

impl std::fmt::Debug for GrantToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GrantToken")
    }
}

/// Signs in with a token. Reply: [`crate::LoginOutcome`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LoginGrant {
    /// Where from.
    pub context: LoginContext,
    /// What the administrator was given.
    pub token: GrantToken,
}

/// How long a token is good.
pub const GRANT_SECONDS: u64 = 60;
