//! `mox.toml`: what every service reads at start and at reload.

use super::listeners::ListenerConfig;
use super::reader::{Mistakes, Section, read_file};
use libmox_types::{Address, Domain, MailboxName, SpecialUse};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The checked content of `mox.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Static {
    /// The name in greetings, EHLO and Received.
    pub hostname: Domain,
    /// The account that gets mail for postmaster and for local users such as root.
    pub postmaster: Option<String>,
    /// Where it goes there; where the account's mail goes if none is named.
    pub postmaster_mailbox: Option<MailboxName>,
    /// What differs by the address a client connected to.
    pub listeners: Vec<ListenerConfig>,
    /// What clients of SMTP in the wild get wrong is refused.
    pub pedantic: bool,
    /// A test instance on one machine: nothing leaves it, and addresses can ask for failures.
    pub localserve: bool,
    /// How processes live.
    pub service: ServiceConfig,
    /// Resolver.
    pub dns: DnsConfig,
    /// Certificates.
    pub tls: Certificates,
    /// Port 25.
    pub smtp: SmtpConfig,
    /// Ports 465 and 587.
    pub submission: SubmissionConfig,
    /// Ports 143 and 993.
    pub imap: ImapConfig,
    /// Outgoing mail.
    pub queue: QueueConfig,
    /// The store.
    pub store: StoreConfig,
}

/// `[service]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceConfig {
    /// A service without work leaves after this.
    pub idle_exit: Duration,
    /// The same for the store.
    pub store_idle_exit: Duration,
    /// Connections and work at hand get this long at a stop.
    pub stop_grace: Duration,
    /// Pauses for clients that fail to sign in or send what is refused; zero: none.
    pub bad_client_delay: Duration,
}

/// `[dns]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsConfig {
    /// Instead of `/etc/resolv.conf`.
    pub servers: Vec<SocketAddr>,
    /// DNSKEY records of the root, instead of the built-in ones.
    pub trust_anchor: Option<PathBuf>,
    /// One query.
    pub timeout: Duration,
}

/// `[tls]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Certificates {
    /// An own authority; nobody trusts it unless told.
    Own,
    /// PEM files, given to `mox-keys` as credentials `tls-certificate` and `tls-key`.
    Files {
        /// Chain, leaf first.
        certificate: PathBuf,
        /// Private key.
        key: PathBuf,
    },
}

/// `[smtp]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmtpConfig {
    /// Largest message.
    pub max_message_size: u64,
    /// Offer STARTTLS.
    pub starttls: bool,
    /// Take mail under TLS only.
    pub require_starttls: bool,
    /// But for these addresses.
    pub starttls_exempt: Vec<Address>,
    /// Offer REQUIRETLS.
    pub requiretls: bool,
    /// Ask `mox-verify`. Off only for tests and load measurements.
    pub verify: bool,
    /// Connections at once.
    pub max_connections: u64,
    /// Connections at once from one address class (/32, /64).
    pub max_connections_per_ip: u64,
    /// New ones of it a minute.
    pub new_connections_per_ip: u64,
    /// Messages of it that one account takes in a minute; twenty times as many in a day (row SR-32).
    pub max_deliveries_per_ip: u64,
    /// Their octets; three times as many in a day.
    pub max_delivery_size_per_ip: u64,
    /// Refuse mail whose DMARC policy says so.
    pub dmarc_reject: bool,
    /// DNS block lists asked about senders of whom nothing is known (row MA-22).
    pub dns_lists: Vec<Domain>,
    /// How long a sender waits of whom nothing is known (row SR-29).
    pub first_time_delay: Duration,
    /// Clients may resume TLS sessions (row SR-37).
    pub session_tickets: bool,
}

/// `[submission]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubmissionConfig {
    /// Largest message.
    pub max_message_size: u64,
    /// Connections at once.
    pub max_connections: u64,
    /// AUTH without TLS on port 587. Never on a public address.
    pub allow_plaintext_login: bool,
    /// Connections at once from one address class (/32, /64).
    pub max_connections_per_ip: u64,
    /// New ones of it a minute.
    pub new_connections_per_ip: u64,
    /// Ask clients for a TLS certificate.
    pub client_certificates: bool,
    /// Offer REQUIRETLS.
    pub requiretls: bool,
}

/// `[imap]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImapConfig {
    /// Connections at once.
    pub max_connections: u64,
    /// LOGIN without TLS on port 143. Never on a public address.
    pub allow_plaintext_login: bool,
    /// Largest message of an APPEND.
    pub max_message_size: u64,
    /// Connections at once from one address class (/32, /64).
    pub max_connections_per_ip: u64,
    /// New ones of it a minute.
    pub new_connections_per_ip: u64,
    /// Ask clients for a TLS certificate.
    pub client_certificates: bool,
}

/// `[queue]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueConfig {
    /// Port of MX hosts; other than 25 for tests.
    pub port: u16,
    /// Attempts until a message fails.
    pub max_attempts: u64,
    /// Wait before the second attempt; doubles each time.
    pub first_retry: Duration,
    /// Deliveries at once.
    pub max_deliveries: u64,
    /// Deliver everything to this address and port instead of MX hosts; for localserve.
    pub local_target: Option<SocketAddr>,
    /// DNS block lists that are only watched for our own addresses (row MA-23).
    pub monitor_dns_lists: Vec<Domain>,
}

/// `[store]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreConfig {
    /// Cache of the index.
    pub cache: u64,
    /// Quota of an account without one of its own.
    pub quota: Option<u64>,
    /// Failed logins of one address class a minute.
    pub login_failures_per_minute: u64,
    /// Mailboxes of a new account.
    pub initial_mailboxes: InitialMailboxes,
}

/// `[store.initial-mailboxes]`: what a new account has besides Inbox (row ST-18).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitialMailboxes {
    /// With a role each.
    pub special: Vec<(SpecialUse, MailboxName)>,
    /// Without.
    pub regular: Vec<MailboxName>,
}

/// Roles, the keys that name their mailboxes, and the names where none are given.
const ROLES: [(SpecialUse, &str, &str); 5] = [
    (SpecialUse::Sent, "sent", "Sent"),
    (SpecialUse::Archive, "archive", "Archive"),
    (SpecialUse::Trash, "trash", "Trash"),
    (SpecialUse::Drafts, "drafts", "Drafts"),
    (SpecialUse::Junk, "junk", "Junk"),
];

impl Default for InitialMailboxes {
    fn default() -> Self {
        let special =
            ROLES.iter().filter_map(|(role, _, name)| Some((*role, MailboxName::parse(name).ok()?)));
        Self { special: special.collect(), regular: Vec::new() }
    }
}

impl InitialMailboxes {
    /// The section, or the older list of names, of which some are those of roles.
    fn read(s: &mut Section<'_>) -> Self {
        let old = s.texts("default-mailboxes", MailboxName::parse);
        let (mut new, mut given) = (Self { special: Vec::new(), regular: Vec::new() }, false);
        s.section("initial-mailboxes", |s| {
            for (role, name) in [
                (SpecialUse::Sent, s.text("sent", MailboxName::parse)),
                (SpecialUse::Archive, s.text("archive", MailboxName::parse)),
                (SpecialUse::Trash, s.text("trash", MailboxName::parse)),
                (SpecialUse::Drafts, s.text("drafts", MailboxName::parse)),
                (SpecialUse::Junk, s.text("junk", MailboxName::parse)),
            ] {
                given |= name.is_some();
                new.special.extend(name.map(|name| (role, name)));
            }
            let regular = s.texts("regular", MailboxName::parse);
            given |= regular.is_some();
            new.regular = regular.unwrap_or_default();
        });
        if old.is_some() && given {
            s.mistake("store: initial-mailboxes replaces default-mailboxes; only one of the two");
        }
        match old {
            Some(names) => {
                let role = |name: &MailboxName| ROLES.iter().find(|(_, _, text)| *text == name.as_str());
                let special = names.iter().filter_map(|name| Some((role(name)?.0, name.clone()))).collect();
                let regular = names.into_iter().filter(|name| role(name).is_none()).collect();
                Self { special, regular }
            }
            None if given => new,
            None => Self::default(),
        }
    }
}

impl Static {
    /// Reads the file's text; an empty one gives the defaults.
    pub fn parse(text: &str) -> Result<Self, Mistakes> {
        read_file(text, build)
    }
}

const MIB: u64 = 1 << 20;
/// What the largest message may be.
pub(super) const MESSAGE_SIZES: std::ops::RangeInclusive<u64> = 64 * 1024..=4096 * MIB;
/// How long a first-time sender may have to wait.
pub(super) const FIRST_TIME_DELAYS: std::ops::RangeInclusive<Duration> =
    Duration::ZERO..=Duration::from_secs(300);

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn build(root: &mut Section<'_>) -> Static {
    // Never ends in the message of a checked configuration: "localhost" is a domain.
    let hostname = root.text("hostname", Domain::parse).unwrap_or_else(local_name);
    let postmaster = root.text("postmaster", account_name);
    Static {
        hostname,
        postmaster,
        postmaster_mailbox: root.text("postmaster-mailbox", MailboxName::parse),
        listeners: ListenerConfig::read_all(root),
        pedantic: root.yes_no("pedantic", false),
        localserve: root.yes_no("localserve", false),
        service: root.section("service", |s| ServiceConfig {
            idle_exit: s.duration("idle-exit", seconds(60), Duration::from_millis(50)..=seconds(86_400)),
            store_idle_exit: s.duration(
                "store-idle-exit",
                seconds(600),
                Duration::from_millis(50)..=seconds(86_400),
            ),
            stop_grace: s.duration("stop-grace", seconds(3), seconds(0)..=seconds(300)),
            bad_client_delay: s.duration("bad-client-delay", seconds(1), seconds(0)..=seconds(60)),
        }),
        dns: root.section("dns", |s| DnsConfig {
            servers: s.texts("servers", socket_address).unwrap_or_default(),
            trust_anchor: s.text("trust-anchor", absolute_path),
            timeout: s.duration("timeout", seconds(5), Duration::from_millis(100)..=seconds(60)),
        }),
        tls: root.section("tls", certificates),
        smtp: root.section("smtp", |s| SmtpConfig {
            max_message_size: s.bytes("max-message-size", 100 * MIB, MESSAGE_SIZES),
            starttls: s.yes_no("starttls", true),
            require_starttls: s.yes_no("require-starttls", false),
            starttls_exempt: s.texts("starttls-exempt", Address::parse).unwrap_or_default(),
            requiretls: s.yes_no("requiretls", true),
            verify: s.yes_no("verify", true),
            max_connections: s.number("max-connections", 1_000, 1..=100_000),
            max_connections_per_ip: s.number("max-connections-per-ip", 30, 1..=100_000),
            new_connections_per_ip: s.number("new-connections-per-ip", 300, 1..=10_000_000),
            max_deliveries_per_ip: s.number("max-deliveries-per-ip", 500, 1..=10_000_000),
            max_delivery_size_per_ip: s.bytes("max-delivery-size-per-ip", 1000 * MIB, MIB..=1 << 50),
            dmarc_reject: s.yes_no("dmarc-reject", true),
            dns_lists: s.texts("dns-lists", Domain::parse).unwrap_or_default(),
            first_time_delay: s.duration("first-time-sender-delay", seconds(15), FIRST_TIME_DELAYS),
            session_tickets: s.yes_no("tls-session-tickets", false),
        }),
        submission: root.section("submission", |s| SubmissionConfig {
            max_message_size: s.bytes("max-message-size", 100 * MIB, MESSAGE_SIZES),
            max_connections: s.number("max-connections", 1_000, 1..=100_000),
            allow_plaintext_login: s.yes_no("allow-plaintext-login", false),
            max_connections_per_ip: s.number("max-connections-per-ip", 30, 1..=100_000),
            new_connections_per_ip: s.number("new-connections-per-ip", 300, 1..=10_000_000),
            client_certificates: s.yes_no("client-certificates", true),
            requiretls: s.yes_no("requiretls", true),
        }),
        imap: root.section("imap", |s| ImapConfig {
            max_connections: s.number("max-connections", 10_000, 1..=1_000_000),
            allow_plaintext_login: s.yes_no("allow-plaintext-login", false),
            max_message_size: s.bytes("max-message-size", 100 * MIB, 64 * 1024..=4096 * MIB),
            max_connections_per_ip: s.number("max-connections-per-ip", 30, 1..=1_000_000),
            new_connections_per_ip: s.number("new-connections-per-ip", 300, 1..=10_000_000),
            client_certificates: s.yes_no("client-certificates", true),
        }),
        queue: root.section("queue", |s| QueueConfig {
            port: u16::try_from(s.number("port", 25, 1..=65_535)).unwrap_or(25),
            max_attempts: s.number("max-attempts", 8, 1..=100),
            first_retry: s.duration(
                "first-retry",
                seconds(450),
                Duration::from_millis(100)..=seconds(86_400),
            ),
            max_deliveries: s.number("max-deliveries", 10, 1..=1_000),
            local_target: s.text("local-target", socket_address),
            monitor_dns_lists: s.texts("monitor-dns-lists", Domain::parse).unwrap_or_default(),
        }),
        store: root.section("store", |s| StoreConfig {
            cache: s.bytes("cache", 64 * MIB, MIB..=16_384 * MIB),
            quota: s.optional_bytes("quota", MIB..=u64::MAX >> 1),
            login_failures_per_minute: s.number("login-failures-per-minute", 10, 1..=1_000_000),
            initial_mailboxes: InitialMailboxes::read(s),
        }),
    }
}

/// The kernel's name for this machine where it is a domain, else `localhost`.
fn local_name() -> Domain {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    // "localhost" is a domain by the test of that module.
    #[expect(clippy::unwrap_used, reason = "a constant that parses")]
    Domain::parse(&name).or_else(|_| Domain::parse("localhost")).unwrap()
}

fn certificates(s: &mut Section<'_>) -> Certificates {
    let certificate = s.text("certificate", absolute_path);
    let key = s.text("key", absolute_path);
    match (certificate, key) {
        (None, None) => Certificates::Own,
        (Some(certificate), Some(key)) => Certificates::Files { certificate, key },
        _ => {
            s.mistake("tls: certificate and key belong together");
            Certificates::Own
        }
    }
}

fn absolute_path(text: &str) -> Result<PathBuf, &'static str> {
    let path = PathBuf::from(text);
    if path.is_absolute() { Ok(path) } else { Err("an absolute path is wanted") }
}

fn socket_address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse::<SocketAddr>()
        .or_else(|_| text.parse().map(|ip| SocketAddr::new(ip, 53)))
        .map_err(|_| "an address like \"192.0.2.1:53\" is wanted")
}

/// Row DF-08: an account is named by a short word, never by an address.
pub(super) fn account_name(text: &str) -> Result<String, &'static str> {
    let fine = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    if text.is_empty() || text.len() > 64 || !text.chars().all(fine) || text.starts_with('.') {
        return Err("an account name is letters, digits, \"-\", \"_\" and \".\"; it is no address");
    }
    if Address::parse(text).is_ok() {
        return Err("an account name is no address");
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_is_the_defaults() {
        let config = Static::parse("").unwrap();
        assert_eq!(config.queue.max_attempts, 8);
        // Row SR-38.
        assert_eq!(config.service.stop_grace, seconds(3));
        // Rows SR-01, SR-31, SR-32, with the wider classes three and nine times as much.
        let smtp = &config.smtp;
        assert_eq!((smtp.max_message_size, config.submission.max_message_size), (100 << 20, 100 << 20));
        assert_eq!((smtp.new_connections_per_ip, smtp.max_connections_per_ip), (300, 30));
        assert_eq!((smtp.max_deliveries_per_ip, smtp.max_delivery_size_per_ip), (500, 1000 << 20));
        // Rows SR-06, SR-37, AU-15.
        assert!(smtp.requiretls && config.submission.requiretls && !smtp.session_tickets);
        assert_eq!(config.store.login_failures_per_minute, 10);
        assert_eq!(config.tls, Certificates::Own);
        assert!(config.smtp.verify);
    }

    #[test]
    fn every_mistake_is_told_with_its_line() {
        let text = "hostname = \"a b\"\n[tls]\nkey = \"/k\"\n[smtp]\nverify = 1\nmax-message-size = \"1KiB\"\nport = 2\n";
        let lines = Static::parse(text).unwrap_err().in_file("mox.toml").lines();
        assert_eq!(lines.len(), 5, "{lines:?}");
        assert!(lines[0].starts_with("mox.toml:1: hostname: "));
        assert!(lines[1].starts_with("mox.toml:2: tls: certificate and key"));
        assert!(lines[2].starts_with("mox.toml:5: smtp.verify: "));
        assert!(lines[3].starts_with("mox.toml:6: smtp.max-message-size: 1024 bytes is not between"));
        assert!(lines[4].starts_with("mox.toml:7: unknown key smtp.port"));
    }
}
