//! What a certificate says about its key: all that counts of it (row AU-07).
//!
//! Law: RFC 5280 §4.1.2.7, RFC 7468 (PEM).

use crate::AdminError;
use libmox_service::tls::key_fingerprint;
use x509_parser::public_key::PublicKey;

/// Octets of a certificate.
const CERTIFICATE_OCTETS: usize = 64 * 1024;
/// Bits of an RSA key.
const RSA_BITS: usize = 2048;

/// Fingerprint and kind of the key of a certificate, in PEM or DER.
pub(crate) fn key_of(certificate: &[u8]) -> Result<(String, String), AdminError> {
    let invalid = |what: &str| AdminError::Invalid(what.to_owned());
    if certificate.len() > CERTIFICATE_OCTETS {
        return Err(invalid("that is too large for a certificate"));
    }
    let der = match x509_parser::pem::parse_x509_pem(certificate) {
        Ok((_, pem)) if pem.label == "CERTIFICATE" => pem.contents,
        Ok((_, pem)) => return Err(invalid(&format!("a certificate is wanted, not {}", pem.label))),
        Err(_) => certificate.to_vec(),
    };
    let (_, parsed) = x509_parser::parse_x509_certificate(&der)
        .map_err(|_| invalid("not a certificate, neither PEM nor DER"))?;
    let kind = match parsed.public_key().parsed() {
        Ok(PublicKey::RSA(key)) if key.key_size() < RSA_BITS => {
            return Err(invalid(&format!("an RSA key has at least {RSA_BITS} bits")));
        }
        Ok(PublicKey::RSA(key)) => format!("rsa-{}", key.key_size()),
        Ok(PublicKey::EC(point)) => match point.key_size() {
            bits @ (256 | 384) => format!("ecdsa-p{bits}"),
            _ => return Err(invalid("an ECDSA key is on P-256 or P-384")),
        },
        // RFC 8410 §3.
        _ if parsed.public_key().algorithm.algorithm.to_id_string() == "1.3.101.112" => "ed25519".to_owned(),
        _ => return Err(invalid("the key is neither RSA, ECDSA nor Ed25519")),
    };
    let fingerprint = key_fingerprint(&der).ok_or_else(|| invalid("the certificate cannot be read"))?;
    Ok((fingerprint, kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(algorithm: &'static rcgen::SignatureAlgorithm) -> rcgen::CertifiedKey<rcgen::KeyPair> {
        let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let cert = rcgen::CertificateParams::new(vec!["laptop".into()]).unwrap().self_signed(&key).unwrap();
        rcgen::CertifiedKey { cert, signing_key: key }
    }

    /// RSA with 1024 bits.
    const WEAK: &[u8] = b"-----BEGIN CERTIFICATE-----\n\
        MIIB/DCCAWWgAwIBAgIUDN7BMsh4F0UsTOPqHZh50A2kpawwDQYJKoZIhvcNAQEL\n\
        BQAwDzENMAsGA1UEAwwEd2VhazAgFw0yNjExMjYxMTM5MTdaGA8yMTI2MTEwMjEx\n\
        MzkxN1owDzENMAsGA1UEAwwEd2VhazCBnzANBgkqhkiG9w0BAQEFAAOBjQAwgYkC\n\
        gYEAmmg/rWWF9ndRktHza2PGWf6CqS9Vt6Lv4Dc9A2WEYRx4T/Kbjl5N3eYE2R1/\n\
        trFmBuyuAC5oIbWvC3x03qGserv5eUYhJ5wpj3PZqsc8mCXm8bvh3LAyqXYRGa05\n\
        MYsfDkjhNfX8+KpNW9pTCsbLHK3z6aDjeYX2L0fVzp7XFrkCAwEAAaNTMFEwHQYD\n\
        VR0OBBYEFArTl+kjMIJrU5xoHJNnaJ1v8TJXMB8GA1UdIwQYMBaAFArTl+kjMIJr\n\
        U5xoHJNnaJ1v8TJXMA8GA1UdEwEB/wQFMAMBAf8wDQYJKoZIhvcNAQELBQADgYEA\n\
        f82mbAIQVXMGcGtv1NTuJUR3hcl98h+c2Kf5kJe+20aR/tncX/ihAhxydGAKD3pc\n\
        I2IBdCXaCxvTLwA4kikmDAXnMwXCJorHwQ5bVnOGQrdhoQEaS0ZPheQcZOUCvJvm\n\
        9vGLxBK4tUf9leIy1ApUTufEQS5e/h8IbQ01XFaoYck=\n\
        -----END CERTIFICATE-----\n";

    #[test]
    fn the_key_is_all_that_counts() {
        for (algorithm, want) in [
            (&rcgen::PKCS_ECDSA_P256_SHA256, "ecdsa-p256"),
            (&rcgen::PKCS_ECDSA_P384_SHA384, "ecdsa-p384"),
            (&rcgen::PKCS_ED25519, "ed25519"),
        ] {
            let made = made(algorithm);
            let (fingerprint, kind) = key_of(made.cert.pem().as_bytes()).unwrap();
            assert_eq!((fingerprint.len(), kind.as_str()), (43, want));
            assert_eq!(key_of(made.cert.der()).unwrap().0, fingerprint, "PEM or DER");
            // Another certificate for the same key.
            let params = rcgen::CertificateParams::new(vec!["other".into()]).unwrap();
            let other = params.self_signed(&made.signing_key).unwrap();
            assert_eq!(key_of(other.der()).unwrap().0, fingerprint);
            assert!(key_of(made.signing_key.serialize_pem().as_bytes()).is_err(), "a private key is none");
        }
        let strong =
            rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
        let strong = rcgen::CertificateParams::new(vec!["rsa".into()]).unwrap().self_signed(&strong).unwrap();
        assert_eq!(key_of(strong.der()).unwrap().1, "rsa-2048");
        let weak = key_of(WEAK).unwrap_err().to_string();
        assert!(weak.contains("at least 2048 bits"), "{weak}");
        for wrong in [&b""[..], b"x", &[0x30; 100], &[0; 70_000]] {
            assert!(key_of(wrong).is_err());
        }
    }
}
