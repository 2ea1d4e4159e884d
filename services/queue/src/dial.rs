//! A connection to another server, in plain text or TLS.
//!
//! Law: RFC 7435: without a policy TLS is opportunistic, so any certificate will do; the handshake's own signature is
//! still checked. Policies (MTA-STS, DANE) are not known here yet.

use crate::limits;
use libmox_smtp::client::Failure;
use libmox_smtp::reply::{self, Answer};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// TLS towards other servers.
#[derive(Debug, Clone)]
pub struct OutgoingTls(Arc<ClientConfig>);

impl OutgoingTls {
    /// Opportunistic: anybody's certificate.
    pub fn new() -> Result<Self, rustls::Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
            .with_no_client_auth();
        Ok(Self(Arc::new(config)))
    }
}

#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A connection in use.
pub struct Link {
    stream: Box<dyn Stream>,
    input: Vec<u8>,
    /// For the journal and TLS reports: `TLS1.3 TLS13_AES_128_GCM_SHA256`.
    pub tls: Option<String>,
}

/// A failure of the network is always temporary.
fn lost(what: &str) -> Failure {
    Failure::local(false, "4.4.2", what)
}

impl Link {
    /// Connects.
    pub async fn connect(address: SocketAddr) -> Result<Self, Failure> {
        match timeout(limits::DIAL, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                crate::monitor::connected();
                let _ = stream.set_nodelay(true);
                Ok(Self { stream: Box::new(stream), input: Vec::new(), tls: None })
            }
            Ok(Err(error)) => Err(Failure::local(false, "4.4.1", &format!("connect to {address}: {error}"))),
            Err(_) => Err(Failure::local(false, "4.4.1", &format!("connect to {address}: no answer"))),
        }
    }

    /// The handshake. Bytes that came before it were not protected: the connection is given up.
    pub async fn start_tls(self, tls: &OutgoingTls, host: &str) -> Result<Self, Failure> {
        if !self.input.is_empty() {
            return Err(Failure::local(false, "4.7.5", "server sent data before the TLS handshake"));
        }
        let name = host.trim_end_matches('.').to_owned();
        let name = ServerName::try_from(name)
            .map_err(|_| Failure::local(false, "4.7.5", &format!("{host} is no name for TLS")))?;
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(&tls.0));
        let stream = timeout(limits::DIAL, connector.connect(name, self.stream))
            .await
            .map_err(|_| Failure::local(false, "4.7.5", "TLS handshake: no answer"))?
            .map_err(|error| Failure::local(false, "4.7.5", &format!("TLS handshake: {error}")))?;
        let (_, connection) = stream.get_ref();
        let version = connection.protocol_version().map(|v| format!("{v:?}")).unwrap_or_default();
        let cipher =
            connection.negotiated_cipher_suite().map(|s| format!("{:?}", s.suite())).unwrap_or_default();
        Ok(Self { stream: Box::new(stream), input: Vec::new(), tls: Some(format!("{version} {cipher}")) })
    }

    /// Sends.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let sending = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        match timeout(limits::BLOCK, sending).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(lost(&format!("connection lost while sending: {error}"))),
            Err(_) => Err(lost("server stopped reading")),
        }
    }

    /// The next reply.
    pub async fn reply(&mut self, wait: Duration) -> Result<Answer, Failure> {
        let reading = async {
            loop {
                match reply::parse(&self.input) {
                    Ok(Some((used, answer))) => {
                        self.input.drain(..used);
                        return Ok(answer);
                    }
                    Ok(None) => {}
                    Err(fault) => return Err(Failure::local(false, "4.5.0", &format!("server: {fault}"))),
                }
                let mut chunk = [0; 4096];
                match self.stream.read(&mut chunk).await {
                    Ok(0) => return Err(lost("server closed the connection")),
                    Ok(n) => self.input.extend_from_slice(&chunk[..n]),
                    Err(error) => return Err(lost(&format!("connection lost: {error}"))),
                }
            }
        };
        timeout(wait, reading).await.unwrap_or_else(|_| Err(lost("server did not answer in time")))
    }
}
