#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: under valgrind a mixed load, on tcp and on http listeners, causes no error and
leaks no memory and no descriptor."""

import concurrent.futures
import contextlib
import re
import signal
import sys
import threading

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import Failure, ReservedPort, ScriptedUpstream, answer_lines, main, test
from kaptest.http import (LAST_CHUNK, chunk, chunked, client, head, one_shot, read_request, request,
                          response, response_chunked, response_until_close)
from kaptest.kaproxy import need_plain_build
from kaptest.peers import need, need_localhost

BODY = b"x" * 1_500_000
MUCH = b"x" * 8_000_000  # more than the kernel takes for a peer that does not read


class Valgrind:
    def __init__(self, t):
        need_plain_build()
        self.t = t
        self.output = t.folder / "valgrind.out"
        self.wrap = [need("valgrind"), "--leak-check=full", "--show-leak-kinds=all",
                     "--errors-for-leak-kinds=definite,indirect,possible", "--error-exitcode=99",
                     "--track-fds=yes", f"--log-file={self.output}"]

    def start(self, upstream, **options):
        kaproxy = self.t.kaproxy(upstream, wrap=self.wrap, **options)
        self.t.diagnostics.append(
            lambda: self.output.read_text(errors="replace").splitlines()[-60:])
        return kaproxy

    def check(self):
        text = self.output.read_text()
        self.t.check("ERROR SUMMARY: 0 errors" in text, "valgrind found errors")
        lost = re.search(r"definitely lost: [1-9]|still reachable: [1-9]", text)
        self.t.check(not lost, f"memory was not returned: {lost and lost[0]}")
        leaked = re.findall(r"Open (?:AF_\S+ socket|file descriptor) \d+: .*", text)
        inherited = ("/dev/null", str(self.t.folder), "inherited")
        leaked = [line for line in leaked if not any(word in line for word in inherited)]
        self.t.equal(leaked, [], "descriptors left open")


def misbehave(connection):
    """Each connection in another way."""
    way = connection.number % 5
    if way == 0:
        return  # closes at once
    line = connection.read_line()
    if way == 1:
        connection.reset()
    elif way == 2:
        connection.send(b"x" * (1 << 20))
    elif way == 3:
        connection.send(b"%s\nand more" % line)
    else:
        answer_lines(connection)


def client_life(kaproxy, number):
    listener = ("main", "bad", "never", "down", "unix")[number % 5]
    client = kaproxy.connect(listener)
    way = number // 5 % 4
    try:
        if way == 1:
            client.reset()
            return
        if way == 2:
            client.end()
            return
        client.send(b"hello\n")
        if way == 3:
            client.fin()
        client.receive()
    except OSError:
        pass
    finally:
        client.close()


@test("tcp: no error, no leak")
def leaks(t):
    need_localhost()
    valgrind = Valgrind(t)
    good, bad = t.upstream(answer_lines), t.upstream(misbehave)
    port = t.own(ReservedPort())
    more = {
        "pool bad": {"max_per_host": 2, "keep_alive": "300ms"},
        "pool never": {"min_idle": 2},
        "listener bad": {"listen": "127.0.0.1:{port}", "upstream": bad.endpoint, "pool": "bad",
                         "reuse": "quiet", "idle_timeout": "1s"},
        "listener never": {"listen": "127.0.0.1:{port}", "upstream": good.endpoint,
                           "reuse": "never", "pool": "never"},
        "listener down": {"listen": "127.0.0.1:{port}", "upstream": port.endpoint,
                          "reuse": "quiet"},
        "listener unix": {"listen": f"unix:{t.folder}/k.sock", "reuse": "quiet",
                          "upstream": f"tcp://localhost:{good.port}"},
    }
    kaproxy = valgrind.start(good.endpoint, more=more, pool={"max_per_host": 2},
                             main={"log_level": "debug", "shutdown_timeout": "1s"})
    with concurrent.futures.ThreadPoolExecutor(10) as threads:
        list(threads.map(lambda number: client_life(kaproxy, number), range(200)))
    kaproxy.signal(signal.SIGUSR1)
    kaproxy.signal(signal.SIGHUP)
    kaproxy.wait_sessions(200)
    # Some sessions and a waiting client are ended by it.
    held = [kaproxy.connect("main") for _ in range(4)]
    held[0].ask(b"x")
    kaproxy.stop(timeout=60)
    valgrind.check()


over = threading.Event()


def serve(connection):
    """Responds as the target says."""
    ways = {
        "/length": response(MUCH),
        "/chunked": response_chunked(b"x" * 70_000, b"y", trailer=[("X", "y")]),
        "/close": response_until_close(b"x" * 70_000),
        "/interim": head("HTTP/1.1 103 Early", [("Link", "x")]) + response(b"x"),
        "/short": response(BODY)[:-1],
        "/bad": response(b"zz\r\nx", [("Transfer-Encoding", "chunked")]),
        "/surplus": response(b"x") + response(b"y"),
        "/switch": head("HTTP/1.1 101 Switching", [("Connection", "upgrade"),
                                                   ("Upgrade", "websocket")]) + MUCH,
        "/half": b"HTTP/1.1 200 OK\r\nX: ",
        "/gone": b"",
    }
    while (message := read_request(connection, lambda m: m.target != "/stuck")) is not None:
        if message.target == "/stuck":  # reads nothing of the body
            over.wait()
            return
        connection.send(ways.get(message.target, response(message.body)))
        if message.target == "/reset":
            connection.reset()
        if message.target in ("/close", "/short", "/gone", "/reset"):
            return
        if message.target == "/switch":
            connection.read_end()


POST = [("Transfer-Encoding", "chunked"), ("Expect", "100-continue")]
SWITCH = request("GET", "/switch", [("Connection", "upgrade"), ("Upgrade", "websocket")]) + b"hello"
CUT = head("PUT /x HTTP/1.1", [("Host", "x"), ("Content-Length", len(BODY))]) + BODY[:-1]
HALF_HEAD = b"GET / HTTP/1.1\r\nHost: x\r\nX: "

# What a client sends; all of these but the first few fail somewhere.
REQUESTS = [
    *(request("GET", f"/{target}") for target in
      ("length", "chunked", "close", "interim", "x", "short", "bad", "surplus", "half", "gone",
       "reset")),
    request("GET", "/chunked", version="1.0") + b"\r\n",
    request("PUT", "/x", body=BODY),
    request("PUT", "/stuck", body=MUCH),
    request("POST", "/x", [("Transfer-Encoding", "chunked")],
            chunked(b"x" * 70_000, trailer=[("X", "y")])),
    request("POST", "/x", [("Transfer-Encoding", "chunked")], chunked(b"x", trailer=[("X", "y")])),
    request("POST", "/x", POST) + chunk(b"x") + LAST_CHUNK,
    request("GET", "/x") * 5,
    b"nonsense\r\n\r\n" + BODY,
    SWITCH,
    CUT,
    HALF_HEAD,
    b"",
]


def http_life(t, kaproxy, number):
    """A client that reads its response, or one that leaves it, or a part of it, unread."""
    peer = client(t, kaproxy, ("main", "down")[number % 7 == 0], receive_buffer=4096)
    way = number // len(REQUESTS) % 4
    with contextlib.suppress(OSError, Failure):
        peer.channel.socket.settimeout(2)
        peer.channel.send(REQUESTS[number % len(REQUESTS)])
        if way == 0:
            peer.response()
        elif way == 1:
            peer.channel.read(1000)
        elif way == 2:
            peer.channel.fin()
            peer.response()
        else:
            peer.channel.is_silent(0.2)
    with contextlib.suppress(OSError):
        peer.channel.reset() if number % 2 else peer.channel.close()


@test("http: no error, no leak")
def http_leaks(t):
    valgrind = Valgrind(t)
    upstream = t.own(ScriptedUpstream(serve, receive_buffer=4096))
    t.callback(over.set)
    port = t.own(ReservedPort())
    endpoint = upstream.endpoint.replace("tcp:", "http:")
    more = {"listener down": {"listen": "127.0.0.1:{port}",
                              "upstream": port.endpoint.replace("tcp:", "http:")}}
    kaproxy = valgrind.start(endpoint, reuse=None, more=more, pool={"max_per_host": 4},
                             listener={"idle_timeout": "1s", "header_timeout": "1s"},
                             main={"log_level": "debug", "shutdown_timeout": "1s"})
    with concurrent.futures.ThreadPoolExecutor(10) as threads:
        list(threads.map(lambda number: http_life(t, kaproxy, number), range(4 * len(REQUESTS))))
    t.equal(one_shot(t, kaproxy, "GET", "/x").status, 200, "status of one more")
    # The end meets a client that has not read its response, and others in all stages.
    unread, tunnel, *others = (client(t, kaproxy, receive_buffer=4096) for _ in range(5))
    unread.channel.send(request("GET", "/length") * 4)
    tunnel.channel.send(SWITCH)
    t.equal(tunnel.response().status, 101, "status")
    for peer, data in zip(others, (CUT, HALF_HEAD, request("GET", "/length", version="1.0"))):
        peer.channel.send_what_fits(data)
    kaproxy.counters()
    kaproxy.stop(timeout=60)
    valgrind.check()


main()
