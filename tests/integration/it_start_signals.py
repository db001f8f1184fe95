#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: signals that arrive while kaproxy starts take effect as soon as they can, and
do not end it before; SIGTERM and SIGINT do, as long as there is nothing to remove."""

import os
import pathlib
import re
import signal
import sys
import threading

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import Kaproxy, WAIT_MAX, answer_lines, main, spawn, test, wait_until
from kaptest.kaproxy import PROGRAM
from kaptest.tls import settings

HELD = signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2

# Starts the program with the configuration of a FIFO in place of its file, and by a name by which
# it cannot be started again: SIGUSR2 is refused.
FROM_FIFO = [sys.executable, "-c", """
import os, sys
os.execv(sys.argv[2], ["not-in-path", "-c", sys.argv[1]])
"""]

# Starts it with all signals blocked, and one of them pending.
ALL_BLOCKED = [sys.executable, "-c", """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
os.kill(os.getpid(), signal.SIGUSR1)
os.execv(sys.argv[1], sys.argv[1:])
"""]


def tls_listeners(count):
    """Many of them take a while to be read."""
    return {f"listener tls{number}": {
        "listen": "127.0.0.1:{port}", "upstream": "https://127.0.0.1:1", **settings()}
        for number in range(count)}


def serves(t, kaproxy):
    channel = kaproxy.connect()
    t.equal(channel.ask(b"a"), b"1 a", "response")
    t.equal(channel.end(), "eof", "end")


@test("SIGHUP, SIGUSR1 and SIGUSR2, again and again from the first moment on: kaproxy serves")
def storm(t):
    fifo = t.folder / "kaproxy.fifo"
    os.mkfifo(fifo)
    kaproxy = t.own(Kaproxy(t, t.upstream(answer_lines).endpoint, more=tls_listeners(40),
                            wrap=[*FROM_FIFO, fifo]))
    ready = threading.Event()

    def send_signals():
        while not ready.is_set():  # once, unless a port got taken
            with open(fifo, "w", encoding="ascii") as file:  # returns when kaproxy reads
                wait_until(lambda: kaproxy.process, "the process")
                for number in HELD:
                    kaproxy.signal(number)
                file.write(kaproxy.file.read_text())
            while kaproxy.is_running() and not ready.wait(0.001):
                for number in HELD:
                    kaproxy.signal(number)

    thread = threading.Thread(target=send_signals, daemon=True)
    thread.start()
    t.callback(thread.join, WAIT_MAX)
    t.callback(ready.set)
    kaproxy.start()
    ready.set()
    serves(t, kaproxy)
    for what in "stats listener=main", "log files were reopened", "SIGUSR2":
        kaproxy.wait_log(what)


def heed_interrupts():
    """As they are not if this test runs in a shell's background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@test("SIGTERM and SIGINT end it before it has bound anything")
def ended(t):
    fifo = t.folder / "kaproxy.fifo"
    os.mkfifo(fifo)
    for number in signal.SIGTERM, signal.SIGINT:
        process = spawn([PROGRAM, "-c", str(fifo)], preexec_fn=heed_interrupts)
        with open(fifo, "w", encoding="ascii"):
            process.send_signal(number)
            t.equal(process.wait(WAIT_MAX), -number, "status")


@test("signals that its parent has blocked, one of them pending, take effect all the same")
def inherited(t):
    kaproxy = t.kaproxy(t.upstream(answer_lines).endpoint, wrap=ALL_BLOCKED)
    kaproxy.wait_log("stats listener=main")
    kaproxy.signal(signal.SIGHUP)
    kaproxy.wait_log("log files were reopened")
    serves(t, kaproxy)
    kaproxy.stop()


@test("signals are the main thread's: all others have them blocked")
def one_thread(t):
    kaproxy = t.kaproxy(t.upstream(answer_lines).endpoint)
    heeded = *HELD, signal.SIGTERM, signal.SIGINT
    names = set()
    for task in pathlib.Path(f"/proc/{kaproxy.pid}/task").iterdir():
        status = (task / "status").read_text()
        mask = int(re.search(r"^SigBlk:\s*(\w+)$", status, flags=re.M)[1], 16)
        name = re.search(r"^Name:\s*(.*)$", status, flags=re.M)[1]
        blocked = [number for number in heeded if mask & 1 << number - 1]
        is_main = int(task.name) == kaproxy.pid
        t.equal(blocked, [] if is_main else list(heeded), f"signals that {name} has blocked")
        names.add(name)
    t.check({"kaproxy-worker", "kaproxy-log"} <= names, f"threads: {names}")


main()
