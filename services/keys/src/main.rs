//! `mox-keys`: see the library.

use libmox_service::{bus::Offer, run};
use std::process::ExitCode;

fn main() -> ExitCode {
    run("mox-keys", Offer::named("org.libmox.Keys1"), |config| config.service.idle_exit, mox_keys::serve)
}
