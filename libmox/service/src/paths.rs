//! Where things are. systemd's places, or those of a private instance by environment.

use std::path::PathBuf;

fn place(variable: &str, default: &str) -> PathBuf {
    std::env::var_os(variable).filter(|v| !v.is_empty()).map_or_else(|| PathBuf::from(default), PathBuf::from)
}

/// Sockets: `MOX_RUNTIME_DIR`, else `/run/mox`.
#[must_use]
pub fn runtime() -> PathBuf {
    place("MOX_RUNTIME_DIR", "/run/mox")
}

/// The socket of this name.
#[must_use]
pub fn socket(name: &str) -> PathBuf {
    runtime().join(format!("{name}.sock"))
}

/// Configuration: `MOX_CONFIG_DIR`, else `/etc/mox`.
#[must_use]
pub fn config() -> PathBuf {
    place("MOX_CONFIG_DIR", "/etc/mox")
}

/// State of this service: `STATE_DIRECTORY` as systemd sets it.
#[must_use]
pub fn state(default: &str) -> PathBuf {
    place("STATE_DIRECTORY", default)
}

/// Credentials of this service, if it has any: `CREDENTIALS_DIRECTORY` as systemd sets it.
#[must_use]
pub fn credential(name: &str) -> Option<PathBuf> {
    std::env::var_os("CREDENTIALS_DIRECTORY")
        .map(|dir| PathBuf::from(dir).join(name))
        .filter(|path| path.exists())
}
