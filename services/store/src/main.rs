//! The store process.

use libmox_service::bus::Offer;
use libmox_service::run;
use std::process::ExitCode;

fn main() -> ExitCode {
    run(
        "mox-store",
        Offer::named("org.libmox.Store1"),
        |config| config.service.store_idle_exit,
        mox_store::serve,
    )
}
