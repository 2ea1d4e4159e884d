//! The numbers of the accounts' last changes, which the store writes where they can be seen: whether anything is new,
//! without asking.
//!
//! Fails where the store cannot be asked for the file. Whether a number is good is for the caller: it holds a watch on the
//! same connection.

use crate::error::Failure;
use libmox_store::{LastChanges, LastChangesOpen, Store};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The file with them, once it was asked for.
#[derive(Debug, Default)]
pub(crate) struct Latest(Mutex<Option<(u64, Arc<LastChanges>)>>);

impl Latest {
    /// Of a connection to the store: another store counts anew.
    pub(crate) async fn numbers(&self, store: &Store, epoch: u64) -> Result<Arc<LastChanges>, Failure> {
        if let Some((_, numbers)) = self.place().as_ref().filter(|(of, _)| *of == epoch) {
            return Ok(Arc::clone(numbers));
        }
        let ((), descriptors) = store.ask_with(LastChangesOpen, Vec::new()).await?;
        let descriptor = descriptors.into_iter().next().ok_or_else(crate::watch::broken)?;
        let numbers = Arc::new(LastChanges::new(descriptor));
        // If that was another connection than the one meant, what is watched on that one has ended, and says so.
        *self.place() = Some((epoch, Arc::clone(&numbers)));
        Ok(numbers)
    }

    fn place(&self) -> MutexGuard<'_, Option<(u64, Arc<LastChanges>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
