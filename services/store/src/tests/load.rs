//! A store in a process of its own, clients that change two accounts and the queue and note every acknowledgement,
//! and the comparison of what is there with what was noted. What happens to the process is for others to say.

use super::*;
use libmox_store::{
    Append, AppendMessage, Check, Copy, Expunge, FlagsChange, FlagsHow, MessageOpen, QueueAdd, QueueList,
    QueueRecipient, QueueResult,
};
use libmox_types::{Flag, Flags, MailboxId, MsgId, QueueId, Uid};
use std::collections::{BTreeMap, BTreeSet};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

const CHILD: &str = "MOX_STORE_TEST_CHILD";
const DATA: &str = "MOX_STORE_TEST_DATA";
const BOOT: &str = "MOX_STORE_TEST_BOOT";
const UNSYNCED: &str = "MOX_STORE_TEST_UNSYNCED";
/// Accounts of [`sample`] that mail is delivered to, each changed by one reader.
pub const ACCOUNTS: [&str; 2] = ["jane", "bob"];

/// How the process is started.
pub struct Start<'a> {
    /// Where its sockets are.
    pub sockets: &'a Path,
    /// Where its data is.
    pub data: &'a Path,
    /// The boot it believes to run under.
    pub boot: u64,
    /// Leaves out the journal's sync.
    pub unsynced: bool,
}

/// Not a test by itself: the process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let dir = std::path::PathBuf::from(dir);
    let mut options = Options {
        dir: std::env::var_os(DATA).unwrap().into(),
        boot: std::env::var(BOOT).ok(),
        checkpoint_bytes: 200_000,
        snapshot_bytes: 1_000_000,
        checkpoint_every: Duration::from_millis(50),
        ..options(&dir)
    };
    if std::env::var_os(UNSYNCED).is_some() {
        options.medium = Arc::new(crate::engine::Unsynced);
    }
    let now = Arc::new(|| Timestamp(1_800_000_000));
    let store = Store::start(options, sample(), now).await.unwrap();
    for (role, name) in Role::ALL {
        let path = dir.join(name);
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        let store = store.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve_peer(store.clone(), role, stream));
            }
        });
    }
    loop {
        store.sweep(true).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What one message must be like. Changes whose answer never came leave a choice.
#[derive(Debug, Default, Clone)]
struct Known {
    mailboxes: BTreeSet<&'static str>,
    /// It may be gone, or must be.
    may_be_gone: bool,
    gone: bool,
    flagged: bool,
    body: Vec<u8>,
}

#[derive(Default)]
pub struct Notes {
    messages: BTreeMap<(&'static str, MsgId), Known>,
    queued: BTreeSet<QueueId>,
    unsure: BTreeSet<QueueId>,
    pub acknowledged: u64,
}

pub type Shared = Arc<Mutex<Notes>>;

/// Starts the process and returns once it answers, or with whatever it ended with.
pub async fn spawn(start: &Start<'_>) -> Result<Child, String> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "tests::load::child", "--nocapture", "--test-threads=1"])
        .env(CHILD, start.sockets)
        .env(DATA, start.data)
        .env(BOOT, start.boot.to_string())
        .env("RUST_BACKTRACE", "0")
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(start.sockets.join("stderr")).unwrap());
    if start.unsynced {
        command.env(UNSYNCED, "1");
    }
    for (_, name) in Role::ALL {
        let _ = std::fs::remove_file(start.sockets.join(name));
    }
    let mut child = command.spawn().unwrap();
    for _ in 0..1500 {
        if let Some(status) = child.try_wait().unwrap() {
            let said = std::fs::read_to_string(start.sockets.join("stderr")).unwrap();
            return Err(format!("the store ended with {status}: {said}"));
        }
        let admin = start.sockets.join(Role::Admin.socket());
        if admin.exists()
            && let Ok(Ok(())) = tokio::time::timeout(
                Duration::from_secs(1),
                client(start.sockets, Role::Admin).ask(libmox_store::Ping),
            )
            .await
        {
            return Ok(child);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let _ = child.kill();
    let _ = child.wait();
    Err("the store does not answer".into())
}

/// What a new store needs before the clients come.
pub async fn set_passwords(dir: &Path) {
    for account in ACCOUNTS {
        let set = AccountSetPassword { account: account.into(), password: PASSWORD.to_owned() };
        client(dir, Role::Admin).ask(set).await.unwrap();
    }
}

/// All clients at once, until the returned set is dropped or the store is gone.
pub fn clients(dir: &Path, notes: &Shared, round: u64) -> tokio::task::JoinSet<Option<()>> {
    let mut clients = tokio::task::JoinSet::new();
    for lane in 0..3 {
        clients.spawn(delivering(dir.into(), notes.clone(), round * 1_000_000 + lane * 100_000));
    }
    for (at, account) in ACCOUNTS.into_iter().enumerate() {
        let seed = round.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ ((at as u64) << 20) | 1;
        clients.spawn(reading(dir.into(), account, notes.clone(), seed));
    }
    clients.spawn(sending(dir.into(), notes.clone()));
    clients
}

/// A client of it.
pub fn client(dir: &Path, role: Role) -> Client {
    Client::new(&dir.join(role.socket()), "kills")
}

/// A body that tells its number, small or large.
fn body(number: u64) -> Vec<u8> {
    let size = if number.is_multiple_of(23) { 80_000 } else { 40 + (number % 2000) as usize };
    format!("number {number}\r\n").into_bytes().into_iter().cycle().take(size).collect()
}

async fn try_body(client: &Client, bytes: &[u8]) -> Option<Body> {
    if bytes.len() <= libmox_store::INLINE_OCTETS {
        return Some(Body::Inline(bytes.to_vec()));
    }
    let (body, descriptors) = client.ask_with(Stage, vec![]).await.ok()?;
    std::fs::File::from(descriptors.into_iter().next()?).write_all(bytes).ok()?;
    Some(Body::Staged { body, size: ByteCount(bytes.len() as u64) })
}

async fn delivering(dir: std::path::PathBuf, notes: Shared, mut number: u64) -> Option<()> {
    let smtp = client(&dir, Role::Smtp);
    loop {
        number += 1;
        let bytes = body(number);
        let given = try_body(&smtp, &bytes).await?;
        let to: &[&str] = if number.is_multiple_of(3) { &ACCOUNTS } else { &ACCOUNTS[..1] };
        let addresses: Vec<String> = to.iter().map(|account| format!("{account}@example.org")).collect();
        let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
        let stored = smtp.ask(deliver(&addresses, given)).await.ok()?;
        let known = Known { mailboxes: BTreeSet::from(["Inbox"]), body: bytes, ..Known::default() };
        let mut notes = notes.lock().unwrap();
        notes.acknowledged += 1;
        for (account, stored) in to.iter().zip(&stored) {
            let Delivered::Stored(stored) = stored else { panic!("{stored:?}") };
            // A reader may have found and changed it already.
            notes.messages.entry((account, stored.id)).or_insert(known.clone());
        }
    }
}

async fn sign_in(client: &Client, account: &str) -> Option<SessionId> {
    match client.ask(password_login(&format!("{account}@example.org"), PASSWORD)).await.ok()? {
        LoginOutcome::SignedIn(signed_in) => Some(signed_in.session),
        other => panic!("{other:?}"),
    }
}

async fn listed(client: &Client, session: SessionId, mailbox: MailboxId) -> Option<Vec<MessageRecord>> {
    let list =
        MessageList { session, mailbox, uids: UidSet::all(), changed_since: None, want: Want::default() };
    let mut items = client.stream(libmox_store::Request::MessageList(list)).await.ok()?;
    let mut records = Vec::new();
    while let Some(item) = items.next().await {
        let Item::Messages(part) = item.ok()? else { return None };
        records.extend(part);
    }
    Some(records)
}

async fn mailboxes(client: &Client, session: SessionId) -> Option<BTreeMap<String, MailboxId>> {
    let list = libmox_store::mailboxes(client, session).await.ok()?;
    Some(list.mailboxes.into_iter().map(|mailbox| (mailbox.name.to_string(), mailbox.id)).collect())
}

/// Flags, moves, appends and expunges. Only one of these runs for an account, so what it did not ask for does not
/// happen.
async fn reading(dir: std::path::PathBuf, account: &'static str, notes: Shared, mut seed: u64) -> Option<()> {
    let imap = client(&dir, Role::Imap);
    let session = sign_in(&imap, account).await?;
    let ids = mailboxes(&imap, session).await?;
    let (inbox, archive) = (ids["Inbox"], ids["Archive"]);
    loop {
        let records = listed(&imap, session, inbox).await?;
        for record in records.iter().take(20) {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let one: UidSet = [record.uid].into_iter().collect();
            if !notes.lock().unwrap().messages.contains_key(&(account, record.id)) {
                continue;
            }
            let note = |change: &dyn Fn(&mut Known)| {
                let mut notes = notes.lock().unwrap();
                notes.acknowledged += 1;
                notes.messages.entry((account, record.id)).and_modify(change);
            };
            match (seed >> 40) % 5 {
                0 => {
                    flag(&imap, session, inbox, one, Flag::Flagged).await?;
                    note(&|known| known.flagged = true);
                }
                1 => {
                    note(&|known| known.mailboxes.extend(["Archive"]));
                    let take = Copy { session, mailbox: inbox, uids: one, to: name("Archive"), take: true };
                    imap.ask(take).await.ok()?;
                    note(&|known| known.mailboxes = BTreeSet::from(["Archive"]));
                }
                2 => {
                    note(&|known| known.may_be_gone = true);
                    flag(&imap, session, inbox, one.clone(), Flag::Deleted).await?;
                    imap.ask(Expunge { session, mailbox: inbox, uids: Some(one) }).await.ok()?;
                    note(&|known| known.gone = true);
                }
                3 => {
                    let bytes = body(seed >> 33);
                    let message = AppendMessage {
                        body: try_body(&imap, &bytes).await?,
                        prefix: vec![],
                        facts: facts(),
                        flags: Flags::NONE,
                        keywords: vec![],
                        received: Timestamp(1),
                    };
                    let append = Append { session, mailbox: name("Archive"), messages: vec![message] };
                    let to: Uid = imap.ask(append).await.ok()?.to[0];
                    let placed = listed(&imap, session, archive).await?;
                    let id = placed.iter().find(|placed| placed.uid == to).unwrap().id;
                    let known =
                        Known { mailboxes: BTreeSet::from(["Archive"]), body: bytes, ..Known::default() };
                    notes.lock().unwrap().messages.insert((account, id), known);
                }
                _ => {}
            }
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn flag(
    client: &Client,
    session: SessionId,
    mailbox: MailboxId,
    uids: UidSet,
    flag: Flag,
) -> Option<()> {
    let flags = Flags::NONE.with(flag);
    let how = FlagsHow::Add;
    let change = FlagsChange { session, mailbox, uids, how, flags, keywords: vec![], unchanged_since: None };
    client.ask(change).await.ok().map(drop)
}

async fn sending(dir: std::path::PathBuf, notes: Shared) -> Option<()> {
    let (submission, queue) = (client(&dir, Role::Submission), client(&dir, Role::Queue));
    let session = sign_in(&submission, "jane").await?;
    loop {
        let add = QueueAdd {
            session,
            cid: Cid(1),
            mail_from: ReversePath::Address(address("jane@example.org")),
            header_from: None,
            recipients: ["a@x.example", "b@x.example"]
                .map(|to| QueueRecipient {
                    address: address(to),
                    notify: String::new(),
                    orcpt: String::new(),
                })
                .to_vec(),
            prefix: vec![b'P'; 100],
            body: Body::Inline(vec![b'q'; 500]),
            facts: facts(),
            needs: libmox_store::Needs::default(),
            release: None,
            wishes: libmox_store::Wishes::default(),
        };
        let ids = submission.ask(add).await.ok()?;
        {
            let mut notes = notes.lock().unwrap();
            notes.acknowledged += 1;
            notes.queued.extend(&ids);
            notes.queued.remove(&ids[0]);
            notes.unsure.insert(ids[0]);
        }
        let outcome = libmox_store::Outcome::Delivered;
        let result = libmox_store::AttemptResult { id: ids[0], outcome, text: String::new(), took_ms: 1 };
        queue.ask(QueueResult { results: vec![result], report: None }).await.ok()?;
        let mut notes = notes.lock().unwrap();
        notes.unsure.remove(&ids[0]);
        notes.acknowledged += 1;
    }
}

/// Compares what is there with what was acknowledged, and settles what was unsure.
pub async fn verify(dir: &Path, notes: &Shared) {
    let wrong = client(dir, Role::Admin).ask(Check { account: None }).await.unwrap();
    assert!(wrong.is_empty(), "{wrong:#?}");
    for account in ACCOUNTS {
        verify_account(dir, account, notes).await;
    }
    let entries = client(dir, Role::Queue).ask(QueueList { after: QueueId(0), most: 1000 }).await.unwrap();
    let entries: BTreeSet<QueueId> = entries.into_iter().map(|entry| entry.id).collect();
    let mut notes = notes.lock().unwrap();
    let first: Vec<_> = notes.queued.iter().take(400).copied().collect();
    assert!(first.iter().all(|id| entries.contains(id)), "queued mail is lost");
    notes.unsure.clear();
}

async fn verify_account(dir: &Path, account: &'static str, notes: &Shared) {
    let imap = client(dir, Role::Imap);
    let session = sign_in(&imap, account).await.unwrap();
    let mut there: BTreeMap<MsgId, (String, MessageRecord)> = BTreeMap::new();
    for (mailbox, id) in mailboxes(&imap, session).await.unwrap() {
        for record in listed(&imap, session, id).await.unwrap() {
            let twice = there.insert(record.id, (mailbox.clone(), record));
            assert!(twice.is_none(), "one message in two mailboxes");
        }
    }
    let all = notes.lock().unwrap().messages.clone();
    let known: BTreeMap<MsgId, Known> =
        all.into_iter().filter(|((of, _), _)| *of == account).map(|((_, id), known)| (id, known)).collect();
    for (id, known) in &known {
        match there.get(id) {
            None => assert!(known.may_be_gone, "message {account}/{id} is lost: {:?}", known.mailboxes),
            Some((mailbox, record)) => {
                assert!(!known.gone, "message {account}/{id} came back");
                assert!(known.mailboxes.contains(mailbox.as_str()), "message {account}/{id} is in {mailbox}");
                let kept = !known.flagged || record.flags.has(Flag::Flagged);
                assert!(kept, "message {account}/{id} lost its flag");
            }
        }
    }
    // Contents of the newest: the older ones were looked at before.
    for (id, (_, record)) in there.iter().rev().take(60) {
        let (content, descriptors) = imap.ask_with(MessageOpen { session, id: *id }, vec![]).await.unwrap();
        assert_eq!(content.size.0 + content.prefix.len() as u64, record.size.0);
        let bytes = match (content.inline, descriptors.into_iter().next()) {
            (Some(bytes), _) => bytes.into_vec(),
            (None, Some(descriptor)) => {
                let mut bytes = Vec::new();
                std::io::Read::read_to_end(&mut std::fs::File::from(descriptor), &mut bytes).unwrap();
                bytes
            }
            (None, None) => panic!("no content"),
        };
        if let Some(known) = known.get(id) {
            assert!(known.body == bytes, "content of {account}/{id}");
        }
    }
    let mut notes = notes.lock().unwrap();
    for ((_, id), known) in notes.messages.iter_mut().filter(|((of, _), _)| *of == account) {
        match there.get(id) {
            None => known.gone = true,
            Some((mailbox, _)) => {
                known.mailboxes = [*known.mailboxes.iter().find(|one| *one == mailbox).unwrap()].into();
                known.may_be_gone = false;
            }
        }
    }
}

/// A number from the environment, for longer runs.
pub fn asked(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}
