//! `mox-verify` finds out what can be known of a message that arrives: SPF, DKIM, DMARC, reverse DNS, its MIME facts.
//!
//! Hostile mail is parsed here, where there is nothing to steal: no mail but the one message handed in, no keys, no
//! network but DNS. Trusts nobody. Writes nothing. Unit: `mox-verify.service`.
//! If it dies halfway: the receiver answers 451 and the sender tries again.
//!
//! Law: RFC 7208, 6376, 8463, 7489/9989, 8601.

mod arc;
mod checks;
mod dkim_keys;
mod dmarc;
mod feedback;
pub mod hostile;
mod limits;
mod lists;
mod report;
mod spf;

#[cfg(test)]
mod bounds;
#[cfg(test)]
mod golden;

use checks::Checker;
use libmox_ipc::{Answer, Refusal, Service};
use libmox_message::Parser;
use libmox_service::bus::Offer;
use libmox_service::dns::Dns;
use libmox_service::sockets::Listener;
use libmox_service::{Context, net};
use libmox_verify::{
    Caller, Parse, ReadReport, Reply, Request, Verified, Verify, VerifyContract, VerifyFault,
};
use std::io::{Read, Seek};
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    libmox_service::run(
        "mox-verify",
        Offer::named("org.libmox.Verify1"),
        |config| config.service.idle_exit,
        |context| Box::pin(serve(context)),
    )
}

/// Serves until told to stop.
async fn serve(context: Context) -> anyhow::Result<()> {
    let config = context.config();
    let checker = Checker::new(Dns::new(&config.dns)?, config.hostname.clone());
    let service = Arc::new(VerifyService::new(checker));
    let mut sockets = context.take_sockets();
    let mut accepting = tokio::task::JoinSet::new();
    for (caller, name) in Caller::ALL {
        for listener in sockets.listeners(name)? {
            let Listener::Unix(listener) = listener else { anyhow::bail!("{name} must be a unix socket") };
            let service = Arc::clone(&service);
            accepting.spawn(libmox_service::boxed(net::accept_unix(
                listener,
                context.life.clone(),
                move |stream, busy| {
                    let service = Arc::clone(&service);
                    async move {
                        if let Err(fault) = libmox_ipc::serve(service, caller, stream, "mox-verify").await {
                            tracing::warn!(mox_reason = %fault, "connection dropped");
                        }
                        drop(busy);
                    }
                },
            )));
        }
    }
    anyhow::ensure!(!accepting.is_empty(), "no socket: start mox-verify through mox-verify.socket");
    context.ready();
    context.life.stopping().await;
    Ok(())
}

struct VerifyService {
    checker: Checker,
    /// KiB of messages held at once; more of them wait.
    memory: Semaphore,
}

impl VerifyService {
    fn new(checker: Checker) -> Self {
        Self { checker, memory: Semaphore::new(limits::MEMORY_KIB) }
    }

    async fn verify(
        self: &Arc<Self>,
        ask: Verify,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Verified, VerifyFault> {
        let size = ask.size.0;
        if let Some(inline) = &ask.inline {
            look_at_header(inline)?;
            let facts = libmox_message::parse(inline);
            return Ok(self.checker.check(&ask, &facts, Some(inline)).await);
        }
        let file = descriptors
            .into_iter()
            .next()
            .ok_or_else(|| VerifyFault::Invalid("no message came along".into()))?;
        if size > limits::CHECKED_OCTETS {
            // Facts need no memory; signatures would.
            let facts = tokio::task::spawn_blocking(move || facts_of(file, size)).await.map_err(broken)??;
            return Ok(self.checker.check(&ask, &facts, None).await);
        }
        let kib = u32::try_from(size / 1024 + 1).map_err(broken)?;
        let _place = self.memory.acquire_many(kib).await.map_err(broken)?;
        let read = move || {
            let bytes = read_all(file, size)?;
            look_at_header(&bytes)?;
            let facts = libmox_message::parse(&bytes);
            Ok((bytes, facts))
        };
        if size < limits::APART_OCTETS {
            let (bytes, facts) = tokio::task::spawn_blocking(read).await.map_err(broken)??;
            return Ok(self.checker.check(&ask, &facts, Some(&bytes)).await);
        }
        // Signatures may want four digests of all of it: a second, which nobody else is to wait for.
        let (this, runtime) = (Arc::clone(self), tokio::runtime::Handle::current());
        let check = move || {
            let (bytes, facts) = read()?;
            Ok(runtime.block_on(this.checker.check(&ask, &facts, Some(&bytes))))
        };
        tokio::task::spawn_blocking(check).await.map_err(broken)?
    }
}

impl VerifyService {
    /// Row MA-18. Reports are few: one waits for room for the largest.
    async fn read_report(
        &self,
        ask: ReadReport,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Result<libmox_store::ReportRead, String>, VerifyFault> {
        if ask.size.0 > limits::CHECKED_OCTETS {
            return Ok(Err("the message is too large".into()));
        }
        let kib = u32::try_from(ask.size.0 / 1024 + 1).map_err(broken)?;
        let _place = self.memory.acquire_many(kib.max(limits::REPORT_KIB)).await.map_err(broken)?;
        let file = descriptors.into_iter().next();
        tokio::task::spawn_blocking(move || {
            let bytes = match (ask.inline, file) {
                (Some(inline), _) => inline.into_vec(),
                (None, Some(file)) => read_all(file, ask.size.0)?,
                (None, None) => return Err(VerifyFault::Invalid("no message came along".into())),
            };
            Ok(feedback::read(&bytes))
        })
        .await
        .map_err(broken)?
    }
}

/// That the header section is no longer than what is looked at.
fn look_at_header(message: &[u8]) -> Result<(), VerifyFault> {
    let (mut rest, mut fields) = (message, 0);
    while let Some(first) = rest.first() {
        let length = memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
        let (line, after) = rest.split_at(length);
        let folded = matches!(first, b' ' | b'\t');
        // The empty line; or one that is no field, as where there is no header at all. A bare line feed ends nothing.
        if matches!(line, b"\r\n" | b"\n") || (!folded && !line.contains(&b':') && line.ends_with(b"\r\n")) {
            return Ok(());
        }
        fields += usize::from(!folded);
        rest = after;
        if fields > limits::HEADER_FIELDS || message.len() - rest.len() > limits::HEADER_OCTETS {
            return Err(VerifyFault::HeaderTooLarge);
        }
    }
    Ok(())
}

/// Facts need little memory, however large the message.
async fn parse(ask: Parse, descriptors: Vec<OwnedFd>) -> Result<libmox_store::Facts, VerifyFault> {
    let file = descriptors.into_iter().next();
    let file = file.ok_or_else(|| VerifyFault::Invalid("no message came along".into()))?;
    let facts = tokio::task::spawn_blocking(move || facts_of(file, ask.size.0)).await.map_err(broken)??;
    if facts.size != ask.size.0 {
        return Err(VerifyFault::Unreadable("message is shorter than said".into()));
    }
    Ok((&facts).into())
}

fn broken(error: impl std::fmt::Display) -> VerifyFault {
    VerifyFault::Unreadable(error.to_string())
}

/// Reads into our own memory: the sender of the descriptor could still change the file under a mapping.
fn read_all(file: OwnedFd, size: u64) -> Result<Vec<u8>, VerifyFault> {
    let mut file = std::fs::File::from(file);
    file.rewind().map_err(broken)?;
    let mut bytes = Vec::with_capacity(usize::try_from(size).map_err(broken)?);
    file.take(size).read_to_end(&mut bytes).map_err(broken)?;
    if bytes.len() as u64 != size {
        return Err(VerifyFault::Unreadable("message is shorter than said".into()));
    }
    Ok(bytes)
}

fn facts_of(file: OwnedFd, size: u64) -> Result<libmox_message::Facts, VerifyFault> {
    let mut file = std::fs::File::from(file);
    file.rewind().map_err(broken)?;
    let mut file = file.take(size);
    let (mut parser, mut buffer) = (Parser::new(), vec![0; 64 * 1024]);
    loop {
        let n = file.read(&mut buffer).map_err(broken)?;
        if n == 0 {
            return Ok(parser.finish());
        }
        parser.feed(&buffer[..n]);
    }
}

impl Service for VerifyService {
    type Contract = VerifyContract;
    type Peer = Caller;

    fn may(&self, caller: &Caller, request: &Request) -> Result<(), Refusal> {
        if caller.may(request) { Ok(()) } else { Err(Refusal("verb of another caller")) }
    }

    async fn call(
        self: Arc<Self>,
        _: Arc<Caller>,
        request: Request,
        descriptors: Vec<OwnedFd>,
        answer: Answer<VerifyContract>,
    ) {
        let outcome = match request {
            Request::Verify(ask) => self.verify(ask, descriptors).await.map(Reply::Verify),
            Request::Spf(ask) => Ok(Reply::Spf(self.checker.sender(&ask).await.to_owned())),
            Request::Parse(ask) => parse(ask, descriptors).await.map(Reply::Parse),
            Request::ReadReport(ask) => self.read_report(ask, descriptors).await.map(Reply::ReadReport),
            Request::TakesMail(ask) => {
                Ok(Reply::TakesMail(lists::takes_mail(self.checker.dns(), &ask.0).await))
            }
            Request::HasAddress(ask) => {
                Ok(Reply::HasAddress(lists::has_name(self.checker.dns(), &ask.0).await))
            }
            Request::ListHealth(ask) => Ok(Reply::ListHealth(
                libmox_service::dns::lists::is_healthy(self.checker.dns(), &ask.0).await,
            )),
            Request::AskLists(ask) => {
                let listed = lists::listed(self.checker.dns(), ask.remote_ip, &ask.zones).await;
                Ok(Reply::AskLists(listed))
            }
        };
        answer.reply(outcome).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hundred MiB of the smallest fields would be eight hundred of places for them.
    #[test]
    fn a_header_has_so_many_fields_and_octets() {
        let fields = |count: usize| "a:\r\n".repeat(count).into_bytes();
        let long = |octets: usize| format!("a: {}\r\n", "x".repeat(octets - 5)).into_bytes();
        let folded = format!("a:\r\n{}", " x\r\n".repeat(limits::HEADER_OCTETS / 4));
        for (header, fits) in [
            (fields(limits::HEADER_FIELDS), true),
            (fields(limits::HEADER_FIELDS + 1), false),
            (long(limits::HEADER_OCTETS), true),
            (long(limits::HEADER_OCTETS + 1), false),
            (folded.into_bytes(), false),
            // Bare line feeds, as BINARYMIME allows them.
            (b"x\n".repeat(limits::HEADER_FIELDS + 1), false),
            (Vec::new(), true),
        ] {
            for body in [&b""[..], b"\r\n", b"\r\nbody\r\n"] {
                let outcome = look_at_header(&[&header, body].concat());
                assert_eq!(outcome.is_ok(), fits, "{} octets", header.len());
            }
        }
        // What is no header is as long as it likes.
        look_at_header(&b"a body: all of it\r\n"[2..].repeat(10)).unwrap();
        look_at_header(&b"no header\r\n".repeat(200_000)).unwrap();
        look_at_header(&[&b"a: b\r\n\r\n"[..], &b"c: d\r\n".repeat(200_000)].concat()).unwrap();
    }
}
