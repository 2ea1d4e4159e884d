//! Annotations and quota.
//!
//! Law: RFC 5464, RFC 9590, RFC 9208; rows IM-22, IM-23, IM-29.
//! Row DF-03: entries below `/private/` are set by whoever reads them, those below `/shared/` by the administrator.

use crate::connection::{Connection, Done};
use crate::error::Failure;
use crate::watch::OwnFlags;
use libmox_imap::command::{GetMetadata, MetadataValue};
use libmox_imap::metadata::{self, Entry};
use libmox_imap::response::Code;
use libmox_store::{
    ANNOTATION_OCTETS, Annotation, AnnotationChange, AnnotationList, AnnotationSet, Fault, Item,
    MailboxStatus, Quota, Request, StoreError,
};
use libmox_types::MailboxName;

impl Connection {
    pub(crate) async fn annotations(&self, mailbox: Option<MailboxName>) -> Result<Vec<Annotation>, Failure> {
        let list = AnnotationList { session: self.session_id()?, mailbox };
        let mut items = self.shared.store.stream(Request::AnnotationList(list)).await?;
        let mut all = Vec::new();
        while let Some(item) = items.next().await {
            if let Item::Annotations(some) = item? {
                all.extend(some);
            }
        }
        Ok(all)
    }

    pub(crate) async fn get_metadata(&mut self, get: &GetMetadata) -> Result<Done, Failure> {
        let all = self.annotations(get.mailbox.clone()).await?;
        let mut longest = 0;
        let mut entries = Vec::new();
        for annotation in all.iter().filter(|annotation| get.names(&annotation.name)) {
            let size = annotation.value.len() as u64;
            if get.max_size.is_some_and(|most| size > most) {
                longest = longest.max(size);
            } else {
                entries.push(as_entry(annotation));
            }
        }
        let name = get.mailbox.as_ref().map(MailboxName::as_str);
        metadata::write_values(self.wire.output(), name, &entries, self.session.dialect());
        Ok(if longest > 0 { Done::with(Code::MetadataLongEntries(longest)) } else { Done::OK })
    }

    pub(crate) async fn set_metadata(
        &mut self,
        mailbox: Option<MailboxName>,
        entries: Vec<(String, Option<MetadataValue>)>,
    ) -> Result<Done, Failure> {
        let change = |(name, value): (String, Option<MetadataValue>)| AnnotationChange {
            name,
            text: value.as_ref().is_none_or(|value| value.text),
            value: value.map(|value| value.octets.into()),
        };
        let changes = entries.into_iter().map(change).collect();
        let verb = AnnotationSet { session: self.session_id()?, mailbox, changes };
        match self.shared.store.ask(verb).await {
            Ok(changed) => {
                self.see_change(changed.change, OwnFlags::Known).await?;
                Ok(Done::OK)
            }
            Err(StoreError::Fault(Fault::Limit(what))) if what == "annotations" => {
                Err(Failure::no(Code::MetadataTooMany, "too many annotations"))
            }
            Err(StoreError::Fault(Fault::Limit(_))) => Err(Failure::no(
                Code::MetadataMaxSize(ANNOTATION_OCTETS),
                "annotations are too large together",
            )),
            // RFC 5530 §3.
            Err(StoreError::Fault(Fault::NotYours)) => {
                Err(Failure::no(Code::NoPerm, "shared annotations are set by the administrator"))
            }
            Err(StoreError::Fault(Fault::Invalid(_))) => {
                Err(Failure::no(Code::Cannot, "not a valid entry name"))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// RFC 9590 §3: of each mailbox listed, with NIL for what it does not have.
    pub(crate) async fn list_metadata<'a>(
        &mut self,
        name: MailboxName,
        wanted: &'a [String],
    ) -> Result<(), Failure> {
        let all = match self.annotations(Some(name.clone())).await {
            Ok(all) => all,
            // Gone this moment.
            Err(Failure::No(Some(Code::NonExistent), _)) => return Ok(()),
            Err(failure) => return Err(failure),
        };
        let entry = |name: &'a String| match all.iter().find(|annotation| annotation.name == *name) {
            Some(annotation) => as_entry(annotation),
            None => Entry { name, value: None },
        };
        let entries: Vec<Entry<'_>> = wanted.iter().map(entry).collect();
        metadata::write_values(self.wire.output(), Some(name.as_str()), &entries, self.session.dialect());
        Ok(())
    }

    pub(crate) async fn quota(&mut self, root: &str) -> Result<Done, Failure> {
        if !root.is_empty() {
            return Err(Failure::no(Code::NonExistent, "no such quota root"));
        }
        let quota = self.shared.store.ask(Quota { session: self.session_id()? }).await?;
        metadata::write_quota(self.wire.output(), quota.used.0, quota.limit.map(|limit| limit.0));
        Ok(Done::OK)
    }

    pub(crate) async fn quota_root(&mut self, name: MailboxName) -> Result<Done, Failure> {
        let session = self.session_id()?;
        let mailbox = self.shared.store.ask(MailboxStatus { session, name }).await?;
        let dialect = self.session.dialect();
        metadata::write_quota_root(self.wire.output(), mailbox.name.as_str(), dialect);
        self.quota("").await
    }
}

fn as_entry(annotation: &Annotation) -> Entry<'_> {
    Entry { name: &annotation.name, value: Some((&annotation.value, annotation.text)) }
}
