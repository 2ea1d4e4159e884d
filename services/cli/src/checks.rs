//! What `mox quickstart` looks at before it sets up a server: DNS, addresses, ports, reputation.
//!
//! Row CL-05 but for the age of the domain, which only a server of the registry tells over HTTPS; row CL-02 for
//! addresses. Nothing found here stops the setup.
//! [`look`] asks the world, [`judge`] says it in sentences. Fails with: nothing; what cannot be asked is a sentence.

use hickory_resolver::proto::rr::{RData, RecordType};
use libmox_service::config::DnsConfig;
use libmox_service::dns::{Asker, Dns};
use libmox_types::Domain;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Ports the server will listen on.
const PORTS: [u16; 5] = [25, 143, 465, 587, 993];
/// Lists of addresses that others do not take mail from.
const LISTS: [&str; 3] = ["sbl.spamhaus.org", "bl.spamcop.net", "psbl.surriel.com"];
/// A domain whose servers take connections from everywhere.
const FAMILIAR: &str = "gmail.com.";
/// A zone that is signed for as long as anybody remembers.
const SIGNED: &str = "org.";
/// One question or connection.
const WAIT: Duration = Duration::from_secs(10);

/// What was found.
#[derive(Debug, Default)]
pub struct Findings {
    /// The resolver works, and DNSSEC is proven through it.
    pub dnssec: Option<bool>,
    /// Addresses of the host name in DNS.
    pub addresses: Vec<Address>,
    /// Addresses this machine speaks from.
    pub own: Vec<IpAddr>,
    /// Who takes port 25 somewhere else: its name, and whether it answered. None: not tried.
    pub outgoing: Option<(String, bool)>,
    /// Somebody listens there already, not only on loopback.
    pub taken: Vec<u16>,
}

/// One address of the host name.
#[derive(Debug)]
pub struct Address {
    /// Itself.
    pub ip: IpAddr,
    /// Its names by reverse DNS; none where nothing answered.
    pub names: Option<Vec<String>>,
    /// Lists it is on.
    pub listed: Vec<&'static str>,
    /// This machine has it.
    pub here: bool,
}

/// Asks.
pub async fn look(hostname: &Domain, asked: &[IpAddr], skipdial: bool) -> Findings {
    let mut found = Findings { taken: taken(&listening()), own: own(), ..Findings::default() };
    let config = DnsConfig { servers: Vec::new(), trust_anchor: None, timeout: Duration::from_secs(5) };
    let Ok(dns) = Dns::new(&config) else { return found };
    if let Ok(Ok(answer)) = timeout(WAIT, dns.lookup(Asker::Check, SIGNED, RecordType::NS)).await {
        found.dnssec = Some(answer.authentic);
    }
    let mut ips: Vec<IpAddr> = asked.to_vec();
    let name = format!("{}.", hostname.ascii());
    if let Ok(Ok(answer)) = timeout(WAIT, dns.addresses(Asker::Check, &name)).await {
        ips.extend(answer.addresses());
    }
    ips.sort();
    ips.dedup();
    for ip in ips {
        found.addresses.push(address(&dns, ip).await);
    }
    if !skipdial {
        found.outgoing = dial(&dns).await;
    }
    found
}

async fn address(dns: &Dns, ip: IpAddr) -> Address {
    let names = match timeout(WAIT, dns.lookup(Asker::Check, &dns_name(ip, ""), RecordType::PTR)).await {
        Ok(Ok(answer)) => Some(
            answer
                .records
                .iter()
                .filter_map(|data| match data {
                    RData::PTR(name) => Some(name.0.to_ascii().trim_end_matches('.').to_lowercase()),
                    _ => None,
                })
                .collect(),
        ),
        _ => None,
    };
    let mut listed = Vec::new();
    for list in LISTS {
        // RFC 5782 §2.1: an address there means yes; some lists answer strangers with 127.255.255.x.
        if let Ok(Ok(found)) = timeout(WAIT, dns.addresses(Asker::Check, &dns_name(ip, list))).await
            && found.addresses().any(|ip| matches!(ip, IpAddr::V4(ip) if ip.octets()[..3] == [127, 0, 0]))
        {
            listed.push(list);
        }
    }
    Address { ip, names, listed, here: UdpSocket::bind((ip, 0)).is_ok() }
}

/// RFC 1035 §3.5 and RFC 3596 §2.5, or the name below a list (RFC 5782 §2).
fn dns_name(ip: IpAddr, list: &str) -> String {
    let (labels, root): (Vec<String>, &str) = match ip {
        IpAddr::V4(ip) => (ip.octets().iter().rev().map(u8::to_string).collect(), "in-addr.arpa"),
        IpAddr::V6(ip) => {
            let nibbles = ip.octets().into_iter().rev().flat_map(|octet| [octet & 15, octet >> 4]);
            (nibbles.map(|nibble| format!("{nibble:x}")).collect(), "ip6.arpa")
        }
    };
    format!("{}.{}.", labels.join("."), if list.is_empty() { root } else { list })
}

async fn dial(dns: &Dns) -> Option<(String, bool)> {
    let answer = timeout(WAIT, dns.lookup(Asker::Check, FAMILIAR, RecordType::MX)).await.ok()?.ok()?;
    let host = answer.records.iter().find_map(|data| match data {
        RData::MX(mx) => Some(mx.exchange.to_ascii()),
        _ => None,
    })?;
    let answer = timeout(WAIT, dns.addresses(Asker::Check, &host)).await.ok()?.ok()?;
    // A machine without IPv6 still sends mail.
    for ip in answer.addresses() {
        let target = SocketAddr::new(ip, 25);
        if let Ok(Ok(_)) = timeout(WAIT, TcpStream::connect(target)).await {
            return Some((host, true));
        }
    }
    Some((host, false))
}

/// Source addresses towards the rest of the world; nothing is sent for this.
fn own() -> Vec<IpAddr> {
    let towards = [("0.0.0.0:0", "192.0.2.1:9"), ("[::]:0", "[2001:db8::1]:9")];
    let from = |(bind, to): (&str, &str)| {
        let socket = UdpSocket::bind(bind).ok()?;
        socket.connect(to).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    towards.into_iter().filter_map(from).collect()
}

/// Listening sockets of the kernel's table, in its words.
fn listening() -> String {
    ["/proc/net/tcp", "/proc/net/tcp6"].iter().filter_map(|path| std::fs::read_to_string(path).ok()).collect()
}

/// Ports of ours that somebody listens on, but for loopback, where the packages themselves do.
fn taken(table: &str) -> Vec<u16> {
    const LISTEN: &str = "0A";
    let mut ports: Vec<u16> = table
        .lines()
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (ip, port) = words.get(1)?.split_once(':')?;
            let loopback = (ip.len() == 8 && ip.ends_with("7F")) || ip == "00000000000000000000000001000000";
            let port = u16::from_str_radix(port, 16).ok()?;
            (words.get(3) == Some(&LISTEN) && !loopback && PORTS.contains(&port)).then_some(port)
        })
        .collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// In sentences.
#[must_use]
pub fn judge(hostname: &Domain, found: &Findings) -> Vec<String> {
    let mut said = Vec::new();
    match found.dnssec {
        Some(true) => said.push("DNS answers, and DNSSEC is verified".to_owned()),
        Some(false) => said.push(
            "warning: the name servers in /etc/resolv.conf strip DNSSEC; without it others' TLSA records protect \
             no mail: install a resolver such as unbound on this machine"
                .to_owned(),
        ),
        None => said.push("warning: DNS does not answer; without it no mail leaves".to_owned()),
    }
    if found.addresses.is_empty() {
        said.push(format!("warning: {hostname} has no address in DNS yet"));
    }
    let public = found.addresses.iter().map(|address| address.ip).chain(found.own.iter().copied());
    if !public.into_iter().any(is_public) {
        said.push(
            "warning: no public address found here; give it with --ip, for without one sockets on all addresses \
             also meet those that other programs have on loopback"
                .to_owned(),
        );
    }
    for address in &found.addresses {
        let ip = address.ip;
        match &address.names {
            Some(names) if names.iter().any(|name| name == hostname.ascii()) => {
                said.push(format!("{ip} is {hostname}, both ways"));
            }
            Some(names) if !names.is_empty() => said.push(format!(
                "warning: reverse DNS of {ip} says {}, not {hostname}; many refuse mail from it",
                names.join(", ")
            )),
            _ => said.push(format!("warning: {ip} has no reverse DNS; many refuse mail from it")),
        }
        if !address.here {
            said.push(format!("warning: this machine does not have {ip}; ports must be forwarded to it"));
        }
        for list in &address.listed {
            said.push(format!("warning: {ip} is on the list {list}; many refuse mail from it"));
        }
    }
    match &found.outgoing {
        Some((_, true)) => said.push("outgoing connections to port 25 work".to_owned()),
        Some((host, false)) => said.push(format!(
            "warning: no connection to port 25 of {host}; outgoing mail is blocked here, ask your provider"
        )),
        None => {}
    }
    if !found.taken.is_empty() {
        let ports: Vec<String> = found.taken.iter().map(u16::to_string).collect();
        said.push(format!(
            "warning: somebody listens on port {} already; stop that mail server first (ss -ltnp)",
            ports.join(", ")
        ));
    }
    said
}

fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let shared = ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64;
            !(ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_unspecified() || shared)
        }
        // Unique local (RFC 4193) and link local.
        IpAddr::V6(ip) => {
            let first = ip.segments()[0];
            !(ip.is_loopback() || ip.is_unspecified() || first & 0xfe00 == 0xfc00 || first & 0xffc0 == 0xfe80)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn names_for_reverse_lookups_and_lists() {
        assert_eq!(dns_name(ip("192.0.2.1"), ""), "1.2.0.192.in-addr.arpa.");
        assert_eq!(dns_name(ip("192.0.2.1"), "bl.example"), "1.2.0.192.bl.example.");
        let six = dns_name(ip("2001:db8::1"), "");
        assert!(six.starts_with("1.0.0.0.") && six.ends_with(".8.b.d.0.1.0.0.2.ip6.arpa."), "{six}");
    }

    #[test]
    fn who_listens_is_read_from_the_kernel() {
        let table = "  sl  local_address rem_address   st\n\
            0: 00000000:0019 00000000:0000 0A 0\n\
            1: 0100007F:008F 00000000:0000 0A 0\n\
            2: 0202000A:024B 0102000A:9999 01 0\n\
            3: 00000000000000000000000000000000:03E1 0:0 0A 0\n\
            4: 00000000000000000000000001000000:01D1 0:0 0A 0\n\
            5: 00000000:0050 00000000:0000 0A 0\n";
        assert_eq!(taken(table), [25, 993]);
    }

    #[test]
    fn what_was_found_is_said() {
        let hostname = Domain::parse("mail.example.org").unwrap();
        let good = Findings {
            dnssec: Some(true),
            addresses: vec![Address {
                ip: ip("198.51.100.7"),
                names: Some(vec!["mail.example.org".into()]),
                listed: vec![],
                here: true,
            }],
            own: vec![],
            outgoing: Some(("mx.example.".into(), true)),
            taken: vec![],
        };
        let said = judge(&hostname, &good);
        assert!(said.iter().all(|line| !line.starts_with("warning")), "{said:#?}");
        let bad = Findings {
            dnssec: Some(false),
            addresses: vec![
                Address { ip: ip("10.0.0.1"), names: Some(vec![]), listed: vec!["bl.example"], here: false },
                Address {
                    ip: ip("fd00::1"),
                    names: Some(vec!["other.example".into()]),
                    listed: vec![],
                    here: true,
                },
            ],
            own: vec![ip("100.64.0.1")],
            outgoing: Some(("mx.example.".into(), false)),
            taken: vec![25, 143],
        };
        let said = judge(&hostname, &bad).join("\n");
        for part in [
            "strip DNSSEC",
            "no public address",
            "10.0.0.1 has no reverse DNS",
            "does not have 10.0.0.1",
            "list bl.example",
            "reverse DNS of fd00::1 says other.example",
            "no connection to port 25 of mx.example.",
            "port 25, 143 already",
        ] {
            assert!(said.contains(part), "no {part:?} in:\n{said}");
        }
        let nothing = judge(&hostname, &Findings::default()).join("\n");
        assert!(nothing.contains("DNS does not answer") && nothing.contains("has no address"), "{nothing}");
    }
}
