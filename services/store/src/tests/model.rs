//! Random operations against a simple model of an account, compared after each step and after opening again.

use super::*;
use libmox_store::{
    AnnotationChange, AnnotationList, AnnotationSet, Append, AppendMessage, Copy, Destined, Expunge,
    FlagsChange, FlagsHow, MailboxCreate, MailboxDelete, MailboxRename, Mark, Reject, Request, ThreadChange,
    ThreadsReassign,
};
use libmox_types::{Flag, Flags, Uid};
use proptest::prelude::*;
use std::collections::BTreeMap;

const NAMES: [&str; 7] = ["Inbox", "Archive", "a", "a/b", "c", "c/d/e", "Rejects"];
const FLAGS: [Flag; 5] = [Flag::Seen, Flag::Deleted, Flag::Flagged, Flag::Junk, Flag::NotJunk];
/// Conversations. Below this a message begins one, from it on a message answers one.
const TALKS: u8 = 4;

#[derive(Debug, Clone)]
enum Op {
    Deliver(u16, u8),
    /// Refused, with the Message-ID of what begins a conversation.
    Reject(u8),
    /// Mutes the thread of a message, or not any more.
    Mute(usize, u8, bool),
    Reassign,
    /// In a mailbox, or in the account; an empty value removes.
    Annotate(Option<usize>, u8, u8),
    Append(usize, u8),
    Flags(usize, u64, FlagsHow, u8),
    Copy(usize, u64, usize, bool),
    Expunge(usize, u64),
    Create(usize),
    Delete(usize),
    Rename(usize, usize),
    Sweep,
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    let one = 0..NAMES.len();
    let how = prop_oneof![Just(FlagsHow::Replace), Just(FlagsHow::Add), Just(FlagsHow::Remove)];
    prop_oneof![
        6 => (any::<u16>(), 0..2 * TALKS).prop_map(|(size, talk)| Op::Deliver(size, talk)),
        3 => (0..TALKS).prop_map(Op::Reject),
        2 => (one.clone(), any::<u8>(), any::<bool>()).prop_map(|(at, uid, muted)| Op::Mute(at, uid, muted)),
        1 => Just(Op::Reassign),
        2 => (proptest::option::of(one.clone()), 0..3u8, any::<u8>())
            .prop_map(|(at, name, size)| Op::Annotate(at, name, size)),
        3 => (one.clone(), 1..6u8).prop_map(|(at, count)| Op::Append(at, count)),
        6 => (one.clone(), any::<u64>(), how, 0..32u8).prop_map(|(at, set, how, bits)| Op::Flags(at, set, how, bits)),
        5 => (one.clone(), any::<u64>(), one.clone(), any::<bool>())
            .prop_map(|(at, set, to, take)| Op::Copy(at, set, to, take)),
        3 => (one.clone(), any::<u64>()).prop_map(|(at, set)| Op::Expunge(at, set)),
        3 => one.clone().prop_map(Op::Create),
        1 => one.clone().prop_map(Op::Delete),
        1 => (one.clone(), one).prop_map(|(from, to)| Op::Rename(from, to)),
        1 => Just(Op::Sweep),
        1 => Just(Op::Reopen),
    ]
}

#[derive(Debug, Clone, PartialEq)]
struct Letter {
    id: u64,
    flags: Flags,
    size: u64,
    /// The conversation: what begins it, or an answer to it.
    talk: Option<u8>,
    thread: u64,
    muted: bool,
    reject: bool,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Box {
    next: u32,
    messages: BTreeMap<u32, Letter>,
    annotations: BTreeMap<String, Vec<u8>>,
}

type Model = BTreeMap<String, Box>;

fn create(model: &mut Model, text: &str) {
    for (at, _) in text.match_indices('/').chain([(text.len(), "")]) {
        model.entry(text[..at].to_owned()).or_insert(Box { next: 1, ..Box::default() });
    }
}

fn add(mailbox: &mut Box, letter: Letter) {
    mailbox.messages.insert(mailbox.next, letter);
    mailbox.next += 1;
}

/// The one an answer to a conversation belongs to: of all that begin it, the oldest.
fn beginning(model: &Model, talk: u8) -> Option<&Letter> {
    let all = model.values().flat_map(|mailbox| mailbox.messages.values());
    all.filter(|letter| letter.talk == Some(talk)).min_by_key(|letter| letter.id)
}

/// Finds the thread of a message, as it arrives or anew.
fn find_thread(model: &Model, letter: &mut Letter) {
    let parent = letter.talk.and_then(|talk| beginning(model, talk.checked_sub(TALKS)?));
    letter.thread = parent.map_or(letter.id, |parent| parent.thread);
    letter.muted = parent.map_or(letter.muted, |parent| parent.muted);
}

/// What a message becomes in another place.
fn settled(mut letter: Letter) -> Letter {
    if letter.reject {
        letter.reject = false;
        letter.flags = letter.flags.without(Flag::Seen);
    }
    letter
}

fn mail(talk: u8) -> Facts {
    let begins = talk < TALKS;
    Facts {
        message_id: if begins { format!("{talk}@x") } else { format!("answer{talk}@x") },
        references: if begins { vec![] } else { vec![format!("{}@x", talk - TALKS)] },
        base_subject: "talk".into(),
        from: Some(address("Someone@far.example")),
        structure: vec![5; 30],
        ..Facts::default()
    }
}

/// Bits choose among the uids up to 64.
fn chosen(set: u64) -> UidSet {
    (0..64).filter(|bit| set & (1 << bit) != 0).map(|bit| Uid(bit + 1)).collect()
}

fn has_children(model: &Model, text: &str) -> bool {
    model.keys().any(|other| other.strip_prefix(text).is_some_and(|rest| rest.starts_with('/')))
}

struct Run {
    world: World,
    imap: Client,
    session: SessionId,
    model: Model,
    annotations: BTreeMap<String, Vec<u8>>,
    next: u64,
}

impl Run {
    async fn start() -> Self {
        let mut directory = sample();
        directory.accounts.get_mut("jane").unwrap().rejects = Some(name("Rejects"));
        let world = World::with(directory).await;
        let imap = world.imap();
        let session = world.login(&imap, "jane@example.org").await;
        let mut model = Model::new();
        for text in ["Inbox", "Sent", "Archive", "Trash", "Drafts", "Junk"] {
            create(&mut model, text);
        }
        Self { world, imap, session, model, annotations: BTreeMap::new(), next: 1 }
    }

    fn letter(&mut self, flags: Flags, size: u64, talk: Option<u8>) -> Letter {
        let id = self.next;
        self.next += 1;
        let mut letter = Letter { id, flags, size, talk, thread: id, muted: false, reject: false };
        find_thread(&self.model, &mut letter);
        letter
    }

    async fn id(&self, at: usize) -> Option<libmox_types::MailboxId> {
        let status = self.imap.ask(MailboxStatus { session: self.session, name: name(NAMES[at]) }).await;
        assert_eq!(status.is_ok(), self.model.contains_key(NAMES[at]));
        Some(status.ok()?.id)
    }

    async fn step(mut self, op: &Op) -> Self {
        let session = self.session;
        match *op {
            Op::Deliver(size, talk) => {
                let body = Body::Inline(vec![b'd'; size.into()]);
                let mut request = deliver(&["jane@example.org"], body);
                request.facts = mail(talk);
                let got = self.world.client(Role::Smtp).ask(request).await.unwrap();
                assert!(matches!(got[..], [Delivered::Stored(_)]));
                let prefix = "Delivered-To: jane@example.org\r\n".len() as u64;
                let mut letter = self.letter(Flags::NONE, u64::from(size) + prefix, Some(talk));
                if letter.muted {
                    letter.flags = letter.flags.with(Flag::Seen);
                }
                add(self.model.get_mut("Inbox").unwrap(), letter);
                if talk < TALKS {
                    for mailbox in self.model.values_mut() {
                        mailbox.messages.retain(|_, letter| !(letter.reject && letter.talk == Some(talk)));
                    }
                }
            }
            Op::Reject(talk) => {
                let mut request = deliver(&["jane@example.org"], Body::Inline(b"no".to_vec()));
                (request.facts, request.received) = (mail(talk), self.world.now());
                let reject = Some(Reject { reason: "junk".into(), keep: true, content: [talk; 32] });
                request.recipients[0].destined = Some(Destined {
                    mailbox: name("Inbox"),
                    forward: false,
                    intro: false,
                    reject,
                    members: vec![],
                    seen: false,
                });
                let got = self.world.client(Role::Smtp).ask(request).await.unwrap();
                let mut all = self.model.values().flat_map(|mailbox| mailbox.messages.values());
                let kept = !all.any(|letter| letter.reject && letter.talk == Some(talk));
                assert_eq!(got, [Delivered::Refused { kept }]);
                if kept {
                    create(&mut self.model, "Rejects");
                    let prefix = "Delivered-To: jane@example.org\r\n".len() as u64;
                    let letter = self.letter(Flags::NONE.with(Flag::Seen), 2 + prefix, Some(talk));
                    add(self.model.get_mut("Rejects").unwrap(), Letter { reject: true, ..letter });
                }
            }
            Op::Mute(at, uid, muted) => {
                let Some(letter) =
                    self.model.get(NAMES[at]).and_then(|m| m.messages.get(&u32::from(uid % 16 + 1)))
                else {
                    return self;
                };
                let (thread, messages) = (letter.thread, vec![libmox_types::MsgId(letter.id)]);
                let change = ThreadChange { session, messages, muted: Some(muted), collapsed: None };
                self.imap.ask(change).await.unwrap();
                for letter in self.model.values_mut().flat_map(|mailbox| mailbox.messages.values_mut()) {
                    if letter.thread == thread {
                        letter.muted = muted;
                    }
                }
            }
            Op::Reassign => {
                self.world.admin().ask(ThreadsReassign { account: "jane".into() }).await.unwrap();
                // What begins a conversation is assigned before what answers it.
                for begins in [true, false] {
                    let before = self.model.clone();
                    for letter in self.model.values_mut().flat_map(|mailbox| mailbox.messages.values_mut()) {
                        if letter.talk.is_none_or(|talk| talk < TALKS) == begins {
                            find_thread(&before, letter);
                        }
                    }
                }
            }
            Op::Annotate(at, entry, size) => {
                let mailbox = at.map(|at| name(NAMES[at]));
                let entry = format!("/private/{entry}");
                let value = (size > 0).then(|| vec![b'v'; usize::from(size) * 100]);
                let change = AnnotationChange {
                    name: entry.clone(),
                    text: true,
                    value: value.clone().map(Into::into),
                };
                let set = self.imap.ask(AnnotationSet { session, mailbox, changes: vec![change] }).await;
                let there = at.is_none_or(|at| self.model.contains_key(NAMES[at]));
                assert_eq!(set.is_ok(), there);
                let annotations = match at {
                    None => Some(&mut self.annotations),
                    Some(at) => self.model.get_mut(NAMES[at]).map(|mailbox| &mut mailbox.annotations),
                };
                match (annotations, value) {
                    (Some(annotations), Some(value)) => drop(annotations.insert(entry, value)),
                    (Some(annotations), None) => drop(annotations.remove(&entry)),
                    (None, _) => {}
                }
            }
            Op::Append(at, count) => {
                let message = |size: u8| AppendMessage {
                    body: Body::Inline(vec![b'a'; size.into()]),
                    prefix: b"\r\n".to_vec(),
                    facts: facts(),
                    flags: Flags::NONE.with(Flag::Seen),
                    keywords: vec![],
                    received: Timestamp(1),
                };
                let messages = (0..count).map(message).collect();
                let placed = self.imap.ask(Append { session, mailbox: name(NAMES[at]), messages }).await;
                assert_eq!(placed.is_ok(), self.model.contains_key(NAMES[at]));
                for size in 0..count {
                    if self.model.contains_key(NAMES[at]) {
                        let letter = self.letter(Flags::NONE.with(Flag::Seen), u64::from(size) + 2, None);
                        add(self.model.get_mut(NAMES[at]).unwrap(), letter);
                    }
                }
            }
            Op::Flags(at, set, how, bits) => {
                let Some(mailbox) = self.id(at).await else { return self };
                let flags: Flags =
                    (0..5).filter(|bit| bits & (1 << bit) != 0).map(|bit| FLAGS[bit]).collect();
                let uids = chosen(set);
                let change = FlagsChange {
                    session,
                    mailbox,
                    uids: uids.clone(),
                    how,
                    flags,
                    keywords: vec![],
                    unchanged_since: None,
                };
                self.imap.ask(change).await.unwrap();
                for (uid, Letter { flags: have, .. }) in &mut self.model.get_mut(NAMES[at]).unwrap().messages
                {
                    if uids.contains(Uid(*uid)) {
                        *have = match how {
                            FlagsHow::Replace => flags,
                            FlagsHow::Add => have.union(flags),
                            FlagsHow::Remove => have.minus(flags),
                        };
                    }
                }
            }
            Op::Copy(at, set, to, take) => {
                let Some(mailbox) = self.id(at).await else { return self };
                let uids = chosen(set);
                let copy = Copy { session, mailbox, uids: uids.clone(), to: name(NAMES[to]), take };
                let placed = self.imap.ask(copy).await;
                assert_eq!(placed.is_ok(), self.model.contains_key(NAMES[to]));
                if placed.is_err() {
                    return self;
                }
                let source = self.model.get_mut(NAMES[at]).unwrap();
                let picked: Vec<_> = source
                    .messages
                    .iter()
                    .filter(|(uid, _)| uids.contains(Uid(**uid)))
                    .map(|(_, letter)| letter.clone())
                    .collect();
                if take {
                    source.messages.retain(|uid, _| !uids.contains(Uid(*uid)));
                }
                for letter in picked {
                    let letter = match take {
                        true if at == to => letter,
                        true => settled(letter),
                        false => {
                            self.next += 1;
                            Letter { id: self.next - 1, ..settled(letter) }
                        }
                    };
                    add(self.model.get_mut(NAMES[to]).unwrap(), letter);
                }
            }
            Op::Expunge(at, set) => {
                let Some(mailbox) = self.id(at).await else { return self };
                let uids = chosen(set);
                self.imap.ask(Expunge { session, mailbox, uids: Some(uids.clone()) }).await.unwrap();
                let left = |uid: &u32, letter: &mut Letter| {
                    !(uids.contains(Uid(*uid)) && letter.flags.has(Flag::Deleted))
                };
                self.model.get_mut(NAMES[at]).unwrap().messages.retain(left);
            }
            Op::Create(at) => {
                let made = self
                    .imap
                    .ask(MailboxCreate { session, name: name(NAMES[at]), special_use: vec![] })
                    .await;
                assert_eq!(made.is_err(), self.model.contains_key(NAMES[at]));
                create(&mut self.model, NAMES[at]);
            }
            Op::Delete(at) => {
                let text = NAMES[at];
                let gone = self.imap.ask(MailboxDelete { session, name: name(text) }).await;
                let may =
                    text != "Inbox" && self.model.contains_key(text) && !has_children(&self.model, text);
                assert_eq!(gone.is_ok(), may, "{text}");
                if may {
                    self.model.remove(text);
                }
            }
            Op::Rename(from, to) => self.rename(NAMES[from], NAMES[to]).await,
            Op::Sweep => self.world.store.sweep(true).await,
            Op::Reopen => {
                self.world = self.world.reopened().await;
                self.imap = self.world.imap();
                self.session = self.world.login(&self.imap, "jane@example.org").await;
            }
        }
        self
    }

    async fn rename(&mut self, from: &str, to: &str) {
        let session = self.session;
        let done = self.imap.ask(MailboxRename { session, from: name(from), to: name(to) }).await;
        let below = to.strip_prefix(from).is_some_and(|rest| rest.starts_with('/'));
        let free = !self.model.contains_key(to);
        let taken = |model: &Model| {
            model.keys().any(|old| {
                let rest = old.strip_prefix(from).filter(|rest| rest.starts_with('/'));
                rest.is_some_and(|rest| model.contains_key(&format!("{to}{rest}")))
            })
        };
        let may = self.model.contains_key(from) && free && (from == "Inbox" || !below && !taken(&self.model));
        assert_eq!(done.is_ok(), may, "{from} to {to}: {done:?}");
        if !may {
            return;
        }
        if from == "Inbox" {
            create(&mut self.model, to);
            let messages = std::mem::take(&mut self.model.get_mut(from).unwrap().messages);
            let target = self.model.get_mut(to).unwrap();
            messages.into_values().for_each(|letter| add(target, settled(letter)));
            // Row IM-46: copied, not moved.
            self.model.get_mut(to).unwrap().annotations = self.model[from].annotations.clone();
            return;
        }
        let moved: Vec<String> = self
            .model
            .keys()
            .filter(|old| old.strip_prefix(from).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
            .cloned()
            .collect();
        if let Some((parent, _)) = to.rsplit_once('/') {
            create(&mut self.model, parent);
        }
        for old in moved {
            let mailbox = self.model.remove(&old).unwrap();
            self.model.insert(format!("{to}{}", &old[from.len()..]), mailbox);
        }
    }

    async fn agrees(&self) {
        self.world.is_sound().await;
        let list = libmox_store::mailboxes(&self.imap, self.session).await.unwrap();
        let names: Vec<&str> = list.mailboxes.iter().map(|mailbox| mailbox.name.as_str()).collect();
        assert_eq!(names, self.model.keys().collect::<Vec<_>>());
        for mailbox in list.mailboxes {
            let want = &self.model[mailbox.name.as_str()];
            assert_eq!(mailbox.uid_next.0, want.next, "{}", mailbox.name);
            let records = self.world.list(&self.imap, self.session, mailbox.name.as_str()).await;
            let have: BTreeMap<u32, Letter> = records
                .into_iter()
                .map(|record| {
                    let letter = Letter {
                        id: record.id.0,
                        flags: record.flags,
                        size: record.size.0,
                        talk: want.messages.get(&record.uid.0).and_then(|letter| letter.talk),
                        thread: record.thread.0,
                        muted: record.marks.has(Mark::Muted),
                        reject: record.marks.has(Mark::Reject),
                    };
                    (record.uid.0, letter)
                })
                .collect();
            assert_eq!(have, want.messages, "{}", mailbox.name);
            let annotations = self.annotations_of(Some(mailbox.name.clone())).await;
            assert_eq!(annotations, want.annotations, "{}", mailbox.name);
        }
        assert_eq!(self.annotations_of(None).await, self.annotations);
    }

    async fn annotations_of(&self, mailbox: Option<MailboxName>) -> BTreeMap<String, Vec<u8>> {
        let list = Request::AnnotationList(AnnotationList { session: self.session, mailbox });
        let mut items = self.imap.stream(list).await.unwrap();
        let mut all = BTreeMap::new();
        while let Some(item) = items.next().await {
            let Item::Annotations(part) = item.unwrap() else { panic!() };
            all.extend(part.into_iter().map(|annotation| (annotation.name, annotation.value)));
        }
        all
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn an_account_is_like_its_model(ops in proptest::collection::vec(op(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let mut run = Run::start().await;
            for op in &ops {
                run = run.step(op).await;
                run.agrees().await;
            }
            drop(run.imap);
            run.world.end().await;
        });
    }
}
