//! What `mox-imap` writes to the journal: fixed ids, fixed fields, explained in the catalog.
//!
//! Every entry carries `MOX_CID`. Passwords, SASL lines and mail are never logged.

use libmox_service::net::Full;
use libmox_service::wire::WireFault;
use libmox_types::Cid;
use std::net::IpAddr;

pub(crate) fn connected(cid: Cid, ip: IpAddr) {
    tracing::debug!(mox_cid = %cid, mox_remote_ip = %ip, "connection from {ip}");
}

pub(crate) fn turned_away(cid: Cid, ip: IpAddr, full: Full) {
    tracing::warn!(
        message_id = "5e1f7e0c1d0b4c3c9a1de1a5c0f0d001",
        mox_cid = %cid,
        mox_remote_ip = %ip,
        mox_reason = ?full,
        "too many connections, {ip} turned away"
    );
}

pub(crate) fn lost(cid: Cid, ip: IpAddr, fault: &WireFault) {
    if let WireFault::Tls(cause) = fault {
        tracing::info!(
            message_id = "5e1f7e0c1d0b4c3c9a1de1a5c0f0d002",
            mox_cid = %cid,
            mox_remote_ip = %ip,
            mox_reason = %reason(cause),
            "TLS handshake failed: {}", reason(cause)
        );
        return;
    }
    tracing::debug!(mox_cid = %cid, mox_reason = %fault, "connection lost: {fault}");
}

pub(crate) fn hung_up(cid: Cid, why: &str) {
    tracing::debug!(mox_cid = %cid, mox_reason = why, "connection closed: {why}");
}

pub(crate) fn signed_in(cid: Cid, ip: IpAddr, account: &str) {
    tracing::info!(
        message_id = "5e1f7e0c1d0b4c3c9a1de1a5c0f0d003",
        mox_cid = %cid,
        mox_remote_ip = %ip,
        mox_account = account,
        "{account} signed in"
    );
}

pub(crate) fn refused(cid: Cid, ip: IpAddr, why: &str) {
    tracing::info!(
        message_id = "5e1f7e0c1d0b4c3c9a1de1a5c0f0d004",
        mox_cid = %cid,
        mox_remote_ip = %ip,
        mox_reason = why,
        "login refused: {why}"
    );
}

/// Something that must not be: the store refused what it should not, or a file cannot be read or written.
pub(crate) fn trouble(what: &str, why: &str) {
    tracing::error!(message_id = "5e1f7e0c1d0b4c3c9a1de1a5c0f0d005", mox_reason = why, "{what}: {why}");
}

/// A fault with its causes, which its own text does not repeat.
fn reason(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
