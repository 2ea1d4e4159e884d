//! The log behind `mox why`.

use super::*;
use crate::keys;
use crate::records::Read;
use libmox_store::{DECISIONS, Decided, DecisionsOf};

fn decided(cid: u64, message_id: &str) -> Decided {
    Decided {
        cid: Cid(cid),
        at: Timestamp(1_800_000_000),
        remote_ip: "192.0.2.9".parse().unwrap(),
        mail_from: ReversePath::Null,
        message_id: message_id.into(),
        reply: "250 kept".into(),
        chain: vec![("SPF".into(), "pass".into())],
    }
}

/// Found by connection and by Message-ID, bounded in number and size, also behind the back of whoever asks.
#[tokio::test(flavor = "multi_thread")]
async fn decisions_are_found_again_and_bounded() {
    let world = World::new().await;
    let smtp = world.client(Role::Smtp);
    let of = async |wanted: &str| world.admin().ask(DecisionsOf { wanted: wanted.into() }).await.unwrap();
    for (cid, id) in [(1, "A@x.example"), (1, "b@x.example"), (2, "a@x.example"), (3, "")] {
        smtp.ask(decided(cid, id)).await.unwrap();
    }
    assert_eq!(of("0000000000000001").await.len(), 2);
    assert_eq!(of("<a@X.example>").await.iter().map(|d| d.cid.0).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(of("0000000000000003").await.len(), 1);
    assert!(of("").await.is_empty() && of("c@x.example").await.is_empty());
    let huge = Decided {
        chain: vec![("words".into(), "é".repeat(2_000)); 100],
        message_id: "m".repeat(10_000),
        ..decided(4, "")
    };
    smtp.ask(huge).await.unwrap();
    let kept = of("0000000000000004").await.remove(0);
    assert!(!kept.chain.is_empty() && kept.chain.len() < 100);
    // More than are kept: the oldest are gone, with all their keys.
    for number in 0..DECISIONS + 50 {
        world.store.note_decision(decided(1_000_000 + number, "same@x.example"));
        if number % 200 == 0 {
            of("c@x.example").await;
        }
    }
    assert!(of("0000000000000001").await.is_empty());
    let count = |kind: &[u8]| world.store.engine.keys_below(kind).unwrap().len() as u64;
    assert_eq!((count(b"E"), count(b"F")), (DECISIONS, 2 * DECISIONS));
    assert_eq!(of("same@x.example").await.len(), 100);
    assert!(world.store.engine.record::<crate::decisions::DecisionState>(keys::DECISIONS).unwrap().is_some());
    let world = world.reopened().await;
    assert_eq!(world.admin().ask(DecisionsOf { wanted: "same@x.example".into() }).await.unwrap().len(), 100);
    assert!(world.client(Role::Smtp).ask(DecisionsOf { wanted: "x".into() }).await.is_err(), "not its verb");
    world.end().await;
}
