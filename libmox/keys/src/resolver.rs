//! rustls with keys that live in another process.
//!
//! rustls signs synchronously, so [`Signer::sign`] blocks its thread for the round trip (about 0.1 ms) inside
//! `block_in_place`: the runtime must be the multi-threaded one. The chain is fetched by [`RemoteKeys::for_name`]
//! before the handshake goes on, because only an async caller can wait for it.

use crate::{Chain, Keys, SignTls};
use rustls::pki_types::CertificateDer;
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A handshake waits this long for a signature.
const SIGN_WAIT: Duration = Duration::from_secs(2);
/// A chain is asked for again after this.
const CHAIN_KEEP: Duration = Duration::from_secs(60);
/// Names whose chains are remembered.
const CHAINS: usize = 256;

/// Why there is no certificate to show.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// `mox-keys` did not give a chain.
    #[error("no certificate")]
    Chain(#[source] crate::KeysError),
    /// It offers no scheme we know.
    #[error("key has no usable signature scheme")]
    Scheme,
}

type Chains = HashMap<Option<String>, (Instant, Arc<CertifiedKey>)>;

/// The keys of this host, as far as a handshake needs them.
#[derive(Debug, Clone)]
pub struct RemoteKeys {
    keys: Keys,
    chains: Arc<Mutex<Chains>>,
}

impl RemoteKeys {
    /// Asks through this client.
    #[must_use]
    pub fn new(keys: Keys) -> Self {
        Self { keys, chains: Arc::default() }
    }

    /// The chain for a server name with a key that signs remotely.
    pub async fn for_name(&self, server_name: Option<&str>) -> Result<Arc<CertifiedKey>, SigningError> {
        let name = server_name.map(str::to_ascii_lowercase);
        let now = Instant::now();
        if let Some((when, key)) = self.chains().get(&name)
            && now.duration_since(*when) < CHAIN_KEEP
        {
            return Ok(Arc::clone(key));
        }
        let reply = self.keys.ask(Chain { server_name: name.clone() }).await.map_err(SigningError::Chain)?;
        let schemes: Vec<SignatureScheme> = reply.schemes.iter().map(|n| SignatureScheme::from(*n)).collect();
        let algorithm =
            schemes.first().and_then(|scheme| algorithm_of(*scheme)).ok_or(SigningError::Scheme)?;
        let chain = reply.certificates.into_iter().map(|der| CertificateDer::from(der.into_vec())).collect();
        let key = RemoteKey { keys: self.keys.clone(), id: reply.key, schemes, algorithm };
        let certified = Arc::new(CertifiedKey::new(chain, Arc::new(key)));
        let mut chains = self.chains();
        if chains.len() >= CHAINS {
            // Names come from strangers: forgetting all is cheap, growing is not.
            chains.clear();
        }
        chains.insert(name, (now, Arc::clone(&certified)));
        Ok(certified)
    }

    /// Forgets all chains, after certificates changed.
    pub fn forget(&self) {
        self.chains().clear();
    }

    fn chains(&self) -> std::sync::MutexGuard<'_, Chains> {
        self.chains.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn algorithm_of(scheme: SignatureScheme) -> Option<SignatureAlgorithm> {
    use SignatureScheme as S;
    match scheme {
        S::ECDSA_NISTP256_SHA256 | S::ECDSA_NISTP384_SHA384 | S::ECDSA_NISTP521_SHA512 => {
            Some(SignatureAlgorithm::ECDSA)
        }
        S::ED25519 => Some(SignatureAlgorithm::ED25519),
        S::RSA_PSS_SHA256
        | S::RSA_PSS_SHA384
        | S::RSA_PSS_SHA512
        | S::RSA_PKCS1_SHA256
        | S::RSA_PKCS1_SHA384
        | S::RSA_PKCS1_SHA512 => Some(SignatureAlgorithm::RSA),
        _ => None,
    }
}

#[derive(Debug)]
struct RemoteKey {
    keys: Keys,
    id: u64,
    schemes: Vec<SignatureScheme>,
    algorithm: SignatureAlgorithm,
}

impl SigningKey for RemoteKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let scheme = *self.schemes.iter().find(|scheme| offered.contains(scheme))?;
        Some(Box::new(RemoteSigner { keys: self.keys.clone(), id: self.id, scheme }))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }
}

#[derive(Debug)]
struct RemoteSigner {
    keys: Keys,
    id: u64,
    scheme: SignatureScheme,
}

impl Signer for RemoteSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let verb = SignTls { key: self.id, scheme: u16::from(self.scheme), message: message.to_vec() };
        let runtime = tokio::runtime::Handle::try_current()
            .map_err(|_| rustls::Error::General("handshake outside the runtime".into()))?;
        tokio::task::block_in_place(|| runtime.block_on(tokio::time::timeout(SIGN_WAIT, self.keys.ask(verb))))
            .map_err(|_| rustls::Error::General("signature took too long".into()))?
            .map(serde_bytes::ByteBuf::into_vec)
            .map_err(|error| rustls::Error::General(format!("no signature: {error}")))
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}
