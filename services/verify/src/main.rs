//! `mox-verify`: see the library.

use libmox_service::{bus::Offer, run};
use std::process::ExitCode;

fn main() -> ExitCode {
    run(
        "mox-verify",
        Offer::named("org.libmox.Verify1"),
        |config| config.service.idle_exit,
        mox_verify::serve,
    )
}
