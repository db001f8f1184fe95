# SPDX-License-Identifier: ISC
"""Handovers: the new process in place of the one that the test started."""

import atexit
import contextlib
import ctypes
import os
import pathlib
import re
import signal
import subprocess
import time

from .tap import Failure, WAIT_MAX, wait_until

PR_SET_CHILD_SUBREAPER = 36


class Successor:
    """What the tests need of subprocess.Popen for a process that becomes ours when its parent ends,
    which is when it serves at the latest."""

    def __init__(self, pid):
        self.pid = pid
        self.returncode = None

    def poll(self):
        if self.returncode is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:
                return None
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout=WAIT_MAX):
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
            time.sleep(0.005)
        return self.returncode

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)


def children():
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(path.read_text().rpartition(")")[2].split()[1]) == os.getpid():
                found.append(int(path.parent.name))
    return found


def end_children():
    """Whatever a failed test has left behind, including processes that it did not learn of."""
    while left := children():
        for pid in left:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def adopt_orphans():
    """Successors become this process's children when their parents end, and end with it."""
    atexit.register(end_children)
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise Failure(f"prctl: {os.strerror(ctypes.get_errno())}")


def begin(kaproxy):
    """Sends SIGUSR2: the process that is to be the successor."""
    pattern = rf"kaproxy\[{kaproxy.pid}\] notice: handing over to process (\d+)"
    before = len(kaproxy.find_log(pattern))
    kaproxy.signal(signal.SIGUSR2)
    lines = kaproxy.wait_log(pattern, before + 1)
    return int(re.search(pattern, lines[-1])[1])


def wait_served(kaproxy, pid):
    """The successor serves: it is `kaproxy` from now on, and the predecessor is returned."""
    before = kaproxy.process
    kaproxy.wait_log(rf"kaproxy\[{before.pid}\] notice: process {pid} serves")
    kaproxy.process = Successor(pid)
    return before


def hand_over(kaproxy):
    """From the first signal until the predecessor has ended, with status 0."""
    before = wait_served(kaproxy, begin(kaproxy))
    status = before.wait(WAIT_MAX)
    if status != 0:
        raise Failure(f"the process before ended with status {status}")
    kaproxy.wait_log(rf"kaproxy\[{kaproxy.pid}\] notice: the previous process has ended")
    return before


def wait_failed(kaproxy, why):
    """A handover has failed, and the process continues."""
    kaproxy.wait_log(rf"kaproxy\[{kaproxy.pid}\] error: the handover failed: {why}; "
                     "this process continues")


def has_ended(pid):
    """No process, and no zombie, has that number."""
    return not pathlib.Path(f"/proc/{pid}").exists()


def wait_ended(pid):
    wait_until(lambda: has_ended(pid), f"the end of process {pid}")


__all__ = ["Successor", "adopt_orphans", "begin", "hand_over", "has_ended",
           "wait_ended", "wait_failed", "wait_served"]
