//! `mox localserve` in a folder of its own, on ports of its own, gone when dropped.
//!
//! The programs are those of the target folder the test runs from; `cargo build` of the services comes before.

use crate::imap::Imap;
use crate::line::Tls;
use crate::smtp::Smtp;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Until everything listens. Long: machines that test are busy.
const START: Duration = Duration::from_secs(60);
/// Until a stopped instance is killed.
const STOP: Duration = Duration::from_secs(20);
/// Ports of the units; all must be free with the base added.
const PORTS: [u16; 5] = [25, 143, 465, 587, 993];
/// Bases are taken from here: below the ports the kernel gives to clients, and apart by more than the ports span.
const BASES: std::ops::Range<u32> = 2_000..31_000;
const STEP: u32 = 7;

/// The folder of the programs under test.
#[must_use]
pub fn binaries() -> PathBuf {
    let test = std::env::current_exe().unwrap_or_default();
    let folder = test.parent().and_then(Path::parent).unwrap_or(Path::new("."));
    assert!(folder.join("mox").exists(), "{} has no mox: `make unit` builds it first", folder.display());
    folder.to_owned()
}

/// The root of the sources.
#[must_use]
pub fn repository() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

/// What to start.
#[derive(Debug, Clone, Default)]
pub struct Spec {
    dir: Option<PathBuf>,
    accounts: Vec<String>,
    settings: Vec<String>,
}

impl Spec {
    /// No DNS: what a test needs unless verification is its subject.
    #[must_use]
    pub fn new() -> Self {
        Self::default().set("smtp.verify=false")
    }

    /// Keeps its data here, not in a folder that goes with the instance.
    #[must_use]
    pub fn dir(mut self, dir: &Path) -> Self {
        self.dir = Some(dir.to_owned());
        self
    }

    /// `--account`
    #[must_use]
    pub fn account(mut self, account: &str) -> Self {
        self.accounts.push(account.to_owned());
        self
    }

    /// `--set`
    #[must_use]
    pub fn set(mut self, setting: &str) -> Self {
        self.settings.push(setting.to_owned());
        self
    }

    /// Starts it; panics with its log if it does not.
    #[must_use]
    #[track_caller]
    pub fn start(self) -> Instance {
        self.try_start().unwrap_or_else(|log| panic!("mox localserve did not start:\n{log}"))
    }

    /// Starts it; its log if it does not.
    pub fn try_start(self) -> Result<Instance, String> {
        loop {
            match self.start_at(free_base()).map_err(|error| error.to_string())? {
                Ok(instance) => return Ok(instance),
                // Somebody else was faster.
                Err(log) if log.contains("cannot listen on 127.0.0.1") => {}
                Err(log) => return Err(log),
            }
        }
    }

    fn start_at(&self, base: u16) -> io::Result<Result<Instance, String>> {
        let home = tempfile::Builder::new().prefix("mox-").tempdir()?;
        let dir = self.dir.clone().unwrap_or_else(|| home.path().join("data"));
        let (log, ready_file) = (home.path().join("log"), home.path().join("ready.json"));
        let out = File::create(&log)?;
        let mut command = Command::new(binaries().join("mox"));
        command.arg("localserve").arg("--dir").arg(&dir).args(["--port-base", &base.to_string()]);
        command.arg("--units").arg(repository().join("units")).arg("--ready-file").arg(&ready_file);
        command.args(["--log", "debug"]);
        command.args(self.accounts.iter().flat_map(|account| ["--account", account]));
        command.args(self.settings.iter().flat_map(|setting| ["--set", setting]));
        // In the group of the test: Ctrl-C there ends this too.
        command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        let child = command.spawn()?;
        let mut instance = Instance { ready: Value::Null, child, dir, log, home };
        let start = Instant::now();
        loop {
            if let Ok(text) = std::fs::read_to_string(&ready_file) {
                instance.ready = serde_json::from_str(&text)?;
                return Ok(Ok(instance));
            }
            if instance.child.try_wait()?.is_some() || start.elapsed() > START {
                return Ok(Err(instance.log_text()));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A base whose ports are free now.
fn free_base() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let turn = NEXT.fetch_add(1, Ordering::Relaxed);
        // Test processes that run beside this one start elsewhere.
        let at = std::process::id().wrapping_mul(7_919).wrapping_add(turn.wrapping_mul(STEP * 149));
        let base = u16::try_from(BASES.start + at % (BASES.end - BASES.start)).unwrap_or(u16::MAX);
        if PORTS.iter().all(|port| TcpListener::bind(("127.0.0.1", base + port)).is_ok()) {
            return base;
        }
    }
}

/// A running instance.
#[derive(Debug)]
pub struct Instance {
    /// What the ready file says.
    pub ready: Value,
    child: Child,
    dir: PathBuf,
    log: PathBuf,
    #[expect(dead_code, reason = "the folder goes when this goes")]
    home: tempfile::TempDir,
}

impl Instance {
    /// The address of `smtp`, `submission`, `submissions`, `imap` or `imaps`.
    #[must_use]
    #[track_caller]
    pub fn address(&self, key: &str) -> SocketAddr {
        let text =
            format!("{}:{}", self.ready[key]["host"].as_str().unwrap_or_default(), self.ready[key]["port"]);
        text.parse().unwrap_or_else(|error| panic!("{key} in the ready file: {text}: {error}"))
    }

    /// Trusts the instance's authority.
    #[must_use]
    #[track_caller]
    pub fn tls(&self) -> Tls {
        let file = self.authority();
        Tls::trusting(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    }

    /// Login and password of an account, the default one first.
    #[must_use]
    pub fn account(&self, at: usize) -> (String, String) {
        let account = &self.ready["accounts"][at];
        let text = |key: &str| account[key].as_str().unwrap_or_default().to_owned();
        (text("login"), text("password"))
    }

    /// A connection to port 25.
    pub fn smtp(&self) -> io::Result<Smtp> {
        Smtp::connect(self.address("smtp"))
    }

    /// Signed in on port 587.
    pub fn submission(&self, account: usize) -> io::Result<Smtp> {
        let (login, password) = self.account(account);
        let mut smtp = Smtp::connect(self.address("submission"))?.starttls(&self.tls())?;
        match smtp.sign_in(&login, &password)? {
            reply if reply.code == 235 => Ok(smtp),
            reply => Err(io::Error::other(format!("AUTH: {reply:?}"))),
        }
    }

    /// Signed in on port 993.
    pub fn imap(&self, account: usize) -> io::Result<Imap> {
        let (login, password) = self.account(account);
        let mut imap = Imap::connect_tls(self.address("imaps"), &self.tls())?;
        imap.sign_in(&login, &password)?;
        Ok(imap)
    }

    /// Runs `mox` against the instance's bus.
    pub fn mox(&self, arguments: &[&str]) -> io::Result<Output> {
        let bus = self.ready["bus"].as_str().unwrap_or_default();
        Command::new(binaries().join("mox"))
            .args(["--bus", bus])
            .args(arguments)
            .env("MOX_CONFIG_DIR", self.dir.join("config"))
            .stdin(Stdio::null())
            .output()
    }

    /// Runs `mox` against the instance's bus with something to read.
    pub fn mox_with(&self, arguments: &[&str], input: &str) -> io::Result<Output> {
        let bus = self.ready["bus"].as_str().unwrap_or_default();
        let mut child = Command::new(binaries().join("mox"))
            .args(["--bus", bus])
            .args(arguments)
            .env("MOX_CONFIG_DIR", self.dir.join("config"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut pipe) = child.stdin.take() {
            io::Write::write_all(&mut pipe, input.as_bytes())?;
        }
        child.wait_with_output()
    }

    /// The same with something to read.
    pub fn mox_reading(&self, arguments: &[&str], input: &Path) -> io::Result<Output> {
        let bus = self.ready["bus"].as_str().unwrap_or_default();
        Command::new(binaries().join("mox"))
            .args(["--bus", bus])
            .args(arguments)
            .env("MOX_CONFIG_DIR", self.dir.join("config"))
            .stdin(File::open(input)?)
            .output()
    }

    /// Trusts the instance's authority.
    #[must_use]
    pub fn authority(&self) -> &Path {
        Path::new(self.ready["ca"].as_str().unwrap_or_default())
    }

    /// Runs `mox --json`, which must succeed.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let mut all = vec!["--json"];
        all.extend(arguments);
        let out = self.mox(&all).unwrap_or_else(|error| panic!("mox {arguments:?}: {error}"));
        assert!(out.status.success(), "mox {arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
        serde_json::from_slice(&out.stdout).unwrap_or_else(|error| panic!("mox {arguments:?}: {error}"))
    }

    /// Every invariant of the stored mail holds.
    #[track_caller]
    pub fn check(&self) {
        assert_eq!(self.json(&["check"]), Value::Array(Vec::new()), "mox check");
    }

    /// The services that run now.
    #[must_use]
    pub fn services(&self) -> Vec<(String, Pid)> {
        let mine = self.child.id().to_string();
        processes()
            .filter_map(|pid| {
                let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
                let (name, rest) = stat.split_once('(')?.1.rsplit_once(") ")?;
                let mut fields = rest.split(' ');
                let (state, parent) = (fields.next()?, fields.next()?);
                (parent == mine && state != "Z" && name.starts_with("mox-")).then(|| (name.to_owned(), pid))
            })
            .collect()
    }

    /// Kills a service without a word; false if it does not run.
    #[must_use]
    pub fn kill(&self, service: &str) -> bool {
        self.services()
            .iter()
            .find(|(name, _)| name == service)
            .is_some_and(|(_, pid)| kill_process(*pid, Signal::KILL).is_ok())
    }

    /// Sends a signal to the bus daemon.
    #[must_use]
    pub fn signal_bus(&self, signal: Signal) -> bool {
        self.daemon().is_some_and(|pid| kill_process(pid, signal).is_ok())
    }

    /// The daemon names the folder of this instance in its arguments.
    fn daemon(&self) -> Option<Pid> {
        let config = format!("{}/bus.conf", self.ready["run"].as_str()?);
        processes().find(|pid| {
            let command =
                std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
            let command = String::from_utf8_lossy(&command);
            command.starts_with("dbus-daemon\0") && command.contains(&config)
        })
    }

    /// Where the data is.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What it said so far.
    #[must_use]
    pub fn log_text(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Stops it in order, as Ctrl-C does; whether it went by itself and well.
    #[must_use]
    pub fn stop(mut self) -> bool {
        self.end()
    }

    fn end(&mut self) -> bool {
        let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) else { return false };
        if let Ok(Some(status)) = self.child.try_wait() {
            return status.success();
        }
        let _ = self.signal_bus(Signal::CONT);
        let _ = kill_process(pid, Signal::INT);
        let start = Instant::now();
        while start.elapsed() < STOP {
            if let Ok(Some(status)) = self.child.try_wait() {
                return status.success();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.signal_bus(Signal::KILL);
        let services = self.services();
        let _ = kill_process(pid, Signal::KILL);
        for (_, service) in services {
            let _ = kill_process(service, Signal::KILL);
        }
        let _ = self.child.wait();
        false
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if std::thread::panicking() {
            #[expect(clippy::print_stderr, reason = "whoever looks at the failed test needs it")]
            {
                eprintln!("---- log of {} ----\n{}", self.dir.display(), self.log_text());
            }
        }
        self.end();
    }
}

fn processes() -> impl Iterator<Item = Pid> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?))
}
