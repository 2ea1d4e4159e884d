//! `mox`: the command line of the mail system.
//!
//! Everything goes through the bus to `mox-admin` and `mox-queue`, so rights are polkit's; `localserve` is a small
//! supervisor of its own. Trusted with: what the caller may do.

mod localserve;

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// The mail system's command line
#[derive(Debug, Parser)]
#[command(name = "mox", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the whole system on loopback, without systemd, for yourself and for tests
    Localserve(localserve::Args),
    /// Used by the private bus of localserve
    #[command(hide = true)]
    StartService {
        #[arg(long)]
        run: PathBuf,
        service: String,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(dispatch(cli.command)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "errors of a command go to the terminal")]
            {
                eprintln!("mox: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}

async fn dispatch(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Localserve(args) => {
            let _journal = libmox_service::journal::Journal::start("mox-localserve");
            localserve::run(args).await
        }
        Command::StartService { run, service } => localserve::ask_to_start(&run, &service),
    }
}
