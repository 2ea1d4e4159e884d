//! One connection: octets to commands, commands to effects, effects to octets.
//!
//! Between commands nothing is said (RFC 9051 §5.2), but changes are taken in, so that the store never waits for a
//! silent client. What is written waits in one bounded buffer; a client that does not take it within
//! [`crate::Waits::write`] is dropped.

use crate::append::Appending;
use crate::deflate::Deflate;
use crate::error::Failure;
use crate::events;
use crate::messages::GONE;
use crate::notify::Notifying;
use crate::watch::{Parting, Taken, Watching};
use crate::{Shared, Start};
use libmox_imap::command::{AppendTo, By};
use libmox_imap::response::{self, Code, Status, continuation};
use libmox_imap::{Ask, Event, Offers, Reader, Session, Step};
use libmox_sasl::{Bindings, Mechanism};
use libmox_service::clock::new_cid;
use libmox_service::net::Full;
use libmox_service::wire::{Wire, WireFault};
use libmox_store::{NoteAgent, SessionId, SignOut, SignedIn};
use libmox_types::{AccountId, Cid};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Octets of output that are sent before more are made.
const OUTPUT: usize = 64 * 1024;
/// A goodbye gets this long.
const GOODBYE_WAIT: Duration = Duration::from_secs(5);

/// What a finished command says.
pub(crate) struct Done {
    pub(crate) status: Status,
    pub(crate) code: Option<Code>,
    pub(crate) text: &'static str,
}

impl Done {
    pub(crate) const OK: Self = Self { status: Status::Ok, code: None, text: "done" };

    pub(crate) fn with(code: Code) -> Self {
        Self { code: Some(code), ..Self::OK }
    }
}

/// What the store gave a person who signed in.
#[derive(Clone, Copy)]
pub(crate) struct Account {
    pub(crate) session: SessionId,
    pub(crate) id: AccountId,
}

impl Account {
    pub(crate) fn of(signed_in: &SignedIn) -> Self {
        Self { session: signed_in.session, id: signed_in.account }
    }
}

/// One connection.
pub(crate) struct Connection {
    pub(crate) shared: Arc<Shared>,
    pub(crate) wire: Wire,
    pub(crate) reader: Reader,
    pub(crate) session: Session,
    pub(crate) watching: Option<Watching>,
    /// Let go of once the client has its answer.
    pub(crate) parting: Option<Parting>,
    /// The whole account, for NOTIFY.
    pub(crate) notifying: Option<Box<Notifying>>,
    /// Of the person who signed in.
    pub(crate) account: Option<Account>,
    pub(crate) appending: Option<Box<Appending>>,
    pub(crate) cid: Cid,
    pub(crate) remote: IpAddr,
    /// The address of ours that the client came to, where it came over a network.
    pub(crate) local: Option<IpAddr>,
    /// From ID, for the record of logins.
    pub(crate) agent: String,
    /// Logins that failed here.
    pub(crate) failed: u32,
    /// Whose the certificate is that the client showed.
    pub(crate) key_of: Option<AccountId>,
    pub(crate) start: Start,
}

impl Connection {
    pub(crate) fn new(shared: Arc<Shared>, wire: Wire, remote: IpAddr, start: Start) -> Self {
        let config = shared.context.config();
        let cid = new_cid();
        let mut reader = Reader::new();
        reader.set_append_limit(config.imap.max_message_size);
        let session = Session::new(Offers {
            cid,
            starttls: shared.tls.is_some() && start == Start::Plain,
            passwords: config.imap.allow_plaintext_login,
            mechanisms: mechanisms(&Bindings::default(), false),
            append_limit: config.imap.max_message_size,
        });
        Self {
            shared,
            wire,
            reader,
            session,
            watching: None,
            parting: None,
            notifying: None,
            account: None,
            appending: None,
            cid,
            remote,
            local: None,
            agent: String::new(),
            failed: 0,
            key_of: None,
            start,
        }
    }

    /// There is no place for it.
    pub(crate) async fn turn_away(&mut self, full: Full) {
        events::turned_away(self.cid, self.remote, full);
        if self.start == Start::Plain {
            response::bye(self.wire.output(), Some(&Code::Limit), "too many connections");
        }
        self.wire.close(GOODBYE_WAIT).await;
    }

    /// From greeting to goodbye.
    pub(crate) async fn run(&mut self) {
        events::connected(self.cid, self.remote);
        let failure = self.talk().await.err();
        match &failure {
            Some(Failure::Bye(code, text)) => {
                response::bye(self.wire.output(), code.as_ref(), text);
            }
            Some(Failure::Wire(WireFault::Timeout)) => {
                response::bye(self.wire.output(), None, "inactive");
            }
            _ => {}
        }
        match &failure {
            None | Some(Failure::Wire(WireFault::Closed)) => events::hung_up(self.cid, "done"),
            Some(Failure::Wire(fault)) => events::lost(self.cid, self.remote, fault),
            Some(Failure::Bye(_, text) | Failure::No(_, text)) => events::hung_up(self.cid, text),
            Some(Failure::Bad(text)) => events::hung_up(self.cid, text),
        }
        Box::pin(self.leave()).await;
    }

    /// Gives everything back.
    async fn leave(&mut self) {
        self.wire.close(GOODBYE_WAIT).await;
        (self.watching, self.parting, self.notifying) = (None, None, None);
        if let Some(appending) = self.appending.take() {
            appending.forget(&self.shared.store).await;
        }
        if let Some(Account { session, .. }) = self.account.take() {
            // If this fails the connection to the store is gone, and the session with it.
            let _ = self.shared.store.ask(SignOut(session)).await;
        }
    }

    async fn talk(&mut self) -> Result<(), Failure> {
        if self.start == Start::Tls {
            Box::pin(self.start_tls()).await?;
        }
        Box::pin(self.stand()).await?;
        let greeting = format!("{} mox ready ({})", self.shared.context.config().hostname, self.cid);
        if self.session.is_signed_in() {
            self.session.greeting_signed_in(&greeting, self.wire.output());
        } else {
            self.session.greeting(&greeting, self.wire.output());
        }
        self.flush().await?;
        loop {
            if self.step().await? {
                return Ok(());
            }
        }
    }

    pub(crate) async fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.wire.flush(self.shared.waits.write).await?)
    }

    /// Sends once enough waits.
    pub(crate) async fn pump(&mut self) -> Result<(), Failure> {
        if self.wire.output().len() >= OUTPUT { self.flush().await } else { Ok(()) }
    }

    pub(crate) async fn start_tls(&mut self) -> Result<(), Failure> {
        let Some(tls) = &self.shared.tls else { return Err(WireFault::Closed.into()) };
        self.wire.start_tls(tls).await?;
        let has_key = self.wire.tls().is_some_and(|facts| facts.client_key.is_some());
        self.session.tls_started(mechanisms(&self.bindings(), has_key));
        if has_key {
            Box::pin(self.look_at_key()).await;
        }
        Ok(())
    }

    /// What a login can be bound to.
    pub(crate) fn bindings(&self) -> Bindings {
        self.wire.tls().map_or_else(Bindings::default, |facts| Bindings {
            exporter: facts.exporter.map(|octets| octets.to_vec()),
            end_point: (!facts.end_point.is_empty()).then(|| facts.end_point.clone()),
        })
    }

    /// Until the next event of the reader, and what it leads to. True at the end.
    async fn step(&mut self) -> Result<bool, Failure> {
        let Self { wire, reader, appending, shared, .. } = self;
        let mut input = wire.buffered();
        let before = input.len();
        let event = reader.read(&mut input);
        let used = before - input.len();
        let step = match event {
            Event::Octets(octets) => {
                let outcome = match appending.as_mut() {
                    Some(appending) => appending.octets(octets, &shared.store).await,
                    None => Ok(()),
                };
                wire.consume(used);
                if let Err(failure) = outcome {
                    return Box::pin(self.append_failed(failure)).await;
                }
                return Ok(false);
            }
            Event::More => {
                wire.consume(used);
                // Apart, as most that a connection does is to wait.
                return Box::pin(self.wait()).await.map(|()| false);
            }
            event => {
                // Nothing but `Octets` borrows the input.
                let event = own(event);
                wire.consume(used);
                match event {
                    Owned::Continue => {
                        continuation(wire.output(), "go on");
                        self.flush().await?;
                        return Ok(false);
                    }
                    Owned::Command(tag, command) => {
                        self.ready().await?;
                        if let Some(watching) = &mut self.watching
                            && watching.drain(&mut self.session)? == Taken::Overflow
                        {
                            Box::pin(self.watch_anew()).await?;
                        }
                        let step = self.session.on_command(tag, command, self.wire.output());
                        if self.session.take_overflow() {
                            self.notifying = None;
                        }
                        self.reader.set_dialect(self.session.dialect());
                        // The same mailbox may be opened again.
                        let opens = matches!(step, Step::Ask(Ask::Select { .. }));
                        if self.session.mailbox().is_none() && !opens {
                            self.watching = None;
                        }
                        step
                    }
                    Owned::Fault(tag, fault) => {
                        if let Some(appending) = self.appending.take() {
                            Box::pin(appending.forget(&self.shared.store)).await;
                        }
                        self.session.on_fault(tag.as_ref(), &fault, self.wire.output())
                    }
                    Owned::Message(tag, mailbox, message) => {
                        self.ready().await?;
                        Box::pin(self.append_message(tag, mailbox, message)).await?;
                        self.flush().await?;
                        return Ok(false);
                    }
                    Owned::Url(url) => {
                        Box::pin(self.append_url(&url)).await?;
                        self.flush().await?;
                        return Ok(false);
                    }
                    Owned::Text(size, sync) => {
                        Box::pin(self.append_text(size, sync)).await?;
                        self.flush().await?;
                        return Ok(false);
                    }
                    Owned::MessageEnd => {
                        Box::pin(self.append_message_end()).await?;
                        return Ok(false);
                    }
                    Owned::AppendEnd => {
                        Box::pin(self.append_end()).await?;
                        self.flush().await?;
                        return Ok(false);
                    }
                    // Nobody waits for a line here, and `More` was taken out above.
                    Owned::LineOf(_) | Owned::More => Step::Done,
                    // Row IM-03.
                    Owned::Bye(text) => return Err(Failure::Bye(Some(Code::Alert), text.into())),
                }
            }
        };
        match step {
            Step::Done => {
                // Pipelined commands share one packet of answers.
                if self.wire.buffered().is_empty() {
                    self.flush().await?;
                } else {
                    self.pump().await?;
                }
                Ok(false)
            }
            Step::Close => Ok(true),
            Step::StartTls => {
                self.flush().await?;
                Box::pin(self.start_tls()).await?;
                Ok(false)
            }
            Step::StartDeflate => {
                self.flush().await?;
                self.wire.start_coding(Box::new(Deflate::default()));
                Ok(false)
            }
            Step::Ask(ask) => {
                let closing = match ask {
                    // It lasts: no room is kept for what other commands need.
                    Ask::Idle => Box::pin(self.idle()).await?,
                    ask => Box::pin(self.carry_out(ask)).await?,
                };
                if self.wire.buffered().is_empty() {
                    self.flush().await?;
                } else {
                    self.pump().await?;
                }
                Ok(closing)
            }
        }
    }

    /// For more input, taking in changes meanwhile.
    async fn wait(&mut self) -> Result<(), Failure> {
        self.flush().await?;
        self.parting = None;
        self.wire.rest();
        let waits = self.shared.waits;
        let wait = if self.session.is_signed_in() { waits.signed_in } else { waits.before_login };
        let deadline = Instant::now() + wait;
        loop {
            let Self { wire, watching, notifying, session, shared, .. } = self;
            let left = deadline.saturating_duration_since(Instant::now());
            let watch = async {
                match watching {
                    Some(watching) => watching.next(session).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                filled = wire.fill(left) => return Ok(filled.map(drop)?),
                taken = watch => {
                    if taken? == Taken::Overflow {
                        Box::pin(self.watch_anew()).await?;
                    }
                    if self.session.tells_at_once() && self.reader.is_clean() {
                        Box::pin(self.tell()).await?;
                        self.flush().await?;
                    }
                }
                item = notification(notifying) => {
                    Box::pin(self.on_notification(item)).await?;
                    // Nothing is said in the middle of what the client says.
                    if self.reader.is_clean() {
                        self.flush().await?;
                    }
                }
                () = shared.context.life.stopping() => return Err(stopping()),
            }
        }
    }

    /// Does what the session asks for, and answers. True if the connection is to be closed.
    async fn carry_out(&mut self, ask: Ask) -> Result<bool, Failure> {
        let kept = match &ask {
            Ask::Search { returns, .. } | Ask::Sort { returns, .. } => {
                returns.is_some_and(|returns| returns.save)
            }
            Ask::Esearch { returns, .. } => returns.save,
            _ => false,
        };
        let outcome = match ask {
            Ask::Id(pairs) => {
                self.on_id(&pairs).await;
                Ok(Done::OK)
            }
            Ask::Login { user, password } => return self.login(&user, &password).await,
            Ask::Authenticate { mechanism, initial } => return self.authenticate(&mechanism, initial).await,
            // Carried out by the caller of this.
            Ask::Idle => Ok(Done::OK),
            Ask::Select { mailbox, access, params, left } => {
                Box::pin(self.select(mailbox, access, &params, left)).await
            }
            Ask::Create(mailbox, uses) => self.create(mailbox, uses).await,
            Ask::Delete(mailbox) => self.delete(mailbox).await,
            Ask::Rename(from, to) => self.rename(from, to).await,
            Ask::Subscribe(mailbox, yes) => self.subscribe(mailbox, yes).await,
            Ask::List(list) => self.list(&list).await,
            Ask::Lsub(reference, pattern) => self.lsub(&reference, &pattern).await,
            Ask::Status(mailbox, items) => self.status(mailbox, items).await,
            Ask::GetMetadata(get) => self.get_metadata(&get).await,
            Ask::SetMetadata(mailbox, entries) => self.set_metadata(mailbox, entries).await,
            Ask::Quota(root) => self.quota(&root).await,
            Ask::QuotaRoot(mailbox) => self.quota_root(mailbox).await,
            Ask::Poll => self.poll().await,
            Ask::Expunge(uids) => self.expunge(uids).await,
            Ask::CloseExpunge(mailbox) => self.close_expunge(mailbox).await,
            Ask::Search { by, returns, key } => Box::pin(self.search(by, returns, key)).await,
            Ask::Sort { by, returns, order, key } => Box::pin(self.sort(by, returns, &order, &key)).await,
            Ask::Thread { by, how, key } => Box::pin(self.thread(by, how, &key)).await,
            Ask::Esearch { sources, returns, key, elsewhere } => {
                Box::pin(self.esearch(&sources, returns, &key, &elsewhere)).await
            }
            Ask::Notify(wanted) => Box::pin(self.notify(wanted)).await,
            Ask::Unauthenticate => return self.unauthenticate().await.map(|()| false),
            Ask::Fetch { uids, items, changed_since, vanished, sets_seen, by, missing } => {
                if let (Some(named), Some(since)) = (&vanished, changed_since) {
                    Box::pin(self.write_vanished(named, since)).await?;
                }
                // By uid, and where only what changed is wanted, it is no surprise to get fewer.
                let strict = by == By::Seq && changed_since.is_none();
                Box::pin(self.fetch(uids, &items, changed_since, sets_seen, strict)).await.and_then(|done| {
                    if missing { Err(Failure::no(Code::ExpungeIssued, GONE)) } else { Ok(done) }
                })
            }
            Ask::Store { uids, change, silent, unchanged_since, by, missing } => {
                self.store(uids, change, silent, unchanged_since, by, missing).await
            }
            Ask::GenUrlAuth(urls) => Box::pin(self.generate_urls(&urls)).await,
            Ask::ResetKey(mailbox) => self.reset_url_key(mailbox).await,
            Ask::UrlFetch(urls) => Box::pin(self.fetch_urls(&urls)).await,
            Ask::Copy { uids, to, take, by, missing } => self.copy(uids, to, take, by, missing).await,
        };
        if kept && outcome.is_err() {
            self.session.search_failed();
        }
        self.finish(outcome).await?;
        Ok(false)
    }

    /// Tells what may be told, then answers the command.
    pub(crate) async fn finish(&mut self, outcome: Result<Done, Failure>) -> Result<(), Failure> {
        let (status, code, text) = match outcome {
            Ok(done) => (done.status, done.code, done.text.to_string()),
            Err(Failure::No(code, text)) => (Status::No, code, text),
            Err(Failure::Bad(text)) => (Status::Bad, None, text.into()),
            Err(failure) => return Err(failure),
        };
        // The mailbox was let go of: nothing more is heard of it.
        if self.session.mailbox().is_none_or(|selected| {
            self.watching.as_ref().is_none_or(|watching| watching.mailbox() != selected.id)
        }) {
            self.watching = None;
        }
        if self.notifying.is_some() {
            Box::pin(self.drain_notifications()).await?;
        }
        self.tell().await?;
        self.session.complete(status, code.as_ref(), &text, self.wire.output());
        Ok(())
    }

    /// The account's session at the store.
    pub(crate) fn session_id(&self) -> Result<SessionId, Failure> {
        // The session asks for effects on mail only once somebody signed in.
        self.account.map(|account| account.session).ok_or(Failure::Bad("log in first"))
    }

    /// UNAUTHENTICATE: back to before the login, on the same connection. RFC 8437.
    async fn unauthenticate(&mut self) -> Result<(), Failure> {
        (self.watching, self.parting, self.notifying) = (None, None, None);
        if let Some(Account { session, .. }) = self.account.take() {
            self.shared.store.ask(SignOut(session)).await?;
        }
        self.session.signed_out();
        self.reader.signed_out();
        self.session.complete(Status::Ok, None, "done", self.wire.output());
        if self.wire.is_coded() {
            // RFC 8437 §2: compression ends with this answer.
            self.flush().await?;
            self.wire.stop_coding();
        }
        Ok(())
    }

    async fn on_id(&mut self, pairs: &[(String, Option<String>)]) {
        let value = |wanted: &str| {
            let pair = pairs.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
            pair.and_then(|(_, value)| value.as_deref()).unwrap_or_default()
        };
        let agent: String = format!("{} {} {}", value("name"), value("version"), value("os"));
        self.agent = agent.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(200).collect();
        if self.account.is_some() || self.failed > 0 {
            // Rows AU-14, TR-26: many say so only now. A record without the name is no loss.
            let note = NoteAgent { cid: self.cid, user_agent: self.agent.clone() };
            let _ = self.shared.store.ask(note).await;
        }
    }

    /// The next line of a SASL exchange.
    pub(crate) async fn line(&mut self) -> Result<Vec<u8>, Failure> {
        self.reader.expect_line();
        self.flush().await?;
        let deadline = Instant::now() + self.shared.waits.before_login;
        loop {
            let mut input = self.wire.buffered();
            let before = input.len();
            let event = own(self.reader.read(&mut input));
            let used = before - input.len();
            self.wire.consume(used);
            match event {
                Owned::LineOf(line) => return Ok(line),
                Owned::More => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    self.wire.fill(left).await?;
                }
                // A line over its limit.
                _ => return Err(Failure::Bye(None, "line too long".into())),
            }
        }
    }
}

/// What the watch of the account brings next, if there is one. May be dropped while it waits.
pub(crate) async fn notification(
    notifying: &mut Option<Box<Notifying>>,
) -> Option<Result<libmox_store::Item, libmox_store::StoreError>> {
    match notifying {
        Some(notifying) => notifying.next().await,
        None => std::future::pending().await,
    }
}

/// An event that borrows nothing.
pub(crate) enum Owned {
    More,
    Continue,
    Command(libmox_imap::Tag, libmox_imap::Command),
    Fault(Option<libmox_imap::Tag>, libmox_imap::Fault),
    Message(libmox_imap::Tag, Option<AppendTo>, libmox_imap::command::AppendMessage),
    Url(String),
    Text(u64, libmox_imap::command::Sync),
    MessageEnd,
    AppendEnd,
    LineOf(Vec<u8>),
    Bye(&'static str),
}

pub(crate) fn own(event: Event<'_>) -> Owned {
    match event {
        Event::More | Event::Octets(_) => Owned::More,
        Event::Continue => Owned::Continue,
        Event::Command(tag, command) => Owned::Command(tag, command),
        Event::Fault(tag, fault) => Owned::Fault(tag, fault),
        Event::Message(tag, mailbox, message) => Owned::Message(tag, mailbox, message),
        Event::Url(url) => Owned::Url(url),
        Event::Text { size, sync } => Owned::Text(size, sync),
        Event::MessageEnd => Owned::MessageEnd,
        Event::AppendEnd(_) => Owned::AppendEnd,
        Event::Line(line) => Owned::LineOf(line),
        Event::Bye(text) => Owned::Bye(text),
    }
}

pub(crate) fn stopping() -> Failure {
    Failure::Bye(Some(Code::Unavailable), "server is restarting, please reconnect".into())
}

/// Offered, strongest first.
fn mechanisms(bindings: &Bindings, has_key: bool) -> Vec<&'static str> {
    let offered = |mechanism: &Mechanism| match mechanism {
        Mechanism::External => has_key,
        // That is the command LOGIN here.
        Mechanism::Login => false,
        mechanism => bindings.any() || !mechanism.is_plus(),
    };
    Mechanism::ALL.into_iter().filter(offered).map(Mechanism::name).collect()
}
