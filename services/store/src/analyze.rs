//! What to do with a message from a stranger: one look at configuration, quota and what is known of the sender.
//!
//! | asked in this order | then | reason |
//! |---|---|---|
//! | is there such a recipient, and room? | else refused with its own code | |
//! | did too much come from this network lately (`rates.rs`)? | put off | `rate` |
//! | must the domain in From be proven for this address (row SR-27), and is not? | rejected | `message-auth`, `message-auth-temporary` |
//! | does a rule match whose list domain is verified? | taken, whatever else is known | `mailing-list` |
//! | is it a report, where reports are wanted, and proven to be of whom it says? | taken, seen already | `report` |
//! | does the service refuse it (DMARC), no rule says it was forwarded, and no trusted ARC seal that DMARC passed? | rejected | `dmarc` |
//! | is its reputation sure (`reputation.rs`)? | taken or rejected | the step |
//! | is its sender not known, and did SPF fail? | rejected | `spf` |
//! | is it perhaps junk, and its reverse DNS not right? | rejected | `iprev` |
//! | does its subject hold a token that is good? | taken | `subject-pass` |
//! | do its words look like junk? | rejected | `junk-content` |
//! | does a DNS block list know its address? | rejected | `dns-list` |
//! | is it the first message from this address, and Inbox its place? | taken into the mailbox for first messages | `first-message` |
//! | | taken | `no-bad-signals` |
//!
//! What would be rejected is taken where the rule that matches has a mailbox for that. Looks of row JK-08 and DNS
//! block lists count for a sender that is not known; what is known of one is known to this account alone.

use crate::directory::{Configured, Destination};
use crate::junk::{Count, Score, named, score, words_of};
use crate::keys;
use crate::limits::RECIPIENTS;
use crate::records::{Heard, Read};
use crate::reputation::{Sender, Step, reputation};
use crate::signals::{Origin, asked_of, is_proven, of_address};
use crate::store::Store;
use libmox_service::clock::random_u64;
use libmox_service::config::{AliasConfig, DestinationConfig, RuleConfig};
use libmox_store::{
    Analysis, Analyze, Decision, Destined, Facts, Fault, HEADER_OCTETS, Lists, Member, RecipientPath, Reject,
    ReportKind, ReportSeen, Verdict,
};
use libmox_types::{AccountId, Domain, MailboxId, MailboxName, ReversePath};
use std::collections::HashMap;

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
    pub async fn analyze(&self, request: &Analyze) -> Result<Vec<Analysis>, Fault> {
        if request.recipients.is_empty() || request.recipients.len() > RECIPIENTS {
            return Err(Fault::Invalid("number of recipients".into()));
        }
        let octets: usize = request.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        if octets > HEADER_OCTETS {
            return Err(Fault::Invalid("header fields too large".into()));
        }
        let mut analyses: Vec<Analysis> = Vec::with_capacity(request.recipients.len());
        let mut lists: HashMap<libmox_types::Address, Analysis> = HashMap::new();
        let mut members = 0;
        for recipient in &request.recipients {
            let mut one = match self.directory().resolve(recipient) {
                Destination::List(alias) => match lists.get(&alias.address) {
                    // However often and by whichever of its addresses a list is named, it is judged once.
                    Some(before) => before.clone(),
                    None => {
                        members += alias.members.len();
                        let one = match members <= RECIPIENTS {
                            true => self.analyze_list(request, &alias, recipient).await?,
                            false => analysis(Decision::Deferred, "too many members of lists"),
                        };
                        let mut again = one.clone();
                        again.chain.clear();
                        again.destined.iter_mut().for_each(|destined| destined.members.clear());
                        lists.insert(alias.address.clone(), again);
                        one
                    }
                },
                destination => self.analyze_account(request, recipient, recipient, destination).await?,
            };
            // The reply has to fit a frame.
            if analyses.len() >= CHAINS {
                one.chain.clear();
            }
            one.chain.truncate(CHAIN);
            analyses.push(one);
        }
        Ok(analyses)
    }

    /// Rows SR-12, SR-15: each member judges for itself; one that takes it is enough.
    async fn analyze_list(
        &self,
        request: &Analyze,
        alias: &AliasConfig,
        recipient: &RecipientPath,
    ) -> Result<Analysis, Fault> {
        let directory = self.directory();
        if !directory.may_post(alias, request.facts.from.as_ref()) {
            let text = "only members may write to this list".into();
            return Ok(Analysis { text, ..analysis(Decision::NotMember, "not-member") });
        }
        let mut best: Option<Analysis> = None;
        let mut members = Vec::new();
        let mut chain = Vec::new();
        for member in directory.readers(alias, request.facts.from.as_ref()) {
            let destination = directory.resolve_address(&member);
            let path = RecipientPath::Address(member.clone());
            let one = self.analyze_account(request, &path, recipient, destination).await?;
            chain.push(("member".into(), member.to_string()));
            chain.extend(one.chain.iter().cloned());
            chain.push(("member's result".into(), format!("{:?}, {}", one.decision, one.reason)));
            members.extend(one.destined.clone().map(|destined| Member { address: member, destined }));
            let better = match &best {
                None => true,
                Some(best) => one.decision == Decision::Accept && best.decision != Decision::Accept,
            };
            if better {
                best = Some(one);
            }
        }
        let mut best = best.unwrap_or_else(|| analysis(Decision::Deferred, "list without members"));
        if let Some(destined) = &mut best.destined {
            destined.members = members;
        }
        best.chain = chain;
        Ok(best)
    }

    /// For an account: by which address it gets it, and which one the sender named.
    async fn analyze_account(
        &self,
        request: &Analyze,
        recipient: &RecipientPath,
        named: &RecipientPath,
        destination: Destination,
    ) -> Result<Analysis, Fault> {
        let directory = self.directory();
        let none = |decision, text: &str| Analysis { text: text.into(), ..analysis(decision, "") };
        let (name, id) = match destination {
            Destination::Nobody | Destination::Foreign | Destination::List(_) => {
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
        // Asked again because of block lists, it is the same message.
        if request.lists == Lists::NotAsked
            && let Err(what) =
                self.rates.take(id, request.remote_ip, request.size.0, directory.settings.deliveries)
        {
            let mut late = none(Decision::TooOften, &format!("too many {what} from this network"));
            late.reason = "rate".into();
            // Whoever delivers it all the same, to others of a list, does not deliver it here.
            late.destined = Some(Destined {
                mailbox: MailboxName::inbox(),
                forward: false,
                intro: false,
                reject: Some(Reject { reason: "rate".into(), keep: false, content: request.content }),
                members: Vec::new(),
                seen: false,
            });
            return Ok(late);
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
        let mut destined = Destined {
            mailbox,
            forward: rule.is_some_and(|rule| rule.forward),
            intro: false,
            reject: None,
            members: Vec::new(),
            seen: false,
        };
        let list = rule.and_then(|rule| rule.list_domain.as_ref());
        let required = destination.as_ref().and_then(|destination| destination.auth_required.as_ref());
        // Row MA-18: an address for reports takes reports of those who prove who they are.
        let report = directory.reports(recipient).and_then(|_| judge_report(&directory, request));
        let mut found = if let Some(refused) = required.and_then(|words| unproven(request, words)) {
            refused
        } else if list.is_some_and(|domain| seen.verified(domain)) {
            let refused = request.refused.is_some().then_some("mailing_list");
            Found {
                dmarc_override: refused,
                ..Found::take("mailing-list", "a rule allows mail of this list".into())
            }
        } else if report == Some(Ok(())) {
            destined.seen = true;
            Found::take("report", "a report that was asked for".into())
        } else {
            let case =
                Case { request, account: id, configured: &configured, destined: &destined, recipient: named };
            self.judge(&case).await?
        };
        found.report_error = report.and_then(Result::err);
        if let Some(rule) = rule {
            let text = if rule.comment.is_empty() { rule.mailbox.as_str() } else { &rule.comment };
            found.chain.insert(0, ("rule".into(), text.to_owned()));
        }
        if !found.take {
            if let Some(rejects_to) = rule.and_then(|rule| rule.rejects_to.as_ref()) {
                destined.mailbox = rejects_to.clone();
                found.text = format!("a rule takes what would be refused: {}", found.text);
                return Ok(found.into_analysis(Decision::Accept, destined));
            }
            let keep = configured.rejects.is_some() && self.may_keep_reject(id);
            destined.reject = Some(Reject { reason: found.reason.into(), keep, content: request.content });
            return Ok(found.into_analysis(Decision::Reject, destined));
        }
        if configured.introbox.is_some()
            && destined.mailbox == MailboxName::inbox()
            && !destined.forward
            && !(request.facts.automatic || request.facts.report)
            && self.is_first(id, request)?
        {
            destined.intro = true;
            found.reason = "first-message";
            found.text = "first message from this address".into();
        }
        found.first &=
            !(configured.no_first_time_delay || destined.forward || request.facts.report || list.is_some());
        Ok(found.into_analysis(Decision::Accept, destined))
    }

    /// All steps behind the rules.
    async fn judge(&self, case: &Case<'_>) -> Result<Found, Fault> {
        let Case { request, account, configured, destined, recipient } = case;
        let verdict = &request.verdict;
        // Row MA-24: a forwarder of the account's own list says that DMARC passed before it changed the message.
        let sealed = request.sealed_by.as_ref().filter(|sealer| configured.arc_sealers.contains(sealer));
        // Row MA-10.
        let dmarc_override = match (&request.refused, destined.forward, sealed) {
            (Some(_), true, _) => Some("forwarded"),
            (Some(_), false, Some(_)) => Some("trusted_forwarder"),
            _ => None,
        };
        if let Some(refused) = request.refused.as_ref().filter(|_| !destined.forward && sealed.is_none()) {
            return Ok(Found::refuse("dmarc", refused.clone()));
        }
        let original = self.engine.record::<MailboxId>(&keys::mailbox_name(*account, &destined.mailbox))?;
        let helo = request.helo.as_ref().map(ToString::to_string).unwrap_or_default();
        let origin =
            Origin { mail_from: &request.mail_from, helo: &helo, remote_ip: request.remote_ip, verdict };
        let from = request.facts.from.as_ref();
        let proven =
            sealed.is_some() || from.is_some_and(|from| is_proven(from, verdict, &request.mail_from));
        let signals = asked_of(from, proven, (!destined.forward).then_some(&origin));
        let (now, account) = (request.received, *account);
        let sender = Sender { account, original, now, from, proven, signals: &signals };
        let known = reputation(&self.engine, &sender)?;
        let mut chain = known.found;
        if let Some(sealer) = sealed {
            chain.insert(0, ("ARC".into(), format!("sealed by {sealer}, where DMARC passed")));
        }
        chain.push(("reputation".into(), known.step.word().into()));
        let unknown = !known.step.knows_sender();
        let found = |take, reason, text: String| Found {
            take,
            reason,
            text,
            chain: chain.clone(),
            dmarc_override,
            ..Found::default()
        };
        match (known.junk, known.sure) {
            (Some(true), true) => {
                return Ok(found(false, known.step.word(), "earlier mail was junk".into()));
            }
            (Some(false), true) => {
                return Ok(found(true, known.step.word(), "earlier mail was no junk".into()));
            }
            _ => {}
        }
        let strange = unknown && !destined.forward && sealed.is_none();
        if strange && known.junk != Some(false) && matches!(verdict.spf.as_str(), "fail" | "softfail") {
            return Ok(found(false, "spf", format!("unknown sender, and SPF {}", verdict.spf)));
        }
        let reverse_wrong = strange && matches!(verdict.iprev.as_str(), "fail" | "permerror" | "none");
        if reverse_wrong && known.junk == Some(true) {
            return Ok(found(false, "iprev", "perhaps junk, and reverse DNS is not right".into()));
        }
        if let (Some(token), Some(from)) = (&request.pass, from)
            && configured.subject_pass > 0
            && self.pass_is_good(account, token, from, now, configured.subject_pass)?
        {
            return Ok(found(true, "subject-pass", "the subject holds a token of ours".into()));
        }
        let mut outcome = Found { first: unknown, ..found(true, "no-bad-signals", known.step.word().into()) };
        let content = self.judge_content(account, configured, &request.facts).await?;
        // Row JK-07.
        let why_strict = match () {
            () if !strange => None,
            () if reverse_wrong => Some("reverse DNS is not right"),
            () if !request.tls => Some("no TLS"),
            () if !names_recipient(&request.facts, recipient) => Some("the recipient is not in To or Cc"),
            () => None,
        };
        let mut weakly = false;
        if let Some(content) = &content {
            let draw = f64::from(u16::try_from(random_u64() & 0xffff).unwrap_or(0)) / 65_535.0;
            let usual = configured.junk_filter.threshold_at(draw);
            let threshold = if why_strict.is_some() { usual.min(STRICT) } else { usual };
            // Whatever is asked to look more like good mail is not given the benefit of the doubt.
            let agreed = if why_strict.is_some() { 0.0 } else { usual.min(AGREED) };
            let text = format!(
                "probability {}, threshold {}{}{}{}{}",
                shown(content.score.probability),
                shown(threshold),
                if why_strict.is_some() || !content.score.significant {
                    String::new()
                } else {
                    format!("; by all words {}, threshold {}", shown(content.score.of_all), shown(agreed))
                },
                why_strict.map(|why| format!(" ({why})")).unwrap_or_default(),
                if content.score.significant { "" } else { ", too little was learnt to say" },
                if request.facts.bad_content_type { ", a Content-Type that cannot be read" } else { "" },
            );
            outcome.chain.push(("content".into(), text.clone()));
            for (side, words) in [("words for no junk", &content.ham), ("words for junk", &content.junk)] {
                if !words.is_empty() {
                    outcome.chain.push((side.into(), words.clone()));
                }
            }
            let is_junk = content.score.probability > threshold && content.score.of_all > agreed;
            if content.score.significant && is_junk {
                weakly = content.score.probability < usual - WEAK;
                (outcome.take, outcome.reason, outcome.text) = (false, "junk-content", text);
            }
        }
        if outcome.take && unknown {
            match &request.lists {
                Lists::NotAsked => outcome.ask_lists = true,
                Lists::Clear => outcome.chain.push(("DNS lists".into(), "not listed".into())),
                Lists::Listed(what) => {
                    outcome.chain.push(("DNS lists".into(), what.clone()));
                    weakly = true;
                    (outcome.take, outcome.reason) = (false, "dns-list");
                    outcome.text.clone_from(what);
                }
            }
        }
        if !outcome.take
            && weakly
            && known.step == Step::Nothing
            && verdict.dmarc == "pass"
            && configured.subject_pass > 0
            && let Some(from) = from
        {
            outcome.pass = Some(self.pass_for(account, from, now)?);
        }
        Ok(outcome)
    }

    /// What the words of a message say; none without a filter.
    async fn judge_content(
        &self,
        account: AccountId,
        configured: &Configured,
        facts: &Facts,
    ) -> Result<Option<Content>, Fault> {
        let config = &configured.junk_filter;
        if !config.enabled {
            return Ok(None);
        }
        let filter = self.warm_words(account).await?;
        if !filter.is_significant() {
            return Ok(Some(Content {
                score: Score { probability: 0.5, ..Score::default() },
                ..Content::default()
            }));
        }
        if facts.bad_content_type {
            let score = Score { probability: 1.0, of_all: 1.0, significant: true, ..Score::default() };
            return Ok(Some(Content { score, ..Content::default() }));
        }
        let words = words_of(&facts.words, config.into());
        let live = self.accounts.live(account);
        let in_memory = live
            .words
            .with(|table| score(config, &table.filter, &words, |word| table.words.get(&word).copied()));
        let score = match in_memory {
            Some(score) => score,
            None => {
                // Too large a table to have in memory.
                let mut counts = HashMap::with_capacity(words.len());
                for word in &words {
                    if let Some(value) = self.engine.get(&keys::junk_word(account, *word))? {
                        counts.extend(Count::read(&value).map(|count| (*word, count)));
                    }
                }
                score(config, &filter, &words, |word| counts.get(&word).copied())
            }
        };
        let wanted: Vec<u32> = score.ham.iter().chain(&score.junk).map(|(word, _)| *word).collect();
        let names = named(&facts.words, config.into(), &wanted);
        let list = |words: &[(u32, f64)]| {
            let one = |(word, weight): &(u32, f64)| {
                names.get(word).map(|name| format!("{name} {weight:.2}")).unwrap_or_default()
            };
            words.iter().map(one).collect::<Vec<_>>().join(", ")
        };
        let (ham, junk) = (list(&score.ham), list(&score.junk));
        Ok(Some(Content { score, ham, junk }))
    }

    /// Whether no mail came from this address before.
    fn is_first(&self, account: AccountId, request: &Analyze) -> Result<bool, Fault> {
        let Some(from) = &request.facts.from else { return Ok(false) };
        Ok(self.engine.record::<Heard>(&keys::heard(account, &of_address(from)))?.is_none())
    }
}

/// A probability for people, who want to know how far from certain it is.
fn shown(probability: f64) -> String {
    match 1.0 - probability {
        rest if rest > 0.0 && rest < 0.000_5 => format!("1-{rest:.0e}"),
        _ => format!("{probability:.3}"),
    }
}

/// Recipients of whom the whole chain is told, and how many links of it.
const CHAINS: usize = 20;
const CHAIN: usize = 200;
/// Row JK-07: the threshold for what comes from a stranger in a strange way.
const STRICT: f64 = 0.25;
/// What all words of a message together must come to as well.
const AGREED: f64 = 0.9;
/// So far below the threshold it is only a little like junk.
const WEAK: f64 = 0.2;

/// One message to one recipient.
struct Case<'a> {
    request: &'a Analyze,
    account: AccountId,
    configured: &'a Configured,
    destined: &'a Destined,
    recipient: &'a RecipientPath,
}

#[derive(Default)]
struct Content {
    score: Score,
    ham: String,
    junk: String,
}

/// What was found out.
#[derive(Default)]
struct Found {
    take: bool,
    reason: &'static str,
    text: String,
    chain: Vec<(String, String)>,
    ask_lists: bool,
    first: bool,
    pass: Option<String>,
    dmarc_override: Option<&'static str>,
    report_error: Option<String>,
}

impl Found {
    fn take(reason: &'static str, text: String) -> Self {
        Self { take: true, reason, text, ..Self::default() }
    }

    fn refuse(reason: &'static str, text: String) -> Self {
        Self { reason, text, ..Self::default() }
    }

    fn into_analysis(self, decision: Decision, destined: Destined) -> Analysis {
        Analysis {
            destined: Some(destined),
            text: self.text,
            ask_lists: self.ask_lists && decision == Decision::Accept,
            first: self.first && decision == Decision::Accept,
            pass: self.pass,
            chain: self.chain,
            dmarc_override: self.dmarc_override.map(Into::into),
            report_error: self.report_error,
            ..analysis(decision, self.reason)
        }
    }
}

fn analysis(decision: Decision, reason: &str) -> Analysis {
    Analysis {
        decision,
        reason: reason.into(),
        destined: None,
        text: String::new(),
        ask_lists: false,
        first: false,
        pass: None,
        chain: Vec::new(),
        dmarc_override: None,
        report_error: None,
    }
}

/// Row SR-27: why a message is refused where it must be of the domain in its From. None where it is, or where nothing
/// was checked.
fn unproven(request: &Analyze, words: &str) -> Option<Found> {
    let verdict = &request.verdict;
    if verdict.dmarc.is_empty()
        || request.facts.from.as_ref().is_some_and(|from| is_proven(from, verdict, &request.mail_from))
    {
        return None;
    }
    let failing = [&verdict.dmarc, &verdict.spf].into_iter().any(|word| word == "temperror");
    let reason = if failing { "message-auth-temporary" } else { "message-auth" };
    Some(Found::refuse(reason, words.to_owned()))
}

/// Seconds that the end of a report's time may be ahead. Row MA-18.
const REPORT_AHEAD: i64 = 60;

/// Row MA-18, TP-13: whether a message is a report that counts, or what is wrong with it. None where nobody looked.
fn judge_report(directory: &crate::directory::Directory, request: &Analyze) -> Option<Result<(), String>> {
    let (kind, domains, end, signed_by) = match &request.report {
        ReportSeen::NotAsked => return None,
        ReportSeen::Unreadable(why) => return Some(Err(format!("could not read report: {why}"))),
        ReportSeen::Read { kind, domains, end, signed_by } => (kind, domains, end, signed_by),
    };
    // RFC 8460 §3: signed by the domain of From or one above it.
    let signed = |from: &libmox_types::Address| signed_by.iter().any(|by| from.domain.is_at_or_below(by));
    let own = |domain: &Domain| directory.domains.contains_key(domain);
    let host = &directory.settings.hostname;
    let (proven, known) = match kind {
        ReportKind::Dmarc if request.verdict.dmarc != "pass" => (Err("no DMARC pass"), false),
        ReportKind::Dmarc => (Ok(()), domains.iter().any(own)),
        ReportKind::Tls if !request.facts.from.as_ref().is_some_and(signed) => {
            (Err("no DKIM signature that may sign reports on TLS"), false)
        }
        // Also about the hosts that take the mail.
        ReportKind::Tls => (Ok(()), domains.iter().any(|domain| own(domain) || domain == host)),
    };
    Some(match proven {
        Err(what) => Err(what.to_owned()),
        Ok(()) if !known => Err("the report is about no domain of this server".to_owned()),
        Ok(()) if end.0 > request.received.0 + REPORT_AHEAD => {
            Err("the report ends in the future".to_owned())
        }
        Ok(()) => Ok(()),
    })
}

/// Whether To or Cc name the recipient.
fn names_recipient(facts: &Facts, recipient: &RecipientPath) -> bool {
    let RecipientPath::Address(recipient) = recipient else { return true };
    let same = |address: &libmox_types::Address| {
        address.domain == recipient.domain
            && address.local.as_str().to_lowercase() == recipient.local.as_str().to_lowercase()
    };
    facts.recipients.iter().any(same)
}

/// Where mail goes that no rule takes.
pub fn default_mailbox(account: &Configured, destination: Option<&DestinationConfig>) -> MailboxName {
    let own = destination.and_then(|destination| destination.mailbox.as_ref());
    own.or(account.mailbox.as_ref()).cloned().unwrap_or_else(MailboxName::inbox)
}
