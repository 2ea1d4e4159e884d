//! App passwords and keys of TLS client certificates: what an administrator adds, lists and removes.
//!
//! | record | made by | goes |
//! |---|---|---|
//! | app password | `AppPasswordAdd` | `AppPasswordRemove`, or with the account; once expired it is wrong, and stays listed |
//! | TLS key | `TlsKeyAdd`, after `mox-admin` looked at the certificate | `TlsKeyRemove`, or with the account |
//!
//! What is removed ends the sessions that it opened.

use crate::keys;
use crate::limits::{APP_PASSWORDS, CREDENTIAL_NAME, TLS_KEYS};
use crate::records::{AppRecord, Read, Secrets, TlsKeyRecord, encode};
use crate::secrets;
use crate::store::{Credential, Store};
use libmox_store::{
    AppPassword, AppPasswordAdd, AppPasswordRemove, Fault, MadePassword, TlsKey, TlsKeyAdd, TlsKeyList,
};
use libmox_types::AccountId;

fn named(name: &str) -> Result<(), Fault> {
    let fits = (1..=CREDENTIAL_NAME).contains(&name.chars().count()) && !name.chars().any(char::is_control);
    if fits { Ok(()) } else { Err(Fault::Invalid(format!("a name has 1 to {CREDENTIAL_NAME} characters"))) }
}

impl Store {
    pub(crate) fn account_id(&self, name: &str) -> Result<AccountId, Fault> {
        self.engine.record(&keys::account_name(name))?.ok_or(Fault::NoAccount)
    }

    /// Makes a password and shows it once.
    pub async fn app_password_add(&self, request: AppPasswordAdd) -> Result<MadePassword, Fault> {
        named(&request.name)?;
        if !request.scopes.imap && !request.scopes.submission {
            return Err(Fault::Invalid("an app password is for imap, submission or both".into()));
        }
        let now = self.now();
        if request.expires.is_some_and(|expires| expires <= now) {
            return Err(Fault::Invalid("the time of expiry has passed".into()));
        }
        let id = self.account_id(&request.account)?;
        let password = secrets::made_password();
        let salts = self.salts(id)?;
        let made = password.clone();
        let (scopes, expires) = (request.scopes, request.expires);
        let record =
            self.logins.compute(move || secrets::of_made(id, &made, &salts, scopes, now, expires)).await?;
        let live = self.accounts.live(id);
        let mut tx = self.engine.begin().await?;
        let lock = live.lock.lock().await;
        tx.get(&keys::account_record(id))?.ok_or(Fault::NoAccount)?;
        let key = keys::app_password(id, &request.name);
        if tx.get(&key)?.is_some() {
            return Err(Fault::Exists);
        }
        if tx.keys_below(&keys::app_passwords(id))?.len() >= APP_PASSWORDS {
            return Err(Fault::Limit("app passwords".into()));
        }
        // Salts of a password that was first set meanwhile are the same.
        tx.change().put(key, encode(&record));
        let ticket = tx.submit()?;
        drop(lock);
        ticket.committed().await?;
        Ok(MadePassword(password.0))
    }

    /// Salts that all secrets of an account share.
    pub(crate) fn salts(&self, id: AccountId) -> Result<secrets::Salts, Fault> {
        let secrets: Option<Secrets> = self.engine.record(&keys::secrets(id))?;
        if let Some(secrets) = secrets {
            return Ok(secrets::salts_of(&secrets));
        }
        Ok(secrets::first_salts(self.logins.server_secret(), id))
    }

    /// App passwords of an account with their names.
    pub(crate) fn app_records(&self, id: AccountId) -> Result<Vec<(String, AppRecord)>, Fault> {
        let prefix = keys::app_passwords(id);
        let mut all = Vec::new();
        self.engine.records(&prefix, |key, record: AppRecord| {
            let name = key.get(prefix.len()..).unwrap_or_default();
            all.push((String::from_utf8_lossy(name).into_owned(), record));
            Ok(())
        })?;
        Ok(all)
    }

    /// The list, without secrets.
    pub fn app_password_list(&self, account: &str) -> Result<Vec<AppPassword>, Fault> {
        let list = self.app_records(self.account_id(account)?)?.into_iter().map(|(name, record)| {
            AppPassword { name, scopes: record.scopes, created: record.created, expires: record.expires }
        });
        Ok(list.collect())
    }

    /// Removes one and ends its sessions.
    pub async fn app_password_remove(&self, request: &AppPasswordRemove) -> Result<bool, Fault> {
        let id = self.account_id(&request.account)?;
        let key = keys::app_password(id, &request.name);
        let live = self.accounts.live(id);
        let mut tx = self.engine.begin().await?;
        let lock = live.lock.lock().await;
        if tx.get(&key)?.is_none() {
            return Ok(false);
        }
        tx.change().delete(key);
        let ticket = tx.submit()?;
        drop(lock);
        ticket.committed().await?;
        self.end_sessions_of(id, &Credential::App(request.name.clone()));
        Ok(true)
    }

    fn tls_key(fingerprint: String, account: &str, record: TlsKeyRecord) -> TlsKey {
        TlsKey {
            fingerprint,
            account: account.to_owned(),
            login: record.login,
            kind: record.kind,
            name: record.name,
            no_imap_preauth: record.no_imap_preauth,
            created: record.created,
        }
    }

    /// The keys of one account, or of all.
    pub fn tls_key_list(&self, request: &TlsKeyList) -> Result<Vec<TlsKey>, Fault> {
        let directory = self.directory();
        let accounts: Vec<(String, AccountId)> = match &request.account {
            Some(name) => vec![(name.clone(), self.account_id(name)?)],
            None => directory.ids.iter().map(|(name, id)| (name.clone(), *id)).collect(),
        };
        let mut all = Vec::new();
        for (name, id) in accounts {
            let prefix = keys::tls_keys(id);
            self.engine.records(&prefix, |key, record: TlsKeyRecord| {
                let fingerprint = String::from_utf8_lossy(key.get(prefix.len()..).unwrap_or_default());
                all.push(Self::tls_key(fingerprint.into_owned(), &name, record));
                Ok(())
            })?;
        }
        all.sort_by(|a, b| (&a.account, &a.fingerprint).cmp(&(&b.account, &b.fingerprint)));
        Ok(all)
    }

    /// Rows AU-05, AU-07. The key of another account is never taken over.
    pub async fn tls_key_add(&self, request: TlsKeyAdd) -> Result<TlsKey, Fault> {
        let key = request.key;
        let printable = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        if key.fingerprint.len() != 43 || !key.fingerprint.bytes().all(printable) {
            return Err(Fault::Invalid("not a fingerprint".into()));
        }
        if !key.name.is_empty() {
            named(&key.name)?;
        }
        let directory = self.directory();
        let (account, id) = directory.login(&key.login).ok_or(Fault::NotFound)?;
        let live = self.accounts.live(id);
        let mut tx = self.engine.begin().await?;
        let lock = live.lock.lock().await;
        tx.get(&keys::account_record(id))?.ok_or(Fault::NoAccount)?;
        let (place, owner) = (keys::tls_key(id, &key.fingerprint), keys::tls_key_owner(&key.fingerprint));
        match tx.record::<AccountId>(&owner)? {
            Some(other) if other != id && tx.get(&keys::account_record(other))?.is_some() => {
                return Err(Fault::Exists);
            }
            _ => {}
        }
        let before: Option<TlsKeyRecord> = tx.record(&place)?;
        if before.is_none() && tx.keys_below(&keys::tls_keys(id))?.len() >= TLS_KEYS {
            return Err(Fault::Limit("TLS keys of an account".into()));
        }
        let record = TlsKeyRecord {
            login: key.login,
            kind: key.kind.chars().take(CREDENTIAL_NAME).collect(),
            name: key.name,
            no_imap_preauth: key.no_imap_preauth,
            created: before.map_or_else(|| self.now(), |before| before.created),
        };
        tx.change().put(place, encode(&record));
        tx.change().put(owner, encode(&id));
        let ticket = tx.submit()?;
        drop(lock);
        ticket.committed().await?;
        Ok(Self::tls_key(key.fingerprint, account, record))
    }

    /// Removes a key and ends its sessions.
    pub async fn tls_key_remove(&self, fingerprint: &str) -> Result<bool, Fault> {
        let owner = keys::tls_key_owner(fingerprint);
        let Some(id) = self.engine.record::<AccountId>(&owner)? else { return Ok(false) };
        let live = self.accounts.live(id);
        let mut tx = self.engine.begin().await?;
        let lock = live.lock.lock().await;
        if tx.record::<AccountId>(&owner)? != Some(id) {
            return Ok(false);
        }
        tx.change().delete(owner);
        tx.change().delete(keys::tls_key(id, fingerprint));
        let ticket = tx.submit()?;
        drop(lock);
        ticket.committed().await?;
        self.end_sessions_of(id, &Credential::Key(fingerprint.to_owned()));
        Ok(true)
    }
}
