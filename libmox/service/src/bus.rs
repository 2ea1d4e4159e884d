//! The control plane: a name on the bus, `org.libmox.Service1` on every service, and who may call what.
//!
//! Mail never waits for the bus: connecting is tried in the background for as long as the service lives.

use crate::run::Context;
use std::collections::HashMap;
use std::pin::Pin;
use std::time::Duration;
use zbus::message::Header;

use zbus::{Connection, ObjectServer, Variant, fdo};

/// Path of every object of ours.
pub const PATH: &str = "/org/libmox";
/// Until a bus that is away is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// Until a bus that does not answer a goodbye is left without one.
const GOODBYE: Duration = Duration::from_secs(2);

/// Adds a service's own interfaces to its object server.
pub type AddInterfaces =
    Box<dyn Fn(&ObjectServer) -> Pin<Box<dyn Future<Output = zbus::Result<()>> + Send + '_>> + Send + Sync>;

/// What a service offers on the bus.
pub struct Offer {
    /// `org.libmox.Smtp1`
    pub name: &'static str,
    /// Interfaces besides `Service1`.
    pub interfaces: Option<AddInterfaces>,
}

impl std::fmt::Debug for Offer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Offer({})", self.name)
    }
}

impl Offer {
    /// Only `Service1`.
    #[must_use]
    pub fn named(name: &'static str) -> Self {
        Self { name, interfaces: None }
    }
}

/// Keeps the service on the bus until it ends.
pub(crate) async fn keep(context: Context, offer: Offer) {
    let mut told = false;
    loop {
        let served = tokio::select! {
            served = serve(&context, &offer) => served,
            () = context.life.stopping() => return,
        };
        match served {
            Ok(connection) => {
                told = false;
                let mut stream = zbus::MessageStream::from(&connection);
                tokio::select! {
                    () = context.life.stopping() => {
                        drop(stream);
                        return leave(connection, offer.name).await;
                    }
                    // Ends when the bus goes away.
                    () = listen(&mut stream, &context) => {}
                }
                tracing::warn!("bus connection lost");
            }
            Err(error) if !told => {
                told = true;
                tracing::info!(%error, "no bus; mail goes on, control waits");
            }
            Err(error) => tracing::debug!(%error, "still no bus"),
        }
        tokio::select! {
            () = context.life.stopping() => return,
            () = tokio::time::sleep(RETRY) => {}
        }
    }
}

/// A call is a sign of life: who is asked is not idle.
async fn listen(stream: &mut zbus::MessageStream, context: &Context) {
    loop {
        let next = std::future::poll_fn(|cx| futures_core::Stream::poll_next(Pin::new(stream), cx));
        match next.await {
            Some(Ok(message)) => {
                if message.message_type() == zbus::message::Type::MethodCall {
                    drop(context.life.busy());
                }
            }
            Some(Err(_)) | None => return,
        }
    }
}

/// Goes without leaving a call unanswered: without the name new calls wait for the next process, and a call to ourselves
/// comes back after all that came before.
async fn leave(connection: Connection, name: &str) {
    let goodbye = async {
        connection.release_name(name).await?;
        let me = connection.unique_name().cloned();
        connection.call_method(me, PATH, Some("org.freedesktop.DBus.Peer"), "Ping", &()).await
    };
    if let Ok(Err(error)) = tokio::time::timeout(GOODBYE, goodbye).await {
        tracing::debug!(%error, "leaving the bus");
    }
    // Waits for the answers at hand.
    connection.graceful_shutdown().await;
}

async fn serve(context: &Context, offer: &Offer) -> zbus::Result<Connection> {
    let service = Service { context: context.clone(), started: crate::clock::now().0 };
    // The builder waits until calls are listened to. Added later, an interface can miss the very call for which the bus
    // started this process: it comes with the name.
    let connection = zbus::connection::Builder::system().serve_at(PATH, service).build().await?;
    if let Some(add) = &offer.interfaces {
        add(connection.object_server()).await?;
    }
    connection.request_name(offer.name).await?;
    Ok(connection)
}

struct Service {
    context: Context,
    started: i64,
}

#[zbus::interface(name = "org.libmox.Service1")]
impl Service {
    /// Reads `mox.toml` again.
    async fn reload(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<()> {
        authorize(connection, &header, actions::MANAGE_SERVICES).await?;
        self.context.reload().map_err(|mistakes| fdo::Error::InvalidArgs(mistakes.to_string()))
    }

    /// Stops; the next connection starts the service again.
    async fn stop(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<()> {
        authorize(connection, &header, actions::MANAGE_SERVICES).await?;
        self.context.life.stop();
        Ok(())
    }

    /// Another log level until the service ends.
    async fn set_log_level(
        &self,
        level: &str,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<()> {
        authorize(connection, &header, actions::MANAGE_SERVICES).await?;
        self.context.journal.set_level(level).map_err(|error| fdo::Error::InvalidArgs(error.to_string()))
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn name(&self) -> &str {
        self.context.name
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> &str {
        env!("CARGO_PKG_VERSION")
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn state(&self) -> &str {
        self.context.life.state()
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn started(&self) -> i64 {
        self.started
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn connections(&self) -> u32 {
        u32::try_from(self.context.life.at_hand()).unwrap_or(u32::MAX)
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn log_level(&self) -> String {
        self.context.journal.level()
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn metrics(&self) -> HashMap<String, u64> {
        crate::dns::counters().into_iter().chain(crate::metrics::all()).collect()
    }
}

/// polkit actions.
pub mod actions {
    /// Reload, stop, log level.
    pub const MANAGE_SERVICES: &str = "org.libmox.manage-services";
    /// Lists and states.
    pub const READ_STATUS: &str = "org.libmox.read-status";
    /// Kick, hold, drop.
    pub const MANAGE_QUEUE: &str = "org.libmox.manage-queue";
    /// Accounts, addresses, passwords.
    pub const MANAGE_ACCOUNTS: &str = "org.libmox.manage-accounts";
    /// Backup and repairs.
    pub const MANAGE_DATA: &str = "org.libmox.manage-data";
    /// Somebody else's mail; no other action implies it.
    pub const READ_MAIL: &str = "org.libmox.read-mail";
    /// Domains.
    pub const MANAGE_DOMAINS: &str = "org.libmox.manage-domains";
}

/// Lets root and our own user pass; everybody else must be allowed by polkit.
///
/// Boxed: what is awaited lies in the future of each of the many methods that ask, code and all.
pub fn authorize<'a>(
    connection: &'a Connection,
    header: &'a Header<'a>,
    action: &'a str,
) -> Pin<Box<dyn Future<Output = fdo::Result<()>> + Send + 'a>> {
    Box::pin(ask(connection, header, action))
}

async fn ask(connection: &Connection, header: &Header<'_>, action: &str) -> fdo::Result<()> {
    let sender = header.sender().ok_or_else(|| fdo::Error::AccessDenied("caller is unknown".into()))?;
    // Without a proxy, which would first learn about properties that the bus does not have.
    let bus = "org.freedesktop.DBus";
    let reply = connection
        .call_method(Some(bus), "/org/freedesktop/DBus", Some(bus), "GetConnectionUnixUser", &sender.as_str())
        .await?;
    let uid: u32 = reply.body().deserialize()?;
    if uid == 0 || uid == rustix::process::getuid().as_raw() {
        return Ok(());
    }
    let subject = ("system-bus-name", HashMap::from([("name", Variant::from(sender.as_str()))]));
    // 1: polkit may ask the person for a password.
    let arguments = (subject, action, HashMap::<&str, &str>::new(), 1u32, "");
    let reply = connection
        .call_method(
            Some("org.freedesktop.PolicyKit1"),
            "/org/freedesktop/PolicyKit1/Authority",
            Some("org.freedesktop.PolicyKit1.Authority"),
            "CheckAuthorization",
            &arguments,
        )
        .await
        .map_err(|error| fdo::Error::AccessDenied(format!("polkit cannot be asked: {error}")))?;
    let (allowed, _, _): (bool, bool, HashMap<String, String>) =
        reply.body().deserialize().map_err(|error| fdo::Error::AccessDenied(error.to_string()))?;
    if allowed { Ok(()) } else { Err(fdo::Error::AccessDenied(format!("{action} is not allowed"))) }
}
