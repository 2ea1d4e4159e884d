//! The engine as a whole: what a close, a kill and a power cut leave, and how failures show.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::*;

fn options(dir: &Path, boot: &str) -> Options {
    Options {
        segment_bytes: 64 << 10,
        checkpoint_bytes: 1 << 30,
        checkpoint_every: Duration::from_secs(3600),
        snapshot_bytes: 1 << 30,
        cache_bytes: 4 << 20,
        reserve_bytes: 0,
        ..Options::new(dir, Some(boot.to_owned()))
    }
}

fn open(dir: &Path, boot: &str) -> Engine {
    Engine::open(options(dir, boot)).expect("open")
}

fn file(id: u64) -> FileName {
    FileName { owner: 1, id }
}

fn body(id: u64) -> Vec<u8> {
    format!("message {id}\r\n").repeat(1 + (id % 40) as usize).into_bytes()
}

/// One message: a key, a counter and a file; every fifth also copies, every seventh erases an earlier one.
fn deliver(engine: &Engine, id: u64) -> Ticket {
    let mut tx = engine.begin_now();
    let count =
        tx.get(b"count").expect("read").map_or(0, |v| u64::from_be_bytes(v[..].try_into().expect("u64")));
    let change = tx.change();
    change.put(b"count".to_vec(), (count + 1).to_be_bytes().to_vec());
    change.put([b"m", &id.to_be_bytes()[..]].concat(), vec![7; 200]);
    let source = if id.is_multiple_of(11) {
        let staged = engine.files().stage().expect("stage");
        staged.file().write_all(&body(id)).expect("write");
        Source::Sealed(Arc::new(staged).seal().expect("seal"))
    } else {
        Source::Inline(body(id).into())
    };
    let source = change.source(source);
    change.create(file(id), source);
    if id.is_multiple_of(5) {
        let copy = change.source(Source::Existing(file(id)));
        change.create(file(id + 1_000_000), copy);
    }
    if id.is_multiple_of(7) && id > 0 {
        change.erase(file(id - 7));
        change.delete([b"m", &(id - 7).to_be_bytes()[..]].concat());
    }
    tx.submit().expect("submit")
}

/// Everything `deliver` promised for ids below `count`, and nothing half done beyond it.
#[track_caller]
fn holds(engine: &Engine, acknowledged: u64) -> u64 {
    let count =
        engine.get(b"count").expect("read").map_or(0, |v| u64::from_be_bytes(v[..].try_into().expect("u64")));
    assert!(count >= acknowledged, "{count} of {acknowledged} acknowledged changes");
    let mut ids = Vec::new();
    engine
        .visit((Bound::Included(b"m"), Bound::Excluded(b"n")), |key, _| {
            ids.push(u64::from_be_bytes(key[1..].try_into().expect("u64")));
            ControlFlow::Continue(())
        })
        .expect("visit");
    let erased = |id: u64| id.is_multiple_of(7) && id + 7 < count;
    let want: Vec<u64> = (0..count).filter(|id| !erased(*id)).collect();
    assert_eq!(ids, want);
    let mut files = want.clone();
    files.extend((0..count).filter(|id| id.is_multiple_of(5)).map(|id| id + 1_000_000));
    assert_eq!(engine.files().list(1).expect("list"), files);
    for id in files {
        let text = fs::read(engine.files().path(file(id))).expect("message file");
        assert!(text == body(id % 1_000_000), "content of {id}");
    }
    count
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("mkdir");
    for entry in fs::read_dir(from).expect("list") {
        let entry = entry.expect("entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("type").is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copy");
        }
    }
}

#[test]
fn a_closed_store_opens_with_nothing_to_do() {
    let dir = tempfile::tempdir().expect("tempdir");
    let engine = open(dir.path(), "a");
    assert_eq!(engine.report().rebuilt, Some(Rebuilt::New));
    for id in 0..50 {
        deliver(&engine, id).committed_blocking().expect("commit");
    }
    engine.close().expect("close");
    drop(engine);
    for boot in ["a", "b"] {
        let engine = open(dir.path(), boot);
        assert_eq!((engine.report().rebuilt, engine.report().replayed), (None, 0));
        assert_eq!(holds(&engine, 50), 50);
        engine.close().expect("close");
        drop(engine);
    }
    assert_eq!(fs::read_dir(dir.path().join("staging")).expect("list").count(), 0);
}

#[test]
fn a_dropped_store_replays() {
    let dir = tempfile::tempdir().expect("tempdir");
    for round in 0..4u64 {
        let engine = open(dir.path(), "a");
        assert_eq!(holds(&engine, round * 20), round * 20);
        for id in round * 20..round * 20 + 20 {
            deliver(&engine, id).committed_blocking().expect("commit");
        }
    }
    let engine = open(dir.path(), "a");
    assert_eq!(engine.report().rebuilt, None);
    assert!(engine.report().replayed >= 20);
    holds(&engine, 80);
}

/// The folder as it is at some moment, opened under another boot, with all that was not synced torn.
#[test]
fn a_power_cut_loses_nothing_acknowledged() {
    let dir = tempfile::tempdir().expect("tempdir");
    let live = dir.path().join("live");
    let engine = open(&live, "a");
    let mut runtime = 0u64;
    for round in 0..6u64 {
        if round == 2 {
            let (answer, answered) = oneshot::channel();
            engine.inner.wishes.send(Wish::Checkpoint(answer)).expect("keeper");
            answered.blocking_recv().expect("answer").expect("checkpoint");
        }
        let tickets: Vec<Ticket> = (runtime..runtime + 30).map(|id| deliver(&engine, id)).collect();
        for ticket in tickets {
            ticket.committed_blocking().expect("commit");
        }
        runtime += 30;
        if round == 3 {
            let (answer, answered) = oneshot::channel();
            engine.inner.wishes.send(Wish::Snapshot(answer)).expect("keeper");
            answered.blocking_recv().expect("answer").expect("snapshot");
        }
        let cut = dir.path().join(format!("cut{round}"));
        copy(&live, &cut);
        // Files made since the last sync may be empty, and sled's log anything.
        for id in runtime - 30..runtime {
            let path = engine.files().path(file(id));
            let there = cut.join(path.strip_prefix(&live).expect("below"));
            if id.is_multiple_of(2) && !id.is_multiple_of(11) && there.exists() && round != 3 {
                fs::write(&there, b"").expect("tear");
            } else if round != 3 {
                let _ = fs::remove_file(&there);
            }
        }
        let db = cut.join("index/1/db");
        let half = fs::metadata(&db).expect("db").len() / 2;
        fs::File::options().write(true).open(&db).and_then(|f| f.set_len(half)).expect("tear");
        for again in 0..2 {
            let mended = open(&cut, &format!("b{again}"));
            assert_eq!(mended.report().rebuilt, Some(Rebuilt::PowerCut));
            assert_eq!(mended.report().missing, []);
            assert_eq!(holds(&mended, runtime), runtime, "round {round}");
        }
    }
}

#[test]
fn an_unreadable_index_is_moved_aside_and_rebuilt() {
    let damages: [fn(&Path); 4] = [
        |db| fs::write(db, b"").expect("damage"),
        |db| fs::write(db, [0xa5; 100_000]).expect("damage"),
        |db| fs::remove_file(db).expect("damage"),
        |db| {
            let bytes = fs::read(db).expect("read");
            fs::write(db, &bytes[..bytes.len() / 20]).expect("damage");
        },
    ];
    for (number, damage) in damages.iter().enumerate() {
        let dir = tempfile::tempdir().expect("tempdir");
        let engine = open(dir.path(), "a");
        for id in 0..40 {
            deliver(&engine, id).committed_blocking().expect("commit");
        }
        engine.close().expect("close");
        drop(engine);
        damage(&dir.path().join("index/1/db"));
        let engine = open(dir.path(), "a");
        assert_eq!(engine.report().rebuilt, Some(Rebuilt::Unreadable), "damage {number}");
        assert!(engine.report().moved_aside.as_ref().is_some_and(|path| path.exists()));
        assert_eq!(holds(&engine, 40), 40);
    }
}

#[test]
fn snapshots_let_old_journal_go() {
    let dir = tempfile::tempdir().expect("tempdir");
    let engine = Engine::open(Options {
        checkpoint_bytes: 50_000,
        checkpoint_every: Duration::from_millis(20),
        snapshot_bytes: 200_000,
        ..options(dir.path(), "a")
    })
    .expect("open");
    for id in 0..3000 {
        let ticket = deliver(&engine, id);
        if id % 10 == 0 {
            ticket.committed_blocking().expect("commit");
        }
    }
    deliver(&engine, 3000).committed_blocking().expect("commit");
    let (answer, answered) = oneshot::channel();
    engine.inner.wishes.send(Wish::Snapshot(answer)).expect("keeper");
    answered.blocking_recv().expect("answer").expect("snapshot");
    let starts = journal::list(&dir.path().join("journal")).expect("list");
    assert!(starts.len() <= 2, "{starts:?}");
    assert!(starts[0] > 0);
    drop(engine);
    let engine = open(dir.path(), "b");
    assert_eq!(engine.report().rebuilt, Some(Rebuilt::PowerCut));
    holds(&engine, 3001);
}

/// Closing gives back what old pages took, and whatever a copy that was cut short has left.
#[test]
fn a_bloated_index_is_copied_when_the_store_closes() {
    let dir = tempfile::tempdir().expect("tempdir");
    let options = || Options { bloat_bytes: 0, ..options(dir.path(), "a") };
    let size = |generation: u64| {
        fs::metadata(dir.path().join(format!("index/{generation}/db"))).map_or(0, |data| data.len())
    };
    let engine = Engine::open(options()).expect("open");
    let mut tickets: Vec<Ticket> = (0..2000).map(|id| deliver(&engine, id)).collect();
    tickets.pop().expect("one").committed_blocking().expect("commit");
    fs::create_dir_all(dir.path().join("index/2")).expect("mkdir");
    fs::write(dir.path().join("index/2/db"), b"half a copy").expect("write");
    for round in 0..20u8 {
        let mut tx = engine.begin_now();
        (0..2000u32).for_each(|number| {
            tx.change().put([b"x", &number.to_be_bytes()[..]].concat(), vec![round; 100]);
        });
        tx.submit().expect("submit").committed_blocking().expect("commit");
        engine.inner.index.flush().expect("flush");
    }
    let before = size(1);
    engine.close().expect("close");
    drop(engine);
    assert_eq!(size(1), 0, "the old one is gone");
    assert!(size(2) < before * 2 / 3, "{} of {before}", size(2));
    let engine = Engine::open(options()).expect("open");
    assert_eq!((engine.report().rebuilt, engine.report().replayed), (None, 0));
    holds(&engine, 2000);
    let last = [b"x", &1999u32.to_be_bytes()[..]].concat();
    assert_eq!(engine.get(&last).expect("read").as_deref(), Some(&[19; 100][..]));
}

#[test]
fn two_stores_on_one_folder_are_an_error() {
    let dir = tempfile::tempdir().expect("tempdir");
    let first = open(dir.path(), "a");
    assert!(matches!(Engine::open(options(dir.path(), "a")), Err(OpenError::InUse(_))));
    drop(first);
    open(dir.path(), "a");
}

#[test]
fn writers_see_what_is_in_flight_and_readers_do_not() {
    let dir = tempfile::tempdir().expect("tempdir");
    let gate = Arc::new(Gate::default());
    let engine = Engine::open(Options { medium: gate.clone(), ..options(dir.path(), "a") }).expect("open");
    deliver(&engine, 0).committed_blocking().expect("commit");
    gate.closed.store(true, Ordering::SeqCst);
    let tickets: Vec<Ticket> = (1..20).map(|id| deliver(&engine, id)).collect();
    let mut tx = engine.begin_now();
    assert_eq!(tx.get(b"count").expect("read").as_deref(), Some(&20u64.to_be_bytes()[..]));
    assert_eq!(engine.get(b"count").expect("read").as_deref(), Some(&1u64.to_be_bytes()[..]));
    tx.change().put(b"m\xff".to_vec(), vec![]);
    tx.change().delete([b"m", &8u64.to_be_bytes()[..]].concat());
    let mut seen = Vec::new();
    let all = (Bound::Included(&b"m"[..]), Bound::Unbounded);
    tx.visit(all, |key, _| {
        seen.push(key.to_vec());
        ControlFlow::Continue(())
    })
    .expect("visit");
    let want: Vec<Vec<u8>> = (0..20u64)
        .filter(|id| ![0, 7, 8].contains(id))
        .map(|id| [b"m", &id.to_be_bytes()[..]].concat())
        .chain([b"m\xff".to_vec()])
        .collect();
    assert_eq!(seen, want);
    let mut first = Vec::new();
    tx.visit(all, |key, _| {
        first.push(key.to_vec());
        if first.len() == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .expect("visit");
    assert_eq!(first, want[..3]);
    drop(tx);
    gate.open();
    for ticket in tickets {
        ticket.committed_blocking().expect("commit");
    }
    assert_eq!(holds(&engine, 20), 20);
    assert!(engine.inner.queue().pending.is_empty());
}

/// Holds every write back while closed; fails them while broken.
#[derive(Default)]
struct Gate {
    closed: AtomicBool,
    broken: AtomicBool,
}

impl Gate {
    fn open(&self) {
        self.closed.store(false, Ordering::SeqCst);
    }
}

impl Medium for Gate {
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        while self.closed.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        if self.broken.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        Disk.write_at(file, bytes, offset)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        Disk.sync(file)
    }
}

#[test]
fn a_failed_group_takes_along_what_was_built_on_it() {
    let dir = tempfile::tempdir().expect("tempdir");
    let gate = Arc::new(Gate::default());
    let engine = Engine::open(Options { medium: gate.clone(), ..options(dir.path(), "a") }).expect("open");
    for id in 0..5 {
        deliver(&engine, id).committed_blocking().expect("commit");
    }
    let health = engine.health();
    gate.closed.store(true, Ordering::SeqCst);
    gate.broken.store(true, Ordering::SeqCst);
    let early = engine.begin_now();
    let doomed: Vec<Ticket> = (5..400).map(|id| deliver(&engine, id)).collect();
    gate.open();
    for ticket in doomed {
        assert!(ticket.committed_blocking().is_err());
    }
    assert!(health.borrow().commit.is_some(), "degraded");
    let mut early = early;
    early.change().put(b"late".to_vec(), vec![]);
    assert_eq!(early.submit().err(), Some(CommitError::Overtaken));
    assert!(deliver(&engine, 5).committed_blocking().is_err(), "still broken");
    assert_eq!(holds(&engine, 5), 5);
    gate.broken.store(false, Ordering::SeqCst);
    for id in 5..10 {
        deliver(&engine, id).committed_blocking().expect("mended");
    }
    assert_eq!(*health.borrow(), Health::default());
    assert_eq!(holds(&engine, 10), 10);
    drop(engine);
    assert_eq!(holds(&open(dir.path(), "b"), 10), 10);
}

#[test]
fn a_full_disk_refuses_mail_but_not_removal() {
    let dir = tempfile::tempdir().expect("tempdir");
    let engine = open(dir.path(), "a");
    deliver(&engine, 0).committed_blocking().expect("commit");
    drop(engine);
    let engine = Engine::open(Options { reserve_bytes: u64::MAX, ..options(dir.path(), "a") }).expect("open");
    let mut tx = engine.begin_now();
    let source = tx.change().source(Source::Inline(Arc::from(&b"x"[..])));
    tx.change().create(file(1), source);
    assert_eq!(tx.submit().err(), Some(CommitError::Full));
    let mut tx = engine.begin_now();
    tx.change().erase(file(0));
    tx.submit().expect("submit").committed_blocking().expect("commit");
}

#[test]
fn files_that_cannot_be_made_keep_their_change_until_they_can() {
    let dir = tempfile::tempdir().expect("tempdir");
    let engine = open(dir.path(), "a");
    deliver(&engine, 0).committed_blocking().expect("commit");
    // A file where the folder has to be.
    fs::create_dir_all(dir.path().join("accounts/9")).expect("mkdir");
    fs::write(dir.path().join("accounts/9/msg"), b"").expect("obstacle");
    let mut tx = engine.begin_now();
    let source = tx.change().source(Source::Inline(Arc::from(&b"kept"[..])));
    let name = FileName { owner: 9, id: 1 };
    tx.change().create(name, source);
    tx.change().put(b"nine".to_vec(), vec![1]);
    assert_eq!(tx.submit().expect("submit").committed_blocking(), Err(CommitError::Unapplied));
    assert_eq!(engine.get(b"nine").expect("read"), None);
    assert!(engine.begin_now().get(b"nine").expect("read").is_some(), "writers build on it");
    let refused = deliver(&engine, 1).committed_blocking();
    assert!(matches!(refused, Err(CommitError::Write(_))), "{refused:?}");
    assert!(engine.begin_now().get(b"nine").expect("read").is_some(), "writers still build on it");
    fs::remove_file(dir.path().join("accounts/9/msg")).expect("remove");
    deliver(&engine, 1).committed_blocking().expect("commit");
    assert_eq!(fs::read(engine.files().path(name)).expect("read"), b"kept");
    assert!(engine.get(b"nine").expect("read").is_some());
    holds(&engine, 2);
}

#[test]
fn events_come_in_order_of_commit_and_before_answers() {
    let dir = tempfile::tempdir().expect("tempdir");
    let engine = open(dir.path(), "a");
    let (sender, receiver) = channel();
    let mut tickets = Vec::new();
    for number in 0..500u32 {
        let mut tx = engine.begin_now();
        tx.change().put(number.to_be_bytes().map(|b| b | 0x80).to_vec(), vec![]);
        let sender = sender.clone();
        tx.change().after(move |position| sender.send((number, position)).expect("receiver"));
        tickets.push(tx.submit().expect("submit"));
    }
    let mut last = 0;
    for (number, ticket) in tickets.into_iter().enumerate() {
        let position = ticket.committed_blocking().expect("commit");
        let event = receiver.try_recv().expect("event before answer");
        assert_eq!(event, (u32::try_from(number).expect("small"), position));
        assert!(position > last);
        last = position;
    }
}

const CHILD: &str = "MOX_ENGINE_TEST_CHILD";

/// Not a test by itself: the process that [`kills_lose_nothing_acknowledged`] kills.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let engine = Engine::open(Options {
        checkpoint_bytes: 100_000,
        checkpoint_every: Duration::from_millis(15),
        snapshot_bytes: 400_000,
        ..options(Path::new(&dir), "a")
    })
    .expect("open");
    let mut next = holds(&engine, 0);
    loop {
        let tickets: Vec<Ticket> = (next..next + 8).map(|id| deliver(&engine, id)).collect();
        for ticket in tickets {
            ticket.committed_blocking().expect("commit");
            next += 1;
            println!("acknowledged {next}");
        }
    }
}

#[test]
fn kills_lose_nothing_acknowledged() {
    let dir = tempfile::tempdir().expect("tempdir");
    let mut acknowledged = 0u64;
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    for round in 0..32 {
        let mut child = Command::new(std::env::current_exe().expect("own path"))
            .args(["--exact", "engine::tests::child", "--nocapture", "--test-threads=1"])
            .env(CHILD, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("spawn");
        let stdout = child.stdout.take().expect("piped");
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let wanted = (seed >> 33) % 120;
        let mut lines = BufReader::new(stdout).lines();
        let mut seen = 0;
        for line in lines.by_ref() {
            if let Some(number) = line.expect("line").strip_prefix("acknowledged ") {
                acknowledged = acknowledged.max(number.parse().expect("number"));
                seen += 1;
                if seen > wanted {
                    break;
                }
            }
        }
        child.kill().expect("kill");
        for line in lines.map_while(Result::ok) {
            // A last line may be torn.
            if let Some(number) = line.strip_prefix("acknowledged ").and_then(|n| n.parse::<u64>().ok())
                && number == acknowledged + 1
            {
                acknowledged = number;
            }
        }
        child.wait().expect("wait");
        assert!(seen > 0, "round {round}: the child did not come up");
    }
    assert!(acknowledged > 500, "{acknowledged}");
    let engine = open(dir.path(), "a");
    assert_eq!(engine.report().rebuilt, None, "a kill needs no rebuild");
    holds(&engine, acknowledged);
    drop(engine);
    holds(&open(dir.path(), "b"), acknowledged);
}

/// A patch is seen at once by everybody, whatever is put, deleted or patched before and after it, and is there after a
/// close, a kill and a power cut.
#[test]
fn patched_values_are_those_of_a_map() {
    use crate::records::{FlagPatch, Message, Training, decode, encode};
    use libmox_store::Marks;
    use libmox_types::{ByteCount, Flag, Flags, MailboxId, ModSeq, MsgId, Timestamp};
    use std::collections::BTreeMap;

    let message = |mod_seq| Message {
        id: MsgId(1),
        mod_seq,
        create_seq: ModSeq(1),
        flags: Flags::NONE,
        keywords: Vec::new(),
        size: ByteCount(5),
        prefix: 0,
        received: Timestamp(1),
        saved: None,
        thread: MsgId(1),
        marks: Marks::NONE,
        original: MailboxId(1),
        destined: MailboxId(0),
        trained: Training::None,
    };
    let key = |number: u32| [b"p", &number.to_be_bytes()[..]].concat();
    let dir = tempfile::tempdir().expect("tempdir");
    let mut engine = open(dir.path(), "0");
    let mut model: BTreeMap<u32, Message> = BTreeMap::new();
    let mut seed = 11u64;
    let mut random = |below: u32| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u32::try_from((seed >> 33) % u64::from(below)).expect("small")
    };
    let same = |read: &dyn Fn(&mut index::Visitor<'_>),
                get: &dyn Fn(&[u8]) -> Option<Value>,
                model: &BTreeMap<u32, Message>| {
        let mut found = BTreeMap::new();
        read(&mut |key, value| {
            let number = u32::from_be_bytes(key[1..].try_into().expect("number"));
            found.insert(number, decode::<Message>(key, value).expect("a message"));
            ControlFlow::Continue(())
        });
        assert_eq!(found, *model);
        for number in (0..400).step_by(7) {
            let value = get(&key(number)).map(|value| decode::<Message>(b"", &value).expect("a message"));
            assert_eq!(value.as_ref(), model.get(&number), "{number}");
        }
    };
    let (low, high) = (key(0), key(u32::MAX));
    let range = (Bound::Included(low.as_slice()), Bound::Included(high.as_slice()));
    for round in 1..400u64 {
        let mod_seq = ModSeq(round);
        let mut tx = engine.begin_now();
        let mut patches = false;
        for _ in 0..=random(3) {
            let number = random(400);
            match random(6) {
                0 | 1 if !patches => {
                    for number in number..number + random(40) {
                        // No uid comes twice: a put is of a new message, or of what is there.
                        let next = model.get(&number).cloned().unwrap_or_else(|| message(mod_seq));
                        let next = Message { mod_seq, flags: next.flags.with(Flag::Draft), ..next };
                        tx.change().put(key(number), encode(&next));
                        model.insert(number, next);
                    }
                }
                2 if !patches => {
                    for number in number..number + random(20) {
                        tx.change().delete(key(number));
                        model.remove(&number);
                    }
                }
                _ => {
                    let flag = [Flag::Seen, Flag::Flagged, Flag::Answered][random(3) as usize];
                    let flag = Flags::NONE.with(flag);
                    let (add, remove) =
                        if random(2) == 0 { (flag, Flags::NONE) } else { (Flags::NONE, flag) };
                    let patch = FlagPatch { mod_seq, add, remove };
                    let ranges =
                        vec![(number, number + random(90)), (number + 100, number + 100 + random(200))];
                    // What the change put before it keeps: a change patches only what it does not put.
                    if patches || tx.change().is_empty() {
                        for (low, high) in &ranges {
                            for (_, message) in model.range_mut(low..=high) {
                                if let Some(after) = message.clone().patched(patch) {
                                    *message = after;
                                }
                            }
                        }
                        tx.change().patch(Patch { prefix: b"p".to_vec(), ranges, what: encode(&patch) });
                        patches = true;
                    }
                }
            }
        }
        same(&|each| tx.visit(range, each).expect("visit"), &|key| tx.get(key).expect("get"), &model);
        let ticket = tx.submit().expect("submit");
        if random(3) > 0 {
            // The next one builds on what is in flight.
            let tx = engine.begin_now();
            same(&|each| tx.visit(range, each).expect("visit"), &|key| tx.get(key).expect("get"), &model);
        }
        ticket.committed_blocking().expect("commit");
        same(&|each| engine.visit(range, each).expect("visit"), &|key| engine.get(key).expect("get"), &model);
        match random(40) {
            0 => engine.close().expect("close"),
            1 => engine.inner.index.flush().expect("flush"),
            2 => {}
            _ => continue,
        }
        let boot = if random(3) == 0 { round.to_string() } else { "0".to_owned() };
        drop(engine);
        engine = open(dir.path(), &boot);
        same(&|each| engine.visit(range, each).expect("visit"), &|key| engine.get(key).expect("get"), &model);
    }
}
