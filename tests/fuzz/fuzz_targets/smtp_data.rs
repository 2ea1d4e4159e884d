//! The octets behind DATA: cut anywhere they are the same message, and what we send reads back as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use libmox_smtp::data::{Decoder, Encoder, Flaws};

/// Some inputs are larger than that.
const MOST: u64 = 1_000;

fn decode(wire: &[u8], size: usize) -> (Vec<u8>, u64, bool, Flaws) {
    let mut decoder = Decoder::new(MOST);
    let mut out = Vec::new();
    for piece in wire.chunks(size) {
        if decoder.feed(piece, &mut out) < piece.len() {
            break;
        }
    }
    (out, decoder.taken(), decoder.ended(), decoder.flaws())
}

fuzz_target!(|data: &[u8]| {
    let Some((&size, data)) = data.split_first() else { return };
    let size = usize::from(size).max(1);
    let whole = decode(data, data.len().max(1));
    assert_eq!(whole, decode(data, size));
    assert!(whole.0.len() as u64 <= MOST);
    // SR-19: nothing but this ends the data.
    let end = data.windows(5).position(|window| window == b"\r\n.\r\n").map(|at| at + 5);
    let end = if data.starts_with(b".\r\n") { Some(3) } else { end };
    assert_eq!(whole.2.then_some(whole.1), end.map(|end| end as u64));

    let (mut wire, mut pieces) = (Vec::new(), Vec::new());
    let mut encoder = Encoder::default();
    encoder.feed(data, &mut wire);
    encoder.finish(&mut wire);
    let mut encoder = Encoder::default();
    data.chunks(size).for_each(|piece| encoder.feed(piece, &mut pieces));
    encoder.finish(&mut pieces);
    assert_eq!(wire, pieces);
    let (mut back, mut decoder) = (Vec::new(), Decoder::new(u64::MAX));
    assert_eq!(decoder.feed(&wire, &mut back), wire.len());
    assert!(decoder.ended() && back.starts_with(data) && back.len() <= data.len() + 2);
});
