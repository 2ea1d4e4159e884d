//! An IMAP client, as much as tests need.
//!
//! Law: RFC 9051 §2.2, §4.3 for lines and literals.

use crate::line::{Line, Tls};
use std::io;
use std::net::SocketAddr;

/// What a command was answered with.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Untagged responses, literals in place.
    pub untagged: Vec<String>,
    /// The tagged line without its tag: `OK ...`.
    pub end: String,
}

/// A connection after its greeting.
pub struct Imap {
    /// The connection, for what no method offers.
    pub line: Line,
    /// The first line.
    pub greeting: String,
    tag: u32,
}

impl Imap {
    /// In the clear.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        Self::greet(Line::connect(address)?)
    }

    /// TLS from the first octet.
    pub fn connect_tls(address: SocketAddr, tls: &Tls) -> io::Result<Self> {
        Self::greet(Line::connect(address)?.into_tls(tls)?)
    }

    fn greet(mut line: Line) -> io::Result<Self> {
        let greeting = line.expect_line()?;
        if greeting.starts_with("* OK") || greeting.starts_with("* PREAUTH") {
            Ok(Self { line, tag: 0, greeting })
        } else {
            Err(io::Error::other(format!("greeting: {greeting}")))
        }
    }

    /// TLS from here on.
    pub fn starttls(mut self, tls: &Tls) -> io::Result<Self> {
        self.ok("STARTTLS")?;
        Ok(Self { line: self.line.into_tls(tls)?, tag: self.tag, greeting: self.greeting })
    }

    /// LOGIN.
    pub fn sign_in(&mut self, login: &str, password: &str) -> io::Result<()> {
        self.ok(&format!("LOGIN \"{login}\" \"{password}\"")).map(|_| ())
    }

    /// Says a command, gets everything up to its end.
    pub fn command(&mut self, text: &str) -> io::Result<Answer> {
        self.tag += 1;
        let tag = format!("t{} ", self.tag);
        self.line.send(format!("{tag}{text}\r\n").as_bytes())?;
        let mut untagged = Vec::new();
        loop {
            let line = self.response()?;
            if let Some(end) = line.strip_prefix(&tag) {
                return Ok(Answer { untagged, end: end.to_owned() });
            }
            untagged.push(line);
        }
    }

    /// A command that must be answered OK.
    pub fn ok(&mut self, text: &str) -> io::Result<Answer> {
        let answer = self.command(text)?;
        if answer.end.starts_with("OK") {
            Ok(answer)
        } else {
            Err(io::Error::other(format!("{text}: {}", answer.end)))
        }
    }

    /// One response; a literal takes the place of its announcement.
    pub fn response(&mut self) -> io::Result<String> {
        let mut whole = String::new();
        loop {
            let line = self.line.expect_line()?;
            let announced = line.strip_suffix('}').and_then(|l| l.rsplit_once('{'));
            let Some((before, count)) = announced.and_then(|(b, n)| Some((b, n.parse::<usize>().ok()?)))
            else {
                whole.push_str(&line);
                return Ok(whole);
            };
            whole.push_str(before);
            whole.push_str(&String::from_utf8_lossy(&self.line.octets(count)?));
        }
    }

    /// Opens a mailbox; how many messages it has.
    pub fn select(&mut self, mailbox: &str) -> io::Result<usize> {
        let answer = self.ok(&format!("SELECT {mailbox}"))?;
        let count = |line: &String| line.strip_prefix("* ")?.strip_suffix(" EXISTS")?.parse().ok();
        answer.untagged.iter().find_map(count).ok_or_else(|| io::Error::other("SELECT said no EXISTS"))
    }

    /// The messages of the opened mailbox, whole.
    pub fn messages(&mut self) -> io::Result<Vec<String>> {
        self.fetched("BODY.PEEK[]")
    }

    /// The subject lines of the opened mailbox.
    pub fn subjects(&mut self) -> io::Result<Vec<String>> {
        let lines = self.fetched("BODY.PEEK[HEADER.FIELDS (SUBJECT)]")?;
        Ok(lines
            .iter()
            .filter_map(|line| {
                let (_, after) = line.split_once("Subject: ")?;
                after.split("\r\n").next().map(str::to_owned)
            })
            .collect())
    }

    fn fetched(&mut self, what: &str) -> io::Result<Vec<String>> {
        let answer = self.ok(&format!("UID FETCH 1:* ({what})"))?;
        Ok(answer.untagged.into_iter().filter(|line| line.contains(" FETCH ")).collect())
    }
}
