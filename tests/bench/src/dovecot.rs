//! Dovecot from the distribution, on a folder of its own: one user, sdbox, durable, in the clear on loopback.

use crate::imap::Server;
use anyhow::{Context as _, bail, ensure};
use std::fs::Permissions;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = "/usr/sbin/dovecot";
const PASSWORD: &str = "bench";
const START_WAIT: Duration = Duration::from_secs(20);

/// Where it works when its user does not get through to the folder of the run, as under root's home.
const ELSEWHERE: &str = "/var/tmp";
/// The user the distribution keeps for mail.
const MAIL: u32 = 8;
/// Lines of its log that tell why it failed.
const LAST_LINES: usize = 20;

/// Runs until it is dropped.
pub struct Dovecot {
    child: Child,
    pub server: Server,
    dir: tempfile::TempDir,
}

impl Dovecot {
    /// What it said last.
    pub fn log(&self) -> String {
        let text = std::fs::read_to_string(self.dir.path().join("dovecot.log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.child.wait();
    }
}

/// Whether it is installed.
pub fn is_there() -> bool {
    Path::new(PROGRAM).exists()
}

/// A folder on the disk that is measured, which others than root get through to.
fn folder(near: &Path) -> anyhow::Result<tempfile::TempDir> {
    let near = near.canonicalize()?;
    let mut open = true;
    for above in near.ancestors() {
        // A temporary folder of the run itself is opened; what lies above it is not ours to open.
        let mode = std::fs::metadata(above)?.permissions().mode();
        open &= above == near || mode & 0o001 != 0;
    }
    let dir = if open {
        std::fs::set_permissions(&near, Permissions::from_mode(0o711))?;
        tempfile::Builder::new().prefix("dovecot").tempdir_in(&near)?
    } else {
        let elsewhere = Path::new(ELSEWHERE);
        let same_disk = std::fs::metadata(elsewhere)?.dev() == std::fs::metadata(&near)?.dev();
        ensure!(same_disk, "{} is closed to dovecot's user, {ELSEWHERE} is another disk", near.display());
        tempfile::Builder::new().prefix("dovecot").tempdir_in(elsewhere)?
    };
    std::fs::set_permissions(dir.path(), Permissions::from_mode(0o711))?;
    Ok(dir)
}

/// Starts it on a port, near a folder. Only root can: it gives each of its processes a user of its own.
pub fn start(near: &Path, port: u16) -> anyhow::Result<Dovecot> {
    let folder = folder(near)?;
    let dir = folder.path();
    let (run, mail) = (dir.join("run"), dir.join("mail"));
    std::fs::create_dir_all(&run)?;
    std::fs::create_dir_all(&mail)?;
    std::os::unix::fs::chown(&mail, Some(MAIL), Some(MAIL)).context("chown to mail; are we root?")?;
    let config = dir.join("dovecot.conf");
    std::fs::write(
        &config,
        format!(
            "base_dir = {run}\nstate_dir = {run}\nlog_path = {dir}/dovecot.log\nprotocols = imap\n\
             listen = 127.0.0.1\nssl = no\ndisable_plaintext_auth = no\nmail_fsync = always\n\
             mail_location = sdbox:{mail}\nmail_uid = {MAIL}\nmail_gid = {MAIL}\nfirst_valid_uid = {MAIL}\nlast_valid_uid = {MAIL}\n\
             mail_max_userip_connections = 5000\n\
             passdb {{\n driver = static\n args = password={PASSWORD}\n}}\n\
             userdb {{\n driver = static\n args = uid={MAIL} gid={MAIL} home={mail}\n}}\n\
             namespace inbox {{\n inbox = yes\n separator = /\n}}\n\
             service imap-login {{\n service_count = 0\n client_limit = 5000\n process_limit = 2\n\
             inet_listener imap {{\n port = {port}\n}}\n inet_listener imaps {{\n port = 0\n}}\n}}\n\
             service imap {{\n process_limit = 5000\n}}\nservice anvil {{\n client_limit = 20000\n}}\n\
             service auth {{\n client_limit = 20000\n}}\ndefault_client_limit = 10000\ndefault_process_limit = 6000\n",
            run = run.display(),
            mail = mail.display(),
            dir = dir.display(),
        ),
    )?;
    let child = Command::new(PROGRAM)
        .arg("-F")
        .arg("-c")
        .arg(&config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(dir.join("dovecot.err"))?)
        .spawn()
        .context("cannot start dovecot")?;
    let address: SocketAddr = ([127, 0, 0, 1], port).into();
    let server = Server {
        name: "dovecot",
        address,
        login: "reader".into(),
        password: PASSWORD.into(),
        pid: child.id(),
        smtp: None,
    };
    let mut this = Dovecot { child, server, dir: folder };
    let begun = Instant::now();
    while TcpStream::connect(address).is_err() {
        if let Some(status) = this.child.try_wait()? {
            let said = std::fs::read_to_string(this.dir.path().join("dovecot.err")).unwrap_or_default();
            bail!("dovecot ended with {status}: {said}");
        }
        if begun.elapsed() > START_WAIT {
            bail!("dovecot is not ready after {START_WAIT:?}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(this)
}
