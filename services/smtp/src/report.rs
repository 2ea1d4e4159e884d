//! The report about recipients of a transaction who cannot have a message that others got (row SR-35).
//!
//! Law: RFC 5321 §4.2.5 and §6.1, RFC 3464. The sender's server is told 250, so the sender must hear of it from us;
//! only where SPF says that the sender's address is not forged (row SR-18).

use libmox_message::dsn::{Action, Dsn, Recipient, Variant, header_section};
use libmox_message::received;
use libmox_service::clock;
use libmox_service::config::Static;
use libmox_store::{Body, Delivered, Facts, Report};
use libmox_types::{Address, LocalPart, ReversePath, Timestamp};

/// Octets of the original header in a report.
pub(crate) const HEADER_OCTETS: usize = 64 * 1024;

/// One recipient who cannot have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failed {
    pub(crate) address: Address,
    pub(crate) why: Why,
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

/// Composes it; none for a null sender.
pub(crate) fn about(
    config: &Static,
    mail_from: &ReversePath,
    message: &[u8],
    message_id: &str,
    failed: &[Failed],
    now: Timestamp,
) -> Option<Report> {
    let to = mail_from.address()?.clone();
    let from = Address { local: LocalPart::new("postmaster").ok()?, domain: config.hostname.clone() };
    let recipients: Vec<Recipient> = failed
        .iter()
        .map(|failed| {
            let (status, comment) = failed.why.words();
            Recipient {
                address: failed.address.clone(),
                original: None,
                action: Action::Failed,
                status: status.into(),
                status_comment: Some(comment.into()),
                remote_mta: None,
                remote_reply: Vec::new(),
                last_attempt: Some(now),
            }
        })
        .collect();
    let mut words = String::from("Your message reached some of its recipients, but not these:\r\n\r\n");
    for failed in failed {
        words.push_str(&format!("  {}\r\n    {}\r\n", failed.address, failed.why.words().1));
    }
    let unique = format!("{:016x}{:016x}", clock::random_u64(), clock::random_u64());
    let original = (!message_id.is_empty()).then(|| format!("<{message_id}>"));
    let utf8 = to.needs_utf8() || failed.iter().any(|failed| failed.address.needs_utf8());
    let body = Dsn {
        from: &from,
        to: &to,
        subject: "mail delivery failed",
        text: &words,
        reporting_mta: &from.domain,
        envelope_id: None,
        received_from: None,
        arrival: now,
        future_release: None,
        recipients: &recipients,
        original_message_id: original.as_deref(),
        original_header: header_section(message, HEADER_OCTETS).unwrap_or(message),
        message_id: &format!("<{unique}@{}>", from.domain.ascii()),
        date: now,
        boundary: &unique,
    }
    .write(if utf8 { Variant::Utf8 } else { Variant::Ascii });
    let facts = Facts::from(&libmox_message::parse(&body));
    let prefix = format!("{}{}", received::return_path(&ReversePath::Null), received::delivered_to(&to));
    Some(Report { to, prefix: prefix.into_bytes(), body: Body::Inline(body), facts })
}
