#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: bodies that pass through pipes end where they end, and are truncated where
they are truncated; no byte waits for those after it, and a slow reader holds no connection for the
last of them."""

import contextlib
import os
import sys
import threading

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import SLOW, ScriptedUpstream, WAIT_MAX, main, test, wait_until
from kaptest.http import (Cut, HttpUpstream, client, head, one_shot, read_request, request,
                          response, start)

SIZE = 3_000_000
BODY = os.urandom(SIZE)
ANSWER_HEAD = head("HTTP/1.1 200 OK", [("Content-Length", SIZE)])
REQUEST_HEAD = head("PUT / HTTP/1.1", [("Host", "x"), ("Content-Length", SIZE)])

# Large ones, so that a pipe is taken, and little ones.
PIECES = [SIZE // 3, 100_000, 20_000, 1, 5000, 65536, 300_000, 2]


def pieces():
    """All of BODY."""
    start_at = 0
    for size in [*PIECES, SIZE - sum(PIECES)]:
        yield BODY[start_at:start_at + size]
        start_at += size


def check_spliced(t, kaproxy):
    t.at_least(kaproxy.pipes()["spliced"], 1, "bytes spliced")


@test("what follows a large response reaches no client")
def excess(t):
    upstream = t.own(HttpUpstream(lambda c, m: response(BODY) + response(b"poison")))
    kaproxy = start(t, upstream, pool={"max_per_host": 1})
    peer = client(t, kaproxy)
    for number in 1, 2:
        t.check(peer.ask().body == BODY, "the response is wrong")
        wait_until(lambda n=number: kaproxy.counters()["discard_unread_data"] == n,
                   "the connection to be discarded")
    check_spliced(t, kaproxy)


@test("a response that ends in mid-body: the client sees that it is truncated")
def cut(t):
    for what, end in ("eof", "close"), ("reset", "reset"):
        def script(connection, how=end):
            read_request(connection)
            connection.send(ANSWER_HEAD + BODY[:SIZE // 2])
            getattr(connection, how)()

        upstream = t.own(ScriptedUpstream(script))
        kaproxy = start(t, upstream)
        try:
            client(t, kaproxy).ask()
            t.fail(f"a truncated response passed for complete ({what})")
        except Cut as seen:
            t.equal(seen.end, "eof", f"the client's end ({what})")
            t.check(BODY.startswith(seen.message.body), f"wrong bytes ({what})")
            if what == "eof":
                t.equal(len(seen.message.body), SIZE // 2, "bytes of the body")
        t.check(kaproxy.wait_sessions(1)[0]["end"] in ("upstream_closed", "upstream_reset"), "end")


@test("down: what has arrived is passed on without what is to follow")
def trickle_down(t):
    go = threading.Semaphore(0)

    def script(connection):
        read_request(connection)
        connection.send(ANSWER_HEAD)
        for piece in pieces():
            connection.send(piece)
            t.check(go.acquire(timeout=WAIT_MAX), "the client did not get it")
        connection.read_end()

    upstream = t.own(ScriptedUpstream(script))
    kaproxy = start(t, upstream)
    peer = client(t, kaproxy)
    peer.send()
    while peer.channel.read_line() != b"\r":
        continue
    for piece in pieces():
        t.check(peer.channel.read(len(piece)) == piece, "wrong bytes")
        go.release()
    check_spliced(t, kaproxy)
    kaproxy.wait_idle(1)


@test("up: what has arrived is passed on without what is to follow")
def trickle_up(t):
    go = threading.Semaphore(0)

    def script(connection):
        read_request(connection, with_body=lambda _: False)
        t.check(connection.read(PIECES[0]) == BODY[:PIECES[0]], "wrong bytes")
        go.release()
        for piece in list(pieces())[1:]:
            t.check(connection.read(len(piece)) == piece, "wrong bytes")
            go.release()
        connection.send(response(b"done"))
        connection.read_end()

    upstream = t.own(ScriptedUpstream(script))
    kaproxy = start(t, upstream)
    peer = client(t, kaproxy)
    peer.channel.send(REQUEST_HEAD)
    for piece in pieces():
        peer.channel.send(piece)
        t.check(go.acquire(timeout=WAIT_MAX), "the upstream did not get it")
    t.equal(peer.response().body, b"done", "response")
    check_spliced(t, kaproxy)
    kaproxy.wait_idle(1)


@test("requests with large bodies one after the other")
def pipelined(t):
    upstream = t.own(HttpUpstream(lambda c, m: response(b"%d" % (m.body == BODY))))
    kaproxy = start(t, upstream, pool={"max_per_host": 1})
    peer = client(t, kaproxy)
    peer.method = "PUT"
    sender = threading.Thread(target=peer.channel.send,
                              args=(3 * request("PUT", "/", body=BODY) + request("GET", "/"),))
    sender.start()
    t.equal([peer.response().body for _ in range(4)], [b"1", b"1", b"1", b"0"], "responses")
    sender.join()
    t.equal(upstream.accepted, 1, "connections")
    check_spliced(t, kaproxy)


@test("the upstream responds and ends while the client still sends")
def early(t):
    for how in "close", "reset":
        def script(connection, end=how):
            read_request(connection, with_body=lambda _: False)
            connection.read(SIZE // 2)
            connection.send(response(b"enough", status=413))
            getattr(connection, end)()

        upstream = t.own(ScriptedUpstream(script))
        kaproxy = start(t, upstream)
        peer = client(t, kaproxy)
        peer.channel.send(REQUEST_HEAD + BODY[:SIZE // 2])
        t.check(peer.response().status in ((413,) if how == "close" else (413, 502)), "status")
        kaproxy.wait_sessions(1)
        wait_until(lambda k=kaproxy: k.counters()["busy"] == 0, "the lease to end")


def wait_held(kaproxy, held):
    wait_until(lambda: (p := kaproxy.pipes())["pipes"] - p["pipes_idle"] == held,
               f"{held} pipes that hold bytes")


@test("the client leaves while a pipe holds bytes for the upstream, which sees no complete request")
def client_leaves_up(t):
    seen = []

    def script(connection):
        read_request(connection, with_body=lambda _: False)
        left.wait(WAIT_MAX)
        seen.append(connection.read_end())

    left = threading.Event()
    upstream = t.own(ScriptedUpstream(script, receive_buffer=4096))
    kaproxy = start(t, upstream)
    peer = client(t, kaproxy)
    peer.channel.send(head("PUT / HTTP/1.1", [("Host", "x"), ("Content-Length", 1 << 40)]))
    peer.channel.socket.setblocking(False)

    def send_some():
        with contextlib.suppress(BlockingIOError):
            peer.channel.socket.send(BODY)
        pipes = kaproxy.pipes()
        return pipes["pipes"] > pipes["pipes_idle"]

    wait_until(send_some, "a pipe that holds bytes")
    peer.channel.reset()
    t.equal(kaproxy.wait_sessions(1)[0]["end"], "client_reset", "end")
    wait_held(kaproxy, 0)
    left.set()
    upstream.join()
    t.equal(seen[0][1], "reset", "the upstream's end")


@test("the client leaves while a pipe holds bytes for it")
def client_leaves_down(t):
    def script(connection):
        read_request(connection)
        with contextlib.suppress(OSError):
            connection.send(head("HTTP/1.1 200 OK", [("Content-Length", 1 << 40)]))
            while True:
                connection.send(BODY)

    kaproxy = start(t, t.own(ScriptedUpstream(script)))
    peer = client(t, kaproxy, receive_buffer=4096)
    peer.send()
    wait_held(kaproxy, 1)
    peer.channel.reset()
    t.equal(kaproxy.wait_sessions(1)[0]["end"], "client_reset", "end")
    wait_held(kaproxy, 0)


@test("a slow reader: the end of a body is in the pipe, and the connection free")
def slow(t):
    upstream = t.own(HttpUpstream(lambda c, m: response(BODY if m.target == "/large" else b"x")))
    kaproxy = start(t, upstream, pool={"max_per_host": 1, "timeout": "60s"})
    peer = client(t, kaproxy, receive_buffer=4096)
    peer.send("GET", "/large")
    while peer.channel.read_line() != b"\r":
        continue
    received = b""
    while kaproxy.counters()["idle"] == 0:
        received += peer.channel.read(50_000)
    t.equal(one_shot(t, kaproxy).body, b"x", "the next client's response")
    pipes = kaproxy.pipes()
    if pipes["pipes"] > pipes["pipes_idle"]:  # else the kernel's buffers hold it all
        t.at_most(len(received), SIZE - 200_000, "bytes received when the connection was free")
    received += peer.channel.read(SIZE - len(received))
    t.check(received == BODY, "the response is wrong")
    wait_held(kaproxy, 0)


SIZES = range(400_000, 7_000_001, 1_100_000 if SLOW else 300_000)
LATE = os.urandom(SIZES[-1])


def wait_full(t, kaproxy):
    """No reads: until everything that can be moved is moved, and pipes hold some of it."""
    before, pipes = None, kaproxy.pipes()
    while pipes != before:
        wait_until(kaproxy.is_asleep, "kaproxy to have done what it can")
        before, pipes = pipes, kaproxy.pipes()
    t.at_least(pipes["pipes"] - pipes["pipes_idle"], 1, "pipes that hold bytes")


def wait_all_idle(kaproxy):
    """A small exchange may be over before the next request, and leave it its connection."""
    counters = kaproxy.counters
    wait_until(lambda: (now := counters())["idle"] == now["dials"], "all connections to be idle")


@test("responses of many sizes, read late: whatever pipes hold at the upstream's end, all arrive")
def read_late_down(t):
    upstream = t.own(HttpUpstream(lambda c, m: response(LATE[:int(m.target[1:])])))
    kaproxy = start(t, upstream, pool={"max_per_host": len(SIZES), "keep_alive": "300s"})
    peers = [client(t, kaproxy, receive_buffer=4096) for _ in SIZES]
    for peer, size in zip(peers, SIZES):
        peer.send("GET", f"/{size}")
    upstream.wait_requests(len(SIZES))
    wait_full(t, kaproxy)
    for peer, size in zip(peers, SIZES):
        t.check(peer.response().body == LATE[:size], f"the response of {size} bytes is wrong")
    wait_all_idle(kaproxy)
    wait_held(kaproxy, 0)


@test("requests of many sizes, read late: whatever pipes hold at the client's end, all arrive")
def read_late_up(t):
    go = threading.Event()
    t.callback(go.set)

    def script(connection):
        size = int(read_request(connection, with_body=lambda _: False).target[1:])
        go.wait(WAIT_MAX)
        connection.send(response(b"%d" % (connection.read(size) == LATE[:size])))
        connection.read_end()

    upstream = t.own(ScriptedUpstream(script, receive_buffer=4096))
    kaproxy = start(t, upstream, pool={"max_per_host": len(SIZES), "keep_alive": "300s"})
    peers = [client(t, kaproxy) for _ in SIZES]
    senders = [threading.Thread(target=peer.send, args=("PUT", f"/{size}", (), LATE[:size]))
               for peer, size in zip(peers, SIZES)]
    for sender in senders:
        sender.start()
    upstream.wait_accepted(len(SIZES))
    wait_full(t, kaproxy)
    go.set()
    for peer, size in zip(peers, SIZES):
        t.equal(peer.response().body, b"1", f"response to the request of {size} bytes")
    for sender in senders:
        sender.join()
    wait_all_idle(kaproxy)
    wait_held(kaproxy, 0)


main()
