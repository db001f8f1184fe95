#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: requests that a client sends without waiting are served in order."""

import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import main, test
from kaptest.http import HttpUpstream, chunked, client, held, request, start


def check_responses(t, peer, wanted):
    for body in wanted:
        t.equal(peer.response().body, body, "response")


@test("a hundred at once, with bodies of both framings between them")
def hundred(t):
    upstream = t.own(HttpUpstream())
    kaproxy = start(t, upstream)
    peer = client(t, kaproxy)
    sent, wanted = [], []
    for number in range(100):
        body = b"body %d" % number
        if number % 3 == 0:
            sent.append(request("GET", f"/{number}"))
            wanted.append(f"1 GET /{number} ".encode())
            continue
        if number % 3 == 1:
            sent.append(request("POST", f"/{number}", body=body))
        else:
            sent.append(request("POST", f"/{number}", [("Transfer-Encoding", "chunked")],
                                chunked(body[:2], body[2:])))
        wanted.append(f"1 POST /{number} ".encode() + body)
    peer.channel.send(b"".join(sent))
    check_responses(t, peer, wanted)
    t.equal(upstream.accepted, 1, "connections")


@test("the second request waits for the first response, even while other connections are idle")
def one_at_a_time(t):
    upstream, go = held(t, "/slow")
    kaproxy = start(t, upstream)
    peer = client(t, kaproxy)
    peer.channel.send(request("GET", "/slow") + request("GET", "/fast"))
    upstream.wait_requests(1)
    t.check(peer.channel.is_silent(0.1), "something arrived before the first response")
    t.equal(len(upstream.requests), 1, "requests at the upstream")
    go.set()
    check_responses(t, peer, [b"1 GET /slow ", b"1 GET /fast "])


@test("Connection: close in the middle: what follows it is not served")
def close(t):
    upstream = t.own(HttpUpstream())
    peer = client(t, start(t, upstream))
    peer.channel.send(request("GET", "/a") + request("GET", "/b", [("Connection", "close")]) +
                      request("GET", "/c"))
    check_responses(t, peer, [b"1 GET /a "])
    last = peer.response()
    t.equal((last.body, last.closes()), (b"1 GET /b ", True), "last response, and that it closes")
    t.equal(peer.channel.read_end(), (b"", "eof"), "end")
    t.equal([r.target for r in upstream.requests], ["/a", "/b"], "what the upstream saw")


@test("a bad request after a good one: the good one is served first")
def bad_second(t):
    upstream = t.own(HttpUpstream())
    peer = client(t, start(t, upstream))
    peer.channel.send(request("GET", "/a") + b"GET /b HTTP/1.1\r\nHost : x\r\n\r\n")
    check_responses(t, peer, [b"1 GET /a "])
    t.equal(peer.response().status, 400, "second status")
    t.equal(peer.channel.end(), "eof", "end")
    t.equal([r.target for r in upstream.requests], ["/a"], "what the upstream saw")


@test("empty lines before a request, as old clients send them")
def empty_lines(t):
    peer = client(t, start(t, t.own(HttpUpstream())))
    for number in range(3):
        peer.channel.send(b"\r\n" + request("GET", f"/{number}"))
        t.equal(peer.response().body, f"1 GET /{number} ".encode(), "response")


@test("a client that ends its direction after several requests gets all responses")
def half_closed(t):
    upstream = t.own(HttpUpstream())
    kaproxy = start(t, upstream)
    peer = client(t, kaproxy)
    with kaproxy.paused():  # so that requests and end are seen at once
        peer.channel.send_last(b"".join(request("GET", f"/{n}") for n in range(5)))
    check_responses(t, peer, [f"1 GET /{n} ".encode() for n in range(5)])
    t.equal(peer.channel.read_end(), (b"", "eof"), "end")


@test("byte by byte: three requests that arrive in pieces of one byte")
def bytewise(t):
    upstream = t.own(HttpUpstream())
    peer = client(t, start(t, upstream))
    body = chunked(b"abc", b"defgh", trailer=[("X-Sum", "1")])
    for byte in (request("GET", "/a") + request("POST", "/b", body=b"xyz") +
                 request("PUT", "/c", [("Transfer-Encoding", "chunked")], body)):
        peer.channel.send(bytes([byte]))
    check_responses(t, peer, [b"1 GET /a ", b"1 POST /b xyz", b"1 PUT /c abcdefgh"])


main()
