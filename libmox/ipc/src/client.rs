//! The calling side: one connection, many calls, made again when it is lost.

use crate::frame::{FrameFault, FrameReader, Kind, Outgoing, write_frames};
use crate::limits::{
    CONNECT_ATTEMPTS, CONNECT_PAUSE, GOODBYES, HELLO_WAIT, REPEAT_FOR, REPEAT_PAUSE, WINDOW, WRITE_QUEUE,
};
use crate::socket::Socket;
use crate::{Contract, Hello, OnceKey, Verb};
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};

/// Why a call has no reply.
#[derive(Debug, thiserror::Error)]
pub enum CallError<F: fmt::Debug> {
    /// The other side understood and said no.
    #[error("refused: {0:?}")]
    Fault(F),
    /// It could not be asked: nothing happened, asking again is safe.
    #[error("service cannot be reached")]
    Unreachable(#[source] io::Error),
    /// The connection ended after the request was sent: it may or may not have happened.
    #[error("connection lost, outcome unknown")]
    Lost,
    /// The request or the reply breaks the contract. Our bug.
    #[error("contract broken")]
    Broken,
}

impl<F: fmt::Debug> CallError<F> {
    /// The fault, if the other side answered with one.
    #[must_use]
    pub fn fault(&self) -> Option<&F> {
        match self {
            Self::Fault(fault) => Some(fault),
            _ => None,
        }
    }
}

type Outcome<C> = Result<(<C as Contract>::Reply, Vec<OwnedFd>), <C as Contract>::Fault>;

/// The other side never saw the request.
struct Unseen;

enum Waiting<C: Contract> {
    Call(oneshot::Sender<Result<Outcome<C>, Unseen>>),
    Stream(mpsc::Sender<Result<C::Item, C::Fault>>),
}

struct Connection<C: Contract> {
    next_id: AtomicU64,
    epoch: u64,
    dead: AtomicBool,
    waiting: Mutex<HashMap<u64, Waiting<C>>>,
    out: mpsc::Sender<Outgoing>,
}

impl<C: Contract> Connection<C> {
    fn waiting(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Waiting<C>>> {
        // A poisoned map is still a map: entries are whole values.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self) {
        // Under the lock, so that nobody registers after the sweep and waits for ever.
        let mut waiting = self.waiting();
        self.dead.store(true, Ordering::Release);
        waiting.clear();
    }

    /// The other side said goodbye: what is not answered by now was not seen.
    fn unseen(&self, waiting: &mut HashMap<u64, Waiting<C>>) {
        self.dead.store(true, Ordering::Release);
        for (_, one) in waiting.drain() {
            if let Waiting::Call(answer) = one {
                let _ = answer.send(Err(Unseen));
            }
        }
    }
}

/// A client of one socket. Cheap to clone; all clones share the connection.
pub struct Client<C: Contract> {
    shared: Arc<Shared<C>>,
}

struct Shared<C: Contract> {
    path: PathBuf,
    service: String,
    current: tokio::sync::Mutex<Option<Arc<Connection<C>>>>,
    epochs: AtomicU64,
}

impl<C: Contract> Clone for Client<C> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<C: Contract> fmt::Debug for Client<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({} at {})", C::NAME, self.shared.path.display())
    }
}

impl<C: Contract> Client<C> {
    /// Nothing is connected until the first call. `service` names the caller in the other side's journal.
    #[must_use]
    pub fn new(path: &Path, service: &str) -> Self {
        Self {
            shared: Arc::new(Shared {
                path: path.to_owned(),
                service: service.to_owned(),
                current: tokio::sync::Mutex::new(None),
                epochs: AtomicU64::new(1),
            }),
        }
    }

    /// Asks and waits for the reply.
    pub async fn ask<V: Verb<C>>(&self, verb: V) -> Result<V::Reply, CallError<C::Fault>> {
        Ok(self.ask_with(verb, Vec::new()).await?.0)
    }

    /// The same with descriptors both ways.
    pub async fn ask_with<V: Verb<C>>(
        &self,
        verb: V,
        descriptors: Vec<OwnedFd>,
    ) -> Result<(V::Reply, Vec<OwnedFd>), CallError<C::Fault>> {
        let (reply, descriptors) = self.exchange(None, &verb.into_request(), descriptors).await?;
        Ok((V::from_reply(reply).ok_or(CallError::Broken)?, descriptors))
    }

    /// For requests that change nothing, or nothing more the second time: a lost outcome is asked for again.
    pub async fn repeat<V: Verb<C>>(&self, verb: V) -> Result<V::Reply, CallError<C::Fault>> {
        self.insist(None, &verb.into_request())
            .await
            .and_then(|reply| V::from_reply(reply).ok_or(CallError::Broken))
    }

    /// For requests that the other side carries out once for a key: a lost outcome is asked for again.
    pub async fn ask_once<V: Verb<C>>(&self, key: OnceKey, verb: V) -> Result<V::Reply, CallError<C::Fault>> {
        let reply = self.insist(Some(key), &verb.into_request()).await?;
        V::from_reply(reply).ok_or(CallError::Broken)
    }

    async fn insist(
        &self,
        key: Option<OnceKey>,
        request: &C::Request,
    ) -> Result<C::Reply, CallError<C::Fault>> {
        let until = tokio::time::Instant::now() + REPEAT_FOR;
        let mut pause = REPEAT_PAUSE;
        loop {
            match self.exchange(key, request, Vec::new()).await {
                Ok((reply, _)) => return Ok(reply),
                Err(CallError::Lost | CallError::Unreachable(_))
                    if tokio::time::Instant::now() + pause < until =>
                {
                    tracing::debug!(contract = C::NAME, "no outcome, asking again");
                }
                Err(error) => return Err(error),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(std::time::Duration::from_secs(1));
        }
    }

    /// One request and its outcome. A process that stops without having seen it is not the caller's business: the
    /// next one is asked.
    async fn exchange(
        &self,
        key: Option<OnceKey>,
        request: &C::Request,
        mut descriptors: Vec<OwnedFd>,
    ) -> Result<(C::Reply, Vec<OwnedFd>), CallError<C::Fault>> {
        for _ in 0..GOODBYES {
            let connection = self.connection().await?;
            let spare: io::Result<Vec<OwnedFd>> = descriptors.iter().map(OwnedFd::try_clone).collect();
            let (answer, reply) = oneshot::channel();
            match send(&connection, key, request, descriptors, Waiting::Call(answer)).await {
                // It ended before anything was sent.
                Err(CallError::Unreachable(_)) => {}
                Err(error) => return Err(error),
                Ok(_) => {
                    if let Ok(outcome) = reply.await.map_err(|_| CallError::Lost)? {
                        return outcome.map_err(CallError::Fault);
                    }
                }
            }
            descriptors = spare.map_err(CallError::Unreachable)?;
        }
        Err(CallError::Unreachable(io::ErrorKind::ConnectionReset.into()))
    }

    /// Asks for a stream of items. It ends by itself, with a fault, or when dropped.
    pub async fn stream(&self, request: C::Request) -> Result<Items<C>, CallError<C::Fault>> {
        let connection = self.connection().await?;
        let (items, receiver) = mpsc::channel(WINDOW as usize + 1);
        let id = send(&connection, None, &request, Vec::new(), Waiting::Stream(items)).await?;
        Ok(Items { connection, id, receiver, taken: 0, ended: false })
    }

    /// Changes whenever a connection was lost: what was tied to the old one (logins, staged bodies) is gone.
    pub async fn epoch(&self) -> Result<u64, CallError<C::Fault>> {
        Ok(self.connection().await?.epoch)
    }

    async fn connection(&self) -> Result<Arc<Connection<C>>, CallError<C::Fault>> {
        let mut current = self.shared.current.lock().await;
        if let Some(connection) = current.as_ref().filter(|c| !c.dead.load(Ordering::Acquire)) {
            return Ok(Arc::clone(connection));
        }
        let mut pause = CONNECT_PAUSE;
        let mut attempt = 1;
        loop {
            match self.connect().await {
                Ok(connection) => {
                    *current = Some(Arc::clone(&connection));
                    return Ok(connection);
                }
                Err(error) if attempt == CONNECT_ATTEMPTS => return Err(CallError::Unreachable(error)),
                Err(error) => tracing::debug!(%error, attempt, contract = C::NAME, "no connection yet"),
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
            attempt += 1;
        }
    }

    async fn connect(&self) -> io::Result<Arc<Connection<C>>> {
        let stream = Socket::new(UnixStream::connect(&self.shared.path).await?)?;
        let hello =
            Hello { contract: C::NAME.into(), version: C::VERSION, service: self.shared.service.clone() };
        let hello = Outgoing::new(Kind::Hello, 0, &hello, Vec::new()).map_err(io::Error::other)?;
        write_frames(&stream, &mut vec![hello], &mut Vec::new()).await?;
        let mut reader = FrameReader::default();
        let greeting = tokio::time::timeout(HELLO_WAIT, reader.next(&stream))
            .await?
            .map_err(io::Error::other)?
            .ok_or(io::ErrorKind::ConnectionReset)?;
        let theirs: Hello = postcard::from_bytes(greeting.payload).map_err(io::Error::other)?;
        if greeting.header.kind != Kind::Hello || theirs.contract != C::NAME || theirs.version != C::VERSION {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                format!(
                    "{} version {} where {} version {} was expected",
                    theirs.contract,
                    theirs.version,
                    C::NAME,
                    C::VERSION
                ),
            ));
        }
        let (out, queue) = mpsc::channel(WRITE_QUEUE);
        let connection = Arc::new(Connection {
            next_id: AtomicU64::new(1),
            epoch: self.shared.epochs.fetch_add(1, Ordering::Relaxed),
            dead: AtomicBool::new(false),
            waiting: Mutex::new(HashMap::new()),
            out,
        });
        let stream = Arc::new(stream);
        crate::spawn(write_loop(Arc::clone(&stream), queue));
        crate::spawn(read_loop(Arc::downgrade(&connection), stream, reader));
        Ok(connection)
    }
}

async fn send<C: Contract>(
    connection: &Arc<Connection<C>>,
    key: Option<OnceKey>,
    request: &C::Request,
    descriptors: Vec<OwnedFd>,
    waiting: Waiting<C>,
) -> Result<u64, CallError<C::Fault>> {
    let id = connection.next_id.fetch_add(1, Ordering::Relaxed);
    let frame = match key {
        Some(key) => Outgoing::new(Kind::CallOnce, id, &(key, request), descriptors),
        None => Outgoing::new(Kind::Call, id, request, descriptors),
    };
    let frame = frame.map_err(|_| CallError::Broken)?;
    {
        let mut map = connection.waiting();
        if connection.dead.load(Ordering::Acquire) {
            return Err(CallError::Unreachable(io::ErrorKind::ConnectionReset.into()));
        }
        map.insert(id, waiting);
    }
    if connection.out.send(frame).await.is_err() {
        // Not sent, so not seen.
        connection.waiting().remove(&id);
        // What others wait for may have come already: that is for the reading half to find.
        connection.dead.store(true, Ordering::Release);
        return Err(CallError::Unreachable(io::ErrorKind::ConnectionReset.into()));
    }
    Ok(id)
}

pub(crate) async fn write_loop(stream: Arc<Socket>, mut queue: mpsc::Receiver<Outgoing>) {
    let (mut frames, mut joined) = (Vec::new(), Vec::new());
    while queue.recv_many(&mut frames, 64).await > 0 {
        if let Err(error) = write_frames(&stream, &mut frames, &mut joined).await {
            tracing::debug!(%error, "data plane: cannot write");
            break;
        }
        joined.shrink_to(64 * 1024);
    }
    // The other half learns of it by its read ending.
    stream.shut_down();
}

/// Holds the connection weakly: when the last client and call let go of it, the socket closes.
async fn read_loop<C: Contract>(
    connection: std::sync::Weak<Connection<C>>,
    stream: Arc<Socket>,
    mut reader: FrameReader,
) {
    loop {
        let step = match reader.next(&stream).await {
            Ok(Some(frame)) => {
                let Some(connection) = connection.upgrade() else { break };
                take::<C>(&connection, frame.header.kind, frame.header.id, frame.payload, frame.descriptors)
            }
            Ok(None) => break,
            Err(fault) => Err(fault),
        };
        if let Err(fault) = step {
            tracing::warn!(%fault, contract = C::NAME, "data plane: connection dropped");
            break;
        }
    }
    if let Some(connection) = connection.upgrade() {
        connection.end();
    }
    stream.shut_down();
}

fn take<C: Contract>(
    connection: &Connection<C>,
    kind: Kind,
    id: u64,
    payload: &[u8],
    descriptors: Vec<OwnedFd>,
) -> Result<(), FrameFault> {
    let mut map = connection.waiting();
    match kind {
        Kind::Reply => {
            let outcome: Result<Option<C::Reply>, C::Fault> =
                postcard::from_bytes(payload).map_err(FrameFault::Payload)?;
            match (map.remove(&id), outcome) {
                (Some(Waiting::Call(answer)), Ok(Some(reply))) => {
                    drop(answer.send(Ok(Ok((reply, descriptors)))));
                }
                (Some(Waiting::Call(answer)), Err(fault)) => drop(answer.send(Ok(Err(fault)))),
                // Dropping the sender ends the stream; a caller without reply sees `Lost`.
                (Some(Waiting::Call(_) | Waiting::Stream(_)) | None, Ok(_)) | (None, Err(_)) => {}
                (Some(Waiting::Stream(items)), Err(fault)) => drop(items.try_send(Err(fault))),
            }
            Ok(())
        }
        Kind::Item => {
            let item = C::read_item(payload).map_err(FrameFault::Payload)?;
            if let Some(Waiting::Stream(items)) = map.get(&id) {
                match items.try_send(Ok(item)) {
                    Ok(()) => {}
                    // The window is ours to keep: more than it holds is a broken peer.
                    Err(mpsc::error::TrySendError::Full(_)) => return Err(FrameFault::Malformed),
                    Err(mpsc::error::TrySendError::Closed(_)) => drop(map.remove(&id)),
                }
            }
            Ok(())
        }
        Kind::Bye => {
            connection.unseen(&mut map);
            Ok(())
        }
        _ => Err(FrameFault::Malformed),
    }
}

/// The items of a stream, in order.
pub struct Items<C: Contract> {
    connection: Arc<Connection<C>>,
    id: u64,
    receiver: mpsc::Receiver<Result<C::Item, C::Fault>>,
    taken: u32,
    ended: bool,
}

impl<C: Contract> fmt::Debug for Items<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Items({} #{})", C::NAME, self.id)
    }
}

impl<C: Contract> Items<C> {
    /// Which connection they come on: [`Client::epoch`].
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.connection.epoch
    }

    /// The next item; none at the end. May be dropped while it waits without losing anything.
    pub async fn next(&mut self) -> Option<Result<C::Item, CallError<C::Fault>>> {
        if self.ended {
            return None;
        }
        // Before an item is in hand: whoever gives up waiting here must not lose one.
        if self.taken >= WINDOW / 2 {
            self.grant().await;
        }
        match self.receiver.recv().await {
            Some(Ok(item)) => {
                self.taken += 1;
                Some(Ok(item))
            }
            Some(Err(fault)) => {
                self.ended = true;
                Some(Err(CallError::Fault(fault)))
            }
            None => {
                self.ended = true;
                self.connection.dead.load(Ordering::Acquire).then_some(Err(CallError::Lost))
            }
        }
    }

    /// An item that has arrived already.
    pub fn try_next(&mut self) -> Option<C::Item> {
        match self.receiver.try_recv() {
            Ok(Ok(item)) => {
                self.taken += 1;
                if self.taken >= WINDOW / 2
                    && let Ok(frame) = Outgoing::new(Kind::Credit, self.id, &self.taken, Vec::new())
                    && self.connection.out.try_send(frame).is_ok()
                {
                    self.taken = 0;
                }
                Some(item)
            }
            _ => None,
        }
    }

    async fn grant(&mut self) {
        if let Ok(frame) = Outgoing::new(Kind::Credit, self.id, &self.taken, Vec::new())
            && self.connection.out.send(frame).await.is_ok()
        {
            self.taken = 0;
        }
    }
}

impl<C: Contract> Drop for Items<C> {
    fn drop(&mut self) {
        let open = self.connection.waiting().remove(&self.id).is_some();
        if open
            && let Ok(frame) = Outgoing::new(Kind::Cancel, self.id, &(), Vec::new())
            && let Err(mpsc::error::TrySendError::Full(frame)) = self.connection.out.try_send(frame)
        {
            let out = self.connection.out.clone();
            if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                runtime.spawn(crate::boxed(async move { drop(out.send(frame).await) }));
            }
        }
    }
}
