#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: an upstream may respond before it has the whole request: the client sees the
response and no reset, and the connection is not reused."""

import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import ScriptedUpstream, main, test
from kaptest.http import check_line, client, head, read_request, request, response, start

LENGTH = 10_000_000
ANSWER = response(b"too much", status=413)


def early(then):
    """Responds as soon as the header is there; then it does what `then` says."""
    def script(connection):
        read_request(connection, with_body=lambda _: False)
        connection.send(ANSWER)
        then(connection)
    return script


def check(t, then):
    upstream = t.own(ScriptedUpstream(early(then)))
    kaproxy = start(t, upstream)
    peer = client(t, kaproxy)
    peer.channel.send(head("POST /x HTTP/1.1", [("Host", "h"), ("Content-Length", LENGTH)]))
    for _ in range(LENGTH // 100_000):
        peer.channel.send(b"x" * 100_000)
    got = peer.response()
    t.equal((got.status, got.body, got.closes()), (413, b"too much", True), "response")
    t.equal(peer.channel.end(), "eof", "end")
    check_line(t, kaproxy, status=413, end="complete")
    t.equal(kaproxy.counters()["idle"], 0, "idle connections")


@test("and continues reading")
def reads(t):
    check(t, lambda connection: connection.read_end())


@test("and stops reading")
def stops(t):
    check(t, lambda connection: connection.is_silent(0.3))


@test("and closes: with bytes unread, that is a reset")
def closes(t):
    check(t, lambda connection: connection.close())


@test("a complete request that is still being sent: the client's connection stays")
def client_stays(t):
    """The body is read ahead, but the upstream reads only a part of it."""
    size = 60_000
    upstream = t.own(ScriptedUpstream(early(lambda connection: connection.is_silent(0.3)),
                                      receive_buffer=2048))
    kaproxy = start(t, upstream)
    peer = client(t, kaproxy)
    peer.channel.send(request("POST", "/x", body=b"x" * size))
    got = peer.response()
    t.equal((got.status, got.body), (413, b"too much"), "response")
    # A GET, which may be retried: if the kernel took the whole body, the connection counts as sound
    # until its end is seen.
    t.equal(peer.ask("GET", "/y").status, 413, "status of the next response on the same connection")


main()
