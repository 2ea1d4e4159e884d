#!/usr/bin/env python3
"""Clients that mean no good, against `mox localserve` on loopback: limits hold, memory is bounded, others are served.

usage: abuse.py [--bin target/debug] [--connections 10000] [name ...]

Without --bin the programs are those of the packages. All attacks in order, or those named. Everything is bounded and
ends by itself: two minutes altogether. Prints "system: name ok" and figures for each, with the resident memory of each
service: the most during the attack, and what is left of it.
"""
import argparse
import base64
import imaplib
import random
import smtplib
import socket
import ssl
import sys
import threading
import time

from local import Instance

# Resident memory that a service may have whatever happens, MiB.
MOST_MEMORY = 128
# Until a message of a good client must be taken while others attack, seconds.
MOST_WAIT = 5.0
# Octets of a message that is taken, as of a real instance; of more as much again is read.
MOST_MESSAGE = 100 << 20
# What the buffers of both ends may take besides.
BUFFERS = 20 << 20
# Limits of the instance under attack: those of a real one, but for the pause, so that the script ends.
SETTINGS = [
    # A DNS that is not there: what strangers send is parsed by mox-verify, as on a real host, and nobody is asked.
    'dns.servers=["127.0.0.1:9"]', "dns.timeout=100ms", "service.bad-client-delay=50ms",
    "smtp.max-connections-per-ip=30", "smtp.new-connections-per-ip=300",
    "submission.max-connections-per-ip=30", "submission.new-connections-per-ip=300",
    "imap.max-connections-per-ip=30", "imap.new-connections-per-ip=300",
]


def dial(port, source, wait=10.0):
    sock = socket.socket()
    sock.settimeout(wait)
    # Any address of 127.0.0.0/8 is ours.
    sock.bind((source, 0))
    sock.connect(("127.0.0.1", port))
    return sock


def line(sock):
    """One line, or what there was before the end."""
    got = b""
    while not got.endswith(b"\n"):
        try:
            some = sock.recv(1)
        except OSError:
            return got
        if not some:
            return got
        got += some
    return got


class Good(threading.Thread):
    """Somebody else, who only wants to send mail, all the time."""

    def __init__(self, instance):
        super().__init__(daemon=True)
        self.instance, self.over, self.waits, self.failures = instance, False, [], []

    def run(self):
        to = self.instance.ready["accounts"][0]["login"]
        while not self.over:
            begun = time.time()
            try:
                with smtplib.SMTP("127.0.0.1", self.instance.port("smtp"), timeout=MOST_WAIT,
                                  source_address=("127.200.0.1", 0)) as smtp:
                    smtp.sendmail("good@far.test", [to], "Subject: good\r\n\r\nhello\r\n")
                self.waits.append(time.time() - begun)
            except (OSError, smtplib.SMTPException) as error:
                self.failures.append(repr(error))
            time.sleep(0.3)


def connections(instance, count):
    """Many from few addresses: each has its share, the rest is told 421 and closed."""
    held, turned, gone = [], 0, 0
    sources = ["127.1.0.1", "127.1.0.2", "127.1.0.65", "127.1.9.1"]
    for number in range(count):
        try:
            sock = dial(instance.port("smtp"), sources[number % len(sources)], 2.0)
            said = line(sock)
        except OSError:
            gone += 1
            continue
        if said.startswith(b"220"):
            held.append(sock)
        else:
            turned += said.startswith(b"421")
            sock.close()
    open_now = len(held)
    for sock in held:
        sock.close()
    # 30 for each address at once, 90 for two of one /26.
    return open_now <= 30 * len(sources), f"{count} tried, {open_now} held open, {turned} told 421, {gone} not connected"


def trickle(instance, _):
    """An octet a second, over SMTP and IMAP: they keep their places and nobody else's."""
    socks, refused = [], []
    for service, text, full in (("smtp", b"EHLO slow", b"421"), ("imap", b"a LOGIN x", b"* BYE")):
        for number in range(30):
            sock = dial(instance.port(service), "127.2.0.1")
            line(sock)
            socks.append((sock, text))
        # The share of the address is used up.
        more = dial(instance.port(service), "127.2.0.1")
        refused.append(line(more).startswith(full))
        more.close()
    for at in range(9):
        for sock, text in socks:
            sock.send(text[at:at + 1])
        time.sleep(1.0)
    for sock, _ in socks:
        sock.close()
    return all(refused), "30 connections of one address to each of SMTP and IMAP, an octet a second; one more is told 421, BYE"


def transaction(instance, source):
    sock = dial(instance.port("smtp"), source)
    line(sock)
    to = instance.ready["accounts"][0]["login"]
    sock.sendall(f"EHLO [192.0.2.1]\r\nMAIL FROM:<>\r\nRCPT TO:<{to}>\r\nDATA\r\n".encode())
    while not (said := line(sock)).startswith(b"354"):
        if not said:
            raise OSError("no 354")
    return sock


def flood(sock, piece, most):
    """Sends until the server has had enough; how much it took."""
    sent = 0
    try:
        while sent < most:
            sock.sendall(piece)
            sent += len(piece)
    except OSError:
        pass
    return sent


def headers(instance, _):
    """Header fields without end."""
    sock = transaction(instance, "127.3.0.1")
    sent = flood(sock, b"X-Header: and another one\r\n" * 2000, 4 * MOST_MESSAGE)
    said = line(sock)
    sock.close()
    fine = sent <= 2 * MOST_MESSAGE + BUFFERS
    return fine, f"{sent >> 20} MiB sent, then {said[:9].decode(errors='replace').strip() or 'closed'}"


def large(instance, _):
    """As much as is taken: all of it header fields, or one line."""
    octets = MOST_MESSAGE - (1 << 20)
    field = b"X-Header: and another one\r\n"
    said = []
    for number, message in enumerate((field * (octets // len(field)) + b"\r\nx",
                                      b"Subject: one line\r\n\r\n" + b"x" * octets + b"needle")):
        begun = time.time()
        reply = delivered(instance, f"127.3.1.{number + 1}", message)
        said.append(f"{reply[:9].decode(errors='replace').strip()} after {time.time() - begun:.1f} s")
    # TR-53: it is searched without being in memory.
    begun = time.time()
    imap = imaplib.IMAP4_SSL("127.0.0.1", instance.port("imaps"), ssl_context=instance.tls)
    account = instance.ready["accounts"][0]
    imap.login(account["login"], account["password"])
    imap.select("INBOX")
    found = [imap.uid("SEARCH", 'SUBJECT "one line"', "BODY", word)[1][0].split() for word in ("needle", "noodle")]
    imap.logout()
    said.append(f"{time.time() - begun:.1f} s")
    # So much header is not looked at, so it is not taken.
    fine = said[0].startswith("554 5.6.0") and said[1].startswith("250") and [len(one) for one in found] == [1, 0]
    return fine, f"99 MiB of header: {said[0]}; a line of 99 MiB: {said[1]}, searched twice in {said[2]}"


def delivered(instance, source, message):
    sock = transaction(instance, source)
    sock.settimeout(60.0)
    sock.sendall(message + b"\r\n.\r\n")
    said = line(sock)
    sock.close()
    return said


def many_parts(instance, _):
    """1000 levels of MIME, and as many parts as fit."""
    nested = b"Subject: nested\r\nMIME-Version: 1.0\r\n" + b"".join(
        b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n' % (level, level) for level in range(1000))
    wide = b"Subject: wide\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    wide += b"--b\r\n\r\nx\r\n" * 60_000 + b"--b--\r\n"
    said = [delivered(instance, f"127.8.0.{number + 1}", message) for number, message in enumerate((nested, wide))]
    begun = time.time()
    imap = imaplib.IMAP4_SSL("127.0.0.1", instance.port("imaps"), ssl_context=instance.tls)
    account = instance.ready["accounts"][0]
    imap.login(account["login"], account["password"])
    imap.select("INBOX")
    _, found = imap.uid("SEARCH", "OR", "SUBJECT", "nested", "SUBJECT", "wide")
    sizes = []
    for uid in found[0].split():
        done, parts = imap.uid("FETCH", uid, "(BODYSTRUCTURE ENVELOPE)")
        sizes.append(len(str(parts)))
        assert done == "OK", parts
    imap.logout()
    fine = all(one.startswith(b"250") for one in said) and len(sizes) == 2 and max(sizes) < 8 << 20
    return fine, (f"both taken, {len(nested) >> 10} and {len(wide) >> 10} KiB, and their structure fetched: "
                  f"{' and '.join(str(size >> 10) for size in sizes)} KiB in {time.time() - begun:.1f} s")


def long_lines(instance, _):
    """A line of 100 MB, within a message and as a command."""
    sock = transaction(instance, "127.3.0.2")
    sent = flood(sock, b"x" * (1 << 16), 4 * MOST_MESSAGE)
    sock.close()
    sock = dial(instance.port("smtp"), "127.3.0.3")
    line(sock)
    command = flood(sock, b"y" * (1 << 16), 100 << 20)
    sock.sendall(b"\r\n")
    said = line(sock)
    sock.close()
    # The same for a literal and a command of IMAP.
    imap = instance.tls.wrap_socket(dial(instance.port("imaps"), "127.3.0.4"))
    line(imap)
    flood(imap, b"z" * (1 << 16), 100 << 20)
    imap.close()
    fine = sent <= 2 * MOST_MESSAGE + BUFFERS and said.startswith(b"500")
    return fine, f"{sent >> 20} MiB of a message taken, {command >> 20} MiB of a command thrown away, {said[:3].decode()}"


def hellos(instance, _):
    """EHLO again and again, answers not read, over several connections."""
    sent = 0
    socks = [dial(instance.port("smtp"), "127.4.0.1", 1.0) for _ in range(10)]
    for sock in socks:
        line(sock)
        sent += flood(sock, b"EHLO [192.0.2.1]\r\n" * 1000, 20 << 20)
    for sock in socks:
        sock.close()
    # What is not answered is not read: more than the buffers of both ends is not taken.
    return sent < 10 * 12 << 20, f"{sent >> 10} KiB of EHLO taken over 10 connections that read no reply"


def signed_in(instance, source):
    """An IMAP connection of a person, over TLS."""
    account = instance.ready["accounts"][0]
    sock = instance.tls.wrap_socket(dial(instance.port("imaps"), source))
    line(sock)
    sock.sendall(f"a LOGIN {account['login']} {account['password']}\r\n".encode())
    said = line(sock)
    assert said.startswith(b"a OK"), said
    return sock


def deaf(instance, _):
    """People whose programs ask for far more than they read: FETCH without end, and IDLE in a busy mailbox."""
    message = b"Subject: large\r\n\r\n" + (b"x" * 78 + b"\r\n") * 10_000
    sock = signed_in(instance, "127.9.0.1")
    sock.sendall(b"b APPEND INBOX {%d+}\r\n%b\r\n" % (len(message), message))
    assert line(sock).startswith(b"b OK")
    socks, sent = [], 0
    for number in range(20):
        one = signed_in(instance, f"127.9.1.{number + 1}")
        one.sendall(b"b SELECT INBOX\r\n")
        one.settimeout(1.0)
        if number % 2:
            one.sendall(b"c IDLE\r\n")
        else:
            sent += flood(one, b"c FETCH 1:* BODY.PEEK[]\r\n" * 1000, 20 << 20)
        socks.append(one)
    changes = b"".join(b"d STORE 1:* +FLAGS (k%d)\r\nd STORE 1:* -FLAGS (k%d)\r\n" % (n, n) for n in range(100))
    sock.sendall(b"c SELECT INBOX\r\n" + changes + b"e NOOP\r\n")
    while not (said := line(sock)).startswith(b"e OK"):
        assert said, "closed"
    for one in socks + [sock]:
        one.close()
    return sent < 10 * 12 << 20, f"{sent >> 10} KiB of FETCH taken over 10 connections that read nothing, 200 changes told to 10 more"


def garbage(instance, _):
    """Octets that mean nothing, without end, to IMAP: from strangers and from people."""
    numbers, taken, ended = random.Random(1), [], 0
    pieces = [b"a", b" ", b"\r\n", b"(", b"{5+}\r\n", b'"', b"\0", b"\\", b"FETCH 1:* ", b"\xff"]
    text = b"".join(numbers.choice(pieces) for _ in range(300_000))
    for number in range(10):
        source = f"127.9.2.{number + 1}"
        sock = signed_in(instance, source) if number % 2 else dial(instance.port("imap"), source)
        sock.settimeout(2.0)
        taken.append(flood(sock, text, 100 << 20))
        try:
            while got := sock.recv(1 << 16):
                ended += b"* BYE" in got
        except OSError:
            # A reset: it did not even want to hear the rest.
            ended += 1
        sock.close()
    return max(taken) <= 20 << 20, f"at most {max(taken) >> 10} KiB taken of each of 10 connections, {ended} times BYE or closed"


def passwords(instance, _):
    """Wrong passwords over SMTP and IMAP in parallel, from one address."""
    login = instance.ready["accounts"][0]["login"]
    secret = base64.b64encode(f"\0{login}\0wrong".encode()).decode()
    looked_at, limited, lock = [0], [0], threading.Lock()
    begun = time.time()

    def smtp():
        sock = instance.tls.wrap_socket(dial(instance.port("submissions"), "127.5.0.1", 10.0))
        said = line(sock)
        if said.startswith(b"421"):
            return False, True
        sock.sendall(b"EHLO me\r\n")
        while line(sock)[3:4] == b"-":
            pass
        sock.sendall(f"AUTH PLAIN {secret}\r\n".encode())
        said = line(sock)
        return said.startswith(b"535"), said.startswith(b"421")

    def imap():
        sock = instance.tls.wrap_socket(dial(instance.port("imaps"), "127.5.0.1", 10.0))
        if line(sock).startswith(b"* BYE"):
            return False, True
        sock.sendall(f"a AUTHENTICATE PLAIN {secret}\r\n".encode())
        said = line(sock)
        return said.startswith(b"a NO"), said.startswith(b"* BYE")

    def work(one):
        for _ in range(4):
            try:
                denied, refused = one()
            except (OSError, ssl.SSLError):
                # Also one that is answered too slowly to wait for.
                denied, refused = False, True
            with lock:
                looked_at[0] += denied
                limited[0] += refused

    threads = [threading.Thread(target=work, args=(one,)) for one in [smtp, imap] * 10]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Ten a minute, of which some may be at either end of the time this took.
    most = 10 * (int((time.time() - begun) // 60) + 2)
    return looked_at[0] <= most, f"80 tried, {looked_at[0]} looked at, {limited[0]} refused unseen or slowly"


def smuggling(instance, _):
    """Every way to spell an end of data that is none: one message or none, never two."""
    breaks = [b"\r\n", b"\n", b"\r", b"\r\r\n", b"\n\r", b"\n\n", b"\r\r", b"\r\n\0", b"\0\r\n", b"\r\0\n", b"\n\0", b"\v", b"\x85"]
    ends = [before + b"." + after for before in breaks for after in breaks if before + after != b"\r\n\r\n"]
    ends += [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\r\n.\r\r\n", b"\n\r.\r\n",
            b"\r\n\x00.\r\n", b"\r\n.\x00\r\n", b"\n.\r", b"\r.\n", b"\r\n.\n\r\n", b"\r\r\n.\r\n"]
    ends = list(dict.fromkeys(ends))
    through = []
    to = instance.ready["accounts"][0]["login"].encode()
    for number, end in enumerate(ends):
        sock = transaction(instance, f"127.6.{number // 200}.{number % 200 + 1}")
        smuggled = b"MAIL FROM:<>\r\nRCPT TO:<" + to + b">\r\nDATA\r\nSubject: smuggled\r\n\r\nx\r\n.\r\n"
        sock.sendall(b"Subject: first\r\n\r\nbody" + end + smuggled + b"\r\n.\r\nQUIT\r\n")
        replies = []
        while said := line(sock):
            replies.append(said)
        sock.close()
        kept = [said for said in replies if said.startswith(b"250 2.0.0 kept")]
        # Where the end is an honest one after all, what follows are commands of the same client; else two messages kept
        # are one too many, and one is, where a bare octet spoils it.
        honest = b"\r\n.\r\n" in end
        bare = not honest and any(octet in end.replace(b"\r\n", b"") for octet in b"\r\n")
        if len(kept) > 1 + honest or (bare and kept):
            through.append(end)
    return not through, f"{len(ends)} ways, {len(through)} got through {through or ''}"


ATTACKS = [connections, trickle, headers, large, many_parts, long_lines, hellos, deaf, garbage, passwords, smuggling]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", default=None)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    unknown = set(args.names) - {attack.__name__ for attack in ATTACKS}
    if unknown:
        sys.exit(f"no such attack: {' '.join(sorted(unknown))}")
    instance = Instance(SETTINGS, args.bin)
    bad = 0
    try:
        good = Good(instance)
        good.start()
        for attack in [attack for attack in ATTACKS if not args.names or attack.__name__ in args.names]:
            good.waits.clear()
            good.failures.clear()
            instance.forget_peaks()
            begun = time.time()
            try:
                held, text = attack(instance, args.connections)
            except (OSError, AssertionError, imaplib.IMAP4.error) as error:
                held, text = False, repr(error)
            took = time.time() - begun
            time.sleep(0.7)
            memory, peaks = instance.memory(), instance.memory("VmHWM")
            worst = max(good.waits, default=0.0)
            # A wait cut off by the end of an attack is seen with the next one.
            fine = held and good.waits and not good.failures and max(peaks.values()) < MOST_MEMORY
            bad += not fine
            sizes = " ".join(f"{name.removeprefix('mox-')} {size:.0f}/{memory.get(name, 0):.0f}" for name, size in sorted(peaks.items()))
            print(f"system: abuse_by_{attack.__name__} {'ok' if fine else 'FAILED'} ({took:.1f} s)\n    {text}\n"
                  f"    good client {len(good.waits)} messages, at most {worst * 1000:.0f} ms, "
                  f"{len(good.failures)} failed {good.failures[:1] or ''}; MiB at most/after {sizes}", flush=True)
        good.over = True
        good.join(10)
    finally:
        instance.end()
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
