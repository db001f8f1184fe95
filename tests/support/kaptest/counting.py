# SPDX-License-Identifier: ISC
"""Counts what a process costs: system calls with strace, instructions with callgrind. Counts do not
depend on how fast or busy the machine is; the bench uses them as well."""

import pathlib
import re
import signal
import subprocess

from .tap import spawn

LIMIT = 30  # seconds for a tracer to start or to end


class NotTraceable(Exception):
    """The tracer may not, or cannot, trace."""


class Tracer:
    """An strace that is attached to a process for a while."""

    def __init__(self, command):
        self.command = command
        self.process = None

    def attach(self):
        self.process = spawn(self.command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                             stderr=subprocess.PIPE, text=True)
        line = self.process.stderr.readline()  # "strace: Process 1 attached"
        if "attached" not in line:
            self._end()
            raise NotTraceable(line.strip() or "strace ended at once")

    def detach(self):
        self.process.send_signal(signal.SIGINT)
        self._end()

    def _end(self):
        try:
            self.process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stderr.close()


class SystemCalls:
    """Counts a process's system calls while it is open: `calls` by name, and of these `failed`."""

    def __init__(self, pid, file, strace="strace"):
        self.file = file
        self.calls, self.failed = {}, {}
        self.tracer = Tracer([strace, "-c", "-f", "-o", str(file), "-p", str(pid)])

    def __enter__(self):
        self.tracer.attach()
        return self

    def __exit__(self, *_):
        self.tracer.detach()
        for line in self.file.read_text().splitlines():
            match = re.match(r"\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:(\d+)\s+)?(\w+)$", line)
            if match and match[3] != "total":
                self.calls[match[3]] = int(match[1])
                self.failed[match[3]] = int(match[2] or 0)


class Instructions:
    """Counts a program's instructions: start it with `wrap`, then ask for its parts."""

    def __init__(self, folder, valgrind="valgrind"):
        self.file = folder / "callgrind.out"
        self.vgdb = pathlib.Path(valgrind).with_name("vgdb")
        self.wrap = [valgrind, "--tool=callgrind", "--dump-line=no", f"--vgdb-prefix={folder}/vgdb",
                     f"--callgrind-out-file={self.file}"]
        self.parts = 0

    def part(self, pid):
        """Instructions since the previous part, or since the start."""
        self.parts += 1
        try:
            done = subprocess.run(
                [self.vgdb, f"--pid={pid}", f"--vgdb-prefix={self.file.parent}/vgdb", "dump"],
                stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT,
                check=False)
        except (OSError, subprocess.TimeoutExpired) as why:
            raise NotTraceable(f"vgdb: {why}") from None
        file = self.file.with_name(f"{self.file.name}.{self.parts}")
        if done.returncode != 0 or not file.exists():
            raise NotTraceable(f"vgdb: {done.stderr.strip()[-500:]}")
        return int(re.search(r"^totals: (\d+)\n", file.read_text(), flags=re.M)[1])


class Turns:
    """What a thread reads between two waits for events, while it is open: `turns` has for each the
    bytes by descriptor. Bytes that pass through pipes are not seen."""

    READS = ("read", "readv", "recvfrom", "recvmsg")
    WAITS = ("epoll_wait", "epoll_pwait", "epoll_pwait2")

    def __init__(self, thread, file, strace="strace"):
        self.file = file
        self.turns = []
        names = ",".join("?" + name for name in self.READS + self.WAITS)
        self.tracer = Tracer([strace, "-s", "0", "-e", "trace=" + names, "-e", "signal=none",
                              "-o", str(file), "-p", str(thread)])

    def __enter__(self):
        self.tracer.attach()
        return self

    def __exit__(self, *_):
        self.tracer.detach()
        turn = {}
        for line in self.file.read_text(errors="replace").splitlines():
            match = re.match(r"(?:\d+ +)?(\w+)\((\d+).* = (\d+)$", line)
            if not match:
                continue
            name, descriptor, result = match[1], int(match[2]), int(match[3])
            if name in self.WAITS:
                self.turns.append(turn)
                turn = {}
            else:
                turn[descriptor] = turn.get(descriptor, 0) + result
