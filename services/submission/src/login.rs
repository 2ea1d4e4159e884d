//! SASL over an SMTP connection: lines of base64, questions for the store.
//!
//! Law: RFC 4954. Lines of an exchange are never logged.

use crate::answers::Answers;
use crate::{events, policy};
use libmox_sasl::scram::Hash;
use libmox_sasl::{
    Answer, Bindings, Fault, Mechanism, Question, ServerExchange, Step, decode_line, encode_line,
};
use libmox_service::wire::{Wire, WireFault};
use libmox_smtp::session::Login;
use libmox_smtp::{Reply, limits};
use libmox_store::{
    CramFinish, CramStart, LoginContext, LoginKey, LoginOutcome, LoginPassword, LoginResult, NoteFailure,
    Proof, ScramFinish, ScramHash, ScramStart, SignIn, StoreError,
};

/// What is on offer: -PLUS where there is a channel to bind to.
pub(crate) fn mechanisms(wire: &Wire) -> Vec<Mechanism> {
    let bound = bindings(wire).any();
    let has_key = wire.tls().is_some_and(|tls| tls.client_key.is_some());
    let offered = |mechanism: &Mechanism| match mechanism {
        Mechanism::External => has_key,
        mechanism => bound || !mechanism.is_plus(),
    };
    Mechanism::ALL.into_iter().filter(offered).collect()
}

/// Signs in with the key of the client's certificate, where it has one that is known here (row SU-11): no AUTH is
/// needed then. Whatever else it comes to, the client may still say AUTH.
pub(crate) async fn with_key(answers: &mut Answers, wire: &Wire) -> bool {
    let Some(fingerprint) = wire.tls().and_then(|tls| tls.client_key.clone()) else { return false };
    let context = context(answers, wire, "TLS");
    let proof = Proof::Key(LoginKey { context, fingerprint, authorize: None });
    match answers.store.ask(SignIn { local_ip: Some(answers.local), proof }).await {
        Ok(login) => match login.outcome {
            LoginOutcome::SignedIn(signed_in) => {
                events::signed_in(answers.cid, &signed_in.account_name, "TLS");
                answers.signed_in(signed_in).await;
                true
            }
            other => {
                let (_, reason) = policy::login_refusal(&other);
                events::login_failed(answers.cid, answers.ip, "TLS", reason);
                false
            }
        },
        Err(error) => {
            events::COMMON.unavailable(answers.cid, "mox-store", &error);
            false
        }
    }
}

fn bindings(wire: &Wire) -> Bindings {
    wire.tls().map_or_else(Bindings::default, |tls| Bindings {
        exporter: tls.exporter.map(|bytes| bytes.to_vec()),
        end_point: Some(tls.end_point.clone()).filter(|hash| !hash.is_empty()),
    })
}

/// What an exchange came to, besides its steps.
#[derive(Default)]
struct Talk {
    /// The credentials were right; good once the exchange is over.
    granted: Option<Box<libmox_store::SignedIn>>,
    /// The store's words for a refusal.
    refusal: Option<(Login, &'static str)>,
    /// The client gave up.
    cancelled: bool,
}

/// Runs one exchange.
pub(crate) async fn run(
    answers: &mut Answers,
    wire: &mut Wire,
    mechanism: Mechanism,
    initial: Option<Vec<u8>>,
) -> Result<Login, WireFault> {
    let mut exchange = ServerExchange::new(mechanism, bindings(wire));
    let mut talk = Talk::default();
    let mut step = match initial {
        Some(line) => message(&mut exchange, &line),
        None => exchange.begin(),
    };
    let fault = loop {
        step = match step {
            Step::Challenge(challenge) => {
                Reply::new(334, "", encode_line(&challenge)).write(wire.output());
                let line = read_line(wire).await?;
                if line == b"*" {
                    // RFC 4954 §4: the client gives up.
                    let reply = Reply::new(501, "5.7.0", "cancelled");
                    talk.refusal = Some((Login::Uncounted(reply), "cancelled"));
                    talk.cancelled = true;
                    break Fault::Denied;
                }
                message(&mut exchange, &line)
            }
            Step::Ask(question) => {
                let answer = ask(answers, wire, mechanism, question, &mut talk).await;
                exchange.on_answer(answer)
            }
            Step::Done => {
                // Row AU-06: who has a certificate of one account does not become another.
                if let Some(signed_in) = talk.granted.take_if(|signed_in| answers.may_become(signed_in)) {
                    events::signed_in(answers.cid, &signed_in.account_name, mechanism.name());
                    answers.signed_in(*signed_in).await;
                    return Ok(Login::SignedIn);
                }
                break Fault::Denied;
            }
            Step::Failed(fault) => break fault,
        };
    };
    if let Some(signed_in) = talk.granted {
        // The client left after its proof: the capability is given back.
        answers.sign_out_of(signed_in.session).await;
    }
    // What the store looked at it has noted itself.
    let result = match fault {
        _ if talk.cancelled => Some(LoginResult::Cancelled),
        Fault::Denied => None,
        fault if fault.is_binding() => Some(LoginResult::BadBinding),
        _ => Some(LoginResult::Malformed),
    };
    if let Some(result) = result {
        let username = exchange.username().map(str::to_owned);
        let context = context(answers, wire, mechanism.name());
        let note = NoteFailure { context, local_ip: Some(answers.local), username, result };
        // Only for the record.
        if let Err(error) = answers.store.ask(note).await {
            tracing::debug!(mox_cid = %answers.cid, %error, "a login was not recorded");
        }
    }
    let (login, reason) = talk.refusal.unwrap_or_else(|| match fault {
        Fault::Encoding | Fault::TooLong | Fault::Malformed | Fault::Order => {
            let reply = Reply::new(501, "5.5.2", "malformed authentication message");
            (Login::Refused(reply), "malformed message")
        }
        _ => (Login::Refused(policy::login_denied()), "protocol"),
    });
    events::login_failed(answers.cid, answers.ip, mechanism.name(), &format!("{reason} ({fault})"));
    Ok(login)
}

fn message(exchange: &mut ServerExchange, line: &[u8]) -> Step {
    match decode_line(line) {
        Ok(message) => exchange.on_message(&message),
        Err(fault) => Step::Failed(fault),
    }
}

/// One line of the client, without its end. A longer one than any mechanism needs ends the connection.
async fn read_line(wire: &mut Wire) -> Result<Vec<u8>, WireFault> {
    loop {
        let buffered = wire.buffered();
        if let Some(end) = memchr::memchr(b'\n', buffered) {
            let line = &buffered[..end];
            let line = line.strip_suffix(b"\r").unwrap_or(line).to_vec();
            wire.consume(end + 1);
            return Ok(line);
        }
        if buffered.len() > limits::AUTH_OCTETS {
            return Err(WireFault::Closed);
        }
        wire.flush(limits::DATA_WAIT).await?;
        wire.fill(limits::COMMAND_WAIT).await?;
    }
}

fn context(answers: &Answers, wire: &Wire, mechanism: &str) -> LoginContext {
    LoginContext {
        cid: answers.cid,
        remote_ip: answers.ip,
        protocol: "submission".into(),
        mechanism: mechanism.into(),
        tls: wire.tls().map(|tls| format!("{} {}", tls.version, tls.cipher)).unwrap_or_default(),
        user_agent: String::new(),
    }
}

async fn ask(
    answers: &Answers,
    wire: &Wire,
    mechanism: Mechanism,
    question: Question,
    talk: &mut Talk,
) -> Answer {
    let context = context(answers, wire, mechanism.name());
    let proof = match question {
        Question::CramStart => {
            return match answers.store.ask(CramStart).await {
                Ok(begun) => Answer::Cram { exchange: begun.exchange, challenge: begun.challenge },
                Err(error) => settle(answers, Err(error), talk),
            };
        }
        Question::CramFinish { exchange, username, digest } => {
            Proof::Cram(CramFinish { context, exchange, username, digest })
        }
        Question::Certificate { authorize } => match wire.tls().and_then(|tls| tls.client_key.clone()) {
            Some(fingerprint) => Proof::Key(LoginKey { context, fingerprint, authorize }),
            None => return settle(answers, Ok(LoginOutcome::Denied), talk),
        },
        Question::Password { username, password } => {
            Proof::Password(LoginPassword { context, username, password: password.0 })
        }
        Question::ScramFinish { exchange, auth_message, proof } => {
            Proof::Scram(ScramFinish { context, exchange, auth_message, proof })
        }
        Question::ScramStart { hash, username } => {
            let hash = match hash {
                Hash::Sha1 => ScramHash::Sha1,
                Hash::Sha256 => ScramHash::Sha256,
            };
            return match answers.store.ask(ScramStart { hash, username }).await {
                Ok(challenge) => Answer::Scram {
                    exchange: challenge.exchange,
                    salt: challenge.salt,
                    iterations: challenge.iterations,
                    server_nonce: challenge.server_nonce,
                },
                Err(error) => settle(answers, Err(error), talk),
            };
        }
    };
    let outcome = answers.store.ask(SignIn { local_ip: Some(answers.local), proof }).await;
    settle(answers, outcome.map(|login| login.outcome), talk)
}

fn settle(answers: &Answers, outcome: Result<LoginOutcome, StoreError>, talk: &mut Talk) -> Answer {
    match outcome {
        Ok(LoginOutcome::SignedIn(signed_in)) => {
            let server_signature = signed_in.server_signature.clone();
            talk.granted = Some(Box::new(signed_in));
            Answer::Granted { server_signature }
        }
        Ok(other) => {
            talk.refusal = Some(policy::login_refusal(&other));
            Answer::Denied
        }
        Err(error) => {
            events::COMMON.unavailable(answers.cid, "mox-store", &error);
            let reply = Reply::new(454, "4.7.0", "cannot check credentials now, try again later");
            talk.refusal = Some((Login::Uncounted(reply), "store unavailable"));
            Answer::Denied
        }
    }
}
