//! IMAP beside Dovecot: the same commands on the same messages in the same run, as ratios.
//!
//! A small blocking client measures from outside; both servers speak in the clear on loopback, both keep what they
//! acknowledge. Does not know: either server's insides.
#![expect(clippy::print_stdout, reason = "this is what the person came for")]

use crate::instance::Instance;
use crate::processes;
use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Until a server that says nothing is given up.
const SILENCE: Duration = Duration::from_secs(600);
/// Messages of one APPEND while a mailbox is filled.
const TOGETHER: usize = 50;
/// Times that a quick command is repeated for its median.
const REPEATS: usize = 15;

/// Times that both servers open the mailbox cold.
const COLD: usize = 5;
/// Our processes that keep something of a mailbox.
const KEEPS: [&str; 2] = ["mox-imap", "mox-store"];
/// For a process to go, and for a message to be told of.
const GONE_WAIT: Duration = Duration::from_secs(20);

/// A server and who reads there.
#[derive(Debug, Clone)]
pub struct Server {
    pub name: &'static str,
    pub address: SocketAddr,
    pub login: String,
    pub password: String,
    /// The process whose family is measured.
    pub pid: u32,
    /// Where mail for the reader is taken, and for which address.
    pub smtp: Option<(SocketAddr, String)>,
}

impl Server {
    /// Ours.
    pub fn of(instance: &Instance) -> anyhow::Result<Self> {
        Ok(Self {
            name: "mox",
            address: instance.address("imap")?,
            login: instance.text("/accounts/0/login")?,
            password: instance.text("/accounts/0/password")?,
            pid: instance.pid(),
            smtp: Some((instance.address("smtp")?, instance.text("/accounts/0/login")?)),
        })
    }
}

/// A signed-in connection.
struct Client {
    stream: BufReader<TcpStream>,
    tag: u32,
}

impl Client {
    fn connect(server: &Server) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(server.address).with_context(|| server.name)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SILENCE))?;
        let mut this = Self { stream: BufReader::with_capacity(1 << 16, stream), tag: 0 };
        let mut greeting = Vec::new();
        this.stream.read_until(b'\n', &mut greeting)?;
        ensure!(greeting.starts_with(b"* OK"), "{}", String::from_utf8_lossy(&greeting));
        Ok(this)
    }

    fn signed_in(server: &Server) -> anyhow::Result<Self> {
        let mut this = Self::connect(server)?;
        this.run(&format!("LOGIN \"{}\" \"{}\"", server.login, server.password))?;
        Ok(this)
    }

    /// Says a command; how many lines and octets came before its OK.
    fn run(&mut self, command: &str) -> anyhow::Result<(usize, usize)> {
        self.tag += 1;
        let tag = format!("t{} ", self.tag);
        self.stream.get_mut().write_all(format!("{tag}{command}\r\n").as_bytes())?;
        let (mut lines, mut octets, mut line) = (0, 0, Vec::new());
        loop {
            line.clear();
            if self.stream.read_until(b'\n', &mut line)? == 0 {
                bail!("the server closed after {}", command.chars().take(60).collect::<String>());
            }
            if line.starts_with(tag.as_bytes()) {
                let end = String::from_utf8_lossy(&line);
                ensure!(
                    end[tag.len()..].starts_with("OK"),
                    "{}: {end}",
                    command.chars().take(60).collect::<String>()
                );
                return Ok((lines, octets));
            }
            lines += 1;
            octets += line.len();
            let literal = line.strip_suffix(b"}\r\n").and_then(|line| {
                let at = line.iter().rposition(|&b| b == b'{')?;
                std::str::from_utf8(&line[at + 1..]).ok()?.parse::<u64>().ok()
            });
            if let Some(size) = literal {
                let size = usize::try_from(size)?;
                let mut piece = vec![0; size];
                self.stream.read_exact(&mut piece)?;
                octets += size;
            }
        }
    }

    fn timed(&mut self, command: &str) -> anyhow::Result<(Duration, usize, usize)> {
        let begun = Instant::now();
        let (lines, octets) = self.run(command)?;
        Ok((begun.elapsed(), lines, octets))
    }

    fn median(&mut self, times: usize, mut command: impl FnMut(usize) -> String) -> anyhow::Result<Duration> {
        let mut all = Vec::with_capacity(times);
        for at in 0..times {
            all.push(self.timed(&command(at))?.0);
        }
        all.sort_unstable();
        Ok(all[times / 2])
    }
}

/// Message number `n`, alike on both servers: threads of five, a third of them with a part attached.
fn message(n: usize, size: usize) -> String {
    let (thread, place) = (n / 5, n % 5);
    let answer = if place == 0 {
        String::new()
    } else {
        format!(
            "In-Reply-To: <{thread}.{}@example.org>\r\nReferences: <{thread}.0@example.org>\r\n",
            place - 1
        )
    };
    let re = if place == 0 { "" } else { "Re: " };
    let (person, hour, minute) = (n * 7 % 200, n / 60 % 24, n % 60);
    let head = format!(
        "From: Person {person} <p{person}@example.org>\r\nTo: reader@example.net\r\n\
         Subject: {re}subject number {thread}\r\nDate: Mon, 02 Nov 2026 {hour:02}:{minute:02}:00 +0000\r\n\
         Message-ID: <{thread}.{place}@example.org>\r\n{answer}MIME-Version: 1.0\r\n"
    );
    let word = if n % 1_000 == 500 { "needle" } else { "hay" };
    let mut text = format!("Something about {word} and more of it.\r\n");
    while text.len() < size {
        text.push_str("The quick brown fox jumps over the lazy dog, and nobody has ever asked the dog.\r\n");
    }
    if n.is_multiple_of(3) {
        format!(
            "{head}Content-Type: multipart/mixed; boundary=\"b\"\r\n\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\
             {text}--b\r\nContent-Type: application/octet-stream; name=\"a.bin\"\r\n\
             Content-Transfer-Encoding: base64\r\n\r\nAAECAwQFBgc=\r\n--b--\r\n"
        )
    } else {
        format!("{head}Content-Type: text/plain; charset=utf-8\r\n\r\n{text}")
    }
}

/// One figure of one server; smaller is better.
#[derive(Debug, Clone)]
pub struct Figure {
    pub what: &'static str,
    pub value: f64,
    pub unit: &'static str,
}

fn ms(what: &'static str, time: Duration) -> Figure {
    Figure { what, value: time.as_secs_f64() * 1_000.0, unit: "ms" }
}

/// Measures a server whose account is empty.
pub fn run(server: &Server, messages: usize, size: usize, idle: usize) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    let mut client = Client::signed_in(server)?;
    let mut at = 0;
    while at < messages {
        let mut command = String::from("APPEND INBOX");
        for n in at..(at + TOGETHER).min(messages) {
            let text = message(n, size);
            let flags = if n.is_multiple_of(10) { "" } else { "(\\Seen) " };
            command.push_str(&format!(" {flags}{{{}+}}\r\n{text}", text.len()));
        }
        client.run(&command)?;
        at += TOGETHER;
    }
    let begun = Instant::now();
    drop(Client::signed_in(server)?);
    figures.push(ms("LOGIN, again", begun.elapsed()));
    // Of so short a thing a few say little: a busy moment is as long as all of them.
    figures.push(ms("SELECT", client.median(REPEATS * 20, |_| "SELECT INBOX".into())?));
    // Again is one thing, from another mailbox and back another.
    client.run("CREATE Other")?;
    let turns = |at: usize| format!("SELECT {}", ["INBOX", "Other"][at % 2]);
    figures.push(ms("SELECT, in turn", client.median(REPEATS * 20, turns)?));
    client.run("SELECT INBOX")?;
    let all = |lines: usize| ensure_all(server, lines, messages);
    let (time, lines, _) = client.timed("FETCH 1:* (FLAGS)")?;
    all(lines)?;
    figures.push(ms("FETCH 1:* (FLAGS)", time));
    let (time, lines, _) = client.timed("FETCH 1:* (ENVELOPE)")?;
    all(lines)?;
    figures.push(ms("FETCH 1:* (ENVELOPE), first", time));
    figures.push(ms("FETCH 1:* (ENVELOPE), again", client.timed("FETCH 1:* (ENVELOPE)")?.0));
    figures.push(ms("FETCH 1:* (BODYSTRUCTURE)", client.timed("FETCH 1:* (BODYSTRUCTURE)")?.0));
    let (time, _, octets) = client.timed("FETCH 1:* (BODY.PEEK[])")?;
    let mib = f64::from(u32::try_from(octets >> 10)?) / 1024.0;
    figures.push(Figure { what: "bodies", value: time.as_secs_f64() * 1_000.0 / mib, unit: "ms/MiB" });
    figures.push(ms("UID SEARCH UNSEEN", client.median(REPEATS, |_| "UID SEARCH UNSEEN".into())?));
    figures.push(ms("UID SEARCH SUBJECT", client.timed("UID SEARCH SUBJECT \"number 77\"")?.0));
    figures
        .push(ms("UID SEARCH HEADER Message-ID", client.timed("UID SEARCH HEADER Message-ID \"<77.0@\"")?.0));
    figures.push(ms("UID SEARCH BODY", client.timed("UID SEARCH BODY needle")?.0));
    figures.push(ms("UID SORT (DATE)", client.timed("UID SORT (DATE) UTF-8 ALL")?.0));
    figures.push(ms("UID SORT (SUBJECT)", client.timed("UID SORT (SUBJECT) UTF-8 ALL")?.0));
    figures.push(ms("UID THREAD REFERENCES", client.timed("UID THREAD REFERENCES UTF-8 ALL")?.0));
    let one = client.median(REPEATS * 3, |at| format!("STORE {} +FLAGS (\\Flagged)", at + 1))?;
    figures.push(ms("STORE, one", one));
    figures.push(ms("STORE 1:*", client.timed("STORE 1:* +FLAGS.SILENT (\\Answered)")?.0));
    let text = message(1, size);
    let append = client.median(REPEATS * 3, |_| format!("APPEND INBOX {{{}+}}\r\n{text}", text.len()))?;
    figures.push(ms("APPEND, one", append));
    let begun = Instant::now();
    let many: Vec<_> = (0..10)
        .map(|_| {
            let (server, text) = (server.clone(), text.clone());
            std::thread::spawn(move || -> anyhow::Result<()> {
                let mut client = Client::signed_in(&server)?;
                for _ in 0..50 {
                    client.run(&format!("APPEND INBOX {{{}+}}\r\n{text}", text.len()))?;
                }
                Ok(())
            })
        })
        .collect();
    for one in many {
        one.join().map_err(|_| anyhow::anyhow!("a client panicked"))??;
    }
    figures.push(Figure {
        what: "APPEND, 10 clients",
        value: begun.elapsed().as_secs_f64() * 1_000.0 / 500.0,
        unit: "ms each",
    });
    figures.push(exists_delay(server, &text)?);
    figures.push(cold_select(server)?);
    figures.push(idle_memory(server, idle)?);
    Ok(figures)
}

/// SELECT by processes that know nothing of the mailbox yet. Dovecot has such a process for each connection; ours that
/// keep something are told to go, and are started by the login before.
fn cold_select(server: &Server) -> anyhow::Result<Figure> {
    let mut all = Vec::with_capacity(COLD);
    for _ in 0..COLD {
        let mut told = Vec::new();
        for process in processes::descendants(server.pid)? {
            if KEEPS.contains(&process.name.as_str()) {
                told.push(process.pid);
                let pid = i32::try_from(process.pid)
                    .ok()
                    .and_then(rustix::process::Pid::from_raw)
                    .context("pid")?;
                rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
            }
        }
        let begun = Instant::now();
        // Others may have started them again by now.
        while processes::descendants(server.pid)?.iter().any(|process| told.contains(&process.pid)) {
            ensure!(begun.elapsed() < GONE_WAIT, "{} does not leave", server.name);
            std::thread::sleep(Duration::from_millis(20));
        }
        // The supervisor waits for its child and listens again.
        std::thread::sleep(Duration::from_millis(100));
        all.push(Client::signed_in(server)?.timed("SELECT INBOX")?.0);
    }
    all.sort_unstable();
    Ok(ms("SELECT, cold", all[COLD / 2]))
}

/// From the acknowledgement of a message to EXISTS in another client's IDLE: of a delivery to port 25 with us, of an
/// APPEND with Dovecot, which takes none.
fn exists_delay(server: &Server, text: &str) -> anyhow::Result<Figure> {
    const TIMES: usize = REPEATS * 3;
    let mut idle = Client::signed_in(server)?;
    idle.run("SELECT INBOX")?;
    idle.stream.get_mut().write_all(b"i IDLE\r\n")?;
    let mut line = String::new();
    idle.stream.read_line(&mut line)?;
    let (heard, hears) = std::sync::mpsc::channel();
    let listener = std::thread::spawn(move || -> anyhow::Result<()> {
        let mut exists = 0;
        while exists < TIMES {
            line.clear();
            ensure!(idle.stream.read_line(&mut line)? > 0, "the server closed in IDLE");
            if line.ends_with(" EXISTS\r\n") {
                exists += 1;
                heard.send(Instant::now())?;
            }
        }
        Ok(())
    });
    let mut appends = Client::signed_in(server)?;
    let mut sends = server.smtp.as_ref().map(|(address, to)| Sender::connect(*address, to)).transpose()?;
    let mut all = Vec::with_capacity(TIMES);
    for _ in 0..TIMES {
        match &mut sends {
            Some(sender) => sender.send(text)?,
            None => drop(appends.run(&format!("APPEND INBOX {{{}+}}\r\n{text}", text.len()))?),
        }
        let taken = Instant::now();
        // It may be told before the acknowledgement is read.
        let told = hears.recv_timeout(GONE_WAIT).context("no EXISTS")?;
        all.push(told.saturating_duration_since(taken));
    }
    listener.join().map_err(|_| anyhow::anyhow!("the listener panicked"))??;
    all.sort_unstable();
    Ok(ms("EXISTS in IDLE after it was taken", all[TIMES / 2]))
}

/// Somebody who hands in mail.
struct Sender {
    stream: BufReader<TcpStream>,
    to: String,
}

impl Sender {
    fn connect(address: SocketAddr, to: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SILENCE))?;
        let mut this = Self { stream: BufReader::new(stream), to: to.to_owned() };
        this.reply("220")?;
        this.stream.get_mut().write_all(b"EHLO bench.example.org\r\n")?;
        this.reply("250")?;
        Ok(this)
    }

    fn send(&mut self, text: &str) -> anyhow::Result<()> {
        let head = format!("MAIL FROM:<sender@example.org>\r\nRCPT TO:<{}>\r\nDATA\r\n", self.to);
        self.stream.get_mut().write_all(head.as_bytes())?;
        for code in ["250", "250", "354"] {
            self.reply(code)?;
        }
        self.stream.get_mut().write_all(format!("{text}.\r\n").as_bytes())?;
        self.reply("250")
    }

    fn reply(&mut self, code: &str) -> anyhow::Result<()> {
        let mut line = String::new();
        loop {
            line.clear();
            self.stream.read_line(&mut line)?;
            ensure!(line.starts_with(code), "{code} was expected: {line:?}");
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(());
            }
        }
    }
}

fn ensure_all(server: &Server, lines: usize, messages: usize) -> anyhow::Result<()> {
    ensure!(lines >= messages, "{}: {lines} lines for {messages} messages", server.name);
    Ok(())
}

/// What one more connection that waits in IDLE costs.
fn idle_memory(server: &Server, connections: usize) -> anyhow::Result<Figure> {
    let own = || -> anyhow::Result<u64> {
        Ok(processes::descendants(server.pid)?.iter().map(|process| process.own).sum())
    };
    let mut open = Vec::with_capacity(connections);
    let mut empty = 0;
    for at in 0..=connections {
        let mut client = Client::signed_in(server)?;
        client.run("SELECT INBOX")?;
        client.stream.get_mut().write_all(b"i IDLE\r\n")?;
        let mut line = Vec::new();
        client.stream.read_until(b'\n', &mut line)?;
        open.push(client);
        // What the first one brings with it is not counted.
        if at == 0 {
            std::thread::sleep(Duration::from_secs(2));
            empty = own()?;
        }
    }
    std::thread::sleep(Duration::from_secs(2));
    let full = own()?;
    let each = full.saturating_sub(empty) / u64::try_from(connections.max(1))?;
    Ok(Figure {
        what: "memory of an idle connection",
        value: f64::from(u32::try_from(each)?) / 1024.0,
        unit: "KiB",
    })
}

/// To standard output, with the ratio beside them where there are two.
pub fn print(ours: &[Figure], theirs: Option<&[Figure]>) {
    println!("{:<34} {:>12} {:>12} {:>7}", "IMAP", "mox", "Dovecot", "ratio");
    for (at, figure) in ours.iter().enumerate() {
        let what = format!("{}, {}", figure.what, figure.unit);
        match theirs.and_then(|theirs| theirs.get(at)) {
            Some(other) => {
                let ratio = figure.value / other.value.max(0.001);
                println!("{what:<34} {:>12.3} {:>12.3} {ratio:>7.2}", figure.value, other.value);
            }
            None => println!("{what:<34} {:>12.3}", figure.value),
        }
    }
}

/// The same for programs.
pub fn json(ours: &[Figure], theirs: Option<&[Figure]>) -> Value {
    let lines = ours.iter().enumerate().map(|(at, figure)| {
        let other = theirs.and_then(|theirs| theirs.get(at)).map(|other| other.value);
        json!({ "what": figure.what, "unit": figure.unit, "mox": figure.value, "dovecot": other })
    });
    Value::Array(lines.collect())
}
