//! The conversation with the local submission socket.

use crate::{Fault, Options, prepare};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// A reply takes no longer: the message is on disk by then, or it is not.
const REPLY_WAIT: Duration = Duration::from_secs(120);

fn connect() -> io::Result<UnixStream> {
    let folder = std::env::var_os("MOX_RUNTIME_DIR").map_or_else(|| PathBuf::from("/run/mox"), PathBuf::from);
    let stream = UnixStream::connect(folder.join("submission-local.sock"))?;
    stream.set_read_timeout(Some(REPLY_WAIT))?;
    stream.set_write_timeout(Some(REPLY_WAIT))?;
    Ok(stream)
}

struct Talk {
    input: BufReader<UnixStream>,
    output: UnixStream,
}

impl Talk {
    fn say(&mut self, line: &str) -> Result<(), Fault> {
        self.output.write_all(format!("{line}\r\n").as_bytes()).map_err(Fault::Unreachable)
    }

    /// All lines of one reply, or the refusal.
    fn hear(&mut self) -> Result<Vec<String>, Fault> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            let read = self.input.by_ref().take(8192).read_line(&mut line).map_err(Fault::Unreachable)?;
            if read == 0 {
                return Err(Fault::Unreachable(io::ErrorKind::UnexpectedEof.into()));
            }
            let line = line.trim_end().to_owned();
            let more = line.as_bytes().get(3) == Some(&b'-');
            lines.push(line);
            if !more {
                break;
            }
        }
        match lines.last() {
            Some(last) if last.starts_with(['2', '3']) => Ok(lines),
            _ => Err(Fault::Refused(lines.join(" "))),
        }
    }
}

/// Hands a message in; returns when it is on disk.
pub fn send(options: &Options, input: &[u8]) -> Result<(), Fault> {
    let output = connect().map_err(Fault::Unreachable)?;
    let input_half = output.try_clone().map_err(Fault::Unreachable)?;
    let mut talk = Talk { input: BufReader::new(input_half), output };
    let greeting = talk.hear()?;
    let host = greeting.first().and_then(|line| line.split(' ').nth(1)).unwrap_or("localhost").to_owned();
    talk.say("EHLO localhost")?;
    talk.hear()?;
    let user = options.sender.clone().unwrap_or_else(user_name);
    let from = if user == "<>" { String::new() } else { qualified(user.trim_matches(['<', '>']), &host) };
    let message = prepare(
        options,
        input,
        &if from.is_empty() { qualified(&user_name(), &host) } else { from.clone() },
    )?;
    let utf8 = if message.bytes.is_ascii() && from.is_ascii() { "" } else { " BODY=8BITMIME SMTPUTF8" };
    talk.say(&format!("MAIL FROM:<{from}>{utf8}"))?;
    talk.hear()?;
    for recipient in &message.recipients {
        talk.say(&format!("RCPT TO:<{}>", qualified(recipient, &host)))?;
        talk.hear()?;
    }
    talk.say("DATA")?;
    talk.hear()?;
    let mut data = Vec::with_capacity(message.bytes.len() + 16);
    for line in message.bytes.split_inclusive(|b| *b == b'\n') {
        if line.starts_with(b".") {
            data.push(b'.');
        }
        data.extend_from_slice(line);
    }
    data.extend_from_slice(b".\r\n");
    talk.output.write_all(&data).map_err(Fault::Unreachable)?;
    talk.hear()?;
    // Accepted; how the goodbye goes is no matter.
    let _ = talk.say("QUIT");
    let _ = talk.hear();
    Ok(())
}

/// `root` is `root@<this host>`.
fn qualified(address: &str, host: &str) -> String {
    if address.is_empty() || address.contains('@') { address.to_owned() } else { format!("{address}@{host}") }
}

/// For the message's From only: who we are is told by the kernel.
fn user_name() -> String {
    ["LOGNAME", "USER"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|v| !v.is_empty()))
        .unwrap_or_else(|| "root".to_owned())
}

/// `-bs`: bytes both ways until either side ends.
pub fn pass_through() -> io::Result<()> {
    let stream = connect()?;
    stream.set_read_timeout(None)?;
    let (mut up, mut down) = (stream.try_clone()?, stream);
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut up);
        let _ = up.shutdown(Shutdown::Write);
    });
    let mut out = io::stdout().lock();
    io::copy(&mut down, &mut out)?;
    out.flush()
}
