//! What reads bytes of strangers, without a socket and without the DNS: for tests of hostile input (`tests/fuzz`).

use crate::{checks, feedback, spf};
use libmox_store::ReportRead;
use mail_auth::AuthenticatedMessage;

/// Whether a TXT record is an SPF record that can be read.
#[must_use]
pub fn spf_record(text: &[u8]) -> bool {
    spf::record::is_record(text) && spf::record::parse(text).is_some()
}

/// The header fields that authentication looks at: how many signatures, ARC sets and addresses in From there are.
#[must_use]
pub fn authentication_fields(message: &[u8]) -> usize {
    let Some(parsed) = AuthenticatedMessage::parse(message) else { return 0 };
    checks::says_dmarc_pass(message);
    parsed.dkim_headers.len() + parsed.as_headers.len() + parsed.from.len()
}

/// The report in a message.
pub fn report(message: &[u8]) -> Result<ReportRead, String> {
    feedback::read(message)
}

/// The report in an attachment.
pub fn attached_report(bytes: Vec<u8>) -> Result<ReportRead, String> {
    feedback::unpack(bytes).and_then(|bytes| feedback::understand(&bytes))
}
