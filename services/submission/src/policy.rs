//! Yes or no, and why: plain functions of facts.

use libmox_message::{Facts, date};
use libmox_smtp::command::{BodyType, Hold, MailParams, Ret};
use libmox_smtp::session::{Answer, Kind, Login, Transaction};
use libmox_smtp::{Reply, limits};
use libmox_store::{LoginOutcome, RecipientStatus, Wishes};
use libmox_types::{Address, QueueId};

/// No place for a connection.
pub(crate) fn turned_away() -> Reply {
    Reply::new(421, "4.7.0", "too many connections, try again later")
}

/// A local program without a name.
pub(crate) fn unknown_program() -> Reply {
    Reply::new(554, "5.7.1", "only for users of this machine")
}

/// A recipient. Rows SU-13, SU-15: everything goes through the queue, but a name that is not there is told at once.
pub(crate) fn judge_recipient(status: &RecipientStatus) -> Answer {
    Answer::Refuse(match status {
        RecipientStatus::Local
        | RecipientStatus::Reports
        | RecipientStatus::TlsReports
        | RecipientStatus::LocalUnfiltered
        | RecipientStatus::Foreign
        | RecipientStatus::OverQuota
        | RecipientStatus::Refused(..) => return Answer::Accept,
        RecipientStatus::UnknownUser => Reply::new(550, "5.1.1", "no such user here"),
        RecipientStatus::Disabled => Reply::new(450, "4.2.1", "recipient domain temporarily disabled"),
    })
}

/// The author of a message: the only address in From. Programs of this machine may have none that is an address.
pub(crate) fn judge_author(kind: Kind, facts: &Facts) -> Result<Option<Address>, Reply> {
    if kind == Kind::Submission && !facts.has_separator {
        // Row SU-05.
        return Err(Reply::new(554, "5.6.0", "message without header and body"));
    }
    if facts.received > limits::RECEIVED {
        return Err(Reply::new(550, "5.4.6", "too many Received headers, this looks like a loop"));
    }
    if facts.flaws.over_limit {
        // What was not looked at may be another From.
        return Err(Reply::new(554, "5.6.0", "header too large or parts too deep"));
    }
    let author = match &facts.from[..] {
        [author] => author.address(),
        _ => None,
    };
    match (author, kind) {
        (Some(author), _) => Ok(Some(author)),
        // Cron writes `From: root`.
        (None, Kind::Local) if facts.from.len() <= 1 => Ok(None),
        (None, _) => Err(Reply::new(554, "5.6.0", "one address in the From header is wanted")),
    }
}

/// What a pedantic server refuses (rows SR-39, SU-05, TM-03).
pub(crate) fn judge_pedantically(transaction: &Transaction, facts: &Facts) -> Option<Reply> {
    if facts.has_return_path {
        return Some(Reply::new(554, "5.6.0", "Return-Path is for the last server to add"));
    }
    let announced = matches!(transaction.params.body, Some(BodyType::EightBit | BodyType::Binary));
    (facts.flaws.body_8bit && !announced)
        .then(|| Reply::new(554, "5.6.0", "8-bit content without BODY=8BITMIME"))
}

/// What goes along with the message.
pub(crate) fn wishes(params: &MailParams, extra: Vec<(String, String)>) -> Wishes {
    let future_release = match params.hold {
        None => String::new(),
        // RFC 4865 §9.
        Some(Hold::For(seconds)) => format!("for;{seconds}"),
        Some(Hold::Until(time)) => {
            let (year, month, day, hour, minute, second) = date::utc(time);
            format!("until;{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
        }
    };
    let ret = match params.ret {
        None => "",
        Some(Ret::Full) => "FULL",
        Some(Ret::Headers) => "HDRS",
    };
    Wishes { ret: ret.into(), envelope_id: params.envid.clone().unwrap_or_default(), future_release, extra }
}

/// RFC 5321 §6.1: the queue has it on disk, so it is ours to lose.
pub(crate) fn queued(proof: &[QueueId]) -> Reply {
    match proof.first() {
        Some(first) => Reply::new(250, "2.0.0", format!("queued as {first}")),
        None => Reply::new(451, "4.3.0", "try again later"),
    }
}

/// A login that did not succeed: what the session is told, and what the journal says.
pub(crate) fn login_refusal(outcome: &LoginOutcome) -> (Login, &'static str) {
    match outcome {
        // The password was right.
        LoginOutcome::Disabled(text) => {
            (Login::Uncounted(Reply::new(525, "5.7.13", text.clone())), "login disabled")
        }
        LoginOutcome::Limited => (Login::Expelled(too_many_failures()), "too many failures"),
        LoginOutcome::NoSecret => (Login::Uncounted(login_denied()), "no secret for this mechanism"),
        LoginOutcome::Denied | LoginOutcome::SignedIn(_) => {
            (Login::Refused(login_denied()), "wrong name or password")
        }
    }
}

/// Row AU-15.
pub(crate) fn too_many_failures() -> Reply {
    Reply::new(421, "4.7.0", "too many failed logins, try again later")
}

/// Which of the two was wrong is not told.
pub(crate) fn login_denied() -> Reply {
    Reply::new(535, "5.7.8", "authentication failed")
}
