#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: chunked bodies reach each client and upstream in a coding it understands."""

import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import main, test
from kaptest.http import (HttpUpstream, chunked, client, describe, head, one_shot, response_chunked,
                          start)

PARTS = b"a", b"bc" * 5000, b"d" * 300_000
BODY = b"".join(PARTS)
CHUNKED = [("Transfer-Encoding", "chunked")]


@test("a response: chunked for HTTP/1.1, decoded and ended by the connection's end for HTTP/1.0")
def responses(t):
    upstream = t.own(HttpUpstream(lambda c, m: response_chunked(*PARTS)))
    kaproxy = start(t, upstream)
    peer = client(t, kaproxy)
    for _ in range(2):
        got = peer.ask()
        t.equal((got.get("Transfer-Encoding"), got.body), ("chunked", BODY), "response to HTTP/1.1")
    for fields in [], [("Connection", "keep-alive")]:
        got = one_shot(t, kaproxy, fields=fields)
        t.equal(got.body, BODY, "body for HTTP/1.0")
        t.equal(got.names() & {"transfer-encoding", "content-length"}, set(), "its framing")
        t.equal(got.get("Connection"), "close", "its connection")
    t.equal(upstream.accepted, 1, "connections")


@test("a response's trailer: passed on to HTTP/1.1, left out for HTTP/1.0; framing fields never")
def trailers(t):
    trailer = [("X-Sum", "42"), ("Content-Length", "7"), ("Transfer-Encoding", "chunked")]
    upstream = t.own(HttpUpstream(lambda c, m: response_chunked(b"x", trailer=trailer,
                                                                fields=[("Trailer", "X-Sum")])))
    kaproxy = start(t, upstream)
    got = client(t, kaproxy).ask()
    t.equal((got.body, got.trailer, got.get("Trailer")), (b"x", [("X-Sum", "42")], "X-Sum"),
            "response to HTTP/1.1")
    got = one_shot(t, kaproxy)
    t.equal((got.body, got.get("Trailer")), (b"x", None), "response to HTTP/1.0")
    t.equal(upstream.accepted, 1, "connections")


@test("chunk extensions are not passed on; sizes may have leading zeros")
def extensions(t):
    body = b'0003;a=b; c="d;\\"e"\r\nabc\r\n00;x\r\n\r\n'
    upstream = t.own(HttpUpstream(lambda c, m: head("HTTP/1.1 200 OK", CHUNKED) + body))
    peer = client(t, start(t, upstream))
    t.equal([peer.ask().body for _ in range(2)], [b"abc", b"abc"], "responses")


@test("a response that arrives byte by byte")
def bytewise(t):
    def slowly(connection, _message):
        for byte in response_chunked(b"hello", b"world", trailer=[("X-Sum", "1")]):
            connection.send(bytes([byte]))
        return b""

    kaproxy = start(t, t.own(HttpUpstream(slowly)))
    for _ in range(2):
        got = client(t, kaproxy).ask()
        t.equal((got.body, got.trailer), (b"helloworld", [("X-Sum", "1")]), "HTTP/1.1")
        t.equal(one_shot(t, kaproxy).body, b"helloworld", "HTTP/1.0")


@test("a small request is sent with its length, a large one chunked, as it arrives")
def requests(t):
    upstream = t.own(HttpUpstream())
    peer = client(t, start(t, upstream))
    for parts, framing in (PARTS[:2], "content-length"), (PARTS, "transfer-encoding"):
        body = b"".join(parts)
        got = peer.ask("POST", "/x", CHUNKED, chunked(*parts))
        t.equal(got.body, b"1 POST /x " + body, "response")
        names = upstream.requests[-1].names() & {"content-length", "transfer-encoding"}
        t.equal(names, {framing}, f"framing of {len(body)} bytes")


@test("a request's trailer is passed on, chunked; without one it is not")
def request_trailers(t):
    upstream = t.own(HttpUpstream())
    peer = client(t, start(t, upstream))
    for size in 5, 100_000:
        body = b"x" * size
        trailer = [("X-Sum", "1"), ("Host", "evil"), ("Content-Length", "3")]
        got = peer.ask("POST", "/x", CHUNKED, chunked(body, trailer=trailer))
        t.equal(got.body, b"1 POST /x " + body, "response")
        t.equal(upstream.requests[-1].trailer, [("X-Sum", "1")], f"trailer after {size} bytes")


@test("the upstream's connection survives bodies of all framings in turn")
def mixed(t):
    upstream = t.own(HttpUpstream(lambda c, m: response_chunked(m.body or b"-")
                                  if m.target == "/c" else describe(c, m)))
    peer = client(t, start(t, upstream))
    for number in range(30):
        size = (0, 1, 65_536, 65_537, 131_072)[number % 5]
        body = b"y" * size
        if number % 2:
            got = peer.ask("POST", "/c", CHUNKED, chunked(*([body] if body else [])))
            t.equal(got.body, body or b"-", "chunked response")
        else:
            t.equal(peer.ask("POST", "/l", body=body).body, b"1 POST /l " + body, "response")
    t.equal(upstream.accepted, 1, "connections")


main()
