//! Records of DMARC and TLS reports: what is read is written so that it reads the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use libmox_types::Domain;
use libmox_verdict::{ReportUri, dmarc, organisation, tlsrpt};

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    for text in [text.to_string(), format!("v=DMARC1;{text}"), format!("v=TLSRPTv1;{text}")] {
        if let Ok(record) = dmarc::Record::parse(&text) {
            assert_eq!(dmarc::Record::parse(&record.to_string()), Ok(record));
        }
        if let Ok(record) = tlsrpt::Record::parse(&text) {
            assert_eq!(tlsrpt::Record::parse(&record.to_string()), Ok(record));
        }
    }
    let _ = dmarc::choose(text.lines());
    if let Some(address) = ReportUri::parse(&text).and_then(|uri| uri.address()) {
        let again = ReportUri::mailto(&address, None);
        assert_eq!(again.address(), Some(address));
    }
    if let Ok(domain) = Domain::parse(&text) {
        let above = organisation(&domain);
        assert!(domain.is_at_or_below(&above));
        assert_eq!(organisation(&above), above);
    }
});
