//! REPLACE: a new message and the removal of the old one in one change (RFC 8508, rows IM-27, TR-51).

use crate::mail::arrived;
use crate::store::{Peer, Session, Store, check_prefix};
use crate::writer::Writer;
use libmox_store::{Fault, Placed, Replace};
use libmox_types::UidSet;

impl Store {
    /// See [`Replace`].
    pub async fn replace(&self, peer: &Peer, session: &Session, request: Replace) -> Result<Placed, Fault> {
        let Replace { mailbox, uid, to, message, .. } = request;
        check_prefix(&message.prefix)?;
        let body = peer.body(&message.body).await?;
        let now = self.now();
        let uids: UidSet = [uid].into_iter().collect();
        let replace = |writer: &mut Writer<'_>| {
            writer.mailbox(mailbox)?;
            let old = writer.messages(mailbox, Some(&uids))?;
            let size = old.first().ok_or(Fault::NoMessage)?.1.size.0;
            let target = writer.find(&to)?.ok_or(Fault::NoMailbox)?;
            // What goes makes room, though its file stays for a while.
            let used = libmox_types::ByteCount(writer.account.used.0.saturating_sub(size));
            if self.over_quota(&session.name, used, body.size + message.prefix.len() as u64) {
                return Err(Fault::OverQuota);
            }
            let (id, new) = writer.add(target, arrived(&message, body.size, now))?;
            let file = writer.file(id);
            let source = writer.tx.change().source(body.source());
            writer.tx.change().create(file, source);
            writer.remove(mailbox, old)?;
            Ok((target, writer.mailbox(target)?.uid_validity, new))
        };
        let ((target, uid_validity, new), change) = self.change(session, replace).await?;
        peer.used(&message.body);
        Ok(Placed { change, mailbox: target, uid_validity, from: vec![uid], to: vec![new] })
    }
}
