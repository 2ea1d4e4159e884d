//! Proving who somebody is. Secrets are read here and nowhere else.
//!
//! A name nobody has costs the same work and gets the same answers as a wrong password: a salt made from the name,
//! the same number of rounds, a verification against nothing. Failures are counted by address class over all
//! protocols; what the account lacks a secret for does not count (row AU-10).

use crate::keys;
use crate::limits::{
    EXCHANGE_AGE, EXCHANGES, FAILURE_CLASSES, PASSWORD_CHECKS, PASSWORD_WAITERS, VERIFIED, VERIFIED_AGE,
};
use crate::records::{Argon2, Read, Scram, Secrets, encode};
use crate::store::{Peer, Store};
use argon2::{Algorithm, Params, Version};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use libmox_sasl::scram::{Hash, Verifier};
use libmox_sasl::{Secret, prepare_password, scram};
use libmox_store::{
    Fault, LoginContext, LoginLocal, LoginOutcome, LoginPassword, LoginResult, ScramChallenge, ScramFinish,
    ScramHash, ScramStart, SignedIn,
};
use libmox_types::{AccountId, Address, LocalPart};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Semaphore;
use tokio::time::{Duration, Instant};

const ITERATIONS: u32 = 10_000;
const SALT_OCTETS: usize = 16;
const MINUTE: Duration = Duration::from_secs(60);

/// What logins remember between requests; gone with the process.
pub struct Logins {
    decoy: Vec<u8>,
    memory_key: hmac::Key,
    verified: Mutex<HashMap<Vec<u8>, Instant>>,
    exchanges: Mutex<HashMap<u64, Exchange>>,
    next_exchange: AtomicU64,
    failures: Mutex<HashMap<[u8; 8], (Instant, u32)>>,
    checks: Semaphore,
    waiting: AtomicUsize,
}

struct Exchange {
    begun: Instant,
    hash: Hash,
    nonce: String,
    known: Known,
}

enum Known {
    Nobody,
    NoSecret,
    Account { id: AccountId, name: String, login: Address, verifier: Verifier },
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every critical section here leaves whole values.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn random(octets: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(octets + 8);
    while bytes.len() < octets {
        bytes.extend_from_slice(&libmox_service::clock::random_u64().to_le_bytes());
    }
    bytes.truncate(octets);
    bytes
}

impl Logins {
    /// `decoy` is the secret for salts of names nobody has.
    pub fn new(decoy: Vec<u8>) -> Self {
        Self {
            decoy,
            memory_key: hmac::Key::new(hmac::HMAC_SHA256, &random(32)),
            verified: Mutex::default(),
            exchanges: Mutex::default(),
            next_exchange: AtomicU64::new(libmox_service::clock::random_u64()),
            failures: Mutex::default(),
            checks: Semaphore::new(PASSWORD_CHECKS),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Whether an address class failed too often within the last minute.
    fn is_limited(&self, ip: IpAddr, most: u32) -> bool {
        let mut failures = lock(&self.failures);
        match failures.get(&class(ip)) {
            Some((since, _)) if since.elapsed() >= MINUTE => {
                failures.remove(&class(ip));
                false
            }
            Some((_, count)) => *count >= most,
            None => false,
        }
    }

    fn failed(&self, ip: IpAddr) {
        let mut failures = lock(&self.failures);
        if failures.len() >= FAILURE_CLASSES {
            failures.retain(|_, (since, _)| since.elapsed() < MINUTE);
            if failures.len() >= FAILURE_CLASSES {
                failures.clear();
            }
        }
        let entry = failures.entry(class(ip)).or_insert_with(|| (Instant::now(), 0));
        if entry.0.elapsed() >= MINUTE {
            *entry = (Instant::now(), 0);
        }
        entry.1 += 1;
    }

    /// A name for "this password was right for these secrets" that cannot be turned back.
    fn memory(&self, account: AccountId, secrets: &Secrets, password: &Secret) -> Vec<u8> {
        let mut text = Vec::new();
        text.extend_from_slice(&account.0.to_le_bytes());
        text.extend_from_slice(&secrets.argon2.hash);
        text.extend_from_slice(password.0.as_bytes());
        hmac::sign(&self.memory_key, &text).as_ref().to_vec()
    }

    fn remembers(&self, memory: &[u8]) -> bool {
        lock(&self.verified).get(memory).is_some_and(|at| at.elapsed() < VERIFIED_AGE)
    }

    fn remember(&self, memory: Vec<u8>) {
        let mut verified = lock(&self.verified);
        if verified.len() >= VERIFIED {
            verified.retain(|_, at| at.elapsed() < VERIFIED_AGE);
            if verified.len() >= VERIFIED {
                verified.clear();
            }
        }
        verified.insert(memory, Instant::now());
    }

    /// Runs expensive work, a few at a time.
    async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Fault> {
        struct Waiter<'a>(&'a AtomicUsize);
        impl Drop for Waiter<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::Relaxed);
            }
        }
        let waiters = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiter = Waiter(&self.waiting);
        if waiters >= PASSWORD_WAITERS {
            return Err(Fault::Unavailable("too many logins at once".into()));
        }
        let _permit = self.checks.acquire().await.map_err(|_| Fault::Internal)?;
        tokio::task::spawn_blocking(work).await.map_err(|_| Fault::Internal)
    }
}

/// IPv4 addresses by themselves, IPv6 by /64.
fn class(ip: IpAddr) -> [u8; 8] {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            [0, 0, 0, 4, a, b, c, d]
        }
        IpAddr::V6(ip) => {
            let [a, b, c, d, e, f, g, h, ..] = ip.octets();
            [a, b, c, d, e, f, g, h]
        }
    }
}

fn argon2_of(password: &[u8], salt: &[u8], memory_kib: u32, passes: u32, lanes: u32) -> Option<Vec<u8>> {
    let params = Params::new(memory_kib, passes, lanes, Some(32)).ok()?;
    let mut hash = vec![0; 32];
    argon2::Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(password, salt, &mut hash)
        .ok()?;
    Some(hash)
}

/// Everything that is kept of a password.
fn derive_secrets(password: &Secret, now: libmox_types::Timestamp) -> Option<Secrets> {
    let (memory_kib, passes, lanes) =
        (Params::DEFAULT_M_COST, Params::DEFAULT_T_COST, Params::DEFAULT_P_COST);
    let salt = random(SALT_OCTETS);
    let hash = argon2_of(password.0.as_bytes(), &salt, memory_kib, passes, lanes)?;
    let kept = |hash| {
        let verifier = scram::derive(hash, password, &random(SALT_OCTETS), ITERATIONS);
        Scram {
            iterations: verifier.iterations,
            salt: verifier.salt,
            stored_key: verifier.stored_key,
            server_key: verifier.server_key,
        }
    };
    let (scram_sha1, scram_sha256) = (kept(Hash::Sha1), kept(Hash::Sha256));
    Some(Secrets {
        set: now,
        argon2: Argon2 { memory_kib, passes, lanes, salt, hash },
        scram_sha1,
        scram_sha256,
    })
}

fn is_right(argon2: &Argon2, password: &Secret) -> bool {
    argon2_of(password.0.as_bytes(), &argon2.salt, argon2.memory_kib, argon2.passes, argon2.lanes)
        .is_some_and(|hash| verify_slices_are_equal(&hash, &argon2.hash).is_ok())
}

impl Store {
    /// Sets the password of an account by its name (rows AU-20, AU-21, TR-20).
    pub async fn set_password(&self, name: &str, password: &str) -> Result<(), Fault> {
        if password.chars().count() < 8 {
            return Err(Fault::Invalid("a password has at least 8 characters".into()));
        }
        let password = prepare_password(password)
            .ok_or_else(|| Fault::Invalid("the password has characters that cannot be used".into()))?;
        let id: AccountId = self.engine.record(&keys::account_name(name))?.ok_or(Fault::NoAccount)?;
        let now = self.now();
        let secrets =
            self.logins.compute(move || derive_secrets(&password, now)).await?.ok_or(Fault::Internal)?;
        let live = self.accounts.live(id);
        let mut tx = self.engine.begin().await?;
        let lock = live.lock.lock().await;
        // Removed meanwhile?
        tx.get(&keys::account_record(id))?.ok_or(Fault::NoAccount)?;
        tx.change().put(keys::secrets(id), encode(&secrets));
        let ticket = tx.submit()?;
        drop(lock);
        ticket.committed().await?;
        Ok(())
    }

    /// PLAIN and LOGIN.
    pub async fn login_password(&self, peer: &Peer, request: LoginPassword) -> Result<LoginOutcome, Fault> {
        let directory = self.directory();
        let ip = request.context.remote_ip;
        if self.logins.is_limited(ip, directory.settings.login_failures_per_minute) {
            self.told(&request.context, None, &request.username, LoginResult::Limited);
            return Ok(LoginOutcome::Limited);
        }
        let login = Address::parse(&request.username).ok();
        let found = login.as_ref().and_then(|login| directory.login(login));
        let secrets = match found {
            Some((_, id)) => self.engine.record::<Secrets>(&keys::secrets(id))?,
            None => None,
        };
        let password = prepare_password(&request.password);
        let (Some(login), Some((name, id)), Some(secrets), Some(password)) =
            (&login, found, secrets, password)
        else {
            let given = Secret(request.password.chars().take(1024).collect());
            let nothing = Argon2 {
                memory_kib: Params::DEFAULT_M_COST,
                passes: Params::DEFAULT_T_COST,
                lanes: Params::DEFAULT_P_COST,
                salt: vec![0; SALT_OCTETS],
                hash: vec![0; 32],
            };
            self.logins.compute(move || is_right(&nothing, &given)).await?;
            self.logins.failed(ip);
            let known = found.map(|(_, id)| id);
            self.told(&request.context, known, &request.username, LoginResult::Denied);
            return Ok(LoginOutcome::Denied);
        };
        let memory = self.logins.memory(id, &secrets, &password);
        if !self.logins.remembers(&memory) {
            let argon2 = secrets.argon2.clone();
            if !self.logins.compute(move || is_right(&argon2, &password)).await? {
                self.logins.failed(ip);
                self.told(&request.context, Some(id), &request.username, LoginResult::Denied);
                return Ok(LoginOutcome::Denied);
            }
            self.logins.remember(memory);
        }
        self.welcome(peer, &request.context, id, name, login, Vec::new())
    }

    fn welcome(
        &self,
        peer: &Peer,
        context: &LoginContext,
        id: AccountId,
        name: &str,
        login: &Address,
        server_signature: Vec<u8>,
    ) -> Result<LoginOutcome, Fault> {
        // Row TR-42: only who knows the password learns that the login is switched off.
        if let Some(why) = self.directory().login_disabled(name) {
            self.told(context, Some(id), &login.to_string(), LoginResult::Disabled);
            return Ok(LoginOutcome::Disabled(why.to_owned()));
        }
        let session = self.open_session(peer, id, name, login.clone(), false)?;
        self.told(context, Some(id), &login.to_string(), LoginResult::SignedIn);
        Ok(LoginOutcome::SignedIn(SignedIn {
            session: session.id,
            account: id,
            account_name: name.to_owned(),
            login: login.clone(),
            server_signature,
        }))
    }

    /// First half of SCRAM.
    pub fn scram_start(&self, request: &ScramStart) -> Result<ScramChallenge, Fault> {
        let hash = match request.hash {
            ScramHash::Sha1 => Hash::Sha1,
            ScramHash::Sha256 => Hash::Sha256,
        };
        let directory = self.directory();
        let login = Address::parse(&request.username).ok();
        let known = match login.as_ref().and_then(|login| Some((login, directory.login(login)?))) {
            None => Known::Nobody,
            Some((login, (name, id))) => match self.engine.record::<Secrets>(&keys::secrets(id))? {
                None => Known::NoSecret,
                Some(secrets) => {
                    let kept = if hash == Hash::Sha1 { secrets.scram_sha1 } else { secrets.scram_sha256 };
                    let verifier = Verifier {
                        hash,
                        salt: kept.salt,
                        iterations: kept.iterations,
                        stored_key: kept.stored_key,
                        server_key: kept.server_key,
                    };
                    Known::Account { id, name: name.to_owned(), login: login.clone(), verifier }
                }
            },
        };
        let (salt, iterations) = match &known {
            Known::Account { verifier, .. } => (verifier.salt.clone(), verifier.iterations),
            _ => {
                let mut salt = scram::decoy_salt(&self.logins.decoy, hash, &request.username);
                salt.truncate(SALT_OCTETS);
                (salt, ITERATIONS)
            }
        };
        let nonce: String = random(18).iter().map(|byte| format!("{byte:02x}")).collect();
        let exchange = self.logins.next_exchange.fetch_add(1, Ordering::Relaxed);
        let mut exchanges = lock(&self.logins.exchanges);
        if exchanges.len() >= EXCHANGES {
            exchanges.retain(|_, exchange| exchange.begun.elapsed() < EXCHANGE_AGE);
            if exchanges.len() >= EXCHANGES {
                return Err(Fault::Unavailable("too many logins at once".into()));
            }
        }
        exchanges.insert(exchange, Exchange { begun: Instant::now(), hash, nonce: nonce.clone(), known });
        Ok(ScramChallenge { exchange, salt, iterations, server_nonce: nonce })
    }

    /// Second half of SCRAM.
    pub fn scram_finish(&self, peer: &Peer, request: &ScramFinish) -> Result<LoginOutcome, Fault> {
        let exchange = lock(&self.logins.exchanges).remove(&request.exchange);
        let ip = request.context.remote_ip;
        if self.logins.is_limited(ip, self.directory().settings.login_failures_per_minute) {
            self.told(&request.context, None, "", LoginResult::Limited);
            return Ok(LoginOutcome::Limited);
        }
        let fresh = exchange.filter(|exchange| {
            exchange.begun.elapsed() < EXCHANGE_AGE && bears_nonce(&request.auth_message, &exchange.nonce)
        });
        let denied = |account: Option<AccountId>, known: &str| {
            self.logins.failed(ip);
            self.told(&request.context, account, known, LoginResult::Denied);
            Ok(LoginOutcome::Denied)
        };
        match fresh.map(|exchange| (exchange.hash, exchange.known)) {
            Some((_, Known::NoSecret)) => {
                self.told(&request.context, None, "", LoginResult::NoSecret);
                Ok(LoginOutcome::NoSecret)
            }
            Some((_, Known::Account { id, name, login, verifier })) => {
                match scram::verify(&verifier, &request.auth_message, &request.proof) {
                    Some(signature) => self.welcome(peer, &request.context, id, &name, &login, signature),
                    None => denied(Some(id), &login.to_string()),
                }
            }
            Some((_, Known::Nobody)) | None => denied(None, ""),
        }
    }

    /// A program on this machine.
    pub fn login_local(&self, peer: &Peer, request: &LoginLocal) -> Result<LoginOutcome, Fault> {
        let directory = self.directory();
        let Ok(local) = LocalPart::new(&request.user) else { return Ok(LoginOutcome::Denied) };
        let login = Address { local, domain: directory.settings.hostname.clone() };
        let own = directory.ids.get_key_value(&request.user);
        let postmaster = || directory.ids.get_key_value(directory.settings.postmaster.as_deref()?);
        let Some((name, id)) = own.or_else(postmaster) else { return Ok(LoginOutcome::Denied) };
        let session = self.open_session(peer, *id, name, login.clone(), true)?;
        tracing::debug!(cid = %request.cid, uid = request.uid, user = request.user, account = name, "local program");
        Ok(LoginOutcome::SignedIn(SignedIn {
            session: session.id,
            account: *id,
            account_name: name.clone(),
            login,
            server_signature: Vec::new(),
        }))
    }
}

/// RFC 5802 §5.1: both server-first and client-final carry the whole nonce, which ends with the server's half.
fn bears_nonce(auth_message: &[u8], nonce: &str) -> bool {
    let parts = auth_message.split(|byte| *byte == b',').filter_map(|part| part.strip_prefix(b"r="));
    parts.filter(|part| part.ends_with(nonce.as_bytes())).count() >= 2
}

impl Store {
    /// One line in the journal and one in the account's record of logins; a flood of refusals is in the journal only.
    pub(crate) fn told(
        &self,
        context: &LoginContext,
        account: Option<AccountId>,
        login: &str,
        result: LoginResult,
    ) {
        let outcome = match result {
            LoginResult::SignedIn => "signed in",
            LoginResult::Denied => "denied",
            LoginResult::Disabled => "disabled",
            LoginResult::Limited => "limited",
            LoginResult::NoSecret => "no secret",
        };
        tracing::info!(
            mox_cid = %context.cid,
            mox_remote_ip = %context.remote_ip,
            mox_protocol = context.protocol,
            mox_mechanism = context.mechanism,
            mox_login = login,
            mox_outcome = outcome,
            "login {outcome}"
        );
        if result != LoginResult::Limited {
            self.note_login(context, account, login, result);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_classes() {
        for (a, b, same) in [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("2001:db8::1", "2001:db8::ffff:2", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
        ] {
            let (a, b): (IpAddr, IpAddr) = (a.parse().unwrap(), b.parse().unwrap());
            assert_eq!(class(a) == class(b), same, "{a} {b}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn failures_are_forgotten_after_a_minute() {
        let logins = Logins::new(vec![1]);
        let ip: IpAddr = "192.0.2.1".parse().unwrap();
        for _ in 0..3 {
            assert!(!logins.is_limited(ip, 3));
            logins.failed(ip);
        }
        assert!(logins.is_limited(ip, 3));
        assert!(!logins.is_limited("192.0.2.2".parse().unwrap(), 3));
        tokio::time::advance(MINUTE).await;
        assert!(!logins.is_limited(ip, 3));
    }

    #[test]
    fn the_nonce_must_be_in_both_messages() {
        assert!(bears_nonce(b"n=u,r=abc,r=abcXYZ,s=AA,i=1,c=biws,r=abcXYZ", "XYZ"));
        assert!(!bears_nonce(b"n=u,r=abc,r=abcXYZ,s=AA,i=1,c=biws,r=abc", "XYZ"));
        assert!(!bears_nonce(b"", "XYZ"));
    }
}
