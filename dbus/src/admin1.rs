//! `org.libmox.Admin1` on `org.libmox.Admin1`.

use serde::{Deserialize, Serialize};
use zbus::zvariant::Type;

/// An account.
#[derive(Debug, Clone, Serialize, Deserialize, Type, PartialEq, Eq)]
pub struct AccountItem {
    /// Its name.
    pub name: String,
    /// Where it takes mail.
    pub addresses: Vec<String>,
    /// Why nobody may sign in; empty if people may.
    pub login_disabled: String,
    /// Whether a password is set.
    pub has_password: bool,
    /// Octets used.
    pub used: u64,
    /// Octets allowed; 0 for no limit.
    pub quota: u64,
}

/// A domain.
#[derive(Debug, Clone, Serialize, Deserialize, Type, PartialEq, Eq)]
pub struct DomainItem {
    /// Its name.
    pub name: String,
    /// Whether mail for it and from it is refused for now.
    pub disabled: bool,
}

/// A key of TLS client certificates.
#[derive(Debug, Clone, Serialize, Deserialize, Type, PartialEq, Eq)]
pub struct TlsKeyItem {
    /// base64url of the SHA-256 of the key.
    pub fingerprint: String,
    /// Whose.
    pub account: String,
    /// The address it signs in as.
    pub login: String,
    /// `ecdsa-p256` and the like.
    pub kind: String,
    /// What it is called.
    pub name: String,
    /// No PREAUTH in IMAP.
    pub no_imap_preauth: bool,
    /// When it was added, in seconds since 1970.
    pub created: i64,
}

/// An app password.
#[derive(Debug, Clone, Serialize, Deserialize, Type, PartialEq, Eq)]
pub struct AppPasswordItem {
    /// What it is called.
    pub name: String,
    /// Good for reading mail.
    pub imap: bool,
    /// Good for sending mail.
    pub submission: bool,
    /// When it was made, in seconds since 1970.
    pub created: i64,
    /// Until when it is good; 0 for always.
    pub expires: i64,
}

/// One DNS record that should be there.
#[derive(Debug, Clone, Serialize, Deserialize, Type, PartialEq, Eq)]
pub struct DnsCheckItem {
    /// Absolute name.
    pub name: String,
    /// `MX`, `TXT`, ...
    pub kind: String,
    /// `ok`, `missing`, `different` or `failed`.
    pub state: String,
    /// What it should say.
    pub wanted: String,
    /// What is published for that purpose, or why the lookup failed.
    pub found: Vec<String>,
    /// DNSSEC proves it.
    pub secure: bool,
}

/// A list of addresses.
#[derive(Debug, Clone, Serialize, Deserialize, Type, PartialEq, Eq)]
pub struct AliasItem {
    /// Its own address.
    pub address: String,
    /// Addresses of accounts.
    pub members: Vec<String>,
    /// Anyone may write to it.
    pub post_public: bool,
    /// Members may send as it.
    pub allow_msg_from: bool,
    /// Members may see the others.
    pub list_members: bool,
}

/// A list, as one of its members sees it.
#[derive(Debug, Clone, Serialize, Deserialize, Type, PartialEq, Eq)]
pub struct OwnListItem {
    /// Its own address.
    pub address: String,
    /// Anyone may write to it.
    pub post_public: bool,
    /// Members may send as it.
    pub allow_msg_from: bool,
    /// Addresses of all members, where members may see them; those of whoever asks otherwise.
    pub members: Vec<String>,
}

/// A report of somebody else about mail in our name, or about TLS to our servers.
#[derive(Debug, Clone, Serialize, Deserialize, Type, PartialEq, Eq)]
pub struct ReportItem {
    /// When it came, seconds since 1970.
    pub at: i64,
    /// Who sent it.
    pub from: String,
    /// Who made it, in its own words.
    pub organisation: String,
    /// Whom to ask there.
    pub contact: String,
    /// Its name there.
    pub id: String,
    /// What it is about.
    pub domains: Vec<String>,
    /// The time it is about.
    pub begin: i64,
    /// Its last second.
    pub end: i64,
    /// Policy that was found.
    pub policy: String,
    /// Messages or sessions.
    pub total: u64,
    /// Of them, those that were as they should be.
    pub good: u64,
    /// Where from or to, how many, as they should be, what was found.
    pub rows: Vec<(String, u64, bool, String)>,
    /// Rows that were not kept.
    pub left_out: u32,
}

/// What DMARC said about a message, for a report.
#[derive(Debug, Clone, Serialize, Deserialize, Type, PartialEq, Eq)]
pub struct EvaluationItem {
    /// Seconds since 1970.
    pub at: i64,
    /// Where the record was found.
    pub domain: String,
    /// Domain of From.
    pub header_from: String,
    /// Who sent it.
    pub remote_ip: String,
    /// It was refused.
    pub refused: bool,
    /// SPF passed for a domain that is close enough.
    pub spf: bool,
    /// A signature did.
    pub dkim: bool,
    /// Why the policy was not followed.
    pub overrides: Vec<String>,
    /// Not worth a report by itself.
    pub optional: bool,
    /// Where reports are wanted.
    pub addresses: Vec<String>,
}

/// An address in a DMARC record.
#[derive(Debug, Clone, Serialize, Deserialize, Type, PartialEq, Eq)]
pub struct ReportAddressItem {
    /// As in the record.
    pub address: String,
    /// Its domain.
    pub destination: String,
    /// `own`, `ok`, `missing`, `failed` or `unusable`.
    pub state: String,
    /// What is published, or why not.
    pub found: Vec<String>,
    /// DNSSEC proves it.
    pub secure: bool,
}

/// What was decided about a message from another server.
#[derive(Debug, Clone, Serialize, Deserialize, Type, PartialEq, Eq)]
pub struct DecisionItem {
    /// Seconds since 1970.
    pub at: i64,
    /// Connection id.
    pub cid: String,
    /// Address of the sender.
    pub remote_ip: String,
    /// MAIL FROM; empty for null.
    pub mail_from: String,
    /// Without brackets; may be empty.
    pub message_id: String,
    /// What the sender was told.
    pub reply: String,
    /// Topic and text of each thing looked at, in order.
    pub chain: Vec<(String, String)>,
}

/// How the system is.
#[derive(Debug, Clone, Serialize, Deserialize, Type, PartialEq, Eq)]
pub struct SystemStatus {
    /// `running`, or `degraded: why`.
    pub store: String,
    /// Number of the configuration in force.
    pub generation: u64,
    /// Accounts.
    pub accounts: u32,
    /// Waiting recipients.
    pub queued: u64,
    /// Of them, held.
    pub held: u64,
    /// People signed in.
    pub sessions: u32,
}

/// Client side.
#[zbus::proxy(
    interface = "org.libmox.Admin1",
    default_service = "org.libmox.Admin1",
    default_path = "/org/libmox"
)]
pub trait Admin {
    /// See the interface file.
    fn status(&self) -> zbus::Result<SystemStatus>;
    /// See the interface file.
    fn account_list(&self) -> zbus::Result<Vec<AccountItem>>;
    /// See the interface file.
    fn account_add(&self, name: &str, address: &str) -> zbus::Result<()>;
    /// See the interface file.
    fn account_remove(&self, name: &str) -> zbus::Result<()>;
    /// See the interface file.
    fn account_disable(&self, name: &str, message: &str) -> zbus::Result<()>;
    /// See the interface file.
    fn account_enable(&self, name: &str) -> zbus::Result<()>;
    /// See the interface file.
    fn account_set_password(&self, name: &str, password: &str) -> zbus::Result<()>;
    /// See the interface file.
    fn annotation_set(&self, account: &str, mailbox: &str, entry: &str, value: &str) -> zbus::Result<()>;
    /// See the interface file.
    fn annotation_remove(&self, account: &str, mailbox: &str, entry: &str) -> zbus::Result<()>;
    /// See the interface file.
    fn annotation_list(&self, account: &str, mailbox: &str) -> zbus::Result<Vec<(String, String)>>;
    /// See the interface file.
    fn app_password_add(
        &self,
        account: &str,
        name: &str,
        imap: bool,
        submission: bool,
        expires: i64,
    ) -> zbus::Result<String>;
    /// See the interface file.
    fn app_password_list(&self, account: &str) -> zbus::Result<Vec<AppPasswordItem>>;
    /// See the interface file.
    fn app_password_remove(&self, account: &str, name: &str) -> zbus::Result<()>;
    /// See the interface file.
    fn tls_key_add(
        &self,
        login: &str,
        name: &str,
        no_imap_preauth: bool,
        certificate: &[u8],
    ) -> zbus::Result<String>;
    /// See the interface file.
    fn tls_key_list(&self, account: &str) -> zbus::Result<Vec<TlsKeyItem>>;
    /// See the interface file.
    fn tls_key_remove(&self, fingerprint: &str) -> zbus::Result<()>;
    /// See the interface file.
    fn address_add(&self, address: &str, account: &str) -> zbus::Result<()>;
    /// See the interface file.
    fn address_remove(&self, address: &str) -> zbus::Result<()>;
    /// See the interface file.
    fn alias_list(&self) -> zbus::Result<Vec<AliasItem>>;
    /// See the interface file.
    fn alias_add(&self, address: &str, members: &[String]) -> zbus::Result<()>;
    /// See the interface file.
    fn alias_update(
        &self,
        address: &str,
        post_public: bool,
        allow_msg_from: bool,
        list_members: bool,
    ) -> zbus::Result<()>;
    /// See the interface file.
    fn own_password(&self, login: &str, password: &str, wanted: &str) -> zbus::Result<String>;
    /// See the interface file.
    fn own_lists(&self, login: &str, password: &str) -> zbus::Result<Vec<OwnListItem>>;
    /// See the interface file.
    fn alias_remove(&self, address: &str) -> zbus::Result<()>;
    /// See the interface file.
    fn alias_members(&self, address: &str, add: &[String], remove: &[String]) -> zbus::Result<()>;
    /// See the interface file.
    fn domain_list(&self) -> zbus::Result<Vec<DomainItem>>;
    /// See the interface file.
    fn domain_add(&self, domain: &str, account: &str, disabled: bool) -> zbus::Result<()>;
    /// See the interface file.
    fn domain_keys(&self, domain: &str) -> zbus::Result<()>;
    /// See the interface file.
    fn domain_remove(&self, domain: &str) -> zbus::Result<()>;
    /// See the interface file.
    fn domain_set_disabled(&self, domain: &str, disabled: bool) -> zbus::Result<()>;
    /// See the interface file.
    fn dns_records(&self, domain: &str) -> zbus::Result<Vec<String>>;
    /// See the interface file.
    fn dns_check(&self, domain: &str) -> zbus::Result<Vec<DnsCheckItem>>;
    /// See the interface file.
    fn check(&self, account: &str) -> zbus::Result<Vec<String>>;
    /// See the interface file.
    fn backup(&self, folders: Vec<zbus::Fd<'_>>) -> zbus::Result<(u64, u64, u64)>;
    /// See the interface file.
    fn backup_progress(&self) -> zbus::Result<(u64, u64)>;
    /// See the interface file.
    fn repair(&self, account: &str, what: &str, dry: bool) -> zbus::Result<Vec<String>>;
    /// See the interface file.
    fn read_mail(&self, account: &str) -> zbus::Result<String>;
    /// See the interface file.
    fn why(&self, wanted: &str) -> zbus::Result<Vec<DecisionItem>>;
    /// See the interface file.
    fn reports(&self, kind: &str, domain: &str) -> zbus::Result<Vec<ReportItem>>;
    /// See the interface file.
    fn evaluations(&self, domain: &str) -> zbus::Result<Vec<EvaluationItem>>;
    /// See the interface file.
    fn check_report_addresses(&self, domain: &str) -> zbus::Result<Vec<ReportAddressItem>>;
    /// See the interface file.
    fn config_test(&self) -> zbus::Result<Vec<String>>;
}
