//! The order of SORT.
//!
//! Law: RFC 5256 §2 and §3, RFC 5957. Text is compared by its lower case; RFC 5256 §2 wants i;unicode-casemap,
//! departed from because what case folding leaves apart people do not tell apart either.
//! Does not know: where the messages are.

use crate::command::{SortBy, SortKey};
use libmox_message::address::{self, Mailbox};
use libmox_message::words::decode_words;
use libmox_message::{EnvelopeView, date, subject};
use libmox_types::{Timestamp, Uid};
use std::cmp::Ordering;

/// What messages are compared by, in the order of the keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranked {
    /// Which.
    pub uid: Uid,
    values: Vec<Rank>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Number(i64),
    Text(String),
}

/// Whether the keys ask for more than a record holds.
#[must_use]
pub fn needs_envelope(order: &[SortKey]) -> bool {
    order.iter().any(|key| !matches!(key.by, SortBy::Arrival | SortBy::Size))
}

impl Ranked {
    /// Takes what the keys ask for; without an envelope its fields are empty.
    #[must_use]
    pub fn new(
        uid: Uid,
        received: Timestamp,
        size: u64,
        envelope: Option<EnvelopeView<'_>>,
        order: &[SortKey],
    ) -> Self {
        let envelope = envelope.unwrap_or_default();
        let values = order
            .iter()
            .map(|key| match key.by {
                SortBy::Arrival => Rank::Number(received.0),
                SortBy::Size => Rank::Number(i64::try_from(size).unwrap_or(i64::MAX)),
                // RFC 5256 §2.2: without a valid Date the internal date stands in.
                SortBy::Date => Rank::Number(sent(envelope.date, received).0),
                SortBy::Subject => Rank::Text(base_subject(envelope.subject)),
                SortBy::Cc => Rank::Text(local(envelope.cc)),
                SortBy::From => Rank::Text(local(envelope.from)),
                SortBy::To => Rank::Text(local(envelope.to)),
                SortBy::DisplayFrom => Rank::Text(display(envelope.from)),
                SortBy::DisplayTo => Rank::Text(display(envelope.to)),
            })
            .collect();
        Self { uid, values }
    }

    /// RFC 5256 §3: equals keep the order of the mailbox, however the keys are reversed.
    #[must_use]
    pub fn compare(&self, other: &Self, order: &[SortKey]) -> Ordering {
        for ((a, b), key) in self.values.iter().zip(&other.values).zip(order) {
            let compared = if key.reverse { b.cmp(a) } else { a.cmp(b) };
            if compared != Ordering::Equal {
                return compared;
            }
        }
        self.uid.cmp(&other.uid)
    }
}

/// When a message says it was sent.
#[must_use]
pub fn sent(field: Option<&[u8]>, received: Timestamp) -> Timestamp {
    field.and_then(date::parse).unwrap_or(received)
}

fn base_subject(field: Option<&[u8]>) -> String {
    field.map(|field| subject::base(&decode_words(field)).0).unwrap_or_default()
}

fn first(field: Option<&[u8]>) -> Option<Mailbox> {
    address::mailboxes(field?).into_iter().next()
}

fn local(field: Option<&[u8]>) -> String {
    first(field).map(|mailbox| fold(&String::from_utf8_lossy(&mailbox.local))).unwrap_or_default()
}

/// RFC 5957 §3.
fn display(field: Option<&[u8]>) -> String {
    let Some(mailbox) = first(field) else { return String::new() };
    match mailbox.display_name().filter(|name| !name.is_empty()) {
        Some(name) => fold(&name),
        None => fold(&format!(
            "{}@{}",
            String::from_utf8_lossy(&mailbox.local),
            String::from_utf8_lossy(&mailbox.host)
        )),
    }
}

fn fold(text: &str) -> String {
    text.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(by: SortBy, reverse: bool) -> SortKey {
        SortKey { by, reverse }
    }

    #[test]
    fn keys_in_their_order() {
        let message = |uid: u32, received: i64, size: u64, text: &str| {
            let text = text.replace('\n', "\r\n");
            let facts = libmox_message::parse(format!("{text}\r\n\r\nx").as_bytes());
            (Uid(uid), Timestamp(received), size, facts)
        };
        let all = [
            message(1, 30, 7, "From: Zoe <a@x.org>\nSubject: Re: beta\nDate: Mon, 7 Feb 1994 21:52:25 -0800"),
            message(2, 20, 7, "From: b@x.org\nSubject: Alpha\nTo: =?utf-8?q?=C3=84nne?= <z@x.org>"),
            message(3, 10, 9, "From: \"adam\" <c@x.org>\nSubject: BETA\nCc: q@x.org"),
        ];
        let sorted = |order: &[SortKey]| {
            let mut ranked: Vec<Ranked> = all
                .iter()
                .map(|(uid, received, size, facts)| {
                    Ranked::new(*uid, *received, *size, Some(facts.structure.envelope().view()), order)
                })
                .collect();
            ranked.sort_by(|a, b| a.compare(b, order));
            ranked.iter().map(|ranked| ranked.uid.0).collect::<Vec<_>>()
        };
        assert_eq!(sorted(&[key(SortBy::Arrival, false)]), [3, 2, 1]);
        assert_eq!(sorted(&[key(SortBy::Size, true)]), [3, 1, 2]);
        assert_eq!(sorted(&[key(SortBy::Subject, false)]), [2, 1, 3]);
        assert_eq!(sorted(&[key(SortBy::Subject, false), key(SortBy::Arrival, false)]), [2, 3, 1]);
        assert_eq!(sorted(&[key(SortBy::From, true)]), [3, 2, 1]);
        assert_eq!(sorted(&[key(SortBy::DisplayFrom, false)]), [3, 2, 1]);
        assert_eq!(sorted(&[key(SortBy::DisplayTo, true)]), [2, 1, 3]);
        assert_eq!(sorted(&[key(SortBy::Cc, false)]), [1, 2, 3]);
        assert_eq!(sorted(&[key(SortBy::Date, false)]), [3, 2, 1]);
    }
}
