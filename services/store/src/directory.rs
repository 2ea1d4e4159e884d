//! Who is who: domains, addresses and accounts of the configuration, with the ids the store gave the accounts.
//!
//! Row DF-08: an account is named by a word; an address leads to an account. Rows SR-10, SR-11: folding.

use crate::junk::Habits;
use crate::rates::DeliveryLimits;
use libmox_service::config::{
    AliasConfig, AutomaticJunkFlags, Destination as Key, DestinationConfig, InitialMailboxes,
    JunkFilterConfig, ReportsConfig,
};
use libmox_store::RecipientPath;
use libmox_types::{AccountId, Address, Domain, LocalPart, MailboxName};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// What the store takes from `mox.toml`.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Name of this machine in mail.
    pub hostname: Domain,
    /// Other names of it, of listeners.
    pub hostnames: Vec<Domain>,
    /// Account that gets mail for postmaster, and for local users without an account.
    pub postmaster: Option<String>,
    /// Where it arrives there, if not where the account's mail does.
    pub postmaster_mailbox: Option<MailboxName>,
    /// Quota of accounts without one of their own.
    pub quota: Option<u64>,
    /// Failed logins of one address class a minute.
    pub login_failures_per_minute: u32,
    /// What a new account has besides Inbox.
    pub initial: InitialMailboxes,
    /// Mail an account takes of one class of addresses (row SR-32).
    pub deliveries: DeliveryLimits,
}

/// One account of the configuration.
#[derive(Debug, Clone, Default)]
pub struct Configured {
    /// The first one is what it sends as.
    pub addresses: Vec<Address>,
    /// Whole domains.
    pub catchall: Vec<Domain>,
    /// Why nobody may sign in.
    pub login_disabled: Option<String>,
    /// IMAP capabilities that its clients cannot cope with.
    pub disabled_capabilities: Vec<String>,
    /// It may open URLs that are for submission servers.
    pub submission_server: bool,
    /// Octets of mail.
    pub quota: Option<u64>,
    /// Where its mail arrives.
    pub mailbox: Option<MailboxName>,
    /// Where refused mail is kept.
    pub rejects: Option<MailboxName>,
    /// For good.
    pub keep_rejects: bool,
    /// How long what left the queue is known, in seconds.
    pub keep_retired: i64,
    /// How much it may send.
    pub sending: SendingLimits,
    /// Who signs in with one of these sends each copy from an address of its own (row SU-08).
    pub fromid_logins: Vec<Address>,
    /// Where the first message of somebody goes.
    pub introbox: Option<MailboxName>,
    /// Judges content.
    pub junk_filter: JunkFilterConfig,
    /// Whose word in an ARC seal is believed.
    pub arc_sealers: Vec<Domain>,
    /// New senders need not wait.
    pub no_first_time_delay: bool,
    /// How long a token in the subject is good, in seconds.
    pub subject_pass: i64,
    /// Flags that mailboxes give.
    pub automatic_junk_flags: Option<AutomaticJunkFlags>,
    /// What is told apart by the address it came to.
    pub destinations: Vec<(Key, DestinationConfig)>,
}

/// How much an account may send in a day (row SU-04).
#[derive(Debug, Clone, Copy)]
pub struct SendingLimits {
    /// Recipients of all messages.
    pub messages: u32,
    /// Of them, those it never wrote to before.
    pub first_time: u32,
}

impl Default for SendingLimits {
    fn default() -> Self {
        Self { messages: 1_000, first_time: 200 }
    }
}

/// One domain of the configuration.
#[derive(Debug, Clone, Default)]
pub struct DomainRules {
    /// Takes and sends nothing for now.
    pub disabled: bool,
    /// What ends the deciding part of a local part.
    pub separators: Vec<String>,
    /// `Jane` and `jane` are two.
    pub case_sensitive: bool,
}

/// One generation of the configuration. Never changed, only replaced.
#[derive(Debug, Clone)]
pub struct Directory {
    /// Its number.
    pub generation: u64,
    /// From `mox.toml`.
    pub settings: Settings,
    /// By name.
    pub accounts: BTreeMap<String, Configured>,
    /// Ours.
    pub domains: BTreeMap<Domain, DomainRules>,
    /// Lists, by folded address.
    aliases: HashMap<(Domain, String), Arc<AliasConfig>>,
    /// Ids of the accounts, once the store has made them.
    pub ids: HashMap<String, AccountId>,
    addresses: HashMap<(Domain, String), String>,
    catchalls: HashMap<Domain, String>,
    address_rules: HashMap<(Domain, String), Arc<DestinationConfig>>,
    catchall_rules: HashMap<Domain, Arc<DestinationConfig>>,
    /// Addresses for reports: the account, and a destination that is the mailbox for them.
    reports: HashMap<(Domain, String), (String, Arc<DestinationConfig>)>,
    /// Of them those for reports about TLS.
    tls_reports: HashSet<(Domain, String)>,
}

/// Where an address leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// To this account.
    Account(String, AccountId),
    /// To the members of a list.
    List(Arc<AliasConfig>),
    /// Our domain, nobody of that name.
    Nobody,
    /// Our domain, switched off.
    Disabled,
    /// Somebody else's domain.
    Foreign,
}

impl Directory {
    /// Puts the parts together. Ids are filled in by the store.
    pub fn new(
        generation: u64,
        settings: Settings,
        domains: BTreeMap<Domain, DomainRules>,
        accounts: BTreeMap<String, Configured>,
    ) -> Self {
        let mut directory = Self {
            generation,
            settings,
            domains,
            accounts,
            aliases: HashMap::new(),
            ids: HashMap::new(),
            addresses: HashMap::new(),
            catchalls: HashMap::new(),
            address_rules: HashMap::new(),
            catchall_rules: HashMap::new(),
            reports: HashMap::new(),
            tls_reports: HashSet::new(),
        };
        for (name, account) in &directory.accounts {
            for address in &account.addresses {
                if let Some(rules) = directory.domains.get(&address.domain) {
                    let key = (address.domain.clone(), rules.fold(&address.local));
                    directory.addresses.insert(key, name.clone());
                }
            }
            for domain in &account.catchall {
                directory.catchalls.insert(domain.clone(), name.clone());
            }
            for (key, config) in &account.destinations {
                let config = Arc::new(config.clone());
                match key {
                    Key::Address(address) => {
                        if let Some(rules) = directory.domains.get(&address.domain) {
                            let key = (address.domain.clone(), rules.fold(&address.local));
                            directory.address_rules.insert(key, config);
                        }
                    }
                    Key::Catchall(domain) => drop(directory.catchall_rules.insert(domain.clone(), config)),
                }
            }
        }
        directory
    }

    fn account(&self, name: &str) -> Destination {
        match self.ids.get(name) {
            Some(id) => Destination::Account(name.to_owned(), *id),
            None => Destination::Nobody,
        }
    }

    fn postmaster(&self) -> Destination {
        self.settings.postmaster.as_deref().map_or(Destination::Nobody, |name| self.account(name))
    }

    /// Where a recipient leads.
    pub fn resolve(&self, recipient: &RecipientPath) -> Destination {
        match recipient {
            RecipientPath::Postmaster => self.postmaster(),
            RecipientPath::Address(address) => self.resolve_address(address),
            // An address literal names this machine, whose people live at its host name.
            RecipientPath::Literal(local, _) => self
                .resolve_address(&Address { local: local.clone(), domain: self.settings.hostname.clone() }),
        }
    }

    /// With these lists.
    #[must_use]
    pub fn with_aliases(mut self, aliases: &[AliasConfig]) -> Self {
        for alias in aliases {
            if let Some(rules) = self.domains.get(&alias.address.domain) {
                let key = (alias.address.domain.clone(), rules.fold(&alias.address.local));
                self.aliases.insert(key, Arc::new(alias.clone()));
            }
        }
        self
    }

    /// With these addresses for reports, each with the domain it is about (row MA-18).
    #[must_use]
    pub fn with_reports<'a>(mut self, all: impl Iterator<Item = (&'a Domain, &'a ReportsConfig)>) -> Self {
        for (about, config) in all {
            let address = config.address(about);
            if let Some(rules) = self.domains.get(&address.domain) {
                let key = (address.domain.clone(), rules.fold(&address.local));
                let mailbox = Some(config.mailbox.clone());
                let destination = Arc::new(DestinationConfig { mailbox, ..DestinationConfig::default() });
                self.reports.insert(key, (config.account.clone(), destination));
            }
        }
        self
    }

    /// With these of them for reports about TLS.
    #[must_use]
    pub fn with_tls_reports(mut self, all: impl Iterator<Item = Address>) -> Self {
        for address in all {
            if let Some(rules) = self.domains.get(&address.domain) {
                let local = rules.fold(&address.local);
                self.tls_reports.insert((address.domain, local));
            }
        }
        self
    }

    /// Row SR-07: whether others report there that our TLS is broken.
    pub fn is_about_tls(&self, recipient: &RecipientPath) -> bool {
        let RecipientPath::Address(address) = recipient else { return false };
        let fold = |rules: &DomainRules| (address.domain.clone(), rules.fold(&address.local));
        self.domains.get(&address.domain).is_some_and(|rules| self.tls_reports.contains(&fold(rules)))
    }

    /// Whether reports of others are sent there: to whom they go, and where.
    pub fn reports(&self, recipient: &RecipientPath) -> Option<&(String, Arc<DestinationConfig>)> {
        let RecipientPath::Address(address) = recipient else { return None };
        let rules = self.domains.get(&address.domain)?;
        self.reports.get(&(address.domain.clone(), rules.fold(&address.local)))
    }

    /// Row SR-14: whether somebody may write to a list, by the address in From.
    pub fn may_post(&self, alias: &AliasConfig, from: Option<&Address>) -> bool {
        alias.post_public
            || from.is_some_and(|from| alias.members.iter().any(|member| self.is_same(member, from)))
    }

    /// Row SR-13: the members who get a message: all but its author. Where nobody else is left, the author does, so
    /// that the message is somewhere.
    pub fn readers(&self, alias: &AliasConfig, from: Option<&Address>) -> Vec<Address> {
        let author = |member: &Address| from.is_some_and(|from| self.is_same(member, from));
        let others: Vec<Address> = alias.members.iter().filter(|member| !author(member)).cloned().collect();
        if others.is_empty() { alias.members.clone() } else { others }
    }

    /// Whether two addresses are one here: folded as their domain says.
    pub fn is_same(&self, one: &Address, other: &Address) -> bool {
        let fold = |address: &Address| match self.domains.get(&address.domain) {
            Some(rules) => rules.fold(&address.local),
            None => address.local.as_str().to_lowercase(),
        };
        one.domain == other.domain && fold(one) == fold(other)
    }

    /// Where an address leads.
    pub fn resolve_address(&self, address: &Address) -> Destination {
        let Some(rules) = self.domains.get(&address.domain) else {
            if !self.is_host(&address.domain) {
                return Destination::Foreign;
            }
            return match is_of_machine(&address.local) {
                true => self.postmaster(),
                false => self.account(&address.local.as_str().to_ascii_lowercase()),
            };
        };
        if rules.disabled {
            return Destination::Disabled;
        }
        let key = (address.domain.clone(), rules.fold(&address.local));
        if let Some(name) = self.addresses.get(&key) {
            return self.account(name);
        }
        if let Some(alias) = self.aliases.get(&key) {
            return Destination::List(alias.clone());
        }
        if let Some((name, _)) = self.reports.get(&key) {
            return self.account(name);
        }
        if is_postmaster(&address.local) {
            return self.postmaster();
        }
        self.catchalls.get(&address.domain).map_or(Destination::Nobody, |name| self.account(name))
    }

    /// The account an address signs in to. Catch-alls are for mail only (row TR-20).
    pub fn login(&self, address: &Address) -> Option<(&str, AccountId)> {
        let rules = self.domains.get(&address.domain)?;
        let name = self.addresses.get(&(address.domain.clone(), rules.fold(&address.local)))?;
        Some((name, *self.ids.get(name)?))
    }

    /// Whether an account may send with an address (row SU-03).
    pub fn may_send_as(&self, account: &str, address: &Address) -> bool {
        match self.domains.get(&address.domain) {
            Some(rules) if !rules.disabled => {
                let key = (address.domain.clone(), rules.fold(&address.local));
                // Row SR-14.
                if let Some(alias) = self.aliases.get(&key) {
                    let own = |member: &Address| self.login(member).is_some_and(|(name, _)| name == account);
                    return alias.allow_msg_from && alias.members.iter().any(own);
                }
                match self.addresses.get(&key) {
                    Some(owner) => owner == account,
                    None => self.catchalls.get(&address.domain).is_some_and(|owner| owner == account),
                }
            }
            _ => false,
        }
    }

    /// Octets an account may use.
    pub fn quota(&self, account: &str) -> Option<u64> {
        let own = self.accounts.get(account).and_then(|account| account.quota);
        own.or(self.settings.quota).filter(|quota| *quota < u64::MAX)
    }

    /// IMAP capabilities that the clients of an account cannot cope with.
    pub fn disabled_capabilities(&self, account: &str) -> Vec<String> {
        self.accounts.get(account).map(|account| account.disabled_capabilities.clone()).unwrap_or_default()
    }

    /// Whether an account may open URLs that are for submission servers.
    pub fn is_submission_server(&self, account: &str) -> bool {
        self.accounts.get(account).is_some_and(|account| account.submission_server)
    }

    /// Why nobody may sign in to an account.
    pub fn login_disabled(&self, account: &str) -> Option<&str> {
        self.accounts.get(account)?.login_disabled.as_deref()
    }

    /// Whether a name is one of this machine.
    pub fn is_host(&self, name: &Domain) -> bool {
        *name == self.settings.hostname || self.settings.hostnames.contains(name)
    }

    /// The rules for a recipient, where the address it came to has some.
    pub fn rules(&self, recipient: &RecipientPath) -> Option<Arc<DestinationConfig>> {
        let address = match recipient {
            RecipientPath::Address(address) => address,
            RecipientPath::Postmaster => return self.postmaster_rules(),
            RecipientPath::Literal(local, _) => {
                return is_of_machine(local).then(|| self.postmaster_rules()).flatten();
            }
        };
        let Some(rules) = self.domains.get(&address.domain) else {
            let ours = self.is_host(&address.domain) && is_of_machine(&address.local);
            return ours.then(|| self.postmaster_rules()).flatten();
        };
        let key = (address.domain.clone(), rules.fold(&address.local));
        if let Some((_, destination)) = self.reports.get(&key) {
            return Some(destination.clone());
        }
        match self.addresses.contains_key(&key) {
            true => self.address_rules.get(&key).cloned(),
            false if is_postmaster(&address.local) => self.postmaster_rules(),
            false => self.catchall_rules.get(&address.domain).cloned(),
        }
    }

    /// Row SR-16.
    fn postmaster_rules(&self) -> Option<Arc<DestinationConfig>> {
        let mailbox = Some(self.settings.postmaster_mailbox.clone()?);
        Some(Arc::new(DestinationConfig { mailbox, ..DestinationConfig::default() }))
    }

    /// What an account says about junk.
    pub fn habits(&self, account: &str) -> Habits {
        self.accounts.get(account).map_or_else(Habits::default, |account| {
            Habits::new(&account.junk_filter, account.automatic_junk_flags.clone())
        })
    }

    /// Where an account's mail arrives.
    pub fn arrives_in(&self, account: &str) -> MailboxName {
        self.accounts
            .get(account)
            .and_then(|account| account.mailbox.clone())
            .unwrap_or_else(MailboxName::inbox)
    }
}

fn is_postmaster(local: &LocalPart) -> bool {
    local.as_str().eq_ignore_ascii_case("postmaster")
}

/// RFC 5321 §4.5.1; and cron writes to root at this machine.
fn is_of_machine(local: &LocalPart) -> bool {
    let names = ["postmaster", "root", "abuse", "mailer-daemon"];
    names.iter().any(|name| local.as_str().eq_ignore_ascii_case(name))
}

impl DomainRules {
    /// The deciding part of a local part.
    pub fn fold(&self, local: &LocalPart) -> String {
        let text = local.as_str();
        let cuts = self.separators.iter().filter_map(|separator| text.find(separator.as_str()));
        let deciding = &text[..cuts.filter(|at| *at > 0).min().unwrap_or(text.len())];
        if self.case_sensitive { deciding.to_owned() } else { deciding.to_lowercase() }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    /// Two domains, `jane` (postmaster) and `bob` with a catch-all.
    pub fn sample() -> Directory {
        let domain = |text: &str| Domain::parse(text).unwrap();
        let settings = Settings {
            hostname: domain("mail.example.org"),
            hostnames: vec![domain("in.example.org")],
            postmaster: Some("jane".into()),
            postmaster_mailbox: None,
            quota: None,
            login_failures_per_minute: 10,
            initial: InitialMailboxes::default(),
            deliveries: DeliveryLimits { messages: 100_000, octets: u64::MAX },
        };
        let domains = BTreeMap::from([
            (domain("example.org"), DomainRules { separators: vec!["+".into()], ..DomainRules::default() }),
            (domain("off.example"), DomainRules { disabled: true, ..DomainRules::default() }),
            (domain("all.example"), DomainRules { case_sensitive: true, ..DomainRules::default() }),
        ]);
        let accounts = BTreeMap::from([
            (
                "jane".to_owned(),
                Configured { addresses: vec![address("jane@example.org")], ..Configured::default() },
            ),
            (
                "bob".to_owned(),
                Configured {
                    addresses: vec![address("bob@example.org"), address("Bob@all.example")],
                    catchall: vec![domain("all.example")],
                    ..Configured::default()
                },
            ),
        ]);
        let mut directory = Directory::new(1, settings, domains, accounts);
        directory.ids = HashMap::from([("jane".into(), AccountId(1)), ("bob".into(), AccountId(2))]);
        directory
    }

    #[test]
    fn addresses_lead_to_accounts() {
        let directory = sample();
        let jane = Destination::Account("jane".into(), AccountId(1));
        let bob = Destination::Account("bob".into(), AccountId(2));
        for (text, want) in [
            ("jane@example.org", &jane),
            ("JANE+lists@Example.ORG", &jane),
            ("nobody@example.org", &Destination::Nobody),
            ("postmaster@example.org", &jane),
            ("Postmaster@mail.example.org", &jane),
            ("postmaster@in.example.org", &jane),
            ("postmaster@all.example", &jane),
            ("root@mail.example.org", &jane),
            ("bob@mail.example.org", &bob),
            ("x@mail.example.org", &Destination::Nobody),
            ("anyone@all.example", &bob),
            ("jane@off.example", &Destination::Disabled),
            ("jane@example.net", &Destination::Foreign),
        ] {
            assert_eq!(&directory.resolve_address(&address(text)), want, "{text}");
        }
        assert_eq!(directory.resolve(&RecipientPath::Postmaster), jane);
        assert_eq!(directory.login(&address("anyone@all.example")), None, "catch-alls are for mail");
        assert!(directory.may_send_as("bob", &address("anyone@all.example")));
        assert!(!directory.may_send_as("bob", &address("jane@example.org")));
        assert!(!directory.may_send_as("jane", &address("jane@off.example")));
    }
}
