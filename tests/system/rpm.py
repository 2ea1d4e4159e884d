#!/usr/bin/env python3
"""The rpm packages: installed by dnf into a root of its own, started there, upgraded under load, removed.

usage: rpm.py [name ...]   runs all tests in order, or only those named (installation and start always run)
Prints "system: name ok" for each. The root is a Debian with an empty rpm database; a package made here stands in for
what a Fedora root provides, and only for that: a requirement Fedora would not meet fails the first test.
"""
import glob
import os
import re
import shutil
import sys
import time

from hosts import CACHE, DNS, Host, image, run_tests, sh, workspace
from main import SERVICES, Load

RPMS = os.environ.get("MOX_RPM_PACKAGES", f"{CACHE}/packages/rpm")
PORTS = (25, 143, 465, 587, 993)
# What the packages may ask of a Fedora root: the shell, systemd, the bus, and the C library in versions it has.
FEDORA = [r"/bin/sh", r"systemd", r"dbus", r"rtld\(GNU_HASH\)", r"ld-linux-[\w-]+\.so\.\d\(.*\)\(64bit\)",
          r"lib(c|m|gcc_s)\.so\.\d(\(.*\))?\(64bit\)"]

# How rpm and dnf speak of a script that failed.
COMPLAINTS = re.compile("scriptlet failed|^Error", re.I | re.M)


class Alone:
    """A network namespace without a network: the name server it is told of refuses every question at once."""

    def join(self, name, address):
        self.name = name
        sh(f"ip netns del {name}", check=False)
        sh(f"ip netns add {name} && ip -n {name} link set lo up && ip -n {name} addr add {DNS}/32 dev lo"
           f" && ip -n {name} addr add {address}/32 dev lo")

    def close(self):
        sh(f"ip netns del {self.name}", check=False)


def requirements(packages):
    """What the packages want from outside."""
    own = {line.split()[0] for line in sh(["rpm", "-qp", "--provides", *packages]).splitlines()}
    lines = sh(["rpm", "-qp", "--requires", *packages]).splitlines()
    return sorted({line.strip() for line in lines if line.split()[0] not in own and not line.startswith("rpmlib(")})


def stand_in(work, provides):
    """A package without files that says it is the rest of a Fedora."""
    spec = f"{work}/fedora-root.spec"
    with open(spec, "w") as file:
        file.write("Name: fedora-root\nVersion: 1\nRelease: 1\nSummary: Stands in for Fedora\nLicense: MIT\nBuildArch: noarch\n"
                   + "".join(f"Provides: {name}\n" for name in provides) + "%description\nStands in for Fedora.\n%files\n")
    sh(["rpmbuild", "-bb", "--define", f"_topdir {work}/rpmbuild", "--define", f"_rpmdir {work}/repository", spec])


class World:
    def __init__(self):
        self.work = workspace()
        self.link = Alone()
        self.hosts = []

    @property
    def host(self):
        return self.hosts[0]

    def close(self):
        for host in self.hosts:
            host.close()
            self.link.close()


def rpm_installs_and_starts(w):
    packages = sorted(glob.glob(f"{RPMS}/*.rpm"))
    assert packages, "no packages: make rpm"
    wanted = requirements(packages)
    strange = [name for name in wanted if not any(re.fullmatch(pattern, name) for pattern in FEDORA)]
    assert not strange, f"a Fedora root does not provide {strange}"
    stand_in(w.work, wanted)
    for package in packages:
        shutil.copy(package, f"{w.work}/repository/")
    sh(["createrepo_c", "--quiet", f"{w.work}/repository"])
    base = f"{w.work}/base"
    sh(["cp", "-a", "--reflink=auto", image("rpm"), base])
    out = sh(["dnf", "-y", f"--installroot={base}", "--releasever=1", "--noplugins", "--nogpgcheck",
              f"--setopt=cachedir={w.work}/cache", f"--setopt=logdir={w.work}", "--setopt=reposdir=/dev/null",
              f"--repofrompath=mox,file://{w.work}/repository", "--repo=mox", "install", "mox"])
    assert "Complete!" in out and "mox-sendmail" in out, out
    assert not COMPLAINTS.search(out), out
    host = Host(w.link, "rpm", "192.0.2.9", w.work, base=base, packages=RPMS)
    w.hosts.append(host)
    shutil.rmtree(base)

    # Presets: installed, known to systemd, and nothing enabled or running.
    listed = {line.split()[0]: line.split()[1] for line in host.run("systemctl list-unit-files --no-legend 'mox*'").splitlines()}
    assert len(listed) >= 28, listed
    assert not {unit: state for unit, state in listed.items() if state not in ("disabled", "static")}, listed
    assert host.run("systemctl list-units --no-legend --plain 'mox*'").strip() == ""
    assert host.run("pgrep mox- || true").strip() == ""
    assert host.run("ss -Hltn").strip() == "", "something listens"
    assert host.run("rpm -Va 'mox*'").strip() == "", "files differ from the packages"
    for name in SERVICES:
        host.run(f"getent passwd mox-{name}")
    assert host.run("stat -c '%U %G %a' /etc/mox").split() == ["mox-admin", "mox", "2750"]

    # The admin says so.
    host.run("systemctl enable --now mox.target")
    listening = host.run("ss -Hltn")
    for port in PORTS:
        assert f"127.0.0.1:{port}" in listening, listening
    host.run("systemctl disable --now mox.target")
    assert host.run("ss -Hltn").strip() == "", "a disabled target still listens"
    result = host.json(f"mox --json quickstart you@{host.domain} --hostname mail.{host.domain} --skipdial")
    host.login, host.password = result["login"], result["password"]
    # No name server answers here, and what is checked with it is not what this is about.
    with open(f"{host.root}/etc/mox/mox.toml", "a") as file:
        file.write("\n[smtp]\nverify = false\nfirst-time-sender-delay = \"0s\"\nmax-deliveries-per-ip = 100000\nnew-connections-per-ip = 100000\n")
    host.run("mox config test && systemctl try-restart 'mox-*.service'")
    host.run(f"swaks --server {host.address}:25 --from a@b.test --to {host.login} --header 'Subject: first' 2>&1")
    host.wait_for("SUBJECT first")
    host.run("printf 'Subject: from cron\\n\\nhello\\n' | /usr/sbin/sendmail -i root")
    host.wait_for('SUBJECT "from cron"')
    assert host.run("systemctl list-units --state=failed --no-legend --plain 'mox*'").strip() == ""


def rpm_upgrade_keeps_sockets(w):
    host = w.host
    sockets = "systemctl show -p Id -p ActiveState -p InvocationID 'mox*.socket' mox-queue.timer mox.target"
    before = host.run(sockets)
    assert before.count("ActiveState=active") == len(before.split("\n\n")), before
    # A person's connection, open all the time; and others that come and go.
    held = host.start(f"(printf 'EHLO held.test\\r\\n'; while [ ! -e /tmp/done ]; do sleep 0.2; done; printf 'NOOP\\r\\nQUIT\\r\\n'; sleep 1) | nc -w 30 {host.address} 25")
    load = Load(host, "upgr")
    load.start()
    time.sleep(1)
    process = host.run("systemctl show -p MainPID mox-smtp.service")
    out = host.run("rpm -U --replacepkgs /packages/*.rpm 2>&1")
    assert not COMPLAINTS.search(out), out
    time.sleep(1)
    total = load.finish()
    host.run("touch /tmp/done")
    said, _ = held.communicate(timeout=30)
    assert said.startswith("220 ") and ("\n221 " in said or "\n421 " in said), said
    after = host.run(sockets)
    assert after == before, f"{before}\nbecame\n{after}"
    assert host.run("systemctl show -p MainPID mox-smtp.service") != process, "the old program still runs"
    print(f"  {total} acknowledged during the upgrade, all there", flush=True)


def rpm_removal_keeps_mail(w):
    host = w.host
    out = host.run("rpm -e $(rpm -qa 'mox*') 2>&1")
    assert "Mail in /var/lib/mox stay" in out and not COMPLAINTS.search(out), out
    assert host.run("ls /var/lib/mox/accounts").strip(), "removal deleted mail"
    assert host.run("ls /var/lib/mox-keys/dkim").strip(), "removal deleted keys"
    assert host.run("ls /etc/mox").split() == ["domains.toml", "mox.toml", "quickstart.log"], "removal deleted configuration"
    assert host.run("ss -Hltn").strip() == "" and host.run("pgrep mox- || true").strip() == ""
    assert host.run("find /usr -name '*mox*' -not -path '*/doc/*'").strip() == "", "removal leaves files"


def main():
    run_tests("rpm", World(), [rpm_installs_and_starts], [rpm_upgrade_keeps_sockets, rpm_removal_keeps_mail], sys.argv[1:])


if __name__ == "__main__":
    main()
