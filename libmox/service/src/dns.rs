//! The resolver: DNSSEC is validated here, whatever the name servers do.
//!
//! Law: RFC 4035 §5. A bogus answer is an error (`DnssecBogus`); a record tells by its `proof` whether it was secure.

use crate::config::DnsConfig;
use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::dnssec::{Proof, TrustAnchors};
use hickory_resolver::proto::rr::RecordType;
use hickory_resolver::{Resolver, TokioResolver};
use std::sync::Arc;

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

/// A resolver with a cache of its own.
pub fn resolver(config: &DnsConfig) -> Result<TokioResolver, DnsFault> {
    let mut builder = if config.servers.is_empty() {
        Resolver::builder_tokio().map_err(|error| DnsFault::System(error.to_string()))?
    } else {
        let servers = config
            .servers
            .iter()
            .map(|address| {
                let mut server = NameServerConfig::udp_and_tcp(address.ip());
                for connection in &mut server.connections {
                    connection.port = address.port();
                }
                server
            })
            .collect();
        Resolver::builder_with_config(
            ResolverConfig::from_parts(None, Vec::new(), servers),
            TokioRuntimeProvider::default(),
        )
    };
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
    builder.build().map_err(|error| DnsFault::System(error.to_string()))
}

/// Whether DNSSEC proves the answer to a question, be it records or their absence. A lookup that fails is not proven.
pub async fn is_secure(resolver: &TokioResolver, name: &str, kind: RecordType) -> bool {
    use hickory_resolver::net::{DnsError, NetError};
    let name = if name.ends_with('.') { name.to_owned() } else { format!("{name}.") };
    match resolver.lookup(name, kind).await {
        Ok(lookup) => {
            !lookup.answers().is_empty() && lookup.answers().iter().all(|r| r.proof == Proof::Secure)
        }
        Err(NetError::Dns(DnsError::NoRecordsFound(none))) => {
            none.soa.is_some_and(|soa| soa.proof == Proof::Secure)
        }
        Err(_) => false,
    }
}
