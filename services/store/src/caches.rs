//! Values with an end, for services that forget when they are idle. An ended one is as good as none.

use crate::engine::Tx;
use crate::keys;
use crate::limits::{CACHE_NAME_OCTETS, CACHE_SWEEP, CACHED};
use crate::records::{self, CacheRecord, Read, encode, put_blob};
use crate::store::Store;
use libmox_store::{CACHE_OCTETS, CacheGet, CacheKind, CacheList, CacheSet, Cached, Fault};
use libmox_types::Timestamp;
use std::ops::{Bound, ControlFlow};

const PAGE: usize = 1_000;

impl Store {
    /// One value, if it is still good.
    pub fn cache_get(&self, request: &CacheGet) -> Result<Option<Cached>, Fault> {
        let kind = request.kind as u8;
        let record: Option<CacheRecord> = self.engine.record(&keys::cache(kind, &request.name))?;
        let Some(record) = record.filter(|record| record.expires > self.now()) else { return Ok(None) };
        let value = self.engine.blob(&keys::cache_value(kind, &request.name))?.unwrap_or_default();
        Ok(Some(Cached { name: request.name.clone(), value, set: record.set, expires: record.expires }))
    }

    /// Puts or removes one. Ended ones of its kind go on the way.
    pub async fn cache_set(&self, request: CacheSet) -> Result<(), Fault> {
        let sane = !request.name.is_empty() && request.name.len() <= CACHE_NAME_OCTETS;
        if !sane || request.name.contains('\0') {
            return Err(Fault::Invalid("name of a cached value".into()));
        }
        if request.value.as_ref().is_some_and(|value| value.len() > CACHE_OCTETS) {
            return Err(Fault::Limit("octets of a cached value".into()));
        }
        let now = self.now();
        let mut tx = self.engine.begin().await?;
        let lock = self.cache_lock.lock().await;
        let mut count = tx.record::<u64>(keys::CACHED)?.unwrap_or(0);
        for name in ended(&tx, request.kind, now)? {
            remove(&mut tx, request.kind, &name, &mut count)?;
        }
        remove(&mut tx, request.kind, &request.name, &mut count)?;
        if let Some(value) = request.value {
            if count >= CACHED {
                return Err(Fault::Limit("cached values".into()));
            }
            count += 1;
            let kind = request.kind as u8;
            let record = CacheRecord { set: now, expires: request.expires };
            tx.change().put(keys::cache(kind, &request.name), encode(&record));
            put_blob(&mut tx, &keys::cache_value(kind, &request.name), &value);
        }
        tx.change().put(keys::CACHED, encode(&count));
        let ticket = tx.submit()?;
        drop(lock);
        ticket.committed().await?;
        Ok(())
    }

    /// A page of names.
    pub fn cache_list(&self, request: &CacheList) -> Result<Vec<Cached>, Fault> {
        let prefix = keys::caches(request.kind as u8);
        let from = keys::cache(request.kind as u8, &request.after);
        let end = keys::behind(&prefix).unwrap_or_default();
        let most = (request.most as usize).min(PAGE);
        let mut found = Vec::new();
        let mut outcome = Ok(());
        if most == 0 {
            return Ok(found);
        }
        self.engine.visit((Bound::Excluded(&from), Bound::Excluded(&end)), |key, value| {
            match records::decode::<CacheRecord>(key, value) {
                Ok(record) => found.push(Cached {
                    name: String::from_utf8_lossy(&key[prefix.len()..]).into_owned(),
                    value: Vec::new(),
                    set: record.set,
                    expires: record.expires,
                }),
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

fn remove(tx: &mut Tx, kind: CacheKind, name: &str, count: &mut u64) -> Result<(), Fault> {
    let key = keys::cache(kind as u8, name);
    if tx.get(&key)?.is_some() {
        *count = count.saturating_sub(1);
        tx.change().delete(key);
        records::delete_blob(tx, &keys::cache_value(kind as u8, name))?;
    }
    Ok(())
}

/// Names of a few that are past their end: those among a stretch of keys that begins at a random place, so that each
/// has its turn and no call looks at all of them.
fn ended(tx: &Tx, kind: CacheKind, now: Timestamp) -> Result<Vec<String>, Fault> {
    let prefix = keys::caches(kind as u8);
    let start = libmox_service::clock::random_u64().to_be_bytes();
    // Names are text: letters and digits are where they begin.
    let first = b'0' + start[0] % 75;
    let end = keys::behind(&prefix).unwrap_or_default();
    let (mut names, mut seen) = (Vec::new(), 0);
    for from in [[prefix.as_slice(), &[first]].concat(), prefix.clone()] {
        tx.visit((Bound::Included(&from), Bound::Excluded(&end)), |key, value| {
            seen += 1;
            if records::decode::<CacheRecord>(key, value).is_ok_and(|record| record.expires <= now) {
                names.push(String::from_utf8_lossy(&key[prefix.len()..]).into_owned());
            }
            if seen < CACHE_SWEEP { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
    }
    names.sort_unstable();
    names.dedup();
    Ok(names)
}
