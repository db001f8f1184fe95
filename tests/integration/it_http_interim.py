#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: interim responses reach HTTP/1.1 clients, all of them, and no HTTP/1.0
client."""

import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import main, test
from kaptest.http import HttpUpstream, client, describe, head, one_shot, response, start

HINTS = head("HTTP/1.1 103 Early Hints", [("Link", "</a.css>; rel=preload"), ("Keep-Alive", "x")])
PROCESSING = head("HTTP/1.1 102 Processing")


def hinting(connection, message):
    connection.send(HINTS + PROCESSING)
    return HINTS + describe(connection, message)


@test("several, and the final response after them")
def several(t):
    upstream = t.own(HttpUpstream(hinting))
    peer = client(t, start(t, upstream))
    for target in "/a", "/b":
        got = peer.ask("GET", target)
        t.equal([m.status for m in got.interim], [103, 102, 103], "interim statuses")
        t.equal(got.interim[0].fields, [("Link", "</a.css>; rel=preload")], "fields of 103")
        t.equal(got.body, f"1 GET {target} ".encode(), "final response")


@test("one is passed on before the final response arrives")
def at_once(t):
    upstream = t.upstream()
    peer = client(t, start(t, upstream))
    peer.send()
    connection = upstream.wait_accepted(1)
    connection.read(10)
    connection.send(HINTS)
    t.equal(peer.response(interim=False).status, 103, "first status")
    connection.send(response(b"x"))
    t.equal(peer.response().body, b"x", "final response")


@test("HTTP/1.0 sees only the final response")
def old(t):
    kaproxy = start(t, t.own(HttpUpstream(hinting)))
    for _ in range(2):
        got = one_shot(t, kaproxy, "GET", "/a")
        t.equal(([m.status for m in got.interim], got.body), ([], b"1 GET /a "), "response")


@test("a thousand of them cost no memory and are all passed on")
def flood(t):
    upstream = t.own(HttpUpstream(lambda c, m: HINTS * 1000 + response(b"x")))
    got = client(t, start(t, upstream)).ask()
    t.equal((len(got.interim), got.body), (1000, b"x"), "interim responses, and the final one")


@test("an unrequested 101 is a protocol error")
def switching(t):
    reply = head("HTTP/1.1 101 Switching Protocols", [("Upgrade", "websocket"),
                                                      ("Connection", "upgrade")])
    kaproxy = start(t, t.own(HttpUpstream(lambda c, m: reply)))
    got = client(t, kaproxy).ask()
    t.equal(got.status, 502, "status")
    t.check(b"101" in got.body, f"the text does not name the rule: {got.body!r}")


main()
