#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: a client that gets no connection gets a response that says why."""

import sys
import time

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import Blackhole, ReservedPort, main, test
from kaptest.http import HttpUpstream, check_line, client, held, one_shot, request, start


def check_response(t, got, status, words):
    t.equal((got.status, got.get("Content-Type"), got.closes()), (status, "text/plain", True),
            "response")
    for word in words:
        t.check(word.encode() in got.body, f"{word!r} is not in {got.body!r}")


@test("refused: 502, in all versions; HEAD without the text")
def refused(t):
    port = t.own(ReservedPort())
    kaproxy = start(t, port)
    for version in "1.1", "1.0":
        got = one_shot(t, kaproxy, "POST", "/x", body=b"x" * 100_000, version=version)
        check_response(t, got, 502, ["connect", "Connection refused"])
    line = check_line(t, kaproxy, 2, status=502, end="alloc_failed", from_cache="-",
                      function="connect", errno=111, error="Connection refused", target="/x")
    t.equal(line["bytes_up"], "0", "bytes_up")
    got = one_shot(t, kaproxy, "HEAD", "/x")
    t.equal((got.status, got.body), (502, b""), "response to HEAD")
    t.at_least(int(got.get("Content-Length")), 10, "its length")


@test("refused, and then not: the next client is served")
def comes_up(t):
    port = t.own(ReservedPort())
    kaproxy = start(t, port)
    t.equal(one_shot(t, kaproxy).status, 502, "status of the first")
    t.own(HttpUpstream(listener=port.socket))
    t.equal(one_shot(t, kaproxy).status, 200, "status of the second")


@test("a name that does not resolve: 502 that names resolve")
def name(t):
    upstream = t.kaproxy("http://no-such-host.invalid:80", reuse=None)
    check_response(t, one_shot(t, upstream), 502, ["resolve"])


@test("a black hole: 504 after timeout")
def black_hole(t):
    kaproxy = start(t, t.own(Blackhole()), pool={"timeout": "400ms"})
    started = time.monotonic()
    check_response(t, one_shot(t, kaproxy), 504, ["connect: no connection within timeout = 400 ms"])
    t.at_least(time.monotonic() - started, 0.3, "seconds until the response")
    check_line(t, kaproxy, status=504, end="alloc_failed", function="connect", errno=110)


@test("too many waiting: 503 with Retry-After; those in the queue are served")
def too_many(t):
    upstream, go = held(t)
    kaproxy = start(t, upstream, pool={"max_per_host": 1, "max_waiting": 2, "timeout": "30s"})
    peers = [client(t, kaproxy)]
    peers[0].send("GET", "/0")
    upstream.wait_requests(1)
    for number in 1, 2:
        peers.append(client(t, kaproxy))
        peers[number].send("GET", f"/{number}")
        t.check(peers[number].channel.is_silent(0.05), "something arrived")
    got = one_shot(t, kaproxy, "GET", "/3")
    check_response(t, got, 503, ["allocate: too many waiting (max_waiting = 2)"])
    t.at_least(int(got.get("Retry-After")), 1, "Retry-After")
    go.set()
    for number, peer in enumerate(peers):
        t.equal(peer.response().body, f"1 GET /{number} ".encode(), "response")
    t.equal(upstream.accepted, 1, "connections")


@test("requests pipelined after the failed one are not served, and the response arrives")
def pipelined(t):
    kaproxy = start(t, t.own(ReservedPort()))
    peer = client(t, kaproxy)
    peer.channel.send(request("GET", "/a") + request("GET", "/b"))
    t.equal(peer.response().status, 502, "status")
    t.equal(peer.channel.end(), "eof", "end")
    kaproxy.stop()
    t.equal(len(kaproxy.sessions()), 1, "lines of the access log")


@test("a client that leaves while it waits ends its request")
def leaves(t):
    upstream, go = held(t)
    kaproxy = start(t, upstream, pool={"max_per_host": 1, "timeout": "30s"})
    first, second = client(t, kaproxy), client(t, kaproxy)
    first.send("GET", "/first")
    upstream.wait_requests(1)
    second.send("GET", "/second")
    t.check(second.channel.is_silent(0.05), "something arrived")
    t.equal(kaproxy.counters()["waiting"], 1, "waiting clients")
    second.channel.reset()
    line = check_line(t, kaproxy, target="/second", end="client_reset", status="-", from_cache="-",
                      conn="-", uses="-", addr="-")
    t.at_least(float(line["wait_ms"]), 40, "wait_ms")
    t.equal(kaproxy.counters()["waiting"], 0, "waiting clients")
    go.set()
    t.equal(first.response().status, 200, "status of the first")
    t.equal(len(upstream.requests), 1, "requests")


main()
