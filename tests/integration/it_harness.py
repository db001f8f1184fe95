#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: a test program that is interrupted cleans up: no process and no folder is
left."""

import os
import pathlib
import signal
import subprocess
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import main, spawn, test, wait_until
from kaptest.kaproxy import PROGRAM, TESTS

# Names its processes, reports that it is ready, and waits for a signal {where}.
INNER = """\
import pathlib
import signal
import sys

sys.path.insert(0, {harness!r})
from kaptest import answer_lines, main, spawn, test
from kaptest.http_peers import PythonServer

@test("many processes")
def many(t):
    def wait_for_a_signal():
        print("folder", t.folder, "processes", *processes, flush=True)
        signal.pause()

    t.callback(print, "undone")
    upstream = t.upstream(answer_lines)
    processes = [t.kaproxy(upstream.endpoint).pid, t.own(PythonServer(t)).process.pid,
                 spawn(["sleep", "1000"]).pid]
    t.{where}

for number in signal.SIGTERM, signal.SIGINT, signal.SIGHUP:
    signal.signal(number, signal.SIG_DFL)  # we may be under nohup
main()
"""


class Inner:
    """That test program. With a space in the path of the program under test, for once."""

    def __init__(self, t, where):
        blank = t.folder / "a blank"
        blank.mkdir()
        (blank / "kaproxy").symlink_to(pathlib.Path(PROGRAM).resolve())
        file = t.folder / "inner.py"
        file.write_text(INNER.format(harness=str(TESTS / "support"), where=where))
        self.process = spawn([sys.executable, str(file)], stdout=subprocess.PIPE, text=True,
                             stderr=subprocess.DEVNULL,
                             env={**os.environ, "KAPROXY": str(blank / "kaproxy"),
                                  "TMPDIR": str(t.folder)})
        t.own(self.process.stdout)
        self.lines = []

    def wait_ready(self):
        """Its folder and the numbers of its processes."""
        for line in self.process.stdout:
            self.lines.append(line)
            words = line.split()
            if words[0] == "folder":
                return pathlib.Path(words[1]), [int(word) for word in words[3:]]
        raise AssertionError(f"it was never ready: {self.lines}")


def is_running(pid):
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def interrupt(t, number, where):
    inner = Inner(t, where)
    folder, processes = inner.wait_ready()
    t.equal([pid for pid in processes if not is_running(pid)], [], "processes that do not run")
    t.check(folder.exists(), "there is no folder")
    inner.process.send_signal(number)
    t.check(inner.process.wait() != 0, "the test program ended as if all were well")
    wait_until(lambda: not any(map(is_running, processes)), "the processes to end", 5)
    t.check(not folder.exists(), "the folder is still there")
    t.equal(inner.process.stdout.read(), "undone\n", "what the test program wrote then")


for number in signal.SIGTERM, signal.SIGINT, signal.SIGHUP:
    test(f"{number.name} while a test runs")(
        lambda t, number=number: interrupt(t, number, "check(wait_for_a_signal(), '')"))


@test("SIGTERM while a test ends what it started")
def at_the_end(t):
    interrupt(t, signal.SIGTERM, "callback(wait_for_a_signal)")


main()
