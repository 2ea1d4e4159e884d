//! Commands that talk to the services over the bus.

use crate::show::{self, To};
use crate::{Command, annotation, credentials, localserve, operate};
use anyhow::{Context as _, bail};
use clap::Subcommand;
use mox_dbus::admin1::AdminProxy;
use mox_dbus::imap1::ImapProxy;
use mox_dbus::queue1::QueueProxy;
use mox_dbus::service1::ServiceProxy;
use serde_json::json;
use std::io::{BufRead, IsTerminal};
use std::process::ExitCode;

/// `mox config`
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Read both files and report every mistake with its line
    Test,
    /// Explain every key
    Describe,
    /// DNS records a domain should have
    Dnsrecords {
        /// Domain
        domain: String,
    },
    /// Compare the DNS with the records a domain should have; fails if one is not right
    Dnscheck {
        /// Domain
        domain: String,
    },
}

/// `mox account`
#[derive(Debug, Subcommand)]
pub enum Account {
    /// List accounts
    List,
    /// Add an account with its first address
    Add {
        /// Name, a short word
        name: String,
        /// Address
        address: String,
    },
    /// Remove an account AND ALL ITS MAIL
    Rm {
        /// Name
        name: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Let nobody sign in; mail is still delivered
    Disable {
        /// Name
        name: String,
        /// Shown to people who sign in
        message: String,
    },
    /// Let people sign in again
    Enable {
        /// Name
        name: String,
    },
}

/// `mox address`
#[derive(Debug, Subcommand)]
pub enum Address {
    /// Give an account one more address; @domain takes what nobody else does
    Add {
        /// Address
        address: String,
        /// Name of the account
        account: String,
    },
    /// Take an address away
    Rm {
        /// Address
        address: String,
    },
}

/// `mox domain`
#[derive(Debug, Subcommand)]
pub enum Domain {
    /// List domains
    List,
    /// Add a domain with DKIM keys
    Add {
        /// Domain
        domain: String,
        /// Account that gets postmaster of it
        account: Option<String>,
        /// Refuse its mail for now
        #[arg(long)]
        disabled: bool,
    },
    /// Remove a domain; its addresses must be gone
    Rm {
        /// Domain
        domain: String,
    },
    /// Refuse mail for it and from it with a temporary error
    Disable {
        /// Domain
        domain: String,
    },
    /// Take and send its mail again
    Enable {
        /// Domain
        domain: String,
    },
}

/// `mox queue`
#[derive(Debug, Subcommand)]
pub enum Queue {
    /// List waiting messages, one line a recipient
    List,
    /// Try now: the given ones, or all
    Kick {
        /// Ids from the list
        ids: Vec<u64>,
    },
    /// Remove without telling the sender
    Drop {
        /// Ids from the list
        #[arg(required = true)]
        ids: Vec<u64>,
    },
    /// Do not try until released
    Hold {
        /// Ids from the list
        #[arg(required = true)]
        ids: Vec<u64>,
    },
    /// Rules by which messages are held as they are queued
    #[command(subcommand)]
    Holdrules(HoldRules),
    /// Release what is held
    Unhold {
        /// Ids from the list
        #[arg(required = true)]
        ids: Vec<u64>,
    },
}

/// `mox queue holdrules`
#[derive(Debug, Subcommand)]
pub enum HoldRules {
    /// List the rules
    List,
    /// Hold what fits all that is named, from now on and what waits already; with nothing named the queue is paused
    Add {
        /// Account that sends
        #[arg(long)]
        account: Option<String>,
        /// Domain of the sender
        #[arg(long, value_name = "DOMAIN")]
        sender_domain: Option<String>,
        /// Domain of the recipient
        #[arg(long, value_name = "DOMAIN")]
        recipient_domain: Option<String>,
    },
    /// Remove a rule; what is held stays held until it is released
    Rm {
        /// Id from the list
        id: u32,
    },
}

/// `mox service`
#[derive(Debug, Subcommand)]
pub enum Service {
    /// Read mox.toml again
    Reload {
        /// Name: smtp, imap, ...
        service: String,
    },
    /// Stop; the next connection starts it again
    Stop {
        /// Name: smtp, imap, ...
        service: String,
    },
    /// Change the log level until the service ends
    Loglevel {
        /// Name: smtp, imap, ...
        service: String,
        /// error, warn, info, debug or trace
        level: String,
    },
    /// State of a service; starts it if it is not running
    Show {
        /// Name: smtp, imap, ...
        service: String,
    },
}

/// Until a bus that does not answer is given up.
const BUS_WAIT: std::time::Duration = std::time::Duration::from_secs(10);

/// The bus and the proxies on it.
pub struct Bus {
    connection: zbus::Connection,
}

impl Bus {
    /// The system bus, or the one named.
    pub async fn connect(address: Option<&str>) -> anyhow::Result<Self> {
        let builder = match address {
            Some(address) => zbus::connection::Builder::address(address),
            None => zbus::connection::Builder::system(),
        };
        let name = address.unwrap_or("the system bus");
        let connection = tokio::time::timeout(BUS_WAIT, builder.build())
            .await
            .with_context(|| format!("{name} does not answer"))?
            .with_context(|| format!("cannot reach {name}"))?;
        Ok(Self { connection })
    }

    /// `mox-admin`, which is started if it does not run.
    pub async fn admin(&self) -> anyhow::Result<AdminProxy<'_>> {
        Ok(AdminProxy::new(&self.connection).await?)
    }

    /// `mox-imap`.
    pub async fn imap(&self) -> anyhow::Result<ImapProxy<'_>> {
        Ok(ImapProxy::new(&self.connection).await?)
    }

    async fn queue(&self) -> anyhow::Result<QueueProxy<'_>> {
        Ok(QueueProxy::new(&self.connection).await?)
    }

    async fn service(&self, name: &str) -> anyhow::Result<ServiceProxy<'_>> {
        let word = name.strip_prefix("mox-").unwrap_or(name);
        if word.is_empty() || !word.chars().all(|c| c.is_ascii_lowercase()) {
            bail!("{name}: a service is named like smtp or imap");
        }
        let name = localserve::bus_name(word);
        Ok(ServiceProxy::builder(&self.connection).destination(name).build().await?)
    }
}

/// Takes the words of the bus out of an error: people need what the service said.
pub(crate) fn plain(error: zbus::Error) -> anyhow::Error {
    match error {
        zbus::Error::MethodError(name, text, _) => match text {
            Some(text) => anyhow::anyhow!(text),
            None => anyhow::anyhow!(name.to_string()),
        },
        other => other.into(),
    }
}

/// Runs a command that needs the bus.
pub async fn on_bus(bus: &Bus, command: Command, to: To) -> anyhow::Result<ExitCode> {
    match command {
        Command::Status => status(bus, to).await?,
        Command::Config(Config::Dnsrecords { domain }) => {
            let lines = bus.admin().await?.dns_records(&domain).await.map_err(plain)?;
            if to.json { to.text(&json!(lines).to_string()) } else { to.text(&lines.join("\n")) }
        }
        Command::Config(Config::Dnscheck { domain }) => return dns_check(bus, &domain, to).await,
        Command::Account(command) => account(bus, command, to).await?,
        Command::Address(Address::Add { address, account }) => {
            bus.admin().await?.address_add(&address, &account).await.map_err(plain)?;
            to.done(&format!("{address} delivers to {account}"));
        }
        Command::Address(Address::Rm { address }) => {
            bus.admin().await?.address_remove(&address).await.map_err(plain)?;
            to.done(&format!("{address} removed"));
        }
        Command::Alias(command) => crate::alias::alias(bus, command, to).await?,
        Command::Domain(command) => domain(bus, command, to).await?,
        Command::Setaccountpassword { account } => {
            let password = read_password("New password: ")?;
            bus.admin().await?.account_set_password(&account, &password).await.map_err(plain)?;
            to.done(&format!("password of {account} set"));
        }
        Command::Own(command) => crate::own::own(bus, command, to).await?,
        Command::Admin(command) => crate::admin::run(bus, command).await?,
        Command::Tlspubkey(command) => credentials::tls_pub_key(bus, command, to).await?,
        Command::Annotation(command) => annotation::run(bus, command, to).await?,
        Command::Apppassword(command) => credentials::app_password(bus, command, to).await?,
        Command::Queue(command) => queue(bus, command, to).await?,
        Command::Dmarc(command) => return crate::reports::dmarc(bus, command, to).await,
        Command::Tlsrpt(command) => crate::reports::tlsrpt(bus, command, to).await?,
        Command::Why { wanted } => return why(bus, &wanted, to).await,
        Command::Check { account } => {
            let lines = bus.admin().await?.check(&account.unwrap_or_default()).await.map_err(plain)?;
            if to.json {
                to.text(&json!(lines).to_string());
            } else if lines.is_empty() {
                to.text("everything is in order");
            } else {
                to.text(&lines.join("\n"));
            }
            if !lines.is_empty() {
                return Ok(ExitCode::FAILURE);
            }
        }
        Command::Service(command) => service(bus, command, to).await?,
        Command::Backup(asked) => operate::backup(bus, &asked, to).await?,
        Command::Fixuidmeta(asked) => operate::repair(bus, "fixuidmeta", &asked, to).await?,
        Command::Fixmsgsize(asked) => operate::repair(bus, "fixmsgsize", &asked, to).await?,
        Command::Recalculatemailboxcounts(asked) => {
            operate::repair(bus, "recalculatemailboxcounts", &asked, to).await?;
        }
        Command::Bumpuidvalidity(asked) => operate::repair(bus, "bumpuidvalidity", &asked, to).await?,
        Command::Reassignuids(asked) => operate::repair(bus, "reassignuids", &asked, to).await?,
        Command::Reparse(asked) => operate::repair(bus, "reparse", &asked, to).await?,
        Command::Ensureparsed(asked) => {
            let what = if asked.all { "reparse" } else { "ensureparsed" };
            operate::repair(bus, what, &asked.repair, to).await?;
        }
        Command::Reassignthreads(asked) => operate::repair(bus, "reassignthreads", &asked, to).await?,
        Command::Retrain(asked) => operate::repair(bus, "retrain", &asked, to).await?,
        _ => bail!("this command does not use the bus"),
    }
    Ok(ExitCode::SUCCESS)
}

async fn status(bus: &Bus, to: To) -> anyhow::Result<()> {
    let status = bus.admin().await?.status().await.map_err(plain)?;
    if to.json {
        to.text(&serde_json::to_string_pretty(&status)?);
    } else {
        to.text(&format!(
            "store       {}\nconfig      generation {}\naccounts    {}\nqueue       {} waiting, {} held\nsessions    {}",
            status.store, status.generation, status.accounts, status.queued, status.held, status.sessions
        ));
    }
    Ok(())
}

/// The whole chain of each decision.
async fn why(bus: &Bus, wanted: &str, to: To) -> anyhow::Result<ExitCode> {
    let decisions = bus.admin().await?.why(wanted).await.map_err(plain)?;
    if to.json {
        let one = |d: &mox_dbus::admin1::DecisionItem| {
            let chain: Vec<_> = d
                .chain
                .iter()
                .map(|(topic, text)| serde_json::json!({ "topic": topic, "text": text }))
                .collect();
            serde_json::json!({
                "at": d.at, "cid": d.cid, "remote_ip": d.remote_ip, "mail_from": d.mail_from,
                "message_id": d.message_id, "reply": d.reply, "chain": chain,
            })
        };
        to.text(&serde_json::json!(decisions.iter().map(one).collect::<Vec<_>>()).to_string());
    } else if decisions.is_empty() {
        to.text("nothing is known of it");
    }
    if decisions.is_empty() {
        return Ok(ExitCode::FAILURE);
    }
    if !to.json {
        for d in &decisions {
            let head = format!("connection {} from {}, MAIL FROM <{}>", d.cid, d.remote_ip, d.mail_from);
            let mut lines = vec![head];
            if !d.message_id.is_empty() {
                lines.push(format!("message <{}>", d.message_id));
            }
            lines.extend(d.chain.iter().map(|(topic, text)| format!("  {topic}: {text}")));
            lines.push(format!("  told: {}", d.reply));
            to.text(&lines.join("\n"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn dns_check(bus: &Bus, domain: &str, to: To) -> anyhow::Result<ExitCode> {
    let items = bus.admin().await?.dns_check(domain).await.map_err(plain)?;
    let rows: Vec<Vec<String>> = items
        .iter()
        .map(|item| {
            let said = match &*item.state {
                "ok" => String::new(),
                "missing" => format!("wanted {}", item.wanted),
                "different" => format!("wanted {}, found {}", item.wanted, item.found.join(" and ")),
                _ => item.found.join(" "),
            };
            let dnssec = if item.secure { "yes" } else { "no" };
            vec![item.state.clone(), dnssec.into(), item.kind.clone(), item.name.clone(), said]
        })
        .collect();
    to.rows(&["STATE", "DNSSEC", "TYPE", "NAME", ""], &rows, &serde_json::to_value(&items)?);
    let fine = items.iter().all(|item| item.state == "ok");
    Ok(if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn account(bus: &Bus, command: Account, to: To) -> anyhow::Result<()> {
    let admin = bus.admin().await?;
    match command {
        Account::List => {
            let list = admin.account_list().await.map_err(plain)?;
            let rows: Vec<Vec<String>> = list
                .iter()
                .map(|a| {
                    let quota = if a.quota == 0 { "-".to_owned() } else { show::size(a.quota) };
                    let login = match (&*a.login_disabled, a.has_password) {
                        ("", true) => "yes",
                        ("", false) => "no password",
                        _ => "disabled",
                    };
                    vec![a.name.clone(), login.into(), show::size(a.used), quota, a.addresses.join(" ")]
                })
                .collect();
            to.rows(
                &["ACCOUNT", "LOGIN", "USED", "QUOTA", "ADDRESSES"],
                &rows,
                &serde_json::to_value(&list)?,
            );
        }
        Account::Add { name, address } => {
            admin.account_add(&name, &address).await.map_err(plain)?;
            to.done(&format!("account {name} added; set a password with: mox setaccountpassword {name}"));
        }
        Account::Rm { name, yes } => {
            if !yes && !confirmed(&format!("Remove account {name} and all its mail? Type its name: "), &name)?
            {
                bail!("nothing was removed");
            }
            admin.account_remove(&name).await.map_err(plain)?;
            to.done(&format!("account {name} and its mail removed"));
        }
        Account::Disable { name, message } => {
            admin.account_disable(&name, &message).await.map_err(plain)?;
            to.done(&format!("nobody can sign in to {name} now"));
        }
        Account::Enable { name } => {
            admin.account_enable(&name).await.map_err(plain)?;
            to.done(&format!("people can sign in to {name} again"));
        }
    }
    Ok(())
}

async fn domain(bus: &Bus, command: Domain, to: To) -> anyhow::Result<()> {
    let admin = bus.admin().await?;
    match command {
        Domain::List => {
            let list = admin.domain_list().await.map_err(plain)?;
            let rows: Vec<Vec<String>> = list
                .iter()
                .map(|d| vec![d.name.clone(), if d.disabled { "disabled" } else { "" }.into()])
                .collect();
            to.rows(&["DOMAIN", ""], &rows, &serde_json::to_value(&list)?);
        }
        Domain::Add { domain, account, disabled } => {
            admin.domain_add(&domain, &account.unwrap_or_default(), disabled).await.map_err(plain)?;
            to.done(&format!("domain {domain} added; its DNS records: mox config dnsrecords {domain}"));
        }
        Domain::Rm { domain } => {
            admin.domain_remove(&domain).await.map_err(plain)?;
            to.done(&format!("domain {domain} removed"));
        }
        Domain::Disable { domain } => {
            admin.domain_set_disabled(&domain, true).await.map_err(plain)?;
            to.done(&format!("domain {domain} disabled"));
        }
        Domain::Enable { domain } => {
            admin.domain_set_disabled(&domain, false).await.map_err(plain)?;
            to.done(&format!("domain {domain} enabled"));
        }
    }
    Ok(())
}

/// Entries asked for at once; the list goes on until one page is not full.
const PAGE: u32 = 1_000;

async fn queue(bus: &Bus, command: Queue, to: To) -> anyhow::Result<()> {
    let queue = bus.queue().await?;
    match command {
        Queue::List => {
            let mut list = Vec::new();
            loop {
                let after = list.last().map_or(0, |item: &mox_dbus::queue1::QueueItem| item.id);
                let page = queue.list(after, PAGE).await.map_err(plain)?;
                let full = page.len() == PAGE as usize;
                list.extend(page);
                if !full {
                    break;
                }
            }
            let rows: Vec<Vec<String>> = list
                .iter()
                .map(|item| {
                    let next = if item.held { "held".to_owned() } else { show::time(item.next_attempt) };
                    vec![
                        item.id.to_string(),
                        show::time(item.queued),
                        item.sender.clone(),
                        item.recipient.clone(),
                        show::size(item.size),
                        item.attempts.to_string(),
                        next,
                        item.last.clone(),
                    ]
                })
                .collect();
            let headings = ["ID", "QUEUED", "FROM", "TO", "SIZE", "TRIES", "NEXT", "LAST"];
            to.rows(&headings, &rows, &serde_json::to_value(&list)?);
        }
        Queue::Kick { ids } => {
            let n = queue.kick(&ids).await.map_err(plain)?;
            to.done(&format!("{n} to be tried now"));
        }
        Queue::Drop { ids } => {
            let n = queue.drop(&ids).await.map_err(plain)?;
            to.done(&format!("{n} dropped"));
        }
        Queue::Hold { ids } => {
            let n = queue.hold(&ids, true).await.map_err(plain)?;
            to.done(&format!("{n} held"));
        }
        Queue::Holdrules(command) => hold_rules(&queue, command, to).await?,
        Queue::Unhold { ids } => {
            let n = queue.hold(&ids, false).await.map_err(plain)?;
            to.done(&format!("{n} released"));
        }
    }
    Ok(())
}

async fn hold_rules(queue: &QueueProxy<'_>, command: HoldRules, to: To) -> anyhow::Result<()> {
    match command {
        HoldRules::List => {
            let list = queue.hold_rules().await.map_err(plain)?;
            let any = |text: &str| if text.is_empty() { "any".to_owned() } else { text.to_owned() };
            let rows: Vec<_> = list
                .iter()
                .map(|rule| {
                    vec![
                        rule.id.to_string(),
                        any(&rule.account),
                        any(&rule.sender_domain),
                        any(&rule.recipient_domain),
                    ]
                })
                .collect();
            to.rows(&["ID", "ACCOUNT", "FROM", "TO"], &rows, &serde_json::to_value(&list)?);
        }
        HoldRules::Add { account, sender_domain, recipient_domain } => {
            let [account, sender, recipient] =
                [account, sender_domain, recipient_domain].map(Option::unwrap_or_default);
            let (id, held) = queue.add_hold_rule(&account, &sender, &recipient).await.map_err(plain)?;
            to.done(&format!("hold rule {id} added, {held} held"));
        }
        HoldRules::Rm { id } => {
            if !queue.remove_hold_rule(id).await.map_err(plain)? {
                bail!("there is no hold rule {id}");
            }
            to.done(&format!("hold rule {id} removed; what is held: mox queue list"));
        }
    }
    Ok(())
}

async fn service(bus: &Bus, command: Service, to: To) -> anyhow::Result<()> {
    match command {
        Service::Reload { service } => {
            bus.service(&service).await?.reload().await.map_err(plain)?;
            to.done(&format!("{service} read its configuration"));
        }
        Service::Stop { service } => {
            bus.service(&service).await?.stop().await.map_err(plain)?;
            to.done(&format!("{service} stops"));
        }
        Service::Loglevel { service, level } => {
            bus.service(&service).await?.set_log_level(&level).await.map_err(plain)?;
            to.done(&format!("{service} logs at {level}"));
        }
        Service::Show { service } => {
            let proxy = bus.service(&service).await?;
            let state = json!({
                "name": proxy.name().await?,
                "version": proxy.version().await?,
                "state": proxy.state().await?,
                "started": proxy.started().await?,
                "connections": proxy.connections().await?,
                "log_level": proxy.log_level().await?,
                "metrics": proxy.metrics().await?,
            });
            if to.json {
                to.text(&state.to_string());
            } else {
                to.text(&format!(
                    "{} {}, {} since {}, {} connections, log level {}",
                    state["name"].as_str().unwrap_or_default(),
                    state["version"].as_str().unwrap_or_default(),
                    state["state"].as_str().unwrap_or_default(),
                    show::time(state["started"].as_i64().unwrap_or_default()),
                    state["connections"],
                    state["log_level"].as_str().unwrap_or_default()
                ));
                // serde_json keeps its keys sorted. What never happened is left to --json.
                for (name, count) in state["metrics"].as_object().into_iter().flatten() {
                    if count.as_u64() != Some(0) {
                        to.text(&format!("{name} {count}"));
                    }
                }
            }
        }
    }
    Ok(())
}

/// Both files, as they lie there; needs no running service.
pub fn config_test(to: To) -> anyhow::Result<ExitCode> {
    use libmox_service::{config, paths};
    let folder = paths::config();
    let mut lines = config::load_static(&folder).err().map(|m| m.lines()).unwrap_or_default();
    lines.extend(config::load_domains(&folder).err().map(|m| m.lines()).unwrap_or_default());
    if to.json {
        to.text(&json!(lines).to_string());
    } else if lines.is_empty() {
        to.text("configuration is fine");
    } else {
        to.text(&lines.join("\n"));
    }
    Ok(if lines.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn confirmed(question: &str, word: &str) -> anyhow::Result<bool> {
    #[expect(clippy::print_stderr, reason = "a question to the person")]
    {
        eprint!("{question}");
    }
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim() == word)
}

/// One line of standard input; a terminal does not show it.
pub(crate) fn read_password(question: &str) -> anyhow::Result<String> {
    let stdin = std::io::stdin();
    let terminal = stdin.is_terminal().then(|| rustix::termios::tcgetattr(&stdin)).transpose()?;
    if let Some(settings) = &terminal {
        #[expect(clippy::print_stderr, reason = "a question to the person")]
        {
            eprint!("{question}");
        }
        let mut quiet = settings.clone();
        quiet.local_modes.remove(rustix::termios::LocalModes::ECHO);
        rustix::termios::tcsetattr(&stdin, rustix::termios::OptionalActions::Now, &quiet)?;
    }
    let mut line = String::new();
    let read = stdin.lock().read_line(&mut line);
    if let Some(settings) = &terminal {
        rustix::termios::tcsetattr(&stdin, rustix::termios::OptionalActions::Now, settings)?;
        #[expect(clippy::print_stderr, reason = "the line end that was not echoed")]
        {
            eprintln!();
        }
    }
    read?;
    let password = line.trim_end_matches(['\r', '\n']).to_owned();
    if password.is_empty() {
        bail!("no password was given");
    }
    Ok(password)
}
