//! Signing in, sessions, accounts that come and go.

use super::*;
use libmox_sasl::scram::Hash;
use libmox_sasl::{ClientBinding, ScramClient, Secret};
use libmox_store::{
    AccountList, AccountRemove, Fault, LoginLocal, ScramFinish, ScramHash, ScramStart, SignOut, Watch,
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
            context: context(),
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
