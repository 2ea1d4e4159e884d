//! What `mox-smtp` writes to the journal: fixed ids, fixed fields, explained in the catalog.
//!
//! Every entry carries `MOX_CID`, so `journalctl MOX_CID=...` follows a message through all processes.

use libmox_reception::events::Events;
pub(crate) use libmox_reception::events::{closed, connected, reason};
use libmox_store::Analysis;
use libmox_types::{Address, Cid, Domain, ReversePath};

/// What both servers of SMTP have to say.
pub(crate) const COMMON: Events = Events {
    turned_away_id: "5e1f7e0c1d0b4c3c9a1de1a5c0f0b001",
    handshake_id: "5e1f7e0c1d0b4c3c9a1de1a5c0f0b002",
    taken_id: "5e1f7e0c1d0b4c3c9a1de1a5c0f0b003",
    taken: "stored",
    refused_id: "5e1f7e0c1d0b4c3c9a1de1a5c0f0b004",
    unavailable_id: "5e1f7e0c1d0b4c3c9a1de1a5c0f0b005",
};

pub(crate) fn reported(cid: Cid, recipient: &Address, from: &ReversePath) {
    let (recipient, from) = (recipient.for_log(), from.for_log());
    tracing::info!(
        message_id = "5e1f7e0c1d0b4c3c9a1de1a5c0f0b006",
        mox_cid = %cid,
        mox_recipient = %recipient,
        mox_from = %from,
        "not for {recipient}: <{from}> is told in a report"
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
    let zone = zone.for_log();
    tracing::warn!(
        message_id = "5e1f7e0c1d0b4c3c9a1de1a5c0f0b008",
        mox_cid = %cid,
        mox_zone = %zone,
        "DNS block list {zone} does not answer as it should for its test addresses, not asked for 4 hours"
    );
}
