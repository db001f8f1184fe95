# SPDX-License-Identifier: ISC
"""kaproxyctl, and something that it takes for kaproxy's admin server."""

import copy
import json
import os
import pathlib
import socket
import subprocess
import threading

from .kaproxy import COMPLAINTS, PROGRAM
from .tap import Failure, WAIT_MAX

CTL = os.environ.get("KAPROXYCTL") or str(pathlib.Path(PROGRAM).parent / "kaproxyctl")

STATUS = {
    "kaproxy": {"version": "9.8", "pid": 4711, "started": 1e9, "now": 1e9 + 7384, "uptime": 7384.5,
                "state": "serving", "config": "/etc/kaproxy.ini"},
    "loop": {"lag": 0.0, "answers": True, "snapshot_age": 0.1},
    "problems": [
        {"severity": "critical", "code": "upstream_down", "pool": "default",
         "upstream": "http://192.0.2.1:80", "text": "http://192.0.2.1:80 is down"},
        {"severity": "notice", "code": "paused", "pool": "cache", "text": "cache is paused"}],
    "process": {"max_clients": 1024, "clients": 3},
    "listeners": [
        {"name": "web", "addresses": ["127.0.0.1:8080", "unix:/run/web.sock"],
         "upstream": "http://192.0.2.1:80", "pool": "default", "protocol": "http",
         "state": "open", "metrics": {"sessions": 3, "accepted": 100}, "peaks": {},
         "rates": {"accepted": 12.5, "bytes": 2048.0}, "exchange": {"p50": 0.0123, "p99": 1.5},
         "oldest_session": 3725.0, "longest_quiet": 0.5},
        {"name": "kv", "addresses": ["127.0.0.1:6380"], "upstream": "redis://192.0.2.2:6379",
         "pool": "cache", "protocol": "redis", "state": "paused", "metrics": {"sessions": 0},
         "peaks": {}, "rates": {}, "exchange": None, "oldest_session": 0, "longest_quiet": 0}],
    "hosts": [
        {"pool": "default", "upstream": "http://192.0.2.1:80", "state": "open", "down": True,
         "down_since": 1e9 + 7300, "oldest_wait": 0, "limits": {"max_per_host": 4},
         "metrics": {"connections": {"busy": 1, "held": 2, "connecting": 1, "idle": 0},
                     "waiting": 0}, "peaks": {}, "rates": {"grants": 5.0, "failures": 1.5},
         "reuse": 0.9996, "wait": {"p50": 0.001, "p99": 0.05}, "connect": None,
         "last_error": {"text": "Connection refused", "function": "connect", "errno": 111,
                        "at": 1e9 + 7380}},
        {"pool": "cache", "upstream": "redis://192.0.2.2:6379", "state": "paused", "down": False,
         "down_since": None, "oldest_wait": 2.5, "limits": {"max_per_host": 8},
         "metrics": {"connections": {"busy": 0, "held": 0, "connecting": 0, "idle": 0},
                     "waiting": 7}, "peaks": {}, "rates": {"grants": 0.0, "failures": 0.0},
         "reuse": None, "wait": None, "connect": None, "last_error": None}],
    "pools": [
        {"name": "default", "limits": {"max_per_host": 4, "max_open": 128, "max_waiting": 0},
         "connections": {"busy": 1, "held": 2, "connecting": 1, "idle": 0}, "waiting": 0},
        {"name": "cache", "limits": {"max_per_host": 8, "max_open": 128, "max_waiting": 9},
         "connections": {"busy": 0, "held": 0, "connecting": 0, "idle": 0}, "waiting": 7}],
    "tls": [],
}

SESSIONS = [
    {"listener": "web", "client": "127.0.0.1:40001", "state": "relaying", "age": 3725.0,
     "quiet": 0.5, "waiting": 0, "bytes_up": 1536, "bytes_down": 3 * 1024 * 1024, "conn": 17},
    {"listener": "web", "client": "127.0.0.1:40002", "state": "waiting", "age": 2.25,
     "quiet": 2.25, "waiting": 2.25, "bytes_up": 10, "bytes_down": 0, "conn": None}]


def response(status, body, kind="application/json"):
    if not isinstance(body, (str, bytes)):
        body = json.dumps(body)
    body = body.encode() if isinstance(body, str) else body
    return b"HTTP/1.1 %d Text\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s" % (
        status, kind.encode(), len(body), body)


class Admin:
    """Responds to requests: with what is in `answers` by path (bytes, or a function of this object
    and the connection), else with `status`."""

    def __init__(self, address=None):
        """At a unix socket's path, or at a port of 127.0.0.1."""
        self.status = copy.deepcopy(STATUS)
        self.sessions = copy.deepcopy(SESSIONS)
        self.answers = {}
        self.requests = []  # (method, target, fields)
        self.address = address
        self.closing = threading.Event()  # for responses that take forever
        self.start()

    def start(self):
        if self.address is None:
            self._socket = socket.create_server(("127.0.0.1", 0), backlog=64)
            self.place = "127.0.0.1:%d" % self._socket.getsockname()[1]
        else:
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.bind(str(self.address))
            self._socket.listen(64)
            self.place = f"unix:{self.address}"
        self._threads = []
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def close(self):
        """No server listens any more; start() is possible again."""
        self.closing.set()
        self._socket.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._socket.close()
        for thread in self._threads:
            thread.join(WAIT_MAX)
        self.closing.clear()
        if self.address is not None:
            os.unlink(self.address)

    def targets(self, method="GET"):
        return [target for verb, target, _ in self.requests if verb == method]

    def _accept(self):
        while True:
            try:
                connection = self._socket.accept()[0]
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            thread.start()
            self._threads.append(thread)

    def _serve(self, connection):
        with connection:
            data = b""
            while b"\r\n\r\n" not in data:
                more = connection.recv(4096)
                if not more:
                    return
                data += more
            lines = data.decode().partition("\r\n\r\n")[0].split("\r\n")
            method, target, _ = lines[0].split(" ")
            self.requests.append((method, target, dict(line.split(": ", 1) for line in lines[1:])))
            answer = self.answers.get(target.partition("?")[0])
            try:
                if callable(answer):
                    answer(self, connection)
                else:
                    connection.sendall(answer or self._answer(target))
            except OSError:
                pass  # it did not need all of it

    def _answer(self, target):
        if target == "/status":
            return response(200, self.status)
        if target == "/status?sessions=1":
            return response(200, {**self.status, "sessions": self.sessions,
                                  "sessions_left_out": 5})
        return response(404, {"error": f"there is no {target}"})


def environment(**more):
    """Ours, without what kaproxyctl uses."""
    own = {key: value for key, value in os.environ.items()
           if key not in ("KAPROXY_ADMIN", "RUNTIME_DIRECTORY", "NO_COLOR")}
    return {**own, "LC_ALL": "C.UTF-8", "TERM": "xterm", **more}


def run(*arguments, **variables):
    """(status, standard output, standard error)"""
    done = subprocess.run([CTL, *map(str, arguments)], stdin=subprocess.DEVNULL,
                          capture_output=True, timeout=WAIT_MAX, env=environment(**variables),
                          check=False)
    out, err = done.stdout.decode(), done.stderr.decode()
    if COMPLAINTS.search(err):
        raise Failure(f"kaproxyctl {arguments}: {err}")
    return done.returncode, out, err
