//! `org.libmox.Admin1`.

use crate::certificate::key_of;
use crate::edit::{self, Edit};
use crate::{Admin, AdminError, dns, dnscheck, feedback};
use libmox_keys::{DkimAlgorithm, DkimGenerate, DkimKey, DkimKeys, HostKeys, KeysFault, ReloadKeys};
use libmox_service::bus::{actions, authorize};
use libmox_service::config::DomainConfig;
use libmox_service::{clock, config, paths};
use libmox_store::{
    AccountList, AccountRemove, AccountSetPassword, AnnotationChange, AppPasswordAdd, AppPasswordList,
    AppPasswordRemove, Backup, BackupProgress, Check, Decided, DecisionsOf, EvaluationList, ReaderGrant,
    Reload, Repair, RepairKind, ReportList, Scopes, SharedAnnotationList, SharedAnnotationSet, Status,
    TlsKey, TlsKeyAdd, TlsKeyList, TlsKeyRemove,
};
use libmox_types::{Address, Domain, MailboxName, Timestamp};
use mox_dbus::admin1::{
    AccountItem, AliasItem, AppPasswordItem, DecisionItem, DnsCheckItem, DomainItem, EvaluationItem,
    OwnListItem, ReportAddressItem, ReportItem, SystemStatus, TlsKeyItem,
};
use std::sync::Arc;
use zbus::message::Header;
use zbus::{Connection, fdo};

pub(crate) struct AdminInterface(pub Arc<Admin>);

fn address(text: &str) -> Result<Address, AdminError> {
    Address::parse(text).map_err(|error| AdminError::Invalid(format!("{text}: {error}")))
}

fn addresses(texts: &[String]) -> Result<Vec<Address>, AdminError> {
    texts.iter().map(|text| address(text)).collect()
}

/// None where it is empty.
fn mailbox_named(text: &str) -> Result<Option<MailboxName>, AdminError> {
    let parsed = (!text.is_empty()).then(|| MailboxName::parse(text)).transpose();
    parsed.map_err(|error| AdminError::Invalid(format!("{text}: {error}")))
}

fn domain(text: &str) -> Result<Domain, AdminError> {
    Domain::parse(text).map_err(|error| AdminError::Invalid(format!("{text}: {error}")))
}

impl Admin {
    /// An annotation below `/shared/` (row DF-03); none removes it.
    async fn annotate(
        &self,
        account: &str,
        mailbox: &str,
        entry: &str,
        value: Option<&str>,
    ) -> fdo::Result<()> {
        let value = value.map(|value| value.as_bytes().to_vec().into());
        let change = AnnotationChange { name: entry.into(), text: true, value };
        let verb = SharedAnnotationSet { account: account.into(), mailbox: mailbox_named(mailbox)?, change };
        self.store.ask(verb).await.map_err(AdminError::from)?;
        Ok(())
    }

    /// One change: computed, checked, written, followed by the store; taken back if the store does not follow.
    async fn change(&self, edit: Edit) -> Result<(), AdminError> {
        let _one = self.changing.lock().await;
        let folder = paths::config();
        let before = edit::read(&folder)?;
        let after = edit::apply(&before, &edit)?;
        edit::write(&folder, &before, &after)?;
        match self.reload().await {
            Ok(()) => {
                tracing::info!(message_id = "5e1f7e0c1d0b4c3c9a1de1a5c0f0a031", change = ?edit, "configuration changed");
                Ok(())
            }
            Err(error) => {
                edit::write(&folder, &after, &before)?;
                Err(error)
            }
        }
    }

    async fn reload(&self) -> Result<(), AdminError> {
        let generation = self.store.ask(Status).await?.generation + 1;
        let outcome = self.store.ask(Reload { generation }).await?;
        if outcome.mistakes.is_empty() {
            Ok(())
        } else {
            Err(AdminError::Mistakes(outcome.mistakes.join("\n")))
        }
    }

    pub(crate) fn domains() -> Result<Arc<config::Domains>, AdminError> {
        config::load_domains(&paths::config()).map_err(|mistakes| AdminError::Mistakes(mistakes.to_string()))
    }

    /// Row MA-05: two RSA keys named for the year, signing with the first.
    async fn make_dkim(&self, domain: &Domain) -> Result<(), AdminError> {
        let (year, ..) = libmox_message::date::utc(clock::now());
        let mut selectors = Vec::new();
        for (letter, signs) in [('a', true), ('b', false)] {
            let verb = DkimGenerate {
                domain: domain.clone(),
                selector: format!("{year}{letter}"),
                algorithm: DkimAlgorithm::Rsa2048,
                signs,
            };
            selectors.push(verb.selector.clone());
            match self.keys.ask(verb).await {
                Ok(_) => {}
                Err(error) if error.fault() == Some(&KeysFault::Exists) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.change(Edit::DomainDkim { domain: domain.clone(), selectors }).await?;
        Ok(self.keys.ask(ReloadKeys).await?)
    }

    /// What the records of a domain are made of.
    async fn published(
        &self,
        domain: &Domain,
    ) -> Result<(DomainConfig, Arc<config::Static>, Vec<DkimKey>, Vec<Vec<u8>>), AdminError> {
        let config = Self::domains()?.domains.get(domain).cloned();
        let config = config.ok_or_else(|| AdminError::NotFound(format!("domain {domain}")))?;
        let statics =
            config::load_static(&paths::config()).map_err(|m| AdminError::Mistakes(m.to_string()))?;
        let keys = self.keys.ask(DkimKeys { domain: domain.clone() }).await?;
        let host = self.keys.ask(HostKeys).await?.into_iter().map(serde_bytes::ByteBuf::into_vec).collect();
        Ok((config, statics, keys, host))
    }

    async fn dns(&self, domain: &Domain) -> Result<Vec<String>, AdminError> {
        let (config, statics, keys, host) = self.published(domain).await?;
        Ok(dns::zone(domain, &config, &statics.hostname, &keys, &host))
    }

    async fn dns_check(&self, domain: &Domain) -> Result<Vec<DnsCheckItem>, AdminError> {
        let (config, statics, keys, host) = self.published(domain).await?;
        let dns =
            libmox_service::dns::Dns::new(&statics.dns).map_err(|e| AdminError::Invalid(e.to_string()))?;
        let mut wanted = dns::of_host(&statics.hostname, &host);
        wanted.extend(dns::of_domain(domain, &config, &statics.hostname, &keys));
        Ok(dnscheck::look(&dns, &statics.hostname, wanted).await)
    }
}

#[zbus::interface(name = "org.libmox.Admin1")]
impl AdminInterface {
    async fn status(
        &self,
        #[zbus(connection)] c: &Connection,
        #[zbus(header)] h: Header<'_>,
    ) -> fdo::Result<SystemStatus> {
        authorize(c, &h, actions::READ_STATUS).await?;
        let status = self.0.store.ask(Status).await.map_err(AdminError::from)?;
        Ok(SystemStatus {
            store: status.state,
            generation: status.generation,
            accounts: status.accounts,
            queued: status.queued,
            held: status.held,
            sessions: status.sessions,
        })
    }

    async fn account_list(
        &self,
        #[zbus(connection)] c: &Connection,
        #[zbus(header)] h: Header<'_>,
    ) -> fdo::Result<Vec<AccountItem>> {
        authorize(c, &h, actions::READ_STATUS).await?;
        let list = self.0.store.ask(AccountList).await.map_err(AdminError::from)?;
        Ok(list
            .into_iter()
            .map(|account| AccountItem {
                name: account.name,
                addresses: account.addresses.iter().map(ToString::to_string).collect(),
                login_disabled: account.login_disabled.unwrap_or_default(),
                has_password: account.has_password,
                used: account.used.0,
                quota: account.quota.map_or(0, |quota| quota.0),
            })
            .collect())
    }

    async fn account_add(
        &self,
        name: &str,
        first: &str,
        #[zbus(connection)] c: &Connection,
        #[zbus(header)] h: Header<'_>,
    ) -> fdo::Result<()> {
        authorize(c, &h, actions::MANAGE_ACCOUNTS).await?;
        Ok(self.0.change(Edit::AccountAdd { name: name.into(), address: address(first)? }).await?)
    }

    async fn account_remove(
        &self,
        name: &str,
        #[zbus(connection)] c: &Connection,
        #[zbus(header)] h: Header<'_>,
    ) -> fdo::Result<()> {
        authorize(c, &h, actions::MANAGE_ACCOUNTS).await?;
        self.0.change(Edit::AccountRemove { name: name.into() }).await?;
        Ok(self.0.store.ask(AccountRemove { account: name.into() }).await.map_err(AdminError::from)?)
    }

    async fn account_disable(
        &self,
        name: &str,
        message: &str,
        #[zbus(connection)] c: &Connection,
        #[zbus(header)] h: Header<'_>,
    ) -> fdo::Result<()> {
        authorize(c, &h, actions::MANAGE_ACCOUNTS).await?;
        Ok(self.0.change(Edit::AccountLogin { name: name.into(), disabled: Some(message.into()) }).await?)
    }

    async fn account_enable(
        &self,
        name: &str,
        #[zbus(connection)] c: &Connection,
        #[zbus(header)] h: Header<'_>,
    ) -> fdo::Result<()> {
        authorize(c, &h, actions::MANAGE_ACCOUNTS).await?;
        Ok(self.0.change(Edit::AccountLogin { name: name.into(), disabled: None }).await?)
    }

    async fn account_set_password(
        &self,
        name: &str,
        password: &str,
        #[zbus(connection)] c: &Connection,
        #[zbus(header)] h: Header<'_>,
    ) -> fdo::Result<()> {
        authorize(c, &h, actions::MANAGE_ACCOUNTS).await?;
        let verb = AccountSetPassword { account: name.into(), password: password.into() };
        Ok(self.0.store.ask(verb).await.map_err(AdminError::from)?)
    }

    async fn annotation_set(
        &self,
        account: &str,
        mailbox: &str,
        entry: &str,
        value: &str,
        #[zbus(connection)] c: &Connection,
        #[zbus(header)] h: Header<'_>,
    ) -> fdo::Result<()> {
        authorize(c, &h, actions::MANAGE_ACCOUNTS).await?;
        self.0.annotate(account, mailbox, entry, Some(value)).await
    }

    async fn annotation_remove(
        &self,
        account: &str,
        mailbox: &str,
        entry: &str,
        #[zbus(connection)] c: &Connection,
        #[zbus(header)] h: Header<'_>,
    ) -> fdo::Result<()> {
        authorize(c, &h, actions::MANAGE_ACCOUNTS).await?;
        self.0.annotate(account, mailbox, entry, None).await
    }

    async fn annotation_list(
        &self,
        account: &str,
        mailbox: &str,
        #[zbus(connection)] c: &Connection,
        #[zbus(header)] h: Header<'_>,
    ) -> fdo::Result<Vec<(String, String)>> {
        authorize(c, &h, actions::READ_STATUS).await?;
        let verb = SharedAnnotationList { account: account.into(), mailbox: mailbox_named(mailbox)? };
        let list = self.0.store.ask(verb).await.map_err(AdminError::from)?;
        let shown = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        Ok(list.into_iter().map(|one| (one.name, shown(&one.value))).collect())
    }

    /// `expires` 0: never.
    #[expect(clippy::too_many_arguments, reason = "the arguments of the interface")]
    async fn app_password_add(
        &self,
        account: &str,
        name: &str,
        imap: bool,
        submission: bool,
        expires: i64,
        #[zbus(connection)] c: &Connection,
        #[zbus(header)] h: Header<'_>,
    ) -> fdo::Result<String> {
        authorize(c, &h, actions::MANAGE_ACCOUNTS).await?;
        let verb = AppPasswordAdd {
            account: account.into(),
            name: name.into(),
            scopes: Scopes { imap, submission },
            expires: (expires != 0).then_some(Timestamp(expires)),
        };
        Ok(self.0.store.ask(verb).await.map_err(AdminError::from)?.0)
    }

    async fn app_password_list(
        &self,
        account: &str,
        #[zbus(connection)] c: &Connection,
        #[zbus(header)] h: Header<'_>,
    ) -> fdo::Result<Vec<AppPasswordItem>> {
        authorize(c, &h, actions::READ_STATUS).await?;
        let verb = AppPasswordList { account: account.into() };
        let list = self.0.store.ask(verb).await.map_err(AdminError::from)?;
        Ok(list
            .into_iter()
            .map(|one| AppPasswordItem {
                name: one.name,
                imap: one.scopes.imap,
                submission: one.scopes.submission,
                created: one.created.0,
                expires: one.expires.map_or(0, |at| at.0),
            })
            .collect())
    }

    async fn app_password_remove(
        &self,
        account: &str,
        name: &str,
        #[zbus(connection)] c: &Connection,
        #[zbus(header)] h: Header<'_>,
    ) -> fdo::Result<()> {
        authorize(c, &h, actions::MANAGE_ACCOUNTS).await?;
        let verb = AppPasswordRemove { account: account.into(), name: name.into() };
        match self.0.store.ask(verb).await.map_err(AdminError::from)? {
            true => Ok(()),
            false => Err(AdminError::NotFound(format!("app password {name}")).into()),
        }
    }

    /// The certificate is looked at here: the store is told of its key.
    async fn tls_key_add(
        &self,
        login: &str,
        name: &str,
        no_imap_preauth: bool,
        certificate: Vec<u8>,
        #[zbus(connection)] c: &Connection,
        #[zbus(header)] h: Header<'_>,
    ) -> fdo::Result<String> {
        authorize(c, &h, actions::MANAGE_ACCOUNTS).await?;
        let (fingerprint, kind) = key_of(&certificate)?;
        let key = TlsKey {
            fingerprint,
            account: String::new(),
            login: address(login)?,
            kind,
            name: name.into(),
            no_imap_preauth,
            created: clock::now(),
        };
        Ok(self.0.store.ask(TlsKeyAdd { key }).await.map_err(AdminError::from)?.fingerprint)
    }

    /// Empty `account`: all.
    async fn tls_key_list(
        &self,
        account: &str,
        #[zbus(connection)] c: &Connection,
        #[zbus(header)] h: Header<'_>,
    ) -> fdo::Result<Vec<TlsKeyItem>> {
        authorize(c, &h, actions::READ_STATUS).await?;
        let account = (!account.is_empty()).then(|| account.to_owned());
        let list = self.0.store.ask(TlsKeyList { account }).await.map_err(AdminError::from)?;
        Ok(list
            .into_iter()
            .map(|key| TlsKeyItem {
                fingerprint: key.fingerprint,
                account: key.account,
                login: key.login.to_string(),
                kind: key.kind,
                name: key.name,
                no_imap_preauth: key.no_imap_preauth,
                created: key.created.0,
            })
            .collect())
    }

    async fn tls_key_remove(
        &self,
        fingerprint: &str,
        #[zbus(connection)] c: &Connection,
        #[zbus(header)] h: Header<'_>,
    ) -> fdo::Result<()> {
        authorize(c, &h, actions::MANAGE_ACCOUNTS).await?;
        let verb = TlsKeyRemove { fingerprint: fingerprint.into() };
        match self.0.store.ask(verb).await.map_err(AdminError::from)? {
            true => Ok(()),
            false => Err(AdminError::NotFound(format!("key {fingerprint}")).into()),
        }
    }

    async fn address_add(
        &self,
        entry: &str,
        account: &str,
        #[zbus(connection)] c: &Connection,
        #[zbus(header)] h: Header<'_>,
    ) -> fdo::Result<()> {
        authorize(c, &h, actions::MANAGE_ACCOUNTS).await?;
        Ok(self.0.change(Edit::AddressAdd { address: entry.into(), account: account.into() }).await?)
    }

    async fn address_remove(
        &self,
        entry: &str,
        #[zbus(connection)] c: &Connection,
        #[zbus(header)] h: Header<'_>,
    ) -> fdo::Result<()> {
        authorize(c, &h, actions::MANAGE_ACCOUNTS).await?;
        Ok(self.0.change(Edit::AddressRemove { address: entry.into() }).await?)
    }

    async fn alias_list(
        &self,
        #[zbus(connection)] c: &Connection,
        #[zbus(header)] h: Header<'_>,
    ) -> fdo::Result<Vec<AliasItem>> {
        authorize(c, &h, actions::READ_STATUS).await?;
        let item = |alias: &config::AliasConfig| AliasItem {
            address: alias.address.to_string(),
            members: alias.members.iter().map(ToString::to_string).collect(),
            post_public: alias.post_public,
            allow_msg_from: alias.allow_msg_from,
            list_members: alias.list_members,
        };
        Ok(Admin::domains()?.aliases.iter().map(item).collect())
    }

    async fn alias_add(
        &self,
        name: &str,
        members: Vec<String>,
        #[zbus(connection)] c: &Connection,
        #[zbus(header)] h: Header<'_>,
    ) -> fdo::Result<()> {
        authorize(c, &h, actions::MANAGE_ACCOUNTS).await?;
        let members = addresses(&members)?;
        Ok(self.0.change(Edit::AliasAdd { address: address(name)?, members }).await?)
    }

    async fn alias_update(
        &self,
        name: &str,
        post_public: bool,
        allow_msg_from: bool,
        list_members: bool,
        #[zbus(connection)] c: &Connection,
        #[zbus(header)] h: Header<'_>,
    ) -> fdo::Result<()> {
        authorize(c, &h, actions::MANAGE_ACCOUNTS).await?;
        let edit = Edit::AliasUpdate { address: address(name)?, post_public, allow_msg_from, list_members };
        Ok(self.0.change(edit).await?)
    }

    /// Whoever knows the password of the account may: nobody else is asked.
    async fn own_password(&self, login: &str, password: &str, wanted: &str) -> fdo::Result<String> {
        Ok(self.0.own_password(login, password, wanted).await?)
    }

    /// The same.
    async fn own_lists(&self, login: &str, password: &str) -> fdo::Result<Vec<OwnListItem>> {
        Ok(self.0.own_lists(login, password).await?)
    }

    async fn alias_remove(
        &self,
        name: &str,
        #[zbus(connection)] c: &Connection,
        #[zbus(header)] h: Header<'_>,
    ) -> fdo::Result<()> {
        authorize(c, &h, actions::MANAGE_ACCOUNTS).await?;
        Ok(self.0.change(Edit::AliasRemove { address: address(name)? }).await?)
    }

    async fn alias_members(
        &self,
        name: &str,
        add: Vec<String>,
        remove: Vec<String>,
        #[zbus(connection)] c: &Connection,
        #[zbus(header)] h: Header<'_>,
    ) -> fdo::Result<()> {
        authorize(c, &h, actions::MANAGE_ACCOUNTS).await?;
        let (add, remove) = (addresses(&add)?, addresses(&remove)?);
        Ok(self.0.change(Edit::AliasMembers { address: address(name)?, add, remove }).await?)
    }

    async fn domain_list(
        &self,
        #[zbus(connection)] c: &Connection,
        #[zbus(header)] h: Header<'_>,
    ) -> fdo::Result<Vec<DomainItem>> {
        authorize(c, &h, actions::READ_STATUS).await?;
        let domains = Admin::domains()?;
        Ok(domains
            .domains
            .iter()
            .map(|(n, d)| DomainItem { name: n.to_string(), disabled: d.disabled })
            .collect())
    }

    /// Empty `account`: the domain alone.
    async fn domain_add(
        &self,
        name: &str,
        account: &str,
        disabled: bool,
        #[zbus(connection)] c: &Connection,
        #[zbus(header)] h: Header<'_>,
    ) -> fdo::Result<()> {
        authorize(c, &h, actions::MANAGE_DOMAINS).await?;
        let name = domain(name)?;
        let reports = (!account.is_empty()).then(|| account.to_owned());
        self.0.change(Edit::DomainAdd { domain: name.clone(), disabled, reports }).await?;
        self.0.make_dkim(&name).await?;
        if !account.is_empty() {
            let address = format!("postmaster@{name}");
            self.0.change(Edit::AddressAdd { address, account: account.into() }).await?;
        }
        Ok(())
    }

    /// Makes the DKIM keys of a domain that stands in the file already.
    async fn domain_keys(
        &self,
        name: &str,
        #[zbus(connection)] c: &Connection,
        #[zbus(header)] h: Header<'_>,
    ) -> fdo::Result<()> {
        authorize(c, &h, actions::MANAGE_DOMAINS).await?;
        let name = domain(name)?;
        if !Admin::domains()?.domains.contains_key(&name) {
            return Err(AdminError::NotFound(format!("domain {name}")).into());
        }
        Ok(self.0.make_dkim(&name).await?)
    }

    async fn domain_remove(
        &self,
        name: &str,
        #[zbus(connection)] c: &Connection,
        #[zbus(header)] h: Header<'_>,
    ) -> fdo::Result<()> {
        authorize(c, &h, actions::MANAGE_DOMAINS).await?;
        Ok(self.0.change(Edit::DomainRemove { domain: domain(name)? }).await?)
    }

    async fn domain_set_disabled(
        &self,
        name: &str,
        disabled: bool,
        #[zbus(connection)] c: &Connection,
        #[zbus(header)] h: Header<'_>,
    ) -> fdo::Result<()> {
        authorize(c, &h, actions::MANAGE_DOMAINS).await?;
        Ok(self.0.change(Edit::DomainDisabled { domain: domain(name)?, disabled }).await?)
    }

    async fn dns_records(
        &self,
        name: &str,
        #[zbus(connection)] c: &Connection,
        #[zbus(header)] h: Header<'_>,
    ) -> fdo::Result<Vec<String>> {
        authorize(c, &h, actions::READ_STATUS).await?;
        Ok(self.0.dns(&domain(name)?).await?)
    }

    async fn dns_check(
        &self,
        name: &str,
        #[zbus(connection)] c: &Connection,
        #[zbus(header)] h: Header<'_>,
    ) -> fdo::Result<Vec<DnsCheckItem>> {
        authorize(c, &h, actions::READ_STATUS).await?;
        Ok(self.0.dns_check(&domain(name)?).await?)
    }

    /// Empty `account`: all.
    async fn check(
        &self,
        account: &str,
        #[zbus(connection)] c: &Connection,
        #[zbus(header)] h: Header<'_>,
    ) -> fdo::Result<Vec<String>> {
        authorize(c, &h, actions::READ_STATUS).await?;
        let account = (!account.is_empty()).then(|| account.to_owned());
        Ok(self.0.store.ask(Check { account }).await.map_err(AdminError::from)?)
    }

    /// The first descriptor is where to, a second one an earlier backup.
    async fn backup(
        &self,
        folders: Vec<zbus::OwnedFd>,
        #[zbus(connection)] c: &Connection,
        #[zbus(header)] h: Header<'_>,
    ) -> fdo::Result<((u64, u64, u64),)> {
        authorize(c, &h, actions::MANAGE_DATA).await?;
        let folders = folders.into_iter().map(std::os::fd::OwnedFd::from).collect();
        let (done, _) = self.0.store.ask_with(Backup, folders).await.map_err(AdminError::from)?;
        tracing::info!(files = done.files, "backup made");
        Ok(((done.files, done.linked, done.copied),))
    }

    async fn backup_progress(
        &self,
        #[zbus(connection)] c: &Connection,
        #[zbus(header)] h: Header<'_>,
    ) -> fdo::Result<((u64, u64),)> {
        authorize(c, &h, actions::READ_STATUS).await?;
        let progress = self.0.store.ask(BackupProgress).await.map_err(AdminError::from)?;
        Ok(((progress.done, progress.total),))
    }

    async fn read_mail(
        &self,
        account: &str,
        #[zbus(connection)] c: &Connection,
        #[zbus(header)] h: Header<'_>,
    ) -> fdo::Result<String> {
        authorize(c, &h, actions::READ_MAIL).await?;
        let verb = ReaderGrant { account: account.to_owned() };
        let token = self.0.store.ask(verb).await.map_err(AdminError::from)?;
        tracing::info!(mox_account = account, "an administrator reads the mail of {account}");
        Ok(token.0)
    }

    /// Empty `account`: all.
    async fn repair(
        &self,
        account: &str,
        what: &str,
        dry: bool,
        #[zbus(connection)] c: &Connection,
        #[zbus(header)] h: Header<'_>,
    ) -> fdo::Result<Vec<String>> {
        authorize(c, &h, actions::MANAGE_DATA).await?;
        let kind =
            RepairKind::of_name(what).ok_or_else(|| AdminError::Invalid(format!("no repair {what}")))?;
        let account = (!account.is_empty()).then(|| account.to_owned());
        let repair = Repair { account, what: kind, dry };
        Ok(self.0.store.ask(repair).await.map_err(AdminError::from)?)
    }

    /// A connection id or a Message-ID.
    async fn why(
        &self,
        wanted: &str,
        #[zbus(connection)] c: &Connection,
        #[zbus(header)] h: Header<'_>,
    ) -> fdo::Result<Vec<DecisionItem>> {
        authorize(c, &h, actions::MANAGE_DATA).await?;
        let decisions = self.0.store.ask(DecisionsOf { wanted: wanted.to_owned() }).await;
        let item = |decided: Decided| DecisionItem {
            at: decided.at.0,
            cid: decided.cid.to_string(),
            remote_ip: decided.remote_ip.to_string(),
            mail_from: decided.mail_from.to_string(),
            message_id: decided.message_id,
            reply: decided.reply,
            chain: decided.chain,
        };
        Ok(decisions.map_err(AdminError::from)?.into_iter().map(item).collect())
    }

    /// Kind: `dmarc` or `tls`. Empty `domain`: all.
    async fn reports(
        &self,
        kind: &str,
        domain: &str,
        #[zbus(connection)] c: &Connection,
        #[zbus(header)] h: Header<'_>,
    ) -> fdo::Result<Vec<ReportItem>> {
        authorize(c, &h, actions::READ_STATUS).await?;
        let list = ReportList { kind: feedback::kind(kind)?, domain: feedback::some_domain(domain)? };
        let reports = self.0.store.ask(list).await.map_err(AdminError::from)?;
        Ok(reports.into_iter().map(feedback::report).collect())
    }

    /// Empty `domain`: all.
    async fn evaluations(
        &self,
        domain: &str,
        #[zbus(connection)] c: &Connection,
        #[zbus(header)] h: Header<'_>,
    ) -> fdo::Result<Vec<EvaluationItem>> {
        authorize(c, &h, actions::READ_STATUS).await?;
        let list = EvaluationList { domain: feedback::some_domain(domain)? };
        let all = self.0.store.ask(list).await.map_err(AdminError::from)?;
        Ok(all.into_iter().map(feedback::evaluation).collect())
    }

    async fn check_report_addresses(
        &self,
        name: &str,
        #[zbus(connection)] c: &Connection,
        #[zbus(header)] h: Header<'_>,
    ) -> fdo::Result<Vec<ReportAddressItem>> {
        authorize(c, &h, actions::READ_STATUS).await?;
        let statics =
            config::load_static(&paths::config()).map_err(|m| AdminError::Mistakes(m.to_string()))?;
        let dns =
            libmox_service::dns::Dns::new(&statics.dns).map_err(|e| AdminError::Invalid(e.to_string()))?;
        Ok(feedback::check_addresses(&dns, &domain(name)?).await?)
    }

    async fn config_test(
        &self,
        #[zbus(connection)] c: &Connection,
        #[zbus(header)] h: Header<'_>,
    ) -> fdo::Result<Vec<String>> {
        authorize(c, &h, actions::READ_STATUS).await?;
        let mut lines = Vec::new();
        let folder = paths::config();
        lines.extend(config::load_static(&folder).err().map(|m| m.lines()).unwrap_or_default());
        lines.extend(config::load_domains(&folder).err().map(|m| m.lines()).unwrap_or_default());
        Ok(lines)
    }
}
