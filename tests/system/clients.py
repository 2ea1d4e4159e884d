#!/usr/bin/env python3
"""Independent IMAP clients, each doing a whole job against an installed server.

usage: clients.py [name ...]   runs all tests in order, or only those named (the set-up always runs)
Prints "system: name ok" for each. The container image holds the clients of the distribution; imapclient and imapflow
come from their registries, fetched once on this machine; async-imap too, in a program of its own (rust-client).
"""
import glob
import json
import os
import shutil
import sys
import zipfile

from hosts import CACHE, Host, image, packages, run_tests, sh
from main import (World, packages_install_and_listen_on_loopback_only, quickstart_sets_up_a_server, send,
                  two_hosts_boot)

INCLUDE = "python3,offlineimap3,mutt,fetchmail,getmail6,nodejs,interimap"
CA = "/root/ca.pem"


class ClientWorld(World):
    """As World, with the clients inside."""

    def host(self, name, address):
        host = Host(self.link, name, address, self.work, base=image(INCLUDE))
        self.hosts.append(host)
        return host


def mail_is_there(w):
    """Trust, a hosts entry, and some messages to work on."""
    w.a.run(f"cp /var/lib/mox-keys/authority/certificate.pem {CA}")
    w.a.run(f"grep -q mail.h1.test /etc/hosts || echo '{w.a.address} mail.h1.test' >> /etc/hosts")
    for number in range(5):
        send(w.a, "you@h1.test", f"client mail {number}", body=f"body number {number}")
    w.a.wait_for('SUBJECT "client mail"', count=5)


def script(w, name, text):
    """Runs a Python script inside; it says so when it is content."""
    w.a.write(f"/root/{name}.py", text)
    out = w.a.run(f"PYTHONPATH=/root/lib python3 /root/{name}.py 2>&1")
    assert out.strip().endswith("content"), out
    return out


def imapclient_does_everything(w):
    wheels = f"{CACHE}/pip"
    if not glob.glob(f"{wheels}/*.whl"):
        sh([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "-d", wheels, "imapclient"])
    for wheel in glob.glob(f"{wheels}/*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(f"{w.a.root}/root/lib")
    script(w, "imapclient_job", f"""
import ssl, time
from imapclient import IMAPClient
context = ssl.create_default_context(cafile={CA!r})
def sign_in():
    client = IMAPClient("mail.h1.test", ssl_context=context)
    client.login({w.a.login!r}, {w.a.password!r})
    return client
one, two = sign_in(), sign_in()
for name in (b"IDLE", b"QRESYNC", b"SORT", b"THREAD=REFERENCES", b"METADATA", b"QUOTA", b"MOVE", b"NOTIFY"):
    assert one.has_capability(name.decode()), name
one.id_({{"name": "imapclient"}})
one.create_folder("Grüße/unten")
assert one.folder_exists("Grüße/unten")
one.append("Grüße/unten", b"Subject: one\\r\\nMessage-Id: <1@h1.test>\\r\\n\\r\\none\\r\\n", flags=[b"\\\\Flagged"])
one.append("Grüße/unten", b"Subject: Re: one\\r\\nIn-Reply-To: <1@h1.test>\\r\\n\\r\\ntwo\\r\\n")
status = one.folder_status("Grüße/unten", ["MESSAGES", "UIDNEXT", "HIGHESTMODSEQ"])
assert status[b"MESSAGES"] == 2, status
one.select_folder("Grüße/unten")
assert one.search(["FLAGGED"]) == [1]
assert one.sort(["REVERSE SIZE"]) == [2, 1]
assert one.thread(criteria="ALL") == ((1, 2),)
data = one.fetch([1, 2], ["ENVELOPE", "BODYSTRUCTURE", "FLAGS", "BODY.PEEK[]"])
assert data[1][b"ENVELOPE"].subject == b"one"
assert data[2][b"BODY[]"].endswith(b"two\\r\\n")
two.select_folder("Grüße/unten")
two.idle()
one.add_flags([1], [b"work"])
seen = two.idle_check(timeout=10)
assert any(b"FETCH" in line for line in seen), seen
two.idle_done()
one.copy([1], "INBOX")
one.move([2], "INBOX")
one.delete_messages([1])
one.expunge()
assert one.search() == []
one.rename_folder("Grüße/unten", "umbenannt")
one.delete_folder("umbenannt")
one.delete_folder("Grüße")
quota = one.get_quota_root("INBOX")
assert quota is not None
one.logout(); two.logout()
print("content")
""")


def imaplib_follows_the_standard_library(w):
    script(w, "imaplib_job", f"""
import imaplib, ssl
client = imaplib.IMAP4_SSL("mail.h1.test", ssl_context=ssl.create_default_context(cafile={CA!r}))
client.login({w.a.login!r}, {w.a.password!r})
assert client.create('"standard"')[0] == "OK"
text = b"Subject: standard\\r\\n\\r\\nx\\r\\n"
assert client.append('"standard"', "(work)", imaplib.Time2Internaldate(0), text)[0] == "OK"
assert client.select('"standard"') == ("OK", [b"1"])
kind, data = client.uid("FETCH", "1", "(FLAGS INTERNALDATE BODY.PEEK[])")
assert data[0][1] == text and b"work" in data[0][0], data
assert client.uid("SORT", "(DATE)", "UTF-8", "ALL")[1] == [b"1"]
assert client.uid("THREAD", "REFERENCES", "UTF-8", "ALL")[1] == [b"(1)"]
assert client.store("1", "+FLAGS", "(\\\\Deleted)")[0] == "OK"
assert client.expunge()[1] == [b"1"]
assert client.close()[0] == "OK" and client.delete('"standard"')[0] == "OK"
client.logout()
print("content")
""")


def offlineimap_keeps_two_sides_equal(w):
    w.a.run("rm -rf /root/offline /root/.offlineimap && mkdir -p /root/offline")
    w.a.write("/root/.offlineimaprc", f"""[general]
accounts = a
maxsyncaccounts = 1
[Account a]
localrepository = local
remoterepository = remote
[Repository local]
type = Maildir
localfolders = /root/offline
[Repository remote]
type = IMAP
remotehost = mail.h1.test
remoteuser = {w.a.login}
remotepass = {w.a.password}
ssl = yes
sslcacertfile = {CA}
""")
    w.a.run("offlineimap -o -u basic 2>&1")
    count = "find /root/offline/INBOX/cur /root/offline/INBOX/new -type f | wc -l"
    assert int(w.a.run(count)) == len(w.a.inbox())
    # A flag from here, a message from there, a message less from here.
    w.a.run("f=$(ls -d /root/offline/INBOX/cur/* /root/offline/INBOX/new/* | head -1);"
            " mv $f /root/offline/INBOX/cur/$(basename $f | sed 's/:2,.*//'):2,FS")
    w.a.run("rm $(ls -d /root/offline/INBOX/cur/* /root/offline/INBOX/new/* | grep -v ':2,FS$' | head -1)")
    before = len(w.a.inbox())
    send(w.a, "you@h1.test", "while offline")
    w.a.wait_for('SUBJECT "while offline"')
    flagged = len(w.a.inbox("FLAGGED"))
    w.a.run("offlineimap -o -u basic 2>&1")
    assert len(w.a.inbox("FLAGGED")) == flagged + 1
    assert len(w.a.inbox()) == before, "one came, one went"
    assert int(w.a.run(count)) == len(w.a.inbox())
    # Every message is byte for byte the same: sizes without line ends.
    sizes = w.a.run("find /root/offline/INBOX -type f -path '*/[cn]*/*' -exec sh -c 'tr -d \"\\r\" < $0 | wc -c' {} \\; | sort -n")
    assert len(sizes.split()) == len(w.a.inbox())


def mutt_reads_and_files(w):
    w.a.write("/root/.muttrc", f"""set folder = "imaps://mail.h1.test/"
set spoolfile = "imaps://mail.h1.test/INBOX"
set imap_user = "{w.a.login}"
set imap_pass = "{w.a.password}"
set certificate_file = {CA}
set ssl_force_tls = yes
set imap_qresync = yes
set imap_condstore = yes
set imap_deflate = yes
set header_cache = /root/mutt-cache
set confirmappend = no
set confirmcreate = no
set delete = yes
set move = no
set sort = threads
push "<tag-pattern>~s client<enter><tag-prefix><copy-message>=filed<enter><sync-mailbox><quit>"
""")
    w.a.run("mkdir -p /root/mutt-cache")
    before = len(w.a.inbox())
    # Tags what matches, copies it to a new mailbox, and quits; twice, so that the second start resynchronises. It wants a
    # terminal, which script gives it.
    for _ in range(2):
        w.a.run("TERM=xterm timeout 60 script -qec mutt /root/mutt-said </dev/null 2>&1", check=False)
    out = w.a.run(f"curl -sS -k --user '{w.a.login}:{w.a.password}' imaps://{w.a.address}/ -X 'STATUS filed (MESSAGES)'")
    assert "MESSAGES" in out and "MESSAGES 0" not in out, out
    assert len(w.a.inbox()) == before


def curl_lists_searches_appends_fetches_and_removes(w):
    curl = f"curl -sS --max-time 20 --cacert {CA} --user '{w.a.login}:{w.a.password}'"
    root, mailbox = "imaps://mail.h1.test/", "imaps://mail.h1.test/by-curl"
    w.a.run(f"{curl} {root} -X 'CREATE by-curl'")
    assert "by-curl" in w.a.run(f"{curl} {root}"), "LIST"
    w.a.run("printf 'From: a@far.test\\r\\nSubject: by curl\\r\\n\\r\\none line\\r\\n' > /root/sent.eml")
    for _ in range(2):
        w.a.run(f"{curl} -T /root/sent.eml {mailbox}")
    assert w.a.run(f"{curl} '{mailbox}?SUBJECT%20curl'").split() == ["*", "SEARCH", "1", "2"]
    w.a.run(f"{curl} '{mailbox};UID=2' -o /root/got.eml && cmp /root/sent.eml /root/got.eml")
    w.a.run(f"{curl} '{mailbox}' -X 'STORE 1 +Flags \\Deleted'")
    w.a.run(f"{curl} '{mailbox}' -X EXPUNGE")
    assert w.a.run(f"{curl} '{mailbox}' -X 'UID SEARCH ALL'").split() == ["*", "SEARCH", "2"]
    w.a.run(f"{curl} {root} -X 'DELETE by-curl'")


def imapflow_speaks_every_extension(w):
    module = f"{CACHE}/npm"
    if not os.path.isdir(f"{module}/node_modules/imapflow"):
        os.makedirs(module, exist_ok=True)
        sh(["npm", "install", "--prefix", module, "--no-audit", "--no-fund", "imapflow"])
    sh(["cp", "-a", f"{module}/node_modules", f"{w.a.root}/root/"])
    w.a.write("/root/job.js", f"""
const {{ ImapFlow }} = require('imapflow');
const fs = require('fs');
(async () => {{
  const client = new ImapFlow({{ host: 'mail.h1.test', port: 993, secure: true, logger: false, qresync: true,
    tls: {{ ca: fs.readFileSync('{CA}') }}, auth: {{ user: '{w.a.login}', pass: '{w.a.password}' }} }});
  await client.connect();
  if (!client.enabled.has('QRESYNC')) throw new Error('no QRESYNC');
  await client.mailboxCreate(['flow', 'ä']);
  const lock = await client.getMailboxLock('INBOX');
  let seen = 0;
  for await (const message of client.fetch('1:*', {{ uid: true, envelope: true, bodyStructure: true, flags: true, threadId: true, source: true }})) {{
    if (!message.source.length || !message.emailId) throw new Error('nothing in ' + message.uid);
    seen++;
  }}
  if (seen !== client.mailbox.exists) throw new Error('seen ' + seen);
  const found = await client.search({{ subject: 'client mail' }}, {{ uid: true }});
  await client.messageFlagsAdd(found, ['$Important'], {{ uid: true }});
  await client.messageCopy(found, 'flow/ä', {{ uid: true }});
  lock.release();
  const status = await client.status('flow/ä', {{ messages: true, highestModseq: true }});
  if (status.messages !== found.length) throw new Error('copied ' + status.messages);
  await client.getQuota('INBOX');
  const other = await client.getMailboxLock('flow/ä');
  await client.messageDelete('1:*');
  other.release();
  await client.mailboxDelete('flow/ä');
  await client.logout();
  console.log('content');
}})().catch(error => {{ console.error(error); process.exit(1); }});
""")
    out = w.a.run("cd /root && timeout 60 node --experimental-global-webcrypto job.js 2>&1")
    assert out.strip().endswith("content"), out


def async_imap_works_plain_and_compressed(w):
    manifest = os.path.join(os.path.dirname(os.path.abspath(__file__)), "rust-client", "Cargo.toml")
    target = f"{CACHE}/rust-client"
    sh(["cargo", "build", "--quiet", "--locked", "--manifest-path", manifest, "--target-dir", target])
    sh(["cp", f"{target}/debug/mox-rust-client", f"{w.a.root}/root/"])
    before = len(w.a.inbox())
    out = w.a.run(f"timeout 60 /root/mox-rust-client mail.h1.test 993 {CA} {w.a.login} '{w.a.password}' 2>&1")
    assert out.strip().endswith("content"), out
    assert len(w.a.inbox()) == before


def mbsync_and_changes_at_the_server_go_both_ways(w):
    """Two-way under concurrent change: while it runs, mail comes, flags change and messages go at the server."""
    w.a.run("rm -rf /root/sync && mkdir -p /root/sync")
    w.a.write("/root/.mbsyncrc-two", f"""IMAPAccount a
Host mail.h1.test
User {w.a.login}
Pass {w.a.password}
SSLType IMAPS
CertificateFile {CA}

IMAPStore remote
Account a

MaildirStore local
Path /root/sync/
Inbox /root/sync/INBOX
SubFolders Verbatim

Channel all
Far :remote:
Near :local:
Patterns "two-way"
Create Both
Expunge Both
SyncState *
""")
    w.a.write("/root/two_way.py", f"""
import email, glob, imaplib, os, ssl, subprocess, threading
def sign_in():
    client = imaplib.IMAP4_SSL("mail.h1.test", ssl_context=ssl.create_default_context(cafile={CA!r}))
    client.login({w.a.login!r}, {w.a.password!r})
    return client
def message(name):
    return f"Subject: {{name}}\\r\\nMessage-Id: <{{name}}@far.test>\\r\\n\\r\\n{{name}} says hello\\r\\n".encode()
def sync():
    # A message that went while it was being fetched is no failure of the server: the next run sees it.
    return subprocess.run(["mbsync", "-q", "-c", "/root/.mbsyncrc-two", "all"], capture_output=True, text=True)
one = sign_in()
one.delete('"two-way"')
assert one.create('"two-way"')[0] == "OK"
for number in range(40):
    assert one.append('"two-way"', None, None, message(f"far{{number}}"))[0] == "OK"
first = sync()
assert first.returncode == 0, first
over = threading.Event()
def meddle():
    other = sign_in()
    other.select('"two-way"')
    number = 0
    while not over.is_set():
        other.append('"two-way"', "(\\Flagged)", None, message(f"late{{number}}"))
        other.uid("STORE", str(number % 40 + 1), "+FLAGS", "(\\Answered)")
        if number % 3 == 0:
            other.uid("STORE", str(number // 3 + 1), "+FLAGS", "(\\Deleted)")
            other.expunge()
        number += 1
    other.logout()
thread = threading.Thread(target=meddle)
thread.start()
for turn in range(6):
    files = sorted(glob.glob("/root/sync/two-way/cur/*") + glob.glob("/root/sync/two-way/new/*"))
    # A new message, a flag and a removal from this side too.
    with open(f"/root/sync/two-way/new/1700000000.{{turn}}_1.near", "wb") as file:
        file.write(message(f"near{{turn}}").replace(b"\\r\\n", b"\\n"))
    if len(files) > 8:
        os.rename(files[-1], "/root/sync/two-way/cur/" + os.path.basename(files[-1]).split(":2,")[0] + ":2,FS")
        os.rename(files[-2], "/root/sync/two-way/cur/" + os.path.basename(files[-2]).split(":2,")[0] + ":2,T")
    sync()
over.set()
thread.join()
for _ in range(2):
    last = sync()
assert last.returncode == 0, last
# Now both sides have the same messages, byte for byte but for the line ends of the files, with the same flags.
names = {{"\\Seen": "S", "\\Flagged": "F", "\\Answered": "R", "\\Draft": "D", "\\Deleted": "T"}}
far = []
one.select('"two-way"')
_, data = one.uid("FETCH", "1:*", "(FLAGS BODY.PEEK[])")
for part in data:
    if isinstance(part, tuple):
        flags = "".join(sorted(names[flag.decode()] for flag in imaplib.ParseFlags(part[0]) if flag.decode() in names))
        far.append((part[1], flags))
near = []
for path in glob.glob("/root/sync/two-way/cur/*") + glob.glob("/root/sync/two-way/new/*"):
    text = b"".join(line for line in open(path, "rb").read().replace(b"\\r\\n", b"\\n").replace(b"\\n", b"\\r\\n").splitlines(True)
                    if not line.startswith(b"X-TUID:"))
    near.append((text, "".join(sorted(path.split(":2,")[1])) if ":2," in path else ""))
far = [(b"".join(line for line in text.splitlines(True) if not line.startswith(b"X-TUID:")), flags) for text, flags in far]
assert sorted(far) == sorted(near), (sorted(set(far) ^ set(near)), len(far), len(near))
assert len(far) > 40 and sum(b"near" in text for text, _ in far) >= 5, len(far)
one.unselect() if hasattr(one, "unselect") else one.close()
one.delete('"two-way"')
one.logout()
print("content")
""")
    out = w.a.run("timeout 120 python3 /root/two_way.py 2>&1")
    assert out.strip().endswith("content"), out
    assert w.a.run("mox check").strip() == "everything is in order"


INTERIMAP = """
import imaplib, json, random, socket, ssl, subprocess, threading, time
SIDES = json.load(open("/root/interimap.json"))
def sign_in(side):
    context = ssl.create_default_context(cafile=side["ca"])
    client = imaplib.IMAP4_SSL(side["host"], side["port"], ssl_context=context)
    # It sends the line end of a literal by itself, which would wait for the other side to say that the rest came.
    client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.login(side["login"], side["password"])
    return client
def message(name, octets=0):
    return f"Subject: {name}\\r\\nMessage-Id: <{name}@far.test>\\r\\n\\r\\n{name} says \u00e9\\r\\n{'x' * octets}".encode()
def mailboxes(client):
    return sorted(line.decode().split(' "/" ')[1].strip('"') for line in client.list()[1])
def contents(client):
    held = {}
    for name in mailboxes(client):
        assert client.select(f'"{name}"', readonly=True)[0] == "OK", name
        _, data = client.uid("FETCH", "1:*", "(FLAGS INTERNALDATE BODY.PEEK[])")
        held[name] = sorted(
            (part[1], tuple(sorted(imaplib.ParseFlags(part[0]))), part[0].split(b'INTERNALDATE "')[1][:26])
            for part in data if isinstance(part, tuple))
    return held
def sync(*more):
    done = subprocess.run(["interimap", "--config=/root/interimap.conf", *more], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done
one, two = sign_in(SIDES[0]), sign_in(SIDES[1])
for client, mark in ((one, "one"), (two, "two")):
    for name in ("INBOX", "sync", "sync/deep", "sync/Gr&APwA3w-e", f"sync/only {mark}"):
        if name != "INBOX":
            client.create(f'"{name}"')
            client.subscribe(f'"{name}"')
        for number in range(5):
            text = message(f"{mark}-{name.encode().hex()}-{number}", number * 20_000)
            assert client.append(f'"{name}"', "(\\\\Seen work)" if number % 2 else None, None, text)[0] == "OK"
# It sends 128 at once.
for number in range(150):
    one.append('"sync"', None, None, message(f"many-{number}", 500))
sync()
assert contents(one) == contents(two)
# Both sides change while it watches.
watching = subprocess.Popen(["interimap", "--config=/root/interimap.conf", "--watch=1", "--notify", "--quiet"])
faults = []
def meddle(side, mark):
    try:
        chance, client = random.Random(mark), sign_in(side)
        for number in range(30):
            names = [name for name in mailboxes(client) if name == "INBOX" or name.startswith("sync")]
            name, other = chance.choice(names), chance.choice(names)
            client.select(f'"{name}"')
            uids = client.uid("SEARCH", "ALL")[1][0].split()
            some = b",".join(chance.sample(uids, min(4, len(uids)))).decode()
            what = number % 5 if uids else 0
            if what == 0:
                client.append(f'"{name}"', "(\\\\Flagged)", None, message(f"late-{mark}-{number}", chance.choice([0, 90_000])))
            elif what == 1:
                client.uid("STORE", some, chance.choice(["+FLAGS", "-FLAGS", "FLAGS"]), "(\\\\Answered kw)")
            elif what == 2:
                client.uid("STORE", some, "+FLAGS", "(\\\\Deleted)")
                client.expunge()
            elif what == 3:
                client.uid("COPY", some, f'"{other}"')
            else:
                client.uid("MOVE", some, f'"{other}"')
            time.sleep(chance.random() * 0.1)
        client.logout()
    except Exception as fault:
        faults.append(repr(fault))
meddlers = [threading.Thread(target=meddle, args=(side, mark)) for side, mark in zip(SIDES, ("one", "two"))]
for meddler in meddlers:
    meddler.start()
for meddler in meddlers:
    meddler.join()
assert not faults, faults
assert watching.poll() is None, "it went on"
watching.terminate()
watching.wait()
sync()
sync("--rename", "sync/deep", "sync/renamed")
sync("--delete", "sync/only one")
sync()
here, there = contents(one), contents(two)
assert here == there, [(name, len(here.get(name, [])), len(there.get(name, [])))
                       for name in sorted(here.keys() | there.keys()) if here.get(name) != there.get(name)]
assert "sync/renamed" in here and "sync/only one" not in here and len(here["sync"]) > 100
for client in (one, two):
    client.select("INBOX")
    client.unselect()
    for name in reversed([name for name in mailboxes(client) if name.startswith("sync")]):
        assert client.delete(f'"{name}"')[0] == "OK", name
    client.logout()
print("content")
"""


def interimap_config(sides):
    """Both sides as interimap wants them."""
    text = "database = /root/interimap.db\nlist-mailbox = \"*\"\n"
    for name, side in zip(("local", "remote"), sides):
        text += (f"[{name}]\ntype = imaps\nhost = {side['host']}\nport = {side['port']}\nSSL_CAfile = {side['ca']}\n"
                 f"username = {side['login']}\npassword = {side['password']}\ncompress = YES\n")
    return text


def interimap_keeps_two_servers_equal(w):
    """A strict client: two servers with QRESYNC, by LIST-STATUS, MULTIAPPEND, NOTIFY and COMPRESS, changed on both sides."""
    other = "/root/ca-two.pem"
    shutil.copy(f"{w.b.root}/var/lib/mox-keys/authority/certificate.pem", f"{w.a.root}{other}")
    w.a.run(f"grep -q mail.h2.test /etc/hosts || echo '{w.b.address} mail.h2.test' >> /etc/hosts")
    sides = [{"host": f"mail.{host.domain}", "port": 993, "ca": ca, "login": host.login, "password": host.password}
             for host, ca in ((w.a, CA), (w.b, other))]
    w.a.run("rm -f /root/interimap.db")
    w.a.write("/root/interimap.json", json.dumps(sides))
    w.a.write("/root/interimap.conf", interimap_config(sides))
    w.a.run("chmod 600 /root/interimap.conf")
    script(w, "interimap_job", INTERIMAP)
    for host in (w.a, w.b):
        assert host.run("mox check").strip() == "everything is in order"


def fetchmail_and_getmail_take_mail_away(w):
    before = len(w.a.inbox())
    w.a.write("/root/.fetchmailrc", f"""poll mail.h1.test protocol imap port 993 username "{w.a.login}" password "{w.a.password}"
  ssl sslcertfile {CA} sslcertck keep fetchall mda "cat >> /root/fetched"
""")
    w.a.run("chmod 600 /root/.fetchmailrc; rm -f /root/fetched; fetchmail --invisible 2>&1")
    subjects = int(w.a.run("grep -c '^Subject:' /root/fetched"))
    assert subjects >= before, (subjects, before)
    # getmail delivers to no root.
    w.a.run("id taker >/dev/null 2>&1 || useradd -m taker; rm -rf /home/taker/taken; mkdir -p /root/.config/getmail"
            " /home/taker/taken/new /home/taker/taken/cur /home/taker/taken/tmp; chown -R taker: /home/taker/taken")
    w.a.write("/root/.config/getmail/getmailrc", f"""[retriever]
type = SimpleIMAPSSLRetriever
server = mail.h1.test
port = 993
username = {w.a.login}
password = {w.a.password}
ca_certs = {CA}
mailboxes = ("INBOX",)
[destination]
type = Maildir
path = /home/taker/taken/
user = taker
[options]
read_all = true
delete = true
""")
    send(w.a, "you@h1.test", "to be taken")
    w.a.wait_for('SUBJECT "to be taken"')
    w.a.run("getmail --getmaildir /root/.config/getmail 2>&1")
    taken = int(w.a.run("ls /home/taker/taken/new | wc -l"))
    assert taken == before + 1, (taken, before)
    assert w.a.inbox() == []
    assert w.a.run("mox check").strip() == "everything is in order"


TESTS = [
    imapclient_does_everything,
    imaplib_follows_the_standard_library,
    offlineimap_keeps_two_sides_equal,
    mutt_reads_and_files,
    curl_lists_searches_appends_fetches_and_removes,
    imapflow_speaks_every_extension,
    async_imap_works_plain_and_compressed,
    mbsync_and_changes_at_the_server_go_both_ways,
    interimap_keeps_two_servers_equal,
    fetchmail_and_getmail_take_mail_away,
]


def main():
    assert packages(), "no packages: make deb"
    setup = [two_hosts_boot, packages_install_and_listen_on_loopback_only, quickstart_sets_up_a_server, mail_is_there]
    run_tests("client", ClientWorld(), setup, TESTS, sys.argv[1:])


if __name__ == "__main__":
    main()
