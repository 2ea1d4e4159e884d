//! A whole IMAP connection, from octets to octets, begun in each state: not signed in, signed in, a mailbox open for
//! writing or reading, in IDLE, without sequence numbers, compressed. However the octets were cut, the same is answered;
//! each command has its tagged answer; nothing is held without bound.
#![no_main]

use libfuzzer_sys::fuzz_target;
use libmox_imap::command::Access;
use libmox_imap::response::{Status, continuation};
use libmox_imap::{Ask, Event, Offers, Opened, Reader, Session, Step, Told, View};
use libmox_service::wire::Coding as _;
use libmox_types::{Cid, Flags, MailboxId, MailboxName, ModSeq, Uid, UidSet, UidValidity};
use mox_imap::Deflate;

/// Octets decoded at once, as in the driver.
const DECODED: usize = 64 * 1024;
/// Octets decoded altogether: a bomb goes off slowly, and this is no test of patience.
const MOST: usize = 1 << 20;
/// What brings a connection into each state.
const STATES: [&str; 8] = [
    "",
    "x LOGIN a b\r\n",
    "x LOGIN a b\r\nx SELECT INBOX\r\n",
    "x LOGIN a b\r\nx SELECT INBOX\r\nx IDLE\r\n",
    "x LOGIN a b\r\nx ENABLE UIDONLY QRESYNC\r\nx SELECT INBOX\r\n",
    "x LOGIN a b\r\nx ENABLE IMAP4rev2\r\nx EXAMINE INBOX\r\n",
    "x LOGIN a b\r\nx COMPRESS DEFLATE\r\n",
    "x LOGIN a b\r\nx SELECT INBOX\r\nx COMPRESS DEFLATE\r\n",
];

struct Connection {
    reader: Reader,
    session: Session,
    /// Read and not used yet.
    input: Vec<u8>,
    /// As it came, not decoded yet.
    raw: Vec<u8>,
    coding: Option<Deflate>,
    decoded: usize,
    out: Vec<u8>,
    /// Octets of the message that is coming.
    message: u64,
    over: bool,
    /// The client went on behind UNAUTHENTICATE, in a coding that ends with its answer.
    mixed: bool,
    /// What a line is waited for.
    line: Option<Line>,
}

enum Line {
    Idle,
    Login,
}

impl Connection {
    fn new() -> Self {
        let session = Session::new(Offers {
            cid: Cid(1),
            starttls: false,
            passwords: true,
            mechanisms: vec!["PLAIN"],
            append_limit: 1_000,
        });
        let mut reader = Reader::new();
        reader.set_append_limit(1_000);
        Self {
            reader,
            session,
            input: Vec::new(),
            raw: Vec::new(),
            coding: None,
            decoded: 0,
            out: Vec::new(),
            message: 0,
            over: false,
            mixed: false,
            line: None,
        }
    }

    fn take(&mut self, octets: &[u8]) {
        if self.coding.is_some() {
            self.raw.extend_from_slice(octets);
        } else {
            self.input.extend_from_slice(octets);
        }
        self.work();
        while !self.over
            && let Some(coding) = &mut self.coding
        {
            let before = self.input.len();
            match coding.decode(&self.raw, &mut self.input, DECODED) {
                Ok(took) => drop(self.raw.drain(..took.min(self.raw.len()))),
                Err(_) => self.over = true,
            }
            let came = self.input.len() - before;
            assert!(came <= DECODED + 1024, "{came} octets decoded at once");
            self.decoded += came;
            self.over |= self.decoded > MOST;
            if came == 0 {
                break;
            }
            self.work();
        }
    }

    /// Everything that what came amounts to.
    fn work(&mut self) {
        let was_coded = self.coding.is_some();
        let given = std::mem::take(&mut self.input);
        let mut input = &given[..];
        while !self.over {
            let coded = self.coding.is_some();
            let step = match self.reader.read(&mut input) {
                Event::More => {
                    assert!(input.is_empty(), "asks for more with octets left");
                    break;
                }
                Event::Octets(octets) => {
                    self.message += octets.len() as u64;
                    assert!(self.message <= 100 * 1_000, "more than was announced");
                    Step::Done
                }
                Event::Continue => {
                    continuation(&mut self.out, "go on");
                    Step::Done
                }
                Event::Command(tag, command) => {
                    let before = self.out.len();
                    let step = self.session.on_command(tag.clone(), command, &mut self.out);
                    self.reader.set_dialect(self.session.dialect());
                    let step = self.carried_out(step);
                    if self.line.is_none() && step == Step::Done {
                        self.is_answered(before, tag.as_str());
                    }
                    step
                }
                Event::Fault(tag, fault) => {
                    let before = self.out.len();
                    let step = self.session.on_fault(tag.as_ref(), &fault, &mut self.out);
                    if let Some(tag) = &tag
                        && step == Step::Done
                    {
                        self.is_answered(before, tag.as_str());
                    }
                    step
                }
                Event::Message(tag, to, message) => {
                    self.message = 0;
                    let granted = match &to {
                        Some(to) => self.session.on_append(tag, to, &mut self.out).is_some(),
                        None => true,
                    };
                    // As a message that is over its owner's quota.
                    if granted && message.size % 7 != 6 {
                        self.reader.accept();
                    } else {
                        self.reader.refuse();
                        self.session.complete(Status::No, None, "no", &mut self.out);
                    }
                    Step::Done
                }
                Event::Text { .. } => {
                    self.reader.accept();
                    Step::Done
                }
                Event::Url(_) | Event::MessageEnd => Step::Done,
                Event::AppendEnd(_) => {
                    while self.session.tell(&mut self.out) == Told::More {}
                    self.session.complete(Status::Ok, None, "done", &mut self.out);
                    Step::Done
                }
                Event::Line(line) => match self.line.take() {
                    Some(Line::Idle) => {
                        self.tell();
                        self.session.on_done(&line, &mut self.out)
                    }
                    Some(Line::Login) if line.is_empty() => {
                        self.session.complete(Status::No, None, "no", &mut self.out);
                        self.session.login_failed(&mut self.out)
                    }
                    Some(Line::Login) => {
                        self.sign_in();
                        Step::Done
                    }
                    None => panic!("a line nobody waits for"),
                },
                Event::Bye(_) => Step::Close,
            };
            self.over |= step == Step::Close;
            if coded != self.coding.is_some() {
                break;
            }
        }
        let rest = input.to_vec();
        if self.coding.is_some() && self.raw.is_empty() && self.decoded == 0 {
            // It began just now: what came behind is coded already.
            self.raw = rest;
        } else {
            self.input = rest;
        }
        if self.coding.is_none() && was_coded {
            // It ended: what was not decoded is not coded.
            self.mixed |= !self.input.is_empty() || !self.raw.is_empty();
            self.input.append(&mut self.raw);
            self.work();
        }
    }

    fn is_answered(&self, before: usize, tag: &str) {
        let text = String::from_utf8_lossy(&self.out[before..]);
        let start = format!("{tag} ");
        assert!(text.split("\r\n").any(|line| line.starts_with(&start)), "{tag} was answered {text:?}");
    }

    fn sign_in(&mut self) {
        self.session.signed_in(Vec::new());
        self.reader.signed_in();
        self.session.complete(Status::Ok, None, "done", &mut self.out);
    }

    /// What the driver tells between a command and its answer.
    fn tell(&mut self) {
        while self.session.tell(&mut self.out) == Told::More {}
        let _ = (self.session.touched(), self.session.new_items());
    }

    fn carried_out(&mut self, step: Step) -> Step {
        let ask = match step {
            Step::Ask(ask) => ask,
            Step::StartDeflate => {
                self.coding = Some(Deflate::default());
                self.decoded = 0;
                return Step::StartDeflate;
            }
            step => return step,
        };
        match ask {
            Ask::Login { .. } | Ask::Authenticate { initial: Some(_), .. } => {
                self.sign_in();
                return Step::Done;
            }
            Ask::Authenticate { .. } => {
                continuation(&mut self.out, "");
                self.line = Some(Line::Login);
                self.reader.expect_line();
                return Step::Done;
            }
            Ask::Idle => {
                self.happen();
                self.tell();
                self.line = Some(Line::Idle);
                self.reader.expect_line();
                return Step::Done;
            }
            Ask::Unauthenticate => {
                self.session.signed_out();
                self.reader.signed_out();
                self.session.complete(Status::Ok, None, "done", &mut self.out);
                self.coding = None;
                return Step::Done;
            }
            Ask::Select { access, .. } => self.session.selected(opened(access), &mut self.out),
            Ask::Search { by, returns, key } => {
                let found: UidSet = [Uid(3), Uid(9)].into_iter().collect();
                self.session.found(by, returns, &found, None, &mut self.out);
                if returns.is_some_and(|returns| returns.update) {
                    self.session.keep_context(by, key, None, found.iter().collect(), &mut self.out);
                }
            }
            Ask::Sort { by, returns, .. } => {
                self.session.sorted(by, returns, &[Uid(9), Uid(3), Uid(4)], None, &mut self.out);
            }
            Ask::Poll | Ask::Fetch { .. } | Ask::Store { .. } | Ask::Expunge(_) => self.happen(),
            _ => {}
        }
        self.tell();
        self.session.complete(Status::Ok, None, "done", &mut self.out);
        Step::Done
    }

    /// What other sessions do meanwhile.
    fn happen(&mut self) {
        if let Some(selected) = self.session.mailbox_mut() {
            let next = Uid(selected.view.last_uid().0.max(20) + 1);
            selected.view.on_flags(Uid(4), Flags::NONE, Vec::new(), ModSeq(9));
            selected.view.on_added(next);
            selected.view.on_removed(&[Uid(3), next].into_iter().collect());
        }
    }
}

fn opened(access: Access) -> Opened {
    Opened {
        id: MailboxId(1),
        name: MailboxName::inbox(),
        access,
        view: View::of([2, 3, 4, 9, 11].map(Uid)),
        uid_validity: UidValidity(1),
        uid_next: Uid(12),
        mod_seq: ModSeq(7),
        keywords: Vec::new(),
        first_unseen: None,
    }
}

/// What a connection in a state says to these octets.
fn said(state: &str, wire: &[u8], cut: usize) -> Connection {
    let mut connection = Connection::new();
    connection.take(state.as_bytes());
    assert!(!connection.over, "{}", String::from_utf8_lossy(&connection.out));
    assert_eq!(connection.coding.is_some(), state.ends_with("DEFLATE\r\n"));
    assert_eq!(connection.line.is_some(), state.ends_with("IDLE\r\n"));
    let begun = connection.out.len();
    for octets in wire.chunks(cut.max(1)) {
        connection.take(octets);
        if connection.over {
            break;
        }
    }
    let said = connection.out.split_off(begun);
    assert!(said.is_empty() || said.ends_with(b"\r\n"), "{:?}", String::from_utf8_lossy(&said));
    let read = wire.len().max(connection.decoded);
    assert!(said.len() < 64 * 1024 + 256 * read, "{} octets said to {read}", said.len());
    Connection { out: said, ..connection }
}

fuzz_target!(|data: &[u8]| {
    let [choice, cut, wire @ ..] = data else { return };
    let state = STATES[usize::from(choice & 7)];
    let mut coded = Vec::new();
    let wire = if state.ends_with("DEFLATE\r\n") && choice & 8 == 0 {
        // A client that compresses as it should; else its octets are what they are.
        let mut client = Deflate::default();
        for line in wire.split_inclusive(|octet| *octet == b'\n') {
            assert!(client.encode(line, &mut coded).is_ok());
        }
        &coded[..]
    } else {
        wire
    };
    let whole = said(state, wire, wire.len());
    let cut = said(state, wire, usize::from(*cut));
    // What is no deflate stream ends the connection at once, whatever came before it in the same octets; and who mixes
    // codings is understood as the octets happen to come.
    if state.ends_with("DEFLATE\r\n") && (whole.over || cut.over) || whole.mixed || cut.mixed {
        return;
    }
    assert_eq!(String::from_utf8_lossy(&whole.out), String::from_utf8_lossy(&cut.out));
    assert_eq!(whole.over, cut.over);
});
