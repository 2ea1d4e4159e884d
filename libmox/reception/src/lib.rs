//! The driver of an SMTP server: carries out the steps of a [`Session`] on a connection.
//!
//! What `mox-smtp` and `mox-submission` share. Replies leave when no further command waits (RFC 2920 §3.2); the
//! message goes to a staging file of the store as it comes in, unless it is small.
//! Does not know: who may send what to whom. That is [`Policy`], the service's own.
//! Fails with: nothing towards the service; a connection that ends says why in [`Ended`].

pub mod events;
mod intake;

pub use intake::{IntakeFault, Place, Staged, Taken, Tap};

use intake::Intake;
use libmox_message::foreign::OwnResults;
use libmox_sasl::Mechanism;
use libmox_service::clock;
use libmox_service::life::Life;
use libmox_service::tls::Tls;
use libmox_service::wire::{Wire, WireFault};
use libmox_smtp::command::{BodyType, RcptPath};
use libmox_smtp::session::{Answer, Body, Login, Question, Session, Step, Transaction, too_large};
use libmox_smtp::simulated::{self, Simulated};
use libmox_smtp::{Reply, data, limits};
use libmox_store::Store;
use libmox_types::{Cid, Host, LocalPart, ReversePath};
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::time::Instant;

/// The service's decisions. Each may wait for others; the session waits meanwhile.
pub trait Policy: Send {
    /// Looks at the message as it comes in.
    type Tap: Tap;

    /// EHLO or HELO with a name. Row SR-03.
    fn ask_hello(&mut self, _host: &Host) -> impl Future<Output = Answer> + Send {
        std::future::ready(Answer::Accept)
    }

    /// TLS is on. Whether the client's certificate signs it in (row SU-11).
    fn on_tls(&mut self, _wire: &Wire) -> impl Future<Output = bool> + Send {
        std::future::ready(false)
    }

    /// The pause for a client that tries our patience (rows AU-15, SR-30).
    fn patience(&self) -> Duration;

    /// MAIL FROM.
    fn ask_sender(&mut self, from: &ReversePath) -> impl Future<Output = Answer> + Send;

    /// RCPT TO, within this transaction.
    fn ask_recipient(
        &mut self,
        to: &RcptPath,
        session: &Session,
        transaction: &Transaction,
    ) -> impl Future<Output = Answer> + Send;

    /// A message is about to come in.
    fn tap(&mut self) -> Self::Tap;

    /// By which name we say what we checked; nobody else brings fields with it (RFC 8601 §5).
    fn own_results(&self) -> Option<OwnResults> {
        None
    }

    /// What becomes of the message: the last word, and how soon it is said.
    fn ask_message(
        &mut self,
        wire: &Wire,
        session: &Session,
        transaction: &Transaction,
        taken: Taken<Self::Tap>,
    ) -> impl Future<Output = (Reply, Pace)> + Send;

    /// Runs a SASL exchange.
    fn ask_login(
        &mut self,
        wire: &mut Wire,
        mechanism: Mechanism,
        initial: Option<Vec<u8>>,
    ) -> impl Future<Output = Result<Login, WireFault>> + Send;

    /// TLS is on: which mechanisms are on offer now.
    fn mechanisms(&mut self, wire: &Wire) -> Vec<Mechanism>;
}

/// How a client is served from an answer on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// As before.
    Usual,
    /// It brought what nobody wants, and is in no hurry (row SR-30).
    Slow,
}

/// Why a conversation ended.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// As the protocol has it, with the last reply.
    #[error("{0}")]
    Closed(Reply),
    /// The connection.
    #[error("connection")]
    Wire(#[from] WireFault),
}

/// Until the last reply has left.
const GOODBYE_WAIT: Duration = Duration::from_secs(5);

/// Holds a conversation to its end.
pub async fn converse<P: Policy>(
    wire: &mut Wire,
    session: &mut Session,
    policy: &mut P,
    store: &Store,
    tls: Option<&Tls>,
    life: &Life,
    message_octets: u64,
) -> Ended {
    let mut driver = Driver { wire, session, policy, store, tls, life, message_octets, chunks: None };
    match driver.run().await {
        Ok(reply) => {
            reply.write(driver.wire.output());
            driver.wire.close(GOODBYE_WAIT).await;
            Ended::Closed(reply)
        }
        Err(fault) => {
            driver.wire.close(GOODBYE_WAIT).await;
            Ended::Wire(fault)
        }
    }
}

struct Driver<'a, P: Policy> {
    wire: &'a mut Wire,
    session: &'a mut Session,
    policy: &'a mut P,
    store: &'a Store,
    tls: Option<&'a Tls>,
    life: &'a Life,
    message_octets: u64,
    chunks: Option<Chunks<P::Tap>>,
}

/// A message on its way in by BDAT.
struct Chunks<T> {
    intake: Intake<T>,
    lines: data::Lines,
    until: Instant,
}

/// What the next line is.
enum Next {
    Step(Step),
    /// Nobody says anything any more.
    Stopping,
    Silent,
}

impl<P: Policy> Driver<'_, P> {
    /// Until the last reply, which is returned and not written yet.
    async fn run(&mut self) -> Result<Reply, WireFault> {
        self.session.greeting().write(self.wire.output());
        loop {
            let mut step = match self.next().await? {
                Next::Step(step) => step,
                Next::Stopping => self.session.on_shutdown(),
                Next::Silent => self.session.on_timeout(),
            };
            loop {
                step = match step {
                    Step::Reply(reply) => {
                        reply.write(self.wire.output());
                        break;
                    }
                    Step::Close(reply) => return Ok(reply),
                    Step::Ask(question) => self.ask(question).await,
                    Step::Auth(mechanism, initial) => {
                        let login = self.policy.ask_login(self.wire, mechanism, initial).await?;
                        let step = self.session.on_login(login);
                        self.lose_patience_with_logins().await;
                        step
                    }
                    Step::StartTls(reply) => {
                        reply.write(self.wire.output());
                        self.start_tls().await?;
                        break;
                    }
                    Step::Body(reply) => {
                        reply.write(self.wire.output());
                        self.body().await?
                    }
                    Step::Chunk { octets, last, refusal } => self.chunk(octets, last, refusal).await?,
                };
            }
        }
    }

    /// The next command. Replies leave only when nothing more is buffered.
    async fn next(&mut self) -> Result<Next, WireFault> {
        let mut too_long = false;
        loop {
            let buffered = self.wire.buffered();
            if let Some(end) = memchr::memchr(b'\n', buffered) {
                if self.life.is_stopping() {
                    return Ok(Next::Stopping);
                }
                let line = &buffered[..end];
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                let step = if too_long || end >= limits::COMMAND_OCTETS {
                    self.session.on_long_line()
                } else {
                    self.session.on_line(line, clock::now())
                };
                if self.chunks.is_some()
                    && !self.session.is_in_chunks()
                    && !matches!(step, Step::Chunk { .. })
                {
                    // RSET and the like: what came is forgotten.
                    self.chunks = None;
                }
                self.wire.consume(end + 1);
                return Ok(Next::Step(step));
            }
            if buffered.len() >= limits::COMMAND_OCTETS {
                // The rest of the line is thrown away as it comes.
                too_long = true;
                let len = buffered.len();
                self.wire.consume(len);
            }
            self.wire.flush(limits::DATA_WAIT).await?;
            if self.wire.buffered().is_empty() {
                self.wire.rest();
            }
            tokio::select! {
                () = self.life.stopping() => return Ok(Next::Stopping),
                filled = self.wire.fill(limits::COMMAND_WAIT) => match filled {
                    Ok(_) => {}
                    Err(WireFault::Timeout) => return Ok(Next::Silent),
                    Err(fault) => return Err(fault),
                },
            }
        }
    }

    async fn ask(&mut self, question: Question) -> Step {
        let answer = match question {
            Question::Hello(host) => self.policy.ask_hello(&host).await,
            Question::Sender(from) => self.policy.ask_sender(&from).await,
            Question::Recipient(to) => match self.session.transaction() {
                Some(transaction) => self.policy.ask_recipient(&to, self.session, transaction).await,
                None => Answer::Refuse(internal()),
            },
            // The message is asked about where it was read.
            Question::Message => Answer::Refuse(internal()),
        };
        self.session.on_answer(answer)
    }

    async fn start_tls(&mut self) -> Result<(), WireFault> {
        self.wire.flush(limits::DATA_WAIT).await?;
        let Some(tls) = self.tls else { return Err(WireFault::Closed) };
        self.wire.start_tls(tls).await?;
        let mechanisms = self.policy.mechanisms(self.wire);
        self.session.on_tls(mechanisms);
        if self.policy.on_tls(self.wire).await {
            self.session.on_certificate();
        }
        Ok(())
    }

    /// Reads the message and asks what becomes of it.
    async fn body(&mut self) -> Result<Step, WireFault> {
        let until = Instant::now() + limits::TRANSACTION_WAIT;
        let mut decoder = data::Decoder::new(self.message_octets);
        let mut intake = Intake::new(self.store.clone(), self.policy.tap(), self.policy.own_results());
        self.wire.flush(limits::DATA_WAIT).await?;
        loop {
            let used = decoder.feed(self.wire.buffered(), intake.buffer());
            self.wire.consume(used);
            intake.settle().await;
            if decoder.ended() {
                break;
            }
            // A message that is far too large is not read to its end: row SR-20.
            if decoder.taken() > self.message_octets.saturating_mul(2) {
                return Ok(Step::Close(too_large(decoder.taken())));
            }
            if Instant::now() >= until {
                return Ok(Step::Close(Reply::new(421, "4.4.2", "transaction takes too long")));
            }
            match self.wire.fill(limits::DATA_WAIT).await {
                Ok(_) => {}
                Err(WireFault::Timeout) => return Ok(self.session.on_timeout()),
                Err(fault) => return Err(fault),
            }
        }
        let flaws = decoder.flaws();
        if flaws != data::Flaws::default() {
            return Ok(self.session.on_body(Body::Flawed(flaws)));
        }
        Ok(self.message(intake).await)
    }

    /// The message is all there: what becomes of it.
    async fn message(&mut self, intake: Intake<P::Tap>) -> Step {
        let step = self.session.on_body(Body::Complete);
        if step != Step::Ask(Question::Message) {
            return step;
        }
        let (reply, pace) = match (intake.finish().await, self.session.transaction()) {
            (Ok(taken), Some(transaction)) => {
                self.policy.ask_message(self.wire, self.session, transaction, taken).await
            }
            (Ok(_), None) => (internal(), Pace::Usual),
            (Err(fault), _) => {
                tracing::error!(mox_reason = %fault, "message cannot be staged: {fault}");
                let reply = Reply::new(451, "4.3.0", "cannot store messages now, try again later");
                (reply, Pace::Usual)
            }
        };
        if pace == Pace::Slow {
            self.wire.slow_down(self.policy.patience());
        }
        self.session.on_answer(Answer::Message(reply))
    }

    /// Reads exactly the octets of a chunk, wanted or not (RFC 3030 §2).
    async fn chunk(&mut self, octets: u64, last: bool, refusal: Option<Reply>) -> Result<Step, WireFault> {
        let wanted = refusal.is_none();
        let mut chunks = match self.chunks.take() {
            Some(chunks) if wanted => chunks,
            _ => Chunks {
                intake: Intake::new(self.store.clone(), self.policy.tap(), self.policy.own_results()),
                lines: data::Lines::default(),
                until: Instant::now() + limits::TRANSACTION_WAIT,
            },
        };
        let mut left = octets;
        loop {
            let buffered = self.wire.buffered();
            let here = buffered.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            if wanted {
                chunks.lines.feed(&buffered[..here]);
                chunks.intake.buffer().extend_from_slice(&buffered[..here]);
            }
            self.wire.consume(here);
            left -= here as u64;
            chunks.intake.settle().await;
            if left == 0 {
                break;
            }
            if Instant::now() >= chunks.until {
                return Ok(Step::Close(Reply::new(421, "4.4.2", "transaction takes too long")));
            }
            self.wire.flush(limits::DATA_WAIT).await?;
            match self.wire.fill(limits::DATA_WAIT).await {
                Ok(_) => {}
                Err(WireFault::Timeout) => return Ok(self.session.on_timeout()),
                Err(fault) => return Err(fault),
            }
        }
        if refusal.is_some() {
            return Ok(self.session.on_chunk(octets, refusal));
        }
        if !last {
            self.chunks = Some(chunks);
            return Ok(self.session.on_chunk(octets, None));
        }
        // RFC 3030 §3: what is announced as binary has no lines. It is never relayed by DATA (row SR-40).
        let binary = self.session.transaction().and_then(|transaction| transaction.params.body)
            == Some(BodyType::Binary);
        if chunks.lines.is_bare() && !binary {
            let flaws = data::Flaws { bare_line_end: true, too_large: false };
            return Ok(self.session.on_body(Body::Flawed(flaws)));
        }
        Ok(self.message(chunks.intake).await)
    }

    /// Row AU-15: from the third failure on slowly, from the fourth with a pause before the answer.
    async fn lose_patience_with_logins(&mut self) {
        let failed = self.session.failed_logins();
        let pause = if failed >= limits::SLOW_AFTER { self.policy.patience() } else { Duration::ZERO };
        if failed == 0 || failed >= limits::SLOW_AFTER {
            self.wire.slow_down(pause);
        }
        tokio::time::sleep(pause * failed.saturating_sub(limits::SLOW_AFTER)).await;
    }
}

fn internal() -> Reply {
    Reply::new(451, "4.3.0", "internal error")
}

/// What an address of a test instance asks for: a refusal, or silence until the client has had enough.
pub async fn simulate(local: &LocalPart) -> Option<Reply> {
    Some(match simulated::simulated(local)? {
        Simulated::Refuse(code) => simulated::refusal(code),
        Simulated::Silence => {
            tokio::time::sleep(limits::SIMULATED_SILENCE).await;
            simulated::refusal(451)
        }
    })
}

/// Tells `mox-queue` that something waits: a connection is the whole message. Only a hint: a queue that is not reached
/// looks by itself, by its timer.
pub fn wake_queue(socket: PathBuf, cid: Cid) {
    libmox_service::spawn(async move {
        if let Err(error) = UnixStream::connect(&socket).await {
            tracing::warn!(mox_cid = %cid, mox_reason = %error, "mox-queue cannot be woken: {error}");
        }
    });
}

/// The store's words for a refusal, for strangers. An unknown outcome is never 5xx.
#[must_use]
pub fn store_refusal(error: &libmox_store::StoreError) -> Reply {
    use libmox_store::Fault;
    match error.fault() {
        Some(Fault::OverQuota) => Reply::new(452, "4.2.2", "mailbox is full"),
        Some(Fault::Full) => Reply::new(452, "4.3.1", "no disk space left, try again later"),
        Some(Fault::SenderDisabled) => Reply::new(451, "4.3.0", "sender domain temporarily disabled"),
        Some(Fault::SenderUsed) => {
            Reply::new(554, "5.1.7", "the id in MAIL FROM was used before, or is for several")
        }
        Some(Fault::NotYours) => Reply::new(550, "5.7.1", "address not allowed for this account"),
        Some(Fault::Limit(name)) => Reply::new(451, "4.7.1", format!("limit reached: {name}")),
        _ => Reply::new(451, "4.3.0", "try again later"),
    }
}

#[cfg(test)]
mod tests;
