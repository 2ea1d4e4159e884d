#!/usr/bin/env python3
"""`make run` on a fresh Debian with nothing but a Rust toolchain, then the two lines it prints, pasted.

usage: bare.py [--fresh] [--suite bookworm|trixie]
The container shares this machine's network (for apt and crates) and its toolchain. Without --fresh it also shares what is
built already, so only what changed is compiled; with it everything is, and the time until the table stands is the figure.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import time

from hosts import CACHE, OWN_CGROUP, sh, workspace

HOME = os.path.expanduser("~")
SOURCE = os.path.realpath(os.path.join(os.path.dirname(__file__), "../.."))
CARGO = os.environ.get("CARGO_HOME", f"{HOME}/.cargo")
RUSTUP = os.environ.get("RUSTUP_HOME", f"{HOME}/.rustup")


def bare_image(suite):
    """What debootstrap calls minimal, with make and certificates for the registry."""
    path = f"{CACHE}/image/{suite}-bare"
    if not os.path.isdir(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        shutil.rmtree(path + ".new", ignore_errors=True)
        sh(["mmdebstrap", "--variant=minbase", "--include=make,ca-certificates", suite, path + ".new"])
        os.rename(path + ".new", path)
    return path


class Bare:
    """A container without an init of its own, where commands run as root."""

    def __init__(self, suite, fresh):
        self.work = workspace()
        self.root = f"{self.work}/root"
        sh(["cp", "-a", "--reflink=auto", bare_image(suite), self.root])
        shutil.copy("/etc/resolv.conf", f"{self.root}/etc/resolv.conf")
        target = os.environ.get("CARGO_TARGET_DIR", f"{CACHE}/target")
        binds = [f"--bind-ro={SOURCE}", f"--bind-ro={RUSTUP}", f"--bind={CARGO}", "--bind-ro=/etc/ssl/certs"]
        if not fresh:
            binds.append(f"--bind={target}")
        self.command = ["/bin/sh", "-c", OWN_CGROUP, "mox-bare", "systemd-nspawn", "--quiet", "--register=no", "--keep-unit",
                        "-D", self.root, "--as-pid2", "--resolv-conf=off", f"--chdir={SOURCE}", *binds,
                        f"--setenv=CARGO_HOME={CARGO}", f"--setenv=RUSTUP_HOME={RUSTUP}", f"--setenv=CARGO_TARGET_DIR={target}",
                        f"--setenv=PATH={CARGO}/bin:/usr/sbin:/usr/bin:/sbin:/bin", "--setenv=HOME=/root", "--setenv=LANG=C.UTF-8",
                        "--setenv=SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"]
        self.log = f"{self.work}/log"
        self.process = None

    def make_run(self):
        """Starts it; returns what the ready file says and the seconds until it was there."""
        began = time.time()
        self.process = subprocess.Popen(self.command + ["-M", "mox-bare", "/usr/bin/make", "run", "ARGS=--ready-file /root/ready"],
                                        stdin=subprocess.DEVNULL, stdout=open(self.log, "w"), stderr=subprocess.STDOUT)
        while not os.path.exists(f"{self.root}/root/ready"):
            assert self.process.poll() is None, open(self.log).read()[-3000:]
            assert time.time() - began < 1800, "make run takes longer than half an hour"
            time.sleep(0.1)
        time.sleep(0.5)
        with open(f"{self.root}/root/ready") as file:
            return json.load(file), time.time() - began

    def inside(self, command, check=True):
        """Runs a shell command in the running container."""
        leader = sh(["pgrep", "-P", str(self.process.pid)]).split()[0]
        return sh(["nsenter", "-t", leader, "-m", "-u", "-i", "-p", "--", "/usr/bin/env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
                   "HOME=/root", "LANG=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", "/bin/sh", "-c", command], check=check)

    def stop(self):
        """Ctrl-C, as a person would."""
        self.inside("pkill -INT -x mox")
        self.process.wait(30)

    def close(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(30)


def printed(log, word):
    """The line to paste that the table shows."""
    lines = [line.strip() for line in open(log).read().splitlines() if line.strip().startswith(word)]
    assert lines, f"no {word} line in:\n" + open(log).read()[-3000:]
    return lines[-1]


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--fresh", action="store_true")
    arguments.add_argument("--suite", default="bookworm")
    arguments = arguments.parse_args()
    bare = Bare(arguments.suite, arguments.fresh)
    began = time.time()
    try:
        ready, first = bare.make_run()
        assert ready["accounts"][0]["login"] == "mox@localhost", ready
        bare.inside("apt-get update -qq && apt-get install -y -qq --no-install-recommends swaks libnet-ssleay-perl curl")
        sent = bare.inside(printed(bare.log, "swaks"))
        assert "250 " in sent, sent
        read = printed(bare.log, "curl")
        for _ in range(50):
            got = bare.inside(read, check=False)
            if "Subject: " in got:
                break
            time.sleep(0.1)
        assert "Subject: " in got, got
        bare.stop()
        os.remove(f"{bare.root}/root/ready")
        _, second = bare.make_run()
        assert "Subject: " in bare.inside(read), "mail is gone after a second start"
        bare.stop()
    finally:
        bare.close()
    print(f"  {arguments.suite}: first make run {first:.1f} s{' from nothing' if arguments.fresh else ''}, second {second:.1f} s")
    print(f"system: make_run_in_a_bare_container ok ({time.time() - began:.1f} s)\n\nsystem: 1 passed, 0 failed")
    shutil.rmtree(bare.work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
