#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: a client that still sends reads the response, and no reset destroys it; but it
is not read from forever, and not at all when it has sent everything."""

import re
import signal
import sys
import threading
import time

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import ReservedPort, SLOW, WAIT_MAX, main, test, tls
from kaptest.http import (HttpUpstream, check_line, client, head, held, request, response, start,
                          wait_line)

LENGTH = 10_000_000
LARGE = b"x" * 200_000  # the kernel takes it at once, and only a little from a late reader
MAX = 256 << 20         # bytes discarded at most


def send_all(peer, first):
    peer.channel.send(first)
    for _ in range(LENGTH // 100_000):
        peer.channel.send(b"x" * 100_000)


def check(t, kaproxy, first, status):
    peer = client(t, kaproxy)
    send_all(peer, first)  # all of it before the response is read
    got = peer.response()
    t.equal((got.status, got.closes()), (status, True), "response")
    t.equal(peer.channel.end(), "eof", "end")
    check_line(t, kaproxy, status=status)


@test("10 MB after a header that is rejected: 400, 414, 431")
def refused(t):
    for first, status in ((b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n", 400),
                          (b"GET /", 414), (b"GET / HTTP/1.1\r\nHost: h\r\nX: ", 431)):
        check(t, start(t, t.own(HttpUpstream())), first, status)


@test("10 MB for an upstream that cannot be reached: 502")
def unreachable(t):
    first = head("POST /x HTTP/1.1", [("Host", "h"), ("Content-Length", LENGTH)])
    check(t, start(t, t.own(ReservedPort())), first, 502)


@test("a client that sends nothing more sees the end at once")
def quiet(t):
    peer = client(t, start(t, t.own(HttpUpstream())))
    peer.channel.send(b"nonsense\r\n\r\n")
    started = time.monotonic()
    t.equal(peer.response().status, 400, "status")
    t.equal(peer.channel.read_end(), (b"", "eof"), "end")
    t.at_most(time.monotonic() - started, 20 if SLOW else 3, "seconds until the end")


@test("one that never stops is disconnected after some seconds")
def endless(t):
    kaproxy = start(t, t.own(HttpUpstream()))
    before = kaproxy.descriptors()
    peer = client(t, kaproxy)
    peer.channel.send(b"nonsense\r\n\r\n")
    t.equal(peer.response().status, 400, "status")
    started = time.monotonic()
    try:
        while time.monotonic() - started < 20:
            peer.channel.send(b"x")
            peer.channel.socket.settimeout(0.1)
            time.sleep(0.1)
        t.check(False, "it may still send")
    except ConnectionError:
        pass
    t.at_least(time.monotonic() - started, 3, "seconds until it was disconnected")
    t.equal(kaproxy.descriptors(), before, "descriptors")


def post(length):
    return head("POST /x HTTP/1.0", [("Content-Length", length)]) + b"x" * length


@test("the CRLF that old clients send after a body does not cause a reset, whenever it arrives")
def line_end_behind_body(t):
    upstream, go = held(t)
    kaproxy = start(t, upstream)
    peer = client(t, kaproxy)
    peer.channel.send(post(2))
    upstream.wait_requests(1)
    peer.channel.send(b"\r\n")  # this client is not needed now, so it may not be watched
    go.set()
    t.equal(peer.response().status, 200, "status")
    t.equal(peer.channel.end(), "eof", "end")


@test("a client whose whole body was read, exactly to the last byte, is closed at once")
def all_was_read(t):
    upstream, go = held(t)
    upstream.handler = lambda c, m: go.wait(WAIT_MAX) and response()  # delivered as soon as it is sent
    kaproxy = start(t, upstream, main={"log_level": "debug"})
    peer = client(t, kaproxy)
    peer.channel.send(post(40_000))  # more than arrives with a header
    upstream.wait_requests(1)
    go.set()
    t.equal(peer.response().status, 200, "status")
    t.equal(peer.channel.end(), "eof", "end")
    kaproxy.wait_log("client_fd=.* -> closed")
    t.equal(kaproxy.find_log("-> lingering"), [], "lingering")


@test("one that sends as fast as it can is not read from endlessly")
def much(t):
    kaproxy = start(t, t.own(HttpUpstream()))
    peer = client(t, kaproxy)
    peer.channel.send(b"nonsense\r\n\r\n")
    t.equal(peer.response().status, 400, "status")
    sent, data = 0, b"x" * (1 << 20)
    try:
        while sent < 2 * MAX:
            peer.channel.send(data)
            sent += len(data)
    except ConnectionError:
        pass
    t.at_most(sent, MAX + (64 << 20), "bytes that it could send")


def large_or_nothing(_connection, message):
    return response(LARGE) if message.target == "/large" else None


def pipelining(t, upstream, first=request("GET", "/large"), start_one=start, **options):
    """A client that has requested much, and reads late. It connects and sends its request at once,
    so that there was no need to watch it."""
    kaproxy = start_one(t, upstream, **options)
    with kaproxy.paused():
        peer = client(t, kaproxy, receive_buffer=4096)
        peer.channel.send(first)
    return kaproxy, peer


def check_large(t, peer, *statuses):
    """The response must arrive completely, and further ones after it, and then the end."""
    t.check(peer.response().body == LARGE, "the response is wrong")
    for status in statuses:
        t.equal(peer.response().status, status, "status")
    t.equal(peer.channel.read_end(), (b"", "eof"), "end")


@test("a third request after one that ends in our 502: nothing of the first response is lost")
def third_request(t):
    go = threading.Event()
    t.callback(go.set)

    def handler(connection, message):
        if message.target == "/none":
            go.wait(WAIT_MAX)
        return large_or_nothing(connection, message)

    upstream = t.own(HttpUpstream(handler))
    kaproxy, peer = pipelining(t, upstream, request("GET", "/large") + request("POST", "/none"))
    upstream.wait_requests(2)
    peer.channel.send(request())
    go.set()
    check_line(t, kaproxy, 2, status=502)
    check_large(t, peer, 502)
    t.equal(len(upstream.requests), 2, "requests at the upstream")


@test("the same for a client that has received all: it sees an end in order")
def third_request_of_a_quick_one(t):
    upstream, go = held(t, "/none")
    upstream.handler = lambda c, m: go.wait(WAIT_MAX) and None
    kaproxy = start(t, upstream)
    with kaproxy.paused():
        peer = client(t, kaproxy)
        peer.channel.send(request("POST", "/none"))
    upstream.wait_requests(1)
    peer.channel.send(request())
    go.set()
    t.equal(peer.response().status, 502, "status")
    t.equal(peer.channel.read_end(), (b"", "eof"), "end")


@test("a request that arrives when the client was closed already: nothing is lost either")
def too_late(t):
    kaproxy, peer = pipelining(t, t.own(HttpUpstream(large_or_nothing)),
                               request("GET", "/large") + request("POST", "/none"))
    check_line(t, kaproxy, 2, status=502)
    peer.channel.send(request())
    check_large(t, peer, 502)


CLOSE = [("Connection", "close")]
LAST = {  # requests after which none is expected; the targets say how long the responses are
    "a body": [request("POST", "/200000", CLOSE, b"abc")],
    "a body, and a response not as long": [request("POST", "/12000", CLOSE, b"abc")],
    "no body": [request("GET", "/200000", CLOSE)],
    "HTTP/1.0": [request("GET", "/200000", version="1.0")],
    "a short response after a long one": [request("GET", "/200000"), request("GET", "/10", CLOSE)],
}


def length_of(target):
    return int(target.strip("/"))


def last_requests(t, upstream, start_one):
    """They are served, and only then the client sends an empty line."""
    for what, requests in LAST.items():
        kaproxy, peer = pipelining(t, upstream, b"".join(requests), start_one)
        lines = kaproxy.wait_sessions(len(requests))
        t.equal({line["end"] for line in lines}, {"complete"}, f"ends, with {what}")
        peer.channel.send(b"\r\n")
        for line in lines:
            body = peer.response().body
            t.check(body == b"x" * length_of(line["target"]), f"the response is wrong, with {what}")
        t.equal(peer.channel.read_end(), (b"", "eof"), f"end, with {what}")


def of_length(_connection, message):
    return response(b"x" * length_of(message.target))


@test("bytes after a client's last request, when its response has been written: nothing is lost")
def behind_the_last(t):
    last_requests(t, t.own(HttpUpstream(of_length)), start)


@test("the same with an upstream that speaks TLS")
def behind_the_last_tls(t):
    last_requests(t, t.own(tls.HttpsUpstream(of_length)), tls.start)


def terminate(kaproxy):
    """SIGTERM; waits until it was received."""
    kaproxy.signal(signal.SIGTERM)
    kaproxy.wait_log("SIGTERM: stopping")


@test("a soft stop between two requests, the second of which is in flight")
def stops(t):
    kaproxy, peer = pipelining(t, t.own(HttpUpstream(large_or_nothing)))
    wait_line(kaproxy)
    terminate(kaproxy)
    peer.channel.send(request())
    check_large(t, peer)
    peer.channel.close()
    kaproxy.wait_exit()


@test("a soft stop in the middle of a response, with another request unread after it")
def stops_in_response(t):
    go = threading.Event()
    t.callback(go.set)

    def in_two_parts(connection, _message):
        connection.send(response(LARGE)[:1000])
        go.wait(WAIT_MAX)
        return response(LARGE)[1000:]

    upstream = t.own(HttpUpstream(in_two_parts))
    kaproxy, peer = pipelining(t, upstream)
    t.check(not peer.channel.is_silent(WAIT_MAX), "nothing of the response arrived")
    terminate(kaproxy)
    peer.channel.send(request())
    go.set()
    wait_line(kaproxy)
    check_large(t, peer)
    t.equal(len(upstream.requests), 1, "requests at the upstream")


@test("idle_timeout between two requests, the second of which is in flight")
def idle_timeout(t):
    kaproxy, peer = pipelining(t, t.own(HttpUpstream(large_or_nothing)),
                               listener={"idle_timeout": "1500ms"}, main={"log_level": "debug"})
    kaproxy.wait_log("client_fd=.* -> (lingering|closed)")
    peer.channel.send(request())
    check_large(t, peer)


@test("a client that has all of its response is closed at once, though it might send more")
def has_all(t):
    upstream = t.own(HttpUpstream())
    kaproxy = start(t, upstream, listener={"idle_timeout": "1500ms"}, main={"log_level": "debug"})
    peer = client(t, kaproxy)
    t.equal(peer.ask().status, 200, "status")
    kaproxy.wait_log("client_fd=.* -> closed")
    t.equal(kaproxy.find_log("-> lingering"), [], "lingering")
    t.equal(peer.channel.read_end(), (b"", "eof"), "end")


@test("one that gets it while we linger is closed then, and not before it has sent everything")
def gets_all(t):
    kaproxy = start(t, t.own(HttpUpstream(large_or_nothing)), main={"log_level": "debug"})
    other, peer = client(t, kaproxy), client(t, kaproxy, receive_buffer=4096)
    other.channel.send(b"nonsense\r\n\r\n")
    t.equal(other.response().status, 400, "status")
    kaproxy.wait_log("client_fd=.* -> lingering")
    peer.channel.send(request("GET", "/large") + request("POST", "/none"))
    lingering = kaproxy.wait_log("client_fd=.* -> lingering", 2)
    check_large(t, peer, 502)
    closed = kaproxy.wait_log("client_fd=.* -> closed")
    t.equal(*(re.search(r"client_fd=(\d+)", line)[1] for line in (closed[0], lingering[1])),
            "the client that was closed first")


main()
