//! The doors of a service to the world: sockets from systemd, configuration, clock, DNS, TLS, journal, bus, life cycle.
//!
//! A `main.rs` is [`run()`] with the name of the service and its `serve` function. Nothing here knows about mail.
//!
//! Does not know: any protocol, the store.
//! Fails with: `anyhow` towards `main`, typed faults elsewhere.

pub mod bus;
pub mod clock;
pub mod config;
pub mod dns;
pub mod handoff;
pub mod journal;
pub mod life;
pub mod limiter;
pub mod metrics;
pub mod net;
pub mod password;
pub mod paths;
pub mod sockets;
pub mod tls;
pub mod wire;

mod run;

pub use libmox_ipc::{boxed, spawn};
pub use run::{Context, Work, run};
