//! Stores full of made-up mail: for `mox gentestdata`, upgrade tests and soaks. The same arguments give the same mail.

use crate::accounts::publish;
use crate::directory::{Configured, Directory, DomainRules, Settings};
use crate::engine::Source;
use crate::keys;
use crate::records::{Cold, MailboxRecord, Read};
use crate::store::Store;
use crate::writer::{Arrival, NewMessage, Writer};
use libmox_store::{Facts, Fault, Marks, QueueRecipient};
use libmox_types::{
    AccountId, Address, Domain, Flag, Flags, Keyword, MailboxId, MailboxName, Timestamp, UidSet,
};
use std::collections::BTreeMap;

/// Messages in one change.
const STEP: usize = 500;
/// When the first of them was received.
const FIRST: i64 = 1_600_000_000;

/// Accounts `test0`, `test1`, ... with one address each.
pub fn directory(accounts: usize) -> Option<Directory> {
    let domain = Domain::parse("test.example").ok()?;
    let settings = Settings {
        hostname: domain.clone(),
        hostnames: Vec::new(),
        postmaster: None,
        postmaster_mailbox: None,
        quota: None,
        login_failures_per_minute: 1000,
        initial: Default::default(),
        deliveries: Default::default(),
    };
    let accounts: Option<BTreeMap<String, Configured>> = (0..accounts)
        .map(|n| {
            let addresses = vec![Address::parse(&format!("test{n}@test.example")).ok()?];
            Some((format!("test{n}"), Configured { addresses, ..Configured::default() }))
        })
        .collect();
    Some(Directory::new(1, settings, BTreeMap::from([(domain, DomainRules::default())]), accounts?))
}

/// The bytes of one of them: a few hundred to a few thousand, now and then many.
fn body(number: usize) -> Vec<u8> {
    let size = if number % 997 == 996 { 60_000 } else { 300 + number * 131 % 3000 };
    let head = format!(
        "From: <sender{}@test.example>\r\nSubject: message {number}\r\nMessage-ID: <{number}@test.example>\r\n\r\n",
        number % 50
    );
    let line = format!("This is message {number}, one line of many.\r\n");
    head.bytes().chain(line.bytes().cycle()).take(size).collect()
}

/// Adds messages to an account, evenly over mailboxes, and returns their octets. Every tenth is read, every hundredth
/// has a keyword.
pub async fn fill(store: &Store, name: &str, mailboxes: usize, messages: usize) -> Result<u64, Fault> {
    let account: AccountId = store.engine.record(&keys::account_name(name))?.ok_or(Fault::NoAccount)?;
    let live = store.accounts.live(account);
    let mut octets = 0;
    let mut done = 0;
    while done < messages {
        let step = STEP.min(messages - done);
        let mut tx = store.engine.begin().await?;
        let lock = live.lock.lock().await;
        let mut writer = Writer::open(&mut tx, account)?;
        for number in done..done + step {
            let place = number / STEP % mailboxes.max(1);
            let mailbox = match place {
                0 => MailboxName::inbox(),
                place => MailboxName::parse(&format!("Folder {}/{place}", place % 10))
                    .map_err(|_| Fault::Internal)?,
            };
            let mailbox = match writer.find(&mailbox)? {
                Some(mailbox) => mailbox,
                None => writer.create_mailbox(&mailbox)?,
            };
            let bytes = body(number);
            octets += bytes.len() as u64;
            let received = Timestamp(FIRST + i64::try_from(number).unwrap_or(0) * 60);
            let keyword = (number % 100 == 99).then(|| Keyword::parse("project").ok()).flatten();
            let new = NewMessage {
                flags: if number % 10 == 9 { Flags::NONE.with(Flag::Seen) } else { Flags::NONE },
                keywords: keyword.into_iter().collect(),
                received,
                saved: received,
                file: bytes.len() as u64,
                cold: Cold {
                    prefix: Vec::new(),
                    facts: Facts {
                        message_id: format!("{number}@test.example"),
                        preview: format!("This is message {number}"),
                        ..Facts::default()
                    },
                    origin: None,
                },
                arrival: Arrival::Placed,
                marks: Marks::NONE,
                destined: MailboxId(0),
            };
            let (id, _) = writer.add(mailbox, new)?;
            let file = writer.file(id);
            let source = writer.tx.change().source(Source::Inline(bytes.into()));
            writer.tx.change().create(file, source);
        }
        let happened = writer.finish();
        publish(&mut tx, &live, None, happened);
        let ticket = tx.submit()?;
        drop(lock);
        ticket.committed().await?;
        done += step;
    }
    Ok(octets)
}

/// Queues a message of an account for two recipients; one of them is held.
pub async fn enqueue(store: &Store, name: &str) -> Result<(), Fault> {
    let account: AccountId = store.engine.record(&keys::account_name(name))?.ok_or(Fault::NoAccount)?;
    let address = |text: &str| Address::parse(text).map_err(|_| Fault::Internal);
    let sender = address(&format!("{name}@test.example"))?;
    let mut recipients = Vec::new();
    for to in ["first@elsewhere.example", "second@elsewhere.example"] {
        let (notify, orcpt) = (String::new(), String::new());
        recipients.push(QueueRecipient { address: address(to)?, notify, orcpt });
    }
    let ids = store
        .queue_made_up(
            (account, name, sender),
            &recipients,
            body(usize::from(account.0 > 0)),
            Timestamp(FIRST),
        )
        .await?;
    store.queue_hold(ids.into_iter().take(1).collect(), true).await.map(|_| ())
}

/// The mailboxes of an account by id.
pub(crate) fn mailboxes(store: &Store, account: AccountId) -> Result<Vec<MailboxRecord>, Fault> {
    let mut mailboxes = Vec::new();
    store.engine.records(&keys::mailboxes(account), |_, mailbox: MailboxRecord| {
        mailboxes.push(mailbox);
        Ok(())
    })?;
    Ok(mailboxes)
}

/// Changes the flags of every message of an account once.
pub async fn flag_all(store: &Store, name: &str, flag: Flag) -> Result<u64, Fault> {
    let account: AccountId = store.engine.record(&keys::account_name(name))?.ok_or(Fault::NoAccount)?;
    let live = store.accounts.live(account);
    let mut changed = 0;
    for mailbox in mailboxes(store, account)? {
        let all: Vec<_> = {
            let mut tx = store.engine.begin().await?;
            Writer::open(&mut tx, account)?.messages(mailbox.id, None)?
        };
        for part in all.chunks(STEP) {
            let mut tx = store.engine.begin().await?;
            let lock = live.lock.lock().await;
            let mut writer = Writer::open(&mut tx, account)?;
            let uids: UidSet = part.iter().map(|(uid, _)| *uid).collect();
            for (uid, message) in writer.messages(mailbox.id, Some(&uids))? {
                let flags = if message.flags.has(flag) {
                    message.flags.without(flag)
                } else {
                    message.flags.with(flag)
                };
                let keywords = message.keywords.clone();
                writer.set_flags(mailbox.id, uid, message, flags, keywords)?;
                changed += 1;
            }
            let happened = writer.finish();
            publish(&mut tx, &live, None, happened);
            let ticket = tx.submit()?;
            drop(lock);
            ticket.committed().await?;
        }
    }
    Ok(changed)
}

/// Removes the first messages of a mailbox, leaving tombstones.
pub async fn remove_some(store: &Store, name: &str, count: usize) -> Result<(), Fault> {
    let account: AccountId = store.engine.record(&keys::account_name(name))?.ok_or(Fault::NoAccount)?;
    let live = store.accounts.live(account);
    let mut tx = store.engine.begin().await?;
    let lock = live.lock.lock().await;
    let mut writer = Writer::open(&mut tx, account)?;
    let inbox = writer.find(&MailboxName::inbox())?.ok_or(Fault::NoMailbox)?;
    let mut messages = writer.messages(inbox, None)?;
    messages.truncate(count);
    writer.remove(inbox, messages)?;
    let happened = writer.finish();
    publish(&mut tx, &live, None, happened);
    let ticket = tx.submit()?;
    drop(lock);
    ticket.committed().await?;
    Ok(())
}
