//! `mox-keys` with one key that is always the same, for tests of what is signed.

use crate::{DkimAlgorithm, DkimHow, DkimKey, Keys, KeysContract, KeysFault, Reply, Request};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{Ed25519KeyPair, RSA_PKCS1_SHA256};
use std::sync::Arc;

/// The key.
pub enum OneKey {
    Ed25519(Ed25519KeyPair),
    Rsa(Box<RsaKeyPair>),
}

impl OneKey {
    /// From a seed that is no secret.
    pub fn ed25519() -> Self {
        let seed: Vec<u8> = (0..32).map(|at: u8| at.wrapping_mul(7)).collect();
        Self::Ed25519(Ed25519KeyPair::from_seed_unchecked(&seed).unwrap())
    }

    /// `rsa.pem` of a folder.
    pub fn rsa(folder: &std::path::Path) -> Self {
        use base64::Engine;
        let text = std::fs::read_to_string(folder.join("rsa.pem")).unwrap();
        let body: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
        let der = base64::engine::general_purpose::STANDARD.decode(body).unwrap();
        Self::Rsa(Box::new(RsaKeyPair::from_pkcs8(&der).unwrap()))
    }
}

/// How it signs is told with it.
struct Told {
    key: OneKey,
    how: DkimHow,
}

impl libmox_ipc::Service for Told {
    type Contract = KeysContract;
    type Peer = ();

    fn may(&self, (): &(), _: &Request) -> Result<(), libmox_ipc::Refusal> {
        Ok(())
    }

    async fn call(
        self: Arc<Self>,
        _: Arc<()>,
        request: Request,
        _: Vec<std::os::fd::OwnedFd>,
        answer: libmox_ipc::Answer<KeysContract>,
    ) {
        let outcome = match request {
            Request::DkimKeys(ask) => Ok(Reply::DkimKeys(vec![DkimKey {
                domain: ask.domain,
                selector: "sel".into(),
                algorithm: match self.key {
                    OneKey::Ed25519(_) => DkimAlgorithm::Ed25519,
                    OneKey::Rsa(_) => DkimAlgorithm::Rsa2048,
                },
                signs: true,
                public: String::new(),
                how: self.how.clone(),
            }])),
            Request::SignDkim(ask) => {
                let signature = match &self.key {
                    // RFC 8463 §3: Ed25519 signs the hash of the data.
                    OneKey::Ed25519(pair) => {
                        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &ask.data);
                        pair.sign(hash.as_ref()).as_ref().to_vec()
                    }
                    OneKey::Rsa(pair) => {
                        let mut signature = vec![0; pair.public_modulus_len()];
                        pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), &ask.data, &mut signature)
                            .unwrap();
                        signature
                    }
                };
                Ok(Reply::SignDkim(serde_bytes::ByteBuf::from(signature)))
            }
            _ => Err(KeysFault::Forbidden),
        };
        answer.reply(outcome).await;
    }
}

/// Its client, and what has to be held meanwhile.
pub async fn keys(key: OneKey) -> (Keys, tempfile::TempDir) {
    keys_with(key, DkimHow::default()).await
}

/// The same, signing in its own way.
pub async fn keys_with(key: OneKey, how: DkimHow) -> (Keys, tempfile::TempDir) {
    let key = Told { key, how };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.sock");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        libmox_ipc::serve(Arc::new(key), (), stream, "keys").await
    });
    (Keys::new(&path, "test"), folder)
}
