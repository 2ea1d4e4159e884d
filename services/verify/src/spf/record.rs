//! An SPF record. RFC 7208 §4.5, §4.6, §5, §6, §12: one mistake anywhere makes it none.

use super::macros::{Piece, Where, parse as macro_string};
use std::net::{Ipv4Addr, Ipv6Addr};

/// What a match means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Qualifier {
    Pass,
    Fail,
    SoftFail,
    Neutral,
}

/// A domain to be asked about; none for the current one.
pub type Target = Option<Vec<Piece>>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mechanism {
    All,
    Include(Vec<Piece>),
    A(Target, u8, u8),
    Mx(Target, u8, u8),
    Ptr(Target),
    Ip4(Ipv4Addr, u8),
    Ip6(Ipv6Addr, u8),
    Exists(Vec<Piece>),
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Record {
    pub directives: Vec<(Qualifier, Mechanism)>,
    pub redirect: Option<Vec<Piece>>,
    pub exp: Option<Vec<Piece>>,
}

/// Whether a TXT record is an SPF record, right or wrong. §4.5.
pub fn is_record(text: &[u8]) -> bool {
    text.get(..6).is_some_and(|version| version.eq_ignore_ascii_case(b"v=spf1"))
        && matches!(text.get(6), None | Some(b' '))
}

/// Reads a record.
pub fn parse(text: &[u8]) -> Option<Record> {
    let text = std::str::from_utf8(text.get(6..)?).ok().filter(|text| text.is_ascii())?;
    let mut record = Record::default();
    for term in text.split(' ').filter(|term| !term.is_empty()) {
        let end = term.find([':', '/', '=']).unwrap_or(term.len());
        if term[end..].starts_with('=') {
            modifier(&mut record, &term[..end], &term[end + 1..])?;
        } else {
            record.directives.push(directive(term)?);
        }
    }
    Some(record)
}

fn modifier(record: &mut Record, name: &str, value: &str) -> Option<()> {
    let slot = match name.to_ascii_lowercase().as_str() {
        "redirect" => &mut record.redirect,
        "exp" => &mut record.exp,
        // §6: what is not known is passed over, if it is well-formed.
        name => {
            let mut chars = name.chars();
            let good = chars.next()?.is_ascii_alphabetic()
                && chars.all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
            return good.then(|| macro_string(value, Where::Domain)).flatten().map(|_| ());
        }
    };
    // §6: at most one of each.
    if slot.is_some() {
        return None;
    }
    *slot = Some(domain_spec(value)?);
    Some(())
}

fn directive(term: &str) -> Option<(Qualifier, Mechanism)> {
    let (qualifier, term) = match term.as_bytes().first()? {
        b'+' => (Qualifier::Pass, &term[1..]),
        b'-' => (Qualifier::Fail, &term[1..]),
        b'~' => (Qualifier::SoftFail, &term[1..]),
        b'?' => (Qualifier::Neutral, &term[1..]),
        _ => (Qualifier::Pass, term),
    };
    let end = term.find([':', '/']).unwrap_or(term.len());
    let (name, rest) = term.split_at(end);
    let value = rest.strip_prefix(':');
    let mechanism = match name.to_ascii_lowercase().as_str() {
        "all" if rest.is_empty() => Mechanism::All,
        "include" => Mechanism::Include(domain_spec(value?)?),
        "exists" => Mechanism::Exists(domain_spec(value?)?),
        "a" => {
            let (target, four, six) = target(rest)?;
            Mechanism::A(target, four, six)
        }
        "mx" => {
            let (target, four, six) = target(rest)?;
            Mechanism::Mx(target, four, six)
        }
        "ptr" if rest.is_empty() => Mechanism::Ptr(None),
        "ptr" => Mechanism::Ptr(Some(domain_spec(value?)?)),
        "ip4" => {
            let (ip, length) = network(value?, 32)?;
            Mechanism::Ip4(ip.parse().ok()?, length)
        }
        "ip6" => {
            let (ip, length) = network(value?, 128)?;
            Mechanism::Ip6(ip.parse().ok()?, length)
        }
        _ => return None,
    };
    Some((qualifier, mechanism))
}

/// A prefix length: no sign, no leading zeros.
fn length(text: &str, most: u8) -> Option<u8> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let plain = digits && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten().filter(|length| *length <= most)
}

fn network(value: &str, most: u8) -> Option<(&str, u8)> {
    match value.split_once('/') {
        None => Some((value, most)),
        Some((ip, text)) => Some((ip, length(text, most)?)),
    }
}

/// `[ ":" domain-spec ] [ dual-cidr-length ]`
fn target(mut rest: &str) -> Option<(Target, u8, u8)> {
    let (mut four, mut six) = (32, 128);
    let tail = |rest: &str| rest.len() - rest.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    let digits = tail(rest);
    if digits > 0
        && let Some(before) = rest[..rest.len() - digits].strip_suffix("//")
    {
        six = length(&rest[rest.len() - digits..], 128)?;
        rest = before;
    }
    let digits = tail(rest);
    if digits > 0
        && let Some(before) = rest[..rest.len() - digits].strip_suffix('/')
    {
        four = length(&rest[rest.len() - digits..], 32)?;
        rest = before;
    }
    match rest {
        "" => Some((None, four, six)),
        rest => Some((Some(domain_spec(rest.strip_prefix(':')?)?), four, six)),
    }
}

/// §7.1: it ends in a macro, or in a dot and a label that can be a top-level one.
fn domain_spec(text: &str) -> Option<Vec<Piece>> {
    let pieces = macro_string(text, Where::Domain)?;
    match pieces.last()? {
        Piece::Macro(_) => Some(pieces),
        Piece::Text(_) if text.ends_with("%%") || text.ends_with("%_") || text.ends_with("%-") => {
            Some(pieces)
        }
        Piece::Text(_) => {
            let text = text.strip_suffix('.').unwrap_or(text);
            let (_, label) = text.rsplit_once('.')?;
            let good = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
                && (label.contains('-') || label.bytes().any(|b| b.is_ascii_alphabetic()));
            (good && !label.is_empty()).then_some(pieces)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Anybody may publish anything.
    #[test]
    fn nothing_in_a_record_makes_it_panic() {
        let parts = [
            "v=spf1",
            " ",
            "a",
            "mx",
            ":",
            "/",
            "//",
            "%{",
            "}",
            "%",
            "d",
            "1",
            "r",
            "-",
            ".",
            "=",
            "é",
            "ip4:",
            "ip6:",
            "::1",
            "/0",
            "/999",
            "exp=",
            "redirect=",
            "include:",
            "all",
            "?",
            "~",
            "\0",
            "exists:",
        ];
        let mut seed = 1u64;
        for _ in 0..50_000 {
            let mut text = String::from("v=spf1 ");
            for _ in 0..12 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                text.push_str(parts[usize::try_from(seed >> 33).unwrap() % parts.len()]);
            }
            let _ = parse(text.as_bytes());
        }
    }

    #[test]
    fn one_mistake_makes_it_none() {
        for (record, good) in [
            ("v=spf1", true),
            ("v=spf1  a mx/24 mx//64 a:a.example/24//64 ptr -all ", true),
            ("V=SPF1 ?include:%{d} redirect=_spf.example.org unknown=%{d}x", true),
            ("v=spf1 a:foo", false),
            ("v=spf1 a:foo.1", false),
            ("v=spf1 a/33", false),
            ("v=spf1 a//129", false),
            ("v=spf1 ip4:1.2.3.4/032", false),
            ("v=spf1 ip4:1.2.3", false),
            ("v=spf1 ip6:::1/0", true),
            ("v=spf1 all:x", false),
            ("v=spf1 include", false),
            ("v=spf1 exp=a.example exp=a.example", false),
            ("v=spf1 =x", false),
            ("v=spf1 what", false),
            ("v=spf1 a\tmx", false),
        ] {
            assert!(is_record(record.as_bytes()));
            assert_eq!(parse(record.as_bytes()).is_some(), good, "{record}");
        }
        assert!(!is_record(b"v=spf10") && !is_record(b"v=spf") && !is_record(b" v=spf1"));
    }
}
