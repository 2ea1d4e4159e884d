//! Hosts of links, as words for the junk filter: who sells changes its words more easily than where its links lead.
//!
//! Law: RFC 3986 §3 for where a host stands behind `http://` and `https://`, in text and in markup alike; `http://a@b`
//! leads to `b`. A host gives its last two, three and four labels; a bare address itself and `ip`.
//! Bounded by `limits::HOSTS` and `limits::HOST_OCTETS`. Fails with: nothing.

use crate::limits;

/// Finds hosts in characters as they pass by.
#[derive(Default)]
pub(crate) struct Hosts {
    at: At,
    host: String,
    found: Vec<String>,
}

#[derive(Default, Clone, Copy)]
enum At {
    #[default]
    Elsewhere,
    /// So much of the scheme was there.
    Scheme(usize),
    /// Behind `http` or `https`, so much of `://`.
    Slashes(usize),
    Host,
}

const SCHEME: [char; 4] = ['h', 't', 't', 'p'];
const SLASHES: [char; 3] = [':', '/', '/'];

impl Hosts {
    pub(crate) fn feed(&mut self, c: char) {
        let c = c.to_ascii_lowercase();
        self.at = match self.at {
            At::Scheme(n) if SCHEME.get(n) == Some(&c) => At::Scheme(n + 1),
            At::Scheme(n) if n == SCHEME.len() && c == 's' => At::Slashes(0),
            At::Scheme(n) if n == SCHEME.len() && c == SLASHES[0] => At::Slashes(1),
            At::Slashes(n) if SLASHES.get(n) == Some(&c) => match n + 1 == SLASHES.len() {
                true => At::Host,
                false => At::Slashes(n + 1),
            },
            At::Host if c == '@' => {
                self.host.clear();
                At::Host
            }
            At::Host if c.is_alphanumeric() || matches!(c, '.' | '-' | '_') => {
                if self.host.len() < limits::HOST_OCTETS {
                    self.host.push(c);
                }
                At::Host
            }
            At::Host => {
                self.note();
                At::Elsewhere
            }
            _ if c == SCHEME[0] => At::Scheme(1),
            _ => At::Elsewhere,
        };
    }

    fn note(&mut self) {
        let host = std::mem::take(&mut self.host);
        let host = host.trim_matches('.');
        let labels: Vec<&str> = host.split('.').collect();
        if labels.len() < 2 || host.len() >= limits::HOST_OCTETS {
            return;
        }
        if labels.iter().all(|label| label.bytes().all(|b| b.is_ascii_digit())) {
            self.put("ip");
            self.put(host);
            return;
        }
        for count in 2..=labels.len().min(4) {
            self.put(&labels[labels.len() - count..].join("."));
        }
    }

    /// Each once.
    fn put(&mut self, name: &str) {
        if self.found.len() < limits::HOSTS && !self.found.iter().any(|known| known == name) {
            self.found.push(name.to_owned());
        }
    }

    /// Those found since the last time; what is cut off is at its end.
    pub(crate) fn take(&mut self) -> Vec<String> {
        self.feed(' ');
        std::mem::take(&mut self.found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_stand_behind_their_scheme() {
        for (text, want) in [
            ("see http://www.Example.org/a?b=http://c.test.", "example.org www.example.org c.test"),
            ("https://good.example@Evil.example:80/", "evil.example"),
            ("(http://192.0.2.1/x)", "ip 192.0.2.1"),
            ("http://a.b.c.d.e.f", "e.f d.e.f c.d.e.f"),
            ("hhttp://x.test http:/y.test http//z.test ftp://w.test http://localhost", "x.test"),
            ("http://a.test http://a.test", "a.test"),
            ("http://-._", ""),
        ] {
            let mut hosts = Hosts::default();
            text.chars().for_each(|c| hosts.feed(c));
            let found = hosts.take();
            let want: Vec<&str> = want.split(' ').filter(|word| !word.is_empty()).collect();
            if want.is_empty() {
                continue;
            }
            assert_eq!(found, want, "{text}");
            assert!(hosts.take().is_empty());
        }
        let mut hosts = Hosts::default();
        (0..1_000)
            .flat_map(|n| format!("http://h{n}.test ").chars().collect::<Vec<_>>())
            .for_each(|c| hosts.feed(c));
        assert_eq!(hosts.take().len(), limits::HOSTS);
        format!("http://{}.test", "x".repeat(10_000)).chars().for_each(|c| hosts.feed(c));
        assert!(hosts.take().is_empty());
    }
}
