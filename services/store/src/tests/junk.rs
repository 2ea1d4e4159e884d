//! The junk filter: what is learnt when, and what a message's words lead to. Each test ends with a recomputation.

use super::rejects::{JANE, analyze, asked, comes, flag, from, id, with};
use super::*;
use crate::junk::{Filter, Table};
use crate::keys;
use crate::records::Read;
use libmox_store::{
    Analyze, Append, AppendMessage, Copy, Decision, Expunge, FlagsChange, FlagsHow, Lists, Repair, RepairKind,
};
use libmox_types::{Flag, Flags, Uid};

const FILTER: &str =
    "[accounts.jane.junk-filter]\nenabled = true\n[accounts.jane.automatic-junk-flags]\nenabled = true\n";

fn table(world: &World) -> Table {
    world.store.read_words(JANE).unwrap()
}

fn totals(world: &World) -> (u32, u32) {
    let Filter { junk, ham, .. } =
        world.store.engine.record(&keys::junk_filter(JANE)).unwrap().unwrap_or_default();
    (junk, ham)
}

/// A message with these words goes to Inbox.
async fn letter(world: &World, words: &str) {
    let mut request = deliver(&["jane@example.org"], Body::Inline(b"x".to_vec()));
    request.facts = Facts { words: words.into(), message_id: String::new(), ..facts() };
    request.recipients[0].destined = Some(libmox_store::Destined {
        mailbox: name("Inbox"),
        forward: false,
        intro: false,
        reject: None,
        members: vec![],
        seen: false,
    });
    world.client(Role::Smtp).ask(request).await.unwrap();
}

async fn set(
    client: &Client,
    session: SessionId,
    mailbox: libmox_types::MailboxId,
    uid: u32,
    flags: &[Flag],
) {
    let flags = flags.iter().fold(Flags::NONE, |all, flag| all.with(*flag));
    let (uids, how) = ([Uid(uid)].into_iter().collect(), FlagsHow::Replace);
    let change = FlagsChange { session, mailbox, uids, how, flags, keywords: vec![], unchanged_since: None };
    client.ask(change).await.unwrap();
}

/// Rows JK-01, JK-03, TR-02, TR-37, MP-07.
#[tokio::test(flavor = "multi_thread")]
async fn messages_are_learnt_with_their_flags_and_unlearnt_when_they_go() {
    let world = World::with(with(FILTER)).await;
    let imap = world.imap();
    let session = world.login(&imap, "jane@example.org").await;
    let inbox = id(&imap, session, "Inbox").await;
    for number in 0..4 {
        letter(&world, &format!("cheap pills number{number}")).await;
    }
    assert_eq!(totals(&world), (0, 0), "nobody said anything");
    for (flags, want) in [
        (vec![Flag::Junk], (1, 0)),
        (vec![Flag::Junk, Flag::Seen], (1, 0)),
        (vec![Flag::Junk, Flag::NotJunk], (0, 0)),
        (vec![Flag::NotJunk], (0, 1)),
        (vec![Flag::Junk], (1, 0)),
        (vec![], (0, 0)),
        (vec![Flag::Junk], (1, 0)),
    ] {
        set(&imap, session, inbox, 1, &flags).await;
        assert_eq!(totals(&world), want, "{flags:?}");
        world.is_sound().await;
    }
    // Words count from the second message on.
    for uid in 2..=4 {
        set(&imap, session, inbox, uid, &[Flag::Junk]).await;
    }
    assert_eq!(totals(&world), (4, 0));
    let words = table(&world);
    assert_eq!(words.words.len(), 2 + 1, "{words:?}");
    world.is_sound().await;
    // Junk, Inbox, Archive, Junk: what counts is where it is.
    let take = |mailbox, to: &str, take| Copy {
        session,
        mailbox,
        uids: [Uid(1)].into_iter().collect(),
        to: name(to),
        take,
    };
    imap.ask(take(inbox, "Junk", true)).await.unwrap();
    let junk = id(&imap, session, "Junk").await;
    assert_eq!(totals(&world), (4, 0));
    imap.ask(take(junk, "Archive", true)).await.unwrap();
    assert_eq!(totals(&world), (3, 1));
    let archive = id(&imap, session, "Archive").await;
    imap.ask(take(archive, "Junk", false)).await.unwrap();
    assert_eq!(totals(&world), (4, 1), "a copy is a message of its own");
    imap.ask(take(archive, "Inbox", true)).await.unwrap();
    assert_eq!(totals(&world), (4, 0), "Inbox is neither");
    world.is_sound().await;
    // Row TR-02: what is removed is unlearnt, and stays removed.
    for uid in 2..=4 {
        flag(&imap, session, inbox, Uid(uid), Flag::Deleted).await;
    }
    imap.ask(Expunge { session, mailbox: inbox, uids: None }).await.unwrap();
    assert_eq!(world.list(&imap, session, "Inbox").await.len(), 1);
    assert_eq!(totals(&world), (1, 0));
    world.is_sound().await;
    // What takes its place is learnt as it says itself.
    for (uid, flag, want) in [(2, Flag::NotJunk, (0, 1)), (3, Flag::Junk, (1, 0))] {
        let message = AppendMessage {
            flags: Flags::NONE.with(flag),
            keywords: vec![],
            received: Timestamp(1),
            body: Body::Inline(b"cheap pills again".to_vec()),
            facts: facts(),
            prefix: vec![],
        };
        let replace =
            libmox_store::Replace { session, mailbox: junk, uid: Uid(uid), to: name("Junk"), message };
        assert_eq!(imap.ask(replace).await.unwrap().to, [Uid(uid + 1)]);
        assert_eq!((totals(&world), world.list(&imap, session, "Junk").await.len()), (want, 1));
        world.store.sweep(true).await;
        world.is_sound().await;
    }
    imap.ask(libmox_store::MailboxDelete { session, name: name("Junk") }).await.unwrap();
    assert_eq!(totals(&world), (0, 0));
    assert!(table(&world).words.is_empty());
    world.end().await;
}

/// Rows JK-02, DF-05.
#[tokio::test(flavor = "multi_thread")]
async fn mailboxes_give_flags_where_messages_come() {
    let rules = format!(
        "rejects-mailbox = \"Rejects\"\n{FILTER}[accounts.jane.destinations.\"jane@example.org\"]\n\
         [[accounts.jane.destinations.\"jane@example.org\".rules]]\nfrom = \"@lists[.]example$\"\nmailbox = \"Lists/a\"\n"
    );
    let world = World::with(with(&rules)).await;
    let imap = world.imap();
    let session = world.login(&imap, "jane@example.org").await;
    let word = |flags: Flags| (flags.has(Flag::Junk), flags.has(Flag::NotJunk));
    comes(&world, &analyze(from("x@lists.example", "1@x"), None)).await;
    comes(&world, &analyze(from("x@far.example", "2@x"), None)).await;
    comes(&world, &analyze(from("x@far.example", "3@x"), Some("DMARC"))).await;
    for (mailbox, want) in
        [("Lists/a", (false, true)), ("Inbox", (false, false)), ("Rejects", (false, false))]
    {
        assert_eq!(word(world.list(&imap, session, mailbox).await[0].flags), want, "{mailbox}");
    }
    // Appended: what the client says, else the mailbox.
    let given = |flags: Flags| AppendMessage {
        flags,
        keywords: vec![],
        received: Timestamp(1),
        body: Body::Inline(b"x".to_vec()),
        facts: facts(),
        prefix: vec![],
    };
    let messages =
        vec![given(Flags::NONE), given(Flags::NONE.with(Flag::Junk)), given(Flags::NONE.with(Flag::Seen))];
    imap.ask(Append { session, mailbox: name("Archive"), messages }).await.unwrap();
    let flags: Vec<_> =
        world.list(&imap, session, "Archive").await.iter().map(|record| word(record.flags)).collect();
    assert_eq!(flags, [(false, true), (true, false), (false, true)]);
    world.end().await;
}

/// Rows JK-04, TR-37: learning everything anew gives what was there, also after a stop in the middle.
#[tokio::test(flavor = "multi_thread")]
async fn retrain_gives_the_same_words() {
    let world = World::with(with(FILTER)).await;
    let imap = world.imap();
    let session = world.login(&imap, "jane@example.org").await;
    let inbox = id(&imap, session, "Inbox").await;
    for number in 0..450u32 {
        letter(&world, &format!("word{} word{} common", number % 7, number % 13)).await;
    }
    for uid in 1..=440 {
        let mark = if uid % 3 == 0 { Flag::Junk } else { Flag::NotJunk };
        flag(&imap, session, inbox, Uid(uid), mark).await;
    }
    let before = table(&world);
    assert_eq!(totals(&world), (146, 294));
    let repair = Repair { account: Some("jane".into()), what: RepairKind::Retrain, dry: false };
    let said = world.admin().ask(repair.clone()).await.unwrap();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].starts_with("jane: 146 messages learnt as junk, 294 as no junk"), "{said:?}");
    let after = table(&world);
    assert_eq!(after.words, before.words);
    world.is_sound().await;
    // Begun, a few steps, other changes, and a new store that goes on.
    let begin = world.store.retrain_begin("jane").await.unwrap();
    assert!(world.store.upgrade_step(begin).await.unwrap());
    flag(&imap, session, inbox, Uid(1), Flag::Junk).await;
    flag(&imap, session, inbox, Uid(2), Flag::Deleted).await;
    imap.ask(Expunge { session, mailbox: inbox, uids: None }).await.unwrap();
    letter(&world, "late words").await;
    world.is_sound().await;
    let world = world.reopened().await;
    while world.store.upgrade_step(begin).await.unwrap() {}
    world.is_sound().await;
    assert_eq!(totals(&world), (146, 294 - 2));
    world.end().await;
}

/// Has learnt that "cheap pills" are junk and "meeting minutes" are not.
async fn learnt(config: &str) -> World {
    let world = World::with(with(config)).await;
    let imap = world.imap();
    let session = world.login(&imap, "jane@example.org").await;
    let inbox = id(&imap, session, "Inbox").await;
    for number in 1..=120 {
        letter(&world, if number % 2 == 0 { "cheap pills offer" } else { "meeting minutes agenda" }).await;
        let mark = if number % 2 == 0 { Flag::Junk } else { Flag::NotJunk };
        flag(&imap, session, inbox, Uid(number), mark).await;
    }
    world
}

fn written(words: &str) -> Analyze {
    let facts = Facts {
        words: words.into(),
        recipients: vec![address("jane@example.org")],
        ..from("new@stranger.example", "n@x")
    };
    Analyze { received: Timestamp(1_800_000_000), ..analyze(facts, None) }
}

/// Rows JK-06, JK-07, JK-10, JK-11, MA-22, SR-25: each step behind the reputation.
#[tokio::test(flavor = "multi_thread")]
async fn content_and_the_steps_around_it_decide_on_strangers() {
    let config = format!("subject-pass = \"12h\"\nrejects-mailbox = \"Rejects\"\n{FILTER}");
    let world = learnt(&config).await;
    let (good, bad, even) = ("meeting minutes", "cheap pills", "meeting cheap");
    let verdict = |spf: &str, dmarc: &str, iprev: &str| Verdict {
        spf: spf.into(),
        dmarc: dmarc.into(),
        iprev: iprev.into(),
        ..Verdict::default()
    };
    let pass = || verdict("pass", "pass", "pass");
    use Decision::{Accept, Reject};
    for (what, request, decision, reason) in [
        ("good words", written(good), Accept, "no-bad-signals"),
        ("bad words", written(bad), Reject, "junk-content"),
        ("unknown words", written("something else"), Accept, "no-bad-signals"),
        ("words that say both", written(even), Accept, "no-bad-signals"),
        // Row JK-07: the same, but more is asked of it.
        ("both, no TLS", Analyze { tls: false, ..written(even) }, Reject, "junk-content"),
        (
            "both, not named in To",
            Analyze { facts: Facts { recipients: vec![], ..written(even).facts }, ..written(even) },
            Reject,
            "junk-content",
        ),
        (
            "both, reverse DNS wrong",
            Analyze { verdict: verdict("pass", "pass", "fail"), ..written(even) },
            Reject,
            "junk-content",
        ),
        ("good, no TLS", Analyze { tls: false, ..written(good) }, Accept, "no-bad-signals"),
        // Row JK-10.
        ("SPF fail", Analyze { verdict: verdict("fail", "none", "pass"), ..written(good) }, Reject, "spf"),
        (
            "SPF softfail",
            Analyze { verdict: verdict("softfail", "none", "pass"), ..written(good) },
            Reject,
            "spf",
        ),
        (
            "DNS list",
            Analyze { lists: Lists::Listed("zen.example: spammer".into()), ..written(good) },
            Reject,
            "dns-list",
        ),
        ("not listed", Analyze { lists: Lists::Clear, ..written(good) }, Accept, "no-bad-signals"),
        (
            "bad Content-Type",
            Analyze { facts: Facts { bad_content_type: true, ..written(good).facts }, ..written(good) },
            Reject,
            "junk-content",
        ),
    ] {
        let got = asked(&world, &request).await;
        assert_eq!((got.decision, got.reason.as_str()), (decision, reason), "{what}: {got:?}");
        assert_eq!(got.ask_lists, decision == Accept && request.lists == Lists::NotAsked, "{what}");
        assert!(!got.text.is_empty(), "{what}");
    }
    // The chain names words and weights.
    let chain = asked(&world, &written(bad)).await.chain;
    let words = &chain.iter().find(|(topic, _)| topic == "words for junk").unwrap().1;
    assert!(words.contains("cheap 0.99") && words.contains("pills 0.99"), "{words}");
    // Row JK-11: a little like junk, from a proven new sender.
    let weak = Analyze { verdict: pass(), tls: false, ..written(even) };
    let refused = asked(&world, &weak).await;
    let token = refused.pass.clone().expect("a token");
    let again = asked(&world, &Analyze { pass: Some(token.clone()), ..weak.clone() }).await;
    assert_eq!((again.decision, again.reason.as_str()), (Accept, "subject-pass"));
    let forged = Analyze {
        pass: Some(token),
        facts: Facts { from: Some(address("other@stranger.example")), ..weak.facts.clone() },
        ..weak.clone()
    };
    assert_eq!(asked(&world, &forged).await.decision, Reject);
    assert_eq!(asked(&world, &Analyze { verdict: pass(), ..written(bad) }).await.pass, None, "clearly junk");
    world.end().await;
}

/// Row JK-06: a letter with a few words of junk among many that are none is not refused for these; who comes in a strange
/// way is asked for more (row JK-07), but not who is known to hand on what others sent.
#[tokio::test(flavor = "multi_thread")]
async fn ten_words_alone_convict_nobody() {
    let rules = format!(
        "{FILTER}[accounts.jane.destinations.\"jane@example.org\"]\n[[accounts.jane.destinations.\"jane@example.org\".rules]]\n\
         mail-from = \"^list@handed[.]example$\"\nis-forward = true\nmailbox = \"Inbox\"\n"
    );
    let world = World::with(with(&rules)).await;
    let imap = world.imap();
    let session = world.login(&imap, "jane@example.org").await;
    let inbox = id(&imap, session, "Inbox").await;
    let offer = (0..10).map(|word| format!("offer{word}")).collect::<Vec<_>>().join(" ");
    // Each of these stood in two of three good letters and in one of three bad ones.
    let plain = |number: Option<u32>, bad: bool| {
        let stands = |word: &u32| number.is_none_or(|number| (word + number).is_multiple_of(3) == bad);
        (0..60).filter(stands).map(|word| format!("plain{word}")).collect::<Vec<_>>().join(" ")
    };
    for number in 1..=120 {
        let (bad, half) = (number % 2 == 0, Some(number / 2));
        let words = if bad { format!("{offer} {}", plain(half, true)) } else { plain(half, false) };
        letter(&world, &words).await;
        flag(&imap, session, inbox, Uid(number), if bad { Flag::Junk } else { Flag::NotJunk }).await;
    }
    use Decision::{Accept, Reject};
    let both = || written(&format!("{offer} {}", plain(None, true)));
    let handed = || Analyze {
        mail_from: libmox_types::ReversePath::Address(address("list@handed.example")),
        tls: false,
        ..both()
    };
    for (what, request, decision) in [
        ("junk alone", written(&offer), Reject),
        ("among others", both(), Accept),
        ("among others, no TLS", Analyze { tls: false, ..both() }, Reject),
        ("among others, handed on", handed(), Accept),
        ("junk alone, handed on", Analyze { facts: written(&offer).facts, ..handed() }, Reject),
    ] {
        let got = asked(&world, &request).await;
        assert_eq!(got.decision, decision, "{what}: {got:?}");
        let (_, content) = got.chain.iter().find(|(topic, _)| topic == "content").unwrap();
        assert_eq!(content.contains("; by all words "), !what.ends_with("no TLS"), "{what}: {content}");
    }
    world.end().await;
}

/// Row JK-07: whoever is known needs no good words; row JK-06: without 50 messages learnt as no junk nothing is said.
#[tokio::test(flavor = "multi_thread")]
async fn known_senders_and_new_accounts_are_not_judged_by_words() {
    let world = learnt(FILTER).await;
    let imap = world.imap();
    let session = world.login(&imap, "jane@example.org").await;
    let inbox = id(&imap, session, "Inbox").await;
    let known = Facts { words: "meeting".into(), ..from("friend@far.example", "f@x") };
    comes(&world, &analyze(known, None)).await;
    flag(&imap, session, inbox, Uid(121), Flag::NotJunk).await;
    let request = Analyze {
        tls: false,
        facts: Facts { words: "cheap pills".into(), ..from("friend@far.example", "g@x") },
        ..analyze(Facts::default(), None)
    };
    let got = asked(&world, &request).await;
    assert_eq!((got.decision, got.reason.as_str()), (Decision::Accept, "from-address"));
    assert!(!got.first);
    // Too little learnt.
    for uid in 1..=60 {
        flag(&imap, session, inbox, Uid(uid), Flag::Junk).await;
    }
    let got = asked(&world, &written("cheap pills")).await;
    assert_eq!((got.decision, got.first), (Decision::Accept, true), "{got:?}");
    world.end().await;
}

/// Rows TR-11, JK-10, MA-09: whatever the reason, a reject knows where it was destined; moved out and marked as no
/// junk it is a good word for the next message of the same sender.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_reason_a_reject_moved_out_makes_the_next_one_welcome() {
    let rules = format!(
        "rejects-mailbox = \"Rejects\"\n{FILTER}[accounts.jane.destinations.\"jane@example.org\"]\nmailbox = \"Post\"\n"
    );
    let world = learnt(&rules).await;
    let imap = world.imap();
    let session = world.login(&imap, "jane@example.org").await;
    let verdict = |spf: &str, iprev: &str| Verdict {
        spf: spf.into(),
        iprev: iprev.into(),
        dmarc: "none".into(),
        ..Verdict::default()
    };
    // Two of this network were junk, narrowly.
    for number in 0..2 {
        let bad = Facts { words: "meeting".into(), ..from(&format!("b{number}@bad{number}.example"), "") };
        comes(&world, &Analyze { recipients: vec![recipient("jane@example.org")], ..analyze(bad, None) })
            .await;
    }
    let post = id(&imap, session, "Post").await;
    let first = world.list(&imap, session, "Post").await.len();
    for at in 0..2 {
        set(&imap, session, post, u32::try_from(first - at).unwrap(), &[Flag::Junk]).await;
    }
    let good = |who: &str, number: u8| {
        let mut request = written("meeting minutes");
        request.facts.from = Some(address(who));
        request.facts.message_id = format!("{who}-{number}");
        request.content[0] = number;
        request.content[1] = who.len().try_into().unwrap_or(0);
        request.remote_ip = "198.51.100.7".parse().unwrap();
        request
    };
    for (reason, who, change) in [
        (
            "iprev",
            "c@three.example",
            Analyze {
                verdict: verdict("none", "fail"),
                remote_ip: "192.0.2.9".parse().unwrap(),
                ..good("c@three.example", 3)
            },
        ),
        ("dmarc", "a@one.example", Analyze { refused: Some("DMARC".into()), ..good("a@one.example", 1) }),
        ("spf", "b@two.example", Analyze { verdict: verdict("fail", "pass"), ..good("b@two.example", 2) }),
        (
            "junk-content",
            "d@four.example",
            Analyze {
                facts: Facts { words: "cheap pills".into(), ..good("d@four.example", 4).facts },
                ..good("d@four.example", 4)
            },
        ),
        (
            "dns-list",
            "e@five.example",
            Analyze { lists: Lists::Listed("x".into()), ..good("e@five.example", 5) },
        ),
    ] {
        let got = asked(&world, &change).await;
        assert_eq!((got.decision, got.reason.as_str()), (Decision::Reject, reason), "{got:?}");
        assert!(matches!(comes(&world, &change).await.1, Delivered::Refused { kept: true }), "{reason}");
        let rejects = id(&imap, session, "Rejects").await;
        let uid = world.list(&imap, session, "Rejects").await.last().unwrap().uid;
        let uids = [uid].into_iter().collect();
        imap.ask(Copy { session, mailbox: rejects, uids, to: name("Inbox"), take: true }).await.unwrap();
        let moved = world.list(&imap, session, "Inbox").await.last().unwrap().clone();
        assert!(!moved.flags.has(Flag::Seen), "row TR-13");
        let inbox = id(&imap, session, "Inbox").await;
        flag(&imap, session, inbox, moved.uid, Flag::NotJunk).await;
        // The next one, with the same against it but for the policy of its domain, which is no opinion of ours.
        let next = Analyze { refused: None, content: [9; 32], ..change };
        let got = asked(&world, &next).await;
        assert_eq!((got.decision, got.reason.as_str()), (Decision::Accept, "from-address"), "{who} {reason}");
    }
    world.end().await;
}

/// Row MA-24: only a sealer of the account's own list rescues what DMARC refuses.
#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_seal_rescues_a_forwarded_message() {
    let config = "arc-trusted-sealers = [\"lists.example\"]\n";
    let world = World::with(with(config)).await;
    let domain = |text: &str| libmox_types::Domain::parse(text).unwrap();
    let refused = || Analyze { refused: Some("DMARC".into()), ..analyze(from("x@far.example", "1@x"), None) };
    for (sealed_by, decision) in [
        (None, Decision::Reject),
        (Some(domain("other.example")), Decision::Reject),
        (Some(domain("sub.lists.example")), Decision::Reject),
        (Some(domain("lists.example")), Decision::Accept),
    ] {
        let got = asked(&world, &Analyze { sealed_by: sealed_by.clone(), ..refused() }).await;
        assert_eq!(got.decision, decision, "{sealed_by:?}: {got:?}");
    }
    let to_bob = Analyze {
        sealed_by: Some(domain("lists.example")),
        recipients: vec![recipient("bob@example.org")],
        ..refused()
    };
    assert_eq!(asked(&world, &to_bob).await.decision, Decision::Reject, "another account's list");
    world.end().await;
}
