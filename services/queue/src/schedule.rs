//! When what is tried: everything due, at most one delivery a recipient domain, at most so many at once.
//!
//! Rows QU-01 and QU-02. The truth is in the store; this loop only asks for it at the right times.

use crate::deliver::{Delivery, deliver};
use crate::{Shared, limits};
use libmox_service::clock;
use libmox_service::life::Busy;
use libmox_store::{QueueDue, QueueEntry, QueueWatch, Request};
use libmox_types::{Domain, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// Runs until the service stops; deliveries under way are finished by the grace time of the service.
pub async fn run(shared: Arc<Shared>) {
    let watching = libmox_service::spawn(watch(Arc::clone(&shared)));
    let mut deliveries: JoinSet<Domain> = JoinSet::new();
    let mut busy: Vec<Domain> = Vec::new();
    let mut staying: Option<Busy> = None;
    loop {
        let next = start_due(&shared, &mut deliveries, &mut busy).await;
        // Something soon keeps us here; later things are the timer's, so that an idle system is empty.
        let soon = next.is_some_and(|at| at.0 - clock::now().0 <= limits::LINGER) || !deliveries.is_empty();
        staying = if soon { staying.or_else(|| Some(shared.context.life.busy())) } else { None };
        let pause = next.map_or(Duration::from_secs(3600), |at| {
            Duration::from_secs(u64::try_from(at.0 - clock::now().0).unwrap_or(0))
                .max(Duration::from_millis(200))
        });
        tokio::select! {
            () = shared.context.life.stopping() => break,
            () = shared.kick.notified() => {}
            Some(done) = deliveries.join_next() => {
                if let Ok(domain) = done {
                    busy.retain(|other| *other != domain);
                } else {
                    // A delivery that panicked does not say which: ask anew with what still runs.
                    tracing::error!("a delivery ended abnormally; it will be tried again");
                    if deliveries.is_empty() {
                        busy.clear();
                    }
                }
            }
            () = tokio::time::sleep(pause) => {}
        }
    }
    watching.abort();
    let grace = shared.context.config().service.stop_grace;
    let _ = tokio::time::timeout(grace, async { while deliveries.join_next().await.is_some() {} }).await;
}

/// Starts what is due and fits; says when to look again.
async fn start_due(
    shared: &Arc<Shared>,
    deliveries: &mut JoinSet<Domain>,
    busy: &mut Vec<Domain>,
) -> Option<Timestamp> {
    let most = usize::try_from(shared.context.config().queue.max_deliveries).unwrap_or(usize::MAX);
    if deliveries.len() >= most {
        // The next one that ends makes room.
        return None;
    }
    let now = clock::now();
    let due = match shared.store.ask(QueueDue { now, most: limits::BATCH, busy: busy.clone() }).await {
        Ok(due) => due,
        Err(error) => {
            tracing::warn!(mox_reason = %error, "queue cannot be read");
            tokio::time::sleep(limits::STORE_AWAY).await;
            return Some(now);
        }
    };
    let mut next = due.next;
    for delivery in group(due.entries) {
        if busy.contains(&delivery.domain) {
            continue;
        }
        if deliveries.len() >= most {
            return None;
        }
        let domain = delivery.domain.clone();
        busy.push(domain.clone());
        let shared = Arc::clone(shared);
        deliveries.spawn(libmox_service::boxed(async move {
            deliver(shared, delivery).await;
            domain
        }));
    }
    // What is due now but waits for its domain is started when that one ends.
    if !deliveries.is_empty() {
        next = next.filter(|at| *at > now);
    }
    next
}

/// Recipients of one message at one domain, with as many attempts, travel together.
fn group(entries: Vec<QueueEntry>) -> Vec<Delivery> {
    let mut groups: BTreeMap<_, Vec<QueueEntry>> = BTreeMap::new();
    for entry in entries {
        let sender = entry.mail_from.to_string();
        let domain = entry.recipient.address.domain.clone();
        let key = (entry.next_attempt, entry.message, domain, entry.attempts, sender);
        groups.entry(key).or_default().push(entry);
    }
    groups.into_iter().map(|((_, _, domain, ..), entries)| Delivery { entries, domain }).collect()
}

/// Kicks when the store says that the queue changed. Only while we run anyhow: this connection keeps nobody alive.
async fn watch(shared: Arc<Shared>) {
    loop {
        match shared.store.stream(Request::QueueWatch(QueueWatch)).await {
            Ok(mut changes) => {
                while let Some(Ok(_)) = changes.next().await {
                    shared.kick.notify_one();
                }
            }
            Err(error) => tracing::debug!(%error, "queue cannot be watched"),
        }
        tokio::time::sleep(limits::STORE_AWAY).await;
        // Something may have been missed.
        shared.kick.notify_one();
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use libmox_store::{Needs, QueueRecipient};
    use libmox_types::{AccountId, ByteCount, Cid, QueueId, ReversePath};

    pub(crate) fn entry(id: u64, message: u64, to: &str, attempts: u32) -> QueueEntry {
        QueueEntry {
            id: QueueId(id),
            message: QueueId(message),
            cid: Cid(1),
            account: AccountId(1),
            account_name: "a".into(),
            mail_from: ReversePath::Null,
            recipient: QueueRecipient {
                address: to.parse().unwrap(),
                notify: String::new(),
                orcpt: String::new(),
            },
            queued: Timestamp(0),
            next_attempt: Timestamp(5),
            attempts,
            held: false,
            last: String::new(),
            size: ByteCount(1),
            needs: Needs::default(),
            message_id: String::new(),
            suppressed: false,
            wishes: libmox_store::Wishes::default(),
        }
    }

    #[test]
    fn recipients_of_one_message_and_domain_travel_together() {
        // Row QU-02.
        let groups = group(vec![
            entry(1, 1, "a@example.org", 0),
            entry(2, 1, "b@example.org", 0),
            entry(3, 1, "c@example.net", 0),
            entry(4, 1, "d@example.org", 1),
            entry(5, 5, "a@example.org", 0),
        ]);
        let ids: Vec<Vec<u64>> = groups.iter().map(|g| g.entries.iter().map(|e| e.id.0).collect()).collect();
        assert_eq!(ids, [vec![3], vec![1, 2], vec![4], vec![5]]);
    }
}
