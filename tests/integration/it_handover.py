#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: SIGUSR2 starts the program again, which takes over the sockets and everything
that belongs to them; whatever fails before it serves leaves the running process as it was."""

import os
import pathlib
import pwd
import re
import shutil
import signal
import socket
import struct
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import Kaproxy, Skip, answer_lines, connect, main, test, wait_until
from kaptest.admin import Admin
from kaptest.handover import (Successor, adopt_orphans, begin, hand_over, wait_ended, wait_failed,
                              wait_served)
from kaptest.kaproxy import PROGRAM
from kaptest.machine import BUILD
from kaptest.tap import WAIT_MAX

adopt_orphans()

# Starts a program by another name or from another folder: FOLDER NAME PATH, then the usual command.
BY_NAME = [sys.executable, "-c", """
import os, sys
folder, name, path = sys.argv[1:4]
os.chdir(folder)
os.environ["PATH"] = path
os.execvp(name, [name, *sys.argv[5:]])
"""]


def start(t, **options):
    upstream = t.upstream(answer_lines)
    return t.kaproxy(upstream.endpoint, **options), upstream


def own_program(t, content=None):
    """A copy of the program that a test can replace; with a text: that script in its place."""
    path = t.folder / "program"
    new = t.folder / "program.new"
    if content is None:
        shutil.copy(PROGRAM, new)
    else:
        new.write_text("#!/bin/sh\n" + content)
    new.chmod(0o755)
    new.rename(path)
    return path


def run_as(folder, name, path="/nonexistent"):
    return [*BY_NAME, folder, name, path]


def serves(t, kaproxy, listener="main", index=0):
    channel = kaproxy.connect(listener, index)
    t.check(channel.ask(b"a").endswith(b" a"), "no response")
    t.equal(channel.end(), "eof", "end")


def variables(pid):
    text = pathlib.Path(f"/proc/{pid}/environ").read_bytes().decode()
    return dict(line.split("=", 1) for line in text.split("\0") if "=" in line)


def descriptors(pid):
    """Some may be closed while we read."""
    found = {}
    for path in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        try:
            found[int(path.name)] = os.readlink(path)
        except FileNotFoundError:
            pass
    return found


@test("the successor has the same sockets and files, its own pid in all places, and nothing else")
def all_of_it(t):
    socket, admin, pid_file = (t.folder / name for name in ("socket", "admin.sock", "k.pid"))
    kaproxy, _ = start(t, listen=f"127.0.0.1:{{port}} [::1]:{{port}} unix:{socket}",
                       pool={"keep_alive": "100ms"}, main={"pid_file": pid_file},
                       more={"admin": {"listen": f"unix:{admin}"}})
    before = {path: path.stat().st_ino for path in (socket, admin)}
    sockets = set()
    count = kaproxy.descriptors()
    for _ in range(3):
        old = kaproxy.pid
        hand_over(kaproxy)
        t.check(kaproxy.pid != old, "it is the same process")
        wait_until(lambda: pid_file.read_text() == f"{kaproxy.pid}\n", "the pid file")
        t.equal({path: path.stat().st_ino for path in before}, before, "the sockets' files")
        for index in range(3):
            serves(t, kaproxy, index=index)
        given = variables(kaproxy.pid)
        t.equal(given["LISTEN_PID"], str(kaproxy.pid), "LISTEN_PID")
        t.equal(given["LISTEN_FDS"], "4", "LISTEN_FDS")
        t.equal(given["LISTEN_FDNAMES"], ":::", "LISTEN_FDNAMES")
        t.equal(given["KAPROXY_HANDOVER"], "7:8:2,3", "KAPROXY_HANDOVER")
        open_ones = descriptors(kaproxy.pid)
        sockets.add(tuple(open_ones[fd] for fd in range(3, 7)))
        wait_until(lambda: kaproxy.descriptors() <= count, "descriptors to be as many as before")
    t.equal(len(sockets), 1, "sets of sockets")
    kaproxy.stop()
    t.check(not any(path.exists() for path in (socket, admin, pid_file)), "files are left")


@test("sessions continue in the predecessor, which ends with the last of them")
def sessions_go_on(t):
    kaproxy, upstream = start(t)
    client = kaproxy.connect()
    t.equal(client.ask(b"a"), b"1 a", "response before")
    before = wait_served(kaproxy, begin(kaproxy))
    t.equal(client.ask(b"b"), b"1 b", "response after")
    serves(t, kaproxy)
    kaproxy.signal(signal.SIGUSR2)
    kaproxy.wait_log("error: SIGUSR2 is refused: the previous process has not ended yet")
    t.check(before.poll() is None, "the predecessor did not wait for its session")
    t.equal(client.end(), "eof", "end of the session")
    t.equal(before.wait(), 0, "status")
    serves(t, kaproxy)
    upstream.close()


@test("SIGTERM ends the predecessor's remaining sessions sooner, and a second one at once")
def before_is_told_to_end(t):
    kaproxy, _ = start(t)
    client = kaproxy.connect()
    t.equal(client.ask(b"a"), b"1 a", "response before")
    before = wait_served(kaproxy, begin(kaproxy))
    kaproxy.wait_log(rf"\[{before.pid}\] notice: handover: another process serves")
    for pattern in "SIGTERM: 1 sessions end as soon as they can", "SIGTERM again: ending at once":
        before.send_signal(signal.SIGTERM)
        kaproxy.wait_log(rf"\[{before.pid}\] notice: {pattern}")
    t.equal(before.wait(), 0, "status")
    client.close()
    serves(t, kaproxy)


@test("max_per_host holds for both processes: clients wait until the predecessor has room")
def one_limit(t):
    kaproxy, upstream = start(t, pool={"max_per_host": 1})
    first = kaproxy.connect()
    t.equal(first.ask(b"a"), b"1 a", "response before")
    before = wait_served(kaproxy, begin(kaproxy))
    second = kaproxy.connect()
    second.send(b"b\n")
    t.check(second.is_silent(0.1), "the new process has dialled before its predecessor had room")
    t.equal(upstream.accepted, 1, "connections to the upstream")
    t.equal(first.end(), "eof", "end of the first")
    t.check(second.read_line().endswith(b" b"), "the second client was not served")
    t.equal(second.end(), "eof", "end of the second")
    t.equal(before.wait(), 0, "status")


@test("its path is the one of the start: relative, or found in PATH")
def paths(t):
    program = own_program(t)
    for name, path in ("./program", "/nonexistent"), ("program", f"/nonexistent:{t.folder}"):
        kaproxy, _ = start(t, wrap=run_as(t.folder, name, path))
        hand_over(kaproxy)
        t.equal(os.readlink(f"/proc/{kaproxy.pid}/exe"), str(program), "the program")
        serves(t, kaproxy)
        kaproxy.stop()


@test("a program that was replaced by a newer one: the newer one takes over")
def replaced(t):
    program = own_program(t)
    kaproxy, _ = start(t, wrap=run_as(t.folder, "./program"))
    own_program(t)
    t.check(os.readlink(f"/proc/{kaproxy.pid}/exe").endswith("(deleted)"), "it was not replaced")
    hand_over(kaproxy)
    t.equal(os.readlink(f"/proc/{kaproxy.pid}/exe"), str(program), "the program")
    serves(t, kaproxy)
    # Through a script, which is replaced by it, too.
    own_program(t, f'exec {PROGRAM} "$@"\n')
    hand_over(kaproxy)
    serves(t, kaproxy)


@test("a bad configuration is reported, the process continues, and the next handover works")
def bad_configuration(t):
    socket = t.folder / "socket"
    kaproxy, _ = start(t, listen=f"127.0.0.1:{{port}} unix:{socket}")
    good = kaproxy.file.read_text()
    kaproxy.file.write_text(good + "nonsense = 1\n")
    pid = begin(kaproxy)
    wait_failed(kaproxy, f"process {pid} ended with exit status 1")
    told = kaproxy.find_log("nonsense")
    t.equal(len(told), 1, "lines with the mistake")
    t.check(f"kaproxy[{kaproxy.pid}] error: process {pid}: {kaproxy.file}:" in told[0], told[0])
    wait_ended(pid)
    for index in range(2):
        serves(t, kaproxy, index=index)
    kaproxy.file.write_text(good)
    hand_over(kaproxy)
    for index in range(2):
        serves(t, kaproxy, index=index)
    kaproxy.stop()
    t.check(not socket.exists(), "the socket's file is left")


@test("a successor that cannot listen on a new address: the process continues with all it has")
def cannot_bind(t):
    taken = t.upstream(answer_lines)
    socket = t.folder / "socket"
    kaproxy, _ = start(t, listen=f"unix:{socket}")
    kaproxy.file.write_text(f"{kaproxy.file.read_text()}\n[listener other]\nlisten = "
                            f"127.0.0.1:{taken.port}\nupstream = {taken.endpoint}\nreuse = quiet\n")
    pid = begin(kaproxy)
    wait_failed(kaproxy, f"process {pid} ended with exit status 1")
    t.check(kaproxy.find_log("other: cannot listen on"), "the reason is not in the log")
    serves(t, kaproxy)


@test("a program that crashes, that is gone, that is not kaproxy at all, that does not end in time")
def bad_programs(t):
    program = own_program(t)
    kaproxy, _ = start(t, wrap=run_as(t.folder, "./program"))
    count = kaproxy.descriptors()
    for script, why in (("kill -9 $$\n", r"process \d+ was ended by signal 9 \(Killed\)"),
                        ("exit 3\n", r"process \d+ ended with exit status 3"),
                        (f"{PROGRAM} \"$@\"\n", r"process \d+ ended with exit status 1")):
        own_program(t, script)
        pid = begin(kaproxy)
        wait_failed(kaproxy, why)
        wait_ended(pid)
        serves(t, kaproxy)
    t.check(kaproxy.find_log(r"must be replaced by it \(exec\)"), "a child that was started")
    program.unlink()
    begin(kaproxy)
    wait_failed(kaproxy, f"cannot execute {t.folder}/./program: No such file or directory")
    serves(t, kaproxy)
    wait_until(lambda: kaproxy.descriptors() <= count + 2, "descriptors to be as many as before")
    own_program(t)
    hand_over(kaproxy)
    serves(t, kaproxy)


@test("SIGTERM while the successor starts: it is ended, and so is kaproxy")
def stopped_meanwhile(t):
    own_program(t)
    socket = t.folder / "socket"
    kaproxy, _ = start(t, listen=f"unix:{socket}", wrap=run_as(t.folder, "./program"))
    own_program(t, f"exec {shutil.which('sleep')} 1000\n")
    pid = begin(kaproxy)
    kaproxy.signal(signal.SIGUSR2)
    kaproxy.wait_log("error: SIGUSR2 is refused: a handover is under way")
    serves(t, kaproxy)
    kaproxy.stop()
    wait_ended(pid)
    t.check(not socket.exists(), "the socket's file is left")


def status_field(pid, name):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return re.search(rf"^{name}:\s+(\S+)", text, flags=re.M)[1]


def begin_stopped(t):
    """A handover to a process that has stopped before it does anything: kaproxy, it, its parent."""
    own_program(t)
    kaproxy, _ = start(t, wrap=run_as(t.folder, "./program"))
    own_program(t, f'kill -STOP $$\nexec {PROGRAM} "$@"\n')
    pid = begin(kaproxy)
    wait_until(lambda: status_field(pid, "State") == "T", "the successor to stop")
    return kaproxy, pid, int(status_field(pid, "PPid"))


@test("a successor that is asked to end before it serves: the process continues")
def successor_is_stopped(t):
    kaproxy, pid, _ = begin_stopped(t)
    os.kill(pid, signal.SIGTERM)
    os.kill(pid, signal.SIGCONT)
    wait_failed(kaproxy, rf"process {pid} was ended by signal 15 \(Terminated\)")
    serves(t, kaproxy)


@test("killed while the successor starts: that serves all the same, and nothing else is left")
def killed_meanwhile(t):
    kaproxy, pid, between = begin_stopped(t)
    t.check(between not in (kaproxy.pid, os.getpid()), "there is no process between the two")
    kaproxy.signal(signal.SIGKILL)
    kaproxy.process.wait()
    t.equal(Successor(between).wait(), 0, "status of the process between the two")
    t.equal(status_field(pid, "PPid"), str(os.getpid()), "the successor's new parent")
    kaproxy.process = Successor(pid)
    os.kill(pid, signal.SIGCONT)
    kaproxy.wait_log(rf"\[{pid}\] notice: ready, in place of the previous process")
    serves(t, kaproxy)


@test("the process between the two is killed: the successor is, too, and the process continues")
def between_is_killed(t):
    kaproxy, pid, between = begin_stopped(t)
    os.kill(between, signal.SIGKILL)
    own_program(t)
    wait_failed(kaproxy, f"the parent of process {pid} has ended")
    t.equal(Successor(pid).wait(), -signal.SIGKILL, "status of the successor")
    wait_ended(between)
    serves(t, kaproxy)
    hand_over(kaproxy)
    serves(t, kaproxy)


@test("signals that the successor cannot act on yet do not end it")
def successor_is_signalled(t):
    own_program(t)
    kaproxy, _ = start(t, wrap=run_as(t.folder, "./program"))
    own_program(t, f'for name in HUP USR1 USR2; do kill -$name $$; done\nexec {PROGRAM} "$@"\n')
    pid = begin(kaproxy)
    wait_served(kaproxy, pid)
    for pattern in "error: SIGUSR2 is refused: the previous process", "notice: reloaded ":
        kaproxy.wait_log(rf"\[{pid}\] {pattern}")
    serves(t, kaproxy)


@test("listeners that are new, and others that are gone with their files")
def other_listeners(t):
    gone, new = t.folder / "gone", t.folder / "new"
    kaproxy, upstream = start(t, more={"listener other": {
        "listen": f"unix:{gone}", "upstream": t.upstream(answer_lines).endpoint, "reuse": "quiet"}})
    text = kaproxy.file.read_text()
    t.check(gone.exists(), "no file before")
    kaproxy.file.write_text(text.replace(str(gone), str(new)))
    hand_over(kaproxy)
    t.check(new.exists(), "no file of the new one")
    wait_until(lambda: not gone.exists(), "the other one's file to go")
    serves(t, kaproxy)
    channel = connect(str(new))
    t.equal(channel.ask(b"a"), b"1 a", "response")
    t.equal(channel.end(), "eof", "end")
    upstream.close()


# Passes sockets as systemd does: PATH for a unix socket, or NAME=PORT for a TCP one.
ACTIVATED = [sys.executable, "-c", """
import os, socket, sys
one, other = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_INET6)
one.bind(sys.argv[1])
other.bind(("::1", 0))
for fd, passed in enumerate((one, other), 3):
    passed.listen()
    os.dup2(passed.detach(), fd + 10)
for fd in 3, 4:
    os.dup2(fd + 10, fd)
    os.set_inheritable(fd, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="2", LISTEN_FDNAMES="x:" + sys.argv[2])
os.execv(sys.argv[3], sys.argv[3:])
"""]


@test("sockets that systemd passes, one by its name: they are handed over, and their files stay")
def activated(t):
    socket = t.folder / "socket"
    kaproxy, _ = start(t, listen=f"unix:{socket} 127.0.0.1:{{port}}", wrap=[*ACTIVATED, socket, "main"])
    for _ in range(3):
        serves(t, kaproxy)
        name = descriptors(kaproxy.pid)[4]
        t.check(name.startswith("socket:"), f"descriptor 4 is {name}")
        hand_over(kaproxy)
        t.equal(variables(kaproxy.pid)["LISTEN_FDNAMES"], ":main", "LISTEN_FDNAMES")
        t.check(variables(kaproxy.pid)["KAPROXY_HANDOVER"].endswith(":"), "files that are not ours")
        t.equal(descriptors(kaproxy.pid)[4], name, "the socket")
    kaproxy.stop()
    t.check(socket.exists(), "systemd's file was removed")


def add_listener(t, kaproxy):
    socket = t.folder / "another"
    kaproxy.file.write_text(f"{kaproxy.file.read_text()}\n[listener another]\nlisten = unix:{socket}"
                            f"\nupstream = {t.upstream(answer_lines).endpoint}\nreuse = quiet\n")
    return socket


@test("a reload waits for the handover: it follows a failed one, and is dropped after another")
def reload_meanwhile(t):
    own_program(t)
    kaproxy, _ = start(t, wrap=run_as(t.folder, "./program"))
    go = t.folder / "go"
    for end in "exit 3", f'exec {PROGRAM} "$@"':
        own_program(t, f"until test -e {go}; do sleep 0.01; done\n{end}\n")
        pid = begin(kaproxy)
        if end == "exit 3":
            socket = add_listener(t, kaproxy)
        kaproxy.signal(signal.SIGHUP)
        kaproxy.wait_log(rf"\[{kaproxy.pid}\] notice: SIGHUP: the reload begins once the handover")
        go.touch()
        if end == "exit 3":
            wait_failed(kaproxy, f"process {pid} ended with exit status 3")
            kaproxy.wait_log(rf"\[{kaproxy.pid}\] notice: reloaded .*listeners: 1 added")
            go.unlink()
    wait_served(kaproxy, pid)
    kaproxy.wait_log("notice: SIGHUP: another process serves; nothing is reloaded")
    t.equal(len(kaproxy.find_log("SIGHUP: reloading")), 1, "reloads")
    t.check(socket.exists(), "the new listener is gone")


@test("listeners that drain: they are open again, and continue to drain if the handover fails")
def drained(t):
    admin = {"admin": {"listen": f"unix:{t.folder}/a.sock"}}
    kaproxy, _ = start(t, listen=f"127.0.0.1:{{port}} unix:{t.folder}/socket", more=admin)
    pages = Admin(t.folder / "a.sock")
    t.equal(pages.order("/drain").status, 200, "/drain")
    good = kaproxy.file.read_text()
    kaproxy.file.write_text(good + "nonsense = 1\n")
    wait_failed(kaproxy, f"process {begin(kaproxy)} ended with exit status 1")
    t.check(kaproxy.refuses(), "the port does not refuse")
    kaproxy.file.write_text(good)
    hand_over(kaproxy)
    for index in range(2):
        serves(t, kaproxy, index=index)


@test("clients that wait in a pause, of which the successor knows nothing, are served")
def paused(t):
    admin = {"admin": {"listen": f"unix:{t.folder}/a.sock"}}
    kaproxy, upstream = start(t, more=admin)
    pages = Admin(t.folder / "a.sock")
    for count, target in enumerate(("/pause?pool=default", "/pause?listener=main"), 1):
        t.equal(pages.order(target).status, 200, target)
        client = kaproxy.connect()
        client.send(b"a\n")
        t.check(client.is_silent(0.1), "it does not wait")
        before = wait_served(kaproxy, begin(kaproxy))
        t.check(client.read_line().endswith(b" a"), "no response")
        t.equal(client.end(), "eof", "end")
        t.equal(before.wait(), 0, "status")
        kaproxy.wait_log("the previous process has ended", count)
    upstream.close()


@test("a process that has become its user hands over to one that is it, and does not complain")
def another_user(t):
    if os.geteuid() != 0:
        raise Skip("only root can change its user")
    nobody = pwd.getpwnam("nobody")
    os.chown(t.folder, nobody.pw_uid, nobody.pw_gid)
    kaproxy, _ = start(t, main={"user": "nobody"})
    for _ in range(2):
        hand_over(kaproxy)
        serves(t, kaproxy)
        uids = pathlib.Path(f"/proc/{kaproxy.pid}/status").read_text()
        t.check(re.search(rf"^Uid:\t{nobody.pw_uid}\t", uids, flags=re.M), "it has another user")
    t.equal(kaproxy.find_log("is ignored"), [], "what it says about the user")


@test("a passed socket that no listener uses: it does not start, and says so")
def passed_for_nobody(t):
    kaproxy = Kaproxy(t, t.upstream(answer_lines).endpoint, listen=f"unix:{t.folder}/other",
                      wrap=[*ACTIVATED, t.folder / "socket", "main"])
    status, text = kaproxy.start_failing()
    t.equal(status, 1, "exit status")
    t.check(re.search(r"descriptor 3 \(x\), passed by LISTEN_FDS, is not used: it listens on "
                      r"unix:\S+/socket", text), f"what it wrote: {text!r}")


class Manager:
    """Plays systemd's part: messages, with the pids of their senders."""

    def __init__(self, path):
        self.path = path
        self.socket = None
        self.listen()

    def listen(self):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.socket.settimeout(WAIT_MAX)
        self.socket.bind(str(self.path))

    def go_away(self):
        self.socket.close()
        self.path.unlink()

    def read(self):
        data, more, _, _ = self.socket.recvmsg(4096, 256)
        pid = None
        for _, kind, content in more:
            if kind == socket.SCM_RIGHTS:  # a barrier, which is released
                os.close(struct.unpack("i", content)[0])
            else:
                pid = struct.unpack("3i", content)[0]
        return pid, data.decode()

    def skip_to(self, pid, text):
        """The messages before it."""
        messages = []
        while not messages or messages[-1] != (pid, text):
            messages.append(self.read())
        return messages[:-1]

    def close(self):
        self.socket.close()


@test("a service manager that is away: the predecessor stays the main process until it knows")
def manager_is_away(t):
    if "#define HAVE_LIBSYSTEMD" not in (BUILD / "config-build.h").read_text():
        raise Skip("it was built without libsystemd")
    manager = t.own(Manager(t.folder / "notify"))
    kaproxy, _ = start(t, wrap=["env", f"NOTIFY_SOCKET={manager.path}", "WATCHDOG_USEC=300000"])
    manager.skip_to(kaproxy.pid, "READY=1")
    manager.go_away()
    before = wait_served(kaproxy, begin(kaproxy))
    kaproxy.wait_log(rf"\[{before.pid}\] warning: process {kaproxy.pid} serves, and the service "
                     "manager may not know that it is the main one: it is notified every 5 s")
    serves(t, kaproxy)
    manager.listen()
    manager.skip_to(before.pid, "WATCHDOG=1")
    senders = {pid for pid, _ in manager.skip_to(before.pid, f"MAINPID={kaproxy.pid}")}
    t.check(senders <= {before.pid}, f"processes that are not the main one say something: {senders}")
    manager.skip_to(kaproxy.pid, "READY=1")
    manager.skip_to(kaproxy.pid, "WATCHDOG=1")
    t.equal(before.wait(), 0, "status")
    serves(t, kaproxy)


@test("as process 1 it refuses, for the container would end")
def first_process(t):
    if os.geteuid() != 0:
        raise Skip("only root can make a namespace of processes")
    kaproxy, _ = start(t, wrap=["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"])
    pid = int(pathlib.Path(f"/proc/{kaproxy.pid}/task/{kaproxy.pid}/children").read_text())
    os.kill(pid, signal.SIGUSR2)
    kaproxy.wait_log("error: SIGUSR2 is refused: this is process 1")
    serves(t, kaproxy)
    os.kill(pid, signal.SIGTERM)
    kaproxy.wait_exit()


main()
