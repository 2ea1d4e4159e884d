//! What both servers of SMTP write to the journal: fixed fields, and ids that each service has of its own, so that the
//! catalog can say for each what to do.
//!
//! Every entry carries `MOX_CID`, so `journalctl MOX_CID=...` follows a message through all processes.

use libmox_service::net::Full;
use libmox_service::wire::WireFault;
use libmox_smtp::Reply;
use libmox_smtp::session::Transaction;
use libmox_types::Cid;
use std::error::Error;
use std::net::IpAddr;

/// The ids of one service.
#[derive(Debug, Clone, Copy)]
pub struct Events {
    /// Too many connections.
    pub turned_away_id: &'static str,
    /// A TLS handshake failed.
    pub handshake_id: &'static str,
    /// A message is taken.
    pub taken_id: &'static str,
    /// What was done with it, in one word.
    pub taken: &'static str,
    /// A message is refused.
    pub refused_id: &'static str,
    /// Another process does not answer.
    pub unavailable_id: &'static str,
}

impl Events {
    /// There is no place.
    pub fn turned_away(&self, cid: Cid, ip: IpAddr, full: Full) {
        tracing::warn!(
            message_id = self.turned_away_id,
            mox_cid = %cid,
            mox_remote_ip = %ip,
            mox_reason = ?full,
            "too many connections, {ip} turned away"
        );
    }

    /// A connection ended otherwise than the protocol has it.
    pub fn lost(&self, cid: Cid, fault: &WireFault) {
        if let WireFault::Tls(cause) = fault {
            tracing::info!(
                message_id = self.handshake_id,
                mox_cid = %cid,
                mox_reason = %reason(cause),
                "TLS handshake failed: {}", reason(cause)
            );
            return;
        }
        tracing::debug!(mox_cid = %cid, mox_reason = %fault, "connection lost: {fault}");
    }

    /// A message is on disk; why, in a word and for people, where there is something to say.
    pub fn taken(&self, cid: Cid, transaction: &Transaction, size: u64, why: (&str, &str)) {
        let (reason, text) = why;
        let apart = if text.is_empty() { "" } else { ": " };
        let from = transaction.from.for_log();
        tracing::info!(
            message_id = self.taken_id,
            mox_cid = %cid,
            mox_from = %from,
            mox_recipients = transaction.recipients.len(),
            mox_size = size,
            mox_reason = reason,
            "message from <{from}> {} for {} recipients{apart}{text}", self.taken, transaction.recipients.len()
        );
    }

    /// A message is not taken.
    pub fn refused(&self, cid: Cid, ip: IpAddr, transaction: &Transaction, reply: &Reply, reason: &str) {
        let from = transaction.from.for_log();
        tracing::info!(
            message_id = self.refused_id,
            mox_cid = %cid,
            mox_remote_ip = %ip,
            mox_from = %from,
            mox_reason = reason,
            "message from <{from}> refused with {reply}: {reason}"
        );
    }

    /// Another process does not answer.
    pub fn unavailable(&self, cid: Cid, who: &str, error: &dyn Error) {
        tracing::error!(
            message_id = self.unavailable_id,
            mox_cid = %cid,
            mox_reason = %reason(error),
            "{who} cannot be asked: {}", reason(error)
        );
    }
}

/// A connection begins.
pub fn connected(cid: Cid, ip: IpAddr) {
    tracing::debug!(mox_cid = %cid, mox_remote_ip = %ip, "connection from {ip}");
}

/// It ended as the protocol has it.
pub fn closed(cid: Cid, reply: &Reply) {
    tracing::debug!(mox_cid = %cid, mox_reason = %reply, "connection closed: {reply}");
}

/// A fault with its causes, which its own text does not repeat.
#[must_use]
pub fn reason(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use libmox_smtp::command::MailParams;
    use libmox_types::ReversePath;
    use std::sync::{Arc, Mutex};

    const EVENTS: Events = Events {
        turned_away_id: "1",
        handshake_id: "2",
        taken_id: "3",
        taken: "stored",
        refused_id: "4",
        unavailable_id: "5",
    };

    /// What a terminal shows.
    fn shown(work: impl FnOnce()) -> String {
        #[derive(Clone, Default)]
        struct Sink(Arc<Mutex<Vec<u8>>>);
        impl std::io::Write for Sink {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0.lock().unwrap().extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let sink = Sink::default();
        let writer = sink.clone();
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, work);
        String::from_utf8(sink.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn addresses_in_the_journal_are_quoted_once() {
        // Rows TR-40, I8-01.
        for (from, want) in [
            ("\"a b\"@x.example", "mox_from=\"a b\"@x.example "),
            ("\"q\\\"x\"@x.example", "mox_from=\"q\\\"x\"@x.example "),
            (
                "jan\u{e9}@b\u{fc}cher.example",
                "mox_from=jan\u{e9}@b\u{fc}cher.example/xn--bcher-kva.example ",
            ),
            ("jane@xn--bcher-kva.example", "mox_from=jane@b\u{fc}cher.example/xn--bcher-kva.example "),
        ] {
            let transaction = Transaction {
                from: ReversePath::Address(from.parse().unwrap()),
                params: MailParams::default(),
                recipients: Vec::new(),
            };
            let text = shown(|| EVENTS.taken(Cid(1), &transaction, 2, ("", "")));
            assert!(text.contains(want), "{want}: {text}");
            let text = shown(|| {
                let reply = Reply::new(550, "5.1.1", "no");
                EVENTS.refused(Cid(1), "192.0.2.1".parse().unwrap(), &transaction, &reply, "why");
            });
            assert!(text.contains(want), "{want}: {text}");
        }
    }
}
