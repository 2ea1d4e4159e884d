#!/usr/bin/env python3
"""Thunderbird, without a screen, does a person's whole job against a local instance.

usage: thunderbird.py [--bin FOLDER] [--port-base N] [--keep FOLDER] [name ...]
Runs all tests in order, or only those named (the set-up always runs). Prints "thunderbird: name ok" for each, and at the
end every answer that refused something. --keep leaves profile, logs and mail in a folder.
"""
import argparse
import base64
import email
import email.policy
import hashlib
import os
import re
import shutil
import smtplib
import sys
import tempfile
import time

from bird import LOGIN, OTHER, PASSWORD, World, check, crlf, idle, names, quoted, same_counts, text, tries, wait
from hosts import each_test


def it_signs_in(w):
    with open(w.instance.ready["ca"]) as file:
        ca = "".join(line.strip() for line in file if "-----" not in line)
    print("    CONDSTORE and COMPRESS are wanted:", w.bird.run(r"""
let [ca, login, password, imaps, submissions] = args;
Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB).addCertFromBase64(ca, "CT,,");
for (let origin of ["imap://localhost", "smtp://localhost"]) {
  let info = Cc["@mozilla.org/login-manager/loginInfo;1"].createInstance(Ci.nsILoginInfo);
  info.init(origin, null, origin, login, password, "", "");
  await Services.logins.addLoginAsync(info);
}
MailServices.accounts.createLocalMailAccount();
let incoming = MailServices.accounts.createIncomingServer(login, "localhost", "imap");
incoming.port = imaps;
incoming.socketType = Ci.nsMsgSocketType.SSL;
incoming.authMethod = Ci.nsMsgAuthMethod.passwordCleartext;
incoming.loginAtStartUp = true;
incoming.doBiff = true;
incoming.biffMinutes = 1;
let outgoing = MailServices.outgoingServer.createServer("smtp").QueryInterface(Ci.nsISmtpServer);
outgoing.hostname = "localhost";
outgoing.port = submissions;
outgoing = outgoing.QueryInterface(Ci.nsIMsgOutgoingServer);
outgoing.username = login;
outgoing.socketType = Ci.nsMsgSocketType.SSL;
outgoing.authMethod = Ci.nsMsgAuthMethod.passwordCleartext;
MailServices.outgoingServer.defaultServer = outgoing;
let identity = MailServices.accounts.createIdentity();
identity.email = login;
identity.fullName = "A Bird";
identity.smtpServerKey = outgoing.key;
identity.composeHtml = false;
identity.valid = true;
let made = MailServices.accounts.createAccount();
made.addIdentity(identity);
made.incomingServer = incoming;
MailServices.accounts.defaultAccount = made;
incoming.getNewMessages(incoming.rootFolder, null, null);
await until("INBOX", () => folders().some(f => f.getFlag(Ci.nsMsgFolderFlags.Inbox)));
return [incoming.QueryInterface(Ci.nsIImapIncomingServer).useCondStore, incoming.useCompressDeflate];
""", ca, LOGIN, PASSWORD, w.instance.port("imaps"), w.instance.port("submissions")))


def folders_have_their_uses(w):
    found = w.bird.run(r"""
let flags = Ci.nsMsgFolderFlags, uses = {};
await until("folders", () => folders().length >= 6);
await sleep(500);
for (let f of folders())
  uses[path(f)] = ["Inbox", "SentMail", "Drafts", "Trash", "Junk", "Archive"].filter(n => f.getFlag(flags[n])).join();
return uses;
""")
    client = w.imap()
    there = {re.search(rb'"/" "?([^"]*)"?$', line)[1].decode() for line in check(client.list())}
    client.logout()
    print("   ", found)
    assert {name.upper() for name in found} == {name.upper() for name in there}, (found, there)
    uses = {use: name for name, use in found.items() if use}
    assert set(uses) == {"Inbox", "SentMail", "Drafts", "Trash", "Junk", "Archive"}, uses


def new_mail_appears_at_once(w):
    w.bird.run("await update(folder('INBOX'));")
    idle(w)
    times = []
    for number in range(6):
        begun = time.time()
        w.deliver(f"at once {number}")
        w.bird.run("await until(args[0], () => heads(folder('INBOX')).some(h => h.mime2DecodedSubject == args[0]), 20000);",
                   f"at once {number}")
        times.append(time.time() - begun)
        idle(w)
    print("    from SMTP to the list:", " ".join(f"{t:.2f}" for t in times), "s")
    assert max(times) < 1.5, "IDLE does not tell at once"
    assert w.bird.run("return [folder('INBOX').getTotalMessages(false), folder('INBOX').getNumUnread(false)];") == [6, 6]


def messages_are_read_whole(w):
    plain = text("Grüße aus Köln – 日本語 🐦", "Schöne Grüße\n.ein Punkt\nFrom hier\n" + "x" * 900 + "\n")
    mixed = text("mixed", "see below\n")
    mixed.add_alternative("<p>see <b>below</b></p>", subtype="html")
    mixed.add_attachment(os.urandom(300_000), maintype="application", subtype="octet-stream", filename="größe.bin")
    mixed.add_attachment(text("inner"))
    big = text("big", "twenty megabytes\n")
    big.add_attachment(os.urandom(20 << 20), maintype="video", subtype="mp4", filename="film.mp4")
    bare = (b"From: friend@far.example\r\nTo: " + LOGIN.encode() + b"\r\nSubject: nothing\r\n\r\n")
    for message in (plain, mixed, big):
        w.deliver(None, message=message)
    w.append("INBOX", bare)
    for subject in ("Grüße aus Köln – 日本語 🐦", "mixed", "big", "nothing"):
        begun = time.time()
        got = w.bird.run(r"""
let f = folder("INBOX");
await update(f);
await until(args[0], () => heads(f).some(h => h.mime2DecodedSubject == args[0]), 20000);
// What its folder on disk adds.
let bytes = (await source(head(f, args[0]))).replace(/^(X-Mozilla-\S+: .*\r?\n)+/, "");
let hash = Cc["@mozilla.org/security/hash;1"].createInstance(Ci.nsICryptoHash);
hash.init(hash.SHA256);
let octets = new Uint8Array(bytes.length);
for (let n = 0; n < bytes.length; n++) octets[n] = bytes.charCodeAt(n);
hash.update(octets, octets.length);
return [bytes.length, hash.finish(true), bytes.slice(0, 3000)];
""", subject)
        took = time.time() - begun
        want = w.whole("INBOX", subject)
        assert got[0] == len(want), f"{subject}: {got[0]} octets of {len(want)}, {got[2]} instead of {want[:3000]}"
        assert base64.b64decode(got[1]) == hashlib.sha256(want).digest(), subject
        print(f"    {subject}: {len(want)} octets in {took:.2f} s")


def messages_are_shown(w):
    shown = w.bird.run(r"""
let win = Services.wm.getMostRecentWindow("mail:3pane"), pane = win.document.getElementById("tabmail").currentAbout3Pane;
let f = folder("INBOX");
pane.displayFolder(f.URI);
await until("list", () => pane.gFolder == f && pane.gDBView && pane.gDBView.rowCount >= 10);
let result = {};
for (let subject of ["mixed", "Grüße aus Köln – 日本語 🐦", "nothing"]) {
  pane.threadTree.selectedIndex = pane.gDBView.findIndexOfMsgHdr(head(f, subject), true);
  let box = pane.messageBrowser.contentWindow;
  await until("shown " + subject, () => box.gMessage?.mime2DecodedSubject == subject && box.msgLoaded);
  result[subject] = [box.getMessagePaneBrowser().contentDocument.querySelector(".moz-text-plain, .moz-text-html, .moz-text-flowed")?.textContent.trim().slice(0, 40) ?? "", box.currentAttachments.map(a => a.name)];
}
await until("seen", () => head(f, "mixed").isRead);
return result;
""")
    print("   ", shown)
    assert shown["mixed"][0].startswith("see below"), shown
    assert shown["mixed"][1][0] == "größe.bin", shown
    assert shown["Grüße aus Köln – 日本語 🐦"][0].startswith("Schöne Grüße"), shown
    wait("\\Seen on the server", lambda: "\\Seen" in w.flags("INBOX", "mixed"))


def flags_and_tags_go_both_ways(w):
    w.bird.run(r"""
let f = folder("INBOX");
f.markMessagesFlagged([head(f, "at once 0")], true);
f.markMessagesRead([head(f, "at once 0"), head(f, "at once 1")], true);
f.addKeywordsToMessages([head(f, "at once 1"), head(f, "at once 2")], "$label1");
MailServices.tags.addTagForKey("mein_größtes", "Größtes", "#ff0000", "");
MailServices.tags.addTag("Later today", "#00ff00", "");
for (let tag of MailServices.tags.getAllTags()) if (tag.tag == "Later today") f.addKeywordsToMessages([head(f, "at once 2")], tag.key);
""")
    wait("flags", lambda: w.flags("INBOX", "at once 0") == ["\\Flagged", "\\Seen"])
    wait("tag", lambda: w.flags("INBOX", "at once 1") == ["$label1", "\\Seen"])
    wait("own tag", lambda: len(w.flags("INBOX", "at once 2")) == 2)
    print("   ", w.flags("INBOX", "at once 2"))
    client = w.imap()
    check(client.select("INBOX"))
    number = check(client.search(None, 'SUBJECT "at once 3"'))[0].decode()
    check(client.store(number, "+FLAGS", "(\\Seen \\Flagged \\Answered $label2 $Forwarded)"))
    number = check(client.search(None, 'SUBJECT "at once 0"'))[0].decode()
    check(client.store(number, "-FLAGS", "(\\Seen)"))
    client.logout()
    state = w.bird.run(r"""
let f = folder("INBOX"), h = head(f, "at once 3");
await until("flags of others", () => h.isRead && h.isFlagged && h.getStringProperty("keywords").includes("$label2"), 10000);
await until("unread by others", () => !head(f, "at once 0").isRead, 10000);
return [h.getStringProperty("keywords"), (h.flags & Ci.nsMsgMessageFlags.Replied) != 0, (h.flags & Ci.nsMsgMessageFlags.Forwarded) != 0];
""")
    print("   ", state)
    assert state[1:] == [True, True], state
    w.bird.run("""let f = folder("INBOX"); f.removeKeywordsFromMessages([head(f, "at once 1")], "$label1");
f.markMessagesFlagged([head(f, "at once 0")], false);""")
    wait("tag gone", lambda: w.flags("INBOX", "at once 1") == ["\\Seen"])
    wait("flag gone", lambda: w.flags("INBOX", "at once 0") == [])


def folders_are_made_renamed_and_deleted(w):
    one = "Grüße & \"mehr\" 日本 100% 🐦"
    w.bird.run(r"""
let [one] = args;
root().createSubfolder(one, null);
await until("folder", () => folders().some(f => path(f) == one));
folder(one).createSubfolder("unten", null);
await until("folder below", () => folders().some(f => path(f) == one + "/unten"));
root().createSubfolder("Work", null);
await until("Work", () => folders().some(f => path(f) == "Work"));
""", one)
    there, subscribed = names(w)
    print("   ", sorted(there))
    assert one in there and f"{one}/unten" in there, there
    assert one in subscribed, subscribed
    w.bird.run(r"""
let [one] = args;
folder(one).rename("Anders, größer", null);
await until("new name", () => folders().some(f => path(f) == "Anders, größer") && !folders().some(f => path(f) == one));
await until("new name below", () => folders().some(f => path(f) == "Anders, größer/unten"));
""", one)
    there, _ = names(w)
    assert "Anders, größer/unten" in there and one not in there, there
    # Into another: as by dragging.
    w.bird.run(r"""
await copied(l => MailServices.copy.copyFolder(folder("Anders, größer"), folder("Work"), true, l, null));
await until("moved", () => folders().some(f => path(f) == "Work/Anders, größer/unten"));
""")
    there, _ = names(w)
    assert "Work/Anders, größer/unten" in there and "Anders, größer" not in there, there
    # Another client makes, subscribes and deletes.
    client = w.imap()
    check(client.create(quoted("Von außen")))
    check(client.subscribe(quoted("Von außen")))
    client.logout()
    w.bird.run(r"""
server().performExpand(null);
await until("folder of another", () => folders().some(f => path(f) == "Von außen"), 10000);
""")
    client = w.imap()
    check(client.unsubscribe(quoted("Von außen")))
    check(client.delete(quoted("Von außen")))
    client.logout()
    w.bird.run(r"""
server().performExpand(null);
await until("folder is gone", () => !folders().some(f => path(f) == "Von außen"), 10000);
""")
    # To the trash, with all below; as its question, answered with yes.
    w.bird.run(r"""
let f = folder("Work/Anders, größer"), trash = root().getFolderWithFlags(Ci.nsMsgFolderFlags.Trash);
await copied(l => MailServices.copy.copyFolder(f, trash, true, l, null));
await until("in the trash", () => folders().some(f => path(f).endsWith(trash.name + "/Anders, größer/unten")));
""")
    # It asks, and is told yes.
    w.bird.asked('folder("Trash/Anders, größer/unten").deleteSelf(null);')
    w.bird.run(r"""
await until("deleted", () => !folders().some(f => path(f).endsWith("unten")));
""")
    wait("the server has deleted", lambda: not any(name.endswith("unten") for found in names(w) for name in found))


COMPOSE = r"""
const compose = async (type, fill, original = null) => {
  let fields = Cc["@mozilla.org/messengercompose/composefields;1"].createInstance(Ci.nsIMsgCompFields);
  let params = Cc["@mozilla.org/messengercompose/composeparams;1"].createInstance(Ci.nsIMsgComposeParams);
  params.composeFields = fields;
  params.format = Ci.nsIMsgCompFormat.PlainText;
  params.type = Ci.nsIMsgCompType[type];
  params.identity = account().defaultIdentity;
  if (original) { params.originalMsgURI = original.folder.getUriForMsg(original); params.origMsgHdr = original; }
  fill(fields);
  let before = new Set(Services.wm.getEnumerator("msgcompose"));
  // A draft's own fields are read only so.
  if (type == "Draft")
    MailServices.compose.OpenComposeWindow(null, original, original.folder.getUriForMsg(original), params.type, params.format, params.identity, "", null);
  else
    MailServices.compose.OpenComposeWindowWithParams(null, params);
  let win = await until("a window to write in", () => [...Services.wm.getEnumerator("msgcompose")].find(w => !before.has(w)));
  await until("an editor", () => win.gMsgCompose?.editor && win.gMsgCompose.editor.document?.body && !win.gWindowLocked && win.gComposeType !== undefined && win.document.getElementById("msgSubject"));
  await sleep(800);
  return win;
};
const write = (win, text) => { let e = win.gMsgCompose.editor; e.QueryInterface(Ci.nsIHTMLEditor ?? Ci.nsIEditor); e.beginningOfDocument(); e.insertText(text); };
const sent = async win => { await win.GenericSendMessage(Ci.nsIMsgCompDeliverMode.Now); await until("sent", () => win.closed, 60000); };
"""


def mail_is_sent_and_a_copy_kept(w):
    octets = os.urandom(400_000)
    path = os.path.join(w.home, "größe 1.bin")
    with open(path, "wb") as file:
        file.write(octets)
    w.bird.run(COMPOSE + r"""
let [to, path] = args;
let win = await compose("New", f => {
  f.to = to; f.subject = "Grüße mit Anhang 🐦"; f.body = "Schön, daß es geht.\n.\n..zwei Punkte\nFrom hier\n";
  let a = Cc["@mozilla.org/messengercompose/attachment;1"].createInstance(Ci.nsIMsgAttachment);
  let file = Cc["@mozilla.org/file/local;1"].createInstance(Ci.nsIFile); file.initWithPath(path);
  a.url = Services.io.newFileURI(file).spec; a.name = file.leafName;
  f.addAttachment(a);
});
await sent(win);
""", OTHER, path)
    subject = "Grüße mit Anhang 🐦"

    def arrived():
        client = w.imap(OTHER)
        check(client.select("INBOX", readonly=True))
        uids = check(client.uid("SEARCH", "ALL"))[0].split()
        found = [check(client.uid("FETCH", uid.decode(), "(BODY.PEEK[])"))[0][1] for uid in uids]
        client.logout()
        return found
    got = wait("mail at the other's", arrived)
    assert len(got) == 1
    copy = w.whole("Sent", subject)
    for name, message in (("received", got[0]), ("copy", copy)):
        message = email.message_from_bytes(message, policy=email.policy.default)
        parts = [part for part in message.walk() if part.get_filename()]
        assert str(message["subject"]) == subject, name
        assert [part.get_filename() for part in parts] == ["größe 1.bin"], name
        assert parts[0].get_payload(decode=True) == octets, name
        body = message.get_body().get_content()
        assert "..zwei Punkte" in body and "\n.\n" in body.replace("\r", ""), (name, body)
    ids = [email.message_from_bytes(m)["Message-ID"] for m in (got[0], copy)]
    assert ids[0] == ids[1], ids
    assert w.flags("Sent", subject) == ["\\Seen"], w.flags("Sent", subject)


def mail_is_answered(w):
    w.append("INBOX", crlf(text("a question", "Geht es?\n", **{"Reply-To": OTHER})))
    w.bird.run(COMPOSE + r"""
let f = folder("INBOX");
await until("question", () => heads(f).some(h => h.mime2DecodedSubject == "a question"));
let win = await compose("Reply", () => {}, head(f, "a question"));
write(win, "Ja, es geht.\n");
await sent(win);
await until("answered", () => (head(f, "a question").flags & Ci.nsMsgMessageFlags.Replied) != 0);
""")
    wait("\\Answered", lambda: "\\Answered" in w.flags("INBOX", "a question"))
    client = w.imap(OTHER)

    def there():
        check(client.select("INBOX", readonly=True))
        return check(client.uid("SEARCH", 'SUBJECT "Re: a question"'))[0].split()
    uids = wait("the answer", there)
    assert len(uids) == 1
    message = email.message_from_bytes(check(client.uid("FETCH", uids[0].decode(), "(BODY.PEEK[])"))[0][1], policy=email.policy.default)
    client.logout()
    body = message.get_body().get_content()
    assert "> Geht es?" in body and "Ja, es geht." in body, body
    assert message["In-Reply-To"], message.items()
    assert w.count("Sent", 'SUBJECT "Re: a question"') == 1


def drafts_are_kept_changed_and_sent(w):
    w.bird.run(COMPOSE + r"""
let [to] = args;
let drafts = root().getFolderWithFlags(Ci.nsMsgFolderFlags.Drafts);
let win = await compose("New", f => { f.to = to; f.subject = "Entwurf"; f.body = "erste Fassung\n"; });
for (let n = 0; n < 3; n++) {
  write(win, "Fassung " + n + "\n");
  win.SaveAsDraft();
  await sleep(200);
  await until("saved " + n, () => !win.gSaveOperationInProgress && !win.gWindowLocked && !win.gSendOperationInProgress, 20000);
  await sleep(500);
}
// Without its question whether to save.
win.ComposeCanClose = () => true;
Services.wm.getMostRecentWindow("mail:3pane").setTimeout(() => win.close(), 100);
""", OTHER)
    w.bird.run('await until("closed", () => !Services.wm.getMostRecentWindow("msgcompose"));')
    same_counts(w, "Drafts")
    assert w.count("Drafts", "UNDELETED") == 1
    assert "\\Draft" in w.flags("Drafts", "Entwurf"), w.flags("Drafts", "Entwurf")
    body = w.whole("Drafts", "Entwurf").decode()
    assert "Fassung 2" in body and "Fassung 0" in body, body
    w.bird.run(COMPOSE + r"""
let drafts = root().getFolderWithFlags(Ci.nsMsgFolderFlags.Drafts);
let win = await compose("Draft", () => {}, head(drafts, "Entwurf"));
await sent(win);
""")
    wait("draft is gone", lambda: w.count("Drafts", "UNDELETED") == 0)
    assert w.count("Sent", "SUBJECT Entwurf") == 1
    client = w.imap(OTHER)

    def there():
        check(client.select("INBOX", readonly=True))
        return check(client.uid("SEARCH", "SUBJECT Entwurf"))[0].split()
    assert len(wait("draft at the other's", there)) == 1
    client.logout()


def messages_are_moved_and_copied(w):
    for number in range(20):
        w.append("INBOX", crlf(text(f"luggage {number}", f"piece {number}\n")), "(\\Flagged)" if number % 2 else "")
    client = w.imap()
    check(client.create(quoted("Ziel/größer")))
    check(client.subscribe(quoted("Ziel")))
    check(client.subscribe(quoted("Ziel/größer")))
    client.logout()
    before = w.count("INBOX")
    w.bird.run(r"""
let inbox = folder("INBOX");
server().performExpand(null);
await until("target", () => folders().some(f => path(f) == "Ziel/größer"));
let target = folder("Ziel/größer");
await update(inbox);
await until("luggage", () => heads(inbox).filter(h => h.mime2DecodedSubject.startsWith("luggage")).length == 20);
let pick = (from, to) => heads(inbox).filter(h => { let m = h.mime2DecodedSubject.match(/^luggage (\d+)$/); return m && m[1] >= from && m[1] < to; });
await copied(l => MailServices.copy.copyMessages(inbox, pick(0, 12), target, true, l, null, true));
await copied(l => MailServices.copy.copyMessages(inbox, pick(12, 16), target, false, l, null, true));
await update(target); await update(inbox);
await until("moved", () => heads(target).length == 16 && pick(0, 12).length == 0);
let hdr = head(target, "luggage 1");
if (!hdr.isFlagged) throw new Error("moved without its flag");
// Local and back: an upload.
let local = MailServices.accounts.localFoldersServer.rootFolder;
local.createSubfolder("Keller", null);
await until("cellar", () => local.containsChildNamed("Keller"));
let cellar = local.getChildNamed("Keller");
await copied(l => MailServices.copy.copyMessages(target, [head(target, "luggage 1"), head(target, "luggage 2")], cellar, true, l, null, true));
await until("in the cellar", () => heads(cellar).length == 2);
await copied(l => MailServices.copy.copyMessages(cellar, heads(cellar), target, true, l, null, true));
await update(target);
await until("back", () => heads(target).length == 16 && heads(cellar).length == 0, 20000);
""")
    assert w.count("Ziel/größer", "UNDELETED") == 16
    assert w.count("INBOX", "UNDELETED") == before - 12
    assert w.count("Ziel/größer", "UNDELETED", "FLAGGED") >= 7
    assert b"piece 1\r\n" in w.whole_undeleted("Ziel/größer", "luggage 1")


def messages_go_to_the_trash_and_from_there(w):
    before, there = w.count("INBOX"), w.count("Trash")
    w.bird.run(r"""
let inbox = folder("INBOX"), trash = root().getFolderWithFlags(Ci.nsMsgFolderFlags.Trash);
let some = heads(inbox).filter(h => /^luggage/.test(h.mime2DecodedSubject)).slice(0, 3);
await copied(l => inbox.deleteMessages(some, null, false, false, l, true));
await update(inbox); await update(trash);
""")
    assert w.count("Trash") == there + 3
    assert w.count("INBOX") == before - 3
    w.bird.run(r"""
let inbox = folder("INBOX"), trash = root().getFolderWithFlags(Ci.nsMsgFolderFlags.Trash);
// Undone, as with Ctrl-Z, of one more.
let hdr = heads(inbox).find(h => /^luggage/.test(h.mime2DecodedSubject));
await copied(l => inbox.deleteMessages([hdr], null, true, false, l, false)).catch(e => { if (!/0x/.test(e.message)) throw e; });
await update(inbox);
""")
    w.bird.asked("root().getFolderWithFlags(Ci.nsMsgFolderFlags.Trash).emptyTrash(null);")
    w.bird.run(r"""
let trash = root().getFolderWithFlags(Ci.nsMsgFolderFlags.Trash);
await until("empty trash", () => trash.getTotalMessages(true) == 0);
""")
    wait("the trash is empty", lambda: w.count("Trash") == 0)
    assert w.count("INBOX", "UNDELETED") == before - 4
    wait("folders in the trash are gone", lambda: not any(name.startswith("Trash/") for name in names(w)[0]))


def deleted_ones_are_expunged_when_compacted(w):
    w.bird.run(r"""
let inbox = folder("INBOX"), s = server().QueryInterface(Ci.nsIImapIncomingServer);
s.deleteModel = Ci.nsMsgImapDeleteModels.IMAPDelete;
let some = heads(inbox).filter(h => /^at once [45]$/.test(h.mime2DecodedSubject));
if (some.length != 2) throw new Error("no messages to delete");
await new Promise(done => { inbox.deleteMessages(some, null, false, false, null, true); sleep(1500).then(done); });
""")
    wait("\\Deleted", lambda: w.count("INBOX", "DELETED", 'SUBJECT "at once"') == 2)
    w.bird.run(r"""
await url(l => folder("INBOX").compact(l, null));
server().QueryInterface(Ci.nsIImapIncomingServer).deleteModel = Ci.nsMsgImapDeleteModels.MoveToTrash;
""")
    wait("expunged", lambda: w.count("INBOX", "DELETED") == 0 and w.count("INBOX", 'SUBJECT "at once 5"') == 0)
    same_counts(w, "INBOX")


def the_server_searches(w):
    found = w.bird.run(r"""
let search = (what, ...terms) => new Promise((done, fail) => {
  let session = Cc["@mozilla.org/messenger/searchSession;1"].createInstance(Ci.nsIMsgSearchSession), hits = [];
  session.addScopeTerm(Ci.nsMsgSearchScope.onlineMail, what);
  for (let [attribute, op, text] of terms) {
    let term = session.createTerm(), value = term.value;
    value.attrib = attribute; 
    if (typeof text == "number") value.size = text; else value.str = text;
    term.value = value; term.attrib = attribute; term.op = op; term.booleanAnd = true;
    session.appendTerm(term);
  }
  session.registerListener({
    onSearchHit(hdr) { hits.push(hdr.mime2DecodedSubject); },
    onSearchDone(status) { Components.isSuccessCode(status) ? done(hits.sort()) : fail(new Error("search: 0x" + status.toString(16))); },
    onNewSearch() {},
  });
  session.search(null);
});
let { Subject, Body, Sender, Size, AllAddresses } = Ci.nsMsgSearchAttrib, { Contains, DoesntContain, IsGreaterThan } = Ci.nsMsgSearchOp;
let inbox = folder("INBOX");
return [
  await search(inbox, [Body, Contains, "Schöne Grüße"]),
  await search(inbox, [Subject, Contains, "Köln"]),
  await search(inbox, [Subject, Contains, "日本語 🐦"]),
  await search(inbox, [Body, Contains, "twenty megabytes"], [Sender, Contains, "friend"]),
  await search(inbox, [Body, Contains, "quote \" and \\ back"]),
  await search(inbox, [Size, IsGreaterThan, 1000]),
  await search(folder("Ziel/größer"), [Body, Contains, "piece 1"], [Subject, DoesntContain, "luggage 1"]),
];
""")
    print("   ", found)
    cologne = ["Grüße aus Köln – 日本語 🐦"]
    assert found[:5] == [cologne, cologne, cologne, ["big"], []], found
    assert found[5] == ["big"], found
    assert found[6] == [], found


MANY = 5000


def five_thousand_are_fetched_for_offline(w):
    client = w.imap()
    check(client.create("many"))
    check(client.subscribe("many"))
    begun = time.time()
    for start in range(0, MANY, 50):
        parts = [b'M%d APPEND "many"' % start]
        for number in range(start, start + 50):
            octets = crlf(text(f"many {number}", f"number {number}\n" + "filler\n" * (number % 50)))
            parts.append(b" {%d+}\r\n%s" % (len(octets), octets))
        client.send(b"".join(parts) + b"\r\n")
        while not (line := client.readline()).startswith(b"M%d " % start):
            assert line, "closed"
        assert line.split()[1] == b"OK", line
    client.logout()
    print(f"    {MANY} appended in {time.time() - begun:.1f} s")
    begun = time.time()
    w.bird.run(r"""
server().performExpand(null);
await until("folder", () => folders().some(f => path(f) == "many"));
await update(folder("many"));
await until("heads", () => folder("many").getTotalMessages(false) == args[0], 90000);
""", MANY)
    print(f"    heads in {time.time() - begun:.1f} s")
    begun = time.time()
    w.bird.run(r"""
let f = folder("many");
f.setFlag(Ci.nsMsgFolderFlags.Offline);
f.downloadAllForOffline({ OnStartRunningUrl() {}, OnStopRunningUrl() {}, QueryInterface: ChromeUtils.generateQI(["nsIUrlListener"]) }, null);
await until("bodies", () => heads(f).every(h => h.flags & Ci.nsMsgMessageFlags.Offline), 150000);
""")
    print(f"    bodies in {time.time() - begun:.1f} s")
    octets = w.bird.run('return (await source(head(folder("many"), "many 4999"))).split("\\n").length;')
    assert octets > 49, octets
    same_counts(w, "many")


def all_are_marked_read(w):
    w.bird.run(r"""
let f = folder("many");
f.markAllMessagesRead(null);
await until("none unread", () => f.getNumUnread(false) == 0);
""")
    wait("all read at the server", lambda: w.count("many", "UNSEEN") == 0)
    client = w.imap()
    check(client.select("many"))
    check(client.store("1:2500", "-FLAGS.SILENT", "(\\Seen)"))
    check(client.store("10:19", "+FLAGS.SILENT", "(\\Deleted)"))
    check(client.expunge())
    client.logout()
    same_counts(w, "many")


def junk_is_marked(w):
    for number in range(3):
        w.deliver(f"buy this {number}", "cheap pills\n", sender="pills@shop.example")
    # What is told in the answer to a FETCH of a body it does not look at before its next look.
    same_counts(w, "INBOX")
    w.bird.run(r"""
let win = Services.wm.getMostRecentWindow("mail:3pane"), pane = win.document.getElementById("tabmail").currentAbout3Pane;
let f = folder("INBOX");
Services.prefs.setBoolPref("mail.spam.manualMark", true);
Services.prefs.setIntPref("mail.spam.manualMarkMode", 0);
pane.displayFolder(f.URI);
await until("list", () => pane.gFolder == f && pane.gDBView && heads(f).filter(h => /^buy this/.test(h.mime2DecodedSubject)).length == 3);
pane.threadTree.selectedIndex = pane.gDBView.findIndexOfMsgHdr(head(f, "buy this 0"), true);
await sleep(500);
pane.commandController.doCommand("cmd_markAsJunk");
await until("gone from the inbox", () => !heads(f).some(h => h.mime2DecodedSubject == "buy this 0"));
""")
    flags = wait("junk at the server", lambda: w.count("Junk", 'SUBJECT "buy this 0"') and w.flags("Junk", "buy this 0"))
    print("    in Junk:", flags)
    assert "$Junk" in flags, flags
    same_counts(w, "INBOX", "Junk")
    # Marked by one click, and believed at once.
    try:
        w.deliver("buy this again", "cheap pills\n", sender="pills@shop.example")
        raise AssertionError("taken from who was marked as junk")
    except smtplib.SMTPDataError as error:
        assert error.smtp_code == 451, error


def many_connections_at_once(w):
    w.bird.run("await Promise.all(folders().map(f => update(f)));")
    seen = {connection.split()[0] for connection, _ in w.wire()}
    print(f"    {len(seen)} connections so far")
    assert len(seen) >= 5, seen
    same_counts(w, *[name for name in names(w)[0]])


def compression_and_condstore_are_used(w):
    assert any("OK DEFLATE active" in line for _, line in w.wire()), "no COMPRESS"
    w.bird.run("server().QueryInterface(Ci.nsIImapIncomingServer).useCondStore = true;")
    w.bird.stop()
    w.bird.start()
    client = w.imap()
    check(client.select("many"))
    check(client.store("1:100", "+FLAGS.SILENT", "(\\Seen $label5)"))
    client.logout()
    w.bird.run("for (let n = 0; n < 2; n++) for (let f of folders()) await update(f);")
    client = w.imap()
    check(client.select("many"))
    check(client.store("1:50", "-FLAGS.SILENT", "(\\Seen $label5)"))
    client.logout()
    w.bird.run("for (let f of folders()) await update(f);")
    same_counts(w, "many")
    wire = w.wire()
    assert any(re.search(r"select .*\(CONDSTORE\)", line) for _, line in wire), "no CONDSTORE"
    assert any("CHANGEDSINCE" in line for _, line in wire), "no CHANGEDSINCE"


def a_new_start_lists_the_same(w):
    w.bird.stop()
    w.deliver("while it was closed")
    w.bird.start()
    w.bird.run(r"""
server().getNewMessages(folder("INBOX"), null, null);
await until("mail", () => heads(folder("INBOX")).some(h => h.mime2DecodedSubject == "while it was closed"));
""")
    same_counts(w, *names(w)[0])


def a_killed_server_loses_nothing(w):
    w.bird.run("await update(folder('INBOX'));")
    idle(w)
    w.kill("mox-imap")
    w.deliver("after imap")
    w.bird.run(r"""
await update(folder("INBOX")).catch(() => sleep(3000).then(() => update(folder("INBOX"))));
await until("mail", () => heads(folder("INBOX")).some(h => h.mime2DecodedSubject == "after imap"));
""")
    idle(w)
    w.kill("mox-store")
    wait("delivery", lambda: tries(lambda: w.deliver("after store")))
    w.bird.run(r"""
await update(folder("INBOX")).catch(() => sleep(3000).then(() => update(folder("INBOX"))));
await until("mail", () => heads(folder("INBOX")).some(h => h.mime2DecodedSubject == "after store"));
""")
    # An upload of forty that is interrupted three times.
    w.bird.run(r"""
let local = MailServices.accounts.localFoldersServer.rootFolder;
local.createSubfolder("Koffer", null);
await until("case", () => local.containsChildNamed("Koffer"));
let source = folder("many"), luggage = heads(source).slice(-40);
await copied(l => MailServices.copy.copyMessages(source, luggage, local.getChildNamed("Koffer"), false, l, null, true));
root().createSubfolder("Bahnhof", null);
await until("station", () => folders().some(f => path(f) == "Bahnhof"));
""")
    for victim in ("mox-store", "mox-imap", "mox-store", None):
        w.bird.run(r"""
let local = MailServices.accounts.localFoldersServer.rootFolder.getChildNamed("Koffer"), win = Services.wm.getMostRecentWindow("mail:3pane");
win.upload = "runs";
win.setTimeout(() => copied(l => MailServices.copy.copyMessages(local, heads(local), folder("Bahnhof"), true, l, null, true), 60000)
  .then(() => win.upload = "done", error => win.upload = error.message), 0);
""")
        time.sleep(0.15)
        if victim:
            w.kill(victim)
        state = w.bird.run("""let win = Services.wm.getMostRecentWindow("mail:3pane");
await until("upload", () => win.upload != "runs", 90000); return [win.upload, heads(MailServices.accounts.localFoldersServer.rootFolder.getChildNamed("Koffer")).length];""")
        print(f"    {victim or 'nothing'} killed: {state[0]}, {state[1]} left to do")
        if victim:
            wait("the server is back", lambda: tries(lambda: w.count("INBOX")))
    client = w.imap()
    check(client.select("Bahnhof"))
    data = check(client.uid("FETCH", "1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])"))
    client.logout()
    subjects = [bytes(item[1]).strip() for item in data if isinstance(item, tuple)]
    assert len(set(subjects)) == 40, f"{len(set(subjects))} of 40 arrived"
    # What was sent and not answered may have happened: then it is sent once more. RFC 9051 §6.3.12 knows no other way.
    waiting = {}
    for connection, line in w.wire():
        tag, _, rest = line.partition(" ")
        key = (connection.split()[0], tag)
        if rest.startswith('append "Bahnhof"'):
            waiting[key] = line
        elif key in waiting and re.match(r"(OK|NO|BAD) ", rest):
            del waiting[key]
    unanswered = len(waiting)
    print(f"    40 arrived, {len(subjects) - 40} twice, {unanswered} APPEND without an answer")
    assert len(subjects) - 40 <= unanswered, "a message is there twice that was acknowledged"
    same_counts(w, *names(w)[0])


def nothing_was_refused(w):
    refused = []
    sent = {}
    for connection, line in w.wire():
        tag, _, rest = line.partition(" ")
        key = (connection.split()[0], tag)
        if re.match(r"(NO|BAD) ", rest):
            refused.append(f"{sent.get(key, '?')[:150]} -> {line[:200]}")
        elif re.match(r"\* (NO|BAD|BYE) ", line):
            refused.append(line[:200])
        else:
            sent[key] = line
    for line in refused:
        print("   ", line)
    # The last are told to those who waited while the server was killed.
    assert all(" -> " not in line or "UNAVAILABLE" in line or "INUSE" in line for line in refused), refused


SETUP = [it_signs_in, folders_have_their_uses]
TESTS = [new_mail_appears_at_once, messages_are_read_whole, messages_are_shown, flags_and_tags_go_both_ways,
         folders_are_made_renamed_and_deleted, mail_is_sent_and_a_copy_kept, mail_is_answered,
         drafts_are_kept_changed_and_sent, messages_are_moved_and_copied, messages_go_to_the_trash_and_from_there,
         deleted_ones_are_expunged_when_compacted, the_server_searches, five_thousand_are_fetched_for_offline,
         all_are_marked_read, many_connections_at_once, a_new_start_lists_the_same,
         a_killed_server_loses_nothing, junk_is_marked, compression_and_condstore_are_used, nothing_was_refused]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--bin", help="folder of our programs [default: those of the packages]")
    parser.add_argument("--port-base", type=int, default=24000)
    parser.add_argument("--keep", help="folder for profile and logs, left behind")
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    if unknown := set(args.names) - {test.__name__ for test in TESTS}:
        sys.exit(f"no such test: {' '.join(sorted(unknown))}")
    home = args.keep or tempfile.mkdtemp(prefix="mox-thunderbird-")
    os.makedirs(home, exist_ok=True)
    world = World(home, args.bin, args.port_base)
    try:
        passed, failed = each_test("thunderbird", world, SETUP, TESTS, args.names)
    finally:
        if args.keep:
            shutil.copy(world.instance.log.name, os.path.join(home, "mox.log"))
        world.close()
    print(f"\nthunderbird: {passed} passed, {failed} failed")
    if not args.keep and not failed:
        shutil.rmtree(home, ignore_errors=True)
    else:
        print(f"profile and logs are in {home}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
