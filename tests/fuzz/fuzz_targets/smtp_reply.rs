//! What a server says to us: the same however it arrives.
#![no_main]

use libfuzzer_sys::fuzz_target;
use libmox_smtp::reply::parse;

fuzz_target!(|data: &[u8]| {
    let Ok(Some((used, answer))) = parse(data) else { return };
    assert!(used > 0 && used <= data.len() && (200..600).contains(&answer.code));
    assert_eq!(parse(&data[..used]), Ok(Some((used, answer.clone()))));
    assert_eq!(parse(&data[..used - 1]), Ok(None));
    let _ = (answer.status(), answer.to_string(), answer.is_permanent());
});
