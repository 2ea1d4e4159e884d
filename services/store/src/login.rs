//! Proving who somebody is. Secrets are read here and nowhere else.
//!
//! A name nobody has costs the same work and gets the same answers as a wrong password: a salt made from the name,
//! the same number of rounds, a verification against nothing. Failures are counted by address class over all
//! protocols, before the work is done, so that many at once are no way around the limit; what the account lacks a
//! secret for does not count (row AU-10), and who gets in is forgiven (row AU-15).

use crate::keys;
use crate::limits::{
    ATTEMPT_TEXT, EXCHANGE_AGE, EXCHANGES, FAILURE_CLASSES, FAILURES_A_DAY, PASSWORD_CHECKS,
    PASSWORD_WAITERS, VERIFIED, VERIFIED_AGE,
};
use crate::records::{Read, Secrets, TlsKeyRecord, encode};
use crate::secrets::{self, ITERATIONS, SALT_OCTETS, random};
use crate::store::{Credential, Peer, Store};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use libmox_sasl::cram::CramKey;
use libmox_sasl::scram::{Hash, Verifier};
use libmox_sasl::{Secret, cram, prepare_password, scram};
use libmox_service::limiter::Limiter;
use libmox_store::{
    CramChallenge, CramFinish, Fault, KeyLogin, LoginContext, LoginKey, LoginLocal, LoginOutcome,
    LoginPassword, LoginResult, NoteFailure, Proof, Scopes, ScramChallenge, ScramFinish, ScramHash,
    ScramStart, SignIn, SignedIn, Standing,
};
use libmox_types::{AccountId, Address, LocalPart, Timestamp};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Semaphore;
use tokio::time::{Duration, Instant};

/// A minute and a day.
const WINDOWS: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(24 * 3600)];

/// What logins remember between requests; gone with the process.
pub struct Logins {
    decoy: Vec<u8>,
    memory_key: hmac::Key,
    verified: Mutex<HashMap<Vec<u8>, Instant>>,
    exchanges: Mutex<HashMap<u64, Exchange>>,
    next_exchange: AtomicU64,
    failures: Limiter<2>,
    checks: Semaphore,
    waiting: AtomicUsize,
}

struct Exchange {
    begun: Instant,
    what: What,
}

enum What {
    Scram { nonce: String, username: String, known: Known },
    Cram { challenge: String },
}

enum Known {
    Nobody,
    NoSecret,
    Account { id: AccountId, name: String, login: Address, verifiers: Vec<(Option<App>, Verifier)> },
}

/// An app password, without what it is compared by.
#[derive(Clone)]
struct App {
    name: String,
    scopes: Scopes,
    expires: Option<Timestamp>,
}

impl App {
    /// Whether it is good for this, now.
    fn fits(&self, context: &LoginContext, now: Timestamp) -> bool {
        let scope = match context.protocol.as_str() {
            "imap" => self.scopes.imap,
            "submission" => self.scopes.submission,
            _ => false,
        };
        scope && self.expires.is_none_or(|expires| now < expires)
    }
}

fn credential(app: Option<App>) -> Credential {
    app.map_or(Credential::Account, |app| Credential::App(app.name))
}

/// Where a login comes from, and to which address of ours.
#[derive(Clone, Copy)]
pub struct Whence<'a> {
    /// What the front end says.
    pub context: &'a LoginContext,
    /// Row AU-13.
    pub local_ip: Option<IpAddr>,
}

impl<'a> From<&'a LoginContext> for Whence<'a> {
    fn from(context: &'a LoginContext) -> Self {
        Self { context, local_ip: None }
    }
}

/// A login that counts as failed until it is known better.
struct Try<'a> {
    logins: &'a Logins,
    ip: IpAddr,
    failed: bool,
}

impl Try<'_> {
    /// It did.
    fn failed(mut self) {
        self.failed = true;
    }

    /// It did not, and what failed before is forgiven.
    fn succeeded(mut self) {
        self.failed = true;
        self.logins.failures.forget(0, self.ip);
    }
}

impl Drop for Try<'_> {
    /// Nobody knows: it does not count.
    fn drop(&mut self) {
        if !self.failed {
            self.logins.failures.give_back(0, self.ip, 1);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every critical section here leaves whole values.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
            failures: Limiter::new(WINDOWS, FAILURE_CLASSES),
            checks: Semaphore::new(PASSWORD_CHECKS),
            waiting: AtomicUsize::new(0),
        }
    }

    /// What salts are made from.
    pub fn server_secret(&self) -> &[u8] {
        &self.decoy
    }

    /// A login begins, unless its address class failed too often.
    fn begin(&self, ip: IpAddr, a_minute: u32) -> Option<Try<'_>> {
        // Made only where it counted: a try that is dropped gives back.
        let counted = self.failures.take(0, ip, 1, windows(a_minute));
        counted.then(|| Try { logins: self, ip, failed: false })
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

    fn begin_exchange(&self, what: What) -> Result<u64, Fault> {
        let number = self.next_exchange.fetch_add(1, Ordering::Relaxed);
        let mut exchanges = lock(&self.exchanges);
        if exchanges.len() >= EXCHANGES {
            exchanges.retain(|_, exchange| exchange.begun.elapsed() < EXCHANGE_AGE);
            if exchanges.len() >= EXCHANGES {
                return Err(Fault::Unavailable("too many logins at once".into()));
            }
        }
        exchanges.insert(number, Exchange { begun: Instant::now(), what });
        Ok(number)
    }

    /// An exchange is answered once.
    fn end_exchange(&self, number: u64) -> Option<What> {
        let exchange = lock(&self.exchanges).remove(&number)?;
        (exchange.begun.elapsed() < EXCHANGE_AGE).then_some(exchange.what)
    }

    /// Runs expensive work, a few at a time.
    pub async fn compute<T: Send + 'static>(
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

/// Row AU-15: of a minute and a day.
fn windows(a_minute: u32) -> [u64; 2] {
    [u64::from(a_minute), u64::from(a_minute) * FAILURES_A_DAY]
}

/// Who gets in, and how.
struct Welcome<'a> {
    id: AccountId,
    name: &'a str,
    login: &'a Address,
    by: Credential,
    server_signature: Vec<u8>,
}

impl Store {
    /// Sets the password of an account by its name (rows AU-20, AU-21, TR-20). App passwords go on.
    pub async fn set_password(&self, name: &str, password: &str) -> Result<(), Fault> {
        if password.chars().count() < 8 {
            return Err(Fault::Invalid("a password has at least 8 characters".into()));
        }
        let password = prepare_password(password)
            .ok_or_else(|| Fault::Invalid("the password has characters that cannot be used".into()))?;
        let id: AccountId = self.engine.record(&keys::account_name(name))?.ok_or(Fault::NoAccount)?;
        let now = self.now();
        let salts = self.salts(id)?;
        let derive = move || secrets::of_password(&password, &salts, now);
        let secrets = self.logins.compute(derive).await?.ok_or(Fault::Internal)?;
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

    /// How an address stands.
    pub fn standing(&self, ip: IpAddr) -> Standing {
        let most = windows(self.directory().settings.login_failures_per_minute);
        let [failures, _] = self.logins.failures.counted(0, ip);
        Standing {
            failures: u32::try_from(failures).unwrap_or(u32::MAX),
            limited: self.logins.failures.is_full(0, ip, most),
        }
    }

    fn begin_login(&self, from: Whence<'_>, login: &str) -> Option<Try<'_>> {
        let a_minute = self.directory().settings.login_failures_per_minute;
        let begun = self.logins.begin(from.context.remote_ip, a_minute);
        if begun.is_none() {
            self.told(from, None, login, LoginResult::Limited);
        }
        begun
    }

    fn deny(
        &self,
        begun: Try<'_>,
        from: Whence<'_>,
        account: Option<AccountId>,
        login: &str,
    ) -> LoginOutcome {
        begun.failed();
        self.told(from, account, login, LoginResult::Denied);
        LoginOutcome::Denied
    }

    /// Any way to sign in, with what is recorded of it besides.
    pub async fn sign_in(&self, peer: &Peer, request: SignIn) -> Result<KeyLogin, Fault> {
        let at = request.local_ip;
        let outcome = match request.proof {
            Proof::Password(proof) => self.login_password(peer, proof, at).await?,
            Proof::Scram(proof) => self.scram_finish(peer, &proof, at)?,
            Proof::Cram(proof) => self.cram_finish(peer, &proof, at)?,
            Proof::Key(proof) => return self.login_key(peer, &proof, at),
        };
        Ok(KeyLogin { outcome, preauth: false })
    }

    /// A login that came to nothing elsewhere. Only what is no guess can end so.
    pub fn note_failure(&self, request: &NoteFailure) {
        use LoginResult as R;
        if !matches!(request.result, R::BadBinding | R::Malformed | R::Cancelled) {
            return;
        }
        let from = Whence { context: &request.context, local_ip: request.local_ip };
        let login = request.username.as_deref().unwrap_or_default();
        let directory = self.directory();
        let account = Address::parse(login).ok().and_then(|login| Some(directory.login(&login)?.1));
        self.told(from, account, login, request.result);
    }

    /// PLAIN and LOGIN.
    pub async fn login_password(
        &self,
        peer: &Peer,
        request: LoginPassword,
        local_ip: Option<IpAddr>,
    ) -> Result<LoginOutcome, Fault> {
        let from = Whence { context: &request.context, local_ip };
        let Some(begun) = self.begin_login(from, &request.username) else {
            return Ok(LoginOutcome::Limited);
        };
        let directory = self.directory();
        let login = Address::parse(&request.username).ok();
        let found = login.as_ref().and_then(|login| Some((login, directory.login(login)?)));
        let password = prepare_password(&request.password);
        if let (Some((login, (name, id))), Some(password)) = (found, &password)
            && secrets::looks_made(password)
            && let Some(app) = self.app_of(id, password)?
        {
            if !app.fits(from.context, self.now()) {
                return Ok(self.deny(begun, from, Some(id), &request.username));
            }
            let by = credential(Some(app));
            let welcome = Welcome { id, name, login, by, server_signature: Vec::new() };
            return self.welcome(peer, from, begun, welcome);
        }
        let secrets = match found {
            Some((_, (_, id))) => self.engine.record::<Secrets>(&keys::secrets(id))?,
            None => None,
        };
        let (Some((login, (name, id))), Some(secrets), Some(password)) = (found, secrets, password) else {
            let given = Secret(request.password.chars().take(1024).collect());
            self.logins.compute(move || secrets::is_right(&secrets::nothing(), &given)).await?;
            let known = found.map(|(_, (_, id))| id);
            return Ok(self.deny(begun, from, known, &request.username));
        };
        let memory = self.logins.memory(id, &secrets, &password);
        if !self.logins.remembers(&memory) {
            let argon2 = secrets.argon2.clone();
            if !self.logins.compute(move || secrets::is_right(&argon2, &password)).await? {
                return Ok(self.deny(begun, from, Some(id), &request.username));
            }
            self.logins.remember(memory);
        }
        let by = Credential::Account;
        self.welcome(peer, from, begun, Welcome { id, name, login, by, server_signature: Vec::new() })
    }

    /// The app password that this is.
    fn app_of(&self, id: AccountId, password: &Secret) -> Result<Option<App>, Fault> {
        let digest = secrets::digest_of(id, password);
        let mut all = self.app_records(id)?.into_iter();
        let found = all.find(|(_, record)| verify_slices_are_equal(&record.digest, &digest).is_ok());
        Ok(found.map(|(name, record)| App { name, scopes: record.scopes, expires: record.expires }))
    }

    fn welcome(
        &self,
        peer: &Peer,
        from: Whence<'_>,
        begun: Try<'_>,
        who: Welcome<'_>,
    ) -> Result<LoginOutcome, Fault> {
        let Welcome { id, name, login, by, server_signature } = who;
        // Row TR-42: only who knows the password learns that the login is switched off.
        if let Some(why) = self.directory().login_disabled(name) {
            self.told(from, Some(id), &login.to_string(), LoginResult::Disabled);
            return Ok(LoginOutcome::Disabled(why.to_owned()));
        }
        let session = self.open_session(peer, id, name, login.clone(), false, by)?;
        begun.succeeded();
        self.told(from, Some(id), &login.to_string(), LoginResult::SignedIn);
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
            Some((login, (name, id))) => {
                let verifiers = self.verifiers(id, hash)?;
                match verifiers.is_empty() {
                    true => Known::NoSecret,
                    false => Known::Account { id, name: name.to_owned(), login: login.clone(), verifiers },
                }
            }
        };
        let (salt, iterations) = match &known {
            Known::Account { verifiers, .. } if !verifiers.is_empty() => {
                (verifiers[0].1.salt.clone(), verifiers[0].1.iterations)
            }
            _ => {
                let mut salt = scram::decoy_salt(&self.logins.decoy, hash, &request.username);
                salt.truncate(SALT_OCTETS);
                (salt, ITERATIONS)
            }
        };
        let nonce: String = random(18).iter().map(|byte| format!("{byte:02x}")).collect();
        let username = request.username.chars().take(ATTEMPT_TEXT).collect();
        let exchange = self.logins.begin_exchange(What::Scram { nonce: nonce.clone(), username, known })?;
        Ok(ScramChallenge { exchange, salt, iterations, server_nonce: nonce })
    }

    /// Everything a proof may be made with: all with the salt and rounds of the first.
    fn verifiers(&self, id: AccountId, hash: Hash) -> Result<Vec<(Option<App>, Verifier)>, Fault> {
        let pick = |sha1, sha256| if hash == Hash::Sha1 { sha1 } else { sha256 };
        let mut all = Vec::new();
        if let Some(secrets) = self.engine.record::<Secrets>(&keys::secrets(id))? {
            let kept = pick(secrets.scram_sha1, secrets.scram_sha256);
            all.push((None, secrets::verifier(hash, &kept)));
        }
        for (name, record) in self.app_records(id)? {
            let app = App { name, scopes: record.scopes, expires: record.expires };
            let kept = pick(record.scram_sha1, record.scram_sha256);
            all.push((Some(app), secrets::verifier(hash, &kept)));
        }
        Ok(all)
    }

    /// Second half of SCRAM.
    pub fn scram_finish(
        &self,
        peer: &Peer,
        request: &ScramFinish,
        local_ip: Option<IpAddr>,
    ) -> Result<LoginOutcome, Fault> {
        let exchange = self.logins.end_exchange(request.exchange);
        let from = Whence { context: &request.context, local_ip };
        let (bears, username, known) = match exchange {
            Some(What::Scram { nonce, username, known }) => {
                (bears_nonce(&request.auth_message, &nonce), username, known)
            }
            _ => (false, String::new(), Known::Nobody),
        };
        let Some(begun) = self.begin_login(from, &username) else { return Ok(LoginOutcome::Limited) };
        if !bears {
            return Ok(self.deny(begun, from, None, &username));
        }
        match known {
            Known::Nobody => Ok(self.deny(begun, from, None, &username)),
            // Rows AU-10, TR-24: not the client's fault.
            Known::NoSecret => {
                self.told(from, None, &username, LoginResult::NoSecret);
                Ok(LoginOutcome::NoSecret)
            }
            Known::Account { id, name, login, verifiers } => {
                let now = self.now();
                let fitting = verifiers
                    .into_iter()
                    .filter(|(app, _)| app.as_ref().is_none_or(|app| app.fits(from.context, now)));
                for (app, verifier) in fitting {
                    if let Some(server_signature) =
                        scram::verify(&verifier, &request.auth_message, &request.proof)
                    {
                        let by = credential(app);
                        let welcome = Welcome { id, name: &name, login: &login, by, server_signature };
                        return self.welcome(peer, from, begun, welcome);
                    }
                }
                Ok(self.deny(begun, from, Some(id), &login.to_string()))
            }
        }
    }

    /// A challenge for CRAM-MD5, whoever is going to answer it.
    pub fn cram_start(&self) -> Result<CramChallenge, Fault> {
        let front: String = random(16).iter().map(|byte| format!("{byte:02x}")).collect();
        let challenge = format!("<{front}@{}>", self.directory().settings.hostname.ascii());
        let exchange = self.logins.begin_exchange(What::Cram { challenge: challenge.clone() })?;
        Ok(CramChallenge { exchange, challenge })
    }

    /// Its answer.
    pub fn cram_finish(
        &self,
        peer: &Peer,
        request: &CramFinish,
        local_ip: Option<IpAddr>,
    ) -> Result<LoginOutcome, Fault> {
        let exchange = self.logins.end_exchange(request.exchange);
        let from = Whence { context: &request.context, local_ip };
        let Some(begun) = self.begin_login(from, &request.username) else {
            return Ok(LoginOutcome::Limited);
        };
        let directory = self.directory();
        let login = Address::parse(&request.username).ok();
        let found = login.as_ref().and_then(|login| Some((login, directory.login(login)?)));
        let (Some(What::Cram { challenge }), Some((login, (name, id)))) = (exchange, found) else {
            return Ok(self.deny(begun, from, None, &request.username));
        };
        let mut states: Vec<(Option<App>, [[u32; 4]; 2])> = Vec::new();
        if let Some(secrets) = self.engine.record::<Secrets>(&keys::secrets(id))? {
            states.extend(secrets.cram.map(|state| (None, state)));
        }
        for (name, record) in self.app_records(id)? {
            let app = App { name, scopes: record.scopes, expires: record.expires };
            states.push((Some(app), record.cram));
        }
        if states.is_empty() {
            self.told(from, Some(id), &request.username, LoginResult::NoSecret);
            return Ok(LoginOutcome::NoSecret);
        }
        let now = self.now();
        for (app, [inner, outer]) in states {
            let fits = app.as_ref().is_none_or(|app| app.fits(from.context, now));
            if fits && cram::verify(&CramKey { inner, outer }, challenge.as_bytes(), &request.digest) {
                let by = credential(app);
                let welcome = Welcome { id, name, login, by, server_signature: Vec::new() };
                return self.welcome(peer, from, begun, welcome);
            }
        }
        Ok(self.deny(begun, from, Some(id), &request.username))
    }

    /// The key of a client certificate (rows AU-05, AU-07). A key that nobody has is no guess, so it does not count.
    pub fn login_key(
        &self,
        peer: &Peer,
        request: &LoginKey,
        local_ip: Option<IpAddr>,
    ) -> Result<KeyLogin, Fault> {
        let from = Whence { context: &request.context, local_ip };
        let ended = |outcome, preauth| Ok(KeyLogin { outcome, preauth });
        let asked = request.authorize.as_deref().unwrap_or_default();
        let Some(begun) = self.begin_login(from, asked) else {
            return ended(LoginOutcome::Limited, false);
        };
        let owner: Option<AccountId> = self.engine.record(&keys::tls_key_owner(&request.fingerprint))?;
        let record: Option<TlsKeyRecord> = match owner {
            Some(id) => self.engine.record(&keys::tls_key(id, &request.fingerprint))?,
            None => None,
        };
        let (Some(id), Some(record)) = (owner, record) else {
            self.told(from, None, asked, LoginResult::Denied);
            return ended(LoginOutcome::Denied, false);
        };
        let directory = self.directory();
        let login = match &request.authorize {
            Some(name) => Address::parse(name).ok(),
            None => Some(record.login),
        };
        // The address must still lead to the account of the key.
        let found = login.as_ref().and_then(|login| Some((login, directory.login(login)?)));
        let Some((login, (name, _))) = found.filter(|(_, (_, account))| *account == id) else {
            return ended(self.deny(begun, from, Some(id), asked), false);
        };
        let by = Credential::Key(request.fingerprint.clone());
        let welcome = Welcome { id, name, login, by, server_signature: Vec::new() };
        let outcome = self.welcome(peer, from, begun, welcome)?;
        ended(outcome, !record.no_imap_preauth)
    }

    /// A program on this machine.
    pub fn login_local(&self, peer: &Peer, request: &LoginLocal) -> Result<LoginOutcome, Fault> {
        let directory = self.directory();
        let Ok(local) = LocalPart::new(&request.user) else { return Ok(LoginOutcome::Denied) };
        let login = Address { local, domain: directory.settings.hostname.clone() };
        let own = directory.ids.get_key_value(&request.user);
        let postmaster = || directory.ids.get_key_value(directory.settings.postmaster.as_deref()?);
        let Some((name, id)) = own.or_else(postmaster) else { return Ok(LoginOutcome::Denied) };
        let session = self.open_session(peer, *id, name, login.clone(), true, Credential::Account)?;
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
        from: Whence<'_>,
        account: Option<AccountId>,
        login: &str,
        result: LoginResult,
    ) {
        let context = from.context;
        let outcome = match result {
            LoginResult::SignedIn => "signed in",
            LoginResult::Denied => "denied",
            LoginResult::Disabled => "disabled",
            LoginResult::Limited => "limited",
            LoginResult::NoSecret => "no secret",
            LoginResult::BadBinding => "bad channel binding",
            LoginResult::Malformed => "malformed",
            LoginResult::Cancelled => "cancelled",
        };
        // As a text, so that what is quoted in it is not quoted again (TR-40).
        let shown: String = login.chars().filter(|c| !c.is_control()).take(ATTEMPT_TEXT).collect();
        tracing::info!(
            mox_cid = %context.cid,
            mox_remote_ip = %context.remote_ip,
            mox_protocol = context.protocol,
            mox_mechanism = context.mechanism,
            mox_login = %shown,
            mox_outcome = outcome,
            "login {outcome}"
        );
        if result == LoginResult::BadBinding {
            // Row AU-02.
            tracing::warn!(
                mox_cid = %context.cid,
                mox_remote_ip = %context.remote_ip,
                mox_login = %shown,
                "somebody may sit between {shown} and this server: its connection is not the one that ends here"
            );
        }
        if result != LoginResult::Limited {
            self.note_login(from, account, login, result);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn failures_are_forgotten_in_time_or_by_success() {
        let logins = Logins::new(vec![1]);
        let ip: IpAddr = "192.0.2.1".parse().unwrap();
        let fail = |ip| logins.begin(ip, 3).map(Try::failed).is_some();
        assert!(fail(ip) && fail(ip) && fail(ip));
        assert!(!fail(ip), "row AU-15");
        assert!(logins.begin("192.0.2.2".parse().unwrap(), 3).is_some());
        tokio::time::advance(WINDOWS[0]).await;
        assert!(fail(ip) && fail(ip));
        drop(logins.begin(ip, 3));
        logins.begin(ip, 3).unwrap().succeeded();
        assert!(fail(ip) && fail(ip) && fail(ip) && !fail(ip));
        for _ in 0..10 {
            tokio::time::advance(WINDOWS[0]).await;
            while fail(ip) {}
        }
        tokio::time::advance(WINDOWS[0]).await;
        assert!(!fail(ip), "too many for a day");
        tokio::time::advance(WINDOWS[1]).await;
        assert!(fail(ip));
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_failures_are_too_many_for_an_address_and_its_neighbours() {
        // Row AU-15: 10, 30 and 90 in a minute, 50, 150 and 450 in a day.
        let config = libmox_service::config::Static::parse("").unwrap();
        let a_minute = u32::try_from(config.store.login_failures_per_minute).unwrap();
        let count = |logins: &Logins, ips: &[IpAddr]| {
            ips.iter()
                .map(|ip| (0..500).filter(|_| logins.begin(*ip, a_minute).map(Try::failed).is_some()).count())
                .sum::<usize>()
        };
        let ips = |all: &[&str]| all.iter().map(|ip| ip.parse().unwrap()).collect::<Vec<IpAddr>>();
        let near = ips(&["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"]);
        let wide: Vec<IpAddr> = (0..12u8).map(|n| IpAddr::from([192, 0, n % 8, 64 * (n / 8) + 1])).collect();
        for (addresses, minute, day) in [(ips(&["192.0.2.1"]), 10, 50), (near, 30, 150), (wide, 90, 450)] {
            let logins = Logins::new(vec![1]);
            assert_eq!(count(&logins, &addresses), minute, "{addresses:?}");
            let mut all = minute;
            for _ in 0..9 {
                tokio::time::advance(WINDOWS[0]).await;
                all += count(&logins, &addresses);
            }
            assert_eq!(all, day, "{addresses:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_right_password_is_remembered_for_a_quarter_of_an_hour() {
        // Row AU-18.
        let logins = Logins::new(vec![1]);
        logins.remember(vec![7]);
        tokio::time::advance(Duration::from_secs(15 * 60 - 1)).await;
        assert!(logins.remembers(&[7]) && !logins.remembers(&[8]));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!logins.remembers(&[7]));
    }

    #[tokio::test]
    async fn many_at_once_are_no_way_around_the_limit() {
        let logins = Logins::new(vec![1]);
        let ip: IpAddr = "192.0.2.1".parse().unwrap();
        let open: Vec<_> = (0..10).filter_map(|_| logins.begin(ip, 3)).collect();
        assert_eq!(open.len(), 3);
        drop(open);
        assert!(logins.begin(ip, 3).is_some());
    }

    #[test]
    fn the_nonce_must_be_in_both_messages() {
        assert!(bears_nonce(b"n=u,r=abc,r=abcXYZ,s=AA,i=1,c=biws,r=abcXYZ", "XYZ"));
        assert!(!bears_nonce(b"n=u,r=abc,r=abcXYZ,s=AA,i=1,c=biws,r=abc", "XYZ"));
        assert!(!bears_nonce(b"", "XYZ"));
    }
}
