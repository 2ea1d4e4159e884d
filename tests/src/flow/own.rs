//! What people do about their own account, with its password.

use super::{arrived, message};
use mox_testkit::{Imap, Instance, Spec};
use serde_json::Value;

fn own(instance: &Instance, arguments: &[&str], input: &str) -> Result<Value, String> {
    let mut all = vec!["--json", "own"];
    all.extend(arguments);
    let out = instance.mox_with(&all, input).unwrap();
    match out.status.success() {
        true => Ok(serde_json::from_slice(&out.stdout).unwrap_or_default()),
        false => Err(String::from_utf8_lossy(&out.stderr).into_owned()),
    }
}

/// Row AU-19: a new account gets passwords that are made, older ones may choose.
#[test]
fn people_have_a_password_made_and_choose_one_where_they_may() {
    let instance = Spec::new().account("first@example.test:a long secret").start();
    instance.json(&["account", "add", "ann", "ann@example.test"]);
    assert!(instance.mox_with(&["setaccountpassword", "ann"], "first secret\n").unwrap().status.success());
    let ann = |arguments: &[&str], input: &str| own(&instance, arguments, input);
    let signs_in = |password: &str| {
        let mut imap = Imap::connect_tls(instance.address("imaps"), &instance.tls()).unwrap();
        imap.sign_in("ann@example.test", password).is_ok()
    };
    let refused = ann(&["password", "ann@example.test"], "wrong secret\n").unwrap_err();
    assert!(refused.contains("wrong address or password"), "{refused}");
    let refused =
        ann(&["password", "--choose", "ann@example.test"], "first secret\nanother secret\n").unwrap_err();
    assert!(refused.contains("cannot choose"), "{refused}");
    assert!(signs_in("first secret"));
    let made = ann(&["password", "ann@example.test"], "first secret\n").unwrap();
    let made = made["password"].as_str().unwrap();
    assert_eq!(made.len(), 12);
    assert!(signs_in(made) && !signs_in("first secret"));
    // An app password is for its program, not for this.
    let app = instance.json(&["apppassword", "add", "ann", "phone"]);
    let app = format!("{}\n", app["password"].as_str().unwrap());
    assert!(ann(&["password", "ann@example.test"], &app).unwrap_err().contains("wrong address or password"));
    // Where the account does not say so.
    let (first, password) = instance.account(0);
    let input = format!("{password}\nanother secret\n");
    own(&instance, &["password", "--choose", &first], &input).unwrap();
    let refused = own(&instance, &["lists", &first], &format!("{password}\n")).unwrap_err();
    assert!(refused.contains("wrong address or password"), "{refused}");
    assert_eq!(own(&instance, &["lists", &first], "another secret\n").unwrap(), Value::Array(vec![]));
}

/// Row SR-14: who is on a list is told to its members where it says so, and they send as it where it says so.
#[test]
fn members_see_who_is_on_a_list_and_write_as_it() {
    let instance = Spec::new().account("ann@example.test:a long secret").start();
    let ((first, password), (ann, _)) = (instance.account(0), instance.account(1));
    let team = "team@example.test";
    instance.json(&["alias", "add", team, &ann, &first]);
    let lists = |who: &str, password: &str| {
        own(&instance, &["lists", who], &format!("{password}\n")).unwrap()[0].clone()
    };
    let seen = lists(&ann, "a long secret");
    assert_eq!((&seen["address"], &seen["members"]), (&team.into(), &serde_json::json!([ann])));
    instance.json(&["alias", "update", team, "--list-members", "true"]);
    for (who, password) in [(ann.as_str(), "a long secret"), (&first, &password)] {
        let seen = lists(who, password);
        assert_eq!(seen["members"], serde_json::json!([ann, first]));
        assert_eq!((&seen["post_public"], &seen["allow_msg_from"]), (&true.into(), &false.into()));
    }
    let send = |subject: &str| {
        let mut smtp = instance.submission(1).unwrap();
        smtp.send(team, &first, &message(team, &first, subject)).unwrap().code
    };
    assert_eq!(send("too early"), 550);
    instance.json(&["alias", "update", team, "--allow-msg-from", "true"]);
    assert_eq!(lists(&ann, "a long secret")["allow_msg_from"], true);
    assert_eq!(send("as the list"), 250);
    arrived(&instance, 0, "as the list");
    instance.check();
}

/// Rows AU-20, TR-19: a password is set while people are signed in; they stay, and the old one opens nothing any more.
#[test]
fn a_password_is_set_while_sessions_are_open() {
    let instance = Spec::new().set("store.login-failures-per-minute=1000").start();
    let (login, password) = instance.account(0);
    let name = instance.json(&["account", "list"])[0]["name"].as_str().unwrap().to_owned();
    let mut imap = instance.imap(0).unwrap();
    imap.select("INBOX").unwrap();
    let mut smtp = instance.submission(0).unwrap();
    let begun = std::time::Instant::now();
    let set = instance.mox_with(&["setaccountpassword", &name], "another secret\n").unwrap();
    assert!(set.status.success(), "{}", String::from_utf8_lossy(&set.stderr));
    assert!(begun.elapsed() < std::time::Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(smtp.send(&login, &login, &message(&login, &login, "still here")).unwrap().code, 250);
    assert!(imap.select("INBOX").is_ok());
    let signs_in = |password: &str| {
        let mut imap = Imap::connect_tls(instance.address("imaps"), &instance.tls()).unwrap();
        imap.sign_in(&login, password).is_ok()
    };
    assert!(signs_in("another secret") && !signs_in(&password));
    // Row TR-20: by the name of an account only.
    let by_address = instance.mox_with(&["setaccountpassword", &login], "a third secret\n").unwrap();
    assert!(!by_address.status.success());
    instance.check();
}
