//! Delivery reports: one for all recipients that failed together.
//!
//! Law: RFC 3464, RFC 3461 §4.1 (NOTIFY); rows QU-18 to QU-20, TR-31, TR-33.

use crate::deliver::Pieces;
use crate::{Shared, limits};
use libmox_message::dsn::{Action, Dsn, Recipient, Variant, header_section};
use libmox_message::received;
use libmox_service::clock;
use libmox_smtp::client::Failure;
use libmox_store::{Body, Facts, Outcome, QueueEntry, QueueOpen, Report};
use libmox_types::{Address, LocalPart, ReversePath, Timestamp};

/// A report about what could not be delivered, or is late; none where nobody wants one.
pub async fn about(shared: &Shared, news: &[(QueueEntry, Failure, Outcome)], attempt: u32) -> Option<Report> {
    let failed: Vec<Recipient> = news
        .iter()
        .filter(|(entry, _, outcome)| *outcome == Outcome::Failed && wants(entry, "FAILURE"))
        .map(|(entry, failure, _)| recipient(entry, failure, Action::Failed))
        .collect();
    let late = || -> Vec<Recipient> {
        news.iter()
            .filter(|(entry, _, outcome)| matches!(outcome, Outcome::Later(_)) && wants(entry, "DELAY"))
            .map(|(entry, failure, _)| recipient(entry, failure, Action::Delayed(until(shared, entry))))
            .collect()
    };
    let (recipients, subject, text) = if failed.is_empty() {
        if attempt != limits::DELAY_REPORT {
            return None;
        }
        (
            late(),
            "message delayed",
            "has not been delivered yet. It will be tried again; there is no need to send it again.",
        )
    } else {
        (failed, "mail delivery failed", "could not be delivered. It will not be tried again.")
    };
    let entry = &news.first()?.0;
    // RFC 5321 §6.1: a report is never reported on.
    let to = entry.mail_from.address()?.clone();
    if recipients.is_empty() {
        return None;
    }
    let from = Address {
        local: LocalPart::new("postmaster").ok()?,
        domain: shared.context.config().hostname.clone(),
    };
    let header = original_header(shared, entry).await;
    let mut words = format!("Your message {text}\r\n\r\n");
    for recipient in &recipients {
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
    let body = Dsn {
        from: &from,
        to: &to,
        subject,
        text: &words,
        reporting_mta: &from.domain,
        envelope_id: None,
        received_from: None,
        arrival: entry.queued,
        future_release: None,
        recipients: &recipients,
        original_message_id: message_id.as_deref(),
        original_header: &header,
        message_id: &format!("<{unique}@{}>", from.domain.ascii()),
        date: clock::now(),
        boundary: &unique,
    }
    .write(if entry.needs.smtputf8 { Variant::Utf8 } else { Variant::Ascii });
    let facts = Facts::from(&libmox_message::parse(&body));
    let prefix = format!("{}{}", received::return_path(&ReversePath::Null), received::delivered_to(&to));
    Some(Report { to, prefix: prefix.into_bytes(), body: Body::Inline(body), facts })
}

/// RFC 3461 §4.1: without NOTIFY failures and delays are reported; NEVER is never.
fn wants(entry: &QueueEntry, what: &str) -> bool {
    let notify = &entry.recipient.notify;
    notify.is_empty() || notify.split(',').any(|word| word.eq_ignore_ascii_case(what))
}

fn until(shared: &Shared, entry: &QueueEntry) -> Option<Timestamp> {
    let config = shared.context.config();
    let attempts = u32::try_from(config.queue.max_attempts).unwrap_or(u32::MAX);
    let waits = (1..attempts.min(40)).map(|n| crate::deliver::wait_after(config.queue.first_retry, n));
    Some(entry.queued.plus(waits.sum()))
}

fn recipient(entry: &QueueEntry, failure: &Failure, action: Action) -> Recipient {
    let original = (!entry.recipient.orcpt.is_empty()).then(|| entry.recipient.orcpt.clone());
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

/// The header section of the original, cut at a line where it is very long; empty if it cannot be read.
async fn original_header(shared: &Shared, entry: &QueueEntry) -> Vec<u8> {
    let Ok((content, descriptors)) = shared.store.ask_with(QueueOpen(entry.id), Vec::new()).await else {
        return Vec::new();
    };
    let Ok(mut pieces) = Pieces::new(content, descriptors) else { return Vec::new() };
    let mut bytes = Vec::new();
    while let Ok(Some(piece)) = pieces.next().await {
        bytes.extend_from_slice(&piece);
        if let Some(header) = header_section(&bytes, limits::REPORT_HEADER) {
            return header.to_vec();
        }
    }
    // All header, no body.
    bytes
}
