//! Random operations against a simple model of an account, compared after each step and after opening again.

use super::*;
use libmox_store::{
    Append, AppendMessage, Copy, Expunge, FlagsChange, FlagsHow, MailboxCreate, MailboxDelete, MailboxList,
    MailboxRename,
};
use libmox_types::{Flag, Flags, Uid};
use proptest::prelude::*;
use std::collections::BTreeMap;

const NAMES: [&str; 6] = ["Inbox", "Archive", "a", "a/b", "c", "c/d/e"];
const FLAGS: [Flag; 3] = [Flag::Seen, Flag::Deleted, Flag::Flagged];

#[derive(Debug, Clone)]
enum Op {
    Deliver(u16),
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
        4 => any::<u16>().prop_map(Op::Deliver),
        3 => (one.clone(), 1..6u8).prop_map(|(at, count)| Op::Append(at, count)),
        6 => (one.clone(), any::<u64>(), how, 0..8u8).prop_map(|(at, set, how, bits)| Op::Flags(at, set, how, bits)),
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

#[derive(Debug, Clone, Default, PartialEq)]
struct Box {
    next: u32,
    /// Uid to flags and size.
    messages: BTreeMap<u32, (Flags, u64)>,
}

type Model = BTreeMap<String, Box>;

fn create(model: &mut Model, text: &str) {
    for (at, _) in text.match_indices('/').chain([(text.len(), "")]) {
        model.entry(text[..at].to_owned()).or_insert(Box { next: 1, ..Box::default() });
    }
}

fn add(mailbox: &mut Box, flags: Flags, size: u64) {
    mailbox.messages.insert(mailbox.next, (flags, size));
    mailbox.next += 1;
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
}

impl Run {
    async fn start() -> Self {
        let world = World::new().await;
        let imap = world.imap();
        let session = world.login(&imap, "jane@example.org").await;
        let mut model = Model::new();
        for text in ["Inbox", "Sent", "Archive", "Trash", "Drafts", "Junk"] {
            create(&mut model, text);
        }
        Self { world, imap, session, model }
    }

    async fn id(&self, at: usize) -> Option<libmox_types::MailboxId> {
        let status = self.imap.ask(MailboxStatus { session: self.session, name: name(NAMES[at]) }).await;
        assert_eq!(status.is_ok(), self.model.contains_key(NAMES[at]));
        Some(status.ok()?.id)
    }

    async fn step(mut self, op: &Op) -> Self {
        let session = self.session;
        match *op {
            Op::Deliver(size) => {
                let got = self.world.deliver(&["jane@example.org"], &vec![b'd'; size.into()]).await;
                assert!(matches!(got[..], [Delivered::Stored(_)]));
                let prefix = "Delivered-To: jane@example.org\r\n".len() as u64;
                add(self.model.get_mut("Inbox").unwrap(), Flags::NONE, u64::from(size) + prefix);
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
                if let Some(mailbox) = self.model.get_mut(NAMES[at]) {
                    (0..count)
                        .for_each(|size| add(mailbox, Flags::NONE.with(Flag::Seen), u64::from(size) + 2));
                }
            }
            Op::Flags(at, set, how, bits) => {
                let Some(mailbox) = self.id(at).await else { return self };
                let flags: Flags =
                    (0..3).filter(|bit| bits & (1 << bit) != 0).map(|bit| FLAGS[bit]).collect();
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
                for (uid, (have, _)) in &mut self.model.get_mut(NAMES[at]).unwrap().messages {
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
                    .map(|(uid, message)| (*uid, *message))
                    .collect();
                if take {
                    source.messages.retain(|uid, _| !uids.contains(Uid(*uid)));
                }
                let target = self.model.get_mut(NAMES[to]).unwrap();
                picked.into_iter().for_each(|(_, (flags, size))| add(target, flags, size));
            }
            Op::Expunge(at, set) => {
                let Some(mailbox) = self.id(at).await else { return self };
                let uids = chosen(set);
                self.imap.ask(Expunge { session, mailbox, uids: Some(uids.clone()) }).await.unwrap();
                let left = |uid: &u32, message: &mut (Flags, u64)| {
                    !(uids.contains(Uid(*uid)) && message.0.has(Flag::Deleted))
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
            messages.into_values().for_each(|(flags, size)| add(target, flags, size));
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
        let list = self.imap.ask(MailboxList { session: self.session }).await.unwrap();
        let names: Vec<&str> = list.mailboxes.iter().map(|mailbox| mailbox.name.as_str()).collect();
        assert_eq!(names, self.model.keys().collect::<Vec<_>>());
        for mailbox in list.mailboxes {
            let want = &self.model[mailbox.name.as_str()];
            assert_eq!(mailbox.uid_next.0, want.next, "{}", mailbox.name);
            let have: BTreeMap<u32, (Flags, u64)> = self
                .world
                .list(&self.imap, self.session, mailbox.name.as_str())
                .await
                .into_iter()
                .map(|record| (record.uid.0, (record.flags, record.size.0)))
                .collect();
            assert_eq!(have, want.messages, "{}", mailbox.name);
        }
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
