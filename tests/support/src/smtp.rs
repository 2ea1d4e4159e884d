//! An SMTP client, as much as tests need.
//!
//! Law: RFC 5321 §4.2 for replies, RFC 3207 for STARTTLS, RFC 4954 §4 and RFC 4616 for AUTH PLAIN.

use crate::line::{Line, Tls};
use base64::Engine as _;
use std::io;
use std::net::SocketAddr;

/// What a server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// 250 and the like.
    pub code: u16,
    /// The lines without their codes.
    pub lines: Vec<String>,
}

/// A connection after EHLO.
pub struct Smtp {
    /// The connection, for what no method offers.
    pub line: Line,
    /// What EHLO was answered with.
    pub offered: Vec<String>,
}

impl Smtp {
    /// Greeting and EHLO in the clear.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        Self::greet(Line::connect(address)?)
    }

    /// TLS from the first octet.
    pub fn connect_tls(address: SocketAddr, tls: &Tls) -> io::Result<Self> {
        Self::greet(Line::connect(address)?.into_tls(tls)?)
    }

    fn greet(line: Line) -> io::Result<Self> {
        let mut this = Self { line, offered: Vec::new() };
        let greeting = this.reply()?;
        if greeting.code != 220 {
            return Err(io::Error::other(format!("greeting: {greeting:?}")));
        }
        this.hello()?;
        Ok(this)
    }

    fn hello(&mut self) -> io::Result<()> {
        let reply = self.command("EHLO client.test")?;
        if reply.code != 250 {
            return Err(io::Error::other(format!("EHLO: {reply:?}")));
        }
        self.offered = reply.lines.into_iter().skip(1).collect();
        Ok(())
    }

    /// TLS from here on, with a new EHLO.
    pub fn starttls(mut self, tls: &Tls) -> io::Result<Self> {
        let reply = self.command("STARTTLS")?;
        if reply.code != 220 {
            return Err(io::Error::other(format!("STARTTLS: {reply:?}")));
        }
        let mut this = Self { line: self.line.into_tls(tls)?, offered: Vec::new() };
        this.hello()?;
        Ok(this)
    }

    /// AUTH PLAIN.
    pub fn sign_in(&mut self, login: &str, password: &str) -> io::Result<Reply> {
        let secret = base64::engine::general_purpose::STANDARD.encode(format!("\0{login}\0{password}"));
        self.command(&format!("AUTH PLAIN {secret}"))
    }

    /// Says a line, gets the reply.
    pub fn command(&mut self, line: &str) -> io::Result<Reply> {
        self.line.send(format!("{line}\r\n").as_bytes())?;
        self.reply()
    }

    /// The next reply.
    pub fn reply(&mut self) -> io::Result<Reply> {
        let mut lines = Vec::new();
        loop {
            let line = self.line.expect_line()?;
            let bad = || io::Error::other(format!("not a reply: {line:?}"));
            let code: u16 = line.get(..3).and_then(|code| code.parse().ok()).ok_or_else(bad)?;
            lines.push(line.get(4..).unwrap_or_default().to_owned());
            match line.as_bytes().get(3) {
                Some(b'-') => {}
                Some(b' ') | None => return Ok(Reply { code, lines }),
                Some(_) => return Err(bad()),
            }
        }
    }

    /// One message, lines with CRLF; the reply that decided.
    pub fn send(&mut self, from: &str, to: &str, message: &str) -> io::Result<Reply> {
        for line in [format!("MAIL FROM:<{from}>"), format!("RCPT TO:<{to}>"), "DATA".into()] {
            let reply = self.command(&line)?;
            if reply.code >= 400 {
                self.command("RSET")?;
                return Ok(reply);
            }
        }
        let mut data = String::with_capacity(message.len() + 8);
        for line in message.split_inclusive("\r\n") {
            if line.starts_with('.') {
                data.push('.');
            }
            data.push_str(line);
        }
        data.push_str(".\r\n");
        self.line.send(data.as_bytes())?;
        self.reply()
    }
}
