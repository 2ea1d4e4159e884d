//! Delivery reports: one for all recipients that failed together.
//!
//! Law: RFC 3464, RFC 3461 §4.1 (NOTIFY); rows QU-18 to QU-20, TR-31, TR-33.

use crate::deliver::Pieces;
use crate::{Shared, limits};
use libmox_message::dsn::{
    Action, Dsn, Recipient, Returned, Variant, WHOLE_OCTETS, can_return, header_section,
};
use libmox_message::received;
use libmox_service::clock;
use libmox_smtp::client::Failure;
use libmox_smtp::notify::{self, Event};
use libmox_smtp::reply::Answer;
use libmox_store::{Body, Facts, Outcome, QueueEntry, QueueOpen, Report};
use libmox_types::{Address, LocalPart, ReversePath, Timestamp};

/// What became of an entry, for its sender.
#[derive(Debug, Clone)]
pub enum News {
    /// Not delivered: yet, or for good.
    Bad(QueueEntry, Failure, Outcome),
    /// A server has it that makes no reports itself.
    Relayed(QueueEntry, Answer),
    /// In an account here.
    Delivered(QueueEntry),
}

impl News {
    fn entry(&self) -> &QueueEntry {
        match self {
            Self::Bad(entry, ..) | Self::Relayed(entry, _) | Self::Delivered(entry) => entry,
        }
    }
}

/// A report about what could not be delivered, is late, or went well where somebody wants to know; none where nobody
/// wants one.
pub async fn about(shared: &Shared, news: &[News], attempt: u32) -> Option<Report> {
    let failed: Vec<Recipient> = news
        .iter()
        .filter_map(|one| match one {
            News::Bad(entry, failure, Outcome::Failed) if wants(entry, Event::Failure) => {
                Some(recipient(entry, failure, Action::Failed))
            }
            _ => None,
        })
        .collect();
    let good = good_recipients(news);
    let late = || -> Vec<Recipient> {
        news.iter()
            .filter_map(|one| match one {
                News::Bad(entry, failure, Outcome::Later(_)) if wants(entry, Event::Delay) => {
                    Some(recipient(entry, failure, Action::Delayed(until(shared, entry))))
                }
                _ => None,
            })
            .collect()
    };
    let is_failure = !failed.is_empty();
    let (recipients, subject, text) = match (failed.is_empty(), good.is_empty()) {
        (false, _) => (
            // RFC 3464 §2.1: one report may say different things of different recipients.
            failed.into_iter().chain(good).collect(),
            "mail delivery failed",
            "could not be delivered to everybody. It will not be tried again.",
        ),
        (true, false) => (good, RELAYED.0, RELAYED.1),
        (true, true) if attempt == limits::DELAY_REPORT => (
            late(),
            "message delayed",
            "has not been delivered yet. It will be tried again; there is no need to send it again.",
        ),
        (true, true) => return None,
    };
    let entry = news.first()?.entry();
    if recipients.is_empty() {
        return None;
    }
    // RFC 3461 §4.3: only where something failed.
    let whole = is_failure && entry.wishes.ret == "FULL";
    let bytes = original_bytes(shared, entry, whole).await;
    compose(shared, entry, &recipients, (subject, text), returned(&bytes, whole))
}

const RELAYED: (&str, &str) = (
    "message relayed",
    "was handed to a server that sends no reports about delivery; you will hear no more of it.",
);

/// The header of what may have to be reported as delivered; none where nobody asks for that.
pub async fn header_for_success(shared: &Shared, entries: &[QueueEntry]) -> Option<Vec<u8>> {
    let entry = entries.iter().find(|entry| asks_for_success(entry))?;
    Some(original_bytes(shared, entry, false).await)
}

/// A report of success alone, with the header read before.
pub fn good(shared: &Shared, news: &[News], header: &[u8]) -> Option<Report> {
    let recipients = good_recipients(news);
    let entry = news.first()?.entry();
    if recipients.is_empty() {
        return None;
    }
    compose(
        shared,
        entry,
        &recipients,
        ("message delivered", "reached the mailbox of:"),
        Returned::Header(header),
    )
}

fn good_recipients(news: &[News]) -> Vec<Recipient> {
    news.iter()
        .filter(|one| asks_for_success(one.entry()))
        .filter_map(|one| {
            let (entry, action, reply) = match one {
                News::Bad(..) => return None,
                News::Relayed(entry, answer) => (entry, Action::Relayed, answer.raw.clone()),
                News::Delivered(entry) => (entry, Action::Delivered, Vec::new()),
            };
            Some(Recipient {
                address: entry.recipient.address.clone(),
                original: original(entry),
                action,
                status: if action == Action::Delivered { "2.1.5".into() } else { "2.0.0".into() },
                status_comment: None,
                remote_mta: None,
                remote_reply: reply,
                last_attempt: Some(clock::now()),
            })
        })
        .collect()
}

fn compose(
    shared: &Shared,
    entry: &QueueEntry,
    recipients: &[Recipient],
    (subject, text): (&str, &str),
    original: Returned<'_>,
) -> Option<Report> {
    // RFC 5321 §6.1: a report is never reported on.
    let to = entry.mail_from.address()?.clone();
    let from = Address {
        local: LocalPart::new("postmaster").ok()?,
        domain: shared.context.config().hostname.clone(),
    };
    let mut words = format!("Your message {text}\r\n\r\n");
    for recipient in recipients {
        words.push_str(&format!("  {}\r\n", recipient.address));
        for line in &recipient.remote_reply {
            words.push_str(&format!("    {line}\r\n"));
        }
        if let Some(comment) = &recipient.status_comment {
            words.push_str(&format!("    {comment}\r\n"));
        }
    }
    let unique = format!("{:016x}{:016x}", clock::random_u64(), clock::random_u64());
    let message_id = (!entry.message_id.is_empty()).then(|| format!("<{}>", entry.message_id));
    let given = |text: &'_ String| (!text.is_empty()).then(|| text.clone());
    let (envelope_id, future_release) =
        (given(&entry.wishes.envelope_id), given(&entry.wishes.future_release));
    let body = Dsn {
        from: &from,
        to: &to,
        subject,
        text: &words,
        reporting_mta: &from.domain,
        envelope_id: envelope_id.as_deref(),
        received_from: None,
        arrival: entry.queued,
        future_release: future_release.as_deref(),
        recipients,
        original_message_id: message_id.as_deref(),
        original,
        message_id: &format!("<{unique}@{}>", from.domain.ascii()),
        date: clock::now(),
        boundary: &unique,
    }
    .write(if entry.needs.smtputf8 { Variant::Utf8 } else { Variant::Ascii });
    let facts = Facts::from(&libmox_message::parse(&body));
    let prefix = format!("{}{}", received::return_path(&ReversePath::Null), received::delivered_to(&to));
    Some(Report { to, prefix: prefix.into_bytes(), body: Body::Inline(body), facts })
}

/// Only who says so (RFC 3461 §4.1).
fn asks_for_success(entry: &QueueEntry) -> bool {
    wants(entry, Event::Success)
}

fn original(entry: &QueueEntry) -> Option<String> {
    notify::original_recipient(&entry.recipient.orcpt)
}

fn wants(entry: &QueueEntry, event: Event) -> bool {
    notify::wants(&entry.recipient.notify, event)
}

fn until(shared: &Shared, entry: &QueueEntry) -> Option<Timestamp> {
    let config = shared.context.config();
    let attempts = u32::try_from(config.queue.max_attempts).unwrap_or(u32::MAX);
    let waits = (1..attempts.min(40)).map(|n| crate::deliver::wait_after(config.queue.first_retry, n));
    Some(entry.queued.plus(waits.sum()))
}

fn recipient(entry: &QueueEntry, failure: &Failure, action: Action) -> Recipient {
    let original = original(entry);
    let mut status = failure.status.clone();
    if action == Action::Failed && status.starts_with('4') {
        // RFC 3463 §2: what is final is 5, whatever the last try said; the comment keeps the rest.
        status.replace_range(..1, "5");
    }
    Recipient {
        address: entry.recipient.address.clone(),
        original,
        action,
        status,
        status_comment: failure.answer.is_none().then(|| failure.text.clone()),
        remote_mta: None,
        remote_reply: failure.answer.as_ref().map(|answer| answer.raw.clone()).unwrap_or_default(),
        last_attempt: Some(clock::now()),
    }
}

/// The whole message where that is wanted and it is small, or its header section, cut at a line where it is very long;
/// empty if it cannot be read.
async fn original_bytes(shared: &Shared, entry: &QueueEntry, whole: bool) -> Vec<u8> {
    let Ok((content, descriptors)) = shared.store.ask_with(QueueOpen(entry.id), Vec::new()).await else {
        return Vec::new();
    };
    let Ok(mut pieces) = Pieces::new(content, descriptors) else { return Vec::new() };
    let mut bytes = Vec::new();
    while let Ok(Some(piece)) = pieces.next().await {
        bytes.extend_from_slice(&piece);
        if whole && bytes.len() <= WHOLE_OCTETS {
            continue;
        }
        if let Some(header) = header_section(&bytes, limits::REPORT_HEADER) {
            return header.to_vec();
        }
    }
    // The whole message, or one that is all header.
    bytes
}

/// What of it goes into the report. It is delivered here, so that eight bits are no trouble.
fn returned(bytes: &[u8], whole: bool) -> Returned<'_> {
    match header_section(bytes, limits::REPORT_HEADER) {
        Some(header) if whole && header.len() < bytes.len() && can_return(bytes, true) => {
            Returned::Whole(bytes)
        }
        Some(header) => Returned::Header(header),
        None => Returned::Header(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3461 §4.3.
    #[test]
    fn what_comes_back_is_whole_where_it_can_be() {
        let message = b"A: b\r\n\r\nbody\r\n";
        assert_eq!(returned(message, true), Returned::Whole(message));
        assert_eq!(returned(message, false), Returned::Header(b"A: b\r\n"));
        // Too large, or not in lines: its header was read alone, or it cannot stand in a report.
        assert_eq!(returned(b"A: b\r\n", true), Returned::Header(b"A: b\r\n"));
        assert_eq!(returned(b"A: b\r\n\r\na\0b", true), Returned::Header(b"A: b\r\n"));
    }
}
