#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: without -c the file is found in its place, or in the old one with a warning;
again at each start, reload and handover; by kaproxyctl and by kaproxy.

Each test has its own namespace, in which one of its folders is mounted where this build has its
configuration."""

import os
import pathlib
import re
import signal
import subprocess
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import Skip, main, spawn, test, wait_until
from kaptest.kaproxy import PROGRAM
from kaptest.peers import need
from kaptest.ports import free_port

CTL = pathlib.Path(PROGRAM).with_name("kaproxyctl")
FILE = pathlib.Path(re.search(r"\(default: (.*)\)$", subprocess.run(
    [PROGRAM, "-h"], capture_output=True, text=True, check=True).stdout, flags=re.M)[1])
FOLDER = FILE.parent.parent  # sysconfdir
OLD = FOLDER / "kaproxy.ini"
MOUNT = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'

DEPRECATED = f"{OLD}: warning: this path is deprecated: move the file to {FILE}"
NOT_READ = f"{FILE}: warning: {OLD} is not read: remove it"


class Place:
    """The content of sysconfdir for the commands of one test."""

    def __init__(self, t):
        self.t = t
        self.unshare = [need("unshare"), "--user", "--map-root-user", "--mount"]
        if not FOLDER.is_dir():
            raise Skip(f"there is no {FOLDER} to mount anything at")
        self.folder = t.folder / "sysconfdir"
        self.new, self.old = self.folder / "kaproxy/kaproxy.ini", self.folder / "kaproxy.ini"
        self.new.parent.mkdir(parents=True)
        self.admin = t.folder / "admin.sock"
        if self.run("true").returncode != 0:
            raise Skip("no mount namespace can be made here")

    def command(self, *words):
        return [*self.unshare, "sh", "-c", MOUNT, "sh", str(self.folder), str(FOLDER), *words]

    def run(self, *words):
        environment = {name: value for name, value in os.environ.items()
                       if name not in ("KAPROXY_ADMIN", "RUNTIME_DIRECTORY")}
        return subprocess.run(self.command(*words), stdin=subprocess.DEVNULL, text=True,
                              env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=30, check=False)

    def check(self):
        done = self.run(PROGRAM, "-t")
        return done.returncode, done.stdout.splitlines(), done.stderr.splitlines()

    def text(self, more=""):
        return (f"[admin]\nlisten = unix:{self.admin}\n[listener main]\nlisten = 127.0.0.1:"
                f"{free_port()}\nupstream = http://127.0.0.1:9\n{more}")

    def start(self):
        stderr = self.t.folder / "stderr"
        with open(stderr, "wb") as output:
            process = spawn(self.command(PROGRAM), stdin=subprocess.DEVNULL, stdout=output,
                            stderr=output)
        self.t.callback(process.wait, 30)
        self.t.callback(process.terminate)
        self.t.diagnostics.append(lambda: stderr.read_text().splitlines())
        return Running(process, stderr)


class Running:
    def __init__(self, process, stderr):
        self.process, self._stderr = process, stderr
        self.await_log("ready")

    def log(self):
        return self._stderr.read_text().splitlines()

    def await_log(self, words):
        wait_until(lambda: any(words in line for line in self.log()), f"{words!r} in the log")


@test("-t: the file in its place, without a warning")
def in_place(t):
    place = Place(t)
    place.new.write_text(place.text())
    t.equal(place.check(), (0, [f"{FILE}: ok"], []), "-t")


@test("-t: only the old file: it is read, with a warning")
def old_alone(t):
    place = Place(t)
    place.old.write_text(place.text())
    t.equal(place.check(), (0, [f"{OLD}: ok"], [DEPRECATED]), "-t")
    place.new.parent.rmdir()
    t.equal(place.check(), (0, [f"{OLD}: ok"], [DEPRECATED]), "-t without the folder")


@test("-t: both: the old one is not read, with a warning")
def both(t):
    place = Place(t)
    place.old.write_text("nonsense\n")
    place.new.write_text(place.text())
    t.equal(place.check(), (0, [f"{FILE}: ok"], [NOT_READ]), "-t")


@test("-t: neither: the error names the new one")
def none(t):
    place = Place(t)
    t.equal(place.check(), (1, [], [f"{FILE}: No such file or directory"]), "-t")


@test("-c: no warning, wherever the file is")
def named(t):
    place = Place(t)
    place.old.write_text(place.text())
    done = place.run(PROGRAM, "-t", "-c", str(OLD))
    t.equal((done.returncode, done.stdout, done.stderr), (0, f"{OLD}: ok\n", ""), "-t -c")


@test("reload and handover: a file that was moved meanwhile is found; the warning has an end")
def moved(t):
    place = Place(t)
    place.old.write_text(place.text())
    running = place.start()
    running.await_log(f"starts with {OLD}")
    running.await_log(f"warning: {DEPRECATED.replace(' warning:', '')}")
    reload = lambda: place.run(str(CTL), "-s", str(place.admin), "reload")
    done = reload()
    t.equal(done.returncode, 0, "status")
    t.check(DEPRECATED in done.stdout.splitlines(), f"{done.stdout!r} has no warning")
    place.new.write_text(place.old.read_text())
    done = reload()
    t.equal((done.returncode, NOT_READ in done.stdout.splitlines()), (0, True),
            "status, and the warning that there are two")
    running.await_log(f"warning: reload: {NOT_READ}")
    place.old.unlink()
    done = reload()
    t.equal((done.returncode, "warning" in done.stdout), (0, False), "status, and a warning")
    running.await_log(f"reloaded {FILE}: ")
    place.new.rename(place.old)
    running.process.send_signal(signal.SIGUSR2)
    wait_until(lambda: sum(f"starts with {OLD}" in line for line in running.log()) == 2,
               "a successor")
    running.process.wait(30)
    place.new.write_text(place.old.read_text())
    t.equal(reload().returncode, 0, "status of the successor's reload")
    place.old.unlink()
    place.new.unlink()
    done = reload()
    t.equal(done.returncode, 1, "status without any file")
    t.check(f"{FILE}: No such file or directory" in done.stderr, f"{done.stderr!r}")
    pid = int(re.search(r"kaproxy\[(\d+)\]", running.log()[-1])[1])
    os.kill(pid, signal.SIGTERM)
    running.await_log(f"kaproxy[{pid}] notice: stopped")


@test("kaproxyctl without -c connects where that file says")
def ctl(t):
    place = Place(t)
    for file in place.old, place.new:
        file.write_text(place.text())
        running = place.start()
        done = place.run(str(CTL), "status")
        t.equal((done.returncode, done.stderr), (0, ""), f"status with {file}")
        running.process.terminate()
        running.process.wait(30)
    place.new.write_text("[admin]\nlisten = off\n")
    t.check(f"{FILE} has [admin] listen = off" in place.run(str(CTL), "status").stderr, "off")


if __name__ == "__main__":
    main()
