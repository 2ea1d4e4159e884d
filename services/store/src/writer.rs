//! Changing one account: the only code that writes its records, so that counters, modseqs and places always agree.
//!
//! A `Writer` is opened on a change under the account's lock, reads what is there with everything in flight, and at
//! `finish` writes account and mailboxes once, whatever happened to them. One change has one modseq.
//!
//! | a message | its keys | its file |
//! |---|---|---|
//! | added | `m` `i` `x` `h` `M` `S` `T` `W` | made |
//! | moved | `m` moved, `i` changed, tombstone at the old place | stays |
//! | removed | `m` `i` `h` `M` `S` `T` `W` gone, tombstone, `e` | stays |
//! | erased | `e` `x` gone | goes |
//!
//! `threads.rs` keeps `h`, `M`, `S` and `T`, `junk/` keeps `W` and what was learnt.
//!
//! Fails with: `Fault`; then the change is dropped whole.

use crate::engine::{FileName, Patch, Tx};
use crate::hot::{Planned, Row, Touch};
use crate::junk::{Habits, Learnt, Trainer, wanted};
use crate::keys;
use crate::limits::{FLAGS_TOLD, KEYWORD_OCTETS, KEYWORDS, MAILBOXES};
use crate::records::{
    self, Account, Cold, Expunged, FlagPatch, MailboxRecord, Message, Place, Read, Training, count, encode,
    put_blob,
};
use crate::signals::judged;
use libmox_store::{Counts, Event, Fault, Mark, Marks};
use libmox_types::{
    AccountId, ByteCount, Flag, Flags, Keyword, MailboxId, MailboxName, ModSeq, MsgId, SpecialUse,
    SpecialUses, Timestamp, Uid, UidSet, UidValidity,
};
use std::collections::BTreeMap;

/// See the module header.
pub struct Writer<'a> {
    pub tx: &'a mut Tx,
    pub id: AccountId,
    pub account: Account,
    mailboxes: BTreeMap<MailboxId, Open>,
    events: Vec<Event>,
    mod_seq: ModSeq,
    /// Removed with this change.
    pub expunged: Vec<MsgId>,
    touched: Vec<Touch>,
    /// What the configuration says about junk.
    pub habits: Habits,
    /// The junk filter, once this change touches it.
    pub(crate) trainer: Option<Trainer>,
    /// Its table was emptied.
    pub(crate) wiped: bool,
}

struct Open {
    record: MailboxRecord,
    /// Whether it exists no more.
    gone: bool,
    /// Whether messages came, went or changed.
    counts: bool,
}

/// What a change did.
#[derive(Default)]
pub struct Happened {
    pub events: Vec<Event>,
    /// Messages that wait to be erased.
    pub expunged: Vec<MsgId>,
    /// For the lists in memory.
    pub touched: Vec<Touch>,
    /// For the words in memory.
    pub learnt: Option<Learnt>,
}

/// A message about to be added.
pub struct NewMessage {
    pub flags: Flags,
    pub keywords: Vec<Keyword>,
    pub received: Timestamp,
    pub saved: Timestamp,
    /// Octets of the file.
    pub file: u64,
    pub cold: Cold,
    pub arrival: Arrival,
    /// What is noted of it from the start.
    pub marks: Marks,
    /// Where the rules would have put it, if not here.
    pub destined: MailboxId,
}

/// How a message came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// Put there by its owner.
    Placed,
    /// Delivered.
    Delivered,
}

impl<'a> Writer<'a> {
    /// Opens an account that exists.
    pub fn open(tx: &'a mut Tx, id: AccountId) -> Result<Self, Fault> {
        let account: Account = tx.record(&keys::account_record(id))?.ok_or(Fault::NoAccount)?;
        let mod_seq = ModSeq(account.mod_seq.0 + 1);
        Ok(Self {
            tx,
            id,
            account,
            mailboxes: BTreeMap::new(),
            events: Vec::new(),
            mod_seq,
            expunged: Vec::new(),
            touched: Vec::new(),
            habits: Habits::default(),
            trainer: None,
            wiped: false,
        })
    }

    /// With what the configuration says of the account.
    #[must_use]
    pub fn with_habits(mut self, habits: Habits) -> Self {
        self.habits = habits;
        self
    }

    /// Begins an account that does not exist.
    pub fn create(tx: &'a mut Tx, id: AccountId, name: &str, now: Timestamp) -> Self {
        let account = Account {
            name: name.to_owned(),
            created: now,
            mod_seq: ModSeq(0),
            next_mailbox: MailboxId(1),
            next_uid_validity: UidValidity(1),
            next_message: MsgId(1),
            used: ByteCount(0),
            annotations: (0, 0),
            upgrade: None,
        };
        tx.change().put(keys::account_name(name), encode(&id));
        Self {
            tx,
            id,
            account,
            mailboxes: BTreeMap::new(),
            events: Vec::new(),
            mod_seq: ModSeq(1),
            expunged: Vec::new(),
            touched: Vec::new(),
            habits: Habits::default(),
            trainer: None,
            wiped: false,
        }
    }

    /// The modseq of everything in this change.
    pub fn mod_seq(&self) -> ModSeq {
        self.mod_seq
    }

    /// Goes on above a modseq that is in use already, for repairs.
    pub fn raise_mod_seq(&mut self, above: ModSeq) {
        self.mod_seq = self.mod_seq.max(ModSeq(above.0 + 1));
    }

    /// Adds an event.
    pub fn event(&mut self, event: Event) {
        self.events.push(event);
    }

    /// Whether nothing happened.
    pub fn is_unchanged(&self) -> bool {
        self.events.is_empty()
    }

    /// Writes account and mailboxes; returns what happened and which messages wait to be erased.
    pub fn finish(mut self) -> Happened {
        self.account.mod_seq = self.mod_seq;
        self.tx.change().put(keys::account_record(self.id), encode(&self.account));
        for open in self.mailboxes.into_values() {
            let record = open.record;
            if open.gone {
                continue;
            }
            self.tx.change().put(keys::mailbox(self.id, record.id), encode(&record));
            if open.counts {
                self.events.push(Event::Counts {
                    mailbox: record.id,
                    counts: record.counts,
                    mod_seq: record.mod_seq,
                    uid_next: record.uid_next,
                });
            }
        }
        let events = told_together(self.events);
        let learnt = match self.trainer.take() {
            Some(trainer) => Some(trainer.finish(self.tx, self.id)),
            None => self.wiped.then(|| Learnt { wiped: true, ..Learnt::default() }),
        };
        Happened { events, expunged: self.expunged, touched: self.touched, learnt }
    }

    /// The mailbox with this name.
    pub fn find(&self, name: &MailboxName) -> Result<Option<MailboxId>, Fault> {
        self.tx.record(&keys::mailbox_name(self.id, name))
    }

    /// A mailbox, for looking.
    pub fn mailbox(&mut self, id: MailboxId) -> Result<&MailboxRecord, Fault> {
        Ok(&self.open_mailbox(id)?.record)
    }

    fn open_mailbox(&mut self, id: MailboxId) -> Result<&mut Open, Fault> {
        if !self.mailboxes.contains_key(&id) {
            let record = self.tx.record(&keys::mailbox(self.id, id))?.ok_or(Fault::NoMailbox)?;
            self.mailboxes.insert(id, Open { record, gone: false, counts: false });
        }
        match self.mailboxes.get_mut(&id) {
            Some(open) if !open.gone => Ok(open),
            _ => Err(Fault::NoMailbox),
        }
    }

    /// A mailbox that changes with this change.
    pub fn change_mailbox(&mut self, id: MailboxId) -> Result<&mut MailboxRecord, Fault> {
        let mod_seq = self.mod_seq;
        let record = &mut self.open_mailbox(id)?.record;
        record.mod_seq = mod_seq;
        Ok(record)
    }

    fn change_messages(&mut self, id: MailboxId) -> Result<&mut MailboxRecord, Fault> {
        self.open_mailbox(id)?.counts = true;
        self.change_mailbox(id)
    }

    /// Creates a mailbox with its missing parents and subscribes to all of them (row ST-20).
    pub fn create_mailbox(&mut self, name: &MailboxName) -> Result<MailboxId, Fault> {
        if let Some(parent) = name.parent()
            && self.find(&parent)?.is_none()
        {
            self.create_mailbox(&parent)?;
        }
        if self.account.next_mailbox.0 as usize > 10 * MAILBOXES {
            // Ids are not given out again; only now is counting worth it.
            if self.tx.keys_below(&keys::mailboxes(self.id))?.len() >= MAILBOXES {
                return Err(Fault::Limit("mailboxes".into()));
            }
        }
        let id = self.account.next_mailbox;
        let uid_validity = self.account.next_uid_validity;
        self.account.next_mailbox = MailboxId(id.0.checked_add(1).ok_or(Fault::Limit("mailboxes".into()))?);
        self.account.next_uid_validity =
            UidValidity(uid_validity.0.checked_add(1).ok_or(Fault::Limit("uidvalidity".into()))?);
        let record = MailboxRecord {
            id,
            name: name.clone(),
            uid_validity,
            uid_next: Uid(1),
            mod_seq: self.mod_seq,
            create_seq: self.mod_seq,
            special_use: SpecialUses::NONE,
            keywords: Vec::new(),
            counts: Counts::default(),
        };
        self.mailboxes.insert(id, Open { record, gone: false, counts: false });
        self.tx.change().put(keys::mailbox_name(self.id, name), encode(&id));
        self.event(Event::MailboxAdded { mailbox: id, name: name.clone() });
        self.subscribe(name, true)?;
        Ok(id)
    }

    /// Subscribes or unsubscribes a name.
    pub fn subscribe(&mut self, name: &MailboxName, subscribed: bool) -> Result<(), Fault> {
        let key = keys::subscription(self.id, name);
        if self.tx.get(&key)?.is_some() == subscribed {
            return Ok(());
        }
        if subscribed {
            self.tx.change().put(key, vec![]);
        } else {
            self.tx.change().delete(key);
        }
        self.event(Event::Subscription { name: name.clone(), subscribed });
        Ok(())
    }

    /// Gives a use to a mailbox and takes it from others.
    pub fn set_special_use(&mut self, id: MailboxId, uses: &[SpecialUse]) -> Result<(), Fault> {
        if uses.is_empty() {
            return Ok(());
        }
        for other in self.all_mailboxes()? {
            let before = self.mailbox(other)?.special_use;
            let after = if other == id {
                uses.iter().fold(before, |set, one| set.with(*one))
            } else {
                uses.iter().fold(before, |set, one| set.without(*one))
            };
            if before != after {
                self.change_mailbox(other)?.special_use = after;
                self.event(Event::SpecialUse { mailbox: other, uses: after });
            }
        }
        Ok(())
    }

    /// Ids of all mailboxes, those of this change too.
    pub fn all_mailboxes(&self) -> Result<Vec<MailboxId>, Fault> {
        let mut ids = Vec::new();
        self.tx.records(&keys::mailbox_names(self.id), |_, id: MailboxId| {
            ids.push(id);
            Ok(())
        })?;
        Ok(ids)
    }

    /// Names and ids of mailboxes below one.
    pub fn below(&self, name: &MailboxName) -> Result<Vec<(MailboxName, MailboxId)>, Fault> {
        let prefix = keys::mailbox_names(self.id);
        let mut found = Vec::new();
        let start = [prefix.as_slice(), name.as_str().as_bytes(), b"/"].concat();
        self.tx.records(&start, |key, id: MailboxId| {
            let text =
                std::str::from_utf8(&key[prefix.len()..]).ok().and_then(|t| MailboxName::parse(t).ok());
            found.push((text.ok_or(Fault::Internal)?, id));
            Ok(())
        })?;
        Ok(found)
    }

    /// Gives a mailbox another name. The new one must be free.
    pub fn rename(&mut self, id: MailboxId, to: &MailboxName) -> Result<(), Fault> {
        let from = std::mem::replace(&mut self.change_mailbox(id)?.name, to.clone());
        self.tx.change().delete(keys::mailbox_name(self.id, &from));
        self.tx.change().put(keys::mailbox_name(self.id, to), encode(&id));
        self.event(Event::MailboxRenamed { mailbox: id, from, to: to.clone() });
        Ok(())
    }

    /// Removes a mailbox and its messages. Its tombstones go, too: nobody can select it again.
    pub fn delete_mailbox(&mut self, id: MailboxId) -> Result<(), Fault> {
        let messages = self.messages(id, None)?;
        self.remove(id, messages)?;
        let gone = self.tx.keys_below(&keys::tombstones(self.id, id))?;
        for key in gone {
            self.tx.change().delete(key);
        }
        self.forget_annotations(id)?;
        self.tx.change().delete(keys::removals(self.id, id));
        self.tx.change().delete(keys::url_key(self.id, id));
        let name = self.mailbox(id)?.name.clone();
        self.touched.push(Touch::MailboxGone(id));
        self.open_mailbox(id)?.gone = true;
        self.tx.change().delete(keys::mailbox(self.id, id));
        self.tx.change().delete(keys::mailbox_name(self.id, &name));
        self.event(Event::MailboxRemoved { mailbox: id, name });
        Ok(())
    }

    /// Messages of a mailbox, all or those of a set, ascending.
    pub fn messages(&self, id: MailboxId, uids: Option<&UidSet>) -> Result<Vec<(Uid, Message)>, Fault> {
        let mut found = Vec::new();
        let everything = UidSet::all();
        visit_messages(&*self.tx, self.id, id, uids.unwrap_or(&everything), |uid, message| {
            found.push((uid, message));
            Ok(())
        })?;
        Ok(found)
    }

    /// Adds a message; its file has to be created by the caller from the returned id.
    pub fn add(&mut self, mailbox: MailboxId, mut new: NewMessage) -> Result<(MsgId, Uid), Fault> {
        let id = self.account.next_message;
        self.account.next_message = MsgId(id.0 + 1);
        let prefix = u32::try_from(new.cold.prefix.len()).map_err(|_| Fault::BadSize)?;
        let words = std::mem::take(&mut new.cold.facts.words);
        if self.habits.words {
            self.keep_words(id, &words);
        }
        // Who said what it is, is heard (row JK-01); the name of the mailbox speaks otherwise (row JK-02).
        let waits = new.marks.has(Mark::Reject) || new.marks.has(Mark::Intro);
        if !waits
            && wanted(new.flags) == Training::None
            && !(new.flags.has(Flag::Junk) && new.flags.has(Flag::NotJunk))
        {
            new.flags = self.flags_in(mailbox, new.flags)?;
        }
        let facts = &new.cold.facts;
        let mut message = Message {
            id,
            mod_seq: self.mod_seq,
            create_seq: self.mod_seq,
            flags: new.flags,
            keywords: new.keywords,
            size: ByteCount(new.file + u64::from(prefix)),
            prefix,
            received: new.received,
            saved: Some(new.saved),
            thread: MsgId(0),
            marks: new.marks.set(Mark::Automatic, facts.automatic || facts.report),
            original: mailbox,
            destined: new.destined,
            trained: Training::None,
        };
        self.account.used.0 += message.size.0;
        self.tie(&mut message, facts)?;
        // Row ST-33.
        if new.arrival == Arrival::Delivered && message.marks.has(Mark::Muted) {
            message.flags = message.flags.with(Flag::Seen);
        }
        put_blob(self.tx, &keys::cold(self.id, id), &encode(&new.cold));
        let uid = self.insert(mailbox, message)?;
        Ok((id, uid))
    }

    /// The file of a message.
    pub fn file(&self, id: MsgId) -> FileName {
        FileName { owner: u64::from(self.id.0), id: id.0 }
    }

    fn insert(&mut self, mailbox: MailboxId, mut message: Message) -> Result<Uid, Fault> {
        message.keywords.sort_unstable();
        message.keywords.dedup();
        self.use_keywords(mailbox, &message.keywords)?;
        self.train(&mut message)?;
        let record = self.change_messages(mailbox)?;
        let uid = record.uid_next;
        record.uid_next = Uid(uid.0.checked_add(1).ok_or(Fault::Limit("uid".into()))?);
        count(&mut record.counts, &message, true);
        self.put_message(mailbox, uid, &message);
        self.list_signals(&message)?;
        self.note_written(mailbox, &message)?;
        self.tx.change().put(keys::place(self.id, message.id), encode(&Place { mailbox, uid }));
        self.event(Event::MessageAdded {
            mailbox,
            uid,
            id: message.id,
            mod_seq: message.mod_seq,
            flags: message.flags,
            keywords: message.keywords,
            size: message.size,
            received: message.received,
        });
        Ok(uid)
    }

    /// Writes the record of a message where it is.
    pub fn put_message(&mut self, mailbox: MailboxId, uid: Uid, message: &Message) {
        self.tx.change().put(keys::message(self.id, mailbox, uid), encode(message));
        self.touched.push(Touch::Set(mailbox, uid, Row::new(uid, message)));
    }

    /// Where a message is and its record, if it is there.
    pub fn message(&self, id: MsgId) -> Result<Option<(Place, Message)>, Fault> {
        let Some(place) = self.tx.record::<Place>(&keys::place(self.id, id))? else { return Ok(None) };
        let message = self.tx.record(&keys::message(self.id, place.mailbox, place.uid))?;
        Ok(Some((place, message.ok_or(Fault::Internal)?)))
    }

    /// The cold part of a message.
    pub fn cold(&self, id: MsgId) -> Result<Cold, Fault> {
        let key = keys::cold(self.id, id);
        let blob = self.tx.blob(&key)?.ok_or(Fault::Internal)?;
        Ok(records::decode(&key, &blob)?)
    }

    /// Row ST-15: the mailbox's list grows with every new keyword.
    fn use_keywords(&mut self, mailbox: MailboxId, keywords: &[Keyword]) -> Result<(), Fault> {
        if keywords.is_empty() {
            return Ok(());
        }
        if keywords.len() > KEYWORDS {
            return Err(Fault::Limit("keywords".into()));
        }
        let have = &self.mailbox(mailbox)?.keywords;
        let new: Vec<Keyword> = keywords.iter().filter(|k| have.binary_search(k).is_err()).cloned().collect();
        if new.is_empty() {
            return Ok(());
        }
        let record = self.change_mailbox(mailbox)?;
        record.keywords.extend(new);
        record.keywords.sort_unstable();
        let octets: usize = record.keywords.iter().map(|keyword| keyword.as_str().len()).sum();
        if record.keywords.len() > KEYWORDS || octets > KEYWORD_OCTETS {
            return Err(Fault::Limit("keywords".into()));
        }
        let keywords = record.keywords.clone();
        self.event(Event::Keywords { mailbox, keywords });
        Ok(())
    }

    /// Sets the flags of a message.
    pub fn set_flags(
        &mut self,
        mailbox: MailboxId,
        uid: Uid,
        mut message: Message,
        flags: Flags,
        keywords: Vec<Keyword>,
    ) -> Result<(), Fault> {
        self.use_keywords(mailbox, &keywords)?;
        let mod_seq = self.mod_seq;
        let counts = &mut self.change_messages(mailbox)?.counts;
        count(counts, &message, false);
        let before = message.clone();
        message.flags = flags;
        message.keywords = keywords;
        message.mod_seq = mod_seq;
        count(counts, &message, true);
        self.train(&mut message)?;
        if judged(&before) != judged(&message) {
            self.unlist_signals(&before)?;
            self.list_signals(&message)?;
        }
        self.put_message(mailbox, uid, &message);
        self.event(Event::FlagsChanged { mailbox, uid, mod_seq, flags, keywords: message.keywords });
        Ok(())
    }

    /// Changes the flags of very many messages alike: flags that nothing but the counts depends on, of messages as they
    /// are in memory.
    pub fn patch_flags(
        &mut self,
        mailbox: MailboxId,
        planned: Planned,
        patch: FlagPatch,
    ) -> Result<(), Fault> {
        planned.count(&mut self.change_messages(mailbox)?.counts);
        let mut uids = UidSet::new();
        planned.changed.iter().for_each(|(low, high)| uids.insert_range(*low, *high));
        self.tx.change().patch(Patch {
            prefix: keys::messages(self.id, mailbox),
            ranges: planned.changed.iter().map(|(low, high)| (low.0, high.0)).collect(),
            what: encode(&patch),
        });
        self.touched.push(Touch::Flags(mailbox, planned.changed, patch));
        self.event(Event::ManyFlagsChanged { mailbox, uids, mod_seq: patch.mod_seq });
        Ok(())
    }

    /// Copies a message: same content, an id of its own.
    /// Rejects and first messages are so in their place only: the copy is an ordinary message.
    pub fn copy(&mut self, message: &Message, to: MailboxId, now: Timestamp) -> Result<(MsgId, Uid), Fault> {
        let id = self.account.next_message;
        self.account.next_message = MsgId(id.0 + 1);
        let cold = self.tx.blob(&keys::cold(self.id, message.id))?.ok_or(Fault::Internal)?;
        put_blob(self.tx, &keys::cold(self.id, id), &cold);
        self.account.used.0 += message.size.0;
        let mut copy = Message {
            id,
            mod_seq: self.mod_seq,
            create_seq: self.mod_seq,
            saved: Some(now),
            trained: Training::None,
            ..message.clone()
        };
        self.copy_words(message.id, id)?;
        copy.flags = self.flags_in(to, copy.flags)?;
        self.settle(&mut copy, to)?;
        copy.marks = copy.marks.set(Mark::Intro, false);
        self.tie_copy(message.id, &copy)?;
        let uid = self.insert(to, copy)?;
        Ok((id, uid))
    }

    /// Moves messages; they keep their ids (row ST-14). Returns the new uids.
    pub fn take(
        &mut self,
        from: MailboxId,
        messages: Vec<(Uid, Message)>,
        to: MailboxId,
        now: Timestamp,
    ) -> Result<Vec<Uid>, Fault> {
        let mut new = Vec::with_capacity(messages.len());
        let mut left = UidSet::new();
        for (uid, mut message) in messages {
            self.leave(from, uid, &message)?;
            left.insert(uid);
            if to != from {
                self.unlist_reject(&message)?;
                message.flags = self.flags_in(to, message.flags)?;
                self.settle(&mut message, to)?;
            }
            message.mod_seq = self.mod_seq;
            message.saved = Some(now);
            new.push(self.insert(to, message)?);
        }
        self.removed(from, left)?;
        Ok(new)
    }

    /// Removes messages. Their files go later; until then they count as used (row ST-23).
    pub fn remove(&mut self, mailbox: MailboxId, messages: Vec<(Uid, Message)>) -> Result<UidSet, Fault> {
        let mut left = UidSet::new();
        for (uid, message) in messages {
            self.leave(mailbox, uid, &message)?;
            left.insert(uid);
            self.unlist_reject(&message)?;
            self.untie(&message)?;
            self.untrain(&message)?;
            self.tx.change().delete(keys::place(self.id, message.id));
            let expunged = Expunged { size: message.size, prefix: message.prefix };
            self.tx.change().put(keys::expunged(self.id, message.id), encode(&expunged));
            self.expunged.push(message.id);
        }
        self.removed(mailbox, left.clone())?;
        Ok(left)
    }

    fn removed(&mut self, mailbox: MailboxId, uids: UidSet) -> Result<(), Fault> {
        if !uids.is_empty() {
            self.note_removals(mailbox, usize::try_from(uids.count()).unwrap_or(usize::MAX))?;
            let mod_seq = self.mod_seq;
            self.event(Event::MessagesRemoved { mailbox, uids, mod_seq });
        }
        Ok(())
    }

    fn leave(&mut self, mailbox: MailboxId, uid: Uid, message: &Message) -> Result<(), Fault> {
        count(&mut self.change_messages(mailbox)?.counts, message, false);
        self.unlist_signals(message)?;
        self.tx.change().delete(keys::message(self.id, mailbox, uid));
        self.touched.push(Touch::Gone(mailbox, uid));
        let key = keys::tombstone(self.id, mailbox, self.mod_seq, uid);
        self.tx.change().put(key, encode(&message.id));
        Ok(())
    }

    /// Erases a removed message for good. Not a change that anyone can see.
    pub fn erase(&mut self, id: MsgId) -> Result<(), Fault> {
        let key = keys::expunged(self.id, id);
        let Some(expunged) = self.tx.record::<Expunged>(&key)? else { return Ok(()) };
        self.tx.change().delete(key);
        records::delete_blob(self.tx, &keys::cold(self.id, id))?;
        self.account.used.0 = self.account.used.0.saturating_sub(expunged.size.0);
        let file = self.file(id);
        self.tx.change().erase(file);
        Ok(())
    }

    /// The flags of a message that comes into a mailbox. Row JK-02.
    fn flags_in(&mut self, mailbox: MailboxId, flags: Flags) -> Result<Flags, Fault> {
        let habits = self.habits.clone();
        Ok(habits.flags_in(&self.open_mailbox(mailbox)?.record, flags))
    }

    /// Ends a change nobody can see: the modseq stays.
    pub fn finish_unseen(mut self) -> Happened {
        self.mod_seq = self.account.mod_seq;
        Happened { events: Vec::new(), ..self.finish() }
    }
}

/// The same events, where the flags of very many messages changed with one for all of a mailbox.
fn told_together(events: Vec<Event>) -> Vec<Event> {
    let is_flags = |event: &&Event| matches!(event, Event::FlagsChanged { .. });
    if events.iter().filter(is_flags).count() <= FLAGS_TOLD {
        return events;
    }
    let (mut rest, mut many) = (Vec::new(), BTreeMap::<MailboxId, (UidSet, ModSeq)>::new());
    for event in events {
        match event {
            Event::FlagsChanged { mailbox, uid, mod_seq, .. } => {
                let (uids, last) = many.entry(mailbox).or_default();
                uids.insert(uid);
                *last = mod_seq;
            }
            event => rest.push(event),
        }
    }
    let many =
        many.into_iter().map(|(mailbox, (uids, mod_seq))| Event::ManyFlagsChanged { mailbox, uids, mod_seq });
    many.chain(rest).collect()
}

/// Visits the messages of a mailbox that are in a set, ascending.
pub fn visit_messages(
    read: &impl Read,
    account: AccountId,
    mailbox: MailboxId,
    uids: &UidSet,
    mut each: impl FnMut(Uid, Message) -> Result<(), Fault>,
) -> Result<(), Fault> {
    use std::ops::{Bound, ControlFlow};
    for (low, high) in uids.ranges() {
        let (from, to) = (keys::message(account, mailbox, low), keys::message(account, mailbox, high));
        let mut outcome = Ok(());
        let range = (Bound::Included(from.as_slice()), Bound::Included(to.as_slice()));
        read.visit(range, |key, value| {
            outcome = match keys::message_uid(key) {
                None => Err(Fault::Internal),
                Some(uid) => records::decode(key, value).map_err(Fault::from).and_then(|m| each(uid, m)),
            };
            if outcome.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        outcome?;
    }
    Ok(())
}
