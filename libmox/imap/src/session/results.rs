//! How the results of SEARCH, SORT, THREAD and ESEARCH are told and kept.
//!
//! Law: RFC 9051 §6.4.4 and §7.3.4, RFC 4731, RFC 5182, RFC 5256 §4, RFC 5267 §4.4, RFC 7377 §2.1, RFC 9394 §3.

use super::{Selected, Session, State};
use crate::command::{By, MailboxFilter, SearchKey, SearchReturn, Tag};
use crate::parse::Dialect;
use crate::response::{self, put, write_to};
use crate::session::{Ask, Step};
use crate::thread::Threads;
use crate::view::Expunges;
use libmox_types::{MailboxName, ModSeq, Uid, UidSet, UidValidity};
use std::fmt::Display;

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

    /// The result was put in another order, in which these are the first and the last.
    pub fn put_in_order(&mut self, first: ModSeq, last: ModSeq) {
        (self.first, self.last) = (Some(first), last);
    }

    /// RFC 4731 §3.2: with MIN or MAX alone, that of the message named.
    fn of(self, returns: SearchReturn) -> ModSeq {
        let first = self.first.unwrap_or_default();
        match (returns.min, returns.max) {
            _ if returns.all || returns.count || returns.partial.is_some() => self.highest,
            (true, false) => first,
            (false, true) => self.last,
            (true, true) => first.max(self.last),
            (false, false) => self.highest,
        }
    }
}

/// Where an ESEARCH response belongs to, besides its tag.
struct Elsewhere<'a> {
    name: &'a MailboxName,
    uid_validity: UidValidity,
}

impl Session {
    fn running_tag(&self) -> &str {
        self.running.as_ref().map_or("", |running| running.tag.as_str())
    }

    /// The tag of the running command, for whoever waits long for it.
    #[must_use]
    pub fn tag(&self) -> String {
        self.running_tag().to_string()
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
            selected
                .keep(returns, uids, |places| uids.iter().skip(places.start).take(places.len()).collect());
            if !returns.says_something() {
                return;
            }
        }
        self.write_found(by, returns, &named, mod_seqs, None, out);
    }

    /// The result of ESEARCH in one mailbox, in uids. Nothing is said of one where nothing was found.
    pub fn found_in(
        &self,
        name: &MailboxName,
        uid_validity: UidValidity,
        returns: SearchReturn,
        uids: &UidSet,
        mod_seqs: Option<FoundModSeqs>,
        out: &mut Vec<u8>,
    ) {
        if !uids.is_empty() && returns.says_something() {
            let elsewhere = Elsewhere { name, uid_validity };
            self.write_found(By::Uid, returns, uids, mod_seqs, Some(&elsewhere), out);
        }
    }

    fn write_found(
        &self,
        by: By,
        returns: SearchReturn,
        named: &UidSet,
        mod_seqs: Option<FoundModSeqs>,
        elsewhere: Option<&Elsewhere<'_>>,
        out: &mut Vec<u8>,
    ) {
        let count = named.count();
        let result = Result {
            first: named.ranges().next().map(|(low, _)| low),
            last: named.last(),
            all: named,
            count,
            mod_seq: mod_seqs.filter(|_| count > 0).map(|mod_seqs| mod_seqs.of(returns)),
        };
        let window = returns.partial.map(|window| {
            let places = window.places(usize::try_from(count).unwrap_or(usize::MAX));
            named.iter().skip(places.start).take(places.len()).collect::<UidSet>()
        });
        self.write_result(by, returns, &result, window.filter(|part| !part.is_empty()), elsewhere, out);
    }

    /// The result of SORT, in uids and in order.
    pub fn sorted(
        &mut self,
        by: By,
        returns: Option<SearchReturn>,
        uids: &[Uid],
        mod_seqs: Option<FoundModSeqs>,
        out: &mut Vec<u8>,
    ) {
        let State::Selected(selected) = &mut self.state else { return };
        let named: Vec<Uid> = match by {
            By::Uid => uids.to_vec(),
            By::Seq => uids.iter().filter_map(|uid| selected.view.number(*uid).map(Uid)).collect(),
        };
        let Some(returns) = returns else {
            put(out, "* SORT");
            named.iter().for_each(|number| write_to(out, format_args!(" {number}")));
            if let Some(mod_seqs) = mod_seqs.filter(|_| !named.is_empty()) {
                write_to(out, format_args!(" (MODSEQ {})", mod_seqs.highest.0.max(1)));
            }
            put(out, "\r\n");
            return;
        };
        if returns.save {
            let all: UidSet = uids.iter().copied().collect();
            selected.keep(returns, &all, |places| uids[places].iter().copied().collect());
            if !returns.says_something() {
                return;
            }
        }
        let result = Result {
            first: named.first().copied(),
            last: named.last().copied(),
            all: InOrder(&named),
            count: named.len() as u64,
            mod_seq: mod_seqs.filter(|_| !named.is_empty()).map(|mod_seqs| mod_seqs.of(returns)),
        };
        let window = returns.partial.map(|window| &named[window.places(named.len())]);
        let window = window.filter(|part| !part.is_empty()).map(InOrder);
        self.write_result(by, returns, &result, window, None, out);
    }

    fn write_result(
        &self,
        by: By,
        returns: SearchReturn,
        result: &Result<impl Display>,
        window: Option<impl Display>,
        elsewhere: Option<&Elsewhere<'_>>,
        out: &mut Vec<u8>,
    ) {
        put(out, "* ESEARCH (TAG ");
        response::string(out, self.running_tag().as_bytes(), Dialect::Utf7);
        if let Some(Elsewhere { name, uid_validity }) = elsewhere {
            put(out, " MAILBOX ");
            response::mailbox(out, name.as_str(), self.dialect());
            write_to(out, format_args!(" UIDVALIDITY {uid_validity}"));
        }
        put(out, ")");
        if by == By::Uid {
            put(out, " UID");
        }
        if let (Some(first), Some(last)) = (result.first, result.last) {
            if returns.min {
                write_to(out, format_args!(" MIN {first}"));
            }
            if returns.max {
                write_to(out, format_args!(" MAX {last}"));
            }
            if returns.all {
                write_to(out, format_args!(" ALL {}", result.all));
            }
        }
        if returns.count {
            write_to(out, format_args!(" COUNT {}", result.count));
        }
        if let Some(places) = returns.partial {
            match window {
                Some(part) => write_to(out, format_args!(" PARTIAL ({places} {part})")),
                None => write_to(out, format_args!(" PARTIAL ({places} NIL)")),
            }
        }
        if let Some(mod_seq) = result.mod_seq {
            write_to(out, format_args!(" MODSEQ {}", mod_seq.0.max(1)));
        }
        put(out, "\r\n");
    }

    /// The result of THREAD, in uids.
    pub fn threaded(&mut self, by: By, threads: &Threads, out: &mut Vec<u8>) {
        let State::Selected(selected) = &self.state else { return };
        put(out, "* THREAD ");
        threads.write(out, |uid| match by {
            By::Uid => Some(uid.0),
            By::Seq => selected.view.number(uid),
        });
        // RFC 5256 §5 thread-data: no space where there is no thread.
        if out.ends_with(b" ") {
            out.pop();
        }
        put(out, "\r\n");
    }

    /// A search that was to be kept failed. RFC 5182 §2.1: the kept result is empty then.
    pub fn search_failed(&mut self) {
        if let State::Selected(selected) = &mut self.state {
            selected.saved = UidSet::new();
        }
    }

    /// RFC 7377 §2: the states, and what goes with what.
    pub(super) fn esearch(
        &mut self,
        tag: Tag,
        sources: Vec<MailboxFilter>,
        returns: SearchReturn,
        key: SearchKey,
    ) -> std::result::Result<Step, (Tag, &'static str)> {
        let selected = match &self.state {
            State::Selected(selected) => Some(selected),
            _ => None,
        };
        let here = sources.contains(&MailboxFilter::Selected);
        // RFC 7377 §2.2: only what is open is kept up to date.
        if (here || returns.update) && selected.is_none() {
            return Err((tag, "select a mailbox first"));
        }
        if returns.update && self.has_context(tag.as_str()) {
            return Err((tag, "the tag is that of a search kept up to date"));
        }
        if returns.save && sources != [MailboxFilter::Selected] {
            return Err((tag, "only results of the selected mailbox can be saved"));
        }
        let elsewhere = key.clone();
        let key = match selected {
            Some(selected) => selected.resolve(key),
            None => key,
        };
        self.run(tag, Expunges::Told);
        Ok(Step::Ask(Ask::Esearch { sources, returns, key, elsewhere }))
    }

    /// A key that came by another way than a command, for the open mailbox.
    #[must_use]
    pub fn resolve(&self, key: SearchKey) -> SearchKey {
        match &self.state {
            State::Selected(selected) => selected.resolve(key),
            _ => key,
        }
    }

    /// Keeps the result of an ESEARCH in the open mailbox as `$`.
    pub fn keep_found(&mut self, returns: SearchReturn, uids: &UidSet) {
        if let (true, State::Selected(selected)) = (returns.save, &mut self.state) {
            selected
                .keep(returns, uids, |places| uids.iter().skip(places.start).take(places.len()).collect());
        }
    }
}

/// What can be said of a result.
struct Result<A> {
    first: Option<Uid>,
    last: Option<Uid>,
    all: A,
    count: u64,
    mod_seq: Option<ModSeq>,
}

impl Selected {
    /// RFC 5182 §2.1, RFC 9394 §3.2: with MIN, MAX or PARTIAL alone, only those are kept. `part` takes places of
    /// the result in its order.
    fn keep(
        &mut self,
        returns: SearchReturn,
        uids: &UidSet,
        part: impl Fn(std::ops::Range<usize>) -> UidSet,
    ) {
        let some = returns.min || returns.max || returns.partial.is_some();
        if returns.all || returns.count || !some {
            self.saved = uids.clone();
            return;
        }
        let count = usize::try_from(uids.count()).unwrap_or(usize::MAX);
        let mut kept = returns.partial.map(|window| part(window.places(count))).unwrap_or_default();
        if returns.min && count > 0 {
            kept.extend(&part(0..1));
        }
        if returns.max && count > 0 {
            kept.extend(&part(count - 1..count));
        }
        self.saved = kept;
    }
}

/// Numbers in an order of their own; neighbours that ascend are a range.
struct InOrder<'a>(&'a [Uid]);

impl Display for InOrder<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut at = 0;
        while at < self.0.len() {
            let start = at;
            while self.0.get(at + 1).is_some_and(|next| next.0 == self.0[at].0 + 1) {
                at += 1;
            }
            let comma = if start > 0 { "," } else { "" };
            if at > start {
                write!(f, "{comma}{}:{}", self.0[start], self.0[at])?;
            } else {
                write!(f, "{comma}{}", self.0[start])?;
            }
            at += 1;
        }
        Ok(())
    }
}
