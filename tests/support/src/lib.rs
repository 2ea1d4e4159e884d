//! What flow tests stand on: the whole system as a person starts it (`mox localserve`), and small blocking SMTP and IMAP
//! clients that speak to it over real sockets.
//!
//! Does not know: any crate of the system; it sees only what a user sees.
//! Fails with: `io::Error` from the clients; starting an instance that does not start panics with its log.

mod imap;
mod instance;
mod line;
mod smtp;

pub use imap::{Answer, Imap};
pub use instance::{Instance, Spec, binaries, repository};
pub use line::{Line, Tls};
pub use smtp::{Reply, Smtp};

use std::time::{Duration, Instant};

/// Looks again and again until there is something, but not longer than `limit`.
#[track_caller]
pub fn wait_for<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < limit, "waited {limit:?} for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
