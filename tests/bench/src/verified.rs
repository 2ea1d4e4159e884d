//! The same load as it is outside: every message looked up, verified and read by the junk filter, for an account without
//! history and for one that has much of it.

use crate::instance::{Instance, Programs};
use crate::load::{self, Mail};
use crate::report::{Figures, Targets};
use crate::zone::Zone;
use crate::{Args, handshake, letters, processes, report};
use anyhow::{Context as _, ensure};
use std::path::Path;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufStream};
use tokio::net::TcpStream;

/// Letters learnt before, half of them junk.
const LEARNT: usize = 400;
/// Different letters that are sent.
const LETTERS: usize = 200;
/// Of the history, a letter in so many is marked as junk or as none.
const MARKED: usize = 10;
/// What every counted message must say of itself.
const SHOWN: [&str; 6] = [
    // The resolver knows loopback by itself (RFC 6761 §6.3), so there is no proof.
    "iprev=pass",
    "spf=pass (with dnssec)",
    "dkim=pass (with dnssec)",
    "dmarc=pass (with dnssec",
    "header.d=far.example",
    "X-Mox-Reason: no-bad-signals",
];

/// Both accounts in turn; how many targets were missed.
pub async fn run(args: &Args, programs: &Programs, dir: &Path) -> anyhow::Result<usize> {
    let key = letters::key()?;
    let zone = Zone::serve(&dir.join("zone"), &letters::records(&key)?, args.port_base + 53)?;
    let mut numbers = letters::Numbers::new(7);
    let mut letters = Vec::with_capacity(LETTERS);
    for _ in 0..LETTERS {
        // The signature counts as well.
        let letter = letters::letter(&mut numbers, letters::SENDER, false, args.size.saturating_sub(500));
        letters.push(letters::signed(&key, &letter)?);
    }
    let mail = Mail::new(letters::SENDER, letters);
    let (mut missed, mut json) = (0, Vec::new());
    for history in [0, args.history] {
        let programs = Programs { dir: dir.join(format!("history-{history}")), ..programs.clone() };
        let figures = one(args, &programs, &zone, &mail, history).await?;
        report::heading(&format!("verified, with {history} messages of history"));
        missed += figures.print();
        json.push(serde_json::json!({ "history": history, "figures": figures.json() }));
        if args.history == 0 {
            break;
        }
    }
    if let Some(path) = &args.json {
        std::fs::write(path, serde_json::to_vec_pretty(&json)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(missed)
}

async fn one(
    args: &Args,
    programs: &Programs,
    zone: &Zone,
    mail: &Mail,
    history: usize,
) -> anyhow::Result<Figures> {
    prepare(args, programs, history).await.context("preparing the account")?;
    let servers = format!("dns.servers=[\"{}\"]", zone.address);
    let anchor = format!("dns.trust-anchor={}", zone.anchor.display());
    let settings = ["localserve=false", "smtp.first-time-sender-delay=0s", &servers, &anchor];
    let instance = Instance::start(programs, &settings).await?;
    let warm = args.messages / 20;
    load::run(&instance, args.connections, warm, mail).await.context("warming up")?;
    let before = instance.processes()?;
    let load = load::run(&instance, args.connections, args.messages, mail).await?;
    let after = instance.processes()?;
    let (promised, found) = (history + warm + args.messages, load::visible(&instance).await?);
    let last = Reader::open(&instance).await?.last().await?;
    let figures = Figures {
        targets: Targets::VERIFIED,
        machine: report::machine(),
        second_start: Some(instance.started_in),
        load: Some(load),
        visible: Some((promised, found)),
        processor: processes::used(&before, &after),
        processes: instance.processes()?,
        ..Figures::default()
    };
    instance.stop().await?;
    ensure!(promised == found, "{promised} messages were promised, {found} are there");
    for word in SHOWN {
        ensure!(last.contains(word), "{word} is missing: the message was not looked at:\n{last}");
    }
    Ok(figures)
}

/// An account whose junk filter has learnt something, and a history.
async fn prepare(args: &Args, programs: &Programs, history: usize) -> anyhow::Result<()> {
    let settings = ["smtp.verify=false"];
    Instance::start(programs, &settings).await?.stop().await?;
    let domains = programs.dir.join("config/domains.toml");
    let mut text = std::fs::read_to_string(&domains)?;
    text.push_str("\n[accounts.mox.junk-filter]\nenabled = true\n");
    std::fs::write(&domains, text)?;
    let instance = Instance::start(programs, &settings).await?;
    let mut reader = Reader::open(&instance).await?;
    let mut numbers = letters::Numbers::new(1);
    if history > 0 {
        // Before anything was learnt: later the filter would refuse half of it. Many people, each of whom wrote now and then.
        let from = |n: usize| format!("b{n}@e{}.example", n % 700);
        for junk in [false, true] {
            let letters = (0..1_000).map(|n| letters::letter(&mut numbers, &from(n), junk, args.size));
            let mail = Mail::new("b@e.example", letters.collect());
            load::run(&instance, args.connections, history / 2, &mail).await?;
        }
        let (half, marked) = (history / 2, history / 2 / MARKED);
        reader.say("SELECT INBOX", &[]).await?;
        reader.say(&format!("STORE 1:{marked} +FLAGS.SILENT ($NotJunk)"), &[]).await?;
        reader.say(&format!("STORE {}:{} +FLAGS.SILENT ($Junk)", half + 1, half + marked), &[]).await?;
    }
    reader.say("CREATE Learnt", &[]).await?;
    for n in 0..LEARNT {
        let junk = n % 2 == 1;
        let letter = letters::letter(&mut numbers, &format!("a{n}@d{n}.example"), junk, args.size);
        let flag = if junk { "$Junk" } else { "$NotJunk" };
        reader.say(&format!("APPEND Learnt ({flag}) {{{}+}}", letter.len()), &letter).await?;
    }
    instance.stop().await
}

/// A person at the account.
struct Reader(BufStream<tokio_rustls::client::TlsStream<TcpStream>>);

impl Reader {
    async fn open(instance: &Instance) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(instance.address("imaps")?).await?;
        let stream = handshake::connector(instance)?.connect(handshake::name()?, stream).await?;
        let mut reader = Self(BufStream::new(stream));
        let (login, password) = (instance.text("/accounts/0/login")?, instance.text("/accounts/0/password")?);
        reader.say(&format!("LOGIN {login} {password}"), &[]).await?;
        Ok(reader)
    }

    /// A command, with a literal at its end if there is one; everything said until it was done.
    async fn say(&mut self, command: &str, literal: &[u8]) -> anyhow::Result<String> {
        self.0.write_all(format!("a {command}\r\n").as_bytes()).await?;
        if !literal.is_empty() {
            self.0.write_all(&[literal, b"\r\n"].concat()).await?;
        }
        self.0.flush().await?;
        let mut said = String::new();
        loop {
            let mut line = Vec::new();
            ensure!(self.0.read_until(b'\n', &mut line).await? > 0, "IMAP ended");
            let line = String::from_utf8_lossy(&line);
            if line.starts_with("a ") {
                ensure!(line.starts_with("a OK"), "{command}: {line}");
                return Ok(said);
            }
            said.push_str(&line);
        }
    }

    /// The header of the newest message.
    async fn last(&mut self) -> anyhow::Result<String> {
        self.say("SELECT INBOX", &[]).await?;
        self.say("FETCH * BODY.PEEK[HEADER]", &[]).await
    }
}
