//! Header fields of authentication: signatures, seals and results are read, and what is in our name goes, however the
//! octets arrive.
#![no_main]

use libfuzzer_sys::fuzz_target;
use libmox_message::foreign::OwnResults;
use libmox_types::Domain;
use mox_verify::hostile::authentication_fields;

fn filtered(message: &[u8], size: usize) -> Vec<u8> {
    let Ok(own) = Domain::parse("mx.example.org") else { return Vec::new() };
    let (mut filter, mut out) = (OwnResults::new(own), Vec::new());
    message.chunks(size).for_each(|piece| filter.feed(piece, &mut out));
    filter.finish(&mut out);
    out
}

fuzz_target!(|data: &[u8]| {
    let Some((&size, message)) = data.split_first() else { return };
    let whole = filtered(message, message.len().max(1));
    assert_eq!(whole, filtered(message, usize::from(size).max(1)));
    assert!(whole.len() <= message.len());
    let _ = authentication_fields(&whole);
    let _ = authentication_fields(message);
});
