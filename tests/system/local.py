"""A whole instance on loopback, `mox localserve`, from the packages that were built or from a folder of binaries."""
import glob
import json
import os
import signal
import ssl
import subprocess
import sys
import tempfile
import time

from hosts import PACKAGES, sh

HERE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def unpacked(folder):
    """Programs and units of the Debian packages."""
    packages = glob.glob(f"{PACKAGES}/*.deb")
    assert packages, f"no packages in {PACKAGES}"
    for package in packages:
        sh(["dpkg-deb", "-x", package, folder])
    units = next(path for path in (f"{folder}/usr/lib/systemd/system", f"{folder}/lib/systemd/system")
                 if os.path.isdir(path))
    return f"{folder}/usr/bin/mox", f"{folder}/usr/lib/mox", units


class Instance:
    """A running localserve. Without binaries those of the packages."""

    def __init__(self, settings, binaries=None, port_base=12000, accounts=(), prepare=None):
        self.home = tempfile.TemporaryDirectory(prefix="mox-local-")
        if binaries:
            self.mox, libexec, units = os.path.join(binaries, "mox"), binaries, os.path.join(HERE, "units")
        else:
            self.mox, libexec, units = unpacked(os.path.join(self.home.name, "packages"))
        self.data = os.path.join(self.home.name, "data")
        self.command = [self.mox, "localserve", "--dir", self.data, "--port-base", str(port_base), "--units", units,
                        "--libexec", libexec]
        for setting in settings:
            self.command += ["--set", setting]
        for account in accounts:
            self.command += ["--account", account]
        if prepare:
            self.start()
            self.stop()
            prepare(os.path.join(self.data, "config", "domains.toml"))
        self.start()

    def start(self):
        ready = os.path.join(self.home.name, "ready.json")
        self.log = open(os.path.join(self.home.name, "log"), "a")
        self.child = subprocess.Popen(self.command + ["--ready-file", ready], stdin=subprocess.DEVNULL,
                                      stdout=self.log, stderr=self.log)
        begun = time.time()
        while not os.path.exists(ready):
            if self.child.poll() is not None or time.time() - begun > 60:
                with open(self.log.name) as log:
                    sys.exit("localserve did not start\n" + log.read()[-2000:])
            time.sleep(0.05)
        with open(ready) as file:
            self.ready = json.load(file)
        os.unlink(ready)
        self.tls = ssl.create_default_context(cafile=self.ready["ca"])
        self.tls.check_hostname = False

    def port(self, name):
        return self.ready[name]["port"]

    def services(self):
        """Names and process ids of the services that run."""
        for pid in os.listdir("/proc"):
            if not pid.isdigit():
                continue
            try:
                with open(f"/proc/{pid}/stat") as file:
                    name, rest = file.read().split("(", 1)[1].rsplit(") ", 1)
            except OSError:
                continue
            if int(rest.split()[1]) == self.child.pid and name.startswith("mox-"):
                yield name, pid

    def memory(self, line="VmRSS"):
        """Resident MiB of each service: now, or with VmHWM the most since it was forgotten."""
        found = {}
        for name, pid in self.services():
            try:
                with open(f"/proc/{pid}/status") as file:
                    found[name] = next(int(text.split()[1]) for text in file if text.startswith(line)) / 1024
            except (OSError, StopIteration):
                continue
        return found

    def forget_peaks(self):
        """From now on the most is counted anew."""
        for _, pid in self.services():
            try:
                with open(f"/proc/{pid}/clear_refs", "w") as file:
                    file.write("5")
            except OSError:
                continue

    def stop(self):
        self.child.send_signal(signal.SIGINT)
        try:
            self.child.wait(30)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()

    def end(self):
        self.stop()
        self.home.cleanup()
