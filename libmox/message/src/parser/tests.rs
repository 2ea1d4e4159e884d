//! Shapes of messages, whole and broken.

use super::*;
use crate::address::Mailbox;

/// One line for each part: type, header start, body start, body end, lines.
#[track_caller]
fn has_parts(message: &str, want: &[&str]) {
    fn show(part: &Part, depth: usize, out: &mut Vec<String>) {
        out.push(format!(
            "{}{}/{} {} {} {} {}",
            " ".repeat(depth),
            part.media_type,
            part.subtype,
            part.header_start,
            part.body_start,
            part.body_end,
            part.lines
        ));
        part.children.iter().for_each(|child| show(child, depth + 1, out));
    }
    let facts = parse(message.as_bytes());
    let mut got = Vec::new();
    show(&facts.structure.root, 0, &mut got);
    assert_eq!(got, want, "{message:?}");
}

#[test]
fn parts_have_their_places() {
    has_parts("Subject: x\r\n\r\na\r\nb", &["text/plain 0 14 18 1"]);
    has_parts("Subject: x\r\n\r\n", &["text/plain 0 14 14 0"]);
    has_parts("Subject: x\r\n", &["text/plain 0 12 12 0"]);
    has_parts("Subject: x", &["text/plain 0 10 10 0"]);
    has_parts("", &["text/plain 0 0 0 0"]);
    has_parts("\r\nbody\r\n", &["text/plain 0 2 8 1"]);
    has_parts("just text\r\n", &["text/plain 0 0 11 1"]);
    has_parts("x", &["text/plain 0 0 1 0"]);
    has_parts("From a@b Sat\r\nA: b\r\n\r\nc", &["text/plain 0 22 23 0"]);
    has_parts("A: b\ngarbage\nC: d\n\nbody\n", &["text/plain 0 19 24 1"]);
}

#[test]
fn multiparts_nest() {
    has_parts(
        "Content-Type: multipart/mixed; boundary=b\r\n\r\npre\r\n--b\r\n\r\none\r\n--b \r\nA: b\r\n\r\n\r\n--b--\r\nepi\r\n--b\r\n",
        &["multipart/mixed 0 45 95 11", " text/plain 55 57 60 0", " text/plain 68 76 76 0"],
    );
    // The outer boundary ends the inner multipart; a header that is cut short has no body.
    has_parts(
        "Content-Type: multipart/a; boundary=o\n\n--o\nContent-Type: multipart/b; boundary=i\n\n--i\nX: y\n--o--\n",
        &["multipart/a 0 39 97 6", " multipart/b 43 82 91 2", "  text/plain 86 91 91 0"],
    );
    has_parts(
        "Content-Type: multipart/mixed; boundary=b\r\n\r\nnothing",
        &["multipart/mixed 0 45 52 0", " text/plain 52 52 52 0"],
    );
    has_parts(
        "Content-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: x\n\nhi\n--b--",
        &["multipart/digest 0 44 69 5", " message/rfc822 48 49 63 2", "  text/plain 49 61 63 0"],
    );
    has_parts("Content-Type: multipart/mixed\r\n\r\n--\r\n", &["multipart/mixed 0 33 37 1"]);
    has_parts("Content-Type: nonsense\r\n\r\n", &["text/plain 0 26 26 0"]);
}

#[test]
fn a_message_within_a_message() {
    let facts = parse(b"Content-Type: message/rfc822\r\n\r\nSubject: a\r\nFrom: x@y\r\n\r\nb\r\n");
    let inner = facts.structure.root.message().unwrap();
    assert_eq!(inner.envelope.as_ref().unwrap().from.as_deref(), Some(&b"x@y"[..]));
    assert_eq!((inner.header_start, inner.body_start, inner.body_end, inner.lines), (32, 57, 60, 1));
    assert_eq!(facts.structure.root.lines, 4);
    has_parts(
        "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nQQ==",
        &["message/rfc822 0 67 71 0"],
    );
    // The message ends before the one within begins.
    has_parts("Content-Type: message/rfc822\r\n", &["message/rfc822 0 30 30 0", " text/plain 30 30 30 0"]);
}

#[test]
fn fields_are_kept_unfolded() {
    let facts = parse(
            b"Received: a\r\nreceived: b\r\nFROM : A\r\n <a@b>\r\nFrom: c@d\r\nTo: x@y,\r\n\tz@y\r\nSubject: Re: =?utf-8?Q?h=C3=A9?=\r\nSubject: other\r\n\
            Message-ID: <ID@x>\r\nReferences: <r1@x>\r\n <r2@x>\r\nIn-Reply-To: <r2@x>\r\nDate: Fri, 21 Nov 1997 09:55:06 -0600\r\n\
            Auto-Submitted: auto-replied\r\nList-Id: x\r\nTLS-Required: No\r\nContent-Type: text/html;\r\n charset=utf-8\r\nContent-Language: en, de\r\n\r\n<p>hi</p>\r\n",
        );
    let envelope = facts.structure.envelope();
    assert_eq!(envelope.from.as_deref(), Some(&b"A <a@b>, c@d"[..]));
    assert_eq!(envelope.to.as_deref(), Some(&b"x@y,\tz@y"[..]));
    let hosts = |list: &[Mailbox]| {
        list.iter().map(|m| String::from_utf8_lossy(&m.host).into_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        (hosts(&facts.from), hosts(&facts.to)),
        (vec!["b".into(), "d".into()], vec!["y".into(), "y".into()])
    );
    assert_eq!(
        (facts.subject.as_str(), facts.base_subject.as_str(), facts.subject_is_answer),
        ("Re: h\u{e9}", "h\u{e9}", true)
    );
    assert_eq!((facts.message_id.as_deref(), facts.references.len()), (Some("id@x"), 2));
    assert_eq!((facts.date.map(|d| d.0), facts.received), (Some(880_127_706), 2));
    assert!(facts.auto_submitted && facts.list_id && facts.tls_required_no && facts.has_separator);
    assert_eq!(facts.structure.root.language.len(), 2);
    assert_eq!(facts.preview, "hi");
    assert_eq!(facts.flaws, Flaws::default());
}

#[track_caller]
fn has_flaws(message: &[u8], want: Flaws) {
    assert_eq!(parse(message).flaws, want, "{:?}", String::from_utf8_lossy(message));
}

#[test]
fn flaws_are_told_apart() {
    let none = Flaws::default();
    has_flaws(b"A: b\r\n\r\nc\r\n", none);
    has_flaws("A: \u{e9}\r\n\r\n".as_bytes(), Flaws { header_non_ascii: true, ..none });
    has_flaws("A: b\r\n \u{e9}\r\n\r\n".as_bytes(), Flaws { header_non_ascii: true, ..none });
    has_flaws("A: b\r\n\r\n\u{e9}\r\n".as_bytes(), Flaws { body_8bit: true, ..none });
    has_flaws("A: b\r\n\r\n\u{e9}".as_bytes(), Flaws { body_8bit: true, ..none });
    has_flaws(
        "Content-Type: multipart/x; boundary=b\r\n\r\n--b\r\nA: \u{e9}\r\n\r\n--b--".as_bytes(),
        Flaws { header_non_ascii: true, ..none },
    );
    has_flaws(b"A: b\r\n\r\n\r", Flaws { bare_cr: true, ..none });
    has_flaws(b"A: b\r\n\r\n\rx\r\n", Flaws { bare_cr: true, ..none });
    has_flaws(b"A: b\r\n\r\n\r\r\n", Flaws { bare_cr: true, ..none });
    has_flaws(b"A: b\r\n\r\n\n", Flaws { bare_lf: true, ..none });
    has_flaws(b"A: b\r\n\r\n\0", Flaws { nul: true, ..none });
    has_flaws(b"--x\0\r\n", Flaws { nul: true, ..none });
    assert!(parse(b"x").no_header && !parse(b"x").has_separator);
    assert!(!parse(b"A: b\r\n").no_header && !parse(b"A: b\r\n").has_separator);
}

#[test]
fn the_first_text_part_makes_the_preview() {
    let message = "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\nContent-Disposition: attachment\r\n\r\nno\r\n\
            --b\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: base64\r\n\r\naOls\r\nbG8=\r\n--b\r\n\r\nmore\r\n--b--\r\n";
    assert_eq!(parse(message.as_bytes()).preview, "h\u{e9}llo");
    assert_eq!(parse(b"A: b\r\n\r\n> q\r\n-- x\r\n").preview, "[...] -- x");
}

/// Row JK-05.
#[test]
fn these_fields_give_words() {
    let fields = ["From", "To", "Cc", "Bcc", "Reply-To", "Subject", "Sender", "Return-Path"];
    let mut message = String::from("X-Other: nothing\r\nReceived: from nowhere\r\n");
    for field in fields {
        message.push_str(&format!("{field}: some <one@far.example>\r\n"));
    }
    let words = parse(format!("{message}\r\nbody\r\n").as_bytes()).words;
    let words: Vec<&str> = words.split_whitespace().collect();
    for field in fields {
        for word in ["one", "far", "example"] {
            let word = format!("{}:{word}", field.to_lowercase());
            assert!(words.contains(&word.as_str()), "{word}: {words:?}");
        }
    }
    assert!(!words.iter().any(|word| word.contains("nothing") || word.contains("nowhere")), "{words:?}");
}

/// The limits on parts and fields, at what they allow and one beyond.
#[test]
fn limits_are_where_they_say() {
    let depth = |levels: usize| {
        let message = "Content-Type: message/rfc822\r\n\r\n".repeat(levels);
        fn deepest(part: &Part) -> usize {
            1 + part.children.iter().map(deepest).max().unwrap_or(0)
        }
        let facts = parse(message.as_bytes());
        (deepest(&facts.structure.root), facts.flaws.over_limit)
    };
    let (at, over) = depth(limits::NESTING - 1);
    assert_eq!((at, over), (limits::NESTING, false));
    for levels in [limits::NESTING + 5, 10 * limits::NESTING] {
        let (most, over) = depth(levels);
        assert!(over && most <= limits::NESTING + 1, "{levels}: {most}");
    }
    let fields = |count: usize| {
        let message = format!("{}Subject: last\r\n\r\n", "X: y\r\n".repeat(count - 1));
        let facts = parse(message.as_bytes());
        (facts.structure.envelope().subject.is_some(), facts.flaws.over_limit)
    };
    assert_eq!(fields(limits::FIELDS), (true, false));
    assert_eq!(fields(limits::FIELDS + 1), (false, true));
    let field = |octets: usize| {
        let message = format!("Subject: {}\r\n\r\n", "x".repeat(octets));
        let facts = parse(message.as_bytes());
        facts.structure.envelope().subject.as_ref().map(Vec::len)
    };
    assert_eq!(field(1_000), Some(1_000));
    assert!(field(10 * limits::FIELD_OCTETS).is_some_and(|octets| octets <= limits::FIELD_OCTETS));
}

#[test]
fn hostile_shapes_stay_bounded() {
    let mut deep = String::new();
    for level in 0..10_000 {
        deep.push_str(&format!("Content-Type: multipart/x; boundary={level}\r\n\r\n--{level}\r\n"));
    }
    let facts = parse(deep.as_bytes());
    assert!(facts.flaws.over_limit);
    assert!(Structure::from_bytes(&facts.structure.to_bytes()).is_ok());
    let deep = "Content-Type: message/rfc822\r\n\r\n".repeat(10_000);
    assert!(Structure::from_bytes(&parse(deep.as_bytes()).structure.to_bytes()).is_ok());
    let wide = format!("Content-Type: multipart/x; boundary=b\r\n\r\n{}", "--b\r\n\r\nx\r\n".repeat(5_000));
    let facts = parse(wide.as_bytes());
    assert_eq!(facts.structure.root.children.len(), limits::PARTS - 1);
    assert!(Structure::from_bytes(&facts.structure.to_bytes()).is_ok());
    let big = format!("To: {}\r\n\r\n", "a@b,".repeat(100_000));
    assert_eq!(
        parse(big.as_bytes()).structure.envelope().to.as_ref().map(Vec::len),
        Some(limits::FIELD_OCTETS - 4)
    );
    let many = "To: a@example.org\r\n".repeat(50_000);
    assert!(parse(many.as_bytes()).flaws.over_limit);
    let mut parser = Parser::new();
    parser.feed(b"Content-Type: multipart/x; boundary=b\r\n\r\n--");
    for _ in 0..1000 {
        parser.feed(&[b'b'; 4096]);
        assert!(parser.line.held.capacity() < 128 * 1024);
    }
    assert_eq!(parser.finish().structure.root.children.len(), 1);
}

/// A small generator of its own, so that the test is the same everywhere.
struct Dice(u64);
impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % most as u64).unwrap()
    }
}

#[test]
fn the_same_bytes_cut_anywhere_give_the_same_facts() {
    let pieces: &[&[u8]] = &[
        b"\r\n",
        b"\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b"\r\n\r\n",
        b"--b\r\n",
        b"--b--\r\n",
        b"--c\r\n",
        b"--c--",
        b"--",
        b"-",
        b"b",
        b"Content-Type: multipart/mixed; boundary=b\r\n",
        b"Content-Type: multipart/alternative; boundary=\"c\"\r\n",
        b"Content-Type: message/rfc822\r\n",
        b"Content-Type: text/html; charset=utf-16\r\n",
        b"Subject: x\r\n",
        b"From: a <b@c>,\r\n",
        b" folded\r\n",
        b"\xc3",
        b"\xa9",
        b"\0",
        b"> quoted\r\n",
        b"=C3=A9=\r\n",
        b"Content-Transfer-Encoding: quoted-printable\r\n",
        b"text ",
        b"garbage",
        b":",
        b"<b>bold</b>&amp;",
        b"\x1b(B",
    ];
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for round in 0..4_000 {
        let mut message = Vec::new();
        for _ in 0..dice.below(40) {
            if dice.below(10) == 0 {
                message.push(u8::try_from(dice.below(256)).unwrap());
            } else {
                message.extend_from_slice(pieces[dice.below(pieces.len())]);
            }
        }
        let whole = parse(&message);
        assert!(Structure::from_bytes(&whole.structure.to_bytes()).as_ref() == Ok(&whole.structure));
        check(&whole.structure.root, message.len() as u64);
        let mut parser = Parser::new();
        let mut rest = &message[..];
        while !rest.is_empty() {
            let cut = (1 + dice.below(9)).min(rest.len());
            parser.feed(&rest[..cut]);
            rest = &rest[cut..];
        }
        assert_eq!(parser.finish(), whole, "round {round}: {:?}", String::from_utf8_lossy(&message));
    }
}

fn check(part: &Part, end: u64) {
    assert!(part.header_start <= part.body_start && part.body_start <= part.body_end && part.body_end <= end);
    let mut from = part.body_start;
    for child in &part.children {
        assert!(child.header_start >= from && child.body_end <= part.body_end, "{part:?}");
        from = child.body_end;
    }
}

#[test]
fn tls_is_not_required_only_where_all_fields_say_so() {
    // RFC 8689 §5, row SR-36.
    for (fields, want) in [
        ("", false),
        ("TLS-Required: No\r\n", true),
        ("TLS-Required: no\r\ntls-required: NO\r\n", true),
        ("TLS-Required: No\r\nTLS-Required: Yes\r\n", false),
        ("TLS-Required: Yes\r\nTLS-Required: No\r\n", false),
        ("TLS-Required: maybe\r\n", false),
    ] {
        let facts = crate::parse(format!("From: a@b\r\n{fields}\r\nhi\r\n").as_bytes());
        assert_eq!(facts.tls_required_no, want, "{fields}");
    }
}
