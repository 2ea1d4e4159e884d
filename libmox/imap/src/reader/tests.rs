//! Octets cut anywhere, and what the reader says of them.

use super::*;
use crate::command::AppendTo;
use crate::command::{FlagList, Secret};

/// Everything a reader says, with octets of messages joined, so that it does not depend on the cuts.
fn script(reader: &mut Reader, wire: &[u8], cut: usize) -> Vec<String> {
    let mut said: Vec<String> = Vec::new();
    for chunk in wire.chunks(cut.max(1)) {
        let mut input = chunk;
        loop {
            match reader.read(&mut input) {
                Event::More => {
                    assert!(input.is_empty(), "asks for more with octets left");
                    break;
                }
                Event::Octets(octets) => {
                    let text = String::from_utf8_lossy(octets).into_owned();
                    match said.last_mut() {
                        Some(last) if last.starts_with("octets ") => last.push_str(&text),
                        _ => said.push(format!("octets {text}")),
                    }
                }
                Event::Message(tag, mailbox, message) => {
                    said.push(format!(
                        "message {} {:?} {}",
                        tag.as_str(),
                        mailbox.map(|to| to.mailbox.to_string()),
                        message.size
                    ));
                    reader.accept();
                }
                Event::Url(url) => said.push(format!("url {url}")),
                Event::Text { size, .. } => {
                    said.push(format!("text {size}"));
                    reader.accept();
                }
                Event::MessageEnd => said.push("end".into()),
                Event::AppendEnd(tag) => said.push(format!("append {}", tag.as_str())),
                Event::Continue => said.push("continue".into()),
                Event::Command(tag, command) => {
                    if command == Command::Idle {
                        reader.expect_line();
                    }
                    said.push(format!("{} {command:?}", tag.as_str()));
                }
                Event::Fault(tag, fault) => {
                    said.push(format!("{:?} {fault:?}", tag.map(|t| t.as_str().to_string())));
                }
                Event::Line(line) => said.push(format!("line {}", String::from_utf8_lossy(&line))),
                Event::Bye(text) => {
                    said.push(format!("bye {text}"));
                    return said;
                }
            }
        }
    }
    said
}

#[track_caller]
fn says(wire: &str, want: &[&str]) {
    let cuts: &[usize] = if wire.len() < 50_000 { &[usize::MAX, 1, 2, 3, 7] } else { &[usize::MAX, 1000] };
    for &cut in cuts {
        let mut reader = Reader::new();
        reader.signed_in();
        assert_eq!(script(&mut reader, wire.as_bytes(), cut), want, "{wire:?} in pieces of {cut}");
        assert!(reader.held.capacity() == 0 || !reader.is_clean(), "an idle reader holds memory");
    }
}

#[test]
fn commands_and_literals() {
    says("a NOOP\r\nb CHECK\n", &["a Noop", "b Check"]);
    says("a DELETE {3}\r\nx y\r\nb NOOP\r\n", &["continue", "a Delete(MailboxName(\"x y\"))", "b Noop"]);
    says("a DELETE {3+}\r\nx y\r\n", &["a Delete(MailboxName(\"x y\"))"]);
    says("a LOGIN {1+}\r\n{ {1+}\r\n}\r\n", &["a Login { user: \"{\", password: Secret }"]);
    says("a LOGIN \"{1}\" {0+}\r\n\r\n", &["a Login { user: \"{1}\", password: Secret }"]);
    says(
        "\r\nnonsense\r\n",
        &[
            "None Syntax(\"a command starts with a tag and a space\")",
            "None Syntax(\"a command starts with a tag and a space\")",
        ],
    );
    says("a IDLE\r\nDONE\r\nb NOOP\r\n", &["a Idle", "line DONE", "b Noop"]);
    says("a DELETE {1\r\nb NOOP\r\n", &["Some(\"a\") Syntax(\"bad literal\")", "b Noop"]);
}

#[test]
fn messages_pass_through() {
    says(
        "a APPEND x {5}\r\nhello\r\nb NOOP\r\n",
        &["message a Some(\"x\") 5", "octets hello", "end", "append a", "b Noop"],
    );
    says(
        "a APPEND {1+}\r\nx (\\Seen) {2+}\r\n\r\n {3}\r\na\nb {0+}\r\n\r\n",
        &[
            "message a Some(\"x\") 2",
            "octets \r\n",
            "end",
            "message a None 3",
            "octets a\nb",
            "end",
            "message a None 0",
            "end",
            "append a",
        ],
    );
    says(
        "a APPEND x UTF8 (~{2+}\r\nhi)\r\nb NOOP\r\n",
        &["message a Some(\"x\") 2", "octets hi", "end", "append a", "b Noop"],
    );
    says(
        "a APPEND x {2+}\r\nhi junk\r\nb NOOP\r\n",
        &[
            "message a Some(\"x\") 2",
            "octets hi",
            "end",
            "Some(\"a\") Syntax(\"message literal expected\")",
            "b Noop",
        ],
    );
    says(
        "a APPEND x {1+}\r\nh {1+}junk\r\nb NOOP\r\n",
        &[
            "message a Some(\"x\") 1",
            "octets h",
            "end",
            "Some(\"a\") Syntax(\"message literal expected\")",
            "b Noop",
        ],
    );
    // A fault before the message: its octets go nowhere, nor do those of the ones behind.
    says("a APPEND & {4+}\r\nb NO OK {2+}\r\n\r\n\r\nc NOOP\r\n", &["Some(\"a\") MailboxSpelling", "c Noop"]);
    says("a APPEND & {4}\r\nc NOOP\r\n", &["Some(\"a\") MailboxSpelling", "c Noop"]);
    says("a APPEND x\r\n", &["Some(\"a\") Syntax(\"message expected\")"]);
}

#[test]
fn messages_are_put_together() {
    // RFC 4469
    says(
        "a APPEND x (\\Seen) CATENATE (URL \"/y/;UID=1\" TEXT {3}\r\nab\n URL /y/;UID=2 TEXT {1+}\r\nc)\r\nb NOOP\r\n",
        &[
            "message a Some(\"x\") 0",
            "url /y/;UID=1",
            "text 3",
            "octets ab\n",
            "url /y/;UID=2",
            "text 1",
            "octets c",
            "end",
            "append a",
            "b Noop",
        ],
    );
    // Without a literal, with a literal for the URL, several messages of all kinds.
    says(
        "a APPEND x CATENATE (URL {2+}\r\n/y) {2+}\r\nhi CATENATE (UTF8 (~{1+}\r\nz) URL a) CATENATE (URL b)\r\n",
        &[
            "message a Some(\"x\") 0",
            "url /y",
            "end",
            "message a None 2",
            "octets hi",
            "end",
            "message a None 0",
            "text 1",
            "octets z",
            "url a",
            "end",
            "message a None 0",
            "url b",
            "end",
            "append a",
        ],
    );
    says(
        "a UID REPLACE 3 x CATENATE (TEXT {0+}\r\n)\r\n",
        &["message a Some(\"x\") 0", "text 0", "end", "append a"],
    );
    for (bad, why) in [
        ("CATENATE ()", "TEXT or URL expected"),
        ("CATENATE (URL x", "space expected"),
        ("CATENATE (URL x) junk", "message literal expected"),
        ("CATENATE (FILE x)", "TEXT or URL expected"),
        ("CATENATE (TEXT x)", "message literal expected"),
        ("CATENATE", "message literal expected"),
    ] {
        let want = format!("Some(\"a\") Syntax({why:?})");
        says(&format!("a APPEND x {bad}\r\nb NOOP\r\n"), &[&want, "b Noop"]);
    }
    let many = "URL /y/;UID=1 ".repeat(limits::URLS);
    says(
        &format!("a APPEND x CATENATE ({many}URL /y)\r\nb NOOP\r\n"),
        &["Some(\"a\") TooBig(\"too many URLs\")", "b Noop"],
    );
    says(
        "a REPLACE 1 x CATENATE (URL /y) {1+}\r\nh\r\nb NOOP\r\n",
        &["Some(\"a\") TooBig(\"too many messages\")", "b Noop"],
    );
    says(
        "a APPEND x CATENATE (URL /y TEXT {900000000})\r\n",
        &["Some(\"a\") Syntax(\"message literal expected\")"],
    );
    says(
        "a APPEND x CATENATE (URL /y TEXT {900000000}\r\nb NOOP\r\n",
        &["Some(\"a\") TooBig(\"message too large\")", "b Noop"],
    );
}

#[test]
fn a_refused_piece_leaves_the_next_command() {
    for wire in [
        "a APPEND x CATENATE (URL /y TEXT {3+}\r\nabc URL /z TEXT {2+}\r\nhi)\r\nb NOOP\r\n",
        "a APPEND x CATENATE (URL /y TEXT {3}\r\nb NOOP\r\n",
        "a APPEND x CATENATE (URL /y URL /z)\r\nb NOOP\r\n",
    ] {
        for refused_at in 0..2 {
            let mut reader = Reader::new();
            reader.signed_in();
            let (mut input, mut seen, mut commands) = (wire.as_bytes(), 0, Vec::new());
            loop {
                match reader.read(&mut input) {
                    Event::Message(..) | Event::Url(_) if seen == refused_at => {
                        reader.refuse();
                        seen += 1;
                    }
                    Event::Message(..) => {
                        reader.accept();
                        seen += 1;
                    }
                    Event::More => break,
                    event => commands.push(format!("{event:?}")),
                }
            }
            assert_eq!(commands, ["Command(Tag(b), Noop)"], "{wire:?} {refused_at}");
        }
    }
}

#[test]
fn limits_hold() {
    // TR-03
    says(
        &format!("a DELETE {{{}}}\r\nb NOOP\r\n", 101 * 1024),
        &["Some(\"a\") TooBig(\"literal too large\")", "b Noop"],
    );
    says(
        &format!("a DELETE {{{}+}}\r\n{}\r\nb NOOP\r\n", 101 * 1024, "x".repeat(101 * 1024)),
        &["Some(\"a\") TooBig(\"literal too large\")", "bye literal too large"],
    );
    // Who waits to be asked goes on with the next command; who does not is at the end.
    let asked = |count: usize, wanted: &str| {
        let mut want = vec!["continue"; count];
        want.extend([wanted, "b Noop"]);
        want.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let (many, too_many) = ("{0}\r\n ".repeat(1000), "Some(\"a\") TooBig(\"too many literals\")");
    let want = asked(1000, too_many);
    says(&format!("a LIST \"\" ({many}{{0}}\r\nb NOOP\r\n"), &want.iter().map(|s| &**s).collect::<Vec<_>>());
    says(
        &format!("a LIST \"\" ({}x)\r\nb NOOP\r\n", "{0+}\r\n ".repeat(1001)),
        &[too_many, "bye literal too large"],
    );
    let (octets, together) = ("x".repeat(100 * 1024), "Some(\"a\") TooBig(\"literals too large together\")");
    let large = |sync: &str| format!("{{{}{sync}}}\r\n{octets} ", 100 * 1024);
    let want = asked(10, together);
    says(
        &format!("a LIST \"\" ({}{{{}}}\r\nb NOOP\r\n", large("").repeat(10), 100 * 1024),
        &want.iter().map(|s| &**s).collect::<Vec<_>>(),
    );
    says(
        &format!("a LIST \"\" ({}x)\r\nb NOOP\r\n", large("+").repeat(11)),
        &[together, "bye literal too large"],
    );
    says(
        &format!("a {}\r\nb NOOP\r\n", "x".repeat(20_000)),
        &["Some(\"a\") TooBig(\"command line too long\")", "b Noop"],
    );
    says(
        &format!("a X{}{{3+}}\r\nq x\r\nb NOOP\r\n", "x".repeat(20_000)),
        &["Some(\"a\") TooBig(\"command line too long\")", "b Noop"],
    );
    says(&"x".repeat(2_000_000), &["None TooBig(\"command line too long\")", "bye command line too long"]);
    says("a DELETE {9000000000+}\r\n", &["bye literal too large"]);
    says("a APPEND x {9000000000}\r\nb NOOP\r\n", &["Some(\"a\") TooBig(\"message too large\")", "b Noop"]);
    let exact = format!("a DELETE \"{}\"\r\n", "x".repeat(limits::LINE - 13));
    assert_eq!(exact.len(), limits::LINE);
    says(&exact, &["Some(\"a\") Mailbox(TooLong)"]);
}

/// Row IM-27: what is refused of a REPLACE is read up to 1 MiB.
#[test]
fn a_refused_replacement_that_is_large_ends_the_connection() {
    let bye = || Event::Bye("literal too large");
    for (command, size, end) in [
        ("REPLACE 1 x", limits::SKIP, Event::More),
        ("REPLACE 1 x", limits::SKIP + 1, bye()),
        ("UID REPLACE 1 x", limits::SKIP + 1, bye()),
        ("APPEND x", limits::SKIP + 1, Event::More),
    ] {
        let mut reader = Reader::new();
        reader.signed_in();
        let wire = format!("a {command} {{{size}+}}\r\n");
        let mut input = wire.as_bytes();
        assert!(matches!(reader.read(&mut input), Event::Message(..)));
        reader.refuse();
        assert_eq!(reader.read(&mut input), end, "{command} {size}");
    }
    // One that asks first is answered, and goes on.
    says(
        "a REPLACE 0 x {2000000}\r\nb NOOP\r\n",
        &["Some(\"a\") Syntax(\"number must not be 0\")", "b Noop"],
    );
    for command in ["REPLACE 0 x", "uid replace 0 x"] {
        let want = ["Some(\"a\") Syntax(\"number must not be 0\")", "bye literal too large"];
        says(&format!("a {command} {{2000000+}}\r\n"), &want);
    }
}

#[test]
fn strangers_have_less_room() {
    let wire = format!("a LOGIN {{{}}}\r\n", limits::LITERAL_BEFORE_LOGIN + 1);
    let said = script(&mut Reader::new(), wire.as_bytes(), 100);
    assert_eq!(said, ["Some(\"a\") TooBig(\"literal too large\")"]);
    // Nor is more than that read to be thrown away, as it would be of a message that is refused to a person.
    let wire = format!("a LOGIN {{{}+}}\r\nb NOOP\r\n", limits::SKIP + 1);
    assert_eq!(script(&mut Reader::new(), wire.as_bytes(), 100), ["bye literal too large"]);
    for (size, end) in [(limits::SKIP, Event::More), (limits::SKIP + 1, Event::Bye("literal too large"))] {
        let mut reader = Reader::new();
        let wire = format!("a APPEND x {{{size}+}}\r\n");
        let mut input = wire.as_bytes();
        assert!(matches!(reader.read(&mut input), Event::Message(..)));
        reader.refuse();
        assert_eq!(reader.read(&mut input), end, "{size}");
    }
}

#[test]
fn a_refused_message_leaves_the_next_command() {
    for (wire, refused_at) in
        [("a APPEND x {5+}\r\nhello {3+}\r\nabc\r\nb NOOP\r\n", 0), ("a APPEND x {5}\r\nb NOOP\r\n", 0)]
    {
        let mut reader = Reader::new();
        reader.signed_in();
        let mut input = wire.as_bytes();
        let mut commands = Vec::new();
        let mut messages = 0;
        loop {
            match reader.read(&mut input) {
                Event::Message(..) if messages == refused_at => reader.refuse(),
                Event::Message(..) => messages += 1,
                Event::More => break,
                event => commands.push(format!("{event:?}")),
            }
        }
        assert_eq!(commands, ["Command(Tag(b), Noop)"], "{wire:?}");
    }
    let mut reader = Reader::new();
    let mut input: &[u8] = b"a APPEND x {5+}\r\nhello {3+}\r\nabc\r\nb NOOP\r\n";
    assert!(matches!(reader.read(&mut input), Event::Message(..)));
    reader.accept();
    assert_eq!(reader.read(&mut input), Event::Octets(b"hello"));
    reader.abandon();
    assert_eq!(reader.read(&mut input), Event::Command(Tag("b".into()), Command::Noop));
}

#[test]
fn random_octets_never_panic_and_cuts_do_not_matter() {
    let words: &[&[u8]] = &[
        b"a ",
        b"b1 ",
        b"APPEND ",
        b"LOGIN ",
        b"x ",
        b"{3}\r\n",
        b"{4+}\r\n",
        b"~{2+}\r\n",
        b"\r\n",
        b"\"",
        b"\\",
        b"(",
        b")",
        b"SEARCH ",
        b"FETCH ",
        b"1:* ",
        b"BODY[",
        b"CATENATE (",
        b"URL ",
        b"TEXT ",
        b" ",
        b"]",
        b"NOT ",
        b"UID ",
        b"STORE ",
        b"FLAGS ",
        b"\xff",
        b"\0",
        b"IDLE",
        b"LIST ",
        b"RETURN ",
        b"\n",
        b"\r",
        b"&",
        b"UTF8 (",
        b"<0.1>",
        b"%",
        b"*",
        b"SELECT ",
        b"INBOX",
        b" ",
    ];
    let mut seed = 11_u32;
    let mut next = |bound: usize| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) as usize % bound
    };
    for round in 0..3_000 {
        let mut wire: Vec<u8> = Vec::new();
        for _ in 0..next(20) {
            wire.extend_from_slice(words[next(words.len())]);
        }
        let whole = script(&mut Reader::new(), &wire, usize::MAX);
        for cut in [1, 2 + next(9)] {
            assert_eq!(script(&mut Reader::new(), &wire, cut), whole, "round {round} {wire:?}");
        }
    }
}

#[test]
fn types_are_what_they_say() {
    let mut reader = Reader::new();
    let mut input: &[u8] = b"t APPEND INBOX {1}\r\n";
    let Event::Message(tag, mailbox, message) = reader.read(&mut input) else { panic!("a message") };
    assert_eq!(
        (tag.as_str(), mailbox),
        ("t", Some(AppendTo { mailbox: libmox_types::MailboxName::inbox(), replaces: None }))
    );
    assert_eq!((message.flags, message.sync), (FlagList::default(), Sync::Synchronising));
    assert_eq!(format!("{:?}", Secret("hidden".into())), "Secret");
}
