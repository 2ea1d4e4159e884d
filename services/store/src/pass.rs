//! A token in the subject that lets a message pass which looks a little like junk (row JK-11).
//!
//! `(pass:` and 16 bytes in base64url and `)`: a version, the time in minutes in three bytes, and the first 12 bytes of
//! an HMAC-SHA256 over them, the account and the address in From. Who can read the refusal can send the message again;
//! who only guesses addresses cannot.

use crate::keys;
use crate::records::Read;
use crate::store::Store;
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use libmox_store::Fault;
use libmox_types::{AccountId, Address, Timestamp};

const VERSION: u8 = 1;
/// Minutes are counted from the beginning of 2024, so that they fit for thirty years.
const FIRST: i64 = 1_704_067_200;
/// Octets of the code.
const CODE: usize = 12;

fn code(secret: &[u8], account: AccountId, head: [u8; 4], from: &Address) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let mut context = hmac::Context::with_key(&key);
    for part in [
        b"subject-pass".as_slice(),
        &account.0.to_be_bytes(),
        &head,
        from.local.as_str().to_lowercase().as_bytes(),
        b"@",
        from.domain.ascii().as_bytes(),
    ] {
        context.update(part);
    }
    context.sign().as_ref()[..CODE].to_vec()
}

fn make(secret: &[u8], account: AccountId, from: &Address, now: Timestamp) -> String {
    let minutes = u32::try_from((now.0 - FIRST).max(0) / 60).unwrap_or(0).to_be_bytes();
    let head = [VERSION, minutes[1], minutes[2], minutes[3]];
    let bytes = [head.as_slice(), &code(secret, account, head, from)].concat();
    format!("(pass:{})", URL_SAFE_NO_PAD.encode(bytes))
}

fn is_good(
    secret: &[u8],
    account: AccountId,
    token: &str,
    from: &Address,
    now: Timestamp,
    period: i64,
) -> bool {
    let inner = token.strip_prefix("(pass:").and_then(|rest| rest.strip_suffix(')')).unwrap_or_default();
    let Ok(bytes) = URL_SAFE_NO_PAD.decode(inner) else { return false };
    let Some((head, given)) = bytes.split_first_chunk::<4>() else { return false };
    if head[0] != VERSION || given.len() != CODE {
        return false;
    }
    let minutes = i64::from(u32::from_be_bytes([0, head[1], head[2], head[3]]));
    let age = now.0 - FIRST - minutes * 60;
    let right = aws_lc_rs::constant_time::verify_slices_are_equal(given, &code(secret, account, *head, from));
    right.is_ok() && (-300..=period).contains(&age)
}

impl Store {
    fn pass_secret(&self) -> Result<Vec<u8>, Fault> {
        self.engine.record(keys::SALT)?.ok_or(Fault::Internal)
    }

    /// For a sender to put into the subject.
    pub fn pass_for(&self, account: AccountId, from: &Address, now: Timestamp) -> Result<String, Fault> {
        Ok(make(&self.pass_secret()?, account, from, now))
    }

    /// Whether a token is one of ours, for this sender, and not too old.
    pub fn pass_is_good(
        &self,
        account: AccountId,
        token: &str,
        from: &Address,
        now: Timestamp,
        period: i64,
    ) -> Result<bool, Fault> {
        Ok(is_good(&self.pass_secret()?, account, token, from, now, period))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Row JK-11.
    #[test]
    fn a_token_is_for_one_sender_and_a_while() {
        let (from, other) =
            (Address::parse("X@far.example").unwrap(), Address::parse("y@far.example").unwrap());
        let now = Timestamp(1_800_000_000);
        let token = make(b"secret", AccountId(1), &from, now);
        assert_eq!(token.len(), "(pass:)".len() + 22);
        let period = 12 * 3600;
        let good = |secret: &[u8], account, token: &str, from: &Address, later| {
            is_good(secret, AccountId(account), token, from, now.plus(later), period)
        };
        assert!(good(b"secret", 1, &token, &from, 0) && good(b"secret", 1, &token, &from, period - 60));
        assert!(good(b"secret", 1, &token, &Address::parse("x@far.example").unwrap(), 0));
        assert!(!good(b"secret", 1, &token, &from, period + 61), "too old");
        assert!(!good(b"secret", 1, &token, &from, -400), "of the future");
        assert!(!good(b"secret", 1, &token, &other, 0) && !good(b"secret", 2, &token, &from, 0));
        assert!(!good(b"other", 1, &token, &from, 0));
        for wrong in ["", "(pass:)", "(pass:AAAA)", "(pass:!!!!)", &token[..token.len() - 2]] {
            assert!(!good(b"secret", 1, wrong, &from, 0), "{wrong}");
        }
    }
}
