#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: the upstream sees the Host that the listener's `host` sets."""

import socket
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import Skip, main, test
from kaptest.http import HttpUpstream, client, head, start


def hosts(t, listener, **options):
    """The Host that arrives for clients that send one, none, and an absolute target."""
    upstream = t.own(HttpUpstream())
    kaproxy = start(t, upstream, listener=listener, **options)
    for data in (head("GET /a HTTP/1.1", [("Host", "Client.test:81")]), head("GET /b HTTP/1.0"),
                 head("GET http://absolute.test:82/c?d HTTP/1.1", [("Host", "other.test")])):
        peer = client(t, kaproxy)
        peer.channel.send(data)
        t.equal(peer.response().status, 200, "status")
    t.equal([r.target for r in upstream.requests], ["/a", "/b", "/c?d"], "targets")
    return upstream, [r.get("Host") for r in upstream.requests]


@test("host = upstream, the default: the endpoint's authority")
def from_upstream(t):
    for listener in {}, {"host": "upstream"}:
        upstream, seen = hosts(t, listener)
        t.equal(seen, [f"127.0.0.1:{upstream.port}"] * 3, "Host")


@test("host = upstream, and that has a scope: the scope stays here")
def scope(t):
    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError as error:
        raise Skip(f"no IPv6 here: {error}") from None
    upstream = t.own(HttpUpstream(listener=listener))
    kaproxy = t.kaproxy(f"http://[::1%lo]:{upstream.port}", reuse=None)
    t.equal(client(t, kaproxy).ask().status, 200, "status")
    t.equal(upstream.requests[0].get("Host"), f"[::1]:{upstream.port}", "Host")


@test("host = client: as received, an absolute target's, or the endpoint's if there is none")
def from_client(t):
    upstream, seen = hosts(t, {"host": "client"})
    t.equal(seen, ["Client.test:81", f"127.0.0.1:{upstream.port}", "absolute.test:82"], "Host")


@test("a literal")
def literal(t):
    _, seen = hosts(t, {"host": "api.example.com"})
    t.equal(seen, ["api.example.com"] * 3, "Host")


@test("absolute-form without a path, and OPTIONS of it")
def no_path(t):
    upstream = t.own(HttpUpstream())
    peer = client(t, start(t, upstream))
    for method, target, wanted in (("GET", "http://h.test", "/"), ("GET", "http://h.test?q", "/?q"),
                                   ("OPTIONS", "http://h.test", "*"), ("OPTIONS", "*", "*")):
        t.equal(peer.ask(method, target).status, 200, f"status of {method} {target}")
        t.equal(upstream.requests[-1].target, wanted, f"target of {method} {target}")


main()
