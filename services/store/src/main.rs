//! The store process, and with arguments the commands that work on a folder without it.

use libmox_service::bus::Offer;
use libmox_service::run;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(code) = mox_store::offline::run(&arguments) {
        return code;
    }
    run(
        "mox-store",
        Offer::named("org.libmox.Store1"),
        |config| config.service.store_idle_exit,
        mox_store::serve,
    )
}
