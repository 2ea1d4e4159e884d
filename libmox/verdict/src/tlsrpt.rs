//! Where a domain wants reports about TLS.
//!
//! Law: RFC 8460 §3.

use crate::{RecordFault, ReportUri, URIS, tags};
use std::fmt;

/// The record below `_smtp._tls`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// At least one.
    pub aggregate: Vec<ReportUri>,
}

impl Record {
    /// A TXT record, its strings put together.
    pub fn parse(text: &str) -> Result<Self, RecordFault> {
        let tags = tags(text, "TLSRPTv1")?;
        let rua = tags.iter().find(|(name, _)| name.eq_ignore_ascii_case("rua"));
        let uris = rua.map(|(_, value)| value.split(',').take(URIS)).ok_or(RecordFault::Malformed)?;
        let aggregate: Vec<ReportUri> = uris.filter_map(ReportUri::parse).collect();
        if aggregate.is_empty() { Err(RecordFault::Malformed) } else { Ok(Self { aggregate }) }
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let uris: Vec<String> = self.aggregate.iter().map(ToString::to_string).collect();
        write!(f, "v=TLSRPTv1;rua={}", uris.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_say_where_reports_go() {
        let record = Record::parse("v=TLSRPTv1; rua=mailto:tls@example.org, https://r.example/x;").unwrap();
        assert_eq!(record.to_string(), "v=TLSRPTv1;rua=mailto:tls@example.org,https://r.example/x");
        assert_eq!(Record::parse(&record.to_string()), Ok(record));
        for (text, fault) in [
            ("v=TLSRPTv2; rua=mailto:a@b", RecordFault::Other),
            ("v=spf1 -all", RecordFault::Other),
            ("", RecordFault::Other),
            ("v=TLSRPTv1", RecordFault::Malformed),
            ("v=TLSRPTv1;rua=x", RecordFault::Malformed),
        ] {
            assert_eq!(Record::parse(text), Err(fault), "{text}");
        }
    }
}
