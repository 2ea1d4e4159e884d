//! A process that was taken over speaks to the store: whatever it sends, the connection ends or goes on.
#![no_main]

use libfuzzer_sys::fuzz_target;
use libmox_ipc::{Answer, Contract, Hello, Refusal, Service, serve};
use libmox_store::{Fault, Request, StoreContract};
use std::io::Write;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::sync::{Arc, LazyLock};

static RUNTIME: LazyLock<tokio::runtime::Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime"));

/// Answers everything with a fault; the verbs behind it are tested elsewhere.
struct Nothing;

impl Service for Nothing {
    type Contract = StoreContract;
    type Peer = ();

    fn may(&self, _: &(), _: &Request) -> Result<(), Refusal> {
        Ok(())
    }

    async fn call(
        self: Arc<Self>,
        _: Arc<()>,
        request: Request,
        _: Vec<OwnedFd>,
        answer: Answer<StoreContract>,
    ) {
        if matches!(request, Request::QueueWatch(_)) {
            let _ = answer.stream().end(Ok(())).await;
        } else {
            answer.reply(Err(Fault::Forbidden)).await;
        }
    }
}

fn frame(kind: u8, id: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).expect("short").to_le_bytes().to_vec();
    bytes.extend_from_slice(&[kind, 0, 0, 0]);
    bytes.extend_from_slice(&id.to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

fuzz_target!(|data: &[u8]| {
    let Some((&choice, mut data)) = data.split_first() else { return };
    // All of it has to lie in the socket at once.
    data = &data[..data.len().min(32 * 1024)];
    let mut wire = Vec::new();
    if choice & 1 == 0 {
        let hello = Hello {
            contract: StoreContract::NAME.into(),
            version: StoreContract::VERSION,
            service: "fuzz".into(),
        };
        wire = frame(0, 0, &postcard::to_allocvec(&hello).expect("encodes"));
    }
    if choice & 2 == 0 {
        // Frames in order, so that the payloads are reached: kind, length, payload.
        let mut id = 0;
        while let [kind, length, rest @ ..] = data {
            let (payload, rest) = rest.split_at(usize::from(*length).min(rest.len()));
            id += 1;
            wire.extend(frame(kind % 8, id, payload));
            data = rest;
        }
    }
    wire.extend_from_slice(data);
    RUNTIME.block_on(async {
        let (mut ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a pair");
        theirs.set_nonblocking(true).expect("a socket");
        ours.set_nonblocking(true).expect("a socket");
        if ours.write(&wire).is_err() {
            return;
        }
        ours.shutdown(Shutdown::Write).expect("a socket");
        let theirs = tokio::net::UnixStream::from_std(theirs).expect("a socket");
        let _ = serve(Arc::new(Nothing), (), theirs, "fuzz").await;
    });
});
