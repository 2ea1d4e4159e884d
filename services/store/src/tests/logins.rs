//! Signing in, sessions, accounts that come and go.

use super::*;
use libmox_sasl::scram::Hash;
use libmox_sasl::{ClientBinding, ScramClient, Secret};
use libmox_store::{
    AccountList, AccountRemove, AppPasswordAdd, AppPasswordList, AppPasswordRemove, AskStanding, CramFinish,
    CramStart, Fault, LoginAttempts, LoginKey, LoginLocal, LoginResult, NoteAgent, NoteFailure, Proof,
    Scopes, ScramFinish, ScramHash, ScramStart, SignIn, SignOut, TlsKey, TlsKeyAdd, TlsKeyList, TlsKeyRemove,
    Watch,
};
use libmox_types::MailboxName;

#[tokio::test(flavor = "multi_thread")]
async fn passwords_open_sessions() {
    let mut directory = sample();
    directory.accounts.get_mut("bob").unwrap().login_disabled = Some("on holiday".into());
    let world = World::with(directory).await;
    let imap = world.imap();
    for (login, password, want) in [
        ("jane@example.org", "wrong password", LoginOutcome::Denied),
        ("nobody@example.org", PASSWORD, LoginOutcome::Denied),
        ("anyone@all.example", PASSWORD, LoginOutcome::Denied),
        ("jane", PASSWORD, LoginOutcome::Denied),
        ("bob@example.org", "wrong password", LoginOutcome::Denied),
        ("bob@example.org", PASSWORD, LoginOutcome::Disabled("on holiday".into())),
    ] {
        assert_eq!(imap.ask(password_login(login, password)).await.unwrap(), want, "{login}");
    }
    let session = world.login(&imap, "Jane+x@example.org").await;
    libmox_store::mailboxes(&imap, session).await.unwrap();
    imap.ask(SignOut(session)).await.unwrap();
    assert_eq!(libmox_store::mailboxes(&imap, session).await.unwrap_err().fault(), Some(&Fault::NoSession));

    // A new password counts at once, although the old one was just found right.
    let password = "another secret".to_owned();
    world
        .admin()
        .ask(AccountSetPassword { account: "jane".into(), password: password.clone() })
        .await
        .unwrap();
    assert_eq!(imap.ask(password_login("jane@example.org", PASSWORD)).await.unwrap(), LoginOutcome::Denied);
    assert!(matches!(
        imap.ask(password_login("jane@example.org", &password)).await.unwrap(),
        LoginOutcome::SignedIn(_)
    ));
    let short = AccountSetPassword { account: "jane".into(), password: "1234567".into() };
    assert!(matches!(world.admin().ask(short).await.unwrap_err().fault(), Some(Fault::Invalid(_))));
    // Row TR-20: an address is not an account.
    let by_address = AccountSetPassword { account: "jane@example.org".into(), password: "12345678".into() };
    assert_eq!(world.admin().ask(by_address).await.unwrap_err().fault(), Some(&Fault::NoAccount));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_failures_are_limited_by_address() {
    let mut directory = sample();
    directory.settings.login_failures_per_minute = 3;
    let world = World::with(directory).await;
    let imap = world.imap();
    for _ in 0..3 {
        let outcome = imap.ask(password_login("jane@example.org", "wrong password")).await.unwrap();
        assert_eq!(outcome, LoginOutcome::Denied);
    }
    let outcome = imap.ask(password_login("jane@example.org", PASSWORD)).await.unwrap();
    assert_eq!(outcome, LoginOutcome::Limited);
    let mut elsewhere = password_login("jane@example.org", PASSWORD);
    elsewhere.context.remote_ip = "192.0.2.2".parse().unwrap();
    assert!(matches!(imap.ask(elsewhere).await.unwrap(), LoginOutcome::SignedIn(_)));
    world.end().await;
}

async fn scram(world: &World, user: &str, password: &str, hash: (Hash, ScramHash)) -> LoginOutcome {
    scram_for(world, user, password, hash, context()).await
}

async fn scram_for(
    world: &World,
    user: &str,
    password: &str,
    hash: (Hash, ScramHash),
    context: LoginContext,
) -> LoginOutcome {
    let imap = world.imap();
    let binding = ClientBinding::None;
    let mut client =
        ScramClient::new(hash.0, user, &Secret(password.into()), "cnonce".into(), binding).unwrap();
    let first = String::from_utf8(client.first()).unwrap();
    let bare = first.strip_prefix("n,,").unwrap().to_owned();
    let challenge = imap.ask(ScramStart { hash: hash.1, username: user.into() }).await.unwrap();
    let salt = libmox_sasl::encode_line(&challenge.salt);
    let server_first = format!("r=cnonce{},s={salt},i={}", challenge.server_nonce, challenge.iterations);
    let last = String::from_utf8(client.on_server_first(server_first.as_bytes()).unwrap()).unwrap();
    let (without_proof, proof) = last.rsplit_once(",p=").unwrap();
    let outcome = imap
        .ask(ScramFinish {
            context,
            exchange: challenge.exchange,
            auth_message: format!("{bare},{server_first},{without_proof}").into_bytes(),
            proof: libmox_sasl::decode_line(proof.as_bytes()).unwrap(),
        })
        .await
        .unwrap();
    if let LoginOutcome::SignedIn(signed_in) = &outcome {
        let server_last = format!("v={}", libmox_sasl::encode_line(&signed_in.server_signature));
        client.on_server_final(server_last.as_bytes()).unwrap();
    }
    outcome
}

#[tokio::test(flavor = "multi_thread")]
async fn scram_proves_both_sides() {
    let world = World::new().await;
    for hash in [(Hash::Sha1, ScramHash::Sha1), (Hash::Sha256, ScramHash::Sha256)] {
        let right = scram(&world, "jane@example.org", PASSWORD, hash).await;
        assert!(matches!(right, LoginOutcome::SignedIn(_)), "{right:?}");
        assert_eq!(scram(&world, "jane@example.org", "wrong", hash).await, LoginOutcome::Denied);
        assert_eq!(scram(&world, "nobody@example.org", PASSWORD, hash).await, LoginOutcome::Denied);
    }
    let start = |user: &str| ScramStart { hash: ScramHash::Sha256, username: user.into() };
    let imap = world.imap();
    let (a, b) = (
        imap.ask(start("nobody@example.org")).await.unwrap(),
        imap.ask(start("nobody@example.org")).await.unwrap(),
    );
    assert_eq!((&a.salt, a.iterations), (&b.salt, b.iterations), "always the same for the same name");
    assert_ne!(a.salt, imap.ask(start("nobody2@example.org")).await.unwrap().salt);
    let real = imap.ask(start("jane@example.org")).await.unwrap();
    assert_eq!((real.salt.len(), real.iterations), (a.salt.len(), a.iterations), "and like a real one");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn local_programs_send_as_themselves() {
    let world = World::new().await;
    let client = world.client(Role::Submission);
    let login = |user: &str| LoginLocal { cid: Cid(1), uid: 0, user: user.into() };
    let LoginOutcome::SignedIn(root) = client.ask(login("root")).await.unwrap() else { panic!() };
    assert_eq!((root.account_name.as_str(), root.login), ("jane", address("root@mail.example.org")));
    let LoginOutcome::SignedIn(bob) = client.ask(login("bob")).await.unwrap() else { panic!() };
    assert_eq!(bob.account_name, "bob");
    let may = async |session, text: &str| {
        client.ask(libmox_store::CheckSender { session, address: address(text) }).await.unwrap()
    };
    assert!(may(root.session, "root@mail.example.org").await);
    assert!(!may(root.session, "bob@mail.example.org").await);
    assert!(may(bob.session, "bob@example.org").await);
    assert!(!may(bob.session, "jane@example.org").await);
    world.end().await;
}

/// Rows ST-37, TR-14.
#[tokio::test(flavor = "multi_thread")]
async fn a_removed_account_ends_its_sessions_and_leaves_nothing() {
    let world = World::new().await;
    let imap = world.imap();
    let session = world.login(&imap, "bob@example.org").await;
    world.deliver(&["bob@example.org"], &vec![b'x'; 100_000]).await;
    world.deliver(&["bob@example.org"], b"small").await;
    let watch = Watch { session, mailbox: Some(MailboxName::inbox()) };
    let mut items = imap.stream(libmox_store::Request::Watch(watch)).await.unwrap();
    assert!(matches!(items.next().await.unwrap().unwrap(), Item::Snapshot(_)));
    assert!(matches!(items.next().await.unwrap().unwrap(), Item::SnapshotEnd(..)));
    let remove = AccountRemove { account: "bob".into() };
    assert!(matches!(world.admin().ask(remove.clone()).await.unwrap_err().fault(), Some(Fault::Cannot(_))));
    let whole = (*world.store.directory()).clone();
    let mut without = whole.accounts.clone();
    let bob = without.remove("bob").unwrap();
    let next = Directory::new(2, whole.settings.clone(), whole.domains.clone(), without.clone());
    world.store.reload(next).await.unwrap();
    let last = items.next().await.unwrap().unwrap();
    assert!(
        matches!(&last, Item::Events(e) if matches!(e[0].events[0], libmox_store::Event::Ended { .. })),
        "{last:?}"
    );
    assert!(items.next().await.is_none());
    assert_eq!(libmox_store::mailboxes(&imap, session).await.unwrap_err().fault(), Some(&Fault::NoSession));
    world.admin().ask(remove).await.unwrap();
    world.store.engine.checkpoint().await.unwrap();
    world.is_sound().await;
    without.insert("bob".into(), bob);
    let next = Directory::new(3, whole.settings.clone(), whole.domains.clone(), without);
    world.store.reload(next).await.unwrap();
    let states = world.admin().ask(AccountList).await.unwrap();
    let bob = states.iter().find(|state| state.name == "bob").unwrap();
    assert_eq!((bob.used, bob.has_password), (ByteCount(0), false));
    assert!(matches!(world.deliver(&["bob@example.org"], b"again").await[..], [Delivered::Stored(_)]));
    world.end().await;
}

const BOTH: [(Hash, ScramHash); 2] = [(Hash::Sha1, ScramHash::Sha1), (Hash::Sha256, ScramHash::Sha256)];

async fn cram(world: &World, user: &str, password: &str, context: LoginContext) -> LoginOutcome {
    let imap = world.imap();
    let begun = imap.ask(CramStart).await.unwrap();
    let said = libmox_sasl::cram::answer(user, &Secret(password.into()), begun.challenge.as_bytes());
    let hex = said.rsplit_once(' ').unwrap().1;
    let digest = std::array::from_fn(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap());
    let finish = CramFinish { context, exchange: begun.exchange, username: user.into(), digest };
    let outcome = imap.ask(finish.clone()).await.unwrap();
    // Each challenge is answered once.
    if matches!(outcome, LoginOutcome::SignedIn(_)) {
        assert_eq!(imap.ask(finish).await.unwrap(), LoginOutcome::Denied);
    }
    outcome
}

fn over(protocol: &str) -> LoginContext {
    LoginContext { protocol: protocol.into(), ..context() }
}

fn is_in(outcome: &LoginOutcome) -> bool {
    matches!(outcome, LoginOutcome::SignedIn(_))
}

/// Rows AU-03, AU-10, TR-24.
#[tokio::test(flavor = "multi_thread")]
async fn cram_md5_and_accounts_without_secrets() {
    let mut directory = sample();
    directory.settings.login_failures_per_minute = 4;
    let mut third = directory.accounts["bob"].clone();
    third.addresses = vec![address("new@example.org")];
    third.catchall.clear();
    let accounts = directory.accounts.clone().into_iter().chain([("new".to_owned(), third)]).collect();
    let directory = Directory::new(1, directory.settings.clone(), directory.domains.clone(), accounts);
    let world = World::with(directory).await;
    assert!(is_in(&cram(&world, "jane@example.org", PASSWORD, context()).await));
    assert_eq!(cram(&world, "jane@example.org", "wrong", context()).await, LoginOutcome::Denied);
    assert_eq!(cram(&world, "nobody@example.org", PASSWORD, context()).await, LoginOutcome::Denied);
    assert!(is_in(&cram(&world, "jane@example.org", PASSWORD, context()).await));
    // No password was set: nothing of this counts.
    for _ in 0..5 {
        assert_eq!(cram(&world, "new@example.org", "any", context()).await, LoginOutcome::NoSecret);
        assert_eq!(scram(&world, "new@example.org", "any", BOTH[1]).await, LoginOutcome::NoSecret);
    }
    let imap = world.imap();
    let standing = imap.ask(AskStanding { remote_ip: context().remote_ip }).await.unwrap();
    assert_eq!((standing.failures, standing.limited), (1, false), "the replayed challenge alone");
    assert!(is_in(&imap.ask(password_login("jane@example.org", PASSWORD)).await.unwrap()));
    let standing = imap.ask(AskStanding { remote_ip: context().remote_ip }).await.unwrap();
    assert_eq!(standing.failures, 0, "row AU-15: who gets in is forgiven");
    world.end().await;
}

/// Row TR-42: with every mechanism, after the right credentials only.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_switched_off_is_told_after_the_proof() {
    let mut directory = sample();
    directory.accounts.get_mut("bob").unwrap().login_disabled = Some("on holiday".into());
    directory.settings.login_failures_per_minute = 1000;
    let world = World::with(directory).await;
    let imap = world.imap();
    let off = LoginOutcome::Disabled("on holiday".into());
    for (password, want) in [(PASSWORD, &off), ("wrong password", &LoginOutcome::Denied)] {
        assert_eq!(&imap.ask(password_login("bob@example.org", password)).await.unwrap(), want);
        assert_eq!(&cram(&world, "bob@example.org", password, context()).await, want);
        for hash in BOTH {
            assert_eq!(&scram(&world, "bob@example.org", password, hash).await, want);
        }
    }
    let fingerprint = add_key(&world, "bob@example.org", 'b', false).await.unwrap().fingerprint;
    let login = |fingerprint| LoginKey { context: context(), fingerprint, authorize: None };
    assert_eq!(imap.ask(login(fingerprint)).await.unwrap().outcome, off);
    assert_eq!(imap.ask(login("x".repeat(43))).await.unwrap().outcome, LoginOutcome::Denied);
    world.end().await;
}

async fn add_key(
    world: &World,
    login: &str,
    letter: char,
    no_imap_preauth: bool,
) -> Result<TlsKey, libmox_store::StoreError> {
    let key = TlsKey {
        fingerprint: letter.to_string().repeat(43),
        account: String::new(),
        login: address(login),
        kind: "ed25519".into(),
        name: "laptop".into(),
        no_imap_preauth,
        created: Timestamp(0),
    };
    world.admin().ask(TlsKeyAdd { key }).await
}

/// Rows AU-05, AU-07, TR-39.
#[tokio::test(flavor = "multi_thread")]
async fn keys_of_certificates_open_sessions() {
    let world = World::new().await;
    let (imap, admin) = (world.imap(), world.admin());
    let key = add_key(&world, "jane@example.org", 'a', false).await.unwrap();
    assert_eq!((key.account.as_str(), key.created), ("jane", world.now()));
    add_key(&world, "jane@example.org", 'c', true).await.unwrap();
    // Somebody else's key is not taken over, nobody's address has none.
    assert_eq!(
        add_key(&world, "bob@example.org", 'a', false).await.unwrap_err().fault(),
        Some(&Fault::Exists)
    );
    assert_eq!(
        add_key(&world, "nobody@example.org", 'd', false).await.unwrap_err().fault(),
        Some(&Fault::NotFound)
    );
    let list = |account: Option<&str>| TlsKeyList { account: account.map(str::to_owned) };
    assert_eq!(admin.ask(list(None)).await.unwrap().len(), 2);
    assert_eq!(admin.ask(list(Some("bob"))).await.unwrap(), []);
    let login = |letter: char, authorize: Option<&str>| LoginKey {
        context: context(),
        fingerprint: letter.to_string().repeat(43),
        authorize: authorize.map(str::to_owned),
    };
    let first = imap.ask(login('a', None)).await.unwrap();
    let LoginOutcome::SignedIn(signed_in) = first.outcome else { panic!("{first:?}") };
    assert!(first.preauth && signed_in.account_name == "jane");
    assert!(!imap.ask(login('c', None)).await.unwrap().preauth);
    // Another address of the same account; not one of another.
    assert!(is_in(&imap.ask(login('a', Some("jane+x@example.org"))).await.unwrap().outcome));
    assert_eq!(imap.ask(login('a', Some("bob@example.org"))).await.unwrap().outcome, LoginOutcome::Denied);
    libmox_store::mailboxes(&imap, signed_in.session).await.unwrap();
    let world = world.reopened().await;
    let (imap, admin) = (world.imap(), world.admin());
    let again = imap.ask(login('a', None)).await.unwrap();
    let LoginOutcome::SignedIn(signed_in) = again.outcome else { panic!("{again:?}") };
    let remove = || TlsKeyRemove { fingerprint: "a".repeat(43) };
    assert!(admin.ask(remove()).await.unwrap() && !admin.ask(remove()).await.unwrap());
    assert_eq!(
        libmox_store::mailboxes(&imap, signed_in.session).await.unwrap_err().fault(),
        Some(&Fault::NoSession),
        "what it opened ends with it"
    );
    assert_eq!(imap.ask(login('a', None)).await.unwrap().outcome, LoginOutcome::Denied);
    add_key(&world, "bob@example.org", 'a', false).await.unwrap();
    world.end().await;
}

/// App passwords: a name, what they are for, until when.
#[tokio::test(flavor = "multi_thread")]
async fn app_passwords_are_good_for_what_they_say() {
    let mut directory = sample();
    directory.settings.login_failures_per_minute = 1000;
    let world = World::with(directory).await;
    let admin = world.admin();
    let add = |name: &str, imap: bool, submission: bool, expires: Option<i64>| AppPasswordAdd {
        account: "jane".into(),
        name: name.into(),
        scopes: Scopes { imap, submission },
        expires: expires.map(|seconds| world.now().plus(seconds)),
    };
    let phone = admin.ask(add("phone", true, false, None)).await.unwrap().0;
    let printer = admin.ask(add("printer", false, true, Some(3600))).await.unwrap().0;
    assert_eq!(admin.ask(add("phone", true, true, None)).await.unwrap_err().fault(), Some(&Fault::Exists));
    for wrong in [add("x", false, false, None), add("", true, true, None), add("x", true, true, Some(-1))] {
        assert!(matches!(admin.ask(wrong).await.unwrap_err().fault(), Some(Fault::Invalid(_))));
    }
    let tries = async |password: &str, protocol: &str| {
        let mut plain = password_login("jane@example.org", password);
        plain.context = over(protocol);
        let outcomes = [
            world.imap().ask(plain).await.unwrap(),
            cram(&world, "jane@example.org", password, over(protocol)).await,
            scram_for(&world, "jane@example.org", password, BOTH[0], over(protocol)).await,
            scram_for(&world, "jane@example.org", password, BOTH[1], over(protocol)).await,
        ];
        let all = outcomes.iter().filter(|outcome| is_in(outcome)).count();
        assert!(all == 0 || all == 4, "{outcomes:?}");
        all == 4
    };
    assert!(tries(&phone, "imap").await && !tries(&phone, "submission").await);
    assert!(!tries(&printer, "imap").await && tries(&printer, "submission").await);
    assert!(tries(PASSWORD, "imap").await && tries(PASSWORD, "submission").await);
    assert!(!tries("abcde-abcde-abcde-abcde-abcde", "imap").await);
    let mut other = password_login("bob@example.org", &phone);
    other.context = over("imap");
    assert_eq!(world.imap().ask(other).await.unwrap(), LoginOutcome::Denied);
    // A new password leaves them as they are, and they know the salt it is told.
    let set = AccountSetPassword { account: "jane".into(), password: "another secret".into() };
    admin.ask(set).await.unwrap();
    assert!(tries(&phone, "imap").await && tries("another secret", "imap").await);
    assert!(!tries(PASSWORD, "imap").await);
    world.clock.fetch_add(3600, Ordering::Relaxed);
    assert!(!tries(&printer, "submission").await, "expired");
    let world = world.reopened().await;
    let admin = world.admin();
    let list = admin.ask(AppPasswordList { account: "jane".into() }).await.unwrap();
    let names: Vec<&str> = list.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["phone", "printer"]);
    let imap = world.imap();
    let session = match imap.ask(password_login("jane@example.org", &phone)).await.unwrap() {
        LoginOutcome::SignedIn(signed_in) => signed_in.session,
        other => panic!("{other:?}"),
    };
    let remove = || AppPasswordRemove { account: "jane".into(), name: "phone".into() };
    assert!(admin.ask(remove()).await.unwrap() && !admin.ask(remove()).await.unwrap());
    assert!(libmox_store::mailboxes(&imap, session).await.is_err(), "what it opened ends with it");
    assert_eq!(imap.ask(password_login("jane@example.org", &phone)).await.unwrap(), LoginOutcome::Denied);
    world.end().await;
}

/// An account without a password of its own, but with one for a program.
#[tokio::test(flavor = "multi_thread")]
async fn an_app_password_may_come_first() {
    let directory = sample();
    let mut third = directory.accounts["bob"].clone();
    third.addresses = vec![address("new@example.org")];
    third.catchall.clear();
    let accounts = directory.accounts.clone().into_iter().chain([("new".to_owned(), third)]).collect();
    let world =
        World::with(Directory::new(1, directory.settings.clone(), directory.domains.clone(), accounts)).await;
    let add = AppPasswordAdd {
        account: "new".into(),
        name: "phone".into(),
        scopes: Scopes { imap: true, submission: true },
        expires: None,
    };
    let phone = world.admin().ask(add).await.unwrap().0;
    assert!(is_in(&scram(&world, "new@example.org", &phone, BOTH[1]).await));
    let set = AccountSetPassword { account: "new".into(), password: PASSWORD.into() };
    world.admin().ask(set).await.unwrap();
    for password in [PASSWORD, &phone] {
        assert!(is_in(&scram(&world, "new@example.org", password, BOTH[1]).await), "{password}");
    }
    world.end().await;
}

/// Rows AU-14, TR-26: one record each, with the name of the client if that comes in time.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_calls_itself_is_kept_with_its_login() {
    let world = World::new().await;
    let imap = world.imap();
    let login = async |cid: u64, agent: &str| {
        let mut login = password_login("jane@example.org", PASSWORD);
        login.context.cid = Cid(cid);
        login.context.user_agent = agent.into();
        assert!(is_in(&imap.ask(login).await.unwrap()));
    };
    // ID came first; it comes in time; it comes late; it never comes.
    login(1, "first").await;
    login(2, "").await;
    imap.ask(NoteAgent { cid: Cid(2), user_agent: "in time".into() }).await.unwrap();
    login(3, "").await;
    tokio::time::sleep(crate::limits::AGENT_WAIT + Duration::from_millis(200)).await;
    imap.ask(NoteAgent { cid: Cid(3), user_agent: "late".into() }).await.unwrap();
    login(4, "").await;
    let ask = LoginAttempts { account: Some("jane".into()), before: None, most: 100 };
    let attempts = world.admin().ask(ask).await.unwrap();
    let mut names: Vec<(String, u64)> =
        attempts.iter().map(|one| (one.user_agent.clone(), one.count)).collect();
    names.sort();
    let want = [("", 2), ("first", 1), ("in time", 1)];
    assert_eq!(names, want.map(|(name, count)| (name.to_owned(), count)));
    assert!(attempts.iter().all(|one| one.result == LoginResult::SignedIn));
    world.end().await;
}

/// Row TR-10: a record says what its own login said, whatever its connection says next.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_noted_of_a_login_is_its_own() {
    let mut directory = sample();
    directory.settings.login_failures_per_minute = 1000;
    let world = World::with(directory).await;
    let mut tries = tokio::task::JoinSet::new();
    for n in 0..60 {
        let client = world.imap();
        tries.spawn(async move {
            let mut login = password_login(&format!("jane+{n}@example.org"), "wrong password");
            login.context.mechanism = format!("M{n}");
            client.ask(login).await
        });
    }
    tries.join_all().await;
    let ask = LoginAttempts { account: Some("jane".into()), before: None, most: 100 };
    let attempts = world.admin().ask(ask).await.unwrap();
    assert_eq!(attempts.len(), 60);
    for one in attempts {
        let n = one.mechanism.strip_prefix('M').unwrap();
        assert_eq!((one.login, one.count), (format!("jane+{n}@example.org"), 1));
    }
    world.end().await;
}

/// Row AU-13: which address of ours it came to; which name was tried, with whatever mechanism; and what nobody could look
/// at, without counting.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_recorded_with_all_that_is_known_of_it() {
    let world = World::new().await;
    let imap = world.imap();
    let [here, there] = ["192.0.2.25", "2001:db8::25"].map(|ip| Some(ip.parse().unwrap()));
    for (local_ip, password) in [(here, PASSWORD), (there, PASSWORD), (there, "wrong password")] {
        let proof = Proof::Password(password_login("jane@example.org", password));
        imap.ask(SignIn { local_ip, proof }).await.unwrap();
    }
    for result in [LoginResult::BadBinding, LoginResult::Malformed, LoginResult::Cancelled] {
        for username in [Some("jane@example.org".to_owned()), None] {
            let note = NoteFailure { context: context(), local_ip: here, username, result };
            imap.ask(note).await.unwrap();
        }
    }
    // Nobody notes that somebody signed in.
    let note = NoteFailure {
        context: context(),
        local_ip: here,
        username: Some("jane@example.org".into()),
        result: LoginResult::SignedIn,
    };
    imap.ask(note).await.unwrap();
    let standing = imap.ask(AskStanding { remote_ip: context().remote_ip }).await.unwrap();
    assert_eq!(standing.failures, 1, "the wrong password alone");
    scram(&world, "nobody@example.org", PASSWORD, BOTH[1]).await;
    let ask = |account: Option<&str>| LoginAttempts {
        account: account.map(str::to_owned),
        before: None,
        most: 100,
    };
    let of = async |account| {
        let attempts = world.admin().ask(ask(account)).await.unwrap();
        let mut all: Vec<_> =
            attempts.into_iter().map(|one| (one.result as u8, one.local_ip, one.login)).collect();
        all.sort();
        all
    };
    let jane = |result: LoginResult, at| (result as u8, at, "jane@example.org".to_owned());
    let mut want = vec![
        jane(LoginResult::SignedIn, here),
        jane(LoginResult::SignedIn, there),
        jane(LoginResult::Denied, there),
        jane(LoginResult::BadBinding, here),
        jane(LoginResult::Malformed, here),
        jane(LoginResult::Cancelled, here),
    ];
    want.sort();
    assert_eq!(of(Some("jane")).await, want);
    let nobody = of(None).await;
    assert_eq!(nobody.len(), 4, "{nobody:?}");
    assert!(nobody.contains(&(LoginResult::Denied as u8, None, "nobody@example.org".into())), "{nobody:?}");
    world.end().await;
}

/// Row AU-15: over all protocols, and no more at once than one after the other.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_passwords_in_parallel_are_limited_like_others() {
    let mut directory = sample();
    directory.settings.login_failures_per_minute = 4;
    let world = World::with(directory).await;
    let mut tries = tokio::task::JoinSet::new();
    for n in 0..40 {
        let client = world.client(if n % 2 == 0 { Role::Imap } else { Role::Submission });
        tries.spawn(async move { client.ask(password_login("jane@example.org", "wrong password")).await });
    }
    let outcomes: Vec<LoginOutcome> =
        tries.join_all().await.into_iter().map(|outcome| outcome.unwrap()).collect();
    let denied = outcomes.iter().filter(|outcome| **outcome == LoginOutcome::Denied).count();
    assert_eq!(denied, 4);
    let standing = world.imap().ask(AskStanding { remote_ip: context().remote_ip }).await.unwrap();
    assert_eq!((standing.failures, standing.limited), (4, true));
    assert_eq!(
        world.imap().ask(password_login("jane@example.org", PASSWORD)).await.unwrap(),
        LoginOutcome::Limited
    );
    world.end().await;
}
