//! `mox-submission`: see the library.

use libmox_service::{bus::Offer, run};
use std::process::ExitCode;

fn main() -> ExitCode {
    let offer = Offer::named("org.libmox.Submission1");
    run("mox-submission", offer, |config| config.service.idle_exit, mox_submission::serve)
}
