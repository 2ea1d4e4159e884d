//! METADATA and QUOTA as they are told.
//!
//! Law: RFC 5464 §4.4, RFC 9208 §5; rows IM-22, IM-23, IM-29, TR-41.
//! Does not know: which annotations there are.

use crate::parse::Dialect;
use crate::response::{literal_head, mailbox, put, string, write_to};

/// An entry and its value; none where there is no such entry.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its octets, and whether they were given as a string.
    pub value: Option<(&'a [u8], bool)>,
}

fn of(out: &mut Vec<u8>, name: Option<&str>, dialect: Dialect) {
    put(out, "* METADATA ");
    match name {
        Some(name) => mailbox(out, name, dialect),
        None => put(out, "\"\""),
    }
    put(out, " ");
}

/// `* METADATA name (entry value ...)`; nothing where there are no entries.
pub fn write_values(out: &mut Vec<u8>, name: Option<&str>, entries: &[Entry<'_>], dialect: Dialect) {
    if entries.is_empty() {
        return;
    }
    of(out, name, dialect);
    for (at, entry) in entries.iter().enumerate() {
        put(out, if at == 0 { "(" } else { " " });
        write_name(out, entry.name);
        put(out, " ");
        match entry.value {
            None => put(out, "NIL"),
            Some((octets, true)) if !octets.contains(&0) => string(out, octets, dialect),
            Some((octets, _)) => {
                put(out, "~");
                literal_head(out, octets.len() as u64);
                out.extend_from_slice(octets);
            }
        }
    }
    put(out, ")\r\n");
}

/// `* METADATA name entry ...`: these changed. RFC 5464 §4.4.2.
pub fn write_changed<'a>(
    out: &mut Vec<u8>,
    name: Option<&str>,
    entries: impl IntoIterator<Item = &'a str>,
    dialect: Dialect,
) {
    of(out, name, dialect);
    for (at, entry) in entries.into_iter().enumerate() {
        if at > 0 {
            put(out, " ");
        }
        write_name(out, entry);
    }
    put(out, "\r\n");
}

fn write_name(out: &mut Vec<u8>, name: &str) {
    if name.bytes().all(crate::parse::is_astring_char) {
        put(out, name);
    } else {
        string(out, name.as_bytes(), Dialect::Utf7);
    }
}

/// `* QUOTAROOT name ""`: there is one root, that of the account.
pub fn write_quota_root(out: &mut Vec<u8>, name: &str, dialect: Dialect) {
    put(out, "* QUOTAROOT ");
    mailbox(out, name, dialect);
    put(out, " \"\"\r\n");
}

/// `* QUOTA "" (STORAGE used limit)` in units of 1024 octets, begun ones counted; nothing without a limit (row TR-41).
pub fn write_quota(out: &mut Vec<u8>, used: u64, limit: Option<u64>) {
    if let Some(limit) = limit {
        let (used, limit) = (used.div_ceil(1024), limit.div_ceil(1024));
        write_to(out, format_args!("* QUOTA \"\" (STORAGE {used} {limit})\r\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_form() {
        let mut out = Vec::new();
        let entries = [
            Entry { name: "/private/comment", value: Some((b"mine", true)) },
            Entry { name: "/private/b c", value: Some((b"a\0", false)) },
            Entry { name: "/shared/none", value: None },
        ];
        write_values(&mut out, Some("Müll"), &entries, Dialect::Utf7);
        write_values(&mut out, None, &[], Dialect::Utf7);
        write_changed(&mut out, None, ["/private/a", "/private/b"], Dialect::Utf7);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "* METADATA M&APw-ll (/private/comment \"mine\" \"/private/b c\" ~{2}\r\na\0 /shared/none NIL)\r\n\
             * METADATA \"\" /private/a /private/b\r\n"
        );
    }

    #[test]
    fn quota_is_told_in_begun_units() {
        // TR-41
        let mut out = Vec::new();
        write_quota(&mut out, 1, None);
        write_quota(&mut out, 1025, Some(10 * 1024 + 1));
        assert_eq!(out, b"* QUOTA \"\" (STORAGE 2 11)\r\n");
    }
}
