//! Senders: each has one connection and sends one message after the other, waiting for every 250.

use crate::handshake;
use crate::instance::Instance;
use anyhow::{Context as _, bail, ensure};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufStream};
use tokio::net::TcpStream;

/// What a load came to.
#[derive(Debug, Clone)]
pub struct Load {
    pub messages: usize,
    pub connections: usize,
    pub size: usize,
    pub took: Duration,
    /// From MAIL to the last 250, sorted.
    pub times: Vec<Duration>,
}

/// What is sent, in turn.
#[derive(Debug, Clone)]
pub struct Mail {
    from: String,
    /// With their final dots.
    bodies: Arc<Vec<Vec<u8>>>,
}

impl Mail {
    /// From this address. No line of a message begins with a dot.
    pub fn new(from: &str, messages: Vec<Vec<u8>>) -> Self {
        let bodies = messages.into_iter().map(|message| [&message[..], b".\r\n"].concat()).collect();
        Self { from: from.to_owned(), bodies: Arc::new(bodies) }
    }

    /// Octets of a message, the last dot left out.
    pub fn size(&self) -> usize {
        self.bodies.first().map_or(0, |body| body.len() - 3)
    }
}

/// A message of this size as people send them: some header, text in lines.
pub fn message(size: usize) -> Vec<u8> {
    let mut text =
        b"From: Some Sender <sender@example.org>\r\nTo: mox@localhost\r\nSubject: a message to count\r\n\
        Date: Mon, 02 Nov 2026 10:00:00 +0000\r\nMessage-ID: <bench@example.org>\r\nMIME-Version: 1.0\r\n\
        Content-Type: text/plain; charset=utf-8\r\n\r\n"
            .to_vec();
    let line = b"The quick brown fox jumps over the lazy dog, and nobody has ever asked the dog.\r\n";
    while text.len() + line.len() <= size {
        text.extend_from_slice(line);
    }
    let rest = size.saturating_sub(text.len());
    if rest >= 2 {
        text.resize(size - 2, b'x');
        text.extend_from_slice(b"\r\n");
    }
    text
}

/// Sends messages until so many have their 250.
pub async fn run(
    instance: &Instance,
    connections: usize,
    messages: usize,
    mail: &Mail,
) -> anyhow::Result<Load> {
    let address = instance.address("smtp")?;
    let left = Arc::new(AtomicUsize::new(messages));
    let mut senders = tokio::task::JoinSet::new();
    let begun = Instant::now();
    for _ in 0..connections {
        senders.spawn(send(address, mail.clone(), Arc::clone(&left)));
    }
    let mut times = Vec::with_capacity(messages);
    while let Some(sent) = senders.join_next().await {
        times.extend(sent??);
    }
    let took = begun.elapsed();
    times.sort_unstable();
    ensure!(times.len() == messages, "{} of {messages} were sent", times.len());
    Ok(Load { messages, connections, size: mail.size(), took, times })
}

async fn send(address: SocketAddr, mail: Mail, left: Arc<AtomicUsize>) -> anyhow::Result<Vec<Duration>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut peer = BufStream::new(stream);
    reply(&mut peer, "220").await?;
    say(&mut peer, b"EHLO bench.example.org\r\n").await?;
    reply(&mut peer, "250").await?;
    let mut times = Vec::new();
    let envelope = format!("MAIL FROM:<{}>\r\nRCPT TO:<mox@localhost>\r\nDATA\r\n", mail.from);
    while let Ok(left) = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)) {
        let begun = Instant::now();
        // RFC 2920 §3.1: DATA may be the last of a group.
        say(&mut peer, envelope.as_bytes()).await?;
        for code in ["250", "250", "354"] {
            reply(&mut peer, code).await?;
        }
        say(&mut peer, &mail.bodies[left % mail.bodies.len()]).await?;
        reply(&mut peer, "250").await?;
        times.push(begun.elapsed());
    }
    say(&mut peer, b"QUIT\r\n").await?;
    reply(&mut peer, "221").await?;
    Ok(times)
}

async fn say<S: AsyncRead + AsyncWrite + Unpin>(peer: &mut BufStream<S>, bytes: &[u8]) -> anyhow::Result<()> {
    peer.write_all(bytes).await?;
    Ok(peer.flush().await?)
}

async fn reply<S: AsyncRead + AsyncWrite + Unpin>(peer: &mut BufStream<S>, code: &str) -> anyhow::Result<()> {
    let mut line = String::new();
    loop {
        line.clear();
        peer.read_line(&mut line).await?;
        ensure!(line.starts_with(code), "{code} was expected: {line:?}");
        if line.as_bytes().get(3) != Some(&b'-') {
            return Ok(());
        }
    }
}

/// How many messages a reader finds in the inbox.
pub async fn visible(instance: &Instance) -> anyhow::Result<usize> {
    let connector = handshake::connector(instance)?;
    let stream = TcpStream::connect(instance.address("imaps")?).await?;
    let mut peer = BufStream::new(connector.connect(handshake::name()?, stream).await?);
    let (login, password) = (instance.text("/accounts/0/login")?, instance.text("/accounts/0/password")?);
    let mut line = String::new();
    peer.read_line(&mut line).await?;
    say(&mut peer, format!("a LOGIN {login} {password}\r\nb STATUS INBOX (MESSAGES)\r\n").as_bytes()).await?;
    let mut count = None;
    loop {
        line.clear();
        ensure!(peer.read_line(&mut line).await? > 0, "IMAP ended");
        if let Some((_, rest)) = line.split_once("(MESSAGES ") {
            count = rest.split(')').next().and_then(|n| n.parse().ok());
        }
        if line.starts_with("a ") && !line.starts_with("a OK") {
            bail!("login: {line}");
        }
        if line.starts_with("b ") {
            return count.with_context(|| format!("no count: {line}"));
        }
    }
}
