//! `mox admin`: IMAP for an administrator, over what this program was started with (rows CL-15, IM-42).
//!
//! `mox-admin` gives a token to who may read mail, `mox-imap` opens the account for it on one end of a socket pair, and
//! what is left to do here is to carry octets. Trusted with: nothing of its own.

use crate::commands::{Bus, plain};
use clap::Subcommand;
use std::io;
use std::os::fd::AsFd;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use zbus::Fd;

/// `mox admin`
#[derive(Debug, Subcommand)]
pub enum Admin {
    /// Speak IMAP on standard input and output, signed in to an account; also where its login is switched off
    Imapserve {
        /// Address or name of the account
        account: String,
        /// Write to descriptor 0 too, as some programs expect of a tunnel
        #[arg(long)]
        fd0: bool,
    },
}

/// Octets carried at once.
const PIECE: usize = 64 * 1024;

/// Runs until the server ends the session.
pub async fn run(bus: &Bus, command: Admin) -> anyhow::Result<()> {
    let Admin::Imapserve { account, fd0 } = command;
    let (ours, theirs) = UnixStream::pair()?;
    let token = bus.admin().await?.read_mail(&account).await.map_err(plain)?;
    let theirs = theirs.into_std()?;
    bus.imap().await?.serve(&token, Fd::from(theirs.as_fd())).await.map_err(plain)?;
    drop(theirs);
    let (mut from_server, mut to_server) = ours.into_split();
    libmox_service::spawn(async move {
        let mut input = tokio::io::stdin();
        let _ = tokio::io::copy(&mut input, &mut to_server).await;
        let _ = to_server.shutdown().await;
    });
    let mut piece = vec![0; PIECE];
    loop {
        let read = from_server.read(&mut piece).await?;
        if read == 0 {
            break;
        }
        write(&piece[..read], fd0)?;
    }
    // A read of standard input may be waiting still, and nothing ends it.
    std::process::exit(0);
}

fn write(mut octets: &[u8], fd0: bool) -> io::Result<()> {
    use io::Write as _;
    if !fd0 {
        let mut out = io::stdout().lock();
        out.write_all(octets)?;
        return out.flush();
    }
    while !octets.is_empty() {
        let wrote = rustix::io::write(io::stdin(), octets)?;
        octets = &octets[wrote..];
    }
    Ok(())
}
