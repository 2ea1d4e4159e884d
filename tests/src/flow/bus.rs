//! The control plane: what administrators ask, what services show of themselves, and mail without it.

use super::{arrived, message};
use mox_testkit::{Instance, Spec, repository, wait_for};
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

const SERVICES: [&str; 8] =
    ["Store1", "Keys1", "Verify1", "Smtp1", "Submission1", "Imap1", "Queue1", "Admin1"];
/// Until an administrator must have an answer, also when the service has to be started for it.
const ANSWER: Duration = Duration::from_secs(5);

#[test]
fn administrators_get_json() {
    let instance = Spec::new().account("you@example.test:another secret").start();
    let status = instance.json(&["status"]);
    assert_eq!(status["accounts"], 2, "{status}");
    assert_eq!(status["queued"], 0, "{status}");
    let accounts = instance.json(&["account", "list"]);
    assert_eq!(accounts[0]["name"], "mox");
    assert_eq!(accounts[1]["addresses"][0], "you@example.test");
    assert_eq!(accounts[1]["has_password"], true);

    // Held, so that it stays where it can be seen.
    instance.json(&["service", "stop", "queue"]);
    let (me, _) = instance.account(0);
    let reply = instance
        .submission(0)
        .unwrap()
        .send(
            &me,
            "nobody-permerror@elsewhere.test",
            &message(&me, "nobody-permerror@elsewhere.test", "waits"),
        )
        .unwrap();
    assert_eq!(reply.code, 250, "{reply:?}");
    arrived(&instance, 0, "mail delivery failed");
    assert_eq!(instance.json(&["queue", "list"]).as_array().unwrap().len(), 0);
    for service in ["smtp", "mox-imap"] {
        let shown = instance.json(&["service", "show", service]);
        assert_eq!(shown["state"], "running", "{shown}");
        assert_eq!(shown["log_level"], "debug", "{shown}");
    }
    instance.json(&["service", "loglevel", "smtp", "warn"]);
    assert_eq!(instance.json(&["service", "show", "smtp"])["log_level"], "warn");
    instance.json(&["service", "reload", "smtp"]);

    instance.json(&["account", "disable", "you", "gone fishing"]);
    assert!(instance.imap(1).is_err(), "a disabled account signs in");
    instance.json(&["account", "enable", "you"]);
    instance.imap(1).unwrap();
    for wrong in [
        &["account", "add", "you", "you2@example.test"][..],
        &["account", "rm", "--yes", "nobody"],
        &["address", "add", "no address", "you"],
        &["domain", "rm", "example.test"],
        &["domain", "rm", "nowhere.test"],
        &["service", "loglevel", "smtp", "loud"],
        &["service", "show", "nonsense"],
    ] {
        let out = instance.mox(wrong).unwrap();
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(!out.status.success() && said.starts_with("mox: "), "{wrong:?}: {said}");
    }
    instance.check();
}

/// Rows MA-02, TR-27.
#[test]
fn lookups_are_counted_and_shown() {
    // Nobody listens there.
    let instance = Spec::new().set("dns.servers=[\"127.0.0.1:9\"]").set("dns.timeout=100ms").start();
    let count = |package: &str, result: &str| {
        let shown = instance.json(&["service", "show", "admin"]);
        let name = format!("mox_dns_lookups_total{{package=\"{package}\",result=\"{result}\"}}");
        shown["metrics"][&name].as_u64().unwrap_or_else(|| panic!("{name} is missing: {shown}"))
    };
    for package in ["spf", "dkim", "dmarc", "arc", "iprev", "dnsbl", "sender", "queue", "check"] {
        for result in ["found", "no-records", "no-name", "failed", "bogus"] {
            assert_eq!(count(package, result), 0, "{package} {result}");
        }
    }
    let _ = instance.mox(&["config", "dnscheck", "localhost"]).unwrap();
    // What is below localhost the resolver knows by itself; whatever it says is counted.
    let results = ["found", "no-records", "no-name", "failed", "bogus"];
    assert!(results.iter().map(|result| count("check", result)).sum::<u64>() > 0);
    assert_eq!(results.map(|result| count("spf", result)), [0; 5]);
    instance.check();
}

/// Row MA-23: what block lists say about our own address is shown, and known to the next process. Here none works.
#[test]
fn block_lists_are_watched_for_our_own_addresses() {
    let instance = Spec::new()
        .set("localserve=false")
        .set("dns.servers=[\"127.0.0.1:9\"]")
        .set("dns.timeout=100ms")
        .set("smtp.dns-lists=[\"one.test\"]")
        .set("queue.monitor-dns-lists=[\"other.test\"]")
        .start();
    let file = instance.dir().join("config/mox.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let listener = "[listeners.public]\naddresses = [\"192.0.2.7\", \"127.0.0.1\"]\n";
    std::fs::write(&file, format!("{text}\n{listener}")).unwrap();
    instance.json(&["service", "reload", "queue"]);
    let states = || {
        let shown = instance.json(&["service", "show", "queue"]);
        let metrics = shown["metrics"].as_object().unwrap().clone();
        let states: Vec<(String, u64)> = metrics
            .into_iter()
            .filter(|(name, _)| name.starts_with("mox_dnsbl_ips_success"))
            .map(|(name, value)| (name, value.as_u64().unwrap()))
            .collect();
        (!states.is_empty()).then_some(states)
    };
    let wait = Duration::from_secs(20);
    let first = wait_for("what block lists say", wait, states);
    let name = |zone: &str| format!("mox_dnsbl_ips_success{{zone=\"{zone}\",ip=\"192.0.2.7\"}}");
    assert_eq!(first, [(name("one.test"), 0), (name("other.test"), 0)]);
    // The next one has it from the store.
    instance.json(&["service", "stop", "queue"]);
    wait_for("the end of mox-queue", wait, || {
        (!instance.services().iter().any(|(service, _)| service == "mox-queue")).then_some(())
    });
    assert_eq!(wait_for("what block lists said", wait, states), first);
    instance.check();
}

#[test]
fn an_administrator_reads_an_account_without_its_password() {
    // Rows CL-15, IM-42.
    let instance = Spec::new().account("you@example.test:another secret").start();
    instance.imap(1).unwrap().ok("CREATE theirs").unwrap();
    instance.json(&["account", "disable", "you", "gone fishing"]);
    let said = "a LIST \"\" theirs\r\nb CAPABILITY\r\nc LOGIN x y\r\nd STARTTLS\r\ne LOGOUT\r\n";
    for account in ["you@example.test", "you"] {
        let out = instance.mox_with(&["admin", "imapserve", account], said).unwrap();
        let heard = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(out.status.success(), "{heard}{}", String::from_utf8_lossy(&out.stderr));
        assert!(heard.starts_with("* PREAUTH [CAPABILITY IMAP4rev2 "), "{heard}");
        for want in [
            "* LIST (\\HasNoChildren) \"/\" theirs\r\na OK ",
            "c BAD already logged in",
            "d BAD not possible now",
            "* BYE logging out\r\ne OK ",
        ] {
            assert!(heard.contains(want), "{want} is missing in {heard}");
        }
        assert!(!heard.contains("AUTH="), "{heard}");
    }
    let out = instance.mox_with(&["admin", "imapserve", "nobody@example.test"], said).unwrap();
    assert!(!out.status.success() && out.stdout.is_empty(), "{out:?}");
    assert!(instance.imap(1).is_err(), "a disabled account signs in");
    instance.check();
}

#[test]
fn the_first_call_is_answered_soon() {
    let instance = Spec::new().start();
    for round in 0..30 {
        for command in [&["status"][..], &["service", "stop", "admin"]] {
            let start = Instant::now();
            let out = instance.mox(command).unwrap();
            let took = start.elapsed();
            let said = String::from_utf8_lossy(&out.stderr).into_owned();
            assert!(out.status.success(), "round {round}: {command:?} after {took:?}: {said}");
            assert!(took < ANSWER, "round {round}: {command:?} took {took:?}");
        }
    }
}

#[test]
fn mail_goes_on_while_the_bus_hangs() {
    let instance = Spec::new().start();
    let (me, _) = instance.account(0);
    assert!(instance.signal_bus(Signal::STOP));
    // Fresh processes, which find a bus that takes connections and never answers.
    for (service, _) in instance.services() {
        assert!(instance.kill(&service));
    }
    let reply = instance.smtp().unwrap().send("a@far.test", &me, &message("a@far.test", &me, "in")).unwrap();
    assert_eq!(reply.code, 250, "{reply:?}");
    let reply = instance.submission(0).unwrap().send(&me, &me, &message(&me, &me, "out")).unwrap();
    assert_eq!(reply.code, 250, "{reply:?}");
    arrived(&instance, 0, "in");
    arrived(&instance, 0, "out");
    assert!(instance.signal_bus(Signal::CONT));
    instance.check();
}

/// A member of an interface as one line: `method List(in after t, in most u, out - a(...))`.
type Members = BTreeSet<String>;

/// The members of one interface in introspection XML. A reader for our own files and for what zbus writes: tags and
/// attributes, comments left out.
fn members(xml: &str, interface: &str) -> Members {
    let (mut found, mut inside, mut open) = (Members::new(), false, None::<String>);
    let mut rest = xml;
    while let Some(start) = rest.find('<') {
        rest = &rest[start..];
        if let Some(comment) = rest.strip_prefix("<!--") {
            rest = comment.split_once("-->").map_or("", |(_, after)| after);
            continue;
        }
        let Some(end) = rest.find('>') else { break };
        let tag = &rest[1..end];
        rest = &rest[end + 1..];
        let attribute = |name: &str| {
            let value = tag.split_once(&format!(" {name}=\""))?.1;
            value.split_once('"').map(|(value, _)| value.to_owned())
        };
        let text = |name: &str| attribute(name).unwrap_or_else(|| "-".into());
        let word = tag.split([' ', '\n', '/']).next().unwrap_or_default();
        match word {
            "interface" => inside = text("name") == interface,
            _ if !inside => {}
            "method" | "signal" => {
                let line = format!("{word} {}(", text("name"));
                if tag.ends_with('/') {
                    found.insert(line + ")");
                } else {
                    open = Some(line);
                }
            }
            "arg" => {
                if let Some(line) = &mut open {
                    line.push_str(&format!("{} {} {},", text("direction"), text("name"), text("type")));
                }
            }
            "property" => {
                found.insert(format!("property {} {} {}", text("name"), text("type"), text("access")));
            }
            _ => {}
        }
        if matches!(tag, "/method" | "/signal")
            && let Some(line) = open.take()
        {
            found.insert(line + ")");
        }
        if tag == "/interface" {
            inside = false;
        }
    }
    found
}

fn introspected(instance: &Instance, name: &str) -> String {
    let address = instance.ready["bus"].as_str().unwrap().to_owned();
    let destination = format!("org.libmox.{name}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let connection = zbus::connection::Builder::address(&*address).build().await.unwrap();
        let reply = connection
            .call_method(
                Some(&*destination),
                "/org/libmox",
                Some("org.freedesktop.DBus.Introspectable"),
                "Introspect",
                &(),
            )
            .await
            .unwrap();
        reply.body().deserialize::<String>().unwrap()
    })
}

#[test]
fn interfaces_are_what_their_files_say() {
    let file = |name: &str| {
        let path = repository().join(format!("dbus/interfaces/org.libmox.{name}.xml"));
        members(&std::fs::read_to_string(path).unwrap(), &format!("org.libmox.{name}"))
    };
    let instance = Spec::new().start();
    let service = file("Service1");
    assert!(
        service.contains("method Stop()") && service.contains("property Connections u read"),
        "{service:?}"
    );
    for name in SERVICES {
        let live = introspected(&instance, name);
        assert_eq!(members(&live, "org.libmox.Service1"), service, "{name}");
        if ["Queue1", "Admin1", "Imap1"].contains(&name) {
            let own = file(name);
            assert!(!own.is_empty(), "{own:?}");
            assert_eq!(members(&live, &format!("org.libmox.{name}")), own);
        }
    }
}

#[test]
fn a_changed_interface_is_seen() {
    let one = r#"<node><interface name="a.B1"><!-- <method name="No"/> --><method name="Do"><arg name="x" type="s" direction="in"/></method></interface></node>"#;
    let all = members(one, "a.B1");
    assert_eq!(all, Members::from(["method Do(in x s,)".to_owned()]));
    assert_ne!(all, members(&one.replace("type=\"s\"", "type=\"u\""), "a.B1"));
    assert_ne!(all, members(&one.replace("\"in\"", "\"out\""), "a.B1"));
    assert!(members(one, "a.B2").is_empty());
}
