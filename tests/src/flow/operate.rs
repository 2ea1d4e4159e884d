//! Backup, restore and repairs as an administrator does them, with the commands people type.

use super::{arrived, message};
use mox_testkit::Spec;

#[test]
fn a_backup_made_under_way_is_checked_and_restored() {
    let place = tempfile::tempdir().unwrap();
    let (first, second) = (place.path().join("first"), place.path().join("second"));
    let home = place.path().join("home");
    let path = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let instance = Spec::new().dir(&home).start();
    let (me, _) = instance.account(0);
    for subject in ["one", "two"] {
        let mail = message(&me, &me, subject);
        assert_eq!(instance.submission(0).unwrap().send(&me, &me, &mail).unwrap().code, 250);
        arrived(&instance, 0, subject);
    }
    let done = instance.json(&["backup", &path(&first)]);
    assert!(done["files"].as_u64().unwrap() >= 2, "{done}");
    assert!(done["warning"].is_null(), "{done}");
    assert!(first.join("config/mox.toml").exists());
    let again = instance.mox(&["backup", &path(&first)]).unwrap();
    assert!(!again.status.success(), "a folder that is not empty");
    let mail = message(&me, &me, "three");
    assert_eq!(instance.submission(0).unwrap().send(&me, &me, &mail).unwrap().code, 250);
    arrived(&instance, 0, "three");
    let done = instance.json(&["backup", &path(&second), "--since", &path(&first)]);
    assert!(done["linked"].as_u64().unwrap() >= 2, "{done}");
    assert_eq!(instance.json(&["verifydata", &path(&second)]).as_array().unwrap().len(), 0);

    // Repairs: nothing is wrong here, so only the one that always does something does.
    for repair in ["fixuidmeta", "fixmsgsize", "recalculatemailboxcounts", "ensureparsed"] {
        let said = instance.json(&[repair]);
        assert_eq!(said["done"].as_array().unwrap().len(), 0, "{said}");
    }
    let dry = instance.json(&["bumpuidvalidity", "mox", "--dry-run"]);
    let said = instance.json(&["bumpuidvalidity", "mox"]);
    assert!(!said["done"].as_array().unwrap().is_empty(), "{said}");
    assert_eq!(dry["done"], said["done"], "a dry run changed nothing");
    assert!(!instance.mox(&["reassignuids", "nobody"]).unwrap().status.success());
    instance.check();
    assert!(instance.stop());

    // A stopped store's own folder can be looked at, too.
    let data = home.join("state/mox-store");
    let data = if data.exists() { data } else { find_data(&home) };
    let restored = place.path().join("restored");
    let mox = mox_testkit::binaries().join("mox");
    let run = |arguments: &[&str]| std::process::Command::new(&mox).args(arguments).output().unwrap();
    assert!(run(&["verifydata", &path(&data)]).status.success());
    let out = run(&["restore", &path(&second), &path(&restored)]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert!(!run(&["restore", &path(&second), &path(&data)]).status.success(), "not empty");
    std::fs::remove_dir_all(&data).unwrap();
    std::fs::rename(&restored, &data).unwrap();
    let instance = Spec::new().dir(&home).start();
    for subject in ["one", "two", "three"] {
        arrived(&instance, 0, subject);
    }
    instance.check();
    assert!(instance.stop());
}

/// Row CL-13: what the parser makes of a message in a file.
#[test]
fn a_message_in_a_file_is_shown_in_its_parts() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("message");
    let text = "From: A <a@x.example>\r\nSubject: Re: hello\r\nMessage-ID: <One@x.example>\r\n\
        Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nfirst\r\n--b\r\n\
        Content-Type: text/html; charset=utf-8\r\n\r\n<p>second</p>\r\n--b--\r\n";
    std::fs::write(&file, text).unwrap();
    let mox = mox_testkit::binaries().join("mox");
    let run = |file: &std::path::Path| {
        std::process::Command::new(&mox).args(["message", "parse"]).arg(file).output().unwrap()
    };
    let found: serde_json::Value = serde_json::from_slice(&run(&file).stdout).unwrap();
    assert_eq!(found["message_id"], "one@x.example", "{found}");
    assert_eq!(found["base_subject"], "hello", "{found}");
    assert_eq!(found["structure"]["type"], "multipart/mixed", "{found}");
    let second = &found["structure"]["parts"][1];
    assert_eq!((&second["type"], &second["params"]["charset"]), (&"text/html".into(), &"utf-8".into()));
    let (from, to) = (second["body_start"].as_u64().unwrap(), second["body_end"].as_u64().unwrap());
    let body = &text[usize::try_from(from).unwrap()..usize::try_from(to).unwrap()];
    assert_eq!(body, "<p>second</p>", "the places are those in the file");
    assert!(!run(&place.path().join("missing")).status.success());
}

fn find_data(home: &std::path::Path) -> std::path::PathBuf {
    let mut open = vec![home.to_owned()];
    while let Some(folder) = open.pop() {
        if folder.join("journal").is_dir() {
            return folder;
        }
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            if entry.path().is_dir() {
                open.push(entry.path());
            }
        }
    }
    panic!("no data folder below {}", home.display())
}
