//! `mox dmarc` and `mox tlsrpt`: reports of others about our domains, and where reports about a domain go.

use crate::commands::{Bus, plain};
use crate::show::{self, To};
use clap::Subcommand;
use mox_dbus::admin1::ReportItem;
use serde_json::to_value;
use std::process::ExitCode;

/// `mox dmarc`
#[derive(Debug, Subcommand)]
pub enum Dmarc {
    /// Reports that others sent about mail in our name, newest first
    Reports {
        /// About this domain only
        domain: Option<String>,
        /// Show the rows of each report
        #[arg(long)]
        rows: bool,
    },
    /// What DMARC said about mail from others, kept two days for reports to them, newest first
    Evaluations {
        /// With a record of this domain only
        domain: Option<String>,
    },
    /// Whether those whom a domain's DMARC record names want its reports; fails if one does not
    Checkreportaddrs {
        /// Domain
        domain: String,
    },
}

/// `mox tlsrpt`
#[derive(Debug, Subcommand)]
pub enum Tlsrpt {
    /// Reports that others sent about TLS to our servers, newest first
    Reports {
        /// About this domain only
        domain: Option<String>,
        /// Show the rows of each report
        #[arg(long)]
        rows: bool,
    },
}

pub async fn dmarc(bus: &Bus, command: Dmarc, to: To) -> anyhow::Result<ExitCode> {
    match command {
        Dmarc::Reports { domain, rows } => reports(bus, "dmarc", domain, rows, to).await?,
        Dmarc::Evaluations { domain } => {
            let admin = bus.admin().await?;
            let all = admin.evaluations(&domain.unwrap_or_default()).await.map_err(plain)?;
            let word = |passed: bool| if passed { "pass" } else { "fail" }.to_owned();
            let rows: Vec<Vec<String>> = all
                .iter()
                .map(|one| {
                    vec![
                        show::time(one.at),
                        one.header_from.clone(),
                        one.remote_ip.clone(),
                        word(one.spf),
                        word(one.dkim),
                        if one.refused { "refused" } else { "taken" }.to_owned(),
                        one.overrides.join(" "),
                    ]
                })
                .collect();
            let headings = ["TIME", "FROM", "ADDRESS", "SPF", "DKIM", "MESSAGE", "OVERRIDE"];
            to.rows(&headings, &rows, &to_value(&all)?);
        }
        Dmarc::Checkreportaddrs { domain } => {
            let all = bus.admin().await?.check_report_addresses(&domain).await.map_err(plain)?;
            let rows: Vec<Vec<String>> = all
                .iter()
                .map(|one| {
                    let dnssec = if one.secure { "yes" } else { "no" };
                    vec![one.state.clone(), dnssec.into(), one.address.clone(), one.found.join(" ")]
                })
                .collect();
            to.rows(&["STATE", "DNSSEC", "ADDRESS", ""], &rows, &to_value(&all)?);
            if all.iter().any(|one| !matches!(one.state.as_str(), "ok" | "own")) {
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub async fn tlsrpt(bus: &Bus, command: Tlsrpt, to: To) -> anyhow::Result<()> {
    let Tlsrpt::Reports { domain, rows } = command;
    reports(bus, "tls", domain, rows, to).await
}

async fn reports(
    bus: &Bus,
    kind: &str,
    domain: Option<String>,
    with_rows: bool,
    to: To,
) -> anyhow::Result<()> {
    let all = bus.admin().await?.reports(kind, &domain.unwrap_or_default()).await.map_err(plain)?;
    let mut rows = Vec::new();
    for report in &all {
        rows.push(head(report));
        if with_rows {
            rows.extend(report.rows.iter().map(|(source, count, good, text)| {
                let good = if *good { *count } else { 0 };
                vec![String::new(), source.clone(), text.clone(), count.to_string(), good.to_string()]
            }));
            if report.left_out > 0 {
                let more = format!("{} more", report.left_out);
                rows.push(vec![String::new(), more]);
            }
        }
    }
    to.rows(&["UNTIL", "BY", "ABOUT", "COUNT", "GOOD"], &rows, &to_value(&all)?);
    Ok(())
}

fn head(report: &ReportItem) -> Vec<String> {
    vec![
        show::time(report.end),
        report.organisation.clone(),
        format!("{} {}", report.domains.join(" "), report.policy),
        report.total.to_string(),
        report.good.to_string(),
    ]
}
