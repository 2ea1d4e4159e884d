//! Lists of addresses: who gets what, once.

use super::rejects::{analyze, from};
use super::*;
use libmox_service::config::Domains;
use libmox_store::{Analyze, Decision, DeliverTogether, Together};

/// bob, jane and ann on a list; ann is on one where only members write.
fn directory() -> Directory {
    let text = "[domains.\"example.org\"]\nlocalpart-catchall-separators = [\"+\"]\n\
         [accounts.bob]\naddresses = [\"bob@example.org\"]\nquota = \"1MiB\"\n\
         [accounts.jane]\naddresses = [\"jane@example.org\"]\n[accounts.ann]\naddresses = [\"ann@example.org\"]\n\
         [aliases.\"team@example.org\"]\naddresses = [\"bob@example.org\", \"jane@example.org\", \"ann@example.org\"]\n\
         [aliases.\"own@example.org\"]\naddresses = [\"ann@example.org\", \"jane@example.org\"]\npost-public = false\nallow-msg-from = true\n\
         [aliases.\"solo@example.org\"]\naddresses = [\"ann@example.org\"]\n";
    let domains = Domains::parse(text).map_err(|mistakes| mistakes.lines()).unwrap();
    let statics = libmox_service::config::Static::parse("hostname = \"mail.example.org\"").unwrap();
    crate::config::directory(1, &statics, &domains)
}

async fn inboxes(world: &World) -> [usize; 3] {
    let mut counts = [0; 3];
    for (at, who) in ["bob", "jane", "ann"].into_iter().enumerate() {
        let id = world.store.directory().ids[who];
        let inbox = world.store.mailbox(id, &name("Inbox")).unwrap();
        counts[at] = inbox.counts.total as usize;
    }
    counts
}

/// Rows SR-12, SR-13, SR-14, SR-15, TR-50.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_gives_each_member_one_copy() {
    let world = World::with(directory()).await;
    let smtp = world.client(Role::Smtp);
    let send = async |to: &[&str], from_address: &str| {
        let mut request = deliver(to, Body::Inline(b"x".to_vec()));
        request.facts = from(from_address, "");
        smtp.ask(request).await.unwrap()
    };
    let stored = |delivered: &Delivered| matches!(delivered, Delivered::Stored(_));
    let mut want = [0; 3];
    for (to, who, [bob, jane, ann]) in [
        (vec!["team@example.org"], "x@far.example", [1, 1, 1]),
        (vec!["TEAM+x@example.org"], "x@far.example", [1, 1, 1]),
        // Named beside the list, and on two lists: one copy.
        (vec!["team@example.org", "jane@example.org"], "x@far.example", [1, 1, 1]),
        (vec!["solo@example.org", "team@example.org"], "x@far.example", [1, 1, 1]),
        (vec!["solo@example.org", "ann@example.org"], "x@far.example", [0, 0, 1]),
        // The author gets none, unless nobody else is left.
        (vec!["team@example.org"], "Jane+tag@example.org", [1, 0, 1]),
        (vec!["team@example.org", "jane@example.org"], "jane@example.org", [1, 1, 1]),
        (vec!["solo@example.org"], "ann@example.org", [0, 0, 1]),
        (vec!["own@example.org"], "jane@example.org", [0, 0, 1]),
    ] {
        let outcomes = send(&to, who).await;
        assert!(outcomes.iter().all(stored), "{to:?} {outcomes:?}");
        want = [want[0] + bob, want[1] + jane, want[2] + ann];
        assert_eq!(inboxes(&world).await, want, "{to:?} from {who}");
    }
    // Only members may write to it; others of the transaction are not hurt.
    let outcomes = send(&["own@example.org", "bob@example.org"], "x@far.example").await;
    assert!(outcomes[0] == Delivered::NotMember && stored(&outcomes[1]), "{outcomes:?}");
    want[0] += 1;
    assert_eq!(inboxes(&world).await, want);
    // Row SR-14: members may send as the list that allows it.
    let directory = world.store.directory();
    for (who, address_text, may) in [
        ("ann", "own@example.org", true),
        ("jane", "own@example.org", true),
        ("bob", "own@example.org", false),
        ("ann", "team@example.org", false),
    ] {
        assert_eq!(directory.may_send_as(who, &address(address_text)), may, "{who} {address_text}");
    }
    world.end().await;
}

/// Row SR-12: taken when one takes it, refused when none does; also together with others.
#[tokio::test(flavor = "multi_thread")]
async fn one_member_who_takes_it_is_enough() {
    let world = World::with(directory()).await;
    let smtp = world.client(Role::Smtp);
    // bob has no room.
    let large = vec![b'x'; 2 << 20];
    let mut request = deliver(&["team@example.org"], body_of(&smtp, &large).await);
    request.facts = from("x@far.example", "");
    assert!(matches!(smtp.ask(request).await.unwrap()[..], [Delivered::Stored(_)]));
    assert_eq!(inboxes(&world).await, [0, 1, 1]);
    let mut request = deliver(&["team@example.org", "jane@example.org"], body_of(&smtp, &large).await);
    request.facts = from("x@far.example", "");
    let together = smtp.ask(DeliverTogether { deliver: request, report: None }).await.unwrap();
    assert!(matches!(together, Together::Stored(ref proof) if proof.len() == 2), "{together:?}");
    assert_eq!(inboxes(&world).await, [0, 2, 2]);
    // Judged: each member for itself.
    let ask = |to: &str, who: &str, refused: Option<&str>| Analyze {
        recipients: vec![recipient(to)],
        ..analyze(from(who, "1@x"), refused)
    };
    for (to, who, refused, decision) in [
        ("team@example.org", "x@far.example", None, Decision::Accept),
        ("team@example.org", "x@far.example", Some("DMARC"), Decision::Reject),
        ("own@example.org", "x@far.example", None, Decision::NotMember),
        ("own@example.org", "ann@example.org", None, Decision::Accept),
    ] {
        let got = smtp.ask(ask(to, who, refused)).await.unwrap().remove(0);
        assert_eq!(got.decision, decision, "{to} {who}: {got:?}");
        let members = got.destined.map_or(0, |destined| destined.members.len());
        assert_eq!(
            members,
            match (to, decision) {
                ("team@example.org", _) => 3,
                (_, Decision::Accept) => 1,
                _ => 0,
            }
        );
    }
    // All refuse: nobody has it.
    let mut request = deliver(&["team@example.org"], Body::Inline(b"y".to_vec()));
    let judged = smtp.ask(ask("team@example.org", "x@far.example", Some("DMARC"))).await.unwrap().remove(0);
    request.facts = from("x@far.example", "");
    request.recipients[0].destined = judged.destined;
    assert_eq!(smtp.ask(request).await.unwrap(), [Delivered::Refused { kept: false }]);
    assert_eq!(inboxes(&world).await, [0, 2, 2]);
    world.end().await;
}
