//! The server's side of an exchange.
//!
//! | state | waits for | goes to |
//! |---|---|---|
//! | Start | client-first, or the PLAIN message | Challenged, Asked |
//! | Challenged | the answer to `ScramStart` | Final |
//! | Cram | the answer to `CramStart` | CramAnswer |
//! | CramAnswer | name and digest | Asked |
//! | Final | client-final | Asked |
//! | Asked | the answer to the last question | Proven, over |
//! | Proven | the empty last message | over |

use crate::scram::{Hash, same, unescape};
use crate::{Fault, Mechanism, Secret, encode_line, is_normalised, prepare_username};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// What happens next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Send this (the protocol adds base64), feed the reply to [`ServerExchange::on_message`].
    Challenge(Vec<u8>),
    /// Find this out, then [`ServerExchange::on_answer`].
    Ask(Question),
    /// Signed in: what the last [`Answer::Granted`] said holds.
    Done,
    /// Over.
    Failed(Fault),
}

/// What only the keeper of the accounts knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// Is this the password? The name is in NFC, the password as it came.
    Password {
        /// Login address.
        username: String,
        /// Never logged.
        password: Secret,
    },
    /// Salt and nonce for a user, who may not exist.
    ScramStart {
        /// Which SCRAM.
        hash: Hash,
        /// Unescaped, in normal form.
        username: String,
    },
    /// Is this proof right?
    ScramFinish {
        /// From [`Answer::Scram`].
        exchange: u64,
        /// RFC 5802 §3 `AuthMessage`.
        auth_message: Vec<u8>,
        /// `ClientProof`.
        proof: Vec<u8>,
    },
    /// A challenge for CRAM-MD5.
    CramStart,
    /// Is this digest right? The name is in NFC.
    CramFinish {
        /// From [`Answer::Cram`].
        exchange: u64,
        /// Login address.
        username: String,
        /// HMAC-MD5 of the challenge.
        digest: [u8; 16],
    },
    /// Whose is the certificate of this connection? RFC 4422 appendix A.
    Certificate {
        /// The address to act for, in NFC; None: the one the key is for.
        authorize: Option<String>,
    },
}

/// The answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To [`Question::ScramStart`].
    Scram {
        /// Names the exchange.
        exchange: u64,
        /// Of the user, or a decoy.
        salt: Vec<u8>,
        /// Of PBKDF2.
        iterations: u32,
        /// Printable, without comma.
        server_nonce: String,
    },
    /// To [`Question::CramStart`].
    Cram {
        /// Names the exchange.
        exchange: u64,
        /// In the form of a Message-ID (RFC 2195 §2).
        challenge: String,
    },
    /// Right; with the server's signature for SCRAM, else empty.
    Granted {
        /// `ServerSignature`.
        server_signature: Vec<u8>,
    },
    /// Wrong, or not now. Who asked knows which and what to tell the client.
    Denied,
}

/// Channel binding data of this connection; none without TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bindings {
    /// RFC 9266: 32 octets of the exporter.
    pub exporter: Option<Vec<u8>>,
    /// RFC 5929 §4: hash of the certificate shown.
    pub end_point: Option<Vec<u8>>,
}

impl Bindings {
    /// Whether -PLUS mechanisms can be offered.
    #[must_use]
    pub fn any(&self) -> bool {
        self.exporter.is_some() || self.end_point.is_some()
    }

    fn data(&self, name: crate::BindingName) -> Option<&[u8]> {
        match name {
            crate::BindingName::TlsExporter => self.exporter.as_deref(),
            crate::BindingName::TlsServerEndPoint => self.end_point.as_deref(),
        }
    }
}

/// One exchange; thrown away at its end.
#[derive(Debug)]
pub struct ServerExchange {
    mechanism: Mechanism,
    bindings: Bindings,
    state: State,
    username: Option<String>,
}

#[derive(Debug)]
enum State {
    Start,
    LoginName,
    LoginPassword { username: String },
    Cram,
    CramAnswer { exchange: u64 },
    Challenged(First),
    Final { first: First, exchange: u64, nonce: String, server_first: String },
    Asked,
    Proven,
    Over,
}

/// What client-first said.
#[derive(Debug)]
struct First {
    bare: String,
    client_nonce: String,
    /// What `c=` must decode to.
    binding_input: Vec<u8>,
}

impl ServerExchange {
    /// Begins. `bindings` are those announced: where there are any, -PLUS was offered.
    #[must_use]
    pub fn new(mechanism: Mechanism, bindings: Bindings) -> Self {
        Self { mechanism, bindings, state: State::Start, username: None }
    }

    /// Who the client says it is, once it did.
    #[must_use]
    pub fn username(&self) -> Option<&str> {
        self.username.as_deref()
    }

    /// Which mechanism.
    #[must_use]
    pub fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// The first challenge, where the client sent no initial response.
    pub fn begin(&mut self) -> Step {
        if self.mechanism == Mechanism::Login {
            self.state = State::LoginName;
            return Step::Challenge(b"Username:".to_vec());
        }
        if self.mechanism == Mechanism::CramMd5 {
            self.state = State::Cram;
            return Step::Ask(Question::CramStart);
        }
        Step::Challenge(Vec::new())
    }

    /// A decoded message of the client.
    pub fn on_message(&mut self, message: &[u8]) -> Step {
        let state = std::mem::replace(&mut self.state, State::Over);
        let step = self.message(state, message);
        step.unwrap_or_else(Step::Failed)
    }

    fn message(&mut self, state: State, message: &[u8]) -> Result<Step, Fault> {
        if message.len() > crate::LINE_OCTETS {
            return Err(Fault::TooLong);
        }
        let text = std::str::from_utf8(message).map_err(|_| Fault::Encoding)?;
        match (state, self.mechanism.hash()) {
            (State::Start, Some(hash)) => {
                // Whatever else is wrong with it, the record of logins says whom it was about.
                self.username = name_in(text);
                let (first, username) = self.client_first(text)?;
                self.state = State::Challenged(first);
                Ok(Step::Ask(Question::ScramStart { hash, username }))
            }
            (State::Start, None) if self.mechanism == Mechanism::Plain => {
                self.state = State::Asked;
                plain_message(text).map(Step::Ask)
            }
            (State::Start, None) if self.mechanism == Mechanism::External => {
                self.state = State::Asked;
                // RFC 4422 appendix A.1: an empty message leaves the choice to us.
                let authorize = match text {
                    "" => None,
                    name => Some(prepare_username(name).ok_or(Fault::Username)?),
                };
                Ok(Step::Ask(Question::Certificate { authorize }))
            }
            // RFC 2195 §2: the server speaks first.
            (State::Start, None) if self.mechanism == Mechanism::CramMd5 => Err(Fault::Malformed),
            (State::CramAnswer { exchange }, None) => {
                let (name, digest) = crate::cram::parse(text)?;
                let username = prepare_username(name).ok_or(Fault::Username)?;
                self.state = State::Asked;
                Ok(Step::Ask(Question::CramFinish { exchange, username, digest }))
            }
            // An initial response to LOGIN is the name.
            (State::Start | State::LoginName, None) => {
                let username = prepare_username(text).ok_or(Fault::Username)?;
                self.state = State::LoginPassword { username };
                Ok(Step::Challenge(b"Password:".to_vec()))
            }
            (State::LoginPassword { username }, None) => {
                self.state = State::Asked;
                Ok(Step::Ask(Question::Password { username, password: Secret(text.into()) }))
            }
            (State::Final { first, exchange, nonce, server_first }, Some(_)) => {
                let (without_proof, proof) = client_final(text, &nonce, &first.binding_input)?;
                let auth_message = format!("{},{server_first},{without_proof}", first.bare).into_bytes();
                self.state = State::Asked;
                Ok(Step::Ask(Question::ScramFinish { exchange, auth_message, proof }))
            }
            (State::Proven, Some(_)) if text.is_empty() => Ok(Step::Done),
            (State::Proven, Some(_)) => Err(Fault::Malformed),
            _ => Err(Fault::Order),
        }
    }

    /// The answer to the question that is open.
    pub fn on_answer(&mut self, answer: Answer) -> Step {
        let state = std::mem::replace(&mut self.state, State::Over);
        match (state, answer) {
            (State::Challenged(first), Answer::Scram { exchange, salt, iterations, server_nonce }) => {
                let nonce = format!("{}{server_nonce}", first.client_nonce);
                let server_first = format!("r={nonce},s={},i={iterations}", encode_line(&salt));
                let challenge = server_first.clone().into_bytes();
                self.state = State::Final { first, exchange, nonce, server_first };
                Step::Challenge(challenge)
            }
            (State::Cram, Answer::Cram { exchange, challenge }) => {
                self.state = State::CramAnswer { exchange };
                Step::Challenge(challenge.into_bytes())
            }
            (State::Asked, Answer::Granted { server_signature }) => {
                if self.mechanism.hash().is_none() {
                    return Step::Done;
                }
                self.state = State::Proven;
                Step::Challenge(format!("v={}", encode_line(&server_signature)).into_bytes())
            }
            (State::Challenged(_) | State::Cram | State::Asked, Answer::Denied) => {
                Step::Failed(Fault::Denied)
            }
            _ => Step::Failed(Fault::Order),
        }
    }

    /// RFC 5802 §7 client-first-message.
    fn client_first(&self, text: &str) -> Result<(First, String), Fault> {
        let mut parts = text.splitn(3, ',');
        let (Some(flag), Some(authorize), Some(bare)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(Fault::Malformed);
        };
        let header_len = flag.len() + authorize.len() + 2;
        let mut binding_input = text.as_bytes()[..header_len].to_vec();
        match (flag, self.mechanism.is_plus()) {
            ("n", false) => {}
            // RFC 5802 §6: it can bind and thinks we cannot, but we offered it.
            ("y", false) if self.bindings.any() => return Err(Fault::BindingDowngrade),
            ("y", false) => {}
            ("n" | "y", true) => return Err(Fault::BindingUnsupported),
            (flag, plus) => {
                let name = flag.strip_prefix("p=").ok_or(Fault::Malformed)?;
                if !plus {
                    return Err(Fault::BindingUnsupported);
                }
                let data =
                    crate::BindingName::parse(name.as_bytes()).and_then(|name| self.bindings.data(name));
                binding_input.extend_from_slice(data.ok_or(Fault::BindingUnsupported)?);
            }
        }
        let mut attributes = bare.split(',');
        let name = attributes.next().unwrap_or_default();
        if name.starts_with("m=") {
            return Err(Fault::Extension);
        }
        let username = unescape(name.strip_prefix("n=").ok_or(Fault::Malformed)?)?;
        let nonce = attributes.next().and_then(|part| part.strip_prefix("r=")).ok_or(Fault::Malformed)?;
        let printable = |c: u8| matches!(c, 0x21..=0x2b | 0x2d..=0x7e);
        if nonce.is_empty() || nonce.len() > 512 || !nonce.bytes().all(printable) {
            return Err(Fault::Malformed);
        }
        if !is_normalised(&username) {
            return Err(Fault::Username);
        }
        if !authorize.is_empty() {
            let authorize = unescape(authorize.strip_prefix("a=").ok_or(Fault::Malformed)?)?;
            // RFC 5802 §7 wants a name here; GNU SASL leaves it out where none was given, and means none.
            if !authorize.is_empty() && authorize != username {
                return Err(Fault::Authorization);
            }
        }
        Ok((First { bare: bare.into(), client_nonce: nonce.into(), binding_input }, username))
    }
}

/// The name in a client-first-message.
fn name_in(text: &str) -> Option<String> {
    let name = text.splitn(3, ',').nth(2)?.split(',').next()?;
    unescape(name.strip_prefix("n=")?).ok()
}

/// RFC 4616 §2: authzid NUL authcid NUL passwd.
fn plain_message(text: &str) -> Result<Question, Fault> {
    let mut parts = text.split('\0');
    let (Some(authorize), Some(name), Some(password), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Fault::Malformed);
    };
    let username = prepare_username(name).ok_or(Fault::Username)?;
    if !authorize.is_empty() && prepare_username(authorize).as_deref() != Some(&username) {
        return Err(Fault::Authorization);
    }
    Ok(Question::Password { username, password: Secret(password.into()) })
}

/// RFC 5802 §7 client-final-message: what stands before the proof, and the proof.
fn client_final<'a>(text: &'a str, nonce: &str, binding_input: &[u8]) -> Result<(&'a str, Vec<u8>), Fault> {
    let (without_proof, proof) = text.rsplit_once(",p=").ok_or(Fault::Malformed)?;
    let mut attributes = without_proof.split(',');
    let binding = attributes.next().and_then(|part| part.strip_prefix("c=")).ok_or(Fault::Malformed)?;
    let binding = STANDARD.decode(binding).map_err(|_| Fault::Encoding)?;
    let theirs = attributes.next().and_then(|part| part.strip_prefix("r=")).ok_or(Fault::Malformed)?;
    if !same(theirs.as_bytes(), nonce.as_bytes()) {
        return Err(Fault::Nonce);
    }
    if attributes.any(|part| part.starts_with("m=")) {
        return Err(Fault::Extension);
    }
    if !same(&binding, binding_input) {
        return Err(Fault::BindingMismatch);
    }
    Ok((without_proof, STANDARD.decode(proof).map_err(|_| Fault::Encoding)?))
}
