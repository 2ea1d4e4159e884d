#!/usr/bin/env python3
"""The whole way of a message on two booted hosts: install, set up, send, receive, read; then break things.

usage: main.py [name ...]   runs all tests in order, or only those named (the set-up always runs)
Prints "system: name ok" for each. Leaves the work folder behind on failure.
"""
import gzip
import json
import sys
import threading
import time

from hosts import DNS, Host, Link, packages, run_tests, sh, workspace

SERVICES = ["store", "keys", "verify", "smtp", "submission", "imap", "queue", "admin"]
# All come from one address, and look again and again.
RATES = "".join(f"[{name}]\nnew-connections-per-ip = 100000\n" for name in ("submission", "imap", "smtp"))
# Nor do its senders wait for being new, nor send too much.
RATES += "max-deliveries-per-ip = 100000\n"
RATES += "first-time-sender-delay = \"0s\"\n"
IDLE = "[service]\nidle-exit = \"2s\"\nstore-idle-exit = \"3s\"\n"


class World:
    def __init__(self):
        self.work = workspace()
        self.link = Link(self.work)
        self.hosts = []

    def host(self, name, address):
        host = Host(self.link, name, address, self.work)
        self.hosts.append(host)
        return host

    def close(self):
        for host in self.hosts:
            host.close()
        self.link.close()


def two_hosts_boot(w):
    w.anchor = w.link.make_key()
    w.link.serve([])
    w.a = w.host("h1", "192.0.2.1")
    w.b = w.host("h2", "192.0.2.2")


def packages_install_and_listen_on_loopback_only(w):
    for host in (w.a, w.b):
        out = host.run("apt-get install -y --no-install-recommends /packages/*.deb 2>&1")
        assert "newly installed" in out, out
        host.run("systemctl is-active mox.target mox-smtp.socket mox-imaps.socket")
        listening = host.run("ss -Hltn")
        for line in listening.splitlines():
            address = line.split()[3]
            assert address.startswith(("127.0.0.1:", "[::1]:")), f"listens in public before quickstart: {line}"
        for port in (25, 143, 465, 587, 993):
            assert f"127.0.0.1:{port}" in listening, listening
        assert host.run("systemctl list-units --state=failed --no-legend --plain 'mox*'").strip() == ""
        assert host.run("pgrep -c mox- || true").strip() == "0", "something of ours runs unasked"


def quickstart_sets_up_a_server(w):
    records = []
    for number, host in enumerate((w.a, w.b), start=1):
        result = host.json(f"mox --json quickstart you@{host.domain} --hostname mail.{host.domain} --ip {host.address} --skipdial")
        host.login, host.password = result["login"], result["password"]
        host.records = result["records"]
        host.write("/etc/mox/root.key", w.anchor)
        host.run("chmod 644 /etc/mox/root.key; chown mox-admin:mox /etc/mox/root.key")
        toml = open(f"{host.root}/etc/mox/mox.toml").read()
        host.write("/etc/mox/mox.toml", toml + f"\n[dns]\nservers = [\"{DNS}\"]\ntrust-anchor = \"/etc/mox/root.key\"\n"
                   "[queue]\nfirst-retry = \"2s\"\n" + RATES + IDLE)
        host.run("mox config test")
        host.run("systemctl try-restart 'mox-*.service'")
        for line in host.records:
            records += [l for l in line.splitlines() if not l.startswith(";")]
        records += [f"mail.{host.domain}. 60 A {host.address}", f"{host.domain}. 60 A {host.address}",
                    f"{number}.2.0.192.in-addr.arpa. 60 PTR mail.{host.domain}."]
        again = host.run(f"mox quickstart you@{host.domain} 2>&1 || echo refused")
        assert "refused" in again and "is there already" in again, again
        assert f"{host.address}:25" in host.run("ss -Hltn")
    w.link.serve(records)


def the_dns_is_checked(w):
    items = w.a.json("mox --json config dnscheck h1.test")
    kinds = {item["kind"] for item in items}
    assert kinds == {"A/AAAA", "MX", "TXT", "SRV", "TLSA"}, kinds
    for item in items:
        assert item["state"] == "ok" and item["secure"], item
    w.a.run("mox domain add other.test you")
    out = w.a.run("mox config dnscheck other.test || echo not right")
    assert "missing" in out and "not right" in out, out
    w.a.run("mox address rm postmaster@other.test && mox domain rm other.test")


def send(host, to, subject, body="hello", more=""):
    return host.run(f"swaks --server {host.address}:587 -tls --auth PLAIN --auth-user {host.login} --auth-password '{host.password}' "
                    f"--from you@{host.domain} --to {to} --header 'Subject: {subject}' --body '{body}' {more} 2>&1")


def a_message_goes_out_and_comes_in_verified(w):
    send(w.a, "you@h2.test", "first")
    uid = w.b.wait_for("SUBJECT first")[0]
    text = w.b.fetch(uid)
    for want in ("spf=pass (with dnssec)", "dkim=pass (with dnssec)", "dmarc=pass (with dnssec, p=reject)",
                 "iprev=pass (with dnssec)", "Return-Path: <you@h1.test>", "with ESMTPS"):
        assert want in text.replace("\r\n\t", " "), f"{want} is missing in:\n{text}"
    # Every lookup with its DNSSEC status, also those before the message.
    message_id = next(line for line in text.splitlines() if line.lower().startswith("message-id:"))
    why = w.b.run(f"mox why '{message_id.split(':', 1)[1].strip().strip('<>')}'")
    for want in ("EHLO name: ", "sender's domain: h1.test has MX ", "iprev: pass ", "SPF: pass h1.test, with dnssec",
                 "DKIM: pass h1.test ", "DMARC: pass h1.test policy reject, with dnssec", "reputation: ", "result: Accept"):
        assert want in why, f"{want} is missing in:\n{why}"
    assert all("with dnssec" in line for line in why.splitlines() if line.strip().startswith(("EHLO", "sender's", "iprev")))
    send(w.b, "you@h1.test", "answer")
    w.a.wait_for("SUBJECT answer")


REPORT = """<?xml version="1.0"?><feedback><report_metadata><org_name>Host two</org_name><email>x@h2.test</email>
<report_id>1</report_id><date_range><begin>1700000000</begin><end>1700086399</end></date_range></report_metadata>
<policy_published><domain>h1.test</domain><p>reject</p></policy_published><record><row><source_ip>192.0.2.1</source_ip>
<count>5</count><policy_evaluated><disposition>none</disposition><dkim>pass</dkim><spf>pass</spf></policy_evaluated></row>
<identifiers><header_from>h1.test</header_from></identifiers><auth_results/></record></feedback>"""
TLS_REPORT = {"organization-name": "Host two", "contact-info": "x@h2.test", "report-id": "2",
              "date-range": {"start-datetime": "2023-11-01T00:00:00Z", "end-datetime": "2023-11-01T23:59:59Z"},
              "policies": [{"policy": {"policy-type": "sts", "policy-domain": "h1.test"},
                            "summary": {"total-successful-session-count": 7, "total-failure-session-count": 0}}]}


def until(what, seconds=30):
    """The first result that is something."""
    deadline = time.time() + seconds
    while not (found := what()):
        assert time.time() < deadline, "nothing came"
        time.sleep(0.5)
    return found


def reports_of_others_come_in(w):
    """Rows MA-12, MA-18, MA-20, TP-13: over the wire, proven by a signed zone."""
    def attached(path, content, kind):
        with open(f"{w.b.root}{path}", "wb") as file:
            file.write(content)
        return f"--attach-type {kind} --attach @{path}"
    packed = gzip.compress(REPORT.encode())
    send(w.b, "dmarc-reports@h1.test", "report", more=attached("/root/report", packed, "application/gzip"))
    report = until(lambda: w.a.json("mox --json dmarc reports h1.test"))[0]
    assert (report["organisation"], report["total"], report["good"], report["from"]) == ("Host two", 5, 5, "you@h2.test"), report
    packed = gzip.compress(json.dumps(TLS_REPORT).encode())
    send(w.b, "tls-reports@h1.test", "report", more=attached("/root/tls", packed, "application/tlsrpt+gzip"))
    report = until(lambda: w.a.json("mox --json tlsrpt reports"))[0]
    assert (report["domains"], report["total"], report["good"]) == (["h1.test"], 7, 7), report
    # What is none arrives all the same, and says why.
    send(w.b, "dmarc-reports@h1.test", "no report")
    def dmarc_mailbox(what, place=""):
        return w.a.run(f"curl -sS -k --max-time 20 --user '{w.a.login}:{w.a.password}' "
                       f"'imaps://{w.a.address}/DMARC{place}' {what}").split("\r\n\r\n")[0]
    until(lambda: "SEARCH 2" in dmarc_mailbox("-X 'UID SEARCH SUBJECT \"no report\"'"))
    assert dmarc_mailbox("-X 'UID SEARCH UNSEEN'").split()[2:] == ["2"]
    assert "X-Mox-DMARCReport-Error: " in dmarc_mailbox("", ";UID=2")
    assert len(w.a.json("mox --json dmarc reports")) == 1
    # The sender's domain wants reports too, so what was found is kept.
    seen = w.a.json("mox --json dmarc evaluations h2.test")
    assert seen and all(one["spf"] and one["dkim"] and not one["refused"] for one in seen), seen
    assert seen[-1]["addresses"] == ["mailto:dmarc-reports@h2.test!10m"], seen
    addresses = w.a.json("mox --json dmarc checkreportaddrs h2.test")
    assert [one["state"] for one in addresses] == ["own"], addresses


def one_connection_id_follows_a_message(w):
    out = send(w.a, "you@h2.test", "follow")
    w.b.wait_for("SUBJECT follow")
    cid = next(line for line in w.a.journal("-t mox-submission -o json --no-pager -n 50").splitlines()[::-1] if "MOX_CID" in line)
    cid = json.loads(cid)["MOX_CID"]
    deadline = time.time() + 20
    while time.time() < deadline:
        names = set(w.a.journal(f"MOX_CID={cid} -o cat --output-fields=SYSLOG_IDENTIFIER -o export --no-pager").split("\n"))
        if any("mox-submission" in n for n in names) and any("mox-queue" in n for n in names):
            return
        time.sleep(0.5)
    raise AssertionError(f"{cid}: {names}\n{out}")


def failures_come_back_as_reports(w):
    send(w.a, "nobody@h2.test", "to nobody")
    uid = w.a.wait_for("SUBJECT \"mail delivery failed\"", seconds=60)[0]
    text = w.a.fetch(uid)
    assert "message/delivery-status" in text and "Diagnostic-Code: smtp; 550" in text, text


def programs_send_through_sendmail(w):
    w.a.run("printf 'Subject: from cron\\n\\nhello\\n' | /usr/sbin/sendmail -FCron -i root")
    w.a.wait_for("SUBJECT \"from cron\"")
    assert w.a.run("find / -xdev -type f -perm /6000 -path '*mox*' 2>/dev/null").strip() == ""
    listed = w.a.run("stat -c %a /usr/sbin/sendmail").strip()
    assert listed == "755", listed


def administrators_manage_over_the_bus(w):
    a = w.a
    a.run("mox account add jane jane@h1.test && printf 'a good secret\\n' | mox setaccountpassword jane")
    a.run("mox address add j@h1.test jane && mox domain add other.test jane && mox domain disable other.test")
    names = {item["name"]: item for item in a.json("mox --json account list")}
    assert names["jane"]["addresses"] == ["jane@h1.test", "j@h1.test", "postmaster@other.test"], names
    assert {d["name"]: d["disabled"] for d in a.json("mox --json domain list")}["other.test"]
    assert a.json("mox --json status")["store"] == "running"
    curl = "curl -sS -k --max-time 20 --user 'jane@h1.test:a good secret' imaps://192.0.2.1/ -X 'NOOP' 2>&1"
    a.run(curl)
    a.run("mox account disable jane 'closed for a while'")
    assert "jane" in a.run(curl + " || echo jane refused"), "a disabled account still signs in"
    a.run("mox account enable jane && mox address rm j@h1.test && mox domain enable other.test")
    a.run("mox address rm postmaster@other.test && mox domain rm other.test && mox account rm jane --yes")
    assert [i["name"] for i in a.json("mox --json account list")] == ["you"]
    # Somebody without rights is refused, by polkit.
    a.run("useradd -m plain")
    out = a.run("su plain -c 'mox account list' 2>&1 || echo refused")
    assert "refused" in out, out
    assert a.run("mox check").strip() == "everything is in order"


def mail_flows_without_the_bus(w):
    w.a.run("systemctl stop dbus.socket dbus.service 2>/dev/null; pkill dbus-daemon", check=False)
    send(w.a, "you@h2.test", "no bus here")
    w.b.wait_for("SUBJECT \"no bus here\"")
    w.a.run("systemctl start dbus.socket dbus.service")


class Load(threading.Thread):
    """Sends numbered messages to port 25 of a host, one after the other, and notes what was acknowledged."""

    def __init__(self, host, prefix):
        super().__init__()
        self.host, self.prefix = host, prefix
        self.acknowledged, self.refused, self.tried, self.go = [], [], 0, True

    def run(self):
        script = ("i=0; while [ ! -e /tmp/stop ]; do i=$((i+1)); "
                  f"out=$(printf 'EHLO mail.{self.host.domain}\\r\\nMAIL FROM:<>\\r\\nRCPT TO:<{self.host.login}>\\r\\nDATA\\r\\n"
                  f"Subject: {self.prefix}%s\\r\\n\\r\\nx\\r\\n.\\r\\nQUIT\\r\\n' $i | nc -w 20 {self.host.address} 25 2>&1); "
                  "case \"$out\" in *' stored'*|*'250 2.0.0'*) echo ack $i;; '') echo refused $i;; *) echo temp $i;; esac; done")
        self.host.run("rm -f /tmp/stop")
        process = self.host.start(script)
        for line in process.stdout:
            word, number = line.split()[:2] if len(line.split()) >= 2 else ("", "0")
            self.tried += 1
            if word == "ack":
                self.acknowledged.append(number)
            elif word == "refused":
                self.refused.append(number)

    def finish(self, cut_off=0):
        """How many were acknowledged. So many connections may have ended without a word."""
        self.host.write("/tmp/stop", "")
        self.host.run("touch /tmp/stop")
        self.join()
        found = self.host.wait_for(f"SUBJECT {self.prefix}", count=len(self.acknowledged), seconds=60)
        assert len(found) >= len(self.acknowledged), f"{len(self.acknowledged)} acknowledged, {len(found)} found"
        assert len(self.refused) <= cut_off, f"connections refused: {self.refused}"
        assert len(self.acknowledged) > 5, f"too little load: {self.acknowledged} of {self.tried}"
        return len(self.acknowledged)


def killed_services_lose_nothing(w):
    load = Load(w.b, "kill")
    load.start()
    for _ in range(2):
        for name in SERVICES:
            w.b.run(f"pkill -KILL -x mox-{name}", check=False)
            time.sleep(0.7)
    # Each time mox-smtp is killed one connection may have been accepted and not greeted yet.
    total = load.finish(cut_off=2)
    assert w.b.run("mox check").strip() == "everything is in order"
    print(f"  {total} acknowledged under kills, all there", flush=True)


def an_upgrade_under_load_refuses_nobody(w):
    load = Load(w.b, "upgr")
    load.start()
    time.sleep(1)
    w.b.run("apt-get install -y --reinstall --no-install-recommends /packages/*.deb 2>&1")
    time.sleep(1)
    total = load.finish()
    print(f"  {total} acknowledged during the upgrade, all there", flush=True)


PROBE = r"""#!/bin/sh
try() { name=$1; shift; if "$@" >/dev/null 2>&1; then echo "probe $name yes"; else echo "probe $name no"; fi; }
try mail sh -c 'cat "$(find /var/lib/mox -type f | head -n 1)"'
try keys sh -c 'cat "$(find /var/lib/mox-keys -name "*.pem" | head -n 1)"'
try outbound nc -w 2 -z 192.0.2.1 25
try dns nc -w 2 -z 192.0.2.53 53
try homes ls /root
try config sh -c 'echo x >> /etc/mox/domains.toml'
for socket in store-smtp store-submission store-imap store-queue store-admin keys-smtp keys-submission keys-imap keys-queue keys-admin queue queue-smtp verify verify-store; do
  try socket-$socket nc -w 1 -U -z /run/mox/$socket.sock
done
"""

# What each may do of it, as the table of processes has it.
MAY = {
    "store": {"mail", "socket-verify-store"},
    "keys": {"keys"},
    "verify": {"outbound", "dns"},
    "smtp": {"socket-store-smtp", "socket-keys-smtp", "socket-queue-smtp", "socket-verify"},
    "submission": {"socket-store-submission", "socket-keys-submission", "socket-queue"},
    "imap": {"socket-store-imap", "socket-keys-imap"},
    "queue": {"outbound", "dns", "socket-store-queue", "socket-keys-queue"},
    "admin": {"outbound", "dns", "config", "socket-store-admin", "socket-keys-admin"},
}


def every_sandbox_holds(w):
    host = w.b
    send(w.b, "you@h2.test", "something to read")
    w.b.wait_for('SUBJECT "something to read"')
    host.write("/usr/lib/mox/probe", PROBE)
    host.run("chmod 755 /usr/lib/mox/probe")
    for name in SERVICES:
        folder = f"/etc/systemd/system/mox-{name}.service.d"
        host.run(f"systemctl stop mox-{name}.service; mkdir -p {folder}")
        host.write(f"{folder}/probe.conf", "[Service]\nType=oneshot\nWatchdogSec=0\nRestart=no\nExecStart=\nExecStart=/usr/lib/mox/probe\n")
        host.run("systemctl daemon-reload")
        host.run(f"cp /etc/mox/domains.toml /tmp/domains.toml")
        host.run(f"systemctl start mox-{name}.service", check=False)
        out = host.run(f"journalctl -u mox-{name}.service -o cat --no-pager -n 40")
        host.run(f"cat /tmp/domains.toml > /etc/mox/domains.toml; rm -r {folder}; systemctl daemon-reload; systemctl reset-failed mox-{name}.service", check=False)
        results = dict(line.split()[1:3] for line in out.splitlines() if line.startswith("probe "))
        assert len(results) == 20, f"{name}: {out}"
        can = {what for what, answer in results.items() if answer == "yes"}
        assert can == MAY[name], f"mox-{name} can {sorted(can)}, should {sorted(MAY[name])}"


def nothing_runs_on_an_idle_system(w):
    for _ in range(150):
        running = w.a.run("pgrep -a mox- || true").strip()
        if not running:
            return
        time.sleep(0.2)
    raise AssertionError(f"still running: {running}")


def a_real_client_synchronises(w):
    w.a.run("mkdir -p /root/mail")
    w.a.write("/root/.mbsyncrc", f"""IMAPAccount a
Host mail.h1.test
User {w.a.login}
Pass {w.a.password}
SSLType IMAPS
CertificateFile /root/ca.pem

IMAPStore remote
Account a

MaildirStore local
Path /root/mail/
Inbox /root/mail/INBOX
SubFolders Verbatim

Channel c
Far :remote:
Near :local:
Patterns *
Create Both
Expunge Both
""")
    send(w.a, "you@h1.test", "to be synchronised")
    w.a.wait_for('SUBJECT "to be synchronised"')
    w.a.run("cp /var/lib/mox-keys/authority/certificate.pem /root/ca.pem")
    w.a.run("mbsync -a 2>&1")
    files = w.a.run("find /root/mail/INBOX -type f -path '*/cur/*' -o -type f -path '*/new/*' | wc -l").strip()
    assert int(files) == len(w.a.inbox()), f"{files} files, {len(w.a.inbox())} messages"
    w.a.run("f=$(ls -d /root/mail/INBOX/new/* /root/mail/INBOX/cur/* 2>/dev/null | head -1); mv $f /root/mail/INBOX/cur/$(basename $f | sed 's/:2,.*//'):2,FS; mbsync -a 2>&1")
    assert len(w.a.inbox("FLAGGED")) == 1


def administrators_back_up_and_restore(w):
    host = w.a
    send(host, "you@h1.test", "kept in a backup")
    host.wait_for('SUBJECT "kept in a backup"')
    first = host.json("mox --json backup /var/backups/mox-1")
    assert first["files"] > 0 and first["linked"] == 0 and first["warning"] is None, first
    send(host, "you@h1.test", "kept in the second")
    host.wait_for('SUBJECT "kept in the second"')
    second = host.json("mox --json backup --since /var/backups/mox-1 /var/backups/mox-2")
    assert second["linked"] == first["files"] and second["files"] > second["linked"], (first, second)
    for number in (1, 2):
        assert host.run(f"mox verifydata /var/backups/mox-{number}").strip() == "everything is in order"
    # Nobody else reads it, and what it holds is everything.
    assert "refused" in host.run("su plain -c 'ls /var/backups/mox-2' 2>&1 || echo refused")
    before = host.inbox()
    host.run("systemctl stop mox.target 'mox-*.service' 'mox-*.socket' && mv /var/lib/mox /var/lib/mox.lost")
    host.run("mkdir -m 700 /var/lib/mox && chown mox-store:mox-store /var/lib/mox && mox restore /var/backups/mox-2 /var/lib/mox")
    host.run("systemctl start mox.target")
    assert host.inbox() == before, "a restored store lacks mail"
    assert host.run("mox check").strip() == "everything is in order"
    host.run("rm -r /var/lib/mox.lost /var/backups/mox-1 /var/backups/mox-2")


def administrators_bring_certificates(w):
    host = w.a
    subject = f"openssl s_client -connect {host.address}:993 -servername mail.h1.test </dev/null 2>/dev/null | openssl x509 -noout -issuer -dates"
    assert "issuer=CN = of my own" not in host.run(subject)
    host.run("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 9 -subj '/CN=of my own' "
             "-addext subjectAltName=DNS:mail.h1.test -keyout /root/key.pem -out /root/chain.pem 2>&1 && chmod 600 /root/key.pem")
    host.write("/etc/systemd/system/mox-keys.service.d/certificate.conf",
               "[Service]\nLoadCredential=tls-certificate:/root/chain.pem\nLoadCredential=tls-key:/root/key.pem\n")
    host.run("systemctl daemon-reload && systemctl try-restart 'mox-*.service'")
    assert "issuer=CN = of my own" in host.run(subject), host.run(subject)
    # A key that is not the certificate's is refused in words, and nothing is served with it.
    host.run("openssl genpkey -algorithm ec -pkeyopt ec_paramgen_curve:prime256v1 -out /root/key.pem 2>&1; systemctl restart mox-keys.service mox-imap.service",
             check=False)
    assert "issuer=CN = of my own" not in host.run(subject, check=False)
    said = host.journal("-u mox-keys.service -o cat --no-pager -n 20")
    assert "certificate" in said and "key" in said, said
    host.run("rm -r /etc/systemd/system/mox-keys.service.d; systemctl daemon-reload; systemctl reset-failed 'mox-*'; systemctl try-restart 'mox-*.service'")
    assert "of my own" not in host.run(subject)


def purge_keeps_mail(w):
    w.a.run("apt-get purge -y 'mox*' 2>&1")
    assert w.a.run("ls /var/lib/mox/accounts").strip(), "purge deleted mail"
    assert w.a.run("ls /var/lib/mox-keys/dkim").strip(), "purge deleted keys"
    assert w.a.run("ss -Hltn | grep -c ':25 ' || true").strip() == "0"


def units_are_clean_and_closed(w):
    for name in SERVICES:
        limit = 20 if name in ("verify", "queue", "admin") else 10
        sh(["systemd-analyze", "security", "--offline=true", f"--threshold={limit}", f"units/mox-{name}.service"])
    out = w.a.run("systemd-analyze verify --man=no /lib/systemd/system/mox-*.service /lib/systemd/system/mox-*.socket "
                  "/lib/systemd/system/mox.target /lib/systemd/system/mox-queue.timer 2>&1")
    assert "mox" not in out, out


TESTS = [
    units_are_clean_and_closed,
    the_dns_is_checked,
    a_message_goes_out_and_comes_in_verified,
    reports_of_others_come_in,
    one_connection_id_follows_a_message,
    failures_come_back_as_reports,
    programs_send_through_sendmail,
    administrators_manage_over_the_bus,
    a_real_client_synchronises,
    administrators_back_up_and_restore,
    administrators_bring_certificates,
    nothing_runs_on_an_idle_system,
    mail_flows_without_the_bus,
    killed_services_lose_nothing,
    an_upgrade_under_load_refuses_nobody,
    every_sandbox_holds,
    purge_keeps_mail,
]


def main():
    assert packages(), "no packages: make deb"
    setup = [two_hosts_boot, packages_install_and_listen_on_loopback_only, quickstart_sets_up_a_server]
    run_tests("deb", World(), setup, TESTS, sys.argv[1:])


if __name__ == "__main__":
    main()
