#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: a request's trailer and its response's, which arrive at the same time, are
kept apart."""

import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import ScriptedUpstream, main, test
from kaptest.http import client, head, read_request, start

CHUNKED = [("Transfer-Encoding", "chunked")]
REQUEST = head("POST /x HTTP/1.1", [("Host", "h"), *CHUNKED, ("Expect", "100-continue")])
ANSWER = head("HTTP/1.1 200 OK", CHUNKED)
SHORT, LONG = b"X: 1", b"Long: " + b"l" * 3000


def exchange(t):
    """A client that may send its body, and the upstream, which has said so."""
    upstream = t.own(ScriptedUpstream(keep=True))
    kaproxy = start(t, upstream)
    peer = client(t, kaproxy)
    peer.method = "POST"
    peer.channel.send(REQUEST)
    connection = upstream.wait_accepted(1)
    read_request(connection, with_body=lambda _: False)
    connection.send(head("HTTP/1.1 100 Continue"))
    t.equal(peer.response(interim=False).status, 100, "status")
    return kaproxy, peer, connection


def send(kaproxy, channel, data):
    """Sends, and waits until it was checked."""
    channel.send(data)
    kaproxy.counters()


def begin_request(t, kaproxy, peer, connection, trailer):
    send(kaproxy, peer.channel, b"5\r\nhello\r\n0\r\n" + trailer)
    t.equal(connection.read(10), b"5\r\nhello\r\n", "what the upstream got")


def begin_response(t, kaproxy, peer, connection, trailer):
    send(kaproxy, connection, ANSWER + b"1\r\na\r\n0\r\n" + trailer)
    while peer.channel.read_line() != b"\r":
        continue
    t.equal(peer.channel.read(6), b"1\r\na\r\n", "what the client got")


def end(t, kaproxy, peer, connection, trailers):
    """The request's and the response's: they arrive as they were sent."""
    ways = (peer.channel, connection), (connection, peer.channel)
    for (source, sink), trailer in zip(ways, trailers):
        send(kaproxy, source, b"\r\n\r\n")
        wanted = b"0\r\n" + trailer + b"\r\n\r\n"
        t.equal(sink.read(len(wanted)), wanted, "last chunk and trailer")
    kaproxy.wait_idle(1)


@test("the request's begins first")
def request_first(t):
    for trailers in (SHORT, LONG), (LONG, SHORT):
        kaproxy, peer, connection = exchange(t)
        begin_request(t, kaproxy, peer, connection, trailers[0])
        begin_response(t, kaproxy, peer, connection, trailers[1])
        end(t, kaproxy, peer, connection, trailers)


@test("the response's begins first")
def answer_first(t):
    for trailers in (SHORT, LONG), (LONG, SHORT):
        kaproxy, peer, connection = exchange(t)
        begin_response(t, kaproxy, peer, connection, trailers[1])
        begin_request(t, kaproxy, peer, connection, trailers[0])
        end(t, kaproxy, peer, connection, trailers)


main()
