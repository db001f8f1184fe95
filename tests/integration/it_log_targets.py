#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: logs go where they should; a bad target is an error, a full one is not."""

import os
import re
import socket
import subprocess
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import Kaproxy, answer_lines, main, test, wait_until


def use(t, kaproxy, times=1):
    for _ in range(times):
        client = kaproxy.connect()
        t.equal(client.ask(b"x"), b"1 x", "response")
        t.equal(client.end(), "eof", "end")


@test("a log or access log that cannot be opened: exit status 1 and a message that names it")
def cannot_open(t):
    for key in "log", "access_log":
        path = t.folder / "missing" / "file.log"
        kaproxy = Kaproxy(t, t.upstream(answer_lines).endpoint, main={key: path})
        status, text = kaproxy.start_failing()
        t.equal(status, 1, "exit status")
        t.check(str(path) in text, f"the message does not name the file: {text!r}")
        t.check("No such file" in text, f"the message gives no reason: {text!r}")


@test("a start that fails says why on standard error, wherever messages go, and once")
def failing_start(t):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        for target in t.folder / "kaproxy.log", "syslog", "stderr", "stdout":
            kaproxy = Kaproxy(t, "tcp://127.0.0.1:1", listen=listen, main={"log": target})
            status, text = kaproxy.start_failing()
            t.equal(status, 1, "exit status")
            error = rf"^\S+Z kaproxy\[\d+\] error: .*cannot listen on {listen}: Address already in use"
            t.equal(len(re.findall(error, text, flags=re.M)), 1, f"log = {target}: errors in {text!r}")
    file = (t.folder / "kaproxy.log").read_text()
    t.check("Address already in use" in file, f"not in the log: {file!r}")


@test("access_log = stderr puts lines between the messages")
def access_on_stderr(t):
    kaproxy = t.kaproxy(t.upstream(answer_lines).endpoint, main={"access_log": "stderr"})
    use(t, kaproxy)
    kaproxy.wait_log(r"ts=\S+ listener=main .*end=complete$")


@test("stdout is a target, for messages and for the access log")
def standard_output(t):
    kaproxy = t.kaproxy(t.upstream(answer_lines).endpoint, stderr=subprocess.DEVNULL,
                        main={"log": "stdout", "access_log": "stdout"})
    use(t, kaproxy)
    kaproxy.wait_log(r"^ts=\S+ listener=main .*end=complete$")
    kaproxy.wait_log(rf"^\S+Z kaproxy\[{kaproxy.pid}\] notice: ready$")


@test("under journald messages have a priority and no time, access lines are as usual")
def journal(t):
    log = t.folder / "journal"
    file = t.own(log.open("wb"))
    st = os.fstat(file.fileno())
    kaproxy = Kaproxy(t, t.upstream(answer_lines).endpoint, stderr=file,
                      main={"access_log": "stderr"},
                      wrap=["env", f"JOURNAL_STREAM={st.st_dev}:{st.st_ino}"])
    kaproxy.log_file = log
    t.own(kaproxy.start())
    use(t, kaproxy)
    kaproxy.wait_log(r"^ts=\S+ listener=main .*end=complete$")
    kaproxy.stop()
    for line in kaproxy.log():
        t.check(re.match(r"<5>[A-Za-z]|ts=", line), f"a line of another kind: {line!r}")
    t.equal(kaproxy.find_log("ready"), ["<5>ready"], "the message")


@test("access_log = off, the default, writes none")
def access_off(t):
    kaproxy = t.kaproxy(t.upstream(answer_lines).endpoint, main={"access_log": None})
    use(t, kaproxy)
    kaproxy.stop()
    t.equal(kaproxy.find_log("from_cache="), [], "access-log lines")


@test("log_level = debug logs each step of a connection, notice does not")
def levels(t):
    for level, talks in ("debug", True), ("notice", False):
        kaproxy = t.kaproxy(t.upstream(answer_lines).endpoint, main={"log_level": level})
        before = len(kaproxy.log())
        use(t, kaproxy, 3)
        kaproxy.wait_sessions(3)
        t.equal(len(kaproxy.log()) > before, talks, f"lines for clients at {level}")


@test("full disks for both logs do not keep clients from being served")
def full_disk(t):
    kaproxy = t.kaproxy(t.upstream(answer_lines).endpoint, main={"access_log": "/dev/full"})
    use(t, kaproxy, 5)
    t.at_most(len(kaproxy.find_log("/dev/full|No space")), 2, "messages about the full disk")

    log = t.folder / "kaproxy.log"
    kaproxy = t.kaproxy(t.upstream(answer_lines).endpoint,
                        main={"log": log, "access_log": "/dev/full"})
    use(t, kaproxy, 5)


@test("a standard error that is no longer read does no harm")
def closed_stderr(t):
    reading, writing = os.pipe()
    log = t.folder / "kaproxy.log"
    kaproxy = t.own(Kaproxy(t, t.upstream(answer_lines).endpoint, stderr=writing,
                            main={"log": log, "access_log": "stderr"}).start())
    os.close(writing)
    os.close(reading)
    use(t, kaproxy, 5)
    wait_until(kaproxy.is_running, "kaproxy")


main()
