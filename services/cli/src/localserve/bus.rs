//! A private `dbus-daemon` for one instance, and starting services when somebody calls their names.

use super::supervisor::Place;
use anyhow::Context as _;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::UnixListener;
use tokio::sync::mpsc;

/// Path of the socket through which the bus starts services, below the runtime folder.
pub const START_SOCKET: &str = "start.sock";

/// The daemon and the task behind [`START_SOCKET`].
pub struct Bus {
    daemon: tokio::process::Child,
    starting: tokio::task::JoinHandle<()>,
}

impl Bus {
    /// Starts it; the address is that of `place`.
    pub fn start(
        place: &Place,
        services: &[String],
        starters: BTreeMap<String, mpsc::Sender<()>>,
    ) -> anyhow::Result<Self> {
        let folder = place.run.join("bus-services");
        std::fs::create_dir_all(&folder)?;
        let program = std::env::current_exe()?;
        for service in services {
            let name = bus_name(service);
            let text = format!(
                "[D-BUS Service]\nName={name}\nExec={} start-service --run {} {service}\n",
                program.display(),
                place.run.display()
            );
            std::fs::write(folder.join(format!("{name}.service")), text)?;
        }
        let mut config = String::from(
            "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN\" \
             \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\">\n<busconfig>\n",
        );
        let _ = write!(
            config,
            "<type>session</type><listen>{}</listen><auth>EXTERNAL</auth><servicedir>{}</servicedir>\
             <policy context=\"default\"><allow send_destination=\"*\" eavesdrop=\"true\"/><allow eavesdrop=\"true\"/>\
             <allow own=\"*\"/></policy>\
             <limit name=\"service_start_timeout\">20000</limit></busconfig>",
            place.bus,
            folder.display()
        );
        let config_file = place.run.join("bus.conf");
        std::fs::write(&config_file, config)?;
        let listener = UnixListener::bind(place.run.join(START_SOCKET))?;
        let daemon = tokio::process::Command::new("dbus-daemon")
            .arg("--nofork")
            .arg("--nopidfile")
            .arg("--nosyslog")
            .arg(format!("--config-file={}", config_file.display()))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .process_group(0)
            .spawn()
            .context("dbus-daemon cannot be started: is the package dbus installed?")?;
        let starting = libmox_service::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut line = String::new();
                if BufReader::new(stream).read_line(&mut line).await.is_ok()
                    && let Some(start) = starters.get(line.trim())
                {
                    // Full means that it is being started already.
                    let _ = start.try_send(());
                }
            }
        });
        Ok(Self { daemon, starting })
    }

    /// Waits until the daemon ends by itself.
    pub async fn ended(&mut self) -> String {
        self.daemon.wait().await.map_or_else(|error| error.to_string(), |status| status.to_string())
    }

    /// Ends it.
    pub async fn stop(mut self) {
        self.starting.abort();
        let _ = self.daemon.kill().await;
    }
}

/// `mox-smtp` is `org.libmox.Smtp1`.
pub fn bus_name(service: &str) -> String {
    let word = service.strip_prefix("mox-").unwrap_or(service);
    let mut letters = word.chars();
    let first = letters.next().map(|c| c.to_ascii_uppercase()).unwrap_or_default();
    format!("org.libmox.{first}{}1", letters.as_str())
}

/// What dbus-daemon runs to start a service: passes the wish on and leaves.
pub fn ask_to_start(run: &std::path::Path, service: &str) -> anyhow::Result<()> {
    use std::io::Write;
    let mut stream = std::os::unix::net::UnixStream::connect(run.join(START_SOCKET))?;
    writeln!(stream, "{service}")?;
    Ok(())
}
