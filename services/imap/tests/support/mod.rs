//! A store and `mox-imap` in one process, over real sockets, and clients that speak from a script.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use libmox_service::Context;
use libmox_service::config::Static;
use libmox_service::sockets::Sockets;
use libmox_store::{
    AccountSetPassword, Body, Deliver, DeliverTo, Facts, RecipientPath, Role, Store as Client, Verdict,
};
use libmox_types::{Address, Cid, ReversePath, Timestamp};
use mox_imap::{Shared, Waits};
use mox_store::directory::{Configured, Directory, DomainRules, Settings};
use mox_store::engine::Options;
use mox_store::{Store, serve_peer};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixListener};

pub const PASSWORD: &str = "correct horse";
const WAIT: Duration = Duration::from_secs(20);

/// The same numbers each time.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }

    pub fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.roll(from.len())]
    }
}

/// Everything runs until it is dropped.
pub struct World {
    pub address: SocketAddr,
    pub dir: tempfile::TempDir,
    pub context: Context,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

fn directory() -> Directory {
    let domain: libmox_types::Domain = "example.org".parse().unwrap();
    // The last one may keep two KiB.
    let accounts =
        [("jane", None), ("bob", None), ("tiny", Some(2048)), ("relay", None)].map(|(name, quota)| {
            let address = Address::parse(&format!("{name}@example.org")).unwrap();
            let disabled_capabilities =
                if name == "tiny" { vec!["UIDONLY".into(), "SORT".into()] } else { Vec::new() };
            let submission_server = name == "relay";
            let configured = Configured {
                addresses: vec![address],
                quota,
                disabled_capabilities,
                submission_server,
                ..Configured::default()
            };
            (name.to_string(), configured)
        });
    Directory::new(
        1,
        Settings {
            hostname: "mail.example.org".parse().unwrap(),
            hostnames: Vec::new(),
            postmaster: Some("jane".into()),
            postmaster_mailbox: None,
            quota: None,
            login_failures_per_minute: 10,
            initial: Default::default(),
            deliveries: Default::default(),
        },
        [(domain, DomainRules::default())].into(),
        accounts.into(),
    )
}

impl World {
    pub async fn new() -> Self {
        Self::with("hostname = \"mail.example.org\"\n[service]\nbad-client-delay = \"0s\"\n[imap]\nallow-plaintext-login = true\n").await
    }

    pub async fn with(settings: &str) -> Self {
        Self::patient(settings, Waits::default()).await
    }

    pub async fn patient(settings: &str, waits: Waits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = Options {
            segment_bytes: 1 << 20,
            cache_bytes: 8 << 20,
            reserve_bytes: 0,
            ..Options::new(dir.path().join("data"), Some("boot".into()))
        };
        let clock = Arc::new(libmox_service::clock::now);
        let store = Store::start(options, directory(), clock).await.unwrap();
        let mut tasks = Vec::new();
        for role in [Role::Imap, Role::Smtp, Role::Admin] {
            let listener = UnixListener::bind(dir.path().join(role.socket())).unwrap();
            let store = store.clone();
            tasks.push(tokio::spawn(async move {
                let mut connections = tokio::task::JoinSet::new();
                while let Ok((stream, _)) = listener.accept().await {
                    connections.spawn(serve_peer(store.clone(), role, stream));
                }
            }));
        }
        let settings = Static::parse(settings).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let sockets = Sockets::from_parts([("imap".to_string(), listener.into())]);
        let context = Context::new("mox-imap", Arc::new(settings), sockets);
        let store = Client::new(&dir.path().join(Role::Imap.socket()), "mox-imap");
        let shared = Shared::new(context.clone(), store, None, waits);
        tasks.push(tokio::spawn(async move { mox_imap::serve_with(shared).await.unwrap() }));
        let world = Self { address, dir, context, tasks };
        for account in ["jane", "bob", "tiny", "relay"] {
            let verb = AccountSetPassword { account: account.into(), password: PASSWORD.into() };
            world.client(Role::Admin).ask(verb).await.unwrap();
        }
        world
    }

    pub fn client(&self, role: Role) -> Client {
        Client::new(&self.dir.path().join(role.socket()), "test")
    }

    /// As `mox-smtp` hands it in.
    pub async fn deliver(&self, to: &str, message: &str) {
        let message = message.replace('\n', "\r\n").into_bytes();
        let facts = libmox_message::parse(&message);
        let verb = Deliver {
            cid: Cid(1),
            received: Timestamp(1_800_000_000),
            remote_ip: "192.0.2.1".parse().unwrap(),
            helo: None,
            mail_from: ReversePath::Null,
            facts: Facts::from(&facts),
            body: Body::Inline(message),
            verdict: Verdict::default(),
            recipients: vec![DeliverTo {
                recipient: RecipientPath::Address(Address::parse(to).unwrap()),
                prefix: b"Delivered-To: x\r\n".to_vec(),
                destined: None,
            }],
        };
        self.client(Role::Smtp).ask(verb).await.unwrap();
    }

    /// A connection whose first line is still to come.
    pub async fn dial(&self) -> Peer {
        let stream = TcpStream::connect(self.address).await.unwrap();
        Peer { stream, input: Vec::new(), packing: None }
    }

    pub async fn connect(&self) -> Peer {
        let mut peer = self.dial().await;
        let greeting = peer.response().await;
        assert!(greeting.starts_with("* OK [CAPABILITY IMAP4rev2 IMAP4rev1 "), "{greeting}");
        peer
    }

    pub async fn signed_in(&self, account: &str) -> Peer {
        let mut peer = self.connect().await;
        peer.send(&format!("login LOGIN {account}@example.org \"{PASSWORD}\"\r\n")).await;
        let answer = peer.response().await;
        assert!(answer.starts_with("login OK [CAPABILITY "), "{answer}");
        peer
    }
}

/// The client's side of a connection.
pub struct Peer {
    pub stream: TcpStream,
    pub input: Vec<u8>,
    packing: Option<Packing>,
}

/// The client's side of COMPRESS.
pub struct Packing {
    out: Compress,
    incoming: Decompress,
}

impl Default for Packing {
    fn default() -> Self {
        Self { out: Compress::new(Compression::default(), false), incoming: Decompress::new(false) }
    }
}

impl Packing {
    pub fn pack(&mut self, text: &[u8], flush: FlushCompress) -> Vec<u8> {
        let mut octets = Vec::with_capacity(text.len() + 1000);
        self.out.compress_vec(text, &mut octets, flush).unwrap();
        octets
    }

    pub fn unpack(&mut self, octets: &[u8], text: &mut Vec<u8>) {
        let start = self.incoming.total_in();
        loop {
            let done = usize::try_from(self.incoming.total_in() - start).unwrap();
            let mut some = Vec::with_capacity(1 << 16);
            self.incoming.decompress_vec(&octets[done..], &mut some, FlushDecompress::Sync).unwrap();
            if some.is_empty() {
                return;
            }
            text.extend_from_slice(&some);
        }
    }
}

impl Peer {
    pub async fn send(&mut self, text: &str) {
        let octets = match &mut self.packing {
            // As sparingly as it may (row TR-04).
            Some(packing) => packing.pack(text.as_bytes(), FlushCompress::Partial),
            None => text.as_bytes().to_vec(),
        };
        self.stream.write_all(&octets).await.unwrap();
    }

    /// From here on what comes and goes is compressed, or is not any more.
    pub fn pack(&mut self, packs: bool) {
        self.packing = packs.then(Packing::default);
    }

    async fn more(&mut self) -> bool {
        let Self { stream, input, packing } = self;
        let mut octets = Vec::new();
        let into = if packing.is_some() { &mut octets } else { &mut *input };
        let read = tokio::time::timeout(WAIT, stream.read_buf(into)).await;
        let read = read
            .unwrap_or_else(|_| panic!("nothing comes after {:?}", String::from_utf8_lossy(input)))
            .unwrap();
        if let Some(packing) = packing {
            packing.unpack(&octets, input);
        }
        read > 0
    }

    /// One response with its literals, without its last line end. Empty at the end of the connection.
    pub async fn response(&mut self) -> String {
        let mut searched = 0;
        loop {
            let Some(end) = self.input[searched..].iter().position(|&b| b == b'\n') else {
                if !self.more().await {
                    return String::new();
                }
                continue;
            };
            let line = &self.input[searched..=searched + end];
            searched += end + 1;
            let literal = line
                .strip_suffix(b"}\r\n")
                .and_then(|line| line.rsplit(|&b| b == b'{').next())
                .and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<usize>().ok());
            match literal {
                Some(size) => {
                    while self.input.len() < searched + size {
                        assert!(self.more().await, "connection ends in a literal");
                    }
                    searched += size;
                }
                None => {
                    let response: Vec<u8> = self.input.drain(..searched).collect();
                    return String::from_utf8_lossy(&response).trim_end().to_string();
                }
            }
        }
    }

    /// Everything up to the end of the connection, whole or not; none where there is nothing more.
    pub async fn rest(&mut self) -> Option<String> {
        loop {
            let mut piece = vec![0; 1 << 16];
            match self.stream.read(&mut piece).await {
                Ok(0) | Err(_) => break,
                Ok(read) => self.input.extend_from_slice(&piece[..read]),
            }
        }
        let rest = String::from_utf8_lossy(&std::mem::take(&mut self.input)).into_owned();
        (!rest.is_empty()).then_some(rest)
    }

    /// Sends a command and returns everything up to its completion.
    pub async fn command(&mut self, command: &str) -> Vec<String> {
        self.send(&format!("{command}\r\n")).await;
        self.until(command.split(' ').next().unwrap()).await
    }

    /// Everything up to the completion with this tag.
    pub async fn until(&mut self, tag: &str) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            let response = self.response().await;
            let done = response.is_empty() || response.starts_with(&format!("{tag} "));
            all.push(response);
            if done {
                return all;
            }
        }
    }
}

/// Octets of memory that are this process's own.
pub fn own_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().split(' ').next().unwrap().parse::<u64>().unwrap() * 1024
}

/// Whether a text fits a pattern in which `{*}` stands for anything.
pub fn fits(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split("{*}");
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let pieces: Vec<&str> = pieces.collect();
    let Some((last, middle)) = pieces.split_last() else { return rest.is_empty() };
    for piece in middle {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}
