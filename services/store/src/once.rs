//! Requests that are carried out once, however often they come.
//!
//! The reply is kept under the request's key in the same atomic change as the effect, so after a crash the same
//! request finds either both or neither. The check runs under the locks of what is changed: a first and a repeated
//! request wait for each other.
//!
//! | a key | means |
//! |---|---|
//! | is there | carried out; the reply is the record |
//! | is not there, and young | not carried out |
//! | is not there, and old | nobody knows any more: refused |

use crate::engine::Tx;
use crate::keys;
use crate::limits::{ONCE_AGE, ONCE_FORGOTTEN};
use crate::records::{Corrupt, Read, put_blob};
use crate::store::Store;
use libmox_ipc::OnceKey;
use libmox_store::Fault;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::ops::{Bound, ControlFlow};

impl Store {
    /// The reply to a request that was carried out before.
    pub fn replied<T: DeserializeOwned>(&self, once: Option<OnceKey>) -> Result<Option<T>, Fault> {
        let Some(key) = once else { return Ok(None) };
        let age = self.now().0.saturating_sub(i64::try_from(key.at).unwrap_or(i64::MAX));
        // Half of what is kept: no record that counts can have gone, whatever the clocks of two processes say.
        if !(-ONCE_AGE / 2..=ONCE_AGE / 2).contains(&age) {
            return Err(Fault::Stale);
        }
        let corrupt = |_| Corrupt("a reply".into());
        let kept = self.engine.blob(&keys::once(key))?;
        Ok(kept.map(|bytes| postcard::from_bytes(&bytes).map_err(corrupt)).transpose()?)
    }

    /// Within a change: whether the request was carried out, or is being committed.
    pub fn is_under_way(tx: &Tx, once: Option<OnceKey>) -> Result<bool, Fault> {
        Ok(match once {
            // Its first chunk.
            Some(key) => tx.get(&[&keys::once(key)[..], &[0, 0]].concat())?.is_some(),
            None => false,
        })
    }

    /// The reply to a request that is under way; an error if its change failed.
    pub async fn reply_under_way<T: DeserializeOwned>(&self, once: Option<OnceKey>) -> Result<T, Fault> {
        self.engine.settled().await;
        self.replied(once)?.ok_or_else(|| Fault::Unavailable("the first request failed".into()))
    }

    /// Keeps the reply as part of a change.
    pub fn keep_reply<T: Serialize>(tx: &mut Tx, once: Option<OnceKey>, reply: &T) -> Result<(), Fault> {
        if let Some(key) = once {
            let bytes = postcard::to_allocvec(reply).map_err(|_| Fault::Internal)?;
            put_blob(tx, &keys::once(key), &bytes);
        }
        Ok(())
    }

    /// Forgets replies nobody asks for any more. Called now and then.
    pub async fn forget_replies(&self) -> Result<(), Fault> {
        let at = u64::try_from(self.now().0.saturating_sub(ONCE_AGE)).unwrap_or(0);
        let (first, end) = (OnceKey { at: 0, random: 0 }, OnceKey { at, random: 0 });
        let (first, end) = (keys::once(first), keys::once(end));
        loop {
            let mut old = Vec::new();
            self.engine.visit((Bound::Included(&first), Bound::Excluded(&end)), |key, _| {
                old.push(key.to_vec());
                if old.len() < ONCE_FORGOTTEN { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })?;
            if old.is_empty() {
                return Ok(());
            }
            let last = old.len() < ONCE_FORGOTTEN;
            let mut tx = self.engine.begin().await?;
            for key in old {
                tx.change().delete(key);
            }
            tx.commit().await?;
            if last {
                return Ok(());
            }
        }
    }
}
