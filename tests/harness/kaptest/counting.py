"""Counts what a process costs: system calls with strace, instructions with callgrind. Counts do not
depend on how fast or busy the machine is; the bench uses them as well."""

import re
import signal
import subprocess
import time

from .tap import spawn

LIMIT = 30  # seconds for a tracer to start or to end

# The same call has other names on other architectures and with other versions of the C library.
ALIASES = {"epoll_pwait": "epoll_wait", "epoll_pwait2": "epoll_wait", "recv": "recvfrom",
           "send": "sendto", "accept": "accept4"}


class NotTraceable(Exception):
    """The tracer may not, or cannot, trace."""


class SystemCalls:
    """Counts a process's system calls while it is open: `calls` by name, and of these `failed`."""

    def __init__(self, pid, file, strace="strace"):
        self.file = file
        self.calls, self.failed = {}, {}
        self.process = spawn(
            [strace, "-c", "-f", "-o", str(file), "-p", str(pid)], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def __enter__(self):
        line = self.process.stderr.readline()  # "strace: Process 1 attached"
        if "attached" not in line:
            self._end()
            raise NotTraceable(line.strip() or "strace ended at once")
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        self._end()
        for line in self.file.read_text().splitlines():
            match = re.match(r"\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:(\d+)\s+)?(\w+)$", line)
            if match and match[3] != "total":
                name = ALIASES.get(match[3], match[3])
                self.calls[name] = self.calls.get(name, 0) + int(match[1])
                self.failed[name] = self.failed.get(name, 0) + int(match[2] or 0)

    def _end(self):
        try:
            self.process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stderr.close()


class Instructions:
    """Counts a program's instructions: start it with `wrap`. Callgrind writes a file whenever the
    program enters or leaves `function`; what lies between two of its visits is a part."""

    def __init__(self, folder, function, valgrind="valgrind"):
        self.folder = folder
        self.wrap = [valgrind, "--tool=callgrind", "--dump-line=no",
                     f"--callgrind-out-file={folder}/callgrind.out",
                     f"--dump-before={function}", f"--dump-after={function}"]
        self.files = 0

    def part(self):
        """Instructions between the visit before the last one and the last one. To be called once
        after each visit."""
        self.files += 2
        before = self._wait(self.files - 1)
        self._wait(self.files)
        return before

    def _wait(self, number):
        """The total of that file. Callgrind writes it at its end."""
        file = self.folder / f"callgrind.out.{number}"
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            if file.exists():
                total = re.search(r"^totals: (\d+)\n", file.read_text(), flags=re.M)
                if total:
                    return int(total[1])
            time.sleep(0.005)
        raise NotTraceable(f"callgrind has not written {file.name}")
