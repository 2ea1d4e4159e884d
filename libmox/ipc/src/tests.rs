//! Both sides over a real socket.

use crate::{Answer, CallError, Client, Contract, Refusal, Service, serve};
use serde::{Deserialize, Serialize};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use tokio::net::{UnixListener, UnixStream};

struct Echo;

#[derive(Debug, Serialize, Deserialize)]
struct Say(String);
#[derive(Debug, Serialize, Deserialize)]
struct Count(u32);
#[derive(Debug, Serialize, Deserialize)]
struct Secret;
#[derive(Debug, Serialize, Deserialize)]
struct Open;
#[derive(Debug, Serialize, Deserialize)]
struct Never;

mod said {
    use super::{Count, Echo, Never, Open, Say, Secret};
    // The macro names the crate by its public path.
    use crate as libmox_ipc;
    #[derive(Debug, serde::Serialize, serde::Deserialize)]
    pub enum Request {
        Say(Say),
        Count(Count),
        Secret(Secret),
        Open(Open),
        Never(Never),
    }
    #[derive(Debug, serde::Serialize, serde::Deserialize)]
    pub enum Reply {
        Say(String),
        Open(()),
        Secret(()),
    }
    impl libmox_ipc::Verb<Echo> for Say {
        type Reply = String;
        fn into_request(self) -> Request {
            Request::Say(self)
        }
        fn from_reply(reply: Reply) -> Option<String> {
            match reply {
                Reply::Say(text) => Some(text),
                _ => None,
            }
        }
    }
    impl libmox_ipc::Verb<Echo> for Open {
        type Reply = ();
        fn into_request(self) -> Request {
            Request::Open(self)
        }
        fn from_reply(reply: Reply) -> Option<()> {
            matches!(reply, Reply::Open(())).then_some(())
        }
    }
    impl libmox_ipc::Verb<Echo> for Secret {
        type Reply = ();
        fn into_request(self) -> Request {
            Request::Secret(self)
        }
        fn from_reply(reply: Reply) -> Option<()> {
            matches!(reply, Reply::Secret(())).then_some(())
        }
    }
}

impl Contract for Echo {
    const NAME: &'static str = "echo";
    const VERSION: u32 = 1;
    type Request = said::Request;
    type Reply = said::Reply;
    type Item = u32;
    type Fault = String;
    fn forbidden() -> String {
        "not yours".into()
    }
}

struct Server;

impl Service for Server {
    type Contract = Echo;
    type Peer = ();

    fn may(&self, (): &(), request: &said::Request) -> Result<(), Refusal> {
        if matches!(request, said::Request::Secret(_)) { Err(Refusal("Secret")) } else { Ok(()) }
    }

    async fn call(
        self: Arc<Self>,
        _: Arc<()>,
        request: said::Request,
        fds: Vec<OwnedFd>,
        answer: Answer<Echo>,
    ) {
        match request {
            said::Request::Say(Say(text)) if text == "fail" => answer.reply(Err("as told".into())).await,
            said::Request::Say(Say(text)) if text == "bug" => panic!("as told"),
            said::Request::Say(Say(text)) => answer.reply(Ok(said::Reply::Say(text))).await,
            said::Request::Open(_) => answer.reply_with(Ok(said::Reply::Open(())), fds).await,
            said::Request::Secret(_) => answer.reply(Ok(said::Reply::Secret(()))).await,
            said::Request::Never(_) => {
                let stream = answer.stream();
                stream.unwanted().await;
            }
            said::Request::Count(Count(to)) => {
                let mut stream = answer.stream();
                for n in 0..to {
                    if stream.send(&n).await.is_err() {
                        return;
                    }
                }
                stream.end(if to == 13 { Err("unlucky".into()) } else { Ok(()) }).await;
            }
        }
    }
}

struct Running {
    client: Client<Echo>,
    accepting: tokio::task::JoinHandle<()>,
    dir: std::path::PathBuf,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.accepting.abort();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn start(name: &str) -> Running {
    let dir = std::env::temp_dir().join(format!("mox-ipc-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let accepting = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move { drop(serve(Arc::new(Server), (), stream, "server").await) });
        }
    });
    Running { client: Client::new(&path, "test"), accepting, dir }
}

#[tokio::test]
async fn calls_faults_and_streams_share_a_connection() {
    let run = start("mix");
    let client = &run.client;
    let mut long = client.stream(said::Request::Count(Count(100))).await.unwrap();
    assert_eq!(client.ask(Say("hi".into())).await.unwrap(), "hi");
    assert!(matches!(client.ask(Say("fail".into())).await, Err(CallError::Fault(f)) if f == "as told"));
    for want in 0..100 {
        assert_eq!(long.next().await.unwrap().unwrap(), want);
    }
    assert!(long.next().await.is_none());
    let mut bad = client.stream(said::Request::Count(Count(13))).await.unwrap();
    for want in 0..13 {
        assert_eq!(bad.next().await.unwrap().unwrap(), want);
    }
    assert!(matches!(bad.next().await, Some(Err(CallError::Fault(f))) if f == "unlucky"));
    assert!(bad.next().await.is_none());
    assert_eq!(client.epoch().await.unwrap(), 1);
}

/// The caller would wait for ever otherwise.
#[tokio::test]
async fn a_bug_in_a_request_ends_the_connection_and_nothing_else() {
    let run = start("bug");
    assert!(matches!(run.client.ask(Say("bug".into())).await, Err(CallError::Lost)));
    assert_eq!(run.client.ask(Say("again".into())).await.unwrap(), "again");
}

#[tokio::test]
async fn a_slow_reader_does_not_hold_up_its_neighbours() {
    let run = start("slow");
    let mut slow = run.client.stream(said::Request::Count(Count(10_000))).await.unwrap();
    for n in 0..200 {
        assert_eq!(run.client.ask(Say(n.to_string())).await.unwrap(), n.to_string());
    }
    for want in 0..10_000 {
        assert_eq!(slow.next().await.unwrap().unwrap(), want);
    }
}

#[tokio::test]
async fn a_dropped_stream_is_cancelled_and_large_frames_pass() {
    let run = start("drop");
    drop(run.client.stream(said::Request::Count(Count(u32::MAX))).await.unwrap());
    drop(run.client.stream(said::Request::Never(Never)).await.unwrap());
    let large = "x".repeat(crate::limits::FRAME_OCTETS - 64);
    assert_eq!(run.client.ask(Say(large.clone())).await.unwrap(), large);
    assert!(matches!(
        run.client.ask(Say("y".repeat(crate::limits::FRAME_OCTETS))).await,
        Err(CallError::Broken)
    ));
    assert_eq!(run.client.ask(Say("still here".into())).await.unwrap(), "still here");
}

/// As many sessions may watch as there are; calls go on beside them.
#[tokio::test]
async fn streams_do_not_use_up_the_calls() {
    let run = start("streams");
    let mut watching = Vec::new();
    for _ in 0..crate::limits::CALLS_IN_FLIGHT + 50 {
        watching.push(run.client.stream(said::Request::Never(Never)).await.unwrap());
    }
    assert_eq!(run.client.ask(Say("x".into())).await.unwrap(), "x");
}

#[tokio::test]
async fn descriptors_travel_with_their_frame() {
    let run = start("fds");
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..50u8 {
        let client = run.client.clone();
        calls.spawn(async move {
            let (mut ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
            let ((), back) = client.ask_with(Open, vec![theirs.into()]).await.unwrap();
            let mut back = std::os::unix::net::UnixStream::from(back.into_iter().next().unwrap());
            back.write_all(&[n]).unwrap();
            let mut byte = [0];
            ours.read_exact(&mut byte).unwrap();
            assert_eq!(byte[0], n);
        });
    }
    calls.join_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_sockets_do_not_hold_waits_for_room() {
    let run = start("room");
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..8 {
        let client = run.client.clone();
        calls.spawn(async move {
            let long = n.to_string().repeat(crate::limits::FRAME_OCTETS - 100);
            assert!(client.ask(Say(long.clone())).await.unwrap() == long);
        });
    }
    calls.join_all().await;
}

#[tokio::test]
async fn a_verb_of_another_role_is_told_so_and_dropped() {
    let run = start("role");
    let epoch = run.client.epoch().await.unwrap();
    assert!(matches!(run.client.ask(Secret).await, Err(CallError::Fault(f)) if f == "not yours"));
    // The next call finds a new connection, or sees the old one end.
    let again = run.client.ask(Say("a".into())).await;
    assert!(matches!(again, Ok(_) | Err(CallError::Lost | CallError::Unreachable(_))));
    assert_eq!(run.client.ask(Say("b".into())).await.unwrap(), "b");
    assert!(run.client.epoch().await.unwrap() > epoch);
}

#[tokio::test]
async fn garbage_ends_the_connection_and_nothing_else() {
    let run = start("garbage");
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0xff; 64],
        &[0; 3],
        &[1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9],
    ] {
        let mut stream = std::os::unix::net::UnixStream::connect(run.dir.join("s")).unwrap();
        stream.write_all(garbage).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        tokio::task::spawn_blocking(move || stream.read_to_end(&mut answer).map(|_| ())).await.unwrap().ok();
    }
    assert_eq!(run.client.ask(Say("fine".into())).await.unwrap(), "fine");
}

#[tokio::test]
async fn a_service_that_dies_leaves_an_unknown_outcome_and_is_found_again() {
    let dir = std::env::temp_dir().join(format!("mox-ipc-{}-dies", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let client: Client<Echo> = Client::new(&path, "test");
    let asking = {
        let client = client.clone();
        tokio::spawn(async move { client.ask(Say("x".into())).await })
    };
    let (stream, _) = listener.accept().await.unwrap();
    let serving = tokio::spawn(swallow(stream));
    tokio::task::yield_now().await;
    assert!(matches!(asking.await.unwrap(), Err(CallError::Lost)));
    serving.await.unwrap();
    let again = tokio::spawn(async move { client.ask(Say("again".into())).await });
    let (stream, _) = listener.accept().await.unwrap();
    tokio::spawn(async move { drop(serve(Arc::new(Server), (), stream, "server").await) });
    assert_eq!(again.await.unwrap().unwrap(), "again");
    std::fs::remove_dir_all(dir).unwrap();
}

/// Greets, takes one call and dies.
async fn swallow(stream: UnixStream) {
    let stream = crate::socket::Socket::new(stream).unwrap();
    let mut reader = crate::FrameReader::default();
    drop(reader.next(&stream).await.unwrap());
    let ours = crate::Hello { contract: Echo::NAME.into(), version: 1, service: "dies".into() };
    let hello = crate::frame::Outgoing::new(crate::Kind::Hello, 0, &ours, Vec::new()).unwrap();
    crate::frame::write_frames(&stream, &mut vec![hello], &mut Vec::new()).await.unwrap();
    drop(reader.next(&stream).await.unwrap());
}

/// Answers a number of calls slowly, then stops.
async fn stops_after(listener: UnixListener, calls: usize, lives: usize) -> usize {
    let mut seen = 0;
    for _ in 0..lives {
        let (stream, _) = listener.accept().await.unwrap();
        let counted = Arc::new(Counted::default());
        let stop = Arc::clone(&counted);
        let stopping = async move {
            while stop.0.load(std::sync::atomic::Ordering::Relaxed) < calls {
                tokio::time::sleep(std::time::Duration::from_micros(50)).await;
            }
        };
        crate::serve_until(Arc::clone(&counted), (), stream, "server", stopping).await.unwrap();
        seen += counted.0.load(std::sync::atomic::Ordering::Relaxed);
    }
    seen
}

#[derive(Default)]
struct Counted(std::sync::atomic::AtomicUsize);

impl crate::Service for Counted {
    type Contract = Echo;
    type Peer = ();
    fn may(&self, (): &(), _: &said::Request) -> Result<(), crate::Refusal> {
        Ok(())
    }
    async fn call(
        self: Arc<Self>,
        _: Arc<()>,
        request: said::Request,
        _: Vec<OwnedFd>,
        answer: crate::Answer<Echo>,
    ) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        match request {
            said::Request::Say(Say(text)) => answer.reply(Ok(said::Reply::Say(text))).await,
            _ => answer.reply(Err("no".into())).await,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_stops_is_replaced_unseen() {
    let dir = tempfile_dir("stops");
    let path = dir.join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let serving = tokio::spawn(stops_after(listener, 40, 8));
    let client: Client<Echo> = Client::new(&path, "test");
    let mut calls = tokio::task::JoinSet::new();
    let answered = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    for _ in 0..16 {
        let (client, answered) = (client.clone(), Arc::clone(&answered));
        calls.spawn(async move {
            // The last process leaves and no other comes: everything before was answered.
            while let Ok(Ok(text)) =
                tokio::time::timeout(std::time::Duration::from_secs(2), client.ask(Say("x".into()))).await
            {
                assert_eq!(text, "x");
                answered.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        });
    }
    calls.join_all().await;
    let seen = serving.await.unwrap();
    assert_eq!(seen, answered.load(std::sync::atomic::Ordering::Relaxed), "each was seen once and answered");
    assert!(seen >= 320, "{seen}");
    std::fs::remove_dir_all(dir).unwrap();
}

fn tempfile_dir(name: &str) -> std::path::PathBuf {
    let dir = std::env::temp_dir().join(format!("mox-ipc-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    dir
}
