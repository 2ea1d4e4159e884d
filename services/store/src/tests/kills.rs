//! SIGKILL of a whole store while several clients change it and note every acknowledgement.
//!
//! `MOX_KILLS=300 cargo test -p mox-store killed` for a long run.

use super::load::{Shared, Start, asked, clients, set_passwords, spawn, verify};
use std::time::Duration;

/// Kills in a run; `MOX_KILLS` asks for more.
const KILLS: u64 = 12;
/// Kills of one store; what it holds, and with it each comparison, grows.
const STORE_KILLS: u64 = 25;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_store_keeps_every_promise() {
    let kills = asked("MOX_KILLS", KILLS);
    let (mut done, mut acknowledged) = (0, 0);
    while done < kills {
        let some = STORE_KILLS.min(kills - done);
        acknowledged += killed(some, 0x2545_f491_4f6c_dd1d + done).await;
        done += some;
        println!("{done} kills, {acknowledged} acknowledged changes");
    }
    assert!(acknowledged > 10 * kills, "only {acknowledged} acknowledged changes");
}

/// Kills one store again and again. Returns how many changes it acknowledged.
async fn killed(kills: u64, mut seed: u64) -> u64 {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let notes = Shared::default();
    for round in 0..=kills {
        let start = Start { sockets: dir.path(), data: &data, boot: 1, unsynced: false };
        let mut child = spawn(&start).await.unwrap();
        if round == 0 {
            set_passwords(dir.path()).await;
        } else {
            verify(dir.path(), &notes).await;
        }
        let mut clients = clients(dir.path(), &notes, round);
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        if round < kills {
            tokio::time::sleep(Duration::from_millis(100 + (seed >> 33) % 350)).await;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        clients.shutdown().await;
    }
    notes.lock().unwrap().acknowledged
}
