//! The least a store can do: append what waits, `fdatasync` once, answer all of them.

use anyhow::{Context as _, anyhow};
use std::io::Write as _;
use std::path::Path;
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};
use std::time::{Duration, Instant};

/// What it came to.
#[derive(Debug, Clone, Copy)]
pub struct Sink {
    pub took: Duration,
    pub messages: usize,
    /// `fdatasync` calls.
    pub syncs: usize,
}

/// Producers that each wait for their answer before they send again.
pub fn run(dir: &Path, producers: usize, messages: usize, size: usize) -> anyhow::Result<Sink> {
    let path = dir.join("sink");
    let mut file = std::fs::File::create(&path)?;
    let share = messages / producers.max(1);
    let (to_sink, waiting) = sync_channel::<(Vec<u8>, Sender<()>)>(producers);
    let begun = Instant::now();
    let (mut syncs, mut taken) = (0, 0);
    std::thread::scope(|scope| -> anyhow::Result<()> {
        let all: Vec<_> = (0..producers)
            .map(|_| {
                let to_sink = to_sink.clone();
                scope.spawn(move || produce(&to_sink, share, size))
            })
            .collect();
        drop(to_sink);
        while let Ok(first) = waiting.recv() {
            let mut group = vec![first];
            group.extend(waiting.try_iter());
            let bytes: Vec<u8> = group.iter().flat_map(|(bytes, _)| bytes.iter().copied()).collect();
            file.write_all(&bytes)?;
            file.sync_data()?;
            syncs += 1;
            taken += group.len();
            for (_, answer) in group {
                let _ = answer.send(());
            }
        }
        for producer in all {
            producer.join().map_err(|_| anyhow!("producer"))??;
        }
        Ok(())
    })?;
    let took = begun.elapsed();
    std::fs::remove_file(&path)?;
    Ok(Sink { took, messages: taken, syncs })
}

fn produce(to_sink: &SyncSender<(Vec<u8>, Sender<()>)>, messages: usize, size: usize) -> anyhow::Result<()> {
    let (answer, answered) = channel();
    for _ in 0..messages {
        to_sink.send((vec![b'x'; size], answer.clone())).context("sink is gone")?;
        answered.recv()?;
    }
    Ok(())
}
