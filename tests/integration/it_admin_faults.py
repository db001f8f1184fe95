#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: whatever is wrong, the status page alone says what it is, and where. What it
says is printed, so that a person can judge it."""

import html.parser
import json
import re
import socket
import sys
import threading
import time

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import (SLOW, Blackhole, Failure, ReservedPort, WAIT_MAX, main, test, wait_until)
from kaptest.admin import Admin, admin_section
from kaptest.dns import NAME, ScriptedDns
from kaptest.http import Cut, HttpUpstream, client, describe, held, one_shot, request, response
from kaptest.ports import free_port
from kaptest.tls import HttpsUpstream, settings, upstream_context
from kaptest.tls_ca import authority

# Sessions in which nothing moves are a fault after half of that, which is a short wait, and end
# after all of it, and by then the page must have been requested.
IDLE = "20s" if SLOW else "4s"


class _Problems(html.parser.HTMLParser):
    """The text of the page's problems: the heading, and then each of them."""

    def __init__(self, text):
        super().__init__()
        self.lines, self._inside = [], False
        self.feed(text)
        self.lines = [" ".join(line.split()) for line in self.lines]

    def handle_starttag(self, tag, attrs):
        if tag == "section":
            self._inside = ("id", "problems") in attrs
        if self._inside and tag in ("h1", "li"):
            self.lines.append("")

    def handle_endtag(self, tag):
        if tag == "section":
            self._inside = False

    def handle_data(self, data):
        if self._inside and self.lines:
            self.lines[-1] += data


class World:
    """A kaproxy with a listener `shop` that gets a fault, and with one that has no problems."""

    def __init__(self, t, upstream, *, main=None, pool=None, **listener):
        self.t = t
        self.upstream = upstream
        well = t.own(HttpUpstream())
        self.kaproxy = t.kaproxy(main=main, pool=pool, more={
            **admin_section(t),
            "pool news": {},
            "listener shop": {"listen": "127.0.0.1:{port}", "upstream": upstream, **listener},
            "listener news": {"listen": "127.0.0.1:{port}", "upstream": well.endpoint,
                              "pool": "news"}})
        self.well = well.endpoint
        self.admin = Admin(f"{t.folder}/admin.sock")
        t.equal(one_shot(t, self.kaproxy, listener="news").status, 200, "status of the other one")

    def lines(self):
        """The page's."""
        answer = self.admin.get("/")
        self.t.equal(answer.status, 200, "status of the page")
        return _Problems(answer.text).lines

    def shows(self, severity, code, *words, **place):
        """Until it is on top, of the page and of /status: with these words (regular expressions),
        and at this place, listener or upstream."""
        problem = {}

        def is_there():
            top = json.loads(self.admin.get("/status").text)["problems"][:1]
            problem.clear()
            problem.update(top[0] if top else {})
            lines = self.lines()
            return (len(lines) > 1 and problem.get("code") == code and
                    lines[1].startswith(severity + " ") and lines[1].endswith(" " + code) and
                    all(re.search(word, lines[1]) for word in words) and lines)

        try:
            lines = wait_until(is_there, f"{code} on the page")
        except Failure:
            print("\n".join(f"#   {line}" for line in self.lines()))
            raise
        print("\n".join(f"#   {line}" for line in lines), flush=True)
        self.t.equal({key: problem.get(key) for key in place}, place, "its place")
        self.t.check(not any(self.well in line for line in lines), "the other upstream is named")

    def load(self, clients, target="/"):
        """This many clients that send requests again and again, until the end of the test."""
        stop = threading.Event()

        def run():
            while not stop.is_set():
                try:
                    one_shot(self.t, self.kaproxy, "GET", target, listener="shop")
                except (Cut, OSError):
                    pass

        threads = [threading.Thread(target=run) for _ in range(clients)]
        for thread in threads:
            thread.start()

        def end():
            stop.set()
            for thread in threads:
                thread.join(WAIT_MAX)
        self.t.callback(end)


def after(seconds):
    """A slow handler."""
    def handler(connection, message):
        time.sleep(seconds)
        return describe(connection, message)
    return handler


@test("an upstream that is slow")
def slow(t):
    upstream = t.own(HttpUpstream(after(0.6)))
    world = World(t, upstream.endpoint, pool={"max_per_host": 2}, response_timeout="2s")
    world.load(5)
    world.shows("warning", "upstream_slow", re.escape(upstream.endpoint) + " is slow",
                "listener shop", "2 of max_per_host=2 connections are busy",
                upstream=upstream.endpoint, pool="default")


@test("an upstream that accepts requests and does not respond")
def hangs(t):
    upstream, go = held(t)
    world = World(t, upstream.endpoint, pool={"max_per_host": 2}, idle_timeout="4s",
                  response_timeout="60s")
    for _ in range(3):
        client(t, world.kaproxy, "shop").send()
    world.shows("critical", "upstream_slow", re.escape(upstream.endpoint) + " does not respond",
                "2 requests of listener shop", "response_timeout=60s", upstream=upstream.endpoint,
                listener="shop")
    go.set()


@test("an upstream that is down, without fail_after: refused")
def refused(t):
    port = t.own(ReservedPort())
    endpoint = f"http://127.0.0.1:{port.port}"
    world = World(t, endpoint)
    t.equal(one_shot(t, world.kaproxy, listener="shop").status, 502, "status")
    world.shows("critical", "upstream_failing", "No connection to " + re.escape(endpoint),
                "nothing listens there: Connection refused", "1 client got an error",
                upstream=endpoint, pool="default")


@test("an upstream that went away after it had served")
def went_away(t):
    upstream = t.own(HttpUpstream())
    world = World(t, upstream.endpoint)
    t.equal(one_shot(t, world.kaproxy, listener="shop").status, 200, "status before")
    upstream.refuse()
    for connection in upstream.connections:
        connection.socket.shutdown(socket.SHUT_RDWR)
    wait_until(lambda: world.kaproxy.counters()["idle"] == 0, "its connections to be gone")
    t.equal(one_shot(t, world.kaproxy, listener="shop").status, 502, "status")
    world.shows("critical", "upstream_failing", "Connection refused", "last success: 20",
                upstream=upstream.endpoint)


@test("an upstream that is down, with fail_after")
def down(t):
    port = t.own(ReservedPort())
    endpoint = f"http://127.0.0.1:{port.port}"
    world = World(t, endpoint, pool={"fail_after": 2})
    got = [one_shot(t, world.kaproxy, listener="shop").status for _ in range(4)]
    t.equal(got, [502, 502, 503, 503], "status")
    world.shows("critical", "upstream_down", re.escape(endpoint) + " is down since 20",
                "Connection refused", "4 clients got an error", upstream=endpoint, pool="default")


@test("an upstream whose host does not answer")
def black_hole(t):
    hole = t.own(Blackhole())
    endpoint = f"http://127.0.0.1:{hole.port}"
    world = World(t, endpoint, pool={"connect_timeout": "200ms"})
    t.equal(one_shot(t, world.kaproxy, listener="shop").status, 504, "status")
    world.shows("critical", "upstream_failing", re.escape(endpoint), "it does not answer",
                "connect_timeout = 200 ms", upstream=endpoint)


@test("a pool that is too small")
def small_pool(t):
    upstream = t.own(HttpUpstream(after(0.15)))
    world = World(t, upstream.endpoint, pool={"max_per_host": 1})
    world.load(8)
    world.shows("warning", "clients_waiting", "wait for a connection to " +
                re.escape(upstream.endpoint), "max_per_host=1", "the pool is too small",
                upstream=upstream.endpoint, pool="default")


@test("DNS that is gone, and was never available")
def dns_gone(t):
    endpoint = f"http://{NAME}:80"
    resolver = f"127.0.0.1:{free_port()}"
    world = World(t, endpoint, main={"resolver": resolver})
    t.equal(one_shot(t, world.kaproxy, listener="shop").status, 502, "status")
    world.shows("critical", "dns_failing", f"the name of {endpoint} is not resolved",
                f"resolver={resolver}")


@test("DNS that is gone while its last answer still serves")
def dns_stale(t):
    dns = ScriptedDns()
    upstream = t.own(HttpUpstream())
    dns.set(NAME, "127.0.0.1")
    endpoint = f"http://{NAME}:{upstream.port}"
    world = World(t, endpoint, main={"resolver": dns.resolver}, pool={"max_uses": 1})
    t.equal(one_shot(t, world.kaproxy, listener="shop").status, 200, "status")
    dns.close()
    world.load(1)
    world.shows("warning", "dns_failing", "lookups of 1 name fail", re.escape(dns.resolver))


@test("a certificate that has expired")
def expired(t):
    upstream = t.own(HttpsUpstream(context=upstream_context(authority().expired)))
    world = World(t, upstream.endpoint, **settings())
    t.equal(one_shot(t, world.kaproxy, listener="shop").status, 502, "status")
    world.shows("critical", "certificate_expired", "certificate has expired",
                r"CN=expired on 2021-01-01", re.escape(upstream.endpoint),
                upstream=upstream.endpoint)


@test("clients that never finish: opaque bytes")
def stuck_opaque(t):
    upstream = t.upstream(lambda connection: connection.read_end())
    world = World(t, upstream.endpoint, reuse="quiet", pool={"max_per_host": 2}, idle_timeout=IDLE)
    for _ in range(3):
        peer = world.kaproxy.connect("shop")
        peer.send(b"begun")
    name = r"127\.0\.0\.1:\d+"
    world.shows("critical", "clients_stuck", "2 clients of listener shop", name, "1 other waits",
                f"idle_timeout={IDLE}", upstream=upstream.endpoint, listener="shop")


@test("clients that never finish: incomplete requests")
def stuck_http(t):
    upstream = t.own(HttpUpstream())
    world = World(t, upstream.endpoint, pool={"max_per_host": 2}, idle_timeout=IDLE)
    for _ in range(3):
        peer = client(t, world.kaproxy, "shop")
        peer.channel.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n" +
                          bytes(300000))
    world.shows("critical", "clients_stuck", "2 clients of listener shop", "1 other waits",
                upstream=upstream.endpoint, listener="shop")


@test("clients that never finish: responses that they do not read")
def stuck_readers(t):
    body = bytes(30_000_000)
    upstream = t.own(HttpUpstream(lambda *_: b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" %
                                  (len(body), body)))
    world = World(t, upstream.endpoint, pool={"max_per_host": 2}, idle_timeout=IDLE)
    for _ in range(3):
        client(t, world.kaproxy, "shop").send("GET", "/")
    world.shows("critical", "clients_stuck", "2 clients of listener shop", "1 other waits",
                upstream=upstream.endpoint, listener="shop")


@test("clients that never finish, so many that no more are accepted")
def stuck_clients(t):
    upstream = t.own(HttpUpstream())
    world = World(t, upstream.endpoint, main={"max_clients": 3})
    for _ in range(4):
        world.kaproxy.connect("shop").send(b"GET / HT")
    world.shows("critical", "limit_reached", "3 clients are connected", "max_clients=3",
                "3 of these clients have moved nothing for 5 s", "3 of them in listener shop")


def flood(t, address):
    """Requests as fast as they are accepted, until the end of the test. Responses are discarded."""
    sock = socket.create_connection(address, timeout=WAIT_MAX)

    def send():
        try:
            while True:
                sock.sendall(request(target="/flood") * 200)
        except OSError:
            pass

    def receive():
        try:
            while sock.recv(1 << 18):
                pass
        except OSError:
            pass

    threads = [threading.Thread(target=run) for run in (send, receive)]
    for thread in threads:
        thread.start()

    def end():
        sock.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(WAIT_MAX)
        sock.close()
    t.callback(end)


@test("no fault: a client that floods, while the pages respond and count")
def flooded(t):
    upstream = t.own(HttpUpstream(lambda *_: response(b"x" * 100)))
    world = World(t, upstream.endpoint)
    t.equal(world.lines(), ["No problems"], "problems")
    for _ in range(2):
        flood(t, world.kaproxy.address("shop"))
    pattern = r'^kaproxy_listener_responses_total\{listener="shop",class="2xx"\} (\d+)$'
    counts = [0]
    for _ in range(20):
        t.equal(world.admin.get("/livez").status, 200, "status of /livez")
        counts.append(int(re.search(pattern, world.admin.get("/metrics").text, re.MULTILINE)[1]))
        status = json.loads(world.admin.get("/status").text)
        t.equal(status["loop"]["answers"], True, "that the loop responds")
    t.equal(counts, sorted(counts), "responses in order")
    wait_until(lambda: int(re.search(pattern, world.admin.get("/metrics").text, re.MULTILINE)[1]) >
               counts[-1], "more responses")


@test("a disk that is full: the access log's")
def full_disk(t):
    upstream = t.own(HttpUpstream())
    world = World(t, upstream.endpoint, main={"access_log": "/dev/full"})
    t.equal(one_shot(t, world.kaproxy, listener="shop").status, 200, "status")
    world.shows("critical", "log_failing", "access log", "/dev/full", "No space left on device")


main()
