//! Letters as strangers write them: different words in each, signed, and a domain in the DNS that stands for them.
//!
//! Law: RFC 6376 §3.4 (the letters are written so that relaxed canonicalisation changes nothing but the names of the
//! fields), §3.5.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt::Write as _;

/// Who writes.
pub const SENDER: &str = "sender@far.example";
/// Words that everybody uses, that good letters use, that junk uses.
const WORDS: [std::ops::Range<u64>; 3] = [0..12_000, 12_000..16_000, 16_000..20_000];

/// What the DNS must say so that nothing is wrong with the sender: MX, SPF, a DKIM key, DMARC; and the client's name has
/// an address that leads back to it.
pub fn records(key: &KeyPair) -> anyhow::Result<Vec<String>> {
    let public: PublicKeyX509Der<'_> = key.public_key().as_der()?;
    let public = STANDARD.encode(public.as_ref());
    // RFC 1035 §3.3: at most 255 octets in a string.
    let (front, back) = public.split_at(200);
    Ok(vec![
        "far.example. 3600 MX 10 mx.far.example.".into(),
        "far.example. 3600 TXT \"v=spf1 ip4:127.0.0.1 -all\"".into(),
        "mx.far.example. 3600 A 127.0.0.1".into(),
        format!("s1._domainkey.far.example. 3600 TXT \"v=DKIM1; k=rsa; p={front}\" \"{back}\""),
        "_dmarc.far.example. 3600 TXT \"v=DMARC1; p=reject; adkim=s; aspf=s\"".into(),
        "bench.example.org. 3600 A 127.0.0.1".into(),
        "1.0.0.127.in-addr.arpa. 3600 PTR bench.example.org.".into(),
    ])
}

/// RSA with 2048 bits, as most of the world signs.
pub fn key() -> anyhow::Result<KeyPair> {
    Ok(KeyPair::generate(KeySize::Rsa2048)?)
}

/// Numbers that are the same in each run. George Marsaglia's xorshift.
pub struct Numbers(u64);

impl Numbers {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    /// A word, the first ones of the range more often.
    fn word(&mut self, range: &std::ops::Range<u64>, out: &mut String) {
        let span = range.end - range.start;
        let most = self.below(span) + 1;
        let mut n = range.start + self.below(most);
        for _ in 0..4 {
            let (consonant, vowel) = (b"bdfgklmnprstvz"[(n % 14) as usize], b"aeiou"[(n / 14 % 5) as usize]);
            out.push(char::from(consonant));
            out.push(char::from(vowel));
            n /= 70;
            n = n.wrapping_add(17);
        }
    }
}

/// A letter of this size; junk is so by its words.
pub fn letter(numbers: &mut Numbers, from: &str, junk: bool, size: usize) -> Vec<u8> {
    let kind = &WORDS[if junk { 2 } else { 1 }];
    let mut words = |out: &mut String, count: usize| {
        for n in 0..count {
            if n > 0 {
                out.push(' ');
            }
            let common = numbers.below(10) < 6;
            numbers.word(if common { &WORDS[0] } else { kind }, out);
        }
    };
    let mut subject = String::new();
    words(&mut subject, 4);
    let mut text = format!(
        "From: Some Sender <{from}>\r\nTo: mox@localhost\r\nSubject: {subject}\r\nDate: Mon, 02 Nov 2026 10:00:00 +0000\r\n\
         Message-ID: <{}@far.example>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n",
        subject.replace(' ', ".")
    );
    while text.len() + 80 < size {
        words(&mut text, 8);
        text.push_str("\r\n");
    }
    text.into_bytes()
}

/// Puts a signature before a letter.
pub fn signed(key: &KeyPair, letter: &[u8]) -> anyhow::Result<Vec<u8>> {
    let text = std::str::from_utf8(letter)?;
    let (header, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
    let hash = STANDARD.encode(digest(&SHA256, body.as_bytes()));
    let mut signature = format!(
        "v=1; a=rsa-sha256; c=relaxed/relaxed; d=far.example; s=s1; t=1793613600; h=from:to:subject:date:message-id; bh={hash}; b="
    );
    let mut data = String::new();
    for name in ["From", "To", "Subject", "Date", "Message-ID"] {
        let mut fields = header.split("\r\n").filter_map(|line| line.split_once(": "));
        let value = fields.find_map(|(have, value)| (have == name).then_some(value)).unwrap_or_default();
        let _ = write!(data, "{}:{value}\r\n", name.to_lowercase());
    }
    let _ = write!(data, "dkim-signature:{signature}");
    let mut octets = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), data.as_bytes(), &mut octets)?;
    signature.push_str(&STANDARD.encode(octets));
    Ok([b"DKIM-Signature: ", signature.as_bytes(), b"\r\n", letter].concat())
}
