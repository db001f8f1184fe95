#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: a client that ends its direction still gets its responses, and one that leaves
in mid-exchange costs the upstream's connection, but never another client's response."""

import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import main, test, wait_until
from kaptest.http import HttpUpstream, check_line, client, held, one_shot, request, response, start


@test("half-closed after the request, while the response is awaited: it arrives")
def half_closed(t):
    for version in "1.0", "1.1":
        upstream, go = held(t, "/held")
        kaproxy = start(t, upstream)
        peer = client(t, kaproxy)
        peer.send("GET", "/held", version=version)
        upstream.wait_requests(1)
        peer.channel.fin()
        t.check(peer.channel.is_silent(0.1), "something arrived")
        go.set()
        t.equal(peer.response().body, b"1 GET /held ", "response")
        t.equal(peer.channel.read_end(), (b"", "eof"), "end")
        check_line(t, kaproxy, status=200, end="complete")
        kaproxy.wait_idle(1)


@test("half-closed together with the request, with a body as well")
def at_once(t):
    kaproxy = start(t, t.own(HttpUpstream()))
    for method, body in ("GET", None), ("POST", b"x" * 300_000):
        peer = client(t, kaproxy)
        peer.send_last(method, "/x", body=body)
        t.equal(peer.response().body, b"1 %s /x " % method.encode() + (body or b""), "response")
        t.equal(peer.channel.read_end(), (b"", "eof"), "end")


@test("half-closed while its kernel still holds the response: no reset destroys it")
def response_on_its_way(t):
    size = 200_000
    kaproxy = start(t, t.own(HttpUpstream(lambda c, m: response(b"x" * size))))
    peer = client(t, kaproxy, receive_buffer=4096)
    peer.send()
    kaproxy.wait_sessions(1)
    peer.channel.fin()
    kaproxy.counters()  # it has had a turn since
    t.equal(peer.response().body, b"x" * size, "response")
    t.equal(peer.channel.read_end(), (b"", "eof"), "end")


@test("the same after a second request that is incomplete")
def half_of_another(t):
    size = 200_000
    kaproxy = start(t, t.own(HttpUpstream(lambda c, m: response(b"x" * size))))
    peer = client(t, kaproxy, receive_buffer=4096)
    peer.channel.send_last(request() + b"GET / HT")
    kaproxy.wait_sessions(2)
    t.equal(peer.response().body, b"x" * size, "response")
    t.equal(peer.channel.read_end(), (b"", "eof"), "end")


@test("a reset while the response is awaited: the connection is discarded, the client logged")
def awaiting(t):
    upstream, _ = held(t, "/held")
    kaproxy = start(t, upstream)
    peer = client(t, kaproxy)
    peer.send("GET", "/held")
    upstream.wait_requests(1)
    peer.channel.reset()
    check_line(t, kaproxy, status="-", target="/held", end="client_reset", from_cache="none")
    t.equal(kaproxy.counters().get("discard_client_abort"), 1, "discarded")
    t.equal(one_shot(t, kaproxy).body, b"2 GET / ", "the next client's response")


@test("a reset in the middle of the response")
def in_response(t):
    kaproxy = start(t, t.own(HttpUpstream(lambda c, m: response(b"x" * int(m.target[1:])))))
    peer = client(t, kaproxy)
    peer.send("GET", "/20000000")
    peer.channel.read(100_000)
    peer.channel.reset()
    check_line(t, kaproxy, status=200, end="client_reset")
    t.equal(kaproxy.counters().get("discard_client_abort"), 1, "discarded")
    t.equal(one_shot(t, kaproxy, "GET", "/3").body, b"xxx", "the next client's response")


@test("an end in the middle of a large body: the upstream never accepts it as complete")
def in_body(t):
    for leave in "fin", "reset":
        upstream = t.own(HttpUpstream())
        kaproxy = start(t, upstream)
        peer = client(t, kaproxy)
        peer.channel.send(request("PUT", "/x", body=b"x" * 300_000)[:-1])
        wait_until(lambda: kaproxy.counters()["busy"] == 1, "the request to have a connection")
        getattr(peer.channel, leave)()
        line = check_line(t, kaproxy, status="-", method="PUT")
        t.check(line["end"] in ("client_left", "client_reset"), f"end={line['end']}")
        t.equal(upstream.requests, [], "requests that the upstream accepted as complete")
        t.equal(kaproxy.counters().get("discard_client_abort"), 1, "discarded")
        upstream.close()


@test("a reset while it is idle, after its response: nothing to log, the connection stays")
def idle(t):
    kaproxy = start(t, t.own(HttpUpstream()))
    for leave in "reset", "fin", "close":
        peer = client(t, kaproxy)
        t.equal(peer.ask().body, b"1 GET / ", "response")
        getattr(peer.channel, leave)()
    one_shot(t, kaproxy)
    t.equal([line["end"] for line in kaproxy.wait_sessions(4)], ["complete"] * 4, "ends")
    t.equal(kaproxy.counters()["idle"], 1, "idle connections")


main()
