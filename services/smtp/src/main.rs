//! `mox-smtp`: see the library.

use libmox_service::{bus::Offer, run};
use std::process::ExitCode;

fn main() -> ExitCode {
    run("mox-smtp", Offer::named("org.libmox.Smtp1"), |config| config.service.idle_exit, mox_smtp::serve)
}
