//! TLS for our listeners, signed by `mox-keys`.
//!
//! Law: RFC 8446, RFC 5246 with RFC 8996 (no less than 1.2), RFC 9266 (`tls-exporter`), RFC 5929 §4
//! (`tls-server-end-point`). Session tickets are off unless asked for: some senders break on resumption (row TM-04),
//! and where nobody resumes, every handshake proves a client's key anew (row TM-06). Nothing is shared between processes.
//! A client certificate is asked for where people sign in; nothing of it counts but its key, and that the client has it
//! (rows AU-05, AU-07).

use libmox_keys::RemoteKeys;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{Acceptor, ClientHello, ProducesTickets, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, ProtocolVersion, ServerConfig, SignatureScheme};
use std::io;
use std::sync::{Arc, OnceLock};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

/// Accepts TLS with the keys of this host.
#[derive(Debug, Clone)]
pub struct Tls {
    keys: RemoteKeys,
    provider: Arc<CryptoProvider>,
    asks: bool,
    /// The one protocol spoken here, as RFC 7301 names it.
    speaks: Option<&'static str>,
    resumes: bool,
    /// Their keys, for all connections that have tickets.
    tickets: Arc<OnceLock<Arc<dyn ProducesTickets>>>,
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
    /// Of the client's certificate: base64url of the SHA-256 of its key (SubjectPublicKeyInfo), without padding.
    pub client_key: Option<String>,
}

impl Tls {
    /// With keys of `mox-keys`.
    #[must_use]
    pub fn new(keys: RemoteKeys) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        Self { keys, provider, asks: false, speaks: None, resumes: false, tickets: Arc::default() }
    }

    /// Lets clients resume sessions (row SR-37). Not for services that ask for certificates.
    #[must_use]
    pub fn resuming(mut self, resumes: bool) -> Self {
        self.resumes = resumes;
        self
    }

    fn ticketer(&self) -> Result<Arc<dyn ProducesTickets>, rustls::Error> {
        if let Some(tickets) = self.tickets.get() {
            return Ok(Arc::clone(tickets));
        }
        let fresh = rustls::crypto::aws_lc_rs::Ticketer::new()?;
        Ok(Arc::clone(self.tickets.get_or_init(|| fresh)))
    }

    /// Asks clients for a certificate, which they may have or not.
    #[must_use]
    pub fn asking(mut self, asks: bool) -> Self {
        self.asks = asks;
        self
    }

    /// Names the protocol to clients that ask for it among others; who asks for others only is served as well, as those that
    /// ask for nothing (RFC 7301 §3.1: the port says enough).
    #[must_use]
    pub fn speaking(mut self, protocol: &'static str) -> Self {
        self.speaks = Some(protocol);
        self
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
        let spoken = self.speaks.map(str::as_bytes).filter(|spoken| {
            start.client_hello().alpn().is_some_and(|mut asked| asked.any(|asked| asked == *spoken))
        });
        let key = self.keys.for_name(server_name.as_deref()).await?;
        let end_point = key.cert.first().map(|leaf| end_point_hash(leaf)).unwrap_or_default();
        let builder = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?;
        let mut config = match self.asks {
            true => builder.with_client_cert_verifier(Arc::new(AnyKey(Arc::clone(&self.provider)))),
            false => builder.with_no_client_auth(),
        }
        .with_cert_resolver(Arc::new(Fixed(key)));
        config.alpn_protocols = spoken.map(<[u8]>::to_vec).into_iter().collect();
        config.send_tls13_tickets = 0;
        if self.resumes && !self.asks {
            config.send_tls13_tickets = 2;
            config.ticketer = self.ticketer()?;
        }
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
            client_key: connection
                .peer_certificates()
                .and_then(|chain| chain.first())
                .and_then(|leaf| key_fingerprint(leaf)),
        };
        Ok((stream, facts))
    }
}

/// Names the key of a certificate (row AU-07). None where it cannot be read.
#[must_use]
pub fn key_fingerprint(certificate: &[u8]) -> Option<String> {
    use base64::Engine;
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate.public_key().raw);
    Some(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(digest.as_ref()))
}

/// Takes any certificate, and insists that the client has its key.
#[derive(Debug)]
struct AnyKey(Arc<CryptoProvider>);

impl ClientCertVerifier for AnyKey {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
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
