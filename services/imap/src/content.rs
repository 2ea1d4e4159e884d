//! The octets of a message, read where they are needed.

use crate::error::Failure;
use crate::events;
use libmox_imap::response::Code;
use libmox_message::{Parser, Structure};
use libmox_store::{
    INLINE_OCTETS, MessageOpen, MessageRecord, MessagesOpen, OPENED_TOGETHER, SessionId, Store,
};
use libmox_types::MsgId;
use std::collections::VecDeque;
use std::fs::File;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use tokio::task::JoinHandle;

/// Octets read from a file at once.
pub const CHUNK: u64 = 128 * 1024;

/// Octets of small messages that are asked for together.
const BATCH: u64 = 192 * 1024;

/// Requests for messages on their way before their turn.
const AHEAD: usize = 2;

/// An open message.
#[derive(Debug)]
pub struct Content {
    prefix: Vec<u8>,
    source: Source,
    size: u64,
}

#[derive(Debug)]
enum Source {
    Inline(Vec<u8>),
    File(Arc<File>),
}

impl Content {
    /// Opens a message.
    pub async fn open(store: &Store, session: SessionId, id: MsgId) -> Result<Self, Failure> {
        let (content, descriptors) = store.ask_with(MessageOpen { session, id }, Vec::new()).await?;
        Self::of(content, descriptors)
    }

    /// What the store opened.
    pub fn of(content: libmox_store::Content, descriptors: Vec<OwnedFd>) -> Result<Self, Failure> {
        let source = match (content.inline, descriptors.into_iter().next()) {
            (Some(octets), _) => Source::Inline(octets.into_vec()),
            (None, Some(descriptor)) => Source::File(Arc::new(File::from(descriptor))),
            (None, None) => return Err(broken("no content came")),
        };
        let size = content.prefix.len() as u64 + content.size.0;
        Ok(Self { prefix: content.prefix, source, size })
    }

    /// Octets altogether.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Reads onto the end of `out` from the start of the range: all of it, or [`CHUNK`] octets. Says how many.
    pub async fn read(&self, range: Range<u64>, out: &mut Vec<u8>) -> Result<u64, Failure> {
        let end = range.end.min(self.size).min(range.start.saturating_add(CHUNK));
        if range.start >= end {
            return Ok(0);
        }
        let prefix = self.prefix.len() as u64;
        if range.start < prefix {
            let octets = &self.prefix[place(range.start)..place(end.min(prefix))];
            out.extend_from_slice(octets);
            return Ok(octets.len() as u64);
        }
        let (start, end) = (range.start - prefix, end - prefix);
        match &self.source {
            Source::Inline(octets) => {
                let octets =
                    octets.get(place(start)..place(end)).ok_or_else(|| broken("content too short"))?;
                out.extend_from_slice(octets);
            }
            Source::File(file) => {
                let file = Arc::clone(file);
                // A disk may take its time; the threads that serve everybody else must not wait for it.
                let read = tokio::task::spawn_blocking(move || {
                    let mut octets = vec![0; place(end - start)];
                    file.read_exact_at(&mut octets, start).map(|()| octets)
                });
                match read.await {
                    Ok(Ok(octets)) => out.extend_from_slice(&octets),
                    Ok(Err(error)) => return Err(broken(&error.to_string())),
                    Err(error) => return Err(broken(&error.to_string())),
                }
            }
        }
        Ok(end - start)
    }

    /// The whole range, at most `most` octets.
    pub async fn read_all(&self, range: Range<u64>, most: u64) -> Result<Vec<u8>, Failure> {
        let end = range.end.min(range.start.saturating_add(most));
        let (mut at, mut out) = (range.start, Vec::new());
        loop {
            match self.read(at..end, &mut out).await? {
                0 => return Ok(out),
                read => at += read,
            }
        }
    }

    /// What the record knows of its structure; where it knows nothing the message is read for it.
    pub async fn structure(&self, record: &MessageRecord) -> Result<Structure, Failure> {
        if let Some(structure) = known_structure(record) {
            return Ok(structure);
        }
        let mut parser = Parser::new();
        let (mut at, mut piece) = (0, Vec::new());
        loop {
            piece.clear();
            match self.read(at..self.size, &mut piece).await? {
                0 => return Ok(parser.finish().structure),
                read => at += read,
            }
            parser.feed(&piece);
        }
    }
}

/// Messages opened one after the other, those of the next requests before their turn: to ask the store and wait for each
/// costs more than to read it.
pub struct Ahead {
    store: Store,
    session: SessionId,
    batches: std::vec::IntoIter<Vec<MsgId>>,
    opening: VecDeque<JoinHandle<Result<Opened, Failure>>>,
    opened: Opened,
}

/// What came of one request: each message, or none where it has to be opened by itself.
type Opened = std::vec::IntoIter<(MsgId, Option<Content>)>;

impl Ahead {
    /// These, in this order.
    pub fn new<'r>(
        store: &Store,
        session: SessionId,
        records: impl IntoIterator<Item = &'r MessageRecord>,
    ) -> Self {
        let (mut batches, mut batch, mut octets) = (Vec::new(), Vec::new(), 0);
        for record in records {
            // A large one comes as a descriptor, and weighs nothing.
            let size = if record.size.0 > INLINE_OCTETS as u64 { 0 } else { record.size.0 };
            if batch.len() >= OPENED_TOGETHER || octets + size > BATCH {
                batches.push(std::mem::take(&mut batch));
                octets = 0;
            }
            batch.push(record.id);
            octets += size;
        }
        batches.push(batch);
        Self {
            store: store.clone(),
            session,
            batches: batches.into_iter(),
            opening: VecDeque::new(),
            opened: Vec::new().into_iter(),
        }
    }

    /// The next one; to be asked as often as there are messages.
    pub async fn next(&mut self) -> Result<Content, Failure> {
        loop {
            while self.opening.len() < AHEAD
                && let Some(ids) = self.batches.next()
            {
                let (store, session) = (self.store.clone(), self.session);
                self.opening
                    .push_back(libmox_service::spawn(async move { open_all(&store, session, ids).await }));
            }
            match self.opened.next() {
                Some((_, Some(content))) => return Ok(content),
                Some((id, None)) => return Content::open(&self.store, self.session, id).await,
                None => {}
            }
            let Some(opening) = self.opening.pop_front() else { return Err(broken("no message is left")) };
            self.opened = opening.await.unwrap_or_else(|error| Err(broken(&error.to_string())))?;
        }
    }
}

async fn open_all(store: &Store, session: SessionId, ids: Vec<MsgId>) -> Result<Opened, Failure> {
    let contents = match ids[..] {
        // It may be large, and is asked for in any case.
        [_] => Vec::new(),
        _ => store.ask(MessagesOpen { session, ids: ids.clone() }).await?,
    };
    let mut contents = contents.into_iter();
    let opened = ids.into_iter().map(|id| {
        let content = contents.next().flatten();
        (id, content.and_then(|content| Content::of(content, Vec::new()).ok()))
    });
    Ok(opened.collect::<Vec<_>>().into_iter())
}

/// The structure as it came with the record, offsets from the start of the message.
pub fn known_structure(record: &MessageRecord) -> Option<Structure> {
    let mut structure = Structure::from_bytes(&record.structure).ok()?;
    if record.prefix > 0 {
        structure.shift_by_prefix(u64::from(record.prefix));
    }
    Some(structure)
}

/// Offsets within memory.
fn place(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

fn broken(why: &str) -> Failure {
    events::trouble("message cannot be read", why);
    Failure::no(Code::Unavailable, "message cannot be read now")
}
