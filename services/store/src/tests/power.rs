//! Power cuts under a whole store while several clients change it and note every acknowledgement.
//!
//! The data folder is on [`cutfs`]: what was not synced may be there, half there or not there after a cut. Each cut
//! is followed by another boot, so that sled's file is not trusted.
//! `MOX_CUTS=200 cargo test -p mox-store power -- --nocapture` for a long run; `MOX_CUT_SEED` chooses the cuts.
//! Needs root and /dev/fuse; without them it says so and proves nothing.
//!
//! Two things differ from a disk: FUSE knows no `syncfs`, so the store syncs its files one by one, and no `O_TMPFILE`,
//! so staged files have names.

use super::cutfs::{Dice, Disk, Mounted};
use super::load::{Shared, Start, asked, clients, set_passwords, spawn, verify};
use std::path::Path;
use std::time::Duration;

/// Cuts in a run; `MOX_CUTS` asks for more.
const CUTS: u64 = 8;
/// Cuts under one store; what it holds, and with it each comparison, grows.
const STORE_CUTS: u64 = 20;
const SEED: u64 = 0x6d6f_7821;
/// Changes and syncs before a cut: more than there are between two checkpoints, often.
const OPERATIONS: u64 = 3000;

/// Mounted, or a word that what follows is left out.
pub fn mounted(disk: &Disk, at: &Path) -> Option<Mounted> {
    match disk.mount(at) {
        Ok(mounted) => Some(mounted),
        Err(error) => {
            println!("LEFT OUT: this needs root and /dev/fuse: {error}");
            None
        }
    }
}

/// Cuts, and compares after each. Returns acknowledged changes, or what was found wrong after which cut; nothing
/// where there is no FUSE.
async fn cuts(count: u64, seed: u64, unsynced: bool) -> Option<Result<u64, String>> {
    let dir = tempfile::tempdir().unwrap();
    let (mount, disk) = (dir.path().join("disk"), Disk::default());
    std::fs::create_dir(&mount).unwrap();
    let data = mount.join("data");
    let notes = Shared::default();
    let mut dice = Dice(seed | 1);
    for round in 0..=count {
        let mounted = mounted(&disk, &mount)?;
        let start = Start { sockets: dir.path(), data: &data, boot: round, unsynced };
        let mut child = match spawn(&start).await {
            Ok(child) => child,
            Err(why) => return Some(Err(format!("cut {round} of MOX_CUT_SEED={seed}: {why}"))),
        };
        let sound = if round == 0 {
            set_passwords(dir.path()).await;
            Ok(())
        } else {
            let (sockets, notes) = (dir.path().to_owned(), notes.clone());
            tokio::spawn(async move { verify(&sockets, &notes).await }).await
        };
        if sound.is_ok() && round < count {
            disk.cut_after(20 + dice.throw() % OPERATIONS);
            let mut clients = clients(dir.path(), &notes, round);
            for _ in 0..1000 {
                if disk.is_cut() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let cut = disk.is_cut();
            // What was synced before the cut may still be answered.
            tokio::time::sleep(Duration::from_millis(10)).await;
            child.kill().unwrap();
            child.wait().unwrap();
            clients.shutdown().await;
            assert!(cut, "the store did nothing for five seconds");
        } else {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        drop(mounted);
        if sound.is_err() {
            return Some(Err(format!(
                "cut {round} of MOX_CUT_SEED={seed}: what was acknowledged is not there"
            )));
        }
        disk.restore(&mut dice);
    }
    let acknowledged = notes.lock().unwrap().acknowledged;
    Some(Ok(acknowledged))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn power_cuts_lose_nothing_acknowledged() {
    let count = asked("MOX_CUTS", CUTS);
    let (mut done, mut acknowledged) = (0, 0);
    while done < count {
        let some = STORE_CUTS.min(count - done);
        let Some(outcome) = cuts(some, asked("MOX_CUT_SEED", SEED) + 2 * done, false).await else { return };
        acknowledged += outcome.unwrap();
        done += some;
        println!("{done} power cuts, {acknowledged} acknowledged changes");
    }
    assert!(acknowledged > 5 * count, "only {acknowledged} acknowledged changes");
}

/// The test of the test.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn power_cuts_notice_a_journal_that_is_not_synced() {
    let Some(outcome) = cuts(40, SEED, true).await else { return };
    println!("{}", outcome.expect_err("nobody noticed that the journal is not synced"));
}
