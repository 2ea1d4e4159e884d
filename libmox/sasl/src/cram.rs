//! CRAM-MD5: what is kept of a password, and checking an answer against it.
//!
//! Law: RFC 2195. Kept for clients that know nothing better; the challenge comes from whoever checks the answer, so that
//! a front end cannot have one answered twice.

use crate::md5::{State, authenticate, keyed};
use crate::{Fault, Secret};
use aws_lc_rs::constant_time;

/// The states of HMAC-MD5 after the password: not the password, and of no use for anything but this (row AU-03).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CramKey {
    /// Of the inner hash.
    pub inner: [u32; 4],
    /// Of the outer hash.
    pub outer: [u32; 4],
}

impl std::fmt::Debug for CramKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CramKey")
    }
}

/// What is kept of a prepared password ([`crate::prepare_password`]).
#[must_use]
pub fn derive(password: &Secret) -> CramKey {
    let (inner, outer): (State, State) = keyed(password.0.as_bytes());
    CramKey { inner, outer }
}

/// Whether this is the answer to the challenge.
#[must_use]
pub fn verify(key: &CramKey, challenge: &[u8], digest: &[u8]) -> bool {
    let right = authenticate(key.inner, key.outer, challenge);
    constant_time::verify_slices_are_equal(&right, digest).is_ok()
}

/// The client's answer.
#[must_use]
pub fn answer(username: &str, password: &Secret, challenge: &[u8]) -> String {
    let key = derive(password);
    let digest = authenticate(key.inner, key.outer, challenge);
    let hex: String = digest.iter().map(|octet| format!("{octet:02x}")).collect();
    format!("{username} {hex}")
}

/// Name and digest of an answer. RFC 2195 §2: the name may have spaces, the digest is the last word.
pub(crate) fn parse(text: &str) -> Result<(&str, [u8; 16]), Fault> {
    let (name, hex) = text.rsplit_once(' ').ok_or(Fault::Malformed)?;
    let mut digest = [0; 16];
    if hex.len() != 32 || !hex.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(Fault::Malformed);
    }
    for (octet, digits) in digest.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        let digits = std::str::from_utf8(digits).map_err(|_| Fault::Encoding)?;
        *octet = u8::from_str_radix(digits, 16).map_err(|_| Fault::Malformed)?;
    }
    Ok((name, digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_2195() {
        let password = Secret("tanstaaftanstaaf".into());
        let challenge = b"<1896.697170952@postoffice.reston.mci.net>";
        let said = answer("tim", &password, challenge);
        assert_eq!(said, "tim b913a602c7eda7a495b4e6e7334d3890");
        let (name, digest) = parse(&said).unwrap();
        assert_eq!(name, "tim");
        assert!(verify(&derive(&password), challenge, &digest));
        assert!(!verify(&derive(&password), b"<other@x>", &digest));
        assert!(!verify(&derive(&Secret("other".into())), challenge, &digest));
        assert_eq!(parse("a b c b913a602c7eda7a495b4e6e7334d3890").unwrap().0, "a b c");
        for bad in [
            "",
            "tim",
            "tim b913",
            "tim b913a602c7eda7a495b4e6e7334d389\u{e9}",
            "tim +913a602c7eda7a495b4e6e7334d3890",
        ] {
            assert_eq!(parse(bad), Err(Fault::Malformed), "{bad}");
        }
    }
}
