//! What is remembered of logins (row TR-54): bounded, grouped by day, written behind the login's back.
//!
//! One task writes what waits as one change; nobody who signs in waits for it. More than [`ATTEMPTS_WAITING`] at
//! once are not written. Logins of a day that differ in nothing but their time are one record with a count. An IMAP
//! client may still say what it is: the record of its login waits for that, a moment (row AU-14). An account keeps 30
//! days, but of failures at most [`ATTEMPTS`] records; the oldest go first, a hundredth at once. Names that nobody has
//! share account 0.

use crate::engine::Engine;
use crate::keys::{self, Hash, hash};
use crate::limits::{AGENT_WAIT, ATTEMPT_AGE, ATTEMPT_TEXT, ATTEMPTS, ATTEMPTS_WAITING};
use crate::login::Whence;
use crate::records::{Read, encode};
use crate::store::Store;
use libmox_store::{Fault, LoginAttempt, LoginAttempts, LoginResult};
use libmox_types::{AccountId, Cid, Timestamp};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::{Bound, ControlFlow};
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::{mpsc, watch};

const PAGE: usize = 1_000;
const DAY: i64 = 24 * 3600;

/// Where attempts wait to be written.
pub struct Attempts {
    waiting: mpsc::Sender<(AccountId, LoginAttempt)>,
    /// Attempts not yet written.
    unwritten: watch::Sender<usize>,
    /// By connection: they wait for the name of the client.
    nameless: Mutex<HashMap<Cid, Vec<(AccountId, LoginAttempt)>>>,
}

/// The other end, for [`fn@write`].
pub type Inbox = mpsc::Receiver<(AccountId, LoginAttempt)>;

impl Attempts {
    pub fn new() -> (Self, Inbox) {
        let (waiting, inbox) = mpsc::channel(ATTEMPTS_WAITING);
        (Self { waiting, unwritten: watch::Sender::new(0), nameless: Mutex::default() }, inbox)
    }

    fn nameless(&self) -> MutexGuard<'_, HashMap<Cid, Vec<(AccountId, LoginAttempt)>>> {
        // Every critical section here leaves whole values.
        self.nameless.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, account: AccountId, attempt: LoginAttempt) {
        if self.waiting.try_send((account, attempt)).is_err() {
            self.unwritten.send_modify(|waiting| *waiting -= 1);
        }
    }

    /// These wait no longer.
    fn send_nameless(&self, cid: Cid, user_agent: &str) {
        let waiting = self.nameless().remove(&cid).unwrap_or_default();
        for (account, mut attempt) in waiting {
            attempt.user_agent = cut(user_agent);
            self.send(account, attempt);
        }
    }

    /// Everything noted so far is on disk or was dropped.
    async fn written(&self) {
        let cids: Vec<Cid> = self.nameless().keys().copied().collect();
        cids.into_iter().for_each(|cid| self.send_nameless(cid, ""));
        // The sender lives in `self`.
        let _ = self.unwritten.subscribe().wait_for(|count| *count == 0).await;
    }
}

fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(ATTEMPT_TEXT).collect()
}

/// Alike in everything but time, on one day.
fn alike(attempt: &LoginAttempt) -> Hash {
    let day = attempt.last.0.div_euclid(DAY).to_be_bytes();
    let result = [attempt.result as u8];
    let ip = attempt.remote_ip.to_string();
    let local = attempt.local_ip.map(|ip| ip.to_string()).unwrap_or_default();
    let texts = [
        &attempt.login,
        &ip,
        &attempt.protocol,
        &attempt.mechanism,
        &attempt.tls,
        &attempt.user_agent,
        &local,
    ];
    let mut parts: Vec<&[u8]> = vec![&day, &result];
    for text in &texts {
        parts.extend([text.as_bytes(), b"\0"]);
    }
    hash(&parts)
}

/// Writes what is noted, as long as there is a store.
pub async fn write(store: Weak<Store>, mut inbox: Inbox) {
    let mut batch = Vec::new();
    while inbox.recv_many(&mut batch, 256).await > 0 {
        let Some(store) = store.upgrade() else { return };
        let count = batch.len();
        if let Err(fault) = store.write_attempts(&mut batch).await {
            tracing::warn!(%fault, "logins were not recorded");
        }
        batch.clear();
        store.attempts.unwritten.send_modify(|waiting| *waiting -= count);
    }
}

impl Store {
    /// Notes how a login ended.
    pub(crate) fn note_login(
        &self,
        from: Whence<'_>,
        account: Option<AccountId>,
        login: &str,
        result: LoginResult,
    ) {
        let (now, context) = (self.now(), from.context);
        let attempt = LoginAttempt {
            first: now,
            last: now,
            count: 1,
            login: cut(login),
            remote_ip: context.remote_ip,
            protocol: cut(&context.protocol),
            mechanism: cut(&context.mechanism),
            tls: cut(&context.tls),
            user_agent: cut(&context.user_agent),
            result,
            local_ip: from.local_ip,
        };
        self.attempts.unwritten.send_modify(|waiting| *waiting += 1);
        let account = account.unwrap_or(AccountId(0));
        if attempt.protocol != "imap" || !attempt.user_agent.is_empty() {
            return self.attempts.send(account, attempt);
        }
        let (cid, mut nameless) = (context.cid, self.attempts.nameless());
        if nameless.len() >= ATTEMPTS_WAITING {
            drop(nameless);
            return self.attempts.send(account, attempt);
        }
        let of_connection = nameless.entry(cid).or_default();
        let first = of_connection.is_empty();
        of_connection.push((account, attempt));
        drop(nameless);
        if first {
            let store = self.me.clone();
            libmox_service::spawn(async move {
                tokio::time::sleep(AGENT_WAIT).await;
                if let Some(store) = store.upgrade() {
                    store.attempts.send_nameless(cid, "");
                }
            });
        }
    }

    /// What the client of a connection calls itself.
    pub(crate) fn note_agent(&self, cid: Cid, user_agent: &str) {
        self.attempts.send_nameless(cid, user_agent);
    }

    async fn write_attempts(&self, batch: &mut Vec<(AccountId, LoginAttempt)>) -> Result<(), Fault> {
        let mut tx = self.engine.begin().await?;
        let mut by_account: BTreeMap<AccountId, Vec<LoginAttempt>> = BTreeMap::new();
        for (account, attempt) in batch.drain(..) {
            by_account.entry(account).or_default().push(attempt);
        }
        for (account, attempts) in by_account {
            // A removed account leaves nothing behind.
            if account.0 != 0 && tx.get(&keys::account_record(account))?.is_none() {
                continue;
            }
            let mut count = tx.record::<u32>(&keys::attempt_count(account))?.unwrap_or(0);
            for mut attempt in attempts {
                let alike = alike(&attempt);
                let place = keys::attempt_place(account, &alike);
                if let Some(last) = tx.record::<u64>(&place)? {
                    let key = keys::attempt(account, Timestamp(last.cast_signed()), &alike);
                    if let Some(before) = tx.record::<LoginAttempt>(&key)? {
                        attempt.first = before.first.min(attempt.first);
                        attempt.last = before.last.max(attempt.last);
                        attempt.count += before.count;
                    }
                    tx.change().delete(key);
                } else if attempt.result != LoginResult::SignedIn {
                    count += 1;
                }
                tx.change().put(place, encode(&attempt.last.0.cast_unsigned()));
                tx.change().put(keys::attempt(account, attempt.last, &alike), encode(&attempt));
            }
            // Only this task writes attempts, one change at a time: what is applied is all there is.
            for (key, failed) in oldest(&self.engine, account, count, self.now())? {
                let front = keys::attempts(account).len() + 8;
                if let Some(alike) = key.get(front..).and_then(|hash| Hash::try_from(hash).ok()) {
                    // One that was just moved on is not there any more under this key.
                    if tx.get(&key)?.is_some() {
                        tx.change().delete(keys::attempt_place(account, &alike));
                        tx.change().delete(key);
                        count = count.saturating_sub(u32::from(failed));
                    }
                }
            }
            tx.change().put(keys::attempt_count(account), encode(&count));
        }
        tx.commit().await?;
        Ok(())
    }

    /// What is remembered, newest first.
    pub async fn login_attempts(&self, request: &LoginAttempts) -> Result<Vec<LoginAttempt>, Fault> {
        self.attempts.written().await;
        let account = match &request.account {
            Some(name) => self.engine.record(&keys::account_name(name))?.ok_or(Fault::NoAccount)?,
            None => AccountId(0),
        };
        let prefix = keys::attempts(account);
        let from = match request.before {
            Some(before) => [prefix.as_slice(), &keys::newest(before.plus(-1))].concat(),
            None => prefix.clone(),
        };
        let end = keys::behind(&prefix).unwrap_or_default();
        let most = (request.most as usize).min(PAGE);
        let mut found = Vec::new();
        let mut outcome = Ok(());
        if most == 0 {
            return Ok(found);
        }
        self.engine.visit((Bound::Included(&from), Bound::Excluded(&end)), |key, value| {
            match crate::records::decode(key, value) {
                Ok(attempt) => found.push(attempt),
                Err(error) => outcome = Err(Fault::from(error)),
            }
            if outcome.is_ok() && found.len() < most {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })?;
        outcome.map(|()| found)
    }
}

/// Keys of what is past its time, and of the oldest failures where there are more than [`ATTEMPTS`]; with whether they
/// are failures.
fn oldest(
    engine: &Engine,
    account: AccountId,
    mut failures: u32,
    now: Timestamp,
) -> Result<Vec<(Vec<u8>, bool)>, Fault> {
    let prefix = keys::attempts(account);
    let too_old = [prefix.as_slice(), &keys::newest(now.plus(-ATTEMPT_AGE - 1))].concat();
    let end = keys::behind(&prefix);
    let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    let mut go = Vec::new();
    let has_failed = |key: &[u8], value: &[u8]| {
        crate::records::decode::<LoginAttempt>(key, value)
            .is_ok_and(|attempt| attempt.result != LoginResult::SignedIn)
    };
    engine.visit((Bound::Included(&too_old), end), |key, value| {
        let failed = has_failed(key, value);
        failures = failures.saturating_sub(u32::from(failed));
        go.push((key.to_vec(), failed));
        if go.len() < PAGE { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    if failures <= ATTEMPTS {
        return Ok(go);
    }
    // They lie newest first, so all of them are passed: seldom, as some more than needed go.
    let surplus = (failures - ATTEMPTS + ATTEMPTS / 100) as usize;
    let mut last = VecDeque::new();
    engine.visit((Bound::Included(&prefix), Bound::Excluded(&too_old)), |key, value| {
        if has_failed(key, value) {
            last.push_back((key.to_vec(), true));
            if last.len() > surplus {
                last.pop_front();
            }
        }
        ControlFlow::Continue(())
    })?;
    go.extend(last);
    Ok(go)
}
