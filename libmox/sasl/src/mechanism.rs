//! Names of mechanisms and channel bindings.

use crate::scram::Hash;
use std::fmt;

/// A mechanism we speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mechanism {
    /// RFC 7677 with channel binding.
    ScramSha256Plus,
    /// RFC 7677.
    ScramSha256,
    /// RFC 5802 with channel binding.
    ScramSha1Plus,
    /// RFC 5802.
    ScramSha1,
    /// RFC 4616.
    Plain,
    /// Obsolete, still asked for by some clients.
    Login,
    /// RFC 2195.
    CramMd5,
    /// RFC 4422 appendix A: the certificate of the TLS connection is the proof.
    External,
}

impl Mechanism {
    /// All, strongest first.
    pub const ALL: [Self; 8] = [
        Self::External,
        Self::ScramSha256Plus,
        Self::ScramSha256,
        Self::ScramSha1Plus,
        Self::ScramSha1,
        Self::CramMd5,
        Self::Plain,
        Self::Login,
    ];

    /// Reads a name in any case.
    #[must_use]
    pub fn parse(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| name.eq_ignore_ascii_case(mechanism.name().as_bytes()))
    }

    /// As announced.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha1Plus => "SCRAM-SHA-1-PLUS",
            Self::ScramSha1 => "SCRAM-SHA-1",
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
            Self::CramMd5 => "CRAM-MD5",
            Self::External => "EXTERNAL",
        }
    }

    /// Whether the password itself travels: only under TLS.
    #[must_use]
    pub const fn sends_password(self) -> bool {
        matches!(self, Self::Plain | Self::Login)
    }

    /// Whether it binds to the TLS channel.
    #[must_use]
    pub const fn is_plus(self) -> bool {
        matches!(self, Self::ScramSha256Plus | Self::ScramSha1Plus)
    }

    /// The hash, of SCRAM.
    #[must_use]
    pub const fn hash(self) -> Option<Hash> {
        match self {
            Self::ScramSha256 | Self::ScramSha256Plus => Some(Hash::Sha256),
            Self::ScramSha1 | Self::ScramSha1Plus => Some(Hash::Sha1),
            Self::Plain | Self::Login | Self::CramMd5 | Self::External => None,
        }
    }

    /// The strongest of what a server offers that a client with a password may use here. Without TLS never the password
    /// itself.
    #[must_use]
    pub fn strongest(offered: &[Self], tls: bool, can_bind: bool) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| {
            offered.contains(mechanism)
                && *mechanism != Self::External
                && (can_bind || !mechanism.is_plus())
                && (tls || !mechanism.sends_password())
        })
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a channel binding is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BindingName {
    /// RFC 9266.
    TlsExporter,
    /// RFC 5929 §4.
    TlsServerEndPoint,
}

impl BindingName {
    /// Reads a name of the IANA registry.
    #[must_use]
    pub fn parse(name: &[u8]) -> Option<Self> {
        [Self::TlsExporter, Self::TlsServerEndPoint].into_iter().find(|b| b.name().as_bytes() == name)
    }

    /// As in the gs2 header.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TlsExporter => "tls-exporter",
            Self::TlsServerEndPoint => "tls-server-end-point",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strongest_is_chosen() {
        use Mechanism as M;
        assert_eq!(M::strongest(&M::ALL, true, true), Some(M::ScramSha256Plus));
        assert_eq!(M::strongest(&M::ALL, true, false), Some(M::ScramSha256));
        assert_eq!(M::strongest(&[M::Login, M::Plain], true, true), Some(M::Plain));
        assert_eq!(M::strongest(&[M::Login, M::Plain], false, false), None);
        assert_eq!(M::parse(b"scram-sha-256"), Some(M::ScramSha256));
        assert_eq!(M::strongest(&[M::External, M::CramMd5], false, false), Some(M::CramMd5));
        assert_eq!(M::parse(b"GSSAPI"), None);
        assert!(M::ALL.iter().all(|m| M::parse(m.name().as_bytes()) == Some(*m)));
    }
}
