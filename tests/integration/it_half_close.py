#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: either side may end its direction and still get everything from the other."""

import contextlib
import os
import sys
import time

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import main, test

SIZE = 3 << 20
ANSWER = os.urandom(300_000)


@test("the client ends first: the upstream reads the end, then responds in full")
def client_first(t):
    def count(connection):
        data, end = connection.read_end()
        connection.send(b"%d %s\n" % (len(data), end.encode()) + b"y" * SIZE)

    for reuse in "quiet", "never":
        kaproxy = t.kaproxy(t.upstream(count).endpoint, reuse=reuse)
        client = kaproxy.connect()
        client.send(b"x" * SIZE)
        client.fin()
        t.equal(client.read_line(), b"%d eof" % SIZE, "what the upstream read")
        t.equal(client.read_end(), (b"y" * SIZE, "eof"), "response")


@test("the upstream ends first: the client reads the end, then sends more")
def upstream_first(t):
    def speak_first(connection):
        connection.send(b"bye\n")
        connection.fin()
        connection.read_end()

    for reuse in "quiet", "never":
        upstream = t.upstream(speak_first)
        client = t.kaproxy(upstream.endpoint, reuse=reuse).connect()
        t.equal(client.read_end(), (b"bye\n", "eof"), "what the client read")
        client.send(b"z" * SIZE)
        client.fin()
        connection = upstream.wait_accepted(1)
        upstream.join()
        t.equal(bytes(connection.received), b"z" * SIZE, "what the upstream read")


@test("bytes and end of a client that is still waiting for a connection are not lost")
def while_waiting(t):
    def count(connection):
        data, _ = connection.read_end()
        connection.send(b"%d\n" % len(data))

    upstream = t.upstream(count)
    kaproxy = t.kaproxy(upstream.endpoint, pool={"max_per_host": 1})
    first, second = kaproxy.connect(), kaproxy.connect()
    second.send(b"12345")
    second.fin()
    t.check(second.is_silent(0.2), "the second client got something without a connection")
    first.send(b"1")
    first.fin()
    t.equal(first.read_end(), (b"1\n", "eof"), "first response")
    t.equal(second.read_end(), (b"5\n", "eof"), "second response")


def send_to_the_deaf(t, size):
    """A client that has sent this much and not read its response, and sends more when the upstream
    has sent everything and is gone."""
    def say_all(connection):
        connection.read(size)
        connection.send(ANSWER)

    kaproxy = t.kaproxy(t.upstream(say_all).endpoint, main={"log_level": "debug"})
    client = kaproxy.connect()
    client.send(b"x" * size)
    kaproxy.wait_log("relaying -> draining")
    with kaproxy.paused():  # too much to be written completely before the upstream refuses it
        client.send_what_fits(b"y" * SIZE)
    return kaproxy, client


@test("the upstream has sent everything and is gone: the rest that the client sends costs nothing")
def upstream_gone(t):
    for size in 1, 3 * SIZE:  # the second goes through a pipe
        kaproxy, client = send_to_the_deaf(t, size)
        for _ in range(10):  # more than any buffer takes
            client.send(b"y" * SIZE)
        client.fin()
        t.equal(client.read_end(), (ANSWER, "eof"), "what the client read")
        t.equal(kaproxy.wait_sessions(1)[0]["end"], "complete", "end in the log")


@test("the same: a client that never stops is disconnected after some seconds")
def never_stops(t):
    kaproxy, client = send_to_the_deaf(t, 1)
    t.check(client.read(len(ANSWER)) == ANSWER, "the response is wrong")
    started = time.monotonic()
    with contextlib.suppress(ConnectionError):
        while time.monotonic() - started < 30:
            client.send(b"y" * 1000)
            time.sleep(0.02)
        t.fail("it may still send")
    t.equal(kaproxy.wait_sessions(1)[0]["end"], "idle_timeout", "end in the log")


main()
