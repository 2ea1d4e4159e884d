//! The life of a service: ready, busy, idle, stopping.
//!
//! It leaves by itself when it had nothing to do for the idle time; the listening sockets stay with systemd, so the next
//! connection starts it again and nothing is refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// Shared by everything in the process that can keep it alive or must hear of its end.
#[derive(Debug, Clone)]
pub struct Life {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    busy: AtomicUsize,
    /// Raised with each piece of work, so that work too short to be seen still counts.
    turns: AtomicU64,
    changed: Notify,
    stop: watch::Sender<bool>,
    reload: watch::Sender<u64>,
    degraded: std::sync::Mutex<Option<String>>,
}

/// Keeps the service from leaving while it exists.
#[derive(Debug)]
pub struct Busy(Arc<Inner>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::AcqRel);
        self.0.changed.notify_waiters();
    }
}

impl Default for Life {
    fn default() -> Self {
        Self {
            inner: Arc::new(Inner {
                busy: AtomicUsize::new(0),
                turns: AtomicU64::new(0),
                changed: Notify::new(),
                stop: watch::Sender::new(false),
                reload: watch::Sender::new(0),
                degraded: std::sync::Mutex::default(),
            }),
        }
    }
}

impl Life {
    /// A piece of work begins; it ends when the guard goes.
    #[must_use]
    pub fn busy(&self) -> Busy {
        self.inner.busy.fetch_add(1, Ordering::AcqRel);
        self.inner.turns.fetch_add(1, Ordering::AcqRel);
        self.inner.changed.notify_waiters();
        Busy(Arc::clone(&self.inner))
    }

    /// Pieces of work at hand.
    #[must_use]
    pub fn at_hand(&self) -> usize {
        self.inner.busy.load(Ordering::Acquire)
    }

    /// Asks the service to stop.
    pub fn stop(&self) {
        self.inner.stop.send_replace(true);
    }

    /// Whether it was asked to stop.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        *self.inner.stop.borrow()
    }

    /// Waits until it is asked to stop.
    pub async fn stopping(&self) {
        let mut stop = self.inner.stop.subscribe();
        // The sender lives in `self`.
        let _ = stop.wait_for(|stop| *stop).await;
    }

    /// Why the service does less than it should, if so.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        self.inner.degraded.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Says why, or that all is well again.
    pub fn set_problem(&self, why: Option<String>) {
        *self.inner.degraded.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = why;
    }

    /// `running`, `degraded` or `stopping`.
    #[must_use]
    pub fn state(&self) -> &'static str {
        match (self.is_stopping(), self.problem()) {
            (true, _) => "stopping",
            (false, Some(_)) => "degraded",
            (false, None) => "running",
        }
    }

    /// Tells everybody that the configuration was read again.
    pub fn reloaded(&self) {
        self.inner.reload.send_modify(|n| *n += 1);
    }

    /// Changes with each reload.
    #[must_use]
    pub fn reloads(&self) -> watch::Receiver<u64> {
        self.inner.reload.subscribe()
    }

    /// Waits until no work is at hand, but not longer than `grace`. Says whether it got there.
    pub async fn drained(&self, grace: Duration) -> bool {
        tokio::time::timeout(grace, async {
            loop {
                let changed = self.inner.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if self.at_hand() == 0 {
                    return;
                }
                changed.await;
            }
        })
        .await
        .is_ok()
    }

    /// Stops the service once it was idle for `idle`. Never returns before.
    pub async fn leave_when_idle(&self, idle: Duration) {
        loop {
            let changed = self.inner.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let turns = self.inner.turns.load(Ordering::Acquire);
            if self.at_hand() > 0 {
                changed.await;
                continue;
            }
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep(idle) => {
                    if self.at_hand() == 0 && self.inner.turns.load(Ordering::Acquire) == turns {
                        tracing::debug!("idle, leaving");
                        self.stop();
                        return;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_leaves_when_idle_and_not_before() {
        let life = Life::default();
        let leaving = tokio::spawn({
            let life = life.clone();
            async move { life.leave_when_idle(Duration::from_secs(60)).await }
        });
        let work = life.busy();
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert!(!life.is_stopping());
        drop(work);
        tokio::time::sleep(Duration::from_secs(59)).await;
        drop(life.busy());
        tokio::time::sleep(Duration::from_secs(59)).await;
        assert!(!life.is_stopping());
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(life.is_stopping());
        leaving.await.unwrap();
    }

    #[test]
    fn a_problem_shows_until_it_is_gone() {
        let life = Life::default();
        assert_eq!(life.state(), "running");
        life.set_problem(Some("the disk is full".into()));
        assert_eq!(life.state(), "degraded");
        life.set_problem(None);
        assert_eq!(life.state(), "running");
        life.set_problem(Some("the disk is full".into()));
        life.stop();
        assert_eq!(life.state(), "stopping");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_waits_for_work_but_not_for_ever() {
        let life = Life::default();
        let work = life.busy();
        assert!(!life.drained(Duration::from_secs(3)).await);
        drop(work);
        assert!(life.drained(Duration::ZERO).await);
    }
}
