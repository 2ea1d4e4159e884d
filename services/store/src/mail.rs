//! What a signed-in reader does: mailboxes, lists, flags, appends, copies, expunges, watches.

use crate::accounts::{Live, publish, told};
use crate::engine::{FileName, Source};
use crate::events;
use crate::flagged::Ranges;
use crate::hot::{Hot, Part, Row, as_record};
use crate::hub::Watcher;
use crate::junk::{Count, Filter, Table};
use crate::keys;
use crate::limits::{
    BULK, FLAGGED_RANGES, FLAGS_AT_ONCE, FLAGS_PATCHED, HOT_ROWS, HOT_WORTH, LIST_OCTETS, LIST_RECORDS,
    MAILBOX_PAGE, OPENED_AHEAD, OPENED_OCTETS, OPENED_WHOLE, ROWS_TOGETHER, SNAPSHOT_MESSAGES,
    UNSEEN_LOOKED_AT, WORDS_OF_A_ROW,
};
use crate::records::{self, Cold, Expunged, FlagPatch, MailboxRecord, Message, Place, Read};
use crate::store::{Peer, Session, Store, check_prefix};
use crate::writer::{Arrival, NewMessage, Writer, visit_messages};
use libmox_ipc::{Answer, StreamOut, Unwanted};
use libmox_store::{
    Append, AppendMessage, Changed, Content, Copy, Expunge, Fault, FlagsChange, FlagsChanged, FlagsHow,
    INLINE_OCTETS, Item, Mailbox, Mailboxes, Marks, MessageList, MessageRecord, OPENED_TOGETHER,
    PREFIX_OCTETS, Placed, QuotaState, SnapshotMessage, StoreContract, Want, Watch,
};
use libmox_types::{
    AccountId, ByteCount, Flag, Flags, Keyword, MailboxId, MailboxName, ModSeq, MsgId, SpecialUse, Timestamp,
    Uid, UidSet,
};
use std::io::Read as _;
use std::ops::{Bound, ControlFlow};
use std::os::fd::OwnedFd;
use std::sync::Arc;

fn as_mailbox(record: MailboxRecord, subscribed: bool) -> Mailbox {
    Mailbox {
        id: record.id,
        name: record.name,
        uid_validity: record.uid_validity,
        uid_next: record.uid_next,
        mod_seq: record.mod_seq,
        create_seq: record.create_seq,
        special_use: record.special_use,
        subscribed,
        keywords: record.keywords,
        counts: record.counts,
    }
}

impl Store {
    /// All mailboxes and subscriptions, a page at a time; what changes meanwhile may or may not be in it.
    pub async fn mailbox_list(&self, account: AccountId, answer: Answer<StoreContract>) {
        let mut stream = answer.stream();
        for subscriptions in [false, true] {
            let mut after = None;
            loop {
                let (part, next) = match self.mailbox_page(account, subscriptions, after.as_deref()) {
                    Ok(page) => page,
                    Err(fault) => return stream.end(Err(fault)).await,
                };
                if part != Mailboxes::default() && stream.send(&Item::Mailboxes(part)).await.is_err() {
                    return;
                }
                match next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
        }
        stream.end(Ok(())).await;
    }

    /// A page behind a key, and the key to go on behind.
    fn mailbox_page(
        &self,
        account: AccountId,
        subscriptions: bool,
        after: Option<&[u8]>,
    ) -> Result<(Mailboxes, Option<Vec<u8>>), Fault> {
        let prefix = if subscriptions { keys::subscriptions(account) } else { keys::mailbox_names(account) };
        let end = keys::behind(&prefix).unwrap_or_default();
        let from = after.unwrap_or(&prefix);
        let mut names: Vec<Vec<u8>> = Vec::new();
        self.engine.visit((Bound::Excluded(from), Bound::Excluded(end.as_slice())), |key, _| {
            names.push(key.to_vec());
            if names.len() < MAILBOX_PAGE { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        let mut page = Mailboxes::default();
        let mut octets = 0;
        let mut next = if names.len() < MAILBOX_PAGE { None } else { names.last().cloned() };
        for key in names {
            let name =
                std::str::from_utf8(&key[prefix.len()..]).ok().and_then(|t| MailboxName::parse(t).ok());
            let name = name.ok_or(Fault::Internal)?;
            octets += name.as_str().len() + 64;
            match self.mailbox(account, &name) {
                Ok(_) if subscriptions => {}
                Ok(mailbox) => {
                    octets +=
                        mailbox.keywords.iter().map(|keyword| keyword.as_str().len() + 2).sum::<usize>();
                    page.mailboxes.push(mailbox);
                }
                Err(Fault::NoMailbox) if subscriptions => page.subscribed_only.push(name),
                // Gone between two reads.
                Err(Fault::NoMailbox) => {}
                Err(fault) => return Err(fault),
            }
            if octets > LIST_OCTETS {
                next = Some(key);
                break;
            }
        }
        Ok((page, next))
    }

    /// One mailbox.
    pub fn mailbox(&self, account: AccountId, name: &MailboxName) -> Result<Mailbox, Fault> {
        let id: MailboxId =
            self.engine.record(&keys::mailbox_name(account, name))?.ok_or(Fault::NoMailbox)?;
        let record = self.engine.record(&keys::mailbox(account, id))?.ok_or(Fault::NoMailbox)?;
        let subscribed = self.engine.get(&keys::subscription(account, name))?.is_some();
        Ok(as_mailbox(record, subscribed))
    }

    /// CREATE.
    pub async fn mailbox_create(
        &self,
        session: &Session,
        name: &MailboxName,
        uses: &[SpecialUse],
    ) -> Result<Changed, Fault> {
        let make = |writer: &mut Writer<'_>| {
            if writer.find(name)?.is_some() {
                return Err(Fault::Exists);
            }
            let id = writer.create_mailbox(name)?;
            writer.set_special_use(id, uses)
        };
        let ((), change) = self.change(session, make).await?;
        Ok(Changed { change })
    }

    /// DELETE. A very large mailbox is emptied in steps first.
    pub async fn mailbox_delete(&self, session: &Session, name: &MailboxName) -> Result<Changed, Fault> {
        if *name == MailboxName::inbox() {
            return Err(Fault::Cannot("Inbox stays".into()));
        }
        loop {
            let step = |writer: &mut Writer<'_>| {
                let id = writer.find(name)?.ok_or(Fault::NoMailbox)?;
                if !writer.below(name)?.is_empty() {
                    return Err(Fault::HasChildren);
                }
                let counts = writer.mailbox(id)?.counts;
                if counts.total as usize + counts.deleted as usize > BULK {
                    let first = first_messages(writer, id, BULK / 2)?;
                    writer.remove(id, first)?;
                    return Ok(false);
                }
                writer.delete_mailbox(id)?;
                Ok(true)
            };
            if let (true, change) = self.change(session, step).await? {
                return Ok(Changed { change });
            }
        }
    }

    /// RENAME, with children; Inbox leaves its name and gives its messages away.
    pub async fn mailbox_rename(
        &self,
        session: &Session,
        from: &MailboxName,
        to: &MailboxName,
    ) -> Result<Changed, Fault> {
        let now = self.now();
        let rename = |writer: &mut Writer<'_>| {
            let id = writer.find(from)?.ok_or(Fault::NoMailbox)?;
            if writer.find(to)?.is_some() {
                return Err(Fault::Exists);
            }
            if *from == MailboxName::inbox() {
                let new = writer.create_mailbox(to)?;
                let messages = writer.messages(id, None)?;
                if messages.len() > BULK {
                    return Err(Fault::Limit("messages moved at once".into()));
                }
                writer.take(id, messages, new, now)?;
                writer.copy_annotations(id, new)?;
                return Ok(());
            }
            if to.is_below(from) {
                return Err(Fault::Cannot("a mailbox cannot move below itself".into()));
            }
            if let Some(parent) = to.parent()
                && writer.find(&parent)?.is_none()
            {
                writer.create_mailbox(&parent)?;
            }
            let mut all = writer.below(from)?;
            all.insert(0, (from.clone(), id));
            for (old, id) in all {
                let new = format!("{}{}", to.as_str(), &old.as_str()[from.as_str().len()..]);
                let new = MailboxName::parse(&new).map_err(|error| Fault::Cannot(error.to_string()))?;
                if writer.tx.get(&keys::mailbox_name(session.account, &new))?.is_some() {
                    return Err(Fault::Exists);
                }
                writer.rename(id, &new)?;
                if writer.tx.get(&keys::subscription(session.account, &old))?.is_some() {
                    writer.subscribe(&old, false)?;
                    writer.subscribe(&new, true)?;
                }
            }
            Ok(())
        };
        let ((), change) = self.change(session, rename).await?;
        Ok(Changed { change })
    }

    /// SUBSCRIBE and UNSUBSCRIBE.
    pub async fn mailbox_subscribe(
        &self,
        session: &Session,
        name: &MailboxName,
        subscribed: bool,
    ) -> Result<Changed, Fault> {
        let ((), change) = self.change(session, |writer| writer.subscribe(name, subscribed)).await?;
        Ok(Changed { change })
    }

    /// How full the account is.
    pub fn quota(&self, session: &Session) -> Result<QuotaState, Fault> {
        let account = crate::accounts::exists(&self.engine, session.account)?.ok_or(Fault::NoAccount)?;
        Ok(QuotaState { used: account.used, limit: self.directory().quota(&session.name).map(ByteCount) })
    }

    /// STORE. Very many messages are changed alike where that can be, else in steps.
    pub async fn flags_change(
        self: &Arc<Self>,
        session: &Session,
        request: FlagsChange,
    ) -> Result<FlagsChanged, Fault> {
        if let Some(outcome) = self.flags_patched(session, &request).await? {
            return Ok(outcome);
        }
        let FlagsChange { mailbox, mut uids, how, flags, mut keywords, unchanged_since, .. } = request;
        keywords.sort_unstable();
        keywords.dedup();
        let mut outcome = FlagsChanged { change: 0, modified: UidSet::new() };
        loop {
            let store = |writer: &mut Writer<'_>| {
                let mut modified = UidSet::new();
                writer.mailbox(mailbox)?;
                let (messages, next) = some_messages(writer, mailbox, &uids, FLAGS_AT_ONCE)?;
                for (uid, message) in messages {
                    if unchanged_since.is_some_and(|since| message.mod_seq > since) {
                        modified.insert(uid);
                        continue;
                    }
                    let (new_flags, new_keywords) = match how {
                        FlagsHow::Replace => (flags, keywords.clone()),
                        FlagsHow::Add => (message.flags.union(flags), merged(&message.keywords, &keywords)),
                        FlagsHow::Remove => {
                            let left = message.keywords.iter().filter(|k| keywords.binary_search(k).is_err());
                            (message.flags.minus(flags), left.cloned().collect())
                        }
                    };
                    if new_flags != message.flags || new_keywords != message.keywords {
                        writer.set_flags(mailbox, uid, message, new_flags, new_keywords)?;
                    }
                }
                Ok((modified, next))
            };
            let ((modified, next), change) = self.change(session, store).await?;
            outcome.change = outcome.change.max(change);
            outcome.modified.extend(&modified);
            if outcome.modified.ranges().len() > FLAGGED_RANGES {
                return Err(Fault::Limit("messages changed meanwhile".into()));
            }
            let Some(next) = next else { return Ok(outcome) };
            uids.remove_range(Uid(0), Uid(next.0 - 1));
        }
    }

    /// Changes the flags of very many messages with one patch: flags that nothing but the counts depends on, of a mailbox
    /// that fits into memory.
    async fn flags_patched(
        self: &Arc<Self>,
        session: &Session,
        request: &FlagsChange,
    ) -> Result<Option<FlagsChanged>, Fault> {
        let (add, remove) = match request.how {
            FlagsHow::Add => (request.flags, Flags::NONE),
            FlagsHow::Remove => (Flags::NONE, request.flags),
            FlagsHow::Replace => return Ok(None),
        };
        let learnt = Flags::NONE.with(Flag::Junk).with(Flag::NotJunk);
        if request.uids.count() <= FLAGS_PATCHED
            || !request.keywords.is_empty()
            || request.flags.minus(learnt) != request.flags
        {
            return Ok(None);
        }
        let live = self.accounts.live(session.account);
        let mut tx = self.engine.begin().await?;
        let lock = live.lock.lock().await;
        // With nothing in flight what is in memory is what this builds on.
        self.engine.settled().await;
        let mut writer = Writer::open(&mut tx, session.account)?;
        if writer.account.upgrade.is_some() {
            return Ok(None);
        }
        let counts = writer.mailbox(request.mailbox)?.counts;
        let there = counts.total as usize + counts.deleted as usize;
        if (there as u64) < HOT_WORTH || there > HOT_ROWS {
            return Ok(None);
        }
        if live.hot.with(request.mailbox, Hot::rows).is_none() {
            self.load(&live, request.mailbox).await?;
        }
        let patch = FlagPatch { mod_seq: writer.mod_seq(), add, remove };
        let plan = |hot: &Hot| hot.planned(&request.uids, patch, request.unchanged_since);
        let Some(planned) = live.hot.with(request.mailbox, plan) else { return Ok(None) };
        if planned.changed.len().max(planned.modified.len()) > FLAGGED_RANGES {
            return Ok(None);
        }
        let mut outcome = FlagsChanged { change: 0, modified: UidSet::new() };
        planned.modified.iter().for_each(|(low, high)| outcome.modified.insert_range(*low, *high));
        if planned.changed.is_empty() {
            return Ok(Some(outcome));
        }
        writer.patch_flags(request.mailbox, planned, patch)?;
        let happened = writer.finish();
        let number = publish(&mut tx, &live, Some(session.id), happened);
        let ticket = tx.submit()?;
        drop(lock);
        ticket.committed().await?;
        outcome.change = told(&number);
        Ok(Some(outcome))
    }

    /// APPEND, all or none.
    pub async fn append(&self, peer: &Peer, session: &Session, request: Append) -> Result<Placed, Fault> {
        if request.messages.is_empty() {
            return Err(Fault::Invalid("nothing to append".into()));
        }
        let mut given = Vec::with_capacity(request.messages.len());
        for message in &request.messages {
            check_prefix(&message.prefix)?;
            given.push(peer.body(&message.body).await?);
        }
        let now = self.now();
        let messages = request.messages.iter().zip(&given);
        let append = |writer: &mut Writer<'_>| {
            let mailbox = writer.find(&request.mailbox)?.ok_or(Fault::NoMailbox)?;
            let more: u64 = messages.clone().map(|(m, body)| body.size + m.prefix.len() as u64).sum();
            if self.over_quota(&session.name, writer.account.used, more) {
                return Err(Fault::OverQuota);
            }
            let mut to = Vec::with_capacity(given.len());
            for (message, body) in messages {
                let (id, uid) = writer.add(mailbox, arrived(message, body.size, now))?;
                let file = writer.file(id);
                let source = writer.tx.change().source(body.source());
                writer.tx.change().create(file, source);
                to.push(uid);
            }
            Ok((mailbox, writer.mailbox(mailbox)?.uid_validity, to))
        };
        let ((mailbox, uid_validity, to), change) = self.change(session, append).await?;
        for message in &request.messages {
            peer.used(&message.body);
        }
        Ok(Placed { change, mailbox, uid_validity, from: Vec::new(), to })
    }

    /// COPY and MOVE, all or none.
    pub async fn copy(&self, session: &Session, request: Copy, missing: Missing) -> Result<Placed, Fault> {
        let now = self.now();
        let copy = |writer: &mut Writer<'_>| {
            writer.mailbox(request.mailbox)?;
            let target = writer.find(&request.to)?.ok_or(Fault::NoMailbox)?;
            let messages = bounded(writer, request.mailbox, &request.uids)?;
            if missing == Missing::Refused && messages.len() as u64 != request.uids.count() {
                return Err(Fault::NoMessage);
            }
            let from: Vec<Uid> = messages.iter().map(|(uid, _)| *uid).collect();
            let to = if request.take {
                writer.take(request.mailbox, messages, target, now)?
            } else {
                let more: u64 = messages.iter().map(|(_, message)| message.size.0).sum();
                if self.over_quota(&session.name, writer.account.used, more) {
                    return Err(Fault::OverQuota);
                }
                let mut to = Vec::with_capacity(messages.len());
                for (_, message) in &messages {
                    let (id, uid) = writer.copy(message, target, now)?;
                    let (old, new) = (writer.file(message.id), writer.file(id));
                    let source = writer.tx.change().source(Source::Existing(old));
                    writer.tx.change().create(new, source);
                    to.push(uid);
                }
                to
            };
            Ok((target, writer.mailbox(target)?.uid_validity, from, to))
        };
        let ((mailbox, uid_validity, from, to), change) = self.change(session, copy).await?;
        Ok(Placed { change, mailbox, uid_validity, from, to })
    }

    /// EXPUNGE and UID EXPUNGE. Very many go in steps; what is reported is all of them.
    pub async fn expunge(
        &self,
        session: &Session,
        request: Expunge,
    ) -> Result<libmox_store::Expunged, Fault> {
        let everything = UidSet::all();
        let uids = request.uids.as_ref().unwrap_or(&everything);
        let mut all = libmox_store::Expunged { change: 0, uids: UidSet::new(), mod_seq: ModSeq(0) };
        loop {
            let expunge = |writer: &mut Writer<'_>| {
                writer.mailbox(request.mailbox)?;
                let mut marked = Vec::new();
                visit_messages(&*writer.tx, writer.id, request.mailbox, uids, |uid, message| {
                    if message.flags.has(Flag::Deleted) && marked.len() <= BULK {
                        marked.push((uid, message));
                    }
                    Ok(())
                })?;
                let more = marked.len() > BULK;
                marked.truncate(BULK);
                Ok((writer.remove(request.mailbox, marked)?, writer.mod_seq(), more))
            };
            let ((gone, mod_seq, more), change) = self.change(session, expunge).await?;
            for (low, high) in gone.ranges() {
                all.uids.insert_range(low, high);
            }
            if change > 0 {
                (all.change, all.mod_seq) = (change, mod_seq);
            }
            if !more {
                return Ok(all);
            }
        }
    }

    /// The content of a message; of a removed one, too, while its file is there.
    pub fn message_open(&self, account: AccountId, id: MsgId) -> Result<(Content, Vec<OwnedFd>), Fault> {
        let place = self.engine.record::<Place>(&keys::place(account, id))?;
        // Between the two reads it can be moved or removed: then its size is not known here.
        let at = place.map(|place| keys::message(account, place.mailbox, place.uid));
        let message = at.map(|at| self.engine.record::<Message>(&at)).transpose()?.flatten();
        let size = match (place, message) {
            (Some(_), message) => message.map(|message| message.size.0 - u64::from(message.prefix)),
            (None, _) => {
                let expunged = self.engine.record::<Expunged>(&keys::expunged(account, id))?;
                let expunged = expunged.ok_or(Fault::NoMessage)?;
                Some(expunged.size.0 - u64::from(expunged.prefix))
            }
        };
        let key = keys::cold(account, id);
        let blob = self.engine.blob(&key)?.ok_or(Fault::NoMessage)?;
        let front = records::decode_front(&key, &blob)?;
        let name = FileName { owner: u64::from(account.0), id: id.0 };
        let (content, descriptors) = self.content(name, front.prefix.into_owned())?;
        if let Some(size) = size.filter(|size| *size != content.size.0) {
            events::unreadable(name, &format!("{} octets instead of {size}", content.size));
            return Err(Fault::Unavailable("message file is damaged".into()));
        }
        Ok((content, descriptors))
    }

    /// The contents of several messages, as far as they fit one reply.
    pub fn messages_open(&self, account: AccountId, ids: &[MsgId]) -> Vec<Option<Content>> {
        let mut room = OPENED_OCTETS;
        let mut open = |id: &MsgId| {
            // Room for the largest that may ride inline: a file is not read for nothing.
            if room < PREFIX_OCTETS + INLINE_OCTETS {
                return None;
            }
            let (content, _) = self.message_open(account, *id).ok()?;
            let octets = content.prefix.len() + content.inline.as_ref()?.len();
            room -= octets;
            Some(content)
        };
        ids.iter().take(OPENED_TOGETHER).map(&mut open).collect()
    }

    /// Prefix and file of a message.
    pub fn content(&self, name: FileName, prefix: Vec<u8>) -> Result<(Content, Vec<OwnedFd>), Fault> {
        let missing = |error: std::io::Error| {
            events::unreadable(name, &error);
            Fault::Unavailable("message file cannot be read".into())
        };
        let mut file = self.engine.files().read(name).map_err(missing)?;
        let size = file.metadata().map_err(missing)?.len();
        if size > INLINE_OCTETS as u64 {
            return Ok((Content { prefix, inline: None, size: ByteCount(size) }, vec![file.into()]));
        }
        // One read: the size is known, and the file does not change.
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
        file.read_exact(&mut bytes).map_err(missing)?;
        let size = ByteCount(size);
        Ok((Content { prefix, inline: Some(bytes.into()), size }, Vec::new()))
    }

    /// Streams records; what changes meanwhile may or may not be in it.
    pub async fn message_list(
        self: &Arc<Self>,
        account: AccountId,
        request: MessageList,
        answer: Answer<StoreContract>,
    ) {
        let mut stream = answer.stream();
        let mailbox = keys::mailbox(account, request.mailbox);
        match self.engine.get(&mailbox) {
            Ok(Some(_)) => {}
            Ok(None) => return stream.end(Err(Fault::NoMailbox)).await,
            Err(error) => return stream.end(Err(error.into())).await,
        }
        let live = self.accounts.live(account);
        let plain = request.want == Want::default();
        let from_memory = !request.want.preview;
        if from_memory && let Err(fault) = self.heat(&live, &request).await {
            return stream.end(Err(fault)).await;
        }
        for (mut low, high) in request.uids.ranges() {
            loop {
                let quick =
                    |hot: &mut Hot| hot.part(low, high, request.changed_since, LIST_RECORDS, LIST_OCTETS);
                let quick = if plain { live.hot.with_mut(request.mailbox, quick) } else { None };
                if let Some(Part { item, next }) = quick {
                    if let Some(item) = item
                        && stream.send_encoded(&item).await.is_err()
                    {
                        return;
                    }
                    match next {
                        Some(next) => low = next,
                        None => break,
                    }
                    continue;
                }
                let rows = |hot: &mut Hot| hot.rows_of(low, high, request.changed_since, ROWS_TOGETHER);
                let rows = if from_memory { live.hot.with_mut(request.mailbox, rows) } else { None };
                if let Some(rows) = rows {
                    let items = match self.with_structures(account, &rows) {
                        Ok(items) => items,
                        Err(fault) => return stream.end(Err(fault)).await,
                    };
                    for item in items {
                        if stream.send_encoded(&item).await.is_err() {
                            return;
                        }
                    }
                    match rows.next {
                        Some(next) => low = next,
                        None => break,
                    }
                    continue;
                }
                let part = self.list_part(account, &request, low, high);
                let (records, next) = match part {
                    Ok(part) => part,
                    Err(fault) => return stream.end(Err(fault)).await,
                };
                if !records.is_empty() && stream.send(&Item::Messages(records)).await.is_err() {
                    return;
                }
                match next {
                    Some(next) => low = next,
                    None => break,
                }
            }
        }
        stream.end(Ok(())).await;
    }

    /// Has the mailbox of a long list in memory.
    async fn heat(self: &Arc<Self>, live: &Live, request: &MessageList) -> Result<(), Fault> {
        if let Some(rows) = live.hot.with(request.mailbox, Hot::rows) {
            self.forget_unused(live.id, request.mailbox, rows);
            return Ok(());
        }
        let key = keys::mailbox(live.id, request.mailbox);
        let Some(record) = self.engine.record::<MailboxRecord>(&key)? else { return Ok(()) };
        let counts = record.counts;
        let there = u64::from(counts.total) + u64::from(counts.deleted);
        if there.min(request.uids.count()) < HOT_WORTH || there > HOT_ROWS as u64 {
            return Ok(());
        }
        // With nothing in flight what is read is what the next commit builds on.
        let _lock = live.lock.lock().await;
        self.engine.settled().await;
        if live.hot.with(request.mailbox, Hot::rows).is_none() {
            self.load(live, request.mailbox).await?;
        }
        Ok(())
    }

    /// Reads a mailbox into memory. Under the account's lock, with nothing in flight.
    async fn load(self: &Arc<Self>, live: &Live, mailbox: MailboxId) -> Result<(), Fault> {
        // A microsecond for each message: the threads that serve everybody must not be gone for so long.
        let (this, account) = (Arc::clone(self), live.id);
        let read = tokio::task::spawn_blocking(move || this.read_hot(account, mailbox));
        let hot = read.await.map_err(|_| Fault::Internal)??;
        self.forget_unused(live.id, mailbox, hot.rows());
        live.hot.put(mailbox, hot);
        Ok(())
    }

    /// The list of a mailbox as the index has it.
    pub(crate) fn read_hot(&self, account: AccountId, mailbox: MailboxId) -> Result<Hot, Fault> {
        let mut hot = Hot::default();
        visit_messages(&self.engine, account, mailbox, &UidSet::all(), |uid, message| {
            hot.set(uid, &Row::new(uid, &message));
            Ok(())
        })?;
        Ok(hot)
    }

    /// Has the words of an account in memory, where they fit; the totals of its filter.
    pub(crate) async fn warm_words(&self, account: AccountId) -> Result<Filter, Fault> {
        let live = self.accounts.live(account);
        let filter = match live.words.with(|table| table.filter) {
            Some(filter) => filter,
            None => self.engine.record(&keys::junk_filter(account))?.unwrap_or_default(),
        };
        let rows = filter.words as usize / WORDS_OF_A_ROW + 1;
        if !filter.is_significant() || rows > HOT_ROWS {
            return Ok(filter);
        }
        if live.words.with(|_| ()).is_none() {
            // With nothing in flight what is read is what the next commit builds on.
            let _lock = live.lock.lock().await;
            self.engine.settled().await;
            if live.words.with(|_| ()).is_none() {
                live.words.put(Some(self.read_words(account)?));
            }
        }
        self.forget_unused(account, MailboxId(0), rows);
        Ok(filter)
    }

    /// The words of an account as the index has them.
    pub(crate) fn read_words(&self, account: AccountId) -> Result<Table, Fault> {
        let filter = self.engine.record(&keys::junk_filter(account))?.unwrap_or_default();
        let mut table = Table { filter, ..Table::default() };
        keys::below(&keys::junk_words(account), |range| {
            self.engine.visit(range, |key, value| {
                if let (Some(word), Some(count)) = (keys::last_word(key), Count::read(value)) {
                    table.words.insert(word, count);
                }
                ControlFlow::Continue(())
            })
        })?;
        Ok(table)
    }

    fn forget_unused(&self, account: AccountId, mailbox: MailboxId, rows: usize) {
        for (account, mailbox) in self.hot.used(account, mailbox, rows) {
            let live = self.accounts.live(account);
            // There is no such mailbox: it stands for the words.
            if mailbox == MailboxId(0) { live.words.put(None) } else { live.hot.forget(mailbox) }
        }
    }

    /// At most one item's worth of records, and the uid to go on from.
    fn list_part(
        &self,
        account: AccountId,
        request: &MessageList,
        low: Uid,
        high: Uid,
    ) -> Result<(Vec<MessageRecord>, Option<Uid>), Fault> {
        let (from, to) =
            (keys::message(account, request.mailbox, low), keys::message(account, request.mailbox, high));
        let mut found: Vec<(Uid, Message)> = Vec::new();
        let mut outcome: Result<(), Fault> = Ok(());
        let range = (Bound::Included(from.as_slice()), Bound::Included(to.as_slice()));
        // Without cold parts a record is small; with them the octets bound the item below.
        self.engine.visit(range, |key, value| {
            let (uid, message) = match (keys::message_uid(key), records::decode::<Message>(key, value)) {
                (Some(uid), Ok(message)) => (uid, message),
                (_, Err(error)) => {
                    outcome = Err(error.into());
                    return ControlFlow::Break(());
                }
                (None, _) => return ControlFlow::Continue(()),
            };
            if request.changed_since.is_none_or(|since| message.mod_seq > since) {
                found.push((uid, message));
            }
            if found.len() >= LIST_RECORDS { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        outcome?;
        let after = |uid: Uid| (uid < high).then(|| Uid(uid.0 + 1));
        let mut next =
            if found.len() >= LIST_RECORDS { found.last().and_then(|(uid, _)| after(*uid)) } else { None };
        let mut records = Vec::with_capacity(found.len());
        let mut octets = 0;
        for (uid, message) in found {
            let record = self.as_record(account, uid, message, request.want)?;
            octets += 64
                + record.structure.len()
                + record.preview.len()
                + record.keywords.iter().map(|keyword| keyword.as_str().len() + 2).sum::<usize>();
            records.push(record);
            if octets > LIST_OCTETS {
                next = after(uid);
                break;
            }
        }
        Ok((records, next))
    }

    /// A message with what is wanted of it.
    pub fn as_record(
        &self,
        account: AccountId,
        uid: Uid,
        message: Message,
        want: Want,
    ) -> Result<MessageRecord, Fault> {
        let (mut structure, mut preview) = (Vec::new(), String::new());
        if want.structure || want.preview {
            let key = keys::cold(account, message.id);
            // Gone with a message that was erased while this list is read.
            match self.engine.blob(&key)? {
                Some(blob) if want.preview => {
                    let cold: Cold = records::decode(&key, &blob)?;
                    preview = cold.facts.preview;
                    if want.structure {
                        structure = cold.facts.structure;
                    }
                }
                Some(blob) => structure = records::decode_front(&key, &blob)?.structure.into_owned(),
                None => {}
            }
        }
        Ok(MessageRecord { structure, preview, ..as_record(uid, message) })
    }

    /// Snapshot and everything after it.
    pub async fn watch(self: &Arc<Self>, session: &Session, request: Watch, answer: Answer<StoreContract>) {
        // What the beginning needs is not kept for as long as the watch lasts.
        if let Some(begun) = Box::pin(self.begin_watch(session, request, answer)).await {
            follow(session, begun).await;
        }
    }

    async fn begin_watch(
        self: &Arc<Self>,
        session: &Session,
        request: Watch,
        answer: Answer<StoreContract>,
    ) -> Option<Begun> {
        let mut stream = answer.stream();
        let taken = self.watched(session, request.mailbox.as_ref(), |live, mailbox| {
            if let Some(snapshot) = live.hot.with(mailbox.id, Hot::snapshot) {
                return Ok(snapshot);
            }
            let mut messages = Vec::with_capacity(messages_of(mailbox));
            visit_messages(&self.engine, live.id, mailbox.id, &UidSet::all(), |uid, message| {
                messages.push(SnapshotMessage { uid, flags: message.flags });
                Ok(())
            })?;
            Ok(messages)
        });
        let (watched, messages) = match taken.await {
            Ok(taken) => taken,
            Err(fault) => {
                stream.end(Err(fault)).await;
                return None;
            }
        };
        for part in messages.unwrap_or_default().chunks(SNAPSHOT_MESSAGES) {
            if stream.send(&Item::Snapshot(part.to_vec())).await.is_err() {
                return None;
            }
        }
        begun(watched, stream).await
    }

    /// The same, where it is enough to know which messages there are.
    pub async fn watch_set(
        self: &Arc<Self>,
        session: &Session,
        name: MailboxName,
        answer: Answer<StoreContract>,
    ) {
        if let Some(begun) = Box::pin(self.begin_watch_set(session, name, answer)).await {
            follow(session, begun).await;
        }
    }

    async fn begin_watch_set(
        self: &Arc<Self>,
        session: &Session,
        name: MailboxName,
        answer: Answer<StoreContract>,
    ) -> Option<Begun> {
        let mut stream = answer.stream();
        match self.open_mailbox(session, &name, &mut stream).await {
            Ok(Ok((watcher, change))) => {
                stream.send(&Item::SnapshotEnd(None, change)).await.ok()?;
                Some(Begun { watcher, stream })
            }
            Ok(Err(Unwanted)) => None,
            Err(fault) => {
                stream.end(Err(fault)).await;
                None
            }
        }
    }

    /// Subscribes, tells of a mailbox at that instant, and which messages are in it. Who opens it need not wait for the
    /// second, which may have to be read; the account's writers do, so that everything is of that instant.
    async fn open_mailbox(
        self: &Arc<Self>,
        session: &Session,
        name: &MailboxName,
        stream: &mut StreamOut<StoreContract>,
    ) -> Result<Result<(Arc<Watcher>, u64), Unwanted>, Fault> {
        let live = self.accounts.live(session.account);
        let lock = live.lock.lock().await;
        self.engine.settled().await;
        let (watcher, change) = live.hub.watch(session.id);
        let mailbox = Box::new(self.mailbox(session.account, name)?);
        let id = mailbox.id;
        let ((runs, unseen), mailbox) = match live.hot.with_mut(id, Hot::known) {
            Some(known) => {
                drop(lock);
                self.forget_unused(live.id, id, messages_of(&mailbox));
                (known, Some(mailbox))
            }
            None => {
                let mut early = false;
                if messages_of(&mailbox) > OPENED_WHOLE
                    && let Some(unseen) = self.first_unseen(live.id, &mailbox)?
                {
                    match stream.send_now(&Item::SnapshotOpen(mailbox.clone(), unseen)) {
                        Ok(sent) => early = sent,
                        Err(unwanted) => return Ok(Err(unwanted)),
                    }
                    // Whoever waits for it has a processor to go on with before this reads on.
                    tokio::time::sleep(OPENED_AHEAD).await;
                }
                let known = self.known(&live, &mailbox).await?;
                drop(lock);
                (known, (!early).then_some(mailbox))
            }
        };
        if let Some(mailbox) = mailbox
            && let Err(unwanted) = stream.send(&Item::SnapshotOpen(mailbox, unseen)).await
        {
            return Ok(Err(unwanted));
        }
        for part in runs.chunks(SNAPSHOT_MESSAGES) {
            let mut set = UidSet::new();
            part.iter().for_each(|(low, high)| set.insert_range(*low, *high));
            if let Err(unwanted) = stream.send(&Item::SnapshotSet(set, None)).await {
                return Ok(Err(unwanted));
            }
        }
        Ok(Ok((watcher, change)))
    }

    /// Which messages there are and the number of the first without `\Seen`. Under the account's lock, with nothing in
    /// flight.
    async fn known(
        self: &Arc<Self>,
        live: &Live,
        mailbox: &Mailbox,
    ) -> Result<(Vec<(Uid, Uid)>, u32), Fault> {
        let there = messages_of(mailbox);
        if there as u64 >= HOT_WORTH && there <= HOT_ROWS {
            self.load(live, mailbox.id).await?;
            if let Some(known) = live.hot.with_mut(mailbox.id, Hot::known) {
                return Ok(known);
            }
        }
        let (mut ranges, mut number, mut unseen) = (Ranges::default(), 0, 0);
        visit_messages(&self.engine, live.id, mailbox.id, &UidSet::all(), |uid, message| {
            ranges.push(uid);
            number += 1;
            if unseen == 0 && !message.flags.has(Flag::Seen) {
                unseen = number;
            }
            Ok(())
        })?;
        Ok((ranges.finish().ranges().collect(), unseen))
    }

    /// The number of the first message without `\Seen`, 0 if there is none, where it is found soon: near the first
    /// message, or near the last where few are without. Under the account's lock, with nothing in flight.
    fn first_unseen(&self, account: AccountId, mailbox: &Mailbox) -> Result<Option<u32>, Fault> {
        let (there, unseen) = (messages_of(mailbox), mailbox.counts.unseen as usize);
        if unseen == 0 {
            return Ok(Some(0));
        }
        let bounds = [Uid(0), Uid(u32::MAX)].map(|uid| keys::message(account, mailbox.id, uid));
        let range = (Bound::Included(bounds[0].as_slice()), Bound::Included(bounds[1].as_slice()));
        let is_unseen = |key: &[u8], value: &[u8]| -> Result<bool, Fault> {
            Ok(!records::decode::<Message>(key, value)?.flags.has(Flag::Seen))
        };
        let (mut at, mut found) = (0, Ok(None));
        self.engine.visit(range, |key, value| {
            at += 1;
            match is_unseen(key, value) {
                Ok(false) if at < UNSEEN_LOOKED_AT => return ControlFlow::Continue(()),
                Ok(false) => {}
                Ok(true) => found = Ok(u32::try_from(at).ok()),
                Err(fault) => found = Err(fault),
            }
            ControlFlow::Break(())
        })?;
        if found != Ok(None) {
            return found;
        }
        // All that are without may be among the last ones: then their first is the first of all.
        let last = mailbox.uid_next.0.saturating_sub(u32::try_from(UNSEEN_LOOKED_AT).unwrap_or(u32::MAX));
        let from = keys::message(account, mailbox.id, Uid(last));
        let range = (Bound::Included(from.as_slice()), Bound::Included(bounds[1].as_slice()));
        let (mut at, mut without, mut first) = (0, 0, 0);
        self.engine.visit(range, |key, value| {
            at += 1;
            match is_unseen(key, value) {
                Ok(is) => {
                    first = if is && without == 0 { at } else { first };
                    without += usize::from(is);
                    return ControlFlow::Continue(());
                }
                Err(fault) => found = Err(fault),
            }
            ControlFlow::Break(())
        })?;
        if found.is_ok() && without == unseen {
            // As many are before it as are not among these, and those among these that are before it.
            found = Ok(u32::try_from(there + first - at).ok());
        }
        found
    }

    /// Subscribes, and looks at a mailbox at that instant. The account's writers wait while it is looked at, so that it
    /// and the number of the last change in it fit exactly.
    async fn watched<T>(
        self: &Arc<Self>,
        session: &Session,
        name: Option<&MailboxName>,
        look: impl FnOnce(&Live, &Mailbox) -> Result<T, Fault>,
    ) -> Result<(Watched, Option<T>), Fault> {
        let live = self.accounts.live(session.account);
        let _lock = live.lock.lock().await;
        self.engine.settled().await;
        let (watcher, change) = live.hub.watch(session.id);
        let Some(name) = name else { return Ok((Watched { watcher, change, mailbox: None }, None)) };
        let mailbox = self.mailbox(session.account, name)?;
        let there = messages_of(&mailbox);
        if there as u64 >= HOT_WORTH && there <= HOT_ROWS && live.hot.with(mailbox.id, Hot::rows).is_none() {
            self.load(&live, mailbox.id).await?;
        }
        let seen = look(&live, &mailbox)?;
        Ok((Watched { watcher, change, mailbox: Some(Box::new(mailbox)) }, Some(seen)))
    }
}

/// A subscription that begins.
struct Watched {
    watcher: Arc<Watcher>,
    /// The last change that its snapshot contains.
    change: u64,
    mailbox: Option<Box<Mailbox>>,
}

fn messages_of(mailbox: &Mailbox) -> usize {
    mailbox.counts.total as usize + mailbox.counts.deleted as usize
}

/// A watch that told what there is.
struct Begun {
    watcher: Arc<Watcher>,
    stream: StreamOut<StoreContract>,
}

/// The end of a snapshot.
async fn begun(watched: Watched, mut stream: StreamOut<StoreContract>) -> Option<Begun> {
    let Watched { watcher, change, mailbox } = watched;
    stream.send(&Item::SnapshotEnd(mailbox, change)).await.ok()?;
    Some(Begun { watcher, stream })
}

/// Everything after it.
async fn follow(session: &Session, Begun { watcher, mut stream }: Begun) {
    let mut ended = session.ended.subscribe();
    loop {
        let next = tokio::select! {
            biased;
            next = watcher.next() => next,
            // A last word may still be in the queue of the watcher, which is asked first.
            _ = ended.wait_for(|ended| *ended) => None,
            () = stream.unwanted() => return,
        };
        match next {
            // Apart: it is waiting that lasts.
            Some(changes) => {
                if Box::pin(stream.send(&Item::Events(changes))).await.is_err() {
                    return;
                }
            }
            None => return Box::pin(stream.end(Ok(()))).await,
        }
    }
}

/// A message that its owner puts there.
pub(crate) fn arrived(message: &AppendMessage, file: u64, now: Timestamp) -> NewMessage {
    NewMessage {
        flags: message.flags,
        keywords: message.keywords.clone(),
        received: message.received,
        saved: now,
        file,
        cold: Cold { prefix: message.prefix.clone(), facts: message.facts.clone(), origin: None },
        arrival: Arrival::Placed,
        marks: Marks::NONE,
        destined: MailboxId(0),
    }
}

/// Messages of a set, not more than may be touched at once.
fn bounded(writer: &Writer<'_>, mailbox: MailboxId, uids: &UidSet) -> Result<Vec<(Uid, Message)>, Fault> {
    let messages = writer.messages(mailbox, Some(uids))?;
    if messages.len() > BULK { Err(Fault::Limit("messages changed at once".into())) } else { Ok(messages) }
}

/// What becomes of a copy of messages one of which is not there.
#[derive(Debug, PartialEq, Eq)]
pub enum Missing {
    /// The others are copied.
    PassedOver,
    /// Nothing is.
    Refused,
}

/// Messages of a mailbox by uid.
type Messages = Vec<(Uid, Message)>;

/// The first messages of a set, and where the others begin.
fn some_messages(
    writer: &Writer<'_>,
    mailbox: MailboxId,
    uids: &UidSet,
    most: usize,
) -> Result<(Messages, Option<Uid>), Fault> {
    let (mut found, mut next) = (Vec::new(), None);
    let visited = visit_messages(&*writer.tx, writer.id, mailbox, uids, |uid, message| {
        if found.len() == most {
            next = Some(uid);
            // Ends the visit; nobody sees it.
            return Err(Fault::Limit(String::new()));
        }
        found.push((uid, message));
        Ok(())
    });
    if next.is_none() {
        visited?;
    }
    Ok((found, next))
}

fn first_messages(
    writer: &Writer<'_>,
    mailbox: MailboxId,
    most: usize,
) -> Result<Vec<(Uid, Message)>, Fault> {
    let mut found = Vec::new();
    let all = UidSet::all();
    visit_messages(&*writer.tx, writer.id, mailbox, &all, |uid, message| {
        if found.len() < most {
            found.push((uid, message));
        }
        Ok(())
    })?;
    Ok(found)
}

/// Both sorted lists in one.
fn merged(have: &[Keyword], more: &[Keyword]) -> Vec<Keyword> {
    let mut all: Vec<Keyword> = have.iter().chain(more).cloned().collect();
    all.sort_unstable();
    all.dedup();
    all
}
