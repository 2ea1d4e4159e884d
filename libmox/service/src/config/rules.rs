//! Rules of a destination: which mailbox a message goes to (row ST-45).
//!
//! Fails with: mistakes of the file they stand in.

use super::reader::Section;
use libmox_types::{Domain, MailboxName};
use regex_lite::{Regex, RegexBuilder};

/// A regular expression, without classes of Unicode. Matching takes time linear in the text.
#[derive(Debug, Clone)]
pub struct Pattern(Regex);

/// Octets of a compiled expression.
const PATTERN_OCTETS: usize = 1 << 20;

impl Pattern {
    /// Compiles it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let built = RegexBuilder::new(text).size_limit(PATTERN_OCTETS).build();
        built
            .map(Self)
            .map_err(|error| error.to_string().lines().last().unwrap_or("cannot be read").to_owned())
    }

    /// Whether it is found in a text.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

/// `[accounts.jane.destinations."jane@example.org"]`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DestinationConfig {
    /// Where mail goes that no rule takes; the account's mailbox if none is named.
    pub mailbox: Option<MailboxName>,
    /// The first that matches decides.
    pub rules: Vec<RuleConfig>,
    /// Other servers are refused at RCPT: 421 or 550, and words (row SR-27).
    pub smtp_error: Option<(u16, String)>,
    /// Mail must be of the domain in From, as for DMARC, or it is refused in these words (row SR-27).
    pub auth_required: Option<String>,
}

/// Characters of a refusal.
const REFUSAL: usize = 400;

/// Row SR-27: `550`, or `550 no such person here`.
fn smtp_error(text: &str) -> Result<(u16, String), String> {
    let (code, words) = text.split_once(' ').unwrap_or((text, ""));
    let words = words.trim();
    match code {
        "421" | "550" if words.is_empty() => {
            let usual =
                if code == "421" { "not available now, try again later" } else { "no such user here" };
            Ok((code.parse().map_err(|_| "no code")?, usual.to_owned()))
        }
        "421" | "550" => Ok((code.parse().map_err(|_| "no code")?, refusal(words)?)),
        _ => Err("a code, 421 or 550, and perhaps words are wanted".into()),
    }
}

fn refusal(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > REFUSAL || !text.bytes().all(|b| (b' '..0x7f).contains(&b)) {
        return Err(format!("1 to {REFUSAL} printable ASCII characters are wanted"));
    }
    Ok(text.to_owned())
}

/// `[[accounts.jane.destinations."jane@example.org".rules]]`. Everything that is given must match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleConfig {
    /// Against MAIL FROM.
    pub mail_from: Option<Pattern>,
    /// Against the address in From.
    pub from: Option<Pattern>,
    /// SPF or DKIM passed for this domain or one below it.
    pub verified_domain: Option<Domain>,
    /// Name and value of header fields, both in lower case; each pair must match some field.
    pub headers: Vec<(Pattern, Pattern)>,
    /// Comes through a server of the account's own (row JK-12).
    pub forward: bool,
    /// A list whose mail is taken unseen where this domain is verified.
    pub list_domain: Option<Domain>,
    /// Where mail goes that would be refused.
    pub rejects_to: Option<MailboxName>,
    /// Where to.
    pub mailbox: MailboxName,
    /// For people.
    pub comment: String,
}

/// Rules of one destination.
const RULES: usize = 1_000;

impl DestinationConfig {
    pub(super) fn read(s: &mut Section<'_>) -> Self {
        let mailbox = s.text("mailbox", MailboxName::parse);
        let rules: Vec<RuleConfig> = s.tables("rules", RuleConfig::read).into_iter().flatten().collect();
        if rules.len() > RULES {
            s.mistake(format!("more than {RULES} rules"));
        }
        let smtp_error = s.text("smtp-error", smtp_error);
        let auth_required = s.text("message-auth-required-smtp-error", refusal);
        Self { mailbox, rules, smtp_error, auth_required }
    }
}

impl RuleConfig {
    fn read(s: &mut Section<'_>) -> Option<Self> {
        let mailbox = s.text("mailbox", MailboxName::parse);
        let (mail_from, from) = (s.text("mail-from", Pattern::parse), s.text("from", Pattern::parse));
        let verified_domain = s.text("verified-domain", Domain::parse);
        let headers = s.pairs("headers", Pattern::parse);
        let forward = s.yes_no("is-forward", false);
        let list_domain = s.text("list-allow-domain", Domain::parse);
        let rejects_to = s.text("accept-rejects-to-mailbox", MailboxName::parse);
        let comment = s.text("comment", |text| Ok::<_, String>(text.to_owned())).unwrap_or_default();
        if mail_from.is_none() && from.is_none() && verified_domain.is_none() && headers.is_empty() {
            s.mistake("a rule names at least one of mail-from, from, verified-domain and headers");
        }
        let Some(mailbox) = mailbox else {
            s.mistake("a rule names a mailbox");
            return None;
        };
        Some(Self {
            mail_from,
            from,
            verified_domain,
            headers,
            forward,
            list_domain,
            rejects_to,
            mailbox,
            comment,
        })
    }
}
