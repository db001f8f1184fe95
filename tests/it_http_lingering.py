#!/usr/bin/env python3
"""Goal of this test: a client that still sends reads the answer, and no reset destroys it; but it is
not listened to for ever, and not at all when it has sent everything."""

import sys
import time

sys.path.insert(0, sys.path[0] + "/harness")
from kaptest import ReservedPort, SLOW, main, test
from kaptest.http import HttpUpstream, check_line, client, head, held, start

LENGTH = 10_000_000


def send_all(peer, first):
    peer.channel.send(first)
    for _ in range(LENGTH // 100_000):
        peer.channel.send(b"x" * 100_000)


def check(t, kaproxy, first, status):
    peer = client(t, kaproxy)
    send_all(peer, first)  # all of it before the answer is read
    got = peer.response()
    t.equal((got.status, got.closes()), (status, True), "answer")
    t.equal(peer.channel.end(), "eof", "end")
    check_line(t, kaproxy, status=status)


@test("10 MB behind a header that is refused: 400, 414, 431")
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


@test("one that never stops is cut off after some seconds")
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
    t.at_least(time.monotonic() - started, 3, "seconds until it was cut off")
    t.equal(kaproxy.descriptors(), before, "descriptors")


def post(length):
    return head("POST /x HTTP/1.0", [("Content-Length", length)]) + b"x" * length


@test("the CRLF that old clients send behind a body is no reason for a reset, whenever it comes")
def line_end_behind_body(t):
    upstream, go = held(t)
    kaproxy = start(t, upstream)
    peer = client(t, kaproxy)
    peer.channel.send(post(2))
    upstream.wait_requests(1)
    peer.channel.send(b"\r\n")  # nobody depends on this client now, so it may not be watched
    go.set()
    t.equal(peer.response().status, 200, "status")
    t.equal(peer.channel.end(), "eof", "end")


@test("a client whose whole body was read, to the last byte and not beyond, is closed at once")
def all_was_read(t):
    kaproxy = start(t, t.own(HttpUpstream()), main={"log_level": "debug"})
    peer = client(t, kaproxy)
    peer.channel.send(post(40_000))  # more than comes with a head
    t.equal(peer.response().status, 200, "status")
    t.equal(peer.channel.end(), "eof", "end")
    kaproxy.wait_log("client_fd=.* -> closed")
    t.equal(kaproxy.find_log("-> lingering"), [], "lingering")


main()
