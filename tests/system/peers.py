#!/usr/bin/env python3
"""Programs of others against ours: mox on one booted host, Postfix and mail clients on another.

usage: peers.py [name ...]   runs all tests in order, or only those named (the set-up always runs)
Prints "system: name ok" for each. Leaves the work folder behind on failure.
"""
import sys

from hosts import DNS, image, packages, run_tests
from main import RATES, World

CLIENTS = "postfix,msmtp,gsasl,python3,libsasl2-modules"
POSTFIX = """compatibility_level = 3.6
myhostname = mail.h2.test
mydomain = h2.test
mydestination = h2.test, mail.h2.test, localhost
mynetworks = 127.0.0.0/8
inet_interfaces = all
inet_protocols = ipv4
smtpd_tls_cert_file = /root/peer.pem
smtpd_tls_key_file = /root/peer.key
smtpd_tls_security_level = {inbound}
smtp_tls_security_level = {outbound}
smtp_tls_loglevel = 1
smtpd_tls_loglevel = 1
maximal_backoff_time = 5s
minimal_backoff_time = 2s
queue_run_delay = 2s
"""


def hosts_boot(w):
    w.anchor = w.link.make_key()
    w.link.serve([])
    w.a = w.host("h1", "192.0.2.1")
    w.b = w.peer("h2", "192.0.2.2", image(CLIENTS))
    w.a.run("apt-get install -y --no-install-recommends /packages/*.deb 2>&1")
    result = w.a.json("mox --json quickstart you@h1.test --hostname mail.h1.test --ip 192.0.2.1 --skipdial")
    w.a.login, w.a.password = result["login"], result["password"]
    w.a.write("/etc/mox/root.key", w.anchor)
    w.a.run("chmod 644 /etc/mox/root.key; chown mox-admin:mox /etc/mox/root.key")
    toml = open(f"{w.a.root}/etc/mox/mox.toml").read()
    w.a.write("/etc/mox/mox.toml", toml + f"\n[dns]\nservers = [\"{DNS}\"]\ntrust-anchor = \"/etc/mox/root.key\"\n"
              "[queue]\nfirst-retry = \"2s\"\n" + RATES)
    w.a.run("mox config test; systemctl try-restart 'mox-*.service'")
    records = [line for block in result["records"] for line in block.splitlines() if not line.startswith(";")]
    for number, name in ((1, "h1"), (2, "h2")):
        records += [f"mail.{name}.test. 60 A 192.0.2.{number}", f"{name}.test. 60 A 192.0.2.{number}",
                    f"{number}.2.0.192.in-addr.arpa. 60 PTR mail.{name}.test."]
    records += ["h2.test. 60 MX 10 mail.h2.test.", "h2.test. 60 TXT \"v=spf1 mx -all\""]
    w.link.serve(records)
    w.b.run("useradd -m joe; openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=mail.h2.test"
            " -keyout /root/peer.key -out /root/peer.pem 2>&1")
    postfix(w, "may", "may")


def postfix(w, inbound, outbound):
    w.b.write("/etc/postfix/main.cf", POSTFIX.format(inbound=inbound, outbound=outbound))
    w.b.run("newaliases; systemctl restart postfix 2>&1; sleep 1; ss -Hltn | grep -q ':25 '")


def mailbox(w, words, seconds=30):
    """The mail of joe once these words are in it."""
    for _ in range(seconds * 5):
        text = w.b.run("cat /var/mail/joe 2>/dev/null || true")
        if words in text:
            return text
        w.b.run("sleep 0.2")
    raise AssertionError(f"{words} did not come:\n" + w.b.run("journalctl -u 'postfix*' -n 40 --no-pager"))


def submit(w, to, subject, more=""):
    return w.a.run(f"swaks --server 192.0.2.1:587 -tls --auth PLAIN --auth-user {w.a.login} --auth-password '{w.a.password}' "
                   f"--from you@h1.test --to {to} --header 'Subject: {subject}' --body hello {more} 2>&1")


def postfix_delivers_to_us_with_and_without_tls(w):
    for level in ("encrypt", "none"):
        postfix(w, "may", level)
        subject = f"from postfix {level}"
        w.b.run(f"printf 'From: joe@h2.test\\nTo: you@h1.test\\nSubject: {subject}\\n\\nhello\\n' | sendmail -f joe@h2.test you@h1.test")
        text = " ".join(w.a.fetch(w.a.wait_for(f"SUBJECT \"{subject}\"")[0]).split())
        assert ("with ESMTPS " in text) == (level == "encrypt"), text
        assert "spf=pass" in text, text


def postfix_takes_from_us_with_and_without_tls(w):
    for level in ("may", "none"):
        postfix(w, level, "may")
        submit(w, "joe@h2.test", f"to postfix {level}")
        text = mailbox(w, f"Subject: to postfix {level}")
        last = text[text.rindex("From you@h1.test"):]
        # Our own trace field below it says ESMTPSA.
        theirs = " ".join(last.split("DKIM-Signature:")[0].split())
        assert ("with ESMTPS " in theirs) == (level == "may"), last
        assert "DKIM-Signature:" in last, last


def postfix_takes_over_reports_of_success(w):
    postfix(w, "may", "may")
    # Postfix knows DSN: it tells what became of the message, with the names we passed on.
    script = f"""
import smtplib, ssl
smtp = smtplib.SMTP("192.0.2.1", 587)
context = ssl.create_default_context(); context.check_hostname = False; context.verify_mode = ssl.CERT_NONE
smtp.starttls(context=context)
smtp.login({w.a.login!r}, {w.a.password!r})
smtp.sendmail({w.a.login!r}, ["joe@h2.test"], "From: you@h1.test\\nSubject: tell me\\n\\nhello\\n",
              mail_options=["RET=HDRS", "ENVID=number7"], rcpt_options=["NOTIFY=SUCCESS,FAILURE"])
"""
    w.a.write("/root/dsn.py", script)
    w.b.write("/root/dsn.py", script)
    w.b.run("python3 /root/dsn.py")
    mailbox(w, "Subject: tell me")
    text = w.a.fetch(w.a.wait_for("SUBJECT \"Successful Mail Delivery Report\"")[0])
    assert "Action: delivered" in text and "Original-Envelope-Id: number7" in text, text


def a_refusal_of_postfix_comes_back_whole(w):
    submit(w, "nosuchuser@h2.test", "into the void")
    text = w.a.fetch(w.a.wait_for("BODY \"nosuchuser@h2.test\"")[0])
    assert "Diagnostic-Code: smtp; 550 5.1.1" in " ".join(text.split()), text


def swaks_signs_in_with_each_mechanism(w):
    for mechanism in ("PLAIN", "LOGIN", "CRAM-MD5"):
        out = w.b.run(f"swaks --server 192.0.2.1:465 --tls-on-connect --auth {mechanism} --auth-user {w.a.login} "
                      f"--auth-password '{w.a.password}' --from you@h1.test --to you@h1.test --header 'Subject: swaks {mechanism}' 2>&1")
        assert "235 2.7.0" in out and "250 2.0.0" in out, out
        w.a.wait_for(f"SUBJECT \"swaks {mechanism}\"")


def msmtp_signs_in_with_each_mechanism(w):
    for method in ("plain", "login", "cram-md5", "scram-sha-1", "scram-sha-256"):
        w.b.run(f"printf 'From: you@h1.test\\nSubject: msmtp {method}\\n\\nhello\\n' | msmtp --host=192.0.2.1 --port=587 --tls=on "
                f"--tls-certcheck=off --auth={method} --user={w.a.login} --passwordeval='echo {w.a.password}' -f you@h1.test you@h1.test 2>&1")
        w.a.wait_for(f"SUBJECT \"msmtp {method}\"")


def curl_signs_in_over_smtp_and_imap(w):
    w.b.write("/root/mail.txt", "From: you@h1.test\r\nSubject: curl\r\n\r\nhello\r\n")
    # Debian's curl knows no SCRAM.
    for mechanism in ("PLAIN", "LOGIN", "CRAM-MD5"):
        w.b.run(f"curl -sS -k smtps://192.0.2.1/h2.test --user '{w.a.login}:{w.a.password}' --login-options AUTH={mechanism} "
                "--mail-from you@h1.test --mail-rcpt you@h1.test -T /root/mail.txt 2>&1")
        if mechanism != "LOGIN":
            w.b.run(f"curl -sS -k imaps://192.0.2.1/ --user '{w.a.login}:{w.a.password}' --login-options AUTH={mechanism} 2>&1")
    w.a.wait_for("SUBJECT curl", count=3)


def pythons_smtplib_and_imaplib_sign_in(w):
    w.b.write("/root/login.py", f"""
import imaplib, smtplib, ssl
context = ssl.create_default_context(); context.check_hostname = False; context.verify_mode = ssl.CERT_NONE
user, password = {w.a.login!r}, {w.a.password!r}
for name in ("auth_cram_md5", "auth_plain", "auth_login"):
    with smtplib.SMTP_SSL("192.0.2.1", 465, context=context) as smtp:
        smtp.ehlo()
        smtp.user, smtp.password = user, password
        code, _ = smtp.auth(name.removeprefix("auth_").upper().replace("_", "-"), getattr(smtp, name))
        assert code == 235, (name, code)
for how in ("login", "login_cram_md5"):
    imap = imaplib.IMAP4_SSL("192.0.2.1", 993, ssl_context=context)
    getattr(imap, how)(user, password)
    assert imap.select()[0] == "OK"
    imap.logout()
""")
    w.b.run("python3 /root/login.py")


def gsasl_binds_to_the_channel(w):
    for mechanism in ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN"):
        for service, port in (("imap", 143), ("smtp", 587)):
            # It refuses by itself to go without a binding it could have.
            unbound = "" if mechanism.endswith("-PLUS") else "--no-cb"
            out = w.b.run(f"gsasl {unbound} --{service} --mechanism={mechanism} --authentication-id={w.a.login} "
                          f"--password='{w.a.password}' --x509-ca-file= 192.0.2.1 {port} </dev/null 2>&1", check=False)
            good = "OK" in out.split("AUTHENTICATE")[-1] if service == "imap" else "235 2.7.0" in out
            assert good, f"{service} {mechanism}:\n{out}"


def openssl_signs_in_with_a_certificate(w):
    w.a.run("cd /root && mox tlspubkey gen client && mox tlspubkey add you@h1.test client < client.cert")
    for name in ("client.cert", "client.key"):
        w.b.write(f"/root/{name}", open(f"{w.a.root}/root/{name}").read())
    out = w.b.run("(sleep 1; printf 'a SELECT INBOX\\r\\nb LOGOUT\\r\\n'; sleep 1) | openssl s_client -quiet -cert /root/client.cert "
                  "-key /root/client.key -connect 192.0.2.1:993 2>&1")
    assert "* PREAUTH" in out and "a OK" in out, out


def posttls_finger_is_content(w):
    out = w.b.run("posttls-finger -c -l encrypt -L summary '[192.0.2.1]:25' 2>&1", check=False)
    assert "TLS connection established" in out and "TLSv1.3" in out, out


def names_that_are_none_get_the_certificate_of_the_host(w):
    # Rows SR-37, TM-05.
    for name in ("-noservername", "-servername other.test", "-servername nodot", "-servername 192.0.2.1"):
        out = w.b.run(f"openssl s_client -starttls smtp -name mail.h2.test -connect 192.0.2.1:25 {name} </dev/null 2>/dev/null | openssl x509 -noout -ext subjectAltName")
        assert "mail.h1.test" in out, f"{name}: {out}"
    out = w.b.run("openssl s_client -starttls smtp -name mail.h2.test -connect 192.0.2.1:25 -tls1_2 -reconnect </dev/null 2>&1", check=False)
    assert "Reused" not in out and "New, TLSv1.2" in out, out


TESTS = [
    postfix_delivers_to_us_with_and_without_tls,
    postfix_takes_from_us_with_and_without_tls,
    postfix_takes_over_reports_of_success,
    a_refusal_of_postfix_comes_back_whole,
    swaks_signs_in_with_each_mechanism,
    msmtp_signs_in_with_each_mechanism,
    curl_signs_in_over_smtp_and_imap,
    pythons_smtplib_and_imaplib_sign_in,
    gsasl_binds_to_the_channel,
    openssl_signs_in_with_a_certificate,
    posttls_finger_is_content,
    names_that_are_none_get_the_certificate_of_the_host,
]


class Peers(World):
    def peer(self, name, address, base):
        from hosts import Host
        host = Host(self.link, name, address, self.work, base=base)
        self.hosts.append(host)
        return host


def main():
    assert packages(), "no packages: make deb"
    run_tests("peer", Peers(), [hosts_boot], TESTS, sys.argv[1:])


if __name__ == "__main__":
    main()
