#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: what an upstream sends beyond its response reaches no client."""

import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import ScriptedUpstream, main, test, wait_until
from kaptest.http import (HttpUpstream, client, head, one_shot, read_request, response,
                          response_chunked, start)

POISON = response(b"poison")
ANSWERS = {
    "with a length": response(b"good"),
    "chunked": response_chunked(b"go", b"od"),
    "without a body": response(status=204),
    "an error": response(b"good", status=500),
}


@test("together with the response, whatever its framing")
def together(t):
    for what, reply in ANSWERS.items():
        upstream = t.own(HttpUpstream(lambda c, m, r=reply: r + POISON))
        kaproxy = start(t, upstream, pool={"max_per_host": 1})
        for number in 1, 2, 3:
            got = client(t, kaproxy).ask()
            t.check(got.body in (b"good", b""), f"{what}: {got.body!r}")
            t.equal(upstream.accepted, number, f"connections, {what}")
        t.equal(kaproxy.counters().get("discard_unread_data"), 3, f"discarded, {what}")


@test("a body of HEAD or 304, which must not have one")
def bodies(t):
    for method, status in ("HEAD", 200), ("GET", 304):
        reply = head(f"HTTP/1.1 {status} x", [("Content-Length", len(POISON))]) + POISON
        upstream = t.own(HttpUpstream(lambda c, m, r=reply: r))
        kaproxy = start(t, upstream)
        peer = client(t, kaproxy)
        for _ in range(2):
            got = peer.ask(method, "/x")
            t.equal((got.status, got.body), (status, b""), "response")
        t.equal(upstream.accepted, 2, "connections")


@test("later, on the idle connection")
def later(t):
    upstream = t.own(HttpUpstream(lambda c, m: response(b"%d" % c.number)))
    kaproxy = start(t, upstream)
    t.equal(one_shot(t, kaproxy).body, b"1", "first response")
    kaproxy.wait_idle(1)
    upstream.connections[0].send(POISON)
    wait_until(lambda: kaproxy.counters()["idle"] == 0, "the connection to be closed")
    t.equal(one_shot(t, kaproxy).body, b"2", "second response")
    t.equal(kaproxy.counters().get("discard_unread_data"), 1, "discarded")


@test("at the moment of the next client's request: its request goes to a new connection")
def race(t):
    upstream = t.own(HttpUpstream(lambda c, m: response(b"%d" % c.number)))
    kaproxy = start(t, upstream)
    t.equal(one_shot(t, kaproxy).body, b"1", "first response")
    kaproxy.wait_idle(1)
    peer = client(t, kaproxy)
    with kaproxy.paused():
        upstream.connections[0].send(POISON)
        peer.send("POST", "/", body=b"x")
    t.equal(peer.response().body, b"2", "second response")
    t.equal(kaproxy.counters().get("discard_unread_data"), 1, "discarded")


@test("a second response while the first request's client still sends its body")
def early(t):
    def script(connection):
        read_request(connection, with_body=lambda _: False)
        connection.send(response(b"good") + POISON)
        connection.read_end()

    upstream = t.own(ScriptedUpstream(script))
    kaproxy = start(t, upstream)
    for number in 1, 2:
        peer = client(t, kaproxy)
        peer.channel.send(head("POST / HTTP/1.1", [("Host", "h"), ("Content-Length", 200_000)]))
        peer.channel.send(b"x" * 150_000)
        t.equal(peer.response().body, b"good", "response")
        t.equal(upstream.accepted, number, "connections")


main()
