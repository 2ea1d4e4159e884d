//! `mox`: the command line of the mail system.
//!
//! Everything goes through the bus to `mox-admin` and `mox-queue`, so rights are polkit's; `localserve` is a small
//! supervisor of its own and `quickstart` is for root on a new server. Trusted with: what the caller may do.

use clap::Parser;
use mox_cli::{Cli, run};
use std::process::ExitCode;

fn main() -> ExitCode {
    run(Cli::parse())
}
