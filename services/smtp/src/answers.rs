//! Asks the store and the verifier on behalf of one session.

use crate::feedback::Judged;
use crate::report::{self, Failed, Why};
use crate::{events, header, policy};
use aws_lc_rs::digest::{Context, SHA256};
use libmox_ipc::Verb;
use libmox_message::Parser;
use libmox_message::foreign::OwnResults;
use libmox_message::received::{self, Received, With};
use libmox_reception::{Policy, Taken, Tap, simulate, store_refusal};
use libmox_sasl::Mechanism;
use libmox_service::clock;
use libmox_service::config::Static;
use libmox_service::wire::{Wire, WireFault};
use libmox_smtp::command::RcptPath;
use libmox_smtp::session::{Answer, Login, Session, Transaction};
use libmox_smtp::{Reply, limits, simulated};
use libmox_store::{
    Analysis, Analyze, Body, CacheGet, CacheKind, CacheSet, CheckRecipient, Decided, Decision, Deliver,
    DeliverNoting, DeliverTo, DeliverTogether, Delivered, Facts, Fault, HEADER_OCTETS, Lists, RecipientPath,
    RecipientStatus, ReportRead, ReportSeen, Store, StoreContract, StoreError, Together, Verdict,
};
use libmox_types::{Address, Cid, Domain, LocalPart, ReversePath, Timestamp};
use libmox_verify::{
    AskLists, ListHealth, ReadReport, Shape, Spf, Takes, TakesMail, Verified, Verifier, Verify,
};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// One connection's questions.
pub(crate) struct Answers {
    store: Store,
    verifier: Verifier,
    config: Arc<Static>,
    cid: Cid,
    ip: IpAddr,
    /// A sender of this connection, and whether SPF vouches for it.
    sure: Option<(ReversePath, bool)>,
    /// Some recipient of the transaction is an address for reports.
    reports: bool,
    /// Whether a recipient of the transaction has a junk filter, as far as is known.
    filtered: bool,
}

/// A message that is being judged.
#[derive(Clone, Copy)]
struct Asked<'a> {
    wire: &'a Wire,
    session: &'a Session,
    transaction: &'a Transaction,
    verified: &'a Verified,
    now: Timestamp,
    /// What it holds as a report.
    report: Option<&'a Result<ReportRead, String>>,
}

/// For the journal.
fn reason_of(outcomes: &[Delivered], analyses: &[Analysis]) -> String {
    let whys: Vec<String> = analyses
        .iter()
        .filter(|analysis| analysis.decision == Decision::Reject)
        .map(|analysis| format!("{}: {}", analysis.reason, analysis.text))
        .collect();
    if whys.is_empty() { format!("{outcomes:?}") } else { whys.join("; ") }
}

/// Links of the chain that is kept of a decision, and octets of each.
const CHAIN: usize = 300;
const CHAIN_TEXT: usize = 2_000;
/// How long it is believed that a DNS block list works, in seconds. Row MA-22.
const LIST_HEALTH_AGE: i64 = 4 * 3600;
/// Tries to deliver to several: one for each time that somebody turned out not to have it.
const TRIES: usize = 3;

/// Looks at a message as it comes in.
pub(crate) struct Look {
    /// Parses here only where nobody else does.
    parser: Option<Parser>,
    /// Names the content, so that a reject is kept once.
    digest: Context,
}

impl Tap for Look {
    fn feed(&mut self, bytes: &[u8]) {
        if let Some(parser) = &mut self.parser {
            parser.feed(bytes);
        }
        self.digest.update(bytes);
    }
}

impl Answers {
    pub(crate) fn new(store: Store, verifier: Verifier, config: Arc<Static>, cid: Cid, ip: IpAddr) -> Self {
        Self { store, verifier, config, cid, ip, sure: None, reports: false, filtered: true }
    }

    fn refuse(&self, transaction: &Transaction, reply: Reply, reason: &str) -> Reply {
        events::refused(self.cid, self.ip, transaction, &reply, reason);
        reply
    }

    /// What is known of the message, from `mox-verify` or, where that is switched off, from here.
    async fn examine(
        &self,
        session: &Session,
        transaction: &Transaction,
        taken: &mut Taken<Look>,
        now: Timestamp,
    ) -> Result<Verified, Reply> {
        if let Some(parser) = taken.tap.parser.take() {
            let found = parser.finish();
            return Ok(Verified {
                facts: Facts::from(&found),
                shape: Shape::from(&found),
                verdict: Verdict::default(),
                headers: String::new(),
                dmarc_refuses: false,
                sealed_by: None,
                chain: Vec::new(),
                dmarc_note: None,
                dmarc: None,
                report_signers: Vec::new(),
            });
        }
        let later = || Reply::new(451, "4.3.0", "cannot check messages now, try again later");
        let descriptor = taken.descriptor().map_err(|error| {
            events::unavailable(self.cid, "staging file", &error);
            later()
        })?;
        let question = Verify {
            cid: self.cid,
            now,
            remote_ip: self.ip,
            helo: session.hello().and_then(|hello| hello.host.clone()),
            mail_from: transaction.from.clone(),
            inline: taken.inline().map(|bytes| serde_bytes::ByteBuf::from(bytes.to_vec())),
            size: taken.size,
        };
        let answer = self.verifier.ask_with(question, descriptor.into_iter().collect()).await;
        answer.map(|(verified, _)| verified).map_err(|error| {
            events::unavailable(self.cid, "mox-verify", &error);
            later()
        })
    }

    /// For `mox why`: everything that was looked at.
    fn decided(&self, asked: &Asked<'_>, known: &[&RcptPath], analyses: &[Analysis]) -> Decided {
        let Asked { wire, session, transaction, verified, now, .. } = *asked;
        let tls = wire.tls().map_or("no TLS".to_owned(), |tls| format!("{} {}", tls.version, tls.cipher));
        let hello = session.hello().map(|hello| hello.text.as_str()).unwrap_or_default();
        let mut chain = vec![("connection".to_owned(), format!("{}, EHLO {hello}, {tls}", self.ip))];
        chain.extend(verified.chain.iter().cloned());
        for (to, analysis) in known.iter().zip(analyses) {
            let to = address_of(to, &self.config).map(|address| address.to_string()).unwrap_or_default();
            chain.push(("recipient".into(), to));
            chain.extend(analysis.chain.iter().cloned());
            let mailbox = analysis.destined.as_ref().map(|destined| format!(", for {}", destined.mailbox));
            let text = format!(
                "{:?}, {}: {}{}",
                analysis.decision,
                analysis.reason,
                analysis.text,
                mailbox.unwrap_or_default()
            );
            chain.push(("result".into(), text));
        }
        // It has to fit a frame, whatever was in the message.
        chain.truncate(CHAIN);
        for (_, text) in &mut chain {
            if text.len() > CHAIN_TEXT {
                *text = text.chars().take(CHAIN_TEXT / 4).collect();
            }
        }
        Decided {
            cid: self.cid,
            at: now,
            remote_ip: self.ip,
            mail_from: transaction.from.clone(),
            message_id: verified.facts.message_id.clone(),
            reply: String::new(),
            chain,
        }
    }

    /// Row SR-24: the fields made at delivery, one set for each recipient.
    fn prefix(&self, asked: &Asked<'_>, recipient: &RcptPath, analysis: &Analysis) -> Vec<u8> {
        let Asked { wire, session, transaction, verified, now, report } = *asked;
        let address = address_of(recipient, &self.config);
        let tls = wire.tls().map(|tls| format!("{} {}", tls.version, tls.cipher));
        let hello = session.hello().map(|hello| hello.text.as_str()).unwrap_or_default();
        let trace = Received {
            from: Some(received::From { hello, ip: self.ip, name: None }),
            by: &self.config.hostname,
            with: With {
                utf8: needs_utf8(transaction, verified.shape),
                extended: session.is_extended(),
                tls: tls.is_some(),
                authenticated: false,
            },
            tls: tls.as_deref(),
            requiretls: transaction.params.requiretls,
            id: self.cid,
            recipient: address.as_ref().filter(|_| transaction.recipients.len() == 1),
            time: now,
        };
        let mut prefix = header::reason(analysis);
        prefix.push_str(&received::return_path(&transaction.from));
        if let Some(address) = &address {
            prefix.push_str(&received::delivered_to(address));
        }
        let kind = report.and_then(|report| report.as_ref().ok()).map(|read| read.kind);
        prefix.push_str(&header::report_error(analysis, kind));
        let overridden = analysis.dmarc_override.as_deref();
        prefix.push_str(&header::with_override(&verified.headers, verified.dmarc_note, overridden));
        prefix.push_str(&trace.write());
        if has_no_header(verified) {
            // Row ST-03: all of the message is body, so the header ends here.
            prefix.push_str("\r\n");
        }
        prefix.into_bytes()
    }

    async fn deliver(
        &self,
        wire: &Wire,
        session: &Session,
        transaction: &Transaction,
        mut taken: Taken<Look>,
    ) -> Reply {
        let now = clock::now();
        let verified = match self.examine(session, transaction, &mut taken, now).await {
            Ok(verified) => verified,
            Err(reply) => return reply,
        };
        if let Some((reply, reason)) = policy::judge_message(verified.shape) {
            return self.refuse(transaction, reply, reason);
        }
        let (mut known, mut failed) = (Vec::new(), Vec::new());
        for recipient in &transaction.recipients {
            match (recipient.unknown, address_of(&recipient.rcpt.to, &self.config)) {
                (true, Some(address)) => failed.push(Failed { address, why: Why::UnknownUser }),
                _ => known.push(&recipient.rcpt.to),
            }
        }
        let report = match self.reports && self.checks() {
            true => Some(self.read_report(&taken).await),
            false => None,
        };
        let asked = Asked { wire, session, transaction, verified: &verified, now, report: report.as_ref() };
        let analyses = match self.analyze(&asked, &known, &taken).await {
            Ok(analyses) => analyses,
            Err(error) => {
                if error.fault().is_none() {
                    events::unavailable(self.cid, "mox-store", &error);
                }
                return self.refuse(transaction, store_refusal(&error), &events::reason(&error));
            }
        };
        if analyses.len() > 1 {
            for analysis in &analyses {
                events::judged(self.cid, analysis);
            }
        }
        // Row SR-29: whoever sends to very many does not wait.
        if analyses.iter().any(|analysis| analysis.first) && !self.config.localserve {
            tokio::time::sleep(self.config.smtp.first_time_delay).await;
        }
        let recipients = known
            .iter()
            .zip(&analyses)
            .map(|(to, analysis)| DeliverTo {
                recipient: path_of(to),
                prefix: self.prefix(&asked, to, analysis),
                // Whatever else it said, the delivery says again.
                destined: analysis.destined.clone(),
            })
            .collect();
        let size = taken.size.0;
        let decided = self.decided(&asked, &known, &analyses);
        let judged = self.judged(&asked, &known, &analyses);
        let (accepted, refused) = (judged.feedback(true), judged.feedback(false));
        let body = taken.lend();
        let request = Deliver {
            cid: self.cid,
            received: now,
            remote_ip: self.ip,
            helo: session.hello().and_then(|hello| hello.host.clone()),
            mail_from: transaction.from.clone(),
            body,
            facts: verified.facts,
            verdict: verified.verdict,
            recipients,
        };
        let outcome = match transaction.recipients.len() {
            1 => {
                let noted = Decided { reply: policy::kept().to_string(), ..decided.clone() };
                let noting = |deliver| DeliverNoting { deliver, decided: noted.clone() };
                self.hand_in(&mut taken, request, noting).await.map(|outcomes| {
                    let reply = policy::judge_delivery(&outcomes, &analyses);
                    let reason =
                        if reply.is_error() { reason_of(&outcomes, &analyses) } else { String::new() };
                    (reply, reason)
                })
            }
            _ => self.deliver_together(request, known, failed, &analyses, &mut taken, now).await,
        };
        match outcome {
            Ok((reply, reason)) => {
                // What was kept for one is noted already. Nobody's message depends on it.
                if (reply.is_error() || transaction.recipients.len() > 1)
                    && let Err(error) = self.store.ask(Decided { reply: reply.to_string(), ..decided }).await
                {
                    events::unavailable(self.cid, "mox-store", &error);
                }
                let feedback = if reply.is_error() { refused } else { accepted };
                if let Some(feedback) = feedback
                    && let Err(error) = self.store.ask(feedback).await
                {
                    events::unavailable(self.cid, "mox-store", &error);
                }
                if reply.is_error() {
                    return self.refuse(transaction, reply, &reason);
                }
                taken.used();
                events::stored(self.cid, transaction, size, &analyses);
                reply
            }
            Err(error) => {
                let reply = store_refusal(&error);
                if error.fault().is_none() {
                    events::unavailable(self.cid, "mox-store", &error);
                }
                self.refuse(transaction, reply, &events::reason(&error))
            }
        }
    }

    /// Row MA-18: the report in a message to an address for reports.
    async fn read_report(&self, taken: &Taken<Look>) -> Result<ReportRead, String> {
        let descriptor = taken.descriptor().map_err(|error| error.to_string())?;
        let inline = taken.inline().map(|bytes| serde_bytes::ByteBuf::from(bytes.to_vec()));
        let question = ReadReport { inline, size: taken.size };
        match self.verifier.ask_with(question, descriptor.into_iter().collect()).await {
            Ok((read, _)) => read,
            Err(error) => {
                events::unavailable(self.cid, "mox-verify", &error);
                Err("not now".into())
            }
        }
    }

    fn judged<'a>(&self, asked: &Asked<'a>, known: &[&RcptPath], analyses: &'a [Analysis]) -> Judged<'a> {
        let to = known.first().and_then(|to| address_of(to, &self.config));
        Judged {
            at: asked.now,
            ip: self.ip,
            mail_from: &asked.transaction.from,
            to: to.map(|address| address.domain),
            from: asked.verified.facts.from.as_ref(),
            seen: asked.verified.dmarc.as_ref(),
            not_enforced: asked.verified.dmarc_refuses && !self.config.smtp.dmarc_reject,
            report: asked.report.and_then(|report| report.as_ref().ok()),
            analyses,
        }
    }

    /// Where the message goes in each account, by its rules and what is known of the sender.
    async fn analyze(
        &self,
        asked: &Asked<'_>,
        known: &[&RcptPath],
        taken: &Taken<Look>,
    ) -> Result<Vec<Analysis>, StoreError> {
        let Asked { wire, session, transaction, verified, now, report } = *asked;
        if known.is_empty() {
            return Ok(Vec::new());
        }
        let front = taken.front(HEADER_OCTETS).unwrap_or_default();
        let mut content = [0; 32];
        content.copy_from_slice(taken.tap.digest.clone().finish().as_ref());
        // The store has no use for the structure here.
        let facts = Facts { structure: Vec::new(), ..verified.facts.clone() };
        let question = Analyze {
            cid: self.cid,
            received: now,
            remote_ip: self.ip,
            mail_from: transaction.from.clone(),
            size: taken.size,
            content,
            facts,
            verdict: verified.verdict.clone(),
            headers: header::fields(&front),
            refused: (verified.dmarc_refuses && self.config.smtp.dmarc_reject)
                .then(|| "the DMARC policy of the sender's domain".to_owned()),
            recipients: known.iter().map(|to| path_of(to)).collect(),
            helo: session.hello().and_then(|hello| hello.host.clone()),
            tls: wire.tls().is_some() || !self.checks(),
            pass: header::pass(&front),
            lists: Lists::NotAsked,
            sealed_by: verified.sealed_by.clone(),
            report: match report {
                None => ReportSeen::NotAsked,
                Some(Err(why)) => ReportSeen::Unreadable(why.clone()),
                Some(Ok(read)) => ReportSeen::Read {
                    kind: read.kind,
                    domains: read.domains.clone(),
                    end: read.end,
                    signed_by: verified.report_signers.clone(),
                },
            },
        };
        let analyses = self.store.repeat(question.clone()).await?;
        if !self.checks()
            || self.config.smtp.dns_lists.is_empty()
            || !analyses.iter().any(|analysis| analysis.ask_lists)
        {
            return Ok(analyses);
        }
        let lists = self.ask_lists(now).await;
        self.store.repeat(Analyze { lists, ..question }).await
    }

    /// Whether there is a DNS to ask.
    fn checks(&self) -> bool {
        self.config.smtp.verify && !self.config.localserve
    }

    /// Row MA-22. A list that does not work, or cannot be asked, lists nobody.
    async fn ask_lists(&self, now: Timestamp) -> Lists {
        let mut zones = Vec::new();
        for zone in &self.config.smtp.dns_lists {
            if self.list_is_healthy(zone, now).await {
                zones.push(zone.clone());
            }
        }
        if zones.is_empty() {
            return Lists::Clear;
        }
        match self.verifier.ask(AskLists { remote_ip: self.ip, zones }).await {
            Ok(Some(listed)) => {
                let text = if listed.text.is_empty() { String::new() } else { format!(": {}", listed.text) };
                Lists::Listed(format!("{} lists {}{text}", listed.zone, self.ip))
            }
            Ok(None) => Lists::Clear,
            Err(error) => {
                events::unavailable(self.cid, "mox-verify", &error);
                Lists::Clear
            }
        }
    }

    async fn list_is_healthy(&self, zone: &Domain, now: Timestamp) -> bool {
        let (kind, name) = (CacheKind::DnsList, zone.ascii().to_owned());
        if let Ok(Some(known)) = self.store.ask(CacheGet { kind, name: name.clone() }).await {
            return known.value == b"yes";
        }
        let healthy = self.verifier.ask(ListHealth(zone.clone())).await.unwrap_or(false);
        if !healthy {
            events::list_is_broken(self.cid, zone);
        }
        let value: &[u8] = if healthy { b"yes" } else { b"no" };
        let value = Some(serde_bytes::ByteBuf::from(value.to_vec()));
        let expires = now.plus(LIST_HEALTH_AGE);
        if let Err(error) = self.store.ask(CacheSet { kind, name, value, expires }).await {
            events::unavailable(self.cid, "mox-store", &error);
        }
        healthy
    }

    /// Hands a delivery in, once: a store that restarts, or dies, in the middle of it is not the sender's business.
    async fn hand_in<V: Verb<StoreContract>>(
        &self,
        taken: &mut Taken<Look>,
        deliver: Deliver,
        verb: impl Fn(Deliver) -> V,
    ) -> Result<V::Reply, StoreError> {
        let key = clock::once_key();
        if let Body::Inline(_) = deliver.body {
            return self.store.ask_once(key, verb(deliver)).await;
        }
        let mut request = deliver;
        for _ in 1..TRIES {
            let outcome = self.store.ask_once(key, verb(request.clone())).await;
            // The file belonged to a store that is gone; the message was not delivered, or the key had told.
            if outcome.as_ref().err().and_then(StoreError::fault) != Some(&Fault::NoBody) {
                return outcome;
            }
            match taken.restage().await {
                Ok(body) => request.body = body,
                Err(error) => {
                    events::unavailable(self.cid, "staging file", &error);
                    return outcome;
                }
            }
        }
        self.store.ask_once(key, verb(request)).await
    }

    /// Row SR-35: everyone who can have it gets it, the sender hears about the others, in one change. Who cannot have
    /// it is known for sure only when the store tries, so it may take a second try without them.
    async fn deliver_together(
        &self,
        mut deliver: Deliver,
        mut known: Vec<&RcptPath>,
        mut failed: Vec<Failed>,
        analyses: &[Analysis],
        taken: &mut Taken<Look>,
        now: Timestamp,
    ) -> Result<(Reply, String), StoreError> {
        for _ in 0..TRIES {
            let report = if failed.is_empty() { None } else { self.report(&deliver, &failed, taken, now) };
            let together = |deliver| DeliverTogether { deliver, report: report.clone() };
            let outcome = self.hand_in(taken, deliver.clone(), together).await?;
            if let (Body::Staged { .. }, Some(body)) = (&deliver.body, taken.staged()) {
                deliver.body = body;
            }
            let against = match outcome {
                Together::Stored(proof) => {
                    for one in &failed {
                        events::reported(self.cid, &one.address, &deliver.mail_from);
                    }
                    return Ok((policy::judge_together(&proof), String::new()));
                }
                Together::Nothing(against) => against,
            };
            let reason = format!("{against:?}");
            let mut left = Vec::new();
            for (to, (asked, against)) in
                known.into_iter().zip(std::mem::take(&mut deliver.recipients).into_iter().zip(against))
            {
                let Some(against) = against else {
                    left.push((to, asked));
                    continue;
                };
                match (Why::of(&against), address_of(to, &self.config)) {
                    (Some(why), Some(address)) => failed.push(Failed { address, why }),
                    // It passes: the sender's server tries again with all of them.
                    _ => return Ok((policy::later(), reason)),
                }
            }
            if left.is_empty() {
                let unknown = failed.iter().all(|failed| failed.why == Why::UnknownUser);
                let full = failed.iter().all(|failed| failed.why == Why::OverQuota);
                let refused = failed.iter().all(|failed| failed.why == Why::Refused);
                let reply = match (unknown, full, refused) {
                    _ if failed.iter().all(|failed| failed.why == Why::NotMember) => policy::not_member(),
                    (true, ..) => policy::unknown_user(),
                    (_, true, _) => policy::judge_delivery(&[Delivered::OverQuota], &[]),
                    (.., true) => policy::judge_refusal(analyses),
                    _ => policy::later(),
                };
                return Ok((reply, reason));
            }
            (known, deliver.recipients) = left.into_iter().unzip();
        }
        Ok((policy::later(), "recipients changed at each try".into()))
    }

    fn report(
        &self,
        deliver: &Deliver,
        failed: &[Failed],
        taken: &Taken<Look>,
        now: Timestamp,
    ) -> Option<libmox_store::Report> {
        let id = &deliver.facts.message_id;
        let about =
            |message: &[u8]| report::about(&self.config, &deliver.mail_from, message, id, failed, now);
        match &deliver.body {
            Body::Inline(bytes) => about(bytes),
            Body::Staged { .. } => about(&taken.front(report::HEADER_OCTETS + 1).unwrap_or_default()),
        }
    }

    /// Whether a report to the sender reaches who wrote the message. Asked once a transaction.
    async fn is_sender_sure(&mut self, session: &Session, transaction: &Transaction) -> Result<bool, Reply> {
        if self.config.localserve || !self.config.smtp.verify {
            return Ok(true);
        }
        if let Some((from, sure)) = &self.sure
            && *from == transaction.from
        {
            return Ok(*sure);
        }
        let question = Spf {
            remote_ip: self.ip,
            helo: session.hello().and_then(|hello| hello.host.clone()),
            mail_from: transaction.from.clone(),
        };
        let word = self.verifier.ask(question).await.map_err(|error| {
            events::unavailable(self.cid, "mox-verify", &error);
            Reply::new(451, "4.3.0", "cannot check senders now, try again later")
        })?;
        let sure = word == "pass";
        self.sure = Some((transaction.from.clone(), sure));
        Ok(sure)
    }
}

impl Policy for Answers {
    type Tap = Look;

    fn patience(&self) -> Duration {
        self.config.service.bad_client_delay
    }

    async fn ask_sender(&mut self, from: &ReversePath) -> Answer {
        self.reports = false;
        self.filtered = false;
        let local = from.address().map(|address| &address.local);
        if let Some(local) = local.filter(|local| self.config.localserve && simulated::in_mail(local))
            && let Some(reply) = simulate(local).await
        {
            return Answer::Refuse(reply);
        }
        match from.address() {
            Some(address) if self.checks() => {
                match self.verifier.ask(TakesMail(address.domain.clone())).await {
                    Ok(takes) => policy::judge_sender(takes),
                    Err(error) => {
                        events::unavailable(self.cid, "mox-verify", &error);
                        policy::judge_sender(Takes::Unknown)
                    }
                }
            }
            _ => Answer::Accept,
        }
    }

    async fn ask_recipient(&mut self, to: &RcptPath, session: &Session, transaction: &Transaction) -> Answer {
        if let Some(local) = local_of(to).filter(|local| self.config.localserve && simulated::in_rcpt(local))
            && let Some(reply) = simulate(local).await
        {
            return Answer::Refuse(reply);
        }
        let status = self.store.repeat(CheckRecipient { recipient: path_of(to) }).await;
        self.filtered |=
            !matches!(status, Ok(RecipientStatus::LocalUnfiltered | RecipientStatus::UnknownUser));
        self.reports |= matches!(status, Ok(RecipientStatus::Reports));
        match status {
            Ok(status) => match policy::judge_recipient(&status) {
                refused @ Answer::Refuse(_) => refused,
                accepted if transaction.recipients.is_empty() => accepted,
                accepted => match self.is_sender_sure(session, transaction).await {
                    Ok(true) => accepted,
                    Ok(false) => Answer::Refuse(policy::one_at_a_time()),
                    Err(reply) => Answer::Refuse(reply),
                },
            },
            Err(error) => {
                events::unavailable(self.cid, "mox-store", &error);
                Answer::Refuse(store_refusal(&error))
            }
        }
    }

    fn tap(&mut self) -> Look {
        let parser = || if self.filtered { Parser::new() } else { Parser::without_words() };
        Look { parser: (!self.config.smtp.verify).then(parser), digest: Context::new(&SHA256) }
    }

    fn own_results(&self) -> Option<OwnResults> {
        Some(OwnResults::new(self.config.hostname.clone()))
    }

    async fn ask_message(
        &mut self,
        wire: &Wire,
        session: &Session,
        transaction: &Transaction,
        taken: Taken<Look>,
    ) -> Reply {
        if self.config.localserve {
            for recipient in &transaction.recipients {
                if let Some(local) = local_of(&recipient.rcpt.to)
                    && let Some(reply) = simulate(local).await
                {
                    return self.refuse(transaction, reply, "the address asks for it");
                }
            }
        }
        if transaction.recipients.iter().all(|recipient| recipient.unknown) {
            // Row SR-17: slow, so that guessing names is.
            tokio::time::sleep(limits::UNKNOWN_USER_DELAY).await;
            return self.refuse(transaction, policy::unknown_user(), "unknown user");
        }
        self.deliver(wire, session, transaction, taken).await
    }

    async fn ask_login(
        &mut self,
        _: &mut Wire,
        _: Mechanism,
        _: Option<Vec<u8>>,
    ) -> Result<Login, WireFault> {
        // The session offers none here.
        Ok(Login::Refused(Reply::new(502, "5.5.1", "no logins here")))
    }

    fn mechanisms(&mut self, _: &Wire) -> Vec<Mechanism> {
        Vec::new()
    }
}

fn path_of(path: &RcptPath) -> RecipientPath {
    match path {
        RcptPath::Address(address) => RecipientPath::Address(address.clone()),
        RcptPath::Postmaster => RecipientPath::Postmaster,
        RcptPath::Literal(local, ip) => RecipientPath::Literal(local.clone(), *ip),
    }
}

fn local_of(path: &RcptPath) -> Option<&LocalPart> {
    match path {
        RcptPath::Address(address) => Some(&address.local),
        RcptPath::Postmaster | RcptPath::Literal(..) => None,
    }
}

/// For header fields: bare postmaster is the one of this host.
fn address_of(path: &RcptPath, config: &Static) -> Option<Address> {
    match path {
        RcptPath::Address(address) => Some(address.clone()),
        RcptPath::Postmaster => Address::parse(&format!("postmaster@{}", config.hostname)).ok(),
        RcptPath::Literal(local, _) => {
            Some(Address { local: local.clone(), domain: config.hostname.clone() })
        }
    }
}

/// Row SR-21: by content, not by what the peer said.
fn needs_utf8(transaction: &Transaction, shape: Shape) -> bool {
    shape.utf8_headers
        || transaction.from.address().is_some_and(Address::needs_utf8)
        || transaction
            .recipients
            .iter()
            .any(|r| matches!(&r.rcpt.to, RcptPath::Address(address) if address.needs_utf8()))
}

/// Not one header field and no empty line: the body starts with the message.
fn has_no_header(verified: &Verified) -> bool {
    !verified.shape.separator
        && libmox_message::Structure::from_bytes(&verified.facts.structure)
            .is_ok_and(|structure| structure.root.body_start == 0 && structure.root.body_end > 0)
}
