//! What `mox-submission` writes to the journal: fixed ids, fixed fields, explained in the catalog.
//!
//! Every entry carries `MOX_CID`, so `journalctl MOX_CID=...` follows a message through all processes.

use libmox_service::net::Full;
use libmox_service::wire::WireFault;
use libmox_smtp::Reply;
use libmox_smtp::session::Transaction;
use libmox_types::Cid;
use std::net::IpAddr;

pub(crate) fn connected(cid: Cid, ip: IpAddr) {
    tracing::debug!(mox_cid = %cid, mox_remote_ip = %ip, "connection from {ip}");
}

pub(crate) fn turned_away(cid: Cid, ip: IpAddr, full: Full) {
    tracing::warn!(
        message_id = "5e1f7e0c1d0b4c3c9a1de1a5c0f0c001",
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
            message_id = "5e1f7e0c1d0b4c3c9a1de1a5c0f0c002",
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

pub(crate) fn queued(cid: Cid, transaction: &Transaction, size: u64) {
    tracing::info!(
        message_id = "5e1f7e0c1d0b4c3c9a1de1a5c0f0c003",
        mox_cid = %cid,
        mox_from = %transaction.from,
        mox_recipients = transaction.recipients.len(),
        mox_size = size,
        "message from <{}> queued for {} recipients", transaction.from, transaction.recipients.len()
    );
}

pub(crate) fn refused(cid: Cid, ip: IpAddr, transaction: &Transaction, reply: &Reply, reason: &str) {
    tracing::info!(
        message_id = "5e1f7e0c1d0b4c3c9a1de1a5c0f0c004",
        mox_cid = %cid,
        mox_remote_ip = %ip,
        mox_from = %transaction.from,
        mox_reason = reason,
        "message from <{}> refused with {reply}: {reason}", transaction.from
    );
}

pub(crate) fn unavailable(cid: Cid, who: &str, error: &dyn std::error::Error) {
    tracing::error!(
        message_id = "5e1f7e0c1d0b4c3c9a1de1a5c0f0c005",
        mox_cid = %cid,
        mox_reason = %reason(error),
        "{who} cannot be asked: {}", reason(error)
    );
}

pub(crate) fn unknown_program(cid: Cid, fault: &std::io::Error) {
    tracing::warn!(
        message_id = "5e1f7e0c1d0b4c3c9a1de1a5c0f0c006",
        mox_cid = %cid,
        mox_reason = %fault,
        "local program cannot be identified: {fault}"
    );
}

pub(crate) fn signed_in(cid: Cid, account: &str, mechanism: &str) {
    tracing::info!(
        message_id = "5e1f7e0c1d0b4c3c9a1de1a5c0f0c007",
        mox_cid = %cid,
        mox_account = account,
        mox_mechanism = mechanism,
        "{account} signed in with {mechanism}"
    );
}

pub(crate) fn login_failed(cid: Cid, ip: IpAddr, mechanism: &str, reason: &str) {
    tracing::info!(
        message_id = "5e1f7e0c1d0b4c3c9a1de1a5c0f0c008",
        mox_cid = %cid,
        mox_remote_ip = %ip,
        mox_mechanism = mechanism,
        mox_reason = reason,
        "login with {mechanism} failed: {reason}"
    );
}

pub(crate) fn unsigned(cid: Cid, error: &dyn std::error::Error) {
    tracing::warn!(
        message_id = "5e1f7e0c1d0b4c3c9a1de1a5c0f0c009",
        mox_cid = %cid,
        mox_reason = %reason(error),
        "message goes without DKIM signature: {}", reason(error)
    );
}
