//! Rows IM-53, IM-54: URLs that let others read, for as long and as far as they say; messages put together in a large way.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[allow(dead_code, reason = "each test binary uses its part")]
mod support;

use support::{Peer, World};

const MESSAGE: &str = "Subject: x\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b\n\n\
    si vis pacem\n--b--\n";

fn url(end: &str) -> String {
    format!("imap://jane%40example.org@mail.example.org/INBOX/;uid=1{end}")
}

/// A URL of hers with its token.
async fn authorised(jane: &mut Peer, url: &str) -> String {
    let answer = jane.command(&format!("gen GENURLAUTH \"{url}\" INTERNAL")).await;
    assert_eq!(answer.last().unwrap(), "gen OK done");
    let full = answer[0].strip_prefix("* GENURLAUTH \"").unwrap().strip_suffix('"').unwrap().to_string();
    assert!(full.starts_with(url) && full.len() == url.len() + ":internal:".len() + 64, "{full}");
    full
}

/// What a URL gives: none for NIL.
async fn fetched(peer: &mut Peer, url: &str) -> Option<String> {
    let answer = peer.command(&format!("get URLFETCH \"{url}\"")).await;
    assert_eq!(answer.last().unwrap(), "get OK done");
    let said = answer[0].strip_prefix(&format!("* URLFETCH \"{url}\" ")).unwrap();
    match said.split_once("}\r\n") {
        Some((_, octets)) => Some(octets.to_string()),
        None if said == "NIL" => None,
        None => Some(said.to_string()),
    }
}

async fn world() -> (World, Peer, Peer) {
    let world = World::new().await;
    world.deliver("jane@example.org", MESSAGE).await;
    let (jane, bob) = (world.signed_in("jane").await, world.signed_in("bob").await);
    (world, jane, bob)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_url_opens_what_it_names_for_whom_it_names() {
    let (world, mut jane, mut bob) = world().await;
    let mut relay = world.signed_in("relay").await;
    for (end, janes, bobs, relays) in [
        (";urlauth=anonymous", true, true, true),
        (";urlauth=authuser", true, true, true),
        (";urlauth=user+bob%40example.org", false, true, false),
        (";urlauth=user+jane%40example.org", true, false, false),
        (";urlauth=user+nobody%40example.org", false, false, false),
        // RFC 4467 §3: whose submission it is, the submission server looks at.
        (";urlauth=submit+bob%40example.org", false, false, true),
        (";urlauth=submit+fred", false, false, true),
        (";expire=2020-01-01T00:00:00Z;urlauth=submit+fred", false, false, false),
        (";expire=2090-01-01T00:00:00Z;urlauth=anonymous", true, true, true),
        (";expire=2020-01-01T00:00:00Z;urlauth=anonymous", false, false, false),
    ] {
        let full = authorised(&mut jane, &url(&format!("/;section=2{end}"))).await;
        let want = Some("si vis pacem".to_string());
        assert_eq!(fetched(&mut jane, &full).await, want.clone().filter(|_| janes), "{end}");
        assert_eq!(fetched(&mut bob, &full).await, want.clone().filter(|_| bobs), "{end}");
        assert_eq!(fetched(&mut relay, &full).await, want.filter(|_| relays), "{end}");
    }
    let part = authorised(&mut jane, &url("/;section=2/;partial=3.3;urlauth=anonymous")).await;
    assert_eq!(fetched(&mut bob, &part).await.unwrap(), "vis");
    let whole = authorised(&mut jane, &url(";urlauth=anonymous")).await;
    let said = fetched(&mut bob, &whole).await.unwrap();
    assert_eq!(
        said,
        format!("Delivered-To: x\r\n{}", MESSAGE.replace('\n', "\r\n").trim_end()).as_str().to_owned()
    );
    let field = authorised(&mut jane, &url("/;section=HEADER.FIELDS%20(Subject);urlauth=anonymous")).await;
    assert!(fetched(&mut bob, &field).await.unwrap().starts_with("Subject: x"));
    // RFC 4467 §8: a good URL without such a part is the empty string.
    let none = authorised(&mut jane, &url("/;section=7;urlauth=anonymous")).await;
    assert_eq!(fetched(&mut bob, &none).await.unwrap(), "\"\"");
    // Nothing of it was seen by that.
    jane.command("s SELECT INBOX").await;
    assert_eq!(jane.command("f FETCH 1 FLAGS").await[0], "* 1 FETCH (FLAGS ())");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_url_that_was_changed_opens_nothing() {
    let (world, mut jane, mut bob) = world().await;
    world.deliver("jane@example.org", MESSAGE).await;
    let full = authorised(&mut jane, &url("/;section=2;urlauth=user+bob%40example.org")).await;
    assert!(fetched(&mut bob, &full).await.is_some());
    let flipped = format!("{}{}", &full[..full.len() - 1], if full.ends_with('0') { '1' } else { '0' });
    for changed in [
        full.replace("uid=1/", "uid=2/"),
        full.replace("section=2", "section=1"),
        full.replace("/;section=2", ""),
        full.replace("user+bob", "user+jane"),
        full.replace("user+bob%40example.org", "anonymous"),
        full.replace("INBOX", "inbox"),
        full.replace("INBOX", "Sent"),
        full.replace("INBOX", "Nowhere"),
        full.replace("jane%40", "bob%40"),
        full.replace("jane%40", "nobody%40"),
        full.replace("jane%40", "%6Aane%40"),
        full.replace("mail.example.org", "mail.example.com"),
        full.replace(":internal:", ":xsample:"),
        full.replace(";urlauth", ";expire=2090-01-01T00:00:00Z;urlauth"),
        flipped,
        full[..full.len() - 2].to_string(),
        format!("{full}00"),
    ] {
        for peer in [&mut jane, &mut bob] {
            assert_eq!(fetched(peer, &changed).await, None, "{changed}");
        }
    }
    assert!(fetched(&mut bob, &full).await.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_key_makes_urls_worthless() {
    let (_world, mut jane, mut bob) = world().await;
    jane.command("a CREATE a").await;
    jane.command("b SELECT INBOX").await;
    jane.command("c COPY 1 a").await;
    let (inbox, other) = (url(";urlauth=anonymous"), url(";urlauth=anonymous").replace("INBOX", "a"));
    let (first, second) = (authorised(&mut jane, &inbox).await, authorised(&mut jane, &other).await);
    assert_eq!(authorised(&mut jane, &inbox).await, first, "the same key gives the same token");
    assert!(fetched(&mut bob, &first).await.is_some() && fetched(&mut bob, &second).await.is_some());
    jane.command("d RESETKEY INBOX").await;
    assert!(fetched(&mut bob, &first).await.is_none() && fetched(&mut bob, &second).await.is_some());
    let again = authorised(&mut jane, &inbox).await;
    assert_ne!(again, first);
    assert!(fetched(&mut bob, &again).await.is_some());
    jane.command("e RESETKEY").await;
    assert!(fetched(&mut bob, &again).await.is_none() && fetched(&mut bob, &second).await.is_none());
    // The key goes with its mailbox: another of that name has another.
    let old = authorised(&mut jane, &other).await;
    jane.command("f DELETE a").await;
    assert!(fetched(&mut bob, &old).await.is_none());
    jane.command("g CREATE a").await;
    jane.command("h COPY 1 a").await;
    assert!(fetched(&mut bob, &old).await.is_none());
    let new = authorised(&mut jane, &other).await;
    assert!(new != old && fetched(&mut bob, &new).await.is_some());
    // The message goes: so does what the URL opens. Its validity is part of what it says.
    let other_life = url(";urlauth=anonymous").replace("INBOX", "INBOX;UIDVALIDITY=4711");
    let full = authorised(&mut jane, &other_life).await;
    assert!(fetched(&mut bob, &full).await.is_none());
    let full = authorised(&mut jane, &inbox).await;
    jane.command("i STORE 1 +FLAGS (\\Deleted)").await;
    jane.command("j EXPUNGE").await;
    assert!(fetched(&mut bob, &full).await.is_none());
    // Whoever did not sign in gets nothing at all.
    let mut stranger = _world.connect().await;
    assert_eq!(stranger.command(&format!("a URLFETCH \"{new}\"")).await, ["a BAD log in first"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_put_together_has_a_limit() {
    let settings = "[service]\nbad-client-delay = \"0s\"\n[imap]\nallow-plaintext-login = true\n\
        max-message-size = \"1MiB\"\n";
    let world = World::with(settings).await;
    let mut jane = world.signed_in("jane").await;
    let half = format!("Subject: half\r\n\r\n{}\r\n", "x".repeat(600 * 1024));
    jane.send(&format!("a APPEND INBOX {{{}+}}\r\n{half}\r\n", half.len())).await;
    assert!(jane.until("a").await[0].starts_with("a OK"));
    let once = "URL \"/INBOX/;UID=1\"";
    let refused = "NO [TOOBIG] message too large";
    let got = jane.command(&format!("b APPEND INBOX CATENATE ({once} {once})")).await;
    assert_eq!(got, [format!("b {refused}")]);
    jane.send(&format!("c APPEND INBOX CATENATE ({once} TEXT {{600000}}\r\n")).await;
    assert_eq!(jane.response().await, format!("c {refused}"));
    // One line does not make us copy more than one message may have.
    let got = jane.command(&format!("d APPEND INBOX CATENATE ({once}) CATENATE ({once})")).await;
    assert_eq!(got, ["d NO [TOOBIG] too much to put together"]);
    let got =
        jane.command(&format!("e APPEND INBOX CATENATE ({once} URL \"/INBOX/;UID=1/;PARTIAL=0.99\")")).await;
    assert!(got[0].starts_with("e OK [APPENDUID"), "{got:?}");
    jane.command("f SELECT INBOX").await;
    let got = jane.command("g FETCH 2 (RFC822.SIZE BODY.PEEK[])").await;
    let want = format!("{half}{}", &half[..99]);
    assert!(got[0] == format!("* 2 FETCH (RFC822.SIZE {0} BODY[] {{{0}}}\r\n{want})", want.len()), "differs");
}
