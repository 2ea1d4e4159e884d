//! What to do with a message from a stranger: one look at configuration, quota and what is known of the sender.
//!
//! | asked in this order | yes |
//! |---|---|
//! | is there such a recipient, and room? | else refused with its own code |
//! | does a rule match whose list domain is verified? | taken, whatever else is known |
//! | did the service refuse it, or is everything lately from this proven address junk? | rejected, or taken into the rule's mailbox for that |
//! | is it the first message from this address, and Inbox its place? | taken into the mailbox for first messages |
//! | | taken |
//!
//! The junk filter and the rest of row JK-08 will stand between the last two; their looks are in `signals.rs`.

use crate::directory::{Configured, Destination};
use crate::keys;
use crate::limits::RECIPIENTS;
use crate::records::{Heard, Read};
use crate::signals::{Class, of_address, of_from, opinions};
use crate::store::Store;
use libmox_service::config::{DestinationConfig, RuleConfig};
use libmox_store::{
    Analysis, Analyze, Decision, Destined, Facts, Fault, HEADER_OCTETS, RecipientPath, Reject, Verdict,
};
use libmox_types::{AccountId, Domain, MailboxId, MailboxName, ReversePath};

/// How old an opinion on an address may be, in seconds, and how many count. Row JK-08.
const ADDRESS_AGE: i64 = 3 * 365 * 24 * 3600;
const ADDRESS_OPINIONS: usize = 2;

/// What rules look at.
pub struct Seen<'a> {
    pub mail_from: &'a ReversePath,
    pub facts: &'a Facts,
    pub verdict: &'a Verdict,
    pub headers: &'a [(String, String)],
}

impl Seen<'_> {
    /// Whether SPF or DKIM passed for a domain or one below it.
    fn verified(&self, domain: &Domain) -> bool {
        let dkim = self.verdict.dkim.iter().filter_map(|text| Domain::parse(text).ok());
        let spf = self.mail_from.address().filter(|_| self.verdict.spf == "pass");
        dkim.chain(spf.map(|address| address.domain.clone())).any(|own| own.is_at_or_below(domain))
    }

    fn fits(&self, rule: &RuleConfig) -> bool {
        let lower = |address: &libmox_types::Address| address.to_string().to_lowercase();
        let from = self.mail_from.address().map(lower).unwrap_or_default();
        let header_from = self.facts.from.as_ref().map(lower).unwrap_or_default();
        rule.mail_from.as_ref().is_none_or(|pattern| pattern.matches(&from))
            && rule.from.as_ref().is_none_or(|pattern| pattern.matches(&header_from))
            && rule.verified_domain.as_ref().is_none_or(|domain| self.verified(domain))
            && rule.headers.iter().all(|(name, value)| {
                self.headers.iter().any(|(have, text)| name.matches(have) && value.matches(text))
            })
    }

    /// The first rule that matches.
    pub fn rule<'r>(&self, destination: &'r DestinationConfig) -> Option<&'r RuleConfig> {
        destination.rules.iter().find(|rule| self.fits(rule))
    }
}

impl Store {
    /// For each recipient what to do, and why.
    pub fn analyze(&self, request: &Analyze) -> Result<Vec<Analysis>, Fault> {
        if request.recipients.is_empty() || request.recipients.len() > RECIPIENTS {
            return Err(Fault::Invalid("number of recipients".into()));
        }
        let octets: usize = request.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        if octets > HEADER_OCTETS {
            return Err(Fault::Invalid("header fields too large".into()));
        }
        request.recipients.iter().map(|recipient| self.analyze_one(request, recipient)).collect()
    }

    fn analyze_one(&self, request: &Analyze, recipient: &RecipientPath) -> Result<Analysis, Fault> {
        let directory = self.directory();
        let none = |decision, reason: &str| Analysis { decision, reason: reason.into(), destined: None };
        let (name, id) = match directory.resolve(recipient) {
            Destination::Nobody | Destination::Foreign => {
                return Ok(none(Decision::UnknownUser, "no such user"));
            }
            Destination::Disabled => return Ok(none(Decision::Deferred, "the domain is switched off")),
            Destination::Account(name, id) => (name, id),
        };
        let Some(account) = crate::accounts::exists(&self.engine, id)? else {
            return Ok(none(Decision::UnknownUser, "no such account"));
        };
        if self.over_quota(&name, account.used, request.size.0) {
            return Ok(none(Decision::OverQuota, "the account is full"));
        }
        let configured = directory.accounts.get(&name).cloned().unwrap_or_default();
        let destination = directory.rules(recipient);
        let seen = Seen {
            mail_from: &request.mail_from,
            facts: &request.facts,
            verdict: &request.verdict,
            headers: &request.headers,
        };
        let rule = destination.as_deref().and_then(|destination| seen.rule(destination));
        let mailbox = match rule {
            Some(rule) => rule.mailbox.clone(),
            None => default_mailbox(&configured, destination.as_deref()),
        };
        let mut destined =
            Destined { mailbox, forward: rule.is_some_and(|rule| rule.forward), intro: false, reject: None };
        let accept = |destined, reason: &str| Analysis {
            decision: Decision::Accept,
            reason: reason.into(),
            destined: Some(destined),
        };
        let list = rule.and_then(|rule| rule.list_domain.as_ref());
        if list.is_some_and(|domain| seen.verified(domain)) {
            return Ok(accept(destined, "mailing list that a rule allows"));
        }
        let refused = match &request.refused {
            Some(reason) => Some(reason.clone()),
            None => self.bad_address(id, request, &destined.mailbox)?,
        };
        if let Some(reason) = refused {
            if let Some(rejects_to) = rule.and_then(|rule| rule.rejects_to.as_ref()) {
                destined.mailbox = rejects_to.clone();
                return Ok(accept(destined, &format!("a rule takes rejects: {reason}")));
            }
            let keep = configured.rejects.is_some() && self.may_keep_reject(id);
            destined.reject = Some(Reject { reason: reason.clone(), keep, content: request.content });
            return Ok(Analysis { decision: Decision::Reject, reason, destined: Some(destined) });
        }
        if configured.introbox.is_some()
            && destined.mailbox == MailboxName::inbox()
            && !destined.forward
            && !(request.facts.automatic || request.facts.report)
            && self.is_first(id, request)?
        {
            destined.intro = true;
            return Ok(accept(destined, "first message from this address"));
        }
        Ok(accept(destined, if rule.is_some() { "a rule chose the mailbox" } else { "no objection" }))
    }

    /// Whether everything people judged lately from this proven address was junk.
    fn bad_address(
        &self,
        account: AccountId,
        request: &Analyze,
        mailbox: &MailboxName,
    ) -> Result<Option<String>, Fault> {
        let Some(from) = &request.facts.from else { return Ok(None) };
        let Some(original) = self.engine.record::<MailboxId>(&keys::mailbox_name(account, mailbox))? else {
            return Ok(None);
        };
        let [signal, ..] = of_from(from, request.verdict.dmarc == "pass");
        if signal.class != Class::Address {
            return Ok(None);
        }
        let since = request.received.plus(-ADDRESS_AGE);
        let heard = opinions(&self.engine, account, signal, original, since, ADDRESS_OPINIONS)?;
        let bad = !heard.is_empty() && heard.iter().all(|opinion| opinion.junk);
        Ok(bad.then(|| "mail from this address was junk".to_owned()))
    }

    /// Whether no mail came from this address before.
    fn is_first(&self, account: AccountId, request: &Analyze) -> Result<bool, Fault> {
        let Some(from) = &request.facts.from else { return Ok(false) };
        Ok(self.engine.record::<Heard>(&keys::heard(account, &of_address(from)))?.is_none())
    }
}

/// Where mail goes that no rule takes.
pub fn default_mailbox(account: &Configured, destination: Option<&DestinationConfig>) -> MailboxName {
    let own = destination.and_then(|destination| destination.mailbox.as_ref());
    own.or(account.mailbox.as_ref()).cloned().unwrap_or_else(MailboxName::inbox)
}
