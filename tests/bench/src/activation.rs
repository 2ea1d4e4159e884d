//! From connecting to a socket whose service does not run until it greets.

use crate::instance::Instance;
use anyhow::{Context as _, ensure};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A service and how to part from it.
#[derive(Debug, Clone, Copy)]
pub struct Service {
    pub program: &'static str,
    listener: &'static str,
    goodbye: &'static [u8],
}

pub const SMTP: Service = Service { program: "mox-smtp", listener: "smtp", goodbye: b"QUIT\r\n" };
pub const IMAP: Service = Service { program: "mox-imap", listener: "imap", goodbye: b"a LOGOUT\r\n" };

/// An idle service has to be gone after this.
const GONE_WAIT: Duration = Duration::from_secs(10);

/// Sorted times.
pub async fn run(instance: &Instance, service: &Service, times: usize) -> anyhow::Result<Vec<Duration>> {
    let address = instance.address(service.listener)?;
    let mut all = Vec::with_capacity(times);
    for _ in 0..times {
        gone(instance, service).await?;
        let begun = Instant::now();
        let mut stream = TcpStream::connect(address).await?;
        let mut greeting = [0; 512];
        let length = stream.read(&mut greeting).await?;
        ensure!(length > 0, "{} did not greet", service.program);
        all.push(begun.elapsed());
        stream.write_all(service.goodbye).await?;
        while stream.read(&mut greeting).await? > 0 {}
    }
    all.sort_unstable();
    Ok(all)
}

async fn gone(instance: &Instance, service: &Service) -> anyhow::Result<()> {
    let left = async {
        while instance.processes()?.iter().any(|process| process.name == service.program) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // The supervisor waits for its child and listens again.
        tokio::time::sleep(Duration::from_millis(50)).await;
        anyhow::Ok(())
    };
    tokio::time::timeout(GONE_WAIT, left)
        .await
        .with_context(|| format!("{} does not leave", service.program))?
}
