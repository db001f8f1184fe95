#!/usr/bin/env python3
"""Goal of this test: a client sees the upstream's end as what it was, in order or a reset."""

import os
import sys

sys.path.insert(0, sys.path[0] + "/harness")
from kaptest import main, test


@test("an upstream that answers and closes: answer and end, and a new connection each time")
def closes_after_answer(t):
    def one_answer(connection):
        connection.send(b"%d %s\n" % (connection.number, connection.read_line()))

    kaproxy = t.kaproxy(t.upstream(one_answer).endpoint)
    for number in 1, 2, 3:
        client = kaproxy.connect()
        client.send(b"a\n")
        t.equal(client.read_end(), (b"%d a\n" % number, "eof"), "answer and end")
        client.close()
        kaproxy.wait_sessions(number)


@test("an upstream that closes at once: an end in order")
def closes_at_once(t):
    kaproxy = t.kaproxy(t.upstream(lambda connection: None).endpoint)
    client = kaproxy.connect()
    t.equal(client.read_end(), (b"", "eof"), "what the client saw")
    client.close()
    t.equal(kaproxy.wait_sessions(1)[0]["bytes_down"], "0", "bytes logged")


@test("a reset in mid-stream: a reset for the client")
def resets(t):
    def half_an_answer(connection):
        connection.read_line()
        connection.send(b"half")
        connection.read_line()
        connection.reset()

    kaproxy = t.kaproxy(t.upstream(half_an_answer).endpoint)
    client = kaproxy.connect()
    client.send(b"a\n")
    t.equal(client.read(4), b"half", "first half")
    client.send(b"b\n")
    t.equal(client.read_end(), (b"", "reset"), "what followed")
    t.equal(kaproxy.wait_sessions(1)[0]["end"], "upstream_reset", "end in the log")


@test("a reset while the client reads nothing: what it reads then is no end in order")
def resets_behind_much(t):
    data = os.urandom(40_000_000)
    upstream = t.upstream(keep=True)
    kaproxy = t.kaproxy(upstream.endpoint)
    client = kaproxy.connect(receive_buffer=65536)
    connection = upstream.wait_accepted(1)
    t.at_most(kaproxy.fill(connection, data), len(data) - 1, "bytes sent")
    connection.reset()
    kaproxy.counters()  # it has seen the reset by then
    got, end = client.read_end()
    t.equal(end, "reset", "end")
    t.check(data.startswith(got), "wrong bytes")
    t.equal(kaproxy.wait_sessions(1)[0]["end"], "upstream_reset", "end in the log")


@test("a client's reset in mid-stream: a prompt end for the upstream")
def client_resets(t):
    ends = []

    def wait_for_end(connection):
        connection.send(b"half")
        ends.append(connection.read_end()[1])

    upstream = t.upstream(wait_for_end)
    client = t.kaproxy(upstream.endpoint).connect()
    t.equal(client.read(4), b"half", "first half")
    client.reset()
    upstream.join()
    t.equal(ends, ["reset"], "what the upstream saw")


main()
