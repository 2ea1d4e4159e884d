//! Asks the store and the verifier on behalf of one session.

mod delivery;
mod judging;

use crate::{Doors, events, policy};
use aws_lc_rs::digest::{Context, SHA256};
use libmox_message::Parser;
use libmox_message::foreign::OwnResults;
use libmox_reception::{Pace, Policy, Taken, Tap, simulate, store_refusal};
use libmox_sasl::Mechanism;
use libmox_service::config::Static;
use libmox_service::wire::{Wire, WireFault};
use libmox_smtp::command::RcptPath;
use libmox_smtp::session::{Answer, Login, Session, Transaction};
use libmox_smtp::{Reply, limits, simulated};
use libmox_store::{CheckRecipient, RecipientPath, RecipientStatus, Store};
use libmox_types::{Address, Cid, Host, LocalPart, ReversePath};
use libmox_verify::{HasAddress, Spf, Takes, TakesMail, Verifier};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// One connection's questions.
pub(crate) struct Answers {
    store: Store,
    verifier: Verifier,
    queue: PathBuf,
    config: Arc<Static>,
    cid: Cid,
    ip: IpAddr,
    /// A sender of this connection, and whether SPF vouches for it.
    sure: Option<(ReversePath, bool)>,
    /// Some recipient of the transaction is an address for reports.
    reports: bool,
    /// Whether a recipient of the transaction has a junk filter, as far as is known.
    filtered: bool,
    /// What the DNS said of the EHLO name and of the sender, for `mox why`.
    looked: Looked,
}

/// Lookups made before the message came, in words.
#[derive(Debug, Default)]
struct Looked {
    hello: Option<String>,
    sender: Option<String>,
}

/// Looks at a message as it comes in.
pub(crate) struct Look {
    /// Parses here only where nobody else does.
    parser: Option<Parser>,
    /// Names the content, so that a reject is kept once.
    digest: Context,
}

impl Tap for Look {
    fn feed(&mut self, bytes: &[u8]) {
        if let Some(parser) = &mut self.parser {
            parser.feed(bytes);
        }
        self.digest.update(bytes);
    }
}

impl Answers {
    pub(crate) fn new(doors: &Doors, config: Arc<Static>, cid: Cid, ip: IpAddr) -> Self {
        let (store, verifier) = (doors.store.clone(), doors.verifier.clone());
        let queue = doors.queue.clone();
        Self {
            store,
            verifier,
            queue,
            config,
            cid,
            ip,
            sure: None,
            reports: false,
            filtered: true,
            looked: Looked::default(),
        }
    }

    fn refuse(&self, transaction: &Transaction, reply: Reply, reason: &str) -> Reply {
        events::COMMON.refused(self.cid, self.ip, transaction, &reply, reason);
        reply
    }

    /// Whether there is a DNS to ask.
    fn checks(&self) -> bool {
        self.config.smtp.verify && !self.config.localserve
    }

    /// Whether a report to the sender reaches who wrote the message. Asked once a transaction.
    async fn is_sender_sure(&mut self, session: &Session, transaction: &Transaction) -> Result<bool, Reply> {
        if self.config.localserve || !self.config.smtp.verify {
            return Ok(true);
        }
        if let Some((from, sure)) = &self.sure
            && *from == transaction.from
        {
            return Ok(*sure);
        }
        let question = Spf {
            remote_ip: self.ip,
            helo: session.hello().and_then(|hello| hello.host.clone()),
            mail_from: transaction.from.clone(),
        };
        let word = self.verifier.ask(question).await.map_err(|error| {
            events::COMMON.unavailable(self.cid, "mox-verify", &error);
            Reply::new(451, "4.3.0", "cannot check senders now, try again later")
        })?;
        let sure = word == "pass";
        self.sure = Some((transaction.from.clone(), sure));
        Ok(sure)
    }
}

impl Policy for Answers {
    type Tap = Look;

    async fn ask_hello(&mut self, host: &Host) -> Answer {
        self.looked = Looked::default();
        match host {
            Host::Name(name) if self.checks() => {
                match self.verifier.ask(HasAddress(name.clone())).await {
                    Ok(looked) => {
                        self.looked.hello = Some(looked.found);
                        policy::judge_hello(looked.takes)
                    }
                    // What cannot be looked up now is not the client's fault; its message is looked at all the same.
                    Err(error) => {
                        events::COMMON.unavailable(self.cid, "mox-verify", &error);
                        Answer::Accept
                    }
                }
            }
            _ => Answer::Accept,
        }
    }

    fn patience(&self) -> Duration {
        self.config.service.bad_client_delay
    }

    async fn ask_sender(&mut self, from: &ReversePath) -> Answer {
        self.filtered = false;
        self.reports = false;
        self.looked.sender = None;
        let local = from.address().map(|address| &address.local);
        if let Some(local) = local.filter(|local| self.config.localserve && simulated::in_mail(local))
            && let Some(reply) = simulate(local).await
        {
            return Answer::Refuse(reply);
        }
        match from.address() {
            Some(address) if self.checks() => {
                match self.verifier.ask(TakesMail(address.domain.clone())).await {
                    Ok(looked) => {
                        self.looked.sender = Some(looked.found);
                        policy::judge_sender(looked.takes)
                    }
                    Err(error) => {
                        events::COMMON.unavailable(self.cid, "mox-verify", &error);
                        policy::judge_sender(Takes::Unknown)
                    }
                }
            }
            _ => Answer::Accept,
        }
    }

    async fn ask_recipient(&mut self, to: &RcptPath, session: &Session, transaction: &Transaction) -> Answer {
        if let Some(local) = local_of(to).filter(|local| self.config.localserve && simulated::in_rcpt(local))
            && let Some(reply) = simulate(local).await
        {
            return Answer::Refuse(reply);
        }
        let status = self.store.repeat(CheckRecipient { recipient: path_of(to) }).await;
        self.filtered |=
            !matches!(status, Ok(RecipientStatus::LocalUnfiltered | RecipientStatus::UnknownUser));
        self.reports |= matches!(status, Ok(RecipientStatus::Reports | RecipientStatus::TlsReports));
        match status {
            Ok(status) => match policy::judge_recipient(&status) {
                refused @ Answer::Refuse(_) => refused,
                accepted if transaction.recipients.is_empty() => accepted,
                accepted => match self.is_sender_sure(session, transaction).await {
                    Ok(true) => accepted,
                    Ok(false) => Answer::Refuse(policy::one_at_a_time()),
                    Err(reply) => Answer::Refuse(reply),
                },
            },
            Err(error) => {
                events::COMMON.unavailable(self.cid, "mox-store", &error);
                Answer::Refuse(store_refusal(&error))
            }
        }
    }

    fn tap(&mut self) -> Look {
        let parser = || if self.filtered { Parser::new() } else { Parser::without_words() };
        Look { parser: (!self.config.smtp.verify).then(parser), digest: Context::new(&SHA256) }
    }

    fn own_results(&self) -> Option<OwnResults> {
        Some(OwnResults::new(self.config.hostname.clone()))
    }

    async fn ask_message(
        &mut self,
        wire: &Wire,
        session: &Session,
        transaction: &Transaction,
        taken: Taken<Look>,
    ) -> (Reply, Pace) {
        if self.config.localserve {
            for recipient in &transaction.recipients {
                if let Some(local) = local_of(&recipient.rcpt.to)
                    && let Some(reply) = simulate(local).await
                {
                    return (self.refuse(transaction, reply, "the address asks for it"), Pace::Usual);
                }
            }
        }
        if transaction.recipients.iter().all(|recipient| recipient.unknown) {
            // Row SR-17: slow, so that guessing names is.
            tokio::time::sleep(limits::UNKNOWN_USER_DELAY).await;
            return (self.refuse(transaction, policy::unknown_user(), "unknown user"), Pace::Usual);
        }
        self.deliver(wire, session, transaction, taken).await
    }

    async fn ask_login(
        &mut self,
        _: &mut Wire,
        _: Mechanism,
        _: Option<Vec<u8>>,
    ) -> Result<Login, WireFault> {
        // The session offers none here.
        Ok(Login::Refused(Reply::new(502, "5.5.1", "no logins here")))
    }

    fn mechanisms(&mut self, _: &Wire) -> Vec<Mechanism> {
        Vec::new()
    }
}

fn path_of(path: &RcptPath) -> RecipientPath {
    match path {
        RcptPath::Address(address) => RecipientPath::Address(address.clone()),
        RcptPath::Postmaster => RecipientPath::Postmaster,
        RcptPath::Literal(local, ip) => RecipientPath::Literal(local.clone(), *ip),
    }
}

fn local_of(path: &RcptPath) -> Option<&LocalPart> {
    match path {
        RcptPath::Address(address) => Some(&address.local),
        RcptPath::Postmaster | RcptPath::Literal(..) => None,
    }
}

/// For header fields: bare postmaster is the one of this host.
fn address_of(path: &RcptPath, config: &Static) -> Option<Address> {
    match path {
        RcptPath::Address(address) => Some(address.clone()),
        RcptPath::Postmaster => Address::parse(&format!("postmaster@{}", config.hostname)).ok(),
        RcptPath::Literal(local, _) => {
            Some(Address { local: local.clone(), domain: config.hostname.clone() })
        }
    }
}
