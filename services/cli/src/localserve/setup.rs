//! Configuration, accounts and authority of a local instance.

use anyhow::{Context as _, bail};
use libmox_keys::{Authority, Keys, KeysRole};
use libmox_service::config;
use libmox_store::{AccountSetPassword, Role, Store};
use libmox_types::Address;
use std::fmt::Write as _;
use std::path::Path;
use toml_edit::{DocumentMut, Item, Table, Value};

/// An account to have.
#[derive(Debug, Clone)]
pub struct Account {
    /// Login and address.
    pub address: Address,
    /// Password.
    pub password: String,
    /// Name in the configuration.
    pub name: String,
}

/// The account that is always there.
const DEFAULT: &str = "mox@localhost:moxmoxmox";

/// Reads `--account` values; the default account comes first.
pub fn accounts(asked: &[String]) -> anyhow::Result<Vec<Account>> {
    let mut list: Vec<Account> = Vec::new();
    for text in std::iter::once(DEFAULT).chain(asked.iter().map(String::as_str)) {
        let (address, password) =
            text.split_once(':').with_context(|| format!("--account {text}: ADDRESS:PASSWORD is wanted"))?;
        let address = Address::parse(address).with_context(|| format!("--account {text}"))?;
        if password.chars().count() < 8 {
            bail!("--account {text}: a password has at least 8 characters");
        }
        list.retain(|other| other.address != address);
        let name = account_name(&address, &list);
        list.push(Account { address, password: password.to_owned(), name });
    }
    Ok(list)
}

/// The local part as a short word, with a number where another account has it.
fn account_name(address: &Address, others: &[Account]) -> String {
    let word: String = address
        .local
        .as_str()
        .chars()
        .map(|c| if c.is_alphanumeric() || c == '-' { c } else { '-' })
        .take(40)
        .collect();
    let word = if word.is_empty() { "account".to_owned() } else { word };
    (1..)
        .map(|n| if n == 1 { word.clone() } else { format!("{word}{n}") })
        .find(|name| others.iter().all(|other| other.name != *name))
        .unwrap_or(word)
}

/// Writes both files. `domains.toml` keeps what was changed since; `mox.toml` is made anew from the arguments.
pub fn configure(dir: &Path, accounts: &[Account], settings: &[String]) -> anyhow::Result<()> {
    let folder = dir.join("config");
    std::fs::create_dir_all(&folder)?;
    let mut text = DocumentMut::new();
    set(&mut text, "hostname", Value::from("localhost"))?;
    set(&mut text, "postmaster", Value::from(accounts.first().map_or("mox", |a| a.name.as_str())))?;
    set(&mut text, "localserve", Value::from(true))?;
    // Everybody here comes from one address, and tries things that fail.
    for service in ["smtp", "submission", "imap"] {
        set(&mut text, &format!("{service}.max-connections-per-ip"), Value::from(10_000))?;
        set(&mut text, &format!("{service}.new-connections-per-ip"), Value::from(1_000_000))?;
    }
    set(&mut text, "smtp.max-deliveries-per-ip", Value::from(10_000_000))?;
    set(&mut text, "smtp.max-delivery-size-per-ip", Value::from("1024GiB"))?;
    set(&mut text, "service.bad-client-delay", Value::from("0s"))?;
    for setting in settings {
        let (key, value) =
            setting.split_once('=').with_context(|| format!("--set {setting}: KEY=VALUE is wanted"))?;
        let known = config::KEYS.iter().any(|doc| doc.file == config::STATIC_FILE && doc.key == key);
        if !known {
            bail!("--set {setting}: there is no such key in mox.toml; `mox config describe` lists them");
        }
        // Plain text needs no quotes here.
        let value = value.parse::<Value>().unwrap_or_else(|_| Value::from(value));
        set(&mut text, key, value)?;
    }
    let text = text.to_string();
    config::Static::parse(&text).map_err(|mistakes| anyhow::anyhow!("settings: {mistakes}"))?;
    super::write_whole(&folder.join(config::STATIC_FILE), text.as_bytes())?;

    let path = folder.join(config::DOMAINS_FILE);
    let old = std::fs::read_to_string(&path).unwrap_or_default();
    let mut domains: DocumentMut = old.parse().with_context(|| format!("{}", path.display()))?;
    for account in accounts {
        add_account(&mut domains, account)?;
    }
    let text = domains.to_string();
    config::Domains::parse(&text).map_err(|mistakes| anyhow::anyhow!("{}: {mistakes}", path.display()))?;
    super::write_whole(&path, text.as_bytes())
}

fn set(text: &mut DocumentMut, key: &str, value: Value) -> anyhow::Result<()> {
    let mut table = text.as_table_mut();
    let (path, last) = key.rsplit_once('.').map_or(("", key), |(path, last)| (path, last));
    for part in path.split('.').filter(|part| !part.is_empty()) {
        table = child(table, part)?;
    }
    table.insert(last, Item::Value(value));
    Ok(())
}

fn child<'a>(table: &'a mut Table, name: &str) -> anyhow::Result<&'a mut Table> {
    let item = table.entry(name).or_insert_with(|| Item::Table(Table::new()));
    item.as_table_mut().with_context(|| format!("{name} is no table"))
}

/// Adds the account unless its address is known already.
fn add_account(domains: &mut DocumentMut, account: &Account) -> anyhow::Result<()> {
    let known =
        config::Domains::parse(&domains.to_string()).map_err(|mistakes| anyhow::anyhow!("{mistakes}"))?;
    if known.accounts.values().any(|a| a.addresses.contains(&account.address)) {
        return Ok(());
    }
    let root = domains.as_table_mut();
    let list = child(root, "domains")?;
    list.set_implicit(true);
    let domain = child(list, account.address.domain.unicode())?;
    if !domain.contains_key("localpart-catchall-separators") {
        domain.insert("localpart-catchall-separators", Item::Value(Value::from_iter(["+"])));
    }
    let list = child(root, "accounts")?;
    list.set_implicit(true);
    let mut name = account.name.clone();
    while list.contains_key(&name) {
        let _ = write!(name, "-{}", account.address.domain.ascii().replace('.', "-"));
    }
    let table = child(list, &name)?;
    let mut addresses = vec![account.address.to_string()];
    if account.address.to_string() == "mox@localhost" {
        // Row CL-06: the default account takes everything.
        addresses.push("@localhost".to_owned());
    }
    table.insert("addresses", Item::Value(Value::from_iter(addresses)));
    Ok(())
}

/// Sets the passwords, which starts the store: from here on people can sign in.
pub async fn accounts_ready(dir: &Path, run: &Path, accounts: &[Account]) -> anyhow::Result<()> {
    let store = Store::new(&run.join(format!("{}.sock", Role::Admin.socket())), "mox localserve");
    let known =
        config::load_domains(&dir.join("config")).map_err(|mistakes| anyhow::anyhow!("{mistakes}"))?;
    for account in accounts {
        let name = known.account_of(&account.address).context("account was not configured")?;
        let verb = AccountSetPassword { account: name.to_owned(), password: account.password.clone() };
        store.ask(verb).await.with_context(|| format!("password of {}", account.address))?;
    }
    Ok(())
}

/// Fetches the certificate of the instance's own authority.
pub async fn write_authority(run: &Path, to: &Path) -> anyhow::Result<()> {
    let keys = Keys::new(&run.join(format!("{}.sock", KeysRole::Admin.socket())), "mox localserve");
    let pem = keys.ask(Authority).await.context("authority")?;
    super::write_whole(to, pem.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configuration_is_made_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let list = accounts(&["you@example.test:secret word".into(), "mox@example.test:secret word".into()])
            .unwrap();
        assert_eq!(list.iter().map(|a| a.name.as_str()).collect::<Vec<_>>(), ["mox", "you", "mox2"]);
        configure(dir.path(), &list, &["smtp.verify=false".into(), "dns.timeout=1s".into()]).unwrap();
        let config_dir = dir.path().join("config");
        let statics = config::load_static(&config_dir).unwrap();
        assert!(!statics.smtp.verify);
        assert!(statics.localserve);
        let before = std::fs::read_to_string(config_dir.join(config::DOMAINS_FILE)).unwrap();
        configure(dir.path(), &list, &[]).unwrap();
        assert_eq!(std::fs::read_to_string(config_dir.join(config::DOMAINS_FILE)).unwrap(), before);
        let domains = config::load_domains(&config_dir).unwrap();
        assert_eq!(domains.account_of(&Address::parse("anything@localhost").unwrap()), Some("mox"));
    }

    #[test]
    fn bad_arguments_are_told() {
        let dir = tempfile::tempdir().unwrap();
        for bad in ["nobody", "a@b:short", "@:longenough"] {
            assert!(accounts(&[bad.into()]).is_err(), "{bad}");
        }
        let list = accounts(&[]).unwrap();
        for bad in ["smtp.nonsense=1", "smtp.verify", "smtp.verify=7"] {
            assert!(configure(dir.path(), &list, &[bad.into()]).is_err(), "{bad}");
        }
    }
}
