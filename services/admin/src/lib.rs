//! `mox-admin` changes the configuration and manages accounts, over `org.libmox.Admin1`.
//!
//! It is the only writer of `domains.toml`; comments and order in it stay. Trusts callers as polkit says. Reads no
//! mail, holds no keys. Unit: `mox-admin.service`, started by a call on the bus.
//! If it dies halfway: the file is the old one or the new one; the store follows at its next start or reload.

mod bus;
mod certificate;
mod dns;
mod dnscheck;
mod edit;
mod error;
mod feedback;
mod own;

use libmox_keys::{Keys, KeysRole};
use libmox_service::bus::Offer;
use libmox_service::{Context, paths};
use libmox_store::{Role, Store};
use std::process::ExitCode;
use std::sync::Arc;

pub use error::AdminError;

/// What the interface works with.
pub(crate) struct Admin {
    store: Store,
    keys: Keys,
    /// One change at a time.
    changing: tokio::sync::Mutex<()>,
}

/// Its name and interfaces on the bus.
#[must_use]
pub fn offer() -> Offer {
    let admin = Arc::new(Admin {
        store: Store::new(&paths::socket(Role::Admin.socket()), "mox-admin"),
        keys: Keys::new(&paths::socket(KeysRole::Admin.socket()), "mox-admin"),
        changing: tokio::sync::Mutex::new(()),
    });
    Offer {
        name: "org.libmox.Admin1",
        interfaces: Some(Box::new(move |server| {
            let admin = bus::AdminInterface(Arc::clone(&admin));
            Box::pin(async move { server.at(libmox_service::bus::PATH, admin).await.map(|_| ()) })
        })),
    }
}

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    libmox_service::run(
        "mox-admin",
        offer(),
        |config| config.service.idle_exit,
        |context| Box::pin(serve(context)),
    )
}

/// Everything happens on the bus.
async fn serve(context: Context) -> anyhow::Result<()> {
    context.ready();
    context.life.stopping().await;
    Ok(())
}
