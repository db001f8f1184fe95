# SPDX-License-Identifier: ISC
"""What drives a proxy: each load requests (address, port) and reports the result."""

import csv
import dataclasses
import pathlib
import re
import socket
import subprocess
import sys
import time

from .rig import Broken, need

LIMIT = 300  # seconds for one drive

# A load drives a proxy, or the upstream itself, with a share of its usual amount; `short` is the
# share for a proxy under callgrind.


@dataclasses.dataclass
class Outcome:
    units: float  # exchanges, or GB
    seconds: float
    failures: int
    p50: float | None = None  # milliseconds
    p99: float | None = None
    more: dict = dataclasses.field(default_factory=dict)  # further measures


def _run(command, **options):
    done = subprocess.run([str(part) for part in command], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=LIMIT, check=False, **options)
    if done.returncode != 0:
        raise Broken(f"{' '.join(map(str, command))}: exit status {done.returncode}: "
                     f"{done.stdout[-500:]}{done.stderr[-500:]}")
    return done.stdout


def _number(pattern, text, default=None):
    match = re.search(pattern, text)
    if match is None and default is None:
        raise Broken(f"{pattern!r} is missing in: {text[-1000:]}")
    return float(match[1]) if match else default


class OneShot:
    """ab: HTTP/1.0, a connection for each request."""

    program = "ab"

    def __init__(self, count, clients, target="/1k"):
        self.count, self.clients, self.target = count, clients, target
        self.short = 500 / count

    def drive(self, port, secure, folder, share=1.0):
        count = max(self.clients * 4, int(self.count * share))
        outcome = self._run(port, secure, folder, ["-n", count])
        outcome.failures += count - int(outcome.units)
        return outcome

    def drive_for(self, port, folder, seconds):
        """The same, but for a number of seconds."""
        return self._run(port, False, folder, ["-t", seconds, "-n", self.count])

    def _run(self, port, secure, folder, limit):
        table = folder / "ab.csv"
        scheme = "https" if secure else "http"
        out = _run([need(self.program), "-q", *limit, "-c", self.clients, "-e", table,
                    f"{scheme}://127.0.0.1:{port}{self.target}"])
        with open(table, encoding="ascii", newline="") as lines:
            percentiles = dict(list(csv.reader(lines))[1:])
        failures = (_number(r"Failed requests:\s+(\d+)", out)
                    + _number(r"Non-2xx responses:\s+(\d+)", out, 0))
        return Outcome(_number(r"Complete requests:\s+(\d+)", out),
                       _number(r"Time taken for tests:\s+([\d.]+)", out), int(failures),
                       float(percentiles["50"]), float(percentiles["99"]))


MILLISECONDS = {"us": 0.001, "ms": 1, "s": 1000, "m": 60000}


class KeepAlive:
    """wrk: clients that keep their connection; with `body` they send that many bytes."""

    program = "wrk"

    def __init__(self, seconds, clients, target="/1k", body=0):
        self.seconds, self.clients, self.target, self.body = seconds, clients, target, body
        self.short = 1 / seconds

    def drive(self, port, secure, folder, share=1.0):
        scheme = "https" if secure else "http"
        command = [need(self.program), "-t1", f"-c{self.clients}", "--latency", "--timeout", "20s",
                   f"-d{max(1, round(self.seconds * share))}s"]
        if self.body:
            script = folder / "upload.lua"
            script.write_text(f'wrk.method = "POST"\nwrk.body = string.rep("x", {self.body})\n')
            command += ["-s", script]
        out = _run([*command, f"{scheme}://127.0.0.1:{port}{self.target}"])
        errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)",
                           out)
        failures = (sum(map(int, errors.groups())) if errors else 0) + _number(
            r"Non-2xx or 3xx responses: (\d+)", out, 0)
        count, unit = re.search(r"(\d+) requests in ([\d.]+\w+)", out).groups()
        return Outcome(float(count), self._time(unit) / 1000, int(failures),
                       self._time(re.search(r"\n\s+50%\s+(\S+)", out)[1]),
                       self._time(re.search(r"\n\s+99%\s+(\S+)", out)[1]))

    @staticmethod
    def _time(text):
        number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()
        return float(number) * MILLISECONDS[unit]


class Bulk:
    """curl: one client, one big body after another; a unit is a GB."""

    program = "curl"

    def __init__(self, count, file, up):
        self.count, self.file, self.up = count, file, up

    def drive(self, port, secure, folder, share=1.0):
        count = max(1, round(self.count * share))
        size = self.file.stat().st_size
        url = f"{'https' if secure else 'http'}://127.0.0.1:{port}/"
        one = (["-T", self.file, url + "up"] if self.up else [url + self.file.name])
        told = "%{http_code} %{size_upload} %{size_download} %{num_connects}\\n"
        command = [need(self.program), "--silent", "--insecure", "--http1.1"]
        for number in range(count):
            command += ["--next", "--silent", "--insecure", "--http1.1"] if number else []
            command += ["-H", "Expect:", "-o", "/dev/null", "-w", told, *one]
        begin = time.monotonic()
        out = _run(command)
        seconds = time.monotonic() - begin
        good = sum(line.split()[0] == "200" and int(line.split()[1 if self.up else 2]) == size
                   for line in out.splitlines())
        return Outcome(count * size / 1e9, seconds, count - good)


class Beside:
    """ab: one small one-shot exchange after another, timed, through the proxy's other listener to
    an upstream that has nothing else to do; meanwhile flows of bulk, and a unit is a GB of
    theirs."""

    program = "ab"
    BEHIND = 1  # seconds that the flows outlast ab by at least

    def __init__(self, seconds, flows, target, body=0):
        self.seconds, self.flows, self.target, self.body = seconds, flows, target, body
        self.sides = {}  # the small exchange's port, by the flows'

    def drive(self, port, secure, folder, share=1.0):
        if secure:
            return None  # these flows do not speak TLS
        seconds = max(1, round(self.seconds * share))
        command = [sys.executable, pathlib.Path(__file__).with_name("flows.py"), port, self.flows,
                   seconds + self.BEHIND, self.target, *([self.body] if self.body else [])]
        with subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, text=True) as flows:
            try:
                if flows.stdout.readline() != "going\n":
                    raise Broken("the flows did not begin")
                small = OneShot(1000000, 1).drive_for(self.sides[port], folder, seconds)
                size, took, failures = flows.communicate(timeout=LIMIT)[0].split()
            finally:
                flows.kill()
        return Outcome(int(size) / 1e9, float(took), int(failures) + small.failures, small.p50,
                       small.p99)


class Scraped:
    """Another load, while a hostile scraper requests the admin pages named in the proxy's file: its
    own ones, or another proxy's, so that the scraper costs this machine the same."""

    def __init__(self, load):
        self.load = load
        self.program, self.target, self.short = load.program, load.target, load.short

    @staticmethod
    def file(folder, port):
        return pathlib.Path(folder) / f"scrape-{port}"

    def drive(self, port, secure, folder, share=1.0):
        file = self.file(folder, port)
        if not file.exists():
            return self.load.drive(port, secure, folder, share)
        command = [sys.executable, pathlib.Path(__file__).with_name("scraper.py"), file.read_text()]
        with subprocess.Popen([str(part) for part in command], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True) as scraper:
            try:
                if scraper.stdout.readline() != "going\n":
                    raise Broken("the scraper did not begin")
                begin = time.monotonic()
                outcome = self.load.drive(port, secure, folder, share)
                seconds = time.monotonic() - begin
                answers = int(scraper.communicate(timeout=LIMIT)[0])
            finally:
                scraper.kill()
        outcome.more["scrapes"] = answers / seconds
        return outcome


class Redis:
    """redis-benchmark, a connection for each command unless it is kept."""

    program = "redis-benchmark"

    def __init__(self, count, clients, test="set", kept=False, pipeline=1, options=()):
        self.count, self.clients, self.test = count, clients, test
        self.options = ["-k", int(kept), "-P", pipeline, *options]
        self.short = 500 * pipeline / count

    def drive(self, port, _secure, _folder, share=1.0):
        count = max(self.clients * 4, int(self.count * share))
        begin = time.monotonic()
        out = _run(self.command(port, count))
        return self.outcome(out, count, time.monotonic() - begin)

    def command(self, port, count, *options):
        return [need(self.program), "-h", "127.0.0.1", "-p", port, "-c", self.clients, "-n", count,
                "-t", self.test, "--csv", *self.options, *options]

    @staticmethod
    def outcome(out, count, wall):
        rows = list(csv.DictReader(out[out.index('"test"'):].splitlines()))
        if not rows:
            return Outcome(count, wall, count)
        row = rows[0]
        return Outcome(count, count / float(row["rps"]), out.lower().count("error"),
                       float(row["p50_latency_ms"]), float(row["p99_latency_ms"]))


class RedisLogins(Redis):
    """One-shot clients that log in, choose one of two databases, and ask: AUTH, SELECT and GET in
    one write. It counts the upstream's connections, and commands that are not the clients'."""

    PASSWORD = "open"

    def __init__(self, count, clients):
        super().__init__(count, clients // 2, "get", options=["-a", self.PASSWORD])
        self.upstream = None  # its port

    def drive(self, port, _secure, _folder, share=1.0):
        count = max(self.clients * 4, int(self.count * share) // 2)
        before, begin = self._counts(), time.monotonic()
        both = [subprocess.Popen([str(part) for part in self.command(port, count, "--dbnum", n)],
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                                 stderr=subprocess.DEVNULL) for n in (1, 2)]
        out = [one.communicate(timeout=LIMIT)[0] for one in both]
        wall = time.monotonic() - begin
        if any(one.returncode for one in both):
            raise Broken(f"redis-benchmark failed: {out}")
        each = [self.outcome(text, count, wall) for text in out]
        now = self._counts()
        got = {key: value - before[key] for key, value in now.items()}
        # Each benchmark sends CONFIG GET first, for which it logs in as well.
        ours = got["reset"] + got["select"] - got["get"] + got["auth"] - got["get"] - len(both)
        return Outcome(2 * count, wall, sum(one.failures for one in each),
                       max(one.p50 for one in each), max(one.p99 for one in each),
                       {"connections": now["connections"], "own_commands": max(0, ours)})

    def _counts(self):
        """The upstream's, without the connection that queries them."""
        with socket.create_connection(("127.0.0.1", self.upstream), timeout=20) as asking:
            asking.sendall(f"AUTH {self.PASSWORD}\r\nINFO all\r\nQUIT\r\n".encode())
            with asking.makefile() as reply:
                text = reply.read()
        counts = {name: int(_number(rf"cmdstat_{name}:calls=(\d+)", text, 0))
                  for name in ("get", "select", "reset", "auth")}
        counts["auth"] -= self._asked
        counts["connections"] = int(_number(r"connected_clients:(\d+)", text)) - 1
        self._asked += 1
        return counts

    _asked = 0


class RedisBulk:
    """One client that gets one large value after another; a unit is a GB. Received bytes are
    dropped in the kernel, so that this side costs little."""

    program = "redis-server"
    room = bytearray(1 << 20)  # which stays empty

    def __init__(self, count, size):
        self.count, self.size = count, size

    def drive(self, port, _secure, _folder, share=1.0):
        count = max(1, round(self.count * share))
        with socket.create_connection(("127.0.0.1", port), timeout=60) as peer:
            begin = time.monotonic()
            for _ in range(count):
                peer.sendall(b"*2\r\n$3\r\nGET\r\n$5\r\nlarge\r\n")
                self._receive(peer)
            return Outcome(count * self.size / 1e9, time.monotonic() - begin, 0)

    def _receive(self, peer):
        head = b"$%d\r\n" % self.size
        got = peer.recv(len(head), socket.MSG_WAITALL)
        if got != head:
            raise Broken(f"a reply that begins with {got!r}")
        left = self.size + 2
        while left > 0:
            n = peer.recv_into(self.room, min(left, len(self.room)), socket.MSG_TRUNC)
            if n == 0:
                raise Broken("the connection was closed in a value")
            left -= n


__all__ = ["Beside", "Bulk", "KeepAlive", "OneShot", "Outcome", "Redis", "RedisBulk", "RedisLogins",
           "Scraped"]
