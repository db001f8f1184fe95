#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: a client sees the upstream's end as what it was, in order or a reset."""

import os
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import main, test, wait_until


@test("an upstream that responds and closes: response and end, and a new connection each time")
def closes_after_answer(t):
    def one_answer(connection):
        connection.send(b"%d %s\n" % (connection.number, connection.read_line()))

    kaproxy = t.kaproxy(t.upstream(one_answer).endpoint)
    for number in 1, 2, 3:
        client = kaproxy.connect()
        client.send(b"a\n")
        t.equal(client.read_end(), (b"%d a\n" % number, "eof"), "response and end")
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


DATA = os.urandom(200_000)  # the kernel takes it all


def late_reader(t, **options):
    """A client that has sent a request and reads nothing for now; the upstream, which has
    responded."""
    upstream = t.upstream(keep=True)
    kaproxy = t.kaproxy(upstream.endpoint, **options)
    client = kaproxy.connect(receive_buffer=4096)
    client.send(b"a")
    connection = upstream.wait_accepted(1)
    connection.read(1)
    connection.send(DATA)
    wait_until(lambda: connection.untaken() == 0, "the response to be read")
    return kaproxy, client, connection


@test("a reset after what the client has not read: it gets that, and then the reset")
def resets_behind_answer(t):
    kaproxy, client, connection = late_reader(t)
    connection.reset()
    wait_until(lambda: kaproxy.counters()["busy"] == 0, "the connection to be returned")
    t.equal(kaproxy.sessions_ended(), 0, "sessions that have ended")
    t.check(client.read_end() == (DATA, "reset"), "what the client got")
    t.equal(kaproxy.wait_sessions(1)[0]["end"], "upstream_reset", "end in the log")
    t.equal(kaproxy.counters()["discard_upstream_error"], 1, "discarded")


@test("a client that does not read even then sees it after idle_timeout")
def never_read(t):
    kaproxy, _, connection = late_reader(t, listener={"idle_timeout": "1500ms"})
    connection.reset()
    t.equal(kaproxy.wait_sessions(1)[0]["end"], "upstream_reset", "end in the log")


@test("an upstream that has sent everything, and resets as the client continues: nothing is lost")
def closes_behind_answer(t):
    kaproxy, client, connection = late_reader(t)
    connection.close()
    for byte in b"b", b"c":  # it can no longer be used
        client.send(byte)
        kaproxy.counters()
    t.check(client.read_end() == (DATA, "eof"), "what the client got")
    client.close()
    t.equal(kaproxy.wait_sessions(1)[0]["end"], "complete", "end in the log")


@test("the same while kaproxy has not read the end of it, because the client is slow")
def closes_behind_much(t):
    upstream = t.upstream(keep=True)
    kaproxy = t.kaproxy(upstream.endpoint)
    client = kaproxy.connect(receive_buffer=65536)
    connection = upstream.wait_accepted(1)
    data = os.urandom(40_000_000)
    sent = kaproxy.fill(connection, data)
    t.at_most(sent, len(data) - 1, "bytes sent")
    while connection.untaken() > 0:
        client.receive()
        kaproxy.pipes()
    connection.close()
    for byte in b"b", b"c":  # it can no longer be used
        client.send(byte)
        kaproxy.counters()
    t.equal(client.read_end()[1], "eof", "end")
    t.check(client.received == data[:sent], f"{len(client.received)} bytes, or wrong ones")
    client.close()
    t.equal(kaproxy.wait_sessions(1)[0]["end"], "complete", "end in the log")


@test("a client that does not end for some seconds loses nothing of it either")
def slow_end(t):
    kaproxy, client, connection = late_reader(t)
    connection.close()
    for byte in b"b", b"c":
        client.send(byte)
        kaproxy.counters()
    t.equal(kaproxy.wait_sessions(1)[0]["end"], "idle_timeout", "end in the log")
    t.check(client.read_end() == (DATA, "eof"), "what the client got")


def check_reset_behind_much(t, goes_on):
    data = os.urandom(40_000_000)
    upstream = t.upstream(keep=True)
    kaproxy = t.kaproxy(upstream.endpoint)
    client = kaproxy.connect(receive_buffer=65536)
    connection = upstream.wait_accepted(1)
    sent = kaproxy.fill(connection, data)
    t.at_most(sent, len(data) - 1, "bytes sent")
    lost = connection.untaken()
    connection.reset()
    if goes_on:
        client.send(b"b")
    kaproxy.counters()  # it has seen the reset by then
    got, end = client.read_end()
    t.equal(end, "reset", "end")
    t.check(data.startswith(got), "wrong bytes")
    t.at_least(len(got), sent - lost, "bytes")
    t.equal(kaproxy.wait_sessions(1)[0]["end"], "upstream_reset", "end in the log")


@test("a reset while the client reads nothing: what it reads then is not an end in order")
def resets_behind_much(t):
    check_reset_behind_much(t, goes_on=False)


@test("the same if a write meets the reset, and not a read")
def write_meets_reset(t):
    check_reset_behind_much(t, goes_on=True)


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
