//! A name server on loopback with a signed root of its own: Knot, and ldns to sign, as the tests of the system have it.

use anyhow::{Context as _, ensure};
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A server that does not answer after this has failed.
const START_WAIT: Duration = Duration::from_secs(10);

/// Serves until dropped.
#[derive(Debug)]
pub struct Zone {
    child: Child,
    pub address: SocketAddr,
    /// DNSKEY of its root.
    pub anchor: PathBuf,
}

impl Zone {
    /// Signs the records and serves them.
    pub fn serve(folder: &Path, records: &[String], port: u16) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let key = run(folder, "ldns-keygen", &["-a", "ECDSAP256SHA256", "-k", "."])?;
        let mut zone = ". 3600 SOA ns.test. admin.test. 1 3600 3600 3600 3600\n. 3600 NS ns.test.\n\
            ns.test. 3600 A 127.0.0.1\n"
            .to_owned();
        records.iter().for_each(|record| zone.extend([record, "\n"]));
        std::fs::write(folder.join("root.zone"), zone)?;
        run(folder, "ldns-signzone", &["-n", "-o", ".", "root.zone", &key])?;
        let here = folder.display();
        let config = format!(
            "server:\n  listen: 127.0.0.1@{port}\n  rundir: {here}\ndatabase:\n  storage: {here}\n\
             template:\n  - id: default\n    storage: {here}\n    zonefile-load: whole\n    journal-content: none\n\
             zone:\n  - domain: .\n    file: root.zone.signed\n"
        );
        std::fs::write(folder.join("knot.conf"), config)?;
        let log = std::fs::File::create(folder.join("knot.log"))?;
        let mut command = Command::new("knotd");
        command.arg("-c").arg(folder.join("knot.conf")).stdin(Stdio::null());
        let child = command.stdout(log.try_clone()?).stderr(log).spawn().context("knotd: install knot")?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let served = Self { child, address, anchor: folder.join(format!("{key}.key")) };
        answers(address).with_context(|| format!("knotd does not answer, see {here}/knot.log"))?;
        Ok(served)
    }
}

impl Drop for Zone {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(folder: &Path, program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program).args(arguments).current_dir(folder).output();
    let output = output.with_context(|| format!("{program}: install ldnsutils"))?;
    ensure!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn answers(address: SocketAddr) -> anyhow::Result<()> {
    // The address of the root: one question, no options.
    const QUESTION: [u8; 17] = [0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1];
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    socket.connect(address)?;
    let begun = Instant::now();
    loop {
        let mut reply = [0; 512];
        if socket.send(&QUESTION).is_ok() && socket.recv(&mut reply).is_ok() {
            return Ok(());
        }
        ensure!(begun.elapsed() < START_WAIT, "no answer");
        std::thread::sleep(Duration::from_millis(20));
    }
}
