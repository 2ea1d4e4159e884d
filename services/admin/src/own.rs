//! What people do about their own account, proven by its password as in any login (rows AU-19, SR-14). Failures count
//! and are recorded like those of other protocols.

use crate::{Admin, AdminError};
use libmox_service::config::Domains;
use libmox_service::{clock, password};
use libmox_store::{AccountSetPassword, LoginContext, LoginOutcome, LoginPassword, SignOut};
use libmox_types::Cid;
use mox_dbus::admin1::OwnListItem;
use std::net::{IpAddr, Ipv4Addr};

impl Admin {
    /// The name of the account.
    async fn prove(&self, login: &str, password: &str) -> Result<String, AdminError> {
        let context = LoginContext {
            cid: Cid(clock::random_u64()),
            // Everybody who can call is on this machine.
            remote_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            protocol: "bus".into(),
            mechanism: "password".into(),
            tls: String::new(),
            user_agent: String::new(),
        };
        let verb = LoginPassword { context, username: login.into(), password: password.into() };
        match self.store.ask(verb).await? {
            LoginOutcome::SignedIn(who) => {
                // What follows is asked by name.
                self.store.ask(SignOut(who.session)).await?;
                Ok(who.account_name)
            }
            LoginOutcome::Disabled(why) => Err(AdminError::Denied(why)),
            LoginOutcome::Limited => {
                Err(AdminError::Denied("too many wrong passwords, wait a minute".into()))
            }
            LoginOutcome::Denied | LoginOutcome::NoSecret => {
                Err(AdminError::Denied("wrong address or password".into()))
            }
        }
    }

    /// A new password: the one that is wanted, or one that is made, which is returned. Row AU-19.
    pub(crate) async fn own_password(
        &self,
        login: &str,
        present: &str,
        wanted: &str,
    ) -> Result<String, AdminError> {
        let account = self.prove(login, present).await?;
        let domains = Self::domains()?;
        let chosen = !wanted.is_empty();
        if chosen && domains.accounts.get(&account).is_none_or(|account| account.no_custom_password) {
            let what = "this account cannot choose its password, only have one made";
            return Err(AdminError::Denied(what.into()));
        }
        let fresh = if chosen { wanted.to_owned() } else { password::made() };
        self.store.ask(AccountSetPassword { account, password: fresh.clone() }).await?;
        Ok(if chosen { String::new() } else { fresh })
    }

    /// The lists an account is on. Row SR-14.
    pub(crate) async fn own_lists(&self, login: &str, present: &str) -> Result<Vec<OwnListItem>, AdminError> {
        let account = self.prove(login, present).await?;
        Ok(lists_of(&*Self::domains()?, &account))
    }
}

/// Of the members only its own addresses, where members may not see each other.
fn lists_of(domains: &Domains, account: &str) -> Vec<OwnListItem> {
    let mut found = Vec::new();
    for alias in &domains.aliases {
        let own = |member: &&_| domains.account_of(member) == Some(account);
        let mine: Vec<String> = alias.members.iter().filter(own).map(ToString::to_string).collect();
        if mine.is_empty() {
            continue;
        }
        found.push(OwnListItem {
            address: alias.address.to_string(),
            post_public: alias.post_public,
            allow_msg_from: alias.allow_msg_from,
            members: match alias.list_members {
                true => alias.members.iter().map(ToString::to_string).collect(),
                false => mine,
            },
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Row SR-14.
    #[test]
    fn members_see_each_other_where_the_list_says_so() {
        let text = "[domains.\"a.example\"]\n\
            [accounts.jane]\naddresses = [\"jane@a.example\", \"j@a.example\"]\n\
            [accounts.ann]\naddresses = [\"ann@a.example\"]\n\
            [aliases.\"open@a.example\"]\naddresses = [\"ann@a.example\", \"j@a.example\"]\nlist-members = true\n\
            [aliases.\"shy@a.example\"]\naddresses = [\"ann@a.example\", \"JANE@a.example\"]\n\
            [aliases.\"other@a.example\"]\naddresses = [\"ann@a.example\"]\nlist-members = true\n";
        let domains = Domains::parse(text).map_err(|mistakes| mistakes.lines()).unwrap();
        let got = lists_of(&domains, "jane");
        let got: Vec<(&str, Vec<&str>)> = got
            .iter()
            .map(|one| (one.address.as_str(), one.members.iter().map(String::as_str).collect()))
            .collect();
        let want = [
            ("open@a.example", vec!["ann@a.example", "j@a.example"]),
            ("shy@a.example", vec!["JANE@a.example"]),
        ];
        assert_eq!(got, want);
        assert!(lists_of(&domains, "nobody").is_empty());
    }
}
