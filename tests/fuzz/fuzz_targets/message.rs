//! Messages: the same facts however they arrive, a structure that lies within them and survives being stored.
#![no_main]

use libfuzzer_sys::fuzz_target;
use libmox_imap::{Dialect, structure};
use libmox_message::{Parser, Part, Structure, envelope_in, parse};

fn within(part: &Part, end: u64) {
    assert!(part.body_start <= part.body_end && part.body_end <= end, "{part:?} of {end}");
}

fuzz_target!(|data: &[u8]| {
    let Some((&size, message)) = data.split_first() else { return };
    let whole = parse(message);
    let mut parser = Parser::new();
    message.chunks(usize::from(size).max(1)).for_each(|piece| parser.feed(piece));
    assert_eq!(whole, parser.finish());
    within(&whole.structure.root, message.len() as u64);
    let stored = whole.structure.to_bytes();
    assert_eq!(Structure::from_bytes(&stored).as_ref(), Ok(&whole.structure));
    let mut out = Vec::new();
    let view = whole.structure.envelope().view();
    assert_eq!(envelope_in(&whole.structure.to_bytes()), Some(view));
    structure::envelope(&mut out, view, Dialect::Utf7);
    structure::body(&mut out, &whole.structure.root, structure::Extension::With, Dialect::Utf8);
    // What stands in the store may be broken.
    if let Ok(read) = Structure::from_bytes(message) {
        assert_eq!(Structure::from_bytes(&read.to_bytes()), Ok(read));
    }
});
