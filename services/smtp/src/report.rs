//! The report about recipients of a transaction: those who cannot have a message that others got (row SR-35), and those
//! who have it, where the sender asks to hear of that (row SR-41).
//!
//! Law: RFC 5321 §4.2.5 and §6.1, RFC 3464, RFC 3461. The sender's server is told 250, so the sender must hear of it from us;
//! only where SPF says that the sender's address is not forged (row SR-18).

use libmox_message::dsn::{Action, Dsn, Recipient, Returned, Variant, can_return, header_section};
use libmox_message::received;
use libmox_service::clock;
use libmox_service::config::Static;
use libmox_smtp::command::Rcpt;
use libmox_smtp::notify::{self, Event};
use libmox_store::{Body, Delivered, Facts, Report};
use libmox_types::{Address, LocalPart, ReversePath, Timestamp};

/// Octets of the original header in a report.
pub(crate) const HEADER_OCTETS: usize = 64 * 1024;

/// One recipient who cannot have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failed {
    pub(crate) to: Told,
    pub(crate) why: Why,
}

/// A recipient, and what its sender wants to hear of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) address: Address,
    notify: String,
    orcpt: String,
}

impl Told {
    pub(crate) fn new(address: Address, rcpt: &Rcpt) -> Self {
        Self { address, notify: rcpt.notify.clone(), orcpt: rcpt.orcpt.clone() }
    }

    /// It arrived, and nobody hears of that.
    pub(crate) fn forget_success(&mut self) {
        if self.wants(Event::Success) {
            let rest = self.notify.split(',').filter(|word| !word.eq_ignore_ascii_case("SUCCESS"));
            let rest = rest.collect::<Vec<_>>().join(",");
            self.notify = if rest.is_empty() { "NEVER".into() } else { rest };
        }
    }

    /// RFC 3461 §4.1.
    pub(crate) fn wants(&self, event: Event) -> bool {
        notify::wants(&self.notify, event)
    }
}

/// Why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    UnknownUser,
    OverQuota,
    Refused,
    NotMember,
}

impl Why {
    /// Of what the store said; none for what passes by itself, so that the sender's server tries again.
    pub(crate) fn of(outcome: &Delivered) -> Option<Self> {
        match outcome {
            Delivered::UnknownUser => Some(Self::UnknownUser),
            Delivered::OverQuota => Some(Self::OverQuota),
            Delivered::Refused { .. } => Some(Self::Refused),
            Delivered::NotMember => Some(Self::NotMember),
            Delivered::Stored(_) | Delivered::Deferred(_) => None,
        }
    }

    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::UnknownUser => ("5.1.1", "no such user here"),
            Self::OverQuota => ("5.2.2", "mailbox is full"),
            Self::Refused => ("5.7.1", "refused"),
            Self::NotMember => ("5.7.2", "only members may write to this list"),
        }
    }
}

/// The message that is reported on.
pub(crate) struct Original<'a> {
    pub(crate) mail_from: &'a ReversePath,
    pub(crate) envelope_id: Option<&'a str>,
    /// Without brackets.
    pub(crate) message_id: &'a str,
    /// Its front.
    pub(crate) bytes: &'a [u8],
    /// All of it is there, and the sender wants it back (RFC 3461 §4.3).
    pub(crate) whole: bool,
    pub(crate) arrival: Timestamp,
}

/// Composes it; none for a null sender, nor where nobody wants to hear of it.
pub(crate) fn about(
    config: &Static,
    original: &Original<'_>,
    failed: &[Failed],
    delivered: &[Told],
) -> Option<Report> {
    let to = original.mail_from.address()?.clone();
    let now = original.arrival;
    let from = Address { local: LocalPart::new("postmaster").ok()?, domain: config.hostname.clone() };
    let failed: Vec<&Failed> = failed.iter().filter(|failed| failed.to.wants(Event::Failure)).collect();
    let one = |told: &Told, action, status: &str, comment: Option<&str>| Recipient {
        address: told.address.clone(),
        original: notify::original_recipient(&told.orcpt),
        action,
        status: status.into(),
        status_comment: comment.map(Into::into),
        remote_mta: None,
        remote_reply: Vec::new(),
        last_attempt: Some(now),
    };
    let mut recipients: Vec<Recipient> = Vec::new();
    let mut words = String::new();
    if !failed.is_empty() {
        words.push_str("Your message reached some of its recipients, but not these:\r\n\r\n");
        for failed in &failed {
            let (status, comment) = failed.why.words();
            recipients.push(one(&failed.to, Action::Failed, status, Some(comment)));
            words.push_str(&format!("  {}\r\n    {comment}\r\n", failed.to.address));
        }
    }
    if !delivered.is_empty() {
        words.push_str("Your message reached the mailbox of:\r\n\r\n");
        for told in delivered {
            recipients.push(one(told, Action::Delivered, "2.1.5", None));
            words.push_str(&format!("  {}\r\n", told.address));
        }
    }
    if recipients.is_empty() {
        return None;
    }
    let is_failure = !failed.is_empty();
    let unique = format!("{:016x}{:016x}", clock::random_u64(), clock::random_u64());
    let message_id = (!original.message_id.is_empty()).then(|| format!("<{}>", original.message_id));
    let utf8 = to.needs_utf8() || recipients.iter().any(|one| one.address.needs_utf8());
    let body = Dsn {
        from: &from,
        to: &to,
        subject: if failed.is_empty() { "message delivered" } else { "mail delivery failed" },
        text: &words,
        reporting_mta: &from.domain,
        envelope_id: original.envelope_id,
        received_from: None,
        arrival: now,
        future_release: None,
        recipients: &recipients,
        original_message_id: message_id.as_deref(),
        original: match original.whole && is_failure && can_return(original.bytes, false) {
            // It goes out again, perhaps to a server that takes seven bits alone.
            true => Returned::Whole(original.bytes),
            false => {
                Returned::Header(header_section(original.bytes, HEADER_OCTETS).unwrap_or(original.bytes))
            }
        },
        message_id: &format!("<{unique}@{}>", from.domain.ascii()),
        date: now,
        boundary: &unique,
    }
    .write(if utf8 { Variant::Utf8 } else { Variant::Ascii });
    let facts = Facts::from(&libmox_message::parse(&body));
    let prefix = format!("{}{}", received::return_path(&ReversePath::Null), received::delivered_to(&to));
    Some(Report { to, prefix: prefix.into_bytes(), body: Body::Inline(body), facts })
}
