#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: contrib/init.d/kaproxy does what the Linux Standard Base requires of an init
script, with its exit statuses, even if it is run twice."""

import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import Skip, answer_lines, connect, main, test, wait_until
from kaptest.kaproxy import PROGRAM
from kaptest.ports import free_port

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "contrib/init.d/kaproxy"

# All that it may rely on.
TOOLS = "cat date grep id install mktemp rm setsid sleep".split()


class Service:
    """The script with its own configuration."""

    def __init__(self, t, *, tools=None):
        if os.geteuid() != 0:
            raise Skip("an init script is root's")
        self.t = t
        t.folder.chmod(0o755)
        self.script, self.defaults = t.folder / "init", t.folder / "defaults"
        text = SCRIPT.read_text()
        changed = text.replace("DEFAULTS=/etc/default/kaproxy\n", f"DEFAULTS={self.defaults}\n")
        t.check(changed != text, "it has no DEFAULTS")
        self.script.write_text(changed)
        self.ini, self.logs = t.folder / "kaproxy.ini", t.folder / "logs"
        self.logs.mkdir()
        shutil.chown(self.logs, "nobody")
        self.log = self.logs / "kaproxy.log"
        self.pid_file = t.folder / "run" / "kaproxy.pid"
        self.admin = t.folder / "admin.sock"
        self.port = free_port()
        self.upstream = t.upstream(answer_lines).endpoint
        self.configure()
        self.set()
        self.path = os.environ["PATH"] + ":/usr/sbin:/sbin"
        if tools is not None:
            self.path = str(tools)
        t.callback(self.end)

    def configure(self, more="", **values):
        values = {"user": "nobody", "log": self.log, "log_level": "info",
                  "pid_file": self.pid_file, **values}
        self.ini.write_text("[kaproxy]\n" + "".join(f"{k} = {v}\n" for k, v in values.items()) + (
            f"[listener main]\nlisten = 127.0.0.1:{self.port}\nupstream = {self.upstream}\n"
            f"reuse = quiet\n{more}"))

    def set(self, **values):
        values = {"DAEMON": PROGRAM, "CTL": self.t.folder / "ctl", "CONFIG": self.ini,
                  "PIDFILE": self.pid_file, "RUN_AS": "nobody", "ADMIN": self.admin, **values}
        self.defaults.write_text("".join(f"{k}='{v}'\n" for k, v in values.items()))

    def ask(self, action, status, text="", **options):
        """Runs it, expects this exit status, and these words in its output."""
        shell = shutil.which("dash") or "/bin/sh"
        done = subprocess.run([shell, "-u", self.script, action], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=100, check=False,
                              env={**os.environ, "PATH": self.path}, **options)
        said = done.stdout + done.stderr
        self.t.equal(done.returncode, status, f"exit status of {action}, which said {said!r}")
        self.t.check(text in said, f"{action} said {said!r}")

    def pid(self):
        return int(self.pid_file.read_text())

    def use(self):
        client = connect(("127.0.0.1", self.port))
        self.t.check(client.ask(b"a").endswith(b" a"), "no response")
        client.end()

    def count_log(self, text):
        return self.log.read_text().count(text)

    def end(self):
        if self.pid_file.exists() and self.pid() != os.getpid():
            os.kill(self.pid(), signal.SIGKILL)


def all_actions(service, t):
    service.ask("status", 3, "not running")
    for _ in range(2):
        service.ask("stop", 0, "not running")
        service.ask("reload", 7, "not running")
        service.ask("try-restart", 0)
    service.ask("start", 0, "is started")
    pid = service.pid()
    service.use()  # at once
    t.equal(service.pid_file.parent.stat().st_uid, pwd.getpwnam("nobody").pw_uid,
            "owner of the directory")
    service.ask("start", 0, "running already")
    for _ in range(2):
        service.ask("status", 0, f"is running, as process {pid}")
    for action in "reload", "force-reload":
        service.log.rename(f"{service.log}.{action}")
        service.ask(action, 0)
        wait_until(service.log.exists, "SIGHUP to be heeded")
    t.equal(service.pid(), pid, "process id after two reloads")
    for action in "restart", "restart", "try-restart":
        service.ask(action, 0, "is started")
        t.check(service.pid() != pid, "it is the same process")
        pid = service.pid()
        service.use()
    service.ask("stop", 0, "is stopped")
    t.check(not service.pid_file.exists(), "the pid file is still there")
    service.ask("stop", 0, "not running")
    service.ask("status", 3)
    service.ask("restart", 0, "is started")
    service.ask("stop", 0)


@test("each action, twice")
def actions(t):
    all_actions(Service(t), t)


@test("the same without start-stop-daemon, and without anything else that is not everywhere")
def without_helper(t):
    tools = t.folder / "tools"
    tools.mkdir()
    for name in TOOLS:
        (tools / name).symlink_to(shutil.which(name))
    all_actions(Service(t, tools=tools), t)


@test("a process that is gone: status 1, and a start replaces its pid file")
def stale(t):
    service = Service(t)
    service.ask("start", 0)
    pid = service.pid()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not alive(pid), "its end")
    service.ask("status", 1, "is dead")
    service.ask("reload", 7)
    service.ask("start", 0, "is started")
    service.ask("status", 0)
    service.ask("stop", 0)
    service.pid_file.write_text(f"{os.getpid()}\n")  # another program has that number now
    service.ask("status", 1)
    service.ask("stop", 0, "is not running")
    for text in "", "no number\n", "-1\n":
        service.pid_file.write_text(text)
        service.ask("status", 1)
        service.ask("stop", 0, "is not running")


def alive(pid):
    try:
        return ") Z " not in pathlib.Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


@test("a mistake in the file: nothing is stopped, and the status is 6")
def mistakes(t):
    service = Service(t)
    service.configure("nonsense = 1\n")
    service.ask("start", 6, "nonsense")
    service.configure()
    service.ask("start", 0)
    pid = service.pid()
    for more, text in (("nonsense = 1\n", f"{service.ini}:"), ("timeout = x\n", "timeout")):
        service.configure(more)
        for action in "restart", "try-restart", "reload", "force-reload":
            service.ask(action, 6, text)
    for values, text in (({"pid_file": ""}, "must have pid_file"), ({"log": "stderr"}, "another log"),
                         ({"access_log": "/dev/stdout"}, "another log")):
        service.configure(**values)
        service.ask("restart", 6, text)
    service.ini.rename(t.folder / "moved")
    service.ask("restart", 6, "there is no")
    t.equal(service.pid(), pid, "process id")
    service.use()
    service.ask("stop", 0)


@test("a start that fails says why, and one that is not ready in time is ended")
def failing(t):
    service = Service(t)
    with socket.create_server(("127.0.0.1", service.port)):
        service.ask("start", 1, "Address already in use")
    service.ask("status", 3)
    slow = t.folder / "kaproxy"
    slow.write_text(f'#!/bin/sh\n[ "$1" = -c ] || exec {PROGRAM} "$@"\nexec sleep 1000\n')
    slow.chmod(0o755)
    service.set(DAEMON=slow, START_WAIT=1)
    service.ask("start", 1, "is not ready after 1 s")
    service.ask("status", 3)


@test("a stop that takes too long ends sessions, and then the process")
def stopping(t):
    service = Service(t)
    service.set(STOP_WAIT=1, CUT_WAIT=60)
    service.ask("start", 0)
    client = connect(("127.0.0.1", service.port))
    client.ask(b"a")
    service.ask("stop", 0, "is stopped")
    t.equal(service.count_log("SIGTERM"), 2, "signals that it got")
    service.set(STOP_WAIT=0, CUT_WAIT=0)
    service.ask("start", 0)
    os.kill(service.pid(), signal.SIGSTOP)
    pid = service.pid()
    service.ask("stop", 0, "is stopped")
    t.check(not alive(pid), "it is still there")
    client.close()


@test("reload uses kaproxyctl if the admin socket exists, and its refusal is status 1")
def through_ctl(t):
    service = Service(t)
    asked = t.folder / "asked"
    service.ask("start", 0)
    with socket.socket(socket.AF_UNIX) as admin:
        admin.bind(str(service.admin))
        for number, status in enumerate((0, 1, 3), 1):
            (t.folder / "ctl").write_text(f'#!/bin/sh\necho "$@" >>{asked}\nexit {status}\n')
            (t.folder / "ctl").chmod(0o755)
            service.ask("reload", 1 if status else 0)
            t.equal(asked.read_text(), f"-s unix:{service.admin} reload\n" * number, "its arguments")
    service.ask("stop", 0)


@test("not root, not installed, and actions that do not exist")
def refusals(t):
    service = Service(t)
    nobody = {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid, "extra_groups": []}
    for action in "start", "stop", "restart", "try-restart", "reload", "force-reload":
        service.ask(action, 4, "only root", **nobody)
    service.ask("status", 3, **nobody)
    service.ask("nonsense", 2, "usage: ")
    service.set(DAEMON=t.folder / "kaproxy")
    for action in "start", "restart", "reload":
        service.ask(action, 5, "is not installed")


main()
