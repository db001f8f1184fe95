#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: `forwarded` passes the client's address to the upstream, after those of
others."""

import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import main, test
from kaptest.http import HttpUpstream, client, start

BEFORE = [("X-Forwarded-For", "192.0.2.1"), ("X-Forwarded-For", "192.0.2.2"),
          ("Forwarded", "for=192.0.2.3;proto=https")]


def seen(t, value, fields, listen="127.0.0.1:{port}"):
    """The two fields as they arrive."""
    upstream = t.own(HttpUpstream())
    kaproxy = start(t, upstream, listener={"forwarded": value}, listen=listen)
    t.equal(client(t, kaproxy).ask(fields=fields).status, 200, "status")
    message = upstream.requests[0]
    return message.all("X-Forwarded-For"), message.all("Forwarded")


@test("off, the default: what the client sent")
def off(t):
    for value in None, "off":
        t.equal(seen(t, value, BEFORE), (["192.0.2.1", "192.0.2.2"], ["for=192.0.2.3;proto=https"]),
                "fields")
        t.equal(seen(t, value, []), ([], []), "fields, none sent")


@test("x-forwarded-for")
def x_forwarded_for(t):
    t.equal(seen(t, "x-forwarded-for", []), (["127.0.0.1"], []), "fields, none sent")
    t.equal(seen(t, "x-forwarded-for", BEFORE),
            (["192.0.2.1, 192.0.2.2, 127.0.0.1"], ["for=192.0.2.3;proto=https"]), "fields")
    t.equal(seen(t, "x-forwarded-for", [], "[::1]:{port}"), (["::1"], []), "fields for IPv6")


@test("forwarded, RFC 7239")
def forwarded(t):
    t.equal(seen(t, "forwarded", []), ([], ["for=127.0.0.1"]), "fields, none sent")
    t.equal(seen(t, "forwarded", BEFORE),
            (["192.0.2.1", "192.0.2.2"], ["for=192.0.2.3;proto=https, for=127.0.0.1"]), "fields")
    t.equal(seen(t, "forwarded", [], "[::1]:{port}"), ([], ['for="[::1]"']), "fields for IPv6")


@test("a client on a unix socket has no address")
def unix(t):
    listen = f"unix:{t.folder}/socket"
    t.equal(seen(t, "forwarded", [], listen), ([], ["for=unknown"]), "Forwarded")


main()
