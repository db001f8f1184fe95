# SPDX-License-Identifier: ISC
"""Images and containers of podman in their own storage, from a base image that debootstrap makes,
because there may be no registry. A container has its own network, without a way out; what runs
`inside` has it, too."""

import concurrent.futures
import ctypes
import os
import pathlib
import re
import resource
import shutil
import subprocess
import tempfile

from .machine import PLACE, bootstrap
from .peers import need
from .tap import Failure, Skip, wait_until

SOURCE = pathlib.Path(__file__).resolve().parents[3]
BASE = "localhost/base:12"
BASE_SUITE = "bookworm"  # that of the Containerfile's own base
MAKE_MAX = 1800  # seconds, of debootstrap or a build
COMMAND_MAX = 60
CLONE_NEWNET = 0x40000000

# Of a missing network, as apt reports it.
NO_NETWORK = re.compile(r"Temporary failure resolving|Could not connect|Failed to fetch")

# In a mount namespace: crun does not accept a mixture of both versions of cgroups, and podman has a
# cache next to its storage.
HOLDER = """if [ "$(stat -f -c %T /sys/fs/cgroup)" != cgroup2fs ]; then
    umount -R /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup || exit
fi
mkdir -p /var/lib/containers && mount -t tmpfs none /var/lib/containers || exit
echo held
read -r _
"""


def _base_archive():
    """Made once, and kept."""
    archive = PLACE / "base.tar"
    if archive.exists():
        return archive
    PLACE.mkdir(parents=True, exist_ok=True)
    tree = PLACE / "base.tree"
    bootstrap(tree, BASE_SUITE, PLACE / "base.log", MAKE_MAX, "--variant=minbase")
    subprocess.run(["tar", "-C", str(tree), "-cf", f"{archive}.new", "."], check=True)
    os.rename(f"{archive}.new", archive)
    shutil.rmtree(tree)
    return archive


def inside(pid, function):
    """The result of a function that runs in the network of a process: sockets made in it stay
    there."""
    def enter():
        libc = ctypes.CDLL(None, use_errno=True)
        fd = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
        try:
            if libc.setns(fd, CLONE_NEWNET) != 0:
                raise Failure(f"setns: {os.strerror(ctypes.get_errno())}")
        finally:
            os.close(fd)
        return function()

    with concurrent.futures.ThreadPoolExecutor(1) as thread:  # which ends with it
        return thread.submit(enter).result()


class Result:
    def __init__(self, finished):
        self.status = finished.returncode
        self.output = finished.stdout
        # podman complains if there is no systemd to run the health checks.
        self.errors = "".join(line + "\n" for line in finished.stderr.splitlines()
                              if "unable to get systemd connection" not in line)


class Engine:
    """podman, with everything it keeps below two folders that `close` removes."""

    def __init__(self):
        self.holder = self.runtime = None
        if os.geteuid() != 0:
            raise Skip("only root can build and run a container here")
        self.program = need("podman")
        self.storage = PLACE / "containers"
        try:
            archive = _base_archive()
            self._hold_namespace()
            shutil.rmtree(self.storage, ignore_errors=True)
            self.storage.mkdir(parents=True)
            self.runtime = tempfile.mkdtemp(prefix="kaptest-podman-")  # podman needs short paths
            self.driver = "overlay"
            if self.podman("info").status != 0:
                self.driver = "vfs"
            self._import(archive)
        except BaseException:
            self.close()
            raise

    def _hold_namespace(self):
        self.holder = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", HOLDER], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if self.holder.stdout.readline() != "held\n":
            raise Skip(f"no namespace for containers: {self.holder.stderr.read().strip()}")

    def _import(self, archive):
        result = self.podman("import", archive, BASE, timeout=MAKE_MAX)
        if result.status != 0:
            raise Skip(f"podman cannot have a storage here: {result.errors.strip()[-300:]}")

    def command(self, *words):
        return ["nsenter", "-t", str(self.holder.pid), "-m", "--", self.program,
                "--root", str(self.storage), "--runroot", f"{self.runtime}/run",
                "--tmpdir", f"{self.runtime}/tmp", "--storage-driver", self.driver,
                "--cgroup-manager", "cgroupfs", *map(str, words)]

    def podman(self, *words, timeout=COMMAND_MAX, text=""):
        return Result(subprocess.run(
            self.command(*words), input=text, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, timeout=timeout, check=False))

    def must(self, *words, timeout=COMMAND_MAX):
        """The output of a command that must succeed."""
        result = self.podman(*words, timeout=timeout)
        if result.status != 0:
            raise Failure(f"podman {' '.join(map(str, words))}: exit status {result.status}: "
                          f"{result.output[-500:]}{result.errors[-1500:]}")
        return result.output.strip()

    def build(self, name, *options):
        """From the Containerfile. Steps run by chroot, with the host's network, for packages."""
        result = self.podman(
            "build", "--isolation", "chroot", "--network", "host", "--format", "docker",
            "--timestamp", "0", "--build-arg", f"BASE={BASE}", "-t", name, *options,
            "-f", SOURCE / "contrib/container/Containerfile", SOURCE, timeout=MAKE_MAX)
        (PLACE / "container.log").write_text(result.output + result.errors)
        if result.status != 0 and NO_NETWORK.search(result.output + result.errors):
            raise Skip(f"packages cannot be fetched: {PLACE / 'container.log'}")
        if result.status != 0:
            raise Failure(f"the build failed: {(result.output + result.errors)[-2000:]}")

    def limits(self):
        """podman would raise them, which requires a capability that even root may lack."""
        return ["--ulimit", "nofile={0}:{0}".format(
            min(16384, resource.getrlimit(resource.RLIMIT_NOFILE)[1])), "--ulimit", "nproc=4096:4096"]

    def run(self, image, *words, options=()):
        """A container that does its work and is removed."""
        return self.podman("run", "--rm", *self.limits(), "--cgroups=disabled", "--network=none",
                           *options, image, *words)

    def close(self):
        if self.runtime is not None:
            self.podman("rm", "-f", "-a", "-t", "1")
            self.podman("rmi", "-f", "-a", timeout=MAKE_MAX)
        if self.holder is not None:
            self.holder.communicate()
        if self.runtime is not None:
            shutil.rmtree(self.runtime, ignore_errors=True)
            shutil.rmtree(self.storage, ignore_errors=True)


class Container:
    """One that runs until `close`; its log is in a failure's report."""

    number = 0

    def __init__(self, t, engine, image, *options):
        Container.number += 1
        self.engine = engine
        self.name = f"kaproxy-{Container.number}"
        started = engine.podman("run", "-d", "--name", self.name, *engine.limits(),
                                "--cgroups=disabled", "--network=none", *options, image)
        if started.status != 0:
            raise Skip(f"containers cannot be run here: {started.errors.strip()[-300:]}")
        t.diagnostics.append(self.log)
        t.own(self)

    def close(self):
        self.engine.must("rm", "-f", "-t", "1", self.name)

    def show(self, field):
        return self.engine.must("inspect", self.name, "--format", "{{%s}}" % field)

    @property
    def pid(self):
        return int(self.show(".State.Pid"))

    def log(self):
        result = self.engine.podman("logs", self.name)
        return (result.output + result.errors).splitlines()

    def wait_log(self, pattern, count=1):
        return wait_until(lambda: len(found := [line for line in self.log()
                                                if re.search(pattern, line)]) >= count and found,
                          f"{pattern!r} in the container's log")

    def execute(self, *words, text=""):
        """A command in it, with this at its standard input."""
        return self.engine.podman("exec", "-i", self.name, *words, text=text)

    def inside(self, function):
        return inside(self.pid, function)
