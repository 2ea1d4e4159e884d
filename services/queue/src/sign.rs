//! Reports of ours are signed on their way out, with the keys of this host's nearest parent domain (rows MA-07, TR-32).
//!
//! Whoever composes one (this process, or `mox-smtp`, which must not sign) hands it to the store without signature. Mail
//! of people was signed when they handed it in.

use crate::deliver::Pieces;
use crate::{Shared, limits};
use libmox_keys::DkimDigest;
use libmox_service::clock;
use libmox_smtp::client::Failure;
use libmox_store::{QueueEntry, QueueOpen};
use libmox_types::ReversePath;

/// `DKIM-Signature` fields for a report of ours; none for anything else. RFC 5321 §6.1: a report has a null sender.
pub async fn signature(shared: &Shared, entry: &QueueEntry) -> Result<String, Failure> {
    if entry.mail_from != ReversePath::Null || entry.size.0 > limits::SIGNED_OCTETS {
        return Ok(String::new());
    }
    let unreadable =
        |what: String| Failure::local(false, "4.3.0", &format!("message cannot be read: {what}"));
    let (content, descriptors) = shared
        .store
        .ask_with(QueueOpen(entry.id), Vec::new())
        .await
        .map_err(|error| unreadable(error.to_string()))?;
    let mut pieces = Pieces::new(content, descriptors).map_err(|error| unreadable(error.to_string()))?;
    let mut message = Vec::new();
    while let Some(piece) = pieces.next().await.map_err(|error| unreadable(error.to_string()))? {
        message.extend_from_slice(&piece);
    }
    let config = shared.context.config();
    let facts = libmox_message::parse(&message);
    let author = match &facts.from[..] {
        [author] => author.address(),
        _ => None,
    };
    // It may be by the name of a listener.
    let host = author.and_then(|author| config.hostnames().find(|name| **name == author.domain).cloned());
    let Some(host) = host.filter(|_| !is_signed(&message)) else { return Ok(String::new()) };
    let mut digest = DkimDigest::default();
    digest.feed(&message);
    let signed = libmox_keys::sign(&shared.keys, &host, "", digest, clock::now()).await;
    // Unsigned is better than lost, as for people's mail (row SU-06).
    Ok(signed.unwrap_or_else(|error| {
        tracing::warn!(mox_queue_id = %entry.id, mox_reason = %error, "report goes without DKIM signature: {error}");
        String::new()
    }))
}

fn is_signed(message: &[u8]) -> bool {
    const NAME: &[u8] = b"dkim-signature:";
    let header = message.split(|&b| b == b'\n').take_while(|line| !line.trim_ascii().is_empty());
    header.into_iter().any(|line| line.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_seen_in_the_header_only() {
        assert!(is_signed(b"A: b\r\nDKIM-Signature: v=1\r\n\r\n"));
        assert!(is_signed(b"dkim-signature: v=1\r\n\r\n"));
        assert!(!is_signed(b"A: b\r\n\r\nDKIM-Signature: v=1\r\n"));
        assert!(!is_signed(b""));
    }
}
