//! Reads the unit files of the system: the same text that systemd reads is what `mox localserve` starts from.
//!
//! Law: systemd.syntax(7), systemd.socket(5), systemd.service(5), systemd.timer(5), as far as our own units use them.
//! Fails with: [`UnitFault`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why the units cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UnitFault {
    /// A file.
    #[error("{0}: {1}")]
    Read(PathBuf, #[source] std::io::Error),
    /// A line that is no section, key or comment.
    #[error("{0}:{1}: not a unit file line")]
    Syntax(PathBuf, usize),
    /// Something a unit must say.
    #[error("{0}: {1} is missing or cannot be read")]
    Missing(PathBuf, &'static str),
}

/// A service and what starts it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceUnit {
    /// `mox-smtp`
    pub name: String,
    /// File name of the program.
    pub program: String,
    /// `StateDirectory=`
    pub state: Option<String>,
    /// Its sockets.
    pub sockets: Vec<SocketUnit>,
    /// `OnUnitInactiveSec=` of its timer.
    pub every: Option<Duration>,
    /// `RestartSec=`
    pub restart: Duration,
}

/// One socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketUnit {
    /// `FileDescriptorName=`
    pub name: String,
    /// Where.
    pub listen: Listen,
    /// `SocketMode=`
    pub mode: u32,
    /// `Backlog=`
    pub backlog: i32,
}

/// `ListenStream=`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// A port; the address is ours to choose.
    Port(u16),
    /// The file name of a path below `/run/mox`.
    Socket(String),
}

type Unit = Vec<(String, String, String)>;

fn parse(path: &Path) -> Result<Unit, UnitFault> {
    let text = std::fs::read_to_string(path).map_err(|error| UnitFault::Read(path.to_owned(), error))?;
    let (mut unit, mut section) = (Unit::new(), String::new());
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            name.clone_into(&mut section);
        } else if let Some((key, value)) = line.split_once('=') {
            unit.push((section.clone(), key.trim().to_owned(), value.trim().to_owned()));
        } else {
            return Err(UnitFault::Syntax(path.to_owned(), number + 1));
        }
    }
    Ok(unit)
}

fn all<'a>(unit: &'a Unit, section: &str, key: &str) -> impl Iterator<Item = &'a str> {
    unit.iter().filter(move |(s, k, _)| s == section && k == key).map(|(_, _, value)| value.as_str())
}

fn last<'a>(unit: &'a Unit, section: &str, key: &str) -> Option<&'a str> {
    all(unit, section, key).last()
}

/// Spans as our units write them: `15min`, `30s`, `200ms`.
fn span(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let unit = match &text[digits..] {
        "ms" => 1,
        "" | "s" | "sec" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.checked_mul(unit).map(Duration::from_millis)
}

/// All services of the folder with their sockets and timers, by name.
pub fn load(folder: &Path) -> Result<BTreeMap<String, ServiceUnit>, UnitFault> {
    let mut services: BTreeMap<String, ServiceUnit> = BTreeMap::new();
    let list = std::fs::read_dir(folder).map_err(|error| UnitFault::Read(folder.to_owned(), error))?;
    let mut paths: Vec<PathBuf> = list.filter_map(|entry| entry.ok().map(|e| e.path())).collect();
    paths.sort();
    let of_kind = |kind: &'static str| paths.iter().filter(move |path| is_ours(path, kind));
    for path in of_kind("service") {
        let unit = parse(path)?;
        let name = stem(path);
        let program = last(&unit, "Service", "ExecStart")
            .and_then(|command| Path::new(command.split(' ').next()?).file_name()?.to_str())
            .ok_or_else(|| UnitFault::Missing(path.clone(), "ExecStart"))?;
        let service = ServiceUnit {
            name: name.clone(),
            program: program.to_owned(),
            state: last(&unit, "Service", "StateDirectory").map(str::to_owned),
            restart: last(&unit, "Service", "RestartSec")
                .and_then(span)
                .unwrap_or(Duration::from_millis(100)),
            ..ServiceUnit::default()
        };
        services.insert(name, service);
    }
    for path in of_kind("socket") {
        let unit = parse(path)?;
        let name = last(&unit, "Socket", "FileDescriptorName")
            .ok_or_else(|| UnitFault::Missing(path.clone(), "FileDescriptorName"))?;
        let service = last(&unit, "Socket", "Service")
            .and_then(|s| services.get_mut(s.strip_suffix(".service")?))
            .ok_or_else(|| UnitFault::Missing(path.clone(), "Service"))?;
        let mode =
            last(&unit, "Socket", "SocketMode").and_then(|m| u32::from_str_radix(m, 8).ok()).unwrap_or(0o666);
        let backlog = last(&unit, "Socket", "Backlog").and_then(|b| b.parse().ok()).unwrap_or(4096);
        let mut seen = Vec::new();
        for text in all(&unit, "Socket", "ListenStream") {
            let listen = listen(text).ok_or_else(|| UnitFault::Missing(path.clone(), "ListenStream"))?;
            // The two loopback addresses of a port are one here.
            if !seen.contains(&listen) {
                seen.push(listen.clone());
                service.sockets.push(SocketUnit { name: name.to_owned(), listen, mode, backlog });
            }
        }
    }
    for path in of_kind("timer") {
        let unit = parse(path)?;
        let every = last(&unit, "Timer", "OnUnitInactiveSec").and_then(span);
        if let Some(service) = services.get_mut(&stem(path)) {
            service.every = every;
        }
    }
    Ok(services)
}

fn listen(text: &str) -> Option<Listen> {
    if let Some(name) = text.strip_prefix("/run/mox/") {
        return Some(Listen::Socket(name.to_owned()));
    }
    let port = text.rsplit_once(':').map_or(text, |(_, port)| port);
    port.parse().ok().map(Listen::Port)
}

fn stem(path: &Path) -> String {
    path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default()
}

fn is_ours(path: &Path, kind: &str) -> bool {
    path.extension().is_some_and(|e| e == kind) && stem(path).starts_with("mox-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_units_of_the_tree_load() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../units");
        let services = load(&folder).unwrap();
        let smtp = &services["mox-smtp"];
        assert_eq!(smtp.program, "mox-smtp");
        assert_eq!(
            smtp.sockets,
            [SocketUnit { name: "smtp".into(), listen: Listen::Port(25), mode: 0o666, backlog: 4096 }]
        );
        assert_eq!(services["mox-store"].sockets.len(), 5);
        assert_eq!(services["mox-store"].state.as_deref(), Some("mox"));
        assert_eq!(services["mox-queue"].every, Some(Duration::from_secs(900)));
        assert!(services.values().all(|s| s.restart == Duration::from_millis(200)));
    }

    #[test]
    fn a_broken_unit_is_told_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("mox-x.service"), "[Service]\nnonsense\n").unwrap();
        assert!(matches!(load(dir.path()), Err(UnitFault::Syntax(_, 2))));
        std::fs::write(dir.path().join("mox-x.service"), "[Service]\n").unwrap();
        assert!(matches!(load(dir.path()), Err(UnitFault::Missing(_, "ExecStart"))));
    }
}
