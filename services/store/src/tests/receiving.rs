//! Deliveries and recipient checks.

use super::*;
use libmox_ipc::OnceKey;
use libmox_store::{
    CheckRecipient, Content, DeliverTogether, Fault, MessageOpen, RecipientStatus, Report, Status, Together,
    Unstage,
};
use std::io::Read;
use std::os::fd::OwnedFd;

#[tokio::test(flavor = "multi_thread")]
async fn recipients_are_told_apart() {
    let mut directory = sample();
    directory.settings.quota = Some(1 << 20);
    let bob = directory.accounts.get_mut("bob").unwrap();
    bob.junk_filter.enabled = true;
    let world = World::with(directory).await;
    let smtp = world.client(Role::Smtp);
    for (to, want) in [
        ("bob@example.org", RecipientStatus::Local),
        ("jane@example.org", RecipientStatus::LocalUnfiltered),
        ("Jane+x@EXAMPLE.org", RecipientStatus::LocalUnfiltered),
        ("postmaster", RecipientStatus::LocalUnfiltered),
        ("nobody@example.org", RecipientStatus::UnknownUser),
        ("x@off.example", RecipientStatus::Disabled),
        ("x@example.net", RecipientStatus::Foreign),
    ] {
        assert_eq!(smtp.ask(CheckRecipient { recipient: recipient(to) }).await.unwrap(), want, "{to}");
    }
    let large = vec![b'x'; 900 << 10];
    assert!(matches!(world.deliver(&["jane@example.org"], &large).await[..], [Delivered::Stored(_)]));
    let both = world.deliver(&["jane@example.org", "bob@example.org", "no@example.org"], &large).await;
    assert!(
        matches!(both[..], [Delivered::OverQuota, Delivered::Stored(_), Delivered::UnknownUser]),
        "{both:?}"
    );
    world.end().await;
}

/// Row SR-16: bare, at this machine, at a listener's name, and at each domain that has no such address of its own.
#[tokio::test(flavor = "multi_thread")]
async fn postmasters_have_a_mailbox() {
    let mut directory = sample();
    directory.settings.postmaster_mailbox = Some(name("Postmaster"));
    directory.accounts.get_mut("bob").unwrap().addresses.push(address("postmaster@own.example"));
    let domains = directory
        .domains
        .clone()
        .into_iter()
        .chain([(address("x@own.example").domain, crate::directory::DomainRules::default())]);
    let directory = Directory::new(1, directory.settings, domains.collect(), directory.accounts);
    let world = World::with(directory).await;
    let imap = world.imap();
    let (jane, bob) =
        (world.login(&imap, "jane@example.org").await, world.login(&imap, "bob@example.org").await);
    let names = [
        "postmaster",
        "Postmaster@example.org",
        "postmaster@mail.example.org",
        "postmaster@in.example.org",
        "POSTMASTER@all.example",
        "abuse@mail.example.org",
    ];
    for (count, to) in names.into_iter().enumerate() {
        let stored = world.deliver(&[to], b"x").await;
        assert!(matches!(stored[..], [Delivered::Stored(_)]), "{to}: {stored:?}");
        assert_eq!(world.list(&imap, jane, "Postmaster").await.len(), count + 1, "{to}");
    }
    world.deliver(&["jane@example.org", "postmaster@own.example"], b"x").await;
    assert_eq!(world.list(&imap, jane, "Inbox").await.len(), 1);
    assert_eq!(world.list(&imap, bob, "Inbox").await.len(), 1);
    world.end().await;
}

async fn read(client: &Client, session: SessionId, id: libmox_types::MsgId) -> Vec<u8> {
    let (content, descriptors): (Content, Vec<OwnedFd>) =
        client.ask_with(MessageOpen { session, id }, vec![]).await.unwrap();
    let mut bytes = content.prefix;
    let before = bytes.len();
    match content.inline {
        Some(inline) => bytes.extend_from_slice(&inline),
        None => {
            let mut file = std::fs::File::from(descriptors.into_iter().next().unwrap());
            file.read_to_end(&mut bytes).unwrap();
        }
    }
    assert_eq!((bytes.len() - before) as u64, content.size.0);
    bytes
}

/// Small and large, one and several recipients, an account meant twice (row TR-50).
#[tokio::test(flavor = "multi_thread")]
async fn what_was_delivered_can_be_read() {
    let world = World::new().await;
    let imap = world.imap();
    let (jane, bob) =
        (world.login(&imap, "jane@example.org").await, world.login(&imap, "bob@example.org").await);
    for size in [0, 5, 64 << 10, (64 << 10) + 1, 3 << 20] {
        let body: Vec<u8> = (0..=250).cycle().take(size).collect();
        let got = world.deliver(&["jane@example.org", "bob@example.org", "jane+b@example.org"], &body).await;
        let ids: Vec<_> = got
            .iter()
            .map(|one| match one {
                Delivered::Stored(stored) => stored.id,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(ids[0], ids[2], "once an account");
        for (session, id, to) in [(jane, ids[0], "jane"), (bob, ids[1], "bob")] {
            let want = [format!("Delivered-To: {to}@example.org\r\n").as_bytes(), &body].concat();
            assert!(read(&imap, session, id).await == want, "{size} octets to {to}");
        }
    }
    let records = world.list(&imap, jane, "Inbox").await;
    assert_eq!(records.len(), 5);
    assert_eq!(records[0].preview, "Hello");
    assert_eq!(records[0].structure, vec![5; 300]);
    assert_eq!(records[4].size.0, (3 << 20) + 32);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn staged_bodies_are_limited_checked_and_given_back() {
    let world = World::new().await;
    let smtp = world.client(Role::Smtp);
    let body = body_of(&smtp, &vec![b'y'; 100_000]).await;
    let Body::Staged { body: id, .. } = body else { panic!() };
    let lie = Body::Staged { body: id, size: ByteCount(99_999) };
    let refused = smtp.ask(deliver(&["jane@example.org"], lie)).await;
    assert_eq!(refused.unwrap_err().fault(), Some(&Fault::NoBody));
    let stored = smtp.ask(deliver(&["jane@example.org"], body.clone())).await.unwrap();
    assert!(matches!(stored[..], [Delivered::Stored(_)]), "a failed request leaves the body");
    let again = smtp.ask(deliver(&["jane@example.org"], body)).await;
    assert_eq!(again.unwrap_err().fault(), Some(&Fault::NoBody), "used up");
    assert_eq!(smtp.ask(Unstage(id)).await.unwrap_err().fault(), Some(&Fault::NoBody));
    let mut held = Vec::new();
    for _ in 0..crate::limits::STAGED {
        held.push(smtp.ask_with(Stage, vec![]).await.unwrap().0);
    }
    assert!(matches!(smtp.ask_with(Stage, vec![]).await.unwrap_err().fault(), Some(Fault::Limit(_))));
    smtp.ask(Unstage(held[0])).await.unwrap();
    smtp.ask_with(Stage, vec![]).await.unwrap();
    world.end().await;
}

/// A verb of another role is refused and the connection dropped; the store goes on.
#[tokio::test(flavor = "multi_thread")]
async fn roles_are_kept_apart() {
    let world = World::new().await;
    let smtp = world.another(Role::Smtp);
    let epoch = smtp.epoch().await.unwrap();
    let refused = smtp.ask(AccountSetPassword { account: "jane".into(), password: "12345678".into() }).await;
    assert_eq!(refused.unwrap_err().fault(), Some(&Fault::Forbidden));
    while smtp.epoch().await.unwrap() == epoch {
        tokio::task::yield_now().await;
    }
    let imap = world.imap();
    let jane = world.login(&imap, "jane@example.org").await;
    let stranger = world.another(Role::Imap);
    let refused = stranger.ask(MailboxStatus { session: jane, name: name("Inbox") }).await;
    assert_eq!(refused.unwrap_err().fault(), Some(&Fault::NoSession), "a session is its connection's");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_get_it_together_or_nobody_does() {
    let mut directory = sample();
    directory.accounts.get_mut("bob").unwrap().quota = Some(100);
    let world = World::with(directory).await;
    let (smtp, imap) = (world.client(Role::Smtp), world.imap());
    let session = world.login(&imap, "jane@example.org").await;
    let ask = |to: &[&str], report: Option<&str>| DeliverTogether {
        deliver: deliver(to, Body::Inline(vec![b'm'; 200])),
        report: report.map(|to| Report {
            to: address(to),
            prefix: b"X: y\r\n".to_vec(),
            body: Body::Inline(b"not for all".to_vec()),
            facts: facts(),
        }),
    };
    for (to, against) in [
        (["jane@example.org", "bob@example.org"], [None, Some(Delivered::OverQuota)]),
        (["jane@example.org", "nobody@example.org"], [None, Some(Delivered::UnknownUser)]),
    ] {
        let outcome = smtp.ask(ask(&to, Some("me@far.example"))).await.unwrap();
        assert_eq!(outcome, Together::Nothing(against.to_vec()), "{to:?}");
    }
    assert!(world.list(&imap, session, "Inbox").await.is_empty(), "nobody has it");
    assert_eq!(world.admin().ask(Status).await.unwrap().queued, 0, "and nobody is told");

    let to = ["jane@example.org", "postmaster@example.org"];
    let outcome = smtp.ask(ask(&to, Some("me@far.example"))).await.unwrap();
    assert!(matches!(&outcome, Together::Stored(proof) if proof.len() == 2), "{outcome:?}");
    assert_eq!(world.list(&imap, session, "Inbox").await.len(), 1);
    assert_eq!(world.admin().ask(Status).await.unwrap().queued, 1);
    // A sender who lives here reads the report in the Inbox.
    smtp.ask(ask(&to, Some("jane@example.org"))).await.unwrap();
    assert_eq!(world.list(&imap, session, "Inbox").await.len(), 3);
    smtp.ask(ask(&to, None)).await.unwrap();
    assert_eq!(world.list(&imap, session, "Inbox").await.len(), 4);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_with_a_key_is_carried_out_once() {
    let world = World::new().await;
    let key = |random| OnceKey { at: 1_800_000_000, random };
    let smtp = world.client(Role::Smtp);
    let one = || deliver(&["jane@example.org"], Body::Inline(b"one".to_vec()));
    let first = smtp.ask_once(key(1), one()).await.unwrap();
    let mut together = tokio::task::JoinSet::new();
    for _ in 0..20 {
        // Over several connections at the same time, before and after.
        let (smtp, other) = (smtp.clone(), world.another(Role::Smtp));
        together.spawn(async move {
            let big = deliver(&["jane@example.org", "bob@example.org"], Body::Inline(vec![b'2'; 9]));
            let again = smtp.ask_once(key(1), one()).await.unwrap();
            (again, other.ask_once(key(2), big).await.unwrap())
        });
    }
    let all = together.join_all().await;
    assert!(all.iter().all(|(again, two)| *again == first && *two == all[0].1), "{all:?}");
    let submission = world.client(Role::Submission);
    let session = world.login(&submission, "jane@example.org").await;
    let add = |session| super::outgoing::add(session, &["a@x.example"], Body::Inline(b"x".to_vec()));
    let ids = submission.ask_once(key(3), add(session)).await.unwrap();
    assert_eq!(submission.ask_once(key(3), add(session)).await.unwrap(), ids);

    // The reply is as durable as what it tells of; so it is found without session and body.
    let world = world.reopened().await;
    let smtp = world.client(Role::Smtp);
    let lost =
        deliver(&["jane@example.org"], Body::Staged { body: libmox_store::BodyId(1), size: ByteCount(3) });
    assert_eq!(smtp.ask_once(key(1), lost).await.unwrap(), first);
    let submission = world.client(Role::Submission);
    assert_eq!(submission.ask_once(key(3), add(SessionId(1))).await.unwrap(), ids);
    let refused = submission.ask_once(key(4), add(SessionId(1))).await;
    assert_eq!(refused.unwrap_err().fault(), Some(&Fault::NoSession));
    let imap = world.imap();
    let session = world.login(&imap, "jane@example.org").await;
    assert_eq!(world.list(&imap, session, "Inbox").await.len(), 2);
    assert_eq!(world.admin().ask(Status).await.unwrap().queued, 1);

    // What is too old to be known is refused, and forgotten.
    world.clock.fetch_add(crate::limits::ONCE_AGE + 1, Ordering::Relaxed);
    assert_eq!(smtp.ask_once(key(1), one()).await.unwrap_err().fault(), Some(&Fault::Stale));
    world.store.forget_replies().await.unwrap();
    world.store.engine.settled().await;
    assert!(crate::records::Read::keys_below(&world.store.engine, b"O").unwrap().is_empty());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_another_connection_has_no_name_here() {
    let world = World::new().await;
    let smtp = world.client(Role::Smtp);
    let other = world.another(Role::Smtp);
    let theirs = body_of(&smtp, &vec![b'a'; 70_000]).await;
    body_of(&other, &vec![b'b'; 70_000]).await;
    let refused = other.ask(deliver(&["jane@example.org"], theirs)).await;
    assert_eq!(refused.unwrap_err().fault(), Some(&Fault::NoBody));
    world.end().await;
}
