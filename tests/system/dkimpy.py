#!/usr/bin/env python3
"""dkimpy, an independent verifier, on what mox signs and seals: tests/golden/signed. The other direction, mox on what
dkimpy signed, are folders of tests/golden/auth.

usage: dkimpy.py [name ...]
Prints "system: name ok" for each. dkimpy and what it needs come from PyPI, fetched once on this machine.
"""
import glob
import os
import sys
import tempfile

from hosts import CACHE, run_tests, sh

HERE = os.path.dirname(os.path.abspath(__file__))
GOLDEN = os.path.join(HERE, "..", "golden", "signed")
LIBRARY = f"{CACHE}/dkimpy"


class Files:
    """No hosts: only files."""

    def __init__(self):
        self.hosts = []
        self.work = tempfile.mkdtemp(prefix="mox-dkimpy-")

    def close(self):
        pass

    def verify(self, key, case, change=None):
        import dkim

        with open(f"{GOLDEN}/dns") as file:
            record = dict(line.rstrip("\n").split(" ", 1) for line in file)[key]
        with open(f"{GOLDEN}/{key}-{case}.eml", "rb") as file:
            message = file.read()
        if change:
            assert change[0] in message
            message = message.replace(*change)

        def dns(name, timeout=5):
            return record.encode() if name == b"sel._domainkey.example.org." else None

        if case == "dkim":
            return dkim.verify(message, dnsfunc=dns)
        cv, results, reason = dkim.arc_verify(message, dnsfunc=dns)
        return (cv or b"none").decode(), [(r["instance"], bool(r["ams-valid"]), bool(r["as-valid"])) for r in results], reason


def dkimpy_is_there(_):
    if not glob.glob(f"{LIBRARY}/dkim/__init__.py"):
        sh([sys.executable, "-m", "pip", "install", "--quiet", "--only-binary", "cffi,pynacl", "--target", LIBRARY,
            "dkimpy", "dnspython", "pynacl"])
    sys.path.insert(0, LIBRARY)


def dkimpy_verifies_our_signatures(w):
    for key in ("rsa", "ed25519"):
        assert w.verify(key, "dkim"), key
        assert not w.verify(key, "dkim", (b"bye.", b"BYE.")), key
        # RFC 6376 section 8.15: nobody adds a field that is signed.
        assert not w.verify(key, "dkim", (b"From: Jane", b"From: Joe <joe@far.example>\r\nFrom: Jane")), key


def dkimpy_verifies_our_seals(w):
    # Of seals it knows RSA only.
    for key in ("rsa",):
        assert w.verify(key, "arc")[:2] == ("pass", [(1, True, True)]), w.verify(key, "arc")
        cv, results, reason = w.verify(key, "arc-twice")
        assert cv == "pass" and all(seal for _, _, seal in results) and len(results) == 2, (results, reason)
        for change in [(b"bye.", b"BYE."), (b"dmarc=pass", b"dmarc=fail")]:
            assert w.verify(key, "arc", change)[0] == "fail", change
        # A chain that broke is said to be, and stays broken.
        cv, results, reason = w.verify(key, "arc-failed")
        assert cv != "pass" and "reported failure" in reason and results[0][:2] == (2, True), (cv, results, reason)


if __name__ == "__main__":
    run_tests("dkimpy", Files(), [dkimpy_is_there],
              [dkimpy_verifies_our_signatures, dkimpy_verifies_our_seals], sys.argv[1:])
