//! The resolver: DNSSEC is validated here, whatever the name servers do, and every answer tells whether it is proven.
//!
//! Law: RFC 4035 §5 (a bogus answer is an error), RFC 8914 (why a server fails, `extended.rs`); row MA-02: names are
//! absolute, and who asks what is counted (`counters.rs`).
//! Does not know: what an answer means. Fails with: [`LookupFault`].

mod counters;
mod extended;
pub mod lists;

pub use counters::{Asker, counters};
pub use extended::Extended;

use crate::config::DnsConfig;
use counters::Outcome;
use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError, NoRecords};
use hickory_resolver::proto::dnssec::{Proof, TrustAnchors};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::{Resolver, TokioResolver};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

/// Why there is no resolver.
#[derive(Debug, thiserror::Error)]
pub enum DnsFault {
    /// The file of `dns.trust-anchor`.
    #[error("trust anchor cannot be read: {0}")]
    TrustAnchor(String),
    /// `/etc/resolv.conf`.
    #[error("system resolver configuration cannot be read: {0}")]
    System(String),
}

/// Answers kept at most.
const CACHE: u64 = 4096;

/// A resolver with a cache of its own. Copies share it.
#[derive(Clone)]
pub struct Dns {
    resolver: TokioResolver,
    /// Asked why a lookup failed.
    server: Option<SocketAddr>,
}

impl std::fmt::Debug for Dns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Dns({:?})", self.server)
    }
}

/// What a lookup found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// Of the type that was asked for; none where there are none.
    pub records: Vec<RData>,
    /// DNSSEC proves it, be it records or their absence.
    pub authentic: bool,
    /// There is such a name.
    pub exists: bool,
}

impl Answer {
    /// TXT records, the strings of each put together (RFC 7208 §3.3, RFC 6376 §3.6.2.2).
    pub fn texts(&self) -> impl Iterator<Item = Vec<u8>> {
        self.records.iter().filter_map(|data| match data {
            RData::TXT(txt) => Some(txt.txt_data.concat()),
            _ => None,
        })
    }

    /// A and AAAA records.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.records.iter().filter_map(|data| match data {
            RData::A(a) => Some(IpAddr::V4(a.0)),
            RData::AAAA(aaaa) => Some(IpAddr::V6(aaaa.0)),
            _ => None,
        })
    }
}

/// Why nothing is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupFault {
    /// A name without its last dot would be looked for in the domains of this machine (row MA-02). Our bug.
    #[error("{0} is not absolute")]
    Relative(String),
    /// No name can be so.
    #[error("{0} is no name")]
    Name(String),
    /// The answer is forged, or its zone is signed wrongly.
    #[error("DNSSEC finds the answer bogus{}", why(.0.as_ref()))]
    Bogus(Option<Extended>),
    /// The servers fail or are silent.
    #[error("{text}{}", why(.extended.as_ref()))]
    Failed {
        /// What the resolver says.
        text: String,
        /// What the server says.
        extended: Option<Extended>,
    },
}

fn why(extended: Option<&Extended>) -> String {
    extended.map(|extended| format!(" ({extended})")).unwrap_or_default()
}

impl Dns {
    /// As configured.
    pub fn new(config: &DnsConfig) -> Result<Self, DnsFault> {
        let given = match config.servers.is_empty() {
            true => {
                hickory_resolver::system_conf::read_system_conf()
                    .map_err(|error| DnsFault::System(error.to_string()))?
                    .0
            }
            false => {
                ResolverConfig::from_parts(None, Vec::new(), config.servers.iter().map(server).collect())
            }
        };
        let first = given.name_servers().first();
        let first = first.map(|one| {
            SocketAddr::new(one.ip, one.connections.first().map_or(53, |connection| connection.port))
        });
        let mut builder = Resolver::builder_with_config(given, TokioRuntimeProvider::default());
        if let Some(path) = &config.trust_anchor {
            let anchors = TrustAnchors::from_file(path)
                .map_err(|error| DnsFault::TrustAnchor(format!("{}: {error}", path.display())))?;
            builder = builder.with_trust_anchor(Arc::new(anchors));
        }
        let options = builder.options_mut();
        options.validate = true;
        options.use_hosts_file = ResolveHosts::Never;
        options.timeout = config.timeout;
        options.attempts = 2;
        options.cache_size = CACHE;
        options.edns0 = true;
        let resolver = builder.build().map_err(|error| DnsFault::System(error.to_string()))?;
        Ok(Self { resolver, server: first })
    }

    /// Asks one name server and validates nothing, for tests: what they say is not signed. Nothing is kept, and whoever
    /// does not answer is asked once.
    pub fn unvalidated(address: SocketAddr) -> Result<Self, DnsFault> {
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![server(&address)]);
        let mut builder = Resolver::builder_with_config(config, TokioRuntimeProvider::default());
        let options = builder.options_mut();
        (options.timeout, options.attempts) = (std::time::Duration::from_secs(2), 1);
        (options.edns0, options.cache_size) = (true, 0);
        let resolver = builder.build().map_err(|error| DnsFault::System(error.to_string()))?;
        Ok(Self { resolver, server: None })
    }

    /// For libraries that want it; they are given what they would ask.
    #[must_use]
    pub fn resolver(&self) -> &TokioResolver {
        &self.resolver
    }

    /// Records of a type at an absolute name, in text.
    pub async fn lookup(&self, asker: Asker, name: &str, kind: RecordType) -> Result<Answer, LookupFault> {
        let parsed = Name::from_utf8(name).map_err(|_| LookupFault::Name(name.to_owned()))?;
        self.lookup_name(asker, parsed, kind).await
    }

    /// The same for a name whose labels may hold anything.
    pub async fn lookup_name(
        &self,
        asker: Asker,
        name: Name,
        kind: RecordType,
    ) -> Result<Answer, LookupFault> {
        if !name.is_fqdn() {
            return Err(LookupFault::Relative(name.to_utf8()));
        }
        let begun = Instant::now();
        let answer = match self.resolver.lookup(name.clone(), kind).await {
            Ok(lookup) => Ok(read(lookup.answers(), kind)),
            Err(NetError::Dns(DnsError::NoRecordsFound(none))) if is_answer(&none) => Ok(Answer {
                records: Vec::new(),
                authentic: none.soa.is_some_and(|soa| soa.proof == Proof::Secure),
                exists: none.response_code == ResponseCode::NoError,
            }),
            Err(NetError::Dns(DnsError::DnssecBogus)) => Err(LookupFault::Bogus(None)),
            Err(NetError::Dns(DnsError::Nsec { proof, response, .. })) => match proof {
                Proof::Bogus => Err(LookupFault::Bogus(None)),
                proof => Ok(Answer {
                    records: Vec::new(),
                    authentic: proof == Proof::Secure,
                    exists: response.metadata.response_code == ResponseCode::NoError,
                }),
            },
            Err(error) => Err(LookupFault::Failed { text: error.to_string(), extended: None }),
        };
        let outcome = match &answer {
            Ok(answer) if !answer.records.is_empty() => Outcome::Found,
            Ok(Answer { exists: true, .. }) => Outcome::NoRecords,
            Ok(_) => Outcome::NoName,
            Err(LookupFault::Bogus(_)) => Outcome::Bogus,
            Err(_) => Outcome::Failed,
        };
        counters::count(asker, outcome, begun.elapsed());
        match answer {
            Ok(answer) => Ok(answer),
            Err(fault) => Err(self.explained(fault, name, kind).await),
        }
    }

    /// Addresses of a name, of both kinds. An error only where neither kind can be had.
    pub async fn addresses(&self, asker: Asker, name: &str) -> Result<Answer, LookupFault> {
        let (four, six) =
            tokio::join!(self.lookup(asker, name, RecordType::A), self.lookup(asker, name, RecordType::AAAA));
        match (four, six) {
            (Ok(mut four), Ok(six)) => {
                four.authentic &= six.authentic;
                four.exists |= six.exists;
                four.records.extend(six.records);
                Ok(four)
            }
            (Ok(one), Err(fault)) | (Err(fault), Ok(one)) => match one.records.is_empty() {
                true => Err(fault),
                false => Ok(Answer { authentic: false, ..one }),
            },
            (Err(fault), Err(_)) => Err(fault),
        }
    }

    async fn explained(&self, fault: LookupFault, name: Name, kind: RecordType) -> LookupFault {
        let extended = match self.server {
            Some(server) => extended::ask(server, name, kind).await,
            None => None,
        };
        match fault {
            LookupFault::Bogus(None) => LookupFault::Bogus(extended),
            LookupFault::Failed { text, .. } => match extended {
                // RFC 8914 §4.7: the server validates as well, and hides what it found wrong.
                Some(extended) if extended.is_bogus() => LookupFault::Bogus(Some(extended)),
                extended => LookupFault::Failed { text, extended },
            },
            fault => fault,
        }
    }
}

fn server(address: &SocketAddr) -> NameServerConfig {
    let mut server = NameServerConfig::udp_and_tcp(address.ip());
    for connection in &mut server.connections {
        connection.port = address.port();
    }
    server
}

/// No such name, or no such record there; anything else is a server that failed.
fn is_answer(none: &NoRecords) -> bool {
    matches!(none.response_code, ResponseCode::NXDomain | ResponseCode::NoError)
}

fn read(answers: &[Record], kind: RecordType) -> Answer {
    let wanted = answers.iter().filter(|record| record.record_type() == kind);
    Answer {
        records: wanted.map(|record| record.data.clone()).collect(),
        // Aliases on the way count: who forges one decides.
        authentic: !answers.is_empty() && answers.iter().all(|record| record.proof == Proof::Secure),
        exists: true,
    }
}

/// The name of an address. RFC 1035 §3.5, RFC 3596 §2.5.
#[must_use]
pub fn reverse_name(ip: IpAddr) -> String {
    reverse_labels(ip) + if ip.is_ipv4() { "in-addr.arpa." } else { "ip6.arpa." }
}

/// Its front, which lists of addresses have, too. RFC 5782 §2.1, §2.4.
#[must_use]
pub fn reverse_labels(ip: IpAddr) -> String {
    use std::fmt::Write as _;
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            format!("{d}.{c}.{b}.{a}.")
        }
        IpAddr::V6(ip) => {
            let mut name = String::with_capacity(74);
            for octet in ip.octets().iter().rev() {
                let _ = write!(name, "{:x}.{:x}.", octet & 15, octet >> 4);
            }
            name
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::net::UdpSocket;

    #[test]
    fn reverse_names() {
        assert_eq!(reverse_name("192.0.2.1".parse().unwrap()), "1.2.0.192.in-addr.arpa.");
        let six = reverse_name("2001:db8::1".parse().unwrap());
        assert!(six.starts_with("1.0.0.0.") && six.ends_with(".8.b.d.0.1.0.0.2.ip6.arpa."), "{six}");
    }

    /// A server that always fails and says why.
    async fn failing(info: u16, text: &str) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let mut option = info.to_be_bytes().to_vec();
        option.extend_from_slice(text.as_bytes());
        tokio::spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok((n, from)) = socket.recv_from(&mut buffer).await {
                // The question as it came, then OPT with option 15.
                let end = 12 + buffer[12..n].iter().position(|b| *b == 0).unwrap() + 5;
                let mut reply = buffer[..2].to_vec();
                reply.extend_from_slice(&[0x81, 0x82, 0, 1, 0, 0, 0, 0, 0, 1]);
                reply.extend_from_slice(&buffer[12..end]);
                reply.extend_from_slice(&[0, 0, 41, 4, 208, 0, 0, 0, 0]);
                let length = u16::try_from(option.len()).unwrap();
                reply.extend_from_slice(&(length + 4).to_be_bytes());
                reply.extend_from_slice(&[0, 15]);
                reply.extend_from_slice(&length.to_be_bytes());
                reply.extend_from_slice(&option);
                socket.send_to(&reply, from).await.unwrap();
            }
        });
        address
    }

    fn dns(server: SocketAddr) -> Dns {
        Dns::new(&DnsConfig { servers: vec![server], trust_anchor: None, timeout: Duration::from_secs(2) })
            .unwrap()
    }

    #[tokio::test]
    async fn a_server_that_fails_is_asked_why() {
        let fault = dns(failing(6, "bad signature").await)
            .lookup(Asker::Spf, "example.org.", RecordType::TXT)
            .await
            .unwrap_err();
        assert_eq!(
            fault.to_string(),
            "DNSSEC finds the answer bogus (extended error 6, DNSSEC Bogus: bad signature)"
        );
        let fault =
            dns(failing(22, "").await).lookup(Asker::Spf, "example.org.", RecordType::TXT).await.unwrap_err();
        let LookupFault::Failed { extended: Some(extended), .. } = &fault else { panic!("{fault:?}") };
        assert_eq!(extended.to_string(), "extended error 22, No Reachable Authority");
    }

    #[tokio::test]
    async fn names_without_their_last_dot_are_not_looked_up() {
        let dns = dns("127.0.0.1:9".parse().unwrap());
        for kind in [RecordType::A, RecordType::TXT, RecordType::TLSA] {
            let fault = dns.lookup(Asker::Queue, "example.org", kind).await.unwrap_err();
            assert_eq!(fault, LookupFault::Relative("example.org".into()));
        }
    }
}
