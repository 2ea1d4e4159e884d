//! Yes or no, and why: plain functions of facts.

use libmox_service::config::SmtpConfig;
use libmox_service::net::Full;
use libmox_smtp::session::{Answer, Transaction};
use libmox_smtp::{Reply, limits};
use libmox_store::{Delivered, RecipientStatus, Stored};
use libmox_verify::Shape;

/// No place for a connection.
pub(crate) fn turned_away(full: Full) -> Reply {
    match full {
        Full::All => Reply::new(421, "4.7.0", "too many connections, try again later"),
        Full::Class => Reply::new(421, "4.7.0", "too many connections from your address, try again later"),
    }
}

/// A recipient, given those before it in the transaction.
///
/// All recipients of a transaction live here, or none does: only then one answer to the message is right for each of
/// them, and nobody is dropped silently. A lone unknown one is refused after the data (row SR-17).
pub(crate) fn judge_recipient(status: &RecipientStatus, transaction: &Transaction) -> Answer {
    let (mut known, mut unknown) = (false, false);
    for recipient in &transaction.recipients {
        known |= !recipient.unknown;
        unknown |= recipient.unknown;
    }
    Answer::Refuse(match status {
        RecipientStatus::Local if unknown => Reply::new(452, "4.5.3", "send to this recipient separately"),
        RecipientStatus::Local => return Answer::Accept,
        RecipientStatus::UnknownUser if known => unknown_user(),
        RecipientStatus::UnknownUser => return Answer::AcceptUnknown,
        RecipientStatus::Foreign => Reply::new(550, "5.1.1", "not a domain of this server"),
        RecipientStatus::Disabled => Reply::new(450, "4.2.1", "recipient domain temporarily disabled"),
        RecipientStatus::OverQuota => Reply::new(452, "4.2.2", "mailbox is full"),
    })
}

/// Nobody of that name.
pub(crate) fn unknown_user() -> Reply {
    Reply::new(550, "5.1.1", "no such user here")
}

/// A message, by its shape and the verdict on it. None: it may be delivered.
pub(crate) fn judge_message(
    config: &SmtpConfig,
    shape: Shape,
    dmarc_refuses: bool,
) -> Option<(Reply, &'static str)> {
    if shape.received > limits::RECEIVED {
        return Some((Reply::new(550, "5.4.6", "too many Received headers, this looks like a loop"), "loop"));
    }
    if dmarc_refuses && config.dmarc_reject {
        return Some((
            Reply::new(550, "5.7.26", "refused by the DMARC policy of the sender's domain"),
            "dmarc",
        ));
    }
    None
}

/// RFC 5321 §6.1: from this reply on the message is ours to lose.
fn accepted(_proof: &Stored) -> Reply {
    Reply::new(250, "2.0.0", "kept")
}

/// One answer for all recipients. Where some have it and some do not, "try again": a copy too many is better than
/// one too few.
pub(crate) fn judge_delivery(outcomes: &[Delivered]) -> Reply {
    let all = |same: fn(&Delivered) -> bool| outcomes.iter().all(same);
    match outcomes.first() {
        Some(Delivered::Stored(proof)) if all(|d| matches!(d, Delivered::Stored(_))) => accepted(proof),
        Some(Delivered::UnknownUser) if all(|d| matches!(d, Delivered::UnknownUser)) => unknown_user(),
        Some(Delivered::OverQuota) if all(|d| matches!(d, Delivered::OverQuota)) => {
            Reply::new(452, "4.2.2", "mailbox is full")
        }
        // Row SR-28: never 5xx for what may be a mistake of ours.
        _ => Reply::new(451, "4.3.0", "error processing, try again later"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libmox_smtp::command::{MailParams, Rcpt, RcptPath};
    use libmox_smtp::session::Recipient;
    use libmox_types::{MsgId, ReversePath};

    fn transaction(unknown: &[bool]) -> Transaction {
        let rcpt = Rcpt { to: RcptPath::Postmaster, notify: String::new(), orcpt: String::new() };
        let recipients = unknown.iter().map(|&unknown| Recipient { rcpt: rcpt.clone(), unknown }).collect();
        Transaction { from: ReversePath::Null, params: MailParams::default(), recipients }
    }

    #[test]
    fn known_and_unknown_recipients_do_not_share_a_transaction() {
        use RecipientStatus as R;
        for (status, before, want) in [
            (R::Local, &[][..], 250),
            (R::UnknownUser, &[], 250),
            (R::UnknownUser, &[true], 250),
            (R::UnknownUser, &[false], 550),
            (R::Local, &[false], 250),
            (R::Local, &[true], 452),
            (R::Foreign, &[], 550),
            (R::Disabled, &[], 450),
            (R::OverQuota, &[], 452),
        ] {
            let got = match judge_recipient(&status, &transaction(before)) {
                Answer::Refuse(reply) => reply.code(),
                _ => 250,
            };
            assert_eq!(got, want, "{status:?} after {before:?}");
        }
    }

    #[test]
    fn only_proof_gives_250() {
        let stored = Delivered::Stored(Stored { id: MsgId(1) });
        for (outcomes, want) in [
            (vec![stored.clone()], 250),
            (vec![stored.clone(), stored.clone()], 250),
            (vec![stored.clone(), Delivered::OverQuota], 451),
            (vec![Delivered::OverQuota, stored], 451),
            (vec![Delivered::UnknownUser], 550),
            (vec![Delivered::OverQuota], 452),
            (vec![Delivered::Deferred("x".into())], 451),
            (vec![], 451),
        ] {
            assert_eq!(judge_delivery(&outcomes).code(), want, "{outcomes:?}");
        }
    }
}
