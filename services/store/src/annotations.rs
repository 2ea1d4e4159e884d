//! Annotations of mailboxes and of the account (RFC 5464, row ST-25).
//!
//! A mailbox's annotations belong to its id: they follow a rename and go with the mailbox. Each change gives the
//! mailbox a new modseq (row ST-10). The account's record counts entries and octets, so limits cost nothing to check.

use crate::keys;
use crate::limits::LIST_OCTETS;
use crate::records::{self, AnnotationRecord, Read, encode, put_blob};
use crate::store::{Session, Store};
use crate::writer::Writer;
use libmox_ipc::Answer;
use libmox_store::{
    ANNOTATION_NAME_OCTETS, ANNOTATION_OCTETS, ANNOTATIONS, Annotation, AnnotationList, AnnotationSet,
    Changed, Event, Fault, Item, SHARED_ANNOTATIONS, SharedAnnotationList, SharedAnnotationSet,
    StoreContract,
};
use libmox_types::{AccountId, MailboxId, MailboxName};

/// RFC 5464 §3.1: case does not matter, and a component is not empty.
fn entry_name(text: &str) -> Result<String, Fault> {
    let name = text.to_lowercase();
    let sane = name.starts_with('/')
        && !name.ends_with('/')
        && !name.contains("//")
        && name.len() <= ANNOTATION_NAME_OCTETS
        && !name.contains(|c: char| c.is_control() || c == '*' || c == '%');
    if sane { Ok(name) } else { Err(Fault::Invalid("name of an annotation".into())) }
}

fn is_shared(name: &str) -> bool {
    name.strip_prefix(SHARED_ANNOTATIONS).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Writer<'_> {
    /// What a name, or none, says is to be annotated: a mailbox, or the account.
    fn annotated(&mut self, name: Option<&MailboxName>) -> Result<Option<MailboxId>, Fault> {
        name.map(|name| self.find(name)?.ok_or(Fault::NoMailbox)).transpose()
    }

    fn annotate(
        &mut self,
        mailbox: Option<MailboxId>,
        name: String,
        value: Option<&[u8]>,
        text: bool,
    ) -> Result<(), Fault> {
        let at = mailbox.unwrap_or(MailboxId(0));
        let (key, value_key) =
            (keys::annotation(self.id, at, &name), keys::annotation_value(self.id, at, &name));
        let before: Option<AnnotationRecord> = self.tx.record(&key)?;
        if before.is_none() && value.is_none() {
            return Ok(());
        }
        let (entries, octets) = &mut self.account.annotations;
        if let Some(before) = before {
            *entries = entries.saturating_sub(1);
            *octets = octets.saturating_sub(name.len() as u64 + u64::from(before.octets));
        }
        if let Some(value) = value {
            *entries += 1;
            *octets += (name.len() + value.len()) as u64;
            if *entries > ANNOTATIONS {
                return Err(Fault::Limit("annotations".into()));
            }
            if *octets > ANNOTATION_OCTETS {
                return Err(Fault::Limit("octets of annotations".into()));
            }
        }
        records::delete_blob(self.tx, &value_key)?;
        let mod_seq = self.mod_seq();
        match value {
            Some(value) => {
                let octets = u32::try_from(value.len()).map_err(|_| Fault::BadSize)?;
                let create_seq = before.map_or(mod_seq, |before| before.create_seq);
                let record = AnnotationRecord { mod_seq, create_seq, text, octets };
                self.tx.change().put(key, encode(&record));
                put_blob(self.tx, &value_key, value);
            }
            None => self.tx.change().delete(key),
        }
        if let Some(mailbox) = mailbox {
            self.change_mailbox(mailbox)?;
        }
        self.event(Event::Annotation { mailbox, name, there: value.is_some(), mod_seq });
        Ok(())
    }

    /// RFC 5464 §4.1: what Inbox gives its messages to gets its annotations too (row IM-46).
    pub fn copy_annotations(&mut self, from: MailboxId, to: MailboxId) -> Result<(), Fault> {
        for (name, record) in annotations(&*self.tx, self.id, from)? {
            let value = self.tx.blob(&keys::annotation_value(self.id, from, &name))?.unwrap_or_default();
            self.annotate(Some(to), name, Some(&value), record.text)?;
        }
        Ok(())
    }

    /// The mailbox goes, and its annotations with it.
    pub fn forget_annotations(&mut self, mailbox: MailboxId) -> Result<(), Fault> {
        for (name, _) in annotations(&*self.tx, self.id, mailbox)? {
            self.annotate(Some(mailbox), name, None, false)?;
        }
        Ok(())
    }
}

/// Names and records of the annotations of a mailbox, by name.
pub fn annotations(
    read: &impl Read,
    account: AccountId,
    mailbox: MailboxId,
) -> Result<Vec<(String, AnnotationRecord)>, Fault> {
    let prefix = keys::annotations(account, mailbox);
    let mut all = Vec::new();
    read.records(&prefix, |key, record: AnnotationRecord| {
        all.push((String::from_utf8_lossy(&key[prefix.len()..]).into_owned(), record));
        Ok(())
    })?;
    Ok(all)
}

impl Store {
    /// SETMETADATA, all or none. Row DF-03: what is shared is the administrator's.
    pub async fn annotation_set(&self, session: &Session, request: AnnotationSet) -> Result<Changed, Fault> {
        let mut changes = Vec::with_capacity(request.changes.len());
        for change in &request.changes {
            let name = entry_name(&change.name)?;
            if is_shared(&name) {
                return Err(Fault::NotYours);
            }
            changes.push((name, change.value.as_ref().map(|value| &value[..]), change.text));
        }
        let set = |writer: &mut Writer<'_>| {
            let mailbox = writer.annotated(request.mailbox.as_ref())?;
            for (name, value, text) in changes {
                writer.annotate(mailbox, name, value, text)?;
            }
            Ok(())
        };
        let ((), change) = self.change(session, set).await?;
        Ok(Changed { change })
    }

    /// What the administrator says to the people of an account, or to their mail programs (row DF-03).
    pub async fn shared_annotation_set(&self, request: SharedAnnotationSet) -> Result<Changed, Fault> {
        let name = entry_name(&request.change.name)?;
        if !is_shared(&name) {
            return Err(Fault::Invalid(format!("not below {SHARED_ANNOTATIONS}/: its owner sets it")));
        }
        let id = self.account_id(&request.account)?;
        let set = |writer: &mut Writer<'_>| {
            let mailbox = writer.annotated(request.mailbox.as_ref())?;
            writer.annotate(
                mailbox,
                name,
                request.change.value.as_ref().map(|value| &value[..]),
                request.change.text,
            )
        };
        let ((), change) = self.change_of(id, &request.account, None, set).await?;
        Ok(Changed { change })
    }

    /// All of those.
    pub fn shared_annotation_list(&self, request: &SharedAnnotationList) -> Result<Vec<Annotation>, Fault> {
        let id = self.account_id(&request.account)?;
        let all = self.annotation_items(id, request.mailbox.as_ref())?.into_iter().flatten();
        Ok(all.filter(|annotation| is_shared(&annotation.name)).collect())
    }

    /// Annotations of one mailbox or of the account.
    pub async fn annotation_list(
        &self,
        account: AccountId,
        request: AnnotationList,
        answer: Answer<StoreContract>,
    ) {
        let mut stream = answer.stream();
        let items = match self.annotation_items(account, request.mailbox.as_ref()) {
            Ok(items) => items,
            Err(fault) => return stream.end(Err(fault)).await,
        };
        for item in items {
            if stream.send(&Item::Annotations(item)).await.is_err() {
                return;
            }
        }
        stream.end(Ok(())).await;
    }

    fn annotation_items(
        &self,
        account: AccountId,
        mailbox: Option<&MailboxName>,
    ) -> Result<Vec<Vec<Annotation>>, Fault> {
        let read = &self.engine;
        let mailbox = match mailbox {
            Some(name) => read.record(&keys::mailbox_name(account, name))?.ok_or(Fault::NoMailbox)?,
            None => MailboxId(0),
        };
        let (mut items, mut octets) = (Vec::new(), 0);
        let mut item = Vec::new();
        for (name, record) in annotations(read, account, mailbox)? {
            let value = read.blob(&keys::annotation_value(account, mailbox, &name))?.unwrap_or_default();
            if !item.is_empty() && octets + value.len() > LIST_OCTETS {
                items.push(std::mem::take(&mut item));
                octets = 0;
            }
            octets += value.len() + name.len() + 32;
            let AnnotationRecord { mod_seq, create_seq, text, .. } = record;
            item.push(Annotation { name, text, value, mod_seq, create_seq });
        }
        if !item.is_empty() {
            items.push(item);
        }
        Ok(items)
    }
}
