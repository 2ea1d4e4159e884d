//! Recipients who live here: the store takes the message from the queue into their accounts, in one change. No DNS is
//! asked and nothing is dialed, so mail to root arrives whatever the network does.
//!
//! Rows SU-13, QU-26, CL-06.

use crate::Shared;
use crate::deliver::Pieces;
use libmox_message::{Parser, received};
use libmox_smtp::client::Failure;
use libmox_smtp::simulated::{Simulated, simulated};
use libmox_store::{
    CheckRecipient, DeliverInto, DeliveredHere, Facts, QueueDeliver, QueueDeliverTo, QueueEntry, QueueOpen,
    RecipientPath, RecipientStatus,
};

/// What became of an entry.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// In the account, and out of the queue.
    Done,
    /// Dropped or held meanwhile.
    Gone,
    /// Not delivered.
    Refused(Failure),
}

/// Delivers entries of one message at one domain; none if that domain is somebody else's.
pub async fn deliver(shared: &Shared, entries: &[QueueEntry]) -> Result<Option<Vec<Outcome>>, Failure> {
    let Some(first) = entries.first() else { return Ok(None) };
    let config = shared.context.config();
    let away = |error: libmox_store::StoreError| Failure::local(false, "4.3.0", &format!("store: {error}"));
    if !config.localserve {
        let recipient = RecipientPath::Address(first.recipient.address.clone());
        let status = shared.store.repeat(CheckRecipient { recipient }).await.map_err(away)?;
        if status == RecipientStatus::Foreign {
            return Ok(None);
        }
    }
    let mut outcomes = vec![Outcome::Gone; entries.len()];
    let mut tried = Vec::with_capacity(entries.len());
    for (at, entry) in entries.iter().enumerate() {
        match wish(entry).filter(|_| config.localserve) {
            Some(failure) => outcomes[at] = Outcome::Refused(failure),
            None => tried.push(at),
        }
    }
    if tried.is_empty() {
        return Ok(Some(outcomes));
    }
    let verb = QueueDeliver {
        entries: tried.iter().map(|at| to(&entries[*at])).collect(),
        facts: facts(shared, first).await?,
        into: if config.localserve { DeliverInto::RecipientOrSender } else { DeliverInto::Recipient },
    };
    let results = shared.store.repeat(verb).await.map_err(away)?;
    for (at, result) in tried.into_iter().zip(results) {
        outcomes[at] = judge(result, &entries[at]);
    }
    Ok(Some(outcomes))
}

fn judge(result: DeliveredHere, entry: &QueueEntry) -> Outcome {
    let to = &entry.recipient.address;
    Outcome::Refused(match result {
        DeliveredHere::Stored(_) => return Outcome::Done,
        DeliveredHere::Gone => return Outcome::Gone,
        DeliveredHere::UnknownUser => Failure::local(true, "5.1.1", &format!("{to}: no such user here")),
        DeliveredHere::Disabled => {
            Failure::local(false, "4.2.1", &format!("{}: domain temporarily disabled", to.domain))
        }
        DeliveredHere::OverQuota => Failure::local(false, "4.2.2", &format!("{to}: mailbox is full")),
        // The configuration changed between two questions.
        DeliveredHere::Foreign => {
            Failure::local(false, "4.3.0", &format!("{}: no longer a domain of ours", to.domain))
        }
    })
}

fn wish(entry: &QueueEntry) -> Option<Failure> {
    let text = |code| format!("failing with {code} as the address asks");
    Some(match simulated(&entry.recipient.address.local)? {
        Simulated::Silence => Failure::local(false, "4.4.2", "no answer, as the address asks"),
        Simulated::Refuse(code) if code >= 500 => Failure::local(true, "5.0.0", &text(code)),
        Simulated::Refuse(code) => Failure::local(false, "4.0.0", &text(code)),
    })
}

fn to(entry: &QueueEntry) -> QueueDeliverTo {
    let mut prefix = received::return_path(&entry.mail_from);
    prefix.push_str(&received::delivered_to(&entry.recipient.address));
    QueueDeliverTo { id: entry.id, prefix: prefix.into_bytes() }
}

/// What is in the file; the fields it was queued with stand in a prefix of their own.
async fn facts(shared: &Shared, entry: &QueueEntry) -> Result<Facts, Failure> {
    let unreadable =
        |what: String| Failure::local(false, "4.3.0", &format!("message cannot be read: {what}"));
    let (content, descriptors) = shared
        .store
        .ask_with(QueueOpen(entry.id), Vec::new())
        .await
        .map_err(|error| unreadable(error.to_string()))?;
    let prefix = content.prefix.clone();
    let mut pieces =
        Pieces::without_prefix(content, descriptors).map_err(|error| unreadable(error.to_string()))?;
    let mut parser = Parser::new();
    while let Some(piece) = pieces.next().await.map_err(|error| unreadable(error.to_string()))? {
        parser.feed(&piece);
    }
    let found = parser.finish();
    let mut facts = Facts::from(&found);
    // What submission added to the message counts as being in it (row SU-05).
    let added = Facts::from(&libmox_message::parse(&[&prefix[..], b"\r\n"].concat()));
    if facts.message_id.is_empty() {
        facts.message_id = added.message_id;
    }
    facts.date = facts.date.or(added.date);
    facts.from = facts.from.or(added.from);
    Ok(facts)
}
