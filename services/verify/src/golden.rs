//! Golden folders of authentication with their DNS, and the published vectors of SPF and ARC.
//!
//! `tests/golden/auth/<case>/`: `dns` has records as in zone files, `envelope` the connection, `message` the message,
//! `want` what comes of it. `MOX_GOLDEN=write` writes `want` anew.

use crate::checks::Checker;
use libmox_service::dns::Dns;
use libmox_testing::FakeDns;
use libmox_types::{ByteCount, Cid, Domain, Host, ReversePath, Timestamp};
use libmox_verify::{Listed, Spf, Takes, Verify};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

pub(crate) fn checker(server: SocketAddr) -> Checker {
    Checker::new(Dns::unvalidated(server).unwrap(), Domain::parse("mx.example.org").unwrap())
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(name)
}

/// Row MA-03: the test suite of RFC 7208 (its licence is beside it). A test whose names no SMTP session can hold is
/// left out; they are few.
#[tokio::test]
async fn vectors_of_rfc_7208() {
    let text = std::fs::read_to_string(folder("spf/rfc7208.json")).unwrap();
    let suites: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    let (dns, server) = FakeDns::start().await.unwrap();
    let (mut ran, mut explained, mut left_out, mut wrong) = (0, 0, Vec::new(), Vec::new());
    for suite in suites {
        dns.clear();
        for (name, records) in suite["zone"].as_object().unwrap() {
            for record in records.as_array().unwrap() {
                let record: Vec<&str> =
                    record.as_array().unwrap().iter().filter_map(|r| r.as_str()).collect();
                dns.add(name, &record);
            }
        }
        let checker = checker(server);
        for (name, test) in suite["tests"].as_object().unwrap() {
            let text = |key: &str| test[key].as_str().unwrap_or_default();
            let helo = Host::parse(text("helo")).ok();
            let mail_from = match text("mailfrom") {
                "" => Some(ReversePath::Null),
                address => address.parse().ok().map(ReversePath::Address),
            };
            let (Some(mail_from), Ok(remote_ip)) = (mail_from, text("host").parse()) else {
                left_out.push(name.clone());
                continue;
            };
            let (got, explanation) = checker.explained(&Spf { remote_ip, helo, mail_from }).await;
            ran += 1;
            let want: Vec<&str> =
                test["result"].as_array().unwrap().iter().filter_map(|w| w.as_str()).collect();
            if !want.contains(&got) {
                wrong.push(format!("{}: {name}: {got}, not {want:?}", suite["description"]));
            }
            // The suite's word for none of the domain's own. Hexadecimal digits may be of either case.
            if let Some(want) = test["explanation"].as_str() {
                let want = if want == "DEFAULT" { "" } else { want };
                let got = explanation.unwrap_or_default();
                explained += 1;
                if !got.eq_ignore_ascii_case(want) {
                    wrong.push(format!("{}: {name}: {got:?}, not {want:?}", suite["description"]));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {ran}: {wrong:#?}", wrong.len());
    assert!(ran > 190 && explained > 10, "{ran} ran, {explained} explained, left out: {left_out:?}");
}

/// Row MA-24: the validation half of ValiMail's ARC test suite (its licence is beside it), made for a draft of RFC 8617.
#[tokio::test]
async fn vectors_of_arc() {
    let text = std::fs::read_to_string(folder("arc/valimail.json")).unwrap();
    let scenarios: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    let (dns, server) = FakeDns::start().await.unwrap();
    let (mut ran, mut wrong) = (0, Vec::new());
    for scenario in scenarios {
        dns.clear();
        for (name, record) in scenario["dns"].as_object().unwrap() {
            dns.add(name, &["TXT", record.as_str().unwrap()]);
        }
        let checker = checker(server);
        for (name, test) in scenario["tests"].as_object().unwrap() {
            let message = test["message"].as_str().unwrap().replace('\n', "\r\n");
            let (_, got) = checker.words(message.as_bytes()).await;
            let want = match name.as_str() {
                // RFC 6376 §3.5: h= is a list of at least one name.
                "ams_fields_h_empty" => "fail".to_owned(),
                // The draft had no word for a chain that says itself that it failed. RFC 8617 §5.2 step 2 has.
                _ if test["cv"] == "" => "fail".to_owned(),
                _ => test["cv"].as_str().unwrap().to_lowercase(),
            };
            ran += 1;
            if got != want {
                wrong.push(format!("{name}: {got}, not {want:?}: {}", test["description"]));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {ran}: {wrong:#?}", wrong.len());
}

fn read(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).unwrap_or_default()
}

#[tokio::test]
async fn golden_folders_of_authentication() {
    let mut cases: Vec<PathBuf> =
        std::fs::read_dir(folder("auth")).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() >= 10, "{cases:?}");
    let mut wrong = Vec::new();
    for case in cases {
        let (dns, server) = FakeDns::start().await.unwrap();
        for line in read(&case, "dns").lines().filter(|line| !line.is_empty()) {
            let mut words = line.splitn(3, ' ');
            let (name, kind, data) =
                (words.next().unwrap(), words.next().unwrap(), words.next().unwrap_or_default());
            let data: Vec<&str> = if kind == "TXT" { vec![data] } else { data.split(' ').collect() };
            dns.add(name, &[&[kind], &data[..]].concat());
        }
        let envelope = read(&case, "envelope");
        let of = |key: &str| {
            let line = envelope.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            line.unwrap_or_default().to_owned()
        };
        let message = std::fs::read(case.join("message")).unwrap();
        let ask = Verify {
            cid: Cid(1),
            now: Timestamp(1_800_000_000),
            remote_ip: of("ip").parse().unwrap(),
            helo: Host::parse(&of("helo")).ok(),
            mail_from: match of("from").as_str() {
                "" => ReversePath::Null,
                address => ReversePath::Address(address.parse().unwrap()),
            },
            inline: None,
            size: ByteCount(message.len() as u64),
        };
        let facts = libmox_message::parse(&message);
        let got = checker(server).check(&ask, &facts, Some(&message)).await;
        let got = format!(
            "{}dmarc-refuses={}\nsealed-by={}\nverified={}\n",
            got.headers.replace("\r\n", "\n"),
            got.dmarc_refuses,
            got.sealed_by.map(|domain| domain.to_string()).unwrap_or_default(),
            got.verdict.dkim.join(" "),
        );
        if std::env::var("MOX_GOLDEN").is_ok_and(|how| how == "write") {
            std::fs::write(case.join("want"), &got).unwrap();
        }
        if got != read(&case, "want") {
            wrong.push(format!("{}:\n{got}", case.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What mox signs and seals, dkimpy verifies (`tests/system/dkimpy.py`), and so do we: also what was changed on the way.
#[tokio::test]
async fn our_own_signatures_and_seals_are_good() {
    let (dns, server) = FakeDns::start().await.unwrap();
    let records = read(&folder("signed"), "dns");
    for (key, record) in records.lines().filter_map(|line| line.split_once(' ')) {
        dns.clear();
        dns.add("sel._domainkey.example.org", &["TXT", record]);
        let checker = checker(server);
        for (case, change, dkim, arc) in [
            ("dkim", None, "pass", "none"),
            ("dkim", Some(("bye.", "BYE.")), "fail", "none"),
            ("arc", None, "pass", "pass"),
            ("arc-twice", None, "pass", "pass"),
            ("arc-twice", Some(("cv=pass", "cv=none")), "pass", "fail"),
            ("arc-failed", None, "fail", "fail"),
        ] {
            let mut message = read(&folder("signed"), &format!("{key}-{case}.eml"));
            if message.is_empty() {
                // Seals are made with RSA.
                assert_eq!(key, "ed25519");
                continue;
            }
            if let Some((before, after)) = change {
                message = message.replacen(before, after, 1);
            }
            assert_eq!(
                checker.words(message.as_bytes()).await,
                (dkim.to_owned(), arc),
                "{key}-{case} {change:?}"
            );
        }
    }
}

/// Rows SR-09, SR-03: MX, null MX, addresses only, nothing, failures.
#[tokio::test]
async fn domains_say_whether_they_take_mail() {
    let (dns, server) = FakeDns::start().await.unwrap();
    dns.add("mx.example", &["MX", "10", "mail.mx.example"]);
    dns.add("null.example", &["MX", "0", "."]);
    dns.add("four.example", &["A", "192.0.2.1"]);
    dns.add("six.example", &["AAAA", "2001:db8::1"]);
    dns.add("text.example", &["TXT", "nothing else"]);
    dns.add("down.example", &["TIMEOUT"]);
    let resolver = Dns::unvalidated(server).unwrap();
    for (domain, takes, exists) in [
        ("mx.example", Takes::Mail, Takes::NoAddress),
        ("null.example", Takes::NullMx, Takes::NoAddress),
        ("four.example", Takes::Mail, Takes::Mail),
        ("six.example", Takes::Mail, Takes::Mail),
        ("text.example", Takes::NoAddress, Takes::NoAddress),
        ("nowhere.example", Takes::NoAddress, Takes::NoAddress),
        ("down.example", Takes::Unknown, Takes::Unknown),
    ] {
        let domain = Domain::parse(domain).unwrap();
        assert_eq!(crate::lists::takes_mail(&resolver, &domain).await.takes, takes, "{domain}");
        assert_eq!(crate::lists::has_name(&resolver, &domain).await.takes, exists, "{domain}");
    }
}

/// Row MA-22, RFC 5782.
#[tokio::test]
async fn block_lists_are_checked_and_asked_in_order() {
    let (dns, server) = FakeDns::start().await.unwrap();
    for zone in ["good.example", "all.example"] {
        dns.add(&format!("2.0.0.127.{zone}"), &["A", "127.0.0.2"]);
    }
    dns.add("1.0.0.127.all.example", &["A", "127.0.0.2"]);
    dns.add("9.2.0.192.good.example", &["A", "127.0.0.3"]);
    dns.add("9.2.0.192.good.example", &["TXT", "spam source"]);
    dns.add("8.2.0.192.good.example", &["A", "192.0.2.1"]);
    dns.add("x.down.example", &["TIMEOUT"]);
    dns.add("9.2.0.192.down.example", &["TIMEOUT"]);
    let resolver = Dns::unvalidated(server).unwrap();
    let zone = |text: &str| Domain::parse(text).unwrap();
    for (name, healthy) in
        [("good.example", true), ("all.example", false), ("empty.example", false), ("down.example", false)]
    {
        assert_eq!(libmox_service::dns::lists::is_healthy(&resolver, &zone(name)).await, healthy, "{name}");
    }
    let zones = [zone("down.example"), zone("good.example")];
    let found = crate::lists::listed(&resolver, "192.0.2.9".parse().unwrap(), &zones).await;
    let text = "spam source".into();
    assert_eq!(found.listed, Some(Listed { zone: zone("good.example"), text, authentic: false }));
    assert!(found.chain[0].starts_with("down.example: "), "{:?}", found.chain);
    assert_eq!(found.chain[1], "good.example: listed, without dnssec: spam source");
    for clean in ["192.0.2.8", "192.0.2.7", "2001:db8::9"] {
        assert_eq!(
            crate::lists::listed(&resolver, clean.parse().unwrap(), &zones).await.listed,
            None,
            "{clean}"
        );
    }
}
