//! One conversation, from the server's side: which command is legal when, and what follows.
//!
//! | state | means | left by |
//! |---|---|---|
//! | Fresh | no EHLO yet, or TLS just started | EHLO, HELO |
//! | Idle | greeted, no transaction | MAIL |
//! | Mail | a transaction with its recipients | RSET, EHLO, the end of the message, STARTTLS |
//! | Chunks | some of the message has come by BDAT | the last chunk, or as Mail |
//! | Body | bytes of the message follow | [`Session::on_body`] |
//!
//! A question may be open in Fresh and Idle (a name), Idle (a sender), Mail (a recipient), Body (the message) or at any time outside a
//! transaction (a login); no command is fed until it is answered.
//! Does not know: sockets, clocks, who has a mailbox. Nothing outlives a crash.

use crate::command::{self, BodyType, Command, Fault, Hello, Hold, Mail, MailParams, Manner, Rcpt, RcptPath};
use crate::limits;
use crate::reply::Reply;
use libmox_message::date;
use libmox_sasl::Mechanism;
use libmox_types::{Cid, Domain, ReversePath, Timestamp};
use std::borrow::Cow;

/// What the driver does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Say this, read the next command.
    Reply(Reply),
    /// Find this out, then [`Session::on_answer`].
    Ask(Question),
    /// Run a SASL exchange, then [`Session::on_login`].
    Auth(Mechanism, Option<Vec<u8>>),
    /// Say this, read the message, then [`Session::on_body`].
    Body(Reply),
    /// Read exactly so many octets of the message, then [`Session::on_chunk`], or [`Session::on_body`] after the last.
    /// Where there is a refusal they are thrown away, and that is said. RFC 3030 §2.
    Chunk {
        /// How many.
        octets: u64,
        /// The message ends with them.
        last: bool,
        /// Why they are not wanted.
        refusal: Option<Reply>,
    },
    /// Say this, start TLS, then [`Session::on_tls`].
    StartTls(Reply),
    /// Say this and close.
    Close(Reply),
}

/// What the session cannot know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// May a host call itself so? Row SR-03.
    Hello(libmox_types::Host),
    /// May mail come from here?
    Sender(ReversePath),
    /// May mail go there?
    Recipient(RcptPath),
    /// The message is there: what becomes of it? The transaction is in [`Session::transaction`].
    Message,
}

/// The answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Go on.
    Accept,
    /// To a recipient: go on, the refusal comes after the data (row SR-17).
    AcceptUnknown,
    /// To a recipient: go on, even where others have it under TLS only (row SR-07).
    AcceptWithoutTls,
    /// No, in these words.
    Refuse(Reply),
    /// To a message: the last word, good or bad.
    Message(Reply),
}

/// How reading the message ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// It is all there.
    Complete,
    /// All there, with what [`crate::data::Flaws`] says.
    Flawed(crate::data::Flaws),
}

/// How a SASL exchange ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// Welcome.
    SignedIn,
    /// No, in these words.
    Refused(Reply),
    /// No, but not for a wrong password: not counted (row AU-10, TR-24).
    Uncounted(Reply),
    /// No, and goodbye.
    Expelled(Reply),
}

/// Which service this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Port 25: mail from other servers.
    Exchange,
    /// Ports 587 and 465: mail of people who sign in. RFC 6409.
    Submission,
    /// The socket on this machine: signed in from the start.
    Local,
}

/// What TLS can do here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsOffer {
    /// No certificate: not offered, and refused (TR-08).
    None,
    /// May be used.
    Optional,
    /// Must be used before mail (row SR-07), or before signing in.
    Required,
}

/// What a session is told at its start.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which service.
    pub kind: Kind,
    /// Our name.
    pub hostname: Domain,
    /// Octets of a message.
    pub message_octets: u64,
    /// Recipients of one transaction.
    pub recipients: u32,
    /// STARTTLS.
    pub tls: TlsOffer,
    /// Whether REQUIRETLS is on offer (row SR-06).
    pub requiretls: bool,
    /// Whether DSN is (RFC 3461).
    pub dsn: bool,
    /// What is forgiven (row SR-39).
    pub manner: Manner,
    /// Takes mail without TLS even where TLS is required: where others report that our TLS is broken (row SR-07).
    pub without_tls: Vec<libmox_types::Address>,
    /// Offered where TLS is on, or where it is not required; -PLUS only with TLS.
    pub mechanisms: Vec<Mechanism>,
    /// The connection; at the end of every refusal.
    pub cid: Cid,
}

/// A mail transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// MAIL FROM.
    pub from: ReversePath,
    /// Its parameters.
    pub params: MailParams,
    /// Accepted recipients.
    pub recipients: Vec<Recipient>,
}

/// A recipient of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// RCPT TO and its parameters.
    pub rcpt: Rcpt,
    /// Nobody lives there; told after the data.
    pub unknown: bool,
}

#[derive(Debug)]
enum State {
    Fresh,
    Idle,
    Mail { transaction: Transaction },
    Chunks { transaction: Transaction, octets: u64 },
    Body { transaction: Transaction },
}

/// What a question waits for.
#[derive(Debug)]
enum Open {
    Hello(Hello, bool, Timestamp),
    Sender(Mail),
    Recipient(Rcpt),
    Login,
}

/// The conversation.
#[derive(Debug)]
pub struct Session {
    settings: Settings,
    state: State,
    open: Option<Open>,
    hello: Option<Hello>,
    extended: bool,
    tls: bool,
    signed_in: bool,
    by_certificate: bool,
    commands: u32,
    bad_commands: u32,
    failed: u32,
    good: u32,
    failed_logins: u32,
    /// Something in this transaction was refused.
    spoiled: bool,
}

impl Session {
    /// Begins; `tls` is on already on port 465.
    #[must_use]
    pub fn new(settings: Settings, tls: bool) -> Self {
        let signed_in = settings.kind == Kind::Local;
        Self {
            settings,
            state: State::Fresh,
            open: None,
            hello: None,
            extended: false,
            tls,
            signed_in,
            by_certificate: false,
            commands: 0,
            bad_commands: 0,
            failed: 0,
            good: 0,
            failed_logins: 0,
            spoiled: false,
        }
    }

    /// The first line.
    #[must_use]
    pub fn greeting(&self) -> Reply {
        Reply::new(220, "", format!("{} ESMTP ready", self.settings.hostname.ascii()))
    }

    /// The last EHLO or HELO.
    #[must_use]
    pub fn hello(&self) -> Option<&Hello> {
        self.hello.as_ref()
    }

    /// EHLO rather than HELO.
    #[must_use]
    pub fn is_extended(&self) -> bool {
        self.extended
    }

    /// Whether TLS is on.
    #[must_use]
    pub fn has_tls(&self) -> bool {
        self.tls
    }

    /// The transaction, from the first accepted MAIL to the answer for the message.
    #[must_use]
    pub fn transaction(&self) -> Option<&Transaction> {
        match &self.state {
            State::Mail { transaction } | State::Chunks { transaction, .. } | State::Body { transaction } => {
                Some(transaction)
            }
            _ => None,
        }
    }

    /// Whether some of a message has come by BDAT, and more may.
    #[must_use]
    pub fn is_in_chunks(&self) -> bool {
        matches!(self.state, State::Chunks { .. })
    }

    /// Logins that failed on this connection, since the last good one.
    #[must_use]
    pub fn failed_logins(&self) -> u32 {
        self.failed_logins
    }

    /// Which service this is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.settings.kind
    }

    /// The TLS certificate of the client was proof enough (row SU-11): it may send, and still say AUTH (row AU-06).
    pub fn on_certificate(&mut self) {
        self.signed_in = true;
        self.by_certificate = true;
    }

    /// A line without its end.
    pub fn on_line(&mut self, line: &[u8], now: Timestamp) -> Step {
        debug_assert!(self.open.is_none(), "a question is open");
        let step = match command::parse_as(line, self.settings.manner) {
            Ok(command) => self.on_command(command, now),
            Err(fault) => self.on_fault(fault),
        };
        self.commands = self.commands.saturating_add(1);
        self.finish(step)
    }

    /// A line that is too long.
    pub fn on_long_line(&mut self) -> Step {
        self.bad_commands += 1;
        let step = Step::Reply(Reply::new(500, "5.5.2", "line too long"));
        self.finish(step)
    }

    /// The service stops. Row SR-38.
    #[must_use]
    pub fn on_shutdown(&self) -> Step {
        Step::Close(Reply::new(421, "4.3.2", "shutting down, try again"))
    }

    /// The client was silent for too long. RFC 5321 §4.5.3.2.
    #[must_use]
    pub fn on_timeout(&self) -> Step {
        Step::Close(Reply::new(421, "4.4.2", "timed out").with_id(self.settings.cid))
    }

    /// TLS is on: everything said before is forgotten. RFC 3207 §4.2.
    pub fn on_tls(&mut self, mechanisms: Vec<Mechanism>) {
        self.tls = true;
        self.settings.mechanisms = mechanisms;
        self.hello = None;
        self.extended = false;
        self.state = State::Fresh;
        self.spoiled = false;
        self.signed_in = self.settings.kind == Kind::Local;
        self.by_certificate = false;
    }

    fn on_fault(&mut self, fault: Fault) -> Step {
        self.bad_commands += 1;
        if fault == Fault::Unknown && self.commands == 0 {
            // Row SR-33, TM-13: HTTP and other things.
            return Step::Close(Reply::new(500, "5.5.2", "please try again speaking smtp"));
        }
        let reply = match fault {
            Fault::Unknown => Reply::new(500, "5.5.2", "unknown command"),
            Fault::NotText => Reply::new(500, "5.5.2", "bad characters in command"),
            Fault::Arguments => Reply::new(501, "5.5.4", "syntax error in arguments"),
            Fault::Sender => self.spoil(Reply::new(501, "5.1.7", "bad sender address")),
            Fault::Recipient => self.spoil(Reply::new(501, "5.1.3", "bad recipient address")),
            Fault::Duplicate => Reply::new(501, "5.5.4", "parameter given twice"),
            Fault::Value => Reply::new(501, "5.5.4", "bad parameter value"),
            Fault::Parameter => unknown_parameter(),
        };
        Step::Reply(reply)
    }

    fn spoil(&mut self, reply: Reply) -> Reply {
        self.spoiled = true;
        reply
    }

    /// Adds the id to refusals, and ends what has gone wrong too often.
    fn finish(&mut self, step: Step) -> Step {
        let id = self.settings.cid;
        match step {
            Step::Reply(reply) if reply.is_error() => {
                if self.failed > limits::FAILED_TRANSACTIONS && self.good == 0 {
                    return Step::Close(Reply::new(550, "5.7.0", "too many failures").with_id(id));
                }
                if self.bad_commands > limits::BAD_COMMANDS {
                    return Step::Close(Reply::new(421, "4.7.0", "too many errors").with_id(id));
                }
                Step::Reply(reply.with_id(id))
            }
            Step::Close(reply) if reply.is_error() => Step::Close(reply.with_id(id)),
            other => other,
        }
    }

    fn on_command(&mut self, command: Command, now: Timestamp) -> Step {
        match command {
            Command::Quit => Step::Close(Reply::new(221, "2.0.0", "bye")),
            Command::Noop => Step::Reply(Reply::new(250, "2.0.0", "fine")),
            Command::Help => Step::Reply(Reply::new(214, "2.0.0", "see RFC 5321")),
            // RFC 5321 §7.3: neither yes nor no.
            Command::Verify => Step::Reply(Reply::new(252, "2.5.0", "send mail and find out")),
            Command::Rset => {
                self.reset();
                Step::Reply(Reply::new(250, "2.0.0", "forgotten"))
            }
            Command::Ehlo(hello) => self.hello_command(hello, true, now),
            Command::Helo(hello) => self.hello_command(hello, false, now),
            Command::StartTls => self.start_tls(),
            Command::Auth { mechanism, initial } => self.auth(mechanism, initial),
            Command::Mail(mail) => self.mail(mail, now),
            Command::Rcpt(rcpt) => self.rcpt(rcpt),
            Command::Data => self.data(),
            Command::Chunk { octets, last } => self.chunk(octets, last),
        }
    }

    /// RFC 5321 §4.1.1.5: drops the transaction, keeps the greeting.
    fn reset(&mut self) {
        if std::mem::take(&mut self.spoiled) {
            self.failed += 1;
        }
        if !matches!(self.state, State::Fresh) {
            self.state = State::Idle;
        }
    }

    fn hello_command(&mut self, hello: Hello, extended: bool, now: Timestamp) -> Step {
        // Row SU-12: clients at home do not know their name. A pedantic server insists that they do.
        let knows = self.settings.kind == Kind::Exchange || self.settings.manner == Manner::Pedantic;
        if hello.host.is_none() && knows {
            return Step::Reply(Reply::new(501, "5.5.4", "not a domain name or address literal"));
        }
        // An address is what it is; a name should lead somewhere.
        if let (Some(host @ libmox_types::Host::Name(_)), Kind::Exchange) = (&hello.host, self.settings.kind)
        {
            let question = Question::Hello(host.clone());
            self.open = Some(Open::Hello(hello, extended, now));
            return Step::Ask(question);
        }
        self.greeted(hello, extended, now)
    }

    fn greeted(&mut self, hello: Hello, extended: bool, now: Timestamp) -> Step {
        self.reset();
        self.hello = Some(hello);
        self.extended = extended;
        self.state = State::Idle;
        if !extended {
            return Step::Reply(Reply::new(250, "", self.settings.hostname.ascii().to_string()));
        }
        let mut lines: Vec<Cow<'static, str>> =
            vec![self.settings.hostname.ascii().to_string().into(), "PIPELINING".into()];
        lines.push(format!("SIZE {}", self.settings.message_octets).into());
        if !self.tls && self.settings.tls != TlsOffer::None {
            lines.push("STARTTLS".into());
        }
        if self.tls && self.settings.requiretls {
            lines.push("REQUIRETLS".into());
        }
        if self.may_auth() {
            let names: Vec<_> = self.mechanisms().map(Mechanism::name).collect();
            if !names.is_empty() {
                lines.push(format!("AUTH {}", names.join(" ")).into());
            }
        }
        if self.settings.kind == Kind::Submission {
            let (year, month, day, hour, minute, second) = date::utc(now.plus(limits::HOLD_SECONDS));
            lines.push(
                format!(
                    "FUTURERELEASE {} {year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z",
                    limits::HOLD_SECONDS
                )
                .into(),
            );
        }
        lines.push("ENHANCEDSTATUSCODES".into());
        lines.push("8BITMIME".into());
        lines.push("CHUNKING".into());
        lines.push("BINARYMIME".into());
        if self.settings.dsn {
            lines.push("DSN".into());
        }
        lines.push(format!("LIMITS RCPTMAX={}", self.settings.recipients).into());
        lines.push("SMTPUTF8".into());
        Step::Reply(Reply::lines(250, lines))
    }

    fn may_auth(&self) -> bool {
        self.settings.kind == Kind::Submission && (self.tls || self.settings.tls != TlsOffer::Required)
    }

    fn mechanisms(&self) -> impl Iterator<Item = Mechanism> + '_ {
        self.settings.mechanisms.iter().copied().filter(|mechanism| self.tls || !mechanism.is_plus())
    }

    fn start_tls(&mut self) -> Step {
        if self.tls {
            return Step::Reply(Reply::new(503, "5.5.1", "TLS is on already"));
        }
        if self.settings.tls == TlsOffer::None {
            // TR-08, row SR-04.
            return Step::Reply(Reply::new(503, "5.5.1", "starttls not offered"));
        }
        // Row SR-05.
        Step::StartTls(Reply::new(220, "2.0.0", "go ahead").with_id(self.settings.cid))
    }

    fn auth(&mut self, mechanism: Option<Mechanism>, initial: Option<Vec<u8>>) -> Step {
        if self.settings.kind != Kind::Submission {
            return Step::Reply(Reply::new(502, "5.5.1", "no logins here"));
        }
        if !self.tls && self.settings.tls == TlsOffer::Required {
            return Step::Reply(Reply::new(538, "5.7.11", "start TLS first"));
        }
        // RFC 4954 §4: not twice, not within a transaction, after EHLO.
        if self.signed_in && !self.by_certificate {
            return Step::Reply(Reply::new(503, "5.5.1", "signed in already"));
        }
        if !matches!(self.state, State::Idle) || !self.extended {
            return Step::Reply(Reply::new(503, "5.5.1", "not now"));
        }
        let Some(mechanism) = mechanism.filter(|wanted| self.mechanisms().any(|ours| ours == *wanted)) else {
            return Step::Reply(Reply::new(504, "5.5.4", "mechanism not supported"));
        };
        self.open = Some(Open::Login);
        Step::Auth(mechanism, initial)
    }

    /// The end of a SASL exchange.
    pub fn on_login(&mut self, login: Login) -> Step {
        self.open = None;
        let step = match login {
            Login::SignedIn => {
                self.signed_in = true;
                self.by_certificate = false;
                self.failed_logins = 0;
                Step::Reply(Reply::new(235, "2.7.0", "welcome"))
            }
            Login::Expelled(reply) => Step::Close(reply),
            Login::Uncounted(reply) => Step::Reply(reply),
            Login::Refused(reply) => {
                self.failed_logins += 1;
                if self.failed_logins >= limits::FAILED_LOGINS {
                    Step::Close(Reply::new(421, "4.7.0", "too many failed logins"))
                } else {
                    Step::Reply(reply)
                }
            }
        };
        self.finish(step)
    }

    fn mail(&mut self, mail: Mail, now: Timestamp) -> Step {
        match self.state {
            State::Fresh => return Step::Reply(Reply::new(503, "5.5.1", "say hello first")),
            State::Mail { .. } | State::Chunks { .. } | State::Body { .. } => {
                return Step::Reply(Reply::new(503, "5.5.1", "a transaction is open"));
            }
            State::Idle => {}
        }
        if !self.signed_in && self.settings.kind == Kind::Submission {
            return Step::Reply(Reply::new(530, "5.7.0", "sign in first"));
        }
        if let Some(refusal) = self.refuse_params(&mail, now) {
            return Step::Reply(self.spoil(refusal));
        }
        let question = Question::Sender(mail.from.clone());
        self.open = Some(Open::Sender(mail));
        Step::Ask(question)
    }

    fn refuse_params(&self, mail: &Mail, now: Timestamp) -> Option<Reply> {
        let params = &mail.params;
        // What is not on offer is an unknown parameter.
        if (params.uses_dsn() && !self.settings.dsn)
            || (params.hold.is_some() && self.settings.kind != Kind::Submission)
        {
            return Some(unknown_parameter());
        }
        if params.requiretls {
            if !self.settings.requiretls {
                return Some(unknown_parameter());
            }
            if !self.tls {
                return Some(Reply::new(523, "5.7.10", "REQUIRETLS needs TLS"));
            }
        }
        if let Some(size) = params.size.filter(|size| *size > self.settings.message_octets) {
            return Some(too_large(size));
        }
        if !params.smtputf8 && mail.from.address().is_some_and(libmox_types::Address::needs_utf8) {
            return Some(Reply::new(550, "5.6.7", "address needs SMTPUTF8"));
        }
        let seconds = match params.hold? {
            Hold::For(seconds) => seconds,
            Hold::Until(time) => time.0.saturating_sub(now.0),
        };
        // Row SU-07.
        (!(0..=limits::HOLD_SECONDS).contains(&seconds))
            .then(|| Reply::new(554, "5.5.4", "release time out of range"))
    }

    fn begin(&mut self, mail: Mail) -> Step {
        let transaction = Transaction { from: mail.from, params: mail.params, recipients: Vec::new() };
        self.state = State::Mail { transaction };
        self.spoiled = false;
        Step::Reply(Reply::new(250, "2.1.0", "sender ok"))
    }

    fn rcpt(&mut self, rcpt: Rcpt) -> Step {
        let State::Mail { transaction } = &self.state else {
            return Step::Reply(Reply::new(503, "5.5.1", "no transaction"));
        };
        let refusal = if (!rcpt.notify.is_empty() || !rcpt.orcpt.is_empty()) && !self.settings.dsn {
            Some(unknown_parameter())
        } else if transaction.recipients.len()
            >= usize::try_from(self.settings.recipients).unwrap_or(usize::MAX)
        {
            Some(Reply::new(452, "4.5.3", "too many recipients"))
        } else if transaction.from == ReversePath::Null
            && !transaction.recipients.is_empty()
            && self.settings.kind == Kind::Exchange
        {
            // Row SR-18: a report has one recipient.
            Some(Reply::new(452, "4.5.3", "one recipient for a null sender"))
        } else if !transaction.params.smtputf8
            && matches!(&rcpt.to, RcptPath::Address(address) if address.needs_utf8())
        {
            Some(Reply::new(553, "5.6.7", "address needs SMTPUTF8"))
        } else {
            None
        };
        if let Some(refusal) = refusal {
            return Step::Reply(self.spoil(refusal));
        }
        let question = Question::Recipient(rcpt.to.clone());
        self.open = Some(Open::Recipient(rcpt));
        Step::Ask(question)
    }

    fn needs_tls(&self) -> bool {
        !self.tls && self.settings.tls == TlsOffer::Required && self.settings.kind == Kind::Exchange
    }

    fn may_lack_tls(&self, to: &RcptPath) -> bool {
        matches!(to, RcptPath::Address(to) if self.settings.without_tls.contains(to))
    }

    fn data(&mut self) -> Step {
        if let State::Mail { transaction } = &self.state
            && transaction.params.body == Some(BodyType::Binary)
        {
            // RFC 3030 §3: in lines it would not be what it is.
            return Step::Reply(Reply::new(503, "5.5.1", "BODY=BINARYMIME goes by BDAT only"));
        }
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Mail { transaction } if !transaction.recipients.is_empty() => {
                self.state = State::Body { transaction };
                Step::Body(Reply::new(354, "", "go ahead, end with CRLF.CRLF"))
            }
            other @ State::Mail { .. } => {
                self.state = other;
                // RFC 5321 §3.3: there may have been recipients, but no valid one.
                Step::Reply(Reply::new(554, "5.5.1", "no valid recipients"))
            }
            other => {
                self.state = other;
                Step::Reply(Reply::new(503, "5.5.1", "no transaction"))
            }
        }
    }

    /// RFC 3030 §2. The octets come whatever we say, so a refusal is said behind them.
    fn chunk(&mut self, octets: u64, last: bool) -> Step {
        let most = self.settings.message_octets;
        let refuse = |refusal| Step::Chunk { octets, last, refusal: Some(refusal) };
        let (transaction, before) = match std::mem::replace(&mut self.state, State::Idle) {
            State::Mail { transaction } if !transaction.recipients.is_empty() => (transaction, 0),
            State::Chunks { transaction, octets } => (transaction, octets),
            other => {
                let refusal = match other {
                    State::Mail { .. } => Reply::new(554, "5.5.1", "no valid recipients"),
                    _ => Reply::new(503, "5.5.1", "no transaction"),
                };
                self.state = other;
                if octets > most {
                    return Step::Close(refusal);
                }
                return refuse(refusal);
            }
        };
        let all = before.saturating_add(octets);
        if all > most {
            // Row SR-20, as with DATA.
            return Step::Close(too_large(all));
        }
        self.state = match last {
            true => State::Body { transaction },
            false => State::Chunks { transaction, octets: all },
        };
        Step::Chunk { octets, last, refusal: None }
    }

    /// The octets of a chunk were read: one that is not the last, or one that is refused.
    pub fn on_chunk(&mut self, octets: u64, refusal: Option<Reply>) -> Step {
        let step = match refusal {
            Some(refusal) => {
                // RFC 3030 §2: one chunk that fails ends the transaction.
                if matches!(self.state, State::Chunks { .. } | State::Body { .. }) {
                    self.spoiled |= refusal.code() >= 500;
                    self.reset();
                }
                Step::Reply(refusal)
            }
            None => Step::Reply(Reply::new(250, "2.0.0", format!("{octets} octets taken"))),
        };
        self.finish(step)
    }

    /// The end of the message's bytes.
    pub fn on_body(&mut self, body: Body) -> Step {
        let refusal = match body {
            Body::Complete => return Step::Ask(Question::Message),
            // Row SR-19.
            Body::Flawed(flaws) if flaws.bare_line_end => Reply::new(
                500,
                "5.5.2",
                "bare carriage return or line feed in message, refused against smtp smuggling",
            ),
            // Row SR-20: and goodbye.
            Body::Flawed(_) => {
                let step = Step::Close(too_large(self.settings.message_octets.saturating_add(1)));
                return self.finish(step);
            }
        };
        self.state = State::Idle;
        self.spoiled = true;
        self.reset();
        let step = Step::Reply(refusal);
        self.finish(step)
    }

    /// The answer to the open question. An answer nobody asked for is our own bug: 451.
    pub fn on_answer(&mut self, answer: Answer) -> Step {
        let step = match (self.open.take(), answer) {
            (Some(Open::Hello(hello, extended, now)), Answer::Accept) => self.greeted(hello, extended, now),
            (Some(Open::Hello(..)), Answer::Refuse(reply)) => Step::Reply(reply),
            (Some(Open::Sender(mail)), Answer::Accept) => self.begin(mail),
            (Some(Open::Recipient(rcpt)), Answer::Accept | Answer::AcceptUnknown)
                if self.needs_tls() && !self.may_lack_tls(&rcpt.to) =>
            {
                // Row SR-07: who may have it without TLS is known here.
                Step::Reply(self.spoil(Reply::new(530, "5.7.0", "start TLS first")))
            }
            (
                Some(Open::Recipient(rcpt)),
                answer @ (Answer::Accept | Answer::AcceptUnknown | Answer::AcceptWithoutTls),
            ) => {
                if let State::Mail { transaction } = &mut self.state {
                    transaction.recipients.push(Recipient { rcpt, unknown: answer == Answer::AcceptUnknown });
                }
                Step::Reply(Reply::new(250, "2.1.5", "recipient ok"))
            }
            (Some(Open::Sender(_) | Open::Recipient(_)), Answer::Refuse(reply)) => {
                // A temporary refusal is no sign of abuse.
                self.spoiled |= reply.code() >= 500;
                Step::Reply(reply)
            }
            (None, Answer::Message(reply)) if matches!(self.state, State::Body { .. }) => {
                self.spoiled = reply.code() >= 500;
                self.good += u32::from(!reply.is_error());
                self.reset();
                Step::Reply(reply)
            }
            _ => {
                self.reset();
                Step::Reply(Reply::new(451, "4.3.0", "internal error"))
            }
        };
        self.finish(step)
    }
}

/// Row SR-08: what others would take is too much for the mailboxes here; what is more than usual, for the system.
#[must_use]
pub fn too_large(octets: u64) -> Reply {
    let enhanced = if octets < limits::MESSAGE_OCTETS.default { "5.2.3" } else { "5.3.4" };
    Reply::new(552, enhanced, "message too large")
}

fn unknown_parameter() -> Reply {
    Reply::new(555, "5.3.3", "unknown parameter")
}

#[cfg(test)]
mod tests;
