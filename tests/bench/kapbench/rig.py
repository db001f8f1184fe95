# SPDX-License-Identifier: ISC
"""Programs, processes and what the kernel reports about them."""

import functools
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import time

from kaptest.ports import free_port

WAIT_MAX = 30  # seconds for something to start or to end
PACKAGES = {
    "ab": "apache2-utils", "curl": "curl", "haproxy": "haproxy", "nginx": "nginx",
    "nutcracker": "nutcracker", "openssl": "openssl", "redis-benchmark": "redis-tools",
    "redis-server": "redis-server", "strace": "strace", "valgrind": "valgrind", "wrk": "wrk",
}


class Missing(Exception):
    """Something that must be installed."""


class Broken(Exception):
    """A program did not do what the bench needs."""


_chosen = {}  # programs named on the command line


def use(program, path):
    """From now on that is the program."""
    _chosen[program] = str(pathlib.Path(path).resolve())


def need(program):
    """The program's path."""
    wanted = _chosen.get(program, program)
    path = shutil.which(wanted) or shutil.which(wanted, path="/usr/sbin:/sbin:/usr/local/sbin")
    if path is None and program in _chosen:
        raise Missing(f"{wanted} is not a program")
    if path is None:
        raise Missing(f"{program} is not installed (Debian: {PACKAGES[program]})")
    return path


def stream_module():
    """The file of nginx's module for tcp; None if nginx has it built in."""
    built = subprocess.run([need("nginx"), "-V"], capture_output=True, text=True, check=False)
    if re.search(r" --with-stream(\s|$)", built.stderr):
        return None
    told = dict(re.findall(r" --(prefix|modules-path)=(\S+)", built.stderr))
    folder = told.get("modules-path", told.get("prefix", "/usr/local/nginx") + "/modules")
    path = pathlib.Path(folder) / "ngx_stream_module.so"
    if not path.exists():
        raise Missing(f"nginx has no stream: {path} is not there (Debian: libnginx-mod-stream)")
    return path


def missing(programs, stream):
    """What must be installed, as text; "" if nothing is missing."""
    lacks = []
    for find in [*(functools.partial(need, program) for program in programs),
                 *([stream_module] if stream else [])]:
        try:
            find()
        except Missing as lack:
            lacks.append(str(lack))
    if lacks:
        lacks.append("contrib/quickstart bench installs what the bench needs")
    return "\n".join(dict.fromkeys(lacks))


def version(program, option="-v"):
    """The first line in which the program prints its version."""
    told = subprocess.run([program, option], capture_output=True, text=True, check=False)
    return (told.stdout + told.stderr).splitlines()[0].strip()


class Process:
    """A program that listens on `port` of the loopback; it is ready when that accepts."""

    def __init__(self, command, port, folder):
        self.command = [str(part) for part in command]
        self.port = port
        self.output = folder / f"{pathlib.Path(self.command[0]).name}-{port}.out"
        with open(self.output, "wb") as output:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=output,
                                            stderr=output, cwd=folder)
        self.pid = self.process.pid
        try:
            self._wait_ready()
        except BaseException:
            self.stop()
            raise

    def _wait_ready(self):
        end = time.monotonic() + WAIT_MAX
        while time.monotonic() < end:
            self.check()
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.01)
        raise Broken(f"{self.command[0]} does not listen: {self.text()}")

    def text(self):
        return self.output.read_text(errors="replace")[-2000:]

    def check(self):
        """It must not have ended."""
        if self.process.poll() is not None:
            raise Broken(f"{' '.join(self.command)} ended with {self.process.returncode}: "
                         + self.text())

    def stop(self):
        """Ends it: in order, or, if that takes too long, by force."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    # What the kernel reports

    def cpu(self, thread=""):
        """Seconds of processor time so far, user and system, of all its threads, or of those with
        this name. schedstat counts nanoseconds, while stat has ticks of 10 ms."""
        spent = 0
        for task in pathlib.Path(f"/proc/{self.pid}/task").iterdir():
            if thread and (task / "comm").read_text() != f"{thread}\n":
                continue
            spent += int((task / "schedstat").read_text().split()[0])
        return spent / 1e9

    def system_share(self):
        """(user, system) seconds so far, in ticks: for the share of the two."""
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        tick = os.sysconf("SC_CLK_TCK")
        return int(fields[11]) / tick, int(fields[12]) / tick

    def _sizes(self, file):
        lines = pathlib.Path(f"/proc/{self.pid}/{file}").read_text().splitlines()
        return {line.split(":")[0]: line.split()[1] for line in lines if line.endswith(" kB")}

    def pss(self):
        """Bytes of its own memory, including its part of shared pages."""
        return int(self._sizes("smaps_rollup")["Pss"]) * 1024

    def peak(self):
        """Bytes of memory at most so far."""
        return int(self._sizes("status")["VmHWM"]) * 1024


__all__ = ["Broken", "Missing", "Process", "free_port", "missing", "need", "stream_module",
           "use", "version"]
