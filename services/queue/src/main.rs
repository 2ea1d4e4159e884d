//! `mox-queue`: see the library.

use libmox_service::run;
use std::process::ExitCode;

fn main() -> ExitCode {
    run("mox-queue", mox_queue::offer(), |config| config.service.idle_exit, mox_queue::serve)
}
