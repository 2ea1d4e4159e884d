//! Mail from strangers: who takes it, and one change that gives it to all of them.

mod plan;
mod together;

use crate::accounts::publish;
use crate::analyze::default_mailbox;
use crate::directory::Destination;
use crate::keys;
use crate::limits::RECIPIENTS;
use crate::records::{Cold, Origin, Read};
use crate::store::{Given, Peer, Store, check_prefix};
use crate::writer::{Arrival, Happened, NewMessage, Writer};
use libmox_ipc::OnceKey;
use libmox_store::{
    Deliver, Delivered, Destined, Fault, Mark, Marks, RecipientPath, RecipientStatus, Stored,
};
use libmox_types::{AccountId, Flag, Flags, MailboxId, MailboxName, MsgId};
use plan::{Plan, Target, note};

fn as_text(recipient: &RecipientPath) -> String {
    match recipient {
        RecipientPath::Address(address) => address.to_string(),
        RecipientPath::Postmaster => "postmaster".into(),
        RecipientPath::Literal(local, ip) => format!("{local}@[{ip}]"),
    }
}

/// Whoever has no result yet is told to come again.
fn all_results(results: &mut [Option<Delivered>]) -> Vec<Delivered> {
    let none = || Delivered::Deferred("no result".into());
    results.iter_mut().map(|result| result.get_or_insert_with(none).clone()).collect()
}

impl Store {
    /// RCPT TO.
    pub fn check_recipient(&self, recipient: &RecipientPath) -> Result<RecipientStatus, Fault> {
        Ok(match self.directory().resolve(recipient) {
            Destination::Nobody => RecipientStatus::UnknownUser,
            Destination::Disabled => RecipientStatus::Disabled,
            Destination::List(_) => RecipientStatus::Local,
            Destination::Foreign => RecipientStatus::Foreign,
            Destination::Account(name, id) => {
                let rules = self.directory().rules(recipient);
                if let Some((code, text)) = rules.and_then(|rules| rules.smtp_error.clone()) {
                    return Ok(RecipientStatus::Refused(code, text));
                }
                let account = crate::accounts::exists(&self.engine, id)?.ok_or(Fault::NoAccount)?;
                let directory = self.directory();
                let filters =
                    directory.accounts.get(&name).is_some_and(|account| account.junk_filter.enabled);
                match (self.over_quota(&name, account.used, 1), filters) {
                    (true, _) => RecipientStatus::OverQuota,
                    (false, _) if directory.is_about_tls(recipient) => RecipientStatus::TlsReports,
                    // A report is few; whether anybody filters does not matter.
                    (false, _) if directory.reports(recipient).is_some() => RecipientStatus::Reports,
                    (false, true) => RecipientStatus::Local,
                    (false, false) => RecipientStatus::LocalUnfiltered,
                }
            }
        })
    }

    /// One message to all its recipients, in one change. An account that is meant twice gets it once.
    pub async fn deliver(
        &self,
        peer: &Peer,
        request: Deliver,
        once: Option<OnceKey>,
    ) -> Result<Vec<Delivered>, Fault> {
        // Before the body: after a restart only the reply is there.
        if let Some(reply) = self.replied(once)? {
            return Ok(reply);
        }
        if request.recipients.is_empty() || request.recipients.len() > RECIPIENTS {
            return Err(Fault::Invalid("number of recipients".into()));
        }
        for recipient in &request.recipients {
            check_prefix(&recipient.prefix)?;
        }
        let (plan, mut results) = self.plan(&request);
        if !plan.is_empty() {
            let given = peer.body(&request.body).await?;
            let reply = self.deliver_to(&request, &given, &plan, &mut results, once).await?;
            peer.used(&request.body);
            if let Some(reply) = reply {
                return Ok(reply);
            }
        }
        Ok(all_results(&mut results))
    }

    async fn deliver_to(
        &self,
        request: &Deliver,
        given: &Given,
        plan: &Plan,
        results: &mut [Option<Delivered>],
        once: Option<OnceKey>,
    ) -> Result<Option<Vec<Delivered>>, Fault> {
        let mut tx = self.engine.begin().await?;
        let lives: Vec<_> = plan.keys().map(|id| self.accounts.live(*id)).collect();
        let mut locks = Vec::with_capacity(lives.len());
        for live in &lives {
            locks.push(live.lock.lock().await);
        }
        if Self::is_under_way(&tx, once)? {
            drop((locks, tx));
            return self.reply_under_way(once).await.map(Some);
        }
        let mut source = None;
        let mut stored = false;
        for (live, target) in lives.iter().zip(plan.values()) {
            let result = match self.deliver_one(&mut tx, live.id, target, request, given) {
                Ok(None) => Delivered::Refused { kept: false },
                Ok(Some((id, happened))) => {
                    let change = tx.change();
                    let at = *source.get_or_insert_with(|| change.source(given.source()));
                    change.create(crate::engine::FileName { owner: u64::from(live.id.0), id: id.0 }, at);
                    publish(&mut tx, live, None, happened);
                    stored = true;
                    let destined = target.to.destined.as_ref();
                    match destined.is_some_and(|destined| destined.reject.is_some()) {
                        true => Delivered::Refused { kept: true },
                        false => Delivered::Stored(Stored { id }),
                    }
                }
                Err(Fault::OverQuota) => Delivered::OverQuota,
                Err(Fault::NoAccount) => Delivered::UnknownUser,
                Err(fault) => return Err(fault),
            };
            note(results, target, &result);
        }
        if stored {
            Self::keep_reply(&mut tx, once, &all_results(results))?;
            let ticket = tx.submit()?;
            drop(locks);
            ticket.committed().await?;
        }
        Ok(None)
    }

    /// The records of one delivery; none for a reject that is not kept. Whatever can refuse it does so before the
    /// change is touched.
    fn deliver_one(
        &self,
        tx: &mut crate::engine::Tx,
        account: AccountId,
        target: &Target,
        request: &Deliver,
        given: &Given,
    ) -> Result<Option<(MsgId, Happened)>, Fault> {
        let (name, to) = (target.name.as_str(), &target.to);
        let record = tx.record::<crate::records::Account>(&keys::account_record(account))?;
        let used = record.ok_or(Fault::NoAccount)?.used;
        let directory = self.directory();
        let configured = directory.accounts.get(name).cloned().unwrap_or_default();
        let reject = to.destined.as_ref().and_then(|destined| destined.reject.as_ref());
        if reject.is_some_and(|reject| !reject.keep || configured.rejects.is_none()) {
            return Ok(None);
        }
        if self.over_quota(name, used, given.size + to.prefix.len() as u64) {
            return if reject.is_some() { Ok(None) } else { Err(Fault::OverQuota) };
        }
        let destined = match &to.destined {
            Some(destined) => destined.clone(),
            None => {
                let destination = directory.rules(&to.recipient);
                let mailbox = default_mailbox(&configured, destination.as_deref());
                Destined {
                    mailbox,
                    forward: false,
                    intro: false,
                    reject: None,
                    members: Vec::new(),
                    seen: false,
                }
            }
        };
        let mut writer = Writer::open(tx, account)?.with_habits(directory.habits(name));
        if let Some(reject) = reject {
            if writer.has_reject(&request.facts.message_id, &reject.content)? {
                return Ok(None);
            }
            if !configured.keep_rejects {
                writer.prune_rejects(self.now())?;
            }
        }
        let seen = destined.seen;
        let mut marks = Marks::NONE.set(Mark::Forward, destined.forward);
        let instead = match (reject, destined.intro) {
            (Some(_), _) => configured.rejects.as_ref(),
            (None, true) => configured.introbox.as_ref(),
            (None, false) => None,
        };
        // Row ST-27: the mailbox is known by its id from now on, whatever its name becomes.
        let chosen = Self::mailbox_for(&mut writer, &destined.mailbox)?;
        let (mailbox, destined) = match instead {
            Some(instead) => {
                let mark = if reject.is_some() { Mark::Reject } else { Mark::Intro };
                marks = marks.set(mark, true);
                (Self::mailbox_for(&mut writer, instead)?, chosen)
            }
            None => (chosen, MailboxId(0)),
        };
        let origin = Origin {
            cid: request.cid,
            remote_ip: request.remote_ip,
            helo: request.helo.as_ref().map(ToString::to_string).unwrap_or_default(),
            mail_from: request.mail_from.clone(),
            recipient: as_text(&to.recipient),
            verdict: request.verdict.clone(),
        };
        let new = NewMessage {
            flags: if reject.is_some() || seen { Flags::NONE.with(Flag::Seen) } else { Flags::NONE },
            keywords: Vec::new(),
            received: request.received,
            saved: self.now(),
            file: given.size,
            cold: Cold { prefix: to.prefix.clone(), facts: request.facts.clone(), origin: Some(origin) },
            arrival: Arrival::Delivered,
            marks,
            destined,
        };
        let (id, _) = writer.add(mailbox, new)?;
        match reject {
            Some(reject) => writer.list_reject(id, request.received, &reject.content),
            None => {
                writer.drop_rejects_of(&request.facts.message_id)?;
                if let Some(from) = &request.facts.from {
                    writer.note_heard(from, request.received)?;
                }
            }
        }
        Ok(Some((id, writer.finish())))
    }

    fn mailbox_for(writer: &mut Writer<'_>, name: &MailboxName) -> Result<MailboxId, Fault> {
        match writer.find(name)? {
            Some(mailbox) => Ok(mailbox),
            None => writer.create_mailbox(name),
        }
    }
}
