//! Asks the store and the keys on behalf of one session.

use crate::{Doors, events, extra, login, policy};
use libmox_keys::{DkimDigest, Keys};
use libmox_message::received::{Received, With};
use libmox_message::{Facts, Parser, date};
use libmox_reception::{Pace, Policy, Taken, Tap, simulate, store_refusal, wake_queue};
use libmox_sasl::Mechanism;
use libmox_service::clock;
use libmox_service::config::Static;
use libmox_service::wire::{Wire, WireFault};
use libmox_smtp::command::{Hold, RcptPath};
use libmox_smtp::session::{Answer, Kind, Login, Session, Transaction};
use libmox_smtp::{Reply, limits, simulated};
use libmox_store::{
    AskStanding, CheckRecipient, CheckSender, LoginLocal, LoginOutcome, Needs, QueueAdd, QueueRecipient,
    RecipientPath, RecipientStatus, SessionId, SignOut, SignedIn, Store,
};
use libmox_types::{Address, Cid, ReversePath, Timestamp};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// One connection's questions.
pub(crate) struct Answers {
    pub(crate) store: Store,
    pub(crate) cid: Cid,
    pub(crate) ip: IpAddr,
    /// The address of ours that the client came to.
    pub(crate) local: IpAddr,
    keys: Keys,
    queue_socket: PathBuf,
    config: Arc<Static>,
    kind: Kind,
    who: Option<SignedIn>,
}

/// What looks at a message as it comes in.
pub(crate) struct Look {
    parser: Parser,
    dkim: DkimDigest,
}

impl Tap for Look {
    fn feed(&mut self, bytes: &[u8]) {
        self.parser.feed(bytes);
        self.dkim.feed(bytes);
    }
}

impl Answers {
    pub(crate) fn new(
        doors: &Doors,
        config: Arc<Static>,
        cid: Cid,
        [ip, local]: [IpAddr; 2],
        kind: Kind,
    ) -> Self {
        Self {
            store: doors.store.clone(),
            cid,
            ip,
            local: local.to_canonical(),
            keys: doors.keys.clone(),
            queue_socket: doors.queue.clone(),
            config,
            kind,
            who: None,
        }
    }

    /// How the client's address stands (rows AU-15, MP-08): a refusal where logins failed too often, over all protocols,
    /// and little speed where some did.
    pub(crate) async fn stand(&self, wire: &mut Wire) -> Option<Reply> {
        // Without an answer each login is looked at all the same.
        let standing = self.store.ask(AskStanding { remote_ip: self.ip }).await.ok()?;
        if standing.limited {
            events::login_failed(self.cid, self.ip, "none", "too many failures");
            return Some(policy::too_many_failures());
        }
        if standing.failures >= limits::SLOW_AFTER {
            wire.slow_down(self.config.service.bad_client_delay);
        }
        None
    }

    /// A login that is over and good.
    pub(crate) async fn signed_in(&mut self, who: SignedIn) {
        self.sign_out().await;
        self.who = Some(who);
    }

    /// Whether a login goes on with what a certificate began: the account must be the same, the address need not be.
    pub(crate) fn may_become(&self, who: &SignedIn) -> bool {
        self.who.as_ref().is_none_or(|before| before.account == who.account)
    }

    /// Gives the right to act back.
    pub(crate) async fn sign_out(&mut self) {
        if let Some(who) = self.who.take() {
            self.sign_out_of(who.session).await;
        }
    }

    pub(crate) async fn sign_out_of(&self, session: SessionId) {
        if let Err(error) = self.store.ask(SignOut(session)).await {
            tracing::debug!(mox_cid = %self.cid, %error, "not signed out");
        }
    }

    /// A program of this machine.
    pub(crate) async fn sign_in_local(&mut self, uid: u32, user: String) -> Result<(), Reply> {
        match self.store.ask(LoginLocal { cid: self.cid, uid, user }).await {
            Ok(LoginOutcome::SignedIn(who)) => {
                events::signed_in(self.cid, &who.account_name, "local");
                self.who = Some(who);
                Ok(())
            }
            Ok(other) => {
                let (_, reason) = policy::login_refusal(&other);
                events::login_failed(self.cid, self.ip, "local", reason);
                Err(policy::unknown_program())
            }
            Err(error) => {
                events::COMMON.unavailable(self.cid, "mox-store", &error);
                Err(Reply::new(421, "4.3.0", "try again later"))
            }
        }
    }

    fn refuse(&self, transaction: &Transaction, reply: Reply, reason: &str) -> Reply {
        events::COMMON.refused(self.cid, self.ip, transaction, &reply, reason);
        reply
    }

    async fn queue(
        &self,
        wire: &Wire,
        session: &Session,
        transaction: &Transaction,
        taken: Taken<Look>,
    ) -> Reply {
        let Some(who) = &self.who else {
            return Reply::new(530, "5.7.0", "sign in first");
        };
        let now = clock::now();
        let size = taken.size.0;
        let (Look { parser, dkim }, mut taken) = taken.split();
        let facts = parser.finish();
        let author = match policy::judge_author(self.kind, &facts) {
            Ok(author) => author,
            Err(reply) => return self.refuse(transaction, reply, "shape of the message"),
        };
        if self.config.pedantic
            && let Some(reply) = policy::judge_pedantically(transaction, &facts)
        {
            return self.refuse(transaction, reply, "pedantic");
        }
        let extra = match extra::fields(&taken.front(extra::HEADER_OCTETS).unwrap_or_default()) {
            Ok(extra) => extra,
            Err(reply) => return self.refuse(transaction, reply, "extra fields"),
        };
        let utf8 = needs_utf8(transaction, &facts);
        let added = self.added_fields(&facts, who, now);
        let domain = author.as_ref().map_or(&who.login.domain, |author| &author.domain);
        let needs = needs(&facts, utf8, require_tls(transaction, &facts));
        // RFC 6376 §3.4 knows lines only: a signature of what has none would be wrong.
        let signature = match needs.binary {
            true => Ok(String::new()),
            false => libmox_keys::sign(&self.keys, domain, &added.text, dkim, now).await,
        };
        // Row SU-06: unsigned is better than lost.
        let signature = signature.unwrap_or_else(|error| {
            events::unsigned(self.cid, &error);
            String::new()
        });
        let mut prefix = signature;
        prefix.push_str(&self.received(wire, session, transaction, utf8, now));
        if self.kind == Kind::Submission {
            prefix.push_str(&signed_in_field(&self.config, transaction));
        }
        prefix.push_str(&added.text);
        if facts.no_header {
            prefix.push_str("\r\n");
        }
        let mut stored_facts = libmox_store::Facts::from(&facts);
        if let Some(id) = added.message_id {
            stored_facts.message_id = id;
        }
        stored_facts.date = stored_facts.date.or(Some(now));
        if facts.structure.envelope().from.is_none() {
            stored_facts.from = Some(who.login.clone());
        }
        let request = QueueAdd {
            session: who.session,
            cid: self.cid,
            mail_from: transaction.from.clone(),
            header_from: author,
            recipients: transaction.recipients.iter().filter_map(|r| self.queue_recipient(&r.rcpt)).collect(),
            prefix: prefix.into_bytes(),
            body: taken.lend(),
            facts: stored_facts,
            needs,
            wishes: policy::wishes(&transaction.params, extra),
            release: transaction.params.hold.map(|hold| match hold {
                Hold::For(seconds) => now.plus(seconds),
                Hold::Until(time) => time,
            }),
        };
        match self.store.ask_once(clock::once_key(), request).await {
            Ok(ids) => {
                taken.used();
                let reply = policy::queued(&ids);
                wake_queue(self.queue_socket.clone(), self.cid);
                events::COMMON.taken(self.cid, transaction, size, ("", ""));
                reply
            }
            Err(error) => {
                let reply = store_refusal(&error);
                if error.fault().is_none() {
                    events::COMMON.unavailable(self.cid, "mox-store", &error);
                }
                self.refuse(transaction, reply, &events::reason(&error))
            }
        }
    }

    /// Row SU-12: where the client is, is nobody's business.
    fn received(
        &self,
        wire: &Wire,
        session: &Session,
        transaction: &Transaction,
        utf8: bool,
        now: Timestamp,
    ) -> String {
        let tls = wire.tls().map(|tls| format!("{} {}", tls.version, tls.cipher));
        let only = match &transaction.recipients[..] {
            [one] => self.queue_recipient(&one.rcpt).map(|recipient| recipient.address),
            _ => None,
        };
        Received {
            from: None,
            by: &self.config.hostname,
            with: With {
                utf8,
                extended: session.is_extended(),
                tls: tls.is_some(),
                authenticated: self.kind == Kind::Submission,
            },
            tls: tls.as_deref(),
            requiretls: transaction.params.requiretls,
            id: self.cid,
            recipient: only.as_ref(),
            time: now,
        }
        .write()
    }

    /// Row SU-05: what every message has. RFC 6409 §8.
    fn added_fields(&self, facts: &Facts, who: &SignedIn, now: Timestamp) -> Added {
        let mut added = Added::default();
        if !facts.has_message_id {
            let id = format!(
                "{:016x}{:016x}@{}",
                clock::random_u64(),
                clock::random_u64(),
                self.config.hostname.ascii()
            );
            added.text.push_str(&format!("Message-ID: <{id}>\r\n"));
            added.message_id = Some(id);
        }
        if !facts.has_date {
            added.text.push_str(&format!("Date: {}\r\n", date::format(now)));
        }
        if facts.structure.envelope().from.is_none() {
            added.text.push_str(&format!("From: <{}>\r\n", who.login));
        }
        added
    }

    fn queue_recipient(&self, rcpt: &libmox_smtp::command::Rcpt) -> Option<QueueRecipient> {
        let address = match &rcpt.to {
            RcptPath::Address(address) => address.clone(),
            RcptPath::Postmaster => Address::parse(&format!("postmaster@{}", self.config.hostname)).ok()?,
            // Refused at RCPT.
            RcptPath::Literal(..) => return None,
        };
        Some(QueueRecipient { address, notify: rcpt.notify.clone(), orcpt: rcpt.orcpt.clone() })
    }
}

/// Row SU-06, RFC 8601 §2.7.4: that somebody signed in, not who.
fn signed_in_field(config: &Static, transaction: &Transaction) -> String {
    let host = config.hostname.ascii();
    match transaction.from.address() {
        Some(from) => {
            format!("Authentication-Results: {host}; auth=pass smtp.mailfrom={}\r\n", from.for_wire(true))
        }
        None => format!("Authentication-Results: {host}; auth=pass\r\n"),
    }
}

/// Fields put before the message.
#[derive(Default)]
struct Added {
    text: String,
    message_id: Option<String>,
}

impl Policy for Answers {
    type Tap = Look;

    /// Whoever signed in without TLS signs in again.
    async fn on_tls(&mut self, wire: &Wire) -> bool {
        self.sign_out().await;
        login::with_key(self, wire).await
    }

    fn patience(&self) -> Duration {
        self.config.service.bad_client_delay
    }

    async fn ask_sender(&mut self, from: &ReversePath) -> Answer {
        let local = from.address().map(|address| &address.local);
        if let Some(local) = local.filter(|local| self.config.localserve && simulated::in_mail(local))
            && let Some(reply) = simulate(local).await
        {
            return Answer::Refuse(reply);
        }
        let (Some(who), Some(address)) = (&self.who, from.address()) else { return Answer::Accept };
        match self.store.ask(CheckSender { session: who.session, address: address.clone() }).await {
            Ok(true) => Answer::Accept,
            // Row SU-03.
            Ok(false) => Answer::Refuse(Reply::new(550, "5.7.1", "not an address of this account")),
            Err(error) => {
                events::COMMON.unavailable(self.cid, "mox-store", &error);
                Answer::Refuse(store_refusal(&error))
            }
        }
    }

    async fn ask_recipient(&mut self, to: &RcptPath, _: &Session, _: &Transaction) -> Answer {
        let recipient = match to {
            RcptPath::Address(address) => RecipientPath::Address(address.clone()),
            RcptPath::Postmaster => RecipientPath::Postmaster,
            RcptPath::Literal(..) => {
                return Answer::Refuse(Reply::new(550, "5.1.2", "no delivery to address literals"));
            }
        };
        if let RcptPath::Address(address) = to
            && self.config.localserve
            && simulated::in_rcpt(&address.local)
            && let Some(reply) = simulate(&address.local).await
        {
            return Answer::Refuse(reply);
        }
        // A user of this machine may have no account: the postmaster gets what cron has to say.
        let machine = self.kind == Kind::Local
            && matches!(to, RcptPath::Address(address) if address.domain == self.config.hostname);
        match self.store.repeat(CheckRecipient { recipient }).await {
            Ok(RecipientStatus::UnknownUser) if machine => Answer::Accept,
            Ok(status) => policy::judge_recipient(&status),
            Err(error) => {
                events::COMMON.unavailable(self.cid, "mox-store", &error);
                Answer::Refuse(store_refusal(&error))
            }
        }
    }

    fn tap(&mut self) -> Look {
        Look { parser: Parser::new(), dkim: DkimDigest::default() }
    }

    async fn ask_message(
        &mut self,
        wire: &Wire,
        session: &Session,
        transaction: &Transaction,
        taken: Taken<Look>,
    ) -> (Reply, Pace) {
        // Whoever signed in is known, and may mend it.
        (self.queue(wire, session, transaction, taken).await, Pace::Usual)
    }

    async fn ask_login(
        &mut self,
        wire: &mut Wire,
        mechanism: Mechanism,
        initial: Option<Vec<u8>>,
    ) -> Result<Login, WireFault> {
        login::run(self, wire, mechanism, initial).await
    }

    fn mechanisms(&mut self, wire: &Wire) -> Vec<Mechanism> {
        login::mechanisms(wire)
    }
}

/// Row SU-10.
fn require_tls(transaction: &Transaction, facts: &Facts) -> Option<bool> {
    match (transaction.params.requiretls, facts.tls_required_no) {
        (true, _) => Some(true),
        (false, true) => Some(false),
        (false, false) => None,
    }
}

/// By content, not by what the client said.
fn needs(facts: &Facts, smtputf8: bool, require_tls: Option<bool>) -> Needs {
    let flaws = &facts.flaws;
    Needs {
        smtputf8,
        eight_bit: flaws.body_8bit,
        require_tls,
        binary: flaws.bare_cr || flaws.bare_lf || flaws.nul,
    }
}

/// Row SR-21, TR-30: by content, not by what the client said.
fn needs_utf8(transaction: &Transaction, facts: &Facts) -> bool {
    facts.flaws.header_non_ascii
        || transaction.from.address().is_some_and(Address::needs_utf8)
        || transaction
            .recipients
            .iter()
            .any(|r| matches!(&r.rcpt.to, RcptPath::Address(address) if address.needs_utf8()))
}
