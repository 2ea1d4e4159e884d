//! Starting with sockets handed over, and stopping in the middle of work.

use super::*;
use crate::serve::serve_folder;
use libmox_service::Context;
use libmox_service::config::Static;
use libmox_service::sockets::Sockets;
use libmox_store::{Request, Watch};
use std::os::unix::net::UnixListener as StdListener;
use std::sync::atomic::AtomicU32;
use std::time::Instant;

/// What is listened on stays while the store comes and goes.
fn sockets(listeners: &[(String, StdListener)]) -> Sockets {
    Sockets::from_parts(
        listeners.iter().map(|(name, listener)| (name.clone(), listener.try_clone().unwrap().into())),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_under_load_answers_what_is_at_hand_and_keeps_it() {
    let dir = tempfile::tempdir().unwrap();
    let listeners: Vec<(String, StdListener)> = Role::ALL
        .map(|(_, name)| (name.to_owned(), StdListener::bind(dir.path().join(name)).unwrap()))
        .into();
    let client = |role: Role| Client::new(&dir.path().join(role.socket()), "life");
    let config = Arc::new(Static::parse("hostname = \"mail.example.org\"").unwrap());
    let start = || {
        let context = Context::new("mox-store", config.clone(), sockets(&listeners));
        let serving = tokio::spawn(serve_folder(context.clone(), options(dir.path()), sample()));
        (context, serving)
    };
    let mut stored = 0;
    for round in 0..3 {
        // Here the process does not end with the store before, whose last tasks still hold the folder.
        while let Err(error) = crate::engine::Engine::open(options(dir.path())) {
            assert!(error.to_string().contains("in use") || error.to_string().contains("lock"), "{error}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let (context, serving) = start();
        let imap = client(Role::Imap);
        if round == 0 {
            let set = AccountSetPassword { account: "jane".into(), password: PASSWORD.into() };
            client(Role::Admin).ask(set).await.unwrap();
        }
        let LoginOutcome::SignedIn(signed_in) =
            imap.ask(password_login("jane@example.org", PASSWORD)).await.unwrap()
        else {
            panic!()
        };
        let session = signed_in.session;
        let status = imap.ask(MailboxStatus { session, name: MailboxName::inbox() }).await.unwrap();
        assert!(status.counts.total >= stored, "{} of {stored}", status.counts.total);
        stored = status.counts.total;
        let mut watch = imap.stream(Request::Watch(Watch { session, mailbox: None })).await.unwrap();
        watch.next().await.unwrap().unwrap();
        let mut deliveries = tokio::task::JoinSet::new();
        let count = Arc::new(AtomicU32::new(0));
        for _ in 0..4 {
            let (smtp, count) = (client(Role::Smtp), count.clone());
            deliveries.spawn(async move {
                while let Ok(got) =
                    smtp.ask(deliver(&["jane@example.org"], Body::Inline(vec![b'l'; 500]))).await
                {
                    assert!(matches!(got[..], [Delivered::Stored(_)]));
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        let begun = Instant::now();
        context.life.stop();
        serving.await.unwrap().unwrap();
        assert!(context.life.drained(Duration::from_secs(1)).await, "connections end with the store");
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        // They would wait for the next store, which is there soon when systemd starts it.
        deliveries.shutdown().await;
        stored += count.load(Ordering::Relaxed);
        let state = std::fs::read_to_string(dir.path().join("data/index/state")).unwrap();
        assert!(state.contains("clean yes"), "{state}");
    }
    assert!(stored > 3);
}

#[tokio::test]
async fn without_sockets_it_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let config = Arc::new(Static::parse("").unwrap());
    let context = Context::new("mox-store", config, Sockets::default());
    let error = serve_folder(context, options(dir.path()), sample()).await.unwrap_err();
    assert!(error.to_string().contains("no sockets"));
}
