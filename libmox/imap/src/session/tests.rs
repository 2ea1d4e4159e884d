//! Commands and answers in, steps out.

use super::*;
use crate::command::{SearchKey, Secret};
use crate::parse::parse;
use crate::view::View;
use libmox_types::{Cid, Keyword, MailboxId, MailboxName, ModSeq, Uid, UidSet, UidValidity};

fn offers() -> Offers {
    Offers {
        cid: Cid(7),
        starttls: false,
        passwords: true,
        mechanisms: vec!["SCRAM-SHA-256", "PLAIN"],
        append_limit: 1000,
    }
}

/// A client and the session it talks to.
struct Talk {
    session: Session,
    out: Vec<u8>,
}

impl Talk {
    fn new(offers: Offers) -> Self {
        Self { session: Session::new(offers), out: Vec::new() }
    }

    fn signed_in() -> Self {
        let mut talk = Self::new(offers());
        talk.session.signed_in(vec![]);
        talk
    }

    fn selected(uids: &[u32]) -> Self {
        let mut talk = Self::signed_in();
        talk.select(uids, Access::ReadWrite);
        talk
    }

    fn select(&mut self, uids: &[u32], access: Access) {
        let opened = Opened {
            id: MailboxId(1),
            name: MailboxName::inbox(),
            access,
            exists: u32::try_from(uids.len()).unwrap(),
            view: View::of(uids.iter().copied().map(Uid)),
            uid_validity: UidValidity(3_857_529_045),
            uid_next: Uid(4392),
            mod_seq: ModSeq(12),
            keywords: vec![Keyword::parse("work").unwrap()],
            first_unseen: u32::try_from(uids.len()).ok().filter(|last| *last > 0),
        };
        self.session.selected(opened, &mut self.out);
        self.out.clear();
    }

    fn say(&mut self, line: &str) -> (Step, String) {
        let step = match parse(line.as_bytes(), self.session.dialect()) {
            (Some(tag), Ok(command)) => self.session.on_command(tag, command, &mut self.out),
            (tag, Err(fault)) => self.session.on_fault(tag.as_ref(), &fault, &mut self.out),
            (None, Ok(_)) => unreachable!(),
        };
        (step, self.heard())
    }

    fn heard(&mut self) -> String {
        String::from_utf8(std::mem::take(&mut self.out)).unwrap()
    }

    #[track_caller]
    fn answers(&mut self, line: &str, want: &str) {
        let (step, heard) = self.say(line);
        assert_eq!((step, heard.as_str()), (Step::Done, want), "{line}");
    }

    #[track_caller]
    fn asks(&mut self, line: &str, want: Ask) {
        let (step, heard) = self.say(line);
        assert_eq!((step, heard.as_str()), (Step::Ask(want), ""), "{line}");
        self.session.complete(Status::Ok, None, "done", &mut self.out);
        self.out.clear();
    }
}

fn set(uids: &[u32]) -> UidSet {
    uids.iter().copied().map(Uid).collect()
}

/// Every command with the states it is legal in: not authenticated, authenticated, selected.
#[test]
fn each_command_has_its_states() {
    for (line, states) in [
        ("CAPABILITY", [true, true, true]),
        ("NOOP", [true, true, true]),
        ("LOGOUT", [true, true, true]),
        ("ID NIL", [true, true, true]),
        ("STARTTLS", [false, false, false]),
        ("LOGIN a b", [true, false, false]),
        ("AUTHENTICATE PLAIN", [true, false, false]),
        ("ENABLE CONDSTORE", [false, true, true]),
        ("SELECT a", [false, true, true]),
        ("EXAMINE a", [false, true, true]),
        ("CREATE a", [false, true, true]),
        ("DELETE a", [false, true, true]),
        ("RENAME a b", [false, true, true]),
        ("SUBSCRIBE a", [false, true, true]),
        ("UNSUBSCRIBE a", [false, true, true]),
        ("LIST \"\" *", [false, true, true]),
        ("LSUB \"\" *", [false, true, true]),
        ("NAMESPACE", [false, true, true]),
        ("STATUS a (UIDNEXT)", [false, true, true]),
        ("IDLE", [false, true, true]),
        ("CHECK", [false, true, true]),
        ("CLOSE", [false, false, true]),
        ("UNSELECT", [false, false, true]),
        ("EXPUNGE", [false, false, true]),
        ("UID EXPUNGE 1", [false, false, true]),
        ("SEARCH ALL", [false, false, true]),
        ("FETCH 1 FLAGS", [false, false, true]),
        ("STORE 1 FLAGS ()", [false, false, true]),
        ("COPY 1 a", [false, false, true]),
        ("UID MOVE 1 a", [false, false, true]),
    ] {
        let talks = [Talk::new(offers()), Talk::signed_in(), Talk::selected(&[1])];
        for (mut talk, legal) in talks.into_iter().zip(states) {
            let (_, heard) = talk.say(&format!("a {line}"));
            assert_eq!(!heard.contains("a BAD"), legal, "{line}: {heard}");
        }
    }
}

#[test]
fn before_login() {
    let mut talk = Talk::new(Offers { starttls: true, passwords: false, ..offers() });
    talk.session.greeting("hello", &mut talk.out);
    let greeting = talk.heard();
    assert!(greeting.starts_with("* OK [CAPABILITY IMAP4rev2 IMAP4rev1 STARTTLS LOGINDISABLED LITERAL+ "));
    talk.answers("a LOGIN u p", "a NO [PRIVACYREQUIRED] TLS required\r\n");
    let (step, heard) = talk.say("b STARTTLS");
    assert_eq!(
        (step, heard.as_str()),
        (Step::StartTls, "b OK begin TLS negotiation now (0000000000000007)\r\n")
    );
    talk.session.tls_started(offers().mechanisms);
    let (_, heard) = talk.say("c CAPABILITY");
    assert!(
        heard.contains("SASL-IR AUTH=SCRAM-SHA-256 AUTH=PLAIN ") && !heard.contains("STARTTLS"),
        "{heard}"
    );
    talk.answers("d STARTTLS", "d BAD not possible now\r\n");
    talk.answers("e AUTHENTICATE CRAM-MD5", "e NO mechanism not offered\r\n");
    let login = Ask::Login { user: "u".into(), password: Secret("p".into()) };
    talk.asks("f LOGIN u p", login);
    talk.session.signed_in(vec!["condstore".into()]);
    let capabilities = talk.session.capabilities();
    assert!(!capabilities.contains("AUTH=") && !capabilities.contains("CONDSTORE"), "{capabilities}");
}

#[test]
fn strangers_get_few_tries() {
    let mut talk = Talk::new(offers());
    let (step, heard) = talk.say("GET / HTTP/1.1");
    assert_eq!((step, heard.as_str()), (Step::Close, "* BYE please try again speaking imap\r\n"));
    let mut talk = Talk::new(offers());
    talk.answers("a NOOP", "a OK done\r\n");
    for n in 1..limits::FAULTS_BEFORE_LOGIN {
        assert_eq!(talk.say("b WHAT").0, Step::Done, "{n}");
    }
    let (step, heard) = talk.say("b WHAT");
    assert!(step == Step::Close && heard.ends_with("* BYE too many errors\r\n"));
    let mut talk = Talk::new(offers());
    for _ in 1..limits::LOGIN_FAILURES {
        assert_eq!(talk.session.login_failed(&mut talk.out), Step::Done);
    }
    assert_eq!(talk.session.login_failed(&mut talk.out), Step::Close);
    let (step, heard) = Talk::signed_in().say("z LOGOUT");
    assert_eq!((step, heard.as_str()), (Step::Close, "* BYE logging out\r\nz OK done\r\n"));
}

#[test]
fn enabling_changes_the_spelling() {
    let mut talk = Talk::signed_in();
    talk.answers("a SUBSCRIBE &", "a BAD mailbox name is not valid modified UTF-7\r\n");
    talk.answers(
        "b ENABLE X-GOOD-IDEA CONDSTORE IMAP4rev2",
        "* ENABLED CONDSTORE IMAP4rev2\r\nb OK done\r\n",
    );
    talk.asks("c SUBSCRIBE &", Ask::Subscribe(MailboxName::parse("&").unwrap(), true));
    talk.answers("d LIST \"\" \"\"", "* LIST (\\Noselect) \"/\" \"\"\r\nd OK done\r\n");
    talk.answers("e NAMESPACE", "* NAMESPACE ((\"\" \"/\")) NIL NIL\r\ne OK done\r\n");
    talk.answers("f SELECT a (QRESYNC (1 1))", "f BAD QRESYNC is not enabled\r\n");
    talk.answers("g SELECT \"\"", "g NO [CANNOT] not a valid mailbox name\r\n");
}

#[test]
fn select_tells_what_old_and_new_clients_expect() {
    let open = |talk: &mut Talk, access| {
        let opened = Opened {
            id: MailboxId(1),
            name: MailboxName::inbox(),
            access,
            exists: 2,
            view: View::of([5, 7].map(Uid)),
            uid_validity: UidValidity(9),
            uid_next: Uid(8),
            mod_seq: ModSeq(0),
            keywords: vec![],
            first_unseen: Some(2),
        };
        talk.session.selected(opened, &mut talk.out);
        talk.heard()
    };
    let flags = "\\Seen \\Answered \\Flagged \\Deleted \\Draft $Forwarded $Junk $NotJunk $Phishing $MDNSent";
    assert_eq!(
        open(&mut Talk::signed_in(), Access::ReadWrite),
        format!(
            "* FLAGS ({flags})\r\n* 2 EXISTS\r\n* 0 RECENT\r\n* OK [UNSEEN 2] first unseen\r\n\
             * OK [UIDVALIDITY 9] uids valid\r\n* OK [UIDNEXT 8] predicted next uid\r\n\
             * OK [PERMANENTFLAGS ({flags} \\*)] flags\r\n* OK [HIGHESTMODSEQ 1] highest\r\n\
             * OK [MAILBOXID (B1)] id\r\n* OK [URLMECH INTERNAL] mechanisms\r\n"
        )
    );
    let mut talk = Talk::signed_in();
    talk.say("a ENABLE IMAP4rev2");
    let heard = open(&mut talk, Access::ReadOnly);
    assert!(!heard.contains("RECENT") && !heard.contains("UNSEEN"));
    assert!(heard.contains("[PERMANENTFLAGS ()]") && heard.ends_with("* LIST () \"/\" INBOX\r\n"), "{heard}");
    // RFC 9051 §6.3.2: the old mailbox is let go of first.
    let (step, heard) = talk.say("b SELECT other");
    assert_eq!(heard, "* OK [CLOSED] previous mailbox closed\r\n");
    assert!(matches!(step, Step::Ask(Ask::Select { .. })) && talk.session.mailbox().is_none());
}

#[test]
fn sets_become_uids() {
    let mut talk = Talk::selected(&[3, 4, 9]);
    let fetch = |uids: &[u32], items: Vec<FetchItem>, missing| Ask::Fetch {
        uids: set(uids),
        changed_since: None,
        vanished: None,
        sets_seen: false,
        by: if items.contains(&FetchItem::Uid) { By::Uid } else { By::Seq },
        items,
        missing,
    };
    talk.asks("a FETCH 2:* FLAGS", fetch(&[4, 9], vec![FetchItem::Flags], false));
    talk.asks("a FETCH 10:* FLAGS", fetch(&[9], vec![FetchItem::Flags], false));
    talk.asks("a UID FETCH 10:* FLAGS", fetch(&[9], vec![FetchItem::Uid, FetchItem::Flags], false));
    talk.asks("a UID FETCH 1:5,77 FLAGS", fetch(&[3, 4], vec![FetchItem::Uid, FetchItem::Flags], false));
    talk.answers("a FETCH 4 FLAGS", "a BAD no message has that number\r\n");
    talk.answers("a UID FETCH 1 FLAGS (CHANGEDSINCE 1 VANISHED)", "a BAD QRESYNC is not enabled\r\n");
    talk.session.mailbox_mut().unwrap().view.on_removed(&set(&[4]));
    talk.asks("a FETCH 1:3 FLAGS", fetch(&[3, 9], vec![FetchItem::Flags], true));
    talk.asks("a UID FETCH 1:9 FLAGS", fetch(&[3, 9], vec![FetchItem::Uid, FetchItem::Flags], false));
    let search = |key| Ask::Search { by: By::Seq, returns: None, key };
    talk.asks("a SEARCH NOT 3:100", search(SearchKey::Not(Box::new(SearchKey::Among(set(&[9]))))));
    talk.asks(
        "a SEARCH OR UID * $",
        search(SearchKey::Or(Box::new(SearchKey::Among(set(&[9]))), Box::new(SearchKey::Among(set(&[]))))),
    );
    talk.asks("a UID EXPUNGE 1:4", Ask::Expunge(Some(set(&[3, 4]))));
    let copy = |uids: &[u32], by, take| Ask::Copy {
        uids: set(uids),
        to: MailboxName::parse("x").unwrap(),
        take,
        by,
        missing: false,
    };
    talk.asks("a COPY 1 x", copy(&[3], By::Seq, false));
    talk.asks("a UID MOVE 9 x", copy(&[9], By::Uid, true));
    assert!(!talk.session.enabled().condstore);
    talk.say("a FETCH 1 MODSEQ");
    assert!(talk.session.enabled().condstore);
}

#[test]
fn reading_only() {
    let mut talk = Talk::signed_in();
    talk.select(&[1], Access::ReadOnly);
    for line in ["STORE 1 FLAGS ()", "EXPUNGE", "UID EXPUNGE 1", "MOVE 1 x"] {
        talk.answers(&format!("a {line}"), "a NO [READ-ONLY] mailbox is open for reading only\r\n");
    }
    let (step, _) = talk.say("a FETCH 1 BODY[]");
    assert!(matches!(step, Step::Ask(Ask::Fetch { sets_seen: false, .. })));
    talk.answers("b CLOSE", "b OK closed\r\n");
    assert!(talk.session.mailbox().is_none());
    let mut talk = Talk::selected(&[1]);
    let (step, _) = talk.say("a FETCH 1 RFC822");
    assert!(matches!(step, Step::Ask(Ask::Fetch { sets_seen: true, .. })));
    talk.asks("b CLOSE", Ask::CloseExpunge(MailboxId(1)));
}

#[test]
fn news_are_told_when_they_may_be() {
    // TM-09
    for (line, want) in [
        ("FETCH 1 FLAGS", "* 3 EXISTS\r\n"),
        ("STORE 1 FLAGS ()", "* 3 EXISTS\r\n"),
        ("SEARCH ALL", "* 3 EXISTS\r\n"),
        ("UID FETCH 1 FLAGS", "* 1 EXPUNGE\r\n* 2 EXISTS\r\n"),
        ("UID SEARCH ALL", "* 1 EXPUNGE\r\n* 2 EXISTS\r\n"),
        ("NOOP", "* 1 EXPUNGE\r\n* 2 EXISTS\r\n"),
        ("STATUS x (UIDNEXT)", "* 1 EXPUNGE\r\n* 2 EXISTS\r\n"),
    ] {
        let mut talk = Talk::selected(&[1, 2]);
        let view = &mut talk.session.mailbox_mut().unwrap().view;
        view.on_removed(&set(&[1]));
        view.on_added(Uid(3));
        assert_eq!(talk.session.tell(&mut talk.out), Told::All);
        assert_eq!(talk.heard(), "", "nothing is said between commands");
        talk.say(&format!("a {line}"));
        assert_eq!(talk.session.tell(&mut talk.out), Told::All);
        talk.session.complete(Status::Ok, None, "x", &mut talk.out);
        assert_eq!(talk.heard(), format!("{want}a OK x\r\n"), "{line}");
    }
}

#[test]
fn idle_ends_with_done() {
    let mut talk = Talk::selected(&[1]);
    let (step, heard) = talk.say("a IDLE");
    assert_eq!((step, heard.as_str()), (Step::Ask(Ask::Idle), "+ idling\r\n"));
    talk.session.mailbox_mut().unwrap().view.on_added(Uid(2));
    talk.session.tell(&mut talk.out);
    assert_eq!(talk.heard(), "* 2 EXISTS\r\n");
    assert_eq!(talk.session.on_done(b"done", &mut talk.out), Step::Done);
    assert_eq!(talk.heard(), "a OK done\r\n");
    talk.say("b IDLE");
    talk.session.on_done(b"c NOOP", &mut talk.out);
    assert_eq!(talk.heard(), "b BAD DONE expected\r\n");
}

#[test]
fn search_results_in_every_form() {
    let run = |talk: &mut Talk, line: &str, found: &[u32]| {
        let (step, _) = talk.say(line);
        let Step::Ask(Ask::Search { by, returns, .. }) = step else { panic!("{step:?}") };
        talk.session.found(by, returns, &set(found), None, &mut talk.out);
        talk.session.complete(Status::Ok, None, "done", &mut Vec::new());
        talk.heard()
    };
    let mut talk = Talk::selected(&[2, 4, 6, 8]);
    assert_eq!(run(&mut talk, "a SEARCH ALL", &[4, 6]), "* SEARCH 2 3\r\n");
    assert_eq!(run(&mut talk, "a UID SEARCH ALL", &[4, 6]), "* SEARCH 4 6\r\n");
    assert_eq!(run(&mut talk, "a SEARCH ALL", &[]), "* SEARCH\r\n");
    assert_eq!(
        run(&mut talk, "A282 SEARCH RETURN (MIN COUNT) ALL", &[4, 6, 8]),
        "* ESEARCH (TAG \"A282\") MIN 2 COUNT 3\r\n"
    ); // RFC 9051 §6.4.4
    assert_eq!(
        run(&mut talk, "a UID SEARCH RETURN () ALL", &[4, 6]),
        "* ESEARCH (TAG \"a\") UID ALL 4,6\r\n"
    );
    assert_eq!(run(&mut talk, "a SEARCH RETURN (MAX COUNT) ALL", &[]), "* ESEARCH (TAG \"a\") COUNT 0\r\n");
    // RFC 5182 §2.1
    assert_eq!(run(&mut talk, "a SEARCH RETURN (SAVE) ALL", &[4, 8]), "");
    let (step, _) = talk.say("b FETCH $ FLAGS");
    assert!(matches!(step, Step::Ask(Ask::Fetch { uids, .. }) if uids == set(&[4, 8])));
    run(&mut talk, "a SEARCH RETURN (SAVE MIN) ALL", &[4, 8]);
    let (step, _) = talk.say("b UID COPY $ x");
    assert!(matches!(step, Step::Ask(Ask::Copy { uids, .. }) if uids == set(&[4])));
    talk.session.search_failed();
    let (step, _) = talk.say("b UID COPY $ x");
    assert!(matches!(step, Step::Ask(Ask::Copy { uids, .. }) if uids.is_empty()));
    talk.say("c ENABLE IMAP4rev2");
    assert_eq!(run(&mut talk, "a SEARCH ALL", &[4]), "* ESEARCH (TAG \"a\") ALL 2\r\n");
}

/// Row IM-37: a thousand changes wait for a client that wants them with its next command, not more.
#[test]
fn a_thousand_changes_wait() {
    for (others, overflows) in [(1_000, false), (1_001, true)] {
        let mut talk = Talk::selected(&[1]);
        talk.say("a NOTIFY SET (selected-delayed (MessageNew MessageExpunge FlagChange))");
        talk.session.complete(Status::Ok, None, "done", &mut talk.out);
        talk.out.clear();
        for uid in 2..2 + others {
            talk.session.mailbox_mut().unwrap().view.on_added(Uid(uid));
        }
        let (_, heard) = talk.say("b NOOP");
        assert_eq!(heard.contains("* OK [NOTIFICATIONOVERFLOW] "), overflows, "{heard}");
        assert_eq!(talk.session.take_overflow(), overflows);
        talk.session.tell(&mut talk.out);
        talk.session.complete(Status::Ok, None, "done", &mut talk.out);
        assert_eq!(talk.heard(), if overflows { "b OK done\r\n" } else { "* 1001 EXISTS\r\nb OK done\r\n" });
    }
}

#[test]
fn after_an_overflow_of_notifications_nothing_is_told_until_asked_anew() {
    // Row IM-37, RFC 5465 §5.8.
    let mut talk = Talk::selected(&[1, 2]);
    talk.say("a NOTIFY SET (selected (MessageNew MessageExpunge FlagChange))");
    talk.session.complete(Status::Ok, None, "done", &mut talk.out);
    assert!(talk.session.tells_at_once());
    talk.out.clear();
    talk.session.notification_overflow(&mut talk.out);
    assert_eq!(talk.out, b"* OK [NOTIFICATIONOVERFLOW] too much happened\r\n");
    talk.out.clear();
    talk.session.mailbox_mut().unwrap().view.on_added(Uid(3));
    assert!(!talk.session.tells_at_once());
    assert_eq!(talk.session.tell(&mut talk.out), Told::All);
    assert!(talk.out.is_empty(), "{}", String::from_utf8_lossy(&talk.out));
    // Asked again, what came meanwhile is told.
    talk.say("b NOTIFY SET (selected (MessageNew MessageExpunge FlagChange))");
    assert_eq!(talk.session.tell(&mut talk.out), Told::All);
    assert_eq!(talk.out, b"* 3 EXISTS\r\n");
}
