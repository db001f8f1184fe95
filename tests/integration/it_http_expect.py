#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: Expect: 100-continue is answered by the upstream, or rejected by it."""

import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import main, test
from kaptest.http import HttpUpstream, check_line, client, describe, head, request, response, start

CONTINUE = head("HTTP/1.1 100 Continue")
EXPECT = [("Expect", "100-continue")]
BODY = b"b" * 100_000


def agreeing(connection, message):
    """Sends 100 if it is waited for, and requires the body."""
    if message.get("Expect"):
        connection.send(CONTINUE)
    return True


def waiting_client(t, upstream, **options):
    kaproxy = start(t, upstream)
    peer = client(t, kaproxy)
    peer.send("PUT", "/x", [*EXPECT, ("Content-Length", len(BODY))], **options)
    return kaproxy, peer


@test("passed on: the client sees the upstream's 100 before it sends the body")
def passed(t):
    upstream = t.own(HttpUpstream(with_body=agreeing))
    kaproxy, peer = waiting_client(t, upstream)
    t.equal(peer.response(interim=False).status, 100, "first status")
    peer.channel.send(BODY)
    t.equal(peer.response().body, b"1 PUT /x " + BODY, "response")
    t.equal(upstream.requests[0].get("Expect"), "100-continue", "Expect at the upstream")
    peer.send("GET", "/y")
    t.equal(peer.response().body, b"1 GET /y ", "response to the next request")
    check_line(t, kaproxy, 1, status=200, end="complete")


@test("rejected with 417 or 413: the client sees that, and sends no body; nothing is reused")
def refused(t):
    for status in 417, 413:
        upstream = t.own(HttpUpstream(lambda c, m, s=status: response(b"no", status=s),
                                      with_body=lambda c, m: False))
        kaproxy, peer = waiting_client(t, upstream)
        got = peer.response()
        t.equal((got.status, got.body, got.closes()), (status, b"no", True), "response")
        t.equal(peer.channel.end(), "eof", "end")
        check_line(t, kaproxy, status=status)
        t.equal(kaproxy.counters().get("discard_early_response"), 1, "discarded")


@test("a client that sends its body at once: Expect is not needed and not passed on")
def at_once(t):
    upstream = t.own(HttpUpstream(with_body=agreeing))
    peer = client(t, start(t, upstream))
    peer.channel.send(request("POST", "/x", EXPECT, b"small"))
    t.equal(peer.response().body, b"1 POST /x small", "response")
    t.equal(upstream.requests[0].get("Expect"), None, "Expect at the upstream")


@test("a client that waits in vain for 100 sends its body after all")
def impatient(t):
    kaproxy, peer = waiting_client(t, t.own(HttpUpstream()))
    t.check(peer.channel.is_silent(0.1), "something arrived")
    peer.channel.send(BODY)
    t.equal(peer.response().body, b"1 PUT /x " + BODY, "response")
    kaproxy.wait_idle(1)


@test("HTTP/1.0 knows no expectations: the body is awaited")
def old(t):
    upstream = t.own(HttpUpstream(describe, with_body=agreeing))
    _, peer = waiting_client(t, upstream, version="1.0")
    t.check(peer.channel.is_silent(0.1), "something arrived")
    t.equal(upstream.accepted, 0, "connections before the body")
    peer.channel.send(BODY)
    t.equal(peer.response().body, b"1 PUT /x " + BODY, "response")


@test("an unknown expectation is rejected with 417")
def unknown(t):
    upstream = t.own(HttpUpstream())
    peer = client(t, start(t, upstream))
    t.equal(peer.ask("PUT", "/x", [("Expect", "a-miracle")], b"x").status, 417, "status")
    t.equal(upstream.accepted, 0, "connections")


main()
