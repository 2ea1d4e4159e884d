//! Policies that domains publish about mail in their name, read from and written as DNS records, and judged.
//!
//! Law: RFC 7489 (DMARC), RFC 8460 (TLS reports), RFC 6068 (`mailto`).
//! Does not know: the DNS; answers come in as text.
//! Fails with: [`RecordFault`].

pub mod dmarc;
pub mod report_uri;
pub mod suffix;
pub mod tlsrpt;

use libmox_types::Domain;
pub use report_uri::ReportUri;

/// Why a record is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordFault {
    /// It is about something else.
    #[error("no such record")]
    Other,
    /// Its version is ours, the rest is not readable.
    #[error("the record cannot be read")]
    Malformed,
}

/// Octets of a record that are looked at.
const RECORD_OCTETS: usize = 16 * 1024;
/// Addresses of one tag that are looked at.
const URIS: usize = 20;

/// RFC 7489 §3.2, row MA-08: the organisational domain by the ICANN part of the public suffix list. A suffix itself is
/// its own.
#[must_use]
pub fn organisation(domain: &Domain) -> Domain {
    let name = domain.ascii();
    let mut found = suffix::suffix(name);
    // A rule of a private registry hides one of ICANN that ends it.
    while found.private
        && let Some((_, shorter)) = found.name.split_once('.')
    {
        found = suffix::suffix(shorter);
    }
    // One label more than the suffix.
    let Some(above) = name.len().checked_sub(found.name.len() + 1) else { return domain.clone() };
    let start = name[..above].rfind('.').map_or(0, |dot| dot + 1);
    Domain::parse(&name[start..]).unwrap_or_else(|_| domain.clone())
}

/// `tag=value` pairs between semicolons, behind the version, which must come first. RFC 7489 §6.4, RFC 8460 §3.
fn tags<'a>(text: &'a str, version: &str) -> Result<Vec<(&'a str, &'a str)>, RecordFault> {
    let mut parts = text.split(';');
    let first = parts.next().and_then(|first| first.split_once('=')).ok_or(RecordFault::Other)?;
    if first.0.trim() != "v" || first.1.trim() != version {
        return Err(RecordFault::Other);
    }
    if text.len() > RECORD_OCTETS {
        return Err(RecordFault::Malformed);
    }
    Ok(parts
        .filter_map(|part| part.split_once('='))
        .map(|(name, value)| (name.trim(), value.trim()))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Row MA-08.
    #[test]
    fn organisations_by_the_icann_part_of_the_list() {
        for (name, want) in [
            ("example.com", "example.com"),
            ("a.b.example.com", "example.com"),
            ("a.example.co.uk", "example.co.uk"),
            ("co.uk", "co.uk"),
            ("com", "com"),
            // Private parts of the list do not count.
            ("me.github.io", "github.io"),
            ("a.b.blogspot.com", "blogspot.com"),
            ("x.s3.dualstack.us-east-1.amazonaws.com", "amazonaws.com"),
            ("a.b.example", "b.example"),
            ("a.city.kawasaki.jp", "city.kawasaki.jp"),
            ("a.b.c.kawasaki.jp", "b.c.kawasaki.jp"),
            ("bücher.example", "bücher.example"),
        ] {
            let domain = Domain::parse(name).unwrap();
            assert_eq!(organisation(&domain), Domain::parse(want).unwrap(), "{name}");
        }
    }
}
