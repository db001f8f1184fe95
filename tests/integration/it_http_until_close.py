#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: a response that the upstream ends by closing is complete for every client, or
visibly truncated if it broke off."""

import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import ScriptedUpstream, main, test
from kaptest.http import (Cut, LAST_CHUNK, check_line, chunk, client, head, one_shot, read_request,
                          response_until_close, start)

BODY = b"z" * 100_000


def answering(data, end):
    """Sends data after the request was read; then end(connection)."""
    def script(connection):
        read_request(connection)
        connection.send(data)
        end(connection)
    return script


def close(connection):
    connection.fin()
    connection.read_end()


@test("closed in order: chunked for HTTP/1.1, whose connection stays; unchanged for HTTP/1.0")
def whole(t):
    upstream = t.own(ScriptedUpstream(answering(response_until_close(BODY), close)))
    kaproxy = start(t, upstream)
    peer = client(t, kaproxy)
    for _ in range(2):
        got = peer.ask()
        t.equal((got.body, got.get("Transfer-Encoding"), got.closes()), (BODY, "chunked", False),
                "response to HTTP/1.1")
    t.equal(one_shot(t, kaproxy, version="1.1").body, BODY, "body, with Connection: close")
    t.equal(one_shot(t, kaproxy).body, BODY, "body for HTTP/1.0")
    t.equal(upstream.accepted, 4, "connections")
    check_line(t, kaproxy, 4, end="complete", status=200)
    t.equal(kaproxy.counters()["discard_upstream_closed"], 4, "discarded")


def check_cut(t, data, end, ends):
    """The client must see that the response is incomplete, in both versions."""
    kaproxy = start(t, t.own(ScriptedUpstream(answering(data, end))))
    for number, version in enumerate(("1.1", "1.0"), 1):
        peer = client(t, kaproxy)
        peer.send(version=version)
        try:
            peer.response()
            t.check(False, f"HTTP/{version} accepted a truncated response as complete")
        except Cut:
            pass
        check_line(t, kaproxy, number, end=ends)
    t.equal(kaproxy.counters()["idle"], 0, "idle connections")


def wait_then(end):
    """Ends once the first part is in flight, so that it was passed on before."""
    def function(connection):
        connection.is_silent(0.05)
        end(connection)
    return function


@test("a reset in the middle of it")
def reset(t):
    check_cut(t, response_until_close(BODY), wait_then(lambda c: c.reset()), "upstream_reset")


@test("a reset in the middle of it that is reported to a write of the request's body")
def reset_of_request(t):
    much = b"z" * 40_000_000
    upstream = t.own(ScriptedUpstream(keep=True))
    kaproxy = start(t, upstream)
    peer = client(t, kaproxy, receive_buffer=4096)
    peer.channel.send(head("PUT / HTTP/1.1", [("Host", "h"), ("Content-Length", 80_000)]))
    peer.channel.send(b"a" * 70_000)
    connection = upstream.wait_accepted(1)
    read_request(connection, with_body=lambda _: False)
    connection.send(response_until_close(b""))
    t.at_most(kaproxy.fill(connection, much), len(much) - 1, "bytes sent")
    connection.reset()
    kaproxy.counters()  # it has seen the reset by then, but not what precedes it
    peer.channel.send(b"b" * 10)
    kaproxy.counters()
    try:
        peer.response()
        t.fail("a truncated response was accepted as complete")
    except Cut:
        pass
    check_line(t, kaproxy, end="upstream_reset")


@test("the connection's end in the middle of a body with a length")
def short(t):
    data = head("HTTP/1.1 200 OK", [("Content-Length", len(BODY) + 1)]) + BODY
    check_cut(t, data, wait_then(close), "upstream_closed")


@test("the connection's end between two chunks, in a chunk, in the trailer")
def short_chunked(t):
    start_of = head("HTTP/1.1 200 OK", [("Transfer-Encoding", "chunked")]) + chunk(BODY)
    for more in b"", b"5\r\nab", b"5\r\nabcde", LAST_CHUNK[:3], b"0\r\nX-Sum: 1\r\n":
        check_cut(t, start_of + more, wait_then(close), "upstream_closed")


@test("before anything was passed on, a broken response is a 502")
def nothing_passed(t):
    for data in b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", b"HTTP/1.1 100 Continue\r\n\r\nHTTP":
        kaproxy = start(t, t.own(ScriptedUpstream(answering(data, close))))
        got = client(t, kaproxy).ask()
        t.equal(got.status, 502, "status")
        check_line(t, kaproxy, status=502, end="upstream_closed")


main()
