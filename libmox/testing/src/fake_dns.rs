//! Name servers in memory: answers on a loopback socket what a test says. Nothing is signed.
//!
//! Law: RFC 1035 §4. A name that is not there, and that nothing is below of, does not exist; a record may say that
//! its server fails.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::UdpSocket;

/// Type and data, as in zone files; `TIMEOUT` fails.
type Record = Vec<String>;

/// See the module header.
#[derive(Debug, Default)]
pub struct FakeDns {
    records: Mutex<HashMap<String, Vec<Record>>>,
    asked: Mutex<Vec<String>>,
    delay: Mutex<Duration>,
}

impl FakeDns {
    /// Serves until the runtime ends.
    pub async fn start() -> std::io::Result<(Arc<Self>, SocketAddr)> {
        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await?);
        let address = socket.local_addr()?;
        let dns = Arc::new(Self::default());
        let service = Arc::clone(&dns);
        tokio::spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok((n, from)) = socket.recv_from(&mut buffer).await {
                let Some(answer) = service.answer(&buffer[..n]) else { continue };
                let (socket, delay) = (Arc::clone(&socket), *lock(&service.delay));
                tokio::spawn(async move {
                    tokio::time::sleep(delay).await;
                    let _ = socket.send_to(&answer, from).await;
                });
            }
        });
        Ok((dns, address))
    }

    /// Adds a record: `("example.org", &["MX", "10", "mail.example.org"])`. Characters of TXT are octets.
    pub fn add(&self, name: &str, record: &[&str]) {
        let record = record.iter().map(ToString::to_string).collect();
        lock(&self.records).entry(key(name)).or_default().push(record);
    }

    /// Every answer takes so long from now on.
    pub fn slow_down(&self, delay: Duration) {
        *lock(&self.delay) = delay;
    }

    /// Forgets everything.
    pub fn clear(&self) {
        lock(&self.records).clear();
        lock(&self.asked).clear();
    }

    /// Names and types of the questions so far.
    pub fn asked(&self) -> Vec<String> {
        lock(&self.asked).clone()
    }

    fn answer(&self, question: &[u8]) -> Option<Vec<u8>> {
        let (name, end) = read_name(question, 12)?;
        let kind = u16::from_be_bytes([*question.get(end)?, *question.get(end + 1)?]);
        lock(&self.asked).push(format!("{name} {kind}"));
        let records = lock(&self.records);
        let mut answers = Vec::new();
        let mut at = key(&name);
        let mut fails = false;
        // A chain of aliases; ours are short.
        for _ in 0..8 {
            let here = records.get(&at).map(Vec::as_slice).unwrap_or_default();
            fails |= here.iter().any(|record| record[0] == "TIMEOUT");
            answers.extend(
                here.iter().filter(|record| number(&record[0]) == Some(kind)).map(|r| (at.clone(), r)),
            );
            let alias = here.iter().find(|record| record[0] == "CNAME" && kind != 5);
            let Some(alias) = alias.filter(|_| answers.is_empty() || answers[0].1[0] == "CNAME") else {
                break;
            };
            answers.push((at, alias));
            at = key(&alias[1]);
        }
        let below = format!(".{at}");
        let exists = records.keys().any(|name| *name == at || name.ends_with(&below));
        let code = match (fails && answers.is_empty(), exists) {
            (true, _) => 2,
            (false, true) => 0,
            (false, false) => 3,
        };
        let mut reply = question.get(..2)?.to_vec();
        reply.extend_from_slice(&[0x84, 0x80 | code, 0, 1]);
        reply.extend_from_slice(&u16::try_from(answers.len()).ok()?.to_be_bytes());
        reply.extend_from_slice(&[0, 0, 0, 0]);
        reply.extend_from_slice(question.get(12..end + 4)?);
        for (owner, record) in answers {
            write_name(&owner, &mut reply);
            reply.extend_from_slice(&number(&record[0])?.to_be_bytes());
            reply.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
            let data = data(record)?;
            reply.extend_from_slice(&u16::try_from(data.len()).ok()?.to_be_bytes());
            reply.extend_from_slice(&data);
        }
        Some(reply)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn key(name: &str) -> String {
    name.trim_end_matches('.').to_lowercase()
}

fn number(kind: &str) -> Option<u16> {
    Some(match kind {
        "A" => 1,
        "CNAME" => 5,
        "PTR" => 12,
        "MX" => 15,
        "TXT" => 16,
        "AAAA" => 28,
        _ => return None,
    })
}

fn read_name(message: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut name = String::new();
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        if length == 0 {
            return Some((name, at));
        }
        let label = message.get(at..at + length)?;
        if !name.is_empty() {
            name.push('.');
        }
        name.extend(label.iter().map(|byte| char::from(*byte)));
        at += length;
    }
}

fn write_name(name: &str, out: &mut Vec<u8>) {
    for label in name.split('.').filter(|label| !label.is_empty()) {
        out.push(u8::try_from(label.len().min(63)).unwrap_or(63));
        out.extend(label.chars().take(63).map(octet));
    }
    out.push(0);
}

fn octet(c: char) -> u8 {
    u8::try_from(u32::from(c)).unwrap_or(b'?')
}

fn data(record: &[String]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    match record.first()?.as_str() {
        "A" | "AAAA" => match record.get(1)?.parse().ok()? {
            IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
            IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
        },
        "MX" => {
            out.extend_from_slice(&record.get(1)?.parse::<u16>().ok()?.to_be_bytes());
            write_name(record.get(2)?, &mut out);
        }
        "TXT" => {
            for text in record.get(1..)? {
                let bytes: Vec<u8> = text.chars().map(octet).collect();
                for part in bytes.chunks(255) {
                    out.push(u8::try_from(part.len()).ok()?);
                    out.extend_from_slice(part);
                }
                if bytes.is_empty() {
                    out.push(0);
                }
            }
            if record.len() == 1 {
                out.push(0);
            }
        }
        _ => write_name(record.get(1)?, &mut out),
    }
    Some(out)
}
