//! Why a name server failed, in its own words.
//!
//! Law: RFC 8914 §2. The resolver library drops the option, so a question that failed is put once more, straight to the
//! first server. Fails with: nothing; who says nothing says nothing.

use hickory_resolver::proto::op::{Edns, Message, Query};
use hickory_resolver::proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_resolver::proto::rr::{Name, RecordType};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::timeout;

/// For a reason, nobody waits long.
const WAIT: Duration = Duration::from_secs(1);
/// RFC 6891 §6.2.5, and what crosses every network.
const PAYLOAD: u16 = 1232;
/// RFC 8914 §2: the number of the option.
const CODE: u16 = 15;
/// Characters of a server's own words.
const TEXT: usize = 200;

/// An extended DNS error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extended {
    /// INFO-CODE.
    pub code: u16,
    /// EXTRA-TEXT; may be empty.
    pub text: String,
}

impl Extended {
    /// Whether it says that DNSSEC does not hold. §4.7 to §4.13, §4.28.
    #[must_use]
    pub fn is_bogus(&self) -> bool {
        matches!(self.code, 6..=12 | 27)
    }

    fn read(option: &[u8]) -> Option<Self> {
        let (code, text) = option.split_first_chunk::<2>()?;
        let text = String::from_utf8_lossy(text);
        let text = text.chars().filter(|c| !c.is_control()).take(TEXT).collect();
        Some(Self { code: u16::from_be_bytes(*code), text })
    }
}

impl std::fmt::Display for Extended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "extended error {}", self.code)?;
        if let Some(purpose) = PURPOSES.get(usize::from(self.code)) {
            write!(f, ", {purpose}")?;
        }
        if !self.text.is_empty() {
            write!(f, ": {}", self.text)?;
        }
        Ok(())
    }
}

/// RFC 8914 §5.2, by number.
const PURPOSES: [&str; 25] = [
    "Other",
    "Unsupported DNSKEY Algorithm",
    "Unsupported DS Digest Type",
    "Stale Answer",
    "Forged Answer",
    "DNSSEC Indeterminate",
    "DNSSEC Bogus",
    "Signature Expired",
    "Signature Not Yet Valid",
    "DNSKEY Missing",
    "RRSIGs Missing",
    "No Zone Key Bit Set",
    "NSEC Missing",
    "Cached Error",
    "Not Ready",
    "Blocked",
    "Censored",
    "Filtered",
    "Prohibited",
    "Stale NXDOMAIN Answer",
    "Not Authoritative",
    "Not Supported",
    "No Reachable Authority",
    "Network Error",
    "Invalid Data",
];

/// Puts the question once more.
pub(super) async fn ask(server: SocketAddr, name: Name, kind: RecordType) -> Option<Extended> {
    timeout(WAIT, exchange(server, name, kind)).await.ok()?
}

async fn exchange(server: SocketAddr, name: Name, kind: RecordType) -> Option<Extended> {
    let own: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((own, 0)).await.ok()?;
    socket.connect(server).await.ok()?;
    let mut question = Message::query();
    question.metadata.recursion_desired = true;
    question.add_query(Query::query(name, kind));
    let mut edns = Edns::new();
    edns.set_max_payload(PAYLOAD).set_dnssec_ok(true);
    question.set_edns(edns);
    socket.send(&question.to_vec().ok()?).await.ok()?;
    let mut buffer = [0; PAYLOAD as usize];
    loop {
        let n = socket.recv(&mut buffer).await.ok()?;
        let Ok(reply) = Message::from_vec(&buffer[..n]) else { continue };
        if reply.metadata.id != question.metadata.id || reply.queries != question.queries {
            continue;
        }
        return match reply.edns?.option(EdnsCode::Unknown(CODE))? {
            EdnsOption::Unknown(_, data) => Extended::read(data),
            _ => None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read() {
        let read = |bytes: &[u8]| Extended::read(bytes).map(|extended| extended.to_string());
        assert_eq!(read(b"\0\x07"), Some("extended error 7, Signature Expired".into()));
        assert_eq!(read(b"\0\x0fad\nvert\xff"), Some("extended error 15, Blocked: advert\u{fffd}".into()));
        assert_eq!(read(b"\x12\x34"), Some("extended error 4660".into()));
        assert_eq!(read(b"\0"), None);
        assert_eq!(Extended::read(&[b"\0\0", &[b'x'; 900][..]].concat()).unwrap().text.len(), TEXT);
    }
}
