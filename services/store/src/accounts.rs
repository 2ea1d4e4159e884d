//! The accounts in memory: one lock and one change stream each. Nothing else is kept; records are in the index.

use crate::engine::{CommitError, Engine, ReadError, Tx};
use crate::hot::HotMailboxes;
use crate::hub::Hub;
use crate::junk::WordsInMemory;
use crate::keys;
use crate::last_changes::Numbers;
use crate::limits::EXPUNGED_AGE;
use crate::records::{self, Read};
use crate::writer::{Happened, Writer};
use libmox_store::{Fault, SessionId};
use libmox_types::{AccountId, MsgId};
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

impl From<CommitError> for Fault {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::TooLarge => Self::Limit("size of one change".into()),
            CommitError::Full => Self::Full,
            other => Self::Unavailable(other.to_string()),
        }
    }
}

impl From<ReadError> for Fault {
    fn from(error: ReadError) -> Self {
        tracing::error!(%error, "the index cannot be read");
        Self::Unavailable(error.to_string())
    }
}

/// One account.
pub struct Live {
    pub id: AccountId,
    /// Held while a change is computed, up to its submission.
    pub lock: tokio::sync::Mutex<()>,
    pub hub: Arc<Hub>,
    /// Lists in memory.
    pub hot: HotMailboxes,
    /// The junk filter in memory.
    pub words: WordsInMemory,
    /// Removed and not erased yet.
    expunged: Mutex<VecDeque<Gone>>,
}

struct Gone {
    change: u64,
    at: Instant,
    ids: Vec<MsgId>,
}

/// All accounts that were used.
pub struct Accounts {
    live: Mutex<HashMap<AccountId, Arc<Live>>>,
    pub numbers: Arc<Numbers>,
}

/// Where the number of a change is put when it is committed.
pub type ChangeNumber = Arc<AtomicU64>;

impl Accounts {
    pub fn new() -> std::io::Result<Self> {
        Ok(Self { live: Mutex::default(), numbers: Arc::new(Numbers::new()?) })
    }

    /// The account's lock and stream. Whether it exists is for the records to say.
    pub fn live(&self, id: AccountId) -> Arc<Live> {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || {
            Arc::new(Live {
                id,
                lock: tokio::sync::Mutex::default(),
                hub: Arc::new(Hub::new(id, Arc::clone(&self.numbers))),
                hot: HotMailboxes::default(),
                words: WordsInMemory::default(),
                expunged: Mutex::default(),
            })
        };
        live.entry(id).or_insert_with(new).clone()
    }

    /// All of them.
    pub fn all(&self) -> Vec<Arc<Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

/// Publishes events once the change is committed; the number appears before the change is answered.
pub fn publish(
    tx: &mut Tx,
    live: &Arc<Live>,
    by: Option<SessionId>,
    Happened { events, expunged, touched, learnt }: Happened,
) -> ChangeNumber {
    let number = ChangeNumber::default();
    if events.is_empty() && touched.is_empty() && learnt.is_none() {
        return number;
    }
    let (live, told) = (live.clone(), number.clone());
    tx.change().after(move |_| {
        live.hot.apply(touched);
        if let Some(learnt) = learnt {
            live.words.apply(learnt);
        }
        if !events.is_empty() {
            let change = live.hub.publish(by, events);
            live.expunged(change, expunged);
            told.store(change, Ordering::Release);
        }
    });
    number
}

/// The number, after the commit.
pub fn told(number: &ChangeNumber) -> u64 {
    number.load(Ordering::Acquire)
}

impl Live {
    fn gone(&self) -> MutexGuard<'_, VecDeque<Gone>> {
        self.expunged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers removed messages, to erase them when no session refers to them any more.
    fn expunged(&self, change: u64, ids: Vec<MsgId>) {
        if !ids.is_empty() {
            self.gone().push_back(Gone { change, at: Instant::now(), ids });
        }
    }

    /// Takes up what an earlier run of the store did not finish; its sessions are gone.
    pub fn resume(&self, engine: &Engine) -> Result<(), Fault> {
        let ids: Vec<MsgId> = engine
            .keys_below(&keys::all_expunged(self.id))?
            .iter()
            .filter_map(|key| keys::last_id(key).map(MsgId))
            .collect();
        for ids in ids.chunks(1000) {
            self.gone().push_back(Gone { change: 0, at: Instant::now(), ids: ids.to_vec() });
        }
        Ok(())
    }

    /// Whether something waits to be erased.
    pub fn has_expunged(&self) -> bool {
        !self.gone().is_empty()
    }

    /// Erases what may go. `all`: whatever sessions may think.
    pub async fn sweep(&self, engine: &Engine, all: bool) -> Result<(), Fault> {
        loop {
            let (taken, acknowledged) = (self.hub.taken_by_all(), self.hub.acknowledged_by_all());
            let next = {
                let mut gone = self.gone();
                let free = |gone: &Gone| {
                    all || gone.change == 0
                        || acknowledged.is_some_and(|change| gone.change <= change)
                        || (gone.change <= taken && gone.at.elapsed() >= EXPUNGED_AGE)
                };
                if gone.front().is_some_and(free) { gone.pop_front() } else { None }
            };
            let Some(gone) = next else { return Ok(()) };
            if let Err(fault) = self.erase(engine, &gone.ids).await {
                self.gone().push_front(gone);
                return Err(fault);
            }
        }
    }

    async fn erase(&self, engine: &Engine, ids: &[MsgId]) -> Result<(), Fault> {
        for ids in ids.chunks(1000) {
            let mut tx = engine.begin().await?;
            let lock = self.lock.lock().await;
            let mut writer = match Writer::open(&mut tx, self.id) {
                // Removed meanwhile, with everything in it.
                Err(Fault::NoAccount) => return Ok(()),
                writer => writer?,
            };
            for id in ids {
                writer.erase(*id)?;
            }
            writer.finish_unseen();
            let ticket = tx.submit()?;
            drop(lock);
            ticket.committed().await?;
        }
        Ok(())
    }
}

/// Whether an account has a record.
pub fn exists(read: &impl Read, id: AccountId) -> Result<Option<records::Account>, Fault> {
    read.record(&keys::account_record(id))
}
