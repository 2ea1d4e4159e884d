//! Stand-ins for other processes, for tests that run one service alone. Never a dependency, only a dev-dependency.

pub mod dialog;
mod fake_dns;
mod fake_store;

pub use fake_dns::FakeDns;
pub use fake_store::{FakeStore, Received};
