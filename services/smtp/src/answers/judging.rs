//! What becomes of a message is asked of the store, and of DNS block lists where it wants to know more.

use super::delivery::Asked;
use super::{Answers, Look, path_of};
use crate::{events, header};
use libmox_reception::Taken;
use libmox_smtp::command::RcptPath;
use libmox_store::{
    Analysis, Analyze, CacheGet, CacheKind, CacheSet, Facts, HEADER_OCTETS, Lists, ReportSeen, StoreError,
};
use libmox_types::{Domain, Timestamp};
use libmox_verify::{AskLists, ListHealth};

/// How long it is believed that a DNS block list works, in seconds. Row MA-22.
const LIST_HEALTH_AGE: i64 = 4 * 3600;

impl Answers {
    /// Where the message goes in each account, by its rules and what is known of the sender; and what DNS block lists
    /// said, where they were asked.
    pub(super) async fn analyze(
        &self,
        asked: &Asked<'_>,
        known: &[&RcptPath],
        taken: &Taken<Look>,
    ) -> Result<(Vec<Analysis>, Vec<String>), StoreError> {
        let Asked { wire, session, transaction, verified, now, report } = *asked;
        if known.is_empty() {
            return Ok((Vec::new(), Vec::new()));
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
            return Ok((analyses, Vec::new()));
        }
        let (lists, said) = self.ask_lists(now).await;
        Ok((self.store.repeat(Analyze { lists, ..question }).await?, said))
    }

    /// Row MA-22. A list that does not work, or cannot be asked, lists nobody.
    async fn ask_lists(&self, now: Timestamp) -> (Lists, Vec<String>) {
        let (mut zones, mut said) = (Vec::new(), Vec::new());
        for zone in &self.config.smtp.dns_lists {
            match self.list_is_healthy(zone, now).await {
                true => zones.push(zone.clone()),
                false => said.push(format!("{zone}: does not work, not asked")),
            }
        }
        if zones.is_empty() {
            return (Lists::Clear, said);
        }
        let lists = match self.verifier.ask(AskLists { remote_ip: self.ip, zones }).await {
            Ok(answer) => {
                said.extend(answer.chain);
                answer.listed.map_or(Lists::Clear, |listed| {
                    let gap = if listed.text.is_empty() { "" } else { ": " };
                    Lists::Listed(format!("{} lists {}{gap}{}", listed.zone, self.ip, listed.text))
                })
            }
            Err(error) => {
                events::COMMON.unavailable(self.cid, "mox-verify", &error);
                Lists::Clear
            }
        };
        (lists, said)
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
            events::COMMON.unavailable(self.cid, "mox-store", &error);
        }
        healthy
    }
}
