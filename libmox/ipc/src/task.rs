//! Tasks that share their machinery.
//!
//! Tokio writes out what runs a task once for each type of future and of scheduler: 4 KiB of program a time, and a
//! service has thirty. In a box all are of one type, for an allocation a task.

use std::future::Future;
use std::pin::Pin;
use tokio::task::JoinHandle;

/// [`tokio::spawn`], small.
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(boxed(future))
}

/// The same for a [`tokio::task::JoinSet`].
pub fn boxed<'a, F>(future: F) -> Pin<Box<dyn Future<Output = F::Output> + Send + 'a>>
where
    F: Future + Send + 'a,
{
    Box::pin(future)
}
