//! Words for the junk filter: bounded, and the same however the octets arrive.
#![no_main]

use libfuzzer_sys::fuzz_target;
use libmox_message::limits::{WORD_OCTETS, WORDS};
use libmox_message::{Parser, parse};

fuzz_target!(|data: &[u8]| {
    let Some((&how, text)) = data.split_first() else { return };
    let kind = ["text/html", "text/plain", "text/html; charset=shift_jis", "text/plain; charset=utf-16"];
    let coding = ["8bit", "quoted-printable", "base64"];
    let head = format!(
        "Subject: {0}\r\nContent-Type: {1}\r\nContent-Transfer-Encoding: {2}\r\n\r\n",
        String::from_utf8_lossy(&text[..text.len().min(40)]).replace(['\r', '\n'], " "),
        kind[usize::from(how) % kind.len()],
        coding[usize::from(how >> 2) % coding.len()]
    );
    let message = [head.as_bytes(), text].concat();
    let words = parse(&message).words;
    assert!(words.split_whitespace().count() <= WORDS && words.len() <= WORD_OCTETS);
    let mut parser = Parser::new();
    message.chunks(usize::from(how).max(1)).for_each(|piece| parser.feed(piece));
    assert_eq!(parser.finish().words, words);
});
