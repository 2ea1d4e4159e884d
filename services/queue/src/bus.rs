//! `org.libmox.Queue1`: the queue for administrators.

use libmox_service::bus::{Offer, actions, authorize};
use libmox_store::{
    HoldRule, HoldRuleAdd, HoldRuleList, HoldRuleRemove, QueueDrop, QueueHold, QueueKick, QueueList,
    StoreError,
};
use libmox_types::{Domain, QueueId};
use mox_dbus::queue1::{HoldRuleItem, QueueItem};
use zbus::message::Header;
use zbus::{Connection, fdo};

/// Entries in one reply.
const PAGE: u32 = 1_000;

pub fn offer() -> Offer {
    Offer {
        name: "org.libmox.Queue1",
        interfaces: Some(Box::new(|server| {
            Box::pin(async move { server.at(libmox_service::bus::PATH, Queue).await.map(|_| ()) })
        })),
    }
}

struct Queue;

fn fault(error: &StoreError) -> fdo::Error {
    fdo::Error::Failed(error.to_string())
}

fn ids(list: Vec<u64>) -> Vec<QueueId> {
    list.into_iter().map(QueueId).collect()
}

/// `None` for an empty text.
fn domain(text: &str) -> fdo::Result<Option<Domain>> {
    let parsed = (!text.is_empty()).then(|| Domain::parse(text)).transpose();
    parsed.map_err(|_| fdo::Error::InvalidArgs(format!("{text} is not a domain")))
}

#[zbus::interface(name = "org.libmox.Queue1")]
impl Queue {
    async fn list(
        &self,
        after: u64,
        most: u32,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<Vec<QueueItem>> {
        authorize(connection, &header, actions::READ_STATUS).await?;
        let verb = QueueList { after: QueueId(after), most: most.min(PAGE) };
        let entries = crate::store().ask(verb).await.map_err(|e| fault(&e))?;
        Ok(entries
            .into_iter()
            .map(|entry| QueueItem {
                id: entry.id.0,
                message: entry.message.0,
                cid: entry.cid.to_string(),
                account: entry.account_name,
                sender: entry.mail_from.to_string(),
                recipient: entry.recipient.address.to_string(),
                queued: entry.queued.0,
                next_attempt: entry.next_attempt.0,
                attempts: entry.attempts,
                held: entry.held,
                last: entry.last,
                size: entry.size.0,
            })
            .collect())
    }

    async fn kick(
        &self,
        list: Vec<u64>,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<u32> {
        authorize(connection, &header, actions::MANAGE_QUEUE).await?;
        crate::store().ask(QueueKick { ids: ids(list) }).await.map_err(|e| fault(&e))
    }

    async fn drop(
        &self,
        list: Vec<u64>,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<u32> {
        authorize(connection, &header, actions::MANAGE_QUEUE).await?;
        crate::store().ask(QueueDrop { ids: ids(list) }).await.map_err(|e| fault(&e))
    }

    async fn hold(
        &self,
        list: Vec<u64>,
        held: bool,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<u32> {
        authorize(connection, &header, actions::MANAGE_QUEUE).await?;
        crate::store().ask(QueueHold { ids: ids(list), held }).await.map_err(|e| fault(&e))
    }

    async fn hold_rules(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<Vec<HoldRuleItem>> {
        authorize(connection, &header, actions::READ_STATUS).await?;
        let rules = crate::store().ask(HoldRuleList).await.map_err(|e| fault(&e))?;
        let text = |domain: Option<Domain>| domain.map_or(String::new(), |domain| domain.to_string());
        let item = |(id, rule): (u32, HoldRule)| HoldRuleItem {
            id,
            account: rule.account.unwrap_or_default(),
            sender_domain: text(rule.sender_domain),
            recipient_domain: text(rule.recipient_domain),
        };
        Ok(rules.into_iter().map(item).collect())
    }

    async fn add_hold_rule(
        &self,
        account: String,
        sender_domain: String,
        recipient_domain: String,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<(u32, u32)> {
        authorize(connection, &header, actions::MANAGE_QUEUE).await?;
        let rule = HoldRule {
            account: (!account.is_empty()).then_some(account),
            sender_domain: domain(&sender_domain)?,
            recipient_domain: domain(&recipient_domain)?,
        };
        let added = crate::store().ask(HoldRuleAdd(rule)).await.map_err(|e| fault(&e))?;
        Ok((added.id, added.held))
    }

    async fn remove_hold_rule(
        &self,
        id: u32,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<bool> {
        authorize(connection, &header, actions::MANAGE_QUEUE).await?;
        crate::store().ask(HoldRuleRemove { id }).await.map_err(|e| fault(&e))
    }
}
