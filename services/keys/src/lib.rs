//! `mox-keys` holds every private key of the host and signs with them; no key ever leaves it.
//!
//! Trusts: the socket a peer came in on (its role). Writes: its state folder, nothing else. Unit: `mox-keys.service`.
//! If it dies halfway: handshakes in progress fail and are tried again; a key file is whole or absent.
//!
//! | file below the state folder | what |
//! |---|---|
//! | `tls/host-ecdsa.pem` | P-256 key of this host, made once and kept for life so that TLSA records can name it |
//! | `authority/key.pem`, `authority/certificate.pem` | own authority, where no certificate files are configured |
//! | `dkim/<domain>/<selector>.<algorithm>.<signs or spare>.pem` | DKIM keys, PKCS #8 |

mod dkim;
mod files;
mod tls;

use libmox_ipc::{Answer, Refusal, Service};
use libmox_keys::{KeysContract, KeysFault, KeysRole, Reply, Request};
use libmox_service::bus::Offer;
use libmox_service::config::{Domains, Mistakes, Static};
use libmox_service::sockets::Listener;
use libmox_service::{Context, net, paths};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, PoisonError, RwLock};

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    libmox_service::run(
        "mox-keys",
        Offer::named("org.libmox.Keys1"),
        |config| config.service.idle_exit,
        |context| Box::pin(serve(context)),
    )
}

/// Serves all roles until told to stop.
async fn serve(context: Context) -> anyhow::Result<()> {
    let state = paths::state("/var/lib/mox-keys");
    let config = context.config();
    let domains = read_domains().unwrap_or_else(|mistakes| {
        tracing::error!(mox_reason = %mistakes, "keys sign as usual: {mistakes}");
        Arc::default()
    });
    let keys = Arc::new(KeyService::open(&state, &config, domains)?);
    let mut sockets = context.take_sockets();
    let mut accepting = tokio::task::JoinSet::new();
    for (role, name) in KeysRole::ALL {
        for listener in sockets.listeners(name)? {
            let Listener::Unix(listener) = listener else { anyhow::bail!("{name} must be a unix socket") };
            let (keys, life) = (Arc::clone(&keys), context.life.clone());
            accepting.spawn(libmox_service::boxed(net::accept_unix(listener, life, move |stream, busy| {
                let keys = Arc::clone(&keys);
                async move {
                    if let Err(fault) = libmox_ipc::serve(keys, role, stream, "mox-keys").await {
                        tracing::warn!(mox_reason = %fault, ?role, "connection dropped");
                    }
                    drop(busy);
                }
            })));
        }
    }
    anyhow::ensure!(!accepting.is_empty(), "no sockets: start mox-keys through its socket units");
    context.ready();
    let mut reloads = context.life.reloads();
    loop {
        tokio::select! {
            () = context.life.stopping() => return Ok(()),
            changed = reloads.changed() => {
                if changed.is_ok() {
                    if let Err(error) = keys.reload(&context.config()) {
                        tracing::error!(mox_reason = %error, "certificates kept as they were: {error}");
                    }
                    match read_domains() {
                        Ok(domains) => keys.dkim.configure(domains),
                        Err(error) => {
                            tracing::error!(mox_reason = %error, "keys sign as before: {error}");
                        }
                    }
                }
            }
        }
    }
}

fn read_domains() -> Result<Arc<Domains>, Mistakes> {
    libmox_service::config::load_domains(&paths::config())
}

/// All keys, and what may be done with them.
pub struct KeyService {
    state: std::path::PathBuf,
    hostname: libmox_types::Domain,
    tls: RwLock<Arc<tls::Identity>>,
    dkim: dkim::Keyring,
}

impl std::fmt::Debug for KeyService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyService")
    }
}

/// Why the keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// A file.
    #[error("{path}: {cause}")]
    File {
        /// Which.
        path: String,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// Key or certificate material that cannot be used.
    #[error("{0}")]
    Material(String),
}

impl From<KeysError> for KeysFault {
    fn from(error: KeysError) -> Self {
        tracing::error!(mox_reason = %error, "keys unavailable: {error}");
        Self::Unavailable("see the journal of mox-keys".into())
    }
}

impl KeyService {
    /// Reads all keys; makes those of the host on first start.
    pub fn open(state: &Path, config: &Static, domains: Arc<Domains>) -> Result<Self, KeysError> {
        Ok(Self {
            state: state.to_owned(),
            hostname: config.hostname.clone(),
            tls: RwLock::new(Arc::new(tls::Identity::open(state, config)?)),
            dkim: dkim::Keyring::open(&state.join("dkim"), domains)?,
        })
    }

    fn reload(&self, config: &Static) -> Result<(), KeysError> {
        let fresh = tls::Identity::open(&self.state, config)?;
        *self.tls.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fresh);
        tracing::info!(hostname = %self.hostname, "certificates read");
        Ok(())
    }

    fn identity(&self) -> Arc<tls::Identity> {
        Arc::clone(&self.tls.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn answer(&self, request: Request) -> Result<Reply, KeysFault> {
        Ok(match request {
            Request::Chain(_) => Reply::Chain(self.identity().chain()),
            Request::SignTls(ask) => Reply::SignTls(serde_bytes::ByteBuf::from(self.identity().sign(
                ask.key,
                ask.scheme,
                &ask.message,
            )?)),
            Request::DkimKeys(ask) => Reply::DkimKeys(self.dkim.for_domain(&ask.domain)),
            Request::SignDkim(ask) => Reply::SignDkim(serde_bytes::ByteBuf::from(self.dkim.sign(
                &ask.domain,
                &ask.selector,
                &ask.data,
            )?)),
            Request::DkimGenerate(ask) => Reply::DkimGenerate(self.dkim.generate(
                &ask.domain,
                &ask.selector,
                ask.algorithm,
                ask.signs,
            )?),
            Request::HostKeys(_) => {
                Reply::HostKeys(vec![serde_bytes::ByteBuf::from(self.identity().chain().public_key)])
            }
            Request::Authority(_) => Reply::Authority(self.identity().authority().ok_or(KeysFault::NoKey)?),
            Request::ReloadKeys(_) => {
                let config = libmox_service::config::load_static(&paths::config())
                    .map_err(|mistakes| KeysFault::Invalid(mistakes.to_string()))?;
                let domains = read_domains().map_err(|mistakes| KeysFault::Invalid(mistakes.to_string()))?;
                self.reload(&config)?;
                self.dkim.configure(domains);
                Reply::ReloadKeys(())
            }
        })
    }
}

impl Service for KeyService {
    type Contract = KeysContract;
    type Peer = KeysRole;

    fn may(&self, peer: &KeysRole, request: &Request) -> Result<(), Refusal> {
        if peer.may(request) { Ok(()) } else { Err(Refusal(request.name())) }
    }

    async fn call(
        self: Arc<Self>,
        _: Arc<KeysRole>,
        request: Request,
        _: Vec<OwnedFd>,
        answer: Answer<KeysContract>,
    ) {
        let outcome = if matches!(request, Request::DkimGenerate(_)) {
            // Finding primes takes a while: not on a thread that answers handshakes.
            let keys = Arc::clone(&self);
            tokio::task::spawn_blocking(move || keys.answer(request))
                .await
                .unwrap_or_else(|_| Err(KeysFault::Unavailable("key generation failed".into())))
        } else {
            self.answer(request)
        };
        answer.reply(outcome).await;
    }
}
