//! `mox quickstart`: from an installed package to a mail server for one domain.
//!
//! Rows CL-01 to CL-05, CL-19, CL-20 as far as they concern what exists. Run by root once; refuses to touch an
//! existing configuration.

use crate::checks;
use crate::commands::Bus;
use crate::show::To;
use anyhow::{Context as _, bail};
use libmox_service::config::{DOMAINS_FILE, NEW_ACCOUNT, STATIC_FILE};
use libmox_service::{password, paths};
use libmox_types::{Address, Domain};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// `mox quickstart`
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Your address: its domain is set up, its local part names the account
    address: String,
    /// Name of this host in DNS [default: mail. before your domain]
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    /// Public address to listen on (repeatable) [default: all addresses]
    #[arg(long = "ip", value_name = "IP")]
    ips: Vec<IpAddr>,
    /// Do not try outgoing connections to port 25
    #[arg(long)]
    skipdial: bool,
    /// Keep mox stopped
    #[arg(long)]
    no_start: bool,
}

/// What was said, beside the configuration; without the password.
const LOG_FILE: &str = "quickstart.log";
/// Where systemd takes changes of an admin from.
const DROPINS: &str = "/etc/systemd/system";

/// Does it.
pub async fn run(args: Args, to: To) -> anyhow::Result<()> {
    let address = Address::parse(&args.address).context("an address like you@example.org is wanted")?;
    let hostname = match &args.hostname {
        Some(name) => Domain::parse(name).context("--hostname")?,
        None => Domain::parse(&format!("mail.{}", address.domain)).context("domain")?,
    };
    if !rustix::process::geteuid().is_root() {
        bail!("quickstart changes /etc and systemd: run it as root");
    }
    let folder = paths::config();
    for file in [STATIC_FILE, DOMAINS_FILE] {
        if std::fs::metadata(folder.join(file)).is_ok_and(|meta| meta.len() > 0) {
            bail!("{} is there already; quickstart is for new servers", folder.join(file).display());
        }
    }
    let account = account_name(&address)?;
    let mut log = Log { lines: Vec::new(), to };
    let found = checks::look(&hostname, &args.ips, args.skipdial).await;
    for line in checks::judge(&hostname, &found) {
        log.say(&line);
    }

    let statics = format!(
        "# Made by mox quickstart. Every key is explained by: mox config describe\n\
         hostname = \"{hostname}\"\npostmaster = \"{account}\"\n\n[store]\n# quota = \"10GiB\"\n"
    );
    write(&folder.join(STATIC_FILE), &statics)?;
    let domains = format!(
        "# Domains and accounts. Changed by mox commands too; comments stay.\n\
         [domains.\"{0}\"]\nlocalpart-catchall-separators = [\"+\"]\n\
         # Reports of others arrive at dmarc-reports and tls-reports.\n\
         [domains.\"{0}\".dmarc]\naccount = \"{account}\"\n[domains.\"{0}\".tlsrpt]\naccount = \"{account}\"\n\n\
         [accounts.{account}]\naddresses = [\"{address}\"]\n{NEW_ACCOUNT}",
        address.domain
    );
    write(&folder.join(DOMAINS_FILE), &domains)?;
    log.say(&format!("wrote {0}/{STATIC_FILE} and {0}/{DOMAINS_FILE}", folder.display()));
    for (unit, text) in listen_dropins(&args.ips) {
        let path = PathBuf::from(DROPINS).join(format!("{unit}.d")).join("listen.conf");
        write(&path, &text)?;
    }
    log.say(&format!(
        "listening: {}",
        if args.ips.is_empty() { "all addresses".into() } else { list(&args.ips) }
    ));
    // What was found is wanted again when mail does not arrive.
    write(&folder.join(LOG_FILE), &format!("{}\n", log.lines.join("\n")))?;
    if args.no_start {
        log.say("not started; later: systemctl daemon-reload && systemctl enable --now mox.target");
        return Ok(());
    }
    systemctl(&["daemon-reload"])?;
    systemctl(&["enable", "--quiet", "mox.target"])?;
    // Sockets that listen on loopback only are bound anew.
    systemctl(&["restart", "mox.target"])?;
    let restart: Vec<String> = LISTENING.iter().map(|(unit, _)| (*unit).to_owned()).collect();
    let mut words = vec!["restart"];
    words.extend(restart.iter().map(String::as_str));
    systemctl(&words)?;

    let bus = Bus::connect(None).await?;
    let admin = bus.admin().await?;
    let password = password::made();
    admin.account_set_password(&account, &password).await.context("password")?;
    // The domain stands in the file already; adding it makes its keys.
    admin.domain_keys(address.domain.unicode()).await.context("DKIM keys")?;
    let records = admin.dns_records(address.domain.unicode()).await.context("DNS records")?;
    if to.json {
        let result = serde_json::json!({
            "account": account, "login": address.to_string(), "password": password,
            "hostname": hostname.to_string(), "records": records, "log": log.lines,
        });
        to.text(&serde_json::to_string_pretty(&result)?);
        return Ok(());
    }
    to.text(&format!(
        "\nAccount {account}, login {address}, password {password}\n\nAdd these records to the zone of {}:\n\n{}\n\n\
         A and AAAA records of {hostname} and reverse DNS of its addresses are yours to add.\n\
         Then send yourself a message, and look: journalctl -f -u 'mox-*'",
        address.domain,
        records.join("\n")
    ));
    Ok(())
}

/// What was found and done, for the terminal or the JSON.
struct Log {
    lines: Vec<String>,
    to: To,
}

impl Log {
    fn say(&mut self, line: &str) {
        if !self.to.json {
            self.to.text(line);
        }
        self.lines.push(line.to_owned());
    }
}

fn list(ips: &[IpAddr]) -> String {
    ips.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The account is named like the local part, as far as an account may be.
fn account_name(address: &Address) -> anyhow::Result<String> {
    let name: String = address
        .local
        .as_str()
        .chars()
        .map(|c| if c.is_alphanumeric() || c == '-' { c } else { '-' })
        .take(40)
        .collect();
    let name = name.trim_matches('-').to_owned();
    if name.is_empty() {
        bail!("{address} gives no account name");
    }
    Ok(name)
}

/// Units with a port of their own.
const LISTENING: [(&str, u16); 5] = [
    ("mox-smtp.socket", 25),
    ("mox-submission.socket", 587),
    ("mox-submissions.socket", 465),
    ("mox-imap.socket", 143),
    ("mox-imaps.socket", 993),
];

/// Drop-ins that replace the loopback addresses of the packages. Row TR-28: explicit addresses where given.
fn listen_dropins(ips: &[IpAddr]) -> Vec<(&'static str, String)> {
    LISTENING
        .iter()
        .map(|(unit, port)| {
            let mut text = String::from(
                "# Made by mox quickstart: the packages listen on loopback only.\n[Socket]\nListenStream=\n",
            );
            let mut all: Vec<SocketAddr> = ips.iter().map(|ip| SocketAddr::new(*ip, *port)).collect();
            if all.is_empty() {
                all = vec![SocketAddr::from(([0, 0, 0, 0], *port)), SocketAddr::from(([0u16; 8], *port))];
            }
            for address in all {
                text.push_str(&format!("ListenStream={address}\n"));
            }
            (*unit, text)
        })
        .collect()
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    if path.starts_with(paths::config()) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o640))?;
        let folder = std::fs::metadata(paths::config())?;
        use std::os::unix::fs::MetadataExt;
        // As tmpfiles.d has it: mox-admin writes, the group mox reads.
        std::os::unix::fs::chown(path, Some(folder.uid()), Some(folder.gid()))?;
    }
    Ok(())
}

fn systemctl(words: &[&str]) -> anyhow::Result<()> {
    let status = std::process::Command::new("systemctl").args(words).status().context("systemctl")?;
    if !status.success() {
        bail!("systemctl {} failed", words.join(" "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropins_replace_the_loopback_addresses() {
        let ips: Vec<IpAddr> = vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
        let all = listen_dropins(&ips);
        assert_eq!(all[0].0, "mox-smtp.socket");
        assert!(
            all[0].1.ends_with("ListenStream=\nListenStream=192.0.2.1:25\nListenStream=[2001:db8::1]:25\n")
        );
        assert!(listen_dropins(&[])[4].1.ends_with("ListenStream=0.0.0.0:993\nListenStream=[::]:993\n"));
    }

    #[test]
    fn account_names_come_from_the_local_part() {
        assert_eq!(account_name(&"jane.doe@example.org".parse().unwrap()).unwrap(), "jane-doe");
        assert!(account_name(&"\"...\"@example.org".parse().unwrap()).is_err());
    }
}
