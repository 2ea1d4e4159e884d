//! The control plane's contract: names, wire types and proxies. The explanation of every method stands in
//! `dbus/interfaces/*.xml`, which is the source of truth; a test compares it with what the services show.

pub mod admin1;
pub mod imap1;
pub mod queue1;
pub mod service1;

/// Object path of every interface of ours.
pub const PATH: &str = "/org/libmox";
