//! Tokens that let an administrator read an account (rows CL-15, IM-42). In memory: they are older than a restart soon
//! anyway.

use crate::store::{Credential, Peer, Store};
use libmox_store::{
    Fault, GRANT_SECONDS, GrantToken, LoginGrant, LoginOutcome, LoginResult, ReaderGrant, SignedIn,
};
use libmox_types::Address;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Tokens at one time.
const TOKENS: usize = 1_000;

/// What was given and not used yet: the name of the account, and since when.
#[derive(Default)]
pub struct Grants(Mutex<HashMap<String, (String, Instant)>>);

impl Grants {
    fn give(&self, account: String) -> Result<GrantToken, Fault> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, (_, since)| since.elapsed() < Duration::from_secs(GRANT_SECONDS));
        if all.len() >= TOKENS {
            return Err(Fault::Limit("tokens".into()));
        }
        let random = libmox_service::clock::random_u64;
        let token = format!("{:016x}{:016x}", random(), random());
        all.insert(token.clone(), (account, Instant::now()));
        Ok(GrantToken(token))
    }

    fn take(&self, token: &GrantToken) -> Option<String> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (account, since) = all.remove(&token.0)?;
        (since.elapsed() < Duration::from_secs(GRANT_SECONDS)).then_some(account)
    }
}

impl Store {
    /// See [`ReaderGrant`].
    pub fn reader_grant(&self, request: &ReaderGrant) -> Result<GrantToken, Fault> {
        let directory = self.directory();
        let by_address = Address::parse(&request.account)
            .ok()
            .and_then(|a| directory.login(&a).map(|(n, _)| n.to_owned()));
        let by_name = directory.ids.contains_key(&request.account).then(|| request.account.clone());
        self.grants.give(by_name.or(by_address).ok_or(Fault::NoAccount)?)
    }

    /// See [`LoginGrant`].
    pub fn login_grant(&self, peer: &Peer, request: &LoginGrant) -> Result<LoginOutcome, Fault> {
        let Some(name) = self.grants.take(&request.token) else { return Ok(LoginOutcome::Denied) };
        let directory = self.directory();
        let Some(id) = directory.ids.get(&name).copied() else { return Ok(LoginOutcome::Denied) };
        let own = directory.accounts.get(&name).and_then(|account| account.addresses.first().cloned());
        let Some(login) =
            own.or_else(|| Address::parse(&format!("{name}@{}", directory.settings.hostname)).ok())
        else {
            return Ok(LoginOutcome::Denied);
        };
        // Local: a login that is switched off does not end it.
        let session = self.open_session(peer, id, &name, login.clone(), true, Credential::Account)?;
        self.told((&request.context).into(), Some(id), "(admin)", LoginResult::SignedIn);
        Ok(LoginOutcome::SignedIn(SignedIn {
            session: session.id,
            account: id,
            account_name: name,
            login,
            server_signature: Vec::new(),
        }))
    }
}
