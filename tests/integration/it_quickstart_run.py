#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: contrib/quickstart run shows what it says, for http and, if there is a
redis-server, for Redis; and when it is ended nothing of it is left."""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import Skip, main, spawn, test, wait_until
from kaptest.kaproxy import PROGRAM
from kaptest.peers import need

SOURCE = pathlib.Path(__file__).resolve().parents[2]
DEMO = pathlib.Path(PROGRAM).parent / "contrib/demo/demo"
CLIENTS = 200
MAX_PER_HOST = 4


def check_tools():
    """What quickstart would install if it were missing."""
    for tool in "gcc", "make", "autoconf", "autoreconf", "automake", "pkg-config":
        if shutil.which(tool) is None:
            raise Skip(f"{tool} is not there")
    for module in "libevent_core", "inih", "libcares", "openssl":
        if subprocess.run(["pkg-config", "--exists", module], check=False).returncode != 0:
            raise Skip(f"pkg-config does not know {module}")


def checkout(t):
    """A tree with a quickstart in it for which everything is built already."""
    tree = t.folder / "tree"
    (tree / "contrib").mkdir(parents=True)
    shutil.copy(SOURCE / "contrib/quickstart", tree / "contrib")
    for name in "Makefile.in", "config-build.h.in", "configure":
        (tree / name).touch(mode=0o755)
    (tree / "build/contrib/demo").mkdir(parents=True)
    (tree / "build/Makefile").write_text("all:\n")
    (tree / "build/kaproxy").symlink_to(PROGRAM)
    (tree / "build/contrib/demo/demo").symlink_to(DEMO)
    return tree


class Quickstart:
    def __init__(self, t, **environment):
        check_tools()
        tree, self.scratch = checkout(t), t.folder / "scratch"
        self.scratch.mkdir()
        self.out = t.folder / "out"
        t.callback(self.end_rest)
        t.diagnostics.append(lambda: self.text().splitlines()[-40:])
        with open(self.out, "w", encoding="utf-8") as out:
            # A shell cannot trap a signal that nohup has ignored for the whole run.
            self.process = spawn(["env", "--default-signal=HUP", tree / "contrib/quickstart", "run"],
                                 stdin=subprocess.DEVNULL,
                                 stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
                                 env={**os.environ, "TMPDIR": str(self.scratch), **environment})
        wait_until(lambda: "Until it ends, these files exist:" in self.text() or self.has_ended(),
                   "the end of the demonstration", 60)
        t.check(not self.has_ended(), "it ended on its own")

    def text(self):
        return self.out.read_text(encoding="utf-8", errors="replace")

    def has_ended(self):
        return self.process.poll() is not None

    def row(self, number, name):
        """The fields of the row of that name in a table."""
        rows = re.findall(rf"^{name} +(.*)$", self.text(), re.MULTILINE)
        return rows[number].split()

    def processes(self):
        """The existing processes of its session."""
        found = []
        for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rsplit(")", 1)[1].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[3]) == self.process.pid and fields[0] != "Z":
                found.append(int(stat.parent.name))
        return found

    def end_rest(self):
        """What a failed test has left."""
        if self.has_ended():
            for pid in self.processes():
                os.kill(pid, signal.SIGKILL)

    def end(self, t, number):
        t.at_least(len(self.processes()), 3, "processes of the demonstration")
        self.process.send_signal(number)
        wait_until(self.has_ended, "quickstart to end")
        wait_until(lambda: not self.processes(), "its processes to be gone")
        t.equal(list(self.scratch.iterdir()), [], "files that it left")
        return self.process.returncode


@test("with a redis-server: both tables, few connections, and a refusal")
def with_redis(t):
    run = Quickstart(t, KAPROXY_DEMO_REDIS=need("redis-server"))
    t.equal(len(re.findall(r"^directly .*\nthrough kaproxy ", run.text(), re.MULTILINE)), 2,
            "tables whose rows are together")
    t.check("certificate" not in run.text(), "there is a message about the certificate")
    t.equal(run.row(0, "directly")[0], f"{CLIENTS}+0", "handshakes without kaproxy")
    full, resumed = run.row(0, "through kaproxy")[0].split("+")
    t.at_most(int(full) + int(resumed), MAX_PER_HOST, "handshakes with it")
    t.equal(run.row(1, "directly")[0], str(CLIENTS), "connections of Redis without kaproxy")
    connections, immediate, deferred, none, prepared = map(int, run.row(1, "through kaproxy")[:5])
    t.at_least(connections, 1, "connections of Redis with it")
    t.at_most(connections, MAX_PER_HOST, "connections of Redis with it")
    t.at_most(none, MAX_PER_HOST, "leases of new ones")
    t.at_least(immediate + deferred + none, 2 * CLIENTS, "leases")
    t.at_least(prepared, 1, "prepared connections, of two users and three databases")
    t.check("    -NOAUTH Authentication required." in run.text(), "no client was refused")
    t.check("redis-cli -p" in run.text(), "there is no hint for Redis")
    t.equal(run.end(t, signal.SIGINT), 0, "status")


@test("without one it says so, and shows only http")
def without_redis(t):
    run = Quickstart(t, KAPROXY_DEMO_REDIS="")
    t.check("there is no redis-server here" in run.text(), "it does not say so")
    t.check("Redis clients" not in run.text() and "redis-cli" not in run.text(),
            "it speaks of Redis")
    t.equal(run.row(0, "directly")[0], f"{CLIENTS}+0", "handshakes without kaproxy")
    t.equal(run.end(t, signal.SIGTERM), 0, "status")


@test("one that does not start is reported, and http is shown")
def broken_redis(t):
    run = Quickstart(t, KAPROXY_DEMO_REDIS="false")
    t.check("false did not start" in run.text(), "it does not say so")
    t.equal(run.row(0, "directly")[0], f"{CLIENTS}+0", "handshakes without kaproxy")
    t.equal(run.end(t, signal.SIGHUP), 0, "status")


main()
