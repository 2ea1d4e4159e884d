//! What is known of stored messages, found out anew (rows CL-13, ST-41): after the parser learnt something.
//!
//! The store parses nothing: each file goes to `mox-verify` as a descriptor open for reading, what comes back replaces
//! the facts of the message, with everything that follows from them: under which Message-ID and subject others find it,
//! whom it counts for, its words. Its thread stays, as do its modseq and uid: `bumpuidvalidity` makes clients look again.
//! A step is one change; mail goes on between two.
//!
//! Fails with: `Fault`; the steps before it are kept, and a repeat finds nothing to do for them.

use crate::accounts::publish;
use crate::engine::FileName;
use crate::junk::{pack, words_of};
use crate::keys;
use crate::limits::{REPAIRED, UPGRADE_STEP};
use crate::records::{Read, Training, decode_front, encode, put_blob};
use crate::store::Store;
use crate::upgrade::step_of;
use crate::writer::Writer;
use libmox_store::{Facts, Fault};
use libmox_types::{AccountId, ByteCount, MsgId};
use libmox_verify::{Parse, Verifier};
use std::fs::File;

impl Store {
    /// All messages of one account, or those that were never parsed.
    pub(crate) async fn reparse(
        &self,
        name: &str,
        id: AccountId,
        missing: bool,
        dry: bool,
    ) -> Result<Vec<String>, Fault> {
        let parser = self.parser.get().ok_or_else(|| Fault::Cannot("mox-verify is not there".into()))?;
        let (mut lines, mut changed, mut total, mut after) = (Vec::new(), 0u64, 0u64, MsgId(0));
        loop {
            let ids = {
                let mut tx = self.engine.begin().await?;
                let writer = Writer::open(&mut tx, id)?;
                step_of(&writer, after)?.0
            };
            let Some(last) = ids.last().copied() else { break };
            after = last;
            total += ids.len() as u64;
            debug_assert!(ids.len() <= UPGRADE_STEP, "a step is bounded");
            let mut found = Vec::with_capacity(ids.len());
            for message in ids {
                if missing && self.is_parsed(id, message)? {
                    continue;
                }
                match self.parse_file(parser, FileName { owner: u64::from(id.0), id: message.0 }).await? {
                    Ok(facts) => found.push((message, facts)),
                    Err(why) if lines.len() < REPAIRED => {
                        lines.push(format!("{name}: message {message}: {why}"));
                    }
                    Err(_) => {}
                }
            }
            changed += self.take_facts(name, id, found, dry).await?;
        }
        if changed > 0 {
            lines.push(format!("{name}: {changed} of {total} messages are known better"));
        }
        Ok(lines)
    }

    fn is_parsed(&self, account: AccountId, message: MsgId) -> Result<bool, Fault> {
        let key = keys::cold(account, message);
        let Some(blob) = self.engine.blob(&key)? else { return Ok(true) };
        Ok(!decode_front(&key, &blob)?.structure.is_empty())
    }

    /// Inner: why this one message cannot be parsed. Outer: no message can.
    async fn parse_file(&self, parser: &Verifier, name: FileName) -> Result<Result<Facts, String>, Fault> {
        let path = self.engine.files().path(name);
        let opened = File::open(&path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (size, file) = match opened {
            Ok(opened) => opened,
            Err(error) => return Ok(Err(error.to_string())),
        };
        match parser.ask_with(Parse { size: ByteCount(size) }, vec![file.into()]).await {
            Ok((facts, _)) => Ok(Ok(facts)),
            Err(error) => match error.fault() {
                Some(fault) => Ok(Err(fault.to_string())),
                None => Err(Fault::Cannot(format!("mox-verify does not answer: {error}"))),
            },
        }
    }

    /// One step; how many messages had other facts.
    async fn take_facts(
        &self,
        name: &str,
        id: AccountId,
        found: Vec<(MsgId, Facts)>,
        dry: bool,
    ) -> Result<u64, Fault> {
        let live = self.accounts.live(id);
        let mut tx = self.engine.begin().await?;
        let lock = live.lock.lock().await;
        let habits = self.directory().habits(name);
        let mut writer = Writer::open(&mut tx, id)?.with_habits(habits);
        let mut changed = 0;
        for (message, facts) in found {
            changed += u64::from(writer.know(message, facts)?);
        }
        if dry || changed == 0 {
            return Ok(changed);
        }
        let happened = writer.finish_unseen();
        publish(&mut tx, &live, None, happened);
        let ticket = tx.submit()?;
        drop(lock);
        ticket.committed().await?;
        Ok(changed)
    }
}

impl Writer<'_> {
    /// Replaces what is known of a message that may be gone by now; whether anything was different.
    fn know(&mut self, id: MsgId, mut facts: Facts) -> Result<bool, Fault> {
        let Some((place, mut message)) = self.message(id)? else { return Ok(false) };
        let mut text = std::mem::take(&mut facts.words);
        if !self.habits.words {
            text.clear();
        }
        let words = pack(&words_of(&text, self.habits.grams));
        let same_words = self.tx.blob(&keys::words(self.id, id))?.unwrap_or_default() == words;
        let mut cold = self.cold(id)?;
        if same_words && cold.facts == facts {
            return Ok(false);
        }
        // What was derived from the old facts goes with their help.
        self.unlist_signals(&message)?;
        if !same_words {
            self.untrain(&message)?;
            message.trained = Training::None;
        }
        cold.facts = facts;
        put_blob(self.tx, &keys::cold(self.id, id), &encode(&cold));
        self.tie_anew(&message, &cold.facts)?;
        if !same_words {
            self.keep_words(id, &text);
            self.train(&mut message)?;
        }
        self.list_signals(&message)?;
        self.put_message(place.mailbox, place.uid, &message);
        Ok(true)
    }
}
