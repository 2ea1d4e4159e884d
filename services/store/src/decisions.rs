//! What was decided about strangers' messages, for `mox why`: bounded, written behind the message's back.
//!
//! One task writes what waits as one change. Numbers grow; of more than [`DECISIONS`] the oldest go with the new ones.
//!
//! | a decision | its keys |
//! |---|---|
//! | noted | `E`, and `F` under its connection and, if it has one, its Message-ID |
//! | too old | gone |

use crate::engine::Tx;
use crate::keys::{self, Hash, hash};
use crate::limits::{DECISION_CHAIN, DECISION_TEXT, DECISIONS_FOUND, DECISIONS_WAITING};
use crate::records::{Read, encode};
use crate::store::Store;
use libmox_store::{DECISIONS, Decided, DecisionsOf, Fault};
use libmox_types::Cid;
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;
use std::sync::Weak;
use tokio::sync::{mpsc, watch};

/// Which numbers are in use.
#[derive(Debug, Default, Clone, Copy, Serialize, Deserialize)]
pub struct DecisionState {
    pub first: u64,
    pub next: u64,
}

/// Where decisions wait to be written.
pub struct Decisions {
    waiting: mpsc::Sender<Decided>,
    unwritten: watch::Sender<usize>,
}

/// The other end, for [`fn@write`].
pub type Inbox = mpsc::Receiver<Decided>;

impl Decisions {
    pub fn new() -> (Self, Inbox) {
        let (waiting, inbox) = mpsc::channel(DECISIONS_WAITING);
        (Self { waiting, unwritten: watch::Sender::new(0) }, inbox)
    }
}

/// Writes what is noted, as long as there is a store.
pub async fn write(store: Weak<Store>, mut inbox: Inbox) {
    let mut batch = Vec::new();
    while inbox.recv_many(&mut batch, 256).await > 0 {
        let Some(store) = store.upgrade() else { return };
        let count = batch.len();
        if let Err(fault) = store.write_decisions(&mut batch).await {
            tracing::warn!(%fault, "decisions were not recorded");
        }
        batch.clear();
        store.decisions.unwritten.send_modify(|waiting| *waiting -= count);
    }
}

fn of_cid(cid: Cid) -> Hash {
    hash(&[b"cid", &cid.0.to_be_bytes()])
}

fn of_message_id(id: &str) -> Hash {
    hash(&[b"id", id.to_lowercase().as_bytes()])
}

fn names(decided: &Decided) -> impl Iterator<Item = Hash> {
    let message = (!decided.message_id.is_empty()).then(|| of_message_id(&decided.message_id));
    [of_cid(decided.cid)].into_iter().chain(message)
}

/// A record has to stay small, whatever is in it.
fn cut(mut decided: Decided) -> Decided {
    let short = |text: &mut String, most: usize| {
        if text.chars().count() > most {
            *text = text.chars().take(most).collect();
        }
    };
    short(&mut decided.message_id, DECISION_TEXT);
    short(&mut decided.reply, DECISION_TEXT);
    let mut octets = 0;
    decided.chain.retain_mut(|(topic, text)| {
        short(topic, DECISION_TEXT);
        short(text, DECISION_TEXT);
        octets += topic.len() + text.len();
        octets <= DECISION_CHAIN
    });
    decided
}

fn forget(tx: &mut Tx, number: u64) -> Result<(), Fault> {
    let key = keys::decision(number);
    if let Some(old) = tx.record::<Decided>(&key)? {
        for name in names(&old) {
            tx.change().delete(keys::decision_name(&name, number));
        }
        tx.change().delete(key);
    }
    Ok(())
}

impl Store {
    /// Notes a decision; of too many at once some are not.
    pub fn note_decision(&self, decided: Decided) {
        self.decisions.unwritten.send_modify(|waiting| *waiting += 1);
        if self.decisions.waiting.try_send(cut(decided)).is_err() {
            self.decisions.unwritten.send_modify(|waiting| *waiting -= 1);
        }
    }

    async fn write_decisions(&self, batch: &mut Vec<Decided>) -> Result<(), Fault> {
        let mut tx = self.engine.begin().await?;
        let mut state: DecisionState = tx.record(keys::DECISIONS)?.unwrap_or_default();
        for decided in batch.drain(..) {
            for name in names(&decided) {
                tx.change().put(keys::decision_name(&name, state.next), vec![]);
            }
            tx.change().put(keys::decision(state.next), encode(&decided));
            state.next += 1;
        }
        while state.next - state.first > DECISIONS {
            forget(&mut tx, state.first)?;
            state.first += 1;
        }
        tx.change().put(keys::DECISIONS, encode(&state));
        tx.commit().await?;
        Ok(())
    }

    /// The decisions about a connection or a Message-ID, oldest first; what is being written is waited for.
    pub async fn decisions_of(&self, request: &DecisionsOf) -> Result<Vec<Decided>, Fault> {
        let _ = self.decisions.unwritten.subscribe().wait_for(|count| *count == 0).await;
        let wanted = request.wanted.trim().trim_start_matches('<').trim_end_matches('>');
        let name = wanted.parse().map_or_else(|_| of_message_id(wanted), of_cid);
        let mut numbers = Vec::new();
        keys::below(&keys::decision_names(&name), |range| {
            self.engine.visit(range, |key, _| {
                numbers.extend(keys::last_id(key));
                if numbers.len() < DECISIONS_FOUND {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            })
        })?;
        let mut found = Vec::new();
        for number in numbers {
            found.extend(self.engine.record::<Decided>(&keys::decision(number))?);
        }
        Ok(found)
    }
}
