//! A connection of lines, in the clear or under TLS.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Until a server that says nothing is given up.
const SILENCE: Duration = Duration::from_secs(30);
/// No line of a server is longer.
const LINE_OCTETS: usize = 1 << 20;

/// A client that trusts one authority and nobody else.
#[derive(Debug, Clone)]
pub struct Tls(Arc<ClientConfig>);

impl Tls {
    /// Trusts the certificates of a PEM file.
    pub fn trusting(authority: &Path) -> io::Result<Self> {
        Self::made(authority, rustls::ALL_VERSIONS, None)
    }

    /// The same, no newer than TLS 1.2.
    pub fn old(authority: &Path) -> io::Result<Self> {
        Self::made(authority, &[&rustls::version::TLS12], None)
    }

    /// The same, showing the certificate and key of two PEM files.
    pub fn showing(authority: &Path, certificate: &Path, key: &Path) -> io::Result<Self> {
        let certificate = CertificateDer::from_pem_file(certificate).map_err(io::Error::other)?;
        let key = PrivateKeyDer::from_pem_file(key).map_err(io::Error::other)?;
        Self::made(authority, rustls::ALL_VERSIONS, Some((certificate, key)))
    }

    /// The same, asking for a protocol by its name of RFC 7301.
    #[must_use]
    pub fn asking_for(&self, protocol: &str) -> Self {
        let mut config = ClientConfig::clone(&self.0);
        config.alpn_protocols = vec![protocol.into()];
        Self(Arc::new(config))
    }

    fn made(
        authority: &Path,
        versions: &[&'static rustls::SupportedProtocolVersion],
        shown: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>,
    ) -> io::Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(authority).map_err(io::Error::other)? {
            roots.add(certificate.map_err(io::Error::other)?).map_err(io::Error::other)?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .map_err(io::Error::other)?
            .with_root_certificates(roots);
        let config = match shown {
            Some((certificate, key)) => {
                config.with_client_auth_cert(vec![certificate], key).map_err(io::Error::other)?
            }
            None => config.with_no_client_auth(),
        };
        Ok(Self(Arc::new(config)))
    }
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// One connection.
pub struct Line {
    stream: Stream,
    buffer: Vec<u8>,
}

impl Line {
    /// In the clear.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, SILENCE)?;
        stream.set_read_timeout(Some(SILENCE))?;
        stream.set_write_timeout(Some(SILENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: Stream::Plain(stream), buffer: Vec::new() })
    }

    /// The handshake is done when this returns.
    pub fn into_tls(self, tls: &Tls) -> io::Result<Self> {
        if !self.buffer.is_empty() {
            return Err(io::Error::other("the server said more than its answer to STARTTLS"));
        }
        self.shake_hands(Self::session(tls)?)
    }

    /// In a hurry: the handshake begins right behind the command that asks for it, and only then is the answer read.
    pub fn command_and_tls(mut self, command: &str, tls: &Tls) -> io::Result<(String, Self)> {
        let mut session = Self::session(tls)?;
        let mut octets = format!("{command}\r\n").into_bytes();
        session.write_tls(&mut octets)?;
        self.send(&octets)?;
        let answer = self.expect_line()?;
        Ok((answer, self.shake_hands(session)?))
    }

    fn session(tls: &Tls) -> io::Result<ClientConnection> {
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        ClientConnection::new(Arc::clone(&tls.0), name).map_err(io::Error::other)
    }

    fn shake_hands(self, mut session: ClientConnection) -> io::Result<Self> {
        let Stream::Plain(mut stream) = self.stream else { return Err(io::Error::other("TLS already")) };
        if !self.buffer.is_empty() {
            // The server is in a hurry, too.
            session.read_tls(&mut &self.buffer[..])?;
            session.process_new_packets().map_err(io::Error::other)?;
        }
        while session.is_handshaking() {
            session.complete_io(&mut stream)?;
        }
        Ok(Self { stream: Stream::Tls(Box::new(StreamOwned::new(session, stream))), buffer: Vec::new() })
    }

    /// RFC 9266: 32 octets that both ends of this TLS 1.3 connection know.
    #[must_use]
    pub fn exporter(&self) -> Option<Vec<u8>> {
        let Stream::Tls(stream) = &self.stream else { return None };
        let material = stream.conn.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(b""));
        material.ok().map(|octets| octets.to_vec())
    }

    /// The certificate that the server showed.
    #[must_use]
    pub fn certificate(&self) -> Option<Vec<u8>> {
        let Stream::Tls(stream) = &self.stream else { return None };
        Some(stream.conn.peer_certificates()?.first()?.to_vec())
    }

    /// What the server said it speaks (RFC 7301).
    #[must_use]
    pub fn protocol(&self) -> Option<String> {
        let Stream::Tls(stream) = &self.stream else { return None };
        stream.conn.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned())
    }

    /// Whether this connection went on with the keys of an earlier one.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        let Stream::Tls(stream) = &self.stream else { return false };
        stream.conn.handshake_kind() == Some(rustls::HandshakeKind::Resumed)
    }

    /// Sends octets as they are.
    pub fn send(&mut self, octets: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Stream::Plain(stream) => stream.write_all(octets),
            Stream::Tls(stream) => stream.write_all(octets).and_then(|()| stream.flush()),
        }
    }

    /// The next line without its CRLF; none at the end.
    pub fn line(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|two| two == b"\r\n") {
                let line = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
                self.buffer.drain(..end + 2);
                return Ok(Some(line));
            }
            if self.buffer.len() > LINE_OCTETS {
                return Err(io::Error::other("endless line"));
            }
            if !self.fill()? {
                return if self.buffer.is_empty() { Ok(None) } else { Err(io::Error::other("half a line")) };
            }
        }
    }

    /// The next line; the end is an error.
    pub fn expect_line(&mut self) -> io::Result<String> {
        self.line()?.ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed"))
    }

    /// Exactly so many octets.
    pub fn octets(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < count {
            if !self.fill()? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.buffer.drain(..count).collect())
    }

    /// Everything until the server closes.
    pub fn rest(&mut self) -> io::Result<Vec<u8>> {
        while self.fill()? {}
        Ok(std::mem::take(&mut self.buffer))
    }

    /// Says nothing more; what the server says can still be read.
    pub fn half_close(&mut self) -> io::Result<()> {
        match &mut self.stream {
            Stream::Plain(stream) => stream.shutdown(Shutdown::Write),
            Stream::Tls(stream) => {
                stream.conn.send_close_notify();
                stream.flush()?;
                stream.sock.shutdown(Shutdown::Write)
            }
        }
    }

    /// False at the end.
    fn fill(&mut self) -> io::Result<bool> {
        let mut piece = [0; 16 * 1024];
        let read = match &mut self.stream {
            Stream::Plain(stream) => stream.read(&mut piece),
            Stream::Tls(stream) => stream.read(&mut piece),
        };
        match read {
            Ok(count) => {
                self.buffer.extend_from_slice(&piece[..count]);
                Ok(count > 0)
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }
}
