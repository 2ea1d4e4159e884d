//! The journal: structured entries under systemd, readable lines elsewhere.
//!
//! Fields of an event are named `mox_...` in the code and `MOX_...` in the journal; `message_id` becomes `MESSAGE_ID`,
//! which the catalog in `units/catalog` explains. Bodies, passwords and SASL lines are never logged, at any level.

use std::io::IsTerminal;
use std::sync::Arc;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, reload};

/// Changes the level of a running service.
#[derive(Clone)]
pub struct Journal {
    filter: Option<Arc<reload::Handle<Targets, Registry>>>,
    level: Arc<std::sync::Mutex<String>>,
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Journal({})", self.level())
    }
}

/// Not a level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a log level: error, warn, info, debug or trace is wanted")]
pub struct LevelFault;

impl Journal {
    /// Starts logging. `MOX_LOG` sets the level, `info` by default.
    #[must_use]
    pub fn start(service: &str) -> Self {
        let level =
            std::env::var("MOX_LOG").ok().filter(|l| filter(l).is_some()).unwrap_or_else(|| "info".into());
        let (filter_layer, handle) = reload::Layer::new(filter(&level).unwrap_or_default());
        let journald = std::env::var_os("JOURNAL_STREAM").and_then(|_| {
            tracing_journald::layer()
                .ok()
                .map(|layer| layer.with_field_prefix(None).with_syslog_identifier(service.to_owned()))
        });
        let lines = journald.is_none().then(|| {
            tracing_subscriber::fmt::layer()
                .with_writer(std::io::stderr)
                .with_ansi(std::io::stderr().is_terminal())
                .with_target(false)
                .with_filter(LevelFilter::TRACE)
        });
        let started = tracing_subscriber::registry().with(filter_layer).with(journald).with(lines).try_init();
        Self {
            filter: started.is_ok().then(|| Arc::new(handle)),
            level: Arc::new(std::sync::Mutex::new(level)),
        }
    }

    /// For tests: changes nothing.
    #[must_use]
    pub fn none() -> Self {
        Self { filter: None, level: Arc::new(std::sync::Mutex::new("info".into())) }
    }

    /// The level in force.
    #[must_use]
    pub fn level(&self) -> String {
        self.level.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Another level: `error`, `warn`, `info`, `debug` or `trace`.
    pub fn set_level(&self, level: &str) -> Result<(), LevelFault> {
        let new = filter(level).ok_or(LevelFault)?;
        if let Some(handle) = &self.filter {
            handle.reload(new).map_err(|_| LevelFault)?;
        }
        level.clone_into(&mut self.level.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        Ok(())
    }
}

/// Ours at the level asked for; libraries no louder than `warn`.
fn filter(level: &str) -> Option<Targets> {
    if !["error", "warn", "info", "debug", "trace"].contains(&level) {
        return None;
    }
    let level: LevelFilter = level.parse().ok()?;
    // A target stands for everything that begins with it.
    Some(
        Targets::new()
            .with_default(level.min(LevelFilter::WARN))
            .with_target("mox_", level)
            .with_target("libmox_", level),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_levels_are_levels() {
        let journal = Journal::none();
        assert_eq!(journal.set_level("loud"), Err(LevelFault));
        assert_eq!(journal.set_level("debug"), Ok(()));
        assert_eq!(journal.level(), "debug");
    }

    #[test]
    fn libraries_are_quieter_than_we() {
        use tracing::Level;
        let debug = filter("debug").unwrap();
        assert!(debug.would_enable("mox_store::engine", &Level::DEBUG));
        assert!(debug.would_enable("libmox_ipc::server", &Level::DEBUG));
        assert!(!debug.would_enable("rustls::server", &Level::INFO));
        assert!(debug.would_enable("rustls::server", &Level::WARN));
        let error = filter("error").unwrap();
        assert!(!error.would_enable("mox_store", &Level::WARN) && !error.would_enable("zbus", &Level::WARN));
    }
}
