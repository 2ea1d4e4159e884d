//! The answering side of one connection.

use crate::client::write_loop;
use crate::frame::{FrameFault, FrameReader, Kind, Outgoing};
use crate::limits::{CALLS_IN_FLIGHT, HELLO_WAIT, STOP_WAIT, STREAMS, WINDOW, WRITE_QUEUE};
use crate::socket::Socket;
use crate::{Contract, Hello, OnceKey};
use std::collections::HashMap;
use std::future::Future;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::UnixStream;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, TryAcquireError, mpsc};

/// Who answers the requests of a contract.
pub trait Service: Send + Sync + 'static {
    /// What is spoken.
    type Contract: Contract;
    /// What is kept for one connection; dropped when it ends, with everything it held.
    type Peer: Send + Sync + 'static;

    /// Whether this peer may use this verb at all. If not it is told so, and dropped.
    fn may(&self, peer: &Self::Peer, request: &<Self::Contract as Contract>::Request) -> Result<(), Refusal>;

    /// Answers one request. Runs beside the connection's other requests.
    fn call(
        self: Arc<Self>,
        peer: Arc<Self::Peer>,
        request: <Self::Contract as Contract>::Request,
        descriptors: Vec<OwnedFd>,
        answer: Answer<Self::Contract>,
    ) -> impl Future<Output = ()> + Send;
}

/// A verb that is not this role's; carries the verb's name for the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal(pub &'static str);

/// Why a connection ended other than by the peer closing it.
#[derive(Debug, thiserror::Error)]
pub enum ServeFault {
    /// No or a wrong greeting.
    #[error("peer greeted wrongly")]
    Greeting,
    /// It used a verb of another role.
    #[error("peer {service} used the verb {verb} which is not its own")]
    Role {
        /// Who it said it was.
        service: String,
        /// What it asked for.
        verb: &'static str,
    },
    /// A frame that cannot be read.
    #[error("bad frame")]
    Frame(#[from] FrameFault),
    /// A bug of ours: the caller must not wait for an answer that nobody writes any more.
    #[error("a request ended abnormally")]
    Broken,
}

/// Calls under way; those that became streams have a window. An id that is missing was cancelled.
type Credits = Arc<Mutex<HashMap<u64, Option<Arc<Semaphore>>>>>;

/// The one chance to answer a request. Dropped unused it leaves the caller waiting only until the connection ends,
/// so a handler answers on every path.
pub struct Answer<C: Contract> {
    id: u64,
    out: mpsc::Sender<Outgoing>,
    credits: Credits,
    streams: Arc<Semaphore>,
    /// Of the calls under way, or of the streams; held until all is said.
    permit: Option<OwnedSemaphorePermit>,
    once: Option<OnceKey>,
    marker: std::marker::PhantomData<fn(C)>,
}

impl<C: Contract> std::fmt::Debug for Answer<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Answer(#{})", self.id)
    }
}

impl<C: Contract> Answer<C> {
    /// The key of a request that must be carried out once.
    #[must_use]
    pub fn once(&self) -> Option<OnceKey> {
        self.once
    }

    /// A reply or a fault.
    pub async fn reply(self, outcome: Result<C::Reply, C::Fault>) {
        self.reply_with(outcome, Vec::new()).await;
    }

    /// The same with descriptors.
    pub async fn reply_with(self, outcome: Result<C::Reply, C::Fault>, descriptors: Vec<OwnedFd>) {
        send::<C>(&self.out, self.id, &outcome.map(Some), descriptors).await;
    }

    /// Starts a stream. It may last as long as the connection and is counted apart from the calls.
    #[must_use]
    pub fn stream(mut self) -> StreamOut<C> {
        let credit = Arc::new(Semaphore::new(WINDOW as usize));
        match self.credits.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&self.id) {
            Some(window) => *window = Some(Arc::clone(&credit)),
            // Cancelled before it began.
            None => credit.close(),
        }
        if let Ok(permit) = Arc::clone(&self.streams).try_acquire_owned() {
            self.permit = Some(permit);
        }
        StreamOut { answer: self, credit, ended: false }
    }
}

async fn send<C: Contract>(
    out: &mpsc::Sender<Outgoing>,
    id: u64,
    outcome: &Result<Option<C::Reply>, C::Fault>,
    descriptors: Vec<OwnedFd>,
) {
    match Outgoing::new(Kind::Reply, id, outcome, descriptors) {
        Ok(frame) => drop(out.send(frame).await),
        // Too large to send: the caller must not wait for ever.
        Err(fault) => {
            tracing::error!(%fault, "reply cannot be encoded");
            if let Ok(frame) =
                Outgoing::new(Kind::Reply, id, &Ok::<Option<C::Reply>, C::Fault>(None), Vec::new())
            {
                drop(out.send(frame).await);
            }
        }
    }
}

/// The sending end of a stream.
pub struct StreamOut<C: Contract> {
    answer: Answer<C>,
    credit: Arc<Semaphore>,
    ended: bool,
}

impl<C: Contract> std::fmt::Debug for StreamOut<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StreamOut(#{})", self.answer.id)
    }
}

/// The receiver is gone or no longer wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("stream is no longer wanted")]
pub struct Unwanted;

impl<C: Contract> StreamOut<C> {
    /// Waits for the window and sends one item.
    pub async fn send(&mut self, item: &C::Item) -> Result<(), Unwanted> {
        self.credit.acquire().await.map_err(|_| Unwanted)?.forget();
        let frame = Outgoing::new(Kind::Item, self.answer.id, item, Vec::new()).map_err(|fault| {
            tracing::error!(%fault, "stream item cannot be encoded");
            Unwanted
        })?;
        self.answer.out.send(frame).await.map_err(|_| Unwanted)
    }

    /// The same for an item whose `postcard` bytes the caller has kept.
    pub async fn send_encoded(&mut self, item: &[u8]) -> Result<(), Unwanted> {
        self.credit.acquire().await.map_err(|_| Unwanted)?.forget();
        let frame = Outgoing::encoded(Kind::Item, self.answer.id, item).map_err(|fault| {
            tracing::error!(%fault, "stream item cannot be sent");
            Unwanted
        })?;
        self.answer.out.send(frame).await.map_err(|_| Unwanted)
    }

    /// Sends one item if that takes no waiting; whether it did.
    pub fn send_now(&mut self, item: &C::Item) -> Result<bool, Unwanted> {
        let permit = match self.credit.try_acquire() {
            Ok(permit) => permit,
            Err(TryAcquireError::NoPermits) => return Ok(false),
            Err(TryAcquireError::Closed) => return Err(Unwanted),
        };
        let frame = Outgoing::new(Kind::Item, self.answer.id, item, Vec::new()).map_err(|fault| {
            tracing::error!(%fault, "stream item cannot be encoded");
            Unwanted
        })?;
        match self.answer.out.try_send(frame) {
            Ok(()) => {
                permit.forget();
                Ok(true)
            }
            Err(mpsc::error::TrySendError::Full(_)) => Ok(false),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(Unwanted),
        }
    }

    /// Ends well or with a fault.
    pub async fn end(mut self, outcome: Result<(), C::Fault>) {
        self.ended = true;
        send::<C>(&self.answer.out, self.answer.id, &outcome.map(|()| None), Vec::new()).await;
    }

    /// Waits until nobody wants this stream any more.
    pub async fn unwanted(&self) {
        // A closed semaphore refuses at once; an open one never has this many permits.
        let _ = self.credit.acquire_many(u32::MAX >> 4).await;
    }
}

impl<C: Contract> Drop for StreamOut<C> {
    fn drop(&mut self) {
        let call = self.answer.credits.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.answer.id);
        // Who cancelled it knows, and would be woken for nothing.
        if call.is_some()
            && !self.ended
            && let Ok(frame) = Outgoing::new(
                Kind::Reply,
                self.answer.id,
                &Ok::<Option<C::Reply>, C::Fault>(None),
                Vec::new(),
            )
        {
            let _ = self.answer.out.try_send(frame);
        }
    }
}

/// Serves one connection until it ends. Requests still running then are dropped at their next await, except what
/// they have handed to others (a commit under way completes).
pub async fn serve<S: Service>(
    service: Arc<S>,
    peer: S::Peer,
    stream: UnixStream,
    name: &str,
) -> Result<(), ServeFault> {
    serve_until(service, peer, stream, name, std::future::pending()).await
}

/// The same until `stopping`: then nothing more is read, what was read is answered, and the peer is told goodbye.
pub async fn serve_until<S: Service>(
    service: Arc<S>,
    peer: S::Peer,
    stream: UnixStream,
    name: &str,
    stopping: impl Future<Output = ()> + Send,
) -> Result<(), ServeFault> {
    let stream = Arc::new(Socket::new(stream).map_err(FrameFault::from)?);
    let mut reader = FrameReader::default();
    let theirs: Hello = {
        let first = tokio::time::timeout(HELLO_WAIT, reader.next(&stream))
            .await
            .map_err(|_| ServeFault::Greeting)??;
        let Some(first) = first else { return Ok(()) };
        if first.header.kind != Kind::Hello {
            return Err(ServeFault::Greeting);
        }
        postcard::from_bytes(first.payload).map_err(|_| ServeFault::Greeting)?
    };
    let (out, queue) = mpsc::channel(WRITE_QUEUE);
    let ours =
        Hello { contract: S::Contract::NAME.into(), version: S::Contract::VERSION, service: name.into() };
    let greeting = Outgoing::new(Kind::Hello, 0, &ours, Vec::new())?;
    // The queue is empty and its reader starts next: this cannot wait.
    let _ = out.send(greeting).await;
    let writer = crate::spawn(write_loop(Arc::clone(&stream), queue));
    let outcome = if theirs.contract == ours.contract && theirs.version == ours.version {
        read_calls(&service, peer, &stream, &mut reader, &out, &theirs.service, stopping).await
    } else {
        Err(ServeFault::Greeting)
    };
    drop(out);
    // Replies still queued may leave; a peer that no longer reads does not hold us.
    let _ = tokio::time::timeout(std::time::Duration::from_secs(1), writer).await;
    outcome
}

/// Waits for the answers to what was read. Only if all of them left may the peer conclude anything from silence.
async fn say_goodbye(in_flight: &Semaphore, out: &mpsc::Sender<Outgoing>) -> Result<(), ServeFault> {
    // Each call holds a permit until its answer is on its way; streams have given theirs back.
    let all = u32::try_from(CALLS_IN_FLIGHT).unwrap_or(u32::MAX);
    if let Ok(Ok(_all)) = tokio::time::timeout(STOP_WAIT, in_flight.acquire_many(all)).await {
        let bye = Outgoing::new(Kind::Bye, 0, &(), Vec::new())?;
        // A peer that is gone needs no goodbye.
        let _ = out.send(bye).await;
    }
    Ok(())
}

/// Tells of a panic in a request: the end of the connection is the answer of all that wait on it.
struct Alarm(Arc<Notify>);

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.notify_one();
        }
    }
}

async fn read_calls<S: Service>(
    service: &Arc<S>,
    peer: S::Peer,
    stream: &Arc<Socket>,
    reader: &mut FrameReader,
    out: &mpsc::Sender<Outgoing>,
    name: &str,
    stopping: impl Future<Output = ()> + Send,
) -> Result<(), ServeFault> {
    let peer = Arc::new(peer);
    let credits: Credits = Arc::default();
    let in_flight = Arc::new(Semaphore::new(CALLS_IN_FLIGHT));
    let streams = Arc::new(Semaphore::new(STREAMS));
    let mut tasks = tokio::task::JoinSet::new();
    let mut stopping = std::pin::pin!(stopping);
    let broken = Arc::new(Notify::new());
    loop {
        while tasks.try_join_next().is_some() {}
        let frame = tokio::select! {
            biased;
            () = &mut stopping => return say_goodbye(&in_flight, out).await,
            () = broken.notified() => return Err(ServeFault::Broken),
            frame = reader.next(stream) => frame?,
        };
        let Some(frame) = frame else { return Ok(()) };
        let id = frame.header.id;
        match frame.header.kind {
            Kind::Call | Kind::CallOnce => {
                let (once, payload) = match frame.header.kind {
                    Kind::CallOnce => {
                        let (key, rest) =
                            postcard::take_from_bytes(frame.payload).map_err(FrameFault::Payload)?;
                        (Some(key), rest)
                    }
                    _ => (None, frame.payload),
                };
                let request: <S::Contract as Contract>::Request =
                    postcard::from_bytes(payload).map_err(FrameFault::Payload)?;
                let descriptors = frame.descriptors;
                if let Err(Refusal(verb)) = service.may(&peer, &request) {
                    send::<S::Contract>(out, id, &Err(S::Contract::forbidden()), Vec::new()).await;
                    return Err(ServeFault::Role { service: name.to_owned(), verb });
                }
                // The semaphore is never closed.
                let Ok(permit) = Arc::clone(&in_flight).acquire_owned().await else { return Ok(()) };
                let answer = Answer {
                    id,
                    out: out.clone(),
                    credits: Arc::clone(&credits),
                    streams: Arc::clone(&streams),
                    permit: Some(permit),
                    once,
                    marker: std::marker::PhantomData,
                };
                credits.lock().unwrap_or_else(PoisonError::into_inner).insert(id, None);
                // Outside of the task, which would hold the request beside it.
                let call = Arc::clone(service).call(Arc::clone(&peer), request, descriptors, answer);
                let (credits, alarm) = (Arc::clone(&credits), Alarm(Arc::clone(&broken)));
                tasks.spawn(async move {
                    let _alarm = alarm;
                    call.await;
                    credits.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
                });
            }
            Kind::Credit => {
                let more: u32 = postcard::from_bytes(frame.payload).map_err(FrameFault::Payload)?;
                let credits = credits.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(Some(credit)) = credits.get(&id) {
                    if more > WINDOW || credit.available_permits() + more as usize > WINDOW as usize {
                        return Err(FrameFault::Malformed.into());
                    }
                    credit.add_permits(more as usize);
                }
            }
            Kind::Cancel => {
                if let Some(Some(credit)) = credits.lock().unwrap_or_else(PoisonError::into_inner).remove(&id)
                {
                    credit.close();
                }
            }
            _ => return Err(FrameFault::Malformed.into()),
        }
    }
}
