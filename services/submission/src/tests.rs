//! Conversations with `serve` on loopback and unix sockets, against a store in memory and keys that are away.

use super::*;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use libmox_sasl::{ClientBinding, ScramClient, Secret, scram::Hash};
use libmox_service::sockets::Sockets;
use libmox_smtp::reply::{self, Answer};
use libmox_store::{Fault, LoginResult, RecipientStatus};
use libmox_testing::{FakeStore, Received};
use std::os::fd::OwnedFd;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

struct Run {
    store: Arc<FakeStore>,
    address: std::net::SocketAddr,
    folder: tempfile::TempDir,
    woken: tokio::net::UnixListener,
}

const PLAINTEXT: &str = "[submission]\nallow-plaintext-login = true\n";

async fn start(config: &str) -> Run {
    let folder = tempfile::tempdir().unwrap();
    let (store, client) = FakeStore::start(folder.path(), Role::Submission).unwrap();
    store.person("jane@example.org", "secret pass");
    store.recipient("joe@example.org", RecipientStatus::Local);
    store.recipient("nobody@example.org", RecipientStatus::UnknownUser);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let local = std::os::unix::net::UnixListener::bind(folder.path().join("local.sock")).unwrap();
    let sockets = Sockets::from_parts([
        (SUBMISSION.to_string(), OwnedFd::from(listener)),
        (LOCAL.to_string(), OwnedFd::from(local)),
    ]);
    let delay = if config.contains("delay") { "" } else { "service.bad-client-delay = \"0s\"\n" };
    let config = format!("hostname = \"mx.example.org\"\n{delay}{config}");
    let context = Context::new("mox-submission", Arc::new(Static::parse(&config).unwrap()), sockets);
    let keys = Keys::new(&folder.path().join("keys.sock"), "test");
    let queue = folder.path().join("queue.sock");
    let woken = tokio::net::UnixListener::bind(&queue).unwrap();
    let doors = Doors { store: client, tls: Tls::new(RemoteKeys::new(keys.clone())), keys, queue };
    tokio::spawn(serve_with(context, doors));
    Run { store, address, folder, woken }
}

struct Talk<S> {
    stream: S,
    input: Vec<u8>,
}

impl Talk<TcpStream> {
    async fn start(run: &Run) -> Self {
        let mut talk = Self::greeted(run).await;
        // Row SU-12.
        talk.command("EHLO [bogus", "250").await;
        talk
    }

    async fn greeted(run: &Run) -> Self {
        let mut talk = Self { stream: TcpStream::connect(run.address).await.unwrap(), input: Vec::new() };
        talk.expect("220").await;
        talk
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<S> {
    #[track_caller]
    fn expect(&mut self, code: &str) -> impl Future<Output = Answer> {
        let caller = std::panic::Location::caller();
        let code = code.to_string();
        async move {
            loop {
                if let Ok(Some((used, answer))) = reply::parse(&self.input) {
                    self.input.drain(..used);
                    assert!(answer.raw[0].starts_with(&code), "{code}, not {answer} at {caller}");
                    return answer;
                }
                let n = self.stream.read_buf(&mut self.input).await.unwrap();
                assert!(n > 0, "closed, {code} expected at {caller}");
            }
        }
    }

    async fn command(&mut self, line: &str, code: &str) -> Answer {
        self.stream.write_all(format!("{line}\r\n").as_bytes()).await.unwrap();
        self.expect(code).await
    }

    /// A challenge, decoded.
    async fn challenge(&mut self, line: &str) -> Vec<u8> {
        STANDARD.decode(&self.command(line, "334").await.lines[0]).unwrap()
    }

    async fn sign_in(&mut self) {
        let message = STANDARD.encode("\0jane@example.org\0secret pass");
        self.command(&format!("AUTH PLAIN {message}"), "235").await;
    }

    async fn message(&mut self, message: &str, code: &str) -> Answer {
        self.command("DATA", "354").await;
        self.command(&format!("{message}\r\n."), code).await
    }
}

#[tokio::test]
async fn a_message_is_queued() {
    let run = start(PLAINTEXT).await;
    let mut talk = Talk::start(&run).await;
    talk.command("MAIL FROM:<jane@example.org>", "530 5.7.0 ").await;
    talk.sign_in().await;
    talk.command("MAIL FROM:<other@example.org>", "550 5.7.1 ").await;
    talk.command("MAIL FROM:<jane@example.org> HOLDFOR=60", "250").await;
    talk.command("RCPT TO:<nobody@example.org>", "550 5.1.1 ").await;
    talk.command("RCPT TO:<joe@example.org>", "250").await;
    talk.command("RCPT TO:<far@elsewhere.example>", "250").await;
    talk.message("From: Jane <jane@example.org>\r\nTLS-Required: No\r\nSubject: caf\u{e9}\r\n\r\nhi", "250")
        .await;
    run.woken.accept().await.unwrap();
    let received = run.store.take();
    let [Received::Queued(add, body)] = &received[..] else { panic!("{received:?}") };
    assert!(body.ends_with(b"\r\n\r\nhi\r\n"));
    assert_eq!(add.recipients.len(), 2);
    assert_eq!(add.header_from.as_ref().map(ToString::to_string).as_deref(), Some("jane@example.org"));
    assert!(add.needs.smtputf8 && !add.needs.eight_bit && add.needs.require_tls == Some(false));
    assert!(add.release.is_some() && add.facts.message_id.ends_with("@mx.example.org"));
    let prefix = String::from_utf8(add.prefix.clone()).unwrap();
    // Rows SU-05, SU-12.
    assert!(prefix.starts_with("Received: by mx.example.org via tcp with UTF8SMTPA id"), "{prefix}");
    assert!(
        prefix.contains("\r\nMessage-ID: <")
            && prefix.contains("\r\nDate: ")
            && !prefix.contains("127.0.0.1"),
        "{prefix}"
    );
    assert!(!prefix.contains("\r\nFrom: "), "{prefix}");
    // Row SU-06.
    let field = "Authentication-Results: mx.example.org; auth=pass smtp.mailfrom=jane@example.org\r\n";
    assert!(prefix.contains(field), "{prefix}");
    assert_eq!(add.wishes.future_release, "for;60");
}

#[tokio::test]
async fn wishes_go_along_to_the_queue() {
    // Rows SU-07, SU-09, SR-41.
    let run = start(PLAINTEXT).await;
    let mut talk = Talk::start(&run).await;
    talk.sign_in().await;
    talk.command("MAIL FROM:<jane@example.org> RET=FULL ENVID=a+20b HOLDUNTIL=2099-01-01T00:00:00Z", "554")
        .await;
    talk.command("MAIL FROM:<jane@example.org> RET=FULL ENVID=a+20b", "250").await;
    talk.command("RCPT TO:<far@elsewhere.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;x@y", "250").await;
    let text = "From: jane@example.org\r\nX-Mox-Extra-Id: 7\r\n\r\nhi";
    talk.message(text, "250").await;
    talk.command("MAIL FROM:<>", "250").await;
    talk.command("RCPT TO:<far@elsewhere.example>", "250").await;
    talk.message(&format!("X-Mox-Extra-ID: 8\r\n{text}"), "554 5.6.0 ").await;
    let received = run.store.take();
    let [Received::Queued(add, _)] = &received[..] else { panic!("{received:?}") };
    let to = &add.recipients[0];
    assert_eq!((to.notify.as_str(), to.orcpt.as_str()), ("SUCCESS,DELAY", "rfc822;x@y"));
    assert_eq!((add.wishes.ret.as_str(), add.wishes.envelope_id.as_str()), ("FULL", "a b"));
    assert_eq!(add.wishes.extra, [("Id".to_owned(), "7".to_owned())]);
}

#[tokio::test]
async fn a_pedantic_server_refuses_what_others_forgive() {
    // Rows SR-39, SU-05.
    let run = start("pedantic = true\n[submission]\nallow-plaintext-login = true\n").await;
    let mut talk = Talk::greeted(&run).await;
    // Row SU-12.
    talk.command("EHLO [bogus", "501 5.5.4 ").await;
    talk.command("EHLO me.example", "250").await;
    talk.sign_in().await;
    talk.command("MAIL FROM: <jane@example.org>", "501 5.5.4 ").await;
    for (mail, text, code) in [
        ("", "Return-Path: <x@y>\r\nFrom: jane@example.org\r\n\r\n", "554"),
        ("", "From: jane@example.org\r\n\r\ncaf\u{e9}", "554"),
        (" BODY=8BITMIME", "From: jane@example.org\r\n\r\ncaf\u{e9}", "250"),
    ] {
        talk.command(&format!("MAIL FROM:<jane@example.org>{mail}"), "250").await;
        talk.command("RCPT TO:<far@elsewhere.example>", "250").await;
        talk.message(text, code).await;
    }
}

#[tokio::test]
async fn plain_text_needs_tls_first() {
    let run = start("").await;
    let mut talk = Talk::start(&run).await;
    talk.command("AUTH PLAIN", "538 5.7.11 ").await;
    talk.command("MAIL FROM:<jane@example.org>", "530").await;
    // The keys are away: the handshake ends the connection, nothing else.
    talk.command("STARTTLS", "220").await;
}

#[tokio::test]
async fn ways_to_sign_in() {
    let run = start(PLAINTEXT).await;
    let mut talk = Talk::start(&run).await;
    assert_eq!(talk.challenge("AUTH PLAIN").await, b"");
    talk.command(&STANDARD.encode("\0jane@example.org\0secret\u{a0}pass"), "535").await;
    talk.command("AUTH PLAIN !", "501").await;
    talk.command("AUTH PLAIN  =", "501").await;
    talk.command("AUTH GSSAPI", "504").await;
    talk.challenge("AUTH LOGIN").await;
    talk.command("*", "501").await;
    // Rows AU-02, AU-13, TR-09: what nobody looked at is on record as well, and the connection is as good as before.
    talk.challenge(&format!("AUTH SCRAM-SHA-256 {}", STANDARD.encode("n,,n=jane@example.org,r=cn"))).await;
    talk.command(&STANDARD.encode("c=eSws,r=cnserver,p=AAAA"), "535 5.7.8 ").await;
    let first = talk
        .challenge(&format!("AUTH SCRAM-SHA-256 {}", STANDARD.encode("n,,n=jane@example.org,r=cn")))
        .await;
    let nonce = String::from_utf8(first).unwrap().split(',').next().unwrap().to_owned();
    talk.command(&STANDARD.encode(format!("c=eSws,{nonce},p=AAAA")), "535 5.7.8 ").await;
    let jane = || Some("jane@example.org".to_owned());
    let want = [
        (None, LoginResult::Malformed),
        (None, LoginResult::Malformed),
        (None, LoginResult::Cancelled),
        (jane(), LoginResult::Malformed),
        (jane(), LoginResult::BadBinding),
    ];
    assert_eq!(run.store.failures(), want);
    assert_eq!(talk.challenge("AUTH LOGIN").await, b"Username:");
    assert_eq!(talk.challenge(&STANDARD.encode("jane@example.org")).await, b"Password:");
    talk.command(&STANDARD.encode("secret pass"), "235").await;

    for (password, want) in [("wrong", None), ("secret pass", Some("235"))] {
        let mut talk = Talk::start(&run).await;
        let mut client = ScramClient::new(
            Hash::Sha256,
            "jane@example.org",
            &Secret(password.into()),
            "nonce".into(),
            ClientBinding::None,
        )
        .unwrap();
        let first = talk.challenge(&format!("AUTH SCRAM-SHA-256 {}", STANDARD.encode(client.first()))).await;
        let last = STANDARD.encode(client.on_server_first(&first).unwrap());
        if let Some(code) = want {
            let server_final = talk.challenge(&last).await;
            client.on_server_final(&server_final).unwrap();
            talk.command("", code).await;
            talk.command("MAIL FROM:<jane@example.org>", "250").await;
        } else {
            talk.command(&last, "535").await;
            // TR-09: still a usable connection.
            talk.command("NOOP", "250").await;
        }
    }
}

#[tokio::test]
async fn messages_that_are_refused() {
    let run = start(PLAINTEXT).await;
    let mut talk = Talk::start(&run).await;
    talk.sign_in().await;
    let hidden = format!(
        "From: jane@example.org ({})\r\nFrom: boss@x ({})\r\n\r\n",
        "x".repeat(40_000),
        "y".repeat(40_000)
    );
    let round = format!("{}From: jane@example.org\r\n\r\n", "Received: by b; x\r\n".repeat(101));
    let late = format!("From: jane@example.org\r\n{}From: boss@x\r\n\r\n", "X: y\r\n".repeat(10_001));
    for (message, code) in [
        (hidden.as_str(), "554"),
        (late.as_str(), "554"),
        ("no header", "554 5.6.0 "),
        ("Subject: no separator", "554 5.6.0 "),
        ("From: a@b, c@d\r\n\r\n", "554"),
        ("From: nobody\r\n\r\n", "554"),
        ("Subject: no from\r\n\r\n", "554"),
        ("From: other@example.org\r\n\r\n", "550 5.7.1 "),
        // Row SU-03: who sent it may be somebody else.
        ("From: jane@example.org\r\nSender: other@example.org\r\n\r\n", "250"),
        (round.as_str(), "550 5.4.6 "),
    ] {
        talk.command("MAIL FROM:<>", "250").await;
        talk.command("RCPT TO:<far@elsewhere.example>", "250").await;
        talk.message(message, code).await;
    }
    run.store.fail_with(Some(Fault::Limit("MaxOutgoingMessagesPerDay".into())));
    talk.command("MAIL FROM:<>", "250").await;
    talk.command("RCPT TO:<far@elsewhere.example>", "250").await;
    let big = format!("From: jane@example.org\r\n\r\n{}", "x\r\n".repeat(50_000));
    let answer = talk.message(&big, "451 4.7.1 ").await;
    assert!(answer.to_string().contains("MaxOutgoingMessagesPerDay"));
    for (fault, code) in [
        // Rows SU-08, SU-14.
        (Fault::SenderUsed, "554 5.1.7 "),
        (Fault::SenderDisabled, "451 4.3.0 "),
        (Fault::NotYours, "550 5.7.1 "),
    ] {
        run.store.fail_with(Some(fault));
        talk.command("MAIL FROM:<>", "250").await;
        talk.command("RCPT TO:<far@elsewhere.example>", "250").await;
        talk.message("From: jane@example.org\r\n\r\nx", code).await;
    }
    while run.store.staged() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(run.store.take().len(), 1);
}

#[tokio::test]
async fn programs_of_this_machine_are_known_by_uid() {
    let run = start("").await;
    let stream = UnixStream::connect(run.folder.path().join("local.sock")).await.unwrap();
    let mut talk = Talk { stream, input: Vec::new() };
    talk.expect("220").await;
    talk.command("EHLO localhost", "250").await;
    talk.command("AUTH PLAIN", "502").await;
    talk.command("MAIL FROM:<>", "250").await;
    talk.command("RCPT TO:<joe@example.org>", "250").await;
    talk.message("Subject: cron\r\n\r\ndone", "250").await;
    talk.command("MAIL FROM:<>", "250").await;
    talk.command("RCPT TO:<joe@example.org>", "250").await;
    talk.message("no header", "250").await;
    let received = run.store.take();
    let prefix = |at: usize| match &received[at] {
        Received::Queued(add, _) => String::from_utf8(add.prefix.clone()).unwrap(),
        Received::Delivery(..) | Received::Report(..) => panic!(),
    };
    assert!(prefix(0).contains("From: <") && prefix(0).ends_with("@localhost>\r\n"), "{}", prefix(0));
    assert!(prefix(1).ends_with("\r\n\r\n"));
}

#[tokio::test]
async fn the_dialogs() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/dialogs/submission");
    for (name, text) in libmox_testing::dialog::read_folder(&folder).unwrap() {
        let run = start(PLAINTEXT).await;
        if let Err(fault) = libmox_testing::dialog::play(run.address, &text).await {
            panic!("{name}: {fault}");
        }
    }
}

#[tokio::test]
async fn bad_logins_are_served_ever_more_slowly() {
    // Rows AU-15, SR-30: with pauses so short that nobody waits.
    let run =
        start("service.bad-client-delay = \"40ms\"\n[submission]\nallow-plaintext-login = true\n").await;
    let mut talk = Talk::start(&run).await;
    let wrong = format!("AUTH PLAIN {}", STANDARD.encode("\0jane@example.org\0wrong"));
    let mut times = Vec::new();
    for _ in 0..5 {
        let begun = std::time::Instant::now();
        talk.command(&wrong, "535").await;
        times.push(begun.elapsed());
    }
    assert!(times[1] < Duration::from_secs(1) && times[4] > Duration::from_secs(1), "{times:?}");
    // The right password ends it.
    talk.sign_in().await;
    let begun = std::time::Instant::now();
    for _ in 0..5 {
        talk.command("NOOP", "250").await;
    }
    assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
}
