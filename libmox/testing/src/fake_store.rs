//! A store in memory that speaks the real contract: recipients, logins, deliveries and the queue, without mailboxes.

use libmox_ipc::{Answer, Refusal, Service};
use libmox_sasl::scram::{self, Hash, Verifier};
use libmox_sasl::{Secret, prepare_password};
use libmox_store::{
    Analysis, Body, BodyId, CacheGet, CacheKind, CacheSet, Cached, Decided, Decision, Deliver, Delivered,
    Fault, KeyLogin, LoginOutcome, LoginResult, Proof, QueueAdd, RecipientPath, RecipientStatus, Reply,
    Report, Request, Role, ScramChallenge, ScramHash, SessionId, SignIn, SignedIn, Store, StoreContract,
    Stored, Together,
};
use libmox_types::{AccountId, Address, MsgId, QueueId, ReversePath};
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::UnixListener;

/// What the store was handed, with the octets of the body.
#[derive(Debug, Clone)]
pub enum Received {
    /// From port 25.
    Delivery(Box<Deliver>, Vec<u8>),
    /// For elsewhere.
    Queued(Box<QueueAdd>, Vec<u8>),
    /// About recipients who cannot have a delivery.
    Report(Box<Report>, Vec<u8>),
}

/// How it answers.
#[derive(Debug, Default)]
struct State {
    recipients: HashMap<String, RecipientStatus>,
    passwords: HashMap<String, String>,
    received: Vec<Received>,
    staged: HashMap<u64, File>,
    exchanges: HashMap<u64, (String, Verifier, String)>,
    sessions: HashMap<u64, String>,
    next: u64,
    fault: Option<Fault>,
    outcome: Option<Delivered>,
    late: HashMap<String, Delivered>,
    analysis: Option<Analysis>,
    decisions: Vec<Decided>,
    failures: Vec<(Option<String>, LoginResult)>,
    cached: Vec<(CacheKind, Cached)>,
}

/// The store.
#[derive(Debug, Default)]
pub struct FakeStore {
    state: Mutex<State>,
}

impl FakeStore {
    /// Listens in this folder; the client goes with it.
    pub fn start(folder: &Path, role: Role) -> io::Result<(Arc<Self>, Store)> {
        let path = folder.join(format!("{}.sock", role.socket()));
        let listener = UnixListener::bind(&path)?;
        let store = Arc::new(Self::default());
        let service = Arc::clone(&store);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(libmox_ipc::serve(Arc::clone(&service), role, stream, "fake-store"));
            }
        });
        Ok((store, Store::new(&path, "test")))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a recipient is; unknown ones are foreign.
    pub fn recipient(&self, address: &str, status: RecipientStatus) {
        self.state().recipients.insert(address.into(), status);
    }

    /// Somebody who may sign in, and send as this address.
    pub fn person(&self, address: &str, password: &str) {
        self.state().passwords.insert(address.into(), password.into());
    }

    /// Every delivery and queueing fails so from now on.
    pub fn fail_with(&self, fault: Option<Fault>) {
        self.state().fault = fault;
    }

    /// Every recipient of a delivery gets this.
    pub fn answer_deliveries_with(&self, outcome: Option<Delivered>) {
        self.state().outcome = outcome;
    }

    /// This recipient, though accepted, cannot have a message that is for several.
    pub fn refuse_late(&self, address: &str, outcome: Delivered) {
        self.state().late.insert(address.into(), outcome);
    }

    /// What is thought of every message from now on; to begin with, that it is fine.
    pub fn think(&self, analysis: Analysis) {
        self.state().analysis = Some(analysis);
    }

    /// What it was told to remember. It forgets nothing by itself.
    pub fn cached(&self) -> Vec<Cached> {
        self.state().cached.iter().map(|(_, one)| one.clone()).collect()
    }

    /// That it is fine.
    #[must_use]
    pub fn fine() -> Analysis {
        Analysis {
            decision: Decision::Accept,
            reason: String::new(),
            destined: None,
            text: String::new(),
            ask_lists: false,
            first: false,
            pass: None,
            chain: Vec::new(),
            dmarc_override: None,
            report_error: None,
        }
    }

    /// What came in, taken out.
    pub fn take(&self) -> Vec<Received> {
        std::mem::take(&mut self.state().received)
    }

    /// Logins that ended before there was anything to look at, taken out.
    pub fn failures(&self) -> Vec<(Option<String>, LoginResult)> {
        std::mem::take(&mut self.state().failures)
    }

    /// Why so, taken out.
    pub fn decisions(&self) -> Vec<Decided> {
        std::mem::take(&mut self.state().decisions)
    }

    /// Staging files that were neither used nor given back.
    pub fn staged(&self) -> usize {
        self.state().staged.len()
    }
}

impl Service for FakeStore {
    type Contract = StoreContract;
    type Peer = Role;

    fn may(&self, role: &Role, request: &Request) -> Result<(), Refusal> {
        if role.may(request) { Ok(()) } else { Err(Refusal("verb of another role")) }
    }

    async fn call(
        self: Arc<Self>,
        _: Arc<Role>,
        request: Request,
        _: Vec<OwnedFd>,
        answer: Answer<StoreContract>,
    ) {
        let (outcome, descriptors) = self.state().answer(request);
        answer.reply_with(outcome, descriptors).await;
    }
}

type Outcome = (Result<Reply, Fault>, Vec<OwnedFd>);

impl State {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn answer_delivery(&mut self, deliver: Deliver) -> Result<Reply, Fault> {
        self.refusal()?;
        let bytes = self.body(&deliver.body)?;
        let id = MsgId(self.number());
        let outcome = self.outcome.clone().unwrap_or(Delivered::Stored(Stored { id }));
        let outcomes = deliver.recipients.iter().map(|_| outcome.clone()).collect();
        self.received.push(Received::Delivery(Box::new(deliver), bytes));
        Ok(Reply::Deliver(outcomes))
    }

    fn answer(&mut self, request: Request) -> Outcome {
        if let Request::Stage(_) = request {
            return self.stage();
        }
        (self.plain(request), Vec::new())
    }

    fn stage(&mut self) -> Outcome {
        let id = self.number();
        let file = tempfile::tempfile().and_then(|file| Ok((file.try_clone()?, file)));
        match file {
            Ok((ours, theirs)) => {
                self.staged.insert(id, ours);
                (Ok(Reply::Stage(BodyId(id))), vec![OwnedFd::from(theirs)])
            }
            Err(error) => (Err(Fault::Unavailable(error.to_string())), Vec::new()),
        }
    }

    fn plain(&mut self, request: Request) -> Result<Reply, Fault> {
        Ok(match request {
            Request::Ping(_) => Reply::Ping(()),
            Request::Unstage(unstage) => {
                self.staged.remove(&unstage.0.0).ok_or(Fault::NoBody)?;
                Reply::Unstage(())
            }
            Request::CheckRecipient(ask) => {
                let name = match ask.recipient {
                    RecipientPath::Address(address) => address.to_string(),
                    RecipientPath::Postmaster => "postmaster".into(),
                    RecipientPath::Literal(local, ip) => format!("{}@[{ip}]", local.as_str()),
                };
                let status = self.recipients.get(&name).cloned();
                Reply::CheckRecipient(status.unwrap_or(RecipientStatus::Foreign))
            }
            Request::Analyze(ask) => {
                self.refusal()?;
                let one = self.analysis.clone().unwrap_or_else(FakeStore::fine);
                let analyses = ask.recipients.iter().map(|_| one.clone()).collect();
                Reply::Analyze(analyses)
            }
            Request::Decided(decided) => {
                self.decisions.push(decided);
                Reply::Decided(())
            }
            Request::Feedback(_) => Reply::Feedback(()),
            // It remembers nothing.
            Request::CacheGet(CacheGet { kind, name }) => {
                let known = self.cached.iter().find(|(of, one)| *of == kind && one.name == name);
                Reply::CacheGet(known.map(|(_, one)| one.clone()))
            }
            Request::CacheSet(CacheSet { kind, name, value, expires }) => {
                self.cached.retain(|(of, one)| *of != kind || one.name != name);
                let one = |value| Cached { name, value, set: expires, expires };
                self.cached.extend(value.map(|value| (kind, one(value.into_vec()))));
                Reply::CacheSet(())
            }
            Request::DeliverNoting(noting) => {
                let Reply::Deliver(outcomes) = self.answer_delivery(noting.deliver)? else {
                    return Err(Fault::Internal);
                };
                if outcomes.iter().all(|outcome| matches!(outcome, Delivered::Stored(_))) {
                    self.decisions.push(noting.decided);
                }
                Reply::DeliverNoting(outcomes)
            }
            Request::Deliver(deliver) => self.answer_delivery(deliver)?,
            Request::DeliverTogether(ask) => {
                self.refusal()?;
                let against: Vec<_> = ask
                    .deliver
                    .recipients
                    .iter()
                    .map(|to| match &to.recipient {
                        RecipientPath::Address(address) => self.late.get(&address.to_string()).cloned(),
                        _ => None,
                    })
                    .collect();
                if against.iter().any(Option::is_some) {
                    return Ok(Reply::DeliverTogether(Together::Nothing(against)));
                }
                let bytes = self.body(&ask.deliver.body)?;
                let proof =
                    ask.deliver.recipients.iter().map(|_| Stored { id: MsgId(self.number()) }).collect();
                self.received.push(Received::Delivery(Box::new(ask.deliver), bytes));
                if let Some(report) = ask.report {
                    let bytes = self.body(&report.body)?;
                    self.received.push(Received::Report(Box::new(report), bytes));
                }
                Reply::DeliverTogether(Together::Stored(proof))
            }
            Request::QueueAdd(add) => {
                self.refusal()?;
                let login = self.sessions.get(&add.session.0).cloned().ok_or(Fault::NoSession)?;
                let foreign = |address: &Address| address.to_string() != login;
                if add.header_from.as_ref().is_some_and(foreign) {
                    return Err(Fault::NotYours);
                }
                let bytes = self.body(&add.body)?;
                let ids = add.recipients.iter().map(|_| QueueId(self.number())).collect();
                self.received.push(Received::Queued(Box::new(add), bytes));
                Reply::QueueAdd(ids)
            }
            Request::CheckSender(ask) => {
                let login = self.sessions.get(&ask.session.0).ok_or(Fault::NoSession)?;
                Reply::CheckSender(ask.address.to_string() == *login)
            }
            Request::SignIn(SignIn { proof, .. }) => {
                let outcome = match proof {
                    Proof::Password(login) => {
                        let right = self.passwords.get(&login.username) == Some(&login.password);
                        self.sign_in(&login.username, right, Vec::new())
                    }
                    Proof::Scram(finish) => {
                        let (username, verifier, _) =
                            self.exchanges.remove(&finish.exchange).ok_or(Fault::NotFound)?;
                        let signature = scram::verify(&verifier, &finish.auth_message, &finish.proof);
                        let right = signature.is_some();
                        self.sign_in(&username, right, signature.unwrap_or_default())
                    }
                    Proof::Cram(_) | Proof::Key(_) => LoginOutcome::Denied,
                };
                Reply::SignIn(KeyLogin { outcome, preauth: false })
            }
            Request::NoteFailure(note) => {
                self.failures.push((note.username, note.result));
                Reply::NoteFailure(())
            }
            Request::LoginLocal(login) => {
                let user = format!("{}@localhost", login.user);
                Reply::LoginLocal(self.sign_in(&user, true, Vec::new()))
            }
            Request::ScramStart(start) => {
                let hash = match start.hash {
                    ScramHash::Sha1 => Hash::Sha1,
                    ScramHash::Sha256 => Hash::Sha256,
                };
                let password = self.passwords.get(&start.username).cloned().unwrap_or_else(|| "\u{1}".into());
                let prepared = prepare_password(&password).unwrap_or(Secret("decoy".into()));
                let verifier = scram::derive(hash, &prepared, b"salt", 4096);
                let exchange = self.number();
                let server_nonce = format!("server{exchange}");
                self.exchanges.insert(exchange, (start.username, verifier, server_nonce.clone()));
                Reply::ScramStart(ScramChallenge {
                    exchange,
                    salt: b"salt".to_vec(),
                    iterations: 4096,
                    server_nonce,
                })
            }
            Request::SignOut(session) => {
                self.sessions.remove(&session.0.0);
                Reply::SignOut(())
            }
            _ => return Err(Fault::Invalid("not in the fake store".into())),
        })
    }

    fn refusal(&self) -> Result<(), Fault> {
        self.fault.clone().map_or(Ok(()), Err)
    }

    fn sign_in(&mut self, username: &str, right: bool, server_signature: Vec<u8>) -> LoginOutcome {
        let Ok(login) = Address::parse(username) else { return LoginOutcome::Denied };
        if !right {
            return LoginOutcome::Denied;
        }
        let session = self.number();
        self.sessions.insert(session, username.into());
        LoginOutcome::SignedIn(SignedIn {
            session: SessionId(session),
            account: AccountId(1),
            account_name: "test".into(),
            login,
            server_signature,
        })
    }

    fn body(&mut self, body: &Body) -> Result<Vec<u8>, Fault> {
        match body {
            Body::Inline(bytes) => Ok(bytes.clone()),
            Body::Staged { body, size } => {
                let file = self.staged.remove(&body.0).ok_or(Fault::NoBody)?;
                let len = file.metadata().map_err(|e| Fault::Unavailable(e.to_string()))?.len();
                if len != size.0 {
                    return Err(Fault::NoBody);
                }
                let mut bytes = vec![0; usize::try_from(len).map_err(|_| Fault::NoBody)?];
                file.read_exact_at(&mut bytes, 0).map_err(|e| Fault::Unavailable(e.to_string()))?;
                Ok(bytes)
            }
        }
    }
}

/// For assertions: the envelope sender of what was received.
impl Received {
    /// MAIL FROM.
    #[must_use]
    pub fn mail_from(&self) -> &ReversePath {
        match self {
            Self::Delivery(deliver, _) => &deliver.mail_from,
            Self::Queued(add, _) => &add.mail_from,
            Self::Report(..) => &ReversePath::Null,
        }
    }

    /// The octets of the message.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        match self {
            Self::Delivery(_, body) | Self::Queued(_, body) | Self::Report(_, body) => body,
        }
    }
}
