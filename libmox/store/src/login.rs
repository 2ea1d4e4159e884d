//! Signing in: roles `submission` and `imap`. Exchanges run in `libmox-sasl` in the front end; secrets stay in the store.

use libmox_types::{AccountId, Address, Cid};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// The right to act for an account; only a finished login makes one. Ends with the connection or [`SignOut`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SessionId(pub u64);

/// Where a login attempt comes from, for limits and records.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LoginContext {
    /// The connection.
    pub cid: Cid,
    /// The client.
    pub remote_ip: IpAddr,
    /// "imap", "submission".
    pub protocol: String,
    /// "PLAIN", "SCRAM-SHA-256", ...
    pub mechanism: String,
    /// "TLS1.3 TLS13_AES_128_GCM_SHA256", or empty without TLS.
    pub tls: String,
    /// From IMAP ID, if it came.
    pub user_agent: String,
}

/// PLAIN and LOGIN. The password is UTF-8 as the client sent it; the store normalises (PRECIS OpaqueString).
#[derive(Clone, Serialize, Deserialize)]
pub struct LoginPassword {
    /// Where from.
    pub context: LoginContext,
    /// Login address, normalised to NFC by the front end.
    pub username: String,
    /// Never logged.
    pub password: String,
}

impl std::fmt::Debug for LoginPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoginPassword").field("username", &self.username).finish_non_exhaustive()
    }
}

/// How a login ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LoginOutcome {
    /// Welcome.
    SignedIn(SignedIn),
    /// Wrong name or password; which of the two is not told.
    Denied,
    /// Credentials right, login switched off, with the text to show: 525 5.7.13.
    Disabled(String),
    /// Too many failures from there: 421, BYE; wait.
    Limited,
    /// The account has no secret for this mechanism: fails without counting (row AU-10).
    NoSecret,
}

/// A person, proven.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedIn {
    /// The capability.
    pub session: SessionId,
    /// Which account.
    pub account: AccountId,
    /// Its name in the configuration.
    pub account_name: String,
    /// The address used to sign in.
    pub login: Address,
    /// For SCRAM: the server's signature to prove itself with.
    #[serde(with = "serde_bytes")]
    pub server_signature: Vec<u8>,
}

/// A hash for SCRAM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ScramHash {
    /// RFC 5802.
    Sha1,
    /// RFC 7677.
    Sha256,
}

/// The first half of SCRAM. Unknown users get an answer too, always the same for the same name.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ScramStart {
    /// Which.
    pub hash: ScramHash,
    /// As sent, unescaped; must be normalised already (row AU-08).
    pub username: String,
}

/// What server-first needs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ScramChallenge {
    /// Names the exchange in [`ScramFinish`]; good for 60 seconds.
    pub exchange: u64,
    /// Salt.
    #[serde(with = "serde_bytes")]
    pub salt: Vec<u8>,
    /// Iterations.
    pub iterations: u32,
    /// The server's half of the nonce, printable; the store insists on finding it in `auth_message`.
    pub server_nonce: String,
}

/// The second half. Reply: [`LoginOutcome`] with the server signature.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ScramFinish {
    /// Where from.
    pub context: LoginContext,
    /// Of [`ScramChallenge`].
    pub exchange: u64,
    /// client-first-bare "," server-first "," client-final-without-proof. RFC 5802 §3.
    #[serde(with = "serde_bytes")]
    pub auth_message: Vec<u8>,
    /// `ClientProof`.
    #[serde(with = "serde_bytes")]
    pub proof: Vec<u8>,
}

/// A program on this machine, known by its uid: role `submission`, local socket only. Reply: [`LoginOutcome`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LoginLocal {
    /// The connection.
    pub cid: Cid,
    /// `SO_PEERCRED`.
    pub uid: u32,
    /// Its name in the user database; the sender is `<user>@<hostname>`.
    pub user: String,
}

/// Ends a session; its watches end too.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SignOut(pub SessionId);

/// May this session send with these addresses? Row SU-03.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CheckSender {
    /// Who asks.
    pub session: SessionId,
    /// MAIL FROM or the message's From.
    pub address: Address,
}

/// Begins CRAM-MD5. Reply: [`CramChallenge`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CramStart;

/// A challenge that is answered once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CramChallenge {
    /// Names the exchange in [`CramFinish`]; good for 60 seconds.
    pub exchange: u64,
    /// RFC 2195 §2: in the form of a Message-ID.
    pub challenge: String,
}

/// The answer. Reply: [`LoginOutcome`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CramFinish {
    /// Where from.
    pub context: LoginContext,
    /// Of [`CramChallenge`].
    pub exchange: u64,
    /// Login address, normalised to NFC by the front end.
    pub username: String,
    /// HMAC-MD5 of the challenge.
    pub digest: [u8; 16],
}

/// Signs in with the key of a TLS client certificate; that the client has it was proven in the handshake. Reply:
/// [`KeyLogin`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LoginKey {
    /// Where from.
    pub context: LoginContext,
    /// base64url of the SHA-256 of the key (SubjectPublicKeyInfo), without padding.
    pub fingerprint: String,
    /// Another address of the same account to act for, in NFC.
    pub authorize: Option<String>,
}

/// Reply to [`LoginKey`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyLogin {
    /// How it ended.
    pub outcome: LoginOutcome,
    /// Whether IMAP may greet with PREAUTH (rows IM-41, TR-39).
    pub preauth: bool,
}

/// How an address stands before it has said anything. Reply: [`Standing`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AskStanding {
    /// The client.
    pub remote_ip: IpAddr,
}

/// Reply to [`AskStanding`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Failed logins of its class within this minute, over all protocols.
    pub failures: u32,
    /// So many that no login is looked at now: 421, BYE.
    pub limited: bool,
}

/// What a client calls itself, told after it signed in (IMAP ID): for the record of the login (rows AU-14, TR-26).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NoteAgent {
    /// The connection.
    pub cid: Cid,
    /// From ID.
    pub user_agent: String,
}

/// How somebody proves who they are.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Proof {
    /// PLAIN and LOGIN.
    Password(LoginPassword),
    /// The second half of SCRAM.
    Scram(ScramFinish),
    /// The answer of CRAM-MD5.
    Cram(CramFinish),
    /// The key of a client certificate.
    Key(LoginKey),
}

/// One of these with the address of ours that the client is connected to, for the record (row AU-13). Reply:
/// [`KeyLogin`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SignIn {
    /// None where there is no network between.
    pub local_ip: Option<IpAddr>,
    /// The proof.
    pub proof: Proof,
}

/// A login that ended before there was a proof to look at, for the record (rows AU-02, AU-13). Nothing was guessed, so it
/// counts against nobody.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NoteFailure {
    /// Where from.
    pub context: LoginContext,
    /// See [`SignIn`].
    pub local_ip: Option<IpAddr>,
    /// The name, if it was said.
    pub username: Option<String>,
    /// How it ended.
    pub result: crate::LoginResult,
}
