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

use crate::command::{
    Access, By, Command, FetchItem, FlagChange, List, SearchKey, SearchReturn, Secret, SelectParams,
    StatusItem, StatusItems, Tag,
};
use crate::limits;
use crate::parse::{Dialect, Fault};
use crate::response::{self, Code, Status, put, tagged, untagged, write_to};
use crate::seqset::SeqSet;
use crate::view::{Expunges, Told, View};
use libmox_types::{
    Cid, Flags, Keyword, MailboxId, MailboxName, ModSeq, SpecialUses, Uid, UidSet, UidValidity,
};

/// What the driver must do next. Replies are already in the output.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Read the next command.
    Done,
    /// Send the output and close.
    Close,
    /// Send the output, then start TLS and call [`Session::tls_started`].
    StartTls,
    /// Find out, then [`Session::complete`].
    Ask(Ask),
}

/// What the session cannot do or know itself. Sets of messages are resolved: always uids the client knows.
#[derive(Debug, PartialEq, Eq)]
pub enum Ask {
    /// Run a SASL exchange, then [`Session::signed_in`] or [`Session::login_failed`].
    Authenticate {
        /// In upper case, and offered.
        mechanism: String,
        /// The initial response.
        initial: Option<Secret>,
    },
    /// The same with name and password.
    Login {
        /// Who.
        user: String,
        /// Proof.
        password: Secret,
    },
    /// Take note of what the client says it is.
    Id(Vec<(String, Option<String>)>),
    /// Open a mailbox, then [`Session::selected`]; the old one is closed already.
    Select {
        /// Which.
        mailbox: MailboxName,
        /// How.
        access: Access,
        /// What stood in brackets.
        params: SelectParams,
    },
    /// Make one.
    Create(MailboxName, SpecialUses),
    /// Remove one.
    Delete(MailboxName),
    /// Give one another name.
    Rename(MailboxName, MailboxName),
    /// Subscribe a name, or no longer.
    Subscribe(MailboxName, bool),
    /// Answer LIST.
    List(List),
    /// Answer LSUB.
    Lsub(String, String),
    /// Answer STATUS.
    Status(MailboxName, StatusItems),
    /// Tell what happens until DONE.
    Idle,
    /// Take in what happened (NOOP, CHECK).
    Poll,
    /// Remove what is marked, these only or all.
    Expunge(Option<UidSet>),
    /// Remove what is marked and say nothing of it; the mailbox is closed already.
    CloseExpunge(MailboxId),
    /// Find messages, then [`Session::found`].
    Search {
        /// How results are named.
        by: By,
        /// In which form.
        returns: Option<SearchReturn>,
        /// Without `$`, `*` and sequence numbers.
        key: SearchKey,
    },
    /// Tell of messages.
    Fetch {
        /// Which.
        uids: UidSet,
        /// What.
        items: Vec<FetchItem>,
        /// Only those changed after.
        changed_since: Option<ModSeq>,
        /// Whether `\Seen` is to be set.
        sets_seen: bool,
        /// How the client names messages.
        by: By,
        /// Some named by number are gone.
        missing: bool,
    },
    /// Change flags.
    Store {
        /// Which.
        uids: UidSet,
        /// How.
        change: FlagChange,
        /// Whether the client knows the outcome.
        silent: bool,
        /// Leave those changed after.
        unchanged_since: Option<ModSeq>,
        /// How the client names messages.
        by: By,
        /// Some named by number are gone.
        missing: bool,
    },
    /// Copy or move.
    Copy {
        /// Which.
        uids: UidSet,
        /// Where to.
        to: MailboxName,
        /// Whether they leave the old place.
        take: bool,
        /// Some named by number are gone.
        missing: bool,
    },
}

/// What this connection can do.
#[derive(Debug, Clone)]
pub struct Offers {
    /// Names the connection in the journal; the answer to STARTTLS says it (row IM-04).
    pub cid: Cid,
    /// STARTTLS is possible: there is a certificate and TLS is not yet on.
    pub starttls: bool,
    /// Passwords may be sent: TLS is on, or not asked for.
    pub passwords: bool,
    /// SASL mechanisms, strongest first.
    pub mechanisms: Vec<&'static str>,
    /// Capabilities this account's clients cannot cope with. Row IM-47.
    pub disabled: Vec<String>,
    /// Octets of one appended message.
    pub append_limit: u64,
}

/// What works, beside the revisions and how to sign in.
const CAPABILITIES: [&str; 23] = [
    "LITERAL+",
    "ENABLE",
    "ID",
    "IDLE",
    "NAMESPACE",
    "UNSELECT",
    "CHILDREN",
    "UIDPLUS",
    "MOVE",
    "ESEARCH",
    "SEARCHRES",
    "WITHIN",
    "LIST-EXTENDED",
    "LIST-STATUS",
    "STATUS=SIZE",
    "SPECIAL-USE",
    "CREATE-SPECIAL-USE",
    "BINARY",
    "CONDSTORE",
    "SAVEDATE",
    "PREVIEW",
    "MULTIAPPEND",
    "UTF8=ACCEPT",
];

/// What the client switched on. RFC 5161.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Enabled {
    /// `IMAP4rev2`
    pub rev2: bool,
    /// `UTF8=ACCEPT`
    pub utf8: bool,
    /// `CONDSTORE`, or implied by a command that speaks of modseqs.
    pub condstore: bool,
}

#[derive(Debug)]
enum State {
    NotAuthenticated,
    Authenticated,
    Selected(Box<Selected>),
    Logout,
}

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
    /// `$`
    saved: UidSet,
}

/// What SELECT tells of a mailbox.
#[derive(Debug)]
pub struct Opened {
    /// Which.
    pub id: MailboxId,
    /// Its name.
    pub name: MailboxName,
    /// How.
    pub access: Access,
    /// Its messages.
    pub view: View,
    /// Of this life of the name.
    pub uid_validity: UidValidity,
    /// The next message gets this or more.
    pub uid_next: Uid,
    /// Of all changes the highest.
    pub mod_seq: ModSeq,
    /// In use in it.
    pub keywords: Vec<Keyword>,
    /// The first message not seen.
    pub first_unseen: Option<Uid>,
}

/// The command being carried out.
#[derive(Debug)]
struct Running {
    tag: Tag,
    expunges: Expunges,
    idle: bool,
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
        }
    }

    /// The first line. RFC 9051 §7.1.
    pub fn greeting(&self, text: &str, out: &mut Vec<u8>) {
        untagged(out, Status::Ok, Some(&Code::Capability(self.capabilities())), text);
    }

    /// The first line of a connection whose TLS certificate was proof enough ([`Self::signed_in`] came before). RFC 9051
    /// §7.1.4, row IM-41.
    pub fn greeting_signed_in(&self, text: &str, out: &mut Vec<u8>) {
        write_to(out, format_args!("* PREAUTH [CAPABILITY {}] {text}\r\n", self.capabilities()));
    }

    /// What this connection can do now.
    #[must_use]
    pub fn capabilities(&self) -> String {
        let mut list = String::from("IMAP4rev2 IMAP4rev1");
        let mut add = |name: &str| {
            if !self.offers.disabled.iter().any(|off| off.eq_ignore_ascii_case(name)) {
                list.push(' ');
                list.push_str(name);
            }
        };
        if matches!(self.state, State::NotAuthenticated) {
            if self.offers.starttls {
                add("STARTTLS");
            }
            if self.offers.passwords {
                add("SASL-IR");
                self.offers.mechanisms.iter().for_each(|name| add(&format!("AUTH={name}")));
            } else {
                add("LOGINDISABLED");
            }
        }
        CAPABILITIES.iter().for_each(|name| add(name));
        add(&format!("APPENDLIMIT={}", self.offers.append_limit));
        list
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

    /// Whether a message may be appended; if so the command is running, else it is answered.
    pub fn on_append(&mut self, tag: Tag, out: &mut Vec<u8>) -> bool {
        self.spoke = true;
        if self.is_signed_in() {
            self.run(tag, Expunges::Told);
            return true;
        }
        tagged(out, Some(&tag), Status::Bad, None, "log in first");
        false
    }

    fn run(&mut self, tag: Tag, expunges: Expunges) {
        self.running = Some(Running { tag, expunges, idle: false });
    }

    fn ask(&mut self, tag: Tag, ask: Ask) -> Result<Step, (Tag, &'static str)> {
        self.run(tag, Expunges::Told);
        Ok(Step::Ask(ask))
    }

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

    fn before_login(
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

    fn after_login(
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
            Command::Select { params, .. } if params.qresync.is_some() => {
                return Err((tag, "QRESYNC is not enabled"));
            }
            Command::Select { mailbox, access, params } => {
                self.let_go(out);
                self.enabled.condstore |= params.condstore;
                Ask::Select { mailbox, access, params }
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
                self.enabled.condstore |= items.has(StatusItem::HighestModSeq);
                Ask::Status(mailbox, items)
            }
            Command::Idle => {
                response::continuation(out, "idling");
                self.running = Some(Running { tag, expunges: Expunges::Told, idle: true });
                return Ok(Step::Ask(Ask::Idle));
            }
            Command::Close
            | Command::Unselect
            | Command::Expunge(_)
            | Command::Search { .. }
            | Command::Fetch { .. }
            | Command::Store { .. }
            | Command::Copy { .. }
            | Command::Move { .. } => return self.in_mailbox(tag, command, out),
            command => return self.anywhere(tag, command, out),
        };
        self.ask(tag, ask)
    }

    fn enable(&mut self, names: &[String], out: &mut Vec<u8>) {
        put(out, "* ENABLED");
        for name in names {
            let name = match name.as_str() {
                "IMAP4REV2" => {
                    self.enabled.rev2 = true;
                    "IMAP4rev2"
                }
                "UTF8=ACCEPT" => {
                    self.enabled.utf8 = true;
                    "UTF8=ACCEPT"
                }
                "CONDSTORE" => {
                    self.enabled.condstore = true;
                    "CONDSTORE"
                }
                // RFC 5161 §3.1: what we do not know we leave out.
                _ => continue,
            };
            put(out, " ");
            put(out, name);
        }
        put(out, "\r\n");
    }

    fn in_mailbox(
        &mut self,
        tag: Tag,
        command: Command,
        out: &mut Vec<u8>,
    ) -> Result<Step, (Tag, &'static str)> {
        let rev2 = self.enabled.rev2;
        let State::Selected(selected) = &self.state else { return Err((tag, "select a mailbox first")) };
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
                let key = selected.resolve(key);
                // RFC 9051 §6.4.4: the answer of a revision 2 server is ESEARCH.
                let returns =
                    returns.or_else(|| rev2.then(|| SearchReturn { all: true, ..SearchReturn::default() }));
                self.enabled.condstore |= condstore;
                Ask::Search { by, returns, key }
            }
            Command::Fetch { by, set, items, changed_since, vanished } => {
                if vanished {
                    return Err((tag, "QRESYNC is not enabled"));
                }
                let (uids, missing) = match selected.resolve_set(by, &set) {
                    Ok(resolved) => resolved,
                    Err(text) => return Err((tag, text)),
                };
                if by == By::Seq {
                    expunges = Expunges::Held;
                }
                let sets_seen = !read_only && items.iter().any(FetchItem::sets_seen);
                self.enabled.condstore |= items.contains(&FetchItem::ModSeq);
                Ask::Fetch { uids, items, changed_since, sets_seen, by, missing }
            }
            Command::Store { by, set, change, silent, unchanged_since } => {
                let (uids, missing) = match selected.resolve_set(by, &set) {
                    Ok(resolved) => resolved,
                    Err(text) => return Err((tag, text)),
                };
                if by == By::Seq {
                    expunges = Expunges::Held;
                }
                self.enabled.condstore |= unchanged_since.is_some();
                Ask::Store { uids, change, silent, unchanged_since, by, missing }
            }
            Command::Copy { by, set, to } => match selected.resolve_set(by, &set) {
                Ok((uids, missing)) => Ask::Copy { uids, to, take: false, missing },
                Err(text) => return Err((tag, text)),
            },
            Command::Move { by, set, to } => match selected.resolve_set(by, &set) {
                Ok((uids, missing)) => Ask::Copy { uids, to, take: true, missing },
                Err(text) => return Err((tag, text)),
            },
            _ => return Err((tag, "not possible now")),
        };
        self.run(tag, expunges);
        Ok(Step::Ask(ask))
    }

    fn let_go(&mut self, out: &mut Vec<u8>) {
        if matches!(self.state, State::Selected(_)) {
            self.state = State::Authenticated;
            // RFC 9051 §7.1: from here on untagged data is of the next mailbox.
            untagged(out, Status::Ok, Some(&Code::Closed), "previous mailbox closed");
        }
    }

    /// The login succeeded; say so with [`Self::complete`].
    pub fn signed_in(&mut self, disabled: Vec<String>) {
        self.state = State::Authenticated;
        self.offers.disabled.extend(disabled);
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

    /// The mailbox is open: tells of it. The tagged answer is [`Self::complete`]'s, with [`Code::ReadWrite`]
    /// or [`Code::ReadOnly`].
    pub fn selected(&mut self, opened: Opened, out: &mut Vec<u8>) {
        let dialect = self.dialect();
        put(out, "* FLAGS ");
        let all: Flags = libmox_types::Flag::ALL.iter().map(|(flag, _)| *flag).collect();
        response::flag_list(out, all, &opened.keywords);
        put(out, "\r\n");
        response::exists(out, opened.view.exists());
        if !self.enabled.rev2 {
            put(out, "* 0 RECENT\r\n");
            if let Some(number) = opened.first_unseen.and_then(|uid| opened.view.number(uid)) {
                untagged(out, Status::Ok, Some(&Code::Unseen(number)), "first unseen");
            }
        }
        untagged(out, Status::Ok, Some(&Code::UidValidity(opened.uid_validity)), "uids valid");
        untagged(out, Status::Ok, Some(&Code::UidNext(opened.uid_next)), "predicted next uid");
        put(out, "* OK [PERMANENTFLAGS ");
        if opened.access == Access::ReadOnly {
            put(out, "()");
        } else {
            response::flag_list(out, all, &opened.keywords);
            out.pop();
            put(out, " \\*)");
        }
        put(out, "] flags\r\n");
        untagged(out, Status::Ok, Some(&Code::HighestModSeq(opened.mod_seq)), "highest");
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
            saved: UidSet::new(),
        }));
    }

    /// The open mailbox was removed: nothing can be said of it any more.
    pub fn mailbox_gone(&mut self) {
        if matches!(self.state, State::Selected(_)) {
            self.state = State::Authenticated;
        }
    }

    /// What the client may be told of the open mailbox while the present command runs; without one, nothing.
    pub fn tell(&mut self, out: &mut Vec<u8>) -> Told {
        let expunges = match &self.running {
            Some(running) => running.expunges,
            None => return Told::All,
        };
        let with_mod_seq = self.enabled.condstore;
        match &mut self.state {
            State::Selected(selected) => selected.view.tell(expunges, with_mod_seq, out),
            _ => Told::All,
        }
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

    /// The result of a search, in uids: writes it in the form asked for, and keeps it where that was asked for.
    pub fn found(
        &mut self,
        by: By,
        returns: Option<SearchReturn>,
        uids: &UidSet,
        mod_seq: Option<ModSeq>,
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
            if let Some(mod_seq) = mod_seq.filter(|_| !named.is_empty()) {
                write_to(out, format_args!(" (MODSEQ {mod_seq})"));
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
        if let Some(mod_seq) = mod_seq.filter(|_| !named.is_empty()) {
            write_to(out, format_args!(" MODSEQ {mod_seq}"));
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

impl Selected {
    fn uids_by_uid(&self, set: &SeqSet) -> UidSet {
        match set.uids(self.view.last_uid()) {
            Some(uids) => self.view.known(&uids),
            None => self.view.known(&self.saved),
        }
    }

    /// The uids a set names, and whether some named by number are gone already.
    fn resolve_set(&self, by: By, set: &SeqSet) -> Result<(UidSet, bool), &'static str> {
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

    fn resolve(&self, key: SearchKey) -> SearchKey {
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

#[cfg(test)]
mod tests;
