#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: every client gets the greeting of an unused connection."""

import sys
import threading
import time

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import answer_lines, main, test


def greet(connection):
    connection.send(b"220 hello %d\n" % connection.number)
    while (line := connection.read_line()) is not None:
        connection.send(b"250 %d %s\n" % (connection.number, line))


@test("reuse = never with min_idle: the greeting waits in the connection for its client")
def never(t):
    upstream = t.upstream(greet)
    kaproxy = t.kaproxy(upstream.endpoint, reuse="never", pool={"min_idle": 2})
    seen = set()
    for _ in range(10):
        kaproxy.wait_idle(2)
        client = kaproxy.connect()
        word, hello, connection = client.read_line().split()
        t.equal((word, hello), (b"220", b"hello"), "greeting")
        t.equal(client.ask(b"x"), b"250 %s x" % connection, "response")
        t.equal(client.end(), "eof", "end")
        seen.add(connection)
    kaproxy.wait_idle(2)
    t.equal(len(seen), 10, "different connections")
    upstream.wait_accepted(12)
    t.equal(upstream.accepted, 12, "connections, two spares among them")
    t.equal({s["from_cache"] for s in kaproxy.wait_sessions(10)}, {"immediate"}, "from_cache")


@test("a greeting that arrives while the preconnected connection is idle belongs to its client, too")
def late_greeting(t):
    go, sent = threading.Event(), threading.Event()
    t.callback(go.set)

    def greet_late(connection):
        go.wait()
        connection.send(b"220 late\n")
        sent.set()
        answer_lines(connection)

    kaproxy = t.kaproxy(t.upstream(greet_late).endpoint, reuse="never", pool={"min_idle": 1})
    kaproxy.wait_idle(1)
    go.set()
    sent.wait()
    kaproxy.counters()  # so that it has seen the bytes
    client = kaproxy.connect()
    t.equal(client.read_line(), b"220 late", "greeting")
    t.equal(client.ask(b"x"), b"1 x", "response")
    client.end()
    t.equal(kaproxy.wait_session(client)["from_cache"], "immediate", "from_cache")


@test("reuse = quiet with min_idle: greeted connections are unfit, and not replaced in a storm")
def quiet(t):
    upstream = t.upstream(greet)
    kaproxy = t.kaproxy(upstream.endpoint, reuse="quiet", pool={"min_idle": 2})
    upstream.wait_accepted(2)
    time.sleep(1)
    t.at_most(upstream.accepted, 12, "connections within a second")
    for _ in range(3):
        client = kaproxy.connect()
        t.check(client.read_line().startswith(b"220 hello "), "no greeting")
        client.end()


main()
