//! Address lists of header fields, as hostile and old as they come.
//!
//! Law: RFC 5322 §3.4 and §4.4 (obsolete forms), RFC 6532 (UTF-8). The strict reader for SMTP paths is
//! elsewhere: here everything yields something.
//! Fails with: nothing. At most [`limits::ADDRESSES`] entries.

use crate::limits;
use crate::words::{decode_words, plain_text};
use libmox_types::{Address, Domain, LocalPart};
use serde::{Deserialize, Serialize};

/// One entry of a list, in the order of RFC 9051 §7.5.2 (envelope).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Entry {
    /// Somebody.
    Mailbox(Mailbox),
    /// `name:`
    GroupStart(Vec<u8>),
    /// `;`
    GroupEnd,
}

/// `name <local@host>`, as raw bytes: quotes and comments undone, encoded words not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mailbox {
    /// The display name, or else a comment.
    pub name: Option<Vec<u8>>,
    /// The obsolete source route, `@a,@b`.
    pub route: Option<Vec<u8>>,
    /// Unquoted.
    pub local: Vec<u8>,
    /// Empty where there was no `@`.
    pub host: Vec<u8>,
}

impl Mailbox {
    /// The display name as text.
    #[must_use]
    pub fn display_name(&self) -> Option<String> {
        self.name.as_deref().map(decode_words)
    }

    /// As an address, if it is a valid one.
    #[must_use]
    pub fn address(&self) -> Option<Address> {
        Some(Address {
            local: LocalPart::new(&plain_text(&self.local)).ok()?,
            domain: Domain::parse(&plain_text(&self.host)).ok()?,
        })
    }
}

/// The mailboxes of a list, groups flattened.
#[must_use]
pub fn mailboxes(field: &[u8]) -> Vec<Mailbox> {
    parse_list(field)
        .into_iter()
        .filter_map(|entry| match entry {
            Entry::Mailbox(mailbox) => Some(mailbox),
            _ => None,
        })
        .collect()
}

/// Reads the (unfolded) value of From, To, ...
#[must_use]
pub fn parse_list(field: &[u8]) -> Vec<Entry> {
    let mut reader = Reader { tokens: Tokens { rest: field }, entries: Vec::new(), in_group: false };
    reader.list();
    reader.entries
}

#[derive(Debug, Clone, PartialEq)]
struct Token {
    kind: Kind,
    text: Vec<u8>,
    /// White space stood before it.
    spaced: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Atom,
    Quoted,
    Comment,
    /// `[...]`, with the brackets.
    Literal,
    /// One of `<>,;:@`.
    Special(u8),
}

struct Tokens<'a> {
    rest: &'a [u8],
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        let trimmed = self.rest.trim_ascii_start();
        let spaced = trimmed.len() != self.rest.len();
        self.rest = trimmed;
        let (&first, after) = self.rest.split_first()?;
        let token = |kind, text| Some(Token { kind, text, spaced });
        match first {
            b'<' | b'>' | b',' | b';' | b':' | b'@' => {
                self.rest = after;
                token(Kind::Special(first), vec![first])
            }
            b'"' => {
                self.rest = after;
                let text = self.delimited(b'"', None);
                token(Kind::Quoted, text)
            }
            b'(' => {
                self.rest = after;
                let text = self.delimited(b')', Some(b'('));
                token(Kind::Comment, text)
            }
            b'[' => {
                self.rest = after;
                let mut text = vec![b'['];
                text.extend(self.delimited(b']', None));
                text.push(b']');
                token(Kind::Literal, text)
            }
            _ => {
                let len = self
                    .rest
                    .iter()
                    .position(|b| b"<>,;:@\"([".contains(b) || b.is_ascii_whitespace())
                    .unwrap_or(self.rest.len());
                // An encoded word may hold what else would end an atom.
                let len = encoded_word_len(self.rest).map_or(len, |word| word.max(len));
                let text = self.rest[..len].to_vec();
                self.rest = &self.rest[len..];
                token(Kind::Atom, text)
            }
        }
    }
}

fn encoded_word_len(raw: &[u8]) -> Option<usize> {
    if !raw.starts_with(b"=?") {
        return None;
    }
    let raw = &raw[..raw.len().min(500)];
    let charset = memchr::memchr(b'?', &raw[2..])? + 2;
    let coding = memchr::memchr(b'?', &raw[charset + 1..])? + charset + 1;
    let end = memchr::memmem::find(&raw[coding + 1..], b"?=")? + coding + 1 + 2;
    (!raw[..end].contains(&b'<') && !raw[..end].contains(&b' ')).then_some(end)
}

impl Tokens<'_> {
    /// Up to `end`, escapes undone; with `open`, nested.
    fn delimited(&mut self, end: u8, open: Option<u8>) -> Vec<u8> {
        let mut out = Vec::new();
        let mut depth = 0u32;
        while let Some((&byte, after)) = self.rest.split_first() {
            self.rest = after;
            if byte == b'\\' && !after.is_empty() {
                out.push(after[0]);
                self.rest = &after[1..];
                continue;
            }
            if byte == end {
                if depth == 0 {
                    break;
                }
                depth -= 1;
            } else if Some(byte) == open {
                depth = depth.saturating_add(1);
            }
            out.push(byte);
        }
        out
    }
}

struct Reader<'a> {
    tokens: Tokens<'a>,
    entries: Vec<Entry>,
    in_group: bool,
}

impl Reader<'_> {
    fn list(&mut self) {
        let mut pending: Vec<Token> = Vec::new();
        // After `<...>`: a comment may still name it, other words are noise.
        let mut after_angle = false;
        while self.entries.len() < limits::ADDRESSES {
            let Some(token) = self.tokens.next() else { break };
            match token.kind {
                Kind::Special(b',') => {
                    self.flush(&mut pending, after_angle);
                    after_angle = false;
                }
                Kind::Special(b';') => {
                    self.flush(&mut pending, after_angle);
                    after_angle = false;
                    if self.in_group {
                        self.in_group = false;
                        self.entries.push(Entry::GroupEnd);
                    }
                }
                Kind::Special(b':') if !self.in_group && !has_at(&pending) && !pending.is_empty() => {
                    let name = phrase(&pending).unwrap_or_default();
                    pending.clear();
                    after_angle = false;
                    self.in_group = true;
                    self.entries.push(Entry::GroupStart(name));
                }
                Kind::Special(b'<') => {
                    let mailbox = self.angle(&pending);
                    pending.clear();
                    after_angle = true;
                    if let Some(mailbox) = mailbox {
                        self.entries.push(Entry::Mailbox(mailbox));
                    }
                }
                Kind::Special(b'>' | b':') => {}
                _ => pending.push(token),
            }
        }
        self.flush(&mut pending, after_angle);
        if self.in_group {
            self.entries.push(Entry::GroupEnd);
        }
    }

    fn flush(&mut self, pending: &mut Vec<Token>, after_angle: bool) {
        let tokens = std::mem::take(pending);
        if after_angle && !has_at(&tokens) {
            if let Some(Entry::Mailbox(mailbox)) = self.entries.last_mut()
                && mailbox.name.is_none()
            {
                mailbox.name = comment(&tokens);
            }
            return;
        }
        if tokens.iter().all(|token| token.kind == Kind::Comment) {
            return;
        }
        let (local, host) = split_at(&tokens);
        self.entries.push(Entry::Mailbox(Mailbox { name: comment(&tokens), route: None, local, host }));
    }

    /// What stands between `<` and `>`, with the words before it.
    fn angle(&mut self, before: &[Token]) -> Option<Mailbox> {
        let mut inner = Vec::new();
        let mut route = None;
        // The reader goes on with the tokens behind the `>`.
        for token in self.tokens.by_ref() {
            match token.kind {
                Kind::Special(b'>') => break,
                // RFC 5322 §4.4 obs-route.
                Kind::Special(b':')
                    if route.is_none()
                        && inner.first().is_some_and(|t: &Token| t.kind == Kind::Special(b'@')) =>
                {
                    route = Some(inner.drain(..).flat_map(|t| t.text).collect());
                }
                _ => inner.push(token),
            }
        }
        let (local, host) = split_at(&inner);
        let name = phrase(before).or_else(|| comment(before)).or_else(|| comment(&inner));
        (!local.is_empty() || !host.is_empty() || name.is_some()).then_some(Mailbox {
            name,
            route,
            local,
            host,
        })
    }
}

fn has_at(tokens: &[Token]) -> bool {
    tokens.iter().any(|token| token.kind == Kind::Special(b'@'))
}

/// Words of a display name, with one space where there was any.
fn phrase(tokens: &[Token]) -> Option<Vec<u8>> {
    let mut out: Vec<u8> = Vec::new();
    for token in tokens.iter().filter(|token| token.kind != Kind::Comment) {
        if token.spaced && !out.is_empty() {
            out.push(b' ');
        }
        out.extend_from_slice(&token.text);
    }
    (!out.is_empty()).then_some(out)
}

fn comment(tokens: &[Token]) -> Option<Vec<u8>> {
    tokens
        .iter()
        .find(|token| token.kind == Kind::Comment && !token.text.is_empty())
        .map(|token| token.text.clone())
}

/// Local part and host, at the last `@`.
fn split_at(tokens: &[Token]) -> (Vec<u8>, Vec<u8>) {
    let join = |tokens: &[Token]| -> Vec<u8> {
        tokens.iter().filter(|t| t.kind != Kind::Comment).flat_map(|t| t.text.iter().copied()).collect()
    };
    match tokens.iter().rposition(|token| token.kind == Kind::Special(b'@')) {
        Some(at) => (join(&tokens[..at]), join(&tokens[at + 1..])),
        None => (phrase(tokens).unwrap_or_default(), Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `name|route|local|host`, groups as `name:` and `;`.
    #[track_caller]
    fn reads(field: &str, want: &[&str]) {
        let show = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let got: Vec<String> = parse_list(field.as_bytes())
            .iter()
            .map(|entry| match entry {
                Entry::Mailbox(m) => format!(
                    "{}|{}|{}|{}",
                    show(m.name.as_deref().unwrap_or(b"-")),
                    show(m.route.as_deref().unwrap_or(b"-")),
                    show(&m.local),
                    show(&m.host)
                ),
                Entry::GroupStart(name) => format!("{}:", show(name)),
                Entry::GroupEnd => ";".into(),
            })
            .collect();
        assert_eq!(got, want, "{field:?}");
    }

    #[test]
    fn the_forms_of_rfc_5322() {
        reads("John Doe <jdoe@machine.example>", &["John Doe|-|jdoe|machine.example"]);
        reads("\"Joe Q. Public\" <a@b>, c@d", &["Joe Q. Public|-|a|b", "-|-|c|d"]);
        reads(
            "<boss@nil.test>, \"Giant; \\\"Big\\\" Box\" <s@e.net>",
            &["-|-|boss|nil.test", "Giant; \"Big\" Box|-|s|e.net"],
        );
        reads(
            "A Group:Ed Jones <joe@where.test>,j@one.test;",
            &["A Group:", "Ed Jones|-|joe|where.test", "-|-|j|one.test", ";"],
        );
        reads("Undisclosed recipients:;", &["Undisclosed recipients:", ";"]);
        reads(
            "(Empty list)(start)Hidden recipients  :(nobody(that I know))  ;",
            &["Hidden recipients:", ";"],
        );
        reads("\"quoted local\"@example.org", &["-|-|quoted local|example.org"]);
        reads("a@[IPv6:::1]", &["-|-|a|[IPv6:::1]"]);
    }

    #[test]
    fn obsolete_and_broken_forms() {
        reads(
            "Joe <@node.test,@b:mary . jane @ example . net>",
            &["Joe|@node.test,@b|mary.jane|example.net"],
        );
        reads("a@b (Comment)", &["Comment|-|a|b"]);
        reads("<a@b> (Comment), <c@d> junk", &["Comment|-|a|b", "-|-|c|d"]);
        reads("a@b; c@d", &["-|-|a|b", "-|-|c|d"]);
        reads(", ,a@b,,", &["-|-|a|b"]);
        reads("<a@b> <c@d>", &["-|-|a|b", "-|-|c|d"]);
        reads("\"open <a@b>", &["-|-|open <a@b>|"]);
        reads("Name <a@b", &["Name|-|a|b"]);
        reads("nobody", &["-|-|nobody|"]);
        reads("a@b@c", &["-|-|a@b|c"]);
        reads("J\u{e9} <j\u{e9}@b\u{fc}.example>", &["J\u{e9}|-|j\u{e9}|b\u{fc}.example"]);
        reads("=?utf-8?Q?a,b?= <a@b>", &["=?utf-8?Q?a,b?=|-|a|b"]);
        reads("<>", &[]);
        reads("", &[]);
        reads("(((((", &[]);
        reads("::::<<<>>>@@@", &["-|-|<<|", "-|-|@@|"]);
        reads("g: a@b", &["g:", "-|-|a|b", ";"]);
    }

    #[test]
    fn a_mailbox_as_address() {
        let list = mailboxes(b"=?utf-8?Q?J=C3=A9?= <\"a b\"@Example.org>, <x@>, [1.2.3.4]@[1.2.3.4]");
        assert_eq!(list[0].display_name().as_deref(), Some("J\u{e9}"));
        assert_eq!(list[0].address().unwrap().to_string(), "\"a b\"@example.org");
        assert_eq!(list[1].address(), None);
    }

    #[test]
    fn lists_are_bounded() {
        assert_eq!(parse_list("a@b,".repeat(20_000).as_bytes()).len(), limits::ADDRESSES);
    }
}
