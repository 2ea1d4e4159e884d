//! Rejects, first messages, rules, and what is remembered of senders.

use super::threads::{Mail, arrives};
use super::*;
use crate::keys;
use crate::records::Read;
use crate::signals::{Class, Signal, networks, of_from, opinions};
use libmox_service::config::Domains;
use libmox_store::{
    Analysis, Analyze, CheckRecipient, Copy, Decision, Destined, Expunge, FlagsChange, FlagsHow, Lists,
    MailboxRename, Mark, RecipientStatus, Reject,
};
use libmox_types::{AccountId, Flag, Flags, MailboxId, Uid};

pub const JANE: AccountId = AccountId(2);

/// `sample()` with settings of jane.
pub fn with(toml: &str) -> Directory {
    let text = format!(
        "[domains.\"example.org\"]\nlocalpart-catchall-separators = [\"+\"]\n[accounts.bob]\naddresses = [\"bob@example.org\"]\n\
         [accounts.jane]\naddresses = [\"jane@example.org\"]\n{toml}"
    );
    let domains = Domains::parse(&text).map_err(|mistakes| mistakes.lines()).unwrap();
    let statics = libmox_service::config::Static::parse("hostname = \"mail.example.org\"").unwrap();
    crate::config::directory(1, &statics, &domains)
}

pub fn from(text: &str, id: &str) -> Facts {
    Facts { from: Some(address(text)), message_id: id.into(), ..Facts::default() }
}

pub fn analyze(facts: Facts, refused: Option<&str>) -> Analyze {
    Analyze {
        cid: Cid(7),
        received: Timestamp(1_800_000_000),
        remote_ip: "192.0.2.9".parse().unwrap(),
        mail_from: ReversePath::Address(address("list@lists.example")),
        size: ByteCount(100),
        content: [0; 32],
        facts,
        verdict: Verdict::default(),
        headers: vec![],
        refused: refused.map(Into::into),
        recipients: vec![recipient("jane@example.org")],
        helo: None,
        tls: true,
        pass: None,
        lists: Lists::NotAsked,
        sealed_by: None,
        report: libmox_store::ReportSeen::NotAsked,
    }
}

pub async fn asked(world: &World, request: &Analyze) -> Analysis {
    world.client(Role::Smtp).ask(request.clone()).await.unwrap().remove(0)
}

/// Analyses and delivers what came of it.
pub async fn comes(world: &World, request: &Analyze) -> (Decision, Delivered) {
    let analysis = asked(world, request).await;
    let mut deliver = deliver(&["jane@example.org"], Body::Inline(b"x".to_vec()));
    deliver.facts = request.facts.clone();
    deliver.verdict = request.verdict.clone();
    deliver.received = request.received;
    deliver.recipients[0].destined = analysis.destined;
    let delivered = world.client(Role::Smtp).ask(deliver).await.unwrap().remove(0);
    (analysis.decision, delivered)
}

const KEPT: Delivered = Delivered::Refused { kept: true };
const LOST: Delivered = Delivered::Refused { kept: false };

fn content(number: u8) -> [u8; 32] {
    [number; 32]
}

pub async fn id(client: &Client, session: SessionId, mailbox: &str) -> MailboxId {
    client.ask(MailboxStatus { session, name: name(mailbox) }).await.unwrap().id
}

pub async fn flag(client: &Client, session: SessionId, mailbox: MailboxId, uid: Uid, flag: Flag) {
    let (flags, uids) = (Flags::NONE.with(flag), [uid].into_iter().collect());
    let how = FlagsHow::Add;
    let change = FlagsChange { session, mailbox, uids, how, flags, keywords: vec![], unchanged_since: None };
    client.ask(change).await.unwrap();
}

/// Row ST-29: seen, once, bounded, and gone when the message comes after all.
#[tokio::test(flavor = "multi_thread")]
async fn rejects_are_kept_once_and_for_a_while() {
    let world = World::with(with("rejects-mailbox = \"Rejects\"\n")).await;
    let imap = world.imap();
    let session = world.login(&imap, "jane@example.org").await;
    let reject = |message: &str, number: u8, at: i64| Analyze {
        content: content(number),
        received: Timestamp(at),
        ..analyze(from("x@far.example", message), Some("DMARC"))
    };
    const NOW: i64 = 1_800_000_000;
    let refused = (Decision::Reject, KEPT);
    assert_eq!(comes(&world, &reject("a@x", 1, NOW)).await, refused);
    assert_eq!(comes(&world, &reject("a@x", 2, NOW)).await.1, LOST, "same Message-ID");
    assert_eq!(comes(&world, &reject("b@x", 1, NOW)).await.1, LOST, "same content");
    assert_eq!(comes(&world, &reject("c@x", 3, NOW - 20 * 24 * 3600)).await, refused);
    let rejects = world.list(&imap, session, "Rejects").await;
    assert!(rejects.iter().all(|r| r.flags.has(Flag::Seen) && r.marks.has(Mark::Reject)));
    assert_eq!(rejects.len(), 2);
    // The next one makes the old one go.
    assert_eq!(comes(&world, &reject("d@x", 4, NOW)).await, refused);
    assert_eq!(world.list(&imap, session, "Rejects").await.len(), 2);
    arrives(&world, NOW, from("x@far.example", "a@x")).await;
    assert_eq!(world.list(&imap, session, "Rejects").await.len(), 1, "delivered after all");
    assert_eq!(world.list(&imap, session, "Inbox").await.len(), 1);
    // Too many: the oldest goes. A flood is not kept at all.
    let mut kept = 0;
    for number in 0..100u32 {
        let facts = from("x@far.example", &format!("{number}@flood"));
        let mut one = analyze(facts, Some("spam"));
        one.content[..4].copy_from_slice(&number.to_be_bytes());
        one.content[31] = 1;
        kept += u32::from(comes(&world, &one).await.1 == KEPT);
    }
    assert!(kept <= crate::limits::REJECTS_PER_MINUTE && kept > 40, "{kept}");
    world.end().await;
}

/// Row SR-32: put off, kept nowhere; a list's other members have it.
#[tokio::test(flavor = "multi_thread")]
async fn too_much_from_one_network_is_put_off() {
    let mut directory = with(
        "rejects-mailbox = \"Rejects\"\n[aliases.\"team@example.org\"]\n\
         addresses = [\"jane@example.org\", \"bob@example.org\"]\n",
    );
    directory.settings.deliveries.messages = 3;
    directory.settings.deliveries.octets = 1000;
    let world = World::with(directory).await;
    let imap = world.imap();
    let session = world.login(&imap, "jane@example.org").await;
    let mail = |id: &str| analyze(from("x@far.example", id), None);
    for id in ["1@x", "2@x", "3@x"] {
        assert_eq!(comes(&world, &mail(id)).await.0, Decision::Accept);
    }
    assert_eq!(comes(&world, &mail("4@x")).await, (Decision::TooOften, LOST));
    assert_eq!(asked(&world, &mail("4@x")).await.reason, "rate");
    // The same message, of which more was found out.
    let again = Analyze { lists: Lists::Clear, ..mail("3@x") };
    assert_eq!(asked(&world, &again).await.decision, Decision::Accept);
    let elsewhere = Analyze { remote_ip: "192.0.3.9".parse().unwrap(), ..mail("5@x") };
    assert_eq!(asked(&world, &elsewhere).await.decision, Decision::Accept);
    let large = Analyze { size: ByteCount(901), ..elsewhere };
    assert_eq!(asked(&world, &large).await.decision, Decision::TooOften);
    let to_list = Analyze { recipients: vec![recipient("team@example.org")], ..mail("6@x") };
    let judged = asked(&world, &to_list).await;
    assert_eq!(judged.decision, Decision::Accept);
    let mut request = deliver(&["team@example.org"], Body::Inline(b"y".to_vec()));
    request.facts = to_list.facts;
    request.recipients[0].destined = judged.destined;
    let stored = world.client(Role::Smtp).ask(request).await.unwrap();
    assert!(matches!(stored[..], [Delivered::Stored(_)]), "{stored:?}");
    assert_eq!(world.list(&imap, session, "Inbox").await.len(), 3);
    let mailboxes = world.store.stored_messages(JANE).unwrap();
    assert_eq!(mailboxes, 3, "nothing among the rejects");
    world.end().await;
}

/// Row SR-27: an address may refuse all, or all whose From is not proven.
#[tokio::test(flavor = "multi_thread")]
async fn addresses_may_refuse_by_themselves() {
    let rules = "[accounts.jane.destinations.\"jane@example.org\"]\n\
                 message-auth-required-smtp-error = \"prove it\"\nmailbox = \"Post\"\n\
                 [accounts.hole]\naddresses = [\"@example.org\", \"later@example.org\"]\n\
                 [accounts.hole.destinations.\"@example.org\"]\nsmtp-error = \"550 no catch here\"\n\
                 [accounts.hole.destinations.\"later@example.org\"]\nsmtp-error = \"421\"\n";
    let world = World::with(with(rules)).await;
    let smtp = world.client(Role::Smtp);
    for (to, want) in [
        ("jane@example.org", RecipientStatus::LocalUnfiltered),
        ("bob@example.org", RecipientStatus::LocalUnfiltered),
        ("any@example.org", RecipientStatus::Refused(550, "no catch here".into())),
        ("Later+x@example.org", RecipientStatus::Refused(421, "not available now, try again later".into())),
    ] {
        assert_eq!(smtp.ask(CheckRecipient { recipient: recipient(to) }).await.unwrap(), want, "{to}");
    }
    let base = || analyze(from("a@sub.far.example", "1@x"), None);
    let mail_from = ReversePath::Address(address("bounce@far.example"));
    let verdict = |spf: &str, dkim: &[&str], dmarc: &str| Verdict {
        spf: spf.into(),
        dkim: dkim.iter().map(|domain| (*domain).to_owned()).collect(),
        dmarc: dmarc.into(),
        iprev: "pass".into(),
    };
    for (verdict, decision, reason) in [
        (verdict("pass", &[], "none"), Decision::Accept, "no-bad-signals"),
        (verdict("none", &["far.example"], "none"), Decision::Accept, "no-bad-signals"),
        (verdict("fail", &["other.example"], "none"), Decision::Reject, "message-auth"),
        (verdict("none", &[], "none"), Decision::Reject, "message-auth"),
        // The domain's own policy may be strict.
        (verdict("pass", &["far.example"], "fail"), Decision::Reject, "message-auth"),
        (verdict("none", &[], "pass"), Decision::Accept, "no-bad-signals"),
        (verdict("temperror", &[], "none"), Decision::Reject, "message-auth-temporary"),
        (verdict("none", &[], "temperror"), Decision::Reject, "message-auth-temporary"),
        // Nothing was checked.
        (Verdict::default(), Decision::Accept, "no-bad-signals"),
    ] {
        let got =
            asked(&world, &Analyze { verdict: verdict.clone(), mail_from: mail_from.clone(), ..base() })
                .await;
        assert_eq!((got.decision, got.reason.as_str()), (decision, reason), "{verdict:?}: {got:?}");
        assert_eq!(got.text == "prove it", decision == Decision::Reject);
        assert_eq!(got.destined.unwrap().mailbox, name("Post"));
    }
    world.end().await;
}

/// Row SR-29: what does not wait.
#[tokio::test(flavor = "multi_thread")]
async fn forwards_lists_and_reports_need_not_wait() {
    let rules = "[accounts.jane.destinations.\"jane@example.org\"]\n\
        [[accounts.jane.destinations.\"jane@example.org\".rules]]\nfrom = \"^fw@\"\nmailbox = \"Inbox\"\nis-forward = true\n\
        [[accounts.jane.destinations.\"jane@example.org\".rules]]\nfrom = \"^list@\"\nmailbox = \"Inbox\"\nlist-allow-domain = \"lists.example\"\n";
    let world = World::with(with(rules)).await;
    let verdict = Verdict { dkim: vec!["lists.example".into()], ..Verdict::default() };
    let report = Facts { report: true, ..from("a@far.example", "1@x") };
    for (what, request, first) in [
        ("usual", analyze(from("a@far.example", "1@x"), None), true),
        ("forward", analyze(from("fw@far.example", "1@x"), None), false),
        ("list", Analyze { verdict, ..analyze(from("list@far.example", "1@x"), None) }, false),
        ("not that list", analyze(from("list@far.example", "1@x"), None), false),
        ("report", analyze(report, None), false),
    ] {
        let got = asked(&world, &request).await;
        assert_eq!((got.decision, got.first), (Decision::Accept, first), "{what}: {got:?}");
    }
    world.end().await;
    let world = World::with(with("no-first-time-sender-delay = true\n")).await;
    assert!(!asked(&world, &analyze(from("a@far.example", "1@x"), None)).await.first);
    world.end().await;
}

/// Rows ST-26, ST-27, ST-28, TR-11, TR-12, TR-13: whatever the reason, and whatever the mailbox is called now.
#[tokio::test(flavor = "multi_thread")]
async fn a_reject_moved_out_counts_where_it_was_destined() {
    let rules = "rejects-mailbox = \"Rejects\"\n[accounts.jane.destinations.\"jane@example.org\"]\n\
                 [[accounts.jane.destinations.\"jane@example.org\".rules]]\nfrom = \"@lists[.]example$\"\nmailbox = \"Lists\"\n";
    let world = World::with(with(rules)).await;
    let imap = world.imap();
    let session = world.login(&imap, "jane@example.org").await;
    for (at, reason) in ["DMARC", "junk", "reputation", "DNSBL"].into_iter().enumerate() {
        let sender = format!("u{at}@lists.example");
        let mut one = analyze(from(&sender, &format!("{at}@x")), Some(reason));
        one.content[0] = u8::try_from(at).unwrap() + 1;
        assert_eq!(comes(&world, &one).await, (Decision::Reject, KEPT), "{reason}");
    }
    // Its name changes, another one begins: the messages know by themselves what they are.
    imap.ask(MailboxRename { session, from: name("Rejects"), to: name("Old") }).await.unwrap();
    let more = analyze(from("new@lists.example", "new@x"), Some("DMARC"));
    assert_eq!(comes(&world, &more).await.1, KEPT);
    let (old, lists) = (id(&imap, session, "Old").await, id(&imap, session, "Lists").await);
    let uids = |list: &[u32]| list.iter().map(|uid| Uid(*uid)).collect::<UidSet>();
    // MOVE; COPY and EXPUNGE; to a mailbox other than the one it was destined to.
    let copy = |mailbox, list: &[u32], to: &str, take| Copy {
        session,
        mailbox,
        uids: uids(list),
        to: name(to),
        take,
    };
    imap.ask(copy(old, &[1], "Inbox", true)).await.unwrap();
    imap.ask(copy(old, &[2], "Inbox", false)).await.unwrap();
    flag(&imap, session, old, Uid(2), Flag::Deleted).await;
    imap.ask(Expunge { session, mailbox: old, uids: None }).await.unwrap();
    imap.ask(copy(old, &[3, 4], "Archive", true)).await.unwrap();
    let rejects = id(&imap, session, "Rejects").await;
    imap.ask(copy(rejects, &[1], "Archive", true)).await.unwrap();
    for (mailbox, count) in [("Inbox", 2), ("Archive", 3)] {
        let moved = world.list(&imap, session, mailbox).await;
        assert_eq!(moved.len(), count);
        assert!(moved.iter().all(|r| !r.flags.has(Flag::Seen) && !r.marks.has(Mark::Reject)), "{moved:?}");
        let mailbox = id(&imap, session, mailbox).await;
        for record in moved {
            flag(&imap, session, mailbox, record.uid, Flag::NotJunk).await;
        }
    }
    for sender in ["u0", "u1", "u2", "u3", "new"] {
        let [signal, ..] = of_from(&address(&format!("{sender}@lists.example")), false);
        let heard = opinions(&world.store.engine, JANE, signal, lists, Timestamp(0), 2).unwrap();
        assert_eq!(heard.iter().map(|opinion| opinion.junk).collect::<Vec<_>>(), [false], "{sender}");
    }
    world.is_sound().await;
    world.end().await;
}

/// Row JK-08 to JK-13: what is listed, in what order, and what follows from it; another account knows nothing.
#[tokio::test(flavor = "multi_thread")]
async fn opinions_follow_flags_and_moves() {
    let world = World::with(with("rejects-mailbox = \"Rejects\"\n")).await;
    let imap = world.imap();
    let session = world.login(&imap, "jane@example.org").await;
    let inbox = id(&imap, session, "Inbox").await;
    let proven = Verdict {
        spf: "pass".into(),
        dkim: vec!["far.example".into(), "far.example".into()],
        dmarc: "pass".into(),
        ..Verdict::default()
    };
    let letter = |number: i64| Analyze {
        verdict: proven.clone(),
        received: Timestamp(1_799_000_000 + number),
        ..analyze(from("x@sub.far.example", &format!("{number}@x")), None)
    };
    for number in 0..4 {
        assert!(matches!(comes(&world, &letter(number)).await, (Decision::Accept, Delivered::Stored(_))));
    }
    let [by_address, by_domain, by_organisation] = of_from(&address("X@sub.far.example"), true);
    let network = Signal {
        class: Class::Network1,
        hash: networks("192.0.2.9".parse().unwrap())[0],
        local: Default::default(),
    };
    let heard = |signal| -> Vec<bool> {
        let all = opinions(&world.store.engine, JANE, signal, inbox, Timestamp(0), 3).unwrap();
        assert!(all.is_sorted_by(|a, b| a.received >= b.received), "newest first");
        all.iter().map(|opinion| opinion.junk).collect()
    };
    assert!(heard(by_address).is_empty());
    for (uid, mark) in [(1, Flag::NotJunk), (2, Flag::NotJunk), (3, Flag::Junk), (4, Flag::Junk)] {
        flag(&imap, session, inbox, Uid(uid), mark).await;
    }
    for signal in [by_address, by_domain, by_organisation, network] {
        assert_eq!(heard(signal), [true, true, false], "{signal:?}");
    }
    // The last two were junk: the next is refused, and kept where it can be looked at.
    let next = asked(&world, &letter(5)).await;
    assert_eq!((next.decision, next.reason.as_str()), (Decision::Reject, "from-address"));
    // An unproven From where the proven one is bad is bad, too (row JK-09); another account knows nothing.
    let unproven = asked(&world, &Analyze { verdict: Verdict::default(), ..letter(5) }).await;
    assert_eq!((unproven.decision, unproven.reason.as_str()), (Decision::Reject, "from-address"));
    let to_bob = Analyze { recipients: vec![recipient("bob@example.org")], ..letter(5) };
    assert_eq!(asked(&world, &to_bob).await.decision, Decision::Accept);
    // Both marks cancel out; a removed message is forgotten; a move keeps the mailbox it was delivered to.
    flag(&imap, session, inbox, Uid(4), Flag::NotJunk).await;
    assert_eq!(heard(by_address), [true, false, false]);
    assert_eq!(asked(&world, &letter(5)).await.decision, Decision::Accept);
    let uids: UidSet = [Uid(3)].into_iter().collect();
    imap.ask(Copy { session, mailbox: inbox, uids, to: name("Archive"), take: true }).await.unwrap();
    assert_eq!(heard(by_address), [true, false, false]);
    flag(&imap, session, inbox, Uid(2), Flag::Deleted).await;
    imap.ask(Expunge { session, mailbox: inbox, uids: None }).await.unwrap();
    assert_eq!(heard(by_address), [true, false]);
    world.end().await;
}

/// Row ST-30.
#[tokio::test(flavor = "multi_thread")]
async fn first_messages_wait_in_a_mailbox_of_their_own() {
    let world = World::with(with("introbox = \"Introductions\"\n")).await;
    let imap = world.imap();
    let session = world.login(&imap, "jane@example.org").await;
    let letter = |who: &str, id: &str| analyze(from(who, id), None);
    for (who, message) in [("a@far.example", "1@x"), ("b@far.example", "2@x"), ("a@far.example", "3@x")] {
        comes(&world, &letter(who, message)).await;
    }
    let report = Facts { report: true, ..from("mailer@far.example", "4@x") };
    comes(&world, &analyze(report, None)).await;
    let waiting = world.list(&imap, session, "Introductions").await;
    assert!(waiting.len() == 2 && waiting.iter().all(|record| record.marks.has(Mark::Intro)));
    assert_eq!(world.list(&imap, session, "Inbox").await.len(), 2, "known by now, and a report");
    let intro = id(&imap, session, "Introductions").await;
    for (uid, to) in [(1, "Inbox"), (2, "Junk")] {
        let uids = [Uid(uid)].into_iter().collect();
        imap.ask(Copy { session, mailbox: intro, uids, to: name(to), take: true }).await.unwrap();
    }
    let (good, bad) = (world.list(&imap, session, "Inbox").await, world.list(&imap, session, "Junk").await);
    let (good, bad) = (good.last().unwrap(), bad.last().unwrap());
    assert!(good.flags.has(Flag::NotJunk) && !good.marks.has(Mark::Intro));
    assert!(bad.flags.has(Flag::Junk) && !bad.marks.has(Mark::Intro));
    let inbox = id(&imap, session, "Inbox").await;
    for (who, junk) in [("a@far.example", false), ("b@far.example", true)] {
        let [signal, ..] = of_from(&address(who), false);
        let heard = opinions(&world.store.engine, JANE, signal, inbox, Timestamp(0), 2).unwrap();
        assert_eq!(heard.iter().map(|opinion| opinion.junk).collect::<Vec<_>>(), [junk], "{who}");
    }
    world.end().await;
}

/// Row ST-45, JK-12.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_rule_that_matches_decides() {
    let rule = |text: &str| format!("[[accounts.jane.destinations.\"jane@example.org\".rules]]\n{text}\n");
    let rules = [
        "rejects-mailbox = \"Rejects\"\n[accounts.jane.destinations.\"jane@example.org\"]\nmailbox = \"Post\"\n".to_owned(),
        rule("mail-from = \"^bounce@\"\nmailbox = \"Bounces\""),
        rule("headers = { \"^list-id$\" = \"<rust[.]example>\" }\nlist-allow-domain = \"lists.example\"\nmailbox = \"Rust\""),
        rule("verified-domain = \"shop.example\"\nfrom = \"^orders@\"\nmailbox = \"Orders\"\naccept-rejects-to-mailbox = \"Junk\""),
        rule("from = \"@old[.]example$\"\nis-forward = true\nmailbox = \"Inbox\""),
    ]
    .concat();
    let world = World::with(with(&rules)).await;
    let base = || analyze(from("someone@far.example", "1@x"), None);
    let dkim = |domain: &str| Verdict { dkim: vec![domain.into()], ..Verdict::default() };
    let list = vec![("list-id".to_owned(), "rust <rust.example>".to_owned())];
    let bounce = ReversePath::Address(address("Bounce@far.example"));
    let orders = || from("Orders@mail.shop.example", "2@x");
    let refused = || Some("DMARC".to_owned());
    for (what, request, decision, mailbox, forward) in [
        ("nothing matches", base(), Decision::Accept, "Post", false),
        (
            "MAIL FROM",
            Analyze { mail_from: bounce.clone(), headers: list.clone(), ..base() },
            Decision::Accept,
            "Bounces",
            false,
        ),
        ("header field", Analyze { headers: list.clone(), ..base() }, Decision::Accept, "Rust", false),
        (
            "list, refused, not verified",
            Analyze { headers: list.clone(), refused: refused(), ..base() },
            Decision::Reject,
            "Rust",
            false,
        ),
        (
            "list, refused, verified",
            Analyze { headers: list.clone(), refused: refused(), verdict: dkim("a.lists.example"), ..base() },
            Decision::Accept,
            "Rust",
            false,
        ),
        ("not verified", Analyze { facts: orders(), ..base() }, Decision::Accept, "Post", false),
        (
            "verified below",
            Analyze { facts: orders(), verdict: dkim("mail.shop.example"), ..base() },
            Decision::Accept,
            "Orders",
            false,
        ),
        (
            "takes rejects",
            Analyze { facts: orders(), verdict: dkim("shop.example"), refused: refused(), ..base() },
            Decision::Accept,
            "Junk",
            false,
        ),
        (
            "forward",
            Analyze { facts: from("me@old.example", "3@x"), ..base() },
            Decision::Accept,
            "Inbox",
            true,
        ),
    ] {
        let analysis = asked(&world, &request).await;
        assert_eq!(analysis.decision, decision, "{what}: {}", analysis.reason);
        let destined = analysis.destined.unwrap();
        assert_eq!((destined.mailbox.as_str(), destined.forward), (mailbox, forward), "{what}");
    }
    for (to, decision) in [
        ("nobody@example.org", Decision::UnknownUser),
        ("x@far.example", Decision::UnknownUser),
        ("bob@example.org", Decision::Accept),
    ] {
        let request = Analyze { recipients: vec![recipient(to)], ..base() };
        assert_eq!(asked(&world, &request).await.decision, decision, "{to}");
    }
    // The forwarding server is neither praised nor blamed: only From is listed.
    let forward = Analyze { facts: from("me@old.example", "3@x"), verdict: dkim("old.example"), ..base() };
    comes(&world, &forward).await;
    let imap = world.imap();
    let session = world.login(&imap, "jane@example.org").await;
    let inbox = id(&imap, session, "Inbox").await;
    flag(&imap, session, inbox, Uid(1), Flag::Junk).await;
    assert_eq!(world.store.engine.keys_below(&keys::of_kind(JANE, b'g')).unwrap().len(), 3);
    world.end().await;
}

/// A reject without a mailbox for rejects, or over quota, leaves nothing behind.
#[tokio::test(flavor = "multi_thread")]
async fn rejects_are_nobodys_burden() {
    let world = World::with(with("quota = \"1MiB\"\n")).await;
    let one = analyze(from("x@far.example", "1@x"), Some("DMARC"));
    assert_eq!(comes(&world, &one).await, (Decision::Reject, LOST));
    // A service that asks for it all the same.
    let mut request = deliver(&["jane@example.org"], Body::Inline(b"x".to_vec()));
    let reject = Some(Reject { reason: "x".into(), keep: true, content: content(9) });
    request.recipients[0].destined = Some(Destined {
        mailbox: name("Inbox"),
        forward: false,
        intro: false,
        reject,
        members: vec![],
        seen: false,
    });
    assert_eq!(world.client(Role::Smtp).ask(request).await.unwrap(), [LOST]);
    let full = Analyze { size: ByteCount(2 << 20), ..analyze(from("x@far.example", "1@x"), None) };
    assert_eq!(asked(&world, &full).await.decision, Decision::OverQuota);
    arrives(&world, 1_800_000_000, Mail("a@x", &[], "plan", false).facts()).await;
    world.end().await;
}
