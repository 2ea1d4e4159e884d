//! DKIM keys: made here, signed with here.
//!
//! Law: RFC 6376 §3.3 and §3.7, RFC 8301 (2048 bits), RFC 8463 §3 (Ed25519 signs the SHA-256 of the data).

use crate::{KeysError, files};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use libmox_keys::{DkimAlgorithm, DkimHow, DkimKey, KeysFault};
use libmox_service::config::Domains;
use libmox_types::Domain;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

/// Octets of canonical header data. RFC 6376 §3.7: the signed fields, which are far less.
const SIGNED_OCTETS: usize = 256 * 1024;

/// All DKIM keys by domain and selector.
pub struct Keyring {
    folder: PathBuf,
    keys: RwLock<BTreeMap<(Domain, String), Arc<Entry>>>,
    /// Which of them sign, and how.
    config: RwLock<Arc<Domains>>,
}

struct Entry {
    public: DkimKey,
    secret: Secret,
}

enum Secret {
    Rsa(RsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

fn algorithm_name(algorithm: DkimAlgorithm) -> &'static str {
    match algorithm {
        DkimAlgorithm::Rsa2048 => "rsa2048",
        DkimAlgorithm::Ed25519 => "ed25519",
    }
}

impl Keyring {
    /// Reads all keys. One that cannot be read is an error: mail must not silently go out unsigned.
    pub fn open(folder: &Path, config: Arc<Domains>) -> Result<Self, KeysError> {
        let mut keys = BTreeMap::new();
        for domain_folder in entries(folder)? {
            for path in entries(&domain_folder)? {
                if let Some(entry) = read_entry(&domain_folder, &path)? {
                    keys.insert(
                        (entry.public.domain.clone(), entry.public.selector.clone()),
                        Arc::new(entry),
                    );
                }
            }
        }
        let ring = Self { folder: folder.to_owned(), keys: RwLock::new(keys), config: RwLock::default() };
        ring.configure(config);
        Ok(ring)
    }

    /// Takes what `domains.toml` says.
    pub fn configure(&self, config: Arc<Domains>) {
        {
            let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
            for (domain, its) in &config.domains {
                for selector in its.dkim.sign.iter().flatten() {
                    if !keys.contains_key(&(domain.clone(), selector.clone())) {
                        tracing::error!(%domain, selector, "there is no such key to sign with");
                    }
                }
            }
        }
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
    }

    /// A key as it is configured. Row MA-05.
    fn told(&self, mut key: DkimKey) -> DkimKey {
        let config = Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner));
        if let Some(its) = config.domains.get(&key.domain) {
            if let Some(sign) = &its.dkim.sign {
                key.signs = sign.contains(&key.selector);
            }
            key.how = its.dkim.selectors.get(&key.selector).cloned().unwrap_or_default();
        }
        key
    }

    /// The keys of a domain, or of its nearest parent that has some.
    pub fn for_domain(&self, domain: &Domain) -> Vec<DkimKey> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let mut at = Some(domain.clone());
        while let Some(domain) = at {
            let found: Vec<DkimKey> = keys
                .values()
                .filter(|entry| entry.public.domain == domain)
                .map(|entry| self.told(entry.public.clone()))
                .collect();
            if !found.is_empty() {
                return found;
            }
            at = domain.parent();
        }
        Vec::new()
    }

    /// Signs canonical header data.
    pub fn sign(&self, domain: &Domain, selector: &str, data: &[u8]) -> Result<Vec<u8>, KeysFault> {
        if data.len() > SIGNED_OCTETS {
            return Err(KeysFault::Invalid("too much to sign".into()));
        }
        let entry = {
            let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(keys.get(&(domain.clone(), selector.to_owned())).ok_or(KeysFault::NoKey)?)
        };
        match &entry.secret {
            Secret::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), data, &mut signature)
                    .map_err(|_| KeysFault::Unavailable("signature failed".into()))?;
                Ok(signature)
            }
            Secret::Ed25519(key) => {
                let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, data);
                Ok(key.sign(digest.as_ref()).as_ref().to_vec())
            }
        }
    }

    /// Makes a key. Never overwrites one.
    pub fn generate(
        &self,
        domain: &Domain,
        selector: &str,
        algorithm: DkimAlgorithm,
        signs: bool,
    ) -> Result<DkimKey, KeysFault> {
        let label = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if selector.is_empty() || selector.len() > 63 || !selector.chars().all(label) {
            return Err(KeysFault::Invalid("a selector is lower case letters, digits and hyphens".into()));
        }
        let place = (domain.clone(), selector.to_owned());
        if self.keys.read().unwrap_or_else(PoisonError::into_inner).contains_key(&place) {
            return Err(KeysFault::Exists);
        }
        let failed = |_| KeysFault::Unavailable("key generation failed".into());
        let der = match algorithm {
            DkimAlgorithm::Rsa2048 => {
                let key = RsaKeyPair::generate(KeySize::Rsa2048).map_err(failed)?;
                AsDer::<Pkcs8V1Der<'_>>::as_der(&key).map_err(failed)?.as_ref().to_vec()
            }
            DkimAlgorithm::Ed25519 => {
                Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(failed)?.as_ref().to_vec()
            }
        };
        let entry = entry(domain.clone(), selector.to_owned(), algorithm, signs, &der)?;
        let mode = if signs { "signs" } else { "spare" };
        let file = format!("{selector}.{}.{mode}.pem", algorithm_name(algorithm));
        files::write(&self.folder.join(domain.ascii()).join(file), pem(&der).as_bytes())?;
        let public = entry.public.clone();
        self.keys.write().unwrap_or_else(PoisonError::into_inner).insert(place, Arc::new(entry));
        Ok(public)
    }
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, KeysError> {
    match std::fs::read_dir(folder) {
        Ok(list) => list.map(|e| e.map(|e| e.path()).map_err(|cause| files::fault(folder, cause))).collect(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(cause) => Err(files::fault(folder, cause)),
    }
}

/// Reads `<selector>.<algorithm>.<mode>.pem`; other names (such as half-written files) are passed over.
fn read_entry(folder: &Path, path: &Path) -> Result<Option<Entry>, KeysError> {
    let text = |p: &Path| p.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let (domain, file) = (text(folder), text(path));
    let parts: Vec<&str> = file.split('.').collect();
    let [selector, algorithm, mode, "pem"] = parts[..] else { return Ok(None) };
    let bad = |what: &str| KeysError::Material(format!("{}: {what}", path.display()));
    let domain = Domain::parse(&domain).map_err(|error| bad(&error.to_string()))?;
    let algorithm = [DkimAlgorithm::Rsa2048, DkimAlgorithm::Ed25519]
        .into_iter()
        .find(|a| algorithm_name(*a) == algorithm)
        .ok_or_else(|| bad("unknown algorithm"))?;
    let pem = files::read(path)?.unwrap_or_default();
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| bad(&error.to_string()))?;
    entry(domain, selector.to_owned(), algorithm, mode == "signs", key.secret_der()).map(Some)
}

fn entry(
    domain: Domain,
    selector: String,
    algorithm: DkimAlgorithm,
    signs: bool,
    der: &[u8],
) -> Result<Entry, KeysError> {
    let bad = |error: aws_lc_rs::error::KeyRejected| {
        KeysError::Material(format!("DKIM key {selector} of {domain}: {error}"))
    };
    let (secret, public) = match algorithm {
        DkimAlgorithm::Rsa2048 => {
            let key = RsaKeyPair::from_pkcs8(der).map_err(bad)?;
            // RFC 6376 §3.6.1: SubjectPublicKeyInfo.
            let spki: PublicKeyX509Der<'_> = key.public_key().as_der().map_err(|_| {
                KeysError::Material(format!("DKIM key {selector} of {domain} has no public half"))
            })?;
            let public = STANDARD.encode(spki.as_ref());
            (Secret::Rsa(key), public)
        }
        DkimAlgorithm::Ed25519 => {
            let key = Ed25519KeyPair::from_pkcs8(der).map_err(bad)?;
            // RFC 8463 §4: the 32 octets alone.
            let public = STANDARD.encode(key.public_key().as_ref());
            (Secret::Ed25519(key), public)
        }
    };
    let how = DkimHow::default();
    Ok(Entry { public: DkimKey { domain, selector, algorithm, signs, public, how }, secret })
}

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> =
        (0..text.len()).step_by(64).filter_map(|at| text.get(at..text.len().min(at + 64))).collect();
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{ED25519, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

    #[test]
    fn made_keys_sign_now_and_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let domain = Domain::parse("example.org").unwrap();
        let ring = Keyring::open(dir.path(), Arc::default()).unwrap();
        let rsa = ring.generate(&domain, "2026a", DkimAlgorithm::Rsa2048, true).unwrap();
        let ed = ring.generate(&domain, "2026b", DkimAlgorithm::Ed25519, false).unwrap();
        assert_eq!(ring.generate(&domain, "2026a", DkimAlgorithm::Ed25519, true), Err(KeysFault::Exists));
        for bad in ["", "../x", "A", "a.b"] {
            assert!(matches!(
                ring.generate(&domain, bad, DkimAlgorithm::Ed25519, true),
                Err(KeysFault::Invalid(_))
            ));
        }
        let again = Keyring::open(dir.path(), Arc::default()).unwrap();
        // Row MA-07: the host uses the keys of the nearest parent.
        let host = Domain::parse("mail.example.org").unwrap();
        assert_eq!(again.for_domain(&host), [rsa.clone(), ed.clone()]);
        assert_eq!(again.for_domain(&Domain::parse("example.net").unwrap()), []);
        let signature = again.sign(&domain, "2026a", b"data").unwrap();
        let spki = STANDARD.decode(&rsa.public).unwrap();
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &spki).verify(b"data", &signature).unwrap();
        let signature = again.sign(&domain, "2026b", b"data").unwrap();
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"data");
        let raw = STANDARD.decode(&ed.public).unwrap();
        UnparsedPublicKey::new(&ED25519, &raw).verify(digest.as_ref(), &signature).unwrap();
        assert_eq!(again.sign(&domain, "2026c", b"data"), Err(KeysFault::NoKey));

        // Row MA-05: what the file says is stronger than what the key was made for.
        let text = "[domains.\"example.org\".dkim]\nsign = [\"2026b\", \"gone\"]\n\
            [domains.\"example.org\".dkim.selectors.2026b]\nexpiration = \"72h\"\nseal-headers = true\n";
        again.configure(Arc::new(Domains::parse(text).unwrap()));
        let signing: Vec<DkimKey> = again.for_domain(&host).into_iter().filter(|key| key.signs).collect();
        let [key] = &signing[..] else { panic!("{signing:?}") };
        assert_eq!((key.selector.as_str(), key.how.expiration), ("2026b", Some(72 * 3600)));
        assert_eq!(key.how.seal, Some(true));
    }
}
