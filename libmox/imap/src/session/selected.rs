//! The open mailbox: what SELECT tells of it, what sets mean in it.
//!
//! Law: RFC 9051 §6.3.2 and §7.3.4; RFC 2180 for messages that are gone.

use super::{Opened, SearchContext, Session, State};
use crate::command::{Access, By, SearchKey};
use crate::response::{self, Code, Status, Style, put, untagged};
use crate::seqset::SeqSet;
use crate::view::{Expunges, Told, View};
use libmox_types::{Flags, Keyword, MailboxId, MailboxName, ModSeq, UidSet};

/// The open mailbox.
#[derive(Debug)]
pub struct Selected {
    /// Which.
    pub id: MailboxId,
    /// Its name when it was opened.
    pub name: MailboxName,
    /// How it was opened.
    pub access: Access,
    /// What the client knows of it. Whoever opened the mailbox puts the messages in before the next command.
    pub view: View,
    /// The highest modseq that came by.
    pub mod_seq: ModSeq,
    /// The highest below which the client was told everything.
    told_mod_seq: ModSeq,
    /// Keywords the client has seen in FLAGS, sorted.
    keywords: Vec<Keyword>,
    /// `$`
    pub(super) saved: UidSet,
    /// Searches kept up to date.
    pub(super) contexts: Vec<SearchContext>,
}

impl Session {
    /// The mailbox is open: tells of it. The tagged answer is [`Self::complete`]'s, with [`Code::ReadWrite`]
    /// or [`Code::ReadOnly`].
    pub fn selected(&mut self, opened: Opened, out: &mut Vec<u8>) {
        let dialect = self.dialect();
        write_flags(out, &opened.keywords);
        response::exists(out, opened.exists);
        if !self.enabled.rev2 {
            put(out, "* 0 RECENT\r\n");
            if let Some(number) = opened.first_unseen.filter(|_| !self.enabled.uid_only) {
                untagged(out, Status::Ok, Some(&Code::Unseen(number)), "first unseen");
            }
        }
        untagged(out, Status::Ok, Some(&Code::UidValidity(opened.uid_validity)), "uids valid");
        untagged(out, Status::Ok, Some(&Code::UidNext(opened.uid_next)), "predicted next uid");
        write_permanent_flags(out, opened.access, &opened.keywords);
        untagged(out, Status::Ok, Some(&Code::HighestModSeq(opened.mod_seq)), "highest");
        untagged(out, Status::Ok, Some(&Code::MailboxId(opened.id)), "id");
        if !self.is_off("URLAUTH") {
            untagged(out, Status::Ok, Some(&Code::UrlMech), "mechanisms");
        }
        if self.enabled.rev2 {
            put(out, "* LIST () \"/\" ");
            response::mailbox(out, opened.name.as_str(), dialect);
            put(out, "\r\n");
        }
        self.state = State::Selected(Box::new(Selected {
            id: opened.id,
            name: opened.name,
            access: opened.access,
            view: opened.view,
            mod_seq: opened.mod_seq,
            told_mod_seq: opened.mod_seq,
            keywords: opened.keywords,
            saved: UidSet::new(),
            contexts: Vec::new(),
        }));
    }
}

impl Selected {
    /// The highest modseq below which the client was told everything.
    #[must_use]
    pub fn told_mod_seq(&self) -> ModSeq {
        self.told_mod_seq
    }

    /// Keywords about to be told of a message: RFC 9051 §7.3.5 names them in FLAGS first.
    pub fn announce(&mut self, keywords: &[Keyword], out: &mut Vec<u8>) {
        let known = self.keywords.len();
        for keyword in keywords {
            if let Err(at) = self.keywords.binary_search(keyword) {
                self.keywords.insert(at, keyword.clone());
            }
        }
        if self.keywords.len() > known {
            write_flags(out, &self.keywords);
            write_permanent_flags(out, self.access, &self.keywords);
        }
    }

    /// See [`View::tell`].
    pub(super) fn tell(&mut self, expunges: Expunges, style: Style, out: &mut Vec<u8>) -> Told {
        if expunges != Expunges::Held {
            self.leave_contexts(out);
        }
        let keywords = self.view.pending_keywords();
        self.announce(&keywords, out);
        let told = self.view.tell(expunges, style, out);
        if expunges != Expunges::Held && told != Told::More {
            self.told_mod_seq = self.mod_seq;
        }
        told
    }

    /// The uids a set names, known or not.
    pub(super) fn uids_named(&self, set: &SeqSet) -> UidSet {
        set.uids(self.view.last_uid()).unwrap_or_else(|| self.saved.clone())
    }

    pub(super) fn uids_by_uid(&self, set: &SeqSet) -> UidSet {
        match set.uids(self.view.last_uid()) {
            Some(uids) => self.view.known(&uids),
            None => self.view.known(&self.saved),
        }
    }

    /// The uids a set names, and whether some named by number are gone already.
    pub(super) fn resolve_set(&self, by: By, set: &SeqSet) -> Result<(UidSet, bool), &'static str> {
        let mut uids = match (by, set.numbers(self.view.exists())) {
            (By::Seq, Some(Err(_))) => return Err("no message has that number"),
            (By::Seq, Some(Ok(numbers))) => self.view.uids_of(&numbers),
            _ => self.uids_by_uid(set),
        };
        let gone = self.view.gone(&uids);
        let missing = by == By::Seq && !gone.is_empty();
        uids.subtract(&gone);
        Ok((uids, missing))
    }

    pub(super) fn resolve(&self, key: SearchKey) -> SearchKey {
        match key {
            SearchKey::Seq(set) => SearchKey::Among(match set.numbers_within(self.view.exists()) {
                Some(numbers) => self.view.uids_of(&numbers),
                None => self.saved.clone(),
            }),
            SearchKey::Uid(set) => SearchKey::Among(self.uids_by_uid(&set)),
            SearchKey::Not(key) => SearchKey::Not(Box::new(self.resolve(*key))),
            SearchKey::Or(a, b) => SearchKey::Or(Box::new(self.resolve(*a)), Box::new(self.resolve(*b))),
            SearchKey::And(keys) => SearchKey::And(keys.into_iter().map(|key| self.resolve(key)).collect()),
            key => key,
        }
    }
}

/// `* FLAGS (...)`: what is in use.
fn write_flags(out: &mut Vec<u8>, keywords: &[Keyword]) {
    put(out, "* FLAGS ");
    response::flag_list(out, every_flag(), keywords);
    put(out, "\r\n");
}

/// What can be changed for good.
fn write_permanent_flags(out: &mut Vec<u8>, access: Access, keywords: &[Keyword]) {
    put(out, "* OK [PERMANENTFLAGS ");
    if access == Access::ReadOnly {
        put(out, "()");
    } else {
        response::flag_list(out, every_flag(), keywords);
        out.pop();
        put(out, " \\*)");
    }
    put(out, "] flags\r\n");
}

fn every_flag() -> Flags {
    libmox_types::Flag::ALL.iter().map(|(flag, _)| *flag).collect()
}
