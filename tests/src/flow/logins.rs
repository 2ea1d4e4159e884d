//! Signing in with every mechanism, on the ports where people do.

use aws_lc_rs::digest::{SHA256, digest};
use libmox_sasl::scram::Hash;
use libmox_sasl::{BindingName, ClientBinding, ScramClient, Secret, cram, decode_line, encode_line, plain};
use mox_testkit::{Imap, Instance, Smtp, Spec, Tls};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// What a server said to a message of an exchange.
enum Said {
    Challenge(Vec<u8>),
    /// The reply that ended it.
    End(String),
}

/// One that runs exchanges.
trait Server {
    fn begin(&mut self, mechanism: &str, initial: Option<&[u8]>) -> Said;
    fn next(&mut self, message: &[u8]) -> Said;
    fn bindings(&self) -> [ClientBinding; 2];
}

fn bindings(line: &mox_testkit::Line) -> [ClientBinding; 2] {
    let certificate = line.certificate().unwrap();
    [
        ClientBinding::Bound(BindingName::TlsExporter, line.exporter().unwrap()),
        ClientBinding::Bound(BindingName::TlsServerEndPoint, digest(&SHA256, &certificate).as_ref().to_vec()),
    ]
}

/// RFC 4954 §4: an empty initial response is `=`.
fn spelled(message: &[u8]) -> String {
    if message.is_empty() { "=".into() } else { encode_line(message) }
}

fn smtp_said(reply: &mox_testkit::Reply) -> Said {
    match reply.code {
        334 => Said::Challenge(decode_line(reply.lines[0].as_bytes()).unwrap()),
        code => Said::End(format!("{code} {}", reply.lines.join(" "))),
    }
}

impl Server for Smtp {
    fn begin(&mut self, mechanism: &str, initial: Option<&[u8]>) -> Said {
        let initial = initial.map(|message| format!(" {}", spelled(message))).unwrap_or_default();
        smtp_said(&self.command(&format!("AUTH {mechanism}{initial}")).unwrap())
    }

    fn next(&mut self, message: &[u8]) -> Said {
        smtp_said(&self.command(&encode_line(message)).unwrap())
    }

    fn bindings(&self) -> [ClientBinding; 2] {
        bindings(&self.line)
    }
}

fn imap_said(imap: &mut Imap) -> Said {
    loop {
        let line = imap.line.expect_line().unwrap();
        if let Some(challenge) = line.strip_prefix("+ ") {
            return Said::Challenge(decode_line(challenge.as_bytes()).unwrap());
        }
        if let Some(end) = line.strip_prefix("sasl ") {
            return Said::End(end.to_owned());
        }
    }
}

impl Server for Imap {
    fn begin(&mut self, mechanism: &str, initial: Option<&[u8]>) -> Said {
        let initial = initial.map(|message| format!(" {}", spelled(message))).unwrap_or_default();
        self.line.send(format!("sasl AUTHENTICATE {mechanism}{initial}\r\n").as_bytes()).unwrap();
        imap_said(self)
    }

    fn next(&mut self, message: &[u8]) -> Said {
        self.line.send(format!("{}\r\n", encode_line(message)).as_bytes()).unwrap();
        imap_said(self)
    }

    fn bindings(&self) -> [ClientBinding; 2] {
        bindings(&self.line)
    }
}

/// Runs an exchange to its end.
#[track_caller]
fn exchange(
    server: &mut dyn Server,
    mechanism: &str,
    login: &str,
    password: &str,
    binding: &ClientBinding,
) -> String {
    let secret = Secret(password.to_owned());
    let scram = |hash| ScramClient::new(hash, login, &secret, "client".into(), binding.clone()).unwrap();
    let mut scram = match mechanism {
        name if name.starts_with("SCRAM-SHA-256") => Some(scram(Hash::Sha256)),
        name if name.starts_with("SCRAM-SHA-1") => Some(scram(Hash::Sha1)),
        _ => None,
    };
    let initial = match (mechanism, &scram) {
        ("PLAIN", _) => plain(login, &secret),
        ("EXTERNAL", _) => Some(login.as_bytes().to_vec()),
        (_, Some(client)) => Some(client.first()),
        _ => None,
    };
    let mut said = server.begin(mechanism, initial.as_deref());
    let mut round = 0;
    loop {
        let challenge = match said {
            Said::Challenge(challenge) => challenge,
            Said::End(end) => return end,
        };
        round += 1;
        let answer = match (mechanism, &mut scram, round) {
            ("LOGIN", _, 1) => login.as_bytes().to_vec(),
            ("LOGIN", ..) => password.as_bytes().to_vec(),
            ("CRAM-MD5", ..) => cram::answer(login, &secret, &challenge).into_bytes(),
            (_, Some(client), 1) => client.on_server_first(&challenge).unwrap(),
            (_, Some(client), _) => {
                client.on_server_final(&challenge).unwrap();
                Vec::new()
            }
            _ => panic!("{mechanism}: another challenge"),
        };
        said = server.next(&answer);
    }
}

const PASSWORDS: [&str; 7] =
    ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN", "LOGIN"];

/// A fresh connection of each kind under TLS.
fn servers(instance: &Instance, tls: &Tls) -> [(&'static str, Box<dyn Server>); 2] {
    let smtp = Smtp::connect(instance.address("submission")).unwrap().starttls(tls).unwrap();
    let imap = Imap::connect_tls(instance.address("imaps"), tls).unwrap();
    [("submission", Box::new(smtp)), ("imap", Box::new(imap))]
}

/// Every mechanism with every way to bind it: what the server says at the end.
fn everywhere(instance: &Instance, login: &str, password: &str, mut judge: impl FnMut(&str, &str, &str)) {
    let tls = instance.tls();
    for mechanism in PASSWORDS {
        for way in 0..2 {
            for (service, mut server) in servers(instance, &tls) {
                if (service, mechanism) == ("imap", "LOGIN") || (way == 1 && !mechanism.ends_with("-PLUS")) {
                    continue;
                }
                let binding = match mechanism.ends_with("-PLUS") {
                    true => server.bindings()[way].clone(),
                    false => ClientBinding::None,
                };
                let end = exchange(&mut *server, mechanism, login, password, &binding);
                judge(service, mechanism, &end);
            }
        }
    }
}

#[test]
fn every_mechanism_signs_in_on_submission_and_imap() {
    // Rows AU-01 to AU-04, MP-11.
    let instance = Spec::new().set("store.login-failures-per-minute=1000").start();
    let (login, password) = instance.account(0);
    everywhere(&instance, &login, &password, |service, mechanism, end| {
        assert!(end.starts_with("235 2.7.0") || end.starts_with("OK"), "{service} {mechanism}: {end}");
    });
    everywhere(&instance, &login, "not the password", |service, mechanism, end| {
        let want = if service == "imap" { "NO [AUTHENTICATIONFAILED]" } else { "535 5.7.8" };
        assert!(end.starts_with(want), "{service} {mechanism}: {end}");
    });
    // Somebody between: the bindings are not those of this connection, or -PLUS was hidden from the client.
    let tls = instance.tls();
    let other = Imap::connect_tls(instance.address("imaps"), &tls).unwrap().bindings();
    for (service, mut server) in servers(&instance, &tls) {
        for (mechanism, binding) in [
            ("SCRAM-SHA-256-PLUS", other[0].clone()),
            ("SCRAM-SHA-256", ClientBinding::NotOffered),
            ("SCRAM-SHA-1", ClientBinding::NotOffered),
        ] {
            let end = exchange(&mut *server, mechanism, &login, &password, &binding);
            assert!(end.starts_with("535") || end.starts_with("NO"), "{service} {mechanism}: {end}");
        }
        // Row AU-02: and that is said aloud.
        let warned = instance.log_text().matches("somebody may sit between").count();
        assert!(warned > 0, "{service}");
        // TR-09: the connection is as good as before.
        let end = exchange(&mut *server, "PLAIN", &login, &password, &ClientBinding::None);
        assert!(end.starts_with("235") || end.starts_with("OK"), "{service}: {end}");
    }
    // TLS 1.2 has no exporter of RFC 9266; the certificate binds there too.
    let old = Tls::old(instance.authority()).unwrap();
    for (service, mut server) in servers(&instance, &old) {
        let [_, end_point] = server.bindings();
        let end = exchange(&mut *server, "SCRAM-SHA-256-PLUS", &login, &password, &end_point);
        assert!(end.starts_with("235") || end.starts_with("OK"), "{service}: {end}");
    }
}

#[test]
fn names_in_either_form_sign_in_everywhere() {
    // Rows AU-08, TR-49: a letter of one code point or two. SCRAM wants it as it is kept, and nothing breaks.
    let instance = Spec::new()
        .account("\u{e9}va@example.test:a long secret")
        .set("store.login-failures-per-minute=1000")
        .start();
    for name in ["\u{e9}va@example.test", "e\u{301}va@example.test"] {
        everywhere(&instance, name, "a long secret", |service, mechanism, end| {
            let good = end.starts_with("235 2.7.0") || end.starts_with("OK");
            let refused = end.starts_with("535 5.7.8") || end.starts_with("NO [AUTHENTICATIONFAILED]");
            let fits = name.starts_with('\u{e9}') || !mechanism.starts_with("SCRAM");
            assert!(if fits { good } else { refused }, "{name} {service} {mechanism}: {end}");
        });
    }
}

#[test]
fn a_login_switched_off_says_so_on_every_protocol() {
    // Rows AU-12, TR-42.
    let instance = Spec::new()
        .account("you@example.test:another secret")
        .set("store.login-failures-per-minute=1000")
        .start();
    let (login, password) = instance.account(1);
    let name = instance.json(&["account", "list"]);
    let name =
        name.as_array().unwrap().iter().find(|one| one["addresses"][0] == *login).unwrap()["name"].clone();
    instance.json(&["account", "disable", name.as_str().unwrap(), "gone fishing"]);
    everywhere(&instance, &login, &password, |service, mechanism, end| {
        let want = if service == "imap" { "NO gone fishing" } else { "525 5.7.13 gone fishing" };
        assert!(end.starts_with(want), "{service} {mechanism}: {end}");
    });
    everywhere(&instance, &login, "not the password", |service, mechanism, end| {
        assert!(!end.contains("fishing"), "{service} {mechanism}: {end}");
    });
    // Mail still arrives.
    let message = super::message("a@far.test", &login, "kept");
    assert_eq!(instance.smtp().unwrap().send("a@far.test", &login, &message).unwrap().code, 250);
    instance.json(&["account", "enable", name.as_str().unwrap()]);
    super::arrived(&instance, 1, "kept");
}

fn add_key(instance: &Instance, stem: &Path, arguments: &[&str]) -> String {
    let stem_text = stem.display().to_string();
    instance.json(&["tlspubkey", "gen", &stem_text]);
    let all: Vec<&str> = ["--json", "tlspubkey", "add"].iter().chain(arguments).copied().collect();
    let out = instance.mox_reading(&all, &stem.with_extension("cert")).unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let said: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    said["fingerprint"].as_str().unwrap().to_owned()
}

#[test]
fn certificates_sign_in_without_a_password() {
    // Rows AU-05, AU-06, AU-07, SU-11, IM-41, TR-39, TM-06.
    let instance = Spec::new().account("you@example.test:another secret").start();
    let (login, password) = instance.account(0);
    let (other, other_password) = instance.account(1);
    let folder = tempfile::tempdir().unwrap();
    let [laptop, old_phone, stranger] = ["laptop", "phone", "stranger"].map(|name| folder.path().join(name));
    let fingerprint = add_key(&instance, &laptop, &[&login, "laptop"]);
    add_key(&instance, &old_phone, &[&login, "old phone", "--no-imap-preauth"]);
    instance.json(&["tlspubkey", "gen", &stranger.display().to_string()]);
    let showing = |stem: &Path| {
        let (certificate, key) = (stem.with_extension("cert"), stem.with_extension("key"));
        Tls::showing(instance.authority(), &certificate, &key).unwrap()
    };
    let keys = instance.json(&["tlspubkey", "list"]);
    assert_eq!(keys.as_array().unwrap().len(), 2);
    assert_eq!(instance.json(&["tlspubkey", "get", &fingerprint])[0]["name"], "laptop");

    // Submission needs no AUTH, on either port, each time anew.
    let laptop_tls = showing(&laptop);
    for _ in 0..2 {
        let mut smtp = Smtp::connect_tls(instance.address("submissions"), &laptop_tls).unwrap();
        assert!(!smtp.line.is_resumed());
        assert_eq!(smtp.command(&format!("MAIL FROM:<{login}>")).unwrap().code, 250);
    }
    let smtp = Smtp::connect(instance.address("submission")).unwrap();
    let mut smtp = smtp.starttls(&laptop_tls).unwrap();
    assert_eq!(smtp.command(&format!("MAIL FROM:<{login}>")).unwrap().code, 250);
    assert_eq!(smtp.command("RSET").unwrap().code, 250);
    // AUTH may follow, for the same account only.
    let none = ClientBinding::None;
    let end = exchange(&mut smtp, "PLAIN", &other, &other_password, &none);
    assert!(end.starts_with("535"), "{end}");
    assert_eq!(smtp.command(&format!("MAIL FROM:<{login}>")).unwrap().code, 250, "as before");
    assert_eq!(smtp.command("RSET").unwrap().code, 250);
    let end = exchange(&mut smtp, "SCRAM-SHA-256", &login, &password, &none);
    assert!(end.starts_with("235"), "{end}");
    let mut smtp = Smtp::connect_tls(instance.address("submissions"), &laptop_tls).unwrap();
    assert!(smtp.offered.iter().any(|line| line.contains("EXTERNAL")), "{:?}", smtp.offered);
    let end = exchange(&mut smtp, "EXTERNAL", "", "", &none);
    assert!(end.starts_with("235"), "{end}");
    let mut smtp = Smtp::connect_tls(instance.address("submissions"), &laptop_tls).unwrap();
    let end = exchange(&mut smtp, "EXTERNAL", &other, "", &none);
    assert!(end.starts_with("535"), "{end}");

    // IMAP greets with PREAUTH.
    let mut imap = Imap::connect_tls(instance.address("imaps"), &laptop_tls).unwrap();
    assert!(imap.greeting.starts_with("* PREAUTH [CAPABILITY "), "{}", imap.greeting);
    imap.select("INBOX").unwrap();
    let answer = imap.command(&format!("LOGIN {login} \"{password}\"")).unwrap();
    assert!(answer.end.starts_with("BAD"), "{answer:?}");
    // Signed out, it is still nobody else's.
    assert!(imap.command("UNAUTHENTICATE").unwrap().end.starts_with("OK"));
    assert!(imap.sign_in(&other, &other_password).is_err(), "another account");
    let end = exchange(&mut imap, "EXTERNAL", "", "", &none);
    assert!(end.starts_with("OK"), "{end}");
    // Where that is not understood, and behind STARTTLS, the client says EXTERNAL.
    let phone_tls = showing(&old_phone);
    let phone = || Imap::connect_tls(instance.address("imaps"), &phone_tls).unwrap();
    let plain = Imap::connect(instance.address("imap")).unwrap();
    for mut imap in [phone(), plain.starttls(&laptop_tls).unwrap()] {
        assert!(imap.greeting.starts_with("* OK"), "{}", imap.greeting);
        assert!(!imap.command("SELECT INBOX").unwrap().end.starts_with("OK"));
        let end = exchange(&mut imap, "EXTERNAL", "", "", &none);
        assert!(end.starts_with("OK"), "{end}");
        imap.select("INBOX").unwrap();
    }
    assert!(phone().sign_in(&other, &other_password).is_err(), "another account");
    phone().sign_in(&login, &password).unwrap();

    // Rows TM-04, SR-37: nor is there resumption on port 25, unless a setting wants it.
    let tls = instance.tls();
    for _ in 0..2 {
        assert!(!instance.smtp().unwrap().starttls(&tls).unwrap().line.is_resumed());
    }
    let resuming = Spec::new().set("smtp.tls-session-tickets=true").start();
    let tls = resuming.tls();
    for resumed in [false, true] {
        let mut smtp = resuming.smtp().unwrap().starttls(&tls).unwrap();
        assert_eq!(smtp.line.is_resumed(), resumed);
        assert_eq!(smtp.command("QUIT").unwrap().code, 221);
    }

    // A key that nobody has opens nothing, and is in nobody's way.
    let stranger_tls = showing(&stranger);
    let mut smtp = Smtp::connect_tls(instance.address("submissions"), &stranger_tls).unwrap();
    assert_eq!(smtp.command(&format!("MAIL FROM:<{login}>")).unwrap().code, 530);
    let end = exchange(&mut smtp, "PLAIN", &login, &password, &none);
    assert!(end.starts_with("235"), "{end}");
    let mut imap = Imap::connect_tls(instance.address("imaps"), &stranger_tls).unwrap();
    assert!(imap.greeting.starts_with("* OK"), "{}", imap.greeting);
    imap.sign_in(&login, &password).unwrap();

    instance.json(&["tlspubkey", "rm", &fingerprint]);
    let mut smtp = Smtp::connect_tls(instance.address("submissions"), &laptop_tls).unwrap();
    assert_eq!(smtp.command(&format!("MAIL FROM:<{login}>")).unwrap().code, 530);
}

#[test]
fn app_passwords_are_made_listed_and_removed() {
    let instance = Spec::new().start();
    let (login, _) = instance.account(0);
    let name = instance.json(&["account", "list"])[0]["name"].as_str().unwrap().to_owned();
    let add = ["apppassword", "add", &name, "phone", "--scope", "imap", "--expires-days", "30"];
    let made = instance.json(&add);
    let password = made["password"].as_str().unwrap();
    let mut imap = Imap::connect_tls(instance.address("imaps"), &instance.tls()).unwrap();
    imap.sign_in(&login, password).unwrap();
    let mut smtp = Smtp::connect_tls(instance.address("submissions"), &instance.tls()).unwrap();
    assert_eq!(smtp.sign_in(&login, password).unwrap().code, 535);
    let list = instance.json(&["apppassword", "list", &name]);
    assert_eq!(
        (&list[0]["name"], &list[0]["imap"], &list[0]["submission"]),
        (&"phone".into(), &true.into(), &false.into())
    );
    assert!(!instance.mox(&add).unwrap().status.success(), "the name is taken");
    instance.json(&["apppassword", "rm", &name, "phone"]);
    let mut imap = Imap::connect_tls(instance.address("imaps"), &instance.tls()).unwrap();
    assert!(imap.sign_in(&login, password).is_err());
}

/// Row DF-03.
#[test]
fn an_administrator_tells_mail_programs_something() {
    let instance = Spec::new().start();
    let name = instance.json(&["account", "list"])[0]["name"].as_str().unwrap().to_owned();
    instance.json(&["annotation", "set", &name, "/shared/admin", "mailto:it@example.org"]);
    instance.json(&["annotation", "set", &name, "/shared/comment", "for bills", "--mailbox", "Archive"]);
    let mut imap = instance.imap(0).unwrap();
    let told = imap.ok("GETMETADATA \"\" (DEPTH infinity) /shared").unwrap();
    assert!(
        told.untagged.iter().any(|line| line.contains("(/shared/admin \"mailto:it@example.org\")")),
        "{told:?}"
    );
    let told = imap.ok("GETMETADATA Archive /shared/comment").unwrap();
    assert!(told.untagged.iter().any(|line| line.contains("(/shared/comment \"for bills\")")), "{told:?}");
    let list = instance.json(&["annotation", "list", &name, "--mailbox", "Archive"]);
    assert_eq!((&list[0]["entry"], &list[0]["value"]), (&"/shared/comment".into(), &"for bills".into()));
    instance.json(&["annotation", "rm", &name, "/shared/comment", "--mailbox", "Archive"]);
    assert_eq!(instance.json(&["annotation", "list", &name, "--mailbox", "Archive"]), serde_json::json!([]));
    for wrong in [["nobody", "/shared/x"], [&name, "/private/x"]] {
        assert!(!instance.mox(&["annotation", "set", wrong[0], wrong[1], "x"]).unwrap().status.success());
    }
}

/// Row IM-40: a client of port 443 that asks for IMAP gets it, with everything TLS gives on port 993.
#[test]
fn a_client_of_the_web_that_asks_for_imap_gets_it() {
    let instance = Spec::new().start();
    let (login, password) = instance.account(0);
    // Who listens on port 443: looks at the first octets and hands the connection on.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let handoff = Path::new(instance.ready["run"].as_str().unwrap()).join("imap-handoff.sock");
    let web = std::thread::spawn(move || {
        for _ in 0..2 {
            let (connection, _) = listener.accept().unwrap();
            let mut hello = [0; 1024];
            let mut seen = 0;
            // RFC 8446 §4.1.2: a handshake record; the name of the protocol is in it as it is.
            while !hello[..seen].windows(5).any(|octets| octets == b"\x04imap") {
                seen = connection.peek(&mut hello).unwrap();
            }
            assert_eq!(hello[0], 0x16);
            hand_on(&handoff, &connection);
        }
    });
    let tls = instance.tls().asking_for("imap");
    let mut imap = Imap::connect_tls(address, &tls).unwrap();
    assert_eq!(imap.line.protocol().as_deref(), Some("imap"));
    assert!(imap.greeting.contains("AUTH=SCRAM-SHA-256-PLUS"), "{}", imap.greeting);
    let [exporter, _] = imap.bindings();
    let end = exchange(&mut imap, "SCRAM-SHA-256-PLUS", &login, &password, &exporter);
    assert!(end.starts_with("OK"), "{end}");
    assert_eq!(imap.select("INBOX").unwrap(), 0);
    let mut other = Imap::connect_tls(address, &tls).unwrap();
    other.sign_in(&login, &password).unwrap();
    web.join().unwrap();
    // On port 993 the name is told to who asks for it; who asks for another is served as before.
    for (asked, said) in [("imap", Some("imap")), ("pop3", None)] {
        let tls = instance.tls().asking_for(asked);
        let imap = Imap::connect_tls(instance.address("imaps"), &tls).unwrap();
        assert_eq!(imap.line.protocol().as_deref(), said);
    }
    instance.check();
}

/// Row SU-02: the same for submission; the clients of standard ports are told the name, too.
#[test]
fn a_client_of_the_web_that_asks_for_smtp_submits() {
    let instance = Spec::new().start();
    let (login, password) = instance.account(0);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let handoff = Path::new(instance.ready["run"].as_str().unwrap()).join("submission-handoff.sock");
    let web = std::thread::spawn(move || {
        let (connection, _) = listener.accept().unwrap();
        let mut hello = [0; 1024];
        let mut seen = 0;
        while !hello[..seen].windows(5).any(|octets| octets == b"\x04smtp") {
            seen = connection.peek(&mut hello).unwrap();
        }
        hand_on(&handoff, &connection);
    });
    let tls = instance.tls().asking_for("smtp");
    let mut smtp = Smtp::connect_tls(address, &tls).unwrap();
    assert_eq!(smtp.line.protocol().as_deref(), Some("smtp"));
    assert!(!smtp.offered.iter().any(|word| word == "STARTTLS"), "{:?}", smtp.offered);
    let refused = smtp.command("MAIL FROM:<mox@localhost>").unwrap();
    assert_eq!(refused.code, 530, "{refused:?}");
    let [exporter, _] = smtp.bindings();
    let end = exchange(&mut smtp, "SCRAM-SHA-256-PLUS", &login, &password, &exporter);
    assert!(end.starts_with("235"), "{end}");
    let message = format!("From: <{login}>\r\nTo: <{login}>\r\nSubject: web\r\n\r\nx\r\n");
    assert_eq!(smtp.send(&login, &login, &message).unwrap().code, 250);
    super::arrived(&instance, 0, "web");
    web.join().unwrap();
    let other = Smtp::connect_tls(instance.address("submissions"), &tls).unwrap();
    assert_eq!(other.line.protocol().as_deref(), Some("smtp"));
    instance.check();
}

/// As `mox-imap-handoff.socket` wants it: one octet and the connection.
fn hand_on(to: &Path, connection: &TcpStream) {
    let stream = UnixStream::connect(to).unwrap();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors = [connection.as_fd()];
    assert!(ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)));
    sendmsg(&stream, &[IoSlice::new(b"T")], &mut ancillary, SendFlags::empty()).unwrap();
}
