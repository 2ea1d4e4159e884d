//! The open mailbox: what SELECT tells of it, what sets mean in it, how results of a search are named.
//!
//! Law: RFC 9051 §6.3.2, §6.4.4 and §7.3.4; RFC 2180 for messages that are gone; RFC 4731, RFC 5182.

use super::{Opened, Session, State};
use crate::command::{Access, By, SearchKey, SearchReturn};
use crate::parse::Dialect;
use crate::response::{self, Code, Status, put, untagged, write_to};
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
    /// What the client knows of it.
    pub view: View,
    /// The highest modseq that came by.
    pub mod_seq: ModSeq,
    /// The highest below which the client was told everything.
    told_mod_seq: ModSeq,
    /// Keywords the client has seen in FLAGS, sorted.
    keywords: Vec<Keyword>,
    /// `$`
    saved: UidSet,
}

impl Session {
    /// The mailbox is open: tells of it. The tagged answer is [`Self::complete`]'s, with [`Code::ReadWrite`]
    /// or [`Code::ReadOnly`].
    pub fn selected(&mut self, opened: Opened, out: &mut Vec<u8>) {
        let dialect = self.dialect();
        write_flags(out, &opened.keywords);
        response::exists(out, opened.view.exists());
        if !self.enabled.rev2 {
            put(out, "* 0 RECENT\r\n");
            if let Some(number) = opened.first_unseen.and_then(|uid| opened.view.number(uid)) {
                untagged(out, Status::Ok, Some(&Code::Unseen(number)), "first unseen");
            }
        }
        untagged(out, Status::Ok, Some(&Code::UidValidity(opened.uid_validity)), "uids valid");
        untagged(out, Status::Ok, Some(&Code::UidNext(opened.uid_next)), "predicted next uid");
        write_permanent_flags(out, opened.access, &opened.keywords);
        untagged(out, Status::Ok, Some(&Code::HighestModSeq(opened.mod_seq)), "highest");
        untagged(out, Status::Ok, Some(&Code::MailboxId(opened.id)), "id");
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
        }));
    }

    /// The result of a search, in uids: writes it in the form asked for, and keeps it where that was asked for.
    pub fn found(
        &mut self,
        by: By,
        returns: Option<SearchReturn>,
        uids: &UidSet,
        mod_seqs: Option<FoundModSeqs>,
        out: &mut Vec<u8>,
    ) {
        let State::Selected(selected) = &mut self.state else { return };
        let named = match by {
            By::Uid => uids.clone(),
            By::Seq => selected.view.numbers_of(uids),
        };
        let Some(returns) = returns else {
            put(out, "* SEARCH");
            named.iter().for_each(|number| write_to(out, format_args!(" {number}")));
            if let Some(mod_seqs) = mod_seqs.filter(|_| !named.is_empty()) {
                write_to(out, format_args!(" (MODSEQ {})", mod_seqs.highest.0.max(1)));
            }
            put(out, "\r\n");
            return;
        };
        if returns.save {
            // RFC 5182 §2.1: with MIN or MAX alone, only those are kept.
            selected.saved = if returns.all || returns.count || !(returns.min || returns.max) {
                uids.clone()
            } else {
                let first = uids.ranges().next().map(|(low, _)| low).filter(|_| returns.min);
                first.into_iter().chain(uids.last().filter(|_| returns.max)).collect()
            };
            if !returns.says_something() {
                return;
            }
        }
        put(out, "* ESEARCH (TAG ");
        let tag = self.running.as_ref().map_or("", |running| running.tag.as_str());
        response::string(out, tag.as_bytes(), Dialect::Utf7);
        put(out, ")");
        if by == By::Uid {
            put(out, " UID");
        }
        if let (Some((low, _)), Some(high)) = (named.ranges().next(), named.last()) {
            if returns.min {
                write_to(out, format_args!(" MIN {low}"));
            }
            if returns.max {
                write_to(out, format_args!(" MAX {high}"));
            }
            if returns.all {
                write_to(out, format_args!(" ALL {named}"));
            }
        }
        if returns.count {
            write_to(out, format_args!(" COUNT {}", named.count()));
        }
        if let Some(mod_seqs) = mod_seqs.filter(|_| !named.is_empty()) {
            write_to(out, format_args!(" MODSEQ {}", mod_seqs.of(returns).0.max(1)));
        }
        put(out, "\r\n");
    }

    /// A search that was to be kept failed. RFC 5182 §2.1: the kept result is empty then.
    pub fn search_failed(&mut self) {
        if let State::Selected(selected) = &mut self.state {
            selected.saved = UidSet::new();
        }
    }
}

/// Modseqs of the messages a search found.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct FoundModSeqs {
    first: Option<ModSeq>,
    last: ModSeq,
    highest: ModSeq,
}

impl FoundModSeqs {
    /// Takes in the next one, in the order of the result.
    pub fn note(&mut self, mod_seq: ModSeq) {
        self.first = self.first.or(Some(mod_seq));
        self.last = mod_seq;
        self.highest = self.highest.max(mod_seq);
    }

    /// RFC 4731 §3.2: with MIN or MAX alone, that of the message named.
    fn of(self, returns: SearchReturn) -> ModSeq {
        let first = self.first.unwrap_or_default();
        match (returns.min, returns.max) {
            _ if returns.all || returns.count => self.highest,
            (true, false) => first,
            (false, true) => self.last,
            (true, true) => first.max(self.last),
            (false, false) => self.highest,
        }
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
    pub(super) fn tell(&mut self, expunges: Expunges, with_mod_seq: bool, out: &mut Vec<u8>) -> Told {
        let keywords = self.view.pending_keywords();
        self.announce(&keywords, out);
        let told = self.view.tell(expunges, with_mod_seq, out);
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
