//! The store's view of `mox.toml` and `domains.toml`.

use crate::directory::{Configured, Directory, DomainRules, SendingLimits, Settings};
use crate::rates::DeliveryLimits;
use crate::store::Store;
use libmox_service::config::{Domains, Static, load_domains, load_static};
use libmox_service::paths;
use libmox_store::{Fault, Reloaded};
use std::sync::Arc;

/// Both files as one generation.
pub fn directory(generation: u64, statics: &Static, domains: &Domains) -> Directory {
    let settings = Settings {
        hostname: statics.hostname.clone(),
        hostnames: statics.hostnames().skip(1).cloned().collect(),
        postmaster: statics.postmaster.clone(),
        postmaster_mailbox: statics.postmaster_mailbox.clone(),
        quota: statics.store.quota,
        login_failures_per_minute: u32::try_from(statics.store.login_failures_per_minute).unwrap_or(u32::MAX),
        initial: statics.store.initial_mailboxes.clone(),
        deliveries: DeliveryLimits {
            messages: statics.smtp.max_deliveries_per_ip,
            octets: statics.smtp.max_delivery_size_per_ip,
        },
    };
    let rules = domains.domains.iter().map(|(domain, config)| {
        let rules = DomainRules {
            disabled: config.disabled,
            separators: config.separators.clone(),
            case_sensitive: config.case_sensitive,
        };
        (domain.clone(), rules)
    });
    let accounts = domains.accounts.iter().map(|(name, config)| {
        let account = Configured {
            addresses: config.addresses.clone(),
            catchall: config.catchall.clone(),
            login_disabled: config.login_disabled.clone(),
            disabled_capabilities: config.disabled_capabilities.clone(),
            submission_server: config.submission_server,
            quota: config.quota,
            mailbox: config.mailbox.clone(),
            rejects: config.rejects.clone(),
            keep_rejects: config.keep_rejects,
            keep_retired: config.keep_retired,
            sending: SendingLimits {
                messages: u32::try_from(config.max_outgoing).unwrap_or(u32::MAX),
                first_time: u32::try_from(config.max_first_time).unwrap_or(u32::MAX),
            },
            fromid_logins: config.fromid_logins.clone(),
            introbox: config.introbox.clone(),
            junk_filter: config.junk_filter.clone(),
            subject_pass: config.subject_pass,
            arc_sealers: config.arc_sealers.clone(),
            no_first_time_delay: config.no_first_time_delay,
            automatic_junk_flags: config.automatic_junk_flags.clone(),
            destinations: config.destinations.clone(),
        };
        (name.clone(), account)
    });
    Directory::new(generation, settings, rules.collect(), accounts.collect())
        .with_aliases(&domains.aliases)
        .with_reports(domains.reports())
        .with_tls_reports(domains.tls_reports())
}

/// Reads the files again; mistakes keep what is in force.
pub async fn reload(store: &Arc<Store>, generation: u64) -> Result<Reloaded, Fault> {
    let read = tokio::task::spawn_blocking(|| {
        let dir = paths::config();
        (load_static(&dir), load_domains(&dir))
    });
    let in_force = store.directory().generation;
    match read.await.map_err(|_| Fault::Internal)? {
        (Ok(statics), Ok(domains)) => store.reload(directory(generation, &statics, &domains)).await,
        (statics, domains) => {
            let mistakes = statics.err().into_iter().chain(domains.err()).flat_map(|m| m.lines()).collect();
            Ok(Reloaded { generation: in_force, mistakes })
        }
    }
}
