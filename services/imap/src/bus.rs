//! `org.libmox.Imap1`: a session on a socket that an administrator brings. Rows CL-15, IM-42.

use crate::connection::Connection;
use crate::{Shared, Start};
use libmox_service::bus::{Offer, PATH};
use libmox_store::GrantToken;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, OnceLock};
use tokio::net::UnixStream;
use zbus::fdo;

/// Set once the service serves; a call that comes before is told to come again.
static SHARED: OnceLock<Arc<Shared>> = OnceLock::new();

pub(crate) fn serves(shared: &Arc<Shared>) {
    // Tests serve several in one process; there is no bus then.
    let _ = SHARED.set(Arc::clone(shared));
}

/// Its name and interface on the bus.
#[must_use]
pub fn offer() -> Offer {
    Offer {
        name: "org.libmox.Imap1",
        interfaces: Some(Box::new(|server| Box::pin(async move { server.at(PATH, Imap).await.map(drop) }))),
    }
}

struct Imap;

#[zbus::interface(name = "org.libmox.Imap1")]
impl Imap {
    // Nobody is asked of polkit: the token proves that somebody was.
    async fn serve(&self, token: String, socket: zbus::OwnedFd) -> fdo::Result<()> {
        let shared = SHARED.get().ok_or_else(|| fdo::Error::Failed("not ready yet, try again".into()))?;
        let invalid = |error: std::io::Error| fdo::Error::InvalidArgs(format!("not a socket: {error}"));
        let stream = std::os::unix::net::UnixStream::from(std::os::fd::OwnedFd::from(socket));
        stream.set_nonblocking(true).map_err(invalid)?;
        let stream = UnixStream::from_std(stream).map_err(invalid)?;
        let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let mut connection = Connection::new(Arc::clone(shared), stream.into(), here, Start::SignedIn);
        connection.grant(GrantToken(token)).await.map_err(fdo::Error::AccessDenied)?;
        let busy = shared.context.life.busy();
        libmox_service::spawn(async move {
            connection.run().await;
            drop(busy);
        });
        Ok(())
    }
}
