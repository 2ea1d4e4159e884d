#!/usr/bin/env python3
"""Clients that mean no good, against `mox localserve` on loopback: limits hold, memory is bounded, others are served.

usage: abuse.py [--bin target/debug] [--units units] [--connections 10000]

Everything is bounded and ends by itself. Prints figures, one line an attack; exit code 1 if a limit did not hold.
"""
import argparse
import base64
import json
import os
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# Resident memory that a service may have whatever happens, MiB.
MOST_MEMORY = 200
# Until a message of a good client must be taken while others attack, seconds.
MOST_WAIT = 5.0
# Limits of the instance under attack: those of a real one, but for the pause, so that the script ends.
SETTINGS = [
    "smtp.verify=false", "service.bad-client-delay=50ms",
    "smtp.max-connections-per-ip=30", "smtp.new-connections-per-ip=300",
    "submission.max-connections-per-ip=30", "submission.new-connections-per-ip=300",
    "imap.max-connections-per-ip=30", "imap.new-connections-per-ip=300",
    "smtp.max-message-size=1MiB", "submission.max-message-size=1MiB",
]


class Instance:
    """A running localserve."""

    def __init__(self, binaries, units):
        self.home = tempfile.TemporaryDirectory(prefix="mox-abuse-")
        ready = os.path.join(self.home.name, "ready.json")
        command = [os.path.join(binaries, "mox"), "localserve", "--dir", os.path.join(self.home.name, "data"),
                   "--port-base", "12000", "--units", units, "--ready-file", ready]
        for setting in SETTINGS:
            command += ["--set", setting]
        self.log = open(os.path.join(self.home.name, "log"), "w")
        self.child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        begun = time.time()
        while not os.path.exists(ready):
            if self.child.poll() is not None or time.time() - begun > 60:
                sys.exit("localserve did not start")
            time.sleep(0.05)
        with open(ready) as file:
            self.ready = json.load(file)
        self.tls = ssl.create_default_context(cafile=self.ready["ca"])
        self.tls.check_hostname = False

    def port(self, name):
        return self.ready[name]["port"]

    def memory(self):
        """Resident MiB of each service."""
        found = {}
        for pid in os.listdir("/proc"):
            if not pid.isdigit():
                continue
            try:
                with open(f"/proc/{pid}/stat") as file:
                    name, rest = file.read().split("(", 1)[1].rsplit(") ", 1)
                with open(f"/proc/{pid}/statm") as file:
                    pages = int(file.read().split()[1])
            except OSError:
                continue
            if int(rest.split()[1]) == self.child.pid and name.startswith("mox-"):
                found[name] = pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)
        return found

    def end(self):
        self.child.send_signal(signal.SIGINT)
        try:
            self.child.wait(30)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self.home.cleanup()


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
    """An octet a second: they keep their places and nobody else's."""
    socks = []
    for number in range(30):
        sock = dial(instance.port("smtp"), "127.2.0.1")
        line(sock)
        socks.append(sock)
    for octet in b"EHLO slow":
        for sock in socks:
            sock.send(bytes([octet]))
        time.sleep(0.3)
    for sock in socks:
        sock.close()
    return True, "30 connections, an octet at a time"


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
    sent = flood(sock, b"X-Header: and another one\r\n" * 2000, 100 << 20)
    said = line(sock)
    sock.close()
    return sent <= 20 << 20, f"{sent >> 20} MiB taken, then {said[:9].decode(errors='replace').strip() or 'closed'}"


def long_lines(instance, _):
    """A line of 100 MB, within a message and as a command."""
    sock = transaction(instance, "127.3.0.2")
    sent = flood(sock, b"x" * (1 << 16), 100 << 20)
    sock.close()
    sock = dial(instance.port("smtp"), "127.3.0.3")
    line(sock)
    command = flood(sock, b"y" * (1 << 16), 100 << 20)
    sock.sendall(b"\r\n")
    said = line(sock)
    sock.close()
    fine = sent <= 20 << 20 and said.startswith(b"500")
    return fine, f"{sent >> 20} MiB of a message taken, {command >> 20} MiB of a command thrown away, {said[:3].decode()}"


def hellos(instance, _):
    """EHLO again and again, answers not read."""
    sock = dial(instance.port("smtp"), "127.4.0.1")
    line(sock)
    sent = flood(sock, b"EHLO [192.0.2.1]\r\n" * 1000, 2 << 20)
    sock.close()
    return True, f"{sent >> 10} KiB of EHLO taken without reading a reply"


def passwords(instance, _):
    """Wrong passwords over SMTP and IMAP in parallel, from one address."""
    login = instance.ready["accounts"][0]["login"]
    secret = base64.b64encode(f"\0{login}\0wrong".encode()).decode()
    looked_at, limited, lock = [0], [0], threading.Lock()

    def smtp():
        sock = instance.tls.wrap_socket(dial(instance.port("submissions"), "127.5.0.1", 30.0))
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
        sock = instance.tls.wrap_socket(dial(instance.port("imaps"), "127.5.0.1", 30.0))
        if line(sock).startswith(b"* BYE"):
            return False, True
        sock.sendall(f"a AUTHENTICATE PLAIN {secret}\r\n".encode())
        said = line(sock)
        return said.startswith(b"a NO"), said.startswith(b"* BYE")

    def work(one):
        for _ in range(10):
            try:
                denied, refused = one()
            except (OSError, ssl.SSLError):
                denied, refused = False, True
            with lock:
                looked_at[0] += denied
                limited[0] += refused

    threads = [threading.Thread(target=work, args=(one,)) for one in [smtp, imap] * 10]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Ten a minute; a window may end in between.
    return looked_at[0] <= 20, f"200 tried, {looked_at[0]} looked at, {limited[0]} refused unseen"


def smuggling(instance, _):
    """Every way to spell an end of data that is none: one message or none, never two."""
    ends = [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\r\n.\r\r\n", b"\n\r.\r\n",
            b"\r\n\x00.\r\n", b"\r\n.\x00\r\n", b"\n.\r", b"\r.\n", b"\r\n.\n\r\n", b"\r\r\n.\r\n"]
    through = []
    to = instance.ready["accounts"][0]["login"].encode()
    for number, end in enumerate(ends):
        sock = transaction(instance, f"127.6.0.{number + 1}")
        smuggled = b"MAIL FROM:<>\r\nRCPT TO:<" + to + b">\r\nDATA\r\nSubject: smuggled\r\n\r\nx\r\n.\r\n"
        sock.sendall(b"Subject: first\r\n\r\nbody" + end + smuggled + b"\r\n.\r\nQUIT\r\n")
        replies = []
        while said := line(sock):
            replies.append(said)
        sock.close()
        # The first end of data may be an honest one behind the trick; two messages kept is one too many.
        kept = [said for said in replies if said.startswith(b"250 2.0.0 kept")]
        # Where the end is an honest one after all, what follows are commands of the same client.
        bare = any(octet in end.replace(b"\r\n", b"") for octet in b"\r\n") and b"\r\n.\r\n" not in end
        if len(kept) > 1 or (bare and kept):
            through.append(end)
    return not through, f"{len(ends)} ways, {len(through)} got through {through or ''}"


ATTACKS = [connections, trickle, headers, long_lines, hellos, passwords, smuggling]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", default=os.path.join(HERE, "target", "debug"))
    parser.add_argument("--units", default=os.path.join(HERE, "units"))
    parser.add_argument("--connections", type=int, default=10_000)
    args = parser.parse_args()
    instance = Instance(args.bin, args.units)
    bad = 0
    try:
        good = Good(instance)
        good.start()
        for attack in ATTACKS:
            good.waits.clear()
            good.failures.clear()
            begun = time.time()
            held, text = attack(instance, args.connections)
            took = time.time() - begun
            time.sleep(0.7)
            memory = instance.memory()
            worst = max(good.waits, default=0.0)
            # A wait cut off by the end of an attack is seen with the next one.
            fine = held and not good.failures and max(memory.values()) < MOST_MEMORY
            bad += not fine
            sizes = " ".join(f"{name.removeprefix('mox-')} {size:.0f}" for name, size in sorted(memory.items()))
            print(f"{'ok ' if fine else 'BAD'} {attack.__name__}: {text}; {took:.1f} s; "
                  f"good client {len(good.waits)} messages, at most {worst * 1000:.0f} ms, "
                  f"{len(good.failures)} failed {good.failures[:1] or ''}; MiB {sizes}", flush=True)
        good.over = True
        good.join(10)
    finally:
        instance.end()
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
