//! Verbs, replies and roles.

use libmox_ipc::Contract;
use libmox_types::Domain;
use serde::{Deserialize, Serialize};

/// The contract of `mox-keys`.
#[derive(Debug)]
pub struct KeysContract;

impl Contract for KeysContract {
    const NAME: &'static str = "mox-keys";
    const VERSION: u32 = 2;
    type Request = Request;
    type Reply = Reply;
    type Item = ();
    type Fault = KeysFault;
    fn forbidden() -> KeysFault {
        KeysFault::Forbidden
    }
}

/// Why there is no signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum KeysFault {
    /// The verb is not this role's.
    #[error("verb of another role")]
    Forbidden,
    /// No such key, certificate or selector.
    #[error("no such key")]
    NoKey,
    /// The key does not do this scheme.
    #[error("key cannot sign so")]
    BadScheme,
    /// It exists already.
    #[error("exists already")]
    Exists,
    /// Disk or key material is broken; logged there.
    #[error("keys unavailable: {0}")]
    Unavailable(String),
    /// A value that cannot be.
    #[error("invalid request: {0}")]
    Invalid(String),
}

/// Who asks, decided by the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeysRole {
    /// TLS on port 25.
    Smtp,
    /// TLS, and DKIM for people's mail.
    Submission,
    /// TLS.
    Imap,
    /// DKIM for reports.
    Queue,
    /// Makes and lists keys.
    Admin,
}

impl KeysRole {
    /// All of them with the `FileDescriptorName=` of their socket.
    pub const ALL: [(KeysRole, &'static str); 5] = [
        (KeysRole::Smtp, "keys-smtp"),
        (KeysRole::Submission, "keys-submission"),
        (KeysRole::Imap, "keys-imap"),
        (KeysRole::Queue, "keys-queue"),
        (KeysRole::Admin, "keys-admin"),
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
            R::Chain(_) | R::SignTls(_) => matches!(self, Self::Smtp | Self::Submission | Self::Imap),
            R::DkimKeys(_) => matches!(self, Self::Submission | Self::Queue | Self::Admin),
            R::SignDkim(_) => matches!(self, Self::Submission | Self::Queue),
            R::DkimGenerate(_) | R::HostKeys(_) | R::Authority(_) | R::ReloadKeys(_) => self == Self::Admin,
        }
    }
}

/// The certificate for a server name; the host's own where none fits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    /// SNI, lower case.
    pub server_name: Option<String>,
}

/// Reply to [`Chain`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainReply {
    /// Names the key in [`SignTls`].
    pub key: u64,
    /// DER, leaf first.
    pub certificates: Vec<serde_bytes::ByteBuf>,
    /// TLS `SignatureScheme` numbers the key can do, preferred first.
    pub schemes: Vec<u16>,
    /// DER SubjectPublicKeyInfo.
    #[serde(with = "serde_bytes")]
    pub public_key: Vec<u8>,
}

/// A signature for a handshake. Reply: the signature.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SignTls {
    /// Of [`ChainReply`].
    pub key: u64,
    /// TLS `SignatureScheme`.
    pub scheme: u16,
    /// At most 16 KiB; hashed there.
    #[serde(with = "serde_bytes")]
    pub message: Vec<u8>,
}

/// What signs for a domain; the nearest parent's keys where it has none (row MA-07). Reply: a list.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DkimKeys {
    /// From.
    pub domain: Domain,
}

/// A DKIM key without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DkimKey {
    /// `d=`
    pub domain: Domain,
    /// `s=`
    pub selector: String,
    /// `a=`
    pub algorithm: DkimAlgorithm,
    /// Whether new mail is signed with it.
    pub signs: bool,
    /// `p=` of its DNS record, base64.
    pub public: String,
    /// How it signs.
    pub how: DkimHow,
}

/// How a key signs. Row MA-05.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DkimHow {
    /// `c=` of the header is `simple`, not `relaxed`.
    pub header_simple: bool,
    /// The same for the body.
    pub body_simple: bool,
    /// Names of the fields that are signed, in lower case; none: the usual ones.
    pub headers: Option<Vec<String>>,
    /// None of those fields can be added later, or any can; none: none of those that decide what a reader sees.
    pub seal: Option<bool>,
    /// Seconds that a signature holds.
    pub expiration: Option<u32>,
}

/// `a=`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DkimAlgorithm {
    /// rsa-sha256, 2048 bits.
    Rsa2048,
    /// RFC 8463.
    Ed25519,
}

/// A DKIM signature over the canonical header data (RFC 6376 §3.7); hashed there. Reply: the signature.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SignDkim {
    /// `d=`
    pub domain: Domain,
    /// `s=`
    pub selector: String,
    /// At most 256 KiB.
    #[serde(with = "serde_bytes")]
    pub data: Vec<u8>,
}

/// Makes a DKIM key. Reply: the key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DkimGenerate {
    /// `d=`
    pub domain: Domain,
    /// `s=`
    pub selector: String,
    /// `a=`
    pub algorithm: DkimAlgorithm,
    /// Whether new mail is signed with it.
    pub signs: bool,
}

/// The host's TLS keys that stay for life, so that TLSA records can name them. Reply: DER SubjectPublicKeyInfos.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HostKeys;

/// The certificate of the own authority, PEM; for localserve and tests. Fault `NoKey` where certificates are files.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Authority;

/// Reads certificates and settings again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReloadKeys;

libmox_ipc::verbs! {
    KeysContract;
    Chain => ChainReply,
    SignTls => serde_bytes::ByteBuf,
    DkimKeys => Vec<DkimKey>,
    SignDkim => serde_bytes::ByteBuf,
    DkimGenerate => DkimKey,
    HostKeys => Vec<serde_bytes::ByteBuf>,
    Authority => String,
    ReloadKeys => (),
}
