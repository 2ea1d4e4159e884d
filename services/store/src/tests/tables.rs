//! Annotations, records of logins, caches, what is known of recipients, what left the queue, quota and save dates.

use super::threads::{Mail, arrives};
use super::*;
use crate::keys;
use crate::records::Read;
use libmox_store::{
    Annotation, AnnotationChange, AnnotationList, AnnotationSet, Append, AppendMessage, AttemptResult,
    CacheGet, CacheKind, CacheList, CacheSet, Copy, Event, Expunge, Fault, FlagsChange, FlagsHow,
    LoginAttempts, LoginResult, MailboxDelete, MailboxRename, Needs, Outcome, QueueAdd, QueueList,
    QueueRecipient, QueueResult, Quota, Request, RetiredList, SentSince, SharedAnnotationList,
    SharedAnnotationSet, SuppressionAdd, SuppressionList, SuppressionRemove, TlsSupportOf, TlsSupportSet,
    Watch, WroteTo,
};
use libmox_types::{AccountId, Domain, Flag, Flags, MailboxId, QueueId, Uid};

const JANE: AccountId = AccountId(2);
const DAY: i64 = 24 * 3600;

async fn status(client: &Client, session: SessionId, mailbox: &str) -> libmox_store::Mailbox {
    client.ask(MailboxStatus { session, name: name(mailbox) }).await.unwrap()
}

async fn annotations(client: &Client, session: SessionId, mailbox: Option<&str>) -> Vec<Annotation> {
    let list = AnnotationList { session, mailbox: mailbox.map(name) };
    let mut items = client.stream(Request::AnnotationList(list)).await.unwrap();
    let mut all = Vec::new();
    while let Some(item) = items.next().await {
        match item.unwrap() {
            Item::Annotations(part) => all.extend(part),
            other => panic!("{other:?}"),
        }
    }
    all
}

fn set(session: SessionId, mailbox: Option<&str>, changes: &[(&str, Option<&[u8]>)]) -> AnnotationSet {
    let change = |(name, value): &(&str, Option<&[u8]>)| AnnotationChange {
        name: (*name).into(),
        text: true,
        value: value.map(|value| value.to_vec().into()),
    };
    AnnotationSet { session, mailbox: mailbox.map(name), changes: changes.iter().map(change).collect() }
}

/// Rows ST-10, ST-25, TR-25.
#[tokio::test(flavor = "multi_thread")]
async fn annotations_follow_their_mailbox_and_have_limits() {
    let world = World::new().await;
    let imap = world.imap();
    let session = world.login(&imap, "jane@example.org").await;
    let mut watch = imap.stream(Request::Watch(Watch { session, mailbox: None })).await.unwrap();
    assert!(matches!(watch.next().await, Some(Ok(Item::SnapshotEnd(None, _)))));
    let before = status(&imap, session, "Archive").await.mod_seq;
    let large = vec![b'x'; 20_000];
    let changes: [(&str, Option<&[u8]>); 3] =
        [("/Private/Comment", Some(b"mine")), ("/private/comment2", Some(&large)), ("/private/none", None)];
    imap.ask(set(session, Some("Archive"), &changes)).await.unwrap();
    let Some(Ok(Item::Events(events))) = watch.next().await else { panic!() };
    assert!(
        matches!(&events[0].events[..], [Event::Annotation { name, there: true, .. }, Event::Annotation { .. }] if name == "/private/comment"),
        "{events:?}"
    );
    let after = status(&imap, session, "Archive").await.mod_seq;
    assert!(after > before, "the mailbox has a new modseq");
    let list = annotations(&imap, session, Some("Archive")).await;
    assert_eq!(
        list.iter().map(|a| a.name.as_str()).collect::<Vec<_>>(),
        ["/private/comment", "/private/comment2"]
    );
    assert!(list[0].value == b"mine" && list[1].value == large && list[0].mod_seq == after);
    assert_eq!(annotations(&imap, session, None).await, []);
    // The account's own, and one that stays while it changes.
    imap.ask(set(session, None, &[("/private/admin", Some(b"a"))])).await.unwrap();
    imap.ask(set(session, None, &[("/private/admin", Some(b""))])).await.unwrap();
    let own = annotations(&imap, session, None).await;
    assert!(own.len() == 1 && own[0].value.is_empty() && own[0].create_seq < own[0].mod_seq);
    // All or none, and nothing that breaks a limit.
    for wrong in ["comment", "/a//b", "/a/", "/a*", "/\u{7}"] {
        let refused = imap.ask(set(session, None, &[("/ok/ok", Some(b"x")), (wrong, Some(b"x"))])).await;
        assert!(matches!(refused.unwrap_err().fault(), Some(Fault::Invalid(_))), "{wrong:?}");
    }
    let huge = vec![0; 990_000];
    let refused = imap.ask(set(session, None, &[("/ok/ok", Some(b"x")), ("/huge/one", Some(&huge))])).await;
    assert!(matches!(refused.unwrap_err().fault(), Some(Fault::Limit(_))));
    let many: Vec<String> = (0..998).map(|number| format!("/private/{number}")).collect();
    let all: Vec<(&str, Option<&[u8]>)> = many.iter().map(|name| (name.as_str(), Some(&b"x"[..]))).collect();
    let refused = imap.ask(set(session, None, &all)).await;
    assert!(matches!(refused.unwrap_err().fault(), Some(Fault::Limit(_))), "1000 of all mailboxes together");
    imap.ask(set(session, None, &all[..997])).await.unwrap();
    assert_eq!(annotations(&imap, session, None).await.len(), 998);
    // They follow a rename, stay where Inbox is, and go with the mailbox.
    imap.ask(MailboxRename { session, from: name("Archive"), to: name("Old") }).await.unwrap();
    assert_eq!(annotations(&imap, session, Some("Old")).await, list);
    let world = world.reopened().await;
    let imap = world.imap();
    let session = world.login(&imap, "jane@example.org").await;
    assert_eq!(annotations(&imap, session, Some("Old")).await, list);
    imap.ask(MailboxDelete { session, name: name("Old") }).await.unwrap();
    world.is_sound().await;
    imap.ask(set(session, None, &all[996..])).await.unwrap();
    assert_eq!(world.store.engine.keys_below(&keys::annotations(JANE, MailboxId(0))).unwrap().len(), 999);
    let quota = imap.ask(Quota { session }).await.unwrap();
    assert_eq!(quota.used.0, 0, "not counted as mail");
    drop(imap);
    world.end().await;
}

/// Row DF-03.
#[tokio::test(flavor = "multi_thread")]
async fn shared_annotations_are_set_by_the_administrator() {
    let world = World::new().await;
    let (imap, admin) = (world.imap(), world.admin());
    let session = world.login(&imap, "jane@example.org").await;
    for entry in ["/shared/comment", "/SHARED/a/b", "/shared"] {
        let refused = imap.ask(set(session, None, &[("/private/ok", Some(b"x")), (entry, Some(b"x"))])).await;
        assert_eq!(refused.unwrap_err().fault(), Some(&Fault::NotYours), "{entry}");
    }
    assert_eq!(annotations(&imap, session, None).await, []);
    let set_shared = async |account: &str, mailbox: Option<&str>, entry: &str, value: Option<&str>| {
        let value = value.map(|value| value.as_bytes().to_vec().into());
        let change = AnnotationChange { name: entry.into(), text: true, value };
        let mailbox = mailbox.map(name);
        admin.ask(SharedAnnotationSet { account: account.into(), mailbox, change }).await
    };
    let mut watch = imap.stream(Request::Watch(Watch { session, mailbox: None })).await.unwrap();
    assert!(matches!(watch.next().await, Some(Ok(Item::SnapshotEnd(None, _)))));
    set_shared("jane", Some("Archive"), "/Shared/Comment", Some("until May")).await.unwrap();
    let Some(Ok(Item::Events(events))) = watch.next().await else { panic!() };
    assert!(
        matches!(&events[0].events[..], [Event::Annotation { name, there: true, .. }, ..] if name == "/shared/comment"),
        "{events:?}"
    );
    imap.ask(set(session, Some("Archive"), &[("/private/comment", Some(b"mine"))])).await.unwrap();
    let of_archive = annotations(&imap, session, Some("Archive")).await;
    let names: Vec<_> = of_archive.iter().map(|annotation| annotation.name.as_str()).collect();
    assert_eq!(names, ["/private/comment", "/shared/comment"]);
    let list = SharedAnnotationList { account: "jane".into(), mailbox: Some(name("Archive")) };
    assert_eq!(admin.ask(list.clone()).await.unwrap(), of_archive[1..]);
    for (account, mailbox, entry, why) in [
        ("nobody", None, "/shared/x", Fault::NoAccount),
        ("jane", Some("none"), "/shared/x", Fault::NoMailbox),
    ] {
        assert_eq!(set_shared(account, mailbox, entry, Some("x")).await.unwrap_err().fault(), Some(&why));
    }
    for wrong in ["/private/comment", "/sharedx", "/shared/", "shared"] {
        let refused = set_shared("jane", None, wrong, Some("x")).await;
        assert!(matches!(refused.unwrap_err().fault(), Some(Fault::Invalid(_))), "{wrong}");
    }
    set_shared("jane", Some("Archive"), "/shared/comment", None).await.unwrap();
    set_shared("jane", Some("Archive"), "/shared/comment", None).await.unwrap();
    assert_eq!(admin.ask(list).await.unwrap(), []);
    drop((imap, admin, watch));
    world.end().await;
}

/// Rows AU-13, AU-14, TR-54.
#[tokio::test(flavor = "multi_thread")]
async fn logins_are_remembered_grouped_and_bounded() {
    let mut directory = sample();
    directory.settings.login_failures_per_minute = 1_000_000;
    let world = World::with(directory).await;
    let imap = world.imap();
    let list =
        |account: Option<&str>| LoginAttempts { account: account.map(Into::into), before: None, most: 1000 };
    for _ in 0..3 {
        world.login(&imap, "jane@example.org").await;
    }
    imap.ask(password_login("jane@example.org", "wrong")).await.unwrap();
    imap.ask(password_login("nobody@example.org", "wrong")).await.unwrap();
    let of_jane = world.admin().ask(list(Some("jane"))).await.unwrap();
    let shown: Vec<_> = of_jane.iter().map(|attempt| (attempt.result, attempt.count)).collect();
    assert_eq!(shown.len(), 2);
    assert!(
        shown.contains(&(LoginResult::SignedIn, 3)) && shown.contains(&(LoginResult::Denied, 1)),
        "{shown:?}"
    );
    let of_nobody = world.admin().ask(list(None)).await.unwrap();
    assert_eq!((of_nobody.len(), of_nobody[0].login.as_str()), (1, "nobody@example.org"));
    // Another day is another record; a month later the first ones are gone.
    world.clock.fetch_add(DAY, Ordering::Relaxed);
    world.login(&imap, "jane@example.org").await;
    let newest = world.admin().ask(list(Some("jane"))).await.unwrap();
    assert_eq!((newest.len(), newest[0].last, newest[0].count), (3, world.now(), 1));
    let page = LoginAttempts { before: Some(newest[0].last), ..list(Some("jane")) };
    assert_eq!(world.admin().ask(page).await.unwrap(), newest[1..]);
    world.clock.fetch_add(30 * DAY, Ordering::Relaxed);
    world.login(&imap, "jane@example.org").await;
    assert_eq!(world.admin().ask(list(Some("jane"))).await.unwrap().len(), 2);
    // Failures that all differ: the oldest go, what succeeded stays.
    let most = crate::limits::ATTEMPTS as usize;
    for number in 0..most + 500 {
        let context = LoginContext { user_agent: number.to_string(), ..context() };
        if number % 1000 == 999 {
            world.clock.fetch_add(1, Ordering::Relaxed);
        }
        world.store.note_login((&context).into(), Some(JANE), "x", LoginResult::Denied);
        if number % 500 == 499 {
            world.admin().ask(list(Some("jane"))).await.unwrap();
        }
    }
    world.admin().ask(list(Some("jane"))).await.unwrap();
    let kept = world.store.engine.keys_below(&keys::attempts(JANE)).unwrap().len();
    // The success of thirty days ago is older than that by now.
    assert!((most - most / 100..=most).contains(&(kept - 1)), "{kept}");
    world.is_sound().await;
    drop(imap);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cached_values_end_and_are_bounded() {
    let world = World::new().await;
    let queue = world.client(Role::Queue);
    let put = |name: &str, value: Option<&[u8]>, seconds: i64| CacheSet {
        kind: CacheKind::MtaSts,
        name: name.into(),
        value: value.map(|value| value.to_vec().into()),
        expires: world.now().plus(seconds),
    };
    let get = |name: &str| CacheGet { kind: CacheKind::MtaSts, name: name.into() };
    let policy = vec![b'p'; 60_000];
    queue.ask(put("a.example", Some(&policy), 100)).await.unwrap();
    queue.ask(put("a.example.net", Some(b"short"), 10)).await.unwrap();
    assert_eq!(queue.ask(get("a.example")).await.unwrap().unwrap().value, policy);
    let list = CacheList { kind: CacheKind::MtaSts, after: String::new(), most: 10 };
    assert_eq!(queue.ask(list.clone()).await.unwrap().len(), 2);
    let other = CacheGet { kind: CacheKind::WebSession, name: "a.example".into() };
    assert_eq!(queue.ask(other).await.unwrap(), None);
    // Row TR-36: removed is removed.
    queue.ask(put("a.example", None, 0)).await.unwrap();
    assert_eq!(queue.ask(get("a.example")).await.unwrap(), None);
    world.clock.fetch_add(20, Ordering::Relaxed);
    assert_eq!(queue.ask(get("a.example.net")).await.unwrap(), None, "its end has come");
    for number in 0..20 {
        queue.ask(put(&format!("b{number}.example"), Some(b"x"), 1000)).await.unwrap();
    }
    assert_eq!(queue.ask(list).await.unwrap().len(), 10);
    assert_eq!(
        world.store.engine.keys_below(&keys::caches(1)).unwrap().len(),
        20,
        "the ended one went on the way"
    );
    let too_large = vec![0; libmox_store::CACHE_OCTETS + 1];
    let refused = queue.ask(put("c", Some(&too_large), 1)).await;
    assert!(matches!(refused.unwrap_err().fault(), Some(Fault::Limit(_))));
    world.end().await;
}

fn sent(to: &[&str]) -> AppendMessage {
    AppendMessage {
        body: Body::Inline(b"sent".to_vec()),
        prefix: vec![],
        facts: Facts { recipients: to.iter().map(|to| address(to)).collect(), ..facts() },
        flags: Flags::NONE,
        keywords: vec![],
        received: Timestamp(1_800_000_000),
    }
}

fn queued(session: SessionId, to: &[&str]) -> QueueAdd {
    let recipient =
        |to: &&str| QueueRecipient { address: address(to), notify: String::new(), orcpt: String::new() };
    QueueAdd {
        session,
        cid: Cid(5),
        mail_from: ReversePath::Null,
        header_from: None,
        recipients: to.iter().map(recipient).collect(),
        prefix: vec![],
        body: Body::Inline(b"x".to_vec()),
        facts: facts(),
        needs: Needs::default(),
        release: None,
        wishes: libmox_store::Wishes::default(),
    }
}

/// Rows ST-17, ST-38, ST-39, TR-43.
#[tokio::test(flavor = "multi_thread")]
async fn recipients_and_their_servers_are_remembered() {
    let world = World::new().await;
    let imap = world.imap();
    let session = world.login(&imap, "jane@example.org").await;
    let wrote = async |to: &str| imap.ask(WroteTo { session, address: address(to) }).await.unwrap();
    let append =
        |mailbox: &str, to: &[&str]| Append { session, mailbox: name(mailbox), messages: vec![sent(to)] };
    // The role decides, whatever the mailbox is called; a move into it counts.
    imap.ask(MailboxRename { session, from: name("Sent"), to: name("Verzonden") }).await.unwrap();
    imap.ask(append("Verzonden", &["A@far.example", "b@far.example"])).await.unwrap();
    imap.ask(append("Archive", &["c@far.example"])).await.unwrap();
    assert_eq!(wrote("a@FAR.example").await, Some((Timestamp(1_800_000_000), Timestamp(1_800_000_000))));
    assert_eq!(wrote("c@far.example").await, None);
    let archive = status(&imap, session, "Archive").await.id;
    let uids = UidSet::all();
    imap.ask(Copy { session, mailbox: archive, uids, to: name("Verzonden"), take: true }).await.unwrap();
    assert!(wrote("c@far.example").await.is_some());
    let submission = world.client(Role::Submission);
    let sender = world.login(&submission, "jane@example.org").await;
    let since = world.now().plus(-DAY);
    world.clock.fetch_add(10, Ordering::Relaxed);
    submission.ask(queued(sender, &["a@far.example", "new@far.example"])).await.unwrap();
    submission.ask(queued(sender, &["new@far.example"])).await.unwrap();
    let seen = submission.ask(SentSince { session: sender, since: Timestamp(1_800_000_005) }).await.unwrap();
    assert_eq!((seen.recipients, seen.first_time), (3, 1));
    assert_eq!(submission.ask(SentSince { session: sender, since }).await.unwrap().first_time, 2);
    world.clock.fetch_add(3 * DAY, Ordering::Relaxed);
    submission.ask(queued(sender, &["late@far.example"])).await.unwrap();
    assert_eq!(
        world.store.engine.keys_below(&keys::sent(JANE)).unwrap().len(),
        1,
        "the old ones are forgotten"
    );
    let queue = world.client(Role::Queue);
    let domain = Domain::parse("far.example").unwrap();
    for starttls in [true, false] {
        let support =
            TlsSupportSet { account: JANE, domain: domain.clone(), starttls, require_tls: starttls };
        queue.ask(support).await.unwrap();
    }
    let domains = vec![domain, Domain::parse("other.example").unwrap()];
    let known = imap.ask(TlsSupportOf { session, domains }).await.unwrap();
    assert!(known[0].is_some_and(|known| !known.starttls && known.seen == world.now()) && known[1].is_none());
    drop((imap, submission));
    world.end().await;
}

/// Rows QU-15, QU-17, MP-13, MP-14: both in the change that takes the entry, or neither.
#[tokio::test(flavor = "multi_thread")]
async fn what_left_the_queue_is_known_for_a_while() {
    let mut directory = sample();
    directory.accounts.get_mut("jane").unwrap().keep_retired = DAY;
    let world = World::with(directory).await;
    let (submission, queue) = (world.client(Role::Submission), world.client(Role::Queue));
    let sender = world.login(&submission, "jane@example.org").await;
    let ids = submission.ask(queued(sender, &["A.b+c@far.example", "x@far.example"])).await.unwrap();
    let add = SuppressionAdd {
        account: "jane".into(),
        address: address("ab-other@far.example"),
        automatic: true,
        reason: "550".into(),
    };
    queue.ask(add).await.unwrap();
    let entries = queue.ask(QueueList { after: QueueId(0), most: 10 }).await.unwrap();
    assert_eq!(entries.iter().map(|entry| entry.suppressed).collect::<Vec<_>>(), [true, false]);
    let outcome = |id, outcome| AttemptResult { id, outcome, text: "250 fine".into(), took_ms: 1 };
    let results = vec![outcome(ids[0], Outcome::Failed), outcome(ids[1], Outcome::Delivered)];
    for _ in 0..2 {
        queue.ask(QueueResult { results: results.clone(), report: None }).await.unwrap();
    }
    let world = world.reopened().await;
    let (submission, queue) = (world.client(Role::Submission), world.client(Role::Queue));
    let retired = queue.ask(RetiredList { after: QueueId(0), most: 10 }).await.unwrap();
    assert_eq!(
        retired.iter().map(|r| (r.id, r.delivered)).collect::<Vec<_>>(),
        [(ids[0], false), (ids[1], true)]
    );
    assert_eq!((retired[1].last.as_str(), retired[1].message_id.as_str()), ("250 fine", "m@x.example"));
    let next = queue.ask(RetiredList { after: ids[0], most: 10 }).await.unwrap();
    assert_eq!(next, retired[1..]);
    let list = SuppressionList { account: "jane".into(), after: String::new() };
    let suppressed = world.admin().ask(list).await.unwrap();
    assert!(suppressed.len() == 1 && suppressed[0].base == "ab@far.example" && suppressed[0].automatic);
    let remove = || SuppressionRemove { account: "jane".into(), address: address("a.b@far.example") };
    assert!(world.admin().ask(remove()).await.unwrap());
    assert!(!world.admin().ask(remove()).await.unwrap());
    world.clock.fetch_add(2 * DAY, Ordering::Relaxed);
    let sender = world.login(&submission, "jane@example.org").await;
    submission.ask(queued(sender, &["y@far.example"])).await.unwrap();
    assert!(queue.ask(RetiredList { after: QueueId(0), most: 10 }).await.unwrap().is_empty());
    drop((submission, queue));
    world.end().await;
}

/// Rows ST-22, ST-23, ST-24: to the octet, unerased files too; copies and moves have a save date of their own.
#[tokio::test(flavor = "multi_thread")]
async fn quota_and_save_dates_are_exact() {
    let mut directory = sample();
    directory.settings.quota = Some(2000);
    directory.accounts.get_mut("bob").unwrap().quota = Some(u64::MAX);
    let world = World::with(directory).await;
    let imap = world.imap();
    let session = world.login(&imap, "jane@example.org").await;
    let used = async || imap.ask(Quota { session }).await.unwrap();
    let message = |size: usize| AppendMessage {
        body: Body::Inline(vec![b'x'; size]),
        prefix: b"\r\n".to_vec(),
        ..sent(&[])
    };
    let append = |size| Append { session, mailbox: name("Inbox"), messages: vec![message(size)] };
    imap.ask(append(998)).await.unwrap();
    assert_eq!((used().await.used.0, used().await.limit), (1000, Some(ByteCount(2000))));
    let over = |outcome: Result<_, libmox_store::StoreError>| outcome.map(drop).unwrap_err().fault().cloned();
    assert_eq!(over(imap.ask(append(999)).await), Some(Fault::OverQuota));
    imap.ask(append(998)).await.unwrap();
    let inbox = status(&imap, session, "Inbox").await.id;
    let first: UidSet = [Uid(1)].into_iter().collect();
    let copy = |take| Copy { session, mailbox: inbox, uids: first.clone(), to: name("Archive"), take };
    assert_eq!(over(imap.ask(copy(false)).await), Some(Fault::OverQuota));
    // A move needs no room; it has a new save date, and the arrival stays what it was.
    world.clock.fetch_add(100, Ordering::Relaxed);
    let before = world.list(&imap, session, "Inbox").await.remove(0);
    imap.ask(copy(true)).await.unwrap();
    let moved = world.list(&imap, session, "Archive").await.remove(0);
    assert_eq!((moved.saved, moved.received), (Some(world.now()), before.received));
    assert_eq!(before.saved, Some(world.now().plus(-100)));
    // Expunged, not erased: it still counts.
    let (flags, how, uids) = (Flags::NONE.with(Flag::Deleted), FlagsHow::Add, UidSet::all());
    let change =
        FlagsChange { session, mailbox: inbox, uids, how, flags, keywords: vec![], unchanged_since: None };
    imap.ask(change).await.unwrap();
    imap.ask(Expunge { session, mailbox: inbox, uids: None }).await.unwrap();
    assert_eq!(used().await.used.0, 2000);
    assert_eq!(over(imap.ask(append(0)).await), Some(Fault::OverQuota));
    world.store.sweep(true).await;
    assert_eq!(used().await.used.0, 1000);
    let bob = world.login(&imap, "bob@example.org").await;
    assert_eq!(
        imap.ask(Quota { session: bob }).await.unwrap().limit,
        None,
        "none against the limit of others"
    );
    arrives(&world, 1_800_000_000, Mail("q@x", &[], "plan", false).facts()).await;
    drop(imap);
    world.end().await;
}
