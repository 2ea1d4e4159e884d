//! Feedback about authentication: what we found out about mail in the name of others, kept for the reports they want,
//! and the reports that others sent about mail in our name. Role `smtp` hands in, role `admin` looks.
//!
//! Law: RFC 7489 §7.2 (aggregate reports), RFC 8460 §4 (TLS reports).

use libmox_types::{Address, Domain, Timestamp};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// What DMARC said about one message, whose domain has a record. Words are those of RFC 7489 appendix C.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DmarcSeen {
    /// Where the record was found.
    pub domain: Domain,
    /// `p`
    pub policy: String,
    /// `sp`; the same as `p` where there is none.
    pub subdomain_policy: String,
    /// `adkim`: `r` or `s`
    pub adkim: String,
    /// `aspf`: `r` or `s`
    pub aspf: String,
    /// `pct`
    pub percent: u8,
    /// `fo`
    pub failure_options: String,
    /// `ri`: seconds between reports.
    pub interval: u32,
    /// `rua`: URIs as they are in the record.
    pub aggregate: Vec<String>,
    /// Domain of From.
    pub header_from: Domain,
    /// SPF passed for a domain close enough to it.
    pub aligned_spf: bool,
    /// A signature did.
    pub aligned_dkim: bool,
    /// It failed, but the policy is for a part of the messages only, and not for this one.
    pub sampled_out: bool,
    /// Domain, scope (`mfrom` or `helo`) and result of SPF.
    pub spf: (String, String, String),
    /// Domain, selector and result of each signature.
    pub dkim: Vec<(String, String, String)>,
}

/// One message, for a report to the domain of its From (row MA-12).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evaluation {
    /// When.
    pub at: Timestamp,
    /// Who sent it.
    pub remote_ip: IpAddr,
    /// Domain of MAIL FROM; none for the null path.
    pub envelope_from: Option<Domain>,
    /// Domain of the recipient.
    pub envelope_to: Option<Domain>,
    /// What was found out.
    pub seen: DmarcSeen,
    /// It was refused because of it.
    pub refused: bool,
    /// Why the policy was not followed (row MA-10): `mailing_list`, `forwarded`, `trusted_forwarder`, `sampled_out` or
    /// `local_policy`.
    pub overrides: Vec<String>,
    /// Not worth a report by itself (row MA-15): it was a report.
    pub optional: bool,
}

/// Which reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReportKind {
    /// RFC 7489: mail in our name, as others saw it.
    Dmarc,
    /// RFC 8460: TLS to our servers, as others saw it.
    Tls,
}

/// A report of somebody else, cut to what is worth keeping.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportRead {
    /// Which.
    pub kind: ReportKind,
    /// Who made it, in its own words.
    pub organisation: String,
    /// Whom to ask there, in its own words.
    pub contact: String,
    /// Its name there.
    pub id: String,
    /// What it is about: the domain of the policy, or several of TLS.
    pub domains: Vec<Domain>,
    /// First second of the time it is about.
    pub begin: Timestamp,
    /// Last second.
    pub end: Timestamp,
    /// The policy that was found, for people.
    pub policy: String,
    /// Messages or sessions.
    pub total: u64,
    /// Of them, those that were as they should be.
    pub good: u64,
    /// The rows with most of them first.
    pub rows: Vec<ReportRow>,
    /// Rows that are not kept; they are counted above.
    pub left_out: u32,
}

/// One row of a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportRow {
    /// An address that sent, or a domain or host that was sent to.
    pub source: String,
    /// Messages or sessions.
    pub count: u64,
    /// As they should be.
    pub good: bool,
    /// What was found, for people.
    pub text: String,
}

/// A report as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportKept {
    /// When it came.
    pub at: Timestamp,
    /// From.
    pub from: Option<Address>,
    /// The report.
    pub read: ReportRead,
}

/// What a message to an address for reports holds.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReportSeen {
    /// Nobody looked.
    #[default]
    NotAsked,
    /// No report that can be read, and why.
    Unreadable(String),
    /// A report on these domains, until then.
    Read {
        /// Which kind.
        kind: ReportKind,
        /// What it is about.
        domains: Vec<Domain>,
        /// Last second of its time.
        end: Timestamp,
        /// Who signed it with a key that may sign reports on TLS (RFC 8460 §3).
        signed_by: Vec<Domain>,
    },
}

/// Notes what was found out. Waits while very much is being noted. Of evaluations the newest [`EVALUATIONS`] of two
/// days are known, of reports the newest [`REPORTS`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Feedback {
    /// For reports of ours.
    pub evaluations: Vec<Evaluation>,
    /// A report of somebody else.
    pub report: Option<Box<ReportKept>>,
}

/// Reports that came, newest first, at most 50. Reply: [`ReportKept`]s.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReportList {
    /// Which kind.
    pub kind: ReportKind,
    /// On this domain only.
    pub domain: Option<Domain>,
}

/// Evaluations, newest first, at most 500. Reply: [`Evaluation`]s.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EvaluationList {
    /// With a record of this domain only.
    pub domain: Option<Domain>,
}

/// Evaluations kept.
pub const EVALUATIONS: u64 = 50_000;
/// Reports kept.
pub const REPORTS: u64 = 5_000;
/// Octets of a report as it is kept.
pub const REPORT_OCTETS: usize = 6 * 1024;
