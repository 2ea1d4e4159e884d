//! `mox-admin`: see the library.

use libmox_service::run;
use std::process::ExitCode;

fn main() -> ExitCode {
    run("mox-admin", mox_admin::offer(), |config| config.service.idle_exit, mox_admin::serve)
}
