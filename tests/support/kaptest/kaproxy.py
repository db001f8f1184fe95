# SPDX-License-Identifier: ISC
"""Starts the program under test, waits until it is ready, reads its logs, ends it."""

import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess

from .channel import connect
from .ports import free_port
from .tap import SLOW, Failure, Skip, WAIT_MAX, spawn, wait_until

TESTS = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("KAPROXY") or str(TESTS.parent / "build" / "kaproxy")

COMPLAINTS = re.compile(
    r"AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error:|Assertion .* failed")
BUSY = re.compile(r"Address already in use")

# The access log's ring (1 MiB) has room for this many lines, however long its writer has to wait.
# Those that find none are lost, as the manual says.
PORTION = 2000


def need_plain_build():
    """For tests that count, or that run valgrind."""
    if SLOW or re.search(rb"__[at]san_init", pathlib.Path(PROGRAM).read_bytes()):
        raise Skip("built with sanitizers, or KAPROXY_SLOW is set")


def complete_lines(text):
    """A line that is just being written is not there yet."""
    return text[:text.rfind("\n") + 1].splitlines()


def ini(sections):
    """{"pool": {"max_open": 3}} as text."""
    lines = []
    for name, values in sections.items():
        lines.append(f"[{name}]")
        lines += [f"{key} = {value}" for key, value in values.items() if value is not None]
        lines.append("")
    return "\n".join(lines)


def parse_logfmt(line):
    """One access-log line as a dict; a malformed one is a failure."""
    fields, rest = {}, line
    while rest:
        match = re.match(r'([a-z_]+)=("(?:[^"\\]|\\.)*"|[^ "]+)(?: |$)', rest)
        if not match:
            raise Failure(f"not logfmt: {line!r}")
        value = match[2]
        fields[match[1]] = value[1:-1] if value.startswith('"') else value
        rest = rest[match.end():]
    return fields


def parse_json_line(line):
    """The same for a line in JSON, with its values as logfmt has them; what must be a number, and
    nothing else, is one."""
    def no_number(text):
        raise Failure(f"not a number of JSON: {text} in {line!r}")

    try:
        fields = json.loads(line, parse_int=Number, parse_float=Number, parse_constant=no_number)
    except ValueError as why:
        raise Failure(f"not JSON: {line!r}: {why}") from None
    for name, value in fields.items():
        if value is not None and isinstance(value, Number) != bool(NUMBERS.fullmatch(name)):
            raise Failure(f"{name} has a wrong type in {line!r}")
    return {name: "-" if value is None else value for name, value in fields.items()}


class Number(str):
    """As it is written."""


NUMBERS = re.compile(r"\w+_ms|conn|uses|bytes_up|bytes_down|status|retried|errno|commands|leases|"
                     r"immediate|deferred|none|prepared|lost_lines")


class Kaproxy:
    """One kaproxy process.

    upstream     endpoint of the listener named "main"; None: no such listener
    listen, reuse, listener   further values of that listener
    pool, main   values of [pool] and of [kaproxy]
    more         further sections, {"listener other": {...}}
    wrap         a command to start the program with
    stderr       a descriptor to use as standard error instead of a file
    {port} in a value becomes a free port; when another program was faster, all is tried again."""

    def __init__(self, t, upstream=None, *, listen="127.0.0.1:{port}", reuse="quiet", listener=None,
                 pool=None, main=None, more=None, wrap=(), stderr=None):
        self.t = t
        self.folder = t.folder
        self.wrap = list(wrap)
        self.stderr_target = stderr
        serial = 1
        while (self.folder / f"kaproxy-{serial}.ini").exists():
            serial += 1
        self.file = self.folder / f"kaproxy-{serial}.ini"
        self.file.touch()
        self.stderr_file = self.folder / f"kaproxy-{serial}.stderr"
        self.access_file = self.folder / f"access-{serial}.log"
        self.sections = {
            "kaproxy": {"log_level": "info", "access_log": self.access_file, **(main or {})},
            "pool": pool or {},
        }
        if upstream is not None:
            self.sections["listener main"] = {
                "listen": listen, "upstream": upstream, "reuse": reuse, **(listener or {})}
        self.sections.update(more or {})
        log = self.sections["kaproxy"].get("log", "stderr")
        self.log_file = (self.stderr_file if log in ("stderr", "stdout", "syslog")
                         else pathlib.Path(log))
        self.process = None
        self._worker = None  # (pid, thread)

    # Life

    def start(self):
        for _ in range(10):
            self._write_ini()
            with open(self.stderr_file, "wb") as stderr:
                target = stderr if self.stderr_target is None else self.stderr_target
                self.process = spawn(self._command(), stdin=subprocess.DEVNULL, stdout=stderr,
                                     stderr=target)
            self.t.diagnostics.append(self._diagnose)
            try:
                wait_until(self._is_ready, "kaproxy to be ready")
            except BaseException:
                self._kill()
                raise
            if self.process.poll() is None:
                return self
            if not ("{port}" in self._text() and BUSY.search(self.stderr())):
                break
            self.t.diagnostics.pop()
        raise Failure(f"kaproxy did not start: exit status {self.process.returncode}")

    def start_failing(self):
        """Starts it where it must fail: (exit status, what it wrote)."""
        self._write_ini()
        try:
            done = subprocess.run(self._command(), stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  timeout=WAIT_MAX, check=False)
        except subprocess.TimeoutExpired:
            raise Failure("kaproxy started where it must not") from None
        text = done.stdout.decode(errors="replace")
        self._check_complaints(text)
        return done.returncode, text

    def stop(self, number=signal.SIGTERM, timeout=WAIT_MAX, status=0):
        """Sends a signal and waits for the end; the exit status must be right."""
        self.signal(number)
        self.wait_exit(timeout, status)

    def wait_exit(self, timeout=WAIT_MAX, status=0):
        try:
            got = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise Failure(f"kaproxy did not end within {timeout:g} s") from None
        self._check_complaints(self.stderr())
        if got != status:
            raise Failure(f"kaproxy ended with status {got}, expected {status}")

    def is_running(self):
        return self.process.poll() is None

    def signal(self, number):
        self.process.send_signal(number)

    @contextlib.contextmanager
    def paused(self):
        """Stops the process for a while, so that the test can check it or prepare an event."""
        self.signal(signal.SIGSTOP)
        try:
            wait_until(lambda: all(_state(task) in ("T", None) for task in self._tasks()),
                       "kaproxy to pause")
            yield
        finally:
            self.signal(signal.SIGCONT)

    def close(self):
        """At the end of a test: whatever still runs must end in order."""
        if self.process is None:
            return
        try:
            if self.is_running():
                self.stop()
        finally:
            self._kill()

    def _kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def _command(self):
        return self.wrap + [PROGRAM] + ["-c", str(self.file)]

    def _text(self):
        return ini(self.sections)

    def _write_ini(self):
        text = re.sub(r"\{port\}", _another_port(), self._text())
        self.file.write_text(text)
        self.addresses = {}
        for section in re.split(r"^\[", text, flags=re.M)[1:]:
            name, _, body = section.partition("]")
            match = re.search(r"^listen = (.*)$", body, flags=re.M)
            if name.startswith("listener ") and match:
                self.addresses[name.split()[1]] = [_address(a) for a in match[1].split()]

    def _is_ready(self):
        return self.process.poll() is not None or self.find_log(r"\bready\b")

    def _check_complaints(self, text):
        match = COMPLAINTS.search(text)
        if match:
            raise Failure(f"kaproxy wrote {match[0]!r}")

    def _diagnose(self):
        lines = [f"--- {self.file.name}", *self.file.read_text().splitlines()]
        for title, path in (("log", self.log_file), ("stderr", self.stderr_file),
                            ("access log", self.access_file)):
            if path == self.stderr_file and title == "stderr" and path == self.log_file:
                continue
            if path.is_file():
                text = path.read_text(errors="replace").splitlines()
                lines += [f"--- {title} of kaproxy ({len(text)} lines)", *text[-40:]]
        return lines

    # Clients

    def address(self, listener="main", index=0):
        return self.addresses[listener][index]

    def connect(self, listener="main", index=0, **options):
        client = connect(self.address(listener, index), **options)
        self.t.callback(client.close)
        return client

    def refuses(self, listener="main", index=0):
        """No process listens there."""
        try:
            self.connect(listener, index).close()
            return False
        except ConnectionRefusedError:
            return True

    # What it reports

    def stderr(self):
        return self.stderr_file.read_text(errors="replace")

    def log(self):
        try:
            return complete_lines(self.log_file.read_text(errors="replace"))
        except FileNotFoundError:
            return []

    def find_log(self, pattern):
        """Lines of the log that match."""
        return [line for line in self.log() if re.search(pattern, line)]

    def wait_log(self, pattern, count=1, timeout=WAIT_MAX):
        return wait_until(lambda: len(found := self.find_log(pattern)) >= count and found,
                          f"{pattern!r} in the log", timeout)

    def counters(self, pool="default"):
        """Queries the counters: those of a pool, the sums over its upstreams."""
        return self._counters(rf"pool={pool} (?!upstream=)", "min_idle")

    def upstream_counters(self, upstream, pool="default"):
        """Queries the counters: those of one upstream."""
        return self._counters(rf"pool={pool} upstream={re.escape(upstream)} ", "connect_sum_ms")

    def listener_counters(self, listener="main"):
        """Queries the counters: those of a listener."""
        return self._counters(rf"listener={listener} ")

    def pipes(self):
        """Queries the counters: those of the process, including the pipes that bulk data takes."""
        return self._counters(r"clients=")

    def commands(self, listener="main"):
        """Queries the counters: commands of a listener for Redis or memcached."""
        return self.listener_counters(listener)["commands"]

    def sessions_ended(self, listener="main"):
        """Queries the counters: how many sessions of a listener have ended, or exchanges. Each has
        its line in the access log, which may arrive a little later."""
        line = self._stats(rf"listener={listener} ")
        ends = re.search(r" bytes_down=\d+ (.* error=\d+)", line)[1]
        return sum(int(number) for number in re.findall(r"=(\d+)", ends))

    def _counters(self, pattern, last=""):
        """Those of the matching lines; the key `last` is in the last one of these."""
        return {key: int(value) for key, value in
                re.findall(r" (\w+)=(\d+)\b", self._stats(pattern, last))}

    def _stats(self, pattern, last=""):
        """Queries the counters once everything sent so far has had its effect on them: they are
        written whatever the thread that carries clients is doing."""
        pattern = f"stats {pattern}"
        wait_until(self.is_asleep, "kaproxy to have done what it can")
        before = len(self.find_log(pattern))
        self.signal(signal.SIGUSR1)
        wait_until(lambda: any(f" {last}=" in line or not last
                               for line in self.find_log(pattern)[before:]),
                   f"{pattern!r} in the log")
        return "\n".join(self.find_log(pattern)[before:])

    def wait_idle(self, count, pool="default"):
        wait_until(lambda: self.counters(pool)["idle"] == count, f"{count} idle connections")

    def fill(self, channel, data):
        """Sends until everything on the way is full, and kaproxy has seen that: bytes sent."""
        sent = channel.send_what_fits(data)
        self.pipes()
        while more := channel.send_what_fits(data[sent:]):
            sent += more
            self.pipes()
        return sent

    def sessions(self):
        """The access log so far: lines are written up to 100 ms after the event."""
        try:
            text = self.access_file.read_text()
        except FileNotFoundError:
            return []
        is_json = self.sections["kaproxy"].get("log_format") == "json"
        parse = parse_json_line if is_json else parse_logfmt
        return [parse(line) for line in complete_lines(text) if line]

    def wait_session(self, client):
        """The line of one TCP client."""
        name = "{}:{}".format(*client.name)
        return wait_until(lambda: [s for s in self.sessions() if s["client"] == name],
                          f"{name} in the access log")[0]

    def wait_sessions(self, count, timeout=WAIT_MAX):
        return wait_until(lambda: len(s := self.sessions()) >= count and s,
                          f"line {count} of the access log", timeout)

    def portions(self, count):
        """This many sessions or exchanges in portions, each once the lines of those before it are
        out of the access log's ring: for loads of which no line must be lost."""
        done, before = 0, self._lines()
        while done < count:
            portion = min(PORTION, count - done)
            yield portion
            done += portion
            wait_until(lambda wanted=before + done: self._lines() >= wanted,
                       f"line {before + done} of the access log")

    def _lines(self):
        """How many the access log has. They are not parsed."""
        return self.access_file.read_bytes().count(b"\n") if self.access_file.exists() else 0

    # What it uses

    @property
    def pid(self):
        return self.process.pid

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def connections(self, *upstreams):
        """How many IPv4 connections it has, or is opening, to these upstreams."""
        table = pathlib.Path("/proc/net/tcp").read_bytes()
        inodes = set()
        for upstream in upstreams:
            # remote port, state, four columns, user, timeout, inode; the table may be long
            row = rb":%04X 0. \S+ \S+ \S+ +\d+ +\d+ (\d+) " % upstream.port
            inodes.update(f"socket:[{inode.decode()}]" for inode in re.findall(row, table))
        sockets = set()
        for name in os.listdir(f"/proc/{self.pid}/fd"):
            with contextlib.suppress(FileNotFoundError):
                sockets.add(os.readlink(f"/proc/{self.pid}/fd/{name}"))
        return len(inodes & sockets)

    def private_memory(self):
        """Bytes of its own memory that are in use (not the kernel's socket buffers)."""
        text = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"^RssAnon:\s+(\d+) kB", text, flags=re.M)[1]) * 1024

    def is_asleep(self):
        """The thread that carries clients waits for events."""
        return _stat(self._task(self.worker))[0] == "S"

    def cpu_seconds(self):
        """Of all threads."""
        fields = _stat(pathlib.Path(f"/proc/{self.pid}"))
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def worker(self):
        """The id of the thread that carries clients."""
        if self._worker is None or self._worker[0] != self.pid:
            found = [task for task in self._tasks() if _name(task) == "kaproxy-worker"]
            if len(found) != 1:
                raise Failure(f"{len(found)} threads are the worker's")
            self._worker = self.pid, int(found[0].name)
        return self._worker[1]

    def _task(self, number):
        return pathlib.Path(f"/proc/{self.pid}/task/{number}")

    def _tasks(self):
        return list(pathlib.Path(f"/proc/{self.pid}/task").iterdir())


def _name(task):
    """None: the thread has ended meanwhile, as the one of a reload does."""
    try:
        return (task / "comm").read_text().rstrip("\n")
    except (FileNotFoundError, ProcessLookupError):
        return None


def _state(task):
    """One letter, or None as above."""
    try:
        return _stat(task)[0]
    except (FileNotFoundError, ProcessLookupError):
        return None


def _stat(task):
    """The fields of a process's or a thread's stat that follow the name; the first is the state."""
    return (task / "stat").read_text().rpartition(")")[2].split()


def _another_port():
    """Returns a free port at each call, and none twice."""
    given = set()

    def replacement(_match):
        while (port := free_port()) in given:
            continue
        given.add(port)
        return str(port)

    return replacement


def _address(text):
    if text.startswith("unix:"):
        return text[5:]
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)
