//! Tokens of URLs (RFC 4467): made of a secret of the mailbox, checked here, so that who asks need not be trusted.
//!
//! | secret of a mailbox | |
//! |---|---|
//! | made | with the first token |
//! | forgotten | by RESETKEY, and with the mailbox; every token made of it is worthless then |
//!
//! A crash leaves the secret or none: a token is given out after its secret is written.

use crate::keys;
use crate::records::{self, Message, Read, encode};
use crate::secrets;
use crate::store::{Session, Store};
use crate::writer::Writer;
use aws_lc_rs::hmac;
use libmox_store::{Changed, Event, Fault, URLS, UrlClaim, UrlContent, UrlOpen, UrlReader, Want};
use libmox_types::{AccountId, Address, Flags, MailboxId, MailboxName, ModSeq};
use serde_bytes::ByteBuf;
use std::os::fd::OwnedFd;

/// Octets of a secret.
const SECRET: usize = 32;

fn signer(secret: &[u8]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, secret)
}

/// What a token covers.
fn covered(claim: &UrlClaim) -> Result<Vec<u8>, Fault> {
    postcard::to_allocvec(claim).map_err(|_| Fault::Internal)
}

impl Store {
    /// The account that signs in with an address, if it may.
    fn account_of(&self, text: &str) -> Option<(String, AccountId)> {
        let address = Address::parse(text).ok()?;
        let directory = self.directory();
        let (name, id) = directory.login(&address)?;
        if directory.login_disabled(name).is_some() { None } else { Some((name.to_string(), id)) }
    }

    /// See [`libmox_store::UrlSign`].
    pub async fn url_sign(&self, session: &Session, claims: &[UrlClaim]) -> Result<Vec<ByteBuf>, Fault> {
        if claims.len() > URLS {
            return Err(Fault::Limit("URLs".into()));
        }
        if claims
            .iter()
            .any(|claim| self.account_of(&claim.owner).is_none_or(|(_, id)| id != session.account))
        {
            return Err(Fault::NotYours);
        }
        let live = self.accounts.live(session.account);
        let mut tx = self.engine.begin().await?;
        let lock = live.lock.lock().await;
        let (mut tokens, mut fresh) = (Vec::with_capacity(claims.len()), false);
        for claim in claims {
            let mailbox: Option<MailboxId> =
                tx.record(&keys::mailbox_name(session.account, &claim.mailbox))?;
            let key = keys::url_key(session.account, mailbox.ok_or(Fault::NoMailbox)?);
            let secret = match tx.record::<Vec<u8>>(&key)? {
                Some(secret) => secret,
                None => {
                    let secret = secrets::random(SECRET);
                    tx.change().put(key, encode(&secret));
                    fresh = true;
                    secret
                }
            };
            let token = hmac::sign(&signer(&secret), &covered(claim)?);
            tokens.push(ByteBuf::from(token.as_ref().to_vec()));
        }
        if fresh {
            let ticket = tx.submit()?;
            drop(lock);
            ticket.committed().await?;
        }
        Ok(tokens)
    }

    /// See [`libmox_store::UrlReset`].
    pub async fn url_reset(
        &self,
        session: &Session,
        mailbox: Option<&MailboxName>,
    ) -> Result<Changed, Fault> {
        let reset = |writer: &mut Writer<'_>| {
            let mailbox = match mailbox {
                Some(name) => Some(writer.find(name)?.ok_or(Fault::NoMailbox)?),
                None => None,
            };
            match mailbox {
                Some(mailbox) => writer.tx.change().delete(keys::url_key(session.account, mailbox)),
                None => {
                    for key in writer.tx.keys_below(&keys::url_keys(session.account))? {
                        writer.tx.change().delete(key);
                    }
                }
            }
            writer.event(Event::UrlKey { mailbox });
            Ok(())
        };
        let ((), change) = self.change(session, reset).await?;
        Ok(Changed { change })
    }

    /// See [`UrlOpen`].
    pub fn url_open(
        &self,
        session: &Session,
        request: &UrlOpen,
    ) -> Result<(UrlContent, Vec<OwnedFd>), Fault> {
        let claim = &request.claim;
        let owner = self.account_of(&claim.owner);
        let mailbox: Option<MailboxId> = match &owner {
            Some((_, id)) => self.engine.record(&keys::mailbox_name(*id, &claim.mailbox))?,
            None => None,
        };
        let place = owner.as_ref().map(|(_, id)| *id).zip(mailbox);
        let secret: Option<Vec<u8>> = match place {
            Some((owner, mailbox)) => self.engine.record(&keys::url_key(owner, mailbox))?,
            None => None,
        };
        // RFC 4467 §6: whether there is such a person or mailbox must not be told by the time it takes.
        let known = secret.is_some();
        let secret = secret.unwrap_or_else(|| secrets::random(SECRET));
        let verified = hmac::verify(&signer(&secret), &covered(claim)?, &request.token).is_ok();
        let (Some((owner, mailbox)), true, true) = (place, known, verified) else {
            return Err(Fault::NotFound);
        };
        let welcome = match &claim.reader {
            // RFC 4467 §3: for whom it submits is for the submission server to find out.
            UrlReader::Submission(_) => self.directory().is_submission_server(&session.name),
            UrlReader::Person(address) => {
                self.account_of(address).is_some_and(|(_, id)| id == session.account)
            }
            UrlReader::Anybody => true,
        };
        if !welcome || claim.expire.is_some_and(|expire| expire <= self.now()) {
            return Err(Fault::NotFound);
        }
        let record: records::MailboxRecord =
            self.engine.record(&keys::mailbox(owner, mailbox))?.ok_or(Fault::NotFound)?;
        if claim.uid_validity.is_some_and(|validity| validity != record.uid_validity) {
            return Err(Fault::NotFound);
        }
        let message: Message =
            self.engine.record(&keys::message(owner, mailbox, claim.uid))?.ok_or(Fault::NotFound)?;
        let (content, descriptors) = match self.message_open(owner, message.id) {
            Err(Fault::NoMessage) => return Err(Fault::NotFound),
            opened => opened?,
        };
        let want = Want { structure: true, preview: false };
        let mut record = self.as_record(owner, claim.uid, message, want)?;
        (record.flags, record.keywords, record.mod_seq) = (Flags::NONE, Vec::new(), ModSeq(0));
        Ok((UrlContent { record, content }, descriptors))
    }
}
