#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: a client that gets no connection within timeout sees a reset then."""

import re
import sys
import time

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import Blackhole, answer_lines, main, test


def wait_reset(t, kaproxy, seconds, function, text):
    """A client must be reset after this many seconds for lack of a connection, for that reason."""
    started = time.monotonic()
    client = kaproxy.connect()
    client.send(b"x\n")
    t.equal(client.read_end(), (b"", "reset"), "what the client saw")
    t.at_least(time.monotonic() - started, seconds * 0.9, "seconds until the reset")
    session = kaproxy.wait_sessions(1)[0]
    t.equal((session["function"], session["errno"], session["error"]), (function, "110", text),
            "access-log line")
    kaproxy.wait_log(f"no connection: .* function={function} errno=110 " + re.escape(f'error="{text}"'))
    t.at_least(float(session["wait_ms"]), seconds * 900, "wait_ms")
    t.at_most(float(session["wait_ms"]), seconds * 1000 + 5000, "wait_ms")


@test("the pool's timeout, when connecting hangs")
def pool_timeout(t):
    wait_reset(t, t.kaproxy(t.own(Blackhole()).endpoint, pool={"timeout": "700ms"}), 0.7,
               "connect", "no connection within timeout = 700 ms")


@test("connect_timeout ends an attempt before that")
def connect_timeout(t):
    pool = {"timeout": "60s", "connect_timeout": "500ms"}
    wait_reset(t, t.kaproxy(t.own(Blackhole()).endpoint, pool=pool), 0.5,
               "connect", "no connection within connect_timeout = 500 ms")


@test("the listener's timeout takes precedence over the pool's")
def listener_timeout(t):
    kaproxy = t.kaproxy(t.own(Blackhole()).endpoint, pool={"timeout": "60s"},
                        listener={"timeout": "500ms"})
    wait_reset(t, kaproxy, 0.5, "connect", "no connection within timeout = 500 ms")


@test("in the queue, while another client has the only connection and keeps it")
def queue(t):
    upstream = t.upstream(answer_lines)
    kaproxy = t.kaproxy(upstream.endpoint, pool={"max_per_host": 1, "timeout": "500ms"})
    first = kaproxy.connect()
    t.equal(first.ask(b"a"), b"1 a", "response before")
    wait_reset(t, kaproxy, 0.5, "queue",
               "no connection became free within 500 ms (max_per_host = 1, 1 waiting)")
    t.equal(first.ask(b"b"), b"1 b", "response after")
    t.equal(first.end(), "eof", "end of the first client")
    last = kaproxy.connect()
    t.equal(last.ask(b"c"), b"1 c", "the last client's response")
    last.end()


main()
