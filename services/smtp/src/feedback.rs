//! What is kept about a message for reports: an evaluation for the domain of its From, and the report that it was.
//!
//! Rows MA-10, MA-12, MA-18. Law: RFC 7489 §7.2.

use libmox_service::metrics;
use libmox_store::{Analysis, DmarcSeen, Evaluation, Feedback, ReportKept, ReportKind, ReportRead};
use libmox_types::{Address, Domain, ReversePath, Timestamp};
use std::net::IpAddr;

/// A message that was judged.
pub(crate) struct Judged<'a> {
    pub(crate) at: Timestamp,
    pub(crate) ip: IpAddr,
    pub(crate) mail_from: &'a ReversePath,
    pub(crate) to: Option<Domain>,
    pub(crate) from: Option<&'a Address>,
    /// What DMARC found, where there is a record.
    pub(crate) seen: Option<&'a DmarcSeen>,
    /// DMARC asks to refuse it, but whoever runs this server does not want to.
    pub(crate) not_enforced: bool,
    /// What it holds as a report.
    pub(crate) report: Option<&'a ReportRead>,
    pub(crate) analyses: &'a [Analysis],
}

/// Counters of messages to addresses for reports: taken as one, and not.
const REPORTS: [[&str; 2]; 2] = [
    [
        "mox_reports_received_total{kind=\"dmarc\",result=\"taken\"}",
        "mox_reports_received_total{kind=\"dmarc\",result=\"error\"}",
    ],
    [
        "mox_reports_received_total{kind=\"tls\",result=\"taken\"}",
        "mox_reports_received_total{kind=\"tls\",result=\"error\"}",
    ],
];
/// What reports were about: messages, or sessions, that were as they should be, and others.
const REPORTED: [[&str; 2]; 2] = [
    [
        "mox_reports_rows_total{kind=\"dmarc\",good=\"yes\"}",
        "mox_reports_rows_total{kind=\"dmarc\",good=\"no\"}",
    ],
    ["mox_reports_rows_total{kind=\"tls\",good=\"yes\"}", "mox_reports_rows_total{kind=\"tls\",good=\"no\"}"],
];

/// Row TR-27.
pub(crate) fn preset_counters() {
    metrics::preset(REPORTS.into_iter().chain(REPORTED).flatten());
}

impl Judged<'_> {
    /// Row MA-18: what is counted of a message to an address for reports, once it was taken.
    pub(crate) fn counts(&self) -> Vec<(&'static str, u64)> {
        let is_report = self.analyses.iter().any(|analysis| analysis.reason == "report");
        let failed = self.analyses.iter().any(|analysis| analysis.report_error.is_some());
        if !is_report && !failed {
            return Vec::new();
        }
        let kind = usize::from(self.report.is_some_and(|read| read.kind == ReportKind::Tls));
        let mut counts = vec![(REPORTS[kind][usize::from(!is_report)], 1)];
        if let Some(read) = self.report.filter(|_| is_report) {
            counts.push((REPORTED[kind][0], read.good));
            counts.push((REPORTED[kind][1], read.total.saturating_sub(read.good)));
        }
        counts
    }

    /// What is kept where it was taken, or was not. A message that was refused as junk tells nobody anything.
    pub(crate) fn feedback(&self, accepted: bool) -> Option<Feedback> {
        let first = self.analyses.first()?;
        let is_report = self.analyses.iter().any(|analysis| analysis.reason == "report");
        let by_dmarc = self.analyses.iter().all(|analysis| analysis.reason == "dmarc");
        let wanted = self.seen.filter(|seen| !seen.aggregate.is_empty() && (accepted || by_dmarc));
        let evaluation = wanted.map(|seen| Evaluation {
            at: self.at,
            remote_ip: self.ip,
            envelope_from: self.mail_from.address().map(|address| address.domain.clone()),
            envelope_to: self.to.clone(),
            seen: seen.clone(),
            refused: !accepted,
            overrides: [
                first.dmarc_override.clone().filter(|_| accepted),
                seen.sampled_out.then(|| "sampled_out".to_owned()),
                (self.not_enforced && accepted).then(|| "local_policy".to_owned()),
            ]
            .into_iter()
            .flatten()
            .collect(),
            optional: is_report,
        });
        let report = self
            .report
            .filter(|_| accepted && is_report)
            .map(|read| Box::new(ReportKept { at: self.at, from: self.from.cloned(), read: read.clone() }));
        (evaluation.is_some() || report.is_some())
            .then(|| Feedback { evaluations: evaluation.into_iter().collect(), report })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libmox_store::Decision;

    fn analysis(reason: &str, dmarc_override: Option<&str>) -> Analysis {
        Analysis {
            decision: Decision::Accept,
            reason: reason.into(),
            destined: None,
            text: String::new(),
            ask_lists: false,
            first: false,
            pass: None,
            chain: vec![],
            dmarc_override: dmarc_override.map(Into::into),
            report_error: None,
        }
    }

    fn seen(rua: bool, sampled_out: bool) -> DmarcSeen {
        let domain = Domain::parse("far.example").unwrap();
        DmarcSeen {
            domain: domain.clone(),
            policy: "reject".into(),
            subdomain_policy: "reject".into(),
            adkim: "r".into(),
            aspf: "r".into(),
            percent: 100,
            failure_options: "0".into(),
            interval: 86_400,
            aggregate: if rua { vec!["mailto:r@far.example".into()] } else { vec![] },
            header_from: domain,
            aligned_spf: false,
            aligned_dkim: false,
            sampled_out,
            spf: (String::new(), "mfrom".into(), "none".into()),
            dkim: vec![],
        }
    }

    fn report() -> ReportRead {
        ReportRead {
            kind: ReportKind::Dmarc,
            organisation: "Far".into(),
            contact: String::new(),
            id: "1".into(),
            domains: vec![],
            begin: Timestamp(1),
            end: Timestamp(2),
            policy: String::new(),
            total: 0,
            good: 0,
            rows: vec![],
            left_out: 0,
        }
    }

    /// Row MA-12: of what was taken or refused by DMARC, where the domain wants reports.
    #[test]
    fn evaluations_are_kept_of_what_was_taken_or_refused_by_dmarc() {
        let from = "a@far.example".parse().unwrap();
        let (wants, silent, sampled) = (seen(true, false), seen(false, false), seen(true, true));
        for (seen, reasons, accepted, want) in [
            (Some(&wants), vec![("no-bad-signals", None)], true, Some((false, vec![]))),
            (Some(&wants), vec![("dmarc", None)], false, Some((true, vec![]))),
            (Some(&wants), vec![("junk-content", None)], false, None),
            (Some(&wants), vec![("dmarc", None), ("junk-content", None)], false, None),
            (Some(&silent), vec![("no-bad-signals", None)], true, None),
            (None, vec![("no-bad-signals", None)], true, None),
            (
                Some(&wants),
                vec![("mailing-list", Some("mailing_list"))],
                true,
                Some((false, vec!["mailing_list"])),
            ),
            (Some(&sampled), vec![("no-bad-signals", None)], true, Some((false, vec!["sampled_out"]))),
            (Some(&wants), vec![], true, None),
        ] {
            let analyses: Vec<Analysis> =
                reasons.iter().map(|(reason, word)| analysis(reason, *word)).collect();
            let judged = Judged {
                at: Timestamp(7),
                ip: "192.0.2.9".parse().unwrap(),
                mail_from: &ReversePath::Null,
                to: None,
                from: Some(&from),
                seen,
                not_enforced: false,
                report: None,
                analyses: &analyses,
            };
            let got = judged.feedback(accepted).map(|feedback| {
                assert!(feedback.report.is_none());
                let one = feedback.evaluations.into_iter().next().unwrap();
                assert!(!one.optional);
                (one.refused, one.overrides)
            });
            let want = want.map(|(refused, words)| (refused, words.into_iter().map(String::from).collect()));
            assert_eq!(got, want, "{reasons:?} {accepted}");
        }
    }

    /// Rows MA-15, MA-18: a report is kept where it counts as one; it asks for no report by itself.
    #[test]
    fn a_report_that_counts_is_kept() {
        let (from, seen, read) = ("a@far.example".parse().unwrap(), seen(true, false), report());
        let of = |reason: &str, accepted: bool| {
            let analyses = [analysis(reason, None)];
            let judged = Judged {
                at: Timestamp(7),
                ip: "192.0.2.9".parse().unwrap(),
                mail_from: &ReversePath::Null,
                to: None,
                from: Some(&from),
                seen: Some(&seen),
                not_enforced: true,
                report: Some(&read),
                analyses: &analyses,
            };
            judged.feedback(accepted)
        };
        let count = |name: &str| metrics::all().into_iter().find(|(have, _)| have == name).unwrap().1;
        preset_counters();
        for (reason, error) in
            [("report", None), ("no-bad-signals", Some("no DMARC pass")), ("junk-content", None)]
        {
            let analyses = [Analysis { report_error: error.map(Into::into), ..analysis(reason, None) }];
            let judged = Judged {
                at: Timestamp(7),
                ip: "192.0.2.9".parse().unwrap(),
                mail_from: &ReversePath::Null,
                to: None,
                from: None,
                seen: None,
                not_enforced: false,
                report: Some(&ReportRead { total: 5, good: 3, ..read.clone() }),
                analyses: &analyses,
            };
            judged.counts().into_iter().for_each(|(name, more)| metrics::count(name, more));
        }
        assert_eq!((count(REPORTS[0][0]), count(REPORTS[0][1]), count(REPORTS[1][0])), (1, 1, 0));
        assert_eq!((count(REPORTED[0][0]), count(REPORTED[0][1])), (3, 2));
        let kept = of("report", true).unwrap();
        assert_eq!(
            *kept.report.unwrap(),
            ReportKept { at: Timestamp(7), from: Some(from.clone()), read: read.clone() }
        );
        assert!(kept.evaluations[0].optional);
        assert_eq!(kept.evaluations[0].overrides, ["local_policy"]);
        assert!(of("no-bad-signals", true).unwrap().report.is_none());
        assert!(of("report", false).is_none());
    }
}
