#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: a byte, an end or a reset on an idle connection never reaches a client."""

import sys
import threading

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import answer_lines, main, test

EVENTS = {
    "a byte": lambda connection: connection.send(b"!"),
    "an end": lambda connection: connection.fin(),
    "a reset": lambda connection: connection.reset(),
}


class Upstream:
    """Responds; on its first connection, one line only, and then the event when the test says
    so."""

    def __init__(self, t, event):
        self.event = event
        self.go, self.done = threading.Event(), threading.Event()
        self.upstream = t.upstream(self._script)
        t.callback(self.go.set)

    def _script(self, connection):
        if connection.number == 1:
            connection.send(b"1 %s\n" % connection.read_line())
            self.go.wait()
            self.event(connection)
            self.done.set()
        answer_lines(connection)

    def strike(self):
        self.go.set()
        self.done.wait()


def with_idle_connection(t, event):
    upstream = Upstream(t, event)
    kaproxy = t.kaproxy(upstream.upstream.endpoint, pool={"keep_alive": "1h"})
    client = kaproxy.connect()
    t.equal(client.ask(b"a"), b"1 a", "first response")
    t.equal(client.end(), "eof", "end of the first client")
    return kaproxy, upstream


@test("noticed at once, and the next client gets a new connection")
def at_once(t):
    for what, event in EVENTS.items():
        kaproxy, upstream = with_idle_connection(t, event)
        kaproxy.wait_idle(1)
        upstream.strike()
        kaproxy.wait_idle(0)
        client = kaproxy.connect()
        t.equal(client.ask(b"b"), b"2 b", f"response after {what}")
        t.equal(client.end(), "eof", f"end after {what}")


@test("and when a client sends a request at the same moment, as well")
def same_moment(t):
    for what, event in EVENTS.items():
        kaproxy, upstream = with_idle_connection(t, event)
        with kaproxy.paused():
            client = kaproxy.connect()
            client.send(b"b\n")
            upstream.strike()
        t.equal(client.read_line(), b"2 b", f"response after {what}")
        t.equal(client.end(), "eof", f"end after {what}")
        t.equal(kaproxy.wait_session(client)["from_cache"], "none", f"from_cache after {what}")


main()
