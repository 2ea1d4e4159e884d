//! Starts `mox-imap`.

use std::process::ExitCode;

fn main() -> ExitCode {
    libmox_service::run("mox-imap", mox_imap::offer(), |config| config.service.idle_exit, mox_imap::serve)
}
