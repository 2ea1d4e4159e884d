//! Changes to `domains.toml` as text: what people wrote stays as they wrote it.
//!
//! Row CF-02: a change is computed from the text read, checked as a whole, and written only if the file is still the
//! same. Does not know: the store, the bus.

use crate::AdminError;
use libmox_service::config::{DOMAINS_FILE, Domains, NEW_ACCOUNT};
use libmox_types::{Address, Domain};
use std::io::Write;
use std::path::Path;
use toml_edit::{Array, DocumentMut, Item, Table, Value};

/// One change.
#[derive(Debug, Clone)]
pub enum Edit {
    /// A new account with its first address.
    AccountAdd { name: String, address: Address },
    /// An account goes.
    AccountRemove { name: String },
    /// Nobody may sign in, with the text to show; or again everybody.
    AccountLogin { name: String, disabled: Option<String> },
    /// One more address.
    AddressAdd { address: String, account: String },
    /// One less.
    AddressRemove { address: String },
    /// A new list of addresses.
    AliasAdd { address: Address, members: Vec<Address> },
    /// Who may write to it, as it, and see who is on it.
    AliasUpdate { address: Address, post_public: bool, allow_msg_from: bool, list_members: bool },
    /// A list goes.
    AliasRemove { address: Address },
    /// Members come and go.
    AliasMembers { address: Address, add: Vec<Address>, remove: Vec<Address> },
    /// A new domain.
    DomainAdd {
        domain: Domain,
        disabled: bool,
        /// Account that gets reports about it.
        reports: Option<String>,
    },
    /// How mail of a domain is signed, where the file does not say so yet (row MA-05).
    DomainDkim {
        domain: Domain,
        /// The first signs.
        selectors: Vec<String>,
    },
    /// A domain goes; nobody may have addresses in it.
    DomainRemove { domain: Domain },
    /// Mail for it is refused for now, or again taken.
    DomainDisabled { domain: Domain, disabled: bool },
}

/// How long the signatures of a new domain hold. Row MA-05.
const SIGNATURE_AGE: &str = "72h";

/// The text after the change, checked.
pub fn apply(text: &str, edit: &Edit) -> Result<String, AdminError> {
    let mut document: DocumentMut = text
        .parse()
        .map_err(|error: toml_edit::TomlError| AdminError::Mistakes(format!("{DOMAINS_FILE}: {error}")))?;
    change(document.as_table_mut(), edit)?;
    let fresh = document.to_string();
    Domains::parse(&fresh).map_err(|mistakes| AdminError::Mistakes(mistakes.to_string()))?;
    Ok(fresh)
}

fn change(root: &mut Table, edit: &Edit) -> Result<(), AdminError> {
    match edit {
        Edit::AccountAdd { name, address } => {
            let accounts = table(root, "accounts")?;
            if accounts.contains_key(name) {
                return Err(AdminError::Exists(format!("account {name}")));
            }
            let mut account = Table::new();
            account.insert("addresses", Item::Value(Value::Array(Array::from_iter([address.to_string()]))));
            let defaults: DocumentMut = NEW_ACCOUNT
                .parse()
                .map_err(|error: toml_edit::TomlError| AdminError::Mistakes(error.to_string()))?;
            for (key, value) in defaults.as_table() {
                account.insert(key, value.clone());
            }
            accounts.insert(name, Item::Table(account));
        }
        Edit::AccountRemove { name } => {
            table(root, "accounts")?
                .remove(name)
                .ok_or_else(|| AdminError::NotFound(format!("account {name}")))?;
        }
        Edit::AccountLogin { name, disabled } => {
            let account = existing(table(root, "accounts")?, name, "account")?;
            match disabled {
                Some(text) => drop(account.insert("login-disabled", Item::Value(Value::from(text.as_str())))),
                None => drop(account.remove("login-disabled")),
            }
        }
        Edit::AddressAdd { address, account } => {
            let account = existing(table(root, "accounts")?, account, "account")?;
            let list = account.entry("addresses").or_insert_with(|| Item::Value(Value::Array(Array::new())));
            let list =
                list.as_array_mut().ok_or_else(|| AdminError::Invalid("addresses is no list".into()))?;
            list.push(address.as_str());
        }
        Edit::AddressRemove { address } => {
            let accounts = table(root, "accounts")?;
            let mut removed = false;
            for (_, account) in accounts.iter_mut() {
                let Some(list) = account.get_mut("addresses").and_then(Item::as_array_mut) else { continue };
                let before = list.len();
                list.retain(|entry| !entry.as_str().is_some_and(|entry| same(entry, address)));
                removed |= list.len() < before;
            }
            if !removed {
                return Err(AdminError::NotFound(format!("address {address}")));
            }
        }
        Edit::AliasAdd { address, members } => {
            let aliases = table(root, "aliases")?;
            if alias_key(aliases, address).is_some() {
                return Err(AdminError::Exists(format!("list {address}")));
            }
            let mut fresh = Table::new();
            let members = Array::from_iter(members.iter().map(ToString::to_string));
            fresh.insert("addresses", Item::Value(Value::Array(members)));
            // Row SR-15: said where people look.
            fresh.insert("post-public", Item::Value(Value::from(true)));
            aliases.insert(&address.to_string(), Item::Table(fresh));
        }
        Edit::AliasUpdate { address, post_public, allow_msg_from, list_members } => {
            let alias = existing_alias(root, address)?;
            alias.insert("post-public", Item::Value(Value::from(*post_public)));
            alias.insert("allow-msg-from", Item::Value(Value::from(*allow_msg_from)));
            alias.insert("list-members", Item::Value(Value::from(*list_members)));
        }
        Edit::AliasRemove { address } => {
            let aliases = table(root, "aliases")?;
            let key =
                alias_key(aliases, address).ok_or_else(|| AdminError::NotFound(format!("list {address}")))?;
            aliases.remove(&key);
        }
        Edit::AliasMembers { address, add, remove } => {
            let alias = existing_alias(root, address)?;
            let list = alias.entry("addresses").or_insert_with(|| Item::Value(Value::Array(Array::new())));
            let list =
                list.as_array_mut().ok_or_else(|| AdminError::Invalid("addresses is no list".into()))?;
            for member in remove {
                let text = member.to_string();
                let before = list.len();
                list.retain(|entry| !entry.as_str().is_some_and(|entry| same(entry, &text)));
                if list.len() == before {
                    return Err(AdminError::NotFound(format!("member {member}")));
                }
            }
            for member in add {
                let text = member.to_string();
                if list.iter().any(|entry| entry.as_str().is_some_and(|entry| same(entry, &text))) {
                    return Err(AdminError::Exists(format!("member {member}")));
                }
                list.push(text);
            }
        }
        Edit::DomainAdd { domain, disabled, reports } => {
            let domains = table(root, "domains")?;
            if key_of(domains, domain).is_some() {
                return Err(AdminError::Exists(format!("domain {domain}")));
            }
            let mut fresh = Table::new();
            if *disabled {
                fresh.insert("disabled", Item::Value(Value::from(true)));
            }
            for kind in ["dmarc", "tlsrpt"] {
                if let Some(account) = reports {
                    let mut to = Table::new();
                    to.insert("account", Item::Value(Value::from(account.as_str())));
                    fresh.insert(kind, Item::Table(to));
                }
            }
            domains.insert(domain.unicode(), Item::Table(fresh));
        }
        Edit::DomainDkim { domain, selectors } => {
            let domains = table(root, "domains")?;
            let key =
                key_of(domains, domain).ok_or_else(|| AdminError::NotFound(format!("domain {domain}")))?;
            let domain = existing(domains, &key, "domain")?;
            if domain.contains_key("dkim") {
                return Ok(());
            }
            let mut dkim = Table::new();
            dkim.insert("sign", Item::Value(Value::Array(selectors.iter().take(1).collect())));
            let mut all = Table::new();
            all.set_implicit(true);
            for selector in selectors {
                let mut one = Table::new();
                one.insert("expiration", Item::Value(Value::from(SIGNATURE_AGE)));
                all.insert(selector, Item::Table(one));
            }
            dkim.insert("selectors", Item::Table(all));
            domain.insert("dkim", Item::Table(dkim));
        }
        Edit::DomainRemove { domain } => {
            let domains = table(root, "domains")?;
            let key =
                key_of(domains, domain).ok_or_else(|| AdminError::NotFound(format!("domain {domain}")))?;
            domains.remove(&key);
        }
        Edit::DomainDisabled { domain, disabled } => {
            let domains = table(root, "domains")?;
            let key =
                key_of(domains, domain).ok_or_else(|| AdminError::NotFound(format!("domain {domain}")))?;
            existing(domains, &key, "domain")?.insert("disabled", Item::Value(Value::from(*disabled)));
        }
    }
    Ok(())
}

/// The table `name` of the root; `[domains]` itself need not stand in the file.
fn table<'a>(root: &'a mut Table, name: &str) -> Result<&'a mut Table, AdminError> {
    let item = root.entry(name).or_insert_with(|| {
        let mut fresh = Table::new();
        fresh.set_implicit(true);
        Item::Table(fresh)
    });
    item.as_table_mut().ok_or_else(|| AdminError::Invalid(format!("[{name}] is no table")))
}

fn existing<'a>(list: &'a mut Table, name: &str, kind: &str) -> Result<&'a mut Table, AdminError> {
    list.get_mut(name)
        .and_then(Item::as_table_mut)
        .ok_or_else(|| AdminError::NotFound(format!("{kind} {name}")))
}

/// The key of a list as written, whichever spelling of its address it is.
fn alias_key(aliases: &Table, address: &Address) -> Option<String> {
    let text = address.to_string();
    aliases.iter().map(|(key, _)| key.to_owned()).find(|key| same(key, &text))
}

fn existing_alias<'a>(root: &'a mut Table, address: &Address) -> Result<&'a mut Table, AdminError> {
    let aliases = table(root, "aliases")?;
    let key = alias_key(aliases, address).ok_or_else(|| AdminError::NotFound(format!("list {address}")))?;
    existing(aliases, &key, "list")
}

/// The key as written, whichever spelling of the domain it is.
fn key_of(domains: &Table, domain: &Domain) -> Option<String> {
    domains.iter().map(|(key, _)| key.to_owned()).find(|key| Domain::parse(key).is_ok_and(|d| d == *domain))
}

fn same(entry: &str, address: &str) -> bool {
    entry == address
        || matches!((Address::parse(entry), Address::parse(address)), (Ok(one), Ok(other)) if one == other)
        || matches!(
            (entry.strip_prefix('@').map(Domain::parse), address.strip_prefix('@').map(Domain::parse)),
            (Some(Ok(one)), Some(Ok(other))) if one == other
        )
}

/// The file's text; empty if it is not there yet.
pub fn read(folder: &Path) -> Result<String, AdminError> {
    let path = folder.join(DOMAINS_FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(AdminError::File(format!("{}: {error}", path.display()))),
    }
}

/// Replaces the file if it still says `before`.
pub fn write(folder: &Path, before: &str, after: &str) -> Result<(), AdminError> {
    use std::os::unix::fs::OpenOptionsExt;
    let path = folder.join(DOMAINS_FILE);
    let new = folder.join(format!("{DOMAINS_FILE}.new"));
    let failed = |error: std::io::Error| AdminError::File(format!("{}: {error}", path.display()));
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o640)
        .open(&new)
        .map_err(failed)?;
    file.write_all(after.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    if read(folder)? != before {
        let _ = std::fs::remove_file(&new);
        return Err(AdminError::Stale);
    }
    std::fs::rename(&new, &path).and_then(|()| std::fs::File::open(folder)?.sync_all()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# ours\n[domains.\"example.org\"] # main\n\n[accounts.jane]\n# her\naddresses = [\"jane@example.org\"]\n";

    #[test]
    fn comments_stay_and_changes_read_back() {
        let domain = Domain::parse("bücher.example").unwrap();
        let text =
            apply(FILE, &Edit::DomainAdd { domain: domain.clone(), disabled: true, reports: None }).unwrap();
        let text =
            apply(&text, &Edit::AddressAdd { address: "j@bücher.example".into(), account: "jane".into() })
                .unwrap();
        let selectors = vec!["2026a".to_owned(), "2026b".to_owned()];
        let dkim = Edit::DomainDkim { domain: domain.clone(), selectors };
        let text = apply(&text, &dkim).unwrap();
        assert_eq!(apply(&text, &dkim).unwrap(), text);
        let its = Domains::parse(&text).unwrap().domains[&domain].dkim.clone();
        assert_eq!(its.sign, Some(vec!["2026a".to_owned()]));
        for selector in ["2026a", "2026b"] {
            assert_eq!(its.selectors[selector].expiration.unwrap(), 72 * 3600);
        }
        let joe = Edit::AccountAdd { name: "joe".into(), address: "joe@example.org".parse().unwrap() };
        let text = apply(&text, &joe).unwrap();
        let text =
            apply(&text, &Edit::AccountLogin { name: "joe".into(), disabled: Some("gone".into()) }).unwrap();
        assert!(
            text.starts_with("# ours\n[domains.\"example.org\"] # main\n") && text.contains("# her\n"),
            "{text}"
        );
        let read = Domains::parse(&text).unwrap();
        assert!(read.domains[&domain].disabled);
        assert_eq!(read.accounts["jane"].addresses.len(), 2);
        let account = &read.accounts["joe"];
        assert_eq!(account.login_disabled.as_deref(), Some("gone"));
        // Rows JK-02, JK-11, JK-14.
        let filter = libmox_service::config::JunkFilterConfig { enabled: true, ..Default::default() };
        assert_eq!((&account.junk_filter, account.subject_pass), (&filter, 12 * 3600));
        assert_eq!(account.automatic_junk_flags, Some(Default::default()));
        assert_eq!(account.rejects.as_ref().map(libmox_types::MailboxName::as_str), Some("Rejects"));
        let text = apply(&text, &Edit::AddressRemove { address: "j@xn--bcher-kva.example".into() }).unwrap();
        let text = apply(&text, &Edit::DomainRemove { domain }).unwrap();
        let text = apply(&text, &Edit::AccountRemove { name: "joe".into() }).unwrap();
        assert_eq!(Domains::parse(&text), Domains::parse(FILE));
    }

    /// Row MA-18: whoever gets postmaster of a new domain gets reports about it.
    #[test]
    fn a_new_domain_has_an_address_for_reports() {
        let domain = Domain::parse("new.example").unwrap();
        let add = |account: &str| Edit::DomainAdd {
            domain: domain.clone(),
            disabled: false,
            reports: Some(account.into()),
        };
        let read = Domains::parse(&apply(FILE, &add("jane")).unwrap()).unwrap();
        let addresses: Vec<String> =
            read.reports().map(|(about, to)| to.address(about).to_string()).collect();
        assert_eq!(addresses, ["dmarc-reports@new.example", "tls-reports@new.example"]);
        assert!(apply(FILE, &add("joe")).unwrap_err().to_string().contains("no account joe"));
    }

    /// Rows SR-12, SR-15.
    #[test]
    fn lists_come_change_and_go() {
        let address = |text: &str| Address::parse(text).unwrap();
        let team = || address("team@example.org");
        let add = Edit::AliasAdd { address: team(), members: vec![address("jane@example.org")] };
        let text = apply(FILE, &add).unwrap();
        assert!(Domains::parse(&text).unwrap().aliases[0].post_public);
        assert!(apply(&text, &add).unwrap_err().to_string().contains("exists already"));
        let text =
            apply(&text, &Edit::AddressAdd { address: "j2@example.org".into(), account: "jane".into() })
                .unwrap();
        let (j2, none) = (|| vec![address("j2@example.org")], Vec::new);
        let members =
            |add: Vec<Address>, remove: Vec<Address>| Edit::AliasMembers { address: team(), add, remove };
        let text = apply(&text, &members(j2(), none())).unwrap();
        assert!(apply(&text, &members(j2(), none())).is_err(), "twice");
        let text = apply(
            &text,
            &Edit::AliasUpdate {
                address: team(),
                post_public: false,
                allow_msg_from: true,
                list_members: true,
            },
        )
        .unwrap();
        let alias = &Domains::parse(&text).unwrap().aliases[0];
        assert_eq!((alias.members.len(), alias.post_public, alias.allow_msg_from), (2, false, true));
        assert!(alias.list_members);
        // A member's address cannot go while it is one.
        let gone = Edit::AddressRemove { address: "j2@example.org".into() };
        assert!(apply(&text, &gone).unwrap_err().to_string().contains("not an address of an account"));
        let text = apply(&text, &members(none(), j2())).unwrap();
        assert!(apply(&text, &members(none(), j2())).is_err(), "not there");
        assert!(apply(&text, &members(none(), vec![address("jane@example.org")])).is_err(), "the last one");
        let text = apply(&text, &Edit::AliasRemove { address: team() }).unwrap();
        assert!(Domains::parse(&text).unwrap().aliases.is_empty());
        assert!(apply(&text, &Edit::AliasRemove { address: team() }).is_err());
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let refused = |edit: Edit| apply(FILE, &edit).unwrap_err().to_string();
        let org = Domain::parse("example.org").unwrap();
        assert!(
            refused(Edit::DomainAdd { domain: org.clone(), disabled: false, reports: None })
                .contains("exists already")
        );
        assert!(refused(Edit::DomainRemove { domain: org }).contains("no such domain in [domains]"));
        assert!(refused(Edit::AccountRemove { name: "x".into() }).contains("does not exist"));
        assert!(
            refused(Edit::AddressAdd { address: "Jane@example.org".into(), account: "jane".into() })
                .contains("already")
        );
        let address = "x@example.org".parse().unwrap();
        assert!(refused(Edit::AccountAdd { name: "a@b".into(), address }).contains("account name"));
    }

    #[test]
    fn a_file_changed_underneath_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "", FILE).unwrap();
        assert!(matches!(write(dir.path(), "", "x"), Err(AdminError::Stale)));
        assert_eq!(read(dir.path()).unwrap(), FILE);
    }
}
