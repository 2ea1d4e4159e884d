//! What ties messages to each other, read from their cold parts a piece at a time.

use crate::keys;
use crate::limits::{LIST_OCTETS, LIST_RECORDS};
use crate::records::{self, Cold, Message, Read};
use crate::store::Store;
use crate::writer::visit_messages;
use libmox_ipc::Answer;
use libmox_store::{Fault, Item, MessageReferences, ReferenceList, StoreContract};
use libmox_types::{AccountId, Uid};

impl Store {
    /// See [`ReferenceList`].
    pub async fn reference_list(
        &self,
        account: AccountId,
        request: ReferenceList,
        answer: Answer<StoreContract>,
    ) {
        let mut stream = answer.stream();
        let mut found: Vec<(Uid, Message)> = Vec::new();
        let visited =
            visit_messages(&self.engine, account, request.mailbox, &request.uids, |uid, message| {
                found.push((uid, message));
                Ok(())
            });
        if let Err(fault) = visited {
            return stream.end(Err(fault)).await;
        }
        let (mut item, mut octets) = (Vec::new(), 0);
        for (uid, message) in found {
            match self.references_of(account, uid, &message) {
                Ok(Some(references)) => {
                    octets += 64
                        + references.message_id.len()
                        + references.base_subject.len()
                        + references.references.iter().map(|id| id.len() + 2).sum::<usize>();
                    item.push(references);
                }
                // Erased while this list is read.
                Ok(None) => continue,
                Err(fault) => return stream.end(Err(fault)).await,
            }
            if octets > LIST_OCTETS || item.len() >= LIST_RECORDS {
                octets = 0;
                if stream.send(&Item::References(std::mem::take(&mut item))).await.is_err() {
                    return;
                }
            }
        }
        if !item.is_empty() && stream.send(&Item::References(item)).await.is_err() {
            return;
        }
        stream.end(Ok(())).await;
    }

    fn references_of(
        &self,
        account: AccountId,
        uid: Uid,
        message: &Message,
    ) -> Result<Option<MessageReferences>, Fault> {
        let key = keys::cold(account, message.id);
        let Some(blob) = self.engine.blob(&key)? else { return Ok(None) };
        let facts = records::decode::<Cold>(&key, &blob)?.facts;
        Ok(Some(MessageReferences {
            uid,
            sent: facts.date.unwrap_or(message.received),
            message_id: facts.message_id,
            references: facts.references,
            base_subject: facts.base_subject,
            answer: facts.answer,
        }))
    }
}
