# SPDX-License-Identifier: ISC
"""A separate Debian, booted in a container of systemd-nspawn, with kaproxy installed in it.

The tree is made once by debootstrap and kept in the build folder; what a run changes in it is
discarded, because it is booted below an overlay. The container has its own network."""

import os
import pathlib
import re
import shutil
import signal
import subprocess

from .peers import need
from .tap import Failure, Skip, wait_until

BUILD = pathlib.Path(os.environ.get("builddir", ".")).resolve()
PLACE = BUILD / "tests/system"
PACKAGES = ["systemd", "curl", "logrotate", "rpm"]
PROGRAMS = ["kaproxy", "kaproxyctl", "contrib/demo/demo"]
MAKE_MAX = 600  # seconds, of debootstrap
BOOT_MAX = 60
COMMAND_MAX = 60


def _output(*command):
    return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                          check=True).stdout


def debian_suite():
    """The release that we run on, so that the libraries are the same."""
    try:
        text = pathlib.Path("/etc/os-release").read_text()
    except OSError:
        text = ""
    fields = dict(re.findall(r'^(\w+)="?([^"\n]*)', text, flags=re.M))
    if fields.get("ID") != "debian" or "VERSION_CODENAME" not in fields:
        raise Skip("this is not a release of Debian, and so has no libraries for one")
    return fields["VERSION_CODENAME"]


def _package(library):
    """Of a library's file, which may be known by its place before /lib became a link."""
    for path in library, os.path.realpath(library), library.removeprefix("/usr"):
        found = subprocess.run(["dpkg-query", "-S", path], stdout=subprocess.PIPE, text=True,
                               stderr=subprocess.DEVNULL, check=False).stdout
        if found:
            return found.split(":")[0]
    raise Skip(f"{library} belongs to no package")


def _packages():
    libraries = {path for program in PROGRAMS
                 for path in re.findall(r"=> (/\S+)", _output("ldd", str(BUILD / program)))}
    return sorted({_package(path) for path in libraries} | set(PACKAGES))


def bootstrap(tree, suite, log, limit, *options):
    """A tree in place of what is there; Skip if debootstrap cannot make it. It has namespaces of its
    own: if it is killed, its mounts and children end with it."""
    command = [need("unshare"), "--mount", "--pid", "--fork", "--kill-child", need("debootstrap")]
    shutil.rmtree(tree, ignore_errors=True)
    with open(log, "wb") as output:
        try:
            status = subprocess.run([*command, *options, suite, str(tree)], stdin=subprocess.DEVNULL,
                                    stdout=output, stderr=subprocess.STDOUT, timeout=limit,
                                    check=False).returncode
        except subprocess.TimeoutExpired:
            status = None
    if status != 0:
        raise Skip(f"debootstrap could not make a tree (is there a network?): {log}")


def _make_tree(tree):
    """Once, or again when other packages are needed."""
    wanted = f"{debian_suite()} {' '.join(_packages())}\n"
    stamp = PLACE / "tree.packages"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    suite, *packages = wanted.split()
    bootstrap(tree, suite, PLACE / "debootstrap.log", MAKE_MAX, "--variant=minbase",
              "--include=" + ",".join(packages))
    stamp.write_text(wanted)


def _install(tree):
    environment = {name: value for name, value in os.environ.items()
                   if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    made = subprocess.run(["make", "-C", str(BUILD), "install", f"DESTDIR={tree}"],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, env=environment, check=False)
    if made.returncode != 0:
        raise Failure(f"make install failed: {made.stdout[-500:]}")
    shutil.copy(BUILD / "contrib/demo/demo", tree / "usr/local/bin/demo")


class Result:
    def __init__(self, finished):
        self.status = finished.returncode
        self.output = finished.stdout
        self.errors = finished.stderr


class Machine:
    """Booted when it is made, and halted by close. In the tree that is kept, with kaproxy as make
    installs it, or in the given one, unchanged."""

    def __init__(self, tree=None):
        self.process = self.leader = None
        if os.geteuid() != 0:
            raise Skip("only root can boot a container")
        nspawn = need("systemd-nspawn")
        PLACE.mkdir(parents=True, exist_ok=True)
        if tree is None:
            tree = PLACE / "tree"
            _make_tree(tree)
            _install(tree)
        self.console = PLACE / f"{tree.name}.console.log"
        with open(self.console, "wb") as output:
            self.process = subprocess.Popen(
                [nspawn, "-D", str(tree), "-b", "--register=no", "--keep-unit",
                 "--private-network", "--volatile=overlay", "--link-journal=no",
                 "--machine=kaproxy-test", "--console=read-only"],
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        try:
            self._boot()
        except BaseException:
            self.close()
            raise

    def _boot(self):
        def is_up():
            if self.process.poll() is not None:
                lines = self.console.read_text(errors="replace").split("\n")
                last = [line.strip() for line in lines if line.strip()][-1:]
                raise Skip(f"no container boots here: {' '.join(last)}")
            self.leader = self._find_leader()
            if self.leader is None:
                return False
            return self.run("systemctl", "is-system-running").output.strip() in (
                "running", "degraded")
        try:
            wait_until(is_up, "the container to boot", BOOT_MAX)
        except Failure as why:
            raise Skip(f"{why}: {self.console}") from None

    def _find_leader(self):
        pid = self.process.pid
        children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return int(children[0]) if children else None

    def close(self):
        """Halts it; whatever does not halt is killed with its first process."""
        for number in signal.SIGTERM, signal.SIGTERM, signal.SIGKILL:
            if self.process is None or self.process.poll() is not None:
                return
            self.process.send_signal(number)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                pass

    def command(self, *words):
        """What runs these in the container."""
        return ["nsenter", "-t", str(self.leader), "-a", "--", "env", "-i",
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C",
                *words]

    def run(self, *words, text=None, limit=COMMAND_MAX):
        return Result(subprocess.run(self.command(*words), input=text or "", text=True,
                                     stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                     timeout=limit, check=False))

    def must(self, *words, text=None, limit=COMMAND_MAX):
        """The output of a command that must succeed."""
        result = self.run(*words, text=text, limit=limit)
        if result.status != 0:
            raise Failure(f"{' '.join(words)}: exit status {result.status}: "
                          f"{result.output}{result.errors}")
        return result.output

    def write(self, path, text):
        self.must("mkdir", "-p", os.path.dirname(path))
        self.must("tee", path, text=text)

    def show(self, unit, name):
        """One of a unit's properties."""
        return self.must("systemctl", "show", "-P", name, unit).strip()

    def host_pid(self, pid):
        """The number that a process of the container has outside."""
        space = os.readlink(f"/proc/{self.leader}/ns/pid")
        for status in pathlib.Path("/proc").glob("[0-9]*/status"):
            try:
                inner = re.search(r"^NSpid:.*\s(\d+)$", status.read_text(), flags=re.M)
                if inner and int(inner[1]) == pid and \
                        os.readlink(status.parent / "ns/pid") == space:
                    return int(status.parent.name)
            except OSError:  # it has ended
                pass
        raise Failure(f"there is no process {pid} in the container")
