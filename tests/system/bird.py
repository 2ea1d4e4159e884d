"""A Thunderbird without a screen, driven with Marionette, beside a local instance and another client of the same person."""
import base64
import email
import email.policy
import email.utils
import imaplib
import json
import os
import re
import signal
import smtplib
import socket
import subprocess
import time
from email.message import EmailMessage

from local import Instance

LOGIN, PASSWORD = "bird@localhost", "a bird's long \"pass\" wörd"
OTHER = "other@localhost"

# What scripts in Thunderbird share. Each waits for what it asks; nothing is told before it has happened.
PRELUDE = r"""
const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const sleep = ms => new Promise(done => Services.wm.getMostRecentWindow("mail:3pane").setTimeout(done, ms));
const until = async (what, fact, ms = 30000) => {
  const end = Date.now() + ms;
  for (;;) {
    let found = await fact();
    if (found) return found;
    if (Date.now() > end) throw new Error("waited in vain for " + what);
    await sleep(25);
  }
};
const account = () => MailServices.accounts.accounts.find(a => a.incomingServer.type == "imap");
const server = () => account().incomingServer;
const root = () => server().rootFolder;
const folders = () => root().descendants;
// By its path on the server, in letters; folder URIs are in letters too, but escaped.
const path = f => { let names = []; for (; !f.isServer; f = f.parent) names.unshift(f.name); return names.join("/"); };
const folder = name => {
  let found = folders().find(f => path(f).toLowerCase() == name.toLowerCase());
  if (!found) throw new Error("no folder " + name + " among " + folders().map(path).join(", "));
  return found;
};
const heads = f => [...f.messages];
const head = (f, subject) => {
  let found = heads(f).find(h => h.mime2DecodedSubject == subject);
  if (!found) throw new Error("no message " + subject + " in " + path(f) + ": " + heads(f).map(h => h.mime2DecodedSubject).slice(0, 20).join("; "));
  return found;
};
const url = (start, ms = 120000) => new Promise((done, fail) => {
  let timer = Services.wm.getMostRecentWindow("mail:3pane").setTimeout(() => fail(new Error("url did not end")), ms);
  start({
    QueryInterface: ChromeUtils.generateQI(["nsIUrlListener"]),
    OnStartRunningUrl() {},
    OnStopRunningUrl(url, status) {
      Services.wm.getMostRecentWindow("mail:3pane").clearTimeout(timer);
      Components.isSuccessCode(status) ? done() : fail(new Error("url ended with 0x" + status.toString(16)));
    },
  });
});
// An update that meets another one is not always told of its end: then it is asked for once more.
const update = async f => {
  for (let left = 4; ; left--) {
    try {
      return await url(l => f.QueryInterface(Ci.nsIMsgImapMailFolder).updateFolderWithListener(null, l), 15000);
    } catch (error) {
      if (!left || !/did not end/.test(error.message)) throw error;
    }
  }
};
const copied = (start, ms = 120000) => new Promise((done, fail) => {
  let timer = Services.wm.getMostRecentWindow("mail:3pane").setTimeout(() => fail(new Error("copy did not end")), ms);
  start({
    QueryInterface: ChromeUtils.generateQI(["nsIMsgCopyServiceListener"]),
    onStartCopy() {}, onProgress() {}, setMessageKey() {}, getMessageId() { return null; },
    onStopCopy(status) {
      Services.wm.getMostRecentWindow("mail:3pane").clearTimeout(timer);
      Components.isSuccessCode(status) ? done() : fail(new Error("copy ended with 0x" + status.toString(16)));
    },
  });
});
const source = h => new Promise((done, fail) => {
  let uri = h.folder.getUriForMsg(h), text = [];
  MailServices.messageServiceFromURI(uri).streamMessage(uri, {
    QueryInterface: ChromeUtils.generateQI(["nsIStreamListener"]),
    onStartRequest() {},
    onDataAvailable(request, stream, offset, count) {
      let reader = Cc["@mozilla.org/scriptableinputstream;1"].createInstance(Ci.nsIScriptableInputStream);
      reader.init(stream); text.push(reader.readBytes(count));
    },
    onStopRequest(request, status) {
      Components.isSuccessCode(status) ? done(text.join("")) : fail(new Error("stream ended with 0x" + status.toString(16)));
    },
  }, null, null, false, "");
});
"""


class Bird:
    """A Thunderbird, spoken to with Marionette's protocol: length, colon, [0, id, command, parameters]."""

    def __init__(self, home, port):
        self.home, self.port = home, port
        self.profile = os.path.join(home, "profile")
        self.log = os.path.join(home, "imap.log")
        os.makedirs(self.profile, exist_ok=True)
        with open(os.path.join(self.profile, "user.js"), "w") as file:
            for name, value in {
                "marionette.port": port,
                "mail.provider.suppress_dialog_on_startup": True,
                "mail.spotlight.firstRunDone": True,
                "mail.rights.version": 1,
                "mailnews.start_page.enabled": False,
                "mail.winsearch.firstRunDone": True,
                "app.donation.eoy.version.viewed": 999,
                "app.update.enabled": False,
                "datareporting.policy.dataSubmissionEnabled": False,
                "toolkit.telemetry.enabled": False,
                "extensions.update.enabled": False,
                "extensions.getAddons.cache.enabled": False,
                "services.settings.server": "data:,",
                "network.captive-portal-service.enabled": False,
                "network.connectivity-service.enabled": False,
                "network.manage-offline-status": False,
                "mail.inappnotifications.enabled": False,
                "mail.inappnotifications.url": "",
                "calendar.timezone.local": "UTC",
                "mail.chat.enabled": False,
                "mail.shell.checkDefaultClient": False,
                "mail.compose.warn_public_recipients.aggressive": False,
                "mailnews.auto_config_url": "",
                "mail.server.default.max_cached_connections": 5,
                "mail.compose.big_attachments.notify": False,
                "mail.purge.ask": False,
                "mail.identity.default.show_save_msg_dlg": False,
                "mail.warn_on_collapsed_thread_operation": False,
                "mail.operate_on_msgs_in_collapsed_threads": False,
                "offline.autoDetect": False,
                "offline.download.download_messages": 2,
                "offline.send.unsent_messages": 1,
                "datareporting.healthreport.uploadEnabled": False,
            }.items():
                file.write(f"user_pref({json.dumps(name)}, {json.dumps(value)});\n")
        self.start()

    def start(self):
        environment = dict(os.environ, HOME=self.home, MOZ_LOG="IMAP:5,SMTP:5,timestamp,sync,append", MOZ_LOG_FILE=self.log,
                           MOZ_HEADLESS="1", MOZ_CRASHREPORTER_DISABLE="1", LANG="C.UTF-8", TZ="UTC")
        self.output = open(os.path.join(self.home, "thunderbird.out"), "a")
        self.child = subprocess.Popen(
            ["thunderbird", "--headless", "--no-remote", "--profile", self.profile, "--marionette",
             "--remote-allow-system-access"], env=environment, stdin=subprocess.DEVNULL, stdout=self.output,
            stderr=self.output, start_new_session=True)
        begun = time.time()
        while True:
            try:
                self.socket = socket.create_connection(("127.0.0.1", self.port), 5)
                self.file = self.socket.makefile("rb")
                self.read()
                break
            except OSError:
                assert self.child.poll() is None, "thunderbird ended at once"
                assert time.time() - begun < 90, "thunderbird does not listen for Marionette"
                time.sleep(0.2)
        self.socket.settimeout(900)
        self.id = 0
        self.ask("WebDriver:NewSession", {"capabilities": {"alwaysMatch": {"unhandledPromptBehavior": "accept"}}})
        self.ask("Marionette:SetContext", {"value": "chrome"})
        self.ask("WebDriver:SetTimeouts", {"script": 180000})
        self.run('await until("window", () => Services.wm.getMostRecentWindow("mail:3pane")?.document.readyState == "complete");',
                 plain="""
const sleep = ms => new Promise(done => setTimeout(done, ms));
const until = async (what, fact) => { for (let n = 0; n < 600 && !fact(); n++) await sleep(50); };""")

    def read(self):
        length = b""
        while (octet := self.file.read(1)) != b":":
            if not octet:
                raise OSError("thunderbird closed the connection")
            length += octet
        return json.loads(self.file.read(int(length)))

    def ask(self, command, parameters):
        self.id += 1
        text = json.dumps([0, self.id, command, parameters]).encode()
        self.socket.sendall(str(len(text)).encode() + b":" + text)
        _, number, error, result = self.read()
        assert number == self.id
        if error:
            raise AssertionError(f"{error['error']}: {error['message']}")
        return result

    def run(self, text, *arguments, plain=None):
        """What the function with this body returns, once its promise is kept."""
        script = (PRELUDE if plain is None else plain) + "return (async (...args) => {" + text + "})(...arguments);"
        return self.ask("WebDriver:ExecuteScript",
                        {"script": script, "args": list(arguments), "sandbox": "system", "newSandbox": True})["value"]

    def asked(self, text, seconds=3):
        """Does what may ask back, and says yes."""
        self.run("Services.wm.getMostRecentWindow('mail:3pane').setTimeout(() => {" + text + "}, 0);")
        end = time.time() + seconds
        while time.time() < end:
            try:
                return self.ask("WebDriver:AcceptAlert", {})
            except AssertionError as error:
                assert "no such alert" in str(error), error
                time.sleep(0.1)

    def stop(self):
        try:
            self.ask("Marionette:Quit", {"flags": ["eForceQuit"]})
        except (OSError, AssertionError):
            pass
        try:
            self.child.wait(60)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self.socket.close()


class World:
    hosts = ()

    def __init__(self, home, binaries, base):
        self.home, self.lines, self.read_to = home, [], 0
        settings = ["smtp.verify=false", "smtp.first-time-sender-delay=0s"]
        self.instance = Instance(settings, binaries, base, [f"{LOGIN}:{PASSWORD}", f"{OTHER}:{PASSWORD}"])
        self.bird = Bird(home, base + 900)

    def imap(self, login=LOGIN):
        """Another client of the same person."""
        client = imaplib.IMAP4_SSL("localhost", self.instance.port("imaps"), ssl_context=self.instance.tls)
        client._encoding = "utf-8"
        client.authenticate("PLAIN", lambda _: f"\0{login}\0{PASSWORD}".encode())
        return client

    def count(self, name, *criteria):
        """Messages the server finds in a mailbox."""
        client = self.imap()
        check(client.select(quoted(name), readonly=True))
        found = check(client.uid("SEARCH", *(criteria or ("ALL",))))[0].split()
        client.logout()
        return len(found)

    def flags(self, name, subject):
        """Flags of the only message with this subject."""
        client = self.imap()
        check(client.select(quoted(name), readonly=True))
        data = check(client.uid("FETCH", "1:*", "(FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])"))
        client.logout()
        found = [imaplib.ParseFlags(item[0]) for item in data if isinstance(item, tuple)
                 and str(email.message_from_bytes(item[1], policy=email.policy.default)["subject"]) == subject]
        assert len(found) == 1, f"{len(found)} messages with subject {subject} in {name}"
        return sorted(flag.decode() for flag in found[0])

    def whole(self, name, subject):
        """Octets of the only message with this subject."""
        client = self.imap()
        check(client.select(quoted(name), readonly=True))
        heads = check(client.uid("FETCH", "1:*", "(UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])"))
        uids = [re.search(rb"UID (\d+)", item[0])[1].decode() for item in heads if isinstance(item, tuple)
                and str(email.message_from_bytes(item[1], policy=email.policy.default)["subject"]) == subject]
        assert len(uids) == 1, f"{len(uids)} messages with subject {subject} in {name}"
        data = check(client.uid("FETCH", uids[0], "(BODY.PEEK[])"))
        client.logout()
        return data[0][1]

    def whole_undeleted(self, name, subject):
        client = self.imap()
        check(client.select(quoted(name), readonly=True))
        uids = check(client.uid("SEARCH", "UNDELETED", f'SUBJECT "{subject}"'))[0].split()
        found = [check(client.uid("FETCH", uid.decode(), "(BODY.PEEK[])"))[0][1] for uid in uids]
        client.logout()
        found = [octets for octets in found if email.message_from_bytes(octets)["subject"] == subject]
        assert len(found) == 1, f"{len(found)} messages with subject {subject} in {name}"
        return found[0]

    def deliver(self, subject, body="text\n", message=None, sender="friend@far.example"):
        if message is None:
            message = EmailMessage()
            message["From"], message["To"], message["Subject"] = f"A Friend <{sender}>", LOGIN, subject
            message["Message-ID"] = f"<{time.time_ns()}@far.example>"
            message["Date"] = email.utils.formatdate()
            message.set_content(body)
        with smtplib.SMTP("localhost", self.instance.port("smtp"), timeout=120) as smtp:
            smtp.send_message(message, sender, [LOGIN])

    def append(self, name, octets, flags=""):
        client = self.imap()
        check(client.append(quoted(name), flags, None, octets))
        client.logout()

    def kill(self, service):
        """Ends a service in the middle of everything; the supervisor starts it again when it is wanted."""
        for name, pid in self.instance.services():
            if name == service[:15]:
                os.kill(int(pid), signal.SIGKILL)

    def wire(self):
        """What Thunderbird said and heard, without contents: (connection, state and line), heard lines as they came."""
        with open(self.bird.log + ".moz_log", "rb") as file:
            file.seek(self.read_to)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self.read_to += len(line)
                found = re.search(rb"I/IMAP ([0-9a-f]+):localhost:(\S+?):(SendData|CreateNewLineFromSocket): (.*)", line)
                if found and (found[3] == b"SendData" or re.match(rb"(\* |\+ |\d+ (OK|NO|BAD))", found[4])):
                    connection, state, _, said = (part.decode(errors="replace") for part in found.groups())
                    self.lines.append((f"{connection[-5:]} {state}", said.rstrip()))
        return self.lines

    def close(self):
        self.bird.stop()
        self.instance.end()


def check(answer):
    assert answer[0] == "OK", answer
    return answer[1]


def quoted(name):
    """A mailbox name in modified UTF-7. RFC 3501 §5.1.3."""
    def shift(found):
        text = base64.b64encode(found[0].encode("utf-16-be")).decode().rstrip("=").replace("/", ",")
        return f"&{text}-"
    return '"' + re.sub(r"[^\x20-\x7e]+", shift, name.replace("&", "&-")) + '"'


def wait(what, fact, seconds=30):
    end = time.time() + seconds
    while not (found := fact()):
        assert time.time() < end, f"waited in vain for {what}"
        time.sleep(0.05)
    return found


def text(subject, body="text\n", **headers):
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "A Friend <friend@far.example>", LOGIN, subject
    message["Message-ID"] = f"<{time.time_ns()}@far.example>"
    message["Date"] = email.utils.formatdate()
    for name, value in headers.items():
        message[name] = value
    message.set_content(body)
    return message


def crlf(message):
    return message.as_bytes(policy=email.policy.SMTP)


def idle(w, name="INBOX", seconds=20):
    """Waits until Thunderbird idles in this mailbox; it takes two seconds of silence for that."""
    def idles():
        last = None
        for connection, line in w.wire():
            if connection.endswith("S-" + name) and not line.startswith("*"):
                last = line
        return last and last.startswith("+ ")
    wait(f"IDLE in {name}", idles, seconds)


def names(w):
    """Names on the server, and those subscribed, in letters."""
    client = w.imap()
    result = []
    for answer in (check(client.list()), check(client.lsub())):
        found = set()
        for line in answer:
            if isinstance(line, tuple):
                line = line[1]
            elif line and (match := re.search(rb'"/" (.*)$', line)):
                line = match[1]
            else:
                continue
            name = line.decode()
            if name.startswith('"'):
                name = re.sub(r"\\(.)", r"\1", name[1:-1])
            back = lambda m: base64.b64decode(m[1].replace(",", "/") + "===").decode("utf-16-be") if m[1] else "&"
            found.add(re.sub(r"&([^-]*)-", back, name))
        result.append(found)
    client.logout()
    return result


def same_counts(w, *mailboxes):
    """Thunderbird lists just what the server has: same UIDs, as many unread. It may look again, for ten seconds."""
    for name in mailboxes:
        end = time.time() + 10
        while True:
            client = w.imap()
            check(client.select(quoted(name), readonly=True))
            uids = [int(uid) for uid in check(client.uid("SEARCH", "ALL"))[0].split()]
            unread = len(check(client.uid("SEARCH", "UNSEEN"))[0].split())
            client.logout()
            listed, total, new = w.bird.run(r"""
let f = folder(args[0]);
await update(f);
return [heads(f).map(h => h.messageKey).sort((a, b) => a - b), f.getTotalMessages(false), f.getNumUnread(false)];
""", name)
            if (listed, total, new) == (uids, len(uids), unread):
                break
            assert time.time() < end, (f"{name}: Thunderbird lists {len(listed)}, the server {len(uids)}, not both "
                                       f"{sorted(set(listed) ^ set(uids))}; it counts {total}, {new} unread of {unread}")
            time.sleep(0.5)


def tries(what):
    try:
        what()
        return True
    except (OSError, smtplib.SMTPException, imaplib.IMAP4.error):
        time.sleep(0.3)
        return False
