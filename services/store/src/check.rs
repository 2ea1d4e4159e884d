//! The invariants. Each broken one is a sentence; none means that index and files agree.
//!
//! Runs under the account's lock with nothing in flight, so what it reads belongs together.

use crate::engine::{Engine, FileName};
use crate::keys;
use crate::records::{
    self, Account, AnnotationRecord, Cold, Expunged, MailboxRecord, Message, Place, QueueMessage,
    QueueRecord, QueueState, Read, Removals,
};
use crate::store::Store;
use libmox_store::{Counts, Fault};
use libmox_types::{AccountId, MailboxId, ModSeq, MsgId, QueueId, Uid};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Sentences before the rest is left out.
const MOST: usize = 1000;

pub struct Findings(Vec<String>);

impl Findings {
    /// Notes a sentence unless something holds.
    pub fn expect(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds && self.0.len() < MOST {
            self.0.push(what());
        }
    }
}

impl Store {
    /// Checks one account, or all and the queue.
    pub async fn check(&self, only: Option<&str>) -> Result<Vec<String>, Fault> {
        let mut findings = Findings(Vec::new());
        let mut accounts: Vec<(String, AccountId)> = Vec::new();
        self.engine.records(b"N", |key, id: AccountId| {
            accounts.push((String::from_utf8_lossy(&key[1..]).into_owned(), id));
            Ok(())
        })?;
        if let Some(only) = only {
            accounts.retain(|(name, _)| name == only);
            if accounts.is_empty() {
                return Err(Fault::NoAccount);
            }
        }
        for (name, id) in &accounts {
            let live = self.accounts.live(*id);
            let _lock = live.lock.lock().await;
            self.engine.settled().await;
            self.looker().check_account(name, *id, &mut findings)?;
            self.check_hot(name, *id, &mut findings)?;
        }
        if only.is_none() {
            let _lock = self.queue_lock.lock().await;
            self.engine.settled().await;
            self.looker().check_queue(&mut findings)?;
        }
        Ok(findings.0)
    }

    /// What is in memory is what a reader of the index would see.
    fn check_hot(&self, name: &str, id: AccountId, findings: &mut Findings) -> Result<(), Fault> {
        let live = self.accounts.live(id);
        let mut mailboxes = Vec::new();
        self.engine.records(&keys::mailboxes(id), |_, mailbox: MailboxRecord| {
            mailboxes.push((mailbox.id, mailbox.name));
            Ok(())
        })?;
        for (mailbox, mailbox_name) in mailboxes {
            if live.hot.with(mailbox, |_| ()).is_none() {
                continue;
            }
            let mut fresh = self.read_hot(id, mailbox)?;
            let same = live.hot.with_mut(mailbox, |hot| hot.is_like(&mut fresh)).unwrap_or(true);
            findings.expect(same, || {
                format!("{name}/{mailbox_name}: the list in memory is not that of the index")
            });
        }
        if live.words.with(|_| ()).is_some() {
            let fresh = self.read_words(id)?;
            let same = live.words.with(|table| *table == fresh).unwrap_or(true);
            findings.expect(same, || format!("{name}: the words in memory are not those of the index"));
        }
        Ok(())
    }

    fn looker(&self) -> Looker<'_> {
        Looker { engine: &self.engine }
    }
}

/// Checks all of a folder that nobody else uses.
pub fn check_alone(engine: &Engine) -> Result<Vec<String>, Fault> {
    let mut findings = Findings(Vec::new());
    let looker = Looker { engine };
    let mut accounts: Vec<(String, AccountId)> = Vec::new();
    engine.records(b"N", |key, id: AccountId| {
        accounts.push((String::from_utf8_lossy(&key[1..]).into_owned(), id));
        Ok(())
    })?;
    for (name, id) in accounts {
        looker.check_account(&name, id, &mut findings)?;
    }
    looker.check_queue(&mut findings)?;
    Ok(findings.0)
}

/// Whoever looks sees only the engine.
struct Looker<'a> {
    engine: &'a Engine,
}

impl Looker<'_> {
    fn check_account(&self, name: &str, id: AccountId, findings: &mut Findings) -> Result<(), Fault> {
        let read = self.engine;
        let Some(account) = read.record::<Account>(&keys::account_record(id))? else {
            findings.expect(false, || format!("{name}: no record"));
            return Ok(());
        };
        findings.expect(account.name == name, || format!("{name}: record says {}", account.name));
        let mut mailboxes = BTreeMap::new();
        read.records(&keys::mailboxes(id), |_, mailbox: MailboxRecord| {
            mailboxes.insert(mailbox.id, mailbox);
            Ok(())
        })?;
        let mut names = 0;
        let prefix = keys::mailbox_names(id);
        read.records(&prefix, |key, mailbox: MailboxId| {
            names += 1;
            let fits =
                mailboxes.get(&mailbox).is_some_and(|m| m.name.as_str().as_bytes() == &key[prefix.len()..]);
            findings.expect(fits, || format!("{name}: name of mailbox {mailbox} leads elsewhere"));
            Ok(())
        })?;
        findings.expect(names == mailboxes.len(), || {
            format!("{name}: {names} names, {} mailboxes", mailboxes.len())
        });
        for mailbox in mailboxes.values() {
            let parent = mailbox.name.parent();
            let kept = parent.is_none_or(|parent| mailboxes.values().any(|other| other.name == parent));
            findings.expect(kept, || format!("{name}/{}: no parent", mailbox.name));
        }
        let mut used = 0;
        let mut places: HashMap<MsgId, Place> = HashMap::new();
        for mailbox in mailboxes.values() {
            used += self.check_mailbox(name, id, &account, mailbox, &mut places, findings)?;
        }
        let mut listed = 0;
        read.records(&keys::places(id), |key, place: Place| {
            listed += 1;
            let right = keys::last_id(key).and_then(|id| places.get(&MsgId(id))) == Some(&place);
            findings.expect(right, || format!("{name}: place of message {:?} is wrong", keys::last_id(key)));
            Ok(())
        })?;
        findings
            .expect(listed == places.len(), || format!("{name}: {listed} places, {} messages", places.len()));
        let mut wanted: BTreeSet<u64> = places.keys().map(|id| id.0).collect();
        read.records(&keys::all_expunged(id), |key, expunged: Expunged| {
            let message = keys::last_id(key).unwrap_or(0);
            used += expunged.size.0;
            findings.expect(wanted.insert(message), || {
                format!("{name}: message {message} is there and expunged")
            });
            let file = expunged.size.0 - u64::from(expunged.prefix);
            self.check_file(name, FileName { owner: u64::from(id.0), id: message }, file, findings);
            Ok(())
        })?;
        findings
            .expect(used == account.used.0, || format!("{name}: uses {used}, record says {}", account.used));
        let colds: BTreeSet<u64> = read
            .keys_below(&keys::colds(id))?
            .iter()
            .filter_map(|key| keys::last_id(&key[..key.len() - 2]))
            .collect();
        findings.expect(colds == wanted, || format!("{name}: cold parts and messages differ"));
        self.check_strays(name, u64::from(id.0), &wanted, findings);
        self.check_annotations(name, id, &account, &mailboxes, findings)?;
        for mailbox in mailboxes.keys() {
            let tombstones = self.engine.keys_below(&keys::tombstones(id, *mailbox))?;
            let known: Option<Removals> = self.engine.record(&keys::removals(id, *mailbox))?;
            let right = known.is_none_or(|known| {
                known.kept as usize == tombstones.len()
                    && tombstones.iter().all(|key| keys::tombstone_mod_seq(key) >= Some(known.forgotten))
            });
            findings.expect(right, || {
                format!("{name}: mailbox {mailbox} has {} tombstones, {known:?}", tombstones.len())
            });
        }
        self.check_attempts(name, id, findings)?;
        crate::check_words::check(read, name, id, &account, &places, findings)?;
        crate::check_ties::check(read, name, id, &account, &places, findings)
    }

    fn check_mailbox(
        &self,
        name: &str,
        id: AccountId,
        account: &Account,
        mailbox: &MailboxRecord,
        places: &mut HashMap<MsgId, Place>,
        findings: &mut Findings,
    ) -> Result<u64, Fault> {
        let at = format!("{name}/{}", mailbox.name);
        let mut counts = Counts::default();
        let mut used = 0;
        let sane = |create: ModSeq, last: ModSeq| create.0 > 0 && create <= last && last <= account.mod_seq;
        findings.expect(sane(mailbox.create_seq, mailbox.mod_seq), || format!("{at}: modseq"));
        findings.expect(mailbox.uid_validity < account.next_uid_validity, || format!("{at}: uidvalidity"));
        findings.expect(mailbox.id < account.next_mailbox, || format!("{at}: id"));
        findings.expect(mailbox.keywords.is_sorted(), || format!("{at}: keywords not sorted"));
        self.engine.records(&keys::messages(id, mailbox.id), |key, message: Message| {
            let uid = keys::message_uid(key).unwrap_or(Uid(0));
            let here = format!("{at} uid {uid}");
            records::count(&mut counts, &message, true);
            used += message.size.0;
            findings.expect(uid.0 > 0 && uid < mailbox.uid_next, || format!("{here}: not below uidnext"));
            findings.expect(sane(message.create_seq, message.mod_seq), || format!("{here}: modseq"));
            findings.expect(message.mod_seq <= mailbox.mod_seq, || format!("{here}: modseq above mailbox"));
            findings.expect(message.id < account.next_message, || format!("{here}: id"));
            let known = message.keywords.iter().all(|k| mailbox.keywords.binary_search(k).is_ok());
            findings.expect(known && message.keywords.is_sorted(), || format!("{here}: keywords"));
            let twice = places.insert(message.id, Place { mailbox: mailbox.id, uid });
            findings.expect(twice.is_none(), || format!("{here}: id {} is elsewhere, too", message.id));
            let cold_key = keys::cold(id, message.id);
            let cold = self.engine.blob(&cold_key)?;
            let prefix =
                cold.and_then(|cold| records::decode::<Cold>(&cold_key, &cold).ok()).map(|c| c.prefix.len());
            findings.expect(prefix == Some(message.prefix as usize), || format!("{here}: prefix"));
            let file = message.size.0.saturating_sub(u64::from(message.prefix));
            self.check_file(&here, FileName { owner: u64::from(id.0), id: message.id.0 }, file, findings);
            Ok(())
        })?;
        findings.expect(counts == mailbox.counts, || {
            format!("{at}: counts {:?}, are {counts:?}", mailbox.counts)
        });
        Ok(used)
    }

    fn check_annotations(
        &self,
        name: &str,
        id: AccountId,
        account: &Account,
        mailboxes: &BTreeMap<MailboxId, MailboxRecord>,
        findings: &mut Findings,
    ) -> Result<(), Fault> {
        let (mut entries, mut octets, mut values) = (0, 0, BTreeSet::new());
        let prefix = keys::of_kind(id, b'k');
        self.engine.records(&prefix, |key, record: AnnotationRecord| {
            let (mailbox, entry) = key[prefix.len()..].split_at(4.min(key.len() - prefix.len()));
            let mailbox = MailboxId(mailbox.try_into().map_or(u32::MAX, u32::from_be_bytes));
            let entry = String::from_utf8_lossy(entry).into_owned();
            let at = || format!("{name}: annotation {entry} of mailbox {mailbox}");
            let highest = match mailbox {
                MailboxId(0) => account.mod_seq,
                mailbox => mailboxes.get(&mailbox).map_or(ModSeq(0), |mailbox| mailbox.mod_seq),
            };
            let sane =
                record.create_seq.0 > 0 && record.create_seq <= record.mod_seq && record.mod_seq <= highest;
            findings.expect(sane, || format!("{}: modseq", at()));
            let value = self.engine.blob(&keys::annotation_value(id, mailbox, &entry))?;
            let length = value.map_or(0, |value| value.len());
            findings.expect(length == record.octets as usize, || format!("{}: value", at()));
            entries += 1;
            octets += (entry.len() + length) as u64;
            values.insert(keys::annotation_value(id, mailbox, &entry));
            Ok(())
        })?;
        let kept = account.annotations;
        findings.expect((entries, octets) == kept, || {
            format!("{name}: annotations ({entries}, {octets}), {kept:?}")
        });
        for key in self.engine.keys_below(&keys::of_kind(id, b'v'))? {
            let known = values.contains(&key[..key.len() - 2]);
            findings.expect(known, || format!("{name}: stray value {}", key.escape_ascii()));
        }
        Ok(())
    }

    fn check_attempts(&self, name: &str, id: AccountId, findings: &mut Findings) -> Result<(), Fault> {
        let read = &self.engine;
        let (mut listed, mut failures) = (0, 0);
        read.records(&keys::attempts(id), |_, attempt: libmox_store::LoginAttempt| {
            listed += 1;
            failures += usize::from(attempt.result != libmox_store::LoginResult::SignedIn);
            Ok(())
        })?;
        let places = read.keys_below(&keys::attempt_place(id, &keys::Hash::default())[..5])?.len();
        let count = read.record::<u32>(&keys::attempt_count(id))?.unwrap_or(0) as usize;
        findings.expect(listed == places && failures == count, || {
            format!("{name}: {listed} logins, {places} places; {failures} failures, count {count}")
        });
        Ok(())
    }

    fn check_file(&self, at: &str, name: FileName, size: u64, findings: &mut Findings) {
        match std::fs::metadata(self.engine.files().path(name)) {
            Ok(data) => findings.expect(data.len() == size, || {
                format!("{at}: file {} has {} octets, should have {size}", name.id, data.len())
            }),
            Err(error) => findings.expect(false, || format!("{at}: file {}: {error}", name.id)),
        }
    }

    fn check_strays(&self, at: &str, owner: u64, wanted: &BTreeSet<u64>, findings: &mut Findings) {
        match self.engine.files().list(owner) {
            Ok(files) => {
                for file in files {
                    findings.expect(wanted.contains(&file), || format!("{at}: stray file {file}"));
                }
            }
            Err(error) => findings.expect(false, || format!("{at}: files: {error}")),
        }
    }

    fn check_queue(&self, findings: &mut Findings) -> Result<(), Fault> {
        let read = self.engine;
        let state: QueueState = read.record(keys::QUEUE)?.unwrap_or_default();
        let (mut entries, mut held) = (0, 0);
        let mut of_message: BTreeMap<QueueId, u32> = BTreeMap::new();
        let mut due = BTreeSet::new();
        for key in read.keys_below(b"D")? {
            due.extend(keys::due_parts(&key));
        }
        let scheduled = due.len();
        read.records(b"Q", |key, entry: QueueRecord| {
            let id = QueueId(keys::last_id(key).unwrap_or(0));
            entries += 1;
            held += u64::from(entry.held);
            *of_message.entry(entry.message).or_default() += 1;
            let listed = due.contains(&(entry.next_attempt, id));
            findings.expect(listed != entry.held, || format!("queue {id}: due key"));
            findings.expect(id < state.next, || format!("queue {id}: id"));
            Ok(())
        })?;
        let counts = (entries, held, entries - held);
        let kept = (state.entries, state.held, scheduled as u64);
        findings.expect(counts == kept, || format!("queue: counts {kept:?}, are {counts:?}"));
        let mut messages = 0;
        read.records(b"M", |key, message: QueueMessage| {
            messages += 1;
            let id = QueueId(keys::last_id(key).unwrap_or(0));
            let want = of_message.get(&id).copied().unwrap_or(0);
            findings.expect(message.entries == want && want > 0, || format!("queue message {id}: entries"));
            let prefix = read.blob(&keys::queue_prefix(id))?.map_or(0, |prefix| prefix.len());
            findings.expect(prefix == message.prefix as usize, || format!("queue message {id}: prefix"));
            let file = message.size.0.saturating_sub(u64::from(message.prefix));
            self.check_file("queue", FileName { owner: 0, id: id.0 }, file, findings);
            Ok(())
        })?;
        findings.expect(messages == of_message.len(), || "queue: messages and entries differ".into());
        self.check_strays("queue", 0, &of_message.keys().map(|id| id.0).collect(), findings);
        Ok(())
    }
}
