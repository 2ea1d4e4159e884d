//! Seals a message that is handed on: what was found out about it here stays provable after it was changed.
//!
//! A set of three fields goes before the message: the results (`ARC-Authentication-Results`), a signature over the
//! message as it leaves (`ARC-Message-Signature`) and a seal over this and all earlier sets (`ARC-Seal`).
//!
//! Law: RFC 8617 §4.1, §5.1; RFC 6376 §3.4.2 and §3.7 for how it is signed.
//! Fails with: [`KeysError`]; a message can go without a seal.

use crate::dkim::{
    CLOSED, Form, SIGNED, canonical_field, field_without_end, header_data, sign_field, split_fields,
};
use crate::{DkimAlgorithm, DkimDigest, DkimKey, DkimKeys, Keys, KeysError};
use libmox_message::write::Field;
use libmox_types::{Domain, Timestamp};

/// What the checks said about the sets that were there when the message came. RFC 8617 §4.4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArcChain {
    /// There were none.
    None,
    /// The whole chain is good.
    Pass,
    /// It is not, and nobody after us can make it so.
    Fail,
}

/// RFC 8617 §4.2.1: the highest instance.
const INSTANCES: u32 = 50;

/// Seals in the name of a domain. `results` is the value of our `Authentication-Results` field, `message` what is
/// handed on, gathered with [`DkimDigest`]. The fields as CRLF lines to put before it; none where the domain has no
/// key, or the chain must not grow: it was marked as broken by somebody before us, or is full.
pub async fn seal(
    keys: &Keys,
    domain: &Domain,
    results: &str,
    chain: ArcChain,
    message: DkimDigest,
    now: Timestamp,
) -> Result<String, KeysError> {
    let all = keys.ask(DkimKeys { domain: domain.clone() }).await?;
    // One seal a set, so with the algorithm that every verifier of chains knows.
    let mut signing: Vec<DkimKey> = all.into_iter().filter(|key| key.signs).collect();
    signing.sort_by_key(|key| key.algorithm != DkimAlgorithm::Rsa2048);
    let Some(key) = signing.into_iter().next() else { return Ok(String::new()) };
    let (header, bodies) = message.body_hashes();
    let body_hash = bodies.relaxed;
    let fields = split_fields(&header);
    let sets: Vec<(u32, Kind, &[u8])> = fields.iter().filter_map(|field| set_field(field)).collect();
    let last = sets.iter().map(|(instance, ..)| *instance).max().unwrap_or(0);
    let broken = sets.iter().any(|(instance, kind, field)| {
        *instance == last && *kind == Kind::Seal && tag(field, "cv").as_deref() == Some("fail")
    });
    // RFC 8617 §5.1: a chain that is broken or full is left alone.
    if broken || last >= INSTANCES {
        return Ok(String::new());
    }
    let (instance, cv) = match (last, chain) {
        (0, _) => (1, "none"),
        (last, ArcChain::Pass) => (last + 1, "pass"),
        (last, ArcChain::None | ArcChain::Fail) => (last + 1, "fail"),
    };
    let results = written_results(instance, results);
    let signature = message_signature(keys, &key, instance, &header, &body_hash, now).await?;
    let mut data = Vec::new();
    // RFC 8617 §5.1.2: of a broken chain the new set alone.
    if cv == "pass" {
        for wanted in 1..instance {
            for kind in [Kind::Results, Kind::Signature, Kind::Seal] {
                let found = sets.iter().find(|(instance, own, _)| (*instance, *own) == (wanted, kind));
                if let Some((.., field)) = found {
                    canonical_field(field, &mut data);
                }
            }
        }
    }
    canonical_field(results.as_bytes(), &mut data);
    canonical_field(signature.as_bytes(), &mut data);
    let mut field = Field::new("ARC-Seal");
    field
        .word(&format!("i={instance};"))
        .word(&format!("a={};", algorithm(&key)))
        .word(&format!("t={};", now.0))
        .word(&format!("cv={cv};"))
        .word(&format!("d={};", key.domain.ascii()))
        .word(&format!("s={};", key.selector))
        .word("b=");
    let seal = sign_field(keys, &key, Form::Relaxed, field_without_end(field), data).await?;
    Ok(format!("{seal}{signature}{results}"))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Results,
    Signature,
    Seal,
}

/// Which field of which set it is.
fn set_field(field: &[u8]) -> Option<(u32, Kind, &[u8])> {
    let colon = field.iter().position(|&byte| byte == b':')?;
    let name = field[..colon].trim_ascii_end().to_ascii_lowercase();
    let kind = match name.as_slice() {
        b"arc-authentication-results" => Kind::Results,
        b"arc-message-signature" => Kind::Signature,
        b"arc-seal" => Kind::Seal,
        _ => return None,
    };
    let instance = tag(field, "i")?.parse().ok().filter(|instance| (1..=INSTANCES).contains(instance))?;
    Some((instance, kind, field))
}

/// A tag of a field, without its folding.
fn tag(field: &[u8], name: &str) -> Option<String> {
    let text = String::from_utf8_lossy(field);
    let (_, value) = text.split_once(':')?;
    value.split(';').find_map(|tag| {
        let (own, value) = tag.split_once('=')?;
        (own.trim() == name).then(|| value.split_whitespace().collect())
    })
}

fn algorithm(key: &DkimKey) -> &'static str {
    match key.algorithm {
        DkimAlgorithm::Rsa2048 => "rsa-sha256",
        DkimAlgorithm::Ed25519 => "ed25519-sha256",
    }
}

/// RFC 8617 §4.1.1. The value keeps the lines it has.
fn written_results(instance: u32, results: &str) -> String {
    let mut text = format!("ARC-Authentication-Results: i={instance};");
    for line in results.lines().filter(|line| !line.trim().is_empty()) {
        text.push_str("\r\n\t");
        text.extend(line.trim().chars().filter(|c| !c.is_control()));
    }
    text + "\r\n"
}

/// RFC 8617 §4.1.2: like a DKIM signature, over DKIM signatures too, but not over what seals and results say.
async fn message_signature(
    keys: &Keys,
    key: &DkimKey,
    instance: u32,
    header: &[u8],
    body_hash: &str,
    now: Timestamp,
) -> Result<String, KeysError> {
    let names: Vec<&'static str> = SIGNED.into_iter().chain(["dkim-signature"]).collect();
    let (names, data) = header_data(&names, &CLOSED, Form::Relaxed, b"", header);
    let mut field = Field::new("ARC-Message-Signature");
    field
        .word(&format!("i={instance};"))
        .word(&format!("a={};", algorithm(key)))
        .word("c=relaxed/relaxed;")
        .word(&format!("d={};", key.domain.ascii()))
        .word(&format!("s={};", key.selector))
        .word(&format!("t={};", now.0))
        .word("h=");
    crate::dkim::list_names(&mut field, &names);
    field.word(&format!("bh={body_hash};")).word("b=");
    sign_field(keys, key, Form::Relaxed, field_without_end(field), data).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{OneKey, keys};
    use std::path::{Path, PathBuf};

    fn folder() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/signed")
    }

    const MESSAGE: &str = "From: Jane <jane@far.example>\r\nTo: list@lists.example\r\nSubject:  two\r\n\twords \r\n\
        Date: Sun, 01 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@far.example>\r\n\r\nHello   you, \r\n\r\nbye.\r\n\r\n\r\n";
    const RESULTS: &str = "mx.example.org;\r\n\tspf=pass (with dnssec) smtp.mailfrom=jane@far.example;\r\n\tdmarc=pass \
        header.from=far.example\r\n";

    fn digest(message: &str) -> DkimDigest {
        let mut digest = DkimDigest::default();
        digest.feed(message.as_bytes());
        digest
    }

    async fn sealed(keys: &Keys, message: &str, chain: ArcChain) -> String {
        let domain = Domain::parse("example.org").unwrap();
        let fields =
            seal(keys, &domain, RESULTS, chain, digest(message), Timestamp(1_700_000_000)).await.unwrap();
        format!("{fields}{message}")
    }

    /// What dkimpy verifies (`tests/system/dkimpy.py`) is what we write, octet for octet.
    #[tokio::test]
    async fn signatures_and_seals_are_those_that_others_verified() {
        for (name, key) in [("ed25519", OneKey::ed25519()), ("rsa", OneKey::rsa(&folder()))] {
            let (keys, _held) = keys(key).await;
            let domain = Domain::parse("example.org").unwrap();
            let time = Timestamp(1_700_000_000);
            let own = crate::sign(&keys, &domain, "", digest(MESSAGE), time).await.unwrap();
            let signed = format!("{own}{MESSAGE}");
            let once = sealed(&keys, &signed, ArcChain::None).await;
            let twice = sealed(&keys, &once, ArcChain::Pass).await;
            let changed = once.replace("bye.", "bye, all.");
            let failed = sealed(&keys, &changed, ArcChain::Fail).await;
            for (case, message) in
                [("dkim", &signed), ("arc", &once), ("arc-twice", &twice), ("arc-failed", &failed)]
            {
                if name == "ed25519" && case != "dkim" {
                    // Nobody at hand verifies chains with it.
                    continue;
                }
                let path = folder().join(format!("{name}-{case}.eml"));
                if std::env::var("MOX_GOLDEN").is_ok_and(|how| how == "write") {
                    std::fs::write(&path, message).unwrap();
                }
                assert!(std::fs::read_to_string(&path).unwrap() == **message, "{name}-{case}: {message}");
            }
            // Nobody seals what was marked as broken.
            assert_eq!(sealed(&keys, &failed, ArcChain::Fail).await, failed);
        }
    }

    #[tokio::test]
    async fn a_full_chain_does_not_grow_and_noise_is_no_set() {
        let (keys, _held) = keys(OneKey::ed25519()).await;
        let full = format!("ARC-Seal: i=50; cv=pass\r\n{MESSAGE}");
        assert_eq!(sealed(&keys, &full, ArcChain::Pass).await, full);
        for noise in [
            "ARC-Seal: x",
            "ARC-Seal: i=0; cv=fail",
            "ARC-Seal: i=51",
            "ARC-Seal: i=99999999999",
            "ARC-Seal:",
        ] {
            let message = format!("{noise}\r\n{MESSAGE}");
            let sealed = sealed(&keys, &message, ArcChain::None).await;
            assert!(sealed.starts_with("ARC-Seal: i=1;") && sealed.contains("cv=none;"), "{sealed}");
        }
    }
}
