#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: header_timeout, idle_timeout and response_timeout end an exchange with 408 or
504 that names them; a client without a request is closed silently, by client_keep_alive too."""

import sys
import threading
import time

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import ScriptedUpstream, WAIT_MAX, main, test
from kaptest.http import (LAST_CHUNK, Cut, HttpUpstream, check_line, chunk, client, describe, head,
                          read_request, request, response, start)

SHORT = {"header_timeout": "1500ms", "idle_timeout": "60s"}
IDLE = {"header_timeout": "60s", "idle_timeout": "1500ms"}
KEPT = {"header_timeout": "60s", "client_keep_alive": "1500ms"}
RESPONSE = {"response_timeout": "1500ms", "idle_timeout": "60s"}
INFO = {"log_level": "info"}
HALF_POST = head("POST /x HTTP/1.1", [("Host", "h"), ("Content-Length", 10)]) + b"12345"


def why(t, kaproxy, got, text, number=1):
    """Both the response and the log give this reason."""
    t.equal(got.body.split(b"\n")[1:2], [text.encode()], "reason")
    kaproxy.wait_log(r"(answered|cut short): listener=main client=127\.0\.0\.1:\d+ "
                     rf'upstream=http://\S+ status={got.status} error="{text}"$', number)


def timed(t, peer):
    """The response, which must arrive after half a second."""
    started = time.monotonic()
    got = peer.response()
    t.at_least(time.monotonic() - started, 0.4, "seconds until the response")
    t.equal(got.closes(), True, "Connection: close")
    t.equal(peer.channel.end(), "eof", "end")
    return got


@test("header_timeout: a header that does not end, 408; also without an idle_timeout")
def header(t):
    for listener in SHORT, {**SHORT, "idle_timeout": 0}:
        upstream = t.own(HttpUpstream())
        kaproxy = start(t, upstream, listener=listener, main=INFO)
        peer = client(t, kaproxy)
        peer.channel.send(b"GET /x HTTP/1.1\r\nHost: h\r\n")
        got = timed(t, peer)
        t.equal(got.status, 408, "status")
        why(t, kaproxy, got, "the header was not complete within header_timeout=1500ms")
        check_line(t, kaproxy, status=408, end="idle_timeout", from_cache="-")
        t.equal(upstream.accepted, 0, "connections")


@test("a client that sends nothing within header_timeout: a silent end, not logged")
def nothing(t):
    kaproxy = start(t, t.own(HttpUpstream()), listener={**SHORT, "idle_timeout": 0})
    silent, empty = client(t, kaproxy), client(t, kaproxy)
    empty.channel.send(b"\r\n")
    for peer in silent, empty:
        t.equal(peer.channel.read_end(), (b"", "eof"), "end")
    kaproxy.stop()
    t.equal(kaproxy.sessions(), [], "lines of the access log")


@test("a first request's header_timeout counts from the accept, a later one's from its first byte")
def from_accept(t):
    """A client that connects later and begins earlier is later; a served client begins again."""
    kaproxy = start(t, t.own(HttpUpstream()), listener=SHORT)
    served, first = client(t, kaproxy), client(t, kaproxy)
    t.equal(served.ask().status, 200, "status")
    t.check(first.channel.is_silent(0.3), "the first client's connection ended early")
    second = client(t, kaproxy)
    for peer in second, first:
        peer.channel.send(b"GET /x HTTP/1.1\r\n")
        kaproxy.counters()  # it has had a turn since
    for peer in first, second:
        t.equal(peer.response().status, 408, "status")
    clients = [line["client"] for line in kaproxy.wait_sessions(3)[1:]]
    t.equal(clients, ["%s:%d" % peer.channel.name for peer in (first, second)], "order of the ends")
    t.equal(served.ask().status, 200, "status after more than header_timeout")


@test("however slowly a header arrives")
def dribble(t):
    peer = client(t, start(t, t.own(HttpUpstream()), listener=SHORT))
    peer.channel.send(b"GET /x HTTP/1.1\r\nX: ")
    started = time.monotonic()
    while peer.channel.is_silent(0.05):
        t.at_most(time.monotonic() - started, 15, "seconds without a response")
        peer.channel.send(b"x")
    t.equal(peer.response().status, 408, "status")


@test("header_timeout ends with the header: a body and a response may take longer")
def only_header(t):
    def slow(connection, _message):
        connection.is_silent(0.7)
        return response(b"late")

    peer = client(t, start(t, t.own(HttpUpstream(slow)), listener=SHORT))
    for _ in range(2):
        peer.channel.send(HALF_POST)
        t.check(peer.channel.is_silent(0.7), "something arrived in the middle of the body")
        peer.channel.send(b"67890")
        t.equal(peer.response().body, b"late", "response")


@test("header_timeout = 0, idle_timeout = 0: no end, however long nothing arrives")
def no_limits(t):
    upstream = t.own(HttpUpstream())
    other = {"listener other": {"listen": "127.0.0.1:{port}", "upstream": upstream.endpoint, **IDLE}}
    none = {"header_timeout": 0, "idle_timeout": 0, "client_keep_alive": 0}
    kaproxy = start(t, upstream, listener=none, more=other)
    begun, half, silent, served = (client(t, kaproxy) for _ in range(4))
    t.equal(served.ask().status, 200, "status of the first")
    begun.channel.send(b"GET /x HTTP/1.1\r\nHost: h\r\nX: ")
    half.channel.send(HALF_POST)
    ended = client(t, kaproxy, "other")
    ended.channel.send(HALF_POST)
    t.equal(timed(t, ended).status, 408, "status where there is a limit")
    begun.channel.send(b"y\r\n\r\n")
    half.channel.send(b"67890")
    silent.send()
    served.send()
    for peer in begun, half, silent, served:
        t.equal(peer.response().status, 200, "status where there is none")


@test("idle_timeout in the middle of a small body, nothing requested yet: 408")
def body(t):
    upstream = t.own(HttpUpstream())
    kaproxy = start(t, upstream, listener=IDLE, main=INFO)
    peer = client(t, kaproxy)
    peer.channel.send(HALF_POST)
    got = timed(t, peer)
    t.equal(got.status, 408, "status")
    why(t, kaproxy, got, "no more of the request arrived within idle_timeout=1500ms")
    t.equal(upstream.accepted, 0, "connections")
    check_line(t, kaproxy, status=408, end="idle_timeout", method="POST", target="/x")


@test("idle_timeout in the middle of a large body, a part of it sent: 408, and a discard")
def large_body(t):
    kaproxy = start(t, t.own(ScriptedUpstream(lambda connection: connection.read_end())),
                    listener=IDLE)
    peer = client(t, kaproxy)
    peer.channel.send(request("POST", "/x", body=b"x" * 300_000)[:-1])
    t.equal(timed(t, peer).status, 408, "status")
    t.equal(kaproxy.counters().get("discard_client_abort"), 1, "discarded")


@test("idle_timeout while the upstream does not take the body: that is its fault, 504")
def upstream_stuck(t):
    upstream = t.own(ScriptedUpstream(receive_buffer=2048))
    kaproxy = start(t, upstream, listener=IDLE)
    peer = client(t, kaproxy)
    peer.channel.send(head("POST /x HTTP/1.1", [("Host", "h"), ("Content-Length", 1 << 30)]))
    peer.channel.socket.settimeout(0.2)
    try:
        while True:
            peer.channel.socket.sendall(b"x" * 100_000)
    except TimeoutError:
        peer.channel.socket.settimeout(20)
    got = peer.response()
    t.equal(got.status, 504, "status")
    why(t, kaproxy, got, "the upstream accepted no more of the request within idle_timeout=1500ms")
    t.equal(kaproxy.counters().get("discard_idle_timeout"), 1, "discarded")


@test("response_timeout while a response is awaited: 504; it is idle_timeout's value by default")
def awaiting(t):
    for listener in RESPONSE, {**RESPONSE, "idle_timeout": 0}, IDLE:
        kaproxy = start(t, t.own(HttpUpstream(lambda c, m: b"")), listener=listener)
        peer = client(t, kaproxy)
        peer.send("GET", "/x")
        got = timed(t, peer)
        t.equal(got.status, 504, "status")
        why(t, kaproxy, got, "the upstream did not begin its response within response_timeout=1500ms")
        check_line(t, kaproxy, status=504, end="idle_timeout")
        t.equal(kaproxy.counters().get("discard_idle_timeout"), 1, "discarded")


def late(go, first=b""):
    """Sends this, then responds when the test says so."""
    def handler(connection, message):
        connection.send(first)
        go.wait(WAIT_MAX)
        return describe(connection, message)
    return handler


def end_another(t, kaproxy):
    """The other listener's limit expires: whatever began before had as much time."""
    peer = client(t, kaproxy, "other")
    peer.channel.send(HALF_POST)
    t.equal(timed(t, peer).status, 408, "status where there is a limit")


@test("a response may take longer than idle_timeout to begin, or as long as it likes: 0")
def longer(t):
    for value in "60s", "0":
        go = threading.Event()
        t.callback(go.set)
        upstream = t.own(HttpUpstream(late(go)))
        other = {"listener other": {"listen": "127.0.0.1:{port}", "upstream": upstream.endpoint,
                                    **IDLE}}
        kaproxy = start(t, upstream, listener={**IDLE, "response_timeout": value}, more=other)
        peer = client(t, kaproxy)
        peer.send("GET", "/x")
        upstream.wait_requests(1)
        end_another(t, kaproxy)
        go.set()
        t.equal(peer.response().body, b"1 GET /x ", "response")


@test("response_timeout counts from the last byte of the request on")
def from_request(t):
    """The one whose request has been in progress for longer is the later one."""
    upstream = t.own(HttpUpstream(lambda c, m: b""))
    kaproxy = start(t, upstream, listener=RESPONSE)
    slow, quick = client(t, kaproxy), client(t, kaproxy)
    slow.channel.send(request("POST", "/slow", body=b"x" * 100_000)[:-1])
    upstream.wait_accepted(1)
    t.check(slow.channel.is_silent(0.3), "something arrived in the middle of the body")
    quick.send("GET", "/quick")
    upstream.wait_requests(1)
    slow.channel.send(b"x")
    t.equal([peer.response().status for peer in (quick, slow)], [504, 504], "status")
    t.equal([line["target"] for line in kaproxy.wait_sessions(2)], ["/quick", "/slow"], "order")


@test("an interim response starts it again; the first byte of a response ends it")
def interim(t):
    go = threading.Event()
    upstream = t.own(HttpUpstream(late(go, head("HTTP/1.1 103 Early"))))
    t.callback(go.set)
    kaproxy = start(t, upstream, listener=RESPONSE)
    peer = client(t, kaproxy)
    peer.send()
    got = timed(t, peer)
    t.equal([m.status for m in (*got.interim, got)], [103, 504], "status")
    why(t, kaproxy, got, "the upstream did not begin its response within response_timeout=1500ms")

    for first in response(b"x" * 10)[:5], response(b"x" * 10)[:-1]:
        go = threading.Event()
        t.callback(go.set)
        upstream = t.own(HttpUpstream(lambda c, m, f=first, g=go: c.send(f) or g.wait(WAIT_MAX)
                                      and response(b"x" * 10)[len(f):]))
        other = {"listener other": {"listen": "127.0.0.1:{port}", "upstream": upstream.endpoint,
                                    **IDLE}}
        kaproxy = start(t, upstream, listener=RESPONSE, more=other)
        peer = client(t, kaproxy)
        peer.send()
        upstream.wait_requests(1)
        end_another(t, kaproxy)
        go.set()
        t.equal(peer.response().body, b"x" * 10, "response")


@test("a client that stops after a 100: 408, since that is its fault")
def behind_continue(t):
    kaproxy = start(t, t.own(HttpUpstream(
        with_body=lambda c, m: c.send(head("HTTP/1.1 100 Continue")) or True)),
        listener=IDLE, main=INFO)
    peer = client(t, kaproxy)
    peer.send("PUT", "/x", [("Expect", "100-continue"), ("Content-Length", 10)])
    t.equal(peer.response(interim=False).status, 100, "first status")
    got = timed(t, peer)
    t.equal(got.status, 408, "status")
    why(t, kaproxy, got, "no more of the request arrived within idle_timeout=1500ms")


@test("idle_timeout in the middle of a response: the client sees that it is truncated")
def in_response(t):
    for data in response(b"x" * 10)[:-5], head("HTTP/1.1 200 OK", [("Transfer-Encoding", "chunked")]):
        kaproxy = start(t, t.own(HttpUpstream(lambda c, m, d=data: d)), listener=IDLE)
        peer = client(t, kaproxy)
        peer.send()
        try:
            peer.response()
            t.check(False, "a truncated response was accepted as complete")
        except Cut as cut:
            t.equal(cut.end, "eof", "end")
        kaproxy.wait_log(r'cut short: listener=main .* status=200 error="no more of the response '
                         r'arrived within idle_timeout=1500ms"$')
        check_line(t, kaproxy, status=200, end="idle_timeout")
        t.equal(kaproxy.counters().get("discard_idle_timeout"), 1, "discarded")


@test("idle_timeout starts again with every byte that moves")
def moving(t):
    def dribbling(connection):
        read_request(connection)
        for byte in response(b"x"):
            connection.send(bytes([byte]))
            connection.is_silent(0.04)
        connection.read_end()

    peer = client(t, start(t, t.own(ScriptedUpstream(dribbling)), listener=IDLE))
    t.equal(peer.ask().body, b"x", "response")


@test("idle_timeout starts again with every byte of a request that is still read")
def moving_up(t):
    """Until another client, which connected at the same time and stopped, has its 408."""
    kaproxy = start(t, t.own(HttpUpstream()), listener=IDLE)
    for first, more, last in (
            (b"GET /x HTTP/1.1\r\nHost: h\r\nX: ", b"x", b"\r\n\r\n"),
            (head("POST /x HTTP/1.1", [("Host", "h"), ("Transfer-Encoding", "chunked")]),
             chunk(b"x"), LAST_CHUNK)):
        moving, stopped = client(t, kaproxy), client(t, kaproxy)
        for peer in moving, stopped:
            peer.channel.send(first)
        while stopped.channel.is_silent(0.05):
            moving.channel.send(more)
        t.equal(stopped.response().status, 408, "status of the one that stopped")
        moving.channel.send(last)
        t.equal(moving.response().status, 200, "status of the one that went on")


@test("a client that does not read its response is disconnected after idle_timeout")
def not_reading(t):
    upstream = t.own(HttpUpstream(lambda c, m: response(b"x" * 20_000_000)))
    kaproxy = start(t, upstream, listener=IDLE)
    peer = client(t, kaproxy, receive_buffer=4096)
    peer.send()
    check_line(t, kaproxy, status=200, end="idle_timeout")
    t.equal(kaproxy.counters().get("discard_idle_timeout"), 1, "discarded")


@test("between two requests, before the first, after an empty line: a silent end, not logged")
def between(t):
    kaproxy = start(t, t.own(HttpUpstream()), listener=IDLE)
    peers = [client(t, kaproxy) for _ in range(3)]
    peers[1].channel.send(b"\r\n")
    t.equal(peers[2].ask().status, 200, "status")
    for peer in peers:
        t.equal(peer.channel.read_end(), (b"", "eof"), "end")
    kaproxy.stop()
    t.equal(len(kaproxy.sessions()), 1, "lines of the access log")


@test("idle for client_keep_alive between two requests: a silent end, not logged")
def kept(t):
    kaproxy = start(t, t.own(HttpUpstream()), listener=KEPT)
    peer, new, begun, unread = (client(t, kaproxy) for _ in range(4))
    unread.channel.send(b"GET /x HTTP/1.1\r\n")
    for _ in range(3):  # each exchange starts it again
        t.equal(peer.ask().status, 200, "status")
        t.check(peer.channel.is_silent(0.6), "the client's connection ended early")
    t.equal([p.ask().status for p in (peer, begun)], [200] * 2, "status")
    begun.channel.send(b"GET /x HTTP/1.1\r\n")
    t.equal(peer.channel.read_end(), (b"", "eof"), "end")
    begun.channel.send(b"Host: h\r\n\r\n")
    t.equal(begun.response().status, 200, "status where the next header had begun")
    unread.channel.send(b"Host: h\r\n\r\n")
    t.equal([new.ask().status, unread.response().status], [200] * 2, "status of a first request")
    lines = len(kaproxy.wait_sessions(8))
    kaproxy.stop()
    t.equal((lines, len(kaproxy.sessions())), (8, 8), "lines of the access log")


@test("client_keep_alive = 0, or longer than idle_timeout: idle_timeout applies")
def kept_longer(t):
    for value in "0", "60s":
        kaproxy = start(t, t.own(HttpUpstream()), listener={**IDLE, "client_keep_alive": value})
        peer = client(t, kaproxy)
        t.equal(peer.ask().status, 200, "status")
        t.equal(peer.channel.read_end(), (b"", "eof"), "end")


main()
