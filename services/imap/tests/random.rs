//! Several clients, random commands: what the server tells each of them never contradicts itself.
//!
//! A client here believes what it is told and nothing else: numbers from EXISTS, EXPUNGE and VANISHED, uids, flags,
//! modseqs and keywords from FETCH and FLAGS. At each quiet moment all of them, asked anew, must have believed the
//! truth.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[allow(dead_code, reason = "each test binary uses its part")]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use support::{Dice, Peer, World};

/// What a client knows of one message.
#[derive(Debug, Default, Clone)]
struct Known {
    uid: Option<u32>,
    flags: Option<BTreeSet<String>>,
    mod_seq: u64,
}

/// How a client wants to be spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    CondStore,
    QResync,
    UidOnly,
}

struct Client {
    peer: Peer,
    kind: Kind,
    name: String,
    tag: u32,
    messages: Vec<Known>,
    keywords: BTreeSet<String>,
    highest: u64,
    /// Uids that went and never come back.
    gone: BTreeSet<u32>,
    log: Vec<String>,
}

/// Whether EXPUNGE may come while the command runs. RFC 9051 §7.5.1.
fn may_expunge(command: &str) -> bool {
    !["FETCH", "STORE", "SEARCH", "SORT", "THREAD"].iter().any(|held| command.starts_with(held))
}

fn words(text: &str) -> BTreeSet<String> {
    text.split(' ').filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}

fn between<'t>(text: &'t str, before: &str, after: char) -> Option<&'t str> {
    let rest = &text[text.find(before)? + before.len()..];
    Some(&rest[..rest.find(after)?])
}

fn ranges(set: &str) -> impl Iterator<Item = u32> + '_ {
    set.split(',').flat_map(|part| {
        let (low, high) = part.split_once(':').unwrap_or((part, part));
        low.parse::<u32>().unwrap()..=high.parse::<u32>().unwrap()
    })
}

impl Client {
    async fn new(world: &World, kind: Kind, name: &str) -> Self {
        let mut this = Self {
            peer: world.signed_in("jane").await,
            kind,
            name: name.into(),
            tag: 0,
            messages: Vec::new(),
            keywords: BTreeSet::new(),
            highest: 0,
            gone: BTreeSet::new(),
            log: Vec::new(),
        };
        match kind {
            Kind::Plain => {}
            Kind::CondStore => drop(this.say("ENABLE CONDSTORE").await),
            Kind::QResync => drop(this.say("ENABLE QRESYNC").await),
            Kind::UidOnly => drop(this.say("ENABLE UIDONLY").await),
        }
        this.open().await;
        this
    }

    async fn open(&mut self) {
        self.messages.clear();
        self.keywords.clear();
        self.say("SELECT INBOX").await;
    }

    #[track_caller]
    fn check(&self, good: bool, what: &str) {
        let log = self.log[self.log.len().saturating_sub(30)..].join("\n");
        assert!(good, "{} ({:?}): {what}\n{log}", self.name, self.kind);
    }

    /// Says a command and takes in everything up to its completion, which it gives back.
    async fn say(&mut self, command: &str) -> String {
        self.tag += 1;
        let tag = format!("t{}", self.tag);
        self.log.push(format!("C: {tag} {command}"));
        self.peer.send(&format!("{tag} {command}\r\n")).await;
        loop {
            let line = self.peer.response().await;
            self.log.push(format!("S: {line}"));
            if let Some(end) = line.strip_prefix(&format!("{tag} ")) {
                self.check(!end.starts_with("BAD"), "a command of the test is understood");
                if let Some(mod_seq) = between(end, "[HIGHESTMODSEQ ", ']') {
                    self.raise(mod_seq);
                }
                return end.to_string();
            }
            self.check(line.starts_with("* "), "an untagged response");
            self.take(&line[2..], command);
        }
    }

    fn raise(&mut self, mod_seq: &str) {
        let mod_seq: u64 = mod_seq.parse().unwrap();
        self.check(mod_seq >= self.highest, "HIGHESTMODSEQ never goes down");
        self.highest = mod_seq;
    }

    fn take(&mut self, line: &str, command: &str) {
        if let Some(flags) = line.strip_prefix("FLAGS (") {
            self.keywords.extend(words(flags.trim_end_matches(')')));
        } else if let Some(set) = line.strip_prefix("VANISHED (EARLIER) ") {
            self.check(ranges(set).all(|uid| self.place(uid).is_none()), "EARLIER ones are not counted");
        } else if let Some(set) = line.strip_prefix("VANISHED ") {
            self.check(matches!(self.kind, Kind::QResync | Kind::UidOnly), "VANISHED was asked for");
            self.check(may_expunge(command), "VANISHED at this command");
            for uid in ranges(set) {
                match self.place(uid) {
                    Some(at) => drop(self.messages.remove(at)),
                    // One of those told by EXISTS alone: uids ascend, so it stood before the next known one.
                    None => {
                        let above =
                            self.messages.iter().position(|known| known.uid.is_some_and(|known| known > uid));
                        let below = &self.messages[..above.unwrap_or(self.messages.len())];
                        match below.iter().rposition(|known| known.uid.is_none()) {
                            Some(at) => drop(self.messages.remove(at)),
                            None => self.check(false, "VANISHED names a message that is counted"),
                        }
                    }
                }
                let first = self.gone.insert(uid);
                self.check(first, "a message goes once");
            }
        } else if let Some(mod_seq) = between(line, "OK [HIGHESTMODSEQ ", ']') {
            self.raise(mod_seq);
        } else if let Some((number, rest)) = line.split_once(' ')
            && let Ok(number) = number.parse::<usize>()
        {
            match rest {
                "EXISTS" => {
                    self.check(number >= self.messages.len(), "EXISTS does not shrink");
                    self.messages.resize(number, Known::default());
                }
                "EXPUNGE" => {
                    self.check(may_expunge(command), "EXPUNGE at this command");
                    self.check(matches!(self.kind, Kind::Plain | Kind::CondStore), "EXPUNGE, not VANISHED");
                    self.check((1..=self.messages.len()).contains(&number), "EXPUNGE within what exists");
                    if let Some(uid) = self.messages.remove(number - 1).uid {
                        let first = self.gone.insert(uid);
                        self.check(first, "a message goes once");
                    }
                }
                _ => {
                    if let Some(data) = rest.strip_prefix("FETCH (") {
                        self.check(self.kind != Kind::UidOnly, "numbers are switched off");
                        self.check((1..=self.messages.len()).contains(&number), "FETCH within what exists");
                        self.on_fetch(number - 1, data, None);
                    } else if let Some(data) = rest.strip_prefix("UIDFETCH (") {
                        self.check(self.kind == Kind::UidOnly, "UIDFETCH was asked for");
                        let uid = u32::try_from(number).unwrap();
                        if let Some(at) = self.place(uid) {
                            self.on_fetch(at, data, Some(uid));
                        }
                    }
                }
            }
        }
    }

    fn place(&self, uid: u32) -> Option<usize> {
        self.messages.iter().position(|known| known.uid == Some(uid))
    }

    fn on_fetch(&mut self, at: usize, data: &str, uid: Option<u32>) {
        let told = between(data, "UID ", ' ').or_else(|| between(data, "UID ", ')'));
        if let Some(uid) = told.and_then(|uid| uid.parse::<u32>().ok()).or(uid) {
            let before = self.messages[at].uid;
            self.check(before.is_none_or(|before| before == uid), "a number keeps its uid");
            self.check(!self.gone.contains(&uid), "what went does not come back");
            let below = self.messages[..at].iter().rev().find_map(|known| known.uid);
            let above = self.messages[at + 1..].iter().find_map(|known| known.uid);
            self.check(below.is_none_or(|below| below < uid), "uids ascend");
            self.check(above.is_none_or(|above| above > uid), "uids ascend");
            self.messages[at].uid = Some(uid);
        }
        if let Some(flags) = between(data, "FLAGS (", ')') {
            let flags = words(flags);
            self.check(flags.is_subset(&self.keywords), "flags were named in FLAGS");
            self.messages[at].flags = Some(flags);
        }
        if let Some(mod_seq) = between(data, "MODSEQ (", ')') {
            let mod_seq: u64 = mod_seq.parse().unwrap();
            self.check(mod_seq >= self.messages[at].mod_seq, "a modseq never goes down");
            self.messages[at].mod_seq = mod_seq;
        }
    }

    /// Asks for everything, so that the client knows all there is.
    async fn learn(&mut self) {
        self.say("NOOP").await;
        if self.kind == Kind::UidOnly {
            self.messages.clear();
            let all = self.peer_uids().await;
            self.messages = all.into_iter().map(|uid| Known { uid: Some(uid), ..Known::default() }).collect();
        }
        self.say("UID FETCH 1:* (UID FLAGS)").await;
    }

    async fn peer_uids(&mut self) -> Vec<u32> {
        self.peer.send("u UID SEARCH ALL\r\n").await;
        let answer = self.peer.until("u").await;
        answer
            .iter()
            .find_map(|line| line.strip_prefix("* SEARCH"))
            .unwrap_or_default()
            .split_whitespace()
            .map(|uid| uid.parse().unwrap())
            .collect()
    }

    fn set(&self, dice: &mut Dice) -> Option<(String, String)> {
        let known: Vec<u32> = self.messages.iter().filter_map(|known| known.uid).collect();
        if known.is_empty() || self.messages.is_empty() {
            return None;
        }
        let (a, b) = (known[dice.roll(known.len())], known[dice.roll(known.len())]);
        if self.kind == Kind::UidOnly || dice.roll(2) == 0 {
            return Some(("UID ".into(), format!("{}:{}", a.min(b), a.max(b))));
        }
        let last = self.messages.len();
        let (a, b) = (dice.roll(last) + 1, dice.roll(last) + 1);
        Some((String::new(), format!("{a},{b}")))
    }

    async fn step(&mut self, dice: &mut Dice) {
        let flag = dice.pick(&["\\Seen", "\\Flagged", "\\Deleted", "work", "later", "$Junk", "\\Answered"]);
        let which = dice.roll(15);
        if which == 14 {
            // Once more, where nothing may be new since the last time.
            self.open().await;
            return self.open().await;
        }
        let command = match (which, self.set(dice)) {
            (0, _) => "NOOP".into(),
            (1, _) => "EXPUNGE".into(),
            (2 | 3, _) => {
                let one = "{14+}\r\nSubject: x\r\n\r\n";
                let many = vec![one; dice.roll(3) + 1].join(" ");
                format!("APPEND INBOX ({flag}) {many}")
            }
            (4, Some((uid, set))) => format!("{uid}FETCH {set} (UID FLAGS)"),
            (5 | 6, Some((uid, set))) => {
                format!("{uid}STORE {set} {}FLAGS ({flag})", dice.pick(&["+", "-", ""]))
            }
            (7, Some((uid, set))) => format!("{uid}STORE {set} +FLAGS.SILENT ({flag})"),
            (8, Some((uid, set))) => format!("{uid}COPY {set} INBOX"),
            (9, Some((uid, set))) => format!("{uid}MOVE {set} {}", dice.pick(&["INBOX", "Archive"])),
            (10, Some((_, set))) => format!("UID EXPUNGE {set}"),
            (11, Some((uid, set))) => format!("{uid}FETCH {set} (BODY[TEXT])"),
            (12, Some(_)) if self.kind != Kind::UidOnly => {
                format!("SEARCH RETURN (COUNT) {}", dice.pick(&["ALL", "SEEN", "KEYWORD work"]))
            }
            (13, Some((uid, set))) => {
                let one = set.split([':', ',']).next().unwrap().to_string();
                format!("{uid}REPLACE {one} INBOX ({flag}) {{14+}}\r\nSubject: x\r\n\r\n")
            }
            _ => "CHECK".into(),
        };
        let silent = command.contains(".SILENT");
        self.say(&command).await;
        if silent {
            // What it set itself without being told it asks for.
            for known in &mut self.messages {
                known.flags = None;
            }
        }
    }
}

/// Flags by uid, as a client believes them.
fn belief(client: &Client) -> BTreeMap<u32, BTreeSet<String>> {
    client
        .messages
        .iter()
        .map(|known| (known.uid.unwrap_or_default(), known.flags.clone().unwrap_or_default()))
        .collect()
}

async fn talk(seed: u64, rounds: usize) {
    let world = World::new().await;
    let mut dice = Dice(seed);
    let mut clients = Vec::new();
    for (at, kind) in [Kind::Plain, Kind::CondStore, Kind::QResync, Kind::UidOnly].into_iter().enumerate() {
        clients.push(Client::new(&world, kind, &format!("client {at}")).await);
    }
    for round in 0..rounds {
        for _ in 0..12 {
            let who = dice.roll(clients.len());
            clients[who].step(&mut dice).await;
            if dice.roll(40) == 0 {
                world.deliver("jane@example.org", "Subject: y\n\ny\n").await;
            }
        }
        if round % 8 == 7 {
            let who = dice.roll(clients.len());
            clients[who].open().await;
        }
        // Flags told before and flags asked for now are the same.
        for client in &mut clients {
            client.say("NOOP").await;
            let before = client.messages.clone();
            client.learn().await;
            for known in before {
                if let (Some(uid), Some(flags)) = (known.uid, known.flags)
                    && let Some(at) = client.place(uid)
                {
                    let now = client.messages[at].flags.clone();
                    client.check(now.as_ref() == Some(&flags), &format!("uid {uid} had {flags:?}"));
                }
            }
        }
        let truth = belief(&clients[0]);
        for client in &clients {
            client.check(belief(client) == truth, "all clients believe the same");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_clients_are_told_never_contradicts_itself() {
    for seed in [1, 2, 3] {
        talk(seed, 25).await;
    }
}
