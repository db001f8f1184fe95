#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: the Debian package builds in a clean tree as an unprivileged user, and does in
a booted system what a Debian user expects: it is installed, configured, upgraded under load,
removed, purged. Each test continues from where the previous one has left the system.

With KAPROXY_LONG=1 the build runs make check, which takes a quarter of an hour."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import LONG, Failure, Skip, main, spawn, test, wait_until
from kaptest.chroot import APT, Tree, allow
from kaptest.machine import BUILD, Machine
from kaptest.peers import need

SOURCE = pathlib.Path(__file__).resolve().parents[2]
DEBIAN = SOURCE / "contrib/debian"
UNIT = "kaproxy.service"
FILE = "/etc/kaproxy/kaproxy.ini"
BUILD_MAX = 3600 if LONG else 900  # seconds
# In the system in which it is installed, besides its dependencies.
PACKAGES = ["systemd", "curl", "nginx", "autopkgtest", "dpkg-dev"]

LISTENER = "[listener {name}]\nlisten = 127.0.0.1:{port}\nupstream = http://127.0.0.1:80\n"
LOAD = """rm -rf /run/load; mkdir /run/load
for n in 1 2 3 4; do
    while [ ! -e /run/load/stop ]; do
        code=$(curl -s -o /dev/null -w '%{http_code}' --max-time 20 http://127.0.0.1:8080/)
        echo "$? $code" >>/run/load/clients.$n
    done &
done
wait
"""

# In a system that was not booted: the init script starts what is handed over.
WITHOUT_SYSTEMD = r"""printf '#!/bin/sh\nexit 0\n' >/usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
apt-get -y --no-install-recommends install nginx curl /root/earlier.deb
cat >/etc/kaproxy/kaproxy.ini <<END
[kaproxy]
user = kaproxy
pid_file = /run/kaproxy/kaproxy.pid
log = /var/log/kaproxy/kaproxy.log
shutdown_timeout = 1
[listener web]
listen = 127.0.0.1:8080
upstream = http://127.0.0.1:80
END
curl -s -o /dev/null http://127.0.0.1:80/ || nginx
/etc/init.d/kaproxy start
old=$(cat /run/kaproxy/kaproxy.pid)
mkdir /run/load
while [ ! -e /run/load/stop ]; do
    echo "client $(curl -s -o /dev/null -w '%{http_code}' --max-time 20 http://127.0.0.1:8080/)" >>/run/load/clients
done &
clients=$!
apt-get -y install /root/real.deb
touch /run/load/stop
wait $clients
sort -u /run/load/clients
test "$old" != "$(cat /run/kaproxy/kaproxy.pid)"
test "/proc/$(cat /run/kaproxy/kaproxy.pid)/exe" -ef /usr/sbin/kaproxy
while [ -e "/proc/$old" ]; do sleep 0.1; done
apt-get -y purge kaproxy
! curl -s http://127.0.0.1:8080/
! getent passwd kaproxy
"""

# What a purge may leave: what other packages keep of any installation.
KEPT = re.compile(r"/(proc|sys|dev|tmp|root|run|var/tmp|var/cache/(apt|debconf|ldconfig|man)|var/lib/apt)(/|\s)|"
                  r"/var/log/(journal|apt|dpkg\.log|alternatives\.log|faillog|lastlog|nginx)|"
                  r"/var/lib/dpkg/(status-old|lock|triggers|available)|/var/lib/systemd/(timers|random)|"
                  r"/etc/(passwd-|shadow-|group-|gshadow-|subuid-|subgid-|\.pwd\.lock|ld\.so\.cache)")


class Story:
    """The packages, the system, and how far the tests have got."""

    def __init__(self):
        self.builder = self.used = self.machine = self.before = None
        self.packages = {}  # name of a build: path
        self.steps = []

    def reached(self, *steps):
        for step in steps:
            if step not in self.steps:
                raise Failure(f"there is nothing to continue from: {step!r} has failed")

    def close(self):
        if self.machine is not None:
            self.machine.close()
            self.machine = None


story = Story()


def step(description):
    """A test that begins where the previous ones have ended; if they were skipped, so is it."""
    def register(function):
        def run(t):
            if story.builder is not None and isinstance(story.builder, Skip):
                raise story.builder
            function(t)
            story.steps.append(function.__name__)
        return test(description)(run)
    return register


# --- building ---

def make_dist():
    environment = {name: value for name, value in os.environ.items()
                   if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    made = subprocess.run(["make", "-C", str(BUILD), "dist"], stdin=subprocess.DEVNULL, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment,
                          check=False)
    if made.returncode != 0:
        raise Failure(f"make dist failed: {made.stdout[-2000:]}")
    archive, *others = BUILD.glob("kaproxy-[0-9]*.tar.xz")
    if others:
        raise Failure(f"there are several archives: {[archive, *others]}")
    return archive


def make_builder():
    """A clean system with what Build-Depends names, and nothing else."""
    control = (DEBIAN / "control").read_text()
    tree = Tree("debian-build", control.partition("\nStandards-Version")[0], variant="buildd")
    if tree.is_new:
        policy = tree.path / "usr/sbin/policy-rc.d"
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
        wanted = tree.path / "root/wanted/debian"
        wanted.mkdir(parents=True)
        (wanted / "control").write_text(control)
        tree.fetch("build-dep", "/root/wanted")
        tree.run("useradd", "--create-home", "--uid", "1000", "builder")
        tree.is_made()
    return tree


def changelog_version(text):
    return re.match(r"kaproxy \(([^)]+)\)", text)[1]


def build(name, version=None, options="nocheck"):
    """The folder with the packages, whose version is the changelog's unless given."""
    archive = make_dist()
    folder = story.builder.path / "build" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    upstream = archive.name.removeprefix("kaproxy-").removesuffix(".tar.xz")
    shutil.copy(archive, folder / f"kaproxy_{upstream}.orig.tar.xz")
    shutil.unpack_archive(archive, folder)
    source = folder / f"kaproxy-{upstream}"
    shutil.copytree(source / "contrib/debian", source / "debian")
    changelog = source / "debian/changelog"
    text = changelog.read_text()
    if version is not None:
        changelog.write_text(text.replace(changelog_version(text), version, 1))
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, 1000, 1000, follow_symlinks=False)
    story.builder.run(
        "sh", "-ec", f"cd /build/{name}/{source.name} && dpkg-buildpackage -us -uc",
        user="builder", limit=BUILD_MAX,
        environment={"DEB_BUILD_OPTIONS": f"{options} parallel={os.cpu_count()}".strip()})
    made = list(folder.glob(f"kaproxy_{version or changelog_version(text)}_*.deb"))
    if len(made) != 1:
        raise Failure(f"there is not one package: {sorted(os.listdir(folder))}")
    story.packages[name], = made
    return folder


@step("a clean Debian has what the build needs")
def builder(t):
    allow(BUILD_MAX)
    try:
        story.builder = make_builder()
    except Skip as why:
        story.builder = why
        raise


@step("dpkg-buildpackage, as an unprivileged user without a network" + (
    ", with make check" if LONG else ", without make check: KAPROXY_LONG=1 is not set"))
def package(t):
    story.reached("builder")
    allow(BUILD_MAX)
    build("real", options="" if LONG else "nocheck")


@step("built again in another folder: the same, byte for byte")
def reproducible(t):
    story.reached("package")
    allow(BUILD_MAX)
    again = build("in-another-folder")
    first = story.packages["real"].parent
    names = sorted(path.name for path in first.glob("*.deb"))
    t.equal(len(names), 2, "packages, with that of debugging symbols")
    for name in names:
        t.equal((again / name).read_bytes() == (first / name).read_bytes(), True, f"{name} is the same")


@step("lintian --pedantic finds nothing in source and packages")
def lint(t):
    story.reached("package")
    allow(300)
    changes, = story.packages["real"].parent.glob("*.changes")
    done = subprocess.run([need("lintian"), "-E", "-I", "--pedantic", "--tag-display-limit=0",
                           "--fail-on=error,warning,info,pedantic,experimental", str(changes)],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    t.equal((done.stdout, done.returncode), ("", 0), "lintian's output and status")


@step("an earlier version of the package")
def earlier(t):
    story.reached("builder")
    allow(BUILD_MAX)
    version = changelog_version((DEBIAN / "changelog").read_text())
    build("earlier", version + "~earlier", "nocheck noopt")


# --- using ---

def apt(*words):
    """Without any network: everything was fetched before."""
    return story.machine.must("env", "DEBIAN_FRONTEND=noninteractive", *APT, *words, limit=90)


def main_pid(unit=UNIT):
    return int(story.machine.show(unit, "MainPID"))


def ask(port=8080):
    return story.machine.run("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}",
                             f"http://127.0.0.1:{port}/").output


def state(unit=UNIT):
    return story.machine.show(unit, "ActiveState")


def version_installed():
    return story.machine.must("dpkg-query", "-W", "-f", "${Version}", "kaproxy")


def runs_installed_program(unit=UNIT):
    return story.machine.run("test", f"/proc/{main_pid(unit)}/exe", "-ef", "/usr/sbin/kaproxy").status == 0


def everything():
    """Everything in the file system, and the contents of the files in /etc."""
    lines = story.machine.must("find", "/", "-xdev", "-printf", "%p %y %m %u:%g %l\n").splitlines()
    lines += story.machine.must("find", "/etc", "-xdev", "-type", "f", "-exec", "md5sum", "{}",
                                "+").splitlines()
    lines = [line for line in lines if not KEPT.match(line.partition("  ")[2] or line)]
    return {*lines, *story.machine.must("find", "/run", "-name", "*kaproxy*").splitlines()}


@step("a booted system with the package's dependencies, and an nginx")
def system(t):
    story.reached("package", "earlier")
    allow(BUILD_MAX)
    control = (DEBIAN / "control").read_text()
    tree = Tree("debian-use", f"{control}{PACKAGES}", variant="minbase", include=["systemd"])
    for name in "real", "earlier":
        shutil.copy(story.packages[name], tree.path / f"root/{name}.deb")
    if tree.is_new:
        tree.fetch("--download-only", "install", "/root/real.deb", *PACKAGES)
        tree.is_made()
    source = tree.path / "root/source/debian"
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(DEBIAN, source)
    story.used = tree
    story.machine = Machine(tree.path)
    plan = apt("--simulate", "install", "/root/real.deb")
    needed = set(re.findall(r"^Inst (\S+)", plan, flags=re.M)) - {"kaproxy"}
    apt("install", *sorted(needed), *PACKAGES)
    t.equal(ask(80), "200", "nginx's response")
    story.before = everything()


@step("installed: not enabled, not started, nothing failed; the user, and the file to edit")
def install(t):
    story.reached("system")
    machine = story.machine
    output = apt("install", "/root/earlier.deb")
    t.check("/etc/kaproxy.ini" not in output, f"an old file is mentioned: {output}")
    t.equal((machine.run("systemctl", "is-enabled", UNIT).output.strip(), state()),
            ("disabled", "inactive"), "enabled, active")
    t.equal(machine.must("systemctl", "--failed", "--no-legend"), "", "failed units")
    t.equal(machine.must("getent", "passwd", "kaproxy").split(":")[5:], ["/", "/usr/sbin/nologin\n"],
            "the user's home and shell")
    t.equal(machine.must("stat", "-c", "%U:%G %a", "/run/kaproxy", "/var/log/kaproxy").split("\n")[:2],
            ["kaproxy:kaproxy 711", "kaproxy:kaproxy 750"], "folders")
    conffiles = machine.must("dpkg-query", "-W", "-f", "${Conffiles}", "kaproxy")
    t.equal(sorted(re.findall(r"^ (\S+)", conffiles, flags=re.M)),
            ["/etc/apparmor.d/usr.sbin.kaproxy", "/etc/init.d/kaproxy", FILE, "/etc/logrotate.d/kaproxy"],
            "conffiles")


@step("configured, enabled and started: curl gets a response through it")
def start(t):
    story.reached("install")
    text = story.machine.must("cat", FILE)
    story.machine.write(FILE, text + "\n" + LISTENER.format(name="web", port=8080))
    story.machine.must("kaproxy", "-t")
    story.machine.must("systemctl", "enable", "--now", UNIT)
    t.equal(ask(), "200", "response")
    t.equal(story.machine.must("stat", "-c", "%U", f"/proc/{main_pid()}").strip(), "kaproxy", "user")
    story.machine.must("kaproxyctl", "status")


class Load:
    """Clients, four at a time, until `finish`."""

    def __init__(self):
        self.process = spawn(story.machine.command("sh", "-c", LOAD))
        self.await_more()

    def lines(self):
        return story.machine.run("sh", "-c", "cat /run/load/clients.*").output.splitlines()

    def await_more(self, more=20):
        before = len(self.lines())
        wait_until(lambda: len(self.lines()) >= before + more, "clients to be served")

    def finish(self, t):
        self.await_more()
        story.machine.must("touch", "/run/load/stop")
        self.process.wait(30)
        t.equal(sorted(set(self.lines())), ["0 200"], "outcomes of clients")


@step("an upgrade under load: another process, of the new program, and no client that fails; an "
      "instance too, but what does not run is not started")
def upgrade(t):
    story.reached("start")
    machine = story.machine
    for name, port in ("a", 8081), ("b", 8082):
        machine.write(f"/etc/kaproxy/{name}.ini", LISTENER.format(name=name, port=port))
    machine.must("systemctl", "enable", "--now", "kaproxy@a")
    before, instance = main_pid(), main_pid("kaproxy@a")
    old = version_installed()
    load = Load()
    output = apt("install", "/root/real.deb")
    load.finish(t)
    t.check(version_installed() != old, "the version is the old one")
    t.check(runs_installed_program() and runs_installed_program("kaproxy@a"),
            f"the running program is not the installed one: {output}")
    t.check(main_pid() != before and main_pid("kaproxy@a") != instance, "the process is the old one")
    t.check(f"kaproxy.service: process {main_pid()}, of the new program, has taken over from process "
            f"{before}" in output, f"the output does not say so: {output}")
    t.equal((state(), state("kaproxy@a"), state("kaproxy@b")), ("active", "active", "inactive"), "states")
    t.equal((machine.show(UNIT, "NRestarts"), ask(8081)), ("0", "200"), "restarts, instance's response")
    t.check("web" in machine.must("cat", FILE), "the edited configuration is gone")


@step("an upgrade with a mistake in the file succeeds, the old process stays, and the output says why")
def bad_upgrade(t):
    story.reached("upgrade")
    machine = story.machine
    text = machine.must("cat", FILE)
    machine.write(FILE, text + "nonsense = 1\n")
    before = main_pid()
    output = apt("install", "--allow-downgrades", "/root/earlier.deb")
    t.check(f"{FILE}:{len(text.splitlines()) + 1}: " in output and
            f"process {before} keeps running the old program" in output, f"output: {output}")
    t.equal((main_pid(), ask()), (before, "200"), "process and response")
    machine.write(FILE, text)
    apt("install", "/root/real.deb")
    t.check(main_pid() != before and runs_installed_program(), "no handover when the file is good again")


@step("an upgrade of a masked service that runs leaves its process alone, and the output says so")
def upgrade_masked(t):
    story.reached("bad_upgrade")
    machine = story.machine
    before = main_pid()
    machine.must("systemctl", "mask", UNIT)
    output = apt("install", "--allow-downgrades", "/root/earlier.deb")
    t.check(f"{UNIT}: process {before} keeps running the old program" in output, f"output: {output}")
    t.equal((main_pid(), state(), ask()), (before, "active", "200"), "process, state and response")
    machine.must("systemctl", "unmask", UNIT)
    apt("install", "/root/real.deb")
    t.check(main_pid() != before and runs_installed_program(), "no handover when it is unmasked")


@step("an upgrade of a service that does not run starts nothing, and keeps it enabled")
def upgrade_stopped(t):
    story.reached("upgrade_masked")
    machine = story.machine
    machine.must("systemctl", "stop", UNIT)
    apt("install", "--reinstall", "/root/real.deb")
    t.equal((state(), machine.must("systemctl", "is-enabled", UNIT).strip()), ("inactive", "enabled"),
            "state")
    machine.must("systemctl", "start", UNIT)
    t.equal(ask(), "200", "response")


@step("removed: all is stopped, the configuration stays; purged: no file and no user is left")
def purge(t):
    story.reached("upgrade_stopped")
    machine = story.machine
    apt("remove", "kaproxy")
    t.equal((state(), state("kaproxy@a"), ask(), ask(8081)), ("inactive", "inactive", "000", "000"),
            "states and responses")
    t.equal(machine.run("test", "-e", FILE).status, 0, "the configuration after the removal")
    apt("purge", "kaproxy")
    now = everything()
    t.equal((sorted(now - story.before), sorted(story.before - now)), ([], []), "what is new, and missing")
    t.equal(machine.must("systemctl", "--failed", "--no-legend"), "", "failed units")


@step("installed again after a purge, next to the file of a manual installation, which it mentions")
def again(t):
    story.reached("purge")
    story.machine.write("/etc/kaproxy.ini", LISTENER.format(name="old", port=8080))
    output = apt("install", "/root/real.deb")
    t.check("/etc/kaproxy.ini" in output, f"the old file is not mentioned: {output}")
    story.machine.must("rm", "/etc/kaproxy.ini")
    story.machine.write("/etc/kaproxy/kaproxy.ini", LISTENER.format(name="web", port=8080))
    story.machine.must("systemctl", "start", UNIT)
    t.equal(ask(), "200", "response")
    apt("purge", "kaproxy")
    now = everything()
    t.equal((sorted(now - story.before), sorted(story.before - now)), ([], []), "what is new, and missing")


@step("installed over an installation by hand, which runs: the process hands over to the package's program, "
      "and a unit in /usr/local is mentioned")
def over_hand(t):
    story.reached("again")
    machine = story.machine
    machine.must("sh", "-ec", "dpkg-deb --fsys-tarfile /root/earlier.deb | tar -x --keep-directory-symlink -C /; "
                 "systemd-sysusers; systemd-tmpfiles --create kaproxy.conf; systemctl daemon-reload")
    machine.write(FILE, LISTENER.format(name="web", port=8080))
    machine.must("systemctl", "start", UNIT)
    before = main_pid()
    local = "/usr/local/lib/systemd/system/kaproxy.service"
    machine.must("install", "-D", "/lib/systemd/system/kaproxy.service", local)
    output = apt("install", "-o", "Dpkg::Options::=--force-confold", "/root/real.deb")
    t.check(f"{local}, of an installation by hand, takes precedence" in output, f"output: {output}")
    t.check(main_pid() != before and runs_installed_program(), f"no handover: {output}")
    t.equal(ask(), "200", "response")
    machine.must("rm", "-r", "/usr/local/lib/systemd")
    apt("purge", "kaproxy")


@step("autopkgtest of the installed package: a real nginx, and few connections")
def autopkgtest(t):
    story.reached("over_hand")
    allow(300)
    apt("install", "/root/real.deb")
    # What it isolates from is this system, which nothing else needs.
    done = story.machine.run("autopkgtest", "--ignore-restrictions=isolation-container", "--no-built-binaries",
                             "/root/source/", "--", "null", limit=250)
    end = (done.output + done.errors)[-3000:]
    t.equal(done.status, 0, f"exit status of autopkgtest, which ends with {end}")
    t.check(re.search(r"^reuse +PASS", end, flags=re.M), f"reuse has not passed: {end}")


@step("without systemd: the init script, an upgrade under load by the pid file, and a purge")
def without_systemd(t):
    story.reached("system")
    allow(300)
    story.close()  # a tree is used once at a time
    output = story.used.run("sh", "-ec", WITHOUT_SYSTEMD, forgotten=True, limit=250)
    t.check("of the new program, has taken over from process" in output, f"no handover: {output[-3000:]}")
    t.equal(set(re.findall(r"^client .*", output, flags=re.M)), {"client 200"}, "what became of clients")


if __name__ == "__main__":
    try:
        main()
    finally:
        story.close()
