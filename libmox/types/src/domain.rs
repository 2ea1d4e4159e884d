//! Domain names in their two spellings, and the host of an address literal.
//!
//! Law: RFC 5890 §2.3 (U-label, A-label), RFC 5321 §4.1.2 and §4.1.3, RFC 1035 §2.3.4 (lengths).
//! Does not know: whether the name exists.
//! Fails with: [`DomainFault`].

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Why text is not a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DomainFault {
    /// Nothing there.
    #[error("empty domain")]
    Empty,
    /// RFC 1035 §2.3.4: 63 octets a label, 253 the name.
    #[error("domain or label too long")]
    TooLong,
    /// A character or label IDNA does not allow.
    #[error("not a valid domain name")]
    Invalid,
}

/// A domain name: lower case, without trailing dot, kept both as Unicode and as ASCII.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Domain {
    unicode: Box<str>,
    /// Only where it differs from `unicode`.
    ascii: Option<Box<str>>,
}

impl Domain {
    /// Reads either spelling. One trailing dot is taken off.
    pub fn parse(text: &str) -> Result<Self, DomainFault> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.is_empty() {
            return Err(DomainFault::Empty);
        }
        if text.len() > 1024 {
            return Err(DomainFault::TooLong);
        }
        let ascii = if text.is_ascii() && !text.split('.').any(is_a_label) {
            text.to_ascii_lowercase()
        } else {
            idna::domain_to_ascii_strict(text).map_err(|_| DomainFault::Invalid)?
        };
        if ascii.len() > 253 || ascii.split('.').any(|label| label.len() > 63) {
            return Err(DomainFault::TooLong);
        }
        if !ascii.split('.').all(is_label) {
            return Err(DomainFault::Invalid);
        }
        if !ascii.split('.').any(is_a_label) {
            return Ok(Self { unicode: ascii.into(), ascii: None });
        }
        let (unicode, outcome) = idna::domain_to_unicode(&ascii);
        outcome.map_err(|_| DomainFault::Invalid)?;
        Ok(Self { unicode: unicode.into(), ascii: Some(ascii.into()) })
    }

    /// The spelling for people and for the store.
    #[must_use]
    pub fn unicode(&self) -> &str {
        &self.unicode
    }

    /// The spelling for DNS and for peers without SMTPUTF8.
    #[must_use]
    pub fn ascii(&self) -> &str {
        self.ascii.as_deref().unwrap_or(&self.unicode)
    }

    /// Whether this is `other` or below it.
    #[must_use]
    pub fn is_at_or_below(&self, other: &Domain) -> bool {
        self.ascii().strip_suffix(other.ascii()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }

    /// The domain one label up, if there is one with a dot left or a single label.
    #[must_use]
    pub fn parent(&self) -> Option<Domain> {
        self.unicode.split_once('.').and_then(|(_, rest)| Domain::parse(rest).ok())
    }

    /// For the journal: both spellings where they differ.
    #[must_use]
    pub fn for_log(&self) -> String {
        match &self.ascii {
            Some(ascii) => format!("{}/{ascii}", self.unicode),
            None => self.unicode.to_string(),
        }
    }
}

fn is_a_label(label: &str) -> bool {
    label.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("xn--"))
}

/// Letters, digits, hyphens, and the underscore that service names use; no hyphen at either end.
fn is_label(label: &str) -> bool {
    !label.is_empty()
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.unicode)
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Domain({})", self.unicode)
    }
}

impl FromStr for Domain {
    type Err = DomainFault;
    fn from_str(text: &str) -> Result<Self, DomainFault> {
        Self::parse(text)
    }
}

impl Serialize for Domain {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.unicode)
    }
}

impl<'de> Deserialize<'de> for Domain {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// What stands behind the `@` or after EHLO: a name or an address literal.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Host {
    /// A domain name.
    Name(Domain),
    /// `[192.0.2.1]` or `[IPv6:2001:db8::1]`.
    Literal(IpAddr),
}

impl Host {
    /// Reads a name or a bracketed literal.
    pub fn parse(text: &str) -> Result<Self, DomainFault> {
        let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) else {
            return Domain::parse(text).map(Self::Name);
        };
        if let Some(tag) = inner.get(..5)
            && tag.eq_ignore_ascii_case("IPv6:")
        {
            return inner[5..]
                .parse()
                .map(|ip| Self::Literal(IpAddr::V6(ip)))
                .map_err(|_| DomainFault::Invalid);
        }
        inner.parse().map(|ip| Self::Literal(IpAddr::V4(ip))).map_err(|_| DomainFault::Invalid)
    }

    /// The name, unless it is a literal.
    #[must_use]
    pub fn name(&self) -> Option<&Domain> {
        match self {
            Self::Name(domain) => Some(domain),
            Self::Literal(_) => None,
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(domain) => domain.fmt(f),
            Self::Literal(IpAddr::V4(ip)) => write!(f, "[{ip}]"),
            Self::Literal(IpAddr::V6(ip)) => write!(f, "[IPv6:{ip}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn reads(text: &str, want: Result<(&str, &str), DomainFault>) {
        let got = Domain::parse(text);
        assert_eq!(got.as_ref().map(|d| (d.unicode(), d.ascii())).map_err(|e| *e), want, "{text:?}");
    }

    #[test]
    fn either_spelling_is_the_same_domain() {
        reads("Example.ORG.", Ok(("example.org", "example.org")));
        reads("bücher.example", Ok(("bücher.example", "xn--bcher-kva.example")));
        reads("XN--BCHER-KVA.example", Ok(("bücher.example", "xn--bcher-kva.example")));
        reads("localhost", Ok(("localhost", "localhost")));
        reads("_dmarc.example.org", Ok(("_dmarc.example.org", "_dmarc.example.org")));
        reads("", Err(DomainFault::Empty));
        reads(".", Err(DomainFault::Empty));
        reads("a..b", Err(DomainFault::Invalid));
        reads("-a.example", Err(DomainFault::Invalid));
        reads("a b.example", Err(DomainFault::Invalid));
        reads(&format!("{}.example", "a".repeat(64)), Err(DomainFault::TooLong));
        reads(&"a.".repeat(130), Err(DomainFault::TooLong));
    }

    #[test]
    fn literals_are_hosts_and_not_domains() {
        // RFC 5321 §4.1.3
        assert_eq!(Host::parse("[192.0.2.1]").unwrap().to_string(), "[192.0.2.1]");
        assert_eq!(Host::parse("[ipv6:2001:DB8::1]").unwrap().to_string(), "[IPv6:2001:db8::1]");
        assert!(Host::parse("[2001:db8::1]").is_err());
        assert!(Host::parse("[é]").is_err());
    }

    #[test]
    fn below_means_at_a_label_boundary() {
        let org = Domain::parse("example.org").unwrap();
        assert!(Domain::parse("mail.example.org").unwrap().is_at_or_below(&org));
        assert!(org.is_at_or_below(&org));
        assert!(!Domain::parse("badexample.org").unwrap().is_at_or_below(&org));
    }
}
