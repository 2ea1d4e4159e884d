//! Command lines and what they are read as.

use super::*;
use crate::command::{
    AppendMessage, AppendTo, EnvelopeField, FetchItem, List, Partial, Peek, SearchKey, SearchReturn, Section,
    SectionName, SectionText, Sync,
};
use crate::date::Date;
use libmox_types::{Flag, Flags, Keyword, MailboxName, ModSeq, Timestamp};

fn name(text: &str) -> MailboxName {
    MailboxName::parse(text).unwrap()
}

#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "tables read better without borrows")]
fn reads(text: &str, want: Result<Command, Fault>) {
    let (tag, got) = parse(format!("a1 {text}").as_bytes(), Dialect::Utf7);
    assert_eq!(tag.unwrap().as_str(), "a1");
    assert_eq!(got, want, "{text:?}");
}

#[track_caller]
fn refuses(texts: &[&str]) {
    for text in texts {
        let (_, got) = parse(format!("a1 {text}").as_bytes(), Dialect::Utf7);
        assert!(matches!(got, Err(Fault::Syntax(_) | Fault::UnknownCommand)), "{text:?} gave {got:?}");
    }
}

/// What clients write that take a space for white space.
#[test]
fn spaces_where_none_belong() {
    for (text, plain) in [
        ("ID ( \"name\" \"x\" )", "ID (\"name\" \"x\")"), // aioimaplib
        ("ID ( )", "ID ()"),
        ("SELECT INBOX ", "SELECT INBOX"),
        ("LIST \"\"  *  ", "LIST \"\" *"),
        ("STATUS INBOX ( MESSAGES  UNSEEN )", "STATUS INBOX (MESSAGES UNSEEN)"),
        ("UID  FETCH 1  (FLAGS  UID ) ", "UID FETCH 1 (FLAGS UID)"),
        ("FETCH 1 (BODY.PEEK[HEADER.FIELDS ( From  To )])", "FETCH 1 (BODY.PEEK[HEADER.FIELDS (From To)])"),
        ("UID SEARCH  ALL  NOT  DELETED ", "UID SEARCH ALL NOT DELETED"),
        ("STORE 1 +FLAGS ( \\Seen )", "STORE 1 +FLAGS (\\Seen)"),
        ("UID STORE 1 +FLAGS \\Seen ", "UID STORE 1 +FLAGS \\Seen"),
        ("AUTHENTICATE PLAIN ", "AUTHENTICATE PLAIN"),
        ("ENABLE  QRESYNC ", "ENABLE QRESYNC"),
    ] {
        let (_, want) = parse(format!("a1 {plain}").as_bytes(), Dialect::Utf7);
        assert!(want.is_ok(), "{plain:?} gave {want:?}");
        reads(text, want);
    }
    // A literal keeps its own.
    let login = |password: &str| Command::Login { user: "x".into(), password: Secret(password.into()) };
    reads("LOGIN x {3}\r\nab ", Ok(login("ab ")));
    reads("LOGIN x {3}\r\nab  ", Ok(login("ab ")));
    refuses(&[
        "FETCH 1 (FLAGSUID",
        "FETCH 1 ( )",
        "FETCH 1 (\"a\"\"b\")",
        "ID (\"a\"\"b\")",
        "STATUS INBOX (",
        "NOOP\t",
    ]);
}

#[test]
fn words_alone() {
    for (text, want) in [
        ("CAPABILITY", Command::Capability),
        ("noop", Command::Noop),
        ("Logout", Command::Logout),
        ("STARTTLS", Command::StartTls),
        ("NAMESPACE", Command::Namespace),
        ("IDLE", Command::Idle),
        ("CHECK", Command::Check),
        ("CLOSE", Command::Close),
        ("UNSELECT", Command::Unselect),
        ("EXPUNGE", Command::Expunge(None)),
    ] {
        reads(text, Ok(want));
        refuses(&[&format!("{text} x"), &format!("{text}\t"), &format!(" {text}")]);
        reads(&format!("{text}  "), parse(format!("a1 {text}").as_bytes(), Dialect::Utf7).1);
    }
    reads("GET / HTTP/1.0", Err(Fault::UnknownCommand));
    refuses(&["", "XYZZY", "UID", "UID NOOP", "UID EXPUNGE"]);
    assert_eq!(parse(b"+ NOOP", Dialect::Utf7).0, None);
    assert_eq!(parse(b"a+b NOOP", Dialect::Utf7).0, None);
    assert_eq!(parse(b"", Dialect::Utf7).0, None);
    assert_eq!(parse(b"a]b NOOP", Dialect::Utf7).1, Ok(Command::Noop));
}

#[test]
fn login_in_every_spelling() {
    let login =
        |user: &str, password: &str| Command::Login { user: user.into(), password: Secret(password.into()) };
    reads("LOGIN SMITH SESAME", Ok(login("SMITH", "SESAME"))); // RFC 9051 §6.2.3
    reads("LOGIN \"a@b\" \"p w\\\"\\\\\"", Ok(login("a@b", "p w\"\\")));
    reads("LOGIN {3}\r\na b {2+}\r\n\"x", Ok(login("a b", "\"x")));
    reads("LOGIN {0}\r\n {1}\r\n]", Ok(login("", "]")));
    reads("LOGIN \"é\" ]", Ok(login("é", "]")));
    refuses(&["LOGIN", "LOGIN a", "LOGIN a b c", "LOGIN a \"b", "LOGIN a \"\\n\"", "LOGIN {3}\r\nab b"]);
    refuses(&["LOGIN {1}\r\n\0 b", "LOGIN (a) b"]);
    assert_eq!(format!("{:?}", Secret("x".into())), "Secret");
}

#[test]
fn sasl_lines() {
    let auth = |initial: Option<&str>| Command::Authenticate {
        mechanism: "PLAIN".into(),
        initial: initial.map(|text| Secret(text.into())),
    };
    reads("AUTHENTICATE plain", Ok(auth(None)));
    reads("AUTHENTICATE PLAIN =", Ok(auth(Some(""))));
    reads("AUTHENTICATE PLAIN AHRlc3QAdGVzdA==", Ok(auth(Some("\0test\0test"))));
    refuses(&["AUTHENTICATE", "AUTHENTICATE PLAIN A", "AUTHENTICATE PLAIN AA= ="]);
    assert_eq!(parse_sasl_line(b"*"), Ok(None));
    assert_eq!(parse_sasl_line(b""), Ok(Some(Secret(String::new()))));
    assert!(parse_sasl_line(b"!").is_err());
}

#[test]
fn id_and_enable() {
    let pair = |a: &str, b: Option<&str>| (a.to_string(), b.map(String::from));
    reads("ID NIL", Ok(Command::Id(vec![])));
    reads("ID ()", Ok(Command::Id(vec![])));
    // RFC 2971 §3.1
    reads(
        "ID (\"name\" \"sodr\" \"version\" NIL)",
        Ok(Command::Id(vec![pair("name", Some("sodr")), pair("version", None)])),
    );
    refuses(&["ID", "ID (\"name\")", "ID (\"a\" NIL \"A\" NIL)", "ID (name NIL)"]);
    reads(&format!("ID (\"{}\" NIL)", "n".repeat(31)), Err(Fault::TooBig("field too long")));
    reads("ENABLE condstore IMAP4rev2", Ok(Command::Enable(vec!["CONDSTORE".into(), "IMAP4REV2".into()])));
    refuses(&["ENABLE", "ENABLE "]);
}

#[test]
fn mailbox_commands() {
    let plain = SelectParams::default;
    let select = |mailbox: &str, access, params| Command::Select { mailbox: name(mailbox), access, params };
    reads("SELECT INBOX", Ok(select("Inbox", Access::ReadWrite, plain())));
    reads("EXAMINE \"a b\"", Ok(select("a b", Access::ReadOnly, plain())));
    reads("SELECT {3}\r\na]b", Ok(select("a]b", Access::ReadWrite, plain())));
    reads(
        "SELECT blurdybloop (CONDSTORE)",
        Ok(select("blurdybloop", Access::ReadWrite, SelectParams { condstore: true, qresync: None })),
    );
    let uids = |text: &str| parse_seq_set(text.as_bytes()).unwrap().uids(Uid(0)).unwrap();
    // RFC 7162 §3.2.5.2
    reads(
        "SELECT INBOX (QRESYNC (67890007 90060115194045000 41:211,214:541 (1,3 5,7)))",
        Ok(select(
            "Inbox",
            Access::ReadWrite,
            SelectParams {
                condstore: false,
                qresync: Some(Resync {
                    uid_validity: UidValidity(67_890_007),
                    mod_seq: ModSeq(90_060_115_194_045_000),
                    known: Some(uids("41:211,214:541")),
                    matched: Some((uids("1,3"), uids("5,7"))),
                }),
            },
        )),
    );
    refuses(&[
        "SELECT",
        "SELECT a b",
        "SELECT a (FOO)",
        "SELECT a (QRESYNC (1 1 1:*))",
        "SELECT a (QRESYNC (0 1))",
    ]);
    refuses(&["SELECT a (QRESYNC (1))", "SELECT a*", "SELECT a%"]);

    let create = |text: &str, uses: &[SpecialUse]| Command::Create {
        mailbox: name(text),
        uses: uses.iter().fold(SpecialUses::NONE, |set, one| set.with(*one)),
    };
    reads("CREATE owatagusiam/", Ok(create("owatagusiam", &[]))); // RFC 9051 §6.3.4
    reads("CREATE a (USE (\\Sent \\drafts))", Ok(create("a", &[SpecialUse::Sent, SpecialUse::Drafts])));
    reads("CREATE a (USE (\\NoSuch \\Sent))", Err(Fault::UseAttr));
    refuses(&["CREATE a (USE)", "CREATE a (USE (Sent))", "CREATE a (FOO ())"]);
    reads("DELETE a/b", Ok(Command::Delete(name("a/b"))));
    reads("RENAME INBOX old-mail", Ok(Command::Rename { from: name("Inbox"), to: name("old-mail") }));
    reads("SUBSCRIBE \"#news\"", Err(Fault::Mailbox(MailboxNameFault::Hash)));
    reads("UNSUBSCRIBE &U,BTFw-", Ok(Command::Unsubscribe(name("台北"))));
    reads("SUBSCRIBE &", Err(Fault::MailboxSpelling)); // TR-21
    reads("SUBSCRIBE a&-b", Ok(Command::Subscribe(name("a&b"))));
    reads("SUBSCRIBE \"ä\"", Err(Fault::MailboxSpelling));
    reads("SUBSCRIBE \"\"", Err(Fault::Mailbox(MailboxNameFault::Empty)));
    reads("SUBSCRIBE \"a*b%c#\"", Ok(Command::Subscribe(name("a*b%c#")))); // TR-22
    assert_eq!(parse(b"t DELETE &", Dialect::Utf8).1, Ok(Command::Delete(name("&")))); // TR-21
    assert_eq!(parse("t DELETE \"ä\"".as_bytes(), Dialect::Utf8).1, Ok(Command::Delete(name("ä"))));

    let items = [StatusItem::UidNext, StatusItem::Messages]
        .into_iter()
        .fold(StatusItems::default(), StatusItems::with);
    reads(
        "STATUS blurdybloop (UIDNEXT MESSAGES)",
        Ok(Command::Status { mailbox: name("blurdybloop"), items }),
    );
    refuses(&["STATUS a ()", "STATUS a UIDNEXT", "STATUS a (FOO)", "STATUS a"]);
}

#[test]
fn list_in_every_form() {
    let list = |change: fn(&mut List)| {
        let mut list = List { patterns: vec!["*".into()], ..List::default() };
        change(&mut list);
        Ok(Command::List(list))
    };
    reads("LIST \"\" *", list(|_| {}));
    reads("LIST ~/Mail/ %", list(|l| (l.reference, l.patterns) = ("~/Mail/".into(), vec!["%".into()])));
    reads("LIST \"\" \"\"", list(|l| l.patterns = vec![String::new()]));
    reads("LIST (SUBSCRIBED) \"\" \"*\"", list(|l| (l.extended, l.subscribed) = (true, true)));
    reads("LIST () \"\" *", list(|l| l.extended = true));
    reads(
        "LIST (RECURSIVEMATCH SUBSCRIBED REMOTE) \"\" (\"INBOX\" Sent/%) RETURN (CHILDREN SUBSCRIBED)",
        list(|l| {
            *l = List {
                subscribed: true,
                remote: true,
                recursive_match: true,
                patterns: vec!["INBOX".into(), "Sent/%".into()],
                extended: true,
                return_subscribed: true,
                return_children: true,
                ..List::default()
            }
        }),
    );
    reads(
        "LIST \"\" % RETURN (STATUS (UNSEEN SIZE) SPECIAL-USE)",
        list(|l| {
            l.patterns = vec!["%".into()];
            l.extended = true;
            l.return_special_use = true;
            l.return_status = Some(StatusItems::default().with(StatusItem::Unseen).with(StatusItem::Size));
        }),
    );
    reads("LSUB \"#news.\" \"%\"", Ok(Command::Lsub { reference: "#news.".into(), pattern: "%".into() }));
    refuses(&[
        "LIST \"\"",
        "LIST (RECURSIVEMATCH) \"\" *",
        "LIST (FOO) \"\" *",
        "LIST \"\" ()",
        "LIST \"\" * RETURN",
    ]);
    refuses(&["LIST \"\" * RETURN (FOO)", "LIST \"\" * (CHILDREN)"]);
    reads(&format!("LIST \"\" {}", "a".repeat(1001)), Err(Fault::TooBig("pattern too long")));
}

fn set(text: &str) -> SeqSet {
    parse_seq_set(text.as_bytes()).unwrap()
}

#[track_caller]
fn fetches(text: &str, items: &[FetchItem]) {
    reads(
        &format!("FETCH 2:4 {text}"),
        Ok(Command::Fetch {
            by: By::Seq,
            set: set("2:4"),
            items: items.to_vec(),
            changed_since: None,
            vanished: false,
            window: None,
        }),
    );
}

fn body(part: &[u32], text: SectionText, peek: Peek, partial: Option<Partial>) -> FetchItem {
    FetchItem::Section {
        section: Section { part: part.to_vec(), text },
        name: SectionName::Body,
        peek,
        partial,
    }
}

#[test]
fn fetch_items() {
    use FetchItem as I;
    use SectionText as T;
    fetches("ALL", &[I::Flags, I::InternalDate, I::Size, I::Envelope]);
    fetches("fast", &[I::Flags, I::InternalDate, I::Size]);
    fetches("FULL", &[I::Flags, I::InternalDate, I::Size, I::Envelope, I::BodyPlain]);
    fetches(
        "(FLAGS BODY[HEADER.FIELDS (DATE FROM)])",
        &[I::Flags, body(&[], T::Fields(vec!["DATE".into(), "FROM".into()]), Peek::No, None)],
    ); // RFC 9051 §6.4.5
    fetches("BODY", &[I::BodyPlain]);
    fetches("BODY[]", &[body(&[], T::Whole, Peek::No, None)]);
    fetches("BODY.PEEK[1.2.MIME]", &[body(&[1, 2], T::Mime, Peek::Yes, None)]);
    fetches(
        "BODY[3.HEADER]<0.2048>",
        &[body(&[3], T::Header, Peek::No, Some(Partial { offset: 0, length: 2048 }))],
    );
    fetches("body.peek[4.2.2.1]", &[body(&[4, 2, 2, 1], T::Whole, Peek::Yes, None)]);
    fetches(
        "BODY[1.HEADER.FIELDS.NOT (X \"Y\")]",
        &[body(&[1], T::FieldsNot(vec!["X".into(), "Y".into()]), Peek::No, None)],
    );
    fetches(
        "(UID RFC822.SIZE RFC822.HEADER BODYSTRUCTURE MODSEQ SAVEDATE PREVIEW (LAZY) EMAILID THREADID)",
        &[
            I::Uid,
            I::Size,
            I::Section {
                section: Section { part: vec![], text: T::Header },
                name: SectionName::Rfc822Header,
                peek: Peek::Yes,
                partial: None,
            },
            I::BodyStructure,
            I::ModSeq,
            I::SaveDate,
            I::Preview,
            I::EmailId,
            I::ThreadId,
        ],
    );
    fetches(
        "(BINARY[1] BINARY.PEEK[]<5.7> BINARY.SIZE[1.2])",
        &[
            I::Binary { part: vec![1], peek: Peek::No, partial: None },
            I::Binary { part: vec![], peek: Peek::Yes, partial: Some(Partial { offset: 5, length: 7 }) },
            I::BinarySize(vec![1, 2]),
        ],
    );
    fetches("(FLAGS FLAGS)", &[I::Flags]);
    for bad in [
        "",
        "()",
        "(ALL)",
        "FOO",
        "BODY[",
        "BODY[0]",
        "BODY[1.]",
        "BODY[MIME]",
        "BODY[1.FOO]",
        "BODY[1TEXT]",
        "BODY[HEADER.FIELDS ()]",
        "BODY[HEADER.FIELDS]",
        "BODY[]<0>",
        "BODY[]<0.0>",
        "BODY[]<0.1",
        "BINARY",
        "BINARY[TEXT]",
        "BINARY[1.]",
        "PREVIEW (EAGER)",
        "FLAGS (FOO 1)",
        "FLAGS (VANISHED)",
        "FLAGS UID",
    ] {
        refuses(&[&format!("FETCH 1 {bad}")]);
    }
    refuses(&[
        "FETCH",
        "FETCH x FLAGS",
        "FETCH 0 FLAGS",
        "FETCH 1: FLAGS",
        "FETCH 1,,2 FLAGS",
        "FETCH 4294967296 FLAGS",
    ]);
    refuses(&[&format!("FETCH 1 BODY[{}1]", "1.".repeat(100))]);
    reads(
        "UID FETCH 300:500 (FLAGS) (CHANGEDSINCE 12345 VANISHED)",
        Ok(Command::Fetch {
            by: By::Uid,
            set: set("300:500"),
            items: vec![I::Uid, I::Flags, I::ModSeq],
            changed_since: Some(ModSeq(12345)),
            vanished: true,
            window: None,
        }),
    );
    refuses(&["UID FETCH 1 FLAGS (VANISHED)"]);
}

#[test]
fn search_keys() {
    use SearchKey as K;
    #[track_caller]
    fn searches(text: &str, want: K) {
        reads(&format!("SEARCH {text}"), Ok(Command::Search { by: By::Seq, returns: None, key: want }));
    }
    let day = |text: &str| Date::parse(text.as_bytes()).unwrap();
    let field = |field, text: &str| K::Envelope(field, text.into());
    searches("ALL", K::All);
    // RFC 9051 §6.4.4.4
    searches(
        "FLAGGED SINCE 1-Feb-1994 NOT FROM \"Smith\"",
        K::And(vec![
            K::Flag(Flag::Flagged, true),
            K::Since(day("1-Feb-1994")),
            K::Not(Box::new(field(EnvelopeField::From, "Smith"))),
        ]),
    );
    searches("CHARSET utf-8 TEXT {12}\r\nтест\r\nab", K::Text("тест\r\nab".into()));
    searches("CHARSET \"US-ASCII\" UNSEEN", K::Flag(Flag::Seen, false));
    searches(
        "OR SEEN (1:3,5 UID *)",
        K::Or(
            Box::new(K::Flag(Flag::Seen, true)),
            Box::new(K::And(vec![K::Seq(set("1:3,5")), K::Uid(set("*"))])),
        ),
    );
    searches("$ LARGER 10 SMALLER 20", K::And(vec![K::Seq(SeqSet::Saved), K::Larger(10), K::Smaller(20)]));
    searches("HEADER Message-ID \"\"", K::Header("Message-ID".into(), String::new()));
    searches(
        "KEYWORD Work UNKEYWORD $Forwarded",
        K::And(vec![K::Keyword(Keyword::parse("work").unwrap(), true), K::Flag(Flag::Forwarded, false)]),
    );
    searches("NEW OLD RECENT", K::And(vec![K::New, K::Old, K::Recent]));
    searches(
        "BEFORE \"2-Mar-2020\" SENTON 2-Mar-2020",
        K::And(vec![K::Before(day("2-Mar-2020")), K::SentOn(day("2-Mar-2020"))]),
    );
    searches("MODSEQ \"/flags/\\\\draft\" all 620162338", K::ModSeq(ModSeq(620_162_338))); // RFC 7162 §3.1.5
    searches(
        "SAVEDSINCE 1-Jan-2020 SAVEDATESUPPORTED OLDER 5 YOUNGER 6",
        K::And(vec![K::SavedSince(day("1-Jan-2020")), K::SaveDateSupported, K::Older(5), K::Younger(6)]),
    );
    searches(
        "BCC a CC b TO c SUBJECT d BODY e",
        K::And(vec![
            field(EnvelopeField::Bcc, "a"),
            field(EnvelopeField::Cc, "b"),
            field(EnvelopeField::To, "c"),
            field(EnvelopeField::Subject, "d"),
            K::Body("e".into()),
        ]),
    );
    reads("SEARCH CHARSET KOI8-R ALL", Err(Fault::BadCharset));
    for (text, returns) in [
        ("(MIN COUNT)", SearchReturn { min: true, count: true, ..SearchReturn::default() }),
        ("()", SearchReturn { all: true, ..SearchReturn::default() }),
        ("(SAVE)", SearchReturn { save: true, ..SearchReturn::default() }),
        ("(ALL MAX)", SearchReturn { all: true, max: true, ..SearchReturn::default() }),
    ] {
        let want = Command::Search { by: By::Uid, returns: Some(returns), key: K::All };
        reads(&format!("UID SEARCH RETURN {text} ALL"), Ok(want));
    }
    for bad in
        ["", "()", "NOT", "OR ALL", "FOO", "FROM", "SINCE x", "LARGER -1", "OLDER 0", "RETURN (FOO) ALL"]
    {
        refuses(&[&format!("SEARCH {bad}")]);
    }
    reads(&format!("SEARCH {}ALL", "NOT ".repeat(160)), Err(Fault::TooBig("search too complicated")));
    reads(&format!("SEARCH {}ALL", "(".repeat(160)), Err(Fault::TooBig("search too complicated")));
    reads(&format!("SEARCH ALL{}", " ALL".repeat(1000)), Err(Fault::TooBig("search too complicated")));
}

#[test]
fn store_copy_move() {
    let flags = |flags: &[Flag], keywords: &[&str]| FlagList {
        flags: flags.iter().copied().collect::<Flags>(),
        keywords: keywords.iter().map(|k| Keyword::parse(k).unwrap()).collect(),
    };
    let store = |change, silent, unchanged_since| {
        Ok(Command::Store { by: By::Seq, set: set("2:4"), change, silent, unchanged_since })
    };
    // RFC 9051 §6.4.6
    reads("STORE 2:4 +FLAGS (\\Deleted)", store(FlagChange::Add(flags(&[Flag::Deleted], &[])), false, None));
    reads(
        "STORE 2:4 -flags.silent \\seen Foo FOO",
        store(FlagChange::Remove(flags(&[Flag::Seen], &["foo"])), true, None),
    );
    reads("STORE 2:4 FLAGS ()", store(FlagChange::Replace(flags(&[], &[])), false, None));
    reads(
        "STORE 2:4 (UNCHANGEDSINCE 0) FLAGS $Junk",
        store(FlagChange::Replace(flags(&[Flag::Junk], &[])), false, Some(ModSeq(0))),
    );
    refuses(&[
        "STORE 1 FLAGS",
        "STORE 1 FLAGS (",
        "STORE 1 *FLAGS ()",
        "STORE 1 FLAGS \\Recent",
        "STORE 1 FLAGS (\\*)",
    ]);
    refuses(&["STORE 1 FLAGS \\Bogus", "STORE 1 (FOO 1) FLAGS ()"]);
    reads("STORE 1 FLAGS a]b", Err(Fault::Syntax("space expected")));
    reads(&format!("STORE 1 FLAGS {}", "k".repeat(200)), Err(Fault::Keyword));
    reads("COPY 2:4 MEETING", Ok(Command::Copy { by: By::Seq, set: set("2:4"), to: name("MEETING") }));
    reads("UID MOVE 42:69,70 foo", Ok(Command::Move { by: By::Uid, set: set("42:69,70"), to: name("foo") }));
    reads("UID EXPUNGE 3000:3002", Ok(Command::Expunge(Some(set("3000:3002")))));
    reads(
        "UID COPY $ \"Other Messages\"",
        Ok(Command::Copy { by: By::Uid, set: SeqSet::Saved, to: name("Other Messages") }),
    );
}

#[test]
fn urls() {
    // RFC 4467 §7
    let url = "imap://joe@example.com/INBOX/;uid=20/;section=1.2;urlauth=submit+fred";
    reads(
        &format!("GENURLAUTH \"{url}\" INTERNAL x internal"),
        Ok(Command::GenUrlAuth(vec![(url.into(), "INTERNAL".into()), ("x".into(), "INTERNAL".into())])),
    );
    reads("RESETKEY", Ok(Command::ResetKey(None)));
    reads("RESETKEY INBOX", Ok(Command::ResetKey(Some((MailboxName::inbox(), vec![])))));
    reads(
        "resetkey a INTERNAL xsample",
        Ok(Command::ResetKey(Some((name("a"), vec!["INTERNAL".into(), "XSAMPLE".into()])))),
    );
    reads("URLFETCH a {1}\r\nb", Ok(Command::UrlFetch(vec!["a".into(), "b".into()])));
    refuses(&["GENURLAUTH", "GENURLAUTH x", "URLFETCH", "URLFETCH "]);
    let many = " x".repeat(crate::limits::URLS + 1);
    reads(&format!("URLFETCH{many}"), Err(Fault::TooBig("too many URLs")));
    let long = "x".repeat(crate::limits::URL + 1);
    reads(&format!("URLFETCH {long}"), Err(Fault::TooBig("URL too long")));
}

#[test]
fn append_heads() {
    #[track_caller]
    fn head(text: &str, want: Option<(&str, AppendMessage)>) {
        let got = match append_head(format!("a {text}\r\n").as_bytes(), Dialect::Utf7).1 {
            AppendHead::Pieces(mailbox, mut pieces) => match pieces.pop() {
                Some(Piece::Head(message)) => Some((mailbox, message)),
                _ => None,
            },
            _ => None,
        };
        assert_eq!(
            got,
            want.map(|(mailbox, message)| (AppendTo { mailbox: name(mailbox), replaces: None }, message)),
            "{text:?}"
        );
    }
    let plain = AppendMessage {
        flags: FlagList::default(),
        date: None,
        size: 310,
        sync: Sync::Synchronising,
        utf8: false,
        catenate: false,
    };
    head("APPEND saved-messages {310}", Some(("saved-messages", plain.clone())));
    let seen = FlagList { flags: Flags::NONE.with(Flag::Seen), keywords: vec![] };
    // RFC 9051 §6.3.12
    head(
        "append saved-messages (\\Seen) {310+}",
        Some((
            "saved-messages",
            AppendMessage { flags: seen.clone(), sync: Sync::NonSynchronising, ..plain.clone() },
        )),
    );
    head(
        "APPEND {1}\r\na (\\Seen) \" 1-Jan-1970 00:00:10 +0000\" ~{310}",
        Some(("a", AppendMessage { flags: seen, date: Some(Timestamp(10)), ..plain.clone() })),
    );
    head("APPEND a UTF8 (~{310}", Some(("a", AppendMessage { utf8: true, ..plain })));
    for bad in ["APPEND {3}", "LOGIN {3}", "APPEND a (\\Seen {3}", "APPEND a \"1\" {3}", "APPEND a UTF8 ({3}"]
    {
        head(bad, None);
    }
}
