//! `mox own`: what people do about their own account.

use crate::commands::{Bus, plain, read_password};
use crate::show::{To, columns};
use clap::Subcommand;
use serde_json::json;

/// `mox own`
#[derive(Debug, Subcommand)]
pub enum Own {
    /// Have a new password made; the present one is read from standard input or asked for
    Password {
        /// An address of the account
        address: String,
        /// Choose it, where the account may: it is read after the present one
        #[arg(long)]
        choose: bool,
    },
    /// Lists of addresses that the account is on, with their members where members may see them
    Lists {
        /// An address of the account
        address: String,
    },
}

/// Runs it.
pub async fn own(bus: &Bus, command: Own, to: To) -> anyhow::Result<()> {
    let admin = bus.admin().await?;
    let present = read_password("Password: ")?;
    match command {
        Own::Password { address, choose } => {
            let wanted = if choose { read_password("New password: ")? } else { String::new() };
            let made = admin.own_password(&address, &present, &wanted).await.map_err(plain)?;
            match made.is_empty() {
                true => to.done("password set"),
                false if to.json => to.text(&json!({ "password": made }).to_string()),
                false => to.text(&made),
            }
        }
        Own::Lists { address } => {
            let all = admin.own_lists(&address, &present).await.map_err(plain)?;
            if to.json {
                to.text(&serde_json::to_string(&all)?);
                return Ok(());
            }
            let yes = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
            let rows: Vec<Vec<String>> = all
                .into_iter()
                .map(|one| {
                    vec![one.address, yes(one.post_public), yes(one.allow_msg_from), one.members.join(" ")]
                })
                .collect();
            to.text(&columns(&["address", "anyone writes", "members send as it", "members"], &rows));
        }
    }
    Ok(())
}
