//! `[domains."example.org".dkim]`: which keys sign, and how. Row MA-05.

use super::reader::Section;
use libmox_keys::DkimHow;
use std::collections::BTreeMap;
use std::time::Duration;

/// How mail of a domain is signed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DkimConfig {
    /// The selectors that sign; none: those that were made to sign.
    pub sign: Option<Vec<String>>,
    /// What differs from the usual, by selector.
    pub selectors: BTreeMap<String, DkimHow>,
}

/// Fields that can be named.
const HEADERS: usize = 100;
/// Of signatures: mail waits in queues for days, and nobody looks at it again after a year.
const EXPIRATION: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(3600)..=Duration::from_secs(366 * 24 * 3600);

impl DkimConfig {
    pub(super) fn read(s: &mut Section<'_>) -> Self {
        let sign = s.texts("sign", selector);
        let mut selectors = BTreeMap::new();
        s.each("selectors", |name, s| {
            // Read and checked, and nothing else is possible: RFC 8301 §3.1 forbids to sign with anything older.
            let _ = s.text("hash", hash);
            let config = DkimHow {
                header_simple: s.text("header-canonicalization", is_simple).unwrap_or(false),
                body_simple: s.text("body-canonicalization", is_simple).unwrap_or(false),
                headers: s.texts("headers", field_name),
                seal: s.optional_yes_no("seal-headers"),
                expiration: s
                    .optional_duration("expiration", EXPIRATION)
                    .and_then(|time| u32::try_from(time.as_secs()).ok()),
            };
            // RFC 6376 §5.4
            let without_from = |names: &Vec<String>| !names.iter().any(|name| name == "from");
            if config.headers.as_ref().is_some_and(|names| without_from(names) || names.len() > HEADERS) {
                s.mistake(format!("headers: \"From\" has to be among them, and at most {HEADERS} can be"));
            }
            match selector(name) {
                Ok(name) => drop(selectors.insert(name, config)),
                Err(error) => s.mistake(format!("{name}: {error}")),
            }
        });
        Self { sign, selectors }
    }
}

/// As `mox-keys` makes them.
fn selector(text: &str) -> Result<String, &'static str> {
    let label = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if text.is_empty() || text.len() > 63 || !text.chars().all(label) {
        return Err("a selector is lower case letters, digits and hyphens");
    }
    Ok(text.to_owned())
}

fn hash(text: &str) -> Result<(), &'static str> {
    if text == "sha256" {
        Ok(())
    } else {
        Err("\"sha256\" is the only hash that may be signed with (RFC 8301 §3.1)")
    }
}

fn is_simple(text: &str) -> Result<bool, &'static str> {
    match text {
        "simple" => Ok(true),
        "relaxed" => Ok(false),
        _ => Err("\"relaxed\" or \"simple\" is wanted"),
    }
}

/// RFC 5322 §3.6.8. What every server on the way writes cannot be signed (RFC 6376 §5.4.1).
fn field_name(text: &str) -> Result<String, &'static str> {
    let name = text.to_ascii_lowercase();
    if name.is_empty()
        || name.len() > 76
        || !name.bytes().all(|b| (b'!'..=b'~').contains(&b) && !b":;".contains(&b))
    {
        return Err("not the name of a header field");
    }
    if ["received", "return-path", "dkim-signature"].contains(&name.as_str()) {
        return Err("the field changes on the way");
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use crate::config::Domains;
    use libmox_types::Domain;

    fn read(more: &str) -> Result<super::DkimConfig, Vec<String>> {
        let text = format!("[domains.\"example.org\"]\n[domains.\"example.org\".dkim]\n{more}");
        let domains = Domains::parse(&text).map_err(|mistakes| mistakes.in_file("d").lines())?;
        Ok(domains.domains[&Domain::parse("example.org").unwrap()].dkim.clone())
    }

    /// Row MA-05.
    #[test]
    fn signing_has_options_for_each_key() {
        assert_eq!(read("").unwrap(), super::DkimConfig::default());
        let read_one = |more: &str| {
            let config =
                read(&format!("sign = [\"2026a\"]\n[domains.\"example.org\".dkim.selectors.2026a]\n{more}"));
            config.map(|config| {
                assert_eq!(config.sign, Some(vec!["2026a".to_owned()]));
                config.selectors["2026a"].clone()
            })
        };
        let all = read_one(
            "hash = \"sha256\"\nheader-canonicalization = \"simple\"\nbody-canonicalization = \"simple\"\n\
             headers = [\"From\", \"Subject\"]\nseal-headers = true\nexpiration = \"72h\"\n",
        )
        .unwrap();
        assert!(all.header_simple && all.body_simple);
        assert_eq!(all.headers, Some(vec!["from".to_owned(), "subject".to_owned()]));
        assert_eq!((all.seal, all.expiration.unwrap()), (Some(true), 72 * 3600));
        for wrong in [
            "hash = \"sha1\"",
            "body-canonicalization = \"loose\"",
            "headers = [\"Subject\"]",
            "headers = [\"From\", \"Received\"]",
            "headers = [\"From\", \"a:b\"]",
            "expiration = \"1s\"",
        ] {
            assert_eq!(read_one(wrong).unwrap_err().len(), 1, "{wrong}");
        }
        assert!(read("sign = [\"A.b\"]").is_err());
    }
}
