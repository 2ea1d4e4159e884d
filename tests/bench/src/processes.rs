//! What the kernel counts for each process of an instance. Law: proc(5).

use anyhow::Context as _;
use std::time::Duration;

/// `USER_HZ`: 100 on every architecture we run on.
const TICKS: u64 = 100;

/// A process at one moment.
#[derive(Debug, Clone)]
pub struct Process {
    pub pid: u32,
    pub name: String,
    /// User and system time since it began.
    pub processor: Duration,
    /// Octets in memory now.
    pub memory: u64,
    /// Of them those of its own: neither of files nor shared.
    pub own: u64,
    pub threads: u64,
}

/// A process, its children, and theirs.
pub fn descendants(parent: u32) -> anyhow::Result<Vec<Process>> {
    let mut all = family(parent)?;
    let mut at = 0;
    while at < all.len() {
        let pid = all[at].pid;
        let known: Vec<u32> = all.iter().map(|process| process.pid).collect();
        all.extend(family(pid)?.into_iter().filter(|process| !known.contains(&process.pid)));
        at += 1;
    }
    Ok(all)
}

/// A process and its children, in the order of their ids.
pub fn family(parent: u32) -> anyhow::Result<Vec<Process>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // One that left meanwhile is none.
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        let Ok((ppid, process)) = read(pid, &stat) else { continue };
        if pid == parent || ppid == parent {
            all.push(process);
        }
    }
    all.sort_by_key(|process| process.pid);
    Ok(all)
}

fn read(pid: u32, stat: &str) -> anyhow::Result<(u32, Process)> {
    // The name stands in parentheses and may contain anything.
    let (name, rest) = stat.split_once('(').and_then(|(_, rest)| rest.rsplit_once(')')).context("stat")?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |at: usize| fields.get(at).and_then(|f| f.parse::<u64>().ok()).context("stat");
    let ticks = number(11)? + number(12)?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
        line.split_ascii_whitespace().next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) * 1024
    };
    let process = Process {
        pid,
        name: name.to_owned(),
        processor: Duration::from_micros(ticks * 1_000_000 / TICKS),
        memory: kib("VmRSS:"),
        own: kib("RssAnon:"),
        threads: number(17)?,
    };
    Ok((u32::try_from(number(1)?)?, process))
}

/// Processor time by program between two moments.
pub fn used(before: &[Process], after: &[Process]) -> Vec<(String, Duration)> {
    after
        .iter()
        .map(|process| {
            let then = before.iter().find(|p| p.pid == process.pid).map_or(Duration::ZERO, |p| p.processor);
            (process.name.clone(), process.processor.saturating_sub(then))
        })
        .collect()
}
