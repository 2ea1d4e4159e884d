//! `mox annotation`: annotations that the administrator sets. Row DF-03.

use crate::commands::{Bus, plain};
use crate::show::To;
use clap::Subcommand;
use serde_json::json;

/// `mox annotation`
#[derive(Debug, Subcommand)]
pub enum Annotation {
    /// List them
    List {
        /// Name of the account, not an address
        account: String,
        /// Those of one mailbox, not of the account
        #[arg(long, default_value = "")]
        mailbox: String,
    },
    /// Set one
    Set {
        /// Name of the account, not an address
        account: String,
        /// As /shared/comment or /shared/admin
        entry: String,
        /// Text
        value: String,
        /// Of one mailbox, not of the account
        #[arg(long, default_value = "")]
        mailbox: String,
    },
    /// Remove one
    Rm {
        /// Name of the account, not an address
        account: String,
        /// From the list
        entry: String,
        /// Of one mailbox, not of the account
        #[arg(long, default_value = "")]
        mailbox: String,
    },
}

/// Runs it.
pub async fn run(bus: &Bus, command: Annotation, to: To) -> anyhow::Result<()> {
    let admin = bus.admin().await?;
    match command {
        Annotation::List { account, mailbox } => {
            let list = admin.annotation_list(&account, &mailbox).await.map_err(plain)?;
            let rows: Vec<Vec<String>> =
                list.iter().map(|(entry, value)| vec![entry.clone(), value.clone()]).collect();
            let json: Vec<_> =
                list.iter().map(|(entry, value)| json!({ "entry": entry, "value": value })).collect();
            to.rows(&["ENTRY", "VALUE"], &rows, &json.into());
        }
        Annotation::Set { account, entry, value, mailbox } => {
            admin.annotation_set(&account, &mailbox, &entry, &value).await.map_err(plain)?;
            to.done(&format!("{entry} set"));
        }
        Annotation::Rm { account, entry, mailbox } => {
            admin.annotation_remove(&account, &mailbox, &entry).await.map_err(plain)?;
            to.done(&format!("{entry} removed"));
        }
    }
    Ok(())
}
