//! Backup and repairs, on behalf of an administrator, while the store runs.
//!
//! A repair is computed under the account's lock on top of everything in flight, and is one change; a dry run computes
//! the same and throws it away. What it says is what was wrong.
//!
//! Fails with: `Fault`; then nothing was changed.

use crate::accounts::publish;
use crate::engine::{FileName, Target};
use crate::junk::Filter;
use crate::keys;
use crate::limits::REPAIRED;
use crate::records::{self, Cold, MailboxRecord, Message, Place, Read, encode};
use crate::store::Store;
use crate::writer::{Writer, visit_messages};
use libmox_store::{BackedUp, Counts, Fault, Repair, RepairKind};
use libmox_types::{AccountId, MailboxId, ModSeq, MsgId, Uid, UidSet, UidValidity};
use std::os::fd::OwnedFd;

/// What a repair found, and whether it had to stop before the end because one change holds only so much.
#[derive(Default)]
struct Found {
    lines: Vec<String>,
    more: bool,
}

impl Store {
    /// Copies everything into the folder that came along.
    pub async fn backup(&self, given: Vec<OwnedFd>) -> Result<BackedUp, Fault> {
        let mut given = given.into_iter();
        let into = given.next().ok_or_else(|| Fault::Invalid("a folder has to come along".into()))?;
        let target = Target { into, before: given.next() };
        let done = self.engine.backup(target).await.map_err(Fault::Cannot)?;
        tracing::info!(files = done.files, linked = done.linked, copied = done.copied, "backup is whole");
        Ok(BackedUp { files: done.files, linked: done.linked, copied: done.copied })
    }

    /// Repairs one account or all.
    pub async fn repair(self: &std::sync::Arc<Self>, request: &Repair) -> Result<Vec<String>, Fault> {
        let mut accounts: Vec<(String, AccountId)> = Vec::new();
        self.engine.records(b"N", |key, id: AccountId| {
            accounts.push((String::from_utf8_lossy(&key[1..]).into_owned(), id));
            Ok(())
        })?;
        if let Some(only) = &request.account {
            accounts.retain(|(name, _)| name == only);
            if accounts.is_empty() {
                return Err(Fault::NoAccount);
            }
        }
        let mut lines = Vec::new();
        for (name, id) in accounts {
            if matches!(request.what, RepairKind::Parse | RepairKind::ParseMissing) {
                let missing = request.what == RepairKind::ParseMissing;
                lines.extend(self.reparse(&name, id, missing, request.dry).await?);
                continue;
            }
            if request.what == RepairKind::Threads {
                lines.push(self.find_threads(&name, id, request.dry).await?);
                continue;
            }
            if request.what == RepairKind::Retrain {
                if !request.dry {
                    self.retrain(&name).await?;
                }
                let filter: Filter = self.engine.record(&keys::junk_filter(id))?.unwrap_or_default();
                lines.push(format!(
                    "{name}: {} messages learnt as junk, {} as no junk, {} words",
                    filter.junk, filter.ham, filter.words
                ));
                continue;
            }
            loop {
                let found = self.repair_account(&name, id, request).await?;
                lines.extend(found.lines);
                if !found.more || request.dry {
                    break;
                }
            }
        }
        if !request.dry && !lines.is_empty() {
            tracing::info!(what = ?request.what, account = request.account, repaired = lines.len(), "repaired");
        }
        Ok(lines)
    }

    /// Row CL-13. In steps, which a change of its own each is; mail goes on between them.
    async fn find_threads(
        self: &std::sync::Arc<Self>,
        name: &str,
        id: AccountId,
        dry: bool,
    ) -> Result<String, Fault> {
        let messages = if dry { self.stored_messages(id)? } else { self.threads_reassign(name).await? };
        Ok(format!("{name}: threads of {messages} messages"))
    }

    async fn repair_account(&self, name: &str, id: AccountId, request: &Repair) -> Result<Found, Fault> {
        let live = self.accounts.live(id);
        let mut tx = self.engine.begin().await?;
        let lock = live.lock.lock().await;
        // Sizes of files are those of applied changes.
        self.engine.settled().await;
        let mut writer = Writer::open(&mut tx, id)?;
        let mut found = Found::default();
        let mailboxes = all_records(&writer)?;
        match request.what {
            RepairKind::UidMeta => uid_meta(name, &mut writer, &mailboxes, &mut found)?,
            RepairKind::MessageSizes => self.sizes(name, &mut writer, &mailboxes, &mut found)?,
            RepairKind::Counts => self.counts(name, &mut writer, &mailboxes, &mut found)?,
            RepairKind::UidValidity => {
                for mailbox in &mailboxes {
                    new_validity(name, &mut writer, mailbox, &mut found)?;
                }
            }
            RepairKind::Uids => {
                for mailbox in &mailboxes {
                    new_uids(name, &mut writer, mailbox, &mut found)?;
                }
            }
            // In steps of their own.
            RepairKind::Threads | RepairKind::Retrain | RepairKind::Parse | RepairKind::ParseMissing => {}
        }
        if request.dry || found.lines.is_empty() {
            return Ok(found);
        }
        let happened = writer.finish();
        publish(&mut tx, &live, None, happened);
        let ticket = tx.submit()?;
        drop(lock);
        ticket.committed().await?;
        if matches!(request.what, RepairKind::UidValidity | RepairKind::Uids) {
            live.hub.end("mailboxes were repaired, please connect again");
        }
        Ok(found)
    }

    /// Row CL-12, after imports that stored a wrong size.
    fn sizes(
        &self,
        name: &str,
        writer: &mut Writer<'_>,
        mailboxes: &[MailboxRecord],
        found: &mut Found,
    ) -> Result<(), Fault> {
        for mailbox in mailboxes {
            for (uid, mut message) in writer.messages(mailbox.id, None)? {
                let at = format!("{name}/{} uid {uid}", mailbox.name);
                let file = FileName { owner: u64::from(writer.id.0), id: message.id.0 };
                let size = match std::fs::metadata(self.engine.files().path(file)) {
                    Ok(data) => data.len(),
                    Err(error) => {
                        tracing::warn!(mox_msg = message.id.0, mox_reason = %error, "{at}: no message file");
                        continue;
                    }
                };
                let key = keys::cold(writer.id, message.id);
                let cold: Option<Cold> =
                    writer.tx.blob(&key)?.map(|blob| records::decode(&key, &blob)).transpose()?;
                let prefix = u32::try_from(cold.map_or(0, |cold| cold.prefix.len())).unwrap_or(u32::MAX);
                let right = size + u64::from(prefix);
                if message.size.0 == right && message.prefix == prefix {
                    continue;
                }
                if found.lines.len() >= REPAIRED {
                    found.more = true;
                    return Ok(());
                }
                found.lines.push(format!("{at}: size {} is {right}", message.size));
                let record = writer.change_mailbox(mailbox.id)?;
                record.counts.size.0 = record.counts.size.0.saturating_sub(message.size.0) + right;
                let used = &mut writer.account.used.0;
                *used = used.saturating_sub(message.size.0) + right;
                (message.size.0, message.prefix, message.mod_seq) = (right, prefix, writer.mod_seq());
                let key = keys::message(writer.id, mailbox.id, uid);
                writer.tx.change().put(key, encode(&message));
            }
        }
        Ok(())
    }

    /// Row CL-12.
    fn counts(
        &self,
        name: &str,
        writer: &mut Writer<'_>,
        mailboxes: &[MailboxRecord],
        found: &mut Found,
    ) -> Result<(), Fault> {
        let mut used = 0;
        for mailbox in mailboxes {
            let mut counts = Counts::default();
            visit_messages(&*writer.tx, writer.id, mailbox.id, &UidSet::all(), |_, message| {
                records::count(&mut counts, &message, true);
                used += message.size.0;
                Ok(())
            })?;
            if counts != mailbox.counts {
                found
                    .lines
                    .push(format!("{name}/{}: counts {:?} are {counts:?}", mailbox.name, mailbox.counts));
                writer.change_mailbox(mailbox.id)?.counts = counts;
            }
        }
        writer.tx.records(&keys::all_expunged(writer.id), |_, expunged: records::Expunged| {
            used += expunged.size.0;
            Ok(())
        })?;
        if writer.account.used.0 != used {
            found.lines.push(format!("{name}: uses {used} octets, record said {}", writer.account.used));
            writer.account.used.0 = used;
        }
        Ok(())
    }
}

fn all_records(writer: &Writer<'_>) -> Result<Vec<MailboxRecord>, Fault> {
    let mut mailboxes = Vec::new();
    writer.tx.records(&keys::mailboxes(writer.id), |_, mailbox: MailboxRecord| {
        mailboxes.push(mailbox);
        Ok(())
    })?;
    Ok(mailboxes)
}

/// Row CL-11: counters above everything that was ever given out.
fn uid_meta(
    name: &str,
    writer: &mut Writer<'_>,
    mailboxes: &[MailboxRecord],
    found: &mut Found,
) -> Result<(), Fault> {
    let (mut last_message, mut last_mod_seq) = (MsgId(0), ModSeq(0));
    let mut seen = Vec::with_capacity(mailboxes.len());
    for mailbox in mailboxes {
        let (mut last, mut last_here) = (Uid(0), mailbox.mod_seq);
        visit_messages(&*writer.tx, writer.id, mailbox.id, &UidSet::all(), |uid, message| {
            last = uid;
            last_message = last_message.max(message.id);
            last_here = last_here.max(message.mod_seq);
            Ok(())
        })?;
        last_mod_seq = last_mod_seq.max(last_here);
        seen.push((last, last_here));
    }
    // First: whatever is repaired below gets a modseq above all of them.
    if writer.account.mod_seq < last_mod_seq {
        found.lines.push(format!("{name}: modseq {} is {last_mod_seq}", writer.account.mod_seq));
        writer.raise_mod_seq(last_mod_seq);
    }
    for (mailbox, (last, last_here)) in mailboxes.iter().zip(seen) {
        let at = format!("{name}/{}", mailbox.name);
        if mailbox.uid_next <= last {
            let next = Uid(last.0.checked_add(1).ok_or(Fault::Limit("uid".into()))?);
            found.lines.push(format!("{at}: uidnext {} is {next}", mailbox.uid_next));
            writer.change_mailbox(mailbox.id)?.uid_next = next;
        }
        if mailbox.mod_seq < last_here {
            found.lines.push(format!("{at}: modseq {} is {last_here}", mailbox.mod_seq));
            writer.change_mailbox(mailbox.id)?;
        }
        if mailbox.uid_validity >= writer.account.next_uid_validity {
            let next = mailbox.uid_validity.0.checked_add(1).ok_or(Fault::Limit("uidvalidity".into()))?;
            found.lines.push(format!("{name}: next uidvalidity is {next}"));
            writer.account.next_uid_validity = UidValidity(next);
        }
        if mailbox.id >= writer.account.next_mailbox {
            found.lines.push(format!("{name}: next mailbox is {}", mailbox.id.0 + 1));
            writer.account.next_mailbox = MailboxId(mailbox.id.0 + 1);
        }
    }
    // A removed message keeps its file until it is erased: its number is taken, too.
    for key in writer.tx.keys_below(&keys::all_expunged(writer.id))? {
        last_message = last_message.max(MsgId(keys::last_id(&key).unwrap_or(0)));
    }
    if writer.account.next_message <= last_message {
        found.lines.push(format!("{name}: next message is {}", last_message.0 + 1));
        writer.account.next_message = MsgId(last_message.0 + 1);
    }
    Ok(())
}

fn new_validity(
    name: &str,
    writer: &mut Writer<'_>,
    mailbox: &MailboxRecord,
    found: &mut Found,
) -> Result<(), Fault> {
    let new = writer.account.next_uid_validity;
    writer.account.next_uid_validity =
        UidValidity(new.0.checked_add(1).ok_or(Fault::Limit("uidvalidity".into()))?);
    found.lines.push(format!("{name}/{}: uidvalidity {} becomes {new}", mailbox.name, mailbox.uid_validity));
    writer.change_mailbox(mailbox.id)?.uid_validity = new;
    Ok(())
}

/// Row CL-13: one change per account, so the messages of one account have to fit into one.
fn new_uids(
    name: &str,
    writer: &mut Writer<'_>,
    mailbox: &MailboxRecord,
    found: &mut Found,
) -> Result<(), Fault> {
    let mut messages: Vec<(Uid, Message)> = writer.messages(mailbox.id, None)?;
    let right = messages.iter().zip(1..).all(|((uid, _), number)| uid.0 == number)
        && mailbox.uid_next.0 as usize == messages.len() + 1
        && messages.is_sorted_by_key(|(_, message)| message.received);
    if right {
        return Ok(());
    }
    messages.sort_by_key(|(uid, message)| (message.received, *uid));
    for (uid, _) in &messages {
        writer.tx.change().delete(keys::message(writer.id, mailbox.id, *uid));
    }
    for key in writer.tx.keys_below(&keys::tombstones(writer.id, mailbox.id))? {
        writer.tx.change().delete(key);
    }
    writer.tx.change().delete(keys::removals(writer.id, mailbox.id));
    let mut next = Uid(1);
    for (_, mut message) in messages {
        message.mod_seq = writer.mod_seq();
        let place = Place { mailbox: mailbox.id, uid: next };
        let (at, place_at) = (keys::message(writer.id, mailbox.id, next), keys::place(writer.id, message.id));
        writer.tx.change().put(at, encode(&message));
        writer.tx.change().put(place_at, encode(&place));
        next = Uid(next.0 + 1);
    }
    found.lines.push(format!("{name}/{}: {} messages get new uids", mailbox.name, next.0 - 1));
    writer.change_mailbox(mailbox.id)?.uid_next = next;
    new_validity(name, writer, mailbox, found)
}
