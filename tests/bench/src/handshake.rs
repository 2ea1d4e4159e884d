//! TLS handshakes with a key that signs in `mox-keys` and with one at hand, otherwise alike: TLS 1.3, ECDSA P-256.

use crate::instance::Instance;
use anyhow::Context as _;
use libmox_keys::{Keys, KeysRole, RemoteKeys};
use libmox_service::tls::Tls;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::crypto::aws_lc_rs;
use rustls::server::{Acceptor, NoServerSessionStorage};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{LazyConfigAcceptor, TlsConnector};

/// Sorted times of both kinds.
#[derive(Debug, Clone)]
pub struct Handshakes {
    pub remote: Vec<Duration>,
    pub local: Vec<Duration>,
}

/// Both in turn, so that a busy moment meets both.
pub async fn run(instance: &Instance, times: usize) -> anyhow::Result<Handshakes> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let socket = Path::new(&instance.text("/run")?).join(format!("{}.sock", KeysRole::Smtp.socket()));
    let remote = Tls::new(RemoteKeys::new(Keys::new(&socket, "mox-bench")));
    let remote_client = connector(instance)?;
    let (local, local_client) = at_hand()?;
    let mut result = Handshakes { remote: Vec::new(), local: Vec::new() };
    for round in 0..times + 10 {
        let serve = async {
            let mut stream = remote.accept(accept(&listener).await?).await?.0;
            anyhow::Ok(stream.write_all(b"!").await?)
        };
        let (served, took) = tokio::join!(serve, shake(&listener, &remote_client));
        served?;
        let took_remote = took?;
        let serve = async {
            let start = LazyConfigAcceptor::new(Acceptor::default(), accept(&listener).await?).await?;
            let mut stream = start.into_stream(Arc::clone(&local)).await?;
            anyhow::Ok(stream.write_all(b"!").await?)
        };
        let (served, took) = tokio::join!(serve, shake(&listener, &local_client));
        served?;
        // The first ones fetch the chain and warm up.
        if round >= 10 {
            result.remote.push(took_remote);
            result.local.push(took?);
        }
    }
    result.remote.sort_unstable();
    result.local.sort_unstable();
    Ok(result)
}

async fn accept(listener: &TcpListener) -> anyhow::Result<TcpStream> {
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// From the connected socket to the first octet under TLS.
async fn shake(listener: &TcpListener, connector: &TlsConnector) -> anyhow::Result<Duration> {
    let stream = TcpStream::connect(listener.local_addr()?).await?;
    stream.set_nodelay(true)?;
    let begun = Instant::now();
    let mut stream = connector.connect(name()?, stream).await?;
    stream.read_u8().await?;
    Ok(begun.elapsed())
}

/// What the certificates of an instance are for.
pub fn name() -> anyhow::Result<ServerName<'static>> {
    Ok(ServerName::try_from("localhost")?)
}

/// A client that trusts the instance's own authority.
pub fn connector(instance: &Instance) -> anyhow::Result<TlsConnector> {
    let pem = instance.text("/ca")?;
    trusting(CertificateDer::from_pem_file(&pem).with_context(|| format!("cannot read {pem}"))?)
}

fn trusting(authority: CertificateDer<'static>) -> anyhow::Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    roots.add(authority)?;
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// The same settings as the services have, with the key in this process.
fn at_hand() -> anyhow::Result<(Arc<ServerConfig>, TlsConnector)> {
    let authority_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&authority_key)?;
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let issuer = Issuer::new(params, authority_key);
    let leaf = CertificateParams::new(vec!["localhost".into()])?.signed_by(&key, &issuer)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)?;
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok((Arc::new(config), trusting(authority.der().clone())?))
}
