//! A message on its way in: in memory while small, then in a staging file of the store.
//!
//! | state | left by |
//! |---|---|
//! | Inline | more than [`INLINE_OCTETS`]: the store is asked for a file |
//! | File | the end |
//! | Broken | the end: bytes are taken and dropped, so that the client can be told |
//!
//! A crash leaves nothing: the file has no name, and the store forgets it with our connection.

use libmox_message::foreign::OwnResults;
use libmox_store::{Body, BodyId, INLINE_OCTETS, Stage, Store, StoreError, Unstage};
use libmox_types::ByteCount;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use tokio::fs::File;
use tokio::io::{AsyncSeekExt, AsyncWriteExt};

/// Sees every octet of a message, in order.
pub trait Tap: Send {
    /// The next ones.
    fn feed(&mut self, bytes: &[u8]);
}

impl Tap for () {
    fn feed(&mut self, _: &[u8]) {}
}

impl Tap for libmox_message::Parser {
    fn feed(&mut self, bytes: &[u8]) {
        libmox_message::Parser::feed(self, bytes);
    }
}

/// Why a message could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum IntakeFault {
    /// The store gave no file.
    #[error("no staging file")]
    Stage(#[source] StoreError),
    /// It gave a reply without a descriptor.
    #[error("no descriptor for the staging file")]
    NoFile,
    /// Writing it.
    #[error("staging file cannot be written: {0}")]
    Write(#[from] io::Error),
}

/// A message that is all there.
#[derive(Debug)]
pub struct Taken<T> {
    /// What looked at it.
    pub tap: T,
    /// Octets.
    pub size: ByteCount,
    /// Where it is.
    pub place: Place,
}

/// Where the octets are.
#[derive(Debug)]
pub enum Place {
    /// Here.
    Inline(Vec<u8>),
    /// In a file of the store.
    Staged(Staged),
}

impl<T> Taken<T> {
    /// What looked at it, and the rest.
    #[must_use]
    pub fn split(self) -> (T, Taken<()>) {
        (self.tap, Taken { tap: (), size: self.size, place: self.place })
    }

    /// For a request to the store. Where that succeeds, say [`Self::used`]; where not, a file is given back.
    #[must_use]
    pub fn lend(&mut self) -> Body {
        match &mut self.place {
            Place::Inline(bytes) => Body::Inline(std::mem::take(bytes)),
            Place::Staged(staged) => Body::Staged { body: staged.id.unwrap_or(BodyId(0)), size: self.size },
        }
    }

    /// The file as it is to be handed in now.
    #[must_use]
    pub fn staged(&self) -> Option<Body> {
        match &self.place {
            Place::Staged(staged) => staged.id.map(|body| Body::Staged { body, size: self.size }),
            Place::Inline(_) => None,
        }
    }

    /// The store took it.
    pub fn used(self) {
        if let Place::Staged(mut staged) = self.place {
            staged.id = None;
        }
    }

    /// The octets, where they are in memory.
    #[must_use]
    pub fn inline(&self) -> Option<&[u8]> {
        match &self.place {
            Place::Inline(bytes) => Some(bytes),
            Place::Staged(_) => None,
        }
    }

    /// Puts a file into another staging file: the store the first one came from is gone, and with it the name.
    pub async fn restage(&mut self) -> Result<Body, IntakeFault> {
        let Place::Staged(staged) = &mut self.place else { return Err(IntakeFault::NoFile) };
        let old = staged.file.as_ref().ok_or(IntakeFault::NoFile)?.try_clone()?;
        let (mut file, mut fresh) = stage(&staged.store).await?;
        let mut old = File::from_std(std::fs::File::from(old));
        old.rewind().await?;
        tokio::io::copy(&mut old, &mut file).await?;
        file.flush().await?;
        file.rewind().await?;
        fresh.file = Some(OwnedFd::from(file.into_std().await));
        // The old id means nothing to the store that is there now.
        staged.id = None;
        *staged = fresh;
        Ok(Body::Staged { body: staged.id.unwrap_or(BodyId(0)), size: self.size })
    }

    /// The first octets, at most so many, wherever they are.
    pub fn front(&self, most: usize) -> io::Result<Vec<u8>> {
        match &self.place {
            Place::Inline(bytes) => Ok(bytes[..bytes.len().min(most)].to_vec()),
            Place::Staged(staged) => {
                let Some(file) = &staged.file else { return Ok(Vec::new()) };
                let size = usize::try_from(self.size.0).unwrap_or(usize::MAX);
                let mut bytes = vec![0; size.min(most)];
                // Just written, so it is in memory.
                std::fs::File::from(file.try_clone()?).read_exact_at(&mut bytes, 0)?;
                Ok(bytes)
            }
        }
    }

    /// A descriptor to read them from, at the start of the file.
    pub fn descriptor(&self) -> io::Result<Option<OwnedFd>> {
        match &self.place {
            Place::Inline(_) => Ok(None),
            Place::Staged(staged) => staged.file.as_ref().map(OwnedFd::try_clone).transpose(),
        }
    }
}

/// A staging file; given back when dropped unused.
#[derive(Debug)]
pub struct Staged {
    id: Option<BodyId>,
    file: Option<OwnedFd>,
    store: Store,
}

impl Drop for Staged {
    fn drop(&mut self) {
        let Some(id) = self.id.take() else { return };
        let store = self.store.clone();
        // Outside a runtime the connection ends too, and the store forgets it by itself.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(libmox_service::boxed(async move {
                if let Err(error) = store.ask(Unstage(id)).await {
                    tracing::debug!(%error, "staged body was not given back");
                }
            }));
        }
    }
}

enum State {
    Inline,
    File(File, Staged),
    Broken(IntakeFault),
}

/// Octets gathered before they go to the file.
const CHUNK: usize = 256 * 1024;

pub(crate) struct Intake<T> {
    store: Store,
    tap: T,
    /// Takes away what the client says in our name.
    own: Option<OwnResults>,
    buffer: Vec<u8>,
    /// Of the buffer, seen by the tap.
    seen: usize,
    written: u64,
    state: State,
}

impl<T: Tap> Intake<T> {
    pub(crate) fn new(store: Store, tap: T, own: Option<OwnResults>) -> Self {
        Self { store, tap, own, buffer: Vec::new(), seen: 0, written: 0, state: State::Inline }
    }

    /// Where the next octets are appended; then [`Self::settle`].
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Shows new octets to the tap, and moves what is too much for memory.
    pub(crate) async fn settle(&mut self) {
        if let Some(own) = self.own.as_mut().filter(|own| !own.is_done()) {
            let fresh = self.buffer.split_off(self.seen);
            own.feed(&fresh, &mut self.buffer);
        }
        self.look().await;
    }

    async fn look(&mut self) {
        self.tap.feed(&self.buffer[self.seen..]);
        self.seen = self.buffer.len();
        let most = if matches!(self.state, State::Inline) { INLINE_OCTETS } else { CHUNK };
        if self.buffer.len() > most {
            self.write_out().await;
        }
    }

    async fn write_out(&mut self) {
        if matches!(self.state, State::Inline) {
            self.state = match stage(&self.store).await {
                Ok((file, staged)) => State::File(file, staged),
                Err(fault) => State::Broken(fault),
            };
        }
        if let State::File(file, _) = &mut self.state
            && let Err(error) = file.write_all(&self.buffer).await
        {
            self.state = State::Broken(error.into());
        }
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        self.seen = 0;
    }

    pub(crate) async fn finish(mut self) -> Result<Taken<T>, IntakeFault> {
        if let Some(own) = &mut self.own {
            own.finish(&mut self.buffer);
            self.look().await;
        }
        if !matches!(self.state, State::Inline) {
            self.write_out().await;
        }
        match self.state {
            State::Inline => {
                let size = ByteCount(self.buffer.len() as u64);
                Ok(Taken { tap: self.tap, size, place: Place::Inline(self.buffer) })
            }
            State::File(mut file, mut staged) => {
                file.flush().await?;
                // Whoever reads it through a copy of this descriptor starts at the front.
                file.rewind().await?;
                staged.file = Some(OwnedFd::from(file.into_std().await));
                Ok(Taken { tap: self.tap, size: ByteCount(self.written), place: Place::Staged(staged) })
            }
            State::Broken(fault) => Err(fault),
        }
    }
}

async fn stage(store: &Store) -> Result<(File, Staged), IntakeFault> {
    let mut asked = store.ask_with(Stage, Vec::new()).await;
    if matches!(asked, Err(StoreError::Lost)) {
        // What was staged on a lost connection went with it.
        asked = store.ask_with(Stage, Vec::new()).await;
    }
    let (id, descriptors) = asked.map_err(IntakeFault::Stage)?;
    let staged = Staged { id: Some(id), file: None, store: store.clone() };
    let descriptor = descriptors.into_iter().next().ok_or(IntakeFault::NoFile)?;
    Ok((File::from_std(std::fs::File::from(descriptor)), staged))
}
