#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: SIGTERM lets exchanges finish and ends idle clients at once."""

import signal
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import main, test, wait_until
from kaptest.http import HttpUpstream, check_line, client, held, request, response, start


def start_held(t, **options):
    upstream, go = held(t, "/held")
    return upstream, start(t, upstream, **options), go


def terminate(kaproxy):
    """Sends SIGTERM, and waits until it was received."""
    kaproxy.signal(signal.SIGTERM)

    def refuses():
        try:
            kaproxy.connect().close()
            return False
        except ConnectionError:
            return True
    wait_until(refuses, "kaproxy to stop listening")


@test("clients between two requests, or before the first: an orderly end at once, then exit")
def idle(t):
    _, kaproxy, _ = start_held(t)
    peers = [client(t, kaproxy) for _ in range(3)]
    for peer in peers[1:]:
        t.equal(peer.ask().status, 200, "status")
    kaproxy.stop(timeout=10)
    for peer in peers:
        t.equal(peer.channel.read_end(), (b"", "eof"), "end")


@test("an exchange in progress: it gets its response, with Connection: close, and then the end")
def exchanging(t):
    upstream, kaproxy, go = start_held(t)
    peer, bystander = client(t, kaproxy), client(t, kaproxy)
    t.equal(bystander.ask().status, 200, "status of a client that is idle then")
    peer.send("GET", "/held")
    upstream.wait_requests(2)
    terminate(kaproxy)
    t.equal(bystander.channel.read_end(), (b"", "eof"), "end of the idle client")
    t.check(kaproxy.is_running(), "kaproxy did not wait")
    go.set()
    got = peer.response()
    t.equal((got.body, got.closes()), (b"1 GET /held ", True), "response")
    t.equal(peer.channel.read_end(), (b"", "eof"), "end")
    kaproxy.wait_exit(10)
    check_line(t, kaproxy, 2, status=200, end="complete")


@test("a request that is just being sent is served")
def sending(t):
    _, kaproxy, _ = start_held(t)
    peer = client(t, kaproxy)
    data = request("POST", "/x", body=b"hello")
    peer.channel.send(data[:-3])
    t.check(peer.channel.is_silent(0.1), "something arrived")
    terminate(kaproxy)
    peer.channel.send(data[-3:])
    got = peer.response()
    t.equal((got.body, got.closes()), (b"1 POST /x hello", True), "response")
    kaproxy.wait_exit(10)


@test("requests in the queue are served")
def queue(t):
    upstream, kaproxy, go = start_held(t, pool={"max_per_host": 1})
    peers = [client(t, kaproxy) for _ in range(3)]
    peers[0].send("GET", "/held")
    upstream.wait_requests(1)
    for peer in peers[1:]:
        peer.send("GET", "/x")
        t.check(peer.channel.is_silent(0.05), "something arrived")
    terminate(kaproxy)
    go.set()
    t.equal([peer.response().body for peer in peers],
            [b"1 GET /held ", b"1 GET /x ", b"1 GET /x "], "responses")
    kaproxy.wait_exit(10)


@test("shutdown_timeout ends the rest: the client sees that")
def cut(t):
    upstream = t.own(HttpUpstream(lambda c, m: response(b"x" * 10)[:-5]))
    kaproxy = start(t, upstream, main={"shutdown_timeout": "500ms"})
    peer = client(t, kaproxy)
    peer.send()
    peer.channel.read_line()
    terminate(kaproxy)
    t.equal(peer.channel.read_end()[1], "reset", "end")
    kaproxy.wait_exit(10)
    check_line(t, kaproxy, status=200, end="shutdown")


main()
