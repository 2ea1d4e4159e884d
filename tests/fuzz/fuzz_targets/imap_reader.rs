//! A client's octets on the IMAP port: the same commands however they were cut, and none that breaks a session.
#![no_main]

use libfuzzer_sys::fuzz_target;
use libmox_imap::{Command, Dialect, Event, Reader};

/// Everything the reader says, with octets of messages joined.
fn script(wire: &[u8], size: usize, choice: u8) -> Vec<String> {
    let mut reader = Reader::new();
    if choice & 1 != 0 {
        reader.signed_in();
    }
    if choice & 2 != 0 {
        reader.set_dialect(Dialect::Utf8);
    }
    let mut said: Vec<String> = Vec::new();
    for chunk in wire.chunks(size) {
        let mut input = chunk;
        loop {
            match reader.read(&mut input) {
                Event::More => {
                    assert!(input.is_empty(), "asks for more with octets left");
                    break;
                }
                Event::Octets(octets) => {
                    let hex: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
                    match said.last_mut() {
                        Some(last) if last.starts_with("octets ") => last.push_str(&hex),
                        _ => said.push(format!("octets {hex}")),
                    }
                }
                Event::Message(tag, mailbox, message) => {
                    said.push(format!("{tag:?} {mailbox:?} {message:?}"));
                    if choice & 4 != 0 && message.size % 2 == 0 { reader.refuse() } else { reader.accept() }
                }
                Event::Text { size, sync } => {
                    said.push(format!("{size} {sync:?}"));
                    if choice & 8 != 0 && size % 2 == 0 { reader.refuse() } else { reader.accept() }
                }
                Event::Url(url) => {
                    let parsed = libmox_imap::url::MessageUrl::parse(&url);
                    said.push(format!("{url} {parsed:?}"));
                    if choice & 16 != 0 && parsed.is_none() {
                        reader.refuse();
                    }
                }
                Event::Command(tag, command) => {
                    if command == Command::Idle {
                        reader.expect_line();
                    }
                    said.push(format!("{tag:?} {command:?}"));
                }
                Event::Bye(text) => {
                    said.push(text.to_owned());
                    return said;
                }
                other => said.push(format!("{other:?}")),
            }
        }
    }
    said
}

fuzz_target!(|data: &[u8]| {
    let [choice, size, wire @ ..] = data else { return };
    let whole = script(wire, wire.len().max(1), *choice);
    assert_eq!(whole, script(wire, usize::from(*size).max(1), *choice));
});
