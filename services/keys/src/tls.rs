//! The host's TLS identity: certificate files of the admin, or an authority of our own.
//!
//! Law: RFC 5280 (what we issue), RFC 7672 §3.1.1 (keys that TLSA records name stay the same).

use crate::{KeysError, files};
use libmox_keys::{ChainReply, KeysFault};
use libmox_service::config::{Certificates, Static};
use libmox_service::paths;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::SignatureScheme;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::SigningKey;
use std::path::Path;
use std::sync::Arc;

/// The chain we show and the key behind it.
pub struct Identity {
    id: u64,
    chain: Vec<CertificateDer<'static>>,
    key: Arc<dyn SigningKey>,
    public_key: Vec<u8>,
    authority: Option<String>,
}

/// All schemes a TLS 1.2 or 1.3 peer may ask for, strongest first.
const SCHEMES: [SignatureScheme; 9] = [
    SignatureScheme::ED25519,
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::RSA_PSS_SHA512,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::RSA_PKCS1_SHA512,
    SignatureScheme::RSA_PKCS1_SHA384,
    SignatureScheme::RSA_PKCS1_SHA256,
];

/// Octets a handshake signs: a transcript hash with its context, or the key exchange of TLS 1.2.
const SIGNED_OCTETS: usize = 16 * 1024;

impl Identity {
    /// Reads it; makes what is missing of our own.
    pub fn open(state: &Path, config: &Static) -> Result<Self, KeysError> {
        // What systemd hands over counts without a word in the configuration, too.
        let credentials = paths::credential("tls-certificate").zip(paths::credential("tls-key"));
        let files = match &config.tls {
            Certificates::Files { certificate, key } => Some((certificate.clone(), key.clone())),
            Certificates::Own => None,
        };
        match credentials.or(files) {
            Some((certificate, key)) => {
                let chain = read_there(&certificate)?;
                let chain = CertificateDer::pem_slice_iter(&chain)
                    .collect::<Result<Vec<_>, _>>()
                    .map_err(|error| KeysError::Material(format!("{}: {error}", certificate.display())))?;
                let key = PrivateKeyDer::from_pem_slice(&read_there(&key)?)
                    .map_err(|error| KeysError::Material(format!("{}: {error}", key.display())))?;
                Self::new(chain, &key, None)
            }
            None => Self::own(state, config),
        }
    }

    fn own(state: &Path, config: &Static) -> Result<Self, KeysError> {
        let authority = key_file(&state.join("authority/key.pem"))?;
        let ca_path = state.join("authority/certificate.pem");
        let mut ca = CertificateParams::default();
        ca.distinguished_name.push(DnType::CommonName, "mox local authority");
        ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        ca.not_after = rcgen::date_time_ymd(2099, 1, 1);
        let pem = match files::read(&ca_path)? {
            Some(pem) => String::from_utf8_lossy(&pem).into_owned(),
            None => {
                let pem = ca.self_signed(&authority).map_err(|e| material(&e))?.pem();
                files::write(&ca_path, pem.as_bytes())?;
                pem
            }
        };
        let host = key_file(&state.join("tls/host-ecdsa.pem"))?;
        // Row SR-37: whatever name a client asks for, it gets this one, which has the names of all listeners.
        let mut names: Vec<String> = config.hostnames().map(|name| name.ascii().to_owned()).collect();
        for also in ["localhost", "127.0.0.1", "::1"] {
            if !names.iter().any(|name| name == also) {
                names.push(also.to_owned());
            }
        }
        let mut leaf = CertificateParams::new(names).map_err(|e| material(&e))?;
        leaf.distinguished_name.push(DnType::CommonName, config.hostname.ascii());
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        leaf.use_authority_key_identifier_extension = true;
        leaf.not_after = rcgen::date_time_ymd(2099, 1, 1);
        let issuer = Issuer::from_params(&ca, &authority);
        let certificate = leaf.signed_by(&host, &issuer).map_err(|e| material(&e))?;
        let key =
            PrivateKeyDer::try_from(host.serialize_der()).map_err(|e| KeysError::Material(e.to_owned()))?;
        Self::new(vec![certificate.der().clone()], &key, Some(pem))
    }

    fn new(
        chain: Vec<CertificateDer<'static>>,
        key: &PrivateKeyDer<'_>,
        authority: Option<String>,
    ) -> Result<Self, KeysError> {
        if chain.is_empty() {
            return Err(KeysError::Material("certificate file holds no certificate".into()));
        }
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(key)
            .map_err(|error| KeysError::Material(format!("private key: {error}")))?;
        let certified = rustls::sign::CertifiedKey::new(chain.clone(), Arc::clone(&key));
        certified.keys_match().map_err(|error| {
            KeysError::Material(format!("certificate and private key do not belong together: {error}"))
        })?;
        let public_key = key.public_key().map(|spki| spki.to_vec()).unwrap_or_default();
        Ok(Self { id: key_id(&public_key), chain, key, public_key, authority })
    }

    /// What to show.
    pub fn chain(&self) -> ChainReply {
        let can = |scheme: &SignatureScheme| self.key.choose_scheme(&[*scheme]).is_some();
        ChainReply {
            key: self.id,
            certificates: self.chain.iter().map(|der| serde_bytes::ByteBuf::from(der.to_vec())).collect(),
            schemes: SCHEMES.iter().filter(|s| can(s)).map(|s| u16::from(*s)).collect(),
            public_key: self.public_key.clone(),
        }
    }

    /// Signs for a handshake.
    pub fn sign(&self, key: u64, scheme: u16, message: &[u8]) -> Result<Vec<u8>, KeysFault> {
        if key != self.id {
            return Err(KeysFault::NoKey);
        }
        if message.len() > SIGNED_OCTETS {
            return Err(KeysFault::Invalid("too much to sign".into()));
        }
        let signer = self.key.choose_scheme(&[SignatureScheme::from(scheme)]).ok_or(KeysFault::BadScheme)?;
        signer.sign(message).map_err(|error| KeysFault::Unavailable(error.to_string()))
    }

    /// Our authority's certificate, PEM.
    pub fn authority(&self) -> Option<String> {
        self.authority.clone()
    }
}

fn material(error: &rcgen::Error) -> KeysError {
    KeysError::Material(error.to_string())
}

/// The same key keeps its id over restarts; another one never gets it.
fn key_id(public_key: &[u8]) -> u64 {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, public_key);
    digest.as_ref().first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

fn read_there(path: &Path) -> Result<Vec<u8>, KeysError> {
    files::read(path)?.ok_or_else(|| files::fault(path, std::io::ErrorKind::NotFound.into()))
}

/// A P-256 key, made on first use.
fn key_file(path: &Path) -> Result<KeyPair, KeysError> {
    if let Some(pem) = files::read(path)? {
        let pem = String::from_utf8_lossy(&pem);
        return KeyPair::from_pem(&pem)
            .map_err(|error| KeysError::Material(format!("{}: {error}", path.display())));
    }
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(|e| material(&e))?;
    files::write(path, key.serialize_pem().as_bytes())?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_survive_a_restart_and_only_known_ones_sign() {
        let dir = tempfile::tempdir().unwrap();
        let config = Static::parse("hostname = \"mail.example.org\"").unwrap();
        let first = Identity::open(dir.path(), &config).unwrap();
        let again = Identity::open(dir.path(), &config).unwrap();
        assert_eq!(first.chain().public_key, again.chain().public_key);
        assert_eq!(first.authority(), again.authority());
        let scheme = u16::from(SignatureScheme::ECDSA_NISTP256_SHA256);
        assert_eq!(first.chain().schemes, [scheme]);
        assert!(first.sign(first.id, scheme, b"hello").is_ok());
        assert_eq!(first.sign(first.id ^ 1, scheme, b"hello"), Err(KeysFault::NoKey));
        assert_eq!(
            first.sign(first.id, u16::from(SignatureScheme::RSA_PSS_SHA256), b"x"),
            Err(KeysFault::BadScheme)
        );
        assert!(matches!(
            first.sign(first.id, scheme, &vec![0; SIGNED_OCTETS + 1]),
            Err(KeysFault::Invalid(_))
        ));
    }

    #[test]
    fn files_that_do_not_belong_together_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let pair = || KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let (one, other) = (pair(), pair());
        let cert = CertificateParams::new(vec!["a.example".into()]).unwrap().self_signed(&one).unwrap();
        std::fs::write(dir.path().join("c.pem"), cert.pem()).unwrap();
        std::fs::write(dir.path().join("k.pem"), other.serialize_pem()).unwrap();
        let text = format!("[tls]\ncertificate = \"{0}/c.pem\"\nkey = \"{0}/k.pem\"\n", dir.path().display());
        let config = Static::parse(&text).unwrap();
        assert!(matches!(Identity::open(dir.path(), &config), Err(KeysError::Material(_))));
        std::fs::write(dir.path().join("k.pem"), one.serialize_pem()).unwrap();
        let identity = Identity::open(dir.path(), &config).unwrap();
        assert_eq!(identity.authority(), None);
        std::fs::remove_file(dir.path().join("k.pem")).unwrap();
        assert!(matches!(Identity::open(dir.path(), &config), Err(KeysError::File { .. })));
    }
}
