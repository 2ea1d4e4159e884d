//! Whole IMAP sessions in each state: a command has one tagged answer, lines end, and what is asked can be answered.
#![no_main]

use libfuzzer_sys::fuzz_target;
use libmox_imap::command::Access;
use libmox_imap::response::Status;
use libmox_imap::{Ask, Offers, Opened, Session, Step, Told, View, parse};
use libmox_types::{Cid, Flags, MailboxId, MailboxName, ModSeq, Uid, UidSet, UidValidity};

fn opened(access: Access) -> Opened {
    Opened {
        id: MailboxId(1),
        name: MailboxName::inbox(),
        access,
        exists: 5,
        view: View::of([2, 3, 4, 9, 11].map(Uid)),
        uid_validity: UidValidity(1),
        uid_next: Uid(12),
        mod_seq: ModSeq(7),
        keywords: Vec::new(),
        first_unseen: None,
    }
}

/// What a driver does with a question, on an account that agrees to everything.
fn carry_out(session: &mut Session, ask: Ask, out: &mut Vec<u8>) {
    match ask {
        Ask::Login { .. } | Ask::Authenticate { .. } => session.signed_in(vec!["UIDONLY".into()]),
        Ask::Select { access, .. } => session.selected(opened(access), out),
        Ask::Search { by, returns, key } => {
            let found: UidSet = [Uid(3), Uid(9)].into_iter().collect();
            session.found(by, returns, &found, None, out);
            if returns.is_some_and(|returns| returns.update) {
                session.keep_context(by, key, None, found.iter().collect(), out);
            }
        }
        Ask::Sort { by, returns, .. } => session.sorted(by, returns, &[Uid(9), Uid(3), Uid(4)], None, out),
        Ask::Unauthenticate => session.signed_out(),
        // What happens elsewhere meanwhile.
        Ask::Poll | Ask::Fetch { .. } | Ask::Store { .. } => {
            if let Some(selected) = session.mailbox_mut() {
                selected.view.on_flags(Uid(4), Flags::NONE, Vec::new(), ModSeq(9));
                selected.view.on_added(Uid(20));
                selected.view.on_removed(&[Uid(3), Uid(20)].into_iter().collect());
            }
        }
        _ => {}
    }
    while session.tell(out) == Told::More {}
    session.complete(Status::Ok, None, "done", out);
}

fuzz_target!(|data: &[u8]| {
    let [choice, script @ ..] = data else { return };
    let mut session = Session::new(Offers {
        cid: Cid(1),
        starttls: choice & 1 != 0,
        passwords: choice & 2 != 0,
        mechanisms: vec!["PLAIN"],
        append_limit: 1_000,
    });
    let mut out = Vec::new();
    if choice & 4 != 0 {
        session.signed_in(Vec::new());
    }
    if choice & 12 == 12 {
        let access = if choice & 16 != 0 { Access::ReadOnly } else { Access::ReadWrite };
        session.selected(opened(access), &mut out);
    }
    for line in script.split(|&b| b == b'\n').take(200) {
        out.clear();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let (tag, command) = parse(line, session.dialect());
        let step = match (tag.clone(), command) {
            (Some(tag), Ok(command)) => session.on_command(tag, command, &mut out),
            (tag, Err(fault)) => session.on_fault(tag.as_ref(), &fault, &mut out),
            (None, Ok(_)) => unreachable!("a command without a tag"),
        };
        let closes = step == Step::Close;
        match step {
            Step::Ask(Ask::Idle) => {
                while session.tell(&mut out) == Told::More {}
                session.on_done(b"DONE", &mut out);
            }
            Step::Ask(ask) => carry_out(&mut session, ask, &mut out),
            Step::StartTls => session.tls_started(vec!["PLAIN"]),
            Step::Done | Step::StartDeflate | Step::Close => {}
        }
        let text = String::from_utf8_lossy(&out);
        assert!(text.is_empty() || text.ends_with("\r\n"), "{text:?}");
        assert!(out.len() < 64 * 1024 + 4 * line.len(), "{} octets for {line:?}", out.len());
        if let Some(tag) = &tag
            && !closes
        {
            let start = format!("{} ", tag.as_str());
            let answers = text.split("\r\n").filter(|line| line.starts_with(&start)).count();
            // A tag like `*` or one that an answer repeats at the start of a line is no tag of a client.
            assert!(answers >= 1, "{line:?} was answered {text:?}");
        }
        if closes {
            return;
        }
    }
});
