//! `mox localserve`: the whole system on loopback, without systemd, for one person and for tests.
//!
//! Reads the unit files, binds their sockets (ports + `--port-base`), runs a private `dbus-daemon`, makes an authority
//! and accounts of its own, prints what to connect to and stays in the foreground. Data stays in `--dir`.

mod bus;
mod setup;
mod supervisor;
mod units;

pub use bus::{ask_to_start, bus_name};

use crate::localserve::supervisor::{Place, Supervisor};
use anyhow::{Context as _, bail};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use tokio::signal::unix::{SignalKind, signal};

/// `mox localserve`
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where configuration, keys and mail are kept [default: $XDG_DATA_HOME/mox]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Added to each port: 1000 gives 1025, 1587, 1465, 1143 and 1993
    #[arg(long, default_value_t = 1000, value_name = "N")]
    port_base: u16,
    /// Account to make, with its domain: you@example.test:password (repeatable)
    #[arg(long = "account", value_name = "ADDRESS:PASSWORD")]
    accounts: Vec<String>,
    /// Setting of mox.toml to override: smtp.verify=false (repeatable)
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// Write what was printed as JSON here once everything listens
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    /// Log level of the services: error, warn, info, debug, trace
    #[arg(long, default_value = "info", value_name = "LEVEL")]
    log: String,
    /// Folder with the unit files
    #[arg(long, env = "MOX_UNITS", value_name = "DIR", default_value = "/usr/lib/systemd/system")]
    units: PathBuf,
    /// Folder with the services [default: that of this program, or /usr/lib/mox]
    #[arg(long, env = "MOX_LIBEXEC", value_name = "DIR")]
    libexec: Option<PathBuf>,
}

/// Runs until Ctrl-C.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let dir = data_dir(args.dir.as_deref())?;
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let dir = dir.canonicalize()?;
    let _lock = lock(&dir)?;
    let run = runtime_dir(&dir)?;
    let place = Place {
        libexec: libexec(args.libexec.as_deref())?,
        port_base: args.port_base,
        bus: format!("unix:path={}", run.join("bus").display()),
        log: args.log.clone(),
        dir: dir.clone(),
        run: run.clone(),
    };
    let accounts = setup::accounts(&args.accounts)?;
    setup::configure(&dir, &accounts, &args.settings)?;
    let units = units::load(&args.units)?;
    let names: Vec<String> = units.keys().cloned().collect();
    // Before anything is started: a Ctrl-C from here on stops in order.
    let (mut int, mut term) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let supervisor = Supervisor::start(&place, units)?;
    let mut bus = bus::Bus::start(&place, &names, supervisor.starters())?;
    let serving = async {
        setup::accounts_ready(&dir, &run, &accounts).await?;
        let ca = dir.join("ca.pem");
        setup::write_authority(&run, &ca).await?;
        let ready = ready(&place, &supervisor, &accounts, &ca)?;
        print_table(&ready, &accounts);
        if let Some(file) = &args.ready_file {
            write_whole(file, &serde_json::to_vec_pretty(&ready)?)?;
        }
        tokio::select! {
            _ = int.recv() => {}
            _ = term.recv() => {}
            ended = bus.ended() => bail!("dbus-daemon ended: {ended}"),
        }
        Ok(())
    };
    let outcome = serving.await;
    if let Some(file) = &args.ready_file {
        let _ = std::fs::remove_file(file);
    }
    supervisor.stop().await;
    bus.stop().await;
    let _ = std::fs::remove_dir_all(&run);
    outcome
}

fn data_dir(asked: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(dir) = asked {
        return Ok(dir.to_owned());
    }
    if let Some(data) = std::env::var_os("XDG_DATA_HOME").filter(|v| !v.is_empty()) {
        return Ok(PathBuf::from(data).join("mox"));
    }
    let home = std::env::var_os("HOME").context("neither XDG_DATA_HOME nor HOME is set: give --dir")?;
    Ok(PathBuf::from(home).join(".local/share/mox"))
}

/// Two instances in one folder would fight over the mail.
fn lock(dir: &Path) -> anyhow::Result<std::fs::File> {
    let file = std::fs::File::create(dir.join("lock"))?;
    if rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err() {
        bail!("another instance runs in {}", dir.display());
    }
    Ok(file)
}

/// Socket paths are limited to 108 octets: a deep folder gets its sockets elsewhere.
fn runtime_dir(dir: &Path) -> anyhow::Result<PathBuf> {
    use std::os::unix::fs::DirBuilderExt;
    let mut run = dir.join("run");
    if run.as_os_str().len() > 70 {
        let base = std::env::var_os("XDG_RUNTIME_DIR").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
        run = base.join(format!("mox-{}", std::process::id()));
    }
    let _ = std::fs::remove_dir_all(&run);
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(&run)
        .with_context(|| format!("cannot make {}", run.display()))?;
    Ok(run)
}

fn libexec(asked: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(folder) = asked {
        return Ok(folder.to_owned());
    }
    let here = std::env::current_exe()?;
    let beside = here.parent().context("this program has no folder")?;
    Ok(if beside.join("mox-store").exists() { beside.to_owned() } else { PathBuf::from("/usr/lib/mox") })
}

/// Whole or not at all: whoever waits for the file reads it as soon as it is there.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    std::fs::write(&new, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    std::fs::rename(&new, path)?;
    Ok(())
}

fn ready(
    place: &Place,
    supervisor: &Supervisor,
    accounts: &[setup::Account],
    ca: &Path,
) -> anyhow::Result<Value> {
    let mut all = Map::new();
    for (key, socket, tls) in [
        ("smtp", "smtp", "starttls"),
        ("submission", "submission", "starttls"),
        ("submissions", "submissions", "tls"),
        ("imap", "imap", "starttls"),
        ("imaps", "imaps", "tls"),
    ] {
        let address =
            supervisor.port(socket).with_context(|| format!("no unit has a socket named {socket}"))?;
        all.insert(
            key.into(),
            json!({ "host": address.ip().to_string(), "port": address.port(), "tls": tls }),
        );
    }
    all.insert("ca".into(), json!(ca));
    let accounts: Vec<Value> =
        accounts.iter().map(|a| json!({ "login": a.address.to_string(), "password": a.password })).collect();
    all.insert("accounts".into(), accounts.into());
    all.insert("bus".into(), json!(place.bus));
    all.insert("dir".into(), json!(place.dir));
    all.insert("run".into(), json!(place.run));
    Ok(Value::Object(all))
}

#[expect(clippy::print_stdout, reason = "this is what the person came for")]
fn print_table(ready: &Value, accounts: &[setup::Account]) {
    let address =
        |key: &str| format!("{}:{}", ready[key]["host"].as_str().unwrap_or_default(), ready[key]["port"]);
    println!();
    println!("  SMTP         {:<18} STARTTLS", address("smtp"));
    println!("  Submission   {:<18} STARTTLS    {:<18} TLS", address("submission"), address("submissions"));
    println!("  IMAP         {:<18} STARTTLS    {:<18} TLS", address("imap"), address("imaps"));
    for account in accounts {
        println!("  Account      {:<18} password {}", account.address, account.password);
    }
    println!("  Authority    {}", ready["ca"].as_str().unwrap_or_default());
    println!("  Bus          {}", ready["bus"].as_str().unwrap_or_default());
    println!("  Data         {}", ready["dir"].as_str().unwrap_or_default());
    if let Some(first) = accounts.first() {
        let (login, password, ca) =
            (&first.address, &first.password, ready["ca"].as_str().unwrap_or_default());
        println!("\n  Send a message, then read it:\n");
        println!(
            "  swaks --server {} --to {login} --from {login} --header 'Subject: hello'",
            address("smtp")
        );
        println!(
            "  curl --cacert {ca} --user '{login}:{password}' 'imaps://localhost:{}/INBOX;MAILINDEX=1'\n",
            ready["imaps"]["port"]
        );
    }
}
