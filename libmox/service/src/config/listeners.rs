//! What differs by the address a client connected to (row SR-01). Which addresses there are, and which services on
//! them, is said by the socket units.

use super::Static;
use super::reader::Section;
use libmox_types::Domain;
use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// `[listeners.internal]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerConfig {
    /// For people.
    pub name: String,
    /// Of this machine; none of them in two groups.
    pub addresses: Vec<IpAddr>,
    /// What differs here from `hostname`.
    pub hostname: Option<Domain>,
    /// From `smtp.max-message-size` and `submission.max-message-size`.
    pub max_message_size: Option<u64>,
    /// From `smtp.first-time-sender-delay`.
    pub first_time_delay: Option<Duration>,
    /// From `smtp.tls-session-tickets`.
    pub session_tickets: Option<bool>,
}

impl ListenerConfig {
    /// All of them.
    pub(super) fn read_all(root: &mut Section<'_>) -> Vec<Self> {
        let (mut all, mut taken) = (Vec::new(), HashSet::new());
        root.each("listeners", |name, s| {
            let one = Self::read(name, s);
            if one.addresses.is_empty() {
                s.mistake(format!("listeners.{name}: at least one address of this machine is wanted"));
            }
            for address in &one.addresses {
                if !taken.insert(*address) {
                    s.mistake(format!("listeners.{name}.addresses: {address} is there twice"));
                }
            }
            all.push(one);
        });
        all
    }

    fn read(name: &str, s: &mut Section<'_>) -> Self {
        let address = |text: &str| text.parse().map(|ip: IpAddr| ip.to_canonical());
        Self {
            name: name.to_owned(),
            addresses: s.texts("addresses", address).unwrap_or_default(),
            hostname: s.text("hostname", Domain::parse),
            max_message_size: s.optional_bytes("max-message-size", super::statics::MESSAGE_SIZES),
            first_time_delay: s
                .optional_duration("first-time-sender-delay", super::statics::FIRST_TIME_DELAYS),
            session_tickets: s.optional_yes_no("tls-session-tickets"),
        }
    }
}

impl Static {
    /// What is in force for clients that connected to this address.
    #[must_use]
    pub fn at(self: &Arc<Self>, local: IpAddr) -> Arc<Self> {
        let local = local.to_canonical();
        let Some(listener) = self.listeners.iter().find(|one| one.addresses.contains(&local)) else {
            return Arc::clone(self);
        };
        let mut here = Self::clone(self);
        if let Some(hostname) = &listener.hostname {
            here.hostname = hostname.clone();
        }
        if let Some(octets) = listener.max_message_size {
            here.smtp.max_message_size = octets;
            here.submission.max_message_size = octets;
        }
        here.smtp.first_time_delay = listener.first_time_delay.unwrap_or(here.smtp.first_time_delay);
        here.smtp.session_tickets = listener.session_tickets.unwrap_or(here.smtp.session_tickets);
        Arc::new(here)
    }

    /// The names of this machine in mail, its own first.
    pub fn hostnames(&self) -> impl Iterator<Item = &Domain> {
        let others = self.listeners.iter().filter_map(|one| one.hostname.as_ref());
        std::iter::once(&self.hostname).chain(others.filter(|name| **name != self.hostname))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows SR-01, SR-29, SR-37.
    #[test]
    fn each_listener_may_differ() {
        let text = "hostname = \"mx.example.org\"\n[listeners.inside]\naddresses = [\"10.0.0.1\", \"fd00::1\"]\n\
                    hostname = \"in.example.org\"\nmax-message-size = \"1GiB\"\n\
                    first-time-sender-delay = \"0s\"\ntls-session-tickets = true\n\
                    [listeners.outside]\naddresses = [\"192.0.2.1\"]\n";
        let config = Arc::new(Static::parse(text).unwrap());
        let of = |ip: &str| {
            let here = config.at(ip.parse().unwrap());
            let smtp = &here.smtp;
            let size = (smtp.max_message_size >> 20, here.submission.max_message_size >> 20);
            (here.hostname.ascii().to_owned(), size, smtp.first_time_delay.as_secs(), smtp.session_tickets)
        };
        let inside = ("in.example.org".to_owned(), (1024, 1024), 0, true);
        let usual = ("mx.example.org".to_owned(), (100, 100), 15, false);
        assert_eq!(of("::ffff:10.0.0.1"), inside);
        assert_eq!(of("fd00::1"), inside);
        assert_eq!(of("192.0.2.1"), usual);
        assert_eq!(of("127.0.0.1"), usual);
        let names: Vec<_> = config.hostnames().map(Domain::ascii).collect();
        assert_eq!(names, ["mx.example.org", "in.example.org"]);
        let twice = format!("{text}[listeners.none]\n[listeners.x]\naddresses = [\"10.0.0.1\"]\n");
        let lines = Static::parse(&twice).unwrap_err().in_file("mox.toml").lines();
        assert!(
            lines.len() == 2 && lines[0].contains("at least one") && lines[1].contains("twice"),
            "{lines:?}"
        );
    }
}
