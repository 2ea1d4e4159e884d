//! Signing in: LOGIN and AUTHENTICATE.
//!
//! Law: RFC 9051 §6.2.2 and §6.2.3, RFC 4959; the exchanges are those of `libmox-sasl`, the secrets stay in the store.

use crate::Start;
use crate::connection::{Account, Connection, Done};
use crate::error::Failure;
use crate::events;
use libmox_imap::command::Secret;
use libmox_imap::response::{Code, Status, continuation};
use libmox_imap::{Step, limits, parse_sasl_line};
use libmox_sasl::{Answer, Mechanism, Question, ServerExchange};
use libmox_store::{
    AskStanding, CramFinish, CramStart, GrantToken, KeyLogin, LoginContext, LoginGrant, LoginKey,
    LoginOutcome, LoginPassword, LoginResult, NoteFailure, Proof, ReaderConfig, ScramFinish, ScramHash,
    ScramStart, SignIn, SignOut, SignedIn, StoreError,
};
use std::time::Duration;

/// How an exchange ended.
enum Outcome {
    SignedIn(SignedIn),
    /// Answered NO, and counted.
    Refused(Code, String),
    /// Answered NO without a code: the credentials were right (row AU-12).
    Disabled(String),
    /// Refused, and not counted (row AU-10).
    NoSecret,
    /// Not tried at all.
    Cancelled(&'static str),
    Limited,
}

impl Connection {
    fn login_context(&self, mechanism: &str) -> LoginContext {
        LoginContext {
            cid: self.cid,
            remote_ip: self.remote,
            protocol: "imap".into(),
            mechanism: mechanism.into(),
            tls: self.wire.tls().map_or_else(String::new, |tls| format!("{} {}", tls.version, tls.cipher)),
            user_agent: self.agent.clone(),
        }
    }

    /// Signs in with a token that an administrator brought (row IM-42). Fails in words for whoever brought it.
    pub(crate) async fn grant(&mut self, token: GrantToken) -> Result<(), String> {
        let context = LoginContext { mechanism: "(admin)".into(), ..self.login_context("PLAIN") };
        let outcome = self.shared.store.ask(LoginGrant { context, token }).await;
        match outcome.map_err(|error| error.to_string())? {
            LoginOutcome::SignedIn(signed_in) => {
                events::signed_in(self.cid, self.remote, &signed_in.account_name);
                self.account = Some(Account::of(&signed_in));
                self.reader.signed_in();
                let config = ReaderConfig { session: signed_in.session };
                let settings = self.shared.store.ask(config).await.map_err(|error| error.to_string())?;
                self.session.signed_in(settings.disabled_capabilities);
                Ok(())
            }
            _ => Err("the token is not good, or not any more".into()),
        }
    }

    /// How the client's address stands, before the greeting: with failed logins, over all protocols, it is served slowly,
    /// and with too many not at all (rows IM-48, MP-08).
    pub(crate) async fn stand(&mut self) -> Result<(), Failure> {
        // Without an answer each login is looked at all the same.
        let Ok(standing) = self.shared.store.ask(AskStanding { remote_ip: self.remote }).await else {
            return Ok(());
        };
        if standing.limited && !self.session.is_signed_in() {
            events::refused(self.cid, self.remote, TOO_MANY);
            return Err(Failure::Bye(Some(Code::Limit), TOO_MANY.into()));
        }
        if standing.failures >= limits::SLOW_AFTER && !self.session.is_signed_in() {
            self.wire.slow_down(self.patience());
        }
        Ok(())
    }

    fn patience(&self) -> Duration {
        self.shared.context.config().service.bad_client_delay
    }

    /// The key of the client's certificate, right after the handshake: the greeting may be PREAUTH (row IM-41).
    pub(crate) async fn look_at_key(&mut self) {
        let Some(fingerprint) = self.wire.tls().and_then(|tls| tls.client_key.clone()) else { return };
        let verb = LoginKey { context: self.login_context("TLS"), fingerprint, authorize: None };
        let Ok(login) = self.prove(Proof::Key(verb)).await else { return };
        let LoginOutcome::SignedIn(signed_in) = login.outcome else { return };
        // Nobody else signs in here, now or behind UNAUTHENTICATE (row AU-06).
        self.key_of = Some(signed_in.account);
        if login.preauth && self.start == Start::Tls {
            events::signed_in(self.cid, self.remote, &signed_in.account_name);
            self.account = Some(Account::of(&signed_in));
            self.reader.signed_in();
            // Row IM-47; without an answer everything is announced.
            let config = ReaderConfig { session: signed_in.session };
            let settings = self.shared.store.ask(config).await.unwrap_or_default();
            self.session.signed_in(settings.disabled_capabilities);
            return;
        }
        // It says AUTHENTICATE EXTERNAL, or something else for the same account (row TR-39).
        let _ = self.shared.store.ask(SignOut(signed_in.session)).await;
    }

    async fn prove(&self, proof: Proof) -> Result<KeyLogin, StoreError> {
        self.shared.store.ask(SignIn { local_ip: self.local, proof }).await
    }

    /// An exchange that ended before there was a proof (rows AU-02, AU-13). Only for the record.
    async fn note_failure(&self, exchange: &ServerExchange, result: LoginResult) {
        let note = NoteFailure {
            context: self.login_context(exchange.mechanism().name()),
            local_ip: self.local,
            username: exchange.username().map(str::to_owned),
            result,
        };
        if let Err(error) = self.shared.store.ask(note).await {
            tracing::debug!(mox_cid = %self.cid, %error, "a login was not recorded");
        }
    }

    /// LOGIN. True if the connection is over.
    pub(crate) async fn login(&mut self, user: &str, password: &Secret) -> Result<bool, Failure> {
        let outcome = match libmox_sasl::prepare_username(user) {
            Some(username) => self.check_password(username, password.0.clone(), Mechanism::Login).await,
            None => Ok(refused()),
        };
        self.end_login(outcome).await
    }

    async fn check_password(
        &self,
        username: String,
        password: String,
        mechanism: Mechanism,
    ) -> Result<Outcome, Failure> {
        let verb = LoginPassword { context: self.login_context(mechanism.name()), username, password };
        Ok(outcome(self.prove(Proof::Password(verb)).await.map_err(before_login)?.outcome))
    }

    /// AUTHENTICATE. True if the connection is over.
    pub(crate) async fn authenticate(
        &mut self,
        mechanism: &str,
        initial: Option<Secret>,
    ) -> Result<bool, Failure> {
        let outcome = match Mechanism::parse(mechanism.as_bytes()) {
            Some(mechanism) => self.exchange(mechanism, initial).await,
            None => Ok(Outcome::Cancelled("mechanism not offered")),
        };
        self.end_login(outcome).await
    }

    async fn exchange(&mut self, mechanism: Mechanism, initial: Option<Secret>) -> Result<Outcome, Failure> {
        let mut exchange = ServerExchange::new(mechanism, self.bindings());
        let mut granted: Option<SignedIn> = None;
        let mut denied: Option<Outcome> = None;
        let mut step = match initial {
            Some(message) => exchange.on_message(message.0.as_bytes()),
            None => exchange.begin(),
        };
        loop {
            step = match step {
                libmox_sasl::Step::Challenge(message) => {
                    continuation(self.wire.output(), &libmox_sasl::encode_line(&message));
                    let line = self.line().await?;
                    match parse_sasl_line(&line) {
                        Ok(Some(message)) => exchange.on_message(message.0.as_bytes()),
                        Ok(None) => {
                            self.note_failure(&exchange, LoginResult::Cancelled).await;
                            return Ok(Outcome::Cancelled("cancelled"));
                        }
                        Err(_) => {
                            self.note_failure(&exchange, LoginResult::Malformed).await;
                            return Ok(Outcome::Cancelled("not base64"));
                        }
                    }
                }
                libmox_sasl::Step::Ask(question) => {
                    let answer = match question {
                        Question::Password { username, password } => {
                            self.check_password(username, password.0, mechanism).await?
                        }
                        Question::CramStart => {
                            let begun = self.shared.store.ask(CramStart).await.map_err(before_login)?;
                            let (number, challenge) = (begun.exchange, begun.challenge);
                            step = exchange.on_answer(Answer::Cram { exchange: number, challenge });
                            continue;
                        }
                        Question::CramFinish { exchange, username, digest } => {
                            let context = self.login_context(mechanism.name());
                            let verb = CramFinish { context, exchange, username, digest };
                            outcome(self.prove(Proof::Cram(verb)).await.map_err(before_login)?.outcome)
                        }
                        Question::Certificate { authorize } => self.check_key(authorize).await?,
                        Question::ScramStart { hash, username } => {
                            let challenge = self.scram_start(hash, username).await?;
                            step = exchange.on_answer(challenge);
                            continue;
                        }
                        Question::ScramFinish { exchange, auth_message, proof } => {
                            let context = self.login_context(mechanism.name());
                            let verb = ScramFinish { context, exchange, auth_message, proof };
                            outcome(self.prove(Proof::Scram(verb)).await.map_err(before_login)?.outcome)
                        }
                    };
                    match answer {
                        Outcome::SignedIn(signed_in) => {
                            let server_signature = signed_in.server_signature.clone();
                            granted = Some(signed_in);
                            exchange.on_answer(Answer::Granted { server_signature })
                        }
                        other => {
                            denied = Some(other);
                            exchange.on_answer(Answer::Denied)
                        }
                    }
                }
                libmox_sasl::Step::Done => {
                    return Ok(granted.map_or_else(refused, Outcome::SignedIn));
                }
                libmox_sasl::Step::Failed(fault) => {
                    if let Some(signed_in) = granted {
                        // The client gave up after the store let it in.
                        let _ = self.shared.store.ask(libmox_store::SignOut(signed_in.session)).await;
                    }
                    tracing::debug!(mox_cid = %self.cid, %fault, "login exchange failed");
                    match fault {
                        // What the store looked at it has noted itself.
                        libmox_sasl::Fault::Denied => {}
                        fault if fault.is_binding() => {
                            self.note_failure(&exchange, LoginResult::BadBinding).await;
                        }
                        _ => self.note_failure(&exchange, LoginResult::Malformed).await,
                    }
                    if fault == libmox_sasl::Fault::Authorization {
                        let text = "nobody acts for somebody else";
                        return Ok(Outcome::Refused(Code::AuthorizationFailed, text.into()));
                    }
                    return Ok(denied.unwrap_or_else(refused));
                }
            };
        }
    }

    async fn check_key(&self, authorize: Option<String>) -> Result<Outcome, Failure> {
        let Some(fingerprint) = self.wire.tls().and_then(|tls| tls.client_key.clone()) else {
            return Ok(refused());
        };
        let context = self.login_context(Mechanism::External.name());
        let verb = LoginKey { context, fingerprint, authorize };
        Ok(outcome(self.prove(Proof::Key(verb)).await.map_err(before_login)?.outcome))
    }

    async fn scram_start(&self, hash: libmox_sasl::scram::Hash, username: String) -> Result<Answer, Failure> {
        let hash = match hash {
            libmox_sasl::scram::Hash::Sha1 => ScramHash::Sha1,
            libmox_sasl::scram::Hash::Sha256 => ScramHash::Sha256,
        };
        let challenge = self.shared.store.ask(ScramStart { hash, username }).await.map_err(before_login)?;
        Ok(Answer::Scram {
            exchange: challenge.exchange,
            salt: challenge.salt,
            iterations: challenge.iterations,
            server_nonce: challenge.server_nonce,
        })
    }

    async fn end_login(&mut self, outcome: Result<Outcome, Failure>) -> Result<bool, Failure> {
        let outcome = match outcome {
            // Row AU-06: who has a certificate of one account does not become another.
            Ok(Outcome::SignedIn(signed_in)) if self.key_of.is_some_and(|key| key != signed_in.account) => {
                let _ = self.shared.store.ask(SignOut(signed_in.session)).await;
                Ok(refused())
            }
            other => other,
        };
        match outcome {
            Ok(Outcome::SignedIn(signed_in)) => {
                self.wire.slow_down(Duration::ZERO);
                events::signed_in(self.cid, self.remote, &signed_in.account_name);
                self.account = Some(Account::of(&signed_in));
                self.reader.signed_in();
                let config = ReaderConfig { session: signed_in.session };
                let settings = self.shared.store.ask(config).await?;
                self.session.signed_in(settings.disabled_capabilities);
                let code = Code::Capability(self.session.capabilities());
                self.finish(Ok(Done::with(code))).await?;
                Ok(false)
            }
            Ok(Outcome::Refused(code, text)) => {
                events::refused(self.cid, self.remote, &text);
                self.lose_patience().await;
                self.session.complete(Status::No, Some(&code), &text, self.wire.output());
                Ok(self.session.login_failed(self.wire.output()) == Step::Close)
            }
            Ok(Outcome::NoSecret) => {
                events::refused(self.cid, self.remote, "no secret for this mechanism");
                let code = Code::AuthenticationFailed;
                self.session.complete(Status::No, Some(&code), "login failed", self.wire.output());
                Ok(false)
            }
            Ok(Outcome::Disabled(text)) => {
                events::refused(self.cid, self.remote, "login is switched off");
                self.session.complete(Status::No, None, &text, self.wire.output());
                Ok(self.session.login_failed(self.wire.output()) == Step::Close)
            }
            Ok(Outcome::Cancelled(text)) => {
                self.session.complete(Status::Bad, None, text, self.wire.output());
                Ok(self.session.login_failed(self.wire.output()) == Step::Close)
            }
            Ok(Outcome::Limited) => {
                events::refused(self.cid, self.remote, TOO_MANY);
                Err(Failure::Bye(Some(Code::Limit), TOO_MANY.into()))
            }
            Err(failure) => {
                self.finish(Err(failure)).await?;
                Ok(false)
            }
        }
    }
}

impl Connection {
    /// Row AU-15: from the third failure on slowly, from the fourth with a pause before the answer.
    async fn lose_patience(&mut self) {
        self.failed += 1;
        if self.failed >= limits::SLOW_AFTER {
            self.wire.slow_down(self.patience());
        }
        let more = self.failed.saturating_sub(limits::SLOW_AFTER);
        tokio::time::sleep(self.patience() * more).await;
    }
}

const TOO_MANY: &str = "too many failed logins, try again later";

fn refused() -> Outcome {
    Outcome::Refused(Code::AuthenticationFailed, "login failed".into())
}

fn outcome(outcome: LoginOutcome) -> Outcome {
    match outcome {
        LoginOutcome::SignedIn(signed_in) => Outcome::SignedIn(signed_in),
        LoginOutcome::Denied => refused(),
        // Row TR-24: it is not the client's fault, so nothing gets slower.
        LoginOutcome::NoSecret => Outcome::NoSecret,
        LoginOutcome::Disabled(text) => Outcome::Disabled(text),
        LoginOutcome::Limited => Outcome::Limited,
    }
}

/// Nothing is lost with the connection to the store yet: the client may try again on this one.
fn before_login(error: StoreError) -> Failure {
    match error {
        StoreError::Lost | StoreError::Unreachable(_) => {
            Failure::no(Code::Unavailable, "login is not possible now, try again later")
        }
        other => other.into(),
    }
}
