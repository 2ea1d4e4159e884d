//! Feedback about authentication: evaluations that reports are made of one day, and reports of others. Bounded,
//! written behind the message's back, many as one change. Numbers grow; of too many the oldest go with the new ones.
//!
//! | feedback | its key |
//! |---|---|
//! | noted | `G` under its kind and number |
//! | too old, or too many newer ones | gone |
//!
//! A crash loses what was not written yet: the message of a report is there, and one row of a report of ours is not.
//! Rows MA-12, MA-18, TP-13.

use crate::decisions::DecisionState;
use crate::engine::Tx;
use crate::keys;
use crate::limits::{
    EVALUATION_AGE, EVALUATION_OCTETS, EVALUATIONS_FOUND, FEEDBACK_SWEEP, FEEDBACK_WAITING, REPORTS_FOUND,
};
use crate::records::{Read, Stored, encode};
use crate::store::Store;
use libmox_store::{
    EVALUATIONS, Evaluation, EvaluationList, Fault, Feedback, REPORT_OCTETS, REPORTS, ReportKept, ReportKind,
    ReportList,
};
use std::ops::ControlFlow;
use std::sync::Weak;
use tokio::sync::{mpsc, watch};

/// Kinds, as keys have them.
const EVALUATION: u8 = b'e';
const DMARC: u8 = b'd';
const TLS: u8 = b't';

fn of_kind(kind: ReportKind) -> u8 {
    match kind {
        ReportKind::Dmarc => DMARC,
        ReportKind::Tls => TLS,
    }
}

/// Where feedback waits to be written.
pub struct Waiting {
    waiting: mpsc::Sender<Feedback>,
    unwritten: watch::Sender<usize>,
}

/// The other end, for [`fn@write`].
pub type Inbox = mpsc::Receiver<Feedback>;

impl Waiting {
    pub fn new() -> (Self, Inbox) {
        let (waiting, inbox) = mpsc::channel(FEEDBACK_WAITING);
        (Self { waiting, unwritten: watch::Sender::new(0) }, inbox)
    }
}

/// Writes what is noted, as long as there is a store.
pub async fn write(store: Weak<Store>, mut inbox: Inbox) {
    let mut batch = Vec::new();
    while inbox.recv_many(&mut batch, 256).await > 0 {
        let Some(store) = store.upgrade() else { return };
        let count = batch.len();
        if let Err(fault) = store.write_feedback(&mut batch).await {
            tracing::warn!(%fault, "feedback about authentication was not recorded");
        }
        batch.clear();
        store.feedback.unwritten.send_modify(|waiting| *waiting -= count);
    }
}

/// A record has to stay small, whatever is in it: what does not fit is left out.
fn cut(mut one: Evaluation) -> Evaluation {
    let mut left = EVALUATION_OCTETS;
    let mut fits = |octets: usize| {
        let fits = octets <= left;
        left = left.saturating_sub(octets);
        fits
    };
    one.seen.failure_options.truncate(20);
    one.seen.aggregate.retain(|uri| fits(uri.len()));
    one.seen.dkim.retain(|(domain, selector, word)| fits(domain.len() + selector.len() + word.len()));
    one
}

fn put(
    tx: &mut Tx,
    kind: u8,
    records: Vec<Vec<u8>>,
    most: u64,
    old: impl Fn(&Tx, u64) -> Result<bool, Fault>,
) -> Result<(), Fault> {
    if records.is_empty() {
        return Ok(());
    }
    let key = keys::feedback_state(kind);
    let mut state: DecisionState = tx.record(&key)?.unwrap_or_default();
    let sweep = records.len() + FEEDBACK_SWEEP;
    for record in records {
        tx.change().put(keys::feedback(kind, state.next), record);
        state.next += 1;
    }
    for _ in 0..sweep {
        if state.first >= state.next || (state.next - state.first <= most && !old(tx, state.first)?) {
            break;
        }
        tx.change().delete(keys::feedback(kind, state.first));
        state.first += 1;
    }
    tx.change().put(key, encode(&state));
    Ok(())
}

impl Store {
    /// Notes feedback; where too much waits already, whoever brings it does too.
    pub async fn note_feedback(&self, feedback: Feedback) -> Result<(), Fault> {
        if feedback.report.as_ref().is_some_and(|report| encode(&**report).len() > REPORT_OCTETS + 2_048) {
            return Err(Fault::Invalid("report too large".into()));
        }
        self.feedback.unwritten.send_modify(|waiting| *waiting += 1);
        if self.feedback.waiting.send(feedback).await.is_err() {
            self.feedback.unwritten.send_modify(|waiting| *waiting -= 1);
        }
        Ok(())
    }

    async fn write_feedback(&self, batch: &mut Vec<Feedback>) -> Result<(), Fault> {
        let (mut evaluations, mut dmarc, mut tls) = (Vec::new(), Vec::new(), Vec::new());
        for feedback in batch.drain(..) {
            evaluations.extend(feedback.evaluations.into_iter().map(|one| encode(&cut(one))));
            if let Some(report) = feedback.report {
                match report.read.kind {
                    ReportKind::Dmarc => dmarc.push(encode(&*report)),
                    ReportKind::Tls => tls.push(encode(&*report)),
                }
            }
        }
        let since = self.now().0 - EVALUATION_AGE;
        let mut tx = self.engine.begin().await?;
        put(&mut tx, EVALUATION, evaluations, EVALUATIONS, |tx, number| {
            let oldest = tx.record::<Evaluation>(&keys::feedback(EVALUATION, number))?;
            Ok(oldest.is_none_or(|one| one.at.0 < since))
        })?;
        for (kind, records) in [(DMARC, dmarc), (TLS, tls)] {
            put(&mut tx, kind, records, REPORTS, |_, _| Ok(false))?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Newest first; what is being written is waited for.
    async fn feedback_of<T: Stored>(
        &self,
        kind: u8,
        most: usize,
        wanted: impl Fn(&T) -> bool,
    ) -> Result<Vec<T>, Fault> {
        let _ = self.feedback.unwritten.subscribe().wait_for(|count| *count == 0).await;
        let mut numbers = Vec::new();
        keys::below(&keys::feedbacks(kind), |range| {
            self.engine.visit(range, |key, _| {
                numbers.extend(keys::last_id(key));
                ControlFlow::Continue(())
            })
        })?;
        let mut found = Vec::new();
        for number in numbers.into_iter().rev() {
            if found.len() >= most {
                break;
            }
            let record = self.engine.record::<T>(&keys::feedback(kind, number))?;
            found.extend(record.filter(&wanted));
        }
        Ok(found)
    }

    /// Reports of others.
    pub async fn report_list(&self, request: &ReportList) -> Result<Vec<ReportKept>, Fault> {
        let about = |kept: &ReportKept| {
            request.domain.as_ref().is_none_or(|domain| kept.read.domains.contains(domain))
        };
        self.feedback_of(of_kind(request.kind), REPORTS_FOUND, about).await
    }

    /// Evaluations of ours.
    pub async fn evaluation_list(&self, request: &EvaluationList) -> Result<Vec<Evaluation>, Fault> {
        let of = |one: &Evaluation| request.domain.as_ref().is_none_or(|domain| one.seen.domain == *domain);
        self.feedback_of(EVALUATION, EVALUATIONS_FOUND, of).await
    }
}
