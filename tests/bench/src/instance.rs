//! A running `mox localserve` and where to reach it.

use crate::processes::{self, Process};
use anyhow::{Context as _, bail};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// A start that takes longer has failed.
const START_WAIT: Duration = Duration::from_secs(60);

/// What to run, and where.
#[derive(Debug, Clone)]
pub struct Programs {
    pub mox: PathBuf,
    pub libexec: PathBuf,
    pub units: PathBuf,
    pub dir: PathBuf,
    pub port_base: u16,
    pub log: String,
}

/// Runs until [`Instance::stop`]; killed when dropped.
#[derive(Debug)]
pub struct Instance {
    child: tokio::process::Child,
    pid: u32,
    ready: Value,
    /// Until everything listens and the accounts are there.
    pub started_in: Duration,
}

impl Instance {
    pub async fn start(programs: &Programs, settings: &[&str]) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&programs.dir)?;
        let file = programs.dir.with_extension("ready.json");
        let log = programs.dir.with_extension("log");
        let mut command = tokio::process::Command::new(&programs.mox);
        command.arg("localserve").arg("--dir").arg(&programs.dir);
        command.arg("--port-base").arg(programs.port_base.to_string());
        command.arg("--ready-file").arg(&file).arg("--log").arg(&programs.log);
        command.arg("--units").arg(&programs.units).arg("--libexec").arg(&programs.libexec);
        for setting in settings {
            command.arg("--set").arg(setting);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(std::fs::File::create(&log)?);
        let begun = Instant::now();
        let mut child = command
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", programs.mox.display()))?;
        let ready = loop {
            if let Ok(bytes) = std::fs::read(&file) {
                break serde_json::from_slice(&bytes)?;
            }
            if let Some(status) = child.try_wait()? {
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                bail!("localserve ended with {status}: {said}");
            }
            if begun.elapsed() > START_WAIT {
                bail!("localserve is not ready after {START_WAIT:?}");
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        };
        let pid = child.id().context("localserve is gone")?;
        Ok(Self { child, pid, ready, started_in: begun.elapsed() })
    }

    /// Asks it to stop and waits.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        let pid = i32::try_from(self.pid).ok().and_then(rustix::process::Pid::from_raw).context("pid")?;
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        self.child.wait().await?;
        Ok(())
    }

    /// The process that started everything.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Where the listener named so in the ready file is.
    pub fn address(&self, key: &str) -> anyhow::Result<SocketAddr> {
        let (host, port) = (&self.ready[key]["host"], &self.ready[key]["port"]);
        let host = host.as_str().with_context(|| format!("no {key} in the ready file"))?;
        Ok(format!("{host}:{port}").parse()?)
    }

    /// A text of the ready file.
    pub fn text(&self, pointer: &str) -> anyhow::Result<String> {
        let value = self.ready.pointer(pointer).and_then(Value::as_str);
        Ok(value.with_context(|| format!("no {pointer} in the ready file"))?.to_owned())
    }

    /// Itself and what it started.
    pub fn processes(&self) -> anyhow::Result<Vec<Process>> {
        processes::family(self.pid)
    }
}
