#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: with one mistake in it, or one thing that is not available, a reload changes
nothing, and reports everything that is wrong; and the next one works."""

import json
import os
import pathlib
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import Skip, answer_lines, free_port, main, test
from kaptest.admin import Admin
from kaptest.kaproxy import PROGRAM
from kaptest.reload import ask, edit, listening, reload, reload_failing, with_text


def use(kaproxy, listener="main"):
    peer = kaproxy.connect(listener)
    answer = peer.ask(b"x")
    peer.end()
    return answer


def problems(pages):
    return [problem["code"] for problem in json.loads(pages.get("/status").text)["problems"]]


def start(t, **options):
    upstream = t.upstream(answer_lines)
    kaproxy = t.kaproxy(upstream.endpoint, **options)
    t.equal(use(kaproxy), b"1 x", "response")
    return upstream, kaproxy


@test("every mistake is logged with its line, and how many, and what stays in effect")
def mistakes(t):
    _, kaproxy = start(t)
    found = reload_failing(kaproxy, {"pool": {"max_open": "many", "max_age": "ever"},
                                     "listener b": {"upstream": "tcp://x:1", "reuse": "quiet"}})
    t.equal(len(found), 3, "mistakes")
    text = kaproxy.find_log("reload failed")[0]
    t.check(" reload failed: 3 mistakes; the configuration of 2" in text, text)
    for line in found:
        t.check(line.startswith(f"{kaproxy.file}:"), line)
    t.equal(use(kaproxy), b"1 x", "response on the same connection")


@test("fifty bad files, and nothing has changed after them")
def fifty(t):
    upstream, kaproxy = start(t)
    good = kaproxy.file.read_text()
    sockets, descriptors = listening(kaproxy), kaproxy.descriptors()
    for number in range(50):
        bad = (good[:len(good) * number // 60] + f"\nkey{number} =", good + "[pool]\nx=1\n",
               good.replace("[pool]", f"[pool]\nmax_open = -{number}"), "",
               good + f"[listener b]\nlisten=127.0.0.1:{free_port()}\n")[number % 5]
        t.at_least(len(with_text(kaproxy, bad)), 1, f"mistakes of file {number}")
        t.equal(use(kaproxy), b"1 x", "response on the same connection")
    t.equal(listening(kaproxy), sockets, "sockets")
    t.equal(kaproxy.descriptors(), descriptors, "descriptors")
    t.equal(upstream.accepted, 1, "connections")
    t.equal(reload(kaproxy), "nothing changed", "what changes with the good file")


@test("a file that is missing, or is a FIFO, which is not waited for")
def no_file(t):
    _, kaproxy = start(t)
    kaproxy.file.rename(t.folder / "away")
    kaproxy.signal(signal.SIGHUP)
    kaproxy.wait_log("reload: .*: No such file or directory")
    kaproxy.wait_log("reload failed: 1 mistake;")
    os.mkfifo(kaproxy.file)
    kaproxy.signal(signal.SIGHUP)
    kaproxy.wait_log("reload: .*: is not a regular file")
    kaproxy.wait_log("reload failed: 1 mistake;", 2)
    (t.folder / "away").replace(kaproxy.file)
    t.equal(reload(kaproxy), "nothing changed", "what changes")


@test("a port in use undoes all the rest: sockets, limits, logs")
def port_in_use(t):
    upstream, kaproxy = start(t)
    sockets, descriptors = listening(kaproxy), kaproxy.descriptors()
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        section = {"upstream": upstream.endpoint, "reuse": "quiet"}
        found = reload_failing(kaproxy, {
            "pool": {"max_per_host": 1}, "kaproxy": {"access_log": t.folder / "other.log"},
            "listener free": {**section, "listen": f"127.0.0.1:{free_port()} "
                              f"unix:{t.folder}/new.sock"},
            "listener taken": {**section, "listen": f"127.0.0.1:{taken}"}})
    t.equal(len(found), 1, "mistakes")
    t.check(f"cannot listen on 127.0.0.1:{taken}: Address already in use" in found[0], found[0])
    t.equal(listening(kaproxy), sockets, "sockets")
    t.equal(kaproxy.descriptors(), descriptors, "descriptors")
    t.check(not os.path.exists(t.folder / "new.sock"), "the new socket's file is there still")
    clients = [kaproxy.connect() for _ in range(2)]
    for peer in clients:
        t.check(peer.ask(b"y").endswith(b" y"), "two at a time are not served")


@test("logs that cannot be opened undo all the rest, and each is reported with its line")
def no_logs(t):
    upstream, kaproxy = start(t)
    sockets, descriptors = listening(kaproxy), kaproxy.descriptors()
    found = reload_failing(kaproxy, {
        "kaproxy": {"access_log": "/nowhere/a.log", "log": "/nowhere/k.log"},
        "listener free": {"upstream": upstream.endpoint, "reuse": "quiet",
                          "listen": f"127.0.0.1:{free_port()} unix:{t.folder}/new.sock"}})
    t.equal([line.partition(": ")[2] for line in found],
            ["cannot open the access log /nowhere/a.log: No such file or directory",
             "cannot open the log /nowhere/k.log: No such file or directory"], "mistakes")
    t.equal(listening(kaproxy), sockets, "sockets")
    t.equal(kaproxy.descriptors(), descriptors, "descriptors")
    t.check(not os.path.exists(t.folder / "new.sock"), "the new socket's file is there still")
    t.equal(use(kaproxy), b"1 x", "response")


def compare_with_check(t, kaproxy, changes):
    """What -t says about the file with these changes, which a reload must report too."""
    edit(kaproxy, changes)
    done = subprocess.run([PROGRAM, "-t", "-c", kaproxy.file], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=30, check=False)
    said = r" (?:error|warning): reload: (?=\S*\.ini:)"
    before = len(kaproxy.find_log(said))
    ask(kaproxy)
    t.equal(sorted(re.split(said, line)[1] for line in kaproxy.find_log(said)[before:]),
            sorted(done.stderr.splitlines()), "what the reload says, and -t")
    return done.stderr


@test("a reload reports what -t says about the file: each warning, and all mistakes at once")
def same_as_check(t):
    upstream, kaproxy = start(t)
    said = compare_with_check(t, kaproxy, {
        "admin": {"listen": "127.0.0.1:{port}", "control": "all"},
        "listener b": {"upstream": upstream.endpoint.replace("tcp", "tls"), "reuse": "quiet",
                       "listen": "127.0.0.1:{port}", "tls_verify": "no"}})
    t.check("tls_verify = no, anybody" in said and "control = all: anybody" in said, said)
    said = compare_with_check(t, kaproxy, {
        "kaproxy": {"log": "/nowhere/k.log", "access_log": t.folder,
                    "pid_file": "/nowhere/k.pid"},
        "listener b": {"listen": "unix:/nowhere/k.sock"}})
    t.equal(said.count("No such file or directory"), 3, said)
    t.check("Is a directory" in said and "anybody" in said, said)


@test("an address that overlaps one being removed needs a restart, and that is the message")
def overlap(t):
    _, kaproxy = start(t)
    port = kaproxy.address()[1]
    found = reload_failing(kaproxy, {"listener main": {"listen": f"0.0.0.0:{port}"}})
    t.equal(len(found), 1, "mistakes")
    t.check(f"0.0.0.0:{port}" in found[0] and f"127.0.0.1:{port}" in found[0] and
            "restart" in found[0], found[0])
    t.equal(use(kaproxy), b"1 x", "response")


@test("a low port that root could bind, and this user cannot: the reason is reported")
def low_port(t):
    lowest = int(pathlib.Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    if os.geteuid() != 0 or lowest < 2:
        raise Skip("needs root, and privileged ports")
    t.folder.chmod(0o755)
    shutil.chown(t.folder, "nobody", pwd.getpwnam("nobody").pw_gid)
    _, kaproxy = start(t, main={"user": "nobody"})
    found = reload_failing(kaproxy, {"listener main": {"listen": "127.0.0.1:1"}})
    t.equal(len(found), 1, "mistakes")
    t.check("127.0.0.1:1: Permission denied" in found[0] and "restart" in found[0], found[0])
    t.equal(use(kaproxy), b"1 x", "response")


@test("what cannot change is a warning, and stays")
def unchangeable(t):
    _, kaproxy = start(t)
    t.equal(reload(kaproxy, {"kaproxy": {"user": "nobody"}}), "nothing changed", "what changes")
    kaproxy.wait_log("warning: reload: .*: warning: user: cannot change while running; "
                     "it stays unset until a restart")


@test("that the last reload failed is shown until one works")
def shown(t):
    _, kaproxy = start(t, more={"admin": {"listen": f"unix:{t.folder}/a.sock"}})
    pages = Admin(t.folder / "a.sock")
    reload_failing(kaproxy, {"pool": {"max_open": "many"}})
    t.check("kaproxy_config_last_reload_successful 0" in pages.get("/metrics").text, "metrics")
    t.equal(problems(pages), ["reload_failed"], "problems")
    reload(kaproxy)
    t.check("kaproxy_config_last_reload_successful 1" in pages.get("/metrics").text, "metrics")
    t.equal(problems(pages), [], "problems after it")


main()
