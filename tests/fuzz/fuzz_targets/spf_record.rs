//! SPF records: reading never fails in a way of its own, and says the same twice.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mox_verify::hostile::spf_record;

fuzz_target!(|data: &[u8]| {
    assert_eq!(spf_record(data), spf_record(data));
    let record = [b"v=spf1 ", data].concat();
    let _ = spf_record(&record);
});
