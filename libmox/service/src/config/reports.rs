//! Where reports about a domain are wanted (rows MA-18, MA-19, TP-13).
//!
//! Fails with: mistakes of the file they stand in.

use super::reader::Section;
use libmox_types::{Address, Domain, LocalPart, MailboxName};

/// `[domains."example.org".dmarc]` and `[domains."example.org".tlsrpt]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportsConfig {
    /// Before the at sign.
    pub local: LocalPart,
    /// Behind it, where that is another domain of this server.
    pub domain: Option<Domain>,
    /// Who gets them.
    pub account: String,
    /// Where.
    pub mailbox: MailboxName,
}

impl ReportsConfig {
    /// None where no account is named.
    pub(super) fn read(s: &mut Section<'_>, kind: &str, mailbox: &str) -> Option<Self> {
        let local = s.text("localpart", LocalPart::parse);
        let domain = s.text("domain", Domain::parse);
        let account = s.text("account", super::statics::account_name);
        let named = s.text("mailbox", MailboxName::parse);
        let Some(account) = account else {
            if local.is_some() || domain.is_some() || named.is_some() {
                s.mistake("an account that gets the reports is wanted".to_owned());
            }
            return None;
        };
        let local = local.or_else(|| LocalPart::parse(&format!("{kind}-reports")).ok())?;
        let mailbox = named.or_else(|| MailboxName::parse(mailbox).ok())?;
        Some(Self { local, domain, account, mailbox })
    }

    /// Where reports about a domain are sent.
    #[must_use]
    pub fn address(&self, about: &Domain) -> Address {
        let domain = self.domain.as_ref().unwrap_or(about);
        Address { local: self.local.clone(), domain: domain.clone() }
    }
}
