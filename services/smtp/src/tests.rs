//! Conversations with `serve` on a loopback socket, against a store in memory.

use super::*;
use libmox_store::{Analysis, Decision, Delivered, Fault, RecipientStatus};
use libmox_testing::{FakeStore, Received};
use std::os::fd::OwnedFd;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

struct Run {
    store: Arc<FakeStore>,
    address: std::net::SocketAddr,
    context: Context,
    folder: tempfile::TempDir,
}

async fn start(config: &str) -> Run {
    let folder = tempfile::tempdir().unwrap();
    let (store, client) = FakeStore::start(folder.path(), Role::Smtp).unwrap();
    store.recipient("jane@example.org", RecipientStatus::Local);
    store.recipient("joe@example.org", RecipientStatus::Local);
    store.recipient("nobody@example.org", RecipientStatus::UnknownUser);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let sockets =
        libmox_service::sockets::Sockets::from_parts([(SOCKET.to_string(), OwnedFd::from(listener))]);
    let delay = if config.contains("delay") { "" } else { "service.bad-client-delay = \"0s\"\n" };
    let config = format!("hostname = \"mx.example.org\"\n{delay}{config}");
    let context = Context::new("mox-smtp", Arc::new(Static::parse(&config).unwrap()), sockets);
    let verifier = Verifier::new(&folder.path().join("verify.sock"), "test");
    let queue = folder.path().join("queue.sock");
    let doors = Doors { store: client, verifier, tls: None, queue };
    tokio::spawn(serve_with(context.clone(), doors));
    Run { store, address, context, folder }
}

const NO_VERIFY: &str = "[smtp]\nverify = false\n";

struct Talk {
    stream: TcpStream,
    input: Vec<u8>,
}

impl Talk {
    async fn start(run: &Run) -> Self {
        let mut talk = Self { stream: TcpStream::connect(run.address).await.unwrap(), input: Vec::new() };
        talk.expect("220").await;
        talk
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next reply, whole; its code must be this, and its enhanced one where that is given.
    #[track_caller]
    fn expect(&mut self, code: &str) -> impl Future<Output = String> {
        let caller = std::panic::Location::caller();
        let code = code.to_string();
        async move {
            loop {
                if let Ok(Some((used, answer))) = libmox_smtp::reply::parse(&self.input) {
                    self.input.drain(..used);
                    let raw = answer.raw.join("\n");
                    assert!(raw.starts_with(&code), "{code}, not {raw} at {caller}");
                    return raw;
                }
                let n = self.stream.read_buf(&mut self.input).await.unwrap();
                assert!(n > 0, "closed, {code} expected at {caller}");
            }
        }
    }

    async fn command(&mut self, line: &str, code: &str) -> String {
        self.send(format!("{line}\r\n").as_bytes()).await;
        self.expect(code).await
    }

    async fn is_closed(&mut self) -> bool {
        self.stream.read_buf(&mut self.input).await.unwrap() == 0
    }
}

#[tokio::test]
async fn a_message_is_stored_before_250() {
    let run = start(NO_VERIFY).await;
    let mut talk = Talk::start(&run).await;
    let ehlo = talk.command("EHLO client.example", "250").await;
    assert!(ehlo.contains("PIPELINING") && !ehlo.contains("STARTTLS"), "{ehlo}");
    talk.command("MAIL FROM:<me@client.example> BODY=8BITMIME", "250").await;
    talk.command("RCPT TO:<jane@example.org>", "250").await;
    talk.command("DATA", "354").await;
    talk.send(b"Subject: hi\r\n\r\n..dot\r\n.\r\n").await;
    talk.expect("250").await;
    talk.command("QUIT", "221").await;
    assert!(talk.is_closed().await);
    let received = run.store.take();
    let [Received::Delivery(deliver, body)] = &received[..] else { panic!("{received:?}") };
    assert_eq!(body, b"Subject: hi\r\n\r\n.dot\r\n");
    assert_eq!(deliver.facts.base_subject, "hi");
    let prefix = String::from_utf8(deliver.recipients[0].prefix.clone()).unwrap().replace("\r\n\t", " ");
    assert!(prefix.starts_with("Delivered-To: jane@example.org\r\nReturn-Path: <me@client.example>\r\nReceived: from client.example"), "{prefix}");
    assert!(
        prefix.contains("with ESMTP id")
            && prefix.contains("for <jane@example.org>;")
            && prefix.ends_with("+0000\r\n"),
        "{prefix}"
    );
}

/// RFC 8601 §5: what says that we checked is ours alone, in a small message, a large one and one in chunks.
#[tokio::test]
async fn results_in_our_name_are_taken_away() {
    let run = start(NO_VERIFY).await;
    let forged = "Authentication-Results: mx.example.org; dmarc=pass\r\n\theader.from=bank.example\r\n";
    let theirs = "Authentication-Results: far.example; dmarc=pass\r\n";
    let mut talk = Talk::start(&run).await;
    talk.command("EHLO c.example", "250").await;
    for lines in [1, 20_000] {
        let rest = format!("{theirs}Subject: x\r\n\r\n{}", format!("{}\r\n", "y".repeat(70)).repeat(lines));
        for chunks in [false, true] {
            talk.command("MAIL FROM:<a@b>", "250").await;
            talk.command("RCPT TO:<jane@example.org>", "250").await;
            if chunks {
                talk.send(format!("BDAT 15\r\n{}", &forged[..15]).as_bytes()).await;
                talk.expect("250").await;
                let last = format!("{}{rest}", &forged[15..]);
                talk.send(format!("BDAT {} LAST\r\n{last}", last.len()).as_bytes()).await;
            } else {
                talk.command("DATA", "354").await;
                talk.send(format!("{forged}{rest}.\r\n").as_bytes()).await;
            }
            talk.expect("250").await;
            let received = run.store.take();
            let [Received::Delivery(_, body)] = &received[..] else { panic!("{}", received.len()) };
            assert!(body == rest.as_bytes(), "{}", String::from_utf8_lossy(&body[..100]));
        }
    }
}

#[tokio::test]
async fn everything_in_one_segment() {
    // RFC 2920
    let run = start(NO_VERIFY).await;
    let mut talk = Talk::start(&run).await;
    talk.send(
        b"EHLO c.example\r\nMAIL FROM:<>\r\nRCPT TO:<jane@example.org>\r\nRCPT TO:<joe@example.org>\r\nDATA\r\nA: b\r\n\r\nx\r\n.\r\n\
        MAIL FROM:<a@b>\r\nRCPT TO:<jane@example.org>\r\nRCPT TO:<joe@example.org>\r\nDATA\r\nno header\r\n.\r\nQUIT\r\n",
    )
    .await;
    for code in ["250", "250", "250", "452", "354", "250", "250", "250", "250", "354", "250", "221"] {
        talk.expect(code).await;
    }
    let received = run.store.take();
    assert_eq!(received.len(), 2);
    let Received::Delivery(second, _) = &received[1] else { panic!() };
    let prefix = String::from_utf8_lossy(&second.recipients[1].prefix);
    // Row ST-03, and no `for` where there are several.
    assert!(prefix.ends_with("\r\n\r\n") && !prefix.contains(" for "), "{prefix}");
}

#[tokio::test]
async fn a_large_message_goes_through_a_file() {
    let run = start(NO_VERIFY).await;
    let mut talk = Talk::start(&run).await;
    let line = format!("{}\r\n", "x".repeat(98));
    let message = format!("Subject: big\r\n\r\n{}", line.repeat(20_000));
    talk.command("EHLO c.example", "250").await;
    for outcome in ["250", "451"] {
        talk.command("MAIL FROM:<a@b>", "250").await;
        talk.command("RCPT TO:<jane@example.org>", "250").await;
        talk.command("DATA", "354").await;
        talk.send(message.as_bytes()).await;
        talk.send(b".\r\n").await;
        talk.expect(outcome).await;
        run.store.fail_with(Some(Fault::Unavailable("disk full".into())));
    }
    let received = run.store.take();
    assert_eq!(received.len(), 1);
    assert!(received[0].body() == message.as_bytes());
    while run.store.staged() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn staged_files_are_given_back() {
    let run = start(NO_VERIFY).await;
    let mut talk = Talk::start(&run).await;
    let line = format!("{}\r\n", "x".repeat(98));
    talk.command("EHLO c.example", "250").await;
    talk.command("MAIL FROM:<a@b>", "250").await;
    talk.command("RCPT TO:<jane@example.org>", "250").await;
    talk.command("DATA", "354").await;
    talk.send(line.repeat(5_000).as_bytes()).await;
    while run.store.staged() == 0 {
        tokio::task::yield_now().await;
    }
    drop(talk);
    while run.store.staged() > 0 {
        tokio::task::yield_now().await;
    }
    assert!(run.store.take().is_empty());
}

#[tokio::test]
async fn smuggled_ends_are_refused() {
    // TM-01, row SR-19
    let run = start(NO_VERIFY).await;
    let mut talk = Talk::start(&run).await;
    talk.command("EHLO c.example", "250").await;
    talk.command("MAIL FROM:<a@b>", "250").await;
    talk.command("RCPT TO:<jane@example.org>", "250").await;
    talk.command("DATA", "354").await;
    talk.send(b"A: b\r\n\r\nx\n.\r\nMAIL FROM:<evil@b>\r\nRCPT TO:<jane@example.org>\r\nDATA\r\ny\r\n.\r\n")
        .await;
    assert!(talk.expect("500").await.contains("smuggling"));
    talk.command("NOOP", "250").await;
    assert!(run.store.take().is_empty());
}

#[tokio::test]
async fn what_went_round_a_hundred_times_goes_no_further() {
    // Row SR-20.
    let run = start(NO_VERIFY).await;
    let mut talk = Talk::start(&run).await;
    talk.command("EHLO c.example", "250").await;
    for (times, code) in [(100, "250 2.0.0 "), (101, "550 5.4.6 ")] {
        talk.command("MAIL FROM:<a@b>", "250").await;
        talk.command("RCPT TO:<jane@example.org>", "250").await;
        talk.command("DATA", "354").await;
        let message = format!("{}Subject: x\r\n\r\n.", "Received: by b; x\r\n".repeat(times));
        talk.command(&message, code).await;
    }
    assert_eq!(run.store.take().len(), 1);
}

#[tokio::test]
async fn what_the_store_says_decides() {
    let run = start(NO_VERIFY).await;
    let mut talk = Talk::start(&run).await;
    talk.command("HELO c.example", "250").await;
    for (outcome, fault, code) in [
        (Some(Delivered::OverQuota), None, "452 4.2.2 "),
        (Some(Delivered::Deferred("x".into())), None, "451 4.3.0 "),
        (Some(Delivered::UnknownUser), None, "550 5.1.1 "),
        (Some(Delivered::NotMember), None, "550 5.7.2 "),
        (None, Some(Fault::Internal), "451 4.3.0 "),
        (None, Some(Fault::OverQuota), "452 4.2.2 "),
        (None, None, "250 2.0.0 "),
    ] {
        run.store.answer_deliveries_with(outcome);
        run.store.fail_with(fault);
        talk.command("MAIL FROM:<a@b>", "250").await;
        talk.command("RCPT TO:<jane@example.org>", "250").await;
        talk.command("DATA", "354").await;
        talk.command("A: b\r\n\r\n.", code).await;
    }
    talk.command("MAIL FROM:<a@b>", "250").await;
    talk.command("RCPT TO:<x@elsewhere.example>", "550 5.1.1 ").await;
}

#[tokio::test]
async fn strangers_behave_badly() {
    let run = start("[smtp]\nverify = false\nmax-message-size = \"64KiB\"\n").await;
    let mut talk = Talk::start(&run).await;
    talk.command("GET / HTTP/1.1", "500").await;
    assert!(talk.is_closed().await);

    let mut talk = Talk::start(&run).await;
    talk.command(&"x".repeat(100_000), "500").await;
    talk.command("EHLO c.example", "250").await;
    talk.command("STARTTLS", "503").await; // TR-08
    // Row SR-08: others would take as much.
    talk.command("MAIL FROM:<a@b> SIZE=70000", "552 5.2.3 ").await;
    talk.command("MAIL FROM:<a@b>", "250").await;
    talk.command("RCPT TO:<jane@example.org>", "250").await;
    talk.command("DATA", "354").await;
    talk.command(&format!("{}\r\n.", "y".repeat(100_000)), "552 5.2.3 ").await;
    assert!(talk.is_closed().await, "row SR-20");

    let mut talk = Talk::start(&run).await;
    talk.command("EHLO c.example", "250").await;
    talk.send(&[0, 255, 13, 10]).await;
    talk.expect("500").await;
    // Far too large: not read to its end.
    talk.command("MAIL FROM:<a@b>", "250").await;
    talk.command("RCPT TO:<jane@example.org>", "250").await;
    talk.command("DATA", "354").await;
    let _ = talk.stream.write_all(&vec![b'z'; 1024 * 1024]).await;
    talk.expect("552 5.2.3 ").await;
    assert!(run.store.take().is_empty());
}

#[tokio::test]
async fn without_a_verifier_mail_waits() {
    let run = start("").await;
    let mut talk = Talk::start(&run).await;
    talk.command("EHLO c.example", "250").await;
    // Row SR-09: already its domain cannot be looked at.
    talk.command("MAIL FROM:<a@b>", "451").await;
    talk.command("MAIL FROM:<>", "250").await;
    talk.command("RCPT TO:<jane@example.org>", "250").await;
    talk.command("DATA", "354").await;
    talk.command("A: b\r\n\r\n.", "451").await;
    assert!(run.store.take().is_empty());
}

#[tokio::test]
async fn a_stop_is_polite() {
    // Row SR-38
    let run = start(NO_VERIFY).await;
    let mut talk = Talk::start(&run).await;
    talk.command("EHLO c.example", "250").await;
    run.context.life.stop();
    talk.expect("421 4.3.2 ").await;
    assert!(talk.is_closed().await);
}

#[tokio::test]
async fn too_many_connections_are_told_so() {
    let run = start("[smtp]\nverify = false\nmax-connections-per-ip = 1\n").await;
    let talk = Talk::start(&run).await;
    let mut second = Talk { stream: TcpStream::connect(run.address).await.unwrap(), input: Vec::new() };
    // Row SR-31.
    second.expect("421 4.7.0 ").await;
    drop(talk);
}

#[tokio::test]
async fn the_dialogs() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/dialogs/smtp");
    for (name, text) in libmox_testing::dialog::read_folder(&folder).unwrap() {
        let run = start(NO_VERIFY).await;
        if let Err(fault) = libmox_testing::dialog::play(run.address, &text).await {
            panic!("{name}: {fault}");
        }
    }
}

#[tokio::test]
async fn known_and_unknown_recipients_share_a_transaction() {
    // Row SR-35, RFC 5321 §4.2.5: the known ones get it, the sender hears about the others, in one change.
    let run = start(NO_VERIFY).await;
    run.store.recipient("full@example.org", RecipientStatus::Local);
    run.store.refuse_late("full@example.org", Delivered::OverQuota);
    let mut talk = Talk::start(&run).await;
    talk.command("EHLO c.example", "250").await;
    talk.command("MAIL FROM:<me@far.example>", "250").await;
    for to in ["jane", "nobody", "full", "joe"] {
        talk.command(&format!("RCPT TO:<{to}@example.org>"), "250").await;
    }
    talk.command("DATA", "354").await;
    // Large, so that the header in the report is read from a file.
    let text = format!("Subject: hi\r\nMessage-ID: <m1@far.example>\r\n\r\n{}.", "line\r\n".repeat(20_000));
    talk.command(&text, "250").await;
    let received = run.store.take();
    let [Received::Delivery(deliver, body), Received::Report(report, text)] = &received[..] else {
        panic!("{received:?}")
    };
    assert_eq!(body.len(), 120_000 + 45);
    let to: Vec<_> = deliver.recipients.iter().map(|to| format!("{:?}", to.recipient)).collect();
    assert!(to.len() == 2 && to[0].contains("jane") && to[1].contains("joe"), "{to:?}");
    assert_eq!(report.to.to_string(), "me@far.example");
    let text = String::from_utf8_lossy(text);
    for part in [
        "nobody@example.org",
        "Status: 5.1.1",
        "full@example.org",
        "Status: 5.2.2",
        "Subject: hi\r\n",
        "References: <m1@far.example>",
    ] {
        assert!(text.contains(part), "no {part:?} in:\n{text}");
    }
    assert!(!text.contains("jane@") && !text.contains("line\r\nline"), "{text}");
    assert_eq!(run.store.staged(), 0);
}

#[tokio::test]
async fn who_cannot_have_it_for_now_is_tried_again_with_the_others() {
    let run = start(NO_VERIFY).await;
    run.store.refuse_late("joe@example.org", Delivered::Deferred("busy".into()));
    let mut talk = Talk::start(&run).await;
    talk.command("EHLO c.example", "250").await;
    for (to, code) in [(["jane", "joe"], "451 4.3.0 "), (["nobody", "nobody"], "550 5.1.1 ")] {
        talk.command("MAIL FROM:<me@far.example>", "250").await;
        for to in to {
            talk.command(&format!("RCPT TO:<{to}@example.org>"), "250").await;
        }
        talk.command("DATA", "354").await;
        let begun = std::time::Instant::now();
        talk.command("A: b\r\n\r\n.", code).await;
        // Row SR-17: names are not guessed quickly.
        assert!(code.starts_with('4') || begun.elapsed() >= Duration::from_secs(5));
        assert!(run.store.take().is_empty(), "nobody has it");
    }
    run.store.refuse_late("jane@example.org", Delivered::OverQuota);
    run.store.refuse_late("joe@example.org", Delivered::OverQuota);
    talk.command("MAIL FROM:<me@far.example>", "250").await;
    talk.command("RCPT TO:<jane@example.org>", "250").await;
    talk.command("RCPT TO:<joe@example.org>", "250").await;
    talk.command("DATA", "354").await;
    talk.command("A: b\r\n\r\n.", "452").await;
}

/// A verifier that says this of every sender, and keeps what it was asked.
struct Vouch(&'static str, std::sync::Mutex<Vec<String>>);

impl Vouch {
    fn new(spf: &'static str) -> Self {
        Self(spf, std::sync::Mutex::default())
    }
}

impl libmox_ipc::Service for Vouch {
    type Contract = libmox_verify::VerifyContract;
    type Peer = ();
    fn may(&self, (): &(), _: &libmox_verify::Request) -> Result<(), libmox_ipc::Refusal> {
        Ok(())
    }
    async fn call(
        self: Arc<Self>,
        _: Arc<()>,
        request: libmox_verify::Request,
        _: Vec<OwnedFd>,
        answer: libmox_ipc::Answer<libmox_verify::VerifyContract>,
    ) {
        use libmox_verify::{Looked, Reply, Request, Takes};
        let looked = |takes| Looked { takes, authentic: false, found: "a name".into() };
        self.1.lock().unwrap().push(format!("{request:?}"));
        let reply = match request {
            Request::Spf(_) => Reply::Spf(self.0.into()),
            Request::TakesMail(domain) if domain.0.ascii() == "null.example" => {
                Reply::TakesMail(looked(Takes::NullMx))
            }
            Request::TakesMail(_) => Reply::TakesMail(looked(Takes::Mail)),
            Request::HasAddress(name) => Reply::HasAddress(looked(match name.0.ascii() {
                "nowhere.example" => Takes::NoAddress,
                "down.example" => Takes::Unknown,
                _ => Takes::Mail,
            })),
            Request::Verify(ask) if ask.inline.as_ref().is_some_and(|text| text.starts_with(b"Huge:")) => {
                return answer.reply(Err(libmox_verify::VerifyFault::HeaderTooLarge)).await;
            }
            Request::Verify(ask) => Reply::Verify(verified(&ask)),
            Request::ListHealth(zone) => Reply::ListHealth(zone.0.ascii() != "broken.example"),
            Request::AskLists(ask) => {
                assert_eq!(ask.zones.len(), 1, "{ask:?}");
                let chain = vec!["zen.example: not listed, with dnssec".to_owned()];
                Reply::AskLists(libmox_verify::ListsSaid { listed: None, chain })
            }
            other => panic!("{other:?}"),
        };
        answer.reply(Ok(reply)).await;
    }
}

fn verified(ask: &libmox_verify::Verify) -> libmox_verify::Verified {
    let found = libmox_message::parse(ask.inline.as_ref().unwrap());
    libmox_verify::Verified {
        facts: (&found).into(),
        shape: (&found).into(),
        verdict: libmox_store::Verdict::default(),
        headers: String::new(),
        dmarc_refuses: false,
        sealed_by: None,
        chain: vec![("SPF".into(), "pass far.example, with dnssec".into())],
        dmarc_note: None,
        dmarc: None,
        report_signers: Vec::new(),
    }
}

impl Vouch {
    fn start(self, run: &Run) -> Arc<Self> {
        let listener = tokio::net::UnixListener::bind(run.folder.path().join("verify.sock")).unwrap();
        let vouch = Arc::new(self);
        let shared = Arc::clone(&vouch);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(libmox_ipc::serve(Arc::clone(&shared), (), stream, "fake-verify"));
            }
        });
        vouch
    }
}

#[tokio::test]
async fn the_name_in_ehlo_leads_somewhere() {
    // Row SR-03.
    let run = start("").await;
    Vouch::new("pass").start(&run);
    let mut talk = Talk::start(&run).await;
    talk.command("MAIL FROM:<a@far.example>", "503").await;
    for hello in ["EHLO", "HELO"] {
        let refused = talk.command(&format!("{hello} nowhere.example"), "550").await;
        assert!(refused.contains("550 5.5.0"), "{refused}");
        talk.command("MAIL FROM:<a@far.example>", "503").await;
        talk.command("RCPT TO:<jane@example.org>", "503").await;
    }
    // Perhaps it has one; an address literal needs none; and it is as RSET each time.
    for name in ["down.example", "[192.0.2.7]", "mail.example"] {
        talk.command(&format!("EHLO {name}"), "250").await;
        talk.command("MAIL FROM:<a@far.example>", "250").await;
        talk.command("RCPT TO:<jane@example.org>", "250").await;
    }
    talk.command("HELO mail.example", "250").await;
    talk.command("RCPT TO:<jane@example.org>", "503").await;
}

#[tokio::test]
async fn a_header_nobody_looks_at_is_not_taken() {
    let run = start("").await;
    Vouch::new("pass").start(&run);
    let mut talk = Talk::start(&run).await;
    talk.command("EHLO mail.example", "250").await;
    for (message, code) in [("Huge: x\r\n\r\n.", "554 5.6.0 "), ("A: b\r\n\r\n.", "250 2.0.0 ")] {
        talk.command("MAIL FROM:<a@far.example>", "250").await;
        talk.command("RCPT TO:<jane@example.org>", "250").await;
        talk.command("DATA", "354").await;
        talk.command(message, code).await;
    }
    assert_eq!(run.store.take().len(), 1);
}

/// What `mox why` shows, in order: connection, lookups, verdicts, lists, what the store looked at, result.
#[tokio::test]
async fn the_whole_chain_is_noted() {
    let run = start("[smtp]\ndns-lists = [\"broken.example\", \"zen.example\"]\n").await;
    let vouch = Vouch::new("pass").start(&run);
    let links = [("reputation", "nothing-known"), ("content", "probability 0.100, threshold 0.930")];
    let chain = links.iter().map(|(topic, text)| ((*topic).to_owned(), (*text).to_owned())).collect();
    let thought = Analysis { reason: "no-bad-signals".into(), ask_lists: true, chain, ..FakeStore::fine() };
    let rejected = Analysis { decision: Decision::Reject, ..thought.clone() };
    for (analysis, code, decision) in [(thought, "250", "Accept"), (rejected, "451", "Reject")] {
        run.store.think(analysis);
        run.store.answer_deliveries_with((code == "451").then_some(Delivered::Refused { kept: false }));
        let mut talk = Talk::start(&run).await;
        talk.command("EHLO mail.example", "250").await;
        talk.command("MAIL FROM:<a@far.example>", "250").await;
        talk.command("RCPT TO:<jane@example.org>", "250").await;
        talk.command("DATA", "354").await;
        talk.command("Message-ID: <1@far.example>\r\n\r\n.", code).await;
        let decisions = run.store.decisions();
        let [decided] = &decisions[..] else { panic!("{decisions:?}") };
        assert_eq!(decided.message_id, "1@far.example");
        let chain: Vec<String> =
            decided.chain.iter().map(|(topic, text)| format!("{topic}: {text}")).collect();
        let result = format!("result: {decision}, no-bad-signals: ");
        assert_eq!(
            chain,
            [
                "connection: 127.0.0.1, EHLO mail.example, no TLS",
                "EHLO name: a name",
                "sender's domain: a name",
                "SPF: pass far.example, with dnssec",
                "DNS list: broken.example: does not work, not asked",
                "DNS list: zen.example: not listed, with dnssec",
                "recipient: jane@example.org",
                "reputation: nothing-known",
                "content: probability 0.100, threshold 0.930",
                &result,
            ]
        );
    }
    // Row MA-22: whether a list works is asked once in four hours, also of one that does not.
    let asked = vouch.1.lock().unwrap();
    assert_eq!(asked.iter().filter(|request| request.starts_with("ListHealth")).count(), 2, "{asked:?}");
    for (known, value) in run.store.cached().iter().zip(["no", "yes"]) {
        assert_eq!(known.value, value.as_bytes(), "{known:?}");
        let left = known.expires.0 - libmox_service::clock::now().0;
        assert!((4 * 3600 - 60..=4 * 3600).contains(&left), "{left}");
    }
    assert_eq!(run.store.cached().len(), 2);
}

#[tokio::test]
async fn too_much_from_a_network_is_put_off() {
    // Row SR-32: nothing of it is handed in, so nothing is among the rejects.
    let run = start(NO_VERIFY).await;
    run.store.think(Analysis { decision: Decision::TooOften, ..FakeStore::fine() });
    let mut talk = Talk::start(&run).await;
    talk.command("EHLO c.example", "250").await;
    for recipients in [&["jane"][..], &["jane", "joe"]] {
        talk.command("MAIL FROM:<a@b>", "250").await;
        for to in recipients {
            talk.command(&format!("RCPT TO:<{to}@example.org>"), "250").await;
        }
        talk.command("DATA", "354").await;
        let refused = talk.command("A: b\r\n\r\n.", "452").await;
        assert!(refused.contains("452 4.2.2"), "{refused}");
        assert!(run.store.take().is_empty());
    }
}

#[tokio::test]
async fn a_new_sender_waits() {
    // Row SR-29: fifteen seconds unless set otherwise, here or for the address that was connected to.
    assert_eq!(Static::parse("").unwrap().smtp.first_time_delay, Duration::from_secs(15));
    let here = "[listeners.here]\naddresses = [\"127.0.0.1\"]\nfirst-time-sender-delay = \"0s\"\n";
    let wait = "first-time-sender-delay = \"300ms\"\n";
    for (config, first, waits) in [
        (format!("{NO_VERIFY}{wait}"), true, true),
        (format!("{NO_VERIFY}{wait}"), false, false),
        (format!("{NO_VERIFY}{wait}{here}"), true, false),
    ] {
        let run = start(&config).await;
        run.store.think(Analysis { first, ..FakeStore::fine() });
        let mut talk = Talk::start(&run).await;
        talk.command("EHLO c.example", "250").await;
        talk.command("MAIL FROM:<a@b>", "250").await;
        talk.command("RCPT TO:<jane@example.org>", "250").await;
        talk.command("DATA", "354").await;
        let begun = std::time::Instant::now();
        talk.command("A: b\r\n\r\n.", "250").await;
        assert_eq!(begun.elapsed() >= Duration::from_millis(300), waits, "{config} {first}");
    }
}

#[tokio::test]
async fn a_listener_has_a_name_and_a_size_of_its_own() {
    // Row SR-01.
    let here = "[listeners.here]\naddresses = [\"127.0.0.1\"]\nhostname = \"in.example.org\"\n\
                max-message-size = \"64KiB\"\n";
    let run = start(&format!("{NO_VERIFY}{here}")).await;
    let mut talk = Talk { stream: TcpStream::connect(run.address).await.unwrap(), input: Vec::new() };
    assert!(talk.expect("220").await.starts_with("220 in.example.org ESMTP"));
    let ehlo = talk.command("EHLO c.example", "250").await;
    assert!(ehlo.contains("250-in.example.org") && ehlo.contains("SIZE 65536"), "{ehlo}");
    talk.command("MAIL FROM:<a@b> SIZE=70000", "552").await;
    talk.command("MAIL FROM:<a@b>", "250").await;
    talk.command("RCPT TO:<jane@example.org>", "250").await;
    talk.command("DATA", "354").await;
    talk.command("A: b\r\n\r\n.", "250").await;
    let received = run.store.take();
    let Received::Delivery(deliver, _) = &received[0] else { panic!() };
    let prefix = String::from_utf8_lossy(&deliver.recipients[0].prefix).replace("\r\n\t", " ");
    assert!(prefix.contains("by in.example.org"), "{prefix}");
}

#[tokio::test]
async fn a_forged_sender_has_one_recipient() {
    // Row SR-18: a report must not go to somebody who never wrote.
    for (word, code) in [("pass", "250"), ("none", "452 4.5.3 "), ("fail", "452 4.5.3 ")] {
        let run = start("").await;
        Vouch::new(word).start(&run);
        let mut talk = Talk::start(&run).await;
        talk.command("EHLO c.example", "250").await;
        // Row SR-09.
        assert!(talk.command("MAIL FROM:<me@null.example>", "550").await.contains("5.7.27"));
        talk.command("MAIL FROM:<me@far.example>", "250").await;
        talk.command("RCPT TO:<jane@example.org>", "250").await;
        talk.command("RCPT TO:<joe@example.org>", code).await;
        talk.command("RCPT TO:<nobody@example.org>", code).await;
    }
}

#[tokio::test]
async fn who_brings_what_is_refused_is_served_slowly() {
    // Row SR-30: with pauses so short that nobody waits.
    let run = start("service.bad-client-delay = \"20ms\"\n[smtp]\nverify = false\n").await;
    let junk = Analysis { decision: Decision::Reject, reason: "junk-content".into(), ..FakeStore::fine() };
    for (outcome, thought, code, slow) in [
        (Delivered::Refused { kept: true }, junk, "451", true),
        // Row SR-17 has a pause of its own, and the rest is no doing of the client.
        (Delivered::UnknownUser, FakeStore::fine(), "550", false),
        (Delivered::Deferred("x".into()), FakeStore::fine(), "451", false),
        (Delivered::OverQuota, FakeStore::fine(), "452", false),
    ] {
        run.store.answer_deliveries_with(Some(outcome));
        run.store.think(thought);
        let mut talk = Talk::start(&run).await;
        talk.command("EHLO [192.0.2.1]", "250").await;
        talk.command("MAIL FROM:<a@b>", "250").await;
        talk.command("RCPT TO:<jane@example.org>", "250").await;
        talk.command("DATA", "354").await;
        let begun = std::time::Instant::now();
        talk.command("A: b\r\n\r\n.", code).await;
        talk.command("NOOP", "250").await;
        assert_eq!(begun.elapsed() > Duration::from_millis(200), slow, "{code} {:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn senders_are_told_what_they_ask_for() {
    // Row SR-41, RFC 3461.
    let run = start(NO_VERIFY).await;
    let mut talk = Talk::start(&run).await;
    assert!(talk.command("EHLO c.example", "250").await.contains("DSN"));
    for wrong in ["RET=SOME", "ENVID=a+2", "RET=FULL RET=FULL", "NOTIFY=SUCCESS"] {
        let reply = talk.command(&format!("MAIL FROM:<me@far.example> {wrong}"), &wrong_code(wrong)).await;
        assert!(reply.contains("5.5.4") || reply.contains("5.3.3"), "{reply}");
    }
    // One who has it.
    talk.command("MAIL FROM:<me@far.example> RET=HDRS ENVID=order+207", "250").await;
    for wrong in ["NOTIFY=SOMETIMES", "NOTIFY=NEVER,SUCCESS", "ORCPT=jane", "NOTIFY=NEVER NOTIFY=NEVER"] {
        talk.command(&format!("RCPT TO:<jane@example.org> {wrong}"), "501").await;
    }
    talk.command("RCPT TO:<jane@example.org> NOTIFY=SUCCESS ORCPT=rfc822;j+2B1@list.example", "250").await;
    talk.command("DATA", "354").await;
    talk.command("Subject: hi\r\nMessage-ID: <m2@far.example>\r\n\r\nbody\r\n.", "250").await;
    let received = run.store.take();
    let [Received::Delivery(..), Received::Report(report, text)] = &received[..] else {
        panic!("{received:?}")
    };
    assert_eq!(report.to.to_string(), "me@far.example");
    let text = String::from_utf8_lossy(text);
    for part in [
        "Original-Envelope-Id: order 7\r\n",
        "Original-Recipient: rfc822;j+1@list.example\r\n",
        "Final-Recipient: rfc822; jane@example.org\r\n",
        "Action: delivered\r\n",
        "Status: 2.1.5\r\n",
        "Subject: message delivered\r\n",
        "References: <m2@far.example>\r\n",
        "Subject: hi\r\n",
    ] {
        assert!(text.contains(part), "no {part:?} in:\n{text}");
    }
    assert!(!text.contains("body\r\n"), "{text}");
    // Some who have it and some who cannot: one report, with what is asked for only.
    for (jane, nobody, want) in [
        ("SUCCESS", "FAILURE", &["delivered", "failed"][..]),
        ("FAILURE", "SUCCESS,FAILURE", &["failed"]),
        ("SUCCESS,DELAY", "NEVER", &["delivered"]),
        ("NEVER", "DELAY", &[]),
    ] {
        talk.command("MAIL FROM:<me@far.example>", "250").await;
        talk.command(&format!("RCPT TO:<jane@example.org> NOTIFY={jane}"), "250").await;
        talk.command(&format!("RCPT TO:<nobody@example.org> NOTIFY={nobody}"), "250").await;
        talk.command("DATA", "354").await;
        talk.command("A: b\r\n\r\n.", "250").await;
        let received = run.store.take();
        assert!(matches!(received[0], Received::Delivery(..)));
        let text = received.get(1).map(|report| String::from_utf8_lossy(report.body()).into_owned());
        let text = text.unwrap_or_default();
        let actions: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("Action: ")).collect();
        assert!(
            actions.len() == want.len() && want.iter().all(|one| actions.contains(one)),
            "{want:?}: {text}"
        );
    }
    // A report is not reported on, and what is refused was not delivered.
    talk.command("MAIL FROM:<>", "250").await;
    talk.command("RCPT TO:<jane@example.org> NOTIFY=SUCCESS", "250").await;
    talk.command("DATA", "354").await;
    talk.command("A: b\r\n\r\n.", "250").await;
    assert_eq!(run.store.take().len(), 1);
    run.store.think(Analysis { decision: Decision::Reject, ..FakeStore::fine() });
    run.store.answer_deliveries_with(Some(Delivered::Refused { kept: true }));
    talk.command("MAIL FROM:<me@far.example>", "250").await;
    talk.command("RCPT TO:<jane@example.org> NOTIFY=SUCCESS", "250").await;
    talk.command("DATA", "354").await;
    talk.command("A: b\r\n\r\n.", "451").await;
    assert_eq!(run.store.take().len(), 1, "handed in as a reject, without a report");
}

/// What is no parameter of MAIL is not known there; the others have a wrong value.
fn wrong_code(parameter: &str) -> String {
    if parameter.starts_with("NOTIFY") { "555".into() } else { "501".into() }
}
