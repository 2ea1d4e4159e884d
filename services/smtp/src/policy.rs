//! Yes or no, and why: plain functions of facts.

use libmox_reception::Pace;
use libmox_service::net::Full;
use libmox_smtp::session::Answer;
use libmox_smtp::{Reply, limits};
use libmox_store::{Analysis, Decision, Delivered, RecipientStatus, Stored};
use libmox_verify::{Shape, Takes};

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
        RecipientStatus::Local | RecipientStatus::LocalUnfiltered | RecipientStatus::Reports => {
            return Answer::Accept;
        }
        RecipientStatus::TlsReports => return Answer::AcceptWithoutTls,
        RecipientStatus::UnknownUser => return Answer::AcceptUnknown,
        RecipientStatus::Foreign => Reply::new(550, "5.1.1", "not a domain of this server"),
        RecipientStatus::Disabled => Reply::new(450, "4.2.1", "recipient domain temporarily disabled"),
        RecipientStatus::OverQuota => Reply::new(452, "4.2.2", "mailbox is full"),
        RecipientStatus::Refused(421, text) => Reply::new(421, "4.3.0", text.clone()),
        RecipientStatus::Refused(_, text) => Reply::new(550, "5.1.1", text.clone()),
    })
}

/// A second recipient where the sender may be forged: a report would go to somebody who never wrote (row SR-18).
pub(crate) fn one_at_a_time() -> Reply {
    Reply::new(452, "4.5.3", "only one recipient at a time without SPF pass")
}

/// Row SR-15.
pub(crate) fn not_member() -> Reply {
    Reply::new(550, "5.7.2", "only members may write to this list")
}

/// Nobody of that name.
pub(crate) fn unknown_user() -> Reply {
    Reply::new(550, "5.1.1", "no such user here")
}

/// A message, by its shape. None: it may be delivered.
pub(crate) fn judge_message(shape: Shape) -> Option<(Reply, &'static str)> {
    if shape.received > limits::RECEIVED {
        return Some((Reply::new(550, "5.4.6", "too many Received headers, this looks like a loop"), "loop"));
    }
    None
}

/// More header than anybody looks at: what is behind it may be another From.
pub(crate) fn header_too_large() -> Reply {
    Reply::new(554, "5.6.0", "header section too large")
}

/// MAIL FROM, by what its domain says of itself (row SR-09).
pub(crate) fn judge_sender(takes: Takes) -> Answer {
    Answer::Refuse(match takes {
        Takes::Mail => return Answer::Accept,
        Takes::NullMx => Reply::new(550, "5.7.27", "the sender's domain says that it takes no mail"),
        Takes::NoAddress => Reply::new(550, "5.7.27", "the sender's domain cannot take mail"),
        Takes::Unknown => Reply::new(451, "4.4.0", "cannot look up the sender's domain now, try again later"),
    })
}

/// The name in EHLO: it has an address, or may have one (row SR-03).
pub(crate) fn judge_hello(takes: Takes) -> Answer {
    match takes {
        Takes::Mail | Takes::Unknown => Answer::Accept,
        Takes::NoAddress | Takes::NullMx => Answer::Refuse(Reply::new(
            550,
            "5.5.0",
            "the name in EHLO has no address; give a name that has one, or an address literal",
        )),
    }
}

/// A refused message (row SR-28): what is no spam is told why, what may be a mistake of ours is asked for again.
pub(crate) fn judge_refusal(analyses: &[Analysis]) -> Reply {
    let refused = || analyses.iter().filter(|analysis| analysis.decision == Decision::Reject);
    if let Some(pass) = refused().find_map(|analysis| analysis.pass.as_ref()) {
        return Reply::new(
            550,
            "5.7.1",
            format!("your message looks like spam; if it is not, send it again with {pass} in its subject"),
        );
    }
    // Row SR-27.
    let unproven = |reason: &str| {
        let first = refused().next().filter(|_| refused().all(|analysis| analysis.reason == reason));
        first.map(|analysis| analysis.text.clone())
    };
    if let Some(words) = unproven("message-auth") {
        return Reply::new(550, "5.7.26", words);
    }
    if let Some(words) = unproven("message-auth-temporary") {
        return Reply::new(451, "4.7.26", words);
    }
    if refused().next().is_some() && refused().all(|analysis| analysis.reason == "dmarc") {
        return Reply::new(550, "5.7.26", "refused by the DMARC policy of the sender's domain");
    }
    later()
}

/// Row SR-32: it is told before anything is delivered, and comes again with all of its recipients.
pub(crate) fn judge_rate(analyses: &[Analysis]) -> Option<Reply> {
    let late = analyses.iter().any(|analysis| analysis.decision == Decision::TooOften);
    late.then(|| {
        Reply::new(452, "4.2.2", "too much mail from your network for this mailbox, try again later")
    })
}

/// Row SR-30: who brings what is refused for what it is is served slowly. Who named somebody unknown has waited for it
/// already (row SR-17), and full mailboxes and troubles of ours are not the client's doing.
pub(crate) fn judge_pace(analyses: &[Analysis]) -> Pace {
    let refused = analyses.iter().any(|analysis| analysis.decision == Decision::Reject);
    if refused { Pace::Slow } else { Pace::Usual }
}

/// RFC 5321 §6.1: from this reply on the message is ours to lose.
fn accepted(_proof: &Stored) -> Reply {
    kept()
}

/// What a message that is stored is answered with.
pub(crate) fn kept() -> Reply {
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
pub(crate) fn judge_delivery(outcomes: &[Delivered], analyses: &[Analysis]) -> Reply {
    let all = |same: fn(&Delivered) -> bool| outcomes.iter().all(same);
    match outcomes.first() {
        Some(Delivered::Stored(proof)) if all(|d| matches!(d, Delivered::Stored(_))) => accepted(proof),
        Some(Delivered::UnknownUser) if all(|d| matches!(d, Delivered::UnknownUser)) => unknown_user(),
        Some(Delivered::OverQuota) if all(|d| matches!(d, Delivered::OverQuota)) => {
            Reply::new(452, "4.2.2", "mailbox is full")
        }
        Some(Delivered::NotMember) if all(|d| matches!(d, Delivered::NotMember)) => not_member(),
        Some(Delivered::Refused { .. }) if all(|d| matches!(d, Delivered::Refused { .. })) => {
            judge_refusal(analyses)
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
            (R::Reports, None),
            (R::TlsReports, None),
            (R::UnknownUser, None),
            // Rows SR-17, SR-26, SR-28, SR-27.
            (R::Foreign, Some("550 5.1.1 not a domain of this server")),
            (R::Disabled, Some("450 4.2.1 recipient domain temporarily disabled")),
            (R::OverQuota, Some("452 4.2.2 mailbox is full")),
            (R::Refused(421, "later".into()), Some("421 4.3.0 later")),
            (R::Refused(550, "no".into()), Some("550 5.1.1 no")),
        ] {
            let got = match judge_recipient(&status) {
                Answer::Refuse(reply) => Some(reply.to_string()),
                _ => None,
            };
            let want = want.map(str::to_owned);
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
            (vec![Delivered::NotMember], 550),
            (vec![Delivered::Deferred("x".into())], 451),
            (vec![], 451),
        ] {
            assert_eq!(judge_delivery(&outcomes, &[]).code(), want, "{outcomes:?}");
        }
    }

    /// Rows SR-28, MA-09, JK-11.
    #[test]
    fn refusals_say_as_much_as_they_should() {
        let refused = |reason: &str, pass: Option<&str>| Analysis {
            decision: Decision::Reject,
            reason: reason.into(),
            destined: None,
            text: String::new(),
            ask_lists: false,
            first: false,
            pass: pass.map(Into::into),
            chain: vec![],
            dmarc_override: None,
            report_error: None,
        };
        for (analyses, want) in [
            (vec![refused("dmarc", None)], "550 5.7.26"),
            (vec![refused("junk-content", None)], "451 4.3.0"),
            (vec![refused("spf", None)], "451 4.3.0"),
            (vec![refused("dmarc", None), refused("spf", None)], "451 4.3.0"),
            (vec![refused("junk-content", Some("(pass:abc)"))], "550 5.7.1"),
            (vec![refused("message-auth", None)], "550 5.7.26"),
            (vec![refused("message-auth-temporary", None)], "451 4.7.26"),
            (vec![refused("message-auth", None), refused("spf", None)], "451 4.3.0"),
            (vec![], "451 4.3.0"),
        ] {
            let kept = vec![Delivered::Refused { kept: true }; analyses.len().max(1)];
            let reply = judge_delivery(&kept, &analyses).to_string();
            assert!(reply.starts_with(want), "{reply}");
            assert_eq!(reply.contains("(pass:abc)"), want == "550 5.7.1");
        }
    }

    /// Row SR-09.
    #[test]
    fn a_sender_that_takes_no_mail_is_refused() {
        for (takes, want) in [
            (Takes::Mail, None),
            (Takes::NullMx, Some("550 5.7.27")),
            (Takes::NoAddress, Some("550 5.7.27")),
            (Takes::Unknown, Some("451 4.4.0")),
        ] {
            let got = match judge_sender(takes) {
                Answer::Refuse(reply) => Some(reply.to_string()),
                _ => None,
            };
            assert_eq!(got.is_some(), want.is_some());
            assert!(got.unwrap_or_default().starts_with(want.unwrap_or_default()), "{takes:?}");
        }
    }
}
