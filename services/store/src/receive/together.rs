//! One message to several recipients, all or none, and a report about those who cannot have it, in one change.
//!
//! So the sender's server is told 250 only when everyone it named has the message or its sender will hear why not.

use crate::accounts::publish;
use crate::engine::FileName;
use crate::limits::RECIPIENTS;
use crate::store::{Peer, Store, check_prefix};
use libmox_ipc::OnceKey;
use libmox_store::{DeliverTo, DeliverTogether, Delivered, Fault, Stored, Together};
use libmox_types::AccountId;

fn is_reject(to: &DeliverTo) -> bool {
    to.destined.as_ref().is_some_and(|destined| destined.reject.is_some())
}

impl Store {
    /// See [`DeliverTogether`].
    pub async fn deliver_together(
        &self,
        peer: &Peer,
        request: DeliverTogether,
        once: Option<OnceKey>,
    ) -> Result<Together, Fault> {
        if let Some(reply) = self.replied(once)? {
            return Ok(reply);
        }
        let DeliverTogether { deliver, report } = request;
        if deliver.recipients.is_empty() || deliver.recipients.len() > RECIPIENTS {
            return Err(Fault::Invalid("number of recipients".into()));
        }
        for recipient in &deliver.recipients {
            check_prefix(&recipient.prefix)?;
        }
        let (plan, mut against) = self.plan(&deliver);
        if against.iter().any(Option::is_some) {
            return Ok(Together::Nothing(against));
        }
        let given = peer.body(&deliver.body).await?;
        let report = match &report {
            Some(report) => {
                check_prefix(&report.prefix)?;
                Some((report, peer.body(&report.body).await?))
            }
            None => None,
        };
        let reader = report.as_ref().and_then(|(report, _)| self.report_account(report));
        let mut ids: Vec<AccountId> = plan.keys().copied().collect();
        ids.extend(reader.as_ref().map(|(_, id)| *id));
        ids.sort_unstable();
        ids.dedup();

        let mut tx = self.engine.begin().await?;
        let lives: Vec<_> = ids.iter().map(|id| self.accounts.live(*id)).collect();
        let mut locks = Vec::with_capacity(lives.len());
        for live in &lives {
            locks.push(live.lock.lock().await);
        }
        let queue_lock = match (&report, &reader) {
            (Some(_), None) => Some(self.queue_lock.lock().await),
            _ => None,
        };
        if Self::is_under_way(&tx, once)? {
            drop((queue_lock, locks, tx));
            return self.reply_under_way(once).await;
        }
        let mut stored: Vec<Option<Stored>> = vec![None; deliver.recipients.len()];
        let mut source = None;
        for live in &lives {
            // The report's reader need not be among the recipients.
            let Some(target) = plan.get(&live.id) else { continue };
            // Here a reject is not kept: it would be the only one to have the message.
            let delivered = match is_reject(&target.to) {
                true => Ok(None),
                false => self.deliver_one(&mut tx, live.id, target, &deliver, &given),
            };
            let outcome = match delivered {
                Ok(None) => Err(Delivered::Refused { kept: false }),
                Ok(Some((id, happened))) => {
                    let change = tx.change();
                    let at = *source.get_or_insert_with(|| change.source(given.source()));
                    change.create(FileName { owner: u64::from(live.id.0), id: id.0 }, at);
                    publish(&mut tx, live, None, happened);
                    Ok(Stored { id })
                }
                Err(Fault::OverQuota) => Err(Delivered::OverQuota),
                Err(Fault::NoAccount) => Err(Delivered::UnknownUser),
                Err(fault) => return Err(fault),
            };
            for (at, _) in &target.places {
                match &outcome {
                    Ok(proof) => stored[*at] = Some(*proof),
                    Err(why) => against[*at] = Some(why.clone()),
                }
            }
        }
        // Row SR-12: one of a list is enough.
        for (against, stored) in against.iter_mut().zip(&stored) {
            if stored.is_some() {
                *against = None;
            }
        }
        let Some(stored) = stored.into_iter().collect::<Option<Vec<_>>>() else {
            // Nothing was submitted, so nothing happened.
            return Ok(Together::Nothing(against));
        };
        match (&report, &reader) {
            (Some((report, body)), Some((name, id))) => {
                let live = self.accounts.live(*id);
                self.report_into(&mut tx, &live, name, *id, report, body, self.now())?;
            }
            (Some((report, body)), None) => self.report_queued(&mut tx, report, body)?,
            (None, _) => {}
        }
        let reply = Together::Stored(stored);
        Self::keep_reply(&mut tx, once, &reply)?;
        let ticket = tx.submit()?;
        drop((queue_lock, locks));
        ticket.committed().await?;
        peer.used(&deliver.body);
        if let Some((report, _)) = &report {
            peer.used(&report.body);
        }
        Ok(reply)
    }
}
