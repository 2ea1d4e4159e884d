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

    /// A message is on disk.
    pub fn taken(&self, cid: Cid, transaction: &Transaction, size: u64) {
        tracing::info!(
            message_id = self.taken_id,
            mox_cid = %cid,
            mox_from = %transaction.from,
            mox_recipients = transaction.recipients.len(),
            mox_size = size,
            "message from <{}> {} for {} recipients", transaction.from, self.taken, transaction.recipients.len()
        );
    }

    /// A message is not taken.
    pub fn refused(&self, cid: Cid, ip: IpAddr, transaction: &Transaction, reply: &Reply, reason: &str) {
        tracing::info!(
            message_id = self.refused_id,
            mox_cid = %cid,
            mox_remote_ip = %ip,
            mox_from = %transaction.from,
            mox_reason = reason,
            "message from <{}> refused with {reply}: {reason}", transaction.from
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
