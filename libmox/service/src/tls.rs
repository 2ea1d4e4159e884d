//! TLS for our listeners, signed by `mox-keys`.
//!
//! Law: RFC 8446, RFC 5246 with RFC 8996 (no less than 1.2), RFC 9266 (`tls-exporter`), RFC 5929 §4
//! (`tls-server-end-point`). Session tickets are off: some senders break on resumption (row TM-04), and nothing is
//! shared between processes.

use libmox_keys::RemoteKeys;
use rustls::crypto::CryptoProvider;
use rustls::server::{Acceptor, ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ProtocolVersion, ServerConfig};
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

/// Accepts TLS with the keys of this host.
#[derive(Debug, Clone)]
pub struct Tls {
    keys: RemoteKeys,
    provider: Arc<CryptoProvider>,
}

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub enum TlsFault {
    /// The client's doing, or the network's.
    #[error("handshake failed")]
    Handshake(#[source] io::Error),
    /// Ours.
    #[error("no certificate to show")]
    Certificate(#[from] libmox_keys::SigningError),
    /// Ours.
    #[error("TLS settings rejected")]
    Settings(#[from] rustls::Error),
}

/// What the rest of the service may want to know of a connection's TLS.
#[derive(Debug, Clone, Default)]
pub struct TlsFacts {
    /// `TLS1.3`
    pub version: &'static str,
    /// `TLS13_AES_128_GCM_SHA256`
    pub cipher: String,
    /// SNI.
    pub server_name: Option<String>,
    /// RFC 9266; only with TLS 1.3.
    pub exporter: Option<[u8; 32]>,
    /// RFC 5929 §4.1: hash of our leaf certificate.
    pub end_point: Vec<u8>,
}

impl Tls {
    /// With keys of `mox-keys`.
    #[must_use]
    pub fn new(keys: RemoteKeys) -> Self {
        Self { keys, provider: Arc::new(rustls::crypto::aws_lc_rs::default_provider()) }
    }

    /// Forgets certificates after they changed.
    pub fn forget(&self) {
        self.keys.forget();
    }

    /// Does the handshake. The caller sets the deadline.
    pub async fn accept<S>(&self, stream: S) -> Result<(TlsStream<S>, TlsFacts), TlsFault>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let start =
            LazyConfigAcceptor::new(Acceptor::default(), stream).await.map_err(TlsFault::Handshake)?;
        let server_name = start.client_hello().server_name().map(str::to_owned);
        let key = self.keys.for_name(server_name.as_deref()).await?;
        let end_point = key.cert.first().map(|leaf| end_point_hash(leaf)).unwrap_or_default();
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Fixed(key)));
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        config.max_early_data_size = 0;
        let stream = start.into_stream(Arc::new(config)).await.map_err(TlsFault::Handshake)?;
        let (_, connection) = stream.get_ref();
        let version = connection.protocol_version();
        let facts = TlsFacts {
            version: if version == Some(ProtocolVersion::TLSv1_3) { "TLS1.3" } else { "TLS1.2" },
            cipher: connection
                .negotiated_cipher_suite()
                .map(|s| format!("{:?}", s.suite()))
                .unwrap_or_default(),
            server_name,
            exporter: (version == Some(ProtocolVersion::TLSv1_3))
                .then(|| {
                    connection.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(b"")).ok()
                })
                .flatten(),
            end_point,
        };
        Ok((stream, facts))
    }
}

/// SHA-256, or the certificate's own hash where that is stronger (RFC 5929 §4.1).
fn end_point_hash(leaf: &[u8]) -> Vec<u8> {
    use aws_lc_rs::digest::{SHA256, SHA384, SHA512, digest};
    let oid = x509_parser::parse_x509_certificate(leaf)
        .map(|(_, cert)| cert.signature_algorithm.algorithm.to_id_string());
    let algorithm = match oid.as_deref() {
        Ok("1.2.840.10045.4.3.3" | "1.2.840.113549.1.1.12") => &SHA384,
        Ok("1.2.840.10045.4.3.4" | "1.2.840.113549.1.1.13") => &SHA512,
        _ => &SHA256,
    };
    digest(algorithm, leaf).as_ref().to_vec()
}

#[derive(Debug)]
struct Fixed(Arc<CertifiedKey>);

impl ResolvesServerCert for Fixed {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}
