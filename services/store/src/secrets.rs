//! What is kept of passwords, and whether one is right. Arithmetic only; the records are in `records.rs`.
//!
//! All secrets of an account share its salts for SCRAM: the client is told one salt before it is known with which of the
//! account's passwords it will prove itself.

use crate::limits::PASSWORD_CHECKS;
use crate::records::{AppRecord, Argon2, Scram, Secrets};
use argon2::{Algorithm, Block, Params, Version};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;
use libmox_sasl::scram::{Hash, Verifier};
use libmox_sasl::{Secret, cram, scram};
use libmox_store::Scopes;
use libmox_types::{AccountId, Timestamp};
use std::sync::{Mutex, PoisonError};

/// Rounds of PBKDF2. RFC 7677 §4 asks for at least 4096.
pub const ITERATIONS: u32 = 10_000;
/// Octets of a salt.
pub const SALT_OCTETS: usize = 16;

/// The salts for SCRAM-SHA-1 and SCRAM-SHA-256.
pub type Salts = [Vec<u8>; 2];

/// Random octets.
pub fn random(octets: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(octets + 8);
    while bytes.len() < octets {
        bytes.extend_from_slice(&libmox_service::clock::random_u64().to_le_bytes());
    }
    bytes.truncate(octets);
    bytes
}

/// The salts of an account that has no secret yet.
pub fn first_salts(server_secret: &[u8], account: AccountId) -> Salts {
    [Hash::Sha1, Hash::Sha256].map(|hash| {
        // No login name has a NUL, so this is no salt of a name nobody has.
        let mut salt = scram::decoy_salt(server_secret, hash, &format!("\0account {}", account.0));
        salt.truncate(SALT_OCTETS);
        salt
    })
}

/// The salts that a password of the account was derived with.
pub fn salts_of(secrets: &Secrets) -> Salts {
    [secrets.scram_sha1.salt.clone(), secrets.scram_sha256.salt.clone()]
}

/// Working memory, used again: of what is given back the allocator keeps as much for each thread that ever had some.
static SCRATCH: Mutex<Vec<Vec<Block>>> = Mutex::new(Vec::new());

fn argon2_of(password: &[u8], salt: &[u8], memory_kib: u32, passes: u32, lanes: u32) -> Option<Vec<u8>> {
    let params = Params::new(memory_kib, passes, lanes, Some(32)).ok()?;
    let mut memory = SCRATCH.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
    memory.resize(params.block_count(), Block::default());
    let mut hash = vec![0; 32];
    let hashed = argon2::Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into_with_memory(password, salt, &mut hash, &mut memory);
    let mut kept = SCRATCH.lock().unwrap_or_else(PoisonError::into_inner);
    if kept.len() < PASSWORD_CHECKS {
        kept.push(memory);
    }
    hashed.ok().map(|()| hash)
}

/// Whether this is the password.
pub fn is_right(argon2: &Argon2, password: &Secret) -> bool {
    argon2_of(password.0.as_bytes(), &argon2.salt, argon2.memory_kib, argon2.passes, argon2.lanes)
        .is_some_and(|hash| verify_slices_are_equal(&hash, &argon2.hash).is_ok())
}

/// Costs what a right password costs, and is never right.
pub fn nothing() -> Argon2 {
    Argon2 {
        memory_kib: Params::DEFAULT_M_COST,
        passes: Params::DEFAULT_T_COST,
        lanes: Params::DEFAULT_P_COST,
        salt: vec![0; SALT_OCTETS],
        hash: vec![0; 32],
    }
}

fn scram_of(hash: Hash, password: &Secret, salt: &[u8]) -> Scram {
    let verifier = scram::derive(hash, password, salt, ITERATIONS);
    Scram {
        iterations: verifier.iterations,
        salt: verifier.salt,
        stored_key: verifier.stored_key,
        server_key: verifier.server_key,
    }
}

/// For [`scram::verify`].
pub fn verifier(hash: Hash, kept: &Scram) -> Verifier {
    Verifier {
        hash,
        salt: kept.salt.clone(),
        iterations: kept.iterations,
        stored_key: kept.stored_key.clone(),
        server_key: kept.server_key.clone(),
    }
}

fn cram_of(password: &Secret) -> [[u32; 4]; 2] {
    let key = cram::derive(password);
    [key.inner, key.outer]
}

/// Everything that is kept of a password that a person chose.
pub fn of_password(password: &Secret, salts: &Salts, now: Timestamp) -> Option<Secrets> {
    let mut argon2 = nothing();
    argon2.salt = random(SALT_OCTETS);
    argon2.hash =
        argon2_of(password.0.as_bytes(), &argon2.salt, argon2.memory_kib, argon2.passes, argon2.lanes)?;
    Some(Secrets {
        set: now,
        argon2,
        scram_sha1: scram_of(Hash::Sha1, password, &salts[0]),
        scram_sha256: scram_of(Hash::Sha256, password, &salts[1]),
        cram: Some(cram_of(password)),
    })
}

/// Letters and digits that are not mistaken for each other: five bits each.
const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
const GROUPS: usize = 5;
const GROUP: usize = 5;

/// A password that no person chose: 125 random bits in groups of letters.
pub fn made_password() -> Secret {
    let letters: Vec<char> =
        random(GROUPS * GROUP).iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect();
    let groups: Vec<String> = letters.chunks(GROUP).map(|group| group.iter().collect()).collect();
    Secret(groups.join("-"))
}

/// Whether a password looks like one of ours: only then is it compared with app passwords.
pub fn looks_made(password: &Secret) -> bool {
    let groups: Vec<&str> = password.0.split('-').collect();
    groups.len() == GROUPS
        && groups.iter().all(|group| group.len() == GROUP && group.bytes().all(|b| LETTERS.contains(&b)))
}

/// What a made password is compared by. So much chance needs no slow hash.
pub fn digest_of(account: AccountId, password: &Secret) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(b"app password\0");
    context.update(&account.0.to_be_bytes());
    context.update(password.0.as_bytes());
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

/// Everything that is kept of a made password.
pub fn of_made(
    account: AccountId,
    password: &Secret,
    salts: &Salts,
    scopes: Scopes,
    now: Timestamp,
    expires: Option<Timestamp>,
) -> AppRecord {
    AppRecord {
        scopes,
        created: now,
        expires,
        digest: digest_of(account, password),
        scram_sha1: scram_of(Hash::Sha1, password, &salts[0]),
        scram_sha256: scram_of(Hash::Sha256, password, &salts[1]),
        cram: cram_of(password),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_passwords_are_known_as_such() {
        let (a, b) = (made_password(), made_password());
        assert!(looks_made(&a) && looks_made(&b) && a != b, "{}", a.0);
        for other in ["", "correct horse", "abcde-abcde-abcde-abcde", "abcde-abcde-abcde-abcde-abcdE"] {
            assert!(!looks_made(&Secret(other.into())), "{other}");
        }
        assert_ne!(digest_of(AccountId(1), &a), digest_of(AccountId(2), &a));
    }
}
