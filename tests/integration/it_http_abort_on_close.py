#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: abort_on_close decides whether a client that has left ends its request, while
it still waits for a connection or is in progress; one that only half-closed right after its request
is served."""

import signal
import sys
import threading
import time

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import Failure, ScriptedUpstream, WAIT_MAX, main, test, wait_until
from kaptest.http import (LAST_CHUNK, HttpUpstream, check_line, chunk, client, head, held, one_shot,
                          read_request, request, response, start)
from kaptest.sockets import receive_queue

SOON = 0.08  # an end within this many seconds after its last byte is a half-close
WHILE = 0.4  # an end this many seconds after it is not a half-close, even on a busy machine
ONE = {"max_per_host": 1}


def begin(t, mode=None, upstream=None, unix=False, **listener):
    """A kaproxy with this abort_on_close, on a unix socket or not."""
    listener |= {"abort_on_close": mode} if mode else {}
    options = {"listen": f"unix:{t.folder}/{mode}"} if unix else {}
    return start(t, upstream, pool=ONE, listener=listener, **options)


def queue(t, mode=None, unix=False, **listener):
    """A kaproxy whose only connection is taken until the event is set, and a POST that waits for
    it: (kaproxy, upstream, event, the POST's client, the one that has the connection)."""
    upstream, go = held(t, "/held")
    kaproxy = begin(t, mode, upstream, unix, **listener)
    holder = client(t, kaproxy)
    holder.send("GET", "/held")
    upstream.wait_requests(1)
    peer = client(t, kaproxy)
    peer.send("POST", "/x", body=b"order")
    return kaproxy, upstream, go, peer, holder


def queue_half_closed(t, mode=None, unix=False):
    """The same, and its client has half-closed in time after its request. If this process was
    scheduled too late for that, it is retried."""
    for _ in range(20):
        kaproxy, upstream, go, peer, holder = queue(t, mode, unix)
        peer.channel.fin()
        if time.monotonic() - peer.sent_at < SOON:
            return kaproxy, upstream, go, peer, holder
        go.set()
        kaproxy.stop()
        upstream.close()
    raise Failure("this process has its turn too late to half-close in time")


def wait_waiting(kaproxy):
    wait_until(lambda: kaproxy.counters()["waiting"] >= 1, "a client that waits for a connection")


def check_dropped(t, kaproxy, upstream, go, holder):
    """The POST is gone: the upstream never sees it, and the next request gets the connection."""
    check_line(t, kaproxy, 1, target="/x", status="-", end="client_left", from_cache="-")
    t.equal(kaproxy.counters()["waiting"], 0, "waiting")
    go.set()
    t.equal(holder.response().body, b"1 GET /held ", "response of the connection's holder")
    t.equal(one_shot(t, kaproxy, "GET", "/y").body, b"1 GET /y ", "the next one's response")
    t.equal([r.target for r in upstream.requests], ["/held", "/y"], "what the upstream saw")


@test("queued, always: a client that leaves while its request is queued ends it")
def leaves(t):
    for mode in None, "queued", "always":
        for unix in False, True:
            for silent in WHILE, 1.5:  # before and after the client is watched
                kaproxy, upstream, go, peer, holder = queue(t, mode, unix)
                wait_waiting(kaproxy)
                t.check(peer.channel.is_silent(silent), "something arrived")
                peer.channel.close()
                check_dropped(t, kaproxy, upstream, go, holder)
                kaproxy.stop()
                upstream.close()


@test("and if the connection is granted before that is noticed: the next request gets it")
def granted(t):
    """All within the first second, in which a client is not watched; unless the machine stalls."""
    for reuse in "framed", "never":
        kaproxy, upstream, go, peer, holder = queue(t, "queued", reuse=reuse)
        wait_waiting(kaproxy)
        t.check(peer.channel.is_silent(WHILE), "something arrived")
        peer.channel.close()
        go.set()
        t.equal(holder.response().body, b"1 GET /held ", "response of the connection's holder")
        ends = sorted((line["target"], line["end"]) for line in kaproxy.wait_sessions(2))
        t.equal(ends, [("/held", "complete"), ("/x", "client_left")], "ends")
        got = one_shot(t, kaproxy, "GET", "/y").body
        t.check(got.endswith(b" GET /y "), f"the next response: {got!r}")
        t.equal(got == b"1 GET /y ", reuse == "framed", "the connection was used again")
        t.equal([r.target for r in upstream.requests], ["/held", "/y"], "what the upstream saw")


@test("one whose request waits with a part of its body unread")
def unread_body(t):
    """What is not read ahead is in the kernel, and the end after it, as far as there is space."""
    for silent in WHILE, 1.5:
        kaproxy, upstream, go, peer, holder = queue_half_closed(t)  # that one is served
        big = client(t, kaproxy)
        big.channel.send(request("POST", "/big", body=b"x" * 90_000))
        t.check(big.channel.is_silent(silent), "something arrived")
        big.channel.close()
        go.set()
        t.equal(holder.response().body, b"1 GET /held ", "response of the connection's holder")
        t.equal(peer.response().body, b"1 POST /x order", "response of the one before it")
        ends = {line["target"]: line["end"] for line in kaproxy.wait_sessions(3)}
        t.equal(ends["/big"], "client_left", "end")
        t.equal([r.target for r in upstream.requests], ["/held", "/x"], "what the upstream saw")


@test("a half-close right after the request is served in every mode, however long it waits")
def half_closed(t):
    for mode in "queued", "always", "never":
        for unix in False, True:
            for silent in 0.3, 1.5:
                kaproxy, upstream, go, peer, holder = queue_half_closed(t, mode, unix)
                t.check(peer.channel.is_silent(silent), "something arrived")
                go.set()
                t.equal(holder.response().body, b"1 GET /held ", "response of the first")
                t.equal(peer.response().body, b"1 POST /x order", "response")
                t.equal(peer.channel.read_end(), (b"", "eof"), "end")
                kaproxy.stop()
                upstream.close()


@test("also when one event reports the request and the end")
def one_event(t):
    for unix in False, True:
        upstream, go = held(t, "/held")
        kaproxy = begin(t, "queued", upstream, unix)
        peer, holder = client(t, kaproxy), client(t, kaproxy)
        holder.send("GET", "/held")
        upstream.wait_requests(1)
        kaproxy.counters()  # peer is watched by now, and has sent nothing
        kaproxy.signal(signal.SIGSTOP)
        peer.send_last("POST", "/x", body=b"order")
        kaproxy.signal(signal.SIGCONT)
        t.check(peer.channel.is_silent(WHILE), "something arrived")
        go.set()
        t.equal(holder.response().body, b"1 GET /held ", "response of the first")
        t.equal(peer.response().body, b"1 POST /x order", "response")
        kaproxy.stop()


@test("so is the second of two requests that arrived together with it")
def pipelined(t):
    """It is queued again, when a response was acknowledged long after the client's end."""
    for mode in "queued", "always":
        def handler(connection, message):
            if message.target == "/a":
                connection.is_silent(0.4)
            if message.target == "/held":
                go.wait(WAIT_MAX)
            return b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + message.target.encode()[:2]

        go = threading.Event()
        t.callback(go.set)
        upstream = t.own(HttpUpstream(handler))
        kaproxy = begin(t, mode, upstream)
        peer, other = client(t, kaproxy), client(t, kaproxy)
        peer.channel.send_last(request("GET", "/a") + request("GET", "/b"))
        upstream.wait_requests(1)
        other.send("GET", "/held")
        t.equal(peer.response().body, b"/a", "first response")
        upstream.wait_requests(2)
        t.check(peer.channel.is_silent(0.4), "something arrived")
        go.set()
        t.equal(peer.response().body, b"/b", "second response")
        t.equal(other.response().body, b"/h", "the other one's response")


@test("or one after the other, and the first response is acknowledged only while the second waits")
def acknowledged_late(t):
    def handler(connection, message):
        if message.target == "/a":
            connection.is_silent(0.1)
            return response(b"a" * 200_000)
        if message.target == "/held":
            go.wait(WAIT_MAX)
        return response(message.target.encode())

    go = threading.Event()
    t.callback(go.set)
    upstream = t.own(HttpUpstream(handler))
    kaproxy = begin(t, upstream=upstream)
    kaproxy.signal(signal.SIGSTOP)  # the first request is there at once: its client is not watched
    peer = client(t, kaproxy, receive_buffer=4096)
    peer.channel.send(request("GET", "/a"))
    kaproxy.signal(signal.SIGCONT)
    upstream.wait_requests(1)
    other = client(t, kaproxy)
    other.send("GET", "/held")
    peer.channel.send_last(request("GET", "/b"))
    upstream.wait_requests(2)
    t.check(other.channel.is_silent(0.3), "something arrived")
    t.equal(len(peer.response().body), 200_000, "first response")
    t.check(other.channel.is_silent(0.05), "something arrived")
    go.set()
    t.equal(other.response().body, b"/held", "the other one's response")
    t.equal(peer.response().body, b"/b", "second response")


@test("never: a client that left is served, unless it broke its connection")
def never(t):
    for leave in "fin", "reset":
        for silent in WHILE, 1.5:
            kaproxy, upstream, go, peer, holder = queue(t, "never")
            wait_waiting(kaproxy)
            t.check(peer.channel.is_silent(silent), "something arrived")
            getattr(peer.channel, leave)()
            kaproxy.counters()
            go.set()
            t.equal(holder.response().body, b"1 GET /held ", "response of the first")
            ends = {line["target"]: line["end"] for line in kaproxy.wait_sessions(2)}
            if leave == "fin":
                t.equal(peer.response().body, b"1 POST /x order", "response")
                t.equal(ends["/x"], "complete", "end")
            else:
                t.equal(ends["/x"], "client_reset", "end")
                t.equal(len(upstream.requests), 1, "requests")


@test("a reset while it is queued is not a half-close, and never sent, however early it arrived")
def reset(t):
    for mode in "queued", "always":
        kaproxy, upstream, go, peer, holder = queue(t, mode)
        wait_waiting(kaproxy)
        peer.channel.reset()
        t.check(holder.channel.is_silent(WHILE), "something arrived")
        go.set()
        t.equal(holder.response().body, b"1 GET /held ", "response of the first")
        ends = {line["target"]: line["end"] for line in kaproxy.wait_sessions(2)}
        t.equal(ends["/x"], "client_reset", "end")
        t.equal([r.target for r in upstream.requests], ["/held"], "what the upstream saw")


def under_way(t, mode, unix=False):
    upstream, go = held(t, "/held")
    kaproxy = begin(t, mode, upstream, unix)
    peer = client(t, kaproxy)
    peer.send("POST", "/held", body=b"order")
    upstream.wait_requests(1)
    return kaproxy, upstream, go, peer


@test("always: one that leaves while its request is in progress ends that, and the connection")
def leaves_under_way(t):
    for unix in False, True:
        kaproxy, upstream, go, peer = under_way(t, "always", unix)
        t.check(peer.channel.is_silent(WHILE), "something arrived")
        peer.channel.close()
        check_line(t, kaproxy, status="-", end="client_left", from_cache="none")
        t.equal(kaproxy.counters()["discard_client_abort"], 1, "discarded")
        go.set()
        t.equal(one_shot(t, kaproxy, "GET", "/y").body, b"2 GET /y ", "the next one's response")
        kaproxy.stop()


@test("queued, never: such a request continues")
def goes_on(t):
    for mode in "queued", "never":
        kaproxy, upstream, go, peer = under_way(t, mode)
        t.check(peer.channel.is_silent(WHILE), "something arrived")
        peer.channel.fin()
        kaproxy.counters()
        go.set()
        t.equal(peer.response().body, b"1 POST /held order", "response")
        check_line(t, kaproxy, status=200, end="complete")


@test("always: a half-close right after a request that is in progress is served")
def half_closed_under_way(t):
    for unix in False, True:
        upstream, go = held(t, "/held")
        kaproxy = begin(t, "always", upstream, unix)
        for target in "/x", "/held":  # the latter of a client that has been watched for a long time
            peer = client(t, kaproxy)
            if target == "/held":
                t.equal(peer.ask("GET", "/y").status, 200, "status")
                t.check(peer.channel.is_silent(WHILE), "something arrived")
            with kaproxy.paused():  # its own turns decide for a unix socket
                peer.send_last("POST", target, body=b"order")
            if target == "/held":
                t.check(peer.channel.is_silent(1.5), "something arrived")
                go.set()
            t.equal(peer.response().body, b"1 POST %s order" % target.encode(), "response")
            t.equal(peer.channel.read_end(), (b"", "eof"), "end")
        kaproxy.stop()


def trickle(connection):
    """An endless response; it ends with the connection."""
    read_request(connection)
    connection.send(head("HTTP/1.1 200 OK", [("Transfer-Encoding", "chunked")]))
    try:
        while connection.is_silent(0.05):
            connection.send(chunk(b"x"))
    except OSError:
        pass


@test("always: while the response arrives, too; with a half-close it continues")
def in_response(t):
    kaproxy = begin(t, "always", t.own(ScriptedUpstream(trickle)))
    peer = client(t, kaproxy)
    peer.send("GET", "/x")
    peer.channel.read(1000)  # takes seconds
    peer.channel.fin()
    check_line(t, kaproxy, status=200, end="client_left")
    t.equal(kaproxy.counters()["discard_client_abort"], 1, "discarded")
    half = client(t, kaproxy)
    half.send_last("GET", "/y")
    half.channel.read(1000)
    half.channel.reset()
    check_line(t, kaproxy, 2, status=200, end="client_reset", target="/y")


def unread(peer):
    """How many of a client's bytes are in the kernel at kaproxy's side."""
    return receive_queue(peer.channel.socket.getpeername(), peer.channel.socket.getsockname())


@test("always: a half-close after a body that is read long after it, while the response arrives")
def read_later(t):
    def handler(connection):
        read_request(connection, with_body=lambda _: False)
        connection.send(head("HTTP/1.1 200 OK", [("Transfer-Encoding", "chunked")]))
        go.wait(WAIT_MAX)
        for _ in range(8):
            connection.send(chunk(b"x"))
            pause.wait(0.05)
        while size := int(connection.read_line(), 16):
            connection.read(size + 2)
        connection.send(LAST_CHUNK)

    go, pause = threading.Event(), threading.Event()
    t.callback(go.set)
    kaproxy = begin(t, "always", t.own(ScriptedUpstream(handler)), request_buffering="off")
    peer = client(t, kaproxy)
    peer.channel.send(request("POST", "/x", [("Transfer-Encoding", "chunked")]))
    while unread(peer) < 20_000 or peer.channel.is_silent(0.02) and unread(peer) < 20_000:
        peer.channel.send(chunk(b"y" * 30_000))
    peer.channel.send_last(LAST_CHUNK)
    go.set()
    t.equal(peer.response().body, b"x" * 8, "response")
    check_line(t, kaproxy, status=200, end="complete")


main()
