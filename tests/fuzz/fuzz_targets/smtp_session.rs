//! A peer's lines on port 25 and on the submission ports: a reply for each, and no state that anything breaks.
#![no_main]

use libfuzzer_sys::fuzz_target;
use libmox_sasl::Mechanism;
use libmox_smtp::command::Manner;
use libmox_smtp::data::Flaws;
use libmox_smtp::session::{Answer, Body, Kind, Login, Settings, Step, TlsOffer};
use libmox_smtp::{Reply, Session};
use libmox_types::{Cid, Domain, Timestamp};

fuzz_target!(|data: &[u8]| {
    let Some((&choice, script)) = data.split_first() else { return };
    let (kind, tls) = match choice & 3 {
        0 => (Kind::Exchange, TlsOffer::Optional),
        1 => (Kind::Submission, TlsOffer::Required),
        2 => (Kind::Local, TlsOffer::None),
        _ => (Kind::Submission, TlsOffer::Optional),
    };
    let settings = Settings {
        kind,
        hostname: Domain::parse("mail.example").expect("a name"),
        message_octets: 1 << 20,
        recipients: 100,
        tls,
        requiretls: true,
        dsn: choice & 8 != 0,
        manner: if choice & 16 == 0 { Manner::Tolerant } else { Manner::Pedantic },
        without_tls: Vec::new(),
        mechanisms: Mechanism::ALL.to_vec(),
        cid: Cid(1),
    };
    let mut session = Session::new(settings, choice & 4 != 0);
    for line in script.split(|&b| b == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let mut step = if line.len() > 2_048 {
            session.on_long_line()
        } else {
            session.on_line(line, Timestamp(1_800_000_000))
        };
        // What the world answers depends on the line alone, so that a crash can be repeated.
        let sum = line.iter().fold(choice, |sum, b| sum.wrapping_mul(31).wrapping_add(*b));
        let refusal = || Reply::new(451, "4.3.0", "no");
        for round in 0.. {
            assert!(round < 8, "no reply to {line:?}");
            step = match step {
                Step::Reply(reply) => {
                    judge(&reply);
                    break;
                }
                Step::Close(reply) => {
                    judge(&reply);
                    return;
                }
                Step::Ask(libmox_smtp::session::Question::Message) => {
                    assert!(session.transaction().is_some());
                    session.on_answer(Answer::Message(Reply::new(250, "2.0.0", "kept")))
                }
                Step::Ask(_) => session.on_answer(match sum & 3 {
                    0 => Answer::Refuse(refusal()),
                    1 => Answer::AcceptUnknown,
                    _ => Answer::Accept,
                }),
                Step::Auth(..) => {
                    session.on_login(if sum & 1 == 0 { Login::SignedIn } else { Login::Refused(refusal()) })
                }
                Step::Body(reply) => {
                    judge(&reply);
                    let flaws = Flaws { bare_line_end: sum & 8 != 0, too_large: sum & 16 != 0 };
                    session.on_body(if flaws == Flaws::default() {
                        Body::Complete
                    } else {
                        Body::Flawed(flaws)
                    })
                }
                Step::Chunk { octets, last, refusal } => match (refusal, last) {
                    (None, true) => session.on_body(Body::Complete),
                    (refusal, _) => session.on_chunk(octets, refusal),
                },
                Step::StartTls(reply) => {
                    judge(&reply);
                    session.on_tls(Mechanism::ALL.to_vec());
                    break;
                }
            };
        }
    }
});

/// What we say is a reply that we would understand.
fn judge(reply: &Reply) {
    let mut wire = Vec::new();
    reply.write(&mut wire);
    let (used, answer) = libmox_smtp::reply::parse(&wire).expect("our reply").expect("a whole one");
    assert_eq!((used, answer.code), (wire.len(), reply.code()));
}
