//! Yes or no, and why: plain functions of facts.

use libmox_service::config::SmtpConfig;
use libmox_service::net::Full;
use libmox_smtp::session::Answer;
use libmox_smtp::{Reply, limits};
use libmox_store::{Delivered, RecipientStatus, Stored};
use libmox_verify::Shape;

/// No place for a connection.
pub(crate) fn turned_away(full: Full) -> Reply {
    match full {
        Full::All => Reply::new(421, "4.7.0", "too many connections, try again later"),
        Full::Class | Full::Rate => {
            Reply::new(421, "4.7.0", "too many connections from your address, try again later")
        }
    }
}

/// A recipient. Known and unknown ones may share a transaction: who is unknown is told after the data (row SR-17), or
/// in a report where others got the message (row SR-35).
pub(crate) fn judge_recipient(status: &RecipientStatus) -> Answer {
    Answer::Refuse(match status {
        RecipientStatus::Local => return Answer::Accept,
        RecipientStatus::UnknownUser => return Answer::AcceptUnknown,
        RecipientStatus::Foreign => Reply::new(550, "5.1.1", "not a domain of this server"),
        RecipientStatus::Disabled => Reply::new(450, "4.2.1", "recipient domain temporarily disabled"),
        RecipientStatus::OverQuota => Reply::new(452, "4.2.2", "mailbox is full"),
    })
}

/// A second recipient where the sender may be forged: a report would go to somebody who never wrote (row SR-18).
pub(crate) fn one_at_a_time() -> Reply {
    Reply::new(452, "4.5.3", "only one recipient at a time without SPF pass")
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

/// All of them have it, or will be reported on.
pub(crate) fn judge_together(stored: &[Stored]) -> Reply {
    stored.first().map_or_else(later, accepted)
}

/// Try again. Row SR-28: never 5xx for what may be a mistake of ours.
pub(crate) fn later() -> Reply {
    Reply::new(451, "4.3.0", "error processing, try again later")
}

/// One answer for all recipients, none of whom has it unless all have.
pub(crate) fn judge_delivery(outcomes: &[Delivered]) -> Reply {
    let all = |same: fn(&Delivered) -> bool| outcomes.iter().all(same);
    match outcomes.first() {
        Some(Delivered::Stored(proof)) if all(|d| matches!(d, Delivered::Stored(_))) => accepted(proof),
        Some(Delivered::UnknownUser) if all(|d| matches!(d, Delivered::UnknownUser)) => unknown_user(),
        Some(Delivered::OverQuota) if all(|d| matches!(d, Delivered::OverQuota)) => {
            Reply::new(452, "4.2.2", "mailbox is full")
        }
        _ => later(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libmox_types::MsgId;

    #[test]
    fn recipients_are_told_at_once_what_is_no_secret() {
        use RecipientStatus as R;
        for (status, want) in [
            (R::Local, None),
            (R::UnknownUser, None),
            (R::Foreign, Some(550)),
            (R::Disabled, Some(450)),
            (R::OverQuota, Some(452)),
        ] {
            let got = match judge_recipient(&status) {
                Answer::Refuse(reply) => Some(reply.code()),
                _ => None,
            };
            assert_eq!(got, want, "{status:?}");
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
