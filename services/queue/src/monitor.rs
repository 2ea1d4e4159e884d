//! Whether DNS block lists list the addresses of this machine (row MA-23): others would refuse our mail.
//!
//! Looked at as a start of this process finds it due, and while it runs: after 100 connections to other servers, at most
//! every 5 minutes, and after 3 hours in any case; `mox-queue.timer` starts us often enough. What was found is kept in
//! the store's cache, so that a new process knows it, and is shown as `mox_dnsbl_ips_success` (1: not listed).
//!
//! Fails with: nothing; a list that does not work is told in the journal, and is no success.

use crate::{Shared, limits};
use libmox_service::config::Static;
use libmox_service::dns::{Asker, Dns, lists};
use libmox_service::{clock, metrics};
use libmox_store::{CacheGet, CacheKind, CacheSet};
use libmox_types::{Domain, Timestamp};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

/// Connections to other servers since they were last added up.
static CONNECTIONS: AtomicU64 = AtomicU64::new(0);

/// One more.
pub fn connected() {
    CONNECTIONS.fetch_add(1, Ordering::Relaxed);
}

/// What is known, as the cache has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Known {
    /// When it was looked at.
    at: i64,
    /// Connections since.
    connections: u64,
    /// Zone, address, and whether it is fine.
    found: Vec<(Domain, IpAddr, bool)>,
}

impl Known {
    fn write(&self) -> String {
        let mut text = format!("{} {}\n", self.at, self.connections);
        for (zone, ip, fine) in &self.found {
            text.push_str(&format!("{} {ip} {}\n", zone.ascii(), u8::from(*fine)));
        }
        text
    }

    fn read(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let (at, connections) = lines.next()?.split_once(' ')?;
        let one = |line: &str| {
            let mut words = line.split(' ');
            let (zone, ip) = (Domain::parse(words.next()?).ok()?, words.next()?.parse().ok()?);
            Some((zone, ip, words.next()? == "1"))
        };
        Some(Self {
            at: at.parse().ok()?,
            connections: connections.parse().ok()?,
            found: lines.filter_map(one).collect(),
        })
    }

    /// Row MA-23.
    fn is_due(&self, now: Timestamp) -> bool {
        let age = now.0.saturating_sub(self.at);
        age >= limits::MONITOR_AGE
            || (age >= limits::MONITOR_PAUSE && self.connections >= limits::MONITOR_CONNECTIONS)
    }

    fn show(&self) {
        let one = |(zone, ip, fine): &(Domain, IpAddr, bool)| {
            (format!("{NAME}{{zone=\"{}\",ip=\"{ip}\"}}", zone.ascii()), u64::from(*fine))
        };
        metrics::set_all(NAME, self.found.iter().map(one));
    }
}

const NAME: &str = "mox_dnsbl_ips_success";
/// Of the only entry in the cache.
const KEY: &str = "own-addresses";

/// Looks until the service stops.
pub async fn run(shared: &Shared) {
    let mut known = load(shared).await;
    known.show();
    let mut reloads = shared.context.life.reloads();
    loop {
        let config = shared.context.config();
        let zones = zones(&config);
        let more = CONNECTIONS.swap(0, Ordering::Relaxed);
        known.connections = known.connections.saturating_add(more);
        let now = clock::now();
        // A test instance has no address that anybody knows.
        if zones.is_empty() || config.localserve {
            if !known.found.is_empty() {
                known = Known::default();
                known.show();
            }
        } else if known.is_due(now) {
            let _busy = shared.context.life.busy();
            let found = look(&shared.dns, &addresses(&shared.dns, &config).await, &zones, &known).await;
            known = Known { at: now.0, connections: 0, found };
            known.show();
            save(shared, &known).await;
        } else if more > 0 {
            save(shared, &known).await;
        }
        tokio::select! {
            () = shared.context.life.stopping() => break,
            // Other lists, perhaps.
            Ok(()) = reloads.changed() => known.at = 0,
            () = tokio::time::sleep(limits::MONITOR_TICK) => {}
        }
    }
    let more = CONNECTIONS.swap(0, Ordering::Relaxed);
    if more > 0 && known.at > 0 {
        known.connections = known.connections.saturating_add(more);
        save(shared, &known).await;
    }
}

/// Those asked about senders, and others that are only watched.
fn zones(config: &Static) -> Vec<Domain> {
    let mut zones: Vec<Domain> = Vec::new();
    for zone in config.smtp.dns_lists.iter().chain(&config.queue.monitor_dns_lists) {
        if !zones.contains(zone) {
            zones.push(zone.clone());
        }
    }
    zones.truncate(limits::MONITOR_ZONES);
    zones
}

/// Addresses that others see: those of groups of listeners, and those that the name of the host has.
async fn addresses(dns: &Dns, config: &Static) -> Vec<IpAddr> {
    let mut all: Vec<IpAddr> = config.listeners.iter().flat_map(|one| one.addresses.clone()).collect();
    for host in config.hostnames() {
        match dns.addresses(Asker::DnsList, &format!("{}.", host.ascii())).await {
            Ok(answer) => all.extend(answer.addresses()),
            Err(error) => tracing::debug!(%host, %error, "own addresses cannot be looked up"),
        }
    }
    let mut public: Vec<IpAddr> = Vec::new();
    for ip in all.into_iter().map(|ip| ip.to_canonical()).filter(is_public) {
        if !public.contains(&ip) {
            public.push(ip);
        }
    }
    public.truncate(limits::MONITOR_IPS);
    public
}

fn is_public(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !(ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_unspecified()),
        IpAddr::V6(ip) => {
            !(ip.is_loopback() || ip.is_unspecified() || ip.is_unique_local() || ip.is_unicast_link_local())
        }
    }
}

/// Asks each list that works about each address; what is new is told.
async fn look(dns: &Dns, ips: &[IpAddr], zones: &[Domain], before: &Known) -> Vec<(Domain, IpAddr, bool)> {
    let mut found = Vec::new();
    for zone in zones {
        let healthy = !ips.is_empty() && lists::is_healthy(dns, zone).await;
        if !healthy && !ips.is_empty() {
            tracing::warn!(mox_domain = %zone, "block list {zone} fails its test addresses, nothing is known from it");
        }
        for ip in ips {
            let said = match healthy {
                true => Some(lists::is_listed(dns, *ip, zone).await),
                false => None,
            };
            let fine = matches!(said, Some(Ok((false, _))));
            let was = before.found.iter().find(|(other, of, _)| other == zone && of == ip);
            match said {
                Some(Ok((true, _))) if was.is_none_or(|(.., fine)| *fine) => {
                    let text = lists::text(dns, *ip, zone, limits::MONITOR_TEXT).await;
                    tracing::warn!(mox_domain = %zone, "block list {zone} lists our address {ip}: {text}");
                }
                Some(Err(error)) => {
                    tracing::warn!(mox_domain = %zone, %error, "block list {zone} cannot be asked");
                }
                Some(Ok((false, _))) if was.is_some_and(|(.., fine)| !fine) => {
                    tracing::info!(mox_domain = %zone, "block list {zone} does not list our address {ip} any more");
                }
                _ => {}
            }
            found.push((zone.clone(), *ip, fine));
        }
    }
    found
}

async fn load(shared: &Shared) -> Known {
    let verb = CacheGet { kind: CacheKind::OwnAddresses, name: KEY.into() };
    match shared.store.ask(verb).await {
        Ok(Some(cached)) => std::str::from_utf8(&cached.value).ok().and_then(Known::read).unwrap_or_default(),
        Ok(None) => Known::default(),
        Err(error) => {
            tracing::debug!(%error, "what block lists said is not known");
            Known::default()
        }
    }
}

async fn save(shared: &Shared, known: &Known) {
    let verb = CacheSet {
        kind: CacheKind::OwnAddresses,
        name: KEY.into(),
        value: Some(serde_bytes::ByteBuf::from(known.write().into_bytes())),
        expires: Timestamp(clock::now().0.saturating_add(limits::MONITOR_KEPT)),
    };
    if let Err(error) = shared.store.ask(verb).await {
        tracing::debug!(%error, "what block lists said is not kept");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libmox_testing::FakeDns;

    fn zone(text: &str) -> Domain {
        Domain::parse(text).unwrap()
    }

    /// Row MA-23: every 100 connections, between 5 minutes and 3 hours.
    #[test]
    fn own_addresses_are_looked_up_by_connections_and_time() {
        for (age, connections, due) in [
            (299, 1_000, false),
            (300, 100, true),
            (300, 99, false),
            (3 * 3600 - 1, 99, false),
            (3 * 3600, 0, true),
        ] {
            let known = Known { at: 1_000, connections, found: vec![] };
            assert_eq!(known.is_due(Timestamp(1_000 + age)), due, "{age} {connections}");
        }
        assert!(Known::default().is_due(Timestamp(1_800_000_000)));
        let known = Known {
            at: 5,
            connections: 7,
            found: vec![
                (zone("a.example"), "192.0.2.1".parse().unwrap(), true),
                (zone("b.example"), "2001:db8::1".parse().unwrap(), false),
            ],
        };
        assert_eq!(Known::read(&known.write()), Some(known));
        assert_eq!(Known::read("nothing"), None);
    }

    #[tokio::test]
    async fn lists_are_asked_about_every_address() {
        let (dns, server) = FakeDns::start().await.unwrap();
        for name in ["good.example", "listing.example"] {
            dns.add(&format!("2.0.0.127.{name}"), &["A", "127.0.0.2"]);
        }
        dns.add("1.2.0.192.listing.example", &["A", "127.0.0.3"]);
        dns.add("1.2.0.192.listing.example", &["TXT", "spam seen"]);
        dns.add("mail.example", &["A", "192.0.2.2"]);
        dns.add("mail.example", &["A", "10.0.0.1"]);
        let resolver = Dns::unvalidated(server).unwrap();

        let text = "hostname = \"mail.example\"\nsmtp.dns-lists = [\"good.example\", \"listing.example\"]\n\
                    queue.monitor-dns-lists = [\"broken.example\", \"good.example\"]\n\
                    listeners.public.addresses = [\"192.0.2.1\", \"127.0.0.1\", \"fe80::1\"]\n";
        let config = Static::parse(text).unwrap();
        let zones = zones(&config);
        assert_eq!(zones, [zone("good.example"), zone("listing.example"), zone("broken.example")]);
        let ips = addresses(&resolver, &config).await;
        assert_eq!(ips, ["192.0.2.1", "192.0.2.2"].map(|ip| ip.parse::<IpAddr>().unwrap()));
        let found = look(&resolver, &ips, &zones, &Known::default()).await;
        let got: Vec<(&str, bool)> = found.iter().map(|(zone, _, fine)| (zone.ascii(), *fine)).collect();
        let want = [
            ("good.example", true),
            ("good.example", true),
            ("listing.example", false),
            ("listing.example", true),
            ("broken.example", false),
            ("broken.example", false),
        ];
        assert_eq!(got, want);
        Known { at: 1, connections: 0, found }.show();
        let of =
            |name: &str| metrics::all().into_iter().find(|(have, _)| have == name).map(|(_, value)| value);
        assert_eq!(of("mox_dnsbl_ips_success{zone=\"listing.example\",ip=\"192.0.2.1\"}"), Some(0));
        assert_eq!(of("mox_dnsbl_ips_success{zone=\"good.example\",ip=\"192.0.2.1\"}"), Some(1));
    }
}
