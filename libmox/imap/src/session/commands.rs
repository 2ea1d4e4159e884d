//! Each command in each state: what it asks of the driver, or what is answered at once.
//!
//! Law: RFC 9051 §6, and the extensions named at each command.

use super::{Ask, Running, Session, State, Step, Telling};
use crate::command::{Access, By, Command, FetchItem, SearchKey, SearchReturn, StatusItem, Tag};
use crate::response::{self, Code, Status, put, tagged, untagged, write_to};
use crate::seqset::SeqSet;
use crate::view::{Expunges, View};

impl Session {
    fn anywhere(
        &mut self,
        tag: Tag,
        command: Command,
        out: &mut Vec<u8>,
    ) -> Result<Step, (Tag, &'static str)> {
        match command {
            Command::Capability => {
                write_to(out, format_args!("* CAPABILITY {}\r\n", self.capabilities()));
                tagged(out, Some(&tag), Status::Ok, None, "done");
                Ok(Step::Done)
            }
            Command::Logout => {
                response::bye(out, None, "logging out");
                tagged(out, Some(&tag), Status::Ok, None, "done");
                self.state = State::Logout;
                Ok(Step::Close)
            }
            Command::Id(pairs) => {
                // Row IM-31: who we are is told to those who signed in.
                if self.is_signed_in() {
                    put(out, "* ID (\"name\" \"mox\" \"version\" \"");
                    put(out, env!("CARGO_PKG_VERSION"));
                    put(out, "\")\r\n");
                } else {
                    put(out, "* ID (\"name\" \"mox\")\r\n");
                }
                self.ask(tag, Ask::Id(pairs))
            }
            Command::StartTls => Err((tag, "not possible now")),
            Command::Login { .. } | Command::Authenticate { .. } => Err((tag, "already logged in")),
            _ => Err((tag, "log in first")),
        }
    }

    pub(super) fn before_login(
        &mut self,
        tag: Tag,
        command: Command,
        out: &mut Vec<u8>,
    ) -> Result<Step, (Tag, &'static str)> {
        match command {
            Command::Noop => {
                tagged(out, Some(&tag), Status::Ok, None, "done");
                Ok(Step::Done)
            }
            Command::StartTls if self.offers.starttls => {
                let text = format!("begin TLS negotiation now ({})", self.offers.cid);
                tagged(out, Some(&tag), Status::Ok, None, &text);
                Ok(Step::StartTls)
            }
            Command::Login { .. } | Command::Authenticate { .. } if !self.offers.passwords => {
                tagged(out, Some(&tag), Status::No, Some(&Code::PrivacyRequired), "TLS required");
                Ok(Step::Done)
            }
            Command::Login { user, password } => self.ask(tag, Ask::Login { user, password }),
            Command::Authenticate { mechanism, initial } => {
                if self.offers.mechanisms.iter().any(|offered| **offered == mechanism) {
                    return self.ask(tag, Ask::Authenticate { mechanism, initial });
                }
                tagged(out, Some(&tag), Status::No, None, "mechanism not offered");
                Ok(Step::Done)
            }
            command => self.anywhere(tag, command, out),
        }
    }

    pub(super) fn after_login(
        &mut self,
        tag: Tag,
        command: Command,
        out: &mut Vec<u8>,
    ) -> Result<Step, (Tag, &'static str)> {
        let ask = match command {
            Command::Noop | Command::Check => Ask::Poll,
            Command::Enable(names) => {
                self.enable(&names, out);
                tagged(out, Some(&tag), Status::Ok, None, "done");
                return Ok(Step::Done);
            }
            // RFC 9586: no numbers to match.
            Command::Select { params, .. }
                if self.enabled.uid_only && params.qresync.as_ref().is_some_and(|q| q.matched.is_some()) =>
            {
                tagged(out, Some(&tag), Status::Bad, Some(&Code::UidRequired), "numbers are switched off");
                return Ok(Step::Done);
            }
            // RFC 7162 §3.2.5.
            Command::Select { params, .. } if params.qresync.is_some() && !self.enabled.qresync => {
                return Err((tag, "QRESYNC is not enabled"));
            }
            Command::Select { mailbox, access, params } => {
                let left = self.let_go(out);
                self.enabled.condstore |= params.condstore;
                Ask::Select { mailbox, access, params, left }
            }
            Command::Create { mailbox, uses } => Ask::Create(mailbox, uses),
            Command::Delete(mailbox) => Ask::Delete(mailbox),
            Command::Rename { from, to } => Ask::Rename(from, to),
            Command::Subscribe(mailbox) => Ask::Subscribe(mailbox, true),
            Command::Unsubscribe(mailbox) => Ask::Subscribe(mailbox, false),
            // RFC 9051 §6.3.9: an empty pattern asks for the separator and the root.
            Command::List(list) if !list.extended && list.patterns.iter().all(String::is_empty) => {
                put(out, "* LIST (\\Noselect) \"/\" \"\"\r\n");
                tagged(out, Some(&tag), Status::Ok, None, "done");
                return Ok(Step::Done);
            }
            Command::List(list) => Ask::List(list),
            Command::Lsub { reference, pattern } => Ask::Lsub(reference, pattern),
            Command::Namespace => {
                put(out, "* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n");
                tagged(out, Some(&tag), Status::Ok, None, "done");
                return Ok(Step::Done);
            }
            Command::Status { mailbox, items } => {
                if items.has(StatusItem::HighestModSeq) {
                    self.speak_of_mod_seqs(out);
                }
                Ask::Status(mailbox, items)
            }
            Command::Compress(mechanism) => return Ok(self.compress(&tag, &mechanism, out)),
            Command::GetMetadata(get) => Ask::GetMetadata(get),
            Command::SetMetadata { mailbox, entries } => Ask::SetMetadata(mailbox, entries),
            Command::GetQuota(root) => Ask::Quota(root),
            Command::GetQuotaRoot(mailbox) => Ask::QuotaRoot(mailbox),
            Command::Idle => {
                response::continuation(out, "idling");
                self.running = Some(Running { tag, expunges: Expunges::Told, idle: true, removes: false });
                return Ok(Step::Ask(Ask::Idle));
            }
            Command::Notify(notify) => {
                self.telling = match &notify {
                    None => Telling::Nothing,
                    Some(notify) => notify.selected.clone().map_or(Telling::Nothing, Telling::Chosen),
                };
                Ask::Notify(notify)
            }
            Command::CancelUpdate(tags) => {
                if let Some(unknown) = tags.iter().find(|tag| !self.has_context(tag)) {
                    let text = format!("no search {unknown} is kept up to date");
                    tagged(out, Some(&tag), Status::Bad, None, &text);
                    return Ok(Step::Done);
                }
                self.cancel_contexts(&tags);
                tagged(out, Some(&tag), Status::Ok, None, "done");
                return Ok(Step::Done);
            }
            Command::Unauthenticate => Ask::Unauthenticate,
            Command::GenUrlAuth(urls) => Ask::GenUrlAuth(urls),
            Command::ResetKey(mailbox) => Ask::ResetKey(mailbox),
            Command::UrlFetch(urls) => Ask::UrlFetch(urls),
            Command::Esearch { sources, returns, key } => return self.esearch(tag, sources, returns, key),
            Command::Close
            | Command::Unselect
            | Command::Expunge(_)
            | Command::Search { .. }
            | Command::Sort { .. }
            | Command::Thread { .. }
            | Command::Fetch { .. }
            | Command::Store { .. }
            | Command::Copy { .. }
            | Command::Move { .. } => return self.in_mailbox(tag, command, out),
            command => return self.anywhere(tag, command, out),
        };
        self.ask(tag, ask)
    }

    fn in_mailbox(
        &mut self,
        tag: Tag,
        command: Command,
        out: &mut Vec<u8>,
    ) -> Result<Step, (Tag, &'static str)> {
        let rev2 = self.enabled.rev2;
        let State::Selected(selected) = &self.state else { return Err((tag, "select a mailbox first")) };
        if self.enabled.uid_only && names_numbers(&command) {
            tagged(out, Some(&tag), Status::Bad, Some(&Code::UidRequired), "numbers are switched off");
            return Ok(Step::Done);
        }
        if let Command::Search { returns: Some(returns), .. } | Command::Sort { returns: Some(returns), .. } =
            &command
            && returns.update
            && self.has_context(tag.as_str())
        {
            return Err((tag, "the tag is that of a search kept up to date"));
        }
        let read_only = selected.access == Access::ReadOnly;
        let changes = matches!(command, Command::Expunge(_) | Command::Store { .. } | Command::Move { .. });
        if read_only && changes {
            tagged(out, Some(&tag), Status::No, Some(&Code::ReadOnly), "mailbox is open for reading only");
            return Ok(Step::Done);
        }
        let mut expunges = Expunges::Told;
        let ask = match command {
            Command::Close | Command::Unselect => {
                let id = selected.id;
                let expunge = command == Command::Close && !read_only;
                self.state = State::Authenticated;
                if expunge {
                    Ask::CloseExpunge(id)
                } else {
                    tagged(out, Some(&tag), Status::Ok, None, "closed");
                    return Ok(Step::Done);
                }
            }
            Command::Expunge(None) => Ask::Expunge(None),
            Command::Expunge(Some(set)) => Ask::Expunge(Some(selected.uids_by_uid(&set))),
            Command::Search { by, returns, key } => {
                if by == By::Seq {
                    expunges = Expunges::Held;
                }
                let condstore = key.any(&mut |key| matches!(key, SearchKey::ModSeq(_)));
                if returns.is_some_and(|returns| returns.partial.is_some() && returns.save && returns.all) {
                    return Err((tag, "PARTIAL and ALL do not go together"));
                }
                let key = selected.resolve(key);
                // RFC 9051 §6.4.4: the answer of a revision 2 server is ESEARCH.
                let returns =
                    returns.or_else(|| rev2.then(|| SearchReturn { all: true, ..SearchReturn::default() }));
                if condstore {
                    self.speak_of_mod_seqs(out);
                }
                Ask::Search { by, returns, key }
            }
            Command::Sort { by, returns, order, key } => {
                if by == By::Seq {
                    expunges = Expunges::Held;
                }
                Ask::Sort { by, returns, order, key: selected.resolve(key) }
            }
            Command::Thread { by, how, key } => {
                if by == By::Seq {
                    expunges = Expunges::Held;
                }
                Ask::Thread { by, how, key: selected.resolve(key) }
            }
            Command::Fetch { by, set, items, changed_since, vanished, window } => {
                // RFC 7162 §3.2.6.
                if vanished && !self.enabled.qresync {
                    return Err((tag, "QRESYNC is not enabled"));
                }
                let vanished = vanished.then(|| selected.uids_named(&set));
                let (mut uids, missing) = match selected.resolve_set(by, &set) {
                    Ok(resolved) => resolved,
                    Err(text) => return Err((tag, text)),
                };
                if by == By::Seq {
                    expunges = Expunges::Held;
                }
                // RFC 9394 §3.4: first these, of them those that changed.
                if let Some(window) = window {
                    let places = window.places(usize::try_from(uids.count()).unwrap_or(usize::MAX));
                    uids = uids.iter().skip(places.start).take(places.len()).collect();
                }
                let sets_seen = !read_only && items.iter().any(FetchItem::sets_seen);
                if items.contains(&FetchItem::ModSeq) {
                    self.speak_of_mod_seqs(out);
                }
                Ask::Fetch { uids, items, changed_since, vanished, sets_seen, by, missing }
            }
            Command::Store { by, set, change, silent, unchanged_since } => {
                let (uids, missing) = match selected.resolve_set(by, &set) {
                    Ok(resolved) => resolved,
                    Err(text) => return Err((tag, text)),
                };
                if by == By::Seq {
                    expunges = Expunges::Held;
                }
                if unchanged_since.is_some() {
                    self.speak_of_mod_seqs(out);
                }
                Ask::Store { uids, change, silent, unchanged_since, by, missing }
            }
            Command::Copy { by, set, to } => match selected.resolve_set(by, &set) {
                Ok((uids, missing)) => Ask::Copy { uids, to, take: false, by, missing },
                Err(text) => return Err((tag, text)),
            },
            Command::Move { by, set, to } => match selected.resolve_set(by, &set) {
                Ok((uids, missing)) => Ask::Copy { uids, to, take: true, by, missing },
                Err(text) => return Err((tag, text)),
            },
            _ => return Err((tag, "not possible now")),
        };
        self.run(tag, expunges);
        if let Some(running) = &mut self.running {
            running.removes = matches!(ask, Ask::Expunge(_) | Ask::Copy { .. });
        }
        Ok(Step::Ask(ask))
    }

    /// RFC 4978 §3. Only those who signed in may have us keep a window for them.
    fn compress(&mut self, tag: &Tag, mechanism: &str, out: &mut Vec<u8>) -> Step {
        if self.compressed {
            tagged(out, Some(tag), Status::No, Some(&Code::CompressionActive), "DEFLATE is active already");
        } else if mechanism != "DEFLATE" {
            tagged(out, Some(tag), Status::No, None, "unknown mechanism");
        } else {
            self.compressed = true;
            tagged(out, Some(tag), Status::Ok, None, "DEFLATE active");
            return Step::StartDeflate;
        }
        Step::Done
    }

    fn let_go(&mut self, out: &mut Vec<u8>) -> Option<Box<View>> {
        let State::Selected(selected) = &mut self.state else { return None };
        let view = Box::new(std::mem::take(&mut selected.view));
        self.state = State::Authenticated;
        // RFC 9051 §7.1: from here on untagged data is of the next mailbox.
        untagged(out, Status::Ok, Some(&Code::Closed), "previous mailbox closed");
        Some(view)
    }
}

/// Whether a command speaks of messages by number. RFC 9586.
fn names_numbers(command: &Command) -> bool {
    let key_does = |key: &SearchKey| key.any(&mut |key| matches!(key, SearchKey::Seq(SeqSet::Ranges(_))));
    match command {
        Command::Search { by, key, .. } | Command::Sort { by, key, .. } | Command::Thread { by, key, .. } => {
            *by == By::Seq || key_does(key)
        }
        Command::Fetch { by, .. }
        | Command::Store { by, .. }
        | Command::Copy { by, .. }
        | Command::Move { by, .. } => *by == By::Seq,
        _ => false,
    }
}
