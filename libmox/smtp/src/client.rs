//! Delivering to another server: what to send, what its answers mean for each recipient.
//!
//! | stage | waits for | goes to |
//! |---|---|---|
//! | Greeting | 220 | Hello |
//! | Hello | 250 to EHLO (or HELO) | StartTls, Ready |
//! | StartTls | 220, then [`Client::on_tls`] | Hello again |
//! | Ready | [`Client::begin`] | Envelope |
//! | Envelope | replies to what was sent | Body, or the end of the transaction |
//! | Body | [`Client::on_sent`], then the last reply | Ready |
//!
//! Law: RFC 5321 §4.3, RFC 2920 (pipelining), RFC 3207, RFC 3461 §5.2.1 (DSN is passed on where it is known), RFC 6531 §3.4, RFC 8689 §4, RFC 9422.
//! Does not know: sockets, DNS, certificates, when to try again.
//! Fails with: [`Failure`], for good or for now.

use crate::limits;
use crate::reply::Answer;
use libmox_types::{Address, Domain, ReversePath};
use std::collections::VecDeque;

/// What the driver does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send these bytes (none: just go on), read a reply, [`Client::on_reply`].
    Exchange(Vec<u8>),
    /// Do the handshake, then [`Client::on_tls`].
    StartTls,
    /// Greeted: [`Client::begin`], or [`Client::quit`].
    Ready,
    /// Send the message through [`crate::data::Encoder`], then [`Client::on_sent`].
    Body,
    /// Send `BDAT n LAST` and exactly so many octets of the message as they are, then [`Client::on_sent`]. RFC 3030.
    Chunk,
    /// The transaction is over: every recipient has its result. [`Client::begin`] another, or [`Client::quit`].
    Finished(Vec<Outcome>),
    /// The connection is of no use any more.
    Failed(Failure),
}

/// What became of one recipient, in the order given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The server has it.
    Delivered(Answer),
    /// No.
    Refused(Failure),
    /// Not offered to the server: it takes fewer recipients at once (RFC 9422; 452 as RFC 5321 §4.5.3.1.10 has it).
    NotTried,
}

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// No use to try again.
    pub permanent: bool,
    /// RFC 3463.
    pub status: String,
    /// In words, for the journal.
    pub text: String,
    /// What the server said, if it was the server (TR-31).
    pub answer: Option<Answer>,
}

impl Failure {
    fn of(answer: &Answer) -> Self {
        Self {
            permanent: answer.is_permanent(),
            // A positive answer where none fits is no status of a failure.
            status: if answer.is_positive() { "4.5.0".into() } else { answer.status() },
            text: answer.to_string(),
            answer: Some(answer.clone()),
        }
    }

    /// Our own verdict.
    #[must_use]
    pub fn local(permanent: bool, status: &str, text: &str) -> Self {
        Self { permanent, status: status.into(), text: text.into(), answer: None }
    }
}

/// What to do about STARTTLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsWish {
    /// Not even if offered: it failed before.
    Never,
    /// If offered. RFC 7435.
    Opportunistic,
    /// Or not at all.
    Required,
    /// It is on from the start.
    On,
}

/// What a server can do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extensions {
    /// RFC 2920.
    pub pipelining: bool,
    /// RFC 3207.
    pub starttls: bool,
    /// RFC 6152.
    pub eight_bit: bool,
    /// RFC 6531.
    pub smtputf8: bool,
    /// RFC 8689.
    pub requiretls: bool,
    /// RFC 1870: announced, and its limit if there is one.
    pub size: Option<Option<u64>>,
    /// RFC 9422.
    pub rcpt_max: Option<usize>,
    /// RFC 3461.
    pub dsn: bool,
    /// RFC 3030.
    pub chunking: bool,
    /// RFC 3030.
    pub binary: bool,
    /// RFC 4954: names of mechanisms.
    pub auth: Vec<String>,
}

impl Extensions {
    fn read(lines: &[String]) -> Self {
        let mut out = Self::default();
        for line in lines.iter().skip(1) {
            let mut words = line.split([' ', '=']).filter(|word| !word.is_empty());
            let keyword = words.next().unwrap_or_default().to_ascii_uppercase();
            match keyword.as_str() {
                "PIPELINING" => out.pipelining = true,
                "STARTTLS" => out.starttls = true,
                "8BITMIME" => out.eight_bit = true,
                "SMTPUTF8" => out.smtputf8 = true,
                "REQUIRETLS" => out.requiretls = true,
                "DSN" => out.dsn = true,
                "CHUNKING" => out.chunking = true,
                "BINARYMIME" => out.binary = true,
                // RFC 1870 §4: 0 is no limit.
                "SIZE" => out.size = Some(words.next().and_then(|n| n.parse().ok()).filter(|n| *n > 0)),
                "AUTH" => out.auth.extend(words.map(str::to_ascii_uppercase)),
                "LIMITS" => {
                    let value = line.split_whitespace().find_map(|word| word.strip_prefix("RCPTMAX="));
                    out.rcpt_max = value.and_then(|n| n.parse().ok()).filter(|n| *n > 0);
                }
                _ => {}
            }
        }
        out
    }
}

/// RFC 3461 parameters of a recipient, empty where not given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RcptReports {
    /// `NOTIFY`
    pub notify: String,
    /// `ORCPT`, still encoded.
    pub orcpt: String,
}

/// A message for some recipients.
#[derive(Debug, Clone)]
pub struct Transaction {
    /// MAIL FROM.
    pub from: ReversePath,
    /// At least one.
    pub recipients: Vec<Address>,
    /// RFC 3461 parameters of each recipient, as given; none for the others.
    pub reports: Vec<RcptReports>,
    /// RFC 3461 `FULL` or `HDRS`; empty if not given.
    pub ret: String,
    /// RFC 3461 ENVID, decoded; empty if not given.
    pub envelope_id: String,
    /// Octets, for SIZE.
    pub size: u64,
    /// Needs RFC 6531.
    pub smtputf8: bool,
    /// Has octets above 127 in a body.
    pub eight_bit: bool,
    /// Is no text of whole lines: by BDAT or not at all.
    pub binary: bool,
    /// RFC 8689.
    pub requiretls: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Greeting,
    Ehlo,
    Helo,
    StartTls,
    Handshake,
    Ready,
    Envelope,
    Body,
    Quit,
    Over,
}

/// A command that was sent and waits for its reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    Mail,
    Rcpt(usize),
    Data,
    Rset,
    End,
}

/// The conversation.
#[derive(Debug)]
pub struct Client {
    hello: String,
    tls: TlsWish,
    stage: Stage,
    extensions: Extensions,
    extended: bool,
    sent: VecDeque<Sent>,
    /// Of the transaction.
    commands: VecDeque<(Sent, String)>,
    outcomes: Vec<Option<Outcome>>,
    accepted: Vec<usize>,
    mail_failure: Option<Failure>,
    /// The message goes by BDAT.
    binary: bool,
    /// The server may still hold a transaction that came to nothing.
    dirty: bool,
}

impl Client {
    /// After connecting; first call is [`Self::on_reply`] with the greeting.
    #[must_use]
    pub fn new(hello: &Domain, tls: TlsWish) -> Self {
        Self {
            hello: hello.ascii().to_string(),
            tls,
            stage: Stage::Greeting,
            extensions: Extensions::default(),
            extended: false,
            sent: VecDeque::new(),
            commands: VecDeque::new(),
            outcomes: Vec::new(),
            accepted: Vec::new(),
            mail_failure: None,
            binary: false,
            dirty: false,
        }
    }

    /// What the server can do, once it was greeted.
    #[must_use]
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// A reply came.
    pub fn on_reply(&mut self, answer: &Answer) -> Action {
        // RFC 5321 §3.8: at any time.
        if answer.code == 421 {
            return self.fail(Failure::of(answer));
        }
        match self.stage {
            Stage::Greeting if answer.code == 220 => self.ehlo(),
            Stage::Ehlo if answer.code == 250 => {
                self.extensions = Extensions::read(&answer.lines);
                self.extended = true;
                self.greeted()
            }
            Stage::Ehlo if answer.is_permanent() => {
                self.stage = Stage::Helo;
                Action::Exchange(format!("HELO {}\r\n", self.hello).into_bytes())
            }
            Stage::Helo if answer.code == 250 => {
                self.extensions = Extensions::default();
                self.extended = false;
                self.greeted()
            }
            Stage::StartTls if answer.code == 220 => {
                self.stage = Stage::Handshake;
                Action::StartTls
            }
            Stage::StartTls if self.tls == TlsWish::Opportunistic => {
                self.stage = Stage::Ready;
                Action::Ready
            }
            Stage::Envelope | Stage::Body => self.envelope_reply(answer),
            Stage::Quit => {
                self.stage = Stage::Over;
                Action::Failed(Failure::local(false, "4.4.2", "connection closed"))
            }
            _ => self.fail(Failure::of(answer)),
        }
    }

    fn ehlo(&mut self) -> Action {
        self.stage = Stage::Ehlo;
        Action::Exchange(format!("EHLO {}\r\n", self.hello).into_bytes())
    }

    fn greeted(&mut self) -> Action {
        match self.tls {
            TlsWish::Opportunistic | TlsWish::Required if self.extensions.starttls => {
                self.stage = Stage::StartTls;
                Action::Exchange(b"STARTTLS\r\n".to_vec())
            }
            TlsWish::Required => {
                self.fail(Failure::local(false, "4.7.10", "STARTTLS is required and not offered"))
            }
            _ => {
                self.stage = Stage::Ready;
                Action::Ready
            }
        }
    }

    /// The handshake succeeded. If it did not, this connection is lost; another one may go without.
    pub fn on_tls(&mut self) -> Action {
        self.tls = TlsWish::On;
        self.extensions = Extensions::default();
        self.ehlo()
    }

    /// Begins a transaction.
    pub fn begin(&mut self, transaction: &Transaction) -> Action {
        let count = transaction.recipients.len();
        self.outcomes = vec![None; count];
        self.accepted.clear();
        self.mail_failure = None;
        self.binary = transaction.binary;
        if self.stage != Stage::Ready {
            return self.fail(Failure::local(false, "4.5.0", "out of order"));
        }
        if let Some(failure) = self.cannot_take(transaction) {
            return Action::Finished(vec![Outcome::Refused(failure); count]);
        }
        let most = self.extensions.rcpt_max.unwrap_or(count);
        let reset = std::mem::take(&mut self.dirty).then(|| (Sent::Rset, "RSET\r\n".into()));
        self.commands =
            reset
                .into_iter()
                .chain(std::iter::once((Sent::Mail, self.mail_command(transaction))))
                .chain(
                    transaction.recipients.iter().take(most).enumerate().map(|(at, recipient)| {
                        (Sent::Rcpt(at), self.rcpt_command(transaction, at, recipient))
                    }),
                )
                .chain((!self.binary).then(|| (Sent::Data, "DATA\r\n".into())))
                .collect();
        self.stage = Stage::Envelope;
        self.flight()
    }

    fn cannot_take(&self, transaction: &Transaction) -> Option<Failure> {
        let extensions = &self.extensions;
        if transaction.smtputf8 && !extensions.smtputf8 {
            // RFC 6531 §3.5.
            return Some(Failure::local(true, "5.6.7", "the server does not take SMTPUTF8"));
        }
        if transaction.binary && !(extensions.binary && extensions.chunking) {
            // RFC 3030 §3: it is not made into something else here.
            return Some(Failure::local(true, "5.6.1", "the server does not take binary messages"));
        }
        if transaction.requiretls && (self.tls != TlsWish::On || !extensions.requiretls) {
            // RFC 8689 §4.2.2.
            return Some(Failure::local(true, "5.7.30", "the server does not take REQUIRETLS"));
        }
        match extensions.size {
            Some(Some(most)) if transaction.size > most => {
                Some(Failure::local(true, "5.3.4", "larger than the server takes"))
            }
            _ => None,
        }
    }

    fn mail_command(&self, transaction: &Transaction) -> String {
        let path = transaction.from.address().map(|a| a.for_wire(transaction.smtputf8)).unwrap_or_default();
        let mut line = format!("MAIL FROM:<{path}>");
        if self.extensions.size.is_some() {
            line.push_str(&format!(" SIZE={}", transaction.size));
        }
        // Row QU-24: where it is not offered, the bytes go all the same, as they do everywhere.
        if transaction.binary {
            line.push_str(" BODY=BINARYMIME");
        } else if transaction.eight_bit && self.extensions.eight_bit {
            line.push_str(" BODY=8BITMIME");
        }
        if transaction.smtputf8 {
            line.push_str(" SMTPUTF8");
        }
        if self.extensions.dsn {
            if !transaction.ret.is_empty() {
                line.push_str(&format!(" RET={}", transaction.ret));
            }
            if !transaction.envelope_id.is_empty() {
                line.push_str(&format!(" ENVID={}", xtext(&transaction.envelope_id)));
            }
        }
        if transaction.requiretls {
            line.push_str(" REQUIRETLS");
        }
        line.push_str("\r\n");
        line
    }

    fn rcpt_command(&self, transaction: &Transaction, at: usize, recipient: &Address) -> String {
        let mut line = format!("RCPT TO:<{}>", recipient.for_wire(transaction.smtputf8));
        if let Some(reports) = transaction.reports.get(at).filter(|_| self.extensions.dsn) {
            if !reports.notify.is_empty() {
                line.push_str(&format!(" NOTIFY={}", reports.notify));
            }
            if !reports.orcpt.is_empty() {
                line.push_str(&format!(" ORCPT={}", reports.orcpt));
            }
        }
        line.push_str("\r\n");
        line
    }

    /// Sends the next commands: one, or with pipelining a bounded number. DATA is the last of its flight.
    fn flight(&mut self) -> Action {
        let most = if self.extensions.pipelining { limits::FLIGHT } else { 1 };
        let mut bytes = Vec::new();
        while self.sent.len() < most
            && let Some((sent, line)) = self.commands.pop_front()
        {
            bytes.extend_from_slice(line.as_bytes());
            self.sent.push_back(sent);
        }
        Action::Exchange(bytes)
    }

    fn envelope_reply(&mut self, answer: &Answer) -> Action {
        match self.sent.pop_front() {
            Some(Sent::Mail) if !answer.is_positive() => self.mail_failure = Some(Failure::of(answer)),
            Some(Sent::Mail | Sent::Rset) => {}
            Some(Sent::Rcpt(at)) => {
                let outcome = match (&self.mail_failure, answer.code) {
                    (Some(failure), _) => Some(Outcome::Refused(failure.clone())),
                    (None, 200..=299) => {
                        self.accepted.push(at);
                        None
                    }
                    // Too many at once, not too many for ever; the first one was not too many.
                    (None, 452 | 552) if !self.accepted.is_empty() => Some(Outcome::NotTried),
                    (None, _) => Some(Outcome::Refused(Failure::of(answer))),
                };
                if let Some(slot) = self.outcomes.get_mut(at) {
                    *slot = outcome;
                }
            }
            Some(Sent::Data) => return self.data_reply(answer),
            Some(Sent::End) => {
                let outcome = if answer.is_positive() && answer.code < 300 {
                    Outcome::Delivered(answer.clone())
                } else {
                    Outcome::Refused(Failure::of(answer))
                };
                return self.finished(&outcome);
            }
            None => return self.fail(Failure::of(answer)),
        }
        if !self.sent.is_empty() {
            return Action::Exchange(Vec::new());
        }
        // Between flights: no use to go on without a sender or any recipient.
        let only_data = self.commands.front().is_some_and(|(sent, _)| *sent == Sent::Data);
        if self.mail_failure.is_some() || (only_data && self.accepted.is_empty()) {
            self.commands.clear();
        }
        if self.commands.is_empty() {
            if self.binary && self.mail_failure.is_none() && !self.accepted.is_empty() {
                self.stage = Stage::Body;
                return Action::Chunk;
            }
            return self.give_up();
        }
        self.flight()
    }

    fn data_reply(&mut self, answer: &Answer) -> Action {
        if answer.code == 354 {
            self.stage = Stage::Body;
            if self.accepted.is_empty() {
                // RFC 2920 §3.1: it went ahead although it refused everybody; an empty message ends it.
                self.sent.push_back(Sent::End);
                return Action::Exchange(b".\r\n".to_vec());
            }
            return Action::Body;
        }
        let failure = Failure::of(answer);
        for at in std::mem::take(&mut self.accepted) {
            if let Some(slot) = self.outcomes.get_mut(at) {
                *slot = Some(Outcome::Refused(failure.clone()));
            }
        }
        self.give_up()
    }

    /// The message and its end were sent; a reply is awaited.
    pub fn on_sent(&mut self) -> Action {
        self.sent.push_back(Sent::End);
        Action::Exchange(Vec::new())
    }

    /// No message goes: the transaction is taken back before another begins.
    fn give_up(&mut self) -> Action {
        self.sent.clear();
        self.commands.clear();
        self.dirty = true;
        let failure = self.mail_failure.clone();
        let outcome = failure.map_or(Outcome::NotTried, Outcome::Refused);
        self.finished(&outcome)
    }

    fn finished(&mut self, outcome: &Outcome) -> Action {
        self.stage = Stage::Ready;
        let accepted = std::mem::take(&mut self.accepted);
        let outcomes = std::mem::take(&mut self.outcomes)
            .into_iter()
            .enumerate()
            .map(|(at, slot)| match slot {
                Some(outcome) => outcome,
                None if accepted.contains(&at) || self.mail_failure.is_some() => outcome.clone(),
                None => Outcome::NotTried,
            })
            .collect();
        Action::Finished(outcomes)
    }

    /// Says goodbye; the reply need not be waited for.
    pub fn quit(&mut self) -> Vec<u8> {
        self.stage = Stage::Quit;
        b"QUIT\r\n".to_vec()
    }

    fn fail(&mut self, failure: Failure) -> Action {
        self.stage = Stage::Over;
        Action::Failed(failure)
    }
}

/// RFC 3461 §4.
fn xtext(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'!'..=b'~' if byte != b'+' && byte != b'=' => out.push(char::from(byte)),
            other => out.push_str(&format!("+{other:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply;

    fn transaction(recipients: &[&str]) -> Transaction {
        Transaction {
            from: ReversePath::Address("me@s.example".parse().unwrap()),
            recipients: recipients.iter().map(|r| r.parse().unwrap()).collect(),
            reports: Vec::new(),
            ret: String::new(),
            envelope_id: String::new(),
            size: 100,
            smtputf8: false,
            eight_bit: true,
            binary: false,
            requiretls: false,
        }
    }

    #[test]
    fn binary_messages_go_by_bdat_or_not_at_all() {
        // Row SR-40, RFC 3030.
        let binary = || Transaction { binary: true, ..transaction(&["a@x", "b@x"]) };
        for ehlo in ["250-x\r\n250 CHUNKING", "250-x\r\n250 BINARYMIME", "250-x\r\n250 8BITMIME"] {
            let mut client = greeted(ehlo);
            let Action::Finished(outcomes) = client.begin(&binary()) else { panic!() };
            for outcome in outcomes {
                assert!(
                    matches!(&outcome, Outcome::Refused(f) if f.permanent && f.status == "5.6.1"),
                    "{ehlo}: {outcome:?}"
                );
            }
        }
        for pipelining in ["", "250-PIPELINING\r\n"] {
            let mut client = greeted(&format!("250-x\r\n{pipelining}250-BINARYMIME\r\n250 CHUNKING"));
            let mail = "MAIL FROM:<me@s.example> BODY=BINARYMIME\r\n";
            let rcpt = ["RCPT TO:<a@x>\r\n", "RCPT TO:<b@x>\r\n"];
            if pipelining.is_empty() {
                sends(client.begin(&binary()), mail);
                sends(client.on_reply(&answer("250 ok")), rcpt[0]);
                sends(client.on_reply(&answer("250 ok")), rcpt[1]);
            } else {
                sends(client.begin(&binary()), &format!("{mail}{}{}", rcpt[0], rcpt[1]));
                sends(client.on_reply(&answer("250 ok")), "");
                sends(client.on_reply(&answer("250 ok")), "");
            }
            assert_eq!(client.on_reply(&answer("550 no")), Action::Chunk);
            sends(client.on_sent(), "");
            let Action::Finished(outcomes) = client.on_reply(&answer("250 taken")) else { panic!() };
            assert!(
                matches!(&outcomes[..], [Outcome::Delivered(_), Outcome::Refused(f)] if f.permanent),
                "{outcomes:?}"
            );
            // Nobody: no octet of it goes.
            client.begin(&binary());
            let mut last = Action::Ready;
            for code in ["250", "550", "550"] {
                last = client.on_reply(&answer(&format!("{code} x")));
            }
            assert!(matches!(last, Action::Finished(_)), "{last:?}");
        }
    }

    fn answer(text: &str) -> Answer {
        reply::parse(format!("{text}\r\n").as_bytes()).unwrap().unwrap().1
    }

    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "the rows of the table read better")]
    fn sends(action: Action, want: &str) {
        assert_eq!(action, Action::Exchange(want.as_bytes().to_vec()));
    }

    fn greeted(ehlo: &str) -> Client {
        let mut client = Client::new(&Domain::parse("me.example").unwrap(), TlsWish::Opportunistic);
        sends(client.on_reply(&answer("220 hi")), "EHLO me.example\r\n");
        assert_eq!(client.on_reply(&answer(ehlo)), Action::Ready);
        client
    }

    fn short(outcomes: Vec<Outcome>) -> Vec<String> {
        outcomes
            .into_iter()
            .map(|outcome| match outcome {
                Outcome::Delivered(answer) => format!("ok {}", answer.code),
                Outcome::Refused(failure) => {
                    format!("{} {}", if failure.permanent { "no" } else { "later" }, failure.status)
                }
                Outcome::NotTried => "not tried".into(),
            })
            .collect()
    }

    #[track_caller]
    fn ends(action: Action, want: &[&str]) {
        match action {
            Action::Finished(outcomes) => assert_eq!(short(outcomes), want),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn pipelined_with_a_result_for_each() {
        let mut client = greeted("250-x\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250 8BITMIME");
        sends(
            client.begin(&transaction(&["a@x.example", "b@x.example", "c@x.example"])),
            "MAIL FROM:<me@s.example> SIZE=100 BODY=8BITMIME\r\nRCPT TO:<a@x.example>\r\nRCPT TO:<b@x.example>\r\nRCPT TO:<c@x.example>\r\nDATA\r\n",
        );
        for text in ["250 ok", "250 ok", "550 5.1.1 no", "452 4.5.3 enough"] {
            sends(client.on_reply(&answer(text)), "");
        }
        assert_eq!(client.on_reply(&answer("354 go")), Action::Body);
        sends(client.on_sent(), "");
        ends(client.on_reply(&answer("250 2.0.0 kept")), &["ok 250", "no 5.1.1", "not tried"]);
        assert!(
            matches!(client.begin(&transaction(&["c@x.example"])), Action::Exchange(bytes) if bytes.starts_with(b"MAIL"))
        );
    }

    #[test]
    fn one_at_a_time_without_pipelining() {
        let mut client = greeted("250 x");
        sends(client.begin(&transaction(&["a@x.example"])), "MAIL FROM:<me@s.example>\r\n");
        sends(client.on_reply(&answer("250")), "RCPT TO:<a@x.example>\r\n");
        ends(client.on_reply(&answer("451 4.3.0 later")), &["later 4.3.0"]);
        // The server may still hold the transaction.
        sends(client.begin(&transaction(&["a@x.example"])), "RSET\r\n");
        sends(client.on_reply(&answer("250")), "MAIL FROM:<me@s.example>\r\n");
        ends(client.on_reply(&answer("553 5.1.7 you?")), &["no 5.1.7"]);
    }

    #[test]
    fn a_server_that_goes_ahead_with_nobody() {
        // RFC 2920 §3.1
        let mut client = greeted("250-x\r\n250 PIPELINING");
        client.begin(&transaction(&["a@x.example"]));
        client.on_reply(&answer("250"));
        client.on_reply(&answer("550 5.1.1 no"));
        sends(client.on_reply(&answer("354 go")), ".\r\n");
        ends(client.on_reply(&answer("554 nothing")), &["no 5.1.1"]);
        client.begin(&transaction(&["a@x.example", "b@x.example"]));
        client.on_reply(&answer("451 4.1.8 sender"));
        client.on_reply(&answer("503 what"));
        client.on_reply(&answer("503 what"));
        ends(client.on_reply(&answer("503 what")), &["later 4.1.8", "later 4.1.8"]);
    }

    #[test]
    fn data_and_its_end_may_be_refused() {
        let mut client = greeted("250-x\r\n250 PIPELINING");
        client.begin(&transaction(&["a@x.example"]));
        client.on_reply(&answer("250"));
        client.on_reply(&answer("250"));
        ends(client.on_reply(&answer("451 4.3.0 no")), &["later 4.3.0"]);
        client.begin(&transaction(&["a@x.example"]));
        for _ in 0..3 {
            client.on_reply(&answer("250"));
        }
        assert_eq!(client.on_reply(&answer("354")), Action::Body);
        client.on_sent();
        ends(client.on_reply(&answer("554 5.7.1 spam")), &["no 5.7.1"]);
    }

    #[test]
    fn tls_comes_first() {
        let mut client = Client::new(&Domain::parse("me.example").unwrap(), TlsWish::Required);
        client.on_reply(&answer("220 hi"));
        sends(client.on_reply(&answer("250-x\r\n250 STARTTLS")), "STARTTLS\r\n");
        assert_eq!(client.on_reply(&answer("220 go")), Action::StartTls);
        sends(client.on_tls(), "EHLO me.example\r\n");
        assert_eq!(client.on_reply(&answer("250-x\r\n250 REQUIRETLS")), Action::Ready);
        let wants = Transaction { requiretls: true, ..transaction(&["a@x.example"]) };
        assert!(
            matches!(client.begin(&wants), Action::Exchange(bytes) if bytes.ends_with(b" REQUIRETLS\r\n"))
        );

        let mut client = Client::new(&Domain::parse("me.example").unwrap(), TlsWish::Required);
        client.on_reply(&answer("220 hi"));
        assert!(matches!(
            client.on_reply(&answer("250 x")),
            Action::Failed(Failure { permanent: false, .. })
        ));
        let mut client = Client::new(&Domain::parse("me.example").unwrap(), TlsWish::Opportunistic);
        client.on_reply(&answer("220 hi"));
        client.on_reply(&answer("250-x\r\n250 STARTTLS"));
        assert_eq!(client.on_reply(&answer("454 no TLS today")), Action::Ready);
    }

    #[test]
    fn what_the_server_cannot_take() {
        let mut client = greeted("250-x\r\n250-LIMITS RCPTMAX=1\r\n250-PIPELINING\r\n250 SIZE 50");
        ends(client.begin(&transaction(&["a@x.example"])), &["no 5.3.4"]);
        let needs = Transaction { smtputf8: true, size: 1, ..transaction(&["\u{e9}@x.example"]) };
        ends(client.begin(&needs), &["no 5.6.7"]);
        let secret = Transaction { requiretls: true, size: 1, ..transaction(&["a@x.example"]) };
        ends(client.begin(&secret), &["no 5.7.30"]);
        let two = Transaction { size: 1, ..transaction(&["a@x.example", "b@x.example"]) };
        sends(client.begin(&two), "MAIL FROM:<me@s.example> SIZE=1\r\nRCPT TO:<a@x.example>\r\nDATA\r\n");
        client.on_reply(&answer("250"));
        client.on_reply(&answer("250"));
        client.on_reply(&answer("354"));
        client.on_sent();
        ends(client.on_reply(&answer("250")), &["ok 250", "not tried"]);
    }

    #[test]
    fn reports_are_asked_for_where_the_server_knows_of_them() {
        // Row SR-41.
        let wishes = Transaction {
            reports: vec![RcptReports { notify: "SUCCESS".into(), orcpt: "rfc822;a@x".into() }],
            ret: "HDRS".into(),
            envelope_id: "a+b c".into(),
            eight_bit: false,
            ..transaction(&["a@x.example"])
        };
        let mut client = greeted("250-x\r\n250-DSN\r\n250 PIPELINING");
        sends(
            client.begin(&wishes),
            "MAIL FROM:<me@s.example> RET=HDRS ENVID=a+2Bb+20c\r\nRCPT TO:<a@x.example> NOTIFY=SUCCESS ORCPT=rfc822;a@x\r\nDATA\r\n",
        );
        let mut client = greeted("250-x\r\n250 PIPELINING");
        sends(client.begin(&wishes), "MAIL FROM:<me@s.example>\r\nRCPT TO:<a@x.example>\r\nDATA\r\n");
    }

    #[test]
    fn servers_that_are_none() {
        let fails = |replies: &[&str], permanent: bool| {
            let mut client = Client::new(&Domain::parse("me.example").unwrap(), TlsWish::Never);
            let mut last = Action::Ready;
            for text in replies {
                last = client.on_reply(&answer(text));
            }
            assert!(matches!(&last, Action::Failed(failure) if failure.permanent == permanent), "{last:?}");
        };
        fails(&["554 go away"], true);
        fails(&["421 busy"], false);
        fails(&["250 what"], false);
        fails(&["220 hi", "500 what", "500 what"], true);
        fails(&["220 hi", "450 later"], false);
        let mut client = Client::new(&Domain::parse("me.example").unwrap(), TlsWish::Opportunistic);
        client.on_reply(&answer("220 hi"));
        sends(client.on_reply(&answer("502 what")), "HELO me.example\r\n");
        assert_eq!(client.on_reply(&answer("250 x")), Action::Ready);
    }
}
