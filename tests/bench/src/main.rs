//! Measures a whole local instance: messages stored each second, processor time for each, activation, handshakes, memory.
//!
//! Starts `mox localserve` on a folder of its own, talks to it as clients do and counts over IMAP what it was promised.
//! Beside it runs a bare sink (append, `fdatasync`, answer) on the same disk, so that ratios come from one run.
//! Does not know: the services' insides. Fails when a message that was answered with 250 is not there.

mod activation;
mod dovecot;
mod handshake;
mod imap;
mod instance;
mod letters;
mod load;
mod processes;
mod report;
mod sink;
mod verified;
mod zone;

use anyhow::{Context as _, ensure};
use instance::{Instance, Programs};
use report::Figures;
use std::path::PathBuf;

/// What is measured, and how much of it.
#[derive(Debug, clap::Parser)]
#[command(name = "mox-bench")]
struct Args {
    /// The program `mox`
    #[arg(long, value_name = "FILE")]
    mox: PathBuf,
    /// Folder with the services [default: that of `mox`]
    #[arg(long, value_name = "DIR")]
    libexec: Option<PathBuf>,
    /// Folder with the unit files
    #[arg(long, value_name = "DIR")]
    units: PathBuf,
    /// Folder to work in; its disk is what is measured [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Added to each port
    #[arg(long, default_value_t = 21_000, value_name = "N")]
    port_base: u16,
    /// SMTP connections at once
    #[arg(long, default_value_t = 10, value_name = "N")]
    connections: usize,
    /// Messages that are counted
    #[arg(long, default_value_t = 20_000, value_name = "N")]
    messages: usize,
    /// Octets of a message
    #[arg(long, default_value_t = 4096, value_name = "N")]
    size: usize,
    /// TLS handshakes of each kind
    #[arg(long, default_value_t = 200, value_name = "N")]
    handshakes: usize,
    /// Starts of a service that does not run
    #[arg(long, default_value_t = 20, value_name = "N")]
    activations: usize,
    /// Log level of the services
    #[arg(long, default_value = "info", value_name = "LEVEL")]
    log: String,
    /// Where the figures go as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measure the load only
    #[arg(long)]
    load_only: bool,
    /// Measure IMAP only, on so many messages, beside Dovecot where it is installed
    #[arg(long, value_name = "N")]
    imap: Option<usize>,
    /// Measure the load with verification and junk filter, for an account without history and for one with it
    #[arg(long)]
    verified: bool,
    /// Messages of that history
    #[arg(long, default_value_t = 100_000, value_name = "N")]
    history: usize,
    /// Idle connections for the memory of one
    #[arg(long, default_value_t = 1000, value_name = "N")]
    idle: usize,
    /// Fail when a target is missed
    #[arg(long)]
    strict: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = <Args as clap::Parser>::parse();
    let temporary = match &args.dir {
        Some(dir) => {
            std::fs::create_dir_all(dir)?;
            tempfile::tempdir_in(dir)?
        }
        None => tempfile::tempdir()?,
    };
    let libexec = args.libexec.clone().or_else(|| args.mox.parent().map(PathBuf::from)).unwrap_or_default();
    let programs = Programs {
        mox: args.mox.clone(),
        libexec,
        units: args.units.clone(),
        dir: temporary.path().join("mox"),
        port_base: args.port_base,
        log: args.log.clone(),
    };
    if let Some(messages) = args.imap {
        return imap_beside(&args, &programs, temporary.path(), messages).await;
    }
    if args.verified {
        let missed = verified::run(&args, &programs, temporary.path()).await?;
        ensure!(!(args.strict && missed > 0), "{missed} targets missed");
        return Ok(());
    }
    let mut figures = Figures { machine: report::machine(), ..Figures::default() };

    let instance = Instance::start(&programs, &["smtp.verify=false"]).await?;
    figures.first_start = Some(instance.started_in);
    let mail = load::Mail::new("sender@example.org", vec![load::message(args.size)]);
    let warm = args.messages / 20;
    load::run(&instance, args.connections, warm, &mail).await.context("warming up")?;
    let before = instance.processes()?;
    let load = load::run(&instance, args.connections, args.messages, &mail).await?;
    let after = instance.processes()?;
    figures.processor = processes::used(&before, &after);
    figures.load = Some(load);
    let visible = load::visible(&instance).await?;
    figures.visible = Some((warm + args.messages, visible));
    figures.processes = instance.processes()?;
    figures.sink = Some(sink::run(temporary.path(), args.connections, args.messages, mail.size())?);
    if !args.load_only {
        figures.handshake = Some(handshake::run(&instance, args.handshakes).await?);
    }
    instance.stop().await?;

    if !args.load_only {
        let instance = Instance::start(&programs, &["smtp.verify=false", "service.idle-exit=200ms"]).await?;
        figures.second_start = Some(instance.started_in);
        for service in [activation::SMTP, activation::IMAP] {
            let took = activation::run(&instance, &service, args.activations).await?;
            figures.activation.push((service.program, took));
        }
        instance.stop().await?;
    }

    let missed = figures.print();
    if let Some(json) = &args.json {
        std::fs::write(json, serde_json::to_vec_pretty(&figures.json())?)
            .with_context(|| format!("cannot write {}", json.display()))?;
    }
    ensure!(
        visible == warm + args.messages,
        "{} messages were promised, {visible} are there",
        warm + args.messages
    );
    ensure!(!(args.strict && missed > 0), "{missed} targets missed");
    Ok(())
}

/// The same messages and commands on both servers.
async fn imap_beside(
    args: &Args,
    programs: &Programs,
    dir: &std::path::Path,
    messages: usize,
) -> anyhow::Result<()> {
    let (size, idle) = (args.size, args.idle);
    let instance =
        Instance::start(programs, &["smtp.verify=false", "imap.allow-plaintext-login=true"]).await?;
    let server = imap::Server::of(&instance)?;
    let ours = tokio::task::spawn_blocking(move || imap::run(&server, messages, size, idle)).await??;
    instance.stop().await?;
    let theirs = if dovecot::is_there() {
        let dovecot = dovecot::start(dir, args.port_base + 900)?;
        let server = dovecot.server.clone();
        let figures = tokio::task::spawn_blocking(move || imap::run(&server, messages, size, idle)).await?;
        Some(figures.with_context(|| format!("dovecot says:\n{}", dovecot.log()))?)
    } else {
        None
    };
    for (what, value) in report::machine() {
        #[expect(clippy::print_stdout, reason = "this is what the person came for")]
        {
            println!("{what:<12} {value}");
        }
    }
    imap::print(&ours, theirs.as_deref());
    if let Some(json) = &args.json {
        let figures = imap::json(&ours, theirs.as_deref());
        std::fs::write(json, serde_json::to_vec_pretty(&figures)?)
            .with_context(|| format!("cannot write {}", json.display()))?;
    }
    Ok(())
}
