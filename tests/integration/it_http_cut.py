#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: a response that breaks off reaches the client as far as it arrived, and then
its connection is closed in order if the framing shows that the response is incomplete."""

import os
import pathlib
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import ScriptedUpstream, Skip, WAIT_MAX, main, test, wait_until
from kaptest.http import (Cut, check_line, chunk, client, head, read_request, response_until_close,
                          start)

BODY = os.urandom(1_000_000)
LENGTH = head("HTTP/1.1 200 OK", [("Content-Length", len(BODY) + 100)])
CHUNKED = head("HTTP/1.1 200 OK", [("Transfer-Encoding", "chunked")])
HELD = 120_000  # kaproxy may hold 192 KiB before it stops reading
EXPECT = [("Transfer-Encoding", "chunked"), ("Expect", "100-continue")]


def wait_taken(channel):
    """Until the other side's kernel has all that was sent."""
    wait_until(lambda: channel.untaken() == 0, "the bytes to be received")


def exchange(t, data, fields=(), *, version="1.1", method="GET", slow=True, **options):
    """A client that has sent a request and reads nothing for now; the upstream has sent this."""
    upstream = t.own(ScriptedUpstream(keep=True))
    kaproxy = start(t, upstream, **options)
    peer = client(t, kaproxy, receive_buffer=4096 if slow else None)
    peer.send(method, "/x", fields, version=version)
    connection = upstream.wait_accepted(1)
    read_request(connection, with_body=lambda _: False)
    connection.send(data)
    return kaproxy, peer, connection


def read_cut(t, peer, body, end="eof"):
    """Reads the response, of which this must have arrived."""
    try:
        peer.response()
    except Cut as cut:
        t.check(cut.message.body == body,
                f"the body is wrong, or has {len(cut.message.body)} bytes and not {len(body)}")
        t.equal(cut.end, end, "end")
        return
    t.check(False, "a truncated response was accepted as complete")


def check_over(t, kaproxy, end, reason):
    check_line(t, kaproxy, status=200, end=end)
    counters = kaproxy.counters()
    t.equal((counters.get(f"discard_{reason}"), counters["busy"], counters["idle"]), (1, 0, 0),
            "discarded, busy, idle")


def check_upstream_ends(t, size, how, end, reason):
    kaproxy, peer, connection = exchange(t, LENGTH + BODY[:size], slow=size > 100)
    if how == "reset":
        wait_taken(connection)  # or it would be lost in the upstream's own kernel
    getattr(connection, how)()
    kaproxy.counters()  # it has seen that
    read_cut(t, peer, BODY[:size])
    check_over(t, kaproxy, end, reason)


@test("the upstream ends in the middle of a body with a length: all that arrived is passed on")
def upstream_ends(t):
    for size in 100, 200_000, len(BODY):
        check_upstream_ends(t, size, "fin", "upstream_closed", "upstream_closed")


@test("the same if it resets the connection")
def upstream_resets(t):
    for size in 100, 200_000:
        check_upstream_ends(t, size, "reset", "upstream_reset", "upstream_error")


@test("the same for a client that reads only when the connection to the upstream is gone")
def late_reader(t):
    for data in LENGTH + BODY[:200_000], CHUNKED + chunk(BODY[:200_000]) + b"5\r\n":
        kaproxy, peer, connection = exchange(t, data)
        connection.fin()
        wait_until(lambda k=kaproxy: k.counters().get("discard_upstream_closed") == 1,
                   "the connection to be discarded")
        read_cut(t, peer, BODY[:200_000])


@test("idle_timeout in the middle of a response")
def times_out(t):
    kaproxy, peer, _ = exchange(t, LENGTH + BODY[:200_000], listener={"idle_timeout": "1500ms"})
    wait_until(lambda: kaproxy.counters().get("discard_idle_timeout") == 1, "the upstream's end")
    read_cut(t, peer, BODY[:200_000])
    check_over(t, kaproxy, "idle_timeout", "idle_timeout")


@test("a bad chunk: what precedes it, in the same piece too, is passed on")
def bad_chunk(t):
    for more in b"", BODY[:1000]:
        kaproxy, peer, connection = exchange(t, CHUNKED + chunk(BODY[:100_000]), slow=False)
        t.check(not peer.channel.is_silent(WAIT_MAX), "nothing arrived")
        connection.send((chunk(more) if more else b"") + b"xyz\r\n")
        read_cut(t, peer, BODY[:100_000] + more)
        check_over(t, kaproxy, "bad_response", "protocol_error")


def in_both(t, data):
    """A client that may send its body, while a part of its response has arrived already."""
    kaproxy, peer, connection = exchange(t, head("HTTP/1.1 100 Continue") + data, EXPECT,
                                         method="POST")
    t.equal(peer.response(interim=False).status, 100, "status")
    return kaproxy, peer, connection


@test("a client that breaks, or ends, its body in the middle of its response")
def bad_body(t):
    for data in b"xyz\r\n", b"3\r\nabcd\r\n", b"0\r\nX : y\r\n\r\n", None:
        kaproxy, peer, connection = in_both(t, LENGTH + BODY[:200_000])
        wait_taken(connection)
        if data is None:
            peer.channel.fin()
        else:
            peer.channel.send(data)
        wait_until(lambda k=kaproxy: k.counters().get("discard_client_abort") == 1,
                   "the connection to be discarded")
        read_cut(t, peer, BODY[:200_000])
        check_over(t, kaproxy, "client_reset" if data is None else "bad_request", "client_abort")


@test("a client that ends a large body, after a response that it has not read: that is not lost")
def ends_behind_a_response(t):
    def large_or_nothing(connection):
        read_request(connection)
        connection.send(head("HTTP/1.1 200 OK", [("Content-Length", 200_000)]) + BODY[:200_000])
        connection.read_end()

    upstream = t.own(ScriptedUpstream(large_or_nothing))
    kaproxy = start(t, upstream)
    peer = client(t, kaproxy, receive_buffer=4096)
    peer.send()
    check_line(t, kaproxy, 1, status=200)
    peer.channel.send(head("PUT /x HTTP/1.1", [("Host", "h"), ("Content-Length", 100_000)]))
    peer.channel.send(b"x" * 99_999)
    wait_until(lambda: kaproxy.counters()["busy"] == 1, "the second request to be sent")
    peer.channel.fin()
    check_line(t, kaproxy, 2, status="-", end="client_reset")
    t.check(peer.response().body == BODY[:200_000], "the first response is wrong")
    t.equal(peer.channel.read_end(), (b"", "eof"), "end")


@test("without framing it ends with a reset: the client could not notice otherwise")
def until_close(t):
    for data in response_until_close(BODY[:1000]), CHUNKED + chunk(BODY[:1000]):
        kaproxy, peer, connection = exchange(t, data, version="1.0", slow=False)
        t.check(not peer.channel.is_silent(WAIT_MAX), "nothing arrived")
        connection.reset()
        read_cut(t, peer, BODY[:1000], "reset")
        check_over(t, kaproxy, "upstream_reset", "upstream_error")


def held_back(t, **options):
    """A truncated response of which kaproxy holds what a unix socket does not take, for a client
    that reads nothing: if it read a little at a time, the kernel might report room too late for
    idle_timeout."""
    kernel = int(pathlib.Path("/proc/sys/net/core/wmem_default").read_text())
    if kernel > len(BODY) - HELD:
        raise Skip("the kernel buffers too much")
    kaproxy, peer, connection = exchange(t, CHUNKED + chunk(BODY[:kernel + HELD]) + b"5",
                                         listen=f"unix:{t.folder}/socket", **options)
    connection.fin()
    wait_until(lambda: kaproxy.counters().get("discard_upstream_closed") == 1,
               "the connection to be discarded")
    t.equal(kaproxy.sessions_ended(), 0, "exchanges that have ended")
    return kaproxy, peer


@test("a client that stops reading it is disconnected after idle_timeout")
def not_reading(t):
    kaproxy, _ = held_back(t, listener={"idle_timeout": "1500ms"})
    check_over(t, kaproxy, "upstream_closed", "upstream_closed")


@test("what ended the response is logged, whatever the client did then; it counts as no response")
def client_goes(t):
    kaproxy, peer = held_back(t)
    peer.channel.close()
    check_over(t, kaproxy, "upstream_closed", "upstream_closed")
    t.check(" answers_2xx=0 " in kaproxy.find_log("stats listener=")[-1], "it was counted")


main()
