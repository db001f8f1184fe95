#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: responses without a body (HEAD, 204, 304) end with their header, whatever it
says, and the connection is reused."""

import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import main, test
from kaptest.http import HttpUpstream, client, head, one_shot, response, start

REPLIES = {
    "/204": response(status=204),
    "/304": response(status=304, fields=[("Content-Length", 1234), ("ETag", '"x"')]),
    "/304-chunked": response(status=304, fields=[("Transfer-Encoding", "chunked")]),
    "/empty": response(b""),
}
HEADS = {
    "/length": head("HTTP/1.1 200 OK", [("Content-Length", 5_000_000_000)]),
    "/chunked": head("HTTP/1.1 200 OK", [("Transfer-Encoding", "chunked")]),
    "/nothing": head("HTTP/1.1 200 OK"),
}


def reply(_connection, message):
    return (HEADS if message.method == "HEAD" else REPLIES)[message.target]


def check(t, ask):
    for target, (method, table) in ({k: ("GET", REPLIES) for k in REPLIES} |
                                    {k: ("HEAD", HEADS) for k in HEADS}).items():
        got = ask(method, target)
        t.equal(got.body, b"", f"body of {method} {target}")
        t.check(got.first_line.encode() in table[target], f"{method} {target}: {got.first_line}")
        if method == "HEAD":
            wanted = "5000000000" if target == "/length" else None
            t.equal(got.get("Content-Length"), wanted, f"length in response to HEAD {target}")


@test("on one client connection")
def kept(t):
    upstream = t.own(HttpUpstream(reply))
    peer = client(t, start(t, upstream))
    check(t, peer.ask)
    t.equal(upstream.accepted, 1, "connections")


@test("to one-shot clients of HTTP/1.0, on one upstream connection")
def old(t):
    upstream = t.own(HttpUpstream(reply))
    kaproxy = start(t, upstream)
    check(t, lambda method, target: one_shot(t, kaproxy, method, target))
    t.equal(upstream.accepted, 1, "connections")


@test("a request without a body in any method, and one with Content-Length: 0")
def requests(t):
    upstream = t.own(HttpUpstream())
    peer = client(t, start(t, upstream))
    for method in "DELETE", "OPTIONS", "PATCH", "PURGE":
        t.equal(peer.ask(method, "/x").body, f"1 {method} /x ".encode(), "response")
    t.equal(peer.ask("POST", "/x", body=b"").body, b"1 POST /x ", "response to an empty POST")
    t.equal(upstream.requests[-1].get("Content-Length"), "0", "length of an empty POST")
    t.equal(upstream.requests[0].names(), {"host"}, "fields of a DELETE")


main()
