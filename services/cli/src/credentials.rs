//! `mox tlspubkey` and `mox apppassword`: other ways to sign in than the password of the account.

use crate::commands::{Bus, plain};
use crate::show::{self, To};
use anyhow::{Context as _, bail};
use clap::{Subcommand, ValueEnum};
use libmox_service::{clock, tls};
use serde_json::json;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Octets read of a certificate.
const CERTIFICATE_OCTETS: u64 = 64 * 1024;

/// `mox tlspubkey`
#[derive(Debug, Subcommand)]
pub enum TlsPubKey {
    /// List keys of an account, or of all
    List {
        /// Name of the account
        account: Option<String>,
    },
    /// Show one key
    Get {
        /// From the list
        #[arg(allow_hyphen_values = true)]
        fingerprint: String,
    },
    /// Add the key of a certificate, read from standard input as PEM or DER
    Add {
        /// Address to sign in as
        address: String,
        /// What to call it
        #[arg(default_value = "")]
        name: String,
        /// For mail programs that do not understand PREAUTH in IMAP
        #[arg(long)]
        no_imap_preauth: bool,
    },
    /// Remove a key; sessions it opened end
    Rm {
        /// From the list
        #[arg(allow_hyphen_values = true)]
        fingerprint: String,
    },
    /// Make a key and a certificate for it: STEM.key and STEM.cert
    Gen {
        /// Beginning of the file names
        stem: PathBuf,
    },
}

/// `mox apppassword`
#[derive(Debug, Subcommand)]
pub enum AppPassword {
    /// Make a password for one program, and show it this once
    Add {
        /// Name of the account, not an address
        account: String,
        /// What to call it
        name: String,
        /// What it is good for; without it, for both
        #[arg(long = "scope")]
        scopes: Vec<Scope>,
        /// After so many days it is wrong
        #[arg(long)]
        expires_days: Option<u32>,
    },
    /// List the app passwords of an account
    List {
        /// Name of the account
        account: String,
    },
    /// Remove one; sessions it opened end
    Rm {
        /// Name of the account
        account: String,
        /// Its name
        name: String,
    },
}

/// What an app password is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scope {
    /// Reading mail
    Imap,
    /// Sending mail
    Submission,
}

/// Runs `mox tlspubkey`; needs no bus to make a key.
pub async fn tls_pub_key(bus: &Bus, command: TlsPubKey, to: To) -> anyhow::Result<()> {
    match command {
        TlsPubKey::List { account } => list(bus, &account.unwrap_or_default(), "", to).await,
        TlsPubKey::Get { fingerprint } => list(bus, "", &fingerprint, to).await,
        TlsPubKey::Add { address, name, no_imap_preauth } => {
            let mut certificate = Vec::new();
            std::io::stdin().lock().take(CERTIFICATE_OCTETS).read_to_end(&mut certificate)?;
            let admin = bus.admin().await?;
            let fingerprint =
                admin.tls_key_add(&address, &name, no_imap_preauth, &certificate).await.map_err(plain)?;
            if to.json {
                to.text(&json!({ "fingerprint": fingerprint }).to_string());
            } else {
                to.text(&format!("{fingerprint} signs in as {address}"));
            }
            Ok(())
        }
        TlsPubKey::Rm { fingerprint } => {
            bus.admin().await?.tls_key_remove(&fingerprint).await.map_err(plain)?;
            to.done(&format!("key {fingerprint} removed"));
            Ok(())
        }
        TlsPubKey::Gen { stem } => make(&stem, to),
    }
}

async fn list(bus: &Bus, account: &str, only: &str, to: To) -> anyhow::Result<()> {
    let mut list = bus.admin().await?.tls_key_list(account).await.map_err(plain)?;
    if !only.is_empty() {
        list.retain(|key| key.fingerprint == only);
        if list.is_empty() {
            bail!("no key {only}");
        }
    }
    let rows: Vec<Vec<String>> = list
        .iter()
        .map(|key| {
            let preauth = if key.no_imap_preauth { "no" } else { "yes" };
            vec![
                key.fingerprint.clone(),
                key.account.clone(),
                key.login.clone(),
                key.kind.clone(),
                preauth.into(),
                show::time(key.created),
                key.name.clone(),
            ]
        })
        .collect();
    let headings = ["FINGERPRINT", "ACCOUNT", "LOGIN", "KIND", "PREAUTH", "ADDED", "NAME"];
    to.rows(&headings, &rows, &serde_json::to_value(&list)?);
    Ok(())
}

/// A key on P-256 with a certificate that nobody else signed: its names and dates do not matter.
pub fn make(stem: &Path, to: To) -> anyhow::Result<()> {
    let key = rcgen::KeyPair::generate()?;
    let mut params = rcgen::CertificateParams::new(Vec::<String>::new())?;
    params.distinguished_name.push(rcgen::DnType::CommonName, "mail client");
    let certificate = params.self_signed(&key)?;
    let fingerprint =
        tls::key_fingerprint(certificate.der()).context("the new certificate cannot be read")?;
    for (ending, text) in [("key", key.serialize_pem()), ("cert", certificate.pem())] {
        let mut name = stem.as_os_str().to_owned();
        name.push(format!(".{ending}"));
        let path = PathBuf::from(name);
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("{}", path.display()))?;
        file.write_all(text.as_bytes())?;
    }
    let stem = stem.display();
    if to.json {
        to.text(&json!({ "fingerprint": fingerprint }).to_string());
    } else {
        to.text(&format!(
            "{fingerprint}\nAdd it: mox tlspubkey add ADDRESS NAME < {stem}.cert\nGive the mail program {stem}.cert and {stem}.key."
        ));
    }
    Ok(())
}

/// Runs `mox apppassword`.
pub async fn app_password(bus: &Bus, command: AppPassword, to: To) -> anyhow::Result<()> {
    let admin = bus.admin().await?;
    match command {
        AppPassword::Add { account, name, scopes, expires_days } => {
            let good_for = |scope| scopes.is_empty() || scopes.contains(&scope);
            let expires = expires_days.map_or(0, |days| clock::now().plus(i64::from(days) * 24 * 3600).0);
            let (imap, submission) = (good_for(Scope::Imap), good_for(Scope::Submission));
            let password =
                admin.app_password_add(&account, &name, imap, submission, expires).await.map_err(plain)?;
            if to.json {
                to.text(&json!({ "password": password }).to_string());
            } else {
                to.text(&password);
            }
        }
        AppPassword::List { account } => {
            let list = admin.app_password_list(&account).await.map_err(plain)?;
            let rows: Vec<Vec<String>> = list
                .iter()
                .map(|one| {
                    let scopes = [("imap", one.imap), ("submission", one.submission)];
                    let scopes: Vec<&str> = scopes.iter().filter(|s| s.1).map(|s| s.0).collect();
                    let expires = match one.expires {
                        0 => "never".to_owned(),
                        at => show::time(at),
                    };
                    vec![one.name.clone(), scopes.join(" "), show::time(one.created), expires]
                })
                .collect();
            to.rows(&["NAME", "FOR", "MADE", "EXPIRES"], &rows, &serde_json::to_value(&list)?);
        }
        AppPassword::Rm { account, name } => {
            admin.app_password_remove(&account, &name).await.map_err(plain)?;
            to.done(&format!("app password {name} of {account} removed"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Cli {
        #[arg(long)]
        json: bool,
        #[command(subcommand)]
        what: TlsPubKey,
    }

    /// One fingerprint of 64 begins like an option.
    #[test]
    fn a_fingerprint_may_begin_with_a_hyphen() {
        for given in
            ["-duq8H6qEm1WImkUhFbMgdD2ywP_iQe8ydt_TAkawOY", "-hV", "--json8H6qEm1WImkUhFbMgdD2ywP", "x"]
        {
            let read = <Cli as clap::Parser>::try_parse_from(["mox", "--json", "get", given]).unwrap();
            assert!(
                read.json && matches!(&read.what, TlsPubKey::Get { fingerprint } if fingerprint == given)
            );
            let read = <Cli as clap::Parser>::try_parse_from(["mox", "rm", given]).unwrap();
            assert!(matches!(&read.what, TlsPubKey::Rm { fingerprint } if fingerprint == given));
        }
    }

    #[test]
    fn a_key_is_made_once_and_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let stem = folder.path().join("laptop");
        make(&stem, To { json: true }).unwrap();
        assert!(make(&stem, To { json: true }).is_err(), "nothing is overwritten");
        for ending in ["key", "cert"] {
            let path = folder.path().join(format!("laptop.{ending}"));
            let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(path).unwrap());
            assert_eq!(mode & 0o777, 0o600);
        }
    }
}
