//! Runs every conversation below `tests/dialogs/imap` against a store and a server of its own.
//!
//! A line is `C: text` (sent with CRLF), `S: pattern` (one response must fit; `{*}` is anything), `# remark`,
//! `M name: line` (adds a line to a message), `@ login n account`, `@ connect n`, `@ deliver account name`,
//! `@ packed n` and `@ plain n` (from here on the connection is compressed, or not any more), or `@ closed n`. `2C:` and `2S:` are of the second connection. `{name}` in a line is the message as a literal,
//! `{name+}` as a non-synchronising one, `{name#}` its size.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[allow(dead_code, reason = "each test binary uses its part")]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use support::{Peer, World, fits};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/dialogs/imap")
}

fn filled(line: &str, messages: &BTreeMap<String, String>) -> String {
    let mut line = line.to_string();
    for (name, text) in messages {
        let size = text.len();
        line = line.replace(&format!("{{{name}}}"), &format!("{{{size}}}\r\n{text}"));
        line = line.replace(&format!("{{{name}+}}"), &format!("{{{size}+}}\r\n{text}"));
        line = line.replace(&format!("{{{name}#}}"), &size.to_string());
    }
    line
}

async fn run(name: &str, script: &str) {
    let world = World::new().await;
    let mut peers: BTreeMap<char, Peer> = BTreeMap::new();
    let mut messages: BTreeMap<String, String> = BTreeMap::new();
    for (at, line) in script.lines().enumerate() {
        let place = format!("{name}:{}", at + 1);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(rest) = line.strip_prefix("M ") {
            let (name, text) = rest.split_once(':').unwrap();
            let message = messages.entry(name.to_string()).or_default();
            message.push_str(text.strip_prefix(' ').unwrap_or(text));
            message.push_str("\r\n");
            continue;
        }
        if let Some(rest) = line.strip_prefix("@ ") {
            match rest.split(' ').collect::<Vec<_>>()[..] {
                ["login", n, account] => {
                    peers.insert(n.chars().next().unwrap(), world.signed_in(account).await);
                }
                ["connect", n] => {
                    peers.insert(n.chars().next().unwrap(), world.connect().await);
                }
                ["deliver", account, message] => {
                    let text = messages[message].replace("\r\n", "\n");
                    world.deliver(&format!("{account}@example.org"), &text).await;
                }
                [how @ ("packed" | "plain"), n] => {
                    peers.get_mut(&n.chars().next().unwrap()).unwrap().pack(how == "packed");
                }
                ["closed", n] => {
                    let mut peer = peers.remove(&n.chars().next().unwrap()).unwrap();
                    assert_eq!(peer.response().await, "", "{place}: the connection is closed");
                }
                _ => panic!("{place}: {line:?}"),
            }
            continue;
        }
        let (who, line) = match line.as_bytes()[0] {
            digit @ b'0'..=b'9' => (char::from(digit), &line[1..]),
            _ => ('1', line),
        };
        let peer = peers.get_mut(&who).unwrap_or_else(|| panic!("{place}: no connection {who}"));
        if let Some(text) = line.strip_prefix("C: ").or(line.strip_prefix("C:")) {
            assert!(peer.input.is_empty(), "{place}: not expected: {}", String::from_utf8_lossy(&peer.input));
            peer.send(&format!("{}\r\n", filled(text, &messages))).await;
        } else if let Some(pattern) = line.strip_prefix("S: ") {
            let got = peer.response().await;
            let pattern = filled(pattern, &messages);
            assert!(fits(&pattern, &got), "{place}:\nwanted {pattern}\n   got {got}");
        } else {
            panic!("{place}: {line:?}");
        }
    }
    for (who, mut peer) in peers {
        let left = peer.command("last NOOP").await;
        assert_eq!(left, ["last OK done"], "{name}: connection {who} has more to say");
    }
}

/// One test for each file, so that each can be named.
macro_rules! dialogs {
    ($($test:ident: $name:literal),+ $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                run($name, &std::fs::read_to_string(folder().join($name)).unwrap()).await;
            }
        )+
        const NAMES: &[&str] = &[$($name),+];
    };
}

dialogs! {
    imap_dialog_binary: "binary.txt",
    imap_dialog_catenate: "catenate.txt",
    imap_dialog_compress: "compress.txt",
    imap_dialog_context: "context.txt",
    imap_dialog_disabled: "disabled.txt",
    imap_dialog_enable: "enable.txt",
    imap_dialog_example: "example.txt",
    imap_dialog_fetch: "fetch.txt",
    imap_dialog_habits: "habits.txt",
    imap_dialog_interleaving: "interleaving.txt",
    imap_dialog_limits: "limits.txt",
    imap_dialog_list: "list.txt",
    imap_dialog_login: "login.txt",
    imap_dialog_mailboxes: "mailboxes.txt",
    imap_dialog_metadata: "metadata.txt",
    imap_dialog_multisearch: "multisearch.txt",
    imap_dialog_names: "names.txt",
    imap_dialog_notify: "notify.txt",
    imap_dialog_objectid: "objectid.txt",
    imap_dialog_parts: "parts.txt",
    imap_dialog_preview: "preview.txt",
    imap_dialog_qresync: "qresync.txt",
    imap_dialog_quota: "quota.txt",
    imap_dialog_replace: "replace.txt",
    imap_dialog_search: "search.txt",
    imap_dialog_searchres: "searchres.txt",
    imap_dialog_sessions: "sessions.txt",
    imap_dialog_sort: "sort.txt",
    imap_dialog_store: "store.txt",
    imap_dialog_uidonly: "uidonly.txt",
    imap_dialog_unauthenticate: "unauthenticate.txt",
    imap_dialog_urlauth: "urlauth.txt",
    imap_dialog_utf8: "utf8.txt",
}

#[test]
fn every_imap_dialog_has_a_test() {
    let mut files: Vec<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    files.sort();
    assert_eq!(files, NAMES);
}

fn all_dialogs() -> Vec<String> {
    NAMES.iter().map(|name| std::fs::read_to_string(folder().join(name)).unwrap()).collect()
}

/// What a connection announces, without numbers.
async fn announced() -> BTreeSet<String> {
    let world = World::new().await;
    let mut all = BTreeSet::new();
    for mut peer in [world.connect().await, world.signed_in("jane").await] {
        let line = peer.command("a CAPABILITY").await[0].clone();
        let words = line.strip_prefix("* CAPABILITY ").unwrap().split(' ');
        all.extend(words.map(|word| match word.split_once('=') {
            Some(("APPENDLIMIT", _)) => "APPENDLIMIT".to_owned(),
            _ => word.to_owned(),
        }));
    }
    all
}

/// Every announced word is true: a dialog names it, and shows it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_capability_has_a_dialog() {
    let dialogs = all_dialogs();
    let named: BTreeSet<String> = dialogs
        .iter()
        .flat_map(|dialog| dialog.lines())
        .filter_map(|line| line.strip_prefix("# Capabilities: "))
        .flat_map(|words| words.split(' ').map(str::to_owned))
        .collect();
    // What is different each time, or takes its time, is shown by `scram_signs_in`, `every_mechanism_signs_in_on_submission_and_imap` and
    // `a_long_search_says_how_far_it_is`.
    let mut announced = announced().await;
    for word in ["AUTH=SCRAM-SHA-256", "AUTH=SCRAM-SHA-1", "AUTH=CRAM-MD5", "INPROGRESS"] {
        assert!(announced.remove(word), "{word}");
    }
    assert_eq!(announced, named);
}

/// Every command that the parser knows is in a dialog, and one of its answers is OK.
#[test]
fn every_command_has_a_dialog() {
    let parser = include_str!("../../../libmox/imap/src/parse/mod.rs");
    let arms = |indent: &str| -> BTreeSet<String> {
        let arm = |line: &str| {
            let (name, _) = line.strip_prefix(indent)?.strip_prefix('"')?.split_once("\" =>")?;
            name.bytes().all(|b| b.is_ascii_uppercase()).then(|| name.to_owned())
        };
        let from = parser.find("fn command(").unwrap();
        parser[from..].split("\n}\n").next().unwrap().lines().filter_map(arm).collect()
    };
    let mut known = arms("        ");
    known.extend(["APPEND".into(), "REPLACE".into()]);
    assert!(known.remove("UID") && known.len() > 40, "{known:?}");
    known.extend(arms("                ").iter().map(|name| format!("UID {name}")));
    known.insert("UID REPLACE".into());
    for dialog in all_dialogs() {
        let mut sent: BTreeMap<(char, String), String> = BTreeMap::new();
        for line in dialog.lines() {
            let (who, line) = match line.as_bytes().first() {
                Some(digit @ b'0'..=b'9') => (char::from(*digit), &line[1..]),
                _ => ('1', line),
            };
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["C:", tag, "UID", name, ..] => drop(sent.insert((who, tag.into()), format!("UID {name}"))),
                ["C:", tag, name, ..] => drop(sent.insert((who, tag.into()), name.into())),
                ["S:", tag, "OK", ..] => {
                    if let Some(name) = sent.get(&(who, tag.into())) {
                        known.remove(name);
                    }
                }
                _ => {}
            }
        }
    }
    // There is no TLS in dialogs: `certificates_sign_in_without_a_password` begins it.
    assert_eq!(known, BTreeSet::from(["STARTTLS".to_owned()]));
}
