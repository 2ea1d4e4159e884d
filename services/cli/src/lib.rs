//! The commands of `mox`, as a library so that completions and man pages are made from the same definitions.

mod admin;
mod alias;
mod annotation;
mod checks;
mod commands;
mod credentials;
mod localserve;
mod message;
mod operate;
mod own;
mod pages;
mod quickstart;
mod reports;
mod show;

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// Administer and run the mox mail system
#[derive(Debug, Parser)]
#[command(name = "mox", version, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    /// Print JSON instead of text
    #[arg(long, global = true)]
    json: bool,
    /// Address of the bus, as localserve prints it [default: the system bus]
    #[arg(long, global = true, value_name = "ADDRESS", env = "MOX_BUS")]
    bus: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the whole system on loopback, without systemd, for yourself and for tests
    Localserve(localserve::Args),
    /// Set up this server for a domain: configuration, keys, account, listening sockets
    Quickstart(quickstart::Args),
    /// How the system is
    Status,
    /// Test and explain the configuration, list DNS records
    #[command(subcommand)]
    Config(commands::Config),
    /// Accounts
    #[command(subcommand)]
    Account(commands::Account),
    /// Addresses of accounts
    #[command(subcommand)]
    Address(commands::Address),
    /// Lists of addresses of accounts
    #[command(subcommand)]
    Alias(alias::Alias),
    /// Domains
    #[command(subcommand)]
    Domain(commands::Domain),
    /// Set the password of an account, read from standard input or asked for
    Setaccountpassword {
        /// Name of the account, not an address
        account: String,
    },
    /// Your own account, with its password
    #[command(subcommand)]
    Own(own::Own),
    /// Act on the mail of others
    #[command(subcommand)]
    Admin(admin::Admin),
    /// Keys of TLS client certificates that sign in without a password
    #[command(subcommand)]
    Tlspubkey(credentials::TlsPubKey),
    /// Passwords for single programs, limited to what those do
    #[command(subcommand)]
    Apppassword(credentials::AppPassword),
    /// What mail programs of an account read below /shared/ and cannot change (RFC 5464)
    #[command(subcommand)]
    Annotation(annotation::Annotation),
    /// Messages waiting for other servers
    #[command(subcommand)]
    Queue(commands::Queue),
    /// What was decided about a message from another server, and why
    Why {
        /// Message-ID, or id of the connection as the sender was told
        wanted: String,
    },
    /// Reports about mail in our name
    #[command(subcommand)]
    Dmarc(reports::Dmarc),
    /// Reports about TLS to our servers
    #[command(subcommand)]
    Tlsrpt(reports::Tlsrpt),
    /// Check the stored mail of one account, or of all
    Check {
        /// Name of the account
        account: Option<String>,
    },
    /// Copy all stored mail and the configuration to a folder, while mail goes on
    Backup(operate::Backup),
    /// Check a backup, or the data folder of a store that is stopped; changes nothing
    Verifydata {
        /// Folder
        folder: PathBuf,
    },
    /// Put a backup where a stopped store finds it: an empty folder
    Restore {
        /// Folder of the backup
        backup: PathBuf,
        /// Folder of the store: /var/lib/mox
        folder: PathBuf,
    },
    /// Last resort for a stopped store: a new index from the message files alone
    Rebuild {
        /// Folder of the store: /var/lib/mox
        folder: PathBuf,
        /// Flags, mailboxes, passwords and the queue may go
        #[arg(long)]
        yes: bool,
    },
    /// Make a data folder with made-up mail, for tests
    Gentestdata(operate::GenTestData),
    /// Make uidnext, uidvalidity and other counters fit the stored mail
    Fixuidmeta(operate::Repair),
    /// Make the recorded sizes of messages fit their files
    Fixmsgsize(operate::Repair),
    /// Count the messages of mailboxes anew
    Recalculatemailboxcounts(operate::Repair),
    /// Give all mailboxes a new uidvalidity, so that clients fetch everything again
    Bumpuidvalidity(operate::Repair),
    /// Give all messages new uids in the order they were received
    Reassignuids(operate::Repair),
    /// Parse all messages again, after the parser learnt something
    Reparse(operate::Repair),
    /// Parse the messages that were never parsed, or all
    Ensureparsed(operate::EnsureParsed),
    /// Messages in files
    #[command(subcommand)]
    Message(message::Message),
    /// Find the threads of all messages anew
    Reassignthreads(operate::Repair),
    /// Learn the junk filter anew from all messages marked as junk or not junk
    Retrain(operate::Repair),
    /// Services: reload, stop when idle, log level
    #[command(subcommand)]
    Service(commands::Service),
    /// Write shell completion to standard output
    Completion {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Write the man pages into a folder
    #[command(hide = true)]
    Man {
        /// Where to
        folder: PathBuf,
    },
    /// Used by the private bus of localserve
    #[command(hide = true)]
    StartService {
        #[arg(long)]
        run: PathBuf,
        service: String,
    },
}

/// Runs a command; its result is the exit code.
#[must_use]
pub fn run(cli: Cli) -> ExitCode {
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(dispatch(cli)));
    match outcome {
        Ok(code) => code,
        Err(error) => {
            show::error(&error);
            ExitCode::FAILURE
        }
    }
}

async fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    let to = show::To { json: cli.json };
    match cli.command {
        Command::Localserve(args) => {
            let _journal = libmox_service::journal::Journal::start("mox-localserve");
            localserve::run(args).await.map(|()| ExitCode::SUCCESS)
        }
        Command::StartService { run, service } => {
            localserve::ask_to_start(&run, &service).map(|()| ExitCode::SUCCESS)
        }
        Command::Completion { shell } => pages::completion(shell).map(|()| ExitCode::SUCCESS),
        Command::Man { folder } => pages::man(&folder).map(|()| ExitCode::SUCCESS),
        Command::Quickstart(args) => quickstart::run(args, to).await.map(|()| ExitCode::SUCCESS),
        Command::Config(commands::Config::Describe) => {
            to.text(&libmox_service::config::describe());
            Ok(ExitCode::SUCCESS)
        }
        Command::Config(commands::Config::Test) => commands::config_test(to),
        Command::Verifydata { folder } => operate::offline(&["verifydata"], &[&folder], to),
        Command::Message(command) => message::run(&command, to),
        Command::Restore { backup, folder } => operate::offline(&["restore"], &[&backup, &folder], to),
        Command::Rebuild { folder, yes } => operate::rebuild(&folder, yes, to),
        Command::Tlspubkey(credentials::TlsPubKey::Gen { stem }) => {
            credentials::make(&stem, to).map(|()| ExitCode::SUCCESS)
        }
        Command::Gentestdata(asked) => operate::generate(&asked, to),
        other => {
            let bus = commands::Bus::connect(cli.bus.as_deref()).await?;
            commands::on_bus(&bus, other, to).await
        }
    }
}
