//! Conversations without a runtime: lines and answers in, replies out.

use super::*;
use crate::data::Flaws;

fn settings(kind: Kind, tls: TlsOffer) -> Settings {
    Settings {
        kind,
        hostname: Domain::parse("mx.example").unwrap(),
        message_octets: 1000,
        recipients: 3,
        tls,
        requiretls: true,
        dsn: kind == Kind::Submission,
        manner: Manner::Tolerant,
        without_tls: Vec::new(),
        mechanisms: vec![Mechanism::ScramSha256Plus, Mechanism::ScramSha256, Mechanism::Plain],
        cid: Cid(1),
    }
}

fn exchange() -> Session {
    Session::new(settings(Kind::Exchange, TlsOffer::Optional), false)
}

/// A script: each line and what the step says: the code, alone or with the enhanced one, `?sender`, `?rcpt`, `auth`,
/// `body`, `tls`, `close 221`. Questions are answered yes.
#[track_caller]
fn talk(session: &mut Session, script: &[(&str, &str)]) {
    for (line, want) in script {
        let mut step = session.on_line(line.as_bytes(), Timestamp(1_000_000_000));
        let mut got = String::new();
        while let Step::Ask(question) = step {
            got.push_str(match question {
                // Names are good in these scripts.
                Question::Hello(_) => "",
                Question::Sender(_) => "?sender ",
                Question::Recipient(_) => "?rcpt ",
                Question::Message => "?message ",
            });
            step = session.on_answer(Answer::Accept);
        }
        let code = |reply: &Reply| match want.contains('.') {
            true => reply.to_string().split(' ').take(2).collect::<Vec<_>>().join(" "),
            false => reply.code().to_string(),
        };
        got.push_str(&match &step {
            Step::Reply(reply) => code(reply),
            Step::Close(reply) => format!("close {}", code(reply)),
            Step::Body(reply) => format!("body {}", reply.code()),
            Step::StartTls(_) => "tls".into(),
            Step::Auth(mechanism, _) => format!("auth {mechanism}"),
            Step::Chunk { octets, last, refusal } => {
                let code = refusal.as_ref().map_or(0, Reply::code);
                format!("chunk {octets}{} {code}", if *last { " last" } else { "" })
            }
            Step::Ask(_) => String::new(),
        });
        assert_eq!(got, *want, "{line}: {step:?}");
    }
}

fn ehlo_lines(session: &mut Session) -> String {
    let mut step = session.on_line(b"EHLO c.example", Timestamp(0));
    if let Step::Ask(Question::Hello(_)) = step {
        step = session.on_answer(Answer::Accept);
    }
    match step {
        Step::Reply(reply) => reply.text(),
        other => panic!("{other:?}"),
    }
}

fn accepted() -> Reply {
    Reply::new(250, "2.0.0", "kept")
}

#[test]
fn a_transaction_from_hello_to_quit() {
    let mut session = exchange();
    assert_eq!(session.greeting().text(), "mx.example ESMTP ready");
    talk(
        &mut session,
        &[
            ("EHLO c.example", "250"),
            ("MAIL FROM:<a@b> SIZE=10", "?sender 250"),
            ("RCPT TO:<c@mx.example>", "?rcpt 250"),
            ("RCPT TO:<d@mx.example>", "?rcpt 250"),
            ("DATA", "body 354"),
        ],
    );
    assert_eq!(session.on_body(Body::Complete), Step::Ask(Question::Message));
    assert_eq!(session.transaction().unwrap().recipients.len(), 2);
    assert_eq!(session.on_answer(Answer::Message(accepted())), Step::Reply(accepted()));
    assert_eq!(session.transaction(), None);
    talk(
        &mut session,
        &[("MAIL FROM:<>", "?sender 250"), ("RSET", "250"), ("DATA", "503"), ("QUIT", "close 221")],
    );
}

#[test]
fn commands_out_of_order() {
    talk(
        &mut exchange(),
        &[
            ("MAIL FROM:<a@b>", "503 5.5.1"),
            ("RCPT TO:<a@b>", "503 5.5.1"),
            ("DATA", "503 5.5.1"),
            ("NOOP", "250"),
            ("VRFY x", "252"),
            ("EXPN x", "252"),
            ("HELP", "214"),
            ("HELO c.example", "250"),
            ("RCPT TO:<a@b>", "503"),
            ("MAIL FROM:<a@b>", "?sender 250"),
            ("MAIL FROM:<a@b>", "503"),
            ("DATA", "554"),
            ("EHLO c.example", "250"),
            ("RCPT TO:<a@b>", "503"),
            ("AUTH PLAIN", "502"),
            ("EHLO [nonsense", "501"),
        ],
    );
}

#[test]
fn what_is_announced() {
    let mut session = exchange();
    let lines = ehlo_lines(&mut session);
    for word in [
        "PIPELINING",
        "SIZE 1000",
        "STARTTLS",
        "ENHANCEDSTATUSCODES",
        "8BITMIME",
        "LIMITS RCPTMAX=3",
        "SMTPUTF8",
    ] {
        assert!(lines.contains(word), "{word} in {lines}");
    }
    assert!(!lines.contains("REQUIRETLS") && !lines.contains("AUTH"));
    talk(&mut session, &[("STARTTLS", "tls")]);
    session.on_tls(vec![]);
    talk(&mut session, &[("MAIL FROM:<a@b>", "503")]);
    let lines = ehlo_lines(&mut session);
    assert!(lines.contains("REQUIRETLS") && !lines.contains("STARTTLS"));
    talk(&mut session, &[("STARTTLS", "503"), ("MAIL FROM:<a@b> REQUIRETLS", "?sender 250")]);
    // TR-08, row SR-04.
    let mut bare = Session::new(settings(Kind::Exchange, TlsOffer::None), false);
    assert!(!ehlo_lines(&mut bare).contains("STARTTLS"));
    talk(&mut bare, &[("STARTTLS", "503 5.5.1"), ("NOOP", "250")]);
}

#[test]
fn parameters_that_are_refused() {
    talk(
        &mut exchange(),
        &[
            ("EHLO c.example", "250"),
            ("MAIL FROM:<a@b> SIZE=1001", "552 5.2.3"),
            ("MAIL FROM:<a@b> SIZE=104857599", "552 5.2.3"),
            ("MAIL FROM:<a@b> SIZE=104857600", "552 5.3.4"),
            ("MAIL FROM:<a@b> SIZE=1 SIZE=1", "501 5.5.4"),
            ("MAIL FROM:<a@b> REQUIRETLS", "523 5.7.10"),
            ("MAIL FROM:<a@b> HOLDFOR=1", "555"),
            ("MAIL FROM:<a@b> RET=FULL", "555"),
            ("MAIL FROM:<a@b> X=1", "555 5.3.3"),
            ("MAIL FROM:<\u{e9}@b>", "550"),
            ("MAIL FROM:<a@b>", "?sender 250"),
            ("RCPT TO:<\u{e9}@b>", "553"),
            ("RCPT TO:<a@b> NOTIFY=NEVER", "555"),
        ],
    );
    let mut without = settings(Kind::Exchange, TlsOffer::Optional);
    without.requiretls = false;
    talk(
        &mut Session::new(without, true),
        &[("EHLO c.example", "250"), ("MAIL FROM:<a@b> REQUIRETLS", "555 5.3.3")],
    );
    talk(
        &mut Session::new(settings(Kind::Exchange, TlsOffer::Required), false),
        &[
            ("EHLO c.example", "250"),
            ("MAIL FROM:<a@b>", "?sender 250"),
            ("RCPT TO:<a@mx.example>", "?rcpt 530 5.7.0"),
            ("DATA", "554 5.5.1"),
        ],
    );
}

#[test]
fn recipients_are_counted() {
    let mut session = exchange();
    talk(
        &mut session,
        &[
            ("EHLO c.example", "250"),
            ("MAIL FROM:<a@b>", "?sender 250"),
            ("RCPT TO:<a@b>", "?rcpt 250"),
            ("RCPT TO:<b@b>", "?rcpt 250"),
            ("RCPT TO:<postmaster>", "?rcpt 250"),
            ("RCPT TO:<d@b>", "452 4.5.3"),
            ("RSET", "250"),
            ("MAIL FROM:<>", "?sender 250"),
            ("RCPT TO:<a@b>", "?rcpt 250"),
            ("RCPT TO:<b@b>", "452 4.5.3"),
        ],
    );
}

#[test]
fn refused_recipients_are_not_in_the_transaction() {
    let mut session = exchange();
    talk(&mut session, &[("EHLO c.example", "250"), ("MAIL FROM:<a@b>", "?sender 250")]);
    let foreign = Reply::new(550, "5.1.1", "not here");
    assert!(matches!(session.on_line(b"RCPT TO:<x@y>", Timestamp(0)), Step::Ask(_)));
    assert_eq!(session.on_answer(Answer::Refuse(foreign.clone())), Step::Reply(foreign.with_id(Cid(1))));
    assert!(matches!(session.on_line(b"RCPT TO:<u@mx.example>", Timestamp(0)), Step::Ask(_)));
    session.on_answer(Answer::AcceptUnknown);
    let recipients = &session.transaction().unwrap().recipients;
    assert!(recipients.len() == 1 && recipients[0].unknown);
}

#[test]
fn spoiled_messages_end_the_transaction() {
    for (flaws, code) in [
        (Flaws { bare_line_end: true, too_large: false }, 500),
        (Flaws { bare_line_end: false, too_large: true }, 552),
    ] {
        let mut session = exchange();
        talk(
            &mut session,
            &[
                ("EHLO c.example", "250"),
                ("MAIL FROM:<a@b>", "?sender 250"),
                ("RCPT TO:<a@b>", "?rcpt 250"),
                ("DATA", "body 354"),
            ],
        );
        match session.on_body(Body::Flawed(flaws)) {
            Step::Reply(reply) => {
                assert!(reply.code() == code && reply.text().contains("smuggling"));
                talk(&mut session, &[("MAIL FROM:<a@b>", "?sender 250")]);
            }
            // Row SR-20.
            Step::Close(reply) => assert_eq!(reply.code(), code),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn abuse_ends_the_conversation() {
    talk(&mut exchange(), &[("GET / HTTP/1.1", "close 500 5.5.2")]);
    let mut session = exchange();
    talk(&mut session, &[("EHLO c.example", "250")]);
    for _ in 0..limits::BAD_COMMANDS {
        talk(&mut session, &[("BLAH", "500")]);
    }
    talk(&mut session, &[("BLAH", "close 421")]);
    // Row SR-33: only failures, no success.
    let mut session = exchange();
    talk(&mut session, &[("EHLO c.example", "250")]);
    for _ in 0..=limits::FAILED_TRANSACTIONS {
        talk(&mut session, &[("MAIL FROM:<a@b> SIZE=9999", "552"), ("RSET", "250")]);
    }
    talk(&mut session, &[("MAIL FROM:<a@b> SIZE=9999", "close 550 5.7.0")]);
}

#[test]
fn submission_wants_tls_and_a_login() {
    let mut session = Session::new(settings(Kind::Submission, TlsOffer::Required), false);
    assert!(!ehlo_lines(&mut session).contains("AUTH"));
    talk(
        &mut session,
        &[("AUTH PLAIN", "538 5.7.11"), ("MAIL FROM:<a@b>", "530 5.7.0"), ("STARTTLS", "tls")],
    );
    session.on_tls(vec![Mechanism::ScramSha256Plus, Mechanism::Plain]);
    talk(&mut session, &[("AUTH PLAIN", "503")]);
    let lines = ehlo_lines(&mut session);
    assert!(
        lines.contains("AUTH SCRAM-SHA-256-PLUS PLAIN")
            && lines.contains("FUTURERELEASE 5184000 1970-03-02T00:00:00Z"),
        "{lines}"
    );
    talk(&mut session, &[("AUTH LOGIN", "504"), ("AUTH PLAIN x", "auth PLAIN")]);
    let Step::Reply(reply) = session.on_login(Login::Refused(Reply::new(535, "5.7.8", "no"))) else {
        panic!()
    };
    assert_eq!(reply.to_string(), "535 5.7.8 no (0000000000000001)");
    talk(&mut session, &[("AUTH PLAIN", "auth PLAIN")]);
    session.on_login(Login::SignedIn);
    talk(
        &mut session,
        &[
            ("AUTH PLAIN", "503"),
            ("MAIL FROM:<a@b> HOLDFOR=5184001", "554 5.5.4"),
            ("MAIL FROM:<a@b> HOLDFOR=1 HOLDUNTIL=2001-09-09T01:46:41Z", "501 5.5.4"),
            ("MAIL FROM:<a@b> HOLDUNTIL=2001-09-09T01:46:39Z", "554 5.5.4"),
            ("MAIL FROM:<a@b> HOLDUNTIL=2001-09-09T01:46:41Z", "?sender 250"),
            ("RCPT TO:<x@elsewhere>", "?rcpt 250"),
            ("AUTH PLAIN", "503"),
            ("DATA", "body 354"),
        ],
    );
}

#[test]
fn logins_are_counted_and_names_may_be_bogus() {
    let pedantic = Settings { manner: Manner::Pedantic, ..settings(Kind::Submission, TlsOffer::None) };
    talk(&mut Session::new(pedantic, true), &[("EHLO [bogus", "501 5.5.4"), ("EHLO me", "250")]);
    let mut session = Session::new(settings(Kind::Submission, TlsOffer::None), true);
    talk(&mut session, &[("EHLO [bogus", "250")]);
    for _ in 1..limits::FAILED_LOGINS {
        talk(&mut session, &[("AUTH PLAIN", "auth PLAIN")]);
        assert!(matches!(session.on_login(Login::Refused(Reply::new(535, "5.7.8", "no"))), Step::Reply(_)));
        talk(&mut session, &[("AUTH PLAIN", "auth PLAIN")]);
        assert!(matches!(session.on_login(Login::Uncounted(Reply::new(535, "5.7.8", "no"))), Step::Reply(_)));
    }
    talk(&mut session, &[("AUTH PLAIN", "auth PLAIN")]);
    assert!(matches!(session.on_login(Login::Refused(Reply::new(535, "5.7.8", "no"))), Step::Close(_)));
    // Without TLS no -PLUS, and with nothing required plain text logins work.
    let mut bare = Session::new(settings(Kind::Submission, TlsOffer::None), false);
    assert!(ehlo_lines(&mut bare).contains("AUTH SCRAM-SHA-256 PLAIN"));
    talk(
        &mut Session::new(settings(Kind::Local, TlsOffer::None), false),
        &[("HELO x", "250"), ("MAIL FROM:<a@b>", "?sender 250")],
    );
}

#[test]
fn the_end_comes_politely() {
    assert!(
        matches!(exchange().on_shutdown(), Step::Close(reply) if reply.to_string().starts_with("421 4.3.2"))
    );
    assert!(
        matches!(exchange().on_timeout(), Step::Close(reply) if reply.to_string().starts_with("421 4.4.2"))
    );
    assert!(matches!(exchange().on_long_line(), Step::Reply(reply) if reply.code() == 500));
    assert!(matches!(exchange().on_answer(Answer::Accept), Step::Reply(reply) if reply.code() == 451));
}

#[test]
fn a_random_script_gets_one_answer_for_each_line() {
    let lines = [
        "EHLO c.example",
        "HELO c.example",
        "MAIL FROM:<a@b>",
        "MAIL FROM:<> SIZE=10 REQUIRETLS",
        "RCPT TO:<c@d>",
        "RCPT TO:<e@f>",
        "DATA",
        "DATA",
        "RSET",
        "NOOP",
        "STARTTLS",
        "AUTH PLAIN",
        "AUTH SCRAM-SHA-256-PLUS",
        "BLAH",
        "MAIL",
        "VRFY x",
        "\u{e9}",
    ];
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = move |most: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed % most as u64).unwrap()
    };
    for round in 0..3_000 {
        let kind = [Kind::Exchange, Kind::Submission, Kind::Local][below(3)];
        let tls = [TlsOffer::None, TlsOffer::Optional, TlsOffer::Required][below(3)];
        let mut session = Session::new(settings(kind, tls), below(2) == 0);
        for _ in 0..60 {
            let mut step = session.on_line(lines[below(lines.len())].as_bytes(), Timestamp(0));
            let mut turns = 0;
            let closed = loop {
                turns += 1;
                assert!(turns < 5, "round {round} does not end");
                let refusal = Reply::new([450, 550][below(2)], "", "no");
                step = match step {
                    Step::Reply(_) => break false,
                    Step::Close(_) => break true,
                    Step::StartTls(_) => {
                        session.on_tls(vec![Mechanism::Plain]);
                        assert!(session.transaction().is_none() && session.hello().is_none());
                        break false;
                    }
                    Step::Ask(Question::Message) => {
                        assert!(session.transaction().is_some_and(|t| !t.recipients.is_empty()));
                        session.on_answer(Answer::Message([accepted(), refusal][below(2)].clone()))
                    }
                    Step::Ask(_) => match below(3) {
                        0 => session.on_answer(Answer::Refuse(refusal)),
                        1 => session.on_answer(Answer::AcceptUnknown),
                        _ => session.on_answer(Answer::Accept),
                    },
                    Step::Auth(..) if below(3) == 0 => session.on_login(Login::SignedIn),
                    Step::Auth(..) => session.on_login(Login::Refused(refusal)),
                    Step::Body(_) if below(4) == 0 => {
                        session.on_body(Body::Flawed(Flaws { bare_line_end: true, too_large: false }))
                    }
                    Step::Body(_) => session.on_body(Body::Complete),
                    Step::Chunk { octets, last, refusal } => match (refusal, last) {
                        (None, true) => session.on_body(Body::Complete),
                        (refusal, _) => session.on_chunk(octets, refusal),
                    },
                };
            };
            assert!(session.transaction().is_none_or(|t| t.recipients.len() <= 3));
            if closed {
                break;
            }
        }
    }
}

#[test]
fn chunks_in_order() {
    // RFC 3030, row SR-40.
    let mut session = exchange();
    talk(&mut session, &[("BDAT 5", "chunk 5 503")]);
    assert!(matches!(session.on_chunk(5, Some(Reply::new(503, "5.5.1", "x"))), Step::Reply(_)));
    let begin =
        [("EHLO c.example", "250"), ("MAIL FROM:<a@b>", "?sender 250"), ("RCPT TO:<c@d>", "?rcpt 250")];
    talk(&mut session, &begin);
    talk(&mut session, &[("BDAT 600", "chunk 600 0")]);
    assert!(session.is_in_chunks());
    assert!(matches!(session.on_chunk(600, None), Step::Reply(reply) if reply.code() == 250));
    for wrong in ["DATA", "RCPT TO:<e@d>", "MAIL FROM:<a@b>"] {
        talk(&mut session, &[(wrong, "503")]);
    }
    talk(&mut session, &[("BDAT 400 LAST", "chunk 400 last 0")]);
    assert_eq!(session.on_body(Body::Complete), Step::Ask(Question::Message));
    assert_eq!(session.on_answer(Answer::Message(accepted())), Step::Reply(accepted()));
    // RSET forgets what came, and a chunk that fails ends the transaction.
    talk(&mut session, &begin[1..]);
    talk(&mut session, &[("BDAT 1", "chunk 1 0")]);
    session.on_chunk(1, None);
    talk(&mut session, &[("RSET", "250"), ("BDAT 1 LAST", "chunk 1 last 503")]);
    session.on_chunk(1, Some(Reply::new(503, "5.5.1", "x")));
    talk(&mut session, &begin[1..]);
    talk(&mut session, &[("BDAT 1", "chunk 1 0")]);
    session.on_chunk(1, Some(Reply::new(451, "4.3.0", "x")));
    assert!(session.transaction().is_none());
    talk(&mut session, &begin[1..2]);
    talk(&mut session, &[("BDAT 1", "chunk 1 554")]);
    session.on_chunk(1, Some(Reply::new(554, "5.5.1", "x")));
    talk(&mut session, &[("RSET", "250")]);
    talk(&mut session, &begin[1..]);
    talk(&mut session, &[("BDAT 900", "chunk 900 0")]);
    session.on_chunk(900, None);
    talk(&mut session, &[("BDAT 101 LAST", "close 552")]);
}

#[test]
fn a_certificate_signs_in_and_auth_goes_on() {
    // Rows AU-06, SU-11.
    let mut session = Session::new(settings(Kind::Submission, TlsOffer::Required), true);
    session.on_certificate();
    talk(&mut session, &[("EHLO c", "250"), ("MAIL FROM:<a@b>", "?sender 250"), ("RSET", "250")]);
    talk(&mut session, &[("AUTH PLAIN", "auth PLAIN")]);
    session.on_login(Login::SignedIn);
    talk(&mut session, &[("AUTH PLAIN", "503"), ("MAIL FROM:<a@b>", "?sender 250")]);
}

#[test]
fn tls_may_be_required_but_for_reports_about_it() {
    // Row SR-07.
    let mut required = settings(Kind::Exchange, TlsOffer::Required);
    let mut session = Session::new(required.clone(), false);
    talk(
        &mut session,
        &[
            ("EHLO c.example", "250"),
            ("MAIL FROM:<a@b>", "?sender 250"),
            ("RCPT TO:<tlsreports@mx.example>", "?rcpt 530 5.7.0"),
        ],
    );
    // It is an address for such reports.
    session.on_line(b"RCPT TO:<tlsreports@mx.example>", Timestamp(0));
    assert!(matches!(session.on_answer(Answer::AcceptWithoutTls), Step::Reply(reply) if reply.code() == 250));
    assert_eq!(session.transaction().unwrap().recipients.len(), 1);
    // Nobody learns without TLS who lives here.
    session.on_line(b"RCPT TO:<nobody@mx.example>", Timestamp(0));
    assert!(matches!(session.on_answer(Answer::AcceptUnknown), Step::Reply(reply) if reply.code() == 530));
    required.without_tls = vec!["tlsreports@mx.example".parse().unwrap()];
    let mut session = Session::new(required.clone(), false);
    talk(
        &mut session,
        &[
            ("EHLO c.example", "250"),
            ("MAIL FROM:<a@b>", "?sender 250"),
            ("RCPT TO:<jane@mx.example>", "?rcpt 530 5.7.0"),
            ("RCPT TO:<tlsreports@mx.example>", "?rcpt 250"),
        ],
    );
    let mut session = Session::new(required, true);
    talk(
        &mut session,
        &[
            ("EHLO c.example", "250"),
            ("MAIL FROM:<a@b>", "?sender 250"),
            ("RCPT TO:<jane@mx.example>", "?rcpt 250"),
        ],
    );
}

#[test]
fn dsn_where_it_is_on_offer() {
    // Row SR-41.
    let mut session = Session::new(settings(Kind::Submission, TlsOffer::Optional), false);
    assert!(ehlo_lines(&mut session).contains("DSN"));
    session.signed_in = true;
    talk(
        &mut session,
        &[
            ("MAIL FROM:<a@b> RET=HDRS ENVID=q+2B", "?sender 250"),
            ("RCPT TO:<c@d> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;c@d", "?rcpt 250"),
            ("RCPT TO:<c@d> NOTIFY=NEVER,SUCCESS", "501"),
        ],
    );
    let transaction = session.transaction().unwrap();
    assert_eq!(transaction.params.envid.as_deref(), Some("q+"));
    assert_eq!(transaction.recipients[0].rcpt.notify, "SUCCESS,DELAY");
}

#[test]
fn a_name_that_leads_nowhere_is_no_greeting() {
    // Row SR-03.
    let mut session = exchange();
    let step = session.on_line(b"EHLO nowhere.example", Timestamp(0));
    assert!(matches!(step, Step::Ask(Question::Hello(_))));
    let refusal = Reply::new(550, "5.5.0", "your name has no address");
    assert!(matches!(session.on_answer(Answer::Refuse(refusal)), Step::Reply(reply) if reply.code() == 550));
    talk(&mut session, &[("MAIL FROM:<a@b>", "503")]);
    assert!(matches!(session.on_line(b"HELO [192.0.2.1]", Timestamp(0)), Step::Reply(_)));
    talk(&mut session, &[("MAIL FROM:<a@b>", "?sender 250")]);
}
