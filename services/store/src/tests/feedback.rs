//! Addresses for reports, and what is kept about authentication.

use super::rejects::{analyze, asked, comes, from, with};
use super::*;
use crate::keys;
use crate::records::Read;
use libmox_store::{
    Analyze, CheckRecipient, Decision, DmarcSeen, EVALUATIONS, Evaluation, EvaluationList, Feedback,
    RecipientStatus, ReportKept, ReportKind, ReportList, ReportRead, ReportSeen, Verdict,
};
use libmox_types::Domain;

const REPORTS_HERE: &str = "[domains.\"only.example\".dmarc]\naccount = \"jane\"\ndomain = \"example.org\"\n\
    [domains.\"example.org\".dmarc]\naccount = \"jane\"\n\
    [domains.\"example.org\".tlsrpt]\naccount = \"jane\"\nlocalpart = \"tls\"\n";

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

fn seen(rua: bool) -> DmarcSeen {
    DmarcSeen {
        domain: domain("far.example"),
        policy: "reject".into(),
        subdomain_policy: "reject".into(),
        adkim: "r".into(),
        aspf: "r".into(),
        percent: 100,
        failure_options: "0".into(),
        interval: 86_400,
        aggregate: if rua { vec!["mailto:r@far.example".into()] } else { vec![] },
        header_from: domain("far.example"),
        aligned_spf: true,
        aligned_dkim: false,
        sampled_out: false,
        spf: ("far.example".into(), "mfrom".into(), "pass".into()),
        dkim: vec![("far.example".into(), "s".into(), "fail".into())],
    }
}

fn evaluation(at: i64) -> Evaluation {
    Evaluation {
        at: Timestamp(at),
        remote_ip: "192.0.2.9".parse().unwrap(),
        envelope_from: Some(domain("far.example")),
        envelope_to: Some(domain("example.org")),
        seen: seen(true),
        refused: false,
        overrides: vec![],
        optional: false,
    }
}

fn kept(kind: ReportKind, about: &str, at: i64) -> ReportKept {
    ReportKept {
        at: Timestamp(at),
        from: Some(address("r@far.example")),
        read: ReportRead {
            kind,
            organisation: "Far".into(),
            contact: "r@far.example".into(),
            id: at.to_string(),
            domains: vec![domain(about)],
            begin: Timestamp(1),
            end: Timestamp(2),
            policy: "p=reject".into(),
            total: 3,
            good: 2,
            rows: vec![],
            left_out: 0,
        },
    }
}

/// Rows MA-18, MA-19, TP-13: what is taken as a report, what is told about the rest, and where both go.
#[tokio::test(flavor = "multi_thread")]
async fn reports_need_proof_a_domain_of_ours_and_an_end() {
    let world = World::with(with(REPORTS_HERE)).await;
    let smtp = world.client(Role::Smtp);
    let status = async |to: &str| smtp.ask(CheckRecipient { recipient: recipient(to) }).await.unwrap();
    assert_eq!(status("dmarc-reports@example.org").await, RecipientStatus::Reports);
    assert_eq!(status("TLS+x@example.org").await, RecipientStatus::TlsReports);
    assert_eq!(status("jane@example.org").await, RecipientStatus::LocalUnfiltered);
    assert_eq!(status("dmarc-reports@only.example").await, RecipientStatus::UnknownUser);
    let now = 1_800_000_000;
    let read = |kind, about: &str, end: i64, signer: &str| ReportSeen::Read {
        kind,
        domains: vec![domain(about)],
        end: Timestamp(end),
        signed_by: vec![domain(signer)],
    };
    let dmarc = |about: &str, end: i64| read(ReportKind::Dmarc, about, end, "other.example");
    let tls = |about: &str, signer: &str| read(ReportKind::Tls, about, now, signer);
    for (report, dmarc_word, want) in [
        (dmarc("example.org", now + 60), "pass", None),
        (dmarc("only.example", now), "pass", None),
        (dmarc("example.org", now), "fail", Some("no DMARC pass")),
        (dmarc("example.org", now), "none", Some("no DMARC pass")),
        (dmarc("far.example", now), "pass", Some("the report is about no domain of this server")),
        (dmarc("example.org", now + 61), "pass", Some("the report ends in the future")),
        (
            ReportSeen::Unreadable("no report found".into()),
            "pass",
            Some("could not read report: no report found"),
        ),
        (tls("example.org", "far.example"), "none", None),
        (tls("mail.example.org", "far.example"), "none", None),
        (tls("example.org", "else.example"), "pass", Some("no DKIM signature that may sign reports on TLS")),
        (tls("else.example", "far.example"), "pass", Some("the report is about no domain of this server")),
    ] {
        let request = Analyze {
            recipients: vec![recipient("dmarc-reports@example.org")],
            verdict: Verdict { dmarc: dmarc_word.into(), ..Verdict::default() },
            report: report.clone(),
            ..analyze(from("x@mail.far.example", "1@x"), None)
        };
        let got = asked(&world, &request).await;
        assert_eq!(got.report_error.as_deref(), want, "{report:?}");
        assert_eq!(got.decision, Decision::Accept);
        let destined = got.destined.unwrap();
        assert_eq!((destined.mailbox.as_str(), destined.seen), ("DMARC", want.is_none()));
        assert_eq!(got.reason == "report", want.is_none());
    }
    // What is no report is judged like anything else.
    let refused = Analyze {
        recipients: vec![recipient("dmarc-reports@example.org")],
        report: dmarc("example.org", now),
        ..analyze(from("x@far.example", "1@x"), Some("DMARC"))
    };
    assert_eq!(asked(&world, &refused).await.decision, Decision::Reject);
    // Nobody looked, or it is no address for reports.
    let plain = Analyze { report: dmarc("example.org", now), ..analyze(from("x@far.example", "1@x"), None) };
    assert_eq!(asked(&world, &plain).await.report_error, None);
    world.end().await;
}

/// Row MA-18: the message of a report is marked as seen, others are not.
#[tokio::test(flavor = "multi_thread")]
async fn a_report_is_seen_already() {
    let world = World::with(with(REPORTS_HERE)).await;
    let request = |report: ReportSeen, id: &str| Analyze {
        recipients: vec![recipient("dmarc-reports@example.org")],
        verdict: Verdict { dmarc: "pass".into(), ..Verdict::default() },
        report,
        ..analyze(from("x@far.example", id), None)
    };
    let good = ReportSeen::Read {
        kind: ReportKind::Dmarc,
        domains: vec![domain("example.org")],
        end: Timestamp(0),
        signed_by: vec![],
    };
    for (report, id) in [(good, "1@x"), (ReportSeen::Unreadable("x".into()), "2@x")] {
        let (decision, _) = comes(&world, &request(report, id)).await;
        assert_eq!(decision, Decision::Accept);
    }
    let imap = world.client(Role::Imap);
    let session = world.login(&imap, "jane@example.org").await;
    let status = MailboxStatus { session, name: name("DMARC") };
    let mailbox = imap.ask(status).await.unwrap();
    assert_eq!((mailbox.counts.total, mailbox.counts.unseen), (2, 1));
    world.end().await;
}

/// Row MA-10: why a policy is not followed.
#[tokio::test(flavor = "multi_thread")]
async fn overrides_have_a_name() {
    let rules = "arc-trusted-sealers = [\"lists.example\"]\n[accounts.jane.destinations.\"jane@example.org\"]\n\
        [[accounts.jane.destinations.\"jane@example.org\".rules]]\nheaders = { \"^x-forward$\" = \"yes\" }\n\
        is-forward = true\nmailbox = \"Inbox\"\n\
        [[accounts.jane.destinations.\"jane@example.org\".rules]]\nheaders = { \"^list-id$\" = \"a\" }\n\
        list-allow-domain = \"lists.example\"\nmailbox = \"Lists\"\n";
    let world = World::with(with(rules)).await;
    let verdict = Verdict { spf: "pass".into(), dmarc: "fail".into(), ..Verdict::default() };
    let request = |name: &str, refused: Option<&str>| Analyze {
        headers: vec![(name.into(), if name == "list-id" { "a".into() } else { "yes".into() })],
        verdict: verdict.clone(),
        ..analyze(from("x@far.example", "1@x"), refused)
    };
    let sealed = Analyze { sealed_by: Some(domain("lists.example")), ..request("x", Some("DMARC")) };
    for (request, want) in [
        (request("list-id", Some("DMARC")), Some("mailing_list")),
        (request("list-id", None), None),
        (request("x-forward", Some("DMARC")), Some("forwarded")),
        (request("x-forward", None), None),
        (sealed, Some("trusted_forwarder")),
    ] {
        let got = asked(&world, &request).await;
        assert_eq!((got.decision, got.dmarc_override.as_deref()), (Decision::Accept, want), "{}", got.reason);
    }
    world.end().await;
}

/// Rows MA-12, MA-18: kept, found, bounded, and nobody but the administrator looks.
#[tokio::test(flavor = "multi_thread")]
async fn feedback_is_kept_and_bounded() {
    let world = World::new().await;
    let (smtp, admin) = (world.client(Role::Smtp), world.admin());
    let now = world.now().0;
    let note =
        |evaluations, report: Option<ReportKept>| Feedback { evaluations, report: report.map(Box::new) };
    smtp.ask(note(vec![evaluation(now)], None)).await.unwrap();
    for (kind, about, at) in [
        (ReportKind::Dmarc, "a.example", 1),
        (ReportKind::Dmarc, "b.example", 2),
        (ReportKind::Tls, "a.example", 3),
    ] {
        smtp.ask(note(vec![], Some(kept(kind, about, at)))).await.unwrap();
    }
    let reports = async |kind, about: Option<&str>| {
        let list = ReportList { kind, domain: about.map(domain) };
        let all = admin.ask(list).await.unwrap();
        all.into_iter().map(|kept| kept.at.0).collect::<Vec<_>>()
    };
    assert_eq!(reports(ReportKind::Dmarc, None).await, [2, 1]);
    assert_eq!(reports(ReportKind::Dmarc, Some("a.example")).await, [1]);
    assert_eq!(reports(ReportKind::Tls, None).await, [3]);
    let evaluations =
        async |of: Option<&str>| admin.ask(EvaluationList { domain: of.map(domain) }).await.unwrap();
    assert_eq!(evaluations(None).await, [evaluation(now)]);
    assert!(evaluations(Some("else.example")).await.is_empty());
    // Two days are kept, and a record stays small.
    let huge = Evaluation {
        seen: DmarcSeen { dkim: vec![("d".repeat(200), "s".repeat(200), "pass".into()); 100], ..seen(true) },
        ..evaluation(now)
    };
    smtp.ask(note(vec![evaluation(now - 49 * 3600); 3], None)).await.unwrap();
    smtp.ask(note(vec![huge], None)).await.unwrap();
    let got = evaluations(None).await;
    assert!(got[0].seen.dkim.len() < 20 && !got[0].seen.dkim.is_empty());
    // The oldest go first, so what is old behind what is not stays until then.
    assert!(got.len() <= 5);
    let world = world.reopened().await;
    let list = ReportList { kind: ReportKind::Dmarc, domain: None };
    assert_eq!(world.admin().ask(list.clone()).await.unwrap().len(), 2);
    assert!(world.client(Role::Smtp).ask(list).await.is_err(), "not its verb");
    assert!(world.client(Role::Imap).ask(note(vec![], None)).await.is_err(), "not its verb");
    // More than are kept.
    let smtp = world.client(Role::Smtp);
    for _ in 0..EVALUATIONS / 1_000 + 2 {
        smtp.ask(note(vec![evaluation(now); 1_000], None)).await.unwrap();
    }
    world.admin().ask(EvaluationList { domain: None }).await.unwrap();
    let count = world.store.engine.keys_below(&keys::feedbacks(b'e')).unwrap().len() as u64;
    assert_eq!(count, EVALUATIONS);
    world.end().await;
}
