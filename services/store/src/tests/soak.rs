//! A large store: how quickly it opens, what it takes of memory and disk, and that its index does not grow for ever.
//!
//! Small in a usual run. `MOX_SOAK=1000000 cargo test -p mox-store --lib soak -- --nocapture` for the real one: that
//! many messages in 200 mailboxes of one account, and a thousandth of it in each of 200 more; `MOX_SOAK_DIR` says where.
//! The figures hold for the real one; below it they are printed only.

use super::load::asked;
use super::*;
use crate::testdata;
use libmox_types::Flag;
use std::process::{Command, Stdio};
use std::time::Instant;

const CHILD: &str = "MOX_STORE_TEST_SOAK";
const MESSAGES: u64 = 2_000;
const ACCOUNTS: usize = 201;

fn data_options(dir: &Path) -> Options {
    Options { reserve_bytes: 0, ..Options::new(dir.join("data"), Some("boot".into())) }
}

/// Not a test by itself: opens the folder, lists a mailbox, says how long it took and what it takes, and closes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let begun = Instant::now();
    let now = Arc::new(|| Timestamp(1_800_000_000));
    let directory = testdata::directory(ACCOUNTS).unwrap();
    let store = Store::start(data_options(Path::new(&dir)), directory, now).await.unwrap();
    println!("opened {}", begun.elapsed().as_millis());
    let took = store.engine.report().took.map(|took| took.as_millis());
    println!("index {}", took[0]);
    println!("engine {}", took[1]);
    let account = store.directory().ids["test0"];
    let mut listed = 0;
    for mailbox in testdata::mailboxes(&store, account).unwrap().iter().take(20) {
        let mut tx = store.engine.begin().await.unwrap();
        let writer = crate::writer::Writer::open(&mut tx, account).unwrap();
        listed += writer.messages(mailbox.id, None).unwrap().len();
    }
    println!("listed {listed}");
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    println!("resident {}", resident.trim().trim_end_matches(" kB"));
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    println!("peak {}", peak.trim().trim_end_matches(" kB"));
    let closing = Instant::now();
    tokio::task::spawn_blocking(move || store.engine.close().unwrap()).await.unwrap();
    println!("closed {}", closing.elapsed().as_millis());
}

/// What the child said.
fn opened(dir: &Path) -> HashMap<String, u64> {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tests::soak::child", "--nocapture", "--test-threads=1"])
        .env(CHILD, dir)
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let said: HashMap<String, u64> = text
        .lines()
        .filter_map(|line| line.rsplit("... ").next()?.split_once(' '))
        .filter_map(|(what, number)| Some((what.to_owned(), number.parse().ok()?)))
        .collect();
    assert!(said.contains_key("closed"), "{text}");
    said
}

/// Bytes below a folder: of the files, and of their blocks.
fn size(folder: &Path) -> (u64, u64) {
    let (mut bytes, mut blocks) = (0, 0);
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        let Ok(entries) = std::fs::read_dir(folder) else { continue };
        for entry in entries.flatten() {
            let Ok(data) = entry.metadata() else { continue };
            if data.is_dir() {
                open.push(entry.path());
            } else {
                bytes += data.len();
                blocks += std::os::unix::fs::MetadataExt::blocks(&data) * 512;
            }
        }
    }
    (bytes, blocks)
}

async fn close(store: Arc<Store>) {
    store.engine.settled().await;
    tokio::task::spawn_blocking(move || store.engine.close().unwrap()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_store_stays_small_and_quick() {
    let messages = usize::try_from(asked("MOX_SOAK", MESSAGES)).unwrap();
    let place = match std::env::var_os("MOX_SOAK_DIR") {
        Some(dir) => tempfile::tempdir_in(dir).unwrap(),
        None => tempfile::tempdir().unwrap(),
    };
    let (dir, data) = (place.path(), place.path().join("data"));
    let start = || async {
        let now = Arc::new(|| Timestamp(1_800_000_000));
        Store::start(data_options(dir), testdata::directory(ACCOUNTS).unwrap(), now).await.unwrap()
    };
    let begun = Instant::now();
    let store = start().await;
    let mut octets = testdata::fill(&store, "test0", 200, messages).await.unwrap();
    for account in 1..ACCOUNTS {
        octets += testdata::fill(&store, &format!("test{account}"), 5, messages / 1000).await.unwrap();
    }
    println!("filled with {messages} messages and {octets} octets in {:?}", begun.elapsed());
    close(store).await;
    let first = opened(dir);
    let (index, _) = size(&data.join("index"));
    let (journal, _) = size(&data.join("journal"));
    let (files, blocks) = size(&data.join("accounts"));
    println!("message files {files} in {blocks} of blocks, index {index}, journal {journal}, {first:?}");
    let begun = Instant::now();
    let store = start().await;
    for _ in 0..10 {
        testdata::flag_all(&store, "test0", Flag::Flagged).await.unwrap();
    }
    let (high, _) = size(&data.join("index"));
    println!("10 flag changes of every message in {:?}, index {high}", begun.elapsed());
    close(store).await;
    let second = opened(dir);
    let (after, _) = size(&data.join("index"));
    println!("closed and opened: index {after}, {second:?}");
    assert!(files + journal <= octets * 14 / 10 + (100 << 20), "{files} + {journal} for {octets}");
    assert!(after <= 2 * index + (8 << 20), "index {index} became {after}");
    for said in [first, second] {
        assert!(said["resident"] < 200 << 10, "{said:?}");
        assert!(messages < 500_000 || said["opened"] < 1000, "{said:?}");
    }
    // As after a power cut: the index is built anew from snapshot and journal.
    std::fs::remove_file(data.join("index/state")).unwrap();
    let rebuilt = opened(dir);
    println!("index built anew: {}, {rebuilt:?}", size(&data.join("index")).0);
    assert!(rebuilt["peak"] < 1 << 20, "{rebuilt:?}");
    assert_eq!(crate::offline::verify(&data).unwrap(), Vec::<String>::new());
}
