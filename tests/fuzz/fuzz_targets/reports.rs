//! Reports of others: as they are, packed, and within a message. What is kept is small.
#![no_main]

use libfuzzer_sys::fuzz_target;
use libmox_store::{REPORT_OCTETS, ReportRead};
use mox_verify::hostile::{attached_report, report};

fn small(read: Result<ReportRead, String>) {
    match read {
        Ok(read) => {
            let octets: usize = read.rows.iter().map(|row| row.source.len() + row.text.len()).sum();
            assert!(octets <= REPORT_OCTETS && read.good <= read.total && !read.domains.is_empty());
        }
        Err(why) => assert!(why.chars().count() < 400, "{why}"),
    }
}

fuzz_target!(|data: &[u8]| {
    small(attached_report(data.to_vec()));
    let head = b"MIME-Version: 1.0\r\nContent-Type: application/xml\r\n\r\n";
    small(report(&[head, data].concat()));
    small(report(data));
});
