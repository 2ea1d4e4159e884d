//! Starts `mox-imap`.

use libmox_service::bus::Offer;
use std::process::ExitCode;

fn main() -> ExitCode {
    libmox_service::run(
        "mox-imap",
        Offer::named("org.libmox.Imap1"),
        |config| config.service.idle_exit,
        mox_imap::serve,
    )
}
