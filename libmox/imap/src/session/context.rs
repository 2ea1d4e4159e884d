//! Results of searches that are kept up to date.
//!
//! Law: RFC 5267 §4.3. A context lives as long as its mailbox is open; a search names messages without order, a sort
//! with places.
//! Does not know: which messages satisfy a key; that is found out anew for those that changed.

use super::{Selected, Session, State};
use crate::command::{By, SearchKey, SortKey};
use crate::limits;
use crate::parse::Dialect;
use crate::response::{self, Code, Status, put, untagged, write_to};
use libmox_types::{Uid, UidSet};

/// One search whose result the client is told of.
#[derive(Debug, Clone)]
pub struct SearchContext {
    /// Of the command that asked for it.
    pub tag: String,
    /// How results are named.
    pub by: By,
    /// Without `$`, `*` and sequence numbers.
    pub key: SearchKey,
    /// For a sort.
    pub order: Option<Vec<SortKey>>,
    /// In order.
    result: Vec<Uid>,
}

impl SearchContext {
    /// What the client believes the result to be.
    #[must_use]
    pub fn result(&self) -> UidSet {
        self.result.iter().copied().collect()
    }
}

impl Session {
    /// Whether a tag is that of a context: RFC 5267 §4.3 forbids to use it for another.
    pub(super) fn has_context(&self, tag: &str) -> bool {
        self.mailbox().is_some_and(|selected| selected.contexts.iter().any(|context| context.tag == tag))
    }

    /// Keeps the result of the running search up to date, or says that it is not.
    pub fn keep_context(
        &mut self,
        by: By,
        key: SearchKey,
        order: Option<Vec<SortKey>>,
        result: Vec<Uid>,
        out: &mut Vec<u8>,
    ) {
        let tag = self.tag();
        let State::Selected(selected) = &mut self.state else { return };
        let too_long = order.is_some() && result.len() > limits::SORTED_CONTEXT;
        if selected.contexts.len() >= limits::CONTEXTS || too_long {
            return untagged(out, Status::No, Some(&Code::NoUpdate(tag)), "too many results to keep");
        }
        selected.contexts.push(SearchContext { tag, by, key, order, result });
    }

    /// Says that the running search is not kept up to date: it was not one of the open mailbox. RFC 7377 §2.2.
    pub fn keeps_no_context(&self, out: &mut Vec<u8>) {
        untagged(out, Status::No, Some(&Code::NoUpdate(self.tag())), "only of the open mailbox");
    }

    /// CANCELUPDATE.
    pub(super) fn cancel_contexts(&mut self, tags: &[String]) {
        if let State::Selected(selected) = &mut self.state {
            selected.contexts.retain(|context| !tags.contains(&context.tag));
        }
    }
}

impl Selected {
    /// What is kept up to date.
    #[must_use]
    pub fn contexts(&self) -> &[SearchContext] {
        &self.contexts
    }

    /// Messages about to be told as removed leave all results first: RFC 5267 §4.3.4.
    pub(super) fn leave_contexts(&mut self, out: &mut Vec<u8>) {
        if self.contexts.is_empty() {
            return;
        }
        for at in 0..self.contexts.len() {
            let gone = self.view.gone(&self.contexts[at].result());
            self.take_from_context(at, &gone, out);
        }
    }

    /// Takes messages out of a result and says so.
    pub fn take_from_context(&mut self, at: usize, uids: &UidSet, out: &mut Vec<u8>) {
        let Some(context) = self.contexts.get_mut(at) else { return };
        let places: Vec<(usize, Uid)> =
            context.result.iter().copied().enumerate().filter(|(_, uid)| uids.contains(*uid)).collect();
        if places.is_empty() {
            return;
        }
        context.result.retain(|uid| !uids.contains(*uid));
        let (by, tag, sorted) = (context.by, context.tag.clone(), context.order.is_some());
        // From the last place to the first: none is moved by those before it.
        let named = places.into_iter().rev();
        self.write_update(&tag, by, "REMOVEFROM", sorted, named, out);
    }

    /// Puts messages into a result and says so; `order` is the whole result where it has one.
    pub fn add_to_context(&mut self, at: usize, uids: &UidSet, order: Option<Vec<Uid>>, out: &mut Vec<u8>) {
        let Some(context) = self.contexts.get_mut(at) else { return };
        if uids.is_empty() {
            return;
        }
        context.result = order.unwrap_or_else(|| {
            let mut all: UidSet = context.result.iter().copied().collect();
            all.extend(uids);
            all.iter().collect()
        });
        let places: Vec<(usize, Uid)> =
            context.result.iter().copied().enumerate().filter(|(_, uid)| uids.contains(*uid)).collect();
        let (by, tag, sorted) = (context.by, context.tag.clone(), context.order.is_some());
        self.write_update(&tag, by, "ADDTO", sorted, places.into_iter(), out);
    }

    fn write_update(
        &self,
        tag: &str,
        by: By,
        what: &str,
        sorted: bool,
        places: impl Iterator<Item = (usize, Uid)>,
        out: &mut Vec<u8>,
    ) {
        let name = |uid: Uid| match by {
            By::Uid => Some(uid),
            By::Seq => self.view.number(uid).map(Uid),
        };
        put(out, "* ESEARCH (TAG ");
        response::string(out, tag.as_bytes(), Dialect::Utf7);
        put(out, ")");
        if by == By::Uid {
            put(out, " UID");
        }
        write_to(out, format_args!(" {what} ("));
        if sorted {
            let mut first = true;
            for (place, uid) in places {
                if let Some(name) = name(uid) {
                    write_to(out, format_args!("{}{} {name}", if first { "" } else { " " }, place + 1));
                    first = false;
                }
            }
        } else {
            let set: UidSet = places.filter_map(|(_, uid)| name(uid)).collect();
            write_to(out, format_args!("0 {set}"));
        }
        put(out, ")\r\n");
    }
}
