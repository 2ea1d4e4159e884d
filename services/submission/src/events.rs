//! What `mox-submission` writes to the journal: fixed ids, fixed fields, explained in the catalog.
//!
//! Every entry carries `MOX_CID`, so `journalctl MOX_CID=...` follows a message through all processes.

use libmox_reception::events::Events;
pub(crate) use libmox_reception::events::{closed, connected, reason};
use libmox_types::Cid;
use std::net::IpAddr;

/// What both servers of SMTP have to say.
pub(crate) const COMMON: Events = Events {
    turned_away_id: "5e1f7e0c1d0b4c3c9a1de1a5c0f0c001",
    handshake_id: "5e1f7e0c1d0b4c3c9a1de1a5c0f0c002",
    taken_id: "5e1f7e0c1d0b4c3c9a1de1a5c0f0c003",
    taken: "queued",
    refused_id: "5e1f7e0c1d0b4c3c9a1de1a5c0f0c004",
    unavailable_id: "5e1f7e0c1d0b4c3c9a1de1a5c0f0c005",
};

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
