//! SASL exchanges: PLAIN, LOGIN, CRAM-MD5, EXTERNAL and SCRAM, as server and as client.
//!
//! Law: RFC 4422 (and its appendix A, EXTERNAL), RFC 4616 (PLAIN), RFC 2195 (CRAM-MD5), RFC 5802 and RFC 7677 (SCRAM), RFC 9266 and RFC 5929 (channel binding),
//! RFC 8265 (names and passwords).
//! The server side is cut in two: the front end parses messages ([`ServerExchange`]) and never sees a secret of
//! the account; whoever keeps the verifiers answers its [`Question`]s with the functions of [`scram`].
//! Does not know: sockets, accounts, randomness (nonces and salts come in), base64 lines of a protocol beyond
//! [`decode_line`].
//! Fails with: [`Fault`], always a value and always the client's doing (TR-09).

mod client;
pub mod cram;
mod limits;
mod md5;
mod mechanism;
mod prepare;
pub mod scram;
mod server;

pub use client::{ClientBinding, ScramClient, plain};
pub use limits::{ITERATIONS, LINE_OCTETS};
pub use mechanism::{BindingName, Mechanism};
pub use prepare::{Secret, is_normalised, prepare_password, prepare_username};
pub use server::{Answer, Bindings, Question, ServerExchange, Step};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// What the peer did wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Not base64, or not UTF-8.
    #[error("invalid encoding")]
    Encoding,
    /// Longer than [`LINE_OCTETS`].
    #[error("message too long")]
    TooLong,
    /// Not the message the mechanism wants here.
    #[error("malformed message")]
    Malformed,
    /// The nonce is not the one we sent.
    #[error("wrong nonce")]
    Nonce,
    /// The channel binding data are not those of this connection: somebody may sit between.
    #[error("channel bindings do not match")]
    BindingMismatch,
    /// The client believes we cannot bind; we said we can: somebody may have changed our list.
    #[error("server does support channel binding")]
    BindingDowngrade,
    /// A binding we cannot do, or none where the mechanism wants one.
    #[error("unsupported channel binding type")]
    BindingUnsupported,
    /// RFC 5802 §5.1: an extension we must understand and do not.
    #[error("extensions are not supported")]
    Extension,
    /// The name is not in normal form, or empty (AU-08).
    #[error("username is not normalised")]
    Username,
    /// Asking to act for somebody else.
    #[error("authorization identity differs")]
    Authorization,
    /// The credentials are wrong, or the server could not prove itself.
    #[error("authentication failed")]
    Denied,
    /// The server wants more work than [`ITERATIONS`].
    #[error("iteration count out of range")]
    Iterations,
    /// A message where none was expected.
    #[error("message out of order")]
    Order,
}

impl Fault {
    /// Whether the client sees another connection than we do: somebody may sit between. RFC 5802 §6.
    #[must_use]
    pub const fn is_binding(self) -> bool {
        matches!(self, Self::BindingMismatch | Self::BindingDowngrade)
    }

    /// For `e=` of server-final. RFC 5802 §7.
    #[must_use]
    pub const fn scram_error(self) -> &'static str {
        match self {
            Self::Encoding => "invalid-encoding",
            Self::Extension => "extensions-not-supported",
            Self::BindingMismatch => "channel-bindings-dont-match",
            Self::BindingDowngrade => "server-does-support-channel-binding",
            Self::BindingUnsupported => "unsupported-channel-binding-type",
            Self::Username => "invalid-username-encoding",
            _ => "other-error",
        }
    }
}

/// A base64 line of an AUTH exchange; `=` alone is the empty message (RFC 4954 §4, RFC 4959 §3).
pub fn decode_line(line: &[u8]) -> Result<Vec<u8>, Fault> {
    if line == b"=" {
        return Ok(Vec::new());
    }
    if line.len() > LINE_OCTETS {
        return Err(Fault::TooLong);
    }
    STANDARD.decode(line).map_err(|_| Fault::Encoding)
}

/// The base64 spelling of a message.
#[must_use]
pub fn encode_line(message: &[u8]) -> String {
    STANDARD.encode(message)
}
