//! What one message may cost: lookups and time, whatever it says and however slow its name servers are.

use crate::VerifyService;
use crate::golden::checker;
use crate::limits::{
    ARC_SETS, ARC_WAIT, DKIM_WAIT, DMARC_WAIT, IPREV_NAMES, IPREV_WAIT, SIGNATURES, SPF_WAIT,
};
use libmox_testing::FakeDns;
use libmox_types::{ByteCount, Cid, Host, ReversePath, Timestamp};
use libmox_verify::{Spf, Verified, Verify};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

fn asking(message: &str) -> Verify {
    Verify {
        cid: Cid(1),
        now: Timestamp(1_800_000_000),
        remote_ip: "192.0.2.9".parse().unwrap(),
        helo: Host::parse("mail.far.example").ok(),
        mail_from: ReversePath::Address("jane@far.example".parse().unwrap()),
        inline: None,
        size: ByteCount(message.len() as u64),
    }
}

async fn checked(server: SocketAddr, message: &str) -> Verified {
    let ask = asking(message);
    checker(server).check(&ask, &libmox_message::parse(message.as_bytes()), Some(message.as_bytes())).await
}

fn signed_by_many(signatures: usize) -> String {
    let mut message = String::new();
    for n in 0..signatures {
        let _ = write!(
            message,
            "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=far.example; s=s{n}; h=from:subject;\r\n \
             bh=frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY=; b=AAAA\r\n"
        );
    }
    message + "From: jane@far.example\r\nSubject: hello\r\n\r\nhello\r\n"
}

/// Four digests of a large message take their time; others are served meanwhile.
#[tokio::test]
async fn nobody_waits_for_the_digests_of_a_large_message() {
    let (_dns, server) = FakeDns::start().await.unwrap();
    let mut message = signed_by_many(4);
    for (algorithm, body) in
        [("rsa-sha256", "simple"), ("rsa-sha256", "relaxed"), ("rsa-sha1", "simple"), ("rsa-sha1", "relaxed")]
    {
        let other = format!("a={algorithm}; c=simple/{body};");
        message = message.replacen("a=rsa-sha256; c=relaxed/relaxed;", &other, 1);
    }
    message.push_str(&"hello hello hello hello hello hello hello hello hello hello.\r\n".repeat(150_000));
    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, message.as_bytes()).unwrap();
    let (ask, service) = (asking(&message), Arc::new(VerifyService::new(checker(server))));
    assert!(ask.size.0 > crate::limits::APART_OCTETS);
    let begun = Instant::now();
    let mut checking = tokio::spawn(async move { service.verify(ask, vec![file.into()]).await });
    let (mut pause, mut last) = (Duration::ZERO, begun);
    let verified = loop {
        match tokio::time::timeout(Duration::from_millis(1), &mut checking).await {
            Ok(verified) => break verified.unwrap().unwrap(),
            Err(_) => pause = pause.max(last.elapsed()),
        }
        last = Instant::now();
    };
    pause = pause.max(last.elapsed());
    assert_eq!(verified.headers.matches("dkim=").count(), 4, "{}", verified.headers);
    assert!(pause < begun.elapsed() / 2, "{pause:?} of {:?}", begun.elapsed());
}

fn how_many(dns: &FakeDns, of: impl Fn(&str) -> bool) -> usize {
    dns.asked().iter().filter(|question| of(question)).count()
}

#[tokio::test]
async fn only_so_many_names_are_looked_up() {
    let (dns, server) = FakeDns::start().await.unwrap();
    let got = checked(server, &signed_by_many(2 * SIGNATURES)).await;
    assert_eq!(how_many(&dns, |name| name.contains("._domainkey.")), SIGNATURES);
    assert_eq!(got.headers.matches("dkim=").count(), SIGNATURES, "{}", got.headers);

    dns.clear();
    for n in 0..2 * IPREV_NAMES {
        dns.add("9.2.0.192.in-addr.arpa", &["PTR", &format!("h{n}.far.example")]);
        dns.add(&format!("h{n}.far.example"), &["A", "192.0.2.77"]);
    }
    checked(server, "From: jane@far.example\r\n\r\n").await;
    assert_eq!(how_many(&dns, |name| name.starts_with('h')), IPREV_NAMES);

    // Of a chain that is too long no key is looked up.
    dns.clear();
    for (sets, want) in [(ARC_SETS, "arc=fail"), (ARC_SETS + 1, "arc=policy")] {
        let mut message = String::new();
        for i in (1..=sets).rev() {
            let cv = if i == 1 { "none" } else { "pass" };
            let _ = write!(
                message,
                "ARC-Seal: i={i}; a=rsa-sha256; cv={cv}; d=far.example; s=a{i}; b=AAAA\r\n\
                 ARC-Message-Signature: i={i}; a=rsa-sha256; c=relaxed/relaxed; d=far.example; s=a{i}; h=from;\r\n \
                 bh=frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY=; b=AAAA\r\n\
                 ARC-Authentication-Results: i={i}; far.example; none\r\n"
            );
        }
        let got = checked(server, &(message + "From: jane@far.example\r\n\r\n")).await;
        assert!(got.headers.contains(want), "{sets}: {}", got.headers);
        assert_eq!(how_many(&dns, |name| name.contains("._domainkey.")), ARC_SETS, "of the shorter one");
    }
}

/// Row MA-03: a minute for SPF; the others have theirs. The clock is one that runs when everybody waits.
#[tokio::test(start_paused = true)]
async fn a_slow_name_server_does_not_hold_a_message() {
    let (dns, server) = FakeDns::start().await.unwrap();
    dns.add("far.example", &["TXT", "v=spf1 mx:a.example mx:b.example mx:c.example -all"]);
    dns.add("_dmarc.far.example", &["TXT", "v=DMARC1; p=reject"]);
    for zone in ["a", "b", "c"] {
        for n in 0..10 {
            dns.add(&format!("{zone}.example"), &["MX", "10", &format!("{zone}{n}.example")]);
            dns.add(&format!("{zone}{n}.example"), &["A", "192.0.2.77"]);
        }
    }
    for n in 0..IPREV_NAMES {
        dns.add("9.2.0.192.in-addr.arpa", &["PTR", &format!("h{n}.far.example")]);
        dns.add(&format!("h{n}.far.example"), &["A", "192.0.2.77"]);
    }
    dns.slow_down(Duration::from_millis(1_950));
    let began = Instant::now();
    let ask = Spf {
        remote_ip: "192.0.2.9".parse().unwrap(),
        helo: None,
        mail_from: ReversePath::Address("jane@far.example".parse().unwrap()),
    };
    assert_eq!(checker(server).sender(&ask).await, "temperror");
    assert_eq!(began.elapsed().as_secs(), SPF_WAIT.as_secs());

    let began = Instant::now();
    let got = checked(server, &signed_by_many(SIGNATURES)).await;
    let most = SPF_WAIT.max(IPREV_WAIT).max(DKIM_WAIT).max(ARC_WAIT) + DMARC_WAIT;
    assert!(began.elapsed() <= most, "{:?}", began.elapsed());
    for word in ["spf=temperror", "iprev=temperror", "dkim=fail"] {
        assert!(got.headers.contains(word), "{word}: {}", got.headers);
    }
    assert!(
        got.chain.iter().any(|(topic, text)| topic == "SPF" && text == "no answer in time"),
        "{:?}",
        got.chain
    );
}

/// Row MA-03: what a domain says is shown as it is, or not at all, and not without end.
#[tokio::test]
async fn explanations_are_printable_and_short() {
    let (dns, server) = FakeDns::start().await.unwrap();
    let long = "x".repeat(1_000);
    for (text, want) in [
        ("go to http://far.example/?%{i}", Some("go to http://far.example/?192.0.2.9".to_owned())),
        ("\u{7}bell", None),
        ("caf\u{e9}", None),
        (long.as_str(), Some(long[..800].to_owned())),
    ] {
        dns.clear();
        dns.add("far.example", &["TXT", "v=spf1 -all exp=why.far.example"]);
        dns.add("why.far.example", &["TXT", text]);
        let ask = Spf {
            remote_ip: "192.0.2.9".parse().unwrap(),
            helo: None,
            mail_from: ReversePath::Address("jane@far.example".parse().unwrap()),
        };
        assert_eq!(checker(server).explained(&ask).await, ("fail", want), "{text}");
    }
}
