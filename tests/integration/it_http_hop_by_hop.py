#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: fields for a single hop end at kaproxy, in both directions; others pass."""

import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import main, test
from kaptest.http import HttpUpstream, client, one_shot, response, start

HOP = [("Connection", "keep-alive, X-Private"), ("X-Private", "secret"), ("Keep-Alive", "max=9"),
       ("Proxy-Connection", "keep-alive"), ("TE", "trailers"), ("Upgrade", "h2c")]
KEPT = [("X-Public", "a,  b"), ("Cookie", "c=1"), ("cookie", "d=2"), ("Accept", ""),
        ("Authorization", "Basic x"), ("X-Octets", "\xe4\xf6")]


@test("of a request; the upstream is never asked to close")
def requests(t):
    upstream = t.own(HttpUpstream())
    kaproxy = start(t, upstream)
    t.equal(client(t, kaproxy).ask(fields=HOP + KEPT).status, 200, "status")
    t.equal(client(t, kaproxy).ask(fields=HOP + KEPT, version="1.0").status, 200, "HTTP/1.0")
    one_shot(t, kaproxy, version="1.1", fields=KEPT)
    for message in upstream.requests:
        t.equal(message.version, "1.1", "version")
        t.equal(sorted(message.fields), sorted([("Host", f"127.0.0.1:{upstream.port}"), *KEPT]),
                "fields")
    t.equal(upstream.accepted, 1, "connections")


@test("of a response; Connection is about the client's own")
def responses(t):
    kept = [("X-Public", "a,  b"), ("Set-Cookie", "c=1"), ("Set-Cookie", "d=2"), ("Date", "today"),
            ("X-Octets", "\xe4")]
    upstream = t.own(HttpUpstream(lambda c, m: response(b"x", HOP + kept)))
    kaproxy = start(t, upstream)
    wanted = sorted([("Content-Length", "1"), *kept])
    t.equal(sorted(client(t, kaproxy).ask().fields), wanted, "fields for HTTP/1.1")
    got = one_shot(t, kaproxy)
    t.equal(sorted(got.fields), sorted([("Connection", "close"), *wanted]), "fields for HTTP/1.0")
    got = client(t, kaproxy).ask(fields=[("Connection", "keep-alive")], version="1.0")
    t.equal(got.get("Connection"), "keep-alive", "Connection for HTTP/1.0 with keep-alive")
    t.equal(upstream.accepted, 1, "connections")


@test("an upstream that says close is believed, the client's connection stays")
def closing(t):
    upstream = t.own(HttpUpstream(lambda c, m: response(b"%d" % c.number, [("Connection", "close")])))
    kaproxy = start(t, upstream)
    peer = client(t, kaproxy)
    t.equal([peer.ask().body for _ in range(3)], [b"1", b"2", b"3"], "connections")
    t.equal(kaproxy.counters()["discard_not_reusable"], 3, "discarded")


@test("HTTP/1.0 upstreams: no keep-alive unless they say so")
def old_upstreams(t):
    for fields, wanted in ([], [b"1", b"2"]), ([("Connection", "keep-alive")], [b"1", b"1"]):
        upstream = t.own(HttpUpstream(
            lambda c, m, f=fields: response(b"%d" % c.number, f, version="1.0")))
        peer = client(t, start(t, upstream))
        t.equal([peer.ask().body for _ in range(2)], wanted, f"connections with {fields}")


@test("a response without Date gets one")
def date(t):
    got = client(t, start(t, t.own(HttpUpstream()))).ask()
    t.check((got.get("Date") or "").endswith(" GMT"), f"Date: {got.get('Date')}")


@test("reuse = never: every exchange has a new connection")
def never(t):
    upstream = t.own(HttpUpstream())
    kaproxy = start(t, upstream, reuse="never")
    peer = client(t, kaproxy)
    t.equal([peer.ask().body[:1] for _ in range(3)], [b"1", b"2", b"3"], "connections")
    t.equal(kaproxy.counters()["discard_not_reusable"], 3, "discarded")


main()
