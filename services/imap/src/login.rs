//! Signing in: LOGIN and AUTHENTICATE.
//!
//! Law: RFC 9051 §6.2.2 and §6.2.3, RFC 4959; the exchanges are those of `libmox-sasl`, the secrets stay in the store.

use crate::connection::{Connection, Done};
use crate::error::Failure;
use crate::events;
use libmox_imap::command::Secret;
use libmox_imap::response::{Code, Status, continuation};
use libmox_imap::{Step, parse_sasl_line};
use libmox_sasl::{Answer, Mechanism, Question, ServerExchange};
use libmox_store::{
    GrantToken, LoginContext, LoginGrant, LoginOutcome, LoginPassword, ReaderConfig, ScramFinish, ScramHash,
    ScramStart, SignedIn, StoreError,
};

/// How an exchange ended.
enum Outcome {
    SignedIn(SignedIn),
    /// Answered NO, and counted.
    Refused(Code, String),
    /// Answered NO without a code: the credentials were right (row AU-12).
    Disabled(String),
    /// Not tried at all.
    Cancelled(&'static str),
    Limited,
}

impl Connection {
    fn login_context(&self, mechanism: Mechanism) -> LoginContext {
        LoginContext {
            cid: self.cid,
            remote_ip: self.remote,
            protocol: "imap".into(),
            mechanism: mechanism.name().into(),
            tls: self.wire.tls().map_or_else(String::new, |tls| format!("{} {}", tls.version, tls.cipher)),
            user_agent: self.agent.clone(),
        }
    }

    /// Signs in with a token that an administrator brought (row IM-42). Fails in words for whoever brought it.
    pub(crate) async fn grant(&mut self, token: GrantToken) -> Result<(), String> {
        let context = LoginContext { mechanism: "(admin)".into(), ..self.login_context(Mechanism::Plain) };
        let outcome = self.shared.store.ask(LoginGrant { context, token }).await;
        match outcome.map_err(|error| error.to_string())? {
            LoginOutcome::SignedIn(signed_in) => {
                events::signed_in(self.cid, self.remote, &signed_in.account_name);
                self.account = Some(signed_in.session);
                self.reader.signed_in();
                let config = ReaderConfig { session: signed_in.session };
                let settings = self.shared.store.ask(config).await.map_err(|error| error.to_string())?;
                self.session.signed_in(settings.disabled_capabilities);
                Ok(())
            }
            _ => Err("the token is not good, or not any more".into()),
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
        let verb = LoginPassword { context: self.login_context(mechanism), username, password };
        Ok(outcome(self.shared.store.ask(verb).await.map_err(before_login)?))
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
                        Ok(None) => return Ok(Outcome::Cancelled("cancelled")),
                        Err(_) => return Ok(Outcome::Cancelled("not base64")),
                    }
                }
                libmox_sasl::Step::Ask(question) => {
                    let answer = match question {
                        Question::Password { username, password } => {
                            self.check_password(username, password.0, mechanism).await?
                        }
                        Question::ScramStart { hash, username } => {
                            let challenge = self.scram_start(hash, username).await?;
                            step = exchange.on_answer(challenge);
                            continue;
                        }
                        Question::ScramFinish { exchange, auth_message, proof } => {
                            let context = self.login_context(mechanism);
                            let verb = ScramFinish { context, exchange, auth_message, proof };
                            outcome(self.shared.store.ask(verb).await.map_err(before_login)?)
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
                    if fault == libmox_sasl::Fault::Authorization {
                        let text = "nobody acts for somebody else";
                        return Ok(Outcome::Refused(Code::AuthorizationFailed, text.into()));
                    }
                    return Ok(denied.unwrap_or_else(refused));
                }
            };
        }
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
        match outcome {
            Ok(Outcome::SignedIn(signed_in)) => {
                events::signed_in(self.cid, self.remote, &signed_in.account_name);
                self.account = Some(signed_in.session);
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
                self.session.complete(Status::No, Some(&code), &text, self.wire.output());
                Ok(self.session.login_failed(self.wire.output()) == Step::Close)
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
                let text = "too many failed logins, try again later";
                events::refused(self.cid, self.remote, text);
                Err(Failure::Bye(Some(Code::Limit), text.into()))
            }
            Err(failure) => {
                self.finish(Err(failure)).await?;
                Ok(false)
            }
        }
    }
}

fn refused() -> Outcome {
    Outcome::Refused(Code::AuthenticationFailed, "login failed".into())
}

fn outcome(outcome: LoginOutcome) -> Outcome {
    match outcome {
        LoginOutcome::SignedIn(signed_in) => Outcome::SignedIn(signed_in),
        LoginOutcome::Denied | LoginOutcome::NoSecret => refused(),
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
