//! One message after its last octet: looked at, judged, handed to the store, reported on.

use super::{Answers, Look, address_of, path_of};
use crate::feedback::Judged;
use crate::report::{self, Failed, Original, Told, Why};
use crate::{events, header, policy};
use libmox_ipc::Verb;
use libmox_message::received::{self, Received, With};
use libmox_reception::{Pace, Taken, store_refusal, wake_queue};
use libmox_service::wire::Wire;
use libmox_service::{clock, metrics};
use libmox_smtp::Reply;
use libmox_smtp::command::{RcptPath, Ret};
use libmox_smtp::notify::Event;
use libmox_smtp::session::{Session, Transaction};
use libmox_store::{
    Analysis, Body, Decided, Decision, Deliver, DeliverNoting, DeliverTo, DeliverTogether, Delivered, Facts,
    Fault, ReportRead, StoreContract, StoreError, Together, Verdict,
};
use libmox_types::{Address, Timestamp};
use libmox_verify::{ReadReport, Shape, Verified, Verify, VerifyFault};

/// A message that is being judged.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) wire: &'a Wire,
    pub(super) session: &'a Session,
    pub(super) transaction: &'a Transaction,
    pub(super) verified: &'a Verified,
    pub(super) now: Timestamp,
    /// What it holds as a report.
    pub(super) report: Option<&'a Result<ReportRead, String>>,
}

/// A message for several, or one whose sender wants to hear that it arrived.
struct Several<'a> {
    /// Who may get it.
    known: Vec<(&'a RcptPath, Option<Told>)>,
    /// Who cannot.
    failed: Vec<Failed>,
    envelope_id: Option<&'a str>,
    /// RET=FULL.
    whole: bool,
    analyses: &'a [Analysis],
}

/// Links of the chain that is kept of a decision, and octets of each.
const CHAIN: usize = 300;
const CHAIN_TEXT: usize = 2_000;
/// Tries to deliver to several: one for each time that somebody turned out not to have it.
const TRIES: usize = 3;

impl Answers {
    pub(super) async fn deliver(
        &self,
        wire: &Wire,
        session: &Session,
        transaction: &Transaction,
        mut taken: Taken<Look>,
    ) -> (Reply, Pace) {
        let now = clock::now();
        let verified = match self.examine(session, transaction, &mut taken, now).await {
            Ok(verified) => verified,
            Err(reply) => return (reply, Pace::Usual),
        };
        if let Some((reply, reason)) = policy::judge_message(verified.shape) {
            return (self.refuse(transaction, reply, reason), Pace::Usual);
        }
        let (mut known, mut told, mut failed) = (Vec::new(), Vec::new(), Vec::new());
        for recipient in &transaction.recipients {
            let to = address_of(&recipient.rcpt.to, &self.config)
                .map(|address| Told::new(address, &recipient.rcpt));
            match (recipient.unknown, to) {
                (true, Some(to)) => failed.push(Failed { to, why: Why::UnknownUser }),
                (_, to) => {
                    known.push(&recipient.rcpt.to);
                    told.push(to);
                }
            }
        }
        // Row SR-41. RFC 3461 §4.1, departed from because a forged sender must not hear of what it never sent.
        if self.checks() && verified.verdict.spf != "pass" {
            told.iter_mut().flatten().for_each(Told::forget_success);
        }
        let wants_success = told.iter().flatten().any(|told| told.wants(Event::Success));
        let report = match self.reports && self.checks() {
            true => Some(self.read_report(&taken).await),
            false => None,
        };
        let asked = Asked { wire, session, transaction, verified: &verified, now, report: report.as_ref() };
        let (analyses, lists) = match self.analyze(&asked, &known, &taken).await {
            Ok(found) => found,
            Err(error) => {
                if error.fault().is_none() {
                    events::COMMON.unavailable(self.cid, "mox-store", &error);
                }
                let reply = self.refuse(transaction, store_refusal(&error), &events::reason(&error));
                return (reply, Pace::Usual);
            }
        };
        if analyses.len() > 1 {
            for analysis in &analyses {
                events::judged(self.cid, analysis);
            }
        }
        let decided = self.decided(&asked, &known, &analyses, &lists);
        if let Some(reply) = policy::judge_rate(&analyses) {
            // Nobody's message depends on it.
            if let Err(error) = self.store.ask(Decided { reply: reply.to_string(), ..decided }).await {
                events::COMMON.unavailable(self.cid, "mox-store", &error);
            }
            let why = analyses.iter().find(|analysis| analysis.decision == Decision::TooOften);
            let why = why.map(|analysis| analysis.text.clone()).unwrap_or_default();
            return (self.refuse(transaction, reply, &why), Pace::Usual);
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
        let judged = self.judged(&asked, &known, &analyses);
        let (accepted, refused) = (judged.feedback(true), judged.feedback(false));
        let counts = judged.counts();
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
        // A refused message is kept for its reader only where it is for one.
        let fine = analyses.iter().all(|analysis| analysis.decision == Decision::Accept);
        let alone = transaction.recipients.len() == 1 && !(wants_success && fine);
        let outcome = match alone {
            true => {
                let noted = Decided { reply: policy::kept().to_string(), ..decided.clone() };
                let noting = |deliver| DeliverNoting { deliver, decided: noted.clone() };
                self.hand_in(&mut taken, request, noting).await.map(|outcomes| {
                    let reply = policy::judge_delivery(&outcomes, &analyses);
                    let reason =
                        if reply.is_error() { reason_of(&outcomes, &analyses) } else { String::new() };
                    (reply, reason)
                })
            }
            false => {
                let known = known.into_iter().zip(told).collect();
                let envelope_id = transaction.params.envid.as_deref();
                let whole = transaction.params.ret == Some(Ret::Full);
                let several = Several { known, failed, envelope_id, whole, analyses: &analyses };
                self.deliver_together(request, several, &mut taken).await
            }
        };
        match outcome {
            Ok((reply, reason)) => {
                // What was kept for one is noted already. Nobody's message depends on it.
                if (reply.is_error() || !alone)
                    && let Err(error) = self.store.ask(Decided { reply: reply.to_string(), ..decided }).await
                {
                    events::COMMON.unavailable(self.cid, "mox-store", &error);
                }
                let feedback = if reply.is_error() { refused } else { accepted };
                if let Some(feedback) = feedback
                    && let Err(error) = self.store.ask(feedback).await
                {
                    events::COMMON.unavailable(self.cid, "mox-store", &error);
                }
                if reply.is_error() {
                    let pace = policy::judge_pace(&analyses);
                    return (self.refuse(transaction, reply, &reason), pace);
                }
                counts.into_iter().for_each(|(name, more)| metrics::count(name, more));
                taken.used();
                let why = match &analyses[..] {
                    // For several each has its own entry.
                    [one] if transaction.recipients.len() == 1 => (one.reason.as_str(), one.text.as_str()),
                    _ => ("", ""),
                };
                events::COMMON.taken(self.cid, transaction, size, why);
                (reply, Pace::Usual)
            }
            Err(error) => {
                let reply = store_refusal(&error);
                if error.fault().is_none() {
                    events::COMMON.unavailable(self.cid, "mox-store", &error);
                }
                (self.refuse(transaction, reply, &events::reason(&error)), Pace::Usual)
            }
        }
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
            events::COMMON.unavailable(self.cid, "staging file", &error);
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
        answer.map(|(verified, _)| verified).map_err(|error| match error.fault() {
            Some(VerifyFault::HeaderTooLarge) => {
                self.refuse(transaction, policy::header_too_large(), "header too large")
            }
            _ => {
                events::COMMON.unavailable(self.cid, "mox-verify", &error);
                later()
            }
        })
    }

    /// Row MA-18: the report in a message to an address for reports.
    async fn read_report(&self, taken: &Taken<Look>) -> Result<ReportRead, String> {
        let descriptor = taken.descriptor().map_err(|error| error.to_string())?;
        let inline = taken.inline().map(|bytes| serde_bytes::ByteBuf::from(bytes.to_vec()));
        let question = ReadReport { inline, size: taken.size };
        match self.verifier.ask_with(question, descriptor.into_iter().collect()).await {
            Ok((read, _)) => read,
            Err(error) => {
                events::COMMON.unavailable(self.cid, "mox-verify", &error);
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

    /// For `mox why`: everything that was looked at.
    fn decided(
        &self,
        asked: &Asked<'_>,
        known: &[&RcptPath],
        analyses: &[Analysis],
        lists: &[String],
    ) -> Decided {
        let Asked { wire, session, transaction, verified, now, .. } = *asked;
        let tls = wire.tls().map_or("no TLS".to_owned(), |tls| format!("{} {}", tls.version, tls.cipher));
        let hello = session.hello().map(|hello| hello.text.as_str()).unwrap_or_default();
        let mut chain = vec![("connection".to_owned(), format!("{}, EHLO {hello}, {tls}", self.ip))];
        let looked = [("EHLO name", &self.looked.hello), ("sender's domain", &self.looked.sender)];
        for (topic, text) in looked {
            chain.extend(text.clone().map(|text| (topic.to_owned(), text)));
        }
        chain.extend(verified.chain.iter().cloned());
        chain.extend(lists.iter().map(|text| ("DNS list".to_owned(), text.clone())));
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
        if let Some(address) = &address {
            prefix.push_str(&received::delivered_to(address));
        }
        prefix.push_str(&received::return_path(&transaction.from));
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
                    events::COMMON.unavailable(self.cid, "staging file", &error);
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
        several: Several<'_>,
        taken: &mut Taken<Look>,
    ) -> Result<(Reply, String), StoreError> {
        let Several { mut known, mut failed, envelope_id, whole, analyses } = several;
        for _ in 0..TRIES {
            let report = self.report(&deliver, (envelope_id, whole), &failed, &known, taken);
            let together = |deliver| DeliverTogether { deliver, report: report.clone() };
            let outcome = self.hand_in(taken, deliver.clone(), together).await?;
            if let (Body::Staged { .. }, Some(body)) = (&deliver.body, taken.staged()) {
                deliver.body = body;
            }
            let against = match outcome {
                Together::Stored(proof) => {
                    if report.is_some() {
                        wake_queue(self.queue.clone(), self.cid);
                    }
                    for one in failed.iter().filter(|one| one.to.wants(Event::Failure)) {
                        events::reported(self.cid, &one.to.address, &deliver.mail_from);
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
                match (Why::of(&against), to.1) {
                    (Some(why), Some(to)) => failed.push(Failed { to, why }),
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
        (envelope_id, whole): (Option<&str>, bool),
        failed: &[Failed],
        known: &[(&RcptPath, Option<Told>)],
        taken: &Taken<Look>,
    ) -> Option<libmox_store::Report> {
        let wants = |told: &&Told| told.wants(Event::Success);
        let delivered: Vec<Told> =
            known.iter().filter_map(|(_, told)| told.as_ref().filter(wants)).cloned().collect();
        if failed.is_empty() && delivered.is_empty() {
            return None;
        }
        let about = |bytes: &[u8], whole| {
            let original = Original {
                mail_from: &deliver.mail_from,
                envelope_id,
                message_id: &deliver.facts.message_id,
                bytes,
                whole,
                arrival: deliver.received,
            };
            report::about(&self.config, &original, failed, &delivered)
        };
        match &deliver.body {
            Body::Inline(bytes) => about(bytes, whole),
            Body::Staged { .. } => about(&taken.front(report::HEADER_OCTETS + 1).unwrap_or_default(), false),
        }
    }
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
