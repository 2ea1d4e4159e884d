//! The configuration: two TOML files, every key documented, every mistake reported with its line, all at once.
//!
//! `mox.toml` is read by every service at start and at reload; `domains.toml` by the store, by `mox-admin`, and by
//! `mox-keys` for how to sign. An unknown
//! key is a mistake. Only checked values leave this module.
//!
//! Does not know: who uses a value; whether an account exists in the store.
//! Fails with: [`Mistakes`].

mod dkim;
mod domains;
mod junk;
mod keys;
mod listeners;
mod reader;
mod reports;
mod rules;
mod statics;

pub use dkim::DkimConfig;
pub use domains::{AccountConfig, AliasConfig, Destination, DomainConfig, Domains};
pub use junk::{AutomaticJunkFlags, JunkFilterConfig, NEW_ACCOUNT};
pub use keys::{KEYS, KeyDoc, describe};
pub use listeners::ListenerConfig;
pub use reader::{Mistake, Mistakes};
pub use reports::ReportsConfig;
pub use rules::{DestinationConfig, Pattern, RuleConfig};
pub use statics::{
    Certificates, DnsConfig, ImapConfig, InitialMailboxes, QueueConfig, ServiceConfig, SmtpConfig, Static,
    StoreConfig, SubmissionConfig,
};

use std::path::Path;
use std::sync::Arc;

/// Name of the static file.
pub const STATIC_FILE: &str = "mox.toml";
/// Name of the file that administration changes.
pub const DOMAINS_FILE: &str = "domains.toml";
/// Octets of a configuration file.
pub const FILE_OCTETS: u64 = 16 << 20;

/// Reads and checks `mox.toml`. A missing file is the defaults for this machine, which listen on nothing public.
pub fn load_static(dir: &Path) -> Result<Arc<Static>, Mistakes> {
    Static::parse(&read(&dir.join(STATIC_FILE))?).map(Arc::new).map_err(|m| m.in_file(STATIC_FILE))
}

/// Reads and checks `domains.toml`.
pub fn load_domains(dir: &Path) -> Result<Arc<Domains>, Mistakes> {
    Domains::parse(&read(&dir.join(DOMAINS_FILE))?).map(Arc::new).map_err(|m| m.in_file(DOMAINS_FILE))
}

fn read(path: &Path) -> Result<String, Mistakes> {
    use std::io::Read;
    let mut text = String::new();
    let outcome = match std::fs::File::open(path) {
        Ok(file) => file.take(FILE_OCTETS).read_to_string(&mut text).map(|_| ()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    };
    outcome.map(|()| text).map_err(|error| Mistakes::one(path, &error.to_string()))
}
