//! What `mox-smtp` writes to the journal: fixed ids, fixed fields, explained in the catalog.
//!
//! Every entry carries `MOX_CID`, so `journalctl MOX_CID=...` follows a message through all processes.

use libmox_service::net::Full;
use libmox_service::wire::WireFault;
use libmox_smtp::Reply;
use libmox_smtp::session::Transaction;
use libmox_store::Analysis;
use libmox_types::{Address, Cid, Domain, ReversePath};
use std::net::IpAddr;

pub(crate) fn connected(cid: Cid, ip: IpAddr) {
    tracing::debug!(mox_cid = %cid, mox_remote_ip = %ip, "connection from {ip}");
}

pub(crate) fn turned_away(cid: Cid, ip: IpAddr, full: Full) {
    tracing::warn!(
        message_id = "5e1f7e0c1d0b4c3c9a1de1a5c0f0b001",
        mox_cid = %cid,
        mox_remote_ip = %ip,
        mox_reason = ?full,
        "too many connections, {ip} turned away"
    );
}

pub(crate) fn closed(cid: Cid, reply: &Reply) {
    tracing::debug!(mox_cid = %cid, mox_reason = %reply, "connection closed: {reply}");
}

pub(crate) fn lost(cid: Cid, fault: &WireFault) {
    if let WireFault::Tls(cause) = fault {
        tracing::info!(
            message_id = "5e1f7e0c1d0b4c3c9a1de1a5c0f0b002",
            mox_cid = %cid,
            mox_reason = %reason(cause),
            "TLS handshake failed: {}", reason(cause)
        );
        return;
    }
    tracing::debug!(mox_cid = %cid, mox_reason = %fault, "connection lost: {fault}");
}

/// A fault with its causes, which its own text does not repeat.
pub(crate) fn reason(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// For one recipient also why; for several each has its own [`judged`].
pub(crate) fn stored(cid: Cid, transaction: &Transaction, size: u64, analyses: &[Analysis]) {
    let (reason, text) = match analyses {
        [one] if transaction.recipients.len() == 1 => (one.reason.as_str(), one.text.as_str()),
        _ => ("", ""),
    };
    let apart = if text.is_empty() { "" } else { ": " };
    tracing::info!(
        message_id = "5e1f7e0c1d0b4c3c9a1de1a5c0f0b003",
        mox_cid = %cid,
        mox_from = %transaction.from,
        mox_recipients = transaction.recipients.len(),
        mox_size = size,
        mox_reason = reason,
        "message from <{}> stored for {} recipients{apart}{text}", transaction.from, transaction.recipients.len()
    );
}

pub(crate) fn reported(cid: Cid, recipient: &Address, from: &ReversePath) {
    tracing::info!(
        message_id = "5e1f7e0c1d0b4c3c9a1de1a5c0f0b006",
        mox_cid = %cid,
        mox_recipient = %recipient,
        mox_from = %from,
        "not for {recipient}: <{from}> is told in a report"
    );
}

pub(crate) fn refused(cid: Cid, ip: IpAddr, transaction: &Transaction, reply: &Reply, reason: &str) {
    tracing::info!(
        message_id = "5e1f7e0c1d0b4c3c9a1de1a5c0f0b004",
        mox_cid = %cid,
        mox_remote_ip = %ip,
        mox_from = %transaction.from,
        mox_reason = reason,
        "message from <{}> refused with {reply}: {reason}", transaction.from
    );
}

pub(crate) fn judged(cid: Cid, analysis: &Analysis) {
    tracing::info!(
        message_id = "5e1f7e0c1d0b4c3c9a1de1a5c0f0b007",
        mox_cid = %cid,
        mox_reason = %analysis.reason,
        mox_decision = ?analysis.decision,
        "judged {:?}, {}: {}", analysis.decision, analysis.reason, analysis.text
    );
}

pub(crate) fn list_is_broken(cid: Cid, zone: &Domain) {
    tracing::warn!(
        message_id = "5e1f7e0c1d0b4c3c9a1de1a5c0f0b008",
        mox_cid = %cid,
        mox_zone = %zone,
        "DNS block list {zone} does not answer as it should for its test addresses, not asked for 4 hours"
    );
}

pub(crate) fn unavailable(cid: Cid, who: &str, error: &dyn std::error::Error) {
    tracing::error!(
        message_id = "5e1f7e0c1d0b4c3c9a1de1a5c0f0b005",
        mox_cid = %cid,
        mox_reason = %reason(error),
        "{who} cannot be asked: {}", reason(error)
    );
}
