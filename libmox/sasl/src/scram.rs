//! The arithmetic of SCRAM: what is kept of a password, and checking a proof against it.
//!
//! Law: RFC 5802 §3, RFC 7677. Comparisons are in constant time.

use crate::{Fault, Secret, limits};
use aws_lc_rs::{constant_time, digest, hmac, pbkdf2};
use std::num::NonZeroU32;

/// The hash of a SCRAM family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hash {
    /// RFC 5802.
    Sha1,
    /// RFC 7677.
    Sha256,
}

impl Hash {
    /// Octets of its output.
    #[must_use]
    pub const fn len(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    /// Never: for the lint that wants it beside `len`.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        false
    }

    fn hmac(self, key: &[u8], data: &[u8]) -> Vec<u8> {
        let algorithm = match self {
            Self::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => hmac::HMAC_SHA256,
        };
        hmac::sign(&hmac::Key::new(algorithm, key), data).as_ref().to_vec()
    }

    fn digest(self, data: &[u8]) -> Vec<u8> {
        let algorithm = match self {
            Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &digest::SHA256,
        };
        digest::digest(algorithm, data).as_ref().to_vec()
    }

    /// `Hi(password, salt, i)`.
    fn salted(self, password: &Secret, salt: &[u8], iterations: NonZeroU32) -> Vec<u8> {
        let algorithm = match self {
            Self::Sha1 => pbkdf2::PBKDF2_HMAC_SHA1,
            Self::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
        };
        let mut out = vec![0; self.len()];
        pbkdf2::derive(algorithm, iterations, salt, password.0.as_bytes(), &mut out);
        out
    }
}

/// What is kept instead of a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    /// Which SCRAM.
    pub hash: Hash,
    /// Random.
    pub salt: Vec<u8>,
    /// Of PBKDF2.
    pub iterations: u32,
    /// `H(ClientKey)`.
    pub stored_key: Vec<u8>,
    /// Proves the server.
    pub server_key: Vec<u8>,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier").field("hash", &self.hash).finish_non_exhaustive()
    }
}

/// Makes the verifier of a prepared password ([`crate::prepare_password`]). Zero iterations count as one.
#[must_use]
pub fn derive(hash: Hash, password: &Secret, salt: &[u8], iterations: u32) -> Verifier {
    let rounds = NonZeroU32::new(iterations).unwrap_or(NonZeroU32::MIN);
    let salted = hash.salted(password, salt, rounds);
    Verifier {
        hash,
        salt: salt.to_vec(),
        iterations: rounds.get(),
        stored_key: hash.digest(&hash.hmac(&salted, b"Client Key")),
        server_key: hash.hmac(&salted, b"Server Key"),
    }
}

/// Checks `ClientProof` over `AuthMessage`; the `ServerSignature` if it is right.
#[must_use]
pub fn verify(verifier: &Verifier, auth_message: &[u8], proof: &[u8]) -> Option<Vec<u8>> {
    let hash = verifier.hash;
    if proof.len() != hash.len() {
        return None;
    }
    let signature = hash.hmac(&verifier.stored_key, auth_message);
    let client_key: Vec<u8> = proof.iter().zip(&signature).map(|(a, b)| a ^ b).collect();
    constant_time::verify_slices_are_equal(&hash.digest(&client_key), &verifier.stored_key).ok()?;
    Some(hash.hmac(&verifier.server_key, auth_message))
}

/// A salt for a name nobody has: always the same for it, so that it does not show that nobody has it.
#[must_use]
pub fn decoy_salt(server_secret: &[u8], hash: Hash, username: &str) -> Vec<u8> {
    let mut salt = Hash::Sha256.hmac(server_secret, format!("{hash:?}\0{username}").as_bytes());
    salt.truncate(16);
    salt
}

/// `ClientProof`, and the signature a true server will show.
pub(crate) fn prove(
    hash: Hash,
    password: &Secret,
    salt: &[u8],
    iterations: u32,
    auth_message: &[u8],
) -> Result<(Vec<u8>, Vec<u8>), Fault> {
    let rounds =
        NonZeroU32::new(iterations).filter(|n| n.get() <= limits::ITERATIONS).ok_or(Fault::Iterations)?;
    let salted = hash.salted(password, salt, rounds);
    let client_key = hash.hmac(&salted, b"Client Key");
    let signature = hash.hmac(&hash.digest(&client_key), auth_message);
    let proof = client_key.iter().zip(&signature).map(|(a, b)| a ^ b).collect();
    Ok((proof, hash.hmac(&hash.hmac(&salted, b"Server Key"), auth_message)))
}

/// Equal, told in constant time.
pub(crate) fn same(a: &[u8], b: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(a, b).is_ok()
}

/// A username with `=2C` and `=3D` undone. RFC 5802 §5.1: any other `=` is a fault.
pub(crate) fn unescape(name: &str) -> Result<String, Fault> {
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(at) = rest.find('=') {
        out.push_str(&rest[..at]);
        out.push(match rest.get(at + 1..at + 3) {
            Some("2C") => ',',
            Some("3D") => '=',
            _ => return Err(Fault::Malformed),
        });
        rest = &rest[at + 3..];
    }
    out.push_str(rest);
    Ok(out)
}

/// The other way.
pub(crate) fn escape(name: &str) -> String {
    name.replace('=', "=3D").replace(',', "=2C")
}
