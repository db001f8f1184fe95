#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: keep_alive, max_uses and max_age end a kept connection."""

import sys
import time

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import answer_lines, main, test, wait_until


def use(kaproxy):
    client = kaproxy.connect()
    number = int(client.ask(b"x").split()[0])
    client.end()
    return number


@test("keep_alive: an idle connection is closed after that time, not before")
def keep_alive(t):
    upstream = t.upstream(answer_lines)
    kaproxy = t.kaproxy(upstream.endpoint, pool={"keep_alive": "600ms"})
    t.equal(use(kaproxy), 1, "connection")
    started = time.monotonic()
    wait_until(lambda: upstream.connections[0].socket.fileno() == -1, "the end of the connection")
    t.at_least(time.monotonic() - started, 0.5, "seconds until the end")
    t.equal(use(kaproxy), 2, "connection")


@test("keep_alive starts again with each use")
def keep_alive_again(t):
    upstream = t.upstream(answer_lines)
    kaproxy = t.kaproxy(upstream.endpoint, pool={"keep_alive": "1500ms"})
    started = time.monotonic()
    while time.monotonic() - started < 2.5:
        t.equal(use(kaproxy), 1, "connection")
        time.sleep(0.1)


@test("max_uses: two clients for each connection")
def max_uses(t):
    kaproxy = t.kaproxy(t.upstream(answer_lines).endpoint, pool={"max_uses": 2})
    t.equal([use(kaproxy) for _ in range(6)], [1, 1, 2, 2, 3, 3], "connections")


@test("max_age: an old connection is closed when it is released")
def max_age(t):
    kaproxy = t.kaproxy(t.upstream(answer_lines).endpoint, pool={"max_age": "500ms"})
    client = kaproxy.connect()
    t.equal(client.ask(b"a"), b"1 a", "response when young")
    time.sleep(0.6)
    t.equal(client.ask(b"b"), b"1 b", "response when old")
    client.end()
    t.equal(use(kaproxy), 2, "connection")


main()
