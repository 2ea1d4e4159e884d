//! Which command is legal when, and what it means just then.
//!
//! Law: RFC 9051 §3 (states), §6; RFC 3501 for what a client of old still expects; RFC 5161 (ENABLE); rows
//! IM-01, IM-02, IM-04, IM-07.
//! Does not know: sockets, the store, time. What it cannot know it asks ([`Step::Ask`]); while the answer is out
//! no other command is fed.
//! Fails with: nothing. What is wrong is answered into the output.
//!
//! | state | leaves by |
//! |---|---|
//! | `NotAuthenticated` | [`Session::signed_in`] |
//! | `Authenticated` | [`Session::selected`] |
//! | `Selected` | CLOSE, UNSELECT, SELECT, EXAMINE, [`Session::mailbox_gone`] |
//! | `Logout` | nothing |

mod ask;
mod capability;
mod commands;
mod context;
mod results;
mod resync;
mod selected;

pub use ask::{Ask, Offers, Opened};
pub use capability::Enabled;
pub use context::SearchContext;
pub use results::FoundModSeqs;
pub use resync::Removed;
pub use selected::Selected;

use crate::command::{Access, AppendTo, By, Command, EventKind, FetchItem, SelectedEvents, Tag};
use crate::limits;
use crate::metadata;
use crate::parse::{Dialect, Fault};
use crate::response::{self, Code, Status, tagged, untagged, write_to};
use crate::seqset::SeqSet;
use crate::view::{Expunges, Told};
use libmox_types::{Uid, UidSet};
use std::collections::BTreeSet;

/// What the driver must do next. Replies are already in the output.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Read the next command.
    Done,
    /// Send the output and close.
    Close,
    /// Send the output, then start TLS and call [`Session::tls_started`].
    StartTls,
    /// Send the output, then compress with DEFLATE both ways.
    StartDeflate,
    /// Find out, then [`Session::complete`].
    Ask(Ask),
}

#[derive(Debug)]
enum State {
    NotAuthenticated,
    Authenticated,
    Selected(Box<Selected>),
    Logout,
}

/// The command being carried out.
#[derive(Debug)]
struct Running {
    tag: Tag,
    expunges: Expunges,
    idle: bool,
    /// Its own doing is that messages go or come.
    removes: bool,
}

/// One connection.
#[derive(Debug)]
pub struct Session {
    state: State,
    offers: Offers,
    enabled: Enabled,
    running: Option<Running>,
    spoke: bool,
    faults: u32,
    failures: u32,
    compressed: bool,
    /// Capabilities that the clients of this account cannot cope with. Row IM-47.
    disabled: Vec<String>,
    /// Annotations that changed and were not told yet: of the open mailbox, or of the server.
    annotations: BTreeSet<(bool, String)>,
    /// Another session made the URLs of the open mailbox worthless, and this was not told yet.
    url_key: bool,
    telling: Telling,
    /// It is over with NOTIFY, which the driver is to know.
    overflowed: bool,
}

/// What is told of the open mailbox.
#[derive(Debug, Default, PartialEq, Eq)]
enum Telling {
    /// Everything, while a command runs that allows it.
    #[default]
    Usual,
    /// What NOTIFY chose.
    Chosen(SelectedEvents),
    /// Nothing but what the client does itself.
    Nothing,
}

impl Session {
    /// A connection just made.
    #[must_use]
    pub fn new(offers: Offers) -> Self {
        Self {
            state: State::NotAuthenticated,
            offers,
            enabled: Enabled::default(),
            running: None,
            spoke: false,
            faults: 0,
            failures: 0,
            compressed: false,
            disabled: Vec::new(),
            annotations: BTreeSet::new(),
            url_key: false,
            telling: Telling::default(),
            overflowed: false,
        }
    }

    /// The first line. RFC 9051 §7.1.
    pub fn greeting(&self, text: &str, out: &mut Vec<u8>) {
        untagged(out, Status::Ok, Some(&Code::Capability(self.capabilities())), text);
    }

    /// The first line to somebody who is signed in already ([`Self::signed_in`] came before): by a TLS certificate (row
    /// IM-41), or because an administrator brought the connection (row IM-42). RFC 9051 §7.1.4.
    pub fn greeting_signed_in(&self, text: &str, out: &mut Vec<u8>) {
        write_to(out, format_args!("* PREAUTH [CAPABILITY {}] {text}\r\n", self.capabilities()));
    }

    /// How mailbox names are spelled now.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        if self.enabled.rev2 || self.enabled.utf8 { Dialect::Utf8 } else { Dialect::Utf7 }
    }

    /// What the client switched on.
    #[must_use]
    pub fn enabled(&self) -> Enabled {
        self.enabled
    }

    /// How messages are told of.
    #[must_use]
    pub fn style(&self) -> response::Style {
        self.enabled.style()
    }

    /// Whether somebody signed in.
    #[must_use]
    pub fn is_signed_in(&self) -> bool {
        matches!(self.state, State::Authenticated | State::Selected(_))
    }

    /// The open mailbox.
    #[must_use]
    pub fn mailbox(&self) -> Option<&Selected> {
        match &self.state {
            State::Selected(selected) => Some(selected),
            _ => None,
        }
    }

    /// The open mailbox, to take in changes.
    pub fn mailbox_mut(&mut self) -> Option<&mut Selected> {
        match &mut self.state {
            State::Selected(selected) => Some(selected),
            _ => None,
        }
    }

    /// TLS is on: everything said before is forgotten. RFC 9051 §6.2.1.
    pub fn tls_started(&mut self, mechanisms: Vec<&'static str>) {
        self.offers.starttls = false;
        self.offers.passwords = true;
        self.offers.mechanisms = mechanisms;
    }

    /// Octets that were no command.
    pub fn on_fault(&mut self, tag: Option<&Tag>, fault: &Fault, out: &mut Vec<u8>) -> Step {
        // Row IM-02, TM-13: somebody speaks another protocol.
        if !self.spoke && matches!(fault, Fault::Syntax(_) | Fault::UnknownCommand | Fault::TooBig(_)) {
            response::bye(out, None, "please try again speaking imap");
            self.state = State::Logout;
            return Step::Close;
        }
        self.spoke = true;
        // An APPEND whose later part is wrong is over.
        self.running = None;
        // RFC 5182 §2.1, example 5: a search that is answered NO leaves no result.
        if *fault == Fault::BadCharset {
            self.search_failed();
        }
        let (status, code, text) = response::fault_words(fault);
        tagged(out, tag, status, code.as_ref(), text);
        self.count_fault(out)
    }

    fn count_fault(&mut self, out: &mut Vec<u8>) -> Step {
        self.faults += 1;
        let allowed = if self.is_signed_in() { limits::FAULTS } else { limits::FAULTS_BEFORE_LOGIN };
        if self.faults < allowed {
            return Step::Done;
        }
        response::bye(out, None, "too many errors");
        self.state = State::Logout;
        Step::Close
    }

    /// One command.
    pub fn on_command(&mut self, tag: Tag, command: Command, out: &mut Vec<u8>) -> Step {
        self.spoke = true;
        if self.delays_too_much() {
            self.notification_overflow(out);
        }
        let step = match &self.state {
            State::NotAuthenticated => self.before_login(tag, command, out),
            State::Authenticated | State::Selected(_) => self.after_login(tag, command, out),
            State::Logout => return Step::Close,
        };
        match step {
            Ok(step) => {
                self.faults = 0;
                step
            }
            Err((tag, text)) => {
                tagged(out, Some(&tag), Status::Bad, None, text);
                self.count_fault(out)
            }
        }
    }

    /// Whether a message may be appended, and which one of the open mailbox goes in return (RFC 8508); if so the
    /// command is running, else it is answered.
    pub fn on_append(&mut self, tag: Tag, to: &AppendTo, out: &mut Vec<u8>) -> Option<Option<Uid>> {
        self.spoke = true;
        let granted = match (&self.state, to.replaces) {
            (State::Authenticated | State::Selected(_), None) => Ok(None),
            (State::Selected(_), Some((By::Seq, _))) if self.enabled.uid_only => {
                Err((Status::Bad, Some(Code::UidRequired), "numbers are switched off"))
            }
            (State::Selected(selected), Some((by, number))) => {
                let set = SeqSet::Ranges(vec![(number, number)]);
                match selected.resolve_set(by, &set) {
                    _ if selected.access == Access::ReadOnly => {
                        Err((Status::No, Some(Code::ReadOnly), "mailbox is open for reading only"))
                    }
                    Err(text) => Err((Status::Bad, None, text)),
                    Ok((uids, missing)) => match uids.last() {
                        Some(uid) => Ok(Some(uid)),
                        None if missing => Err((Status::No, Some(Code::ExpungeIssued), "message is gone")),
                        None => Err((Status::No, Some(Code::NonExistent), "no such message")),
                    },
                }
            }
            (State::Authenticated, Some(_)) => Err((Status::Bad, None, "select a mailbox first")),
            _ => Err((Status::Bad, None, "log in first")),
        };
        match granted {
            Ok(replaces) => {
                self.run(tag, Expunges::Told);
                if let Some(running) = &mut self.running {
                    running.removes = true;
                }
                Some(replaces)
            }
            Err((status, code, text)) => {
                tagged(out, Some(&tag), status, code.as_ref(), text);
                None
            }
        }
    }

    fn run(&mut self, tag: Tag, expunges: Expunges) {
        self.running = Some(Running { tag, expunges, idle: false, removes: false });
    }

    fn ask(&mut self, tag: Tag, ask: Ask) -> Result<Step, (Tag, &'static str)> {
        self.run(tag, Expunges::Told);
        Ok(Step::Ask(ask))
    }

    /// The login succeeded; say so with [`Self::complete`].
    pub fn signed_in(&mut self, disabled: Vec<String>) {
        self.state = State::Authenticated;
        self.disabled = disabled;
    }

    /// RFC 8437 §2: as before the login, but TLS stays. The command is still to be answered.
    pub fn signed_out(&mut self) {
        self.state = State::NotAuthenticated;
        self.enabled = Enabled::default();
        self.annotations.clear();
        self.url_key = false;
        self.telling = Telling::default();
        self.compressed = false;
        self.disabled.clear();
        self.faults = 0;
    }

    /// The login failed and was answered. Too many end the connection.
    pub fn login_failed(&mut self, out: &mut Vec<u8>) -> Step {
        self.failures += 1;
        if self.failures < limits::LOGIN_FAILURES {
            return Step::Done;
        }
        response::bye(out, None, "too many failed logins");
        self.state = State::Logout;
        Step::Close
    }

    /// The open mailbox was removed: nothing can be said of it any more.
    pub fn mailbox_gone(&mut self) {
        if matches!(self.state, State::Selected(_)) {
            self.state = State::Authenticated;
        }
    }

    /// What the client may be told of the open mailbox while the present command runs; without one, nothing.
    pub fn tell(&mut self, out: &mut Vec<u8>) -> Told {
        let expunges = match (&self.running, &self.telling) {
            (Some(running), Telling::Nothing) if !running.removes => return Told::All,
            (Some(running), _) => running.expunges,
            // RFC 5465 §6.1.1.
            (None, Telling::Chosen(chosen)) if chosen.at_once => Expunges::Told,
            (None, _) => return Told::All,
        };
        self.tell_annotations(out);
        if std::mem::take(&mut self.url_key) && self.mailbox().is_some() {
            untagged(out, Status::Ok, Some(&Code::UrlMech), "mechanisms");
        }
        let expunges = match expunges {
            Expunges::Told if self.enabled.qresync || self.enabled.uid_only => Expunges::Vanished,
            other => other,
        };
        let style = self.enabled.style();
        let drops_flags = match &self.telling {
            Telling::Usual => false,
            Telling::Chosen(chosen) => !chosen.events.has(EventKind::FlagChange),
            Telling::Nothing => true,
        };
        match &mut self.state {
            State::Selected(selected) => {
                if drops_flags {
                    selected.view.drop_flags();
                }
                selected.tell(expunges, style, out)
            }
            _ => Told::All,
        }
    }

    /// An annotation changed, and not by the client: of the open mailbox, or of the server.
    pub fn on_annotation(&mut self, of_mailbox: bool, entry: String) {
        if self.enabled.metadata {
            self.annotations.insert((of_mailbox, entry));
            // Rather none than without end; the store keeps fewer than that.
            if self.annotations.len() > limits::ENTRIES {
                self.annotations.clear();
            }
        }
    }

    /// URLs into the open mailbox have to be authorised anew, and not because this client wanted it. RFC 4467 §7.
    pub fn on_url_key(&mut self) {
        self.url_key = true;
    }

    fn tell_annotations(&mut self, out: &mut Vec<u8>) {
        let changed = std::mem::take(&mut self.annotations);
        let dialect = self.dialect();
        for of_mailbox in [false, true] {
            let mut entries =
                changed.iter().filter(|(of, _)| *of == of_mailbox).map(|(_, name)| &**name).peekable();
            let name = if of_mailbox { self.mailbox().map(|selected| selected.name.as_str()) } else { None };
            if entries.peek().is_some() && (name.is_some() || !of_mailbox) {
                metadata::write_changed(out, name, entries, dialect);
            }
        }
    }

    /// Messages whose place in a result may have changed, since asked last; nothing where no result is kept.
    pub fn touched(&mut self) -> UidSet {
        let State::Selected(selected) = &mut self.state else { return UidSet::new() };
        let touched = selected.view.take_touched();
        if selected.contexts().is_empty() { UidSet::new() } else { touched }
    }

    /// What is to be said of messages that EXISTS told of, and which those are; asked for once. RFC 5465 §5.2.
    pub fn new_items(&mut self) -> Option<(UidSet, Vec<FetchItem>)> {
        let State::Selected(selected) = &mut self.state else { return None };
        let fresh = selected.view.take_told();
        match &self.telling {
            Telling::Chosen(chosen) if !fresh.is_empty() && !chosen.new.is_empty() => {
                Some((fresh, chosen.new.clone()))
            }
            _ => None,
        }
    }

    /// Whether the open mailbox is told of between commands. RFC 5465 §6.1.1.
    #[must_use]
    pub fn tells_at_once(&self) -> bool {
        matches!(&self.telling, Telling::Chosen(chosen) if chosen.at_once)
    }

    /// Whether more waits for the next command than a client may have waiting. Row IM-37.
    fn delays_too_much(&self) -> bool {
        let waits = |selected: &Selected| selected.view.waiting() > limits::DELAYED_CHANGES;
        matches!(&self.telling, Telling::Chosen(chosen) if !chosen.at_once)
            && self.mailbox().is_some_and(waits)
    }

    /// Too much happened: as after NOTIFY NONE. RFC 5465 §5.8.
    pub fn notification_overflow(&mut self, out: &mut Vec<u8>) {
        self.telling = Telling::Nothing;
        self.overflowed = true;
        untagged(out, Status::Ok, Some(&Code::NotificationOverflow), "too much happened");
    }

    /// Whether that was said since asked last: nothing is told of other mailboxes either.
    pub fn take_overflow(&mut self) -> bool {
        std::mem::take(&mut self.overflowed)
    }

    /// The tagged answer of the running command.
    pub fn complete(&mut self, status: Status, code: Option<&Code>, text: &str, out: &mut Vec<u8>) {
        if let Some(running) = self.running.take() {
            tagged(out, Some(&running.tag), status, code, text);
        }
    }

    /// The line that ends IDLE; tell what is to be told before. RFC 2177.
    pub fn on_done(&mut self, line: &[u8], out: &mut Vec<u8>) -> Step {
        if !self.running.as_ref().is_some_and(|running| running.idle) {
            return Step::Done;
        }
        if line.eq_ignore_ascii_case(b"DONE") {
            self.complete(Status::Ok, None, "done", out);
            return Step::Done;
        }
        self.complete(Status::Bad, None, "DONE expected", out);
        self.count_fault(out)
    }
}

#[cfg(test)]
mod tests;
