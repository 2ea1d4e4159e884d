//! What `mox-store` writes to the journal: fixed ids, fixed fields, explained in the catalog.
//!
//! Mail, passwords and what people search for are never logged.

use crate::engine::{FileName, OpenError, Rebuilt, Report};
use std::fmt::Display;
use std::path::Path;

pub(crate) fn degraded(why: &str) {
    tracing::error!(
        message_id = "5e1f7e0c1d0b4c3c9a1de1a5c0f0e001",
        mox_reason = why,
        "the store is degraded, mail waits elsewhere: {why}"
    );
}

pub(crate) fn well() {
    tracing::info!(message_id = "5e1f7e0c1d0b4c3c9a1de1a5c0f0e002", "the store is well again");
}

/// It is tried again; until then nothing is answered.
pub(crate) fn not_open(folder: &Path, error: &OpenError) {
    let why = error_chain(error);
    match error {
        OpenError::InUse(_) => tracing::error!(
            message_id = "5e1f7e0c1d0b4c3c9a1de1a5c0f0e003",
            mox_folder = %folder.display(),
            mox_reason = why,
            "another store has {}", folder.display()
        ),
        OpenError::Journal(_) | OpenError::Snapshot(_) if !error.is_about_the_disk() => tracing::error!(
            message_id = "5e1f7e0c1d0b4c3c9a1de1a5c0f0e004",
            mox_folder = %folder.display(),
            mox_reason = why,
            "what is stored is damaged, the store does not open: {why}"
        ),
        _ => tracing::error!(
            message_id = "5e1f7e0c1d0b4c3c9a1de1a5c0f0e005",
            mox_folder = %folder.display(),
            mox_reason = why,
            "the disk does not let the store open: {why}"
        ),
    }
}

fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// What opening found.
pub(crate) fn opened(report: &Report) {
    match (&report.rebuilt, &report.moved_aside) {
        (Some(Rebuilt::Unreadable), aside) => tracing::error!(
            message_id = "5e1f7e0c1d0b4c3c9a1de1a5c0f0e006",
            mox_folder = %aside.as_deref().unwrap_or_else(|| Path::new("-")).display(),
            "the index could not be used, was moved aside and built anew"
        ),
        (rebuilt, _) => {
            tracing::info!(?rebuilt, replayed = report.replayed, torn = report.torn, took = ?report.took[1], "store open");
        }
    }
    if !report.missing.is_empty() {
        let names: Vec<String> =
            report.missing.iter().take(20).map(|name| format!("{}/{}", name.owner, name.id)).collect();
        tracing::error!(
            message_id = "5e1f7e0c1d0b4c3c9a1de1a5c0f0e008",
            mox_reason = names.join(" "),
            "{} message files are missing and cannot be made again",
            report.missing.len()
        );
    }
}

/// A message whose file is not what its record says.
pub(crate) fn unreadable(name: FileName, why: &dyn Display) {
    tracing::error!(
        message_id = "5e1f7e0c1d0b4c3c9a1de1a5c0f0e009",
        mox_account = name.owner,
        mox_msg = name.id,
        mox_reason = %why,
        "message file {}/{}: {why}", name.owner, name.id
    );
}
