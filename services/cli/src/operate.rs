//! Backup and repairs over the bus, and what is done to a folder without a running store.
//!
//! The store can reach no folder but its own, so a backup's folder is opened here and handed on as a descriptor. What
//! needs no running store is done by the program `mox-store` itself, which alone knows how data is kept.

use crate::commands::{Bus, plain};
use crate::show::To;
use anyhow::{Context as _, bail};
use serde_json::json;
use std::fs::{self, File};
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use zbus::Fd;

/// `mox backup`
#[derive(Debug, clap::Args)]
pub struct Backup {
    /// New folder, made if it is missing
    folder: PathBuf,
    /// Earlier backup on the same file system: what is in it already is linked, not copied
    #[arg(long, value_name = "DIR")]
    since: Option<PathBuf>,
}

/// What all repairs take.
#[derive(Debug, clap::Args)]
pub struct Repair {
    /// Name of the account [default: all]
    account: Option<String>,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
}

/// `mox ensureparsed`
#[derive(Debug, clap::Args)]
pub struct EnsureParsed {
    #[command(flatten)]
    pub repair: Repair,
    /// All messages, as reparse does
    #[arg(long)]
    pub all: bool,
}

/// `mox gentestdata`
#[derive(Debug, clap::Args)]
pub struct GenTestData {
    /// New folder
    folder: PathBuf,
    /// Accounts
    #[arg(long, default_value_t = 3)]
    accounts: u32,
    /// Messages in each
    #[arg(long, default_value_t = 300)]
    messages: u32,
}

/// Rows CL-07 and CL-08.
pub async fn backup(bus: &Bus, asked: &Backup, to: To) -> anyhow::Result<()> {
    let folder = &asked.folder;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    if fs::read_dir(folder)?.next().is_some() {
        bail!("{} is not empty", folder.display());
    }
    let into = File::open(folder)?;
    give_to_store(folder)?;
    let since = asked.since.as_ref().map(File::open).transpose();
    let since = since.with_context(|| "cannot open the earlier backup")?;
    let descriptors = std::iter::once(&into).chain(&since).map(|file| Fd::from(file.as_fd())).collect();
    let admin = bus.admin().await?;
    let shown = !to.json && std::io::stderr().is_terminal();
    let copying = admin.backup(descriptors);
    tokio::pin!(copying);
    let done = loop {
        tokio::select! {
            done = &mut copying => break done.map_err(plain)?,
            () = tokio::time::sleep(Duration::from_secs(1)) => {
                // Asking also keeps the service from leaving while it waits for the store.
                if let Ok((done, total)) = admin.backup_progress().await && shown && total > 0 {
                    progress(done, total);
                }
            }
        }
    };
    let config = libmox_service::paths::config();
    let copied = copy_config(&config, &folder.join("config"));
    let (files, linked, octets) = done;
    if to.json {
        let warning = copied.as_ref().err().map(ToString::to_string);
        let done = json!({ "files": files, "linked": linked, "copied_octets": octets, "warning": warning });
        to.text(&done.to_string());
    } else {
        to.text(&format!(
            "{files} messages in {}, {linked} of them linked, {octets} octets copied\ncheck it with: mox verifydata {}",
            folder.display(),
            folder.display()
        ));
        if let Err(error) = copied {
            to.text(&format!("the configuration was not copied: {error:#}"));
        }
    }
    Ok(())
}

#[expect(clippy::print_stderr, reason = "for the person who waits")]
fn progress(done: u64, total: u64) {
    eprint!("\r{done} of {total} messages ");
}

/// Whoever starts this as root gives the folder to the user the store runs as; a private system runs as oneself.
fn give_to_store(folder: &Path) -> anyhow::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    if let Some((uid, gid)) = user(&users, "mox-store") {
        std::os::unix::fs::chown(folder, Some(uid), Some(gid))?;
        fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    }
    Ok(())
}

/// Its numbers in passwd(5).
fn user(users: &str, name: &str) -> Option<(u32, u32)> {
    let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

fn copy_config(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir(to)?;
    for name in ["mox.toml", "domains.toml"] {
        let file = from.join(name);
        if file.exists() {
            fs::copy(&file, to.join(name)).with_context(|| file.display().to_string())?;
        }
    }
    Ok(())
}

/// Rows CL-11 to CL-13.
pub async fn repair(bus: &Bus, what: &str, asked: &Repair, to: To) -> anyhow::Result<()> {
    let account = asked.account.as_deref().unwrap_or_default();
    let lines = bus.admin().await?.repair(account, what, asked.dry_run).await.map_err(plain)?;
    if to.json {
        to.text(&json!({ "repair": what, "dry_run": asked.dry_run, "done": lines }).to_string());
    } else if lines.is_empty() {
        to.text("nothing to do");
    } else {
        let head = if asked.dry_run { "would be changed:" } else { "changed:" };
        to.text(&format!("{head}\n{}", lines.join("\n")));
    }
    Ok(())
}

/// Runs a command of the program that knows how data is kept. Its lines are findings, or what it did.
pub fn offline(arguments: &[&str], folders: &[&Path], to: To) -> anyhow::Result<ExitCode> {
    let program = crate::localserve::libexec(None)?.join("mox-store");
    let mut command = std::process::Command::new(&program);
    let (first, rest) = arguments.split_first().context("no command")?;
    command.arg(first).args(folders).args(rest);
    let output = command.output().with_context(|| format!("cannot run {}", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    match output.status.code() {
        Some(0 | 1) => {}
        _ => bail!("{}", String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
    if to.json {
        to.text(&json!(lines).to_string());
    } else if !lines.is_empty() {
        to.text(&lines.join("\n"));
    } else {
        to.text(if *first == "verifydata" { "everything is in order" } else { "done" });
    }
    Ok(if output.status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Asked first: it throws away what it cannot rebuild.
pub fn rebuild(folder: &Path, sure: bool, to: To) -> anyhow::Result<ExitCode> {
    if !sure {
        bail!(
            "a rebuild from message files alone keeps no flags, mailboxes, passwords and no queue; \
             \"mox restore\" a backup if there is one, else say --yes"
        );
    }
    offline(&["rebuild"], &[folder], to)
}

/// `mox gentestdata`
pub fn generate(asked: &GenTestData, to: To) -> anyhow::Result<ExitCode> {
    let (accounts, messages) = (asked.accounts.to_string(), asked.messages.to_string());
    offline(&["gentestdata", &accounts, &messages], &[&asked.folder], to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_their_whole_name() {
        let users = "root:x:0:0::/root:/bin/sh\nmox-store-old:x:7:7::/:/x\nmox-store:x:991:992::/:/x\n";
        assert_eq!(user(users, "mox-store"), Some((991, 992)));
        assert_eq!(user(users, "mox"), None);
        assert_eq!(user("mox-store:x:one:2::/:/x", "mox-store"), None);
    }
}
