//! `mox alias`: lists of addresses.

use crate::commands::{Bus, plain};
use crate::show::{To, columns};
use anyhow::bail;
use serde_json::{Value, json};

/// `mox alias`
#[derive(Debug, clap::Subcommand)]
pub enum Alias {
    /// List all
    List,
    /// One of them
    Print {
        /// Address of the list
        address: String,
    },
    /// A new list, to which anyone may write; members are addresses of accounts here. A list is not a way to give an
    /// account one more address: see `mox address add`
    Add {
        /// Address of the list
        address: String,
        /// Members
        #[arg(required = true)]
        members: Vec<String>,
    },
    /// Who may write to a list, as it, and see who is on it
    Update {
        /// Address of the list
        address: String,
        /// Anyone may write to it, or only members
        #[arg(long, value_name = "BOOL")]
        post_public: Option<bool>,
        /// Members may send with its address in From
        #[arg(long, value_name = "BOOL")]
        allow_msg_from: Option<bool>,
        /// Members may see the addresses of the others
        #[arg(long, value_name = "BOOL")]
        list_members: Option<bool>,
    },
    /// Remove a list
    Rm {
        /// Address of the list
        address: String,
    },
    /// More members
    Addaddr {
        /// Address of the list
        address: String,
        /// Members
        #[arg(required = true)]
        members: Vec<String>,
    },
    /// Fewer members
    Rmaddr {
        /// Address of the list
        address: String,
        /// Members
        #[arg(required = true)]
        members: Vec<String>,
    },
}

/// Runs it.
pub async fn alias(bus: &Bus, command: Alias, to: To) -> anyhow::Result<()> {
    let admin = bus.admin().await?;
    match command {
        Alias::List => {
            let all = admin.alias_list().await.map_err(plain)?;
            if to.json {
                let all: Vec<Value> = all.iter().map(as_json).collect();
                to.text(&json!(all).to_string());
                return Ok(());
            }
            let yes = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
            let rows: Vec<Vec<String>> = all
                .into_iter()
                .map(|one| {
                    vec![
                        one.address,
                        yes(one.post_public),
                        yes(one.allow_msg_from),
                        yes(one.list_members),
                        one.members.join(" "),
                    ]
                })
                .collect();
            to.text(&columns(
                &["address", "anyone writes", "members send as it", "see each other", "members"],
                &rows,
            ));
        }
        Alias::Print { address } => {
            let one = find(&admin.alias_list().await.map_err(plain)?, &address)?;
            if to.json {
                to.text(&as_json(&one).to_string());
            } else {
                to.text(&one.members.join("\n"));
            }
        }
        Alias::Add { address, members } => {
            admin.alias_add(&address, &members).await.map_err(plain)?;
            to.done(&format!("{address} has {} members, anyone may write to it", members.len()));
        }
        Alias::Update { address, post_public, allow_msg_from, list_members } => {
            let now = find(&admin.alias_list().await.map_err(plain)?, &address)?;
            let public = post_public.unwrap_or(now.post_public);
            let from = allow_msg_from.unwrap_or(now.allow_msg_from);
            let list = list_members.unwrap_or(now.list_members);
            admin.alias_update(&address, public, from, list).await.map_err(plain)?;
            to.done(&format!("{address} changed"));
        }
        Alias::Rm { address } => {
            admin.alias_remove(&address).await.map_err(plain)?;
            to.done(&format!("{address} removed"));
        }
        Alias::Addaddr { address, members } => {
            admin.alias_members(&address, &members, &[]).await.map_err(plain)?;
            to.done(&format!("{} more members of {address}", members.len()));
        }
        Alias::Rmaddr { address, members } => {
            admin.alias_members(&address, &[], &members).await.map_err(plain)?;
            to.done(&format!("{} members fewer of {address}", members.len()));
        }
    }
    Ok(())
}

fn find(all: &[mox_dbus::admin1::AliasItem], address: &str) -> anyhow::Result<mox_dbus::admin1::AliasItem> {
    match all.iter().find(|one| one.address.eq_ignore_ascii_case(address)) {
        Some(one) => Ok(one.clone()),
        None => bail!("there is no list {address}"),
    }
}

fn as_json(one: &mox_dbus::admin1::AliasItem) -> Value {
    json!({
        "address": one.address, "members": one.members,
        "post_public": one.post_public, "allow_msg_from": one.allow_msg_from,
        "list_members": one.list_members,
    })
}
