//! `domains.toml`: domains, accounts and their addresses; read by the store, written by `mox-admin`.

use super::dkim::DkimConfig;
use super::junk::{AutomaticJunkFlags, JunkFilterConfig};
use super::reader::{Mistakes, Section, parse_bytes, read_file};
use super::reports::ReportsConfig;
use super::rules::DestinationConfig;
use super::statics::account_name;
use libmox_types::{Address, Domain, MailboxName};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// The checked content of `domains.toml`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Domains {
    /// By name.
    pub domains: BTreeMap<Domain, DomainConfig>,
    /// By name.
    pub accounts: BTreeMap<String, AccountConfig>,
    /// Lists of addresses.
    pub aliases: Vec<AliasConfig>,
    /// Folded address to account name; made from the two above.
    by_address: HashMap<(Domain, String), String>,
    /// Domain to the account that takes everything else in it.
    catchall: HashMap<Domain, String>,
}

/// `[domains."example.org"]`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DomainConfig {
    /// Takes and sends nothing for now (row SR-26).
    pub disabled: bool,
    /// What separates the deciding part of a local part from the rest (row SR-11).
    pub separators: Vec<String>,
    /// `Jane` and `jane` are two people.
    pub case_sensitive: bool,
    /// How its mail is signed (row MA-05).
    pub dkim: DkimConfig,
    /// Where others send reports about mail in its name (row MA-18).
    pub dmarc: Option<ReportsConfig>,
    /// Where they send reports about TLS (row TP-13).
    pub tlsrpt: Option<ReportsConfig>,
}

/// `[aliases."team@example.org"]`: a list of addresses of accounts here (rows SR-12 to SR-15).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AliasConfig {
    /// Its own address.
    pub address: Address,
    /// Addresses of accounts.
    pub members: Vec<Address>,
    /// Anyone may write to it, not just members.
    pub post_public: bool,
    /// Members may send with its address in From.
    pub allow_msg_from: bool,
    /// Members may see the addresses of the others.
    pub list_members: bool,
}

/// Members of one list.
const MEMBERS: usize = 1_000;

/// `[accounts.jane]`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccountConfig {
    /// The first is what the account sends as.
    pub addresses: Vec<Address>,
    /// Whole domains (`@example.org`).
    pub catchall: Vec<Domain>,
    /// For people.
    pub full_name: String,
    /// Its people get passwords that are made for them, and choose none (row AU-19).
    pub no_custom_password: bool,
    /// Nobody may sign in, with the text to show.
    pub login_disabled: Option<String>,
    /// IMAP capabilities that its clients cannot cope with, in upper case. Row IM-47.
    pub disabled_capabilities: Vec<String>,
    /// It is no person but a submission server. RFC 4467 §3.
    pub submission_server: bool,
    /// Octets of mail; `u64::MAX` for no limit, whatever the limit of others.
    pub quota: Option<u64>,
    /// Where mail arrives.
    pub mailbox: Option<MailboxName>,
    /// Where refused mail is kept for a while (row ST-29).
    pub rejects: Option<MailboxName>,
    /// Refused mail is kept for good.
    pub keep_rejects: bool,
    /// Where the first message of somebody goes instead of Inbox (row ST-30).
    pub introbox: Option<MailboxName>,
    /// How long what left the queue is known, in seconds (row QU-15).
    pub keep_retired: i64,
    /// Recipients in 24 hours (row SU-04).
    pub max_outgoing: u64,
    /// Of them, those never written to before.
    pub max_first_time: u64,
    /// Who signs in with one of these sends each copy from an address of its own (row SU-08).
    pub fromid_logins: Vec<Address>,
    /// Judges the content of mail from strangers.
    pub junk_filter: JunkFilterConfig,
    /// Whose word in an ARC seal is believed (row MA-24).
    pub arc_sealers: Vec<Domain>,
    /// New senders need not wait (row SR-29).
    pub no_first_time_delay: bool,
    /// How long a token in the subject lets a message pass, in seconds; 0 for never (row JK-11).
    pub subject_pass: i64,
    /// Flags that mailboxes give.
    pub automatic_junk_flags: Option<AutomaticJunkFlags>,
    /// What is told apart by the address it came to.
    pub destinations: Vec<(Destination, DestinationConfig)>,
}

/// An entry of [`AccountConfig::addresses`] that has rules of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// One address.
    Address(Address),
    /// What nobody else in the domain takes.
    Catchall(Domain),
}

/// RFC 9051 §9 `capability`. What a login needs cannot be switched off.
fn capability(text: &str) -> Result<String, String> {
    let name = text.to_ascii_uppercase();
    let atom = |b: u8| b > b' ' && b < 0x7f && !b"(){%*\"\\]".contains(&b);
    if name.is_empty() || name.len() > 64 || !name.bytes().all(atom) {
        return Err("not the name of a capability".into());
    }
    if name == "IMAP4REV1" || name.starts_with("AUTH=") {
        return Err(format!("{name} cannot be switched off for one account"));
    }
    Ok(name)
}

/// The longest that what left the queue is known.
const RETIRED_MOST: Duration = Duration::from_secs(366 * 24 * 3600);
/// The longest that a token in the subject is good.
const PASS_MOST: Duration = Duration::from_secs(30 * 24 * 3600);
/// Characters of [`AccountConfig::login_disabled`]. Row CF-10.
const DISABLED_TEXT: usize = 255;

impl Domains {
    /// Reads the file's text.
    pub fn parse(text: &str) -> Result<Self, Mistakes> {
        read_file(text, |root| {
            let mut all = Self::default();
            root.each("domains", |name, s| {
                let config = DomainConfig {
                    disabled: s.yes_no("disabled", false),
                    separators: s.texts("localpart-catchall-separators", separator).unwrap_or_default(),
                    case_sensitive: s.yes_no("localpart-case-sensitive", false),
                    dkim: s.section("dkim", DkimConfig::read),
                    dmarc: s.section("dmarc", |s| ReportsConfig::read(s, "dmarc", "DMARC")),
                    tlsrpt: s.section("tlsrpt", |s| ReportsConfig::read(s, "tls", "TLSRPT")),
                };
                match Domain::parse(name) {
                    Ok(domain) => drop(all.domains.insert(domain, config)),
                    Err(error) => s.mistake(format!("domains.{name}: {error}")),
                }
            });
            root.each("accounts", |name, s| {
                let mut account = AccountConfig {
                    full_name: s.text("full-name", |t| Ok::<_, String>(t.to_owned())).unwrap_or_default(),
                    no_custom_password: s.yes_no("no-custom-password", false),
                    login_disabled: s.text("login-disabled", disabled_text),
                    disabled_capabilities: s
                        .texts("imap-capabilities-disabled", capability)
                        .unwrap_or_default(),
                    submission_server: s.yes_no("submission-server", false),
                    quota: s.text("quota", quota),
                    mailbox: s.text("mailbox", MailboxName::parse),
                    rejects: s.text("rejects-mailbox", MailboxName::parse),
                    keep_rejects: s.yes_no("keep-rejects", false),
                    keep_retired: i64::try_from(
                        s.duration("keep-retired-messages", Duration::ZERO, Duration::ZERO..=RETIRED_MOST)
                            .as_secs(),
                    )
                    .unwrap_or(0),
                    max_outgoing: s.number("max-outgoing-messages-per-day", 1_000, 1..=1_000_000),
                    max_first_time: s.number("max-first-time-recipients-per-day", 200, 1..=1_000_000),
                    fromid_logins: s.texts("fromid-login-addresses", Address::parse).unwrap_or_default(),
                    introbox: s.text("introbox", MailboxName::parse),
                    arc_sealers: s.texts("arc-trusted-sealers", Domain::parse).unwrap_or_default(),
                    no_first_time_delay: s.yes_no("no-first-time-sender-delay", false),
                    subject_pass: i64::try_from(
                        s.duration("subject-pass", Duration::ZERO, Duration::ZERO..=PASS_MOST).as_secs(),
                    )
                    .unwrap_or(0),
                    junk_filter: s.section("junk-filter", JunkFilterConfig::read),
                    automatic_junk_flags: s.section("automatic-junk-flags", AutomaticJunkFlags::read),
                    ..AccountConfig::default()
                };
                for entry in s.texts("addresses", entry).unwrap_or_default() {
                    if let Err(what) = all.claim(name, &entry) {
                        s.mistake(format!("accounts.{name}.addresses: {what}"));
                    }
                    match entry {
                        Entry::Address(address) => account.addresses.push(address),
                        Entry::Catchall(domain) => account.catchall.push(domain),
                    }
                }
                let mut destinations = Vec::new();
                s.each("destinations", |text, s| destinations.extend(destination(&account, text, s)));
                account.destinations = destinations;
                match account_name(name) {
                    Ok(name) => drop(all.accounts.insert(name, account)),
                    Err(error) => s.mistake(format!("accounts.{name}: {error}")),
                }
            });
            root.each("aliases", |name, s| {
                let alias = AliasConfig::read(name, s);
                let Some(alias) = alias else { return };
                match all.wrong_alias(&alias) {
                    Some(what) => s.mistake(format!("aliases.{name}: {what}")),
                    None => all.aliases.push(alias),
                }
            });
            // Again, now that accounts and lists are known.
            let wrong: Vec<String> = all.wrong_reports().collect();
            wrong.into_iter().for_each(|what| root.mistake(what));
            all
        })
    }

    /// Addresses for reports, with the domain they are about.
    pub fn reports(&self) -> impl Iterator<Item = (&Domain, &ReportsConfig)> {
        self.domains.iter().flat_map(|(domain, config)| {
            [&config.dmarc, &config.tlsrpt].into_iter().flatten().map(move |reports| (domain, reports))
        })
    }

    /// Of them those for reports about TLS.
    pub fn tls_reports(&self) -> impl Iterator<Item = Address> {
        let address =
            |(domain, config): (&Domain, &DomainConfig)| Some(config.tlsrpt.as_ref()?.address(domain));
        self.domains.iter().filter_map(address)
    }

    /// Row MA-19: what is wrong with addresses for reports.
    fn wrong_reports(&self) -> impl Iterator<Item = String> {
        let one = |(about, reports): (&Domain, &ReportsConfig)| {
            let address = reports.address(about);
            let says = |what: &str| Some(format!("reports about {about} to {address}: {what}"));
            let Some(config) = self.domains.get(&address.domain) else {
                return says("no such domain in [domains]");
            };
            if !self.accounts.contains_key(&reports.account) {
                return says(&format!("no account {}", reports.account));
            }
            let folded = |local: &str| config.fold(local);
            let own = folded(address.local.as_str());
            if self.by_address.contains_key(&(address.domain.clone(), own.clone())) {
                return says("the address belongs to an account already");
            }
            let list = |alias: &&AliasConfig| {
                alias.address.domain == address.domain && folded(alias.address.local.as_str()) == own
            };
            if self.aliases.iter().any(|alias| list(&alias)) {
                return says("it is a list");
            }
            let other = |(domain, other): (&Domain, &ReportsConfig)| {
                let theirs = other.address(domain);
                theirs.domain == address.domain
                    && folded(theirs.local.as_str()) == own
                    && (&other.account, &other.mailbox) != (&reports.account, &reports.mailbox)
            };
            if self.reports().any(other) {
                return says("other reports to it go somewhere else");
            }
            None
        };
        self.reports().filter_map(one).collect::<Vec<_>>().into_iter()
    }

    /// What is wrong with a list.
    fn wrong_alias(&self, alias: &AliasConfig) -> Option<String> {
        let Some(config) = self.domains.get(&alias.address.domain) else {
            return Some("no such domain in [domains]".into());
        };
        let folded = |address: &Address, config: &DomainConfig| {
            (address.domain.clone(), config.fold(address.local.as_str()))
        };
        let own = folded(&alias.address, config);
        if let Some(account) = self.by_address.get(&own) {
            return Some(format!("the address belongs to account {account} already"));
        }
        if self.aliases.iter().any(|other| folded(&other.address, config) == own) {
            return Some("there is such a list already".into());
        }
        if alias.members.is_empty() || alias.members.len() > MEMBERS {
            return Some(format!("1 to {MEMBERS} addresses are wanted"));
        }
        alias.members.iter().find_map(|member| {
            let local = self
                .domains
                .get(&member.domain)
                .is_some_and(|config| self.by_address.contains_key(&folded(member, config)));
            (!local).then(|| format!("{member} is not an address of an account here"))
        })
    }

    /// Notes that an account takes mail for an entry; somebody else's is a mistake.
    fn claim(&mut self, account: &str, entry: &Entry) -> Result<(), String> {
        match entry {
            Entry::Catchall(domain) => {
                self.domains.get(domain).ok_or_else(|| format!("@{domain}: no such domain in [domains]"))?;
                if let Some(other) = self.catchall.insert(domain.clone(), account.to_owned()) {
                    return Err(format!("@{domain} belongs to account {other} already"));
                }
            }
            Entry::Address(address) => {
                let config = self
                    .domains
                    .get(&address.domain)
                    .ok_or_else(|| format!("{address}: no such domain in [domains]"))?;
                let key = (address.domain.clone(), config.fold(address.local.as_str()));
                if let Some(other) = self.by_address.insert(key, account.to_owned()) {
                    return Err(format!("{address} belongs to account {other} already"));
                }
            }
        }
        Ok(())
    }

    /// The account that takes mail for an address, if any; the domain must be ours.
    #[must_use]
    pub fn account_of(&self, address: &Address) -> Option<&str> {
        let config = self.domains.get(&address.domain)?;
        let folded = config.fold(address.local.as_str());
        self.by_address
            .get(&(address.domain.clone(), folded))
            .or_else(|| self.catchall.get(&address.domain))
            .map(String::as_str)
    }
}

impl AliasConfig {
    fn read(name: &str, s: &mut Section<'_>) -> Option<Self> {
        let members = s.texts("addresses", Address::parse).unwrap_or_default();
        let (post_public, allow_msg_from) =
            (s.yes_no("post-public", true), s.yes_no("allow-msg-from", false));
        let list_members = s.yes_no("list-members", false);
        match Address::parse(name) {
            Ok(address) => Some(Self { address, members, post_public, allow_msg_from, list_members }),
            Err(error) => {
                s.mistake(format!("aliases.{name}: {error}"));
                None
            }
        }
    }
}

impl DomainConfig {
    /// The deciding part of a local part: before the first separator, case folded unless case matters.
    #[must_use]
    pub fn fold(&self, local: &str) -> String {
        let cut = self.separators.iter().filter_map(|s| local.find(s.as_str())).filter(|at| *at > 0).min();
        let deciding = &local[..cut.unwrap_or(local.len())];
        if self.case_sensitive { deciding.to_owned() } else { deciding.to_lowercase() }
    }
}

enum Entry {
    Address(Address),
    Catchall(Domain),
}

/// Rules of an address that is the account's.
fn destination(
    account: &AccountConfig,
    text: &str,
    s: &mut Section<'_>,
) -> Option<(Destination, DestinationConfig)> {
    let config = DestinationConfig::read(s);
    match entry(text) {
        Ok(Entry::Address(address)) if account.addresses.contains(&address) => {
            Some((Destination::Address(address), config))
        }
        Ok(Entry::Catchall(domain)) if account.catchall.contains(&domain) => {
            Some((Destination::Catchall(domain), config))
        }
        Ok(_) => {
            s.mistake(format!("{text} is not among the addresses of the account"));
            None
        }
        Err(error) => {
            s.mistake(format!("{text}: {error}"));
            None
        }
    }
}

/// A size, or "none" against the limit of all others (row ST-22).
fn quota(text: &str) -> Result<u64, String> {
    if text == "none" {
        return Ok(u64::MAX);
    }
    let bytes = parse_bytes(text).filter(|bytes| (1 << 20..=u64::MAX >> 1).contains(bytes));
    bytes.ok_or_else(|| "a size like \"5GiB\" from 1MiB, or \"none\", is wanted".to_owned())
}

fn entry(text: &str) -> Result<Entry, String> {
    match text.strip_prefix('@') {
        Some(domain) => Domain::parse(domain).map(Entry::Catchall).map_err(|e| e.to_string()),
        None => Address::parse(text).map(Entry::Address).map_err(|e| e.to_string()),
    }
}

fn separator(text: &str) -> Result<String, &'static str> {
    if text.is_empty()
        || text.len() > 8
        || text.chars().any(|c| c.is_alphanumeric() || c == '@' || c.is_control())
    {
        return Err("one or a few punctuation characters are wanted, such as \"+\"");
    }
    Ok(text.to_owned())
}

/// Row AU-12: shown by SMTP and IMAP, so plain ASCII.
fn disabled_text(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > DISABLED_TEXT || !text.bytes().all(|b| (b' '..0x7f).contains(&b)) {
        return Err(format!("1 to {DISABLED_TEXT} printable ASCII characters are wanted"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
[domains."example.org"]
localpart-catchall-separators = ["+", "--"]
[domains."bücher.example"]
localpart-case-sensitive = true
[accounts.jane]
addresses = ["jane@example.org", "Jane@bücher.example"]
[accounts.all]
addresses = ["@example.org"]
quota = "1GiB"
"#;

    #[test]
    fn an_address_finds_its_account() {
        let domains = Domains::parse(FILE).unwrap();
        for (address, account) in [
            ("jane@example.org", Some("jane")),
            ("JANE+lists@example.org", Some("jane")),
            ("jane--x@EXAMPLE.org", Some("jane")),
            ("+odd@example.org", Some("all")),
            ("other@example.org", Some("all")),
            ("Jane@xn--bcher-kva.example", Some("jane")),
            ("jane@xn--bcher-kva.example", None),
            ("jane@example.net", None),
        ] {
            assert_eq!(domains.account_of(&Address::parse(address).unwrap()), account, "{address}");
        }
    }

    /// Row ST-45: what is wrong with rules is told with its line.
    #[test]
    fn rules_are_read_and_checked() {
        let text = "[domains.\"a.example\"]\n[accounts.x]\naddresses = [\"x@a.example\"]\nquota = \"none\"\n\
                    [accounts.x.destinations.\"x@a.example\"]\nmailbox = \"Post\"\n\
                    [[accounts.x.destinations.\"x@a.example\".rules]]\nmailbox = \"Lists/a\"\n\
                    headers = { \"^list-id$\" = \"<a[.]example>\" }\nlist-allow-domain = \"a.example\"\n";
        let domains = Domains::parse(text).unwrap();
        let account = &domains.accounts["x"];
        assert_eq!(account.quota, Some(u64::MAX));
        let (destination, config) = &account.destinations[0];
        assert_eq!(*destination, Destination::Address(Address::parse("x@a.example").unwrap()));
        assert!(config.rules[0].headers[0].1.matches("list <a.example>"));
        let wrong = format!(
            "{text}[[accounts.x.destinations.\"x@a.example\".rules]]\nfrom = \"(\"\n\
             [accounts.x.destinations.\"y@a.example\"]\nmailbox = \"a\"\n"
        );
        let lines = Domains::parse(&wrong).unwrap_err().in_file("d").lines();
        assert_eq!(lines.len(), 4, "{lines:?}");
        assert!(
            lines[0].starts_with("d:11: ")
                && lines[2].starts_with("d:12: ")
                && lines[3].starts_with("d:13: "),
            "{lines:?}"
        );
        assert!(lines[3].ends_with("y@a.example is not among the addresses of the account"), "{lines:?}");
    }

    /// Rows SR-12, SR-15.
    #[test]
    fn lists_are_of_addresses_here() {
        let list = |name: &str, rest: &str| format!("{FILE}[aliases.\"{name}\"]\n{rest}\n");
        let jane = "addresses = [\"jane@example.org\"]";
        let read = Domains::parse(&list("team@example.org", jane)).unwrap();
        assert!(
            read.aliases[0].post_public && !read.aliases[0].allow_msg_from && !read.aliases[0].list_members
        );
        for (name, rest, wrong) in [
            ("team@example.net", jane, "no such domain"),
            ("JANE+x@example.org", jane, "belongs to account jane"),
            ("team", jane, "aliases.team: "),
            ("team@example.org", "addresses = []", "1 to 1000 addresses"),
            ("team@example.org", "addresses = [\"x@far.example\"]", "not an address of an account here"),
            ("team@example.org", "addresses = [\"other@example.org\"]", "not an address of an account here"),
        ] {
            let lines = Domains::parse(&list(name, rest)).unwrap_err().in_file("d").lines();
            assert!(lines[0].contains(wrong), "{lines:?}");
        }
    }

    /// Rows MA-18, MA-19.
    #[test]
    fn reports_have_an_address_of_their_own() {
        let text = |rest: &str| format!("{FILE}{rest}\n");
        let read = Domains::parse(&text(
            "[domains.\"example.org\".dmarc]\naccount = \"jane\"\n\
             [domains.\"only.example\".dmarc]\naccount = \"jane\"\ndomain = \"example.org\"\n\
             [domains.\"only.example\".tlsrpt]\naccount = \"all\"\nlocalpart = \"t\"\nmailbox = \"T\"",
        ));
        let read = read.map_err(|mistakes| mistakes.lines()).unwrap();
        let addresses: Vec<String> =
            read.reports().map(|(about, reports)| reports.address(about).to_string()).collect();
        assert_eq!(addresses, ["dmarc-reports@example.org", "dmarc-reports@example.org", "t@only.example"]);
        let about_tls: Vec<String> = read.tls_reports().map(|address| address.to_string()).collect();
        assert_eq!(about_tls, ["t@only.example"]);
        let dmarc = read.domains[&Domain::parse("only.example").unwrap()].dmarc.as_ref().unwrap();
        assert_eq!((dmarc.account.as_str(), dmarc.mailbox.as_str()), ("jane", "DMARC"));
        for (rest, wrong) in [
            ("localpart = \"x\"", "an account that gets the reports is wanted"),
            ("account = \"nobody\"", "no account nobody"),
            ("account = \"jane\"\ndomain = \"far.example\"", "no such domain"),
            ("account = \"jane\"\nlocalpart = \"JANE+x\"", "belongs to an account already"),
            (
                "account = \"jane\"\n[domains.\"example.org\".tlsrpt]\naccount = \"all\"\nlocalpart = \"dmarc-reports\"",
                "go somewhere else",
            ),
        ] {
            let lines = Domains::parse(&text(&format!("[domains.\"example.org\".dmarc]\n{rest}")))
                .unwrap_err()
                .in_file("d")
                .lines();
            assert!(lines[0].contains(wrong), "{rest}: {lines:?}");
        }
    }

    #[test]
    fn cross_references_are_checked_with_lines() {
        let text = "[domains.\"a.example\"]\n[accounts.x]\naddresses = [\"x@a.example\", \"x@b.example\"]\n\
                    [accounts.y]\naddresses = [\"X@a.example\"]\nlogin-disabled = \"é\"\n[accounts.\"a@b\"]\n";
        let lines = Domains::parse(text).unwrap_err().in_file("d").lines();
        assert_eq!(
            lines,
            [
                "d:2: accounts.x.addresses: x@b.example: no such domain in [domains]",
                "d:4: accounts.y.addresses: X@a.example belongs to account x already",
                "d:6: accounts.y.login-disabled: 1 to 255 printable ASCII characters are wanted",
                "d:7: accounts.a@b: an account name is letters, digits, \"-\", \"_\" and \".\"; it is no address",
            ]
        );
    }
}
