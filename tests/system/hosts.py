"""Booted containers with real systemd on one link, and a DNSSEC-signed zone beside them.

Everything lives in network namespaces of our own: nothing here touches the machine's network.
"""
import glob
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

CACHE = os.path.expanduser("~/.cache/mox")
PACKAGES = os.environ.get("MOX_PACKAGES", f"{CACHE}/packages/deb")
INCLUDE = ("systemd,systemd-sysv,dbus,polkitd,ca-certificates,curl,swaks,iproute2,procps,netcat-openbsd,"
           "libnet-ssleay-perl,libio-socket-ssl-perl,isync,cron,openssl")
SUITE = "bookworm"
DNS = "192.0.2.53"
# Two systemds in one control group would remove each other's: each host gets one of its own, cgroup v1 and v2 alike.
OWN_CGROUP = """
for root in /sys/fs/cgroup/systemd /sys/fs/cgroup/unified /sys/fs/cgroup; do
  [ -f $root/cgroup.procs ] || continue
  mkdir -p $root/$0 && echo $$ >$root/$0/cgroup.procs
done
exec "$@"
"""


def sh(command, check=True, **more):
    """Runs on this machine."""
    done = subprocess.run(command, shell=isinstance(command, str), capture_output=True, text=True, **more)
    if check and done.returncode:
        raise AssertionError(f"{command}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def image(more=""):
    """A small Debian with systemd, made once; one with more packages beside it."""
    include = f"{INCLUDE},{more}" if more else INCLUDE
    path = f"{CACHE}/image/{SUITE}-{hashlib.sha256(include.encode()).hexdigest()[:12]}"
    if not os.path.isdir(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        shutil.rmtree(path + ".new", ignore_errors=True)
        print("making the container image", flush=True)
        sh(["mmdebstrap", "--variant=minbase", f"--include={include}", SUITE, path + ".new"])
        os.rename(path + ".new", path)
    return path


class Link:
    """A bridge in a namespace of its own, where the name server lives, too."""

    def __init__(self, work):
        self.work = work
        self.knot = None
        self.names = ["moxsw"]
        sh("ip netns del moxsw", check=False)
        sh("ip netns add moxsw && ip -n moxsw link set lo up && ip -n moxsw link add br0 type bridge"
           f" && ip -n moxsw addr add {DNS}/24 dev br0 && ip -n moxsw link set br0 up")

    def join(self, name, address):
        """A namespace on the link."""
        sh(f"ip netns del {name}", check=False)
        sh(f"ip netns add {name} && ip -n {name} link set lo up"
           f" && ip link add host0 netns {name} type veth peer name p-{name} netns moxsw"
           f" && ip -n moxsw link set p-{name} master br0 up"
           f" && ip -n {name} addr add {address}/24 dev host0 && ip -n {name} link set host0 up")
        self.names.append(name)

    def make_key(self):
        """The key of the private root; returns the trust anchor."""
        base = sh(["ldns-keygen", "-a", "ECDSAP256SHA256", "-k", "."], cwd=self.work).strip()
        self.key = base
        with open(f"{self.work}/{base}.key") as file:
            return file.read()

    def serve(self, records):
        """Signs the private root with these records and serves it."""
        lines = [". 60 SOA ns.test. admin.test. 1 60 60 60 60", ". 60 NS ns.test.", f"ns.test. 60 A {DNS}", *records]
        with open(f"{self.work}/root.zone", "w") as file:
            file.write("\n".join(lines) + "\n")
        sh(["ldns-signzone", "-n", "-o", ".", "root.zone", self.key], cwd=self.work)
        os.makedirs(f"{self.work}/knot", exist_ok=True)
        with open(f"{self.work}/knot.conf", "w") as file:
            file.write(f"server:\n  listen: {DNS}@53\n  rundir: {self.work}/knot\n  user: root\n"
                       f"database:\n  storage: {self.work}/knot\n"
                       f"template:\n  - id: default\n    storage: {self.work}\n    zonefile-load: whole\n    journal-content: none\n"
                       f"zone:\n  - domain: .\n    file: root.zone.signed\n")
        self.stop_dns()
        self.knot = subprocess.Popen(["ip", "netns", "exec", "moxsw", "knotd", "-c", f"{self.work}/knot.conf"],
                                     stdout=open(f"{self.work}/knot.log", "w"), stderr=subprocess.STDOUT)
        time.sleep(1.5)
        assert self.knot.poll() is None, open(f"{self.work}/knot.log").read()

    def stop_dns(self):
        if self.knot:
            self.knot.terminate()
            self.knot.wait()

    def close(self):
        self.stop_dns()
        for name in self.names:
            sh(f"ip netns del {name}", check=False)


class Host:
    """One container: a copy of base, with a folder of packages."""

    def __init__(self, link, name, address, work, base=None, packages=PACKAGES):
        self.name, self.address, self.link = name, address, link
        self.domain = f"{name}.test"
        self.root = f"{work}/{name}"
        link.join(f"mox{name}", address)
        sh(["cp", "-a", "--reflink=auto", base or image(), self.root])
        with open(f"{self.root}/etc/resolv.conf", "w") as file:
            file.write(f"nameserver {DNS}\n")
        with open(f"{self.root}/etc/hostname", "w") as file:
            file.write(name + "\n")
        with open(f"{self.root}/etc/hosts", "w") as file:
            file.write(f"127.0.0.1 localhost {name}\n::1 localhost\n")
        self.log = open(f"{work}/{name}.log", "w")
        self.nspawn = subprocess.Popen(
            ["/bin/sh", "-c", OWN_CGROUP, f"mox-{name}", "systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "-D", self.root, "--boot",
             f"--network-namespace-path=/run/netns/mox{name}", "-M", f"mox-{name}", "--resolv-conf=off", f"--bind-ro={packages}:/packages"],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT, start_new_session=True)
        self.leader = None
        for _ in range(200):
            time.sleep(0.1)
            child = sh(["pgrep", "-P", str(self.nspawn.pid)], check=False).split()
            if child:
                self.leader = child[0]
                state = self.run("systemctl is-system-running", check=False)
                if state.strip() in ("running", "degraded"):
                    return
        raise AssertionError(f"{name} does not boot, see {work}/{name}.log")

    def command(self, command):
        return ["nsenter", "-t", self.leader, "-m", "-u", "-i", "-n", "-p", "-C", "--", "/usr/bin/env", "-i",
                "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8", "DEBIAN_FRONTEND=noninteractive",
                "/bin/sh", "-c", command]

    def run(self, command, check=True, **more):
        """Runs a shell command inside."""
        return sh(self.command(command), check=check, **more)

    def start(self, command):
        """Starts one in the background."""
        return subprocess.Popen(self.command(command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def json(self, command):
        return json.loads(self.run(command))

    def write(self, path, text):
        full = self.root + path
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w") as file:
            file.write(text)

    def inbox(self, search="ALL"):
        """Sequence numbers that match, by curl over TLS."""
        out = self.run(f"curl -sS -k --max-time 20 --user '{self.login}:{self.password}' "
                       f"'imaps://{self.address}/INBOX' -X 'UID SEARCH {search}'")
        return out.split()[2:]

    def fetch(self, uid):
        return self.run(f"curl -sS -k --max-time 20 --user '{self.login}:{self.password}' "
                        f"'imaps://{self.address}/INBOX;UID={uid}'")

    def wait_for(self, search, count=1, seconds=30):
        """Waits until that many messages match."""
        for _ in range(seconds * 5):
            found = self.inbox(search)
            if len(found) >= count:
                return found
            time.sleep(0.2)
        raise AssertionError(f"{self.name}: {search}: {len(found)} of {count}\n" + self.journal())

    def journal(self, words="-u 'mox-*' -n 60 --no-pager"):
        return self.run(f"journalctl {words}", check=False)

    def close(self):
        try:
            os.killpg(self.nspawn.pid, signal.SIGTERM)
            self.nspawn.wait(20)
        except Exception:
            os.killpg(self.nspawn.pid, signal.SIGKILL)
            self.nspawn.wait()
        self.log.close()
        sh(f"find /sys/fs/cgroup/systemd/mox-{self.name} /sys/fs/cgroup/unified/mox-{self.name} /sys/fs/cgroup/mox-{self.name} "
           "-depth -type d -exec rmdir {} +", check=False)


def workspace():
    return tempfile.mkdtemp(prefix="mox-system-")


def packages():
    return sorted(glob.glob(f"{PACKAGES}/*.deb"))


def each_test(what, world, setup, tests, wanted):
    """Runs the set-up, then the tests named in wanted (all if none is), and prints a line each. How many passed and failed."""
    failed = passed = 0
    for test in setup + [t for t in tests if not wanted or t.__name__ in wanted]:
        began = time.time()
        try:
            test(world)
            passed += 1
            print(f"{what}: {test.__name__} ok ({time.time() - began:.1f} s)", flush=True)
        except Exception:
            failed += 1
            print(f"{what}: {test.__name__} FAILED\n{traceback.format_exc()}", flush=True)
            if test in setup:
                for host in world.hosts:
                    print(host.journal())
                break
    return passed, failed


def run_tests(kind, world, setup, tests, wanted):
    """Runs the set-up, then the tests named in wanted (all if none is), prints a line each, and leaves with their result."""
    unknown = set(wanted) - {test.__name__ for test in tests}
    if unknown:
        sys.exit(f"no such test: {' '.join(sorted(unknown))}")
    try:
        passed, failed = each_test("system", world, setup, tests, wanted)
    finally:
        world.close()
    print(f"\nsystem: {passed} {kind} tests passed, {failed} failed")
    if failed:
        print(f"journals and roots are in {world.work}")
        sys.exit(1)
    shutil.rmtree(world.work, ignore_errors=True)
